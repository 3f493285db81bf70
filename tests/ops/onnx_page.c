/*
 * onnx_page.c -- the first part of docs/operators.md: ONNX's operators, a table for each domain.
 *
 * Which operators there are in which versions says tests/onnx/standard.tsv; which of them are imported, the
 * rows of the importer; the rest is what tests/onnx/operators.py measured (operators.tsv).
 */
#include "tests/ops/onnx_page.h"

#include "frontend/onnx/onnx.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_LINES = 1000, MAX_FIELDS = 7 };

/* ---- Tables of text: fields with tabs between, lines with # in front are comments */

typedef struct Lines {
  char *fields[MAX_LINES][MAX_FIELDS];
  int count;
} Lines;

static void split_line(Lines *lines, char *line) {
  char **fields = lines->fields[lines->count++];
  for (int i = 0; i < MAX_FIELDS; i++) {
    fields[i] = line;
    char *tab = strchr(line, '\t');
    line = tab ? tab + 1 : line + strlen(line);
    if (tab) *tab = '\0';
  }
}

static Lines *read_lines(const char *root, const char *name) {
  Lines *lines = calloc(1, sizeof *lines);
  char path[1000], text[4000];
  snprintf(path, sizeof path, "%s/tests/onnx/%s", root, name);
  FILE *file = fopen(path, "r");
  while (file && lines->count < MAX_LINES && fgets(text, sizeof text, file)) {
    text[strcspn(text, "\n")] = '\0';
    if (*text != '#') split_line(lines, strdup(text));
  }
  if (file) fclose(file);
  return lines;
}

static void lines_free(Lines *lines) {
  for (int i = 0; i < lines->count; i++) free(lines->fields[i][0]);
  free(lines);
}

static char *const *line_find(const Lines *lines, const char *name) {
  for (int i = 0; i < lines->count; i++)
    if (strcmp(lines->fields[i][0], name) == 0) return lines->fields[i];
  return NULL;
}

/* The next word of a list with commas between, copied; false at the end. */
static bool next_word(const char **at, char word[64]) {
  size_t length = strcspn(*at, ",");
  snprintf(word, 64, "%.*s", (int)length, *at);
  *at += length + ((*at)[length] == ',');
  return length > 0;
}

static bool has_word(const char *list, const char *wanted) {
  char word[64];
  while (next_word(&list, word))
    if (strcmp(word, wanted) == 0) return true;
  return false;
}

/* ---- Rows of the importer */

static const OnnxRows *const families[] = {
#define FAMILY(name) &onnx_##name,
#include "frontend/onnx/families.def"
#undef FAMILY
};

static const OnnxRow *row_find(const char *name, int opset) {
  for (int f = 0; f < COUNT_OF(families); f++)
    for (int i = 0; i < families[f]->count; i++)
      if (strcmp(families[f]->rows[i].name, name) == 0 && families[f]->rows[i].since <= opset)
        return &families[f]->rows[i];
  return NULL;
}

/* ---- Versions: those that a test imports stand out, those that are refused are struck out */

static bool any_between(const char *opsets, int first, int next) {
  char word[64];
  while (next_word(&opsets, word))
    if (atoi(word) >= first && atoi(word) < next) return true;
  return false;
}

static void print_versions(const char *name, const char *versions, const char *tested, FILE *out) {
  char word[64];
  for (const char *at = versions; next_word(&at, word);) {
    int next = *at ? atoi(at) : INT32_MAX;
    const char *mark = !row_find(name, atoi(word)) ? "~~" : any_between(tested, atoi(word), next) ? "**" : "";
    fprintf(out, "%s%s%s%s", mark, word, mark, *at ? ", " : "");
  }
}

/* ---- Element types, by the names of classes where they are complete */

static const struct {
  const char *name, *types;
} classes[] = {
    {"all", "bool,i2,i4,i8,i16,i32,i64,u2,u4,u8,u16,u32,u64,f16,bf16,f32,f64,f8e4m3fn,f8e4m3fnuz,f8e5m2,"
            "f8e5m2fnuz,f8e8m0,f4e2m1,c64,c128"},
    {"real", "bool,i2,i4,i8,i16,i32,i64,u2,u4,u8,u16,u32,u64,f16,bf16,f32,f64,f8e4m3fn,f8e4m3fnuz,f8e5m2,"
             "f8e5m2fnuz,f8e8m0,f4e2m1"},
    {"numbers", "i8,i16,i32,i64,u8,u16,u32,u64,f16,bf16,f32,f64"},
    {"floats", "f16,bf16,f32,f64"},
    {"integers", "i8,i16,i32,i64,u8,u16,u32,u64"},
    {"unsigned", "u8,u16,u32,u64"},
    {"2 and 4 bits", "i2,i4,u2,u4"},
    {"8-bit floats", "f8e4m3fn,f8e4m3fnuz,f8e5m2,f8e5m2fnuz"},
};

static bool has_all(const char *list, const char *wanted) {
  char word[64];
  while (next_word(&wanted, word))
    if (!has_word(list, word)) return false;
  return true;
}

static void print_types(const char *types, FILE *out) {
  char word[64], said[1000] = "";
  const char *comma = "";
  for (int i = 0; i < COUNT_OF(classes); i++) {
    if (!has_all(types, classes[i].types) || has_all(said, classes[i].types)) continue;
    fprintf(out, "%s%s", comma, classes[i].name);
    snprintf(said + strlen(said), sizeof said - strlen(said), "%s,", classes[i].types);
    comma = ", ";
  }
  while (next_word(&types, word)) {
    if (has_word(said, word)) continue;
    fprintf(out, "%s%s", comma, word);
    comma = ", ";
  }
}

