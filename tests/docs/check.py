#!/usr/bin/python3
"""Whether what the documentation shows is there.

Usage: check.py ROOT

In README.md and docs/*.md: a fenced block with a path behind its language (```c ir/ops/scan.c) must be part of that file, piece by piece where lines of `...`
divide it; links must lead to files, and to headings where they have a #; paths in backticks that begin with a folder of the project must exist, but
for words in capitals, which stand for others.
"""
import pathlib
import re
import sys

ROOT = pathlib.Path(sys.argv[1])
FOLDERS = "bench|cli|codegen|docs|examples|frontend|ir|passes|runtime|scripts|tests"


def anchors(page):
    """GitHub's names of a page's headings."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def wrong_snippets(text):
    for path, body in re.findall(r"^```\w+ (\S+)\n(.*?)^```$", text, re.M | re.S):
        file = ROOT / path
        source = file.read_text() if file.is_file() else ""
        for piece in re.split(r"^\.\.\.\n", body, flags=re.M):
            yield (f"is not in {path}: {piece.strip().splitlines()[0]}" if piece not in source else "")


def wrong_links(page, text):
    for target, anchor in re.findall(r"\]\((?!\w+:)([^)#]*)#?([^)]*)\)", text):
        file = (page.parent / target).resolve() if target else page
        missing = not file.exists() or (anchor and anchor not in anchors(file))
        yield f"leads nowhere: {target}#{anchor}" if missing else ""


def wrong_paths(text):
    for path in re.findall(rf"`((?:{FOLDERS})/[\w./-]*\w)(?: [^`]*)?`", text):
        is_wrong = not (ROOT / path).exists() and not re.search(r"\b[A-Z]{2,}\b", path)
        yield f"is not there: {path}" if is_wrong else ""


def main():
    passed, failed = 0, 0
    for page in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]:
        text = page.read_text()
        for wrong in (*wrong_snippets(text), *wrong_links(page, text), *wrong_paths(text)):
            failed += wrong != ""
            passed += wrong == ""
            if wrong:
                print(f"{page.name}: {wrong}")
    print(f"{passed} passed, {failed} failed")
    sys.exit(failed > 0 or not passed)


main()
