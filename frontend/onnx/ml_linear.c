/*
 * ml_linear.c -- linear models and support vector machines of ai.onnx.ml.
 *
 * A support vector machine compares x with its vectors by a kernel function, K [N, vectors], and combines:
 * one sum for a regressor, one for each pair of classes for a classifier. What the specification does not say
 * is libsvm's: the class with the most won pairs is the label, whatever the probabilities, and these come
 * from a logistic function of every pair's sum by iteration (pairwise_coupling).
 */
#include "frontend/onnx/ml.h"

#include <string.h>

/* x as f32 rows. */
static Value *float_rows(OnnxNode *node) {
  return emit_cast(node, ml_rows(node, input(node, 0)), DTYPE_F32);
}

static bool features_of(OnnxNode *node, const Value *x, int64_t *features) {
  const Dim *dim = x->type->dims[1];
  *features = dim->value;
  return dim_is_const(dim) || onnx_fail(node, "the number of features, %s, is not known: give it with --dim",
                                        dim_text(node->module, dim));
}

/* x [N,K] times w [M,K] transposed, + bias [M] or, with one element, the same for all. */
static Value *product(OnnxNode *node, Value *x, const float *w, int64_t m, int64_t k, Value *bias) {
  float *columns = NEW_ARRAY(node->module->arena, float, m *k);
  for (int64_t i = 0; i < m; i++)
    for (int64_t j = 0; j < k; j++) columns[j * m + i] = w[i * k + j];
  Value *weights = float_constant(node, DTYPE_F32, columns, 2, (int64_t[]){k, m});
  return x && weights ? emit(node, &op_gemm, (Value *[]){x, weights, bias}, bias ? 3 : 2) : NULL;
}

static Value *vector(OnnxNode *node, const float *values, int64_t count) {
  return float_constant(node, DTYPE_F32, values, 1, &count);
}

/* ---- Linear models */

/* [N,targets], the coefficients by target. */
static Value *linear(OnnxNode *node, int64_t *targets) {
  int count, intercepts;
  int64_t features;
  Value *x = float_rows(node);
  const float *w = attr_floats(node, "coefficients", &count),
              *b = attr_floats(node, "intercepts", &intercepts);
  if (!x || !features_of(node, x, &features)) return NULL;
  if (*targets == 0) *targets = intercepts ? intercepts : features ? count / features : 0;
  if (*targets < 1 || features < 1 || count != *targets * features ||
      (intercepts && intercepts != *targets)) {
    onnx_fail(node, "%d coefficients and %d intercepts for %lld features", count, intercepts,
              (long long)features);
    return NULL;
  }
  return product(node, x, w, *targets, features, intercepts ? vector(node, b, intercepts) : NULL);
}

static bool import_linear_regressor(OnnxNode *node) {
  int64_t targets = attr_int(node, "targets", 1);
  Value *y = linear(node, &targets);
  return set_output(node, emit_post_transform(node, y, attr_string(node, "post_transform", "NONE")));
}

static bool import_linear_classifier(OnnxNode *node) {
  Labels labels;
  int64_t targets = 0;
  TRY(read_labels(node, "classlabels_ints", "classlabels_strings", &labels));
  Value *scores = linear(node, &targets);
  TRY(scores);
  const char *post = attr_string(node, "post_transform", "NONE");
  if (targets == 1 && labels.count == 2) {
    Value *score = ml_column(node, scores, 0);
    return set_class_outputs(node, &labels, emit_binary_class(node, &labels, score, 0),
                             emit_two_classes(node, score, post, true));
  }
  if (targets != labels.count)
    return onnx_fail(node, "%d labels for %lld rows of coefficients", labels.count, (long long)targets);
  return set_class_outputs(node, &labels, emit_best_class(node, &labels, scores),
                           emit_post_transform(node, scores, post));
}

/* ---- Kernel functions */

static Value *scaled(OnnxNode *node, Value *x, double factor, double offset) {
  x = emit_binary(node, &op_mul, x, emit_scalar(node, x, factor));
  return offset == 0 ? x : emit_binary(node, &op_add, x, emit_scalar(node, x, offset));
}

