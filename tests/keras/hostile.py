#!/usr/bin/python3
"""Gives damaged and hostile Keras files to the importer: each must end in an error with exit code 1, never in a crash or a hang.

Usage: hostile.py PROGRAM...          PROGRAM MODEL is called with no further arguments
Named cases also say which words the error must have. Then come truncated, bit-flipped and mutated files with a fixed seed, which
may be read or refused.
"""
import copy
import io
import json
import os
import pathlib
import random
import subprocess
import sys
import tempfile
import threading
import zipfile

import h5py
import numpy as np

import models

TIMEOUT = 60
MOST_SECONDS, MOST_BYTES = 10, 600 << 20  # of a processor, of memory: for what is said in an instant, with the sanitizers' share
NAMED = []


def case(*words):
    """A function that writes one hostile file into a folder and returns its path; the error must hold these words."""
    def add(function):
        NAMED.append((function.__name__, words, function))
        return function
    return add


def keras2(folder, layers, weights=(), name="m.h5", **ends):
    """A Keras 2 file with these layers; weights are (layer, name, array)."""
    path = folder / name
    config = {"name": "m", "layers": layers, **ends}
    with h5py.File(path, "w") as file:
        file.attrs["model_config"] = json.dumps({"class_name": "Functional" if ends else "Sequential", "config": config})
        file.attrs["keras_version"] = "2.11.0"
        top = file.create_group("model_weights")
        top.attrs["layer_names"] = np.array([l["config"]["name"] for l in layers if l.get("config")], "S")
        for layer, weight, array in weights:
            group = top.require_group(layer)
            names = [n.decode() for n in group.attrs.get("weight_names", [])] + [weight]
            group.attrs["weight_names"] = np.array(names, "S")
            group[weight] = array
    return path


def plain(class_name, name="y", **config):
    return {"class_name": class_name, "config": {"name": name, **config}}


IMAGE = plain("InputLayer", "image", batch_input_shape=[None, 6, 6, 4])


def call(layer, *inputs):
    return {**layer, "name": layer["config"]["name"], "inbound_nodes": [[[*i, {}] for i in inputs]] if inputs else []}


# ---- containers ----


@case("neither HDF5 nor a zip archive nor JSON")
def empty_file(folder):
    path = folder / "m.h5"
    path.touch()
    return path


@case("cannot read it")
def a_folder(folder):
    return folder


@case("cannot read it")
def absent(folder):
    return folder / "absent.h5"


@case("holds weights without a model")
def weights_only(folder):
    with h5py.File(folder / "m.h5", "w") as file:
        file["x"] = np.zeros(3)
    return folder / "m.h5"


@case("refers to other files")
def external_storage(folder):
    path = keras2(folder, [IMAGE])
    with h5py.File(path, "a") as file:
        file.create_dataset("secret", (64,), "u1", external=[("/etc/passwd", 0, 64)])
    return path


@case("refers to other files")
def virtual_dataset(folder):
    path = keras2(folder, [IMAGE])
    with h5py.File(folder / "other.h5", "w") as file:
        file["x"] = np.zeros(8, np.float32)
    layout = h5py.VirtualLayout((8,), "f4")
    layout[:] = h5py.VirtualSource(str(folder / "other.h5"), "x", (8,))
    with h5py.File(path, "a") as file:
        file.create_virtual_dataset("mirror", layout)
    return path


@case("more bytes than a file of this size can hold")
def absurd_dataset(folder):
    path = keras2(folder, [IMAGE])
    with h5py.File(path, "a") as file:
        file.create_dataset("huge", (1 << 20, 1 << 20, 1 << 10), "f4", chunks=(1, 1, 1024))
    return path


@case("more bytes than a file of this size can hold")
def overflowing_dataset(folder):
    path = keras2(folder, [IMAGE])
    with h5py.File(path, "a") as file:
        file.create_dataset("huge", (1 << 21, 1 << 21, 1 << 18), "f8", chunks=(1, 1, 1024))
    return path


@case("0 weights for it")
def links_in_a_circle(folder):
    """Of groups to a group around them, and of names to each other."""
    path = keras2(folder, [IMAGE, plain("Dense", units=3, use_bias=False)])
    with h5py.File(path, "a") as file:
        file.require_group("model_weights/y").attrs["weight_names"] = np.zeros(0)
        file["model_weights/y/again"] = file["model_weights"]
        file["model_weights/a"], file["model_weights/b"] = h5py.SoftLink("/model_weights/b"), h5py.SoftLink("/model_weights/a")
    return path


