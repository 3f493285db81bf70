#!/usr/bin/python3
"""What quantization and pruning cost on real data.

    tests/accuracy/run.py [--tenon PROGRAM] [--form FORM] [--option OPTION]... [--pictures COUNT] [NAME...]        default: int8, all of them

Each model is compiled twice, as it is and with --quantize=FORM (int8, bf16) or --prune=FORM and pictures to calibrate with, and both libraries run on other pictures:
    mnist_dense mnist fashion cifar the networks of examples/ on their whole test sets: fewer may be right, by at most so many points as FORMS says
    ppocrv4_rec sface yolov8n_b     real models (from npm): what must be alike is in pictures.py; yolov8n_b for int8 alone
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
import faces  # noqa: E402
import pictures  # noqa: E402
from session import Session  # noqa: E402

# form: samples to calibrate with, pictures at most, points that may be lost
FORMS = {
    "int8": (128, 64, 0.2),
    "bf16": (128, 64, 0.2),
    "channels:0.3": (10000, 1024, 0.5),
    "channels:0.5": (10000, 1024, 1.5),
    "any:0.8": (10000, 1024, 1.0),
    "blocks:0.7": (10000, 1024, 1.0),
    "2:4": (10000, 1024, 0.5),
}


def mnist():
    return data.read_idx_set(*faces.fetch("mnist_train_images", "mnist_train_labels", "mnist_t10k_images", "mnist_t10k_labels"))


def fashion():
    return data.read_folder(pathlib.Path("/usr/share/datasets/fashion-mnist"))


def cifar():
    *train, train_labels, test, test_labels = faces.fetch(*(f"cifar_train_{i}" for i in range(1, 6)), "cifar_train_labels", "cifar_test", "cifar_test_labels")
    return data.read_rows(train, train_labels), data.read_rows([test], test_labels)


QUANTIZED = ("int8", "bf16")

# name: model, images, shape of an input, percent that floats get right at least
NETWORKS = {
    "mnist_dense": ("examples/mnist/mnist.keras", mnist, (1, 784), 98),
    "mnist": ("examples/images/mnist.onnx", mnist, (1, 1, 28, 28), 99),
    "fashion": ("examples/images/fashion.onnx", fashion, (1, 1, 28, 28), 89),
    "cifar": ("examples/images/cifar.onnx", cifar, (1, 3, 32, 32), 85),
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


def both(arguments, folder, name, model, options, calibration, batch=()):
    """The library of the model as it is, and of what is left of it. Zeros are there whether they make it faster or not."""
    np.save(folder / "calibration.npy", np.concatenate(calibration))
    form = arguments.form
    lose = [f"--quantize={form}" if form in QUANTIZED else f"--prune={form}", "--calib", folder / "calibration.npy", "--calib-samples", len(calibration),
            *arguments.option]
    whole = Library(arguments.tenon, model, folder / f"{name}.so", [*options, *batch])
    if form not in QUANTIZED:
        pruned = folder / f"{name}.onnx"
        subprocess.run([str(part) for part in (arguments.tenon, "compile", model, "-o", pruned, "--emit", "onnx", "-q", *options, *lose)], check=True)
        model, options, lose = pruned, [], []  # what --dim has fixed is fixed in it
    return whole, Library(arguments.tenon, model, folder / f"{name}_less.so", [*options, *batch, *lose])


def measure_network(arguments, folder, name):
    model, read, shape, least = NETWORKS[name]
    (train, _), (test, labels) = read()
    samples, _, drop = FORMS[arguments.form]
    samples = arguments.pictures or samples
    inputs = lambda images: [image.reshape(shape) for image in images.astype(np.float32) / np.float32(255)]
    libraries = both(arguments, folder, name, TOP / model, [], inputs(train[:: len(train) // samples][:samples]))
    rights = []
    for library in libraries:
        classes = np.concatenate(library.outputs(inputs(test))).argmax(1)
        rights.append(100 * (classes == labels).mean())
    floats, integers = rights
    line = "".join(library.text(f"{right:.2f} %") for library, right in zip(libraries, rights))
    return floats >= least and integers >= floats - drop, f"{line}  {integers - floats:+.2f} points"


def measure_pictures(arguments, folder, name):
    dims, calibration, judged, compare, most, alike = pictures.CASES[name]
    options, batch = [part for dim in dims for part in ("--dim", dim)], ["--dim", pictures.BATCH[name]] if name in pictures.BATCH else []
    _, samples, drop = FORMS[arguments.form]
    floats, less = both(arguments, folder, name, *faces.fetch(name), options, calibration(arguments.pictures or samples), batch)
    inputs = judged()
    outputs = floats.outputs(inputs), less.outputs(inputs)
    if arguments.form in QUANTIZED:
        difference, words = compare(*outputs)
        ok = difference <= most
    else:
        same, words = alike(*outputs)
        ok = same >= 100 - drop
    return ok, f"{floats.text('')}{less.text('')}  {words}, of {len(inputs)}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tenon", default=TOP / "build/tenon")
    parser.add_argument("--form", choices=FORMS, default="int8")
    parser.add_argument("--option", action="append", default=[])
    parser.add_argument("--pictures", type=int, help="as many to calibrate with, instead of what FORMS says")
    parser.add_argument("names", nargs="*", default=[])
    arguments = parser.parse_args()
    passed = failed = 0
    print(f"{'':12}{'f32':^34}{arguments.form:^34}")
    judged = [name for name, case in pictures.CASES.items() if case[-1] or arguments.form in QUANTIZED]
    for name in arguments.names or [*NETWORKS, *judged]:
        with tempfile.TemporaryDirectory() as folder:
            ok, line = (measure_network if name in NETWORKS else measure_pictures)(arguments, pathlib.Path(folder), name)
        print(f"{name:12}{line}{'' if ok else '  FAIL'}", flush=True)
        passed += ok
        failed += not ok
    print(f"{passed} passed, {failed} failed")
    sys.exit(failed > 0)


main()
