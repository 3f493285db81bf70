#!/usr/bin/python3
"""Runs the cases of one family through `tenon check`.

Usage: run.py [--tenon PROGRAM] [--keep FOLDER] [--compile N] FAMILY [TEXT...] [-- OPTIONS OF tenon check]

FAMILY is a file of families/, without .py; TEXTs choose the cases whose names contain one of them. --keep leaves the
models in FOLDER/CASE, for `tenon show` and others. --compile N: only every Nth case is compiled, the others are interpreted.
See case.py.
"""
import argparse
import runpy
import pathlib
import subprocess
import sys
import tempfile

import case

HERE = pathlib.Path(__file__).parent


def verdicts(tenon, options, cases, folder):
    """By name of the case: "" when it passed, else what tenon says."""
    if not cases:
        return {}
    for one in cases:
        case.write(one, folder / one.name)
    command = [tenon, "check", "--jobs", "2", *options, *(folder / one.name for one in cases)]
    lines = subprocess.run(command, stdout=subprocess.PIPE, text=True).stdout.splitlines()
    passed = {line[5:]: "" for line in lines if line.startswith("PASS ")}
    return passed | dict(line[5:].split(": ", 1) for line in lines if line.startswith("FAIL "))


def complaint(one, verdict):
    """What is wrong with the verdict; "" when nothing is."""
    if one.error is None or verdict is None:
        return "was not run" if verdict is None else verdict
    if verdict.startswith(("crashed: ", "took over ")) or one.error not in verdict:
        return f"'{verdict or 'passed'}', where this is wanted: '{one.error}'"
    return ""


def main():
    words, options = sys.argv[1:], []
    if "--" in words:
        words, options = words[:words.index("--")], words[words.index("--") + 1:]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tenon", default=HERE.parent.parent / "build" / "tenon")
    parser.add_argument("--keep")
    parser.add_argument("--compile", type=int, default=1)
    parser.add_argument("family")
    parser.add_argument("texts", nargs="*")
    arguments = parser.parse_args(words)
    runpy.run_path(str(HERE / "families" / f"{arguments.family}.py"))
    cases = [c for c in case.CASES if not arguments.texts or any(text in c.name for text in arguments.texts)]
    failed = 0
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(arguments.keep or temporary)
        interpreted = [one for i, one in enumerate(cases) if i % arguments.compile and not one.compiled]
        compiled = [one for i, one in enumerate(cases) if i % arguments.compile == 0 or one.compiled]
        said = verdicts(arguments.tenon, options, compiled, folder) | verdicts(arguments.tenon, [*options, "--interpret"], interpreted, folder)
        for one in cases:
            wrong = complaint(one, said.get(one.name))
            failed += wrong != ""
            if wrong:
                print(f"{arguments.family}: {one.name}: {wrong}")
    print(f"{len(cases) - failed} passed, {failed} failed")
    sys.exit(failed > 0 or not cases)


main()
