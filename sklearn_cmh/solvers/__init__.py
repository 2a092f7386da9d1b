"""Numerics that methods share: similarities, small linear algebra, sweeps, codes."""

from ._canonical import (
    SharedBases,
    canonical_bases,
    component_signs,
    out_of_fold_components,
    shared_bases,
    whitener,
)
from ._codes import (
    clear_columns,
    constant_bits,
    fuse,
    project,
    rounding_noise,
    sign,
    warn_constant_bits,
)
from ._cyclic import cyclic_bits
from ._itq import itq_rotation, principal_directions, quantising_rotation
from ._linalg import (
    RidgeRegression,
    add_dot,
    cross,
    dense,
    dot,
    gram,
    inner,
    ridge_factor,
    ridge_projection,
    ridge_solve,
    ridge_solve_rows,
    squared_norm,
    weighted_sum,
)
from ._moments import Moments, centred_grams, column_means, fold_moments
from ._orthogonal import orthonormal_basis, polar_factor, standard_normal
from ._ridge import centred_spectrum, ridge_leave_one_out
from ._similarities import (
    CosineSimilarity,
    GraphSimilarity,
    MixedSimilarity,
    SharedLabelSimilarity,
    label_similarity,
)
from ._solution import Solution
from ._sweeps import Sweeps, quiet_passes
from ._targets import (
    Targets,
    complete_labels,
    label_rows,
    label_targets,
    mix_targets,
    shared_rows,
    targets_beside,
)

__all__ = [
    "CosineSimilarity",
    "GraphSimilarity",
    "MixedSimilarity",
    "Moments",
    "RidgeRegression",
    "SharedBases",
    "SharedLabelSimilarity",
    "Solution",
    "Sweeps",
    "Targets",
    "add_dot",
    "canonical_bases",
    "component_signs",
    "centred_grams",
    "centred_spectrum",
    "clear_columns",
    "column_means",
    "complete_labels",
    "constant_bits",
    "cross",
    "cyclic_bits",
    "dense",
    "dot",
    "fold_moments",
    "fuse",
    "gram",
    "inner",
    "itq_rotation",
    "label_similarity",
    "label_rows",
    "label_targets",
    "mix_targets",
    "orthonormal_basis",
    "out_of_fold_components",
    "polar_factor",
    "principal_directions",
    "project",
    "quantising_rotation",
    "quiet_passes",
    "ridge_factor",
    "ridge_leave_one_out",
    "ridge_projection",
    "ridge_solve",
    "ridge_solve_rows",
    "rounding_noise",
    "shared_bases",
    "shared_rows",
    "sign",
    "squared_norm",
    "standard_normal",
    "targets_beside",
    "warn_constant_bits",
    "weighted_sum",
    "whitener",
]
