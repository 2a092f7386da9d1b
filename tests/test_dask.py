"""Dask: codes and databases chunk by chunk, and searches on a cluster that loses a process."""

import os
import signal
import sys
import time
from contextlib import ExitStack
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from sklearn.model_selection import GridSearchCV, KFold
from sklearn.preprocessing import OneHotEncoder
from test_dask_fit import assert_alike, in_dtype, many_sweeps

from sklearn_cmh import DSAH, HammingRanker, MultimodalData, RefinedHasher
from sklearn_cmh.datasets import make_multimodal_classification
from sklearn_cmh.metrics import make_retrieval_scorer
from sklearn_cmh.shallow import BATCH, CentredSign, ClassifierHasher

da = pytest.importorskip("dask.array", reason="dask is not installed")


@pytest.fixture(scope="module")
def data():
    return make_multimodal_classification(200, random_state=0)


@pytest.fixture(scope="module")
def hasher(data):
    return DSAH(16, n_anchors=30, random_state=0).fit(*data)


def in_chunks(X, rows, columns=7):
    """The blocks of X as Dask arrays, chunked in ways of their own."""
    blocks = {
        name: da.from_array(block, chunks=(height, columns))
        for (name, block), height in zip(X.blocks.items(), rows, strict=True)
    }
    return MultimodalData(**blocks)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_codes_and_projections_of_chunks(data, hasher, dtype):
    X = MultimodalData(**{name: block.astype(dtype) for name, block in data[0].blocks.items()})
    lazy = in_chunks(X, (70, 90))
    for method in (hasher.transform, hasher.encode, hasher.project):
        found, expected = method(lazy), method(X)
        assert isinstance(found, da.Array)
        assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
        assert_array_equal(found.compute(scheduler="sync"), expected)
    text = hasher.encode(lazy["text"], modality="text")
    expected = hasher.encode(X["text"], modality="text")
    assert_array_equal(text.compute(scheduler="sync"), expected)
    encoded = hasher.encoder("text").transform(lazy["text"])
    assert isinstance(encoded, da.Array)
    assert_array_equal(encoded.compute(scheduler="sync"), expected)


def test_nothing_is_computed_before_it_is_asked_for(data, hasher):
    def fail(block):
        raise AssertionError("computed")

    text = data[0]["text"]
    lazy = da.map_blocks(fail, da.from_array(text, chunks=(50, -1)), meta=text[:0])
    codes = hasher.encode(lazy, modality="text")
    ranker = HammingRanker().fit(codes)
    assert ranker.n_samples_fit_ == len(text)
    with pytest.raises(AssertionError, match="computed"):
        ranker.kneighbors(hasher.codes_[:2])


@pytest.mark.parametrize("packed", [False, True])
def test_ranking_of_chunks(hasher, packed):
    codes = np.tile(hasher.codes_, (3, 1))  # many equal distances
    rows = np.packbits(codes > 0, axis=1) if packed else codes
    queries = rows[:30]
    ranker = HammingRanker(packed=packed)
    # Chunks, empty and in numbers, that threads rank at the same time.
    lazy = da.from_array(rows, chunks=((3, 0, 47, *[10] * 30, 250), -1))
    for k in (1, 7, 200, len(rows)):
        expected = ranker.fit(rows).kneighbors(queries, k)
        found = ranker.fit(lazy).kneighbors(queries, k)
        for array, wanted in zip(found, expected, strict=True):
            assert_array_equal(array, wanted)
            assert array.dtype == wanted.dtype
    assert ranker.kneighbors_graph(queries, 3).shape == (30, len(rows))
    # A later fit on arrays in memory forgets it.
    assert len(ranker.fit(rows).kneighbors(n_neighbors=2)[0]) == len(rows)


@pytest.mark.parametrize("dtype", [object, str, int])
def test_transformers_that_know_the_values_of_the_fit(data, dtype):
    X, y = data
    facts = ((y % 3 + 1) * 7)[:, None].astype(dtype)
    own = [("facts", OneHotEncoder(), None), ("text", None, None)]
    X = MultimodalData(facts=facts, text=X["text"])
    hasher = DSAH(8, n_anchors=20, modalities=own, random_state=0).fit(X, y)
    lazy = in_chunks(X, (70, 90))
    assert_array_equal(hasher.transform(lazy).compute(), hasher.transform(X))
    unknown = da.from_array(np.full((4, 1), 99).astype(dtype), chunks=(2, 1))
    with pytest.raises(ValueError, match=r"unknown categories .*99"):
        hasher.encode(unknown, modality="facts")


def test_unknown_lengths_are_said_with_the_cure(data, hasher):
    X, _ = data
    lazy = in_chunks(X, (70, 90))
    unknown = lazy["text"][lazy["text"][:, 0] > 0]
    with pytest.raises(ValueError, match=r"^The block 'text' is .*compute_chunk_sizes"):
        MultimodalData(image=lazy["image"], text=unknown)
    with pytest.raises(ValueError, match=r"^X is .*compute_chunk_sizes"):
        hasher.encode(unknown, modality="text")


