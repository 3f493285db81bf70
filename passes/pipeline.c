/*
 * pipeline.c -- the table of passes, the default order, and the runner.
 *
 * A pass is looked up by name in the tables that the caller hands over, so the rows of codegen (`schedule`)
 * stand in the same list without this folder knowing them; a default step that no table knows is left out.
 * After each pass the graph is verified: a pass that breaks it is named in the error. A watcher may look on:
 * print.c prints, check.c runs the graph before and after. Rewrites may be counted and
 * limited (ir/rewrites.c).
 */
#include "passes/passes.h"

#include <string.h>

#include "passes/rewrite.h"

const Pass graph_passes[] = {
    {"integers", pass_integers, "products of quantized numbers become products of their integers"},
    {"prune", pass_prune, "channels or weights that matter least go; those that are left make up for them"},
    {"quantize", pass_quantize, "products of floats become products of integers, as far as that is worth it"},
    {"expand", pass_expand, "ops defined by other ops (batch_norm) become those"},
    {"simplify", pass_simplify, "local algebra to a fixpoint; scales and shifts move into weights"},
    {"fold", pass_fold, "what depends on constants only is computed"},
    {"cse", pass_cse, "equal nodes become one"},
    {"dce", pass_dce, "nodes without uses disappear"},
    {"equalize", pass_equalize,
     "channels that products read get about the same range, by scales in constants"},
    {"attention", pass_attention,
     "products around a softmax become attention, with their scales, masks and transposes"},
    {"layout", pass_layout, "convolutions and pools become channels-last; transposes sink and cancel"},
    {"subpixel", pass_subpixel, "transposed convolutions become convolutions of their phases"},
    {"fuse", pass_fuse, "every computation becomes a kernel node around its fused body"},
    {"place", pass_place, "concats and slices get no code where their memory can be shared"},
    {"plan", pass_plan, "every intermediate gets an offset in one scratch arena"},
    {NULL, NULL, NULL},
};

const PipelineStep default_pipeline[] = {
    {"integers", "must see quantized weights before they are folded to floats"},
    {"expand", "batch norm must be visible as mul and add before anything can fold it"},
    {"simplify", "the exporter's detours disappear; scales find the weights they fold into"},
    {"fold", "the scaled weights and shape arithmetic become plain constants"},
    {"simplify", "constants that fold has made enable more algebra"},
    {"fold", "and that algebra's constants in turn"},
    {"cse", "after folding, so that equal computed constants meet"},
    {"dce", "layout should not move what nobody uses"},
    {"prune", "needs scales and shifts in the weights; what it leaves is quantized"},
    {"quantize", "needs scales and shifts in the weights, and sees products before they change their layout"},
    {"integers", "what quantize has made"},
    {"simplify", "weights of few bits must be seen before they are folded to floats"},
    {"fold", "constants of quantize's products"},
    {"attention", "needs clean chains between products, and takes their transposes before layout moves them"},
    {"layout", "needs clean chains between convolutions; makes transposes of weights"},
    {"simplify",
     "transposes of single-pixel maps are reshapes; biases behind transposes reach their convolution"},
    {"subpixel", "needs the layout; pack sees the convolutions that it makes"},
    {"pack", "needs the layout; makes panels of weights and padding of its own"},
    {"fold", "transposed and packed weights become plain constants"},
    {"sparse", "sees the zeros of packed weights"},
    {"cse", "branches that got the same transposes share them"},
    {"dce", "fuse counts uses, so dead ones must be gone"},
    {"fuse", "the last step that looks at single ops: from here on kernels"},
    {"collapse", "looks at whole kernels; changes the shapes that schedule sees"},
    {"place", "needs the final kernels; those it adds have to be scheduled"},
    {"tune", "knows better than schedule, when asked to; leaves the rest to it"},
    {"schedule", "picks each kernel's variant; needs its whole body"},
    {"plan", "needs the final kernels in their final order"},
    {NULL, NULL},
};

