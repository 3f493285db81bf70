/*
 * regex.c -- regular expressions in the syntax of RE2: a pattern becomes a tree, the tree steps of a
 * nondeterministic automaton, and a text is matched by following all its states at once (Thompson 1968). So
 * the time is at most the length of the text times that of the pattern, whatever they are.
 *
 * There: characters, ., classes with ranges, escapes and [:names:], * + ? {m,n} (greedy or not: the whole
 * text must match, so there is no difference), groups of all kinds, |, ^ $ \A \z \b \B, and the flags i and
 * s. Not: Unicode classes (\p), other flags, repeats whose copies do not fit into REGEX_STEPS.
 */
#include "text.h"

enum { NO_MATCH, MATCH, EMPTY, CHARACTER, CLASS, CAT, ALTERNATIVE, REPEAT, START, END, WORD_EDGE, NO_EDGE };
enum { STEP_MATCH, STEP_NODE, STEP_GO, STEP_SPLIT };
enum { MAX_DEPTH = 64, MAX_REPEAT = 1000, MAX_CHAR = 0x10FFFF, ANY_BUT_NEWLINE = '\n' };

/* ---- Parsing --------------------------------------------------------------------------------------------
 */

static int32_t refuse(Regex *r, const char *error) {
  if (!r->error) r->error = error;
  return 0;
}

static int32_t node(Regex *r, int kind, int32_t a, int32_t b) {
  if (r->node_count == REGEX_NODES) return refuse(r, "the pattern is too long");
  r->nodes[r->node_count] = (RegexNode){.kind = (uint8_t)kind, .fold = r->fold, .a = a, .b = b};
  return r->node_count++;
}

static void add_range(Regex *r, uint32_t first, uint32_t last) {
  if (r->range_count == REGEX_RANGES) {
    refuse(r, "the classes of the pattern are too long");
    return;
  }
  r->ranges[r->range_count][0] = first;
  r->ranges[r->range_count++][1] = last;
}

static int accept(Regex *r, const char *word) {
  const char *at = r->at;
  while (*word)
    if (*at++ != *word++) return 0;
  r->at = at;
  return 1;
}

typedef struct NamedClass {
  const char *name;
  const char *ranges; /* pairs of first and last */
} NamedClass;

static const NamedClass named[] = {
    {"[:alnum:]", "09AZaz"},
    {"[:alpha:]", "AZaz"},
    {"[:ascii:]", "\1\x7F"},
    {"[:blank:]", "\t\t  "},
    {"[:cntrl:]", "\1\x1F\x7F\x7F"},
    {"[:digit:]", "09"},
    {"[:graph:]", "!~"},
    {"[:lower:]", "az"},
    {"[:print:]", " ~"},
    {"[:punct:]", "!/:@[`{~"},
    {"[:space:]", "\t\r  "},
    {"[:upper:]", "AZ"},
    {"[:word:]", "09AZ__az"},
    {"[:xdigit:]", "09AFaf"},
    {"\\d", "09"},
    {"\\w", "09AZ__az"},
    {"\\s", "\t\n\f\r  "},
};

static void add_ranges(Regex *r, const char *ranges, int negated) {
  uint32_t from = 0;
  for (const char *c = ranges; *c; c += 2) {
    if (!negated) add_range(r, (unsigned char)c[0], (unsigned char)c[1]);
    if (negated && (unsigned char)c[0] > from) add_range(r, from, (unsigned char)c[0] - 1u);
    from = (unsigned char)c[1] + 1u;
  }
  if (negated) add_range(r, from, UINT32_MAX);
}

/* [:name:], [:^name:], \d or \D and the like, as ranges; 0: none stands here. */
static int accept_class(Regex *r) {
  for (unsigned i = 0; i < sizeof named / sizeof *named; i++) {
    const char *name = named[i].name;
    if (accept(r, name)) {
      add_ranges(r, named[i].ranges, 0);
      return 1;
    }
    if (name[0] == '\\' && r->at[0] == '\\' && r->at[1] == name[1] - 32) {
      r->at += 2;
      add_ranges(r, named[i].ranges, 1);
      return 1;
    }
    const char *at = r->at;
    if (name[0] == '[' && accept(r, "[:^") && accept(r, name + 2)) {
      add_ranges(r, named[i].ranges, 1);
      return 1;
    }
    r->at = at;
  }
  return 0;
}

