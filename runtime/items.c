/*
 * items.c -- see items.h: memory by size classes, shared with a count of its users; then the operators on
 * sequences and optional values.
 */
#include "items.h"

/* What is needed of the C library, without the headers of the target's. */
void *aligned_alloc(size_t alignment, size_t size);
void free(void *memory);
void *memcpy(void *to, const void *from, size_t size);
void *memset(void *memory, int byte, size_t size);

enum { CHUNK_SIZE = 64, SMALLEST = 256 };

static const char *const error_texts[] = {
#define ITEM_ERROR_TEXT(name, text) text,
    ITEM_ERRORS(ITEM_ERROR_TEXT)
#undef ITEM_ERROR_TEXT
};

const char *tenon_item_error_text(int error) {
  return error_texts[error];
}

/* ---- Memory -------------------------------------------------------------------------------------------- */

/* Four sizes to each doubling: the list of the smallest that is enough, which *size becomes. */
static uint64_t list_of(uint64_t *size) {
  uint64_t list = 0, step = SMALLEST / 4;
  while (*size > 8 * step) list += 4, step *= 2;
  uint64_t steps = (*size + step - 1) / step;
  if (steps < 4) steps = 4;
  *size = steps * step;
  return list + steps - 4;
}

static Chunk *chunk_new(Store *store, uint64_t size) {
  if (size > INT64_MAX / 2) return NULL;
  size += CHUNK_SIZE;
  uint64_t list = list_of(&size);
  Chunk *chunk = store->lists[list];
  if (chunk)
    store->lists[list] = chunk->next;
  else
    chunk = aligned_alloc(TENON_ALIGNMENT, size);
  if (chunk) *chunk = (Chunk){.users = 1, .list = list};
  return chunk;
}

static void *chunk_data(Chunk *chunk) {
  return (char *)chunk + CHUNK_SIZE;
}

static void chunk_drop(Store *store, Chunk *chunk) {
  if (!chunk || --chunk->users) return;
  Item *items = chunk_data(chunk);
  for (uint64_t i = 0; i < chunk->items; i++) tenon_item_drop(store, &items[i]);
  chunk->next = store->lists[chunk->list];
  store->lists[chunk->list] = chunk;
}

char *tenon_store_text(Store *store, uint64_t size) {
  enum { BLOCK = 1 << 16 };
  if (!store->texts || size > store->text_room - store->text_used) {
    uint64_t room = size > BLOCK - CHUNK_SIZE ? size : BLOCK - CHUNK_SIZE;
    Chunk *chunk = chunk_new(store, room);
    if (!chunk) return NULL;
    chunk->next = store->texts;
    store->texts = chunk;
    store->text_used = 0;
    store->text_room = room;
  }
  store->text_used += size;
  return (char *)chunk_data(store->texts) + (store->text_used - size);
}

void tenon_store_forget(Store *store) {
  for (Chunk *chunk = store->texts, *next; chunk; chunk = next) {
    next = chunk->next;
    chunk_drop(store, chunk);
  }
  store->texts = NULL;
}

void tenon_store_close(Store *store) {
  tenon_store_forget(store);
  for (int i = 0; i < ITEM_LISTS; i++)
    for (Chunk *chunk = store->lists[i], *next; chunk; chunk = next) {
      next = chunk->next;
      free(chunk);
    }
}

/* ---- Items --------------------------------------------------------------------------------------------- */

static uint64_t dtype_bits(uint32_t dtype) {
  static const uint8_t bits[] = {0,  8,  2,  4,  8, 16, 32, 64, 2, 4, 8,  16,  32, 64,
                                 16, 16, 32, 64, 8, 8,  8,  8,  8, 4, 64, 128, 64};
  return dtype <= TENON_STRING ? bits[dtype] : 0;
}

static uint64_t count_of(uint32_t rank, const int64_t *dims) {
  uint64_t count = 1;
  for (uint32_t i = 0; i < rank; i++)
    if (dims[i] < 0 || __builtin_mul_overflow(count, (uint64_t)dims[i], &count)) return UINT64_MAX;
  return count;
}

