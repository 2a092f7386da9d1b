"""SePH: semantics-preserving hashing.

Z. Lin, G. Ding, M. Hu and J. Wang, "Semantics-Preserving Hashing for Cross-View Retrieval", CVPR
2015. Written from the published description. Label affinities and Hamming distances are both made
distributions over pairs of rows, i /= j, with relaxed codes h_i in R^k:

    p_ij = A_ij / sum A,  A = Lt Lt'                             eq. 1, cosine of label sets
    q_ij = w_ij / sum w,  w_ij = 1 / (1 + ||h_i - h_j||^2 / 4)   eqs. 2 and 3
    min  sum_ij p_ij log(p_ij / q_ij) + alpha / (n k) || |H| - 1 ||^2            eqs. 4 to 6

by descent along the gradient (eq. 8, here without the factor that a sum over ordered pairs gives)

    sum_j (p_ij - q_ij) w_ij (h_i - h_j) + 2 alpha / (n k) (|h_i| - 1) sgn(h_i)

Codes are the signs. Then every bit is a kernel logistic regression per modality, with anchors drawn
at random or by k-means. The log-odds of the modalities add up (eq. 14, with both values of a bit
equally likely). The distances of all pairs are in the objective and do not factor, so that time is
quadratic in the rows; memory is not, since pairs are taken a block of rows at a time.
"""

from dataclasses import dataclass
from numbers import Real
from typing import Literal

import numpy as np
from scipy import sparse
from scipy.optimize import minimize
from sklearn.utils import gen_batches

from ..base import KernelHasher, Solution, parametrised
from ..data import normalise_rows
from ..features import AnchorRBF
from ..solvers import sign
from ..utils._sklearn import Interval, StrOptions
from ._regression import RegressionMixin, logistic_regressions

__all__ = ["SePH"]

# Pairs are as many as rows squared: 10,000 rows at 64 bits take about a quarter of an hour.
_MOST_ROWS = 10_000
_BLOCK_ENTRIES = 2**21
_STEPS = 10


@dataclass
class Problem:
    """Label rows of norm one, the sum of the affinities of all pairs, and alpha."""

    Lt: sparse.csr_array
    total: float
    alpha: float

    @classmethod
    def from_data(cls, L, alpha):
        """Prepare the label indicator L (n, c), in which no row is empty."""
        Lt = normalise_rows(L)
        sums = np.asarray(Lt.sum(axis=0)).ravel()
        return cls(Lt, float(sums @ sums) - Lt.shape[0], alpha)


