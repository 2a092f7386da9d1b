"""MultimodalData, and the reading of `modalities` against a table."""

import pickle

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.model_selection import KFold, train_test_split
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.utils import _safe_indexing

from sklearn_cmh import AAH, DSAH, MultimodalData
from sklearn_cmh.data import refuse_views, resolve_modalities, select_blocks


@pytest.fixture
def data():
    rng = np.random.RandomState(0)
    return MultimodalData(
        dense=rng.rand(10, 3),
        sparse=sparse.csr_array(rng.rand(10, 4) * (rng.rand(10, 4) > 0.5)),
        frame=pd.DataFrame({"a": np.arange(10), "b": list("abcdefghij")}),
        words=[f"word {i}" for i in range(10)],
        pixels=np.zeros((10, 2, 2, 3), dtype=np.uint8),
    )


def assert_same(first, second):
    assert first.names == second.names
    for name in first.names:
        a, b = first[name], second[name]
        if sparse.issparse(a):
            a, b = a.toarray(), b.toarray()
        np.testing.assert_array_equal(np.asarray(a), np.asarray(b))


def test_shape_counts_columns_of_every_kind_of_block(data):
    assert data.shape == (10, 3 + 4 + 2 + 1 + 12)
    assert len(data) == 10


@pytest.mark.parametrize(
    "key",
    [
        slice(2, 5),
        np.array([2, 3, 4]),
        [2, 3, 4],
        np.arange(10) // 3 == 1,
        (np.array([2, 3, 4]), Ellipsis),
    ],
    ids=["slice", "array", "list", "mask", "tuple"],
)
def test_rows_are_taken_from_every_block(data, key):
    rows = data[key]
    indices = np.arange(10)[key[0] if isinstance(key, tuple) else key]
    assert_same(rows, data[indices])
    assert len(rows) == len(indices)
    assert rows["words"].tolist() == [f"word {i}" for i in indices]
    assert rows["frame"]["a"].tolist() == indices.tolist()
    assert rows["sparse"].format == "csr"


def test_no_rows_and_one_row(data):
    assert len(data[[]]) == 0
    assert len(data[3]) == 1 and data[-1]["words"].tolist() == ["word 9"]
    with pytest.raises(IndexError, match="out of range"):
        data[10]


@pytest.mark.parametrize("n_rows", [9, 11, 0])
def test_a_mask_must_have_an_entry_per_row(data, n_rows):
    for X in [data, MultimodalData(frame=data["frame"])]:
        with pytest.raises(IndexError, match=rf"mask of {n_rows} rows.* 10 rows"):
            X[np.ones(n_rows, dtype=bool)]


@pytest.mark.parametrize("key", [["dense"], [[0, 1], [2, 3]], [0.5], np.zeros((0, 2)), (0, 1)])
def test_keys_that_are_no_rows(data, key):
    with pytest.raises(TypeError, match="indexed by rows"):
        data[key]


def test_a_series_is_a_block():
    for library in (pd, pl):
        X = MultimodalData(words=library.Series(list("abc")))
        for key in [np.array([True, False, True]), [0, 2], slice(0, 3, 2)]:
            assert X[key]["words"].to_list() == ["a", "c"]


def test_scikit_learn_splits_rows_not_blocks(data):
    train, test = train_test_split(data, test_size=3, shuffle=False)
    assert (len(train), len(test)) == (7, 3)
    for train_rows, test_rows in KFold(5).split(data):
        assert len(_safe_indexing(data, train_rows)) == 8
        assert_same(_safe_indexing(data, test_rows), data[test_rows])


def test_nothing_is_copied():
    X = np.zeros((4, 2))
    assert MultimodalData(a=X)["a"] is X


def test_pickles(data):
    assert_same(pickle.loads(pickle.dumps(data)), data)


def test_is_no_array(data):
    with pytest.raises(TypeError, match="no array"):
        np.asarray(data)
    with pytest.raises(TypeError):
        iter(data)


