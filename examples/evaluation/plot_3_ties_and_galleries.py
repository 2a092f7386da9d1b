"""
Ties and galleries: what a figure of mAP means
==============================================

Two choices that papers seldom state move mean average precision more than most methods
do: how rows at equal distance are ordered, and whose codes are ranked.
"""

# %%
# Ties
# ----
# Hamming distances between codes of ``k`` bits take ``k + 1`` values, so most of a ranking is
# ties. Ordered by database row, they reward a database that happens to be sorted; the mean
# over all orders depends on nothing but the codes.

import matplotlib.pyplot as plt
import numpy as np

from sklearn_cmh import DSAH
from sklearn_cmh.datasets import make_multimodal_classification
from sklearn_cmh.metrics import make_retrieval_scorer, mean_average_precision

X, y = make_multimodal_classification(900, n_classes=8, noise=2.0, random_state=0)
train, test = slice(0, 600), slice(600, None)
bit_lengths = [2, 4, 8, 16, 32, 64]
hashers = [
    DSAH(n_bits, n_anchors=200, n_perturbations=0, random_state=0).fit(X[train], y[train])
    for n_bits in bit_lengths
]

orders = {
    "sorted by label": np.argsort(y[train], kind="stable"),
    "shuffled": np.random.RandomState(0).permutation(600),
}
curves = {f"by row, {name}": [] for name in orders} | {"expected": []}
for hasher in hashers:
    # A weak modality as the database, so that the ranking is far from perfect.
    query = hasher.encode(X["image"][test], modality="image")
    database = hasher.encode(X["text"][train], modality="text")
    for name, order in orders.items():
        score = mean_average_precision(
            query, database[order], y[test], y[train][order], ties="index"
        )
        curves[f"by row, {name}"].append(score)
    curves["expected"].append(mean_average_precision(query, database, y[test], y[train]))

figure, ax = plt.subplots(figsize=(6, 4), layout="constrained")
for (name, scores), style in zip(curves.items(), ("s--", "^--", "o-"), strict=True):
    ax.plot(bit_lengths, scores, style, label=name)
ax.set_xscale("log", base=2)
ax.set_xticks(bit_lengths, bit_lengths)
ax.set(xlabel="bits", ylabel="mAP", title="The same codes, three tie rules")
_ = ax.legend()

# %%
# The shorter the codes, the more the order of rows decides. ``ties="expected"``, the
# default, is exact: no sampling of orders is involved.
#
# Galleries
# ---------
# The codes *learned* for the training rows have seen their labels. Those rows *encoded* by a
# hash function have been fitted, at least. *Held-out* rows took no part: that is what a user
# with new, unlabelled rows will see.

learned = make_retrieval_scorer("map", query="image")
encoded = make_retrieval_scorer("map", query="image", gallery=(X[train], y[train]))
held_out = make_retrieval_scorer("map", query="image", gallery="validation")
scorers = {"learned": learned, "encoded": encoded, "held-out": held_out}

figure, ax = plt.subplots(figsize=(6, 4), layout="constrained")
for (name, scorer), style in zip(scorers.items(), ("o-", "s-", "^-"), strict=True):
    ax.plot(bit_lengths, [scorer(h, X[test], y[test]) for h in hashers], style, label=name)
ax.set_xscale("log", base=2)
ax.set_xticks(bit_lengths, bit_lengths)
ax.set(xlabel="bits", ylabel="mAP", title="The same queries, three galleries")
_ = ax.legend()
