/*
 * write_window.c -- convolutions, pools and products, with the layouts that ONNX has.
 *
 * ONNX knows channels in front of the spatial axes only, so nhwc stands between two transposes. Products of
 * bytes are ConvInteger and MatMulInteger; what a convolution pads with other than 0 is a Pad in front of it.
 */
#include "frontend/onnx/write.h"

/* ---- Layouts */

/* [n, spatial.., c] <-> [n, c, spatial..] */
static const char *to_channels_first(Writer *writer, const char *x, int rank) {
  int64_t perm[MAX_RANK] = {0, rank - 1};
  for (int i = 2; i < rank; i++) perm[i] = i - 1;
  return put_transpose(writer, x, perm, rank);
}

static const char *to_channels_last(Writer *writer, const char *x, int rank) {
  int64_t perm[MAX_RANK] = {0};
  for (int i = 1; i < rank; i++) perm[i] = i + 1;
  perm[rank - 1] = 1;
  return put_transpose(writer, x, perm, rank);
}

static bool is_nhwc(const Node *node) {
  return node_string_is(node, "layout", "nhwc");
}

static const char *put_image(Writer *writer, const Node *node, const Value *value) {
  const char *x = name_of(writer, value);
  return is_nhwc(node) ? to_channels_first(writer, x, operand(node, 0)->type->rank) : x;
}

/* [kernel.., a, b] becomes [b, a, kernel..] with `swap`, else [a, b, kernel..]. */
static const char *put_kernel(Writer *writer, const Node *node, const Value *value, bool swap) {
  int rank = operand(node, 1)->type->rank;
  int64_t perm[MAX_RANK] = {rank - 2 + swap, rank - 1 - swap};
  for (int i = 2; i < rank; i++) perm[i] = i - 2;
  const char *w = name_of(writer, value);
  return is_nhwc(node) ? put_transpose(writer, w, perm, rank) : w;
}

static const char *put_result(Writer *writer, const Node *node, const char *y) {
  return is_nhwc(node) ? to_channels_last(writer, y, result(node, 0)->type->rank) : y;
}

/* ---- Attributes */

static void with_ints_of(Writer *writer, const Node *node, const char *from, const char *name) {
  int count;
  const int64_t *ints = node_ints(node, from, &count);
  with_ints(writer, name, ints, count);
}

static void with_window(Writer *writer, const Node *node, bool pads) {
  Window window = node_window(node);
  with_ints(writer, "kernel_shape", window.kernel, window.rank);
  with_ints_of(writer, node, "strides", "strides");
  with_ints_of(writer, node, "dilations", "dilations");
  if (pads) with_ints_of(writer, node, "pads", "pads");
}

/* ---- Pools */

const char *write_pool(Writer *writer, const Node *node) {
  const char *y = put1(writer, row_type(node), put_image(writer, node, operand(node, 0)));
  with_window(writer, node, true);
  with_int(writer, "ceil_mode", node_bool(node, "ceil"));
  write_words(writer, node, row_words(node));
  if (node->result_count == 1) return put_result(writer, node, y);
  if (is_nhwc(node)) return write_fail(writer, "positions of layout nhwc");
  name_give(writer, result(node, 1), put_output(writer));
  return y;
}

/* ---- Convolutions */

/* An operand of a product in integers: bytes, less their zero point if they have one. */
typedef struct Bytes {
  const Value *q, *zero;
} Bytes;

static const Value *cast_byte(const Value *x) {
  const Value *q = x->def && node_is(x->def, &op_cast) ? operand(x->def, 0) : NULL;
  return q && x->type->dtype == DTYPE_I32 && dtype_is_byte(q->type->dtype) ? q : NULL;
}

/* q, cast(q) or cast(q) - cast(zero) */
static bool read_bytes(const Value *x, Bytes *bytes) {
  *bytes = (Bytes){.q = dtype_is_byte(x->type->dtype) ? x : cast_byte(x)};
  if (bytes->q || !x->def || !node_is(x->def, &op_sub)) return bytes->q != NULL;
  *bytes = (Bytes){cast_byte(operand(x->def, 0)), cast_byte(operand(x->def, 1))};
  return bytes->q && bytes->zero && bytes->q->type->dtype == bytes->zero->type->dtype &&
         type_static_count(bytes->zero->type) == 1;
}

static bool is_of_bytes(const Node *node, Bytes operands[2]) {
  return read_bytes(operand(node, 0), &operands[0]) && read_bytes(operand(node, 1), &operands[1]);
}

/* ConvInteger or MatMulInteger of bytes that are laid out as ONNX wants them. */
static const char *put_integers(Writer *writer, const char *type, const char *x, const char *w,
                                const Bytes operands[2]) {
  const char *inputs[] = {x, w, put_scalar(writer, operands[0].zero), put_scalar(writer, operands[1].zero)};
  return put(writer, type, COUNT_OF(inputs), inputs);
}

/* x, channels first, with `outside` around it. */
static const char *put_outside(Writer *writer, const Node *node, const char *x, Dtype dtype) {
  int64_t pads[2 * MAX_RANK] = {0};
  Window window = node_window(node);
  int rank = window.rank + 2;
  for (int i = 0; i < window.rank; i++) {
    pads[2 + i] = window.before[i];
    pads[rank + 2 + i] = window.after[i];
  }
  const char *outside = put_number(writer, dtype, (double)node_int(node, "outside"));
  return put3(writer, "Pad", x, put_ints(writer, pads, 2 * rank), outside);
}

