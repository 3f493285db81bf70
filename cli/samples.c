/* samples.c -- SAMPLE_OPTIONS as what read_samples wants. */
#include "cli/program.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* `count` numbers with commas between, a single one for all; "1/255" is a number. Left as they are when the
 * option is not given. */
static bool numbers(Module *module, const Arguments *arguments, const char *name, int count, double *values) {
  const char *text = option_text(arguments, name), *at = text;
  int got = 0;
  bool ok = true;
  for (char *end; at && ok && got < count; got++, at = *end == ',' ? end + 1 : NULL) {
    values[got] = strtod(at, &end);
    ok = end > at;
    if (ok && *end == '/') values[got] /= strtod(at = end + 1, &end), ok = end > at;
    ok = ok && isfinite(values[got]) && (*end == ',' || !*end);
    if (*end == ',' && got + 1 == count) ok = false;
  }
  for (int i = 1; got == 1 && i < count; i++) values[i] = values[0];
  if (ok && (!text || got == 1 || got == count)) return true;
  return fail(module, "--%s wants %s, not '%s'", name, count == 1 ? "a number" : "one or three numbers",
              text);
}

static bool read_options(Module *module, const Arguments *arguments, SampleOptions *options) {
  const char *layout = option_text(arguments, "image-layout");
  const char *channels = option_text(arguments, "image-channels");
  *options = (SampleOptions){.most = option_count(arguments, "calib-samples", 128),
                             .labels = option_text(arguments, "eval"),
                             .scale = 1.0 / 255,
                             .std = {1, 1, 1},
                             .bgr = channels && strcmp(channels, "bgr") == 0,
                             .size = option_count(arguments, "image-size", 0)};
  if (layout) options->layout = strcmp(layout, "nchw") == 0 ? PIXELS_NCHW : PIXELS_NHWC;
  TRY(numbers(module, arguments, "image-scale", 1, &options->scale));
  TRY(numbers(module, arguments, "image-mean", COUNT_OF(options->mean), options->mean));
  TRY(numbers(module, arguments, "image-std", COUNT_OF(options->std), options->std));
  for (int i = 0; i < COUNT_OF(options->std); i++)
    if (options->std[i] == 0) return fail(module, "--image-std 0 would divide by 0");
  return true;
}

bool samples_from_options(Module *module, const Arguments *arguments, Samples *samples) {
  const char *path = option_text(arguments, "calib");
  SampleOptions options;
  *samples = (Samples){0};
  if (!path && option_text(arguments, "eval"))
    return fail(module, "--eval says what classes samples have: give these with --calib");
  if (!path) return true;
  TRY(read_options(module, arguments, &options));
  progress_begin(arguments, "reading", path);
  bool ok = read_samples(module, path, &options, samples);
  progress_end();
  return ok;
}
