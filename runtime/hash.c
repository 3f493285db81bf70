/*
 * hash.c -- string_hash: the fingerprint of FarmHash (farmhashna), and SipHash-2-4 with a key of 128 bits
 * (Aumasson and Bernstein 2012), modulo a number of buckets; and how FarmHash joins two fingerprints.
 *
 * The numbers are those of tf.strings.to_hash_bucket_fast, to_hash_bucket_strong and tf.sparse.cross_hashed.
 */
#include "items.h"

size_t strlen(const char *text);

static const uint64_t k0 = 0xc3a5c85c97cb3127u, k1 = 0xb492b66fbe98f273u, k2 = 0x9ae16a3b2f90404fu;

static uint64_t load(const char *from, int bytes) {
  uint64_t value = 0;
  for (int i = 0; i < bytes; i++) value |= (uint64_t)(uint8_t)from[i] << (8 * i);
  return value;
}

static uint64_t load8(const char *from) {
  return load(from, 8);
}

static uint64_t rotate(uint64_t x, int right) {
  return x >> right | x << (64 - right);
}

static uint64_t shift_mix(uint64_t x) {
  return x ^ x >> 47;
}

/* ---- FarmHash ---- */

static uint64_t mix(uint64_t u, uint64_t v, uint64_t multiplier) {
  uint64_t a = shift_mix((u ^ v) * multiplier);
  return shift_mix((v ^ a) * multiplier) * multiplier;
}

static uint64_t hash_to_16(const char *s, uint64_t size) {
  uint64_t multiplier = k2 + size * 2;
  if (size >= 8) {
    uint64_t a = load8(s) + k2, b = load8(s + size - 8);
    return mix(rotate(b, 37) * multiplier + a, (rotate(a, 25) + b) * multiplier, multiplier);
  }
  if (size >= 4) return mix(size + (load(s, 4) << 3), load(s + size - 4, 4), multiplier);
  if (!size) return k2;
  uint64_t y = load(s, 1) + (load(s + size / 2, 1) << 8), z = size + (load(s + size - 1, 1) << 2);
  return shift_mix((y * k2) ^ (z * k0)) * k2;
}

static uint64_t hash_to_32(const char *s, uint64_t size) {
  uint64_t multiplier = k2 + size * 2;
  uint64_t a = load8(s) * k1, b = load8(s + 8), c = load8(s + size - 8) * multiplier,
           d = load8(s + size - 16) * k2;
  return mix(rotate(a + b, 43) + rotate(c, 30) + d, a + rotate(b + k2, 18) + c, multiplier);
}

static uint64_t hash_to_64(const char *s, uint64_t size) {
  uint64_t multiplier = k2 + size * 2;
  uint64_t a = load8(s) * k2, b = load8(s + 8), c = load8(s + size - 8) * multiplier,
           d = load8(s + size - 16) * k2;
  uint64_t y = rotate(a + b, 43) + rotate(c, 30) + d, z = mix(y, a + rotate(b + k2, 18) + c, multiplier);
  uint64_t e = load8(s + 16) * multiplier, f = load8(s + 24);
  uint64_t g = (y + load8(s + size - 32)) * multiplier, h = (z + load8(s + size - 24)) * multiplier;
  return mix(rotate(e + f, 43) + rotate(g, 30) + h, e + rotate(f + a, 18) + g, multiplier);
}

typedef struct Pair {
  uint64_t first, second;
} Pair;

static Pair weak_hash(const char *s, uint64_t a, uint64_t b) {
  uint64_t w = load8(s), x = load8(s + 8), y = load8(s + 16), z = load8(s + 24);
  a += w;
  b = rotate(b + a + z, 21);
  uint64_t c = a;
  a += x + y;
  return (Pair){a + z, b + rotate(a, 44) + c};
}

/* The state that walks over blocks of 64 bytes. */
typedef struct Walk {
  uint64_t x, y, z;
  Pair v, w;
} Walk;

/* A block; the last one weighs w and v more. */
static void take_block(Walk *h, const char *s, uint64_t multiplier, uint64_t factor) {
  h->x = rotate(h->x + h->y + h->v.first + load8(s + 8), 37) * multiplier;
  h->y = rotate(h->y + h->v.second + load8(s + 48), 42) * multiplier;
  h->x ^= h->w.second * factor;
  h->y += h->v.first * factor + load8(s + 40);
  h->z = rotate(h->z + h->w.first, 33) * multiplier;
  h->v = weak_hash(s, h->v.second * multiplier, h->x + h->w.first);
  h->w = weak_hash(s + 32, h->z + h->w.second, h->y + load8(s + 16));
  uint64_t x = h->x;
  h->x = h->z;
  h->z = x;
}

