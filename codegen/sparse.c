/*
 * sparse.c -- packed weights are stored without their zeros where that is faster.
 *
 * IR before: conv and gemm over constant panels of weights, [panels][k.. * c / depth][16 * depth]. IR after:
 * those of which enough steps (rows of a panel; of bytes four rows, of bf16 two) are all zeros hold only the
 * others, with lists that say which these are (ir/ops/sparse.c), for the kernel `panels`; where too few are,
 * but enough single weights, panels are of one column, for `columns`. The cost model says what is enough.
 * Requires: pack, and its weights folded. Keeps: the meaning, but for infinities and NaN that zeros would
 * have been multiplied by, which is why --precision=strict goes without.
 */
#include "codegen/schedule.h"

#include <math.h>
#include <string.h>

/* What is gained over dense panels must be more than the model errs: the most that may be left of the time.
 */
static const double MOST = 0.8;

/* The panels of a product's weights. */
typedef struct Panels {
  const Data *data;
  int64_t panels, taps, steps; /* [panels][taps * steps][width] */
  int64_t width, columns;      /* columns of the result */
  bool splits;                 /* into columns */
} Panels;

/* Ways to leave zeros out: whole steps of panels; single weights, as panels of one column; two of each four
 * neighbours. */
typedef enum StorageKind { STEPS, SINGLE, QUARTETS, STORAGE_COUNT } StorageKind;

typedef struct Storage {
  StorageKind kind;
  int64_t packed; /* columns of a panel */
  int64_t lists, width;
  double most, time; /* that may be left: of the steps, of the time */
} Storage;

/* A single weight takes as long as two in panels (cost.c), which is to be seen when sizes are open, too. */
static Storage storage_of(const Panels *p, StorageKind kind, const Node *node) {
  int64_t packed = node_int(node, "packed"), lists = p->panels * p->taps;
  switch (kind) {
  case SINGLE: return (Storage){kind, 1, p->columns, 1, 0.54 * MOST, MOST};
  case QUARTETS: return (Storage){kind, packed, lists, p->width, 1, 0.9}; /* as much is left of any */
  default: return (Storage){kind, packed, lists, p->width, MOST, MOST};
  }
}

static bool allows(const Panels *p, const Node *node, StorageKind kind) {
  bool floats = p->data->dtype == DTYPE_F32 || p->data->dtype == DTYPE_F16;
  return kind == STEPS || (kind == SINGLE && p->splits) ||
         (kind == QUARTETS && node_is(node, &op_gemm) && floats);
}

/* The first element of a step of a list. */
static int64_t step_at(const Panels *p, const Storage *form, int64_t list, int64_t row) {
  if (form->packed > 1) return (list * p->steps + row) * p->width;
  return (list / p->width * p->steps + row) * p->width + list % p->width;
}

static bool is_zero(const Data *data, int64_t from, int64_t count) {
  for (int64_t i = from; i < from + count; i++)
    if (data_get(data, i) != 0) return false;
  return true;
}

/* Which rows of the quartet from row `first` on have a weight that is not 0 in column n of a panel; how many.
 */
static int find_quartet(const Panels *p, int64_t panel, int64_t first, int64_t n, int places[QUARTET]) {
  int count = 0;
  for (int i = 0; i < QUARTET && first + i < p->steps; i++)
    if (data_get(p->data, (panel * p->steps + first + i) * p->width + n) != 0) places[count++] = i;
  return count;
}

/* How many rows of panels are stored if no quartet has more than two weights; else 0. */
static int64_t count_quartets(const Panels *p) {
  int places[QUARTET];
  for (int64_t panel = 0; panel < p->panels; panel++)
    for (int64_t row = 0; row < p->steps; row += QUARTET)
      for (int64_t n = 0; n < p->width; n++)
        if (find_quartet(p, panel, row, n, places) > QUARTET_KEPT) return 0;
  return p->panels * ((p->steps + QUARTET - 1) / QUARTET) * QUARTET_KEPT;
}

