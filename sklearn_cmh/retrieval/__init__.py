"""Search among codes."""

from ._ranker import HammingRanker
from ._two_stage import TwoStageRanker

__all__ = ["HammingRanker", "TwoStageRanker"]
