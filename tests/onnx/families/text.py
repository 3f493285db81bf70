"""Tokens and strings."""
import itertools
import re

import numpy as np
from case import case, node
from onnx import helper


def n_grams(row, length, skips):
    """Every n-gram of the row, as often as it occurs; single tokens have nothing to skip."""
    for step in range(1, skips + 2 if length > 1 else 2):
        for start in range(len(row) - (length - 1) * step):
            yield tuple(row[start:start + length * step:step])


def vectorize(rows, grams, columns, mode, lengths, skips, weights=None):
    y = np.zeros((len(rows), max(columns) + 1), np.float32)
    for row, out in zip(rows, y):
        for length in lengths:
            for gram in n_grams(row, length, skips):
                if gram in grams:
                    out[columns[grams.index(gram)]] += 1
    weights = np.ones(y.shape[1], np.float32) if weights is None else weights
    return y if mode == "TF" else np.where(y > 0, weights, 0).astype(np.float32) if mode == "IDF" else y * weights


def pool_of(grams):
    sizes = range(1, max(map(len, grams)) + 1)
    starts = np.cumsum([0] + [sum(len(g) for g in grams if len(g) == size) for size in sizes])[:-1]
    return dict(pool=list(itertools.chain(*grams)), ngram_counts=[int(s) for s in starts])


tokens = np.random.default_rng(3).integers(0, 4, (3, 17))
grams = [(0,), (3,), (9,), (0, 1), (2, 2), (3, 0), (1, 2, 3), (0, 0, 1)]
columns = [7, 0, 1, 4, 2, 9, 5, 3]  # 6 and 8 are nobody's
weights = np.float32([0.5, 2, 3, -1, 0.25, 4, 9, 1.5, 9, 7])
pool = pool_of(grams)
integers = dict(pool_int64s=pool["pool"], ngram_counts=pool["ngram_counts"], ngram_indexes=columns)
for mode, (low, high), skips in itertools.product(("TF", "IDF", "TFIDF"), ((1, 1), (1, 3), (2, 3)), (0, 2)):
    y = vectorize(tokens.tolist(), grams, columns, mode, range(low, high + 1), skips, weights)
    case("TfIdfVectorizer", f"{mode}_{low}_{high}_{skips}", opset=9, inputs=[tokens], outputs=[y], mode=mode, min_gram_length=low,
         max_gram_length=high, max_skip_count=skips, weights=weights, **integers)
for size in 0, 1, 2, 3:
    few = tokens[0, :size].astype(np.int32)
    y = vectorize([few.tolist()], grams, columns, "TF", (1, 2, 3), 1)[0]
    attributes = dict(mode="TF", min_gram_length=1, max_gram_length=3, max_skip_count=1, **integers)
    case("TfIdfVectorizer", f"row_{size}", opset=9, inputs=[few], outputs=[y], **attributes)
    case("TfIdfVectorizer", f"symbolic_{size}", opset=9, inputs=[few], outputs=[y], dims={0: ["C"]}, **attributes)
attributes["ngram_counts"] = [0, 9, 3]
case("TfIdfVectorizer", "counts", opset=9, inputs=[tokens], error="ngram_counts[2] is 3", **attributes)


def strings(x):
    return np.array(x, dtype=object)


words = strings([["a", "b", "a", "c"], ["b", "b", "", "b"]])
numbers = np.vectorize({"a": 0, "b": 1, "c": 2, "": 9}.get)(words)
letter_grams = [("a",), ("b",), ("b", "a"), ("b", "b"), ("a", "a")]
letters = pool_of(letter_grams)
for mode in "TF", "IDF":
    y = vectorize(words.tolist(), letter_grams, [3, 0, 1, 2, 4], mode, (1, 2), 1, np.float32([2, 3, 4, 5, 6]))
    case("TfIdfVectorizer", f"strings_{mode}", opset=9, inputs=[words], outputs=[y], mode=mode, min_gram_length=1, max_gram_length=2,
         max_skip_count=1, weights=[2.0, 3.0, 4.0, 5.0, 6.0], pool_strings=letters["pool"], ngram_counts=letters["ngram_counts"],
         ngram_indexes=[3, 0, 1, 2, 4])

# ---- StringNormalizer

for action, change in ("NONE", str), ("LOWER", str.lower), ("UPPER", str.upper):
    text = ["Monday", "éCOLE", "ЖУК", "monday", "", "Ωmega", "日本"]
    for sensitive in 0, 1:
        stop = ["MONDAY", "Ωmega", "écolé"] if not sensitive else ["monday", "Monda", ""]
        kept = [s for s in text if (s not in stop if sensitive else s.lower() not in [t.lower() for t in stop])]
        case("StringNormalizer", f"{action}_{sensitive}", opset=10, inputs=[strings(text)], outputs=[strings([change(s) for s in kept])],
             case_change_action=action, is_case_sensitive=sensitive, stopwords=stop)
        case("StringNormalizer", f"{action}_{sensitive}_row", opset=10, inputs=[strings([text])],
             outputs=[strings([[change(s) for s in kept]])], case_change_action=action, is_case_sensitive=sensitive, stopwords=stop,
             dims={0: [1, "C"]})
