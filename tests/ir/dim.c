/* dim.c -- symbolic sizes: simplified expressions evaluate like plain ones, equal ones are one pointer, text
 * reads back. */
#include "ir/lexer.h"
#include "tests/test.h"

enum { SYMBOLS = 4 };

static const char *const symbols[SYMBOLS] = {"H", "N", "W", "batch size"};

static uint64_t random_state = 1;

static int random_below(int limit) {
  random_state = random_state * 6364136223846793005u + 1442695040888963407u;
  return (int)((random_state >> 33) % (unsigned)limit);
}

/* An expression kept twice: as it was made, and simplified step by step. */
typedef struct Plain {
  DimKind kind;
  int64_t value;
  int symbol;
  const struct Plain *a, *b;
  const Dim *dim;
} Plain;

static const Plain *random_plain(Module *module, int depth) {
  Plain *plain = NEW(module->arena, Plain);
  int choice = random_below(depth > 0 ? 10 : 2);
  if (choice == 0) {
    *plain = (Plain){.kind = DIM_CONST, .value = random_below(9) - 3};
    plain->dim = dim_const(module, plain->value);
  } else if (choice == 1) {
    *plain = (Plain){.kind = DIM_SYMBOL, .symbol = random_below(SYMBOLS)};
    plain->dim = dim_symbol(module, symbols[plain->symbol]);
  } else {
    static const DimKind kinds[] = {DIM_ADD,     DIM_ADD, DIM_MUL, DIM_FLOORDIV, DIM_FLOORDIV,
                                    DIM_CEILDIV, DIM_MIN, DIM_MAX, DIM_BCAST};
    *plain = (Plain){.kind = kinds[random_below(COUNT_OF(kinds))]};
    plain->a = random_plain(module, depth - 1);
    plain->b = random_plain(module, depth - 1);
    plain->dim = dim_make(module, plain->kind, plain->a->dim, plain->b->dim);
  }
  return plain;
}

/* Written anew from the definitions; false where the expression has no value. */
static bool plain_eval(const Plain *plain, const int64_t *values, int64_t *result) {
  int64_t a, b;
  if (plain->kind == DIM_CONST || plain->kind == DIM_SYMBOL) {
    *result = plain->kind == DIM_CONST ? plain->value : values[plain->symbol];
    return true;
  }
  if (!plain_eval(plain->a, values, &a) || !plain_eval(plain->b, values, &b)) return false;
  bool divides = plain->kind == DIM_FLOORDIV || plain->kind == DIM_CEILDIV;
  if ((divides && b == 0) || (plain->kind == DIM_BCAST && a != b && a != 1 && b != 1)) return false;
  int64_t quotient = divides ? a / b : 0, rest = divides ? a % b : 0;
  switch (plain->kind) {
  case DIM_ADD: *result = a + b; break;
  case DIM_MUL: *result = a * b; break;
  case DIM_FLOORDIV: *result = quotient - (rest != 0 && (rest < 0) != (b < 0)); break;
  case DIM_CEILDIV: *result = quotient + (rest != 0 && (rest < 0) == (b < 0)); break;
  case DIM_MIN: *result = a < b ? a : b; break;
  case DIM_MAX: *result = a > b ? a : b; break;
  default: *result = a == 1 ? b : a;
  }
  return true;
}

static const Dim *parse(Module *module, const char *text) {
  Lexer lexer;
  const Dim *dim;
  if (!lexer_start(&lexer, module, NULL, text, strlen(text)) || !lexer_dim(&lexer, &dim)) return NULL;
  return lexer.token.kind == TOKEN_END ? dim : NULL;
}

static int check_values(const Plain *plain) {
  int bad = 0;
  for (int round = 0; round < 8; round++) {
    int64_t values[SYMBOLS], want, got;
    for (int i = 0; i < SYMBOLS; i++) values[i] = random_below(round < 4 ? 4 : 100);
    if (!plain_eval(plain, values, &want)) continue;
    bad += !dim_eval(plain->dim, symbols, values, SYMBOLS, &got) || got != want;
  }
  return bad;
}

TEST(simplified_evaluates_like_plain) {
  for (int round = 0; round < 4000; round++) {
    Module *module = module_new("test");
    uint64_t seed = random_state;
    const Plain *plain = random_plain(module, 1 + random_below(4));
    if (module->error_count == 0 && !CHECK_INT(check_values(plain), 0))
      printf("  seed %llu: %s\n", (unsigned long long)seed, dim_text(module, plain->dim));
    module_free(module);
    if (checks_failed > 5) return;
  }
}

