"""Hamming distances of one query to many codes, and how much fits in memory."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from sklearn import get_config

from ..utils._typing import NDArray

__all__ = [
    "block_rows",
    "distance_dtype",
    "distances_to",
    "interruptible_batches",
    "rows_at_once",
    "slices",
]

# Rows of a database laid out in another way at once, and rows searched at once at least and at
# most, by how many queries that share them.
BLOCK = 2**18
SMALL_BLOCK, LARGE_BLOCK = 2**12, 2**22
SHARING = 128
# Bytes of codes compared between two chances for the user to interrupt: some 50 ms.
PIECE = 2**29

# Columns handled at once, so that the temporaries of one query stay in the cache.
STRIP = 2**16


def block_rows(n_bytes: int) -> int:
    """Rows of `n_bytes` each that fit in scikit-learn's ``working_memory`` (in MiB)."""
    return max(1, int(get_config()["working_memory"] * 2**20) // n_bytes)


def interruptible_batches(codes: NDArray[Any], n_queries: int) -> Iterator[slice]:
    """Slices of queries, each compared with all `codes` in a fraction of a second.

    Compiled code runs to its end before Python hears of an interruption.
    """
    return slices(n_queries, max(1, PIECE // codes.nbytes))


def rows_at_once(n_bytes: int, n_queries: int, *, copied: bool = False) -> int:
    """Rows of a database searched at once: few if they are copied, so that memory is bounded.

    Otherwise as many as a fraction of a second allows, every block costing some Python, but so
    few that many queries share them, for whom they are laid out.
    """
    n_rows = PIECE // (n_bytes * min(n_queries, SHARING))
    return BLOCK if copied else max(SMALL_BLOCK, min(LARGE_BLOCK, n_rows))


def slices(n: int, size: int) -> Iterator[slice]:
    """Consecutive slices; scikit-learn's gen_batches costs as much as a search of 10^5 rows."""
    for start in range(0, n, size):
        yield slice(start, min(start + size, n))


def distance_dtype(n_bits: int) -> np.dtype[Any]:
    """Return the smallest unsigned type that holds distances up to `n_bits`."""
    return np.min_scalar_type(int(n_bits))


def distances_to(words: NDArray[Any], query: NDArray[Any], *, out: NDArray[Any]) -> NDArray[Any]:
    """Hamming distances of one query to every code.

    Parameters
    ----------
    words : ndarray of shape (n_words, n)
        Codes from `as_words`.
    query : ndarray of shape (n_words,)
        Words of the query.
    out : ndarray of shape (n,)
        Where the distances go, of a type that holds them.

    Returns
    -------
    out : ndarray of shape (n,)
        The distances.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_cmh.hamming import as_words, distances_to
    >>> words = as_words(np.array([[0], [7]], dtype=np.uint8))
    >>> distances_to(words, words[:, 0], out=np.empty(2, dtype=np.uint8))
    array([0, 3], dtype=uint8)
    """
    n = words.shape[1]
    # Words that are not contiguous share their lines of the cache with the others of a code.
    n_strip = STRIP if words.flags.c_contiguous else max(2**10, STRIP // 2 // len(words))
    scratch = np.empty(min(n, n_strip), dtype=words.dtype)
    scratch_count = np.empty(len(scratch), dtype=np.uint8)
    for strip in slices(n, n_strip):
        d = out[strip]
        different, count = scratch[: len(d)], scratch_count[: len(d)]
        np.bitwise_xor(words[0, strip], query[0], out=different)
        np.bitwise_count(different, out=d)
        for w in range(1, len(words)):
            np.bitwise_xor(words[w, strip], query[w], out=different)
            np.bitwise_count(different, out=count)
            np.add(d, count, out=d)
    return out
