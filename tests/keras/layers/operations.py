"""Operations called directly on tensors: keras.ops in Keras 3, TensorFlow's functions in Keras 2."""
import numpy as np

from forward import Tensor, softmax
from models import Arguments, Layer, T, graph, image
from table import case, reference

ERF = np.vectorize(__import__("math").erf)
UNARY = {  # keras.ops class, TensorFlow function, numpy
    "Absolute": ("math.abs", np.abs), "Negative": ("math.negative", np.negative), "Exp": ("math.exp", np.exp), "Tanh": ("math.tanh", np.tanh),
    "Sqrt": ("math.sqrt", lambda x: np.sqrt(np.abs(x))), "Square": ("math.square", np.square), "Sigmoid": ("math.sigmoid", lambda x: 1 / (1 + np.exp(-x))),
    "Relu": ("nn.relu", lambda x: np.maximum(x, 0)), "Relu6": ("nn.relu6", lambda x: np.clip(x, 0, 6)), "Silu": ("nn.silu", lambda x: x / (1 + np.exp(-x))),
    "Softplus": ("math.softplus", lambda x: np.log1p(np.exp(x))), "Sin": ("math.sin", np.sin), "Floor": ("math.floor", np.floor),
    "Sign": ("math.sign", np.sign), "Log1p": ("math.log1p", lambda x: np.log1p(x)), "Expm1": ("math.expm1", np.expm1),
    "Reciprocal": ("math.reciprocal", np.reciprocal), "Softsign": ("nn.softsign", lambda x: x / (1 + np.abs(x))), "Erf": ("math.erf", ERF),
    "Rsqrt": ("math.rsqrt", lambda x: 1 / np.sqrt(x)), "Log": ("math.log", np.log),
}
POSITIVE = {"Sqrt", "Rsqrt", "Log", "Log1p"}
BINARY = {
    "Add": ("__operators__.add", np.add), "Subtract": ("math.subtract", np.subtract), "Multiply": ("math.multiply", np.multiply),
    "TrueDivide": ("math.truediv", np.divide), "Maximum": ("math.maximum", np.maximum), "Minimum": ("math.minimum", np.minimum),
    "Greater": ("math.greater", np.greater), "LessEqual": ("math.less_equal", np.less_equal), "NotEqual": ("math.not_equal", np.not_equal),
    "FloorDivide": ("__operators__.floordiv", np.floor_divide), "Mod": ("math.floormod", np.mod),
}
REDUCE = {"Sum": ("math.reduce_sum", np.sum), "Mean": ("math.reduce_mean", np.mean), "Max": ("math.reduce_max", np.max), "Min": ("math.reduce_min", np.min),
          "Prod": ("math.reduce_prod", np.prod), "Var": ("math.reduce_variance", np.var), "Std": ("math.reduce_std", np.std)}


def value(v):
    if isinstance(v, dict):  # __numpy__
        return np.array(v["config"]["value"], v["config"]["dtype"])
    return v.value if isinstance(v, Tensor) else np.asarray(v) if isinstance(v, list) else v


def operation(name, tf=None):
    """Of both versions; the function gets the call and has its arguments in args, or by name."""
    return reference(f"ops.{name}", *([f"tf.{tf}"] if tf else []))


def given(call, position, *names, default=None):
    for name in names:
        if call.kwargs.get(name) is not None:
            return value(call.kwargs[name])
        if name in call.config and call.config[name] is not None:
            return call.config[name]
    first = call.args
    return value(first[position]) if position < len(first) else default


for name, (tf, function) in UNARY.items():
    operation(name, tf)(lambda call, f=function: f(call.inputs[0]))
for name, (tf, function) in BINARY.items():
    operation(name, tf)(lambda call, f=function: f(given(call, 0, "x"), given(call, 1, "y")))


reference("tf.math.add")(lambda call: given(call, 0, "x") + given(call, 1, "y"))


def axis_of(call, default=None):
    axis = given(call, 1, "axis", default=default)
    return tuple(axis) if isinstance(axis, (list, np.ndarray)) else axis


for name, (tf, function) in REDUCE.items():
    operation(name, tf)(lambda call, f=function: f(call.inputs[0], axis=axis_of(call), keepdims=bool(given(call, 2, "keepdims", default=False))))


