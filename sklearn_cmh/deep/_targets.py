"""Targets of a deep method: labels, pairs, or both, as the rows whose inner products are S."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy import sparse
from sklearn.preprocessing import normalize

from ..data import MultimodalData, labelled_rows, normalise_rows
from ..features import AnchorRBF, SharedSpace
from ..solvers import Targets, complete_labels, mix_targets
from ..utils._transformers import fit_transform, inner_clone, transform

__all__ = ["fit_space", "make_targets"]

# Of the default space, and of the map from which labels are predicted.
N_COMPONENTS = 64
N_ANCHORS = 1000


def flat(block):
    """Rows of features: pictures become their pixels, one after the other."""
    return block.reshape(len(block), -1).astype(np.float32) if block.ndim > 2 else block


def fit_space(
    blocks: Mapping[str, Any],
    pair_weight: float,
    shared_space: SharedSpace | None,
    rng: np.random.RandomState,
) -> SharedSpace:
    """Fit a space that the modalities share.

    Parameters
    ----------
    blocks : dict
        Modality name to rows.
    pair_weight : float
        The pair weight p, above 0. Beside labels a plain space serves; where pairs are all, the
        settings of the space are searched.
    shared_space : SharedSpace or None
        Cloned and fitted; None is a default one.
    rng : RandomState
        Draws anchors and folds.

    Returns
    -------
    space : SharedSpace
        Fitted.
    """
    if len(blocks) < 2:
        raise ValueError(
            f"pair_weight={pair_weight} learns from pairs, and pairs need two modalities; X has "
            f"one, {next(iter(blocks))!r}. Set pair_weight=0, or give X a second modality."
        )
    if shared_space is None:
        n_anchors = min(N_ANCHORS, next(iter(blocks.values())).shape[0])
        shared_space = SharedSpace(N_COMPONENTS, n_anchors=n_anchors)
        if pair_weight < 1:
            shared_space.set_params(regularisation=0.1, feature_map=None)
    space = inner_clone(shared_space, rng)
    return space.fit(MultimodalData(**{name: flat(block) for name, block in blocks.items()}))


def make_targets(
    blocks: Mapping[str, Any],
    L: sparse.csr_array | None,
    pair_weight: float,
    space: SharedSpace,
    rng: np.random.RandomState,
) -> Targets:
    """Return ``T = [sqrt(1 - p) Lt, sqrt(p) Z]``, labels predicted where rows have none.

    Parameters
    ----------
    blocks : dict
        Modality name to rows.
    L : csr_array of shape (n, c) or None
        Label indicator; None only where the pair weight is 1.
    pair_weight : float
        The pair weight p, above 0.
    space : SharedSpace
        Fitted.
    rng : RandomState
        Draws the anchors of the features from which labels are predicted.

    Returns
    -------
    targets : Targets
        With rows of norm one.
    """
    blocks = {name: flat(block) for name, block in blocks.items()}
    Z = normalize(transform(space, MultimodalData(**blocks)))
    if pair_weight == 1 or L is None:
        return mix_targets(None, Z, 1)
    if labelled_rows(L).all():
        return mix_targets(normalise_rows(L), Z, pair_weight)
    anchors = AnchorRBF(min(N_ANCHORS, L.shape[0]))
    features = [fit_transform(inner_clone(anchors, rng), block) for block in blocks.values()]
    return mix_targets(complete_labels(L, features), Z, pair_weight)
