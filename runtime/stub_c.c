/* stub_c.c -- the names that compiled code may want of libc, to link against; never loaded. */
void pthread_create(void) {}
void pthread_join(void) {}
void pthread_sigmask(void) {}
void syscall(void) {}
void aligned_alloc(void) {}
void free(void) {}
void madvise(void) {}
void clock_gettime(void) {}
void snprintf(void) {}
void memcpy(void) {}
void memmove(void) {}
void memset(void) {}
void memcmp(void) {}
void strlen(void) {}
void strcmp(void) {}
void strstr(void) {}
void strtod(void) {}
