/* interpret.c -- what kernels compute, and which mistakes the interpreter traps. */
#include "tests/loop/loops.h"

#include <math.h>

enum { MAX_SIZE = 64 };

/* Parses, verifies, runs; the first param is the output. Symbol N is 5. Returns whether it ran. */
static bool run(Module *module, const char *text, void *y, void *x, void *z) {
  Kernel *kernel = parse_one(module, text);
  if (!kernel || !kernel_verify(kernel)) {
    diags_print(module, stdout, 1);
    CHECK(!"a good kernel");
    return false;
  }
  return kernel_interpret(kernel, (void *[]){y, x, z}, (const char *[]){"N"}, (const int64_t[]){5}, 1);
}

#define RUN_KERNEL(y, x, text) (module = module_new("t"), run(module, text, y, x, NULL))
#define DONE() module_free(module)

TEST(carried) {
  Module *module;
  float x[20], y[5];
  for (int i = 0; i < 20; i++) x[i] = (float)i;
  CHECK(RUN_KERNEL(y, x,
                   "kernel k(%y: out f32[N], %x: in f32[N,4]) {\n"
                   "parallel %i = 0 to dim(N) {\n"
                   "%s: f32, %n: i64 = for %j = 0 to 4 carry %acc = 0.0, %c = 0 {\n"
                   "%v: f32 = load %x[%i, %j]\n%a: f32 = add %acc, %v\n%d: i64 = add %c, 2\nyield %a, %d\n}\n"
                   "%f: f32 = cast %n\n%r: f32 = add %s, %f\nstore %r, %y[%i]\n}\n}"));
  for (int i = 0; i < 5; i++) CHECK_NEAR(y[i], 16 * i + 6 + 8, 0);
  DONE();
}

TEST(carried_values_swap) {
  Module *module;
  int64_t y[2];
  CHECK(RUN_KERNEL(y, NULL,
                   "kernel k(%y: out i64[2]) {\n"
                   "%a: i64, %b: i64 = for %i = 0 to 3 carry %p = 1, %q = 2 {\nyield %q, %p\n}\n"
                   "store %a, %y[0]\nstore %b, %y[1]\n}"));
  CHECK_INT(y[0], 2);
  CHECK_INT(y[1], 1);
  DONE();
}

TEST(no_iteration_gives_the_initial_value) {
  Module *module;
  int32_t y;
  CHECK(RUN_KERNEL(&y, NULL,
                   "kernel k(%y: out i32) {\n%a: i32 = for %i = 3 to -2 carry %p = 7 {\nyield 8\n}\n"
                   "store %a, %y[]\n}"));
  CHECK_INT(y, 7);
  DONE();
}

TEST(masks) {
  Module *module;
  float x[5] = {1, 2, 3, 4, 5}, y[5];
  CHECK(RUN_KERNEL(
      y, x,
      "kernel k(%y: out f32[N], %x: in f32[N]) {\n"
      "for %i = 0 to dim(N) step 4 {\n%n: i64 = sub dim(N), %i\n%m: boolx4 = lanes_below %n\n"
      "%v: f32x4 = load %x[%i], mask=%m\n%w: f32x4 = mul %v, 2.0\nstore %w, %y[%i], mask=%m\n}\n}"));
  for (int i = 0; i < 5; i++) CHECK_NEAR(y[i], 2 * (i + 1), 0);
  DONE();
}

TEST(strides_and_gathers) {
  Module *module;
  float x[20], y[4];
  for (int i = 0; i < 20; i++) x[i] = (float)i;
  CHECK(RUN_KERNEL(y, x,
                   "kernel k(%y: out f32[4], %x: in f32[5,4]) {\n"
                   "%a: f32x4 = load %x[4, 1], axis=0, step=-1\n"
                   "%l: i64x4 = iota\n%g: f32x4 = gather %x[%l, %l]\n"
                   "%s: f32x4 = add %a, %g\n%r: i64x4 = sub 3, %l\nscatter %s, %y[%r]\n}"));
  for (int i = 0; i < 4; i++) CHECK_NEAR(y[3 - i], (4 - i) * 4 + 1 + 5 * i, 0);
  DONE();
}

TEST(views_locals_and_if) {
  Module *module;
  int32_t y[4];
  CHECK(RUN_KERNEL(y, NULL,
                   "kernel k(%y: out i32[2,2]) {\n"
                   "local %t: i32[4]\nview %f: i32[4] of %y\nview %c: i32[2] of %y offset=1 strides=[2]\n"
                   "parallel %i = 0 to 4 {\n%v: i32 = cast %i\nstore %v, %t[%i]\n%w: i32 = load %t[%i]\n"
                   "store %w, %f[%i]\n}\n%e: i32 = load %c[1]\n%b: bool = eq %e, 3\n"
                   "%r: i32 = if %b {\nyield 10\n} else {\nyield 20\n}\nstore %r, %c[0]\n}"));
  CHECK_INT(y[0], 0);
  CHECK_INT(y[1], 10);
  CHECK_INT(y[3], 3);
  DONE();
}

