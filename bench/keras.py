#!/usr/bin/python3
"""Real Keras files against the same networks as ONNX, in tenon and in ONNX Runtime.

Usage: bench/keras.py [--build BUILD] [--seconds S] [--clock wall|cpu] [NAME...]     NAME: of tests/keras/real.py; default: all

Each file is compiled as it is, and once more from what `tenon compile --emit onnx` writes of it; each library then runs in alternation with ONNX
Runtime on that ONNX file (side_by_side.c), one thread. Prints a table: least times; `ratio`, the median of ONNX Runtime's over that of the library
from Keras; `Keras / ONNX`, the time of that library over the other's, each against its own ONNX Runtime, so that a machine which changes speed
meanwhile changes nothing.
"""
import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

TOP = pathlib.Path(__file__).resolve().parents[1]
sys.dont_write_bytecode = True  # the tree stays clean
sys.path.insert(0, str(TOP / "tests/keras"))
import real  # noqa: E402

SIZES = {"super_resolution": ["--input-shape", "LR=1x64x64x3"]}  # open in the file
ROW = "| {:18} | {:>10} | {:>10} | {:>10} | {:>6} | {:>12} |"


def call(*command):
    return subprocess.run([str(c) for c in command], check=True, stdout=subprocess.PIPE, text=True).stdout


def race(options, runtime, onnx, library):
    result = json.loads(call(options.build / "bench/side_by_side", "--lib", runtime, onnx, library, "--seconds", options.seconds,
                             "--clock", options.clock))
    if not result["right"]:
        sys.exit(f"{library}: its outputs are not those of ONNX Runtime")
    return result


def measure(options, runtime, name):
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        model, onnx = real.MODELS[name][0](TOP, folder), folder / "model.onnx"
        tenon, size = options.build / "tenon", SIZES.get(name, ["--dim", "batch=1"])
        call(tenon, "compile", model, *size, "--emit", "onnx", "-o", onnx, "--quiet")
        call(tenon, "compile", model, *size, "-o", folder / "keras.so", "--quiet")
        call(tenon, "compile", onnx, "-o", folder / "onnx.so", "--quiet")
        keras, other = (race(options, runtime, onnx, folder / library) for library in ("keras.so", "onnx.so"))
    times = [f"{ms:.3f}" for ms in (keras["tenon"]["min_ms"], other["tenon"]["min_ms"], keras["ort"]["min_ms"])]
    print(ROW.format(name, *times, f"{keras['ratio']:.2f}", f"{other['ratio'] / keras['ratio']:.2f}"), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--build", type=pathlib.Path, default=TOP / "build")
    parser.add_argument("--seconds", default="2")
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall")
    options = parser.parse_args()
    runtime = call(TOP / "scripts/fetch", "onnxruntime").strip()
    print(ROW.format("file", "Keras ms", "ONNX ms", "ORT ms", "ratio", "Keras / ONNX"))
    print(ROW.format("---", "---:", "---:", "---:", "---:", "---:"), flush=True)
    for name in options.names or real.MODELS:
        measure(options, runtime, name)


main()
