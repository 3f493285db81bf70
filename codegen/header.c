/*
 * header.c -- the typed header beside a library: what a C or C++ program includes to call one model.
 *
 * It must be usable without a manual, so it says shapes, who owns what, and how a call looks. Names of the
 * model become C identifiers; names that clash get a number.
 */
#include "codegen/program.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>

/* ---- names ---- */

/* Words that neither C nor C++ takes as a member name; what is legal in one but not the other too. */
static const char *const reserved[] = {
    "alignas",      "alignof",   "and",           "and_eq",       "asm",
    "auto",         "bitand",    "bitor",         "bool",         "break",
    "case",         "catch",     "char",          "class",        "compl",
    "concept",      "const",     "constexpr",     "const_cast",   "continue",
    "decltype",     "default",   "delete",        "do",           "double",
    "dynamic_cast", "else",      "enum",          "explicit",     "export",
    "extern",       "false",     "float",         "for",          "friend",
    "goto",         "if",        "inline",        "int",          "long",
    "mutable",      "namespace", "new",           "noexcept",     "not",
    "not_eq",       "nullptr",   "operator",      "or",           "or_eq",
    "private",      "protected", "public",        "register",     "reinterpret_cast",
    "requires",     "restrict",  "return",        "short",        "signed",
    "sizeof",       "static",    "static_assert", "static_cast",  "struct",
    "switch",       "template",  "this",          "thread_local", "throw",
    "true",         "try",       "typedef",       "typeid",       "typename",
    "typeof",       "union",     "unsigned",      "using",        "virtual",
    "void",         "volatile",  "wchar_t",       "while",        "xor",
    "xor_eq",       "linux",     "unix",          "errno",        "NULL",
    "EOF",          "I"};

static bool is_reserved(const char *name) {
  for (int i = 0; i < COUNT_OF(reserved); i++)
    if (strcmp(reserved[i], name) == 0) return true;
  return false;
}

static char *identifier(Arena *arena, const char *name) {
  bool digit = isdigit((unsigned char)name[0]) != 0, empty = !name[0];
  char *result = arena_printf(arena, "%s%s", digit || empty ? "_" : "", name);
  for (char *c = result; *c; c++)
    if (!isalnum((unsigned char)*c) || (unsigned char)*c > 127) *c = '_';
  /* Names that begin with an underscore and a capital, or hold two underscores, belong to the compiler. */
  if (result[0] == '_') result = arena_printf(arena, "x%s", result);
  for (char *c = result; *c;)
    if (c[0] == '_' && c[1] == '_')
      memmove(c, c + 1, strlen(c));
    else
      c++;
  return is_reserved(result) ? arena_printf(arena, "%s_", result) : result;
}

static bool is_taken(const char *name, const char **list, int count) {
  for (int i = 0; i < count; i++)
    if (strcmp(list[i], name) == 0) return true;
  return false;
}

/* Distinct among the first `count` of `list` and all of `others`. */
static const char *distinct(Arena *arena, const char *name, const char **list, int count, const char **others,
                            int other_count) {
  const char *base = identifier(arena, name ? name : "x"), *result = base;
  for (int i = 2; is_taken(result, list, count) || is_taken(result, others, other_count); i++)
    result = arena_printf(arena, "%s_%d", base, i);
  return result;
}

CNames program_c_names(const Program *program) {
  Arena *arena = program->module->arena;
  const Graph *graph = program->graph;
  CNames names = {.name = program->options->name,
                  .inputs = NEW_ARRAY(arena, const char *, program->input_count),
                  .outputs = NEW_ARRAY(arena, const char *, program->output_count),
                  .symbols = NEW_ARRAY(arena, const char *, program->input_symbol_count)};
  for (int i = 0; i < program->input_count; i++)
    names.inputs[i] = distinct(arena, graph->inputs[i]->name, names.inputs, i, NULL, 0);
  for (int i = 0; i < program->output_count; i++)
    names.outputs[i] = distinct(arena, graph->output_names[i], names.outputs, i, NULL, 0);
  for (int i = 0; i < program->input_symbol_count; i++)
    names.symbols[i] =
        distinct(arena, program->symbols[i], names.symbols, i, names.inputs, program->input_count);
  char *upper = arena_printf(arena, "%s", names.name);
  for (char *c = upper; *c; c++) *c = (char)toupper((unsigned char)*c);
  names.upper = upper;
  return names;
}

