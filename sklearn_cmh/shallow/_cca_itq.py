"""CCA-ITQ: canonical correlation, then the rotation that loses least by taking signs [1]_.

Components of ridge canonical correlation, scaled by their in-sample correlations rho,
``E_m = F_m D_m U diag(rho)``, are stacked over modalities and rotated by iterative quantisation:
codes B and rotation R minimise ``||B - E R||^2``. With plain signs instead, it is the
unsupervised cross-view hashing of [2]_. Both need pairs and no labels: the baselines of hashing
without labels.
"""

from numbers import Real
from typing import Any

import numpy as np

from ..base import Learning, ShallowHasher, Solution
from ..data import modality_weights
from ..features import linear_map
from ..solvers import canonical_bases, centred_grams, column_means, itq_rotation, project, sign
from ..utils._sklearn import Interval, StrOptions
from ..utils._typing import Modalities, RandomState

__all__ = ["CCAITQ"]


class CCAITQ(ShallowHasher):
    """Canonical correlation and iterative quantisation: codes from pairs, without labels.

    A baseline. Labels are used for nothing but `score`.

    Parameters
    ----------
    n_bits : int, default=64
        Length of the codes.
    modalities : {"prefix"}, dict or list of tuples, default=None
        Which columns belong to which modality: ``(name, transformer, columns)`` triples,
        ``{name: columns}``, or "prefix". None takes a MultimodalData's own.
    feature_map : transformer, dict, "passthrough" or None, default=None
        Map of every modality's columns, or a {name: map} dict. None standardises columns, as the
        method is linear; `AnchorRBF` makes it kernel CCA-ITQ.
    regularisation : float or dict, default=1e-4
        Ridge, as a multiple of the mean eigenvalue of a modality's features, or a {name: ridge}
        dict. The default is the authors'; with hundreds of columns, 0.1 is better.
    rotation : {"itq", None}, default="itq"
        None takes the signs of the components as they are; there are as many useful bits then as
        components, and the others are constant.
    max_iter : int, default=50
        Sweeps of the rotation.
    tol : float, default=1e-4
        The rotation has settled when its loss changes by no more than this, relatively.
    random_state : int, RandomState instance or None, default=None
        Draws the first rotation.
    verbose : bool or int, default=False
        Whether to print the loss of every sweep.

    Attributes
    ----------
    codes_ : ndarray of shape (n, n_bits), int8
        Fused codes of the training rows.
    correlations_ : ndarray of shape (n_components,)
        In-sample correlations of the components.
    projections_, offsets_ : dict
        Modality name to hash function (q, n_bits), and to its thresholds (n_bits,).
    objective_ : ndarray of shape (n_iter_,)
        Mean loss of a row after every sweep of the rotation; empty without.
    n_iter_ : int
        Sweeps done.

    See Also
    --------
    sklearn_cmh.SharedSpace : Components weighted by their correlation in rows left out.

    References
    ----------
    .. [1] Gong, Y., Lazebnik, S., Gordo, A. and Perronnin, F. (2013). Iterative quantization: a
       Procrustean approach to learning binary codes for large-scale image retrieval. IEEE TPAMI,
       35(12), 2916-2929.
    .. [2] Kumar, S. and Udupa, R. (2011). Learning hash functions for cross-view similarity search.
       IJCAI.

    Examples
    --------
    >>> from sklearn_cmh.datasets import make_multimodal_classification
    >>> from sklearn_cmh.shallow import CCAITQ
    >>> X, y = make_multimodal_classification(n_samples=200, random_state=0)
    >>> hasher = CCAITQ(n_bits=16, random_state=0).fit(X)
    >>> hasher.encode(X, modality="text").shape
    (200, 16)
    """

    _parameter_constraints: dict = {
        **ShallowHasher._parameter_constraints,
        "regularisation": [Interval(Real, 0, None, closed="left"), dict],
        "rotation": [StrOptions({"itq"}), None],
    }

    def __init__(
        self,
        n_bits: int = 64,
        *,
        modalities: Modalities = None,
        feature_map: Any = None,
        regularisation: Any = 1e-4,
        rotation: str | None = "itq",
        max_iter: int = 50,
        tol: float = 1e-4,
        random_state: RandomState = None,
        verbose: bool | int = False,
    ):
        self.n_bits = n_bits
        self.modalities = modalities
        self.feature_map = feature_map
        self.regularisation = regularisation
        self.rotation = rotation
        self.max_iter = max_iter
        self.tol = tol
        self.random_state = random_state
        self.verbose = verbose

    _is_baseline = True
    _needs_pairs = True

    def _default_feature_map(self, block):
        return linear_map(block)

    def _learning(self):
        return Learning(needs_labels=False, from_unlabelled=True)

    def _solve(self, features, L, rng):
        names, matrices = list(features), list(features.values())
        if len(names) < 2:
            raise ValueError(
                f"CCAITQ learns from pairs, and pairs need two modalities; X has {names}."
            )
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
