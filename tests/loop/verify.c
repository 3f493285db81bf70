/* verify.c -- what the verifier of the loop IR refuses, and that it says which instruction and why. */
#include "tests/loop/loops.h"

/* The body of `kernel k(%x: in f32[8,N], %b: in bool[16], %y: out f32[N], %i: inout i32[64])` is refused for
 * `reason`. */
static void check_bad(const char *body, const char *reason) {
  Module *module = module_new("bad.loops");
  const char *head = "kernel k(%x: in f32[8,N], %b: in bool[16], %y: out f32[N], %i: inout i32[64]) {\n";
  Kernel *kernel = parse_one(module, arena_printf(module->arena, "%s%s\n}", head, body));
  if (!kernel) diags_print(module, stdout, 1);
  if (CHECK(kernel)) CHECK(!kernel_verify(kernel) && error_has(module, reason));
  module_free(module);
}

TEST(types) {
  check_bad("%a: f32x12 = const 0.0", "12 lanes");
  check_bad("%a: i4 = const 0\n%c: i4 = add %a, %a", "i4 is not a number");
  check_bad("%a: f8e5m2 = const 0.0\n%c: bool = eq %a, %a", "f8e5m2 is not computed with");
  check_bad("%a: u2x4 = const 0\n%c: u2 = reduce_add %a", "u2 is not a number");
  check_bad("%a: c64 = const 1", "no c64 literal but 0");
  check_bad("%a: string = const 1", "no string literal but 0");
  check_bad("%a: string = const 0\n%b: i64 = cast %a", "strings are not converted");
  check_bad("%a: c64 = const 0\n%c: f32 = cast %a", "are not converted");
  check_bad("%a: f32 = const 0.0\n%c: f8e8m0 = cast %a", "rounding to f8e8m0 is no cast");
  check_bad("%a: f32 = const 0.0\n%c: f64 = const 0.0\n%d: f32 = add %a, %c", "another type");
  check_bad("%a: f32 = const 0.0\n%c: f64 = add %a, %a", "does not follow");
  check_bad("%a: f32 = const 0.0\n%c: f32 = lt %a, 0.0", "does not follow");
  check_bad("%a: f32 = and 1.0, 2.0", "not an integer or bool");
  check_bad("%a: bool = add true, true", "not a number");
  check_bad("%a: i32 = exp 1", "not a float");
  check_bad("%a: f32 = floordiv 1.0, 2.0", "not an integer");
  check_bad("%a: i32 = fma 1, 2, 3", "not a float");
}

TEST(lanes) {
  check_bad("%a: f32x4 = const 0.0\n%c: f64x8 = cast %a", "4 lanes become 8");
  check_bad("%a: f32x4 = const 0.0\n%c: f64x4 = bitcast %a", "differ in width");
  check_bad("%a: f32x4 = const 0.0\n%c: f32 = extract %a, lane=4", "no lane 4 of 4");
  check_bad("%a: f32x4 = const 0.0\n%c: f32x2 = shuffle %a, %a, lanes=[0,8]", "8 is not in [0, 8)");
  check_bad("%a: f32x4 = const 0.0\n%c: f32x4 = reduce_add %a", "not one lane");
  check_bad("%a: f32x4 = const 0.0\n%m: boolx2 = const true\n%c: f32x4 = select %m, %a, %a",
            "not bool of 4 lanes");
  check_bad("%a: u8x16 = const 0\n%c: i32x4 = dot_u8s8 0, %a, %a",
            "needs i32 acc of L lanes and u8, i8 of 4*L");
  check_bad("%a: u8x4 = const 0\n%c: u8x4 = lookup %a", "no table");
  check_bad("%a: f32x4 = const 0.0\n%c: u8x4 = lookup %a", "needs bytes");
  check_bad("%a: f32x2 = const 0.0\n%b: i32x2 = const 0\n%c: f32x2 = pick %a, %b", "lanes by fours");
  check_bad("%a: f32x4 = const 0.0\n%b: i64x4 = const 0\n%c: f32x4 = pick %a, %b", "i32 or u32");
  check_bad("%a: f32x4 = const 0.0\n%b: i32x4 = const 0\n%c: f32x8 = pick %a, %b", "does not follow");
  check_bad("%a: f32x4 = const 0.0\n%c: f32x4 = splat %a", "not a scalar f32");
}

