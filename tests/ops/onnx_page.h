/* onnx_page.h -- ONNX's operators as tables of markdown. */
#ifndef TENON_TESTS_OPS_ONNX_PAGE_H
#define TENON_TESTS_OPS_ONNX_PAGE_H

#include <stdio.h>

void onnx_print_markdown(const char *root, FILE *out);
/* Says which operators stand where they should not; returns how many. */
int onnx_check_tables(const char *root);

#endif
