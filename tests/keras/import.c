/*
 * import.c -- imports a Keras model, verifies the graph and prints it. Usage: import MODEL
 */
#include "frontend/frontend.h"

int main(int argc, char **argv) {
  if (argc != 2) return 2;
  Module *module = module_new(argv[1]);
  bool good = import_keras(module, argv[1], NULL) && graph_verify(module->main);
  if (good) graph_print(module->main, stdout);
  diags_print(module, stderr, 20);
  module_free(module);
  return good ? 0 : 1;
}
