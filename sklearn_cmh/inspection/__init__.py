"""Look at codes and at what they retrieve."""

from ._bits import BitReport, bit_report
from ._retrieval import RetrievalReport

__all__ = ["BitReport", "RetrievalReport", "bit_report"]
