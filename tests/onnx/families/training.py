"""Steps of optimisers."""
import numpy as np
from case import case, random

domains = {"ai.onnx.preview.training": 1}
x, g, v, h = (random(3, 4, seed=s) for s in range(4))
y, gy, vy, hy = (random(5, seed=s) for s in range(4))
h, hy = h * h, hy * hy
rate = np.float32(0.1)
step, first = np.int64(3), np.int64(0)


def adam(x, g, v, h, t, a=0.9, b=0.999, penalty=0.1, post=0.2):
    g = penalty * x + g
    v, h = a * v + (1 - a) * g, b * h + (1 - b) * g * g
    r = rate * np.sqrt(1 - b**t) / (1 - a**t) if t else rate
    return [z.astype(np.float32) for z in ((1 - post) * (x - r * v / (np.sqrt(h) + 1e-6)), v, h)]


def momentum(x, g, v, t, nesterov, a=0.9, b=0.5, penalty=0.1):
    g = penalty * x + g
    v = a * v + (b if t else 1) * g
    return [z.astype(np.float32) for z in (x - rate * (g + a * v if nesterov else v), v)]


options = dict(domains=domains, norm_coefficient=0.1)
new, new_y = adam(x, g, v, h, step), adam(y, gy, vy, hy, step)
case("ai.onnx.preview.training.Adam", "two", inputs=[rate, step, x, y, g, gy, v, vy, h, hy], norm_coefficient_post=0.2, **options,
     outputs=[new[0], new_y[0], new[1], new_y[1], new[2], new_y[2]])
case("ai.onnx.preview.training.Adam", "first", inputs=[rate, first, x, g, v, h], norm_coefficient_post=0.2, **options, outputs=adam(x, g, v, h, 0))
case("ai.onnx.preview.training.Adam", "odd", inputs=[rate, step, x, g, v, h, x], **options, error="7 inputs")
for mode in "standard", "nesterov":
    for t in step, first:
        case("ai.onnx.preview.training.Momentum", f"{mode}_{t}", inputs=[rate, t, x, g, v], alpha=0.9, beta=0.5, mode=mode, **options,
             outputs=momentum(x, g, v, t, mode == "nesterov"))
gradient = 0.1 * x + g
sum_of_squares = h + gradient**2
case("ai.onnx.preview.training.Adagrad", "decay", inputs=[rate, step, x, g, h], decay_factor=0.5, epsilon=1e-3, **options,
     outputs=[x - rate / 2.5 * gradient / (np.sqrt(sum_of_squares) + np.float32(1e-3)), sum_of_squares])
