"""SSAH as a task for the training loop: which step follows which."""

from functools import partial

import torch
from torch import nn

from ._losses import add, pair_likelihood, quantisation_loss, shared_label
from ._training import forward, make_optimiser, row_batches

__all__ = ["SemanticTask"]

# Epochs that the network of the labels trains alone, as in the authors' code, before it leads.
N_LEAD = 10


class SemanticTask:
    """A network of labels leads the networks of the modalities; discriminators tell them apart.

    Parameters
    ----------
    pathways : dict
        Modality name to network, each a `SemanticMLP`.
    label_network : SemanticMLP
        Of the label indicator.
    discriminators : dict
        Modality name to a network that maps semantic features to one value; empty for none.
    reader : BlockReader
        Gives the rows of a modality as tensors.
    labels : Tensor of shape (n, c)
        Label indicator, on the device.
    rows : ndarray of shape (n_train,)
        Rows to train on.
    alpha, gamma, eta, beta : float
        Weights of the likelihood of semantic features and of hash layers, of quantisation and
        of predicted labels.
    adversarial_weight : float
        Weight of the discriminators in the loss of the modalities.
    learning_rate, batch_size : float, int
        Of the steps.
    first : bool
        Whether the network of the labels is new, and trains ahead of the others.
    """

    def __init__(
        self,
        pathways,
        label_network,
        discriminators,
        reader,
        labels,
        rows,
        *,
        alpha,
        gamma,
        eta,
        beta,
        adversarial_weight,
        learning_rate,
        batch_size,
        first=True,
    ):
        self.pathways, self.label_network, self.D = pathways, label_network, discriminators
        self.reader, self.labels, self.rows = reader, labels, rows
        self.alpha, self.gamma, self.eta, self.beta = alpha, gamma, eta, beta
        self.adversarial_weight, self.batch_size = adversarial_weight, batch_size
        self.n_lead = N_LEAD if first else 0
        self.modules = nn.ModuleList([label_network, *pathways.values(), *discriminators.values()])
        players = [label_network, nn.ModuleList(discriminators.values()), *pathways.values()]
        self.optimisers = [
            make_optimiser(player.parameters(), "adam", learning_rate)
            for player in players
            if len(list(player.parameters()))
        ]
        self.end_epoch()

    def end_epoch(self):
        """Refresh B, the signs of the summed hash layers of labels and modalities."""
        self.B = self.signs([self.label_network, *self.pathways.values()])
        return {}

    def signs(self, networks):
        """Signs of the summed hash layers of some of the networks, for all rows."""
        names = {network: name for name, network in self.pathways.items()}
        outputs = [
            forward(network, self.reader, names[network], self.rows)
            if network in names
            else forward(network, self.label_rows, "labels", self.rows)
            for network in networks
        ]
        return torch.where(add(output.tanh() for output in outputs) >= 0, 1.0, -1.0)

    def label_rows(self, name, rows):
        """Rows of the label indicator, read as those of a modality are."""
        return self.labels[rows]

    def epoch(self, t):
        """Yield the steps of an epoch: the labels, the discriminators, then every modality."""
        for _ in range(self.n_lead if t == 0 else 0):
            for batch in row_batches(len(self.rows), self.batch_size):
                yield self.optimisers[0], lambda batch=batch: self.label_loss(batch)
            self.B = self.signs([self.label_network])
        optimisers = iter(self.optimisers)
        steps: list[tuple] = [(next(optimisers), self.label_loss)]
        if self.D:
            steps.append((next(optimisers), self.discriminator_loss))
        steps += [(next(optimisers), partial(self.modality_loss, name)) for name in self.pathways]
        for optimiser, loss in steps:
            for batch in row_batches(len(self.rows), self.batch_size):
                yield optimiser, lambda loss=loss, batch=batch: loss(batch)

    def label_loss(self, batch):
        """Loss of the network of labels: it leads itself."""
        heads = self.label_network.heads(self.labels[self.rows[batch]])
        return self.supervised_loss(heads, heads, batch)

    def modality_loss(self, name, batch):
        """Loss of a modality led by the labels, and what its discriminator tells."""
        features, codes, scores = self.heads(name, batch)
        with torch.no_grad():
            leader = self.label_network.heads(self.labels[self.rows[batch]])
        loss = self.supervised_loss((features, codes, scores), leader, batch)
        if name in self.D:
            # What comes from a modality shall be taken for what comes from labels.
            loss = loss + self.adversarial_weight * (self.D[name](features) - 1).square().mean()
        return loss

    def supervised_loss(self, heads, leader, batch):
        """Likelihoods of features and of hash layers, quantisation, predicted labels."""
        features, codes, scores = heads
        L = self.labels[self.rows[batch]]
        S = shared_label(L, L)
        return (
            self.alpha * pair_likelihood(leader[0], features, S)
            + self.gamma * pair_likelihood(leader[1], codes, S)
            + self.eta * quantisation_loss(self.B[batch], codes)
            + self.beta * (scores.sigmoid() - L).square().mean()
        )

    def discriminator_loss(self, batch):
        """Squared error of the discriminators: 1 for labels, 0 for a modality."""
        with torch.no_grad():
            real = self.label_network.heads(self.labels[self.rows[batch]])[0]
            features = {name: self.heads(name, batch)[0] for name in self.D}
        return sum(
            (network(real) - 1).square().mean() + network(features[name]).square().mean()
            for name, network in self.D.items()
        ) / (2 * len(self.D))

    def heads(self, name, batch):
        """Semantic features, hash layer and label scores of a batch of one modality."""
        return self.pathways[name].heads(self.reader(name, self.rows[batch]))
