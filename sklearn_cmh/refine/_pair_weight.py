"""The choice of the pair weight: what classes lose by it against what own pairs gain."""

from itertools import permutations

import numpy as np

from ._bits import choose_bits
from ._search import retrieval_score

__all__ = [
    "INITIAL_WEIGHT",
    "candidate_weights",
    "held_out_pairs",
    "least_good_weight",
    "weight_scores",
]

_WEIGHTS = (0.1, 0.15, 0.2, 0.3, 0.5, 0.7)
# What features are chosen by, before pairs are weighed.
INITIAL_WEIGHT = 0.1
# What own pairs count beside classes: twice their reciprocal rank is worth 2 % of class mAP.
_PAIR_WORTH = 0.03
# Scores of one weight differ by as much between draws of the rows that are scored.
_LEVEL = 0.01
# As many codes, as a share of the rows, tell things apart.
_TOLD_APART = 2 / 3


def candidate_weights(n_bits):
    """Pair weights to choose from, the least first.

    By a weight p, the own pair is nearer than others by some ``p * n_bits`` bits, and fewer than
    six do not stand out. So the shorter the codes, the more weight it takes to tell rows apart.

    Examples
    --------
    >>> from sklearn_cmh.refine._pair_weight import candidate_weights
    >>> candidate_weights(64)
    [0.1, 0.15, 0.2, 0.3, 0.5, 0.7]
    >>> candidate_weights(16)
    [0.3, 0.5, 0.7]
    """
    return [p for p in _WEIGHTS if p >= _weight_of_bits(6, n_bits)]


def _weight_of_bits(n_nearer, n_bits):
    """Weight by which the own pair is nearer by some bits, and enough for short codes."""
    return min(n_nearer / n_bits, 0.3)


def least_good_weight(weights, scores, distinct, n_bits):
    """The least weight by which codes tell rows apart, and score as well as by any other such.

    Every weight takes bits from the classes. Codes tell rows apart where there are two thirds as
    many codes as rows, or own pairs are nearer by eight bits.

    Parameters
    ----------
    weights : sequence of float
        From `candidate_weights`.
    scores : sequence of float
        Of `weight_scores`; those within a hundredth of the best are as good.
    distinct : sequence of float
        Distinct codes, as a share of the rows.
    n_bits : int
        Bits of the codes.

    Returns
    -------
    weight : float
        One of them.

    Examples
    --------
    >>> from sklearn_cmh.refine._pair_weight import least_good_weight
    >>> least_good_weight([0.1, 0.15, 0.2], [0.548, 0.55, 0.551], [0.7, 0.8, 0.9], 64)
    0.1
    >>> least_good_weight([0.1, 0.15, 0.2], [0.548, 0.55, 0.551], [0.4, 0.5, 0.6], 64)
    0.15
    >>> least_good_weight([0.1, 0.15, 0.2], [0.540, 0.541, 0.551], [0.7, 0.8, 0.9], 64)
    0.2
    """
    weights, scores, distinct = map(np.asarray, (weights, scores, distinct))
    enough = (distinct >= _TOLD_APART) | (weights >= _weight_of_bits(8, n_bits))
    good = enough & (scores >= (1 - _LEVEL) * scores[enough].max())
    return float(weights[good.argmax()])


def held_out_pairs(n_scored, rng):
    """Positions of a third of the scored rows: the space of the pairs shall not know theirs.

    Pairs that a space has learned from are found more easily than others, and the more of it the
    targets hold, the more so.
    """
    return np.sort(rng.permutation(n_scored)[: n_scored // 3])


def weight_scores(bits, pools, targets, L, n_bits, scored, pairs):
    """Score across modalities of the bits that would be chosen, for every pair weight.

    Parameters
    ----------
    bits : list of list of ndarray of shape (n, p)
        For every pair weight, leave-one-out bits of its pool per modality.
    pools : list of ndarray of shape (n, p)
        For every pair weight, the bits of its pool.
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
    distinct : ndarray of shape (len(targets),)
        Distinct codes of the pools, as a share of the rows.
    """
    scores, distinct = [], []
    for predicted, pool, T in zip(bits, pools, targets, strict=True):
        selected = choose_bits(predicted, T, n_bits)[0]
        codes = [H[scored][:, selected] for H in predicted]
        scores.append(retrieval_score(list(permutations(codes, 2)), L, _PAIR_WORTH, pairs))
        distinct.append(len(np.unique(pool[:, selected], axis=0)) / len(pool))
    return np.array(scores), np.array(distinct)
