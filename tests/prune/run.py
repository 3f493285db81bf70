#!/usr/bin/python3
"""What pruning fits and distils, held against numpy and against itself.

    tests/prune/run.py --tenon PROGRAM CASE...

transposed: the weights that are left of transposed convolutions are those that least squares give for their zeros.
threads:    distillation gives the same numbers on one processor and on all.
centred:    distillation gets nearer where what layers meet is far from 0.
scaled:     and the same as near where their channels are larger or smaller.
retry:      where steps of the first rate only lead away, a third of it comes nearer.
recurrent:  the recurrent weights of units that are left are those that least squares give for the states of the original network.
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
    """Rows of weights [m, k] that give nearest to what the old ones give, but for a bias, with 1 % of each variance for staying."""
    centred = windows - windows.mean(0)
    xx = centred.T @ centred
    xx += 0.01 * np.diag(np.diag(xx))
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


# ---- recurrences ----


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def hard_sigmoid(x):
    return np.clip(0.3 * x + 0.4, 0, 1)


STEPS, BATCH, FEATURES, HIDDEN, TWINS = 12, 2, 3, 8, 3

# name: ONNX's operator, its gates, directions, attributes, whether there are first states and lengths, the activation of gates
RECURRENT = {
    "lstm": ("LSTM", 4, ["forward", "reverse"], {}, True, True, sigmoid),
    "gru": ("GRU", 3, ["forward", "reverse"], dict(linear_before_reset=0), True, True, sigmoid),
    "gru, hard": ("GRU", 3, ["reverse"], dict(linear_before_reset=0, clip=0.75, activations=["HardSigmoid", "Tanh"], activation_alpha=[0.3], activation_beta=[0.4]),
                  False, False, hard_sigmoid),
    "gru, linear": ("GRU", 3, ["reverse", "forward"], dict(linear_before_reset=1), True, False, sigmoid),
    "rnn": ("RNN", 1, ["forward"], {}, False, True, None),
}


def walk(kind, gates, attributes, gate, weights, x, lengths, reverse):
    """What [rows, features] of a sequence makes of the state: of each step there is [gates], what its recurrent weights meet, for all gates, [gates, hidden]."""
    w, r, bias, h = weights
    c, met, clip = np.zeros(HIDDEN), [], attributes.get("clip", np.inf)
    bound = lambda a: np.clip(a, -clip, clip)
    for t in (range(lengths)[::-1] if reverse else range(lengths)):
        xw, split = x[t] @ w.T + bias[:gates * HIDDEN], lambda a: np.split(a, gates)
        seen, hr = [h] * gates, h @ r.T + bias[gates * HIDDEN:]
        if kind == "LSTM":
            i, o, f, g = split(xw + hr)
            c = gate(f) * c + gate(i) * np.tanh(g)
            new = gate(o) * np.tanh(c)
        elif kind == "GRU":
            (xz, xr, xh), (hz, hr, hh) = split(xw), split(hr)
            z, reset = gate(bound(xz + hz)), gate(bound(xr + hr))
            if not attributes["linear_before_reset"]:
                seen[2] = reset * h
                hh = seen[2] @ r[2 * HIDDEN:].T + bias[-HIDDEN:]
            else:
                hh = reset * hh
            new = z * h + (1 - z) * np.tanh(bound(xh + hh))
        else:
            new = np.tanh(xw + hr)
        met.append(seen)
        h = new
    return met


def nearest(met, old, kept):
    """Of what some weights [rows, k] give for met[places, k]: weights for the columns that are kept, [rows, kept], and what a bias adds."""
    x, y = met[:, kept], met @ old.T
    xc, yc = x - x.mean(0), y - y.mean(0)
    xx = xc.T @ xc
    stay = 0.01 * np.diag(np.diag(xx))
    new = np.linalg.solve(xx + stay, xc.T @ yc + stay @ old[:, kept].T).T
    return new, y.mean(0) - new @ x.mean(0)


def constant(graph, name):
    """What constants and operators that move elements make."""
    for tensor in graph.initializer:
        if tensor.name == name:
            return numpy_helper.to_array(tensor)
    node, = (node for node in graph.node if name in node.output)
    x = [constant(graph, i) for i in node.input]
    attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    return {"Transpose": lambda: x[0].transpose(attributes.get("perm")), "Unsqueeze": lambda: np.expand_dims(x[0], tuple(x[1])),
            "Reshape": lambda: x[0].reshape(x[1]), "Concat": lambda: np.concatenate(x, attributes.get("axis"))}[node.op_type]()


def check_recurrent(tenon, folder, kind, gates, directions, attributes, has_state, has_lengths, gate):
    """Some units are nearly twins of others. These, or those, go."""
    random, samples, wide = np.random.default_rng(6), 40, gates * HIDDEN
    weights, inits, outputs, nodes = {}, [], [], []
    for direction in directions:
        w, r, b = random.normal(size=(gates, HIDDEN, FEATURES)), random.normal(size=(gates, HIDDEN, HIDDEN)) / 2, random.normal(size=(2, gates, HIDDEN)) / 2
        for a in (w.swapaxes(0, 1), r.swapaxes(0, 1), b.transpose(2, 0, 1)):
            a[-TWINS:] = a[:TWINS]
        w[:, -TWINS:] *= 1 + random.normal(size=(gates, TWINS, FEATURES)) / 500
        h = random.normal(size=HIDDEN) / 2
        h[-TWINS:] = h[:TWINS]
        weights[direction] = [a.astype("f4") for a in (w.reshape(wide, FEATURES), r.reshape(wide, HIDDEN), b.reshape(2 * wide), h if has_state else 0 * h)]
        w, r, b, h = weights[direction]
        parts = {"w": w[None], "r": r[None], "b": b[None], "h": np.tile(h, (1, BATCH, 1)), "v": random.normal(size=(HIDDEN, 2)).astype("f4")}
        inits += [numpy_helper.from_array(a, f"{direction}_{name}") for name, a in parts.items()]
        inputs = ["x"] + [f"{direction}_{n}" for n in "wrb"] + ["lengths" if has_lengths else "", f"{direction}_h" if has_state else ""]
        nodes += [helper.make_node(kind, inputs, [f"{direction}_a"], name=direction, direction=direction, hidden_size=HIDDEN, **attributes),
                  helper.make_node("Squeeze", [f"{direction}_a", "one"], [f"{direction}_s"]),
                  helper.make_node("MatMul", [f"{direction}_s", f"{direction}_v"], [f"{direction}_y"])]
        outputs.append(helper.make_tensor_value_info(f"{direction}_y", TensorProto.FLOAT, (STEPS, BATCH, 2)))
    inits.append(numpy_helper.from_array(np.array([1]), "one"))
    given = [helper.make_tensor_value_info("x", TensorProto.FLOAT, (STEPS, BATCH, FEATURES))]
    data = {"x": random.normal(size=(samples, STEPS, BATCH, FEATURES)).astype("f4")}
    if has_lengths:
        given.append(helper.make_tensor_value_info("lengths", TensorProto.INT32, (BATCH,)))
        data["lengths"] = random.integers(1, STEPS + 1, (samples, BATCH)).astype("i4")
    onnx.save(helper.make_model(helper.make_graph(nodes, "g", given, outputs, inits), opset_imports=[helper.make_opsetid("", 14)]), folder / "model.onnx")
    np.savez(folder / "data.npz", **data)
    command = [tenon, "compile", folder / "model.onnx", "--prune=channels:0.45", "--calib", folder / "data.npz", "--calib-samples", samples]
    likeness = [float(re.search(r"outputs SQNR (\S+) dB", run(*command, "-o", folder / "small.so", *more))[1]) for more in ([], ["--no-refit"])]
    assert likeness[0] > likeness[1] + 5, likeness
    run(*command, "--emit", "onnx", "-o", folder / "small.onnx")
    graph = onnx.load(folder / "small.onnx").graph
    found = [node for node in graph.node if node.op_type == kind]
    assert len(found) == len(directions), [node.op_type for node in graph.node]
    for node in found:
        direction = next(helper.get_attribute_value(a) for a in node.attribute if a.name == "direction").decode()
        old = [a.astype("f8") for a in weights[direction]]
        new = [constant(graph, name)[0] for name in node.input[1:4]]
        kept = [int(abs(old[0][:HIDDEN] - row).sum(1).argmin()) for row in new[0][:len(new[0]) // gates]]
        assert HIDDEN - TWINS <= len(kept) < HIDDEN, kept
        rows = [g * HIDDEN + k for g in range(gates) for k in kept]
        np.testing.assert_allclose(new[0], old[0][rows], atol=2e-4)
        ends = data["lengths"] if has_lengths else np.full((samples, BATCH), STEPS)
        met = np.array([step for s in range(samples) for b in range(BATCH)
                        for step in walk(kind, gates, attributes, gate, old, data["x"][s, :, b], ends[s, b], direction == "reverse")])
        whole = [nearest(met[:, g], old[1][g * HIDDEN:][kept], kept) for g in range(gates)]
        want, shift = (np.concatenate(parts) for parts in zip(*whole))
        assert not np.allclose(want, old[1][rows][:, kept], atol=0.05), "nothing had to be made up for"
        np.testing.assert_allclose(new[1], want, atol=5e-4)
        both = lambda b: b[:len(b) // 2] + b[len(b) // 2:]
        np.testing.assert_allclose(both(new[2]), both(old[2])[rows] + shift, atol=5e-4)


def recurrent(tenon, folder):
    for case in RECURRENT.values():
        check_recurrent(tenon, folder, *case)


# ---- distillation ----


def distilled(tenon, folder, model, data, form, **options):
    """What it says of the distance of the outputs after a round, and the pruned model."""
    path = folder / "small.tn"
    np.save(folder / "data.npy", data)
    said = run(tenon, "opt", model, f"--prune={form}", "--distill", 1, "--calib", folder / "data.npy", "--calib-samples", len(data), "--cpu", "x86-64",
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


def check_nearer(line, share):
    """What is off after it."""
    found = re.fullmatch(r"distilled: the outputs are (\S+) off before, (\S+) after", line)
    assert found and float(found[2]) < share * float(found[1]), line
    return float(found[2])


def retry(tenon, folder):
    """With 24 samples of these a round is ten steps; those of the first rate end further away, and nothing is done."""
    (folder / "small_mlp.tn").write_text(SMALL)
    data = np.random.default_rng(3).uniform(-1, 1, (400, 1, 4)).astype("f4")[np.arange(24) * 400 // 24]
    check_nearer(distilled(tenon, folder, folder / "small_mlp.tn", data, "channels:0.3")[0], 0.995)


# weights of a row of the first layer, its places, what goes of it
FAR = {"gemm": (32, 1, "channels:0.4"), "conv": (36, 9, "any:0.7"), "conv of 2 groups": (18, 9, "channels:0.3")}


def write_far(path, kind, means, sizes=np.ones(4), heights=np.ones(8)):
    """Samples, of channels with these means[4] and sizes[4], which the first of two layers takes away, and makes results of these heights[8] of; of `gemm` each is eight of x."""
    k, places, _ = FAR[kind]
    r, inside = np.random.default_rng(4), 36 // k
    shape, like = ((8, k), (1, k)) if kind == "gemm" else ((8, 4 // inside, 3, 3), (1, 4, 5, 5))
    w, b, v = r.normal(size=(8, k)) / np.sqrt(k), r.normal(size=8), r.normal(size=(8 * places, 3)) / np.sqrt(8 * places)
    columns = lambda channels: np.array([np.repeat(channels, 8) if kind == "gemm" else np.repeat(np.split(channels, inside)[row * inside // 8], 9) for row in range(8)])
    b, w = b - (w * columns(means)).sum(1), w / columns(sizes)
    arrays = {"w": (w * heights[:, None]).reshape(shape), "b": b * heights, "v": v / np.repeat(heights, places)[:, None]}
    first = helper.make_node("Gemm", ["x", "w", "b"], ["h"], transB=1) if kind == "gemm" else helper.make_node("Conv", ["x", "w", "b"], ["h"], group=inside)
    nodes = [first, helper.make_node("Relu", ["h"], ["r"]), helper.make_node("Flatten", ["r"], ["f"]), helper.make_node("MatMul", ["f", "v"], ["y"])]
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in (("x", like), ("y", (1, 3)))]
    graph = helper.make_graph(nodes, "far", values[:1], values[1:], [numpy_helper.from_array(a.astype("f4"), name) for name, a in arrays.items()])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)
    spread = lambda channels: np.repeat(channels, 8) if kind == "gemm" else channels[:, None, None]
    return ((r.normal(size=(512, *like)) + spread(means)) * spread(sizes)).astype("f4")


def centred(tenon, folder):
    """Steps are the same wherever what a layer meets lies. They would shift what meets x far from 0, and lead away."""
    for kind in FAR:
        off = []
        for means in (np.zeros(4), np.array([3, 12, 5, 20])):
            data = write_far(folder / "far.onnx", kind, means)
            off.append(check_nearer(distilled(tenon, folder, folder / "far.onnx", data, FAR[kind][-1])[0], 0.99))
        np.testing.assert_allclose(*off, rtol=0.02)


def scaled(tenon, folder):
    """Fits and steps are the same however large the channels are that a layer meets and makes."""
    for kind in FAR:
        off = []
        for sizes, heights in ((np.ones(4), np.ones(8)), (np.array([0.5, 1, 2, 1]), np.array([3, 1, 0.5, 2, 3, 1, 0.5, 1]))):
            data = write_far(folder / "far.onnx", kind, np.zeros(4), sizes, heights if "any" not in FAR[kind][-1] else np.ones(8))
            off.append([float(x) for x in re.findall(r"(\S+) (?:off before|after)", distilled(tenon, folder, folder / "far.onnx", data, FAR[kind][-1])[0])])
        np.testing.assert_allclose(*off, rtol=0.02)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tenon", default=TOP / "build/tenon")
    parser.add_argument("cases", nargs="+", choices=["transposed", "recurrent", "threads", "retry", "centred", "scaled"])
    arguments = parser.parse_args()
    for case in arguments.cases:
        with tempfile.TemporaryDirectory() as folder:
            globals()[case](arguments.tenon, pathlib.Path(folder))
    print(f"{len(arguments.cases)} passed, 0 failed")


main()
