"""What methods that preserve targets share: labels, pairs, or both to learn from."""

from numbers import Real
from typing import Any, NamedTuple

import numpy as np
from scipy import sparse

from ..base import Learning, parametrised, warn_ignored
from ..data import multimodal
from ..features import space_rows
from ..solvers import Targets, complete_labels, label_targets, mix_targets, shared_rows
from ..utils._sklearn import HasMethods, Interval
from ..utils._transformers import fit, inner_clone
from ..utils._typing import Floats

__all__ = ["Supervision", "TargetsMixin"]


class Supervision(NamedTuple):
    """What is known of the training rows beside their features.

    `labels` is the indicator (n, c), in which a row without labels is empty, or None where there
    are no labels or pairs alone count; `pairs` are rows (n, r) of a given shared space, or None.
    """

    labels: sparse.csr_array | None
    pairs: Floats | None


@parametrised
class TargetsMixin:
    """Parameters `pair_weight` and `shared_space` of a method, and the targets that follow.

    It stands before `ShallowHasher` among the bases. `_solve` gets a `Supervision` for L.

    Parameters
    ----------
    pair_weight : float, default=0.0
        Weight p of the pairing in what codes preserve, in [0, 1]. 0 is the paper: labels alone.
        1 is pairs alone: a space that the modalities share, learned without labels; y is
        optional then and serves `score` alone. In between, targets are
        ``[sqrt(1 - p) Lt, sqrt(p) Z]``, of labels and of the shared space, and rows of one class
        are told apart. Above 0 rows without labels, -1 or an empty row of an indicator, take
        part: with a label part that is predicted from the others'. Needs two modalities.
    shared_space : SharedSpace, default=None
        The shared space for ``pair_weight > 0``, fitted to a clone. None takes a plain one from
        the mapped features: 64 components, weighted by their correlation.

    Attributes
    ----------
    shared_space_ : SharedSpace
        The fitted shared space, where `shared_space` is given and ``pair_weight > 0``.
    """

    pair_weight: float = 0.0
    shared_space: Any = None

    _parameter_constraints = {
        "pair_weight": [Interval(Real, 0, 1, closed="both")],
        "shared_space": [HasMethods(["fit", "transform"]), None],
    }

    def _learning(self):
        return Learning(
            needs_labels=self.pair_weight < 1,
            minus_one_is_unlabelled=self.pair_weight > 0,
            from_unlabelled=self.pair_weight > 0,
            without_labels="With pair_weight=1 it learns from pairs alone, without labels.",
        )

    def _warn_ignored(self, names):
        super()._warn_ignored(names)  # type: ignore[misc]
        if self.pair_weight == 0:
            warn_ignored(self, ["shared_space"], "pair_weight=0")

    def _learn(self, blocks, L, rng):
        if self.pair_weight > 0 and len(blocks) < 2:
            raise ValueError(
                f"pair_weight={self.pair_weight} learns from pairs, and pairs need two modalities; "
                f"X has one, {next(iter(blocks))!r}. Set pair_weight=0, or pass the other modality "
                "too."
            )
        labels = L if self.pair_weight < 1 else None
        pairs = self._rows_of_given_space(blocks, rng)
        super()._learn(  # type: ignore[misc]
            blocks, Supervision(labels, pairs), rng
        )

    def _rows_of_given_space(self, blocks, rng):
        """Rows in the shared space that the user gave, if any; sets `shared_space_`."""
        if self.pair_weight == 0 or self.shared_space is None:
            return None
        self.shared_space_ = fit(inner_clone(self.shared_space, rng), multimodal(blocks))
        return np.asarray(space_rows(self.shared_space_, blocks))

    def _targets(self, features, supervision, grams=None) -> Targets:
        """Targets of all rows; `grams` are the centred Gram matrices, where they are known."""
        L, Z = supervision
        if self.pair_weight == 0:
            return label_targets(L)
        if Z is None:
            Z = shared_rows(features, grams)
        Lt = None if L is None else complete_labels(L, features)
        return mix_targets(Lt, Z, self.pair_weight)


def no_labels(n):
    """An indicator (n, 0) of no class."""
    return sparse.csr_array((n, 0), dtype=np.int8)
