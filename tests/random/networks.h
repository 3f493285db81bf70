/* networks.h -- random small networks for testing; see networks.c. */
#ifndef TENON_TESTS_RANDOM_NETWORKS_H
#define TENON_TESTS_RANDOM_NETWORKS_H

#include "tests/random/generate.h"

/* From x: f32[2,3,4,4] to y: f32[2,3], as module->main; the same seed gives the same network. */
Module *generate_network(uint64_t seed);

#endif
