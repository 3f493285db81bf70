/*
 * write_dynamic.c -- what is known only while a graph runs: branches, loops, searches, sequences, strings.
 *
 * Core searches give as much as there can be and a count; ONNX's give what there is, so the count is a size
 * of it, and the slice behind becomes one of everything. What is used otherwise is filled up with
 * zeros.
 */
#include "frontend/onnx/write.h"

#include <string.h>

static void set_name(Writer *writer, const Value *value, const char *name) {
  names_set(writer->module, &writer->names, (const char *)value, name);
}

/* ---- Graphs in nodes */

/* The region's inputs from `from` on are operands of the node from `first` on: names of the graph around. */
static void capture(Writer *writer, const Node *node, const Graph *region, int from, int first) {
  for (int i = from; i < region->input_count; i++)
    set_name(writer, region->inputs[i], name_of_operand(writer, node, first + i - from));
}

const char *write_bind(Writer *writer, const Node *node) {
  int count;
  const Dim *const *symbols = node_dims(node, "symbols", &count);
  const char *list = put_index(writer, operand(node, 0), false);
  if (operand(node, 0)->type->rank == 0) list = put_reshape(writer, list, (int64_t[]){1}, 1);
  for (int i = 0; i < count; i++)
    offer_size(writer, symbols[i], put2(writer, "Gather", list, put_ints(writer, (int64_t[]){i}, 1)));
  return put1(writer, "Identity", name_of_operand(writer, node, 0));
}

/* Names for all results, of which the first is put. */
static const char *name_results_of(Writer *writer, const Node *node, const char *first) {
  for (int i = 1; i < node->result_count; i++) name_give(writer, result(node, i), put_output(writer));
  return first;
}

const char *write_if(Writer *writer, const Node *node) {
  static const char *const names[] = {"then_branch", "else_branch"};
  Onnx__GraphProto *branches[2];
  int first = 1;
  for (int i = 0; i < 2; i++) {
    const Graph *region = node->regions[i];
    capture(writer, node, region, 0, first);
    first += region->input_count;
    branches[i] = write_region(writer, region, 0);
    writer->node = node;
    if (!branches[i]) return NULL;
  }
  const char *y = put1(writer, "If", name_of_operand(writer, node, 0));
  for (int i = 0; i < 2; i++) with_graph(writer, names[i], branches[i]);
  return name_results_of(writer, node, y);
}

const char *write_loop(Writer *writer, const Node *node) {
  const Graph *region = node->regions[0];
  int own = 2 + (int)node_int(node, "carried");
  const char **inputs = NEW_ARRAY(writer->module->arena, const char *, own);
  for (int i = 0; i < own; i++) inputs[i] = name_of_operand(writer, node, i);
  for (int i = 0; i < own; i++)
    set_name(writer, region->inputs[i], name_new(writer, region->inputs[i]->name));
  capture(writer, node, region, own, own);
  Onnx__GraphProto *body = write_region(writer, region, own);
  writer->node = node;
  if (!body) return NULL;
  const char *y = put(writer, "Loop", own, inputs);
  with_graph(writer, "body", body);
  return name_results_of(writer, node, y);
}

/* ---- Searches */

/* The size of an axis, as the scalar that a core operator counts. */
static const char *put_count(Writer *writer, const char *x, int axis) {
  const char *size = put1(writer, "Shape", x);
  with_int(writer, "start", axis);
  with_int(writer, "end", axis + 1);
  return put_reshape(writer, size, NULL, 0);
}

/* The integer that counts, through changes of its type and shape. */
static bool is_count(const Value *value, const Value *count) {
  while (value != count && value->def && (node_is(value->def, &op_cast) || node_is(value->def, &op_reshape)))
    value = operand(value->def, 0);
  return value == count;
}

/* Whether `bind` makes the count this size. */
static bool binds_count(const Node *bind, const Dim *size, const Value *count) {
  int symbols;
  if (!node_is(bind, &op_bind) || !is_count(operand(bind, 0), count)) return false;
  const Dim *const *symbol = node_dims(bind, "symbols", &symbols);
  return symbols == 1 && *symbol == size;
}

