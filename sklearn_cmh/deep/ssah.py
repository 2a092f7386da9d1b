"""SSAH, Self-Supervised Adversarial Hashing.

C. Li, C. Deng, N. Li, W. Liu, X. Gao and D. Tao, "Self-Supervised Adversarial Hashing Networks
for Cross-Modal Retrieval", CVPR 2018. A network of the labels maps the label set of row i to
semantic features f_i, a hash layer h_i in (-1, 1)^k and labels again. With s_ij = 1 where rows
share a label and l(t, s) = log(1 + exp t) - s t it minimises

    alpha sum l(<f_i, f_j> / 2, s_ij) + gamma sum l(<h_i, h_j> / 2, s_ij)
    + eta ||B - H||^2 + beta ||L^ - L||^2

and leads one network per modality m, whose features and hash layers take the place of one side:

    alpha sum l(<f_i, f_j^m> / 2, s_ij) + gamma sum l(<h_i, h_j^m> / 2, s_ij)
    + eta ||B - H^m||^2 + beta ||L^m - L||^2 .

A discriminator per modality learns to tell its features from those of the labels, by squared
error; the modality learns to be taken for labels. B = sgn(H + sum of H^m).

Means over the pairs of a batch stand where the paper prints sums over all pairs. The features are
signed: in the authors' code they are outputs of a ReLU, whose inner products are never negative,
so that no pair can be less than even odds.
"""

from collections.abc import Sequence
from numbers import Integral, Real

from ..utils._sklearn import Interval
from ..utils._typing import Modalities, RandomState
from ._base import BaseDeepHasher, layer_widths, refuse_unlabelled

__all__ = ["SSAH"]

LABELS = "label__network"
DISCRIMINATOR = "discriminator__"
# Hidden layers of a discriminator, as in the authors' code.
DISCRIMINATOR_HIDDEN = (512, 256)


