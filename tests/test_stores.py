"""Stores: the answers of HammingRanker, with conditions, after a crash, after bad input."""

import datetime
import os
import pwd
import re
import shutil
import subprocess
import sys
from functools import partial
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("pyarrow", reason="pyarrow, which all stores need, is not installed")
import pandas as pd
import polars as pl
import pyarrow as pa
from killed_load import BATCH, N_ROWS, killed_loads
from killed_load import rows as rows_to_load
from numpy.testing import assert_array_equal

from sklearn_cmh import HammingRanker
from sklearn_cmh.retrieval.stores import DuckDBStore, FaissStore, LanceStore, PostgresStore

KINDS = {
    "faiss": ("faiss", "_faiss", 53),
    "multi_hash": ("faiss", "_faiss", 97),
    "duckdb": ("duckdb", "_duckdb", 61),
    "lance": ("lancedb", "_lance", 67),
    "postgres": ("psycopg", "_postgres", 37),
}
"""Package that a store needs, module that loads it, and lines between two kills of it."""

ODD = "odd \"name\" with %s, %, ? and 'quotes'"
"""Name of a table or column that has to be quoted."""

LANCE_TABLE = "codes-of.2026"
"""LanceDB has narrower rules for tables."""


# --- Stores and rows --------------------------------------------------------------------------


def postgres_programs():
    """Directory of a server's programs, version 14 or newer, or None."""
    found = [*Path("/usr/lib/postgresql").glob("*/bin"), *map(Path, os.environ["PATH"].split(":"))]
    for folder in found:
        if (folder / "initdb").exists() and (folder / "pg_ctl").exists():
            version = subprocess.run(
                [folder / "initdb", "--version"], capture_output=True, text=True, check=True
            ).stdout
            if int(re.search(r"\d+", version)[0]) >= 14:
                return folder
    return None


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    """Connection string of a PostgreSQL server, started as a user without privileges."""
    programs = postgres_programs()
    if programs is None:
        pytest.skip("no PostgreSQL of version 14 or newer: apt-get install postgresql")
    # Sockets have short paths, and the user of the server has to get there.
    folder = Path("/tmp") / f"stores-{os.getpid()}"
    folder.mkdir()
    user = None
    if os.geteuid() == 0:
        users = {entry.pw_name for entry in pwd.getpwall()}
        user = "postgres" if "postgres" in users else "nobody"
        shutil.chown(folder, user)
    run = partial(
        subprocess.run, check=True, user=user, cwd=folder, stdout=subprocess.DEVNULL, env={}
    )
    data = folder / "data"
    initdb = [programs / "initdb", "-D", data, "-A", "trust", "-U", "search", "--no-sync"]
    run([*initdb, "-E", "UTF8", "--locale=C.UTF-8"])
    options = f"-k {folder} -c listen_addresses='' -c fsync=off"
    server = [programs / "pg_ctl", "-D", data, "-w", "-l", folder / "log"]
    run([*server, "-o", options, "start"])
    try:
        yield f"host={folder} user=search dbname=postgres"
    finally:
        run([*server, "-m", "immediate", "stop"])
        shutil.rmtree(folder)


@pytest.fixture(params=KINDS)
def kind(request):
    package = KINDS[request.param][0]
    pytest.importorskip(package, reason=f"{package} is not installed")
    return request.param


@pytest.fixture
def arguments(kind, tmp_path, request):
    """Arguments of the store's class, without options."""
    if kind != "postgres":
        return (tmp_path / "store",)
    connection = request.getfixturevalue("server")
    psycopg = import_module("psycopg")
    with psycopg.connect(connection, autocommit=True) as administrator:
        administrator.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    return (connection,)


@pytest.fixture
def open_store(kind, arguments):
    """Open the store of the test, anew every time."""
    opened = []
    tables = {"duckdb": ODD, "postgres": ODD, "lance": LANCE_TABLE}
    options = {"table": tables[kind]} if kind in tables else {}
    if kind == "multi_hash":
        options = {"index": "multi_hash"}
    cls = {"duckdb": DuckDBStore, "lance": LanceStore, "postgres": PostgresStore}.get(
        kind, FaissStore
    )

    def open_it(**more):
        opened.append(cls(*arguments, **options, **more))
        return opened[-1]

    yield open_it
    for store in opened:
        store.close()


