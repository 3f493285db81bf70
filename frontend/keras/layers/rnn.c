/*
 * rnn.c -- SimpleRNN, LSTM, GRU, RNN around their cells or a stack of them, and Bidirectional.
 *
 * The products with the input, x.kernel + bias, are computed for all steps before the recurrent op. Keras
 * orders an LSTM's gates i, f, c, o; the op wants i, o, f, c. A GRU with reset_after has a bias of its own
 * for the recurrent products, of which only the candidate's must stay inside. Cells in a stack are run one
 * after the other, each over all steps: that gives the same.
 *
 * At a step that does not count the state stays and the output is that of the step before, or zero. The op
 * knows lengths only, so the steps that count are moved to the front, and what comes out is put back.
 *
 * What a stateful layer keeps is a state of the graph.
 */
#include "frontend/keras/layers/recurrent.h"
#include <math.h>
#include <string.h>

typedef struct CellKind {
  const char *class_name;
  const Op *op;
  int gates;
  int order[4];               /* where the op's gates are in Keras' */
  const char *activations[3]; /* the members that name f, g, h */
} CellKind;

static const CellKind cell_kinds[] = {
    {"GRU", &op_gru, 3, {0, 1, 2}, {"recurrent_activation", "activation"}},
    {"LSTM", &op_lstm, 4, {0, 3, 1, 2}, {"recurrent_activation", "activation", "activation"}},
    {"SimpleRNN", &op_rnn, 1, {0}, {"activation"}},
};

/* Of a layer, "LSTM", or a cell, "LSTMCell". */
static const CellKind *cell_find(const char *class_name) {
  for (int i = 0; i < COUNT_OF(cell_kinds); i++) {
    size_t length = strlen(cell_kinds[i].class_name);
    if (strncmp(cell_kinds[i].class_name, class_name, length)) continue;
    if (!class_name[length] || !strcmp(class_name + length, "Cell")) return &cell_kinds[i];
  }
  return NULL;
}

/* One cell over all steps: `call` has its configuration and its weights, which are called `at`kernel. */
typedef struct Cell {
  Call call;
  const CellKind *kind;
  const char *at; /* "cell/" for a layer that is its own cell */
  int64_t units;
  bool reset_after;
  Value *initial[2]; /* the states before the first step; NULL: 0 */
} Cell;

static int state_count(const CellKind *kind) {
  return kind->op == &op_lstm ? 2 : 1;
}

/* ---- weights ---- */

static Value *weight(Cell *d, const char *name, Value *x, int rank, const int64_t *dims) {
  return call_weight(&d->call, arena_printf(d->call.import->module->arena, "%s%s", d->at, name), x, rank,
                     dims);
}

/* `size` elements from `start` of the last axis; of a matrix only row `row`, if that is not negative. */
static Value *part_of(Cell *d, Value *w, int64_t row, int64_t start, int64_t size) {
  Module *module = d->call.import->module;
  const Dim *starts[2], *sizes[2];
  int rank = w->type->rank;
  for (int i = 0; i < rank; i++) {
    bool last = i == rank - 1;
    starts[i] = dim_const(module, last ? start : row < 0 ? 0 : row);
    sizes[i] = last ? dim_const(module, size) : row < 0 ? w->type->dims[i] : dim_const(module, 1);
  }
  Node *slice = node_new(d->call.builder, &op_slice, &w, 1);
  node_set_dims(slice, "starts", starts, rank);
  node_set_dims(slice, "sizes", sizes, rank);
  if (!node_finish(slice)) return NULL;
  const Dim *flat = dim_const(module, size);
  return row < 0 ? result(slice, 0) : build_reshape(d->call.builder, result(slice, 0), 1, &flat);
}

/* The gates along the last axis in the op's order. */
static Value *in_order(Cell *d, Value *w) {
  Value *parts[4];
  if (!w || d->kind->op != &op_lstm) return w;
  for (int i = 0; i < d->kind->gates; i++)
    if (!(parts[i] = part_of(d, w, -1, d->kind->order[i] * d->units, d->units))) return NULL;
  Node *concat = node_new(d->call.builder, &op_concat, parts, d->kind->gates);
  node_set_int(concat, "axis", w->type->rank - 1);
  return node_finish(concat) ? result(concat, 0) : NULL;
}

