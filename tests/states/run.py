#!/usr/bin/python3
"""What a library keeps from run to run: a small language model and a recurrent one, made here, against numpy.

Usage: run.py TENON

The language model has keys and values that grow (--state past.*=present.*). numpy computes every token anew from the whole text;
a session gets one token more each time. Closes with `N passed, N failed`.
"""
import ctypes
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from session import Session

WORDS, WIDTH, HEADS, LAYERS, ROOM, TOKENS = 50, 32, 2, 2, 48, 32
CHANNELS = WIDTH // HEADS
PROMPT = [7, 3, 11, 3, 42]


class Model:
    """Nodes and weights under construction."""

    def __init__(self):
        self.nodes, self.weights, self.count = [], {}, 0

    def op(self, name, *inputs, to=None, **attributes):
        self.count += 1
        to = to or f"value{self.count}"
        self.nodes.append(helper.make_node(name, list(inputs), [to], **attributes))
        return to

    def weight(self, name, array):
        self.weights[name] = np.asarray(array)
        return name

    def save(self, path, inputs, outputs):
        value = lambda name, dtype, shape: helper.make_tensor_value_info(name, dtype, shape)
        graph = helper.make_graph(self.nodes, "model", [value(*i) for i in inputs], [value(*o) for o in outputs],
                                  [numpy_helper.from_array(array, name) for name, array in self.weights.items()])
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), path)


# ---- The language model


def make_weights():
    generator = np.random.default_rng(5)
    normal = lambda *shape: (generator.standard_normal(shape) / np.sqrt(shape[0])).astype(np.float32)
    weights = {"words": 2 * normal(WORDS, WIDTH) * np.float32(np.sqrt(WORDS)), "places": normal(ROOM, WIDTH) * np.float32(3)}
    for i in range(LAYERS):
        weights |= {f"qkv{i}": normal(WIDTH, 3 * WIDTH), f"out{i}": normal(WIDTH, WIDTH), f"up{i}": normal(WIDTH, 4 * WIDTH),
                    f"down{i}": normal(4 * WIDTH, WIDTH)}
    return weights


def write_decoder(path, weights):
    m = Model()
    for name, array in weights.items():
        m.weight(name, array)
    ints = lambda name, *values: m.weight(name, np.array(values, np.int64))
    zero, one, two, first = ints("zero", 0), ints("one", 1), ints("two", 2), m.weight("first", np.int64(0))
    step = m.weight("step", np.int64(1))
    size = lambda x, axis: m.op("Gather", m.op("Shape", x), m.weight(f"axis{axis}", np.int64(axis)))
    past = size("past.key.0", 2)
    total = m.op("Add", past, size("ids", 1))
    keys, queries = m.op("Range", first, total, step), m.op("Range", past, total, step)
    hidden = m.op("Greater", m.op("Unsqueeze", keys, zero), m.op("Unsqueeze", queries, one))
    mask = m.op("Where", hidden, m.weight("lowest", np.float32(-1e9)), m.weight("nothing", np.float32(0)))
    x = m.op("Add", m.op("Gather", "words", "ids"), m.op("Gather", "places", queries))
    heads = lambda y: m.op("Transpose", m.op("Reshape", y, ints("heads", 0, 0, HEADS, CHANNELS)), perm=[0, 2, 1, 3])
    for i in range(LAYERS):
        m.nodes.append(helper.make_node("Split", [m.op("MatMul", x, f"qkv{i}")], [f"q{i}", f"k{i}", f"v{i}"], axis=2))
        key = m.op("Concat", f"past.key.{i}", heads(f"k{i}"), to=f"present.key.{i}", axis=2)
        value = m.op("Concat", f"past.value.{i}", heads(f"v{i}"), to=f"present.value.{i}", axis=2)
        scores = m.op("MatMul", heads(f"q{i}"), m.op("Transpose", key, perm=[0, 1, 3, 2]))
        scores = m.op("Add", m.op("Mul", scores, m.weight("scale", np.float32(CHANNELS**-0.5))), mask)
        mixed = m.op("Transpose", m.op("MatMul", m.op("Softmax", scores, axis=-1), value), perm=[0, 2, 1, 3])
        x = m.op("Add", x, m.op("MatMul", m.op("Reshape", mixed, ints("width", 0, 0, WIDTH)), f"out{i}"))
        x = m.op("Add", x, m.op("MatMul", m.op("Tanh", m.op("MatMul", x, f"up{i}")), f"down{i}"))
    m.op("MatMul", x, m.op("Transpose", "words", perm=[1, 0]), to="logits")
    kinds = [(kind, i) for i in range(LAYERS) for kind in ("key", "value")]
    f32 = TensorProto.FLOAT
    m.save(path, [("ids", TensorProto.INT64, [1, "count"])] + [(f"past.{k}.{i}", f32, [1, HEADS, "past", CHANNELS]) for k, i in kinds],
           [("logits", f32, [1, "count", WORDS])] + [(f"present.{k}.{i}", f32, [1, HEADS, "all", CHANNELS]) for k, i in kinds])


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def whole_text(weights, ids):
    """Logits of every position."""
    w = {name: array.astype(np.float64) for name, array in weights.items()}
    count = len(ids)
    x = w["words"][ids] + w["places"][:count]
    split = lambda y: y.reshape(count, HEADS, CHANNELS).transpose(1, 0, 2)
    for i in range(LAYERS):
        q, k, v = (split(y) for y in np.split(x @ w[f"qkv{i}"], 3, axis=1))
        scores = q @ k.transpose(0, 2, 1) * CHANNELS**-0.5 + np.triu(np.full((count, count), -1e9), 1)
        x = x + (softmax(scores) @ v).transpose(1, 0, 2).reshape(count, WIDTH) @ w[f"out{i}"]
        x = x + np.tanh(x @ w[f"up{i}"]) @ w[f"down{i}"]
    return x @ w["words"].T


