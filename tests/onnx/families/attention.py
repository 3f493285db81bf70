"""Attention and rotary embeddings, of ONNX and of com.microsoft."""
import numpy as np
from case import case, node, random
from onnx import helper

NEVER = -np.inf
f32 = np.float32


def heads(x, count):
    """[b, s, h*d] as [b, h, s, d]."""
    return x.reshape(*x.shape[:2], count, -1).transpose(0, 2, 1, 3)


def merged(x):
    return x.transpose(0, 2, 1, 3).reshape(x.shape[0], x.shape[2], -1)


def softmax(x):
    with np.errstate(invalid="ignore"):
        e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def scores(q, k, scale=None, cap=0):
    s = q.astype(np.float64) @ np.repeat(k, q.shape[1] // k.shape[1], 1).swapaxes(2, 3) * (scale or q.shape[-1]**-0.5)
    return cap * np.tanh(s / cap) if cap else s


def attention(q, k, v, mask=0, sink=None, **options):
    """On [b, h, s, d]; a row of nothing but -inf gives 0; sink: [h], a score that counts and has no value."""
    s = scores(q, k, **options) + mask
    if sink is not None:
        s = np.concatenate([s, np.broadcast_to(sink[:, None, None], (*s.shape[:3], 1))], -1)
    w = np.nan_to_num(softmax(s))[..., :k.shape[2]]
    return (w @ np.repeat(v, q.shape[1] // v.shape[1], 1)).astype(f32)


def additive(allowed):
    return np.where(allowed, 0, NEVER)


def causal(m, n, offset=0):
    return additive(np.arange(n) <= np.arange(m)[:, None] + offset)


b, h, g, m, n, d, e = 2, 6, 3, 4, 5, 8, 7
q, k, v = random(b, h, m, d), random(b, h, n, d), random(b, h, n, e)
few_k, few_v = random(b, g, n, d, seed=1), random(b, g, n, e, seed=1)
past_k, past_v = random(b, h, 3, d, seed=2), random(b, h, 3, e, seed=2)
all_k, all_v = np.concatenate([past_k, k], 2), np.concatenate([past_v, v], 2)
boolean, additional = random(m, n) > 0, random(b, 1, m, n, seed=5)
boolean[1] = False  # a query that sees nothing

# ---- Attention

for opset in 23, 24:
    case("Attention", "plain", opset=opset, inputs=[q, k, v], outputs=[attention(q, k, v)])
    case("Attention", "all", opset=opset, inputs=[q, few_k, few_v, additional], scale=0.7, softcap=0.9, is_causal=1,
         outputs=[attention(q, few_k, few_v, additional + causal(m, n), scale=0.7, cap=0.9)])
case("Attention", "grouped", opset=23, inputs=[q, few_k, few_v], outputs=[attention(q, few_k, few_v)])
case("Attention", "flat", opset=23, inputs=[merged(q), merged(few_k), merged(few_v)], q_num_heads=h, kv_num_heads=g,
     outputs=[merged(attention(q, few_k, few_v))])
case("Attention", "symbolic", opset=24, inputs=[merged(q), merged(k), merged(v), additional], dims={0: ["B", "M", h * d], 1: ["B", "N", h * d],
     2: ["B", "N", h * e], 3: ["B", 1, "M", "N"]}, q_num_heads=h, kv_num_heads=h, outputs=[merged(attention(q, k, v, additional))])
case("Attention", "boolean", opset=23, inputs=[q, k, v, boolean], outputs=[attention(q, k, v, additive(boolean))])
case("Attention", "short_mask", opset=24, inputs=[q, k, v, boolean[:, :3]], outputs=[attention(q, k, v, additive(boolean & (np.arange(n) < 3)))])
case("Attention", "short_addend", opset=24, inputs=[q, k, v, additional[..., :2]],
     outputs=[attention(q, k, v, np.concatenate([additional[..., :2], np.full((b, 1, m, 3), NEVER)], -1))])
case("Attention", "causal", opset=23, inputs=[q, k, v], is_causal=1, outputs=[attention(q, k, v, causal(m, n))])
case("Attention", "causal_boolean", opset=23, inputs=[q, k, v, boolean], is_causal=1, outputs=[attention(q, k, v, additive(boolean) + causal(m, n))])
case("Attention", "cache", opset=23, inputs=[q, k, v, None, past_k, past_v], is_causal=1, outputs=[attention(q, all_k, all_v, causal(m, n + 3, 3)), all_k, all_v])
case("Attention", "cache_symbolic", opset=23, inputs=[merged(q), merged(k), merged(v), random(b, 1, m, n + 3), past_k, past_v], is_causal=1, q_num_heads=h,
     kv_num_heads=h, dims={0: [b, "M", h * d], 1: [b, "N", h * d], 2: [b, "N", h * e], 3: [b, 1, "M", "T"], 4: [b, h, "P", d], 5: [b, h, "P", e]},
     outputs=[merged(attention(q, all_k, all_v, causal(m, n + 3, 3) + random(b, 1, m, n + 3))), all_k, all_v])
lengths = np.array([4, 5])
inside = additive(np.arange(n) < lengths[:, None, None, None])
last = additive(np.arange(n) <= np.arange(m)[:, None] + lengths[:, None, None, None] - m)
case("Attention", "lengths", opset=24, inputs=[q, k, v, None, None, None, lengths], outputs=[attention(q, k, v, inside)])
case("Attention", "lengths_causal", opset=24, inputs=[q, k, v, None, None, None, lengths], is_causal=1, outputs=[attention(q, k, v, inside + last)])
case("Attention", "lengths_none", opset=24, inputs=[q, k, v, None, None, None, np.array([0, 5])],
     outputs=[attention(q, k, v, additive(np.arange(n) < np.array([0, 5])[:, None, None, None]))])
case("Attention", "lengths_before", opset=23, inputs=[q, k, v, None, None, None, lengths], error="has 7 inputs")
capped, shown = scores(q, k, cap=0.5), additive(boolean)
with np.errstate(invalid="ignore"):
    stages = [scores(q, k), capped, capped + shown, np.where(boolean.any(-1)[:, None], softmax(capped + shown), np.nan)]
for mode in range(4):
    case("Attention", f"scores_{mode}", opset=24, inputs=[q, k, v, boolean], softcap=0.5, qk_matmul_output_mode=mode,
         outputs=[attention(q, k, v, shown, cap=0.5), None, None, stages[mode].astype(f32)])
case("Attention", "scores_grouped", opset=24, inputs=[q, few_k, few_v], outputs=[None, None, None, scores(q, few_k).astype(f32)])
half = [x.astype(np.float16) for x in (q, k, v)]
case("Attention", "half", opset=23, inputs=half, is_causal=1, outputs=[attention(*half, causal(m, n)).astype(np.float16)])
case("Attention", "double", opset=23, inputs=[x.astype(np.float64) for x in (q, k, v)], outputs=[attention(q, k, v).astype(np.float64)])
case("Attention", "heads_do_not_divide", opset=23, inputs=[merged(q), merged(k), merged(v)], q_num_heads=5, kv_num_heads=h, error="does not divide into 5 heads")
case("Attention", "half_a_cache", opset=23, inputs=[q, k, v, None, past_k], error="come together")
long_q, long_k, long_v = random(1, 2, 70, 32), random(1, 2, 300, 32), random(1, 2, 300, 16)
case("Attention", "long", opset=24, inputs=[long_q, long_k, long_v, None, None, None, np.array([300])], is_causal=1, softcap=2.0,
     dims={0: [1, 2, "M", 32], 1: [1, 2, "N", 32], 2: [1, 2, "N", 16]}, outputs=[attention(long_q, long_k, long_v, causal(70, 300, 230), cap=2)])

# ---- RotaryEmbedding


def rotated(x, cos, sin, interleaved=False):
    """x [b, h, s, d]; cos and sin [b, s, half]."""
    half = cos.shape[-1]
    cos, sin = cos[:, None], sin[:, None]
    at = (slice(0, 2 * half, 2), slice(1, 2 * half, 2)) if interleaved else (slice(0, half), slice(half, 2 * half))
    y = x.copy()
    y[..., at[0]] = x[..., at[0]] * cos - x[..., at[1]] * sin
    y[..., at[1]] = x[..., at[0]] * sin + x[..., at[1]] * cos
    return y


angle = random(10, 4, low=0, high=6)
cosines, sines, at = np.cos(angle), np.sin(angle), np.array([[3, 1, 0, 9], [2, 2, 5, 7]])
for pairs in 0, 1:
    name = ["halves", "pairs"][pairs]
    case("RotaryEmbedding", name, opset=23, inputs=[q, cosines, sines, at], interleaved=pairs, outputs=[rotated(q, cosines[at], sines[at], pairs)])
    case("RotaryEmbedding", f"{name}_part", opset=23, inputs=[merged(q), cosines[:, :3], sines[:, :3], at], interleaved=pairs, num_heads=h,
         rotary_embedding_dim=6, outputs=[merged(rotated(q, cosines[at, :3], sines[at, :3], pairs))])
    case("RotaryEmbedding", f"{name}_by_batch", opset=23, inputs=[merged(q), cosines[at], sines[at]], interleaved=pairs, num_heads=h,
         dims={0: ["B", "S", h * d], 1: ["B", "S", 4], 2: ["B", "S", 4]}, outputs=[merged(rotated(q, cosines[at], sines[at], pairs))])
case("RotaryEmbedding", "too_many_angles", opset=23, inputs=[q[..., :6], cosines, sines, at], error="4 angles for 6 channels")
case("RotaryEmbedding", "tables_without_positions", opset=23, inputs=[q, cosines, sines], error="2 dims, 3 are wanted")
case("com.microsoft.RotaryEmbedding", "flat", inputs=[merged(q), at, cosines, sines], outputs=[merged(rotated(q, cosines[at], sines[at]))])
onward = 2 + np.arange(m)[None]
case("com.microsoft.RotaryEmbedding", "offset", inputs=[q, np.array([2]), cosines, sines], dims={0: ["B", h, "S", d]}, interleaved=1,
     outputs=[rotated(q, cosines[onward], sines[onward], True)])

# ---- com.microsoft.MultiHeadAttention: what is masked loses 10000

case_of = "com.microsoft.MultiHeadAttention"
same_v = random(b, h, n, d, seed=3)
bias = random(3 * h * d, seed=4)
bias_q, bias_k, bias_v = (heads(np.broadcast_to(x, (1, 1, h * d)), h) for x in np.split(bias, 3))
flat = [merged(q), merged(k), merged(same_v)]
case(case_of, "plain", inputs=flat, num_heads=h, outputs=[merged(attention(q, k, same_v))])
case(case_of, "bias", inputs=[*flat, bias], num_heads=h, scale=0.3, outputs=[merged(attention(q + bias_q, k + bias_k, same_v + bias_v, scale=0.3))])
case(case_of, "split", inputs=[merged(q), k, same_v], num_heads=h, outputs=[merged(attention(q, k, same_v))])
packed = np.stack([x.transpose(0, 2, 1, 3) for x in (k, k, same_v)], 3)
case(case_of, "packed", inputs=[packed], num_heads=h, outputs=[merged(attention(k, k, same_v))])
case(case_of, "packed_keys", inputs=[merged(q), packed[:, :, :, 1:]], num_heads=h, outputs=[merged(attention(q, k, same_v))])
seen = np.array([[1, 1, 1, 0, 0], [1, 1, 0, 1, 1]], np.int32)
filtered = lambda keep: np.where(keep, 0, -10000)
case(case_of, "padding", inputs=[*flat, None, seen], num_heads=h, outputs=[merged(attention(q, k, same_v, filtered(seen[:, None, None])))])
case(case_of, "padding_of_all", inputs=[*flat, None, np.zeros((b, n), np.int32)], num_heads=h, mask_filter_value=-8.0,
     outputs=[merged(attention(q, k, same_v))])
counts = np.array([2, 4], np.int32)
case(case_of, "padding_counts", inputs=[*flat, None, counts], num_heads=h,
     outputs=[merged(attention(q, k, same_v, filtered(np.arange(n) < counts[:, None, None, None])))])
pairs_seen = np.stack([random(m, n, seed=s) > -0.5 for s in range(b)]).astype(np.int32)
case(case_of, "padding_pairs", inputs=[*flat, None, pairs_seen, random(1, h, m, n)], num_heads=h, mask_filter_value=-3.0,
     outputs=[merged(attention(q, k, same_v, np.where(pairs_seen[:, None], 0, -3) + random(1, h, m, n)))])
past_same = random(b, h, 3, d, seed=6)
cached_v = np.concatenate([past_same, same_v], 2)
case(case_of, "cache", inputs=[*flat, None, None, None, past_k, past_same], num_heads=h,
     dims={0: [b, "M", h * d], 1: [b, "N", h * d], 2: [b, "N", h * d], 6: [b, h, "P", d], 7: [b, h, "P", d]},
     outputs=[merged(attention(q, all_k, cached_v)), all_k, cached_v])
itself = [merged(x) for x in (k, k, same_v)]
case(case_of, "unidirectional", inputs=[*itself, None, None, None, past_k, past_same], num_heads=h, unidirectional=1,
     outputs=[merged(attention(k, all_k, cached_v, causal(n, n + 3, 3))), all_k, cached_v])
case(case_of, "without_keys", inputs=[merged(q)], num_heads=h, error="input 1 is missing")

# ---- com.microsoft.Attention: projections, one tensor of past keys and values

case_of = "com.microsoft.Attention"
x, weights, projection = random(b, n, 10), random(10, 3 * h * d), random(3 * h * d, seed=7)
own = [heads(part, h) for part in np.split(x @ weights + projection, 3, -1)]
case(case_of, "plain", inputs=[x, weights, projection], num_heads=h, outputs=[merged(attention(*own))])
case(case_of, "counts", inputs=[x, weights, projection, counts], constants=[1, 2], dims={0: ["B", "S", 10], 3: ["B"]}, num_heads=h,
     outputs=[merged(attention(*own, filtered(np.arange(n) < counts[:, None, None, None])))])
ends = np.array([3, 5, 1, 0], np.int32)
between = (np.arange(n) < ends[:2, None, None, None]) & (np.arange(n) >= ends[2:, None, None, None])
case(case_of, "ends_and_begins", inputs=[x, weights, projection, ends], num_heads=h, outputs=[merged(attention(*own, filtered(between)))])
case(case_of, "keys", inputs=[x, weights, projection, seen], num_heads=h, outputs=[merged(attention(*own, filtered(seen[:, None, None])))])
history = np.stack([past_k, past_same])
joined = [own[0]] + [np.concatenate([past, new], 2) for past, new in zip(history, own[1:])]
case(case_of, "cache", inputs=[x, weights, projection, None, history], num_heads=h, unidirectional=1, dims={0: [b, "S", 10], 4: [2, b, h, "P", d]},
     outputs=[merged(attention(*joined, causal(n, n + 3, 3))), np.stack(joined[1:])])
square = (random(b, 1, 12, 12) > -0.5).astype(np.int32)
case(case_of, "square_mask", inputs=[x, weights, projection, square, history], num_heads=h,
     outputs=[merged(attention(*joined, filtered(square[:, :, 3:8, :8]))), np.stack(joined[1:])])
case(case_of, "sizes", inputs=[x, weights[:, :2 * h * d + 12], projection[:2 * h * d + 12], None, None, random(1, 1, n, n)], num_heads=h,
     qkv_hidden_sizes=[h * d, h * d, 12], outputs=[merged(attention(own[0], own[1], heads((x @ weights + projection)[..., 2 * h * d:][..., :12], h),
                                                                    random(1, 1, n, n)))])
case(case_of, "rotary", inputs=[x, weights], num_heads=h, do_rotary=1, error="do_rotary")

# ---- com.microsoft.GroupQueryAttention: the cache of a batch has its past, then what is new

case_of = "com.microsoft.GroupQueryAttention"
fresh = [random(b, count, m, d, seed=s) for s, count in ((8, h), (9, g), (10, g))]
total = lambda t: np.array(t, np.int32)
prompt = [merged(part) for part in fresh]
case(case_of, "prompt", inputs=[*prompt, None, None, total([m - 1] * b), total(m)], num_heads=h, kv_num_heads=g,
     outputs=[merged(attention(*fresh, causal(m, m))), *fresh[1:]])
case(case_of, "packed", inputs=[np.concatenate(prompt, -1), None, None, None, None, total([m - 1] * b), total(m)], num_heads=h, kv_num_heads=g,
     dims={0: ["B", "S", (h + 2 * g) * d], 5: ["B"]}, softcap=0.8, scale=0.5, outputs=[merged(attention(*fresh, causal(m, m), scale=0.5, cap=0.8)), *fresh[1:]])


def grouped(fresh, pasts, past, size, window=None, extra=0, turn=None, sink=None, **options):
    """Outputs of one step; `past` is the length of each batch's past."""
    s, d = fresh[0].shape[2:]
    at = np.array(past)[:, None] + np.arange(s)
    if turn:
        fresh = [turn(fresh[0], at), turn(fresh[1], at), fresh[2]]
    caches = []
    for old, new in zip(pasts, fresh[1:]):
        cache = np.zeros((b, g, size, d), f32)
        cache[:, :, :old.shape[2]] = old[:, :, :size]
        for i in range(b):
            cache[i, :, past[i]:past[i] + s] = new[i]
        caches.append(cache)
    query, key = at[:, None, :, None], np.arange(size)
    keep = key <= query
    if window:
        keep &= key > query - window
    return [merged(attention(fresh[0], *caches, additive(keep) + extra, sink, **options)), *caches]


old = [random(b, g, 3, d, seed=s) for s in (11, 12)]
one_step = [part[:, :, :1] for part in fresh]
flat_step = [merged(part) for part in one_step]
case(case_of, "step", inputs=[*flat_step, *old, total([3, 3]), total(4)], num_heads=h, kv_num_heads=g, outputs=grouped(one_step, old, [3, 3], 4))
case(case_of, "step_symbolic", inputs=[*flat_step, *old, total([3, 3]), total(4)], num_heads=h, kv_num_heads=g,
     dims={0: [b, "S", h * d], 1: [b, "S", g * d], 2: [b, "S", g * d], 3: [b, g, "P", d], 4: [b, g, "P", d]}, outputs=grouped(one_step, old, [3, 3], 4))
wide = [random(b, count, 1, 16, seed=s) for s, count in ((18, h), (19, g), (20, g))]
flat_wide = [merged(part) for part in wide]
table = np.cos(random(10, 8, low=0, high=6)), np.sin(random(10, 8, low=0, high=6))
turn = lambda x, at: rotated(x, table[0][at], table[1][at])
turn_pairs = lambda x, at: rotated(x, table[0][at], table[1][at], True)
buffer = [random(b, g, 9, 16, seed=s) for s in (13, 14)]
window = grouped(wide, [x[:, :, :6] for x in buffer], [6, 6], 7, window=2, turn=turn)
case(case_of, "rotary_window", inputs=[*flat_wide, buffer[0][:, :, :6], buffer[1][:, :, :6], total([6, 6]), total(7), *table], num_heads=h, kv_num_heads=g, do_rotary=1,
     local_window_size=2, constants=[6], outputs=window)
# What is behind the keys of a batch has no meaning.
case(case_of, "one_buffer", inputs=[*flat_wide, *buffer, total([2, 5]), total(6), *table], constants=[6], num_heads=h, kv_num_heads=g, do_rotary=1,
     rotary_interleaved=1, outputs=grouped(wide, buffer, [2, 5], 9, turn=turn_pairs)[:1])
case(case_of, "several", inputs=[*prompt, *old, total([3 + m - 1] * b), total(3 + m), None, None, None, random(b, 1, m, m + 3)], constants=[6], num_heads=h, kv_num_heads=g,
     outputs=grouped(fresh, old, [3, 3], m + 3, extra=random(b, 1, m, m + 3)))
sinks = random(h, seed=15)
case(case_of, "sinks", inputs=[*flat_step, *old, total([3, 3]), total(4), None, None, None, None, sinks], num_heads=h, kv_num_heads=g,
     outputs=grouped(one_step, old, [3, 3], 4, sink=sinks))
case(case_of, "smooth", inputs=[*prompt, None, None, total([m - 1] * b), total(m)], num_heads=h, kv_num_heads=g, smooth_softmax=1,
     outputs=[merged(attention(*fresh, causal(m, m), np.zeros(h))), *fresh[1:]])
norms = [random(d, seed=s) for s in (16, 17)]
rms = lambda x, w: x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-6) * w
normed = [rms(fresh[0], norms[0]), rms(fresh[1], norms[1]), fresh[2]]
case(case_of, "norms", inputs=[*prompt, None, None, total([m - 1] * b), total(m)] + [None] * 7 + norms, num_heads=h, kv_num_heads=g,
     outputs=[merged(attention(*normed, causal(m, m))), *normed[1:]])
case(case_of, "both_ways", inputs=[*prompt, None, None, total([m - 1] * b), total(m)], num_heads=h, kv_num_heads=g, causal=0, outputs=[merged(attention(*fresh))])
case(case_of, "quantized", inputs=[*prompt, None, None, total([m - 1] * b), total(m)], num_heads=h, kv_num_heads=g, k_quant_type="PER_TENSOR", error="quantized")

# ---- position biases

def bucket(distance, buckets, most, both_ways):
    """As T5 has it."""
    first, n = np.zeros_like(distance), np.where(distance > 0, distance if both_ways else 0, -distance)
    if both_ways:
        buckets //= 2
        first = np.where(distance > 0, buckets, 0)
    exact = buckets // 2
    far = exact + (np.log(np.maximum(n, 1) / exact) / np.log(most / exact) * (buckets - exact)).astype(np.int64)
    return first + np.where(n < exact, n, np.minimum(far, buckets - 1))


table = random(16, 3)
for both_ways in 0, 1:
    steps = np.arange(40) - np.arange(30)[:, None]
    case("com.microsoft.RelativePositionBias", ["back", "both_ways"][both_ways], inputs=[table, np.int64(30), np.int64(40)], constants=[1, 2], max_distance=20,
         is_bidirectional=both_ways, outputs=[table.reshape(3, 16)[:, bucket(steps, 16, 20, both_ways)][None]])
case("com.microsoft.RelativePositionBias", "no_distance", inputs=[table, np.int64(3), np.int64(3)], constants=[1, 2], max_distance=0, error="max_distance 0")
gate_w, gate_b, eco, relative = random(d, 6), random(6), random(1, h, 1, 1), random(1, h, m, m)
query_bias = random(h * d, seed=3)
gates = 1 / (1 + np.exp(-((heads(merged(q) + query_bias, h) @ gate_w + gate_b).reshape(b, h, m, 2, 3).sum(-1))))
case("com.microsoft.GatedRelativePositionBias", "", inputs=[merged(q), query_bias, relative, gate_w, gate_b, eco], num_heads=h, dims={0: ["B", "S", h * d]},
     outputs=[(gates[..., :1] * (gates[..., 1:] * eco - 1) + 2) * relative])

# ---- FlexAttention: graphs that change scores and weights

fq, fk, fv, ramp = random(2, 4, 3, 8, seed=30), random(2, 2, 5, 8, seed=31), random(2, 2, 5, 6, seed=32), random(4, 1, 5, seed=33)


def flexible(scale=None, score_mod=lambda s: s, prob_mod=lambda p: p):
    keys, values = np.repeat(fk, 2, 1), np.repeat(fv, 2, 1)
    scores = score_mod(fq @ keys.swapaxes(2, 3) * (8**-0.5 if scale is None else scale))
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    return (prob_mod((weights / weights.sum(-1, keepdims=True)).astype(np.float32)) @ values).astype(np.float32)


def modifier(*nodes):
    info = lambda name: helper.make_tensor_value_info(name, 1, None)
    return helper.make_graph(list(nodes), "mod", [info("s")], [info("t")])


soft = modifier(node("Tanh", "s", "a"), node("Add", "a x3", "t"))
late = modifier(node("Constant", "", "c", value_float=0.1), node("Max", "s c", "t"))
flex = dict(inputs=[fq, fk, fv, ramp], dims={0: ["B", 4, "M", 8], 1: ["B", 2, "N", 8], 2: ["B", 2, "N", 6]}, domains={"ai.onnx.preview": 1, "": 18})
for name, options, mods in (("plain", {}, {}), ("scale", dict(scale=0.3), {}), ("score", {}, dict(score_mod=(soft, lambda s: np.tanh(s) + ramp))), (
        "prob", dict(scale=0.5), dict(prob_mod=(late, lambda p: np.maximum(p, np.float32(0.1))))), (
            "both", {}, dict(score_mod=(soft, lambda s: np.tanh(s) + ramp), prob_mod=(late, lambda p: np.maximum(p, np.float32(0.1)))))):
    flex_node = node("ai.onnx.preview.FlexAttention", "x0 x1 x2", "y0", **options, **{key: graph for key, (graph, _) in mods.items()})
    case("ai.onnx.preview.FlexAttention", name, nodes=[flex_node, node("Identity", "x3", "y1")],
         outputs=[flexible(options.get("scale"), **{key: f for key, (_, f) in mods.items()}), ramp], **flex)
case("ai.onnx.preview.FlexAttention", "shape", nodes=[node("ai.onnx.preview.FlexAttention", "x0 x1 x2", "y0", score_mod=modifier(node("Transpose", "s", "t")))],
     inputs=[fq, fk, fv], domains={"ai.onnx.preview": 1}, error="score_mod makes f32[5,3,4,2] of f32[2,4,3,5]")
case("ai.onnx.preview.FlexAttention", "rank", nodes=[node("ai.onnx.preview.FlexAttention", "x0 x1 x2", "y0")], inputs=[fq[0], fk, fv],
     domains={"ai.onnx.preview": 1}, error="not [batch, heads, positions, channels]")
