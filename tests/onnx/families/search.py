"""What compares elements with each other."""
import numpy as np
from case import bf16, case, node

x = np.array([[5, 1, 5, -2], [0, np.nan, 3, 3]], np.float32)
wide = np.array([1, 2**64 - 1, 2**63, 1], np.uint64)
i64 = lambda values: np.array(values, np.int64)

case("TopK", "attribute", opset=1, inputs=[x], k=2, outputs=[np.array([[5, 5], [np.nan, 3]], np.float32), i64([[0, 2], [1, 2]])])
case("TopK", "first_version_without_k", opset=1, inputs=[x], error="size -1 of axis 0 in k is negative")
case("TopK", "constant", opset=10, inputs=[x, i64([3])], constants=[1], axis=-1,
     outputs=[np.array([[5, 5, 1], [np.nan, 3, 3]], np.float32), i64([[0, 2, 1], [1, 2, 3]])])
case("TopK", "smallest_in_any_order", opset=11, inputs=[x, i64([2])], constants=[1], largest=0, sorted=0,
     outputs=[np.array([[-2, 1], [0, 3]], np.float32), i64([[3, 1], [0, 2]])])
case("TopK", "symbolic", opset=11, inputs=[x, i64([1])], constants=[1], axis=0, dims={0: ["N", "M"]},
     outputs=[x[[0, 1, 0, 1], range(4)][None], i64([[0, 1, 0, 1]])])
case("TopK", "indices_only", opset=11, inputs=[x, i64([1])], constants=[1], outputs=[None, i64([[0], [1]])])
case("TopK", "unsigned", opset=24, inputs=[wide, i64([3])], constants=[1], outputs=[wide[[1, 2, 0]], i64([1, 2, 0])])
case("TopK", "bf16", opset=24, inputs=[bf16([1, -3, 2]), i64([2])], constants=[1], outputs=[bf16([2, 1]), i64([2, 0])])
case("TopK", "too_many", opset=11, inputs=[x, i64([5])], constants=[1], error="k is 5, more than axis 1")

# Boxes of a plane, as corners in any order and as centers.
rng = np.random.default_rng(7)
corners = np.round(rng.random((2, 12, 4)) * [4, 4, 6, 6], 1).astype(np.float32)
low, high = np.minimum(corners[..., :2], corners[..., 2:]), np.maximum(corners[..., :2], corners[..., 2:])
centers = np.concatenate([(low + high) / 2, high - low], -1).astype(np.float32)
scores = np.round(rng.random((2, 3, 12)), 1).astype(np.float32)


def overlap(batch, a, b):
    sides = np.maximum(np.minimum(high[batch, a], high[batch, b]) - np.maximum(low[batch, a], low[batch, b]), 0)
    areas = [np.prod(high[batch, i] - low[batch, i]) for i in (a, b)]
    return np.prod(sides) / (sum(areas) - np.prod(sides)) if np.prod(sides) > 0 else 0


def kept(most, limit, least=-np.inf):
    rows = []
    for batch, group in np.ndindex(2, 3):
        left, chosen = [i for i in range(12) if scores[batch, group, i] > least], []
        while left and len(chosen) < most:
            best = max(left, key=lambda i: (scores[batch, group, i], -i))
            chosen.append(best)
            left = [i for i in left if i != best and overlap(batch, i, best) <= limit]
        rows += [[batch, group, box] for box in chosen]
    return i64(rows).reshape(-1, 3)


f32 = lambda value: np.array([value], np.float32)
case("NonMaxSuppression", "computed", opset=11, inputs=[corners, scores, i64([12]), f32(0.3), f32(0.25)], outputs=[kept(12, 0.3, 0.25)])
case("NonMaxSuppression", "constant", opset=10, inputs=[corners, scores, i64([2]), f32(0.3), f32(0.25)], constants=[2, 3, 4], outputs=[kept(2, 0.3, 0.25)])
case("NonMaxSuppression", "centers", opset=11, inputs=[centers, scores, i64(5), f32(0.45)], center_point_box=1, outputs=[kept(5, 0.45)])
case("NonMaxSuppression", "symbolic", opset=11, inputs=[corners, scores, i64([3]), f32(0.5), f32(0.5)], constants=[2, 3, 4],
     dims={0: ["B", "N", 4], 1: ["B", "C", "N"]}, outputs=[kept(3, 0.5, 0.5)])
