"""CMSSH: cross-modality similarity-sensitive hashing.

M. Bronstein, A. Bronstein, F. Michel and N. Paragios, "Data Fusion through Cross-modality Metric
Learning using Similarity-Sensitive Hashing", CVPR 2010. Written from the published description.
Bits are boosted on pairs (x, y) of rows of two modalities, with s = +1 where they share a label and
-1 where they do not, and weights w that add up to one:

    max  r = sum w s h,   h = sgn(u'x - a) sgn(v'y - b)                             eq. 6

With signs relaxed, u and v are the first singular vectors of ``C = sum w s x y'``, x and y centred;
then the thresholds are searched, one given the other, along all values that the pairs take. Then w
is multiplied by ``exp(-c s h)``, for the next bit to care for the pairs that the bits so far have
wrong. With AdaBoost's ``c = log((1 + r) / (1 - r)) / 2`` the mean of ``exp(-s sum c h)`` falls by a
factor of ``sqrt(1 - r^2)`` with every bit; the published c = 1 makes it rise where r is below
tanh(1) = 0.76, as it always is. All pairs would be as many as rows squared: a sample is drawn, half
of them alike.
"""

from dataclasses import dataclass
from numbers import Integral
from typing import Literal

import numpy as np
from scipy import linalg, sparse
from scipy.special import logsumexp

from ..base import DirectMixin, LinearHasher, Solution, parametrised
from ..data import label_patterns
from ..solvers import column_means, component_signs, dense, project, sign
from ..utils._sklearn import Interval, StrOptions
from ._pairs import check_paired

__all__ = ["CMSSH"]


@dataclass
class Pairs:
    """Rows of either modality, and whether they share a label: +1 or -1."""

    rows: tuple
    alike: np.ndarray


