/*
 * sequence.c -- lists of tensors, and values that may be absent. They exist while a graph runs only; the
 * runtime's items (runtime/items.h) are their meaning, in the interpreter as in libraries.
 */
#include "ir/ops/dynamic.h"

static const AttrSpec symbols_attr[] = {SYMBOLS_ATTR};

static const Type *sequence_of(Module *module, const Type *tensor) {
  return type_with_form(module, type_forget_symbols(module, tensor), FORM_SEQUENCE);
}

/* The tensor in a sequence or an optional value, as far as it is known. */
static const Type *tensor_in(Module *module, const Type *type) {
  return type_with_form(module, type, FORM_TENSOR);
}

/* A sequence with room for what is in this one, and for the tensor. */
static const Type *sequence_with(Module *module, const Type *sequence, const Type *tensor) {
  return type_join(module, sequence, sequence_of(module, tensor), NULL, NULL);
}

/* A position: an integer scalar, or one element. */
static bool check_position(const Node *node, int index) {
  const Type *type = operand(node, index)->type;
  if (type_is_tensor(type) && dtype_is_int(type->dtype) && type_static_count(type) == 1) return true;
  return node_fail(node, "a position is one integer, not %s", operand_text(node, index));
}

/* ---- sequence_make ---- */

static bool infer_make(Node *node) {
  Module *module = node_module(node);
  Dtype dtype = node_dtype(node, "dtype");
  const Type *type = node->operand_count > 0 ? sequence_of(module, operand(node, 0)->type)
                                             : type_empty_sequence(module, dtype);
  for (int i = 0; i < node->operand_count; i++) {
    TRY(check_form(node, i, FORM_TENSOR));
    type = sequence_with(module, type, operand(node, i)->type);
    if (!type) return node_fail(node, "operand %d is %s, unlike those before", i, operand_text(node, i));
  }
  result_set(node, 0, type);
  return true;
}

static const OperandSpec make_operands[] = {{"x", true, "tensors of one dtype"}};
static const AttrSpec make_attrs[] = {{.name = "dtype",
                                       .kind = ATTR_DTYPE,
                                       .value = "f32",
                                       .doc = "of the tensors, where there are no operands"}};

const Op op_sequence_make = {
    .name = "sequence_make",
    .family = "sequence",
    .doc = "The sequence of the operands.",
    .operands = make_operands,
    .operand_count = 1,
    .results = (const char *const[]){"y"},
    .result_count = 1,
    .attrs = make_attrs,
    .attr_count = 1,
    .traits = TRAIT_STRUCTURE | TRAIT_DYNAMIC | TRAIT_VARIADIC,
    .infer = infer_make,
};

/* ---- sequence_at ---- */

static bool infer_at(Node *node) {
  TRY(check_symbols(node) && check_form(node, 0, FORM_SEQUENCE) && check_position(node, 1));
  NewSizes sizes = {node, 0};
  result_set(node, 0, type_with_new_sizes(&sizes, tensor_in(node_module(node), operand(node, 0)->type)));
  return true;
}

static const OperandSpec at_operands[] = {{"x", false, "a sequence"},
                                          {"position", false, "one integer; negative: from the end"}};

const Op op_sequence_at = {
    .name = "sequence_at",
    .family = "sequence",
    .doc = "The tensor at a position of the sequence.",
    .operands = at_operands,
    .operand_count = 2,
    .results = (const char *const[]){"y"},
    .result_count = 1,
    .attrs = symbols_attr,
    .attr_count = 1,
    .traits = TRAIT_STRUCTURE | TRAIT_DYNAMIC,
    .infer = infer_at,
};

/* ---- sequence_insert ---- */

static bool infer_insert(Node *node) {
  TRY(check_form(node, 0, FORM_SEQUENCE) && check_form(node, 1, FORM_TENSOR));
  if (operand(node, 2)) TRY(check_position(node, 2));
  const Type *type = sequence_with(node_module(node), operand(node, 0)->type, operand(node, 1)->type);
  if (!type) return node_fail(node, "%s does not go into %s", operand_text(node, 1), operand_text(node, 0));
  result_set(node, 0, type);
  return true;
}

static const OperandSpec insert_operands[] = {
    {"x", false, "a sequence"},
    {"tensor", false, "a tensor of its dtype"},
    {"position", true, "one integer; negative: from the end; absent: the end"}};

const Op op_sequence_insert = {
    .name = "sequence_insert",
    .family = "sequence",
    .doc = "The sequence with the tensor before the one at a position.",
    .operands = insert_operands,
    .operand_count = 3,
    .results = (const char *const[]){"y"},
    .result_count = 1,
    .traits = TRAIT_STRUCTURE | TRAIT_DYNAMIC,
    .infer = infer_insert,
};

