/*
 * dim.c -- symbolic sizes: interned expressions in one canonical form.
 *
 * Integer arithmetic is kept as a polynomial: ADD is a left-leaning chain of terms, a term a MUL chain of
 * [coefficient and] sorted atoms, the constant comes last. Atoms are symbols, divisions, min, max, bcast, and
 * whatever would overflow or grow too much when multiplied out. Order is by structure, not by history, so
 * that text read back gives the same text.
 *
 * Every simplification keeps the value wherever the plain expression has one, given that symbols are >= 0.
 * Sizes come from hostile files: an expression over MAX_SIZE nodes is reported and replaced by a fresh
 * symbol, of which nothing can be proved.
 */
#include "ir/intern.h"
#include "ir/text.h"

#include <assert.h>
#include <string.h>

enum { MAX_TERMS = 48, MAX_FACTORS = 32, MAX_SIZE = 2000 };

/* ---- Interning ---- */

static bool dim_equal(const void *item, const void *key) {
  const Dim *a = item, *b = key;
  return a->kind == b->kind && a->value == b->value && a->symbol == b->symbol && a->a == b->a && a->b == b->b;
}

static const Dim *intern_dim(Module *module, Dim dim) {
  const void *parts[] = {dim.symbol, dim.a, dim.b};
  uint64_t hash = hash_bytes(parts, sizeof parts, (uint64_t)dim.value * 16 + dim.kind);
  struct Interns *interns = module->interns;
  const Dim *found = table_find(&interns->dims, hash, &dim, dim_equal);
  if (found) return found;
  dim.id = interns->dim_count++;
  dim.size = 1 + (dim.a ? dim.a->size : 0) + (dim.b ? dim.b->size : 0);
  Dim *kept = arena_copy(module->arena, &dim, sizeof dim);
  table_add(module->arena, &interns->dims, hash, kept);
  return kept;
}

const Dim *dim_const(Module *module, int64_t value) {
  return intern_dim(module, (Dim){.kind = DIM_CONST, .value = value});
}

const Dim *dim_symbol(Module *module, const char *name) {
  return intern_dim(module, (Dim){.kind = DIM_SYMBOL, .symbol = intern(module, name)});
}

const Dim *dim_new_symbol(Module *module) {
  for (;;) {
    int before = module->interns->dim_count;
    const Dim *symbol =
        dim_symbol(module, arena_printf(module->arena, "u%d", module->interns->new_symbols++));
    if (symbol->id == before) return symbol;
  }
}

static const Dim *too_large(Module *module) {
  fail(module, "the expression of a size has over %d parts; give open sizes values (--dim, --input-shape)",
       MAX_SIZE);
  return dim_symbol(module, arena_printf(module->arena, "too_large.%d", module->interns->dim_count));
}

/* Just as it is, no simplification. */
static const Dim *plain(Module *module, DimKind kind, const Dim *a, const Dim *b) {
  if (a->size + b->size > MAX_SIZE) return too_large(module);
  return intern_dim(module, (Dim){.kind = kind, .a = a, .b = b});
}

/* ---- Order ---- */

/* Of atoms and monomials: symbols by name first, then by kind and parts. */
static int compare(const Dim *a, const Dim *b) {
  if (a == b) return 0;
  if (a->kind != b->kind) return a->kind < b->kind ? -1 : 1;
  if (a->kind == DIM_CONST) return a->value < b->value ? -1 : 1;
  if (a->kind == DIM_SYMBOL) return strcmp(a->symbol, b->symbol);
  int first = compare(a->a, b->a);
  return first != 0 ? first : compare(a->b, b->b);
}

/* ---- Polynomials ---- */

typedef struct Monomial {
  int count;
  const Dim *factors[MAX_FACTORS]; /* sorted */
} Monomial;

typedef struct Term {
  int64_t coefficient;
  const Dim *monomial; /* NULL: 1 */
} Term;

