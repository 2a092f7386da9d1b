"""The reader of .mat files: what scipy reads, and no harm from any file; its layouts."""

import struct
import tracemalloc
import zlib

import numpy as np
import pytest
from scipy import sparse
from scipy.io import loadmat, savemat

from sklearn_cmh import DSAH
from sklearn_cmh.datasets import load_mat
from sklearn_cmh.datasets._mat import read_mat

MIB = 2**20
RNG = np.random.RandomState(0)
ARRAYS = {
    **{
        f"a_{dtype}": (100 * RNG.rand(7, 5)).astype(dtype)
        for dtype in ("f8", "f4", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "bool")
    },
    "pixels": RNG.randint(0, 256, (3, 4, 5, 2)).astype(np.uint8),
    "row": np.arange(4.0)[None],
    "x": np.array([[1.5]]),
    "nothing": np.zeros((0, 3)),
    "s": sparse.csc_array(RNG.rand(9, 6) * (RNG.rand(9, 6) < 0.3)),
    "zero": sparse.csc_array((4, 3)),
    "a_very_long_name_of_an_array_x": np.eye(2),
}


@pytest.fixture(params=[True, False], ids=["compressed", "plain"])
def path(request, tmp_path):
    savemat(tmp_path / "arrays.mat", ARRAYS, do_compression=request.param)
    return tmp_path / "arrays.mat"


def test_reads_what_scipy_wrote(path):
    for source in (path, path.read_bytes()):
        arrays = read_mat(source, [*ARRAYS, "absent"], max_bytes=MIB)
        assert set(arrays) == set(ARRAYS)
        for name, array in ARRAYS.items():
            assert arrays[name].dtype == array.dtype and arrays[name].shape == array.shape
            assert abs(arrays[name].astype(float) - array.astype(float)).sum() == 0
    assert set(read_mat(path, ["s", "x"], max_bytes=MIB)) == {"s", "x"}


def test_reads_what_matlab_wrote(shared_data):
    path = shared_data / "wikiData.mat"
    expected = loadmat(path)
    names = [name for name in expected if not name.startswith("_")]
    arrays = read_mat(path, names, max_bytes=16 * MIB)
    assert set(arrays) == set(names)
    for name in names:
        np.testing.assert_array_equal(arrays[name], expected[name])


def test_no_bit_flip_does_harm(path):
    content, rng = path.read_bytes(), np.random.RandomState(1)
    refused = 0
    # Everywhere in the beginnings of arrays, and here and there.
    for at in [*range(100, 700), *rng.randint(0, len(content), 600)]:
        damaged = bytearray(content)
        damaged[at] ^= 1 << rng.randint(8)
        try:
            arrays = read_mat(bytes(damaged), ARRAYS, max_bytes=MIB)
        except ValueError:
            refused += 1
        else:
            assert sum(a.data.nbytes for a in arrays.values()) < MIB
    assert refused > 100


def test_no_cut_does_harm(path):
    content = path.read_bytes()
    for size in range(0, len(content), 13):
        try:
            arrays = read_mat(content[:size], ARRAYS, max_bytes=MIB)
        except ValueError:
            continue
        assert len(arrays) < len(ARRAYS)


def element(kind, data, order="<"):
    return struct.pack(f"{order}II", kind, len(data)) + data + bytes(-len(data) % 8)


def mat_file(shape, stored, *, code=6, flags=0, name=b"A", kind=2, order="<", compress=False):
    """A file of one array, written by hand: whatever the format allows."""
    head = element(6, struct.pack(f"{order}II", code | flags, 0), order)
    head += element(5, struct.pack(f"{order}{len(shape)}i", *shape), order)
    matrix = element(14, head + element(1, name, order) + element(kind, stored, order), order)
    if compress:
        packed = zlib.compress(matrix)
        matrix = struct.pack(f"{order}II", 15, len(packed)) + packed
    return bytes(124) + (b"\x00\x01IM" if order == "<" else b"\x01\x00MI") + matrix


