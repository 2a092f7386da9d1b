"""Numba kernels of `hamming` and of the metrics; imported on use only.

Distances of one query are computed for a strip of rows into a small buffer of the narrowest
type; a vector comparison then gives one bit per row, so that the few rows that matter are
visited by counting trailing zeros. Several queries share each strip while it is in the cache.

One query reads the codes as they lie, and is bound by memory. For several, where they make up
for it, every strip is laid out so that nothing is summed across a vector. Where the processor
counts the bits of vectors, that is word by word: the same word of eight rows fills a vector.
Elsewhere half byte by half byte: a shuffle of bytes, a table of 16 entries, looks up how many
bits the same half byte of many rows differs by from that of the query, and counts are bytes.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache, reduce

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils, event
from numba.extending import intrinsic

from . import _distances, _numpy
from ._codes import as_words
from ._distances import distance_dtype, interruptible_batches

# Rows of one comparison, of one strip at most, and queries that share the strip at most.
LANES = 64
STRIP = 4096
TILE = 128
# Rows that a query keeps before fewer queries share a strip.
TILE_ROWS = 2**16
# Words of a line of the cache, and words and rows of a strip of codes read as they lie.
LINE = 8
STRIP_WORDS = 2**14
# Words from what is read to what is fetched into the cache.
AHEAD = 256
# Bytes of short codes, which are words of their own size.
SHORT = (1, 2, 4)
# Queries that pay for laying out a strip, and how many more they are for rows of one word; rows
# laid out at once, and bytes of a strip, which stay in the processor's first cache. Of half bytes:
# rows of a block, and half bytes whose differing bits, four at most, a byte can count.
SEVERAL_QUERIES = 5
MORE_QUERIES = 32
GROUP_ROWS = 8
BLOCK_BYTES = 2**14
BLOCK_ROWS = 2 * LANES
COUNTABLE = 62
HALVES = 2 * LINE

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


class _Notice(event.Listener):
    """Prints a line at the first compilation."""

    printed = False

    def on_start(self, event):
        """Print the line once."""
        if not self.printed:
            print("[numba] Compiling the kernels of this search: some seconds, once a machine.")
        self.printed = True

    def on_end(self, event):
        """Say nothing."""


@contextmanager
def compilation_shown() -> Iterator[None]:
    """Print a line where something has to be compiled meanwhile, and none where it is loaded."""
    with event.install_listener("numba:compile", _Notice()):
        yield


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


# --- Vectors ----------------------------------------------------------------------------------

BYTE, HALF_WORD, WORD = ir.IntType(8), ir.IntType(32), ir.IntType(64)


def _bytes(n):
    return ir.VectorType(BYTE, n)


def _pointer(context, builder, array_type, array, position, target):
    """Pointer to a place of a one-dimensional array, as one to another type."""
    data = context.make_array(array_type)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [position]), target.as_pointer())


def _load(builder, pointer, align=1):
    loaded = builder.load(pointer)
    loaded.align = align
    return loaded


def _take(builder, vector, lanes):
    """Some lanes of a vector, in any order."""
    numbers = ir.Constant(ir.VectorType(HALF_WORD, len(lanes)), list(lanes))
    return builder.shuffle_vector(vector, ir.Constant(vector.type, ir.Undefined), numbers)


def _repeated(builder, value, vector):
    """A vector of one value."""
    one = builder.insert_element(ir.Constant(vector, ir.Undefined), value, HALF_WORD(0))
    return _take(builder, one, [0] * vector.count)


def _join(builder, vectors):
    """All lanes of some vectors, a power of two, as one vector."""
    while len(vectors) > 1:
        lanes = list(range(2 * vectors[0].type.count))
        numbers = ir.Constant(ir.VectorType(HALF_WORD, len(lanes)), lanes)
        pairs = zip(vectors[::2], vectors[1::2], strict=True)
        vectors = [builder.shuffle_vector(*pair, numbers) for pair in pairs]
    return vectors[0]


def _even_and_odd(builder, vectors):
    """Lanes of some vectors, one after the other: every second one from the first, the others."""
    pairs = zip(vectors[::2], vectors[1::2], strict=True)
    both = [_join(builder, pair) for pair in pairs]
    return [[_take(builder, v, range(i, v.type.count, 2)) for v in both] for i in (0, 1)]


def _call(builder, name, result, *arguments):
    """Call a function of LLVM."""
    function = builder.module.globals.get(name)
    if function is None:
        kind = ir.FunctionType(result, [argument.type for argument in arguments])
        function = ir.Function(builder.module, kind, name)
    return builder.call(function, arguments)


def _popcount(builder, bits):
    """Set bits of a word, or of every lane of a vector."""
    if isinstance(bits.type, ir.VectorType):
        kind = f"v{bits.type.count}i{bits.type.element.width}"
        return _call(builder, f"llvm.ctpop.{kind}", bits.type, bits)
    return builder.ctpop(bits)


def _features(context):
    """What the processor that is compiled for can do, as LLVM names it."""
    return set(context.codegen().magic_tuple()[2].split(","))


# --- Distances of rows as they lie ------------------------------------------------------------

# Where the processor counts the bits of a vector of words, eight rows at a time: their counts add
# up to a vector of eight distances. Otherwise word by word, as few as can stay in registers.


def _counts_words(context):
    """Whether the processor counts the bits of words, but not of vectors of them."""
    return "+popcnt" in _features(context) and not _counts_vectors(context)


def _counts_vectors(context):
    """Whether the processor counts the bits of vectors of words."""
    return "+avx512vpopcntdq" in _features(context)


@intrinsic
def counts_vectors(typingctx):
    """Whether the processor counts the bits of vectors of words."""

    def codegen(context, builder, signature, args):
        return context.get_constant(types.boolean, _counts_vectors(context))

    return types.boolean(), codegen


def _differing(builder, row_line, query_line):
    """Bits that differ in the words of a line, as `query_line` is: a vector, or a list."""
    if isinstance(query_line, list):
        words = [_load(builder, builder.gep(row_line, [WORD(i)]), 8) for i in range(LINE)]
        pairs = zip(words, query_line, strict=True)
        return [_popcount(builder, builder.xor(*pair)) for pair in pairs]
    pointer = builder.bitcast(row_line, query_line.type.as_pointer())
    return _popcount(builder, builder.xor(_load(builder, pointer, 8), query_line))


def _load_line(context, builder, pointer):
    """Words of a line of the query: a vector, or a list where words are counted one by one."""
    if _counts_words(context):
        return [_load(builder, builder.gep(pointer, [WORD(i)]), 8) for i in range(LINE)]
    vector = ir.VectorType(WORD, LINE)
    return _load(builder, builder.bitcast(pointer, vector.as_pointer()), 8)


def _store_sums(builder, counts, n, pointer):
    """Store `n` sums of neighbouring counts of a line, or eight of those of some vectors."""
    narrow = pointer.type.pointee
    if isinstance(counts[0], list):
        (line,) = counts
        for i in range(n):
            total = reduce(builder.add, line[i * len(line) // n : (i + 1) * len(line) // n])
            builder.store(builder.trunc(total, narrow), builder.gep(pointer, [WORD(i)]))
        return
    while len(counts) > 1:
        counts = [builder.add(*pair) for pair in zip(*_even_and_odd(builder, counts), strict=True)]
    narrow = ir.VectorType(narrow, LINE)
    place = builder.bitcast(pointer, narrow.as_pointer())
    builder.store(builder.trunc(counts[0], narrow), place).align = 1


def _fetch(context, builder, pointer):
    """Fetch a line into the cache that is read soon."""
    # Vectors take so little time that the processor fetches better by itself.
    if _counts_vectors(context):
        return
    ahead = builder.bitcast(builder.gep(pointer, [WORD(AHEAD)]), BYTE.as_pointer())
    to_read, to_stay, data = HALF_WORD(0), HALF_WORD(3), HALF_WORD(1)
    _call(builder, "llvm.prefetch.p0", ir.VoidType(), ahead, to_read, to_stay, data)


@intrinsic(prefer_literal=True)
def distances_of_short(typingctx, rows, query, n_words, out, n):
    """Put the distances of `n` rows, a multiple of eight, into `out`.

    Rows have 1, 2, 4, or 8 words. `query` repeats its words to the length of a line.
    """

    def codegen(context, builder, signature, args):
        row_words, query_words, _, distances, n_rows = args
        length = n_words.literal_value
        narrow = context.get_value_type(out.dtype)
        # Once: for all that the compiler knows, what is stored might change the query.
        first = _pointer(context, builder, query, query_words, WORD(0), WORD)
        query_line = _load_line(context, builder, first)
        n_lines = 1 if isinstance(query_line, list) else length
        at_once = n_lines * LINE // length
        with cgutils.for_range_slice(builder, WORD(0), n_rows, WORD(at_once)) as (row, _):
            counts = []
            for i in range(n_lines):
                at = builder.add(builder.mul(row, WORD(length)), WORD(i * LINE))
                line = _pointer(context, builder, rows, row_words, at, WORD)
                _fetch(context, builder, line)
                counts.append(_differing(builder, line, query_line))
            place = _pointer(context, builder, out, distances, row, narrow)
            _store_sums(builder, counts, at_once, place)
        return context.get_dummy_value()

    return types.void(rows, query, n_words, out, types.intp), codegen


@intrinsic
def distances_of_long(typingctx, rows, query, n_words, out, n):
    """Put the distances in whole lines of `n` rows, a multiple of eight, into `out`.

    Rows have any number of words; those after the last whole line are left out.
    """

    def codegen(context, builder, signature, args):
        row_words, query_words, length, distances, n_rows = args
        narrow = context.get_value_type(out.dtype)
        in_lines = builder.and_(length, WORD(-LINE))
        one_by_one = _counts_words(context)
        lanes, at_once = (WORD, 1) if one_by_one else (ir.VectorType(WORD, LINE), LINE)
        sums = [cgutils.alloca_once(builder, lanes) for _ in range(at_once)]
        with cgutils.for_range_slice(builder, WORD(0), n_rows, WORD(at_once)) as (row, _):
            for i, total in enumerate(sums):
                start = builder.mul(builder.add(row, WORD(i)), length)
                builder.store(ir.Constant(lanes, None), total)
                with cgutils.for_range_slice(builder, WORD(0), in_lines, WORD(LINE)) as (word, _):
                    of_query = _pointer(context, builder, query, query_words, word, WORD)
                    at = builder.add(start, word)
                    line = _pointer(context, builder, rows, row_words, at, WORD)
                    _fetch(context, builder, line)
                    counts = _differing(builder, line, _load_line(context, builder, of_query))
                    if one_by_one:
                        counts = reduce(builder.add, counts)
                    builder.store(builder.add(builder.load(total), counts), total)
            counts = [builder.load(total) for total in sums]
            place = _pointer(context, builder, out, distances, row, narrow)
            _store_sums(builder, [counts] if one_by_one else counts, at_once, place)
        return context.get_dummy_value()

    return types.void(rows, query, types.intp, out, types.intp), codegen


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
    in_groups = n // LINE * LINE
    # The compiler has to know how many words a row has.
    if n_words == 1:
        distances_of_short(flat, _repeat(query), 1, out, in_groups)
    elif n_words == 2:
        distances_of_short(flat, _repeat(query), 2, out, in_groups)
    elif n_words == 4:
        distances_of_short(flat, _repeat(query), 4, out, in_groups)
    elif n_words == 8:
        distances_of_short(flat, query, 8, out, in_groups)
    else:
        distances_of_long(flat, query, n_words, out, in_groups)
        for w in range(n_words // LINE * LINE, n_words):
            for j in range(in_groups):
                out[j] += popcount(part[j, w] ^ query[w])
    for j in range(in_groups, n):
        distance = np.uint64(0)
        for w in range(n_words):
            distance += popcount(part[j, w] ^ query[w])
        out[j] = distance


@jit
def _repeat(query):
    """Words of a line that repeat those of a query."""
    repeated = np.empty(LINE, dtype=np.uint64)
    for w in range(LINE):
        repeated[w] = query[w % len(query)]
    return repeated


# --- Distances word by word -------------------------------------------------------------------


def _transpose(builder, lines):
    """Vectors of the first words of eight rows, of their second words, ..., from their lines."""
    if len(lines) == 1:
        return lines
    halves = (_transpose(builder, half) for half in _even_and_odd(builder, lines))
    return [column for pair in zip(*halves, strict=True) for column in pair]


@intrinsic(prefer_literal=True)
def lay_out_words(typingctx, rows, position, n_words, width, blocks, place):
    """Lay out `width` words, 1, 2, 4, or 8, of eight rows from a position on, word by word."""

    def codegen(context, builder, signature, args):
        row_words, position, n_words, _, laid_out, place = args
        vector = ir.VectorType(WORD, width.literal_value)
        parts = []
        for i in range(LINE):
            at = builder.add(position, builder.mul(n_words, WORD(i)))
            parts.append(_load(builder, _pointer(context, builder, rows, row_words, at, vector), 8))
        step = LINE // vector.count
        lines = [_join(builder, parts[i : i + step]) for i in range(0, LINE, step)]
        for w, column in enumerate(_transpose(builder, lines)):
            at = builder.add(place, WORD(w * LANES * LINE))
            pointer = _pointer(context, builder, blocks, laid_out, at, column.type)
            builder.store(column, pointer).align = 1
        return context.get_dummy_value()

    return types.void(rows, types.intp, types.intp, width, blocks, types.intp), codegen


@jit
def lay_out_by_words(rows, start, stop, blocks):
    """Words of rows start..stop: those of 64 rows, word by word."""
    n_words = rows.shape[1]
    part = rows[start:stop]
    flat = part.reshape(part.size)
    words = blocks.view(np.uint64)
    n = stop - start
    for j in range(0, n, LINE):
        place = j // LANES * LANES * n_words + j % LANES
        if j + LINE > n:
            for i in range(n - j):
                for w in range(n_words):
                    words[place + i + w * LANES] = part[j + i, w]
            break
        w = 0
        while w + 8 <= n_words:
            lay_out_words(flat, j * n_words + w, n_words, 8, blocks, 8 * (place + w * LANES))
            w += 8
        if n_words & 4:
            lay_out_words(flat, j * n_words + w, n_words, 4, blocks, 8 * (place + w * LANES))
            w += 4
        if n_words & 2:
            lay_out_words(flat, j * n_words + w, n_words, 2, blocks, 8 * (place + w * LANES))
            w += 2
        if n_words & 1:
            lay_out_words(flat, j * n_words + w, n_words, 1, blocks, 8 * (place + w * LANES))


@intrinsic
def distances_by_words(typingctx, blocks, n_words, queries, i, out, n):
    """Distances of query i to n rows that are laid out word by word, into the front of `out`."""

    def codegen(context, builder, signature, args):
        laid_out, n_words, query_words, i, distances, n = args
        lanes = ir.VectorType(WORD, LINE)
        narrow = ir.VectorType(context.get_value_type(out.dtype), LINE)
        first = builder.mul(i, n_words)
        sums = [cgutils.alloca_once(builder, lanes) for _ in range(LANES // LINE)]
        with cgutils.for_range_slice(builder, WORD(0), n, WORD(LANES)) as (j, _):
            block = builder.mul(j, n_words)
            for total in sums:
                builder.store(ir.Constant(lanes, None), total)
            with cgutils.for_range(builder, n_words) as loop:
                at = builder.add(first, loop.index)
                word = builder.load(_pointer(context, builder, queries, query_words, at, WORD))
                of_query = _repeated(builder, word, lanes)
                column = builder.add(block, builder.mul(loop.index, WORD(LANES)))
                for row, total in zip(range(0, LANES, LINE), sums, strict=True):
                    at = builder.shl(builder.add(column, WORD(row)), WORD(3))
                    words = _load(builder, _pointer(context, builder, blocks, laid_out, at, lanes))
                    count = _popcount(builder, builder.xor(words, of_query))
                    builder.store(builder.add(builder.load(total), count), total)
            counts = _join(builder, [builder.trunc(builder.load(total), narrow) for total in sums])
            pointer = _pointer(context, builder, out, distances, j, counts.type)
            builder.store(counts, pointer).align = 1
        return context.get_dummy_value()

    return types.void(blocks, types.intp, queries, types.intp, out, types.intp), codegen


# --- Distances by half bytes ------------------------------------------------------------------

# Bits that differ between two half bytes.
DIFFERING = bytearray((i ^ j).bit_count() for i in range(16) for j in range(16))


@intrinsic
def lay_out_group(typingctx, rows, position, n_words, blocks, place):
    """Lay out a word of eight rows from a position on: half byte by half byte, row by row."""

    def codegen(context, builder, signature, args):
        row_words, position, n_words, laid_out, place = args
        words = []
        for i in range(GROUP_ROWS):
            at = builder.add(position, builder.mul(n_words, WORD(i)))
            words.append(_load(builder, _pointer(context, builder, rows, row_words, at, _bytes(8))))
        by_byte = [8 * row + byte for byte in range(8) for row in range(GROUP_ROWS)]
        both = _take(builder, _join(builder, words), by_byte)
        low = builder.and_(both, ir.Constant(both.type, [15] * both.type.count))
        high = builder.lshr(both, ir.Constant(both.type, [4] * both.type.count))
        for byte in range(8):
            for half, halves in enumerate((low, high)):
                column = _take(builder, halves, range(byte * GROUP_ROWS, (byte + 1) * GROUP_ROWS))
                at = builder.add(place, WORD((2 * byte + half) * BLOCK_ROWS))
                pointer = _pointer(context, builder, blocks, laid_out, at, column.type)
                builder.store(column, pointer).align = 1
        return context.get_dummy_value()

    return types.void(rows, types.intp, types.intp, blocks, types.intp), codegen


@jit
def lay_out_by_halves(rows, start, stop, blocks):
    """Half bytes of rows start..stop: those of a block of rows, half byte by half byte."""
    n_words = rows.shape[1]
    part = rows[start:stop]
    flat = part.reshape(part.size)
    flat_bytes = flat.view(np.uint8)
    n = stop - start
    for j in range(0, n, GROUP_ROWS):
        block, row = j // BLOCK_ROWS, j % BLOCK_ROWS
        for w in range(n_words):
            place = (block * n_words + w) * HALVES * BLOCK_ROWS + row
            if j + GROUP_ROWS <= n:
                lay_out_group(flat, j * n_words + w, n_words, blocks, place)
            else:
                for i in range(n - j):
                    for b in range(8):
                        byte = flat_bytes[8 * ((j + i) * n_words + w) + b]
                        here = place + i + 2 * b * BLOCK_ROWS
                        blocks[here] = byte & np.uint8(15)
                        blocks[here + BLOCK_ROWS] = byte >> np.uint8(4)


def half_bytes(packed):
    """Half bytes of packed codes, the lower one of a byte first."""
    return _read_only(
        np.stack([packed & 15, packed >> 4], axis=2).reshape(len(packed), 2 * packed.shape[1])
    )


def _byte_shuffle(context):
    """Name of LLVM's function that shuffles bytes, and how many; no name where there is none."""
    features = _features(context)
    if "+avx512bw" in features:
        return "llvm.x86.avx512.pshuf.b.512", 64
    if "+avx2" in features:
        return "llvm.x86.avx2.pshuf.b", 32
    return None, 16


