#!/usr/bin/python3
"""Stateful layers in sessions of their library: several runs in a row, from the beginning again, from a state that is given; against numpy.

Usage: stateful.py TENON

The forward pass keeps states between runs like the library does; that they are kept as they should be is checked apart from it: what a layer
that keeps its state says of four pieces of a sequence is what it says of the whole.
"""
import importlib
import pathlib
import subprocess
import sys
import tempfile

import numpy as np

import check
import forward
import models
import table

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "states"))
from session import Session  # noqa: E402

BATCH, STEPS, PIECES = 2, 3, 4
FAILED = []
COUNT = 0


def expect(what, good):
    global COUNT
    COUNT += 1
    if not good:
        FAILED.append(what)
        print(f"FAIL {what}")


def near(a, b):
    return a.shape == b.shape and np.allclose(a, b, rtol=1e-5, atol=1e-6)


def cases():
    rnn, both, conv_lstm = (getattr(importlib.import_module("layers.rnn"), name) for name in ("rnn", "both", "conv_lstm"))
    kept = {"stateful": True, "return_sequences": True}
    yield "stack", models.one(rnn("LSTM", "a", 4, 5, **kept), rnn("GRU", "b", 5, 3, **kept), rnn("SimpleRNN", "y", 3, 2, **kept),
                              shape=(STEPS, 4)), ["a.h", "a.c", "b.h", "y.h"]
    yield "masked", models.one(models.layer("Masking", "m", mask_value=0.0), rnn("LSTM", "y", 4, 3, **kept), shape=(STEPS, 4)), ["y.h", "y.c"]
    yield "image", models.one(conv_lstm(1, "y", **kept), shape=(STEPS, 5, 2)), ["y.h", "y.c"]
    yield "both", models.one(both("y", rnn("LSTM", "i", 4, 3, **kept)), shape=(STEPS, 4)), [
        f"y.{way}.{k}" for way in ("forward", "backward") for k in "hc"]
    yield "last", models.one(rnn("LSTM", "y", 4, 3, stateful=True), shape=(STEPS, 4)), ["y.h", "y.c"]


def compiled(tenon, name, model, version, weights, folder):
    model.name = name
    path = folder / f"{name}{version}{models.FORMS['keras'][0] if version == 3 else '.h5'}"
    models.FORMS["keras" if version == 3 else "h5-2"][1](path, model, weights)
    subprocess.run([tenon, "compile", path, "-o", path.with_suffix(".so"), "--quiet", "--dim", f"batch={BATCH}"], check=True)
    return Session(path.with_suffix(".so"))


def pieces_of(config, masked):
    (_, shape, _), = check.configured_inputs(config)
    x = np.random.default_rng(8).standard_normal((BATCH, PIECES * STEPS, *shape[1:])).astype(np.float32)
    if masked:
        x[0, 2] = x[1, 4:6] = 0  # not first in a piece, where the output before is not known any more
    return x, np.split(x, PIECES, axis=1)


def run_case(tenon, name, model, states, version, folder):
    label = f"{name}, Keras {version}"
    weights = models.weights_of(model, np.random.default_rng(6))
    session = compiled(tenon, name, model, version, weights, folder)
    config = models.keras2_model(model) if version == 2 else models.keras3_model(model)
    wide = {l: [np.asarray(w, float) for w in ws] for l, ws in weights.items()}
    x, pieces = pieces_of(config, name == "masked")

    def numpy(piece):
        (y,) = forward.arrays(forward.run_model(config, wide, [forward.Tensor(piece.astype(float))], version)).values()
        return y

    def tenon_run(piece):
        (y,) = session.run({session.inputs[0]: piece}).values()
        return y

    def all_zero():
        forward.STATES = {}
        for s in session.states:
            forward.STATES.setdefault(s.rpartition(".")[0], []).append(np.zeros(session.state(s).shape))

    expect(f"{label}: its states are {session.states}", session.states == states)
    all_zero()
    wanted = [numpy(p) for p in pieces]
    first = [tenon_run(p) for p in pieces]
    expect(f"{label}: pieces in a row", all(map(near, first, wanted)))
    expect(f"{label}: runs differ from each other", not near(tenon_run(pieces[0]), first[0]))
    if name not in ("both", "last"):
        all_zero()
        expect(f"{label}: the pieces are the whole", near(np.concatenate(first, 1), numpy(x)))
    session.reset()
    expect(f"{label}: from the beginning again", all(map(near, [tenon_run(p) for p in pieces[:2]], wanted)))
    middle = {s: session.state(s) for s in session.states}
    expect(f"{label}: on", near(tenon_run(pieces[2]), wanted[2]))
    for s, array in middle.items():
        session.set_state(s, array)
    expect(f"{label}: back to the second piece", near(tenon_run(pieces[2]), wanted[2]) and near(tenon_run(pieces[3]), wanted[3]))
    session.close()


def main():
    sys.modules["table"] = table
    with tempfile.TemporaryDirectory() as folder:
        for name, model, states in cases():
            for version in (2, 3) if name == "stack" else (3,):
                run_case(sys.argv[1], name, model, states, version, pathlib.Path(folder))
    print(f"{COUNT - len(FAILED)} passed, {len(FAILED)} failed")
    sys.exit(bool(FAILED))


main()
