/*
 * states.c -- --state INPUT=OUTPUT and --max NAME=N: which inputs of a model its library keeps.
 *
 * A star stands for any text, the same in both names: past.*=present.* pairs them all.
 */
#include "cli/program.h"

#include <stdlib.h>
#include <string.h>

typedef struct States {
  Module *module;
  const Arguments *arguments;
  StatePair *pairs;
  int count;
} States;

/* ---- Names ---- */

/* Whether the name is `pattern`; *star gets what stands in the place of its star. */
static bool matches(Module *module, const char *pattern, const char *name, const char **star) {
  const char *at = strchr(pattern, '*');
  size_t before = at ? (size_t)(at - pattern) : 0, after = at ? strlen(at + 1) : 0, length = strlen(name);
  *star = "";
  if (!at) return strcmp(pattern, name) == 0;
  if (length < before + after || strncmp(name, pattern, before) != 0) return false;
  if (strcmp(name + length - after, at + 1) != 0) return false;
  *star = arena_printf(module->arena, "%.*s", (int)(length - before - after), name + before);
  return true;
}

static const char *replace_star(Module *module, const char *pattern, const char *star) {
  const char *at = strchr(pattern, '*');
  return at ? arena_printf(module->arena, "%.*s%s%s", (int)(at - pattern), pattern, star, at + 1) : pattern;
}

static int find_output(const Graph *graph, const char *name) {
  for (int i = 0; i < graph->output_count; i++)
    if (strcmp(graph->output_names[i], name) == 0) return i;
  return -1;
}

/* ---- Rooms ---- */

static int64_t given_max(const Arguments *arguments, const char *symbol) {
  const char *text;
  size_t length = strlen(symbol);
  for (int i = 0; (text = option_list(arguments, "max", i)); i++)
    if (strncmp(text, symbol, length) == 0 && text[length] == '=')
      return strtoll(text + length + 1, NULL, 10);
  return -1;
}

/* The type with the largest sizes; NULL with a Diag. */
static const Type *find_room(const States *states, const Value *state) {
  Module *module = states->module;
  const Dim *dims[MAX_RANK];
  if (!type_is_tensor(state->type)) return state->type; /* refused with all else that does not fit */
  for (int axis = 0; axis < state->type->rank; axis++) {
    const Dim *size = dims[axis] = state->type->dims[axis];
    int64_t most = size->kind == DIM_SYMBOL ? given_max(states->arguments, size->symbol) : -1;
    if (size->kind == DIM_SYMBOL && most < 0) {
      fail(module, "state '%s' is %s: give its largest with --max %s=N, or a number with --dim %s=N",
           state->name, type_text(module, state->type), size->symbol, size->symbol);
      return NULL;
    }
    if (most >= 0) dims[axis] = dim_const(module, most);
  }
  return type_make(module, state->type->dtype, state->type->rank, dims);
}

/* ---- Pairs ---- */

static bool add_pair(States *states, int input, int output) {
  const Value *state = states->module->main->inputs[input];
  for (int i = 0; i < states->count; i++)
    if (states->pairs[i].input == input || states->pairs[i].output == output)
      return fail(states->module, "input '%s' or its output is in two states", state->name);
  const Type *room = find_room(states, state);
  TRY(room);
  states->pairs[states->count++] = (StatePair){input, output, room};
  return true;
}

/* INPUT=OUTPUT */
static bool add_pairs(States *states, const char *text) {
  Module *module = states->module;
  Graph *graph = module->main;
  const char *equals = strchr(text, '='), *star;
  if (!equals || equals == text || !equals[1])
    return fail(module, "--state wants INPUT=OUTPUT, not '%s'", text);
  const char *pattern = arena_printf(module->arena, "%.*s", (int)(equals - text), text);
  int before = states->count;
  for (int i = 0; i < graph->input_count; i++) {
    if (!matches(module, pattern, graph->inputs[i]->name, &star)) continue;
    const char *name = replace_star(module, equals + 1, star);
    int output = find_output(graph, name);
    if (output < 0) return fail(module, "--state %s: there is no output '%s'", text, name);
    TRY(add_pair(states, i, output));
  }
  return states->count > before || fail(module, "--state %s: there is no input '%s'", text, pattern);
}

bool build_states(Module *module, const Arguments *arguments) {
  Graph *graph = module->main;
  States states = {.module = module,
                   .arguments = arguments,
                   .pairs = NEW_ARRAY(module->arena, StatePair, graph->input_count + 1)};
  const char *text;
  for (int i = 0; (text = option_list(arguments, "state", i)); i++) TRY(add_pairs(&states, text));
  if (states.count > 0 && graph->state_count > 0) return fail(module, "the model has states already");
  return states.count == 0 || graph_set_states(graph, states.count, states.pairs);
}
