"""What numbers a block may hold."""

import numpy as np
from scipy import sparse
from sklearn.utils import check_array

from ._multimodal import canonical

__all__ = ["FLOATS", "check_range", "checked"]

FLOATS = [np.float64, np.float32]


def checked(X, complaint, **options):
    """Validate X as `check_array` does; an error begins with the `complaint`.

    Sparse X becomes CSR without duplicate entries.
    """
    try:
        with np.errstate(over="ignore", invalid="ignore"):  # of infinities that are refused
            X = check_array(X, accept_sparse="csr", **options)
    except ValueError as error:
        raise ValueError(f"{complaint}: {error}") from error
    return canonical(X) if sparse.issparse(X) else X


def check_range(F, what, cure):
    """Refuse numbers whose squares and their sums are too near the end of what `F` can hold.

    `what` they are begins the error, and the `cure` ends it.
    """
    values = F.data if sparse.issparse(F) else F
    largest = float(max(values.max(), -values.min())) if values.size else 0.0
    limits = np.finfo(F.dtype)
    low, high = float(limits.tiny) ** 0.4, float(limits.max) ** 0.4
    if largest and not low <= largest <= high:
        raise ValueError(
            f"{what} are of the order of {largest:.1g}, whose squares are too near the end of "
            f"{F.dtype} to compute with: {cure}."
        )
