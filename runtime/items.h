/*
 * items.h -- the values of graphs whose sizes are known only when they run: tensors in memory of their own,
 * sequences of them, and nothing.
 *
 * An element of a tensor of strings is a pointer to bytes that end with a 0, or NULL for "".
 *
 * Libraries use these functions for what is no kernel, and so does the interpreter. An Item is a handle: to
 * copy one is to share what it holds, which counts its users and never changes while it has several.
 */
#ifndef TENON_RUNTIME_ITEMS_H
#define TENON_RUNTIME_ITEMS_H

#include "tenon.h"

/* X(NAME, text). What can go wrong with the data of a run; the texts complete "NODE: ...". */
#define ITEM_ERRORS(X)                                                                                       \
  X(ITEM_OK, "success")                                                                                      \
  X(ITEM_MEMORY, "out of memory")                                                                            \
  X(ITEM_NEGATIVE, "a size is negative")                                                                     \
  X(ITEM_POSITION, "a position lies beyond the ends of the sequence")                                        \
  X(ITEM_ABSENT, "the optional value is absent")                                                             \
  X(ITEM_EMPTY, "the sequence is empty")                                                                     \
  X(ITEM_TYPE, "a tensor has another element type or number of axes than the model says")                    \
  X(ITEM_SHAPE, "the sizes of tensors do not fit together")                                                  \
  X(ITEM_BRANCH, "a run takes the branch that could not be compiled")                                        \
  X(ITEM_NUMBER, "a string is no such number")                                                               \
  X(ITEM_PATTERN, "the pattern is no regular expression")                                                    \
  X(ITEM_IMAGE_FORMAT, "images in TIFF, JPEG 2000, WebP and BMP with run lengths are not supported")         \
  X(ITEM_IMAGE_SIZE, "the image has over 2^27 pixels, 500 scans or 2^31 bytes")

typedef enum ItemError {
#define ITEM_ERROR_ROW(name, text) name,
  ITEM_ERRORS(ITEM_ERROR_ROW)
#undef ITEM_ERROR_ROW
} ItemError;

const char *tenon_item_error_text(int error);

/* Memory that items share; the bytes follow behind its 64. */
typedef struct Chunk {
  struct Chunk *next; /* while it is free */
  uint64_t users, list;
  uint64_t items; /* it holds so many, of a sequence */
} Chunk;

typedef enum ItemKind { ITEM_NOTHING, ITEM_TENSOR, ITEM_SEQUENCE } ItemKind;

typedef struct Item {
  void *data;   /* elements; of a sequence its Items */
  Chunk *chunk; /* that keeps them; NULL: somebody else does, for the whole run */
  uint32_t kind, dtype, rank, reserved;
  int64_t dims[TENON_MAX_RANK]; /* of a sequence: how many there are */
} Item;

/* Free memory by size: what a run gives back serves the next. */
enum { ITEM_LISTS = 256 };
typedef struct Store {
  Chunk *lists[ITEM_LISTS];
  Chunk *texts; /* the bytes of strings that the run made, the newest first */
  uint64_t text_used, text_room;
} Store;

void tenon_store_close(Store *store); /* all items must be dropped */
/* Memory for the bytes of strings, until tenon_store_forget gives all of it back. NULL: there is none. */
char *tenon_store_text(Store *store, uint64_t size);
void tenon_store_forget(Store *store);

uint64_t tenon_item_bytes(uint32_t dtype, uint32_t rank, const int64_t *dims); /* UINT64_MAX: too many */
/* A new tensor in place of what the item held. */
int tenon_item_make(Store *store, Item *item, uint32_t dtype, uint32_t rank, const int64_t *dims);
/* A tensor that others keep: a weight, an input. */
void tenon_item_borrow(Store *store, Item *item, uint32_t dtype, uint32_t rank, const int64_t *dims,
                       const void *data);
/* Another shape of the same elements. */
int tenon_item_view(Store *store, Item *to, const Item *from, uint32_t rank, const int64_t *dims);
void tenon_item_share(Store *store, Item *to, const Item *from);
void tenon_item_move(Store *store, Item *to, Item *from); /* from is nothing then */
void tenon_item_drop(Store *store, Item *item);
/* ITEM_OK, or ITEM_TYPE; rank UINT32_MAX: any. */
int tenon_item_check(const Item *item, uint32_t kind, uint32_t dtype, uint32_t rank);
/* The elements of an integer tensor as sizes. */
int tenon_item_sizes(const Item *item, int64_t count, int64_t *sizes);
int64_t tenon_item_integer(const Item *item); /* element 0 of an integer or bool tensor */

/* A sequence of so many items, which are nothing yet. */
int tenon_item_sequence_new(Store *store, Item *result, uint32_t dtype, int64_t count);
/* Appends; what the sequence holds must have no other users. A sequence of nothing begins as a dropped item.
 */
int tenon_item_collect(Store *store, Item *sequence, const Item *tensor);
/* Stacks what was collected along a new first axis; without tensors dims says the shape of one. */
int tenon_item_stack(Store *store, Item *to, const Item *sequence, uint32_t dtype, uint32_t rank,
                     const int64_t *dims);

/* The operators of ir/ops/sequence.c, of ir/ops/string.c (in strings.c, hash.c) and of ir/ops/image.c (in
 * image.c): operands may be NULL where the op says so, params are the op's attributes in order, lists aside.
 */
#define ITEM_OPS(X)                                                                                          \
  X(sequence_make)                                                                                           \
  X(sequence_at)                                                                                             \
  X(sequence_insert)                                                                                         \
  X(sequence_erase)                                                                                          \
  X(sequence_length)                                                                                         \
  X(sequence_concat)                                                                                         \
  X(sequence_split)                                                                                          \
  X(optional_make)                                                                                           \
  X(optional_has)                                                                                            \
  X(optional_get)                                                                                            \
  X(image_decode)                                                                                            \
  X(string_case)                                                                                             \
  X(string_concat)                                                                                           \
  X(string_equal)                                                                                            \
  X(string_find)                                                                                             \
  X(string_format)                                                                                           \
  X(string_hash)                                                                                             \
  X(string_hash_join)                                                                                        \
  X(string_match)                                                                                            \
  X(string_parse)                                                                                            \
  X(string_remove)                                                                                           \
  X(string_split)                                                                                            \
  X(string_split_count)                                                                                      \
  X(string_without)

typedef int ItemFunction(Store *store, Item *result, const Item *const *operands, uint32_t count,
                         const int64_t *params);
#define ITEM_OP_ROW(name) ItemFunction tenon_item_##name;
ITEM_OPS(ITEM_OP_ROW)
#undef ITEM_OP_ROW

#endif
