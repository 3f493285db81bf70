"""Windows over images and with weights whose sizes only the run knows."""
import itertools

import numpy as np
from case import case, random


def positions(size, kernel, stride, dilation, before, after):
    return (size + before + after - (kernel - 1) * dilation - 1) // stride + 1


def patches(x, kernel, strides, dilations, pads, fill):
    """[n, c, positions.., kernel..]"""
    n = len(kernel)
    wide = np.pad(x, [(0, 0), (0, 0), *zip(pads[:n], pads[n:])], constant_values=fill)
    sizes = [positions(x.shape[2 + i], kernel[i], strides[i], dilations[i], pads[i], pads[n + i]) for i in range(n)]
    out = np.empty((*x.shape[:2], *sizes, *kernel), x.dtype)
    for at in itertools.product(*map(range, sizes)):
        for k in itertools.product(*map(range, kernel)):
            source = tuple(p * s + d * j for p, s, d, j in zip(at, strides, dilations, k))
            out[(..., *at, *k)] = wide[(..., *source)]
    return out


def conv(x, w, bias, strides, dilations, pads, group=1):
    n, y = x.ndim - 2, []
    for g in range(group):
        part = patches(np.split(x, group, 1)[g], w.shape[2:], strides, dilations, pads, 0)
        y.append(np.tensordot(part, np.split(w, group)[g], [[1, *range(2 + n, 2 + 2 * n)], [1, *range(2, 2 + n)]]))
    return np.moveaxis(np.concatenate(y, -1), -1, 1) + bias.reshape(-1, *[1] * n)


def conv_transpose(x, w, strides, dilations, pads, output_padding, group=1):
    """Every element of x adds its weights to the result; the padding is cut off."""
    n, kernel = x.ndim - 2, w.shape[2:]
    full = [(x.shape[2 + i] - 1) * strides[i] + (kernel[i] - 1) * dilations[i] + 1 + output_padding[i] for i in range(n)]
    y = np.zeros((x.shape[0], group, w.shape[1], *full), x.dtype)
    for g, (part, weight) in enumerate(zip(np.split(x, group, 1), np.split(w, group))):
        for at in itertools.product(*map(range, x.shape[2:])):
            for k in itertools.product(*map(range, kernel)):
                to = tuple(p * s + d * j for p, s, d, j in zip(at, strides, dilations, k))
                y[(slice(None), g, slice(None), *to)] += part[(..., *at)] @ weight[(..., *k)]
    y = y.reshape(x.shape[0], -1, *full)
    return y[(..., *(slice(pads[i], full[i] - pads[n + i]) for i in range(n)))]


def same(size, kernel, stride, lower):
    """Padding before and after, so that there are ceil(size / stride) windows."""
    total = max(0, (-(-size // stride) - 1) * stride + kernel - size)
    return (total - total // 2, total // 2) if lower else (total // 2, total - total // 2)


def same_pads(x, kernel, strides, lower):
    sides = [same(x.shape[2 + i], kernel[i], strides[i], lower) for i in range(len(kernel))]
    return [side[0] for side in sides] + [side[1] for side in sides]


def open_dims(*arrays):
    return {i: [f"s{i}_{axis}" for axis in range(array.ndim)] for i, array in enumerate(arrays)}


x, w, bias = random(2, 4, 9, 8), random(6, 2, 3, 2), random(6)
geometry = dict(strides=[2, 1], dilations=[1, 2], pads=[1, 0, 2, 1])
case("Conv", "open_weight", opset=11, inputs=[x, w, bias], dims=open_dims(x, w, bias), outputs=[conv(x, w, bias, *geometry.values(), group=2)],
     kernel_shape=[3, 2], group=2, **geometry)
line, taps = random(3, 5, 17), random(7, 5, 4)
case("Conv", "open_weight_1d", opset=11, inputs=[line, taps], dims=open_dims(line, taps), outputs=[conv(line, taps, np.zeros(7, np.float32), [3], [2], [0, 0])],
     kernel_shape=[4], strides=[3], dilations=[2])
box, cube = random(1, 2, 5, 4, 3), random(2, 2, 2, 1, 3)
case("Conv", "open_weight_3d", opset=11, inputs=[box, cube], dims=open_dims(box, cube),
     outputs=[conv(box, cube, np.zeros(2, np.float32), [1] * 3, [1] * 3, [1] * 6)], kernel_shape=[2, 1, 3], pads=[1] * 6)
case("Conv", "open_kernel", opset=11, inputs=[line, taps], dims=open_dims(line, taps), error="the kernel must be known")
case("Conv", "open_same", opset=11, inputs=[x, w, bias], dims={0: ["N", 4, "H", "W"]}, constants=[1, 2], group=2,
     outputs=[conv(x, w, bias, [3, 2], [1, 1], same_pads(x, [3, 2], [3, 2], True), group=2)], strides=[3, 2], auto_pad="SAME_LOWER")

small, back = random(2, 4, 3, 5), random(4, 3, 3, 2)
inverse = dict(strides=[2, 3], dilations=[2, 1], pads=[1, 0, 0, 1], output_padding=[1, 2])
case("ConvTranspose", "open_weight", opset=11, inputs=[small, back, random(6)], dims=open_dims(small, back, bias), kernel_shape=[3, 2], group=2,
     outputs=[conv_transpose(small, back, *inverse.values(), group=2) + random(6).reshape(-1, 1, 1)], **inverse)
full = conv_transpose(small, back, [3, 2], [1, 1], [0] * 4, [0, 0])
case("ConvTranspose", "open_same", opset=11, inputs=[small, back], dims={0: ["N", 4, "H", "W"]}, kernel_shape=[3, 2], strides=[3, 2],
     outputs=[full[:, :, :9, :10]], auto_pad="SAME_UPPER")

for lower in False, True:
    name, mode = ("lower", "SAME_LOWER") if lower else ("upper", "SAME_UPPER")
    kernel, strides = [4, 3], [3, 2]
    common = dict(dims={0: ["N", "C", "H", "W"]}, kernel_shape=kernel, strides=strides, auto_pad=mode)
    pads = same_pads(x, kernel, strides, lower)
    of = lambda fill, array=x: patches(array, kernel, strides, [1, 1], pads, fill)
    sums, counts = of(0).sum((-2, -1)), of(0, np.ones_like(x)).sum((-2, -1))
    case("MaxPool", f"open_same_{name}", opset=12, inputs=[x], outputs=[of(-np.inf).max((-2, -1))], **common)
    case("AveragePool", f"open_same_{name}", opset=11, inputs=[x], outputs=[sums / counts], **common)
    case("AveragePool", f"open_same_{name}_padding", opset=11, inputs=[x], outputs=[sums / 12], count_include_pad=1, **common)
    case("LpPool", f"open_same_{name}", opset=18, inputs=[x], outputs=[np.sqrt((of(0)**2).sum((-2, -1)))], **common)
case("MaxPool", "open_same_indices", opset=12, inputs=[x], outputs=[of(0).max((-2, -1)), np.zeros(1, np.int64)], error="auto_pad with Indices needs the sizes", **common)
