"""SCH-GAN as a task for the training loop: which step follows which (algorithm 1)."""

from itertools import combinations, permutations

import numpy as np
import torch
from torch import nn

from ._losses import (
    add,
    advantage,
    label_profile,
    pair_distance,
    policy_loss,
    reward,
    sample_relevant,
    selection_logits,
    shared_label,
    squared_distances,
    triplet_loss,
)
from ._training import forward, make_optimiser, row_batches

__all__ = ["AdversarialTask"]

# Labelled positives and negatives drawn per query.
N_TRIPLETS = 4
# Labelled rows that a candidate's labels are estimated from, at most.
N_REFERENCES = 2000


class AdversarialTask:
    """A discriminator learns to rank; a generator selects what it is likely to get wrong.

    Parameters
    ----------
    discriminator, generator : dict
        Modality name to network; `generator` is None for the discriminator alone.
    reader : BlockReader
        Gives the rows of a modality as tensors.
    labels : Tensor of shape (n, c)
        Label indicator, on the device; empty rows are unlabelled.
    labelled, unlabelled : ndarray
        Rows to train on.
    n_pretrain : int
        Epochs of triplet loss alone.
    margin, pair_penalty, adversarial_weight : float
        Margin of the ranking loss, weight of the pair term, weight of the selected rows.
    n_selected, n_candidates : int
        Selections per query, and rows that they are selected from.
    guard : bool
        Whether candidates that are likely to be relevant are left out.
    learning_rate, batch_size : float, int
        Of the steps.
    """

    def __init__(
        self,
        discriminator,
        generator,
        reader,
        labels,
        labelled,
        unlabelled,
        *,
        n_pretrain,
        margin,
        pair_penalty,
        adversarial_weight,
        n_selected,
        n_candidates,
        guard,
        learning_rate,
        batch_size,
    ):
        self.D, self.G, self.reader, self.labels = discriminator, generator, reader, labels
        self.labelled = labelled
        self.candidates = unlabelled if len(unlabelled) else labelled
        self.everything = np.concatenate([labelled, unlabelled])
        self.n_pretrain, self.margin, self.pair_penalty = n_pretrain, margin, pair_penalty
        self.adversarial_weight, self.guard = adversarial_weight, guard
        self.n_selected, self.n_candidates = n_selected, n_candidates
        self.batch_size = batch_size
        names = list(discriminator)
        self.directions = list(permutations(names, 2)) or [(names[0], names[0])]
        self.pairs = list(combinations(names, 2))
        players = [discriminator] if generator is None else [discriminator, generator]
        self.modules = nn.ModuleList(network for player in players for network in player.values())
        self.optimisers = [
            make_optimiser(
                [p for network in player.values() for p in network.parameters()],
                "adam",
                learning_rate,
            )
            for player in players
        ]

    def epoch(self, t):
        """Yield the steps of an epoch: pre-training, or the discriminator, then the generator."""
        self.adversarial = self.G is not None and t >= self.n_pretrain
        if self.adversarial:
            self.estimate_labels()
        for queries in self.query_batches():
            yield self.optimisers[0], lambda queries=queries: self.discriminator_loss(queries)
            if self.G is not None and not self.adversarial:
                yield self.optimisers[1], lambda queries=queries: self.ranking_loss(self.G, queries)
        if self.adversarial:
            for queries in self.query_batches():
                yield self.optimisers[1], lambda queries=queries: self.generator_loss(queries)

    def end_epoch(self):
        """Share of truly relevant rows among selections, where labels can tell."""
        return {"relevant_rate": self.relevant_rate() if self.adversarial else np.nan}

    # Losses.

    def discriminator_loss(self, queries):
        """Ranking loss against labelled negatives and, later, against the selected rows."""
        if not self.adversarial:
            return self.ranking_loss(self.D, queries)
        candidates = draw(self.candidates, self.n_candidates)
        with torch.no_grad():
            selections = self.select(queries, candidates)
        return self.ranking_loss(self.D, queries, candidates, selections)

    def ranking_loss(self, player, queries, candidates=None, selections=None):
        """Triplet losses of both directions (eqs. 7 and 8), and the pair term."""
        pool, S = self.labelled_pool(queries)
        positives, has_positive = sample_relevant(S, N_TRIPLETS)
        negatives, has_negative = sample_relevant(1 - S, N_TRIPLETS)
        weights = (has_positive & has_negative).float()[:, None]
        H, K = self.hash_layers(player, queries), self.hash_layers(player, pool)
        C = None if candidates is None else self.hash_layers(player, candidates)
        loss = torch.zeros((), device=S.device)
        for query, target in self.directions:
            distances = squared_distances(H[query], K[target])
            to_positive = distances.gather(1, positives)
            f = triplet_loss(to_positive, distances.gather(1, negatives), self.margin)
            loss = loss + (weights * f).mean()
            if C is not None:
                _, selected, valid = selections[query, target]
                f = self.selection_loss(H[query], C[target], distances, S, selected)
                f = f * (has_positive & valid).float()[:, None]
                loss = loss + self.adversarial_weight * f.mean()
        if self.pair_penalty and self.pairs:
            P = self.hash_layers(player, draw(self.everything, 4 * self.batch_size))
            total = add(pair_distance(P[first], P[second]) for first, second in self.pairs)
            loss = loss + self.pair_penalty * total
        return loss

    def generator_loss(self, queries):
        """Policy gradient of both directions (eq. 11), rewarded by the discriminator."""
        candidates = draw(self.candidates, self.n_candidates)
        selections = self.select(queries, candidates)
        pool, S = self.labelled_pool(queries)
        with torch.no_grad():
            H, K = self.hash_layers(self.D, queries), self.hash_layers(self.D, pool)
            C = self.hash_layers(self.D, candidates)
        loss = torch.zeros((), device=S.device)
        for (query, target), (log_p, selected, valid) in selections.items():
            distances = squared_distances(H[query], K[target])
            f = self.selection_loss(H[query], C[target], distances, S, selected)
            counts = (valid & (S.sum(1) > 0)).float()[:, None]
            loss = loss + policy_loss(log_p, selected, counts * advantage(reward(f)))
        return loss

    def selection_loss(self, H, C, distances, S, selected):
        """f(i_G, q) of selected candidates, each against a labelled positive of its own."""
        positives, _ = sample_relevant(S, selected.shape[1])
        to_selected = squared_distances(H, C).gather(1, selected)
        return triplet_loss(distances.gather(1, positives), to_selected, self.margin)

    # Selection.

    def select(self, queries, candidates):
        """Draw from p_G for every direction: log p (a, b), indices (a, s), valid queries (a,)."""
        excluded = self.excluded(queries, candidates)
        valid = ~excluded.all(1)
        H, C = self.hash_layers(self.G, queries), self.hash_layers(self.G, candidates)
        drawn = {}
        for query, target in self.directions:
            log_p = selection_logits(H[query], C[target], excluded)
            selected, _ = sample_relevant(log_p.detach().exp(), self.n_selected)
            drawn[query, target] = log_p, selected, valid
        return drawn

    def excluded(self, queries, candidates):
        """Candidates that are known, or with the guard estimated, to be relevant."""
        labels = self.labels[queries]
        known = shared_label(labels, self.labels[candidates]) > 0
        if not self.guard:
            return known
        return known | (labels @ self.profiles[candidates].T > 0)

    @torch.no_grad()
    def estimate_labels(self):
        """Label profile of every row under the discriminator, once per epoch."""
        references = draw(self.labelled, N_REFERENCES)
        fused = add(
            forward(network, self.reader, name, self.everything).sigmoid()
            for name, network in self.D.items()
        ) / len(self.D)
        place = torch.full((len(self.labels),), -1, device=fused.device)
        place[self.everything] = torch.arange(len(self.everything), device=fused.device)
        K = fused[place[references]]
        own = torch.full_like(place, -1)
        own[references] = torch.arange(len(references), device=fused.device)
        self.profiles = torch.zeros_like(self.labels)
        for chunk in np.array_split(self.everything, -(-len(self.everything) // 1024)):
            self.profiles[chunk] = label_profile(
                fused[place[chunk]], K, self.labels[references], own=own[chunk]
            )

    @torch.no_grad()
    def relevant_rate(self):
        """Mass that p_G gives to truly relevant rows, were labelled rows the candidates."""
        queries, candidates = draw(self.labelled, 4 * self.batch_size), draw(self.labelled, 1000)
        S = shared_label(self.labels[queries], self.labels[candidates])
        excluded = torch.from_numpy(queries[:, None] == candidates).to(S.device)
        if self.guard:
            excluded |= self.labels[queries] @ self.profiles[candidates].T > 0
        H, C = self.hash_layers(self.G, queries), self.hash_layers(self.G, candidates)
        masses = [
            (selection_logits(H[query], C[target], excluded).exp() * S).sum(1).mean()
            for query, target in self.directions
        ]
        return float(sum(masses) / len(masses))

    # Rows.

    def query_batches(self):
        """Labelled rows in random batches."""
        return [self.labelled[b] for b in row_batches(len(self.labelled), self.batch_size)]

    def labelled_pool(self, queries):
        """Draw labelled rows for positives and negatives, with their relevance to the queries."""
        pool = draw(self.labelled, self.n_candidates)
        return pool, shared_label(self.labels[queries], self.labels[pool])

    def hash_layers(self, player, rows):
        """Hash layer in (0, 1)^k of some rows, for every modality."""
        return {
            name: network(self.reader(name, rows)).float().sigmoid()
            for name, network in player.items()
        }


def draw(rows, size):
    """Draw at most `size` of the rows, without replacement."""
    return rows[torch.randperm(len(rows))[:size].numpy()]
