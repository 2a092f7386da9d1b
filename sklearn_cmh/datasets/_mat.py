"""Numeric arrays of MATLAB files, read so that no file can do harm.

`scipy.io.loadmat` trusts a file: one flipped bit may end the process, and a few megabytes
may unfold to gigabytes. Here every size is compared with what is there before anything is
allocated, and only the arrays asked for are unfolded. Read are files of MATLAB's "Level 5"
format, versions 5 to 7, of either byte order: dense and sparse arrays of real numbers.
"""

import math
import os
import struct
import zlib
from collections.abc import Collection
from io import BytesIO
from typing import Any, BinaryIO, NoReturn

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

__all__ = ["dense", "read_mat"]

# Types of data elements, with NumPy's codes for numbers.
NUMBERS = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8"}
NUMBERS |= {12: "i8", 13: "u8"}
INT8, UINT8, INT32, UINT32, MATRIX, COMPRESSED = 1, 2, 5, 6, 14, 15
# Classes of arrays.
CLASSES = {6: "f8", 7: "f4", 8: "i1", 9: "u1", 10: "i2", 11: "u2", 12: "i4", 13: "u4"}
CLASSES |= {14: "i8", 15: "u8"}
SPARSE = 5
OTHERS = {1: "a cell array", 2: "a struct", 3: "an object", 4: "text"}
COMPLEX, LOGICAL = 0x0800, 0x0200
# Flags, sizes and name of an array lie within so many bytes.
HEAD = 1024


def read_mat(
    path: str | os.PathLike[str] | bytes, names: Collection[str], *, max_bytes: int
) -> dict[str, Any]:
    """Read some variables of a .mat file.

    Parameters
    ----------
    path : path-like or bytes
        The file, or its content.
    names : collection of str
        Variables to read; what the file lacks is left out.
    max_bytes : int
        How much they may take, all together.

    Returns
    -------
    arrays : dict of {str: ndarray or csc_array}
        Dense arrays in the dtype and with the axes of MATLAB, sparse ones as CSC.

    Raises
    ------
    ValueError
        If the file is damaged, of another format, or larger than `max_bytes`, or if a
        variable is no array of real numbers. The message does not name the file.
    """
    with BytesIO(path) if isinstance(path, bytes) else open(path, "rb") as file:
        try:
            return _read(file, names, max_bytes)
        except (struct.error, zlib.error, OverflowError) as error:
            raise ValueError(f"it is damaged: {error}") from error


def _read(file: BinaryIO, names, max_bytes):
    order = _byte_order(file.read(128))
    size = os.fstat(file.fileno()).st_size if not isinstance(file, BytesIO) else _length(file)
    arrays: dict[str, Any] = {}
    while tag := file.read(8):
        kind, n_bytes = struct.unpack(f"{order}II", tag)
        start = file.tell()
        if start + n_bytes > size:
            _damaged("cut short")
        if kind not in (MATRIX, COMPRESSED):
            _damaged(f"a variable of type {kind}")
        # Of a variable that is not wanted, only the head is read.
        name = _name(_head(file, kind, n_bytes, tag), order)
        if name in names and name not in arrays:
            if n_bytes > max_bytes + HEAD:
                raise ValueError(f"{name} takes more than {max_bytes:,} bytes")
            file.seek(start)
            content = file.read(n_bytes)
            if kind == COMPRESSED:
                content = _inflate(content, order, max_bytes)
            arrays[name] = _array(name, _Elements(content, order), max_bytes)
            max_bytes -= memory_of(arrays[name])
        file.seek(start + n_bytes)
    return arrays


def _length(file):
    return len(file.getbuffer())


def memory_of(array: Any) -> int:
    """Memory of a dense or CSC array."""
    if sparse.issparse(array):
        return array.data.nbytes + array.indices.nbytes + array.indptr.nbytes
    return array.nbytes


def _damaged(what: str) -> NoReturn:
    raise ValueError(f"it is damaged ({what})")


def _byte_order(header: bytes) -> str:
    if header[:10] == b"MATLAB 7.3" or header[:4] == b"\x89HDF":
        raise ValueError(
            "it is of MATLAB's version 7.3, which is HDF5: save it in MATLAB by save(..., '-v7'), "
            "or write its arrays with h5py and numpy.savez"
        )
    order = {b"IM": "<", b"MI": ">"}.get(header[126:128])
    if len(header) < 128 or order is None:
        raise ValueError("it has no header of MATLAB's versions 5 to 7")
    return order


def _head(file, kind, n_bytes, tag):
    """First bytes of the array in an element, without its tag."""
    if kind == MATRIX:
        return file.read(min(n_bytes, HEAD))
    inflater, head = zlib.decompressobj(), b""
    left = n_bytes
    while len(head) < HEAD and left > 0 and not inflater.eof:
        chunk = file.read(min(left, 4096))
        left -= len(chunk)
        head += inflater.decompress(chunk, HEAD - len(head))
    return head[8:]


