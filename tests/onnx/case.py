"""Cases of ONNX operators: what the files of families/ are made of.

    case("Gelu", "tanh", opset=20, approximate="tanh", inputs=[x], outputs=[gelu_tanh(x)])

One line of each kind of thing:

    case("com.microsoft.Gelu", ...)          an operator of another domain, at opset 1 unless domains={"com.microsoft": N} is given
    inputs=[{"a": 1.0}]                      a map
    inputs=[x, None, y]                      None: the optional input is left out; outputs=[None, i]: likewise
    constants=[1]                            input 1 is an initializer of the model instead of an input
    dims={0: ["N", 3]}                       input 0 has the symbolic shape [N,3]
    ir=3                                     the version of the file format; before 4 initializers are inputs, too
    compiled=True                            the interpreter cannot tell: it refuses more, or computes in wider numbers
    error="negative pads"                    the model must be refused, by a message that has this text
    nodes=[node("Abs", "x0", "t"), node("Neg", "t", "y0")]    a graph instead of one node; inputs are x0, x1, ..., outputs y0, y1, ...
    bf16(array), Raw("INT4", bits, shape)    tensors of types that numpy does not have

Everything else given is an attribute of the node. Expected values follow from the formulas of the specification, in numpy,
never from tenon. Formulas of tests/ops can be imported.
"""
import collections
import pathlib
import sys

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

CASES = []
sys.path.append(str(pathlib.Path(__file__).parent.parent / "ops"))
Case = collections.namedtuple("Case", "name graph opsets inputs outputs error ir compiled")

# Element types that onnx 1.12 does not know, by their numbers in the specification.
NEWER_TYPES = dict(FLOAT8E4M3FN=17, FLOAT8E4M3FNUZ=18, FLOAT8E5M2=19, FLOAT8E5M2FNUZ=20, UINT4=21, INT4=22, FLOAT4E2M1=23,
                   FLOAT8E8M0=24, UINT2=25, INT2=26)
BITS = dict(UINT4=4, INT4=4, FLOAT4E2M1=4, UINT2=2, INT2=2, BFLOAT16=16)  # others of NEWER_TYPES: 8


class Raw:
    """A tensor of one of NEWER_TYPES or BFLOAT16: the bits of each element, as numbers."""

    def __init__(self, type_name, bits, shape=None):
        self.type_name, self.bits = type_name, np.asarray(bits, np.uint16)
        self.shape = self.bits.shape if shape is None else tuple(shape)

    def bytes(self):
        """Elements under a byte are packed, the first in the lowest bits."""
        width, flat = BITS.get(self.type_name, 8), self.bits.reshape(-1)
        if width >= 8:
            return flat.astype("<u2" if width == 16 else "u1").tobytes()
        per_byte = 8 // width
        flat = np.append(flat & (2**width - 1), np.zeros(-len(flat) % per_byte, np.uint16)).reshape(-1, per_byte)
        return (flat << (width * np.arange(per_byte, dtype=np.uint16))).sum(1).astype("u1").tobytes()


def bf16(array):
    """Rounds to nearest even (no NaN)."""
    bits = np.ascontiguousarray(array, np.float32).view(np.uint32).astype(np.uint64)
    return Raw("BFLOAT16", (bits + 0x7FFF + (bits >> 16 & 1) >> 16).reshape(np.shape(array)))


def random(*shape, dtype=np.float32, low=-1, high=1, seed=0):
    """Uniform numbers; the same for the same shape and seed."""
    generator = np.random.default_rng([seed, *shape])
    return generator.uniform(low, high, shape).astype(dtype)


def node(op, inputs, outputs, **attributes):
    """A NodeProto; `op` may carry a domain, names are separated by spaces, "" or _ is an absent one."""
    domain, _, name = op.rpartition(".")
    names = lambda text: ["" if word == "_" else word for word in text.split()]
    return helper.make_node(name, names(inputs), names(outputs), name=name, domain=domain, **attributes)


