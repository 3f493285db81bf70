/*
 * strings.h -- constants of strings; shared by the importers inside frontend/.
 */
#ifndef TENON_STRINGS_H
#define TENON_STRINGS_H

#include "ir/ir.h"

/* Copies the texts. rank 1, or 0 for one string. */
Value *build_strings(Builder *builder, const char *const *texts, int64_t count, int rank);

/* i64, of the shape of x: where each string is among the keys, the first of equal ones; `otherwise` if
 * nowhere. NULL with a Diag. */
Value *build_place_among(Builder *builder, Value *x, const char *const *keys, int64_t count,
                         int64_t otherwise);

#endif
