"""What the tasks make of the losses: which pairs, which sign, which weight.

Networks here are linear and without chance, so that losses over whole blocks have brute-force
values.
"""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

from torch.nn.utils import parameters_to_vector  # noqa: E402

from sklearn_cmh.deep import _losses as losses  # noqa: E402
from sklearn_cmh.deep._adversarial import AdversarialTask  # noqa: E402
from sklearn_cmh.deep._likelihood import LikelihoodTask  # noqa: E402
from sklearn_cmh.deep._networks import SemanticMLP  # noqa: E402
from sklearn_cmh.deep._pairwise import PairwiseTask  # noqa: E402
from sklearn_cmh.deep._semantic import SemanticTask  # noqa: E402
from sklearn_cmh.deep._training import BlockReader  # noqa: E402

CPU = torch.device("cpu")
N = 12
ROWS = np.arange(N)


@pytest.fixture(autouse=True)
def seed():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


@pytest.fixture
def blocks():
    rng = np.random.RandomState(0)
    return {"image": rng.randn(N, 4), "text": rng.randn(N, 3), "sound": rng.randn(N, 2)}


@pytest.fixture
def labels():
    """Rows with one, two and three labels of five."""
    rng = np.random.RandomState(0)
    L = np.zeros((N, 5), dtype=np.float32)
    for i in ROWS:
        L[i, rng.permutation(5)[: 1 + i % 3]] = 1
    return torch.from_numpy(L)


def linear(blocks, n_bits=6):
    return {name: torch.nn.Linear(block.shape[1], n_bits) for name, block in blocks.items()}


def pairwise(blocks, labels, rows=ROWS, **options):
    return PairwiseTask(linear(blocks), BlockReader(blocks, CPU), labels, rows, **options)


def gradient(loss, modules):
    return parameters_to_vector(torch.autograd.grad(loss, list(modules.parameters())))


# DSPAH.


@pytest.mark.parametrize("similarity", ["cosine", "any"])
def test_loss_is_that_of_the_paper_over_every_pair_of_modalities(blocks, labels, similarity):
    """Equations (5) and (6): image-image, image-text, text-text, and so on, each of them once."""
    rows = ROWS[::-1].copy()
    task = pairwise(blocks, labels, rows, similarity=similarity, quantisation=0.7)
    batch = np.array([3, 1, 8, 10])
    L = labels.numpy()[rows[batch]]
    shared = L @ L.T
    S = {"cosine": shared / np.sqrt(np.outer(L.sum(1), L.sum(1))), "any": shared > 0}[similarity]
    F = {
        name: np.tanh(
            blocks[name][rows[batch]] @ net.weight.detach().numpy().T + net.bias.detach().numpy()
        )
        for name, net in task.pathways.items()
    }
    B = np.where(sum(F.values()) >= 0, 1, -1)
    k, names = 6, list(blocks)
    expected = sum(
        np.mean(((F[a] @ F[b].T + k) / 2 - k * S) ** 2) / k**2
        for i, a in enumerate(names)
        for b in names[i:]
    )
    expected += 0.7 * sum(np.mean((B - F[name]) ** 2) for name in names)
    assert task.loss(batch, names).item() == pytest.approx(expected, rel=1e-5)


def test_a_step_of_one_network_leaves_the_others_alone(blocks, labels):
    task = pairwise(blocks, labels, updates="alternating", quantisation=0.0)
    pairs = task.loss(ROWS, ["text"]).item()
    task.quantisation = 0.7
    task.loss(ROWS, ["text"]).backward()
    F = task.relaxed_codes("text", ROWS, False)
    assert task.loss(ROWS, ["text"]).item() == pytest.approx(
        pairs + 0.7 * losses.quantisation_loss(task.B, F).item(), rel=1e-5
    )
    assert {name for name, net in task.pathways.items() if net.weight.grad is not None} == {"text"}
    assert [names for names, _ in task.players] == [["image"], ["text"], ["sound"]]


@pytest.mark.parametrize("trained", [["image", "text", "sound"], ["text"]])
def test_buffers_of_all_rows_give_twice_the_gradient_of_all_pairs(blocks, labels, trained):
    """Of fresh buffers, that is: both ends of every pair, of one modality too, have their say."""
    joint = pairwise(blocks, labels, quantisation=0.0)
    buffered = pairwise(blocks, labels, quantisation=0.0, pairs="buffer")
    buffered.modules.load_state_dict(joint.modules.state_dict())
    buffered.end_epoch()
    modules = torch.nn.ModuleList(buffered.pathways[name] for name in trained)
    found = gradient(buffered.loss(ROWS, trained), modules)
    modules = torch.nn.ModuleList(joint.pathways[name] for name in trained)
    torch.testing.assert_close(found, gradient(joint.loss(ROWS, trained), modules))


