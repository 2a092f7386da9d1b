"""The training loop on a task of its own, a line to fit."""

import numpy as np
import pytest
from scipy import sparse

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

from sklearn_cmh.deep import _training as training  # noqa: E402
from sklearn_cmh.deep._networks import build_network  # noqa: E402

CPU = torch.device("cpu")


class Line:
    """Fit y = 3 x; `spoil` may change the loss of an epoch or raise."""

    def __init__(self, spoil=lambda epoch, loss: loss, optimiser="sgd"):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.modules = torch.nn.Linear(1, 1)
        self.optimisers = [
            training.make_optimiser(self.modules.parameters(), optimiser, learning_rate=0.05)
        ]
        self.spoil, self.seen, self.rates = spoil, [], []
        self.x = torch.linspace(-1, 1, 16)[:, None]

    def epoch(self, t):
        self.rates.append(self.optimisers[0].param_groups[0]["lr"])
        for _ in range(4):
            yield self.optimisers[0], lambda: self.spoil(t, self.loss())

    def loss(self):
        return (self.modules(self.x) - 3 * self.x).square().mean()

    def end_epoch(self):
        self.seen.append(self.modules.weight.item())
        return {"weight": self.seen[-1]}


@pytest.mark.parametrize("optimiser", ["adam", "sgd"])
def test_loss_falls_along_a_cosine(optimiser):
    task = Line(optimiser=optimiser)
    outcome = training.train(task, n_epochs=20, device=CPU)
    assert outcome.status == "finished" and len(outcome.history) == 20
    assert outcome.history[-1]["loss"] < 0.5 * outcome.history[0]["loss"]
    assert outcome.history[-1]["weight"] == task.modules.weight.item()
    expected = 0.05 * 0.5 * (1 + np.cos(np.pi * np.arange(20) / 20))
    np.testing.assert_allclose(task.rates, expected)


def test_rates_stay_without_decay():
    task = Line()
    training.train(task, n_epochs=3, device=CPU, decay=False)
    assert task.rates == [0.05] * 3


def test_non_finite_loss_brings_the_last_good_epoch_back():
    task = Line(lambda epoch, loss: loss * (float("nan") if epoch == 3 else 1.0))
    outcome = training.train(task, n_epochs=9, device=CPU)
    assert outcome.status == "non-finite" and len(outcome.history) == 3
    assert task.modules.weight.item() == task.seen[2]


def test_weights_that_overflow_are_noticed():
    def spoil(epoch, loss):
        if epoch == 1:
            with torch.no_grad():
                task.modules.bias.fill_(float("inf"))
        return loss

    task = Line(spoil)
    assert training.train(task, n_epochs=4, device=CPU).status == "non-finite"
    assert torch.isfinite(task.modules.bias).all()


def test_interruption_keeps_what_was_learned():
    def spoil(epoch, loss):
        if epoch == 5:
            raise KeyboardInterrupt
        return loss

    task = Line(spoil)
    outcome = training.train(task, n_epochs=9, device=CPU)
    assert outcome.status == "interrupted" and len(outcome.history) == 5
    assert task.modules.weight.item() == task.seen[4]


def test_early_stopping_keeps_the_best_epoch():
    scores = iter([0.1, 0.5, 0.4, 0.3, 0.5, 0.2, 0.9])
    task = Line()
    outcome = training.train(
        task, n_epochs=9, device=CPU, validate=lambda: next(scores), n_iter_no_change=3
    )
    assert outcome.status == "converged" and len(outcome.history) == 5
    assert task.modules.weight.item() == task.seen[1]
    assert [figures["validation_score"] for figures in outcome.history][:2] == [0.1, 0.5]


def test_every_epoch_is_told_and_may_be_the_last():
    told = []

    def on_epoch(epoch, figures):
        told.append((epoch, figures["weight"]))
        return epoch == 3

    task = Line()
    outcome = training.train(task, n_epochs=9, device=CPU, on_epoch=on_epoch)
    assert told == [(1, task.seen[0]), (2, task.seen[1]), (3, task.seen[2])]
    assert outcome.status == "finished" and len(outcome.history) == 3


def test_random_state_of_the_caller_is_left_alone():
    torch.manual_seed(7)
    expected = torch.rand(2)
    torch.manual_seed(7)
    n_threads = torch.get_num_threads()
    with training.reproducible(CPU, 0):
        first = torch.rand(3)
    torch.testing.assert_close(torch.rand(2), expected)
    with training.reproducible(CPU, 0):
        torch.testing.assert_close(torch.rand(3), first)
    assert torch.get_num_threads() == n_threads


@pytest.mark.parametrize("n, size, sizes", [(10, 4, {5}), (300, 128, {150}), (3, 128, {3})])
def test_batches_partition_the_rows_without_remainder(n, size, sizes):
    batches = training.row_batches(n, size)
    assert sorted(np.concatenate(batches)) == list(range(n))
    assert {len(batch) for batch in batches} == sizes


def test_devices(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert training.resolve_device("auto") == CPU
    with pytest.raises(ValueError, match="'cuda' was requested"):
        training.resolve_device("cuda")
    assert training.resolve_device("cuda:1", fallback=True) == CPU
    with pytest.raises(ValueError, match="not known to torch"):
        training.resolve_device("gpu")
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert training.resolve_device("auto").type == "mps"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert training.resolve_device("auto").type == "cuda"


@pytest.mark.parametrize("kind", ["dense", "sparse", "pictures"])
def test_a_row_is_encoded_alike_in_any_company(kind):
    rng = np.random.RandomState(0)
    if kind == "pictures":
        block = rng.randint(0, 256, (40, 32, 32, 3), dtype=np.uint8)
        spec = {"network": "resnet34", "input_shape": (32, 32, 3), "n_bits": 6, "width": 4}
    else:
        block = rng.rand(150, 30) * (rng.rand(150, 30) < 0.5)
        spec = {"network": "mlp", "input_shape": (30,), "n_bits": 6}
    reader = training.BlockReader(
        {"block": sparse.csr_array(block) if kind == "sparse" else block}, CPU
    )
    network = build_network(spec)
    rows = np.arange(len(block))
    whole = training.forward(network, reader, "block", rows)
    assert network.training
    for some in [rows[:1], rows[7:11], rng.permutation(rows), rows[::-1]]:
        found = training.forward(network, reader, "block", some)
        assert torch.equal(found, whole[some.copy()])


def test_weights_travel_as_arrays():
    network = build_network({"network": "mlp", "input_shape": (3,), "n_bits": 2})
    weights = training.to_numpy(network.state_dict())
    assert all(type(w) is np.ndarray for w in weights.values())
    with torch.no_grad():
        network[2][0].weight.zero_()
    assert weights["2.0.weight"].any()
