"""Tokens and strings."""
import itertools

import numpy as np
from case import case


def n_grams(row, length, skips):
    """Every n-gram of the row, as often as it occurs; single tokens have nothing to skip."""
    for step in range(1, skips + 2 if length > 1 else 2):
        for start in range(len(row) - (length - 1) * step):
            yield tuple(row[start:start + length * step:step])


def vectorize(rows, grams, columns, mode, lengths, skips, weights=None):
    y = np.zeros((len(rows), max(columns) + 1), np.float32)
    for row, out in zip(rows, y):
        for length in lengths:
            for gram in n_grams(row, length, skips):
                if gram in grams:
                    out[columns[grams.index(gram)]] += 1
    weights = np.ones(y.shape[1], np.float32) if weights is None else weights
    return y if mode == "TF" else np.where(y > 0, weights, 0).astype(np.float32) if mode == "IDF" else y * weights


def pool_of(grams):
    sizes = range(1, max(map(len, grams)) + 1)
    starts = np.cumsum([0] + [sum(len(g) for g in grams if len(g) == size) for size in sizes])[:-1]
    return dict(pool=list(itertools.chain(*grams)), ngram_counts=[int(s) for s in starts])


tokens = np.random.default_rng(3).integers(0, 4, (3, 17))
grams = [(0,), (3,), (9,), (0, 1), (2, 2), (3, 0), (1, 2, 3), (0, 0, 1)]
columns = [7, 0, 1, 4, 2, 9, 5, 3]  # 6 and 8 are nobody's
weights = np.float32([0.5, 2, 3, -1, 0.25, 4, 9, 1.5, 9, 7])
pool = pool_of(grams)
integers = dict(pool_int64s=pool["pool"], ngram_counts=pool["ngram_counts"], ngram_indexes=columns)
for mode, (low, high), skips in itertools.product(("TF", "IDF", "TFIDF"), ((1, 1), (1, 3), (2, 3)), (0, 2)):
    y = vectorize(tokens.tolist(), grams, columns, mode, range(low, high + 1), skips, weights)
    case("TfIdfVectorizer", f"{mode}_{low}_{high}_{skips}", opset=9, inputs=[tokens], outputs=[y], mode=mode, min_gram_length=low,
         max_gram_length=high, max_skip_count=skips, weights=weights, **integers)
for size in 0, 1, 2, 3:
    few = tokens[0, :size].astype(np.int32)
    y = vectorize([few.tolist()], grams, columns, "TF", (1, 2, 3), 1)[0]
    attributes = dict(mode="TF", min_gram_length=1, max_gram_length=3, max_skip_count=1, **integers)
    case("TfIdfVectorizer", f"row_{size}", opset=9, inputs=[few], outputs=[y], **attributes)
    case("TfIdfVectorizer", f"symbolic_{size}", opset=9, inputs=[few], outputs=[y], dims={0: ["C"]}, **attributes)
attributes["ngram_counts"] = [0, 9, 3]
case("TfIdfVectorizer", "counts", opset=9, inputs=[tokens], error="ngram_counts[2] is 3", **attributes)
