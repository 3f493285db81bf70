/*
 * cost.c -- what a kernel takes by the cost model: the longer of its work and its traffic.
 *
 * A table says what share of the target's peak each variant reaches on sizes that are neither small nor odd
 * (the kernels' heads have the measurements), in operations of the plain sums; memory is as fast as the
 * smallest cache that holds what a kernel touches. It decides between forms of a product that differ by more
 * than it errs, such as floats and integers.
 */
#include "codegen/schedule.h"

#include <string.h>

typedef struct Share {
  const char *variant;
  double f32, bf16, bytes; /* of the peak of that dtype */
  bool one_pipe;           /* a vector in a cycle, however many the target can do */
} Share;

static const Share shares[] = {
    {.variant = "winograd", .f32 = 2.4},
    {.variant = "panels", .f32 = 0.92, .bf16 = 0.75, .bytes = 0.9},
    {.variant = "columns", .f32 = 0.5},
    {.variant = "quartets", .f32 = 0.56, .one_pipe = true},
    {.variant = "matmul", .f32 = 0.85, .bf16 = 0.6, .bytes = 0.6},
    {.variant = "attention", .f32 = 0.8, .bf16 = 0.6, .bytes = 0.6},
    {.variant = "blocks", .f32 = 0.7, .bf16 = 0.7, .bytes = 0.7},
    {.variant = "depthwise", .f32 = 0.7, .bf16 = 0.5, .bytes = 0.25},
    {.variant = "rnn", .f32 = 0.7, .bf16 = 0.5, .bytes = 0.5},
    {.variant = "", .f32 = 0.02, .bf16 = 0.02, .bytes = 0.01},
};

static const Share *share_of(const char *schedule) {
  size_t length = strcspn(schedule, " ");
  const Share *share = shares;
  while (*share->variant &&
         (strlen(share->variant) != length || strncmp(share->variant, schedule, length) != 0))
    share++;
  return share;
}

/* ---- sizes --------------------------------------------------------------------------------------------- */

static bool counts_samples(const Graph *graph, const Dim *symbol) {
  for (int i = 0; i < graph->input_count; i++) {
    const Type *type = graph->inputs[i]->type;
    if (type_is_tensor(type) && type->rank > 0 && type->dims[0] == symbol) return true;
  }
  return false;
}

static bool estimate(const void *context, const Dim *symbol, int64_t *value) {
  enum { OPEN = 128 };
  *value = counts_samples(context, symbol) ? 1 : OPEN;
  return true;
}

/* 0 when it depends on what does not fit together. */
int64_t size_estimate(const Node *node, const Dim *dim) {
  int64_t size = 0;
  const Graph *whole = graph_whole(node->graph);
  return dim && dim_eval_with(dim, estimate, whole, &size) && size > 0 ? size : 0;
}

/* ---- time ---------------------------------------------------------------------------------------------- */

/* Seconds of the products of a node. */
static double work(const Node *node, const Target *target, const char *schedule) {
  const Share *share = share_of(schedule);
  double macs = node->op->macs ? (double)size_estimate(node, node->op->macs(node)) : 0,
         peak = target->peak_gflops * 1e9 / 2 / (share->one_pipe ? target->fma_pipes : 1);
  Dtype dtype = node->operand_count ? operand(node, 0)->type->dtype : DTYPE_F32;
  if (dtype_is_byte(dtype)) return macs / (peak * target->byte_gain * share->bytes);
  if (dtype == DTYPE_BF16) return macs / (peak * target->half_gain * share->bf16);
  return macs / (peak * share->f32);
}

static double bytes_of(const Node *node, const Value *value) {
  size_t eight = 0; /* elements: of i4 two share a byte */
  if (!value || !type_is_tensor(value->type) || !dtype_bytes(value->type->dtype, 8, &eight)) return 0;
  double bytes = (double)eight / 8;
  for (int axis = 0; axis < value->type->rank; axis++)
    bytes *= (double)size_estimate(node, value->type->dims[axis]);
  return bytes;
}

/* Whether it reads of its first operand only what it gives. */
static bool picks(const Node *node) {
  if (node_is(node, &op_gather)) return true;
  for (int i = 0; i < node->region_count; i++) FOR_EACH_NODE(inner, node->regions[i])
  if (node_is(inner, &op_gather)) return true;
  return false;
}

static double traffic(const Node *node, const Target *target) {
  enum { L2_GBPS = 80, L3_GBPS = 40 };
  double bytes = 0, results = 0;
  for (int i = 0; i < node->result_count; i++) results += bytes_of(node, result(node, i));
  for (int i = 0; i < node->operand_count; i++) {
    double read = bytes_of(node, operand(node, i));
    bytes += picks(node) && read > results ? results : read;
  }
  bytes += results;
  double gbps = bytes <= (double)target->l2_bytes   ? L2_GBPS
                : bytes <= (double)target->l3_bytes ? L3_GBPS
                                                    : target->read_gbps;
  return bytes / (gbps * 1e9);
}

double kernel_seconds(const Node *node, const Target *target) {
  double seconds = 0, moved = traffic(node, target);
  int count = 0;
  for (const Target *each = target; each; each = each->next) count++;
  const char *schedule = schedule_text(node, target, 0, count);
  if (!schedule) return 0;
  if (!node_is(node, &op_kernel)) seconds = work(node, target, schedule);
  for (int i = 0; i < node->region_count; i++)
    FOR_EACH_NODE(inner, node->regions[i]) seconds += work(inner, target, schedule);
  return seconds > moved ? seconds : moved;
}