def clustered(rng, n, n_bits):
    """Codes with many equal distances, as supervised ones have."""
    centres = rng.choice([-1, 1], size=(8, n_bits)).astype(np.int8)
    codes = centres[rng.integers(0, len(centres), n)]
    codes[np.arange(n), rng.integers(0, n_bits, n)] *= -1
    return codes


@pytest.fixture(scope="module")
def rows():
    """400 codes with string ids and a payload with missing values, and queries."""
    rng = np.random.default_rng(0)
    n = 400
    codes = clustered(rng, n, 20)
    ids = np.array([f"id {i}" for i in rng.permutation(n)], dtype=object)
    payload = pd.DataFrame(
        {
            "kind": pd.Categorical(rng.choice(["cat", "it's", '"', "%s", "?", "", "\\.\n"], n)),
            "year": rng.integers(2000, 2020, n).astype(np.int16),
            ODD.replace("`", ""): np.where(rng.random(n) < 0.2, np.nan, rng.normal(size=n)),
            "is_new": rng.random(n) < 0.5,
            "seen": pd.Timestamp("2020-01-01") + pd.to_timedelta(rng.integers(0, 900, n), "h"),
        }
    )
    queries = np.concatenate([codes[:5], rng.choice([-1, 1], size=(5, 20)).astype(np.int8)])
    return SimpleNamespace(n=n, codes=codes, ids=ids, payload=payload, queries=queries)


def batches(rows, size=150):
    for i in range(0, rows.n, size):
        yield rows.codes[i : i + size], rows.ids[i : i + size], rows.payload[i : i + size]


def assert_finds(store, rows, keep=slice(None), k=50, where=None):
    """The store's answers are those of HammingRanker on the rows to keep."""
    codes, ids = rows.codes[keep], rows.ids[keep]
    ranker = HammingRanker().fit(codes)
    expected, positions = ranker.kneighbors(rows.queries, min(k, len(codes)))
    distances, found = store.kneighbors(rows.queries, k, where=where)
    assert_array_equal(distances, expected)
    assert_array_equal(found, ids[positions])
    assert distances.dtype == np.int32 and found.dtype == object


# --- Answers ----------------------------------------------------------------------------------


@pytest.mark.parametrize("k", [1, 7, 400])
def test_answers_are_those_of_the_ranker(open_store, rows, k):
    open_store().load(batches(rows)).close()
    store = open_store()
    assert len(store) == rows.n and store.n_bits_ == 20
    assert_finds(store, rows, k=k)
    single = store.kneighbors(rows.queries[:1], k, return_distance=False)
    assert_array_equal(single, store.kneighbors(rows.queries, k)[1][:1])


@pytest.mark.parametrize("kind", ["lance"], indirect=True)
@pytest.mark.parametrize("k", [1, 5, 60])
def test_rows_at_one_distance_beyond_those_first_asked_for(open_store, rows, k, monkeypatch):
    """Ties are in order of position, however many there are."""
    _lance = import_module("sklearn_cmh.retrieval.stores._lance")
    monkeypatch.setattr(_lance, "SLACK", 2)
    store = open_store().load(batches(rows))
    assert_finds(store, rows, k=k)
    keep = np.flatnonzero(rows.payload.year > 2010)
    assert_finds(store, rows, keep, k=k, where=[("year", ">", 2010)])


@pytest.mark.parametrize("kind", ["lance"], indirect=True)
def test_more_ids_than_a_query_lists(open_store, rows, monkeypatch):
    _lance = import_module("sklearn_cmh.retrieval.stores._lance")
    store = open_store().load(batches(rows))
    wanted = rows.ids[::3]
    expected = store.get(wanted)
    monkeypatch.setattr(_lance, "LISTED", 10)
    assert store.get(wanted).equals(expected)