/* exp(-gamma |x-s|^2), of |x|^2 + |s|^2 - 2 x*s: around the mean of the vectors, where the least is lost. */
static Value *radial(OnnxNode *node, Value *x, const float *vectors, int64_t count, int64_t features,
                     double gamma) {
  Arena *arena = node->module->arena;
  float *mean = NEW_ARRAY(arena, float, features), *centred = NEW_ARRAY(arena, float, count *features);
  float *squares = NEW_ARRAY(arena, float, count);
  for (int64_t k = 0; k < features; k++) {
    double sum = 0;
    for (int64_t i = 0; i < count; i++) sum += (double)vectors[i * features + k];
    mean[k] = (float)(sum / (double)count);
  }
  for (int64_t i = 0; i < count; i++) {
    double sum = 0;
    for (int64_t k = 0; k < features; k++) {
      float c = centred[i * features + k] = vectors[i * features + k] - mean[k];
      sum += (double)c * (double)c;
    }
    squares[i] = (float)sum;
  }
  x = emit_binary(node, &op_sub, x, vector(node, mean, features));
  Value *products = product(node, x, centred, count, features, NULL);
  Value *own = emit_reduce(node, &op_reduce_sum, emit_binary(node, &op_mul, x, x), (int64_t[]){1}, 1);
  Value *distance = emit_binary(node, &op_add, own, vector(node, squares, count));
  distance = emit_binary(node, &op_sub, distance, scaled(node, products, 2, 0));
  return emit_unary(node, &op_exp, scaled(node, emit_unary(node, &op_relu, distance), -gamma, 0));
}

/* K [N,count]: of every row of x and every vector. */
static Value *kernel_function(OnnxNode *node, Value *x, const float *vectors, int64_t count,
                              int64_t features) {
  int params;
  const float *given = attr_floats(node, "kernel_params", &params);
  double p[3] = {0, 0, 0}; /* gamma, coef0, degree */
  for (int i = 0; i < params && i < 3; i++) p[i] = (double)given[i];
  const char *type = attr_string(node, "kernel_type", "LINEAR");
  if (strcmp(type, "RBF") == 0) return radial(node, x, vectors, count, features, p[0]);
  Value *products = product(node, x, vectors, count, features, NULL);
  if (strcmp(type, "LINEAR") == 0) return products;
  products = scaled(node, products, p[0], p[1]);
  if (strcmp(type, "SIGMOID") == 0) return emit_unary(node, &op_tanh, products);
  if (strcmp(type, "POLY") == 0)
    return emit_binary(node, &op_pow, products, emit_scalar(node, products, p[2]));
  onnx_fail(node, "kernel_type '%s' is not known", type);
  return NULL;
}

/* ---- Support vector machines */

typedef struct Machine {
  Value *x;
  int64_t features, vectors; /* 0 vectors: linear, coefficients are for features */
  const float *support, *coefficients, *rho;
  int support_count, coefficient_count, rho_count;
} Machine;

static bool read_machine(OnnxNode *node, int64_t vectors, Machine *m) {
  *m = (Machine){.x = float_rows(node), .vectors = vectors};
  TRY(m->x && features_of(node, m->x, &m->features));
  m->support = attr_floats(node, "support_vectors", &m->support_count);
  m->coefficients = attr_floats(node, "coefficients", &m->coefficient_count);
  m->rho = attr_floats(node, "rho", &m->rho_count);
  if (vectors < 0 || vectors > INT32_MAX || (vectors && m->support_count / vectors != m->features) ||
      (vectors && m->support_count % vectors))
    return onnx_fail(node, "%d numbers in support_vectors, for %lld vectors of %lld features",
                     m->support_count, (long long)vectors, (long long)m->features);
  return m->rho_count > 0 || onnx_fail(node, "rho is missing");
}

