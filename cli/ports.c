/* ports.c -- inputs and outputs by name and type, and arrays of tensors for them. */
#include "cli/program.h"

#include <stdlib.h>

Port port_of(const char *name, const Type *type, Module *module) {
  Port port = {.name = name ? name : "", .form = type->form, .dtype = type->dtype, .rank = type->rank};
  for (int i = 0; i < type->rank; i++) {
    bool constant = dim_is_const(type->dims[i]);
    port.dims[i] = constant ? type->dims[i]->value : -1;
    port.symbols[i] = constant ? NULL : dim_text(module, type->dims[i]);
  }
  return port;
}

Tensor *tensors_new(int count) {
  Tensor *tensors = calloc((size_t)count + 1, sizeof *tensors);
  if (tensors) return tensors;
  fprintf(stderr, "error: out of memory\n");
  exit(BAD_INPUT);
}

void tensors_free(Tensor *tensors, int count) {
  for (int i = 0; i < count; i++) tensor_free(&tensors[i]);
  free(tensors);
}

void ports_print(const char *title, const Port *ports, int count) {
  for (int i = 0; i < count; i++) {
    static const char *const forms[] = {"", "sequence ", "optional ", "optional sequence "};
    printf("%-9s %s: %s%s[%s", title, ports[i].name, forms[ports[i].form], dtype_name(ports[i].dtype),
           ports[i].rank < 0 ? "*" : "");
    for (int axis = 0; axis < ports[i].rank; axis++) {
      if (axis > 0) printf(",");
      if (ports[i].dims[axis] >= 0)
        printf("%lld", (long long)ports[i].dims[axis]);
      else
        printf("%s", ports[i].symbols[axis]);
    }
    printf("]\n");
  }
}
