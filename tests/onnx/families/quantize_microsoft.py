"""Quantized operators of com.microsoft, by the formulas of its documentation."""
import numpy as np
from case import case, node, random

f32 = np.float32
scale = {name: f32(value) for name, value in dict(a=0.02, b=0.03, c=0.017, y=0.011).items()}


def ints(*shape, dtype=np.uint8, seed=0):
    info = np.iinfo(dtype)
    return random(*shape, low=info.min, high=info.max + 1, seed=seed).astype(dtype)


def real(q, scale, zero=0):
    return (q.astype(np.float32) - np.float32(zero)) * np.float32(scale)


def quantize(x, scale, zero, dtype):
    info = np.iinfo(dtype)
    return np.clip(np.rint(np.float32(x) / np.float32(scale)) + zero, info.min, info.max).astype(dtype)


def rescale(product, factor, zero, dtype):
    """An exact product, scaled once."""
    info = np.iinfo(dtype)
    return np.clip(np.rint(product.astype(np.float32) * np.float32(factor)) + zero, info.min, info.max).astype(dtype)


def microsoft(op, name, inputs, outputs, **more):
    case(f"com.microsoft.{op}", name, inputs=inputs, outputs=outputs, **more)


def softmax(**attributes):
    return [node("com.microsoft.QLinearSoftmax", "x0 x1 x2 x3 x4", "y0", **attributes)]


# ---- Element by element

x, by_column = random(3, 4, low=-5, high=5), np.float32([0.02, 0.03, 0.017, 0.011])
zeros = np.uint16([30000, 0, 7, 40000])
microsoft("QuantizeLinear", "of_16_bits", [x, f32(0.0001), np.uint16(30000)], [quantize(x, 0.0001, 30000, np.uint16)])
microsoft("QuantizeLinear", "by_column", [x, by_column, zeros], [quantize(x, by_column, zeros, np.uint16)], axis=1)
q = ints(3, 4, dtype=np.uint16)
microsoft("DequantizeLinear", "of_16_bits", [q, f32(0.0001), np.uint16(30000)], [real(q, 0.0001, 30000)])
microsoft("DequantizeLinear", "by_column", [q, by_column, zeros], [real(q, by_column, zeros)], axis=1)

for dtype, za, zb, zc in (np.uint8, 120, 7, 130), (np.int8, -5, 17, -30):
    a, b, z = ints(2, 3, 4, dtype=dtype), ints(3, 1, dtype=dtype, seed=1), lambda n: dtype(n)
    name = dtype.__name__
    total = real(a, scale["a"], za) + real(b, scale["b"], zb)
    microsoft("QLinearAdd", name, [a, scale["a"], z(za), b, scale["b"], z(zb), f32(0.04), z(zc)], [quantize(total, 0.04, zc, dtype)])
    product = (a.astype(np.int32) - za) * (b.astype(np.int32) - zb)
    microsoft("QLinearMul", name, [a, scale["a"], z(za), b, scale["b"], z(zb), scale["c"], z(zc)],
              [rescale(product, scale["a"] * scale["b"] / scale["c"], zc, dtype)])
    x = real(a, scale["a"], za)
    one = [a, scale["a"], z(za), scale["y"], z(zc)]
    microsoft("QLinearSigmoid", name, one, [quantize(1 / (1 + np.exp(-x)), scale["y"], zc, dtype)])
    microsoft("QLinearLeakyRelu", name, one, [quantize(np.where(x < 0, x * f32(0.3), x), scale["y"], zc, dtype)], alpha=0.3)
    e = np.exp(x - x.max(1, keepdims=True))
    microsoft("QLinearSoftmax", f"{name}_axis", one, [quantize(e / e.sum(1, keepdims=True), scale["y"], zc, dtype)],
              nodes=softmax(axis=1, opset=13))
    microsoft("QLinearReduceMean", name, one, [quantize(x.mean((0, 2), dtype=np.float32)[None, :, None], scale["y"], zc, dtype)], axes=[0, 2], keepdims=1)
    condition = np.arange(12).reshape(3, 4) % 3 == 0
    chosen = np.where(condition, x, real(b, scale["b"], zb))
    microsoft("QLinearWhere", name, [condition, a, scale["a"], z(za), b, scale["b"], z(zb), scale["y"], z(zc)], [quantize(chosen, scale["y"], zc, dtype)])
    c = ints(2, 2, 4, dtype=dtype, seed=2)
    joined = np.concatenate([x, real(c, scale["b"], zb)], 1)
    microsoft("QLinearConcat", name, [scale["y"], z(zc), a, scale["a"], z(za), c, scale["b"], z(zb)], [quantize(joined, scale["y"], zc, dtype)], axis=1)
