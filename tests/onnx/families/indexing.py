"""Positions that are data, running sums, and what is only cut, padded or reread."""
import numpy as np
from case import Raw, bf16, case, random

i64 = lambda values: np.array(values, np.int64)
x = random(3, 4)
i, u = i64([[1, 0, 2, 1], [1, 2, 2, 0]]), random(2, 4, seed=1)


def scattered(reduction, x=x, targets=lambda at: (i[at], at[1]), places=tuple(np.ndindex(2, 4)), u=u):
    result = x.copy()
    for at in places:
        result[targets(at)] = reduction(result[targets(at)], u[at])
    return result


row_i, row_u = i64([[2], [0], [2]]), random(3, 4, seed=2)
rows = lambda reduction: scattered(reduction, targets=lambda at: (row_i[at][0],), places=((0,), (1,), (2,)), u=row_u)

case("Scatter", "", opset=9, inputs=[x, i, u], outputs=[scattered(lambda a, b: b)])
case("ScatterElements", "none", opset=11, inputs=[x, i, u], outputs=[scattered(lambda a, b: b)])
case("ScatterElements", "add", opset=16, inputs=[x, i, u], reduction="add", outputs=[scattered(np.add)])
case("ScatterElements", "mul", opset=18, inputs=[x, i, u], reduction="mul", outputs=[scattered(np.multiply)])
case("ScatterElements", "min", opset=18, inputs=[x, i, u], reduction="min", outputs=[scattered(np.minimum)])
case("ScatterElements", "max", opset=18, inputs=[x, i, u], reduction="max", outputs=[scattered(np.maximum)])
case("ScatterElements", "symbolic", opset=18, inputs=[x, i, u], reduction="max", dims={0: ["N", "M"], 1: ["K", "M"], 2: ["K", "M"]},
     outputs=[scattered(np.maximum)])
case("ScatterElements", "unknown_reduction", opset=18, inputs=[x, i, u], reduction="mean", error="not one of none|add|mul|min|max")
case("ScatterND", "add", opset=16, inputs=[x, row_i, row_u], reduction="add", outputs=[rows(np.add)])
case("ScatterND", "min", opset=18, inputs=[x, row_i, row_u], reduction="min", outputs=[rows(np.minimum)])
case("ScatterND", "max", opset=18, inputs=[x, row_i, row_u], reduction="max", outputs=[rows(np.maximum)])
case("ScatterND", "symbolic", opset=18, inputs=[x, row_i, row_u], dims={0: ["N", 4], 1: ["K", 1], 2: ["K", 4]}, outputs=[rows(lambda a, b: b)])
case("GatherND", "batches", opset=12, inputs=[x, i64([[3], [0], [1]])], batch_dims=1, outputs=[x[[0, 1, 2], [3, 0, 1]]])
case("GatherND", "symbolic", opset=13, inputs=[x, i64([[-1, 2], [0, 0]])], dims={0: ["N", "M"], 1: ["K", 2]}, outputs=[x[[-1, 0], [2, 0]]])
case("ReverseSequence", "symbolic", opset=10, inputs=[x, i64([2, 0, 3, 1])], dims={0: ["T", "B"]},
     outputs=[np.stack([np.concatenate([x[:n, b][::-1], x[n:, b]]) for b, n in enumerate([2, 0, 3, 1])], 1)])

cache, update = random(2, 3, 5, 2), random(2, 3, 2, 2, seed=3)


def written(starts, circular=False):
    result = cache.copy()
    for b, start in enumerate(starts):
        for step in range(2):
            result[b, :, (start + step) % 5 if circular else start + step] = update[b, :, step]
    return result


case("TensorScatter", "linear", opset=24, inputs=[cache, update, i64([1, 3])], outputs=[written([1, 3])])
case("TensorScatter", "from_the_start", opset=24, inputs=[cache, update], outputs=[written([0, 0])])
case("TensorScatter", "circular", opset=24, inputs=[cache, update, i64([4, 2])], mode="circular", outputs=[written([4, 2], True)])
case("TensorScatter", "axis", opset=24, inputs=[cache.swapaxes(2, 3), update.swapaxes(2, 3), i64([1, 3])], axis=3,
     outputs=[written([1, 3]).swapaxes(2, 3)])
case("TensorScatter", "symbolic", opset=24, inputs=[cache, update, i64([1, 3])], dims={0: ["B", 3, "L", 2], 1: ["B", 3, "S", 2], 2: ["B"]},
     outputs=[written([1, 3])])