def _entries(builder, half, lanes):
    """How many bits a half byte differs by from all others, as often as it fits into a vector."""
    table = ir.Constant(ir.ArrayType(BYTE, len(DIFFERING)), DIFFERING)
    table = cgutils.global_constant(builder, "differing_bits", table)
    first = builder.gep(table, [WORD(0), builder.shl(builder.zext(half, WORD), WORD(4))])
    entries = _load(builder, builder.bitcast(first, _bytes(16).as_pointer()))
    return _take(builder, entries, [*range(16)] * (lanes.count // 16))


@intrinsic
def distances_by_halves(typingctx, blocks, n_words, queries, i, n_halves, out, n):
    """Distances of query i to n rows that are laid out half byte by half byte, into `out`.

    Queries are half bytes, and may end before the last word of the rows does, in zeros.
    """

    def codegen(context, builder, signature, args):
        laid_out, n_words, query_halves, i, n_halves, distances, n = args
        shuffle, width = _byte_shuffle(context)
        lanes = _bytes(width)
        wide = ir.VectorType(context.get_value_type(out.dtype), width)
        firsts = range(0, BLOCK_ROWS, width)
        counts = [cgutils.alloca_once(builder, lanes) for _ in firsts]
        of_query = builder.mul(i, n_halves)
        with cgutils.for_range_slice(builder, WORD(0), n, WORD(BLOCK_ROWS)) as (j, _):
            block = builder.mul(builder.mul(j, n_words), WORD(HALVES))
            results = [
                _pointer(context, builder, out, distances, builder.add(j, WORD(first)), wide)
                for first in firsts
            ]
            for result in results:
                builder.store(ir.Constant(wide, None), result).align = 1
            part_starts = cgutils.for_range_slice(builder, WORD(0), n_halves, WORD(COUNTABLE))
            with part_starts as (start, _):
                rest = builder.sub(n_halves, start)
                few = builder.icmp_signed("<", rest, WORD(COUNTABLE))
                for count in counts:
                    builder.store(ir.Constant(lanes, None), count)
                with cgutils.for_range(builder, builder.select(few, rest, WORD(COUNTABLE))) as loop:
                    number = builder.add(start, loop.index)
                    at = builder.add(of_query, number)
                    half = builder.load(_pointer(context, builder, queries, query_halves, at, BYTE))
                    of_half = _entries(builder, half, lanes) if shuffle else None
                    repeated = _repeated(builder, half, lanes)
                    row = builder.add(block, builder.mul(number, WORD(BLOCK_ROWS)))
                    for first, count in zip(firsts, counts, strict=True):
                        at = builder.add(row, WORD(first))
                        halves = _pointer(context, builder, blocks, laid_out, at, lanes)
                        halves = _load(builder, halves)
                        if shuffle:
                            differing = _call(builder, shuffle, lanes, of_half, halves)
                        else:
                            differing = _popcount(builder, builder.xor(repeated, halves))
                        builder.store(builder.add(builder.load(count), differing), count)
                for result, count in zip(results, counts, strict=True):
                    added = builder.load(count)
                    if wide != lanes:
                        added = builder.zext(added, wide)
                    added = builder.add(_load(builder, result), added)
                    builder.store(added, result).align = 1
        return context.get_dummy_value()

    query = queries, types.intp, types.intp
    return types.void(blocks, types.intp, *query, out, types.intp), codegen


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
    copied = n_bytes % 8 and n_bytes not in SHORT
    return _distances.rows_at_once(n_bytes, n_queries, copied=copied)


def layout(rows, n_queries):
    """Codes as words in rows, or short ones in words of their size."""
    by_rows = rows.shape[1] not in SHORT
    return as_row_words(rows) if by_rows else _read_only(as_words(rows)), by_rows


def as_row_words(rows):
    """Packed rows as words of 64 bits, (n, n_words), without a copy where that can be."""
    rows = np.ascontiguousarray(rows)
    if rows.shape[1] % 8:
        return _read_only(_whole_words(_read_only(rows.ravel()), rows.shape[1]))
    words = rows.view(np.uint64)
    return _read_only(words if words.flags.aligned else words.copy())


@intrinsic
def word_at(typingctx, codes, position):
    """Eight bytes from a position on, as a word."""

    def codegen(context, builder, signature, args):
        code_bytes, position = args
        return _load(builder, _pointer(context, builder, codes, code_bytes, position, WORD))

    return types.uint64(codes, types.intp), codegen


@jit
def _whole_words(codes, n_bytes):
    """Rows of some bytes, one after the other, filled up with zeros to words of 64 bits."""
    n = len(codes) // n_bytes
    n_whole = n_bytes // 8
    words = np.empty((n, n_whole + 1), dtype=np.uint64)
    spare = np.uint64(64 - 8 * (n_bytes % 8))
    for i in range(n):
        start = i * n_bytes
        for w in range(n_whole):
            words[i, w] = word_at(codes, start + 8 * w)
        if start + n_bytes >= 8:
            # The word that ends where the row does, without what comes before.
            words[i, n_whole] = word_at(codes, start + n_bytes - 8) >> spare
        else:
            last = np.uint64(0)
            for b in range(n_bytes):
                last |= np.uint64(codes[start + b]) << np.uint64(8 * b)
            words[i, n_whole] = last
    return words


def _read_only(array):
    """View that cannot be written to: one type, compiled for once, whatever comes in."""
    array = array.view()
    array.flags.writeable = False
    return array


def _query_words(queries, database, by_rows):
    """Words of the queries, a row each, like those of the database."""
    return as_row_words(queries) if by_rows else _read_only(as_words(queries).T.copy())


@jit
def _strip(database, by_rows):
    """Rows of the database, and of one strip, a multiple of the lanes of a comparison."""
    if not by_rows:
        return database.shape[1], STRIP
    n, n_words = database.shape
    return n, min(STRIP, max(LANES, STRIP_WORDS // n_words // LANES * LANES))


@jit
def _worth_laying_out(by_words, n_queries, n_words):
    if not by_words:
        return n_queries >= SEVERAL_QUERIES
    # Rows of one word lie word by word already.
    return n_words > 1 and n_queries >= SEVERAL_QUERIES + MORE_QUERIES // n_words


@jit
def _strip_of_blocks(by_words, n_words):
    """Rows of a strip that is laid out, in whole blocks, and bytes of a row."""
    n_rows, n_bytes = (LANES, 8 * n_words) if by_words else (BLOCK_ROWS, HALVES * n_words)
    return max(1, BLOCK_BYTES // (n_bytes * n_rows)) * n_rows, n_bytes


@jit
def _empty_lines(n_bytes):
    """Bytes of memory that start with a line of the cache: vectors shall not cross lines."""
    enough = np.empty(n_bytes + 8 * LINE, dtype=np.uint8)
    first = -enough.ctypes.data % (8 * LINE)
    return enough[first : first + n_bytes]


NO_HALVES = half_bytes(np.empty((0, 1), dtype=np.uint8))


def top_k(database, queries, k, limits, n_bits):
    """Find the k nearest rows, as `Backend` says; -1 where fewer are near enough."""
    words = _query_words(queries, *database)
    halves = half_bytes(queries) if len(queries) >= SEVERAL_QUERIES else NO_HALVES
    none = distance_dtype(n_bits + 1).type(n_bits + 1)
    return _top_k(*database, words, halves, k, limits.astype(np.intp), none)


@jit
def _top_k(database, by_rows, queries, halves, k, limits, none):
    n_queries = len(queries)
    distances = np.full((n_queries, k), none)
    indices = np.full((n_queries, k), np.intp(-1))
    n_words = database.shape[1]
    by_words = counts_vectors()
    several = by_rows and _worth_laying_out(by_words, n_queries, n_words)
    n, n_strip = _strip(database, by_rows)
    n_bytes = 0
    if several:
        n_strip, n_bytes = _strip_of_blocks(by_words, n_words)
    dtype = distances.dtype
    buffer = np.empty(n_strip + LANES, dtype=dtype)
    blocks = _empty_lines(n_strip * n_bytes)
    # Per query of a tile: the rows kept so far in their order, how many are kept at every
    # distance, how many below the limit; a row at the limit or above comes too late.
    n_tile = min(n_queries, TILE, max(1, TILE_ROWS // k))
    capacity = 2 * k + LANES
    kept = np.empty((n_tile, capacity), dtype=np.intp)
    kept_distances = np.empty((n_tile, capacity), dtype=dtype)
    n_kept = np.empty(n_tile, dtype=np.intp)
    counts = np.empty((n_tile, limits.max() + 1), dtype=np.intp)
    n_below = np.empty(n_tile, dtype=np.intp)
    limit = np.empty(n_tile, dtype=np.intp)
    for first in range(0, n_queries, n_tile):
        tile = range(min(n_tile, n_queries - first))
        n_kept[:] = 0
        counts[:] = 0
        n_below[:] = 0
        for t in tile:
            limit[t] = limits[first + t]
        for start in range(0, n, n_strip):
            stop = min(start + n_strip, n)
            if several:
                if by_words:
                    lay_out_by_words(database, start, stop, blocks)
                else:
                    lay_out_by_halves(database, start, stop, blocks)
            for t in tile:
                i, m = first + t, stop - start
                if several and by_words:
                    distances_by_words(blocks, n_words, queries, i, buffer, m)
                elif several:
                    distances_by_halves(blocks, n_words, halves, i, halves.shape[1], buffer, m)
                else:
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
    return distances, indices


def within(database, queries, radius, n_bits):
    """Find the rows within a radius of every query, as `Backend` says."""
    dtype = np.min_scalar_type(n_bits + 1)
    words = _query_words(queries, *database)
    return [_within(*database, query, dtype.type(radius + 1)) for query in words]


@jit
def _within(database, by_rows, query, limit):
    n, n_strip = _strip(database, by_rows)
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


def look_up(packed, starts, table_rows, queries, *asked):
    """Find the candidates within a radius, as `Backend` says."""
    in_words = packed.shape[1] % 8 == 0 and packed.flags.c_contiguous
    if not in_words or packed.__array_interface__["data"][0] % 8:
        # All rows would be copied for the sake of a few.
        return _numpy.look_up(packed, starts, table_rows, queries, *asked)
    index = as_row_words(packed), _read_only(starts), _read_only(table_rows)
    return _look_up(*index, as_row_words(queries), *asked)


@jit
def _look_up(words, starts, table_rows, queries, keys, tables, masks, radius, most):
    n_candidates = np.zeros(len(queries), dtype=np.intp)
    for i in range(len(queries)):
        for bucket in range(len(tables)):
            table = tables[bucket]
            key = np.intp(keys[i, table] ^ masks[bucket])
            n_candidates[i] += starts[table, key + 1] - starts[table, key]
    answered = n_candidates <= most
    n = (n_candidates * answered).sum()
    numbers, rows = np.empty(n, dtype=np.intp), np.empty(n, dtype=np.intp)
    distances = np.empty(n, dtype=np.int32)
    all_rows = table_rows.reshape(table_rows.size)
    end = 0
    for i in range(len(queries)):
        if not answered[i]:
            continue
        first = end
        for bucket in range(len(tables)):
            table = tables[bucket]
            key = np.intp(keys[i, table] ^ masks[bucket])
            at = first
            for place in range(starts[table, key], starts[table, key + 1]):
                row = np.intp(all_rows[place])
                distance = np.uint64(0)
                for w in range(words.shape[1]):
                    distance += popcount(words[row, w] ^ queries[i, w])
                if np.intp(distance) > radius:
                    continue
                # Rows of a bucket rise, and may be among those of others.
                while at < end and rows[at] < row:
                    at += 1
                if at == end or rows[at] != row:
                    for j in range(end, at, -1):
                        rows[j], distances[j] = rows[j - 1], distances[j - 1]
                    rows[at], distances[at] = row, distance
                    end += 1
        numbers[first:end] = i
    return numbers[:end], rows[:end], distances[:end], answered


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
