#!/usr/bin/python3
"""What pruning fits and distils, held against numpy and against itself.

    tests/prune/run.py --tenon PROGRAM CASE...

transposed: the weights that are left of transposed convolutions are those that least squares give for their zeros.
threads:    distillation gives the same numbers on one processor and on all.
retry:      where steps of the first rate only lead away, a third of it comes nearer.
"""
import argparse
import os
import pathlib
import re
import subprocess
import sys
import tempfile

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

TOP = pathlib.Path(__file__).resolve().parents[2]


def run(*command, **options):
    """What it said."""
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, **options)
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))}: {done.stderr}")
    return done.stdout + done.stderr


# ---- transposed convolutions ----


def met(x, sizes, kernel, strides, dilations, before):
    """[places, c * elements]: of x[n, c, ...] what a transposed convolution's result at each place is a sum of."""
    n, c = x.shape[:2]
    windows = np.zeros((n, *sizes, c, *kernel))
    for e in np.ndindex(*kernel):
        for i in np.ndindex(*x.shape[2:]):
            o = tuple(a * s + b * d - p for a, s, b, d, p in zip(i, strides, e, dilations, before))
            if all(0 <= a < size for a, size in zip(o, sizes)):
                windows[(slice(None), *o, slice(None), *e)] += x[(slice(None), slice(None), *i)]
    return windows.reshape(n * int(np.prod(sizes)), -1)


def best_for_zeros(windows, old, zeros):
    """Rows of weights [m, k] that give nearest to what the old ones give, but for a bias, with 1 % of the mean variance for staying."""
    centred = windows - windows.mean(0)
    xx = centred.T @ centred
    xx += 0.01 * np.diag(xx).mean() * np.eye(len(xx))
    best = np.zeros_like(old)
    for row, gone, to in zip(old, zeros, best):
        left = ~gone
        to[left] = np.linalg.solve(xx[np.ix_(left, left)], (xx @ row)[left])
    return best


# name: shape of x, channels made, attributes, whether there is a bias
TRANSPOSED = {
    "a": ((1, 3, 5, 4), 4, dict(kernel_shape=[3, 4], strides=[2, 3], dilations=[1, 2], pads=[1, 0, 2, 1], output_padding=[1, 0]), True),
    "b": ((1, 5, 11), 3, dict(kernel_shape=[5], strides=[1], pads=[2, 2]), False),
}


def transposed(tenon, folder):
    random, samples = np.random.default_rng(1), 24
    nodes, inputs, outputs, weights, data, fits = [], [], [], [], {}, {}
    for name, (shape, made, attributes, has_bias) in TRANSPOSED.items():
        kernel = attributes["kernel_shape"]
        rank = len(kernel)
        strides, dilations = attributes["strides"], attributes.get("dilations", [1] * rank)
        pads, extra = attributes["pads"], attributes.get("output_padding", [0] * rank)
        sizes = [(i - 1) * s + (k - 1) * d + 1 + o - b - a
                 for i, s, k, d, o, b, a in zip(shape[2:], strides, kernel, dilations, extra, pads[:rank], pads[rank:])]
        w, b = random.normal(size=(shape[1], made, *kernel)).astype("f4"), random.normal(size=made).astype("f4")
        x = random.normal(size=(samples, *shape[1:])).astype("f4")
        x[:, 1] += x[:, 0]  # what goes can be made up for
        data[f"{name}_x"] = x
        weights += [numpy_helper.from_array(w, f"{name}_w")] + ([numpy_helper.from_array(b, f"{name}_b")] if has_bias else [])
        nodes.append(helper.make_node("ConvTranspose", [f"{name}_x", f"{name}_w"] + [f"{name}_b"] * has_bias, [f"{name}_y"], name=name, **attributes))
        inputs.append(helper.make_tensor_value_info(f"{name}_x", TensorProto.FLOAT, shape))
        outputs.append(helper.make_tensor_value_info(f"{name}_y", TensorProto.FLOAT, (1, made, *sizes)))
        fits[name] = met(x, sizes, kernel, strides, dilations, pads[:rank]), w, b if has_bias else 0 * b
    model = helper.make_model(helper.make_graph(nodes, "g", inputs, outputs, weights), opset_imports=[helper.make_opsetid("", 13)])
    onnx.save(model, folder / "model.onnx")
    np.savez(folder / "data.npz", **data)
    run(tenon, "compile", folder / "model.onnx", "--prune=any:0.5", "--calib", folder / "data.npz", "--calib-samples", samples, "--emit", "onnx", "-o", folder / "small.onnx")
    graph = onnx.load(folder / "small.onnx").graph
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    found = [node for node in graph.node if node.op_type == "ConvTranspose"]
    assert len(found) == len(fits), [node.op_type for node in graph.node]
    for node in found:
        windows, old, bias = fits[node.input[0][0]]
        flat = lambda w: np.moveaxis(w, 1, 0).reshape(w.shape[1], -1).astype("f8")
        new, b = flat(constants[node.input[1]]), constants[node.input[2]]
        zeros = new == 0
        assert 0.2 < zeros.mean() < 0.8, zeros.mean()
        want = best_for_zeros(windows, flat(old), zeros)
        assert not np.allclose(want, flat(old) * ~zeros, atol=0.05), "nothing had to be made up for"
        np.testing.assert_allclose(new, want, atol=2e-4)
        np.testing.assert_allclose(b, bias + (flat(old) - want) @ windows.mean(0), atol=2e-4)


