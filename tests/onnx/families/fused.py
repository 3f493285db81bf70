"""Operators of com.microsoft that are several of ONNX in one."""
import math

import numpy as np
from case import case, node, random
from onnx import helper

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

# ---- MoE: mixtures of experts

T, E, H, I = 5, 4, 8, 6
tokens, routers = random(T, H, seed=20), random(T, E, low=-2, high=2, seed=21)
weight = lambda *shape, seed: random(*shape, seed=seed)
fc1, fc2, fc3, fused_fc1 = weight(E, I, H, seed=22), weight(E, H, I, seed=23), weight(E, I, H, seed=24), weight(E, 2 * I, H, seed=25)
b1, b2, b3, fused_b1 = weight(E, I, seed=26), weight(E, H, seed=27), weight(E, I, seed=28), weight(E, 2 * I, seed=29)
ACTIVATIONS = dict(relu=lambda x: np.maximum(x, 0), silu=lambda x: x * sigmoid(x), gelu=fast_gelu, identity=lambda x: x)


def mixture(x, router, k, normalize, inside, fc2, b2):
    """`inside(x, e)` is what expert e makes of one token before its second layer."""
    y = np.zeros_like(x)
    for t, row in enumerate(router):
        best = np.argsort(-row, kind="stable")[:k]
        shares = softmax(row[best]) if normalize else softmax(row)[best]
        for share, e in zip(shares, best):
            y[t] += share * (fc2[e] @ inside(x[t], e) + b2[e])
    return y


def swiglu(g, l, alpha, beta, limit):
    g, l = np.minimum(g, limit), np.clip(l, -limit, limit)
    return g * sigmoid(alpha * g) * (l + beta)


no_bias = np.zeros((E, H), f32)
for activation, f in ACTIVATIONS.items():
    for k, normalize in (1, 0), (2, 0), (2, 1), (4, 1):
        wanted = mixture(tokens, routers, k, normalize, lambda x, e: f(fc1[e] @ x + b1[e]), fc2, b2)
        case("com.microsoft.MoE", f"{activation}_{k}_{normalize}", inputs=[tokens, routers, fc1, b1, fc2, b2], constants=[2, 3, 4, 5], outputs=[wanted], k=k,
             normalize_routing_weights=normalize, activation_type=activation, dims={0: ["T", H], 1: ["T", E]} if k == 2 else {})
case("com.microsoft.MoE", "plain", inputs=[tokens, routers, fc1, None, fc2], constants=[2, 4], k=2,
     outputs=[mixture(tokens, routers, 2, 0, lambda x, e: np.maximum(fc1[e] @ x, 0), fc2, no_bias)])
case("com.microsoft.MoE", "gated", inputs=[tokens, routers, fc1, b1, fc2, b2, fc3, b3], k=2, activation_type="silu", normalize_routing_weights=1,
     outputs=[mixture(tokens, routers, 2, 1, lambda x, e: ACTIVATIONS["silu"](fc1[e] @ x + b1[e]) * (fc3[e] @ x + b3[e]), fc2, b2)])
for fusion, alpha, beta, limit in (0, 1, 0, np.inf), (1, 1.702, 1, 0.5), (2, 1.702, 1, np.inf), (2, 1, 0, 0.25):
    def inside(x, e):
        if not fusion:
            return swiglu(fc1[e] @ x + b1[e], fc3[e] @ x + b3[e], alpha, beta, limit)
        both = fused_fc1[e] @ x + fused_b1[e]
        return swiglu(*((both[::2], both[1::2]) if fusion == 1 else (both[:I], both[I:])), alpha, beta, limit)

    others = dict(swiglu_limit=limit) if np.isfinite(limit) else {}
    wanted = mixture(tokens, routers, 2, 1, inside, fc2, b2)
    weights = [fused_fc1, fused_b1, fc2, b2] if fusion else [fc1, b1, fc2, b2, fc3, b3]
    case("com.microsoft.MoE", f"swiglu_{fusion}_{limit}", inputs=[tokens, routers, *weights], constants=list(range(2, 2 + len(weights))), outputs=[wanted], k=2,
         activation_type="swiglu", swiglu_fusion=fusion, activation_alpha=float(alpha), activation_beta=float(beta), normalize_routing_weights=1, **others)
    case("com.microsoft.MoE", f"swiglu_{fusion}_{limit}_batch", inputs=[tokens[None], routers, *weights], constants=list(range(2, 2 + len(weights))),
         outputs=[wanted[None]], k=2, activation_type="swiglu", swiglu_fusion=fusion, activation_alpha=float(alpha), activation_beta=float(beta),
         normalize_routing_weights=1, **others)
case("com.microsoft.MoE", "k", inputs=[tokens, routers, fc1, b1, fc2, b2], k=5, error="k is 5")
case("com.microsoft.MoE", "mixer", inputs=[tokens, routers, fc1, b1, fc2, b2], k=2, use_sparse_mixer=1, error="use_sparse_mixer")
case("com.microsoft.MoE", "no_fc3", inputs=[tokens, routers, fc1, b1, fc2, b2], k=2, activation_type="swiglu", error="wants fc3")
case("com.microsoft.MoE", "ranks", inputs=[tokens, routers, b1, b1, fc2, b2], k=2, error="not those of experts")

# ---- QMoE: the same, with weights of a few bits


