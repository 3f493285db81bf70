/*
 * recurrent.h -- what the recurrent layers share (rnn.c, conv_lstm.c).
 */
#ifndef TENON_KERAS_RECURRENT_H
#define TENON_KERAS_RECURRENT_H

#include "frontend/keras/keras.h"

/* What comes out of a recurrent layer. */
typedef struct Recurrent {
  bool wants_all;
  Value *y;    /* [batch, steps, ..]: of every step, where it belongs; NULL unless all are wanted */
  Value *last; /* [batch, ..]: of the step that is made last */
  Value **states;
  int state_count;
} Recurrent;

/* Runs the layer of the call; its input 0 has the mask 0, further inputs are its states. */
bool recurrent_run(Call *call, bool backwards, Recurrent *r);
bool conv_lstm_run(Call *call, bool backwards, Recurrent *r);
/* A layer's function. */
Value *recurrent(Call *call);
/* The states that the call is given: all `count` of them, or none, and `states` stays as it is. */
bool recurrent_initial(Call *call, Value **states, int count);
/* A state of the graph, and what it becomes; NULL with a Diag. */
Value *recurrent_keep(Call *call, const char *name, const Type *type);
void recurrent_keep_after(Call *call, const Value *before, Value *after);

#endif
