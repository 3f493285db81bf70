/*
 * profile.c -- `tenon bench --profile`: each kernel's time against the machine's roofline.
 *
 * The roof of a kernel is the time that its multiplications take at the measured peak, or that its bytes take
 * to be read from the smallest level of memory that holds them, whichever is more; with several threads,
 * their share of it. Bytes are those of operands and results, so a kernel that reads some twice looks slower
 * than it is. A library has no graph: of it only times and multiplications are known.
 */
#include "cli/profile.h"
#include "ir/json.h"

#include <stdlib.h>
#include <string.h>

enum { RUNNERS_UP = 3, MAX_SCHEDULES = RUNNERS_UP + 1 };

typedef struct Row {
  const tenon_kernel_info *info;
  const Node *node;         /* NULL: not known */
  double seconds;           /* of one run */
  double macs, bytes, roof; /* roof: seconds, 0: not known */
} Row;

/* ---- Rows ---- */

static double size_of(const Profile *profile, const Dim *dim) {
  int64_t value = 0;
  const tenon_library *library = profile->program->library;
  return dim_eval(dim, library->symbols, profile->symbols, (int)library->symbol_count, &value) ? (double)value
                                                                                               : 0;
}

/* Of the products in a kernel, against those of floats. */
static double gain(const Node *node, const Target *target) {
  const Node *product = node->op->macs && !node_is(node, &op_kernel) ? node : NULL;
  for (int i = 0; i < node->region_count; i++)
    FOR_EACH_NODE(inner, node->regions[i]) if (inner->op->macs) product = inner;
  Dtype dtype = product ? operand(product, 0)->type->dtype : DTYPE_F32;
  return dtype_is_byte(dtype) ? target->byte_gain : dtype == DTYPE_BF16 ? target->half_gain : 1;
}

static double roof_of(const Row *row, const Target *target, const Roofline *roofline, int threads) {
  double work = 2e-9 * row->macs / (roofline->gflops * gain(row->node, target)),
         traffic = 1e-9 * row->bytes / roofline_gbps(roofline, row->bytes);
  return (work > traffic ? work : traffic) / threads;
}

static int slower_first(const void *a, const void *b) {
  double x = ((const Row *)a)->seconds, y = ((const Row *)b)->seconds;
  return (y > x) - (y < x);
}

static Row *make_rows(const Profile *profile, const Roofline *roofline, int threads, double *total) {
  const Program *program = profile->program;
  const tenon_library *library = program->library;
  Row *rows = NEW_ARRAY(program->module->arena, Row, library->kernel_count);
  *total = 0;
  for (uint32_t i = 0; i < library->kernel_count; i++) {
    const Node *node = program->kernel_nodes ? program->kernel_nodes[i] : NULL;
    rows[i] = (Row){.info = library->kernels[i],
                    .node = node,
                    .seconds = (double)profile->nanoseconds[i] * 1e-9,
                    .macs = (double)profile->macs[i]};
    if (node)
      rows[i].bytes = size_of(profile, node_read_bytes(node)) + size_of(profile, node_written_bytes(node));
    if (node) rows[i].roof = roof_of(&rows[i], &program->target, roofline, threads);
    *total += rows[i].seconds;
  }
  qsort(rows, library->kernel_count, sizeof *rows, slower_first);
  return rows;
}

/* ---- Schedules ---- */

static const Tuned *find_tuned(const Program *program, const Node *node) {
  for (int i = 0; i < program->tuned_count; i++)
    if (strcmp(program->tuned[i].name, node_string(node, "name")) == 0) return &program->tuned[i];
  return NULL;
}

/* Those that were not chosen, the best first; with their times if they were measured. */
static int runners_up(const Program *program, const Node *node, TunedSchedule *others) {
  const char *schedules[MAX_SCHEDULES], *own = node_string(node, "schedule");
  const Tuned *tuned = find_tuned(program, node);
  int count = 0;
  for (int i = 0; tuned && i < tuned->tried_count && count < RUNNERS_UP; i++)
    if (strcmp(tuned->tried[i].schedule, own) != 0) others[count++] = tuned->tried[i];
  if (tuned && tuned->tried_count) return count;
  int known = codegen_schedules(node, &program->target, schedules, MAX_SCHEDULES);
  for (int i = 0; i < known && count < RUNNERS_UP; i++)
    if (strcmp(schedules[i], own) != 0) others[count++] = (TunedSchedule){schedules[i], 0};
  return count;
}

static bool is_scheduled(const Row *row) {
  return row->node && node_is(row->node, &op_kernel) && *node_string(row->node, "schedule");
}

static void print_schedules(const Program *program, const Row *row) {
  TunedSchedule others[RUNNERS_UP];
  if (!is_scheduled(row)) return;
  int count = runners_up(program, row->node, others);
  printf("%*s%s", 48, "", node_string(row->node, "schedule"));
  for (int i = 0; i < count; i++) {
    printf("%s%s", i ? ", " : "; next: ", others[i].schedule);
    if (others[i].seconds > 0) printf(" (%.2f us)", 1e6 * others[i].seconds);
  }
  printf("\n");
}

