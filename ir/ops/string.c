/*
 * string.c -- strings: comparing, changing, splitting, matching, numbers. They exist while a graph runs only;
 * the runtime's functions (runtime/strings.c) are their meaning, in the interpreter as in libraries. What
 * only moves strings (transpose, gather, where, ...) is as for any other element.
 */
#include "ir/ops/dynamic.h"
#include "runtime/text.h"

#include <stdlib.h>
#include <string.h>

enum { STRING_TRAITS = TRAIT_STRUCTURE | TRAIT_DYNAMIC };

static bool check_strings(const Node *node, int index) {
  const Type *type = operand(node, index)->type;
  if (type_is_tensor(type) && type->dtype == DTYPE_STRING && type->rank >= 0) return true;
  return node_fail(node, "operand %d is %s, not a tensor of strings", index, operand_text(node, index));
}

/* Result 0 has the shape of operand 0. */
static bool set_like(Node *node, Dtype dtype) {
  result_set(node, 0, type_with_dtype(node_module(node), operand(node, 0)->type, dtype));
  return true;
}

/* Two tensors of one shape. */
static bool check_pair(const Node *node) {
  TRY(check_strings(node, 0) && check_strings(node, 1));
  return type_same_shape(operand(node, 0)->type, operand(node, 1)->type) ||
         node_fail(node, "the shapes of %s and %s differ", operand_text(node, 0), operand_text(node, 1));
}

static bool check_string_scalar(const Node *node, int index) {
  return check_strings(node, index) && check_rank(node, index, 0);
}

static const char *const one_result[] = {"y"};
static const OperandSpec one_operand[] = {{"x", false, "strings"}};
static const OperandSpec pair_operands[] = {{"x", false, "strings"},
                                            {"y", false, "strings, of the same shape"}};

/* ---- string_equal, string_concat ---- */

static bool infer_equal(Node *node) {
  return check_pair(node) && set_like(node, DTYPE_BOOL);
}

const Op op_string_equal = {
    .name = "string_equal",
    .family = "string",
    .doc = "Whether two strings have the same bytes.",
    .operands = pair_operands,
    .operand_count = 2,
    .results = one_result,
    .result_count = 1,
    .traits = STRING_TRAITS,
    .infer = infer_equal,
};

static bool infer_concat(Node *node) {
  return check_pair(node) && set_like(node, DTYPE_STRING);
}

const Op op_string_concat = {
    .name = "string_concat",
    .family = "string",
    .doc = "The string x with the string y behind it.",
    .operands = pair_operands,
    .operand_count = 2,
    .results = one_result,
    .result_count = 1,
    .traits = STRING_TRAITS,
    .infer = infer_concat,
};

/* ---- string_find ---- */

static bool infer_find(Node *node) {
  TRY(check_strings(node, 0) && check_strings(node, 1) && check_rank(node, 1, 1));
  const Data *keys = value_data(operand(node, 1));
  if (!keys) return node_fail(node, "the keys are not constant");
  for (int64_t i = 1; i < keys->count; i++)
    if (strcmp(data_string(keys, i - 1), data_string(keys, i)) >= 0)
      return node_fail(node, "keys %lld and %lld do not ascend", (long long)i - 1, (long long)i);
  return set_like(node, DTYPE_I64);
}

static const OperandSpec find_operands[] = {
    {"x", false, "strings"}, {"keys", false, "constant strings [N] that ascend by their bytes"}};

const Op op_string_find = {
    .name = "string_find",
    .family = "string",
    .doc = "The position of x among the keys, -1 where it is none of them.",
    .operands = find_operands,
    .operand_count = 2,
    .results = one_result,
    .result_count = 1,
    .traits = STRING_TRAITS,
    .infer = infer_find,
};

/* ---- string_match ---- */

static bool check_pattern(const Node *node, const char *pattern) {
  Regex *regex = malloc(sizeof *regex);
  if (!regex) return node_fail(node, "no memory for a pattern");
  const char *error = tenon_regex_compile(regex, pattern);
  free(regex);
  return !error || node_fail(node, "'%s': %s", pattern, error);
}

