/* sink.h -- moves transposes towards the outputs of a graph and cancels them; private to passes/. See sink.c.
 */
#ifndef TENON_PASSES_SINK_H
#define TENON_PASSES_SINK_H

#include "passes/rewrite.h"

bool sink_transposes(Graph *graph);
bool sink_through_reshape(Node *reshape); /* sink_reshape.c */

#endif
