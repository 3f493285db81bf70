"""Layers of recurrent language models, which carry a state."""
import numpy as np
from case import case, random

f32 = np.float32
b, t, g, d, e = 2, 5, 2, 4, 3
flat = lambda x: x.reshape(*x.shape[:2], -1)


def recur(q, k, v, state=0, decay=None, beta=None, erase=None, scale=None):
    """On [b, t, heads, channels]."""
    state, heads = np.zeros((b, k.shape[2], d, e)) + state, max(q.shape[2], k.shape[2])
    y = np.zeros((b, t, heads, e))
    for i in range(t):
        state = state * (1 if decay is None else np.exp(decay[:, i, :, :, None]))
        new = v[:, i]
        if beta is not None:
            new = beta[:, i] * (new - np.einsum("bhde,bhd->bhe", state, k[:, i] * (1 if erase is None else erase[:, i])))
        state = state + np.einsum("bhd,bhe->bhde", k[:, i], new)
        y[:, i] = np.einsum("bhde,bhd->bhe", np.repeat(state, heads // k.shape[2], 1), np.repeat(q[:, i], heads // q.shape[2], 1)) * (scale or d**-0.5)
    return [flat(y).astype(f32), state.astype(f32)]


q, k, v, state = random(b, t, 6, d), random(b, t, g, d), random(b, t, g, e), random(b, g, d, e)
by_head, by_row, erase = random(b, t, g, 1, low=-1, high=0), random(b, t, g, d, low=-1, high=0), random(b, t, g, d, seed=1)
beta, shared = random(b, t, g, 1, low=0), random(b, t, 1, 1, low=0)
usual = dict(opset=27, q_num_heads=6, kv_num_heads=g)
three = [flat(q), flat(k), flat(v)]
symbolic = {0: ["B", "T", 6 * d], 1: ["B", "T", g * d], 2: ["B", "T", g * e]}
case("LinearAttention", "linear", inputs=three, update_rule="linear", dims=symbolic, **usual, outputs=recur(q, k, v))
case("LinearAttention", "gated", inputs=[*three, state, flat(by_head)], update_rule="gated", scale=0.3, **usual, outputs=recur(q, k, v, state, by_head, scale=0.3))
case("LinearAttention", "gated_rows", inputs=[*three, None, flat(by_row)], update_rule="gated", **usual, outputs=recur(q, k, v, 0, by_row))
case("LinearAttention", "delta", inputs=[*three, state, None, flat(shared)], update_rule="delta", **usual, outputs=recur(q, k, v, state, None, shared))
case("LinearAttention", "erase", inputs=[*three, state, None, flat(beta), flat(erase)], update_rule="delta", **usual, outputs=recur(q, k, v, state, None, beta, erase))
case("LinearAttention", "all", inputs=[*three, state, flat(by_row), flat(beta)], **usual, outputs=recur(q, k, v, state, by_row, beta))
case("LinearAttention", "without_decay", inputs=three, **usual, error="decay and update_rule 'gated_delta'")
case("LinearAttention", "unknown", inputs=three, update_rule="quadratic", **usual, error="'quadratic' is not known")
halves = [x.astype(np.float16) for x in three]
as_f32 = [x.astype(np.float16).astype(f32) for x in (q, k, v)]
case("LinearAttention", "half_with_wide_state", inputs=[*halves, state], update_rule="linear", **usual,
     outputs=[recur(*as_f32, state)[0].astype(np.float16), recur(*as_f32, state)[1]])
one_q = random(b, t, 1, d, seed=2)
case("com.microsoft.LinearAttention", "more_keys_than_queries", inputs=[flat(one_q), *three[1:], state, flat(by_head), flat(beta)], q_num_heads=1, kv_num_heads=g,
     outputs=recur(one_q, k, v, state, by_head, beta))
case("com.microsoft.LinearAttention", "window", inputs=three, q_num_heads=6, kv_num_heads=g, update_rule="linear", state_window=2, error="state_window")
a, bias, scale = random(b, t, 6), random(6, seed=1), random(6, seed=2)
case("com.microsoft.LinearAttentionGate", "", inputs=[a, bias, scale, a], outputs=[scale * np.log1p(np.exp(a + bias)), 1 / (1 + np.exp(-a))])

x, w, row = random(b, 3, t), random(3, 1, 4), random(3)


def conv(x, w, row=None, past=None, dilation=1):
    length = (w.shape[2] - 1) * dilation
    x = np.concatenate([np.zeros((*x.shape[:2], length), f32) if past is None else past, x], 2)
    steps = x.shape[2] - length
    y = sum(x[:, :, j * dilation:j * dilation + steps] * w[:, 0, j, None] for j in range(w.shape[2])) + (0 if row is None else row[:, None])
    return [y, x[:, :, steps:]]


silu = lambda z: [z[0] / (1 + np.exp(-z[0])), *z[1:]]
past = random(b, 3, 3, seed=1)
case("CausalConvWithState", "", opset=27, inputs=[x, w], outputs=conv(x, w))
case("CausalConvWithState", "all", opset=27, inputs=[x, w, row, past], activation="silu", dims={0: ["B", 3, "T"], 3: ["B", 3, 3]}, outputs=silu(conv(x, w, row, past)))
case("CausalConvWithState", "short", opset=27, inputs=[x[..., :1], w, None, past], outputs=conv(x[..., :1], w, None, past))
case("CausalConvWithState", "pointwise", opset=27, inputs=[x, w[..., :1]], activation="swish", outputs=silu(conv(x, w[..., :1]))[:1])
case("CausalConvWithState", "unknown", opset=27, inputs=[x, w], activation="relu", error="'relu' is not known")
long_past = random(b, 3, 6, seed=2)
case("com.microsoft.CausalConvWithState", "dilated", inputs=[x, w, row, long_past], dilation=2, outputs=conv(x, w, row, long_past, 2))
last = lambda z: np.ascontiguousarray(z.swapaxes(1, 2))
case("com.microsoft.CausalConvWithState", "channels_last", inputs=[last(x), w, row, last(past)], channels_last=1, outputs=[last(z) for z in conv(x, w, row, past)])
case("com.microsoft.CausalConvWithState", "planes", inputs=[random(1, 3, 4, 4), random(3, 1, 2, 2)], ndim=2, error="ndim above 1")