def test_buffers_are_refreshed_by_the_batches(blocks, labels):
    task = pairwise(blocks, labels, pairs="buffer")
    before = {name: codes.clone() for name, codes in task.buffers.items()}
    with torch.no_grad():
        for parameter in task.modules.parameters():
            parameter += 0.1
    batch = np.array([2, 5])
    task.loss(batch, list(blocks))
    # What a step computes is written by the next one.
    task.loss(np.array([0, 1]), list(blocks))
    for name, codes in task.buffers.items():
        torch.testing.assert_close(codes[batch], task.relaxed_codes(name, batch, False))
        others = np.setdiff1d(ROWS, batch)
        torch.testing.assert_close(codes[others], before[name][others])


# SCH-GAN.


def adversarial(blocks, labels, labelled=ROWS, unlabelled=ROWS[:0], generator=True, **options):
    defaults = dict(
        n_pretrain=0,
        margin=1.0,
        pair_penalty=0.0,
        adversarial_weight=1.0,
        n_selected=4,
        n_candidates=N,
        guard=False,
        learning_rate=0.02,
        batch_size=N,
    )
    players = [linear(blocks), linear(blocks) if generator else None]
    task = AdversarialTask(
        *players,
        BlockReader(blocks, CPU),
        labels,
        labelled,
        unlabelled,
        **{**defaults, **options},
    )
    task.adversarial = generator
    return task


def test_the_generator_learns_to_select_what_the_discriminator_ranks_wrongly(blocks, labels):
    """Its expected ranking loss rises while the discriminator stands still."""
    two = {name: blocks[name] for name in ["image", "text"]}
    task = adversarial(two, labels, n_selected=20)

    def expected_loss():
        with torch.no_grad():
            H, D = task.hash_layers(task.G, ROWS), task.hash_layers(task.D, ROWS)
            S = losses.shared_label(labels, labels)
            total = 0.0
            for query, target in task.directions:
                log_p = losses.selection_logits(H[query], H[target], S > 0)
                distances = losses.squared_distances(D[query], D[target])
                # Mean over positives of the ranking loss of every candidate.
                f = losses.triplet_loss(distances[:, :, None], distances[:, None, :], task.margin)
                f = (f * S[:, :, None]).sum(1) / S.sum(1, keepdim=True)
                total += (log_p.exp() * f).sum(1).mean().item()
            return total

    start = expected_loss()
    for _ in range(150):
        task.optimisers[1].zero_grad()
        task.generator_loss(ROWS).backward()
        task.optimisers[1].step()
    assert expected_loss() > start + 0.05


def test_the_discriminator_is_left_alone_by_the_generator_and_the_other_way_round(blocks, labels):
    task = adversarial(blocks, labels)
    task.generator_loss(ROWS).backward()
    assert all(p.grad is None for net in task.D.values() for p in net.parameters())
    assert all(p.grad is not None for net in task.G.values() for p in net.parameters())
    task.modules.zero_grad()
    task.discriminator_loss(ROWS).backward()
    assert all(p.grad is None for net in task.G.values() for p in net.parameters())
    assert all(p.grad is not None for net in task.D.values() for p in net.parameters())


def test_selected_rows_count_with_their_weight_as_negatives(blocks, labels):
    """The discriminator pushes what was selected away: its loss adds f, times the weight."""
    task = adversarial(blocks, labels)
    values = []
    for task.adversarial_weight in [0.0, 1.0, 2.5]:
        torch.manual_seed(1)
        values.append(task.discriminator_loss(ROWS).item())
    gain = values[1] - values[0]
    assert gain > 0
    assert values[2] - values[0] == pytest.approx(2.5 * gain, rel=1e-4)


def test_ranking_loss_of_single_positives_and_negatives(blocks):
    """Where every query has one positive and one negative to draw, nothing is left to chance."""
    two = {name: blocks[name][:2] for name in ["image", "text"]}
    task = adversarial(two, torch.eye(2), ROWS[:2], generator=False)
    D = {name: layer.detach().numpy() for name, layer in task.hash_layers(task.D, ROWS[:2]).items()}
    expected = 0.0
    for query, target in [("image", "text"), ("text", "image")]:
        distances = ((D[query][:, None] - D[target]) ** 2).sum(2)
        own, other = distances.diagonal(), distances[[0, 1], [1, 0]]
        expected += np.maximum(0, 1 + own - other).mean()
    assert task.ranking_loss(task.D, ROWS[:2]).item() == pytest.approx(expected, rel=1e-5)
    task.pair_penalty = 0.3
    expected += 0.3 * ((D["image"] - D["text"]) ** 2).sum(1).mean()
    assert task.ranking_loss(task.D, ROWS[:2]).item() == pytest.approx(expected, rel=1e-5)


