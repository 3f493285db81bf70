#include "frontend/keras/keras.h"
const LayerKind operations[] = {{0}};