def test_repr_names_every_block(data):
    text = repr(data)
    for part in ["dense=float64 (10, 3)", "sparse=csr float64 (10, 4)", "words=object (10,)"]:
        assert part in text


@pytest.mark.parametrize(
    ("blocks", "error", "message"),
    [
        ({}, ValueError, "at least one block"),
        ({"a": np.zeros((3, 1)), "b": np.zeros((4, 1))}, ValueError, "same number of rows"),
        ({"a": 3.0}, TypeError, "one row per sample"),
        ({"a__b": np.zeros((3, 1))}, ValueError, "'__'"),
    ],
)
def test_wrong_blocks_are_refused(blocks, error, message):
    with pytest.raises(error, match=message):
        MultimodalData(**blocks)


def test_unknown_name_lists_the_known(data):
    with pytest.raises(KeyError, match="dense"):
        data["audio"]


@pytest.mark.parametrize(
    "views",
    [
        [np.zeros((3, 2)), np.zeros((3, 4))],
        (np.zeros((3, 2)), sparse.csr_array((3, 2))),
        {"image": np.zeros((3, 2))},
    ],
)
def test_views_are_refused_with_the_cure(views):
    with pytest.raises(TypeError, match="MultimodalData"):
        refuse_views(views)


def test_a_plain_list_of_rows_is_no_list_of_views():
    refuse_views([[1.0, 2.0], [3.0, 4.0]])
    refuse_views([np.array([1.0, 2.0]), np.array([3.0, 4.0])])


FRAME = pd.DataFrame(np.arange(12.0).reshape(3, 4), columns=["i0", "i1", "t0", "t1"])


@pytest.mark.parametrize(
    "modalities",
    [
        {"image": slice(0, 2), "text": slice(2, 4)},
        {"image": [0, 1], "text": [2, 3]},
        {"image": [True, True, False, False], "text": [False, False, True, True]},
        {"image": ["i0", "i1"], "text": ["t0", "t1"]},
        {"image": slice("i0", "i1"), "text": slice("t0", "t1")},
        {"image": lambda X: [0, 1], "text": lambda X: [c for c in X.columns if c[0] == "t"]},
        [("image", None, slice(0, 2)), ("text", "passthrough", ["t0", "t1"])],
    ],
    ids=["slice", "positions", "mask", "names", "name-slice", "callable", "triples"],
)
def test_every_way_to_select_columns(modalities):
    resolved = resolve_modalities(modalities, FRAME)
    blocks = select_blocks(FRAME, resolved)
    assert list(blocks) == ["image", "text"]
    np.testing.assert_array_equal(blocks["image"], FRAME[["i0", "i1"]])
    np.testing.assert_array_equal(blocks["text"], FRAME[["t0", "t1"]])


def test_prefix_groups_columns():
    frame = FRAME.set_axis(["image__0", "text__0", "image__1", "text__x__y"], axis=1)
    blocks = select_blocks(frame, resolve_modalities("prefix", frame))
    assert {name: list(b.columns) for name, b in blocks.items()} == {
        "image": ["image__0", "image__1"],
        "text": ["text__0", "text__x__y"],
    }


def test_a_single_name_gives_one_dimension():
    blocks = select_blocks(FRAME, resolve_modalities({"a": ["i0", "i1", "t0"], "b": "t1"}, FRAME))
    assert np.ndim(blocks["b"]) == 1


def test_dropped_columns_belong_to_the_partition():
    resolved = resolve_modalities([("a", None, [0, 1, 2]), ("id", "drop", [3])], FRAME)
    assert list(select_blocks(FRAME, resolved)) == ["a"]


def test_contiguous_columns_of_an_array_are_a_view():
    X = np.zeros((3, 4))
    block = select_blocks(X, resolve_modalities({"a": [0, 1], "b": [2, 3]}, X))["a"]
    assert np.shares_memory(block, X)