def pairwise_terms(problem, H):
    """Sums over pairs: ``sum p log(1 / w)``, ``sum w``, and the gradients (n, k) of both.

    The gradient of the first is ``sum_j p_ij w_ij (h_i - h_j)``; of the second it is, but for its
    sign, ``sum_j w_ij^2 (h_i - h_j)``.
    """
    n, k = H.shape
    norms = np.einsum("ij,ij->i", H, H)
    fit, mass = 0.0, -float(n)  # without the pairs of a row with itself
    attraction, repulsion = np.empty((n, k)), np.empty((n, k))
    for rows in gen_batches(n, max(1, _BLOCK_ENTRIES // n)):
        u = norms[rows, None] + norms - 2 * (H[rows] @ H.T)
        u = 1 + np.maximum(u, 0) / 4
        p = (problem.Lt[rows] @ problem.Lt.T).toarray() / problem.total
        fit += float(np.einsum("ij,ij->", p, np.log(u)))
        w = 1 / u
        mass += float(w.sum())
        for weights, gradient in ((p * w, attraction), (w * w, repulsion)):
            gradient[rows] = weights.sum(axis=1)[:, None] * H[rows] - weights @ H
    return fit, mass, attraction, repulsion


def objective(problem, H):
    """Equation 6 but for the constant ``sum p log p``, and its gradient; both times n."""
    n, k = H.shape
    fit, mass, attraction, repulsion = pairwise_terms(problem, H)
    excess = np.abs(H) - 1
    value = n * (fit + np.log(mass)) + problem.alpha / k * np.square(excess).sum()
    gradient = n * (attraction - repulsion / mass)
    return value, gradient + 2 * problem.alpha / k * excess * np.sign(H)


def sweep(problem, H):
    """A few quasi-Newton steps: relaxed codes (n, k) at which the objective is no larger."""

    def flat(h):
        value, gradient = objective(problem, h.reshape(H.shape))
        return value, gradient.ravel()

    options = {"maxiter": _STEPS, "ftol": 0.0, "gtol": 0.0}
    done = minimize(flat, H.ravel(), jac=True, method="L-BFGS-B", options=options)
    return done.x.reshape(H.shape), float(done.fun)


def solve(problem, n_bits, *, sweeps, rng):
    """The codes B of the rows."""
    H = rng.standard_normal((problem.Lt.shape[0], n_bits))
    for _ in sweeps:
        H, value = sweep(problem, H)
        sweeps.record(value)
    return sign(H)


@parametrised
class SePH(RegressionMixin, KernelHasher):
    """Semantics-preserving hashing: distances of codes distributed as label affinities are.

    A supervised baseline [1]_, with kernel logistic regressions as hash functions.

    Parameters
    ----------
    alpha : float, default=1e-2
        Weight of the relaxed codes' distance to -1 and +1.
    hash_functions : {"logistic", "ridge"}, default="logistic"
        Kernel logistic regression for every bit, or ridge regression, which takes far less time.
    lambda_h : float, default=1e-2
        Penalty of either.
    sampling : {"kmeans", "random"}, default="kmeans"
        Anchors of the default feature map: centres of clusters (SePH_km) or rows (SePH_rnd).

    Attributes
    ----------
    objective_ : ndarray of shape (n_iter_,)
        Kullback-Leibler divergence of the distributions and distance to codes, times the rows, but
        for a constant; it never rises.
    offsets_ : dict
        Modality name to the thresholds (n_bits,) of its hash function, of logistic ones.

    Raises
    ------
    ValueError
        At the fit, of more than 10,000 rows: time is quadratic in the rows. Memory is linear.

    Notes
    -----
    A sweep is ten quasi-Newton steps, where the paper takes gradient steps.

    References
    ----------
    .. [1] Lin, Z., Ding, G., Hu, M. and Wang, J. (2015). Semantics-preserving hashing for
       cross-view retrieval. `CVPR 3864-3872 <https://openaccess.thecvf.com/content_cvpr_2015/html/
       Lin_Semantics-Preserving_Hashing_for_2015_CVPR_paper.html>`__

    Examples
    --------
    >>> from sklearn_cmh.datasets import make_multimodal_classification
    >>> from sklearn_cmh.shallow import SePH
    >>> X, y = make_multimodal_classification(n_samples=100, random_state=0)
    >>> hasher = SePH(n_bits=8, n_anchors=30, tol=1e-3, random_state=0).fit(X, y)
    >>> hasher.encode(X, modality="text").shape
    (100, 8)
    """

    alpha: float = 1e-2
    hash_functions: Literal["logistic", "ridge"] = "logistic"
    lambda_h: float = 1e-2
    sampling: Literal["kmeans", "random"] = "kmeans"
    n_anchors: int = 500
    max_iter: int = 20
    tol: float = 1e-4

    _parameter_constraints = {
        "alpha": [Interval(Real, 0, None, closed="left")],
        "hash_functions": [StrOptions({"logistic", "ridge"})],
        "lambda_h": [Interval(Real, 0, None, closed="neither")],
        "sampling": [StrOptions({"kmeans", "random"})],
    }
    _paper_grid = {"alpha": [1e-4, 1e-2, 1.0], "sampling": ["kmeans", "random"]}
    _is_baseline = True

    def _default_feature_map(self, block):
        return AnchorRBF(self.n_anchors, sampling=self.sampling)

    def _restart_params(self, codes_only):
        return {"hash_functions": "ridge"} if codes_only else {}

    def _learn(self, blocks, L, rng):
        if L.shape[0] > _MOST_ROWS:
            raise ValueError(
                f"SePH compares all pairs of rows, and X has {L.shape[0]}: it would take hours. "
                f"Fit on a sample of at most {_MOST_ROWS} rows, and encode the others."
            )
        super()._learn(blocks, L, rng)

    def _solve(self, features, L, rng):
        sweeps = self._sweeps()
        problem = Problem.from_data(L, self.alpha)
        if problem.total <= 1e-9 * L.shape[0]:
            raise ValueError(
                f"No two of {L.shape[0]} training rows share a label, so SePH has no affinity to "
                "preserve: pass rows of one class, or a method that learns from pairs."
            )
        B = solve(problem, self.n_bits, sweeps=sweeps, rng=rng)
        if self.hash_functions == "ridge":
            return self._regressed(features, B, sweeps)
        fitted = [logistic_regressions(F, B, self.lambda_h) for F in features.values()]
        projections, offsets = zip(*fitted, strict=True)
        return Solution(B, projections, sweeps.objective, len(sweeps), offsets)
