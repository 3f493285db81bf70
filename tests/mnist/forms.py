#!/usr/bin/python3
"""The MNIST example in the forms of Keras files that its folder does not hold: TensorFlow.js, and JSON with an .npz beside it.

Usage: forms.py MNIST.H5 FOLDER        writes FOLDER/tfjs/mnist.json with two shards, FOLDER/npz/mnist.json and .npz
"""
import json
import pathlib
import sys

import h5py
import numpy as np

source, folder = h5py.File(sys.argv[1]), pathlib.Path(sys.argv[2])
config = json.loads(source.attrs["model_config"])
names = [name.decode() if isinstance(name, bytes) else name for layer in source["model_weights"].attrs["layer_names"]
         for name in source["model_weights"][layer].attrs["weight_names"]]
arrays = [np.array(next(source["model_weights"][g][n] for g in source["model_weights"] if n in source["model_weights"][g])) for n in names]

(folder / "npz").mkdir()
(folder / "npz/mnist.json").write_text(json.dumps({**config, "keras_version": "2.11.0"}))
np.savez(folder / "npz/mnist.npz", *arrays)

data = b"".join(a.astype("<f4").tobytes() for a in arrays)
(folder / "tfjs").mkdir()
for i, part in enumerate((data[:100001], data[100001:])):  # weights lie across
    (folder / f"tfjs/group1-shard{i + 1}of2.bin").write_bytes(part)
weights = [{"name": n.removesuffix(":0"), "shape": a.shape, "dtype": "float32"} for n, a in zip(names, arrays)]
(folder / "tfjs/mnist.json").write_text(json.dumps({
    "format": "layers-model", "modelTopology": {"keras_version": "2.11.0", "backend": "tensorflow", "model_config": config},
    "weightsManifest": [{"paths": ["group1-shard1of2.bin", "group1-shard2of2.bin"], "weights": weights}]}))
