/* parse_const.h -- inside ir/ only: the right side of `const %x: type = ...`, and the weights file behind it.
 */
#ifndef TENON_IR_PARSE_CONST_H
#define TENON_IR_PARSE_CONST_H

#include "ir/intern.h"
#include "ir/lexer.h"

/* The .safetensors beside a text; opened at the first `data`. */
typedef struct Weights {
  const char *path; /* NULL: none */
  bool open;
  SafeTensor *tensors;
  int count;
  Table by_key; /* interned key -> SafeTensor */
  Table data;   /* SafeTensor -> Data, shared by all constants with that key */
} Weights;

/* `splat x`, `[x, y]` or `data "key"` for a static `type` of a countable number of elements. */
bool parse_const_data(Lexer *lexer, Weights *weights, const Type *type, const Data **data);

char *weights_path_of(Module *module, const char *path); /* m.tn -> m.safetensors */

#endif
