"""Hamming distance: packing, distances, and exact search.

Codes are packed along the bits into bytes (`pack_codes`), and bytes are laid out
word by word (`as_words`): row `w` of the result holds word `w` of every code, so
that one query meets long runs of equal words. A distance up to 255 fits in a byte
and takes only ``n_bits + 1`` values: the exact top k needs a threshold and
counting, never a heap or a full sort.
"""

from ._backends import choose_backend, compilation_shown, load_kernels, with_fallback
from ._codes import as_words, check_codes, first_non_code, pack_codes
from ._distances import block_rows, distance_dtype, distances_to
from ._multi_index import MultiIndex, index_chunks, nearest_by_index
from ._nearest import nearest
from ._scan import rank_rows, within_radius

__all__ = [
    "MultiIndex",
    "as_words",
    "block_rows",
    "check_codes",
    "choose_backend",
    "compilation_shown",
    "distance_dtype",
    "distances_to",
    "first_non_code",
    "index_chunks",
    "load_kernels",
    "nearest",
    "nearest_by_index",
    "pack_codes",
    "rank_rows",
    "with_fallback",
    "within_radius",
]
