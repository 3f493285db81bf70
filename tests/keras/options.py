#!/usr/bin/python3
"""--dim and --input-shape on Keras models: sizes that the file leaves open, against the numpy forward pass.

Usage: options.py PROGRAM...          PROGRAM is `tenon run`
"""
import pathlib
import subprocess
import sys
import tempfile

import numpy as np

import forward
import models

OPEN = models.one(models.conv("c", 4, 5, 3, padding="same", activation="relu"), models.layer("MaxPooling2D", "m", pool_size=[2, 2]),
                  models.layer("GlobalAveragePooling2D", "y"), shape=(None, None, 4))
models.MODELS["open"] = OPEN

models.MODELS["augmented"] = models.one(models.layer("RandomFlip", "a"), models.layer("RandomZoom", "b"), models.layer("RandomFlip", "y"))

ROWS = [  # model, options, shape of the input, words of the error, or of a note (None: it runs)
    ("cnn", [], (1, 6, 7, 4), None),
    ("cnn", ["--dim", "batch=3"], (3, 6, 7, 4), None),
    ("cnn", ["--input-shape", "image=5x6x7x4"], (5, 6, 7, 4), None),
    ("residual", ["--dim", "batch=2"], (2, 6, 7, 4), None),
    ("open", ["--input-shape", "image=2x8x10x4"], (2, 8, 10, 4), None),
    ("open", ["--dim", "image_1=6", "--dim", "image_2=9"], (1, 6, 9, 4), None),
    ("augmented", [], None, "augmentation is for training and does nothing here: RandomFlip, RandomZoom"),
    ("cnn", ["--dim", "rows=3"], None, "leaves no size 'rows' open"),
    ("cnn", ["--input-shape", "picture=1x6x7x4"], None, "no input 'picture'"),
    ("cnn", ["--input-shape", "image=1x6x8x4"], None, "axis 2 of the input 'image' is 7 in the model, so it cannot be 8"),
    ("cnn", ["--input-shape", "image=1x6x7"], None, "3 axes, it has 4"),
]


SCALE = """# y = max(alpha * x . w + b, 0): alpha and units from the configuration, w and b from the file
graph scale(%x: f32[N,C], %alpha: f32, %w: f32[C,units], %b: f32[units]) -> (%y: f32[N,units]) {
  %0: f32[N,units] = matmul %x, %w
  %1: f32[N,units] = mul %0, %alpha
  %2: f32[N,units] = add %1, %b
  %y: f32[N,units] = relu %2
  return %y
}
"""
HALVE = """graph halve(%x: f32[N,C]) -> (%y: f32[N,C]) {
  const %half: f32 = splat 0.5
  %y: f32[N,C] = mul %x, %half
  return %y
}
"""
models.MODELS["own"] = models.one(models.layer("Scale", "scale", alpha=0.75, units=3, weights=[("w", (4, 3)), ("b", (3,))]),
                                  models.layer("Lambda", "y", function={"class_name": "__lambda__", "config": {}}), shape=(4,))
forward.REFERENCES["Scale"] = lambda call: np.maximum(call.config["alpha"] * call.inputs[0] @ call.weights[0] + call.weights[1], 0)
forward.REFERENCES["Lambda"] = lambda call: call.inputs[0] * 0.5
OPS = ["--op", "Scale=scale.tn", "--op", "y=halve.tn"]
ROWS += [
    ("own", OPS, (3, 4), None),
    ("own", OPS[:2], None, "node 'y' (Lambda)"),
    ("own", [*OPS, "--op", "Other=halve.tn"], None, "no layer or class 'Other'"),
    ("own", ["--op", "Scale=halve.tn", *OPS[2:]], None, "its configuration calls for 0"),
    ("own", ["--op", "Scale=missing.tn", *OPS[2:]], None, "missing.tn"),
]


def check(program, folder, name, options, shape, words):
    path = models.save(name, "keras", folder)
    command = [*program, str(path), *[o if o.count('.tn') == 0 else o.replace('=', f'={folder}/') for o in options], "--output", str(folder)]
    if words is None:
        x = np.random.default_rng(5).standard_normal(shape).astype(np.float32)
        np.save(folder / "x.npy", x)
        command += ["--input", f"image={folder}/x.npy"]
    done = subprocess.run(command, capture_output=True, text=True)
    if words:
        return None if done.returncode == (name != "augmented") and words in done.stderr else f"exit code {done.returncode}: {done.stderr}"
    if done.returncode:
        return f"exit code {done.returncode}: {done.stderr}"
    output, wanted = next(iter(forward.run(path, [x]).items()))
    got = np.load(folder / f"{output}.npy")
    good = got.shape == wanted.shape and (np.abs(got - wanted) <= 1e-5 + 1e-4 * np.abs(wanted)).all()
    return None if good else f"shape {got.shape}, wanted {wanted.shape}, or the values differ"


def main():
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        pathlib.Path(folder, "scale.tn").write_text(SCALE)
        pathlib.Path(folder, "halve.tn").write_text(HALVE)
        for row in ROWS:
            reason = check(sys.argv[1:], pathlib.Path(folder), *row)
            failed += reason is not None
            if reason:
                print(f"FAIL {row[0]} {' '.join(row[1])}: {reason}")
    print(f"{len(ROWS) - failed} passed, {failed} failed")
    sys.exit(failed > 0)


main()
