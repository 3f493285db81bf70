/*
 * dynamic.c -- runs of models whose sizes are known only when they run: the host's tensors become items, the
 * outputs' items become tensors of the host.
 *
 * The items of a run stay until the next one, because its outputs may lie in them. What an output shares with
 * an input or a weight is copied, so that it is the session's own.
 */
#include "dynamic.h"

int snprintf(char *text, size_t size, const char *format, ...);
void *memcpy(void *to, const void *from, size_t size);

enum { FORM_BITS = TENON_SEQUENCE | TENON_OPTIONAL };

static void drop_items(Dynamic *run) {
  for (uint64_t i = 0; i < tenon_model_dynamic.item_count; i++) tenon_item_drop(&run->store, &run->items[i]);
  for (uint32_t i = 0; i < tenon_model_library.output_count; i++)
    tenon_item_drop(&run->store, &run->holders[i]);
  tenon_store_forget(&run->store);
}

void tenon_dynamic_close(Dynamic *run) {
  if (!run->items) return;
  drop_items(run);
  tenon_store_close(&run->store);
}

/* ---- Inputs -------------------------------------------------------------------------------------------- */

static int borrow(Dynamic *run, Item *item, const tenon_tensor *tensor, uint32_t dtype) {
  if (tensor->dtype != dtype || tensor->rank > TENON_MAX_RANK) return ITEM_TYPE;
  uint64_t bytes = tenon_item_bytes(dtype, tensor->rank, tensor->dims);
  if (bytes == UINT64_MAX || (tensor->size && tensor->size < bytes) || (bytes && !tensor->data))
    return ITEM_SHAPE;
  tenon_item_borrow(&run->store, item, dtype, tensor->rank, tensor->dims, tensor->data);
  return ITEM_OK;
}

static int take_sequence(Dynamic *run, Item *item, const tenon_tensor *tensor, uint32_t dtype) {
  if (tensor->dtype != (dtype | TENON_SEQUENCE) || tensor->rank != 1 || tensor->dims[0] < 0 ||
      (tensor->dims[0] && !tensor->data))
    return ITEM_TYPE;
  int error = tenon_item_sequence_new(&run->store, item, dtype, tensor->dims[0]);
  const tenon_tensor *elements = tensor->data;
  for (int64_t i = 0; !error && i < tensor->dims[0]; i++)
    error = borrow(run, (Item *)item->data + i, &elements[i], dtype);
  return error;
}

static int take_input(Dynamic *run, uint32_t i, const tenon_tensor *tensor) {
  const tenon_tensor_info *info = tenon_model_library.inputs[i];
  uint32_t dtype = info->dtype & ~(uint32_t)FORM_BITS;
  run->where = info->name;
  if (info->dtype & TENON_OPTIONAL && tensor->rank == TENON_ABSENT) return ITEM_OK;
  if (info->dtype & TENON_SEQUENCE) return take_sequence(run, &run->items[i], tensor, dtype);
  return borrow(run, &run->items[i], tensor, dtype);
}

/* ---- Outputs ------------------------------------------------------------------------------------------- */

/* The tensor's own memory, also when it was an input or a weight. */
static int own(Dynamic *run, Item *item) {
  if (item->chunk) return ITEM_OK;
  Item copy = {0};
  int error = tenon_item_make(&run->store, &copy, item->dtype, item->rank, item->dims);
  if (error) return error;
  memcpy(copy.data, item->data, tenon_item_bytes(item->dtype, item->rank, item->dims));
  tenon_item_move(&run->store, item, &copy);
  return ITEM_OK;
}

static int give_tensor(Dynamic *run, Item *item, tenon_tensor *output) {
  uint64_t bytes = tenon_item_bytes(item->dtype, item->rank, item->dims);
  output->dtype = item->dtype;
  output->rank = item->rank;
  for (uint32_t i = 0; i < item->rank; i++) output->dims[i] = item->dims[i];
  if (output->data) {
    if (output->size && output->size < bytes) return ITEM_SHAPE;
    memcpy(output->data, item->data, bytes);
    return ITEM_OK;
  }
  int error = own(run, item);
  output->data = item->data;
  output->size = bytes;
  return error;
}

/* An array of descriptors, in memory of the session. */
static int give_sequence(Dynamic *run, uint32_t i, Item *item, tenon_tensor *output) {
  int64_t count = item->dims[0], bytes = count * (int64_t)sizeof(tenon_tensor);
  int error = tenon_item_make(&run->store, &run->holders[i], TENON_U8, 1, &bytes);
  if (error) return error;
  tenon_tensor *elements = run->holders[i].data;
  for (int64_t j = 0; !error && j < count; j++) {
    elements[j] = (tenon_tensor){0};
    error = give_tensor(run, (Item *)item->data + j, &elements[j]);
  }
  *output = (tenon_tensor){.data = elements,
                           .size = (uint64_t)bytes,
                           .dtype = item->dtype | TENON_SEQUENCE,
                           .rank = 1,
                           .dims = {count}};
  return error;
}

static int give_output(Dynamic *run, uint32_t i, tenon_tensor *output) {
  Item *item = &run->items[tenon_model_dynamic.outputs[i]];
  run->where = tenon_model_library.outputs[i]->name;
  if (item->kind == ITEM_SEQUENCE) return give_sequence(run, i, item, output);
  if (item->kind == ITEM_TENSOR) return give_tensor(run, item, output);
  *output = (tenon_tensor){.dtype = tenon_model_library.outputs[i]->dtype, .rank = TENON_ABSENT};
  return ITEM_OK;
}

/* ---- Run ----------------------------------------------------------------------------------------------- */

static int run_items(Dynamic *run, const tenon_tensor *inputs, tenon_tensor *outputs) {
  int error = ITEM_OK;
  drop_items(run);
  for (uint32_t i = 0; !error && i < tenon_model_library.input_count; i++)
    error = take_input(run, i, &inputs[i]);
  if (!error)
    error = tenon_model_dynamic.run(run, run->items, run->symbols, run->state, run->locals, run->profile,
                                    run->team);
  for (uint32_t i = 0; !error && i < tenon_model_library.output_count; i++)
    error = give_output(run, i, &outputs[i]);
  return error;
}

int tenon_dynamic_run(Dynamic *run, const tenon_tensor *inputs, tenon_tensor *outputs, char *text,
                      size_t text_size) {
  int error = run_items(run, inputs, outputs);
  if (!error) return TENON_OK;
  snprintf(text, text_size, "%s: %s", run->where, tenon_item_error_text(error));
  return error == ITEM_MEMORY ? TENON_ERROR_MEMORY : TENON_ERROR_DATA;
}
