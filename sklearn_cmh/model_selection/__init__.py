"""Splitters beside scikit-learn's."""

from ._unseen import UnseenClassSplit

__all__ = ["UnseenClassSplit"]
