/*
 * sparse.c -- packed weights are stored without their zeros where that is faster.
 *
 * IR before: conv and gemm over constant panels of weights, [panels][k.. * c / depth][16 * depth]. IR after:
 * those of which enough steps (rows of a panel; of bytes four rows, of bf16 two) are all zeros hold only the
 * others, with lists that say which these are (ir/ops/sparse.c). Requires: pack, and its weights folded.
 * Keeps: the meaning, but for infinities and NaN that zeros would have been multiplied by, which is why
 * --precision=strict goes without. What is faster is the cost model's matter.
 */
#include "codegen/schedule.h"

#include <string.h>

/* What is gained must be more than the model errs. */
static const double MOST = 0.8;

/* The panels of a product's weights. */
typedef struct Panels {
  const Data *data;
  int64_t lists;       /* panels * elements of the kernel */
  int64_t steps;       /* of a list */
  int64_t width, kept; /* weights of a step; steps with any that is not 0 */
} Panels;

static bool step_is_zero(const Panels *p, int64_t step) {
  for (int64_t i = 0; i < p->width; i++)
    if (data_get(p->data, step * p->width + i) != 0) return false;
  return true;
}

/* Whether the node has weights that can be stored otherwise. */
static bool read_panels(const Node *node, Panels *p) {
  if (!node_is(node, &op_conv) && !node_is(node, &op_gemm)) return false;
  if (node_int(node, "packed") == 0 || operand(node, SPARSE_ROWS) || !has_fast_products(node)) return false;
  if (node_is(node, &op_conv) && (node_int(node, "winograd") || node_int(node, "outside"))) return false;
  const Type *w = operand(node, PRODUCT_W)->type;
  *p = (Panels){.data = value_data(operand(node, PRODUCT_W)), .width = w->dims[2]->value};
  if (!p->data || p->data->splat) return false;
  int64_t taps = 1;
  if (node_is(node, &op_conv)) {
    Window window = node_window(node);
    for (int s = 0; s < window.rank; s++) taps *= window.kernel[s];
  }
  p->lists = w->dims[0]->value * taps;
  p->steps = w->dims[1]->value / taps;
  for (int64_t step = 0; step < p->lists * p->steps; step++) p->kept += !step_is_zero(p, step);
  return true;
}

/* ---- before weights are packed ------------------------------------------------------------------------- */

/* The constant behind transposes, and the strides of the value's axes in it; NULL: there is none. */
static const Data *constant_behind(const Value *value, int64_t *strides) {
  const Type *type = value->type;
  const Data *data = value_data(value);
  int64_t inner[MAX_RANK], stride = 1;
  int count;
  if (data) {
    for (int axis = type->rank - 1; axis >= 0; stride *= type->dims[axis--]->value) strides[axis] = stride;
    return data;
  }
  if (!value->def || !node_is(value->def, &op_transpose)) return NULL;
  data = constant_behind(operand(value->def, 0), inner);
  const int64_t *perm = node_ints(value->def, "perm", &count);
  for (int axis = 0; axis < count; axis++) strides[axis] = inner[perm[axis]];
  return data;
}

/* The share of [1][PANEL] blocks of w's last two axes that are not all zeros. */
static double kept_share(const Value *w) {
  enum { PANEL = 16 };
  int64_t strides[MAX_RANK], at[MAX_RANK] = {0}, kept = 0, blocks = 0;
  const Type *type = w->type;
  const Data *data = constant_behind(w, strides);
  if (!data || data->splat) return 1;
  int last = type->rank - 1;
  for (int axis = 0; axis >= 0;) {
    bool zero = true;
    int64_t base = 0, columns = type->dims[last]->value;
    for (int i = 0; i < last; i++) base += at[i] * strides[i];
    for (int64_t n = 0; n < columns; n++) {
      zero = zero && data_get(data, base + n * strides[last]) == 0;
      if ((n + 1) % PANEL != 0 && n + 1 < columns) continue;
      kept += !zero;
      blocks++;
      zero = true;
    }
    for (axis = last - 1; axis >= 0 && ++at[axis] == type->dims[axis]->value; axis--) at[axis] = 0;
  }
  return (double)kept / (double)blocks;
}

