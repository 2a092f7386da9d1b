"""Numba kernels of `hamming` and of the metrics; imported on use only.

Distances of one query are computed for a strip of rows into a small buffer of the narrowest
type; a vector comparison then gives one bit per row, so that the few rows that matter are
visited by counting trailing zeros. Several queries share each strip while it is in the cache.

Short codes are laid out word by word where many queries make up for the copy: LLVM turns the
distances of a long run of equal words into vector instructions. Codes of 512 bits and more fill
a vector of eight words each, and are read as they lie.
"""

import warnings
from functools import cache

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

from . import _distances
from ._codes import as_words
from ._distances import interruptible_batches

# Rows of one comparison, of one strip at most, and queries that share the strip.
LANES = 64
STRIP = 4096
TILE = 32
# Words of a strip of wide codes that queries share, in the cache next to the processor's first,
# and of one that few do: memory is read more evenly in short strips.
STRIP_WORDS = 2**15
FEW_QUERIES = 4
FEW_STRIP_WORDS = 2**13
# Words of a vector, and queries that pay for laying out shorter codes word by word.
VECTOR = 8
MANY_QUERIES = 64

OPTIONS = {"nogil": True, "boundscheck": False, "error_model": "numpy"}


def jit(function):
    """Compile a function at its first use, and keep the result for later processes."""
    try:
        return njit(cache=True, **OPTIONS)(function)
    except RuntimeError:  # Nowhere to write.
        _warn_of_no_cache()
        return njit(**OPTIONS)(function)


@cache
def _warn_of_no_cache():
    warnings.warn(
        "numba finds no directory that it may write to, so its kernels are compiled anew in "
        "every process, which takes some seconds: set the environment variable NUMBA_CACHE_DIR "
        "to a directory for them.",
        UserWarning,
    )


@intrinsic
def popcount(typingctx, word):
    """Set bits of an unsigned word."""

    def codegen(context, builder, signature, args):
        return builder.ctpop(args[0])

    return word(word), codegen


@intrinsic
def trailing_zeros(typingctx, mask):
    """Position of the lowest set bit of a uint64 that is not zero."""

    def codegen(context, builder, signature, args):
        return builder.cttz(args[0], ir.Constant(ir.IntType(1), 1))

    return types.uint64(types.uint64), codegen


@intrinsic
def below(typingctx, values, start, limit):
    """Mask, as a uint64, of which of the 64 values from `start` on are below `limit`."""
    dtype = values.dtype

    def codegen(context, builder, signature, args):
        array = context.make_array(values)(context, builder, args[0])
        lane = context.get_value_type(dtype)
        vector = ir.VectorType(lane, LANES)
        first = builder.gep(array.data, [args[1]])
        pointer = builder.bitcast(first, vector.as_pointer())
        block = builder.load(pointer)
        block.align = 1
        one = builder.insert_element(
            ir.Constant(vector, ir.Undefined), args[2], ir.Constant(ir.IntType(32), 0)
        )
        zeros = ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES)
        limits = builder.shuffle_vector(one, ir.Constant(vector, ir.Undefined), zeros)
        mask = builder.icmp_unsigned("<", block, limits)
        return builder.bitcast(mask, ir.IntType(64))

    return types.uint64(values, types.intp, dtype), codegen


# --- Distances --------------------------------------------------------------------------------

WORD = ir.IntType(64)
WORDS = ir.VectorType(WORD, VECTOR)


def _load_words(context, builder, array_type, array, position):
    """Eight words of a one-dimensional array as a vector."""
    data = context.make_array(array_type)(context, builder, array).data
    words = builder.load(builder.bitcast(builder.gep(data, [position]), WORDS.as_pointer()))
    words.align = 1
    return words


def _call(builder, name, result, words):
    """Call an LLVM function of one vector."""
    function = builder.module.globals.get(name)
    if function is None:
        function = ir.Function(builder.module, ir.FunctionType(result, [WORDS]), name)
    return builder.call(function, [words])


def _differing_bits(builder, one, two):
    return _call(builder, f"llvm.ctpop.v{VECTOR}i64", WORDS, builder.xor(one, two))