static uint64_t hash_long(const char *s, uint64_t size) {
  const uint64_t seed = 81;
  Walk h = {.x = seed * k2, .y = seed * k1 + 113};
  h.z = shift_mix(h.y * k2 + 113) * k2;
  h.x += load8(s);
  const char *end = s + (size - 1) / 64 * 64, *last = s + size - 64;
  for (; s != end; s += 64) take_block(&h, s, k1, 1);
  uint64_t multiplier = k1 + ((h.z & 0xff) << 1);
  h.w.first += (size - 1) & 63;
  h.v.first += h.w.first;
  h.w.first += h.v.first;
  take_block(&h, last, multiplier, 9);
  return mix(mix(h.v.first, h.w.first, multiplier) + shift_mix(h.y) * k0 + h.z,
             mix(h.v.second, h.w.second, multiplier) + h.x, multiplier);
}

static uint64_t fingerprint(const char *text, uint64_t size) {
  if (size <= 16) return hash_to_16(text, size);
  return size <= 32 ? hash_to_32(text, size) : size <= 64 ? hash_to_64(text, size) : hash_long(text, size);
}

/* ---- SipHash ---- */

static void sip_round(uint64_t *v) {
  v[0] += v[1];
  v[2] += v[3];
  v[1] = rotate(v[1], 51) ^ v[0];
  v[3] = rotate(v[3], 48) ^ v[2];
  v[0] = rotate(v[0], 32) + v[3];
  v[2] += v[1];
  v[3] = rotate(v[3], 43) ^ v[0];
  v[1] = rotate(v[1], 47) ^ v[2];
  v[2] = rotate(v[2], 32);
}

static void sip_take(uint64_t *v, uint64_t word) {
  v[3] ^= word;
  sip_round(v);
  sip_round(v);
  v[0] ^= word;
}

static uint64_t sip_hash(const char *text, uint64_t size, uint64_t key0, uint64_t key1) {
  uint64_t v[] = {key0 ^ 0x736f6d6570736575u, key1 ^ 0x646f72616e646f6du, key0 ^ 0x6c7967656e657261u,
                  key1 ^ 0x7465646279746573u};
  uint64_t whole = size / 8 * 8;
  for (uint64_t i = 0; i < whole; i += 8) sip_take(v, load8(text + i));
  sip_take(v, load(text + whole, (int)(size - whole)) | size << 56);
  v[2] ^= 0xff;
  for (int i = 0; i < 4; i++) sip_round(v);
  return v[0] ^ v[1] ^ v[2] ^ v[3];
}

/* ---- the operators ---- */

int tenon_item_string_hash(Store *store, Item *result, const Item *const *operands, uint32_t count,
                           const int64_t *params) {
  (void)count;
  const Item *x = operands[0];
  int64_t size = 1;
  for (uint32_t i = 0; i < x->rank; i++) size *= x->dims[i];
  int error = tenon_item_make(store, result, TENON_I64, x->rank, x->dims);
  for (int64_t i = 0; !error && i < size; i++) {
    const char *text = ((const char *const *)x->data)[i];
    uint64_t length = text ? strlen(text) : 0, buckets = (uint64_t)params[0];
    uint64_t hash = params[1] ? sip_hash(text, length, (uint64_t)params[2], (uint64_t)params[3])
                              : fingerprint(text, length);
    ((int64_t *)result->data)[i] = (int64_t)(buckets ? hash % buckets : hash);
  }
  return error;
}

int tenon_item_string_hash_join(Store *store, Item *result, const Item *const *operands, uint32_t count,
                                const int64_t *params) {
  (void)count;
  const Item *x = operands[0];
  const uint64_t multiplier = 0xc6a4a7935bd1e995u, buckets = (uint64_t)params[0];
  int64_t size = 1;
  for (uint32_t i = 0; i < x->rank; i++) size *= x->dims[i];
  int error = tenon_item_make(store, result, TENON_I64, x->rank, x->dims);
  for (int64_t i = 0; !error && i < size; i++) {
    uint64_t a = ((const uint64_t *)x->data)[i], b = ((const uint64_t *)operands[1]->data)[i];
    uint64_t hash = ((a ^ multiplier) ^ shift_mix(b * multiplier) * multiplier) * multiplier;
    hash = shift_mix(shift_mix(hash) * multiplier);
    ((int64_t *)result->data)[i] = (int64_t)(buckets ? hash % buckets : hash);
  }
  return error;
}
