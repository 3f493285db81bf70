#!/usr/bin/python3
"""Keras models that others trained, against TensorFlow.js and the numpy forward pass, and what they should see.

Usage: real.py SOURCE-ROOT NAME PROGRAM...      NAME: a row of MODELS; PROGRAM is `tenon run`

TensorFlow.js (from npm, in plain JavaScript) runs what its converter would make of the file, or the file itself where it is of that form.
The forward pass computes in f64. Without npm or node nothing is tested; the exit code is 77.
"""
import base64
import importlib
import json
import pathlib
import shutil
import subprocess
import sys
import tempfile

import h5py
import numpy as np

import forward
import table

HERE = pathlib.Path(__file__).parent
PIXELS_MEAN = (103.939, 116.779, 123.68)  # blue, green, red: of ImageNet, as Keras' first networks subtract them


def fetch(root, names):
    done = subprocess.run([root / "scripts/fetch", *names], check=True, stdout=subprocess.PIPE, text=True)
    return [pathlib.Path(p) for p in done.stdout.split()]


# ---- the files ----


def sharded(name, count):
    """The file and its shards, in one folder again."""
    def get(root, folder):
        paths = fetch(root, [name] + [f"{name}_{i}" for i in range(1, count + 1)])
        model = json.loads(paths[0].read_text())
        shards = [p for group in model["weightsManifest"] for p in group["paths"]]
        for path, wanted in zip(paths, ["model.json", *shards]):
            (folder / wanted).symlink_to(path)
        return folder / "model.json"
    return get


def in_scripts(name, count):
    """Modules of JavaScript whose values are the JSON, and the shards in base64."""
    def get(root, folder):
        paths = [shutil.copy(p, folder) for p in fetch(root, [name] + [f"{name}_{i}" for i in range(1, count + 1)])]
        script = "console.log(JSON.stringify(process.argv.slice(1).map(require)))"
        model, *shards = json.loads(subprocess.run(["node", "-e", script, *paths], check=True, capture_output=True).stdout)
        (folder / "model.json").write_text(json.dumps(model))
        for shard, data in zip((p for group in model["weightsManifest"] for p in group["paths"]), shards):
            (folder / shard).write_bytes(base64.b64decode(data))
        return folder / "model.json"
    return get


def single(name):
    return lambda root, folder: fetch(root, [name])[0]


def as_tfjs(path, folder):
    """What TensorFlow.js' converter makes of a file of Keras 2."""
    if path.suffix == ".json":
        return path
    with h5py.File(path) as file:
        config, groups = json.loads(file.attrs["model_config"]), file["model_weights"]
        names = [(forward.text(l), forward.text(w)) for l in forward.attribute(groups, "layer_names")
                 for w in forward.attribute(groups[forward.text(l)], "weight_names")]
        arrays = [np.array(groups[l][w], np.float32) for l, w in names]
    weights = [{"name": w.split(":")[0], "shape": x.shape, "dtype": "float32"} for (_, w), x in zip(names, arrays)]
    (folder / "shard.bin").write_bytes(b"".join(x.tobytes() for x in arrays))
    (folder / "tfjs.json").write_text(json.dumps({"modelTopology": {"model_config": config}, "weightsManifest": [
        {"paths": ["shard.bin"], "weights": weights}]}))
    return folder / "tfjs.json"


# ---- what they get, and what must come out ----


def digits(root):
    at = root / "examples/mnist"
    return np.frombuffer((at / "digits-images").read_bytes()[16:], np.uint8).reshape(-1, 28, 28, 1)[:20].astype(np.float32) / 255


def read_digits(root, y):
    labels = np.frombuffer((root / "examples/mnist/digits-labels").read_bytes()[8:], np.uint8)[:20]
    return int((y.argmax(1) != labels).sum()) == 0


def words(root):
    x = np.random.default_rng(3).integers(1, 5000, (4, 100)).astype(np.float32)
    x[1, :60] = x[2, :97] = 0
    return x


def photo(pixels, size):
    """The square in the middle."""
    from skimage import transform
    height, width = pixels.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return transform.resize(pixels[top:top + side, left:left + side], (size, size), order=1, anti_aliasing=True, preserve_range=True)


