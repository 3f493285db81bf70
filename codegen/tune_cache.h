/*
 * tune_cache.h -- what was measured before, in a text file of the user.
 *
 * $XDG_CACHE_HOME/tenon/tune/CPU-HASH.txt (~/.cache without the variable) holds what one version of tenon
 * found on one processor, a line for each kernel:
 *
 *   91c02b8ea1f35d40 8 panels rows=7 panels=4 outside=1
 *
 * the hash of the kernel's loop IR, how many schedules were tried, and the fastest. The file is not trusted:
 * lines of another form are ignored, and a schedule counts only if it is one that tenon would try itself.
 */
#ifndef TENON_TUNE_CACHE_H
#define TENON_TUNE_CACHE_H

#include "ir/pass.h"

typedef struct TuneEntry {
  uint64_t key;
  int candidates;
  const char *schedule;
} TuneEntry;

typedef struct TuneCache {
  Module *module;
  const char *path; /* NULL: nothing is kept */
  TuneEntry *entries;
  int count, room;
} TuneCache;

/* $XDG_CACHE_HOME/tenon/FOLDER/CPU-HASH.txt of the target; NULL when the environment names no folder. */
const char *cache_file(Module *module, const Target *target, const char *folder);
/* The folders on the way to it. */
void cache_make_folders(Module *module, const char *path);
/* Reads what there is for the target. */
void tune_cache_open(Module *module, const Target *target, TuneCache *cache);
const TuneEntry *tune_cache_find(const TuneCache *cache, uint64_t key);
/* In place of what the cache has for the key. */
void tune_cache_add(TuneCache *cache, TuneEntry entry);
/* Adds the file's lines that the cache does not know and replaces the file. When it cannot be written, a
 * warning is recorded and nothing more is kept. */
void tune_cache_save(TuneCache *cache);

/* The lines of a text, which replace entries of the same key if `replace`. */
void tune_cache_read(TuneCache *cache, const char *text, bool replace);

#endif