/* In a fresh module, so that the order of creation is another one. */
TEST(text_reads_back_as_the_same_text) {
  for (int round = 0; round < 4000; round++) {
    Module *module = module_new("test"), *other = module_new("test");
    const Plain *plain = random_plain(module, 1 + random_below(4));
    const char *text = dim_text(module, plain->dim);
    if (module->error_count == 0) {
      for (int i = SYMBOLS - 1; i >= 0; i--) dim_symbol(other, symbols[i]);
      const Dim *again = parse(other, text);
      if (CHECK(again)) CHECK_STRING(dim_text(other, again), text);
      CHECK(parse(module, text) == plain->dim);
    }
    module_free(other);
    module_free(module);
    if (checks_failed > 5) return;
  }
}

/* left | what it is simplified to, as text. */
static const char *const equalities[][2] = {
    {"2+3*4", "14"},
    {"N-N", "0"},
    {"H+N-1", "H+N-1"},
    {"1+N", "N+1"},
    {"W*H", "H*W"},
    {"(N+1)*(N-1)", "N*N-1"},
    {"2*N+3*N", "5*N"},
    {"floordiv(N*28*28,28)", "28*N"},
    {"floordiv(64*N*past+64*N,past+1)", "64*N"},
    {"floordiv(N*H*W,H*W)", "N"},
    {"floordiv(4*N+6,2)", "2*N+3"},
    {"min(W,floordiv(W,2))", "floordiv(W,2)"},
    {"max(floordiv(W+1,2),W+1)", "W+1"},
    {"min(W,floordiv(W+5,2))", "min(W,floordiv(W+1,2)+2)"},
    {"min(W,floordiv(3*W,2))", "W"},
    {"floordiv(2*N+1,4)", "floordiv(N,2)"},
    {"floordiv(3*N,2)", "N+floordiv(N,2)"},
    {"floordiv(floordiv(H,2),2)", "floordiv(H,4)"},
    {"floordiv(floordiv(H-1,2)+1-1,2)+1", "floordiv(H+3,4)"},
    {"ceildiv(H,2)-floordiv(H+1,2)", "0"},
    {"floordiv(H+2,2)", "floordiv(H,2)+1"},
    {"ceildiv(6*N,3)", "2*N"},
    {"ceildiv(N*M,M)", "N"},
    {"floordiv(N*M+H,M)", "N+floordiv(H,M)"},
    {"min(N,N)", "N"},
    {"min(N,N+3)", "N"},
    {"max(N,0)", "N"},
    {"max(min(N,5),min(5,N))", "min(5,N)"},
    {"max(max(N,3),max(4,H))", "max(max(4,H),N)"},
    {"bcast(N,1)", "N"},
    {"bcast(N,4)", "4"},
    {"bcast(bcast(N,M),N)", "bcast(M,N)"},
    {"-N", "-N"},
    {"-2*N*M+3", "-2*M*N+3"},
    {"3-N", "-N+3"},
    {"\"batch size\"+\"min\"", "\"batch size\"+\"min\""},
    {"-9223372036854775808", "-9223372036854775808"},
};

TEST(canonical_forms) {
  Module *module = module_new("test");
  for (int i = 0; i < COUNT_OF(equalities); i++) {
    const Dim *dim = parse(module, equalities[i][0]);
    if (CHECK(dim)) CHECK_STRING(dim_text(module, dim), equalities[i][1]);
  }
  CHECK_INT(module->error_count, 0);
  module_free(module);
}

TEST(overflow_is_not_simplified_away) {
  Module *module = module_new("test");
  const Dim *huge = dim_const(module, INT64_MAX);
  int64_t value;
  CHECK(!dim_eval(dim_mul(module, huge, huge), NULL, NULL, 0, &value));
  CHECK(!dim_eval(dim_add(module, huge, dim_const(module, 1)), NULL, NULL, 0, &value));
  CHECK(!dim_eval(dim_floordiv(module, dim_const(module, 1), dim_const(module, 0)), NULL, NULL, 0, &value));
  CHECK(!dim_eval(dim_symbol(module, "N"), NULL, NULL, 0, &value));
  module_free(module);
}

TEST(a_growing_expression_ends_in_an_error) {
  Module *module = module_new("test");
  const Dim *dim = dim_symbol(module, "N"), *other = dim_symbol(module, "M");
  for (int i = 0; i < 2000; i++)
    dim = dim_make(module, i % 2 ? DIM_FLOORDIV : DIM_CEILDIV,
                   dim_mul(module, dim, dim_add(module, dim, other)), other);
  CHECK(module->error_count > 0);
  module_free(module);
}

TEST(substitution) {
  Module *module = module_new("test");
  const Dim *dim = parse(module, "floordiv(H+1,2)*N");
  CHECK_STRING(dim_text(module, dim_substitute(module, dim, "H", dim_const(module, 7))), "4*N");
  CHECK(dim_substitute(module, dim, "W", dim_const(module, 7)) == dim);
  module_free(module);
}

int main(void) {
  RUN(simplified_evaluates_like_plain);
  RUN(text_reads_back_as_the_same_text);
  RUN(canonical_forms);
  RUN(overflow_is_not_simplified_away);
  RUN(a_growing_expression_ends_in_an_error);
  RUN(substitution);
  return tests_finish();
}
