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

for opset in 1, 22:
    case("LpNormalization", "of_sums", opset=opset, inputs=[x], axis=1, p=1, outputs=[x / np.abs(x).sum(1, keepdims=True)])
    case("LpNormalization", "of_squares", opset=opset, inputs=[x], outputs=[x / np.sqrt((x**2).sum(-1, keepdims=True))])
case("LpNormalization", "symbolic", opset=1, inputs=[x], dims={0: ["N", 6, "W"]}, axis=-2, outputs=[x / np.sqrt((x**2).sum(-2, keepdims=True))])
case("LpNormalization", "of_cubes", opset=22, inputs=[x], p=3, error="p is 3")

# Batch normalization in training.
image, c = random(3, 4, 5, 2, seed=4), lambda v: v.reshape(-1, 1, 1)
weight, shift, mean, variance = (random(4, seed=s, low=0.5, high=1.5) for s in range(5, 9))
own_mean, own_variance = image.mean((0, 2, 3)), image.var((0, 2, 3))
trained = (image - c(own_mean)) / np.sqrt(c(own_variance) + 1e-3) * c(weight) + c(shift)
blend = lambda old, new, m: (old * m + new * (1 - m)).astype(np.float32)
running = [blend(mean, own_mean, 0.8), blend(variance, own_variance, 0.8)]
five = [image, weight, shift, mean, variance]
case("BatchNormalization", "training", opset=15, inputs=five, training_mode=1, epsilon=1e-3, momentum=0.8, outputs=[trained, *running])
case("BatchNormalization", "training_symbolic", opset=14, inputs=five, dims={0: ["N", 4, "H", 2]}, training_mode=1, epsilon=1e-3, momentum=0.8,
     outputs=[trained, *running])
case("BatchNormalization", "training", opset=9, inputs=five, epsilon=1e-3, momentum=0.8, outputs=[trained, *running, own_mean, own_variance])
half = image.astype(np.float16).astype(np.float32)
half_mean, half_variance = half.mean((0, 2, 3)), half.var((0, 2, 3))
case("BatchNormalization", "mixed_types", opset=15, inputs=[image.astype(np.float16), *five[1:]], training_mode=1, epsilon=1e-3, momentum=0.8,
     outputs=[((half - c(half_mean)) / np.sqrt(c(half_variance) + 1e-3) * c(weight) + c(shift)).astype(np.float16),
              blend(mean, half_mean, 0.8), blend(variance, half_variance, 0.8)])
normal = (half - half.mean((2, 3), keepdims=True)) / np.sqrt(half.var((2, 3), keepdims=True) + 1e-5)
ones, zeros = np.ones(4, np.float16), np.zeros(4, np.float16)
case("InstanceNormalization", "half", opset=22, inputs=[half.astype(np.float16), ones, zeros], outputs=[normal.astype(np.float16)])
last = (half - half.mean(-1, keepdims=True)) / np.sqrt(half.var(-1, keepdims=True) + 1e-5)
case("LayerNormalization", "half_statistics", opset=17, inputs=[half.astype(np.float16), ones[:2]],
     outputs=[last.astype(np.float16), half.mean(-1, keepdims=True), 1 / np.sqrt(half.var(-1, keepdims=True) + 1e-5)])
each = [random(4, 5, 2, seed=s, low=0.5, high=1.5) for s in range(4)]
by_element = (image - each[2]) / np.sqrt(each[3] + 1e-5) * each[0] + each[1]
case("BatchNormalization", "by_element", opset=7, inputs=[image, *each], spatial=0, outputs=[by_element])
own = (image - image.mean(0)) / np.sqrt(image.var(0) + 1e-5) * each[0] + each[1]
case("BatchNormalization", "by_element_training", opset=6, inputs=[image, *each], spatial=0, momentum=0.5,
     outputs=[own, blend(each[2], image.mean(0), 0.5), blend(each[3], image.var(0), 0.5)])
