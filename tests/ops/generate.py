#!/usr/bin/python3
"""Writes tests/ops/*.tn: every operator on small inputs, with the results that numpy formulas give.

The formulas are written from the definitions, never from tenon's code: they are the outside oracle of what an operator
means. Run it after adding an operator or a case; the files are committed. docs/testing.md tells how they are executed.
"""
import itertools
import math
import os

import numpy as np

import sampling

HERE = os.path.dirname(os.path.abspath(__file__))
DTYPES = {"float16": "f16", "float32": "f32", "float64": "f64", "int8": "i8", "int16": "i16", "int32": "i32",
          "int64": "i64", "uint8": "u8", "uint16": "u16", "uint32": "u32", "uint64": "u64", "bool": "bool"}
NAN, INF = math.nan, math.inf
random = np.random.default_rng(1)


def number(value):
    """The shortest text that reads back as the same element."""
    if isinstance(value, np.bool_):
        return "true" if value else "false"
    return str(value).removesuffix(".0")


class Golden:
    """One file: inputs, and results that are each one operator on them."""

    def __init__(self, name):
        self.name, self.inputs, self.results, self.lines = name, [], [], []

    def input(self, name, values, dtype=np.float32):
        array = np.asarray(values, dtype)
        self.inputs.append((name, array))
        return array

    def result(self, text, expected, dtype=None):
        """`text` is the right side, like "relu %x"."""
        self.several(text, [np.asarray(expected, dtype)])

    def several(self, text, arrays):
        """An operator with several results."""
        made = [(f"y{len(self.results) + i}", array) for i, array in enumerate(arrays)]
        self.results += made
        self.lines.append(f"  {', '.join(self.typed(*result) for result in made)} = {text}")

    @staticmethod
    def typed(name, array):
        shape = f"[{','.join(map(str, array.shape))}]" if array.ndim else ""
        return f"%{name}: {DTYPES[array.dtype.name]}{shape}"

    @staticmethod
    def valued(name, array):
        return f"%{name} = [{', '.join(number(v) for v in array.reshape(-1))}]"

    def write(self):
        inputs = ", ".join(self.typed(n, a) for n, a in self.inputs)
        outputs = ", ".join(self.typed(n, a) for n, a in self.results)
        lines = [f"# {self.name}: the values are numpy's, written by generate.py.",
                 "# run: " + ", ".join(self.valued(n, a) for n, a in self.inputs) + " -> "
                 + ", ".join(self.valued(n, a) for n, a in self.results),
                 f"graph {self.name}({inputs}) -> ({outputs}) {{"]
        lines += self.lines + ["  return " + ", ".join(f"%{n}" for n, _ in self.results), "}"]
        with open(os.path.join(HERE, self.name + ".tn"), "w", encoding="ascii") as out:
            out.write("\n".join(lines) + "\n")


def normal(*shape):
    """Random values with few digits, so that the files stay readable."""
    return np.round(random.standard_normal(shape), 2).astype(np.float32)


# ---- unary ----

SPECIAL = [-INF, -3.5, -2.5, -1, -0.3, 0, 0.5, 1.5, 2.5, 40, INF, NAN]


def double(function):
    """A scalar function on float64, element by element."""
    return lambda x: np.array([function(v) for v in np.asarray(x, np.float64).reshape(-1)]).reshape(np.shape(x))


def unary(name, function, values=SPECIAL, attributes="", file=None, half=True):
    golden = Golden(file or name)
    x = golden.input("x", values)
    golden.result(f"{name} %x{attributes}", double(function)(x), np.float32)
    if half:
        h = golden.input("h", [v for v in values if math.isfinite(v) and abs(v) < 5], np.float16)
        golden.result(f"{name} %h{attributes}", double(function)(h), np.float16)
    return golden


def exp(x):
    return INF if x > 700 else math.exp(x)


def sigmoid(x):
    return 1 / (1 + exp(-x))


def softplus(x):
    return x if x > 30 else math.log1p(exp(x))


def erf(x):
    return math.erf(x)


def unary_goldens():
    small = [-1, -0.75, -0.25, 0, 0.125, 0.5, 1]
    real = [-2, -0.5, 0, 0.25, 1, 3]
    positive = [0.0625, 0.25, 1, 2, 9, 100]
    finite = [v for v in SPECIAL if math.isfinite(v)]
    not_inf = [v for v in SPECIAL if not math.isinf(v)]
    rows = [
        ("acos", math.acos, small), ("asin", math.asin, small), ("acosh", math.acosh, [1, 1.5, 2, 10]),
        ("atanh", math.atanh, small[1:-1]), ("asinh", math.asinh, real), ("atan", math.atan, SPECIAL),
        ("ceil", lambda x: x if not math.isfinite(x) else math.ceil(x), SPECIAL),
        ("floor", lambda x: x if not math.isfinite(x) else math.floor(x), SPECIAL),
        ("round", lambda x: x if not math.isfinite(x) else round(x), SPECIAL + [0.5, 3.5, -0.5]),
        ("cos", math.cos, real), ("sin", math.sin, real), ("tan", math.tan, real), ("cosh", math.cosh, real),
        ("sinh", math.sinh, real), ("tanh", math.tanh, SPECIAL), ("exp", math.exp, [-INF, -20, -1, 0, 1, 10, NAN]),
        ("log", math.log, positive + [INF, NAN]), ("sqrt", math.sqrt, positive + [0, INF, NAN]),
        ("erf", erf, SPECIAL), ("sigmoid", sigmoid, SPECIAL + [-200, 200]),
        ("softplus", softplus, SPECIAL + [-200, 200, -12]), ("softsign", lambda x: x / (1 + abs(x)), not_inf),
        ("silu", lambda x: x * sigmoid(x), [v for v in SPECIAL if v != -INF] + [-200]),
        ("mish", lambda x: x * math.tanh(softplus(x)), [v for v in SPECIAL if v != -INF]),
        ("hard_swish", lambda x: x * max(0, min(1, x / 6 + 0.5)), finite),
    ]
    for name, function, values in rows:
        unary(name, function, values).write()


def integer_goldens():
    for name, function in (("abs", np.abs), ("relu", lambda x: np.where(x < 0, 0, x)), ("sign", np.sign)):
        golden = Golden(name)
        golden.result(f"{name} %x", function(golden.input("x", SPECIAL)), np.float32)
        golden.result(f"{name} %i", function(golden.input("i", [-7, 0, 5, 100], np.int32)), np.int32)
        golden.result(f"{name} %u", function(golden.input("u", [0, 5, 200], np.uint8)), np.uint8)
        golden.write()
    golden = Golden("neg")
    golden.result("neg %x", -golden.input("x", SPECIAL))
    golden.result("neg %i", -golden.input("i", [-7, 0, 5], np.int64))
    golden.write()
    golden = Golden("is_nan")
    golden.result("is_nan %x", np.isnan(golden.input("x", SPECIAL)))
    golden.write()
    golden = Golden("not")
    golden.result("not %x", ~golden.input("x", [True, False], bool))
    golden.write()
    golden = Golden("bitwise_not")
    golden.result("bitwise_not %x", ~golden.input("x", [0, 1, -1, 77], np.int32))
    golden.result("bitwise_not %u", ~golden.input("u", [0, 1, 255], np.uint8))
    golden.write()


def elu(alpha):
    return lambda x: x if not x < 0 else alpha * (exp(x) - 1)


def parametric_goldens():
    def tanh_gelu(x):
        return 0.5 * x * (1 + math.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x ** 3)))

    values = [v for v in SPECIAL if v != -INF]
    rows = [
        ("gelu", [("", lambda x: 0.5 * x * (1 + erf(x / math.sqrt(2)))), (', approximate="tanh"', tanh_gelu)]),
        ("hard_sigmoid", [("", lambda x: max(0, min(1, x if math.isnan(x) else 0.2 * x + 0.5))),
                          (", alpha=0.5, beta=0.25", lambda x: max(0, min(1, 0.5 * x + 0.25)))]),
        ("elu", [("", elu(1)), (", alpha=0.5", elu(0.5))]),
        ("selu", [("", lambda x: 1.05070102214813232421875 * elu(1.67326319217681884765625)(x)),
                  (", alpha=2, gamma=3", lambda x: 3 * elu(2)(x))]),
        ("celu", [("", lambda x: elu(1)(x)), (", alpha=2", lambda x: x if not x < 0 else 2 * (exp(x / 2) - 1))]),
        ("leaky_relu", [("", lambda x: x if not x < 0 else 0.01 * x), (", alpha=0.5", lambda x: x if not x < 0 else 0.5 * x)]),
        ("affine", [("", lambda x: x), (", alpha=-2, beta=0.5", lambda x: -2 * x + 0.5)]),
        ("scaled_tanh", [("", math.tanh), (", alpha=1.7, beta=-0.5", lambda x: 1.7 * math.tanh(-0.5 * x))]),
        ("thresholded_relu", [("", lambda x: x if not x <= 1 else 0), (", alpha=-2", lambda x: x if not x <= -2 else 0)]),
    ]
    for name, variants in rows:
        golden = Golden(name)
        finite = [v for v in values if not math.isnan(v)] if name == "hard_sigmoid" else values
        x = golden.input("x", finite)
        for attributes, function in variants:
            golden.result(f"{name} %x{attributes}", double(function)(x), np.float32)
        golden.write()


def clip_golden():
    golden = Golden("clip")
    x = golden.input("x", SPECIAL)
    low, high = golden.input("low", -1), golden.input("high", 2)
    i, least = golden.input("i", [-7, 0, 5], np.int32), golden.input("least", [1], np.int32)
    keep = np.isnan(x)
    golden.result("clip %x, %low, %high", np.where(keep, x, np.minimum(np.maximum(x, low), high)))
    golden.result("clip %x, %low", np.where(keep, x, np.maximum(x, low)))
    golden.result("clip %x, _, %high", np.where(keep, x, np.minimum(x, high)))
    golden.result("clip %x, %high, %low", np.where(keep, x, low))
    golden.result("clip %i, %least", np.maximum(i, 1), np.int32)
    golden.write()


def cast_golden():
    golden = Golden("cast")
    x = golden.input("x", [-3.7, -0.5, 0, 0.9, 2.5, 100.99])
    i = golden.input("i", [-1, 0, 1, 127, 300, 70000], np.int32)
    b = golden.input("b", [True, False], bool)
    h = golden.input("h", [1.5, -2.25, 0], np.float16)
    big = golden.input("big", [1e30, -1e30, NAN, 300, -5])
    golden.result("cast %x, to=i32", np.trunc(x), np.int32)
    golden.result("cast %x, to=f64", x, np.float64)
    golden.result("cast %x, to=bool", x != 0)
    golden.result("cast %i, to=u8", i.astype(np.uint8))
    golden.result("cast %i, to=i8", i.astype(np.int8))
    golden.result("cast %i, to=f32", i, np.float32)
    golden.result("cast %i, to=bool", i != 0)
    golden.result("cast %b, to=f32", b, np.float32)
    golden.result("cast %b, to=i64", b, np.int64)
    golden.result("cast %h, to=i32", np.trunc(h), np.int32)
    golden.result("cast %x, to=f16", x, np.float16)
    golden.result("cast %big, to=u8", [255, 0, 0, 255, 0], np.uint8)
    golden.result("cast %big, to=i32", [2 ** 31 - 1, -2 ** 31, 0, 300, -5], np.int32)
    golden.write()


# ---- binary ----

def nan_pick(pick):
    return lambda x, y: np.where(np.isnan(x), x, np.where(np.isnan(y), y, pick(x, y)))