class SSAH(BaseDeepHasher):
    """Self-Supervised Adversarial Hashing, on features.

    A network of the labels leads those of the modalities, in a semantic space and in code space,
    and discriminators make the modalities alike. Needs PyTorch: ``pip install
    "sklearn-cmh[torch]"``. Every row needs labels.

    Parameters
    ----------
    n_bits : int, default=64
        Length of the codes.
    hidden : sequence of int, default=(1024,)
        Hidden layers of every network below its semantic features. The paper has one of 4096.
    n_semantic : int, default=512
        Width of the semantic features.
    dropout : float, default=0.5
        Dropout after every hidden layer of the modalities' networks.
    alpha, gamma : float, default=1.0
        Weights of the likelihood of semantic features, and of that of hash layers.
    eta : float, default=1.0
        Weight of the quantisation term.
    beta : float, default=1.0
        Weight of the squared error of predicted labels.
    adversarial_weight : float, default=1.0
        Weight of the discriminators in the loss of the modalities; 0 has no discriminators.
    learning_rate : float, default=1e-3
        Initial step size of Adam; it falls to zero along a half cosine.
    max_iter : int, default=40
        Epochs: of labels, discriminators and every modality. In the first, the network of the
        labels trains ten epochs ahead.
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
        Codes of the training rows, of their modalities alone.
    weights_ : dict
        Modality name to {parameter: ndarray}; ``label__network`` for the network of the labels,
        ``discriminator__`` and the name for the discriminators.
    specs_ : dict
        The same names to architectures.
    history_ : list of dict
        Loss of every epoch and, with early stopping, validation score.
    objective_ : ndarray of shape (n_iter_,)
        Loss of every epoch, the mean over the steps of all players: it need not fall.
    n_iter_ : int
        Epochs done.
    labels_ : csr_array of shape (n, c), int8
        Label indicator of the training rows.
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
    DSPAH : Graded similarity of label sets, without networks beside those of the modalities.
    SCHGAN : Learns from rows without labels too.

    Notes
    -----
    All weights are 1, as in the authors' code, whose pair terms are other than the paper's, a
    squared difference in place of a likelihood.

    References
    ----------
    Li, C., Deng, C., Li, N., Liu, W., Gao, X. and Tao, D. (2018). Self-supervised adversarial
    hashing networks for cross-modal retrieval. CVPR. :arxiv:`1804.01223`

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_cmh import MultimodalData
    >>> from sklearn_cmh.deep import SSAH
    >>> rng = np.random.RandomState(0)
    >>> y = np.arange(60) % 2
    >>> X = MultimodalData(image=rng.randn(60, 4) + 3 * y[:, None],
    ...                    text=rng.randn(60, 3) - 3 * y[:, None])
    >>> hasher = SSAH(n_bits=8, hidden=(16,), n_semantic=8, learning_rate=0.01, max_iter=20,
    ...               random_state=0)
    >>> hasher.fit(X, y).score(X, y) > 0.95
    True
    """

    _parameter_constraints: dict = {
        **BaseDeepHasher._parameter_constraints,
        "hidden": ["array-like"],
        "n_semantic": [Interval(Integral, 1, None, closed="left")],
        "dropout": [Interval(Real, 0, 1, closed="left")],
        "alpha": [Interval(Real, 0, None, closed="left")],
        "gamma": [Interval(Real, 0, None, closed="left")],
        "eta": [Interval(Real, 0, None, closed="left")],
        "beta": [Interval(Real, 0, None, closed="left")],
        "adversarial_weight": [Interval(Real, 0, None, closed="left")],
    }

    def __init__(
        self,
        n_bits: int = 64,
        *,
        hidden: Sequence[int] = (1024,),
        n_semantic: int = 512,
        dropout: float = 0.5,
        alpha: float = 1.0,
        gamma: float = 1.0,
        eta: float = 1.0,
        beta: float = 1.0,
        adversarial_weight: float = 1.0,
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
        self.hidden = hidden
        self.n_semantic = n_semantic
        self.dropout = dropout
        self.alpha = alpha
        self.gamma = gamma
        self.eta = eta
        self.beta = beta
        self.adversarial_weight = adversarial_weight
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
        """Code lengths of the paper's tables; it gives one setting for all.

        Returns
        -------
        param_grid : dict
            For `GridSearchCV`.

        Examples
        --------
        >>> from sklearn_cmh.deep import SSAH
        >>> SSAH.paper_grid()
        {'n_bits': [16, 32, 64]}
        """
        return {"n_bits": [16, 32, 64]}

    def _check_labelled(self, L):
        refuse_unlabelled(self, L)

    def _network_specs(self, blocks):
        semantic = {
            "network": "semantic",
            "n_bits": int(self.n_bits),
            "n_classes": self.labels_.shape[1],
            "n_features": int(self.n_semantic),
            "hidden": layer_widths(self.hidden),
        }
        specs = {
            name: {
                **semantic,
                "input_shape": tuple(map(int, block.shape[1:])),
                "dropout": float(self.dropout),
            }
            for name, block in blocks.items()
        }
        specs[LABELS] = {
            **semantic,
            "input_shape": (self.labels_.shape[1],),
            "standardise": False,
            "batch_norm": False,
            "dropout": 0.0,
        }
        if self.adversarial_weight:
            specs |= {
                f"{DISCRIMINATOR}{name}": {
                    "network": "discriminator",
                    "input_shape": (int(self.n_semantic),),
                    "n_bits": 1,
                    "hidden": DISCRIMINATOR_HIDDEN,
                    "batch_norm": False,
                    "dropout": 0.0,
                }
                for name in blocks
            }
        return specs

    def _task(self, networks, reader, labels, rows, epochs_done):
        from ._semantic import SemanticTask

        names = self.modality_names_
        return SemanticTask(
            {name: networks[name] for name in names},
            networks[LABELS],
            {name: networks[DISCRIMINATOR + name] for name in names if self.adversarial_weight},
            reader,
            labels,
            rows,
            alpha=self.alpha,
            gamma=self.gamma,
            eta=self.eta,
            beta=self.beta,
            adversarial_weight=self.adversarial_weight,
            learning_rate=self.learning_rate,
            batch_size=int(self.batch_size),
            first=epochs_done == 0,
        )