static bool infer_match(Node *node) {
  TRY(check_strings(node, 0) && check_string_scalar(node, 1));
  const Data *pattern = value_data(operand(node, 1));
  if (!pattern) return node_fail(node, "the pattern is not constant");
  return check_pattern(node, data_string(pattern, 0)) && set_like(node, DTYPE_BOOL);
}

static const OperandSpec match_operands[] = {
    {"x", false, "strings"}, {"pattern", false, "a constant scalar: a regular expression as of RE2"}};

const Op op_string_match = {
    .name = "string_match",
    .family = "string",
    .doc = "Whether the whole string matches the pattern. There are characters, classes, repeats, groups, "
           "alternatives, anchors and the flags i and s; no Unicode classes (\\p).",
    .operands = match_operands,
    .operand_count = 2,
    .results = one_result,
    .result_count = 1,
    .traits = STRING_TRAITS,
    .infer = infer_match,
};

/* ---- string_case, string_without ---- */

static bool infer_case(Node *node) {
  return check_strings(node, 0) && set_like(node, DTYPE_STRING);
}

static const AttrSpec case_attrs[] = {
    {.name = "upper", .kind = ATTR_BOOL, .value = "false", .doc = "to upper case instead of lower"}};

const Op op_string_case = {
    .name = "string_case",
    .family = "string",
    .doc = "The string in lower or upper case: Latin, Greek, Cyrillic and Armenian letters of UTF-8, each by "
           "itself, whatever the locale is.",
    .operands = one_operand,
    .operand_count = 1,
    .results = one_result,
    .result_count = 1,
    .attrs = case_attrs,
    .attr_count = 1,
    .traits = STRING_TRAITS,
    .infer = infer_case,
};

static bool infer_without(Node *node) {
  TRY(check_symbols(node) && check_strings(node, 0) && check_strings(node, 1) && check_rank(node, 1, 1));
  const Type *type = operand(node, 0)->type;
  if (type->rank != 1 && !(type->rank == 2 && dim_is(type->dims[0], 1)))
    return node_fail(node, "x is %s, one row is wanted", operand_text(node, 0));
  const Dim *dims[2] = {type->dims[0]};
  NewSizes sizes = {node, 0};
  dims[type->rank - 1] = new_size(&sizes);
  result_set(node, 0, type_make(node_module(node), DTYPE_STRING, type->rank, dims));
  return true;
}

static const OperandSpec without_operands[] = {{"x", false, "strings [C] or [1,C]"},
                                               {"words", false, "strings [N]"}};
static const AttrSpec without_attrs[] = {
    {.name = "ignore_case", .kind = ATTR_BOOL, .value = "false", .doc = "whether words match in any case"},
    SYMBOLS_ATTR,
};

const Op op_string_without = {
    .name = "string_without",
    .family = "string",
    .doc = "The strings of x that are none of the words, in order; a single \"\" when there are none.",
    .operands = without_operands,
    .operand_count = 2,
    .results = one_result,
    .result_count = 1,
    .attrs = without_attrs,
    .attr_count = COUNT_OF(without_attrs),
    .traits = STRING_TRAITS,
    .infer = infer_without,
};

/* ---- string_remove ---- */

static bool infer_remove(Node *node) {
  return check_strings(node, 0) && check_string_scalar(node, 1) && set_like(node, DTYPE_STRING);
}

static const OperandSpec remove_operands[] = {{"x", false, "strings"},
                                              {"set", false, "a scalar: characters of ASCII"}};

const Op op_string_remove = {
    .name = "string_remove",
    .family = "string",
    .doc = "The string without the characters that stand in the set.",
    .operands = remove_operands,
    .operand_count = 2,
    .results = one_result,
    .result_count = 1,
    .traits = STRING_TRAITS,
    .infer = infer_remove,
};

/* ---- string_hash, string_hash_join ---- */

static bool check_buckets(const Node *node) {
  int64_t buckets = node_int(node, "buckets");
  return buckets >= 0 || node_fail(node, "%lld buckets", (long long)buckets);
}

