"""Numba kernels of `hamming` and of the metrics; imported on use only.

Distances of one query are computed for a strip of rows into a small buffer of the narrowest
type; a vector comparison then gives one bit per row, so that the few rows that matter are
visited by counting trailing zeros. Several queries share each strip while it is in the cache.

One query reads the codes as they lie, and is bound by memory. For several, where they make up
for it, every strip is laid out piece by piece, so that nothing is summed across a vector: the
same piece of many rows fills one. Where the processor counts the bits of vectors, pieces are of
two bytes: counts of longer ones would be narrowed more often, those of single bytes would not
hold the distances of long codes. With AVX2 alone they are half bytes: a shuffle of bytes, a table
of 16 entries, looks up how many bits they differ by from that of the query. Elsewhere, bytes.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache, reduce
from itertools import chain
from typing import NamedTuple

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
# Queries that pay for laying out a strip; bytes of a strip, which stay in the processor's first
# cache, and rows of a block in it.
SEVERAL_QUERIES = 8
STRIP_BYTES = 2**14
BLOCK_ROWS = 2 * LANES

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


def _processor(context):
    """Name of the processor that is compiled for, as LLVM calls it."""
    return context.codegen().magic_tuple()[1]


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
    # Vectors take so little time that an AMD fetches better by itself, and an Intel does not.
    if _counts_vectors(context) and _processor(context).startswith("znver"):
        return
    _prefetch(builder, builder.gep(pointer, [WORD(AHEAD)]))


def _prefetch(builder, pointer):
    """Fetch what a pointer points to into the cache, and do not wait for it."""
    to_read, to_stay, data = HALF_WORD(0), HALF_WORD(3), HALF_WORD(1)
    place = builder.bitcast(pointer, BYTE.as_pointer())
    _call(builder, "llvm.prefetch.p0", ir.VoidType(), place, to_read, to_stay, data)


@intrinsic
def fetch(typingctx, array, position):
    """Fetch what is at a position into the cache, and do not wait for it."""

    def codegen(context, builder, signature, args):
        data = context.make_array(array)(context, builder, args[0]).data
        _prefetch(builder, builder.gep(data, [args[1]]))
        return context.get_dummy_value()

    return types.void(array, types.intp), codegen


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


# --- Distances piece by piece -----------------------------------------------------------------

# Bits that differ between two half bytes.
DIFFERING = bytearray((i ^ j).bit_count() for i in range(16) for j in range(16))


class _Lanes(NamedTuple):
    """How rows that are laid out are compared.

    Attributes
    ----------
    vector : VectorType
        As many lanes as the processor compares at once, each with as many bits of a row.
    shuffle : str or None
        LLVM's name of what looks half bytes up in a table, so that a lane is two pieces; None
        where the bits of a lane are counted.
    """

    vector: ir.VectorType
    shuffle: str | None = None

    @classmethod
    def of(cls, context):
        """Those of the processor that is compiled for."""
        features = _features(context)
        if "+avx512bitalg" in features:
            return cls(ir.VectorType(ir.IntType(16), 32))
        if "+avx512bw" in features:
            return cls(_bytes(64), "llvm.x86.avx512.pshuf.b.512")
        if "+avx2" in features:
            return cls(_bytes(32), "llvm.x86.avx2.pshuf.b")
        return cls(_bytes(16))

    @property
    def bits(self):
        """Bits of a lane."""
        return self.vector.element.width

    @property
    def countable_bytes(self):
        """Bytes, in whole lanes, whose differing bits a lane can count for certain."""
        n_bytes = self.bits // 8
        return (2**self.bits - 1) // 8 // n_bytes * n_bytes

    @property
    def bytes_of_word(self):
        """Bytes that a word takes where it is laid out."""
        return 16 if self.shuffle else 8

    def pieces(self, builder, lane):
        """Pieces of one lane, or of those of a vector: itself, or its lower and upper half."""
        if not self.shuffle:
            return [lane]
        n = getattr(lane.type, "count", None)
        low, four = (ir.Constant(lane.type, [i] * n if n else i) for i in (15, 4))
        return [builder.and_(lane, low), builder.lshr(lane, four)]

    def differing(self, builder, piece):
        """Bits by which a piece of the query differs from those of a vector, as a function."""
        if not self.shuffle:
            repeated = _repeated(builder, piece, self.vector)
            return lambda rows: _popcount(builder, builder.xor(repeated, rows))
        table = ir.Constant(ir.ArrayType(BYTE, len(DIFFERING)), DIFFERING)
        table = cgutils.global_constant(builder, "differing_bits", table)
        first = builder.gep(table, [WORD(0), builder.shl(builder.zext(piece, WORD), WORD(4))])
        entries = _load(builder, builder.bitcast(first, _bytes(16).as_pointer()))
        entries = _take(builder, entries, [*range(16)] * (self.vector.count // 16))
        return lambda rows: _call(builder, self.shuffle, self.vector, entries, rows)


@intrinsic
def bytes_of_word(typingctx):
    """Bytes that a word takes where it is laid out."""

    def codegen(context, builder, signature, args):
        return context.get_constant(types.intp, _Lanes.of(context).bytes_of_word)

    return types.intp(), codegen


def _columns(builder, vectors, n):
    """Every n-th lane of some vectors, as vectors, from the first lane on, the second, ..."""
    if n == 1:
        return [vectors]
    halves = (_columns(builder, half, n // 2) for half in _even_and_odd(builder, vectors))
    return [column for pair in zip(*halves, strict=True) for column in pair]


@intrinsic
def lay_out_words(typingctx, words, blocks, place):
    """Lay out a word of a block of rows: the first piece of all of them, the second, ..."""

    def codegen(context, builder, signature, args):
        row_words, laid_out, place = args
        lanes = _Lanes.of(context)
        vector = ir.VectorType(lanes.vector.element, 8 * LANES // lanes.bits)
        lines = [
            _load(builder, _pointer(context, builder, words, row_words, WORD(i), vector))
            for i in range(0, BLOCK_ROWS, LINE)
        ]
        for column in _columns(builder, lines, 64 // lanes.bits):
            pieces = zip(*(lanes.pieces(builder, part) for part in column), strict=True)
            for part in chain.from_iterable(pieces):
                pointer = _pointer(context, builder, blocks, laid_out, place, vector)
                builder.store(part, pointer).align = 1
                place = builder.add(place, WORD(8 * LINE))
        return context.get_dummy_value()

    return types.void(words, blocks, types.intp), codegen


@jit
def lay_out_strip(rows, start, stop, blocks):
    """Lay out rows start..stop, block by block; what fills up the last block is anything."""
    n_words = rows.shape[1]
    words = np.empty(BLOCK_ROWS, dtype=np.uint64)
    place = 0
    for j in range(start, stop, BLOCK_ROWS):
        for w in range(n_words):
            for i in range(min(BLOCK_ROWS, stop - j)):
                words[i] = rows[j + i, w]
            lay_out_words(words, blocks, place)
            place += BLOCK_ROWS * bytes_of_word()


@intrinsic
def distances_by_pieces(typingctx, blocks, queries, i, n_bytes, out, n):
    """Distances of query i to n rows that are laid out piece by piece, into the front of `out`.

    Bytes of the query's words from `n_bytes` on are zero, as those of the rows are.
    """

    def codegen(context, builder, signature, args):
        laid_out, query_words, i, n_bytes, distances, n = args
        lanes = _Lanes.of(context)
        kind = lanes.vector
        narrow = context.get_value_type(out.dtype)
        block_lanes = ir.VectorType(narrow, BLOCK_ROWS)
        shape = context.make_array(queries)(context, builder, query_words).shape
        n_words = builder.extract_value(shape, 1)
        at = builder.mul(i, n_words)
        of_query = _pointer(context, builder, queries, query_words, at, BYTE)
        sums = [cgutils.alloca_once(builder, kind) for _ in range(0, BLOCK_ROWS, kind.count)]

        def count(block, start, stop):
            for total in sums:
                builder.store(ir.Constant(kind, None), total)
            with cgutils.for_range_slice(builder, start, stop, WORD(lanes.bits // 8)) as (byte, _):
                place = builder.gep(of_query, [byte])
                lane = _load(builder, builder.bitcast(place, kind.element.as_pointer()))
                at = builder.mul(byte, WORD(BLOCK_ROWS * lanes.bytes_of_word // 8))
                at = builder.add(block, at)
                for piece in lanes.pieces(builder, lane):
                    differing = lanes.differing(builder, piece)
                    for total in sums:
                        place = _pointer(context, builder, blocks, laid_out, at, kind)
                        counts = differing(_load(builder, place))
                        builder.store(builder.add(builder.load(total), counts), total)
                        at = builder.add(at, WORD(kind.count * lanes.bits // 8))
            return _join(builder, [_as_wide(builder, builder.load(t), narrow) for t in sums])

        with cgutils.for_range_slice(builder, WORD(0), n, WORD(BLOCK_ROWS)) as (j, _):
            block = builder.mul(builder.mul(j, n_words), WORD(lanes.bytes_of_word))
            result = _pointer(context, builder, out, distances, j, block_lanes)
            if narrow.width <= lanes.bits:
                builder.store(count(block, WORD(0), n_bytes), result).align = 1
            else:
                builder.store(ir.Constant(block_lanes, None), result).align = 1
                n_part = WORD(lanes.countable_bytes)
                with cgutils.for_range_slice(builder, WORD(0), n_bytes, n_part) as (start, _):
                    stop = builder.add(start, n_part)
                    last = builder.icmp_signed("<", n_bytes, stop)
                    counts = count(block, start, builder.select(last, n_bytes, stop))
                    counts = builder.add(_load(builder, result), counts)
                    builder.store(counts, result).align = 1
        return context.get_dummy_value()

    query = queries, types.intp, types.intp
    return types.void(blocks, *query, out, types.intp), codegen


def _as_wide(builder, numbers, element):
    """The numbers of a vector as those of another type."""
    kind = ir.VectorType(element, numbers.type.count)
    if numbers.type == kind:
        return numbers
    wider = numbers.type.element.width < element.width
    return (builder.zext if wider else builder.trunc)(numbers, kind)


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
    words = _words_in_place(rows)
    if words is not None:
        return words
    if rows.shape[1] % 8:
        return _read_only(_whole_words(_read_only(rows.ravel()), rows.shape[1]))
    return _read_only(rows.view(np.uint64).copy())


def _words_in_place(rows):
    """View of packed rows as words of 64 bits, or None where they have to be copied."""
    if rows.shape[1] % 8 or not rows.flags.c_contiguous:
        return None
    words = _read_only(rows.view(np.uint64))
    return words if words.flags.aligned else None


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
def _strip_of_blocks(n_words):
    """Rows of a strip that is laid out, in whole blocks, and bytes of a row."""
    n_bytes = bytes_of_word() * n_words
    return max(1, STRIP_BYTES // (n_bytes * BLOCK_ROWS)) * BLOCK_ROWS, n_bytes


@jit
def _empty_lines(n_bytes):
    """Bytes of memory that start with a line of the cache: vectors shall not cross lines."""
    enough = np.empty(n_bytes + 8 * LINE, dtype=np.uint8)
    first = -enough.ctypes.data % (8 * LINE)
    return enough[first : first + n_bytes]


def top_k(database, queries, k, limits, n_bits):
    """Find the k nearest rows, as `Backend` says; -1 where fewer are near enough."""
    words = _query_words(queries, *database)
    none = distance_dtype(n_bits + 1).type(n_bits + 1)
    return _top_k(*database, words, queries.shape[1], k, limits.astype(np.intp), none)


@jit
def _top_k(database, by_rows, queries, n_bytes, k, limits, none):
    n_queries = len(queries)
    distances = np.full((n_queries, k), none)
    indices = np.full((n_queries, k), np.intp(-1))
    n_words = database.shape[1]
    several = by_rows and n_queries >= SEVERAL_QUERIES
    n, n_strip = _strip(database, by_rows)
    n_row = 0
    if several:
        n_strip, n_row = _strip_of_blocks(n_words)
    dtype = distances.dtype
    buffer = np.empty(n_strip + LANES, dtype=dtype)
    blocks = _empty_lines(n_strip * n_row)
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
                lay_out_strip(database, start, stop, blocks)
            for t in tile:
                i, m = first + t, stop - start
                if several:
                    distances_by_pieces(blocks, queries, i, n_bytes, buffer, m)
                else:
                    strip_distances(database, by_rows, queries[i], start, stop, buffer)
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
    words = _words_in_place(packed)
    if words is None:
        # All rows would be copied for the sake of a few.
        return _numpy.look_up(packed, starts, table_rows, queries, *asked)
    index = words, _read_only(starts), _read_only(table_rows)
    return _look_up(*index, as_row_words(queries), *asked)


@jit
def _bucket(starts, keys, table, mask):
    """Where the rows of a bucket start and stop among those of all tables."""
    key = np.intp(keys[table] ^ mask)
    return starts[table, key], starts[table, key + 1]


@jit
def _look_up(words, starts, table_rows, queries, keys, tables, masks, radius, most):
    n_words = words.shape[1]
    all_rows, all_words = table_rows.reshape(table_rows.size), words.reshape(words.size)
    n_candidates = np.zeros(len(queries), dtype=np.intp)
    for i in range(len(queries)):
        for bucket in range(len(tables)):
            start, stop = _bucket(starts, keys[i], tables[bucket], masks[bucket])
            fetch(all_rows, start)
            n_candidates[i] += stop - start
    answered = n_candidates <= most
    n = (n_candidates * answered).sum()
    numbers, rows = np.empty(n, dtype=np.intp), np.empty(n, dtype=np.intp)
    distances = np.empty(n, dtype=np.int32)
    end = 0
    for i in range(len(queries)):
        if not answered[i]:
            continue
        # Candidates lie anywhere in memory: all are asked for before the first is waited for.
        for bucket in range(len(tables)):
            start, stop = _bucket(starts, keys[i], tables[bucket], masks[bucket])
            for place in range(start, stop):
                fetch(all_words, np.intp(all_rows[place]) * n_words)
        first = end
        for bucket in range(len(tables)):
            start, stop = _bucket(starts, keys[i], tables[bucket], masks[bucket])
            at = first
            for place in range(start, stop):
                row = np.intp(all_rows[place])
                distance = np.uint64(0)
                for w in range(n_words):
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