/* Whether the node takes the first `count` along the axis. */
static bool takes_first(const Node *node, int axis, const Value *count) {
  int axes;
  if (!node_is(node, &op_slice) || !dim_is(node_dims(node, "starts", &axes)[axis], 0)) return false;
  FOR_EACH_NODE(bind, node->graph)
  if (binds_count(bind, node_dims(node, "sizes", &axes)[axis], count)) return true;
  return false;
}

/* Zeros behind what was found, up to the sizes of the type. */
static const char *put_filled_up(Writer *writer, const Type *type, const char *found) {
  const int64_t zeros[MAX_RANK] = {0};
  const char *sizes = put_sizes(writer, type->dims, type->rank);
  const char *more = put2(writer, "Sub", sizes, put1(writer, "Shape", found));
  const char *parts[] = {put_ints(writer, zeros, type->rank), more};
  if (!more) return NULL;
  const char *pads = put(writer, "Concat", COUNT_OF(parts), parts);
  with_int(writer, "axis", 0);
  return put2(writer, "Pad", found, pads);
}

/* What ONNX found, filled up unless only the first `count` of it along the axis are looked at. */
static bool give_found(Writer *writer, const Value *value, int axis, const Value *count, const char *found) {
  bool is_cut = true;
  FOR_EACH_USE(use, value) is_cut = is_cut && takes_first(use->node, axis, count);
  if (!is_cut) found = put_filled_up(writer, value->type, found);
  if (found) name_give(writer, value, found);
  return found != NULL;
}

const char *write_non_zero(Writer *writer, const Node *node) {
  const char *positions = put1(writer, "NonZero", name_of_operand(writer, node, 0));
  name_give(writer, result(node, 1), put_count(writer, positions, 1));
  bool ok = give_found(writer, result(node, 0), 1, result(node, 1), positions);
  return ok ? name_of(writer, result(node, 0)) : NULL;
}

const char *write_unique(Writer *writer, const Node *node) {
  enum { VALUES, FIRST, INVERSE, COUNTS, COUNT };
  int axis = (int)node_axis(node, "axis", operand(node, 0)->type->rank);
  const char *outputs[COUNT] = {put1(writer, "Unique", name_of_operand(writer, node, 0))};
  write_words(writer, node, "axis sorted");
  for (int i = FIRST; i < COUNT; i++) outputs[i] = put_output(writer);
  const Value *count = result(node, COUNT);
  name_give(writer, count, put_count(writer, outputs[VALUES], axis));
  name_give(writer, result(node, INVERSE), outputs[INVERSE]);
  bool ok = give_found(writer, result(node, VALUES), axis, count, outputs[VALUES]) &&
            give_found(writer, result(node, FIRST), 0, count, outputs[FIRST]) &&
            give_found(writer, result(node, COUNTS), 0, count, outputs[COUNTS]);
  return ok ? name_of(writer, result(node, VALUES)) : NULL;
}

/* Its scores are sorted by a top_k, which ONNX's operator does itself. */
const char *write_non_max_suppression(Writer *writer, const Node *node) {
  const Node *order = operand(node, 1)->def;
  if (!order || !node_is(order, &op_top_k) || operand(node, 2) != result(order, 1))
    return write_fail(writer, "its scores are not those of a top_k");
  const char *inputs[] = {name_of_operand(writer, node, 0), name_of_operand(writer, order, 0),
                          put_scalar(writer, operand(node, 3)), put_scalar(writer, operand(node, 4)),
                          put_scalar(writer, operand(node, 5))};
  const char *kept = put(writer, "NonMaxSuppression", COUNT_OF(inputs), inputs);
  write_words(writer, node, "center_point_box");
  name_give(writer, result(node, 1), put_count(writer, kept, 0));
  bool ok = give_found(writer, result(node, 0), 0, result(node, 1), kept);
  return ok ? name_of(writer, result(node, 0)) : NULL;
}

const char *write_image_decode(Writer *writer, const Node *node) {
  const char *y = put1(writer, "ImageDecoder", name_of_operand(writer, node, 0));
  with_string(writer, "pixel_format", node_bool(node, "gray") ? "Grayscale" : "RGB");
  return y;
}

/* ---- Sequences and optional values */

