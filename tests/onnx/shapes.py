#!/usr/bin/python3
"""Whether the shape arithmetic of exporters vanishes: graphs without it, and with sizes that are right.

Usage: shapes.py [--tenon PROGRAM] patterns|torch|real

Exporters write sizes as graphs of their own: Shape, Gather, Unsqueeze, Concat, Reshape. After `simplify`, `fold`, `cse` and `dce` none of these may be left: no
`shape`, and no operator that makes a small vector or scalar of i64 (positions, which are as long as a sequence, are data). patterns: models of a few nodes, as
exporters write them. torch: BERT, GPT-2 (as prefill, and with caches) and YOLOv8n, small ones of bench/architectures.py, through PyTorch's exporter, with and
without open sizes; exit code 77 where there is no PyTorch. real: files of other exporters, from scripts/fetch.
"""
import argparse
import pathlib
import re
import subprocess
import sys
import tempfile
import warnings

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

HERE = pathlib.Path(__file__).parent
TOP = HERE.parent.parent
sys.dont_write_bytecode = True


def left(tenon, path, dims=()):
    """The lines of shape arithmetic that are left, and those that say what is wrong."""
    given = [x for dim in dims for x in ("--dim", dim)]
    done = subprocess.run([tenon, "opt", path, "--passes=simplify,fold,cse,dce", *given], capture_output=True, text=True)
    small = re.compile(r"%\S+: i64(\[\d{0,2}\])? = |.* = shape ")
    lines = [line.strip() for line in done.stdout.splitlines()]
    return done.stderr.splitlines() + [line for line in lines if not line.startswith("const ") and small.match(line)]


# ---- As exporters write them


