#!/usr/bin/python3
"""A plain numpy forward pass of a Keras model: the oracle of tenon's Keras tests, written apart from the importer.

Usage: forward.py MODEL INPUT OUTPUT

MODEL is a legacy .h5, a .keras archive or a .json with its .weights.h5 or .h5 beside it. INPUT is a .npy (one input) or
an .npz keyed by input name; OUTPUT likewise, keyed by output layer name. Everything is computed in float64.
"""
import io
import json
import math
import pathlib
import re
import sys
import zipfile

import h5py
import numpy as np

# ---- reading the file: (configuration, Keras major version, function layer -> list of arrays in creation order) ----


def text(value):
    return value.decode() if isinstance(value, bytes) else value


def attribute(group, name):
    """A list attribute; over 64,512 bytes Keras splits it into name0, name1, ..."""
    if name in group.attrs:
        return list(group.attrs[name])
    parts = []
    while f"{name}{len(parts)}" in group.attrs:
        parts.append(group.attrs[f"{name}{len(parts)}"])
    return [x for part in parts for x in part]


def is_model(layer):
    return layer["class_name"] in ("Sequential", "Functional", "Model")


def layers_of(model):
    """The layers that are saved: a Sequential does not count its InputLayer."""
    config = model["config"]
    layers = config if isinstance(config, list) else config["layers"]
    return [l for l in layers if model["class_name"] != "Sequential" or l["class_name"] != "InputLayer"]


def pick(group, names, name):
    """The arrays of the layer `name` among those of a nested model."""
    return [np.array(group[n], np.float64) for n in names if f"/{name}/" in "/" + n]


def legacy_weights(group):
    def nested(sub, names, layers):
        return {l["config"]["name"]: nested(sub, names, layers_of(l)) if is_model(l) else pick(sub, names, l["config"]["name"])
                for l in layers}

    def find(layers):
        found = {}
        for layer in layers:
            name = layer["config"]["name"]
            if name not in group:
                continue
            names = [text(n) for n in attribute(group[name], "weight_names")]
            found[name] = (nested(group[name], names, layers_of(layer)) if is_model(layer)
                           else [np.array(group[name][n], np.float64) for n in names])
        return found
    return find


def snake_case(name):
    name = re.sub(r"\W+", "", name)
    return re.sub("([a-z])([A-Z])", r"\1_\2", re.sub("(.)([A-Z][a-z]+)", r"\1_\2", name)).lower()


def counted_weights(file):
    """Keras 3: layers/<class>_<count>/vars/<i>, counted in the order of the layers."""
    def find(layers, group=file):
        step = 1 if "layers" in group else 2  # Keras 2.13 counts every layer twice
        top = group["layers"] if "layers" in group else group["_layer_checkpoint_dependencies"]
        seen, found = {}, {}
        for layer in layers:
            key = snake_case(layer["class_name"])
            count = seen.get(key, 0)
            seen[key] = count + step
            path = f"{key}_{count}" if count else key
            if is_model(layer):
                found[layer["config"]["name"]] = find(layers_of(layer), top[path])
            else:
                parts = [f"{path}/{part}vars" for part in ("", "cell/", "forward_layer/cell/", "backward_layer/cell/")]
                groups = [top[part] for part in parts if part in top]
                if groups:
                    found[layer["config"]["name"]] = [np.array(g[str(i)], np.float64) for g in groups for i in range(len(g))]
        return found
    return find


def weights_of(file):
    if "model_weights" in file:
        return legacy_weights(file["model_weights"])
    return legacy_weights(file) if "layer_names" in file.attrs or "layer_names0" in file.attrs else counted_weights(file)


