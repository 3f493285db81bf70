"""Attention with and without heads: masks, causality, scores, groups of heads, several axes."""
import numpy as np

from forward import sigmoid, softmax
from models import Arguments, T, graph, image, layer
from table import case, reference

NONE = -1e30  # the score of what does not count


def hidden(scores, mask):
    return scores if mask is None else scores + np.where(mask, 0, NONE)


def causal(scores):
    return np.tril(np.ones(scores.shape[-2:], bool))


def plain(call, score):
    q, v = call.inputs[:2]
    k = call.inputs[2] if len(call.inputs) > 2 else v
    scores = score(call, q, k)
    if call.masks[1] is not None:
        scores = hidden(scores, call.masks[1][:, None])
    if call.argument(4, "use_causal_mask", False):
        scores = hidden(scores, causal(scores))
    weights = softmax(scores)
    y = weights @ v
    if call.masks[0] is not None:
        y = y * call.masks[0][..., None]
    call.mask = call.masks[0]
    return [y, weights] if call.argument(3, "return_attention_scores", False) else y


@reference("Attention")
def attention(call):
    def score(call, q, k):
        scale = call.weights[0] if call.config["use_scale"] else 1
        if call.config.get("score_mode", "dot") == "dot":
            return q @ k.swapaxes(1, 2) * scale
        return call.weights[-1] * np.tanh(scale * (q[:, :, None] + k[:, None])).sum(-1)
    return plain(call, score)


@reference("AdditiveAttention")
def additive_attention(call):
    def score(call, q, k):
        return ((call.weights[0] if call.config["use_scale"] else 1) * np.tanh(q[:, :, None] + k[:, None])).sum(-1)
    return plain(call, score)


