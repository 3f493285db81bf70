"""Operators that read images at positions."""
import itertools

import numpy as np
from case import case, random
from sampling import col2im, grid_sample, max_pool_indices, max_roi_pool, roi_align

f32 = np.float32
image, line, cube = random(2, 3, 4, 5), random(1, 2, 6), random(1, 2, 3, 4, 2)
flat, along, within = random(2, 3, 4, 2, low=-1.4, high=1.4), random(1, 5, 1, low=-1.4, high=1.4), random(1, 2, 3, 2, 3, low=-1.4, high=1.4)

# ---- GridSample

for mode, padding, corners in itertools.product(("nearest", "linear", "cubic"), ("zeros", "border", "reflection"), (0, 1)):
    where = "align_corners" if corners else "half_pixel"
    old = {"linear": "bilinear", "cubic": "bicubic"}.get(mode, mode)
    expected = grid_sample(image, flat, mode, padding, where).astype(f32)
    words = dict(padding_mode=padding, align_corners=corners)
    case("GridSample", f"{mode}_{padding}_{where}", opset=20, inputs=[image, flat], outputs=[expected], mode=mode, **words)
    case("GridSample", f"{old}_{padding}_{where}", opset=16, inputs=[image, flat], outputs=[expected], mode=old, **words)
    case("GridSample", f"cube_{mode}_{padding}_{where}", opset=22, inputs=[cube, within], mode=mode, **words,
         outputs=[grid_sample(cube, within, mode, padding, where).astype(f32)])
case("GridSample", "line", opset=20, inputs=[line, along], outputs=[grid_sample(line, along).astype(f32)])
case("GridSample", "symbolic", opset=20, inputs=[image, flat], dims={0: ["N", 3, "H", "W"], 1: ["N", "h", "w", 2]},
     outputs=[grid_sample(image, flat).astype(f32)])
case("GridSample", "f64", opset=20, inputs=[image.astype(np.float64), flat.astype(np.float64)], outputs=[grid_sample(image, flat)])
case("com.microsoft.GridSample", "", inputs=[image, flat], outputs=[grid_sample(image, flat).astype(f32)])
case("GridSample", "grid_of_other_rank", opset=20, inputs=[image, along], error="its last axis must have 2 elements")
case("GridSample", "batches", opset=20, inputs=[image, flat[:1]], error="their batches differ")
case("GridSample", "unknown_mode", opset=20, inputs=[image, flat], mode="lanczos", error="lanczos")

# ---- AffineGrid


def affine_grid(theta, *sizes, corners=False):
    def ramp(n):
        return np.linspace(-1, 1, n) if corners else (2 * np.arange(n) + 1) / n - 1
    axes = np.meshgrid(*(ramp(n) for n in sizes), indexing="ij")
    return np.einsum("nij,...j->n...i", theta, np.stack([*axes[::-1], np.ones(sizes)], -1)).astype(f32)


theta, solid = random(2, 2, 3), random(1, 3, 4)
for corners in (0, 1):
    case("AffineGrid", f"flat_{corners}", opset=20, inputs=[theta, np.array([2, 3, 4, 5])], align_corners=corners,
         outputs=[affine_grid(theta, 4, 5, corners=corners)])
    case("AffineGrid", f"solid_{corners}", opset=20, inputs=[solid, np.array([1, 3, 2, 4, 3])], align_corners=corners,
         outputs=[affine_grid(solid, 2, 4, 3, corners=corners)])
case("AffineGrid", "symbolic", opset=20, inputs=[theta, np.array([2, 3, 4, 5])], constants=[1], dims={0: ["N", 2, 3]},
     outputs=[affine_grid(theta, 4, 5)])
case("AffineGrid", "wrong_theta", opset=20, inputs=[theta, np.array([2, 3, 4, 5, 6])], error="theta f32[2,2,3] and a size of 5 entries")
case("AffineGrid", "wrong_batch", opset=20, inputs=[theta, np.array([3, 3, 4, 5])], error="a size for 3 images")

# ---- Regions of interest

rois, images = f32([[0, 0, 4, 3], [1, 1.5, 3, 2], [-3, 2, 9, 7.5]]), np.array([1, 0, 1])
bins = dict(output_height=3, output_width=2)
case("RoiAlign", "", opset=10, inputs=[image, rois, images], outputs=[roi_align(image, rois, images, 3, 2, half_pixel=False).astype(f32)], **bins)
case("RoiAlign", "max", opset=16, inputs=[image, rois, images], outputs=[roi_align(image, rois, images, 3, 2, 0.5, mode="max").astype(f32)],
     spatial_scale=0.5, mode="max", **bins)
