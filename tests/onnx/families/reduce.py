"""Reductions: axes as an attribute and as an input, bools, nothing to reduce; and pools that are reductions of powers."""
import numpy as np
from case import case, random

x = random(2, 3, 4, low=0.5, high=2)
functions = dict(L1=lambda x, **o: np.abs(x).sum(**o), L2=lambda x, **o: np.sqrt((x * x).sum(**o)), LogSum=lambda x, **o: np.log(x.sum(**o)),
                 LogSumExp=lambda x, **o: np.log(np.exp(x).sum(**o)), Max=np.max, Mean=np.mean, Min=np.min, Prod=np.prod, Sum=np.sum,
                 SumSquare=lambda x, **o: (x * x).sum(**o))
elements = dict(L1=np.abs, L2=np.abs, LogSum=np.log, LogSumExp=lambda x: x, Max=lambda x: x, Mean=lambda x: x, Min=lambda x: x, Prod=lambda x: x, Sum=lambda x: x,
                SumSquare=np.square)
for name, function in functions.items():
    op, newest = f"Reduce{name}", 13 if name == "Sum" else 20 if name in ("Max", "Min") else 18
    case(op, "attribute", opset=11, inputs=[x], axes=[-1, 0], keepdims=0, outputs=[function(x, axis=(0, 2))])
    case(op, "input", opset=newest, inputs=[x, np.array([1])], constants=[1], dims={0: ["N", "M", "K"]}, outputs=[function(x, axis=1, keepdims=True)])
    case(op, "no_axes", opset=newest, inputs=[x], keepdims=0, outputs=[function(x)])
    case(op, "empty_axes", opset=newest, inputs=[x, np.zeros(0, np.int64)], constants=[1], outputs=[function(x, keepdims=True)])
    case(op, "noop", opset=newest, inputs=[x, np.zeros(0, np.int64)], constants=[1], noop_with_empty_axes=1, outputs=[elements[name](x).astype(np.float32)])
    case(op, "no_axes_noop", opset=newest, inputs=[x], noop_with_empty_axes=1, keepdims=0, outputs=[elements[name](x).astype(np.float32)])
    case(op, "far_axis", opset=newest, inputs=[x, np.array([3])], constants=[1], error="axis 3 of a tensor with 3 dims")
nothing = np.zeros((2, 0, 3), np.float32)
for name, neutral in dict(L1=0, L2=0, LogSum=-np.inf, LogSumExp=-np.inf, Max=-np.inf, Mean=np.nan, Min=np.inf, Prod=1, Sum=0, SumSquare=0).items():
    case(f"Reduce{name}", "of_nothing", opset=13 if name == "Sum" else 18, inputs=[nothing, np.array([1])], constants=[1],
         outputs=[np.full((2, 1, 3), neutral, np.float32)])
bits = np.array([[True, False, True], [True, True, True], [False, False, False]])
case("ReduceMax", "bools", opset=20, inputs=[bits, np.array([1])], constants=[1], keepdims=0, outputs=[bits.any(1)])
case("ReduceMin", "bools", opset=20, inputs=[bits, np.array([1])], constants=[1], keepdims=0, outputs=[bits.all(1)])
case("ReduceMax", "ints_of_nothing", opset=20, inputs=[np.zeros((0, 2), np.int32), np.array([0])], constants=[1], outputs=[np.full((1, 2), -2**31, np.int32)])
case("ReduceMin", "bytes_of_nothing", opset=20, inputs=[np.zeros((0, 2), np.uint8), np.array([0])], constants=[1], outputs=[np.full((1, 2), 255, np.uint8)])
ints = np.array([[7, -4, 1], [-7, 2, 2]], np.int32)
case("ReduceMean", "ints", opset=18, inputs=[ints, np.array([1])], constants=[1], keepdims=0, outputs=[np.array([1, -1], np.int32)])
case("ReduceLogSumExp", "large", opset=18, inputs=[np.float32([[1000, 1000], [-1000, -1000]]), np.array([1])], constants=[1], keepdims=0,
     outputs=[np.float32([1000, -1000]) + np.log(np.float32(2))])

image = random(1, 2, 7, 6, low=-2, high=2)


def lp_pool(x, kernel, stride, p, ends=(0, 0), size=None):
    x = np.pad(np.abs(x)**p, [(0, 0), (0, 0), (0, 9), (0, 9)])
    size = size or [(x.shape[i + 2] - 9 - kernel[i]) // stride[i] + 1 for i in range(2)]
    return np.stack([np.stack([x[:, :, i * stride[0]:i * stride[0] + kernel[0], j * stride[1]:j * stride[1] + kernel[1]].sum((2, 3)) for j in range(size[1])], -1)
                     for i in range(size[0])], -2)**(1 / p)


case("LpPool", "floor", opset=18, inputs=[image], kernel_shape=[3, 2], strides=[2, 2], p=3, outputs=[lp_pool(image, (3, 2), (2, 2), 3)])
case("LpPool", "ceil", opset=18, inputs=[image], kernel_shape=[2, 4], strides=[2, 3], p=2, ceil_mode=1, dims={0: ["N", 2, "H", "W"]},
     outputs=[lp_pool(image, (2, 4), (2, 3), 2, size=[4, 2])])
case("LpPool", "ceil_gap", opset=22, inputs=[image], kernel_shape=[1, 1], strides=[4, 5], p=1, ceil_mode=1, outputs=[lp_pool(image, (1, 1), (4, 5), 1, size=[2, 2])])
case("LpPool", "float_p", opset=1, inputs=[image], kernel_shape=[2, 2], p=1.5, outputs=[lp_pool(image, (2, 2), (1, 1), 1.5)])
case("GlobalLpPool", "", opset=22, inputs=[image], p=3, outputs=[(np.abs(image)**3).sum((2, 3), keepdims=True)**(1 / 3)])
case("GlobalLpPool", "float_p", opset=1, inputs=[image], p=1.5, outputs=[(np.abs(image)**1.5).sum((2, 3), keepdims=True)**(1 / 1.5)])