typedef struct Sum {
  int count;
  Term terms[MAX_TERMS]; /* sorted, constant last, no coefficient 0 */
} Sum;

/* Higher degree first, then by structure; a constant is last. */
static int degree(const Dim *monomial) {
  int count = 0;
  if (!monomial) return 0;
  for (; monomial->kind == DIM_MUL; monomial = monomial->a) count++;
  return count + 1;
}

static int compare_monomials(const Dim *a, const Dim *b) {
  int by_degree = degree(b) - degree(a);
  return by_degree != 0 || !a || !b ? by_degree : compare(a, b);
}

static bool insert_factor(Monomial *monomial, const Dim *factor) {
  if (monomial->count == MAX_FACTORS) return false;
  int at = monomial->count++;
  for (; at > 0 && compare(monomial->factors[at - 1], factor) > 0; at--)
    monomial->factors[at] = monomial->factors[at - 1];
  monomial->factors[at] = factor;
  return true;
}

/* The factors of a chain MUL(MUL(a, b), c). */
static bool factors_of(const Dim *dim, Monomial *monomial) {
  for (; dim && dim->kind == DIM_MUL; dim = dim->a) TRY(insert_factor(monomial, dim->b));
  return !dim || insert_factor(monomial, dim);
}

static const Dim *monomial_dim(Module *module, const Monomial *monomial) {
  if (monomial->count == 0) return NULL;
  const Dim *dim = monomial->factors[0];
  for (int i = 1; i < monomial->count; i++) dim = plain(module, DIM_MUL, dim, monomial->factors[i]);
  return dim;
}

static bool add_term(Sum *sum, Term term) {
  int at = 0;
  if (term.coefficient == 0) return true;
  while (at < sum->count && compare_monomials(sum->terms[at].monomial, term.monomial) < 0) at++;
  if (at < sum->count && sum->terms[at].monomial == term.monomial) {
    Term *same = &sum->terms[at];
    if (__builtin_add_overflow(same->coefficient, term.coefficient, &same->coefficient)) return false;
    if (same->coefficient != 0) return true;
    sum->count--;
    memmove(same, same + 1, sizeof *same * (size_t)(sum->count - at));
    return true;
  }
  if (sum->count == MAX_TERMS) return false;
  memmove(&sum->terms[at + 1], &sum->terms[at], sizeof term * (size_t)(sum->count - at));
  sum->terms[at] = term;
  sum->count++;
  return true;
}

/* A term is CONST, CONST*atoms or atoms; a coefficient is the innermost left factor. */
static Term term_of(Module *module, const Dim *dim) {
  if (dim->kind == DIM_CONST) return (Term){dim->value, NULL};
  const Dim *innermost = dim;
  while (innermost->kind == DIM_MUL) innermost = innermost->a;
  Monomial monomial = {0};
  if (dim->kind != DIM_MUL || innermost->kind != DIM_CONST || !factors_of(dim, &monomial))
    return (Term){1, dim};
  /* Drop one mention of the coefficient; a second constant is a factor that would overflow. */
  for (int i = 0; i < monomial.count; i++)
    if (monomial.factors[i] == innermost) {
      monomial.count--;
      memmove(&monomial.factors[i], &monomial.factors[i + 1],
              sizeof monomial.factors[0] * (size_t)(monomial.count - i));
      break;
    }
  return (Term){innermost->value, monomial_dim(module, &monomial)};
}

static bool sum_of(Module *module, const Dim *dim, Sum *sum) {
  for (; dim->kind == DIM_ADD; dim = dim->a) TRY(add_term(sum, term_of(module, dim->b)));
  return add_term(sum, term_of(module, dim));
}

static const Dim *term_dim(Module *module, Term term) {
  if (!term.monomial) return dim_const(module, term.coefficient);
  if (term.coefficient == 1) return term.monomial;
  const Dim *dim = dim_const(module, term.coefficient);
  Monomial monomial = {0};
  if (!factors_of(term.monomial, &monomial)) return plain(module, DIM_MUL, dim, term.monomial);
  for (int i = 0; i < monomial.count; i++) dim = plain(module, DIM_MUL, dim, monomial.factors[i]);
  return dim;
}

