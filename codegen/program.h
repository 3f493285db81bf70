/*
 * program.h -- a graph on its way to a library: the kernels in order, where every value lies, the weights,
 * and what must hold between sizes. Built by program.c, written as LLVM by library.c, as a C header by
 * header.c.
 */
#ifndef TENON_CODEGEN_PROGRAM_H
#define TENON_CODEGEN_PROGRAM_H

#include "codegen/codegen.h"
#include "ir/loop.h"

typedef enum LocationKind {
  IN_NOTHING,
  IN_INPUT,
  IN_OUTPUT,
  IN_WEIGHTS,
  IN_STRINGS, /* a table of pointers in the library */
  IN_STATE,
  IN_SCRATCH,
  IN_ITEM
} LocationKind;

/* Where the bytes of a value are. */
typedef struct Location {
  LocationKind kind;
  int index;         /* of the input, output or table; number of the item */
  const Dim *offset; /* bytes */
} Location;

/* A kernel that several steps may share. */
typedef struct Code {
  Kernel **kernels; /* by target; with several their names tell it, "k3_gemm_relu_x86_64_v4" */
  const char *name; /* "k3_gemm_relu" */
  const char *text; /* what makes it distinct: the loop IR of all with neutral names */
  bool in_place;    /* params may overlap */
} Code;

typedef struct Step {
  const Node *node;
  int code;       /* number of its Code */
  Location *args; /* one per param */
  const Dim *macs;
} Step;

/* Done after all steps: of an output that could not be written where the caller wants it, of what a state
 * becomes. */
typedef struct Copy {
  Location from, to;
  const Dim *bytes;
} Copy;

/* Where what a graph keeps from run to run lies: see ir/states.c. */
typedef struct StatePlace {
  int64_t offset; /* in the state memory */
  bool in_room;   /* with the strides of its room; else packed */
} StatePlace;

typedef struct Weight {
  const Data *data;
  int64_t offset; /* in the packed file, a multiple of 64 */
  int64_t size;   /* bytes there: of all elements, also of a splat */
} Weight;

typedef enum GuardKind {
  GUARD_NOT_NEGATIVE,
  GUARD_POSITIVE,
  GUARD_BROADCAST,
  GUARD_EQUAL,
  GUARD_AT_MOST, /* a <= b */
  GUARD_SPREADS, /* a is b or 1 */
  GUARD_SOURCE,  /* a > 0, or b is 0 */
  GUARD_BYTES
} GuardKind;

/* What must hold between sizes before anything runs. */
typedef struct Guard {
  GuardKind kind;
  const Dim *a, *b;
  const char *text;
  const Node *node; /* of a dynamic program: checked before the node runs; NULL: before anything does */
} Guard;

/* The input and axis that a symbol is read from. States come behind the inputs; the session knows their
 * sizes. */
typedef struct SymbolSource {
  int input, axis;
} SymbolSource;

/* Where the inputs of a graph stand among the items. */
typedef struct Region {
  const Graph *graph;
  int first_input;
} Region;

typedef struct Program {
  Module *module;
  Graph *graph;
  const CodegenOptions *options;
  int target_count;

  int input_count, output_count; /* of the caller: states are not among them */
  StatePlace *states;            /* [graph->state_count] */

  int symbol_count, input_symbol_count;
  const char **symbols;  /* sorted: those of the inputs, then those that a dynamic program finds */
  SymbolSource *sources; /* of those of the inputs */

  /* Dynamic: it has operators whose results get their sizes while it runs. Every value is an item then
   * (runtime/items.h), made when its kernel is called; values of the graph and of all regions are numbered
   * throughout. */
  bool is_dynamic;
  Location *locations; /* by number of the value */
  int item_count;
  struct Region *regions;
  int region_count;

  int code_count, start_count, step_count, copy_count, weight_count, table_count, guard_count, scratch_count;
  Code *codes;
  Step *starts; /* fill the state, once */
  Step *steps;  /* of every run */
  Copy *copies;
  Weight *weights;
  const Data **tables; /* constants that are strings */
  Guard *guards;
  const Dim **scratch; /* scratch memory must reach to the largest of these, in bytes */
  int64_t weight_bytes, state_bytes;
  int64_t run_weight_bytes; /* those behind are read only to fill the state */
  int64_t local_bytes; /* of scratch memory before all else: large locals of one thread, a multiple of 64 */
  bool loop_ir_only;   /* for --emit=loops */
} Program;

/* Lowers every node and places every value. The graph's nodes keep numbers in `mark`. False with Diags. */
bool program_build(Program *program, Graph *graph, const CodegenOptions *options);
/* The number of the value's item; of a dynamic program. */
int program_item(const Program *program, const Value *value);
/* Where a result of a node is. */
const Location *program_location(const Program *program, const Value *value);
/* Whether the dim follows from the sizes of the inputs. */
bool program_knows(const Program *program, const Dim *dim);
bool program_is_start(const Node *node); /* a kernel that fills the state, once */
bool program_is_step(const Node *node);  /* a kernel of each run */
/* The kernel's text with params named by position, so that equal code prints equally. They keep these names.
 */
const char *kernel_neutral_text(Kernel *kernel);
/* Bytes of scratch and of the weights when no symbol matters, else -1. */
int64_t program_scratch_bytes(const Program *program);
/* Writes all weights into a file that .incbin can take. */
bool program_put_weights(const Program *program, FILE *out);

/* ---- C names (header.c) ---- */

/* Identifiers for inputs, outputs and symbols: of the model's names, legal in C and C++, distinct. */
typedef struct CNames {
  const char *name, *upper; /* of the library */
  const char **inputs, **outputs, **symbols;
} CNames;
CNames program_c_names(const Program *program);
bool program_write_header(const Program *program, const char *path);

#endif
