"""Deep cross-modal hashing on PyTorch, an optional dependency: DSPAH and SCHGAN.

Importing this package does not import torch; fitting an estimator does, and says
``pip install "sklearn-cmh[torch]"`` where it is missing.
"""

from ._base import BaseDeepHasher as BaseDeepHasher
from .dspah import DSPAH
from .schgan import SCHGAN

__all__ = ["DSPAH", "SCHGAN"]
