/*
 * h5.c -- an HDF5 file as a flat list of arrays and strings, read by a child process with limits.
 *
 * The child (h5_child.c) writes records to an unnamed temporary file; here they are mapped and checked,
 * because a child that a hostile file has taken over can write anything. The weights of the graph then point
 * into that mapping: nothing is copied again. Not obvious: the limit on memory counts from what the process
 * has mapped at the fork, and is left out under AddressSanitizer, whose shadow memory has no use for limits.
 */
#include "frontend/keras/keras.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__)
#define LIMIT_MEMORY 0
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define LIMIT_MEMORY 0
#endif
#endif
#ifndef LIMIT_MEMORY
#define LIMIT_MEMORY 1
#endif

/* ---- mappings ---- */

Mapping *mapping_of_fd(Module *module, int fd) {
  struct stat stat;
  if (fstat(fd, &stat) || stat.st_size < 0) return fail(module, "cannot read it: %s", strerror(errno)), NULL;
  size_t size = (size_t)stat.st_size;
  void *base = size ? mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0) : NULL;
  if (base == MAP_FAILED) return fail(module, "cannot map %zu bytes: %s", size, strerror(errno)), NULL;
  Mapping *mapping = malloc(sizeof *mapping);
  if (!mapping) return fail(module, "no memory"), NULL;
  *mapping = (Mapping){.base = base, .size = size, .references = 1};
  return mapping;
}

void mapping_release(Mapping *mapping) {
  if (!mapping || --mapping->references) return;
  if (mapping->base) munmap(mapping->base, mapping->size);
  free(mapping);
}

/* ---- the child ---- */

static void set_limit(int resource, uint64_t value) {
  struct rlimit limit = {.rlim_cur = value, .rlim_max = value};
  setrlimit(resource, &limit);
}

