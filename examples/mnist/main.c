/* Recognises handwritten digits with the library that `tenon compile mnist.h5 -o mnist.so --dim batch=1`
 * made. Usage: mnist IMAGES LABELS [--show N]     (idx files; --show draws the first N digits as text) */
#include "mnist.h"
#include <stdio.h>
#include <stdlib.h>

static int recognise(const unsigned char *pixels, float *confidence) {
  static _Alignas(64) unsigned char scratch[MNIST_SCRATCH_SIZE + 1];
  float image[28 * 28], prob[10];
  for (int i = 0; i < 28 * 28; i++) image[i] = (float)pixels[i] / 255.0f;
  if (mnist_run(NULL, &(struct mnist_in){.image = image}, &(struct mnist_out){.prob = prob}, scratch))
    return -1;
  int best = 0;
  for (int digit = 1; digit < 10; digit++)
    if (prob[digit] > prob[best]) best = digit;
  *confidence = prob[best];
  return best;
}

static void draw(const unsigned char *pixels) {
  for (int row = 0; row < 28; row += 2, putchar('\n'))
    for (int col = 0; col < 28; col++)
      putchar(" .:-=+*#%@"[(pixels[28 * row + col] + pixels[28 * (row + 1) + col]) * 9 / 510]);
}

int main(int argc, char **argv) {
  FILE *images = argc > 2 ? fopen(argv[1], "rb") : NULL, *labels = argc > 2 ? fopen(argv[2], "rb") : NULL;
  if (!images || !labels || fseek(images, 16, SEEK_SET) || fseek(labels, 8, SEEK_SET))
    return fprintf(stderr, "usage: %s IMAGES LABELS [--show N]\n", argv[0]), 2;
  int show = argc > 4 ? atoi(argv[4]) : 0, total = 0, right = 0;
  float confidence = 0;
  for (unsigned char pixels[28 * 28]; fread(pixels, sizeof pixels, 1, images) == 1; total++) {
    int digit = recognise(pixels, &confidence), label = fgetc(labels);
    right += digit == label;
    if (total < show)
      draw(pixels), printf("this is a %d (%.1f %% sure)\n\n", digit, 100 * (double)confidence);
  }
  printf("%d of %d digits right: %.2f %%\n", right, total, 100.0 * right / (total ? total : 1));
  return total == 0;
}
