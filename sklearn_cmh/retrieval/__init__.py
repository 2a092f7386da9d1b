"""Search among codes."""

from ._ranker import HammingRanker

__all__ = ["HammingRanker"]
