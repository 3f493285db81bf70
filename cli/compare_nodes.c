/*
 * compare_nodes.c -- `tenon compare --per-node`: where two graphs part, value by value.
 *
 * Every named value becomes an output before the graphs are optimised, so fewer operators fuse than in the
 * models as they are. Values are matched by name. A ULP is the step between neighbouring floats of the
 * value's type, at the reference.
 */
#include "cli/compare.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- Differences */

static const struct {
  double below; /* ULPs */
  const char *title;
} buckets[] = {{0.5, "0"}, {1.5, "1"}, {4.5, "2-4"}, {32.5, "5-32"}, {1024.5, "33-1K"}, {INFINITY, "more"}};

enum { BUCKETS = COUNT_OF(buckets) };

static int mantissa_bits(Dtype dtype) {
  const FloatFormat *format = dtype_format(dtype);
  return format ? format->mantissa_bits : dtype == DTYPE_F64 ? 52 : 23;
}

static int bucket_of(double a, double b, int bits) {
  int exponent, bucket = 0;
  if (a == b || (isnan(a) && isnan(b))) return 0;
  if (b == 0)
    exponent = -125; /* of the smallest normal f32 */
  else
    frexp(b, &exponent);
  double ulps = fabs(a - b) / ldexp(1, exponent - 1 - bits);
  while (bucket < BUCKETS - 1 && !(ulps < buckets[bucket].below)) bucket++;
  return bucket;
}

static void print_histogram(const Tensor *a, const Tensor *b) {
  int64_t counts[BUCKETS] = {0}, count = tensor_count(a);
  int bits = mantissa_bits(a->dtype);
  for (int64_t i = 0; i < count; i++)
    counts[bucket_of(dtype_get(a->dtype, a->data, i), dtype_get(b->dtype, b->data, i), bits)]++;
  for (int i = 0; i < BUCKETS; i++)
    if (counts[i])
      printf(" %5.1f", 100.0 * (double)counts[i] / (double)(count ? count : 1));
    else
      printf("     .");
}

static void print_head(int width) {
  printf("%-*s  %-22s %9s %8s", width, "value", "type", "max abs", "SQNR dB");
  for (int i = 0; i < BUCKETS; i++) printf(" %5s", buckets[i].title);
  printf("  %% of the elements off by so many ULPs\n");
}

static bool can_differ(const Tensor *tensor) {
  return tensor->kind == TENSOR_DENSE && tensor->dtype != DTYPE_STRING && !dtype_is_complex(tensor->dtype);
}

/* Whether it is within the tolerance; *first_wrong gets where not. */
static bool print_value(const char *name, int width, const Tensor *a, const Tensor *b, double atol,
                        double rtol, int64_t *first_wrong) {
  char shape[512];
  tensor_shape_text(a, shape, sizeof shape);
  Difference d = tensor_difference(a, b, atol, rtol);
  printf("%-*s  %-22s %9.3g %8.1f", width, name, shape, d.max_abs, d.sqnr);
  if (dtype_is_float(a->dtype)) print_histogram(a, b);
  printf("\n");
  *first_wrong = d.first_wrong;
  return d.wrong == 0;
}

static void print_parting(const char *name, const Tensor *a, const Tensor *b, int64_t index) {
  printf("they part first at '%s', element %lld: %.9g and %.9g\n", name, (long long)index,
         dtype_get(a->dtype, a->data, index), dtype_get(b->dtype, b->data, index));
}

bool compare_values(const Program *a, const Tensor *a_values, const Program *b, const Tensor *b_values,
                    double atol, double rtol) {
  int width = 5, shared = 0, parting = -1, partner_of_parting = 0;
  int64_t first = 0, wrong;
  for (int i = 0; i < a->output_count; i++) {
    int length = (int)strlen(a->outputs[i].name);
    width = length > width ? length : width;
  }
  print_head(width);
  for (int i = 0; i < a->output_count; i++) {
    const char *name = a->outputs[i].name;
    int j = find_port(b->outputs, b->output_count, name);
    if (j < 0 || !can_differ(&a_values[i]) || a_values[i].dtype != b_values[j].dtype ||
        !tensor_same_shape(&a_values[i], &b_values[j]))
      continue;
    bool same = print_value(name, width, &a_values[i], &b_values[j], atol, rtol, &wrong);
    shared++;
    if (!same && parting < 0) parting = i, partner_of_parting = j, first = wrong;
  }
  printf("%d values of %d and %d have the same name and type\n", shared, a->output_count, b->output_count);
  if (parting < 0) return true;
  print_parting(a->outputs[parting].name, &a_values[parting], &b_values[partner_of_parting], first);
  return false;
}
