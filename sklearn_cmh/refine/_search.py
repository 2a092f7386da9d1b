"""The search for features and penalties whose leave-one-out codes retrieve best."""

import time
import warnings
from typing import Any

import numpy as np
from scipy.stats import rankdata
from sklearn.exceptions import FitFailedWarning
from sklearn.pipeline import make_pipeline
from sklearn.utils.parallel import delayed

from ..features import AnchorRBF, sqrt_norm
from ..metrics import average_precision_scores, mean_reciprocal_rank
from ..solvers import centred_spectrum, ridge_leave_one_out
from ..utils._cache import cached
from ..utils._transformers import fit_transform

__all__ = [
    "anchor_map",
    "candidate_params",
    "coordinate_search",
    "cross_modal_score",
    "leave_one_out_codes",
    "mapped_spectrum",
    "report_failures",
    "retrieval_score",
    "search_results",
]


def anchor_map(preprocessing, width, n_anchors, seed):
    """Anchor kernel map of one candidate, after its preprocessing."""
    rbf = AnchorRBF(n_anchors, width_factor=width, random_state=seed)
    return rbf if preprocessing == "raw" else make_pipeline(sqrt_norm(), rbf)


def mapped_spectrum(candidate_map, block):
    """Features of a block by a map fitted to it, and their spectrum."""
    F = fit_transform(candidate_map, block)
    return F, centred_spectrum(F)


def leave_one_out_codes(candidate_map, block, B, ridges, rows, memory=None):
    """Leave-one-out codes (n_ridges, n_rows, k) on one feature map, and the seconds taken.

    What does not depend on the codes is kept in `memory`. An error is returned, not raised: the
    search goes on with the other maps.
    """
    start = time.perf_counter()
    try:
        F, spectrum = cached(memory, mapped_spectrum, candidate_map, block)
        codes = ridge_leave_one_out(F, B, ridges, rows, signs=True, spectrum=spectrum)[1]
    except Exception as error:
        return error, time.perf_counter() - start
    return codes, time.perf_counter() - start


def cross_modal_score(codes, others, L, pair_weight=0.0):
    """What retrieval across modalities finds: classes, each row's own pair, or both.

    Mean over `others` and both directions. Without others, codes retrieve among themselves,
    and only classes can be found.

    Parameters
    ----------
    codes : ndarray of shape (n, k)
        Codes of one modality.
    others : list of ndarray of shape (n, k)
        Codes of the same rows in other modalities.
    L : csr_array of shape (n, c)
        Label indicator of the rows; not looked at where the pair weight is 1.
    pair_weight : float, default=0.0
        See `retrieval_score`.

    Returns
    -------
    score : float
        In [0, 1].
    """
    directions = [pair for other in others for pair in ((codes, other), (other, codes))]
    if directions:
        return retrieval_score(directions, L, pair_weight)
    return float(class_map(codes, codes, L) ** (1 - pair_weight)) if pair_weight < 1 else 1.0


def retrieval_score(directions, L, pair_weight, pairs=slice(None)):
    """``mAP^(1 - p) MRR^p`` of what queries find in databases.

    Mean average precision of the classes, own pair left out, and mean reciprocal rank of the own
    pair. The mean of the two is geometric because they differ by orders of magnitude: what counts
    is by how many per cent a candidate is better.

    Parameters
    ----------
    directions : list of tuple of (ndarray of shape (n, k), ndarray of shape (n, k))
        Codes of queries, and of the database of the same rows; both figures are means over these.
    L : csr_array of shape (n, c)
        Label indicator of the rows; not looked at where the pair weight is 1.
    pair_weight : float
        The weight p.
    pairs : slice or ndarray of int, default=slice(None)
        The rows among which own pairs are sought.

    Returns
    -------
    score : float
        In [0, 1].
    """
    score = 1.0
    if pair_weight < 1:
        score *= np.mean([class_map(query, base, L) for query, base in directions]) ** (
            1 - pair_weight
        )
    if pair_weight > 0:
        score *= (
            np.mean([mean_reciprocal_rank(query[pairs], base[pairs]) for query, base in directions])
            ** pair_weight
        )
    return float(score)


def class_map(query, database, L):
    """Mean average precision of the classes, every row's own pair left out."""
    values, relevant = average_precision_scores(query, database, L, L, exclude_self=True)
    return values[relevant].mean()


def coordinate_search(codes, L, parallel, pair_weight=0.0):
    """Best candidate of every modality by cross-modal retrieval.

    A modality starts at the candidate whose codes retrieve best among themselves.
    Then, modality by modality, the candidate is taken whose codes retrieve best across
    to those chosen for the others; twice, unless the first pass changes nothing.

    Parameters
    ----------
    codes : dict of {str: dict of {object: ndarray of shape (n, k)}}
        Codes of the same rows for each candidate of each modality.
    L : csr_array of shape (n, c)
        Label indicator of the rows.
    parallel : Parallel
        Runs the candidates.
    pair_weight : float, default=0.0
        What counts as found; see `cross_modal_score`.

    Yields
    ------
    name : str
        Modality; its candidates were just scored.
    scores : dict of {object: float}
        Score of each of its candidates.
    best : object
        The best of them, now chosen.
    """
    chosen = {}

    def score(name, others):
        values = parallel(
            delayed(cross_modal_score)(H, others, L, pair_weight) for H in codes[name].values()
        )
        scores = dict(zip(codes[name], values, strict=True))
        chosen[name] = max(scores, key=scores.__getitem__)
        return name, scores, chosen[name]

    for name in codes:
        yield score(name, [])
    for _ in range(2 if len(codes) > 1 else 0):
        before = chosen.copy()
        for name in codes:
            yield score(name, [codes[m][c] for m, c in chosen.items() if m != name])
        if chosen == before:
            break


def report_failures(settings, outcomes):
    """Warn of feature maps that failed; raise if none is left for a modality."""
    failures = [(s, o) for s, o in zip(settings, outcomes, strict=True) if isinstance(o, Exception)]
    if not failures:
        return
    for name in dict.fromkeys(name for name, *_ in settings):
        errors = [error for setting, error in failures if setting[0] == name]
        if len(errors) == sum(setting[0] == name for setting in settings):
            raise ValueError(
                f"All {len(errors)} candidate feature maps of modality {name!r} failed; the first "
                f"with {errors[0]!r}."
            ) from errors[0]
    warnings.warn(
        f"{len(failures)} of {len(settings)} candidate feature maps failed and are left out, the "
        f"first, {failures[0][0]}, with {failures[0][1]!r}.",
        FitFailedWarning,
    )


def search_results(candidates, scores, seconds):
    """`cv_results_` in scikit-learn's form, ranks within each modality."""
    params = [{"modality": c[0][0], **candidate_params(c)} for c in candidates]
    results: dict[str, Any] = {"mean_fit_time": np.array(seconds)}
    for key in params[0]:
        results[f"param_{key}"] = np.ma.array([p[key] for p in params])
    results["params"] = params
    results["mean_test_score"] = scores = np.array(scores)
    modality = results["param_modality"]
    ranks = np.empty(len(scores), dtype=np.int32)
    for name in np.unique(modality):
        # Failed candidates come last, as in scikit-learn.
        values = np.nan_to_num(scores[modality == name], nan=-1.0)
        ranks[modality == name] = rankdata(-values, method="min")
    results["rank_test_score"] = ranks
    return results


def candidate_params(candidate):
    """Settings of a candidate ((modality, preprocessing, width), ridge)."""
    (_, preprocessing, width), ridge = candidate
    return {"preprocessing": preprocessing, "width": float(width), "ridge": float(ridge)}