case("RoiAlign", "sampled", opset=22, inputs=[image, rois, images], outputs=[roi_align(image, rois, images, 3, 2, samples=2).astype(f32)],
     sampling_ratio=2, **bins)
case("RoiAlign", "symbolic", opset=22, inputs=[image, rois, images], dims={0: ["N", 3, "H", "W"], 1: ["R", 4], 2: ["R"]},
     outputs=[roi_align(image, rois, images, 1, 1, half_pixel=False).astype(f32)], coordinate_transformation_mode="output_half_pixel")
case("RoiAlign", "unknown_mode", opset=16, inputs=[image, rois, images], coordinate_transformation_mode="pixel", error="'pixel' is not known")
case("RoiAlign", "other_boxes", opset=16, inputs=[image, rois[:, :3], images], error="its last axis must have 4 elements")
boxes = np.concatenate([images[:, None], rois], 1).astype(f32)
for opset in (1, 22):
    case("MaxRoiPool", "", opset=opset, inputs=[image, boxes], outputs=[max_roi_pool(image, boxes, 2, 3).astype(f32)], pooled_shape=[2, 3])
case("MaxRoiPool", "without_shape", opset=1, inputs=[image, boxes], error="pooled_shape is missing")


def crop_and_resize(x, boxes, images, height, width, mode="linear", outside=0.0):
    y = np.full((len(boxes), x.shape[1], height, width), float(outside))
    for r, (y1, x1, y2, x2) in enumerate(boxes):
        for i, j in itertools.product(range(height), range(width)):
            at = [(low + (high - low) * k / (n - 1) if n > 1 else (low + high) / 2) * (size - 1)
                  for low, high, k, n, size in ((y1, y2, i, height, x.shape[2]), (x1, x2, j, width, x.shape[3]))]
            if all(0 <= p <= size - 1 for p, size in zip(at, x.shape[2:])):
                y[r, :, i, j] = grid_sample(x[images[r]][None], f32(at[::-1]).reshape(1, 1, 1, 2), mode, "border", "pixels")[0, :, 0, 0]
    return y.astype(f32)


crops = f32([[0, 0, 1, 1], [0.1, 0.2, 0.7, 0.9], [0.9, 0.3, 0.2, 1.4]])
for mode, name in (("bilinear", "linear"), ("nearest", "nearest")):
    case("com.microsoft.CropAndResize", mode, inputs=[image, crops, np.int32([1, 0, 1]), np.int32([3, 4])], constants=[3], mode=mode,
         extrapolation_value=7.0, outputs=[crop_and_resize(image, crops, [1, 0, 1], 3, 4, name, 7)])
case("com.microsoft.CropAndResize", "single", inputs=[image, crops, np.int32([1, 0, 1]), np.int32([1, 1])], constants=[3],
     outputs=[crop_and_resize(image, crops, [1, 0, 1], 1, 1)])

# ---- Windows that are given


