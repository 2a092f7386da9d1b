"""Values of every metric for every query, from counts by distance or from rankings.

Each function takes a `Retrieval` and returns the values of the queries, and which
queries have a relevant row in the database; `query_mean` makes one figure of them.
"""

import warnings

import numpy as np
from sklearn.exceptions import UndefinedMetricWarning

__all__ = [
    "average_precision",
    "average_precision_of_runs",
    "harmonic_difference",
    "lookup_precision",
    "ndcg",
    "precision_at_k",
    "precision_by_k",
    "precision_recall",
    "query_mean",
    "recall_at_k",
    "recall_by_k",
    "reciprocal_rank",
]

# A curve over more positions than this is given at evenly spaced ones.
MAX_POSITIONS = 500
# Below this, harmonic numbers are summed; above, their asymptotic series is exact.
_SMALL = 32


def harmonic_difference(N, n):
    """H_{N+n} - H_N of harmonic numbers, for arrays of integers, without cancellation."""
    N = np.asarray(N, dtype=np.float64)
    end = N + n
    table = np.concatenate([[0.0], np.cumsum(1.0 / np.arange(1, _SMALL + 1))])
    low, high = np.minimum(N, _SMALL), np.minimum(end, _SMALL)
    near = table[high.astype(np.intp)] - table[low.astype(np.intp)]
    a, b = np.maximum(N, _SMALL), np.maximum(end, _SMALL)
    return near + np.log1p((b - a) / a) + (_harmonic_tail(b) - _harmonic_tail(a))


def _harmonic_tail(m):
    """H_m - log(m) - Euler's constant, asymptotically: below 1e-17 off for m >= 32."""
    s = 1.0 / (m * m)
    return 0.5 / m - s * (1 / 12 - s * (1 / 120 - s * (1 / 252 - s / 240)))


def _expected_precision_sum(N, R, n, r):
    """Expected sum of the precision at the relevant rows of a run of tied rows.

    The run has `n` rows of which `r` are relevant, in random order; `N` rows, `R` of
    them relevant, come before it.
    """
    slope = (r - 1) / np.maximum(n - 1, 1)
    first = (R + 1 - slope * (N + 1)) * harmonic_difference(N, n)
    return r / n * (slope * n + first)


def _tied_average_precision(counts, k):
    """Expected average precision of a block of queries from their histograms."""
    n = counts.sum(axis=2)
    r = counts[:, :, 1:].sum(axis=2)
    N, R = np.cumsum(n, axis=1) - n, np.cumsum(r, axis=1) - r
    sums = np.zeros(n.shape)
    some = r > 0
    sums[some] = _expected_precision_sum(N[some], R[some], n[some], r[some])
    n_relevant = r.sum(axis=1)
    if k is None or k >= n[0].sum():
        return sums.sum(axis=1) / np.maximum(n_relevant, 1), n_relevant > 0
    sums[N + n > k] = 0.0
    values = sums.sum(axis=1)
    cut = ((N < k) & (N + n >= k)).argmax(axis=1)
    for i, j in enumerate(cut):
        # The run that position k falls in: a random number of its relevant rows is retrieved.
        m = k - N[i, j]
        hits, chance = _hypergeometric(n[i, j], r[i, j], m)
        run = _expected_precision_sum(N[i, j], R[i, j], m, hits)
        values[i] = chance @ ((values[i] - sums[i, j] + run) / np.maximum(R[i, j] + hits, 1))
    return values, n_relevant > 0


def average_precision_of_runs(relevant, starts):
    """Expected average precision of one whole ranking in which runs of rows are tied.

    `relevant` (n,) says which rows are relevant, in the order of the ranking, `starts` where
    each run begins. It is 0 where nothing is relevant.
    """
    n = np.diff(starts, append=len(relevant))
    r = np.add.reduceat(relevant, starts, dtype=np.intp)
    some = r > 0
    R = np.cumsum(r) - r
    sums = _expected_precision_sum(starts[some], R[some], n[some], r[some])
    return sums.sum() / max(r.sum(), 1)


def _hypergeometric(n, r, m):
    """Distribution of the relevant rows among `m` drawn out of `n` rows with `r` relevant."""
    hits = np.arange(max(0, m - (n - r)), min(r, m) + 1, dtype=np.float64)
    before = hits[:-1]
    ratio = (r - before) * (m - before) / ((before + 1) * (n - r - m + before + 1))
    log_chance = np.concatenate([[0.0], np.cumsum(np.log(ratio))])
    chance = np.exp(log_chance - log_chance.max())
    return hits, chance / chance.sum()


def _average_precision_within(counts, radius):
    """Expected average precision of the rows within a radius, of a block of queries."""
    values, _ = _tied_average_precision(counts[:, : radius + 1], None)
    return values, counts[:, :, 1:].any(axis=(1, 2))