static bool infer_hash(Node *node) {
  return check_buckets(node) && check_strings(node, 0) && set_like(node, DTYPE_I64);
}

#define BUCKETS_ATTR                                                                                         \
  {.name = "buckets",                                                                                        \
   .kind = ATTR_INT,                                                                                         \
   .value = "0",                                                                                             \
   .doc = "the result is the hash modulo that number; 0: its 64 bits"}
static const AttrSpec hash_attrs[] = {
    BUCKETS_ATTR,
    {.name = "keyed", .kind = ATTR_BOOL, .value = "false", .doc = "SipHash-2-4 instead of FarmHash"},
    {.name = "key0", .kind = ATTR_INT, .value = "0", .doc = "first half of the key"},
    {.name = "key1", .kind = ATTR_INT, .value = "0", .doc = "second half of the key"},
};

const Op op_string_hash = {
    .name = "string_hash",
    .family = "string",
    .doc = "A hash of the bytes: the 64-bit fingerprint of FarmHash, or SipHash-2-4 (Aumasson and Bernstein "
           "2012), as an unsigned number modulo the buckets.",
    .operands = one_operand,
    .operand_count = 1,
    .results = one_result,
    .result_count = 1,
    .attrs = hash_attrs,
    .attr_count = COUNT_OF(hash_attrs),
    .traits = STRING_TRAITS,
    .infer = infer_hash,
};

static bool infer_hash_join(Node *node) {
  TRY(check_buckets(node));
  for (int i = 0; i < 2; i++)
    if (!type_is_tensor(operand(node, i)->type) || operand(node, i)->type->dtype != DTYPE_I64)
      return node_fail(node, "operand %d is %s, not i64", i, operand_text(node, i));
  if (!type_same_shape(operand(node, 0)->type, operand(node, 1)->type))
    return node_fail(node, "the shapes of %s and %s differ", operand_text(node, 0), operand_text(node, 1));
  return set_like(node, DTYPE_I64);
}

static const OperandSpec join_operands[] = {{"x", false, "i64: fingerprints"},
                                            {"y", false, "i64, of the same shape"}};
static const AttrSpec join_attrs[] = {BUCKETS_ATTR};

const Op op_string_hash_join = {
    .name = "string_hash_join",
    .family = "string",
    .doc = "One fingerprint of two, as TensorFlow's FingerprintCat64 joins them; not commutative.",
    .operands = join_operands,
    .operand_count = 2,
    .results = one_result,
    .result_count = 1,
    .attrs = join_attrs,
    .attr_count = COUNT_OF(join_attrs),
    .traits = STRING_TRAITS,
    .infer = infer_hash_join,
};

/* ---- string_split, string_split_count ---- */

static const OperandSpec split_operands[] = {
    {"x", false, "strings"},
    {"delimiter", true, "a scalar; \"\": white space, of which runs count once; absent with characters"}};
#define MOST_ATTR                                                                                            \
  {.name = "most", .kind = ATTR_INT, .value = "-1", .doc = "splits of a string at most; negative: no limit"}
#define CHARACTERS_ATTR                                                                                      \
  {.name = "characters",                                                                                     \
   .kind = ATTR_BOOL,                                                                                        \
   .value = "false",                                                                                         \
   .doc = "every character of UTF-8 is a part, whatever the delimiter is"}
static const AttrSpec split_attrs[] = {MOST_ATTR, CHARACTERS_ATTR, SYMBOLS_ATTR};
static const AttrSpec count_attrs[] = {MOST_ATTR, CHARACTERS_ATTR};

static bool check_delimiter(const Node *node) {
  if (operand(node, 1)) return check_string_scalar(node, 1);
  return node_bool(node, "characters") || node_fail(node, "there is no delimiter");
}

