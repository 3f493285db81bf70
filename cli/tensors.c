/* tensors.c -- showing and saving tensors. */
#include "cli/program.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* ---- Showing ---- */

static const char *string_at(const Tensor *tensor, int64_t index) {
  const char *text = ((const char *const *)tensor->data)[index];
  return text ? text : "";
}

static void show_string(const char *text) {
  putchar('"');
  for (; *text; text++)
    if (*text == '"' || *text == '\\')
      printf("\\%c", *text);
    else if ((unsigned char)*text < ' ')
      printf("\\x%02x", (unsigned)*text);
    else
      putchar(*text);
  putchar('"');
}

static void show_element(const Tensor *tensor, int64_t index) {
  if (tensor->dtype == DTYPE_STRING)
    show_string(string_at(tensor, index));
  else if (dtype_is_int(tensor->dtype))
    printf("%lld", (long long)dtype_get_int(tensor->dtype, tensor->data, index));
  else if (tensor->dtype == DTYPE_BOOL)
    printf("%s", dtype_get_int(tensor->dtype, tensor->data, index) ? "true" : "false");
  else
    printf("%.6g", dtype_get(tensor->dtype, tensor->data, index));
}

static bool has_numbers(const Tensor *tensor) {
  return dtype_is_float(tensor->dtype) || dtype_is_int(tensor->dtype) || tensor->dtype == DTYPE_BOOL;
}

static void show_statistics(const Tensor *tensor, int64_t count) {
  double min = INFINITY, max = -INFINITY, sum = 0;
  for (int64_t i = 0; i < count; i++) {
    double x = dtype_get(tensor->dtype, tensor->data, i);
    min = x < min || isnan(x) ? x : min;
    max = x > max || isnan(x) ? x : max;
    sum += x;
  }
  printf(" min %.6g max %.6g mean %.6g", min, max, sum / (double)count);
}

static void show_list(const char *name, const Tensor *list) {
  char inner[256];
  printf("%s: %lld tensors\n", name, (long long)list->dims[0]);
  for (int64_t i = 0; i < list->dims[0]; i++) {
    snprintf(inner, sizeof inner, "%.200s[%lld]", name, (long long)i);
    tensor_show(inner, (const Tensor *)list->data + i);
  }
}

void tensor_show(const char *name, const Tensor *tensor) {
  enum { FIRST = 8 };
  char shape[512];
  if (tensor->kind == TENSOR_LIST) {
    show_list(name, tensor);
    return;
  }
  if (tensor->kind == TENSOR_ABSENT) {
    printf("%s: absent\n", name);
    return;
  }
  int64_t count = tensor_count(tensor);
  tensor_shape_text(tensor, shape, sizeof shape);
  printf("%s: %s", name, shape);
  if ((has_numbers(tensor) || tensor->dtype == DTYPE_STRING) && count > 0) {
    if (has_numbers(tensor)) show_statistics(tensor, count);
    printf("\n ");
    for (int64_t i = 0; i < count && i < FIRST; i++) {
      printf(" ");
      show_element(tensor, i);
    }
    if (count > FIRST) printf(" ...");
  }
  printf("\n");
}

/* ---- Saving ---- */

/* Makes the folder and those above it. */
static bool make_folders(Module *module, const char *directory) {
  char *path = arena_printf(module->arena, "%s", directory);
  for (char *slash = path; (slash = strchr(slash + 1, '/'));) {
    *slash = '\0';
    mkdir(path, 0777);
    *slash = '/';
  }
  if (mkdir(path, 0777) == 0 || errno == EEXIST) return true;
  return fail(module, "cannot make '%s': %s", directory, strerror(errno));
}

bool tensor_save(Module *module, const char *directory, const char *name, const Tensor *tensor) {
  TRY(make_folders(module, directory));
  for (int64_t i = 0; tensor->kind == TENSOR_LIST && i < tensor->dims[0]; i++)
    TRY(tensor_save(module, directory, arena_printf(module->arena, "%s.%lld", name, (long long)i),
                    (const Tensor *)tensor->data + i));
  if (tensor->kind != TENSOR_DENSE) return true;
  char *path = arena_printf(module->arena, "%s/%s.npy", directory, name);
  for (char *c = path + strlen(directory) + 1; *c; c++)
    if (*c == '/' || (unsigned char)*c < ' ') *c = '_';
  return write_npy(module, path, tensor);
}
