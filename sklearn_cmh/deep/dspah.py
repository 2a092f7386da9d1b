"""DSPAH, Deep Similarity Preserving and Attention-based Hashing.

S. Chen, S. Wu and Y. Chen, "Deep Similarity Preserving and Attention-based Hashing for
Cross-Modal Retrieval", 2022. With f_i, g_j in [-1, 1]^k the outputs of one network per
modality and s_ij the cosine of label sets (eq. 2), it minimises

    sum over modality pairs, the same one twice included, of
        mean over rows i, j of ((<f_i, g_j> + k) / 2 - k s_ij)^2 / k^2             (eq. 5)
    + quantisation * sum over modalities of mean (B - F)^2,   B = sgn(F + G)       (eq. 6)

Beyond the paper, s_ij may be an inner product of targets that hold the pairing of the modalities
too; see `pair_weight`.

Means stand where the paper prints sums. As printed, with stochastic gradient descent at
10^-1.5, every bit collapses to a constant, and the two terms of eq. 7 differ by a factor
n k^2, so that the second is absent in effect.
"""

import warnings
from collections.abc import Callable, Mapping, Sequence
from numbers import Integral, Real
from os import PathLike
from typing import Any

from ..base import Learning, warn_ignored
from ..data import labelled_rows
from ..features import SharedSpace
from ..utils._callbacks import report
from ..utils._sklearn import HasMethods, Interval, StrOptions
from ..utils._typing import Modalities, RandomState
from ._base import (
    BaseDeepHasher,
    layer_widths,
    per_modality,
    refuse_unlabelled,
    whole_numbers,
)
from ._targets import fit_space, make_targets

__all__ = ["DSPAH"]

NETWORKS = ("auto", "mlp", "resnet34", "multiscale")


