#!/usr/bin/python3
"""Keras models that others trained, against the numpy forward pass: a BiLSTM for sentiments as TensorFlow.js has it, and a network for
super-resolution (quantized to 8 bits for TensorFlow.js, here as Keras 2 wrote it) on an image whose size is open.

Usage: real.py SOURCE-ROOT PROGRAM...       PROGRAM is `tenon run`
"""
import importlib
import json
import pathlib
import shutil
import subprocess
import sys
import tempfile

import numpy as np

import forward
import table

SENTIMENT = {"tfjs_bilstm": "model.json", "tfjs_bilstm_1": "group1-shard1of2", "tfjs_bilstm_2": "group1-shard2of2"}


def fetch(root, names):
    done = subprocess.run([root / "scripts/fetch", *names], check=True, capture_output=True, text=True)
    return [pathlib.Path(p) for p in done.stdout.split()]


def manifest_weights(folder):
    """{layer: arrays}, of a manifest without quantization, whose names begin with their layer's."""
    manifest = json.loads((folder / "model.json").read_text())["weightsManifest"]
    found = {}
    for group in manifest:
        data = b"".join((folder / p).read_bytes() for p in group["paths"])
        for w in group["weights"]:
            size = 4 * int(np.prod(w["shape"]))
            found.setdefault(w["name"].split("/")[0], []).append(np.frombuffer(data[:size], np.float32).reshape(w["shape"]).astype(float))
            data = data[size:]
    return found


def run(program, model, name, x, folder):
    np.save(folder / "x.npy", x)
    subprocess.run([*program, model, "--quiet", "--input", f"{name}={folder}/x.npy", "--output", folder], check=True)
    return {p.stem: np.load(p) for p in folder.glob("*.npy") if p.stem != "x"}


def sentiment(root, program, folder):
    for path, name in zip(fetch(root, SENTIMENT), SENTIMENT.values()):
        shutil.copy(path, folder / name)
    x = np.random.default_rng(3).integers(1, 5000, (4, 100)).astype(np.float32)
    x[1, :60] = x[2, :97] = 0
    got = run(program, folder / "model.json", "input_1", x, folder)
    topology = json.loads((folder / "model.json").read_text())["modelTopology"]
    wanted = forward.run_model(topology.get("model_config", topology), manifest_weights(folder), [forward.Tensor(x.astype(float))], 2)
    return got, forward.arrays(wanted)


def super_resolution(root, program, folder):
    (path,) = fetch(root, ["keras_rdn_psnr_small_npm"])
    x = np.random.default_rng(4).random((2, 20, 15, 3)).astype(np.float32)
    return run(program, path, "LR", x, folder), forward.run(path, [x])


def main():
    root, program, failed = pathlib.Path(sys.argv[1]), sys.argv[2:], 0
    sys.modules["table"] = table
    importlib.import_module("layers.rnn"), importlib.import_module("layers.dense"), importlib.import_module("layers.pool")
    for check in (sentiment, super_resolution):
        with tempfile.TemporaryDirectory() as folder:
            got, wanted = check(root, program, pathlib.Path(folder))
        worst = max(float(np.abs(got[n] - y).max() / np.abs(y).max()) for n, y in wanted.items())
        failed += not worst < 1e-5
        print(f"{'ok' if worst < 1e-5 else 'FAIL'} {check.__name__}: off by at most {worst:.2g} of the largest value")
    print(f"{2 - failed} passed, {failed} failed")
    sys.exit(failed > 0)


main()