case("TensorScatter", "other_mode", opset=24, inputs=[cache, update], mode="ring", error="mode is 'ring'")

case("CumSum", "symbolic", opset=14, inputs=[x, i64(1)], constants=[1], dims={0: ["N", "M"]}, reverse=1, outputs=[x[:, ::-1].cumsum(1)[:, ::-1]])
case("CumProd", "", opset=26, inputs=[x, i64(-1)], constants=[1], outputs=[x.cumprod(1)])
case("CumProd", "exclusive_reverse", opset=26, inputs=[x, i64([0])], constants=[1], exclusive=1, reverse=1,
     outputs=[np.stack([x[1] * x[2], x[2], np.ones(4, np.float32)])])
case("CumProd", "of_ints", opset=26, inputs=[i, i64(0)], constants=[1], outputs=[i.cumprod(0)])

case("BitCast", "to_ints", opset=26, inputs=[x], to=6, outputs=[x.view(np.int32)])
case("BitCast", "to_bf16", opset=26, inputs=[np.array([0x3F80, 0xC000], np.uint16)], to=16, outputs=[bf16([1, -2])])
case("BitCast", "of_bools", opset=26, inputs=[np.array([True, False])], to=2, outputs=[np.array([1, 0], np.uint8)])
case("BitCast", "narrow", opset=26, inputs=[Raw("INT4", [7, 8, 1])], to=23, outputs=[Raw("FLOAT4E2M1", [7, 8, 1])])
case("BitCast", "f8", opset=26, compiled=True, inputs=[Raw("FLOAT8E4M3FN", [0, 126, 255])], to=2, outputs=[np.array([0, 126, 255], np.uint8)])
case("BitCast", "other_width", opset=26, inputs=[x], to=7, error="no bit_cast from f32 to i64")

case("CenterCropPad", "crop", opset=18, inputs=[random(5, 6), i64([2, 3])], constants=[1], outputs=[random(5, 6)[1:3, 1:4]])
case("CenterCropPad", "pad", opset=18, inputs=[x, i64([6, 5])], constants=[1], outputs=[np.pad(x, ((1, 2), (0, 1)))])
case("CenterCropPad", "both", opset=18, inputs=[x, i64([4, 1])], constants=[1], outputs=[np.pad(x[:, 1:2], ((0, 1), (0, 0)))])
case("CenterCropPad", "axes", opset=18, inputs=[cache, i64([2, 4])], constants=[1], axes=[-2, 1], outputs=[np.pad(cache[:, :, 1:3], ((0, 0), (0, 1), (0, 0), (0, 0)))])
case("CenterCropPad", "symbolic", opset=18, inputs=[x, i64([4, 1])], constants=[1], dims={0: ["N", "M"]}, outputs=[np.pad(x[:, 1:2], ((0, 1), (0, 0)))])
case("CenterCropPad", "too_many_sizes", opset=18, inputs=[x, i64([4, 1, 2])], constants=[1], error="3 sizes for 2 axes")

pooled, places = np.array([[[[5, 6], [7, 8]]]], np.float32), i64([[[[5, 7], [13, 15]]]])
plane = np.zeros(16, np.float32)
plane[places.reshape(-1)] = pooled.reshape(-1)
plane = plane.reshape(1, 1, 4, 4)
case("MaxUnpool", "", opset=11, inputs=[pooled, places], kernel_shape=[2, 2], strides=[2, 2], outputs=[plane])
case("MaxUnpool", "larger", opset=22, inputs=[pooled, places, i64([1, 1, 6, 5])], constants=[2], kernel_shape=[2, 2], strides=[2, 2],
     outputs=[np.pad(plane, ((0, 0), (0, 0), (0, 2), (0, 1)))])
case("MaxUnpool", "symbolic", opset=22, inputs=[pooled, places], kernel_shape=[2, 2], strides=[2, 2], dims={0: ["N", 1, "H", 2], 1: ["N", 1, "H", 2]},
     outputs=[plane])
case("MaxUnpool", "batches", opset=9, inputs=[np.concatenate([pooled, pooled + 4]), np.concatenate([places, places + 16])], kernel_shape=[2, 2],
     strides=[2, 2], outputs=[np.concatenate([plane, np.where(plane > 0, plane + 4, 0)])])

whole = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
for dtype in np.int32, np.int64:
    at = np.array([[1, 0], [0, 2], [1, -1]], dtype)
    case("com.microsoft.GatherND", np.dtype(dtype).name, inputs=[whole, at], outputs=[whole[at[:, 0], at[:, 1]]])