a = ints(2, 3, 4)
microsoft("QLinearAdd", "without_zero_points", [a, scale["a"], None, a, scale["b"], None, scale["a"]],
          [quantize(real(a, scale["a"]) + real(a, scale["b"]), scale["a"], 0, np.uint8)])
microsoft("QLinearAdd", "symbolic", [a, scale["a"], np.uint8(3), a, scale["b"], np.uint8(9), scale["a"], np.uint8(1)],
          [quantize(real(a, scale["a"], 3) + real(a, scale["b"], 9), scale["a"], 1, np.uint8)], dims={0: ["N", 3, "M"], 3: ["N", 3, "M"]})
x = real(a, scale["a"], 9)
flat = np.exp(x.reshape(2, 12) - x.reshape(2, 12).max(1, keepdims=True))
microsoft("QLinearSoftmax", "coerced", [a, scale["a"], np.uint8(9), f32(1 / 256), np.uint8(0)],
          [quantize(flat / flat.sum(1, keepdims=True), 1 / 256, 0, np.uint8).reshape(2, 3, 4)], nodes=softmax(axis=1, opset=11))
microsoft("QLinearConcat", "in_twos", [scale["y"], np.uint8(0), a, scale["a"]], None, axis=1, error="no tensors in threes")
microsoft("QLinearAdd", "scales_along_an_axis", [a, f32([1, 2, 3, 4]), None, a, scale["b"], None, scale["a"]], None, error="a scale is f32[4]")

image = ints(2, 3, 4, 5)
x = real(image, scale["a"], 100)
pooled = np.stack([[x[:, :, i:i + 2, j:j + 2].mean((2, 3)) for j in range(0, 4, 2)] for i in (0, 2)]).transpose(2, 3, 0, 1)
quantized = quantize(pooled, scale["y"], 128, np.uint8)
one = [image, scale["a"], np.uint8(100), scale["y"], np.uint8(128)]
last = [image.transpose(0, 2, 3, 1), *one[1:]]
microsoft("QLinearAveragePool", "", one, [quantized], kernel_shape=[2, 2], strides=[2, 2])
microsoft("QLinearAveragePool", "channels_last", last, [quantized.transpose(0, 2, 3, 1)], kernel_shape=[2, 2], strides=[2, 2], channels_last=1)
mean = quantize(x.mean((2, 3), keepdims=True, dtype=np.float32), scale["y"], 128, np.uint8)
microsoft("QLinearGlobalAveragePool", "", one, [mean])
microsoft("QLinearGlobalAveragePool", "channels_last", last, [mean.transpose(0, 2, 3, 1)], channels_last=1)

b = ints(4, dtype=np.uint8, seed=3)
microsoft("MulInteger", "", [a, np.uint8(7), b, np.uint8(100)], [(a.astype(np.int32) - 7) * (b.astype(np.int32) - 100)])
microsoft("MulInteger", "without_a_zero_point", [a, None, b, np.uint8(100)], [a.astype(np.int32) * (b.astype(np.int32) - 100)])
microsoft("ReduceSumInteger", "u8", [a], [a.sum(1, dtype=np.uint32)], axes=[1], keepdims=0)
microsoft("ReduceSumInteger", "i8", [ints(2, 3, 4, dtype=np.int8)], [ints(2, 3, 4, dtype=np.int8).sum((0, 2), keepdims=True, dtype=np.int32)], axes=[0, 2], keepdims=1)