static uint64_t mapped_now(void) {
  unsigned long long pages = 0;
  FILE *file = fopen("/proc/self/statm", "r");
  if (file && fscanf(file, "%llu", &pages) != 1) pages = 0;
  if (file) fclose(file);
  return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

/* Memory and bytes written: 1 GiB and four times the file; time: 3 s and a second per 16 MiB. */
static _Noreturn void run_child(int fd, int out, uint64_t file_size) {
  uint64_t budget = (1ull << 30) + 4 * file_size;
  unsigned seconds = 3 + (unsigned)(file_size >> 24);
  int null = open("/dev/null", O_RDWR);
  if (null >= 0) dup2(null, 1), dup2(null, 2);
  static const int defaults[] = {SIGSEGV, SIGBUS, SIGABRT, SIGFPE, SIGILL, SIGALRM, SIGXCPU, SIGXFSZ};
  for (int i = 0; i < COUNT_OF(defaults); i++) signal(defaults[i], SIG_DFL);
  if (LIMIT_MEMORY) set_limit(RLIMIT_AS, mapped_now() + budget);
  set_limit(RLIMIT_FSIZE, budget);
  set_limit(RLIMIT_CPU, seconds);
  set_limit(RLIMIT_CORE, 0);
  alarm(4 * seconds);
  h5_child(fd, out, budget - (budget >> 3));
  _exit(0);
}

static bool explain(Module *module, int status) {
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return true;
  int number = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
  if (number == SIGXCPU || number == SIGALRM || number == SIGKILL)
    return fail(module, "reading it as HDF5 took too long: the file is damaged or hostile");
  if (number == SIGXFSZ)
    return fail(module, "it expands to far more bytes than it has: the file is damaged or hostile");
  return fail(module, "the HDF5 library crashed on it (%s): the file is damaged or hostile",
              number ? strsignal(number) : "error exit");
}

static bool run_and_wait(Module *module, int fd, int out) {
  struct stat stat;
  if (fstat(fd, &stat) || !S_ISREG(stat.st_mode)) return fail(module, "it is not a regular file");
  pid_t child = fork();
  if (child < 0) return fail(module, "cannot start a process to read it: %s", strerror(errno));
  if (child == 0) run_child(fd, out, (uint64_t)stat.st_size);
  int status;
  while (waitpid(child, &status, 0) < 0)
    if (errno != EINTR) return fail(module, "lost the process that reads it: %s", strerror(errno));
  return explain(module, status);
}

/* ---- its records ---- */

typedef struct Reader {
  Module *module;
  const char *base;
  size_t size, at;
  Store *store;
  int array_room, attribute_room;
  bool ended;
} Reader;

static bool damaged(Reader *reader) {
  return fail(reader->module, "reading it as HDF5 gave no sensible answer: the file is damaged or hostile");
}

static size_t padded(size_t size) {
  return (size + 63) & ~(size_t)63;
}

/* The next `size` bytes, rounded up to a multiple of 64; NULL when they are not there. */
static const char *take(Reader *reader, uint64_t size) {
  if (size > reader->size || padded((size_t)size) > reader->size - reader->at) return NULL;
  const char *bytes = reader->base + reader->at;
  reader->at += padded((size_t)size);
  return bytes;
}

static char *copy_text(Module *module, const char *bytes, size_t length) {
  char *text = arena_alloc(module->arena, length + 1);
  memcpy(text, bytes, length);
  return text;
}

/* Room for one more; doubles in the arena. */
static void *grown(Module *module, void *list, int count, int *room, size_t size) {
  if (count < *room) return list;
  *room = *room ? 2 * *room : 64;
  void *larger = arena_alloc(module->arena, (size_t)*room * size);
  if (count) memcpy(larger, list, (size_t)count * size);
  return larger;
}

static bool add_array(Reader *reader, const H5Record *record, const char *path, const char *bytes) {
  Store *store = reader->store;
  int64_t count = 1;
  size_t size;
  bool good = record->rank <= MAX_RANK && record->dtype > DTYPE_NONE && record->dtype < DTYPE_STRING;
  for (uint32_t i = 0; good && i < record->rank; i++)
    good = record->dims[i] >= 0 && !__builtin_mul_overflow(count, record->dims[i], &count);
  if (!good || !dtype_bytes((Dtype)record->dtype, count, &size) || size != record->size)
    return damaged(reader);
  store->arrays =
      grown(reader->module, store->arrays, store->array_count, &reader->array_room, sizeof *store->arrays);
  StoredArray *array = &store->arrays[store->array_count++];
  *array =
      (StoredArray){.path = path, .dtype = (Dtype)record->dtype, .rank = (int)record->rank, .bytes = bytes};
  memcpy(array->dims, record->dims, sizeof array->dims);
  return true;
}

static bool add_strings(Reader *reader, const H5Record *record, const char *path, const char *name,
                        const char *bytes) {
  Store *store = reader->store;
  if (record->count > record->size) return damaged(reader);
  const char **values = NEW_ARRAY(reader->module->arena, const char *, record->count);
  size_t at = 0;
  for (uint64_t i = 0; i < record->count; i++) {
    size_t length = strnlen(bytes + at, record->size - at);
    if (at + length == record->size) return damaged(reader);
    values[i] = copy_text(reader->module, bytes + at, length);
    at += length + 1;
  }
  store->attributes = grown(reader->module, store->attributes, store->attribute_count,
                            &reader->attribute_room, sizeof *store->attributes);
  store->attributes[store->attribute_count++] =
      (StoredStrings){.path = path, .name = name, .count = (int)record->count, .values = values};
  return true;
}

static bool refused(Reader *reader, const char *path, const char *reason) {
  return *path ? fail(reader->module, "'%s' in the HDF5 file: %s", path, reason)
               : fail(reader->module, "%s", reason);
}

static bool read_record(Reader *reader) {
  const char *head = take(reader, sizeof(H5Record));
  H5Record record;
  if (!head) return damaged(reader);
  memcpy(&record, head, sizeof record);
  const char *names = take(reader, (uint64_t)record.path_length + record.name_length);
  const char *bytes = names ? take(reader, record.size) : NULL;
  if (!bytes || record.magic != H5_MAGIC) return damaged(reader);
  const char *path = copy_text(reader->module, names, record.path_length);
  const char *name = copy_text(reader->module, names + record.path_length, record.name_length);
  switch (record.kind) {
  case H5_ARRAY: return add_array(reader, &record, path, bytes);
  case H5_STRINGS: return add_strings(reader, &record, path, name, bytes);
  case H5_ERROR: return refused(reader, path, copy_text(reader->module, bytes, record.size));
  case H5_END: reader->ended = true; return true;
  default: return damaged(reader);
  }
}

/* ---- the store ---- */

static int by_path(const void *a, const void *b) {
  return strcmp(((const StoredArray *)a)->path, ((const StoredArray *)b)->path);
}

static int by_path_and_name(const void *a, const void *b) {
  const StoredStrings *x = a, *y = b;
  int order = strcmp(x->path, y->path);
  return order ? order : strcmp(x->name, y->name);
}

void store_sort(Store *store) {
  if (store->array_count) qsort(store->arrays, (size_t)store->array_count, sizeof *store->arrays, by_path);
  if (store->attribute_count)
    qsort(store->attributes, (size_t)store->attribute_count, sizeof *store->attributes, by_path_and_name);
}

bool h5_read(Module *module, int fd, Store *store) {
  *store = (Store){0};
  int out = temporary_file(module);
  if (out < 0) return false;
  if (run_and_wait(module, fd, out)) store->mapping = mapping_of_fd(module, out);
  close(out);
  if (!store->mapping) return false;
  Reader reader = {
      .module = module, .base = store->mapping->base, .size = store->mapping->size, .store = store};
  while (!reader.ended) TRY(read_record(&reader));
  store_sort(store);
  return true;
}

const StoredArray *store_array(const Store *store, const char *path) {
  StoredArray key = {.path = path};
  if (!store->array_count) return NULL;
  return bsearch(&key, store->arrays, (size_t)store->array_count, sizeof key, by_path);
}

static const StoredStrings *find_strings(const Store *store, const char *path, const char *name) {
  StoredStrings key = {.path = path, .name = name};
  if (!store->attribute_count) return NULL;
  return bsearch(&key, store->attributes, (size_t)store->attribute_count, sizeof key, by_path_and_name);
}

const char *store_text(const Store *store, const char *path, const char *name) {
  const StoredStrings *strings = find_strings(store, path, name);
  return strings && strings->count ? strings->values[0] : NULL;
}

const char *const *store_list(Module *module, const Store *store, const char *path, const char *name,
                              int *count) {
  const StoredStrings *whole = find_strings(store, path, name), *part;
  if (whole) return *count = whole->count, whole->values;
  const char **values = NULL;
  int room = 0, total = 0;
  for (int i = 0; (part = find_strings(store, path, arena_printf(module->arena, "%s%d", name, i))); i++)
    for (int k = 0; k < part->count; k++) {
      values = grown(module, values, total, &room, sizeof *values);
      values[total++] = part->values[k];
    }
  *count = values ? total : -1;
  return values;
}