/* What is added outside of the recurrence, and in *inside what a GRU adds to the candidate's product. */
static Value *biases(Cell *d, Value *x, Value **inside) {
  int64_t size = d->kind->gates * d->units, dims[2] = {2, size};
  if (!d->reset_after) return in_order(d, weight(d, "bias", x, 1, &size));
  Module *module = d->call.import->module;
  Value *both = weight(d, "bias", x, 2, dims);
  Value *input = both ? part_of(d, both, 0, 0, size) : NULL;
  Value *state = both ? part_of(d, both, 1, 0, 2 * d->units) : NULL;
  *inside = both ? part_of(d, both, 1, 2 * d->units, d->units) : NULL;
  if (!input || !state || !*inside) return NULL;
  Node *pad = node_new(d->call.builder, &op_pad, &state, 1);
  node_set_dims(pad, "pads", (const Dim *[]){dim_const(module, 0), dim_const(module, d->units)}, 2);
  return node_finish(pad) ? build_binary(d->call.builder, &op_add, input, result(pad, 0)) : NULL;
}

/* ---- one cell ---- */

static bool set_activations(Cell *d, Node *core) {
  static const char *const names[] = {"f", "g", "h"};
  double alpha[3], beta[3];
  bool takes_alpha = false, takes_beta = false;
  int count = 0;
  for (; count < 3 && d->kind->activations[count]; count++) {
    const char *member = d->kind->activations[count];
    const char *normal = strcmp(member, "activation") ? "sigmoid" : "tanh";
    const Op *op = call_activation_op(&d->call, member, normal, &alpha[count], &beta[count]);
    TRY(op);
    node_set_string(core, names[count], op->name);
    takes_alpha |= op_attr_index(op, "alpha") >= 0;
    takes_beta |= op_attr_index(op, "beta") >= 0;
  }
  if (takes_alpha) node_set_floats(core, "alpha", alpha, count);
  if (takes_beta) node_set_floats(core, "beta", beta, count);
  return true;
}

static bool read_cell(Cell *d) {
  Call *call = &d->call;
  TRY(call_int(call, "units", 0, &d->units));
  if (d->units < 1 || d->units > INT32_MAX) return call_fail(call, "'units' makes no sense");
  d->reset_after = d->kind->op == &op_gru && json_flag(call->config, "reset_after", false);
  return true;
}

/* x.kernel + bias; *inside gets what a GRU adds inside. */
static Value *input_products(Cell *d, Value *x, Value **inside) {
  int64_t dims[] = {-1, d->kind->gates * d->units};
  Value *xw = make_binary(&d->call, &op_matmul, x, in_order(d, weight(d, "kernel", x, 2, dims)));
  if (!xw || !json_flag(d->call.config, "use_bias", true)) return xw;
  return make_binary(&d->call, &op_add, xw, biases(d, x, inside));
}

/* The recurrence over x [batch, steps, in]; lengths NULL: all steps. NULL with a Diag. */
static Node *run_cell(Cell *d, Value *x, Value *lengths, bool reverse) {
  Value *inside = NULL, *xw = input_products(d, x, &inside);
  int64_t dims[] = {d->units, d->kind->gates * d->units};
  Value *r = xw ? in_order(d, weight(d, "recurrent_kernel", x, 2, dims)) : NULL;
  if (!r) return NULL;
  Value *operands[LSTM_PEEPHOLES + 1] = {xw, r};
  operands[CELL_H0] = d->initial[0];
  operands[CELL_LENGTHS] = lengths;
  if (d->kind->op == &op_gru) operands[GRU_BIAS] = inside;
  if (d->kind->op == &op_lstm) operands[LSTM_C0] = d->initial[1];
  Node *core = node_new(d->call.builder, d->kind->op, operands, d->kind->op->operand_count);
  node_set_bool(core, "batch_first", true);
  node_set_bool(core, "reverse", reverse);
  if (d->reset_after) node_set_bool(core, "linear_before_reset", true);
  if (!set_activations(d, core)) return NULL;
  return node_finish(core) ? core : NULL;
}

