/*
 * attention.h -- what the attention operators of ONNX and com.microsoft are built of (attention.c).
 *
 * Sizes are called as in the core op `attention`: batch b, heads h, queries m, keys n, channels d of queries
 * and keys, e of values.
 */
#ifndef TENON_FRONTEND_ONNX_ATTENTION_H
#define TENON_FRONTEND_ONNX_ATTENTION_H

#include "frontend/onnx/onnx.h"

/* A tensor of heads: [b, h, positions, d], or by_position [b, positions, h, d], as a projection leaves it. */
typedef struct Heads {
  Value *x; /* NULL: building it failed */
  bool by_position;
} Heads;

/* Of [b, positions, h*d]; false with an error when that is not its shape. */
bool heads_split(OnnxNode *node, Value *x, int64_t heads, Heads *result);
const Dim *heads_count(const Heads *heads);
const Dim *heads_positions(const Heads *heads);
/* Heads [first, first + count) of those by position. */
Heads heads_slice(OnnxNode *node, const Heads *heads, int64_t first, int64_t count);
Value *heads_canonical(OnnxNode *node, const Heads *heads); /* as [b, h, positions, d] */
/* Behind `past`, [b, h, positions, d]; NULL: the heads alone. */
Heads heads_append(OnnxNode *node, Value *past, const Heads *heads);
Value *heads_merge(OnnxNode *node, const Heads *heads); /* as [b, positions, h*d] */

typedef struct Attention {
  Heads q, k, v; /* heads of k and v each serve as many of q */
  double scale, softcap;
  Value *allowed; /* bool that broadcasts to the scores [b, h, m, n]: what is not allowed has weight 0; NULL:
                     all */
  Value *bias;    /* addend that broadcasts to the scores; NULL: none */
  Value *sink;    /* [h]: the score of a key more, whose value is 0; NULL: none */
  bool zero_masked; /* a query without an allowed key gets 0, not NaN */
} Attention;

/* Attribute scale; 0 or absent: one over the root of d. */
bool read_scale(OnnxNode *node, Attention *a);
/* [b, m, h, e] if q is by position, else [b, h, m, e]. */
Heads emit_attention(OnnxNode *node, const Attention *a);

/* The scores at each stage, [b, h, m, n], for operators that give them out. */
typedef enum ScoreStage { SCORE_PRODUCT, SCORE_CAPPED, SCORE_MASKED, SCORE_WEIGHTS } ScoreStage;
Value *emit_scores(OnnxNode *node, const Attention *a, ScoreStage stage);

/* And of two conditions; either may be NULL. */
Value *both(OnnxNode *node, Value *a, Value *b);
/* [b, h, m, n] of a mask that broadcasts to it: unlike symbols are taken for equal, and what a shorter last
 * axis lacks is `rest`. */
Value *fit_mask(OnnxNode *node, const Attention *a, Value *mask, double rest);

/* x rotated by angles whose cosines and sines are the rows of two tables [positions, half]; `at` [b or 1,
 * positions] picks rows, NULL: they are [b, positions, half] already. The first 2*half channels are rotated:
 * pairs are neighbours if interleaved, else half apart. */
typedef struct Rotation {
  Value *cos, *sin, *at;
  bool interleaved;
} Rotation;
Heads emit_rotated(OnnxNode *node, const Heads *heads, const Rotation *rotation);

#endif
