/* string.h -- see stdlib.h. */
#include <stddef.h>
void *memcpy(void *to, const void *from, size_t size);
void *memset(void *memory, int byte, size_t size);
int strcmp(const char *a, const char *b);
int strncmp(const char *a, const char *b, size_t size);