/* ---- the cells of a layer ---- */

enum { MAX_CELLS = 64 };

typedef struct Cells {
  Cell list[MAX_CELLS];
  int count;
} Cells;

static bool add_cell(Call *call, Layer *layer, const char *at, Cells *cells) {
  const CellKind *kind = cell_find(layer->class_name);
  if (!kind) return call_fail(call, "cells of class '%s' are not supported", layer->class_name);
  if (cells->count == MAX_CELLS) return call_fail(call, "it has more than %d cells", MAX_CELLS);
  Cell *cell = &cells->list[cells->count++];
  *cell = (Cell){.call = *call, .kind = kind, .at = at};
  cell->call.layer = layer;
  cell->call.config = layer->config;
  return read_cell(cell);
}

/* Of an RNN its cell, or those of a stack; any other layer is its own. */
static bool find_cells(Call *call, Layer *layer, Cells *cells) {
  if (!layer->part_count)
    return add_cell(call, layer, strstr(layer->class_name, "Cell") ? "" : "cell/", cells);
  for (int i = 0; i < layer->part_count; i++) {
    if (layer->parts[i].nested) return call_fail(call, "a model as its cell is not supported");
    TRY(strstr(layer->parts[i].class_name, "Cell") ||
        call_fail(call, "cells of class '%s' are not supported", layer->parts[i].class_name));
    TRY(find_cells(call, &layer->parts[i], cells));
  }
  return true;
}

/* ---- states ---- */

bool recurrent_initial(Call *call, Value **states, int count) {
  const cJSON *given = call_argument(call, -1, "initial_state"), *item;
  int found = 0;
  Masked state;
  for (int i = 1; i < call->input_count && found < count; i++) states[found++] = call->inputs[i];
  if (!found && given && call_find(call, given, &state)) {
    states[found++] = state.value;
  } else if (!found) {
    cJSON_ArrayForEach(item, given) {
      if (found == count || !call_find(call, item, &state))
        return call_fail(call, "its initial_state is not %d tensors", count);
      states[found++] = state.value;
    }
  }
  for (int i = 0; i < found; i++)
    if (!(states[i] = call_float(call, states[i]))) return false;
  return !found || found == count || call_fail(call, "it is given %d of its %d states", found, count);
}

Value *recurrent_keep(Call *call, const char *name, const Type *type) {
  Import *import = call->import;
  const char *full =
      arena_printf(import->module->arena, "%s.%s", call->keeps ? call->keeps : call->layer->name, name);
  if (!type_is_static(type))
    return call_null(call, "it is stateful, so the batch needs a fixed size: give --dim batch=N");
  Kept *kept = NEW(import->module->arena, Kept);
  *kept = (Kept){
      .name = full, .before = graph_add_input(import->builder.graph, full, type), .next = import->kept};
  import->kept = kept;
  return kept->before;
}

void recurrent_keep_after(Call *call, const Value *before, Value *after) {
  for (Kept *kept = call->import->kept; kept; kept = kept->next)
    if (kept->before == before) kept->after = after;
}

/* The states before the first step: given, kept from the last run, or none, which is 0. */
static bool start_states(Call *call, Cells *cells, Value *x, bool is_stateful) {
  static const char *const names[] = {"h", "c"};
  Value *states[2 * MAX_CELLS] = {0};
  int count = 0, at = 0;
  for (int i = 0; i < cells->count; i++) count += state_count(cells->list[i].kind);
  TRY(recurrent_initial(call, states, count));
  for (int i = 0; i < cells->count; i++)
    for (int k = 0; k < state_count(cells->list[i].kind); k++, at++) {
      Cell *cell = &cells->list[i];
      const Dim *dims[] = {x->type->dims[0], dim_const(call->import->module, cell->units)};
      const char *name =
          cells->count > 1 ? arena_printf(call->import->module->arena, "%s%d", names[k], i) : names[k];
      cell->initial[k] = states[at];
      if (!is_stateful || states[at]) continue;
      cell->initial[k] = recurrent_keep(call, name, type_make(call->import->module, x->type->dtype, 2, dims));
      TRY(cell->initial[k]);
    }
  return true;
}

