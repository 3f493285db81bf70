#!/usr/bin/python3
"""The table of layers in docs/keras.md, made of the importer's tables and of layers.tsv, every layer of Keras 3.16 and tf-keras 2.21.

Usage: check_docs.py SOURCE-ROOT [--write]         checks that the page has this table; or writes it
"""
import pathlib
import re
import sys

BEGIN, END = "<!-- layers: tests/keras/check_docs.py writes what follows -->\n", "<!-- end of layers -->\n"
FAMILIES = {"activation": "activation", "attention": "attention", "boxes": "images and features", "category": "categories",
            "contrast": "images and features", "conv": "convolution", "conv_lstm": "recurrent", "dense": "dense", "image": "images and features",
            "local": "convolution", "mask": "recurrent", "merge": "merging", "norm": "normalisation", "pool": "pooling", "rnn": "recurrent",
            "shape": "shape", "spectrogram": "spectrograms", "text": "text", "wrapper": "wrappers"}
OTHERS = ("frugally-deep 122 of Keras 3's 138 and 95 of Keras 2's 108, hls4ml 79 and 66, tfjs 65 and 67, keras2c 57 and 58")


def imported(root):
    """{layer: family}, "identity" for those that do nothing."""
    found = {}
    for path in sorted((root / "frontend/keras/layers").glob("*.c")):
        for name in re.findall(r'^    \{"([A-Z]\w+)", \w+, \d,', path.read_text(), re.M):
            found[name] = path.stem
    return found


def table(root):
    rows = [line.split("\t") for line in (root / "tests/keras/layers.tsv").read_text().splitlines()[1:]]
    have, failed = imported(root), []
    cell = lambda name, there: "" if there != "1" else "no" if name not in have else "identity" if have[name] == "identity" else "yes"
    text = "| layer | Keras 3 | Keras 2 | |\n|---|---|---|---|\n"
    for name, three, two, why in rows:
        if name not in have and not why:
            failed.append(f"{name}: layers.tsv does not say why it is not imported")
        note = why if name not in have else "" if have[name] == "identity" else FAMILIES[have[name]]
        text += f"| {name} | {cell(name, three)} | {cell(name, two)} | {note} |\n"
    counts = [(sum(r[0] in have for r in rows if r[k] == "1"), sum(r[k] == "1" for r in rows)) for k in (1, 2)]
    known = {r[0] for r in rows}
    older = sorted(name for name in have if name not in known)
    head = (f"Of Keras 3's {counts[0][1]} layers {counts[0][0]} are imported, of Keras 2's {counts[1][1]} {counts[1][0]} ({OTHERS}). "
            "`identity` does nothing at inference: dropout, noise, regularization, augmentation.\n")
    return f"{head}\n{text}\nUnder other or older names: {', '.join(older)}.\n", failed


def main():
    root = pathlib.Path(sys.argv[1])
    page = root / "docs/keras.md"
    text, failed = table(root)
    before, _, rest = page.read_text().partition(BEGIN)
    old, _, after = rest.partition(END)
    if "--write" in sys.argv:
        page.write_text(before + BEGIN + text + END + after)
    elif old != text:
        failed.append("docs/keras.md: the table of layers is not that of the importer; write it with --write")
    source = (root / "frontend/keras/layers/activation.c").read_text()
    functions = set(re.findall(r'^    \{"([a-z]\w+)", (?:&op_\w+|NULL),', source, re.M))
    listed = set(re.findall(r"\w+", page.read_text().split("Activations by name:")[1].split(".")[0]))
    failed += [f"activation {name}: only in {'the importer' if name in functions else 'docs/keras.md'}" for name in sorted(functions ^ listed)]
    print("".join(f"FAIL {f}\n" for f in failed) + f"{1 - bool(failed)} passed, {len(failed)} failed")
    sys.exit(bool(failed))


main()
