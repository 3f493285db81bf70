"""Operators of ai.onnx.ml, one by one; whole models are in sklearn.py.

Where the specification is silent (a classifier of two classes with one score), the expected values are what ONNX Runtime 1.30
gives, written down as formulas.
"""
import itertools
import math

import numpy as np
from case import case, random
from onnx import numpy_helper

NAN, INF = np.float32(np.nan), np.float32(np.inf)
f32 = np.float32


def ml(op, name, inputs, outputs=(), version=3, **others):
    case(f"ai.onnx.ml.{op}", name, inputs=inputs, outputs=outputs, domains={"ai.onnx.ml": version}, **others)


def tensor(values, dtype):
    return numpy_helper.from_array(np.asarray(values, dtype), "t")


# ---- post transforms, from the specification's formulas; PROBIT by the approximation that its reference has

def logistic(s):
    return 1 / (1 + np.exp(-s))


def softmax(s):
    e = np.exp(s - s.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def softmax_zero(s):
    e = np.where(abs(s) > 1e-7, np.exp(s - s.max(-1, keepdims=True)), 0)
    return e / e.sum(-1, keepdims=True)


def probit(s):
    y = 2 * s - 1
    log = np.log((1 - y) * (1 + y))
    v = 2 / (3.14159 * 0.147) + 0.5 * log
    return math.sqrt(2) * np.sign(y) * np.sqrt(np.sqrt(v * v - log / 0.147) - v)


POSTS = {"NONE": lambda s: s, "SOFTMAX": softmax, "LOGISTIC": logistic, "SOFTMAX_ZERO": softmax_zero, "PROBIT": probit}

# ---- TreeEnsemble: modes and missing values, on every kind of number

x = np.array([[NAN], [-INF], [-1], [-0.5], [0], [np.nextafter(f32(0.5), f32(0))], [0.5], [2], [7], [INF]], f32)
members = [0.5, -1, 7, 2]
MODES = [("LEQ", lambda x: x <= 0.5), ("LT", lambda x: x < 0.5), ("GTE", lambda x: x >= 0.5), ("GT", lambda x: x > 0.5),
         ("EQ", lambda x: x == 0.5), ("NEQ", lambda x: x != 0.5), ("MEMBER", lambda x: np.isin(x, members))]


def stump(mode, missing, dtype=np.float32, split=0.5, **others):
    """One question; two leaves: 1 for yes, 2 for no."""
    attributes = dict(
        nodes_modes=tensor([mode], np.uint8), nodes_splits=tensor([split], dtype), nodes_featureids=[0], nodes_truenodeids=[0], nodes_trueleafs=[1],
        nodes_falsenodeids=[1], nodes_falseleafs=[1], nodes_missing_value_tracks_true=[missing], leaf_targetids=[0, 0],
        leaf_weights=tensor([1, 2], dtype), tree_roots=[0], n_targets=1)
    if mode == 6:
        attributes["membership_values"] = tensor([*members, np.nan], dtype)
    return attributes | others


for (mode, (name, holds)), missing, dtype in itertools.product(enumerate(MODES), (0, 1), (np.float32, np.float64, np.float16)):
    rows = x.astype(dtype)
    yes = holds(rows) | (np.isnan(rows) & (missing == 1))
    ml("TreeEnsemble", f"{name}_{missing}_{np.dtype(dtype).name}", [rows], [np.where(yes, 1, 2).astype(dtype)], 5, **stump(mode, missing, dtype))
for name, split, mode, holds in (("LEQ_nan", NAN, 0, x < -INF), ("GTE_nan", NAN, 2, x < -INF), ("NEQ_nan", NAN, 5, x == x), ("LT_minus_inf", -INF, 1, x < -INF),
                                 ("GTE_minus_inf", -INF, 2, x >= -INF), ("EQ_minus_inf", -INF, 4, x == -INF), ("LEQ_inf", INF, 0, x <= INF),
                                 ("EQ_inf", INF, 4, x == INF), ("GT_inf", INF, 3, x > INF)):
    holds = holds | (np.isnan(x) & (mode == 5))
    ml("TreeEnsemble", name, [x], [np.where(holds, 1, 2).astype(f32)], 5, **stump(mode, 0, split=split))
    ml("TreeEnsemble", f"{name}_missing", [x], [np.where(holds | np.isnan(x), 1, 2).astype(f32)], 5, **stump(mode, 1, split=split))

# Three trees on three features; a subtree of the first has two parents; two targets, of which one has votes from some leaves only.
rows = random(23, 3, low=-2, high=2, seed=3)
SHAPE = dict(
    nodes_modes=tensor([0, 6, 3, 4, 1], np.uint8), nodes_splits=tensor([0, 0, 0.5, 1, -0.25], f32), nodes_featureids=[0, 1, 2, 1, 0],
    nodes_truenodeids=[1, 2, 0, 1, 3], nodes_trueleafs=[0, 0, 1, 1, 1], nodes_falsenodeids=[2, 2, 1, 3, 0], nodes_falseleafs=[0, 1, 1, 1, 1],
    leaf_targetids=[0, 1, 1, 0], leaf_weights=tensor([1.5, -2, 0.75, -0.125], f32), membership_values=tensor([1, 2, np.nan], f32), tree_roots=[0, 3, 4])
integral = np.round(rows)


def leaves_of(row):
    """The leaf of each tree."""
    c = 0 if row[2] > 0.5 else 1
    first = (c if row[1] in (1, 2) else 2) if row[0] <= 0 else c
    return [first, 1 if row[1] == 1 else 3, 3 if row[0] < -0.25 else 0]


def votes(aggregate):
    sums = []
    for row in integral:
        found = [[], []]
        for leaf in leaves_of(row):
            found[(0, 1, 1, 0)[leaf]].append((1.5, -2, 0.75, -0.125)[leaf])
        sums.append([aggregate(v) if v else 0 for v in found])
    return np.array(sums, f32)


for number, (name, aggregate) in enumerate((("average", lambda v: sum(v) / 3), ("sum", sum), ("min", min), ("max", max))):
    ml("TreeEnsemble", name, [integral], [votes(aggregate)], 5, n_targets=2, aggregate_function=number, **SHAPE)
for number, post in enumerate(("NONE", "SOFTMAX", "LOGISTIC", "SOFTMAX_ZERO", "PROBIT")):
    if post == "PROBIT":
        continue
    ml("TreeEnsemble", post, [integral], [POSTS[post](votes(sum)).astype(f32)], 5, n_targets=2, post_transform=number, **SHAPE)
ml("TreeEnsemble", "PROBIT", [x], [np.full((10, 1), probit(np.float64(0.7)), f32)], 5,
   **stump(0, 0, post_transform=4, leaf_weights=tensor([0.7, 0.7], f32)))
ml("TreeEnsemble", "symbolic", [integral], [votes(sum)], 5, n_targets=2, dims={0: ["N", 3]}, **SHAPE)
ml("TreeEnsemble", "open_columns", [integral], version=5, n_targets=2, dims={0: ["N", "F"]}, error="the number of columns, F, is not known", **SHAPE)
ml("TreeEnsemble", "feature", [x], version=5, error="node 0 asks for feature 3 of 1", **stump(0, 0, nodes_featureids=[3]))
ml("TreeEnsemble", "circle", [x], version=5, error="node 0 is below itself", **stump(0, 0, nodes_trueleafs=[0]))
ml("TreeEnsemble", "leaf", [x], version=5, error="node 0 leads to leaf 9 of 2", **stump(0, 0, nodes_falsenodeids=[9]))
ml("TreeEnsemble", "members", [x], version=5, error="no set for node 0", **stump(6, 0, membership_values=tensor([], f32)))
ml("TreeEnsemble", "mode", [x], version=5, error="mode 7 of node 0 is not known", **stump(7, 0))
ml("TreeEnsemble", "target", [x], version=5, error="leaf 1 is for target 1 of 1", **stump(0, 0, leaf_targetids=[0, 1]))
ml("TreeEnsemble", "root", [x], version=5, error="tree 0 begins at node 1 of 1", **stump(0, 0, tree_roots=[1]))

# ---- TreeEnsembleRegressor: nodes by ids, in any order; ids of trees are any numbers


def by_ids(prefix, votes, modes=("BRANCH_LEQ", "LEAF", "LEAF", "LEAF"), split=0.5, **others):
    """Tree 7: x <= split: leaf 1, else leaf 2. Tree 3: a single leaf. votes: (tree, node, id, weight)."""
    columns = list(zip(*votes))
    return dict(nodes_treeids=[7, 7, 7, 3], nodes_nodeids=[0, 2, 1, 0], nodes_featureids=[0] * 4, nodes_values=[float(split), 0.0, 0.0, 0.0],
                nodes_modes=list(modes), nodes_truenodeids=[1, 0, 0, 0], nodes_falsenodeids=[2, 0, 0, 0],
                **{f"{prefix}_treeids": list(columns[0]), f"{prefix}_nodeids": list(columns[1]), f"{prefix}_ids": list(columns[2]),
                   f"{prefix}_weights": [float(w) for w in columns[3]]}) | others


TWO = [(7, 1, 0, 1.0), (7, 2, 0, 4.0), (7, 2, 1, -3.0), (3, 0, 0, 0.5)]  # leaf 1 of tree 7 has no vote for target 1
yes = x <= 0.5
first, second = np.where(yes, 1, 4), np.where(yes, 0, -3)
for name, one, other in (("SUM", first + 0.5, second), ("AVERAGE", (first + 0.5) / 2, second / 2), ("MIN", np.minimum(first, 0.5), second),
                         ("MAX", np.maximum(first, 0.5), second)):
    ml("TreeEnsembleRegressor", name, [x], [np.hstack([one, other]).astype(f32)], 1, n_targets=2, aggregate_function=name, **by_ids("target", TWO))
    ml("TreeEnsembleRegressor", f"{name}_base", [x], [np.hstack([one + 10, other + 20]).astype(f32)], 1, n_targets=2, aggregate_function=name,
       base_values=[10.0, 20.0], **by_ids("target", TWO))
for name, holds in MODES[:6]:
    number = np.where(holds(x), 1, 4) + 0.5
    ml("TreeEnsembleRegressor", name, [x], [number.astype(f32)], 1, **by_ids("target", [TWO[0], TWO[1], TWO[3]], (f"BRANCH_{name}", "LEAF", "LEAF", "LEAF")))
ml("TreeEnsembleRegressor", "missing", [x], [np.where(yes | np.isnan(x), 1.5, 4.5).astype(f32)], 1, nodes_missing_value_tracks_true=[1, 0, 0, 0],
   **by_ids("target", [TWO[0], TWO[1], TWO[3]]))
ml("TreeEnsembleRegressor", "logistic", [x], [logistic(np.where(yes, 1.5, 4.5)).astype(f32)], 1, post_transform="LOGISTIC", **by_ids("target", [TWO[0], TWO[1], TWO[3]]))
# f64: thresholds between two f32, sums that f32 would lose.
fine = np.array([[1 / 3], [np.nextafter(1 / 3, 1)], [0.3333333432674408]])
wide = by_ids("target", [TWO[0], TWO[1], TWO[3]])
for name in "nodes_values", "target_weights":
    del wide[name]
ml("TreeEnsembleRegressor", "double_thresholds", [fine], [np.array([[1.5], [4.5], [4.5]], f32)], 3, nodes_values_as_tensor=tensor([1 / 3, 0, 0, 0], np.float64),
   target_weights_as_tensor=tensor([1, 4, 0.5], np.float64), **wide)
ml("TreeEnsembleRegressor", "float_of_double", [fine.astype(f32)], [np.array([[4.5], [4.5], [4.5]], f32)], 3,
   nodes_values_as_tensor=tensor([1 / 3, 0, 0, 0], np.float64), target_weights_as_tensor=tensor([1, 4, 0.5], np.float64), **wide)
ml("TreeEnsembleRegressor", "lost_sums", [fine], [np.array([[1.0], [17.0], [17.0]], f32)], 3, nodes_values_as_tensor=tensor([1 / 3, 0, 0, 0], np.float64),
   target_weights_as_tensor=tensor([1e17, 1e17 + 16, -1e17], np.float64), base_values_as_tensor=tensor([1], np.float64), **wide)
ml("TreeEnsembleRegressor", "integers", [np.array([[2**24 + 1], [2**24], [0]], np.int64)], [np.array([[4.5], [1.5], [1.5]], f32)], 3,
   **by_ids("target", [TWO[0], TWO[1], TWO[3]], split=2.0**24))
ml("TreeEnsembleRegressor", "one_row", [np.array([1, 5], f32)], [np.array([[4.5]], f32)], 3, **by_ids("target", [TWO[0], TWO[1], TWO[3]]))
ml("TreeEnsembleRegressor", "twice", [x], version=1, error="tree 7 has two nodes 1", **by_ids("target", TWO[:2], nodes_nodeids=[0, 1, 1, 0]))
ml("TreeEnsembleRegressor", "no_child", [x], version=1, error="tree 7 has no node 5", **by_ids("target", TWO[:2], nodes_falsenodeids=[5, 0, 0, 0]))
ml("TreeEnsembleRegressor", "no_leaf", [x], version=1, error="tree 3 has no node 4", **by_ids("target", [(3, 4, 0, 1.0)]))
ml("TreeEnsembleRegressor", "mode", [x], version=1, error="mode 'BRANCH_IN' of node 0", **by_ids("target", TWO[:2], modes=("BRANCH_IN", "LEAF", "LEAF", "LEAF")))
ml("TreeEnsembleRegressor", "lengths", [x], version=1, error="nodes_featureids has 2 elements, 4 are wanted", **by_ids("target", TWO[:2], nodes_featureids=[0, 0]))
ml("TreeEnsembleRegressor", "aggregate", [x], version=1, error="aggregate_function 'MEDIAN'", aggregate_function="MEDIAN", **by_ids("target", TWO[:1]))
ml("TreeEnsembleRegressor", "post", [x], version=1, error="post_transform 'EXP'", post_transform="EXP", **by_ids("target", TWO[:1]))

# ---- TreeEnsembleClassifier

LABELS = np.array([10, 20], np.int64)


def two_classes(score, post, is_probability):
    """Scores of two classes of which only the second one's is known."""
    if post == "LOGISTIC":
        return np.hstack([logistic(-score), logistic(score)])
    return np.hstack([1 - score if is_probability else -score, score])


for low, base in itertools.product((0.25, -0.25), (None, 0.125)):
    one = [(7, 1, 0, low), (7, 2, 0, 0.5), (3, 0, 0, 0.0625)]
    score = np.where(yes, low, 0.5) + 0.0625 + (base or 0)
    label = LABELS[(score > (0.5 if low > 0 else 0)).astype(int)[:, 0]]
    for post in ("NONE", "LOGISTIC", "SOFTMAX", "SOFTMAX_ZERO"):
        ml("TreeEnsembleClassifier", f"one_score_{post}_{low}_{base}", [x], [label, two_classes(score, post, low > 0).astype(f32)], 1,
           classlabels_int64s=[10, 20], post_transform=post, **({"base_values": [base]} if base else {}), **by_ids("class", one))
both = [(7, 1, 0, 0.25), (7, 2, 0, 0.75), (7, 1, 1, 0.5), (7, 2, 1, 0.125), (3, 0, 1, 0.125)]
scores = np.hstack([np.where(yes, 0.25, 0.75), np.where(yes, 0.625, 0.25)])
for post in POSTS:
    ml("TreeEnsembleClassifier", f"two_scores_{post}", [x], [LABELS[scores.argmax(1)], POSTS[post](scores).astype(f32)], 1, classlabels_int64s=[10, 20],
       post_transform=post, **by_ids("class", both))
three = [(7, 1, 0, -0.25), (7, 2, 1, 0.75), (7, 1, 2, 0.5), (7, 2, 2, 0.75), (3, 0, 1, -0.125)]
scores = np.hstack([np.where(yes, -0.25, 0), np.where(yes, -0.125, 0.625), np.where(yes, 0.5, 0.75)])
for post in ("NONE", "SOFTMAX", "LOGISTIC", "SOFTMAX_ZERO"):
    ml("TreeEnsembleClassifier", f"three_{post}", [x], [np.array([5, 6, 7])[scores.argmax(1)], POSTS[post](scores).astype(f32)], 3, classlabels_int64s=[5, 6, 7],
       post_transform=post, **by_ids("class", three))
ml("TreeEnsembleClassifier", "names", [x], [scores.argmax(1), scores.astype(f32)], 3, classlabels_strings=["red", "green", "blue"], **by_ids("class", three))
tie = [(7, 1, 1, 0.5), (7, 2, 2, 0.5), (3, 0, 0, 0.5)]
ml("TreeEnsembleClassifier", "tie", [x], [np.zeros(10, np.int64), np.hstack([np.full((10, 1), 0.5), np.where(yes, [0.5, 0], [0, 0.5])]).astype(f32)], 3,
   classlabels_int64s=[0, 1, 2], **by_ids("class", tie))
ml("TreeEnsembleClassifier", "no_labels", [x], version=3, error="neither classlabels_int64s nor classlabels_strings", **by_ids("class", tie))
ml("TreeEnsembleClassifier", "label", [x], version=3, error="class_ids has 2, but there are 2", classlabels_int64s=[0, 1], **by_ids("class", tie))

# ---- linear models

rows, w, b = random(9, 4), random(3, 4, seed=1), random(3, seed=2)
list_of = lambda a: [float(v) for v in np.asarray(a).reshape(-1)]
full = rows @ w.T + b
for post in ("NONE", "SOFTMAX", "LOGISTIC", "SOFTMAX_ZERO"):
    expected = POSTS[post](full)
    ml("LinearRegressor", post, [rows], [expected], 1, coefficients=list_of(w), intercepts=list_of(b), targets=3, post_transform=post)
    ml("LinearClassifier", post, [rows], [np.array([4, 5, 9])[full.argmax(1)], expected], 1, coefficients=list_of(w), intercepts=list_of(b),
       classlabels_ints=[4, 5, 9], post_transform=post)
    score = full[:, :1]
    binary = two_classes(score, post, True)
    ml("LinearClassifier", f"one_score_{post}", [rows], [LABELS[(score[:, 0] > 0).astype(int)], binary], 1, coefficients=list_of(w[0]), intercepts=list_of(b[0]),
       classlabels_ints=[10, 20], post_transform=post)
ml("LinearRegressor", "integers", [np.array([[1, 2], [3, -4]], np.int64)], [np.array([[5.0], [-5.0]], f32)], 1, coefficients=[1.0, 2.0])
ml("LinearRegressor", "double", [rows.astype(np.float64)], [(rows @ w[:1].T)], 1, coefficients=list_of(w[0]))
ml("LinearClassifier", "names", [rows], [full.argmax(1), full], 1, coefficients=list_of(w), intercepts=list_of(b), classlabels_strings=["a", "b", "c"])
ml("LinearClassifier", "coefficients", [rows], version=1, error="11 coefficients and 3 intercepts for 4 features", coefficients=[0.0] * 11, intercepts=[0.0] * 3,
   classlabels_ints=[1, 2, 3])
ml("LinearClassifier", "labels", [rows], version=1, error="2 labels for 3 rows", coefficients=list_of(w), intercepts=list_of(b), classlabels_ints=[1, 2])

# ---- support vector machines

gamma, coef0, degree = 0.4, 0.3, 3
vectors = random(6, 4, seed=4)
KERNELS = {"LINEAR": lambda x, s: x @ s.T, "POLY": lambda x, s: (gamma * (x @ s.T) + coef0) ** degree, "SIGMOID": lambda x, s: np.tanh(gamma * (x @ s.T) + coef0),
           "RBF": lambda x, s: np.exp(-gamma * ((x[:, None] - s[None]) ** 2).sum(-1))}
coefficients, rho = random(2, 6, seed=5), random(3, seed=6, low=-0.1, high=0.1)
for kernel, function in KERNELS.items():
    k = function(rows.astype(np.float64), vectors)
    one, shared = coefficients[0], dict(kernel_type=kernel, kernel_params=[gamma, coef0, float(degree)])
    y = (k @ one + rho[0])[:, None]
    ml("SVMRegressor", kernel, [rows], [y.astype(f32)], 1, n_supports=6, support_vectors=list_of(vectors), coefficients=list_of(one), rho=[float(rho[0])], **shared)
    ml("SVMRegressor", f"{kernel}_one_class", [rows], [np.where(y > 0, 1, -1).astype(f32)], 1, n_supports=6, support_vectors=list_of(vectors),
       coefficients=list_of(one), rho=[float(rho[0])], one_class=1, **shared)
    # Classes 0, 1, 2 own 1, 2 and 3 vectors; libsvm's sums of pairs, and votes.
    owns = [slice(0, 1), slice(1, 3), slice(3, 6)]
    sums = np.stack([k[:, owns[i]] @ coefficients[j - 1, owns[i]] + k[:, owns[j]] @ coefficients[i, owns[j]] + r
                     for (i, j), r in zip(itertools.combinations(range(3), 2), rho)], 1)
    won = np.stack([(sums[:, 0] > 0) * 1 + (sums[:, 1] > 0), (sums[:, 0] <= 0) * 1 + (sums[:, 2] > 0), (sums[:, 1] <= 0) * 1 + (sums[:, 2] <= 0)], 1)
    machine = dict(vectors_per_class=[1, 2, 3], support_vectors=list_of(vectors), coefficients=list_of(coefficients), rho=list_of(rho), **shared)
    ml("SVMClassifier", kernel, [rows], [np.array([7, 8, 9])[won.argmax(1)], sums.astype(f32)], 1, classlabels_ints=[7, 8, 9], **machine)
    for post in ("NONE", "LOGISTIC", "SOFTMAX"):
        s = y.astype(np.float64)
        binary = two_classes(s, post, post != "NONE")
        ml("SVMClassifier", f"{kernel}_two_{post}", [rows], [LABELS[(s[:, 0] <= 0).astype(int)], binary.astype(f32)], 1, classlabels_ints=[10, 20],
           vectors_per_class=[2, 4], support_vectors=list_of(vectors), coefficients=list_of(one), rho=[float(rho[0])], post_transform=post, **shared)
scores = rows @ w.T + 0.25
ml("SVMClassifier", "no_vectors", [rows], [np.array([7, 8, 9])[scores.argmax(1)], softmax(scores)], 1, classlabels_ints=[7, 8, 9], coefficients=list_of(w), rho=[0.25],
   post_transform="SOFTMAX")
ml("SVMRegressor", "no_vectors", [rows], [rows @ w[:1].T + f32(0.25)], 1, coefficients=list_of(w[0]), rho=[0.25])
ml("SVMClassifier", "vectors", [rows], version=1, error="8 numbers in support_vectors, for 3 vectors of 4 features", classlabels_ints=[1, 2], vectors_per_class=[1, 2],
   support_vectors=[0.0] * 8, coefficients=[0.0] * 3, rho=[0.0])
ml("SVMClassifier", "coefficients", [rows], version=1, error="2 coefficients and 1 rho, for 3 vectors and 1 pairs", classlabels_ints=[1, 2], vectors_per_class=[1, 2],
   support_vectors=[0.0] * 12, coefficients=[0.0] * 2, rho=[0.0])

# ---- features

ml("Scaler", "each", [rows], [(rows - b[0]) * w[0]], 1, offset=list_of([b[0]] * 4), scale=list_of(w[0]))
ml("Scaler", "one", [np.arange(6, dtype=np.int64).reshape(2, 3)], [(np.arange(6, dtype=f32).reshape(2, 3) - 2) * f32(0.5)], 1, offset=[2.0], scale=[0.5])
ml("Scaler", "wrong", [rows], version=1, error="scale has 3 elements for f32[9,4]", offset=[0.0], scale=[1.0] * 3)
signed = np.array([[1, -2, 3, 0], [0, 0, 0, 0], [-1, -5, -2, -3]], f32)
nonzero = lambda d: np.where(d == 0, 1, d).astype(f32)
ml("Normalizer", "MAX", [signed], [signed / nonzero(signed.max(1, keepdims=True))], 1, norm="MAX")
ml("Normalizer", "L1", [signed], [signed / nonzero(abs(signed).sum(1, keepdims=True))], 1, norm="L1")
ml("Normalizer", "L2", [signed], [signed / nonzero(np.sqrt((signed**2).sum(1, keepdims=True)))], 1, norm="L2")
ml("Normalizer", "row", [signed[0].astype(np.int64)], [signed[0] / f32(math.sqrt(14))], 1, norm="L2")
ml("Normalizer", "wrong", [signed], version=1, error="norm 'L3'", norm="L3")
ml("Binarizer", "", [x], [(x > 0.5).astype(f32)], 1, threshold=0.5)
ml("Binarizer", "integers", [np.array([-1, 0, 1], np.int64)], [np.array([0, 0, 1], np.int64)], 1)
holes = np.array([[NAN, 1, 5], [2, NAN, NAN]], f32)
ml("Imputer", "nan", [holes], [np.where(np.isnan(holes), f32([7, 8, 9]), holes)], 1, imputed_value_floats=[7.0, 8.0, 9.0], replaced_value_float=float("nan"))
ml("Imputer", "value", [holes], [np.where(holes == 5, f32(7), holes)], 1, imputed_value_floats=[7.0], replaced_value_float=5.0)
ml("Imputer", "integers", [np.array([[1, -1], [-1, 4]], np.int64)], [np.array([[1, 8], [7, 4]], np.int64)], 1, imputed_value_int64s=[7, 8], replaced_value_int64=-1)
ml("Imputer", "wrong", [holes], version=1, error="imputed_value_floats has 2 elements", imputed_value_floats=[7.0, 8.0])
left, right = random(3, 2), np.arange(9, dtype=np.int64).reshape(3, 3)
ml("FeatureVectorizer", "", [left, right], [np.hstack([left, right]).astype(f32)], 1, inputdimensions=[2, 3])
ml("FeatureVectorizer", "cut_and_filled", [left, right], [np.hstack([left[:, :1], right, np.zeros((3, 2))]).astype(f32)], 1, inputdimensions=[1, 5])
ml("FeatureVectorizer", "one_row", [left[0], right[0]], [np.hstack([left[:1], right[:1]]).astype(f32)], 1, inputdimensions=[2, 3])
ml("FeatureVectorizer", "wrong", [left, right], version=1, error="1 inputdimensions for 2 inputs", inputdimensions=[2])
cube = random(2, 3, 5)
ml("ArrayFeatureExtractor", "", [cube, np.array([[4, 0, 4]])], [cube[..., [4, 0, 4]]], 1)
ml("ArrayFeatureExtractor", "row", [cube[0, 0], np.array([2, 1])], [cube[:1, 0, [2, 1]]], 1)
categories = np.array([1, 2, 5])
for dtype in (np.int64, np.float32, np.int32, np.float64):
    one = np.array([[1, 5], [2, 9]], dtype)
    ml("OneHotEncoder", np.dtype(dtype).name, [one], [(one[..., None] == categories).astype(f32)], 1, cats_int64s=[1, 2, 5])

# ---- LabelEncoder: few keys, many keys

keys = np.array([5, -3, 8, 5, 100], np.int64)
values = np.array([1, 2, 3, 4, 5])
asked = np.array([[5, 100], [7, -3]], np.int64)
ml("LabelEncoder", "ints_to_floats", [asked], [np.array([[1, 5], [0.25, 2]], f32)], 2, keys_int64s=list(keys), values_floats=[float(v) for v in values], default_float=0.25)
ml("LabelEncoder", "ints_to_ints", [asked], [np.array([[1, 5], [-1, 2]])], 2, keys_int64s=list(keys), values_int64s=list(values))
nan_keys = dict(keys_floats=[1.5, float("nan"), -2.0], values_int64s=[3, 4, 5], default_int64=-7)
asked = np.array([NAN, 1.5, 2, -2], f32)
ml("LabelEncoder", "nan_is_no_key", [asked], [np.array([-7, 3, -7, 5])], 2, **nan_keys)
ml("LabelEncoder", "nan_is_a_key", [asked], [np.array([4, 3, -7, 5])], 4, **nan_keys)
ml("LabelEncoder", "tensors", [np.array([2, 3, 9], np.int32)], [np.array([-1, 7, 8], np.int16)], 4, keys_tensor=tensor([2, 9, 3], np.int32),
   values_tensor=tensor([-1, 8, 7], np.int16), default_tensor=tensor([99], np.int16))
many = np.unique(np.random.default_rng(0).integers(-1000, 1000, 200))
results = np.random.default_rng(1).integers(0, 10**6, len(many))
asked = np.concatenate([many[::3], [-2000, 2000, many[0] - 1], many[::-7]])
found = {int(k): int(v) for k, v in zip(many, results)}
ml("LabelEncoder", "many", [asked], [np.array([found.get(int(v), -1) for v in asked])], 2, dims={0: ["N"]}, keys_int64s=list(many), values_int64s=list(results))
floating = (many / 8).astype(f32)
asked = np.append(floating[::5], [NAN, 0.01]).astype(f32)
ml("LabelEncoder", "many_floats", [asked[:20].reshape(-1, 2)], [np.array([found[int(round(v * 8))] for v in asked[:20]], np.int64).reshape(-1, 2)], 4,
   keys_floats=list_of(floating), values_int64s=list(results))
ml("LabelEncoder", "many_with_nan", [asked], [np.array([found.get(int(round(v * 8)), -1) if v == v and v * 8 == round(v * 8) else 77 if v != v else -1 for v in asked])], 4,
   keys_floats=[*list_of(floating), float("nan")], values_int64s=[*results, 77])
ml("LabelEncoder", "lengths", [np.array([1])], version=2, error="2 keys for 1 values", keys_int64s=[1, 2], values_int64s=[1])

ml("ZipMap", "", [left], [left], 1, classlabels_int64s=[3, 4])
ml("ZipMap", "labels", [left], version=1, error="3 labels for f32[3,2]", classlabels_strings=["a", "b", "c"])
ml("DictVectorizer", "", [left], version=1, error="takes a map", string_vocabulary=["a", "b"])
ml("CastMap", "", [left], version=1, error="takes a map")

# ---- Maps

words = {"b": 2.5, "": -1.0, "zebra": 7.0, "é": 0.5}
numbers = {5: 1.5, -3: 2.0, 0: 4.25, 2: 8.0}
for dtype in np.float32, np.float64, np.int64:
    x = {key: dtype(value) for key, value in words.items()}
    ml("DictVectorizer", f"{np.dtype(dtype)}", [x], [np.array([[x.get(w, 0) for w in ("zebra", "a", "", "b")]], dtype)], 1, string_vocabulary=["zebra", "a", "", "b"])
for dtype in np.float32, np.float64, str:
    x = {key: dtype(value) for key, value in numbers.items()}
    wanted = [[x.get(key, dtype()) for key in (0, 1, 5, -3)]]
    ml("DictVectorizer", f"integers_{dtype.__name__}", [x], [np.array(wanted, object if dtype is str else dtype)], 1, int64_vocabulary=[0, 1, 5, -3])
ml("DictVectorizer", "kinds", [words], version=1, error="0 integers and 0 strings are the vocabulary for keys of string")
x = {key: f32(value) for key, value in numbers.items()}
ordered, sparse = [x[key] for key in sorted(x)], [x.get(i, 0) for i in range(4)]
ml("CastMap", "dense", [x], [f32([ordered])], 1)
ml("CastMap", "sparse", [x], [f32([sparse])], 1, map_form="SPARSE", max_map=4)
ml("CastMap", "integers", [x], [np.array([ordered]).astype(np.int64)], 1, cast_to="TO_INT64")
ml("CastMap", "strings", [x], [np.array([[str(v) for v in ordered]], object)], 1, cast_to="TO_STRING")
ml("CastMap", "of_strings", [{key: str(v) for key, v in x.items()}], [f32([sparse])], 1, map_form="SPARSE", max_map=4)
ml("CastMap", "form", [x], version=1, error="map_form 'FLAT' is not known", map_form="FLAT")
ml("CastMap", "most", [x], version=1, error="max_map is 0", map_form="SPARSE", max_map=0)
ml("CastMap", "keys", [words], version=1, error="keys are string, not i64")
