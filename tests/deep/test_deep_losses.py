"""Losses and samplers against closed forms, brute force and numerical gradients."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

from sklearn_cmh.data import encode_labels  # noqa: E402
from sklearn_cmh.deep import _losses as losses  # noqa: E402
from sklearn_cmh.solvers import CosineSimilarity, SharedLabelSimilarity, label_targets  # noqa: E402


@pytest.fixture(autouse=True)
def seed():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


@pytest.fixture
def indicator():
    L = (np.random.RandomState(0).rand(9, 4) < 0.4).astype(int)
    L[3] = 0
    return L


def doubles(*shape, scale=1.0):
    return (scale * torch.randn(*shape, dtype=torch.float64)).requires_grad_()


def test_similarities_are_slices_of_the_operators(indicator):
    L, _ = encode_labels(indicator)
    rows, columns = [1, 3, 8], [0, 3, 4, 7]
    tensors = [torch.from_numpy(indicator[i]).double() for i in (rows, columns)]
    for function, operator in [
        (losses.fgsc, CosineSimilarity(label_targets(L))),
        (losses.shared_label, SharedLabelSimilarity(L)),
    ]:
        S = operator.matmat(np.eye(9))
        np.testing.assert_allclose(function(*tensors), S[np.ix_(rows, columns)], atol=1e-12)


def test_fine_grained_similarity_is_that_of_the_paper():
    """Of sets of two and three labels, which the root tells from the product of their sizes."""
    L = torch.tensor(
        [[1, 1, 0, 0], [1, 1, 1, 0], [0, 1, 1, 1], [0, 0, 0, 1], [0, 0, 0, 0]]
    ).double()
    sizes = L.sum(1)
    expected = [
        [(L[i] * L[j]).sum() / (sizes[i] * sizes[j]).clamp_min(1).sqrt() for j in range(5)]
        for i in range(3)
    ]
    torch.testing.assert_close(losses.fgsc(L[:3], L), torch.tensor(expected).double())


def test_pairwise_loss_is_the_mean_of_equation_5():
    F, G, S = doubles(4, 6), doubles(5, 6), torch.rand(4, 5, dtype=torch.float64)
    k = 6
    printed = [((F[i] @ G[j] + k) / 2 - S[i, j] * k) ** 2 for i in range(4) for j in range(5)]
    assert torch.allclose(losses.pairwise_loss(F, G, S), sum(printed) / (20 * k**2))
    assert torch.autograd.gradcheck(lambda F, G: losses.pairwise_loss(F, G, S), (F, G))


def test_gradient_of_the_inter_modal_loss_holds_the_other_code():
    # Algorithm 1 prints f_jk where g_jk belongs, and misses a factor.
    F, G, S = doubles(4, 6), doubles(5, 6), torch.rand(4, 5, dtype=torch.float64)
    losses.pairwise_loss(F, G, S).backward()
    residual = F @ G.T + 6 - 12 * S
    torch.testing.assert_close(F.grad, (residual @ G / (2 * 20 * 36)).detach())


def test_pair_likelihood_is_that_of_sharing_a_label():
    F, G = doubles(4, 6), doubles(5, 6)
    S = (torch.rand(4, 5) < 0.5).double()
    chance = torch.sigmoid(F @ G.T / 2)
    expected = -torch.where(S > 0, chance, 1 - chance).log().sum() / 20
    torch.testing.assert_close(losses.pair_likelihood(F, G, S), expected)
    assert torch.autograd.gradcheck(lambda F, G: losses.pair_likelihood(F, G, S), (F, G))


def test_balance_loss_is_zero_where_bits_are_balanced():
    B = torch.tensor([[1.0, 1.0, 1.0], [1.0, -1.0, 1.0], [1.0, 1.0, -1.0], [1.0, -1.0, -1.0]])
    assert losses.balance_loss(B.mean(0)) == pytest.approx(1 / 3)
    assert losses.balance_loss(B[:, 1:].mean(0)) == 0


def test_quantisation_loss():
    F = doubles(3, 4)
    B = torch.where(F.detach() >= 0, 1.0, -1.0).double()
    assert torch.isclose(losses.quantisation_loss(B, F), ((B - F) ** 2).sum() / 12)
    assert losses.quantisation_loss(B, B) == 0
    assert torch.autograd.gradcheck(lambda F: losses.quantisation_loss(B, F), F)


def test_distances_and_triplets():
    H, K = doubles(3, 4), doubles(5, 4)
    expected = torch.cdist(H, K) ** 2
    torch.testing.assert_close(losses.squared_distances(H, K), expected)
    torch.testing.assert_close(losses.pair_distance(H, K[:3]), expected.diagonal().mean())
    to_positive, to_negative = torch.tensor([1.0, 4.0]), torch.tensor([2.0, 1.0])
    f = losses.triplet_loss(to_positive, to_negative, 0.5)
    torch.testing.assert_close(f, torch.tensor([0.0, 3.5]))
    assert torch.autograd.gradcheck(
        lambda H, K: losses.triplet_loss(
            losses.squared_distances(H, K)[:, :2], losses.squared_distances(H, K)[:, 2:4], 5.0
        ).mean(),
        (H, K),
    )


def test_sampler_draws_in_proportion():
    weights = torch.tensor([[0.0, 1.0, 3.0], [2.0, 0.0, 2.0], [0.0, 0.0, 0.0]])
    indices, valid = losses.sample_relevant(weights, 20_000)
    assert valid.tolist() == [True, True, False]
    shares = torch.stack([torch.bincount(row, minlength=3) for row in indices]) / 20_000
    # Four standard deviations of a share of 20,000 draws.
    torch.testing.assert_close(shares[:2], weights[:2] / 4, atol=0.015, rtol=0)


def test_selection_probabilities():
    H, K = doubles(2, 3), doubles(4, 3)
    p = losses.selection_logits(H, K).exp()
    expected = torch.exp(-(torch.cdist(H, K) ** 2))
    torch.testing.assert_close(p, expected / expected.sum(1, keepdim=True))
    excluded = torch.tensor([[True, False, False, True], [True] * 4])
    p = losses.selection_logits(H, K, excluded).exp()
    assert p[0, 0] == p[0, 3] == 0
    torch.testing.assert_close(p.sum(1), torch.ones(2, dtype=torch.float64))
    assert (p[1] > 0).all()


@pytest.mark.parametrize("n_selected", [2, 20])
def test_policy_gradient_is_the_gradient_of_the_expected_reward(n_selected):
    """However few rows are selected: a baseline that held a row's own reward would shrink it."""
    H, K = doubles(1, 3, scale=0.5), doubles(6, 3, scale=0.5)
    rewards = torch.rand(6, dtype=torch.float64)

    def expected_reward(H, K):
        return (losses.selection_logits(H, K).exp() * rewards).sum()

    assert torch.autograd.gradcheck(expected_reward, (H, K))
    exact = torch.autograd.grad(expected_reward(H, K), (H, K))
    log_p = losses.selection_logits(H, K)
    log_p = log_p.expand(400_000 // n_selected, 6)
    selected, _ = losses.sample_relevant(log_p.detach().exp(), n_selected)
    loss = losses.policy_loss(log_p, selected, losses.advantage(rewards[selected]))
    for found, wanted in zip(torch.autograd.grad(loss, (H, K)), exact, strict=True):
        torch.testing.assert_close(-found, wanted, atol=5e-3, rtol=0)


def test_policy_gradient_survives_excluded_candidates():
    H, K = doubles(2, 3), doubles(4, 3)
    excluded = torch.tensor([[True, False, False, True], [True] * 4])
    log_p = losses.selection_logits(H, K, excluded)
    selected, _ = losses.sample_relevant(log_p.detach().exp(), 3)
    rewards = torch.rand(2, 3, dtype=torch.float64)
    losses.policy_loss(log_p, selected, losses.advantage(rewards)).backward()
    assert torch.isfinite(H.grad).all() and torch.isfinite(K.grad).all()


def test_reward_and_advantage():
    f = torch.tensor([[0.0, 2.0], [1.0, 5.0]])
    torch.testing.assert_close(losses.reward(f), torch.log(1 + torch.exp(f)))
    torch.testing.assert_close(losses.advantage(f), torch.tensor([[-2.0, 2.0], [-4.0, 4.0]]))


def test_label_profile_is_the_mean_of_the_neighbours():
    K = torch.tensor([[0.0], [9.0]])
    references = torch.arange(20.0)[:, None]
    labels = torch.nn.functional.one_hot((references[:, 0] > 5).long(), 2).float()
    profile = losses.label_profile(K, references, labels)
    torch.testing.assert_close(profile, torch.tensor([[1.0, 0.0], [0.0, 1.0]]))


@pytest.mark.parametrize("row", [0, 9, 19])
def test_label_profile_leaves_a_row_itself_out(row):
    references = torch.arange(20.0)[:, None]
    labels = (torch.arange(20) == row).float()[:, None]
    profile = losses.label_profile(references[[5, row]], references, labels)
    torch.testing.assert_close(profile, torch.tensor([[0.0], [0.5]]))
    own = torch.tensor([-1, row])
    profile = losses.label_profile(references[[5, row]], references, labels, own=own)
    torch.testing.assert_close(profile, torch.zeros(2, 1))


@pytest.mark.parametrize("n_references, n_neighbors", [(5, 1), (40, 4), (300, 10)])
def test_label_profile_asks_a_tenth_of_the_references_and_ten_at_most(n_references, n_neighbors):
    references = torch.arange(float(n_references))[:, None]
    profile = losses.label_profile(torch.tensor([[-1.0]]), references, torch.eye(n_references))
    assert (profile[0] > 0).nonzero().flatten().tolist() == list(range(n_neighbors))
    torch.testing.assert_close(profile.max(), torch.tensor(1 / n_neighbors))
