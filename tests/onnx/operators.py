#!/usr/bin/python3
"""What the tests know of each ONNX operator, against operators.tsv, of which docs/operators.md is made.

Usage: operators.py [--bless] PROGRAM

PROGRAM is build/tests/onnx/test_onnx_operators. A line of operators.tsv has an operator's name, the opsets that tests import, how many of the
conformance tests that pass and how many cases of families/ have it, the element types that at least half of its models take, the core operators that
at least half of them become, and the others. What the file claims and is no more is a failure; what is new is reported, and --bless writes it.
"""
import argparse
import collections
import pathlib
import runpy
import subprocess
import sys
import tempfile

import case

HERE = pathlib.Path(__file__).parent
HEAD = "# Written by operators.py --bless: operator, opsets of tests, conformance tests, cases, element types, core operators, others\n"
Facts = collections.namedtuple("Facts", "opsets conformance cases types ops others", defaults=[frozenset(), 0, 0, frozenset(), frozenset(), frozenset()])


def conformance_models():
    listed = subprocess.run(["dpkg", "-L", "libonnx-testdata"], stdout=subprocess.PIPE, text=True, check=True).stdout.splitlines()
    data = pathlib.Path(next(path for path in listed if path.endswith("/data/node"))).parent
    lines = (HERE.parent / "conformance" / "expected-failures.txt").read_text().splitlines()
    failing = {line.split(": ")[0] for line in lines}
    suites = ["node", "simple", "pytorch-converted", "pytorch-operator"]
    models = sorted(path for suite in suites for path in (data / suite).glob("*/model.onnx"))
    return [path for path in models if f"{path.parent.parent.name}/{path.parent.name}" not in failing]


def case_models(folder):
    for family in sorted((HERE / "families").glob("*.py")):
        case.CASES.clear()
        runpy.run_path(str(family))
        for one in case.CASES:
            if one.error is None:
                case.write(one, folder / family.stem / one.name)
                yield folder / family.stem / one.name / "model.onnx"


def measure(program):
    with tempfile.TemporaryDirectory() as temporary:
        conformance, cases = conformance_models(), list(case_models(pathlib.Path(temporary)))
        of_cases = {str(path) for path in cases}
        done = subprocess.run([program, *conformance, *cases], stdout=subprocess.PIPE, text=True)
        said = done.stdout
        if done.returncode:
            sys.exit(f"ended with {done.returncode} after {said.splitlines()[-1:]}")
    lines = collections.defaultdict(list)
    for line in said.splitlines():
        path, name, opset, ops, types = line.split("\t")
        lines[name].append((path in of_cases, int(opset), ops, types))
    return {name: summary(some) for name, some in lines.items()}


def summary(lines):
    """Of an operator's models; "-" stands for what they do not say."""
    words = lambda at: [line[at].split(",") for line in lines if line[at] != "-"]
    count = lambda at: collections.Counter(word for some in words(at) for word in some if word)
    half = lambda at: {word for word, times in count(at).items() if 2 * times >= len(words(at))}
    cases = sum(is_case for is_case, *_ in lines)
    return Facts({line[1] for line in lines}, len(lines) - cases, cases, half(3), half(2), set(count(2)) - half(2))


def read(path):
    split = lambda text: set(filter(None, text.split(",")))
    facts = {}
    for line in path.read_text().splitlines()[1:]:
        name, opsets, conformance, cases, types, ops, others = line.split("\t")
        facts[name] = Facts({int(opset) for opset in split(opsets)}, int(conformance), int(cases), split(types), split(ops), split(others))
    return facts


def text(name, one):
    words = lambda some: ",".join(str(word) for word in sorted(some))
    return "\t".join([name, *(words(field) if isinstance(field, (set, frozenset)) else str(field) for field in one)])


def lost(claimed, found):
    """What is claimed and was not found, in words."""
    for what in "opsets", "types":
        if getattr(claimed, what) - getattr(found, what):
            yield f"{what} {sorted(getattr(claimed, what) - getattr(found, what))}"
    for what in "conformance", "cases":
        if getattr(claimed, what) > getattr(found, what):
            yield f"{getattr(claimed, what)} tests ({what}), there are {getattr(found, what)}"
    if (claimed.ops | claimed.others) - (found.ops | found.others):
        yield f"it becomes {sorted((claimed.ops | claimed.others) - (found.ops | found.others))}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bless", action="store_true")
    parser.add_argument("program")
    arguments = parser.parse_args()
    path, found = HERE / "operators.tsv", measure(arguments.program)
    if arguments.bless:
        path.write_text(HEAD + "".join(text(name, found[name]) + "\n" for name in sorted(found)))
    claimed, failed = read(path), 0
    for name, claims in claimed.items():
        for what in lost(claims, found.get(name, Facts())):
            failed += 1
            print(f"{name}: not so any more: {what}")
    for name in sorted(name for name in found if text(name, found[name]) != text(name, claimed.get(name, Facts()))):
        print(f"to be written by --bless: {name}")
    print(f"{len(claimed) - failed} passed, {failed} failed")
    sys.exit(failed > 0)


main()
