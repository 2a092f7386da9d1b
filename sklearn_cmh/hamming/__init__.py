"""Hamming distance: packing, distances, and exact search."""

from ._scan import (
    as_words,
    block_rows,
    check_codes,
    choose_backend,
    distance_dtype,
    distances_to,
    first_non_code,
    load_kernels,
    nearest,
    pack_codes,
    rank_rows,
    with_fallback,
    within_radius,
)

__all__ = [
    "as_words",
    "block_rows",
    "check_codes",
    "choose_backend",
    "distance_dtype",
    "distances_to",
    "first_non_code",
    "load_kernels",
    "nearest",
    "pack_codes",
    "rank_rows",
    "with_fallback",
    "within_radius",
]
