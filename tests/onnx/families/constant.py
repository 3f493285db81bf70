"""Operators whose result follows from attributes and shapes."""
import numpy as np
from case import case, node, random

x = random(3, 4, 5)
for k in 0, 2, -1, 7:
    case("EyeLike", f"k_{k}", opset=22, inputs=[x[0]], k=k, outputs=[np.eye(4, 5, k, dtype=np.float32)])
    for upper in 0, 1:
        triangle = (np.triu if upper else np.tril)(x, k)
        case("Trilu", f"{'upper' if upper else 'lower'}_{k}", inputs=[x, np.int64(k)], upper=upper, outputs=[triangle])
case("EyeLike", "symbolic", inputs=[x[0]], dims={0: ["N", "M"]}, dtype=7, outputs=[np.eye(4, 5, dtype=np.int64)])
case("Trilu", "far", inputs=[x, np.int64(2**63 - 1)], outputs=[np.zeros_like(x)])
case("Trilu", "of_list", inputs=[x, np.array([1])], constants=[1], dims={0: [3, "N", "M"]}, outputs=[np.triu(x, 1)])
case("Trilu", "bool", inputs=[x > 0], outputs=[np.triu(x > 0)])
case("Trilu", "vector", inputs=[x[0, 0]], error="no triangle")

indices = np.array([[0, 2, -1], [3, -3, -4]])
hot = (np.arange(3) == np.where(indices < 0, indices + 3, indices)[..., None])
case("OneHot", "last", opset=11, inputs=[indices, np.int64(3), np.float32([2, 5])], constants=[1], outputs=[np.where(hot, 5, 2).astype(np.float32)])
case("OneHot", "first", opset=11, inputs=[indices.astype(np.int8), np.array([3.0], np.float32), np.array([0, 1])], axis=0, constants=[1],
     dims={0: ["N", 3]}, outputs=[hot.transpose(2, 0, 1).astype(np.int64)])
case("OneHot", "many_classes", opset=11, inputs=[np.array([-128, 127], np.int8), np.int64(300), np.array([False, True])], constants=[1],
     outputs=[np.arange(300) == np.array([172, 127])[:, None]])
case("OneHot", "depth_of_shape", opset=15, inputs=[indices, x, np.array([0, 1])], dims={1: ["N", 4, 5]},
     nodes=[node("Shape", "x1", "s", start=0, end=1), node("OneHot", "x0 s x2", "y0")], outputs=[hot.astype(np.int64)])
case("Hardmax", "symbolic", opset=13, inputs=[x], dims={0: ["A", "B", "C"]}, axis=1, outputs=[(np.arange(4)[:, None] == x.argmax(1)[:, None]).astype(np.float32)])

case("Range", "floats", opset=27, inputs=[np.float32(1), np.float32(2.05), np.float32(0.1)], constants=[0, 1, 2], outputs=[np.float32(1) + np.arange(11).astype(np.float32) * np.float32(0.1)])
case("Range", "half", opset=27, inputs=[np.float16(5), np.float16(2), np.float16(-0.5)], constants=[0, 1, 2], outputs=[np.arange(5, 2, -0.5, dtype=np.float16)])
case("Range", "none", opset=11, inputs=[np.int32(3), np.int32(1), np.int32(1)], constants=[0, 1, 2], outputs=[np.zeros(0, np.int32)])
case("Range", "step_0", opset=11, inputs=[np.int32(3), np.int32(1), np.int32(0)], constants=[0, 1, 2], error="delta is 0")
case("com.microsoft.Range", "", inputs=[np.int64([2]), np.int64([5])], constants=[0, 1], outputs=[np.arange(2, 5)])


def of_sizes(*more):
    """s0 and s1 are the first two sizes of x0."""
    return [node("Shape", "x0", "s"), node("Split", "s", "a b c"), node("Squeeze", "a", "s0"), node("Squeeze", "b", "s1"), *more]


case("Range", "symbolic", opset=17, inputs=[x, np.int64(0), np.int64(1)], constants=[1, 2], dims={0: ["N", "M", "K"]},
     nodes=of_sizes(node("Add", "s0 s1", "t"), node("Range", "s0 t x2", "y0"), node("Range", "x1 s1 x2", "y1")), outputs=[np.arange(3, 7), np.arange(4)])
case("Range", "symbolic_steps", opset=17, inputs=[x, np.int64(-2), np.int64(3), np.int64(0)], constants=[1, 2, 3], dims={0: ["N", "M", "K"]},
     nodes=of_sizes(node("Range", "s1 x3 x1", "y0"), node("Range", "x3 s1 x2", "y1"), node("Range", "s1 s0 x2", "y2")),
     outputs=[np.arange(4, 0, -2), np.arange(0, 4, 3), np.zeros(0, np.int64)])
