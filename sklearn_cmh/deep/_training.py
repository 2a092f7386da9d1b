"""The training loop that both deep methods share.

A method describes itself as a *task*: the modules whose weights are trained, the
optimisers, and a generator `epoch(t)` that yields one (optimiser, closure) pair per
step, where the closure computes the loss. Everything else is here and only here:
device and mixed precision, learning rates, the check for non-finite losses, early
stopping, interruption, history.
"""

import os
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from scipy import sparse
from torch import nn

from ..utils._typing import NDArray

__all__ = [
    "BlockReader",
    "Outcome",
    "forward",
    "make_optimiser",
    "reproducible",
    "resolve_device",
    "row_batches",
    "to_numpy",
    "train",
]

# torch draws weights, dropout and permutations from one generator for the whole process:
# whoever seeds it holds this lock, so that fits in several threads take turns. The same
# thread may take it again, for a callback that fits another estimator.
_RANDOM_STATE_LOCK = threading.RLock()


def _new_lock():
    """A process forked during a fit shall not wait for a thread that it does not have."""
    global _RANDOM_STATE_LOCK
    _RANDOM_STATE_LOCK = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_new_lock)


def resolve_device(device: str, *, fallback: bool = False) -> torch.device:
    """Return the torch device that a `device` parameter means.

    Parameters
    ----------
    device : str
        "auto" takes CUDA, then MPS, then the CPU; else a name that torch knows.
    fallback : bool, default=False
        Whether an absent device becomes the CPU, as for a model fitted elsewhere.

    Returns
    -------
    torch.device
        The device.

    Raises
    ------
    ValueError
        If torch does not know the name, or cannot see such a device.
    """
    available = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    if device == "auto":
        return torch.device(next(name for name, found in available.items() if found))
    try:
        resolved = torch.device(device)
    except RuntimeError as error:
        raise ValueError(f"device={device!r} is not known to torch: {error}") from error
    if available.get(resolved.type, True):
        return resolved
    if fallback:
        return torch.device("cpu")
    raise ValueError(
        f"device={device!r} was requested, but torch {torch.__version__} sees no such device. "
        'Use device="auto" or device="cpu", or install a build of torch for it.'
    )


@contextmanager
def reproducible(device: torch.device, seed: int) -> Iterator[None]:
    """Seed torch, deterministic where it can be; the caller's global state comes back after.

    One thread at a time: others wait here until it is done.

    Parameters
    ----------
    device : torch.device
        Device of the fit.
    seed : int
        Seed of all of torch's generators.
    """
    on_cuda = device.type == "cuda"
    with _RANDOM_STATE_LOCK, torch.random.fork_rng(devices=[device] if on_cuda else []):
        before = (
            torch.are_deterministic_algorithms_enabled(),
            torch.is_deterministic_algorithms_warn_only_enabled(),
            torch.backends.cudnn.benchmark,
        )
        torch.manual_seed(seed)
        if on_cuda:
            torch.use_deterministic_algorithms(True, warn_only=True)
            torch.backends.cudnn.benchmark = False
        try:
            yield
        finally:
            if on_cuda:
                torch.use_deterministic_algorithms(before[0], warn_only=before[1])
                torch.backends.cudnn.benchmark = before[2]


