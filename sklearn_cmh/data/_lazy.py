"""Rows that are not there yet: arrays of Dask, alone or as blocks of a MultimodalData."""

from typing import Any

from ..utils._dask import is_dask
from ..utils._typing import MatrixLike
from ._multimodal import MultimodalData, stack_lazily

__all__ = ["is_lazy", "joined", "lazy_blocks", "refuse_lazy"]

ALONE = ""
"""Name of rows that are no block of a MultimodalData, which has no empty names."""


def is_lazy(X: MatrixLike) -> bool:
    """Whether X is an array of Dask, or a MultimodalData that holds one."""
    if isinstance(X, MultimodalData):
        return any(is_dask(block) for block in X.blocks.values())
    return is_dask(X)


def lazy_blocks(X: MatrixLike) -> dict[str, Any]:
    """Arrays of Dask by name; one of them if X is one.

    Raises
    ------
    ValueError
        If other blocks of X are no arrays of Dask.
    """
    if not isinstance(X, MultimodalData):
        return {ALONE: stack_lazily("X", X)}
    others = [name for name, block in X.blocks.items() if not is_dask(block)]
    if others:
        raise ValueError(
            f"Some blocks of X are Dask arrays, but {others} are not: wrap them with "
            "dask.array.from_array, or compute the others."
        )
    return dict(X.blocks)


def joined(blocks: dict[str, Any]) -> MatrixLike:
    """Rows of `lazy_blocks` in the form of the X from which they come."""
    return blocks[ALONE] if ALONE in blocks else MultimodalData(**blocks)


def refuse_lazy(X: MatrixLike, why: str = "") -> None:
    """Raise where X would have to be in memory, but is an array of Dask; `why` ends the message."""
    if is_lazy(X):
        raise TypeError(
            "X holds Dask arrays, and this fit needs its rows in memory: fit on a sample, such as "
            "some chunks of them after compute(), and pass all rows to transform or encode, which "
            f"take Dask arrays chunk by chunk. {why}".strip()
        )
