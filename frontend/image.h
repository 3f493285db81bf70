/*
 * image.h -- what bytes mean to a model that looks at images; for samples.c.
 */
#ifndef TENON_IMAGE_H
#define TENON_IMAGE_H

#include "frontend/frontend.h"

/* Where an input has its channels, rows and columns; sizes are -1 where the model leaves them open. */
typedef struct Pixels {
  int channel_axis;
  int64_t channels, height, width;
} Pixels;

/* False with a Diag when the input cannot be one image. */
bool pixels_of(const Value *input, const SampleOptions *options, Pixels *pixels);
/* What a byte of this channel is as a float. */
double pixel_value(const SampleOptions *options, int64_t channel, double byte);
/* Whether channels differ in that. */
bool pixels_by_channel(const SampleOptions *options);

bool is_image_name(const char *name);
/* An image file as one value of the input: decoded, resized until it covers the input or its shorter side is
 * options->size, the middle cut out. */
bool read_image(Module *module, const char *path, const Value *input, const SampleOptions *options,
                Tensor *tensor);

#endif