def row_batches(n_rows: int, batch_size: int) -> list[NDArray]:
    """Split a random permutation of the rows into batches of nearly equal size.

    None has a single row, which would be too few for batch normalisation.

    Parameters
    ----------
    n_rows, batch_size : int
        Rows, and rows per batch, about.

    Returns
    -------
    list of ndarray
        Row numbers of every batch.
    """
    n_batches = max(1, min(round(n_rows / batch_size), n_rows // 2))
    return np.array_split(torch.randperm(n_rows).numpy(), n_batches)


class BlockReader:
    """Rows of blocks as float tensors on a device; sparse blocks become dense by the batch.

    Parameters
    ----------
    blocks : dict
        Modality name to array or CSR.
    device : torch.device
        Where the tensors go.
    """

    def __init__(self, blocks, device):
        self.blocks, self.device = blocks, device

    def __call__(self, name, rows):
        """Tensor of some rows of one modality."""
        batch = self.blocks[name][rows]
        if sparse.issparse(batch):
            batch = batch.toarray()
        # Bytes travel as bytes: a quarter of the way of floats.
        dtype = batch.dtype if batch.dtype == np.uint8 else np.float32
        # What overflows here is reported where outputs are used.
        with np.errstate(over="ignore"):
            batch = np.ascontiguousarray(batch, dtype=dtype)
        return torch.from_numpy(batch).to(self.device).float()


@torch.no_grad()
def forward(
    network: nn.Module,
    reader: Callable[[str, NDArray], torch.Tensor],
    name: str,
    rows: NDArray,
    height: int = 64,
) -> torch.Tensor:
    """Outputs of a network in evaluation mode, each independent of the other rows.

    A network that is in evaluation mode already, as those of a fitted estimator, is only read:
    several threads may use it at once. One in training is switched over and back.

    Rows are taken `height` at a time. Always that many, the last batch padded with zeros, so that
    matrix products treat a row alike whatever else is there.

    Parameters
    ----------
    network : nn.Module
        Pathway of the modality.
    reader : BlockReader
        Gives the rows.
    name : str
        Modality.
    rows : ndarray of shape (n,)
        Rows.
    height : int
        Rows of a batch.

    Returns
    -------
    Tensor of shape (n, k)
        Outputs, in single precision.
    """
    training = network.training
    if training:
        network.eval()
    outputs = []
    for start in range(0, len(rows), height):
        part = rows[start : start + height]
        x = reader(name, part)
        if len(part) < height:
            x = torch.cat([x, x.new_zeros(height - len(part), *x.shape[1:])])
        outputs.append(network(x)[: len(part)].float())
    if training:
        network.train()
    return torch.cat(outputs)


def make_optimiser(parameters: Any, name: str, learning_rate: float) -> torch.optim.Optimizer:
    """Build Adam, or SGD with momentum 0.9."""
    if name == "sgd":
        return torch.optim.SGD(parameters, lr=learning_rate, momentum=0.9)
    return torch.optim.Adam(parameters, lr=learning_rate)


def optimiser_kind(optimiser: torch.optim.Optimizer) -> tuple[str, list[int]]:
    """Type of an optimiser and how many parameters each of its groups has."""
    return type(optimiser).__name__, [len(group["params"]) for group in optimiser.param_groups]


def to_numpy(state: Mapping[str, torch.Tensor]) -> dict[str, NDArray]:
    """Copy a state dict into numpy arrays: weights without a device."""
    return {name: tensor.detach().cpu().numpy().copy() for name, tensor in state.items()}


@dataclass
class Outcome:
    """What became of a training run.

    `status` is "finished", "converged" (no more progress on the validation rows),
    "interrupted" or "non-finite"; `history` holds one dict per complete epoch.
    """

    status: str = "finished"
    history: list = field(default_factory=list)


def train(
    task: Any,
    *,
    n_epochs: int,
    device: torch.device,
    mixed_precision: bool = True,
    decay: bool = True,
    validate: Callable[[], float] | None = None,
    n_iter_no_change: int = 10,
    tol: float = 0.0,
    on_epoch: Callable[[int, dict[str, float]], bool] | None = None,
) -> Outcome:
    """Train a task.

    Parameters
    ----------
    task : object
        With `modules` (an `nn.Module` that holds all weights), `optimisers` (a list),
        `epoch(t)` (a generator of (optimiser, closure) pairs) and `end_epoch()` (a dict of
        figures for the history).
    n_epochs : int
        Epochs.
    device : torch.device
        Where the modules are.
    mixed_precision : bool
        Products in bfloat16, on CUDA only, and only where the GPU has it. Its exponents are those
        of float32, so that no loss has to be scaled, and no step with a gradient that is not finite
        passes unnoticed.
    decay : bool
        Whether learning rates fall to zero along a half cosine.
    validate : callable or None
        Returns a score, the greater the better, after every epoch; the weights of the best
        epoch are kept.
    n_iter_no_change : int
        Epochs without a gain of `tol` after which training stops.
    tol : float
        Least gain that counts.
    on_epoch : callable or None
        Called with the number of every epoch and its figures; ends the training by returning
        True.

    Returns
    -------
    Outcome
        The modules hold the weights of the best epoch where there is a validation score, of
        the last complete one after a non-finite loss, else the newest. They are left in
        evaluation mode.
    """
    outcome = Outcome()
    bfloat16 = mixed_precision and _has_bfloat16(device)
    kept = _snapshot(task.modules)
    best, stale = -np.inf, 0
    try:
        for epoch in range(n_epochs):
            if decay:
                _set_learning_rates(task.optimisers, epoch / n_epochs)
            loss = _train_epoch(task, epoch, device, bfloat16)
            if loss is None or not _all_finite(task.modules):
                task.modules.load_state_dict(kept)
                outcome.status = "non-finite"
                break
            figures = {"loss": loss, **task.end_epoch()}
            if validate is not None:
                figures["validation_score"] = validate()
            outcome.history.append(figures)
            stop = on_epoch is not None and on_epoch(epoch + 1, figures)
            if validate is None:
                kept = _snapshot(task.modules)
            else:
                gained = figures["validation_score"] > best + tol
                stale = 0 if gained else stale + 1
                if figures["validation_score"] > best:
                    best, kept = figures["validation_score"], _snapshot(task.modules)
            if stale >= n_iter_no_change:
                outcome.status = "converged"
                break
            if stop:
                break
    except KeyboardInterrupt:
        outcome.status = "interrupted"
        if not _all_finite(task.modules):
            task.modules.load_state_dict(kept)
    if validate is not None and outcome.history:
        task.modules.load_state_dict(kept)
    task.modules.eval()
    return outcome


def _has_bfloat16(device):
    """Whether products in bfloat16 are faster there: on GPUs from compute capability 8 on."""
    return device.type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 0)


def _train_epoch(task, epoch, device, bfloat16):
    """One epoch; the mean loss of its steps, or None where one was not finite."""
    total, n_steps = 0.0, 0
    task.modules.train()
    for optimiser, closure in task.epoch(epoch):
        optimiser.zero_grad(set_to_none=True)
        with torch.autocast(device.type, torch.bfloat16, enabled=bfloat16):
            loss = closure()
        value = loss.item()
        if not np.isfinite(value):
            return None
        loss.backward()
        optimiser.step()
        total += value
        n_steps += 1
    return total / max(n_steps, 1)


def _set_learning_rates(optimisers, progress):
    for optimiser in optimisers:
        for group in optimiser.param_groups:
            initial = group.setdefault("initial_lr", group["lr"])
            group["lr"] = initial * 0.5 * (1 + np.cos(np.pi * progress))


def _snapshot(modules):
    return {name: tensor.detach().clone() for name, tensor in modules.state_dict().items()}


def _all_finite(modules):
    return all(
        bool(torch.isfinite(tensor).all())
        for tensor in modules.state_dict().values()
        if tensor.is_floating_point()
    )
