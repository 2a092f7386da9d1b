"""How well the bits of codes are used."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.utils import gen_batches
from sklearn.utils.validation import check_is_fitted

from ..data import encode_labels, label_patterns, labelled_rows
from ..hamming import check_codes, pack_codes
from ..metrics.core import find_hasher
from ..utils._plotting import import_pyplot
from ..utils._typing import Labels, NDArray

__all__ = ["BitReport", "bit_report"]

# Codes that so many rows share on average cannot put the thing itself among the first ten.
FEW_SHARING = 10


def bit_report(codes: Any, *, labels: Labels | None = None) -> BitReport:
    """Say how well the bits of codes are used.

    Good bits are balanced (half of the rows +1), differ from one another, and tell rows
    apart. A bit that is the same for all rows has collapsed: it costs memory and says
    nothing.

    Parameters
    ----------
    codes : array-like of shape (n, n_bits), or fitted hasher, Pipeline or search
        Codes of two values, or what holds a hasher, for its learned codes. Codes of new rows, which
        are often worse, are to be encoded first: ``bit_report(hasher.encode(...))``.
    labels : array-like of shape (n,) or {array-like, sparse} of shape (n, c), default=None
        Labels of the rows, by which the report says whether codes tell rows apart or their
        classes only; a hasher has its own.

    Returns
    -------
    report : BitReport
        Figures per bit and for the whole codes; prints as a summary.

    Examples
    --------
    >>> from sklearn_cmh.inspection import bit_report
    >>> bit_report([[1, 1, -1], [1, -1, -1], [-1, 1, -1], [-1, -1, -1]])
    Bit report: 4 codes of 3 bits
      balance      share of +1 from 0.00 to 0.50
      entropy      0.67 bit per bit on average; 2.00 of at most 2.00 in whole codes
      correlation  |r| 0.00 on average, 0.00 at most
      distinct     4 codes (100 %)
      collapsed    1 bit: 2
    """
    if hasattr(codes, "get_params"):
        hasher = find_hasher(codes)[0]
        check_is_fitted(hasher, "codes_")
        codes = hasher.codes_
        labels = hasher.labels_ if labels is None else labels
    codes = check_codes(codes)
    n, n_bits = codes.shape
    ones, together = np.zeros(n_bits), np.zeros((n_bits, n_bits))
    for rows in gen_batches(n, 1 << 14):
        # Counts below 2^24 are exact in float32.
        bits = (codes[rows] > 0).astype(np.float32)
        ones += bits.sum(axis=0)
        together += bits.T @ bits
    share = ones / n
    spread = np.sqrt(share * (1 - share))
    covariance = together / n - np.outer(share, share)
    scale = np.outer(spread, spread)
    correlation = np.divide(covariance, scale, out=np.zeros_like(scale), where=scale > 0)
    packed = pack_codes(codes)
    counts = np.unique(packed, axis=0, return_counts=True)[1]
    return BitReport(
        n_codes=n,
        n_bits=n_bits,
        share_of_ones=share,
        entropy=_entropy(np.stack([share, 1 - share])),
        correlation=np.clip(correlation, -1, 1),
        collapsed=np.flatnonzero((share == 0) | (share == 1)),
        n_distinct=len(counts),
        code_entropy=float(_entropy(counts / n)),
        n_sharing=float(counts @ counts / n),
        n_label_sets=None if labels is None else _count_label_sets(labels, n),
    )


def _count_label_sets(labels, n):
    """Number of distinct sets of labels, of the rows that have any."""
    L, _ = encode_labels(labels, input_name="labels")
    if L.shape[0] != n:
        raise ValueError(f"labels have {L.shape[0]} rows for {n} codes: pass one row per code.")
    return label_patterns(L[labelled_rows(L)])[0].shape[0]


def _entropy(p):
    """Entropy in bits along the first axis."""
    return np.abs((p * np.log2(np.where(p > 0, p, 1))).sum(axis=0))


@dataclass(frozen=True, repr=False)
class BitReport:
    """What `bit_report` returns.

    Parameters
    ----------
    n_codes, n_bits : int
        Rows, and the length of the codes.
    share_of_ones : ndarray of shape (n_bits,)
        Share of the rows in which the bit is +1; 1/2 is best.
    entropy : ndarray of shape (n_bits,)
        Entropy of every bit, between 0 and 1 bit.
    correlation : ndarray of shape (n_bits, n_bits)
        Correlation between bits; 0 for a collapsed bit, with itself too.
    collapsed : ndarray of shape (n_collapsed,)
        Bits that are the same in all rows.
    n_distinct : int
        Number of different codes.
    code_entropy : float
        Entropy of whole codes, at most ``log2(n_codes)`` bits.
    n_sharing : float
        Number of rows that have the code of a row, itself among them, on average over rows.
    n_label_sets : int or None
        Number of classes, or of distinct sets of labels where rows have several.

    See Also
    --------
    bit_report : Makes it.
    """

    n_codes: int
    n_bits: int
    share_of_ones: np.ndarray
    entropy: np.ndarray
    correlation: np.ndarray
    collapsed: np.ndarray
    n_distinct: int
    code_entropy: float
    n_sharing: float
    n_label_sets: int | None = None

    @property
    def finds_classes_only(self) -> bool:
        """Whether there are hardly more codes than classes, though many more rows.

        Where labels are unknown: whether ten rows or more share a code on average.
        """
        if self.n_label_sets is None:
            return self.n_sharing >= FEW_SHARING
        few = self.n_distinct <= 2 * self.n_label_sets
        return bool(few and self.n_sharing >= 2)

    @property
    def remark(self) -> str:
        """What codes cannot tell apart, in a sentence; empty where they tell rows apart."""
        if not self.finds_classes_only:
            return ""
        codes = "code" if self.n_distinct == 1 else "codes"
        what = "classes" if self.n_label_sets is not None else "groups of rows"
        return (
            f"{self.n_codes:,} rows, {self.n_distinct:,} distinct {codes}: finds {what}, not "
            f"things. A row shares its code with {self.n_sharing - 1:,.0f} others on average."
        )

    @property
    def max_correlation(self) -> NDArray[np.float64]:
        """Largest absolute correlation of every bit with another: (n_bits,)."""
        others = np.abs(self.correlation)
        np.fill_diagonal(others, 0)
        return others.max(axis=1)

    def to_dict(self) -> dict[str, Any]:
        """Figures of the whole codes.

        Returns
        -------
        figures : dict
            Name to number.
        """
        off_diagonal = np.abs(self.correlation)[~np.eye(self.n_bits, dtype=bool)]
        return {
            "n_codes": self.n_codes,
            "n_bits": self.n_bits,
            "n_distinct": self.n_distinct,
            "n_collapsed": len(self.collapsed),
            "n_sharing": self.n_sharing,
            "mean_entropy": float(self.entropy.mean()),
            "code_entropy": self.code_entropy,
            "mean_abs_correlation": float(off_diagonal.mean()) if self.n_bits > 1 else 0.0,
            "max_abs_correlation": float(self.max_correlation.max()),
        }

    def to_frame(self) -> Any:
        """Figures of every bit.

        Returns
        -------
        frame : pandas DataFrame of n_bits rows
            Columns `share_of_ones`, `entropy`, `max_correlation` and `collapsed`.
        """
        import pandas as pd

        return pd.DataFrame(
            {
                "share_of_ones": self.share_of_ones,
                "entropy": self.entropy,
                "max_correlation": self.max_correlation,
                "collapsed": np.isin(np.arange(self.n_bits), self.collapsed),
            }
        ).rename_axis("bit")

    def plot(self, ax: Any = None, **kwargs: Any) -> Any:
        """Draw the balance of every bit and the correlations between them.

        Parameters
        ----------
        ax : pair of matplotlib Axes, default=None
            Axes of the balance and of the correlations; None makes new ones.
        **kwargs : dict
            Passed to matplotlib's ``imshow`` of the correlations.

        Returns
        -------
        axes : ndarray of two matplotlib Axes
            The axes drawn on.
        """
        plt = import_pyplot("BitReport.plot")
        if ax is None:
            _, ax = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
        balance, correlations = ax
        balance.bar(np.arange(self.n_bits), self.share_of_ones, width=1.0, edgecolor="white")
        balance.axhline(0.5, color="black", linestyle="--", linewidth=1)
        balance.set(xlabel="Bit", ylabel="Share of +1", ylim=(0, 1), title="Balance")
        style = {"cmap": "RdBu_r", "vmin": -1, "vmax": 1, "interpolation": "nearest", **kwargs}
        image = correlations.imshow(self.correlation, **style)
        correlations.set(xlabel="Bit", ylabel="Bit", title="Correlation between bits")
        correlations.figure.colorbar(image, ax=correlations)
        return np.array([balance, correlations])

    def __repr__(self):
        figures = self.to_dict()
        low, high = self.share_of_ones.min(), self.share_of_ones.max()
        most = figures["max_abs_correlation"]
        most_entropy = min(np.log2(self.n_codes), self.n_bits)
        where = ""
        if most > 0:
            i = int(self.max_correlation.argmax())
            others = np.abs(self.correlation[i])
            others[i] = -1
            where = f" (bits {i} and {int(others.argmax())})"
        collapsed = "none"
        if len(self.collapsed):
            shown = ", ".join(str(i) for i in self.collapsed[:10])
            more = ", ..." if len(self.collapsed) > 10 else ""
            plural = "s" if len(self.collapsed) > 1 else ""
            collapsed = f"{len(self.collapsed)} bit{plural}: {shown}{more}"
        return "\n".join(
            [
                f"Bit report: {self.n_codes:,} codes of {self.n_bits} bits",
                f"  balance      share of +1 from {low:.2f} to {high:.2f}",
                f"  entropy      {figures['mean_entropy']:.2f} bit per bit on average; "
                f"{self.code_entropy:.2f} of at most {most_entropy:.2f} in whole codes",
                f"  correlation  |r| {figures['mean_abs_correlation']:.2f} on average, "
                f"{most:.2f} at most{where}",
                f"  distinct     {self.n_distinct:,} codes "
                f"({100 * self.n_distinct / self.n_codes:.3g} %)",
                f"  collapsed    {collapsed}",
                *([f"  remark       {self.remark}"] if self.remark else []),
            ]
        )
