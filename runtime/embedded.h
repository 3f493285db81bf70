/*
 * embedded.h -- the runtime as bytes inside the tenon binary, for codegen to link into the libraries that it
 * makes.
 */
#ifndef TENON_RUNTIME_EMBEDDED_H
#define TENON_RUNTIME_EMBEDDED_H

#include <stddef.h>

typedef struct Embedded {
  const unsigned char *bytes;
  const size_t *size;
} Embedded;

enum { RUNTIME_PARTS = 12 };

typedef struct RuntimePart {
  Embedded bitcode;   /* an LLVM module */
  const char *caller; /* it is for models that call functions whose names begin so; NULL: for all */
} RuntimePart;

/* Everything for one processor family. */
typedef struct RuntimeFamily {
  const char *arch; /* as a triple begins: "x86_64" */
  RuntimePart parts[RUNTIME_PARTS];
  Embedded kernels;    /* the functions of kernels/, one module */
  Embedded archive;    /* all of it as objects, for libraries that are to be made soon */
  Embedded libc, libm; /* shared objects that define the names of the C library's functions and nothing else,
                          so that linking needs no C library of the target, and asks for no version of it */
} RuntimeFamily;

extern const RuntimeFamily runtime_families[];
extern const int runtime_family_count;

#endif
