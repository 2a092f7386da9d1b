"""The choice of the pair weight: what classes lose by it against what own pairs gain."""

from itertools import permutations

import numpy as np

from ._bits import choose_bits
from ._search import retrieval_score

__all__ = ["INITIAL_WEIGHT", "candidate_weights", "held_out_pairs", "weight_scores"]

_WEIGHTS = (0.1, 0.15, 0.2, 0.3, 0.5, 0.7)
# What features are chosen by, before pairs are weighed.
INITIAL_WEIGHT = 0.1
# What own pairs count beside classes: twice their reciprocal rank is worth 2 % of class mAP.
_PAIR_WORTH = 0.03


def candidate_weights(n_bits):
    """Pair weights to choose from, the least first.

    By a weight p, the own pair is nearer than others by some ``p * n_bits`` bits, and fewer than
    eight do not stand out. So the shorter the codes, the more weight it takes to tell rows apart.

    Examples
    --------
    >>> from sklearn_cmh.refine._pair_weight import candidate_weights
    >>> candidate_weights(64)
    [0.15, 0.2, 0.3, 0.5, 0.7]
    >>> candidate_weights(16)
    [0.3, 0.5, 0.7]
    """
    least = min(8 / n_bits, 0.3)
    return [p for p in _WEIGHTS if p >= least]


def held_out_pairs(n_scored, rng):
    """Positions of a third of the scored rows: the space of the pairs shall not know theirs.

    Pairs that a space has learned from are found more easily than others, and the more of it the
    targets hold, the more so.
    """
    return np.sort(rng.permutation(n_scored)[: n_scored // 3])


def weight_scores(bits, targets, L, n_bits, scored, pairs):
    """Score across modalities of the bits that would be chosen, for every pair weight.

    Parameters
    ----------
    bits : list of list of ndarray of shape (n, p)
        For every pair weight, leave-one-out bits of its pool per modality.
    targets : list of Targets of shape (n, t)
        Targets of every pair weight.
    L : csr_array of shape (len(scored), c)
        Labels of the scored rows.
    n_bits : int
        Bits to choose from a pool.
    scored : ndarray of int
        The rows that retrieve one another.
    pairs : ndarray of int
        Those of them, by position, that retrieve their own pairs.

    Returns
    -------
    scores : ndarray of shape (len(targets),)
        By `retrieval_score`, with pairs counting as `_PAIR_WORTH` says.
    """
    scores = []
    for pool, T in zip(bits, targets, strict=True):
        selected = choose_bits(pool, T, n_bits)[0]
        codes = [H[scored][:, selected] for H in pool]
        scores.append(retrieval_score(list(permutations(codes, 2)), L, _PAIR_WORTH, pairs))
    return np.array(scores)
