/*
 * rewrite.h -- what the passes share; private to passes/.
 *
 *   1 the passes   2 questions about nodes and values   3 permutations   4 rewriting   5 equalization
 *   6 printing
 */
#ifndef TENON_PASSES_REWRITE_H
#define TENON_PASSES_REWRITE_H

#include "passes/passes.h"

/* ---- 1. The passes (one file each) ----------------------------------------------------------------------
 */

bool pass_integers(Graph *graph, const PassOptions *options);
bool pass_prune(Graph *graph, const PassOptions *options);
bool graph_make_unsigned(Graph *graph); /* the beginning of integers (unsigned.c) */
bool graph_make_tables(Graph *graph);   /* its end (tables.c) */
bool pass_quantize(Graph *graph, const PassOptions *options);
bool pass_expand(Graph *graph, const PassOptions *options);
bool pass_simplify(Graph *graph, const PassOptions *options);
bool pass_fold(Graph *graph, const PassOptions *options);
bool pass_cse(Graph *graph, const PassOptions *options);
bool pass_dce(Graph *graph, const PassOptions *options);
bool pass_equalize(Graph *graph, const PassOptions *options);
bool pass_attention(Graph *graph, const PassOptions *options);
bool pass_layout(Graph *graph, const PassOptions *options);
bool pass_subpixel(Graph *graph, const PassOptions *options);
bool pass_fuse(Graph *graph, const PassOptions *options);
bool pass_place(Graph *graph, const PassOptions *options);
bool pass_plan(Graph *graph, const PassOptions *options);

/* ---- 2. Questions (rewrite.c) ---------------------------------------------------------------------------
 */

/* Element op whose result index is its operands' index, up to broadcasting: fuses without changing an access.
 */
bool node_is_pointwise(const Node *node);
/* A nest whose elements are final when it stores them, so that others can be fused behind it. */
bool node_is_anchor(const Node *node);
/* Its result is its operand's memory under another shape. */
bool node_is_view(const Node *node);
/* The value whose memory this one shares, through views. */
Value *value_root(const Value *value);
/* Elements, when the type is static; else the product of the constant dims times a guess for the symbols: for
 * cost models only. */
double value_weight(const Value *value);

/* ---- 3. Permutations (rewrite.c): result axis i is operand axis perm[i] ----------------------------------
 */

bool perm_is_identity(const int64_t *perm, int rank);
void perm_invert(const int64_t *perm, int rank, int64_t *inverse);
/* The transpose that is `first`, then `second`. */
void perm_compose(const int64_t *first, const int64_t *second, int rank, int64_t *composed);
/* Whether only axes of size 1 change their order, so that the transpose is a reshape. */
bool perm_is_view(const Type *type, const int64_t *perm);
/* perm of a transpose node; its length is the rank. */
const int64_t *node_perm(const Node *node);

/* ---- 4. Rewriting (rewrite.c) ---------------------------------------------------------------------------
 */

/* transpose(value), composed with the transpose that value may be; value itself or its source when that is
 * the identity. */
Value *build_permuted(Builder *builder, Value *value, const int64_t *perm);
/* node_finish for a rewrite that may turn out not to type: result 0, or NULL, no Diag, and the node gone.
 * `shape` is what it must have; NULL: any. */
Value *node_try(Node *node, const Type *shape);
/* All uses of `old` become uses of `by`, which inherits the name. */
void value_hand_over(Value *old, Value *by);
/* That of node's result 0, and the others have no uses; the node goes. */
void node_replace(Node *node, Value *by);
/* Removes every node whose results are unused, to the end of each chain. */
bool graph_sweep(Graph *graph);

/* Rules of simplify (rules/): an equivalent for result 0 of node, built before it, or NULL. As Op.simplify.
 */
typedef Value *(*Rule)(Node *node);
Value *rule_known(Node *node);            /* known integers become a constant */
Value *rule_matmul_to_gemm(Node *node);   /* matmul with a 2-D right side: one gemm over all rows */
Value *rule_gemm_blocks(Node *node);      /* weights of few bits stay so */
Value *rule_gather_blocks(Node *node);    /* and rows of them */
Value *rule_gemm_untranspose(Node *node); /* trans_b of a constant: the constant transposed */
Value *rule_pool_before_conv(Node *node); /* average_pool(conv1x1(x)): conv1x1(average_pool(x)) */
Value *rule_join_conv_axes(Node *node);   /* axes where the kernel has one element join the batch */
Value *rule_image_planes(Node *node);     /* conv of bytes over few channels: over their planes */
Value *rule_gemm_flatten(
    Node *node); /* transposed feature map, flattened, into constant weights: permute their rows */
Value *rule_scale_after(Node *node);   /* mul/div by a constant per channel: into the weights before it */
Value *rule_shift_after(Node *node);   /* add/sub of a constant per channel: into the bias before it */
Value *rule_scale_before(Node *node);  /* mul by a constant per input channel: into the weights behind it */
Value *rule_shift_before(Node *node);  /* add of one, without padding: into the bias behind it */
Value *rule_norm_quotient(Node *node); /* x / its deviation: layer_norm */
Value *rule_norm_product(Node *node);  /* x * one over its deviation: layer_norm */
Value *rule_norm_sum(Node *node);      /* x*s + (bias - mean*s): layer_norm */
Value *rule_sink_reshape(Node *node);  /* pointwise(reshape(x)): reshape(pointwise(x)) */
Value *rule_sink_reshape_norm(Node *node); /* layer_norm(reshape(x)): reshape(layer_norm(x)) */

/* ---- 5. Equalization (equalize.c) -----------------------------------------------------------------------
 */

/* What a product reads, over samples. */
typedef struct Channels {
  const float *absmax;   /* of each channel */
  const double *squares; /* means of them; NULL: not known */
  double reach;          /* the range of all channels, in parts of the largest magnitude: 1 to 2 */
} Channels;

typedef struct Equalizing {
  /* 0.5: half of what ranges differ moves into the weights (as a factor), 1: all. Where squares are known it
   * does not count, then that with the least noise is found for each product. */
  double strength;
  /* What is known of them; false, and a function that is NULL: nothing, and ranges are guessed from
   * constants. */
  bool (*channels)(const void *context, const Node *product, Channels *channels);
  const void *context;
} Equalizing;

/* What was done. */
typedef struct Equalized {
  int products, norms; /* whose channels were scaled; multiplications that were there count as norms */
  int multiplied;      /* multiplications that were added, which takes known ranges */
  double largest;      /* by how much at most */
} Equalized;

/* Needs constants that are folded; what is known is not that of the graph any more when it changed. */
bool graph_equalize(Graph *graph, const Equalizing *options, Equalized *report);

/* ---- 6. Printing (diff.c) -------------------------------------------------------------------------------
 */

/* colour: what went is red, what came green. */
void diff_print(const char *before, const char *after, bool colour, FILE *out);

#endif