def element_type(tensor):
    if isinstance(tensor, Raw):
        return NEWER_TYPES.get(tensor.type_name) or TensorProto.DataType.Value(tensor.type_name)
    return helper.mapping.NP_TYPE_TO_TENSOR_TYPE[tensor.dtype]


def tensor_proto(tensor, name=""):
    """Also of a list of tensors: a sequence."""
    if isinstance(tensor, list):
        return onnx.SequenceProto(name=name, elem_type=onnx.SequenceProto.TENSOR, tensor_values=[tensor_proto(t) for t in tensor])
    if not isinstance(tensor, Raw):
        return numpy_helper.from_array(tensor, name)
    return TensorProto(name=name, data_type=element_type(tensor), dims=tensor.shape, raw_data=tensor.bytes())


def value_info(tensor, name, dims):
    if isinstance(tensor, list):
        return helper.make_tensor_sequence_value_info(name, element_type(tensor[0]), None)
    if isinstance(tensor, dict):
        keys, values = halves(tensor)
        types = onnx.TypeProto.Map(key_type=element_type(keys), value_type=helper.make_tensor_type_proto(element_type(values), []))
        return onnx.ValueInfoProto(name=name, type=onnx.TypeProto(map_type=types))
    return helper.make_tensor_value_info(name, element_type(tensor), dims)


def case(op, name, inputs=(), outputs=(), opset=17, domains=None, constants=(), dims=None, error=None, nodes=None, ir=10, compiled=False, **attributes):
    """Adds a case; see above. `op` names it, too, where `nodes` are given."""
    inputs, outputs = [as_tensor(x) for x in inputs], [as_tensor(y) for y in outputs or ([np.float32(0)] if error else [])]
    name = f"{op}_{opset}_{name}".rstrip("_")
    assert name not in (c.name for c in CASES), f"two cases are called {name}"
    assert outputs, f"{name} expects nothing"
    names = lambda letter, tensors: " ".join("_" if t is None else f"{letter}{i}" for i, t in enumerate(tensors))
    nodes = nodes or [node(op, names("x", inputs), names("y", outputs), **attributes)]
    domains = {n.domain: 1 for n in nodes if n.domain} | (domains or {})
    given = {i: x for i, x in enumerate(inputs) if x is not None}
    wanted = {i: y for i, y in enumerate(outputs) if y is not None}
    graph = helper.make_graph(
        nodes, "case",
        [value_info(x, f"x{i}", (dims or {}).get(i, getattr(x, "shape", None))) for i, x in given.items() if i not in constants or ir < 4],
        [value_info(y, f"y{i}", None) for i, y in wanted.items()],
        [tensor_proto(given[i], f"x{i}") for i in constants])
    CASES.append(Case(name, graph, {"": opset, **domains}, {f"x{i}": x for i, x in given.items() if i not in constants},
                      {f"y{i}": y for i, y in wanted.items()}, error, ir, compiled))


def as_tensor(x):
    return x if x is None or isinstance(x, (Raw, list, dict)) else np.asarray(x)


def halves(x):
    """The keys and the values of a map."""
    text = lambda items: np.array(list(items), object if items and isinstance(next(iter(items)), str) else None)
    return text(x.keys()), text(x.values())


def expanded(tensors):
    """Maps as tenon takes them: two tensors."""
    for name, x in tensors.items():
        yield from zip((f"{name}_keys", f"{name}_values"), halves(x)) if isinstance(x, dict) else [(name, x)]


def write(one, folder):
    """model.onnx and one data set, in the layout of the conformance data."""
    data = pathlib.Path(folder) / "test_data_set_0"
    data.mkdir(parents=True)
    opsets = [helper.make_opsetid(domain, version) for domain, version in one.opsets.items()]
    model = helper.make_model(one.graph, opset_imports=opsets, ir_version=one.ir, producer_name="tests/onnx")
    (data.parent / "model.onnx").write_bytes(model.SerializeToString())
    for kind, tensors in ("input", one.inputs), ("output", one.outputs):
        for i, (name, tensor) in enumerate(expanded(tensors)):
            (data / f"{kind}_{i}.pb").write_bytes(tensor_proto(tensor, name).SerializeToString())
