"""Resize since opset 18, and old Upsample: each axis is a product with a matrix of weights."""
import numpy as np
from case import case, random

x = random(1, 2, 9, 7, low=-5, high=5)
square = np.arange(1, 17, dtype=np.float32).reshape(1, 1, 4, 4)
none, f32 = np.zeros(0, np.float32), np.float32


def linear(d):
    return max(0.0, 1 - d)


def cubic(d, a=-0.75):
    return (a + 2) * d**3 - (a + 3) * d**2 + 1 if d <= 1 else a * d**3 - 5 * a * d**2 + 8 * a * d - 4 * a if d < 2 else 0.0


def half_pixel(i, scale, old, new):
    return (i + 0.5) / scale - 0.5


def symmetric(i, scale, old, new):
    return old / 2 * (1 - new / (scale * old)) + half_pixel(i, scale, old, new)


def matrix(old, new, scale, kernel, antialias=True, where=half_pixel, exclude=False):
    """[new, old]: what each element of x weighs in each of the result; x repeats its edges."""
    weights = np.zeros((new, old))
    stretch = min(scale, 1) if antialias else 1
    for i in range(new):
        at = where(i, scale, old, new)
        for j in range(int(np.floor(at - 2 / stretch)) - 1, int(np.ceil(at + 2 / stretch)) + 2):
            if not exclude or 0 <= j < old:
                weights[i, min(max(j, 0), old - 1)] += kernel(abs(j - at) * stretch)
    return weights / weights.sum(1, keepdims=True)


def resized(x, height, width, scales=None, **options):
    by_rows, by_columns = scales or (height / x.shape[2], width / x.shape[3])
    rows, columns = matrix(x.shape[2], height, by_rows, **options), matrix(x.shape[3], width, by_columns, **options)
    return np.einsum("ih,nchw,jw->ncij", rows, x, columns).astype(f32)


def by_sizes(name, result, opset=18, sizes=None, **attributes):
    case("Resize", name, opset=opset, inputs=[x, None, None, np.array(sizes or result.shape)], outputs=[result], **attributes)


def by_scales(name, x, scales, result, opset=18, **attributes):
    case("Resize", name, opset=opset, inputs=[x, None, np.array(scales, f32)], constants=[2], outputs=[result], **attributes)


by_sizes("linear_antialias", resized(x, 4, 3, kernel=linear), mode="linear", antialias=1)
by_sizes("cubic_antialias", resized(x, 4, 3, kernel=cubic), mode="cubic", antialias=1)
by_sizes("cubic_antialias_excluding", resized(x, 4, 3, kernel=cubic, exclude=True), mode="cubic", antialias=1, exclude_outside=1)
by_sizes("antialias_up_and_down", resized(x, 20, 2, kernel=linear), mode="linear", antialias=1)
by_sizes("nearest_antialias", x[:, :, 1::3, 3:4], mode="nearest", antialias=1)
by_scales("linear_antialias_scales", square, [1, 1, 0.6, 0.6], f32([[[[2.875, 4.5], [9.375, 11.0]]]]), mode="linear", antialias=1)
by_scales("linear_antialias_u8", np.uint8(square), [1, 1, 0.6, 0.6], np.uint8([[[[2, 4], [9, 11]]]]), mode="linear", antialias=1)
case("Resize", "antialias_symbolic", opset=18, inputs=[x, None, f32([1, 1, 0.5, 0.5])], constants=[2], dims={0: ["N", 2, "H", "W"]},
     outputs=[resized(x, 4, 3, (0.5, 0.5), kernel=linear)], mode="linear", antialias=1)
case("Resize", "antialias_without_scale", opset=18, inputs=[x, None, None, np.array([1, 2, 4, 3])], constants=[3],
     dims={0: [1, 2, "H", 7]}, error="antialias needs a constant scale", mode="linear", antialias=1)

plain = dict(kernel=linear, antialias=False)
case("Resize", "axes", opset=18, inputs=[x, None, None, np.array([4, 12])], outputs=[resized(x, 12, 4, **plain)], axes=[3, 2], mode="linear")
case("Resize", "axes_scales", opset=19, inputs=[x, None, f32([2])], constants=[2], outputs=[resized(x, 9, 14, **plain)], axes=[-1], mode="linear")
case("Resize", "not_larger", opset=18, inputs=[x, None, None, np.array([12, 12])], axes=[2, 3], mode="linear",
     keep_aspect_ratio_policy="not_larger", outputs=[resized(x, 12, 9, (12 / 9, 12 / 9), **plain)])
case("Resize", "not_smaller", opset=18, inputs=[x, None, None, np.array([12, 12])], axes=[2, 3], mode="linear",
     keep_aspect_ratio_policy="not_smaller", outputs=[resized(x, 15, 12, (12 / 7, 12 / 7), **plain)])
case("Resize", "unknown_policy", opset=18, inputs=[x, None, None, np.array([1, 2, 4, 3])], keep_aspect_ratio_policy="smallest",
     error="keep_aspect_ratio_policy 'smallest'")
by_scales("half_pixel_symmetric", x, [1, 1, 1.3, 2.4], resized(x, 11, 16, (f32(1.3), f32(2.4)), where=symmetric, **plain), opset=19,
          mode="linear", coordinate_transformation_mode="half_pixel_symmetric")

crop = dict(mode="linear", coordinate_transformation_mode="tf_crop_and_resize", extrapolation_value=9.0)
case("Resize", "crop_without_roi", opset=13, inputs=[x, None, f32([1, 1, 2, 2])], constants=[2], error="without roi", **crop)
wide = np.arange(20, dtype=f32).reshape(1, 1, 4, 5)
case("Resize", "crop_axes", opset=18, inputs=[wide, f32([0, 0.5, 1, 1.5]), None, np.array([2, 3])], constants=[1], axes=[2, 3],
     outputs=[f32([[[[2, 4, 9], [17, 19, 9]]]])], **crop)

repeated = square.repeat(2, 2).repeat(3, 3)
case("Upsample", "attributes", opset=1, inputs=[square], outputs=[repeated], height_scale=2.0, width_scale=3.0, mode="nearest")
case("Upsample", "attribute", opset=7, inputs=[square], outputs=[repeated], scales=[1.0, 1.0, 2.0, 3.0])
case("Upsample", "input", opset=9, inputs=[square, f32([1, 1, 2, 3])], constants=[1], outputs=[repeated])
case("Upsample", "deprecated", opset=10, inputs=[square, f32([1, 1, 2, 3])], constants=[1], outputs=[repeated])
