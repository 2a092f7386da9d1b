"""SCH-GAN, Semi-supervised Cross-modal Hashing by Generative Adversarial Network.

J. Zhang, Y. Peng and M. Yuan, 2018. h in (0, 1)^k is the sigmoid hash layer of a generator G
and of a discriminator D, each with one pathway per modality. For a labelled query q of one
modality, G selects rows i of the other,

    p_G(i | q) = softmax over candidates of -||h(q) - h(i)||^2                     (eq. 5)
    f(i, q)    = max(0, m + ||h(q) - h(i+)||^2 - ||h(q) - h(i)||^2)                (eqs. 7, 8)

with i+ a labelled positive. D descends the mean of f over labelled negatives and over rows
that G has selected, G ascends E log p_G(i | q) (r_i - mean of the query's other rewards),
r_i = log(1 + exp f(i, q)), in turn (eqs. 9 to 11). Codes are those of D: h > 1/2.

The paper takes sigmoid(f) for a probability of relevance, which it is not: it never falls
below 1/2. Here f is what it is, a ranking loss, and D minimises it.
"""

from collections.abc import Sequence
from numbers import Integral, Real

from ..base import Learning
from ..utils._sklearn import Interval, StrOptions
from ..utils._typing import Modalities, RandomState
from ._base import BaseDeepHasher, layer_widths

__all__ = ["SCHGAN"]


