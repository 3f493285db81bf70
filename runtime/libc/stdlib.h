/* stdlib.h -- for stb_image in image.c, where it is compiled for a target without the headers of its C
 * library. */
#include <stddef.h>
#define abs(x) __builtin_abs(x)
long strtol(const char *text, char **end, int base);