@operation("Matmul", "linalg.matmul")
def matmul(call):
    a, b = given(call, 0, "a"), given(call, 1, "b")
    return np.matmul(a.swapaxes(-1, -2) if call.kwargs.get("transpose_a") else a, b.swapaxes(-1, -2) if call.kwargs.get("transpose_b") else b)


@operation("Concatenate", "concat")
def concatenate(call):
    return np.concatenate(call.inputs, given(call, 1, "axis"))


@operation("Stack", "stack")
def stack(call):
    return np.stack(call.inputs, given(call, 1, "axis"))


@operation("Reshape", "reshape")
def reshape(call):
    shape = list(call.config.get("newshape") or [value(v) for v in call.kwargs["shape"]])
    return call.inputs[0].reshape(len(call.inputs[0]), *shape[1:])


@operation("Transpose", "transpose")
def transpose(call):
    return call.inputs[0].transpose(given(call, 1, "axes", "perm"))


@operation("ExpandDims", "expand_dims")
def expand_dims(call):
    return np.expand_dims(call.inputs[0], given(call, 1, "axis"))


@operation("Squeeze", "compat.v1.squeeze")
def squeeze(call):
    axis = axis_of(call)
    return np.squeeze(call.inputs[0], axis)


@operation("Softmax", "nn.softmax")
def softmax_of(call):
    return softmax(call.inputs[0], given(call, 1, "axis", default=-1))


@operation("Logsumexp", "math.reduce_logsumexp")
def log_sum_exp(call):
    return np.log(np.exp(call.inputs[0]).sum(axis=axis_of(call)))


@operation("Clip", "clip_by_value")
def clip(call):
    return np.clip(call.inputs[0], given(call, 1, "x_min", "clip_value_min"), given(call, 2, "x_max", "clip_value_max"))


@operation("Cast", "cast")
def cast(call):
    return call.inputs[0].astype(given(call, 1, "dtype"))


@operation("Argmax", "math.argmax")
def argmax(call):
    return call.inputs[0].argmax(axis_of(call))


@operation("OneHot", "one_hot")
def one_hot(call):
    return (call.inputs[0].astype(int)[..., None] == np.arange(given(call, 1, "num_classes", "depth"))).astype(float)


@operation("Einsum", "einsum")
def einsum(call):
    return np.einsum(call.config.get("subscripts") or call.kwargs["equation"], *call.inputs)


@operation("Where", "where")
def where(call):
    return np.where(given(call, 0, "condition"), given(call, 1, "x"), given(call, 2, "y"))


@operation("Repeat", "repeat")
def repeat(call):
    return np.repeat(call.inputs[0], given(call, 1, "repeats"), given(call, 2, "axis"))


@operation("Tile", "tile")
def tile(call):
    return np.tile(call.inputs[0], given(call, 1, "repeats", "multiples"))


@operation("Pad", "pad")
def pad(call):
    mode = given(call, 2, "mode", default="constant").lower()
    return np.pad(call.inputs[0], given(call, 1, "pad_width", "paddings"), mode)


@operation("Take", "compat.v1.gather")
def take(call):
    return np.take(given(call, 0, "params"), np.asarray(given(call, 1, "indices")).astype(int), given(call, 2, "axis"))


@operation("Split", "split")
def split(call):
    parts = given(call, 1, "indices_or_sections", "num_or_size_splits")
    if call.major < 3 and not isinstance(parts, int):
        parts = np.cumsum(parts)[:-1]
    return np.split(call.inputs[0], parts, given(call, 2, "axis"))


@operation("Tril")
def tril(call):
    return np.tril(call.inputs[0], call.config.get("k", 0))


@operation("Flip")
def flip(call):
    return np.flip(call.inputs[0], call.config["axis"])


@reference("tf.compat.v1.shape")
def shape(call):
    return np.array(call.inputs[0].shape)


def indices(key):
    if key is None:
        return None
    if isinstance(key, dict):
        if key.get("class_name") == "__ellipsis__":
            return Ellipsis
        key = key.get("config", key)
        return slice(key["start"], key["stop"], key["step"])
    return tuple(map(indices, key)) if isinstance(key, list) else key


