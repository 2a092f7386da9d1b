"""The k nearest rows by faiss."""

import faiss
import numpy as np

from ._distances import rows_at_once

__all__ = ["layout", "rows_at_once", "top_k"]


def layout(rows, n_queries):
    """Packed rows as faiss takes them."""
    return np.ascontiguousarray(rows)


def top_k(rows, queries, k, limits, n_bits):
    """Find the k nearest rows, as `Backend` says."""
    n_threads = faiss.omp_get_max_threads()
    # `nearest` has one thread per part of the queries; each shall not start more.
    faiss.omp_set_num_threads(1)
    try:
        return faiss.knn_hamming(np.ascontiguousarray(queries), rows, k)
    finally:
        faiss.omp_set_num_threads(n_threads)
