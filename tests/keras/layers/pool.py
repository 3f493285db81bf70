"""Pooling of one to three axes: windows, adaptive, global, masked."""
import itertools

import numpy as np

from models import layer
from table import case, reference

SHAPES = {1: (7,), 2: (7, 5), 3: (5, 4, 7)}


def adaptive(reduce):
    def pool(call):
        x, first = call.inputs[0], call.config.get("data_format") == "channels_first"
        if first:
            x = np.moveaxis(x, 1, -1)
        spatial, sizes = x.ndim - 2, call.config["output_size"]
        sizes = [sizes] * spatial if isinstance(sizes, int) else sizes
        y = np.zeros((len(x), *sizes, x.shape[-1]))
        for at in itertools.product(*map(range, sizes)):
            window = [slice(i * n // m, -(-(i + 1) * n // m)) for i, n, m in zip(at, x.shape[1:], sizes)]
            y[(slice(None), *at)] = reduce(x[(slice(None), *window)], axis=tuple(range(1, spatial + 1)))
        return np.moveaxis(y, -1, 1) if first else y
    return pool


def windowed(reduce, fill):
    def pool(call):
        x, first = call.inputs[0], call.config.get("data_format") == "channels_first"
        if first:
            x = np.moveaxis(x, 1, -1)
        spatial = x.ndim - 2
        wide = lambda v: [v] * spatial if isinstance(v, int) else list(v)
        size = wide(call.config["pool_size"])
        strides = wide(call.config.get("strides") or size)
        if call.config["padding"] == "same":
            total = [max((-(-n // s) - 1) * s + k - n, 0) for n, k, s in zip(x.shape[1:], size, strides)]
            x = np.pad(x, [(0, 0), *[(t // 2, t - t // 2) for t in total], (0, 0)], constant_values=fill)
        view = np.lib.stride_tricks.sliding_window_view(x, size, axis=tuple(range(1, spatial + 1)))
        view = view[(slice(None), *[slice(None, None, s) for s in strides])]
        y = reduce(view, axis=tuple(range(-spatial, 0)))
        return np.moveaxis(y, -1, 1) if first else y
    return pool


def over_all(reduce):
    def pool(call):
        x, first = call.inputs[0], call.config.get("data_format") == "channels_first"
        axes = tuple(range(2, x.ndim)) if first else tuple(range(1, x.ndim - 1))
        if call.masks[0] is not None and reduce is np.mean:
            counts = call.masks[0][..., None]
            return (x * counts).sum(1) / counts.sum(1)
        return reduce(x, axis=axes, keepdims=call.config.get("keepdims", False))
    return pool


for d, shape in SHAPES.items():
    reference(f"AdaptiveAveragePooling{d}D")(adaptive(np.mean))
    reference(f"AdaptiveMaxPooling{d}D")(adaptive(np.max))
    reference(f"AveragePooling{d}D")(windowed(np.nanmean, np.nan))
    reference(f"MaxPooling{d}D")(windowed(np.max, -np.inf))
    reference(f"GlobalAveragePooling{d}D")(over_all(np.mean))
    reference(f"GlobalMaxPooling{d}D")(over_all(np.max))
    for kind in ("Average", "Max"):
        name = f"{kind.lower()}_pool_{d}d"
        case(f"{name}_adaptive", layer(f"Adaptive{kind}Pooling{d}D", "y", output_size=[3] * d), shape=(*shape, 2), versions=(3,))
        case(f"{name}_adaptive_first", layer(f"Adaptive{kind}Pooling{d}D", "y", output_size=2, data_format="channels_first"),
             shape=(2, *shape), versions=(3,))
        case(f"{name}_adaptive_more", layer(f"Adaptive{kind}Pooling{d}D", "y", output_size=list(range(9, 9 - d, -1))), shape=(*shape, 2),
             versions=(3,))
        case(name, layer(f"{kind}Pooling{d}D", "y", pool_size=2, strides=None, padding="valid"), shape=(*shape, 2))
        case(f"{name}_same", layer(f"{kind}Pooling{d}D", "y", pool_size=[3] * d, strides=[2] * d, padding="same"), shape=(*shape, 2))
        case(f"{name}_first", layer(f"{kind}Pooling{d}D", "y", pool_size=[2] * d, strides=[1] * d, padding="same",
                                    data_format="channels_first"), shape=(2, *shape))
        case(f"{name}_global", layer(f"Global{kind}Pooling{d}D", "y", keepdims=False), shape=(*shape, 2))
        case(f"{name}_global_keep", layer(f"Global{kind}Pooling{d}D", "y", keepdims=True, data_format="channels_first"), shape=(2, *shape))

case("adaptive_open", layer("AdaptiveMaxPooling1D", "y", output_size=3), shape=(None, 2), versions=(3,), error="fixed size")