@pytest.mark.parametrize("order", "<>")
def test_both_orders_of_bytes_and_small_storage(order):
    A = read_mat(mat_file((2, 3), bytes(range(6)), order=order), ["A"], max_bytes=100)["A"]
    assert A.dtype == np.float64 and A.tolist() == [[0, 2, 4], [1, 3, 5]]
    shorts = np.array([500, -2]).astype(f"{order}i2").tobytes()
    A = read_mat(mat_file((1, 2), shorts, kind=3, order=order), ["A"], max_bytes=100)["A"]
    assert A.tolist() == [[500, -2]]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (mat_file((2, 3), bytes(6), flags=0x0800), "A holds complex numbers"),
        (mat_file((1, 1), bytes(6), code=1), "A is a cell array, no array of numbers"),
        (mat_file((1, 1), bytes(6), code=4), "A is text"),
        (mat_file((2, 3), bytes(5)), "damaged"),
        (mat_file((2, -3), bytes(6)), "damaged"),
        (mat_file((2**31 - 1,) * 4, bytes(6)), "takes more than"),
        (mat_file((2, 3), bytes(6), kind=77), "damaged"),
        (b"MATLAB 7.3 MAT-file".ljust(600), "save it in MATLAB by .*-v7"),
        (b"text" * 100, "no header"),
    ],
)
def test_what_is_refused(content, message):
    with pytest.raises(ValueError, match=message):
        read_mat(content, ["A"], max_bytes=1000)
    if content[126:128] == b"IM" and b"damaged" not in message.encode():
        assert read_mat(content, ["B"], max_bytes=1000) == {}


@pytest.mark.parametrize(
    ("rows", "ends"),
    [([0, 9], [0, 1, 2]), ([0, -1], [0, 1, 2]), ([0, 1], [0, 2, 1]), ([0, 1], [0, 1, 3])],
)
def test_sparse_indices_are_checked(rows, ends):
    parts = [element(5, np.array(part, "<i4").tobytes()) for part in (rows, ends)]
    values = element(9, np.ones(2).tobytes())
    whole = mat_file((3, 2), b"", code=5)
    body = whole[136:-8] + b"".join(parts) + values
    with pytest.raises(ValueError, match="damaged"):
        read_mat(whole[:128] + element(14, body), ["A"], max_bytes=1000)


@pytest.mark.parametrize("small", [True, False])
def test_memory_is_bounded(small):
    """Zeros that unfold a thousandfold, and bytes that stand for eight each."""
    n = 20 * MIB if not small else 2 * MIB
    content = mat_file((1, n), bytes(n), code=9 if not small else 6, compress=True)
    assert len(content) < 100_000
    for names in (["A"], ["B"]):
        tracemalloc.start()
        try:
            if names == ["A"]:
                with pytest.raises(ValueError, match="more than"):
                    read_mat(content, names, max_bytes=4 * MIB)
            else:
                assert read_mat(content, names, max_bytes=4 * MIB) == {}
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert peak < 6 * MIB


def test_a_large_file_is_not_read_before_it_is_refused(tmp_path):
    path, n = tmp_path / "large.mat", 64 * MIB
    content = mat_file((1, n), b"", code=9)
    head = content[136:-8]
    with open(path, "wb") as file:
        file.write(content[:128] + struct.pack("<II", 14, len(head) + 8 + n))
        file.write(head + struct.pack("<II", 2, n))
        file.truncate(file.tell() + n)
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="A takes more than 1,048,576 bytes"):
            read_mat(path, ["A"], max_bytes=MIB)
        assert read_mat(path, ["B"], max_bytes=MIB) == {}
        assert tracemalloc.get_traced_memory()[1] < MIB
    finally:
        tracemalloc.stop()
    assert read_mat(path, ["A"], max_bytes=n)["A"].shape == (1, n)


# --- load_mat -------------------------------------------------------------------------


def flickr_like(suffix, n):
    """MIRFlickr-25K as files with its split have it: features, tags and 24 labels."""
    return {
        f"I_{suffix}": RNG.rand(n, 16).astype(np.float32),
        f"T_{suffix}": (RNG.rand(n, 30) < 0.1).astype(np.uint8),
        f"L_{suffix}": (RNG.rand(n, 24) < 0.2).astype(np.float64),
    }


