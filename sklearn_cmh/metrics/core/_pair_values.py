"""Values per query where the one relevant row is the query's partner, in closed form.

In a random order of tied rows the partner is equally likely at each of their places:
`nearer` + 1 to `nearer` + `tied`.
"""

import numpy as np

from ._per_query import harmonic_difference

__all__ = ["recall_at_k", "reciprocal_rank"]


def places(retrieval, ties):
    """Rows before the places where the partner may be, and how many such places there are."""
    nearer, tied, earlier = retrieval.own_places()
    if ties == "index":
        return nearer + earlier, np.ones_like(tied)
    return nearer, tied


def recall_at_k(retrieval, k, ties):
    """Chance that the partner is among the first k rows."""
    before, n_places = places(retrieval, ties)
    k = k or retrieval.n_database
    return np.clip(k - before, 0, n_places) / n_places, np.ones(len(before), dtype=bool)


def reciprocal_rank(retrieval, k, ties):
    """Expected reciprocal rank of the partner, 0 beyond rank k; also its average precision."""
    before, n_places = places(retrieval, ties)
    n_counted = np.clip((k or retrieval.n_database) - before, 0, n_places)
    values = harmonic_difference(before, n_counted) / n_places
    return values, np.ones(len(before), dtype=bool)