class DSPAH(BaseDeepHasher):
    """Deep Similarity Preserving and Attention-based Hashing.

    One network per modality maps rows to relaxed codes whose inner products follow the
    fine-grained similarity of the label sets. Needs PyTorch: ``pip install
    "sklearn-cmh[torch]"``. Every row needs labels, unless `pair_weight` is above 0.

    Parameters
    ----------
    n_bits : int, default=64
        Length of the codes.
    network : {"auto", "mlp", "resnet34", "multiscale"}, callable or dict, default="auto"
        Network of every modality, or {name: network}. "mlp" takes features and bags of words,
        "resnet34" pictures of values from 0 to 255, "multiscale" bags of words, pooled at several
        scales. "auto" is "resnet34" for blocks of shape (n, H, W, channels) and where `image_shape`
        names the modality, else "mlp". A callable takes (input_shape, n_bits) and returns a
        `torch.nn.Module` that maps a float batch of that shape to (b, n_bits).
    hidden : sequence of int, default=(1024,)
        Hidden layers of "mlp".
    dropout : float, default=0.5
        Dropout after every hidden layer of "mlp".
    image_shape : tuple or dict, default=None
        Shape (H, W, channels) of pictures that come as flattened columns, or {name: shape}.
    width : int, default=64
        Channels of the first of the four stages of "resnet34" and "multiscale". 64 is the
        paper's ResNet-34; 16 is 16 times cheaper.
    attention : bool, default=True
        Channel and spatial attention (CBAM) on every stage.
    cross_level : bool, default=True
        Whether all four stages contribute to the code, weighted bit by bit, or the last alone.
    pretrained : {"imagenet"}, path or mapping, default=None
        Initial weights of "resnet34" with ``width=64``: a state dict of a ResNet-34 under
        torchvision's names or the file of one; "imagenet" asks torchvision, where installed.
    augment : bool, default=False
        Random flips and shifts of pictures while training.
    similarity : {"cosine", "any"}, default="cosine"
        Fine-grained similarity, or 1 for pairs that share any label.
    pair_weight : float, default=0.0
        Weight p of the pairing in the similarity of rows, in [0, 1]: ``(1 - p)`` times that of
        their labels and ``p`` times that in a space that the modalities share. 0 is the paper, and
        finds classes; above 0, codes tell rows of a class apart and find the row's own partner,
        and rows without labels take part (-1, or an empty indicator row); 1 needs no y.
    shared_space : SharedSpace, default=None
        The space of the pairing, cloned and fitted. None is one of 64 components on 1,000 anchors
        a modality where labels are there as well, and one whose settings are searched where
        `pair_weight` is 1. Pictures are rows of pixels to it.
    quantisation : float, default=0.01
        Weight of the quantisation loss.
    pairs : {"batch", "buffer"}, default="batch"
        Pairs within a batch, or of a batch with the latest codes of all training rows.
    updates : {"joint", "alternating"}, default="joint"
        Whether a step moves all networks, or one after the other.
    optimiser : {"adam", "sgd"}, default="adam"
        Adam, or stochastic gradient descent with momentum 0.9.
    learning_rate : float, default=1e-3
        Initial step size; it falls to zero along a half cosine. For "sgd", 0.3 works.
    max_iter : int, default=40
        Epochs.
    batch_size : int, default=128
        Rows per step, about: batches are of nearly equal size.
    early_stopping : bool, default=False
        Whether to keep the weights that do best on rows set aside, and to stop when
        `n_iter_no_change` epochs brought no gain of `tol` in their cross-modal mAP.
    validation_fraction : float, default=0.1
        Share of the rows that early stopping sets aside.
    n_iter_no_change : int, default=10
        Epochs without gain before training stops.
    tol : float, default=1e-4
        Least gain in mAP that counts.
    device : str, default="auto"
        "auto" takes CUDA, then MPS, then the CPU; else a name that torch knows. An estimator
        fitted on a GPU encodes on the CPU where there is none.
    mixed_precision : bool, default=True
        Products in bfloat16, where they are safe; only on GPUs that have it (NVIDIA's from Ampere
        on).
    warm_start : bool, default=False
        Whether `fit` goes on from the last weights.
    modalities : dict, list of tuples or "prefix", default=None
        Which columns belong to which modality, as in `DSAH`.
    random_state : int, RandomState instance or None, default=None
        Seeds weights, batches and dropout. An int makes fits on the CPU reproducible.
    verbose : int, default=0
        Whether to print the figures of every epoch, and what else takes time.

    Attributes
    ----------
    codes_ : ndarray of shape (n, n_bits), int8
        Codes of the training rows: B of the paper.
    weights_ : dict
        Modality name to {parameter: ndarray}.
    specs_ : dict
        Modality name to the architecture of its network.
    shared_space_ : SharedSpace or None
        The space of the pairing; None where `pair_weight` is 0.
    history_ : list of dict
        Loss of every epoch and, with early stopping, validation score.
    objective_ : ndarray of shape (n_iter_,)
        Loss of every epoch.
    n_iter_ : int
        Epochs done.
    labels_ : csr_array of shape (n, c), int8
        Label indicator of the training rows; None where `y` was None.
    classes_ : ndarray of shape (c,)
        Class of every column of `labels_`.
    modality_names_ : list of str
        Names of the modalities.
    n_features_in_ : int
        Columns of X.
    feature_names_in_ : ndarray
        Names of the columns, where X had names.

    See Also
    --------
    SCHGAN : Learns from rows without labels too.

    Notes
    -----
    "mlp" centres the columns and divides the whole block by one scale, so that the units of
    features do not matter. Columns of very different scales deserve a `StandardScaler` in
    `modalities`. On bags of words, "multiscale" works but costs more and finds less than "mlp",
    with the words in any order.

    From scratch on 1,519 emoji of 32 x 32 pixels and 32 bits, ``width=16, augment=True,
    batch_size=32`` takes two minutes on two cores and finds held-out rows with a mAP of 0.52
    (image to text) and 0.48 (text to image); features that are given do better, 0.57 both ways,
    in ten seconds (``examples/methods/plot_dspah_emoji.py``).

    References
    ----------
    Chen, S., Wu, S. and Chen, Y. (2022). Deep similarity preserving and attention-based hashing
    for cross-modal retrieval.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_cmh import MultimodalData
    >>> from sklearn_cmh.deep import DSPAH
    >>> rng = np.random.RandomState(0)
    >>> y = np.arange(60) % 2
    >>> X = MultimodalData(image=rng.randn(60, 4) + 3 * y[:, None],
    ...                    text=rng.randn(60, 3) - 3 * y[:, None])
    >>> hasher = DSPAH(n_bits=8, hidden=(16,), learning_rate=0.01, max_iter=20, random_state=0)
    >>> hasher = hasher.fit(X, y)
    >>> hasher.encode(X["text"], modality="text").shape
    (60, 8)
    >>> hasher.score(X, y) > 0.95
    True
    """

    _parameter_constraints: dict = {
        **BaseDeepHasher._parameter_constraints,
        "network": [StrOptions(set(NETWORKS)), callable, Mapping],
        "hidden": ["array-like"],
        "dropout": [Interval(Real, 0, 1, closed="left")],
        "image_shape": [tuple, list, Mapping, None],
        "width": [Interval(Integral, 1, None, closed="left")],
        "attention": ["boolean"],
        "cross_level": ["boolean"],
        "pretrained": [str, PathLike, Mapping, None],
        "augment": ["boolean"],
        "similarity": [StrOptions({"cosine", "any"})],
        "pair_weight": [Interval(Real, 0, 1, closed="both")],
        "shared_space": [HasMethods(["fit", "transform"]), None],
        "quantisation": [Interval(Real, 0, None, closed="left")],
        "pairs": [StrOptions({"batch", "buffer"})],
        "updates": [StrOptions({"joint", "alternating"})],
        "optimiser": [StrOptions({"adam", "sgd"})],
    }

    shared_space_: Any

    def __init__(
        self,
        n_bits: int = 64,
        *,
        network: str | Callable | Mapping[str, Any] = "auto",
        hidden: Sequence[int] = (1024,),
        dropout: float = 0.5,
        image_shape: Sequence[int] | Mapping[str, Sequence[int]] | None = None,
        width: int = 64,
        attention: bool = True,
        cross_level: bool = True,
        pretrained: str | PathLike | Mapping[str, Any] | None = None,
        augment: bool = False,
        similarity: str = "cosine",
        pair_weight: float = 0.0,
        shared_space: SharedSpace | None = None,
        quantisation: float = 0.01,
        pairs: str = "batch",
        updates: str = "joint",
        optimiser: str = "adam",
        learning_rate: float = 1e-3,
        max_iter: int = 40,
        batch_size: int = 128,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 10,
        tol: float = 1e-4,
        device: str = "auto",
        mixed_precision: bool = True,
        warm_start: bool = False,
        modalities: Modalities = None,
        random_state: RandomState = None,
        verbose: bool | int = 0,
    ):
        self.n_bits = n_bits
        self.network = network
        self.hidden = hidden
        self.dropout = dropout
        self.image_shape = image_shape
        self.width = width
        self.attention = attention
        self.cross_level = cross_level
        self.pretrained = pretrained
        self.augment = augment
        self.similarity = similarity
        self.pair_weight = pair_weight
        self.shared_space = shared_space
        self.quantisation = quantisation
        self.pairs = pairs
        self.updates = updates
        self.optimiser = optimiser
        self.learning_rate = learning_rate
        self.max_iter = max_iter
        self.batch_size = batch_size
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.tol = tol
        self.device = device
        self.mixed_precision = mixed_precision
        self.warm_start = warm_start
        self.modalities = modalities
        self.random_state = random_state
        self.verbose = verbose

    @staticmethod
    def paper_grid() -> dict[str, list]:
        """Code lengths of the paper's tables; it sweeps nothing else.

        Returns
        -------
        param_grid : dict
            For `GridSearchCV`.

        Examples
        --------
        >>> from sklearn_cmh.deep import DSPAH
        >>> DSPAH.paper_grid()
        {'n_bits': [16, 32, 64]}
        """
        return {"n_bits": [16, 32, 64]}

    def _learning(self) -> Learning:
        return Learning(
            needs_labels=self.pair_weight < 1,
            minus_one_is_unlabelled=self.pair_weight > 0,
            from_unlabelled=True,
            without_labels="With pair_weight=1, pairs alone are learned from.",
        )

    def _check_labelled(self, L):
        if self.pair_weight == 0:
            refuse_unlabelled(self, L)
        elif self.similarity == "any" and self.pair_weight < 1:
            raise ValueError(
                'similarity="any" is not graded, so that pairs cannot be mixed into it: set '
                f'pair_weight=0 ({self.pair_weight} now) or similarity="cosine".'
            )

    def _supervision(self, blocks, L, rng, resume):
        if self.pair_weight == 0:
            warn_ignored(self, ["shared_space"], "pair_weight=0")
            self.shared_space_ = None
            return super()._supervision(blocks, L, rng, resume)
        if not resume or getattr(self, "shared_space_", None) is None:
            report(self, "shared space of the modalities")
            self.shared_space_ = fit_space(blocks, self.pair_weight, self.shared_space, rng)
        if L is not None and self.pair_weight < 1 and not labelled_rows(L).all():
            report(self, "labels of the rows that have none")
        return make_targets(blocks, L, self.pair_weight, self.shared_space_, rng).toarray()

    def _network_specs(self, blocks):
        networks = per_modality(self.network, blocks, "network")
        shapes = per_modality(self.image_shape, blocks, "image_shape")
        named = isinstance(self.image_shape, Mapping)
        specs = {}
        for name, block in blocks.items():
            network, shape = networks[name], block.shape[1:]
            if network in (None, "auto"):
                pictures = len(shape) > 1 or (named and shapes[name] is not None)
                network = "resnet34" if pictures else "mlp"
            elif not callable(network) and network not in NETWORKS:
                raise ValueError(
                    f"network of {name!r} must be one of {NETWORKS}, or a callable; got "
                    f"{network!r}."
                )
            if network == "resnet34" and len(shape) == 1:
                shape = self._picture_shape(name, shapes[name], shape[0])
            specs[name] = {
                "network": network,
                "input_shape": tuple(map(int, shape)),
                "n_bits": int(self.n_bits),
                **self._options(network),
            }
        self._warn_ignored(specs, blocks)
        return specs

    def _warn_ignored(self, specs, blocks):
        """Warn of parameters that are set but have no effect, and of pictures that look dark."""
        pictures = [name for name, spec in specs.items() if spec["network"] == "resnet34"]
        if not pictures:
            reason = 'networks other than network={"image": "resnet34"}'
            warn_ignored(self, ["image_shape", "pretrained"], reason)
        for name in pictures:
            if blocks[name].dtype.kind == "f" and blocks[name].max() <= 1:
                warnings.warn(
                    f"The pictures of modality {name!r} have no value above 1, but 'resnet34' "
                    "expects values from 0 to 255: multiply them by 255."
                )

    def _picture_shape(self, name, image_shape, n_columns):
        """Shape of flattened pictures."""
        given = image_shape if isinstance(image_shape, (tuple, list)) else ()
        shape = whole_numbers(given, f"image_shape of {name!r}")
        if len(shape) == 2:
            shape = (*shape, 1)
        if len(shape) != 3 or shape[0] * shape[1] * shape[2] != n_columns:
            raise ValueError(
                f'network="resnet34" needs pictures, but {name!r} has {n_columns} columns: pass '
                "them as (n, H, W, channels) in a MultimodalData, or set image_shape to their "
                f"(H, W, channels); got image_shape={image_shape!r}."
            )
        return shape

    def _options(self, network):
        if network == "mlp":
            return {"hidden": layer_widths(self.hidden), "dropout": float(self.dropout)}
        residual = {
            "width": int(self.width),
            "attention": self.attention,
            "cross_level": self.cross_level,
        }
        if network == "resnet34":
            return {**residual, "augment": self.augment}
        return residual if network == "multiscale" else {}

    def _initialise(self, name, network, blocks):
        super()._initialise(name, network, blocks)
        if self.pretrained is not None and self.specs_[name]["network"] == "resnet34":
            from ._networks import load_backbone, read_pretrained

            load_backbone(network.resnet, read_pretrained(self.pretrained))

    def _task(self, networks, reader, labels, rows, epochs_done):
        from ._pairwise import PairwiseTask

        return PairwiseTask(
            networks,
            reader,
            labels,
            rows,
            similarity="targets" if self.pair_weight else self.similarity,
            quantisation=self.quantisation,
            pairs=self.pairs,
            updates=self.updates,
            optimiser=self.optimiser,
            learning_rate=self.learning_rate,
            batch_size=self.batch_size,
        )
