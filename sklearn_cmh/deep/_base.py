"""What the two deep estimators share: networks as data, one fit, encoding.

A fitted estimator holds no torch object that matters: `specs_` say how to build its
networks, `weights_` are numpy arrays. The networks themselves are a cache, left out of
pickles and rebuilt on whatever device is there.
"""

import warnings
from collections.abc import Iterable, Mapping, Sequence
from copy import deepcopy
from numbers import Integral, Real
from typing import Any, ClassVar, Self

import numpy as np
from scipy import sparse
from sklearn.exceptions import ConvergenceWarning
from sklearn.preprocessing import StandardScaler
from sklearn.utils import check_random_state, gen_batches

from ..base import BaseHasher, Learning, unwritten
from ..data import labelled_rows
from ..metrics import average_precision_scores
from ..solvers import sign, warn_constant_bits
from ..utils._callbacks import end_step, report
from ..utils._sklearn import Interval, fit_context
from ..utils._state import unchanged_on_error
from ..utils._typing import Labels, MatrixLike, NDArray
from ._torch import require_torch

__all__ = ["BaseDeepHasher"]


class BaseDeepHasher(BaseHasher):
    """A hasher whose pathways are networks; a method overrides the hooks below."""

    _sort = "deep"
    # Projections are tanh(slope * output): with 1/2, a sigmoid stretched to (-1, 1). None leaves
    # outputs as they are.
    _output_slope: float | None = 1.0

    # Pixels stay bytes and keep their shape.
    _block_options: ClassVar[dict] = {"dtype": "numeric", "allow_nd": True}

    _parameter_constraints: dict = {
        **BaseHasher._parameter_constraints,
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "batch_size": [Interval(Integral, 2, None, closed="left")],
        "learning_rate": [Interval(Real, 0, None, closed="neither")],
        "early_stopping": ["boolean"],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
        "n_iter_no_change": [Interval(Integral, 1, None, closed="left")],
        "tol": [Interval(Real, 0, None, closed="left")],
        "device": [str],
        "mixed_precision": ["boolean"],
        "warm_start": ["boolean"],
    }

    labels_: Any
    weights_: dict[str, dict[str, NDArray]]
    specs_: dict[str, dict[str, Any]]
    history_: list[dict[str, float]]
    n_iter_: int

    # Hooks of a method.

    def _learning(self) -> Learning:
        return Learning(from_unlabelled=True)

    def _network_specs(self, blocks):
        """Specs of all networks: one per modality under its name, and others the method needs."""
        raise unwritten(self, "_network_specs(self, blocks)", "returns specs by name")

    def _task(self, networks, reader, labels, rows, epochs_done):
        """Return the task for the training loop; `labels` is the supervision as a tensor."""
        raise unwritten(
            self, "_task(self, networks, reader, labels, rows, epochs_done)", "returns a task"
        )

    def _check_labelled(self, L):
        """Raise where the method cannot learn from such labels."""

    def _supervision(self, blocks, L, rng, resume):
        """What rows are to be told apart by, an array with a row for each: labels."""
        return L.toarray()

    # Fitting.

    def fit(self, X: MatrixLike, y: Labels | None = None) -> Self:
        """Train the networks; codes of the training rows are those of the trained networks.

        Parameters
        ----------
        X : {array-like, sparse, DataFrame} of shape (n, d) or MultimodalData
            Training rows.
        y : array-like of shape (n,) or {array-like, sparse} of shape (n, c)
            Class labels, or a label indicator of zeros and ones.

        Returns
        -------
        self : object
            The fitted hasher. Interrupted from the keyboard, it keeps what it has learned.

        Raises
        ------
        FloatingPointError
            If the loss is not finite. The estimator then holds the weights of the last good
            epoch; if there was none, it is as it was before.
        ImportError
            If PyTorch is not installed.
        """
        super().fit(X, y)
        return self._raise_postponed()

    @fit_context(prefer_skip_nested_validation=False)
    def partial_fit(self, X: MatrixLike, y: Labels | None = None) -> Self:
        """Train for one epoch at the full learning rate, on these rows.

        Optimisers keep their state between calls, but not in a pickle. `codes_` and `labels_`
        are those of the rows of this call; preprocessing is fitted by the first call.

        Parameters
        ----------
        X : {array-like, sparse, DataFrame} of shape (n, d) or MultimodalData
            Training rows.
        y : array-like of shape (n,) or {array-like, sparse} of shape (n, c)
            Their labels, of two classes at least.

        Returns
        -------
        self : object
            The fitted hasher.
        """
        if self.early_stopping:
            raise ValueError("partial_fit does not support early_stopping=True.")
        with unchanged_on_error(self):
            self._partial_fit(X, y)
        return self._raise_postponed()

    def _partial_fit(self, X, y):
        rng = check_random_state(self.random_state)
        first = not hasattr(self, "weights_")
        if first:
            table = self._read_table(X)
            L = self._check_labels(table, y)
            blocks = self._fit_preprocessing(table, y, rng)
        else:
            blocks = self._new_blocks(X)
            L = self._check_labels(next(iter(blocks.values())), y)
        self._learn(blocks, L, rng, n_epochs=1, resume=not first, keep=True)
        self._n_features_out = self.codes_.shape[1]

    def _fit_blocks(self, blocks, L, rng):
        resume = self.warm_start and hasattr(self, "weights_")
        self._learn(blocks, L, rng, self.max_iter, resume, keep=self.warm_start)

    def _learn(self, blocks, L, rng, n_epochs, resume, keep):
        """Train `n_epochs` more; `resume` from the weights there are, `keep` optimiser state."""
        require_torch(self)
        import torch

        from . import _training

        def on_epoch(epoch, figures):
            values = ", ".join(f"{name} {value:.4g}" for name, value in figures.items())
            report(self, f"epoch {epoch}/{n_epochs}, {values}")
            return end_step(self, "epoch")

        device = _training.resolve_device(self.device)
        self._check_labelled(L)
        n = next(iter(blocks.values())).shape[0]
        epochs_done = self.n_iter_ if resume else 0
        seed = rng.randint(np.iinfo(np.int32).max) + epochs_done
        rows, held_out = self._split(n, L, rng)
        for name, block in blocks.items():
            check_single_precision(name, block)
        reader = _training.BlockReader(blocks, device)
        supervision = self._supervision(blocks, L, rng, resume)
        report(self, f"networks on {device}, {len(rows)} rows")
        labels = torch.from_numpy(supervision.astype(np.float32)).to(device)
        with _training.reproducible(device, seed):
            networks = self._start(blocks, device, resume)
            self._check_outputs(networks, reader)
            task = self._task(networks, reader, labels, rows, epochs_done)
            if resume:
                self._resume_optimisers(task)
            outcome = _training.train(
                task,
                n_epochs=n_epochs,
                device=device,
                mixed_precision=self.mixed_precision,
                decay=n_epochs > 1,
                validate=None if held_out is None else self._validator(networks, reader, held_out),
                n_iter_no_change=self.n_iter_no_change,
                tol=self.tol,
                on_epoch=on_epoch,
            )
        history = (self.history_ if resume else []) + outcome.history
        self._postpone(outcome, len(history))
        self.history_ = history
        self.n_iter_ = len(history)
        self.objective_ = np.array([figures["loss"] for figures in history])
        self.weights_ = {
            name: _training.to_numpy(network.state_dict()) for name, network in networks.items()
        }
        self._networks = networks
        # The state of steps that failed would spoil those that follow.
        keep = keep and outcome.status != "non-finite"
        self._optimiser_states = [
            (_training.optimiser_kind(o), o.state_dict()) for o in task.optimisers if keep
        ]
        report(self, f"codes of {n} rows")
        self.codes_ = np.empty((n, self.n_bits), dtype=np.int8)
        for part in gen_batches(n, 4096):
            self.codes_[part] = sign(
                self._project_blocks({name: block[part] for name, block in blocks.items()})
            )
        warn_constant_bits(self.codes_, "Train longer (max_iter), or lower learning_rate.")
        self._warn_equal_codes(blocks)

    def _split(self, n, L, rng):
        """Rows to train on, and with early stopping labelled rows to validate on."""
        if not self.early_stopping:
            return np.arange(n), None
        if L is None:
            raise ValueError(
                "early_stopping=True scores rows by their labels, but y is None: pass y, or set "
                "early_stopping=False."
            )
        labelled = np.flatnonzero(labelled_rows(L))
        n_held_out = max(2, round(self.validation_fraction * len(labelled)))
        if len(labelled) - n_held_out < 2:
            raise ValueError(
                f"early_stopping=True sets {n_held_out} of {len(labelled)} labelled rows aside; "
                "at least two must remain: lower validation_fraction, or pass more rows."
            )
        held_out = np.sort(rng.permutation(labelled)[:n_held_out])
        if L[held_out].sum(axis=0).max() < 2:
            raise ValueError(
                f"early_stopping=True sets {n_held_out} labelled rows aside, no two of which share "
                f"a label, so they cannot be scored: raise validation_fraction "
                f"({self.validation_fraction} now)."
            )
        return np.setdiff1d(np.arange(n), held_out), held_out

    def _validator(self, networks, reader, rows):
        """Mean cross-modal mAP among held-out rows, each left out of its own ranking."""
        from ._training import forward

        labels = self.labels_[rows].toarray()
        names = self.modality_names_
        directions = [(a, b) for a in names for b in names if a != b or len(names) == 1]

        def validate():
            codes = {
                name: np.where(forward(networks[name], reader, name, rows).cpu() >= 0, 1, -1)
                for name in names
            }
            scores = []
            for query, database in directions:
                values, relevant = average_precision_scores(
                    codes[query], codes[database], labels, labels, exclude_self=True
                )
                scores.append(values[relevant].mean() if relevant.any() else 0.0)
            return float(np.mean(scores))

        return validate

    def _postpone(self, outcome, n_iter):
        """Warn of an interruption; keep the error of a non-finite loss until all is stored."""
        if outcome.status == "interrupted":
            warnings.warn(
                f"The fit was interrupted after {n_iter} complete epochs; what was learned is "
                "kept.",
                ConvergenceWarning,
            )
        if outcome.status != "non-finite":
            return
        error = FloatingPointError(
            f"The loss was not finite in epoch {n_iter + 1}: lower learning_rate "
            f"({self.learning_rate} now), or rescale the features, with a MaxAbsScaler in "
            "modalities, say. "
            + (f"The weights of epoch {n_iter} are kept." if n_iter else "Nothing was learned.")
        )
        if n_iter == 0:
            raise error
        self._postponed = error

    def _raise_postponed(self):
        error = self.__dict__.pop("_postponed", None)
        if error is not None:
            raise error
        return self

    # Networks.

    def _start(self, blocks, device, resume):
        """Networks to train: new ones, or those of the last fit."""
        from ._networks import build_network, restore_network

        specs = self._network_specs(blocks)
        if resume:
            if specs != self.specs_:
                raise ValueError(
                    "warm_start and partial_fit go on with the same networks, but parameters or "
                    f"widths of X have changed: {self.specs_} became {specs}."
                )
            # Not those at hand: a fit that fails must leave them as they were.
            return {
                name: restore_network(spec, self.weights_[name]).to(device)
                for name, spec in specs.items()
            }
        self.specs_ = specs
        networks = {}
        for name, spec in specs.items():
            networks[name] = build_network(spec)
            self._initialise(name, networks[name], blocks)
            networks[name].to(device)
        return networks

    def _initialise(self, name, network, blocks):
        """Set what does not come from chance: statistics of the inputs."""
        from ._networks import Standardise

        block = blocks.get(name.removeprefix("generator__"))
        if block is None:
            return
        for module in network.modules():
            if isinstance(module, Standardise):
                module.set_statistics(*column_statistics(block))

    def _check_outputs(self, networks, reader):
        """Run networks of the user's own on one row, to see that they return `n_bits` values."""
        from ._training import forward

        for name, network in networks.items():
            if not callable(self.specs_[name]["network"]):
                continue
            shape = self.specs_[name]["input_shape"]
            try:
                outputs = forward(network, reader, name, np.arange(1), height=2)
            except RuntimeError as error:
                raise ValueError(
                    f"The network of {name!r} fails on a batch of rows of shape {shape}: {error}"
                ) from error
            if outputs.shape != (1, self.n_bits):
                raise ValueError(
                    f"The network of {name!r} must map a batch of b rows of shape {shape} to "
                    f"(b, {self.n_bits}); it returned {outputs.shape[1:]} for each row."
                )

    def _network(self, name, device):
        """Network of one name on a device: the one at hand, or built anew from its weights.

        Networks at hand are never changed, as another thread may be using them.
        """
        from ._networks import restore_network

        cache = self.__dict__.setdefault("_networks", {})
        network = cache.get(name)
        if network is None or any(p.device.type != device.type for p in network.parameters()):
            network = restore_network(self.specs_[name], self.weights_[name]).to(device)
            cache[name] = network
        return network

    def _resume_optimisers(self, task):
        """Go on with the state of the last optimisers, if they were of the same kind."""
        from ._training import optimiser_kind

        states = vars(self).get("_optimiser_states", [])
        if [kind for kind, _ in states] != [optimiser_kind(o) for o in task.optimisers]:
            return
        for optimiser, (_, state) in zip(task.optimisers, states, strict=True):
            # A copy, as steps change it in place and the fit may fail.
            optimiser.load_state_dict(deepcopy(state))
            for group in optimiser.param_groups:
                group["lr"] = group["initial_lr"] = self.learning_rate

    def __getstate__(self):
        state = super().__getstate__()
        return {k: v for k, v in state.items() if k not in ("_networks", "_optimiser_states")}

    # Encoding.

    def _project(self, name, block):
        require_torch(self)
        from . import _training

        device = _training.resolve_device(self.device, fallback=True)
        reader = _training.BlockReader({name: block}, device)
        rows = np.arange(block.shape[0])
        # One picture shall not cost the time of many.
        height = 64 if block.ndim == 2 else 16
        outputs = _training.forward(self._network(name, device), reader, name, rows, height)
        n_infinite = int((~outputs.isfinite()).any(dim=1).sum())
        if n_infinite:
            raise ValueError(
                f"{n_infinite} of {len(rows)} rows of {name!r} exceed the single precision of the "
                "networks: rescale them as the training rows were."
            )
        if self._output_slope is not None:
            outputs = (self._output_slope * outputs).tanh()
        Z = outputs.cpu().numpy()
        # The sign of what is within rounding of zero would depend on the machine.
        Z[np.abs(Z) < 1e-6] = 0
        return Z


