"""QuantizeLinear, DequantizeLinear and their integer products, by the formulas of the specification."""
import numpy as np
from case import Raw, bf16, case, random

from formats import encode, table

RANGES = {"int8": (-128, 127), "uint8": (0, 255), "int16": (-32768, 32767), "uint16": (0, 65535)}
NARROW = {"INT4": (-8, 7), "UINT4": (0, 15), "INT2": (-2, 1), "UINT2": (0, 3)}


def quantized(x, scale, zero, low, high, precision=np.float32):
    """round(x / scale) + zero, saturated; the quotient in its precision."""
    quotient = np.asarray(x, precision) / np.asarray(scale, precision)
    return np.clip(np.rint(quotient.astype(np.float64)) + np.asarray(zero, np.float64), low, high).astype(np.int64)


def narrow(name, values):
    low, high = NARROW[name]
    return Raw(name, np.asarray(values) % (high - low + 1))


x = np.array([[-1.26, -0.75, -0.25, 0, 0.25], [0.75, 1.25, 2.5, 500, -500], [63.4, 63.6, 31.75, -32.25, 1e9]], np.float32)
half = np.float32(0.5)

# Whole tensors, all integer types; halves go to the even neighbour.
for name, (low, high) in RANGES.items():
    dtype = np.dtype(name)
    for zero in (low, high, (low + high) // 2 + 3):
        opset = 10 if dtype.itemsize == 1 else 21
        case("QuantizeLinear", f"{name}_{zero}", opset=opset, inputs=[x, half, dtype.type(zero)],
             outputs=[quantized(x, half, zero, low, high).astype(dtype)])
        q = np.array([low, low + 1, (low + high) // 2, high - 1, high], dtype)
        case("DequantizeLinear", f"{name}_{zero}", opset=opset, inputs=[q, np.float32(0.37), dtype.type(zero)],
             outputs=[((q.astype(np.float32) - np.float32(zero)) * np.float32(0.37))])
case("QuantizeLinear", "no_zero_point", opset=10, inputs=[x, half], outputs=[quantized(x, half, 0, 0, 255).astype(np.uint8)])
case("QuantizeLinear", "of_int32", opset=13, inputs=[np.int32([7, -7, 100, 3]), np.float32(2), np.int8(1)],
     outputs=[np.int8([5, -3, 51, 3])])  # 3.5, -3.5, 50, 1.5
case("DequantizeLinear", "int32", opset=10, inputs=[np.int32([-5, 2**20, 7]), np.float32(0.25)],
     outputs=[np.float32([-1.25, 2**18, 1.75])])

# Integers below a byte.
for name, (low, high) in NARROW.items():
    for zero in (low, high):
        case("QuantizeLinear", f"{name}_{zero}", opset=25, inputs=[x, half, narrow(name, zero)],
             outputs=[narrow(name, quantized(x, half, zero, low, high))])
        q = np.arange(low, high + 1)
        case("DequantizeLinear", f"{name}_{zero}", opset=25, inputs=[narrow(name, q), half, narrow(name, zero)],
             outputs=[np.float32((q - zero) * 0.5)])
case("QuantizeLinear", "output_dtype", opset=21, inputs=[x, half], output_dtype=22, outputs=[narrow("INT4", quantized(x, half, 0, -8, 7))])
case("QuantizeLinear", "output_dtype_contradicts", opset=21, inputs=[x, half, np.uint8(0)], output_dtype=22, error="output_dtype is i4")

# 8- and 4-bit floats; saturate.
for name in "FLOAT8E4M3FN", "FLOAT8E4M3FNUZ", "FLOAT8E5M2", "FLOAT8E5M2FNUZ":
    for saturate in 1, 0:
        case("QuantizeLinear", f"{name}_saturate_{saturate}", opset=19, inputs=[x, np.float32(2), Raw(name, np.array(0))],
             saturate=saturate, outputs=[encode(name, x / np.float32(2), saturate)])
    codes = Raw(name, np.arange(256))
    case("DequantizeLinear", f"{name}", opset=19, inputs=[codes, np.float32(3), Raw(name, np.array(0))],
         outputs=[table(name).astype(np.float32) * np.float32(3)])
case("QuantizeLinear", "FLOAT4E2M1", opset=23, inputs=[x, np.float32(2), Raw("FLOAT4E2M1", np.array(0))],
     outputs=[encode("FLOAT4E2M1", x / np.float32(2))])
case("DequantizeLinear", "FLOAT4E2M1", opset=23, inputs=[Raw("FLOAT4E2M1", np.arange(16)), np.float32(2)],
     outputs=[table("FLOAT4E2M1").astype(np.float32) * 2])

# Along an axis.
y = random(2, 3, 4, low=-40, high=40)
scale3, zero3 = np.float32([0.1, 1, 7]), np.uint8([0, 128, 255])
for axis in 1, -2:
    at = lambda v: np.asarray(v).reshape(1, 3, 1)
    q = quantized(y, at(scale3), at(zero3), 0, 255).astype(np.uint8)
    case("QuantizeLinear", f"axis_{axis}", opset=13, inputs=[y, scale3, zero3], axis=axis, outputs=[q])
    case("DequantizeLinear", f"axis_{axis}", opset=13, inputs=[q, scale3, zero3], axis=axis,
         outputs=[(q.astype(np.float32) - at(zero3).astype(np.float32)) * at(scale3)])
case("QuantizeLinear", "axis_symbolic", opset=13, inputs=[y, scale3, zero3], dims={0: ["N", 3, "M"]}, constants=[1, 2],
     outputs=[quantized(y, at(scale3), at(zero3), 0, 255).astype(np.uint8)])
case("QuantizeLinear", "axis_out_of_range", opset=13, inputs=[y, scale3, zero3], axis=3, error="axis 3")

# In blocks, with a rest; symbolic sizes.
for size, blocks in (2, 2), (3, 2), (4, 1), (1, 4):
    scales = random(2, 3, blocks, low=0.1, high=2, seed=size)
    zeros = random(2, 3, blocks, low=0, high=15, seed=size).astype(np.int64)
    spread = lambda v: np.repeat(v, size, 2)[:, :, :4]
    q = quantized(y, spread(scales), spread(zeros), 0, 15)
    case("QuantizeLinear", f"blocks_of_{size}", opset=21, inputs=[y, scales, narrow("UINT4", zeros)], axis=2, block_size=size,
         outputs=[narrow("UINT4", q)])
    case("DequantizeLinear", f"blocks_of_{size}", opset=21, inputs=[narrow("UINT4", q), scales, narrow("UINT4", zeros)], axis=-1,
         block_size=size, constants=[0, 1, 2] if size == 3 else [], outputs=[np.float32(q - spread(zeros)) * spread(scales)])
scales = random(2, 2, 4, low=0.1, high=2)
case("QuantizeLinear", "blocks_symbolic", opset=21, inputs=[y, scales, Raw("INT4", np.zeros((2, 2, 4)))], axis=1, block_size=2,
     dims={0: ["N", 3, "M"], 1: ["N", 2, "M"], 2: ["N", 2, "M"]},
     outputs=[narrow("INT4", quantized(y, np.repeat(scales, 2, 1)[:, :3], 0, -8, 7))])
case("QuantizeLinear", "blocks_that_do_not_fit", opset=21, inputs=[y, scales], axis=1, block_size=3, error="blocks of 3")
case("QuantizeLinear", "blocks_without_size", opset=21, inputs=[y, scales], axis=1, error="without a block_size")

# The quotient's precision is the scale's unless another is asked for.
coarse = random(64, low=-300, high=300)
for precision, dtype in (0, np.float16), (1, np.float32):
    more = {"precision": precision} if precision else {}
    case("QuantizeLinear", f"precision_{precision}", opset=23, inputs=[coarse, np.float16(0.7), np.int16(3)], **more,
         outputs=[quantized(coarse.astype(dtype), np.float16(0.7), 3, -32768, 32767, dtype).astype(np.int16)])
half_x = coarse.astype(np.float16)
case("QuantizeLinear", "of_float16", opset=19, inputs=[half_x, np.float16(0.7), np.uint8(128)],
     outputs=[quantized(half_x, np.float16(0.7), 128, 0, 255, np.float16).astype(np.uint8)])
big = np.uint16([0, 1, 40000, 65535])
case("DequantizeLinear", "to_float16", opset=21, inputs=[big, np.float16(0.01), np.uint16(32768)],
     outputs=[((big.astype(np.float32) - 32768) * np.float32(np.float16(0.01))).astype(np.float16)])
case("DequantizeLinear", "output_dtype", opset=23, inputs=[np.int8([-3, 5]), np.float32(0.1)], output_dtype=10,
     outputs=[(np.float32([-3, 5]) * np.float32(0.1)).astype(np.float16)])
case("DequantizeLinear", "power_scale", opset=24, inputs=[Raw("FLOAT4E2M1", [1, 15, 7]), Raw("FLOAT8E8M0", np.array(129))],
     output_dtype=1, outputs=[np.float32([2, -24, 24])])
case("DequantizeLinear", "power_scale_alone", opset=24, inputs=[Raw("FLOAT4E2M1", [1]), Raw("FLOAT8E8M0", np.array(129))],
     error="output_dtype must say")

# A scale from the data: the range with 0 in it; a tensor of zeros.
def dynamic(x):
    low, high = np.float32(min(x.min(), 0)), np.float32(max(x.max(), 0))
    scale = np.float32((high - low) / np.float32(255)) or np.float32(1)
    zero = np.clip(np.rint(-low / scale), 0, 255)
    return np.clip(np.rint(x / scale) + zero, 0, 255).astype(np.uint8), scale, np.uint8(zero)


for name, data in ("both", random(3, 4)), ("above", random(3, 4, low=2, high=5)), ("below", random(5, low=-5, high=-2)), ("zeros", np.zeros((2, 2), np.float32)):
    case("DynamicQuantizeLinear", name, opset=11, inputs=[data], outputs=list(dynamic(data)))
case("DynamicQuantizeLinear", "symbolic", opset=11, inputs=[random(3, 4)], dims={0: ["N", "M"]}, outputs=list(dynamic(random(3, 4))))


# ---- Products

def uints(*shape, seed=0):
    return random(*shape, low=0, high=256, seed=seed).astype(np.uint8)


def sints(*shape, seed=0):
    return random(*shape, low=-128, high=128, seed=seed).astype(np.int8)


a, b = uints(2, 3, 5), sints(2, 5, 4)
wide = lambda v: np.asarray(v, np.int32)
case("MatMulInteger", "plain", opset=10, inputs=[a, b], outputs=[wide(a) @ wide(b)])
case("MatMulInteger", "scalars", opset=10, inputs=[a, b, np.uint8(128), np.int8(-7)], outputs=[(wide(a) - 128) @ (wide(b) + 7)])
rows, columns = np.uint8([1, 128, 255]), np.int8([-128, 0, 5, 127])
case("MatMulInteger", "per_row_and_column", opset=10, inputs=[a, b, rows, columns],
     outputs=[(wide(a) - wide(rows)[:, None]) @ (wide(b) - wide(columns))])
case("MatMulInteger", "batched_zero_points", opset=10, inputs=[a, b, uints(2, 3, 1, seed=4), sints(2, 1, 4, seed=5)],
     outputs=[(wide(a) - uints(2, 3, 1, seed=4)) @ (wide(b) - sints(2, 1, 4, seed=5))])
case("MatMulInteger", "vectors", opset=10, inputs=[a[0, 0], b[0, :, 0], np.uint8([3]), np.int8([1])],
     outputs=[wide((wide(a[0, 0]) - 3) @ (wide(b[0, :, 0]) - 1))])


def requantized(product, factor, zero, dtype):
    low, high = RANGES[np.dtype(dtype).name]
    return np.clip(np.rint(product.astype(np.float32) * np.float32(factor)) + zero, low, high).astype(dtype)


sa, sb, sy = np.float32(0.02), np.float32(0.03), np.float32(0.17)
case("QLinearMatMul", "u8", opset=10, inputs=[a, sa, np.uint8(113), uints(2, 5, 4, seed=2), sb, np.uint8(100), sy, np.uint8(118)],
     outputs=[requantized((wide(a) - 113) @ (wide(uints(2, 5, 4, seed=2)) - 100), sa * sb / sy, 118, np.uint8)])
case("QLinearMatMul", "i8", opset=10, inputs=[sints(3, 5), sa, np.int8(-3), b[0], sb, np.int8(1), sy, np.int8(-100)],
     outputs=[requantized((wide(sints(3, 5)) + 3) @ (wide(b[0]) - 1), sa * sb / sy, -100, np.int8)])
srows, scolumns = np.float32([0.01, 0.02, 0.05]), np.float32([0.01, 0.1, 0.02, 0.03])
case("QLinearMatMul", "per_row_and_column", opset=10, inputs=[a[0], srows, rows, b[0], scolumns, columns, sy, np.int8(5)],
     outputs=[requantized((wide(a[0]) - wide(rows)[:, None]) @ (wide(b[0]) - wide(columns)), srows[:, None] * scolumns / sy, 5, np.int8)])
case("QLinearMatMul", "f16_scales", opset=21, inputs=[a[0], np.float16(0.02), np.uint8(3), b[0], np.float16(0.03), np.int8(1), np.float16(0.25), np.int8(5)],
     outputs=[requantized((wide(a[0]) - 3) @ (wide(b[0]) - 1), np.float32(np.float16(0.02)) * np.float32(np.float16(0.03)) / np.float32(0.25), 5, np.int8)])
e4 = "FLOAT8E4M3FN"
fa, fb = Raw(e4, uints(3, 5, seed=7) % 64), Raw(e4, uints(5, 2, seed=8) % 64 + 128)
case("QLinearMatMul", "f8", opset=21, inputs=[fa, np.float32(0.5), Raw(e4, np.array(0)), fb, np.float32(2), Raw(e4, np.array(0)), np.float32(0.25), Raw(e4, np.array(0))],
     outputs=[encode(e4, (table(e4)[fa.bits] @ table(e4)[fb.bits]) * 4)])


def convolve(x, w, pads=(0, 0, 0, 0), stride=1):
    x = np.pad(x, [(0, 0), (0, 0), (pads[0], pads[2]), (pads[1], pads[3])])
    n, _, height, width = x.shape
    m, _, kh, kw = w.shape
    out = [[np.tensordot(x[:, :, i:i + kh, j:j + kw], w, ([1, 2, 3], [1, 2, 3])) for j in range(0, width - kw + 1, stride)]
           for i in range(0, height - kh + 1, stride)]
    return np.array(out).transpose(2, 3, 0, 1)


image, filters = uints(2, 3, 5, 6), sints(4, 3, 3, 2)
padding = dict(pads=[1, 0, 1, 1], strides=[2, 2])
zeros4, scales4 = np.int8([-3, 0, 5, 127]), np.float32([0.01, 0.02, 0.03, 0.004])
by_filter = lambda v: wide(v).reshape(-1, 1, 1, 1)
case("ConvInteger", "padding_is_the_zero_point", opset=10, inputs=[image, filters, np.uint8(77)], **padding,
     outputs=[wide(convolve(wide(image) - 77, wide(filters), padding["pads"], 2))])
case("ConvInteger", "zero_point_per_filter", opset=10, inputs=[image, filters, np.uint8(77), zeros4],
     outputs=[wide(convolve(wide(image) - 77, wide(filters) - by_filter(zeros4)))])
bias = np.int32([1000, -2000, 0, 50])
product = convolve(wide(image) - 77, wide(filters) - by_filter(zeros4), padding["pads"], 2)
case("QLinearConv", "per_filter", opset=10, inputs=[image, sa, np.uint8(77), filters, scales4, zeros4, sy, np.uint8(9), bias], **padding,
     outputs=[requantized(product + bias.reshape(1, 4, 1, 1), (sa * scales4 / sy).reshape(1, 4, 1, 1), 9, np.uint8)])
case("QLinearConv", "whole", opset=10, inputs=[image, sa, np.uint8(77), filters, sb, np.int8(3), sy, np.uint8(9)],
     outputs=[requantized(convolve(wide(image) - 77, wide(filters) - 3), sa * sb / sy, 9, np.uint8)])