static bool import_svm_regressor(OnnxNode *node) {
  Machine m;
  TRY(read_machine(node, attr_int(node, "n_supports", 0), &m));
  int64_t width = m.vectors ? m.vectors : m.features;
  if (m.coefficient_count != width)
    return onnx_fail(node, "%d coefficients, %lld are wanted", m.coefficient_count, (long long)width);
  Value *k = m.vectors ? kernel_function(node, m.x, m.support, m.vectors, m.features) : m.x;
  Value *y = product(node, k, m.coefficients, 1, width, vector(node, m.rho, 1));
  if (attr_int(node, "one_class", 0) == 0)
    return set_output(node, emit_post_transform(node, y, attr_string(node, "post_transform", "NONE")));
  Value *inside = emit_binary(node, &op_greater, y, emit_scalar(node, y, 0));
  return set_output(node, emit_where(node, inside, emit_scalar(node, y, 1), emit_scalar(node, y, -1)));
}

/* The classes' vectors follow each other. A pair (i,j) of classes sums the vectors of i with row j-1 of the
 * coefficients and those of j with row i, as libsvm stores them. */
static Value *pair_sums(OnnxNode *node, const Machine *m, Value *kernel, const int64_t *sizes, int classes) {
  int pairs = classes * (classes - 1) / 2, pair = 0;
  float *w = NEW_ARRAY(node->module->arena, float, pairs * m->vectors);
  for (int64_t i = 0, first_i = 0; i < classes; first_i += sizes[i++])
    for (int64_t j = i + 1, first_j = first_i + sizes[i]; j < classes; first_j += sizes[j++], pair++) {
      float *row = w + pair * m->vectors;
      for (int64_t v = 0; v < sizes[i]; v++)
        row[first_i + v] = m->coefficients[(j - 1) * m->vectors + first_i + v];
      for (int64_t v = 0; v < sizes[j]; v++) row[first_j + v] = m->coefficients[i * m->vectors + first_j + v];
    }
  return product(node, kernel, w, pairs, m->vectors, vector(node, m->rho, pairs));
}

/* [N,classes]: how many pairs each class wins; a sum over 0 is for the first of the pair. */
static Value *votes_of(OnnxNode *node, Value *sums, int classes) {
  int pairs = classes * (classes - 1) / 2, pair = 0;
  float *w = NEW_ARRAY(node->module->arena, float, classes *pairs),
        *base = NEW_ARRAY(node->module->arena, float, classes);
  for (int i = 0; i < classes; i++)
    for (int j = i + 1; j < classes; j++, pair++) {
      w[i * pairs + pair] = 1;
      w[j * pairs + pair] = -1;
      base[j]++;
    }
  Value *won = emit_binary(node, &op_greater, sums, emit_scalar(node, sums, 0));
  return product(node, emit_cast(node, won, DTYPE_F32), w, classes, pairs, vector(node, base, classes));
}

/* Probabilities of the classes: of each pair 1/(1+exp(a*sum+b)), then what fits all pairs best. */
static Value *probabilities(OnnxNode *node, Value *sums, const float *a, const float *b, int classes) {
  int pairs = classes * (classes - 1) / 2;
  Value *x = emit_binary(node, &op_mul, sums, vector(node, a, pairs));
  x = emit_binary(node, &op_add, x, vector(node, b, pairs));
  x = emit_unary(node, &op_sigmoid, emit_unary(node, &op_neg, x));
  x = emit_cast(node, x, DTYPE_F64);
  Value *low = emit_scalar(node, x, 1e-7), *high = emit_scalar(node, x, 1 - 1e-7);
  if (!x || !low || !high) return NULL;
  x = emit(node, &op_clip, (Value *[]){x, low, high}, 3);
  return emit_cast(node, emit_unary(node, &op_pairwise_coupling, x), DTYPE_F32);
}

static bool check_machine(OnnxNode *node, const Machine *m, const int64_t *sizes, int classes) {
  enum { MAX_WEIGHTS = 1 << 28 };
  int64_t pairs = (int64_t)classes * (classes - 1) / 2;
  for (int i = 0; i < classes; i++)
    if (sizes[i] < 0) return onnx_fail(node, "vectors_per_class has %lld", (long long)sizes[i]);
  if (m->coefficient_count != (classes - 1) * m->vectors || m->rho_count < pairs)
    return onnx_fail(node, "%d coefficients and %d rho, for %lld vectors and %lld pairs of classes",
                     m->coefficient_count, m->rho_count, (long long)m->vectors, (long long)pairs);
  return pairs * m->vectors <= MAX_WEIGHTS ||
         onnx_fail(node, "%lld pairs of classes with %lld vectors", (long long)pairs, (long long)m->vectors);
}

