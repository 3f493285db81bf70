"""Operators of com.microsoft that are several of ONNX in one."""
import math

import numpy as np
from case import case, random

f32 = np.float32
erf = np.vectorize(math.erf)
sigmoid = lambda x: 1 / (1 + np.exp(-x))
gelu = lambda x: (x / 2 * (1 + erf(x / 2**0.5))).astype(f32)
fast_gelu = lambda x: (x / 2 * (1 + np.tanh((2 / np.pi)**0.5 * (x + 0.044715 * x**3)))).astype(f32)


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def norm(x, epsilon, center=True):
    x = x - x.mean(-1, keepdims=True) if center else x
    return x / np.sqrt((x**2).mean(-1, keepdims=True) + epsilon)


x, y, skip = random(2, 3, 8, low=-3, high=3), random(2, 3, 8, seed=1), random(2, 3, 8, seed=2)
row, gamma, beta = (random(8, seed=s) for s in (3, 4, 5))

case("com.microsoft.BiasGelu", "", inputs=[x, row], outputs=[gelu(x + row)])
case("com.microsoft.FastGelu", "", inputs=[x], outputs=[fast_gelu(x)])
case("com.microsoft.FastGelu", "bias", inputs=[x, row], dims={0: ["N", "S", 8]}, outputs=[fast_gelu(x + row)])
case("com.microsoft.Gelu", "", inputs=[x], outputs=[gelu(x)])
case("com.microsoft.QuickGelu", "", inputs=[x], outputs=[x * sigmoid(1.702 * x)])
case("com.microsoft.QuickGelu", "alpha", inputs=[x], alpha=0.5, outputs=[x * sigmoid(0.5 * x)])
case("com.microsoft.BiasSplitGelu", "", inputs=[x, row], outputs=[(x + row)[..., :4] * gelu((x + row)[..., 4:])])
case("com.microsoft.BiasAdd", "", inputs=[x, row, skip], outputs=[x + row + skip])
case("com.microsoft.GatedAdd", "", inputs=[x, y, skip[..., :1]], outputs=[x + y * skip[..., :1]])
case("SwiGLU", "", opset=28, inputs=[x, y], outputs=[x * sigmoid(x) * y])
case("SwiGLU", "alpha", opset=28, inputs=[x, y], alpha=1.5, outputs=[x * sigmoid(1.5 * x) * y])
case("SwiGLU", "no_broadcast", opset=28, inputs=[x, y[:1]], error="against")
for inner, mask in (1, y[:, :1]), (0, y[:1]):
    case("com.microsoft.BiasSoftmax", ["outer", "inner"][inner], inputs=[x, mask], axis=2, is_inner_broadcast=inner, outputs=[softmax(x + mask)])
case("com.microsoft.BiasSoftmax", "two_axes", inputs=[x, y[:1]], axis=1, is_inner_broadcast=0, outputs=[softmax((x + y[:1]).reshape(2, -1)).reshape(x.shape)])
with_nan, with_inf = x.copy(), x.copy()
with_nan[0, 1, 2], with_inf[1, 0, 0] = np.nan, -np.inf
for name, tensors, options, answer in [("yes", [x, y], {}, True), ("nan", [x, with_nan], {}, False), ("inf", [with_inf], {}, False),
                                       ("inf_allowed", [with_inf], {"isnan_only": 1}, True), ("nan_allowed", [with_nan], {"isinf_only": 1}, True),
                                       ("inf_looked_for", [x, with_inf], {"isinf_only": 1}, False)]:
    case("com.microsoft.IsAllFinite", name, inputs=tensors, outputs=[np.bool_(answer)], **options)
for axis in 0, 3, -2:
    case("com.microsoft.ExpandDims", f"axis_{axis}", inputs=[x, np.int32(axis)], constants=[1], outputs=[np.expand_dims(x, axis)])
