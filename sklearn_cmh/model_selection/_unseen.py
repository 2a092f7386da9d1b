"""Splits that hold whole classes out."""

from collections.abc import Iterator
from numbers import Integral, Real
from typing import Any

import numpy as np
from sklearn.model_selection import BaseCrossValidator
from sklearn.utils import check_consistent_length, check_random_state

from ..data import encode_labels
from ..utils._typing import Labels, MatrixLike, NDArray, RandomState

__all__ = ["UnseenClassSplit"]


class UnseenClassSplit(BaseCrossValidator):
    """Train on rows of some classes, test on rows of classes that were never seen.

    Supervised codes are made for the classes that they were trained on. This tells what
    they are worth for others. Classes are held out in turn: none is held out a second time
    before all have been once.

    Parameters
    ----------
    n_splits : int, default=3
        Number of splits.
    test_classes : float or int, default=0.28
        Classes held out of every split: a share of them between 0 and 1, rounded, at least
        one; or their number. Two classes at least must be left to train on.
    seen_test_size : float, default=0.0
        Share of the rows of seen classes that is held out as well: they join the test rows.
        :func:`~sklearn_cmh.metrics.retrieval_protocols` compares the two kinds.
    random_state : int, RandomState instance or None, default=None
        Draws classes and rows. An int gives the same splits at every call.

    See Also
    --------
    sklearn_cmh.metrics.retrieval_protocols : Figures of seen and unseen classes.
    sklearn.model_selection.LeavePGroupsOut : Of groups that are given by hand.

    Notes
    -----
    With several labels per row, a row is a training row only if *all* its labels are of
    seen classes; a row with any label that is held out is a test row, though it may have
    seen labels as well. Rows without labels are training rows: nothing is known of their
    classes.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_cmh.model_selection import UnseenClassSplit
    >>> y = np.array(["ant", "bee", "cat", "dog"] * 2)
    >>> for train, test in UnseenClassSplit(2, test_classes=2, random_state=0).split(y, y):
    ...     print(np.unique(y[train]), np.unique(y[test]))
    ['ant' 'bee'] ['cat' 'dog']
    ['cat' 'dog'] ['ant' 'bee']
    """

    def __init__(
        self,
        n_splits: int = 3,
        *,
        test_classes: float = 0.28,
        seen_test_size: float = 0.0,
        random_state: RandomState = None,
    ):
        self.n_splits = n_splits
        self.test_classes = test_classes
        self.seen_test_size = seen_test_size
        self.random_state = random_state

    def get_n_splits(
        self, X: MatrixLike = None, y: Labels | None = None, groups: Any = None
    ) -> int:
        """Number of splits.

        Parameters
        ----------
        X : object, default=None
            Ignored.
        y : object, default=None
            Ignored.
        groups : object, default=None
            Ignored.

        Returns
        -------
        n_splits : int
            The parameter.
        """
        return self.n_splits

    def split(
        self, X: MatrixLike, y: Labels | None = None, groups: Any = None
    ) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp]]]:
        """Generate training and test rows.

        Parameters
        ----------
        X : {array-like, sparse, DataFrame, MultimodalData} of shape (n, n_features)
            Rows; only their number matters.
        y : array-like of shape (n,) or {array-like, sparse} of shape (n, c)
            Class labels, or a label indicator.
        groups : object, default=None
            Ignored.

        Yields
        ------
        train, test : ndarray of shape (n_train,), (n_test,)
            Rows, in order.

        Raises
        ------
        ValueError
            If a parameter is out of range, there are too few classes, or a split has no
            row to train on or to test on.
        """
        if y is None:
            raise ValueError(
                "y is None, but UnseenClassSplit holds classes out: pass y to the search or to "
                "cross_validate."
            )
        L, _ = encode_labels(y)
        check_consistent_length(X, L)
        present = np.flatnonzero(L.sum(axis=0))
        n_unseen = self._check_parameters(len(present))
        rng = check_random_state(self.random_state)
        for unseen in _in_turn(present, n_unseen, self.n_splits, rng):
            is_unseen = np.zeros(L.shape[1], dtype=np.intp)
            is_unseen[unseen] = 1
            test = L @ is_unseen > 0
            seen_rows = np.flatnonzero(~test)
            n_tested = round(self.seen_test_size * len(seen_rows))
            if 0 < n_tested == len(seen_rows):
                raise ValueError(
                    f"seen_test_size={self.seen_test_size!r} of {n_tested} rows without a class "
                    "that is held out leaves none to train on: lower it."
                )
            test[rng.permutation(seen_rows)[:n_tested]] = True
            if test.all():
                raise ValueError(
                    f"A split that holds {n_unseen} of {len(present)} classes out leaves no row "
                    "to train on, as every row has one of their labels: lower test_classes."
                )
            yield np.flatnonzero(~test), np.flatnonzero(test)

    def _check_parameters(self, n_classes):
        """Validate the parameters; the number of classes to hold out."""
        if not isinstance(self.n_splits, Integral) or self.n_splits < 1:
            raise ValueError(f"n_splits must be an int of at least 1; got {self.n_splits!r}.")
        size = self.seen_test_size
        if not isinstance(size, Real) or not 0 <= size < 1:
            raise ValueError(f"seen_test_size must be a share from 0 to below 1; got {size!r}.")
        asked = self.test_classes
        whole = isinstance(asked, Integral) and not isinstance(asked, bool)
        if not whole and not (isinstance(asked, Real) and 0 < asked < 1):
            raise ValueError(
                "test_classes must be a share between 0 and 1, or a number of classes of at least "
                f"1; got {asked!r}."
            )
        n_unseen = int(asked) if whole else max(1, round(asked * n_classes))
        if not 1 <= n_unseen <= n_classes - 2:
            raise ValueError(
                f"test_classes={asked!r} of {n_classes} classes holds {n_unseen} out, but at least "
                "one must be held out and two left to train on."
            )
        return n_unseen


def _in_turn(items, size, n_draws, rng):
    """Draw sets of items at random, of those first that were drawn least often."""
    times = np.zeros(len(items), dtype=np.intp)
    for _ in range(n_draws):
        drawn = np.lexsort([rng.permutation(len(items)), times])[:size]
        times[drawn] += 1
        yield items[drawn]
