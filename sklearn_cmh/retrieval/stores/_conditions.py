"""Conditions on the payload, as pandas.read_parquet and pyarrow write filters."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import pyarrow as pa

__all__ = ["OPERATORS", "Condition", "as_conditions"]

OPERATORS = ("==", "!=", "<", "<=", ">", ">=", "in", "not in")

LONGEST_LIST = 30_000
"""Values of a list: SQLite takes 32,766 parameters."""


class Condition(NamedTuple):
    """A row qualifies if its value stands so to this one; a missing value never does.

    Attributes
    ----------
    column : str
        Name of the column.
    operator : str
        One of `OPERATORS`.
    value : object
        A Python value of the column's type; a list of them for "in" and "not in".
    """

    column: str
    operator: str
    value: Any


def as_conditions(where: Any, types: dict[str, pa.DataType]) -> list[Condition]:
    """Check the conditions that a user passes.

    Parameters
    ----------
    where : sequence of (column, operator, value) or None
        Conditions that must all hold.
    types : dict
        Types of the columns that there are.

    Returns
    -------
    conditions : list of Condition
        The same, values in the types of their columns.

    Raises
    ------
    ValueError
        If a column or operator does not exist, or a value is not of the column's type.

    Examples
    --------
    >>> import pyarrow as pa
    >>> from sklearn_cmh.retrieval.stores._conditions import as_conditions
    >>> as_conditions([("year", ">=", 2020)], {"year": pa.int64()})
    [Condition(column='year', operator='>=', value=2020)]
    """
    if where is None:
        return []
    if isinstance(where, (str, bytes)) or not isinstance(where, Sequence):
        raise ValueError(_wrong(where))
    return [_condition(part, types) for part in where]


def _condition(part, types):
    if isinstance(part, (str, bytes)) or not isinstance(part, Sequence) or len(part) != 3:
        raise ValueError(_wrong(part))
    column, operator, value = part
    if column not in types:
        raise ValueError(f"where names the column {column!r}; the store has {list(types)}.")
    if operator not in OPERATORS:
        raise ValueError(f"The operator in where must be one of {OPERATORS}; got {operator!r}.")
    if operator in ("in", "not in"):
        if isinstance(value, (str, bytes)) or not hasattr(value, "__iter__"):
            raise ValueError(
                f"where asks for {column!r} {operator} {value!r}, which is no list of values."
            )
        values = [_value(column, each, types[column]) for each in value]
        if len(values) > LONGEST_LIST:
            raise ValueError(
                f"where lists {len(values)} values of {column!r}; databases take {LONGEST_LIST}."
            )
        return Condition(column, operator, values)
    return Condition(column, operator, _value(column, value, types[column]))


def _value(column, value, kind):
    try:
        scalar = pa.scalar(value, type=kind)
    except (pa.ArrowInvalid, pa.ArrowTypeError, TypeError, OverflowError) as error:
        raise ValueError(
            f"where compares the column {column!r}, of type {kind}, with {value!r}."
        ) from error
    if not scalar.is_valid:
        raise ValueError(
            f"where compares the column {column!r} with a missing value, which no row equals."
        )
    return scalar.as_py()


def _wrong(part):
    return (
        "where must be a list of conditions (column, operator, value), as in "
        f"[('year', '>=', 2020), ('kind', 'in', ['cat', 'dog'])]; got {part!r}."
    )
