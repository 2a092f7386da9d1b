"""Binary codes as packed words: packing, Hamming distances, exact top-k, counts.

Codes are packed along the bits into bytes (`pack_codes`), and bytes are laid out
word by word (`as_words`): row `w` of the result holds word `w` of every code, so
that one query meets long runs of equal words. A distance up to 255 fits in a byte
and takes only ``n_bits + 1`` values: the exact top k needs a threshold and
counting, never a heap or a full sort.
"""

import numpy as np
from sklearn import get_config
from sklearn.utils.validation import check_array

__all__ = ["as_words", "block_rows", "check_codes", "distance_dtype", "distances_to", "pack_codes"]

# Database columns handled at once: the temporaries of one query stay in the cache.
BLOCK = 1 << 14


def check_codes(codes, *, input_name="codes"):
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
    codes = check_array(codes, dtype=None, input_name=input_name)
    strange = first_non_code(codes)
    if strange is not None:
        hint = (
            " Packed bytes must be unpacked (numpy.unpackbits), or ranked by "
            "HammingRanker(packed=True)."
            if codes.dtype == np.uint8
            else " Binarise it first, for instance with numpy.where(x > 0, 1, -1)."
        )
        raise ValueError(
            f"{input_name} must hold binary codes, that is -1 and +1, 0 and 1, or booleans; "
            f"it holds {strange}.{hint}"
        )
    return codes


def first_non_code(codes):
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
        return f"{odd[0]!s} as well as {low!s} and {high!s}"
    return f"{(low if low < -1 else high)!s}"


def pack_codes(codes, *, binarize=0.0):
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
    return np.packbits(codes > binarize, axis=1)


def as_words(packed):
    """Lay packed codes out word by word, in the smallest of 8, 16, 32 or else 64 bits.

    Parameters
    ----------
    packed : ndarray of shape (n, n_bytes), uint8
        Packed codes.

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
    n, n_bytes = packed.shape
    size = next((s for s in (1, 2, 4) if n_bytes <= s), 8)
    dtype = np.dtype(f"u{size}")
    n_words = -(-n_bytes // size)
    words = np.empty((n_words, n), dtype=dtype)
    for w in range(n_words):
        part = packed[:, w * size : (w + 1) * size]
        if part.shape[1] < size:
            part = np.pad(part, ((0, 0), (0, size - part.shape[1])))
        words[w] = np.ascontiguousarray(part).view(dtype)[:, 0]
    return words


def block_rows(n_bytes):
    """Rows of `n_bytes` each that fit in scikit-learn's ``working_memory`` (in MiB)."""
    return max(1, int(get_config()["working_memory"] * 2**20) // n_bytes)


def distance_dtype(n_bits):
    """Return the smallest unsigned type that holds distances up to `n_bits`."""
    return np.min_scalar_type(int(n_bits))


def distances_to(words, query, *, out):
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
    for start in range(0, n, BLOCK):
        part = slice(start, min(start + BLOCK, n))
        np.bitwise_count(words[0, part] ^ query[0], out=out[part])
        for w in range(1, len(words)):
            out[part] += np.bitwise_count(words[w, part] ^ query[w])
    return out