static const char *put_position(Writer *writer, const Node *node, int index) {
  const Value *position = operand(node, index);
  return put_cast(writer, put_scalar(writer, position), position ? position->type->dtype : DTYPE_I64,
                  DTYPE_I64);
}

const char *write_sequence_at(Writer *writer, const Node *node) {
  return put2(writer, node_is(node, &op_sequence_at) ? "SequenceAt" : "SequenceErase",
              name_of_operand(writer, node, 0), put_position(writer, node, 1));
}

const char *write_sequence_insert(Writer *writer, const Node *node) {
  return put3(writer, "SequenceInsert", name_of_operand(writer, node, 0), name_of_operand(writer, node, 1),
              put_position(writer, node, 2));
}

const char *write_sequence_make(Writer *writer, const Node *node) {
  int count = node->operand_count;
  const char **inputs = NEW_ARRAY(writer->module->arena, const char *, count);
  for (int i = 0; i < count; i++) inputs[i] = name_of_operand(writer, node, i);
  if (count && *inputs[0]) return put(writer, "SequenceConstruct", count, inputs);
  const char *y = put(writer, "SequenceEmpty", 0, NULL);
  write_words(writer, node, "dtype");
  return y;
}

const char *write_sequence_split(Writer *writer, const Node *node) {
  const Value *sizes = operand(node, 1);
  const char *y = put2(writer, "SplitToSequence", name_of_operand(writer, node, 0),
                       sizes ? put_index(writer, sizes, true) : name_of(writer, NULL));
  write_words(writer, node, "axis keep:keepdims");
  return y;
}

const char *write_optional_make(Writer *writer, const Node *node) {
  const Type *type = result(node, 0)->type;
  if (operand(node, 0)) return put1(writer, "Optional", name_of_operand(writer, node, 0));
  const char *y = put(writer, "Optional", 0, NULL);
  with_type(writer, "type",
            type_with_form(writer->module, type, type->form == FORM_OPTIONAL ? FORM_TENSOR : FORM_SEQUENCE));
  return y;
}

/* ---- Strings */

/* A constant scalar, for an attribute. */
static const char *string_of(Writer *writer, const Node *node, int index) {
  const Data *data = value_data(operand(node, index));
  return data ? data_string(data, 0) : write_fail(writer, "operand %d is no constant", index);
}

const char *write_string_match(Writer *writer, const Node *node) {
  const char *pattern = string_of(writer, node, 1);
  if (!pattern) return NULL;
  const char *y = put1(writer, "RegexFullMatch", name_of_operand(writer, node, 0));
  with_string(writer, "pattern", pattern);
  return y;
}

/* StringNormalizer takes lists only. */
const char *write_string_case(Writer *writer, const Node *node) {
  const char *x = name_of_operand(writer, node, 0), *shape = put1(writer, "Shape", x);
  const char *y = put1(writer, "StringNormalizer", put_reshape(writer, x, (int64_t[]){-1}, 1));
  with_string(writer, "case_change_action", node_bool(node, "upper") ? "UPPER" : "LOWER");
  return put2(writer, "Reshape", y, shape);
}

const char *write_string_without(Writer *writer, const Node *node) {
  const Data *data = value_data(operand(node, 1));
  if (!data) return write_fail(writer, "the words are no constants");
  const char **words = NEW_ARRAY(writer->module->arena, const char *, data->count);
  for (int64_t i = 0; i < data->count; i++) words[i] = data_string(data, i);
  const char *y = put1(writer, "StringNormalizer", name_of_operand(writer, node, 0));
  with_strings(writer, "stopwords", words, (int)data->count);
  with_int(writer, "is_case_sensitive", !node_bool(node, "ignore_case"));
  return y;
}

/* Two results of one operator. */
const char *write_string_split(Writer *writer, const Node *node) {
  const char *delimiter = string_of(writer, node, 1);
  if (!delimiter) return NULL;
  const char *parts = put1(writer, "StringSplit", name_of_operand(writer, node, 0)),
             *counts = put_output(writer);
  if (*delimiter) with_string(writer, "delimiter", delimiter);
  if (node_int(node, "most") >= 0) with_int(writer, "maxsplit", node_int(node, "most"));
  return node_is(node, &op_string_split) ? parts : counts;
}
