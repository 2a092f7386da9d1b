"""DCMH, Deep Cross-Modal Hashing.

Q.-Y. Jiang and W.-J. Li, "Deep Cross-Modal Hashing", CVPR 2017. With f_i, g_j in R^k the
outputs of one network per modality, t_ij = <f_i, g_j> / 2, and s_ij = 1 where rows share a
label, it minimises

    - sum over pairs of (s_ij t_ij - log(1 + exp t_ij))
    + gamma (||B - F||^2 + ||B - G||^2) + eta (||F'1||^2 + ||G'1||^2),                (eq. 1)

B = sgn(F + G), network by network in batches of rows against the outputs of all rows
(algorithm 1). Means stand where the paper prints sums: over pairs, over elements, and for the
balance over rows, then over bits. As sums, the balance swamped the others in a trial on the
Wikipedia features, and codes stayed near chance.
"""

from collections.abc import Sequence
from numbers import Real

from ..utils._sklearn import Interval, StrOptions
from ..utils._typing import Modalities, RandomState
from ._base import BaseDeepHasher, layer_widths, refuse_unlabelled

__all__ = ["DCMH"]


class DCMH(BaseDeepHasher):
    """Deep Cross-Modal Hashing, on features.

    One network per modality maps rows to values whose inner products are the log-odds of sharing
    a label. Needs PyTorch: ``pip install "sklearn-cmh[torch]"``. Every row needs labels.

    Parameters
    ----------
    n_bits : int, default=64
        Length of the codes.
    hidden : sequence of int, default=(1024,)
        Hidden layers of every network. The paper's text network has one of 8192.
    gamma : float, default=1.0
        Weight of the quantisation term.
    eta : float, default=1.0
        Weight of the balance term: every bit as often +1 as -1.
    optimiser : {"adam", "sgd"}, default="adam"
        Adam, or stochastic gradient descent with momentum 0.9.
    learning_rate : float, default=1e-3
        Initial step size; it falls to zero along a half cosine. For "sgd" the authors' code starts
        with ``10 ** -1.5``, which works too.
    max_iter : int, default=40
        Epochs. The authors' code does 500.
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
        Seeds weights and batches. An int makes fits on the CPU reproducible.
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
    history_ : list of dict
        Loss of every epoch and, with early stopping, validation score.
    objective_ : ndarray of shape (n_iter_,)
        Loss of every epoch, the mean over its steps.
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
    DSPAH : Graded similarity of label sets, pairs within a modality too, and pixels.

    References
    ----------
    Jiang, Q.-Y. and Li, W.-J. (2017). Deep cross-modal hashing. CVPR. :arxiv:`1602.02255`

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_cmh import MultimodalData
    >>> from sklearn_cmh.deep import DCMH
    >>> rng = np.random.RandomState(0)
    >>> y = np.arange(60) % 2
    >>> X = MultimodalData(image=rng.randn(60, 4) + 3 * y[:, None],
    ...                    text=rng.randn(60, 3) - 3 * y[:, None])
    >>> hasher = DCMH(n_bits=8, hidden=(16,), learning_rate=0.01, max_iter=20, random_state=0)
    >>> hasher.fit(X, y).score(X, y) > 0.95
    True
    """

    # Outputs are the projections themselves.
    _output_slope = None

    _parameter_constraints: dict = {
        **BaseDeepHasher._parameter_constraints,
        "hidden": ["array-like"],
        "gamma": [Interval(Real, 0, None, closed="left")],
        "eta": [Interval(Real, 0, None, closed="left")],
        "optimiser": [StrOptions({"adam", "sgd"})],
    }

    def __init__(
        self,
        n_bits: int = 64,
        *,
        hidden: Sequence[int] = (1024,),
        gamma: float = 1.0,
        eta: float = 1.0,
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
        self.hidden = hidden
        self.gamma = gamma
        self.eta = eta
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
        """Ranges that the paper sweeps on its validation set.

        Returns
        -------
        param_grid : dict
            For `GridSearchCV`.

        Examples
        --------
        >>> from sklearn_cmh.deep import DCMH
        >>> DCMH.paper_grid()["gamma"]
        [0.01, 0.1, 1.0, 2.0]
        """
        return {"gamma": [0.01, 0.1, 1.0, 2.0], "eta": [0.01, 0.1, 1.0, 2.0]}

    def _check_labelled(self, L):
        refuse_unlabelled(self, L)

    def _network_specs(self, blocks):
        return {
            name: {
                "network": "mlp",
                "input_shape": tuple(map(int, block.shape[1:])),
                "n_bits": int(self.n_bits),
                "hidden": layer_widths(self.hidden),
                "batch_norm": False,
                "dropout": 0.0,
            }
            for name, block in blocks.items()
        }

    def _task(self, networks, reader, labels, rows, epochs_done):
        from ._likelihood import LikelihoodTask

        return LikelihoodTask(
            networks,
            reader,
            labels,
            rows,
            gamma=self.gamma,
            eta=self.eta,
            optimiser=self.optimiser,
            learning_rate=self.learning_rate,
            batch_size=int(self.batch_size),
        )
