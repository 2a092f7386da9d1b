"""Signs of embeddings that share a space, after centring every modality.

Embeddings of images and texts trained to share a space lie in two narrow cones of it, apart by
the *modality gap*: most of what a sign sees is which modality a row has. Centring every modality
by its own mean closes the gap. A random rotation spreads what the coordinates hold over the bits.
"""

import numpy as np

from ..base import BaseHasher, Learning
from ..features import check_scale
from ..solvers import column_means, polar_factor, project, sign, warn_constant_bits
from ..utils._sklearn import StrOptions
from ..utils._typing import Modalities, RandomState

__all__ = ["CentredSign"]


class CentredSign(BaseHasher):
    """Signs of embeddings of one space, every modality centred first.

    A baseline, which learns nothing but means: for modalities whose columns mean the same, as
    those of a joint image and text encoder do. Labels are used for nothing but `score`.

    Parameters
    ----------
    n_bits : int, default=64
        Length of the codes.
    modalities : {"prefix"}, dict or list of tuples, default=None
        Which columns belong to which modality: ``(name, transformer, columns)`` triples,
        ``{name: columns}``, or "prefix". None takes a MultimodalData's own.
    rotation : {"random", None}, default="random"
        "random" takes the signs of `n_bits` random directions, orthogonal to each other as far as
        there are that many; None those of the first `n_bits` coordinates.
    random_state : int, RandomState instance or None, default=None
        Draws the directions.
    verbose : bool or int, default=False
        Without effect.

    Attributes
    ----------
    codes_ : ndarray of shape (n, n_bits), int8
        Fused codes of the training rows.
    means_ : dict
        Modality name to mean (d,).
    projection_ : ndarray of shape (d, n_bits)
        Hash function, the same for all modalities.

    See Also
    --------
    CCAITQ : Learns what the modalities share.
    sklearn_cmh.SharedSpace : Real-valued rows of what they share.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_cmh import MultimodalData
    >>> from sklearn_cmh.shallow import CentredSign
    >>> rng = np.random.RandomState(0)
    >>> thing = rng.randn(100, 16)
    >>> X = MultimodalData(image=thing + 5, text=thing - 5)
    >>> hasher = CentredSign(n_bits=32, random_state=0).fit(X)
    >>> np.array_equal(hasher.encode(X, modality="image"), hasher.encode(X, modality="text"))
    True
    """

    _parameter_constraints: dict = {
        **BaseHasher._parameter_constraints,
        "rotation": [StrOptions({"random"}), None],
    }

    def __init__(
        self,
        n_bits: int = 64,
        *,
        modalities: Modalities = None,
        rotation: str | None = "random",
        random_state: RandomState = None,
        verbose: bool | int = False,
    ):
        self.n_bits = n_bits
        self.modalities = modalities
        self.rotation = rotation
        self.random_state = random_state
        self.verbose = verbose

    _is_baseline = True

    def _learning(self):
        return Learning(needs_labels=False, from_unlabelled=True)

    def _fit_blocks(self, blocks, L, rng):
        widths = {name: block.shape[1] for name, block in blocks.items()}
        width = next(iter(widths.values()))
        for name, block in blocks.items():
            check_scale(name, block)
        if set(widths.values()) != {width}:
            raise ValueError(
                "CentredSign takes embeddings of one space, so all modalities need the same number "
                f"of columns; got {widths}. CCAITQ takes modalities of different widths."
            )
        if self.rotation is None:
            if self.n_bits > width:
                raise ValueError(
                    f"n_bits={self.n_bits} is more than the {width} coordinates that there are; "
                    "lower it, or set rotation='random'."
                )
            self.projection_ = np.eye(width, self.n_bits)
        else:
            self.projection_ = polar_factor(rng.standard_normal((width, self.n_bits)))
        self.means_ = {name: column_means(block) for name, block in blocks.items()}
        self.codes_ = sign(self._project_blocks(blocks))
        warn_constant_bits(self.codes_, "Lower n_bits.")

    @property
    def _bears_threads(self):
        return True

    def _project(self, name, block):
        return project(block, self.projection_, self.means_[name] @ self.projection_)
