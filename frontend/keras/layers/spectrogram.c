#include "frontend/keras/keras.h"
const LayerKind spectrogram_layers[] = {{0}};