def photos(root):
    """A cat, a cup of coffee, an officer, a palace, a motorcycle."""
    import matplotlib.cbook
    from skimage import data, io
    from sklearn.datasets import load_sample_image
    officer = io.imread(matplotlib.cbook.get_sample_data("grace_hopper.jpg", asfileobj=False))
    pixels = [data.chelsea(), data.coffee(), officer, load_sample_image("china.jpg"), data.stereo_motorcycle()[0]]
    return np.stack([photo(p, 224) for p in pixels])


SEEN = [("Egyptian_cat",), ("espresso",), ("military_uniform",), ("palace",), ("moped", "motor_scooter")]


def see(root, y):
    labels = json.loads(fetch(root, ["tfjs_resnet50_labels"])[0].read_text())
    seen = [labels[str(i)] if isinstance(labels, dict) else labels[i] for i in y.argmax(1)]
    print("sees", ", ".join(seen))
    return all(s in wanted for s, wanted in zip(seen, SEEN))


def are_harmless(root, y):
    """Neither hentai nor porn nor sexy, of drawing, hentai, neutral, porn, sexy."""
    return (y[:, [1, 3, 4]].sum(1) < 0.5).all()


# The file, its inputs, a judgement of the outputs; how many samples TensorFlow.js (slow) gets; whether numpy computes it, too.
MODELS = {
    "mnist": (single("keras_mnist_cnn_npm"), digits, read_digits, 20, True),
    "super_resolution": (single("keras_rdn_psnr_small_npm"), lambda root: photo(photos(root)[0], 20)[None] / 255, None, 1, True),
    "sentiment": (sharded("tfjs_bilstm", 2), words, None, 4, True),
    "nsfw": (in_scripts("tfjs_nsfw", 1), lambda root: photos(root)[::-1] / 255, are_harmless, 1, False),
    "resnet50": (sharded("tfjs_resnet50", 25), lambda root: photos(root)[..., ::-1] - PIXELS_MEAN, see, 1, False),
}


# ---- the runs ----


def run(program, model, x, folder):
    name = check_inputs(model)
    np.save(folder / "x.npy", x)
    out = folder / "out"
    subprocess.run([*program, model, "--quiet", "--input", f"{name}={folder}/x.npy", "--output", out], check=True)
    (path,) = out.glob("*.npy")
    return np.load(path)


def configuration(model):
    if model.suffix != ".json":
        return json.loads(h5py.File(model).attrs["model_config"])
    topology = json.loads(model.read_text())["modelTopology"]
    return topology.get("model_config", topology)


def check_inputs(model):
    config = configuration(model)
    return forward.input_names(config)[0]


def by_tfjs(root, model, x, folder):
    (library,) = fetch(root, ["tfjs"])
    np.save(folder / "few.npy", x)
    subprocess.run(["node", HERE / "tfjs.js", library, as_tfjs(model, folder), folder / "few.npy", folder / "tfjs.npy"], check=True)
    return np.load(folder / "tfjs.npy")


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


def by_numpy(model, x):
    sys.modules["table"] = table
    for family in ("rnn", "dense", "pool", "image"):
        importlib.import_module(f"layers.{family}")
    if model.suffix == ".json":
        return forward.arrays(forward.run_model(configuration(model), manifest_weights(model.parent), [forward.Tensor(x.astype(float))], 2))
    return forward.run(model, [x])


def main():
    root, name, program = pathlib.Path(sys.argv[1]), sys.argv[2], sys.argv[3:]
    missing = [tool for tool in ("npm", "node") if not shutil.which(tool)]
    if missing:
        print(f"SKIPPED: {' and '.join(missing)} not installed (scripts/setup test)")
        sys.exit(77)
    get, inputs, judge, few, has_numpy = MODELS[name]
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        model, x = get(root, folder), inputs(root).astype(np.float32)
        y = run(program, model, x, folder)
        wanted = {"TensorFlow.js": by_tfjs(root, model, x[:few], folder)}
        if has_numpy:
            (wanted["numpy"],) = by_numpy(model, x).values()
    failed = 0
    for peer, z in wanted.items():
        worst = float(np.abs(y[:len(z)] - z).max() / np.abs(z).max())
        good = y[:len(z)].shape == z.shape and worst < 1e-5
        failed += not good
        print(f"{'ok' if good else 'FAIL'} {peer}: off by at most {worst:.2g} of the largest value")
    if judge:
        good = judge(root, y)
        failed += not good
        print("ok: they are what they are" if good else f"FAIL: it says {y.argmax(1)}")
    print(f"{len(wanted) + bool(judge) - failed} passed, {failed} failed")
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
