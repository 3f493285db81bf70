/*
 * mask.c -- Masking: steps whose every element is a given value do not count.
 */
#include "frontend/keras/keras.h"

static Value *masking(Call *call) {
  Value *x = call_float_input(call, 0);
  if (!x || x->type->rank < 2) return x ? call_null(call, "its input has %d axes", x->type->rank) : NULL;
  int last = x->type->rank - 1;
  Value *same = make_number(call, &op_equal, x, json_number(call->config, "mask_value", 0));
  Value *counts = make_reduce(call, &op_reduce_max, make_unary(call, &op_not, same), (int64_t[]){last}, 1);
  call->mask = make_squeeze(call, counts, last);
  return make_binary(call, &op_mul, x, make_cast(call, counts, x->type->dtype));
}

const LayerKind mask_layers[] = {
    {"Masking", masking, 1, 1, NULL, MASK_OWN},
    {0},
};
