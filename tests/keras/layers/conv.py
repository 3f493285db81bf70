"""Convolutions of one to three axes: plain, grouped, depthwise, separable, transposed, and with a kernel for every position."""
import numpy as np

from forward import activate
from models import layer
from table import case, reference

SHAPES = {1: (7,), 2: (7, 5), 3: (5, 4, 6)}


def wide(value, spatial):
    return [value] * spatial if isinstance(value, int) else list(value)


def padded(x, config, sizes, strides, dilation):
    spans = [(k - 1) * d + 1 for k, d in zip(sizes, dilation)]
    pads = [(0, 0)] * len(sizes)
    if config["padding"] == "same":
        total = [max((-(-n // s) - 1) * s + k - n, 0) for n, k, s in zip(x.shape[1:], spans, strides)]
        pads = [(t // 2, t - t // 2) for t in total]
    if config["padding"] == "causal":
        pads = [(spans[0] - 1, 0)]
    return np.pad(x, [(0, 0), *pads, (0, 0)]), spans


def convolved(x, config, kernel):
    """Sums over the places of the kernel [..][in][out] of the input at these places."""
    spatial = x.ndim - 2
    strides, dilation = wide(config.get("strides", 1), spatial), wide(config.get("dilation_rate", 1), spatial)
    x, spans = padded(x, config, kernel.shape[:spatial], strides, dilation)
    counts = [(n - k) // s + 1 for n, k, s in zip(x.shape[1:], spans, strides)]
    y = 0
    for at in np.ndindex(*kernel.shape[:spatial]):
        part = tuple(slice(a * d, a * d + (c - 1) * s + 1, s) for a, d, c, s in zip(at, dilation, counts, strides))
        y = y + x[(slice(None), *part)] @ kernel[at]
    return y


def in_layer(function):
    """Channel order, bias and activation around it."""
    def run(call):
        x, first = call.inputs[0], call.config.get("data_format") == "channels_first"
        y = function(np.moveaxis(x, 1, -1) if first else x, call.config, call.weights)
        if call.config["use_bias"] and "LocallyConnected" not in call.config["name"]:
            y = y + call.weights[-1]
        return activate(call.config.get("activation"), np.moveaxis(y, -1, 1) if first else y, call.major)
    return run


def conv(x, config, weights):
    groups = config.get("groups", 1)
    parts = zip(np.split(x, groups, -1), np.split(weights[0], groups, -1))
    return np.concatenate([convolved(p, config, k) for p, k in parts], -1)


def depthwise(x, config, weights):
    """Output c * multiplier + m is of channel c alone."""
    kernel = weights[0]
    return np.concatenate([convolved(x[..., c:c + 1], config, kernel[..., c:c + 1, :]) for c in range(x.shape[-1])], -1)


def separable(x, config, weights):
    return depthwise(x, config, weights) @ weights[1].reshape(weights[1].shape[-2:])


def transposed(x, config, weights):
    """Every input spreads the kernel [..][out][in] over the result, which is then cut to Keras' size."""
    kernel = weights[0]
    spatial = x.ndim - 2
    strides, dilation = wide(config["strides"], spatial), wide(config.get("dilation_rate", 1), spatial)
    extra = config.get("output_padding")
    spans = [(k - 1) * d + 1 for k, d in zip(kernel.shape, dilation)]
    y = np.zeros((len(x), *[(n - 1) * s + k + 2 * s for n, s, k in zip(x.shape[1:], strides, spans)], kernel.shape[-2]))
    for at in np.ndindex(*kernel.shape[:spatial]):
        part = tuple(slice(a * d, a * d + (n - 1) * s + 1, s) for a, d, n, s in zip(at, dilation, x.shape[1:], strides))
        y[(slice(None), *part)] += x @ kernel[at].T
    for i, (n, s, k) in enumerate(zip(x.shape[1:], strides, spans)):
        full, same = (n - 1) * s + k, config["padding"] == "same"
        size = n * s + (0 if same else max(k - s, 0))
        if extra is not None:
            size = full - (2 * (k // 2) if same else 0) + wide(extra, spatial)[i]
        begin = max(full - size, 0) // 2 if same else 0
        y = y.take(range(begin, begin + size), axis=1 + i)
    return y


def local(call):
    """Implementations 1 and 2: a kernel for every position, [position][window][filters] or all inputs by all outputs."""
    c, first = call.config, call.config.get("data_format") == "channels_first"
    x = call.inputs[0]
    spatial = x.ndim - 2
    sizes, strides = wide(c["kernel_size"], spatial), wide(c["strides"], spatial)
    if c["implementation"] == 2:
        y = np.tensordot(x, call.weights[0], spatial + 1)  # in the layer's channel order
    else:
        n = x.shape[2:] if first else x.shape[1:-1]
        counts = [(a - k) // s + 1 for a, k, s in zip(n, sizes, strides)]
        y = np.zeros((len(x), *counts, c["filters"]))
        for i, at in enumerate(np.ndindex(*counts)):
            part = tuple(slice(a * s, a * s + k) for a, s, k in zip(at, strides, sizes))
            part = (slice(None), slice(None), *part) if first else (slice(None), *part)
            y[(slice(None), *at)] = x[part].reshape(len(x), -1) @ call.weights[0][i]
        y = np.moveaxis(y, -1, 1) if first else y
    if c["use_bias"]:
        y = y + call.weights[1].reshape(y.shape[1:])  # sic: not moved when channels come first
    return activate(c.get("activation"), y, call.major)


def layer_of(kind, name, d, fan_in=4, filters=6, kernel=2, use_bias=True, **config):
    config = {"strides": 1, "padding": "valid", "activation": "linear", **config}
    k = wide(kernel, d)
    groups, mult = config.get("groups", 1), config.get("depth_multiplier", 1)
    shapes = {"Conv": [("kernel", (*k, fan_in // groups, filters))], "Transpose": [("kernel", (*k, filters, fan_in))],
              "DepthwiseConv": [("depthwise_kernel", (*k, fan_in, mult))],
              "SeparableConv": [("depthwise_kernel", (*k, fan_in, mult)), ("pointwise_kernel", (*[1] * d, fan_in * mult, filters))]}[kind]
    bias = fan_in * mult if kind == "DepthwiseConv" else filters
    cls = f"Conv{d}DTranspose" if kind == "Transpose" else f"{kind}{d}D"
    if kind != "DepthwiseConv":
        config["filters"] = filters
    return layer(cls, name, weights=shapes + [("bias", (bias,))] * use_bias, kernel_size=k, use_bias=use_bias, **config)


for d, shape in SHAPES.items():
    reference(f"Conv{d}D")(in_layer(conv))
    reference(f"Conv{d}DTranspose")(in_layer(transposed))
    reference(f"DepthwiseConv{d}D")(in_layer(depthwise))
    reference(f"SeparableConv{d}D")(in_layer(separable))
    first = {"data_format": "channels_first"}
    for kind in ("Conv", "Transpose", "DepthwiseConv", "SeparableConv"):
        if kind in ("DepthwiseConv", "SeparableConv") and d == 3:
            continue
        name = f"{kind.lower()}_{d}d"
        case(name, layer_of(kind, "y", d), shape=(*shape, 4))
        case(f"{name}_same", layer_of(kind, "y", d, padding="same", strides=2, kernel=3, activation="relu"), shape=(*shape, 4))
        case(f"{name}_even", layer_of(kind, "y", d, padding="same", kernel=4, strides=[3] * d, use_bias=False), shape=(*shape, 4))
        case(f"{name}_first", layer_of(kind, "y", d, padding="same", strides=2, activation="softmax", **first), shape=(4, *shape))
        case(f"{name}_dilated", layer_of(kind, "y", d, dilation_rate=2, padding="same"), shape=(*shape, 4))
    case(f"conv_{d}d_groups", layer_of("Conv", "y", d, groups=2, padding="same", strides=2), shape=(*shape, 4))
    case(f"transpose_{d}d_extra", layer_of("Transpose", "y", d, strides=3, kernel=3, output_padding=1, padding="same"), shape=(*shape, 4))
    case(f"transpose_{d}d_extra_valid", layer_of("Transpose", "y", d, strides=2, kernel=3, output_padding=[1] * d), shape=(*shape, 4))
    case(f"transpose_{d}d_gap", layer_of("Transpose", "y", d, strides=3, kernel=2), shape=(*shape, 4))
    case(f"conv_{d}d_open", layer_of("Conv", "y", d, padding="same", strides=2, kernel=3), shape=(*[None] * d, 4))
    case(f"conv_{d}d_open_stride_3", layer_of("Conv", "y", d, padding="same", strides=3, kernel=2), shape=(*[None] * d, 4))
    case(f"max_pool_{d}d_open", layer(f"MaxPooling{d}D", "y", pool_size=3, strides=2, padding="same"), shape=(*[None] * d, 4))
    case(f"average_pool_{d}d_open", layer(f"AveragePooling{d}D", "y", pool_size=3, strides=2, padding="same"), shape=(*[None] * d, 4))
for kind in ("Conv", "DepthwiseConv", "SeparableConv"):
    case(f"{kind.lower()}_causal", layer_of(kind, "y", 1, padding="causal", dilation_rate=2), shape=(7, 4))
    case(f"{kind.lower()}_multiplier", layer_of(kind, "y", 2, padding="same", **({} if kind == "Conv" else {"depth_multiplier": 3})), shape=(7, 5, 4))

for d, (shape, counts) in {1: ((7,), (6,)), 2: ((5, 4), (4, 3))}.items():
    reference(f"LocallyConnected{d}D")(local)
    n, p = int(np.prod(shape)), int(np.prod(counts))
    for order in ("channels_last", "channels_first"):
        full = (*shape, 3) if order == "channels_last" else (3, *shape)
        back = (*counts, 2) if order == "channels_last" else (2, *counts)
        options = {"filters": 2, "kernel_size": [2] * d, "strides": [1] * d, "padding": "valid", "data_format": order, "activation": "tanh", "use_bias": True}
        bias = ("bias", (*counts, 2))
        case(f"local_{d}d_{order}", layer(f"LocallyConnected{d}D", "y", weights=[("kernel", (p, 2**d * 3, 2)), bias], implementation=1, **options),
             shape=full, versions=(2,))
        kernel = np.zeros((*full, *back), np.float32)
        rng = np.random.default_rng(d)
        for at in np.ndindex(*counts):
            for f in range(2):
                window = tuple(slice(a, a + 2) for a in at)
                inner = (*window, slice(None)) if order == "channels_last" else (slice(None), *window)
                outer = (*at, f) if order == "channels_last" else (f, *at)
                kernel[(*inner, *outer)] = rng.standard_normal(kernel[(*inner, *outer)].shape)
        case(f"local_{d}d_{order}_2", layer(f"LocallyConnected{d}D", "y", weights=[("kernel", kernel.shape), bias], implementation=2, **options),
             shape=full, versions=(2,), weights={"y": [kernel, rng.standard_normal(bias[1]).astype(np.float32)]})
case("local_3", layer("LocallyConnected1D", "y", weights=[("kernel", (36,)), ("bias", (6, 2))], implementation=3, filters=2, kernel_size=[2],
                      strides=[1], padding="valid", use_bias=True), shape=(7, 3), versions=(2,), error="implementation 3")
