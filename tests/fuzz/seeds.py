#!/usr/bin/python3
"""Writes the seeds of the binary formats into tests/fuzz/corpus/<target>/ (the text forms have their tests' files).

    tests/fuzz/seeds.py

Files of crashes that were found stay beside the seeds, as crash-*; this script does not touch them.
"""
import importlib
import io
import json
import sys
import tempfile
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "keras"))
sys.dont_write_bytecode = True
import models as keras_models  # noqa: E402
import table as keras_table  # noqa: E402

rng = np.random.default_rng(1)


def write(target, name, data):
    folder = HERE / "corpus" / target
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(data)


# ---- Images ----


def image_seeds():
    colors = rng.integers(0, 256, (9, 13, 3)).astype(np.uint8)
    for mode, kinds in ("RGB", "png bmp ppm jpeg tiff webp jp2"), ("L", "png bmp pgm jpeg"), ("1", "png bmp pbm"), ("P", "png bmp"), ("CMYK", "jpeg"), ("RGBA", "png"), (
            "I;16", "png"):
        image = Image.fromarray(colors[..., 0].astype(np.uint16) * 257) if mode == "I;16" else Image.fromarray(colors).convert(mode)
        for kind in kinds.split():
            image.save(file := io.BytesIO(), {"ppm": "ppm", "pgm": "ppm", "pbm": "ppm", "jp2": "jpeg2000"}.get(kind, kind))
            write("image", f"{mode.replace(';', '')}.{kind}", file.getvalue())
    Image.fromarray(colors).save(file := io.BytesIO(), "jpeg", progressive=True, subsampling=2)
    write("image", "progressive.jpeg", file.getvalue())
    write("image", "plain.ppm", b"P3 # a comment\n2 1\n15\n0 15 7 1\n2 3")
    write("image", "plain.pbm", b"P1\n3 2\n101 010")
    write("image", "plain.pgm", b"P2\n3 1\n65535\n0 65535 4000")


# ---- ONNX ----


def weight(name, *shape, dtype=np.float32):
    return numpy_helper.from_array((rng.standard_normal(shape) * 2).astype(dtype), name)


def ints(name, *values):
    return numpy_helper.from_array(np.array(values, np.int64), name)


def tensor(name, *shape, dtype=TensorProto.FLOAT):
    return helper.make_tensor_value_info(name, dtype, shape)


def node(op, inputs, outputs, **attributes):
    return helper.make_node(op, inputs.split(), outputs.split(), name=op + "_" + outputs, **attributes)


def save_onnx(name, inputs, outputs, weights, *nodes, opset=17, functions=(), domains=()):
    graph = helper.make_graph(list(nodes), name, inputs, outputs, weights)
    imports = [helper.make_opsetid("", opset)] + [helper.make_opsetid(d, version) for d, version in domains]
    model = helper.make_model(graph, opset_imports=imports, functions=functions, ir_version=8, producer_name="seeds")
    write("onnx", name + ".onnx", model.SerializeToString())