case("StringNormalizer", "nothing", opset=10, inputs=[strings([["a", "A"]])], outputs=[strings([[""]])], stopwords=["a"])

# ---- Cast

reals = np.array([0, -0.0, 1.5, 1e-5, 1e-4, 123456789, 1e16, 0.1, 65504, np.pi], np.float64)
spelled = lambda x: strings([str(v).replace("inf", "INF").replace("nan", "NaN") for v in x])
for dtype in np.float16, np.float32, np.float64:
    with np.errstate(over="ignore"):
        x = np.append(reals, [np.inf, -np.inf, np.nan, np.finfo(dtype).max, np.finfo(dtype).tiny, np.nextafter(dtype(1), dtype(2))]).astype(dtype)
    case("Cast", f"{np.dtype(dtype)}_string", opset=13, inputs=[x], outputs=[spelled(x)], to=8)
for dtype in np.int8, np.uint16, np.int32, np.int64, np.uint64:
    x = np.array([np.iinfo(dtype).min, 0, 7, np.iinfo(dtype).max], dtype)
    case("Cast", f"{np.dtype(dtype)}_string", opset=13, inputs=[x], outputs=[strings([str(v) for v in x])], to=8)
    case("Cast", f"string_{np.dtype(dtype)}", opset=13, inputs=[strings([str(v) for v in x])], outputs=[x],
         to=int(helper.mapping.NP_TYPE_TO_TENSOR_TYPE[np.dtype(dtype)]))
case("Cast", "bool_string", opset=13, inputs=[np.array([True, False])], outputs=[strings(["True", "False"])], to=8)
text = ["3.14", "1e-5", "1E8", "-INF", "+inf", "NaN", "000.5", "1e400", "9" * 400 + "e-395", "0." + "0" * 400 + "1e402", "2.4703282292062328e-324"]
case("Cast", "string_float64", opset=13, inputs=[strings(text)], outputs=[np.array([float(t) for t in text])], to=11)
case("CastLike", "string_float", opset=15, inputs=[strings(text[:7]), np.float32([0])], outputs=[np.float32([float(t) for t in text[:7]])])
case("Cast", "string_word", opset=13, inputs=[strings(["one"])], error="a string is no such number", to=1)

# ---- StringConcat, StringSplit, RegexFullMatch, Equal, and operators that only move

left, right = strings([["a"], ["é"], [""]]), strings(["", "x", "yz"])
case("StringConcat", "rows", opset=20, inputs=[left, right], outputs=[left + right])
case("StringConcat", "symbolic", opset=20, inputs=[left, right], outputs=[left + right], dims={0: ["N", 1], 1: ["M"]})
case("StringConcat", "scalar", opset=20, inputs=[left, strings("!")], outputs=[left + "!"])
case("Equal", "strings", opset=19, inputs=[left, strings(["", "a"])], outputs=[left == strings(["", "a"])])


def split(x, delimiter=None, most=-1):
    parts = [t.split(delimiter, most) for t in x.flat]
    width = max(map(len, parts), default=0)
    rows = strings([p + [""] * (width - len(p)) for p in parts]).reshape(*x.shape, width)
    return [rows, np.array([len(p) for p in parts], np.int64).reshape(x.shape)]


lines = strings([["hello world", " two  spaces\tand more "], ["", "a,b,,c,"], [",", "éa,éb"]])
for name, options in ("space", {}), ("empty", dict(delimiter="")), ("comma", dict(delimiter=",")), ("word", dict(delimiter="éb")):
    for most in -1, 0, 1, 2:
        attributes = options | ({} if most < 0 else dict(maxsplit=most))
        case("StringSplit", f"{name}_{most}", opset=20, inputs=[lines], outputs=split(lines, options.get("delimiter") or None, most), **attributes)
case("StringSplit", "nothing", opset=20, inputs=[strings([])], outputs=split(strings([])), dims={0: ["N"]})

