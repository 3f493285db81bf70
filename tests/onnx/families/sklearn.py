"""Models of scikit-learn on its own data, against its own predictions.

The converter below writes what exporters of scikit-learn write: a pipeline of ai.onnx.ml operators, with a ZipMap at the end
or not. Rows are f32, as its trees take them.
"""
import itertools

import numpy as np
from case import case, node
from sklearn import datasets, ensemble, linear_model, preprocessing, svm, tree

iris, digits, cancer, wine, diabetes = (getattr(datasets, f"load_{name}")() for name in ("iris", "digits", "breast_cancer", "wine", "diabetes"))


def below(threshold):
    """The largest f32 that is not above: x <= t means the same for every f32 x."""
    rounded = np.asarray(threshold, np.float32)
    return np.where(rounded > threshold, np.nextafter(rounded, np.float32(-np.inf)), rounded)


def tree_attributes(trees, votes, prefix):
    """trees: sklearn Trees; votes(number, tree, leaf): pairs (id, weight)."""
    nodes = {name: [] for name in ("treeids", "nodeids", "featureids", "values", "modes", "truenodeids", "falsenodeids")}
    ballots = {name: [] for name in ("treeids", "nodeids", "ids", "weights")}
    for number, one in enumerate(trees):
        for at in range(one.node_count):
            is_leaf = one.children_left[at] < 0
            row = (number, at, 0 if is_leaf else one.feature[at], 0 if is_leaf else below(one.threshold[at]),
                   "LEAF" if is_leaf else "BRANCH_LEQ", max(one.children_left[at], 0), max(one.children_right[at], 0))
            for name, value in zip(nodes, row):
                nodes[name].append(value if isinstance(value, str) else float(value) if name == "values" else int(value))
            for target, weight in votes(number, one, at) if is_leaf else ():
                for name, value in zip(ballots, (number, at, int(target), float(weight))):
                    ballots[name].append(value)
    return {f"nodes_{name}": values for name, values in nodes.items()} | {f"{prefix}_{name}": values for name, values in ballots.items()}


def forest_classifier(model, **others):
    size = len(model.estimators_)

    def votes(_, one, leaf):
        counts = one.value[leaf][0]
        return enumerate(counts / counts.sum() / size)
    return node("ai.onnx.ml.TreeEnsembleClassifier", "x0", "y0 y1", **tree_attributes([e.tree_ for e in model.estimators_], votes, "class"),
                classlabels_int64s=[int(c) for c in model.classes_], post_transform="NONE", **others)


def forest_regressor(model, aggregate="AVERAGE"):
    return node("ai.onnx.ml.TreeEnsembleRegressor", "x0", "y0", n_targets=model.n_outputs_, aggregate_function=aggregate,
                **tree_attributes([e.tree_ for e in model.estimators_], lambda _, one, leaf: enumerate(one.value[leaf][:, 0]), "target"))


def boosting_trees(model):
    return [e.tree_ for e in model.estimators_.reshape(-1)]


def boosting_classifier(model):
    """Two classes: one score, as exporters do; more: a tree of each class in turn."""
    classes = model.estimators_.shape[1]
    start = model._raw_predict_init(np.zeros((1, model.n_features_in_), np.float32))[0]
    votes = lambda number, one, leaf: [(number % classes, model.learning_rate * one.value[leaf, 0, 0])]
    return node("ai.onnx.ml.TreeEnsembleClassifier", "x0", "y0 y1", **tree_attributes(boosting_trees(model), votes, "class"),
                base_values=[float(v) for v in start], classlabels_int64s=[int(c) for c in model.classes_],
                post_transform="LOGISTIC" if classes == 1 else "SOFTMAX")


def boosting_regressor(model):
    votes = lambda _, one, leaf: [(0, model.learning_rate * one.value[leaf, 0, 0])]
    return node("ai.onnx.ml.TreeEnsembleRegressor", "x0", "y0", n_targets=1, base_values=[float(model.init_.constant_[0, 0])],
                **tree_attributes(boosting_trees(model), votes, "target"))


def floats(array):
    return [float(v) for v in np.asarray(array, np.float32).reshape(-1)]


def linear_classifier(model, post):
    """One row of coefficients for two classes, or one each."""
    return node("ai.onnx.ml.LinearClassifier", "x0", "y0 y1", coefficients=floats(model.coef_), intercepts=floats(model.intercept_),
                classlabels_ints=[int(c) for c in model.classes_], post_transform=post)


def support_vectors(model, kernel):
    return dict(kernel_type=kernel, kernel_params=floats([model._gamma, model.coef0, model.degree]), support_vectors=floats(model.support_vectors_))


def svc(model, kernel):
    probabilities = dict(prob_a=floats(model.probA_), prob_b=floats(model.probB_)) if model.probability else {}
    return node("ai.onnx.ml.SVMClassifier", "x0", "y0 y1", vectors_per_class=[int(n) for n in model._n_support], rho=floats(model._intercept_),
                coefficients=floats(model._dual_coef_), classlabels_ints=[int(c) for c in model.classes_], post_transform="NONE",
                **support_vectors(model, kernel), **probabilities)


def svr(model, kernel, **others):
    return node("ai.onnx.ml.SVMRegressor", "x0", "y0", n_supports=len(model.support_), rho=floats(model.intercept_), coefficients=floats(model.dual_coef_),
                **support_vectors(model, kernel), **others)


def f32(data):
    return data.data.astype(np.float32)


def classified(model, x):
    return [model.predict(x).astype(np.int64), model.predict_proba(x).astype(np.float32)]


