"""Layers that move data, wrappers, activations with weights or several axes."""
import numpy as np

from models import layer, dense, nested, Model, image, one
from table import case, reference


def pairs(value, spatial):
    if isinstance(value, int):
        return [(value, value)] * spatial
    if spatial == 1:
        return [tuple(value)]
    return [(v, v) if isinstance(v, int) else tuple(v) for v in value]


@reference("ZeroPadding1D", "ZeroPadding2D", "ZeroPadding3D")
def zero_padding(call):
    x, first = call.inputs[0], call.config.get("data_format") == "channels_first"
    inside = pairs(call.config["padding"], x.ndim - 2)
    return np.pad(x, [(0, 0), (0, 0), *inside] if first else [(0, 0), *inside, (0, 0)])


@reference("Cropping1D", "Cropping2D", "Cropping3D")
def cropping(call):
    x, first = call.inputs[0], call.config.get("data_format") == "channels_first"
    for i, (begin, end) in enumerate(pairs(call.config["cropping"], x.ndim - 2), 2 if first else 1):
        x = x.take(range(begin, x.shape[i] - end), axis=i)
    return x


@reference("RepeatVector")
def repeat_vector(call):
    return call.inputs[0][:, None].repeat(call.config["n"], axis=1)


@reference("PReLU", passing=True)
def prelu(call):
    x = call.inputs[0]
    return np.maximum(x, 0) + call.weights[0] * np.minimum(x, 0)


@reference("ThresholdedReLU")
def thresholded_relu(call):
    x = call.inputs[0]
    return np.where(x > call.config["theta"], x, 0)


@reference("TimeDistributed", passing=True)
def time_distributed(call):
    x, inner = call.inputs[0], call.config["layer"]
    import forward
    if forward.is_model(inner):
        names = iter(call.weights)
        weights = {l["config"]["name"]: [next(names) for _ in range(2)] if l["class_name"] == "Dense" else [] for l in forward.layers_of(inner)}
        run = lambda v: next(iter(forward.run_model(inner, weights, [forward.Tensor(v)], call.major).values())).value
    else:
        run = lambda v: forward.run_call(inner, call.weights, [forward.Tensor(v)], {}, call.major)[0].value
    return np.stack([run(x[:, t]) for t in range(x.shape[1])], 1)


SHAPES = {1: (7,), 2: (7, 5), 3: (5, 4, 6)}
for d, shape in SHAPES.items():
    last, first = {"shape": (*shape, 2)}, {"shape": (2, *shape)}
    case(f"zero_padding_{d}d", layer(f"ZeroPadding{d}D", "y", padding=1), **last)
    case(f"zero_padding_{d}d_sides", layer(f"ZeroPadding{d}D", "y", padding=[2, 0] if d == 1 else [[i, 3 - i] for i in range(d)]), **last)
    case(f"cropping_{d}d", layer(f"Cropping{d}D", "y", cropping=1), **last)
    case(f"cropping_{d}d_sides", layer(f"Cropping{d}D", "y", cropping=[2, 0] if d == 1 else [[i, 1] for i in range(d)]), **last)
    case(f"cropping_{d}d_all", layer(f"Cropping{d}D", "y", cropping=4), error="crops 8", **last)
    if d > 1:
        case(f"zero_padding_{d}d_first", layer(f"ZeroPadding{d}D", "y", padding=[2] * d, data_format="channels_first"), **first)
        case(f"cropping_{d}d_first", layer(f"Cropping{d}D", "y", cropping=[1] * d, data_format="channels_first"), **first)
case("repeat_vector", layer("RepeatVector", "y", n=3), shape=(4,))
case("thresholded_relu", layer("ThresholdedReLU", "y", theta=0.5), shape=(9,), versions=(2,))
for shared, shape in ((None, (6, 7, 4)), ([1], (1, 7, 4)), ([1, 2], (1, 1, 4)), ([3], (6, 7, 1))):
    case(f"prelu_{shared}".replace(" ", ""), layer("PReLU", "y", weights=[("alpha", shape)], shared_axes=shared))


def timed(name, inner, weights, **config):
    return layer("TimeDistributed", name, weights=[(f"layer/{n}", s) for n, s in weights], layer=inner, **config)


def inner(cls, **config):
    return {"module": "keras.layers", "class_name": cls, "config": {"name": "inside", **config}}


case("timed_dense", timed("y", inner("Dense", units=3, use_bias=True, activation="relu"), [("kernel", (4, 3)), ("bias", (3,))]), shape=(5, 4))
case("timed_open", timed("y", inner("Dense", units=3, use_bias=False), [("kernel", (4, 3))]), shape=(None, 4))
case("timed_conv", timed("y", inner("Conv2D", filters=3, kernel_size=[2, 2], strides=[1, 1], padding="valid", use_bias=True, groups=1,
                                    dilation_rate=[1, 1]), [("kernel", (2, 2, 4, 3)), ("bias", (3,))]), shape=(3, 5, 6, 4))
case("timed_pool", timed("y", inner("GlobalAveragePooling2D", keepdims=False), []), shape=(3, 5, 6, 4))
case("timed_flatten", timed("y", inner("Flatten"), []), shape=(3, 5, 6, 4))
case("timed_norm", timed("y", inner("BatchNormalization", axis=[-1], epsilon=1e-3, scale=True, center=True),
                         [(n, (4,)) for n in ("gamma", "beta", "moving_mean", "moving_variance")]), shape=(3, 4))
case("timed_lstm", timed("y", inner("LSTM", units=3, use_bias=True, activation="tanh", recurrent_activation="sigmoid"),
                         [("cell/kernel", (4, 12)), ("cell/recurrent_kernel", (3, 12)), ("cell/bias", (12,))]), shape=(2, 5, 4))
STACK = {"class_name": "Sequential", "config": {"name": "stack", "layers": [
    {"class_name": "InputLayer", "config": {"name": "in", "batch_shape": [None, 4]}},
    {"class_name": "Dense", "config": {"name": "dense", "units": 3, "use_bias": True, "activation": "tanh"}},
    {"class_name": "Dense", "config": {"name": "dense_1", "units": 2, "use_bias": True}}]}}
case("timed_model", timed("y", STACK, [("layers/dense/kernel", (4, 3)), ("layers/dense/bias", (3,)), ("layers/dense_1/kernel", (3, 2)),
                                       ("layers/dense_1/bias", (2,))]), shape=(5, 4))