@case("lists its weight", "does not hold it")
def link_to_another_file(folder):
    with h5py.File(folder / "other.h5", "w") as file:
        file["kernel"] = np.zeros((4, 3), np.float32)
    path = keras2(folder, [IMAGE, plain("Dense", units=3, use_bias=False)])
    with h5py.File(path, "a") as file:
        file.require_group("model_weights/y").attrs["weight_names"] = np.array(["kernel"], "S")
        file["model_weights/y/kernel"] = h5py.ExternalLink(str(folder / "other.h5"), "/kernel")
    return path


@case("more bytes than a file of this size can hold")
def compressed_bomb(folder):
    path = keras2(folder, [IMAGE])
    with h5py.File(path, "a") as file:
        file.create_dataset("zeros", (1 << 30,), "f4", chunks=(1 << 22,), compression="gzip")[:1 << 23] = 0
    return path


@case("not valid JSON")
def json_without_end(folder):
    path = folder / "m.json"
    path.write_text('{"class_name": "Sequential", "config": {"layers": [' + '{"a": 1}, ' * 1000000)
    return path


@case("nested", "levels deep")
def deep_without_end(folder):
    path = folder / "m.json"
    path.write_text('{"class_name": ' + "[" * 20000000)
    return path


@case("nested", "levels deep")
def deep_json(folder):
    path = folder / "m.json"
    path.write_text('{"class_name": ' + "[" * 100000 + "]" * 100000 + "}")
    return path


@case("nested", "levels deep")
def deep_attribute(folder):
    with h5py.File(folder / "m.h5", "w") as file:
        file.attrs["model_config"] = '{"config": ' + "[" * 30000 + "]" * 30000 + "}"
    return folder / "m.h5"


@case("not valid JSON")
def broken_json(folder):
    (folder / "m.json").write_text('{"class_name": "Sequential", \n"config": {')
    return folder / "m.json"


@case("no weights beside it")
def no_weights(folder):
    models.MODELS["cnn"].name = "cnn"
    models.save_json(folder / "alone.json", models.MODELS["cnn"], 3)
    return folder / "alone.json"


