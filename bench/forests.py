"""Decision trees as the exporters of scikit-learn, XGBoost and LightGBM write them, with seeded questions.

How long a walk takes does not depend on what is asked, only on how deep the trees are and how many nodes they have.
"""
import numpy as np
from onnx import TensorProto, helper

COLUMNS = 30


def grow(generator, depth, leaf_chance):
    """(feature, threshold, first child) of the nodes of a tree, None for leaves; children stand side by side."""
    nodes, levels = [None], [0]
    for at, level in enumerate(levels):
        if level == depth or (level > 2 and generator.random() < leaf_chance):
            continue
        nodes[at] = int(generator.integers(COLUMNS)), float(generator.normal(0, 0.4)), len(nodes)
        nodes += [None, None]
        levels += [level + 1, level + 1]
    return nodes


def ensemble(trees, depth, outputs=1, leaf_chance=0.0):
    """The bytes of a TreeEnsembleRegressor on x [N,30]."""
    generator = np.random.default_rng(1)
    lists = {name: [] for name in ("treeids", "nodeids", "featureids", "values", "modes", "truenodeids", "falsenodeids")}
    votes = {name: [] for name in ("treeids", "nodeids", "ids", "weights")}
    for tree in range(trees):
        for at, node in enumerate(grow(generator, depth, leaf_chance)):
            feature, threshold, child = node or (0, 0.0, 0)
            row = tree, at, feature, threshold, "BRANCH_LEQ" if node else "LEAF", child, child + 1 if node else 0
            for values, value in zip(lists.values(), row):
                values.append(value)
            for output in range(0 if node else outputs):
                for values, value in zip(votes.values(), (tree, at, output, float(generator.normal()) / trees)):
                    values.append(value)
    attributes = {f"nodes_{k}": v for k, v in lists.items()} | {f"target_{k}": v for k, v in votes.items()}
    node = helper.make_node("TreeEnsembleRegressor", ["x"], ["y"], domain="ai.onnx.ml", n_targets=outputs, **attributes)
    graph = helper.make_graph([node], "trees", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", COLUMNS])],
                              [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", outputs])])
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString()