def check(name, nodes, x, outputs, dims=None):
    nodes = nodes if isinstance(nodes, list) else [nodes]
    case("sklearn", name, inputs=[x], outputs=outputs, nodes=nodes, dims=dims or {0: ["N", x.shape[1]]}, domains={"ai.onnx.ml": 3})


# ---- trees

for name, data, options in (("iris", iris, dict(n_estimators=10)), ("wine_depth_3", wine, dict(n_estimators=30, max_depth=3)),
                            ("digits", digits, dict(n_estimators=20)), ("digits_depth_5", digits, dict(n_estimators=25, max_depth=5)),
                            ("cancer_depth_8", cancer, dict(n_estimators=100, max_depth=8))):
    x = f32(data)
    model = ensemble.RandomForestClassifier(random_state=1, **options).fit(x, data.target)
    check(f"forest_{name}", forest_classifier(model), x, classified(model, x))
    if name in ("iris", "cancer_depth_8"):
        for rows in (1, 2, 17):
            check(f"forest_{name}_{rows}_rows", forest_classifier(model), x[40:40 + rows], classified(model, x[40:40 + rows]))
    if name == "iris":
        zip_map = node("ai.onnx.ml.ZipMap", "y1", "y2", classlabels_int64s=[0, 1, 2])
        labels, rows = classified(model, x)
        check("forest_zip_map", [forest_classifier(model), zip_map], x, [labels, None, rows])

x = f32(diabetes)
for depth in (None, 1, 4, 6, 7):
    model = ensemble.RandomForestRegressor(40, max_depth=depth, random_state=2).fit(x, diabetes.target)
    check(f"forest_diabetes_{depth or 'open'}", forest_regressor(model), x, [model.predict(x).astype(np.float32)[:, None]])
two = np.stack([diabetes.target, diabetes.target[::-1]], 1)
model = ensemble.ExtraTreesRegressor(15, max_depth=9, random_state=3).fit(x, two)
check("forest_two_targets", forest_regressor(model), x, [model.predict(x).astype(np.float32)])
model = tree.DecisionTreeRegressor(max_depth=12, random_state=4).fit(x, diabetes.target)
model.estimators_ = [model]
check("tree_diabetes", forest_regressor(model, "SUM"), x, [model.predict(x).astype(np.float32)[:, None]])
for depth, trees in ((3, 100), (6, 30)):
    model = ensemble.GradientBoostingRegressor(n_estimators=trees, max_depth=depth, random_state=5).fit(x, diabetes.target)
    check(f"boosting_diabetes_{depth}", boosting_regressor(model), x, [model.predict(x).astype(np.float32)[:, None]])
for name, data in (("cancer", cancer), ("iris", iris), ("digits", digits)):
    x = f32(data)
    model = ensemble.GradientBoostingClassifier(n_estimators=20, random_state=6).fit(x, data.target)
    check(f"boosting_{name}", boosting_classifier(model), x, classified(model, x))

# ---- linear models

for name, data in (("iris", iris), ("cancer", cancer), ("digits", digits)):
    x = preprocessing.StandardScaler().fit_transform(f32(data)).astype(np.float32)
    binary = len(data.target_names) == 2
    model = linear_model.LogisticRegression().fit(x, data.target)
    check(f"logistic_{name}", linear_classifier(model, "LOGISTIC" if binary else "SOFTMAX"), x, classified(model, x))
x = f32(diabetes)
model = linear_model.LinearRegression().fit(x, two)
check("linear_two_targets", node("ai.onnx.ml.LinearRegressor", "x0", "y0", coefficients=floats(model.coef_), intercepts=floats(model.intercept_), targets=2),
      x, [model.predict(x).astype(np.float32)])

# ---- a pipeline

x = f32(wine)
scaler = preprocessing.StandardScaler().fit(x)
model = linear_model.LogisticRegression().fit(preprocessing.normalize(scaler.transform(x)), wine.target)
steps = [node("ai.onnx.ml.Scaler", "x0", "scaled", offset=floats(scaler.mean_), scale=floats(1 / scaler.scale_)),
         node("ai.onnx.ml.Normalizer", "scaled", "unit", norm="L2"), linear_classifier(model, "SOFTMAX"),
         node("ai.onnx.ml.ZipMap", "y1", "y2", classlabels_int64s=[0, 1, 2])]
steps[2].input[0] = "unit"
labels, rows = classified(model, preprocessing.normalize(scaler.transform(x)))
check("pipeline_wine", steps, x, [labels, None, rows])

# ---- support vector machines

for kernel, (name, data), probability in itertools.product(("rbf", "linear", "poly", "sigmoid"), (("cancer", cancer), ("wine", wine)), (False, True)):
    x = preprocessing.StandardScaler().fit_transform(f32(data)).astype(np.float32)
    model = svm.SVC(kernel=kernel, probability=probability, coef0=0.5, random_state=7, decision_function_shape="ovo").fit(x, data.target)
    scores = model.decision_function(x)
    scores = model.predict_proba(x) if probability else np.stack([scores, -scores], 1) if scores.ndim == 1 else scores
    votes = model.predict(x).astype(np.int64)
    check(f"svc_{kernel}_{name}{'_probability' if probability else ''}", svc(model, kernel.upper()), x, [votes, scores.astype(np.float32)])
x = f32(diabetes)
for kernel in ("rbf", "poly"):
    model = svm.SVR(kernel=kernel, C=50).fit(x, diabetes.target)
    check(f"svr_{kernel}", svr(model, kernel.upper()), x, [model.predict(x).astype(np.float32)[:, None]])
model = svm.OneClassSVM(nu=0.2).fit(x)
check("svm_one_class", svr(model, "RBF", one_class=1), x, [model.predict(x).astype(np.float32)[:, None]])