TEST(calls) {
  Module *module;
  float x[20];
  int64_t y[10];
  for (int i = 0; i < 20; i++) x[i] = (float)(i * 7 % 20);
  CHECK(RUN_KERNEL(y, x,
                   "kernel k(%y: out i64[5,2], %x: in f32[5,4]) {\nlocal %v: f32[2]\n"
                   "parallel %i = 0 to dim(N) {\ncall top_k(%x[%i, :], %v, %y[%i, :]), largest=1\n"
                   "%a: f32 = load %v[1]\n}\n}"));
  const int64_t expected[] = {2, 1, 1, 3, 3, 0, 2, 1, 1, 3}; /* rows 0 7 14 1, 8 15 2 9, 16 3 10 17, ... */
  for (int i = 0; i < 10; i++) CHECK_INT(y[i], expected[i]);
  DONE();
}

TEST(dots) {
  Module *module;
  int32_t y[2];
  uint8_t x[8] = {255, 255, 255, 255, 1, 2, 3, 4};
  int8_t w[8] = {127, 127, 127, 127, -1, -2, -3, -128};
  module = module_new("t");
  CHECK(run(
      module,
      "kernel k(%y: out i32[2], %x: in u8[8], %w: in i8[8]) {\n%a: u8x8 = load %x[0]\n%b: i8x8 = load %w[0]\n"
      "%d: i32x2 = dot_u8s8 100, %a, %b\nstore %d, %y[0]\n}",
      y, x, w));
  CHECK_INT(y[0], 100 + 4 * 255 * 127);
  CHECK_INT(y[1], 100 - 1 - 4 - 9 - 512);
  DONE();
}

/* ---- scalars, by a table ---- */

typedef struct IntCase {
  const char *text; /* of one instruction that defines %r */
  int64_t want;
} IntCase;

static const IntCase int_cases[] = {
    {"%r: i8 = add 127, 1", -128},
    {"%r: u8 = sub 0, 1", 255},
    {"%r: i32 = mul 65536, 65536", 0},
    {"%r: i64 = neg -9223372036854775808", INT64_MIN},
    {"%r: i32 = abs -2147483648", INT32_MIN},
    {"%r: i32 = div -7, 2", -3},
    {"%r: i32 = rem -7, 2", -1},
    {"%r: i32 = floordiv -7, 2", -4},
    {"%r: i32 = floormod -7, 2", 1},
    {"%r: i32 = floormod 7, -2", -1},
    {"%r: i64 = div -9223372036854775808, -1", INT64_MIN},
    {"%r: i64 = rem -9223372036854775808, -1", 0},
    {"%r: u64 = div 18446744073709551615, 2", INT64_MAX},
    {"%r: u64 = max 18446744073709551615, 1", -1},
    {"%r: i8 = shl 1, 7", -128},
    {"%r: i8 = shl 1, 8", 0},
    {"%r: i8 = shr -128, 100", -1},
    {"%r: u8 = shr 255, 4", 15},
    {"%r: u8 = shr 255, 9", 0},
    {"%r: u8 = not 1", 254},
    {"%r: bool = not true", 0},
    {"%f: f32 = const 300.7\n%r: u8 = cast %f", 255},
    {"%f: f32 = const -300.7\n%r: i8 = cast %f", -128},
    {"%f: f32 = const -1.9\n%r: i8 = cast %f", -1},
    {"%f: f32 = const nan\n%r: i32 = cast %f", 0},
    {"%f: f64 = const 1e+30\n%r: u64 = cast %f", -1},
    {"%f: i32 = const 511\n%r: i8 = cast %f", -1},
    {"%f: f32 = const nan\n%r: bool = cast %f", 1},
    {"%f: f32 = const 1.0\n%r: i32 = bitcast %f", 0x3f800000},
    {"%f: f32 = const nan\n%r: bool = ne %f, 0.0", 1},
    {"%f: f32 = const nan\n%r: bool = ge %f, 0.0", 0},
    {"%f: u64 = const 18446744073709551615\n%r: bool = lt %f, 1", 0},
    {"%v: i64x8 = iota\n%r: i64 = reduce_max %v", 7},
    {"%v: i64x4 = iota\n%w: i64x4 = shuffle %v, %v, lanes=[3,3,0,1]\n%r: i64 = extract %w, lane=2", 0},
};

TEST(integers) {
  for (int i = 0; i < COUNT_OF(int_cases); i++) {
    Module *module = module_new("t");
    const char *at = strstr(int_cases[i].text, "%r: ") + 4;
    int64_t y = 0;
    char *text =
        arena_printf(module->arena, "kernel k(%%y: out i64) {\n%s\n%%z: i64 = %s\nstore %%z, %%y[]\n}",
                     int_cases[i].text, strncmp(at, "i64", 3) == 0 ? "add %r, 0" : "cast %r");
    if (!CHECK(run(module, text, &y, NULL, NULL)) || y != int_cases[i].want) {
      printf("%s: %lld, not %lld\n", int_cases[i].text, (long long)y, (long long)int_cases[i].want);
      CHECK(!"the right integer");
    }
    module_free(module);
  }
}

