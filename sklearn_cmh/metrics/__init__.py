"""Metrics of Hamming ranking, scorers for model selection, and displays."""

from ._pairs import mean_reciprocal_rank, pair_recall_at_k
from ._plot import (
    MAPByBitsDisplay,
    PrecisionAtKDisplay,
    PrecisionRecallByRadiusDisplay,
    RecallAtKDisplay,
)
from ._protocols import ProtocolTable, retrieval_protocols
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
    "MAPByBitsDisplay",
    "PrecisionAtKDisplay",
    "PrecisionRecallByRadiusDisplay",
    "ProtocolTable",
    "RecallAtKDisplay",
    "average_precision_scores",
    "lookup_precision",
    "make_retrieval_scorer",
    "mean_average_precision",
    "mean_reciprocal_rank",
    "ndcg_at_k",
    "pair_recall_at_k",
    "precision_at_k",
    "precision_recall_by_radius",
    "recall_at_k",
    "retrieval_protocols",
]