/* ---- The table ---- */

static void print_row(const Row *row, double total) {
  printf("%6.1f %% %9.2f %9.1f", 100 * row->seconds / total, row->seconds * 1e6,
         row->seconds > 0 ? 2e-9 * row->macs / row->seconds : 0);
  if (row->roof > 0 && row->seconds > 0)
    printf(" %9.1f %6.0f %%", 1e-9 * row->bytes / row->seconds, 100 * row->roof / row->seconds);
  else
    printf(" %9s %8s", "-", "-");
  printf("  %s", row->info->name);
  printf(*row->info->origin ? " (%s)\n" : "%s\n", row->info->origin);
}

bool profile_print(const Profile *profile, const BenchSummary *summary) {
  const Program *program = profile->program;
  Roofline roofline = {.gflops = 0};
  double total;
  if (program->kernel_nodes) {
    TRY(codegen_roofline(program->module, &program->target, &roofline));
    printf("\none thread here: %.1f GFLOP/s, reads %.1f GB/s from L2, %.1f from L3, %.1f from memory\n",
           roofline.gflops, roofline.levels[0].gbps, roofline.levels[1].gbps, roofline.levels[2].gbps);
  }
  const Row *rows = make_rows(profile, &roofline, summary->threads, &total);
  printf("\n   share        us   GFLOP/s      GB/s  of roof  kernel (nodes)\n");
  for (uint32_t i = 0; i < program->library->kernel_count; i++) {
    print_row(&rows[i], total);
    print_schedules(program, &rows[i]);
  }
  return true;
}

/* ---- JSON ---- */

/* To six digits: more were not measured. */
static void json_number(Json *json, const char *key, double value) {
  char text[32];
  snprintf(text, sizeof text, "%.6g", value);
  json_key(json, key);
  json_float(json, strtod(text, NULL));
}

static void json_schedules(Json *json, const Program *program, const Row *row) {
  TunedSchedule others[RUNNERS_UP];
  int count = runners_up(program, row->node, others);
  json_optional(json, "schedule", node_string(row->node, "schedule"));
  json_key(json, "others");
  json_begin(json, '[');
  for (int i = 0; i < count; i++) {
    json_begin(json, '{');
    json_optional(json, "schedule", others[i].schedule);
    if (others[i].seconds > 0) json_number(json, "us", 1e6 * others[i].seconds);
    json_end(json, '}');
  }
  json_end(json, ']');
}

static void json_row(Json *json, const Program *program, const Row *row) {
  json_begin(json, '{');
  json_optional(json, "kernel", row->info->name);
  json_optional(json, "origin", row->info->origin);
  json_number(json, "us", 1e6 * row->seconds);
  json_number(json, "macs", row->macs);
  if (row->node) json_number(json, "bytes", row->bytes);
  if (row->node) json_number(json, "roof_us", 1e6 * row->roof);
  if (is_scheduled(row)) json_schedules(json, program, row);
  json_end(json, '}');
}

static void json_roofline(Json *json, const Roofline *roofline) {
  json_key(json, "roofline");
  json_begin(json, '{');
  json_number(json, "gflops", roofline->gflops);
  for (int i = 0; i < ROOFLINE_LEVELS; i++)
    json_number(json, ((const char *const[]){"l2_gbps", "l3_gbps", "memory_gbps"})[i],
                roofline->levels[i].gbps);
  json_end(json, '}');
}

static bool json_kernels(Json *json, const Profile *profile, int threads) {
  const Program *program = profile->program;
  Roofline roofline = {.gflops = 0};
  double total;
  if (program->kernel_nodes) {
    TRY(codegen_roofline(program->module, &program->target, &roofline));
    json_roofline(json, &roofline);
  }
  const Row *rows = make_rows(profile, &roofline, threads, &total);
  json_key(json, "kernels");
  json_begin(json, '[');
  for (uint32_t i = 0; i < program->library->kernel_count; i++) json_row(json, program, &rows[i]);
  json_end(json, ']');
  return true;
}

bool profile_json(const Profile *profile, const BenchSummary *summary) {
  Json json = json_new(stdout);
  json_begin(&json, '{');
  json_number(&json, "min_ms", 1e3 * summary->least);
  json_number(&json, "median_ms", 1e3 * summary->median);
  json_number(&json, "p90_ms", 1e3 * summary->p90);
  json_key(&json, "runs"), json_int(&json, summary->runs);
  json_key(&json, "threads"), json_int(&json, summary->threads);
  json_number(&json, "gflops", summary->gflops);
  bool ok = !profile->nanoseconds || json_kernels(&json, profile, summary->threads);
  json_end(&json, '}');
  json_finish(&json);
  printf("\n");
  return ok;
}
