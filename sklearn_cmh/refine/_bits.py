"""The choice of bits that hash functions can predict: a criterion, and its maximisation."""

import warnings
from itertools import combinations_with_replacement

import numpy as np

from ..solvers import Targets, cross

__all__ = ["bit_alignment", "choose_bits", "greedy_bits", "selection_terms", "swap_bits"]


def selection_terms(bits, T):
    """Linear and quadratic term of the criterion by which bits are chosen.

    For a pair of modalities with codes H_1, H_2 (column-centred: H_1c, H_2c), a set w
    of bits predicts the similarities ``S = T T'`` by the cross products ``K = H_1[:, w]
    H_2c[:, w]'`` and ``K' = H_1c[:, w] H_2[:, w]'``, free of row or column offsets. The
    alignment (<K, S> + <K', S>) / sqrt(||K||^2 + ||K'||^2) is ``q[w].sum() /
    sqrt(G[w][:, w].sum())``; pairs of modalities add up. No n x n matrix is formed.

    Parameters
    ----------
    bits : list of {ndarray, ChunkedRows} of shape (n, p)
        Codes in {-1, +1} of the same rows and pool of bits, per modality. A single
        modality is paired with itself.
    T : {ndarray, sparse array, Targets} of shape (n, t)
        Factor of the similarities: label rows of unit norm, for instance.

    Returns
    -------
    q : ndarray of shape (p,)
        Linear term.
    G : ndarray of shape (p, p)
        Quadratic term, symmetric positive semi-definite.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_cmh.refine._bits import selection_terms
    >>> T = np.array([[1, 0], [1, 0], [0, 1], [0, 1]])
    >>> good, bad = [1, 1, -1, -1], [1, -1, 1, -1]
    >>> q, G = selection_terms([np.transpose([good, bad])], T)
    >>> q
    array([16.,  0.])
    """
    n, p = bits[0].shape
    moments, targets = [], []
    pool, totals = _sums(T)
    for H in bits:
        mean = H.mean(axis=0, dtype=np.float64)
        # Products of signs are counts: exact in float32 for as many rows as a block has.
        second = cross(H, H, dtype=np.float32)
        moments.append((second, second - n * np.outer(mean, mean)))
        labels = np.asarray(pool(H), dtype=np.float64).T
        targets.append((labels, labels - np.outer(mean, totals)))
    q, G = np.zeros(p), np.zeros((p, p))
    for i, j in combinations_with_replacement(range(len(bits)), 2):
        if i == j and len(bits) > 1:
            continue
        q += (targets[i][0] * targets[j][1] + targets[i][1] * targets[j][0]).sum(axis=1)
        G += moments[i][0] * moments[j][1] + moments[i][1] * moments[j][0]
    return q, G


def _sums(T):
    """``A -> T'A``, and the column sums of T."""
    if isinstance(T, Targets):
        return T.pool, T.sum()
    totals = np.asarray(T.sum(axis=0), dtype=np.float64).ravel()
    return (lambda A: T.T @ A.astype(np.float64)), totals


def bit_alignment(q, G, selected):
    """Criterion of a set of bits; zero where its bits are constant.

    Parameters
    ----------
    q, G : ndarray of shape (p,), (p, p)
        From `selection_terms`.
    selected : sequence of int
        The set.

    Returns
    -------
    alignment : float
        Larger is better.
    """
    norm = G[np.ix_(selected, selected)].sum()
    return float(q[selected].sum() / np.sqrt(norm)) if norm > 0 else 0.0


def _extended(q, G, total, cross, norm):
    """Criterion of a set, of sums (total, norm), with each bit of the pool added."""
    norms = norm + 2.0 * cross + G.diagonal()
    return np.divide(
        total + q, np.sqrt(np.maximum(norms, 0.0)), out=np.zeros_like(q), where=norms > 0
    )


def greedy_bits(q, G, n_bits):
    """Choose `n_bits` bits one by one, each the best addition to those before.

    Bits that are constant in every modality come last, with a warning: the criterion does
    not see them, and would prefer them to any bit that lowers it by a hair.

    Parameters
    ----------
    q, G : ndarray of shape (p,), (p, p)
        From `selection_terms`.
    n_bits : int
        How many, at most p.

    Returns
    -------
    selected : ndarray of shape (n_bits,), intp
        Distinct positions in the pool, in the order of their choice.
    """
    varied = G.diagonal() > 0
    if varied.sum() < n_bits:
        warnings.warn(
            f"Only {varied.sum()} of the {len(q)} bits to choose from vary between rows, so "
            f"{n_bits - varied.sum()} of n_bits={n_bits} are constant and carry nothing. Lower "
            "n_bits, or choose from more bits."
        )
    selected: list[int] = []
    free = np.ones(len(q), dtype=bool)
    cross = np.zeros_like(q)
    for _ in range(n_bits):
        total, norm = q[selected].sum(), cross[selected].sum()
        candidates = free & varied if (free & varied).any() else free
        gains = np.where(candidates, _extended(q, G, total, cross, norm), -np.inf)
        best = int(gains.argmax())
        selected.append(best)
        free[best] = False
        cross += G[:, best]
    return np.array(selected, dtype=np.intp)


def swap_bits(q, G, selected, max_passes=3):
    """Exchange bits of a set for better ones while that raises the criterion.

    No constant bit comes in, as in `greedy_bits`.

    Parameters
    ----------
    q, G : ndarray of shape (p,), (p, p)
        From `selection_terms`.
    selected : sequence of int
        The set to start from.
    max_passes : int, default=3
        Passes over the set; the search ends with the first pass without an exchange.

    Returns
    -------
    selected : ndarray of int
        A set of the same size that is at least as good.
    """
    selected = np.array(selected, dtype=np.intp)
    varied = G.diagonal() > 0
    free = varied.copy()
    free[selected] = False
    for _ in range(max_passes):
        changed = False
        for position, bit in enumerate(selected):
            others = np.delete(selected, position)
            cross = G[:, others].sum(axis=1)
            gains = _extended(q, G, q[others].sum(), cross, cross[others].sum())
            best = int(np.where(free, gains, -np.inf).argmax())
            if free[best] and gains[best] > gains[bit] + 1e-12 * abs(gains[bit]):
                selected[position] = best
                free[[bit, best]] = varied[bit], False
                changed = True
        if not changed:
            break
    return selected


def choose_bits(bits, T, n_bits):
    """Bits whose predictions align best with the similarity of the targets.

    Parameters
    ----------
    bits, T
        As in `selection_terms`.
    n_bits : int
        How many, at most p.

    Returns
    -------
    selected : ndarray of shape (n_bits,), intp
        Positions in the pool.
    alignments : ndarray of shape (2,)
        The criterion after the greedy choice, and after exchanges.
    """
    q, G = selection_terms(bits, T)
    greedy = greedy_bits(q, G, n_bits)
    selected = swap_bits(q, G, greedy)
    return selected, np.array([bit_alignment(q, G, s) for s in (greedy, selected)])
