"""HammingRanker: exact ranking of packed binary codes with scikit-learn's neighbours interface."""

import warnings
from collections.abc import Iterator
from functools import partial
from numbers import Integral, Real
from typing import Any, Literal

import numpy as np
from sklearn.base import clone
from sklearn.utils import gen_batches
from sklearn.utils.validation import check_is_fitted, validate_data

from ..hamming import (
    block_rows,
    choose_backend,
    compilation_shown,
    first_non_code,
    index_chunks,
    nearest,
    nearest_by_index,
    pack_codes,
    rank_rows,
    with_fallback,
    within_radius,
)
from ..metrics.core import Retrieval, per_query, query_mean
from ..utils._dask import checked_rows, is_dask, nearest_of_chunks, probe
from ..utils._sklearn import Interval, StrOptions
from ..utils._typing import ArrayLike, Labels, MatrixLike, NDArray
from ._base import BaseRanker, Neighbors, append_chunk, ragged, without_own_row
from ._packed import check_spare_bits, count_bits

__all__ = ["HammingRanker"]


class HammingRanker(BaseRanker):
    """Exact nearest rows of binary codes by Hamming distance.

    Parameters
    ----------
    n_neighbors : int, default=5
        Default number of rows for `kneighbors`.
    radius : int, default=2
        Default radius for `radius_neighbors`.
    binarize : float, default=0.0
        A bit is set where a value is larger, so that codes of -1 and +1, of 0 and 1,
        and booleans all work.
    packed : bool, default=False
        Whether codes come packed, as :func:`numpy.packbits` makes them: uint8, eight bits
        each, the spare ones of the last byte zero. A packed database is used as it is:
        neither copied nor unpacked, and read block by block if it is memory-mapped.
    n_bits : int, default=None
        Length of packed codes if it is not a multiple of 8.
    backend : {"auto", "numpy", "numba", "faiss"}, default="auto"
        What computes `kneighbors`. All are exact and give identical results. "auto" is
        NumPy until it has taken as long, in this process, as loading numba's kernels
        takes, and then numba; a backend that is missing or fails is replaced by NumPy,
        with a warning.
    multi_index : bool, default=False
        Whether to build tables at fit that find rows within small radii, and near
        duplicates, without comparing all rows. They take 4 bytes a row for every 16 bits of
        the codes, up to 128 bytes; codes of 32 bits or more have them. Results are the
        same, and all rows are compared where that is quicker.
    n_jobs : int, default=None
        Threads that share the rows of `kneighbors`, or the queries where these are many; None is
        one, -1 all processors.
    verbose : bool or int, default=False
        Whether to print a line when numba compiles its kernels, which takes some seconds;
        later processes load them.

    Attributes
    ----------
    n_samples_fit_ : int
        Rows in the database.
    n_bits_ : int
        Length of the codes.
    labels_ : csr_array of shape (n_samples_fit_, c) or None
        Label indicator of the database, if it was given with labels.
    classes_ : ndarray of shape (c,) or None
        Their classes.
    n_features_in_ : int
        Columns of the codes as given: bits, or bytes if packed.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Their names, if all are strings.

    See Also
    --------
    sklearn.neighbors.NearestNeighbors : The same interface for any metric.
    sklearn_cmh.metrics.mean_average_precision : What `score` computes.

    Notes
    -----
    Rows at equal distance are ordered by database row. Distances are integers: the
    number of bits that differ.

    The database may be an array of Dask: `kneighbors` then ranks its chunks where they are, and
    merges their nearest rows. Nothing else can be asked of it.

    Examples
    --------
    >>> from sklearn_cmh import HammingRanker
    >>> codes = [[1, 1, 1, 1], [1, 1, 1, -1], [-1, -1, 1, 1], [-1, -1, -1, -1]]
    >>> ranker = HammingRanker(n_neighbors=2).fit(codes)
    >>> distances, indices = ranker.kneighbors([[1, 1, -1, -1]])
    >>> distances, indices
    (array([[1, 2]], dtype=int32), array([[1, 0]]))
    >>> ranker.kneighbors(return_distance=False)[:2]
    array([[1, 2],
           [0, 2]])
    """

    _parameter_constraints: dict = {
        **BaseRanker._parameter_constraints,
        "radius": [Interval(Real, 0, None, closed="left")],
        "binarize": [Interval(Real, None, None, closed="neither")],
        "packed": ["boolean"],
        "n_bits": [Interval(Integral, 1, None, closed="left"), None],
        "backend": [StrOptions({"auto", "numpy", "numba", "faiss"})],
        "multi_index": ["boolean"],
        "n_jobs": [Integral, None],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        n_neighbors: int = 5,
        radius: float = 2,
        *,
        binarize: float = 0.0,
        packed: bool = False,
        n_bits: int | None = None,
        backend: Literal["auto", "numpy", "numba", "faiss"] = "auto",
        multi_index: bool = False,
        n_jobs: int | None = None,
        verbose: bool | int = False,
    ) -> None:
        self.n_neighbors = n_neighbors
        self.radius = radius
        self.binarize = binarize
        self.packed = packed
        self.n_bits = n_bits
        self.backend = backend
        self.multi_index = multi_index
        self.n_jobs = n_jobs
        self.verbose = verbose

    _indexes: Any = None
    _lazy: Any = None

    # --- The database -------------------------------------------------------------------------

    def _store(self, X, y, first):
        if is_dask(X) or (not first and self._lazy is not None):
            return self._store_lazily(X, y, first)
        self._lazy = None
        X = validate_data(self, X, reset=first, dtype=None if self.packed else "numeric")
        n_bits = self._count_bits(X)
        packed = self._pack(X, n_bits)
        self._store_labels(X, y, first)
        old = () if first or self._indexes is None else self._indexes
        if first:
            self._chunks, self.n_bits_ = [packed], n_bits
        else:
            self._chunks = append_chunk(self._chunks, packed)
        self._indexes = index_chunks(self._chunks, n_bits, old) if self.multi_index else None
        self.n_samples_fit_ = sum(len(chunk) for chunk in self._chunks)
        return self

    def _store_lazily(self, X, y, first):
        """Keep an array of Dask as it is; its chunks are ranked where they are."""
        if not first or y is not None:
            raise ValueError(
                "A database that is a Dask array is fitted at once and without y: concatenate "
                "its parts with dask.array.concatenate, or compute() them and fit them as arrays "
                "in memory."
            )
        rows = checked_rows(X, "X")
        # One row tells whether codes can be read as the parameters say; queries are checked by it.
        of_row = clone(self).fit(probe(rows))
        self.__dict__.update(vars(of_row), n_samples_fit_=rows.shape[0], _lazy=(rows, of_row))
        return self

    def _count_bits(self, X):
        """Length of the codes in X; raises where it is not what `n_bits` says."""
        return count_bits(X, self.packed, self.n_bits)

    def _pack(self, X, n_bits):
        """Packed codes of validated input."""
        if self.packed:
            check_spare_bits(X, n_bits)
            return X
        strange = first_non_code(X)
        if strange is not None:
            hint = (
                " If these are packed bytes, pass packed=True."
                if X.dtype == np.uint8
                else " Check that these are codes and not features."
            )
            warnings.warn(
                f"X holds {strange}, which is no binary code (-1 and +1, 0 and 1, or booleans); "
                f"values above binarize={self.binarize} count as set bits.{hint}",
                UserWarning,
            )
        return pack_codes(X, binarize=self.binarize)

    # --- Queries ------------------------------------------------------------------------------

    def _queries(self, X):
        """Packed queries; the database itself if X is None."""
        # To ask for the tags, as check_is_fitted does, takes as long as to compare 10^4 codes.
        if not hasattr(self, "n_samples_fit_"):
            check_is_fitted(self, "n_samples_fit_")
        if self._lazy is not None:
            raise ValueError(
                "The database is a Dask array, of which only the nearest rows of queries can be "
                "asked for, with kneighbors: fit the ranker on its compute() for all else."
            )
        if X is None:
            return np.concatenate(self._chunks) if len(self._chunks) > 1 else self._chunks[0]
        if not self._is_packed_already(X):
            X = validate_data(self, X, reset=False, dtype=None if self.packed else "numeric")
        return self._pack(X, self._count_bits(X))

    def _is_packed_already(self, X):
        """Whether nothing about X can be wrong: to find out takes as long as a search."""
        return (
            self.packed
            and type(X) is np.ndarray
            and X.dtype == np.uint8
            and X.shape[1:] == (self.n_features_in_,)
            and len(X) > 0
            and not hasattr(self, "feature_names_in_")
        )

    def kneighbors(
        self,
        X: MatrixLike | None = None,
        n_neighbors: int | None = None,
        return_distance: bool = True,
    ) -> Neighbors | NDArray[np.intp]:
        """Find the nearest rows of every query.

        Parameters
        ----------
        X : array-like of shape (n_queries, n_bits), or (n_queries, n_bytes) if packed, \
                default=None
            Query codes. None: every row of the database, which then is not its own
            neighbour.
        n_neighbors : int, default=None
            Number of rows; None is the parameter `n_neighbors`.
        return_distance : bool, default=True
            Whether to return the distances, too.

        Returns
        -------
        distances : ndarray of shape (n_queries, n_neighbors), int32
            Hamming distances, rising; only if `return_distance` is True.
        indices : ndarray of shape (n_queries, n_neighbors)
            Database rows, equal distances in their order.
        """
        own = X is None
        if self._lazy is not None and not own:
            rows, of_row = self._lazy
            of_row._queries(X)
            k = self._check_n_neighbors(n_neighbors, own)
            found = nearest_of_chunks(_nearest_in_chunk, clone(self), rows, np.asarray(X), k)
            return found if return_distance else found[1]
        queries = self._queries(X)
        k = self._check_n_neighbors(n_neighbors, own)
        found = self._nearest(queries, k + own)
        if own:
            found = without_own_row(*found)
        return found if return_distance else found[1]

    def _nearest(self, queries, k):
        """Nearest rows of packed queries: looked up where that can be, or among all rows."""
        if self._indexes is None:
            return self._nearest_of_all(queries, k)
        look_up = partial(nearest_by_index, self._indexes, self._chunks, queries, k, self.n_bits_)
        distances, indices, answered = self._compute(0, look_up)
        if not answered.all():
            rest = ~answered
            distances[rest], indices[rest] = self._nearest_of_all(queries[rest], k)
        return distances, indices

    def _nearest_of_all(self, queries, k):
        search = partial(nearest, self._chunks, queries, k, n_bits=self.n_bits_)
        return self._compute(len(queries), partial(search, n_jobs=self.n_jobs))

    def _compute(self, n_queries, search):
        """Call a search with the backend that suits so many queries of all rows."""
        backend = choose_backend(self.backend, n_queries * self.n_samples_fit_, self.n_bits_)
        with compilation_shown(backend, self.verbose):
            return with_fallback(backend, search)

    def radius_neighbors(
        self,
        X: MatrixLike | None = None,
        radius: float | None = None,
        return_distance: bool = True,
        sort_results: bool = False,
    ) -> tuple[NDArray[np.object_], NDArray[np.object_]] | NDArray[np.object_]:
        """Find all rows within a radius of every query.

        Parameters
        ----------
        X : array-like of shape (n_queries, n_bits), or (n_queries, n_bytes) if packed, \
                default=None
            Query codes; None is every row of the database without itself.
        radius : int, default=None
            Largest distance; None is the parameter `radius`.
        return_distance : bool, default=True
            Whether to return the distances, too.
        sort_results : bool, default=False
            Whether to order rows by distance; otherwise they are in the order of the
            database.

        Returns
        -------
        distances : ndarray of shape (n_queries,) of int32 arrays
            Hamming distances; only if `return_distance` is True.
        indices : ndarray of shape (n_queries,) of integer arrays
            Database rows; an empty array if there is none.
        """
        queries = self._queries(X)
        radius = self.radius if radius is None else radius
        if not isinstance(radius, Real) or not radius >= 0:
            raise ValueError(f"radius must be a number of bits, at least 0; got {radius!r}.")
        search = partial(
            within_radius,
            self._chunks,
            queries,
            radius,
            n_bits=self.n_bits_,
            indexes=self._indexes,
        )
        # With an index, few rows are compared as a rule.
        n_compared = 0 if self._indexes is not None else len(queries)
        distances, indices = self._compute(n_compared, search)
        if X is None:
            for i, (d, rows) in enumerate(zip(distances, indices, strict=True)):
                others = rows != i
                distances[i], indices[i] = d[others], rows[others]
        if sort_results:
            for i, (d, rows) in enumerate(zip(distances, indices, strict=True)):
                order = np.argsort(d, kind="stable")
                distances[i], indices[i] = d[order], rows[order]
        found = ragged(distances), ragged(indices)
        return found if return_distance else found[1]

    def rank(self, X: MatrixLike | None = None) -> Iterator[Neighbors]:
        """Rank the whole database for every query, some queries at a time.

        Parameters
        ----------
        X : array-like of shape (n_queries, n_bits), or (n_queries, n_bytes) if packed, \
                default=None
            Query codes; None is every row of the database without itself.

        Yields
        ------
        distances : ndarray of shape (n_block, n_ranked), int32
            Hamming distances, rising, of the next queries in order; as many as fit in
            scikit-learn's ``working_memory``.
        indices : ndarray of shape (n_block, n_ranked)
            Database rows, equal distances in their order.

        Examples
        --------
        >>> from sklearn_cmh import HammingRanker
        >>> ranker = HammingRanker().fit([[1, 1], [-1, -1], [1, -1]])
        >>> for distances, indices in ranker.rank([[1, 1], [-1, -1]]):
        ...     print(indices)
        [[0 2 1]
         [1 2 0]]
        """
        queries = self._queries(X)
        return self._rank(queries, own=X is None)

    def _rank(self, queries, own):
        # Distances, their order and the sorted copy of each: about 32 bytes a row.
        for rows in gen_batches(len(queries), block_rows(32 * self.n_samples_fit_)):
            found = rank_rows(self._chunks, queries[rows], n_bits=self.n_bits_)
            yield without_own_row(*found, first=rows.start) if own else found

    def score(
        self,
        X: MatrixLike | None,
        y: Labels | None = None,
        sample_weight: ArrayLike | None = None,
    ) -> float:
        """Mean average precision of the queries against the labelled database.

        Parameters
        ----------
        X : array-like of shape (n_queries, n_bits), or (n_queries, n_bytes) if packed, or None
            Query codes. None: every row of the database, which is left out of its own
            ranking.
        y : array-like of shape (n_queries,) or {array-like, sparse} of shape (n_queries, c)
            Their labels, in the form of the database's. They are needed: None is refused.
        sample_weight : array-like of shape (n_queries,), default=None
            Weights of the queries.

        Returns
        -------
        score : float
            Full-ranking mAP, ties averaged over; queries without a relevant row are
            left out. NaN, with a warning, if there is no other.
        """
        queries = self._queries(X)
        labels = self._query_labels(len(queries), y, sample_weight)
        L, L_database, sample_weight = labels
        retrieval = Retrieval(
            queries, self._queries(None), self.n_bits_, L, L_database, exclude_self=X is None
        )
        values, has_relevant = per_query.average_precision(retrieval, None, "expected")
        return query_mean(values, has_relevant, "skip", sample_weight)


def _nearest_in_chunk(ranker, chunk, queries, k):
    """Nearest rows of queries in a part of a database, as many as there are."""
    # Chunks that are ranked in threads share one ranker.
    return clone(ranker).fit(chunk).kneighbors(queries, min(k, len(chunk)))
