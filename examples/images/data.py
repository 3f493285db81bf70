"""The image sets of this folder: ((training images u8[n,c,h,w], labels), (test images, labels))."""
import gzip
import json

import numpy as np


def read_idx(path):
    """An idx file, plain or gzipped: two zero bytes, the type (8 = unsigned byte), the rank, the big-endian sizes, the bytes."""
    data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    shape = np.frombuffer(data, ">u4", data[3], 4)
    return np.frombuffer(data, np.uint8, offset=4 + 4 * data[3]).reshape(shape)


def read_idx_set(train, train_labels, test, test_labels):
    return (read_idx(train)[:, None], read_idx(train_labels)), (read_idx(test)[:, None], read_idx(test_labels))


def read_rows(path):
    """A picture whose rows are images of 32 x 32 pixels."""
    from PIL import Image

    Image.MAX_IMAGE_PIXELS = None
    return np.asarray(Image.open(path).convert("RGB")).reshape(-1, 32, 32, 3).transpose(0, 3, 1, 2)


def read_cifar_set(batches, train_labels, test, test_labels):
    """Of the training images those of the first files, as many as are given."""
    train = np.concatenate([read_rows(path) for path in batches])
    labels, right = (np.array(json.loads(path.read_text())) for path in (train_labels, test_labels))
    return (train, labels[: len(train)]), (read_rows(test), right)


def read_folder(name, folder):
    """The set `mnist`, `fashion` or `cifar` by the names that its files have."""
    if name == "cifar":
        batches = [folder / f"data_batch_{i}.png" for i in range(1, 6)]
        return read_cifar_set(batches, folder / "train_lables.json", folder / "test_batch.png", folder / "test_lables.json")
    names = [f"{part}-{kind}-ubyte" for part in ("train", "t10k") for kind in ("images-idx3", "labels-idx1")]
    return read_idx_set(*(folder / n if (folder / n).exists() else folder / f"{n}.gz" for n in names))
