"""Normalisation over axes, groups of channels, lengths."""
import numpy as np

from models import layer
from table import case, reference


def axes_of(call, x):
    axis = call.config.get("axis", -1)
    return tuple(a % x.ndim for a in (axis if isinstance(axis, list) else [axis]))


def along(w, x, axes):
    return w.reshape([n if i in axes else 1 for i, n in enumerate(x.shape)])


@reference("LayerNormalization", passing=True)
def layer_normalization(call):
    x, rest, config = call.inputs[0], list(call.weights), call.config
    axes, epsilon = axes_of(call, x), config.get("epsilon", 1e-3)
    inverse = 1 / np.sqrt(x.var(axis=axes, keepdims=True) + epsilon)
    if config.get("rms_scaling"):
        return x * inverse * along(rest[0], x, axes)
    y = (x - x.mean(axis=axes, keepdims=True)) * inverse
    if config["scale"]:
        y = y * along(rest.pop(0), x, axes)
    return y + along(rest.pop(0), x, axes) if config["center"] else y


@reference("RMSNormalization", passing=True)
def rms_normalization(call):
    x = call.inputs[0]
    axes = axes_of(call, x)
    return x / np.sqrt((x * x).mean(axis=axes, keepdims=True) + call.config["epsilon"]) * along(call.weights[0], x, axes)


@reference("GroupNormalization", passing=True)
def group_normalization(call):
    x, rest, config = call.inputs[0], list(call.weights), call.config
    axis, groups = axes_of(call, x)[0], config["groups"]
    size = x.shape[axis]
    groups = size if groups == -1 else groups
    parts = np.split(x, groups, axis)
    every = tuple(range(1, x.ndim))
    y = np.concatenate([(p - p.mean(axis=every, keepdims=True)) / np.sqrt(p.var(axis=every, keepdims=True) + config["epsilon"])
                        for p in parts], axis)
    if config["scale"]:
        y = y * along(rest.pop(0), x, (axis,))
    return y + along(rest.pop(0), x, (axis,)) if config["center"] else y


@reference("UnitNormalization", passing=True)
def unit_normalization(call):
    x = call.inputs[0]
    return x / np.maximum(np.sqrt((x * x).sum(axis=axes_of(call, x), keepdims=True)), 1e-12 if call.major > 2 else 1e-6)


@reference("SpectralNormalization")
def spectral_normalization(call):
    return call.inputs[0] @ call.weights[0] + call.weights[1]


def norm(cls, name, weights, **config):
    return layer(cls, name, weights=weights, **config)


def layer_norm(shape, scale=True, center=True, epsilon=1e-3, **config):
    weights = [("gamma", shape)] * scale + [("beta", shape)] * center
    return norm("LayerNormalization", "y", weights, scale=scale, center=center, epsilon=epsilon, **config)


def group_norm(channels, scale=True, center=True, epsilon=1e-3, **config):
    weights = [("gamma", (channels,))] * scale + [("beta", (channels,))] * center
    return norm("GroupNormalization", "y", weights, scale=scale, center=center, epsilon=epsilon, **config)


case("layer_norm", layer_norm((4,), axis=[-1]))
case("layer_norm_axis_1", layer_norm((6,), axis=1, epsilon=1e-5))
case("layer_norm_axes", layer_norm((6, 7, 4), axis=[1, 2, 3]))
case("layer_norm_two_axes", layer_norm((6, 4), axis=[1, 3], center=False))
case("layer_norm_bare", layer_norm((4,), axis=-1, scale=False, center=False))
case("layer_norm_center", layer_norm((4,), axis=-1, scale=False))
case("layer_norm_rms", norm("LayerNormalization", "y", [("gamma", (4,))], scale=True, center=True, rms_scaling=True, axis=-1, epsilon=1e-3),
     versions=(3,))
case("layer_norm_order", layer_norm((4, 6), axis=[3, 1]), error="ascend")
case("rms_norm", norm("RMSNormalization", "y", [("scale", (4,))], axis=-1, epsilon=1e-6), versions=(3,))
case("rms_norm_axis_1", norm("RMSNormalization", "y", [("scale", (6,))], axis=1, epsilon=1e-2), versions=(3,))
case("rms_norm_axes", norm("RMSNormalization", "y", [("scale", (7, 4))], axis=[2, 3], epsilon=1e-6), versions=(3,))
case("group_norm", group_norm(4, groups=2, axis=-1))
case("group_norm_instance", group_norm(4, groups=-1, axis=-1, scale=False))
case("group_norm_one", group_norm(4, groups=1, axis=3, center=False))
case("group_norm_first", group_norm(6, groups=3, axis=1, epsilon=1e-5))
case("group_norm_middle", group_norm(7, groups=7, axis=2))
case("group_norm_sequence", group_norm(6, groups=2, axis=-1), shape=(5, 6))
case("group_norm_vector", group_norm(6, groups=2, axis=-1), shape=(6,))
case("group_norm_wrong", group_norm(4, groups=3, axis=-1), error="3 groups do not divide")
case("unit_norm", norm("UnitNormalization", "y", [], axis=-1))
case("unit_norm_axes", norm("UnitNormalization", "y", [], axis=[1, 2]))
case("unit_norm_zero", norm("UnitNormalization", "y", [], axis=-1), shape=(4,), inputs={"image": np.array([[0, 0, 0, 0], [1, 2, 3, 4.]], "f")})
case("spectral_norm", layer("SpectralNormalization", "y", weights=[("layer/kernel", (4, 5)), ("layer/bias", (5,)), ("vector_u", (1, 5))],
                            power_iterations=1, layer={"class_name": "Dense", "config": {"name": "d", "units": 5, "use_bias": True}}),
     shape=(4,))
for axis, size in ((1, 6), (2, 7), (-1, 4)):
    case(f"batch_norm_axis{axis}", norm("BatchNormalization", "y", [(n, (size,)) for n in ("gamma", "beta", "moving_mean", "moving_variance")],
                                        axis=axis, scale=True, center=True, epsilon=1e-3))
