#!/usr/bin/python3
"""The MNIST network that someone else trained (npm mnist-react-tfjs): 988 of the first 1,000 test images, and the numpy forward pass.

Usage: accuracy.py SOURCE-ROOT PROGRAM...       PROGRAM is `tenon run`
"""
import pathlib
import subprocess
import sys
import tempfile

import numpy as np

import forward

COUNT, BATCH, WANTED = 1000, 100, 988


def main():
    root, program = pathlib.Path(sys.argv[1]), sys.argv[2:]
    names = ["keras_mnist_cnn_npm", "mnist_t10k_images", "mnist_t10k_labels"]
    fetched = subprocess.run([root / "scripts/fetch", *names], check=True, capture_output=True, text=True).stdout.split()
    model, images, labels = (pathlib.Path(p) for p in fetched)
    x = np.frombuffer(images.read_bytes(), np.uint8, offset=16).reshape(-1, 28, 28, 1)[:COUNT].astype(np.float32) / 255
    y = np.frombuffer(labels.read_bytes(), np.uint8, offset=8)[:COUNT]
    right, worst = 0, 0.0
    with tempfile.TemporaryDirectory() as work:
        for i in range(0, COUNT, BATCH):
            part = x[i:i + BATCH]
            np.save(f"{work}/x.npy", part)
            subprocess.run([*program, model, "--quiet", "--dim", f"batch={BATCH}", "--input", f"conv2d_1_input={work}/x.npy", "--output", work],
                           check=True)
            got = np.load(f"{work}/dense_2.npy")
            right += int((got.argmax(1) == y[i:i + BATCH]).sum())
            if i == 0:
                worst = float(np.abs(got - forward.run(model, [part])["dense_2"]).max())
    good = right == WANTED and worst < 1e-5
    print(f"{right} of {COUNT} right, off by at most {worst:.2g}")
    print(f"{int(good)} passed, {int(not good)} failed")
    sys.exit(not good)


main()
