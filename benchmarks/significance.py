"""Paired tests between methods that were run on the same splits and seeds.

Training sets of several splits overlap, so that differences between two methods vary less than
those of independent samples would; Nadeau and Bengio (2003) add the share of test to training
rows to the variance of their mean. Of the many tests of a cell, p-values are corrected as Holm
(1979) does.

Nadeau, C. and Bengio, Y. (2003). Inference for the generalization error. Machine Learning, 52,
239-281.
"""

import numpy as np
from scipy import stats


def corrected_t_test(differences, overlap):
    """Two-sided p-value of the mean of paired differences.

    Parameters
    ----------
    differences : array-like of shape (n_runs,)
        Score of one method less that of the other, run by run.
    overlap : float
        Test rows per training row where runs are splits of one set; 0 where the split is the same
        and only seeds differ: the usual paired t-test, which then tells nothing of other rows.

    Returns
    -------
    p_value : float
        NaN for fewer than two runs.
    """
    d = np.asarray(differences, dtype=float)
    if len(d) < 2:
        return np.nan
    mean, variance = d.mean(), d.var(ddof=1)
    if variance == 0:
        return 1.0 if mean == 0 else 0.0
    t = mean / np.sqrt((1 / len(d) + overlap) * variance)
    return float(2 * stats.t.sf(abs(t), len(d) - 1))


def holm(p_values):
    """p-values corrected for their number, in the same order; NaN stays."""
    p = np.asarray(p_values, dtype=float)
    known = np.flatnonzero(np.isfinite(p))
    order = known[np.argsort(p[known])]
    corrected = p.copy()
    factors = np.arange(len(order), 0, -1)
    corrected[order] = np.minimum(1, np.maximum.accumulate(factors * p[order]))
    return corrected


def against_best(scores, overlap):
    """Compare every method with the one of the highest mean.

    Parameters
    ----------
    scores : dict
        Method to {run: score}. Two methods are compared on the runs that both have.
    overlap : float
        See `corrected_t_test`.

    Returns
    -------
    best : str
        The method of the highest mean.
    others : dict
        Every other method to ``(behind, spread, p_value)``: by how much its mean is behind, the
        standard deviation of the paired differences, and the corrected p-value; NaN where there
        are too few runs.
    """
    best = max(scores, key=lambda method: np.mean(list(scores[method].values())))
    gaps = {
        name: np.array(
            [scores[best][run] - score for run, score in of.items() if run in scores[best]]
        )
        for name, of in scores.items()
        if name != best
    }
    p_values = holm([corrected_t_test(gap, overlap) for gap in gaps.values()])
    return best, {
        name: (
            float(gap.mean()) if len(gap) else np.nan,
            float(gap.std(ddof=1)) if len(gap) > 1 else np.nan,
            float(p_value),
        )
        for (name, gap), p_value in zip(gaps.items(), p_values, strict=True)
    }


def across_cells(first, second):
    """Wilcoxon's signed-rank test of two methods over cells; NaN where all are ties."""
    d = np.subtract(first, second)
    if not d.any():
        return np.nan
    return float(stats.wilcoxon(d).pvalue)
