#!/usr/bin/python3
"""Runs Keras models and compares every output with the numpy forward pass (forward.py).

Usage: check.py [--once] PROGRAM... -- [NAME...]

PROGRAM is called as `PROGRAM MODEL --input NAME=FILE.npy ... --output DIR` and writes DIR/NAME.npy per output: `tenon run`, or
the interpreter's driver beside this file. NAMEs are rows of models.py, or paths of model files; none means every row, in
Keras 2's .h5 and Keras 3's .keras, and a few in every form; --once: in one form each.
"""
import pathlib
import subprocess
import sys
import tempfile

import numpy as np

import forward
import models

EVERYWHERE = ("cnn", "shared", "counted", "nested", "residual")  # in every form of file


def configured_inputs(model):
    """(name, shape without the batch, dtype) of every input, from the configuration alone."""
    config = model["config"]
    layers = config if isinstance(config, list) else config["layers"]
    by_name = {l["config"]["name"]: l for l in layers}
    if model["class_name"] == "Sequential" and forward.is_model(layers[0]):
        return configured_inputs(layers[0])
    found = []
    for name in forward.input_names(model):
        l = by_name.get(name) or layers[0]
        shape = l["config"].get("batch_shape") or l["config"].get("batch_input_shape")
        dtype = l["config"].get("dtype")
        found.append((name, [n or 7 for n in shape[1:]], dtype if isinstance(dtype, str) else "float32"))
    return found


def random_input(shape, dtype, rng):
    if dtype.startswith(("int", "uint")):
        return rng.integers(0, 100, (1, *shape)).astype(dtype)
    return rng.standard_normal((1, *shape)).astype(dtype)


def compare(path, same, folder, program):
    """None when all outputs of `path` are those of forward.py on `same`, else the reason."""
    rng = np.random.default_rng(11)
    inputs = {name: random_input(shape, dtype, rng) for name, shape, dtype in configured_inputs(forward.load(same)[0])}
    wanted = forward.run(same, list(inputs.values()))
    command = [*program, str(path), "--output", str(folder)]
    for name, x in inputs.items():
        np.save(folder / f"{name}.in.npy", x)
        command += ["--input", f"{name}={folder / name}.in.npy"]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace")
    if done.returncode:
        return f"exit code {done.returncode}: {done.stderr.strip() or done.stdout.strip()}"
    for name, y in wanted.items():
        got = np.load(folder / f"{name}.npy")
        if got.shape != y.shape:
            return f"{name}: shape {got.shape}, not {y.shape}"
        error = np.abs(got - y) - 1e-5 - 1e-4 * np.abs(y)
        if not (error <= 0).all():
            return f"{name}: off by {np.abs(got - y).max():.3g}, largest value {np.abs(y).max():.3g}"
    return None


def forms_of(name, once):
    if once:
        return ("keras" if len(name) % 2 else "h5-2",)
    return models.FORMS if name in EVERYWHERE else ("h5-2", "keras")


def cases(names, folder, once):
    for name in names or models.MODELS:
        if "/" in name:
            yield pathlib.Path(name).name, pathlib.Path(name), pathlib.Path(name)
            continue
        for form in forms_of(name, once):
            path = models.save(name, form, folder)
            same = folder / f"{name}-json-3.json" if form == "json-npz" else path  # forward.py reads no .npz
            yield f"{name} ({form})", path, same


def main():
    if "--" not in sys.argv[2:]:
        sys.exit(__doc__)
    once = sys.argv[1] == "--once"
    split = sys.argv.index("--")
    program, names = sys.argv[1 + once:split], sys.argv[split + 1:]
    passed = failed = 0
    with tempfile.TemporaryDirectory() as folder:
        for label, path, same in cases(names, pathlib.Path(folder), once):
            out = pathlib.Path(folder) / "out"
            out.mkdir(exist_ok=True)
            reason = compare(path, same, out, program)
            passed += reason is None
            failed += reason is not None
            if reason:
                print(f"FAIL {label}: {reason}")
    print(f"{passed} passed, {failed} failed")
    sys.exit(failed > 0)


main()
