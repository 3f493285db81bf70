/*
 * image.c -- images from the bytes of their files. How large they are is known only when the graph runs; the
 * runtime's function (runtime/image.c) is the meaning, in the interpreter as in libraries.
 */
#include "ir/ops/dynamic.h"

static bool infer_decode(Node *node) {
  TRY(check_symbols(node) && check_form(node, 0, FORM_TENSOR) && check_rank(node, 0, 1));
  Module *module = node_module(node);
  if (operand(node, 0)->type->dtype != DTYPE_U8)
    return node_fail(node, "operand 0 is %s, not the bytes of a file", operand_text(node, 0));
  NewSizes sizes = {node, 0};
  const Dim *height = new_size(&sizes), *width = new_size(&sizes);
  const Dim *dims[] = {height, width, dim_const(module, node_bool(node, "gray") ? 1 : 3)};
  result_set(node, 0, type_make(module, DTYPE_U8, 3, dims));
  return true;
}

static const OperandSpec decode_operands[] = {{"x", false, "u8[N], the bytes of the file"}};
static const AttrSpec decode_attrs[] = {
    {.name = "gray", .kind = ATTR_BOOL, .value = "false", .doc = "the luma (ITU-R BT.601) instead of colors"},
    SYMBOLS_ATTR,
};

const Op op_image_decode = {
    .name = "image_decode",
    .family = "image",
    .doc = "The pixels [height,width,3] of an image, red first, or [height,width,1] of its luma. There are "
           "JPEG, "
           "PNG, BMP and Netpbm's formats; transparency is left out. A stream that cannot be decoded gives "
           "[0,0,3] "
           "or [0,0,1]; TIFF, JPEG 2000 and WebP, and images of over 2^27 pixels, are errors of the run.",
    .operands = decode_operands,
    .operand_count = 1,
    .results = (const char *const[]){"y"},
    .result_count = 1,
    .attrs = decode_attrs,
    .attr_count = COUNT_OF(decode_attrs),
    .traits = TRAIT_STRUCTURE | TRAIT_DYNAMIC,
    .infer = infer_decode,
};