@intrinsic
def vector_distance(typingctx, rows, position, query, word):
    """Bits that differ between 8 words of `rows` from a position on, and 8 of `query`."""

    def codegen(context, builder, signature, args):
        one = _load_words(context, builder, rows, args[0], args[1])
        two = _load_words(context, builder, query, args[2], args[3])
        counts = _differing_bits(builder, one, two)
        return _call(builder, f"llvm.vector.reduce.add.v{VECTOR}i64", WORD, counts)

    return types.uint64(rows, types.intp, query, types.intp), codegen


@intrinsic
def distances_of_eight(typingctx, rows, position, query, out, j):
    """Put the distances of eight rows of two words, from a flat position on, into `out`.

    `query` repeats its words four times. A vector holds four rows: the sums of neighbours in
    two of them are the distances.
    """

    def codegen(context, builder, signature, args):
        query_words = _load_words(context, builder, query, args[2], WORD(0))
        one, two = (
            _differing_bits(
                builder,
                _load_words(context, builder, rows, args[0], builder.add(args[1], WORD(first))),
                query_words,
            )
            for first in (0, VECTOR)
        )
        lanes = ir.VectorType(ir.IntType(32), VECTOR)
        even, odd = (ir.Constant(lanes, list(range(i, 2 * VECTOR, 2))) for i in (0, 1))
        distances = builder.add(
            builder.shuffle_vector(one, two, even), builder.shuffle_vector(one, two, odd)
        )
        narrow = ir.VectorType(context.get_value_type(out.dtype), VECTOR)
        data = context.make_array(out)(context, builder, args[3]).data
        pointer = builder.bitcast(builder.gep(data, [args[4]]), narrow.as_pointer())
        builder.store(builder.trunc(distances, narrow), pointer).align = 1
        return context.get_dummy_value()

    return types.void(rows, types.intp, query, out, types.intp), codegen


@jit
def strip_distances(database, by_rows, query, start, stop, out):
    """Distances of one query to rows start..stop, into the front of `out`."""
    if by_rows:
        _distances_of_rows(database, query, start, stop, out)
    else:
        _distances_of_words(database, query, start, stop, out)


@jit
def _distances_of_rows(rows, query, start, stop, out):
    n_words = rows.shape[1]
    part = rows[start:stop]
    flat = part.reshape(part.size)
    n = stop - start
    # A loop over few words must be written out, or LLVM makes vectors of the wrong one.
    if n_words == 2:
        repeated = _repeat(query)
        eights = n // 8 * 8
        for j in range(0, eights, 8):
            distances_of_eight(flat, 2 * j, repeated, out, j)
        for j in range(eights, n):
            out[j] = popcount(part[j, 0] ^ query[0]) + popcount(part[j, 1] ^ query[1])
    elif n_words == 4:
        a, b, c, d = query[0], query[1], query[2], query[3]
        for j in range(n):
            half = popcount(part[j, 0] ^ a) + popcount(part[j, 1] ^ b)
            out[j] = half + popcount(part[j, 2] ^ c) + popcount(part[j, 3] ^ d)
    elif n_words == VECTOR:
        for j in range(n):
            out[j] = vector_distance(flat, VECTOR * j, query, 0)
    elif n_words % VECTOR == 0:
        for j in range(n):
            distance = np.uint64(0)
            for w in range(0, n_words, VECTOR):
                distance += vector_distance(flat, j * n_words + w, query, w)
            out[j] = distance
    else:
        for j in range(n):
            distance = np.uint64(0)
            for w in range(n_words):
                distance += popcount(part[j, w] ^ query[w])
            out[j] = distance


@jit
def _repeat(query):
    """Eight words that repeat those of a query."""
    repeated = np.empty(VECTOR, dtype=np.uint64)
    for w in range(VECTOR):
        repeated[w] = query[w % len(query)]
    return repeated


@jit
def _distances_of_words(words, query, start, stop, out):
    n_words = words.shape[0]
    n = stop - start
    # Two words at a time, so that narrowing the counts, the dear part, is done once for both.
    for w in range(0, n_words - 1, 2):
        one, two = words[w, start:stop], words[w + 1, start:stop]
        p, q = query[w], query[w + 1]
        if w == 0:
            for j in range(n):
                out[j] = popcount(one[j] ^ p) + popcount(two[j] ^ q)
        else:
            for j in range(n):
                out[j] += popcount(one[j] ^ p) + popcount(two[j] ^ q)
    if n_words % 2:
        last = words[n_words - 1, start:stop]
        q = query[n_words - 1]
        if n_words == 1:
            for j in range(n):
                out[j] = popcount(last[j] ^ q)
        else:
            for j in range(n):
                out[j] += popcount(last[j] ^ q)


