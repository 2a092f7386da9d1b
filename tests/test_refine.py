"""RefinedHasher: equal to its parts, honest about the rows it has not seen."""

import pickle
import time
import warnings

import numpy as np
import pytest
from joblib import parallel_config
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning, FitFailedWarning, NotFittedError
from sklearn.linear_model import Ridge, RidgeCV
from sklearn.model_selection import GridSearchCV, KFold
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks
from sklearn.utils.parallel import Parallel

import sklearn_cmh.refine
from sklearn_cmh import AAH, ASCMH, DSAH, MultimodalData
from sklearn_cmh.base import ShallowHasher, Solution, sign
from sklearn_cmh.data import encode_labels
from sklearn_cmh.datasets import make_multimodal_classification
from sklearn_cmh.deep import DSPAH
from sklearn_cmh.metrics import average_precision_scores, lookup_precision
from sklearn_cmh.refine import LeaveOneOutRidge, RefinedHasher
from sklearn_cmh.refine._search import (
    anchor_map,
    coordinate_search,
    cross_modal_score,
    leave_one_out_codes,
)
from sklearn_cmh.solvers import ridge_leave_one_out


class LabelCodes(ShallowHasher):
    """Random codes of the labels, and ridge regressions to them: the simplest hasher."""

    _parameter_constraints: dict = {**ShallowHasher._parameter_constraints, "alpha": [float]}

    def __init__(
        self,
        n_bits=16,
        *,
        modalities=None,
        feature_map=None,
        n_anchors=10,
        alpha=1.0,
        max_iter=1,
        tol=0.0,
        random_state=None,
        verbose=0,
    ):
        self.n_bits = n_bits
        self.modalities = modalities
        self.feature_map = feature_map
        self.n_anchors = n_anchors
        self.alpha = alpha
        self.max_iter = max_iter
        self.tol = tol
        self.random_state = random_state
        self.verbose = verbose

    def _default_feature_map(self, block):
        return StandardScaler(with_mean=not sparse.issparse(block))

    def _solve(self, features, L, rng):
        B = sign(L @ rng.standard_normal((L.shape[1], self.n_bits)))
        projections = [
            Ridge(self.alpha, fit_intercept=False).fit(F, B).coef_.T for F in features.values()
        ]
        return Solution(B, projections, [0.0], 1)


QUICK = {"n_bits": 8, "n_anchors": 40, "n_restarts": 3, "pool_bits": 8, "random_state": 0}
QUICK |= {"widths": (0.5, 1.0), "ridges": (0.01, 1.0)}


@pytest.fixture
def X(paired):
    return MultimodalData(**paired.blocks)


@pytest.fixture
def fitted(X, paired):
    return RefinedHasher(LabelCodes(), **QUICK).fit(X, paired.y)


def held_out_map(hasher, X, y):
    """Mean of both directions among rows that took no part in the fit."""
    L, _ = encode_labels(y)
    codes = [hasher.encode(X[name], modality=name) for name in X.names]
    return cross_modal_score(codes[0], [codes[1]], L)


# --- Parts and whole ------------------------------------------------------------------------


@pytest.mark.parametrize("seeds", [(0, None), (None, 0), (0, 1)])
def test_without_its_steps_it_is_the_wrapped_estimator(X, paired, seeds):
    plain = LabelCodes(8, random_state=0).fit(X, paired.y)
    refined = RefinedHasher(
        LabelCodes(random_state=seeds[0]),
        8,
        select_bits=False,
        refit_hash_functions=False,
        random_state=seeds[1],
    ).fit(X, paired.y)
    assert_array_equal(refined.codes_, plain.codes_)
    assert_array_equal(refined.transform(X), plain.transform(X))
    assert_array_equal(refined.encode(X, modality="text"), plain.encode(X, modality="text"))
    assert refined.score(X, paired.y) == plain.score(X, paired.y)