def onnx_seeds():
    save_onnx("cnn", [tensor("x", "N", 3, 8, 8)], [tensor("y", "N", 5)],
              [weight("w", 4, 3, 3, 3), weight("s", 4), weight("b", 4), weight("m", 4),
               numpy_helper.from_array(np.ones(4, np.float32), "v"), weight("d", 64, 5), weight("e", 5)],
              node("Conv", "x w", "c", pads=[1, 1, 1, 1]), node("BatchNormalization", "c s b m v", "n"), node("Relu", "n", "r"),
              node("MaxPool", "r", "p", kernel_shape=[2, 2], strides=[2, 2]), node("Flatten", "p", "f"),
              node("Gemm", "f d e", "g"), node("Softmax", "g", "y", axis=1))
    save_onnx("shapes", [tensor("x", "batch", "seq", 8)], [tensor("y", "batch", "seq", 2, 4)],
              [ints("zero", 0), ints("one", 1), ints("heads", 2, 4)],
              node("Shape", "x", "s"), node("Gather", "s zero", "a"), node("Gather", "s one", "b"),
              node("Concat", "a b heads", "t", axis=0), node("Reshape", "x t", "y"))
    save_onnx("attention", [tensor("x", 2, 5, 8)], [tensor("y", 2, 5, 8)],
              [weight("w", 8, 24), ints("split", 8, 8, 8), ints("axes", -1), weight("g", 8), weight("h", 8),
               numpy_helper.from_array(np.float32(0.35), "scale")],
              node("LayerNormalization", "x g h", "l", axis=-1), node("MatMul", "l w", "qkv"), node("Split", "qkv split", "q k v", axis=2),
              node("Transpose", "k", "kt", perm=[0, 2, 1]), node("MatMul", "q kt", "d"), node("Mul", "d scale", "e"),
              node("Softmax", "e", "p", axis=-1), node("MatMul", "p v", "o"), node("Add", "o x", "y"))
    save_onnx("window", [tensor("x", 1, 4, 9, 7)], [tensor("y", 1, 6, 11, 9), tensor("z", 1, 4, 1, 1)],
              [weight("w", 4, 1, 3, 3), weight("t", 4, 6, 3, 3)],
              node("Conv", "x w", "c", group=4, auto_pad="SAME_UPPER"), node("LeakyRelu", "c", "l", alpha=0.1),
              node("AveragePool", "l", "a", kernel_shape=[3, 3], pads=[1, 1, 1, 1], count_include_pad=1),
              node("ConvTranspose", "a t", "y"), node("GlobalAveragePool", "x", "z"))
    save_onnx("movement", [tensor("x", 2, 6, 5)], [tensor("y", 4, 3, 10), tensor("z", 1, 1, 5)],
              [ints("starts", 5, 0), ints("ends", -100, 4), ints("axes", 1, 2), ints("steps", -2, 1), ints("pads", 0, 0, 1, 0, 0, 0),
               ints("repeats", 2, 1, 2)],
              node("Slice", "x starts ends axes steps", "s"), node("Pad", "s pads", "p"), node("Tile", "p repeats", "t"),
              node("Identity", "t", "y"),
              node("ReduceMean", "x", "r", axes=[0, 1], keepdims=1), node("Clip", "r", "z"))
    save_onnx("resize", [tensor("x", 1, 2, 4, 5)], [tensor("y", 1, 2, 8, 10)],
              [numpy_helper.from_array(np.array([1, 1, 2, 2], np.float32), "scales")],
              helper.make_node("Resize", ["x", "", "scales"], ["y"], mode="linear", coordinate_transformation_mode="half_pixel"))
    save_onnx("old", [tensor("x", 1, 4)], [tensor("y", 2, 2)], [],
              node("Constant", "", "k", value=numpy_helper.from_array(np.array([2, 2], np.int64))),
              node("Dropout", "x", "d", ratio=0.5), node("Reshape", "d k", "r"), node("Clip", "r", "y", min=0.0, max=6.0), opset=8)
    save_onnx("constants", [tensor("x", 3)], [tensor("y", 3), tensor("z", 4, dtype=TensorProto.INT64)],
              [weight("a", 3), weight("b", 1), ints("i", 7, -3, 0, 2), ints("j", 2, 2, 2, 0), ints("n", 4)],
              node("Add", "a b", "c"), node("Exp", "c", "d"), node("Mul", "x d", "y"), node("Div", "i j", "k"),
              node("ConstantOfShape", "n", "f", value=helper.make_tensor("v", TensorProto.INT64, [1], [3])), node("Add", "k f", "z"))
    save_onnx("quantized", [tensor("x", 1, 4, 6, 6)], [tensor("y", 1, 3, 4, 4)],
              [weight("w", 3, 4, 3, 3, dtype=np.int8), numpy_helper.from_array(np.float32(0.05), "s"),
               numpy_helper.from_array(np.uint8(3), "z"), numpy_helper.from_array(np.int8(0), "zw")],
              node("QuantizeLinear", "x s z", "q"), node("DequantizeLinear", "q s z", "f"), node("DequantizeLinear", "w s zw", "g"),
              node("Conv", "f g", "y"))
    function = helper.make_function("own", "twice", ["a"], ["b"], [helper.make_node("Add", ["a", "a"], ["b"])],
                                    [helper.make_opsetid("", 17)])
    save_onnx("function", [tensor("x", 2, 3)], [tensor("y", 2, 3)], [], helper.make_node("twice", ["x"], ["t"], domain="own"),
              helper.make_node("twice", ["t"], ["y"], domain="own"), functions=[function], domains=[("own", 1)])
    external = weight("w", 2, 2)
    external.ClearField("raw_data")
    external.data_location = TensorProto.EXTERNAL
    own = np.random.default_rng(2)
    save_onnx("recurrent", [tensor("x", 3, 2, 4), tensor("lengths", 2, dtype=TensorProto.INT32)], [tensor("y", 3, 2, 2, 3), tensor("c", 2, 2, 3)],
              [ints("shape", 3, 2, 6)] + [numpy_helper.from_array(own.standard_normal(shape).astype(np.float32), name) for name, shape in
               (("w", (2, 12, 4)), ("r", (2, 12, 3)), ("b", (2, 24)), ("gw", (2, 9, 6)), ("gr", (2, 9, 3)), ("h", (2, 2, 3)))],
              node("LSTM", "x w r b lengths h", "lstm h1 c", hidden_size=3, direction="bidirectional", clip=2.0,
                   activations=["Sigmoid", "Tanh", "Affine", "HardSigmoid", "Softsign", "Tanh"], activation_alpha=[0.5, 0.3]),
              node("Transpose", "lstm", "rows", perm=[0, 2, 1, 3]), node("Reshape", "rows shape", "flat"),
              node("GRU", "flat gw gr", "y", hidden_size=3, direction="bidirectional", linear_before_reset=1))
    ml = lambda op, x, y, **attributes: helper.make_node(op, x.split(), y.split(), domain="ai.onnx.ml", **attributes)
    save_onnx("trees", [tensor("x", "N", 2)], [tensor("y", "N", dtype=TensorProto.INT64), tensor("z", "N", 2), tensor("w", "N", 1), tensor("v", "N", 1)], [],
              ml("TreeEnsembleClassifier", "x", "y p", nodes_treeids=[0, 0, 0], nodes_nodeids=[0, 1, 2], nodes_featureids=[1, 0, 0],
                 nodes_values=[0.5, 0.0, 0.0], nodes_modes=["BRANCH_GT", "LEAF", "LEAF"], nodes_truenodeids=[1, 0, 0], nodes_falsenodeids=[2, 0, 0],
                 class_treeids=[0, 0], class_nodeids=[1, 2], class_ids=[0, 0], class_weights=[0.25, 0.75], classlabels_strings=["a", "b"],
                 post_transform="LOGISTIC"),
              ml("ZipMap", "p", "z", classlabels_strings=["a", "b"]),
              ml("TreeEnsemble", "x", "w", nodes_modes=numpy_helper.from_array(np.array([6, 1], np.uint8)),
                 nodes_splits=numpy_helper.from_array(np.array([0, -1], np.float32)), nodes_featureids=[0, 1], nodes_truenodeids=[1, 0], nodes_trueleafs=[0, 1],
                 nodes_falsenodeids=[1, 1], nodes_falseleafs=[1, 1], leaf_targetids=[0, 0], tree_roots=[0],
                 leaf_weights=numpy_helper.from_array(np.array([1, 2], np.float32)), membership_values=numpy_helper.from_array(np.array([1, 3, np.nan], np.float32))),
              ml("SVMRegressor", "x", "v", kernel_type="RBF", kernel_params=[0.5, 0.0, 3.0], n_supports=2, support_vectors=[0.0, 1.0, 1.0, 0.0],
                 coefficients=[1.0, -1.0], rho=[0.5]), domains=[("ai.onnx.ml", 5)])
    save_onnx("features", [tensor("x", "N", 2), tensor("i", "N", dtype=TensorProto.INT64)], [tensor("y", "N", 5), tensor("z", "N", 2, 3)], [],
              ml("Scaler", "x", "s", offset=[0.5], scale=[2.0, 3.0]), ml("Normalizer", "s", "n", norm="L2"), ml("Imputer", "n", "m", imputed_value_floats=[1.0]),
              ml("LabelEncoder", "i", "l", keys_int64s=[*range(0, 40, 2)], values_int64s=[*range(20)]), ml("OneHotEncoder", "x", "z", cats_int64s=[0, 1, 3]),
              ml("FeatureVectorizer", "m x", "y", inputdimensions=[3, 2]), domains=[("ai.onnx.ml", 2)])
    for key, value in (("location", "input.onnx"), ("offset", "0"), ("length", "16")):
        external.external_data.add(key=key, value=value)
    save_onnx("external", [tensor("x", 2, 2)], [tensor("y", 2, 2)], [external], node("MatMul", "x w", "y"))
    indices = helper.make_tensor("i", TensorProto.INT64, [2], [1, 4])
    values = helper.make_tensor("w", TensorProto.FLOAT, [2], [3.0, 5.0])
    graph = helper.make_graph([node("Add", "x w", "y")], "sparse", [tensor("x", 2, 3)], [tensor("y", 2, 3)],
                              sparse_initializer=[helper.make_sparse_tensor(values, indices, [2, 3])])
    write("onnx", "sparse.onnx", helper.make_model(graph, ir_version=8).SerializeToString())


