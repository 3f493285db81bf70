#!/usr/bin/python3
"""What a user reads when a model is refused: all of its problems at once, in the words of the model.

Usage: report.py [--tenon PROGRAM] [--show]

Each case is a model and the report that `tenon show` must give, word for word; --show prints what it gives.
"""
import argparse
import pathlib
import subprocess
import sys
import tempfile

import onnx
from onnx import TensorProto, helper

HERE = pathlib.Path(__file__).parent
F, I = TensorProto.FLOAT, TensorProto.INT64
UNKNOWN = "not supported: simplify the model (onnxsim) or export it with operators of docs/operators.md"


def node(op, inputs, outputs, **attributes):
    domain, _, name = op.rpartition(".")
    return helper.make_node(name, inputs.split(), outputs.split(), name=outputs.split()[0], domain=domain, **attributes)


def value(name, shape, kind=F):
    return helper.make_tensor_value_info(name, kind, shape)


def model(nodes, outputs=("y", ), inputs=(("x", [2, 3]), ), infos=(), functions=(), opset=17):
    graph = helper.make_graph(nodes, "g", [value(*i) for i in inputs], [o if isinstance(o, onnx.ValueInfoProto) else value(o, None) for o in outputs],
                              value_info=infos)
    domains = {n.domain for n in nodes} | {f.domain for f in functions} - {""}
    opsets = [helper.make_opsetid("", opset), *(helper.make_opsetid(d, 1) for d in sorted(domains - {"", "org.absent"}))]
    return helper.make_model(graph, opset_imports=opsets, functions=functions, ir_version=8)


def body(*nodes):
    return helper.make_graph(nodes, "body", [value("i", [], I), value("go", [], TensorProto.BOOL), value("v", [2, 3])],
                             [value("go", [], TensorProto.BOOL), value("w", None)])


def function(name, *nodes):
    return helper.make_function("org.own", name, ["a"], ["b"], nodes, [helper.make_opsetid("", 17)])


CASES = [
    ("problems of all kinds, and none that follow from others",
     model([node("Frob", "x", "a"), node("Relu", "a", "b"), node("Conv", "x x", "c"), node("Gelu", "x", "d"), node("org.absent.Thing", "b x", "e"),
            node("com.microsoft.BeamSearch", "x", "f"), node("Add", "c d", "y")]),
     f"""error: m: node 'a' (Frob): {UNKNOWN}
  opset 17, on f32[2,3]
error: m: node 'c' (Conv): windows over f32[2,3]: 1 to 3 spatial dims are supported
  opset 17, on f32[2,3], f32[2,3]
error: m: node 'd' (Gelu): exists since opset 20, the model imports opset 17
  opset 17, on f32[2,3]
error: m: node 'e' (org.absent.Thing): not supported: export the model with the standard operators only
  a domain that the model does not import, on ?, f32[2,3]
error: m: node 'f' (com.microsoft.BeamSearch): not supported: it is the loop of a text generator; compile the decoder, which is a graph in its attributes, and loop in the program
  opset 1, on f32[2,3]
"""),
    ("the same problem is said once", model([node("Frob", "x", f"n{i}") for i in range(12)] + [node("Relu", "n0", "y")]),
     f"""error: m: 12 nodes (Frob): {UNKNOWN}
  'n0', 'n1', 'n2', 'n3', 'n4', ...; the first: opset 17, on f32[2,3]
"""),
    ("declared types let the rest be looked at", model([node("Frob", "x", "a"), node("MatMul", "a x", "y")], infos=[value("a", [5, 7])]),
     f"""error: m: node 'a' (Frob): {UNKNOWN}
  opset 17, on f32[2,3]
error: m: node 'y' (MatMul): a is f32[5,7] and b is f32[2,3]: k is 7 here and 2 there
  opset 17, on f32[5,7], f32[2,3]
"""),
    ("operators that others are made of", model([node("Shrink", "x", "a"), node("Cast", "x", "s", to=I), node("Erf", "s", "b"), node("Sum", "x s", "y"),
                                                     node("GatherElements", "x x", "g")]),
     """error: m: node 'b' (Erf): x is i64; it must be float
  opset 17, on i64[2,3]
error: m: node 'y' (Sum): add: x is f32 but y is i64; they must have the same element type
  opset 17, on f32[2,3], i64[2,3]
error: m: node 'g' (GatherElements): indices is f32; it must be signed integer or unsigned integer
  opset 17, on f32[2,3], f32[2,3]
"""),
    ("in functions", model([node("org.own.Twice", "x", "t"), node("org.own.Twice", "t", "y")], functions=[function("Twice", node("Frob", "a", "h"), node("Neg", "h", "b"))]),
     f"""error: m: node 'h' (Frob): {UNKNOWN}
  opset 17, on f32[2,3], in the function Twice of node 't'
"""),
    ("in loops", model([node("Loop", "n c x", "y", body=body(node("Frob", "v", "u"), node("Gelu", "v", "w")))], inputs=[("x", [2, 3]), ("n", [], I), ("c", [], TensorProto.BOOL)]),
     f"""error: m: node 'u' (Frob): {UNKNOWN}
  opset 17, on f32[u0,u1]
error: m: node 'w' (Gelu): exists since opset 20, the model imports opset 17
  opset 17, on f32[u0,u1]
"""),
    ("no shape", model([node("Relu", "x", "y")], inputs=[("x", None)]), "error: m: 'x' has no shape: give it, as in --input-shape x=1x3x224x224\n"),
    ("wrong options are reported with the rest", model([node("Frob", "x", "y")], inputs=[("x", ["N", 3])]),
     f"""error: m: --input-shape: the model has no input 'z'
error: m: the model has no dim 'M'; those with a name: N
error: m: node 'y' (Frob): {UNKNOWN}
  opset 17, on f32[N,3]
"""),
    ("declared types are hints", model([node("Relu", "x", "a"), node("Transpose", "a", "y")], outputs=[value("y", [2, 3])], infos=[value("a", [7], I)]),
     "warning: m: the model declares 'a' as i64[7], but computes f32[2,3] (and 1 more likewise); what is computed counts\n"),
]


OPTIONS = {"wrong options are reported with the rest": ["--dim", "M=3", "--input-shape", "z=1x2"]}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tenon", default=HERE.parent.parent / "build" / "tenon")
    parser.add_argument("--show", action="store_true")
    arguments = parser.parse_args()
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        for name, proto, wanted in CASES:
            path = pathlib.Path(folder) / "m"
            onnx.save(proto, path)
            said = subprocess.run([pathlib.Path(arguments.tenon).resolve(), "show", "m", *OPTIONS.get(name, [])], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=folder)
            right = said.stderr == wanted and said.returncode == wanted.startswith("error")
            failed += not right
            if arguments.show or not right:
                print(f"{name}:\n{said.stderr}", end="" if right else f"instead of:\n{wanted}")
    print(f"{len(CASES) - failed} passed, {failed} failed")
    sys.exit(failed > 0)


main()
