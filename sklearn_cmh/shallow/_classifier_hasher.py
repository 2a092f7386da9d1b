"""Codes of classes: the probabilities of a classifier, through random hyperplanes [1]_.

Where relevance means "of the same class", a classifier per modality is all that is needed: the
code of a row is ``sgn((p - p_mean) A)`` with its class probabilities p and random hyperplanes A, or
that of the classes it is put in. Rows of one class share a code, and classes not seen have none:
a baseline that shows how much of a supervised method's score is classification.
"""

import warnings
from typing import Any

import numpy as np
from sklearn.preprocessing import normalize

from ..base import BaseHasher
from ..features import FeatureMapsMixin
from ..solvers import fuse, project, sign, warn_constant_bits
from ..utils._sklearn import HasMethods, StrOptions
from ..utils._transformers import inner_clone
from ..utils._typing import Features, Floats, Modalities, RandomState

__all__ = ["ClassifierHasher"]


def class_scores(classifier: Any, F: Features, codes: str) -> Floats:
    """Scores of the classes (n, c) whose signs of projections are a code.

    Class probabilities, or of "one_hot" codes unit rows of the likely classes: the likeliest, and
    with several labels per row all that are more likely than not.
    """
    P = classifier.predict_proba(F)
    if codes == "probability_lsh":
        return P
    chosen = P == P.max(axis=1, keepdims=True)
    from sklearn.multiclass import OneVsRestClassifier

    if isinstance(classifier, OneVsRestClassifier) and classifier.multilabel_:
        chosen |= P > 0.5
    else:
        chosen = np.arange(P.shape[1]) == P.argmax(axis=1)[:, None]
    return normalize(chosen.astype(P.dtype))


class ClassifierHasher(FeatureMapsMixin, BaseHasher):
    """Class probabilities of a classifier per modality through random hyperplanes.

    A baseline for search by class.

    Parameters
    ----------
    n_bits : int, default=64
        Length of the codes.
    classifier : classifier with `predict_proba` or None, default=None
        Cloned and fitted for every modality; for rows with several labels one per class. None is
        ``LogisticRegression(C=10, max_iter=1000)``.
    codes : {"probability_lsh", "one_hot"}, default="probability_lsh"
        What goes through the hyperplanes: probabilities, minus their mean, or the classes that a
        row is put in.
    modalities : {"prefix"}, dict or list of tuples, default=None
        Which columns belong to which modality: ``(name, transformer, columns)`` triples,
        ``{name: columns}``, or "prefix". None takes a MultimodalData's own.
    feature_map : transformer, dict, "passthrough" or None, default=None
        Map of every modality's columns, or a {name: map} dict; None is ``AnchorRBF(n_anchors)``,
        which makes the classifier a kernel one.
    n_anchors : int, default=1000
        Anchors of `AnchorRBF`.
    random_state : int, RandomState instance or None, default=None
        Draws hyperplanes and anchors, and seeds the classifier.
    verbose : bool or int, default=False
        Without effect.

    Attributes
    ----------
    codes_ : ndarray of shape (n, n_bits), int8
        Fused codes of the training rows.
    classifiers_ : dict
        Modality name to fitted classifier.
    hyperplanes_ : ndarray of shape (n_classes, n_bits)
        The random hyperplanes.
    mean_scores_ : ndarray of shape (n_classes,)
        Mean of the scores of the training rows over modalities.
    labels_, classes_ : csr_array of shape (n, n_classes), ndarray of shape (n_classes,)
        Labels of the training rows.

    References
    ----------
    .. [1] Sablayrolles, A., Douze, M., Usunier, N. and Jégou, H. (2017). How should we evaluate
       supervised hashing? ICASSP. :arxiv:`1609.06753`

    Examples
    --------
    >>> from sklearn_cmh.datasets import make_multimodal_classification
    >>> from sklearn_cmh.shallow import ClassifierHasher
    >>> X, y = make_multimodal_classification(n_samples=200, random_state=0)
    >>> hasher = ClassifierHasher(n_bits=16, n_anchors=50, random_state=0).fit(X, y)
    >>> hasher.encode(X, modality="text").shape
    (200, 16)
    """

    _parameter_constraints: dict = {
        **BaseHasher._parameter_constraints,
        **FeatureMapsMixin._parameter_constraints,
        "classifier": [HasMethods(["fit", "predict_proba"]), None],
        "codes": [StrOptions({"probability_lsh", "one_hot"})],
    }

    _is_baseline = True

    def __init__(
        self,
        n_bits: int = 64,
        *,
        classifier: Any = None,
        codes: str = "probability_lsh",
        modalities: Modalities = None,
        feature_map: Any = None,
        n_anchors: int = 1000,
        random_state: RandomState = None,
        verbose: bool | int = False,
    ):
        self.n_bits = n_bits
        self.classifier = classifier
        self.codes = codes
        self.modalities = modalities
        self.feature_map = feature_map
        self.n_anchors = n_anchors
        self.random_state = random_state
        self.verbose = verbose

    def _fit_blocks(self, blocks, L, rng):
        # Imported on use: they load half of scikit-learn.
        from sklearn.linear_model import LogisticRegression
        from sklearn.multiclass import OneVsRestClassifier

        features = self._fit_features(blocks, rng)
        classifier = self.classifier
        if classifier is None:
            classifier = LogisticRegression(C=10, max_iter=1000)
        counts = L.sum(axis=0)
        self._known = np.flatnonzero(counts)
        several = (L.sum(axis=1) > 1).any()
        targets = L[:, self._known].toarray() if several else L.indices
        self.classifiers_ = {}
        for name, F in features.items():
            fitted = inner_clone(classifier, rng)
            with warnings.catch_warnings():
                # A class that all rows have is as certain as it looks.
                warnings.filterwarnings("ignore", "Label .* is present in all training examples")
                if several:
                    fitted = OneVsRestClassifier(fitted)
                self.classifiers_[name] = fitted.fit(F, targets)
        self.hyperplanes_ = rng.standard_normal((L.shape[1], self.n_bits))
        scores = {name: self._scores(name, F) for name, F in features.items()}
        self.mean_scores_ = np.mean([P.mean(axis=0) for P in scores.values()], axis=0)
        self.codes_ = sign(fuse({name: self._through_hyperplanes(P) for name, P in scores.items()}))
        warn_constant_bits(self.codes_, "Try another random_state.")

    def _scores(self, name, F):
        """Scores (n, n_classes) of mapped features; 0 for classes that no training row has."""
        found = class_scores(self.classifiers_[name], F, self.codes)
        scores = np.zeros((len(found), len(self.classes_)), dtype=found.dtype)
        scores[:, self._known] = found
        return scores

    def _through_hyperplanes(self, scores):
        return project(scores, self.hyperplanes_, self.mean_scores_ @ self.hyperplanes_)

    def _project(self, name, block):
        return self._through_hyperplanes(self._scores(name, self._map_features(name, block)))