static const Dim *sum_dim(Module *module, const Sum *sum) {
  if (sum->count == 0) return dim_const(module, 0);
  const Dim *dim = term_dim(module, sum->terms[0]);
  for (int i = 1; i < sum->count; i++) dim = plain(module, DIM_ADD, dim, term_dim(module, sum->terms[i]));
  return dim;
}

static const Dim *simplify_add(Module *module, const Dim *a, const Dim *b) {
  Sum sum = {0};
  if (sum_of(module, a, &sum) && sum_of(module, b, &sum)) return sum_dim(module, &sum);
  return compare(a, b) <= 0 ? plain(module, DIM_ADD, a, b) : plain(module, DIM_ADD, b, a);
}

static bool multiply_terms(Module *module, Term a, Term b, Term *product) {
  Monomial monomial = {0};
  if (__builtin_mul_overflow(a.coefficient, b.coefficient, &product->coefficient)) return false;
  TRY(factors_of(a.monomial, &monomial) && factors_of(b.monomial, &monomial));
  product->monomial = monomial_dim(module, &monomial);
  return true;
}

static bool multiply(Module *module, const Sum *a, const Sum *b, Sum *product) {
  for (int i = 0; i < a->count; i++)
    for (int j = 0; j < b->count; j++) {
      Term term;
      TRY(multiply_terms(module, a->terms[i], b->terms[j], &term) && add_term(product, term));
    }
  return true;
}

static const Dim *simplify_mul(Module *module, const Dim *a, const Dim *b) {
  Sum left = {0}, right = {0}, product = {0};
  if (sum_of(module, a, &left) && sum_of(module, b, &right) && left.count * right.count <= MAX_TERMS &&
      multiply(module, &left, &right, &product))
    return sum_dim(module, &product);
  return compare(a, b) <= 0 ? plain(module, DIM_MUL, a, b) : plain(module, DIM_MUL, b, a);
}

/* ---- Division ---- */

static int64_t floor_quotient(int64_t a, int64_t b) {
  return a / b - (a % b != 0 && (a < 0) != (b < 0));
}

static bool eval_division(DimKind kind, int64_t a, int64_t b, int64_t *result) {
  if (b == 0 || (a == INT64_MIN && b == -1)) return false;
  *result = floor_quotient(a, b);
  if (kind == DIM_CEILDIV) *result += a % b != 0;
  return true;
}

/* a = b * quotient; false when b does not divide a. */
static bool divide_term(Module *module, Term a, Term b, Term *quotient) {
  Monomial left = {0}, right = {0}, rest = {0};
  if (b.coefficient == 0 || b.coefficient == -1 || a.coefficient % b.coefficient != 0) return false;
  TRY(factors_of(a.monomial, &left) && factors_of(b.monomial, &right));
  int used = 0;
  for (int i = 0; i < left.count; i++) {
    if (used < right.count && left.factors[i] == right.factors[used])
      used++;
    else
      insert_factor(&rest, left.factors[i]);
  }
  *quotient = (Term){a.coefficient / b.coefficient, monomial_dim(module, &rest)};
  return used == right.count;
}

static bool negated(Term term, Term *result) {
  result->monomial = term.monomial;
  return !__builtin_sub_overflow(0, term.coefficient, &result->coefficient);
}

/* Polynomial division; false unless it leaves no rest. */
static bool divide_exactly(Module *module, const Sum *a, const Sum *b, Sum *quotient) {
  Sum rest = *a;
  for (int round = 0; rest.count > 0; round++) {
    Term term, minus;
    if (round == MAX_TERMS || !divide_term(module, rest.terms[0], b->terms[0], &term)) return false;
    TRY(negated(term, &minus) && add_term(quotient, term));
    for (int i = 0; i < b->count; i++) {
      Term product;
      TRY(multiply_terms(module, minus, b->terms[i], &product) && add_term(&rest, product));
    }
  }
  return true;
}