/* ---- sequence_erase ---- */

static bool infer_erase(Node *node) {
  TRY(check_form(node, 0, FORM_SEQUENCE));
  if (operand(node, 1)) TRY(check_position(node, 1));
  result_set(node, 0, operand(node, 0)->type);
  return true;
}

static const OperandSpec erase_operands[] = {
    {"x", false, "a sequence"}, {"position", true, "one integer; negative: from the end; absent: the last"}};

const Op op_sequence_erase = {
    .name = "sequence_erase",
    .family = "sequence",
    .doc = "The sequence without the tensor at a position.",
    .operands = erase_operands,
    .operand_count = 2,
    .results = (const char *const[]){"y"},
    .result_count = 1,
    .traits = TRAIT_STRUCTURE | TRAIT_DYNAMIC,
    .infer = infer_erase,
};

/* ---- sequence_length ---- */

static bool infer_length(Node *node) {
  TRY(check_form(node, 0, FORM_SEQUENCE));
  result_set(node, 0, type_scalar(node_module(node), DTYPE_I64));
  return true;
}

static const OperandSpec length_operands[] = {{"x", false, "a sequence"}};

const Op op_sequence_length = {
    .name = "sequence_length",
    .family = "sequence",
    .doc = "How many tensors the sequence has, i64.",
    .operands = length_operands,
    .operand_count = 1,
    .results = (const char *const[]){"y"},
    .result_count = 1,
    .traits = TRAIT_STRUCTURE | TRAIT_DYNAMIC,
    .infer = infer_length,
};

/* ---- sequence_concat ---- */

static bool infer_concat(Node *node) {
  const Dim *dims[MAX_RANK];
  Module *module = node_module(node);
  TRY(check_symbols(node) && check_form(node, 0, FORM_SEQUENCE));
  const Type *part = operand(node, 0)->type;
  bool stack = node_bool(node, "stack");
  if (part->rank == RANK_UNKNOWN) {
    result_set(node, 0, type_unknown_rank(module, part->dtype));
    return true;
  }
  int rank = part->rank + stack, axis;
  if (rank > MAX_RANK) return node_fail(node, "over %d axes", MAX_RANK);
  TRY(check_axis(node, "axis", rank, &axis));
  NewSizes sizes = {node, 0};
  for (int i = 0, from = 0; i < rank; i++) {
    const Dim *dim = stack && i == axis ? NULL : part->dims[from++];
    dims[i] = i == axis || dim_says_nothing(dim) ? new_size(&sizes) : dim;
  }
  result_set(node, 0, type_make(module, part->dtype, rank, dims));
  return true;
}

static const OperandSpec concat_operands[] = {{"x", false, "a sequence of at least one tensor"}};
static const AttrSpec concat_attrs[] = {
    {.name = "axis", .kind = ATTR_INT, .value = "0", .doc = "of the result"},
    {.name = "stack", .kind = ATTR_BOOL, .value = "false", .doc = "the axis is a new one of the result"},
    SYMBOLS_ATTR,
};

const Op op_sequence_concat = {
    .name = "sequence_concat",
    .family = "sequence",
    .doc = "All tensors of the sequence, one behind the other along an axis; the other sizes must be equal.",
    .operands = concat_operands,
    .operand_count = 1,
    .results = (const char *const[]){"y"},
    .result_count = 1,
    .attrs = concat_attrs,
    .attr_count = COUNT_OF(concat_attrs),
    .traits = TRAIT_STRUCTURE | TRAIT_DYNAMIC,
    .infer = infer_concat,
};

/* ---- sequence_split ---- */

static bool infer_split(Node *node) {
  const Dim *dims[MAX_RANK];
  Module *module = node_module(node);
  const Type *type = operand(node, 0)->type;
  int axis;
  if (!type_is_tensor(type)) return node_fail(node, "%s cannot be split", operand_text(node, 0));
  TRY(check_axis(node, "axis", type->rank, &axis));
  const Type *split = operand(node, 1) ? operand(node, 1)->type : NULL;
  if (split && (!type_is_tensor(split) || !dtype_is_int(split->dtype) || split->rank > 1))
    return node_fail(node, "the sizes of parts are integers, not %s", operand_text(node, 1));
  bool keep = node_bool(node, "keep");
  int rank = 0;
  if (!keep && split) return node_fail(node, "parts of given sizes keep their axis");
  for (int i = 0; i < type->rank; i++) {
    if (i == axis && !keep) continue;
    dims[rank++] = i != axis ? type->dims[i] : split ? dim_symbol(module, "_") : dim_const(module, 1);
  }
  result_set(node, 0, sequence_of(module, type_make(module, type->dtype, rank, dims)));
  return true;
}