def _ranked_average_precision(shared, k):
    """Average precision of one ranking, and whether anything is relevant."""
    relevant = shared > 0
    positions = np.flatnonzero(relevant[:k])
    if not len(positions):
        return 0.0, relevant.any()
    return np.mean(np.arange(1, len(positions) + 1) / (positions + 1)), True


def average_precision(retrieval, k, ties, radius=None):
    """Average precision of the first k rows, of those within a radius, or of all."""
    values = np.empty(retrieval.n_queries)
    has_relevant = np.empty(retrieval.n_queries, dtype=bool)
    if ties == "expected":
        for block, counts in retrieval.histograms():
            values[block], has_relevant[block] = (
                _tied_average_precision(counts, k)
                if radius is None
                else _average_precision_within(counts, radius)
            )
        return values, has_relevant
    ends = [k] * retrieval.n_queries if radius is None else _rows_within(retrieval, radius)
    for i, shared in retrieval.rankings():
        values[i], has_relevant[i] = _ranked_average_precision(shared, ends[i])
    return values, has_relevant


def _rows_within(retrieval, radius):
    """Number of rows within the radius of every query."""
    parts = [counts[:, : radius + 1].sum(axis=(1, 2)) for _, counts in retrieval.histograms()]
    return np.concatenate(parts)


def reciprocal_rank(retrieval, k, ties):
    """(Expected) reciprocal rank of the first relevant row, 0 beyond rank k."""
    values = np.zeros(retrieval.n_queries)
    has_relevant = np.empty(retrieval.n_queries, dtype=bool)
    k = k or retrieval.n_database
    if ties == "index":
        for i, shared in retrieval.rankings():
            first = int((shared > 0).argmax()) if len(shared) else 0
            has_relevant[i] = first < len(shared) and shared[first] > 0
            values[i] = has_relevant[i] / (first + 1) if first < k else 0.0
        return values, has_relevant
    for block, counts in retrieval.histograms():
        n, r = counts.sum(axis=2), counts[:, :, 1:].sum(axis=2)
        has_relevant[block] = r.any(axis=1)
        rows = np.arange(len(r)), (r > 0).argmax(axis=1)
        runs = np.stack([np.cumsum(n, axis=1)[rows] - n[rows], n[rows], r[rows]], axis=1)
        distinct, which = np.unique(runs, axis=0, return_inverse=True)
        ranks = [_first_reciprocal_rank(run, k) for run in distinct.tolist()]
        values[block] = np.array(ranks)[which.reshape(-1)]
    return values, has_relevant


def _first_reciprocal_rank(run, k):
    """Expected reciprocal rank of the first relevant row of a run of tied rows.

    The run (N, n, r) has `n` rows of which `r` are relevant, and `N` others before it. The
    first relevant row is at place j of the run where the j - 1 before it are others, with
    chance C(n - j, r - 1) / C(n, r). Zero beyond rank k.
    """
    N, n, r = run
    if r == 0:
        return 0.0
    j = np.arange(1, min(n - r + 1, k - N) + 1)
    before = j[:-1]
    chance = r / n * np.cumprod(np.append(1.0, (n - r - before + 1) / (n - before))[: len(j)])
    return chance @ (1.0 / (N + j))


def _hits_at_k(retrieval, k, ties):
    """(Expected) number of relevant rows among the first k, and of all relevant rows."""
    hits = np.empty(retrieval.n_queries)
    n_relevant = np.empty(retrieval.n_queries, dtype=np.intp)
    if ties == "index":
        for i, shared in retrieval.rankings():
            hits[i], n_relevant[i] = np.count_nonzero(shared[:k]), np.count_nonzero(shared)
        return hits, n_relevant
    for block, counts in retrieval.histograms():
        n, r = counts.sum(axis=2), counts[:, :, 1:].sum(axis=2)
        N = np.cumsum(n, axis=1) - n
        drawn = np.clip(k - N, 0, n)
        hits[block] = (r * (drawn / np.maximum(n, 1))).sum(axis=1)
        n_relevant[block] = r.sum(axis=1)
    return hits, n_relevant


def precision_at_k(retrieval, k, ties):
    k = min(k or retrieval.n_database, retrieval.n_database)
    hits, n_relevant = _hits_at_k(retrieval, k, ties)
    return hits / max(k, 1), n_relevant > 0


def recall_at_k(retrieval, k, ties):
    hits, n_relevant = _hits_at_k(retrieval, k or retrieval.n_database, ties)
    return hits / np.maximum(n_relevant, 1), n_relevant > 0


def lookup_precision(retrieval, radius):
    values = np.empty(retrieval.n_queries)
    has_relevant = np.empty(retrieval.n_queries, dtype=bool)
    for block, counts in retrieval.histograms():
        relevant = counts[:, :, 1:]
        within = counts[:, : radius + 1].sum(axis=(1, 2))
        values[block] = relevant[:, : radius + 1].sum(axis=(1, 2)) / np.maximum(within, 1)
        has_relevant[block] = relevant.any(axis=(1, 2))
    return values, has_relevant