/* ---- types ---- */

static const char *const c_types[DTYPE_COUNT] = {
    [DTYPE_BOOL] = "uint8_t", [DTYPE_I8] = "int8_t",    [DTYPE_I16] = "int16_t",   [DTYPE_I32] = "int32_t",
    [DTYPE_I64] = "int64_t",  [DTYPE_U8] = "uint8_t",   [DTYPE_U16] = "uint16_t",  [DTYPE_U32] = "uint32_t",
    [DTYPE_U64] = "uint64_t", [DTYPE_F16] = "uint16_t", [DTYPE_BF16] = "uint16_t", [DTYPE_F32] = "float",
    [DTYPE_F64] = "double",   [DTYPE_C64] = "float",    [DTYPE_C128] = "double"};

/* What the C type does not say. */
static const char *const type_notes[DTYPE_COUNT] = {[DTYPE_BOOL] = ", 0 or 1",
                                                    [DTYPE_F16] = ", IEEE half precision bits",
                                                    [DTYPE_BF16] = ", upper half of a float's bits",
                                                    [DTYPE_C64] = ", real and imaginary parts in turn",
                                                    [DTYPE_C128] = ", real and imaginary parts in turn",
                                                    [DTYPE_I4] = ", two per byte, the first low",
                                                    [DTYPE_U4] = ", two per byte, the first low",
                                                    [DTYPE_I2] = ", four per byte, the first lowest",
                                                    [DTYPE_U2] = ", four per byte, the first lowest",
                                                    [DTYPE_F4E2M1] = ", two per byte, the first low"};

static const char *c_type(Dtype dtype) {
  return c_types[dtype] ? c_types[dtype] : "uint8_t";
}

/* Names go into comments: nothing may end one. */
static const char *comment_text(Arena *arena, const char *text) {
  char *copy = arena_printf(arena, "%s", text ? text : "");
  for (char *c = copy; *c; c++)
    if ((unsigned char)*c < ' ' || (c[0] == '*' && c[1] == '/') || *c == '\\') *c = ' ';
  return copy;
}

static void write_member(FILE *out, Module *module, const char *qualifier, const char *c_name,
                         const char *name, const Type *type) {
  const char *note = type_notes[type->dtype] ? type_notes[type->dtype] : "";
  fprintf(out, "  %s%s *%s; /* %s%s", qualifier, c_type(type->dtype), c_name,
          comment_text(module->arena, type_text(module, type)), note);
  if (strcmp(c_name, name) != 0) fprintf(out, ", \"%s\" in the model", comment_text(module->arena, name));
  fprintf(out, " */\n");
}

/* ---- the file ---- */

static void write_head(FILE *out, const Program *program, const CNames *names) {
  Arena *arena = program->module->arena;
  fprintf(out, "/*\n * %s.h -- made by tenon %s from %s for %s.\n *\n", names->name, TENON_VERSION,
          comment_text(arena, program->options->source ? program->options->source : "a model"),
          comment_text(arena, target_cpus(program->module, &program->options->target)));
}

static void write_call(FILE *out, const Program *program, const CNames *names) {
  const char *name = names->name;
  fprintf(out, " *   struct %s_in in = {", name);
  for (int i = 0; i < program->input_count; i++) fprintf(out, "%s%s", i ? ", " : "", names->inputs[i]);
  for (int i = 0; i < program->input_symbol_count; i++)
    fprintf(out, "%s%s", i || program->input_count ? ", " : "", names->symbols[i]);
  fprintf(out, "%s};\n *   struct %s_out out = {",
          program->input_count + program->input_symbol_count ? "" : "0", name);
  for (int i = 0; i < program->output_count; i++) fprintf(out, "%s%s", i ? ", " : "", names->outputs[i]);
  fprintf(out, "};\n");
}

static void write_states(FILE *out, const Program *program) {
  Module *module = program->module;
  const Graph *graph = program->graph;
  if (graph->state_count)
    fprintf(
        out,
        " *\n * The state keeps from run to run what the next one goes on from; %s_prepare begins anew:\n",
        program->options->name);
  for (int i = 0; i < graph->state_count; i++)
    fprintf(out, " *   %s: %s, at most %s\n", comment_text(module->arena, graph_state(graph, i)->name),
            comment_text(module->arena, type_text(module, graph_state(graph, i)->type)),
            comment_text(module->arena, type_text(module, graph->rooms[i])));
}