texts = strings(["www.google.com", "user@example.org", "", "2024-02-30", "FooBar", "naïve", "a\nb", "aaaa", "()"])
for i, pattern in enumerate([r"www\.[\w.-]+\.\bcom\b", r"(\W|^)[\w.\-]{0,25}@(example|test)\.(org|net)", r"\d{4}-\d{2}-\d\d", r"(?i:foo)[A-Z]a?r|",
                             r"na.ve", r"a.b", r"(?s)a.b", r"(a|aa)*", r"a{2,3}a{1,1}?", r"[^\W\d_]+", r"[()]{2}", r"\x61{4}", r"^aaaa$|\Qa\E"]):
    # Python's \w and \d know letters beyond ASCII, RE2's do not
    expected = [re.fullmatch(pattern, t, re.ASCII) is not None for t in texts] if r"\Q" not in pattern else [t == "aaaa" for t in texts]
    case("RegexFullMatch", f"{i}", opset=20, inputs=[texts], outputs=[np.array(expected)], pattern=pattern)
case("RegexFullMatch", "hostile", opset=20, inputs=[strings(["a" * 5000])], outputs=[np.array([False])], pattern="(a*)*(a|aa)+b")
for name, pattern, why in ("reference", r"(a)\1", "an escape that is not supported"), ("open", "(a", "a group of the pattern does not end"), (
        "ahead", "(?=a)", "a flag or group that is not supported"), ("repeats", "((((){1000}){1000}){1000}){1000}", "repeats of the pattern are too large"):
    case("RegexFullMatch", name, opset=20, inputs=[texts], error=why, pattern=pattern)

case("Transpose", "strings", inputs=[lines], outputs=[lines.T])
case("Concat", "strings", inputs=[lines, lines], outputs=[np.concatenate([lines, lines], 1)], axis=1)
case("Gather", "strings", inputs=[lines, np.array([1, -2, 1])], outputs=[lines[[1, 1, 1]]], axis=0)
case("Slice", "strings", inputs=[lines, np.array([2]), np.array([-9]), np.array([0]), np.array([-1])], constants=[1, 2, 3, 4], outputs=[lines[::-1]])
case("Tile", "strings", inputs=[lines, np.array([1, 2])], constants=[1], outputs=[np.tile(lines, (1, 2))])
case("Where", "strings", inputs=[np.array([[True], [False], [True]]), lines, strings("no")], constants=[2],
     outputs=[np.where([[True], [False], [True]], lines, strings("no"))])
case("Identity", "strings", inputs=[lines], outputs=[lines])
case("ScatterElements", "strings", inputs=[lines, np.array([[1], [0], [1]]), strings([["x"], ["y"], ["z"]])],
     outputs=[strings([[lines[0, 0], "x"], ["y", lines[1, 1]], [lines[2, 0], "z"]])], axis=1)
case("OneHot", "strings", inputs=[np.array([0, 2]), np.int64(3), strings(["off", "on"])], constants=[1],
     outputs=[strings([["on", "off", "off"], ["off", "off", "on"]])])
case("Pad", "strings", opset=19, inputs=[lines, np.array([0, 1, 0, 0])], constants=[1], outputs=[np.concatenate([strings([[""]] * 3), lines], 1)])
case("Trilu", "strings", inputs=[lines], outputs=[np.where(np.arange(2) >= np.arange(3)[:, None], lines, strings(""))])
case("Resize", "strings", inputs=[lines, None, None, np.array([3, 4])], constants=[3], outputs=[lines[:, [0, 0, 1, 1]]], mode="nearest")
case("Add", "strings", inputs=[lines, lines], error="x is string")
case("TopK", "strings", inputs=[lines, np.array([1])], error="x is string")

# ---- Constants, control flow, sequences

pair, ends = strings(["a", "b"]), node("Constant", "", "k", value_strings=["!", ""])
case("Constant", "strings", opset=20, inputs=[pair], nodes=[ends, node("StringConcat", "x0 k", "y0")], outputs=[strings(["a!", "b"])])
case("Constant", "folded", opset=20, inputs=[pair], nodes=[ends, node("StringConcat", "k k", "t"), node("Concat", "t x0", "y0", axis=0)],
     outputs=[strings(["!!", "", "a", "b"])])
case("Constant", "grown", opset=20, inputs=[pair], dims={0: ["N"]}, outputs=[strings(["é", "é"])],
     nodes=[node("Constant", "", "k", value_string="é"), node("Shape", "x0", "n"), node("Expand", "k n", "y0")])
case("Constant", "none", opset=20, inputs=[pair, strings([])], constants=[1], outputs=[strings([]), pair],
     nodes=[node("StringConcat", "x1 x1", "y0"), node("Concat", "x1 x0", "y1", axis=0)])
case("Constant", "zero", opset=20, inputs=[pair], error="a string of attribute 'value_string' has a byte 0",
     nodes=[node("Constant", "", "k", value_string=b"a\0b"), node("StringConcat", "x0 k", "y0")])
case("Identity", "zero", inputs=[pair, strings(["a\0b"])], constants=[1], outputs=[pair, strings(["a"])], error="string 0 of tensor 'x1' has a byte 0",
     nodes=[node("Identity", "x0", "y0"), node("Identity", "x1", "y1")])


