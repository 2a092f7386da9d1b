"""
DSAH: alpha and gamma
=====================

Figures 3 and 4 of the paper: mean average precision over a grid of ``alpha``, which draws codes
and hash functions together, and ``gamma``, which keeps both small. ``paper_grid()`` gives the
ranges that the paper sweeps, ready for GridSearchCV.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.model_selection import GridSearchCV, KFold

from sklearn_cmh import DSAH
from sklearn_cmh.datasets import load_openmoji
from sklearn_cmh.metrics import make_retrieval_scorer

X, y = load_openmoji(return_X_y=True)
X, y = X[:600], y[:600]
print(DSAH.paper_grid())

# %%
# Every other value of the paper's range, and short searches, keep this page quick.

values = np.logspace(-5, 5, 6)
hasher = DSAH(32, n_anchors=150, n_perturbations=0, random_state=0)
scoring = {
    "image to text": make_retrieval_scorer("map", query="image"),
    "text to image": make_retrieval_scorer("map", query="text"),
    "held-out": make_retrieval_scorer("map", gallery="validation"),
}
search = GridSearchCV(
    hasher,
    {"alpha": values, "gamma": values},
    scoring=scoring,
    refit=False,
    cv=KFold(3, shuffle=True, random_state=0),
    n_jobs=2,
)
search.fit(X, y)

# %%
# alpha and gamma weigh against terms that grow with the rows, so wide ranges do alike; at the
# far ends the codes no longer follow the labels.

figure, axes = plt.subplots(1, 3, figsize=(12, 3.8), layout="constrained")
ticks = [f"$10^{{{int(np.log10(value))}}}$" for value in values]
for name, ax in zip(scoring, axes, strict=True):
    scores = search.cv_results_[f"mean_test_{name}"].reshape(len(values), len(values))
    drawn = ax.imshow(scores, origin="lower", cmap="viridis")
    ax.set_xticks(range(len(values)), ticks)
    ax.set_yticks(range(len(values)), ticks)
    ax.set(xlabel="gamma", ylabel="alpha", title=f"mAP, {name}")
    figure.colorbar(drawn, ax=ax, shrink=0.8)
