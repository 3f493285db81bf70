/*
 * identity.c -- layers that do nothing at inference: dropout, noise, regularization, augmentation.
 */
#include "frontend/keras/keras.h"

static Value *identity(Call *call) {
  return call->inputs[0];
}

const LayerKind identity_layers[] = {
    {"ActivityRegularization", identity, 1, 1, NULL},
    {"AlphaDropout", identity, 1, 1, NULL},
    {"Dropout", identity, 1, 1, NULL},
    {"GaussianDropout", identity, 1, 1, NULL},
    {"GaussianNoise", identity, 1, 1, NULL},
    {"Identity", identity, 1, 1, NULL},
    {"InputLayer", identity, 1, 1, NULL},
    {"RandomBrightness", identity, 1, 1, NULL},
    {"RandomContrast", identity, 1, 1, NULL},
    {"RandomFlip", identity, 1, 1, NULL},
    {"RandomRotation", identity, 1, 1, NULL},
    {"RandomTranslation", identity, 1, 1, NULL},
    {"RandomZoom", identity, 1, 1, NULL},
    {"SpatialDropout1D", identity, 1, 1, NULL},
    {"SpatialDropout2D", identity, 1, 1, NULL},
    {"SpatialDropout3D", identity, 1, 1, NULL},
    {0},
};
