"""What operators that read images at positions mean, in numpy, from the definitions of ONNX: one result at a time, slow and plain."""
import itertools
import math

import numpy as np


def positions(sizes):
    return itertools.product(*(range(n) for n in sizes))


def cubic(d, a=-0.75):
    """Keys 1981."""
    d = abs(d)
    return (a + 2) * d**3 - (a + 3) * d**2 + 1 if d <= 1 else a * d**3 - 5 * a * d**2 + 8 * a * d - 4 * a if d < 2 else 0.0


# ---- GridSample


def reflected(p, low, high):
    if high == low:
        return low
    while p < low or p > high:
        p = 2 * low - p if p < low else 2 * high - p
    return p


def grid_sample(x, grid, mode="linear", padding="zeros", coordinates="half_pixel"):
    x, grid = x.astype(np.float64), grid.astype(np.float64)
    spatial = x.shape[2:]
    y = np.zeros((x.shape[0], x.shape[1], *grid.shape[1:-1]))
    half = 0.5 if coordinates == "half_pixel" else 0
    for n, *at in positions(grid.shape[:-1]):
        taps = []
        for size, g in zip(spatial, grid[(n, *at)][::-1]):
            low, high = -half, size - 1 + half
            p = g if coordinates == "pixels" else low + (g + 1) / 2 * (high - low)
            p = np.rint(p) if mode == "nearest" else p
            if mode != "cubic" and (p < low or p > high):
                p = min(max(p, 0), size - 1) if padding == "border" else reflected(p, low, high) if padding == "reflection" else p
            floor = math.floor(p)
            around = {"nearest": [(floor, 1)], "linear": [(floor, floor + 1 - p), (floor + 1, p - floor)],
                      "cubic": [(floor + i, cubic(floor + i - p)) for i in range(-1, 3)]}[mode]
            inside = []
            for i, weight in around:
                if padding == "border":
                    i = min(max(i, 0), size - 1)
                if padding == "reflection":
                    i = int(reflected(i, low, high))
                if 0 <= i < size:
                    inside.append((i, weight))
            taps.append(inside)
        for chosen in itertools.product(*taps):
            y[(n, slice(None), *at)] += math.prod(w for _, w in chosen) * x[(n, slice(None), *(i for i, _ in chosen))]
    return y


# ---- Regions of interest


def between(p, size):
    """[(element, weight)] of a position; nothing when it is more than one element outside."""
    if p < -1 or p > size:
        return [(0, 0.0), (0, 0.0)]
    p = min(max(p, 0), size - 1)
    low = math.floor(p)
    return [(low, low + 1 - p), (min(low + 1, size - 1), p - low)]


def roi_align(x, rois, images, height, width, scale=1.0, samples=0, mode="avg", half_pixel=True):
    y = np.zeros((len(rois), x.shape[1], height, width))
    offset = 0.5 if half_pixel else 0
    for r, c, i, j in positions(y.shape):
        x1, y1, x2, y2 = (float(v) * scale - offset for v in rois[r])
        sizes = [y2 - y1, x2 - x1]
        if not half_pixel:
            sizes = [max(size, 1.0) for size in sizes]
        bins = [sizes[0] / height, sizes[1] / width]
        counts = [samples or math.ceil(size) for size in bins]
        values = []
        for u, v in positions(counts):
            rows = between(y1 + i * bins[0] + (u + 0.5) * bins[0] / counts[0], x.shape[2])
            columns = between(x1 + j * bins[1] + (v + 0.5) * bins[1] / counts[1], x.shape[3])
            weighted = [wr * wc * float(x[images[r], c, a, b]) for (a, wr), (b, wc) in itertools.product(rows, columns)]
            values.append(sum(weighted) if mode == "avg" else max(weighted))
        y[r, c, i, j] = sum(values) / max(len(values), 1) if mode == "avg" else max(values, default=0)
    return y


def max_roi_pool(x, rois, height, width, scale=1.0):
    y = np.zeros((len(rois), x.shape[1], height, width))
    away = lambda v: int(math.copysign(math.floor(abs(v) + 0.5), v))
    for r, c, i, j in positions(y.shape):
        image, (x1, y1, x2, y2) = int(rois[r][0]), (away(float(v) * scale) for v in rois[r][1:])
        ends = []
        for start, last, count, at, size in ((y1, y2, height, i, x.shape[2]), (x1, x2, width, j, x.shape[3])):
            bin_size = max(last - start + 1, 1) / count
            low, high = math.floor(at * bin_size) + start, math.ceil((at + 1) * bin_size) + start
            ends.append(slice(min(max(low, 0), size), min(max(high, 0), size)))
        part = x[image, c][tuple(ends)]
        y[r, c, i, j] = part.max() if part.size else 0
    return y


# ---- Windows


def col2im(x, sizes, kernel, strides=None, dilations=None, pads=None):
    spatial = len(sizes)
    strides, dilations, pads = strides or [1] * spatial, dilations or [1] * spatial, pads or [0] * 2 * spatial
    counts = [(sizes[s] + pads[s] + pads[spatial + s] - dilations[s] * (kernel[s] - 1) - 1) // strides[s] + 1 for s in range(spatial)]
    y = np.zeros((x.shape[0], x.shape[1] // math.prod(kernel), *sizes), x.dtype)
    blocks = x.reshape(x.shape[0], -1, *kernel, *counts)
    for k in positions(kernel):
        for o in positions(counts):
            at = [o[s] * strides[s] + k[s] * dilations[s] - pads[s] for s in range(spatial)]
            if all(0 <= at[s] < sizes[s] for s in range(spatial)):
                y[(slice(None), slice(None), *at)] += blocks[(slice(None), slice(None), *k, *o)]
    return y


def max_pool_indices(x, kernel, strides, dilations, pads, column_major=False):
    """Of [n, c, h, w]; rounded down."""
    counts = [(x.shape[2 + s] + pads[s] + pads[2 + s] - dilations[s] * (kernel[s] - 1) - 1) // strides[s] + 1 for s in range(2)]
    y, indices = np.zeros((*x.shape[:2], *counts), x.dtype), np.zeros((*x.shape[:2], *counts), np.int64)
    height, width = x.shape[2:]
    for n, c, i, j in positions(y.shape):
        best = None
        for u, v in positions(kernel):
            h, w = i * strides[0] + u * dilations[0] - pads[0], j * strides[1] + v * dilations[1] - pads[1]
            if 0 <= h < height and 0 <= w < width and (best is None or x[n, c, h, w] > x[n, c, best[0], best[1]]):
                best = h, w
        h, w = best
        y[n, c, i, j] = x[n, c, h, w]
        indices[n, c, i, j] = (n * x.shape[1] + c) * height * width + (w * height + h if column_major else h * width + w)
    return y, indices
