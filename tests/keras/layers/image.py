"""Resampling of images and sequences, cropping, scaling; rows of a matrix of weights per axis, as TensorFlow defines its kernels."""
import numpy as np

from models import image, layer, Model
from table import case, reference

KERNELS = {
    "bilinear": lambda x: np.maximum(1 - x, 0),
    "bicubic": lambda x: np.where(x < 1, 1.5 * x**3 - 2.5 * x**2 + 1, np.where(x < 2, -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2, 0)),
    "mitchellcubic": lambda x: np.where(x < 1, (7 * x**3 - 12 * x**2 + 16 / 3) / 6,
                                        np.where(x < 2, (-7 / 3 * x**3 + 12 * x**2 - 20 * x + 32 / 3) / 6, 0)),
    "gaussian": lambda x: np.where(x < 1.5, np.exp(-2 * x * x), 0),
    "lanczos3": lambda x: np.where(x < 3, np.sinc(x) * np.sinc(x / 3), 0),
    "lanczos5": lambda x: np.where(x < 5, np.sinc(x) * np.sinc(x / 5), 0),
}


def weights(old, new, how, antialias):
    """[new][old]"""
    ratio = old / new
    centres, places = (np.arange(new)[:, None] + 0.5) * ratio, np.arange(old) + 0.5
    if how == "nearest":
        return (np.floor(centres) == np.arange(old)).astype(float)
    if how == "area":
        w = np.clip(np.minimum(np.arange(old) + 1, centres + ratio / 2) - np.maximum(np.arange(old), centres - ratio / 2), 0, None)
    else:
        at = centres if how != "bilinear" or antialias else np.clip(centres, 0.5, old - 0.5)
        w = KERNELS[how](np.abs(places - at) / (max(ratio, 1) if antialias else 1))
    return w / w.sum(1, keepdims=True)


def resampled(x, sizes, how, antialias=False, first=1):
    for axis, size in enumerate(sizes, first):
        x = np.moveaxis(np.moveaxis(x, axis, -1) @ weights(x.shape[axis], size, how, antialias).T, -1, axis)
    return x


def first_axis(config):
    return 2 if config.get("data_format") == "channels_first" else 1


@reference("UpSampling1D", "UpSampling2D", "UpSampling3D")
def upsampling(call):
    x, at = call.inputs[0], first_axis(call.config)
    size = call.config["size"]
    size = [size] * (x.ndim - 2) if isinstance(size, int) else size
    return resampled(x, [n * f for n, f in zip(x.shape[at:], size)], call.config.get("interpolation", "nearest"), first=at)


def fitted(config, x, target, crop):
    """Cropped or padded to the proportions of the target."""
    at = first_axis(config)
    has = x.shape[at:at + 2]
    fit = [int(has[1 - i] * target[i] / target[1 - i]) for i in range(2)]
    for i in range(2):
        size = max(min(has[i], fit[i]), 1) if crop else max(has[i], fit[i])
        begin = abs(has[i] - size) // 2
        if crop:
            x = x.take(range(begin, begin + size), axis=at + i)
        else:
            pads = [(0, 0)] * x.ndim
            pads[at + i] = (begin, size - has[i] - begin)
            x = np.pad(x, pads, constant_values=config.get("fill_value", 0))
    return x


@reference("Resizing")
def resizing(call):
    x, c = call.inputs[0], call.config
    target = (c["height"], c["width"])
    for member, crop in (("crop_to_aspect_ratio", True), ("pad_to_aspect_ratio", False)):
        if c.get(member):
            x = fitted(c, x, target, crop)
    return resampled(x, target, c["interpolation"], c.get("antialias", False), first_axis(c))


@reference("CenterCrop")
def center_crop(call):
    x, c, at = call.inputs[0], call.config, first_axis(call.config)
    target = (c["height"], c["width"])
    if x.shape[at] < target[0] or x.shape[at + 1] < target[1]:
        return resampled(fitted(c, x, target, True), target, "bilinear", first=at)
    for i in range(2):
        begin = (x.shape[at + i] - target[i]) // 2
        x = x.take(range(begin, begin + target[i]), axis=at + i)
    return x