static int64_t count_kept(const Panels *p, const Storage *form) {
  int64_t kept = 0;
  if (form->kind == QUARTETS) return count_quartets(p);
  for (int64_t list = 0; list < form->lists; list++)
    for (int64_t row = 0; row < p->steps; row++)
      kept += !is_zero(p->data, step_at(p, form, list, row), form->width);
  return kept == 0 && form->kind == STEPS ? 1 : kept;
}

/* By a look at some. */
static bool has_many_zeros(const Data *data) {
  enum { SAMPLE = 4096, PRIME = 8191 };
  int64_t zeros = 0, count = data->count < SAMPLE ? data->count : SAMPLE;
  for (int64_t i = 0; i < count; i++) zeros += data_get(data, i * PRIME % data->count) == 0;
  return 4 * zeros >= count;
}

/* Whether the node has weights that can be stored otherwise. */
static bool read_panels(const Node *node, Panels *p) {
  bool is_conv = node_is(node, &op_conv);
  if (!is_conv && !node_is(node, &op_gemm)) return false;
  if (node_int(node, "packed") < 2 || operand(node, SPARSE_ROWS) || !has_fast_products(node)) return false;
  if (is_conv && (node_int(node, "winograd") || node_int(node, "outside"))) return false;
  const Type *w = operand(node, PRODUCT_W)->type;
  *p = (Panels){.data = value_data(operand(node, PRODUCT_W)),
                .panels = w->dims[0]->value,
                .taps = 1,
                .width = w->dims[2]->value,
                .columns = node_int(node, is_conv ? "channels" : "n")};
  if (!p->data || p->data->count == 0 || !has_many_zeros(p->data)) return false;

  Window window = is_conv ? node_window(node) : (Window){.rank = 0};
  for (int s = 0; s < window.rank; s++) p->taps *= window.kernel[s];
  if (is_conv && window.group_channels % panel_depth(w->dtype) != 0) return false; /* steps across taps */
  p->steps = w->dims[1]->value / p->taps;
  p->splits = w->dtype == DTYPE_F32 && p->taps == 1 && (!is_conv || node_int(node, "group") == 1);
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

bool sparse_beats_winograd(const Node *conv, bool always) {
  const double gain = 2.6; /* of Winograd's filtering over the sums themselves */
  int64_t strides[MAX_RANK];
  const Data *data = constant_behind(operand(conv, PRODUCT_W), strides);
  if (always) return data && !data->splat && has_many_zeros(data);
  return kept_share(operand(conv, PRODUCT_W)) < MOST / gain;
}

/* ---- for kernels --------------------------------------------------------------------------------------- */

/* What is outside of the kernel for an operand of the anchor, when it is a constant with a place. */
static const Data *stored(const Node *node, const Value *value) {
  if (value && node_is(node, &op_kernel) && !value->def) value = operand(node, value->index);
  return value && !value_is_literal(value) ? value_data(value) : NULL;
}

bool sparse_lists_fit(const Node *node, const Node *anchor, int64_t steps) {
  Module *module = node->graph->module;
  const Data *rows = stored(node, operand(anchor, SPARSE_ROWS)),
             *starts = stored(node, operand(anchor, SPARSE_STARTS));
  if (!rows || !starts || !stored(node, operand(anchor, PRODUCT_W))) return false;
  Diag *last = module->last_diag;
  if (sparse_check(anchor, rows, starts, steps)) return true;
  diags_take_back(module, last);
  return false;
}

bool quartets_fit(const Node *node, const Node *anchor, int64_t k) {
  Module *module = node->graph->module;
  const Data *rows = stored(node, operand(anchor, SPARSE_ROWS));
  if (!rows || !stored(node, operand(anchor, PRODUCT_W))) return false;
  Diag *last = module->last_diag;
  if (quartets_check(anchor, rows, k)) return true;
  diags_take_back(module, last);
  return false;
}

int sparse_kept_percent(const Node *anchor, int64_t lists, int64_t steps) {
  int64_t kept = operand(anchor, PRODUCT_W)->type->dims[0]->value;
  return (int)(100 * (double)kept / ((double)lists * (double)steps) + 0.5);
}

const char *weights_storage(const Node *kernel) {
  const Node *anchor = kernel_anchor(kernel);
  if (!anchor || !(node_is(anchor, &op_gemm) || node_is(anchor, &op_conv))) return NULL;
  if (operand(anchor, SPARSE_ROWS) && !operand(anchor, SPARSE_STARTS)) return "quartets";
  if (operand(anchor, SPARSE_ROWS)) return node_int(anchor, "packed") == 1 ? "columns" : "lists";
  if (node_is(anchor, &op_conv) && node_int(anchor, "winograd")) return "winograd";
  return node_int(anchor, "packed") ? "panels" : "plain";
}

int64_t sparse_longest(const Node *node, const Node *anchor) {
  const Data *starts = stored(node, operand(anchor, SPARSE_STARTS));
  int64_t longest = 0;
  for (int64_t i = 0; i + 1 < starts->count; i++) {
    int64_t length = data_get_int(starts, i + 1) - data_get_int(starts, i);
    longest = length > longest ? length : longest;
  }
  return longest;
}

/* ---- the new form -------------------------------------------------------------------------------------- */

static Value *table(Builder *builder, Data *data) {
  return build_const(builder, type_static(builder->graph->module, data->dtype, 1, &data->count), data, NULL);
}

/* w, rows and starts. Of nothing but zeros the last step is kept: a kernel reads some. */
static bool keep_steps(Builder *builder, const Panels *p, const Storage *form, int64_t kept, Value *made[3]) {
  Module *module = builder->graph->module;
  size_t step_bytes = 0;
  if (!dtype_bytes(p->data->dtype, form->width, &step_bytes)) return false;
  Data *w = data_new(module, p->data->dtype, kept * form->width),
       *starts = data_new(module, DTYPE_I32, form->lists + 1);
  Data *rows = data_new(module, p->steps <= UINT16_MAX ? DTYPE_U16 : DTYPE_I32, kept);
  const char *from = p->data->bytes;
  char *to = data_bytes(w);
  int64_t count = 0;
  for (int64_t list = 0; list < form->lists; list++) {
    for (int64_t row = 0; row < p->steps; row++) {
      int64_t at = step_at(p, form, list, row);
      bool is_last = list + 1 == form->lists && row + 1 == p->steps;
      if (is_zero(p->data, at, form->width) && !(is_last && count == 0)) continue;
      if (!p->data->splat) memcpy(to, from + (size_t)(at / form->width) * step_bytes, step_bytes);
      dtype_set_int(rows->dtype, data_bytes(rows), count++, row);
      to += step_bytes;
    }
    dtype_set_int(starts->dtype, data_bytes(starts), list + 1, count);
  }
  w->name = p->data->name;
  made[0] = build_const(builder, type_static(module, w->dtype, 2, (int64_t[]){kept, form->width}), w, NULL);
  made[1] = table(builder, rows);
  made[2] = table(builder, starts);
  return made[0] && made[1] && made[2];
}

/* w and rows: see ir/ops/sparse.c. */
static bool keep_quartets(Builder *builder, const Panels *p, Value *made[3]) {
  Module *module = builder->graph->module;
  int64_t quartets = (p->steps + QUARTET - 1) / QUARTET, panels = p->panels, width = p->width,
          words = (quartets + QUARTETS_OF_WORD - 1) / QUARTETS_OF_WORD;
  Data *w = data_new(module, p->data->dtype, panels * quartets * QUARTET_KEPT * width),
       *rows = data_new(module, DTYPE_U32, panels * words * width);
  uint32_t *bits = data_bytes(rows);
  for (int64_t panel = 0; panel < panels; panel++)
    for (int64_t q = 0; q < quartets; q++)
      for (int64_t n = 0; n < width; n++) {
        int places[QUARTET] = {0};
        int count = find_quartet(p, panel, q * QUARTET, n, places);
        for (int i = 0; i < count; i++) {
          int64_t from = (panel * p->steps + q * QUARTET + places[i]) * width + n;
          dtype_set(w->dtype, data_bytes(w), ((panel * quartets + q) * QUARTET_KEPT + i) * width + n,
                    data_get(p->data, from));
          bits[(panel * words + q / QUARTETS_OF_WORD) * width + n] |=
              (uint32_t)places[i] << (QUARTET * (q % QUARTETS_OF_WORD) + 2 * i);
        }
      }
  w->name = p->data->name;
  made[0] = build_const(builder,
                        type_static(module, w->dtype, 3, (int64_t[]){panels, quartets, QUARTET_KEPT * width}),
                        w, NULL);
  made[1] =
      build_const(builder, type_static(module, DTYPE_U32, 3, (int64_t[]){panels, words, width}), rows, NULL);
  return made[0] && made[1];
}

/* ---- the pass ------------------------------------------------------------------------------------------ */

/* Weights that were stored otherwise. */
typedef struct Known {
  struct Known *next;
  const Value *w;
  StorageKind kind;
  Value *made[3]; /* w, rows, starts */
} Known;

static Known *find_known(Builder *builder, Known **all, const Value *w, const Panels *p, const Storage *form,
                         int64_t kept) {
  for (Known *known = *all; known; known = known->next)
    if (known->w == w && known->kind == form->kind) return known;
  Known *known = NEW(builder->graph->module->arena, Known);
  *known = (Known){*all, w, form->kind, {NULL}};
  bool ok = form->kind == QUARTETS ? keep_quartets(builder, p, known->made)
                                   : keep_steps(builder, p, form, kept, known->made);
  if (!ok) return NULL;
  return *all = known;
}

/* The node with weights of that form; NULL: too few are zeros. */
static Node *in_form(Node *node, Known **all, const Panels *p, const Storage *form, bool always) {
  int64_t kept = count_kept(p, form);
  if (kept == 0 || (!always && (double)kept > form->most * (double)(form->lists * p->steps))) return NULL;
  Builder builder = builder_before(node);
  const Known *known = find_known(&builder, all, operand(node, PRODUCT_W), p, form, kept);
  if (!known) return NULL;
  Value *operands[] = {operand(node, PRODUCT_X), known->made[0], operand(node, PRODUCT_BIAS), known->made[1],
                       known->made[2]};
  Node *other = node_like_on(&builder, node, operands, COUNT_OF(operands));
  node_set_int(other, "packed", form->packed);
  return node_finish(other) ? other : NULL;
}

static bool make_sparse(Node *node, Known **all, const PassOptions *options) {
  Panels p;
  if (!read_panels(node, &p)) return false;
  bool always = options->always_sparse;
  Node *best = node;
  double dense = always ? INFINITY : kernel_seconds(node, options->target), least = dense;
  for (StorageKind kind = 0; kind < STORAGE_COUNT; kind++) {
    Storage storage = storage_of(&p, kind, node);
    Node *other = allows(&p, node, kind) ? in_form(node, all, &p, &storage, always) : NULL;
    if (!other) continue;
    double seconds = kernel_seconds(other, options->target);
    Node *worse = seconds < least && seconds < storage.time * dense ? best : other;
    if (worse == best) best = other, least = seconds;
    if (worse != node) node_remove(worse);
  }
  if (best == node) return false;
  pack_replace(node, result(best, 0));
  return true;
}

bool sparse_run(Graph *graph, const PassOptions *options) {
  bool changed = false;
  Known *known = NULL;
  if (options->strict) return false;
  FOR_EACH_NODE_SAFE(node, graph) changed |= make_sparse(node, &known, options);
  return changed;
}