@pytest.mark.parametrize(
    ("modalities", "message"),
    [
        ({"a": [0, 1]}, r"'t0', 't1' of X belong to no modality"),
        ({"a": [0, 1, 2], "b": [2, 3]}, r"'t0' belong to both 'a' and 'b'"),
        ({"a": slice(0, 2), "b": slice(2, 9)}, "only 4 columns"),
        ({"a": [0, 1], "b": [2, 9]}, "X has 4 columns"),
        ({"a": [0, 1, 2, 3], "b": []}, "'b' selects no column"),
        ({"a": ["i0", "i1", "t0", "x"]}, "no column 'x'"),
        ({"a": [0.5, 1.5]}, "slice, positions, names"),
        ([("a", None, [0, 1]), ("a", None, [2, 3])], "unique"),
        ({"alpha": slice(None)}, "parameter of the estimator"),
        ({"a": None}, "only MultimodalData"),
        ([("a", "drop", slice(None))], "nothing to learn"),
        ("prefix", "have no prefix"),
    ],
)
def test_columns_that_are_no_partition_are_refused(modalities, message):
    with pytest.raises(ValueError, match=message):
        resolve_modalities(modalities, FRAME, reserved=["alpha"])


@pytest.mark.parametrize("modalities", ["names", 3, [("a", [0])], ["a", "b"]])
def test_other_forms_of_modalities_are_refused(modalities):
    with pytest.raises(TypeError, match="list of \\(name"):
        resolve_modalities(modalities, FRAME)


def test_a_name_must_be_that_of_one_column():
    frame = FRAME.set_axis(["i0", "i0", "t0", "t1"], axis=1)
    with pytest.raises(ValueError, match="several columns 'i0'"):
        resolve_modalities({"a": ["i0", "t0", "t1"]}, frame)


def test_blocks_of_dropped_modalities_alone_are_refused(paired):
    X = MultimodalData(**paired.blocks, number=np.arange(len(paired.y)))
    kept = [(name, None, None) for name in paired.blocks]
    hasher = DSAH(4, modalities=[*kept, ("number", "drop", None)], n_anchors=10)
    hasher.fit(X, paired.y)
    with pytest.raises(ValueError, match=r"X holds none of the modalities \['image', 'text'\]"):
        hasher.transform(MultimodalData(number=np.arange(3)))


def test_names_need_a_frame():
    with pytest.raises(ValueError, match="no column names"):
        resolve_modalities({"a": ["i0"]}, FRAME.to_numpy())
    with pytest.raises(ValueError, match="DataFrame"):
        resolve_modalities("prefix", FRAME.to_numpy())


def test_multimodal_blocks_must_all_be_named():
    X = MultimodalData(a=np.zeros((3, 1)), b=np.zeros((3, 1)))
    with pytest.raises(ValueError, match=r"blocks \['b'\] of X are named by none"):
        resolve_modalities([("a", None, None)], X)
    with pytest.raises(ValueError, match="must be None"):
        resolve_modalities({"a": [0], "b": [1]}, X)
    with pytest.raises(ValueError, match="no modality 'c'"):
        resolve_modalities({"a": None, "c": None}, X)


@pytest.mark.parametrize(
    ("columns", "counted"),
    [
        (slice(2, None), r"slice\(2, 4\)"),
        (slice(-2, None), r"slice\(2, 4\)"),
        (slice(2, -1), r"slice\(2, 3\)"),
        (slice(3, 1, -1), r"range\(3, 1, -1\)"),
        ([2, -1], r"\[2, 3\]"),
        (-1, r"\[3\]"),
    ],
)
def test_columns_counted_from_the_end_are_refused(columns, counted):
    with pytest.raises(ValueError, match=f"'text' selects .*width of X.*as in {counted}"):
        resolve_modalities({"image": slice(0, 2), "text": columns}, FRAME)


@pytest.mark.parametrize("columns", [slice(2, None), [-2, -1], slice(-2, None)])
def test_a_callable_may_count_from_the_end(columns):
    modalities = {"image": slice(0, 2), "text": lambda X: columns}
    assert resolve_modalities(modalities, FRAME)[1].positions.tolist() == [2, 3]