def test_conditions(open_store, rows):
    store = open_store().load(batches(rows))
    frame, number = rows.payload, ODD
    day = datetime.datetime(2020, 1, 15)
    conditions = [
        ([("kind", "==", "it's")], frame.kind == "it's"),
        ([("kind", "!=", '"'), ("kind", "!=", "%s")], ~frame.kind.isin(['"', "%s"])),
        ([("kind", "<", "a")], frame.kind.astype(str) < "a"),
        ([("year", ">", np.int64(2010)), ("kind", "in", {"", "?"})],
         (frame.year > 2010) & frame.kind.isin(["", "?"])),
        ([("year", "not in", [2001, 2002])], ~frame.year.isin([2001, 2002])),
        ([(number, "<=", 0.25)], frame[number] <= 0.25),
        ([(number, "!=", 7.0)], frame[number].notna()),
        ([(number, "not in", [])], frame[number].notna()),
        ([("is_new", "==", True), ("seen", ">=", day)], frame.is_new & (frame.seen >= day)),
        ([("id", "in", list(rows.ids[:60:2]))], np.isin(rows.ids, rows.ids[:60:2])),
        ([], np.ones(rows.n, dtype=bool)),
    ]  # fmt: skip
    for where, mask in conditions:
        keep = np.flatnonzero(mask)
        assert 0 < len(keep)
        assert_finds(store, rows, keep, where=where)
    for where in ([("year", "==", 1999)], [("kind", "in", [])]):
        distances, ids = store.kneighbors(rows.queries, where=where)
        assert distances.shape == ids.shape == (len(rows.queries), 0)
        assert (distances.dtype, ids.dtype) == (np.int32, object)


def test_ids_and_payload_come_back(open_store, rows):
    store = open_store().load(batches(rows))
    ids = store.kneighbors(rows.queries, 300, return_distance=False)[6]
    twice = np.concatenate([ids, ids[:3]])
    expected = rows.payload.set_index(rows.ids).loc[list(twice)]
    table = store.get(twice)
    assert table["id"].to_pylist() == list(twice)
    for name in rows.payload:
        values = pa.array(expected[name], from_pandas=True)
        values = values.dictionary_decode() if name == "kind" else values
        assert table[name].to_pylist() == values.cast(table[name].type).to_pylist()
    with pytest.raises(KeyError, match="1 ids are not in the store, such as 'nobody'"):
        store.get([ids[0], "nobody"])


@pytest.mark.parametrize("make", [pl.from_pandas, pa.Table.from_pandas, dict])
@pytest.mark.parametrize("kind", ["faiss", "duckdb"], indirect=True)
def test_forms_of_payload(open_store, rows, make):
    plain = rows.payload.drop(columns="seen").astype({"kind": str})
    payload = make(plain)
    if make is dict:
        payload = {name: list(plain[name]) for name in plain}
    store = open_store().add(rows.codes, rows.ids, payload)
    assert_finds(store, rows, np.flatnonzero(plain.year >= 2010), where=[("year", ">=", 2010)])
    found = store.get(rows.ids)[ODD].to_pylist()
    assert found == plain[ODD].astype(object).where(plain[ODD].notna(), None).to_list()


def test_ids_count_rows_where_there_are_none(open_store):
    rng = np.random.default_rng(1)
    codes = clustered(rng, 90, 13)
    bits = np.packbits(codes > 0, axis=1)
    store = open_store(packed=True, n_bits=13)
    store.add(bits[:30]).add(bits[30:50])
    # A stream begins with row 0, and so with rows that are there.
    store.load([(bits[:60], None, None), (bits[:0], None, None), (bits[60:], None, None)])
    assert len(store) == 90 and store.n_bits_ == 13
    distances, ids = store.kneighbors(bits[:9], 90)
    expected, positions = HammingRanker(packed=True, n_bits=13).fit(bits).kneighbors(bits[:9], 90)
    assert_array_equal(distances, expected)
    assert_array_equal(ids, positions)
    assert ids.dtype == np.int64
    assert store.get([7, 3]).to_pydict() == {"id": [7, 3]}


def test_wide_codes(open_store):
    rng = np.random.default_rng(2)
    codes = clustered(rng, 50, 300)
    store = open_store().add(codes)
    for found, expected in zip(
        store.kneighbors(codes, 50), HammingRanker().fit(codes).kneighbors(codes, 50), strict=True
    ):
        assert_array_equal(found, expected)


# --- Loads that end early ---------------------------------------------------------------------


