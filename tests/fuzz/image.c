/* image.c -- files of images, as image_decode reads them: an error, or all the pixels of what it says. */
#include "runtime/items.h"
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
  uint8_t *stream = malloc(size + !size); /* so that a sanitizer knows where it ends */
  memcpy(stream, bytes, size);
  for (int64_t gray = 0; gray < 2; gray++) {
    Store store = {0};
    Item result = {0};
    Item x = {.data = stream, .kind = ITEM_TENSOR, .dtype = TENON_U8, .rank = 1, .dims = {(int64_t)size}};
    int error = tenon_item_image_decode(&store, &result, (const Item *const[]){&x}, 1, &gray);
    fuzz_check(error || result.dims[2] == (gray ? 1 : 3), NULL, "an image has other channels");
    volatile uint64_t sum = 0; /* every pixel is there to be read */
    for (int64_t i = 0; !error && i < result.dims[0] * result.dims[1] * result.dims[2]; i++)
      sum += ((const uint8_t *)result.data)[i];
    tenon_item_drop(&store, &result);
    tenon_store_close(&store);
  }
  free(stream);
  return 0;
}
