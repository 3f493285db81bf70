#!/usr/bin/python3
"""What zeros in weights gain: products of one shape with dense weights and with zeros in a pattern, measured in turns.

    bench/sparse.py                          # the shapes of the table in docs/performance.md
    bench/sparse.py 128x768x768 1x784x128    # rows x k x columns
    bench/sparse.py conv 28x28x128x128x3     # height x width x channels in x channels out x kernel

Patterns: panel: 16 neighbouring columns of a row of weights are zero together; quad: 16 columns of four neighbouring rows;
single: any weight alone; 2:4: two of four neighbours along k. Percentages are of zeros.
"""
import json
import pathlib
import re
import struct
import subprocess
import sys
import tempfile

import numpy

TENON = pathlib.Path(__file__).resolve().parents[1] / "build" / "tenon"
GEMMS = ["128x768x768", "128x768x3072", "128x3072x768", "1x768x3072", "1x784x128"]
PATTERNS = [("panel", 80), ("panel", 90), ("single", 80), ("single", 90), ("single", 95), ("2:4", 50)]
ROUNDS = 5


def zeros(random, pattern, percent, k, n):
    """bool [k, n]: which weights are 0."""
    if pattern == "2:4":
        order = random.random((-(-k // 4), 4, n)).argsort(axis=1)
        return (order < 2).reshape(-1, n)[:k]
    rows, columns = {"panel": (1, 16), "quad": (4, 16), "single": (1, 1)}[pattern]
    blocks = random.random((-(-k // rows), -(-n // columns))) < percent / 100
    return blocks.repeat(rows, 0).repeat(columns, 1)[:k, :n]


def write(folder, name, text, w):
    header = json.dumps({"w": {"dtype": "F32", "shape": w.shape, "data_offsets": [0, w.nbytes]}}).encode()
    header += b" " * (-len(header) % 8)
    (folder / f"{name}.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + w.tobytes())
    (folder / f"{name}.tn").write_text(text)
    library = folder / f"{name}.so"
    subprocess.run([TENON, "compile", "-q", folder / f"{name}.tn", "-o", library], check=True)
    return library


def gemm(shape):
    m, k, n = shape
    return (f"graph gemm(%x: f32[{m},{k}]) -> (%y: f32[{m},{n}]) {{\n  const %w: f32[{k},{n}] = data \"w\"\n"
            f"  %y: f32[{m},{n}] = gemm %x, %w\n  return %y\n}}\n")


def conv(shape):
    h, w, c, m, k = shape
    return (f"graph conv(%x: f32[1,{h},{w},{c}]) -> (%y: f32[1,{h},{w},{m}]) {{\n  const %w: f32[{k},{k},{c},{m}] = data \"w\"\n"
            f"  %y: f32[1,{h},{w},{m}] = conv %x, %w, layout=\"nhwc\", pads=[{k // 2},{k // 2},{k // 2},{k // 2}]\n  return %y\n}}\n")


def milliseconds(library):
    text = subprocess.run([TENON, "bench", "-q", "--seconds", "0.3", library], check=True, stdout=subprocess.PIPE, text=True).stdout
    value, unit = re.search(r"([\d.]+) (us|ms|s)\b", text).groups()
    return float(value) * {"us": 1e-3, "ms": 1, "s": 1e3}[unit]


def measure(text, k, n, shape):
    random = numpy.random.default_rng(1)
    weights = random.standard_normal((k, n), dtype=numpy.float32)
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        libraries = [write(folder, "dense", text, weights.reshape(shape))]
        for i, (pattern, percent) in enumerate(PATTERNS):
            w = numpy.where(zeros(random, pattern, percent, k, n), numpy.float32(0), weights)
            libraries.append(write(folder, f"sparse{i}", text, w.reshape(shape)))
        return [min(times) for times in zip(*([milliseconds(library) for library in libraries] for _ in range(ROUNDS)))]


def main(arguments):
    is_conv = arguments[:1] == ["conv"]
    print("| shape | dense ms | " + " | ".join(f"{pattern} {percent} %" for pattern, percent in PATTERNS) + " |")
    print("| --- | --: |" + " --: |" * len(PATTERNS))
    for argument in arguments[1:] if is_conv else arguments or GEMMS:
        sizes = [int(size) for size in argument.split("x")]
        if is_conv:
            c, m, kernel = sizes[2:]
            times = measure(conv(sizes), kernel * kernel * c, m, (kernel, kernel, c, m))
        else:
            times = measure(gemm(sizes), *sizes[1:], sizes[1:])
        print(f"| {argument} | {times[0]:.4g} | " + " | ".join(f"{times[0] / time:.2f}" for time in times[1:]) + " |", flush=True)


main(sys.argv[1:])
