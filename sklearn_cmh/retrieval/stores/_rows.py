"""Rows of a store as Arrow tables: codes, ids and payload, checked and in a few types."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from sklearn.utils.validation import check_array

from ...hamming import check_codes, pack_codes
from ...utils._typing import NDArray
from .._packed import check_spare_bits, count_bits

__all__ = [
    "RESERVED",
    "TIME",
    "Layout",
    "as_binary",
    "as_bits",
    "as_ids",
    "as_rows",
    "check_fits",
    "check_id_type",
    "from_binary",
    "from_bits",
    "number_rows",
    "packed_codes",
]

RESERVED = ("position", "id", "code")
"""Columns that every store has of itself."""

LONGEST_NAME = 63
"""Bytes of a column's name that PostgreSQL keeps."""

TIME = pa.timestamp("us")


class Layout(NamedTuple):
    """What the rows of a store have in common.

    Attributes
    ----------
    n_bits : int
        Length of the codes.
    id_type : DataType
        int64 or string.
    payload : Schema
        Names and types of the other columns: bool, int64, double, string, timestamp[us].
    """

    n_bits: int
    id_type: pa.DataType
    payload: pa.Schema

    @property
    def n_bytes(self) -> int:
        """Bytes of a packed code."""
        return -(-self.n_bits // 8)

    @property
    def id_dtype(self) -> np.dtype[Any]:
        """Type of ids in NumPy: int64, or object for strings."""
        return np.dtype(self.id_type.to_pandas_dtype())

    def types(self) -> dict[str, pa.DataType]:
        """Types of the columns that can be filtered by."""
        return {
            "id": self.id_type,
            **dict(zip(self.payload.names, self.payload.types, strict=True)),
        }


# --- Codes ------------------------------------------------------------------------------------


def packed_codes(
    codes: Any, packed: bool, n_bits: int | None, name: str
) -> tuple[NDArray[np.uint8], int]:
    """Packed form and length of the codes that a user passes."""
    if not packed:
        codes = check_codes(codes, input_name=name)
        return pack_codes(codes), count_bits(codes, packed, n_bits)
    codes = check_array(codes, dtype=None, input_name=name)
    n_bits = count_bits(codes, packed, n_bits)
    check_spare_bits(codes, n_bits)
    return np.ascontiguousarray(codes), n_bits


def as_binary(packed: NDArray[np.uint8]) -> pa.Array:
    """Packed codes as an Arrow array of bytes of one length."""
    n, n_bytes = packed.shape
    buffer = pa.py_buffer(np.ascontiguousarray(packed))
    return pa.Array.from_buffers(pa.binary(n_bytes), n, [None, buffer])


def from_binary(codes: pa.ChunkedArray) -> NDArray[np.uint8]:
    """Packed codes of an Arrow column of bytes of one length."""
    parts = [_bytes(chunk) for chunk in codes.chunks]
    return np.concatenate(parts) if parts else np.empty((0, codes.type.byte_width), np.uint8)


def _bytes(chunk):
    width = chunk.type.byte_width
    whole = np.frombuffer(chunk.buffers()[1] or b"", dtype=np.uint8)
    return whole[chunk.offset * width : (chunk.offset + len(chunk)) * width].reshape(-1, width)


def as_bits(packed: NDArray[np.uint8], n_bits: int) -> pa.Array:
    """Packed codes as strings of 0 and 1, as databases read bit strings."""
    digits = np.unpackbits(packed, axis=1, count=n_bits) + np.uint8(ord("0"))
    offsets = np.arange(0, (len(packed) + 1) * n_bits, n_bits, dtype=np.int64)
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(digits)]
    return pa.Array.from_buffers(pa.large_string(), len(packed), buffers)


def from_bits(strings: list[str], n_bits: int) -> NDArray[np.uint8]:
    """Packed codes of strings of 0 and 1."""
    digits = np.frombuffer("".join(strings).encode("ascii"), dtype=np.uint8)
    return np.packbits((digits - ord("0")).reshape(-1, n_bits), axis=1)


# --- Ids and payload --------------------------------------------------------------------------


def as_rows(packed: NDArray[np.uint8], ids: Any, payload: Any) -> pa.Table:
    """Columns id, code and payload of rows; no column id where `ids` is None."""
    columns = {} if ids is None else {"id": _checked_ids(ids, len(packed))}
    columns["code"] = as_binary(packed)
    return pa.table({**columns, **_checked_payload(payload, len(packed))})


def number_rows(rows: pa.Table, first: int) -> pa.Table:
    """The rows with a column id, which counts from `first` where there was none."""
    if "id" in rows.column_names:
        return rows
    return rows.add_column(0, "id", pa.array(np.arange(first, first + len(rows))))


def check_fits(rows: pa.Table, n_bits: int, layout: Layout | None) -> tuple[pa.Table, Layout]:
    """Rows in the types of a store, and its layout, which the first rows set.

    Raises
    ------
    ValueError
        If codes have another length, ids another type, or the payload other columns or
        types than the rows before.
    """
    given = rows.drop_columns(["id", "code"]).schema
    if layout is None:
        unknown = [field.name for field in given if pa.types.is_null(field.type)]
        if unknown:
            raise ValueError(
                f"The columns {unknown} of payload hold missing values only, so that their type is "
                "not known: pass them as an array, Series or Arrow column of the right type."
            )
        return rows, Layout(n_bits, rows.schema.field("id").type, given)
    if n_bits != layout.n_bits:
        raise ValueError(
            f"The codes have {n_bits} bits, but those in the store have {layout.n_bits}: a store "
            "holds the codes of one hasher."
        )
    check_id_type(rows["id"].type, layout.id_type)
    if sorted(given.names) != sorted(layout.payload.names):
        raise ValueError(
            f"payload has the columns {given.names}, but the rows in the store have "
            f"{layout.payload.names}: pass the same columns with every batch."
        )
    columns = {
        field.name: _cast(field.name, rows[field.name], field.type) for field in layout.payload
    }
    return pa.table({"id": rows["id"], "code": rows["code"], **columns}), layout