def load(path):
    if path.suffix == ".keras":
        archive = zipfile.ZipFile(path)
        version = json.loads(archive.read("metadata.json"))["keras_version"]
        file = h5py.File(io.BytesIO(archive.read("model.weights.h5")), "r")
        return json.loads(archive.read("config.json")), int(version[0]), counted_weights(file)
    if path.suffix == ".json":
        config = json.loads(path.read_text())
        beside = [path.with_suffix(s) for s in (".weights.h5", ".h5") if path.with_suffix(s).exists()]
        version = config.get("keras_version", "3" if "module" in config else "2")
        return config, int(version[0]), weights_of(h5py.File(beside[0], "r"))
    file = h5py.File(path, "r")
    return json.loads(file.attrs["model_config"]), int(text(file.attrs["keras_version"])[0]), weights_of(file)


# ---- activations ----


def softmax(x, axis=-1):
    e = np.exp(x - x.max(axis=axis, keepdims=True))
    return e / e.sum(axis=axis, keepdims=True)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def elu(x, alpha=1.0):
    return np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0)))


def relu(x, max_value=None, negative_slope=0.0, threshold=0.0):
    y = np.where(x >= threshold, x, negative_slope * (x - threshold))
    return y if max_value is None else np.minimum(y, max_value)


ACTIVATIONS = {
    "linear": lambda x: x,
    "relu": relu,
    "relu6": lambda x: relu(x, 6.0),
    "softmax": softmax,
    "sigmoid": sigmoid,
    "tanh": np.tanh,
    "elu": elu,
    "selu": lambda x: 1.0507009873554805 * elu(x, 1.6732632423543772),
    "swish": lambda x: x * sigmoid(x),
    "silu": lambda x: x * sigmoid(x),
    "gelu": lambda x: x * 0.5 * (1 + np.vectorize(math.erf)(x / math.sqrt(2))),
    "softplus": lambda x: np.logaddexp(x, 0),
    "softsign": lambda x: x / (1 + np.abs(x)),
    "exponential": np.exp,
    "leaky_relu": lambda x: relu(x, None, 0.2),
    "mish": lambda x: x * np.tanh(np.logaddexp(x, 0)),
    "log_softmax": lambda x: np.log(softmax(x)),
}


def activate(name, x, major):
    if isinstance(name, dict):
        name = name["config"] if isinstance(name["config"], str) else name["class_name"]
    if name in ("hard_sigmoid",):
        return np.clip(0.2 * x + 0.5, 0, 1) if major < 3 else relu(x + 3, 6.0) / 6
    if name in ("hard_silu", "hard_swish"):
        return x * relu(x + 3, 6.0) / 6
    return ACTIVATIONS[name or "linear"](x)


# ---- layers: function(config, weights, inputs, major version) -> output; images are NHWC inside ----


def pair(value):
    return [value, value] if isinstance(value, int) else list(value)