/* As far as other tools can follow: before integers, layouts, panels and kernels of a processor's. */
static const char portable_pipeline[] =
    "expand,simplify,fold,simplify,fold,cse,dce,prune,simplify,fold,quantize,fold,cse,dce";

enum { MAX_STEPS = 256 };

static const Pass *pass_find(const Pass *const *tables, const char *name, size_t length) {
  for (int t = 0; tables[t]; t++)
    for (const Pass *pass = tables[t]; pass->name; pass++)
      if (strlen(pass->name) == length && memcmp(pass->name, name, length) == 0) return pass;
  return NULL;
}

static char *pass_names(Module *module, const Pass *const *tables) {
  char *names = "";
  for (int t = 0; tables[t]; t++)
    for (const Pass *pass = tables[t]; pass->name; pass++)
      names = arena_printf(module->arena, "%s%s%s", names, *names ? ", " : "", pass->name);
  return names;
}

/* Resolves the user's list or the default pipeline; -1 and a Diag when a name is unknown or the list too
 * long. */
static int steps_resolve(Module *module, const PipelineOptions *options, const Pass *const *tables,
                         const Pass **steps) {
  int count = 0;
  const char *given = options->passes ? options->passes : options->pass.portable ? portable_pipeline : NULL;
  if (!given) {
    for (const PipelineStep *step = default_pipeline; step->pass; step++) {
      const Pass *pass = pass_find(tables, step->pass, strlen(step->pass));
      if (pass) steps[count++] = pass;
    }
    return count;
  }
  for (const char *name = given; *name;) {
    size_t length = strcspn(name, ",");
    const Pass *pass = length ? pass_find(tables, name, length) : NULL;
    if (length && !pass) {
      fail(module, "unknown pass '%.*s'; there are %s", (int)length, name, pass_names(module, tables));
      return -1;
    }
    if (pass && count == MAX_STEPS) {
      fail(module, "more than %d passes", MAX_STEPS);
      return -1;
    }
    if (pass) steps[count++] = pass;
    name += length + (name[length] == ',');
  }
  return count;
}

static bool must_verify(const PipelineOptions *options) {
#ifdef NDEBUG
  return options->verify;
#else
  (void)options;
  return true;
#endif
}

/* In the regions of if and loop as in the graph. What is made of their constants is stored, for there is no
 * state in a region. */
static bool run_everywhere(Graph *graph, const Pass *pass, const PassOptions *options) {
  PassOptions inside = *options;
  bool changed = false;
  inside.preference = PREFER_SPEED;
  FOR_EACH_NODE(node, graph) {
    if (!(node->op->traits & TRAIT_DYNAMIC)) continue;
    for (int i = 0; i < node->region_count; i++) changed |= run_everywhere(node->regions[i], pass, &inside);
  }
  return pass->run(graph, options) || changed;
}

static bool step_run(Graph *graph, const Step *step, const PipelineOptions *options) {
  Module *module = graph->module;
  const Watcher *watcher = options->watcher;
  int errors = module->error_count;
  if (watcher) TRY(watcher->before(watcher->context, graph, step));
  bool changed = rewrites_begin(module, step->number, step->pass->name) &&
                 run_everywhere(graph, step->pass, &options->pass);
  rewrites_end(module, changed);
  TRY(module->error_count == errors);
  if (must_verify(options) && !graph_verify(graph))
    return fail(module, "the graph is wrong after pass '%s'; this is a bug in tenon", step->pass->name);
  return !watcher || watcher->after(watcher->context, graph, step, changed);
}

bool pipeline_run(Graph *graph, const PipelineOptions *options) {
  static const Pass *const own_tables[] = {graph_passes, NULL};
  const Pass *const *tables = options->tables ? options->tables : own_tables;
  const Pass *steps[MAX_STEPS];
  int count = steps_resolve(graph->module, options, tables, steps);
  if (count < 0) return false;
  PipelineOptions inner = *options;
  inner.pass.tables = tables;
  for (int i = 0; i < count; i++) TRY(step_run(graph, &(Step){steps[i], i + 1, count}, &inner));
  return true;
}
