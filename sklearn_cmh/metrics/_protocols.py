"""Classes seen and never seen, the thing itself, and transfer: one table per estimator."""

from __future__ import annotations

from itertools import permutations
from numbers import Integral
from time import perf_counter
from typing import Any

import numpy as np
from sklearn.base import clone
from sklearn.utils import check_consistent_length, gen_batches
from sklearn.utils.parallel import Parallel, delayed

from ..data import encode_labels, labelled_rows
from ..hamming import block_rows
from ..utils._sklearn import HasMethods, Interval, safe_indexing, validate_params
from ..utils._typing import Labels, MatrixLike, NDArray
from .core import find_hasher, per_query_values

__all__ = ["ProtocolTable", "retrieval_protocols"]


class ProtocolTable(dict):
    """What `retrieval_protocols` returns: name of a figure to its value in every split.

    It is a dict of arrays, which :class:`pandas.DataFrame` takes as it is, and prints as a
    table of means and standard deviations.

    See Also
    --------
    retrieval_protocols : Makes it.
    """

    def mean(self) -> dict[str, float]:
        """Mean of every figure over the splits that have it.

        Returns
        -------
        means : dict
            Name to mean; NaN where no split has the figure.
        """
        return {name: _of_finite(np.mean, values) for name, values in self.items()}

    def std(self) -> dict[str, float]:
        """Standard deviation of every figure over the splits that have it.

        Returns
        -------
        deviations : dict
            Name to standard deviation; NaN where no split has the figure.
        """
        return {name: _of_finite(np.std, values) for name, values in self.items()}

    def to_frame(self) -> Any:
        """The table with a row per split.

        Returns
        -------
        frame : pandas DataFrame
            A column per figure.
        """
        import pandas as pd

        return pd.DataFrame(dict(self)).rename_axis("split")

    def __repr__(self):
        mean, std = self.mean(), self.std()
        width = max(len(name) for name in self)
        n_splits = len(next(iter(self.values())))
        lines = [f"{'figure':{width}}    mean     std  ({n_splits} splits)"]
        lines += [f"{name:{width}} {mean[name]:7.4g} {std[name]:7.2g}" for name in self]
        return "\n".join(lines)


def _of_finite(statistic, values):
    known = values[np.isfinite(values)]
    return float(statistic(known)) if len(known) else np.nan


@validate_params(
    {
        "estimator": [HasMethods(["fit"])],
        "cv": ["cv_object"],
        "k": [Interval(Integral, 1, None, closed="left")],
        "use_labels": ["boolean"],
        "n_jobs": [Integral, None],
    },
    prefer_skip_nested_validation=False,
)
def retrieval_protocols(
    estimator: Any,
    X: MatrixLike,
    y: Labels,
    *,
    cv: Any = None,
    k: int = 10,
    use_labels: bool = True,
    n_jobs: int | None = None,
) -> ProtocolTable:
    """Figures of held-out rows of seen and unseen classes, as one table.

    The estimator is fitted on the training rows of every split. All test rows are encoded,
    each modality on its own; every figure is the mean over all directions, from one
    modality to another. Where rows are ranked for their classes, a query's own row is left
    out. Ties count by their expectation.

    Parameters
    ----------
    estimator : object
        Hasher, or Pipeline that ends in one; a clone is fitted in every split.
    X : {array-like, sparse, DataFrame, MultimodalData} of shape (n, n_features)
        Rows.
    y : array-like of shape (n,) or {array-like, sparse} of shape (n, c)
        Their labels.
    cv : int, splitter or iterable, default=None
        Splits of the rows. A class that no training row has is unseen. None is
        ``UnseenClassSplit(3, seen_test_size=0.2, random_state=0)``.
    k : int, default=10
        Rows retrieved for the own pair, and neighbours for the transfer.
    use_labels : bool, default=True
        Whether the estimator is fitted with `y`. Figures are by `y` in any case.
    n_jobs : int, default=None
        Splits that are fitted at the same time; None is one, -1 all processors.

    Returns
    -------
    table : ProtocolTable
        Dict of arrays of shape (n_splits,), NaN where a split has no such rows:

        - ``"seen@seen"``, ``"seen@all"``, ``"unseen@unseen"``, ``"unseen@all"``: mean average
          precision of queries @ gallery. Seen rows are test rows all of whose labels are
          seen; unseen rows have a label that is not, and only such labels count for them;
          "all" are both.
        - ``"pair_recall@10"``: share of the test rows whose partner, the same row in the
          other modality, is among the first `k` of all test rows;
          ``"seen_pair_recall@10"`` and ``"unseen_pair_recall@10"``: of these rows among
          themselves.
        - ``"transfer_accuracy"``: how well codes tell unseen classes apart. Every unseen row
          is given the class that has most of the `k` nearest other unseen rows, in the
          other modality; the share of rows that have this class. Rows that tie for the last
          of the `k` places share the votes of these places, and classes that tie share the
          row. It takes two unseen classes.
        - ``"n_train"``, ``"n_seen"``, ``"n_unseen"``, ``"fit_time"``: rows, and seconds.

    See Also
    --------
    sklearn_cmh.model_selection.UnseenClassSplit : Splits that hold classes out.
    make_retrieval_scorer : One figure, for a search.

    Examples
    --------
    >>> from sklearn_cmh import DSAH
    >>> from sklearn_cmh.datasets import make_multimodal_classification
    >>> from sklearn_cmh.metrics import retrieval_protocols
    >>> X, y = make_multimodal_classification(200, n_classes=8, random_state=0)
    >>> table = retrieval_protocols(DSAH(16, n_anchors=40, random_state=0), X, y)
    >>> table["seen@seen"].shape
    (3,)
    >>> table.mean()["seen@seen"] > table.mean()["unseen@all"]
    True
    """
    L, _ = encode_labels(y)
    check_consistent_length(X, L)
    # Imported on use: they load half of scikit-learn.
    from sklearn.model_selection import check_cv

    from ..model_selection import UnseenClassSplit

    if cv is None:
        cv = UnseenClassSplit(3, seen_test_size=0.2, random_state=0)
    splits = check_cv(cv, y).split(X, y)
    rows = Parallel(n_jobs=n_jobs)(
        delayed(_evaluate)(estimator, X, y, L, *split, k, use_labels) for split in splits
    )
    return ProtocolTable({name: np.array([row[name] for row in rows]) for name in rows[0]})