uint64_t tenon_item_bytes(uint32_t dtype, uint32_t rank, const int64_t *dims) {
  uint64_t bits, count = count_of(rank, dims);
  if (__builtin_mul_overflow(count, dtype_bits(dtype), &bits)) return UINT64_MAX;
  return bits / 8 + (bits % 8 != 0);
}

static void describe(Item *item, uint32_t kind, uint32_t dtype, uint32_t rank, const int64_t *dims) {
  item->kind = kind;
  item->dtype = dtype;
  item->rank = rank;
  for (uint32_t i = 0; i < rank; i++) item->dims[i] = dims[i];
}

/* Everything but the users of its chunk. */
static void copy_item(Item *to, const Item *from) {
  describe(to, from->kind, from->dtype, from->rank, from->dims);
  to->data = from->data;
  to->chunk = from->chunk;
}

void tenon_item_drop(Store *store, Item *item) {
  Chunk *chunk = item->chunk;
  item->chunk = NULL;
  item->data = NULL;
  item->kind = ITEM_NOTHING;
  chunk_drop(store, chunk);
}

int tenon_item_make(Store *store, Item *item, uint32_t dtype, uint32_t rank, const int64_t *dims) {
  tenon_item_drop(store, item);
  for (uint32_t i = 0; i < rank; i++)
    if (dims[i] < 0) return ITEM_NEGATIVE;
  Chunk *chunk = chunk_new(store, tenon_item_bytes(dtype, rank, dims));
  if (!chunk) return ITEM_MEMORY;
  describe(item, ITEM_TENSOR, dtype, rank, dims);
  item->chunk = chunk;
  item->data = chunk_data(chunk);
  return ITEM_OK;
}

void tenon_item_borrow(Store *store, Item *item, uint32_t dtype, uint32_t rank, const int64_t *dims,
                       const void *data) {
  tenon_item_drop(store, item);
  describe(item, ITEM_TENSOR, dtype, rank, dims);
  item->data = (void *)data; /* nobody writes to what is borrowed */
}

void tenon_item_share(Store *store, Item *to, const Item *from) {
  if (to == from) return;
  if (from->chunk) from->chunk->users++;
  tenon_item_drop(store, to);
  copy_item(to, from);
}

void tenon_item_move(Store *store, Item *to, Item *from) {
  if (to == from) return;
  tenon_item_drop(store, to);
  copy_item(to, from);
  from->chunk = NULL;
  tenon_item_drop(store, from);
}

int tenon_item_view(Store *store, Item *to, const Item *from, uint32_t rank, const int64_t *dims) {
  if (count_of(rank, dims) != count_of(from->rank, from->dims)) return ITEM_SHAPE;
  tenon_item_share(store, to, from);
  describe(to, ITEM_TENSOR, from->dtype, rank, dims);
  return ITEM_OK;
}

int tenon_item_check(const Item *item, uint32_t kind, uint32_t dtype, uint32_t rank) {
  if (item->kind != kind || item->dtype != dtype) return ITEM_TYPE;
  return rank == UINT32_MAX || kind != ITEM_TENSOR || item->rank == rank ? ITEM_OK : ITEM_TYPE;
}

static int64_t integer_at(const Item *item, int64_t i) {
  switch (item->dtype) {
  case TENON_I8: return ((const int8_t *)item->data)[i];
  case TENON_I16: return ((const int16_t *)item->data)[i];
  case TENON_I32: return ((const int32_t *)item->data)[i];
  case TENON_BOOL:
  case TENON_U8: return ((const uint8_t *)item->data)[i];
  case TENON_U16: return ((const uint16_t *)item->data)[i];
  case TENON_U32: return ((const uint32_t *)item->data)[i];
  default: return ((const int64_t *)item->data)[i];
  }
}

int64_t tenon_item_integer(const Item *item) {
  return integer_at(item, 0);
}

int tenon_item_sizes(const Item *item, int64_t count, int64_t *sizes) {
  for (int64_t i = 0; i < count; i++) {
    sizes[i] = integer_at(item, i);
    if (sizes[i] < 0) return ITEM_NEGATIVE;
  }
  return ITEM_OK;
}

