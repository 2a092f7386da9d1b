"""What a solver returns, and the one check of it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..utils._typing import Codes, Features, Floats

__all__ = ["Solution"]


@dataclass
class Solution:
    """What a solver returns.

    Parameters
    ----------
    codes : ndarray of shape (n, n_bits)
        The matrix B, of -1 and +1.
    projections : list or dict of ndarray of shape (q_m, n_bits), or None
        Hash functions P_m, in the order of the modalities or by name; None where the method
        projects by other means.
    objective : sequence of float
        Its value after every sweep.
    n_iter : int
        Sweeps done.
    offsets : list or dict of ndarray of shape (n_bits,), default=None
        A threshold per modality and bit: the projections of features F are
        ``F @ P_m - offset``. None is zero. A method that centres its features gives
        ``mean @ P_m``, which leaves sparse features sparse.
    extras : dict, default={}
        Further fitted attributes, ``{"name_": value}``.
    """

    codes: Codes
    projections: Sequence | Mapping | None
    objective: Sequence[float]
    n_iter: int
    offsets: Sequence | Mapping | None = None
    extras: Mapping[str, Any] = field(default_factory=dict)

    def checked(
        self, method: str, features: Mapping[str, Features], n_bits: int, taken: Iterable[str] = ()
    ) -> "Solution":
        """Return the same solution with int8 codes, and with projections and offsets by name.

        Parameters
        ----------
        method : str
            Name of the method, for errors.
        features : dict of {str: (n, q_m) matrix}
            What it learned from.
        n_bits : int
            Bits that were asked for.
        taken : iterable of str, default=()
            Names that no further attribute may have.

        Raises
        ------
        ValueError
            If anything has the wrong shape, or is not finite; of codes, if any is not -1 or +1.
        """
        n = next(iter(features.values())).shape[0]
        codes = np.asarray(self.codes)
        if codes.shape != (n, n_bits):
            raise ValueError(
                f"{method}: a Solution needs codes of shape (n, n_bits), here {(n, n_bits)}; got "
                f"{codes.shape}."
            )
        if not (np.abs(codes) == 1).all():
            strange = codes[~(np.abs(codes) == 1)].flat[0]
            raise ValueError(
                f"{method}: the codes of a Solution must be -1 and +1; got {strange}. Take the "
                "signs by sklearn_cmh.base.sign."
            )
        if not np.isfinite(np.asarray(self.objective, dtype=np.float64)).all():
            raise ValueError(
                f"{method}: the objective is not finite. Rescale the features, by StandardScaler "
                "for instance, or take more moderate weights."
            )
        wrong = [name for name in self.extras if name in taken or not _is_attribute(name)]
        if wrong:
            raise ValueError(
                f"{method}: extras of a Solution are named as fitted attributes are, with a '_' at "
                f"the end, and not as those of every hasher; got {wrong[0]!r}."
            )
        return Solution(
            codes.astype(np.int8),
            _by_name(method, "projections", self.projections, features, n_bits, matrix=True),
            list(self.objective),
            int(self.n_iter),
            _by_name(method, "offsets", self.offsets, features, n_bits, matrix=False),
            dict(self.extras),
        )


def _is_attribute(name):
    return name.isidentifier() and (name.endswith("_") or name.startswith("_"))


def _by_name(method, part, given, features, n_bits, matrix) -> dict[str, Floats] | None:
    """Projections or offsets {name: array}, in the dtype of the features."""
    if given is None:
        return None
    names = list(features)
    if not isinstance(given, Mapping):
        given = dict(zip(names, given, strict=False)) if len(given) == len(names) else {}
    if set(given) != set(names):
        raise ValueError(
            f"{method}: the {part} of a Solution must be one array per modality, for {names}, in "
            "a list or by name."
        )
    arrays = {}
    for name, F in features.items():
        array = np.asarray(given[name])
        shape = (F.shape[1], n_bits) if matrix else (n_bits,)
        if array.shape != shape:
            raise ValueError(
                f"{method}: the {part} of {name!r} must have the shape {shape}; got {array.shape}."
            )
        arrays[name] = np.ascontiguousarray(array, dtype=F.dtype)
        if not np.isfinite(arrays[name]).all():
            raise ValueError(
                f"{method}: the {part} of {name!r} are not finite in {F.dtype}. Rescale the "
                "features, by StandardScaler for instance, or take more moderate weights."
            )
    return arrays
