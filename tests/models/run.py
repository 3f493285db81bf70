#!/usr/bin/python3
"""Real models, compiled by tenon, against ONNX Runtime (or, for Keras, the numpy forward pass), on three seeds and a real image.

Usage: run.py --tenon PROGRAM --ort-run PROGRAM [NAME...]

A model is fetched by scripts/fetch. tenon makes the random inputs of each seed and saves them; the oracle gets the same files. Outputs
must agree with |a-b| <= 1e-4 + 1e-3 |b|, elementwise. Prints a line per model and seed and closes with `N passed, N failed`.

Activations of quantized models are rounded to 256 steps: where one lies between two, the last bit of a float decides, and all that
follows differs (ONNX Runtime's from its own, with and without optimizations). So a run of such a model must agree elementwise or to the
decibels of QUANTIZED, and one seed at least elementwise: compiled, or in the interpreter with the model as it stands. Language models also
continue a prompt, with keys and values that the library keeps. Some models are compiled with open sizes, too, and some are run in chains.
"""
import argparse
import pathlib
import shutil
import subprocess
import sys
import tempfile

import numpy as np
from PIL import Image

TOP = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(TOP / "tests/keras"), str(TOP / "tests/states")]
import forward  # noqa: E402
from session import Session  # noqa: E402
SEEDS = (1, 2, 3)
MAX_ABS, MAX_RELATIVE = 1e-4, 1e-3

# name -> dims given on the command line (NAME=N)
ONNX = {
    "blazeface_front": [],
    "blazeface_back": [],
    "ppocr_mobile_v2_cls": ["p2o.DynamicDimension.0=1", "p2o.DynamicDimension.1=48", "p2o.DynamicDimension.2=192"],
    "sface": [],
    "eyetracking_google": [],
    "u2netp": [],
    "ddddocr_common_old": ["image_width=96"],
    "efficientwordnet": [],
    "minilm_l6_v2_q": ["batch_size=2", "sequence_length=17"],
    "ddddocr_common_det": [],
    "deep_phonemizer": [],
    "fdncnn_gemini_104": [],
    "oww_alexa": [],
    "oww_embedding": ["unk__314=2"],
    "oww_melspectrogram": ["batch_size=1", "samples=1760"],
    "ppocrv4_rec": ["p2o.DynamicDimension.0=1", "p2o.DynamicDimension.1=320"],
    "silero_vad": ["input_0=1", "input_1=512", "state_1=1"],
    "silero_vad_op18_ifless": ["batch=1", "sequence=512"],
    "yolov8n_b": [],
    "minimind2_small_q": ["batch_size=1", "sequence_length=5", "past_sequence_length=3"],
    "nms_yolov8": ["detection_1=84", "detection_2=300"],
    "ppocrv4_det": ["p2o.DynamicDimension.0=1", "p2o.DynamicDimension.1=160", "p2o.DynamicDimension.2=224"],
}
KERAS = ("keras_mnist_cnn_npm",)
# Compiled with open sizes as well: name -> what stays given, and the sizes of some runs, small ones and odd ones too.
OPEN = {
    "ppocrv4_rec": ([], [{"p2o_DynamicDimension_0": n, "p2o_DynamicDimension_1": w} for n, w in ((2, 320), (3, 33), (1, 7))]),
    "ppocrv4_det": ([], [{"p2o_DynamicDimension_0": n, "p2o_DynamicDimension_1": h, "p2o_DynamicDimension_2": w}
                         for n, h, w in ((1, 64, 96), (2, 160, 32))]),
    "ppocr_mobile_v2_cls": ([], [{"p2o_DynamicDimension_0": n, "p2o_DynamicDimension_1": h, "p2o_DynamicDimension_2": w}
                                 for n, h, w in ((2, 48, 192), (1, 37, 101))]),
    "oww_embedding": ([], [{"unk__314": n} for n in (1, 3)]),
    "oww_melspectrogram": ([], [{"batch_size": 1, "samples": n} for n in (1280, 1761, 16000)]),
    "silero_vad_op18_ifless": ([], [{"batch": n, "sequence": 512} for n in (1, 3)]),
    "silero_vad": ([], [{"input_0": n, "input_1": samples, "state_1": n} for n, samples in ((1, 512), (3, 512), (2, 640))]),
    "ddddocr_common_old": ([], [{"image_width": w} for w in (64, 133)]),
    "minilm_l6_v2_q": ([], [{"batch_size": n, "sequence_length": t} for n, t in ((1, 9), (3, 21))]),
    "nms_yolov8": (["detection_1=84"], [{"detection_2": n} for n in (8400, 85, 3)]),
}