case("com.microsoft.TorchEmbedding", "", inputs=[x[0], np.array([[2, 0], [1, 1]])], outputs=[x[0][[[2, 0], [1, 1]]]])
kept = np.random.RandomState(5).uniform(0, 1, x.shape) >= 0.5
case("com.microsoft.BiasDropout", "", inputs=[x, row, skip, f32(0.5), np.bool_(True)], seed=5, outputs=[np.where(kept, (x + row) * 2, 0).astype(f32) + skip, kept])
case("com.microsoft.BiasDropout", "inference", inputs=[x, row], outputs=[x + row, np.ones(x.shape, bool)])
emb, q, turned, k, k_turned = random(2, 3, 8, seed=6), *(random(2, 4, 3, 8, seed=s).astype(np.float16) for s in range(7, 11))
cos, sin = np.cos(emb)[:, None].astype(np.float16), np.sin(emb)[:, None].astype(np.float16)
case("com.microsoft.GemmaRotaryEmbedding", "", inputs=[emb, q, turned, k, k_turned], outputs=[q * cos + turned * sin, k * cos + k_turned * sin])

# ---- products

a, b, c = random(2, 3, 4, 5), random(2, 3, 5, 6, seed=1), random(6, seed=2)
swap = lambda x: np.ascontiguousarray(x.swapaxes(-1, -2))
first_last = lambda x: np.ascontiguousarray(np.moveaxis(x, -2, 0))  # what transBatch undoes
for op in "FusedMatMul", "TransposeMatMul":
    case(f"com.microsoft.{op}", "", inputs=[swap(a), swap(b)], transA=1, transB=1, alpha=0.5, outputs=[0.5 * (a @ b)])
case("com.microsoft.FusedMatMul", "batches", inputs=[first_last(a), b], transBatchA=1, outputs=[a @ b])
case("com.microsoft.FusedMatMul", "both", inputs=[a, first_last(swap(b))], transBatchB=1, transB=1, outputs=[a @ b])
product = a @ b
for name, options, expected in [("Relu", {}, np.maximum(product, 0)), ("LeakyRelu", {"activation_alpha": 0.3}, np.where(product > 0, product, f32(0.3) * product)),
                                ("HardSigmoid", {"activation_alpha": 0.5, "activation_beta": 0.25}, np.clip(product / 2 + 0.25, 0, 1)),
                                ("Tanh", {}, np.tanh(product)), ("Sigmoid", {}, sigmoid(product)), ("Gelu", {}, gelu(product))]:
    case("com.microsoft.FusedMatMulActivation", name, inputs=[a, b], activation=name, **options, outputs=[expected])
case("com.microsoft.FusedMatMulActivation", "unknown", inputs=[a, b], activation="Softmox", error="'Softmox' is not known")
case("com.microsoft.FusedGemm", "", inputs=[a[0, 0], swap(b[0, 0]), c], transB=1, alpha=2.0, beta=0.5, activation="LeakyRelu", activation_alpha=0.1,
     outputs=[(lambda z: np.where(z > 0, z, f32(0.1) * z))(2 * a[0, 0] @ b[0, 0] + c / 2)])
case("com.microsoft.GemmFastGelu", "", inputs=[a, b[0, 0], c], outputs=[fast_gelu(a @ b[0, 0] + c)])
image, weights, bias, other = random(1, 3, 5, 4), random(2, 3, 1, 1), random(2), random(1, 2, 5, 4, seed=3)
convolved = np.einsum("nchw,mc->nmhw", image, weights[..., 0, 0]) + bias[:, None, None]
case("com.microsoft.FusedConv", "relu", inputs=[image, weights, bias], activation="Relu", outputs=[np.maximum(convolved, 0)])
case("com.microsoft.FusedConv", "sum_clip", inputs=[image, weights, bias, other], activation="Clip", activation_params=[-0.5, 0.75],
     outputs=[np.clip(convolved + other, -0.5, 0.75)])
case("com.microsoft.FusedConv", "leaky", inputs=[image, weights], activation="LeakyRelu", activation_params=[0.2], dims={0: ["N", 3, "H", "W"]},
     outputs=[(lambda z: np.where(z > 0, z, f32(0.2) * z))(convolved - bias[:, None, None])])