/* Moves the terms of `a` that `by` divides to `whole`, the others to `rest`. */
static bool split_divisible(Module *module, const Sum *a, Term by, Sum *whole, Sum *rest) {
  for (int i = 0; i < a->count; i++) {
    Term quotient;
    if (divide_term(module, a->terms[i], by, &quotient)) {
      TRY(add_term(whole, quotient));
    } else {
      TRY(add_term(rest, a->terms[i]));
    }
  }
  return true;
}

/* a = by * whole + rest, with every coefficient of the rest in [0, by). */
static bool split_multiples(const Sum *a, int64_t by, Sum *whole, Sum *rest) {
  for (int i = 0; i < a->count; i++) {
    Term term = a->terms[i];
    int64_t quotient = floor_quotient(term.coefficient, by);
    TRY(add_term(whole, (Term){quotient, term.monomial}));
    TRY(add_term(rest, (Term){term.coefficient - quotient * by, term.monomial}));
  }
  return true;
}

static int64_t common_divisor(int64_t a, int64_t b) {
  while (b != 0) {
    int64_t rest = a % b;
    a = b;
    b = rest;
  }
  return a < 0 ? -a : a;
}

/* floor((g*x + r) / (g*c)) = floor(x / c) for 0 <= r < g. */
static void cancel(Sum *sum, int64_t *by) {
  int64_t common = *by;
  for (int i = 0; i < sum->count; i++)
    if (sum->terms[i].monomial) common = common_divisor(common, sum->terms[i].coefficient);
  if (common <= 1) return;
  *by /= common;
  Sum smaller = {0};
  for (int i = 0; i < sum->count; i++)
    add_term(&smaller, (Term){floor_quotient(sum->terms[i].coefficient, common), sum->terms[i].monomial});
  *sum = smaller;
}

/* floor((floor(x / b) + k) / c) = floor((x + k*b) / (b*c)) for b, c > 0: unwraps the inner division; false
 * when there is none. */
static bool unwrap(Module *module, Sum *sum, int64_t *by) {
  const Term *first = &sum->terms[0];
  bool with_constant = sum->count == 2 && !sum->terms[1].monomial;
  if ((sum->count != 1 && !with_constant) || first->coefficient != 1 || !first->monomial) return false;
  const Dim *division = first->monomial;
  if (division->kind != DIM_FLOORDIV || division->b->kind != DIM_CONST || division->b->value <= 0)
    return false;
  int64_t inner = division->b->value, constant = with_constant ? sum->terms[1].coefficient : 0, product;
  if (__builtin_mul_overflow(inner, *by, &product) || __builtin_mul_overflow(constant, inner, &constant))
    return false;
  Sum wider = {0};
  TRY(sum_of(module, division->a, &wider) && add_term(&wider, (Term){constant, NULL}));
  *sum = wider;
  *by = product;
  return true;
}

static const Dim *divide_by_const(Module *module, const Dim *a, const Dim *b) {
  Sum sum = {0}, whole = {0}, rest = {0};
  int64_t by = b->value;
  if (!sum_of(module, a, &sum)) return plain(module, DIM_FLOORDIV, a, b);
  while (unwrap(module, &sum, &by)) continue;
  if (!split_multiples(&sum, by, &whole, &rest)) return plain(module, DIM_FLOORDIV, a, b);
  cancel(&rest, &by);
  const Dim *quotient = sum_dim(module, &whole);
  if (rest.count == 0 || !rest.terms[0].monomial) return quotient; /* a constant in [0, by) */
  return dim_add(module, quotient,
                 plain(module, DIM_FLOORDIV, sum_dim(module, &rest), dim_const(module, by)));
}