static void write_example(FILE *out, const Program *program, const CNames *names) {
  int64_t scratch = program_scratch_bytes(program);
  const char *argument = scratch == 0 ? "NULL" : "scratch", *state = program->state_bytes ? "state" : "NULL";
  fprintf(out, " * A call, for arrays that you own (row-major):\n *\n");
  if (program->state_bytes)
    fprintf(out,
            " *   void *state = aligned_alloc(64, %s_STATE_SIZE); // once, for any number of calls\n"
            " *   if (%s_prepare(state) != 0) ...\n",
            names->upper, names->name);
  write_call(out, program, names);
  if (scratch > 0) fprintf(out, " *   void *scratch = aligned_alloc(64, %s_SCRATCH_SIZE);\n", names->upper);
  if (scratch < 0)
    fprintf(out,
            " *   void *scratch = aligned_alloc(64, %s_scratch_size(&in)); // depends on the sizes in `in`\n",
            names->name);
  fprintf(out, " *   if (%s_run(%s, &in, &out, %s) != 0) ... // 0, or an error of tenon.h\n *\n", names->name,
          state, argument);
  fprintf(out,
          " * The call allocates nothing and keeps nothing; any number of threads may call at once, "
          "each with its own scratch%s.\n"
          " * Outputs may not overlap inputs. Libraries can also be used without this header: see "
          "tenon.h.\n",
          program->graph->state_count ? " and state"
          : program->state_bytes      ? " and one state"
                                      : "");
  write_states(out, program);
  fprintf(out, " */\n");
}

static void write_structs(FILE *out, const Program *program, const CNames *names) {
  Module *module = program->module;
  const Graph *graph = program->graph;
  fprintf(out, "struct %s_in {\n", names->name);
  for (int i = 0; i < program->input_count; i++)
    write_member(out, module, "const ", names->inputs[i], graph->inputs[i]->name, graph->inputs[i]->type);
  for (int i = 0; i < program->input_symbol_count; i++)
    fprintf(out, "  int64_t %s; /* a size, in the shapes here%s */\n", names->symbols[i],
            program->sources[i].input < program->input_count ? ""
                                                             : "; of the states as they are before the run");
  if (program->input_count + program->input_symbol_count == 0)
    fprintf(out, "  char unused; /* the model has no inputs */\n");
  fprintf(out, "};\n\nstruct %s_out {\n", names->name);
  for (int i = 0; i < program->output_count; i++)
    write_member(out, module, "", names->outputs[i], graph->output_names[i], graph_output(graph, i)->type);
  fprintf(out, "};\n\n");
}

static void write_string(FILE *out, const char *text) {
  fputc('"', out);
  for (const char *c = text; *c; c++)
    fprintf(out, isalnum((unsigned char)*c) || *c == ' ' || *c == '_' ? "%c" : "\\%03o", (unsigned char)*c);
  fputc('"', out);
}

static void write_classes(FILE *out, const char *name, const char *c_name, const Labelled *labels) {
  fprintf(out, "/* The class that each %s of `%s` stands for. */\nstatic const %s%s_%s_classes[%d] = {\n",
          labels->of_columns ? "column" : "number", c_name, labels->ints ? "int64_t " : "char *const ", name,
          c_name, labels->count);
  for (int i = 0; i < labels->count; i++) {
    fprintf(out, "    ");
    if (labels->ints)
      fprintf(out, "%lld", (long long)labels->ints[i]);
    else
      write_string(out, labels->names[i]);
    fprintf(out, i + 1 < labels->count ? ",\n" : "};\n\n");
  }
}

/* NAME_OUTPUT_classes: what the columns or numbers of an output stand for. */
static void write_labels(FILE *out, const Program *program, const CNames *names) {
  const Graph *graph = program->graph;
  for (int i = 0; i < program->output_count; i++)
    for (const Labelled *labels = program->module->labels; labels; labels = labels->next)
      if (strcmp(labels->output, graph->output_names[i]) == 0)
        write_classes(out, names->name, names->outputs[i], labels);
}