def rows_at_once(n_bytes, n_queries):
    """Rows searched at once."""
    copied = n_bytes > 8 and not _by_rows(n_bytes, n_queries)
    padded = n_bytes % 8 and n_bytes not in (1, 2, 4)
    return _distances.rows_at_once(n_bytes, n_queries, copied=copied or padded)


def _by_rows(n_bytes, n_queries):
    """Whether codes are read row by row, as they lie."""
    return n_bytes > 8 * (VECTOR - 1) or (n_bytes > 8 and n_queries < MANY_QUERIES)


def layout(rows, n_queries):
    """Codes as the kernels read them, and whether that is row by row."""
    by_rows = _by_rows(rows.shape[1], n_queries)
    return as_row_words(rows) if by_rows else _read_only(as_words(rows)), by_rows


def as_row_words(rows):
    """Packed rows as words of 64 bits, (n, n_words), without a copy where that can be."""
    spare = -rows.shape[1] % 8
    if spare:
        rows = np.pad(rows, [(0, 0), (0, spare)])
    words = np.ascontiguousarray(rows).view(np.uint64)
    return _read_only(words if words.flags.aligned else words.copy())


def _read_only(array):
    """View that cannot be written to: one type, compiled for once, whatever comes in."""
    array = array.view()
    array.flags.writeable = False
    return array


def _query_words(queries, database, by_rows):
    """Words of the queries, a row each, like those of the database."""
    return as_row_words(queries) if by_rows else _read_only(as_words(queries).T.copy())


def top_k(database, queries, k, limits, n_bits):
    """Find the k nearest rows, as `Backend` says; -1 where fewer are near enough."""
    shape = len(limits), k
    distances = np.full(shape, n_bits + 1, dtype=np.min_scalar_type(n_bits + 1))
    indices = np.full(shape, -1, dtype=np.intp)
    words = _query_words(queries, *database)
    _top_k(*database, words, k, limits.astype(np.intp), distances, indices)
    return distances, indices


