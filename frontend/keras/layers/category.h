/*
 * category.h -- what the layers share that give numbers to categories (category.c, text.c).
 */
#ifndef TENON_KERAS_CATEGORY_H
#define TENON_KERAS_CATEGORY_H

#include "frontend/keras/keras.h"

/* The vocabulary of a lookup. */
typedef struct Lookup {
  int64_t unknown;     /* how many numbers there are for what is not in it */
  bool has_mask;       /* number 0 is what is masked */
  const cJSON *mask;   /* the token that is; NULL: none */
  const cJSON *tokens; /* the first of `count` */
  int64_t count;
  int64_t first; /* the number of the first token */
  int64_t depth; /* of all numbers */
} Lookup;

/* The list of tokens: of the configuration, or of the archive's assets. NULL: there is none. */
const cJSON *lookup_vocabulary(Call *call);
bool lookup_read(Call *call, const cJSON *vocabulary, Lookup *lookup);
/* The layer's result for the place of each token in the vocabulary, -1 where it is not, and what number it
 * has then. is_mask: bool, which are masked; NULL: none. */
Value *lookup_finish(Call *call, const Lookup *lookup, Value *place, Value *unknown, Value *is_mask);
/* Numbers below `depth` by the configuration's output_mode; weights: of each in a count, idf: of each number,
 * NULL: none. */
Value *encode(Call *call, Value *x, int64_t depth, Value *weights, Value *idf);

#endif
