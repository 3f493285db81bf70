/*
 * schedule.c -- picks a variant for every kernel and writes it into the IR.
 *
 * IR before: kernel nodes with an empty `schedule`. IR after: the same with the variant's text (one for each
 * processor, where they differ) where one matches; kernels that no variant wants keep the empty text and get
 * the plain lowering. Keeps: the meaning, always; a schedule never changes results beyond the order of
 * floating-point sums. A text that is already there (from a .tn file) stays.
 */
#include "codegen/schedule.h"

#include <stdlib.h>
#include <string.h>

const Variant *const variant_table[] = {
    &variant_winograd, /* conv over transformed weights */
    &variant_winograd_weights,
    &variant_panels,    /* gemm, conv: register tiles over packed weights */
    &variant_columns,   /* gemm, 1x1 conv: weights of which any may be zero */
    &variant_quartets,  /* gemm: two of each four weights */
    &variant_blocks,    /* gemm_blocks: weights of few bits */
    &variant_matmul,    /* matmul, gemm: register tiles over plain operands */
    &variant_attention, /* attention: tiles of queries by blocks of keys, online softmax */
    &variant_depthwise, /* conv with one channel per group */
    &variant_pool,      /* windows, lanes over channels */
    &variant_rows,      /* softmax, reductions */
    &variant_boxes,     /* concat, pad */
    &variant_rnn,       /* lstm, gru, rnn over packed weights */
    &variant_trees,     /* tree_ensemble */
    &variant_elements,  /* everything else that is element-wise */
    NULL,
};

const Node *kernel_anchor(const Node *node) {
  if (!node_is(node, &op_kernel)) return node;
  const Node *anchor = NULL;
  int count = 0;
  FOR_EACH_NODE(inner, node->regions[0]) {
    if (inner->op->traits & TRAIT_STRUCTURE) continue;
    if (!inner->op->element) return inner;
    anchor = inner;
    count++;
  }
  return count == 1 ? anchor : NULL;
}

bool node_is_cell(const Node *node) {
  return node_is(node, &op_lstm) || node_is(node, &op_gru) || node_is(node, &op_rnn);
}

bool value_is_direct(const Node *node, const Value *value) {
  if (!value) return false;
  return !node_is(node, &op_kernel) || !value->def;
}

int schedule_param(const char *schedule, const char *key, int fallback) {
  size_t length = strlen(key);
  for (const char *at = strchr(schedule, ' '); at; at = strchr(at + 1, ' ')) {
    if (strncmp(at + 1, key, length) == 0 && at[1 + length] == '=') return atoi(at + 2 + length);
  }
  return fallback;
}

int64_t spatial_attr(const Node *node, const char *name, int i, int64_t normal) {
  int count;
  const int64_t *values = node_ints(node, name, &count);
  return i < count ? values[i] : normal;
}

bool attr_has_other(const Node *node, const char *name, int64_t value) {
  int count;
  const int64_t *values = node_ints(node, name, &count);
  for (int i = 0; i < count; i++) {
    if (values[i] != value) return true;
  }
  return false;
}

static const Variant *variant_named(const char *schedule) {
  size_t length = strcspn(schedule, " ");
  for (int i = 0; variant_table[i]; i++) {
    const char *name = variant_table[i]->name;
    if (strlen(name) == length && strncmp(name, schedule, length) == 0) return variant_table[i];
  }
  return NULL;
}

static const Variant *variant_for(const Node *node, const Target *target) {
  const Node *anchor = kernel_anchor(node);
  for (int i = 0; variant_table[i]; i++) {
    if (variant_table[i]->match(node, anchor, target)) return variant_table[i];
  }
  return NULL;
}

const char *schedule_choose(const Node *node, const Target *target, int rank) {
  const Variant *variant = variant_for(node, target);
  if (variant && variant->choose) return variant->choose(node, kernel_anchor(node), target, rank);
  return rank > 0 ? NULL : variant ? variant->name : "";
}

