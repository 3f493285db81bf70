/* intern.c -- hash tables with linear probing, and the strings of a module. */
#include "ir/intern.h"

#include <string.h>

static size_t free_slot(const Table *table, uint64_t hash) {
  size_t at = hash & (table->capacity - 1);
  while (table->slots[at].item) at = (at + 1) & (table->capacity - 1);
  return at;
}

static void grow(Arena *arena, Table *table) {
  Table bigger = {.count = table->count, .capacity = table->capacity ? table->capacity * 2 : 16};
  bigger.slots = NEW_ARRAY(arena, TableSlot, bigger.capacity);
  for (size_t i = 0; i < table->capacity; i++)
    if (table->slots[i].item) bigger.slots[free_slot(&bigger, table->slots[i].hash)] = table->slots[i];
  *table = bigger;
}

void *table_find(const Table *table, uint64_t hash, const void *key, TableEqual equal) {
  if (table->capacity == 0) return NULL;
  for (size_t at = hash & (table->capacity - 1); table->slots[at].item; at = (at + 1) & (table->capacity - 1))
    if (table->slots[at].hash == hash && equal(table->slots[at].item, key)) return table->slots[at].item;
  return NULL;
}

void table_add(Arena *arena, Table *table, uint64_t hash, void *item) {
  if (table->count * 4 >= table->capacity * 3) grow(arena, table);
  table->slots[free_slot(table, hash)] = (TableSlot){hash, item};
  table->count++;
}

/* Every step is a bijection of the state (xor, odd multiplication, xorshift), so no input bit is lost. */
static uint64_t mix(uint64_t state, uint64_t word) {
  state = (state ^ word) * 0x9e3779b97f4a7c15u;
  return state ^ (state >> 29);
}

uint64_t hash_bytes(const void *bytes, size_t size, uint64_t seed) {
  const unsigned char *at = bytes;
  uint64_t state = mix(seed, size), word = 0;
  for (; size >= sizeof word; size -= sizeof word, at += sizeof word) {
    memcpy(&word, at, sizeof word);
    state = mix(state, word);
  }
  word = 0;
  if (size > 0) memcpy(&word, at, size);
  return mix(mix(state, word), 0x2545f4914f6cdd1du);
}

uint64_t hash_pointer(const void *pointer) {
  return hash_bytes(&pointer, sizeof pointer, 0);
}

typedef struct MapEntry {
  const void *from;
  void *to;
} MapEntry;

static bool map_equal(const void *item, const void *key) {
  return ((const MapEntry *)item)->from == key;
}

void map_set(Arena *arena, Table *map, const void *from, void *to) {
  MapEntry *entry = NEW(arena, MapEntry);
  *entry = (MapEntry){from, to};
  table_add(arena, map, hash_pointer(from), entry);
}

void *map_get(const Table *map, const void *from) {
  const MapEntry *entry = table_find(map, hash_pointer(from), from, map_equal);
  return entry ? entry->to : NULL;
}

static bool string_equal(const void *item, const void *key) {
  return strcmp(item, key) == 0;
}

const char *intern(Module *module, const char *string) {
  if (!string) return NULL;
  size_t length = strlen(string);
  uint64_t hash = hash_bytes(string, length, 1);
  char *found = table_find(&module->interns->strings, hash, string, string_equal);
  if (found) return found;
  found = arena_copy(module->arena, string, length + 1);
  table_add(module->arena, &module->interns->strings, hash, found);
  return found;
}