static bool import_pairs(OnnxNode *node, const Labels *labels, const Machine *m, const int64_t *sizes) {
  int classes = labels->count, a_count, b_count;
  const float *a = attr_floats(node, "prob_a", &a_count), *b = attr_floats(node, "prob_b", &b_count);
  const char *post = attr_string(node, "post_transform", "NONE");
  int64_t pairs = (int64_t)classes * (classes - 1) / 2;
  TRY(check_machine(node, m, sizes, classes));
  if (a_count != b_count || (a_count && a_count < pairs))
    return onnx_fail(node, "%d prob_a and %d prob_b for %lld pairs of classes", a_count, b_count,
                     (long long)pairs);
  Value *kernel = kernel_function(node, m->x, m->support, m->vectors, m->features);
  Value *sums = pair_sums(node, m, kernel, sizes, classes);
  TRY(sums);
  Value *label = emit_best_class(node, labels, votes_of(node, sums, classes)), *scores;
  if (a_count)
    scores = emit_post_transform(node, probabilities(node, sums, a, b, classes), post);
  else if (classes == 2)
    scores = emit_two_classes(node, ml_column(node, sums, 0), post, strcmp(post, "NONE") != 0);
  else
    scores = emit_post_transform(node, sums, post);
  return set_class_outputs(node, labels, label, scores);
}

/* Without vectors: a row of coefficients for every class. The label of two classes depends on the larger
 * score as ONNX Runtime has it. */
static bool import_linear_machine(OnnxNode *node, const Labels *labels, const Machine *m) {
  if (m->coefficient_count != labels->count * m->features)
    return onnx_fail(node, "%d coefficients for %d classes and %lld features", m->coefficient_count,
                     labels->count, (long long)m->features);
  Value *scores = product(node, m->x, m->coefficients, labels->count, m->features, NULL);
  scores = emit_binary(node, &op_add, scores, vector(node, m->rho, 1));
  Value *label = emit_best_class(node, labels, scores);
  if (labels->count == 2) {
    bool all_positive = true;
    for (int i = 0; i < m->coefficient_count; i++) all_positive &= m->coefficients[i] >= 0;
    Value *score = emit_binary(node, &op_max, ml_column(node, scores, 0), ml_column(node, scores, 1));
    Op const *over = all_positive ? &op_greater_or_equal : &op_greater;
    Value *second = emit_binary(node, over, score, emit_scalar(node, score, all_positive ? 0.5 : 0));
    label = emit_where(node, second, emit_label(node, labels, 1), label);
  }
  return set_class_outputs(node, labels, label,
                           emit_post_transform(node, scores, attr_string(node, "post_transform", "NONE")));
}

static bool import_svm_classifier(OnnxNode *node) {
  enum { MAX_CLASSES = 1 << 10 };
  Labels labels;
  Machine m;
  int count;
  int64_t vectors = 0;
  const int64_t *sizes = attr_ints(node, "vectors_per_class", &count);
  TRY(read_labels(node, "classlabels_ints", "classlabels_strings", &labels));
  if (labels.count > MAX_CLASSES) return onnx_fail(node, "%d classes", labels.count);
  for (int i = 0; i < count; i++) vectors += sizes[i] < INT32_MAX ? sizes[i] : INT32_MAX;
  TRY(read_machine(node, vectors, &m));
  if (vectors == 0) return import_linear_machine(node, &labels, &m);
  if (count != labels.count || count < 2)
    return onnx_fail(node, "%d labels for %d classes of vectors", labels.count, count);
  return import_pairs(node, &labels, &m, sizes);
}

static const OnnxRow rows[] = {
    {"ai.onnx.ml.LinearClassifier", 1, 1, 1, import_linear_classifier, NULL},
    {"ai.onnx.ml.LinearRegressor", 1, 1, 1, import_linear_regressor, NULL},
    {"ai.onnx.ml.SVMClassifier", 1, 1, 1, import_svm_classifier, NULL},
    {"ai.onnx.ml.SVMRegressor", 1, 1, 1, import_svm_regressor, NULL},
};

const OnnxRows onnx_ml_linear = {rows, COUNT_OF(rows)};