static int hex_digit(char c) {
  return c >= '0' && c <= '9'   ? c - '0'
         : c >= 'a' && c <= 'f' ? c - 'a' + 10
         : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                : -1;
}

static uint32_t hex_escape(Regex *r) {
  uint32_t c = 0;
  int digits = 0, braces = accept(r, "{");
  while (hex_digit(*r->at) >= 0 && digits < (braces ? 8 : 2)) {
    c = c << 4 | (uint32_t)hex_digit(*r->at++);
    digits++;
  }
  if (!digits || (!braces && digits < 2) || (braces && !accept(r, "}")) || c > MAX_CHAR)
    refuse(r, "the pattern has a wrong \\x");
  return c;
}

/* Behind the backslash. */
static uint32_t escape(Regex *r) {
  static const char letters[] = "a\af\fn\nr\rt\tv\v";
  char c = *r->at;
  if (c == '\0') return (uint32_t)refuse(r, "the pattern ends with a backslash");
  for (const char *l = letters; *l; l += 2)
    if (c == *l) {
      r->at++;
      return (uint32_t)l[1];
    }
  if (accept(r, "x")) return hex_escape(r);
  if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9'))
    return (uint32_t)refuse(r, "the pattern has an escape that is not supported");
  return tenon_char_next(&r->at);
}

static uint32_t class_character(Regex *r) {
  return accept(r, "\\") ? escape(r) : tenon_char_next(&r->at);
}

static int32_t class_node(Regex *r) {
  int32_t first = r->range_count;
  uint8_t negated = (uint8_t)accept(r, "^");
  for (int start = 1; !r->error && (start || *r->at != ']'); start = 0) {
    if (*r->at == '\0') return refuse(r, "a class of the pattern does not end");
    if (accept_class(r)) continue;
    uint32_t low = class_character(r), high = low;
    if (r->at[0] == '-' && r->at[1] != ']' && r->at[1] != '\0') {
      r->at++;
      high = class_character(r);
    }
    if (high < low) return refuse(r, "a range of the pattern runs backwards");
    add_range(r, low, high);
  }
  if (r->error) return 0;
  r->at++;
  int32_t n = node(r, CLASS, first, r->range_count);
  r->nodes[n].negated = negated;
  return n;
}

static int32_t alternatives(Regex *r);

