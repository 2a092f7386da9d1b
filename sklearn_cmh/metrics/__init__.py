"""Metrics of Hamming ranking, and scorers for model selection."""

from ._ranking import (
    average_precision_scores,
    lookup_precision,
    mean_average_precision,
    ndcg_at_k,
    precision_at_k,
    precision_recall_by_radius,
    recall_at_k,
)
from ._scorers import make_retrieval_scorer

__all__ = [
    "average_precision_scores",
    "lookup_precision",
    "make_retrieval_scorer",
    "mean_average_precision",
    "ndcg_at_k",
    "precision_at_k",
    "precision_recall_by_radius",
    "recall_at_k",
]