def tensor_seeds():
    for dtype in ("float32", "float64", "float16", "int8", "int64", "uint16", "bool", "complex64"):
        array = np.arange(6).reshape(2, 3).astype(dtype)
        write("tensor", dtype + ".pb", numpy_helper.from_array(array, "x").SerializeToString())
    for kind in (TensorProto.FLOAT, TensorProto.INT32, TensorProto.INT64, TensorProto.DOUBLE, TensorProto.UINT64,
                 TensorProto.FLOAT16, TensorProto.BFLOAT16):
        one = helper.make_tensor("y", kind, [3], [1, 0, 2])
        write("tensor", f"fields-{kind}.pb", one.SerializeToString())
    write("tensor", "scalar.pb", numpy_helper.from_array(np.float32(2), "").SerializeToString())
    write("tensor", "string.pb", helper.make_tensor("s", TensorProto.STRING, [2], [b"a", b"bc"]).SerializeToString())


# ---- numpy ----


def saved(write_to):
    with tempfile.TemporaryFile() as file:
        write_to(file)
        file.seek(0)
        return file.read()


def npy_seeds():
    for dtype in ("<f4", "<f8", "<f2", "|i1", "<i8", "<u2", "|b1", "<c8"):
        array = np.arange(6).reshape(2, 3).astype(dtype)
        write("npy", f"{array.dtype.name}.npy", saved(lambda f: np.save(f, array)))
    write("npy", "columns.npy", saved(lambda f: np.save(f, np.asfortranarray(rng.standard_normal((2, 3, 4))))))
    write("npy", "scalar.npy", saved(lambda f: np.save(f, np.float32(3))))
    write("npy", "empty.npy", saved(lambda f: np.save(f, np.zeros((3, 0, 2), np.float32))))
    write("npy", "big-endian.npy", saved(lambda f: np.save(f, np.zeros(2, ">f4"))))
    write("npy", "version2.npy", saved(lambda f: np.lib.format.write_array(f, np.ones(3, "<f4"), version=(2, 0))))
    write("npy", "stored.npz", saved(lambda f: np.savez(f, a=np.ones(3), b=np.zeros((2, 2), np.int8))))
    write("npy", "deflated.npz", saved(lambda f: np.savez_compressed(f, a=np.zeros(100))))