def test_killed_loads_lose_and_double_nothing(kind, arguments, open_store):
    codes, ids, _ = rows_to_load()
    name = {"duckdb": "DuckDBStore", "lance": "LanceStore", "postgres": "PostgresStore"}
    whole = SimpleNamespace(codes=codes, ids=np.array(ids, dtype=object), queries=codes[:4])
    _, module, step = KINDS[kind]
    n_kills, n_before = 0, 0
    options = {} if kind in ("faiss", "multi_hash") else {"table": "codes"}
    cls = getattr(import_module("sklearn_cmh.retrieval.stores"), name.get(kind, "FaissStore"))
    for _ in killed_loads(cls.__name__, arguments, module, step):
        n_kills += 1
        with cls(*arguments, **options) as store:
            n = len(store)
            assert n_before <= n < N_ROWS + 1 and n % BATCH == 0
            if n:
                assert_finds(store, whole, slice(0, n), k=n)
        n_before = n
    assert n_kills >= 2
    with cls(*arguments, **options) as store:
        assert len(store) == N_ROWS
        assert_finds(store, whole, k=N_ROWS)


def test_load_tells_how_far_it_is(open_store, rows, capsys):
    store = open_store()
    name = type(store).__name__
    parts = list(batches(rows))
    store.load(parts[:1], verbose=1)
    store.load(batches(rows, 200), verbose=1)
    assert capsys.readouterr().out.splitlines() == [
        f"[{name}] 150 rows",
        f"[{name}] 200 rows, 150 of them found in the store",
        f"[{name}] 400 rows, 150 of them found in the store",
    ]
    assert_finds(store, rows)


@pytest.mark.parametrize("kind", ["faiss", "multi_hash", "postgres"], indirect=True)
def test_two_that_write_in_turns(open_store, rows, kind):
    first, second = open_store(), None
    for i, (codes, ids, payload) in enumerate(batches(rows, 100)):
        second = second or (open_store() if i else None)
        (second if i % 2 else first).add(codes, ids, payload)
    assert_finds(first, rows)
    assert_finds(second, rows)


# --- Bad input --------------------------------------------------------------------------------


def bad_rows(rows):
    codes, ids, payload = rows.codes[:4], [f"new {i}" for i in range(4)], rows.payload[:4]
    yield (codes[:, :9], ids, payload), "9 bits, but those in the store have 20"
    yield (codes * 0.5, ids, payload), "must hold binary codes"
    yield (np.zeros((4, 20), np.uint8) + 9, ids, payload), "packed=True"
    yield (codes, ids[:3], payload), "4 codes, but 3 ids"
    yield (codes, [1, 2, 3, 4], payload), "type int64, but those in the store of type string"
    yield (codes, None, payload), "type int64, but those in the store of type string"
    yield (codes, [True] * 4, payload), "ids must be integers, or strings; got bool"
    yield (codes, [*ids[:3], None], payload), "1 are missing"
    yield (codes, [*ids[:3], "new 0"], payload), "'new 0' stand there more than once"
    yield (codes, [*ids[:3], 1], payload), "ids must be integers, or strings"
    yield (codes, [[1], [2], [3], [4]], payload), "ids must be integers, or strings"
    yield (codes, ids, payload.assign(year=[1, "x", [2], 3])), "'year' of payload"
    yield (codes, ids, payload.set_axis(["year"] * payload.shape[1], axis=1)), "different names"
    yield (codes, ids, payload.rename(columns={"year": ""})), "must be named by strings"
    yield (codes, ids, None), r"payload has the columns \[\]"
    yield (codes, ids, payload[:3]), "4 codes, but the column 'kind' of payload has 3"
    yield (codes, ids, payload.drop(columns="year")), "payload has the columns"
    yield (codes, ids, payload.assign(year="x")), "'year' of payload is of type int64"
    yield (codes, ids, payload.assign(year=2.5)), "'year' of payload is of type int64"
    yield (codes, ids, payload.assign(ID=1)), "names that stores use themselves"
    yield (codes, ids, payload.assign(Kind="x")), "more than upper and lower case"
    yield (codes, ids, payload.assign(**{"x" * 64: 1})), "longer than the 63 bytes"
    yield (codes, ids, payload.assign(year=[[1]] * 4)), "'year' of payload is of type list"
    yield (codes, ids, payload.assign(seen=pd.Timestamp("2020", tz="UTC"))), "times without a zone"


