"""Binary codes: what counts as one, packing into bytes, and bytes laid out word by word."""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from sklearn.utils.validation import check_array

from ..utils._typing import ArrayLike, NDArray
from ._distances import slices

__all__ = [
    "as_words",
    "check_codes",
    "first_non_code",
    "pack_codes",
    "row_blocks",
    "row_parts",
    "whole_words",
]


def check_codes(codes: ArrayLike, *, input_name: str = "codes") -> NDArray[Any]:
    """Refuse whatever is not a matrix of binary codes.

    Parameters
    ----------
    codes : array-like of shape (n, n_bits)
        Codes of two values: -1 and +1, 0 and 1, or booleans.
    input_name : str, default="codes"
        Name used in error messages.

    Returns
    -------
    codes : ndarray of shape (n, n_bits)
        The codes as an array.

    Raises
    ------
    ValueError
        If `codes` is empty, not two-dimensional, not finite, or holds other values.

    Examples
    --------
    >>> from sklearn_cmh.hamming import check_codes
    >>> check_codes([[1, -1], [-1, -1]]).shape
    (2, 2)
    """
    array: NDArray[Any] = check_array(codes, dtype=None, input_name=input_name)
    strange = first_non_code(array)
    if strange is not None:
        hint = (
            " Packed bytes must be unpacked (numpy.unpackbits), or ranked by "
            "HammingRanker(packed=True)."
            if array.dtype == np.uint8
            else " Binarise it first, for instance with numpy.where(x > 0, 1, -1)."
        )
        raise ValueError(
            f"{input_name} must hold binary codes, that is -1 and +1, 0 and 1, or booleans; "
            f"it holds {strange}.{hint}"
        )
    return array


def first_non_code(codes: NDArray[Any]) -> str | None:
    """Describe a value of `codes` that no matrix of two-valued codes has, or return None."""
    if codes.dtype == bool:
        return None
    if codes.dtype.kind not in "iuf":
        return f"values of dtype {codes.dtype}"
    low, high = codes.min(), codes.max()
    low = low if low < 0 else 0
    if low in (-1, 0) and high <= 1:
        odd = codes[(codes != 1) & (codes != low)]
        if not odd.size:
            return None
        return f"{odd[0]!s} as well as -1" if odd[0] == 0 else f"{odd[0]!s}"
    return f"{(high if low in (-1, 0) else low)!s}"


def pack_codes(codes: NDArray[Any], *, binarize: float = 0.0) -> NDArray[np.uint8]:
    """Pack codes into bytes, eight bits each: a bit is set where a value exceeds `binarize`.

    Parameters
    ----------
    codes : ndarray of shape (n, n_bits)
        Codes.
    binarize : float, default=0.0
        Threshold.

    Returns
    -------
    packed : ndarray of shape (n, ceil(n_bits / 8)), uint8
        Packed codes; the spare bits of the last byte are zero.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_cmh.hamming import pack_codes
    >>> pack_codes(np.array([[1, -1, 1]]))
    array([[160]], dtype=uint8)
    """
    packed = np.empty((len(codes), -(-codes.shape[1] // 8)), dtype=np.uint8)
    for rows in slices(len(codes), max(1, 2**22 // codes.shape[1])):
        packed[rows] = np.packbits(codes[rows] > binarize, axis=1)
    return packed


def as_words(packed: NDArray[np.uint8], *, copy: bool = True) -> NDArray[np.unsignedinteger[Any]]:
    """Lay packed codes out word by word, in the smallest of 8, 16, 32 or else 64 bits.

    Parameters
    ----------
    packed : ndarray of shape (n, n_bytes), uint8
        Packed codes.
    copy : bool, default=True
        Whether every word is to be contiguous in memory, for speed; otherwise nothing is
        copied where that can be.

    Returns
    -------
    words : ndarray of shape (n_words, n)
        Words of the same codes; the last one is filled with zero bits.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_cmh.hamming import as_words
    >>> as_words(np.zeros((5, 9), dtype=np.uint8)).shape
    (2, 5)
    """
    n_bytes = packed.shape[1]
    size = next((s for s in (1, 2, 4) if n_bytes <= s), 8)
    dtype = np.dtype(f"u{size}")
    words = np.ascontiguousarray(whole_words(packed, size)).view(dtype).T
    return np.ascontiguousarray(words) if copy else words


def whole_words(packed: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """Fill packed codes up with zero bytes to words of `size` bytes, without a copy if they are.

    Quicker than np.pad, which takes as long as a search of 10^4 rows.

    Parameters
    ----------
    packed : ndarray of shape (n, n_bytes), uint8
        Packed codes.
    size : int
        Bytes of a word.

    Returns
    -------
    filled : ndarray of shape (n, n_words * size), uint8
        The codes.
    """
    spare = -packed.shape[1] % size
    if not spare:
        return packed
    filled = np.zeros((len(packed), packed.shape[1] + spare), dtype=np.uint8)
    filled[:, :-spare] = packed
    return filled


def row_blocks(
    chunks: Sequence[NDArray[np.uint8]], n_rows: int
) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    """Walk through a database.

    Parameters
    ----------
    chunks : list of ndarray of shape (n_chunk, n_bytes), uint8
        Packed codes of consecutive rows, memory-mapped perhaps.
    n_rows : int
        Rows of a block at most.

    Yields
    ------
    first : int
        Database row of the first code of the block.
    rows : ndarray of shape (n_block, n_bytes)
        The codes of the block.
    """
    first = 0
    for chunk in chunks:
        for rows in slices(len(chunk), n_rows):
            yield first + rows.start, chunk[rows]
        first += len(chunk)


def row_parts(
    chunks: Sequence[NDArray[np.uint8]], n_parts: int
) -> Iterator[tuple[int, list[NDArray[np.uint8]]]]:
    """Divide a database into consecutive parts of about as many rows.

    Parameters
    ----------
    chunks : list of ndarray of shape (n_chunk, n_bytes), uint8
        Packed codes of consecutive rows, memory-mapped perhaps.
    n_parts : int
        Parts, of which none is empty if there are as many rows.

    Yields
    ------
    first : int
        Database row of the first code of the part.
    part : list of ndarray of shape (n_piece, n_bytes)
        The codes of the part, without a copy.
    """
    bounds = np.linspace(0, sum(map(len, chunks)), n_parts + 1).astype(int)
    for start, stop in pairwise(bounds.tolist()):
        part, first = [], 0
        for chunk in chunks:
            part.append(chunk[max(start - first, 0) : max(stop - first, 0)])
            first += len(chunk)
        yield start, [piece for piece in part if len(piece)]