@pytest.mark.parametrize("columns", [slice(None), slice(0, None), slice(None, None, 1)])
def test_the_whole_table_is_one_modality(columns):
    (modality,) = resolve_modalities({"all": columns}, FRAME)
    assert modality.positions.tolist() == [0, 1, 2, 3]


VECTORS = np.arange(15, dtype=np.float32).reshape(5, 3)


@pytest.mark.parametrize(
    "column",
    [
        list(VECTORS),
        pd.Series(list(VECTORS), index=[0.5, 1, 9, 3, 4]),
        pd.Series(VECTORS.tolist(), dtype=pd.ArrowDtype(pa.list_(pa.float32()))),
        pl.Series(VECTORS.tolist()),
        pl.Series(VECTORS.tolist(), dtype=pl.Array(pl.Float32, 3)),
        pa.array(VECTORS.tolist()),
        pa.chunked_array([VECTORS[:2].tolist(), VECTORS[2:].tolist()]),
        pa.FixedSizeListArray.from_arrays(VECTORS.ravel(), 3),
    ],
    ids=["list", "pandas", "pandas-arrow", "polars-list", "polars-array", "arrow", "chunks", "fix"],
)
def test_a_column_of_vectors_is_an_array(column):
    X = MultimodalData(image=column)
    assert X.shape == (5, 3)
    np.testing.assert_array_equal(X["image"], VECTORS)
    np.testing.assert_array_equal(X[[4, 0]]["image"], VECTORS[[4, 0]])


def test_pixels_in_a_column_keep_their_axes():
    assert MultimodalData(a=pd.Series([np.zeros((2, 4, 3))] * 5))["a"].shape == (5, 2, 4, 3)


@pytest.mark.parametrize(
    "items", [["a", "b"], [["a"], ["b"]], [[1], [2, 3]], [[1.0], None], [{}, {}]]
)
def test_other_columns_stay_columns(items):
    column = pd.Series(items)
    X = MultimodalData(a=column)
    assert X["a"] is column and X[[0]]["a"].shape == (1,)


def test_tables_of_arrow_are_refused_with_the_cure():
    table = pa.table({"a": [1.0, 2.0]})
    for refuse in (refuse_views, lambda X: MultimodalData(a=X)):
        with pytest.raises(TypeError, match=r"pyarrow\.Table.*to_pandas") as caught:
            refuse(table)
        assert len(str(caught.value)) < 200
    assert MultimodalData(a=pa.array(["x", "y"]))["a"].tolist() == ["x", "y"]


def test_rows_of_different_length_are_named():
    with pytest.raises(ValueError, match="block 'a' is a list of rows that differ in length"):
        MultimodalData(a=[[1.0], [2.0, 3.0]])


def test_half_characters_are_no_name():
    with pytest.raises(ValueError, match="lone surrogate"):
        MultimodalData(**{"image\ud800": np.zeros((2, 1))})


def test_html_shows_every_block_escaped(data):
    html = MultimodalData(**{**data.blocks, "<b>": np.zeros((10, 1))})._repr_html_()
    assert "<td>&lt;b&gt;</td><td>float64</td><td>(10, 1)</td>" in html and "<b>" not in html
    assert "<td>sparse</td><td>csr float64</td><td>(10, 4)</td>" in html
    assert "word 3" not in html and len(html) < 1000


@pytest.mark.parametrize("form", [sparse.csr_array, sparse.csr_matrix])
def test_selected_sparse_blocks_have_no_duplicates(form):
    X = form((np.ones(4), [1, 1, 0, 3], [0, 3, 4]), shape=(2, 4))
    arrays = X.data.copy(), X.indices.copy(), X.indptr.copy()
    for table in (X, MultimodalData(data=X)):
        block = select_blocks(table, resolve_modalities(None, table))["data"]
        assert block.has_canonical_format and block.data.tolist() == [1, 2, 1]
    for before, after in zip(arrays, (X.data, X.indices, X.indptr), strict=True):
        np.testing.assert_array_equal(before, after)


TABLE = {"a": [0.0, 1, 2, 3, 4], "name": list("vwxyz"), "embedding": VECTORS.tolist()}
LETTERS = TfidfVectorizer(analyzer="char")


