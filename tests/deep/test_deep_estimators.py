"""The deep methods as scikit-learn estimators, on tiny networks."""

import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import joblib
import numpy as np
import pytest
from common_columns import all_but_the_first
from scipy import sparse
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV, KFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

from sklearn_cmh import MultimodalData, SharedSpace  # noqa: E402
from sklearn_cmh.data import normalise_rows  # noqa: E402
from sklearn_cmh.deep import DCMH, DSPAH, SCHGAN, SSAH  # noqa: E402
from sklearn_cmh.metrics import mean_average_precision, mean_reciprocal_rank  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

TINY = {"n_bits": 8, "hidden": (16,), "learning_rate": 1e-2, "random_state": 0}
HASHERS = [
    DSPAH(**TINY, max_iter=15, batch_size=32),
    SCHGAN(**TINY, pretrain_iter=8, max_iter=15, batch_size=32, n_candidates=50, n_selected=5),
    DCMH(**TINY, max_iter=15, batch_size=32),
    # With fewer units, what it learns depends on the seed.
    SSAH(**TINY | {"hidden": (64,)}, n_semantic=64, max_iter=15, batch_size=32),
]


@parametrize_with_checks(
    [
        clone(hasher).set_params(max_iter=6, modalities=modalities)
        for hasher in HASHERS
        for modalities in [None, {"first": slice(0, 1), "second": all_but_the_first}]
    ]
    + [
        clone(HASHERS[0]).set_params(
            max_iter=6,
            modalities={"first": slice(0, 1), "second": all_but_the_first},
            pair_weight=pair_weight,
            shared_space=SharedSpace(4, feature_map="passthrough", regularisation=0.1),
        )
        for pair_weight in [0.3, 1.0]
    ]
)
def test_scikit_learn(estimator, check):
    check(estimator)


@pytest.fixture(params=HASHERS, ids=lambda hasher: type(hasher).__name__)
def hasher(request):
    return clone(request.param)


@pytest.fixture
def X(paired):
    return MultimodalData(**paired.blocks)


def torch_linear(shape, n_bits):
    return torch.nn.Linear(*shape, n_bits)


def pictures(n=24, size=32, seed=0):
    """Bright and dark pictures with a word each."""
    rng = np.random.RandomState(seed)
    y = np.arange(n) % 2
    image = rng.randint(0, 100, (n, size, size, 3)) + 120 * y[:, None, None, None]
    text = np.eye(2)[y] + 0.1 * rng.rand(n, 2)
    return MultimodalData(image=image.astype(np.uint8), text=text), y


# Learning.


def test_two_clusters(hasher):
    rng = np.random.RandomState(0)
    y = rng.permutation(np.arange(200) % 2)
    X = MultimodalData(
        image=rng.randn(200, 10) + 2 * y[:, None], text=rng.randn(200, 6) - 2 * y[:, None]
    )
    known = y[:100].copy()
    if isinstance(hasher, SCHGAN):
        known[50:] = -1
    hasher.set_params(max_iter=30).fit(X[:100], known)
    codes = {name: hasher.encode(X[100:][name], modality=name) for name in X.names}
    for query, database in [("image", "text"), ("text", "image")]:
        assert mean_average_precision(codes[query], codes[database], y[100:], y[100:]) > 0.95
    assert hasher.objective_[-1] < hasher.objective_[0]


def test_fitted_attributes(hasher, X, paired):
    hasher.fit(X, paired.indicator)
    assert hasher.codes_.shape == (120, 8) and hasher.codes_.dtype == np.int8
    assert hasher.n_iter_ == 15 == len(hasher.history_) == len(hasher.objective_)
    assert set(hasher.specs_) == set(hasher.weights_) >= {"image", "text"}
    np.testing.assert_array_equal(hasher.labels_.toarray(), paired.indicator)
    np.testing.assert_array_equal(hasher.transform(X), hasher.codes_)
    assert hasher.get_feature_names_out().shape == (8,)


def test_same_seed_same_codes_whatever_torch_is_seeded_with(hasher, X, paired):
    first = clone(hasher).fit(X, paired.y)
    torch.manual_seed(99)
    np.testing.assert_array_equal(clone(hasher).fit(X, paired.y).codes_, first.codes_)
    other = clone(hasher).set_params(random_state=1).fit(X, paired.y)
    assert (other.codes_ != first.codes_).any()


