"""The hasher inside what a user scores."""

from functools import partial

from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import Pipeline

from ._skrub import is_plan, last_step

__all__ = ["find_hasher"]


def find_hasher(estimator):
    """Find the hasher at the end of `estimator`, and the function that prepares rows for it."""
    if hasattr(estimator, "best_estimator_"):
        return find_hasher(estimator.best_estimator_)
    if isinstance(estimator, FrozenEstimator):
        return find_hasher(estimator.estimator)
    if hasattr(estimator, "encode") and hasattr(estimator, "_encode_labels"):
        return estimator, _unchanged
    if isinstance(estimator, Pipeline):
        steps = [step for _, step in estimator.steps if step not in (None, "passthrough")]
        # A final ranker holds fused codes; the hasher before it is what is scored.
        if len(steps) > 1 and hasattr(steps[-1], "kneighbors"):
            steps.pop()
        if steps:
            hasher, prepare = find_hasher(steps[-1])
            return hasher, partial(_prepare, steps[:-1], prepare)
    if is_plan(estimator):
        step, prepare_step = last_step(estimator)
        hasher, prepare = find_hasher(step)
        return hasher, partial(_in_turn, prepare_step, prepare)
    raise TypeError(
        "Expected a fitted hasher, or a Pipeline that ends in a hasher or in a hasher and a "
        f"HammingRanker; got {type(estimator).__name__}."
    )


def _prepare(steps, prepare, X):
    for step in steps:
        X = step.transform(X)
    return prepare(X)


def _in_turn(first, second, X):
    return second(first(X))


def _unchanged(X):
    return X
