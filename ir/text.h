/*
 * text.h -- inside ir/ only: growing text, and how numbers, strings, dims and types are spelled in every text
 * form.
 *
 * The memory of a Text is its own: text_take copies it into the arena and frees it, text_free only frees it.
 */
#ifndef TENON_IR_TEXT_H
#define TENON_IR_TEXT_H

#include "ir/ir.h"

typedef struct Text {
  char *chars; /* ends with '\0' once something was added */
  size_t length, capacity;
} Text;

void text_add(Text *text, const char *chars);
void text_add_bytes(Text *text, const char *chars, size_t count);
void text_format(Text *text, const char *format, ...) __attribute__((format(printf, 2, 3)));
char *text_take(Text *text, Arena *arena);
void text_free(Text *text);

/* "..." with \" \\ \n \t and \xHH for control characters. */
void text_add_quoted(Text *text, const char *chars);
/* As it is when it matches [A-Za-z0-9_.]+ and is no number, else quoted. */
void text_add_name(Text *text, const char *name);
/* The shortest decimal that reads back as the same element of `dtype`; "inf", "-inf", "nan"; floats always
 * show that they are. */
void text_add_float(Text *text, Dtype dtype, double value);
void text_add_dim(Text *text, const Dim *dim);
void text_add_type(Text *text, const Type *type);

#endif
