"""Small Keras models with random weights, and how each form of Keras file stores them.

MODELS is a table: name -> Model. A Model is written as Keras 2 or Keras 3 would write it by save(model, form, path).
The configurations hold what the layers need to compute, as read from files of Keras 2.0 to 3.3.
"""
import io
import json
import re
import zipfile
from dataclasses import dataclass, field

import h5py
import numpy as np


class T(str):
    """A tensor in the arguments of a call: "a", "a:1" for the second call of a, "a::2" for output 2 of its first."""


@dataclass
class Arguments:
    """Of a call that has more than inputs; of Keras 2 there is one in args."""
    args: list
    kwargs: dict = field(default_factory=dict)


@dataclass
class Layer:
    class_name: str
    config: dict
    weights: list = field(default_factory=list)  # (name, shape), in creation order
    calls: list = field(default_factory=list)    # per call the names of its inputs (see T), or its Arguments
    model: object = None                         # a Model used as a layer
    module: str = "keras.layers"

    @property
    def name(self):
        return self.config["name"]


@dataclass
class Model:
    name: str
    layers: list
    outputs: list = None  # None: Sequential

    @property
    def sequential(self):
        return self.outputs is None

    @property
    def inputs(self):
        return [l for l in self.layers if l.class_name == "InputLayer"]


# ---- the layers, with their weights' shapes ----


def image(*shape, name="image", dtype="float32"):
    return Layer("InputLayer", {"name": name, "batch_shape": [None, *shape], "dtype": dtype})


def layer(class_name, name, *inputs, weights=(), calls=None, **config):
    return Layer(class_name, {"name": name, **config}, list(weights), calls or ([list(inputs)] if inputs else []))


def dense(name, fan_in, units, *inputs, activation=None, use_bias=True, calls=None):
    weights = [("kernel", (fan_in, units))] + [("bias", (units,))] * use_bias
    return layer("Dense", name, *inputs, weights=weights, calls=calls, units=units, activation=activation, use_bias=use_bias)


