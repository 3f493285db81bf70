"""Numbers as categories: bins, encodings, vocabularies of integers."""
import numpy as np

from models import Arguments, T, graph, image, layer
from table import case, reference


def encode(call, x, depth, weights=None, idf=None):
    mode = call.config["output_mode"]
    if mode == "int":
        return x
    hot = (x[..., None] == np.arange(depth)).astype(float)
    if mode == "one_hot":
        return hot[:, 0] if x.ndim > 1 and x.shape[-1] == 1 else hot
    if mode == "multi_hot":
        return hot.max(-2)
    count = (hot if weights is None else hot * weights[..., None]).sum(-2)
    return count if mode == "count" else count * idf


@reference("Discretization")
def discretization(call):
    bins = sorted(call.config["bin_boundaries"])
    return encode(call, np.digitize(call.inputs[0], bins), len(bins) + 1)


@reference("CategoryEncoding")
def category_encoding(call):
    weights = call.argument(1, "count_weights")
    return encode(call, call.inputs[0].astype(int), call.config["num_tokens"], weights and weights.value)


def looked_up(call, x, unknown):
    """unknown(token, n): which of n numbers it gets."""
    c = call.config
    numbers, count = c["output_mode"] == "int", c.get("num_oov_indices", 1)
    special = ([c["mask_token"]] if c.get("mask_token") is not None and numbers else []) + [c.get("oov_token")] * count
    tokens = list(c["vocabulary"])
    tokens = tokens[len(special):] if tokens[:len(special)] == special else tokens
    first = len(special)
    if c.get("invert"):
        return np.vectorize(lambda i: (special + tokens)[i] if i < first + len(tokens) else c["oov_token"], otypes=[object])(x)

    def number(token):
        if token in tokens:
            return first + tokens.index(token)
        if c.get("mask_token") is not None and token == c["mask_token"]:
            return 0 if numbers else -1
        return first - count + (unknown(token, count) if count > 1 else 0) if count else -1
    depth = c["max_tokens"] if c.get("pad_to_max_tokens") else first + len(tokens)
    idf = None
    if c.get("idf_weights"):
        idf = np.zeros(depth)
        idf[:first + len(tokens)] = [np.mean(c["idf_weights"])] * first + c["idf_weights"]
    return encode(call, np.vectorize(number, otypes=[int])(x), depth, idf=idf)


@reference("IntegerLookup")
def integer_lookup(call):
    y = looked_up(call, call.inputs[0].astype(int), lambda token, n: token % n)
    return y.astype(int) if call.config.get("invert") else y


def lookup(mode="int", **config):
    return {"output_mode": mode, "num_oov_indices": 1, "mask_token": None, "oov_token": -1, "vocabulary": [12, 36, 1138, 42], **config}


INTS = np.int64([[12, 5, 42], [36, 36, 0], [1138, -7, 12]])


def integers(name, inputs=INTS, error=None, **config):
    case(f"integer_lookup_{name}", model=graph(["y"], image(inputs.shape[1], name="x", dtype="int64"), layer(
        "IntegerLookup", "y", "x", **lookup(**config))), inputs={"x": inputs}, error=error)


for mode in ("int", "one_hot", "multi_hot", "count"):
    case(f"discretization_{mode}", layer("Discretization", "y", bin_boundaries=[0.5, -1.0, 0.0], output_mode=mode), shape=(4,))
    case(f"category_{mode}", model=graph(["y"], image(3, name="x", dtype="int32"), layer("CategoryEncoding", "y", "x", num_tokens=5, output_mode=mode)),
         inputs={"x": 5})
    integers(mode, mode=mode)
    integers(f"{mode}_masked", mode=mode, mask_token=0, num_oov_indices=3)
    integers(f"{mode}_lone", mode=mode, inputs=INTS[:, :1])
case("discretization_edges", layer("Discretization", "y", bin_boundaries=[0.0, 1.0], output_mode="int"), shape=(5,),
     inputs={"image": np.float32([[0, 1, -0.5, 0.5, 2]])})
case("discretization_unadapted", layer("Discretization", "y", bin_boundaries=None, num_bins=3, output_mode="int"), error="adapt")
case("category_lone", model=graph(["y"], image(1, name="x", dtype="int32"), layer("CategoryEncoding", "y", "x", num_tokens=5, output_mode="one_hot")),
     inputs={"x": 5})
case("category_weights", versions=(3,), inputs={"x": 5}, model=graph(["y"], image(3, name="x", dtype="int32"), image(3, name="w"), layer(
    "CategoryEncoding", "y", calls=[Arguments([T("x")], {"count_weights": T("w")})], num_tokens=5, output_mode="count")))
integers("tf_idf", mode="tf_idf", idf_weights=[0.5, 1.0, 2.0, 0.25])
integers("padded", mode="multi_hot", pad_to_max_tokens=True, max_tokens=9)
integers("special", vocabulary=[0, -1, 12, 36, 1138, 42], mask_token=0)
integers("no_unknown", num_oov_indices=0, inputs=np.int64([[12, 42], [36, 36]]))
integers("invert", invert=True, inputs=np.int64([[1, 0, 4], [2, 3, 1]]))
integers("invert_masked", invert=True, mask_token=0, inputs=np.int64([[1, 0, 4], [2, 3, 5]]))
integers("none", vocabulary=None, error="no vocabulary")
