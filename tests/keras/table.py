#!/usr/bin/python3
"""One case per layer and per notable value of its configuration, against references in numpy.

Usage: table.py INTERPRET [TEXT]

INTERPRET is the driver beside this file, which runs all cases in one process: importer and interpreter, no code generator. TEXT: only
cases with that in their names. layers/FAMILY.py hold cases and references (functions of a forward.Call, written from Keras'
documentation), and a case is a line or two there:

    case("rms", norm("RMSNormalization", "y", [("scale", (4,))], epsilon=1e-5), shape=(5, 4))

A case runs as Keras 2 and as Keras 3 would write it, in files of different forms in turn, on random inputs of three samples.
"""
import importlib
import pathlib
import sys
import tempfile

import numpy as np

import check
import forward
import models

BATCH = 3
FORMS = {2: ("npz-2", "h5-2", "tfjs", "json-2"), 3: ("json-npz", "keras", "json-npz", "h5-3")}  # HDF5 is slower
CASES = []


class Case:
    def __init__(self, name, model, inputs, versions, batch, weights, states, form, error):
        self.form, self.name, self.model, self.inputs, self.versions = form, name, model, inputs, versions
        self.batch, self.weights, self.states, self.error = batch, weights, states, error
        model.name = name


def case(name, *layers, shape=(6, 7, 4), model=None, inputs=None, versions=(2, 3), batch=None, weights=None, states=None, form=None, error=None):
    """layers: a Sequential on an image of that shape, or the model. inputs: {name: array, or a number: integers below it}.

    batch: it has to be given. weights: {layer: arrays} instead of random ones. states: {layer: {state: shape}}, which are inputs, and
    outputs NAME.next, of the graph. form: of the file, a row of models.FORMS. error: what the importer must say.
    """
    assert all(name != c.name for c in CASES), name
    CASES.append(Case(name, model or models.one(*layers, shape=shape), inputs or {}, versions, batch, weights or {}, states or {}, form, error))


def reference(*names, passing=False):
    def register(function):
        for name in names:
            forward.REFERENCES[name] = function
            if passing:
                forward.PASSING.add(name)
        return function
    return register


def input_of(case, name, shape, dtype, rng):
    given = case.inputs.get(name)
    if isinstance(given, int):
        return rng.integers(0, given, (BATCH, *shape)).astype(dtype)
    if given is not None:
        return np.asarray(given)
    return rng.standard_normal((BATCH, *shape)).astype(dtype)


def exact(x):
    return x.astype(np.float64) if x.dtype.kind == "f" else x


def prepare(case, version, form, folder):
    """Writes the model and its inputs; gives the path of the model and what must come out."""
    rng = np.random.default_rng(len(case.name) + version)
    weights = {**models.weights_of(case.model, rng), **case.weights}
    path = folder / f"model{models.FORMS[form][0]}"
    models.FORMS[form][1](path, case.model, weights)
    config = models.keras2_model(case.model) if version == 2 else models.keras3_model(case.model)
    inputs = {n: input_of(case, n, s, d, rng) for n, s, d in check.configured_inputs(config)}
    states = {l: {f"{l}.{n}": rng.standard_normal(s).astype(np.float32) for n, s in ss.items()} for l, ss in case.states.items()}
    for name, x in {**inputs, **{n: x for ss in states.values() for n, x in ss.items()}}.items():
        np.save(folder / f"{name}.npy", x)
    if case.error:
        return path, None
    tensors = [forward.Tensor(exact(x)) for x in inputs.values()]
    wide = {l: [exact(np.asarray(w)) for w in ws] if isinstance(ws, list) else ws for l, ws in weights.items()}
    forward.STATES = {l: [exact(x) for x in ss.values()] for l, ss in states.items()}
    wanted = forward.arrays(forward.run_model(config, wide, tensors, version))
    after = {f"{n}.next": x for l, ss in states.items() for n, x in zip(ss, forward.STATES[l])}
    return path, {**wanted, **after}


def verdict(case, wanted, folder):
    if case.error:
        text = (folder / "error").read_text() if (folder / "error").exists() else "it ran"
        return None if case.error in text else text
    return check.compare(wanted, folder, relative=1e-5)


def main():
    here = pathlib.Path(__file__).parent
    for family in sorted((here / "layers").glob("*.py")):
        importlib.import_module(f"layers.{family.stem}")
    rows, failed, turn = [], 0, {2: 0, 3: 0}
    with tempfile.TemporaryDirectory() as name:
        for c in CASES:
            for version in c.versions if len(sys.argv) < 3 or sys.argv[2] in c.name else ():
                form = c.form or FORMS[version][turn[version] % len(FORMS[version])]
                turn[version] += 1
                folder = pathlib.Path(name) / f"{len(rows)}"
                folder.mkdir()
                rows.append((c, f"{c.name} ({form})", folder, *prepare(c, version, form, folder)))
        check.run_list([sys.argv[1]], [(path, folder, c.batch) for c, _, folder, path, _ in rows], pathlib.Path(name))
        for c, label, folder, _, wanted in rows:
            reason = verdict(c, wanted, folder)
            failed += reason is not None
            if reason:
                print(f"FAIL {label}: {reason}")
    print(f"{len(rows) - failed} passed, {failed} failed")
    sys.exit(failed > 0 or not rows)


if __name__ == "__main__":
    sys.modules["table"] = sys.modules["__main__"]  # what the families import
    main()