def test_tables_of_dask_are_refused_with_the_cure(data, hasher):
    dd = pytest.importorskip("dask.dataframe", reason="dask.dataframe needs pandas and pyarrow")
    import pandas as pd

    X, y = data
    frame = dd.from_pandas(pd.DataFrame(X["text"]), npartitions=2)
    for call in (
        lambda: MultimodalData(image=X["image"], text=frame),
        lambda: DSAH(8).fit(frame, y),
        lambda: hasher.encode(frame, modality="text"),
        lambda: hasher.transform(frame),
    ):
        with pytest.raises(TypeError, match=r"DataFrame of Dask.*compute_chunk_sizes\(\)"):
            call()
    columns = frame.to_dask_array().compute_chunk_sizes()
    assert_array_equal(
        hasher.encode(columns, modality="text").compute(),
        hasher.encode(X["text"], modality="text"),
    )


def test_columns_of_vectors_are_stacked_chunk_by_chunk(data, hasher):
    X, y = data
    text = np.empty(len(y), dtype=object)
    text[:] = list(X["text"])
    column = da.from_array(text, chunks=70)
    lazy = MultimodalData(text=column)["text"]
    assert isinstance(lazy, da.Array)
    assert (lazy.shape, lazy.chunks[0]) == (X["text"].shape, column.chunks[0])
    assert_array_equal(lazy.compute(), X["text"])
    codes = hasher.encode(column, modality="text")
    assert_array_equal(codes.compute(), hasher.encode(X["text"], modality="text"))
    text[150] = text[150][:-1]
    with pytest.raises(ValueError, match=r"column of arrays of shape .* row 10 holds"):
        MultimodalData(text=da.from_array(text, chunks=70))["text"].compute()


def test_labels_may_be_collections_of_dask(data, hasher):
    dd = pytest.importorskip("dask.dataframe", reason="dask.dataframe needs pandas and pyarrow")
    import pandas as pd

    X, y = data
    array = da.from_array(y, chunks=70)
    for labels in (array, array[array >= 0], dd.from_pandas(pd.Series(y), npartitions=2)):
        again = DSAH(16, n_anchors=30, random_state=0).fit(X, labels)
        assert_array_equal(again.codes_, hasher.codes_)
        assert hasher.score(X, labels) == hasher.score(X, y)


@pytest.mark.parametrize(("metric", "relevance"), [("map", "labels"), ("mrr", "pair")])
def test_scorers_compute_codes_of_chunks_once(data, hasher, metric, relevance):
    X, y = data
    read = []

    def reads(block):
        read.append(len(block))
        return block

    lazy = {
        name: da.from_array(block, chunks=(100, -1)).map_blocks(reads, meta=block[:0])
        for name, block in X.blocks.items()
    }
    scorer = make_retrieval_scorer(
        metric, relevance=relevance, gallery="validation", query="text", database="image"
    )
    assert scorer(hasher, MultimodalData(**lazy), y) == scorer(hasher, X, y)
    assert read == [100] * 4  # two chunks of two modalities


def test_what_does_not_go_is_refused(data, hasher):
    X, y = data
    lazy = in_chunks(X, (70, 90))
    for hasher_in_memory in (CentredSign(8), ClassifierHasher(8)):
        with pytest.raises(TypeError, match=r"fit on a sample.*Hasher|Sign .* AAH, .*DSAH"):
            hasher_in_memory.fit(lazy, y)
    with pytest.raises(ValueError, match=r"but \['text'\] are not"):
        hasher.transform(MultimodalData(image=lazy["image"], text=X["text"]))
    with pytest.raises(ValueError, match="10 columns at fit"):
        hasher.encode(lazy["text"][:, :4], modality="text")
    codes = hasher.transform(lazy)
    with pytest.raises(ValueError, match="compute_chunk_sizes"):
        HammingRanker().fit(codes[codes[:, 0] > 0])
    with pytest.raises(ValueError, match="without y"):
        HammingRanker().fit(codes, y)
    ranker = HammingRanker().fit(codes)
    with pytest.raises(ValueError, match="expecting 16 features"):
        ranker.kneighbors(np.ones((2, 4)))
    with pytest.raises(ValueError, match="n_neighbors <= n_samples_fit"):
        ranker.kneighbors(hasher.codes_[:2], 201)
    for ask in (ranker.kneighbors, lambda: ranker.radius_neighbors(hasher.codes_[:2])):
        with pytest.raises(ValueError, match="with kneighbors: fit the ranker on its compute"):
            ask()
    with pytest.raises(ValueError, match="fitted at once"):
        ranker.partial_fit(hasher.codes_)


# --- A cluster --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """A Dask cluster of two processes."""
    distributed = pytest.importorskip("distributed", reason="distributed is not installed")
    with distributed.LocalCluster(
        n_workers=2,
        threads_per_worker=1,
        dashboard_address=None,
        local_directory=str(tmp_path_factory.mktemp("cluster")),
    ) as two:
        yield two