static int is_name(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

static void flags(Regex *r) {
  uint8_t on = 1;
  while (*r->at && *r->at != ')' && *r->at != ':') {
    char c = *r->at++;
    if (c == 'i')
      r->fold = on;
    else if (c == 's')
      r->dot_all = on;
    else if (c == '-' && on)
      on = 0;
    else
      refuse(r, "the pattern has a flag or group that is not supported");
  }
}

/* Behind the parenthesis; flags hold until the end of the group around them. */
static int32_t group(Regex *r) {
  uint8_t fold = r->fold, dot_all = r->dot_all;
  if (accept(r, "?P<") || accept(r, "?<")) {
    while (is_name(*r->at)) r->at++;
    if (!accept(r, ">")) return refuse(r, "the pattern has a flag or group that is not supported");
  } else if (accept(r, "?")) {
    flags(r);
    if (accept(r, ")")) return node(r, EMPTY, 0, 0);
    if (!accept(r, ":")) return refuse(r, "a group of the pattern does not end");
  }
  if (++r->depth > MAX_DEPTH) return refuse(r, "the groups of the pattern are too deep");
  int32_t n = alternatives(r);
  r->depth--;
  r->fold = fold;
  r->dot_all = dot_all;
  return accept(r, ")") ? n : refuse(r, "a group of the pattern does not end");
}

static int32_t dot(Regex *r) {
  int32_t first = r->range_count;
  if (r->dot_all) {
    add_range(r, 0, UINT32_MAX);
  } else {
    add_range(r, 0, ANY_BUT_NEWLINE - 1);
    add_range(r, ANY_BUT_NEWLINE + 1, UINT32_MAX);
  }
  return node(r, CLASS, first, r->range_count);
}

static int32_t literal_text(Regex *r) {
  int32_t n = node(r, EMPTY, 0, 0);
  while (*r->at && !accept(r, "\\E") && !r->error)
    n = node(r, CAT, n, node(r, CHARACTER, (int32_t)tenon_char_next(&r->at), 0));
  return n;
}

static int32_t atom(Regex *r) {
  int32_t first = r->range_count;
  if (accept(r, "(")) return group(r);
  if (accept(r, "[")) return class_node(r);
  if (accept(r, ".")) return dot(r);
  if (accept(r, "^") || accept(r, "\\A")) return node(r, START, 0, 0);
  if (accept(r, "$") || accept(r, "\\z")) return node(r, END, 0, 0);
  if (accept(r, "\\b")) return node(r, WORD_EDGE, 0, 0);
  if (accept(r, "\\B")) return node(r, NO_EDGE, 0, 0);
  if (accept(r, "\\Q")) return literal_text(r);
  if (*r->at == '\\' && accept_class(r)) return node(r, CLASS, first, r->range_count);
  if (*r->at == '*' || *r->at == '+' || *r->at == '?')
    return refuse(r, "a repeat of the pattern has nothing to repeat");
  return node(r, CHARACTER, (int32_t)(accept(r, "\\") ? escape(r) : tenon_char_next(&r->at)), 0);
}

static int32_t number(Regex *r) {
  int32_t n = -1;
  for (; *r->at >= '0' && *r->at <= '9'; r->at++)
    if ((n = (n < 0 ? 0 : n) * 10 + (*r->at - '0')) > MAX_REPEAT)
      return refuse(r, "a repeat of the pattern is over 1000");
  return n;
}

/* {m}, {m,}, {m,n}; what looks otherwise is text. max -1: any number. */
static int accept_counts(Regex *r, int32_t *min, int32_t *max) {
  const char *start = r->at;
  if (!accept(r, "{")) return 0;
  *min = *max = number(r);
  if (*min >= 0 && accept(r, ",")) *max = number(r);
  if (*min >= 0 && accept(r, "}")) return 1;
  r->at = start;
  return 0;
}

static int32_t repeated(Regex *r) {
  int32_t n = atom(r), min, max;
  while (!r->error) {
    if (accept(r, "*"))
      min = 0, max = -1;
    else if (accept(r, "+"))
      min = 1, max = -1;
    else if (accept(r, "?"))
      min = 0, max = 1;
    else if (!accept_counts(r, &min, &max))
      break;
    if (max >= 0 && max < min) return refuse(r, "a repeat of the pattern runs backwards");
    accept(r, "?");
    n = node(r, REPEAT, n, 0);
    r->nodes[n].min = min;
    r->nodes[n].max = max;
  }
  return n;
}

static int32_t sequence(Regex *r) {
  int32_t n = node(r, EMPTY, 0, 0);
  while (*r->at && *r->at != '|' && *r->at != ')' && !r->error) n = node(r, CAT, n, repeated(r));
  return n;
}

static int32_t alternatives(Regex *r) {
  int32_t n = sequence(r);
  while (!r->error && accept(r, "|")) n = node(r, ALTERNATIVE, n, sequence(r));
  return n;
}

/* ---- Steps ----------------------------------------------------------------------------------------------
 */

static int32_t step(Regex *r, int kind, int32_t a, int32_t b) {
  if (r->step_count == REGEX_STEPS) return refuse(r, "the repeats of the pattern are too large");
  r->steps[r->step_count] = (RegexStep){kind, a, b};
  return r->step_count++;
}

static void emit(Regex *r, int32_t n);

static void emit_repeat(Regex *r, const RegexNode *n) {
  for (int32_t i = 0; i < n->min && !r->error; i++) emit(r, n->a);
  if (n->max < 0) {
    int32_t split = step(r, STEP_SPLIT, 0, 0);
    r->steps[split].a = r->step_count;
    emit(r, n->a);
    step(r, STEP_GO, split, 0);
    r->steps[split].b = r->step_count;
    return;
  }
  for (int32_t i = n->min; i < n->max && !r->error; i++) {
    int32_t split = step(r, STEP_SPLIT, 0, 0);
    r->steps[split].a = r->step_count;
    emit(r, n->a);
    r->steps[split].b = r->step_count;
  }
}

static void emit_alternative(Regex *r, const RegexNode *n) {
  int32_t split = step(r, STEP_SPLIT, 0, 0);
  r->steps[split].a = r->step_count;
  emit(r, n->a);
  int32_t go = step(r, STEP_GO, 0, 0);
  r->steps[split].b = r->step_count;
  emit(r, n->b);
  r->steps[go].a = r->step_count;
}

static void emit(Regex *r, int32_t at) {
  const RegexNode *n = &r->nodes[at];
  if (r->emitted++ > 16 * REGEX_STEPS) refuse(r, "the repeats of the pattern are too large");
  if (r->error) return;
  if (n->kind == CAT) {
    emit(r, n->a);
    emit(r, n->b);
  } else if (n->kind == ALTERNATIVE) {
    emit_alternative(r, n);
  } else if (n->kind == REPEAT) {
    emit_repeat(r, n);
  } else if (n->kind != EMPTY) {
    step(r, STEP_NODE, at, 0);
  }
}

const char *tenon_regex_compile(Regex *r, const char *pattern) {
  r->node_count = r->range_count = r->step_count = r->depth = r->emitted = 0;
  r->fold = r->dot_all = 0;
  r->at = pattern;
  r->error = NULL;
  int32_t root = alternatives(r);
  if (*r->at) refuse(r, "the pattern has a ) without a (");
  if (!r->error) emit(r, root);
  step(r, STEP_MATCH, 0, 0);
  return r->error;
}

/* ---- Matching -------------------------------------------------------------------------------------------
 */

static int in_ranges(const Regex *r, const RegexNode *n, uint32_t c) {
  for (int32_t i = n->a; i < n->b; i++)
    if (c >= r->ranges[i][0] && c <= r->ranges[i][1]) return 1;
  return 0;
}

static int matches(const Regex *r, const RegexNode *n, uint32_t c) {
  uint32_t lower = n->fold ? tenon_char_lower(c) : c, upper = n->fold ? tenon_char_upper(c) : c;
  if (n->kind == CHARACTER) return c == (uint32_t)n->a || lower == (uint32_t)n->a || upper == (uint32_t)n->a;
  int in = in_ranges(r, n, c) || (n->fold && (in_ranges(r, n, lower) || in_ranges(r, n, upper)));
  return in != n->negated;
}

/* Where the text is read: between two characters, 0 beyond its ends. */
typedef struct Place {
  uint32_t before, after;
  int is_start;
} Place;

static int holds(int kind, const Place *place) {
  int edge = (place->before < 0x80 && is_name((char)place->before)) !=
             (place->after < 0x80 && is_name((char)place->after));
  return kind == START ? place->is_start : kind == END ? !place->after : (kind == WORD_EDGE) == edge;
}

/* The steps that can be reached from one without a character, each once; whether the match is among them. */
static int follow(Regex *r, int32_t start, const Place *place, int32_t *list, int32_t *count) {
  int32_t *stack = r->stack, top = 0;
  int match = 0;
  if (r->marks[start]) return 0;
  r->marks[start] = 1;
  stack[top++] = start;
  while (top) {
    int32_t at = stack[--top], next[2], nexts = 0;
    const RegexStep *s = &r->steps[at];
    int kind = s->kind == STEP_NODE ? r->nodes[s->a].kind : EMPTY;
    if (s->kind == STEP_MATCH) match = 1;
    if (s->kind == STEP_GO || s->kind == STEP_SPLIT) next[nexts++] = s->a;
    if (s->kind == STEP_SPLIT) next[nexts++] = s->b;
    if (kind >= START && holds(kind, place)) next[nexts++] = at + 1;
    if (kind == CHARACTER || kind == CLASS) list[(*count)++] = at;
    for (int32_t i = 0; i < nexts; i++)
      if (!r->marks[next[i]]) {
        r->marks[next[i]] = 1;
        stack[top++] = next[i];
      }
  }
  return match;
}

int tenon_regex_match(Regex *r, const char *text) {
  const char *at = text;
  Place place = {.after = *at ? tenon_char_next(&at) : 0, .is_start = 1};
  int32_t counts[2] = {0, 0};
  int now = 0;
  for (int32_t i = 0; i < r->step_count; i++) r->marks[i] = 0;
  int match = follow(r, 0, &place, r->lists[0], &counts[0]);
  while (place.after && counts[now]) {
    uint32_t c = place.after;
    place = (Place){.before = c, .after = *at ? tenon_char_next(&at) : 0};
    for (int32_t i = 0; i < r->step_count; i++) r->marks[i] = 0;
    counts[!now] = 0;
    match = 0;
    for (int32_t i = 0; i < counts[now]; i++) {
      int32_t s = r->lists[now][i];
      if (matches(r, &r->nodes[r->steps[s].a], c))
        match |= follow(r, s + 1, &place, r->lists[!now], &counts[!now]);
    }
    now = !now;
  }
  return !place.after && match;
}