/* [m] in front of the spatial axes of a result. */
static const char *put_bias(Writer *writer, const Value *bias, int spatial) {
  int64_t dims[MAX_RANK] = {-1};
  for (int i = 1; i <= spatial; i++) dims[i] = 1;
  return put_reshape(writer, name_of(writer, bias), dims, 1 + spatial);
}

/* ONNX's Conv is of floats: other integers than bytes go through f64, which holds their sums. */
static const char *put_real(Writer *writer, const Node *node, const char *x) {
  Dtype dtype = result(node, 0)->type->dtype;
  return dtype_is_int(dtype) && *x ? put_cast(writer, x, dtype, DTYPE_F64) : x;
}

static const char *put_whole(Writer *writer, const Node *node, const char *y) {
  Dtype dtype = result(node, 0)->type->dtype;
  return dtype_is_int(dtype) ? put_cast(writer, y, DTYPE_F64, dtype) : y;
}

static void with_conv(Writer *writer, const Node *node, bool pads) {
  with_window(writer, node, pads);
  with_int(writer, "group", node_int(node, "group"));
}

static const char *write_integer_conv(Writer *writer, const Node *node, const Bytes operands[2]) {
  const Value *bias = operand(node, 2);
  const char *x = put_image(writer, node, operands[0].q), *w = put_kernel(writer, node, operands[1].q, true);
  bool outside = node_int(node, "outside") != 0;
  if (outside) x = put_outside(writer, node, x, operands[0].q->type->dtype);
  const char *y = put_integers(writer, "ConvInteger", x, w, operands);
  with_conv(writer, node, !outside);
  if (bias) y = put2(writer, "Add", y, put_bias(writer, bias, node_window(node).rank));
  return put_result(writer, node, y);
}

const char *write_conv(Writer *writer, const Node *node) {
  Bytes operands[2];
  bool outside = node_int(node, "outside") != 0;
  if (node_int(node, "packed") || node_int(node, "winograd"))
    return write_fail(writer, "its weights are in panels: write the graph before pass 'pack'");
  if (is_of_bytes(node, operands) && !(outside && operands[0].zero))
    return write_integer_conv(writer, node, operands);
  const char *x = put_image(writer, node, operand(node, 0));
  if (outside) x = put_outside(writer, node, x, operand(node, 0)->type->dtype);
  const char *w = put_kernel(writer, node, operand(node, 1), true), *bias = name_of_operand(writer, node, 2);
  const char *y = put3(writer, "Conv", put_real(writer, node, x), put_real(writer, node, w),
                       put_real(writer, node, bias));
  with_conv(writer, node, !outside);
  return put_result(writer, node, put_whole(writer, node, y));
}

const char *write_conv_transpose(Writer *writer, const Node *node) {
  const char *x = put_image(writer, node, operand(node, 0)),
             *w = put_kernel(writer, node, operand(node, 1), false);
  const char *bias = name_of_operand(writer, node, 2);
  if (dtype_is_byte(operand(node, 0)->type->dtype))
    return write_fail(writer, "ONNX has no transposed convolution of bytes");
  const char *y = put3(writer, "ConvTranspose", put_real(writer, node, x), put_real(writer, node, w),
                       put_real(writer, node, bias));
  with_conv(writer, node, true);
  with_ints_of(writer, node, "output_padding", "output_padding");
  return put_result(writer, node, put_whole(writer, node, y));
}

/* ---- Products */

const char *write_matmul(Writer *writer, const Node *node) {
  const char *a = name_of_operand(writer, node, 0), *b = name_of_operand(writer, node, 1);
  Bytes operands[2];
  if (node_int(node, "packed"))
    return write_fail(writer, "its weights are in panels: write the graph before pass 'pack'");
  if (!is_of_bytes(node, operands)) return put2(writer, "MatMul", a, b);
  return put_integers(writer, "MatMulInteger", name_of(writer, operands[0].q), name_of(writer, operands[1].q),
                      operands);
}

static const char *put_matrix(Writer *writer, const Node *node, const Value *value, const char *transposed) {
  const char *x = name_of(writer, value);
  return node_bool(node, transposed) ? put_transpose(writer, x, (int64_t[]){1, 0}, 2) : x;
}

const char *write_gemm(Writer *writer, const Node *node) {
  Bytes operands[2];
  const Value *c = operand(node, 2);
  if (node_int(node, "packed"))
    return write_fail(writer, "its weights are in panels: write the graph before pass 'pack'");
  if (is_of_bytes(node, operands)) {
    const char *a = put_matrix(writer, node, operands[0].q, "trans_a"),
               *b = put_matrix(writer, node, operands[1].q, "trans_b");
    const char *y = put_integers(writer, "MatMulInteger", a, b, operands);
    return c ? put2(writer, "Add", y, name_of(writer, c)) : y;
  }
  const char *y = put3(writer, "Gemm", name_of_operand(writer, node, 0), name_of_operand(writer, node, 1),
                       name_of(writer, c));
  with_int(writer, "transA", node_bool(node, "trans_a"));
  with_int(writer, "transB", node_bool(node, "trans_b"));
  return y;
}