/* ---- Sequences ----------------------------------------------------------------------------------------- */

static const Item *items_of(const Item *sequence) {
  return sequence->data;
}

int tenon_item_sequence_new(Store *store, Item *result, uint32_t dtype, int64_t count) {
  Chunk *chunk = chunk_new(store, (uint64_t)count * sizeof(Item));
  if (!chunk) return ITEM_MEMORY;
  memset(chunk_data(chunk), 0, (size_t)count * sizeof(Item));
  chunk->items = (uint64_t)count;
  tenon_item_drop(store, result);
  describe(result, ITEM_SEQUENCE, dtype, 1, &count);
  result->chunk = chunk;
  result->data = chunk_data(chunk);
  return ITEM_OK;
}

/* Counted from the start; beyond the ends of [0, size) when there is no such. */
static int64_t position_of(const Item *position, int64_t size) {
  int64_t at = tenon_item_integer(position);
  return at < 0 ? at + size : at;
}

/* Elements [begin, begin + count) of one become those from `at` on of the other. */
static void share_items(Store *store, Item *to, int64_t at, const Item *from, int64_t begin, int64_t count) {
  Item *items = to->data;
  for (int64_t i = 0; i < count; i++) tenon_item_share(store, &items[at + i], &items_of(from)[begin + i]);
}

int tenon_item_sequence_make(Store *store, Item *result, const Item *const *operands, uint32_t count,
                             const int64_t *params) {
  uint32_t dtype = count > 0 ? operands[0]->dtype : (uint32_t)params[0];
  int error = tenon_item_sequence_new(store, result, dtype, count);
  for (uint32_t i = 0; !error && i < count; i++)
    tenon_item_share(store, (Item *)result->data + i, operands[i]);
  return error;
}

int tenon_item_sequence_at(Store *store, Item *result, const Item *const *operands, uint32_t count,
                           const int64_t *params) {
  (void)count, (void)params;
  int64_t size = operands[0]->dims[0], at = position_of(operands[1], size);
  if (at < 0 || at >= size) return ITEM_POSITION;
  tenon_item_share(store, result, &items_of(operands[0])[at]);
  return ITEM_OK;
}

int tenon_item_sequence_insert(Store *store, Item *result, const Item *const *operands, uint32_t count,
                               const int64_t *params) {
  (void)params;
  const Item *from = operands[0];
  int64_t size = from->dims[0], at = count > 2 && operands[2] ? position_of(operands[2], size) : size;
  if (at < 0 || at > size) return ITEM_POSITION;
  int error = tenon_item_sequence_new(store, result, operands[1]->dtype, size + 1);
  if (error) return error;
  share_items(store, result, 0, from, 0, at);
  tenon_item_share(store, (Item *)result->data + at, operands[1]);
  share_items(store, result, at + 1, from, at, size - at);
  return ITEM_OK;
}

int tenon_item_sequence_erase(Store *store, Item *result, const Item *const *operands, uint32_t count,
                              const int64_t *params) {
  (void)params;
  const Item *from = operands[0];
  int64_t size = from->dims[0], at = count > 1 && operands[1] ? position_of(operands[1], size) : size - 1;
  if (at < 0 || at >= size) return ITEM_POSITION;
  int error = tenon_item_sequence_new(store, result, from->dtype, size - 1);
  if (error) return error;
  share_items(store, result, 0, from, 0, at);
  share_items(store, result, at, from, at + 1, size - at - 1);
  return ITEM_OK;
}

int tenon_item_sequence_length(Store *store, Item *result, const Item *const *operands, uint32_t count,
                               const int64_t *params) {
  (void)count, (void)params;
  int error = tenon_item_make(store, result, TENON_I64, 0, NULL);
  if (!error) *(int64_t *)result->data = operands[0]->dims[0];
  return error;
}

/* ---- Tensors to sequences and back ----------------------------------------------------------------------
 */

/* Bytes of a part of a tensor, which it has `outer` of, for each step along the axis; bits that do not fill
 * bytes cannot be moved. */