def check_id_type(given: pa.DataType, stored: pa.DataType) -> None:
    """Raise where ids are numbers and those stored strings, or the other way round."""
    if given != stored:
        raise ValueError(
            f"The ids are of type {given}, but those in the store of type {stored}: all ids of a "
            "store are integers, or all are strings."
        )


def _cast(name, column, target):
    try:
        return column.cast(target)
    except pa.ArrowInvalid as error:
        raise ValueError(
            f"The column {name!r} of payload is of type {target} in the store, and does not take "
            f"these values of type {column.type}: {error}."
        ) from error


def as_ids(ids: Any) -> pa.Array:
    """Ids as Arrow's int64 or strings."""
    try:
        column = _as_arrow(ids)
    except (pa.ArrowInvalid, pa.ArrowTypeError, TypeError) as error:
        raise ValueError(f"ids must be integers, or strings: {error}.") from error
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if pa.types.is_integer(column.type):
        column = _cast("ids", column, pa.int64())
    elif _is_string(column.type):
        column = column.cast(pa.string())
    else:
        raise ValueError(f"ids must be integers, or strings; got {column.type}.")
    if column.null_count:
        raise ValueError(f"ids must all be there; {column.null_count} are missing.")
    return column


def _checked_ids(ids, n):
    column = as_ids(ids)
    if len(column) != n:
        raise ValueError(f"There are {n} codes, but {len(column)} ids: pass one id per row.")
    counts = pc.value_counts(column)
    doubled = counts.filter(pc.greater(counts.field("counts"), 1)).field("values")
    if len(doubled):
        raise ValueError(
            f"ids must differ from row to row; {_some(doubled)} stand there more than once."
        )
    return column


def _some(values):
    shown = ", ".join(repr(value) for value in values[:3].to_pylist())
    return shown if len(values) <= 3 else f"{shown} and {len(values) - 3} more"


def _checked_payload(payload, n):
    """Columns of the payload by name, in the few types that stores keep."""
    if payload is None:
        return {}
    columns = _columns(payload)
    _check_names(list(columns))
    checked = {}
    for name, values in columns.items():
        column = _plain(name, values)
        if len(column) != n:
            raise ValueError(
                f"There are {n} codes, but the column {name!r} of payload has {len(column)} values."
            )
        checked[name] = column
    return checked


def _columns(payload):
    if isinstance(payload, Mapping):
        return dict(payload)
    if hasattr(payload, "column_names"):  # pyarrow
        names = payload.column_names
        if len(set(names)) < len(names):
            raise ValueError(f"The columns of payload must have different names; got {names}.")
        return dict(zip(names, payload.columns, strict=True))
    if hasattr(payload, "columns"):  # pandas, polars
        names = list(payload.columns)
        if len(set(names)) < len(names):
            raise ValueError(f"The columns of payload must have different names; got {names}.")
        return {name: payload[name] for name in names}
    raise TypeError(
        "payload must be a DataFrame, an Arrow table, or a dict of columns; got "
        f"{type(payload).__name__}."
    )


def _check_names(names):
    for name in names:
        if not isinstance(name, str) or not name or "\0" in name:
            raise ValueError(f"Columns of payload must be named by strings; got {name!r}.")
        if len(name.encode("utf-8", "surrogatepass")) > LONGEST_NAME:
            raise ValueError(
                f"The name {name!r} of a column of payload is longer than the {LONGEST_NAME} bytes "
                "that databases keep: shorten it."
            )
    lowered = [name.lower() for name in names]
    if len(set(lowered)) < len(lowered):
        raise ValueError(
            f"The columns of payload must differ in more than upper and lower case; got {names}."
        )
    taken = [name for name in names if name.lower() in RESERVED]
    if taken:
        raise ValueError(
            f"The columns {taken} of payload have names that stores use themselves, "
            f"{', '.join(RESERVED)}: rename them."
        )


def _as_arrow(values):
    """One Arrow array of a column of any kind; NaN of pandas and NumPy counts as missing."""
    if isinstance(values, (pa.Array, pa.ChunkedArray)):
        column = values
    elif hasattr(values, "to_arrow"):  # polars
        column = values.to_arrow()
    else:
        column = pa.array(values, from_pandas=True)
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column


def _plain(name, values):
    """A column of payload in one of the types that every store keeps."""
    try:
        column = _as_arrow(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError, TypeError) as error:
        raise ValueError(
            f"The column {name!r} of payload holds no values of one kind: {error}."
        ) from error
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    target = _plain_type(column.type)
    if target is None:
        raise ValueError(
            f"The column {name!r} of payload is of type {column.type}; stores keep booleans, "
            "numbers, strings and times without a zone. Convert it, or leave it out."
        )
    column = _cast(name, column, target)
    if target == pa.float64():
        column = pc.if_else(pc.is_nan(column), pa.scalar(None, target), column)
    return column


def _plain_type(given):
    if pa.types.is_boolean(given) or pa.types.is_null(given):
        return given
    if pa.types.is_integer(given):
        return pa.int64()
    if pa.types.is_floating(given):
        return pa.float64()
    if _is_string(given):
        return pa.string()
    if pa.types.is_date(given) or (pa.types.is_timestamp(given) and given.tz is None):
        return TIME
    return None


def _is_string(given):
    view = getattr(pa.types, "is_string_view", lambda _: False)
    return pa.types.is_string(given) or pa.types.is_large_string(given) or view(given)
