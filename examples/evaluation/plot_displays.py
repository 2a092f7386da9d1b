"""
Curves: what do the codes retrieve, and what does a bit buy?
============================================================

One number, the mean average precision, hides how a ranking is good. The displays of
:mod:`sklearn_cmh.metrics` draw what is behind it: precision and recall of hash lookup,
precision of the first rows, and the score as codes get longer. They work as
scikit-learn's do, so several methods share an axis.
"""

# %%
# Three methods
# -------------
# Made-up images and texts of five classes; 300 rows are queries that no method has seen.

import matplotlib.pyplot as plt
from sklearn.model_selection import train_test_split

from sklearn_cmh import AAH, ASCMH, DSAH
from sklearn_cmh.datasets import make_multimodal_classification
from sklearn_cmh.inspection import bit_report
from sklearn_cmh.metrics import (
    MAPByBitsDisplay,
    PrecisionAtKDisplay,
    PrecisionRecallByRadiusDisplay,
)

X, y = make_multimodal_classification(
    1200, {"image": 40, "text": 20}, n_classes=5, noise=1.5, random_state=0
)
X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=300, random_state=0)

lengths = [4, 8, 16, 32, 64]
fitted = {
    name: [
        type(hasher)(n_bits, **options, random_state=0).fit(X_train, y_train) for n_bits in lengths
    ]
    for name, hasher, options in [
        ("DSAH", DSAH(), {"n_anchors": 300}),
        ("ASCMH", ASCMH(), {"n_anchors": 300}),
        ("AAH", AAH(), {"tol": 1e-3}),
    ]
}

# %%
# Lookup and ranking
# ------------------
# On the left, one point per Hamming radius: what a hash table returns as the radius
# grows. On the right, the precision of the first N rows. The database is the queries
# themselves in the other modality, every query's own row left out
# (``gallery="validation"``): what a user with unlabelled data will see.

fig, (left, right) = plt.subplots(1, 2, figsize=(11, 4.5), layout="constrained")
options = {"query": "image", "gallery": "validation"}
for (name, hashers), style in zip(fitted.items(), ["-", "--", ":"], strict=True):
    options |= {"name": f"{name}, 32 bits", "linestyle": style}
    PrecisionRecallByRadiusDisplay.from_estimator(hashers[3], X_test, y_test, ax=left, **options)
    PrecisionAtKDisplay.from_estimator(hashers[3], X_test, y_test, ax=right, **options)
left.set_title("Images ask for texts: lookup")
right.set_title("Images ask for texts: ranking")
plt.show()

# %%
# Bits
# ----
# Precision grows with the length of the codes, but ever more slowly. Against the learned
# codes of the training rows, which have seen those rows' labels, every method looks
# better than it does on held-out rows: always say which gallery a figure is about.

fig, axes = plt.subplots(1, 2, figsize=(11, 4.5), layout="constrained", sharey=True)
galleries = {"learned": "learned codes", "validation": "held-out rows, encoded"}
for ax, (gallery, title) in zip(axes, galleries.items(), strict=True):
    for (name, hashers), style in zip(fitted.items(), ["-", "--", ":"], strict=True):
        MAPByBitsDisplay.from_estimators(
            hashers, X_test, y_test, gallery=gallery, name=name, ax=ax, linestyle=style
        )
    ax.set_title(title)
plt.show()

# %%
# The bits themselves
# -------------------
# :func:`~sklearn_cmh.inspection.bit_report` tells whether bits are balanced and differ.
# With few classes, long codes hold many bits that say the same; that is harmless for
# ranking, and a hint that shorter codes would do.

report = bit_report(fitted["DSAH"][3].encode(X_test, modality="image"))
print(report)
report.plot()
plt.show()
