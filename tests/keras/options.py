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

ROWS = [  # model, options, shape of the input, words of the error (None: it runs)
    ("cnn", [], (1, 6, 7, 4), None),
    ("cnn", ["--dim", "batch=3"], (3, 6, 7, 4), None),
    ("cnn", ["--input-shape", "image=5x6x7x4"], (5, 6, 7, 4), None),
    ("residual", ["--dim", "batch=2"], (2, 6, 7, 4), None),
    ("open", ["--input-shape", "image=2x8x10x4"], (2, 8, 10, 4), None),
    ("open", ["--dim", "image_1=6", "--dim", "image_2=9"], (1, 6, 9, 4), None),
    ("cnn", ["--dim", "rows=3"], None, "leaves no size 'rows' open"),
    ("cnn", ["--input-shape", "picture=1x6x7x4"], None, "no input 'picture'"),
    ("cnn", ["--input-shape", "image=1x6x8x4"], None, "axis 2 of the input 'image' is 7 in the model, so it cannot be 8"),
    ("cnn", ["--input-shape", "image=1x6x7"], None, "3 axes, it has 4"),
]


def check(program, folder, name, options, shape, words):
    path = models.save(name, "keras", folder)
    command = [*program, str(path), *options, "--output", str(folder)]
    if words is None:
        x = np.random.default_rng(5).standard_normal(shape).astype(np.float32)
        np.save(folder / "x.npy", x)
        command += ["--input", f"image={folder}/x.npy"]
    done = subprocess.run(command, capture_output=True, text=True)
    if words:
        return None if done.returncode == 1 and words in done.stderr else f"exit code {done.returncode}: {done.stderr}"
    if done.returncode:
        return f"exit code {done.returncode}: {done.stderr}"
    output, wanted = next(iter(forward.run(path, [x]).items()))
    got = np.load(folder / f"{output}.npy")
    good = got.shape == wanted.shape and (np.abs(got - wanted) <= 1e-5 + 1e-4 * np.abs(wanted)).all()
    return None if good else f"shape {got.shape}, wanted {wanted.shape}, or the values differ"


def main():
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        for row in ROWS:
            reason = check(sys.argv[1:], pathlib.Path(folder), *row)
            failed += reason is not None
            if reason:
                print(f"FAIL {row[0]} {' '.join(row[1])}: {reason}")
    print(f"{len(ROWS) - failed} passed, {failed} failed")
    sys.exit(failed > 0)


main()