def _evaluate(estimator, X, y, L, train, test, k, use_labels):
    """All figures of one split."""
    train, test = (np.arange(L.shape[0])[rows] for rows in (train, test))
    start = perf_counter()
    fitted = clone(estimator)
    fitted.fit(safe_indexing(X, train), safe_indexing(y, train) if use_labels else None)
    fit_time = perf_counter() - start
    hasher, prepare = find_hasher(fitted)
    X_test = prepare(safe_indexing(X, test))
    codes = [hasher.encode(X_test, modality=name) for name in hasher.modality_names_]
    directions = list(permutations(codes, 2)) or [(codes[0], codes[0])]

    is_seen = L[train].sum(axis=0) > 0
    L_test = L[test]
    L_seen, L_unseen = L_test[:, np.flatnonzero(is_seen)], L_test[:, np.flatnonzero(~is_seen)]
    has_unseen = labelled_rows(L_unseen)
    unseen, seen = np.flatnonzero(has_unseen), np.flatnonzero(labelled_rows(L_test) & ~has_unseen)
    labelled = np.concatenate([seen, unseen])

    def mean(figure, *arguments):
        return float(np.mean([figure(*direction, *arguments) for direction in directions]))

    pair = partner_recall if len(codes) > 1 else _undefined
    everything = np.arange(len(test))
    return {
        "seen@seen": mean(class_precision, L_seen, seen, seen),
        "seen@all": mean(class_precision, L_seen, seen, labelled),
        "unseen@unseen": mean(class_precision, L_unseen, unseen, unseen),
        "unseen@all": mean(class_precision, L_unseen, unseen, labelled),
        f"pair_recall@{k}": mean(pair, everything, k),
        f"seen_pair_recall@{k}": mean(pair, seen, k),
        f"unseen_pair_recall@{k}": mean(pair, unseen, k),
        "transfer_accuracy": mean(neighbour_accuracy, L_unseen, unseen, k),
        "n_train": len(train),
        "n_seen": len(seen),
        "n_unseen": len(unseen),
        "fit_time": fit_time,
    }


def _undefined(*_):
    return np.nan


def class_precision(query_codes, database_codes, L, queries, gallery):
    """Mean average precision of some rows as queries, among `gallery` without the own row."""
    if not len(queries):
        return np.nan
    # Query i is row i of what is ranked.
    ranked = np.concatenate([queries, np.setdiff1d(gallery, queries)])
    values, has_relevant = per_query_values(
        *("map", query_codes[queries], database_codes[ranked], L[queries], L[ranked]),
        exclude_self=True,
    )
    return values[has_relevant].mean() if has_relevant.any() else np.nan


def partner_recall(query_codes, database_codes, rows, k):
    """Share of the rows whose partner is among the first k of these rows."""
    if not len(rows):
        return np.nan
    data = query_codes[rows], database_codes[rows], None, None
    return per_query_values("recall_at_k", *data, k=k)[0].mean()


def neighbour_accuracy(query_codes, database_codes, L, rows, k):
    """Accuracy of the class that most of the k nearest other rows have, in expectation of ties."""
    L = L[rows]
    if np.count_nonzero(L.sum(axis=0)) < 2:
        return np.nan
    queries, database = (
        np.where(codes[rows] > 0, np.float32(1), np.float32(-1))
        for codes in (query_codes, database_codes)
    )
    k = min(k, len(rows) - 1)
    votes_of = L.T.astype(np.float64).tocsr()
    right = 0.0
    for block in gen_batches(len(rows), block_rows(40 * len(rows))):
        # Inner products of codes fall as distances rise, and are whole numbers.
        nearness = queries[block] @ database.T
        own = np.arange(block.start, block.stop)
        nearness[own - block.start, own] = -np.inf
        last = -np.partition(-nearness, k - 1, axis=1)[:, [k - 1]]
        nearer, tied = nearness > last, nearness == last
        places = k - np.count_nonzero(nearer, axis=1)
        share = places / np.count_nonzero(tied, axis=1)
        votes: NDArray = votes_of @ (nearer + share[:, None] * tied).T
        most = votes >= votes.max(axis=0) * (1 - 1e-9)
        right += (most * L[block].toarray().T).sum(axis=0) @ (1 / most.sum(axis=0))
    return right / len(rows)
