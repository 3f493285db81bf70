"""Steps of optimisers, and gradients: those expected are central differences in f64."""
import numpy as np
from case import case, node, random

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


def gradient_case(name, nodes, function, inputs, wanted, **attributes):
    """Gradient of y with respect to the first `wanted` inputs, x0, x1, ...; function computes y."""
    wide, outputs = [np.float64(array) for array in inputs], []
    for i in range(wanted):
        slope = np.empty(wide[i].shape)
        for at in np.ndindex(slope.shape):
            sums = []
            for change in 1e-5, -1e-5:
                moved = [array.copy() for array in wide]
                moved[i][at] += change
                sums.append(np.sum(function(*moved)))
            slope[at] = (sums[0] - sums[1]) / 2e-5
        outputs.append(np.float32(slope))
    names = [f"x{i}" for i in range(len(inputs))]
    gradient = node("ai.onnx.preview.training.Gradient", " ".join(names), " ".join(f"y{i}" for i in range(wanted)), xs=names[:wanted], y="y",
                    **dict(dict(zs=names[wanted:]) if names[wanted:] else {}, **attributes))
    case("Gradient", name, opset=13, domains=domains, nodes=[*nodes, gradient], inputs=inputs, outputs=outputs)


def softmax(x, axis):
    e = np.exp(x - x.max(axis, keepdims=True))
    return e / e.sum(axis, keepdims=True)


wide = random(2, 3, 4, seed=5)
away = np.where(np.abs(wide) < 0.05, np.float32(0.5), wide)  # from where slopes jump
positive = np.abs(away)
vectorized_erf = np.vectorize(__import__("math").erf)
for op, function, at in [
        ("Abs", np.abs, away), ("Ceil", np.ceil, away * 0.9), ("Cos", np.cos, wide), ("Erf", vectorized_erf, wide), ("Exp", np.exp, wide),
        ("Floor", np.floor, away * 0.9), ("Log", np.log, positive), ("Neg", np.negative, wide), ("Relu", lambda x: np.maximum(x, 0), away),
        ("Sigmoid", lambda x: 1 / (1 + np.exp(-x)), wide), ("Sign", np.sign, away), ("Sin", np.sin, wide), ("Softplus", lambda x: np.log1p(np.exp(x)), wide),
        ("Sqrt", np.sqrt, positive), ("Tanh", np.tanh, wide)]:
    gradient_case(op, [node(op, "x0", "y")], function, [at], 1)
row = random(3, 1, seed=6) + 2
for op, function in [("Add", np.add), ("Sub", np.subtract), ("Mul", np.multiply), ("Div", np.divide), ("Max", np.maximum), ("Min", np.minimum)]:
    gradient_case(op, [node(op, "x0 x1", "y")], function, [wide, row * (0.3 if op in ("Max", "Min") else 1)], 2)
gradient_case("Pow", [node("Pow", "x0 x1", "y")], np.power, [positive, row], 2)
weights = random(5, 4, 6, seed=7)
weigh = [node("Mul", "t x1", "y")]  # so that what comes back differs from element to element
gradient_case("Softmax", [node("Softmax", "x0", "t", axis=1), *weigh], lambda x, w: softmax(x, 1) * w, [wide, random(2, 3, 4, seed=8)], 2)
gradient_case("Transpose", [node("Transpose", "x0", "t", perm=[2, 0, 1]), *weigh], lambda x, w: x.transpose(2, 0, 1) * w, [wide, random(4, 2, 3)], 1)
gradient_case("Reshape", [node("Flatten", "x0", "t", axis=2), *weigh], lambda x, w: x.reshape(6, 4) * w, [wide, random(6, 4)], 1)
gradient_case("Concat", [node("Concat", "x0 x2 x0", "t", axis=1), *weigh], lambda x, w, z: np.concatenate([x, z, x], 1) * w, [wide, random(2, 8, 4), random(2, 2, 4)], 3)
for op, function in [("ReduceMean", np.mean), ("ReduceSumSquare", lambda x, axes, keepdims: np.sum(x * x, axes, keepdims=keepdims))]:
    gradient_case(op, [node(op, "x0", "t", axes=[0, -1]), *weigh], lambda x, w, f=function: f(x, (0, 2), keepdims=True) * w, [wide, random(1, 3, 1)], 1)
gradient_case("MatMul", [node("MatMul", "x0 x1", "y")], np.matmul, [random(5, 1, 3, 4), weights], 2)
for trans_a in 0, 1:
    for trans_b in 0, 1:
        a, b, c = random(*((4, 3) if trans_a else (3, 4))), random(*((5, 4) if trans_b else (4, 5))), random(5)
        gradient_case(f"Gemm_{trans_a}{trans_b}", [node("Gemm", "x0 x1 x2", "p", transA=trans_a, transB=trans_b, alpha=0.5, beta=2.0), node("Tanh", "p", "y")],
                      lambda a, b, c, ta=trans_a, tb=trans_b: np.tanh(0.5 * (a.T if ta else a) @ (b.T if tb else b) + 2 * c), [a, b, c], 3)
network = [node("MatMul", "x0 x1", "h"), node("Relu", "h", "r"), node("MatMul", "r x2", "s"), node("Mul", "s s", "y")]
layers = lambda x, w, v: (np.maximum(x @ w, 0) @ v)**2
gradient_case("network", network, layers, [random(2, 6), random(6, 5), random(5, 3)], 2)

# x1 stands for x0 in what is differentiated
start, other = random(7, seed=9), random(7, seed=10)
case("Gradient", "elsewhere", opset=13, domains=domains, inputs=[start, other], outputs=[np.exp(start), (np.exp(other) * np.cos(np.exp(other))).astype(np.float32)],
     nodes=[node("Exp", "x0", "y0"), node("Sin", "y0", "s"), node("ai.onnx.preview.training.Gradient", "x1", "y1", xs=["x0"], y="s")])
case("Gradient", "nothing", opset=13, domains=domains, inputs=[start, other], outputs=[np.exp(start), np.zeros(7, np.float32)],
     nodes=[node("Exp", "x0", "y0"), node("ai.onnx.preview.training.Gradient", "x1", "y1", xs=["x1"], y="y0")])
case("Gradient", "no_rule", opset=13, domains=domains, inputs=[start], outputs=[start], error="the gradient of cum_sum is not supported",
     nodes=[node("Constant", "", "axis", value_int=0), node("CumSum", "x0 axis", "y"), node("ai.onnx.preview.training.Gradient", "x0", "y0", xs=["x0"], y="y")])