static void write_sizes(FILE *out, const Program *program, const CNames *names) {
  int64_t scratch = program_scratch_bytes(program);
  fprintf(out,
          "/* Bytes that the caller provides, aligned to 64; where it is 0, NULL will do. */\n#define "
          "%s_STATE_SIZE %lld\n",
          names->upper, (long long)program->state_bytes);
  if (scratch >= 0)
    fprintf(out, "#define %s_SCRATCH_SIZE %lld\n\n", names->upper, (long long)scratch);
  else
    fprintf(out,
            "uint64_t %s_scratch_size(const struct %s_in *in); /* for the sizes in `in`; UINT64_MAX: they do "
            "not fit */\n\n",
            names->name, names->name);
}

static void write_functions(FILE *out, const CNames *names) {
  const char *name = names->name;
  fprintf(out, "/* Both return 0 or an error: the lowest 8 bits are its kind in tenon.h, the others an "
               "index, as of an input. */\n\n");
  fprintf(out,
          "/* Once, before the first run: fills the state and checks that this processor can run the "
          "library. */\nint %s_prepare(void *state);\n",
          name);
  fprintf(out,
          "int %s_run(void *state, const struct %s_in *in, const struct %s_out *out, void *scratch);\n\n",
          name, name, name);
  fprintf(out, "/* The generic interface of tenon.h, as the exported tenon_query gives it. */\nstruct "
               "tenon_library;\n");
  fprintf(out, "const struct tenon_library *%s_query(uint32_t abi_version);\n", name);
}

/* The interface of a model whose sizes are known only when it runs. */
static void write_dynamic(FILE *out, const Program *program, const CNames *names) {
  Module *module = program->module;
  const Graph *graph = program->graph;
  fprintf(out,
          " * Sizes of this model are known only when it runs, so there is no call without a session:\n *\n"
          " *   const tenon_library *library = %s_query(TENON_ABI_VERSION);\n"
          " *   tenon_session *session;\n"
          " *   if (library->session_open(NULL, &session) != 0) ...\n"
          " *   if (library->session_run(session, inputs, outputs) != 0) ... // arrays of tenon_tensor\n *\n",
          names->name);
  for (int i = 0; i < program->input_count; i++)
    fprintf(out, " * inputs[%d]: %s, %s\n", i, comment_text(module->arena, graph->inputs[i]->name),
            comment_text(module->arena, type_text(module, graph->inputs[i]->type)));
  for (int i = 0; i < program->output_count; i++)
    fprintf(out, " * outputs[%d]: %s, %s\n", i, comment_text(module->arena, graph->output_names[i]),
            comment_text(module->arena, type_text(module, graph_output(graph, i)->type)));
  fprintf(out, " */\n#ifndef %s_TENON_H\n#define %s_TENON_H\n\n#include \"tenon.h\"\n\n", names->upper,
          names->upper);
  fprintf(out,
          "#ifdef __cplusplus\nextern \"C\" {\n#endif\n\nconst tenon_library *%s_query(uint32_t "
          "abi_version);\n\n#ifdef __cplusplus\n}\n#endif\n\n#endif\n",
          names->name);
}

bool program_write_header(const Program *program, const char *path) {
  FILE *out = fopen(path, "w");
  if (!out) return fail(program->module, "cannot write '%s': %s", path, strerror(errno));
  CNames names = program_c_names(program);
  write_head(out, program, &names);
  if (program->is_dynamic) {
    write_dynamic(out, program, &names);
    return fclose(out) == 0 || fail(program->module, "cannot write '%s': %s", path, strerror(errno));
  }
  write_example(out, program, &names);
  fprintf(out, "#ifndef %s_TENON_H\n#define %s_TENON_H\n\n#include <stdint.h>\n\n", names.upper, names.upper);
  fprintf(out, "#ifdef __cplusplus\nextern \"C\" {\n#endif\n\n");
  write_structs(out, program, &names);
  write_labels(out, program, &names);
  write_sizes(out, program, &names);
  write_functions(out, &names);
  fprintf(out, "\n#ifdef __cplusplus\n}\n#endif\n\n#endif\n");
  return fclose(out) == 0 || fail(program->module, "cannot write '%s': %s", path, strerror(errno));
}