typedef struct FloatCase {
  const char *text;
  double want;
} FloatCase;

static const FloatCase float_cases[] = {
    {"%r: f32 = max nan, 1.0", 1},
    {"%r: f32 = min 1.0, nan", NAN},
    {"%r: f32 = round 2.5", 2},
    {"%r: f32 = round -3.5", -4},
    {"%r: f32 = trunc -3.5", -3},
    {"%r: f32 = rem -7.5, 2.0", -1.5},
    {"%r: f32 = div 1.0, 0.0", INFINITY},
    {"%r: f32 = fma 2.0, 3.0, 4.0", 10},
    {"%r: f32 = pow 2.0, 10.0", 1024},
    {"%r: f32 = erf 0.0", 0},
    {"%c: bool = const true\n%r: f32 = select %c, 1.0, 2.0", 1},
    {"%i: i32 = const 16777217\n%r: f32 = cast %i", 16777216},
    {"%i: f64 = const 0.1\n%r: f32 = cast %i", 0.1f},
    {"%i: f32 = const 1.001\n%h: bf16 = cast %i\n%r: f32 = cast %h", 1},
    {"%v: f32x4 = const 0.25\n%r: f32 = reduce_add %v", 1},
};

TEST(floats) {
  for (int i = 0; i < COUNT_OF(float_cases); i++) {
    Module *module = module_new("t");
    float y = 0;
    char *text =
        arena_printf(module->arena, "kernel k(%%y: out f32) {\n%s\nstore %%r, %%y[]\n}", float_cases[i].text);
    double want = float_cases[i].want;
    if (!CHECK(run(module, text, &y, NULL, NULL)) || !(y == want || (isnan(want) && isnan(y)))) {
      printf("%s: %g, not %g\n", float_cases[i].text, y, want);
      CHECK(!"the right float");
    }
    module_free(module);
  }
}

/* ---- traps ---- */

static void check_trap(const char *body, const char *reason) {
  Module *module = module_new("t");
  float x[20] = {0}, y[20] = {0};
  char *text = arena_printf(module->arena, "kernel k(%%y: out f32[N,4], %%x: in f32[N,4]) {\n%s\n}", body);
  CHECK(!run(module, text, y, x, NULL) && error_has(module, reason) && error_has(module, "kernel 'k'"));
  module_free(module);
}

TEST(traps) {
  check_trap("%a: f32 = load %x[5, 0]", "`%a: f32 = load %x[5, 0]`: index 0 is 5 in lane 0, outside [0, 5)");
  check_trap("%a: f32 = load %x[0, -1]", "index 1 is -1 in lane 0, outside [0, 4)");
  check_trap("%a: f32x4 = load %x[0, 1]", "index 1 is 4 in lane 3");
  check_trap("%a: f32x4 = load %x[2, 0], axis=0, step=-1", "index 0 is -1 in lane 3");
  check_trap("%v: i64x8 = iota\n%a: f32x8 = gather %x[%v, 0]", "index 0 is 5 in lane 5");
  check_trap("store 1.0, %y[0, 4]", "index 1 is 4");
  check_trap("view %w: f32[30] of %x\n%a: f32 = load %w[25]",
             "element 25 is outside the 20 of the memory behind w");
  check_trap("%a: f32 = load %y[0, 0]", "never written");
  check_trap("local %t: f32[4]\nstore 1.0, %t[1]\n%a: f32x4 = load %t[0]", "lane 0 reads an element of t");
  check_trap("local %t: f32[4]\nparallel %i = 0 to 2 {\n%c: bool = eq %i, 0\nif %c {\nstore 1.0, %t[0]\n}\n"
             "%a: f32 = load %t[0]\n}",
             "never written");
  check_trap("local %p: i64[2]\nlocal %v: f32[2]\ncall top_k(%x[5, :], %v, %p), largest=1",
             "view 0: index 0 is 5, outside [0, 5)");
  check_trap("local %p: i64[2]\nlocal %v: f32[2]\ncall top_k(%y[0, :], %v, %p), largest=1",
             "view 0 has an element of y that was never written");
  check_trap("local %p: i64[2]\nlocal %v: f32[2]\nview %w: f32[30] of %x\ncall top_k(%w, %v, %p), largest=1",
             "view 0 has element 20, outside the 20 of the memory behind w");
  check_trap("%a: i32 = div 1, 0", "division by zero");
  check_trap("%a: i64 = dim(Q)", "the size Q has no value");
}

int main(void) {
  RUN(carried);
  RUN(carried_values_swap);
  RUN(no_iteration_gives_the_initial_value);
  RUN(masks);
  RUN(strides_and_gathers);
  RUN(views_locals_and_if);
  RUN(calls);
  RUN(dots);
  RUN(integers);
  RUN(floats);
  RUN(traps);
  return tests_finish();
}
