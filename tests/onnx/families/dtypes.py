"""Operators that move elements, on the element types that have no arithmetic: below a byte, 8-bit floats, complex."""
import numpy as np
from case import Raw, case, node
from onnx import numpy_helper

BITS = dict(UINT2=2, INT2=2, UINT4=4, INT4=4, FLOAT4E2M1=4)
TYPES = ["UINT2", "INT2", "UINT4", "INT4", "FLOAT4E2M1", "FLOAT8E4M3FN", "FLOAT8E5M2FNUZ", "FLOAT8E8M0", "BFLOAT16", "c64", "c128"]


def bits(*shape, seed=0, limit=256):
    return np.random.default_rng([seed, *shape]).integers(0, limit, shape)


class Maker:
    """Tensors of one type: of bits, or complex numbers made of them."""

    def __init__(self, name):
        self.name = name
        self.limit = 2 ** BITS.get(name, 8)
        if name in ("FLOAT8E4M3FN",):
            self.limit = 127  # no NaN, so that bits can be compared
        if name == "FLOAT8E5M2FNUZ":
            self.limit = 128
        if name == "FLOAT8E8M0":
            self.limit = 255

    def bits(self, *shape, seed=0):
        return bits(*shape, seed=seed, limit=self.limit)

    def __call__(self, bits):
        if self.name in ("c64", "c128"):
            return (bits + 1j * (bits * 3 % 7)).astype(np.complex64 if self.name == "c64" else np.complex128)
        return Raw(self.name, bits)


i64 = lambda *values: np.array(values, np.int64)

for name in TYPES:
    make = Maker(name)
    x = make.bits(3, 5, 7)
    flat = x.reshape(-1)

    def moved(op, suffix, inputs, y, opset=25, raw=1, **more):
        """The first `raw` inputs and the result are of the type."""
        inputs = [make(v) if i < raw else v for i, v in enumerate(inputs)]
        case(op, f"{name}{suffix}", opset=opset, inputs=inputs, outputs=[make(y)], **more)

    moved("Identity", "", [x], x)
    moved("Reshape", "", [x, i64(7, -1)], x.reshape(7, 15), constants=[1])
    moved("Flatten", "", [x], x.reshape(3, 35))
    moved("Transpose", "", [x], x.transpose(2, 0, 1), perm=[2, 0, 1])
    moved("Transpose", "_symbolic", [x], x.transpose(2, 1, 0), dims={0: ["N", "M", "K"]})
    moved("Unsqueeze", "", [x, i64(0, -1)], x[None, ..., None], constants=[1])
    moved("Squeeze", "", [x[:1], i64(0)], x[0], constants=[1])
    moved("Concat", "_last", [x, make.bits(3, 5, 2, seed=1)], np.concatenate([x, make.bits(3, 5, 2, seed=1)], 2), raw=2, axis=2)
    moved("Concat", "_first", [x, make.bits(1, 5, 7, seed=1)], np.concatenate([x, make.bits(1, 5, 7, seed=1)], 0), raw=2, axis=0,
          dims={0: ["N", 5, 7]})
    moved("Slice", "", [x, i64(1, 4), i64(3, -9), i64(0, 2), i64(1, -2)], x[1:3, :, 4::-2], constants=[1, 2, 3, 4])
    moved("Gather", "", [x, np.array([[4, 0], [-1, 2]])], x[:, [[4, 0], [-1, 2]]], axis=1)
    moved("Gather", "_of_constant", [x, np.array([2, 0, 1, 1])], x[[2, 0, 1, 1]], constants=[0])
    at = np.arange(3 * 5 * 2).reshape(3, 5, 2) % 7
    moved("GatherElements", "", [x, at], np.take_along_axis(x, at, 2), axis=2)
    moved("Pad", "", [x, i64(1, 0, 2, 0, 1, 3)], np.pad(x, [(1, 0), (0, 1), (2, 3)]),
          constants=[1])
    moved("Pad", "_edge", [x, i64(1, 0, 2, 0, 1, 3)], np.pad(x, [(1, 0), (0, 1), (2, 3)], mode="edge"), constants=[1], mode="edge")
    moved("Expand", "", [x[:, :1], i64(2, 3, 5, 7)], np.broadcast_to(x[:, :1], (2, 3, 5, 7)), constants=[1])
    moved("Tile", "", [x, i64(1, 2, 3)], np.tile(x, (1, 2, 3)), constants=[1])
    condition = np.arange(35).reshape(5, 7) % 3 == 0
    other = make.bits(3, 5, 7, seed=2)
    case("Where", name, opset=25, inputs=[condition, make(x), make(other[:1])], outputs=[make(np.where(condition, x, other[:1]))])
    moved("DepthToSpace", "", [make.bits(1, 8, 3, 5)],
          make.bits(1, 8, 3, 5).reshape(1, 2, 2, 2, 3, 5).transpose(0, 3, 4, 1, 5, 2).reshape(1, 2, 6, 10), blocksize=2)
    case("Split", name, opset=18, inputs=[make(x), i64(3, 4)], constants=[1], axis=2, outputs=[make(x[..., :3]), make(x[..., 3:])])
    case("Shape", name, opset=25, inputs=[make(x)], outputs=[i64(3, 5, 7)])
    case("Size", name, opset=25, inputs=[make(x)], outputs=[np.array(105, np.int64)])
    # Several moves, fused; one byte is never written by two threads' rows.
    case("Transpose", f"{name}_of_concat_of_slice", opset=25, inputs=[make(x), make(other)],
         nodes=[node("Concat", "x0 x1", "a", axis=0), node("Transpose", "a", "b", perm=[0, 2, 1]), node("Concat", "b b", "y0", axis=2)],
         outputs=[make(np.concatenate([np.concatenate([x, other]).transpose(0, 2, 1)] * 2, 2))])
    moved("Identity", "_empty", [np.zeros((0, 3), int)], np.zeros((0, 3), int))
    moved("Transpose", "_one", [np.ones((1, 1), int)], np.ones((1, 1), int))
    moved("Identity", "_constant", [flat[:5]], flat[:5], constants=[0])
    moved("Expand", "_constant", [flat[:1], i64(3, 3)], np.broadcast_to(flat[:1], (3, 3)), constants=[0, 1])

case("ConstantOfShape", "c64", opset=25, inputs=[i64(2, 3)], constants=[0], value=numpy_helper.from_array(np.complex64([1 + 2j])),
     outputs=[np.full((2, 3), 1 + 2j, np.complex64)])