def test_bad_rows_change_nothing(open_store, rows):
    store = open_store().load(batches(rows))
    for bad, message in bad_rows(rows):
        with pytest.raises(ValueError, match=message):
            store.add(*bad)
        with pytest.raises(ValueError, match=message):
            store.load([bad])
    with pytest.raises(TypeError, match="payload must be a DataFrame"):
        store.add(rows.codes[:4], list("abcd"), [1, 2, 3, 4])
    with pytest.raises(ValueError, match=r"tuple \(codes, ids, payload\)"):
        store.load([rows.codes[:4]])
    mixed = [*rows.ids[:1], "a", "b", "c"]
    with pytest.raises(
        ValueError, match="ids must be new; 1 of them are in the store, such as 'id"
    ):
        store.add(rows.codes[:4], mixed, rows.payload[:4])
    with pytest.raises(ValueError, match="in the store with another code, as are 0 more"):
        store.load([(rows.codes[1:5], mixed, rows.payload[1:5])])
    assert len(store) == rows.n
    assert_finds(store, rows)


def test_first_rows_need_known_types(open_store, rows):
    store = open_store()
    with pytest.raises(ValueError, match=r"columns \['when'\] of payload hold missing values only"):
        store.add(rows.codes[:2], payload={"when": [None, None]})
    assert len(store) == 0
    with pytest.raises(ValueError, match="is empty: store codes first"):
        store.kneighbors(rows.queries)
    store.add(rows.codes[:2], payload={"when": pa.array([None, None], pa.int64())})
    store.add(rows.codes[2:4], payload={"when": [None, None]})
    assert store.get([3]).to_pydict() == {"id": [3], "when": [None]}


def test_bad_queries(open_store, rows):
    store = open_store().load(batches(rows))
    bad = [
        (dict(X=rows.queries[:, :4]), "codes of 4 bits, but the store of 20"),
        (dict(n_neighbors=401), "between 1 and 400"),
        (dict(n_neighbors=0), "between 1 and 400"),
        (dict(n_neighbors=1.5), "n_neighbors must be an integer"),
        (dict(where="year > 2000"), "list of conditions"),
        (dict(where=("year", "==", 2000)), "list of conditions"),
        (dict(where=[("colour", "==", 1)]), "names the column 'colour'"),
        (dict(where=[("position", "==", 1)]), "names the column 'position'"),
        (dict(where=[("year", "=", 1)]), "operator in where"),
        (dict(where=[("year", "==", "2000")]), "'year', of type int64, with '2000'"),
        (dict(where=[("kind", "in", "cat")]), "no list of values"),
        (dict(where=[("year", "in", range(30_001))]), "lists 30001 values of 'year'"),
        (dict(where=[("kind", "==", None)]), "missing value"),
    ]
    for arguments, message in bad:
        with pytest.raises(ValueError, match=message):
            store.kneighbors(**{"X": rows.queries, **arguments})
    store.close()
    store.close()
    with pytest.raises(ValueError, match="is closed"):
        store.kneighbors(rows.queries)


@pytest.mark.parametrize("kind", ["faiss", "duckdb", "postgres"], indirect=True)
def test_errors_of_the_database_change_nothing(open_store, rows, kind):
    """Rows that pass all checks of this package, and of which the database finds an id twice."""
    store = open_store().load(batches(rows))
    engine = store._engine
    new = pa.table({"id": ["new", rows.ids[0]]})
    given, _ = store._read(rows.codes[:2], ["new", "other"], rows.payload[:2])
    given, layout = store._fitting(given, 20)
    with pytest.raises(Exception, match=r"(?i)unique|duplicate"):
        engine.append(given.set_column(0, "id", new["id"]), layout)
    assert_finds(store, rows)
    store.add(rows.codes[:2], ["new", "other"], rows.payload[:2])
    assert len(store) == rows.n + 2


@pytest.mark.parametrize("kind", ["duckdb", "postgres", "lance"], indirect=True)
def test_tables_of_others_are_refused(open_store, arguments, kind):
    if kind == "lance":
        lancedb = import_module("lancedb")
        lancedb.connect(os.fspath(arguments[0])).create_table(LANCE_TABLE, pa.table({"x": [1]}))
    else:
        connect = import_module({"duckdb": "duckdb", "postgres": "psycopg"}[kind]).connect
        with connect(*map(str, arguments)) as connection:
            quoted = ODD.replace('"', '""')
            connection.execute(f'CREATE TABLE "{quoted}" (x INT)')
    with pytest.raises(ValueError, match=r"is no store: it has the columns \['x'\]"):
        open_store()


