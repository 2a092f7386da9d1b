"""DSPAH as a task for the training loop: which step follows which (algorithm 1)."""

import torch
from torch import nn

from ._losses import (
    add,
    fgsc,
    pairwise_loss,
    quantisation_loss,
    shared_label,
    target_similarity,
)
from ._training import forward, make_optimiser, row_batches

__all__ = ["PairwiseTask"]


class PairwiseTask:
    """Regress inner products of relaxed codes on the similarity of labels.

    Parameters
    ----------
    pathways : dict
        Modality name to network.
    reader : BlockReader
        Gives the rows of a modality as tensors.
    labels : Tensor of shape (n, c)
        Label indicator, or targets, on the device.
    rows : ndarray of shape (n_train,)
        Rows to train on.
    similarity : {"cosine", "any", "targets"}
        Fine-grained similarity, 1 for any shared label, or inner products of targets.
    quantisation : float
        Weight of the quantisation loss.
    pairs : {"batch", "buffer"}
        Pairs within the batch, or of the batch with the latest codes of all rows.
    updates : {"joint", "alternating"}
        One step for all networks, or one network after the other.
    optimiser, learning_rate, batch_size : str, float, int
        Of the steps.
    """

    def __init__(
        self,
        pathways,
        reader,
        labels,
        rows,
        *,
        similarity="cosine",
        quantisation=0.01,
        pairs="batch",
        updates="joint",
        optimiser="adam",
        learning_rate=1e-3,
        batch_size=128,
    ):
        self.pathways, self.reader, self.labels, self.rows = pathways, reader, labels, rows
        similarities = {"cosine": fgsc, "any": shared_label, "targets": target_similarity}
        self.similarity = similarities[similarity]
        self.quantisation, self.pairs, self.batch_size = quantisation, pairs, batch_size
        self.modules = nn.ModuleList(pathways.values())
        groups = [[name] for name in pathways] if updates == "alternating" else [list(pathways)]
        self.players = [
            (
                names,
                make_optimiser(
                    [p for name in names for p in pathways[name].parameters()],
                    optimiser,
                    learning_rate,
                ),
            )
            for names in groups
        ]
        self.optimisers = [optimiser for _, optimiser in self.players]
        self.end_epoch()

    def end_epoch(self):
        """Refresh B = sgn(sum of relaxed codes), and with "buffer" the codes themselves."""
        codes = {
            name: forward(network, self.reader, name, self.rows).tanh()
            for name, network in self.pathways.items()
        }
        self.B = torch.where(add(codes.values()) >= 0, 1.0, -1.0)
        self.buffers = codes if self.pairs == "buffer" else {}
        self.pending = []
        return {}

    def epoch(self, t):
        """Yield one (optimiser, closure) pair per step."""
        for batch in row_batches(len(self.rows), self.batch_size):
            for trained, optimiser in self.players:
                yield optimiser, lambda batch=batch, trained=trained: self.loss(batch, trained)

    def loss(self, batch, trained):
        """Loss of a batch (positions in `rows`), for the networks that are being trained."""
        F = {name: self.relaxed_codes(name, batch, name in trained) for name in self.pathways}
        pair_loss = self.buffer_pairs if self.buffers else self.batch_pairs
        quantisation = sum(quantisation_loss(self.B[batch], F[name]) for name in trained)
        return pair_loss(F, batch) + self.quantisation * quantisation

    def relaxed_codes(self, name, batch, with_gradient):
        """Codes in (-1, 1) of a batch; single precision, whatever the network computes in."""
        with torch.set_grad_enabled(with_gradient):
            return self.pathways[name](self.reader(name, self.rows[batch])).float().tanh()

    def batch_pairs(self, F, batch):
        """Inter- and intra-modal losses (eq. 5) over the pairs within the batch."""
        labels = self.labels[self.rows[batch]]
        S = self.similarity(labels, labels)
        names = list(F)
        return sum(
            pairwise_loss(F[first], F[second], S)
            for i, first in enumerate(names)
            for second in names[i:]
        )

    def buffer_pairs(self, F, batch):
        """The same over pairs of the batch with all rows, whose codes are constants here.

        An intra-modal pair moves at both ends, hence its factor 2.
        """
        # Not before the last step is over: its gradient needs the buffers as they were.
        for name, rows, codes in self.pending:
            self.buffers[name][rows] = codes
        self.pending = [(name, batch, codes.detach()) for name, codes in F.items()]
        S = self.similarity(self.labels[self.rows[batch]], self.labels[self.rows])
        return sum(
            (2 if first == second else 1) * pairwise_loss(F[first], self.buffers[second], S)
            for first in F
            for second in F
        )