def packed(q, bits):
    """The first number in the low bits."""
    parts = q.reshape(*q.shape[:-1], -1, 8 // bits).astype(np.uint8)
    return np.bitwise_or.reduce(parts << (bits * np.arange(8 // bits, dtype=np.uint8)), axis=-1).astype(np.uint8)


H, I = 64, 32
tokens, b1, b2 = random(T, H, seed=40), random(E, I, seed=41), random(E, H, seed=42)
other = random(T, E, low=0.1, high=1, seed=43)


def quantized(rows, columns, bits, block, has_zeros, seed):
    """Weights [E][rows][columns], and the three inputs that stand for them."""
    generator = np.random.default_rng(seed)
    q = generator.integers(0, 2**bits, (E, rows, columns))
    blocks = columns // block if block else 1
    scales = generator.uniform(0.01, 0.05, (E, rows, blocks)).astype(f32)
    zeros = generator.integers(0, 2**bits, (E, rows, blocks)) if has_zeros else np.full((E, rows, blocks), 2**(bits - 1))
    spread = lambda x: np.repeat(x, columns // blocks, 2)
    w = ((q - spread(zeros)) * spread(scales)).astype(f32)
    if not block:
        scales, zeros = scales[..., 0], zeros[..., 0]
    return w, packed(q, bits), scales, packed(zeros, bits) if has_zeros else None


for bits, block, has_zeros in (8, 0, 0), (4, 0, 0), (4, 16, 0), (2, 32, 0), (4, 0, 1), (8, 16, 1), (4, 8, 1):
    w1, q1, s1, z1 = quantized(I, H, bits, block, has_zeros, 50 + bits)
    w2, q2, s2, z2 = quantized(H, I, bits, block, has_zeros, 60 + bits)
    given = dict(inputs=[tokens, routers, q1, s1, b1, q2, s2, b2, None, None, None, *([z1, z2] if has_zeros else [])], k=2, activation_type="silu",
                 expert_weight_bits=bits, **dict(block_size=block) if block else {})
    inside = lambda x, e: ACTIVATIONS["silu"](w1[e] @ x + b1[e])
    for normalize in 0, 1:
        case("com.microsoft.QMoE", f"{bits}_{block}_{has_zeros}_{normalize}", outputs=[mixture(tokens, routers, 2, 1, inside, w2, b2)],
             constants=[2, 3, 4, 5, 6, 7, *([11, 12] if has_zeros else [])], normalize_routing_weights=normalize, **given)
w1, q1, s1, _ = quantized(I, H, 4, 0, 0, 70)
w2, q2, s2, _ = quantized(H, I, 4, 0, 0, 71)
for normalize in 0, 1:
    wanted = np.zeros_like(tokens)
    for t, row in enumerate(routers):
        best = np.argsort(-row, kind="stable")[:2]
        for e in best:
            wanted[t] += other[t, e] / (other[t, best].sum() if normalize else 1) * (w2[e] @ np.maximum(w1[e] @ tokens[t] + b1[e], 0) + b2[e])
    case("com.microsoft.QMoE", f"router_weights_{normalize}", inputs=[tokens, routers, q1, s1, b1, q2, s2, b2, *[None] * 6, other], outputs=[wanted], k=2,
         normalize_routing_weights=normalize, constants=[2, 5])
case("com.microsoft.QMoE", "fp4", inputs=[tokens, routers, q1, s1, b1, q2, s2, b2], quant_type="fp4", error="quant_type 'fp4' is not supported")
case("com.microsoft.QMoE", "no_scales", inputs=[tokens, routers, q1, None, b1, q2, s2, b2], error="with the scales of none")
case("com.microsoft.QMoE", "no_blocks", inputs=[tokens, routers, q1, np.zeros((E, I, 0), f32), b1, q2, s2, b2], error="with the scales f32[4,32,0]")
case("com.microsoft.QMoE", "zeros", inputs=[tokens, routers, q1, s1, b1, q2, s2, b2, None, None, None, np.zeros((1, 1, E, I, 1), np.uint8)], error="zero points u8[1,1,4,32,1]")
case("com.microsoft.QMoE", "router_rank", inputs=[tokens, routers, q1, s1, b1, q2, s2, b2, *[None] * 6, other[0]], error="router_weights is f32[4]")
case("com.microsoft.QMoE", "negative_k", inputs=[tokens, routers, q1, s1, b1, q2, s2, b2], k=-1, error="-1")
case("com.microsoft.QMoE", "bits", inputs=[tokens, routers, q1, s1, b1, q2, s2, b2], expert_weight_bits=3, error="weights of 3 bits")

# ---- SparseToDenseMatMul

dense, sparse = random(3, 5, seed=80), np.zeros((4, 3), f32)
sparse[[0, 2, 3], [1, 0, 2]] = 2, -1, 0.5


def sparse_constant(x):
    at = np.flatnonzero(x)
    values = helper.make_tensor("values", 1, [len(at)], x.reshape(-1)[at])
    return node("Constant", "", "s", sparse_value=helper.make_sparse_tensor(values, helper.make_tensor("at", 7, [len(at)], at), x.shape))


for name, left, right, wanted, attributes in (("plain", sparse, dense, sparse @ dense, {}), ("transposed", sparse.T, dense.T, sparse @ dense / 2, dict(
        transA=1, transB=1, alpha=0.5))):
    case("com.microsoft.SparseToDenseMatMul", name, inputs=[np.ascontiguousarray(right)], outputs=[wanted.astype(f32)],
         nodes=[sparse_constant(np.ascontiguousarray(left)), node("com.microsoft.SparseToDenseMatMul", "s x0", "y0", **attributes)])