# What a model expects of its pixels in 0..255: x * scale + shift. The photo is skimage's astronaut, the digit one of MNIST.
PIXELS = {
    "blazeface_front": (2 / 255, -1),
    "blazeface_back": (2 / 255, -1),
    "ppocr_mobile_v2_cls": (2 / 255, -1),
    "ppocrv4_det": (2 / 255, -1),
    "sface": (1, 0),
    "u2netp": (4.5 / 255, -2.1),
    "eyetracking_google": (4.5 / 255, -2.1),
    "keras_mnist_cnn_npm": (1 / 255, 0),
}
# The least signal to noise ratio of a run of a quantized model, and the seeds that are run in the interpreter.
QUANTIZED = {"ddddocr_common_old": 40, "minilm_l6_v2_q": 30, "minimind2_small_q": 25}
INTERPRETED = {"efficientwordnet": (1,)}
# Inputs that are always the same.
FIXED = {"nms_yolov8": {"config": "[100, 0.45, 0.25]"}}
# Integer inputs are below these numbers.
LIMITS = {
    "minilm_l6_v2_q": {"input_ids": (0, 30522), "attention_mask": (0, 2), "token_type_ids": (0, 2)},
    "deep_phonemizer": {"text": (0, 40)},
    "silero_vad": {"sr": (16000, 16001)},
    "silero_vad_op18_ifless": {"sr": (16000, 16001)},
    "minimind2_small_q": {"input_ids": (0, 6400), "attention_mask": (0, 2), "position_ids": (0, 32)},
}
# Language models that keep their keys and values: prompt, number of tokens, options.
GENERATORS = {
    "minimind2_small_q": ([1, 202, 400, 77, 1500], 32, ["--dim", "batch_size=1"],
                          ["--state", "past_key_values.*=present.*", "--max", "past_sequence_length=64"]),
}
PROMPT = "of a prompt"
UNDECIDED = 1.0  # where the two best of ONNX Runtime's logits are nearer, rounding decides which token comes next
PHOTO = pathlib.Path("/usr/lib/python3/dist-packages/skimage/data/astronaut.png")


class Failure(Exception):
    pass


def call(*command):
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True)
    if done.returncode:
        raise Failure(f"{pathlib.Path(str(command[0])).name} ended with {done.returncode}: {done.stderr.strip()[:500]}")
    return done.stdout


def fetch(name):
    return pathlib.Path(call(TOP / "scripts/fetch", name).strip().splitlines()[-1])


def arrays(folder):
    return {path.stem: np.load(path) for path in sorted(folder.glob("*.npy"))}


def decibels(a, b):
    return float(10 * np.log10(np.square(b).sum() / np.square(a - b).sum()))


def compare(got, want, least=None):
    """A short text about the largest difference; raises Failure. `least`: decibels that will do."""
    if got.keys() != want.keys():
        raise Failure(f"outputs {sorted(got)} instead of {sorted(want)}")
    worst, noisy = 0.0, []
    for name, b in want.items():
        a = got[name]
        if a.shape != b.shape or a.dtype != b.dtype:
            raise Failure(f"{name} is {a.dtype}{list(a.shape)}, not {b.dtype}{list(b.shape)}")
        a, b = a.astype(np.float64), b.astype(np.float64)
        error = np.abs(a - b)
        wrong = ~((error <= MAX_ABS + MAX_RELATIVE * np.abs(b)) | (np.isnan(a) & np.isnan(b)))
        if wrong.any() and least is not None and decibels(a, b) >= least:
            noisy.append(decibels(a, b))
        elif wrong.any():
            raise Failure(f"{name}: {wrong.sum()} of {wrong.size} elements are off, at most by {error[wrong].max():.3g}")
        worst = max(worst, float(error.max(initial=0.0)))
    return f"{min(noisy):.1f} dB in {len(noisy)} outputs" if noisy else f"max abs {worst:.2g}"


