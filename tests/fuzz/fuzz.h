/*
 * fuzz.h -- what the fuzz targets share. Each parser has one file here, with the entry point that libFuzzer
 * wants; the same files link against replay.c, which runs the seed corpus as an ordinary test.
 *
 * A target never fails on what it refuses; it dies when something that was accepted does not hold.
 */
#ifndef TENON_TESTS_FUZZ_H
#define TENON_TESTS_FUZZ_H

#include "ir/ir.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

/* Writes the input as NAME in this process' temporary folder, which goes at exit; the path is valid until
 * then. */
const char *fuzz_file(const char *name, const void *bytes, size_t size);

/* What must hold for any graph that a parser accepted: it verifies, its text reads back as the same text, and
 * the passes keep it valid. Graphs over a certain size only verify and print. */
void fuzz_graph(Module *module);

/* Reports and aborts unless `ok`. */
void fuzz_check(bool ok, const Module *module, const char *what);
void fuzz_same_text(const char *before, const char *after);

#endif
