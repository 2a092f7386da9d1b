"""Cross-modal hashing with the scikit-learn interface.

Short binary codes are learned from paired rows (an image and its text, or any
modalities), so that a query in one modality finds rows in another by Hamming
distance.
"""

from ._version import __version__
from .data import MultimodalData
from .features import AnchorRBF, SharedSpace
from .refine import RefinedHasher
from .retrieval import HammingRanker, TwoStageRanker
from .shallow import AAH, ASCMH, DSAH
from .utils._show_versions import show_versions

__all__ = [
    "AAH",
    "ASCMH",
    "DSAH",
    "AnchorRBF",
    "HammingRanker",
    "MultimodalData",
    "RefinedHasher",
    "SharedSpace",
    "TwoStageRanker",
    "__version__",
    "show_versions",
]