def column_statistics(block: Any) -> tuple[NDArray, NDArray]:
    """Mean and variance of every column of a 2-D block, in chunks of rows."""
    scaler = StandardScaler(with_mean=not sparse.issparse(block))
    for rows in gen_batches(block.shape[0], 4096):
        chunk = block[rows]
        scaler.partial_fit(chunk if chunk.ndim == 2 else chunk.reshape(len(chunk), -1))
    return scaler.mean_, scaler.var_


def refuse_unlabelled(estimator: Any, L: Any) -> None:
    """Raise where rows have no label, for a method that can learn nothing from them."""
    n_unlabelled = L.shape[0] - int(labelled_rows(L).sum())
    if n_unlabelled:
        raise ValueError(
            f"{n_unlabelled} rows of y have no label, and {type(estimator).__name__} has no use "
            "for them: leave them out, or use SCHGAN, which learns from unlabelled rows too."
        )


def check_single_precision(name: str, block: Any) -> None:
    """Refuse values that single precision, in which networks compute, cannot tell apart."""
    values = block.data if sparse.issparse(block) else block
    if values.dtype.kind != "f" or not values.size:
        return
    largest = max(float(values.max()), -float(values.min()))
    # Room for sums and differences of a few values.
    if largest > 1e36 or 0 < largest < 1e-36:
        raise ValueError(
            f"The largest value of the modality {name!r} is {largest:.3g} in size, beyond the "
            "single precision in which networks compute: rescale it, with a MaxAbsScaler in "
            "modalities, say."
        )


def layer_widths(hidden: Sequence[int]) -> tuple[int, ...]:
    """Widths of hidden layers as a tuple of int."""
    return whole_numbers(hidden, "hidden")


def whole_numbers(values: Sequence[int], parameter: str) -> tuple[int, ...]:
    """Positive whole numbers as a tuple of int."""
    for value in values:
        if not isinstance(value, Integral) or isinstance(value, bool) or value < 1:
            raise ValueError(f"{parameter} must hold whole numbers of at least 1; got {values!r}.")
    return tuple(map(int, values))


def per_modality(value: Any, names: Iterable[str], parameter: str) -> dict[str, Any]:
    """Give every modality its value: the same for all, or {name: value}."""
    if not isinstance(value, Mapping):
        return dict.fromkeys(names, value)
    unknown = set(value) - set(names)
    if unknown:
        raise ValueError(
            f"{parameter}: there is no modality {sorted(unknown)[0]!r}; known are {list(names)}."
        )
    return {name: value.get(name) for name in names}