def table_hasher(image, column="embedding"):
    modalities = [("image", image, column), ("a", None, ["a"]), ("text", LETTERS, "name")]
    return DSAH(4, n_anchors=4, modalities=modalities, random_state=0)


@pytest.mark.parametrize("library", [pd, pl])
@pytest.mark.parametrize("transformer", [None, StandardScaler(), FunctionTransformer(np.stack)])
@pytest.mark.parametrize("column", ["embedding", ["embedding"]])
def test_a_column_of_vectors_in_a_table_is_a_block(library, transformer, column):
    frame = library.DataFrame(TABLE)
    hasher = table_hasher(transformer, column).fit(frame, [0, 1, 0, 1, 0])
    scaled = None if transformer is None else StandardScaler()
    blocks = {"image": VECTORS, "a": np.arange(5.0)[:, None], "text": np.array(TABLE["name"])}
    side_by_side = [("image", scaled, None), ("a", None, None), ("text", LETTERS, None)]
    same = DSAH(4, n_anchors=4, modalities=side_by_side, random_state=0)
    if not isinstance(transformer, FunctionTransformer):
        same.fit(MultimodalData(**blocks), [0, 1, 0, 1, 0])
        np.testing.assert_array_equal(hasher.codes_, same.codes_)
    codes = hasher.encode(frame, modality="image")
    for query in (
        VECTORS,
        list(VECTORS),
        frame["embedding"],
        frame[["embedding"]],
        MultimodalData(image=VECTORS, a=blocks["a"]),
    ):
        np.testing.assert_array_equal(hasher.encode(query, modality="image"), codes)
    whole = MultimodalData(**{**blocks, "image": frame["embedding"]})
    np.testing.assert_array_equal(hasher.transform(whole), hasher.transform(frame))


def test_columns_of_vectors_without_transformers():
    frame = pd.DataFrame({"image__v": TABLE["embedding"], "a__0": TABLE["a"]})
    by_prefix = DSAH(4, n_anchors=4, modalities="prefix", random_state=0)
    by_name = clone(by_prefix).set_params(modalities={"image": "image__v", "a": ["a__0"]})
    codes = [hasher.fit(frame, [0, 1, 0, 1, 0]).transform(frame) for hasher in (by_prefix, by_name)]
    np.testing.assert_array_equal(*codes)


@pytest.mark.parametrize("library", [pd, pl])
@pytest.mark.parametrize("transformer", [None, StandardScaler()])
def test_a_column_of_vectors_beside_others_is_refused_with_the_cure(library, transformer):
    frame = library.DataFrame(TABLE)
    modalities = [("image", transformer, ["a", "embedding"]), ("text", LETTERS, "name")]
    with pytest.raises(ValueError, match=r"Select it alone.*'passthrough', 'embedding'\)"):
        DSAH(4, modalities=modalities).fit(frame, [0, 1, 0, 1, 0])
    with pytest.raises(ValueError, match=r"MultimodalData\(image=table\['embedding'\]"):
        DSAH(4).fit(frame, [0, 1, 0, 1, 0])


@pytest.mark.parametrize(
    "wrong, seen", [(None, "None"), ([1.0], r"numbers of shape \(1,\)"), ("x", "'x'")]
)
def test_a_row_without_its_vector_is_named(wrong, seen):
    frame = pd.DataFrame(TABLE)
    hasher = table_hasher(None).fit(frame, [0, 1, 0, 1, 0])
    message = rf"'image' is a column of arrays of shape \(3,\), but row 2 holds {seen} \(1 such"
    frame.at[2, "embedding"] = wrong
    for attempt in (
        lambda: table_hasher(StandardScaler()).fit(frame, [0, 1, 0, 1, 0]),
        lambda: hasher.encode(frame, modality="image"),
        lambda: DSAH(4).fit(MultimodalData(image=frame["embedding"]), [0, 1, 0, 1, 0]),
    ):
        with pytest.raises(ValueError, match=message):
            attempt()
    with pytest.raises(ValueError, match=r"arrays of shape \(3,\) at fit; got 5 columns"):
        hasher.encode(np.zeros((2, 5)), modality="image")


