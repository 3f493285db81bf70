/*
 * schedule.h -- which code a kernel gets: the table of variants, and the text of the `schedule` attribute.
 *
 * A variant is a way to build the kernel of some anchor op. `schedule` (the pass) picks one for every kernel
 * node and writes it as text, e.g. schedule="panels rows=14 panels=2", where it can be read, edited in a .tn
 * file and forced. An empty text is the plain lowering. A library for several processors has a schedule for
 * each, the best processor first, "panels rows=14 panels=2 | panels rows=6 panels=1"; a text without bars is
 * that of all. What a variant needs of the graph (packed weights, explicit padding) is made before by `pack`,
 * once for all processors.
 */
#ifndef TENON_SCHEDULE_H
#define TENON_SCHEDULE_H

#include "codegen/codegen.h"
#include "ir/loop.h"

/* What the body of a variant is given. */
typedef struct VariantContext {
  const Target *target;
  const char *schedule; /* the attribute's text */
} VariantContext;

typedef struct Variant {
  const char *name; /* first word of the text */
  const char *doc;
  /* Whether it can build this kernel; `anchor` is the op inside that is not element-wise (or the only op). */
  bool (*match)(const Node *node, const Node *anchor, const Target *target);
  /* The full text with the parameters that the cost model ranks as number `rank`, 0 the best, in the module's
   * arena; NULL: there are no more. Different ranks may come to the same code. Without the function: the name
   * alone. */
  const char *(*choose)(const Node *node, const Node *anchor, const Target *target, int rank);
  LowerBody body; /* context is a VariantContext */
} Variant;

/* In the order of preference; ends with NULL. */
extern const Variant *const variant_table[];
extern const Variant variant_attention;
extern const Variant variant_blocks;
extern const Variant variant_boxes;
extern const Variant variant_columns;
extern const Variant variant_quartets;
extern const Variant variant_depthwise;
extern const Variant variant_elements;
extern const Variant variant_matmul;
extern const Variant variant_panels;
extern const Variant variant_pool;
extern const Variant variant_rnn;
extern const Variant variant_rows;
extern const Variant variant_trees;
extern const Variant variant_winograd;
extern const Variant variant_winograd_weights;

/* The tile (2 or 4) with which a 3x3 convolution of stride 1 with so many results, channels in and channels
 * out is fastest by Winograd's filtering; 0: it is not faster than the sums themselves (kernels/winograd.c).
 */
int64_t winograd_choose_tile(const Target *target, int64_t rows, int64_t columns, int64_t inputs,
                             int64_t outputs);

/* Whether the groups of a convolution have so few channels that its weights stay as they are, in lanes over
 * all channels (kernels/depthwise.c). */
bool groups_are_small(const Node *conv);

/* Whether a conv or gemm has operands that the fast kernels multiply: f32 by f32 or f16, u8 by i8, or bf16
 * that are summed in f32 (pack.c). */
bool has_fast_products(const Node *node);

/* The passes of this folder (see codegen_passes). */
bool pack_run(Graph *graph, const PassOptions *options);
bool pack_trees(Node *node, const PassOptions *options);    /* of a tree_ensemble; part of pack */
bool pack_halves(Graph *graph, const PassOptions *options); /* f16 and bf16; the start of pack */
bool pack_blocks(Node *node);                               /* of a gemm_blocks */
/* x with zeros behind an axis, up to a multiple of `unit`. */
Value *pad_to_units(Builder *builder, Value *x, int axis, int64_t unit);
/* Uses of the node's only result become uses of `by`, which inherits the name; the node goes. */
void pack_replace(Node *node, Value *by);
/* Whether so many of a 3x3 convolution's constant weights are zeros that leaving these out is faster than
 * Winograd's filtering (sparse.c). */
bool sparse_beats_winograd(const Node *conv, bool always);
/* Whether the lists of an anchor without zeros are constant, not in the code, and say nothing wrong of so
 * many steps; and how long the longest is. */
bool quartets_fit(const Node *node, const Node *anchor, int64_t k);
bool sparse_lists_fit(const Node *node, const Node *anchor, int64_t steps);
int64_t sparse_longest(const Node *node, const Node *anchor);
/* How many of the steps of all lists are there, for the text of a schedule. */
int sparse_kept_percent(const Node *anchor, int64_t lists, int64_t steps);
bool sparse_run(Graph *graph, const PassOptions *options);
bool collapse_run(Graph *graph, const PassOptions *options);
bool tune_run(Graph *graph, const PassOptions *options);

/* The op of `node` that decides its kernel: of a `kernel` the node of its region that is not element-wise, or
 * its only node; NULL when it is a chain of element ops. A plain node is its own anchor. */
const Node *kernel_anchor(const Node *node);

/* The value of "key=" in a schedule text, or `fallback`. */
int schedule_param(const char *schedule, const char *key, int fallback);

/* Entry i of a list attribute with one entry per spatial axis, of which an empty one means `normal`
 * everywhere. */
int64_t spatial_attr(const Node *node, const char *name, int i, int64_t normal);
/* Whether any entry of a list attribute is something else. */
bool attr_has_other(const Node *node, const char *name, int64_t value);

/* The schedule of `node` for `target`, which is number `index` of `count`; a plain node is scheduled on the
 * spot. NULL with a Diag. */
const char *schedule_text(const Node *node, const Target *target, int index, int count);

/* The text that ranks as number `rank` for the node: "" is the plain lowering, NULL: there are no more. */
const char *schedule_choose(const Node *node, const Target *target, int rank);

/* The kernel of `node` by a schedule, its operands and results where they lie. NULL with a Diag when the text
 * does not fit. */
Kernel *schedule_kernel(const Node *node, const char *name, const Target *target, const Places *places,
                        const char *schedule);

/* What a run of a scheduled kernel takes by the cost model, and what sizes that are open are taken to be
 * there: samples, the first axis of inputs, may come one by one, others are some hundred (cost.c). */
double kernel_seconds(const Node *node, const Target *target);
int64_t size_estimate(const Node *node, const Dim *dim);

/* Whether it is an lstm, gru or rnn. */
bool node_is_cell(const Node *node);

/* Whether `value` is held by a param of the kernel as it is: an input of the region, or any operand of a
 * plain node. */
bool value_is_direct(const Node *node, const Value *value);

#endif
