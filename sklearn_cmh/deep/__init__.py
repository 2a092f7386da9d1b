"""Deep cross-modal hashing on PyTorch, an optional dependency.

Importing this package does not import torch; fitting an estimator does, and says
``pip install "sklearn-cmh[torch]"`` where it is missing.
"""

from ._base import BaseDeepHasher as BaseDeepHasher
from .dcmh import DCMH
from .dspah import DSPAH
from .schgan import SCHGAN
from .ssah import SSAH

__all__ = ["DCMH", "DSPAH", "SCHGAN", "SSAH"]