def image(shape):
    """A real image in 0..255 of [1,H,W,C] or [1,C,H,W], or None where the shape is no image's."""
    if len(shape) != 4 or shape[0] != 1 or not {shape[1], shape[3]} & {1, 3}:
        return None
    channels_last = shape[3] in (1, 3)
    height, width, channels = shape[1:] if channels_last else (*shape[2:], shape[1])
    if channels == 1:
        pixels = np.fromfile(TOP / "examples/mnist/digits-images", np.uint8)[16:16 + 784].reshape(28, 28, 1)
    else:
        pixels = np.asarray(Image.open(PHOTO).convert("RGB"))
    rows = np.arange(height) * pixels.shape[0] // height
    columns = np.arange(width) * pixels.shape[1] // width
    pixels = pixels[rows][:, columns][None]
    return pixels if channels_last else pixels.transpose(0, 3, 1, 2)


def real_inputs(options, work, name, library, inputs):
    """The same with every image input a real one; returns (input files by name, outputs)."""
    folder, (scale, shift), files, arguments = work / "real", PIXELS[name], {}, []
    folder.mkdir()
    for key, path in inputs.items():
        pixels = image(np.load(path).shape)
        files[key] = path if pixels is None else folder / path.name
        if pixels is not None:
            np.save(files[key], np.ascontiguousarray(pixels * scale + shift, dtype=np.float32))
        arguments += ["--input", f"{key}={files[key]}"]
    call(options.tenon, "run", library, "--quiet", *arguments, "--output", folder / "out")
    return files, arrays(folder / "out")


def seed_inputs(options, work, name, library, seed, sizes):
    """Runs the library on random inputs; returns (input files by name, outputs)."""
    folder, generator = work / "inputs", np.random.default_rng(seed)
    command = [options.tenon, "run", library, "--quiet", "--seed", seed, *dim_options(sizes), "--output"]
    shutil.rmtree(folder, ignore_errors=True)
    limits = LIMITS.get(name, {})
    fixed = [x for key, (low, high) in limits.items() if high == low + 1 for x in ("--input", f"{key}=[{low}]")]
    fixed += [x for key, value in FIXED.get(name, {}).items() for x in ("--input", f"{key}={value}")]
    call(*command, folder / "out", *fixed)
    call(*command, folder / "all", "--save-inputs", *fixed)
    outputs = arrays(folder / "out")
    inputs = {p.stem: p for p in sorted((folder / "all").glob("*.npy")) if p.stem not in outputs}
    for key, bounds in limits.items():
        old = np.load(inputs[key])
        np.save(inputs[key], generator.integers(*bounds, old.shape).astype(old.dtype))
    if limits:
        call(*command, folder / "out", *(x for key, path in inputs.items() for x in ("--input", f"{key}={path}")))
    return inputs, arrays(folder / "out")


def dim_options(dims):
    return [x for dim in dims for x in ("--dim", dim)]


def onnx_outputs(options, runtime, model, dims, inputs, folder, *more):
    folder.mkdir()
    command = [options.ort_run, "--lib", runtime, *more]
    for name, path in inputs.items():
        command += ["--input", f"{name}={path}"]
    for dim in dims:
        command += ["--dim", dim]
    call(*command, model, "--output", folder)
    return arrays(folder)


def keras_outputs(model, inputs, names):
    want = forward.run(model, [np.load(path) for path in inputs.values()])
    return {name: value.astype(np.float32) for name, value in zip(names, want.values())}


