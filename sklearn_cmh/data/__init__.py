"""What users pass: any accepted X as named blocks, any accepted y as one label matrix."""

from ._checks import FLOATS, check_range, checked
from ._estimator import MultimodalEstimator, RowBatches, modality_weights
from ._labels import (
    align_labels,
    encode_labels,
    is_indicator,
    label_patterns,
    labelled_rows,
    normalise_rows,
)
from ._lazy import is_lazy, joined, lazy_blocks, refuse_lazy
from ._lazy_rows import (
    ChunkedRows,
    LazyRows,
    beside,
    is_sparse,
    multimodal,
    over_rows,
    shifted,
    stacked,
)
from ._modalities import (
    Modality,
    named_transformers,
    refuse_views,
    resolve_modalities,
    select_blocks,
    split_frame,
)
from ._multimodal import MultimodalData, canonical

__all__ = [
    "FLOATS",
    "ChunkedRows",
    "LazyRows",
    "Modality",
    "MultimodalData",
    "MultimodalEstimator",
    "RowBatches",
    "align_labels",
    "beside",
    "canonical",
    "check_range",
    "checked",
    "encode_labels",
    "is_indicator",
    "is_lazy",
    "is_sparse",
    "joined",
    "label_patterns",
    "labelled_rows",
    "lazy_blocks",
    "modality_weights",
    "multimodal",
    "named_transformers",
    "normalise_rows",
    "over_rows",
    "refuse_lazy",
    "refuse_views",
    "resolve_modalities",
    "select_blocks",
    "shifted",
    "split_frame",
    "stacked",
]
