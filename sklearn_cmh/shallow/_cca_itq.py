"""CCA-ITQ: canonical correlation, then the rotation that loses least by taking signs [1]_.

Components of ridge canonical correlation, scaled by their in-sample correlations rho,
``E_m = F_m D_m U diag(rho)``, are stacked over modalities and rotated by iterative quantisation:
codes B and rotation R minimise ``||B - E R||^2``. With plain signs instead, it is the
unsupervised cross-view hashing of [2]_. Both need pairs and no labels: the baselines of hashing
without labels.
"""

from collections.abc import Mapping
from numbers import Real

import numpy as np

from ..base import Learning, LinearHasher, Solution, parametrised
from ..data import modality_weights
from ..solvers import canonical_bases, centred_grams, column_means, itq_rotation, project, sign
from ..utils._sklearn import Interval, StrOptions
from ._pairs import check_paired

__all__ = ["CCAITQ"]


@parametrised
class CCAITQ(LinearHasher):
    """Canonical correlation and iterative quantisation: codes from pairs, without labels.

    A baseline. Labels are used for nothing but `score`.

    Parameters
    ----------
    regularisation : float or dict, default=1e-4
        Ridge, as a multiple of the mean eigenvalue of a modality's features, or a {name: ridge}
        dict. The default is the authors'; with hundreds of columns, 0.1 is better.
    rotation : {"itq", None}, default="itq"
        None takes the signs of the components as they are; there are as many useful bits then as
        components, and the others are constant.

    Attributes
    ----------
    correlations_ : ndarray of shape (n_components,)
        In-sample correlations of the components.
    offsets_ : dict
        Modality name to the thresholds (n_bits,) of its hash function.
    objective_ : ndarray of shape (n_iter_,)
        Mean loss of a row after every sweep of the rotation; empty without.

    See Also
    --------
    sklearn_cmh.SharedSpace : Components weighted by their correlation in rows left out.

    References
    ----------
    .. [1] Gong, Y., Lazebnik, S., Gordo, A. and Perronnin, F. (2013). Iterative quantization: a
       Procrustean approach to learning binary codes for large-scale image retrieval. IEEE TPAMI,
       35(12), 2916-2929. :doi:`10.1109/TPAMI.2012.193`
    .. [2] Kumar, S. and Udupa, R. (2011). Learning hash functions for cross-view similarity search.
       IJCAI. `ACM 2283516.2283623 <https://dl.acm.org/doi/10.5555/2283516.2283623>`__

    Examples
    --------
    >>> from sklearn_cmh.datasets import make_multimodal_classification
    >>> from sklearn_cmh.shallow import CCAITQ
    >>> X, y = make_multimodal_classification(n_samples=200, random_state=0)
    >>> hasher = CCAITQ(n_bits=16, random_state=0).fit(X)
    >>> hasher.encode(X, modality="text").shape
    (200, 16)
    """

    regularisation: float | Mapping[str, float] = 1e-4
    rotation: str | None = "itq"
    max_iter: int = 50
    tol: float = 1e-4

    _parameter_constraints = {
        "regularisation": [Interval(Real, 0, None, closed="left"), dict],
        "rotation": [StrOptions({"itq"}), None],
    }

    _is_baseline = True
    _needs_pairs = True

    def _learning(self):
        return Learning(needs_labels=False, from_unlabelled=True)

    def _solve(self, features, L, rng):
        names, matrices = list(features), list(features.values())
        check_paired("CCAITQ", features)
        ridges = modality_weights(self.regularisation, names, "regularisation")
        means = [column_means(F) for F in matrices]
        bases, rho = canonical_bases(centred_grams(matrices, means), ridges, self.n_bits)
        if not len(rho):
            raise ValueError(
                "The modalities have nothing in common: the features of one are the same in all "
                "rows."
            )
        scaled = [W * rho for W in bases]
        E = [project(F, W, mean @ W) for F, W, mean in zip(matrices, scaled, means, strict=True)]
        sweeps = self._sweeps()
        R = (
            np.eye(len(rho), self.n_bits)
            if self.rotation is None
            else itq_rotation(np.vstack(E), self.n_bits, rng, sweeps)
        )
        projections = [W @ R for W in scaled]
        return Solution(
            codes=sign(sum(E) @ R),
            projections=projections,
            objective=sweeps.objective,
            n_iter=len(sweeps),
            offsets=[mean @ P for mean, P in zip(means, projections, strict=True)],
            extras={"correlations_": rho},
        )
