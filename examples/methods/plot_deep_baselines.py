"""
DCMH and SSAH: what do the terms of their objectives do?
========================================================

Both are fitted whole and with one term weighted otherwise, and judged by rows that took no part
in the fit. Needs the extra ``torch``, and about a minute.
"""

# %%
# Rows of eight classes, generated. One network layer is enough for them.

import warnings

import matplotlib.pyplot as plt
import numpy as np
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning

from sklearn_cmh.datasets import make_multimodal_classification
from sklearn_cmh.deep import DCMH, SSAH
from sklearn_cmh.metrics import make_retrieval_scorer

X, y = make_multimodal_classification(700, n_classes=8, noise=0.7, random_state=0)
train, test = slice(0, 400), slice(400, None)
# Some settings leave constant bits, which is what the figures are about.
warnings.simplefilter("ignore", ConvergenceWarning)
held_out = make_retrieval_scorer("map", gallery="validation")


def draw(hasher, settings):
    """Loss by epoch of a method with every setting, its held-out mAP and balance beside."""
    _, ax = plt.subplots(figsize=(6.5, 3.5), layout="constrained")
    for name, parameters in settings.items():
        fitted = clone(hasher).set_params(**parameters).fit(X[train], y[train])
        score = held_out(fitted, X[test], y[test])
        uneven = np.abs(fitted.codes_.mean(axis=0)).mean()
        losses = [epoch["loss"] for epoch in fitted.history_]
        ax.plot(losses, label=f"{name}: mAP {score:.3f}, mean of a bit {uneven:.2f}")
    ax.set(xlabel="epoch", ylabel="loss")
    ax.legend(fontsize="small")


# %%
# DCMH: ``gamma`` weighs quantisation, ``eta`` the balance of bits. The last number of a line is how
# far a bit is from being +1 as often as -1: 0 is even, 1 constant.

draw(
    DCMH(16, hidden=(256,), max_iter=40, random_state=0),
    {
        "as published": {},
        "no balance": {"eta": 0.0},
        "no quantisation": {"gamma": 0.0},
    },
)

# %%
# SSAH: ``eta`` weighs quantisation, ``adversarial_weight`` the game with the discriminators.

draw(
    SSAH(16, hidden=(256,), max_iter=40, random_state=0),
    {
        "as published": {},
        "no adversary": {"adversarial_weight": 0.0},
        "little quantisation": {"eta": 0.01},
    },
)

# %%
# Both terms of DCMH pay, and so does quantisation in SSAH. Its adversary does not pay here: compare
# with ``adversarial_weight=0`` before you credit it.