@pytest.mark.parametrize(
    "cls, module, package, extra",
    [
        (FaissStore, "_faiss", "faiss", "faiss"),
        (DuckDBStore, "_duckdb", "duckdb", "duckdb"),
        (LanceStore, "_lance", "lancedb", "lance"),
        (PostgresStore, "_postgres", "psycopg", "postgres"),
    ],
)
def test_missing_packages_are_named(monkeypatch, tmp_path, cls, module, package, extra):
    monkeypatch.delitem(sys.modules, f"sklearn_cmh.retrieval.stores.{module}", raising=False)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ImportError, match=rf"{cls.__name__} needs {package}.*\[{extra}\]"):
        cls(tmp_path / "store")


def test_bad_parameters(tmp_path):
    pytest.importorskip("duckdb")
    with pytest.raises(ValueError, match="table must be a name of 1 to 63 bytes"):
        DuckDBStore(":memory:", table="x" * 64)
    with pytest.raises(ValueError, match="n_bits must be an integer"):
        DuckDBStore(":memory:", n_bits=0)
    with pytest.raises(ValueError, match='index must be "flat" or "multi_hash"'):
        FaissStore(tmp_path, index="ivf")


# --- One database only ------------------------------------------------------------------------


def test_faiss_index_is_an_index_of_faiss(tmp_path, rows):
    faiss = pytest.importorskip("faiss")
    with FaissStore(tmp_path) as store:
        store.add(rows.codes)
    index = faiss.read_index_binary(str(tmp_path / "codes.faiss"))
    assert type(index).__name__ == "IndexBinaryFlat" and index.ntotal == rows.n
    padded = np.packbits(rows.queries > 0, axis=1)
    expected = HammingRanker().fit(rows.codes).kneighbors(rows.queries, 9)
    for found, wanted in zip(index.search(padded, 9), expected, strict=True):
        assert_array_equal(found, wanted)
    # Another kind of index is built from the same rows, and one that has more of them refused.
    with FaissStore(tmp_path, index="multi_hash") as store:
        assert type(store.index_).__name__ == "IndexBinaryMultiHash"
        assert_array_equal(store.kneighbors(rows.queries, 9)[1], expected[1])
    (tmp_path / "rows.sqlite").unlink()
    with FaissStore(tmp_path, index="multi_hash") as store:
        with pytest.raises(ValueError, match="is empty"):
            store.index_
        store.add(rows.codes[:3])
        with pytest.raises(RuntimeError, match="do not belong together"):
            store.kneighbors(rows.queries, 1)
        (tmp_path / "codes.faiss").unlink()
        assert store.kneighbors(rows.codes[:3], 1)[1].ravel().tolist() == [0, 1, 2]


@pytest.mark.parametrize("n_bits", [8, 32, 48])
def test_multi_hash_is_exact_near_and_far(tmp_path, n_bits):
    pytest.importorskip("faiss")
    rng = np.random.default_rng(3)
    codes = clustered(rng, 300, n_bits)
    queries = np.concatenate([codes[:20], rng.choice([-1, 1], (20, n_bits)).astype(np.int8)])
    with FaissStore(tmp_path, index="multi_hash") as store:
        store.add(codes)
        for k in (1, 5, 60, 300):
            expected = HammingRanker().fit(codes).kneighbors(queries, k)
            for found, wanted in zip(store.kneighbors(queries, k), expected, strict=True):
                assert_array_equal(found, wanted)


def test_connections_of_postgres(server, rows):
    psycopg = pytest.importorskip("psycopg")
    with psycopg.connect(server) as connection:
        with pytest.raises(ValueError, match="autocommit"):
            PostgresStore(connection)
    with pytest.raises(TypeError, match="got int"):
        PostgresStore(5)
    with psycopg.connect(server, autocommit=True) as connection:
        with PostgresStore(connection, table="borrowed") as store:
            store.add(rows.codes)
        assert connection.execute("SELECT count(*) FROM borrowed").fetchone() == (rows.n,)


def test_lance_refuses_names_that_it_cannot_read(tmp_path, rows):
    pytest.importorskip("lancedb")
    with LanceStore(tmp_path) as store:
        with pytest.raises(ValueError, match=r"rename the columns \['a.b'\]"):
            store.add(rows.codes[:1], payload={"a.b": [1]})
        assert len(store) == 0
    with pytest.raises(ValueError, match="names are made of letters"):
        LanceStore(tmp_path, table=ODD)