def archive(folder, members, compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(folder / "m.keras", "w", compression) as file:
        for name, data in members.items():
            file.writestr(name, data)
    return folder / "m.keras"


CONFIG = json.dumps({"module": "keras", "class_name": "Sequential", "config": {"name": "m", "layers": [IMAGE]}})


@case("no 'config.json'")
def empty_archive(folder):
    return archive(folder, {"metadata.json": "{}", "../../escape": "x"})


@case("model.weights.h5")
def archive_without_weights(folder):
    return archive(folder, {"config.json": CONFIG})


@case("pickled Python")
def pickled_weights(folder):
    return archive(folder, {"config.json": CONFIG, "model.weights.npz": b"PK"})


@case("not an HDF5 file")
def archive_with_nonsense(folder):
    return archive(folder, {"config.json": CONFIG, "model.weights.h5": b"\x89HDF\r\n\x1a\n" + bytes(200)})


@case("claims")
def archive_bomb(folder):
    return archive(folder, {"config.json": " " * (65 << 20) + CONFIG, "model.weights.h5": b""}, zipfile.ZIP_DEFLATED)


@case("not an HDF5 file")
def archive_bomb_of_weights(folder):
    with zipfile.ZipFile(folder / "m.keras", "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("config.json", CONFIG)
        with file.open("model.weights.h5", "w", force_zip64=True) as member:
            for _ in range(256):
                member.write(bytes(1 << 20))
    return folder / "m.keras"


def beside(folder, name, data):
    """A Dense in JSON and what is beside it."""
    layers = [IMAGE, {"class_name": "Dense", "config": {"name": "y", "units": 3, "use_bias": False}}]
    (folder / "m.json").write_text(json.dumps({"class_name": "Sequential", "config": {"name": "m", "layers": layers}}))
    (folder / name).write_bytes(data)
    return folder / "m.json"


def npz(data, compression=zipfile.ZIP_STORED):
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", compression) as file:
        file.writestr("arr_0.npy", data)
    return held.getvalue()


def npy_header(shape):
    text = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode()


@case("has the shape")
def npz_bomb(folder):
    return beside(folder, "m.npz", npz(npy_header((1 << 26,)) + bytes(1 << 28), zipfile.ZIP_DEFLATED))


@case("arr_0")
def npz_absurd(folder):
    return beside(folder, "m.npz", npz(npy_header((1 << 40, 1 << 40)) + bytes(48)))


@case("arr_0")
def npz_short(folder):
    return beside(folder, "m.npz", npz(npy_header((4, 3)) + bytes(44)))


def tfjs(folder, shards, paths=("a.bin",), weights=(("y/kernel", [4, 3]),), **model):
    """A Dense of TensorFlow.js; shards: {name: size}."""
    for name, size in shards.items():
        (folder / name).write_bytes(bytes(size))
    entries = [{"name": n, "shape": s, "dtype": "float32"} if isinstance(s, list) else {"name": n, **s} for n, s in weights]
    layers = [plain("InputLayer", "image", batch_input_shape=[None, 4]), plain("Dense", units=3, use_bias=False)]
    topology = {"class_name": "Sequential", "config": {"name": "m", "layers": layers}}
    (folder / "model.json").write_text(json.dumps({"format": "layers-model", "modelTopology": topology,
                                                   "weightsManifest": [{"paths": list(paths), "weights": entries}], **model}))
    return folder / "model.json"


@case("cannot read the shard 'a.bin'")
def shard_missing(folder):
    return tfjs(folder, {})


@case("the shards have 47 bytes, their weights need 48")
def shard_short(folder):
    return tfjs(folder, {"a.bin": 40, "b.bin": 7}, ["a.bin", "b.bin"])


@case("the shards have 49 bytes")
def shard_long(folder):
    return tfjs(folder, {"a.bin": 49})


@case("does not lie beside the model")
def shard_elsewhere(folder):
    return tfjs(folder, {}, ["../../../../etc/passwd"])


@case("does not lie beside the model")
def shard_absolute(folder):
    return tfjs(folder, {}, ["/etc/passwd"])


@case("it is no file")
def shard_is_a_folder(folder):
    (folder / "sub").mkdir()
    return tfjs(folder, {}, ["sub"])


@case("shape that makes no sense")
def shard_weight_absurd(folder):
    return tfjs(folder, {"a.bin": 48}, weights=[("y/kernel", [1 << 40, 1 << 40])])


@case("their weights need")
def shard_weight_huge(folder):
    return tfjs(folder, {"a.bin": 48}, weights=[("y/kernel", [1 << 20, 1 << 20])])


@case("a dtype that is not read")
def shard_dtype(folder):
    return tfjs(folder, {"a.bin": 48}, weights=[("y/kernel", {"shape": [4, 3], "dtype": "complex64"})])


@case("no weightsManifest")
def tfjs_without_weights(folder):
    return tfjs(folder, {}, weightsManifest=None)


@case("convert the original to ONNX")
def tfjs_graph(folder):
    return tfjs(folder, {"a.bin": 48}, format="graph-model")


@case("its configuration calls for 1")
def tfjs_other_names(folder):
    return tfjs(folder, {"a.bin": 48}, weights=[("z/kernel", [4, 3])])


# ---- configurations ----


@case("Lambda", "Strange", "'a'", "'b'", "'mine'")
def unsupported_layers_are_all_listed(folder):
    return keras2(folder, [IMAGE, plain("Lambda", "a"), plain("Strange", "b"), plain("MyLayer", "mine")])


@case("this operation on tensors is not supported")
def operation_without_name(folder):
    return keras2(folder, [IMAGE, plain("TFOpLambda", "a", function=""), plain("TensorFlowOpLayer", "b")])


@case("Python code")
def subclassed(folder):
    with h5py.File(folder / "m.h5", "w") as file:
        file.attrs["model_config"] = '{"class_name": "MyModel", "config": {"layers": []}}'
    return folder / "m.h5"


@case("0 layers")
def no_layers(folder):
    return keras2(folder, [])


@case("no class_name or no name")
def layer_without_name(folder):
    return keras2(folder, [IMAGE, {"class_name": "Flatten", "config": {}}])


@case("no class_name or no name")
def layer_with_empty_name(folder):
    return keras2(folder, [IMAGE, plain("Flatten", "")])


@case("two layers are called")
def twin_names(folder):
    return keras2(folder, [IMAGE, plain("Flatten"), plain("Flatten")])


@case("does not say the shape")
def no_shape(folder):
    return keras2(folder, [plain("Flatten")])


@case("no sensible size")
def absurd_input(folder):
    return keras2(folder, [plain("InputLayer", "image", batch_input_shape=[None, 1e300, -4]), plain("Flatten")])


@case("cycle")
def cycle(folder):
    layers = [call(IMAGE), call(plain("Add", "a"), ["image", 0, 0], ["b", 0, 0]), call(plain("Flatten", "b"), ["a", 0, 0])]
    return keras2(folder, layers, input_layers=[["image", 0, 0]], output_layers=[["b", 0, 0]])


@case("cycle")
def self_cycle(folder):
    return keras2(folder, [call(IMAGE), call(plain("Flatten", "b"), ["b", 0, 0])], input_layers=[["image", 0, 0]],
                  output_layers=[["b", 0, 0]])


@case("'nobody', which does not exist")
def missing_layer(folder):
    return keras2(folder, [call(IMAGE), call(plain("Flatten", "b"), ["nobody", 0, 0])], input_layers=[["image", 0, 0]],
                  output_layers=[["b", 0, 0]])


@case("call 7 of layer 'image'")
def missing_call(folder):
    return keras2(folder, [call(IMAGE), call(plain("Flatten", "b"), ["image", 7, 0])], input_layers=[["image", 0, 0]],
                  output_layers=[["b", 0, 0]])


@case("no output -1")
def missing_tensor(folder):
    return keras2(folder, [call(IMAGE), call(plain("Flatten", "b"), ["image", 0, -1])], input_layers=[["image", 0, 0]],
                  output_layers=[["b", 0, 0]])


@case("more than 100000 times")
def calls_multiply(folder):
    """Twenty models, each of which calls the next one twice."""
    inner = plain("Flatten", "leaf")
    for level in range(20):
        name = inner["config"]["name"]
        image = plain("InputLayer", "in", batch_input_shape=[None, 4])
        both = {**inner, "name": name, "inbound_nodes": [[["in", 0, 0, {}]], [[name, 0, 0, {}]]]}
        inner = {"class_name": "Functional", "config": {"name": f"level{level}", "layers": [call(image), both],
                                                        "input_layers": [["in", 0, 0]], "output_layers": [[name, 1, 0]]}}
    return keras2(folder, [plain("InputLayer", "image", batch_input_shape=[None, 4]), inner])


DENSE = ("y", "y/kernel:0", np.zeros((4, 3), np.float32)), ("y", "y/bias:0", np.zeros(3, np.float32))


@case("has 0 weights", "'y'", "kernel, bias")
def weights_missing(folder):
    return keras2(folder, [IMAGE, plain("Dense", units=3)], [("other", "kernel:0", np.zeros(1))])


@case("1 weights", "2 (kernel, bias)")
def weights_too_few(folder):
    return keras2(folder, [IMAGE, plain("Dense", units=3)], DENSE[:1])


@case("shape [4,3] in the file, not [?,5]")
def weight_of_wrong_shape(folder):
    return keras2(folder, [IMAGE, plain("Dense", units=5)], DENSE)


@case("y")
def weight_of_wrong_depth(folder):
    return keras2(folder, [plain("InputLayer", "image", batch_input_shape=[None, 9]), plain("Dense", units=3)], DENSE)


@case("activation 'wobble' is not supported")
def unknown_activation(folder):
    return keras2(folder, [IMAGE, plain("Activation", activation="wobble")])


CONV = ("y", "y/kernel:0", np.zeros((3, 3, 4, 2), np.float32)), ("y", "y/bias:0", np.zeros(2, np.float32))


def conv(folder, **config):
    return keras2(folder, [IMAGE, plain("Conv2D", **{"filters": 2, "kernel_size": [3, 3], **config})], CONV)


@case("strides")
def conv_stride_0(folder):
    return conv(folder, strides=[0, 1])


@case("kernel_size")
def conv_kernel_absurd(folder):
    return conv(folder, kernel_size=[1 << 40, 3])


@case("kernel_size")
def conv_kernel_text(folder):
    return conv(folder, kernel_size="3x3")


@case("groups")
def conv_groups(folder):
    return conv(folder, groups=3)


@case("padding 'reflect' is unknown")
def conv_padding(folder):
    return conv(folder, padding="reflect")


@case("y")
def conv_larger_than_image(folder):
    return conv(folder, dilation_rate=[2000000000, 1])


@case("'filters' is no integer")
def conv_filters_absurd(folder):
    return conv(folder, filters=-(1 << 60), groups=5)


@case("y")
def pool_larger_than_image(folder):
    return keras2(folder, [IMAGE, plain("MaxPooling2D", pool_size=[7, 1])])


@case("crops")
def crop_everything(folder):
    return keras2(folder, [IMAGE, plain("Cropping2D", cropping=[[3, 3], [0, 0]])])


@case("y")
def reshape_to_other_size(folder):
    return keras2(folder, [IMAGE, plain("Reshape", target_shape=[7, -1])])


@case("target_shape")
def reshape_two_open(folder):
    return keras2(folder, [IMAGE, plain("Reshape", target_shape=[-1, -1])])


@case("permutation")
def permute_twice(folder):
    return keras2(folder, [IMAGE, plain("Permute", dims=[1, 1, 2])])


@case("axis 9")
def softmax_axis(folder):
    return keras2(folder, [IMAGE, plain("Softmax", axis=9)])


@case("2^36 elements")
def padding_absurd(folder):
    """A result of 2^62 elements: nothing of that size may be allocated at import."""
    return keras2(folder, [IMAGE, plain("ZeroPadding2D", padding=[2147483647, 2147483647]), plain("UpSampling2D", "z", size=[2, 2])])


STEPS = plain("InputLayer", "steps", batch_input_shape=[None, 5, 4])
RNN = (("y", "y/kernel:0", np.zeros((4, 3), np.float32)), ("y", "y/recurrent_kernel:0", np.zeros((3, 3), np.float32)),
       ("y", "y/bias:0", np.zeros(3, np.float32)))


BOTH = tuple((layer, name.replace("y/", f"y/{way}/"), array) for way in ("ahead", "back") for layer, name, array in RNN)


def rnn(folder, first=STEPS, **config):
    return keras2(folder, [first, plain("SimpleRNN", **{"units": 3, **config})], RNN)


@case("give --dim batch=N")
def rnn_stateful(folder):
    return rnn(folder, stateful=True)


@case("'cell' (MyCell): this layer is not supported")
def rnn_own_cell(folder):
    return keras2(folder, [STEPS, plain("RNN", cell={"class_name": "MyCell", "config": {}})], RNN)


@case("wraps no 'cell'")
def rnn_without_cell(folder):
    return keras2(folder, [STEPS, plain("RNN")], RNN)


@case("nested too deep")
def wrappers_without_end(folder):
    inner = {"class_name": "Dense", "config": {"units": 3}}
    for i in range(40):
        inner = {"class_name": "TimeDistributed", "config": {"layer": inner}}
    return keras2(folder, [STEPS, plain("TimeDistributed", layer=inner)])


@case("more than 64 parts")
def cells_without_end(folder):
    cells = {"class_name": "StackedRNNCells", "config": {"cells": [{"class_name": "LSTMCell", "config": {}}] * 1000}}
    return keras2(folder, [STEPS, plain("RNN", cell=cells)])


@case("'units' makes no sense")
def rnn_units_absurd(folder):
    return rnn(folder, units=1 << 40)


@case("its weight 'cell/kernel' has the shape [4,3] in the file, not [?,4]")
def rnn_units_wrong(folder):
    return rnn(folder, units=4)


@case("its input has 4 axes, not 3")
def rnn_of_image(folder):
    return rnn(folder, IMAGE)


@case("its activation 'relu6' is not supported inside a recurrence")
def rnn_activation(folder):
    return rnn(folder, activation="relu6")


@case("the file has 6 weights for it, its configuration calls for 4")
def bidirectional_dense(folder):
    inner = {"class_name": "Dense", "config": {"units": 3, "use_bias": True}}
    return keras2(folder, [STEPS, plain("Bidirectional", layer=inner, merge_mode="concat")], BOTH)


@case("merge_mode 'most' is not supported")
def bidirectional_merge(folder):
    inner = {"class_name": "SimpleRNN", "config": {"units": 3}}
    return keras2(folder, [STEPS, plain("Bidirectional", layer=inner, merge_mode="most")], BOTH)


# ---- damage at random ----


def damaged(data, rng):
    """Truncated, or with some bytes changed."""
    data = bytearray(data)
    if rng.random() < 0.25:
        return data[:rng.randrange(len(data))]
    for _ in range(rng.choice([1, 2, 8, 40])):
        at = rng.choice([rng.randrange(len(data)), rng.randrange(min(len(data), 4096))])
        data[at] = rng.choice([0, 255, data[at] ^ 1 << rng.randrange(8), rng.randrange(256)])
    return data


def places(value, found):
    """Every (container, key) in a JSON value."""
    for key, child in value.items() if isinstance(value, dict) else enumerate(value):
        found.append((value, key))
        if isinstance(child, (dict, list)):
            places(child, found)
    return found


def mutated(config, rng):
    config = copy.deepcopy(config)
    for _ in range(rng.choice([1, 1, 2, 5])):
        spots = places(config, [])
        where, key = rng.choice(spots)
        other, from_key = rng.choice(spots)
        where[key] = copy.deepcopy(rng.choice([None, -1, 0, 1, 2, 1 << 31, 1e300, 0.5, "", "same", [], {}, [1, 2], True, other[from_key]]))
    return config


def random_files(folder, count):
    rng = random.Random(20)
    sources = {form: models.save("residual", form, folder) for form in ("h5-2", "keras", "keras-deflated", "json-3")}
    config = json.loads(sources["json-3"].read_text())
    others = [models.save(name, "json-2", folder) for name in ("nested", "bidirectional")]
    for i in range(count):
        form = list(sources)[i % 3]
        path = folder / f"damaged{sources[form].suffix}"
        path.write_bytes(damaged(sources[form].read_bytes(), rng))
        yield f"{form}, damage {i}", path
        other = others[i // 2 % 2]
        path, whole = (sources["json-3"], config) if i % 2 else (other, json.loads(other.read_text()))
        kept = path.read_text()
        path.write_text(json.dumps(mutated(whole, rng)))
        yield f"{path.name}, mutation {i}", path
        path.write_text(kept)


# ---- running ----


def run(program, path):
    """(exit code, or what it used too much of; what was said)"""
    with tempfile.TemporaryFile() as errors:
        child = subprocess.Popen([*program, str(path)], stdout=subprocess.DEVNULL, stderr=errors)
        alarm = threading.Timer(TIMEOUT, child.kill)
        alarm.start()
        _, status, used = os.wait4(child.pid, 0)
        alarm.cancel()
        child.returncode = os.waitstatus_to_exitcode(status)
        errors.seek(0)
        said = errors.read().decode(errors="replace")
    if used.ru_utime + used.ru_stime > MOST_SECONDS:
        return f"{used.ru_utime + used.ru_stime:.1f} seconds", said
    return (f"{used.ru_maxrss >> 10} MB" if used.ru_maxrss << 10 > MOST_BYTES else child.returncode), said


def verdict(code, said, words):
    if code != 1 or "error" not in said:
        return f"exit code {code}: {said[-2000:]}"
    missing = [w for w in words if w not in said]
    return f"the error lacks {missing}: {said[:500]}" if missing else None


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    program, results = sys.argv[1:], []
    with tempfile.TemporaryDirectory() as work:
        os.chdir(work)
        for name, words, function in NAMED:
            folder = pathlib.Path(work) / name
            folder.mkdir()
            results.append((name, verdict(*run(program, function(folder)), words)))
        for name, path in random_files(pathlib.Path(work), int(os.environ.get("HOSTILE_FILES", "60"))):
            code, said = run(program, path)
            good = code == 0 or (code == 1 and "error" in said)
            results.append((name, None if good else f"exit code {code}: {said[-2000:]}"))
            if not good and "HOSTILE_KEEP" in os.environ:
                pathlib.Path(os.environ["HOSTILE_KEEP"], f"{len(results)}{path.suffix}").write_bytes(path.read_bytes())
    for name, reason in results:
        if reason:
            print(f"FAIL {name}: {reason}")
    failed = sum(reason is not None for _, reason in results)
    print(f"{len(results) - failed} passed, {failed} failed")
    sys.exit(failed > 0)


main()
