"""If: branches of different ranks, of which what follows takes only one."""
from case import case, node, random
from onnx import TensorProto, helper
import numpy as np


def branch(name, nodes, output, constants=()):
    value = helper.make_tensor_value_info(output, TensorProto.FLOAT, None)
    return helper.make_graph(nodes, name, [], [value], initializer=list(constants))


def ints(name, *values):
    return helper.make_tensor(name, TensorProto.INT64, [len(values)], values)


# A tensor [N,3,T] loses its last axis if T is 1; Gemm wants two axes, Conv (with one spatial axis) three.
squeeze = branch("squeeze", [node("Squeeze", "x0 axes", "s")], "s", [ints("axes", 2)])
keep = branch("keep", [node("Identity", "x0", "k")], "k")
question = [node("Constant", "", "two", value=ints("two", 2)), node("Constant", "", "one", value=ints("one", 1)),
            node("Shape", "x0", "shape"), node("Gather", "shape two", "size"), node("Equal", "size one", "is_one"),
            node("If", "is_one", "t", then_branch=squeeze, else_branch=keep)]
for t in (1, 2):
    x, w, kernel = random(4, 3, t), random(3, 5), random(2, 3, 1)
    sizes = {0: ["N", 3, "T"]}
    product = x[:, :, 0] @ w if t == 1 else None
    case("If", f"rank_2_of_{t}", opset=17, inputs=[x, w], dims=sizes, nodes=[*question, node("Gemm", "t x1", "y0")],
         compiled=True, **({"outputs": [product]} if t == 1 else {"error": "must have equally many elements"}))
    sums = np.einsum("nct,oc->not", x, kernel[:, :, 0])
    case("If", f"rank_3_of_{t}", opset=17, inputs=[x, kernel], dims=sizes, nodes=[*question, node("Conv", "t x1", "y0")],
         **({"outputs": [sums]} if t == 2 else {"error": "takes the branch that could not be compiled"}))
