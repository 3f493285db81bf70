"""What changes the contrast of images at inference, and bounding boxes. Pixel by pixel, from the definition of CLAHE."""
import math

import numpy as np

from models import Arguments, T, graph, image, layer
from table import case, reference


def scaled(x, source, target):
    return (x - source[0]) / (source[1] - source[0]) * (target[1] - target[0]) + target[0]


@reference("AutoContrast")
def auto_contrast(call):
    x, given = call.inputs[0].astype(float), sorted(call.config["value_range"])
    low, high = x.min((1, 2), keepdims=True), x.max((1, 2), keepdims=True)
    stretched = np.where(high > low, (x - low) / np.where(high > low, high - low, 1), 0)
    return np.where(high > low, stretched * (given[1] - given[0]) + given[0], x)


def new_levels(tile, limit):
    counts = np.bincount(np.clip(tile.ravel(), 0, 255).astype(int), minlength=256).astype(float)
    if limit > 0:
        most = limit * tile.size / 256
        counts = np.minimum(counts, most) + np.maximum(counts - most, 0).sum() / 256
    sums = np.cumsum(counts)
    return np.clip((sums - sums.min()) * 255 / ((tile.size - sums.min()) or 1), 0, 255)


def equalized(plane, grid, limit):
    sizes = [-(-n // g) for n, g in zip(plane.shape, grid)]
    whole = np.pad(plane, [(0, g * s - n) for n, g, s in zip(plane.shape, grid, sizes)], mode="symmetric")
    tables = [[new_levels(whole[i * sizes[0]:(i + 1) * sizes[0], k * sizes[1]:(k + 1) * sizes[1]], limit) for k in range(grid[1])]
              for i in range(grid[0])]
    y = np.zeros(plane.shape)
    for at in np.ndindex(*plane.shape):
        level = int(np.clip(plane[at], 0, 255))
        place = [a / s - 0.5 for a, s in zip(at, sizes)]
        for below in (0, 1):
            for right in (0, 1):
                tile = [math.floor(p) + d for p, d in zip(place, (below, right))]
                near = [1 - abs(p - t) for p, t in zip(place, tile)]
                i, k = (min(max(t, 0), g - 1) for t, g in zip(tile, grid))
                y[at] += near[0] * near[1] * tables[i][k][level]
    return y


@reference("ContrastLimitedAdaptiveHistogramEqualization")
def clahe(call):
    c, x = call.config, call.inputs[0].astype(float)
    first = c.get("data_format") == "channels_first"
    planes = scaled(x if first else x.transpose(0, 3, 1, 2), c["value_range"], (0, 255))
    y = np.stack([[equalized(plane, c["tile_grid_size"], c["clip_limit"]) for plane in sample] for sample in planes])
    y = scaled(y if first else y.transpose(0, 2, 3, 1), (0, 255), c["value_range"])
    return np.trunc(y) if call.inputs[0].dtype.kind in "iu" else y


@reference("MaxNumBoundingBoxes")
def max_boxes(call):
    data, most = call.argument(0, "data"), call.config["max_number"]
    if not isinstance(data, dict):
        return call.inputs[0]
    def bounded(x):
        x = x.value[:, :most]
        pads = [(0, 0), (0, most - x.shape[1])] + [(0, 0)] * (x.ndim - 2)
        return np.pad(x, pads, constant_values=call.config["fill_value"])
    boxes = data["bounding_boxes"]
    return [bounded(boxes["boxes"]), bounded(boxes["labels"]), *(data[k].value for k in ("images", "labels", "segmentation_masks") if k in data)]


@reference("Equalization", "Solarization")
def identity(call):
    return call.inputs[0]


RNG = np.random.default_rng(31)
PICTURES = RNG.integers(0, 256, (3, 13, 9, 2)).astype(np.float32)
PICTURES[1, :, :, 0] = 7  # a channel without contrast
DARK = (RNG.random((3, 13, 9, 2)) * 0.3 - 0.02).astype(np.float32)
for name, given, pictures in (("", [0, 255], PICTURES), ("_unit", [1.0, 0.0], DARK)):
    case(f"auto_contrast{name}", layer("AutoContrast", "y", value_range=given), versions=(3,), shape=(13, 9, 2), inputs={"image": pictures})
case("auto_contrast_u8", versions=(3,), inputs={"x": PICTURES.astype(np.uint8)}, model=graph(
    ["y"], image(13, 9, 2, name="x", dtype="uint8"), layer("AutoContrast", "y", "x", value_range=[0, 255])))
case("auto_contrast_wrong", layer("AutoContrast", "y", value_range=[1, 1]), versions=(3,), error="two different numbers")


def tiles(grid=(8, 8), limit=4.0, given=(0, 255), **config):
    return layer("ContrastLimitedAdaptiveHistogramEqualization", "y", value_range=list(given), clip_limit=limit, tile_grid_size=list(grid), **config)


case("clahe", tiles(), versions=(3,), shape=(13, 9, 2), inputs={"image": PICTURES})
case("clahe_whole_tiles", tiles((13, 3), limit=40.0), versions=(3,), shape=(13, 9, 2), inputs={"image": PICTURES})
case("clahe_one_tile", tiles((1, 1), limit=0.0), versions=(3,), shape=(13, 9, 2), inputs={"image": PICTURES})
case("clahe_more_tiles_than_pixels", tiles((29, 2)), versions=(3,), shape=(13, 9, 2), inputs={"image": PICTURES})
case("clahe_first", tiles((3, 2), given=(0, 1), data_format="channels_first"), versions=(3,), shape=(2, 13, 9),
     inputs={"image": DARK.transpose(0, 3, 1, 2)})
# What is cut off to an integer must not lie at one: so the largest is no integer.
case("clahe_u8", versions=(3,), inputs={"x": PICTURES.astype(np.uint8)}, model=graph(
    ["y"], image(13, 9, 2, name="x", dtype="uint8"), layer(
        "ContrastLimitedAdaptiveHistogramEqualization", "y", "x", value_range=[0, 251.5], clip_limit=17.3, tile_grid_size=[3, 2])))
case("clahe_open", tiles(), versions=(3,), shape=(None, 9, 2), error="fixed size")
for name in ("Equalization", "Solarization"):
    case(name.lower(), layer(name, "y", value_range=[0, 255]), versions=(3,), shape=(3, 4, 2))


def boxes(count, most, **more):
    inputs = [image(count, 4, name="b"), image(count, name="l"), image(3, 4, 2, name="x")]
    data = {"images": T("x"), "bounding_boxes": {"labels": T("l"), "boxes": T("b")}}
    return graph(["y", "y::1", "y::2"], *inputs, layer("MaxNumBoundingBoxes", "y", calls=[Arguments([data])], max_number=most, fill_value=-1))


case("boxes_filled_up", versions=(3,), model=boxes(3, 5))
case("boxes_cut", versions=(3,), model=boxes(3, 2))
case("boxes_open", versions=(3,), model=boxes(None, 5))
case("boxes_of_none", layer("MaxNumBoundingBoxes", "y", max_number=3, fill_value=-1), versions=(3,), shape=(3, 4, 2))
case("boxes_wrong", versions=(3,), model=boxes(3, 0), error="makes no sense")
