"""CVH: cross-view hashing.

S. Kumar and R. Udupa, "Learning Hash Functions for Cross-View Similarity Search", IJCAI 2011.
Written from the published description. Of its similarities between things, the one that pairs alone
tell: a thing is like itself (W = I, section 3.2). With centred features F_m of n rows and signs
relaxed, the mean Hamming distance between the views of a thing becomes

    min  sum_{l < m} ||F_l A_l - F_m A_m||^2 / n   subject to  sum_m A_m'F_m'F_m A_m = n M I

whose solutions are generalised eigenvectors; of two views, canonical directions of each (the
division by M is a choice of scale, of which signs know nothing). No n x n matrix is formed, and one
eigendecomposition of features by features is all.
"""

from collections.abc import Mapping
from numbers import Real

import numpy as np

from ..base import DirectMixin, Learning, LinearHasher, Solution, modality_weights, parametrised
from ..solvers import canonical_bases, centred_grams, column_means, project, sign
from ..utils._sklearn import Interval
from ._pairs import check_paired

__all__ = ["CVH"]


def objective(grams, bases):
    """Mean over rows of squared distances between the projections of a row, over all pairs."""
    covariances = {(i, j): (bases[i] * (G @ bases[j])).sum() for (i, j), G in grams.items()}
    return sum(
        covariances[i, i] + covariances[j, j] - 2 * covariances[i, j]
        for i, j in covariances
        if i != j
    )


@parametrised
class CVH(DirectMixin, LinearHasher):
    """Cross-view hashing: signs of canonical directions, from pairs, without labels.

    A baseline [1]_. Labels are used for nothing but `score`. There are no more useful bits than the
    modalities have directions in common, at most as many as the narrowest has columns; the others
    are constant.

    Parameters
    ----------
    regularisation : float or dict, default=1e-4
        Ridge, as a multiple of the mean eigenvalue of a modality's features, or a {name: ridge}
        dict. The paper has none, which canonical correlation of hundreds of columns needs.

    Attributes
    ----------
    correlations_ : ndarray of shape (n_components,)
        In-sample correlations of the directions.
    offsets_ : dict
        Modality name to the thresholds (n_bits,) of its hash function.

    See Also
    --------
    CCAITQ : Rotates the same directions, so that all bits are useful.
    sklearn_cmh.SharedSpace : Directions weighted by their correlation in rows left out.

    References
    ----------
    .. [1] Kumar, S. and Udupa, R. (2011). Learning hash functions for cross-view similarity search.
       IJCAI. `ACM 2283516.2283623 <https://dl.acm.org/doi/10.5555/2283516.2283623>`__

    Examples
    --------
    >>> from sklearn_cmh.datasets import make_multimodal_classification
    >>> from sklearn_cmh.shallow import CVH
    >>> X, y = make_multimodal_classification(n_samples=200, random_state=0)
    >>> CVH(n_bits=4).fit(X).encode(X, modality="text").shape
    (200, 4)
    """

    regularisation: float | Mapping[str, float] = 1e-4

    _parameter_constraints = {"regularisation": [Interval(Real, 0, None, closed="left"), dict]}
    _paper_grid = {"regularisation": [1e-4, 1e-2, 1.0]}
    _is_baseline = True
    _needs_pairs = True

    def _learning(self):
        return Learning(needs_labels=False, from_unlabelled=True)

    def _solve(self, features, L, rng):
        check_paired("CVH", features)
        F = list(features.values())
        ridges = modality_weights(self.regularisation, list(features), "regularisation")
        means = [column_means(f) for f in F]
        grams = centred_grams(F, means)
        bases, correlations = canonical_bases(grams, ridges, self.n_bits)
        value = objective(grams, bases)
        # Bits beyond the rank are constant.
        bases = [np.pad(A, ((0, 0), (0, self.n_bits - A.shape[1]))) for A in bases]
        offsets = [mean @ A for mean, A in zip(means, bases, strict=True)]
        total = sum(project(f, A, offset) for f, A, offset in zip(F, bases, offsets, strict=True))
        return Solution(
            sign(total), bases, [value], 1, offsets, extras={"correlations_": correlations}
        )