@pytest.mark.parametrize(
    "options",
    [
        {"pairs": "buffer"},
        {"updates": "alternating"},
        {"pairs": "buffer", "updates": "alternating"},
        {"similarity": "any"},
        {"optimiser": "sgd", "learning_rate": 0.3},
        {"quantisation": 0.0, "dropout": 0.0},
        {"network": {"text": "multiscale"}, "width": 2},
        {"network": torch_linear},
    ],
    # Not the representation, which has the address of a function.
    ids=", ".join,
)
def test_variants_of_dspah(options, X, paired):
    hasher = clone(HASHERS[0]).set_params(**options).fit(X[:80], paired.y[:80])
    assert hasher.score(X[80:], paired.y[80:]) > 0.5


@pytest.mark.parametrize(
    "options",
    [
        {"baseline": "dis"},
        {"guard": False},
        {"pair_penalty": 0.0},
        {"pretrain_iter": 0},
        {"adversarial_weight": 1.0, "margin": 2.0},
    ],
    ids=str,
)
def test_variants_of_schgan(options, X, paired):
    known = np.where(np.arange(120) < 80, paired.y, -1)
    hasher = clone(HASHERS[1]).set_params(**options).fit(X, known)
    query = hasher.encode(X[80:], modality="text")
    assert mean_average_precision(query, hasher.codes_, paired.y[80:], paired.y) > 0.5
    rates = np.array([figures["relevant_rate"] for figures in hasher.history_])
    n_pretrain = 15 if "baseline" in options else hasher.pretrain_iter
    assert np.isnan(rates[:n_pretrain]).all()
    assert ((rates[n_pretrain:] >= 0) & (rates[n_pretrain:] <= 1)).all()
    assert ("generator__text" in hasher.weights_) == ("baseline" not in options)


@pytest.mark.parametrize(
    "options",
    [
        {"optimiser": "sgd", "learning_rate": 0.1},
        {"gamma": 0.1, "eta": 0.1},
        {"hidden": ()},
    ],
    ids=str,
)
def test_variants_of_dcmh(options, X, paired):
    hasher = clone(HASHERS[2]).set_params(**options).fit(X[:80], paired.y[:80])
    assert hasher.score(X[80:], paired.y[80:]) > 0.5


@pytest.mark.parametrize(
    "options",
    [{"adversarial_weight": 0.0}, {"beta": 0.0}, {"dropout": 0.0}],
    ids=str,
)
def test_variants_of_ssah(options, X, paired):
    hasher = clone(HASHERS[3]).set_params(**options).fit(X[:80], paired.y[:80])
    assert hasher.score(X[80:], paired.y[80:]) > 0.5
    assert ("discriminator__text" in hasher.weights_) == ("adversarial_weight" not in options)


def test_codes_are_the_signs_of_projections(hasher, X, paired):
    hasher.fit(X, paired.y)
    for modality in ["image", "text", None]:
        Z = hasher.project(X, modality=modality)
        assert Z.shape == (120, 8) and Z.dtype == np.float32
        np.testing.assert_array_equal(np.where(Z >= 0, 1, -1), hasher.encode(X, modality=modality))
    image, text = (hasher.project(X[name], modality=name) for name in X.names)
    np.testing.assert_allclose(hasher.project(X), (image + text) / 2, atol=2e-6)


def test_without_the_guard_selections_are_mostly_relevant(X, paired):
    rates = [
        clone(HASHERS[1]).set_params(guard=guard).fit(X, paired.y).history_[-1]["relevant_rate"]
        for guard in [True, False]
    ]
    assert rates[0] < 0.3 < rates[1]


def test_multi_label_rows(hasher, X):
    rng = np.random.RandomState(0)
    Y = (rng.rand(120, 4) < 0.4).astype(int)
    Y[np.arange(120), rng.randint(4, size=120)] = 1
    for indicator in [Y, sparse.csr_array(Y)]:
        assert hasher.fit(X, indicator).codes_.shape == (120, 8)


def test_one_and_three_modalities(hasher, X, paired):
    one = MultimodalData(text=X["text"])
    three = MultimodalData(image=X["image"], text=X["text"], extra=X["image"][:, :3] ** 2)
    for data in [one, three]:
        fitted = clone(hasher).fit(data, paired.y)
        assert fitted.score(data, paired.y) > 0.5
        for name in data.names:
            assert fitted.encode(data[name], modality=name).shape == (120, 8)


# Pairs.


@pytest.fixture(scope="module")
def things():
    """Rows of four classes, each with something of its own that both modalities show."""
    rng = np.random.RandomState(0)
    y = np.arange(160) % 4
    own = rng.randn(160, 6)
    centres = 3 * rng.randn(2, 4, 10)
    mixing = rng.randn(2, 6, 10)
    image, text = (centres[m][y] + own @ mixing[m] + 0.3 * rng.randn(160, 10) for m in (0, 1))
    return MultimodalData(image=image, text=text), y