def graph(nodes, inputs, outputs):
    """Values are NAME:TYPE, tensors of a known rank but no known size when they are strings."""
    info = lambda text: helper.make_tensor_value_info(text[:-2], int(text[-1]), ["N"] if text[-1] == "8" else [])
    return helper.make_graph(nodes, "inner", [info(t) for t in inputs.split()], [info(t) for t in outputs.split()])


shout = graph([ends, node("StringConcat", "x1 k", "t")], "", "t:8")
keep = graph([node("Identity", "x1", "e")], "", "e:8")
for choice, chosen in (True, ["a!", "b"]), (False, ["a", "b"]):
    case("If", f"strings_{choice}", opset=20, inputs=[np.array(choice), pair], outputs=[strings(chosen)],
         nodes=[node("If", "x0", "y0", then_branch=shout, else_branch=keep)])
grow = graph([node("Identity", "go", "on"), node("StringConcat", "v x1", "w"), node("Identity", "w", "s")], "i:7 go:9 v:8", "on:9 w:8 s:8")
for count in 0, 1, 3:
    grown = [["a" * (i + 1), "b" * (i + 1)] for i in range(count + 1)]
    case("Loop", f"strings_{count}", opset=20, inputs=[np.int64(count), pair], nodes=[node("Loop", "x0 _ x1", "y0 y1", body=grow)],
         outputs=[strings(grown[-1]), strings(grown[1:]).reshape(count, 2)])
items = [strings(["c"]), pair, strings([])]
case("SequenceInsert", "strings", inputs=[items, pair], outputs=[[pair, *items], strings(["a", "b", "c", "a", "b"])],
     nodes=[node("Constant", "", "k", value_int=0), node("SequenceInsert", "x0 x1 k", "y0"), node("ConcatFromSequence", "y0", "y1", axis=0)])
case("SplitToSequence", "strings", opset=20, inputs=[pair], outputs=[[strings("aa"), strings("bb")]],
     nodes=[node("StringConcat", "x0 x0", "t"), node("SplitToSequence", "t", "y0", axis=0, keepdims=0)])

# ---- ai.onnx.ml


def ml(op, name, version, **others):
    case(f"ai.onnx.ml.{op}", name, domains={"ai.onnx.ml": version}, **others)


names = strings([["cat", "dog"], ["", "eel"]])
ml("LabelEncoder", "names", 2, inputs=[names], outputs=[np.array([[5, 7], [-2, -2]])], keys_strings=["cat", "dog", "cat"], values_int64s=[5, 7, 9], default_int64=-2)
ml("LabelEncoder", "names_floats", 2, inputs=[names], outputs=[np.float32([[5, 7], [-0.0, 9]])], keys_strings=["cat", "dog", "eel"], values_floats=[5.0, 7.0, 9.0])
ml("LabelEncoder", "names_names", 2, inputs=[names], outputs=[strings([["Katze", "Hund"], ["?", "?"]])], keys_strings=["dog", "cat"],
   values_strings=["Hund", "Katze"], default_string="?")
ml("LabelEncoder", "from_integers", 2, inputs=[np.array([3, 1, 4, 1])], outputs=[strings(["c", "a", "_Unused", "a"])], keys_int64s=[1, 2, 3], values_strings=["a", "b", "c"])
ml("LabelEncoder", "tensors", 4, inputs=[names], outputs=[np.array([[0, 1], [-1, 2]])],
   keys_tensor=helper.make_tensor("k", 8, [3], [b"cat", b"dog", b"eel"]), values_tensor=helper.make_tensor("v", 7, [3], [0, 1, 2]),
   default_tensor=helper.make_tensor("d", 7, [1], [-1]))
ml("LabelEncoder", "classes", 1, inputs=[names], outputs=[np.array([[1, 0], [-1, -1]])], classes_strings=["dog", "cat"])
ml("LabelEncoder", "classes_back", 1, inputs=[np.array([1, 0, 2])], outputs=[strings(["cat", "dog", "none"])], classes_strings=["dog", "cat"], default_string="none")
ml("CategoryMapper", "to_integers", 1, inputs=[names], outputs=[np.array([[10, 20], [-1, 30]])], cats_strings=["eel", "dog", "cat"], cats_int64s=[30, 20, 10])
ml("CategoryMapper", "to_strings", 1, inputs=[np.array([30, 11])], outputs=[strings(["eel", "_Unused"])], cats_strings=["eel", "dog", "cat"], cats_int64s=[30, 20, 10])
ml("OneHotEncoder", "names", 1, inputs=[names], outputs=[np.float32([[[1, 0], [0, 0]], [[0, 1], [0, 0]]])], cats_strings=["cat", ""])
ml("OneHotEncoder", "kinds", 1, inputs=[names], error="are the categories of string", cats_int64s=[1, 2])