@pytest.mark.parametrize("library", [pd, pl])
def test_missing_texts_are_counted_with_the_cure(library):
    whole = library.DataFrame(TABLE)
    gaps = library.DataFrame({**TABLE, "name": ["v", None, "x", None, "z"]})
    hasher = table_hasher(None).fit(whole, [0, 1, 0, 1, 0])
    message = r"column of 'text' holds no text in row 1 \(2 such row\(s\) of 5\): fill them"
    with pytest.raises(ValueError, match=message):
        table_hasher(None).fit(gaps, [0, 1, 0, 1, 0])
    with pytest.raises(ValueError, match=message):
        hasher.transform(gaps)


def test_rows_of_an_error_are_counted_from_a_row_that_it_names():
    hasher = table_hasher(None).fit(pd.DataFrame(TABLE), [0, 1, 0, 1, 0])
    many = pd.concat([pd.DataFrame(TABLE)] * 2000, ignore_index=True)
    many.loc[9000, "name"] = None
    with pytest.raises(ValueError, match="no text in row 808 ") as caught:
        hasher.transform(many)
    assert caught.value.__notes__ == ["In rows 8192 to 9999 of X."]


@pytest.mark.parametrize(
    "library, seen", [(pd, "returned 1 rows for 4"), (pl, "fails on a DataFrame: ")]
)
def test_texts_are_a_column_and_no_frame(library, seen):
    frame = library.DataFrame({"a": [0.0, 1, 2, 3], "name": ["x y", "z", "x", "z y"]})
    vectoriser = TfidfVectorizer(analyzer="char")
    modalities = [("a", None, ["a"]), ("text", vectoriser, ["name"])]
    with pytest.raises(ValueError, match=rf"'text' {seen}.* 'name' instead of \['name'\]"):
        DSAH(4, modalities=modalities).fit(frame, [0, 1, 0, 1])
    modalities = [("a", None, ["a"]), ("text", vectoriser, "name")]
    assert DSAH(4, n_anchors=4, modalities=modalities).fit(frame, [0, 1, 0, 1]).codes_.all()


def test_a_transformer_returns_a_row_for_every_row():
    half = FunctionTransformer(lambda X: X[::2])
    with pytest.raises(ValueError, match=r"'a' returned 2 rows for 4 rows of X\.$"):
        DSAH(4, modalities=[("a", half, [0])]).fit(np.zeros((4, 1)), [0, 1, 0, 1])
    shorter = FunctionTransformer(lambda X: X[:4])
    hasher = DSAH(4, n_anchors=4, modalities=[("a", shorter, [0])])
    hasher.fit(np.arange(4.0)[:, None], [0, 1, 0, 1])
    with pytest.raises(ValueError, match="'a' returned 4 rows for 5"):
        hasher.transform(np.arange(5.0)[:, None])


@pytest.mark.parametrize("library", ["pandas", "polars", None])
def test_a_block_without_its_name_is_refused_with_the_cure(library):
    values = np.random.RandomState(0).rand(20, 5)
    table, modalities = values, {"image": slice(0, 3), "text": slice(3, 5)}
    if library is not None:
        table = pytest.importorskip(library).DataFrame(dict(zip("abcde", values.T, strict=True)))
        modalities = {"image": ["a", "b", "c"], "text": ["d", "e"]}
    hasher = AAH(4, modalities=modalities, max_iter=2).fit(table, np.arange(20) % 2)
    block = values[:, 3:] if library is None else table[["d", "e"]]
    with pytest.raises(ValueError, match=r"say so: modality='text'\.$"):
        hasher.encode(block)
    assert hasher.encode(block, modality="text").shape == (20, 4)
    wrong = values[:, :1] if library is None else table[["d"]]
    with pytest.raises(ValueError, match=r"expecting 5 features|should match") as raised:
        hasher.encode(wrong)
    assert "modality=" not in str(raised.value)