def conv(name, fan_in, filters, kernel, *inputs, groups=1, use_bias=True, cls="Conv2D", **config):
    rank = int(re.search(r"\d", cls)[0])
    kernel = [kernel] * rank if isinstance(kernel, int) else kernel
    ends = (filters, fan_in) if "Transpose" in cls else (fan_in // groups, filters)
    weights = [("kernel", (*kernel, *ends))] + [("bias", (filters,))] * use_bias
    if "Transpose" not in cls:
        config["groups"] = groups
    return layer(cls, name, *inputs, weights=weights, filters=filters, kernel_size=kernel, use_bias=use_bias, **config)


def depthwise(name, fan_in, mult, kernel, *inputs, use_bias=True, **config):
    weights = [("depthwise_kernel", (kernel, kernel, fan_in, mult))] + [("bias", (fan_in * mult,))] * use_bias
    return layer("DepthwiseConv2D", name, *inputs, weights=weights, kernel_size=[kernel, kernel], depth_multiplier=mult,
                 use_bias=use_bias, **config)


def separable(name, fan_in, filters, mult, kernel, *inputs, **config):
    weights = [("depthwise_kernel", (kernel, kernel, fan_in, mult)), ("pointwise_kernel", (1, 1, fan_in * mult, filters)),
               ("bias", (filters,))]
    return layer("SeparableConv2D", name, *inputs, weights=weights, filters=filters, kernel_size=[kernel, kernel],
                 depth_multiplier=mult, use_bias=True, **config)


def batch_norm(name, channels, *inputs, axis=-1, scale=True, center=True, epsilon=1e-3):
    parts = [("gamma", scale), ("beta", center), ("moving_mean", True), ("moving_variance", True)]
    return layer("BatchNormalization", name, *inputs, weights=[(n, (channels,)) for n, there in parts if there], axis=axis,
                 scale=scale, center=center, epsilon=epsilon)


def cell_weights(cls, fan_in, units, config):
    """As Keras names them in its own files: the weights belong to the layer's cell."""
    gates = {"SimpleRNN": 1, "GRU": 3, "LSTM": 4}[cls]
    weights = [("cell/kernel", (fan_in, gates * units)), ("cell/recurrent_kernel", (units, gates * units))]
    bias = (2, gates * units) if config.get("reset_after") else (gates * units,)
    return weights + [("cell/bias", bias)] * config.get("use_bias", True)


def recurrent(cls, name, fan_in, units, **config):
    config = {"activation": "tanh", **({} if cls == "SimpleRNN" else {"recurrent_activation": "sigmoid"}), **config}
    return layer(cls, name, weights=cell_weights(cls, fan_in, units, config), units=units, **config)


def both_ways(name, inner, merge_mode="concat", **config):
    weights = [(f"{way}_layer/{weight}", shape) for way in ("forward", "backward") for weight, shape in inner.weights]
    return layer("Bidirectional", name, weights=weights, merge_mode=merge_mode,
                 layer={"class_name": inner.class_name, "config": inner.config}, **config)


def sequence(*layers):
    return one(*layers, shape=(5, 4))


def nested(model, *inputs, calls=None):
    return Layer("Sequential" if model.sequential else "Functional", {"name": model.name}, [],
                 calls or ([list(inputs)] if inputs else []), model)


def one(*layers, shape=(6, 7, 4)):
    """A Sequential of an image and these layers; the name comes from the table."""
    return Model("", [image(*shape), *layers])


def graph(outputs, *layers):
    return Model("", list(layers), outputs)


CNN = [conv("c1", 4, 6, 3, padding="same", activation="relu"), batch_norm("bn", 6), layer("MaxPooling2D", "p", pool_size=[2, 2]),
       layer("Dropout", "drop", rate=0.5), layer("Flatten", "flat"), dense("d", 6 * 3 * 3, 5, activation="softmax")]
INNER = Model("inner", [image(5, name="in2"), dense("e1", 5, 6, "in2", activation="relu"), batch_norm("ebn", 6, "e1"),
                        dense("e2", 6, 4, "ebn")], ["e2"])
INNER_SEQUENTIAL = Model("stack", [image(4, name="in3"), dense("s1", 4, 3, activation="tanh"), dense("s2", 3, 3)])

MODELS = {
    "cnn": one(*CNN),
    "conv_valid": one(conv("y", 4, 5, 3)),
    "conv_same_stride": one(conv("y", 4, 5, 3, strides=[2, 2], padding="same")),
    "conv_same_even": one(conv("y", 4, 5, [2, 4], strides=[1, 1], padding="same", use_bias=False)),
    "conv_stride_3": one(conv("y", 4, 3, [3, 2], strides=[3, 2], padding="valid", activation="tanh")),
    "conv_dilated": one(conv("y", 4, 5, 3, dilation_rate=[2, 2], padding="same")),
    "conv_groups": one(conv("y", 4, 6, 3, groups=2)),
    "conv_first": one(conv("y", 4, 5, 3, data_format="channels_first", strides=[2, 2], padding="same"), shape=(4, 6, 7)),
    "conv_first_softmax": one(conv("y", 4, 5, 1, data_format="channels_first", activation="softmax"), shape=(4, 6, 7)),
    "conv1d_causal": one(conv("y", 4, 5, 3, cls="Conv1D", padding="causal", dilation_rate=[2]), shape=(9, 4)),
    "conv1d_same": one(conv("y", 4, 5, 4, cls="Conv1D", padding="same", strides=[2]), shape=(9, 4)),
    "conv_transpose": one(conv("y", 4, 5, 3, cls="Conv2DTranspose", strides=[2, 2], padding="valid")),
    "conv_transpose_same": one(conv("y", 4, 5, 3, cls="Conv2DTranspose", strides=[2, 2], padding="same", activation="relu")),
    "conv_transpose_gap": one(conv("y", 4, 5, 2, cls="Conv2DTranspose", strides=[3, 3], padding="valid", use_bias=False)),
    "conv_transpose_extra": one(conv("y", 4, 5, 3, cls="Conv2DTranspose", strides=[2, 2], padding="same", output_padding=[1, 1])),
    "depthwise": one(depthwise("y", 4, 1, 3, padding="same")),
    "depthwise_multiplier": one(depthwise("y", 4, 3, 3, strides=[2, 2], padding="same", activation="relu")),
    "separable": one(separable("y", 4, 5, 2, 3, padding="same", activation="relu")),
    "max_pool": one(layer("MaxPooling2D", "y", pool_size=[2, 2], strides=[2, 2], padding="valid")),
    "max_pool_same": one(layer("MaxPooling2D", "y", pool_size=[3, 3], strides=[2, 2], padding="same")),
    "average_pool_same": one(layer("AveragePooling2D", "y", pool_size=[3, 3], strides=[2, 2], padding="same")),
    "average_pool": one(layer("AveragePooling2D", "y", pool_size=[2, 3], strides=None, padding="valid")),
    "pool_first": one(layer("MaxPooling2D", "y", pool_size=[2, 2], data_format="channels_first"), shape=(4, 6, 7)),
    "global_average": one(layer("GlobalAveragePooling2D", "y")),
    "global_max_keep": one(layer("GlobalMaxPooling2D", "y", keepdims=True)),
    "global_first": one(layer("GlobalAveragePooling2D", "y", data_format="channels_first")),
    "batch_norm": one(batch_norm("y", 4)),
    "batch_norm_bare": one(batch_norm("y", 4, scale=False, center=False, epsilon=1e-2)),
    "batch_norm_axis_1": one(batch_norm("y", 6, axis=[1], scale=False)),
    "dense_rank_3": one(dense("y", 4, 5, activation="softmax"), shape=(3, 4)),
    "dense_no_bias": one(dense("y", 4, 5, use_bias=False), shape=(4,)),
    "flatten_first": one(layer("Flatten", "y", data_format="channels_first"), shape=(4, 3, 2)),
    "reshape": one(layer("Reshape", "y", target_shape=[7, -1])),
    "permute": one(layer("Permute", "y", dims=[3, 1, 2])),
    "zero_padding": one(layer("ZeroPadding2D", "y", padding=[[1, 2], [0, 3]])),
    "zero_padding_first": one(layer("ZeroPadding2D", "y", padding=[1, 2], data_format="channels_first")),
    "cropping": one(layer("Cropping2D", "y", cropping=[[1, 2], [0, 3]])),
    "upsampling": one(layer("UpSampling2D", "y", size=[2, 3], interpolation="nearest")),
    "upsampling_bilinear": one(layer("UpSampling2D", "y", size=[2, 3], interpolation="bilinear")),
    "rescaling": one(layer("Rescaling", "y", scale=1 / 127.5, offset=-1.0)),
    "rescaling_list": one(layer("Rescaling", "y", scale=[1.0, 2.0, 0.5, -1.0], offset=[0.0, 1.0, 2.0, 3.0])),
    "rescaling_u8": Model("", [image(5, 4, dtype="uint8"), layer("Rescaling", "y", scale=1 / 255, offset=0.0)]),
    "leaky_relu": one(layer("LeakyReLU", "y", alpha=0.25)),
    "relu_max": one(layer("ReLU", "y", max_value=0.5)),
    "relu_general": one(layer("ReLU", "y", max_value=0.75, negative_slope=0.1, threshold=0.25)),
    "elu": one(layer("ELU", "y", alpha=0.5)),
    "softmax": one(layer("Softmax", "y", axis=-1)),
    "softmax_axis_1": one(layer("Softmax", "y", axis=1)),
    "softmax_axes": one(layer("Softmax", "y", axis=[1, 2])),
    "prelu": one(layer("PReLU", "y", weights=[("alpha", (1, 1, 4))], shared_axes=[1, 2])),
    "no_ops": one(layer("GaussianNoise", "a", stddev=1.0), layer("SpatialDropout2D", "b", rate=0.5), layer("Dropout", "y", rate=0.1)),
    "residual": graph(["y"], image(6, 7, 4), conv("a", 4, 4, 3, "image", padding="same"), batch_norm("b", 4, "a"),
                      layer("ReLU", "c", "b"), layer("Add", "y", "c", "image")),
    "merge": graph(["p", "q", "r", "s", "t", "u"], image(5, name="a"), image(5, name="b"), layer("Subtract", "p", "a", "b"),
                   layer("Multiply", "q", "a", "b"), layer("Average", "r", "a", "b", "p"), layer("Maximum", "s", "a", "b"),
                   layer("Minimum", "t", "a", "b"), layer("Concatenate", "u", "a", "b", "q", axis=-1)),
    "merge_ranks": graph(["y"], image(6, 7, 4), layer("GlobalAveragePooling2D", "g", "image"), layer("Multiply", "y", "image", "g")),
    "concatenate_axis_1": graph(["y"], image(3, 4, name="a"), image(2, 4, name="b"), layer("Concatenate", "y", "a", "b", axis=1)),
    "shared": graph(["y"], image(5, name="a"), image(5, name="b"), dense("twice", 5, 6, activation="relu", calls=[["a"], ["b"]]),
                    layer("Concatenate", "y", "twice", "twice:1")),
    "counted": graph(["y"], image(5, name="x"), *[dense(f"z{11 - i}", 5, 5, "x" if i == 0 else f"z{12 - i}", activation="tanh")
                                                   for i in range(12)], layer("Add", "y", "z0", "x")),
    "nested": graph(["y"], image(5, name="a"), image(5, name="b"), nested(INNER, calls=[["a"], ["b"]]),
                    layer("Add", "sum", "inner", "inner:1"), nested(INNER_SEQUENTIAL, "sum"), dense("y", 3, 2, "stack")),
    "transfer": Model("", [nested(INNER), dense("y", 4, 3, activation="softmax")]),
    "lstm": sequence(recurrent("LSTM", "y", 4, 6)),
    "lstm_sequences": sequence(recurrent("LSTM", "a", 4, 6, return_sequences=True), recurrent("LSTM", "y", 6, 17, use_bias=False)),
    "lstm_backwards": sequence(recurrent("LSTM", "y", 4, 3, return_sequences=True, go_backwards=True)),
    "lstm_activations": sequence(recurrent("LSTM", "y", 4, 5, activation="softsign", recurrent_activation="hard_sigmoid")),
    "gru": sequence(recurrent("GRU", "y", 4, 6, reset_after=False)),
    "gru_after": sequence(recurrent("GRU", "a", 4, 20, reset_after=True, return_sequences=True),
                          recurrent("GRU", "y", 20, 3, reset_after=True, go_backwards=True)),
    "gru_no_bias": sequence(recurrent("GRU", "y", 4, 6, use_bias=False, activation="linear")),
    "simple_rnn": sequence(recurrent("SimpleRNN", "a", 4, 6, return_sequences=True), recurrent("SimpleRNN", "y", 6, 3, activation="relu")),
    "bidirectional": sequence(both_ways("a", recurrent("LSTM", "inner", 4, 6, return_sequences=True)),
                              both_ways("y", recurrent("GRU", "deeper", 12, 5, reset_after=True), "sum")),
    "bidirectional_ave": sequence(both_ways("a", recurrent("SimpleRNN", "inner", 4, 6, return_sequences=True), "mul"),
                                  both_ways("y", recurrent("GRU", "deeper", 6, 5, use_bias=False), "ave")),
    "no_input_layer": Model("", [Layer("Dense", {"name": "first", "units": 3, "activation": "relu", "use_bias": True,
                                                 "batch_input_shape": [None, 4]}, [("kernel", (4, 3)), ("bias", (3,))])]),
}

for function in ("elu", "exponential", "gelu", "hard_sigmoid", "linear", "log_softmax", "relu", "relu6", "selu", "sigmoid", "silu",
                 "softmax", "softplus", "softsign", "swish", "tanh", "mish", "hard_silu", "leaky_relu"):
    MODELS["activation_" + function] = one(layer("Activation", "y", activation=function), shape=(50,))

# ---- weights ----


def weights_of(model, rng):
    """{layer name: arrays}, for nested models {layer name: {...}}"""
    found = {}
    for l in model.layers:
        if l.model:
            found[l.name] = weights_of(l.model, rng)
        else:
            found[l.name] = [rng.uniform(0.2, 1.5, shape).astype(np.float32) if name.endswith("moving_variance")
                             else (rng.standard_normal(shape) * 0.4).astype(np.float32) for name, shape in l.weights]
    return found


# ---- configurations ----


def reference(text):
    name, call, tensor = (text.split(":") + ["", ""])[:3]
    return [name, int(call or 0), int(tensor or 0)]


def ends(model):
    return {"input_layers": [[l.name, 0, 0] for l in model.inputs], "output_layers": [reference(o) for o in model.outputs]}


def renamed(config, old, new):
    return {new if key == old else key: value for key, value in config.items()}


def keras2_layer(l):
    if l.model:
        return {**keras2_model(l.model), "name": l.name, "inbound_nodes": keras2_calls(l)}
    return {"class_name": l.class_name, "config": renamed(l.config, "batch_shape", "batch_input_shape"), "name": l.name,
            "inbound_nodes": keras2_calls(l)}


def with_tensors(value, write):
    """The arguments with every T replaced."""
    if isinstance(value, T):
        return write(value)
    if isinstance(value, (list, tuple)):
        return [with_tensors(v, write) for v in value]
    if isinstance(value, dict):
        return {k: with_tensors(v, write) for k, v in value.items()}
    return value


def keras2_call(call):
    if not isinstance(call, Arguments):
        return [[*reference(i), {}] for i in call]
    kwargs = with_tensors(call.kwargs, reference)
    first = call.args[0]
    if isinstance(first, T):  # of operations alone, of layers in a list
        return [*reference(first), kwargs]
    if not isinstance(first, list):
        return ["_CONSTANT_VALUE", -1, first, kwargs]
    return [[*reference(i), kwargs] for i in first]


def keras2_calls(l):
    return [keras2_call(c) for c in l.calls]


def keras2_model(model):
    layers = [keras2_layer(l) for l in model.layers]
    if not model.sequential:
        return {"class_name": "Functional", "config": {"name": model.name, "layers": layers, **ends(model)}}
    for l in layers:
        l.pop("inbound_nodes"), l.pop("name")
    return {"class_name": "Sequential", "config": {"name": model.name, "layers": layers}}


def keras3_tensor(text):
    return {"class_name": "__keras_tensor__", "config": {"shape": [None], "dtype": "float32", "keras_history": reference(text)}}


def keras3_call(call):
    if isinstance(call, Arguments):
        return {"args": with_tensors(call.args, keras3_tensor), "kwargs": with_tensors(call.kwargs, keras3_tensor)}
    tensors = [keras3_tensor(i) for i in call]
    return {"args": tensors if len(call) == 1 else [tensors], "kwargs": {"mask": None, "training": False}}


def keras3_layer(l):
    if l.model:
        found = keras3_model(l.model)
    else:
        config = dict(l.config)
        if l.class_name == "LeakyReLU":
            config = renamed(config, "alpha", "negative_slope")
        if "dtype" not in config:
            config["dtype"] = {"module": "keras", "class_name": "DTypePolicy", "config": {"name": "float32"}, "registered_name": None}
        found = {"module": l.module, "class_name": l.class_name, "config": config, "registered_name": None}
    return {**found, "name": l.name, "inbound_nodes": [keras3_call(c) for c in l.calls]}


def keras3_model(model):
    layers = [keras3_layer(l) for l in model.layers]
    config = {"name": model.name, "trainable": True, "layers": layers}
    if model.sequential:
        for l in layers:
            l.pop("inbound_nodes"), l.pop("name")
    else:
        config |= ends(model)
        if len(model.outputs) == 1:  # later versions write a single one without its list
            config["output_layers"] = config["output_layers"][0]
    return {"module": "keras", "class_name": "Sequential" if model.sequential else "Functional", "config": config,
            "registered_name": None}


# ---- weights in files ----

UNTRAINED = ("moving_", "vector_u", "_scale", "_zero")


def flat_names(model, weights, prefix=""):
    """(name, array), the trainable ones of the whole model first."""
    pairs = []
    for l in model.layers:
        if l.model:
            pairs += flat_names(l.model, weights[l.name])
        else:
            pairs += [(f"{prefix}{l.name}/{name}", array) for (name, _), array in zip(l.weights, weights[l.name])]
    return sorted(pairs, key=lambda pair: any(word in pair[0] for word in UNTRAINED))


def save_legacy(group, model, weights, suffix, fixed, split=False):
    """One group per layer; Keras 2 names end in ':0' and strings have a fixed length."""
    text = (lambda names: np.array(names, "S")) if fixed else (lambda names: np.array(names, dtype=h5py.string_dtype()))
    layers = [l for l in model.layers if not (model.sequential and l.class_name == "InputLayer")]
    if split:  # as for lists over 64,512 bytes
        for i, l in enumerate(layers):
            group.attrs[f"layer_names{i}"] = text([l.name])
    else:
        group.attrs["layer_names"] = text([l.name for l in layers])
    for l in layers:
        sub = group.create_group(l.name)
        one_layer = Model("", [l], [])
        pairs = flat_names(one_layer, weights)
        names = [name + suffix for name, _ in pairs]
        if names:
            sub.attrs["weight_names"] = text(names)
        else:
            sub.attrs["weight_names"] = np.zeros(0)
        for name, (_, array) in zip(names, pairs):
            sub[name] = array


def snake_case(name):
    return re.sub("([a-z])([A-Z])", r"\1_\2", re.sub("(.)([A-Z][a-z]+)", r"\1_\2", name)).lower()


def save_counted(group, model, weights, named=True, top="layers", twice=False):
    used = {}
    for l in model.layers:
        if model.sequential and l.class_name == "InputLayer":
            continue
        key = snake_case(l.class_name)
        count = used.get(key, 0)
        used[key] = count + (2 if twice else 1)
        path = f"{top}/{key}_{count}" if count else f"{top}/{key}"
        if l.model:
            save_counted(group.require_group(path), l.model, weights[l.name], named, top, twice)
            continue
        variables = group.require_group(path + "/vars")
        if named:
            variables.attrs["name"] = l.name
        for (name, _), array in zip(l.weights, weights[l.name]):
            part = group.require_group(f"{path}/{name.rpartition('/')[0]}/vars")
            part[str(len(part))] = array


def all_arrays(model, weights):
    """What model.get_weights() gives: layer by layer."""
    arrays = []
    for l in model.layers:
        arrays += all_arrays(l.model, weights[l.name]) if l.model else weights[l.name]
    return arrays


# ---- files ----


def save_h5(path, model, weights, version):
    with h5py.File(path, "w") as file:
        config = keras2_model(model) if version == 2 else keras3_model(model)
        file.attrs["model_config"] = json.dumps(config)
        file.attrs["keras_version"] = np.bytes_("2.11.0") if version == 2 else "3.3.3"
        file.attrs["backend"] = "tensorflow"
        save_legacy(file.create_group("model_weights"), model, weights, ":0" if version == 2 else "", version == 2)
        state = file.create_group("optimizer_weights")  # to be passed over
        state["Adam/m:0"] = np.zeros(3, np.float32)


def save_keras(path, model, weights, compression=zipfile.ZIP_STORED, **options):
    stored = io.BytesIO()
    with h5py.File(stored, "w") as file:
        save_counted(file, model, weights, **options)
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("metadata.json", json.dumps({"keras_version": "3.3.3", "date_saved": "2024-05-01@00:00:00"}))
        archive.writestr("config.json", json.dumps(keras3_model(model)))
        archive.writestr("model.weights.h5", stored.getvalue())


def save_keras_assets(path, model, weights):
    """Vocabularies as adapt() leaves them: null in the configuration, and a text file in the archive."""
    kept = [(l, l.config["vocabulary"]) for l in model.layers if "vocabulary" in l.config]
    for l, _ in kept:
        l.config["vocabulary"] = None
    save_keras(path, model, weights)
    with zipfile.ZipFile(path, "a") as archive:
        for l, words in kept:
            archive.writestr(f"assets/layers/{snake_case(l.class_name)}/vocabulary.txt", "\n".join(map(str, words)))
            l.config["vocabulary"] = words


def save_json(path, model, version):
    config = keras2_model(model) if version == 2 else keras3_model(model)
    path.write_text(json.dumps({**config, "keras_version": "2.11.0" if version == 2 else "3.3.3", "backend": "tensorflow"}))


def save_json2(path, model, weights):
    save_json(path, model, 2)
    with h5py.File(path.with_suffix(".h5"), "w") as file:
        save_legacy(file, model, weights, ":0", True, split=True)


def save_json3(path, model, weights):
    save_json(path, model, 3)
    with h5py.File(path.with_suffix(".weights.h5"), "w") as file:
        save_counted(file, model, weights)


def save_npz(path, model, weights, version=3):
    save_json(path, model, version)
    np.savez(path.with_suffix(".npz"), *all_arrays(model, weights))


def save_tfjs(path, model, weights, quantize=None):
    """model.json and two shards, cut in the middle of a weight. quantize: None, "uint8", "uint16" or "float16"."""
    entries, data = [], b""
    for l in model.layers:
        for name, array in flat_names(Model("", [l], []), weights):
            entry = {"name": name, "shape": list(array.shape), "dtype": {"f": "float32", "i": "int32"}[array.dtype.kind]}
            if quantize == "float16":
                array = array.astype(np.float16)
                entry["quantization"] = {"dtype": "float16", "original_dtype": "float32"}
            elif quantize and array.dtype.kind == "f":
                steps = np.iinfo(quantize).max
                low, scale = float(array.min()), float(array.max() - array.min()) / steps or 1.0
                array = np.round((array - low) / scale).astype(quantize)
                entry["quantization"] = {"dtype": quantize, "min": low, "scale": scale, "original_dtype": "float32"}
            entries.append(entry)
            data += array.tobytes()
    cut = len(data) * 3 // 7
    path = path.with_name(path.stem + ".json")
    shards = [f"{path.stem}-{i + 1}.bin" for i in range(2)]
    (path.parent / shards[0]).write_bytes(data[:cut])
    (path.parent / shards[1]).write_bytes(data[cut:])
    topology = {"keras_version": "tfjs-layers 4.22.0", "backend": "tensor_flow.js", "model_config": keras2_model(model)}
    path.write_text(json.dumps({"format": "layers-model", "generatedBy": "", "convertedBy": None, "modelTopology": topology,
                                "weightsManifest": [{"paths": shards, "weights": entries}]}))


FORMS = {  # form -> (suffix, function)
    "h5-2": (".h5", lambda *a: save_h5(*a, 2)),
    "h5-3": (".h5", lambda *a: save_h5(*a, 3)),
    "keras": (".keras", save_keras),
    "keras-assets": (".keras", save_keras_assets),
    "keras-deflated": (".keras", lambda *a: save_keras(*a, zipfile.ZIP_DEFLATED)),
    "keras-2.13": (".keras", lambda *a: save_keras(*a, named=False, top="_layer_checkpoint_dependencies", twice=True)),
    "json-2": (".json", save_json2),
    "json-3": (".json", save_json3),
    "json-npz": (".json", save_npz),
    "tfjs": (".json", save_tfjs),
    **{f"tfjs-{how}": (".json", lambda *a, how=how: save_tfjs(*a, how)) for how in ("uint8", "uint16", "float16")},
    "npz-2": (".json", lambda *a: save_npz(*a, 2)),
}


def save(name, form, folder, seed=1):
    """Writes a row of MODELS; returns the path of the file to import."""
    suffix, function = FORMS[form]
    path = folder / f"{name}-{form}{suffix}"
    model = MODELS[name]
    model.name = name
    function(path, model, weights_of(model, np.random.default_rng(seed)))
    return path
