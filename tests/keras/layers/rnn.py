"""Recurrent layers: cells, states, masks, directions, ConvLSTM."""
import numpy as np

import forward
from forward import activate
from models import Arguments, T, cell_weights, graph, image, layer, sequence
from table import case, reference


def cell_step(cls, config, weights, x, states, major):
    """One step: the output and the new states."""
    units, (kernel, inner, *rest) = config["units"], weights
    act = lambda a: activate(config.get("activation", "tanh"), a, major)
    gate = lambda a: activate(config.get("recurrent_activation", "sigmoid"), a, major)
    split = lambda a: [a[..., i:i + units] for i in range(0, a.shape[-1], units)]
    h = states[0]
    if cls == "SimpleRNN":
        h = act(x @ kernel + (rest[0] if rest else 0) + h @ inner)
        return h, [h]
    if cls == "LSTM":
        i, f, g, o = split(x @ kernel + h @ inner + (rest[0] if rest else 0))
        c = gate(f) * states[1] + gate(i) * act(g)
        h = gate(o) * act(c)
        return h, [h, c]
    after = config.get("reset_after", False)
    xz, xr, xh = split(x @ kernel + ((rest[0][0] if after else rest[0]) if rest else 0))
    hz, hr, hh = split(h @ inner + (rest[0][1] if after and rest else 0))
    z, r = gate(xz + hz), gate(xr + hr)
    g = act(xh + (r * hh if after else (r * h) @ inner[:, 2 * units:]))
    h = z * h + (1 - z) * g
    return h, [h]


def cells_of(name, config):
    """[(class, configuration)]"""
    if name == "RNN":
        return cells_of(config["cell"]["class_name"], config["cell"]["config"])
    if name == "StackedRNNCells":
        return [pair for c in config["cells"] for pair in cells_of(c["class_name"], c["config"])]
    return [(name.replace("Cell", ""), config)]