@jit
def _strip(database, by_rows, n_queries):
    """Rows of the database, and of one strip, a multiple of the lanes of a comparison."""
    if not by_rows:
        return database.shape[1], STRIP
    n, n_words = database.shape
    few = n_queries < FEW_QUERIES and n_words >= VECTOR
    most = FEW_STRIP_WORDS if few else STRIP_WORDS
    return n, min(STRIP, max(LANES, most // n_words // LANES * LANES))


@jit
def _top_k(database, by_rows, queries, k, limits, distances, indices):
    n_queries = len(queries)
    n, n_strip = _strip(database, by_rows, n_queries)
    dtype = distances.dtype
    buffer = np.empty(n_strip + LANES, dtype=dtype)
    # Per query of a tile: the rows kept so far in their order, how many are kept at every
    # distance, how many below the limit; a row at the limit or above comes too late.
    capacity = 2 * k + LANES
    kept = np.empty((TILE, capacity), dtype=np.intp)
    kept_distances = np.empty((TILE, capacity), dtype=dtype)
    n_kept = np.empty(TILE, dtype=np.intp)
    counts = np.empty((TILE, limits.max() + 1), dtype=np.intp)
    n_below = np.empty(TILE, dtype=np.intp)
    limit = np.empty(TILE, dtype=np.intp)
    for first in range(0, n_queries, TILE):
        tile = range(min(TILE, n_queries - first))
        n_kept[:] = 0
        counts[:] = 0
        n_below[:] = 0
        for t in tile:
            limit[t] = limits[first + t]
        for start in range(0, n, n_strip):
            stop = min(start + n_strip, n)
            for t in tile:
                strip_distances(database, by_rows, queries[first + t], start, stop, buffer)
                # The largest value, which is below no limit, fills the last lanes.
                buffer[stop - start : stop - start + LANES] = -1
                for j in range(0, stop - start, LANES):
                    mask = below(buffer, j, dtype.type(limit[t]))
                    while mask:
                        column = j + trailing_zeros(mask)
                        mask &= mask - np.uint64(1)
                        d = np.intp(buffer[column])
                        if d >= limit[t]:
                            continue
                        if n_kept[t] == capacity:
                            n_kept[t] = _compact(
                                kept_distances[t], kept[t], capacity, limit[t], k - n_below[t]
                            )
                        kept[t, n_kept[t]] = start + column
                        kept_distances[t, n_kept[t]] = d
                        n_kept[t] += 1
                        counts[t, d] += 1
                        n_below[t] += 1
                        while n_below[t] >= k:
                            limit[t] -= 1
                            n_below[t] -= counts[t, limit[t]]
        for t in tile:
            m = _compact(kept_distances[t], kept[t], n_kept[t], limit[t], k - n_below[t])
            _counting_sort(
                kept_distances[t, :m],
                kept[t, :m],
                counts[t],
                distances[first + t],
                indices[first + t],
            )


def within(database, queries, radius, n_bits):
    """Find the rows within a radius of every query, as `Backend` says."""
    dtype = np.min_scalar_type(n_bits + 1)
    words = _query_words(queries, *database)
    return [_within(*database, query, dtype.type(radius + 1)) for query in words]


@jit
def _within(database, by_rows, query, limit):
    n, n_strip = _strip(database, by_rows, 1)
    buffer = np.empty(n_strip + LANES, dtype=type(limit))
    kept = np.empty(LANES, dtype=np.intp)
    distances = np.empty(LANES, dtype=np.int32)
    n_kept = 0
    for start in range(0, n, n_strip):
        stop = min(start + n_strip, n)
        strip_distances(database, by_rows, query, start, stop, buffer)
        buffer[stop - start : stop - start + LANES] = -1
        for j in range(0, stop - start, LANES):
            mask = below(buffer, j, limit)
            if n_kept + LANES > len(kept):
                kept = np.concatenate((kept, np.empty_like(kept)))
                distances = np.concatenate((distances, np.empty_like(distances)))
            while mask:
                column = j + trailing_zeros(mask)
                mask &= mask - np.uint64(1)
                kept[n_kept] = start + column
                distances[n_kept] = buffer[column]
                n_kept += 1
    return distances[:n_kept].copy(), kept[:n_kept].copy()


@jit
def _compact(kept_distances, kept, n_kept, limit, n_ties):
    """Keep what is below the limit and the first `n_ties` at the limit; return how many."""
    m = 0
    for i in range(n_kept):
        d = kept_distances[i]
        if d < limit or (d == limit and n_ties > 0):
            n_ties -= d == limit
            kept[m] = kept[i]
            kept_distances[m] = d
            m += 1
    return m


@jit
def _counting_sort(kept_distances, kept, counts, distances, indices):
    """Write columns to the front of `distances` and `indices` by distance, stably."""
    counts[:] = 0
    for d in kept_distances:
        counts[d] += 1
    position = 0
    for d in range(len(counts)):
        position += counts[d]
        counts[d] = position - counts[d]
    for i in range(len(kept)):
        d = kept_distances[i]
        indices[counts[d]] = kept[i]
        distances[counts[d]] = d
        counts[d] += 1


@jit
def strip_shared(keys, query_key, table, masked, graded, start, stop, out):
    """Labels that a query shares with columns start..stop, into the front of `out`.

    `keys` are label masks, or label patterns whose shared labels are in `table`.
    """
    part = keys[start:stop]
    if not masked:
        for j in range(len(part)):
            out[j] = table[part[j]]
    elif graded:
        for j in range(len(part)):
            out[j] = popcount(part[j] & query_key)
    else:
        for j in range(len(part)):
            out[j] = (part[j] & query_key) != 0


def count_pairs(words, queries, labels, weights, counts):
    """Count columns by distance and shared labels.

    Parameters
    ----------
    words : ndarray of shape (n_words, n)
        Codes of the database.
    queries : ndarray of shape (n_words, n_queries)
        Codes of the queries.
    labels : tuple (keys, query_keys, table, masked, graded)
        Labels as `strip_shared` takes them, `query_keys` and `table` with one row per query.
    weights : ndarray of shape (n,), int64, or None
        How often every column counts; None is once.
    counts : ndarray of shape (n_queries, n_bits + 1, n_levels), int64
        Zeros, to which the counts are added.
    """
    d = np.empty(STRIP, dtype=np.min_scalar_type(counts.shape[1] - 1))
    keys, query_keys, table, masked, graded = labels
    queries = np.ascontiguousarray(queries.T)
    for part in interruptible_batches(words, len(queries)):
        part_labels = keys, query_keys[part], table[part], masked, graded
        _count_pairs(words, queries[part], *part_labels, weights, d, counts[part])


@jit
def _count_pairs(words, queries, keys, query_keys, table, masked, graded, weights, d, counts):
    n = words.shape[1]
    n_levels = counts.shape[2]
    n_cells = counts.shape[1] * n_levels
    shared = np.empty(STRIP, dtype=table.dtype)
    cell = np.empty(STRIP, dtype=np.uint16)
    tables = np.empty((4, n_cells), dtype=np.uint32)
    for i in range(len(queries)):
        flat = counts[i].reshape(n_cells)
        tables[:] = 0
        for start in range(0, n, STRIP):
            stop = min(start + STRIP, n)
            strip_distances(words, False, queries[i], start, stop, d)
            strip_shared(keys, query_keys[i], table[i], masked, graded, start, stop, shared)
            if weights is not None:
                for j in range(stop - start):
                    flat[np.uintp(d[j] * n_levels + shared[j])] += weights[start + j]
            elif n_cells > 65536:
                for j in range(stop - start):
                    flat[np.uintp(d[j] * n_levels + shared[j])] += 1
            else:
                for j in range(stop - start):
                    cell[j] = d[j] * n_levels + shared[j]
                _tally(cell, stop - start, tables)
        for t in range(4):
            flat += tables[t]


@jit
def _tally(cell, n, tables):
    """Count `n` cells, four at a time in a table each: equal ones would wait for each other."""
    first, second, third, fourth = tables[0], tables[1], tables[2], tables[3]
    low = np.uint64(0xFFFF)
    fours = cell.view(np.uint64)
    for j in range(n // 4):
        four = fours[j]
        first[four & low] += 1
        second[(four >> np.uint64(16)) & low] += 1
        third[(four >> np.uint64(32)) & low] += 1
        fourth[four >> np.uint64(48)] += 1
    for j in range(n // 4 * 4, n):
        first[cell[j]] += 1


def rank_shared(words, queries, labels, skip, n_bits, ranked):
    """Shared labels of all columns in the order of the ranking, equal distances by column.

    Parameters
    ----------
    words, queries, labels
        As in `count_pairs`.
    skip : ndarray of shape (n_queries,), intp
        A column that every query leaves out; none if -1.
    n_bits : int
        Length of the codes.
    ranked : ndarray of shape (n_queries, n_ranked)
        Where the shared labels go.
    """
    d = np.empty(words.shape[1], dtype=np.min_scalar_type(n_bits))
    keys, query_keys, table, masked, graded = labels
    queries = np.ascontiguousarray(queries.T)
    for part in interruptible_batches(words, len(queries)):
        part_labels = keys, query_keys[part], table[part], masked, graded
        _rank_shared(words, queries[part], *part_labels, skip[part], n_bits, d, ranked[part])


@jit
def _rank_shared(words, queries, keys, query_keys, table, masked, graded, skip, n_bits, d, ranked):
    n = words.shape[1]
    shared = np.empty(STRIP, dtype=table.dtype)
    position = np.empty(n_bits + 2, dtype=np.uintp)
    for i in range(len(queries)):
        order = ranked[i]
        position[:] = 0
        for start in range(0, n, STRIP):
            stop = min(start + STRIP, n)
            strip_distances(words, False, queries[i], start, stop, d[start:])
        for j in range(n):
            position[np.uintp(d[j]) + np.uintp(1)] += 1
        if skip[i] >= 0:
            position[np.uintp(d[skip[i]]) + np.uintp(1)] -= 1
        for value in range(1, n_bits + 2):
            position[value] += position[value - 1]
        for start in range(0, n, STRIP):
            stop = min(start + STRIP, n)
            strip_shared(keys, query_keys[i], table[i], masked, graded, start, stop, shared)
            for j in range(start, stop):
                if j != skip[i]:
                    order[position[d[j]]] = shared[j - start]
                    position[d[j]] += np.uintp(1)