def heads(call, num_heads, groups, size, value_size):
    """Over all axes between batch and channels, or attention_axes: these come last, the others join the batch."""
    q = call.argument(0, "query")
    v = call.argument(1, "value")
    k = call.argument(2, "key")
    query_mask, value_mask, key_mask = q.mask, v.mask, k.mask if k else None
    k = k or v
    parts, each = list(call.weights), 2 if call.config["use_bias"] else 1
    gate = [parts.pop(2 * each) for _ in range(each)] if call.config.get("use_gate") else None
    kernels = [(parts.pop(0), parts.pop(0) if call.config["use_bias"] else 0) for _ in range(4)]
    rank = q.value.ndim
    axes = call.config.get("attention_axes") or list(range(1, rank - 1))
    axes = [a + rank if a < 0 else a for a in axes]
    free = [a for a in range(rank - 1) if a not in axes]
    move = lambda x: x.transpose(*free, *axes, rank - 1)
    rows = lambda x: move(x).reshape(int(np.prod([x.shape[a] for a in free])), -1, x.shape[-1])
    project = lambda x, wb: np.einsum("btd,dhk->bthk", rows(x), wb[0]) + wb[1]
    query, key, value = (project(x.value, wb) for x, wb in zip((q, k, v), kernels))
    key, value = (x.repeat(num_heads // groups, axis=2) for x in (key, value))
    scores = np.einsum("bthk,bshk->bhts", query, key) / np.sqrt(size)
    if query_mask is not None:
        scores = hidden(scores, query_mask[:, None, :, None])
    for mask in (value_mask, key_mask):
        if mask is not None:
            scores = hidden(scores, mask[:, None, None])
    if call.argument(6, "attention_mask") is not None:
        mask = call.argument(6, "attention_mask").value.astype(bool)
        scores = np.where(mask[:, None], scores, NONE)
    if call.argument(9, "use_causal_mask", False):
        scores = np.where(causal(scores), scores, NONE)
    if call.config.get("sliding_window"):
        away = np.arange(scores.shape[2])[:, None] - np.arange(scores.shape[3])
        scores = np.where(abs(away) <= call.config["sliding_window"] - 1, scores, NONE)
    weights = softmax(np.maximum(scores, NONE))
    y = np.einsum("bhts,bshk->bthk", weights, value)
    if gate:
        y = y * sigmoid(project(q.value, gate if len(gate) > 1 else (gate[0], 0)))
    y = np.tensordot(y, kernels[3][0], 2) + kernels[3][1]
    out = y.shape[2:]
    y = y.reshape(*[q.value.shape[a] for a in free + axes], *out)
    back = np.argsort(free + axes)
    y = y.transpose(*back, *range(len(back), y.ndim))
    call.mask = query_mask
    return [y, weights] if call.argument(7, "return_attention_scores", False) else y


@reference("MultiHeadAttention")
def multi_head_attention(call):
    c = call.config
    return heads(call, c["num_heads"], c["num_heads"], c["key_dim"], c.get("value_dim") or c["key_dim"])


@reference("GroupQueryAttention", "GroupedQueryAttention")
def group_query_attention(call):
    c = call.config
    return heads(call, c["num_query_heads"], c["num_key_value_heads"], c["head_dim"], c["head_dim"])


def mha(name, calls, d=(6, 6, 6), heads=2, key=3, value=None, out=None, use_bias=True, cls="MultiHeadAttention", groups=None, **config):
    groups, value, out = groups or heads, value or key, out or (d[0],)
    sizes = [("query", (d[0], heads, key)), ("key", (d[1], groups, key)), ("value", (d[2], groups, value)),
             ("output", (heads, value, *out))]
    if config.get("use_gate"):
        sizes.insert(2, ("gate", (d[0], heads, value)))
    weights, private = [], "" if cls == "MultiHeadAttention" else "_"
    for part, shape in sizes:
        weights.append((f"{private}{part}_dense/kernel", shape))
        if use_bias:
            weights.append((f"{private}{part}_dense/bias", shape[1:] if part != "output" else out))
    if cls == "MultiHeadAttention":
        config |= {"num_heads": heads, "key_dim": key, "value_dim": value, "output_shape": None if out == (d[0],) else list(out)}
    else:
        config |= {"num_query_heads": heads, "num_key_value_heads": groups, "head_dim": key}
    return layer(cls, name, weights=weights, calls=calls, use_bias=use_bias, **config)


def three(outputs, *layers, q=(5, 6), v=(4, 6), k=(4, 6), masks=False):
    """Queries, values and keys; with masks they come through a Masking."""
    inputs = [image(*q, name="q"), image(*v, name="v"), image(*k, name="k")]
    if masks:
        inputs += [layer("Masking", "mq", "q", mask_value=0.0), layer("Masking", "mv", "v", mask_value=0.0)]
    return graph(outputs, *inputs, *layers)


def masked(rng, shape, lengths):
    x = rng.standard_normal((3, *shape)).astype(np.float32)
    for row, steps in zip(x, lengths):
        row[steps] = 0
    return x


RNG = np.random.default_rng(7)
MASKED = {"q": masked(RNG, (5, 6), [[], [4], [0, 2]]), "v": masked(RNG, (4, 6), [[3], [], [0, 1]])}

case("attention", model=three(["y"], layer("Attention", "y", "q", "v", "k", use_scale=False, score_mode="dot")))
case("attention_scale", model=three(["y"], layer("Attention", "y", "q", "v", weights=[("scale", ())], use_scale=True, score_mode="dot")))
case("attention_concat", versions=(3,), model=three(["y"], layer(
    "Attention", "y", "q", "v", "k", weights=[("scale", ()), ("concat_score_weight", ())], use_scale=True, score_mode="concat")))
case("attention_masks", model=three(["y"], layer("Attention", "y", "mq", "mv", use_scale=False), masks=True), inputs=MASKED)
case("attention_causal_scores", versions=(3,), model=three(["y", "y::1"], layer(
    "Attention", "y", calls=[Arguments([[T("q"), T("v")]], {"use_causal_mask": True, "return_attention_scores": True})], use_scale=False)))
case("attention_causal_2", versions=(2,), model=three(["y"], layer(
    "Attention", "y", calls=[Arguments([[T("q"), T("v")]], {"use_causal_mask": True})], use_scale=False)))
case("additive_attention", model=three(["y"], layer("AdditiveAttention", "y", "q", "v", "k", weights=[("scale", (6,))], use_scale=True)))
case("additive_attention_bare", model=three(["y"], layer("AdditiveAttention", "y", "mq", "mv", use_scale=False), masks=True), inputs=MASKED)
case("mha_self", versions=(3,), model=graph(["y"], image(5, 6, name="q"), mha("y", [Arguments([T("q"), T("q")])])))
case("mha_self_2", versions=(2,), model=graph(["y"], image(5, 6, name="q"), mha("y", [Arguments([[T("q")]], {"value": T("q")})])))
case("mha_cross", versions=(3,), model=three(["y"], mha("y", [Arguments([T("q"), T("v")], {"key": T("k")})], d=(6, 3, 7), value=5, out=(2, 4),
                                                        use_bias=False), v=(4, 7), k=(4, 3)))
case("mha_scores", versions=(3,), model=three(["y", "y::1"], mha("y", [Arguments([], {"query": T("q"), "value": T("v"), "use_causal_mask": True,
                                                                                    "return_attention_scores": True})], heads=3)))
case("mha_masks", versions=(3,), model=three(["y"], mha("y", [Arguments([T("mq"), T("mv"), T("k")])]), masks=True), inputs=MASKED)
case("mha_given_mask", versions=(3,), inputs={"m": 2}, model=graph(
    ["y"], image(5, 6, name="q"), image(4, 6, name="v"), image(5, 4, name="m", dtype="int32"),
    mha("y", [Arguments([T("q"), T("v")], {"attention_mask": T("m")})])))
case("mha_image", versions=(3,), model=graph(["y"], image(3, 2, 6, name="q"), mha("y", [Arguments([T("q"), T("q")])])))
case("mha_axes", versions=(3,), model=graph(["y"], image(3, 4, 6, name="q"), mha("y", [Arguments([T("q"), T("q")])], attention_axes=[2])))
case("mha_axes_first", versions=(3,), model=graph(["y"], image(3, 4, 6, name="q"), mha("y", [Arguments([T("q"), T("q")])], attention_axes=[-3])))
case("gqa", versions=(3,), model=three(["y"], mha("y", [Arguments([T("q"), T("v"), T("k")])], cls="GroupedQueryAttention", heads=6, groups=2)))
case("gqa_scores", versions=(3,), model=three(["y", "y::1"], mha("y", [Arguments([T("q"), T("v")], {"return_attention_scores": True})],
                                                                 cls="GroupQueryAttention", heads=4, groups=1, use_bias=False)))
WINDOW = lambda **more: mha("y", [Arguments([T("q"), T("v")], more)], sliding_window=2)
case("mha_window", versions=(3,), model=three(["y"], WINDOW(), q=(7, 6), v=(5, 6)))
case("mha_window_causal", versions=(3,), model=three(["y", "y::1"], WINDOW(use_causal_mask=True, return_attention_scores=True), q=(7, 6), v=(9, 6)))
case("mha_window_wrong", versions=(3,), error="sliding window of -2", model=graph(
    ["y"], image(5, 6, name="q"), mha("y", [Arguments([T("q"), T("q")])], sliding_window=-2)))
case("mha_gate", versions=(3,), model=three(["y"], mha("y", [Arguments([T("q"), T("v")])], use_gate=True, value=5, sliding_window=None)))
for form in ("keras", "h5-3", "json-npz"):
    case(f"gqa_gate_{form}", versions=(3,), form=form, model=three(["y"], mha(
        "y", [Arguments([T("mq"), T("mv")])], cls="GroupedQueryAttention", heads=4, groups=2, use_gate=True, sliding_window=3,
        use_bias=form != "h5-3"), masks=True), inputs=MASKED)
case("gqa_keras", versions=(3,), form="keras", model=three(["y"], mha("y", [Arguments([T("q"), T("v")])], cls="GroupedQueryAttention", groups=1)))