static const Dim *simplify_floordiv(Module *module, const Dim *a, const Dim *b) {
  int64_t value;
  if (dim_is_const(a) && dim_is_const(b) && eval_division(DIM_FLOORDIV, a->value, b->value, &value))
    return dim_const(module, value);
  if (dim_is(b, 1)) return a;
  if (dim_is_const(b) && b->value > 0) return divide_by_const(module, a, b);
  Sum sum = {0}, by = {0}, whole = {0}, rest = {0};
  if (dim_is(b, 0) || !sum_of(module, a, &sum) || !sum_of(module, b, &by))
    return plain(module, DIM_FLOORDIV, a, b);
  if (divide_exactly(module, &sum, &by, &whole)) return sum_dim(module, &whole);
  whole = (Sum){0};
  if (by.count == 1 && split_divisible(module, &sum, by.terms[0], &whole, &rest) && whole.count > 0)
    return dim_add(module, sum_dim(module, &whole), plain(module, DIM_FLOORDIV, sum_dim(module, &rest), b));
  return plain(module, DIM_FLOORDIV, a, b);
}

static const Dim *simplify_ceildiv(Module *module, const Dim *a, const Dim *b) {
  int64_t value;
  if (dim_is_const(a) && dim_is_const(b) && eval_division(DIM_CEILDIV, a->value, b->value, &value))
    return dim_const(module, value);
  if (dim_is(b, 1)) return a;
  if (dim_is_const(b) && b->value > 0)
    return dim_floordiv(module, dim_add(module, a, dim_const(module, b->value - 1)), b);
  Sum sum = {0}, by = {0}, whole = {0};
  if (!dim_is(b, 0) && sum_of(module, a, &sum) && sum_of(module, b, &by) &&
      divide_exactly(module, &sum, &by, &whole))
    return sum_dim(module, &whole);
  return plain(module, DIM_CEILDIV, a, b);
}

/* ---- min, max, bcast: sorted sets of operands ---- */

static bool never_negative(const Dim *dim) {
  switch (dim->kind) {
  case DIM_CONST: return dim->value >= 0;
  case DIM_SYMBOL: return true;
  case DIM_MAX: return never_negative(dim->a) || never_negative(dim->b);
  default: return never_negative(dim->a) && never_negative(dim->b); /* all are monotone on numbers >= 0 */
  }
}

/* Whether no term of a - b can be negative. */
static bool terms_at_least(Module *module, const Dim *a, const Dim *b) {
  Sum rest = {0}, less = {0};
  TRY(sum_of(module, a, &rest) && sum_of(module, b, &less));
  for (int i = 0; i < less.count; i++) {
    Term minus;
    TRY(negated(less.terms[i], &minus) && add_term(&rest, minus));
  }
  for (int i = 0; i < rest.count; i++)
    if (rest.terms[i].coefficient < 0 || (rest.terms[i].monomial && !never_negative(rest.terms[i].monomial)))
      return false;
  return true;
}

/* A part is at most what times its divisor is at least the whole. */
static bool at_least(Module *module, const Dim *a, const Dim *b) {
  if (terms_at_least(module, a, b)) return true;
  bool is_part = b->kind == DIM_FLOORDIV && dim_is_const(b->b) && b->b->value > 0;
  return is_part && terms_at_least(module, dim_mul(module, a, b->b), b->a);
}

/* Whether `a` makes `b` superfluous beside it. */
static bool absorbs(Module *module, DimKind kind, const Dim *a, const Dim *b) {
  if (a == b) return true;
  if (kind == DIM_MIN) return at_least(module, b, a);
  if (kind == DIM_MAX) return at_least(module, a, b);
  return dim_is(b, 1) || (dim_is_const(a) && !dim_is_const(b) && a->value != 1);
}