# ---- Products

a, b = ints(2, 3, 5), ints(5, 4, dtype=np.int8)
wide = lambda v: np.asarray(v).astype(np.int32)
columns, zeros, bias = f32([0.01, 0.02, 0.03, 0.5]), np.int8([0, 3, -7, 127]), f32([1, -2, 0.5, 0])
microsoft("MatMulIntegerToFloat", "whole", [a, b, scale["a"], scale["b"], np.uint8(9), np.int8(-3)],
          [((wide(a) - 9) @ (wide(b) + 3)).astype(np.float32) * (scale["a"] * scale["b"])])
microsoft("MatMulIntegerToFloat", "per_column", [a, b, scale["a"], columns, np.uint8(9), zeros, bias],
          [((wide(a) - 9) @ (wide(b) - zeros)).astype(np.float32) * (scale["a"] * columns) + bias])
microsoft("MatMulIntegerToFloat", "plain", [a, b, f32([0.02]), scale["b"]], [(wide(a) @ wide(b)).astype(np.float32) * (f32(0.02) * scale["b"])])
floats = random(3, 5, low=-3, high=5)
low, high = min(floats.min(), 0), max(floats.max(), 0)
own = f32((high - low) / f32(255))
zero = int(np.rint(-low / own))
q = quantize(floats, own, zero, np.uint8)
microsoft("DynamicQuantizeMatMul", "", [floats, b, columns, zeros, bias], [((wide(q) - zero) @ (wide(b) - zeros)).astype(np.float32) * (own * columns) + bias])
microsoft("DynamicQuantizeMatMul", "without_zero_point", [floats, b, f32(0.1)], [((wide(q) - zero) @ wide(b)).astype(np.float32) * (own * f32(0.1))])
microsoft("MatMulInteger16", "i16", [ints(2, 3, dtype=np.int16), ints(3, 2, dtype=np.int16)],
          [(ints(2, 3, dtype=np.int16).astype(np.int64) @ ints(3, 2, dtype=np.int16).astype(np.int64)).astype(np.int32)])
