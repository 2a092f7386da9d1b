"""
How many rows, how many anchors?
================================

A hasher need not see every row: it is fitted on a sample, and encodes all. How large the sample
should be, learning curves tell: what held-out rows find, against the rows of the fit, beside
its time.
"""

# %%
# Curves
# ------
# Queries and database are rows that no fit has seen. The mean average precision (mAP) counts rows
# of the same class; recall, whether a query's own partner is among its first ten rows. For
# the second, codes must preserve pairs, too (``pair_weight``).

import time

import matplotlib.pyplot as plt

from sklearn_cmh import ASCMH
from sklearn_cmh.datasets import make_multimodal_classification
from sklearn_cmh.metrics import mean_average_precision, pair_recall_at_k

X, y = make_multimodal_classification(
    6000, {"image": 60, "text": 40}, n_classes=20, noise=2.0, random_state=0
)
held_out = slice(5000, None)


def measure(n_rows, n_anchors):
    """What a fit on the first rows finds among the held-out ones, and its seconds."""
    start = time.perf_counter()
    hasher = ASCMH(32, pair_weight=0.3, n_anchors=n_anchors, tol=1e-3, random_state=0)
    hasher.fit(X[:n_rows], y[:n_rows])
    seconds = time.perf_counter() - start
    text = hasher.encode(X["text"][held_out], modality="text")
    image = hasher.encode(X["image"][held_out], modality="image")
    return (
        mean_average_precision(text, image, y[held_out], y[held_out]),
        pair_recall_at_k(text, image, k=10),
        seconds,
    )


rows, anchors = [250, 500, 1000, 2500, 5000], [60, 250]
curves = {q: [measure(n, q) for n in rows] for q in anchors}

for q, curve in curves.items():
    for n, (precision, recall, _) in zip(rows, curve, strict=True):
        print(f"{q:4d} anchors, {n:5d} rows: mAP {precision:.3f}, own pair {recall:.3f}")

# %%
figure, axes = plt.subplots(1, 3, figsize=(10, 3.2), layout="constrained")
titles = ["mAP of the class", "recall@10 of the own pair", "seconds of the fit"]
for ax, title, values in zip(axes, titles, range(3), strict=True):
    for q, curve in curves.items():
        ax.semilogx(rows, [point[values] for point in curve], "o-", label=f"{q} anchors")
    ax.set(title=title, xlabel="training rows")
    ax.set_xticks(rows, rows, fontsize="small")
    ax.set_xticks([], minor=True)
axes[0].legend()
plt.show()

# %%
# Where a curve is flat, more rows cost time and bring nothing; where it still rises, they help. The
# two figures need not agree: classes are few, and soon learned, but to tell rows of one class
# apart takes more of both.