/* ---- masks ---- */

/* How the steps that count, bool [batch, steps], are moved to the front and back. */
typedef struct Packing {
  Value *mask;
  Value *lengths; /* [batch]: how many count */
  Value *order;   /* [batch, steps, 1]: which step goes there */
  Value *places;  /* [batch, steps, 1]: whose output a step has */
  Value *has;     /* bool [batch, steps]: it has one */
} Packing;

static Value *running_count(Call *call, Value *counts, bool exclusive) {
  Node *node = node_new(call->builder, &op_cum_sum, &counts, 1);
  node_set_int(node, "axis", 1);
  node_set_bool(node, "exclusive", exclusive);
  return make(node);
}

/* Steps that do not count are written behind the last place. */
static Value *packed_order(Call *call, const Packing *p, Value *before) {
  Module *module = call->import->module;
  const Dim *steps = p->mask->type->dims[1];
  const Dim *dims[] = {p->mask->type->dims[0], dim_add(module, steps, dim_const(module, 1))};
  Value *zeros = build_broadcast(call->builder, build_scalar(call->builder, DTYPE_I64, 0), 2, dims);
  Value *behind = make_unary(call, &op_shape, p->mask);
  behind = make_squeeze(call, make_part(call, behind, 0, 1, 1), 0);
  Value *at = make_where(call, p->mask, before, behind);
  Value *numbers = make_iota(call, DTYPE_I64, 2, p->mask->type->dims, 1);
  if (!zeros || !at || !numbers) return NULL;
  Node *node = node_new(call->builder, &op_scatter_elements, (Value *[]){zeros, at, numbers}, 3);
  node_set_int(node, "axis", 1);
  return make_unsqueeze(call, make_slice(call, make(node), 1, dim_const(module, 0), steps, 1), 2);
}

static bool pack(Call *call, Value *mask, bool backwards, Packing *p) {
  *p = (Packing){.mask = mask};
  if (!mask) return true;
  Value *counts = make_cast(call, mask, DTYPE_I64);
  Value *before = counts ? running_count(call, counts, true) : NULL;
  Value *total = make_reduce(call, &op_reduce_sum, counts, (int64_t[]){1}, 1);
  Value *place =
      backwards ? before : make_number(call, &op_sub, make_binary(call, &op_add, before, counts), 1);
  p->has = backwards ? make_binary(call, &op_less, place, total)
                     : make_number(call, &op_greater_or_equal, place, 0);
  p->places = make_unsqueeze(call, make_clip(call, place, 0, INFINITY), 2);
  p->lengths = make_squeeze(call, total, 1);
  p->order = before ? packed_order(call, p, before) : NULL;
  return p->has && p->places && p->lengths && p->order;
}

static Value *moved(Call *call, Value *x, Value *steps) {
  if (!x || !steps) return x;
  Node *node = node_new(call->builder, &op_gather_nd, (Value *[]){x, steps}, 2);
  node_set_int(node, "batch_axes", 1);
  return make(node);
}

/* y of the condition [batch, steps] or [batch, 1], else 0. */
static Value *where_true(Call *call, Value *condition, Value *y, int rank) {
  while (condition && condition->type->rank < rank)
    condition = make_unsqueeze(call, condition, condition->type->rank);
  return y ? make_where(call, condition, y, build_scalar(call->builder, y->type->dtype, 0)) : NULL;
}

/* ---- a layer ---- */

static bool is_zeroed(const Call *call) {
  return json_flag(call->config, "zero_output_for_mask", false);
}

/* What comes out of the packed steps, at the steps that they belong to. */
static Value *unpacked(Call *call, const Packing *p, Value *y) {
  if (!p->mask || !y) return y;
  return where_true(call, is_zeroed(call) ? p->mask : p->has, moved(call, y, p->places), 3);
}