@pytest.mark.parametrize("cls", [DSAH, AAH, ASCMH])
def test_wraps_every_shallow_method(cls, X, paired):
    anchors = {} if cls is AAH else {"n_anchors": 40}
    plain = cls(8, random_state=0, **anchors).fit(X, paired.y)
    off = RefinedHasher(plain, 8, select_bits=False, refit_hash_functions=False)
    assert_array_equal(off.fit(X, paired.y).transform(X), plain.transform(X))
    refined = RefinedHasher(cls(**anchors), **QUICK).fit(X[:80], paired.y[:80])
    assert held_out_map(refined, X[80:], paired.y[80:]) > 0.7


@pytest.mark.parametrize("refit", [True, False])
@pytest.mark.parametrize("select", [True, False])
def test_steps_can_be_switched_off(X, paired, refit, select):
    refined = RefinedHasher(
        LabelCodes(), **QUICK, refit_hash_functions=refit, select_bits=select
    ).fit(X, paired.y)
    assert refined.codes_.shape == (120, 8)
    assert refined.encode(X["text"], modality="text").shape == (120, 8)
    assert hasattr(refined, "cv_results_") == refit
    assert len(set(refined.selected_bits_)) == 8
    assert select == (refined.selected_bits_.max() >= 8)
    assert held_out_map(refined, X, paired.y) > 0.5


def test_parameters_set_after_the_fit_change_nothing_before_the_next(fitted, X, paired):
    codes = fitted.transform(X)
    fitted.set_params(refit_hash_functions=False)
    assert_array_equal(fitted.transform(X), codes)
    fresh = clone(fitted).fit(X, paired.y)
    assert sorted(vars(fitted.fit(X, paired.y))) == sorted(vars(fresh))
    assert_array_equal(fitted.transform(X), fresh.transform(X))


def test_codes_are_the_selected_bits_of_the_restarts(X, paired):
    refined = RefinedHasher(LabelCodes(), **QUICK, refit_hash_functions=False).fit(X, paired.y)
    pool = np.hstack([restart.codes_ for restart in refined._restarts])
    assert_array_equal(refined.codes_, pool[:, refined.selected_bits_])
    Z = np.hstack([restart._project("text", X["text"]) for restart in refined._restarts])
    encoded = refined.encode(X, modality="text")
    assert_array_equal(encoded, sign(Z)[:, refined.selected_bits_])


def test_hash_functions_are_ridge_regressions_of_the_codes(fitted, X):
    for name in X.names:
        F = fitted.feature_maps_[name].transform(X[name])
        ridge = Ridge(fitted.best_params_[name]["ridge"]).fit(F, fitted.codes_)
        assert_allclose(fitted.projections_[name], ridge.coef_.T, rtol=1e-5, atol=1e-7)
        # A row on its own is encoded as in company.
        codes = fitted.encode(X[name], modality=name)
        assert_array_equal(codes[:3], fitted.encode(X[name][:3], modality=name))


def test_results_list_every_candidate(fitted):
    results = fitted.cv_results_
    assert len(results["params"]) == 2 * 2 * 2 * 2
    assert all(len(values) == 16 for values in results.values())
    for name, best in fitted.best_params_.items():
        of_modality = np.flatnonzero(results["param_modality"] == name)
        scores = results["mean_test_score"][of_modality]
        first = of_modality[scores.argmax()]
        assert results["params"][first] == {"modality": name, **best}
        assert results["rank_test_score"][first] == 1
        assert results["rank_test_score"][of_modality].max() <= 8
    assert fitted.best_score_ == scores.max()
    pd = pytest.importorskip("pandas")
    assert pd.DataFrame(results).shape == (16, 8)


def test_a_single_modality_and_three(paired):
    alone = RefinedHasher(LabelCodes(), **QUICK).fit(paired.X, paired.y)
    assert list(alone.best_params_) == alone.modality_names_
    assert alone.transform(paired.X).shape == (120, 8)
    three = MultimodalData(**paired.blocks, sound=paired.image[:, ::-1])
    refined = RefinedHasher(LabelCodes(), **QUICK).fit(three, paired.y)
    assert list(refined.best_params_) == ["image", "text", "sound"]
    assert refined.encode(three["sound"], modality="sound").shape == (120, 8)


