"""Hash functions and bits of any shallow method, chosen by leave-one-out retrieval."""

from ..features import sqrt_norm
from ..solvers import ridge_leave_one_out
from ._bits import (
    bit_alignment,
    greedy_bits,
    selection_terms,
    swap_bits,
)
from ._refined import RefinedHasher
from ._ridge import LeaveOneOutRidge

__all__ = [
    "LeaveOneOutRidge",
    "RefinedHasher",
    "bit_alignment",
    "greedy_bits",
    "ridge_leave_one_out",
    "selection_terms",
    "sqrt_norm",
    "swap_bits",
]