def test_candidates_that_are_or_look_relevant_are_left_out(blocks, labels):
    labels = labels.clone()
    labels[6:] = 0
    task = adversarial(blocks, labels, ROWS[:6], ROWS[6:])
    assert (task.candidates == ROWS[6:]).all() and (task.everything == ROWS).all()
    known = (labels[:6] @ labels.T > 0).numpy()
    np.testing.assert_array_equal(task.excluded(ROWS[:6], ROWS).numpy(), known)
    task.guard = True
    task.estimate_labels()
    guarded = known | (labels[:6] @ task.profiles.T > 0).numpy()
    np.testing.assert_array_equal(task.excluded(ROWS[:6], ROWS).numpy(), guarded)
    assert (guarded & ~known).any()
    # The profile of an unlabelled row is that of its nearest labelled row in the fused space.
    with torch.no_grad():
        fused = sum(task.hash_layers(task.D, ROWS).values()) / 3
    nearest = losses.squared_distances(fused[6:], fused[:6]).argmin(1)
    torch.testing.assert_close(task.profiles[6:], labels[:6][nearest])
    # A labelled row does not vouch for itself.
    among = losses.squared_distances(fused[:6], fused[:6]).fill_diagonal_(float("inf"))
    torch.testing.assert_close(task.profiles[:6], labels[:6][among.argmin(1)])


def test_queries_without_negatives_or_candidates_do_not_count(blocks):
    task = adversarial(blocks, torch.ones(N, 1))
    assert task.ranking_loss(task.D, ROWS) == 0
    assert task.discriminator_loss(ROWS) == 0
    assert task.generator_loss(ROWS) == 0


def test_players_take_turns(blocks, labels):
    """Pre-training moves both players batch by batch; then the generator follows a whole round."""
    task = adversarial(blocks, labels, n_pretrain=1, batch_size=6)

    def steps(epoch):
        for optimiser, loss in task.epoch(epoch):
            task.modules.zero_grad()
            loss().backward()
            player = "DG"[task.optimisers.index(optimiser)]
            others = task.G if player == "D" else task.D
            assert all(p.grad is None for net in others.values() for p in net.parameters())
            yield player

    assert list(steps(0)) == ["D", "G", "D", "G"]
    assert list(steps(1)) == ["D", "D", "G", "G"]
    assert np.isfinite(task.end_epoch()["relevant_rate"])


# DCMH.


def likelihood(blocks, labels, rows=ROWS, **options):
    options = {"gamma": 0.7, "eta": 0.3, "batch_size": 4, **options}
    reader = BlockReader(blocks, CPU)
    return LikelihoodTask(
        linear(blocks), reader, labels, rows, optimiser="adam", learning_rate=0.01, **options
    )


def negative_log_likelihood(F, G, S):
    """Mean over pairs, one by one, of what DCMH's eq. 1 prints."""
    terms = [
        np.log1p(np.exp(f @ g / 2)) - s * (f @ g / 2)
        for f, row in zip(F, S, strict=True)
        for g, s in zip(G, row, strict=True)
    ]
    return np.mean(terms)


@pytest.mark.parametrize("n_modalities", [1, 2, 3])
def test_loss_of_dcmh_is_its_equation_1_with_means(blocks, labels, n_modalities):
    names = list(blocks)[:n_modalities]
    blocks = {name: blocks[name] for name in names}
    rows = ROWS[::-1].copy()
    task = likelihood(blocks, labels, rows)
    outputs = {
        name: blocks[name][rows] @ net.weight.detach().numpy().T + net.bias.detach().numpy()
        for name, net in task.pathways.items()
    }
    L = labels.numpy()[rows]
    S = (L @ L.T > 0).astype(float)
    B = np.where(sum(outputs.values()) >= 0, 1, -1)
    batch = np.array([1, 4, 10])
    F = outputs["image"]
    others = [outputs[name] for name in names[1:]] or [F]
    expected = sum(negative_log_likelihood(F[batch], G, S[batch]) for G in others)
    expected += 0.7 * np.mean((B - F)[batch] ** 2) + 0.3 * np.mean(F.mean(0) ** 2)
    loss = task.loss("image", batch)
    assert loss.item() == pytest.approx(expected, rel=1e-5)
    loss.backward()
    assert {name for name, net in task.pathways.items() if net.weight.grad is not None} == {"image"}


