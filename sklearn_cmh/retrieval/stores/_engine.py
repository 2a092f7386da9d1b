"""What a database does for a store."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from ...utils._typing import NDArray
from ._conditions import Condition
from ._rows import Layout

__all__ = ["Engine"]


class Engine(ABC):
    """A table of rows in a database; `layout` is None until the first rows are there.

    Rows have a position, which counts them in the order of loading, an id, a code and the
    payload.
    """

    layout: Layout | None

    def check_names(self, names: Sequence[str]) -> None:  # noqa: B027
        """Raise a ValueError where the database cannot have columns of these names."""

    @abstractmethod
    def append(self, rows: pa.Table, layout: Layout) -> None:
        """Store columns id, code and payload behind the rows that are there: all, or none."""

    def finish(self) -> None:  # noqa: B027
        """Put in order what a load has left in many pieces."""

    @abstractmethod
    def next_position(self) -> int:
        """Position of the next row to come."""

    @abstractmethod
    def select(self, ids: pa.Array, columns: Sequence[str]) -> pa.Table:
        """The columns "id" and these, in any order, of all rows with these ids."""

    @abstractmethod
    def count(self, conditions: Sequence[Condition]) -> int:
        """Rows that fulfil all conditions."""

    @abstractmethod
    def search(
        self, queries: NDArray[np.uint8], k: int, conditions: Sequence[Condition]
    ) -> tuple[NDArray[np.int32], NDArray[Any]]:
        """Distances and ids, (n_queries, k), of the k nearest rows that fulfil all conditions.

        There are that many. Equal distances come by position.
        """

    @abstractmethod
    def close(self) -> None:
        """Let go of files and connections."""