/* The output of the last step that is made; 0 if none counts, or if zeros are wanted where it does not. */
static Value *last_output(Call *call, const Packing *p, Value *state, bool backwards) {
  if (!p->mask) return state;
  Module *module = call->import->module;
  const Dim *one = dim_const(module, 1), *steps = p->mask->type->dims[1];
  const Dim *at = backwards ? dim_const(module, 0) : dim_sub(module, steps, one);
  Value *mask = is_zeroed(call) ? make_slice(call, p->mask, 1, at, one, 1)
                                : make_reduce(call, &op_reduce_max, p->mask, (int64_t[]){1}, 1);
  return where_true(call, mask, state, 2);
}

/* x [batch, steps, in] through all cells. */
static bool run_cells(Call *call, Cells *cells, Value *x, bool backwards, Recurrent *r) {
  Packing p;
  TRY(pack(call, call->masks[0], backwards, &p));
  bool is_stateful = json_flag(call->config, "stateful", false);
  x = moved(call, x, p.order);
  r->states = NEW_ARRAY(call->import->module->arena, Value *, 2 * cells->count);
  for (int i = 0; x && i < cells->count; i++) {
    Cell *cell = &cells->list[i];
    Node *core = run_cell(cell, x, p.lengths, backwards);
    TRY(core);
    x = result(core, 0);
    for (int k = 0; k < state_count(cell->kind); k++) {
      r->states[r->state_count++] = result(core, 1 + k);
      if (is_stateful) recurrent_keep_after(call, cell->initial[k], result(core, 1 + k));
    }
    r->last = result(core, 1);
  }
  r->last = last_output(call, &p, r->last, backwards);
  if (r->wants_all) r->y = unpacked(call, &p, x);
  return r->last && (r->y || !r->wants_all);
}

static bool rnn_run(Call *call, bool backwards, Recurrent *r) {
  Value *x = call_float_input(call, 0);
  Cells *cells = NEW(call->import->module->arena, Cells);
  if (!x || x->type->rank != 3) return x && call_fail(call, "its input has %d axes, not 3", x->type->rank);
  bool time_major = json_flag(call->config, "time_major", false);
  if (time_major) x = make_move_axis(call, x, 0, 1);
  TRY(x && find_cells(call, call->layer, cells));
  TRY(start_states(call, cells, x, json_flag(call->config, "stateful", false)));
  TRY(run_cells(call, cells, x, backwards, r));
  if (time_major) r->y = make_move_axis(call, r->y, 0, 1);
  return true;
}

bool recurrent_run(Call *call, bool backwards, Recurrent *r) {
  *r = (Recurrent){.wants_all = json_flag(call->config, "return_sequences", false)};
  bool is_conv = strstr(call->layer->class_name, "ConvLSTM") != NULL;
  return is_conv ? conv_lstm_run(call, backwards, r) : rnn_run(call, backwards, r);
}

static int time_axis(const Call *call) {
  return json_flag(call->config, "time_major", false) ? 0 : 1;
}

/* y of a layer that goes backwards is in the order in which it was made. */
static Value *in_made_order(Call *call, const Recurrent *r, bool backwards) {
  if (!r->wants_all) return r->last;
  return backwards ? make_reversed(call, r->y, time_axis(call)) : r->y;
}

static void add_states(Call *call, Call *to, const Recurrent *r) {
  if (!json_flag(call->config, "return_state", false)) return;
  for (int i = 0; i < r->state_count; i++) call_also(to, r->states[i]);
}

Value *recurrent(Call *call) {
  bool backwards = json_flag(call->config, "go_backwards", false);
  Recurrent r;
  if (!recurrent_run(call, backwards, &r)) return NULL;
  if (r.wants_all) call->mask = call->masks[0];
  add_states(call, call, &r);
  return in_made_order(call, &r, backwards);
}

/* ---- both ways ---- */

static Value *merged(Call *call, Value *forward, Value *backward) {
  const char *mode = json_text(call->config, "merge_mode", "");
  if (!forward || !backward) return NULL;
  if (!*mode) return call_also(call, backward), forward;
  if (!strcmp(mode, "concat"))
    return make_concat(call, (Value *[]){forward, backward}, 2, forward->type->rank - 1);
  if (!strcmp(mode, "mul")) return make_binary(call, &op_mul, forward, backward);
  if (strcmp(mode, "sum") && strcmp(mode, "ave"))
    return call_null(call, "merge_mode '%s' is not supported", mode);
  Value *sum = make_binary(call, &op_add, forward, backward);
  return !strcmp(mode, "sum") ? sum : make_number(call, &op_mul, sum, 0.5);
}

