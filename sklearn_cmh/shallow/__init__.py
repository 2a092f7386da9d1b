"""The shallow methods, one a file."""

from ._aah import AAH
from ._ascmh import ASCMH
from ._dsah import DSAH

__all__ = ["AAH", "ASCMH", "DSAH"]
