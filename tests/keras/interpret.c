/*
 * interpret.c -- runs a Keras model through the importer and the interpreter, without a pass or the code
 * generator between: what fails here is the importer's fault. Usage: interpret MODEL --output DIR --input
 * NAME=FILE.npy ...
 */
#include "frontend/frontend.h"
#include <stdlib.h>
#include <string.h>

enum { MAX_TENSORS = 64 };

static int find_input(const Graph *graph, const char *name, size_t length) {
  for (int i = 0; i < graph->input_count; i++)
    if (!strncmp(graph->inputs[i]->name, name, length) && !graph->inputs[i]->name[length]) return i;
  return -1;
}

/* NAME=FILE */
static bool read_input(Module *module, const char *text, Tensor *inputs) {
  const char *equals = strchr(text, '=');
  int index = equals ? find_input(module->main, text, (size_t)(equals - text)) : -1;
  if (index < 0) return fail(module, "no input '%s'", text);
  return read_npy(module, equals + 1, &inputs[index]);
}

static bool write_outputs(Module *module, const char *folder, Tensor *outputs) {
  for (int i = 0; i < module->main->output_count; i++) {
    const char *path = arena_printf(module->arena, "%s/%s.npy", folder, module->main->output_names[i]);
    TRY(write_npy(module, path, &outputs[i]));
  }
  return true;
}

static bool run(Module *module, int argc, char **argv, Tensor *inputs, Tensor *outputs) {
  const char *folder = ".";
  TRY(import_keras(module, argv[1], NULL) && graph_verify(module->main));
  if (module->main->input_count > MAX_TENSORS || module->main->output_count > MAX_TENSORS)
    return fail(module, "too many tensors");
  for (int i = 2; i + 1 < argc; i += 2) {
    if (!strcmp(argv[i], "--output"))
      folder = argv[i + 1];
    else
      TRY(read_input(module, argv[i + 1], inputs));
  }
  return graph_interpret(module->main, inputs, outputs) && write_outputs(module, folder, outputs);
}

int main(int argc, char **argv) {
  if (argc < 2) return 2;
  Tensor inputs[MAX_TENSORS] = {0}, outputs[MAX_TENSORS] = {0};
  Module *module = module_new(argv[1]);
  bool good = run(module, argc, argv, inputs, outputs);
  diags_print(module, stderr, 20);
  for (int i = 0; i < MAX_TENSORS; i++) {
    tensor_free(&inputs[i]);
    tensor_free(&outputs[i]);
  }
  module_free(module);
  return good ? 0 : 1;
}
