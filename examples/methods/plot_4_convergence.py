"""
Convergence
===========

Every method keeps its objective after each sweep in ``objective_``. The exact solvers never
let it rise; the printed updates of DSAH and AAH, which work with multipliers, need not lower it.
"""

# %%
# Multi-label rows of two modalities, on which the solvers differ most.

import warnings

import matplotlib.pyplot as plt
import numpy as np
from sklearn.exceptions import ConvergenceWarning

from sklearn_cmh import AAH, ASCMH, DSAH
from sklearn_cmh.datasets import make_multimodal_classification
from sklearn_cmh.metrics import make_retrieval_scorer

X, Y = make_multimodal_classification(
    1200, n_classes=10, multilabel=True, n_labels=2.5, noise=2.0, random_state=0
)
train, test = slice(0, 900), slice(900, None)
# All 25 sweeps are wanted, converged or not.
warnings.simplefilter("ignore", ConvergenceWarning)
shared = {"max_iter": 25, "tol": 0, "random_state": 0}
hashers = {
    "DSAH, exact": DSAH(32, n_anchors=200, n_perturbations=0, **shared),
    "DSAH, printed updates": DSAH(32, n_anchors=200, solver="alm", **shared),
    "AAH": AAH(32, **shared),
    "ASCMH": ASCMH(32, n_anchors=200, **shared),
}
held_out = make_retrieval_scorer("map", gallery="validation")
figure, axes = plt.subplots(1, 4, figsize=(13, 3.4), layout="constrained")
for (name, hasher), ax in zip(hashers.items(), axes, strict=True):
    hasher.fit(X[train], Y[train])
    score = held_out(hasher, X[test], Y[test])
    ax.plot(np.arange(1, hasher.n_iter_ + 1), hasher.objective_, "o-", markersize=3)
    ax.set(title=f"{name}\nheld-out mAP {score:.3f}", xlabel="sweep")
    ax.grid(alpha=0.3)
_ = axes[0].set_ylabel("objective")
