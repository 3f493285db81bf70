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
