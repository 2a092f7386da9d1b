"""The choice of the pair weight: as much of the pairing as costs next to no class mAP."""

import math
from itertools import permutations

import numpy as np

from ._bits import choose_bits
from ._search import class_map

__all__ = ["candidate_weights", "class_scores", "largest_worth"]

# What pairs get at least, of 64 bits; the guide has what that gains and costs.
_LEAST, _BITS = 0.1, 64
# By how much it may be raised, and the share of class mAP that a raise may cost.
_RAISES = (1.0, 1.5, 2.0, 3.0)
_COST = 0.002


def candidate_weights(n_bits):
    """Pair weights to choose from, the least first.

    A tenth of 64 bits tells the rows of a class apart, a tenth of 16 bits hardly: the shorter the
    codes, the larger the least share.

    Examples
    --------
    >>> from sklearn_cmh.refine._pair_weight import candidate_weights
    >>> candidate_weights(64)
    [0.1, 0.15, 0.2, 0.3]
    >>> candidate_weights(16)
    [0.2, 0.3, 0.4, 0.5]
    """
    least = min(_LEAST * math.sqrt(_BITS / min(n_bits, _BITS)), 0.3)
    return list(dict.fromkeys(round(min(least * raised, 0.5), 3) for raised in _RAISES))


def class_scores(bits, targets, L, n_bits, scored):
    """Class mAP across modalities of the bits that would be chosen, for every pair weight.

    Parameters
    ----------
    bits : list of ndarray of shape (n, len(targets) * p)
        Leave-one-out bits per modality: a pool of p bits for each of the targets, side by side.
    targets : list of Targets of shape (n, t)
        Targets of every pair weight.
    L : csr_array of shape (len(scored), c)
        Labels of the scored rows.
    n_bits : int
        Bits to choose from a pool.
    scored : ndarray of int
        The rows that retrieve one another.

    Returns
    -------
    scores : list of float
        One per targets.
    """
    pools = zip(*(np.split(H, len(targets), axis=1) for H in bits), strict=True)
    scores = []
    for T, pool in zip(targets, pools, strict=True):
        selected = choose_bits(pool, T, n_bits)[0]
        codes = [H[scored][:, selected] for H in pool]
        scores.append(np.mean([class_map(*pair, L) for pair in permutations(codes, 2)]))
    return scores


def largest_worth(weights, scores):
    """The largest pair weight whose score is within 0.2 per cent of the least one's.

    Examples
    --------
    >>> from sklearn_cmh.refine._pair_weight import largest_worth
    >>> largest_worth([0.1, 0.15, 0.2], [0.8, 0.799, 0.79])
    0.15
    """
    floor = (1 - _COST) * scores[0]
    return max(p for p, score in zip(weights, scores, strict=True) if score >= floor)
