"""Strings as categories: vocabularies, hashes, texts."""
import re

import numpy as np

from models import Arguments, T, graph, image, layer
from table import case, reference
from layers.category import encode, lookup, looked_up

MASK = (1 << 64) - 1
K0, K1, K2 = 0xC3A5C85C97CB3127, 0xB492B66FBE98F273, 0x9AE16A3B2F90404F


def rotated(x, n):
    return (x >> n | x << (64 - n)) & MASK


def mixed(u, v, m):
    a = (u ^ v) * m & MASK
    b = (v ^ a ^ a >> 47) * m & MASK
    return (b ^ b >> 47) * m & MASK


def farm(text):
    """FarmHash's fingerprint of up to 32 bytes."""
    s, n = text.encode(), len(text.encode())
    at = lambda i, k=8: int.from_bytes(s[i:i + k], "little")
    m = K2 + 2 * n & MASK
    if n > 16:
        a, b, c, d = at(0) * K1 & MASK, at(8), at(n - 8) * m & MASK, at(n - 16) * K2 & MASK
        return mixed(rotated(a + b & MASK, 43) + rotated(c, 30) + d & MASK, a + rotated(b + K2 & MASK, 18) + c & MASK, m)
    if n >= 8:
        a, b = at(0) + K2 & MASK, at(n - 8)
        return mixed(rotated(b, 37) * m + a & MASK, (rotated(a, 25) + b) * m & MASK, m)
    if n >= 4:
        return mixed(n + (at(0, 4) << 3), at(n - 4, 4), m)
    if not n:
        return K2
    z = (s[0] + (s[n // 2] << 8)) * K2 & MASK ^ (n + (s[-1] << 2)) * K0 & MASK
    return (z ^ z >> 47) * K2 & MASK


@reference("StringLookup")
def string_lookup(call):
    return looked_up(call, call.inputs[0], lambda token, n: farm(token) % n)


@reference("Hashing")
def hashing(call):
    c, x = call.config, call.inputs[0]
    if c["salt"] is not None:
        y = np.array(ANSWERS[str(c["salt"])])[:, None]  # of Keras' documentation
    else:
        masked = c.get("mask_value")
        bins = c["num_bins"] - (masked is not None)
        number = lambda v: 0 if v == masked and masked is not None else farm(str(v)) % bins + (masked is not None)
        y = np.vectorize(number, otypes=[int])(x)
    return encode(call, y, c["num_bins"])


@reference("HashedCrossing")
def hashed_crossing(call):
    return encode(call, np.array([1, 4, 1, 1, 3])[:, None], call.config["num_bins"])  # of Keras' documentation


@reference("TextVectorization")
def text_vectorization(call):
    c = call.config
    rows = []
    for text in call.inputs[0][:, 0]:
        if "lower" in (c["standardize"] or ""):
            text = text.lower()
        if "strip" in (c["standardize"] or ""):
            text = re.sub(r'[!"#$%&()*+,\-./:;<=>?@\[\\\]^_`{|}~\']', "", text)
        words = text.split() if c["split"] == "whitespace" else list(text) if c["split"] else [text]
        sizes = c["ngrams"] if isinstance(c["ngrams"], list) else range(1, (c["ngrams"] or 1) + 1)
        rows.append([" ".join(words[i:i + n]) for n in sizes for i in range(len(words) - n + 1)])
    width = max(map(len, rows))
    grid = np.array([r + [""] * (width - len(r)) for r in rows])
    call.config = {**c, "mask_token": "", "oov_token": "[UNK]", "num_oov_indices": 1}
    y = looked_up(call, grid, None)
    length = c.get("output_sequence_length")
    if c["output_mode"] == "int" and length:
        y = np.pad(y, [(0, 0), (0, max(length - width, 0))])[:, :length]
    return y


LETTERS = np.array([["A"], ["B"], ["C"], ["D"], ["E"]])
ANSWERS = {"[133, 137]": [1, 2, 1, 0, 2], "133": [0, 0, 2, 1, 0]}
WORDS = np.array([["a", "b", "zz"], ["c", "a", ""], ["ä", "b", "b"]])


def strings(name, cls, inputs, error=None, **config):
    shape = inputs.shape[1:]
    case(name, model=graph(["y"], image(*shape, name="x", dtype="string"), layer(cls, "y", "x", **config)), inputs={"x": inputs}, error=error)


for mode in ("int", "one_hot", "multi_hot", "count"):
    options = lookup(mode, vocabulary=["b", "a", "ä"], oov_token="[UNK]")
    strings(f"string_lookup_{mode}", "StringLookup", WORDS, **options)
    strings(f"string_lookup_{mode}_masked", "StringLookup", WORDS, **{**options, "mask_token": "", "num_oov_indices": 3})
strings("string_lookup_tf_idf", "StringLookup", WORDS, **lookup("tf_idf", vocabulary=["b", "a"], oov_token="[UNK]", idf_weights=[0.5, 2.0]))
strings("string_lookup_special", "StringLookup", WORDS, **lookup(vocabulary=["", "[UNK]", "b", "c"], oov_token="[UNK]", mask_token=""))
case("string_lookup_invert", model=graph(["y"], image(2, name="x", dtype="int64"), layer(
    "StringLookup", "y", "x", **lookup(vocabulary=["b", "ä"], oov_token="[UNK]", invert=True))), inputs={"x": np.int64([[0, 1], [2, 7]])})
strings("string_lookup_none", "StringLookup", WORDS, error="no vocabulary", **lookup(vocabulary=None))
for salt in (None, 133, [133, 137]):
    strings(f"hashing_{salt}".replace(" ", ""), "Hashing", LETTERS, num_bins=3, salt=salt, mask_value=None, output_mode="int")
strings("hashing_long", "Hashing", np.array([["", "abc", "12345678"], ["seventeen letters", "x" * 32, "äöü"]]), num_bins=1000, salt=None,
        mask_value=None, output_mode="int")
strings("hashing_masked", "Hashing", LETTERS, num_bins=4, salt=None, mask_value="C", output_mode="int")
strings("hashing_one_hot", "Hashing", LETTERS, num_bins=4, salt=None, mask_value=None, output_mode="one_hot")
case("hashing_numbers", model=graph(["y"], image(3, name="x", dtype="int32"), layer(
    "Hashing", "y", "x", num_bins=7, salt=None, mask_value=None, output_mode="int")), inputs={"x": np.int32([[0, -5, 123456], [7, 8, 9]])})
for mode in ("int", "one_hot"):
    case(f"hashed_crossing_{mode}", model=graph(["y"], image(1, name="a", dtype="string"), image(1, name="b", dtype="int64"), layer(
        "HashedCrossing", "y", "a", "b", num_bins=5, output_mode=mode)), inputs={
            "a": np.array(list("ABABA"))[:, None], "b": np.int64([101, 101, 101, 102, 102])[:, None]})

TEXTS = np.array([["The quick, brown fox!"], ["the FOX  isn't\tquick"], [""], ["fox"]])


def text(name, inputs=TEXTS, **config):
    strings(f"text_{name}", "TextVectorization", inputs, **{
        "max_tokens": None, "standardize": "lower_and_strip_punctuation", "split": "whitespace", "ngrams": None, "output_mode": "int",
        "output_sequence_length": None, "pad_to_max_tokens": False, "vocabulary": ["the", "fox", "quick", "fox isnt"], **config})


text("plain")
text("long", output_sequence_length=6)
text("short", output_sequence_length=2)
text("lower", standardize="lower")
text("as_it_is", standardize=None, vocabulary=["The", "FOX"])
text("strip", standardize="strip_punctuation")
text("characters", split="character", vocabulary=list("etfo"), output_sequence_length=7)
text("whole", split=None, vocabulary=["fox"])
text("bigrams", ngrams=2, output_sequence_length=9)
text("only_bigrams", ngrams=[2])
for mode in ("multi_hot", "count"):
    text(mode, output_mode=mode)
text("tf_idf", output_mode="tf_idf", idf_weights=[0.5, 1.0, 1.5, 2.0])
text("padded", output_mode="count", pad_to_max_tokens=True, max_tokens=9)
strings("text_python", "TextVectorization", TEXTS, error="a function in Python", standardize={"class_name": "function", "config": "f"}, split="whitespace",
        vocabulary=["a"], output_mode="int")

for name, cls, inputs, options in (
        ("string_lookup", "StringLookup", WORDS, lookup(vocabulary=["[UNK]", "b", "ä"], oov_token="[UNK]")),
        ("integer_lookup", "IntegerLookup", np.int64([[7, -5, 12]] * 3), lookup(vocabulary=[-1, 12, -5])),
        ("text", "TextVectorization", TEXTS, {"standardize": "lower", "split": "whitespace", "ngrams": None, "output_mode": "int",
                                              "vocabulary": ["", "[UNK]", "the", "fox"]})):
    dtype = "int64" if inputs.dtype.kind == "i" else "string"
    case(f"{name}_assets", versions=(3,), form="keras-assets", inputs={"x": inputs}, model=graph(
        ["y"], image(inputs.shape[1], name="x", dtype=dtype), layer(cls, "y", "x", **options)))
