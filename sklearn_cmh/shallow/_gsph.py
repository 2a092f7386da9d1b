"""GSPH: generalised semantic preserving hashing.

D. Mandal, K. N. Chaudhury, S. Biswas, "Generalized Semantic Preserving Hashing for N-Label
Cross-Modal Retrieval", CVPR 2017; extended in IEEE Transactions on Image Processing 28(1), 2019.
Written from the published description and the authors' code for the latter. Every modality has
codes A_m of its own, so that rows need not be paired to be learned from; inner products between
modalities tell how similar rows are. With S the cosine of label sets, and k bits:

    sum_{l < m} ||S - A_l A_m' / k||^2
    subject to A_m in {-1, +1}

over codes A_m (n, k), bit after bit, each the best given all others: the element-wise updates of
the conference paper. So the objective never rises. Then every bit of A_m is a kernel logistic
regression on the features of modality m, and the codes of the training rows unify what these
predict: with z_m the probability of +1, and p_m the share of +1 among the bits of A_m,

    B = sgn(sum_m z_m / p_m - (1 - z_m) / (1 - p_m))

The n x n matrix S is never formed, as ``S A`` has factors. Ridge regressions may take the place of
logistic ones; B is the sign of the sum of their projections then.
"""

from dataclasses import dataclass
from numbers import Real
from typing import Literal

import numpy as np
from scipy.special import expit

from ..base import KernelHasher, Solution, parametrised
from ..solvers import (
    CosineSimilarity,
    Targets,
    constant_bits,
    cyclic_bits,
    dot,
    inner,
    label_targets,
    ridge_projection,
    sign,
)
from ..utils._sklearn import Interval, StrOptions
from ._regression import logistic_regressions

__all__ = ["GSPH"]

_PASSES = 10


@dataclass
class Problem:
    """What the sweeps need of the data: G, the factor of S, S and ||S||^2."""

    targets: Targets
    similarity: CosineSimilarity
    similarity_norm: float

    @classmethod
    def from_labels(cls, L):
        """Prepare the label indicator L (n, c), in which every row has labels."""
        G = label_targets(L)
        S = CosineSimilarity(G)
        return cls(G, S, S.squared_norm())


def update_codes(problem, codes, m):
    """A_m: cyclic over bits, for the sums of ``A_l'A_l / k^2`` and of ``S A_l / k`` over l /= m."""
    others = [A for l, A in enumerate(codes) if l != m]
    k = codes[m].shape[1]
    Q = sum(A.T @ A for A in others) / k**2
    return cyclic_bits(codes[m], Q, problem.similarity @ (sum(others) / k), _PASSES)


def objective(problem, codes):
    """The objective, without the n x n similarity."""
    k, value = codes[0].shape[1], 0.0
    for m, A in enumerate(codes):
        for B in codes[:m]:
            value += problem.similarity_norm - 2 / k * inner(B, problem.similarity @ A)
            value += inner(A.T @ A, B.T @ B) / k**2
    return value


def start(problem, n_modalities, n_bits, rng):
    """sgn(G A) with A random; of a single modality a second set, for it to have a partner."""
    shape = (problem.targets.shape[1], n_bits)
    n_sets = max(n_modalities, 2)
    draws = [rng.standard_normal(shape) for _ in range(n_sets)]
    return [sign(problem.targets.expand(A)).astype(np.float64) for A in draws]


def sweep(problem, codes):
    """One sweep, in place: every A_m. The objective does not rise."""
    for m in range(len(codes)):
        codes[m] = update_codes(problem, codes, m)


def solve(problem, n_modalities, n_bits, *, sweeps, rng):
    """The codes A_m of every modality."""
    codes = start(problem, n_modalities, n_bits, rng)
    for _ in sweeps:
        sweep(problem, codes)
        sweeps.record(objective(problem, codes))
    return codes[:n_modalities]


