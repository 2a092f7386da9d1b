"""The hasher inside what a user scores, and what scorers and reports ask of it.

Metrics stand below hashers and cannot import them. What they need beyond the public methods is
asked here, and nowhere else.
"""

from functools import partial

from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import Pipeline

from ...data import MultimodalData, is_indicator, select_blocks
from ._skrub import is_plan, last_step

__all__ = [
    "find_hasher",
    "has_form_of_fit",
    "labels_beside_training",
    "labels_of",
    "preprocessed_rows",
    "raw_blocks",
    "shared_vectors",
]


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


def labels_of(hasher, y):
    """Label indicator (n, c) of y and its classes, as the hasher reads labels."""
    return hasher._encode_labels(y)


def labels_beside_training(hasher, y):
    """Labels of queries and those of the training rows, on the same classes."""
    return hasher._query_labels(y)


def has_form_of_fit(hasher, y):
    """Whether the hasher was fitted with labels, in the form of y: indicator or class labels."""
    return hasher.labels_ is not None and is_indicator(y) == hasher._indicator


def shared_vectors(hasher, X, modality):
    """Vectors of rows in the space that the hasher has fitted; of all modalities if None."""
    space = getattr(hasher, "shared_space_", None)
    if space is None:
        raise ValueError(
            f"The ranker orders rows by vectors, but {type(hasher).__name__} has fitted no space "
            "of them (`shared_space_`): score RefinedHasher with a pair weight above 0, or a "
            'TwoStageRanker with metric="asymmetric".'
        )
    return space.transform(MultimodalData(**hasher._new_blocks(X, modality)))


def raw_blocks(hasher, frame):
    """Columns of every modality, {name: columns}, as its transformer is given them."""
    return select_blocks(frame, hasher._modalities)


def preprocessed_rows(hasher, X, modality):
    """Iterate over the rows of one modality after its transformer, in batches."""
    return hasher._map_batches(lambda batch: hasher._new_blocks(batch, modality)[modality], X)


def _prepare(steps, prepare, X):
    for step in steps:
        X = step.transform(X)
    return prepare(X)


def _in_turn(first, second, X):
    return second(first(X))


def _unchanged(X):
    return X