/* The call of one half: its share of the states that are given stands behind the input. */
static bool half_call(Call *call, int half, Call *inner) {
  enum { MAX_STATES = 32 };
  Layer *layer = &call->layer->parts[half];
  Value *states[MAX_STATES], **inputs = NEW_ARRAY(call->import->module->arena, Value *, MAX_STATES + 1);
  Value **masks = NEW_ARRAY(call->import->module->arena, Value *, MAX_STATES + 1);
  const cJSON *given = call_argument(call, -1, "initial_state");
  int count = call->input_count > 1 ? call->input_count - 1 : cJSON_GetArraySize(given);
  if (layer->nested) return call_fail(call, "around a model it is not supported");
  if (count % 2 || count > MAX_STATES) return call_fail(call, "it is given %d states", count);
  if (count) TRY(recurrent_initial(call, states, count));
  inputs[0] = call->inputs[0];
  masks[0] = call->masks[0];
  for (int i = 0; i < count / 2; i++) inputs[1 + i] = states[half * count / 2 + i];
  *inner = (Call){.import = call->import, .builder = call->builder, .layer = layer, .config = layer->config};
  inner->inputs = inputs;
  inner->masks = masks;
  inner->keeps =
      arena_printf(call->import->module->arena, "%s.%s", call->layer->name, half ? "backward" : "forward");
  inner->input_count = 1 + count / 2;
  return true;
}

/* The second half goes the other way, and its outputs are put back into the order of time. */
static Value *bidirectional(Call *call) {
  Layer *layer = call->layer;
  Value *y[2];
  Recurrent r[2];
  Call inner[2];
  bool has_own = json_member(call->config, "backward_layer") != NULL;
  for (int i = 0; i < 2; i++) {
    const char *class_name = layer->parts[i].class_name;
    bool fits = cell_find(class_name) || !strcmp(class_name, "RNN") || strstr(class_name, "ConvLSTM");
    if (!fits) return call_null(call, "around a layer of class '%s' it is not supported", class_name);
    bool backwards = json_flag(layer->parts[i].config, "go_backwards", false);
    if (i == 1 && !has_own) backwards = !json_flag(layer->parts[0].config, "go_backwards", false);
    if (!half_call(call, i, &inner[i]) || !recurrent_run(&inner[i], backwards, &r[i])) return NULL;
    y[i] = in_made_order(&inner[i], &r[i], backwards != (i == 1));
  }
  if (r[0].wants_all) call->mask = call->masks[0];
  Value *first = merged(call, y[0], y[1]);
  for (int i = 0; i < 2; i++) add_states(&inner[i], call, &r[i]);
  return first;
}

static Value *lone_cell(Call *call) {
  return call_null(call, "a cell that is called without a layer around it is not supported");
}

#define CELL_WEIGHTS "kernel recurrent_kernel bias?use_bias"
#define LAYER_WEIGHTS "cell/kernel cell/recurrent_kernel cell/bias?use_bias"

const LayerKind rnn_layers[] = {
    {"Bidirectional", bidirectional, 1, 0, "@forward_layer=layer @backward_layer=layer", MASK_OWN},
    {"GRU", recurrent, 1, 0, LAYER_WEIGHTS, MASK_OWN},
    {"GRUCell", lone_cell, 1, 1, CELL_WEIGHTS, MASK_ENDS},
    {"LSTM", recurrent, 1, 0, LAYER_WEIGHTS, MASK_OWN},
    {"LSTMCell", lone_cell, 1, 1, CELL_WEIGHTS, MASK_ENDS},
    {"RNN", recurrent, 1, 0, "@cell", MASK_OWN},
    {"SimpleRNN", recurrent, 1, 0, LAYER_WEIGHTS, MASK_OWN},
    {"SimpleRNNCell", lone_cell, 1, 1, CELL_WEIGHTS, MASK_ENDS},
    {"StackedRNNCells", lone_cell, 1, 1, "@cells", MASK_ENDS},
    {0},
};
