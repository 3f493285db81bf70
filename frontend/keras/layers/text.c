#include "frontend/keras/keras.h"
const LayerKind text_layers[] = {{0}};
