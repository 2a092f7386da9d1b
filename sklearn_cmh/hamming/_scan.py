"""Binary codes as packed words: packing, Hamming distances, exact top-k, counts.

Codes are packed along the bits into bytes (`pack_codes`), and bytes are laid out
word by word (`as_words`): row `w` of the result holds word `w` of every code, so
that one query meets long runs of equal words. A distance up to 255 fits in a byte
and takes only ``n_bits + 1`` values: the exact top k needs a threshold and
counting, never a heap or a full sort.
"""

import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from joblib import effective_n_jobs
from sklearn import get_config
from sklearn.utils import gen_batches
from sklearn.utils.validation import check_array

__all__ = [
    "as_words",
    "block_rows",
    "check_codes",
    "choose_backend",
    "distance_dtype",
    "distances_to",
    "load_kernels",
    "nearest",
    "pack_codes",
    "rank_rows",
    "with_fallback",
    "within_radius",
]

# Columns handled at once, so that the temporaries of one query stay in the cache.
STRIP = 2**16
# Rows of a database laid out as words at once.
BLOCK = 2**18
# Pairs of codes above which it pays to load, and perhaps to compile, the numba kernels.
MANY_PAIRS = 10**8


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
    packed = np.empty((len(codes), -(-codes.shape[1] // 8)), dtype=np.uint8)
    for rows in gen_batches(len(codes), max(1, 2**22 // codes.shape[1])):
        packed[rows] = np.packbits(codes[rows] > binarize, axis=1)
    return packed


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
    n_bytes = packed.shape[1]
    size = next((s for s in (1, 2, 4) if n_bytes <= s), 8)
    dtype = np.dtype(f"u{size}")
    n_words = -(-n_bytes // size)
    if n_bytes < n_words * size:
        packed = np.pad(packed, ((0, 0), (0, n_words * size - n_bytes)))
    return np.ascontiguousarray(np.ascontiguousarray(packed).view(dtype).T)


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
    scratch = np.empty(min(n, STRIP), dtype=words.dtype)
    scratch_count = np.empty(len(scratch), dtype=np.uint8)
    for start in range(0, n, STRIP):
        strip = slice(start, start + STRIP)
        d = out[strip]
        different, count = scratch[: len(d)], scratch_count[: len(d)]
        np.bitwise_xor(words[0, strip], query[0], out=different)
        np.bitwise_count(different, out=d)
        for w in range(1, len(words)):
            np.bitwise_xor(words[w, strip], query[w], out=different)
            np.bitwise_count(different, out=count)
            np.add(d, count, out=d)
    return out


def word_blocks(chunks):
    """Walk through a database.

    Parameters
    ----------
    chunks : list of ndarray of shape (n_chunk, n_bytes), uint8
        Packed codes of consecutive rows, memory-mapped perhaps.

    Yields
    ------
    first : int
        Database row of the first code of the block.
    words : ndarray of shape (n_words, n_block)
        The codes of the block.
    """
    first = 0
    for chunk in chunks:
        for rows in gen_batches(len(chunk), BLOCK):
            yield first + rows.start, as_words(chunk[rows])
        first += len(chunk)


# --- Exact nearest rows -----------------------------------------------------------------------


def nearest(chunks, queries, k, *, n_bits, backend="numpy", n_jobs=None):
    """Find the k nearest rows of every query, equal distances by database row.

    Parameters
    ----------
    chunks : list of ndarray of shape (n_chunk, n_bytes), uint8
        Packed database, in consecutive pieces.
    queries : ndarray of shape (n_queries, n_bytes), uint8
        Packed queries.
    k : int
        Number of rows, at most as many as the database has.
    n_bits : int
        Length of the codes.
    backend : {"numpy", "numba", "faiss"}, default="numpy"
        What computes; the result is the same.
    n_jobs : int, default=None
        Number of threads.

    Returns
    -------
    distances : ndarray of shape (n_queries, k), int32
        Distances, rising.
    indices : ndarray of shape (n_queries, k), intp
        Rows of the database.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_cmh.hamming import nearest
    >>> database = np.array([[0], [3], [1], [3]], dtype=np.uint8)
    >>> nearest([database], np.array([[3]], dtype=np.uint8), 3, n_bits=8)
    (array([[0, 0, 1]], dtype=int32), array([[1, 3, 2]]))
    """
    search = {"numpy": _search_blocks, "numba": _search_blocks, "faiss": _search_faiss}[backend]
    top_k = load_kernels().top_k if backend == "numba" else top_k_numpy
    n_threads = min(effective_n_jobs(n_jobs), len(queries))

    def search_part(part):
        return search(chunks, part, k, n_bits, top_k)

    first, *others = np.array_split(queries, n_threads)
    # The calling thread, which is awake already, takes a part too: in the few milliseconds of
    # a search it shows when threads have to be woken up, and joblib takes longer still.
    with ThreadPoolExecutor(n_threads) as pool:
        pending = [pool.submit(search_part, part) for part in others]
        found = [search_part(first), *(future.result() for future in pending)]
    distances, indices = zip(*found, strict=True)
    return np.concatenate(distances).astype(np.int32), np.concatenate(indices)


def _search_blocks(chunks, queries, k, n_bits, top_k):
    best = None
    query_words = as_words(queries)
    # A distance above all others: nothing found yet, so everything is nearer.
    limits = np.full(len(queries), n_bits + 1)
    for first, words in word_blocks(chunks):
        distances, indices = top_k(words, query_words, min(k, words.shape[1]), limits, n_bits)
        indices += first
        best = (distances, indices) if best is None else _merge(best, (distances, indices), k)
        if best[0].shape[1] == k:
            limits = best[0][:, -1].astype(limits.dtype)
    return best


def _merge(left, right, k):
    """Merge rows found in an earlier (left) and a later part of the database."""
    distances = np.concatenate([left[0], right[0]], axis=1)
    indices = np.concatenate([left[1], right[1]], axis=1)
    order = np.argsort(distances, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(distances, order, axis=1), np.take_along_axis(indices, order, axis=1)


def top_k_numpy(words, queries, k, limits, n_bits):
    """Find the k nearest columns of `words` that are nearer than a limit per query.

    Parameters
    ----------
    words : ndarray of shape (n_words, n)
        Codes from `as_words`.
    queries : ndarray of shape (n_words, n_queries)
        Queries from `as_words`.
    k : int
        Number of columns, at most n.
    limits : ndarray of shape (n_queries,)
        Only columns at a smaller distance count.
    n_bits : int
        Length of the codes.

    Returns
    -------
    distances : ndarray of shape (n_queries, k)
        Distances, rising; ``n_bits + 1`` where fewer columns are near enough.
    indices : ndarray of shape (n_queries, k), intp
        Columns, or -1; equal distances in the order of the columns.
    """
    n = words.shape[1]
    distances = np.full((len(limits), k), n_bits + 1, dtype=distance_dtype(n_bits + 1))
    indices = np.full((len(limits), k), -1, dtype=np.intp)
    d = np.empty(n, dtype=distances.dtype)
    radius = n_bits // 4
    for i, limit in enumerate(limits.tolist()):
        distances_to(words, queries[:, i], out=d)
        near = _k_or_more_near(d, k, min(radius, limit - 1), limit - 1)
        found = near[np.argsort(d[near], kind="stable")[:k]]
        indices[i, : len(found)] = found
        distances[i, : len(found)] = d[found]
        # Where the next query looks first.
        radius = int(distances[i, -1])
    return distances, indices


def _k_or_more_near(d, k, radius, most):
    """Columns within the smallest radius from a guess on that holds k, but not above `most`.

    A guess that holds far too many columns, which then had to be sorted, is reduced.
    """
    mask = d <= radius
    n_near = np.count_nonzero(mask)
    while n_near < k and radius < most:
        radius += 1
        np.less_equal(d, radius, out=mask)
        n_near = np.count_nonzero(mask)
    while n_near > 8 * k and radius > 0:
        n_near = np.count_nonzero(d < radius)
        if n_near < k:
            break
        radius -= 1
        np.less_equal(d, radius, out=mask)
    return np.flatnonzero(mask)


def _search_faiss(chunks, queries, k, n_bits, _):
    import faiss

    best, first = None, 0
    queries = np.ascontiguousarray(queries)
    n_threads = faiss.omp_get_max_threads()
    # `nearest` has one thread per part of the queries; each shall not start more.
    faiss.omp_set_num_threads(1)
    try:
        for chunk in chunks:
            found = faiss.knn_hamming(queries, np.ascontiguousarray(chunk), min(k, len(chunk)))
            found = found[0], found[1] + first
            best = found if best is None else _merge(best, found, k)
            first += len(chunk)
    finally:
        faiss.omp_set_num_threads(n_threads)
    return best


# --- Rows within a radius, and all rows -------------------------------------------------------


def within_radius(chunks, queries, radius, *, n_bits):
    """Find all rows within a radius of every query.

    Parameters
    ----------
    chunks : list of ndarray of shape (n_chunk, n_bytes), uint8
        Packed database, in consecutive pieces.
    queries : ndarray of shape (n_queries, n_bytes), uint8
        Packed queries.
    radius : float
        Largest distance.
    n_bits : int
        Length of the codes.

    Returns
    -------
    distances, indices : list of ndarray of shape (n_found,)
        Distances (int32) and database rows (intp) per query, in the order of the rows.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_cmh.hamming import within_radius
    >>> database = np.array([[0], [3], [1], [3]], dtype=np.uint8)
    >>> within_radius([database], np.array([[3]], dtype=np.uint8), 1, n_bits=8)[1]
    [array([1, 2, 3])]
    """
    query_words = as_words(queries)
    found = [[] for _ in range(len(queries))]
    for first, words in word_blocks(chunks):
        d = np.empty(words.shape[1], dtype=distance_dtype(n_bits))
        for i, parts in enumerate(found):
            near = np.flatnonzero(distances_to(words, query_words[:, i], out=d) <= radius)
            parts.append((d[near].astype(np.int32), near + first))
    merged = [[np.concatenate(part) for part in zip(*parts, strict=True)] for parts in found]
    return [d for d, _ in merged], [rows for _, rows in merged]


def rank_rows(chunks, queries, *, n_bits):
    """Rank the whole database for every query, equal distances by database row.

    Parameters
    ----------
    chunks : list of ndarray of shape (n_chunk, n_bytes), uint8
        Packed database, in consecutive pieces.
    queries : ndarray of shape (n_queries, n_bytes), uint8
        Packed queries.
    n_bits : int
        Length of the codes.

    Returns
    -------
    distances : ndarray of shape (n_queries, n), int32
        Distances, rising.
    indices : ndarray of shape (n_queries, n), intp
        Rows of the database.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_cmh.hamming import rank_rows
    >>> database = np.array([[0], [3], [1], [3]], dtype=np.uint8)
    >>> rank_rows([database], np.array([[3]], dtype=np.uint8), n_bits=8)
    (array([[0, 0, 1, 2]], dtype=int32), array([[1, 3, 2, 0]]))
    """
    query_words = as_words(queries)
    n = sum(len(chunk) for chunk in chunks)
    d = np.empty((len(queries), n), dtype=distance_dtype(n_bits))
    for first, words in word_blocks(chunks):
        for i, row in enumerate(d[:, first : first + words.shape[1]]):
            distances_to(words, query_words[:, i], out=row)
    indices = np.argsort(d, axis=1, kind="stable")
    return np.take_along_axis(d, indices, axis=1).astype(np.int32), indices


# --- Backends ---------------------------------------------------------------------------------


def load_kernels():
    """Import the numba kernels; they are compiled at their first use, and cached."""
    from . import _numba

    return _numba


def with_fallback(backend, compute):
    """Return ``compute(backend=backend)``; if that fails, warn and let NumPy compute.

    Parameters
    ----------
    backend : {"numpy", "numba", "faiss"}
        First choice.
    compute : callable
        Takes the name of a backend.

    Returns
    -------
    result : object
        What `compute` returns.

    Examples
    --------
    >>> from sklearn_cmh.hamming import with_fallback
    >>> with_fallback("numpy", lambda backend: f"done by {backend}")
    'done by numpy'
    """
    if backend != "numpy":
        try:
            return compute(backend=backend)
        except Exception as error:
            warnings.warn(
                f"{backend} failed ({type(error).__name__}: {error}), so NumPy computes, with the "
                "same results but slower.",
                UserWarning,
            )
    return compute(backend="numpy")


def choose_backend(backend, n_pairs):
    """Name of the backend that computes, which is "numpy" where another one is missing.

    Parameters
    ----------
    backend : {"auto", "numpy", "numba", "faiss"}
        What the user asked for.
    n_pairs : int
        Number of pairs of codes to compare.

    Returns
    -------
    backend : {"numpy", "numba", "faiss"}
        What there is.

    Warns
    -----
    UserWarning
        If the backend cannot be imported.

    Examples
    --------
    >>> from sklearn_cmh.hamming import choose_backend
    >>> choose_backend("auto", 100)
    'numpy'
    """
    if backend == "numpy" or (backend == "auto" and n_pairs < MANY_PAIRS):
        return "numpy"
    try:
        if backend == "faiss":
            import faiss  # noqa: F401

            return "faiss"
        load_kernels()
    except Exception as error:
        package, extra = ("faiss", "faiss") if backend == "faiss" else ("numba", "fast")
        warnings.warn(
            f"{package} cannot be imported ({error}), so NumPy computes, with the same results but "
            f'slower. Install it with pip install "sklearn-cmh[{extra}]".',
            UserWarning,
        )
        return "numpy"
    return "numba"
