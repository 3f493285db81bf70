/* print.h -- inside ir/ only: which constants go to the weights file, and under which keys. */
#ifndef TENON_IR_PRINT_H
#define TENON_IR_PRINT_H

#include "ir/intern.h"
#include "ir/text.h"

typedef struct WeightKey {
  const char *key;
  const Data *data;
  const Type *type; /* of the first constant that has this data */
  struct WeightKey *previous;
} WeightKey;

typedef struct WeightKeys {
  Arena *arena;
  Table keys;  /* Data -> key */
  Table taken; /* the keys */
  WeightKey *last;
  int count;
} WeightKeys;

bool data_is_listed(const Data *data); /* its elements stand in the text */
void weight_keys_collect(WeightKeys *keys, const Graph *graph);

#endif
