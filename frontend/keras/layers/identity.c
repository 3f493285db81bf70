/*
 * identity.c -- layers that do nothing at inference: dropout, noise, regularization, augmentation.
 *
 * Equalization is among them although Keras' documentation says otherwise: its code returns what it gets,
 * unless it is called with training=True, which predict() does not.
 */
#include "frontend/keras/keras.h"

static Value *identity(Call *call) {
  return call->inputs[0];
}

Value *augmentation(Call *call) {
  return identity(call);
}

const LayerKind identity_layers[] = {
    {"ActivityRegularization", identity, 1, 1, NULL, MASK_PASSES},
    {"AlphaDropout", identity, 1, 1, NULL, MASK_PASSES},
    {"AugMix", augmentation, 1, 1, NULL, MASK_ENDS},
    {"CutMix", augmentation, 1, 1, NULL, MASK_ENDS},
    {"Dropout", identity, 1, 1, NULL, MASK_PASSES},
    {"Equalization", augmentation, 1, 1, NULL, MASK_ENDS},
    {"GaussianDropout", identity, 1, 1, NULL, MASK_PASSES},
    {"GaussianNoise", identity, 1, 1, NULL, MASK_PASSES},
    {"Identity", identity, 1, 1, NULL, MASK_PASSES},
    {"InputLayer", identity, 1, 1, NULL, MASK_PASSES},
    {"MixUp", augmentation, 1, 1, NULL, MASK_ENDS},
    {"RandAugment", augmentation, 1, 1, NULL, MASK_ENDS},
    {"RandomBrightness", augmentation, 1, 1, NULL, MASK_ENDS},
    {"RandomColorDegeneration", augmentation, 1, 1, NULL, MASK_ENDS},
    {"RandomColorJitter", augmentation, 1, 1, NULL, MASK_ENDS},
    {"RandomContrast", augmentation, 1, 1, NULL, MASK_ENDS},
    {"RandomElasticTransform", augmentation, 1, 1, NULL, MASK_ENDS},
    {"RandomErasing", augmentation, 1, 1, NULL, MASK_ENDS},
    {"RandomFlip", augmentation, 1, 1, NULL, MASK_ENDS},
    {"RandomGaussianBlur", augmentation, 1, 1, NULL, MASK_ENDS},
    {"RandomGrayscale", augmentation, 1, 1, NULL, MASK_ENDS},
    {"RandomHeight", augmentation, 1, 1, NULL, MASK_ENDS},
    {"RandomHue", augmentation, 1, 1, NULL, MASK_ENDS},
    {"RandomInvert", augmentation, 1, 1, NULL, MASK_ENDS},
    {"RandomPerspective", augmentation, 1, 1, NULL, MASK_ENDS},
    {"RandomPosterization", augmentation, 1, 1, NULL, MASK_ENDS},
    {"RandomRotation", augmentation, 1, 1, NULL, MASK_ENDS},
    {"RandomSaturation", augmentation, 1, 1, NULL, MASK_ENDS},
    {"RandomSharpness", augmentation, 1, 1, NULL, MASK_ENDS},
    {"RandomShear", augmentation, 1, 1, NULL, MASK_ENDS},
    {"RandomTranslation", augmentation, 1, 1, NULL, MASK_ENDS},
    {"RandomWidth", augmentation, 1, 1, NULL, MASK_ENDS},
    {"RandomZoom", augmentation, 1, 1, NULL, MASK_ENDS},
    {"Solarization", augmentation, 1, 1, NULL, MASK_ENDS},
    {"SpatialDropout1D", identity, 1, 1, NULL, MASK_PASSES},
    {"SpatialDropout2D", identity, 1, 1, NULL, MASK_PASSES},
    {"SpatialDropout3D", identity, 1, 1, NULL, MASK_PASSES},
    {0},
};
