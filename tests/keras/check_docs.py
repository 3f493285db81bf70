#!/usr/bin/python3
"""Checks that docs/keras.md names exactly the layers and activations of the importer's tables. Usage: check_docs.py SOURCE-ROOT"""
import pathlib
import re
import sys

root = pathlib.Path(sys.argv[1])
source = "".join(path.read_text() for path in sorted((root / "frontend/keras/layers").glob("*.c")))
page = (root / "docs/keras.md").read_text()
rows = set(re.findall(r'^    \{"([A-Z]\w+)", \w+, \d, \d,', source, re.M))
functions = set(re.findall(r'^    \{"([a-z]\w+)", (?:&op_\w+|NULL),', source, re.M))
named = set(re.findall(r"\w+", " ".join(line.split("|")[2] for line in page.split("## Layers")[1].split("Activations")[0].splitlines()
                                        if line.count("|") == 3 and "---" not in line))) - {"layers"}
listed = set(re.findall(r"\w+", page.split("Activations by name:")[1].split(".")[0]))
failed = 0
for what, table, text in (("layer", rows, named), ("activation", functions, listed)):
    for name in sorted(table ^ text):
        failed += 1
        print(f"FAIL {what} {name}: only in {'the importer' if name in table else 'docs/keras.md'}")
print(f"{len(rows | functions) - failed} passed, {failed} failed")
sys.exit(failed > 0 or not rows)
