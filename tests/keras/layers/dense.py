"""EinsumDense, embeddings."""
import numpy as np

from forward import activate
from models import Arguments, T, graph, image, layer, one
from table import case, reference


@reference("EinsumDense")
def einsum_dense(call):
    y = np.einsum(call.config["equation"], call.inputs[0], call.weights[0])
    if call.config["bias_axes"]:
        y = y + call.weights[1]
    return activate(call.config.get("activation"), y, call.major)


@reference("Embedding")
def embedding(call):
    x = call.inputs[0]
    call.mask = x != 0 if call.config.get("mask_zero") else None
    return call.weights[0][x.astype(int)]


@reference("ReversibleEmbedding")
def reversible_embedding(call):
    if not call.argument(1, "reverse", False):
        return embedding(call)
    kernel = call.weights[0].T if call.config["tie_weights"] else call.weights[1]
    y, cap = call.inputs[0] @ kernel, call.config.get("logit_soft_cap")
    return cap * np.tanh(y / cap) if cap else y


def einsum(name, equation, kernel, bias_axes=None, bias=None, **config):
    weights = [("kernel", kernel)] + ([("bias", bias)] if bias else [])
    return layer("EinsumDense", name, weights=weights, equation=equation, bias_axes=bias_axes, **config)


case("einsum_dense", einsum("y", "ab,bc->ac", (4, 5), "c", (5,), activation="relu"), shape=(4,))
case("einsum_sequence", einsum("y", "abc,cde->abde", (4, 2, 3), "de", (2, 3)), shape=(5, 4))
case("einsum_dots", einsum("y", "...x,xy->...y", (4, 5), "y", (5,)), shape=(3, 2, 4))
case("einsum_turned", einsum("y", "abc,bd->acd", (5, 3)), shape=(5, 4))
case("einsum_part_of_bias", einsum("y", "abc,cde->abde", (4, 2, 3), "d", (2, 1)), shape=(5, 4))
case("einsum_no_kernel_axis", einsum("y", "ab,b->ab", (4,)), shape=(4,))
case("einsum_wrong", einsum("y", "ab,xb->a?", (4, 5)), shape=(4,), error="cannot be read")

for dtype in ("int32", "int64", "float32", "uint8"):
    case(f"embedding_{dtype}", inputs={"x": 9}, model=graph(["y"], image(5, name="x", dtype=dtype), layer(
        "Embedding", "y", "x", weights=[("embeddings", (9, 3))], input_dim=9, output_dim=3)))
case("embedding_two_axes", inputs={"x": 9}, model=graph(["y"], image(2, 5, name="x", dtype="int32"), layer(
    "Embedding", "y", "x", weights=[("embeddings", (9, 3))], input_dim=9, output_dim=3)))
TABLE = layer("ReversibleEmbedding", "e", weights=[("embeddings", (9, 4))], input_dim=9, output_dim=4, tie_weights=True, logit_soft_cap=2.0,
              calls=[Arguments([T("x")]), Arguments([T("e")], {"reverse": True})])
case("reversible_embedding", versions=(3,), inputs={"x": 9}, model=graph(["e:1"], image(5, name="x", dtype="int32"), TABLE))
UNTIED = layer("ReversibleEmbedding", "e", weights=[("embeddings", (9, 4)), ("reverse_embeddings", (4, 9))], input_dim=9, output_dim=4,
               tie_weights=False, logit_soft_cap=None, calls=[Arguments([T("x")]), Arguments([T("e"), True])])
case("reversible_embedding_untied", versions=(3,), inputs={"x": 9}, model=graph(["e:1"], image(5, name="x", dtype="int32"), UNTIED))


# ---- quantized by Keras 3: scales are steps per unit ----


def in_steps(x, axes):
    """x as integers, and their scale, as Keras' AbsMaxQuantizer makes them."""
    scale = 127 / (np.abs(x).max(axis=axes, keepdims=True) + 1e-7)
    return np.clip(np.round(x * scale), -127, 127), scale


def mode_of(call):
    return call.config["dtype"]["config"].get("mode") if isinstance(call.config.get("dtype"), dict) else None


@reference("Dense", passing=True)
def dense(call):
    x, kernel = call.inputs[0], call.weights[0].astype(float)
    mode = mode_of(call)
    if mode == "ternary":
        return ternary_dense(call)
    if mode:
        q, scale = in_steps(x, -1)
        if mode == "int4":
            low, high = call.weights[0].astype(int) & 15, call.weights[0].astype(int) >> 4 & 15
            kernel = np.stack([low, high], 1).reshape(-1, kernel.shape[1])[:x.shape[-1]]
            kernel = np.where(kernel > 7, kernel - 16, kernel)
        y = q @ kernel / (scale * call.weights[-1])
    else:
        y = x @ kernel
    return activate(call.config.get("activation"), y + call.weights[1] if call.config["use_bias"] else y, call.major)


