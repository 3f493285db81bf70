"""Normalizations."""
import numpy as np
from case import case, random

x, scale = random(2, 6, 3), random(3, seed=1)
mean_square = (x**2).mean(-1, keepdims=True)
grouped = x.reshape(2, 2, -1)
centred = (grouped - grouped.mean(-1, keepdims=True)) / np.sqrt(grouped.var(-1, keepdims=True) + 1e-5)
by_channel, by_group = random(6, seed=2), random(2, seed=3)

case("RMSNormalization", "", opset=23, inputs=[x, scale], outputs=[x / np.sqrt(mean_square + 1e-5) * scale])
case("GroupNormalization", "scale_of_groups", opset=18, inputs=[x, by_group, by_group], num_groups=2,
     outputs=[(centred * by_group[:, None] + by_group[:, None]).reshape(x.shape)])
case("GroupNormalization", "scale_of_channels", opset=21, inputs=[x, by_channel, by_channel], num_groups=2,
     outputs=[centred.reshape(x.shape) * by_channel[:, None] + by_channel[:, None]])