# ---- distillation ----


def distilled(tenon, folder, model, data, form, **options):
    """What it says of the distance of the outputs after a round, and the pruned model."""
    path = folder / "small.tn"
    np.save(folder / "data.npy", data)
    said = run(tenon, "opt", model, f"--prune={form}", "--distill", 1, "--calib", folder / "data.npy", "--calib-samples", len(data),
               "--passes=expand,simplify,fold,prune", "-o", path, **options)
    lines = [line for line in said.splitlines() if line.startswith("distilled: ")]
    assert len(lines) == 1, said
    weights = path.with_suffix(".safetensors")
    return lines[0], path.read_bytes() + (weights.read_bytes() if weights.exists() else b"")


def threads(tenon, folder):
    os.environ["OPENBLAS_NUM_THREADS"] = "1"  # the fits before it sum as BLAS does
    data = np.random.default_rng(2).random((512, 1, 784), dtype="f4")
    one = lambda: os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])
    alone, together = (distilled(tenon, folder, TOP / "examples/mnist/mnist.keras", data, "channels:0.8", preexec_fn=f) for f in (one, None))
    assert alone == together, (alone[0], together[0])
    assert "not done" not in alone[0], alone[0]


SMALL = """graph mlp(%x: f32[1,4]) -> (%y: f32[1,2]) {
  const %w: f32[4,3] = [0.5, -1, 0.25, 1, 0.125, -0.5, 1, 1, 1, -1, 0.5, 2]
  const %b: f32[3] = [0.5, -0.25, 1]
  const %v: f32[3,2] = [1, -1, 0.5, 0.3, -0.5, 0.75]
  %h: f32[1,3] = gemm %x, %w, %b
  %r: f32[1,3] = relu %h
  %y: f32[1,2] = gemm %r, %v
  return %y
}
"""


def retry(tenon, folder):
    """With 24 samples of these a round is ten steps; those of the first rate end further away, and nothing is done."""
    (folder / "small_mlp.tn").write_text(SMALL)
    data = np.random.default_rng(3).uniform(-1, 1, (400, 1, 4)).astype("f4")[np.arange(24) * 400 // 24]
    line, _ = distilled(tenon, folder, folder / "small_mlp.tn", data, "channels:0.3")
    before, after = map(float, re.fullmatch(r"distilled: the outputs are (\S+) off before, (\S+) after", line).groups())
    assert after < 0.995 * before, line


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tenon", default=TOP / "build/tenon")
    parser.add_argument("cases", nargs="+", choices=["transposed", "threads", "retry"])
    arguments = parser.parse_args()
    for case in arguments.cases:
        with tempfile.TemporaryDirectory() as folder:
            globals()[case](arguments.tenon, pathlib.Path(folder))
    print(f"{len(arguments.cases)} passed, 0 failed")


main()
