"""
Baselines: classes or things?
=============================

Methods of the literature are compared on the same rows, with their defaults, by two questions: does
a query find rows of its class, and does it find its own other half?
"""

# %%
# Pictures and names of 1,519 emoji to learn from. The other 379 are queries and database, so
# that no code was learned together with its label. Codes have 32 bits.

import warnings

import matplotlib.pyplot as plt
from sklearn.exceptions import ConvergenceWarning

from sklearn_cmh import ASCMH, DSAH
from sklearn_cmh.datasets import load_openmoji
from sklearn_cmh.metrics import make_retrieval_scorer, pair_recall_at_k
from sklearn_cmh.shallow import (
    ALECH,
    BATCH,
    CCAITQ,
    CMFH,
    CVH,
    DCH,
    FSH,
    LCMFH,
    LEMON,
    SCM,
    SMFH,
    SRLCH,
    ClassifierHasher,
)

emoji = load_openmoji()
X, y = emoji.data, emoji.target
train, test = emoji.train, emoji.test
held_out = make_retrieval_scorer("map", gallery="validation")
# A constant bit is a weakness of a method, which the figures show.
warnings.simplefilter("ignore", ConvergenceWarning)


def measure(method):
    """Held-out mAP of classes, and the share of own pairs among ten hits."""
    hasher = method(n_bits=32, random_state=0).fit(X[train], y[train])
    image = hasher.encode(X["image"][test], modality="image")
    text = hasher.encode(X["text"][test], modality="text")
    own_pair = (pair_recall_at_k(image, text, k=10) + pair_recall_at_k(text, image, k=10)) / 2
    return held_out(hasher, X[test], y[test]), own_pair


groups = {
    "from pairs": [CVH, CCAITQ, FSH, CMFH],
    "from labels": [
        SMFH, SCM, LCMFH, LEMON, ClassifierHasher, SRLCH, DCH, ALECH, ASCMH, DSAH, BATCH,
    ],
}  # fmt: skip
scores = {group: {m.__name__: measure(m) for m in group_of} for group, group_of in groups.items()}

for group, rows in scores.items():
    for name, (precision, recall) in rows.items():
        print(f"{name:16s} {group:11s}  mAP {precision:.3f}  own pair {recall:.3f}")

# %%
figure, axes = plt.subplots(1, 2, figsize=(7, 4.6), sharey=True, layout="constrained")
titles = ["mAP of the class", "recall@10 of the own pair"]
for column, (ax, title) in enumerate(zip(axes, titles, strict=True)):
    for group, rows in scores.items():
        ranked = sorted(rows, key=rows.get)
        ax.plot([rows[name][column] for name in ranked], ranked, "o", label=group)
    ax.set(title=title, xlim=(0, None))
    ax.grid(alpha=0.3)
axes[0].legend()
plt.show()

# %%
# Labels teach classes, pairs teach things, and no baseline knows both. A
# :class:`~sklearn_cmh.RefinedHasher` learns from both, see
# :ref:`sphx_glr_auto_examples_methods_plot_refined_hasher.py`.