def own_pair_rank(hasher, X):
    """Mean reciprocal rank of the own partner."""
    codes = {name: hasher.encode(X[name], modality=name) for name in X.names}
    return mean_reciprocal_rank(codes["text"], codes["image"])


PAIRED = DSPAH(32, hidden=(64,), dropout=0.0, max_iter=30, batch_size=32, random_state=0)


def test_similarity_of_a_batch_is_a_slice_of_labels_and_pairs_mixed(things):
    X, y = things
    space = SharedSpace(5, feature_map="passthrough", regularisation=0.1, random_state=0)
    hasher = clone(PAIRED).set_params(pair_weight=0.3, shared_space=space, max_iter=1).fit(X, y)
    blocks = {name: X[name] for name in X.names}
    T = hasher._supervision(blocks, hasher.labels_, None, resume=True)
    Z = hasher.shared_space_.transform(X)
    assert Z.shape == (160, 5)
    Lt = normalise_rows(hasher.labels_).toarray()
    np.testing.assert_allclose(T @ T.T, 0.7 * Lt @ Lt.T + 0.3 * Z @ Z.T, atol=1e-6)


def test_pairs_find_the_thing_itself(things):
    X, y = things
    found = {}
    for pair_weight in [0.0, 0.3, 1.0]:
        hasher = clone(PAIRED).set_params(pair_weight=pair_weight)
        hasher.fit(X[:100], y[:100] if pair_weight < 1 else None)
        n_codes = len(np.unique(hasher.codes_, axis=0))
        found[pair_weight] = own_pair_rank(hasher, X[100:]), n_codes
    ranks, n_codes = zip(*found.values(), strict=True)
    assert list(ranks) == sorted(ranks) and ranks[0] + 0.05 < ranks[-1]
    assert n_codes[0] < min(n_codes[1:])
    assert hasher.labels_ is None
    with pytest.raises(ValueError, match="fitted without y"):
        hasher.score(X, y)


def test_rows_without_labels_take_part_in_pairs(things):
    X, y = things
    known = np.where(np.arange(160) < 40, y, -1)
    Y = np.eye(4, dtype=int)[y] * (known >= 0)[:, None]
    hasher = clone(PAIRED).set_params(pair_weight=0.2, max_iter=15)
    codes = [clone(hasher).fit(X, labels).codes_ for labels in [known, Y]]
    np.testing.assert_array_equal(*codes)
    fitted = clone(hasher).fit(X, known)
    assert fitted.labels_[40:].nnz == 0
    query = fitted.encode(X["text"][40:], modality="text")
    assert mean_average_precision(query, fitted.codes_[40:], y[40:], y[40:]) > 0.5
    assert own_pair_rank(fitted, X) > own_pair_rank(clone(hasher).fit(X[:40], y[:40]), X)


def test_pairs_of_pictures_and_later_epochs(things):
    X, y = pictures()
    hasher = DSPAH(8, width=2, pair_weight=0.5, max_iter=1, random_state=0).partial_fit(X, y)
    space = hasher.shared_space_
    assert hasher.partial_fit(X[:10], y[:10]).shared_space_ is space
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(hasher)).encode(X), hasher.encode(X))


def test_pair_weights_that_cannot_be(things):
    X, y = things
    hasher = clone(PAIRED).set_params(pair_weight=0.5)
    with pytest.raises(ValueError, match="pairs need two modalities"):
        hasher.fit(X["text"], y)
    with pytest.raises(ValueError, match='similarity="any" is not graded'):
        clone(hasher).set_params(similarity="any").fit(X, y)
    with pytest.raises(ValueError, match=r"requires y to be passed.*pair_weight=1"):
        hasher.fit(X)
    with pytest.raises(ValueError, match="early_stopping=True scores"):
        clone(hasher).set_params(pair_weight=1.0, early_stopping=True).fit(X)
    with pytest.raises(ValueError, match="pair_weight"):
        clone(hasher).set_params(pair_weight=1.5).fit(X, y)
    with pytest.warns(UserWarning, match="shared_space has no effect with pair_weight=0"):
        clone(hasher).set_params(pair_weight=0.0, max_iter=1, shared_space=SharedSpace()).fit(X, y)


# The data contract.