def test_gains_on_rows_never_seen(wiki):
    X = MultimodalData(image=wiki.image, text=wiki.text)
    y, train, test = wiki.labels, wiki.train, wiki.test
    estimator = ASCMH(32, n_anchors=300, random_state=0)
    quick = {"widths": (0.25,), "ridges": (0.1, 10.0), "n_anchors": 300, "n_restarts": 3}
    refined = RefinedHasher(estimator, 32, **quick, max_scoring_rows=500, random_state=0)
    plain = estimator.fit(X[train], y[train])
    refined.fit(X[train], y[train])
    gain = held_out_map(refined, X[test], y[test]) - held_out_map(plain, X[test], y[test])
    assert gain > 0.015
    # What leaving out promised is what comes.
    assert abs(refined.best_score_ - held_out_map(refined, X[test], y[test])) < 0.02


@pytest.mark.parametrize("n_classes", [3, 4])
def test_few_classes_leave_no_constant_bits(n_classes):
    """The criterion alone would take constant bits, of which random codes of few classes abound."""
    X, y = make_multimodal_classification(300, n_classes=n_classes, noise=0.2, random_state=0)
    settings = {**QUICK, "n_bits": 16, "pool_bits": 16, "widths": (0.5,)}
    refined = RefinedHasher(DSAH(n_anchors=40), **settings).fit(X[:200], y[:200])
    assert (np.ptp(refined.codes_, axis=0) > 0).all()
    query = refined.encode(X[200:], modality="image")
    assert lookup_precision(query, refined.codes_, y[200:], y[:200]) > 0.9


# --- Constant bits --------------------------------------------------------------------------


def with_constant_bits(cls, monkeypatch):
    """Let the solver of a method find bits 2 and 5 constant."""
    found = cls._solve

    def solve(self, features, L, rng):
        solution = found(self, features, L, rng)
        solution.codes[:, [2, 5]] = [-1, 1]
        return solution

    monkeypatch.setattr(cls, "_solve", solve)


@pytest.mark.parametrize("cls", [DSAH, AAH, ASCMH])
@pytest.mark.parametrize("centred", [True, False])
def test_constant_bits_are_plus_one_in_every_row(cls, centred, X, paired, monkeypatch):
    with_constant_bits(cls, monkeypatch)
    hasher = cls(8, random_state=0, feature_map=None if centred else "passthrough")
    indicator = paired.indicator.copy()
    indicator[::3] = 0
    with pytest.warns(ConvergenceWarning, match=r"of 8 bits \(.*2, .*5.*\) are the same"):
        hasher.fit(X, indicator)
    constant = np.ptp(hasher.codes_, axis=0) == 0
    assert constant[[2, 5]].all() and not constant.all()
    for codes in (hasher.codes_, *(hasher.encode(X, modality=name) for name in X.names)):
        assert (codes[:, constant] == 1).all()


@pytest.mark.parametrize("refit", [True, False])
def test_constant_bits_of_the_pool(refit, X, paired, monkeypatch, recwarn):
    with_constant_bits(LabelCodes, monkeypatch)
    settings = {**QUICK, "refit_hash_functions": refit}
    refined = RefinedHasher(LabelCodes(), **settings).fit(X, paired.y)
    assert not set(refined.selected_bits_ % 8) & {2, 5}
    assert not recwarn
    # Where there are no others, they are the same in every row.
    indicator = paired.indicator.copy()
    indicator[::3] = 0
    with pytest.warns(UserWarning, match="of n_bits=24 are constant"):
        refined.set_params(n_bits=24).fit(X, indicator)
    constant = np.ptp(refined.codes_, axis=0) == 0
    assert constant[np.isin(refined.selected_bits_ % 8, [2, 5])].all()
    for codes in (refined.codes_, refined.encode(X["text"], modality="text")):
        assert (codes[:, constant] == 1).all()


# --- Data contract --------------------------------------------------------------------------


SMALL = {"widths": (1.0,), "preprocessing": ("raw",), "n_restarts": 2}