def draw_pairs(L, n_pairs, rng):
    """`n_pairs` pairs of rows, half of them alike, as far as there are both."""
    patterns, pattern = label_patterns(L)
    overlap = ((patterns @ patterns.T).toarray() > 0) if patterns.shape[0] else np.zeros((0, 0))
    order = np.argsort(pattern, kind="stable")
    sizes = np.bincount(pattern, minlength=len(overlap))
    first = np.cumsum(sizes) - sizes
    pairs = []
    for related in (True, False):
        # Pairs of patterns, as often as there are pairs of rows that have them.
        counts = np.where(overlap == related, np.outer(sizes, sizes), 0).astype(np.float64).ravel()
        if not counts.any():
            continue
        drawn = rng.choice(len(counts), n_pairs // 2, p=counts / counts.sum())
        kinds = np.unravel_index(drawn, overlap.shape)
        rows = [order[first[g] + (rng.random_sample(len(g)) * sizes[g]).astype(int)] for g in kinds]
        pairs.append((*rows, np.full(len(drawn), 1.0 if related else -1.0)))
    i, j, alike = (np.concatenate(parts) for parts in zip(*pairs, strict=True))
    return Pairs((i, j), alike)


def directions(X, pairs, weights):
    """U and v: the first singular vectors of ``sum w s x y'``."""
    # Of every row of the first modality, the sum of its partners: pairs outnumber rows.
    shape = (len(X[0]), len(X[1]))
    partners = sparse.csr_array((weights * pairs.alike, pairs.rows), shape) @ X[1]
    U, _, Vt = linalg.svd(X[0].T @ partners, full_matrices=False)
    turn = component_signs(U[:, :1])[0]
    return turn * U[:, 0], turn * Vt[0]


def best_threshold(z, gains):
    """The threshold a that maximises ``sum gains sgn(z - a)``, half-way between values of z."""
    order = np.argsort(z, kind="stable")
    z, gains = z[order], gains[order]
    below = np.concatenate([[0.0], np.cumsum(gains)])
    # Between equal values there is no room for one.
    room = np.concatenate([[True], z[1:] > z[:-1], [True]])
    cut = int(np.where(room, gains.sum() - 2 * below, -np.inf).argmax())
    ends = np.concatenate([[z[0] - 1.0], z, [z[-1] + 1.0]])
    return (ends[cut] + ends[cut + 1]) / 2


def thresholds(z, weights, alike):
    """Thresholds a and b of values z of both rows of every pair, the best one given the other."""
    a = b = 0.0
    best = -np.inf
    while True:
        a = best_threshold(z[0], weights * alike * sign(z[1] - b))
        b = best_threshold(z[1], weights * alike * sign(z[0] - a))
        correlation = float(np.sum(weights * alike * sign(z[0] - a) * sign(z[1] - b)))
        if correlation <= best + 1e-12:
            return a, b
        best = correlation


def confidence(correlation, boosting):
    """The factor c by which a bit counts in the weights of the next."""
    if boosting == "constant":
        return 1.0
    # A bit that has all pairs right leaves nothing to weigh; one that has half of them, all.
    return float(np.arctanh(np.clip(correlation, 0.0, 1 - 1e-9)))


def boost(X, pairs, n_bits, boosting):
    """Directions (q_m, n_bits), thresholds (2, n_bits), and the log of the loss after every bit."""
    U = [np.zeros((x.shape[1], n_bits)) for x in X]
    cuts, margins, losses = np.zeros((2, n_bits)), np.zeros(len(pairs.alike)), []
    for t in range(n_bits):
        weights = np.exp(margins.min() - margins)
        weights /= weights.sum()
        u = directions(X, pairs, weights)
        z = [(x @ w)[rows] for x, w, rows in zip(X, u, pairs.rows, strict=True)]
        cuts[:, t] = thresholds(z, weights, pairs.alike)
        U[0][:, t], U[1][:, t] = u
        right = pairs.alike * sign(z[0] - cuts[0, t]) * sign(z[1] - cuts[1, t])
        margins += confidence(weights @ right, boosting) * right
        losses.append(float(logsumexp(-margins) - np.log(len(margins))))
    return U, cuts, losses


@parametrised
class CMSSH(DirectMixin, LinearHasher):
    """Cross-modality similarity-sensitive hashing: bits boosted on pairs that are alike or not.

    A supervised baseline of two modalities [1]_.

    Parameters
    ----------
    n_pairs : int, default=20000
        Pairs of rows to learn from, half of them sharing a label.
    boosting : {"adaboost", "constant"}, default="adaboost"
        By how much a bit changes the weights of pairs: by its correlation with what is alike, so
        that the loss falls with every bit, or as published, all bits alike.

    Attributes
    ----------
    objective_ : ndarray of shape (1,)
        Log of the mean over pairs of the exponential loss.
    offsets_ : dict
        Modality name to the thresholds (n_bits,) of its hash function.

    Notes
    -----
    Codes of the training rows are fused ones, the signs of the sum of both modalities' projections;
    the paper has one code per modality.

    References
    ----------
    .. [1] Bronstein, M. M., Bronstein, A. M., Michel, F. and Paragios, N. (2010). Data fusion
       through cross-modality metric learning using similarity-sensitive hashing. CVPR.
       :doi:`10.1109/CVPR.2010.5539928`

    Examples
    --------
    >>> from sklearn_cmh.datasets import make_multimodal_classification
    >>> from sklearn_cmh.shallow import CMSSH
    >>> X, y = make_multimodal_classification(n_samples=200, random_state=0)
    >>> hasher = CMSSH(n_bits=16, n_pairs=2000, random_state=0).fit(X, y)
    >>> hasher.encode(X, modality="text").shape
    (200, 16)
    """

    n_pairs: int = 20_000
    boosting: Literal["adaboost", "constant"] = "adaboost"

    _parameter_constraints = {
        "n_pairs": [Interval(Integral, 2, None, closed="left")],
        "boosting": [StrOptions({"adaboost", "constant"})],
    }
    _paper_grid = {"n_pairs": [2_000, 20_000], "boosting": ["adaboost", "constant"]}
    _is_baseline = True
    _needs_pairs = True

    def _solve(self, features, L, rng):
        check_paired("CMSSH", features, at_most=2)
        F = list(features.values())
        means = [column_means(f) for f in F]
        X = [dense(f).astype(np.float64) - mean for f, mean in zip(F, means, strict=True)]
        pairs = draw_pairs(L, self.n_pairs, rng)
        U, cuts, losses = boost(X, pairs, self.n_bits, self.boosting)
        offsets = [mean @ u + cut for mean, u, cut in zip(means, U, cuts, strict=True)]
        total = sum(project(f, u, offset) for f, u, offset in zip(F, U, offsets, strict=True))
        return Solution(sign(total), U, losses[-1:], 1, offsets)