def deform_conv(x, w, offset, bias=0, mask=None, strides=(1, 1), pads=(0, 0, 0, 0), dilations=(1, 1), group=1, offset_group=1):
    """Of [N,C,H,W]; offsets are [N, og*kh*kw*2, oh, ow], rows before columns."""
    count, channels, height, width = x.shape
    kh, kw = w.shape[2:]
    oh, ow = offset.shape[2:]
    y = np.zeros((count, w.shape[0], oh, ow))
    offset = offset.reshape(count, offset_group, kh, kw, 2, oh, ow)
    mask = np.ones((count, offset_group, kh, kw, oh, ow)) if mask is None else mask.reshape(count, offset_group, kh, kw, oh, ow)
    for n, c, u, v, i, j in itertools.product(*(range(k) for k in (count, channels, kh, kw, oh, ow))):
        g = c // (channels // offset_group)
        at = (j * strides[1] + v * dilations[1] - pads[1] + offset[n, g, u, v, 1, i, j], i * strides[0] + u * dilations[0] - pads[0] + offset[n, g, u, v, 0, i, j])
        value = grid_sample(x[n:n + 1, c:c + 1], np.array(at).reshape(1, 1, 1, 2), coordinates="pixels").item() * mask[n, g, u, v, i, j]
        part = channels // group
        first = c // part * (w.shape[0] // group)
        y[n, first:first + w.shape[0] // group, i, j] += w[first:first + w.shape[0] // group, c % part, u, v] * value
    return (y + np.reshape(bias, (-1, 1, 1))).astype(f32)


photo, kernel = random(1, 4, 5, 6), random(2, 4, 2, 2)
moves = random(1, 8, 4, 5, low=-2, high=2)
case("DeformConv", "", opset=19, inputs=[photo, kernel, moves], outputs=[deform_conv(photo, kernel, moves)])
grouped, many, weak = random(4, 2, 2, 2), random(1, 16, 3, 3, low=-2, high=2), random(1, 8, 3, 3, low=0)
options = dict(strides=(2, 3), pads=(1, 0, 1, 2), dilations=(2, 1), group=2, offset_group=2)
case("DeformConv", "everything", opset=22, inputs=[photo, grouped, many, random(4), weak],
     outputs=[deform_conv(photo, grouped, many, random(4), weak, **options)], **options)
case("DeformConv", "symbolic", opset=22, inputs=[photo, kernel, moves], dims={0: ["N", 4, 5, 6], 2: ["N", 8, 4, 5]},
     outputs=[deform_conv(photo, kernel, moves)])
case("DeformConv", "wrong_groups", opset=19, inputs=[photo, kernel, moves], group=3, error="3 groups")
case("DeformConv", "wrong_offsets", opset=19, inputs=[photo, kernel, moves[:, :6]], error="f32[1,6,4,5] has")

columns = random(2, 12, 6)
case("Col2Im", "", opset=18, inputs=[columns, np.array([3, 4]), np.array([2, 2])], outputs=[col2im(columns, [3, 4], [2, 2])])
case("Col2Im", "everything", opset=18, inputs=[columns, np.array([4, 5]), np.array([2, 3])], strides=[2, 1], dilations=[1, 2], pads=[0, 1, 0, 1],
     outputs=[col2im(columns, [4, 5], [2, 3], [2, 1], [1, 2], [0, 1, 0, 1])])
deep = random(1, 8, 4)
case("Col2Im", "cube", opset=18, inputs=[deep, np.array([2, 3, 3]), np.array([2, 2, 2])], outputs=[col2im(deep, [2, 3, 3], [2, 2, 2])])
case("Col2Im", "other_positions", opset=18, inputs=[columns, np.array([4, 4]), np.array([2, 2])], error="the image has 9 positions")

# ---- Pools

for options in (([2, 2], [1, 1], [1, 1], [0, 0, 0, 0]), ([3, 2], [2, 1], [1, 2], [1, 0, 1, 1])):
    words = dict(zip(("kernel_shape", "strides", "dilations", "pads"), options))
    for order in (0, 1):
        case("MaxPool", f"indices_{options[0]}_{order}".replace(" ", ""), opset=22, inputs=[image], outputs=[*max_pool_indices(image, *options, order)],
             storage_order=order, **words)
case("MaxPool", "indices_alone", opset=12, inputs=[image], outputs=[None, max_pool_indices(image, [2, 2], [1, 1], [1, 1], [0] * 4)[1]], kernel_shape=[2, 2])
last = lambda x: np.ascontiguousarray(np.moveaxis(x, 1, -1))
counts = np.arange(60, dtype=np.int8).reshape(1, 3, 4, 5)[:, :, ::-1]
pooled = max_pool_indices(counts, [2, 2], [1, 1], [1, 1], [0] * 4)[0]
case("com.microsoft.NhwcMaxPool", "", inputs=[last(counts)], outputs=[last(pooled)], kernel_shape=[2, 2])
mask = np.int32([[1, 1, 1, 1, 0], [1, 1, 1, 0, 0], [1, 1, 1, 0, 0], [1, 0, 0, 0, 0]]) + np.zeros((2, 3, 1, 1), np.int32)
hidden = np.where(mask, image, -np.finfo(f32).max)
case("com.microsoft.MaxpoolWithMask", "", inputs=[image, mask], outputs=[max_pool_indices(hidden, [2, 2], [1, 1], [1, 1], [0] * 4)[0]], kernel_shape=[2, 2])
weights = random(2, 3, 1, 1)
case("com.microsoft.NhwcConv", "", inputs=[last(image), last(weights)], outputs=[np.einsum("nchw,mc->nhwm", image, weights[:, :, 0, 0])])
