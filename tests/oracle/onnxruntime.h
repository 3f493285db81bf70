/*
 * onnxruntime.h -- ONNX Runtime, the peer that tenon is compared with, through its C API.
 *
 *   Peer peer;
 *   peer_open(&peer, &(PeerOptions){.lib = "libonnxruntime.so.1", .model = "model.onnx", .threads = 1});
 *   ... for each input i: peer_set_input(&peer, i, &tensor) ...
 *   peer_run(&peer);
 *   ... peer_output(&peer, i, &view) ...
 *   peer_close(&peer);
 *
 * For programs of tests and measurements: a failure is printed and ends the program.
 */
#ifndef ORACLE_ONNXRUNTIME_H
#define ORACLE_ONNXRUNTIME_H

#include "ir/run.h"

enum { PEER_MAX_VALUES = 256 };

typedef struct PeerOptions {
  const char *lib, *model;
  const char *const *dims; /* [dim_count] NAME=N, sizes of open dims */
  int dim_count;
  int threads;
  bool plain;          /* the model as it stands, without optimizations */
  const char *without; /* an optimization that is not done; NULL: none */
} PeerOptions;

typedef void (*PeerFunction)(void);

typedef struct Peer {
  const PeerFunction *api;
  void *env, *options, *session, *allocator, *memory;
  size_t input_count, output_count;
  char *input_names[PEER_MAX_VALUES], *output_names[PEER_MAX_VALUES];
  Tensor shapes[PEER_MAX_VALUES];     /* of the inputs, without data; an open dim is -1 */
  int element_types[PEER_MAX_VALUES]; /* ONNX's numbers */
  void *inputs[PEER_MAX_VALUES], *outputs[PEER_MAX_VALUES]; /* OrtValue */
} Peer;

void peer_open(Peer *peer, const PeerOptions *options);
void peer_close(Peer *peer);

/* Lends the tensor's data until another is set or the peer is closed. */
void peer_set_input(Peer *peer, size_t index, const Tensor *tensor);
/* One inference. Outputs of the last one must have been released. */
void peer_run(Peer *peer);
void peer_release_outputs(Peer *peer);
/* A view of output `index`, valid until the outputs are released. */
void peer_output(Peer *peer, size_t index, Tensor *view);

_Noreturn void peer_die(const char *format, ...);

#endif
