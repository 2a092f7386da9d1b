"""
ASCMH: omega and lambda
=======================

Figures 2 and 3 of the paper: ``omega`` draws the codes to the label embedding, ``lambdas`` weigh
the modalities in the common latent space. Measured against the number of rows, which multiplies
the similarity term, both are small over most of the paper's range, and so is their effect.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.model_selection import GridSearchCV, KFold

from sklearn_cmh import ASCMH
from sklearn_cmh.datasets import load_openmoji
from sklearn_cmh.metrics import make_retrieval_scorer

X, y = load_openmoji(return_X_y=True)
X, y = X[:600], y[:600]
print(ASCMH.paper_grid())

# %%
# omega, and both lambdas together, over many powers of ten.

omegas = np.logspace(-4, 4, 5)
lambdas = np.logspace(-3, 5, 5)
scoring = {
    "image to text": make_retrieval_scorer("map", query="image"),
    "text to image": make_retrieval_scorer("map", query="text"),
    "held-out": make_retrieval_scorer("map", gallery="validation"),
}
search = GridSearchCV(
    ASCMH(32, n_anchors=200, random_state=0),
    {"omega": omegas, "lambdas": lambdas},
    scoring=scoring,
    refit=False,
    cv=KFold(3, shuffle=True, random_state=0),
    n_jobs=2,
)
search.fit(X, y)

figure, axes = plt.subplots(1, 3, figsize=(12, 3.8), layout="constrained")
shape = len(lambdas), len(omegas)
for name, ax in zip(scoring, axes, strict=True):
    scores = search.cv_results_[f"mean_test_{name}"].reshape(shape)
    drawn = ax.imshow(scores, origin="lower", cmap="viridis")
    ax.set_xticks(range(len(omegas)), [f"$10^{{{int(np.log10(v))}}}$" for v in omegas])
    ax.set_yticks(range(len(lambdas)), [f"$10^{{{int(np.log10(v))}}}$" for v in lambdas])
    ax.set(xlabel="omega", ylabel="lambdas", title=f"mAP, {name}")
    figure.colorbar(drawn, ax=ax, shrink=0.8)