int codegen_schedules(const Node *node, const Target *target, const char **schedules, int max) {
  enum { MAX_RANKS = 256 };
  int count = 0;
  const char *text;
  for (int rank = 0; rank < MAX_RANKS && count < max; rank++) {
    if (!(text = schedule_choose(node, target, rank))) break;
    int known = 0;
    while (known < count && strcmp(schedules[known], text) != 0) known++;
    if (known == count) schedules[count++] = text;
  }
  return count;
}

/* ---- several processors ---- */

/* The schedules of all targets, or the one that all of them have. */
static const char *choose_schedules(const Node *node, const Target *target) {
  const char *first = schedule_choose(node, target, 0), *list = first;
  bool differ = false;
  while ((target = target->next)) {
    const char *text = schedule_choose(node, target, 0);
    differ = differ || strcmp(text, first) != 0;
    list = arena_printf(node->graph->module->arena, "%s | %s", list, text);
  }
  return differ ? list : first;
}

static int count_parts(const char *list) {
  int count = 1;
  while ((list = strchr(list, '|'))) list++, count++;
  return count;
}

/* Number `index` of the parts between bars, without the spaces around it. */
static const char *part_at(Module *module, const char *list, int index) {
  while (index-- > 0) list = strchr(list, '|') + 1;
  list += strspn(list, " ");
  int length = (int)strcspn(list, "|");
  while (length > 0 && list[length - 1] == ' ') length--;
  return arena_printf(module->arena, "%.*s", length, list);
}

const char *schedule_text(const Node *node, const Target *target, int index, int count) {
  if (!node_is(node, &op_kernel)) return schedule_choose(node, target, 0);
  const char *list = node_string(node, "schedule");
  int parts = count_parts(list);
  if (parts == 1) return list;
  if (parts == count) return part_at(node->graph->module, list, index);
  node_fail(node, "schedule '%s' is for %d cpus, not for %d", list, parts, count);
  return NULL;
}

/* ---- the pass ---- */

static bool schedule_run(Graph *graph, const PassOptions *options) {
  bool changed = false;
  FOR_EACH_NODE(node, graph) {
    if (!node_is(node, &op_kernel) || *node_string(node, "schedule")) continue;
    const char *text = choose_schedules(node, options->target);
    if (!*text || !rewrite_allowed(node)) continue;
    node_set_string(node, "schedule", text);
    changed = rewrite_done(graph->module, true);
  }
  return changed;
}

/* Of the operands, then of the results. */
static const Dim *const *const *node_strides(const Places *places, const Node *node) {
  int count = node->operand_count;
  const Dim *const **strides =
      NEW_ARRAY(node->graph->module->arena, const Dim *const *, count + node->result_count);
  for (int i = 0; i < count; i++)
    if (operand(node, i)) strides[i] = value_place(places, operand(node, i)).strides;
  for (int i = 0; i < node->result_count; i++)
    strides[count + i] = value_place(places, result(node, i)).strides;
  return strides;
}

Kernel *schedule_kernel(const Node *node, const char *name, const Target *target, const Places *places,
                        const char *schedule) {
  const Variant *variant = variant_named(schedule);
  if (*schedule && !variant) {
    node_fail(node, "no kernel variant is called '%s'", schedule);
    return NULL;
  }
  if (variant && !variant->match(node, kernel_anchor(node), target)) {
    node_fail(node, "schedule '%s' does not fit this kernel on this target", schedule);
    return NULL;
  }
  VariantContext context = {target, schedule};
  return lower_node_strided(node, name, node_strides(places, node), variant ? variant->body : NULL, &context);
}

const Pass codegen_passes[] = {
    {"pack", pack_run,
     "conv, gemm with constant weights, recurrent cells -> packed weight panels, explicit padding"},
    {"sparse", sparse_run, "packed weights with rows of zeros -> without these"},
    {"collapse", collapse_run, "kernels of 1x1 convolutions -> the same over one long row of pixels"},
    {"tune", tune_run, "with --tune: kernels -> kernels with the schedules that were measured to be fastest"},
    {"schedule", schedule_run, "kernels -> kernels with a variant and its parameters"},
    {NULL, NULL, NULL},
};