class SCHGAN(BaseDeepHasher):
    """Semi-supervised Cross-modal Hashing by a Generative Adversarial Network.

    Rows without labels take part: a row whose y is -1 (the label -1, or an indicator row of
    -1s) is unlabelled. Needs PyTorch: ``pip install "sklearn-cmh[torch]"``.

    Parameters
    ----------
    n_bits : int, default=64
        Length of the codes.
    hidden : sequence of int, default=(512,)
        Hidden layers of every pathway. The paper has one of 4096.
    margin : float, default=None
        Margin m of the ranking loss; None is ``5 * n_bits / 64``.
    pretrain_iter : int, default=30
        Epochs on labelled triplets, before generator and discriminator play.
    max_iter : int, default=60
        Epochs in all.
    pair_penalty : float, default=0.1
        Weight of the squared distance between the modalities of the same row, labelled or not.
        The paper has no such term (0), its authors' code has this one. It draws the two codes
        of a row together; `pair_weight` of other methods, which mixes the pairing into what
        rows are told apart by, is another thing.
    adversarial_weight : float, default=0.1
        Weight of the selected rows beside labelled negatives in the discriminator's loss. The
        paper weighs both alike (1).
    n_selected : int, default=20
        Rows that the generator selects per query, at least two: each is rewarded
        relative to the others.
    n_candidates : int, default=500
        Rows, drawn anew for every step, that it selects from.
    guard : bool, default=True
        Leave out candidates any of whose nearest labelled rows, in the discriminator's hash
        space, is relevant to the query: most of the rows that look like hard negatives are in
        truth positives.
    baseline : {"dis"}, default=None
        "dis" trains the discriminator alone, for the same number of epochs: what the paper
        calls Dis.
    learning_rate : float, default=1e-3
        Initial step size of Adam; it falls to zero along a half cosine.
    batch_size : int, default=64
        Queries per step, about.
    early_stopping : bool, default=False
        Whether to keep the weights that do best on labelled rows set aside, and to stop when
        `n_iter_no_change` epochs brought no gain of `tol` in their cross-modal mAP.
    validation_fraction : float, default=0.1
        Share of the labelled rows that early stopping sets aside.
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
        Seeds weights, batches and selections. An int makes fits on the CPU reproducible.
    verbose : int, default=0
        Whether to print the figures of every epoch, and what else takes time.

    Attributes
    ----------
    codes_ : ndarray of shape (n, n_bits), int8
        Codes of the training rows.
    weights_ : dict
        Modality name to {parameter: ndarray}; ``generator__`` and the name for the generator.
    specs_ : dict
        The same names to architectures.
    history_ : list of dict
        For every epoch its loss, ``relevant_rate`` and, with early stopping, validation score.
        The rate is the probability that the generator gives to truly relevant rows when
        labelled rows are its candidates: the share of false negatives among what it selects.
        The guard knows labelled rows better than others, so that the rate is a lower bound.
    objective_ : ndarray of shape (n_iter_,)
        Loss of every epoch, the mean over the steps of both players.
    n_iter_ : int
        Epochs done.
    labels_ : csr_array of shape (n, c), int8
        Label indicator of the training rows; unlabelled rows are empty.
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
    DSPAH : Better where all rows have labels.

    Notes
    -----
    What helps, in this implementation: the pair term, on all rows. The generator does not; left
    to itself it costs up to ten points of mAP, since two thirds of what it selects are relevant
    rows, and `guard` with a small `adversarial_weight` make it harmless.

    A row without labels is relevant to nothing: in `score`, the unlabelled rows among `codes_`
    count as misses. Where their labels are known after all, use
    :func:`~sklearn_cmh.metrics.mean_average_precision`, or score on a labelled gallery.

    References
    ----------
    Zhang, J., Peng, Y. and Yuan, M. (2018). SCH-GAN: semi-supervised cross-modal hashing by
    generative adversarial network. IEEE Transactions on Cybernetics. :arxiv:`1802.02488`

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_cmh import MultimodalData
    >>> from sklearn_cmh.deep import SCHGAN
    >>> from sklearn_cmh.metrics import mean_average_precision
    >>> rng = np.random.RandomState(0)
    >>> y = np.arange(80) % 2
    >>> X = MultimodalData(image=rng.randn(80, 4) + 3 * y[:, None],
    ...                    text=rng.randn(80, 3) - 3 * y[:, None])
    >>> known = np.where(np.arange(80) < 40, y, -1)  # half of the rows are unlabelled
    >>> hasher = SCHGAN(n_bits=8, hidden=(16,), pretrain_iter=15, max_iter=20, learning_rate=0.01,
    ...                 random_state=0).fit(X, known)
    >>> query = hasher.encode(X["text"], modality="text")
    >>> mean_average_precision(query, hasher.codes_, y, y) > 0.95
    True
    """

    _output_slope = 0.5

    _parameter_constraints: dict = {
        **BaseDeepHasher._parameter_constraints,
        "hidden": ["array-like"],
        "margin": [Interval(Real, 0, None, closed="neither"), None],
        "pretrain_iter": [Interval(Integral, 0, None, closed="left")],
        "pair_penalty": [Interval(Real, 0, None, closed="left")],
        "adversarial_weight": [Interval(Real, 0, None, closed="left")],
        "n_selected": [Interval(Integral, 2, None, closed="left")],
        "n_candidates": [Interval(Integral, 1, None, closed="left")],
        "guard": ["boolean"],
        "baseline": [StrOptions({"dis"}), None],
    }

    def __init__(
        self,
        n_bits: int = 64,
        *,
        hidden: Sequence[int] = (512,),
        margin: float | None = None,
        pretrain_iter: int = 30,
        max_iter: int = 60,
        pair_penalty: float = 0.1,
        adversarial_weight: float = 0.1,
        n_selected: int = 20,
        n_candidates: int = 500,
        guard: bool = True,
        baseline: str | None = None,
        learning_rate: float = 1e-3,
        batch_size: int = 64,
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
        self.hidden = hidden
        self.margin = margin
        self.pretrain_iter = pretrain_iter
        self.max_iter = max_iter
        self.pair_penalty = pair_penalty
        self.adversarial_weight = adversarial_weight
        self.n_selected = n_selected
        self.n_candidates = n_candidates
        self.guard = guard
        self.baseline = baseline
        self.learning_rate = learning_rate
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
        >>> from sklearn_cmh.deep import SCHGAN
        >>> SCHGAN.paper_grid()
        {'n_bits': [16, 32, 64, 128]}
        """
        return {"n_bits": [16, 32, 64, 128]}

    def _learning(self) -> Learning:
        return Learning(minus_one_is_unlabelled=True, from_unlabelled=True)

    def _network_specs(self, blocks):
        specs = {
            name: {
                "network": "mlp",
                "input_shape": tuple(map(int, block.shape[1:])),
                "n_bits": int(self.n_bits),
                "hidden": layer_widths(self.hidden),
                "activation": "tanh",
                "batch_norm": False,
                "dropout": 0.0,
                # The authors' initial hash layer, four times wider than torch's, is essential.
                "output_std": 0.1,
            }
            for name, block in blocks.items()
        }
        if self.baseline is None:
            specs.update({f"generator__{name}": spec for name, spec in specs.items()})
        return specs

    def _task(self, networks, reader, labels, rows, epochs_done):
        from ._adversarial import AdversarialTask

        is_labelled = labels.any(dim=1).cpu().numpy()
        generator = {
            name: networks[f"generator__{name}"]
            for name in self.modality_names_
            if f"generator__{name}" in networks
        }
        return AdversarialTask(
            {name: networks[name] for name in self.modality_names_},
            generator or None,
            reader,
            labels,
            labelled=rows[is_labelled[rows]],
            unlabelled=rows[~is_labelled[rows]],
            n_pretrain=max(0, self.pretrain_iter - epochs_done),
            margin=5 * int(self.n_bits) / 64 if self.margin is None else self.margin,
            pair_penalty=self.pair_penalty,
            adversarial_weight=self.adversarial_weight,
            n_selected=int(self.n_selected),
            n_candidates=int(self.n_candidates),
            guard=self.guard,
            learning_rate=self.learning_rate,
            batch_size=int(self.batch_size),
        )