def same_padding(size, kernel, stride, dilation):
    """TensorFlow's rule: ceil(size / stride) results, the odd element of padding at the end."""
    total = max((-(-size // stride) - 1) * stride + (kernel - 1) * dilation + 1 - size, 0)
    return total // 2, total - total // 2


def windows(x, kernel, strides, dilation, padding, fill):
    """[N][H][W][C] -> [N][oh][ow][C][kh][kw]"""
    pads = [(0, 0), (0, 0)]
    if padding == "same":
        pads = [same_padding(x.shape[1 + i], kernel[i], strides[i], dilation[i]) for i in range(2)]
    x = np.pad(x, [(0, 0), *pads, (0, 0)], constant_values=fill)
    span = [(k - 1) * d + 1 for k, d in zip(kernel, dilation)]
    view = np.lib.stride_tricks.sliding_window_view(x, span, axis=(1, 2))
    return view[:, ::strides[0], ::strides[1], :, ::dilation[0], ::dilation[1]]


def nhwc(layer):
    """Runs a layer that thinks in NHWC on a channels_first one."""
    def run(config, weights, inputs, major):
        if config.get("data_format") != "channels_first":
            return layer(config, weights, inputs, major)
        y = layer(config, weights, [np.moveaxis(x, 1, -1) for x in inputs], major)
        return np.moveaxis(y, -1, 1)
    return run


def biased(config, y, weights):
    return y + weights[-1] if config.get("use_bias", True) else y


def activated(layer):
    """The activation comes last, in the layer's own channel order: softmax takes the last axis."""
    return lambda config, weights, inputs, major: activate(config.get("activation"), layer(config, weights, inputs, major), major)


def conv2d(config, weights, inputs, major):
    kernel, groups = weights[0], config.get("groups", 1) or 1
    taken = windows(inputs[0], kernel.shape[:2], pair(config.get("strides", 1)), pair(config.get("dilation_rate", 1)),
                    config.get("padding", "valid"), 0)
    parts = zip(np.split(taken, groups, axis=3), np.split(kernel, groups, axis=3))
    y = np.concatenate([np.einsum("nhwcij,ijco->nhwo", t, k, optimize=True) for t, k in parts], axis=-1)
    return biased(config, y, weights)


def conv1d(config, weights, inputs, major):
    """As an image of height 1; causal padding comes before the sequence."""
    first = lambda key: pair(config.get(key, 1))[0]
    x, steps = inputs[0], first("dilation_rate")
    two = {**config, "strides": [1, first("strides")], "dilation_rate": [1, steps]}
    if config.get("padding") == "causal":
        x = np.pad(x, [(0, 0), ((len(weights[0]) - 1) * steps, 0), (0, 0)])
        two["padding"] = "valid"
    return activate(config.get("activation"), conv2d(two, [weights[0][None], *weights[1:]], [x[:, None]], major)[:, 0], major)


def depthwise(x, kernel, config):
    taken = windows(x, kernel.shape[:2], pair(config.get("strides", 1)), pair(config.get("dilation_rate", 1)),
                    config.get("padding", "valid"), 0)
    y = np.einsum("nhwcij,ijcm->nhwcm", taken, kernel, optimize=True)
    return y.reshape(*y.shape[:3], -1)


def conv2d_transpose(config, weights, inputs, major):
    """Scatters: y[i*stride + a] += x[i] * kernel[a], then crops to Keras' output size."""
    x, kernel = inputs[0], weights[0]
    strides, dilation = pair(config.get("strides", 1)), pair(config.get("dilation_rate", 1))
    extra = config.get("output_padding")
    extra = [None, None] if extra is None else pair(extra)
    full, sizes, starts = [], [], []
    for i in range(2):
        span = (kernel.shape[i] - 1) * dilation[i] + 1
        n, same = x.shape[1 + i], config.get("padding", "valid") == "same"
        full.append((n - 1) * strides[i] + span)
        if extra[i] is not None:
            sizes.append(full[i] - (2 * (span // 2) if same else 0) + extra[i])
        else:
            sizes.append(n * strides[i] + (0 if same else max(span - strides[i], 0)))
        starts.append(max(full[i] - sizes[i], 0) // 2 if same else 0)
    y = np.zeros((x.shape[0], *[f + s + 8 for f, s in zip(full, strides)], kernel.shape[2]))
    for a in range(kernel.shape[0]):
        for b in range(kernel.shape[1]):
            rows = slice(a * dilation[0], a * dilation[0] + (x.shape[1] - 1) * strides[0] + 1, strides[0])
            cols = slice(b * dilation[1], b * dilation[1] + (x.shape[2] - 1) * strides[1] + 1, strides[1])
            y[:, rows, cols] += x @ kernel[a, b].T
    y = y[:, starts[0]:starts[0] + sizes[0], starts[1]:starts[1] + sizes[1]]
    return biased(config, y, weights)


def separable(config, weights, inputs, major):
    return biased(config, depthwise(inputs[0], weights[0], config) @ weights[1][0, 0], weights)


def pool2d(reduce, fill):
    def run(config, weights, inputs, major):
        size = pair(config.get("pool_size", 2))
        strides = pair(config.get("strides") or size)
        return reduce(windows(inputs[0], size, strides, [1, 1], config.get("padding", "valid"), fill), axis=(4, 5))
    return nhwc(run)


def global_pool(reduce):
    def run(config, weights, inputs, major):
        x = inputs[0]
        axes = (1, 2) if config.get("data_format") != "channels_first" else (2, 3)
        return reduce(x, axis=axes, keepdims=bool(config.get("keepdims", False)))
    return run


def batch_normalization(config, weights, inputs, major):
    x, rest = inputs[0], list(weights)
    axis = config.get("axis", -1)
    axis = axis[0] if isinstance(axis, list) else axis
    shape = [1] * x.ndim
    shape[axis] = x.shape[axis]
    gamma = rest.pop(0) if config.get("scale", True) else np.ones(shape[axis])
    beta = rest.pop(0) if config.get("center", True) else np.zeros(shape[axis])
    mean, variance = rest
    y = (x - mean.reshape(shape)) / np.sqrt(variance.reshape(shape) + config.get("epsilon", 1e-3))
    return y * gamma.reshape(shape) + beta.reshape(shape)


def dense(config, weights, inputs, major):
    return biased(config, inputs[0] @ weights[0], weights)


def flatten(config, weights, inputs, major):
    x = inputs[0]
    if config.get("data_format") == "channels_first" and x.ndim > 2:
        x = np.moveaxis(x, 1, -1)
    return x.reshape(len(x), -1)


def softmax_layer(config, weights, inputs, major):
    axis = config.get("axis", -1)
    return softmax(inputs[0], tuple(axis) if isinstance(axis, list) else axis)


def leaky_relu(config, weights, inputs, major):
    return relu(inputs[0], None, config.get("negative_slope", config.get("alpha", 0.3)))


def relu_layer(config, weights, inputs, major):
    return relu(inputs[0], config.get("max_value"), config.get("negative_slope") or 0.0, config.get("threshold") or 0.0)


def padding_pairs(value):
    value = pair(value)
    return [pair(v) for v in value]


@nhwc
def zero_padding(config, weights, inputs, major):
    return np.pad(inputs[0], [(0, 0), *padding_pairs(config.get("padding", 1)), (0, 0)])


@nhwc
def cropping(config, weights, inputs, major):
    (top, bottom), (left, right) = padding_pairs(config.get("cropping", 0))
    x = inputs[0]
    return x[:, top:x.shape[1] - bottom, left:x.shape[2] - right]


@nhwc
def upsampling(config, weights, inputs, major):
    rows, cols = pair(config.get("size", 2))
    x = inputs[0]
    if config.get("interpolation", "nearest") == "nearest":
        return x.repeat(rows, axis=1).repeat(cols, axis=2)
    for axis, scale in ((1, rows), (2, cols)):  # half-pixel centres, edges repeated
        n = x.shape[axis]
        at = np.clip((np.arange(n * scale) + 0.5) / scale - 0.5, 0, n - 1)
        low = np.floor(at).astype(int)
        high = np.minimum(low + 1, n - 1)
        part = (at - low).reshape([-1 if i == axis else 1 for i in range(4)])
        x = x.take(low, axis) * (1 - part) + x.take(high, axis) * part
    return x


def rescaling(config, weights, inputs, major):
    return inputs[0] * np.asarray(config.get("scale", 1.0)) + np.asarray(config.get("offset", 0.0))


def reduced(operation):
    def run(config, weights, inputs, major):
        rank = max(x.ndim for x in inputs)  # lower ranks get axes behind the batch
        wide = [x.reshape(len(x), *[1] * (rank - x.ndim), *x.shape[1:]) for x in inputs]
        y = wide[0]
        for x in wide[1:]:
            y = operation(y, x)
        return y
    return run


def recurrent(class_name, config, weights, x, major, backwards):
    """All steps of one direction, in the order in which they are made."""
    units, steps = config["units"], x[:, ::-1] if backwards else x
    kernel, inner, *rest = weights
    bias = rest[0] if rest else np.zeros(kernel.shape[1])
    split = lambda a: [a[..., i:i + units] for i in range(0, a.shape[-1], units)]
    gate = lambda a: activate(config.get("recurrent_activation"), a, major)
    act = lambda a: activate(config.get("activation"), a, major)
    h, c, made = np.zeros((len(x), units)), np.zeros((len(x), units)), []
    for t in range(x.shape[1]):
        if class_name == "SimpleRNN":
            h = act(steps[:, t] @ kernel + bias + h @ inner)
        elif class_name == "LSTM":
            i, f, candidate, o = split(steps[:, t] @ kernel + h @ inner + bias)
            c = gate(f) * c + gate(i) * act(candidate)
            h = gate(o) * act(c)
        else:
            after = config.get("reset_after", False)
            xz, xr, xh = split(steps[:, t] @ kernel + (bias[0] if after and rest else bias))
            hz, hr, hh = split(h @ inner + (bias[1] if after and rest else 0))
            z, r = gate(xz + hz), gate(xr + hr)
            candidate = act(xh + (r * hh if after else (r * h) @ inner[:, 2 * units:]))
            h = z * h + (1 - z) * candidate
        made.append(h)
    return np.stack(made, 1)


def recurrent_layer(class_name):
    def run(config, weights, inputs, major):
        y = recurrent(class_name, config, weights, inputs[0], major, config.get("go_backwards", False))
        return y if config.get("return_sequences") else y[:, -1]
    return run


def bidirectional(config, weights, inputs, major):
    inner, half = config["layer"], len(weights) // 2
    other = config.get("backward_layer") or inner
    ahead = recurrent(inner["class_name"], inner["config"], weights[:half], inputs[0], major, False)
    back = recurrent(other["class_name"], other["config"], weights[half:], inputs[0], major, True)
    ahead, back = (ahead, back[:, ::-1]) if inner["config"].get("return_sequences") else (ahead[:, -1], back[:, -1])
    return {"concat": lambda: np.concatenate([ahead, back], -1), "sum": lambda: ahead + back, "mul": lambda: ahead * back,
            "ave": lambda: (ahead + back) / 2}[config["merge_mode"]]()


identity = lambda config, weights, inputs, major: inputs[0]

LAYERS = {
    "Activation": lambda c, w, i, major: activate(c.get("activation"), i[0], major),
    "ActivityRegularization": identity,
    "Add": reduced(np.add),
    "AlphaDropout": identity,
    "Average": lambda c, w, i, major: reduced(np.add)(c, w, i, major) / len(i),
    "AveragePooling2D": pool2d(np.nanmean, np.nan),
    "BatchNormalization": batch_normalization,
    "Bidirectional": bidirectional,
    "Concatenate": lambda c, w, i, major: np.concatenate(i, axis=c.get("axis", -1)),
    "Conv1D": conv1d,
    "Conv2D": activated(nhwc(conv2d)),
    "Conv2DTranspose": activated(nhwc(conv2d_transpose)),
    "Cropping2D": cropping,
    "Dense": activated(dense),
    "DepthwiseConv2D": activated(nhwc(lambda c, w, i, major: biased(c, depthwise(i[0], w[0], c), w))),
    "Dropout": identity,
    "ELU": lambda c, w, i, major: elu(i[0], c.get("alpha", 1.0)),
    "Flatten": flatten,
    "GRU": recurrent_layer("GRU"),
    "GaussianDropout": identity,
    "GaussianNoise": identity,
    "GlobalAveragePooling2D": global_pool(np.mean),
    "GlobalMaxPooling2D": global_pool(np.max),
    "Identity": identity,
    "InputLayer": identity,
    "LSTM": recurrent_layer("LSTM"),
    "LeakyReLU": leaky_relu,
    "MaxPooling2D": pool2d(np.max, -np.inf),
    "Maximum": reduced(np.maximum),
    "Minimum": reduced(np.minimum),
    "Multiply": reduced(np.multiply),
    "PReLU": lambda c, w, i, major: np.where(i[0] > 0, i[0], w[0] * i[0]),
    "Permute": lambda c, w, i, major: i[0].transpose(0, *c["dims"]),
    "ReLU": relu_layer,
    "Rescaling": rescaling,
    "Reshape": lambda c, w, i, major: i[0].reshape(len(i[0]), *c["target_shape"]),
    "SeparableConv2D": activated(nhwc(separable)),
    "SimpleRNN": recurrent_layer("SimpleRNN"),
    "Softmax": softmax_layer,
    "SpatialDropout2D": identity,
    "Subtract": reduced(np.subtract),
    "UpSampling2D": upsampling,
    "ZeroPadding2D": zero_padding,
}


# ---- the graph ----


class Tensor:
    """An array, and the mask of its steps that comes along with it (None: all count)."""

    def __init__(self, value, mask=None):
        self.value, self.mask = value, mask


class Call:
    """What a layer with arguments beyond its inputs sees: REFERENCES[class](call) gives an array or a list of them."""

    def __init__(self, config, weights, args, kwargs, major):
        self.config, self.weights, self.args, self.kwargs, self.major = config, weights, args, kwargs, major
        tensors = list(flat(args)) or list(flat(kwargs))
        self.inputs, self.masks = [t.value for t in tensors], [t.mask for t in tensors]
        self.mask = None
        given = kwargs.get("mask")
        for i, mask in enumerate(given if isinstance(given, list) else [given]):
            if isinstance(mask, Tensor):
                self.masks[i] = mask.value

    def argument(self, position, name, default=None):
        """An argument by name or position."""
        if self.kwargs.get(name) is not None:
            return self.kwargs[name]
        return self.args[position] if position < len(self.args) and self.args[position] is not None else default


STATES = {}  # what stateful layers keep: name -> arrays
REFERENCES = {}  # class -> function of a Call; tests/keras/layers/ adds its own
PASSING = {"Activation", "ActivityRegularization", "BatchNormalization", "Dense", "Dropout", "ELU", "Identity", "LayerNormalization",
           "LeakyReLU", "PReLU", "ReLU", "Softmax", "SpatialDropout1D", "Rescaling"}  # hand the mask of their input on


def flat(value):
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, (list, dict)):
        for item in value.values() if isinstance(value, dict) else value:
            yield from flat(item)


def history(value):
    """(layer, node, tensor) if that is a tensor, as Keras 2 or Keras 3 writes it."""
    if isinstance(value, dict) and value.get("class_name") == "__keras_tensor__":
        return tuple(value["config"]["keras_history"])
    if isinstance(value, list) and len(value) > 2 and isinstance(value[0], str) and value[0] != "_CONSTANT_VALUE":
        return tuple(value[:3])
    return None


def resolve(value, lookup):
    if history(value):
        return lookup(history(value))
    if isinstance(value, list):
        if value and value[0] == "_CONSTANT_VALUE":
            return value[2]
        return [resolve(v, lookup) for v in value]
    if isinstance(value, dict):
        return {k: resolve(v, lookup) for k, v in value.items()}
    return value


def arguments(node):
    """The positional and the named arguments of a call."""
    if isinstance(node, dict):
        return node["args"], node["kwargs"]
    first = node if isinstance(node[0], str) else node[0]
    return [node[0] if len(node) == 1 and not isinstance(node[0], str) else node], first[3] if len(first) > 3 else {}


def tensors_in(value):
    if history(value):
        return [history(value)]
    if isinstance(value, (list, dict)):
        return [t for v in (value.values() if isinstance(value, dict) else value) for t in tensors_in(v)]
    return []


def triples(value):
    return [tuple(value)] if value and isinstance(value[0], str) else [tuple(t) for t in value]


def operation(layer):
    """The name under which REFERENCES has an operation on tensors; None: it is a layer."""
    if ".ops." in (layer.get("module") or ""):
        return "ops." + layer["class_name"]
    if layer["class_name"] == "TFOpLambda":
        return "tf." + layer["config"]["function"]
    return "tf.getitem" if layer["class_name"] == "SlicingOpLambda" else None


def run_call(layer, weights, args, kwargs, major):
    """The outputs of one call of a layer, as a list of Tensors."""
    call = Call({**layer["config"], "_class": layer["class_name"]}, weights, args, kwargs, major)
    name = operation(layer) or layer["class_name"]
    if name in REFERENCES:
        y = REFERENCES[name](call)
    else:
        y = LAYERS[name](call.config, weights, call.inputs, major)
    if name in PASSING:
        call.mask = call.masks[0]
    return [Tensor(v, None if i else call.mask) for i, v in enumerate(y if isinstance(y, (list, tuple)) else [y])]


def apply(layer, weights, args, kwargs, major):
    name = layer["config"].get("name") or layer.get("name")
    mine = weights.get(name, []) if weights else []
    if is_model(layer):
        return list(run_model(layer, mine, list(flat(args)), major).values())
    return run_call(layer, mine, args, kwargs, major)


def sequential(model, weights, inputs, major):
    x = inputs[0]
    for layer in layers_of(model):
        x = apply(layer, weights, [x], {}, major)[0]
    return {layers_of(model)[-1]["config"]["name"]: x}


def functional(model, weights, inputs, major):
    """Runs whatever has its inputs ready until nothing is left."""
    config = model["config"]
    values = {source: x for source, x in zip(triples(config["input_layers"]), inputs)}
    pending = [(layer, i, *arguments(node)) for layer in config["layers"] for i, node in enumerate(layer.get("inbound_nodes", []))]
    while pending:
        ready = [p for p in pending if all(t in values for t in tensors_in([p[2], p[3]]))]
        if not ready:
            sys.exit("forward.py: the graph has a cycle or a missing layer")
        for layer, i, args, kwargs in ready:
            made = apply(layer, weights, resolve(args, values.get), resolve(kwargs, values.get), major)
            for k, y in enumerate(made):
                values[(layer["config"].get("name") or layer["name"], i, k)] = y
        pending = [p for p in pending if p not in ready]
    outputs, found = triples(config["output_layers"]), {}
    for i, t in enumerate(outputs):
        found[t[0] if t[0] not in found else f"{t[0]}_{i}"] = values[t]
    return found


def run_model(model, weights, inputs, major):
    """inputs: Tensors -> {output name: Tensor}"""
    return (sequential if model["class_name"] == "Sequential" else functional)(model, weights, inputs, major)


def arrays(outputs):
    return {name: y.value for name, y in outputs.items()}


def input_names(model):
    config = model["config"]
    if model["class_name"] != "Sequential":
        return [t[0] for t in triples(config["input_layers"])]
    first = (config if isinstance(config, list) else config["layers"])[0]
    if is_model(first):
        return input_names(first)
    return [first["config"]["name"] + ("" if first["class_name"] == "InputLayer" else "_input")]


def run(path, inputs):
    """inputs: a list of arrays in the model's order -> dict of output arrays."""
    model, major, find = load(pathlib.Path(path))
    return arrays(run_model(model, find(layers_of(model)), [Tensor(np.asarray(x, np.float64)) for x in inputs], major))


def main():
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    given = np.load(sys.argv[2])
    if isinstance(given, np.lib.npyio.NpzFile):
        given = [given[name] for name in input_names(load(pathlib.Path(sys.argv[1]))[0])]
    else:
        given = [given]
    outputs = {name: y.astype(np.float32) for name, y in run(sys.argv[1], given).items()}
    if sys.argv[3].endswith(".npz"):
        np.savez(sys.argv[3], **outputs)
    else:
        np.save(sys.argv[3], next(iter(outputs.values())))


if __name__ == "__main__":
    main()
