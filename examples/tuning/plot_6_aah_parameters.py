"""
AAH: theta, alpha and beta
==========================

Figures 8 to 10 of the paper: one weight is varied while the others stay at the values that the
paper uses. ``theta`` weighs the text against the image, ``alpha`` the agreement of the modalities
about labels, ``beta`` the closeness of a row's modalities.

AAH works on the features themselves, so wide blocks are reduced first.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.decomposition import PCA, TruncatedSVD
from sklearn.model_selection import GridSearchCV, KFold

from sklearn_cmh import AAH, MultimodalData
from sklearn_cmh.datasets import load_openmoji
from sklearn_cmh.metrics import make_retrieval_scorer

emoji, y = load_openmoji(return_X_y=True)
emoji, y = emoji[:600], y[:600]
X = MultimodalData(
    image=PCA(64, random_state=0).fit_transform(emoji["image"]),
    text=TruncatedSVD(64, random_state=0).fit_transform(emoji["text"]),
)
print(AAH.paper_grid())

# %%
# A list of grids varies one parameter at a time.

values = {
    "theta": [0.01, 0.1, 1, 10, 100, 1000],
    "alpha": [0.01, 0.1, 1, 10, 100, 1000],
    "beta": [0.01, 0.1, 1, 10, 100, 1000],
}
scoring = {
    "image to text": make_retrieval_scorer("map", query="image"),
    "text to image": make_retrieval_scorer("map", query="text"),
    "held-out": make_retrieval_scorer("map", gallery="validation"),
}
search = GridSearchCV(
    AAH(16, theta=10, alpha=1, beta=10, random_state=0),
    [{name: numbers} for name, numbers in values.items()],
    scoring=scoring,
    refit=False,
    cv=KFold(3, shuffle=True, random_state=0),
    n_jobs=2,
)
search.fit(X, y)

figure, axes = plt.subplots(1, 3, figsize=(12, 3.6), sharey=True, layout="constrained")
for (name, numbers), ax in zip(values.items(), axes, strict=True):
    tried = np.array([name in params for params in search.cv_results_["params"]])
    for scorer, style in zip(scoring, ("o-", "s-", "^--"), strict=True):
        ax.plot(numbers, search.cv_results_[f"mean_test_{scorer}"][tried], style, label=scorer)
    ax.set(xscale="log", xlabel=name)
    ax.grid(alpha=0.3)
axes[0].set_ylabel("mAP")
_ = axes[0].legend()