def reference(weights, until):
    ids, logits = list(PROMPT), []
    while len(ids) < until:
        logits.append(whole_text(weights, ids)[-1])
        ids.append(int(logits[-1].argmax()))
    return ids, np.array(logits)


def continue_text(ids, until, step):
    """Greedy: step(new ids, ids before them) gives the logits of the last."""
    ids, new, logits = list(ids), list(ids), []
    while len(ids) < until:
        logits.append(step(new, len(ids) - len(new)))
        new = [int(logits[-1].argmax())]
        ids += new
    return ids, np.array(logits)


def as_input(ids):
    return np.array([ids], np.int64)


# ---- Tests


def near(a, b):
    return np.allclose(a, b, rtol=1e-4, atol=1e-3)


def plain_step(session):
    """The call without a session: the caller has the memory and says how much the states hold."""
    table = session.table
    aligned = lambda size: (lambda raw: (raw, raw.ctypes.data + -raw.ctypes.data % 64))(np.zeros(size + 64, np.uint8))
    kept, state = aligned(table.state_size(None))
    assert table.prepare(state) == 0
    names = [table.symbols[i].decode() for i in range(table.symbol_count)]

    def step(new, past, kept=kept):
        ids, logits = as_input(new), np.empty((1, len(new), WORDS), np.float32)
        symbols = (ctypes.c_int64 * len(names))(*({"count": len(new), "past": past}[name] for name in names))
        held, scratch = aligned(table.scratch_size(symbols))
        pointers = lambda array: (ctypes.c_void_p * 1)(array.ctypes.data)
        code = table.run(state, symbols, pointers(ids), pointers(logits), scratch)
        assert code == 0, code
        return logits[0, -1]
    return step


def explicit_step(session):
    kept = {name: np.zeros((1, HEADS, 0, CHANNELS), np.float32) for name in session.inputs if name != "ids"}

    def step(new, past):
        outputs = session.run({"ids": as_input(new), **kept})
        for name in kept:
            kept[name] = outputs[name.replace("past", "present")]
        return outputs["logits"][0, -1]
    return step


def session_step(session):
    return lambda new, past: session.run({"ids": as_input(new)})["logits"][0, -1]