@reference("ops.GetItem", "tf.getitem")
def get_item(call):
    return call.inputs[0][indices(call.kwargs["slice_spec"] if call.major < 3 else call.args[1])]


def op(cls, name, args, kwargs=None, module="keras.src.ops.numpy", **config):
    return Layer(cls, {"name": name, **config}, [], [Arguments(args, kwargs or {})], None, module)


def tf(function, name, first, **kwargs):
    cls = "SlicingOpLambda" if function == "__operators__.getitem" else "TFOpLambda"
    return Layer(cls, {"name": name, "function": function}, [], [Arguments([first], kwargs)])


X, Y = image(3, 4, name="x"), image(3, 4, name="y")


def cases(name, three, two, inputs=None, tensors=(X,), outputs=("z",)):
    """The operation as Keras 3 and as Keras 2 writes it, called z."""
    for version, layers in ((3, three), (2, two)):
        if layers:
            layers = layers if isinstance(layers, list) else [layers]
            case(f"op_{name}_{version}", model=graph(list(outputs), *tensors, *layers), versions=(version,), inputs=inputs)


for name, (function, _) in UNARY.items():
    cases(name, op(name, "z", [T("x")]), tf(function, "z", T("x")),
          inputs={"x": np.random.default_rng(2).random((3, 3, 4), np.float32) + 0.5} if name in POSITIVE else None)
for name, (function, _) in BINARY.items():
    cases(name, op(name, "z", [T("x"), T("y")]), tf(function, "z", T("x"), y=T("y")), tensors=(X, Y))
    cases(f"{name}_number", op(name, "z", [T("x"), 0.5]), tf(function, "z", T("x"), y=0.5))
cases("number_first", op("Subtract", "z", [1, T("x")]), tf("math.subtract", "z", 1.0, y=T("x")))
cases("list", op("Add", "z", [T("x"), {"class_name": "__numpy__", "config": {"value": [1.0, 2.0, 3.0, 4.5], "dtype": "float32"}}]),
      tf("math.add", "z", T("x"), y=[1.0, 2.0, 3.0, 4.5]))
WHOLE = image(3, 4, name="x", dtype="int32")
cases("whole_plus_fraction", op("Add", "z", [T("x"), 0.5]), None, tensors=(WHOLE,), inputs={"x": 9})
cases("whole_divided", op("TrueDivide", "z", [T("x"), 4]), tf("math.truediv", "z", T("x"), y=4), tensors=(WHOLE,), inputs={"x": 9})
cases("whole_floor", op("FloorDivide", "z", [T("x"), 4]), tf("__operators__.floordiv", "z", T("x"), y=4), tensors=(WHOLE,), inputs={"x": 9})
for name, (function, _) in REDUCE.items():
    cases(name, op(name, "z", [T("x")], axis=1, keepdims=False), tf(function, "z", T("x"), axis=1))
    cases(f"{name}_axes", op(name, "z", [T("x")], axis=[1, -1], keepdims=True), tf(function, "z", T("x"), axis=[1, 2], keepdims=True))
cases("sum_all", op("Sum", "z", [T("x")], axis=None, keepdims=False), tf("math.reduce_sum", "z", T("x")))
cases("matmul", op("Matmul", "z", [T("x"), T("t")]), tf("linalg.matmul", "z", T("x"), b=T("y"), transpose_b=True),
      tensors=(X, Y, image(4, 5, name="t")))
cases("concat", op("Concatenate", "z", [[T("x"), T("y")]], axis=1), tf("concat", "z", [T("x"), T("y")], axis=1), tensors=(X, Y))
cases("stack", op("Stack", "z", [[T("x"), T("y")]], axis=-1), tf("stack", "z", [T("x"), T("y")], axis=1), tensors=(X, Y))
cases("reshape", op("Reshape", "z", [T("x")], newshape=[-1, 2, 6]), tf("reshape", "z", T("x"), shape=[-1, 6, 2]))
cases("reshape_shape", None, [tf("compat.v1.shape", "s", T("x")), tf("__operators__.getitem", "n", T("s"), slice_spec=0),
                              tf("reshape", "z", T("x"), shape=[T("n"), 12])])