# ---- safetensors ----


# ---- Samples (and the files of image and npy) ----


def samples_seeds():
    write("samples", "images.idx", b"\0\0\x08\3" + b"".join(n.to_bytes(4, "big") for n in (2, 2, 2)) + bytes(range(8)))
    write("samples", "numbers.idx", b"\0\0\x0b\1" + (1).to_bytes(4, "big") + b"\1\2")
    write("samples", "floats.idx", b"\0\0\x0d\2" + b"".join(n.to_bytes(4, "big") for n in (2, 4)) + np.arange(8, dtype=">f4").tobytes())
    write("samples", "labels.txt", b"7\n")


def safetensors(header, data, padding=0):
    text = json.dumps(header).encode() + b" " * padding
    return len(text).to_bytes(8, "little") + text + data


def safetensors_seeds():
    def entry(dtype, shape, start, end):
        return {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}
    write("safetensors", "two", safetensors({"a": entry("F32", [2, 2], 0, 16), "b": entry("I8", [3], 16, 19)}, bytes(range(19))))
    write("safetensors", "metadata", safetensors({"__metadata__": {"format": "pt"}, "x": entry("BF16", [], 0, 2)}, b"\0\1", 5))
    write("safetensors", "empty-tensor", safetensors({"x": entry("F64", [0, 7], 0, 0)}, b""))
    write("safetensors", "none", safetensors({}, b""))
    write("safetensors", "names", safetensors({"a\"\\\n\u00e9/b": entry("BOOL", [1], 0, 1), "\U0001f600": entry("U64", [1], 1, 9)}, bytes(9)))
    write("safetensors", "small-types", safetensors({"x": entry("I4", [4], 0, 2), "y": entry("F8_E4M3", [2], 2, 4)}, bytes(4)))
    write("safetensors", "gap", safetensors({"x": entry("U8", [1], 0, 1), "y": entry("U8", [1], 2, 3)}, bytes(3)))
    write("safetensors", "overflow", safetensors({"x": entry("F32", [1 << 62, 4], 0, 0)}, b""))