static const OperandSpec split_operands[] = {
    {"x", false, "any shape"},
    {"sizes", true,
     "integers: of each part; a scalar: of all parts, the last may be smaller; absent: 1 for every part"}};
static const AttrSpec split_attrs[] = {
    {.name = "axis", .kind = ATTR_INT, .value = "0", .doc = "that is split"},
    {.name = "keep", .kind = ATTR_BOOL, .value = "true", .doc = "whether parts of size 1 keep the axis"},
};

const Op op_sequence_split = {
    .name = "sequence_split",
    .family = "sequence",
    .doc = "The sequence of x's parts along an axis.",
    .operands = split_operands,
    .operand_count = 2,
    .results = (const char *const[]){"y"},
    .result_count = 1,
    .attrs = split_attrs,
    .attr_count = COUNT_OF(split_attrs),
    .traits = TRAIT_STRUCTURE | TRAIT_DYNAMIC,
    .infer = infer_split,
};

/* ---- optional_make, optional_has, optional_get ---- */

static bool is_sequence(const Type *type) {
  return type->form == FORM_SEQUENCE || type->form == FORM_OPTIONAL_SEQUENCE;
}

static bool is_optional(const Type *type) {
  return type->form == FORM_OPTIONAL || type->form == FORM_OPTIONAL_SEQUENCE;
}

static bool infer_make_optional(Node *node) {
  Module *module = node_module(node);
  bool sequence = node_bool(node, "sequence");
  const Type *type = type_unknown_rank(module, node_dtype(node, "dtype"));
  if (operand(node, 0)) {
    type = operand(node, 0)->type;
    sequence = is_sequence(type);
    if (is_optional(type)) return node_fail(node, "%s is optional already", operand_text(node, 0));
  }
  type = type_forget_symbols(module, type);
  result_set(node, 0, type_with_form(module, type, sequence ? FORM_OPTIONAL_SEQUENCE : FORM_OPTIONAL));
  return true;
}

static const OperandSpec make_optional_operands[] = {{"x", true, "a tensor or a sequence; absent: nothing"}};
static const AttrSpec make_optional_attrs[] = {
    {.name = "dtype", .kind = ATTR_DTYPE, .value = "f32", .doc = "of the tensors, where x is absent"},
    {.name = "sequence",
     .kind = ATTR_BOOL,
     .value = "false",
     .doc = "whether it would be a sequence, where x is absent"},
};

const Op op_optional_make = {
    .name = "optional_make",
    .family = "sequence",
    .doc = "x, or nothing, as a value that may be absent.",
    .operands = make_optional_operands,
    .operand_count = 1,
    .results = (const char *const[]){"y"},
    .result_count = 1,
    .attrs = make_optional_attrs,
    .attr_count = COUNT_OF(make_optional_attrs),
    .traits = TRAIT_STRUCTURE | TRAIT_DYNAMIC,
    .infer = infer_make_optional,
};

static bool check_optional(const Node *node) {
  return is_optional(operand(node, 0)->type) || node_fail(node, "%s is never absent", operand_text(node, 0));
}

static bool infer_has(Node *node) {
  TRY(check_optional(node));
  result_set(node, 0, type_scalar(node_module(node), DTYPE_BOOL));
  return true;
}

static const OperandSpec optional_operands[] = {{"x", false, "an optional value"}};

const Op op_optional_has = {
    .name = "optional_has",
    .family = "sequence",
    .doc = "Whether the optional value is there.",
    .operands = optional_operands,
    .operand_count = 1,
    .results = (const char *const[]){"y"},
    .result_count = 1,
    .traits = TRAIT_STRUCTURE | TRAIT_DYNAMIC,
    .infer = infer_has,
};

static bool infer_get(Node *node) {
  TRY(check_symbols(node) && check_optional(node));
  Module *module = node_module(node);
  const Type *type = operand(node, 0)->type;
  NewSizes sizes = {node, 0};
  result_set(node, 0,
             is_sequence(type) ? type_with_form(module, type, FORM_SEQUENCE)
                               : type_with_new_sizes(&sizes, tensor_in(module, type)));
  return true;
}

const Op op_optional_get = {
    .name = "optional_get",
    .family = "sequence",
    .doc = "The tensor or sequence in an optional value; it is an error of the run when that is absent.",
    .operands = optional_operands,
    .operand_count = 1,
    .results = (const char *const[]){"y"},
    .result_count = 1,
    .attrs = symbols_attr,
    .attr_count = 1,
    .traits = TRAIT_STRUCTURE | TRAIT_DYNAMIC,
    .infer = infer_get,
};
