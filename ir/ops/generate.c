/*
 * generate.c -- operators that make elements of nothing but their position: iota and random_uniform.
 *
 * Random numbers are a function of a seed and of the number of the element, so they do not depend on the
 * order in which elements are computed, on threads, or on the width of vectors; and every run gives the same.
 */
#include "ir/ops/ops.h"

#include <math.h>

enum { MAX_WRITTEN = 1 << 14 }; /* elements of an iota that are written out as a constant */

static const char *const results_y[] = {"y"};

/* Result 0 has the sizes of attribute `shape` and the dtype of attribute `dtype`, of one of the kinds. */
static bool infer_shaped(Node *node, unsigned kinds) {
  int count;
  const Dim *const *shape = node_dims(node, "shape", &count);
  Dtype dtype = node_dtype(node, "dtype");
  TRY(check_sizes(node, "shape", shape, count));
  if (!(dtype_kind(dtype) & kinds))
    return node_fail(node, "dtype is %s, which is no type of its results", dtype_name(dtype));
  result_set(node, 0, type_make(node_module(node), dtype, count, shape));
  return true;
}

/* ---- iota ---- */

static const AttrSpec iota_attrs[] = {
    {"shape", ATTR_DIMS, ROLE_SIZES, NULL, "sizes of the result", NULL},
    {"axis", ATTR_INT, ROLE_AXIS, "0", "axis whose positions the elements are", NULL},
    {"dtype", ATTR_DTYPE, ROLE_NONE, "i64", "a number type", NULL},
    {"start", ATTR_DIMS, ROLE_NONE, "[0]", "one number: that of the first position", NULL}};

static const Dim *iota_start(const Node *node) {
  int count;
  return node_dims(node, "start", &count)[0];
}

static bool iota_infer(Node *node) {
  int axis, starts;
  const Dim *known[MAX_KNOWN];
  TRY(infer_shaped(node, KIND_NUMBER));
  node_dims(node, "start", &starts);
  TRY(check_count(node, "start", starts, 1));
  const Type *type = result(node, 0)->type;
  TRY(check_axis(node, "axis", type->rank, &axis));
  int64_t count = type_static_count(type);
  if (!dtype_is_int(type->dtype) || type->rank != 1 || count < 0 || count > MAX_KNOWN) return true;
  for (int i = 0; i < (int)count; i++)
    known[i] = dim_add(node_module(node), iota_start(node), dim_const(node_module(node), i));
  known_set(node, known);
  return true;
}

static Value *iota_simplify(Node *node) {
  const Type *type = result(node, 0)->type;
  int64_t count = type_static_count(type), inner = 1;
  if (count < 0 || count > MAX_WRITTEN || !dim_is_const(iota_start(node))) return NULL;
  int axis = (int)node_axis(node, "axis", type->rank);
  for (int i = axis + 1; i < type->rank; i++) inner *= type->dims[i]->value;
  Data *data = data_new(node_module(node), type->dtype, count);
  for (int64_t i = 0; i < count; i++)
    dtype_set_int(type->dtype, data_bytes(data), i,
                  iota_start(node)->value + i / inner % type->dims[axis]->value);
  Builder builder = builder_before(node);
  return build_const(&builder, type, data, NULL);
}

static Reg *iota_element(Lower *lower, const Node *node, int which, const Index *at) {
  Loops *loops = &lower->loops;
  const Type *type = result(node, which)->type;
  Reg *position = index_reg(lower, at[node_axis(node, "axis", type->rank)]);
  const Dim *start = iota_start(node);
  if (!dim_is(start, 0)) position = loop_binary(loops, LOOP_ADD, position, loop_dim(loops, start));
  return loop_cast(loops, position, type->dtype);
}

Value *iota_shifted(const Node *iota, Node *before, const Dim *by, const Dim *const *shape, int rank) {
  const Type *type = result(iota, 0)->type;
  Builder builder = builder_before(before);
  Node *shifted = node_new(&builder, &op_iota, NULL, 0);
  const Dim *start = dim_add(node_module(iota), iota_start(iota), by);
  node_set_dims(shifted, "shape", shape, rank);
  node_set_int(shifted, "axis", node_int(iota, "axis"));
  node_set_dtype(shifted, "dtype", type->dtype);
  node_set_dims(shifted, "start", &start, 1);
  return node_finish(shifted) ? result(shifted, 0) : NULL;
}

