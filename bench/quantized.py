"""Quantized forms of float ONNX models, as the usual tools write them, with ranges found by running the model once on random data.

static(path, part, words): QuantizeLinear and DequantizeLinear around what has integer kernels: u8 activations, i8 weights by channel, i32 biases.
Convolution networks are quantized throughout, others at their products with constant weights only. dynamic: such products
become DynamicQuantizeLinear and MatMulInteger with i8 weights by channel. int4: they get weights of 4 bits. static_signed: static with i8 activations,
of the same steps.

All are in the forms that ONNX Runtime has fast kernels for: a peer is only one at its best.
"""
import pathlib
import subprocess
import tempfile

import numpy
import onnx
from onnx import TensorProto, helper, numpy_helper

TOP = pathlib.Path(__file__).resolve().parents[1]
WEIGHTED = {"Conv", "Gemm", "MatMul"}
THROUGHOUT = WEIGHTED | {"Add", "MaxPool", "GlobalAveragePool", "Relu", "Clip", "Flatten"}
BOUNDS = {"Relu", "Clip"}  # they stay with what is before them

class Graph:
    def __init__(self, path):
        self.model = onnx.load(str(path))
        self.graph = self.model.graph
        self.constants = {t.name: numpy_helper.to_array(t) for t in self.graph.initializer}
        for node in self.graph.node:
            if node.op_type == "Constant":
                self.constants[node.output[0]] = numpy_helper.to_array(node.attribute[0].t)
        self.users = {}
        for node in self.graph.node:
            for name in node.input:
                self.users.setdefault(name, []).append(node)
        self.nodes = []

    def is_weighted(self, node):
        return node.op_type in WEIGHTED and node.input[1] in self.constants and self.constants[node.input[1]].ndim >= 2

    def constant(self, name, array):
        self.graph.initializer.append(numpy_helper.from_array(numpy.array(array, order="C"), name))
        return name

    def add(self, op, inputs, outputs, **attributes):
        self.nodes.append(helper.make_node(op, inputs, outputs, name=outputs[0], **attributes))

    def save(self, part):
        del self.graph.node[:]
        self.graph.node.extend(self.nodes)
        used = {name for node in self.nodes for name in node.input}
        kept = [t for t in self.graph.initializer if t.name in used]
        del self.graph.initializer[:]
        self.graph.initializer.extend(kept)
        onnx.save(self.model, str(part))


def ranges(path, names, words):
    """(lowest, highest) of the tensors in one run on random inputs; `words`: name -> array, of those that are whole numbers."""
    runtime = subprocess.run([TOP / "scripts/fetch", "onnxruntime"], stdout=subprocess.PIPE, text=True, check=True).stdout.split()[-1]
    model = onnx.load(str(path))
    del model.graph.output[:]
    model.graph.output.extend(helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in names)
    with tempfile.TemporaryDirectory() as folder:
        onnx.save(model, f"{folder}/model.onnx")
        given = [x for name in words for x in ("--input", f"{name}={folder}/{name}.in.npy")]
        for name, array in words.items():
            numpy.save(f"{folder}/{name}.in.npy", array)
        subprocess.run([TOP / "build/tests/oracle/ort_run", "--lib", runtime, f"{folder}/model.onnx", "--output", folder, *given], check=True, stdout=subprocess.DEVNULL)
        arrays = (numpy.load(f"{folder}/{name.replace('/', '_')}.npy") for name in names)
        return {name: (float(a.min()), float(a.max())) for name, a in zip(names, arrays)}


def parameters(low, high):
    low, high = min(low, 0), max(high, 0)
    scale = numpy.float32((high - low) / 255 or 1)
    return scale, numpy.uint8(numpy.clip(round(-low / scale), 0, 255))


def weight_parts(graph, node):
    """Names of elements, scales and zero points, the axis of the channels, and the scales."""
    w = graph.constants[node.input[1]]
    transposed = any(a.name == "transB" and a.i for a in node.attribute)
    axis = 0 if node.op_type == "Conv" or transposed else w.ndim - 1
    scale = numpy.abs(w).max(axis=tuple(i for i in range(w.ndim) if i != axis)) / 127
    scale = numpy.where(scale == 0, 1, scale).astype(numpy.float32)
    shape = [-1 if i == axis else 1 for i in range(w.ndim)]
    q = numpy.clip(numpy.rint(w / scale.reshape(shape)), -127, 127).astype(numpy.int8)
    name, zeros = node.input[1], numpy.zeros(scale.shape, numpy.int8)
    return graph.constant(name + "_q", q), graph.constant(name + "_scale", scale), graph.constant(name + "_zeros", zeros), axis, scale


def widen_bias(graph, add, sums):
    """Three axes for a bias that is added to a product: of a vector ONNX Runtime makes a Gemm, which it then finds no integer kernel for."""
    for i, name in enumerate(add.input):
        if name in graph.constants and add.input[1 - i] in sums:
            add.input[i] = graph.constant(name + "_wide", graph.constants[name].reshape(1, 1, -1))


def static_signed(path, part, words):
    static(path, part, words, lowest=-128)


