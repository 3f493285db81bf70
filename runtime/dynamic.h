/*
 * dynamic.h -- the seam of models with sizes that are known only when they run: what codegen/dynamic.c emits
 * for them, and the part of their sessions that others do not have.
 */
#ifndef TENON_RUNTIME_DYNAMIC_H
#define TENON_RUNTIME_DYNAMIC_H

#include "items.h"
#include "model.h"

/* One stream of runs. Items have the numbers that codegen gave the values: the inputs come first. */
typedef struct Dynamic {
  Store store;
  Item *items, *holders; /* holders: of the descriptors of outputs that are sequences */
  int64_t *symbols;      /* those of the inputs first, then those that the run finds */
  void *state, *locals;  /* as in tenon_model_run, and of the whole session */
  Profile *profile;
  Team *team;
  const char *where; /* what failed, in words */
} Dynamic;

typedef struct DynamicModel {
  uint64_t item_count, symbol_count; /* 0 and 0 for models without */
  const uint64_t *outputs;           /* numbers of their items */
  int (*run)(Dynamic *run, Item *items, int64_t *symbols, void *state, void *locals, Profile *profile,
             Team *team); /* an ItemError; NULL: the model has tenon_model_run instead */
} DynamicModel;

extern const DynamicModel tenon_model_dynamic; /* emitted */

/* Runs the model; the inputs' plain tensors are checked already. A code of tenon_error, with words in
 * error. */
int tenon_dynamic_run(Dynamic *run, const tenon_tensor *inputs, tenon_tensor *outputs, char *error,
                      size_t error_size);
void tenon_dynamic_close(Dynamic *run);

#endif
