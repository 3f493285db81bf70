/*
 * json.h -- graphs as JSON, for other tools, and the small writer that makes it. Nothing here reads JSON.
 *
 * A graph:
 *
 *   {"name": "mnist", "inputs": [VALUE...], "outputs": [{"name": "prob", "value": "y"}...], "nodes":
 * [NODE...]}
 *
 * and, if it keeps any, "states": how many of the last inputs and outputs are pairs. A VALUE stands where it
 * is defined; elsewhere it is mentioned by its name, or by its number when it has none (unique in the
 * document):
 *
 *   {"name": "y", "type": "f32[N,10]", "dtype": "f32", "shape": ["N", 10], "bytes": "40*N"}
 *
 * Sizes are integers, or text where they depend on symbols. Values that are no tensors have a "form", those
 * of any rank no "shape". A NODE:
 *
 *   {"op": "conv", "operands": ["x", "w", null], "attributes": {"pads": [2, 2, 2, 2]}, "results": [VALUE...],
 *    "origin": ["conv1"], "macs": 39200, "reads": 3936, "writes": 25088}
 *
 * with "attributes" that are not the default, the nodes of the model that it came from, multiply-accumulates,
 * and bytes of distinct operands and of results; of `const` instead "constant": {"bytes", "elements"} (the
 * latter when they are few); of ops with regions "regions": [GRAPH...]. What is empty or 0 is left out, but
 * for names, operands and results.
 */
#ifndef TENON_IR_JSON_H
#define TENON_IR_JSON_H

#include "ir/ir.h"

/* Commas are the writer's. Strings become valid UTF-8 whatever the bytes are, and "<" is escaped, so that the
 * text may stand in a web page. */
typedef struct Json {
  FILE *out;
  bool follows; /* what comes next stands behind a comma */
  Arena *arena;
  struct Table *numbers; /* unnamed values -> their number plus one */
  uintptr_t last;
} Json;

Json json_new(FILE *out); /* json_finish frees what it holds; `out` stays open, and may be exchanged */
void json_finish(Json *json);
void json_begin(Json *json, char bracket); /* '{' or '[' */
void json_end(Json *json, char bracket);   /* '}' or ']' */
void json_key(Json *json, const char *key);
void json_string(Json *json, const char *string); /* NULL: null */
void json_int(Json *json, int64_t value);
void json_float(Json *json, double value); /* "inf", "-inf" and "nan" as strings */
void json_bool(Json *json, bool value);
/* With their key, or nothing: of NULL, and of what was not measured (0 or not finite). */
void json_optional(Json *json, const char *key, const char *text);
void json_measure(Json *json, const char *key, double value);
void json_dim(Json *json, const Dim *dim);         /* an integer or text */
void json_raw(Json *json, const char *text);       /* JSON that was written before */
void json_mention(Json *json, const Value *value); /* NULL: null */
void json_value(Json *json, const Value *value);
void json_node(Json *json, const Node *node);
void json_inputs(Json *json, const Graph *graph); /* with the key, as json_outputs */
void json_outputs(Json *json, const Graph *graph);
void json_graph(Json *json, const Graph *graph); /* a line for each node */

/* One graph, and a newline. */
void graph_json(const Graph *graph, FILE *out);

#endif