static bool insert_operand(Module *module, DimKind kind, Monomial *set, const Dim *dim) {
  for (; dim->kind == kind; dim = dim->a) TRY(insert_operand(module, kind, set, dim->b));
  int kept = 0;
  for (int i = 0; i < set->count; i++)
    if (absorbs(module, kind, set->factors[i], dim)) return true;
  for (int i = 0; i < set->count; i++)
    if (!absorbs(module, kind, dim, set->factors[i])) set->factors[kept++] = set->factors[i];
  set->count = kept;
  return insert_factor(set, dim);
}

static const Dim *simplify_set(Module *module, DimKind kind, const Dim *a, const Dim *b) {
  Monomial set = {0};
  if (!insert_operand(module, kind, &set, a) || !insert_operand(module, kind, &set, b))
    return plain(module, kind, a, b);
  const Dim *dim = set.factors[0];
  for (int i = 1; i < set.count; i++) dim = plain(module, kind, dim, set.factors[i]);
  return dim;
}

/* ---- The public functions ---- */

const Dim *dim_make(Module *module, DimKind kind, const Dim *a, const Dim *b) {
  switch (kind) {
  case DIM_ADD: return simplify_add(module, a, b);
  case DIM_MUL: return simplify_mul(module, a, b);
  case DIM_FLOORDIV: return simplify_floordiv(module, a, b);
  case DIM_CEILDIV: return simplify_ceildiv(module, a, b);
  case DIM_MIN:
  case DIM_MAX:
  case DIM_BCAST: return simplify_set(module, kind, a, b);
  case DIM_CONST:
  case DIM_SYMBOL: break;
  }
  assert(!"a constant or symbol has no operands");
  return a;
}

const Dim *dim_add(Module *module, const Dim *a, const Dim *b) {
  return dim_make(module, DIM_ADD, a, b);
}
const Dim *dim_mul(Module *module, const Dim *a, const Dim *b) {
  return dim_make(module, DIM_MUL, a, b);
}
const Dim *dim_floordiv(Module *module, const Dim *a, const Dim *b) {
  return dim_make(module, DIM_FLOORDIV, a, b);
}
const Dim *dim_ceildiv(Module *module, const Dim *a, const Dim *b) {
  return dim_make(module, DIM_CEILDIV, a, b);
}

const Dim *dim_sub(Module *module, const Dim *a, const Dim *b) {
  return dim_add(module, a, dim_mul(module, dim_const(module, -1), b));
}

bool dim_is_const(const Dim *dim) {
  return dim->kind == DIM_CONST;
}
bool dim_is(const Dim *dim, int64_t value) {
  return dim->kind == DIM_CONST && dim->value == value;
}

static bool eval_pair(DimKind kind, int64_t a, int64_t b, int64_t *result) {
  switch (kind) {
  case DIM_ADD: return !__builtin_add_overflow(a, b, result);
  case DIM_MUL: return !__builtin_mul_overflow(a, b, result);
  case DIM_FLOORDIV:
  case DIM_CEILDIV: return eval_division(kind, a, b, result);
  case DIM_MIN: *result = a < b ? a : b; return true;
  case DIM_MAX: *result = a > b ? a : b; return true;
  case DIM_BCAST: *result = a == 1 ? b : a; return a == b || a == 1 || b == 1;
  default: return false;
  }
}

bool dim_eval_with(const Dim *dim, DimLookup *lookup, const void *context, int64_t *result) {
  if (dim->kind == DIM_CONST) {
    *result = dim->value;
    return true;
  }
  if (dim->kind == DIM_SYMBOL) return lookup(context, dim, result);
  int64_t a, b;
  TRY(dim_eval_with(dim->a, lookup, context, &a) && dim_eval_with(dim->b, lookup, context, &b));
  return eval_pair(dim->kind, a, b, result);
}

typedef struct Binding {
  const char *const *symbols;
  const int64_t *values;
  int count;
} Binding;

