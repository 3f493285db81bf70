/*
 * diff.c -- what --print-changed prints: a line diff of two texts.
 *
 * Equal lines at both ends are set aside, the rest goes through the longest common subsequence. Runs of
 * unchanged lines are cut down to one line on each side of a change. What went is red and what came green, on
 * terminals. Beyond TABLE_MAX cells everything
 * between the equal ends counts as replaced.
 */
#include <stdlib.h>
#include <string.h>

#include "passes/rewrite.h"

enum { TABLE_MAX = 16 << 20, CONTEXT = 1 };

typedef struct Line {
  const char *text;
  int length;
} Line;

typedef struct Lines {
  Line *lines;
  int count;
} Lines;

/* One line of the result: ' ' kept, '-' only before, '+' only after. */
typedef struct Edit {
  char kind;
  Line line;
} Edit;

static Lines lines_split(const char *text) {
  int count = 0;
  for (const char *c = text; *c; c++) count += *c == '\n';
  Lines lines = {calloc((size_t)count + 1, sizeof(Line)), 0};
  while (lines.lines && *text) {
    size_t length = strcspn(text, "\n");
    lines.lines[lines.count++] = (Line){text, (int)length};
    text += length + (text[length] == '\n');
  }
  return lines;
}

static bool line_equal(Line a, Line b) {
  return a.length == b.length && memcmp(a.text, b.text, (size_t)a.length) == 0;
}

/* table[i][j]: length of the longest common subsequence of a[i..] and b[j..]. NULL when too large. */
static int *lcs_table(const Line *a, int n, const Line *b, int m) {
  if ((long long)(n + 1) * (m + 1) > TABLE_MAX) return NULL;
  size_t width = (size_t)m + 1;
  int *table = calloc(((size_t)n + 1) * width, sizeof(int));
  for (int i = n - 1; table && i >= 0; i--)
    for (int j = m - 1; j >= 0; j--) {
      int *cell = table + (size_t)i * width + j;
      int down = cell[width], right = cell[1];
      *cell = line_equal(a[i], b[j]) ? cell[width + 1] + 1 : down > right ? down : right;
    }
  return table;
}

static int edits_middle(const Line *a, int n, const Line *b, int m, Edit *edits) {
  int count = 0, i = 0, j = 0;
  int *table = lcs_table(a, n, b, m);
  size_t width = (size_t)m + 1;
  while (table && i < n && j < m) {
    const int *cell = table + (size_t)i * width + j;
    if (line_equal(a[i], b[j])) {
      edits[count++] = (Edit){' ', a[i++]};
      j++;
    } else if (cell[width] >= cell[1]) {
      edits[count++] = (Edit){'-', a[i++]};
    } else {
      edits[count++] = (Edit){'+', b[j++]};
    }
  }
  while (i < n) edits[count++] = (Edit){'-', a[i++]};
  while (j < m) edits[count++] = (Edit){'+', b[j++]};
  free(table);
  return count;
}

static void edit_print(const Edit *edit, bool colour, FILE *out) {
  const char *paint = !colour ? "" : edit->kind == '-' ? "\033[31m" : edit->kind == '+' ? "\033[32m" : "";
  fprintf(out, "%s%c%.*s%s\n", paint, edit->kind, edit->line.length, edit->line.text,
          *paint ? "\033[0m" : "");
}

static void edits_print(const Edit *edits, int count, bool colour, FILE *out) {
  int last = -1; /* the last line printed */
  for (int i = 0; i < count; i++) {
    bool near = false;
    for (int k = i - CONTEXT; k <= i + CONTEXT; k++) near |= k >= 0 && k < count && edits[k].kind != ' ';
    if (!near) continue;
    if (last >= 0 && last + 1 < i) fprintf(out, "  ...\n");
    edit_print(&edits[i], colour, out);
    last = i;
  }
}

void diff_print(const char *before, const char *after, bool colour, FILE *out) {
  Lines a = lines_split(before), b = lines_split(after);
  Edit *edits = calloc((size_t)a.count + (size_t)b.count + 1, sizeof *edits);
  int shorter = a.count < b.count ? a.count : b.count, head = 0, tail = 0, count = 0;
  while (head < shorter && line_equal(a.lines[head], b.lines[head])) head++;
  while (tail < shorter - head && line_equal(a.lines[a.count - 1 - tail], b.lines[b.count - 1 - tail]))
    tail++;
  for (int i = 0; edits && i < head; i++) edits[count++] = (Edit){' ', a.lines[i]};
  if (edits)
    count += edits_middle(a.lines + head, a.count - head - tail, b.lines + head, b.count - head - tail,
                          edits + count);
  for (int i = tail; edits && i > 0; i--) edits[count++] = (Edit){' ', a.lines[a.count - i]};
  if (edits) edits_print(edits, count, colour, out);
  free(edits);
  free(a.lines);
  free(b.lines);
}