def unified_codes(codes, log_odds):
    """B, from codes A_m (n, k) and the log-odds of their bits given the features (n, k)."""
    total = 0.0
    for A, Z in zip(codes, log_odds, strict=True):
        share, z = (A > 0).mean(axis=0), expit(Z)
        # A constant bit has no share to be weighed by.
        constant = (share == 0) | (share == 1)
        share = np.where(constant, 0.5, share)
        total = total + z / share - (1 - z) / (1 - share)
    return sign(total)


@parametrised
class GSPH(KernelHasher):
    """GSPH: codes of every modality, of which inner products tell how similar rows are.

    Learns codes of each modality from label similarity, kernel logistic regressions from features
    to them, and unites what these predict for the training rows [1]_.

    Parameters
    ----------
    hash_functions : {"logistic", "ridge"}, default="logistic"
        Kernel logistic regression for every bit, or ridge regression, which takes far less time.
    lambda_h : float, default=1e-2
        Penalty of either; above 0.

    Attributes
    ----------
    offsets_ : dict
        Modality name to the thresholds (n_bits,) of its hash function, of logistic ones.
    objective_ : ndarray of shape (n_iter_,)
        The objective after every sweep; it never rises.

    See Also
    --------
    SePH : Logistic regressions to codes that all modalities share.

    Notes
    -----
    Time and memory grow linearly with the rows; no n x n matrix is formed. Nearly all time goes
    into one logistic regression per modality and bit. Rows of the same labels start from the same
    random codes; the authors start from random codes of every row, from which short codes end in
    poor local minima. `codes_` are predicted from the features of the training rows, not learned
    themselves. Some of their bits may be constant: a bit that is +1 in
    one modality and -1 in the other lowers all inner products, as S has no negative entries.

    References
    ----------
    .. [1] Mandal, D., Chaudhury, K. N. and Biswas, S. (2017). Generalized semantic preserving
       hashing for n-label cross-modal retrieval. CVPR, 4076-4084.
       https://openaccess.thecvf.com/content_cvpr_2017/html/Mandal_Generalized_Semantic_Preserving_CVPR_2017_paper.html

    Examples
    --------
    >>> from sklearn_cmh.datasets import make_multimodal_classification
    >>> from sklearn_cmh.shallow import GSPH
    >>> X, y = make_multimodal_classification(n_samples=200, random_state=0)
    >>> hasher = GSPH(n_bits=16, n_anchors=50, random_state=0).fit(X, y)
    >>> hasher.encode(X, modality="text").shape
    (200, 16)
    """

    hash_functions: Literal["logistic", "ridge"] = "logistic"
    lambda_h: float = 1e-2
    n_anchors: int = 500

    _parameter_constraints = {
        "hash_functions": [StrOptions({"logistic", "ridge"})],
        "lambda_h": [Interval(Real, 0, None, closed="neither")],
    }
    _paper_grid = {"lambda_h": [1e-3, 1e-2, 1e-1]}
    _is_baseline = True

    def _restart_params(self, codes_only):
        return {"hash_functions": "ridge"} if codes_only else {}

    def _solve(self, features, L, rng):
        F, sweeps = list(features.values()), self._sweeps()
        problem = Problem.from_labels(L)
        codes = solve(problem, len(F), self.n_bits, sweeps=sweeps, rng=rng)
        pairs = list(zip(F, codes, strict=True))
        if self.hash_functions == "ridge":
            # As the logistic ones, none for bits that are constant: rounding would decide them.
            projections = [
                ridge_projection(f, A * ~constant_bits(A), self.lambda_h) for f, A in pairs
            ]
            B = sign(sum(dot(f, P) for f, P in zip(F, projections, strict=True)))
            return Solution(B, projections, sweeps.objective, len(sweeps))
        fitted = [logistic_regressions(f, A, self.lambda_h) for f, A in pairs]
        log_odds = [dot(f, P) - offset for f, (P, offset) in zip(F, fitted, strict=True)]
        return Solution(
            unified_codes(codes, log_odds),
            [P for P, _ in fitted],
            sweeps.objective,
            len(sweeps),
            offsets=[offset for _, offset in fitted],
        )
