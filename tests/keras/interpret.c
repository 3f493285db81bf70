/*
 * interpret.c -- runs Keras models through the importer and the interpreter, without a pass or the code
 * generator between: what fails here is the importer's fault.
 *
 * Usage: interpret LIST. A line of LIST is the path of a model and a folder, which holds NAME.npy for every
 * input and gets NAME.npy for every output, or the file `error` with what went wrong; an optional third word
 * is the size of the batch.
 */
#include "frontend/frontend.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

static bool read_inputs(Module *module, const char *folder, Tensor *inputs) {
  for (int i = 0; i < module->main->input_count; i++) {
    const char *name = module->main->inputs[i]->name;
    TRY(read_npy(module, arena_printf(module->arena, "%s/%s.npy", folder, name), &inputs[i]));
  }
  return true;
}

static bool write_outputs(Module *module, const char *folder, Tensor *outputs) {
  for (int i = 0; i < module->main->output_count; i++) {
    const char *path = arena_printf(module->arena, "%s/%s.npy", folder, module->main->output_names[i]);
    TRY(write_npy(module, path, &outputs[i]));
  }
  return true;
}

static bool run(Module *module, const char *model, const char *folder, const ImportOptions *options) {
  TRY(import_keras(module, model, options) && graph_verify(module->main));
  int input_count = module->main->input_count, output_count = module->main->output_count;
  Tensor *inputs = NEW_ARRAY(module->arena, Tensor, input_count);
  Tensor *outputs = NEW_ARRAY(module->arena, Tensor, output_count);
  bool good = read_inputs(module, folder, inputs) && graph_interpret(module->main, inputs, outputs) &&
              write_outputs(module, folder, outputs);
  for (int i = 0; i < input_count; i++) tensor_free(&inputs[i]);
  for (int i = 0; i < output_count; i++) tensor_free(&outputs[i]);
  return good;
}

static void run_line(const char *model, const char *folder, const char *batch) {
  ImportDim dim = {.name = "batch", .value = batch ? atoll(batch) : 0};
  ImportOptions options = {.dims = &dim, .dim_count = batch != NULL};
  Module *module = module_new(model);
  if (!run(module, model, folder, &options)) {
    FILE *file = fopen(arena_printf(module->arena, "%s/error", folder), "w");
    if (file) diags_print(module, file, 20);
    if (file) fclose(file);
  }
  module_free(module);
}

int main(int argc, char **argv) {
  char line[4096];
  FILE *list = argc == 2 ? fopen(argv[1], "r") : NULL;
  if (!list) return fprintf(stderr, "%s: %s\n", argc == 2 ? argv[1] : "no list", strerror(errno)), 2;
  while (fgets(line, sizeof line, list)) {
    char *model = strtok(line, " \n"), *folder = strtok(NULL, " \n");
    if (model && folder) run_line(model, folder, strtok(NULL, " \n"));
  }
  fclose(list);
  return 0;
}
