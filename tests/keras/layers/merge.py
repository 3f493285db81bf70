"""Layers of several inputs: element by element, Concatenate, Dot; their masks."""
import numpy as np

from models import graph, image, layer
from table import case, reference

FUNCTIONS = {"Add": np.add, "Subtract": np.subtract, "Multiply": np.multiply, "Maximum": np.maximum, "Minimum": np.minimum, "Average": np.add}


def merged_mask(call):
    """Keras 3: any, if all inputs have a mask. Keras 2: all of those that there are."""
    masks = [m for m in call.masks if m is not None]
    if call.major >= 3:
        return np.any(masks, axis=0) if len(masks) == len(call.masks) else None
    return np.all(masks, axis=0) if masks else None


@reference(*FUNCTIONS)
def merge(call):
    rank = max(x.ndim for x in call.inputs)
    wide = [x.reshape(len(x), *[1] * (rank - x.ndim), *x.shape[1:]) for x in call.inputs]
    y = wide[0]
    for x in wide[1:]:
        y = FUNCTIONS[call.config["_class"]](y, x)
    call.mask = merged_mask(call)
    return y / len(wide) if call.config["_class"] == "Average" else y


@reference("Concatenate")
def concatenate(call):
    axis = call.config.get("axis", -1)
    if any(m is not None for m in call.masks):
        wide = [np.ones(x.shape, bool) if m is None else np.broadcast_to(m[..., None], x.shape) for x, m in zip(call.inputs, call.masks)]
        call.mask = np.concatenate(wide, axis).all(-1)
    return np.concatenate(call.inputs, axis)


@reference("Dot")
def dot(call):
    x, y = call.inputs
    axes = call.config["axes"]
    a, b = [axes, axes] if isinstance(axes, int) else axes
    if call.config.get("normalize"):
        x, y = (v / np.sqrt((v * v).sum(axis=n, keepdims=True)) for v, n in ((x, a), (y, b)))
    z = np.stack([np.tensordot(p, q, (a % x.ndim - 1, b % y.ndim - 1)) for p, q in zip(x, y)])
    return z.reshape(len(z), 1) if z.ndim == 1 else z


def two(y, a, b):
    return graph(["y"], image(*a, name="a"), image(*b, name="b"), y)


for name, a, b, axes in (("vectors", (4,), (4,), -1), ("matrices", (3, 4), (5, 4), 2), ("first", (4, 3), (4, 5), 1), ("mixed", (3, 4), (4, 5), [2, 1]),
                         ("vector_matrix", (4,), (3, 4), [1, 2]), ("images", (3, 2, 4), (4, 5), [3, 1])):
    case(f"dot_{name}", model=two(layer("Dot", "y", "a", "b", axes=axes, normalize=False), a, b))
case("dot_normalize", model=two(layer("Dot", "y", "a", "b", axes=-1, normalize=True), (4,), (4,)))
case("dot_batch", model=two(layer("Dot", "y", "a", "b", axes=0), (4,), (4,)), error="along the batch")

STEPS = np.random.default_rng(5).standard_normal((2, 3, 4, 2)).astype(np.float32)
STEPS[0, 0, 1:3] = STEPS[0, 1, 0] = STEPS[1, 0, 3] = STEPS[1, 2, :2] = 0
MASKS = [image(4, 2, name="a"), image(4, 2, name="b"), layer("Masking", "m", "a", mask_value=0.0), layer("Masking", "n", "b", mask_value=0.0)]
for cls in FUNCTIONS:  # a mean over steps tells what the mask is
    for second in ("n", "b"):
        case(f"{cls.lower()}_mask_{second}", model=graph(["y"], *MASKS, layer(cls, "c", "m", second), layer("GlobalAveragePooling1D", "y", "c")),
             inputs={"a": STEPS[0], "b": STEPS[1]})
for axis in (-1, 1):
    for second in ("n", "b"):
        case(f"concatenate_mask_{second}{axis}", model=graph(["y"], *MASKS, layer("Concatenate", "c", "m", second, axis=axis),
                                                           layer("GlobalAveragePooling1D", "y", "c")), inputs={"a": STEPS[0], "b": STEPS[1]})