@parametrize_with_checks(
    [
        RefinedHasher(LabelCodes(), **{**QUICK, **SMALL}),
        RefinedHasher(**{**QUICK, **SMALL}),
        LeaveOneOutRidge(),
    ]
)
def test_scikit_learn(estimator, check):
    check(estimator)


def test_table_indicator_sparse_and_jobs_give_the_same_codes(fitted, paired):
    codes = fitted.encode(paired.text, modality="text")
    table = RefinedHasher(LabelCodes(modalities=paired.columns), **QUICK)
    assert_array_equal(table.fit(paired.X, paired.y).encode(paired.text, modality="text"), codes)
    table.fit(sparse.csr_array(paired.X), sparse.csr_array(paired.indicator))
    assert np.mean(table.encode(paired.text, modality="text") == codes) > 0.999
    blocks = MultimodalData(**paired.blocks)
    with parallel_config(backend="threading"):
        jobs = RefinedHasher(LabelCodes(), **QUICK, n_jobs=2).fit(blocks, paired.y)
    assert_array_equal(jobs.codes_, fitted.codes_)
    assert_array_equal(jobs.encode(paired.text, modality="text"), codes)


def test_rows_without_labels_are_encoded(X, paired):
    indicator = paired.indicator.copy()
    indicator[:10] = 0
    refined = RefinedHasher(LabelCodes(), **QUICK).fit(X, indicator)
    assert_array_equal(refined.codes_[:10], refined.transform(X[:10]))


def test_clone_pickle_and_encoder(fitted, X):
    codes = fitted.encode(X, modality="image")
    loaded = pickle.loads(pickle.dumps(fitted))
    assert_array_equal(loaded.encode(X, modality="image"), codes)
    assert_array_equal(fitted.encoder("image").transform(X["image"]), codes)
    copy = clone(fitted)
    assert copy.get_params()["estimator__alpha"] == 1.0
    with pytest.raises(NotFittedError):
        copy.transform(X)


def test_grid_search_over_it_and_through_it(paired):
    modalities = [("image", StandardScaler(), slice(0, 6)), ("text", None, slice(6, 11))]
    refined = RefinedHasher(LabelCodes(modalities=modalities), **QUICK)
    grid = {
        "estimator__alpha": [0.1, 1.0],
        "n_bits": [8],
        "estimator__image__with_mean": [True],
    }
    search = GridSearchCV(refined, grid, cv=KFold(2, shuffle=True, random_state=0))
    search.fit(paired.X, paired.y)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert len(search.best_estimator_.codes_) == 120


# --- No leak --------------------------------------------------------------------------------


def weak_pairs(rng, n=240, d=30, signal=0.6):
    """Pairs whose classes overlap, and their labels."""
    y = rng.integers(0, 4, n)
    blocks = [
        signal * rng.standard_normal((4, d))[y] + rng.standard_normal((n, d)) for _ in range(2)
    ]
    return MultimodalData(image=blocks[0], text=blocks[1]), y


def test_shuffled_labels_are_of_no_use():
    rng = np.random.default_rng(0)
    X, y = weak_pairs(rng)
    train, test = slice(0, 160), slice(160, None)
    true = RefinedHasher(LabelCodes(), **QUICK).fit(X[train], y[train])
    shuffled = [clone(true).fit(X[train], rng.permutation(y[train])) for _ in range(4)]
    chance = np.mean(y[test][:, None] == y[test])
    assert held_out_map(true, X[test], y[test]) > 0.8
    # A little above chance: what pairs share of any random direction, they share held out.
    assert np.mean([held_out_map(h, X[test], y[test]) for h in shuffled]) < chance + 0.1
    # The search itself is not flattered by the labels that it was given.
    assert np.mean([h.best_score_ for h in shuffled]) < chance + 0.03