def ndcg(retrieval, k, ties):
    values = np.empty(retrieval.n_queries)
    has_relevant = np.empty(retrieval.n_queries, dtype=bool)
    discount = 1.0 / np.log2(np.arange(retrieval.n_database) + 2.0)
    discount[k or retrieval.n_database :] = 0.0
    discounted = np.concatenate([[0.0], np.cumsum(discount)])
    grades = np.arange(retrieval.shared.n_levels)
    if ties == "index":
        for i, shared in retrieval.rankings():
            ideal = -np.sort(-shared.astype(np.float64)) @ discount
            values[i], has_relevant[i] = shared @ discount / (ideal or 1.0), ideal > 0
        return values, has_relevant
    for block, counts in retrieval.histograms():
        n = counts.sum(axis=2)
        last = np.cumsum(n, axis=1)
        gain = counts @ grades / np.maximum(n, 1) * (discounted[last] - discounted[last - n])
        best = counts.sum(axis=1)[:, ::-1]
        last = np.cumsum(best, axis=1)
        ideal = (discounted[last] - discounted[last - best]) @ grades[::-1]
        has_relevant[block] = ideal > 0
        values[block] = gain.sum(axis=1) / np.where(ideal > 0, ideal, 1.0)
    return values, has_relevant


def query_mean(values, has_relevant, no_relevant, sample_weight=None):
    """Mean over queries by the rule for those without a relevant row, whose value is 0."""
    counted = has_relevant if no_relevant == "skip" else np.ones_like(has_relevant)
    if sample_weight is not None:
        counted = counted & (sample_weight > 0)
    if not counted.any():
        of_weight = "" if sample_weight is None else " of positive weight"
        warnings.warn(
            f"No query{of_weight} has a relevant row in the database, so the metric is undefined: "
            "NaN. Check that queries and database share labels, or pass no_relevant='zero'.",
            UndefinedMetricWarning,
            stacklevel=3,
        )
        return np.full(values.shape[1:], np.nan)[()]
    weights = None if sample_weight is None else sample_weight[counted]
    mean = np.average(values[counted], axis=0, weights=weights)
    return mean if values.ndim > 1 else float(mean)


def precision_recall(retrieval, no_relevant, sample_weight=None):
    """Mean precision and recall within every radius."""
    weights = np.ones(retrieval.n_queries) if sample_weight is None else sample_weight
    precision = recall = 0.0
    counted = 0.0
    for block, counts in retrieval.histograms():
        weight = weights[block]
        found = np.cumsum(counts.sum(axis=2), axis=1)
        hits = np.cumsum(counts[:, :, 1:].sum(axis=2), axis=1)
        precision = precision + weight @ (hits / np.maximum(found, 1))
        recall = recall + weight @ (hits / np.maximum(hits[:, -1:], 1))
        counted += weight.sum() if no_relevant == "zero" else weight @ (hits[:, -1] > 0)
    # Queries without a relevant row have added 0 to both sums.
    sums = np.stack([precision, recall])
    if counted == 0:
        none = np.zeros(len(weights), dtype=bool)
        return np.full_like(sums, query_mean(none[:, None], none, "skip", sample_weight)[0])
    return sums / counted


def precision_by_k(retrieval, max_k, ties, no_relevant):
    """Positions k and the mean precision of the first k rows, in one pass over the database."""
    k, hits, n_relevant = _hits_by_k(retrieval, max_k, ties)
    return k, query_mean(hits / k, n_relevant > 0, no_relevant)


def recall_by_k(retrieval, max_k, ties, no_relevant):
    """Positions k and the mean recall of the first k rows, in one pass over the database."""
    k, hits, n_relevant = _hits_by_k(retrieval, max_k, ties)
    return k, query_mean(hits / np.maximum(n_relevant, 1)[:, None], n_relevant > 0, no_relevant)


def _hits_by_k(retrieval, max_k, ties):
    """Positions k, (expected) hits among the first k rows per query, and all relevant rows."""
    last = min(max_k or retrieval.n_database, retrieval.n_database)
    k = np.unique(np.linspace(1, last, min(last, MAX_POSITIONS)).round().astype(np.intp))
    hits = np.empty((retrieval.n_queries, len(k)))
    n_relevant = np.empty(retrieval.n_queries, dtype=np.intp)
    if ties == "index":
        for i, shared in retrieval.rankings():
            found = np.cumsum(shared > 0)
            hits[i], n_relevant[i] = found[k - 1], found[-1]
        return k, hits, n_relevant
    for block, counts in retrieval.histograms():
        rows = np.cumsum(counts.sum(axis=2), axis=1)
        found = np.cumsum(counts[:, :, 1:].sum(axis=2), axis=1)
        n_relevant[block] = found[:, -1]
        # Within a run of tied rows, the expected number of hits grows evenly.
        for i, N, R in zip(range(block.start, block.stop), rows, found, strict=True):
            hits[i] = np.interp(k, np.append(0, N), np.append(0, R))
    return k, hits, n_relevant