static bool look_up(const void *context, const Dim *symbol, int64_t *value) {
  const Binding *binding = context;
  for (int i = 0; i < binding->count; i++)
    if (strcmp(binding->symbols[i], symbol->symbol) == 0) {
      *value = binding->values[i];
      return true;
    }
  return false;
}

bool dim_eval(const Dim *dim, const char *const *symbols, const int64_t *values, int count, int64_t *result) {
  return dim_eval_with(dim, look_up, &(Binding){symbols, values, count}, result);
}

const Dim *dim_substitute(Module *module, const Dim *dim, const char *symbol, const Dim *by) {
  if (dim->kind == DIM_CONST) return dim;
  if (dim->kind == DIM_SYMBOL) return strcmp(dim->symbol, symbol) == 0 ? by : dim;
  const Dim *a = dim_substitute(module, dim->a, symbol, by), *b = dim_substitute(module, dim->b, symbol, by);
  return a == dim->a && b == dim->b ? dim : dim_make(module, dim->kind, a, b);
}

const Dim *dim_import(Module *module, const Dim *dim) {
  if (dim->kind == DIM_CONST) return dim_const(module, dim->value);
  if (dim->kind == DIM_SYMBOL) return dim_symbol(module, dim->symbol);
  return plain(module, dim->kind, dim_import(module, dim->a), dim_import(module, dim->b));
}

/* ---- Text ---- */

static bool is_plain_symbol(const char *name) {
  static const char *const words[] = {"floordiv", "ceildiv", "min", "max", "bcast"};
  for (int i = 0; i < COUNT_OF(words); i++)
    if (strcmp(name, words[i]) == 0) return false;
  if (*name >= '0' && *name <= '9') return false;
  for (const char *c = name; *c; c++)
    if (!(*c >= 'a' && *c <= 'z') && !(*c >= 'A' && *c <= 'Z') && !(*c >= '0' && *c <= '9') && *c != '_' &&
        *c != '.')
      return false;
  return *name != '\0';
}

static void add_call(Text *text, const char *name, const Dim *dim) {
  text_add(text, name);
  text_add(text, "(");
  text_add_dim(text, dim->a);
  text_add(text, ",");
  text_add_dim(text, dim->b);
  text_add(text, ")");
}

static void add_factor(Text *text, const Dim *dim) {
  if (dim->kind != DIM_ADD) {
    text_add_dim(text, dim);
    return;
  }
  text_add(text, "(");
  text_add_dim(text, dim);
  text_add(text, ")");
}

/* a+b, where a negative b shows as a minus. */
static void add_addition(Text *text, const Dim *dim) {
  Text right = {0};
  text_add_dim(text, dim->a);
  add_factor(&right, dim->b);
  if (right.chars[0] != '-') text_add(text, "+");
  text_add(text, right.chars);
  text_free(&right);
}

void text_add_dim(Text *text, const Dim *dim) {
  switch (dim->kind) {
  case DIM_CONST: text_format(text, "%lld", (long long)dim->value); break;
  case DIM_SYMBOL:
    if (is_plain_symbol(dim->symbol))
      text_add(text, dim->symbol);
    else
      text_add_quoted(text, dim->symbol);
    break;
  case DIM_ADD: add_addition(text, dim); break;
  case DIM_MUL:
    if (dim_is(dim->a, -1)) {
      text_add(text, "-");
    } else {
      add_factor(text, dim->a);
      text_add(text, "*");
    }
    add_factor(text, dim->b);
    break;
  case DIM_FLOORDIV: add_call(text, "floordiv", dim); break;
  case DIM_CEILDIV: add_call(text, "ceildiv", dim); break;
  case DIM_MIN: add_call(text, "min", dim); break;
  case DIM_MAX: add_call(text, "max", dim); break;
  case DIM_BCAST: add_call(text, "bcast", dim); break;
  }
}

char *dim_text(Module *module, const Dim *dim) {
  Text text = {0};
  text_add_dim(&text, dim);
  return text_take(&text, module->arena);
}