last = lambda x: np.ascontiguousarray(np.moveaxis(x, 1, -1))
case("com.microsoft.NhwcFusedConv", "", inputs=[last(image), weights, bias, last(other)], activation="Relu", outputs=[last(np.maximum(convolved + other, 0))])

# ---- normalizations

case("com.microsoft.SkipLayerNormalization", "", inputs=[x, skip, gamma, beta], outputs=[norm(x + skip, 1e-12) * gamma + beta])
case("com.microsoft.SkipLayerNormalization", "bias_sum", inputs=[x, skip, gamma, beta, row], epsilon=0.1, dims={0: ["B", "S", 8], 1: ["B", "S", 8]},
     outputs=[norm(x + skip + row, 0.1) * gamma + beta, None, None, x + skip + row])
case("com.microsoft.SkipLayerNormalization", "one_skip", inputs=[x, skip[0], gamma], epsilon=0.1, outputs=[norm(x + skip[0], 0.1) * gamma])
case("com.microsoft.SkipSimplifiedLayerNormalization", "", inputs=[x, skip, gamma, row], epsilon=0.01,
     outputs=[norm(x + skip + row, 0.01, False) * gamma, None, None, x + skip + row])
case("SimplifiedLayerNormalization", "", opset=1, inputs=[x, gamma], epsilon=0.01, outputs=[norm(x, 0.01, False) * gamma])
case("com.microsoft.GatedRMSNorm", "", inputs=[x, gamma[:4], y], epsilon=0.01,
     outputs=[(norm(x.reshape(2, 3, 2, 4), 0.01, False) * gamma[:4]).reshape(x.shape) * y * sigmoid(y)])
picture, wide, narrow = random(2, 6, 3, 4), random(6, seed=6), random(6, seed=7)


def group_norm(x, groups, epsilon=1e-5):
    return norm(x.reshape(x.shape[0], groups, -1), epsilon).reshape(x.shape) * wide[:, None, None] + narrow[:, None, None]


silu = lambda x: x * sigmoid(x)
case("com.microsoft.GroupNorm", "", inputs=[last(picture), wide, narrow], groups=3, activation=0, epsilon=0.01, outputs=[last(group_norm(picture, 3, 0.01))])
case("com.microsoft.GroupNorm", "silu_first", inputs=[picture, wide, narrow], groups=2, activation=1, channels_last=0, dims={0: ["N", 6, "H", "W"]},
     outputs=[silu(group_norm(picture, 2))])
more = random(2, 6, seed=8)
total = picture + more[:, :, None, None] + wide[:, None, None]
case("com.microsoft.SkipGroupNorm", "", inputs=[last(picture), wide, narrow, more, wide], groups=3, activation=1, outputs=[last(silu(group_norm(total, 3))), last(total)])
case("com.microsoft.SkipGroupNorm", "first", inputs=[picture, wide, narrow, picture], groups=3, activation=0, channels_last=0,
     outputs=[group_norm(2 * picture, 3)])

# ---- embeddings

words, positions, segments = random(9, 8), random(7, 8, seed=1), random(2, 8, seed=2)
ids, kinds, mask = np.array([[1, 8, 0], [4, 4, 2]], np.int32), np.array([[0, 0, 1], [1, 0, 1]], np.int32), np.array([[1, 1, 0], [1, 1, 1]], np.int32)
summed = words[ids] + positions[:3] + segments[kinds]
case("com.microsoft.EmbedLayerNormalization", "", inputs=[ids, kinds, words, positions, segments, gamma, beta, mask], dims={0: ["B", "S"], 1: ["B", "S"], 7: ["B", "S"]},
     outputs=[norm(summed, 1e-12) * gamma + beta, mask.sum(1).astype(np.int32)])
at = np.array([[6, 5, 4], [3, 0, 1]], np.int32)
case("com.microsoft.EmbedLayerNormalization", "positions", inputs=[ids, None, words, positions, None, gamma, beta, None, at], epsilon=0.1,
     outputs=[norm(words[ids] + positions[at], 0.1) * gamma + beta, np.zeros(2, np.int32), words[ids] + positions[at]])
