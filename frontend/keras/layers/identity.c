/*
 * identity.c -- layers that do nothing at inference: dropout, noise, regularization, augmentation.
 */
#include "frontend/keras/keras.h"

static Value *identity(Call *call) {
  return call->inputs[0];
}

const LayerKind identity_layers[] = {
    {"ActivityRegularization", identity, 1, 1, NULL, MASK_PASSES},
    {"AlphaDropout", identity, 1, 1, NULL, MASK_PASSES},
    {"AugMix", identity, 1, 1, NULL, MASK_ENDS},
    {"CutMix", identity, 1, 1, NULL, MASK_ENDS},
    {"Dropout", identity, 1, 1, NULL, MASK_PASSES},
    {"GaussianDropout", identity, 1, 1, NULL, MASK_PASSES},
    {"GaussianNoise", identity, 1, 1, NULL, MASK_PASSES},
    {"Identity", identity, 1, 1, NULL, MASK_PASSES},
    {"InputLayer", identity, 1, 1, NULL, MASK_PASSES},
    {"MixUp", identity, 1, 1, NULL, MASK_ENDS},
    {"RandAugment", identity, 1, 1, NULL, MASK_ENDS},
    {"RandomBrightness", identity, 1, 1, NULL, MASK_ENDS},
    {"RandomColorDegeneration", identity, 1, 1, NULL, MASK_ENDS},
    {"RandomColorJitter", identity, 1, 1, NULL, MASK_ENDS},
    {"RandomContrast", identity, 1, 1, NULL, MASK_ENDS},
    {"RandomElasticTransform", identity, 1, 1, NULL, MASK_ENDS},
    {"RandomErasing", identity, 1, 1, NULL, MASK_ENDS},
    {"RandomFlip", identity, 1, 1, NULL, MASK_ENDS},
    {"RandomGaussianBlur", identity, 1, 1, NULL, MASK_ENDS},
    {"RandomGrayscale", identity, 1, 1, NULL, MASK_ENDS},
    {"RandomHeight", identity, 1, 1, NULL, MASK_ENDS},
    {"RandomHue", identity, 1, 1, NULL, MASK_ENDS},
    {"RandomInvert", identity, 1, 1, NULL, MASK_ENDS},
    {"RandomPerspective", identity, 1, 1, NULL, MASK_ENDS},
    {"RandomPosterization", identity, 1, 1, NULL, MASK_ENDS},
    {"RandomRotation", identity, 1, 1, NULL, MASK_ENDS},
    {"RandomSaturation", identity, 1, 1, NULL, MASK_ENDS},
    {"RandomSharpness", identity, 1, 1, NULL, MASK_ENDS},
    {"RandomShear", identity, 1, 1, NULL, MASK_ENDS},
    {"RandomTranslation", identity, 1, 1, NULL, MASK_ENDS},
    {"RandomWidth", identity, 1, 1, NULL, MASK_ENDS},
    {"RandomZoom", identity, 1, 1, NULL, MASK_ENDS},
    {"SpatialDropout1D", identity, 1, 1, NULL, MASK_PASSES},
    {"SpatialDropout2D", identity, 1, 1, NULL, MASK_PASSES},
    {"SpatialDropout3D", identity, 1, 1, NULL, MASK_PASSES},
    {0},
};