def static(path, part, words, lowest=0):
    graph = Graph(path)
    whole = any(node.op_type == "Conv" for node in graph.graph.node)
    chosen = [n for n in graph.graph.node if graph.is_weighted(n) or (whole and n.op_type in THROUGHOUT - WEIGHTED)]
    names = []
    for node in chosen:
        tensors = list(node.input if node.op_type == "Add" else node.input[:1])
        users = graph.users.get(node.output[0], [])
        fused = len(users) == 1 and users[0].op_type in BOUNDS
        if whole and not fused:
            tensors += node.output
        names += [name for name in tensors if name not in names and name not in graph.constants]
    fused = {n.output[0] for n in chosen for u in graph.users.get(n.output[0], []) if u.op_type in BOUNDS}
    names = [name for name in names if name not in fused]
    bounds = ranges(path, names, words)
    for node in chosen:  # these do not change the range
        if node.op_type in ("MaxPool", "Flatten"):
            bounds[node.output[0]] = bounds[node.input[0]]
    scales = {name: parameters(*bounds[name]) for name in names}

    def pair(name):
        scale, zero = scales[name]
        shifted = (zero.astype(int) + lowest).astype(numpy.int8 if lowest else numpy.uint8)
        scale, zero = graph.constant(name + "_scale", scale), graph.constant(name + "_zero", shifted)
        graph.add("QuantizeLinear", [name, scale, zero], [name + "_quantized"])
        graph.add("DequantizeLinear", [name + "_quantized", scale, zero], [name + "_real"])

    outputs = {value.name for value in graph.graph.output}
    sums = {node.output[0] for node in chosen if node.op_type == "MatMul"}
    for value in graph.graph.input:
        if value.name in scales:
            pair(value.name)
    for node in graph.graph.node:
        copy = onnx.NodeProto()
        copy.CopyFrom(node)
        if node in chosen:
            for i, name in enumerate(copy.input):
                if name in scales:
                    copy.input[i] = name + "_real"
            if graph.is_weighted(node):
                q, scale, zeros, axis, numbers_of_scale = weight_parts(graph, node)
                graph.add("DequantizeLinear", [q, scale, zeros], [node.input[1] + "_real"], axis=axis)
                copy.input[1] = node.input[1] + "_real"
                if len(copy.input) > 2 and node.op_type != "MatMul":
                    unit = (scales[node.input[0]][0] * numbers_of_scale).astype(numpy.float32)
                    bias = graph.constant(node.input[2] + "_q", numpy.rint(graph.constants[node.input[2]] / unit).astype(numpy.int32))
                    graph.add("DequantizeLinear", [bias, graph.constant(node.input[2] + "_unit", unit)], [node.input[2] + "_real"], axis=0)
                    copy.input[2] = node.input[2] + "_real"
        elif node.op_type == "Add":
            widen_bias(graph, copy, sums)
        graph.nodes.append(copy)
        for name in node.output:
            if name in scales and name not in outputs:
                pair(name)
    graph.save(part)


def dynamic(path, part, words):
    graph = Graph(path)
    done = set()
    for node in graph.graph.node:
        if node.op_type != "MatMul" or not graph.is_weighted(node):
            graph.nodes.append(node)
            continue
        x = node.input[0]
        if x not in done:
            graph.add("DynamicQuantizeLinear", [x], [x + "_quantized", x + "_scale", x + "_zero"])
            done.add(x)
        q, scale, zeros, *_ = weight_parts(graph, node)
        y = node.output[0]
        graph.add("MatMulInteger", [x + "_quantized", q, x + "_zero", zeros], [y + "_sums"])
        graph.add("Cast", [y + "_sums"], [y + "_cast"], to=TensorProto.FLOAT)
        graph.add("Mul", [x + "_scale", scale], [y + "_scale"])
        graph.add("Mul", [y + "_cast", y + "_scale"], [y])
    graph.save(part)


def int4(path, part, words):
    """Products with constant matrices become com.microsoft.MatMulNBits: 4 bits, blocks of 32 rows with an f32 scale, 8 for zero; so do rows that are gathered."""
    graph, size = Graph(path), 32

    def blocks(name, transposed):
        """[n][k/2] and [n][k/32]"""
        w = graph.constants[name] if transposed else graph.constants[name].T
        groups = w.reshape(w.shape[0], -1, size)
        largest = numpy.take_along_axis(groups, numpy.abs(groups).argmax(-1)[..., None], -1)
        scale = numpy.where(largest == 0, 1, largest / -8).astype(numpy.float32)
        q = numpy.clip(numpy.rint(groups / scale) + 8, 0, 15).astype(numpy.uint8)
        packed = (q[..., 0::2] | q[..., 1::2] << 4).reshape(w.shape[0], -1, size // 2)
        mark = name + ("_t" if transposed else "")
        if mark + "_q" not in {t.name for t in graph.graph.initializer}:
            graph.constant(mark + "_q", packed)
            graph.constant(mark + "_scale", scale[..., 0])
        return [mark + "_q", mark + "_scale"], w.shape

    for node in graph.graph.node:
        attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        w = graph.constants.get(node.input[1]) if len(node.input) > 1 else None
        fits = w is not None and w.ndim == 2 and w.dtype == numpy.float32
        transposed = bool(attributes.get("transB"))
        if node.op_type in ("MatMul", "Gemm") and fits and w.shape[1 if transposed else 0] % size == 0:
            names, (n, k) = blocks(node.input[1], transposed)
            bias = list(node.input[2:])
            product = node.output[0] + ("_product" if bias else "")
            graph.add("MatMulNBits", [node.input[0], *names], [product], domain="com.microsoft", N=n, K=k, bits=4, block_size=size)
            if bias:
                graph.add("Add", [product, *bias], node.output)
        else:
            graph.nodes.append(node)
    graph.model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    graph.save(part)