def conv_same(x, kernel, strides=None, valid=False, dilation=1):
    """NHWC of any number of spatial axes, by shifting the input."""
    spatial, sizes = x.ndim - 2, kernel.shape[:-2]
    strides = strides or [1] * spatial
    spans = [(k - 1) * dilation + 1 for k in sizes]
    total = [0 if valid else max((-(-n // s) - 1) * s + k - n, 0) for n, k, s in zip(x.shape[1:], spans, strides)]
    x = np.pad(x, [(0, 0), *[(t // 2, t - t // 2) for t in total], (0, 0)])
    count = [(n - k) // s + 1 for n, k, s in zip(x.shape[1:], spans, strides)]
    y = 0
    for at in np.ndindex(*sizes):
        part = tuple(slice(a * dilation, a * dilation + (c - 1) * s + 1, s) for a, c, s in zip(at, count, strides))
        y = y + x[(slice(None), *part)] @ kernel[at]
    return y


def conv_lstm_step(config, weights, x, states, major):
    kernel, inner, *rest = weights
    spatial = kernel.ndim - 2
    act = lambda a: activate(config.get("activation", "tanh"), a, major)
    gate = lambda a: activate(config.get("recurrent_activation", "hard_sigmoid"), a, major)
    sums = conv_same(x, kernel, config["strides"], config["padding"] == "valid", config.get("dilation_rate", [1])[0]) + (rest[0] if rest else 0)
    states = [s if s is not None else np.zeros((*sums.shape[:-1], config["filters"])) for s in states]
    i, f, g, o = np.split(sums + conv_same(states[0], inner), 4, axis=-1)
    c = gate(f) * states[1] + gate(i) * act(g)
    h = gate(o) * act(c)
    return h, [h, c]


def run(name, config, weights, x, mask, states, major, backwards):
    """Outputs in the order in which they are made, and the states at the end."""
    is_conv = name.startswith("ConvLSTM")
    pairs = [(name, config)] if is_conv else cells_of(name, config)
    widths = [2 if c in ("LSTM",) or is_conv else 1 for c, _ in pairs]
    had = states is not None
    if not had:
        states = [None if is_conv else np.zeros((len(x), c["units"])) for (_, c), w in zip(pairs, widths) for _ in range(w)]
    order = range(x.shape[1])[::-1] if backwards else range(x.shape[1])
    made, output = [], None
    for t in order:
        y, fresh, ws, ss = x[:, t], [], list(weights), list(states)
        for (c, cfg), width in zip(pairs, widths):
            count = 2 + bool(cfg.get("use_bias", True))
            mine, ws, old, ss = ws[:count], ws[count:], ss[:width], ss[width:]
            y, new = conv_lstm_step(cfg, mine, y, old, major) if is_conv else cell_step(c, cfg, mine, y, old, major)
            fresh += new
        if mask is not None:
            keep = mask[:, t].reshape(-1, *[1] * (y.ndim - 1))
            before = np.zeros_like(y) if output is None or config.get("zero_output_for_mask") else output
            y = np.where(keep, y, before)
            fresh = [np.where(mask[:, t].reshape(-1, *[1] * (n.ndim - 1)), n, o if o is not None else 0) for n, o in zip(fresh, states)]
        states, output = fresh, y
        made.append(y)
    return np.stack(made, 1), states


def first(x, config):
    return np.moveaxis(x, 2, -1) if config.get("data_format") == "channels_first" else x


def recurrent(name):
    def layer_of(call):
        config, x, states = call.config, call.inputs[0], call.inputs[1:]
        given = call.kwargs.get("initial_state")
        if not states and given:
            states = [t.value for t in (given if isinstance(given, list) else [given])]
        if config.get("stateful"):
            states = forward.STATES[config["name"]]
        if config.get("time_major"):
            x = x.swapaxes(0, 1)
        y, end = run(name, config, call.weights, first(x, config), call.masks[0], states or None, call.major, config.get("go_backwards", False))
        if config.get("data_format") == "channels_first":
            y, end = np.moveaxis(y, -1, 2), [np.moveaxis(s, -1, 1) for s in end]
        forward.STATES[config["name"]] = end
        call.mask = call.masks[0] if config.get("return_sequences") else None
        y = y if config.get("return_sequences") else y[:, -1]
        if config.get("time_major") and config.get("return_sequences"):
            y = y.swapaxes(0, 1)
        return [y, *end] if config.get("return_state") else y
    return layer_of


CLASSES = ("SimpleRNN", "LSTM", "GRU", "RNN", "ConvLSTM1D", "ConvLSTM2D", "ConvLSTM3D")
for cls in CLASSES:
    reference(cls)(recurrent(cls))


@reference("Bidirectional")
def bidirectional(call):
    inner, half = call.config["layer"], len(call.weights) // 2
    other, x = call.config.get("backward_layer") or inner, call.inputs[0]
    states = call.inputs[1:] or [t.value for t in call.kwargs.get("initial_state") or []]
    count, config = len(states) // 2, inner["config"]
    back = config.get("go_backwards", False)
    ways = [("forward", inner, call.weights[:half], states[:count], back), ("backward", other, call.weights[half:], states[count:], not back)]
    ys, ends = [], []
    for way, l, w, s, backwards in ways:
        kept = f"{call.config['name']}.{way}"
        s = forward.STATES[kept] if l["config"].get("stateful") else s
        y, end = run(l["class_name"], l["config"], w, x, call.masks[0], s or None, call.major, backwards)
        forward.STATES[kept] = end
        ys.append(y)
        ends += end
    all_steps = config.get("return_sequences")
    ahead, behind = (ys[0], ys[1][:, ::-1]) if all_steps else (ys[0][:, -1], ys[1][:, -1])
    call.mask = call.masks[0] if all_steps else None
    mode = call.config["merge_mode"]
    y = {"concat": lambda: [np.concatenate([ahead, behind], -1)], "sum": lambda: [ahead + behind], "mul": lambda: [ahead * behind],
         "ave": lambda: [(ahead + behind) / 2], None: lambda: [ahead, behind]}[mode]()
    return [*y, *ends] if config.get("return_state") else y


@reference("Masking")
def masking(call):
    keep = (call.inputs[0] != call.config["mask_value"]).any(-1)
    call.mask = keep
    return call.inputs[0] * keep[..., None]


DEFAULTS = {"SimpleRNN": {}, "LSTM": {"recurrent_activation": "sigmoid"}, "GRU": {"recurrent_activation": "sigmoid", "reset_after": True}}


def rnn(cls, name, fan_in, units, calls=None, **config):
    config = {"activation": "tanh", "use_bias": True, **DEFAULTS[cls], **config}
    return layer(cls, name, weights=cell_weights(cls, fan_in, units, config), calls=calls, units=units, **config)


def cell(cls, name, units, **config):
    return {"module": "keras.layers", "class_name": cls + "Cell",
            "config": {"name": name, "units": units, "activation": "tanh", "use_bias": True, **DEFAULTS[cls], **config}}


def cell_names(cls, prefix, fan_in, units, config):
    return [(prefix + n.removeprefix("cell/"), s) for n, s in cell_weights(cls, fan_in, units, config)]


def both(name, inner, merge_mode="concat", calls=None, backward=None, **config):
    weights = [(f"{way}_layer/{n}", s) for way, l in (("forward", inner), ("backward", backward or inner)) for n, s in l.weights]
    extra = {"backward_layer": {"class_name": backward.class_name, "config": backward.config}} if backward else {}
    return layer("Bidirectional", name, weights=weights, calls=calls, merge_mode=merge_mode, **extra,
                 layer={"class_name": inner.class_name, "config": inner.config}, **config)


RNG = np.random.default_rng(3)
STEPS = RNG.standard_normal((4, 6, 4)).astype(np.float32)
for row, off in enumerate(([], [4, 5], [0, 1, 3], [0, 1, 2, 3, 4, 5])):  # none masked, the end, here and there, all
    STEPS[row, off] = 0
MASK = layer("Masking", "m", mask_value=0.0)

for cls in ("SimpleRNN", "LSTM", "GRU"):
    low = cls.lower()
    case(f"{low}_state", model=graph(["y", "y::1"] + ["y::2"] * (cls == "LSTM"), image(5, 4, name="x"),
                                     rnn(cls, "y", 4, 3, [["x"]], return_sequences=True, return_state=True)))
    case(f"{low}_masked", MASK, rnn(cls, "y", 4, 3), shape=(6, 4), inputs={"image": STEPS})
    case(f"{low}_masked_sequences", MASK, rnn(cls, "y", 4, 3, return_sequences=True), shape=(6, 4), inputs={"image": STEPS})
    case(f"{low}_masked_backwards", MASK, rnn(cls, "y", 4, 3, go_backwards=True, return_sequences=True), shape=(6, 4), inputs={"image": STEPS})
    case(f"{low}_masked_backwards_last", MASK, rnn(cls, "y", 4, 3, go_backwards=True), shape=(6, 4), inputs={"image": STEPS})
    case(f"{low}_masked_zero", MASK, rnn(cls, "a", 4, 3, return_sequences=True, zero_output_for_mask=True),
         rnn(cls, "y", 3, 2, zero_output_for_mask=True), shape=(6, 4), inputs={"image": STEPS})
    case(f"{low}_cell", layer("RNN", "y", weights=cell_names(cls, "cell/", 4, 3, cell(cls, "c", 3)["config"]), cell=cell(cls, "c", 3),
                              return_sequences=True), shape=(5, 4))
    case(f"{low}_no_bias", rnn(cls, "y", 4, 3, use_bias=False, go_backwards=True), shape=(5, 4))
    case(f"{low}_open", rnn(cls, "y", 4, 3), shape=(None, 4))
    states = [f"s{i}" for i in range(2 if cls == "LSTM" else 1)]
    inputs = [image(5, 4, name="x")] + [image(3, name=s) for s in states]
    case(f"{low}_initial", versions=(3,), model=graph(["y"], *inputs, rnn(cls, "y", 4, 3, [Arguments(
        [T("x")], {"initial_state": [T(s) for s in states]})], return_sequences=True)))
    case(f"{low}_initial_list", model=graph(["y"], *inputs, rnn(cls, "y", 4, 3, [["x", *states]])))
case("gru_before", MASK, rnn("GRU", "y", 4, 3, reset_after=False), shape=(6, 4), inputs={"image": STEPS})
case("lstm_time_major", rnn("LSTM", "y", 4, 3, time_major=True, return_sequences=True), shape=(5, 4), versions=(2,))
case("lstm_hard", rnn("LSTM", "y", 4, 3, recurrent_activation="hard_sigmoid", activation="relu"), shape=(5, 4))
STACK = {"class_name": "StackedRNNCells", "config": {"name": "s", "cells": [
    cell("LSTM", "c1", 3), cell("GRU", "c2", 5), cell("LSTM", "c3", 2, use_bias=False)]}}
STACK_WEIGHTS = [*cell_names("LSTM", "cell/cells/lstm_cell/", 4, 3, {"use_bias": True}),
                 *cell_names("GRU", "cell/cells/gru_cell/", 3, 5, {"use_bias": True, "reset_after": True}),
                 *cell_names("LSTM", "cell/cells/lstm_cell_1/", 5, 2, {"use_bias": False})]
case("stacked", layer("RNN", "y", weights=STACK_WEIGHTS, cell=STACK, return_sequences=True), shape=(5, 4))
case("stacked_masked", MASK, layer("RNN", "y", weights=STACK_WEIGHTS, cell=STACK), shape=(6, 4), inputs={"image": STEPS})
case("stacked_state", model=graph(["y", "y::1", "y::2", "y::3", "y::4", "y::5"], image(5, 4, name="x"), layer(
    "RNN", "y", "x", weights=STACK_WEIGHTS, cell=STACK, return_state=True)))
case("own_cell", layer("RNN", "y", cell={"class_name": "MyCell", "config": {"units": 3}}), shape=(5, 4), error="MyCell")

for mode in ("concat", "sum", "mul", "ave"):
    case(f"both_{mode}", both("y", rnn("LSTM", "i", 4, 3), mode), shape=(5, 4))
    case(f"both_{mode}_sequences", MASK, both("y", rnn("GRU", "i", 4, 3, return_sequences=True), mode), shape=(6, 4), inputs={"image": STEPS})
case("both_none", model=graph(["y", "y::1"], image(5, 4, name="x"), both("y", rnn("SimpleRNN", "i", 4, 3), None, [["x"]])))
case("both_state", model=graph(["y", "y::1", "y::2", "y::3", "y::4"], image(5, 4, name="x"),
                               both("y", rnn("LSTM", "i", 4, 3, return_sequences=True, return_state=True), "concat", [["x"]])))
case("both_initial", model=graph(["y"], image(5, 4, name="x"), *[image(3, name=f"s{i}") for i in range(4)],
                                 both("y", rnn("LSTM", "i", 4, 3), "sum", [["x", "s0", "s1", "s2", "s3"]])))
case("both_own", both("y", rnn("LSTM", "i", 4, 3, return_sequences=True), backward=rnn("LSTM", "b", 4, 3, return_sequences=True, go_backwards=True,
                                                                                       activation="relu")), shape=(5, 4))
case("both_backwards", both("y", rnn("LSTM", "i", 4, 3, return_sequences=True, go_backwards=True)), shape=(5, 4))
case("both_dense", layer("Bidirectional", "y", merge_mode="sum", layer={"class_name": "Dense", "config": {"name": "d", "units": 3}},
                         weights=[(f"{way}_layer/{n}", s) for way in ("forward", "backward") for n, s in (("kernel", (4, 3)), ("bias", (3,)))]),
     shape=(5, 4), error="around a layer of class 'Dense'")


def conv_lstm(d, name="y", filters=3, fan_in=2, kernel=2, use_bias=True, **config):
    config = {"strides": [1] * d, "padding": "valid", "activation": "tanh", "recurrent_activation": "hard_sigmoid", **config}
    weights = [("cell/kernel", (*[kernel] * d, fan_in, 4 * filters)), ("cell/recurrent_kernel", (*[kernel] * d, filters, 4 * filters))]
    return layer(f"ConvLSTM{d}D", name, weights=weights + [("cell/bias", (4 * filters,))] * use_bias, filters=filters,
                 kernel_size=[kernel] * d, use_bias=use_bias, **config)


for d, shape in {1: (6,), 2: (5, 4), 3: (4, 3, 5)}.items():
    case(f"conv_lstm_{d}d", conv_lstm(d, return_sequences=True), shape=(3, *shape, 2))
    case(f"conv_lstm_{d}d_last", conv_lstm(d, padding="same", go_backwards=True, kernel=3, strides=[2] * d), shape=(3, *shape, 2))
    case(f"conv_lstm_{d}d_first", conv_lstm(d, padding="same", data_format="channels_first", return_sequences=True, use_bias=False,
                                            recurrent_activation="sigmoid"), shape=(3, 2, *shape))
case("conv_lstm_dilated", conv_lstm(2, dilation_rate=[2, 2], padding="same"), shape=(3, 5, 4, 2))
case("conv_lstm_state", model=graph(["y", "y::1", "y::2"], image(3, 6, 2, name="image"), layer(
    "ConvLSTM1D", "y", "image", weights=conv_lstm(1).weights, **{k: v for k, v in conv_lstm(1).config.items() if k != "name"}, return_state=True)))
case("conv_lstm_open", conv_lstm(1), shape=(None, 6, 2), error="fixed number")

case("average_of_masked", MASK, layer("GlobalAveragePooling1D", "y"), shape=(6, 4), inputs={"image": STEPS[:3]})
case("stateful_open", rnn("LSTM", "y", 4, 3, stateful=True), shape=(5, 4), error="--dim batch=N")
case("stateful_lstm", rnn("LSTM", "y", 4, 3, stateful=True, return_sequences=True), shape=(5, 4), batch=3,
     states={"y": {"h": (3, 3), "c": (3, 3)}})
case("stateful_masked", MASK, rnn("GRU", "a", 4, 3, stateful=True, return_sequences=True), rnn("SimpleRNN", "y", 3, 2, stateful=True),
     shape=(6, 4), batch=4, inputs={"image": STEPS}, states={"a": {"h": (4, 3)}, "y": {"h": (4, 2)}})
case("stateful_conv", conv_lstm(2, stateful=True), shape=(3, 5, 4, 2), batch=3, states={"y": {"h": (3, 4, 3, 3), "c": (3, 4, 3, 3)}})
