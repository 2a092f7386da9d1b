"""DCMH as a task for the training loop: which step follows which (its algorithm 1)."""

import torch
from torch import nn

from ._losses import add, balance_loss, pair_likelihood, quantisation_loss, shared_label
from ._training import forward, make_optimiser, row_batches

__all__ = ["LikelihoodTask"]


class LikelihoodTask:
    """Fit inner products of the modalities' outputs to shared labels, by maximum likelihood.

    Parameters
    ----------
    pathways : dict
        Modality name to network.
    reader : BlockReader
        Gives the rows of a modality as tensors.
    labels : Tensor of shape (n, c)
        Label indicator, on the device.
    rows : ndarray of shape (n_train,)
        Rows to train on.
    gamma, eta : float
        Weights of the quantisation term and of the balance term.
    optimiser, learning_rate, batch_size : str, float, int
        Of the steps.
    """

    def __init__(
        self, pathways, reader, labels, rows, *, gamma, eta, optimiser, learning_rate, batch_size
    ):
        self.pathways, self.reader, self.labels, self.rows = pathways, reader, labels, rows
        self.gamma, self.eta, self.batch_size = gamma, eta, batch_size
        self.modules = nn.ModuleList(pathways.values())
        self.players = {
            name: make_optimiser(network.parameters(), optimiser, learning_rate)
            for name, network in pathways.items()
        }
        self.optimisers = list(self.players.values())
        self.end_epoch()

    def end_epoch(self):
        """Refresh the outputs of all rows, F and G, and B = sgn(F + G)."""
        self.buffers = {
            name: forward(network, self.reader, name, self.rows)
            for name, network in self.pathways.items()
        }
        self.B = torch.where(add(self.buffers.values()) >= 0, 1.0, -1.0)
        return {}

    def epoch(self, t):
        """Yield the steps of an epoch: all batches for one network, then for the next."""
        for name, optimiser in self.players.items():
            for batch in row_batches(len(self.rows), self.batch_size):
                yield optimiser, lambda name=name, batch=batch: self.loss(name, batch)

    def loss(self, name, batch):
        """The terms of eq. 1 in which the outputs F of a batch stand, as means.

        Pairs are those of the batch with all rows of the other modalities, whose outputs are
        constants here; of one modality alone, with its own.
        """
        F = self.pathways[name](self.reader(name, self.rows[batch])).float()
        S = shared_label(self.labels[self.rows[batch]], self.labels[self.rows])
        own = self.buffers[name]
        others = [G for other, G in self.buffers.items() if other != name] or [own]
        loss = sum(pair_likelihood(F, G, S) for G in others)
        quantisation = quantisation_loss(self.B[batch], F)
        balance = balance_loss((own.sum(0) - own[batch].sum(0) + F.sum(0)) / len(own))
        # Not in place: the gradient may need the outputs as they were.
        self.buffers[name] = own.index_copy(0, torch.as_tensor(batch).to(F.device), F.detach())
        return loss + self.gamma * quantisation + self.eta * balance
