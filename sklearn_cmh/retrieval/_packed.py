"""Packed codes as users pass them: their length, and the spare bits of their last byte."""

from typing import Any

import numpy as np

from ..utils._typing import NDArray

__all__ = ["check_spare_bits", "count_bits"]


def count_bits(codes: NDArray[Any], packed: bool, n_bits: int | None) -> int:
    """Length of codes; raises where it is not what `n_bits` says, or packed ones are no bytes.

    Parameters
    ----------
    codes : ndarray of shape (n, n_columns)
        Codes, or bytes of them.
    packed : bool
        Whether they are bytes.
    n_bits : int or None
        The length that the user has said.

    Returns
    -------
    n_bits : int
        The length.
    """
    n_columns = codes.shape[1]
    if packed:
        if codes.dtype != np.uint8:
            raise ValueError(
                f"packed=True expects bytes of dtype uint8, as numpy.packbits makes them; got "
                f"{codes.dtype}. Pass codes of -1 and +1 with packed=False."
            )
        if n_bits is None:
            return 8 * n_columns
        if -(-n_bits // 8) != n_columns:
            raise ValueError(
                f"n_bits={n_bits} fills {-(-n_bits // 8)} bytes, but the packed "
                f"codes have {n_columns}: n_bits must lie between {8 * n_columns - 7} and "
                f"{8 * n_columns}."
            )
        return n_bits
    if n_bits not in (None, n_columns):
        raise ValueError(
            f"n_bits={n_bits}, but the codes have {n_columns} columns. If they are "
            "packed bytes, pass packed=True; otherwise leave n_bits out."
        )
    return n_columns


def check_spare_bits(packed: NDArray[np.uint8], n_bits: int) -> None:
    """Raise if bits of the last bytes are set that do not belong to the codes."""
    spare = -n_bits % 8
    if spare and np.bitwise_or.reduce(packed[:, -1]) & (2**spare - 1):
        raise ValueError(
            f"Packed codes of n_bits={n_bits} must leave the {spare} spare bits of the "
            "last byte, its lowest ones, zero, as numpy.packbits does; some are set."
        )
