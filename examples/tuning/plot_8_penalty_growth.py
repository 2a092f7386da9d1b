"""
The growth of the penalty: rho
==============================

The printed updates of DSAH and AAH split the codes from their relaxation and tie the two with a
penalty that grows by the factor ``rho`` every sweep. Grown fast, it freezes the codes of AAH before
they have settled, which costs a little. DSAH's codes do not depend on it, nor on the first penalty
``xi``: beside the similarity term, whose entries grow with the rows, the penalty is nothing, so the
curve is flat. DSAH's exact solver, the default, has no such knob.
"""

import matplotlib.pyplot as plt
from sklearn.model_selection import GridSearchCV, KFold

from sklearn_cmh import AAH, DSAH
from sklearn_cmh.datasets import make_multimodal_classification

X, Y = make_multimodal_classification(
    600, n_classes=10, multilabel=True, n_labels=2.5, noise=2.0, random_state=0
)
rhos = [1.01, 1.2, 1.5, 2.0, 5.0, 10.0]
hashers = {
    "DSAH, printed updates": DSAH(32, n_anchors=200, solver="alm", random_state=0),
    "AAH": AAH(16, random_state=0),
}
exact = DSAH(32, n_anchors=200, n_perturbations=0, random_state=0)
folds = KFold(3, shuffle=True, random_state=0)

figure, ax = plt.subplots(figsize=(6, 4), layout="constrained")
for (name, hasher), style in zip(hashers.items(), ("o-", "s-"), strict=True):
    search = GridSearchCV(hasher, {"rho": rhos}, refit=False, cv=folds, n_jobs=2).fit(X, Y)
    ax.plot(rhos, search.cv_results_["mean_test_score"], style, label=name)
search = GridSearchCV(exact, {}, refit=False, cv=folds).fit(X, Y)
ax.axhline(search.cv_results_["mean_test_score"][0], ls="--", color="C0", label="DSAH, exact")
ax.set_xscale("log")
ax.set_xticks(rhos, [f"{rho:g}" for rho in rhos], minor=False)
ax.set_xticks([], minor=True)
ax.set(xlabel="rho", ylabel="mAP, learned gallery", title="Penalty growth")
_ = ax.legend()
