"""What methods share that learn from pairs of rows of two modalities."""

__all__ = ["check_paired"]


def check_paired(method, features, at_most=None):
    """Refuse features {name: (n, q)} of one modality, or of more than a method can take."""
    names = list(features)
    if len(names) < 2:
        raise ValueError(
            f"{method} learns from pairs, and pairs need two modalities; X has {names}."
        )
    if at_most is not None and len(names) > at_most:
        raise ValueError(
            f"{method} takes {at_most} modalities; X has {names}. Drop the others: "
            '(name, "drop", columns) in `modalities`, or leave them out of MultimodalData.'
        )