static int measure(const Item *tensor, uint32_t axis, uint64_t *outer, uint64_t *inner) {
  uint64_t bits = dtype_bits(tensor->dtype);
  *outer = count_of(axis, tensor->dims);
  bits *= count_of(tensor->rank - axis - 1, tensor->dims + axis + 1);
  *inner = bits / 8;
  return bits % 8 ? ITEM_TYPE : ITEM_OK;
}

/* One part of `size` along the axis, of `whole` in the result, from or to place `at`. */
static void copy_part(char *whole, char *part, uint64_t outer, uint64_t whole_bytes, uint64_t part_bytes,
                      int to_whole) {
  for (uint64_t i = 0; i < outer; i++, whole += whole_bytes, part += part_bytes)
    memcpy(to_whole ? whole : part, to_whole ? part : whole, part_bytes);
}

static int same_but(const Item *a, const Item *b, uint32_t axis) {
  if (a->rank != b->rank || a->dtype != b->dtype) return 0;
  for (uint32_t i = 0; i < a->rank; i++)
    if (i != axis && a->dims[i] != b->dims[i]) return 0;
  return 1;
}

/* The shape of the result; every tensor must fit. axis UINT32_MAX: none may differ. */
static int concat_shape(const Item *sequence, uint32_t axis, int stack, int64_t *dims) {
  const Item *items = items_of(sequence), *first = items;
  int64_t count = sequence->dims[0], sum = 0;
  for (int64_t i = 0; i < count; i++) {
    if (!same_but(first, &items[i], stack ? UINT32_MAX : axis)) return ITEM_SHAPE;
    if (!stack) sum += items[i].dims[axis];
  }
  for (uint32_t i = 0, from = 0; i < first->rank + (uint32_t)stack; i++)
    dims[i] = stack && i == axis ? count : first->dims[from++];
  if (!stack) dims[axis] = sum;
  return ITEM_OK;
}

static int concat(Store *store, Item *result, const Item *sequence, int64_t axis, int stack) {
  int64_t dims[TENON_MAX_RANK];
  if (sequence->dims[0] == 0) return ITEM_EMPTY;
  const Item *items = items_of(sequence);
  uint32_t rank = items->rank + (uint32_t)stack;
  if (axis < 0) axis += rank;
  if (axis < 0 || axis >= rank || rank > TENON_MAX_RANK) return ITEM_TYPE;
  int error = concat_shape(sequence, (uint32_t)axis, stack, dims);
  if (!error) error = tenon_item_make(store, result, items->dtype, rank, dims);
  uint64_t outer, inner;
  if (!error) error = measure(result, (uint32_t)axis, &outer, &inner);
  if (error) return error;
  char *at = result->data;
  for (int64_t i = 0; i < sequence->dims[0]; i++) {
    uint64_t bytes = inner * (stack ? 1 : (uint64_t)items[i].dims[axis]);
    copy_part(at, items[i].data, outer, inner * (uint64_t)dims[axis], bytes, 1);
    at += bytes;
  }
  return ITEM_OK;
}

int tenon_item_sequence_concat(Store *store, Item *result, const Item *const *operands, uint32_t count,
                               const int64_t *params) {
  (void)count;
  return concat(store, result, operands[0], params[0], params[1] != 0);
}

int tenon_item_stack(Store *store, Item *to, const Item *sequence, uint32_t dtype, uint32_t rank,
                     const int64_t *dims) {
  int64_t empty[TENON_MAX_RANK] = {0};
  if (sequence->kind == ITEM_SEQUENCE) return concat(store, to, sequence, 0, 1);
  for (uint32_t i = 0; i < rank; i++) empty[i + 1] = dims[i];
  return tenon_item_make(store, to, dtype, rank + 1, empty);
}

