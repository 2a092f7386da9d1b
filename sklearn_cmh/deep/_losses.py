"""Losses and samplers of the deep methods: tensors in, tensors out.

DSPAH (Chen, Wu and Chen, 2022) regresses inner products of relaxed codes on the
fine-grained similarity of label sets, its equations (2) to (6). SCH-GAN (Zhang,
Peng and Yuan, 2018) plays a triplet ranking loss against a generator that is
trained by policy gradient, its equations (5) to (11). DCMH (Jiang and Li, 2017)
and SSAH (Li et al., 2018) fit a likelihood of pairs. Nothing here holds state,
and similarities are only ever slices: rows of a batch against some columns.
"""

import operator
from collections.abc import Iterable
from functools import reduce

import torch
from torch import Tensor

__all__ = [
    "add",
    "advantage",
    "balance_loss",
    "fgsc",
    "label_profile",
    "pair_distance",
    "pair_likelihood",
    "pairwise_loss",
    "policy_loss",
    "quantisation_loss",
    "reward",
    "sample_relevant",
    "selection_logits",
    "shared_label",
    "squared_distances",
    "target_similarity",
    "triplet_loss",
]


def fgsc(rows: Tensor, columns: Tensor) -> Tensor:
    """Fine-grained similarity |l_i and l_j| / sqrt(|l_i| |l_j|) of label sets (eq. 2).

    Parameters
    ----------
    rows, columns : Tensor of shape (a, c), (b, c)
        Label indicators.

    Returns
    -------
    Tensor of shape (a, b)
        The cosine of the label sets; 0 where a row has no label.
    """
    rows = rows / rows.norm(dim=1, keepdim=True).clamp_min(1)
    columns = columns / columns.norm(dim=1, keepdim=True).clamp_min(1)
    return rows @ columns.T


def add(tensors: Iterable[Tensor]) -> Tensor:
    """Sum of tensors of one shape, from left to right."""
    return reduce(operator.add, tensors)


def target_similarity(rows: Tensor, columns: Tensor) -> Tensor:
    """Inner products of targets (a, t) and (b, t), a slice of S = T T'; shape (a, b)."""
    return rows @ columns.T


def shared_label(rows: Tensor, columns: Tensor) -> Tensor:
    """1.0 where two label sets share a label, else 0.0; shapes as in `fgsc`."""
    return (rows @ columns.T > 0).to(rows.dtype)


def pairwise_loss(F: Tensor, G: Tensor, S: Tensor) -> Tensor:
    """Mean over pairs of ((<f_i, g_j> + k) / 2 - k s_ij)^2 / k^2 (eq. 5).

    Parameters
    ----------
    F, G : Tensor of shape (a, k), (b, k)
        Relaxed codes in [-1, 1].
    S : Tensor of shape (a, b)
        Similarities in [0, 1].

    Returns
    -------
    Tensor
        The mean: the printed sum over pairs grows with n^2 k^2, which no step size survives.
    """
    return ((F @ G.T / F.shape[1] + 1) / 2 - S).square().mean()


def pair_likelihood(F: Tensor, G: Tensor, S: Tensor) -> Tensor:
    """Mean over pairs of log(1 + exp t_ij) - s_ij t_ij, t_ij = <f_i, g_j> / 2.

    The negative logarithm of the likelihood that two rows share a label with probability
    sigmoid(t_ij): the first term of DCMH's eq. 1, and the pair terms of SSAH.

    Parameters
    ----------
    F, G : Tensor of shape (a, k), (b, k)
        Outputs of two networks.
    S : Tensor of shape (a, b)
        1.0 where the rows share a label, else 0.0.

    Returns
    -------
    Tensor
        The mean.
    """
    theta = F @ G.T / 2
    return (torch.nn.functional.softplus(theta) - S * theta).mean()


def balance_loss(means: Tensor) -> Tensor:
    """Mean over bits of their squared means over rows, the balance term of DCMH's eq. 1."""
    return means.square().mean()


def quantisation_loss(B: Tensor, F: Tensor) -> Tensor:
    """Mean over elements of (b - f)^2 (eq. 6)."""
    return (B - F).square().mean()


def squared_distances(H: Tensor, K: Tensor) -> Tensor:
    """Squared Euclidean distances of the rows of `H` (a, k) and `K` (b, k): (a, b)."""
    squares = H.square().sum(1)[:, None] + K.square().sum(1)[None, :] - 2 * (H @ K.T)
    return squares.clamp_min(0)