@reference("TernaryDense", passing=True)
def ternary_dense(call):
    x, kernel, c = call.inputs[0], call.weights[0], call.config
    if mode_of(call):  # digits to the base 3, five rows to a byte
        rows = np.stack([kernel.astype(int) // 3**i % 3 - 1 for i in range(5)], 1).reshape(-1, kernel.shape[1])
        y = x @ rows[:x.shape[-1]] * call.weights[-1]
    else:
        mean = np.abs(kernel).mean()
        threshold = mean / 2 if c["threshold"] is None else c["threshold"]
        y = x @ np.where(np.abs(kernel) > threshold, np.sign(kernel), 0) * (mean if c["threshold"] is None else 1)
    return activate(c.get("activation"), y + call.weights[1] if c["use_bias"] else y, call.major)


@reference("EinsumDense")
def einsum_quantized(call):
    if mode_of(call):
        left, out = call.config["equation"].split("->")
        a, b = left.split(",")
        q, scale = in_steps(call.inputs[0], tuple(i for i, c in enumerate(a) if c not in out))
        ones = np.ones(call.weights[0].shape)
        scale = np.einsum(call.config["equation"], np.broadcast_to(scale, q.shape), ones) / np.einsum(call.config["equation"], np.ones(q.shape), ones)
        y = np.einsum(call.config["equation"], q, call.weights[0].astype(float)) / (scale * call.weights[-1])
        return y + call.weights[1] if call.config["bias_axes"] else y
    return einsum_dense(call)


@reference("Embedding")
def embedding_quantized(call):
    y = embedding(call)
    return y / call.weights[1][call.inputs[0].astype(int)][..., None] if len(call.weights) > 1 else y


def policy(mode):
    return {"module": "keras", "class_name": "QuantizedDTypePolicy", "config": {"mode": mode, "source_name": "float32"}, "registered_name": None}


RNG = np.random.default_rng(9)
BYTES = lambda *shape: RNG.integers(-127, 128, shape).astype(np.int8)
SCALES = lambda *shape: (RNG.random(shape) * 100 + 50).astype(np.float32)
FLOATS = lambda *shape: RNG.standard_normal(shape).astype(np.float32)
for name, shape in (("int8", (5,)), ("int8_sequence", (3, 5))):
    case(f"dense_{name}", layer("Dense", "y", weights=[("kernel", (5, 3)), ("bias", (3,)), ("kernel_scale", (3,))], units=3, use_bias=True,
                                activation="relu", dtype=policy("int8")), shape=shape, versions=(3,), form="keras",
         weights={"y": [BYTES(5, 3), FLOATS(3), SCALES(3)]})
case("dense_int4", layer("Dense", "y", weights=[("kernel", (3, 3)), ("bias", (3,)), ("kernel_scale", (3,))], units=3, use_bias=True,
                         dtype=policy("int4")), shape=(5,), versions=(3,), form="keras", weights={"y": [BYTES(3, 3), FLOATS(3), SCALES(3)]})
case("einsum_int8", layer("EinsumDense", "y", weights=[("kernel", (4, 2, 3)), ("bias", (2, 3)), ("kernel_scale", (1, 1, 2, 3))],
                          equation="abc,cde->abde", bias_axes="de", dtype=policy("int8")), shape=(5, 4), versions=(3,), form="keras",
     weights={"y": [BYTES(4, 2, 3), FLOATS(2, 3), SCALES(1, 1, 2, 3)]})
case("embedding_int8", inputs={"x": 9}, versions=(3,), form="keras", weights={"y": [BYTES(9, 4), SCALES(9)]}, model=graph(
    ["y"], image(5, name="x", dtype="int32"), layer("Embedding", "y", "x", weights=[("embeddings", (9, 4)), ("embeddings_scale", (9,))], input_dim=9,
                                                    output_dim=4, dtype=policy("int8"))))


def ternary(threshold, **config):
    return layer("TernaryDense", "y", weights=[("kernel", (7, 3)), ("bias", (3,))], units=3, use_bias=True, threshold=threshold, **config)


case("ternary", ternary(None, activation="relu"), shape=(2, 7), versions=(3,))
case("ternary_threshold", ternary(0.3), shape=(7,), versions=(3,))
for name, cls in (("ternary_packed", "TernaryDense"), ("dense_ternary", "Dense")):
    case(name, layer(cls, "y", weights=[("kernel", (2, 3)), ("bias", (3,)), ("kernel_scale", ())], units=3, use_bias=True, threshold=None,
                     dtype=policy("ternary")), shape=(7,), versions=(3,), form="keras",
         weights={"y": [RNG.integers(0, 243, (2, 3)).astype(np.uint8), FLOATS(3), np.float32(0.37)]})
case("ternary_misshapen", layer("TernaryDense", "y", weights=[("kernel", (3, 3)), ("bias", (3,)), ("kernel_scale", ())], units=3, use_bias=True,
                                threshold=None, dtype=policy("ternary")), shape=(7,), versions=(3,), form="keras", error="packed kernel",
     weights={"y": [np.zeros((3, 3), np.uint8), FLOATS(3), np.float32(1)]})