def test_sparse_is_dense(hasher, X, paired):
    words = np.maximum(X["text"], 0)
    dense = MultimodalData(image=X["image"], text=words)
    mixed = MultimodalData(image=X["image"], text=sparse.csr_array(words))
    codes = [clone(hasher).fit(data, paired.y).codes_ for data in [dense, mixed]]
    assert (codes[0] == codes[1]).mean() > 0.99


def test_a_row_is_encoded_alike_in_any_company(hasher, X, paired):
    hasher.fit(X, paired.y)
    order = np.random.RandomState(0).permutation(120)
    for name in X.names:
        whole = hasher.encode(X, modality=name)
        np.testing.assert_array_equal(hasher.encode(X[order], modality=name), whole[order])
        np.testing.assert_array_equal(hasher.encode(X[5:6], modality=name), whole[5:6])
    half = MultimodalData(text=X["text"])
    np.testing.assert_array_equal(hasher.transform(half), hasher.encode(half, modality="text"))


def test_pictures_as_blocks_and_as_columns():
    X, y = pictures()
    hasher = DSPAH(8, width=2, max_iter=8, learning_rate=1e-2, random_state=0).fit(X, y)
    assert hasher.specs_["image"]["network"] == "resnet34"
    assert hasher.specs_["text"]["network"] == "mlp"
    assert hasher.score(X, y) > 0.9
    table = np.hstack([X["image"].reshape(24, -1), X["text"]])
    flat = clone(hasher).set_params(
        modalities={"image": slice(0, 3072), "text": slice(3072, 3074)},
        image_shape={"image": (32, 32, 3)},
    )
    np.testing.assert_array_equal(flat.fit(table, y).codes_, hasher.codes_)
    columns = hasher.encode(X["image"].reshape(24, -1), modality="image")
    np.testing.assert_array_equal(columns, hasher.encode(X["image"], modality="image"))


@pytest.mark.parametrize(
    "options", [{"attention": False}, {"cross_level": False}, {"augment": True}], ids=str
)
def test_ablations_of_the_picture_network(options):
    X, y = pictures()
    hasher = DSPAH(8, width=2, max_iter=2, random_state=0, **options).fit(X, y)
    assert hasher.encode(X["image"], modality="image").shape == (24, 8)


def test_pretrained_weights_reach_the_network():
    from sklearn_cmh.deep._networks import HashResNet

    X, y = pictures()
    state = HashResNet(4).state_dict()
    hasher = DSPAH(8, pretrained=state, max_iter=1, learning_rate=1e-12, random_state=0)
    hasher.fit(X[:8], y[:8])
    np.testing.assert_allclose(
        hasher.weights_["image"]["resnet.layer1.0.conv1.weight"],
        state["layer1.0.conv1.weight"],
        atol=1e-6,
    )
    assert "pretrained" not in hasher.specs_["image"]


# Tools of scikit-learn.


def test_pickle_holds_arrays_only(hasher, X, paired, tmp_path):
    hasher.fit(X, paired.y)
    assert b"torch" not in pickle.dumps(hasher)
    joblib.dump(hasher, tmp_path / "hasher.joblib")
    for copy in [
        pickle.loads(pickle.dumps(hasher)),
        joblib.load(tmp_path / "hasher.joblib"),
        joblib.load(tmp_path / "hasher.joblib", mmap_mode="r"),
    ]:
        for name in X.names:
            np.testing.assert_array_equal(
                copy.encode(X, modality=name), hasher.encode(X, modality=name)
            )