def test_dcmh_trains_one_network_after_the_other_on_the_latest_outputs(blocks, labels):
    task = likelihood(blocks, labels)
    steps = [task.optimisers.index(optimiser) for optimiser, _ in task.epoch(0)]
    assert steps == [0] * 3 + [1] * 3 + [2] * 3
    with torch.no_grad():
        task.pathways["text"].bias += 1
    batch = np.array([2, 7])
    before = task.buffers["text"]
    task.loss("text", batch)
    changed = (task.buffers["text"] != before).all(1).nonzero().flatten()
    assert changed.tolist() == [2, 7]


# SSAH.


def semantic(blocks, labels, rows=ROWS, discriminators=True, **options):
    weights = {"alpha": 0.5, "gamma": 2.0, "eta": 0.3, "beta": 0.7, "adversarial_weight": 0.9}
    shape = {"n_classes": 5, "n_features": 7, "hidden": (), "dropout": 0.0}
    return SemanticTask(
        {name: SemanticMLP(block.shape[1], 6, **shape) for name, block in blocks.items()},
        SemanticMLP(5, 6, standardise=False, **shape),
        {name: torch.nn.Linear(7, 1) for name in blocks if discriminators},
        BlockReader(blocks, CPU),
        labels,
        rows,
        learning_rate=0.01,
        batch_size=6,
        **{**weights, **options},
    )


def test_losses_of_ssah_are_those_of_the_paper_with_means(blocks, labels):
    rows = ROWS[::-1].copy()
    task = semantic(blocks, labels, rows)
    batch = np.array([1, 4, 10])
    L = labels[rows[batch]]
    S = (L @ L.T > 0).double().numpy()
    x = torch.tensor(blocks["text"][rows[batch]], dtype=torch.float32)
    with torch.no_grad():
        leader, text = [
            [head.double().numpy() for head in heads]
            for heads in (task.label_network.heads(L), task.pathways["text"].heads(x))
        ]
    for found, heads in [
        (task.label_loss(batch), leader),
        (task.modality_loss("text", batch), text),
    ]:
        features, codes, scores = heads
        expected = 0.5 * negative_log_likelihood(leader[0], features, S)
        expected += 2.0 * negative_log_likelihood(leader[1], codes, S)
        expected += 0.3 * np.mean((task.B[batch].numpy() - codes) ** 2)
        expected += 0.7 * np.mean((1 / (1 + np.exp(-scores)) - L.numpy()) ** 2)
        if heads is text:
            D = task.D["text"](torch.tensor(features).float()).detach().numpy()
            expected += 0.9 * np.mean((D - 1) ** 2)
        assert found.item() == pytest.approx(expected, rel=1e-4)


def test_players_of_ssah_take_turns_and_leave_one_another_alone(blocks, labels):
    task = semantic(blocks, labels, first=False)
    players = [[task.label_network], list(task.D.values()), *([n] for n in task.pathways.values())]
    seen = []
    for optimiser, loss in task.epoch(0):
        task.modules.zero_grad()
        loss().backward()
        seen.append(task.optimisers.index(optimiser))
        for i, player in enumerate(players):
            grads = [p.grad for net in player for p in net.parameters()]
            # The discriminators tell a modality which way to go, and do not move then.
            if i == seen[-1]:
                assert any(grad is not None for grad in grads)
            elif i != 1:
                assert all(grad is None for grad in grads)
    assert seen == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]
    assert len(semantic(blocks, labels, discriminators=False).optimisers) == 4


def test_the_network_of_labels_trains_ahead_towards_its_own_signs(blocks, labels):
    task = semantic(blocks, labels)
    seen = []
    for optimiser, _ in task.epoch(0):
        seen.append(task.optimisers.index(optimiser))
        if seen == [0] * 3:
            with torch.no_grad():
                codes = task.label_network.heads(labels)[1]
            assert torch.equal(task.B, torch.where(codes >= 0, 1.0, -1.0))
    assert seen == [0] * 22 + [1, 1, 2, 2, 3, 3, 4, 4]
    assert len(list(task.epoch(1))) == 10


def test_discriminators_learn_to_tell_modalities_from_labels(blocks, labels):
    task = semantic(blocks, labels)
    for _ in range(300):
        task.optimisers[1].zero_grad()
        task.discriminator_loss(ROWS).backward()
        task.optimisers[1].step()
    with torch.no_grad():
        real = task.label_network.heads(labels)[0]
        for name, network in task.D.items():
            assert network(real).mean() > network(task.heads(name, ROWS)[0]).mean() + 0.2


def test_codes_to_quantise_to_are_those_of_labels_and_modalities_together(blocks, labels):
    task = semantic(blocks, labels)
    task.modules.eval()
    with torch.no_grad():
        codes = task.label_network.heads(labels)[1]
        codes = codes + sum(task.heads(name, ROWS)[1] for name in blocks)
    assert torch.equal(task.B, torch.where(codes >= 0, 1.0, -1.0))