microsoft("MatMulInteger16", "u16", [ints(2, 3, dtype=np.uint16) // 16, ints(3, 2, dtype=np.uint16) // 16],
          [((ints(2, 3, dtype=np.uint16) // 16).astype(np.uint32) @ (ints(3, 2, dtype=np.uint16) // 16).astype(np.uint32))])
c = np.int32([[100, -200, 0, 5000]])
whole = (wide(a[0]) - 9) @ (wide(b) - zeros) + c
gemm = [a[0], scale["a"], np.uint8(9), b, columns, zeros, c]
microsoft("QGemm", "quantized", [*gemm, f32(0.3), np.int8(-5)], [rescale(whole, scale["a"] * columns / f32(0.3), -5, np.int8)])
microsoft("QGemm", "float", gemm, [whole.astype(np.float32) * (scale["a"] * columns)])
microsoft("QGemm", "transposed", [a[0].T.copy(), *gemm[1:3], b.T.copy(), *gemm[4:], f32(0.3), np.int8(-5)],
          [rescale(whole, scale["a"] * columns * f32(0.5) / f32(0.3), -5, np.int8)], transA=1, transB=1, alpha=0.5)
filters = ints(4, 3, 2, 2, dtype=np.int8)
product = sum(np.einsum("nchw,mc->nmhw", wide(image)[:, :, i:i + 3, j:j + 4] - 100, wide(filters)[:, :, i, j]) for i in (0, 1) for j in (0, 1))
conv = rescale(product, scale["a"] * scale["b"] / f32(2), 3, np.uint8)
given = [scale["a"], np.uint8(100), filters, scale["b"], np.int8(0), f32(2), np.uint8(3)]
microsoft("QLinearConv", "", [image, *given], [conv])
microsoft("QLinearConv", "channels_last", [image.transpose(0, 2, 3, 1), *given], [conv.transpose(0, 2, 3, 1)], channels_last=1)


# ---- Weights in blocks

def pack(values, bits):
    """Along the last axis, the first in the low bits."""
    per = 8 // bits
    values = np.pad(values, [(0, 0)] * (values.ndim - 1) + [(0, -values.shape[-1] % per)])
    values = values.reshape(*values.shape[:-1], -1, per).astype(np.uint16)
    return (values << (bits * np.arange(per, dtype=np.uint16))).sum(-1).astype(np.uint8)


rows = 5
for bits in 2, 4, 8:
    for columns, size in (32, 16), (40, 16), (48, 32):
        blocks = -(-columns // size)
        q = np.random.default_rng([bits, columns]).integers(0, 2**bits, (rows, blocks * size))
        scales, zeros = random(rows, blocks, low=0.01, high=0.1, seed=bits), np.random.default_rng(bits).integers(0, 2**bits, (rows, blocks))
        spread = lambda v: np.repeat(v, size, 1)[:, :columns].astype(np.float32)
        x, packed = random(2, 3, columns, seed=columns), pack(q.reshape(rows, blocks, size), bits)
        weights = lambda zero: (q[:, :columns].astype(np.float32) - zero) * spread(scales)
        more = dict(N=rows, K=columns, bits=bits, block_size=size)
        name = f"{bits}_bits_{columns}_by_{size}"
        microsoft("MatMulNBits", f"{name}_default_zero", [x, packed, scales], [x @ weights(2**(bits - 1)).T], constants=[1, 2], **more)
        microsoft("MatMulNBits", f"{name}_packed_zeros", [x, packed, scales, pack(zeros, bits)], [x @ weights(spread(zeros)).T], constants=[1, 2, 3], **more)
        microsoft("MatMulNBits", f"{name}_computed", [x, packed, scales, pack(zeros, bits)], [x @ weights(spread(zeros)).T], **more)
        bias, floats = random(rows), zeros.astype(np.float32) + f32(0.5)
        microsoft("MatMulNBits", f"{name}_float_zeros_and_bias", [x, packed, scales.reshape(-1), floats, None, bias],
                  [x @ weights(spread(floats)).T + bias], constants=[1, 2, 3, 5], **more)
        index = np.random.default_rng(columns).integers(0, blocks, columns).astype(np.int32)
        by_index = (q[:, :columns].astype(np.float32) - zeros[:, index]) * scales[:, index]
        microsoft("MatMulNBits", f"{name}_g_idx", [x, packed, scales, pack(zeros, bits), index], [x @ by_index.T.astype(np.float32)], constants=[1, 2, 3, 4], **more)
half = random(2, 32).astype(np.float16)
q = np.random.default_rng(1).integers(0, 16, (rows, 2, 16))
hs = random(rows, 2, low=0.01, high=0.1).astype(np.float16)
microsoft("MatMulNBits", "f16", [half, pack(q, 4), hs], [(half.astype(np.float32) @ ((q - 8) * hs[..., None].astype(np.float32)).astype(np.float16).astype(np.float32).reshape(rows, 32).T).astype(np.float16)],
          constants=[1, 2], N=rows, K=32, bits=4, block_size=16)
# so many weights that they stay packed
many, ms, mz = np.random.default_rng(2).integers(0, 16, (200, 4, 32)), random(200, 4, low=0.01, high=0.1).astype(np.float16), np.random.default_rng(3).integers(0, 16, (200, 4))
mw, mx = ((many - mz[..., None]) * ms[..., None].astype(np.float32)).astype(np.float32).reshape(200, 128)[:, :104], random(2, 3, 104).astype(np.float16)
microsoft("MatMulNBits", "f16_many", compiled=True, inputs=[mx, pack(many, 4), ms, pack(mz, 4)], outputs=[(mx.astype(np.float32) @ mw.T).astype(np.float16)], constants=[1, 2, 3], N=200, K=104, bits=4, block_size=32)
microsoft("MatMulNBits", "symbolic", [random(3, 32), pack(q, 4), hs.astype(np.float32)],
          [random(3, 32) @ ((q - 8) * hs[..., None].astype(np.float32)).astype(np.float32).reshape(rows, 32).T], dims={0: ["N", 32]}, constants=[1, 2], N=rows, K=32, bits=4, block_size=16)
microsoft("MatMulNBits", "3_bits", [half, pack(q, 4), hs], None, N=rows, K=32, bits=3, block_size=16, error="weights of 3 bits")
microsoft("MatMulNBits", "wrong_shape", [half, pack(q, 4), hs], None, N=rows, K=64, bits=4, block_size=16, error="B is u8[5,2,8]")

FP4 = np.float32([0, 5.208333333e-03, 2 / 3, 1, 1 / 3, 0.5, 1 / 6, 0.25])
NF4 = np.float32([-1, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635, -0.18477343022833334,
                  -0.09105003625154495, 0, 0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224,
                  0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1])
NF4[5] = -0.18477343022823334
for kind, numbers in (0, np.concatenate([FP4, -FP4])), (1, NF4):
    n, k, size = 5, 7, 16
    codes = np.random.default_rng(kind).integers(0, 16, n * k)
    padded = np.append(codes, 0)
    packed = (padded[0::2] << 4 | padded[1::2]).astype(np.uint8)  # the first in the high bits
    largest = random(-(-n * k // size), low=0.5, high=2)
    w = (numbers[codes] * np.repeat(largest, size)[:n * k]).reshape(n, k)
    for constants in [1, 2], []:
        suffix = f"{'fp4' if kind == 0 else 'nf4'}_{'constant' if constants else 'computed'}"
        microsoft("MatMulBnb4", suffix, [random(3, k), packed, largest], [random(3, k) @ w.T], constants=constants, N=n, K=k, block_size=size, quant_type=kind)
    microsoft("MatMulBnb4", f"{suffix}_not_transposed", [random(3, n), packed, largest], [random(3, n) @ w], N=n, K=k, block_size=size, quant_type=kind, transB=0)

indices = np.int64([[0, 3], [-1, 2]])
for bits in 2, 4, 8:
    q = np.random.default_rng(bits).integers(0, 2**bits, (4, 40))
    scales, zeros = random(4, 3, low=0.01, high=0.1), np.random.default_rng(bits + 9).integers(0, 2**bits, (4, 3))
    spread = lambda v: np.repeat(v, 16, 1)[:, :40].astype(np.float32)
    for constants in [0, 2, 3], []:
        suffix = f"{bits}_bits_{'constant' if constants else 'computed'}"
        table = (q - spread(zeros)) * spread(scales)
        microsoft("GatherBlockQuantized", suffix, [pack(q, bits), indices, scales, pack(zeros, bits)], [table[indices].astype(np.float32)],
                  constants=constants, bits=bits, block_size=16, quantize_axis=1)
    microsoft("GatherBlockQuantized", f"{bits}_bits_default_zero", [pack(q, bits), indices, scales], [((q - 2**(bits - 1)) * spread(scales))[indices].astype(np.float32)],
              constants=[0, 2], bits=bits, block_size=16, quantize_axis=-1)

# ---- Layers


def dynamic(x):
    """x in 8 bits over its range with 0 in it, and back."""
    low, high = np.float32(min(x.min(), 0)), np.float32(max(x.max(), 0))
    step = (high - low) / f32(255) or f32(1)
    zero = np.clip(np.rint(-low / step), 0, 255)
    return (np.clip(np.rint(x / step) + zero, 0, 255) - zero) * step


def lstm(x, w, r, bias, h, c, reverse):
    """One direction; the state of each row is rounded at every step."""
    hidden, ys = r.shape[0], []
    sigmoid = lambda v: 1 / (1 + np.exp(-v))
    for step in list(x)[::-1] if reverse else list(x):
        gates = step @ w + np.stack([dynamic(row) for row in h]) @ r + bias
        i, o, f, g = (gates[:, k * hidden:(k + 1) * hidden] for k in range(4))
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
        ys.append(h)
    return np.stack(ys[::-1] if reverse else ys).astype(np.float32), h.astype(np.float32), c.astype(np.float32)


for hidden, dtype, per_column in (5, np.int8, False), (20, np.uint8, True):
    steps, batch, features = 4, 2, 3
    x, bias = random(steps, batch, features, low=-2, high=3), random(2, 8 * hidden)
    w, r = ints(2, features, 4 * hidden, dtype=dtype), ints(2, hidden, 4 * hidden, dtype=dtype, seed=1)
    shape = (2, 4 * hidden) if per_column else (2,)
    ws, rs = random(*shape, low=0.003, high=0.006, seed=2), random(*shape, low=0.003, high=0.006, seed=3)
    zero = np.full(shape, 0 if dtype == np.int8 else 120, dtype)
    h0, c0 = random(2, batch, hidden, seed=4), random(2, batch, hidden, seed=5)
    results = []
    for d in 0, 1:
        weights = [(q[d].astype(np.float32) - zero[d].astype(np.float32)) * s[d] for q, s in ((w, ws), (r, rs))]
        results.append(lstm(dynamic(x), *weights, bias[d, :4 * hidden] + bias[d, 4 * hidden:], h0[d], c0[d], d == 1))
    y, h, c = (np.stack([one[k] for one in results], axis=1 if k == 0 else 0) for k in range(3))
    for dims in {}, {0: ["T", "N", features], 5: [2, "N", hidden], 6: [2, "N", hidden]}:
        microsoft("DynamicQuantizeLSTM", f"{hidden}_{'symbolic' if dims else 'fixed'}", [x, w, r, bias, None, h0, c0, None, ws, zero, rs, zero], [y, h, c],
                  constants=[1, 2, 3, 8, 9, 10, 11], hidden_size=hidden, direction="bidirectional", dims=dims)

batch, length, heads, size = 2, 3, 2, 4
width = heads * size
x, w, bias = ints(batch, length, 6), ints(6, 3 * width, dtype=np.int8), random(3 * width)
ws, wz = random(3 * width, low=0.002, high=0.004), ints(3 * width, dtype=np.int8, seed=6) // 16
qkv = ((wide(x) - 120) @ (wide(w) - wz)).astype(np.float32) * (f32(0.01) * ws) + bias
q, k, v = qkv.reshape(batch, length, 3, heads, size).transpose(2, 0, 3, 1, 4)
scores = q @ k.transpose(0, 1, 3, 2) / np.sqrt(f32(size))
lengths = np.int32([3, 2])
for mask in None, lengths:
    masked = scores if mask is None else scores + np.where(np.arange(length) < mask[:, None], 0, -10000)[:, None, None].astype(np.float32)
    e = np.exp(masked - masked.max(-1, keepdims=True))
    y = (e / e.sum(-1, keepdims=True) @ v).transpose(0, 2, 1, 3).reshape(batch, length, width)
    microsoft("QAttention", "masked" if mask is not None else "plain", [x, w, bias, f32(0.01), ws, mask, np.uint8(120), wz], [y], num_heads=heads)

words, positions, segments = ints(11, 6), ints(7, 6, seed=1), ints(2, 6, seed=2)
gamma, beta = ints(6, seed=3), ints(6, seed=4)
ids, kinds = np.int32([[3, 10, 0], [7, 7, 1]]), np.int32([[0, 1, 1], [0, 0, 1]])
tables = [real(q, 0.02, 100 + i) for i, q in enumerate((words, positions, segments, gamma, beta))]
total = tables[0][ids] + tables[1][:3] + tables[2][kinds]
normal = (total - total.mean(-1, keepdims=True)) / np.sqrt(total.var(-1, keepdims=True) + f32(1e-12))
microsoft("QEmbedLayerNormalization", "", [ids, kinds, words, positions, segments, gamma, beta, None, *[f32(0.02)] * 5, *(np.uint8(100 + i) for i in range(5))],
          [normal * tables[3] + tables[4]], constants=[2, 3, 4, 5, 6])
