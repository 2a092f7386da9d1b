"""Every accepted target as one label matrix."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import sparse

from sklearn_cmh.data import (
    align_labels,
    encode_labels,
    is_indicator,
    label_patterns,
    labelled_rows,
    normalise_rows,
)

SPARSE = [sparse.csr_array, sparse.csc_matrix, sparse.coo_array, sparse.lil_matrix]
indicators = hnp.arrays(
    np.int8, st.tuples(st.integers(1, 12), st.integers(2, 10)), elements=st.integers(0, 1)
)


def check_canonical(L):
    assert isinstance(L, sparse.csr_array)
    assert L.dtype == np.int8 and (L.data == 1).all() and L.has_canonical_format


@settings(deadline=None)
@given(
    indicators, st.sampled_from([np.int8, bool, np.float64, np.uint8, object]), st.integers(0, 4)
)
def test_indicator_dense_or_sparse_of_any_dtype(Y, dtype, form):
    dense = form == 4 or dtype is object
    given_y = Y.astype(dtype) if dense else SPARSE[form](Y.astype(dtype))
    L, classes = encode_labels(given_y)
    check_canonical(L)
    np.testing.assert_array_equal(L.toarray(), Y)
    np.testing.assert_array_equal(classes, np.arange(Y.shape[1]))
    np.testing.assert_array_equal(labelled_rows(L), Y.any(axis=1))


@settings(deadline=None)
@given(st.lists(st.sampled_from([-1, 0, 3, 7]), min_size=1, max_size=20), st.booleans())
def test_class_labels(y, unlabelled):
    L, classes = encode_labels(y, unlabelled=unlabelled)
    check_canonical(L)
    known = [label for label in y if not (unlabelled and label == -1)]
    np.testing.assert_array_equal(classes, np.unique(known))
    for row, label in zip(L.toarray(), y, strict=True):
        np.testing.assert_array_equal(row, (classes == label) * (label in known))


@pytest.mark.parametrize(
    "y", [["cat", "dog", "cat"], np.array(["cat", "dog", "cat"], dtype=object), [2.0, 5.0, 2.0]]
)
@pytest.mark.parametrize("column", [False, True])
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.DataConversionWarning")
def test_labels_of_any_type_also_as_a_column(y, column):
    L, classes = encode_labels(np.reshape(y, (-1, 1)) if column else y)
    np.testing.assert_array_equal(L.toarray(), [[1, 0], [0, 1], [1, 0]])
    assert list(classes) == sorted(set(y))


@pytest.mark.parametrize("make", [np.asarray, *SPARSE])
def test_minus_one_rows_of_an_indicator(make):
    Y = make(np.array([[1, 0], [-1, -1], [1, 1]]))
    L, _ = encode_labels(Y, unlabelled=True)
    check_canonical(L)
    np.testing.assert_array_equal(L.toarray(), [[1, 0], [0, 0], [1, 1]])
    with pytest.raises(ValueError, match="A row of -1 marks missing labels only in"):
        encode_labels(Y)


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (None, "labels are required"),
        ([], "0 rows"),
        ([[0.5, 1.0], [1.0, 0.0]], "must hold only 0 and 1; it holds 0.5"),
        ([[2, 1], [1, 0]], "must hold only 0 and 1; it holds 2"),
        ([[-1, 1], [1, 0]], "it holds -1"),
        ([0.1, 0.2, 0.7], "bin it first"),
        ([0.0, np.nan], "NaN"),
        ([[np.nan, 1.0], [1.0, 0.0]], "NaN"),
        ([["a", "b"], ["c"]], "y holds lists.*MultiLabelBinarizer"),
        ([["a", "b"], ["c", "d"]], "must hold only 0 and 1; it holds.*'a'.*MultiLabelBinarizer"),
        ([{"a", "b"}, {"c"}], "y holds lists.*MultiLabelBinarizer"),
        (pd.Series([["a", "b"], ["c"]]), "y holds lists.*MultiLabelBinarizer"),
        (np.array([[1, None], [0, 1]], dtype=object), "must hold only 0 and 1; it holds None"),
        (np.array([[1, 2], [0, 1]], dtype=object), "must hold only 0 and 1; it holds 2"),
    ],
)
def test_bad_targets_say_what_is_wrong(y, message):
    with pytest.raises(ValueError, match=message):
        encode_labels(y, unlabelled=False)


def test_the_input_is_not_written_to():
    for make in (np.asarray, *SPARSE):
        Y = make(np.array([[1, 0], [-1, -1], [1, 1]]))
        before = Y.copy()
        encode_labels(Y, unlabelled=True)
        assert abs(Y - before).sum() == 0


def test_is_indicator_agrees_with_the_encoding():
    assert is_indicator([[0, 1], [1, 1]]) and is_indicator(sparse.csr_array([[0, 1]]))
    assert not is_indicator([0, 1]) and not is_indicator([[0], [1]])


@settings(deadline=None)
@given(
    st.lists(st.integers(0, 6), min_size=1, max_size=8),
    st.lists(st.integers(0, 6), min_size=1, max_size=8),
)
def test_alignment_keeps_every_label(first, second):
    encoded = encode_labels(first), encode_labels(second)
    A, B, classes = align_labels(*encoded[0], *encoded[1])
    np.testing.assert_array_equal(classes, np.union1d(first, second))
    np.testing.assert_array_equal(classes[A.toarray().argmax(axis=1)], first)
    np.testing.assert_array_equal(classes[B.toarray().argmax(axis=1)], second)
    assert A.sum() == len(first) and B.sum() == len(second)


@settings(deadline=None)
@given(indicators, st.sampled_from([np.float32, np.float64]))
def test_rows_have_norm_one_or_zero(Y, dtype):
    L, _ = encode_labels(Y)
    Lt = normalise_rows(L, dtype)
    assert Lt.dtype == dtype
    norms = np.linalg.norm(Lt.toarray(), axis=1)
    np.testing.assert_allclose(norms, Y.any(axis=1), rtol=1e-6)
    np.testing.assert_array_equal(Lt.toarray() > 0, Y > 0)


@settings(deadline=None)
@given(indicators)
def test_patterns_are_the_distinct_rows(Y):
    L, _ = encode_labels(Y)
    patterns, membership = label_patterns(L)
    np.testing.assert_array_equal(patterns[membership].toarray(), Y)
    assert patterns.shape[0] == len(np.unique(Y, axis=0))
    assert membership.shape == (len(Y),)


@pytest.mark.parametrize("container", ["numpy", "pandas"])
def test_names_beside_the_number_minus_one(container):
    y = np.array(["cat", -1, "dog", "cat"], dtype=object)
    if container == "pandas":
        y = pd.Series(y)
    L, classes = encode_labels(y, unlabelled=True)
    assert classes.tolist() == ["cat", "dog"]
    assert L.toarray().tolist() == [[1, 0], [0, 0], [0, 1], [1, 0]]


@pytest.mark.parametrize(
    ("y", "unlabelled", "message"),
    [
        (np.array(["cat", "-1"]), True, 'string "-1".*dtype object'),
        (np.array(["cat", -1], dtype=object), False, "names as well as -1"),
        (np.array(["cat", -1, 3], dtype=object), True, "names as well as 3"),
    ],
)
def test_mixed_labels_are_refused(y, unlabelled, message):
    with pytest.raises(ValueError, match=message):
        encode_labels(y, unlabelled=unlabelled)


def test_names_and_numbers_do_not_match():
    """NumPy would make strings of the numbers, and "1" would meet 1."""
    names, numbers = encode_labels(["1", "2"]), encode_labels([1, 2])
    objects = encode_labels(np.array(["1", "2"], dtype=object))
    for other in (names, objects):
        with pytest.raises(ValueError, match="same labels on both sides"):
            align_labels(*numbers, *other)
    assert align_labels(*names, *objects)[2].tolist() == ["1", "2"]


BIG = [2**53, 2**53 + 1]


@pytest.mark.parametrize(
    ("y", "dtype"),
    [
        (pd.Series(BIG, dtype="Int64"), np.int64),
        (pd.Series(BIG, dtype="UInt64"), np.uint64),
        (pd.Series(BIG, dtype="int64[pyarrow]"), np.int64),
        (pd.Series(BIG, dtype="category"), np.int64),
        (pd.DataFrame({"y": pd.array(BIG, dtype="Int64")}), np.int64),
        (pl.Series(BIG), np.int64),
        (np.array(BIG, dtype=object), np.int64),
        (np.array([200, 3], dtype=np.uint8), np.uint8),
        (pd.Series([7, 8], dtype="Int16"), np.int16),
        (pd.Series([True, False], dtype="boolean"), bool),
        (pd.Series([1.5, 2.5], dtype="Float32").astype(object) * 2, np.float64),
    ],
)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.DataConversionWarning")
def test_classes_keep_their_dtype_and_every_digit(y, dtype):
    for unlabelled in (False, True):
        L, classes = encode_labels(y, unlabelled=unlabelled)
        assert classes.dtype == dtype and L.shape == (2, 2)
        np.testing.assert_array_equal(classes[L.toarray().argmax(axis=1)], np.ravel(y).tolist())


@pytest.mark.parametrize(("first", "second"), [(np.int64, np.uint64), (np.int64, float)])
def test_numbers_of_two_kinds_meet_exactly(first, second):
    one, other = encode_labels(np.array(BIG, first)), encode_labels(np.array([*BIG, 1], second))
    A, B, classes = align_labels(*one, *other)
    assert classes.tolist() == sorted({*BIG, *other[1].tolist()})
    np.testing.assert_array_equal(classes[A.toarray().argmax(axis=1)].tolist(), BIG)
    np.testing.assert_array_equal(classes[B.toarray().argmax(axis=1)][2], 1)


MISSING = [
    (np.array(["2020-01-01", "NaT", "2021-01-01"], dtype="M8[D]"), "NaT", False),
    (np.array([1, "NaT", 3], dtype="m8[D]"), "NaT", False),
    (pd.Series(pd.to_datetime(["2020-01-01", None, "2021-01-01"])), "NaT", False),
    (np.array([pd.Timestamp(0), pd.NaT, pd.Timestamp(1)], dtype=object), "NaT", False),
    (pd.Series(["a", None, "b"], dtype="string"), "<NA>", True),
    (pd.Series(["a", None, "b"], dtype="category"), "NaN", True),
    (pd.Series(["a", np.nan, "b"], dtype=object), "NaN", True),
    (["a", None, "b"], "None", True),
    (pl.Series(["a", None, "b"]), "None", True),
    (pd.Series([1, None, 2], dtype="Int64"), "<NA>", False),
    ([0.0, np.nan, 1.0], "NaN", False),
]


@pytest.mark.parametrize(("y", "shown", "names"), MISSING)
def test_missing_labels_are_refused_with_the_cure(y, shown, names):
    for unlabelled in (False, True):
        with pytest.raises(ValueError, match=f"y contains {shown}: 1 of 3 rows") as caught:
            encode_labels(y, unlabelled=unlabelled)
        message = str(caught.value)
        assert "pandas.get_dummies(y)" in message
        assert ("the number -1" in message) == (unlabelled and shown != "NaT")
        assert ("array of dtype object" in message) == (unlabelled and names)


@pytest.mark.parametrize("y", [list(y) for y, *_ in MISSING])
def test_the_cure_for_missing_labels(y):
    L, _ = encode_labels(pd.get_dummies(pd.Series(y)))
    assert L.toarray().tolist() == [[1, 0], [0, 0], [0, 1]]


def test_missing_entries_of_an_indicator():
    with pytest.raises(ValueError, match=r"it holds <NA>\. Rows without a label are rows of zeros"):
        encode_labels(pd.DataFrame({"a": pd.array([1, None], dtype="Int64"), "b": [0, 1]}))


def test_half_characters_are_labels():
    assert encode_labels(["a\ud800", "b", "a\ud800"])[0].toarray()[:, 0].tolist() == [1, 0, 1]