TEST(memory) {
  check_bad("store 1.0, %x[0, 0]", "an input is not written");
  check_bad("%a: f32 = load %b[0]", "the value is f32, the buffer bool");
  check_bad("%c: f32x4 = load %x[0, 0], axis=2", "no axis 2");
  check_bad("%c: f32x4 = load %x[0, 0], step=0", "step 0");
  check_bad("%m: boolx8 = const true\n%c: f32x4 = load %x[0, 0], mask=%m", "not bool of 4 lanes");
  check_bad("%v: i64x4 = iota\n%c: f32x4 = load %x[0, %v]", "index 1 is i64x4");
  check_bad("%v: i64x4 = iota\n%c: f32x8 = gather %x[0, %v]", "not i64 of one or all lanes");
  check_bad("%v: i32 = const 0\n%c: f32 = load %x[0, %v]", "index 1 is i32x1");
  check_bad("%m: bool = const true\nprefetch %x[0, 0], mask=%m", "without a mask");
  check_bad("view %w: f32[4] of %x\nstore 1.0, %w[0]", "an input is not written");
  check_bad("view %w: i32[4] of %x", "changes the dtype");
  check_bad("local %t: f32[4096,4096]", "locals take over");
  check_bad("local %t: f32[1000000,1000000,1000000,1000000]", "overflows");
  check_bad("local %t: f16[4] align=1", "alignment 1");
}

TEST(calls) {
  check_bad("call top_k(%x[0, :], %y, %y), largest=1", "views 2 and 1 are of the same memory");
  check_bad("local %p: i64[3]\ncall top_k(%x, %y, %p), largest=1", "view 0 has rank 2, not 1");
  check_bad("call top_k(%x[0, :], %y, %i), largest=1", "view 2 is i32, not i64");
  check_bad("local %p: i64[3]\ncall top_k(%x[0, :], %x[1, :], %p), largest=1", "an input is not written");
  check_bad("local %t: u4[4]\nlocal %p: i64[3]\ncall top_k(%t, %y, %p), largest=1",
            "view 0 is u4, which is not computed with");
  check_bad("local %p: i64[3]\ncall top_k(%b, %y, %p), largest=1", "view 1 is f32, not bool");
  check_bad("local %p: i64[3]\n%j: i32 = const 0\ncall top_k(%x[%j, :], %y, %p), largest=1",
            "index 0 is not a scalar i64");
}

TEST(control) {
  check_bad("for %k = 0 to 4 step 0 {\n}", "step 0 is not positive");
  check_bad("for %k = 0 to 4 {\n%a: i64 = add %k, 1\n}\n%c: i64 = add %a, 1",
            "argument 0 is not defined here");
  check_bad("%c: bool = const true\nif %c {\n%a: i64 = const 1\n} else {\n%d: i64 = add %a, 1\n}",
            "not defined here");
  check_bad("%r: f32 = for %k = 0 to 4 carry %a = 0.0 {\n}", "a block without yield");
  check_bad("%r: f32 = for %k = 0 to 4 carry %a = 0.0 {\n%z: f64 = const 0.0\nyield %z\n}",
            "value 0 has another type");
  check_bad("%c: bool = const true\n%r: f32 = if %c {\nyield 1.0\n}", "a block without yield");
  check_bad("%c: boolx4 = const true\nif %c {\n}", "not a scalar bool");
  check_bad("for %k = 0 to 4 {\nyield\n}", "yield ends a block");
  check_bad("sections {\n%a: i64 = const 1\n%b: i64 = add %a, 1\n} and {\n%c: i64 = add %b, 1\n}", "b");
  check_bad("local %t: f32[4] align=128", "aligned to 128");
}

TEST(names) {
  Module *module = module_new("names");
  Kernel *kernel = kernel_new(module, "two words");
  CHECK(!kernel_verify(kernel) && error_has(module, "no identifier"));
  module_free(module);
  module = module_new("names");
  kernel = kernel_new(module, "k");
  kernel_add_local(kernel, "t", DTYPE_F32, 0, NULL);
  kernel_add_local(kernel, "t", DTYPE_F32, 0, NULL);
  CHECK(!kernel_verify(kernel) && error_has(module, "two things are named 't'"));
  module_free(module);
}

int main(void) {
  RUN(types);
  RUN(lanes);
  RUN(memory);
  RUN(calls);
  RUN(control);
  RUN(names);
  return tests_finish();
}