/* ---- Core operators, with links */

static void print_ops(const char *ops, FILE *out) {
  char word[64];
  for (const char *comma = ""; next_word(&ops, word); comma = ", ") {
    const Op *op = op_find(word, strlen(word));
    const char *mark = !op ? "" : op->call ? "_" : op->traits & TRAIT_DYNAMIC ? "**" : "";
    fprintf(out, "%s%s[%s](#%s)%s", comma, mark, word, word, mark);
  }
}

static void print_meaning(const char *name, char *const *measured, FILE *out) {
  const OnnxRow *row = row_find(name, INT32_MAX);
  if (measured && (*measured[5] || *measured[6])) {
    print_ops(measured[5], out);
    if (*measured[6]) fprintf(out, *measured[5] ? " (" : "(");
    print_ops(measured[6], out);
    if (*measured[6]) fprintf(out, ")");
  } else if (row && row->op) {
    print_ops(row->op->name, out);
  }
}

/* ---- The tables */

/* The domain in front of a name ends at the last dot; "" is ai.onnx. */
static bool is_of(const char *name, const char *domain) {
  const char *dot = strrchr(name, '.');
  size_t length = dot ? (size_t)(dot - name) : 0;
  return strlen(domain) == length && strncmp(name, domain, length) == 0;
}

static void print_operator(const char *name, const char *versions, char *const *measured, FILE *out) {
  const char *dot = strrchr(name, '.');
  fprintf(out, "| %s | ", dot ? dot + 1 : name);
  print_versions(name, versions, measured ? measured[1] : "", out);
  fprintf(out, " | ");
  print_types(measured ? measured[4] : "", out);
  fprintf(out, " | ");
  print_meaning(name, measured, out);
  fprintf(out, " | %s | %s |\n", measured ? measured[2] : "0", measured ? measured[3] : "0");
}

static int print_domain(const char *domain, const Lines *standard, const Lines *measured, FILE *out) {
  int known = 0, all = 0;
  for (int i = 0; i < standard->count; i++) {
    const char *name = standard->fields[i][0];
    all += is_of(name, domain);
    known += is_of(name, domain) && row_find(name, INT32_MAX);
  }
  fprintf(out, "### %s: %d of %d\n\n| operator | versions | types | becomes | conformance | cases |\n",
          *domain ? domain : "ai.onnx", known, all);
  fprintf(out, "|---|---|---|---|---|---|\n");
  for (int i = 0; i < standard->count; i++) {
    const char *name = standard->fields[i][0];
    if (is_of(name, domain) && row_find(name, INT32_MAX))
      print_operator(name, standard->fields[i][1], line_find(measured, name), out);
  }
  fprintf(out, "\n");
  return known;
}

static void print_refused(const Lines *standard, FILE *out) {
  fprintf(out, "### Refused\n\n| operator | why | instead |\n|---|---|---|\n");
  for (int i = 0; i < standard->count; i++) {
    const char *name = standard->fields[i][0];
    const OnnxRefusal *refusal = refusal_find(name);
    if (row_find(name, INT32_MAX)) continue;
    fprintf(out, "| %s | %s | %s |\n", name, refusal ? refusal->why : "not done yet",
            refusal ? refusal->hint : "");
  }
  fprintf(out, "\n");
}

static const char introduction[] = "## ONNX's operators\n\n"
                                   "What of ONNX is imported, by domain. *versions*: the opset versions that "
                                   "changed the operator; in bold those that a test "
                                   "imports, struck out those that are refused. *types*: element types of "
                                   "the first input that may have several, as found by "
                                   "trying them all: `floats` are f16, bf16, f32 and f64, `integers` those "
                                   "of 8 to 64 bits, `numbers` both; `all` are these, bool, complex "
                                   "numbers and the small types, which are moved and converted but not "
                                   "computed with. *becomes*: the operators of tenon, described below; in "
                                   "parentheses those that only some attributes or shapes need, in italics "
                                   "functions of the runtime, in bold those that make a "
                                   "model one for sessions only, nothing for what the compiler understands "
                                   "and removes. *conformance*: tests of ONNX's own data "
                                   "(opset 17) with this operator that pass. *cases*: further tests of this "
                                   "project (`tests/onnx/families`), against numpy.\n\n";

void onnx_print_markdown(const char *root, FILE *out) {
  static const char *const domains[] = {"", "ai.onnx.ml", "ai.onnx.preview.training", "com.microsoft"};
  Lines *standard = read_lines(root, "standard.tsv"), *measured = read_lines(root, "operators.tsv");
  fprintf(out, "%s", introduction);
  for (int i = 0; i < COUNT_OF(domains); i++) print_domain(domains[i], standard, measured, out);
  print_refused(standard, out);
  lines_free(standard);
  lines_free(measured);
}

int onnx_check_tables(const char *root) {
  Lines *standard = read_lines(root, "standard.tsv");
  int wrong = 0;
  for (int i = 0; i < standard->count; i++) {
    const char *name = standard->fields[i][0];
    if (!refusal_find(name) || !row_find(name, INT32_MAX)) continue;
    printf("%s is imported and listed in frontend/onnx/refused.c\n", name);
    wrong++;
  }
  for (int f = 0; f < COUNT_OF(families); f++) {
    for (int i = 0; i < families[f]->count; i++) {
      if (line_find(standard, families[f]->rows[i].name)) continue;
      printf("%s is imported and not listed in tests/onnx/standard.tsv\n", families[f]->rows[i].name);
      wrong++;
    }
  }
  lines_free(standard);
  return wrong;
}