def _inflate(content, order, max_bytes):
    """The array in a compressed element: exactly as long as it says, and within bounds."""
    inflater = zlib.decompressobj()
    tag = inflater.decompress(content, 8)
    if len(tag) < 8:
        _damaged("cut short")
    kind, n_bytes = struct.unpack(f"{order}II", tag)
    if kind != MATRIX:
        _damaged(f"a variable of type {kind}")
    if n_bytes > max_bytes:
        raise ValueError(f"it unfolds to {n_bytes:,} bytes, more than the {max_bytes:,} allowed")
    inflated = inflater.decompress(inflater.unconsumed_tail, n_bytes) if n_bytes else b""
    # At the end lies the checksum, which zlib compares.
    rest = inflater.decompress(inflater.unconsumed_tail, 1)
    if len(inflated) < n_bytes or rest or not inflater.eof:
        _damaged("another length than it says")
    return inflated


class _Elements:
    """Data elements one after another."""

    def __init__(self, content: bytes, order: str):
        self.content, self.order, self.at = memoryview(content), order, 0

    def take(self):
        """Type and bytes of the next element."""
        (word,) = struct.unpack_from(f"{self.order}I", self.content, self.at)
        if word >> 16:  # a small element: type, length and at most four bytes in eight
            kind, n_bytes, start = word & 0xFFFF, word >> 16, self.at + 4
            if n_bytes > 4:
                _damaged("a small element of more than four bytes")
            self.at += 8
        else:
            kind, (n_bytes,) = word, struct.unpack_from(f"{self.order}I", self.content, self.at + 4)
            start = self.at + 8
            self.at = start + n_bytes + -n_bytes % 8
        if start + n_bytes > len(self.content):
            _damaged("cut short")
        return kind, self.content[start : start + n_bytes]

    def numbers(self, kinds=NUMBERS, count=None) -> NDArray[Any]:
        """Numbers of the next element, of one of the types `kinds`."""
        kind, data = self.take()
        if kind not in kinds:
            _damaged(f"numbers of type {kind}")
        dtype = np.dtype(self.order + NUMBERS[kind])
        if len(data) % dtype.itemsize or (
            count is not None and len(data) != count * dtype.itemsize
        ):
            _damaged("another number of entries than it says")
        return np.frombuffer(data, dtype)


def _describe(elements):
    """Class, flags, shape and name: the first elements of an array."""
    flags = elements.numbers([UINT32], 2)
    shape = tuple(elements.numbers([INT32]).tolist())
    kind, name = elements.take()
    if kind not in (INT8, UINT8) or len(shape) < 2 or min(shape) < 0:
        _damaged("no name or shape")
    return int(flags[0]) & 0xFF, int(flags[0]), shape, bytes(name).decode("latin-1")


def _name(head, order):
    return _describe(_Elements(head, order))[3]


def _array(name, elements, max_bytes):
    kind, flags, shape, _ = _describe(elements)
    if flags & COMPLEX:
        raise ValueError(f"{name} holds complex numbers")
    if kind == SPARSE:
        return _sparse_array(elements, shape, flags)
    if kind not in CLASSES:
        raise ValueError(f"{name} is {OTHERS.get(kind, 'something else')}, no array of numbers")
    dtype = np.dtype(bool if flags & LOGICAL else CLASSES[kind])
    # Small integers may be stored in a byte each, whatever their dtype.
    if math.prod(shape) * dtype.itemsize > max_bytes:
        raise ValueError(f"{name}, of shape {shape}, takes more than {max_bytes:,} bytes")
    values = elements.numbers(count=math.prod(shape))
    return values.astype(dtype).reshape(shape, order="F")


def _sparse_array(elements, shape, flags):
    rows, ends = elements.numbers([INT32]), elements.numbers([INT32])
    values = elements.numbers()
    if len(shape) != 2 or len(ends) != shape[1] + 1 or ends[0] != 0 or (np.diff(ends) < 0).any():
        _damaged("columns of a sparse array")
    n_stored = int(ends[-1])
    if n_stored > min(len(rows), len(values)):
        _damaged("entries of a sparse array")
    rows = rows[:n_stored]
    if n_stored and not 0 <= rows.min() <= rows.max() < shape[0]:
        _damaged("rows of a sparse array")
    values = values[:n_stored].astype(bool if flags & LOGICAL else np.float64)
    return sparse.csc_array((values, rows.astype(np.int32), ends.astype(np.int32)), shape=shape)


def dense(array: Any, max_bytes: int) -> NDArray[Any]:
    """A dense array of one that `read_mat` returned, if it takes no more than `max_bytes`."""
    if not sparse.issparse(array):
        return array
    if math.prod(array.shape) * array.dtype.itemsize > max_bytes:
        raise ValueError(f"takes more than {max_bytes:,} bytes as a dense array")
    return array.toarray()