def test_noise_gives_chance():
    rng = np.random.default_rng(0)
    scores = []
    for _ in range(4):
        X, y = weak_pairs(rng, signal=0.0)
        hasher = RefinedHasher(LabelCodes(), **QUICK).fit(X[:160], y[:160])
        chance = np.mean(y[160:][:, None] == y[160:])
        scores.append(
            [hasher.best_score_ - chance, held_out_map(hasher, X[160:], y[160:]) - chance]
        )
    assert_allclose(np.mean(scores, axis=0), 0.0, atol=0.035)


def test_neither_input_nor_estimator_is_written_to(X, paired):
    before = [block.copy() for block in X.blocks.values()]
    estimator = LabelCodes()
    RefinedHasher(estimator, **QUICK).fit(X, paired.y)
    for block, copy in zip(X.blocks.values(), before, strict=True):
        assert_array_equal(block, copy)
    assert not hasattr(estimator, "codes_")


# --- Bad input, interruptions ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"n_bits": 25}, ValueError, r"pool of n_restarts \* pool_bits = 24 .* n_bits=25"),
        ({"estimator": Ridge()}, TypeError, "or a shallow hasher"),
        ({"estimator": RefinedHasher(LabelCodes())}, TypeError, "_solve"),
        ({"estimator": DSPAH()}, TypeError, "AAH, ASCMH, BATCH, DSAH, or a subclass"),
        ({"widths": ()}, ValueError, "widths must hold positive"),
        ({"ridges": (0.1, -1.0)}, ValueError, "ridges must hold positive"),
        ({"preprocessing": ("log",)}, ValueError, "preprocessing must hold some of"),
        ({"estimator": LabelCodes(max_iter=0)}, ValueError, "max_iter"),
        ({"estimator": ASCMH(hash_estimator=3)}, ValueError, "hash_estimator"),
        ({"n_restarts": 0}, ValueError, "n_restarts"),
        ({"pair_weight": 1.5}, ValueError, "pair_weight"),
        ({"estimator": None, "refit_hash_functions": False}, ValueError, "estimator is None"),
    ],
)
def test_parameters_are_checked(X, paired, change, error, message):
    with pytest.raises(error, match=message):
        RefinedHasher(**{"estimator": LabelCodes(), **QUICK, **change}).fit(X, paired.y)


def test_labels_that_cannot_be_searched(X):
    refined = RefinedHasher(LabelCodes(), **QUICK)
    with pytest.raises(ValueError, match="one class"):
        refined.fit(X, np.zeros(120))
    with pytest.raises(ValueError, match="share a label"):
        refined.fit(X, np.arange(120))


def failing(widths, monkeypatch):
    """Let candidates of these widths fail."""

    def anchor_map(preprocessing, width, n_anchors, seed):
        return Broken() if width in widths else original(preprocessing, width, n_anchors, seed)

    original = sklearn_cmh.refine._refined.anchor_map
    monkeypatch.setattr(sklearn_cmh.refine._refined, "anchor_map", anchor_map)


class Broken:
    def fit_transform(self, X, y=None):
        raise FloatingPointError("overflow")


def test_candidates_that_fail(X, paired, monkeypatch):
    failing([0.5], monkeypatch)
    refined = RefinedHasher(LabelCodes(), **QUICK)
    with pytest.warns(FitFailedWarning, match="4 of 8 candidate feature maps failed"):
        refined.fit(X, paired.y)
    assert np.isnan(refined.cv_results_["mean_test_score"]).sum() == 8
    assert refined.cv_results_["rank_test_score"].max() == 5
    failing([0.5, 1.0], monkeypatch)
    with pytest.raises(ValueError, match=r"All 4 candidate feature maps of modality 'image'.*flow"):
        clone(refined).fit(X, paired.y)


def test_an_interrupted_fit_leaves_no_trace(fitted, X, paired, monkeypatch):
    def interrupt(*args):
        raise KeyboardInterrupt

    codes = fitted.codes_
    state = sorted(vars(fitted))
    fresh = clone(fitted)
    monkeypatch.setattr(sklearn_cmh.refine._refined, "choose_bits", interrupt)
    for hasher in (fitted, fresh):
        with pytest.raises(KeyboardInterrupt):
            hasher.fit(X[:60], paired.y[:60])
    assert fitted.codes_ is codes and sorted(vars(fitted)) == state
    assert sorted(vars(fresh)) == sorted(fresh.get_params(deep=False))