def dies_once(scorer, marker, estimator, X, y):
    """Score; but the first process that is asked to dies."""
    try:
        marker.touch(exist_ok=False)
    except FileExistsError:
        return scorer(estimator, X, y)
    os.kill(os.getpid(), signal.SIGKILL)


def test_searches_outlive_a_process_of_the_cluster(cluster, tmp_path):
    from functools import partial

    import cloudpickle
    import distributed
    import joblib

    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    X, y = make_multimodal_classification(300, random_state=0)
    folds = list(KFold(2).split(X))  # of indices that are large enough for joblib to hand out
    marker = Path(tmp_path) / "died"
    scorer = make_retrieval_scorer("map")
    search = GridSearchCV(
        DSAH(8, n_anchors=20, max_iter=3, random_state=0),
        {"alpha": [0.1, 1.0]},
        cv=folds,
        scoring=scorer,
    )
    refined = RefinedHasher(
        DSAH(4, n_anchors=20, max_iter=2),
        4,
        n_restarts=2,
        pool_bits=8,
        refit_hash_functions=False,
        random_state=0,
        n_jobs=2,
    )
    expected, codes = search.fit(X, y).cv_results_["mean_test_score"], refined.fit(X, y).codes_
    with (
        distributed.Client(cluster) as client,
        ExitStack() as stack,
    ):
        client.wait_for_workers(2)
        # What a process alone has is lost with it: all get rows and folds, and keep their copies.
        client.amm.stop()
        stack.enter_context(joblib.parallel_config(backend="dask", scatter=[X, y, *chain(*folds)]))
        copies = client.who_has()
        # Twice as long as Dask takes to drop copies where it is not told to keep them.
        time.sleep(4)
        assert client.who_has() == copies
        assert {len(holders) for holders in copies.values()} == {2}
        search.set_params(scoring=partial(dies_once, scorer, marker))
        found = search.fit(X, y).cv_results_["mean_test_score"]
        assert marker.exists()
        assert_array_equal(found, expected)
        assert_array_equal(refined.fit(X, y).codes_, codes)
        # A database whose chunks are encoded and ranked by the workers.
        lazy = in_chunks(X, (70, 90))
        ranker = HammingRanker().fit(search.best_estimator_.transform(lazy))
        queries = search.best_estimator_.transform(X[:5])
        rows = ranker.kneighbors(queries, 50, return_distance=False)
    whole = HammingRanker().fit(search.best_estimator_.transform(X))
    assert_array_equal(rows, whole.kneighbors(queries, 50, return_distance=False))


def test_fits_outlive_a_process_of_the_cluster(data, cluster):
    import distributed

    X, y = in_dtype(data[0], np.float32), data[1]
    killed = []

    def interrupted(hasher):
        """The same hasher, in a fit of which a process with chunks dies after the first sweep."""

        def sweeps_of(self):
            sweeps = super(kind, self)._sweeps()
            hear = sweeps.on_sweep

            def on_sweep(sweep, objective):
                if sweep == 1:
                    assert all(client.has_what().values())  # chunks are with both
                    killed.append(next(iter(client.run(os.getpid).values())))
                    os.kill(killed[-1], signal.SIGKILL)
                return hear(sweep, objective)

            sweeps.on_sweep = on_sweep
            return sweeps

        kind = type("Interrupted", (type(hasher),), {"_sweeps": sweeps_of})
        return kind(**hasher.get_params())

    with distributed.Client(cluster) as client:
        for i, cls in enumerate([DSAH, BATCH], start=1):
            client.wait_for_workers(2)
            hasher = many_sweeps(cls, n_bits=8)
            found = interrupted(hasher).fit(in_chunks(X, ((70, 0, 90, 40), 90)), y)
            assert len(killed) == i
            assert_alike(found, hasher.fit(X, y), X)


def test_refined_fits_outlive_a_process_of_the_cluster(data, cluster):
    import distributed

    X, y = in_dtype(data[0], np.float32), data[1]
    killed = []

    class Interrupted(RefinedHasher):
        def _search(self, *args):
            # Targets and bits are with both processes.
            assert all(client.has_what().values())
            killed.append(next(iter(client.run(os.getpid).values())))
            os.kill(killed[-1], signal.SIGKILL)
            return super()._search(*args)

    params = {"n_anchors": 30, "n_restarts": 2, "pool_bits": 16, "widths": [0.5], "random_state": 0}
    with distributed.Client(cluster) as client:
        client.wait_for_workers(2)
        found = Interrupted(n_bits=8, **params).fit(in_chunks(X, ((70, 0, 90, 40), 90)), y)
        assert len(killed) == 1
        expected = RefinedHasher(n_bits=8, **params).fit(X, y)
        assert found.pair_weight_ == expected.pair_weight_
        assert_array_equal(found.codes_, expected.codes_)
        assert_array_equal(found.transform(X), expected.transform(X))