def pair_distance(H: Tensor, K: Tensor) -> Tensor:
    """Mean squared distance between rows and their own counterparts."""
    return (H - K).square().sum(1).mean()


def triplet_loss(to_positive: Tensor, to_negative: Tensor, margin: float) -> Tensor:
    """Ranking loss max(0, margin + to_positive - to_negative), entry by entry (eqs. 7 and 8)."""
    return torch.relu(margin + to_positive - to_negative)


def sample_relevant(
    weights: Tensor, n_samples: int, generator: torch.Generator | None = None
) -> tuple[Tensor, Tensor]:
    """Draw columns for every row, with probability proportional to `weights`.

    Parameters
    ----------
    weights : Tensor of shape (a, b)
        Non-negative.
    n_samples : int
        Draws per row, with replacement.
    generator : torch.Generator, default=None
        Source of randomness.

    Returns
    -------
    indices : Tensor of shape (a, n_samples)
        The columns drawn; arbitrary where nothing can be drawn.
    valid : Tensor of shape (a,), bool
        Rows that have any positive weight.
    """
    valid = weights.sum(1) > 0
    weights = torch.where(valid[:, None], weights, torch.ones_like(weights))
    return torch.multinomial(weights, n_samples, replacement=True, generator=generator), valid


def selection_logits(H: Tensor, K: Tensor, excluded: Tensor | None = None) -> Tensor:
    """Logarithm of p_G(i | q), a softmax over candidates i of -||h(q) - h(i)||^2 (eq. 5).

    Parameters
    ----------
    H, K : Tensor of shape (a, k), (b, k)
        Hash layers of queries and of candidates.
    excluded : Tensor of shape (a, b), bool, default=None
        Pairs that must not be selected. A query all of whose candidates are excluded keeps them.

    Returns
    -------
    Tensor of shape (a, b)
        Log probabilities.
    """
    scores = -squared_distances(H, K)
    if excluded is not None:
        excluded = excluded & ~excluded.all(1, keepdim=True)
        scores = scores.masked_fill(excluded, float("-inf"))
    return scores.log_softmax(1)


def reward(f: Tensor) -> Tensor:
    """Softplus of f: what the discriminator pays for a selection with ranking loss f."""
    return torch.nn.functional.softplus(f)


def advantage(rewards: Tensor) -> Tensor:
    """Rewards (a, s) of each query's selections, minus the mean reward of its other ones."""
    s = rewards.shape[1]
    return (rewards - rewards.mean(1, keepdim=True)) * (s / (s - 1))


def policy_loss(log_p: Tensor, selected: Tensor, advantages: Tensor) -> Tensor:
    """Minus the mean over selections of log p_G(i_s | q) * advantage (eq. 11).

    Its gradient is the policy gradient (REINFORCE), to be descended.

    Parameters
    ----------
    log_p : Tensor of shape (a, b)
        Log probabilities of the candidates.
    selected : Tensor of shape (a, s)
        Indices of selected candidates.
    advantages : Tensor of shape (a, s)
        Their rewards minus a baseline; constants here.

    Returns
    -------
    Tensor
        The loss.
    """
    return -(log_p.gather(1, selected) * advantages.detach()).mean()


def label_profile(
    K: Tensor,
    K_labelled: Tensor,
    labels_labelled: Tensor,
    n_neighbors: int = 10,
    own: Tensor | None = None,
) -> Tensor:
    """Estimate the labels of rows: the mean label vector of their nearest labelled rows.

    The guard against "negatives" that are in truth positives rests on it.

    Parameters
    ----------
    K : Tensor of shape (b, k)
        Hash layer of the rows.
    K_labelled, labels_labelled : Tensor of shape (l, k), (l, c)
        Hash layer and labels of labelled rows.
    n_neighbors : int, default=10
        Neighbours that are asked, at most a tenth of the labelled rows and at least one.
    own : Tensor of shape (b,), default=None
        Position of each row among the labelled ones, which is left out; -1 for none.

    Returns
    -------
    Tensor of shape (b, c)
        Values in [0, 1]. A query with labels l finds no relevant row among the neighbours of
        candidate i exactly when the inner product of l and row i is zero.
    """
    distances = squared_distances(K, K_labelled)
    if own is not None:
        rows = (own >= 0).nonzero()[:, 0]
        distances[rows, own[rows]] = float("inf")
    n_neighbors = max(1, min(n_neighbors, len(K_labelled) // 10))
    nearest = distances.topk(n_neighbors, dim=1, largest=False).indices
    return labels_labelled[nearest].mean(1)
