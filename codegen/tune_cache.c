/*
 * tune_cache.c -- see tune_cache.h.
 *
 * The file is replaced as a whole by a rename, so that readers see an old one or a new one. It is read again
 * just before: of two processes that write within this moment one loses its lines, and will measure again.
 */
#include "codegen/tune_cache.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MAX_ENTRIES = 1 << 13, MAX_LINE = 160, MAX_FILE = MAX_ENTRIES * MAX_LINE };

/* ---- entries ---- */

const TuneEntry *tune_cache_find(const TuneCache *cache, uint64_t key) {
  for (int i = 0; i < cache->count; i++)
    if (cache->entries[i].key == key) return &cache->entries[i];
  return NULL;
}

static void grow(TuneCache *cache) {
  cache->room = cache->room ? 2 * cache->room : 64;
  TuneEntry *entries = NEW_ARRAY(cache->module->arena, TuneEntry, cache->room);
  if (cache->count > 0) memcpy(entries, cache->entries, sizeof *entries * (size_t)cache->count);
  cache->entries = entries;
}

void tune_cache_add(TuneCache *cache, TuneEntry entry) {
  TuneEntry *found = (TuneEntry *)tune_cache_find(cache, entry.key);
  if (!found && cache->count == MAX_ENTRIES) found = &cache->entries[entry.key % MAX_ENTRIES];
  if (!found && cache->count == cache->room) grow(cache);
  if (!found) found = &cache->entries[cache->count++];
  *found = entry;
}

/* ---- text ---- */

/* "91c02b8ea1f35d40 8 panels rows=7 panels=4", all of the line. */
static bool parse_line(Module *module, const char *line, size_t length, TuneEntry *entry) {
  static const char hex[] = "0123456789abcdef", digits[] = "0123456789",
                    word[] = "abcdefghijklmnopqrstuvwxyz_0123456789= ";
  char text[MAX_LINE];
  if (length >= sizeof text) return false;
  memcpy(text, line, length);
  text[length] = 0;
  if (strspn(text, hex) != 16 || text[16] != ' ') return false;
  size_t number = strspn(text + 17, digits);
  const char *schedule = text + 17 + number;
  if (number < 1 || number > 4 || *schedule++ != ' ') return false;
  if (*schedule < 'a' || *schedule > 'z' || schedule[strspn(schedule, word)]) return false;
  *entry =
      (TuneEntry){strtoull(text, NULL, 16), atoi(text + 17), arena_printf(module->arena, "%s", schedule)};
  return true;
}

void tune_cache_read(TuneCache *cache, const char *text, bool replace) {
  for (size_t length; *text; text += length + (text[length] == '\n')) {
    TuneEntry entry;
    length = strcspn(text, "\n");
    if (parse_line(cache->module, text, length, &entry) && (replace || !tune_cache_find(cache, entry.key)))
      tune_cache_add(cache, entry);
  }
}

static void read_file(TuneCache *cache, bool replace) {
  FILE *in = fopen(cache->path, "rb");
  char *text = in ? malloc(MAX_FILE + 1) : NULL;
  if (text) text[fread(text, 1, MAX_FILE, in)] = 0;
  if (text) tune_cache_read(cache, text, replace);
  free(text);
  if (in) fclose(in);
}

static bool write_file(const TuneCache *cache, const char *path) {
  FILE *out = fopen(path, "wb");
  if (!out) return false;
  for (int i = 0; i < cache->count; i++) {
    const TuneEntry *entry = &cache->entries[i];
    fprintf(out, "%016llx %d %s\n", (unsigned long long)entry->key, entry->candidates, entry->schedule);
  }
  bool ok = !ferror(out);
  return fclose(out) == 0 && ok;
}

/* ---- the file ---- */

void cache_make_folders(Module *module, const char *path) {
  for (const char *at = strchr(path + 1, '/'); at; at = strchr(at + 1, '/'))
    mkdir(arena_printf(module->arena, "%.*s", (int)(at - path), path), 0777);
}

const char *cache_file(Module *module, const Target *target, const char *folder) {
  const char *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
  bool has_cache = cache && *cache == '/';
  if (!has_cache && !(home && *home == '/')) return NULL;
  const char *machine =
      arena_printf(module->arena, TENON_VERSION " %s %s %s", target->triple, target->cpu, target->features);
  return arena_printf(module->arena, "%s%s/tenon/%s/%s-%016llx.txt", has_cache ? cache : home,
                      has_cache ? "" : "/.cache", folder, target->cpu,
                      (unsigned long long)hash_bytes(machine, strlen(machine), 0));
}

void tune_cache_open(Module *module, const Target *target, TuneCache *cache) {
  *cache = (TuneCache){.module = module, .path = cache_file(module, target, "tune")};
  if (cache->path) read_file(cache, true);
}

void tune_cache_save(TuneCache *cache) {
  if (!cache->path) return;
  Module *module = cache->module;
  const char *aside = arena_printf(module->arena, "%s.%ld", cache->path, (long)getpid());
  cache_make_folders(module, cache->path);
  read_file(cache, false);
  if (write_file(cache, aside) && rename(aside, cache->path) == 0) return;
  diag_add(module, (Diag){.severity = SEVERITY_WARNING,
                          .text = arena_printf(module->arena, "what was measured cannot be kept in '%s': %s",
                                               cache->path, strerror(errno))});
  unlink(aside);
  cache->path = NULL;
}
