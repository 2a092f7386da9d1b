"""What SQL databases share: names, types, conditions as parameters."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from ...utils._typing import NDArray
from ._conditions import Condition
from ._rows import RESERVED, TIME, Layout

__all__ = ["TYPES", "as_table", "layout_of", "nearest_as_arrays", "quoted", "where_clause"]

TYPES = {
    pa.bool_(): "BOOLEAN",
    pa.int64(): "BIGINT",
    pa.float64(): "FLOAT8",
    pa.string(): "TEXT",
    TIME: "TIMESTAMP",
}
"""Arrow types, and what SQLite, DuckDB and PostgreSQL call them."""

# What catalogues say.
NAMES = {name: kind for kind, name in TYPES.items()} | {
    "DOUBLE": pa.float64(),
    "DOUBLE PRECISION": pa.float64(),
    "TIMESTAMP WITHOUT TIME ZONE": TIME,
    "VARCHAR": pa.string(),
}
SYMBOLS = {"==": "=", "!=": "<>", "in": "IN", "not in": "NOT IN"}


def quoted(name: str) -> str:
    """Return an identifier, quoted."""
    return '"' + name.replace('"', '""') + '"'


def where_clause(
    conditions: Sequence[Condition],
    quote: Callable[[str], str] = quoted,
    placeholder: str = "?",
) -> tuple[str, list[Any]]:
    """Conditions as SQL with placeholders, and the values that go there.

    Examples
    --------
    >>> from sklearn_cmh.retrieval.stores._conditions import Condition
    >>> from sklearn_cmh.retrieval.stores._sql import where_clause
    >>> where_clause([Condition("year", "in", [2020, 2021]), Condition("kind", "==", "cat")])
    ('WHERE "year" IN (?, ?) AND "kind" = ?', [2020, 2021, 'cat'])
    """
    terms, values = [], []
    for column, operator, value in conditions:
        symbol = SYMBOLS.get(operator, operator)
        if not isinstance(value, list):
            terms.append(f"{quote(column)} {symbol} {placeholder}")
            values.append(value)
        elif value:
            terms.append(f"{quote(column)} {symbol} ({', '.join([placeholder] * len(value))})")
            values += value
        else:
            # A missing value is neither in nor not in a list.
            terms.append("1 = 0" if operator == "in" else f"{quote(column)} IS NOT NULL")
    return (f"WHERE {' AND '.join(terms)}" if terms else ""), values


def layout_of(table: str, columns: Sequence[tuple[str, str]], n_bits: int, code: str) -> Layout:
    """Layout of a table that exists, from the names and types of its columns.

    Columns of types that stores do not keep are the user's own, and left alone.

    Raises
    ------
    ValueError
        If the table is no store's.
    """
    kinds = [(name, NAMES.get(kind.upper())) for name, kind in columns]
    ids = (pa.int64(), pa.string())
    if (
        tuple(name for name, _ in columns[:3]) != RESERVED
        or kinds[1][1] not in ids
        or not columns[2][1].upper().startswith(code)
    ):
        raise ValueError(
            f"There is a table {table!r} that is no store: it has the columns "
            f"{[name for name, _ in columns]}, where a store's begin with {list(RESERVED)}. Choose "
            "another name."
        )
    payload = pa.schema([(name, kind) for name, kind in kinds[3:] if kind is not None])
    return Layout(n_bits, kinds[1][1], payload)


def as_table(
    records: Sequence[Sequence[Any]], types: Mapping[str, pa.DataType], names: Sequence[str]
) -> pa.Table:
    """Records of a database as columns of these names, in their types."""
    columns = list(zip(*records, strict=True)) or [()] * len(names)
    arrays = [pa.array(column, types[name]) for name, column in zip(names, columns, strict=True)]
    return pa.table(arrays, names=list(names))


def nearest_as_arrays(
    found: Sequence[Sequence[tuple[int, Any]]], layout: Layout
) -> tuple[NDArray[np.int32], NDArray[Any]]:
    """Distances and ids of every query, of as many rows each, as two arrays."""
    distances = np.array([[distance for distance, _ in rows] for rows in found], dtype=np.int32)
    ids = np.array([[each for _, each in rows] for rows in found], dtype=layout.id_dtype)
    return distances, ids
