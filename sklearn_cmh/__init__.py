"""Cross-modal hashing with the scikit-learn interface.

Short binary codes are learned from paired rows (an image and its text, or any
modalities), so that a query in one modality finds rows in another by Hamming
distance.
"""

from ._version import __version__
from .aah import AAH
from .ascmh import ASCMH
from .dsah import DSAH
from .feature_maps import AnchorRBF
from .modalities import MultimodalData
from .ranking import HammingRanker
from .refine import RefinedHasher

__all__ = [
    "AAH",
    "ASCMH",
    "DSAH",
    "AnchorRBF",
    "HammingRanker",
    "MultimodalData",
    "RefinedHasher",
    "__version__",
]