static bool infer_split(Node *node) {
  TRY(check_symbols(node) && check_strings(node, 0) && check_delimiter(node));
  const Type *type = operand(node, 0)->type;
  const Dim *dims[MAX_RANK];
  if (type->rank == MAX_RANK) return node_fail(node, "%s has no room for an axis", operand_text(node, 0));
  for (int i = 0; i < type->rank; i++) dims[i] = type->dims[i];
  NewSizes sizes = {node, 0};
  dims[type->rank] = new_size(&sizes);
  result_set(node, 0, type_make(node_module(node), DTYPE_STRING, type->rank + 1, dims));
  return true;
}

const Op op_string_split = {
    .name = "string_split",
    .family = "string",
    .doc =
        "The parts of every string along a new last axis, which is as long as the most of them; \"\" fills "
        "the rest.",
    .operands = split_operands,
    .operand_count = 2,
    .results = one_result,
    .result_count = 1,
    .attrs = split_attrs,
    .attr_count = COUNT_OF(split_attrs),
    .traits = STRING_TRAITS,
    .infer = infer_split,
};

static bool infer_split_count(Node *node) {
  return check_strings(node, 0) && check_delimiter(node) && set_like(node, DTYPE_I64);
}

const Op op_string_split_count = {
    .name = "string_split_count",
    .family = "string",
    .doc = "How many parts string_split gives of every string.",
    .operands = split_operands,
    .operand_count = 2,
    .results = one_result,
    .result_count = 1,
    .attrs = count_attrs,
    .attr_count = COUNT_OF(count_attrs),
    .traits = STRING_TRAITS,
    .infer = infer_split_count,
};

/* ---- string_format, string_parse ---- */

static bool infer_format(Node *node) {
  Dtype dtype = operand(node, 0)->type->dtype, shown = node_dtype(node, "like");
  bool fits = shown == dtype || ((shown == DTYPE_F16 || shown == DTYPE_BF16) && dtype == DTYPE_F32);
  TRY(check_form(node, 0, FORM_TENSOR));
  if (dtype != DTYPE_F32 && dtype != DTYPE_F64 && dtype != DTYPE_I64 && dtype != DTYPE_U64)
    return node_fail(node, "operand 0 is %s, not f32, f64, i64 or u64", operand_text(node, 0));
  if (dtype_is_float(dtype) && !fits)
    return node_fail(node, "%s cannot be written like %s", dtype_name(dtype), dtype_name(shown));
  return set_like(node, DTYPE_STRING);
}

static const OperandSpec format_operands[] = {{"x", false, "f32, f64, i64 or u64"}};
static const AttrSpec format_attrs[] = {
    {.name = "like",
     .kind = ATTR_DTYPE,
     .value = "f32",
     .doc = "of floats: the fewest digits that tell this dtype's numbers apart; f16 and bf16 come as f32"}};

const Op op_string_format = {
    .name = "string_format",
    .family = "string",
    .doc = "Numbers as decimal text: 1.5, 2.0, 1e-05, NaN, INF, -INF, and integers without a point.",
    .operands = format_operands,
    .operand_count = 1,
    .results = one_result,
    .result_count = 1,
    .attrs = format_attrs,
    .attr_count = 1,
    .traits = STRING_TRAITS,
    .infer = infer_format,
};

static bool infer_parse(Node *node) {
  Dtype to = node_dtype(node, "to");
  if (to != DTYPE_F64 && to != DTYPE_I64) return node_fail(node, "strings are read as f64 or i64");
  return check_strings(node, 0) && set_like(node, to);
}

static const AttrSpec parse_attrs[] = {
    {.name = "to", .kind = ATTR_DTYPE, .value = "f64", .doc = "f64 or i64"}};

const Op op_string_parse = {
    .name = "string_parse",
    .family = "string",
    .doc =
        "The numbers that strings spell in decimals, also with exponents, nan, inf and infinity in any case. "
        "As i64, fractions are cut off, and integers from 2^63 to 2^64 have the bits of u64. It is an error "
        "of the run when a string is none.",
    .operands = one_operand,
    .operand_count = 1,
    .results = one_result,
    .result_count = 1,
    .attrs = parse_attrs,
    .attr_count = 1,
    .traits = STRING_TRAITS,
    .infer = infer_parse,
};