bool sparse_beats_winograd(const Node *conv) {
  const double gain = 2.6; /* of Winograd's filtering over the sums themselves */
  return kept_share(operand(conv, PRODUCT_W)) < MOST / gain;
}

/* ---- the new form -------------------------------------------------------------------------------------- */

static Value *table(Builder *builder, Data *data) {
  return build_const(builder, type_static(builder->graph->module, data->dtype, 1, &data->count), data, NULL);
}

/* w, rows and starts. */
static bool keep_steps(Builder *builder, const Panels *p, Value *made[3]) {
  Module *module = builder->graph->module;
  size_t bytes = 0, step_bytes = 0;
  if (!dtype_bytes(p->data->dtype, p->width, &step_bytes)) return false;
  Data *w = data_new(module, p->data->dtype, p->kept * p->width),
       *starts = data_new(module, DTYPE_I32, p->lists + 1);
  Data *rows = data_new(module, p->steps <= UINT16_MAX ? DTYPE_U16 : DTYPE_I32, p->kept);
  int64_t kept = 0;
  for (int64_t list = 0; list < p->lists; list++) {
    for (int64_t row = 0; row < p->steps; row++) {
      int64_t step = list * p->steps + row;
      if (step_is_zero(p, step)) continue;
      memcpy((char *)data_bytes(w) + bytes, (const char *)p->data->bytes + (size_t)step * step_bytes,
             step_bytes);
      dtype_set_int(rows->dtype, data_bytes(rows), kept++, row);
      bytes += step_bytes;
    }
    dtype_set_int(starts->dtype, data_bytes(starts), list + 1, kept);
  }
  w->name = p->data->name;
  made[0] = build_const(builder, type_static(module, w->dtype, 2, (int64_t[]){p->kept, p->width}), w, NULL);
  made[1] = table(builder, rows);
  made[2] = table(builder, starts);
  return made[0] && made[1] && made[2];
}

static Node *without_zeros(Node *node, Value *const made[3]) {
  Builder builder = builder_before(node);
  Value *operands[] = {operand(node, PRODUCT_X), made[0], operand(node, PRODUCT_BIAS), made[1], made[2]};
  Node *other = node_like_on(&builder, node, operands, COUNT_OF(operands));
  return node_finish(other) ? other : NULL;
}

/* ---- the pass ------------------------------------------------------------------------------------------ */

/* Weights that were asked about, and what was made of them. */
typedef struct Known {
  struct Known *next;
  const Value *w;
  Value *made[3];
} Known;

static bool make_sparse(Node *node, Known **known, const PassOptions *options) {
  Panels p;
  if (!read_panels(node, &p) || p.kept == 0 || p.kept > MOST * (double)(p.lists * p.steps)) return false;
  Known *entry = *known;
  while (entry && entry->w != operand(node, PRODUCT_W)) entry = entry->next;
  if (!entry) {
    Builder builder = builder_before(node);
    entry = NEW(node->graph->module->arena, Known);
    *entry = (Known){*known, operand(node, PRODUCT_W), {NULL}};
    *known = entry;
    TRY(keep_steps(&builder, &p, entry->made));
  }
  Node *other = without_zeros(node, entry->made);
  TRY(other);
  if (kernel_seconds(other, options->target) > MOST * kernel_seconds(node, options->target)) {
    node_remove(other);
    return false;
  }
  pack_replace(node, result(other, 0));
  return true;
}

bool sparse_run(Graph *graph, const PassOptions *options) {
  bool changed = false;
  Known *known = NULL;
  if (options->strict) return false;
  FOR_EACH_NODE_SAFE(node, graph) changed |= make_sparse(node, &known, options);
  return changed;
}