def test_progress_is_printed(X, paired, capsys):
    RefinedHasher(LabelCodes(), **QUICK, verbose=1).fit(X, paired.y)
    printed = capsys.readouterr().out
    assert "restarts of LabelCodes" in printed and "score" in printed and "alignment" in printed


@pytest.mark.parametrize("n_jobs", [None, 2])
def test_restarts_warn_once(X, paired, n_jobs):
    refined = RefinedHasher(ASCMH(n_anchors=130, max_iter=1), **QUICK, n_jobs=n_jobs)
    with parallel_config(backend="threading"), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        refined.fit(X, paired.y)
        warnings.warn("Later ones are shown as ever.")
    messages = [str(w.message) for w in caught]
    assert len(messages) == len(set(messages))
    for part in ("n_anchors=130", "max_iter=1", "Later"):
        assert sum(part in message for message in messages) == 1


def test_warnings_of_restarts_can_be_made_errors(X, paired):
    refined = RefinedHasher(ASCMH(n_anchors=130), **QUICK)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(UserWarning, match="n_anchors=130"):
            refined.fit(X, paired.y)


def test_hash_functions_that_are_not_used_are_not_fitted(X, paired):
    linear = RefinedHasher(ASCMH(n_anchors=40), **QUICK).fit(X, paired.y)
    other = ASCMH(n_anchors=40, hash_estimator=CannotFit())
    refined = RefinedHasher(other, **QUICK).fit(X, paired.y)
    assert_array_equal(refined.transform(X), linear.transform(X))
    with pytest.raises(NotImplementedError):
        refined.set_params(refit_hash_functions=False).fit(X, paired.y)


class CannotFit(Ridge):
    def fit(self, X, y):
        raise NotImplementedError


# --- The search -----------------------------------------------------------------------------


def test_search_scores_leave_a_row_s_own_pair_out(paired):
    L, _ = encode_labels(paired.y)
    rng = np.random.default_rng(2)
    first, second = (np.where(rng.random((120, 8)) < 0.5, -1, 1) for _ in range(2))
    expected = []
    for query, database in ((first, second), (second, first)):
        for i in range(120):
            others = np.arange(120) != i
            values, _ = average_precision_scores(query[[i]], database[others], L[[i]], L[others])
            expected.append(values[0])
    assert_allclose(cross_modal_score(first, [second], L), np.mean(expected))


def test_search_finds_the_candidates_that_match(paired):
    L, _ = encode_labels(paired.y)
    rng = np.random.default_rng(3)
    classes = np.where(rng.random((4, 16)) < 0.5, -1, 1)

    def noisy(level, flips):
        return classes[paired.y] * flips * np.where(rng.random((120, 16)) < level, -1, 1)

    # "turned" retrieves best within a modality, but only "plain" codes agree across.
    turned, plain = np.where(rng.random(16) < 0.5, -1, 1), np.ones(16, dtype=int)
    codes = {
        "image": {
            "turned": noisy(0.0, turned),
            "plain": noisy(0.1, plain),
            "bad": noisy(0.4, plain),
        },
        "text": {"plain": noisy(0.1, plain), "bad": noisy(0.3, plain)},
    }
    steps = list(coordinate_search(codes, L, Parallel()))
    assert [(name, best) for name, _, best in steps[:3]] == [
        ("image", "turned"),
        ("text", "plain"),
        ("image", "plain"),
    ]
    assert {name: best for name, _, best in steps} == {"image": "plain", "text": "plain"}
    assert len(steps) == 6
    expected = cross_modal_score(codes["text"]["plain"], [codes["image"]["plain"]], L)
    assert steps[-1][1]["plain"] == expected
    # With nothing to change, one pass across modalities is enough.
    codes["image"].pop("turned")
    assert len(list(coordinate_search(codes, L, Parallel()))) == 4