@pytest.mark.parametrize("tags", [np.asarray, sparse.csc_array], ids=["dense", "sparse"])
def test_a_file_with_its_split(tmp_path, tags):
    arrays = flickr_like("tr", 20) | flickr_like("te", 7)
    for name in ("T_tr", "T_te"):
        arrays[name] = tags(arrays[name].astype(float))
    savemat(tmp_path / "flickr.mat", arrays, do_compression=True)
    flickr = load_mat(tmp_path / "flickr.mat")
    assert flickr.data.shape == (27, 46) and flickr.data["image"].dtype == np.float32
    for part, suffix in (("train", "tr"), ("test", "te")):
        rows = flickr.data[flickr[part]]
        np.testing.assert_array_equal(rows["image"], arrays[f"I_{suffix}"])
        assert abs(rows["text"] - arrays[f"T_{suffix}"]).sum() == 0
        np.testing.assert_array_equal(flickr.target[flickr[part]], arrays[f"L_{suffix}"])
    X, Y = load_mat(str(tmp_path / "flickr.mat"), return_X_y=True)
    assert Y.dtype == np.int8 and sparse.issparse(X["text"]) == (tags is not np.asarray)
    assert DSAH(8, n_anchors=10).fit(X, Y).codes_.shape == (27, 8)


def test_a_single_column_of_labels(tmp_path):
    arrays = flickr_like("tr", 6) | flickr_like("te", 3)
    arrays |= {"L_tr": np.arange(6)[:, None] % 3, "L_te": np.array([[2], [0], [1]])}
    savemat(tmp_path / "labels.mat", arrays)
    assert load_mat(tmp_path / "labels.mat").target.tolist() == [0, 1, 2, 0, 1, 2, 2, 0, 1]


@pytest.mark.parametrize("axes", [(0, 1, 2, 3), (1, 2, 3, 0), (0, 3, 1, 2), (3, 1, 2, 0)])
def test_pictures_tags_and_labels_of_all_rows(tmp_path, axes):
    pixels = RNG.randint(0, 256, (9, 4, 5, 3)).astype(np.uint8)
    tags, labels = RNG.rand(9, 12), (RNG.rand(9, 5) < 0.4).astype(np.uint8)
    arrays = {"images": pixels.transpose(axes), "YAll": tags, "LAll": labels}
    savemat(tmp_path / "whole.mat", arrays)
    whole = load_mat(tmp_path / "whole.mat")
    assert set(whole) == {"data", "target"}
    np.testing.assert_array_equal(whole.data["image"], pixels)
    np.testing.assert_array_equal(whole.data["text"], tags)
    np.testing.assert_array_equal(whole.target, labels)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"L_te": None}, r"another layout: of its variables, only \['I_te', .*expected are I_tr"),
        ({"T_tr": np.eye(20)}, "training and test rows have different columns"),
        ({"I_te": np.eye(6)}, "the rows of I_te, T_te, L_te do not agree"),
        ({"I_te": np.full((7, 16), np.nan)}, "I_te holds NaN or infinite"),
        ({"L_te": np.full((7, 24), 2.0)}, "L_te of shape .* zeros and ones"),
        ({"L_te": np.full((7, 24), 0.5)}, "L_te must hold .* whole numbers"),
        ({"I_tr": np.zeros((20, 4, 4, 2))}, "I_tr of shape .* are no pictures"),
        ({"T_te": np.full((7, 30), 1j)}, "T_te holds complex numbers"),
        ({"I_tr": np.full((20, 4, 4, 3), np.inf)}, "I_tr holds NaN or infinite"),
        ({"L_te": np.full((7, 1), 1e300)}, "L_te holds labels beyond"),
        ({"L_te": np.full((7, 1), 2**64 - 1, dtype=np.uint64)}, "L_te holds labels beyond"),
    ],
)
def test_files_that_do_not_agree(tmp_path, change, message):
    arrays = flickr_like("tr", 20) | flickr_like("te", 7) | change
    savemat(tmp_path / "bad.mat", {k: v for k, v in arrays.items() if v is not None})
    with pytest.raises(ValueError, match=rf"bad\.mat.*{message}"):
        load_mat(tmp_path / "bad.mat")


def test_too_large_and_absent(tmp_path):
    savemat(tmp_path / "large.mat", flickr_like("tr", 50) | flickr_like("te", 7))
    with pytest.raises(ValueError, match=r"large\.mat .*more than"):
        load_mat(tmp_path / "large.mat", max_bytes=5000)
    with pytest.raises(FileNotFoundError, match=r"no file .*absent\.mat"):
        load_mat(tmp_path / "absent.mat")