# ---- Keras ----

JSON_MODELS = ("cnn conv_same_stride conv_first conv1d_causal conv_transpose_same depthwise_multiplier separable max_pool_same "
               "average_pool_same global_first batch_norm_axis_1 dense_rank_3 reshape permute zero_padding cropping "
               "upsampling_bilinear rescaling_list relu_general softmax_axes prelu residual merge concatenate_axis_1 shared nested "
               "transfer no_input_layer").split()


# Of tests/keras/layers: layers with masks, states, parts, arguments, vocabularies.
LAYER_CASES = ("mha_masks", "gqa_scores", "stacked_masked", "both_state", "conv_lstm_2d_first", "timed_model", "einsum_part_of_bias", "group_norm_first",
               "op_item_parts_3", "op_where_3", "op_split_at_3", "text_bigrams", "string_lookup_count_masked", "stft_log", "normalization", "dense_int8")


def shard(folder, case, how):
    """The model.json and its weights as one shard."""
    path = folder / "m.json"
    keras_models.save_tfjs(path, case.model, keras_models.weights_of(case.model, np.random.default_rng(1)), how)
    model = json.loads(path.read_text())
    model["weightsManifest"][0]["paths"] = ["a.bin"]
    return json.dumps(model).encode() + b"\0" + b"".join((folder / f"m-{i}.bin").read_bytes() for i in (1, 2))


def keras_layer_seeds(folder):
    for family in sorted((HERE.parent / "keras/layers").glob("*.py")):
        importlib.import_module(f"layers.{family.stem}")
    cases = {c.name: c for c in keras_table.CASES}
    for name in LAYER_CASES:
        path, model = folder / f"{name}.json", cases[name].model
        keras_models.save_npz(path, model, {**keras_models.weights_of(model, np.random.default_rng(1)), **cases[name].weights})
        write("keras_json", name, path.read_bytes() + b"\0" + path.with_suffix(".npz").read_bytes())
    for how in (None, "uint8", "float16"):
        write("keras_tfjs", f"gru_{how}", shard(folder, cases["gru_masked"], how))


def keras_seeds():
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        keras_layer_seeds(folder)
        for model in JSON_MODELS:
            path = keras_models.save(model, "json-npz", folder)
            write("keras_json", model, path.read_bytes() + b"\0" + path.with_suffix(".npz").read_bytes())
        for form in ("h5-2", "h5-3", "keras", "keras-deflated"):
            path = keras_models.save("dense_no_bias", form, folder)
            write("keras_file", "dense_no_bias-" + form, path.read_bytes())


image_seeds(), onnx_seeds(), tensor_seeds(), npy_seeds(), samples_seeds(), safetensors_seeds(), keras_seeds()