def test_errors_of_candidates_are_returned(paired):
    start = time.perf_counter()
    outcome, seconds = leave_one_out_codes(Broken(), paired.image, None, [1.0], None)
    assert isinstance(outcome, FloatingPointError)
    assert 0 <= seconds <= time.perf_counter() - start


def test_codes_of_a_candidate_are_leave_one_out_and_timed(paired):
    B = np.where(np.random.default_rng(0).random((120, 6)) < 0.5, -1, 1)
    rows, start = np.arange(0, 120, 7), time.perf_counter()
    candidate = anchor_map("raw", 1.0, 20, 0)
    codes, seconds = leave_one_out_codes(candidate, paired.image, B, [0.1, 1.0], rows)
    assert 0 < seconds <= time.perf_counter() - start
    F = clone(candidate).fit_transform(paired.image)
    expected = np.where(ridge_leave_one_out(F, B, [0.1, 1.0])[1][:, rows] >= 0, 1, -1)
    assert codes.dtype == np.int8
    assert_array_equal(codes, expected)


# --- LeaveOneOutRidge -----------------------------------------------------------------------


@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("one", [True, False])
def test_leave_one_out_ridge_agrees_with_scikit_learn(fit_intercept, one):
    rng = np.random.default_rng(3)
    F = rng.standard_normal((40, 5)) + 1.0
    B = np.where(F @ rng.standard_normal((5, 4)) + rng.standard_normal((40, 4)) < 0, -1.0, 1.0)
    B = B[:, 0] if one else B
    ridge = LeaveOneOutRidge([0.01, 1.0, 100.0], fit_intercept=fit_intercept).fit(F, B)
    reference = RidgeCV([ridge.alpha_], store_cv_results=True, scoring="r2").fit(F, B)
    offset = 0.0 if fit_intercept else B.mean(axis=0)
    assert_allclose(ridge.coef_, reference.coef_)
    assert_allclose(ridge.predict(F), reference.predict(F) - offset, atol=1e-12)
    if fit_intercept:
        predicted = reference.cv_results_[..., 0]
        assert_allclose(ridge.leave_one_out_, predicted.reshape(B.shape), atol=1e-10)
    assert ridge.alpha_ == ridge.alphas[int(ridge.alignments_.argmax())]
    assert clone(ridge).get_params() == ridge.get_params()


def test_leave_one_out_ridge_as_hash_estimator(X, paired):
    ridge = LeaveOneOutRidge()
    hasher = ASCMH(8, n_anchors=40, hash_estimator=ridge, random_state=0)
    hasher.fit(X[:80], paired.y[:80])
    assert held_out_map(hasher, X[80:], paired.y[80:]) > 0.7
    assert not hasattr(ridge, "alpha_")


def test_leave_one_out_ridge_refuses_bad_penalties():
    with pytest.raises(ValueError, match="alphas must hold positive"):
        LeaveOneOutRidge([0.0]).fit(np.eye(4), np.eye(4))


def test_leave_one_out_ridge_makes_nothing_of_rounding():
    """A row has one prediction, of the size of targets, where features are large and few differ."""
    F = 1e25 * np.random.default_rng(0).standard_normal((3, 6))
    ridge = LeaveOneOutRidge().fit(F, np.array([1.0, -1.0, 1.0]))
    together = ridge.predict(F)
    assert np.abs(together).max() < 2
    assert_allclose([ridge.predict(row[None])[0] for row in F], together, rtol=1e-6)
    with pytest.raises(
        ValueError, match=r"The features are of the order of \de\+25, whose squares"
    ):
        LeaveOneOutRidge().fit(F.astype(np.float32), np.ones(3))


def test_small_integers_of_numpy_do_not_overflow():
    hasher = RefinedHasher(DSAH(8), n_restarts=np.uint8(16), pool_bits=np.uint8(16))
    hasher.set_params(n_bits=300)
    with pytest.raises(ValueError, match=r"n_restarts \* pool_bits = 256 bits"):
        hasher.fit(np.eye(12), np.arange(12) % 2)