/* Twice the room when there is none left, so that n tensors cost n steps. */
int tenon_item_collect(Store *store, Item *sequence, const Item *tensor) {
  int64_t count = sequence->kind == ITEM_SEQUENCE ? sequence->dims[0] : 0;
  if (count == 0 || (uint64_t)count == sequence->chunk->items) {
    Item more = {0};
    int error = tenon_item_sequence_new(store, &more, tensor->dtype, count ? 2 * count : 4);
    if (error) return error;
    for (int64_t i = 0; i < count; i++)
      tenon_item_move(store, (Item *)more.data + i, (Item *)sequence->data + i);
    tenon_item_move(store, sequence, &more);
  }
  tenon_item_share(store, (Item *)sequence->data + count, tensor);
  sequence->dims[0] = count + 1;
  return ITEM_OK;
}

/* How many parts there are, and the size of the i-th. */
typedef struct Parts {
  const Item *sizes; /* NULL: all are `each` */
  int64_t count, each, whole;
} Parts;

static int find_parts(const Item *sizes, int64_t whole, Parts *parts) {
  *parts = (Parts){.each = 1, .count = whole, .whole = whole};
  if (!sizes) return ITEM_OK;
  if (sizes->rank == 0) {
    parts->each = tenon_item_integer(sizes);
    if (parts->each <= 0) return ITEM_SHAPE;
    parts->count = whole / parts->each + (whole % parts->each != 0);
    return ITEM_OK;
  }
  parts->sizes = sizes;
  parts->count = sizes->dims[0];
  int64_t sum = 0;
  for (int64_t i = 0; i < parts->count; i++) {
    int64_t size = integer_at(sizes, i);
    if (size < 0 || size > whole - sum) return ITEM_SHAPE;
    sum += size;
  }
  return sum == whole ? ITEM_OK : ITEM_SHAPE;
}

static int64_t part_size(const Parts *parts, int64_t i) {
  if (parts->sizes) return integer_at(parts->sizes, i);
  int64_t left = parts->whole - i * parts->each;
  return left < parts->each ? left : parts->each;
}

int tenon_item_sequence_split(Store *store, Item *result, const Item *const *operands, uint32_t count,
                              const int64_t *params) {
  const Item *whole = operands[0];
  int64_t axis = params[0] < 0 ? params[0] + whole->rank : params[0], dims[TENON_MAX_RANK];
  Parts parts;
  uint64_t outer, inner;
  int error = measure(whole, (uint32_t)axis, &outer, &inner);
  if (!error) error = find_parts(count > 1 ? operands[1] : NULL, whole->dims[axis], &parts);
  if (!error) error = tenon_item_sequence_new(store, result, whole->dtype, parts.count);
  char *at = whole->data;
  for (int64_t i = 0; !error && i < parts.count; i++) {
    int64_t size = part_size(&parts, i);
    uint32_t rank = 0;
    for (uint32_t j = 0; j < whole->rank; j++)
      if (j != axis || params[1]) dims[rank++] = j == axis ? size : whole->dims[j];
    Item *part = (Item *)result->data + i;
    error = tenon_item_make(store, part, whole->dtype, rank, dims);
    if (error) break;
    copy_part(at, part->data, outer, inner * (uint64_t)whole->dims[axis], inner * (uint64_t)size, 0);
    at += inner * (uint64_t)size;
  }
  return error;
}

/* ---- Optional values ------------------------------------------------------------------------------------
 */

int tenon_item_optional_make(Store *store, Item *result, const Item *const *operands, uint32_t count,
                             const int64_t *params) {
  (void)params;
  if (count > 0 && operands[0])
    tenon_item_share(store, result, operands[0]);
  else
    tenon_item_drop(store, result);
  return ITEM_OK;
}

int tenon_item_optional_has(Store *store, Item *result, const Item *const *operands, uint32_t count,
                            const int64_t *params) {
  (void)count, (void)params;
  int error = tenon_item_make(store, result, TENON_BOOL, 0, NULL);
  if (!error) *(uint8_t *)result->data = operands[0]->kind != ITEM_NOTHING;
  return error;
}

int tenon_item_optional_get(Store *store, Item *result, const Item *const *operands, uint32_t count,
                            const int64_t *params) {
  (void)count, (void)params;
  if (operands[0]->kind == ITEM_NOTHING) return ITEM_ABSENT;
  tenon_item_share(store, result, operands[0]);
  return ITEM_OK;
}