def interpreted(options, runtime, model, dims, inputs, folder):
    given = [x for name, path in inputs.items() for x in ("--input", f"{name}={path}")]
    call(options.tenon, "run", model, "--interpret", "--quiet", *dim_options(dims), *given, "--output", folder / "got")
    return compare(arrays(folder / "got"), onnx_outputs(options, runtime, model, dims, inputs, folder / "want", "--plain", "1"))


def generator_inputs(new, past):
    return {"input_ids": np.array([new]), "attention_mask": np.ones((1, past + len(new)), np.int64),
            "position_ids": np.arange(past, past + len(new))[None]}


def generate(options, runtime, model, work, prompt, count, dims, states):
    """Token by token: ONNX Runtime and a library with explicit keys and values, and one that keeps them."""
    for library, more in (("explicit.so", []), ("kept.so", states)):
        call(options.tenon, "compile", model, "-q", "-o", work / library, *dims, *more)
    explicit, kept = Session(work / "explicit.so"), Session(work / "kept.so")
    empty = {name: np.zeros(kept.state(name).shape, np.float32) for name in kept.states}
    ours, theirs, new, past, decided = dict(empty), dict(empty), list(prompt), 0, 0
    for step in range(count):
        folder, fresh = work / f"token{step}", generator_inputs(new, past)
        folder.mkdir()
        for name, array in {**fresh, **theirs}.items():
            np.save(folder / f"{name}.npy", array)
        want = onnx_outputs(options, runtime, model, [], {name: folder / f"{name}.npy" for name in {**fresh, **theirs}}, folder / "out")
        outputs, logits = explicit.run({**fresh, **ours}), kept.run(fresh)["logits"]
        if not np.array_equal(outputs["logits"], logits):
            raise Failure(f"token {step}: what the library kept gives other logits than explicit keys and values")
        ours, theirs = ({name: of[name.replace("past_key_values", "present")] for name in empty} for of in (outputs, want))
        last = want["logits"][0, -1]
        if last.max() - np.sort(last)[-2] >= UNDECIDED:
            decided += 1
            if logits[0, -1].argmax() != last.argmax():
                raise Failure(f"token {step} is {logits[0, -1].argmax()}, not {last.argmax()}")
        past, new = past + len(new), [int(last.argmax())]
    return f"as with explicit keys and values; {decided} of {count} tokens decided, all ONNX Runtime's"


def test_open(options, name, runtime, model, work):
    """The same library for several sizes."""
    given, runs = OPEN[name]
    library = work / "open.so"
    try:
        call(options.tenon, "compile", model, "-q", "-o", library, *dim_options(given))
    except Failure as failure:
        yield "open", failure
        return
    for i, sizes in enumerate(runs):
        text = [f"{dim}={size}" for dim, size in sizes.items()]
        try:
            inputs, outputs = seed_inputs(options, work, name, library, i, text)
            want = onnx_outputs(options, runtime, model, [], inputs, work / f"open{i}")
            yield ", ".join(text), compare(outputs, want, QUANTIZED.get(name))
        except Failure as failure:
            yield ", ".join(text), failure


def wake_word(run):
    """Two seconds of sound through the three models of openWakeWord: mel bands, 16 windows of 76 frames, a word or none."""
    time = np.arange(31712) / 16000
    voice = sum(np.sin(2 * np.pi * k * (120 * time + 15 * np.sin(5 * time))) / k for k in range(1, 20)) * (np.sin(9 * time) > 0)
    noise = np.random.default_rng(1).standard_normal(time.size)
    mel = run("oww_melspectrogram", input=(3000 * voice + 50 * noise).astype(np.float32)[None])["output"]
    frames = mel[0, 0] / 10 + 2
    windows = np.stack([frames[8 * i:8 * i + 76] for i in range(16)])[..., None]
    features = run("oww_embedding", input_1=windows)["conv2d_19"]
    return {"mel": mel, "features": features, **run("oww_alexa", **{"onnx::Flatten_0": features.reshape(1, 16, 96)})}


