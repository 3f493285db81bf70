#!/usr/bin/python3
"""What tenon writes as ONNX (--emit onnx), run by ONNX Runtime: the answers of the conformance data, and those of real models.

Usage: rewritten.py --tenon PROGRAM --ort-run PROGRAM [--step N] [NAME...]

Every N-th test of the data (default 7) is imported, written without passes and run by ONNX Runtime, whose outputs must be those of the
data. What ONNX Runtime does not run from the original either, or has no kernel for, is passed over. A NAME is a model of scripts/fetch instead: it is written
after the portable passes, and both files must give the same in ONNX Runtime on random inputs. Closes with `N passed, N failed`.
"""
import argparse
import pathlib
import re
import subprocess
import sys
import tempfile

import numpy as np
import onnx
from onnx import numpy_helper

from run import MAX_ABS, MAX_RELATIVE, TOP
from run import ONNX as DIMS

SUITES = ("node", "simple", "pytorch-converted", "pytorch-operator")


def fetch(name):
    return pathlib.Path(subprocess.run([TOP / "scripts/fetch", name], check=True, capture_output=True, text=True).stdout.strip())


def data_folder():
    listing = subprocess.run(["dpkg", "-L", "libonnx-testdata"], check=True, capture_output=True, text=True).stdout
    return pathlib.Path(next(line for line in listing.splitlines() if line.endswith("/data/node"))).parent


def call(*command):
    """What went wrong, or None."""
    run = subprocess.run([str(word) for word in command], capture_output=True, text=True, errors="replace")
    return None if run.returncode == 0 else " ".join(run.stderr.split()) or f"exit code {run.returncode}"


def file_name(name):
    return name.replace("/", "_") + ".npy"


def ort(given, model, inputs, folder, *more):
    """ONNX Runtime's outputs go to the folder; what went wrong, or None."""
    words = [f"--input={name}={path}" for name, path in inputs.items()]
    words = [word for text in words for word in text.split("=", 1)]
    return call(given.ort_run, "--lib", given.lib, model, *words, "--output", folder, *more)


def agree(got, want):
    if got.shape != want.shape:
        return f"is {list(got.shape)}, not {list(want.shape)}"
    if want.dtype.kind in "fc":
        wrong = ~np.isclose(got, want, rtol=MAX_RELATIVE, atol=MAX_ABS, equal_nan=True)
    else:
        wrong = got != want
    return f"{np.count_nonzero(wrong)} of {want.size} elements are off" if wrong.any() else None


def plain_tensors(folder, kind):
    """[array] of KIND_0.pb, ...; None where one is no tensor that ort_run takes."""
    arrays = []
    while (path := folder / f"{kind}_{len(arrays)}.pb").exists():
        tensor = onnx.TensorProto()
        try:
            tensor.ParseFromString(path.read_bytes())
            arrays.append(numpy_helper.to_array(tensor))
        except Exception:
            return None
        if arrays[-1].dtype.kind not in "fiub":
            return None
    return arrays


def conformance(given, test, folder):
    """None: passed. False: passed over. Else what is wrong."""
    model = onnx.load(test / "model.onnx")
    initial = {tensor.name for tensor in model.graph.initializer}
    names = [value.name for value in model.graph.input if value.name not in initial]
    sets = test / "test_data_set_0"
    arrays, wanted = plain_tensors(sets, "input"), plain_tensors(sets, "output")
    if arrays is None or wanted is None or len(arrays) != len(names):
        return False
    inputs = {}
    for name, array in zip(names, arrays):
        inputs[name] = folder / ("in_" + file_name(name))
        np.save(inputs[name], array)
    for part in ("original", "again"):
        (folder / part).mkdir(exist_ok=True)
    if ort(given, test / "model.onnx", inputs, folder / "original"):
        return False
    if problem := call(given.tenon, "opt", test / "model.onnx", "--passes=", "--emit", "onnx", "-o", folder / "again.onnx"):
        # inputs that are shapes or axes must be known to be imported: `tenon check --rewritten` has those
        return False if re.search(r"--dim|constant|known|--input|has no|cannot|must be|no operator", problem) else problem
    if problem := ort(given, folder / "again.onnx", inputs, folder / "again"):
        return False if "Could not find an implementation" in problem else problem
    for value, want in zip(model.graph.output, wanted):
        if problem := agree(np.load(folder / "again" / file_name(value.name)), want):
            return f"output '{value.name}' {problem}"
    return None


def random_inputs(model, name, folder):
    """{input: file}: floats in [-1, 1), integers 0 and 1, which are places in every table."""
    sizes = dict(dim.split("=") for dim in DIMS[name])
    rng, inputs, initial = np.random.default_rng(1), {}, {tensor.name for tensor in model.graph.initializer}
    for value in model.graph.input:
        if value.name in initial:
            continue
        tensor = value.type.tensor_type
        shape = [dim.dim_value or int(sizes.get(dim.dim_param, sizes.get(f"{value.name}_{axis}", 1))) for axis, dim in enumerate(tensor.shape.dim)]
        dtype = onnx.mapping.TENSOR_TYPE_TO_NP_TYPE[tensor.elem_type]
        array = rng.uniform(-1, 1, shape) if dtype.kind == "f" else rng.integers(0, 2, shape)
        inputs[value.name] = folder / ("in_" + file_name(value.name))
        np.save(inputs[value.name], np.asarray(array).astype(dtype))
    return inputs


def real(given, name, folder):
    path = fetch(name)
    inputs = random_inputs(onnx.load(path), name, folder)
    for part in ("original", "again"):
        (folder / part).mkdir(exist_ok=True)
    if problem := ort(given, path, inputs, folder / "original"):
        return "the original: " + problem
    if problem := call(given.tenon, "opt", path, "--emit", "onnx", "-o", folder / "again.onnx"):
        return problem
    if problem := ort(given, folder / "again.onnx", inputs, folder / "again"):
        return problem
    for file in sorted((folder / "original").iterdir()):
        if problem := agree(np.load(folder / "again" / file.name), np.load(file)):
            return f"output '{file.stem}' {problem}"
    return None


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("--tenon", required=True)
    parser.add_argument("--ort-run", required=True)
    parser.add_argument("--step", type=int, default=7)
    parser.add_argument("names", nargs="*", metavar="NAME")
    given = parser.parse_args()
    given.lib = fetch("onnxruntime")
    tests = [test for suite in SUITES for test in sorted((data_folder() / suite).iterdir()) if test.is_dir()][:: given.step]
    jobs = [(name, real, name) for name in given.names] or [(f"{test.parent.name}/{test.name}", conformance, test) for test in tests]
    passed = failed = 0
    for name, function, what in jobs:
        with tempfile.TemporaryDirectory() as folder:
            problem = function(given, what, pathlib.Path(folder))
        if problem:
            print(f"FAIL {name}: {problem[:300]}")
        passed += problem is None
        failed += bool(problem)
    print(f"{passed} passed, {failed} failed")
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
