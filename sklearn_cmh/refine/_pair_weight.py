"""The choice of the pair weight: what classes lose by it against what own pairs gain."""

from itertools import permutations

import numpy as np

from ._bits import choose_bits
from ._search import retrieval_score

__all__ = ["INITIAL_WEIGHT", "WEIGHTS", "weight_scores"]

# Candidates, and what the features are chosen by.
WEIGHTS = (0.2, 0.3, 0.5, 0.7)
INITIAL_WEIGHT = 0.1
# What own pairs count beside classes: twice their reciprocal rank is worth 2 % of class mAP.
PAIR_WORTH = 0.03


def weight_scores(bits, targets, L, n_bits, scored):
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

    Returns
    -------
    scores : ndarray of shape (len(targets),)
        By `retrieval_score`, with pairs counting as `PAIR_WORTH` says.
    """
    scores = []
    for pool, T in zip(bits, targets, strict=True):
        selected = choose_bits(pool, T, n_bits)[0]
        codes = [H[scored][:, selected] for H in pool]
        scores.append(retrieval_score(list(permutations(codes, 2)), L, PAIR_WORTH))
    return np.array(scores)