def detection(run):
    """A photo through YOLOv8n and the model that picks the best of overlapping boxes."""
    boxes = run("yolov8n_b", images=(image((1, 3, 640, 640)) / 255).astype(np.float32))["output0"]
    return run("nms_yolov8", detection=boxes, config=np.array([100, 0.45, 0.25], np.float32))


# Models of which one's outputs are the next one's inputs: what each is compiled with, and the whole of it.
CHAINS = {
    "wake_word": ({"oww_melspectrogram": ["batch_size=1"], "oww_embedding": [], "oww_alexa": []}, wake_word),
    "detection": ({"yolov8n_b": [], "nms_yolov8": ["detection_1=84"]}, detection),
}


def test_chain(options, name, runtime):
    """tenon's models on what tenon's gave, ONNX Runtime's on what ONNX Runtime's gave."""
    models, chain = CHAINS[name]
    with tempfile.TemporaryDirectory() as work:
        work = pathlib.Path(work)

        def ours(model, **inputs):
            library = work / f"{model}.so"
            call(options.tenon, "compile", fetch(model), "-q", "-o", library, *dim_options(models[model]))
            return Session(library).run(inputs)

        def theirs(model, **inputs):
            for key, array in inputs.items():
                np.save(work / f"{model}.{key}.npy", array)
            return onnx_outputs(options, runtime, fetch(model), [], {key: work / f"{model}.{key}.npy" for key in inputs}, work / model)

        try:
            got = chain(ours)
            yield "chain", f"{compare(got, chain(theirs))} in {', '.join(f'{k}{list(v.shape)}' for k, v in got.items())}"
        except Failure as failure:
            yield "chain", failure


def test_model(options, name, runtime):
    """Yields (seed, text or Failure)."""
    with tempfile.TemporaryDirectory() as work:
        work = pathlib.Path(work)
        try:
            model, dims, library = fetch(name), ONNX.get(name, []), work / "model.so"
            call(options.tenon, "compile", model, "-o", library, *dim_options(dims))
        except Failure as failure:
            yield 0, failure
            return
        for seed in (*SEEDS, *(["real"] if name in PIXELS else [])):
            try:
                if seed == "real":
                    inputs, outputs = real_inputs(options, work, name, library, inputs)
                else:
                    inputs, outputs = seed_inputs(options, work, name, library, seed, [])
                if name in KERAS:
                    want = keras_outputs(model, inputs, outputs)
                else:
                    want = onnx_outputs(options, runtime, model, dims, inputs, work / f"want{seed}")
                yield seed, compare(outputs, want, QUANTIZED.get(name))
                if seed in INTERPRETED.get(name, ()):
                    yield f"seed {seed}, interpreted", interpreted(options, runtime, model, dims, inputs, work / "interpreted")
            except Failure as failure:
                yield seed, failure
        if name in OPEN:
            yield from test_open(options, name, runtime, model, work)
        if name in GENERATORS:
            try:
                yield PROMPT, generate(options, runtime, model, work, *GENERATORS[name])
            except Failure as failure:
                yield PROMPT, failure


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--tenon", default=TOP / "build/tenon")
    parser.add_argument("--ort-run", default=TOP / "build/tests/oracle/ort_run")
    parser.add_argument("names", nargs="*")
    options = parser.parse_args()
    names = options.names or [*ONNX, *KERAS, *CHAINS]
    runtime = fetch("onnxruntime") if any(n not in KERAS for n in names) else None
    passed = failed = 0
    for name in names:
        exact = False
        for seed, result in (test_chain if name in CHAINS else test_model)(options, name, runtime):
            bad = isinstance(result, Failure)
            exact |= not bad and result.startswith("max abs")
            passed, failed = passed + (not bad), failed + bad
            print(f"{'FAIL' if bad else 'PASS'} {name} {seed if isinstance(seed, str) else f'seed {seed}'}: {result}", flush=True)
        if not exact:
            failed += 1
            print(f"FAIL {name}: no seed agrees elementwise", flush=True)
    print(f"{passed} passed, {failed} failed")
    return failed > 0


if __name__ == "__main__":
    sys.exit(main())