@reference("Normalization")
def normalization(call):
    x, c = call.inputs[0], call.config
    axis = c["axis"]
    axes = [] if axis is None else [a % x.ndim for a in (axis if isinstance(axis, list) else [axis])]
    shape = [n if i in axes else 1 for i, n in enumerate(x.shape)]
    mean, variance = (np.asarray(c[m] if c.get("mean") is not None else call.weights[i], float) for i, m in enumerate(("mean", "variance")))
    mean, variance = (v.reshape(shape) if v.size > 1 else v.reshape(()) for v in (mean, variance))
    deviation = np.maximum(np.sqrt(variance), 1e-7)
    return mean + x * deviation if c.get("invert") else (x - mean) / deviation


for how in ("nearest", "bilinear", "bicubic", "lanczos3", "lanczos5", "gaussian", "mitchellcubic", "area"):
    case(f"upsampling_{how}", layer("UpSampling2D", "y", size=[2, 3], interpolation=how))
    case(f"resizing_{how}", layer("Resizing", "y", height=9, width=4, interpolation=how))
case("upsampling_first", layer("UpSampling2D", "y", size=2, interpolation="bicubic", data_format="channels_first"), shape=(2, 4, 5))
case("upsampling_1d", layer("UpSampling1D", "y", size=3), shape=(5, 4))
case("upsampling_3d", layer("UpSampling3D", "y", size=[2, 1, 3], data_format="channels_first"), shape=(2, 3, 4, 2))
case("upsampling_wrong", layer("UpSampling2D", "y", size=2, interpolation="magic"), error="'magic'")
case("upsampling_open", layer("UpSampling2D", "y", size=2, interpolation="lanczos3"), shape=(None, 5, 2), error="fixed size")
for how in ("bilinear", "bicubic", "lanczos3"):
    case(f"resizing_antialias_{how}", layer("Resizing", "y", height=3, width=9, interpolation=how, antialias=True), versions=(3,))
case("resizing_crop", layer("Resizing", "y", height=4, width=9, interpolation="bilinear", crop_to_aspect_ratio=True))
case("resizing_pad", layer("Resizing", "y", height=4, width=9, interpolation="bilinear", pad_to_aspect_ratio=True, fill_value=2.0), versions=(3,))
case("resizing_first", layer("Resizing", "y", height=4, width=9, interpolation="nearest", data_format="channels_first"), shape=(2, 6, 7),
     versions=(3,))
case("resizing_u8", model=Model("", [image(5, 6, 3, dtype="uint8"), layer("Resizing", "y", height=8, width=3, interpolation="bilinear")]))
case("center_crop", layer("CenterCrop", "y", height=3, width=4))
case("center_crop_small", layer("CenterCrop", "y", height=8, width=4))
case("center_crop_first", layer("CenterCrop", "y", height=3, width=4, data_format="channels_first"), shape=(2, 6, 7), versions=(3,))

STATISTICS = [np.float32([0.5, -1, 2, 0]), np.float32([1, 4, 0.25, 0]), np.int32(7)]
NAMES = [("mean", (4,)), ("variance", (4,)), ("count", ())]
case("normalization", layer("Normalization", "y", weights=NAMES, axis=[-1], invert=False, mean=None, variance=None),
     weights={"y": STATISTICS}, shape=(5, 4))
case("normalization_invert", layer("Normalization", "y", weights=NAMES, axis=-1, invert=True), weights={"y": STATISTICS}, shape=(5, 4))
case("normalization_axis_1", layer("Normalization", "y", weights=NAMES, axis=1), weights={"y": STATISTICS}, shape=(4, 5))
case("normalization_given", layer("Normalization", "y", axis=-1, mean=[[[1, 2, 3, 4]]], variance=[[[1, 2, 3, 4]]]))
case("normalization_scalar", layer("Normalization", "y", axis=None, mean=3.0, variance=2.0))
case("normalization_none", layer("Normalization", "y", weights=[(n, ()) for n, _ in NAMES], axis=None),
     weights={"y": [np.float32(1), np.float32(4), np.int32(3)]})
case("normalization_two_axes", layer("Normalization", "y", weights=[("mean", (7, 4)), ("variance", (7, 4)), ("count", ())], axis=[2, 3]),
     weights={"y": [np.random.default_rng(1).random((7, 4), np.float32) for _ in range(2)] + [np.int32(2)]})