cases("transpose", op("Transpose", "z", [T("x")], axes=[0, 2, 1]), tf("transpose", "z", T("x"), perm=[0, 2, 1]))
cases("expand", op("ExpandDims", "z", [T("x")], axis=-1), tf("expand_dims", "z", T("x"), axis=2))
cases("squeeze", op("Squeeze", "z", [T("x")], axis=2), tf("compat.v1.squeeze", "z", T("x"), axis=[2]), tensors=(image(3, 1, 4, name="x"),))
cases("softmax", op("Softmax", "z", [T("x")], axis=1), tf("nn.softmax", "z", T("x"), axis=-1))
cases("logsumexp", op("Logsumexp", "z", [T("x")], axis=1), tf("math.reduce_logsumexp", "z", T("x"), axis=1))
cases("clip", op("Clip", "z", [T("x")], x_min=-0.5, x_max=0.25), tf("clip_by_value", "z", T("x"), clip_value_min=-0.5, clip_value_max=0.25))
cases("cast", [op("Cast", "c", [T("x")], dtype="int32"), op("Multiply", "z", [T("c"), 3])], [tf("cast", "c", T("x"), dtype="int64"),
                                                                                           tf("math.multiply", "z", T("c"), y=2)])
cases("argmax", op("Argmax", "z", [T("x")], axis=1), tf("math.argmax", "z", T("x"), axis=2))
cases("one_hot", op("OneHot", "z", [T("x")], num_classes=7, axis=-1), tf("one_hot", "z", T("x"), depth=7), tensors=(WHOLE,), inputs={"x": 9})
cases("einsum", op("Einsum", "z", [T("x"), T("y")], subscripts="bij,bkj->bik"), None, tensors=(X, Y))
cases("where", [op("Greater", "c", [T("x"), T("y")]), op("Where", "z", [T("c"), T("x"), 0.0])],
      [tf("math.greater", "c", T("x"), y=T("y")), tf("where", "z", T("c"), x=T("x"), y=T("y"))], tensors=(X, Y))
cases("repeat", op("Repeat", "z", [T("x")], repeats=3, axis=1), tf("repeat", "z", T("x"), repeats=2, axis=2))
cases("tile", op("Tile", "z", [T("x")], repeats=[1, 2, 3]), tf("tile", "z", T("x"), multiples=[1, 2, 1]))
cases("pad", op("Pad", "z", [T("x")], pad_width=[[0, 0], [1, 2], [0, 1]], mode="constant"), tf("pad", "z", T("x"), paddings=[[0, 0], [1, 2], [0, 3]], mode="REFLECT"))
cases("take", op("Take", "z", [T("x"), [2, 0, -1]], axis=1), tf("compat.v1.gather", "z", T("x"), indices=[2, 0], axis=1))
cases("split", op("Split", "z", [T("x")], indices_or_sections=2, axis=2), tf("split", "z", T("x"), num_or_size_splits=[1, 3], axis=2), outputs=("z", "z::1"))
cases("split_at", op("Split", "z", [T("x")], indices_or_sections=[1, 3], axis=2), None, outputs=("z", "z::1", "z::2"))
cases("tril", op("Tril", "z", [T("x")], k=1), None)
cases("flip", op("Flip", "z", [T("x")], axis=1), None)


def part(start=None, stop=None, step=None):
    return {"class_name": "__slice__", "config": {"start": start, "stop": stop, "step": step}}


for name, key in {"one": [part(), 1], "last": [part(), -1], "parts": [part(), part(1), part(None, -1)], "step": [part(), part(None, None, 2), part(3, 0, -2)],
                  "back": [part(), part(None, None, -1)], "dots": [{"class_name": "__ellipsis__", "config": {}}, 0], "fresh": [part(), None, 1],
                  "beyond": [part(), part(-9, 99)], "samples": part(0, 2)}.items():
    cases(f"item_{name}", op("GetItem", "z", [T("x"), key]),
          tf("__operators__.getitem", "z", T("x"), slice_spec=[k["config"] if isinstance(k, dict) and k["class_name"] == "__slice__" else k
                                                              for k in (key if isinstance(key, list) else [key])]))
case("op_unknown", model=graph(["z"], X, op("Bartlett", "z", [T("x")])), versions=(3,), error="this operation on tensors is not supported")