def test_a_model_from_a_gpu_encodes_on_the_cpu(hasher, X, paired, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    copy = pickle.loads(pickle.dumps(hasher.fit(X, paired.y))).set_params(device="cuda")
    np.testing.assert_array_equal(copy.transform(X), hasher.codes_)
    with pytest.raises(ValueError, match="'cuda' was requested"):
        copy.fit(X, paired.y)


def test_grid_search(hasher, X, paired):
    n_jobs = 2 if isinstance(hasher, SCHGAN) else 1
    grid = {"learning_rate": [1e-6, 1e-2]}
    search = GridSearchCV(
        # In SSAH the modalities follow a network of the labels, some epochs behind it.
        hasher.set_params(max_iter=30 if isinstance(hasher, SSAH) else 5),
        grid,
        cv=KFold(2, shuffle=True, random_state=0),
        n_jobs=n_jobs,
    ).fit(X, paired.y)
    assert search.best_params_ == {"learning_rate": 1e-2}
    assert search.best_estimator_.encoder("text").transform(X["text"]).shape == (120, 8)


def test_preprocessing_in_a_pipeline(hasher, paired):
    hasher.set_params(
        modalities=[("image", StandardScaler(), slice(0, 6)), ("text", None, slice(6, 11))]
    )
    pipeline = make_pipeline(StandardScaler(), hasher).fit(paired.X, paired.y)
    assert pipeline.score(paired.X, paired.y) > 0.5
    assert hasher.get_params()["image__with_mean"] is True


def test_warm_start_goes_on(hasher, X, paired):
    # Adversarial rounds are other losses than pre-training: compare within the latter.
    hasher.set_params(warm_start=True, max_iter=4).fit(X, paired.y)
    first = hasher.objective_
    hasher.fit(X, paired.y)
    assert hasher.n_iter_ == 8 and len(hasher.history_) == 8
    np.testing.assert_array_equal(hasher.objective_[:4], first)
    assert hasher.objective_[7] < first[0]
    with pytest.raises(ValueError, match="same networks"):
        hasher.set_params(hidden=(5,)).fit(X, paired.y)
    assert hasher.n_iter_ == 8
    assert hasher.set_params(warm_start=False).fit(X, paired.y).n_iter_ == 4


def test_partial_fit_takes_one_epoch_of_any_rows(hasher, X, paired):
    for epoch in range(6):
        rows = slice(0, 60) if epoch % 2 else slice(60, 120)
        hasher.partial_fit(X[rows], paired.y[rows])
        assert hasher.n_iter_ == epoch + 1
    assert hasher.codes_.shape == (60, 8)
    np.testing.assert_array_equal(hasher.classes_, np.arange(4))
    assert hasher.score(X, paired.y) > 0.5
    copy = pickle.loads(pickle.dumps(hasher)).partial_fit(X, paired.y)
    assert copy.n_iter_ == 7 and hasher.n_iter_ == 6


def test_early_stopping(hasher, X, paired):
    hasher.set_params(early_stopping=True, validation_fraction=0.25, n_iter_no_change=3)
    hasher.set_params(max_iter=200, pretrain_iter=200) if isinstance(hasher, SCHGAN) else (
        hasher.set_params(max_iter=200)
    )
    hasher.fit(X, paired.y)
    scores = [figures["validation_score"] for figures in hasher.history_]
    # Four classes: twice what chance gives.
    assert hasher.n_iter_ < 200 and max(scores) > 0.5
    assert max(scores[-3:]) <= max(scores[:-3]) + hasher.tol
    assert hasher.codes_.shape == (120, 8)
    with pytest.raises(ValueError, match="early_stopping"):
        hasher.partial_fit(X, paired.y)


def test_verbose(hasher, X, paired, capsys):
    hasher.set_params(max_iter=2, verbose=1).fit(X, paired.y)
    lines = capsys.readouterr().out.splitlines()
    name = type(hasher).__name__
    assert all(line.startswith(f"[{name}] ") for line in lines)
    assert sum(line.startswith(f"[{name}] epoch ") for line in lines) == 2
    assert f"epoch 2/2, loss {hasher.objective_[-1]:.4g}" in lines[-2]
    assert lines[-1] == f"[{name}] codes of 120 rows"
    hasher.set_params(verbose=0).fit(X, paired.y)
    assert capsys.readouterr().out == ""


def test_verbose_tells_of_pairs(things, capsys):
    X, y = things
    hasher = clone(PAIRED).set_params(pair_weight=0.5, max_iter=1, verbose=1)
    hasher.fit(X, np.where(y > 0, y, -1))
    told = capsys.readouterr().out
    assert "[DSPAH] shared space of the modalities" in told
    assert "[DSPAH] labels of the rows that have none" in told


def test_threads_and_random_state_of_torch_are_left_alone(hasher, X, paired):
    threads = torch.get_num_threads()
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    hasher.fit(X, paired.y).transform(X)
    pickle.loads(pickle.dumps(hasher)).transform(X)
    assert torch.get_num_threads() == threads
    assert torch.rand(1) == expected


# Threads.


def in_threads(function, arguments, n_threads=3):
    """Results of a function, called from several threads at once."""
    with ThreadPoolExecutor(n_threads) as pool:
        return list(pool.map(function, arguments))


def test_prediction_from_threads_changes_neither_codes_nor_the_model(hasher, X, paired):
    hasher.fit(X, paired.y)
    expected = hasher.encode(X["text"], modality="text")
    for model in [hasher, pickle.loads(pickle.dumps(hasher))]:
        found = in_threads(lambda _: model.encode(X["text"], modality="text"), range(20))  # noqa: B023
        assert all((codes == expected).all() for codes in found)
        for name, weights in model.weights_.items():
            if name in model._networks:
                assert not any(module.training for module in model._networks[name].modules())
                for key, value in model._networks[name].state_dict().items():
                    np.testing.assert_array_equal(value.cpu().numpy(), weights[key])
    np.testing.assert_array_equal(hasher.encode(X["text"], modality="text"), expected)


def test_networks_that_encode_are_never_in_training(hasher, X, paired):
    """Not even between two rows of a fit that goes on, or after an interruption."""
    hasher.set_params(max_iter=2, warm_start=True).fit(X, paired.y)
    networks = list(hasher._networks.values())
    hasher.fit(X, paired.y)
    hasher.partial_fit(X, paired.y)
    networks += hasher._networks.values()
    hasher.transform(X)
    assert not any(module.training for network in networks for module in network.modules())
    assert len(set(map(id, networks))) == len(networks)


def test_fits_in_threads_are_those_of_one_thread(hasher, X, paired):
    seeds = [0, 1, 2, 3]
    hashers = [clone(hasher).set_params(random_state=seed, max_iter=4) for seed in seeds]
    expected = [clone(h).fit(X, paired.y).objective_ for h in hashers]
    state = torch.get_rng_state()
    found = in_threads(lambda h: h.fit(X, paired.y).objective_, hashers)
    np.testing.assert_array_equal(found, expected)
    assert torch.equal(torch.get_rng_state(), state)


def test_a_fit_in_a_thread_is_not_disturbed_by_models_that_are_loaded(X, paired):
    """Networks of a user's own are rebuilt with weights that torch draws before it sets them."""
    hasher = clone(HASHERS[0]).set_params(network=torch_linear, max_iter=30)
    expected = clone(hasher).fit(X, paired.y)
    loaded = [pickle.loads(pickle.dumps(expected)) for _ in range(20)]

    def work(task):
        return task.fit(X, paired.y).codes_ if task is hasher else task.transform(X)

    for codes in in_threads(work, [hasher, *loaded]):
        np.testing.assert_array_equal(codes, expected.codes_)


# What goes wrong.


def test_unlabelled_rows_are_for_schgan_only(X, paired):
    Y = paired.indicator.copy()
    Y[:30] = 0
    for hasher in HASHERS:
        if isinstance(hasher, SCHGAN):
            continue
        with pytest.raises(ValueError, match=r"30 rows .* use SCHGAN"):
            clone(hasher).fit(X, Y)
        with pytest.raises(ValueError, match="-1"):
            clone(hasher).fit(X, np.where(Y.any(1, keepdims=True), Y, -1))
    Y[:30] = -1
    known = np.where(np.arange(120) < 30, -1, paired.y)
    codes = [clone(HASHERS[1]).fit(X, y) for y in [Y, known]]
    np.testing.assert_array_equal(codes[0].codes_, codes[1].codes_)
    assert codes[0].labels_[:30].nnz == 0
    with pytest.raises(ValueError, match="no row at all"):
        clone(HASHERS[1]).fit(X, np.full(120, -1))


def test_wrong_networks_and_shapes(X, paired):
    small = MultimodalData(image=np.zeros((120, 8, 8, 3), np.uint8), text=X["text"])
    with pytest.raises(ValueError, match="at least 32 x 32"):
        clone(HASHERS[0]).fit(small, paired.y)
    with pytest.raises(ValueError, match="set image_shape"):
        clone(HASHERS[0]).set_params(network="resnet34").fit(X, paired.y)
    with pytest.raises(ValueError, match="must be one of"):
        clone(HASHERS[0]).set_params(network={"text": "vgg"}).fit(X, paired.y)
    with pytest.raises(ValueError, match="no modality 'sound'"):
        clone(HASHERS[0]).set_params(network={"sound": "mlp"}).fit(X, paired.y)
    for wrong in [5, ["mlp"]]:
        with pytest.raises(ValueError, match="network of 'text' must be one of"):
            clone(HASHERS[0]).set_params(network={"text": wrong}).fit(X, paired.y)
    for shape, message in [({"image": 6}, "set image_shape"), ((2.0, 3, 1), "whole numbers")]:
        wrong = {"network": {"image": "resnet34"}, "image_shape": shape}
        with pytest.raises(ValueError, match=message):
            clone(HASHERS[0]).set_params(**wrong).fit(X, paired.y)


@pytest.mark.parametrize(
    "more_inputs, more_outputs, message", [(1, 0, "fails on a batch"), (0, 1, r"to \(b, 8\)")]
)
def test_networks_of_the_wrong_shape_are_named(X, paired, more_inputs, more_outputs, message):
    def network(shape, n_bits):
        return torch.nn.Linear(shape[0] + more_inputs, n_bits + more_outputs)

    with pytest.raises(ValueError, match=f"network of 'text' .*{message}"):
        clone(HASHERS[0]).set_params(network={"text": network}).fit(X, paired.y)


def test_whole_numbers_may_be_of_any_numpy_type(hasher, X, paired):
    """None overflows in a product: 4 * np.uint8(64) is 0."""
    names = ["n_bits", "max_iter", "batch_size", "n_candidates", "n_selected", "pretrain_iter"]
    given = {name: getattr(hasher, name) for name in names if hasattr(hasher, name)}
    given = {**given, "n_bits": 64, "batch_size": 64, "max_iter": 3}
    narrow = {name: np.uint8(value) for name, value in given.items()}
    expected = clone(hasher).set_params(**given).fit(X, paired.y)
    found = clone(hasher).set_params(**narrow).fit(X, paired.y)
    np.testing.assert_array_equal(found.objective_, expected.objective_)


def test_non_finite_loss_keeps_the_last_good_epoch(hasher, X, paired, monkeypatch):
    from sklearn_cmh.deep import _training

    train_epoch = _training._train_epoch

    def fail(task, epoch, *args):
        return None if epoch == 4 else train_epoch(task, epoch, *args)

    monkeypatch.setattr(_training, "_train_epoch", fail)
    with pytest.raises(FloatingPointError, match=r"epoch 5: lower learning_rate"):
        hasher.fit(X, paired.y)
    assert hasher.n_iter_ == 4 and hasher.codes_.shape == (120, 8)
    np.testing.assert_array_equal(hasher.transform(X), hasher.codes_)


@pytest.mark.parametrize("scale", [1e300, 1e39, 1e-200])
@pytest.mark.parametrize("sparsity", [np.asarray, sparse.csr_array])
def test_features_beyond_single_precision_are_refused(hasher, X, paired, scale, sparsity):
    data = MultimodalData(image=X["image"], text=sparsity(X["text"] * scale))
    with pytest.raises(ValueError, match=r"'text' is .* rescale"):
        hasher.fit(data, paired.y)
    assert not hasattr(hasher, "codes_")
    hasher.fit(X, paired.y)
    with pytest.raises(ValueError, match=r"120 of 120 rows of 'text' .* rescale"):
        hasher.encode(X["text"] * 1e300, modality="text")


def test_a_loss_that_is_never_finite_leaves_no_state(X, paired):
    data = MultimodalData(image=X["image"], text=X["text"] * 1e25)
    hasher = clone(HASHERS[0]).set_params(network={"text": "multiscale"}, width=2)
    with pytest.raises(FloatingPointError, match=r"rescale the features.*Nothing was learned"):
        hasher.fit(data, paired.y)
    assert not hasattr(hasher, "codes_")


def test_interrupted_fit(hasher, X, paired, monkeypatch):
    from sklearn_cmh.deep import _training

    train_epoch = _training._train_epoch

    def interrupt(task, epoch, *args):
        if epoch == 3:
            raise KeyboardInterrupt
        return train_epoch(task, epoch, *args)

    monkeypatch.setattr(_training, "_train_epoch", interrupt)
    with pytest.warns(ConvergenceWarning, match="interrupted after 3 complete epochs"):
        hasher.fit(X, paired.y)
    np.testing.assert_array_equal(hasher.transform(X), hasher.codes_)


def test_callbacks_count_epochs_and_can_stop_a_fit(hasher, X, paired):
    pytest.importorskip("sklearn.callback", reason="scikit-learn < 1.9 has no callbacks")

    class StopAfterThree:
        max_propagation_depth = 0

        def setup(self, estimator, context):
            self.n_epochs = context.max_subtasks

        def teardown(self, estimator, context):
            pass

        def on_fit_task_begin(self, estimator, context):
            pass

        def on_fit_task_end(self, estimator, context):
            return context.task_name == "epoch" and context.task_id == 2

    callback = StopAfterThree()
    hasher.set_callbacks(callback).fit(X, paired.y)
    assert callback.n_epochs == hasher.max_iter
    assert hasher.n_iter_ == 3
    np.testing.assert_array_equal(hasher.transform(X), hasher.codes_)


@pytest.mark.parametrize("widths", [(0,), (8, -3), (8.7,), (True,)])
def test_bad_widths_are_refused(hasher, X, paired, widths):
    with pytest.raises(ValueError, match="hidden must hold whole numbers"):
        hasher.set_params(hidden=widths).fit(X, paired.y)


@pytest.mark.parametrize("option", [{"image_shape": (2, 3, 1)}, {"pretrained": "weights.pt"}])
def test_ignored_options_of_pictures_are_reported(X, paired, option):
    (name,) = option
    with pytest.warns(UserWarning, match=f"{name} has no effect"):
        DSPAH(**TINY, max_iter=1, **option).fit(X, paired.y)


def test_pictures_between_0_and_1_are_reported():
    X, y = pictures()
    X = MultimodalData(image=X["image"] / np.float32(255), text=X["text"])
    with pytest.warns(UserWarning, match="'image' have no value above 1"):
        DSPAH(8, width=4, max_iter=1, random_state=0).fit(X, y)


class Normalised(torch.nn.Module):
    """Finite on a row of zeros, but its gradient is not."""

    def __init__(self, shape, n_bits):
        super().__init__()
        self.hidden = torch.nn.Linear(shape[0], 8, bias=False)
        self.last = torch.nn.Linear(8, n_bits)

    def forward(self, x):
        h = self.hidden(x)
        return self.last(h / ((h * h).sum(1, keepdim=True).sqrt() + 1e-6))


def test_training_goes_on_after_a_loss_that_was_not_finite(paired):
    hasher = DSPAH(8, network=Normalised, batch_size=32, random_state=0)
    good = MultimodalData(**paired.blocks)
    bad = {name: block.copy() for name, block in paired.blocks.items()}
    bad["image"][7] = 0
    hasher.partial_fit(good, paired.y)
    with pytest.raises(FloatingPointError, match="not finite"):
        hasher.partial_fit(MultimodalData(**bad), paired.y)
    hasher.partial_fit(good, paired.y)
    assert np.isfinite(hasher.objective_).all()


@pytest.mark.parametrize(
    "change", [{"optimiser": "sgd", "learning_rate": 0.1}, {"updates": "alternating"}], ids=str
)
def test_warm_start_with_another_optimiser(X, paired, change):
    hasher = DSPAH(**TINY, max_iter=3, warm_start=True).fit(X, paired.y)
    back = {name: getattr(hasher, name) for name in change}
    hasher.set_params(**change).fit(X, paired.y).set_params(**back).fit(X, paired.y)
    assert hasher.n_iter_ == 9


def test_early_stopping_needs_rows_that_share_a_label():
    X, y = np.random.RandomState(0).randn(40, 5), np.arange(40) % 20
    hasher = DSPAH(**TINY, early_stopping=True, validation_fraction=0.05)
    with pytest.raises(ValueError, match="raise validation_fraction"):
        hasher.fit(X, y)


@pytest.mark.parametrize("n", [3, 7])
def test_batches_of_two(hasher, X, paired, n):
    hasher.set_params(batch_size=2, max_iter=1).fit(X[:n], np.arange(n) % 2)
    assert hasher.codes_.shape == (n, 8)


def test_constant_bits_are_reported(X, paired):
    def constant(shape, n_bits):
        network = torch.nn.Linear(*shape, n_bits)
        torch.nn.init.constant_(network.bias, 1e6)
        return network

    hasher = DSPAH(4, network=constant, max_iter=1, random_state=0)
    with pytest.warns(ConvergenceWarning, match="4 of 4 bits"):
        hasher.fit(X, paired.y)


def test_a_modality_with_one_code_for_all_rows_is_reported(X, paired):
    def blind(shape, n_bits):
        return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.ReLU(), Zero(n_bits))

    class Zero(torch.nn.Module):
        def __init__(self, n_bits):
            super().__init__()
            self.bias = torch.nn.Parameter(torch.zeros(n_bits))

        def forward(self, x):
            return 0 * x[:, :1] + self.bias

    hasher = clone(HASHERS[0]).set_params(network={"text": blind})
    with pytest.warns(ConvergenceWarning, match="Every row of 'text' is encoded alike"):
        hasher.fit(X, paired.y)


def test_without_torch():
    code = """
import sys
import numpy as np

class NoTorch:
    def find_spec(self, name, path=None, target=None):
        if name == "torch":
            raise ImportError(name)

sys.meta_path.insert(0, NoTorch())
from sklearn_cmh.deep import DCMH, DSPAH, SCHGAN, SSAH
for cls in (DCMH, DSPAH, SCHGAN, SSAH):
    try:
        cls(8).fit(np.random.rand(10, 3), np.arange(10) % 2)
    except ImportError as error:
        assert 'pip install "sklearn-cmh[torch]"' in str(error), error
    else:
        raise AssertionError
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_importing_does_not_import_torch():
    code = "import sys, sklearn_cmh, sklearn_cmh.deep; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