def refusal(call):
    try:
        call()
    except RuntimeError as error:
        return str(error)
    return "no error"


def test_decoder(folder, compile_model):
    weights, model = make_weights(), folder / "decoder.onnx"
    write_decoder(model, weights)
    until = len(PROMPT) + TOKENS
    want_ids, want = reference(weights, until)
    explicit = Session(compile_model(model, folder / "explicit.so"))
    kept = Session(compile_model(model, folder / "kept.so", "--state", "past.*=present.*", "--max", f"past={ROOM}"))
    yield "states are no inputs", kept.inputs == ["ids"] and kept.outputs == ["logits"] and len(kept.states) == 2 * LAYERS
    for name, step in (("explicit past", explicit_step(explicit)), ("session", session_step(kept)), ("plain call", plain_step(kept))):
        ids, logits = continue_text(PROMPT, until, step)
        yield f"{name}: the same {TOKENS} tokens", ids == want_ids
        yield f"{name}: the same logits", near(logits, want)
    key = kept.state("past.key.1")
    yield "a state holds every token but the last", key.shape == (1, HEADS, until - 1, CHANNELS)
    twin = Session(folder / "kept.so")
    for name in kept.states:
        twin.set_state(name, kept.state(name))
    following = {"ids": as_input(want_ids[-1:])}
    yield "another session goes on", near(twin.run(following)["logits"], kept.run(following)["logits"])
    kept.resize_state("past.key.0", (1, HEADS, 20, CHANNELS))
    yield "back to an earlier token", near(kept.run({"ids": as_input(want_ids[20:21])})["logits"][0, 0], want[20 + 1 - len(PROMPT)])
    kept.reset()
    yield "from the start again", continue_text(PROMPT, until, session_step(kept))[0] == want_ids
    full = refusal(lambda: kept.run({"ids": as_input([1] * (ROOM - until + 2))}))
    yield f"no room: {full}", "must be at most" in full
    yield "which changes nothing", kept.state("past.key.0").shape[2] == until - 1
    wrong = refusal(lambda: kept.set_state("past.key.0", key[:, :, :, 1:]))
    yield f"a wrong state: {wrong}", "past.key.0" in wrong


def test_recurrent(folder, compile_model):
    """h' = tanh(x w + h u); both the new h and, a run later, the old one are put out."""
    generator, path = np.random.default_rng(1), folder / "recurrent.onnx"
    w, u = (generator.standard_normal((8, 8)).astype(np.float32) / 3 for _ in range(2))
    m = Model()
    m.weight("w", w), m.weight("u", u)
    m.op("Tanh", m.op("Add", m.op("MatMul", "x", "w"), m.op("MatMul", "h", "u")), to="h_next")
    m.op("Identity", "h", to="h_before")
    f32 = TensorProto.FLOAT
    m.save(path, [("h", f32, [1, 8]), ("x", f32, [1, 8])], [("h_next", f32, [1, 8]), ("h_before", f32, [1, 8])])
    session = Session(compile_model(path, folder / "recurrent.so", "--state", "h=h_next"))
    for round_name in ("from zeros", "after a reset"):
        h, good = np.zeros((1, 8)), True
        for x in generator.standard_normal((10, 1, 8)).astype(np.float32):
            good = good and near(session.run({"x": x})["h_before"], h)
            h = np.tanh(x @ w + h @ u)
        yield f"recurrent: {round_name}", good and near(session.state("h"), h)
        session.reset()


def main():
    tenon, passed, failed = sys.argv[1], 0, 0

    def compile_model(model, library, *more):
        subprocess.run([tenon, "compile", model, "-q", "-o", library, *more], check=True)
        return library

    with tempfile.TemporaryDirectory() as folder:
        for test in (test_decoder, test_recurrent):
            for name, good in test(pathlib.Path(folder), compile_model):
                passed, failed = passed + bool(good), failed + (not good)
                if not good:
                    print(f"FAIL {name}")
    print(f"{passed} passed, {failed} failed")
    return failed > 0


if __name__ == "__main__":
    sys.exit(main())
