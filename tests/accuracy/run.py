#!/usr/bin/python3
"""What quantization costs on real data.

    tests/accuracy/run.py [--tenon PROGRAM] [--option OPTION]... [NAME...]        default: all of them

Each model is compiled twice, as it is and with --quantize=int8 and pictures to calibrate with, and both libraries run on other pictures:
    mnist_dense mnist fashion       the networks of examples/ on their whole test sets: at most 0.2 points fewer may be right
    ppocrv4_rec sface yolov8n_b     real models (from npm): what must be alike is in pictures.py
Prints a row for each: what floats and integers give, seconds of a run, size of the library. --option is passed on to the second compilation.
"""
import argparse
import pathlib
import subprocess
import sys
import tempfile
import time

import numpy as np

TOP = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(TOP / "examples/images"), str(TOP / "tests/states")]
import data  # noqa: E402
import pictures  # noqa: E402
from session import Session  # noqa: E402

DROP = 0.2  # points
SAMPLES = 128


def fetch(*names):
    return [pathlib.Path(path) for path in subprocess.check_output([TOP / "scripts/fetch", *names], text=True).split()]


def mnist():
    return data.read_idx_set(*fetch("mnist_train_images", "mnist_train_labels", "mnist_t10k_images", "mnist_t10k_labels"))


def fashion():
    return data.read_folder(pathlib.Path("/usr/share/datasets/fashion-mnist"))


# name: model, images, shape of an input, percent that floats get right at least
NETWORKS = {
    "mnist_dense": ("examples/mnist/mnist.keras", mnist, (1, 784), 98),
    "mnist": ("examples/images/mnist.onnx", mnist, (1, 1, 28, 28), 99),
    "fashion": ("examples/images/fashion.onnx", fashion, (1, 1, 28, 28), 89),
}


class Library:
    """A model, compiled; how long a run takes, and its size."""

    def __init__(self, tenon, model, path, options):
        subprocess.run([str(part) for part in (tenon, "compile", model, "-o", path, "-q", *options)], check=True)
        self.session, self.kilobytes, self.seconds = Session(path), path.stat().st_size / 1024, 0.0

    def outputs(self, inputs):
        """The first output for each input."""
        (name,), output = self.session.inputs, self.session.outputs[0]
        start = time.perf_counter()
        results = [self.session.run({name: x})[output] for x in inputs]
        self.seconds = (time.perf_counter() - start) / len(inputs)
        return results

    def text(self, result):
        return f"  {result:>9} {1e3 * self.seconds:8.3f} ms {self.kilobytes:7.0f} KB"


def both(arguments, folder, name, model, options, calibration):
    """The library of floats and that of integers."""
    np.save(folder / "calibration.npy", np.concatenate(calibration))
    quantize = ["--quantize=int8", "--calib", folder / "calibration.npy", *arguments.option]
    return [Library(arguments.tenon, model, folder / f"{name}_{form}.so", options + more) for form, more in (("f32", []), ("i8", quantize))]


def measure_network(arguments, folder, name):
    model, read, shape, least = NETWORKS[name]
    (train, _), (test, labels) = read()
    inputs = lambda images: [image.reshape(shape) for image in images.astype(np.float32) / np.float32(255)]
    libraries = both(arguments, folder, name, TOP / model, [], inputs(train[:: len(train) // SAMPLES][:SAMPLES]))
    rights = []
    for library in libraries:
        classes = np.concatenate(library.outputs(inputs(test))).argmax(1)
        rights.append(100 * (classes == labels).mean())
    floats, integers = rights
    line = "".join(library.text(f"{right:.2f} %") for library, right in zip(libraries, rights))
    return floats >= least and integers >= floats - DROP, f"{line}  {integers - floats:+.2f} points"


def measure_pictures(arguments, folder, name):
    dims, calibration, judged, compare, most, meaning = pictures.CASES[name]
    options = [part for dim in dims for part in ("--dim", dim)]
    floats, integers = both(arguments, folder, name, *fetch(name), options, calibration())
    inputs = judged()
    differences = [compare(a, b) for a, b in zip(floats.outputs(inputs), integers.outputs(inputs))]
    difference = max(differences) if most else sum(differences)
    line = floats.text("") + integers.text("")
    return difference <= most, f"{line}  {difference:.4g} {meaning}, of {len(inputs)}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tenon", default=TOP / "build/tenon")
    parser.add_argument("--option", action="append", default=[])
    parser.add_argument("names", nargs="*", default=[*NETWORKS, *pictures.CASES])
    arguments = parser.parse_args()
    passed = failed = 0
    print(f"{'':12}{'f32':^34}{'int8':^34}")
    for name in arguments.names or [*NETWORKS, *pictures.CASES]:
        with tempfile.TemporaryDirectory() as folder:
            ok, line = (measure_network if name in NETWORKS else measure_pictures)(arguments, pathlib.Path(folder), name)
        print(f"{name:12}{line}{'' if ok else '  FAIL'}", flush=True)
        passed += ok
        failed += not ok
    print(f"{passed} passed, {failed} failed")
    sys.exit(failed > 0)


main()
