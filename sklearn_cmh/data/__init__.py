"""What users pass: any accepted X as named blocks, any accepted y as one label matrix."""

from ._labels import (
    align_labels,
    encode_labels,
    is_indicator,
    label_patterns,
    labelled_rows,
    normalise_rows,
)
from ._modalities import (
    Modality,
    MultimodalData,
    named_transformers,
    refuse_views,
    resolve_modalities,
    select_blocks,
    split_frame,
)

__all__ = [
    "Modality",
    "MultimodalData",
    "align_labels",
    "encode_labels",
    "is_indicator",
    "label_patterns",
    "labelled_rows",
    "named_transformers",
    "normalise_rows",
    "refuse_views",
    "resolve_modalities",
    "select_blocks",
    "split_frame",
]
