/*
 * intern.h -- inside ir/ only: hash tables in an arena, and the tables of a module.
 *
 * A Table maps a hash to items; the caller says what equality is. It only grows: what is gone is marked by
 * its owner, in the item.
 */
#ifndef TENON_IR_INTERN_H
#define TENON_IR_INTERN_H

#include "ir/ir.h"

typedef struct TableSlot {
  uint64_t hash;
  void *item; /* NULL: free */
} TableSlot;

typedef struct Table {
  TableSlot *slots;
  size_t count, capacity; /* capacity is 0 or a power of two */
} Table;

typedef bool (*TableEqual)(const void *item, const void *key);

void *table_find(const Table *table, uint64_t hash, const void *key, TableEqual equal);
void table_add(Arena *arena, Table *table, uint64_t hash, void *item);

uint64_t hash_pointer(const void *pointer);

/* A map from pointers to pointers, for copying graphs. */
void map_set(Arena *arena, Table *map, const void *from, void *to); /* `from` must be new */
void *map_get(const Table *map, const void *from);                  /* NULL when absent */

struct Interns {
  Table strings, dims, types;
  int dim_count, new_symbols;
};

/* A dim or type of any module as one of `module`. */
const Dim *dim_import(Module *module, const Dim *dim);
const Type *type_import(Module *module, const Type *type);

#endif