const Op op_iota = {
    .name = "iota",
    .family = "generate",
    .doc = "The position of each element along an axis: start, start+1, start+2, ...",
    .results = results_y,
    .result_count = 1,
    .attrs = iota_attrs,
    .attr_count = COUNT_OF(iota_attrs),
    .traits = TRAIT_CHEAP,
    .infer = iota_infer,
    .simplify = iota_simplify,
    .axes = axes_opaque,
    .element = iota_element,
};

/* ---- random_uniform ---- */

static const AttrSpec random_uniform_attrs[] = {
    {"shape", ATTR_DIMS, ROLE_NONE, NULL, "sizes of the result", NULL},
    {"dtype", ATTR_DTYPE, ROLE_NONE, "f32", "f16, bf16, f32 or f64", NULL},
    {"seed", ATTR_INT, ROLE_NONE, "0", "which numbers: the same seed gives the same", NULL}};

static bool random_uniform_infer(Node *node) {
  return infer_shaped(node, KIND_FLOAT);
}

/* SplitMix64 (Steele, Lea and Flood 2014): the state of its n-th step is key + n * GOLDEN, and MIX makes a
 * number of it by three shifts and two products. */
#define GOLDEN 0x9E3779B97F4A7C15u
static const struct Mix {
  int shift;
  uint64_t factor;
} mixes[] = {{30, 0xBF58476D1CE4E5B9u}, {27, 0x94D049BB133111EBu}, {31, 1}};

static uint64_t mix(uint64_t z) {
  for (int i = 0; i < COUNT_OF(mixes); i++) z = (z ^ z >> mixes[i].shift) * mixes[i].factor;
  return z;
}

static Reg *emit_mix(Loops *loops, Reg *z) {
  LoopType type = z->type;
  for (int i = 0; i < COUNT_OF(mixes); i++) {
    Reg *high = loop_binary(loops, LOOP_SHR, z, loop_const_int(loops, type, mixes[i].shift));
    z = loop_binary(loops, LOOP_XOR, z, high);
    if (mixes[i].factor != 1)
      z = loop_binary(loops, LOOP_MUL, z, loop_const_int(loops, type, (int64_t)mixes[i].factor));
  }
  return z;
}

/* Bits of the significand: so many bits make an even number below 1 that the dtype has exactly. */
static int precision(Dtype dtype) {
  return dtype == DTYPE_F64 ? 53 : dtype == DTYPE_F32 ? 24 : dtype == DTYPE_F16 ? 11 : 8;
}

static Reg *random_uniform_element(Lower *lower, const Node *node, int which, const Index *at) {
  Loops *loops = &lower->loops;
  const Type *type = result(node, which)->type;
  Index number = index_const(lower, 0);
  for (int i = 0; i < type->rank; i++)
    number = index_add(lower, index_mul_dim(lower, number, type->dims[i]), at[i]);
  Reg *n = loop_cast(loops, index_reg(lower, number), DTYPE_U64);
  uint64_t key = mix((uint64_t)node_int(node, "seed") + GOLDEN);
  Reg *z = loop_binary(loops, LOOP_MUL, n, loop_const_int(loops, n->type, (int64_t)GOLDEN));
  z = emit_mix(loops, loop_binary(loops, LOOP_ADD, z, loop_const_int(loops, n->type, (int64_t)key)));
  int bits = precision(type->dtype);
  z = loop_binary(loops, LOOP_SHR, z, loop_const_int(loops, n->type, 64 - bits));
  Dtype wide = type->dtype == DTYPE_F64 ? DTYPE_F64 : DTYPE_F32;
  Reg *x = loop_cast(loops, loop_cast(loops, z, DTYPE_I64), wide);
  return loop_cast(loops, loop_binary(loops, LOOP_MUL, x, constant_like(lower, x, ldexp(1, -bits))),
                   type->dtype);
}

const Op op_random_uniform = {
    .name = "random_uniform",
    .family = "generate",
    .doc =
        "Random numbers, evenly distributed in [0, 1). Element n of the result, counted row-major, is made "
        "of the seed and n alone (SplitMix64, Steele, Lea and Flood 2014): every run gives the same numbers, "
        "with any number of threads.",
    .results = results_y,
    .result_count = 1,
    .attrs = random_uniform_attrs,
    .attr_count = COUNT_OF(random_uniform_attrs),
    .infer = random_uniform_infer,
    .axes = axes_opaque,
    .element = random_uniform_element,
};