def trunc_div(x, y):
    return np.array([0 if b == 0 else int(abs(int(a)) // abs(int(b))) * (1 if (a < 0) == (b < 0) else -1)
                     for a, b in np.broadcast(x, y)]).reshape(np.broadcast(x, y).shape)


def python_mod(x, y):
    return np.array([0 if b == 0 else int(a) % int(b) for a, b in np.broadcast(x, y)]).reshape(np.broadcast(x, y).shape)


def c_mod(x, y):
    return np.array([0 if b == 0 else math.fmod(a, b) for a, b in np.broadcast(x, y)]).reshape(np.broadcast(x, y).shape)


FLOAT_PAIRS = [-INF, -2, 0, 1.5, NAN, 3], [1, 2, 0.5, NAN, 2, 3]


def binary(name, function, floats=FLOAT_PAIRS, ints=([-7, 7, -7, 5, 0], [2, -2, -3, 3, 4]), bools=False, boolean=False):
    golden = Golden(name)
    dtype = bool if boolean else None
    with np.errstate(all="ignore"):
        if floats:
            x, y = golden.input("x", floats[0]), golden.input("y", floats[1])
            golden.result(f"{name} %x, %y", function(x, y), dtype or np.float32)
            a, b = golden.input("a", normal(2, 1, 3)), golden.input("b", normal(4, 1) + np.float32(0.125))
            golden.result(f"{name} %a, %b", function(a, b), dtype or np.float32)
            golden.result(f"{name} %b, %a", function(b, a), dtype or np.float32)
            c = golden.input("c", 1.25)
            golden.result(f"{name} %a, %c", function(a, c), dtype or np.float32)
        if ints:
            i, j = golden.input("i", ints[0], np.int32), golden.input("j", ints[1], np.int32)
            golden.result(f"{name} %i, %j", function(i, j), dtype or np.int32)
        if bools:
            p = golden.input("p", [[False, False, True, True]], bool)
            q = golden.input("q", [False, True, False, True], bool)
            golden.result(f"{name} %p, %q", function(p, q), bool)
    golden.write()


def binary_goldens():
    def add(x, y): return x + y
    def sub(x, y): return x - y
    def mul(x, y): return x * y
    def div(x, y): return x / y if x.dtype.kind == "f" else trunc_div(x, y)

    for name, function in (("add", add), ("sub", sub), ("mul", mul), ("div", div)):
        binary(name, function)
    binary("max", nan_pick(lambda x, y: np.where(x > y, x, y)))
    binary("min", nan_pick(lambda x, y: np.where(x < y, x, y)))
    compare = {"equal": np.equal, "less": np.less, "less_or_equal": np.less_equal, "greater": np.greater,
               "greater_or_equal": np.greater_equal}
    for name, function in compare.items():
        binary(name, function, boolean=True, bools=name == "equal")
    for name, function in (("and", np.logical_and), ("or", np.logical_or), ("xor", np.logical_xor)):
        binary(name, function, floats=None, ints=None, bools=True)
    for name, function in (("bitwise_and", np.bitwise_and), ("bitwise_or", np.bitwise_or), ("bitwise_xor", np.bitwise_xor)):
        binary(name, function, floats=None)


def mod_golden():
    golden = Golden("mod")
    i = golden.input("i", [-7, 7, -7, 7, 6, 0, -6], np.int32)
    j = golden.input("j", [3, -3, -3, 3, 3, 5, 3], np.int32)
    u, v = golden.input("u", [200, 7], np.uint8), golden.input("v", [7, 200], np.uint8)
    x, y = golden.input("x", [-7.5, 7.5, 3.25, -1]), golden.input("y", [2, -2, 1.5, 4])
    golden.result("mod %i, %j", python_mod(i, j), np.int32)
    golden.result("mod %i, %j, fmod=true", c_mod(i, j), np.int32)
    golden.result("mod %u, %v", python_mod(u, v), np.uint8)
    golden.result("mod %x, %y, fmod=true", c_mod(x, y), np.float32)
    golden.result("mod %x, %y", x - y * np.floor(x / y), np.float32)
    golden.write()


def pow_golden():
    golden = Golden("pow")
    x, y = golden.input("x", [0.5, 2, 3, 4, 9]), golden.input("y", [2, -1, 3, 0.5, 0])
    i, j = golden.input("i", [2, -3, 5, 10], np.int32), golden.input("j", [10, 3, 0, 9], np.int64)
    two = golden.input("two", 2)
    golden.result("pow %x, %y", double(lambda k: x[int(k)].astype(float) ** float(y[int(k)]))(np.arange(5)), np.float32)
    golden.result("pow %i, %j", [int(a) ** int(b) for a, b in zip(i, j)], np.int32)
    golden.result("pow %x, %two", x * x)
    golden.result("pow %i, %two", i * i, np.int32)
    golden.write()


def prelu_golden():
    golden = Golden("prelu")
    x, slope = golden.input("x", normal(2, 3, 2)), golden.input("slope", normal(3, 1))
    golden.result("prelu %x, %slope", np.where(x < 0, slope * x, x))
    golden.write()


def where_golden():
    golden = Golden("where")
    c = golden.input("c", [[True], [False]], bool)
    x, y = golden.input("x", normal(2, 3)), golden.input("y", normal(3))
    i, j = golden.input("i", 5, np.int64), golden.input("j", [[1, 2]], np.int64)
    golden.result("where %c, %x, %y", np.where(c, x, y))
    golden.result("where %c, %i, %j", np.where(c, i, j))
    golden.result("where %c, %c, %c", c)
    golden.write()


# ---- movement ----

def integers(*shape):
    return np.arange(np.prod(shape)).reshape(shape)


def movement_goldens():
    golden = Golden("reshape")
    x = golden.input("x", integers(2, 3, 4))
    ones = golden.input("ones", integers(1, 6, 1, 2), np.int32)
    for shape in ((24,), (6, 4), (2, 12), (4, 6), (3, 8), (2, 3, 2, 2), (1, 2, 1, 3, 4), (2, 2, 3, 2), (24, 1)):
        text = list(shape)
        if len(shape) > 1:
            text[1] = -1
        golden.result(f"reshape %x, shape={str(text).replace(' ', '')}", x.reshape(shape))
    for shape in ((12,), (2, 6), (6, 2), (3, 1, 4), (1, 6, 2)):
        golden.result(f"reshape %ones, shape={str(list(shape)).replace(' ', '')}", ones.reshape(shape), np.int32)
    golden.write()

    golden = Golden("transpose")
    x = golden.input("x", integers(2, 3, 4))
    one = golden.input("one", integers(1, 3, 1), np.int64)
    for perm in itertools.permutations(range(3)):
        golden.result(f"transpose %x, perm=[{','.join(map(str, perm))}]", x.transpose(perm))
    golden.result("transpose %one, perm=[1,2,0]", one.transpose(1, 2, 0))
    golden.write()

    golden = Golden("broadcast")
    x = golden.input("x", [[[1], [2]]])
    scalar, b = golden.input("scalar", 7, np.int64), golden.input("b", [True, False], bool)
    golden.result("broadcast %x, shape=[3,2,4]", np.broadcast_to(x, (3, 2, 4)))
    golden.result("broadcast %x, shape=[2,1,2,1]", np.broadcast_to(x, (2, 1, 2, 1)))
    golden.result("broadcast %scalar, shape=[3]", [7, 7, 7], np.int64)
    golden.result("broadcast %b, shape=[2,2]", np.broadcast_to(b, (2, 2)))
    golden.write()

    golden = Golden("tile")
    x = golden.input("x", integers(1, 2, 3))
    golden.result("tile %x, repeats=[2,1,1]", np.tile(x, (2, 1, 1)))
    golden.result("tile %x, repeats=[1,2,3]", np.tile(x, (1, 2, 3)))
    golden.result("tile %x, repeats=[1,0,1]", np.tile(x, (1, 0, 1)))
    golden.write()

    golden = Golden("shape")
    golden.input("x", integers(2, 1, 3))
    golden.result("shape %x", [2, 1, 3], np.int64)
    golden.write()


def slice_goldens():
    golden = Golden("slice")
    x = golden.input("x", integers(4, 5))
    golden.result("slice %x, starts=[1,2], sizes=[2,3]", x[1:3, 2:5])
    golden.result("slice %x, starts=[0,0], sizes=[2,3], steps=[2,2]", x[0:3:2, ::2])
    golden.result("slice %x, starts=[3,4], sizes=[4,3], steps=[-1,-2]", x[::-1, 4::-2])
    golden.result("slice %x, starts=[0,0], sizes=[0,5]", x[:0])
    golden.result("slice %x, starts=[0,0], sizes=[4,5]", x)
    golden.write()

    golden = Golden("concat")
    a, b, c = (golden.input(n, v) for n, v in (("a", normal(2, 1, 2)), ("b", normal(2, 3, 2)), ("c", normal(2, 2, 2))))
    i, j = golden.input("i", [1, 2], np.int64), golden.input("j", [3], np.int64)
    golden.result("concat %a, %b, %c, axis=1", np.concatenate((a, b, c), 1))
    golden.result("concat %c, %c, axis=0", np.concatenate((c, c), 0))
    golden.result("concat %b, %b, %b, axis=-1", np.concatenate((b, b, b), 2))
    golden.result("concat %a, axis=0", a)
    golden.result("concat %i, %j, %i, axis=0", [1, 2, 3, 1, 2], np.int64)
    golden.write()

    golden = Golden("pad")
    x = golden.input("x", integers(3, 4))
    i, value = golden.input("i", [1, 2], np.int64), golden.input("value", 9)
    golden.result("pad %x, pads=[1,2,0,1]", np.pad(x, ((1, 0), (2, 1))))
    golden.result("pad %x, %value, pads=[0,0,0,3]", np.pad(x, ((0, 0), (0, 3)), constant_values=9))
    golden.result("pad %x, pads=[-1,1,0,-2]", np.pad(x, ((0, 0), (1, 0)))[1:, :-2])
    for mode in ("reflect", "edge", "wrap"):
        golden.result(f'pad %x, pads=[2,1,1,3], mode="{mode}"', np.pad(x, ((2, 1), (1, 3)), mode))
    golden.result('pad %x, pads=[0,4,0,7], mode="wrap"', np.pad(x, ((0, 0), (4, 7)), "wrap"))
    golden.result('pad %x, pads=[0,5,0,7], mode="reflect"', np.pad(x, ((0, 0), (5, 7)), "reflect"))
    golden.result("pad %i, pads=[1,1]", [0, 1, 2, 0], np.int64)
    golden.write()


def gather_goldens():
    golden = Golden("gather")
    x = golden.input("x", integers(3, 4))
    i = golden.input("i", [[0, 2], [-1, -3]], np.int64)
    k, one = golden.input("k", 1, np.int32), golden.input("one", [3, 0, 3, -4], np.int32)
    golden.result("gather %x, %i", x[i])
    golden.result("gather %x, %i, axis=-1", np.take(x, i, 1))
    golden.result("gather %x, %k, axis=1", x[:, 1])
    golden.result("gather %x, %one, axis=1", np.take(x, one, 1))
    golden.result("gather %i, %k", i[1])
    golden.write()

    golden = Golden("gather_elements")
    x = golden.input("x", integers(3, 3))
    i = golden.input("i", [[1, 2, 0], [2, 0, -3]], np.int64)
    golden.result("gather_elements %x, %i", np.take_along_axis(x, i, 0))
    golden.result("gather_elements %x, %i, axis=1", np.take_along_axis(x[:2], i, 1))
    golden.write()


# ---- products ----

def panels(w, width):
    """[k, n] -> [ceil(n/width), k, width], the tail zero."""
    k, n = w.shape
    wide = np.zeros((k, -(-n // width) * width), w.dtype)
    wide[:, :n] = w
    return wide.reshape(k, -1, width).transpose(1, 0, 2)


def product_goldens():
    golden = Golden("matmul")
    shapes = {"a": (2, 3), "b": (3, 4), "v": (3,), "batch": (2, 1, 2, 3), "more": (5, 3, 2), "u": (2,)}
    t = {name: golden.input(name, normal(*shape)) for name, shape in shapes.items()}
    packed = golden.input("packed", panels(t["b"], 3))
    i, j = golden.input("i", [[1, -2], [3, 4]], np.int32), golden.input("j", [[5, 6], [-7, 8]], np.int32)
    for x, y in (("a", "b"), ("a", "v"), ("v", "b"), ("v", "v"), ("batch", "b"), ("batch", "more"), ("u", "a"),
                 ("batch", "v"), ("u", "batch"), ("v", "more")):
        golden.result(f"matmul %{x}, %{y}", np.matmul(t[x], t[y]), np.float32)
    golden.result("matmul %i, %j", i @ j, np.int32)
    golden.result("matmul %batch, %packed, packed=3, n=4", t["batch"] @ t["b"], np.float32)
    h = golden.input("h", [[1, 2.5], [-3, 0.5]], np.float16)
    golden.result("matmul %h, %h", (h.astype(np.float32) @ h.astype(np.float32)), np.float16)
    golden.write()

    golden = Golden("gemm")
    a, b = golden.input("a", normal(3, 4)), golden.input("b", normal(4, 5))
    s, at, bt = golden.input("s", 2.5), golden.input("at", a.T), golden.input("bt", b.T)
    row, column = golden.input("row", normal(5)), golden.input("column", normal(3, 1))
    packed = golden.input("packed", panels(b, 4))
    golden.result("gemm %a, %b", a @ b)
    golden.result("gemm %a, %b, %row", a @ b + row)
    golden.result("gemm %at, %b, %column, trans_a=true", a @ b + column)
    golden.result("gemm %a, %bt, %s, trans_b=true", a @ b + s)
    golden.result("gemm %at, %bt, trans_a=true, trans_b=true", a @ b)
    golden.result("gemm %a, %packed, %row, packed=4, n=5", a @ b + row)
    golden.result("gemm %at, %packed, trans_a=true, packed=4, n=5", a @ b)
    golden.write()


def conv(x, w, bias=None, strides=None, dilations=None, pads=None, group=1):
    """nchw; x [n, c, ...], w [m, c/group, ...]."""
    rank = x.ndim - 2
    strides, dilations, pads = strides or [1] * rank, dilations or [1] * rank, pads or [0] * 2 * rank
    x = np.pad(x.astype(np.float64), [(0, 0), (0, 0)] + [(pads[s], pads[s + rank]) for s in range(rank)])
    kernel = w.shape[2:]
    sizes = [(x.shape[2 + s] - dilations[s] * (kernel[s] - 1) - 1) // strides[s] + 1 for s in range(rank)]
    y = np.zeros((x.shape[0], w.shape[0], *sizes))
    inner, each = w.shape[1], w.shape[0] // group
    for k in itertools.product(*map(range, kernel)):
        part = x[(slice(None), slice(None)) + tuple(
            slice(k[s] * dilations[s], k[s] * dilations[s] + strides[s] * (sizes[s] - 1) + 1, strides[s]) for s in range(rank))]
        for m in range(w.shape[0]):
            first = m // each * inner
            y[:, m] += np.einsum("nc...,c->n...", part[:, first:first + inner], w[(m, slice(None)) + k])
    return y if bias is None else y + bias.reshape(-1, *[1] * rank)


def conv_transpose(x, w, bias=None, strides=None, dilations=None, pads=None, output_padding=None, group=1):
    """nchw; w [c, m/group, ...]: every element of x adds a scaled copy of the kernel."""
    rank = x.ndim - 2
    strides, dilations = strides or [1] * rank, dilations or [1] * rank
    pads, extra = pads or [0] * 2 * rank, output_padding or [0] * rank
    kernel, each = w.shape[2:], w.shape[1]
    full = [(x.shape[2 + s] - 1) * strides[s] + dilations[s] * (kernel[s] - 1) + 1 + extra[s] for s in range(rank)]
    y = np.zeros((x.shape[0], each * group, *full))
    for at in itertools.product(*map(range, x.shape[2:])):
        for k in itertools.product(*map(range, kernel)):
            to = tuple(at[s] * strides[s] + k[s] * dilations[s] for s in range(rank))
            for c in range(x.shape[1]):
                first = c // (x.shape[1] // group) * each
                y[(slice(None), slice(first, first + each)) + to] += np.outer(x[(slice(None), c) + at], w[(c, slice(None)) + k])
    y = y[(slice(None), slice(None)) + tuple(slice(pads[s], full[s] - pads[s + rank]) for s in range(rank))]
    return y if bias is None else y + bias.reshape(-1, *[1] * rank)


def last(x):
    """n, c, spatial... -> n, spatial..., c"""
    return np.moveaxis(x, 1, -1)


def attributes(**values):
    return "".join(f", {name}={str(value).replace(' ', '')}" for name, value in values.items() if value is not None)


def conv_cases(golden, function, name, cases, weights_last):
    for number_of_case, (x_shape, w_shape, biased, options) in enumerate(cases):
        x = golden.input(f"x{number_of_case}", normal(*x_shape))
        w = golden.input(f"w{number_of_case}", normal(*w_shape))
        lx, lw = golden.input(f"lx{number_of_case}", last(x)), golden.input(f"lw{number_of_case}", weights_last(w))
        b, bias, n = "", None, number_of_case
        channels = w_shape[0] if name == "conv" else w_shape[1] * options.get("group", 1)
        if biased:
            bias, b = golden.input(f"b{n}", normal(channels)), f", %b{n}"
        y = function(x, w, bias, **options)
        golden.result(f"{name} %x{n}, %w{n}{b}{attributes(**options)}", y, np.float32)
        golden.result(f'{name} %lx{n}, %lw{n}{b}, layout="nhwc"{attributes(**options)}', last(y), np.float32)


def conv_goldens():
    golden = Golden("conv")
    conv_cases(golden, conv, "conv", [
        ((1, 2, 5, 4), (3, 2, 3, 3), True, dict(pads=[1, 1, 1, 1])),
        ((2, 3, 4, 5), (2, 3, 1, 1), False, dict(strides=[2, 1])),
        ((1, 4, 6, 6), (4, 1, 3, 3), True, dict(strides=[2, 2], pads=[0, 0, 1, 1], group=4)),
        ((1, 4, 5, 5), (6, 2, 2, 3), False, dict(dilations=[2, 1], pads=[1, 0, 0, 2], group=2)),
        ((2, 2, 7), (3, 2, 3), True, dict(strides=[2], pads=[2, 1])),
        ((1, 1, 3, 4, 3), (2, 1, 2, 2, 2), False, dict(pads=[0, 1, 0, 1, 0, 1])),
    ], lambda w: np.moveaxis(np.moveaxis(w, 0, -1), 0, -2))
    golden.write()

    golden = Golden("conv_packed")
    x = golden.input("x", last(normal(1, 3, 5, 4)))
    w, bias = normal(5, 3, 3, 2), golden.input("bias", normal(5))
    matrix = np.moveaxis(np.moveaxis(w, 0, -1), 0, -2).reshape(-1, 5)
    golden.input("w", panels(matrix, 4))
    y = last(conv(np.moveaxis(x, -1, 1), w, bias, pads=[1, 1, 0, 0], strides=[2, 1]))
    golden.result('conv %x, %w, %bias, layout="nhwc", strides=[2,1], pads=[1,1,0,0], packed=4, kernel=[3,2], channels=5', y, np.float32)
    g = golden.input("g", last(normal(1, 4, 3, 3)))
    wg = normal(6, 2, 2, 2)
    golden.input("wg", panels(np.moveaxis(np.moveaxis(wg, 0, -1), 0, -2).reshape(-1, 6), 3))
    y = last(conv(np.moveaxis(g, -1, 1), wg, group=2))
    golden.result('conv %g, %wg, layout="nhwc", group=2, packed=3, kernel=[2,2], channels=6', y, np.float32)
    golden.write()

    golden = Golden("conv_transpose")
    conv_cases(golden, conv_transpose, "conv_transpose", [
        ((1, 2, 3, 3), (2, 3, 2, 2), True, dict(strides=[2, 2])),
        ((1, 3, 3, 4), (3, 2, 3, 3), False, dict(strides=[2, 3], pads=[1, 0, 1, 2], output_padding=[1, 0])),
        ((1, 4, 3, 2), (4, 1, 3, 3), True, dict(dilations=[2, 1], pads=[1, 1, 1, 1], group=2)),
        ((2, 2, 4), (2, 2, 3), False, dict(strides=[2], pads=[1, 0])),
    ], lambda w: np.moveaxis(np.moveaxis(w, 0, -1), 0, -1))
    golden.write()


# ---- pools and reductions ----

def pool(x, kernel, reduce, strides=None, dilations=None, pads=None, ceil=False):
    """nchw; reduce(elements inside x, how many lie inside the padded x) per window."""
    rank = x.ndim - 2
    strides, dilations, pads = strides or [1] * rank, dilations or [1] * rank, pads or [0] * 2 * rank
    sizes = []
    for s in range(rank):
        room = x.shape[2 + s] + pads[s] + pads[s + rank] - dilations[s] * (kernel[s] - 1) - 1
        size = (-(-room // strides[s]) if ceil else room // strides[s]) + 1
        while (size - 1) * strides[s] >= x.shape[2 + s] + pads[s]:
            size -= 1
        sizes.append(size)
    y = np.zeros((*x.shape[:2], *sizes))
    for n, c in np.ndindex(x.shape[:2]):
        for o in itertools.product(*map(range, sizes)):
            inside, padded = [], 0
            for k in itertools.product(*map(range, kernel)):
                at = [o[s] * strides[s] + k[s] * dilations[s] - pads[s] for s in range(rank)]
                padded += all(at[s] < x.shape[2 + s] + pads[s + rank] for s in range(rank))
                if all(0 <= at[s] < x.shape[2 + s] for s in range(rank)):
                    inside.append(x[(n, c, *at)])
            y[(n, c, *o)] = reduce(inside, padded)
    return y


def pool_goldens():
    cases = [
        ((1, 2, 4, 5), [2, 2], {}),
        ((1, 2, 5, 5), [3, 2], dict(strides=[2, 2], pads=[1, 0, 1, 1])),
        ((1, 1, 5, 6), [3, 3], dict(strides=[2, 2], ceil=True)),
        ((1, 1, 7, 5), [3, 3], dict(strides=[3, 2], pads=[1, 1, 1, 1], ceil=True)),
        ((1, 1, 7, 7), [2, 3], dict(dilations=[3, 2], pads=[0, 1, 0, 1])),
        ((2, 2, 6), [3], dict(strides=[2], pads=[1, 0])),
    ]

    def text(options):
        return attributes(**{k: str(v).lower() if isinstance(v, bool) else v for k, v in options.items()})

    for name in ("max_pool", "average_pool"):
        golden = Golden(name)
        for number_of_case, (shape, kernel, options) in enumerate(cases):
            x = golden.input(f"x{number_of_case}", normal(*shape))
            lx = golden.input(f"l{number_of_case}", last(x))
            variants = [("", lambda v, n: max(v))] if name == "max_pool" else [
                ("", lambda v, n: sum(v) / len(v)), (", include_pad=true", lambda v, n: sum(v) / n)]
            for extra, reduce in variants:
                y = pool(x, kernel, reduce, **options)
                kernel_text = f"kernel={str(kernel).replace(' ', '')}"
                golden.result(f"{name} %x{number_of_case}, {kernel_text}{text(options)}{extra}", y, np.float32)
                golden.result(f'{name} %l{number_of_case}, layout="nhwc", {kernel_text}{text(options)}{extra}', last(y), np.float32)
        if name == "max_pool":
            i = golden.input("i", [[[1, -3, 7, -128]]], np.int8)
            golden.result("max_pool %i, kernel=[2], strides=[2]", [[[1, 7]]], np.int8)
            nan = golden.input("nan", [[[1, NAN, 0, 2, 3, -INF]]])
            golden.result("max_pool %nan, kernel=[2], strides=[2]", [[[NAN, 2, 3]]], np.float32)
        golden.write()


def reduce_goldens():
    functions = {"reduce_sum": np.sum, "reduce_mean": np.mean, "reduce_max": np.max, "reduce_min": np.min, "reduce_prod": np.prod}
    for name, function in functions.items():
        golden = Golden(name)
        x = golden.input("x", normal(2, 3, 4))
        i = golden.input("i", [[5, -2], [-7, 3], [1, 1]], np.int32)
        for axes in ((1,), (0, 2), (-1,), (0, 1, 2), ()):
            expected = function(x.astype(np.float64), axis=tuple(axes), keepdims=True) if axes else x
            golden.result(f"{name} %x, axes={str(list(axes)).replace(' ', '')}", expected, np.float32)
        total = function(i, axis=0, keepdims=True)
        golden.result(f"{name} %i, axes=[0]", np.trunc(total), np.int32)
        if name in ("reduce_max", "reduce_min"):
            nan = golden.input("nan", [[1, NAN], [2, 0], [NAN, 3]])
            golden.result(f"{name} %nan, axes=[1]", function(nan, axis=1, keepdims=True))
            b = golden.input("b", [[True, False], [True, True], [False, False]], bool)
            golden.result(f"{name} %b, axes=[1]", function(b, axis=1, keepdims=True))
        golden.write()

    for name, function in (("arg_max", np.argmax), ("arg_min", np.argmin)):
        golden = Golden(name)
        x = golden.input("x", [[1, 3, 3, -1], [-1, 2, -1, 2], [0, 0, 0, 0]])
        i = golden.input("i", [4, -9, 7, -9, 7], np.int64)
        nan = golden.input("nan", [[1, NAN, 5, NAN], [-INF, -INF, -INF, -INF]])
        for axis in (0, 1, -1):
            golden.result(f"{name} %x, axis={axis}", np.expand_dims(function(x, axis), axis), np.int64)
            flipped = x.shape[axis] - 1 - function(np.flip(x, axis), axis)
            golden.result(f"{name} %x, axis={axis}, select_last=true", np.expand_dims(flipped, axis), np.int64)
        golden.result(f"{name} %i, axis=0", [function(i)], np.int64)
        golden.result(f"{name} %nan, axis=1", function(nan, 1)[:, None], np.int64)
        golden.write()


# ---- norms ----

def softmax(x, axis):
    e = np.exp(x.astype(np.float64) - x.max(axis, keepdims=True))
    return e / e.sum(axis, keepdims=True)


def norm_goldens():
    for name, function in (("softmax", softmax), ("log_softmax", lambda x, axis: np.log(softmax(x, axis)))):
        golden = Golden(name)
        x = golden.input("x", normal(2, 3, 4))
        big = golden.input("big", [1000, 1001, 999])
        golden.result(f"{name} %x", function(x, -1), np.float32)
        golden.result(f"{name} %x, axis=1", function(x, 1), np.float32)
        golden.result(f"{name} %x, axis=0", function(x, 0), np.float32)
        golden.result(f"{name} %big", function(big, 0), np.float32)
        golden.write()

    golden = Golden("layer_norm")
    x = golden.input("x", normal(2, 3, 4))
    scale, bias = golden.input("scale", normal(4)), golden.input("bias", normal(4))
    wide = golden.input("wide", normal(3, 4))

    def layer_norm(axes, epsilon=1e-5):
        v = x.astype(np.float64)
        return (v - v.mean(axes, keepdims=True)) / np.sqrt(v.var(axes, keepdims=True) + epsilon)

    golden.result("layer_norm %x, %scale, %bias", layer_norm(2) * scale + bias, np.float32)
    golden.result("layer_norm %x", layer_norm(2), np.float32)
    golden.result("layer_norm %x, %wide, axis=1, epsilon=0.01", layer_norm((1, 2), 0.01) * wide, np.float32)
    golden.result("layer_norm %x, _, %bias, axis=-1", layer_norm(2) + bias, np.float32)
    rms = np.sqrt((x.astype(np.float64) ** 2).mean(2, keepdims=True) + 1e-5)
    golden.result("layer_norm %x, %scale, center=false", x / rms * scale, np.float32)
    golden.write()

    golden = Golden("batch_norm")
    x = golden.input("x", normal(2, 3, 2, 2))
    scale, bias, mean = (golden.input(n, normal(3)) for n in ("scale", "bias", "mean"))
    variance = golden.input("variance", np.abs(normal(3)) + np.float32(0.5))
    tail = golden.input("tail", last(x))
    y = (x - mean[:, None, None]) / np.sqrt(variance + 1e-5)[:, None, None] * scale[:, None, None] + bias[:, None, None]
    z = (tail - mean) / np.sqrt(variance + 0.001) * scale + bias
    golden.result("batch_norm %x, %scale, %bias, %mean, %variance", y, np.float32)
    golden.result("batch_norm %tail, %scale, %bias, %mean, %variance, axis=-1, epsilon=0.001", z, np.float32)
    golden.write()


# ---- resize ----

def coordinate(kind, x, scale, size, new):
    half = (x + 0.5) / scale - 0.5
    if kind == "half_pixel":
        return half
    if kind == "pytorch_half_pixel":
        return half if new > 1 else 0
    if kind == "align_corners":
        return x * (size - 1) / (new - 1) if new > 1 else 0
    if kind == "asymmetric":
        return x / scale
    if kind == "tf_half_pixel_for_nn":
        return (x + 0.5) / scale
    if kind == "half_pixel_symmetric":
        return size / 2 * (1 - new / (scale * size)) + half
    raise ValueError(kind)


def kernel_weights(mode, x, size, nearest, a, exclude):
    """The weight of each of the `size` elements for a coordinate."""
    weights = np.zeros(size)

    def put(position, weight):
        weights[min(max(position, 0), size - 1)] += weight

    floor = math.floor(x)
    if mode == "nearest":
        put({"round_prefer_floor": math.ceil(x - 0.5), "round_prefer_ceil": math.floor(x + 0.5), "floor": floor,
             "ceil": math.ceil(x)}[nearest], 1)
    elif mode == "linear":
        put(floor, 1 - (x - floor))
        put(floor + 1, x - floor)
    else:
        def cubic(d):
            d = abs(d)
            if d <= 1:
                return (a + 2) * d ** 3 - (a + 3) * d ** 2 + 1
            return a * d ** 3 - 5 * a * d ** 2 + 8 * a * d - 4 * a
        taps = [(p, cubic(x - p)) for p in range(floor - 1, floor + 3)]
        if exclude:
            taps = [(p, w) for p, w in taps if 0 <= p < size]
            taps = [(p, w / sum(w for _, w in taps)) for p, w in taps]
        for p, w in taps:
            put(p, w)
    return weights


def resize(x, sizes, mode="nearest", kind="half_pixel", scales=None, nearest="round_prefer_floor", a=-0.75, exclude=False):
    y = x.astype(np.float64)
    for axis, new in enumerate(sizes):
        size = x.shape[axis]
        scale = scales[axis] if scales and scales[axis] else new / size
        if new == size and scale == 1:
            continue
        weights = np.array([kernel_weights(mode, coordinate(kind, i, scale, size, new), size, nearest, a, exclude) for i in range(new)])
        y = np.moveaxis(np.tensordot(weights, y, (1, axis)), 0, axis)
    return y


def resize_golden():
    golden = Golden("resize")
    x = golden.input("x", normal(1, 1, 3, 4))
    line = golden.input("line", normal(1, 5, 2))

    def case(name, array, sizes, mode="nearest", kind="half_pixel", text="", **options):
        extra = "" if kind == "half_pixel" else f', coordinates="{kind}"'
        if options.get("scales"):
            text = f", scales={str(options['scales']).replace(' ', '')}" + text
        modes = "" if mode == "nearest" else f', mode="{mode}"'
        scales = f", scales={str(options['scales']).replace(' ', '')}" if options.get("scales") else ""
        rest = text[len(scales):] if scales else text
        golden.result(f"resize %{name}, sizes={str(sizes).replace(' ', '')}{scales}{modes}{extra}{rest}",
                      resize(array, sizes, mode, kind, **options), np.float32)

    for mode in ("nearest", "linear", "cubic"):
        for kind in ("half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric", "half_pixel_symmetric"):
            case("x", x, [1, 1, 6, 7], mode, kind)
        case("x", x, [1, 1, 2, 8], mode)
    case("x", x, [1, 1, 6, 12])
    case("x", x, [1, 1, 6, 12], kind="asymmetric", nearest="floor", text=', nearest="floor"')
    for nearest in ("round_prefer_ceil", "floor", "ceil"):
        case("x", x, [1, 1, 7, 9], nearest=nearest, text=f', nearest="{nearest}"')
    case("x", x, [1, 1, 5, 5], "cubic", text=", cubic_coeff=-0.5, exclude_outside=true", a=-0.5, exclude=True)
    case("x", x, [1, 1, 7, 5], "linear", scales=[1, 1, 2.5, 1.3])
    case("x", x, [1, 1, 7, 5], "linear", "half_pixel_symmetric", scales=[1, 1, 2.5, 1.3])
    case("x", x, [1, 1, 1, 1], "linear", "align_corners")
    case("x", x, [1, 1, 1, 1], "linear", "pytorch_half_pixel")
    case("x", x, [1, 1, 6, 8], kind="tf_half_pixel_for_nn", nearest="floor", text=', nearest="floor"')
    case("line", line, [1, 8, 2], "linear")
    case("line", line, [1, 3, 2], "linear")
    # antialias: the kernel is as wide as an element of the result, and x repeats its edges
    for mode, kernel, a, exclude in (("linear", lambda d: max(0, 1 - abs(d)), 0, False), ("cubic", lambda d: sampling.cubic(d, -0.5), -0.5, True)):
        weights = np.zeros((2, 5))
        for i, j in itertools.product(range(2), range(-9, 14)):
            if 0 <= j < 5 or not exclude:
                weights[i, min(max(j, 0), 4)] += kernel((j - ((i + 0.5) * 2.5 - 0.5)) / 2.5)
        weights /= weights.sum(1, keepdims=True)
        golden.result(f'resize %line, sizes=[1,2,2], mode="{mode}"{", cubic_coeff=-0.5, exclude_outside=true" if exclude else ""}, antialias=true',
                      (weights @ line[0].astype(np.float64))[None], np.float32)
    # tf_crop_and_resize: the middle, and beyond the end
    roi = [0, 0.2, 0, 1, 1.5, 1]
    y = np.zeros((1, 4, 2))
    for i in range(4):
        at = 0.2 * 4 + i * (1.5 - 0.2) * 4 / 3
        weights = kernel_weights("linear", at, 5, None, 0, False)
        y[0, i] = weights @ line[0] if at <= 4 else 9
    golden.result('resize %line, sizes=[1,4,2], mode="linear", coordinates="tf_crop_and_resize", extrapolation=9, '
                  f"roi={str(roi).replace(' ', '')}", y, np.float32)
    golden.write()


# ---- images at positions


def ints(values):
    return f"[{','.join(map(str, values))}]"


def grid_sample_golden():
    golden = Golden("grid_sample")
    x, line, cube = golden.input("x", normal(2, 2, 3, 4)), golden.input("line", normal(1, 1, 5)), golden.input("cube", normal(1, 2, 2, 3, 2))
    spread = lambda *shape: np.round(random.uniform(-1.6, 1.6, shape), 2)
    grid = golden.input("grid", spread(2, 3, 2, 2))
    along, within = golden.input("along", spread(1, 7, 1)), golden.input("within", spread(1, 1, 3, 2, 3))
    pixels = golden.input("pixels", np.round(random.uniform(-2, 5, (2, 1, 4, 2)), 2))
    image = golden.input("image", [[[[-5, 0, 3], [3, 9, -1], [2, 2, 1], [7, 7, 7]]]], np.int32)
    beside = golden.input("beside", spread(1, 2, 2, 2))
    for mode, padding, where in itertools.product(("nearest", "linear", "cubic"), ("zeros", "border", "reflection"),
                                                  ("half_pixel", "align_corners")):
        words = [f'{name}="{word}"' for name, word, usual in (("mode", mode, "linear"), ("padding", padding, "zeros"),
                                                            ("coordinates", where, "half_pixel")) if word != usual]
        golden.result(", ".join(["grid_sample %x, %grid", *words]), sampling.grid_sample(x, grid, mode, padding, where), np.float32)
    golden.result("grid_sample %line, %along", sampling.grid_sample(line, along), np.float32)
    golden.result('grid_sample %cube, %within, padding="border"', sampling.grid_sample(cube, within, padding="border"), np.float32)
    golden.result('grid_sample %cube, %within, mode="cubic", padding="reflection"',
                  sampling.grid_sample(cube, within, "cubic", "reflection"), np.float32)
    golden.result('grid_sample %x, %pixels, coordinates="pixels"', sampling.grid_sample(x, pixels, coordinates="pixels"), np.float32)
    golden.result("grid_sample %image, %beside", np.trunc(sampling.grid_sample(image, beside)), np.int32)
    golden.result('grid_sample %image, %beside, mode="nearest"', sampling.grid_sample(image, beside, "nearest"), np.int32)
    golden.write()


def roi_goldens():
    golden = Golden("roi_align")
    x = golden.input("x", normal(2, 2, 6, 5))
    rois = golden.input("rois", [[0, 0, 4, 5], [1, 1.5, 3, 2], [-3, 2, 9, 7.5], [2, 2, 2, 2]])
    images = golden.input("images", [1, 0, 1, 0], np.int64)
    for options, text in (({}, ""), (dict(samples=2), ", samples=2"), (dict(samples=2, mode="max"), ', samples=2, mode="max"'),
                          (dict(half_pixel=False), ", half_pixel=false"), (dict(scale=0.5, samples=3), ", scale=0.5, samples=3"),
                          (dict(mode="max", half_pixel=False), ', mode="max", half_pixel=false')):
        golden.result("roi_align %x, %rois, %images, sizes=[3,2]" + text, sampling.roi_align(x, rois, images, 3, 2, **options), np.float32)
    golden.result("roi_align %x, %rois, %images, sizes=[0,2]", np.zeros((4, 2, 0, 2)), np.float32)
    golden.write()
    golden = Golden("max_roi_pool")
    x = golden.input("x", normal(2, 2, 6, 5))
    rois = golden.input("rois", [[1, 0, 0, 4, 5], [0, 1, 1.5, 3, 2], [1, -3, 2, 9, 7.5], [0, 8, 8, 9, 9], [0, 3, 3, 1, 1]])
    golden.result("max_roi_pool %x, %rois, sizes=[3,2]", sampling.max_roi_pool(x, rois, 3, 2), np.float32)
    golden.result("max_roi_pool %x, %rois, sizes=[1,1], scale=0.5", sampling.max_roi_pool(x, rois, 1, 1, 0.5), np.float32)
    golden.write()


def window_goldens():
    golden = Golden("unfold")
    x, flags = golden.input("x", np.arange(14).reshape(2, 7)), golden.input("flags", [True, False, True, True], bool)
    windows = lambda x, size, step: np.stack([x[..., i:i + size] for i in range(0, x.shape[-1] - size + 1, step)], -2)
    golden.result("unfold %x, size=3", windows(x, 3, 1))
    golden.result("unfold %x, size=3, step=2", windows(x, 3, 2))
    golden.result("unfold %x, size=2, step=5", windows(x, 2, 5))
    golden.result("unfold %x, axis=0, size=1", x[:, :, None])
    golden.result("unfold %flags, size=4, step=3", windows(flags, 4, 3))
    golden.write()
    golden = Golden("col2im")
    x, line, cube = golden.input("x", normal(2, 12, 6)), golden.input("line", normal(1, 3, 4)), golden.input("cube", normal(1, 8, 4))
    counts = golden.input("counts", np.arange(16).reshape(1, 4, 4), np.int32)
    golden.result("col2im %x, sizes=[3,4], kernel=[2,2]", sampling.col2im(x, [3, 4], [2, 2]))
    golden.result("col2im %x, sizes=[4,5], kernel=[2,3], strides=[2,1], dilations=[1,2], pads=[0,1,0,1]",
                  sampling.col2im(x, [4, 5], [2, 3], [2, 1], [1, 2], [0, 1, 0, 1]))
    golden.result("col2im %line, sizes=[6], kernel=[3]", sampling.col2im(line, [6], [3]))
    golden.result("col2im %cube, sizes=[2,3,3], kernel=[2,2,2]", sampling.col2im(cube, [2, 3, 3], [2, 2, 2]))
    golden.result("col2im %counts, sizes=[2,2], kernel=[1,1]", sampling.col2im(counts, [2, 2], [1, 1]))
    golden.result("col2im %counts, sizes=[3,3], kernel=[2,2]", sampling.col2im(counts, [3, 3], [2, 2]))
    golden.write()
    golden = Golden("max_pool_indices")
    x, small = golden.input("x", random.permutation(2 * 2 * 5 * 4).reshape(2, 2, 5, 4)), golden.input("small", [[[7, -7, 7, 7, 3]]], np.int8)
    for options in (([2, 2], [1, 1], [1, 1], [0, 0, 0, 0]), ([3, 2], [2, 1], [1, 2], [1, 0, 1, 1]), ([5, 4], [1, 1], [1, 1], [0, 0, 0, 0])):
        texts = [f"{name}={ints(v)}" for name, v in zip(("kernel", "strides", "dilations", "pads"), options) if name == "kernel" or set(v) - {1 if name != "pads" else 0}]
        golden.several("max_pool_indices %x, " + ", ".join(texts), sampling.max_pool_indices(x, *options))
        golden.several("max_pool_indices %x, " + ", ".join(texts) + ", column_major=true", sampling.max_pool_indices(x, *options, True))
    golden.several("max_pool_indices %small, kernel=[3]", [np.int8([[[7, 7, 7]]]), np.int64([[[0, 2, 2]]])])
    golden.several("max_pool_indices %small, kernel=[3], strides=[2], pads=[0,2], ceil=true", [np.int8([[[7, 7, 3]]]), np.int64([[[0, 2, 4]]])])
    golden.write()


def linear_goldens():
    x, turned = normal(2, 3, 3), np.array([[0, 2, 0], [0, 0, -3], [4, 0, 0]])
    for name, function in (("det", np.linalg.det), ("inverse", np.linalg.inv)):
        golden = Golden(name)
        golden.input("x", x)
        golden.input("turned", turned)
        golden.input("one", [[[-4]]])
        golden.input("wide", x[:, :2, :2], np.float64)
        golden.result(f"{name} %x", function(x.astype(np.float64)), np.float32)
        golden.result(f"{name} %turned", function(turned), np.float32)
        golden.result(f"{name} %one", [-4] if name == "det" else [[[-0.25]]], np.float32)
        golden.result(f"{name} %wide", function(x[:, :2, :2].astype(np.float64)))
        if name == "det":
            golden.input("singular", [[1, 2], [2, 4]])
            golden.input("none", np.zeros((0, 0)))
            golden.result("det %singular", 0, np.float32)
            golden.result("det %none", 1, np.float32)
        golden.write()


# ---- Recurrences


ACTIVATIONS = {
    "sigmoid": lambda x, a, b: 1 / (1 + np.exp(-x)), "tanh": lambda x, a, b: np.tanh(x), "relu": lambda x, a, b: np.maximum(x, 0),
    "affine": lambda x, a, b: a * x + b, "scaled_tanh": lambda x, a, b: a * np.tanh(b * x),
    "hard_sigmoid": lambda x, a, b: np.clip(a * x + b, 0, 1), "softsign": lambda x, a, b: x / (1 + abs(x)),
    "leaky_relu": lambda x, a, b: np.where(x < 0, a * x, x)}


def in_a_byte(x):
    """In 255 equal steps over its range with 0, and back."""
    low, high = min(x.min(), 0), max(x.max(), 0)
    step = (high - low) / 255 or 1
    zero = np.clip(np.rint(-low / step), 0, 255)
    return (np.clip(np.rint(x / step) + zero, 0, 255) - zero) * step


def recurrence(kind, xw, r, h=None, lengths=None, special=(), reverse=False, batch_first=False, clip=0, names=None,
               alpha=None, beta=None, input_forget=False, linear_before_reset=False, rounds_state=False):
    """One row and step at a time, from the formulas of the ONNX operators; returns y and the last states."""
    steps, batch, hidden = *(xw.transpose(1, 0, 2) if batch_first else xw).shape[:2], r.shape[0]
    names = names or {"lstm": ["sigmoid", "tanh", "tanh"], "gru": ["sigmoid", "tanh"], "rnn": ["tanh"]}[kind]
    x = (xw.transpose(1, 0, 2) if batch_first else xw).astype(float)
    y, last_h, last_c = np.zeros((steps, batch, hidden)), np.zeros((batch, hidden)), np.zeros((batch, hidden))

    def act(which, value):
        value = np.clip(value, -clip, clip) if clip else value
        return ACTIVATIONS[names[which]](value, alpha[which] if alpha else None, beta[which] if beta else None)

    for b in range(batch):
        state = np.zeros(hidden) if h is None else h[b].astype(float)
        cell = special[0][b].astype(float) if kind == "lstm" and special and special[0] is not None else np.zeros(hidden)
        valid = range(steps if lengths is None else lengths[b])
        for t in reversed(valid) if reverse else valid:
            part = [x[t, b, g * hidden:(g + 1) * hidden] for g in range(r.shape[1] // hidden)]
            weight = [r[:, g * hidden:(g + 1) * hidden].astype(float) for g in range(r.shape[1] // hidden)]
            if kind == "rnn":
                state = act(0, part[0] + state @ weight[0])
            elif kind == "gru":
                z, reset = (act(0, part[g] + state @ weight[g]) for g in (0, 1))
                bias = special[0].astype(float) if special else 0
                inner = reset * (state @ weight[2] + bias) if linear_before_reset else (reset * state) @ weight[2] + bias
                state = z * state + (1 - z) * act(1, part[2] + inner)
            else:
                seen = in_a_byte(state) if rounds_state else state
                p = special[1].astype(float).reshape(3, hidden) if len(special) > 1 else np.zeros((3, hidden))
                i = act(0, part[0] + seen @ weight[0] + p[0] * cell)
                forget = 1 - i if input_forget else act(0, part[2] + seen @ weight[2] + p[2] * cell)
                cell = forget * cell + i * act(1, part[3] + seen @ weight[3])
                state = act(0, part[1] + seen @ weight[1] + p[1] * cell) * act(2, cell)
            y[t, b] = state
        last_h[b], last_c[b] = state, cell
    y = y.transpose(1, 0, 2) if batch_first else y
    return [a.astype(np.float32) for a in ([y, last_h, last_c] if kind == "lstm" else [y, last_h])]


def packed_cell(r, gates, width):
    hidden = r.shape[0]
    padded = np.zeros((hidden, gates, -(-hidden // width) * width), r.dtype)
    padded[:, :, :hidden] = r.reshape(hidden, gates, hidden)
    return padded.reshape(hidden, gates, -1, width).transpose(2, 0, 1, 3)


def rnn_goldens():
    for kind, gates in (("lstm", 4), ("gru", 3), ("rnn", 1)):
        golden, hidden = Golden(kind), 3
        values = lambda *shape: np.round(random.uniform(-1, 1, shape), 1)
        x, r = golden.input("x", values(3, 2, gates * hidden)), golden.input("r", values(hidden, gates * hidden))
        h, lengths = golden.input("h", values(2, hidden)), golden.input("lengths", [2, 0], np.int32)
        golden.several(f"{kind} %x, %r", recurrence(kind, x, r))
        golden.several(f"{kind} %x, %r, %h, reverse=true", recurrence(kind, x, r, h, reverse=True))
        golden.several(f"{kind} %x, %r, %h, %lengths", recurrence(kind, x, r, h, lengths))
        golden.several(f"{kind} %x, %r, _, %lengths, reverse=true, clip=0.3", recurrence(kind, x, r, None, lengths, reverse=True, clip=0.3))
        packed = golden.input("packed", packed_cell(r, gates, 2))
        golden.several(f"{kind} %x, %packed, %h, packed=2", recurrence(kind, x, r, h))
        rows = golden.input("rows", values(2, 4, gates * hidden))
        golden.several(f"{kind} %rows, %r, %h, batch_first=true", recurrence(kind, rows, r, h, batch_first=True))
        if kind == "rnn":
            golden.several('rnn %x, %r, f="affine", alpha=[0.5], beta=[0.1]', recurrence(kind, x, r, names=["affine"], alpha=[0.5], beta=[0.1]))
            golden.several('rnn %x, %r, f="relu"', recurrence(kind, x, r, names=["relu"]))
        if kind == "gru":
            bias = golden.input("bias", values(hidden))
            golden.several("gru %x, %r, %h, _, %bias, linear_before_reset=true", recurrence(kind, x, r, h, special=[bias], linear_before_reset=True))
            golden.several('gru %x, %r, %h, %lengths, %bias, f="hard_sigmoid", g="softsign", alpha=[0.2,0], beta=[0.5,0]',
                           recurrence(kind, x, r, h, lengths, [bias], names=["hard_sigmoid", "softsign"], alpha=[0.2, 0], beta=[0.5, 0]))
        if kind == "lstm":
            c, p = golden.input("c", values(2, hidden)), golden.input("p", values(3 * hidden))
            golden.several("lstm %x, %r, %h, %lengths, %c, %p", recurrence(kind, x, r, h, lengths, [c, p]))
            golden.several("lstm %x, %r, %h, rounds_state=true", recurrence(kind, x, r, h, rounds_state=True))
            golden.several("lstm %x, %r, _, _, _, %p, input_forget=true", recurrence(kind, x, r, special=[None, p], input_forget=True))
            golden.several('lstm %x, %r, f="hard_sigmoid", g="scaled_tanh", h="leaky_relu", alpha=[0.3,1.5,0.1], beta=[0.4,0.7,0]',
                           recurrence(kind, x, r, names=["hard_sigmoid", "scaled_tanh", "leaky_relu"], alpha=[0.3, 1.5, 0.1], beta=[0.4, 0.7, 0]))
        golden.write()


# ---- Attention


def attention(q, k, v, mask=0, scale=1, cap=INF):
    """On [batch, heads, positions, channels]; heads of k and v serve as many of q each."""
    k, v = (np.repeat(x, q.shape[1] // x.shape[1], 1).astype(np.float64) for x in (k, v))
    scores = scale * q.astype(np.float64) @ k.swapaxes(2, 3)
    return softmax((scores if cap == INF else cap * np.tanh(scores / cap)) + mask, 3) @ v


def attention_golden():
    golden = Golden("attention")
    q, k, v = golden.input("q", normal(1, 4, 3, 2)), golden.input("k", normal(1, 2, 5, 2)), golden.input("v", normal(1, 2, 5, 3))
    row, full = golden.input("row", normal(5)), golden.input("full", normal(4, 3, 5))
    never = golden.input("never", [[0, -np.inf, 1, -np.inf, 2], [-np.inf] * 4 + [1], [-np.inf] * 5])
    one_k, one_v = golden.input("one_k", normal(1, 1, 5, 2)), golden.input("one_v", normal(1, 1, 5, 3))
    golden.result("attention %q, %k, %v", attention(q, k, v), np.float32)
    golden.result("attention %q, %k, %v, scale=0.5", attention(q, k, v, scale=0.5), np.float32)
    golden.result("attention %q, %k, %v, %row, scale=-2", attention(q, k, v, row, -2), np.float32)
    golden.result("attention %q, %k, %v, %full", attention(q, k, v, full), np.float32)
    with np.errstate(invalid="ignore"):
        golden.result("attention %q, %k, %v, %never", attention(q, k, v, never), np.float32)
    golden.result("attention %q, %one_k, %one_v", attention(q, one_k, one_v), np.float32)
    for name, axes in (("first", (0, 2, 1, 3)), ("turned", (0, 1, 3, 2))):
        for letter, x in (("q", q), ("k", k), ("v", v)):
            golden.input(f"{letter}_{name}", x.transpose(axes))
        perms = ", ".join(f"{letter}_perm=[{','.join(map(str, axes))}]" for letter in "qkvy")
        golden.result(f"attention %q_{name}, %k_{name}, %v_{name}, {perms}", attention(q, k, v).transpose(axes), np.float32)
    golden.result("attention %q, %k, %v, %row, scale=2, softcap=1.5", attention(q, k, v, row, 2, 1.5), np.float32)
    with np.errstate(invalid="ignore"):
        golden.result("attention %q, %k, %v, %never, zero_masked=true", np.nan_to_num(attention(q, k, v, never)), np.float32)
    golden.write()


def iota_golden():
    golden = Golden("iota")
    golden.result("iota shape=[5]", np.arange(5), np.int64)
    golden.result("iota shape=[2,3,4], axis=1, dtype=f32", np.broadcast_to(np.arange(3)[:, None], (2, 3, 4)), np.float32)
    golden.result("iota shape=[2,17], axis=-1, dtype=u8", np.broadcast_to(np.arange(17), (2, 17)), np.uint8)
    golden.result("iota shape=[0,3], dtype=i32", np.zeros((0, 3)), np.int32)
    golden.result("iota shape=[2,3], axis=1, start=[7]", np.tile(np.arange(7, 10), (2, 1)), np.int64)
    golden.result("iota shape=[4], dtype=i8, start=[126]", np.int64([126, 127, -128, -127]).astype(np.int8), np.int8)
    golden.write()


def split_mix(seed, count):
    """SplitMix64 of Steele, Lea and Flood: the mixed seed is the state before the first number."""
    mask, golden_ratio = 2**64 - 1, 0x9E3779B97F4A7C15

    def mix(z):
        z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 & mask
        z = (z ^ z >> 27) * 0x94D049BB133111EB & mask
        return z ^ z >> 31

    key = mix(seed + golden_ratio & mask)
    return [mix(key + n * golden_ratio & mask) for n in range(count)]


def random_uniform_golden():
    golden = Golden("random_uniform")
    for text, seed, shape, dtype, bits in [("", 0, (3, 7), np.float32, 24), (", seed=-5", -5, (19,), np.float32, 24),
                                           (", dtype=f64, seed=123456789", 123456789, (2, 1, 3), np.float64, 53),
                                           (", dtype=f16", 0, (5,), np.float16, 11), (", seed=1", 1, (), np.float32, 24)]:
        numbers = [(z >> 64 - bits) / 2**bits for z in split_mix(seed, int(np.prod(shape)))]
        sizes = ",".join(map(str, shape))
        golden.result(f"random_uniform shape=[{sizes}]{text}", np.reshape(numbers, shape), dtype)
    golden.write()


# ---- Search


def top_k(x, k, axis=-1, largest=True):
    """numpy's stable sort, from the end if the largest are wanted: NaN comes last, equal elements keep their order."""
    flip = (lambda i: np.flip(i, axis)) if largest else (lambda i: i)
    order = flip(np.argsort(flip(x), axis, kind="stable"))
    order = np.take(x.shape[axis] - 1 - order if largest else order, np.arange(k), axis)
    return [np.take_along_axis(x, order, axis), order.astype(np.int64)]


def top_k_golden():
    golden = Golden("top_k")
    case = lambda name, x, k, attributes="", **options: golden.several(
        f"top_k %{name}, k=[{k}]{attributes}", top_k(x, k, **options))
    x = golden.input("x", [[1, 3, 3, -1, 2, 3, -5], [0, -0.0, 0, 7, 7, -7, 0]])
    case("x", x, 3)
    case("x", x, 7)
    case("x", x, 0)
    case("x", x, 4, ", largest=false", largest=False)
    case("x", x, 1, ", axis=0", axis=0)
    case("x", x, 2, ", axis=-2, largest=false", axis=0, largest=False)
    nan = golden.input("nan", [NAN, -INF, 5, NAN, INF, 0, -0.0, -1e-40, 1e-40])
    case("nan", nan, 9)
    case("nan", nan, 9, ", largest=false", largest=False)
    cube = golden.input("cube", normal(2, 11, 3))
    case("cube", cube, 5, ", axis=1", axis=1)
    empty = golden.input("empty", np.zeros((0, 3)))
    case("empty", empty, 2)
    for dtype in (np.int8, np.int16, np.int32, np.int64, np.uint8, np.uint16, np.uint32, np.uint64):
        info = np.iinfo(dtype)
        values = golden.input(f"i{info.bits}{info.kind}", [5, info.max, info.min, 5, 0, info.max], dtype)
        case(f"i{info.bits}{info.kind}", values, 5)
        case(f"i{info.bits}{info.kind}", values, 3, ", largest=false", largest=False)
    for dtype in (np.float16, np.float64):
        values = golden.input(f"f{np.finfo(dtype).bits}", [1, -2, 0.5, -0.5, 6e-8, -INF, 1, -6e-8, INF], dtype)
        case(f"f{np.finfo(dtype).bits}", values, 9)
        case(f"f{np.finfo(dtype).bits}", values, 5, ", largest=false", largest=False)
    golden.write()


def padded(array, size, axis=0):
    widths = [(0, size - array.shape[axis] if i == axis % array.ndim else 0) for i in range(array.ndim)]
    return np.pad(array, widths)


def non_zero_golden():
    golden = Golden("non_zero")
    for name, x, dtype in (("x", [[0, -0.0, 3], [NAN, 0, -1]], np.float32), ("none", [0, 0, 0], np.int8),
                           ("flags", [[[True, False]], [[True, True]], [[False, True]]], bool),
                           ("half", [6e-8, 0, -INF, -0.0], np.float16), ("wide", [0, 2**63, 1], np.uint64),
                           ("double", [5e-324, -0.0], np.float64), ("empty", np.zeros((2, 0, 3)), np.int32)):
        x = golden.input(name, x, dtype)
        found = np.stack(np.nonzero(x))
        golden.several(f"non_zero %{name}", [padded(found, x.size, 1), np.array(found.shape[1])])
    scalar = golden.input("scalar", 3, np.int32)
    golden.several("non_zero %scalar", [np.zeros((0, 1), np.int64), np.array(scalar.size)])
    golden.write()


def unique(x, axis, ascending=True):
    """Slices as tuples in a dictionary."""
    slices = [tuple(part.reshape(-1).tolist()) for part in np.moveaxis(x, axis, 0)]
    keys = [tuple("nan" if v != v else v for v in part) for part in slices]
    first = {}
    for i, key in enumerate(keys):
        first.setdefault(key, i)
    order = list(first)
    if ascending:
        order.sort(key=lambda key: [(v == "nan", 0 if v == "nan" else v) for v in key])
    n = x.shape[axis]
    ints = lambda values: padded(np.array(values, np.int64), n)
    values = padded(np.take(x, [first[key] for key in order], axis), n, axis)
    return [values, ints([first[key] for key in order]), ints([order.index(key) for key in keys]),
            ints([keys.count(key) for key in order]), np.array(len(order))]


def unique_golden():
    golden = Golden("unique")
    for name, x, axes, dtype in (
            ("x", [2, 1, 1, 3, 4, 3, -1], [0], np.float32), ("nan", [NAN, 0, -1, -0.0, NAN, INF, -INF], [0], np.float32),
            ("rows", [[1, 0, 0], [1, 0, 0], [2, 3, 4], [0, 9, 9]], [0, -1], np.int32),
            ("cube", [[[1, 1], [0, 1], [2, 1], [0, 1]], [[1, 1], [0, 1], [2, 1], [0, 1]]], [1, 2, -3], np.uint8),
            ("half", [2, -6e-8, 2, -INF], [0], np.float16), ("flags", [True, False, True], [0], bool),
            ("wide", [2**63, 1, 2**63, 2**64 - 1], [0], np.uint64), ("one", [7], [0], np.int64)):
        x = golden.input(name, x, dtype)
        for axis in axes:
            golden.several(f"unique %{name}, axis={axis}", unique(x, axis))
            golden.several(f"unique %{name}, axis={axis}, sorted=false", unique(x, axis, False))
    golden.input("empty", np.zeros(0))
    golden.several("unique %empty, axis=0", [np.zeros(0, np.float32)] + [np.zeros(0, np.int64)] * 3 + [np.array(0)])
    golden.write()


def overlap(a, b, centered):
    """Intersection over union of two boxes."""
    corners = []
    for box in (a.astype(np.float64), b.astype(np.float64)):
        first, second = (box[:2] - box[2:] / 2, box[:2] + box[2:] / 2) if centered else (box[:2], box[2:])
        corners.append((np.minimum(first, second), np.maximum(first, second)))
    (low_a, high_a), (low_b, high_b) = corners
    sides = np.maximum(np.minimum(high_a, high_b) - np.maximum(low_a, low_b), 0)
    union = np.prod(high_a - low_a) + np.prod(high_b - low_b) - np.prod(sides)
    return np.prod(sides) / union if np.prod(sides) > 0 else 0


def suppress(boxes, scores, most, limit, least, centered=False):
    """From the unsorted scores: again and again the best box that is left."""
    kept = []
    for batch, class_ in np.ndindex(scores.shape[:2]):
        left = [i for i in range(boxes.shape[1]) if scores[batch, class_, i] > least]
        chosen = []
        while left and len(chosen) < most:
            best = max(left, key=lambda i: (scores[batch, class_, i], -i))
            chosen.append(best)
            left = [i for i in left if i != best and overlap(boxes[batch, i], boxes[batch, best], centered) <= limit]
        kept += [[batch, class_, box] for box in chosen]
    return np.array(kept, np.int64).reshape(-1, 3)


def suppression_golden():
    golden = Golden("non_max_suppression")
    boxes = golden.input("boxes", np.round(np.random.default_rng(5).random((2, 13, 4)) * [4, 4, 6, 6], 1))
    scores = np.round(np.random.default_rng(6).random((2, 3, 13)), 1).astype(np.float32)
    scores[1, 2, 4] = NAN
    falling, order = top_k(scores, 13)
    golden.input("scores", falling)
    golden.input("order", order, np.int64)
    for i, (most, limit, least, centered) in enumerate(
            ((13, 0.3, -INF, False), (2, 0.3, 0.2, False), (13, 0.1, 0.5, True), (0, 0.5, 0, False), (99, 1, 0.3, False),
             (-3, 0.5, 0, False), (13, 0, 0, True))):
        golden.input(f"most{i}", most, np.int64), golden.input(f"limit{i}", limit), golden.input(f"least{i}", least)
        kept = suppress(boxes, scores, most, np.float32(limit), np.float32(least), centered)
        golden.several(f"non_max_suppression %boxes, %scores, %order, %most{i}, %limit{i}, %least{i}"
                       + (", center_point_box=true" if centered else ""), [padded(kept, 78), np.array(len(kept))])
    golden.write()
def tree_sums(x, tables, trees, width, outputs, depth, aggregate):
    """tables: features, thresholds, leaves, targets, roots, children, rows; the last three None: complete trees."""
    features, thresholds, leaves, targets, roots, children, rows = tables
    start = {"sum": 0, "min": INF, "max": -INF}[aggregate]
    sums = np.full((len(x), outputs), start, leaves.dtype)
    combine = {"sum": np.add, "min": np.minimum, "max": np.maximum}[aggregate]
    for n, row in enumerate(x):
        for t in range(trees):
            at, first = 0, t * (2**depth - 1) if roots is None else roots[t]
            for _ in range(depth):
                f, threshold = features[first + at], thresholds[first + at]
                value = row[f % len(row)]
                yes = value <= threshold or (f >= len(row) and np.isnan(value) and not np.isnan(threshold))
                at = (2 * at + 1 if roots is None else children[first + at]) + (not yes)
            leaf = leaves[t * 2**depth + at - (2**depth - 1) if roots is None else rows[first + at]]
            to = slice(targets[t], targets[t] + width)
            sums[n, to] = combine(sums[n, to], leaf)
    return sums


def tree_goldens():
    golden = Golden("tree_ensemble")
    x = golden.input("x", np.append(normal(9, 3), [[NAN, 0.5, -0.5], [0.5, NAN, NAN], [INF, -INF, NAN], [0, 0, 0]], 0))
    wide = golden.input("wide", x.astype(np.float64), np.float64)
    half = golden.input("half", x.astype(np.float16), np.float16)
    golden.input("none", np.zeros((0, 3)), np.float32)

    def table(name, values, dtype, const=False):
        """A constant, which tenon can check, or an input, which it cannot."""
        array = np.asarray(values, dtype)
        if const:
            shape = ",".join(map(str, array.shape))
            golden.lines.append(f"  const %{name}: {DTYPES[array.dtype.name]}[{shape}] = [{','.join(number(v) for v in array.reshape(-1))}]")
        else:
            golden.input(name, array, dtype)
        return array

    # Complete: two trees of depth 2, for two outputs of three, one output of one, one of two each.
    features, thresholds = table("f", [0, 1, 5, 4, 2, 0], np.uint8, True), table("t", [0, -0.5, 0.5, 0.25, 0, NAN], np.float32, True)
    leaves, targets = table("l", normal(8, 2), np.float32), table("to", [1, 0], np.int32, True)
    complete = [features, thresholds, leaves, targets, None, None, None]
    for aggregate in "sum", "min", "max":
        golden.result(f"tree_ensemble %x, %f, %t, %l, %to, depth=2, outputs=3, aggregate=\"{aggregate}\"",
                      tree_sums(x, complete, 2, 2, 3, 2, aggregate))
    single = table("single", normal(8, 1), np.float32, True)
    zeros = np.zeros(9, int)
    golden.result("tree_ensemble %x, %f, %t, %single, depth=2", tree_sums(x, [features, thresholds, single, zeros, None, None, None], 2, 1, 1, 2, "sum"))
    golden.result("tree_ensemble %none, %f, %t, %single, depth=2", np.zeros((0, 1), np.float32))
    golden.result("tree_ensemble %x, %f0, %t0, %single, depth=0", np.full((13, 1), single.sum(), np.float32))
    golden.lines.insert(0, "  const %f0: u8[0] = []\n  const %t0: f32[0] = []")
    table("t16", thresholds, np.float16, True)
    golden.result("tree_ensemble %half, %f, %t16, %single, depth=2",
                  tree_sums(half, [features, thresholds.astype(np.float16), single, zeros, None, None, None], 2, 1, 1, 2, "sum"))
    # Free: a root with a leaf and a branch, and a single question; the tables are known or not.
    features, roots = [1, 0, 3, 0, 0, 4, 0, 0], [0, 5]
    thresholds, children, rows = [0.25, NAN, -0.5, NAN, NAN, 1, NAN, NAN], [1, 0, 3, 2, 3, 1, 0, 1], [0, 0, 0, 1, 2, 0, 3, 4]
    known = [table("kf", features, np.uint8, True), table("kt", thresholds, np.float64, True), table("kl", normal(5, 1), np.float64, True),
             zeros, table("kr", roots, np.int32, True), table("kc", children, np.uint16, True), table("kd", rows, np.int64, True)]
    golden.result("tree_ensemble %wide, %kf, %kt, %kl, _, %kr, %kc, %kd, depth=2", tree_sums(wide, known, 2, 1, 1, 2, "sum"))
    golden.result("tree_ensemble %wide, %kf, %kt, %kl, _, %kr, %kc, %kd, depth=5", tree_sums(wide, known, 2, 1, 1, 2, "sum"))
    unknown = [table("uf", features, np.int64), table("ut", thresholds, np.float32), table("ul", normal(5, 3), np.float32), zeros,
               table("ur", roots, np.int64), table("uc", children, np.int32), table("ud", rows, np.uint8)]
    golden.result("tree_ensemble %x, %uf, %ut, %ul, _, %ur, %uc, %ud, depth=2, outputs=3, aggregate=\"max\"", tree_sums(x, unknown, 2, 3, 3, 2, "max"))
    golden.write()


def coupling_golden():
    golden = Golden("pairwise_coupling")
    for name, classes, rows in ("two", 2, 3), ("three", 3, 2), ("five", 5, 2), ("none", 3, 0):
        r = golden.input(name, np.round(random.uniform(0.02, 0.98, (rows, classes * (classes - 1) // 2)), 3), np.float64)
        golden.result(f"pairwise_coupling %{name}", np.reshape([coupled(row, classes) for row in r], (rows, classes)), np.float64)
    golden.write()


def coupled(pairs, k):
    """Algorithm 2 of Wu, Lin and Weng, with libsvm's end."""
    r = np.zeros((k, k))
    for (i, j), value in zip(itertools.combinations(range(k), 2), pairs):
        r[i, j], r[j, i] = value, 1 - value
    q = -r * r.T
    q[np.arange(k), np.arange(k)] = (r**2).sum(0)
    p = np.full(k, 1 / k)
    for _ in range(100):
        qp = q @ p
        form = p @ qp
        if abs(qp - form).max() < 0.005 / k:
            break
        for t in range(k):
            step = (form - qp[t]) / q[t, t]
            p[t] += step
            form = (form + step * (step * q[t, t] + 2 * qp[t])) / (1 + step) ** 2
            qp = (qp + step * q[t]) / (1 + step)
            p /= 1 + step
    return p


# ---- Positions that are data


def gather_nd(x, indices, batches=0):
    shape = indices.shape[:-1] + x.shape[batches + indices.shape[-1]:]
    result = np.empty(shape, x.dtype)
    for at in np.ndindex(indices.shape[:-1]):
        result[at] = x[at[:batches] + tuple(indices[at])]
    return result


def gather_nd_golden():
    golden = Golden("gather_nd")
    x = golden.input("x", np.arange(24).reshape(2, 3, 4))
    for name, indices, batches in (("all", [[0, 1, 2], [1, -1, -4], [1, 2, 3]], 0), ("rows", [[[1], [-2]], [[0], [1]]], 0),
                                   ("pairs", [[0, 2], [1, 0]], 0), ("each", [[2], [0]], 1), ("deep", [[[3], [-1], [0]], [[1], [1], [2]]], 2),
                                   ("one", [1, 1, 1], 0), ("whole", np.zeros((2, 0)), 0), ("none", np.zeros((0, 2)), 0)):
        i = golden.input(name, indices, np.int64)
        golden.result(f"gather_nd %x, %{name}" + (f", batch_axes={batches}" if batches else ""), gather_nd(x, i, batches))
    flags, small = golden.input("flags", [[True, False], [False, True]], bool), golden.input("small", [[0, 0], [-1, 0]], np.int32)
    golden.result("gather_nd %flags, %small", gather_nd(flags, small))
    golden.write()


def reverse_golden():
    golden = Golden("reverse_sequence")
    x = golden.input("x", np.arange(24).reshape(4, 3, 2))
    for name, time, batch, lengths in (("a", 0, 1, [4, 0, 3]), ("b", 1, 0, [1, 2, 3, 0]), ("c", 2, -2, [2, 1, 0])):
        n = golden.input(name, lengths, np.int64)
        moved = np.moveaxis(x, (time, batch), (0, 1)).copy()
        for i, length in enumerate(n):
            moved[:length, i] = moved[:length, i][::-1]
        golden.result(f"reverse_sequence %x, %{name}, time_axis={time}, batch_axis={batch}", np.moveaxis(moved, (0, 1), (time, batch)))
    golden.write()


REDUCTIONS = {"none": lambda there, update: update, "add": np.add, "mul": np.multiply, "min": np.minimum, "max": np.maximum}


def scatter(x, targets, updates, reduction):
    """One (position, update) after the other."""
    result = x.copy()
    for target, update in zip(targets, updates):
        result[target] = REDUCTIONS[reduction](result[target], update)
    return result


def scatter_elements(x, indices, updates, axis=0, reduction="none"):
    targets = [at[:axis] + (indices[at],) + at[axis + 1:] for at in np.ndindex(indices.shape)]
    return scatter(x, targets, updates.reshape(-1), reduction)


def scatter_nd(x, indices, updates, reduction="none"):
    places = list(np.ndindex(indices.shape[:-1]))
    return scatter(x, [tuple(indices[at]) for at in places], [updates[at] for at in places], reduction)


def reduction_text(reduction):
    return "" if reduction == "none" else f', reduction="{reduction}"'


def scatter_elements_golden():
    golden = Golden("scatter_elements")
    x = golden.input("x", [[1, 2, 3, 4], [5, 6, 7, 8], [9, 10, 11, 12]])
    i, u = golden.input("i", [[1, 0, -1], [1, -3, 0]], np.int64), golden.input("u", [[2, -3, 0.5], [4, 20, NAN]])
    for reduction in REDUCTIONS:
        golden.result(f"scatter_elements %x, %i, %u{reduction_text(reduction)}", scatter_elements(x, i, u, 0, reduction))
        golden.result(f"scatter_elements %x, %i, %u, axis=1{reduction_text(reduction)}", scatter_elements(x, i, u, 1, reduction))
    cube, ci, cu = golden.input("cube", normal(2, 3, 2)), golden.input("ci", [[[0], [2], [0], [2]]], np.int32), golden.input("cu", normal(1, 4, 1))
    golden.result("scatter_elements %cube, %ci, %cu, axis=-2, reduction=\"add\"", scatter_elements(cube, ci, cu, 1, "add"))
    for dtype, reductions in ((np.int8, REDUCTIONS), (np.uint64, REDUCTIONS), (np.float16, REDUCTIONS), (bool, ("none", "min", "max"))):
        name = np.dtype(dtype).name
        y = golden.input(name, [100, 3, 7] if dtype != bool else [1, 0, 0], dtype)
        yi, yu = golden.input(f"{name}_i", [0, 0, 2], np.int64), golden.input(f"{name}_u", [100, 2, 0], dtype)
        for reduction in reductions:
            golden.result(f"scatter_elements %{name}, %{name}_i, %{name}_u{reduction_text(reduction)}", scatter_elements(y, yi, yu, 0, reduction))
    golden.input("no_i", np.zeros((0, 4)), np.int64), golden.input("no_u", np.zeros((0, 4)))
    golden.result("scatter_elements %x, %no_i, %no_u", x)
    golden.write()


def scatter_nd_golden():
    golden = Golden("scatter_nd")
    x = golden.input("x", normal(3, 2, 4))
    for name, indices, shape in (("points", [[[0, 1, 2], [2, -1, -4]], [[0, 1, 2], [0, 0, 0]]], (2, 2)), ("rows", [[2, 0], [0, 1], [2, 0]], (3, 4)),
                                 ("planes", [[1], [1], [-1]], (3, 2, 4)), ("one", [1, 1, 1], ()), ("whole", np.zeros((2, 0)), (2, 3, 2, 4)),
                                 ("none", np.zeros((0, 2)), (0, 4))):
        i, u = golden.input(name, indices, np.int64), golden.input(f"{name}_u", normal(*shape))
        for reduction in REDUCTIONS:
            golden.result(f"scatter_nd %x, %{name}, %{name}_u{reduction_text(reduction)}", scatter_nd(x, i, u, reduction))
    golden.write()


def tensor_scatter(x, update, starts, axis, circular=False):
    result = x.copy()
    for prefix in np.ndindex(x.shape[:axis]):
        for step in range(update.shape[axis]):
            place = starts[prefix[0]] + step
            if circular:
                place %= x.shape[axis]
            if 0 <= place < x.shape[axis]:
                result[prefix + (place,)] = update[prefix + (step,)]
    return result


def tensor_scatter_golden():
    golden = Golden("tensor_scatter")
    x, u = golden.input("x", normal(2, 3, 5, 2)), golden.input("u", normal(2, 3, 2, 2))
    starts, far = golden.input("starts", [1, 3], np.int64), golden.input("far", [4, 13], np.int64)
    golden.result("tensor_scatter %x, %u", tensor_scatter(x, u, [0, 0], 2))
    golden.result("tensor_scatter %x, %u, %starts", tensor_scatter(x, u, starts, 2))
    golden.result("tensor_scatter %x, %u, %far", tensor_scatter(x, u, far, 2))
    golden.result("tensor_scatter %x, %u, %far, circular=true", tensor_scatter(x, u, far, 2, True))
    y, v = golden.input("y", [[1, 2, 3, 4], [5, 6, 7, 8]], np.int32), golden.input("v", [[-1, -2, -3], [-4, -5, -6]], np.int32)
    golden.result("tensor_scatter %y, %v, %starts, axis=-1", tensor_scatter(y, v, starts, 1))
    golden.result("tensor_scatter %y, %v, %starts, axis=1, circular=true", tensor_scatter(y, v, starts, 1, True))
    golden.write()


# ---- Running sums


def scan_goldens():
    for name, function, neutral in (("cum_sum", np.cumsum, 0), ("cum_prod", np.cumprod, 1)):
        golden = Golden(name)
        x, i = golden.input("x", normal(2, 3, 4)), golden.input("i", [3, -2, 5, 0, 7], np.int32)
        tiny, half, empty = golden.input("tiny", [100, 100, 3], np.int8), golden.input("h", [1.5, 2, -3], np.float16), golden.input("empty", np.zeros((0, 3)))
        for value, value_name, axis in ((x, "x", 0), (x, "x", 1), (x, "x", -1), (i, "i", 0), (tiny, "tiny", 0), (half, "h", 0), (empty, "empty", 0)):
            for exclusive, reverse in itertools.product((False, True), repeat=2):
                y = np.flip(value, axis) if reverse else value
                y = function(y, axis, value.dtype)
                if exclusive and value.size:
                    first = np.full_like(np.take(y, [0], axis), neutral)
                    y = np.concatenate([first, np.delete(y, -1, axis)], axis)
                y = np.flip(y, axis) if reverse else y
                flags = (", exclusive=true" if exclusive else "") + (", reverse=true" if reverse else "")
                golden.result(f"{name} %{value_name}, axis={axis}{flags}", y, value.dtype)
        golden.write()


def bit_cast_golden():
    golden = Golden("bit_cast")
    x = golden.input("x", [1, -2.5, 0, -0.0, INF])
    half, byte = golden.input("h", [1, -2], np.float16), golden.input("b", [-1, 0, 1, 127], np.int8)
    flags, wide = golden.input("flags", [True, False], bool), golden.input("w", [-1, 2**62, 0], np.int64)
    for name, value, dtypes in (("x", x, (np.uint32, np.int32)), ("h", half, (np.uint16, np.int16)), ("b", byte, (np.uint8,)),
                                ("w", wide, (np.uint64,)), ("flags", flags, (np.int8, np.uint8))):
        for dtype in dtypes:
            golden.result(f"bit_cast %{name}, to={DTYPES[np.dtype(dtype).name]}", value.view(dtype))
    bits = golden.input("bits", [0x7F800001, 0x80000000, 0x3FC00000], np.uint32)
    golden.result("bit_cast %bits, to=f32", bits.view(np.float32))
    golden.result("bit_cast %b, to=bool", byte != 0)
def linear_attention(q, k, v, state=None, keep=None, beta=None, erase=None):
    """On [batch, positions, heads, channels]; state is [batch, heads, d, e]."""
    heads = max(q.shape[2], k.shape[2])
    few = k.shape[2]
    state = np.zeros((q.shape[0], few, q.shape[3], v.shape[3])) if state is None else state.astype(np.float64)
    y = np.zeros((*q.shape[:2], heads, v.shape[3]))
    for t in range(q.shape[1]):
        if keep is not None:
            state = state * keep[:, t, :, :, None]
        update = v[:, t]
        if beta is not None:
            asking = k[:, t] if erase is None else k[:, t] * erase[:, t]
            update = beta[:, t] * (update - np.einsum("bhde,bhd->bhe", state, asking))
        state = state + k[:, t, :, :, None] * update[:, :, None, :]
        y[:, t] = np.einsum("bhde,bhd->bhe", np.repeat(state, heads // few, 1), np.repeat(q[:, t], heads // q.shape[2], 1))
    return y.astype(np.float32), state.astype(np.float32)


def linear_attention_golden():
    golden = Golden("linear_attention")
    q, k, v = golden.input("q", normal(2, 4, 2, 3)), golden.input("k", normal(2, 4, 2, 3)), golden.input("v", normal(2, 4, 2, 5))
    state, keep = golden.input("state", normal(2, 2, 3, 5)), golden.input("keep", np.abs(normal(2, 4, 2, 1)))
    rows, beta, one_beta = golden.input("rows", np.abs(normal(2, 4, 1, 3))), golden.input("beta", normal(2, 4, 2, 1)), golden.input("one_beta", normal(2, 4, 1, 1))
    erase, many, few = golden.input("erase", normal(2, 4, 2, 3)), golden.input("many", normal(2, 4, 6, 3)), golden.input("few", normal(2, 4, 1, 3))
    golden.several("linear_attention %q, %k, %v", linear_attention(q, k, v))
    golden.several("linear_attention %q, %k, %v, %state, %keep", linear_attention(q, k, v, state, keep))
    golden.several("linear_attention %q, %k, %v, _, %rows, %beta", linear_attention(q, k, v, None, rows, beta))
    golden.several("linear_attention %many, %k, %v, %state, _, %one_beta, %erase", linear_attention(many, k, v, state, None, one_beta, erase))
    golden.several("linear_attention %few, %k, %v, _, %keep", linear_attention(few, k, v, None, keep))
    golden.write()


def quantize(x, scale, zero, dtype):
    """The quotient in the precision of x, as f16 too is computed with in f32."""
    range_ = np.iinfo(dtype)
    wide = np.float64 if x.dtype == np.float64 else np.float32
    quotient = np.nan_to_num(x.astype(wide) / np.asarray(scale, wide), nan=-INF, posinf=INF, neginf=-INF)
    return np.clip(np.rint(quotient) + np.asarray(zero, np.float64), range_.min, range_.max).astype(dtype)


def quantize_goldens():
    golden = Golden("quantize")
    x = golden.input("x", [-INF, -300, -2.5, -1.5, -0.5, 0, 0.5, 1.5, 2.5, 127.5, 1e30, INF])
    m = golden.input("m", [[1.25, -3.75, 2], [0.5, 100, -7]])
    h = golden.input("h", [0.75, -1.25, 60000], np.float16)
    d = golden.input("d", [0.5000000001, -1.4999999999, 1e300], np.float64)
    s, t = golden.input("s", 0.5), golden.input("t", [[0.5], [0.25]])
    zu, zi = golden.input("zu", 3, np.uint8), golden.input("zi", [1, -100, 7], np.int8)
    zw, zn = golden.input("zw", 1000, np.uint16), golden.input("zn", -4, np.int16)
    for text, array, scale, zero, dtype in (
            ("%x, _, _, to=u8", x, 1, 0, np.uint8), ("%x, _, _, to=i8", x, 1, 0, np.int8), ("%x, %s, %zu, to=u8", x, s, zu, np.uint8),
            ("%x, %s, %zw, to=u16", x, s, zw, np.uint16), ("%x, %s, %zn, to=i16", x, s, zn, np.int16),
            ("%m, %t, %zi, to=i8", m, t, zi, np.int8), ("%m, %t, _, to=u8", m, t, 0, np.uint8), ("%h, %s, %zu, to=u8", h, s, zu, np.uint8),
            ("%d, _, _, to=i8", d, 1, 0, np.int8)):
        golden.result(f"quantize {text}", quantize(array, scale, zero, dtype))
    n = golden.input("n", [NAN])
    golden.result("quantize %n, _, %zi, to=i8", np.full(3, -128, np.int8))
    golden.write()

    golden = Golden("dequantize")
    u = golden.input("u", [[0, 1, 127], [128, 200, 255]], np.uint8)
    i, w = golden.input("i", [-128, -1, 127], np.int8), golden.input("w", [-(2**31), 16777217, 5], np.int32)
    s, t = golden.input("s", 0.1), golden.input("t", [[0.5], [3]])
    zu, zi = golden.input("zu", [[128], [7]], np.uint8), golden.input("zi", -128, np.int8)
    for text, array, scale, zero in (("%u, %s", u, s, 0), ("%u, %t, %zu", u, t, zu), ("%i, %s, %zi", i, s, zi), ("%w, %s", w, s, 0),
                                     ("%i, %t", i, t, 0)):
        centered = array.astype(np.float32) - np.asarray(zero).astype(np.float32)
        golden.result(f"dequantize {text}", centered * scale, np.float32)
    golden.write()


def lookup_golden():
    golden = Golden("lookup")
    u = golden.input("u", [[0, 1, 15, 16, 63, 64, 127], [128, 129, 191, 192, 240, 254, 255]], np.uint8)
    i = golden.input("i", np.arange(-128, 128).reshape(1, 256), np.int8)
    one, none = golden.input("one", 200, np.uint8), golden.input("none", np.zeros((3, 0)), np.uint8)
    for x, array in (("u", u), ("i", i), ("one", one), ("none", none)):
        for to, dtype in (("u8", np.uint8), ("i8", np.int8)):
            table = ((np.arange(256) * 37 + 11) % 256).astype(np.uint8).view(dtype)
            golden.result(f"lookup %{x}, table=[{','.join(map(str, table))}], to={to}", table[array.view(np.uint8)], dtype)
    golden.write()


def byte_panels(w, width):
    """[k, n] -> [ceil(n/width), k/4, width*4]: four rows side by side."""
    p = panels(w, width)
    return p.reshape(p.shape[0], -1, 4, width).transpose(0, 1, 3, 2).reshape(p.shape[0], -1, 4 * width)


def byte_product_goldens():
    bytes_ = np.random.default_rng(5)
    any_u8 = lambda *shape: bytes_.integers(0, 256, shape).astype(np.uint8)
    any_i8 = lambda *shape: bytes_.integers(-128, 128, shape).astype(np.int8)
    golden = Golden("byte_products")
    u, i, w = golden.input("u", any_u8(3, 8), np.uint8), golden.input("i", any_i8(3, 8), np.int8), golden.input("w", any_i8(8, 5), np.int8)
    v, c = golden.input("v", any_u8(8, 5), np.uint8), golden.input("c", [-5, 1 << 20, 0, 7, -1], np.int32)
    p = golden.input("p", byte_panels(w, 2), np.int8)
    wide = lambda x: x.astype(np.int32)
    golden.result("matmul %u, %w", wide(u) @ wide(w))
    golden.result("matmul %i, %w", wide(i) @ wide(w))
    golden.result("matmul %i, %v", wide(i) @ wide(v))
    golden.result("matmul %u, %p, packed=2, n=5", wide(u) @ wide(w))
    golden.result("gemm %u, %v, %c", wide(u) @ wide(v) + c)
    golden.result("gemm %u, %p, %c, packed=2, n=5", wide(u) @ wide(w) + c)
    golden.write()

    golden = Golden("byte_convolutions")
    x, w = golden.input("x", any_u8(1, 4, 5, 4), np.uint8), golden.input("w", any_i8(3, 2, 4, 5), np.int8)
    bias, one = golden.input("bias", [3, -1000, 0, 1 << 24, 9], np.int32), golden.input("one", any_i8(2, 2, 1, 4), np.int8)
    p = golden.input("p", byte_panels(w.reshape(24, 5), 3), np.int8)
    first = lambda a: np.moveaxis(a, -1, 1)
    oihw = lambda a: a.transpose(3, 2, 0, 1)

    def expected(weights, outside, pads, **options):
        x_padded = np.pad(first(x).astype(np.int32), [(0, 0), (0, 0), (pads[0], pads[2]), (pads[1], pads[3])], constant_values=outside)
        return last(conv(x_padded, oihw(weights), **options))

    for outside in (0, 200):
        y = expected(w, outside, [1, 0, 1, 1], bias=bias, strides=[2, 1])
        text = f'layout="nhwc", strides=[2,1], pads=[1,0,1,1]{f", outside={outside}" if outside else ""}'
        golden.result(f"conv %x, %w, %bias, {text}", y, np.int32)
        golden.result(f"conv %x, %p, %bias, {text}, packed=3, kernel=[3,2], channels=5", y, np.int32)
    golden.result('conv %x, %one, layout="nhwc", pads=[1,1,1,1], outside=255, group=4', expected(one, 255, [1] * 4, group=4), np.int32)
    golden.write()


def main():
    unary_goldens()
    integer_goldens()
    parametric_goldens()
    clip_golden()
    cast_golden()
    binary_goldens()
    mod_golden()
    pow_golden()
    prelu_golden()
    where_golden()
    movement_goldens()
    slice_goldens()
    gather_goldens()
    product_goldens()
    conv_goldens()
    pool_goldens()
    reduce_goldens()
    norm_goldens()
    resize_golden()
    rnn_goldens()
    attention_golden()
    iota_golden()
    random_uniform_golden()
    top_k_golden()
    non_zero_golden()
    unique_golden()
    suppression_golden()
    tree_goldens()
    coupling_golden()
    grid_sample_golden()
    roi_goldens()
    window_goldens()
    linear_goldens()
    gather_nd_golden()
    reverse_golden()
    scatter_elements_golden()
    scatter_nd_golden()
    tensor_scatter_golden()
    scan_goldens()
    bit_cast_golden()
    linear_attention_golden()
    quantize_goldens()
    lookup_golden()
    byte_product_goldens()


if __name__ == "__main__":
    main()