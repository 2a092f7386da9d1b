"""Distances that are finer than bits, of queries to a few candidates each.

Rows with equal codes, or with equal vectors, have equal distances to the last digit, wherever
they stand and whatever is compared with them at the same time: no product of matrices here.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..utils._typing import Floats, NDArray

__all__ = ["asymmetric_distances", "take_rows", "unpack_signs", "vector_distances"]


def take_rows(chunks: Sequence[NDArray[Any]], rows: NDArray[np.intp]) -> NDArray[Any]:
    """Rows of a matrix that is kept in consecutive pieces.

    Parameters
    ----------
    chunks : list of ndarray of shape (n_chunk, d)
        The pieces.
    rows : ndarray of shape (...), intp
        Numbers of rows.

    Returns
    -------
    taken : ndarray of shape (..., d)
        The rows.
    """
    if len(chunks) == 1:
        return chunks[0][rows]
    starts = np.cumsum([0, *map(len, chunks)])
    taken = np.empty((*rows.shape, chunks[0].shape[1]), dtype=np.result_type(*chunks))
    for chunk, start, stop in zip(chunks, starts, starts[1:], strict=False):
        here = (start <= rows) & (rows < stop)
        taken[here] = chunk[rows[here] - start]
    return taken


def unpack_signs(packed: NDArray[np.uint8], n_bits: int) -> NDArray[np.float32]:
    """Codes (n, n_bits) of -1 and +1 from packed ones."""
    bits = np.unpackbits(packed, axis=1, count=n_bits)
    return 2 * bits.astype(np.float32) - 1


# --- Projections against codes ----------------------------------------------------------------


def asymmetric_distances(projections: Floats, packed: NDArray[np.uint8]) -> Floats:
    """Sum of the absolute projections of a query where a code has the other sign.

    It orders codes b as -p'b does: the distance is (sum |p| - p'b) / 2. Where all |p| are 1,
    it is the Hamming distance.

    Parameters
    ----------
    projections : ndarray of shape (n_queries, n_bits)
        Real-valued queries.
    packed : ndarray of shape (n_queries, n_candidates, n_bytes), uint8
        Packed codes of the candidates of every query.

    Returns
    -------
    distances : ndarray of shape (n_queries, n_candidates)
        In the type of the projections.
    """
    tables = byte_tables(projections)
    distances = np.zeros(packed.shape[:2], dtype=projections.dtype)
    for byte in range(packed.shape[2]):
        codes = packed[:, :, byte].astype(np.intp)
        distances += np.take_along_axis(tables[:, byte], codes, axis=1)
    return distances


def byte_tables(projections: Floats) -> Floats:
    """What every value of every byte of a code adds to its distance: (n_queries, n_bytes, 256)."""
    n_queries, n_bits = projections.shape
    n_bytes = -(-n_bits // 8)
    padded = np.zeros((n_queries, 8 * n_bytes), dtype=projections.dtype)
    padded[:, :n_bits] = projections
    padded = padded.reshape(n_queries, n_bytes, 8, 1)
    if_clear, if_set = np.maximum(padded, 0), np.maximum(-padded, 0)
    tables = np.zeros((n_queries, n_bytes, 1), dtype=projections.dtype)
    for bit in reversed(range(8)):  # the first bit is a byte's highest
        parts = [tables + if_clear[:, :, bit], tables + if_set[:, :, bit]]
        tables = np.concatenate(parts, axis=2)
    return tables


# --- Vectors ----------------------------------------------------------------------------------


def vector_distances(queries: Floats, vectors: Floats, metric: str) -> Floats:
    """Distances of vectors.

    Parameters
    ----------
    queries : ndarray of shape (n_queries, d)
        Vectors of the queries.
    vectors : ndarray of shape (n_queries, n_candidates, d)
        Vectors of the candidates of every query.
    metric : {"cosine", "dot", "euclidean"}
        One minus the cosine (1 where a vector is zero); minus the product; or the
        Euclidean distance.

    Returns
    -------
    distances : ndarray of shape (n_queries, n_candidates)
        In float32, or in float64 if one side is.
    """
    dtype = np.result_type(queries, vectors, np.float32)
    queries = queries.astype(dtype, copy=False)[:, None]
    vectors = vectors.astype(dtype, copy=False)
    if metric == "euclidean":
        difference = vectors - queries
        return np.sqrt(_products(difference, difference))
    product = _products(vectors, queries)
    if metric == "dot":
        return -product
    # The product of squared lengths would leave float32 for vectors of norm 1e-12 or 1e10.
    # Divided by powers of two it does not, and no digit changes.
    squares, of_vectors = _near_one(_products(vectors, vectors))
    others, of_queries = _near_one(_products(queries, queries))
    lengths = np.sqrt(squares * others)
    product = np.ldexp(product, -of_vectors - of_queries)
    cosine = np.divide(product, lengths, out=np.zeros_like(product), where=lengths > 0)
    return np.clip(1 - cosine, 0, 2)


def _near_one(squares: Floats) -> tuple[Floats, NDArray]:
    """Squares divided by ``4**e``, between 1/2 and 2, and the exponents e."""
    exponents = np.frexp(squares)[1] // 2
    return np.ldexp(squares, -2 * exponents), exponents


def _products(a: Floats, b: Floats) -> Floats:
    return np.einsum("qcd,qcd->qc", *np.broadcast_arrays(a, b))
