#!/usr/bin/python3
"""Runs Keras models and compares every output with the numpy forward pass (forward.py).

Usage: check.py [--once] PROGRAM... -- [NAME...]

PROGRAM is `tenon run`, called as `PROGRAM MODEL --input NAME=FILE.npy ... --output DIR`, which writes DIR/NAME.npy per output; or the
interpreter's driver beside this file (interpret.c), which runs all cases in one process. NAMEs are rows of models.py, or paths of
model files; none means every row, in Keras 2's .h5 and Keras 3's .keras, and a few in every form; --once: in one form each.
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


BATCH = 3


def random_input(shape, dtype, rng):
    if dtype.startswith(("int", "uint")):
        return rng.integers(0, 100, (BATCH, *shape)).astype(dtype)
    return rng.standard_normal((BATCH, *shape)).astype(dtype)


def prepare(path, same, folder):
    """Writes the inputs of a case; gives what must come out."""
    rng = np.random.default_rng(11)
    inputs = {name: random_input(shape, dtype, rng) for name, shape, dtype in configured_inputs(forward.load(same)[0])}
    for name, x in inputs.items():
        np.save(folder / f"{name}.npy", x)
    return list(inputs), forward.run(same, list(inputs.values()))


def compare(wanted, folder, relative=1e-4):
    """None when the folder holds these outputs, else the reason."""
    if (folder / "error").exists():
        return (folder / "error").read_text(errors="replace").strip()
    for name, y in wanted.items():
        if not (folder / f"{name}.npy").exists():
            return f"there is no output {name}"
        got, y = np.load(folder / f"{name}.npy"), np.asarray(y)
        if y.dtype.kind in "OUS":
            if got.shape != y.shape or not (np.char.decode(got, "utf-8") == y.astype(str)).all():
                return f"{name}: {got.tolist()}, not {y.tolist()}"
            continue
        got = got.astype(float)
        if got.shape != y.shape:
            return f"{name}: shape {got.shape}, not {y.shape}"
        error = np.abs(got - y) - relative / 10 - relative * np.abs(y)
        if not (error <= 0).all():
            return f"{name}: off by {np.abs(got - y).max():.3g}, largest value {np.abs(y).max():.3g}"
    return None


def run_list(program, rows, folder):
    """rows: (model, folder, batch or None), all in one process."""
    (folder / "list").write_text("".join(f"{model} {where} {batch or ''}\n" for model, where, batch in rows))
    done = subprocess.run([*program, folder / "list"], capture_output=True, text=True, errors="replace")
    if done.returncode:
        sys.exit(f"FAIL exit code {done.returncode}: {done.stderr}")


def run_single(program, path, names, folder):
    command = [*program, str(path), "--output", str(folder)]
    for name in names:
        command += ["--input", f"{name}={folder / name}.npy"]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace")
    if done.returncode:
        (folder / "error").write_text(f"exit code {done.returncode}: {done.stderr.strip() or done.stdout.strip()}")


def forms_of(name, once):
    if once:
        return ("keras" if len(name) % 2 else "h5-2",)
    return [f for f in models.FORMS if not f.startswith("tfjs-")] if name in EVERYWHERE else ("h5-2", "keras")


def cases(names, folder, once):
    for name in names or models.MODELS:
        if "/" in name:
            yield pathlib.Path(name).name, pathlib.Path(name), pathlib.Path(name)
            continue
        for form in forms_of(name, once):
            path = models.save(name, form, folder)
            same = {"json-npz": "json-3", "npz-2": "json-2", "tfjs": "json-2"}.get(form)  # forward.py reads HDF5 only
            same = folder / f"{name}-{same}.json" if same else path
            yield f"{name} ({form})", path, same


def main():
    if "--" not in sys.argv[2:]:
        sys.exit(__doc__)
    once = sys.argv[1] == "--once"
    split = sys.argv.index("--")
    program, names = sys.argv[1 + once:split], sys.argv[split + 1:]
    failed, rows = 0, []
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        for label, path, same in cases(names, folder, once):
            out = folder / f"case{len(rows)}"
            out.mkdir()
            rows.append((label, path, out, *prepare(path, same, out)))
        if len(program) == 1:
            run_list(program, [(path, out, None) for _, path, out, _, _ in rows], folder)
        for label, path, out, inputs, wanted in rows:
            if len(program) > 1:
                run_single(program, path, inputs, out)
            reason = compare(wanted, out)
            failed += reason is not None
            if reason:
                print(f"FAIL {label}: {reason}")
    print(f"{len(rows) - failed} passed, {failed} failed")
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