def model(nodes, inputs, outputs, constants, opset=13):
    graph = helper.make_graph(
        [helper.make_node(op, ins.split(), outs.split(), name=outs, **attributes) for op, ins, outs, attributes in nodes], "pattern",
        [helper.make_tensor_value_info(name, kind, shape) for name, kind, shape in inputs],
        [helper.make_tensor_value_info(name, kind, None) for name, kind in outputs],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


F, I = TensorProto.FLOAT, TensorProto.INT64
INDICES = {"zero": np.int64(0), "one": np.int64(1), "axis0": np.int64([0]), "minus": np.int64([-1]), "heads": np.int64([4]), "twelve": np.int64([12])}


def size(axis, name, x="x"):
    """Shape -> Gather -> Unsqueeze: one size as a vector."""
    return [("Shape", x, f"{name}_shape", {}), ("Gather", f"{name}_shape {axis}", f"{name}_scalar", {}), ("Unsqueeze", f"{name}_scalar axis0", name, {})]


def patterns():
    x = [("x", F, ["batch", "sequence", 48])]
    split_heads = [*size("zero", "b"), *size("one", "s"), ("Concat", "b s heads twelve", "shape", {"axis": 0}), ("Reshape", "x shape", "y", {})]
    yield "heads", model(split_heads, x, [("y", F)], INDICES), "[batch,sequence,4,12]"
    filled = {**INDICES, "wanted": np.int64([1, 1, -1]), "ones": np.int64([1, 1, 1])}
    expand = [*size("zero", "b"), *size("one", "s"), ("Concat", "b s minus", "sizes", {"axis": 0}), ("Shape", "sizes", "rank", {}),
              ("ConstantOfShape", "rank", "full", {"value": numpy_helper.from_array(np.int64([1]))}), ("Mul", "full minus", "negative", {}),
              ("Equal", "sizes negative", "keep", {}), ("Where", "keep full sizes", "shape", {}), ("Expand", "row shape", "y", {})]
    yield "expand", model(expand, [*x, ("row", F, [1, 1, 48])], [("y", F)], filled), "[batch,sequence,48]"
    view = [("Shape", "x", "shape", {}), ("Slice", "shape axis0 end", "head", {}), ("ReduceProd", "head", "count", {"keepdims": 1}),
            ("Concat", "count minus", "flat", {"axis": 0}), ("Reshape", "x flat", "y", {})]
    yield "view", model(view, x, [("y", F)], {**INDICES, "end": np.int64([2])}), "[batch*sequence,48]"
    positions = [*size("two", "past", "cache"), *size("one", "s"), ("Add", "past_scalar s_scalar", "end", {}), ("Range", "past_scalar end one", "at", {}),
                 ("Gather", "table at", "rows", {}), ("Add", "x rows", "y", {})]
    cache = ("cache", F, ["batch", 4, "past", 12])
    yield "positions", model(positions, [*x, cache, ("table", F, [64, 48])], [("y", F)], {**INDICES, "two": np.int64(2)}), "[batch,sequence,48]"
    half = [*size("three", "w", "image"), ("Div", "w_scalar two", "middle", {}), ("Unsqueeze", "middle axis0", "end", {}),
            ("Slice", "image axis0 end last", "y", {})]
    yield "half", model(half, [("image", F, [1, 3, 8, "width"])], [("y", F)], {**INDICES, "two": np.int64(2), "three": np.int64(3), "last": np.int64([3])}), \
        "[1,3,8,floordiv(width,2)]"
    upsample = [("Shape", "image", "shape", {}), ("Slice", "shape axis0 two", "outer", {}), ("Slice", "shape two four", "spatial", {}),
                ("Cast", "spatial", "real", {"to": F}), ("Mul", "real factor", "larger", {}), ("Floor", "larger", "floored", {}),
                ("Cast", "floored", "sizes", {"to": I}), ("Concat", "outer sizes", "all", {"axis": 0}), ("Reshape", "image flat", "line", {}),
                ("Expand", "pixel all", "y", {})]
    yield "sizes_as_floats", model(upsample, [("image", F, ["batch", 3, 20, 30]), ("pixel", F, [1, 1, 1, 1])], [("y", F)],
                                   {**INDICES, "two": np.int64([2]), "four": np.int64([4]), "factor": np.float32([2, 2]), "flat": np.int64([0, -1])}), \
        "[batch,3,40,60]"


def run_patterns(tenon, folder):
    for name, proto, wanted in patterns():
        path = folder / f"{name}.onnx"
        onnx.save(proto, path)
        shown = subprocess.run([tenon, "opt", path, "--passes=simplify,dce"], stdout=subprocess.PIPE, text=True).stdout.split("\n")[0]
        yield name, left(tenon, path) + ([] if f"-> (%y: f32{wanted})" in shown else [f"no {wanted} in {shown}"])


# ---- Through PyTorch's exporter


def networks(torch):
    sys.path.insert(0, str(TOP / "bench"))
    import architectures as own
    words = lambda *shape: torch.randint(0, 100, shape)
    text, cache = {0: "batch", 1: "sequence"}, {0: "batch", 2: "past"}
    ids = ["ids", "mask", "types"]
    yield "bert", own.Bert(32, 4, 2, 100, 64), (words(2, 16), *2 * [torch.ones(2, 16, dtype=torch.int64)]), dict.fromkeys(ids, text)
    yield "gpt2_prefill", own.Gpt2(32, 4, 2, 100), (words(2, 16), ), {"ids": text}
    pasts = {f"past{i}": cache for i in range(4)}
    yield "gpt2_decode", own.Gpt2(32, 4, 2, 100), (words(2, 3), *(torch.rand(2, 4, 7, 8) for _ in pasts)), {"ids": text, **pasts}
    yield "yolov8n", own.Yolov8n(), (torch.rand(1, 3, 640, 640), ), {"image": {0: "batch"}}


def run_torch(tenon, folder):
    import torch
    warnings.filterwarnings("ignore")
    torch.manual_seed(1)
    for name, network, inputs, axes in networks(torch):
        for kind, dynamic in ("static", None), ("symbolic", axes):
            path = folder / f"{name}_{kind}.onnx"
            torch.onnx.export(network.eval(), inputs, str(path), opset_version=14, input_names=list(axes), dynamic_axes=dynamic)
            yield path.stem, left(tenon, path)


# ---- Of others

REAL = {"yolov8n_b": [[]], "minilm_l6_v2_q": [[], ["batch_size=2", "sequence_length=17"]],
        "ppocrv4_rec": [[], ["p2o.DynamicDimension.0=1", "p2o.DynamicDimension.1=320"]]}


def run_real(tenon, _):
    for name, given in REAL.items():
        path = subprocess.run([TOP / "scripts/fetch", name], stdout=subprocess.PIPE, text=True, check=True).stdout.strip().splitlines()[-1]
        for dims in given:
            yield " ".join([name, *dims]), left(tenon, path, dims)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tenon", default=TOP / "build" / "tenon")
    parser.add_argument("models", choices=("patterns", "torch", "real"))
    arguments = parser.parse_args()
    passed, failed = 0, 0
    with tempfile.TemporaryDirectory() as folder:
        try:
            for name, lines in globals()[f"run_{arguments.models}"](arguments.tenon, pathlib.Path(folder)):
                passed += not lines
                failed += bool(lines)
                print(*(f"{name}: {line}" for line in lines), sep="\n", end="\n" if lines else "")
        except ModuleNotFoundError as missing:
            print(missing)
            sys.exit(77)
    print(f"{passed} passed, {failed} failed")
    sys.exit(failed > 0 or not passed)


main()
