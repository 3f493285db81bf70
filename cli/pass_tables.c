/*
 * pass_tables.c -- which passes the command knows. A program that links another list in its place knows
 * others as well: tests/planted does.
 */
#include "cli/program.h"

const Pass *const pass_tables[] = {graph_passes, codegen_passes, NULL};