case("NonMaxSuppression", "none", opset=11, inputs=[corners, scores], outputs=[np.zeros((0, 3), np.int64)])
case("NonMaxSuppression", "rank", opset=11, inputs=[corners[0], scores], error="three axes are wanted")

flags = np.array([[True, False, True], [False, False, True]])
case("NonZero", "bools", opset=9, inputs=[flags], outputs=[i64(np.nonzero(flags))])
case("NonZero", "floats", opset=13, inputs=[x], dims={0: ["N", "M"]}, outputs=[i64(np.nonzero(x))])
case("NonZero", "nothing", opset=13, inputs=[np.zeros((2, 3), np.float32)], outputs=[np.zeros((2, 0), np.int64)])
case("NonZero", "scalar", opset=13, inputs=[np.float32(3)], outputs=[np.zeros((0, 1), np.int64)])
case("NonZero", "and_what_follows", opset=13, inputs=[x], nodes=[node("NonZero", "x0", "at"), node("Transpose", "at", "tuples"),
     node("GatherND", "x0 tuples", "y0"), node("Size", "y0", "y1")], outputs=[x[x != 0], i64(7)])

case("Compress", "flat", opset=9, inputs=[x, np.array([False, True, False, False, True])], outputs=[x.reshape(-1)[[1, 4]]])
case("Compress", "axis", opset=11, inputs=[x, np.array([True, False, False, True])], axis=-1, outputs=[x[:, [0, 3]]])
case("Compress", "shorter", opset=11, inputs=[x, np.array([False, True])], axis=1, outputs=[x[:, [1]]])
case("Compress", "constant", opset=11, inputs=[x, np.array([False, True])], constants=[1], axis=0, outputs=[x[[1]]])
case("Compress", "nothing", opset=11, inputs=[x, np.array([False, False])], axis=0, outputs=[x[:0]])
case("Compress", "symbolic", opset=11, inputs=[x, np.array([True, False, True])], dims={0: ["N", "M"], 1: ["K"]}, axis=1, outputs=[x[:, [0, 2]]])
case("Compress", "numbers", opset=11, inputs=[x, i64([0, 1])], axis=0, error="condition is i64[2], not a list of bools")

words = np.array([2, 1, 1, 3, 4, 3], np.float32)
rows = np.array([[1, 0, 0], [1, 0, 0], [2, 3, 4]], np.int32)
case("Unique", "flat", opset=11, inputs=[words.reshape(2, 3)], outputs=[words[[1, 0, 3, 4]], i64([1, 0, 3, 4]), i64([1, 0, 0, 2, 3, 2]), i64([2, 1, 2, 1])])
case("Unique", "unsorted", opset=11, inputs=[words], sorted=0, outputs=[words[[0, 1, 3, 4]], i64([0, 1, 3, 4]), i64([0, 1, 1, 2, 3, 2]), i64([1, 2, 2, 1])])
case("Unique", "rows", opset=11, inputs=[rows], axis=0, outputs=[rows[[0, 2]], i64([0, 2]), i64([0, 0, 1]), i64([2, 1])])
case("Unique", "columns", opset=11, inputs=[rows], axis=-1, dims={0: ["N", "M"]}, outputs=[rows[:, [1, 2, 0]], i64([1, 2, 0]), i64([2, 0, 1]), i64([1, 1, 1])])
case("Unique", "values_only", opset=11, inputs=[words], outputs=[words[[1, 0, 3, 4]]])
case("Unique", "axis", opset=11, inputs=[words], axis=1, error="axis 1 of a tensor with 1 dims")

case("TopK", "computed", opset=11, inputs=[x, i64([2])], outputs=[np.array([[5, 5], [np.nan, 3]], np.float32), i64([[0, 2], [1, 2]])])

# ---- com.microsoft.Unique: in the order of the first of each

listed = np.float32([2, 5, 2, -1, 5, 5, 0])
case("com.microsoft.Unique", "", inputs=[listed], outputs=[np.float32([2, 5, -1, 0]), np.array([0, 1, 0, 2, 1, 1, 3]), np.array([2, 3, 1, 1])], dims={0: ["N"]})
case("com.microsoft.Unique", "none", inputs=[listed[:0]], outputs=[listed[:0], np.zeros(0, np.int64), np.zeros(0, np.int64)])
case("com.microsoft.Unique", "rank", inputs=[listed[None]], error="x is f32[1,7], not a list")
