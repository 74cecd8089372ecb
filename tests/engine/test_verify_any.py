"""Wide rows, long values, every encoding and storage class: all are read right, and any change is found."""

from __future__ import annotations

import random
import re
import string
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg import sql

from migration.errors import PlanError
from migration.plan import ColumnPlan, TablePlan
from migration.sqlite.catalog import read_catalog
from migration.sqlite.snapshot import open_snapshot, snapshot_path
from migration.verify import source as source_module
from migration.verify.codecs import Column, codec_for
from migration.verify.source import BLOCK_BYTES, Source
from tests.conftest import Server
from tests.engine.verify_case import Case, Make, cases_of_t, found, numbered, one_database


@pytest.fixture(scope="module")
def dsn(postgres_server: Server) -> Iterator[str]:
    with one_database(postgres_server) as dsn:
        yield dsn


@pytest.fixture
def make(dsn: str, tmp_path: Path) -> Iterator[Make]:
    with cases_of_t(dsn, tmp_path) as make:
        yield make


@contextmanager
def own_memory() -> Iterator[list[int]]:
    """The KiB of memory that this process has for itself, without mapped files: at the beginning, and at most."""

    def now() -> int:
        found = re.search(r"RssAnon:\s+(\d+) kB", Path("/proc/self/status").read_text())
        assert found is not None
        return int(found[1])

    seen, done = [now(), now()], threading.Event()

    def watch() -> None:
        while not done.wait(0.002):
            seen[1] = max(seen[1], now())

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield seen
    finally:
        done.set()
        thread.join()


class TestSizes:
    """Wide rows, long values, many rows."""

    def test_a_table_with_more_columns_than_one_result_can_have(self, make: Make) -> None:
        names = [f"c{i}" for i in range(900)]
        columns = [sa.Column("id", sa.Integer, primary_key=True), *(sa.Column(n, sa.Text) for n in names)]
        case = make(columns, f"CREATE TABLE t (id INTEGER PRIMARY KEY, {', '.join(names)})")
        rows = [(i, *(f"{i % 10}" for j in range(900))) for i in range(3)]
        case.fill(f"INSERT INTO t VALUES ({', '.join('?' * 901)})", rows)
        case.stage("t", rows)
        assert case.verify("t")["values"] == 3 * 901
        case.spoil("t", "UPDATE {} SET c899 = 'x' WHERE id = 2")
        assert found(case) == [("[2]", "c899", "changed")]

    def test_a_long_value_costs_no_memory_of_its_size(self, make: Make) -> None:
        columns = [
            sa.Column("id", sa.Integer, primary_key=True),
            sa.Column("v", sa.Text),
            sa.Column("b", sa.LargeBinary),
        ]
        case = make(columns, "CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT, b BLOB)")
        case.fill("INSERT INTO t VALUES (1, 'x', x'00')")
        case.fill("INSERT INTO t VALUES (2, printf('%.*c', 40000000, 'x') || char(31), zeroblob(40000000))")
        case.fill("INSERT INTO t VALUES (3, NULL, NULL)")
        long = sql.SQL("repeat('x', 40000000) || chr(31)"), sql.SQL("decode(repeat('00', 40000000), 'hex')")
        case.stage("t", [(1, "x", b"\0"), (2, *long), (3, None, None)])
        with own_memory() as memory:
            case.verify("t")
        assert memory[1] - memory[0] < 20_000
        case.spoil("t", "UPDATE {} SET v = overlay(v PLACING 'y' FROM 30000000) WHERE id = 2")
        assert found(case) == [("[2]", "v", "changed")]

    def test_rows_of_any_length_come_in_blocks_of_bounded_size(self, make: Make) -> None:
        case = numbered(make, [(i, "x" * (500_000 if 300 < i % 1000 < 310 else 10)) for i in range(3000)])
        case.begin()
        snapshot = open_snapshot(snapshot_path(case.job))
        columns = [
            Column(n, n, codec_for(n, kind, -1, kind, None), not_null=False)
            for n, kind in (("id", "int8"), ("v", "text"))
        ]
        source = Source(snapshot, read_catalog(snapshot).table("t"), columns)
        blocks = list(source.blocks())
        assert sum(b.rows for b in blocks) == 3000
        assert max(b.bytes for b in blocks) <= 2 * BLOCK_BYTES
        snapshot.close()

    @pytest.mark.parametrize("kind", ["", "WITHOUT ROWID"])
    @pytest.mark.parametrize("rows", [0, 1, 99, 100, 101, 200, 201])
    def test_rows_of_numbers_alone_are_each_in_one_block(
        self, make: Make, rows: int, kind: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(source_module, "BLOCK_BYTES", 100 * 48)
        case = make([sa.Column("id", sa.BigInteger, primary_key=True), sa.Column("v", sa.BigInteger)],
                    f"CREATE TABLE t (id INTEGER PRIMARY KEY, v INTEGER) {kind}")  # fmt: skip
        case.fill("INSERT INTO t VALUES (?, ?)", [(3 * i, i) for i in range(rows)])
        case.begin()
        snapshot = open_snapshot(snapshot_path(case.job))
        columns = [Column(n, n, codec_for(n, "int8", -1, "int8", None), not_null=False) for n in ("id", "v")]
        source = Source(snapshot, read_catalog(snapshot).table("t"), columns)
        blocks = list(source.blocks())
        assert [key for b in blocks for key in ((r.key[0]) for r in source.rows(b))] == [3 * i for i in range(rows)]
        assert [b.rows for b in blocks] == [len(list(source.rows(b))) for b in blocks]
        assert all(b.rows <= 100 for b in blocks)
        snapshot.close()


@pytest.mark.parametrize("encoding", ["UTF-16le", "UTF-16be"])
def test_a_database_in_utf_16_is_verified(make: Make, encoding: str) -> None:
    columns = [
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("v", sa.Text),
        sa.Column("b", sa.LargeBinary),
        sa.Column("d", sa.Double),
    ]
    case = make(columns, "CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT, b BLOB, d REAL)", encoding=encoding)
    rows = [(i, f"Ærø 記憶 \U0001f600 {i}" if i % 9 else None, bytes([i % 256]), i / 7) for i in range(500)]
    case.fill("INSERT INTO t VALUES (?, ?, ?, ?)", rows)
    case.stage("t", rows)
    case.verify("t")
    case.spoil("t", "UPDATE {} SET v = replace(v, 'Æ', 'A') WHERE id = 10")
    assert found(case) == [("[10]", "v", "changed")]
    assert case.differences("t")[0][3:] == ("'Ærø 記憶 \U0001f600 10'", "'Arø 記憶 \U0001f600 10'")


def test_text_that_is_no_valid_text_equals_nothing(make: Make) -> None:
    case = numbered(make, [(i, "x") for i in range(20)])
    case.fill("UPDATE t SET v = CAST(x'c3' AS TEXT) WHERE id = 4")
    case.stage("t", [(i, "\ufffd" if i == 4 else "x") for i in range(20)])
    assert found(case) == [("[4]", "v", "changed")]


def test_columns_are_found_under_their_new_names_and_excluded_ones_left_out(make: Make) -> None:
    columns = [
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("new", sa.Text),
        sa.Column("made", sa.Text, server_default="x"),
    ]
    plan = {"t": TablePlan(columns={"old": ColumnPlan(rename="new")}, exclude_columns=("secret",))}
    case = make(columns, "CREATE TABLE t (id INTEGER PRIMARY KEY, old TEXT, secret TEXT)", tables=plan)
    case.fill("INSERT INTO t VALUES (1, 'a', 'hidden')")
    case.stage("t", [(1, "a", "x")])
    assert case.verify("t")["values"] == 2
    assert case.checks("t")["columns without a source"] == (True, "made: nothing to compare, they hold their defaults")


def test_a_table_of_which_nothing_is_carried_is_refused(make: Make) -> None:
    plan = {"t": TablePlan(exclude_columns=("v",))}
    case = make([sa.Column("id", sa.Integer, primary_key=True)], "CREATE TABLE t (v TEXT)", tables=plan)
    case.stage("t", [])
    with pytest.raises(PlanError, match=r"all its columns are excluded\. Name it under exclude_tables"):
        case.verify("t")


STORED: dict[str, st.SearchStrategy[Any]] = {
    "i": st.integers(-(2**63), 2**63 - 1),
    "r": st.floats(allow_nan=False),
    "t": st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12)
    | st.text("\x1e\x03\x1f\x02\\\n\t,:-", max_size=4),
    "b": st.binary(max_size=8),
}
any_rows = st.lists(st.tuples(*(st.none() | values for values in STORED.values())), max_size=30)


def all_kinds(make: Make, rows: list[tuple[Any, ...]], *, keyed: bool = True) -> Case:
    """A table with a column of each storage class, filled on both sides."""
    columns = [
        sa.Column("i", sa.BigInteger),
        sa.Column("r", sa.Double),
        sa.Column("t", sa.Text),
        sa.Column("b", sa.LargeBinary),
    ]
    if keyed:
        columns.insert(0, sa.Column("id", sa.Integer, primary_key=True))
    case = make(columns, f"CREATE TABLE t ({'id INTEGER PRIMARY KEY, ' if keyed else ''}i, r, t, b)")
    full = [(n, *row) if keyed else row for n, row in enumerate(rows, 1)]
    case.fill(f"INSERT INTO t VALUES ({', '.join('?' * (4 + keyed))})", full)
    case.stage("t", full)
    return case


@pytest.mark.parametrize("keyed", [True, False])
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(rows=any_rows)
def test_any_rows_inserted_exactly_are_found_equal(make: Make, keyed: bool, rows: list[tuple[Any, ...]]) -> None:
    case = all_kinds(make, rows, keyed=keyed)
    assert case.verify("t")["rows"] == len(rows)
    case.close()


@pytest.fixture(scope="module")
def corruptible(dsn: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Case, list[tuple[Any, ...]]]]:
    """A table of many blocks that corruptions are tried on, each undone afterwards."""
    draw = random.Random(7)
    letters = string.ascii_letters + " \n\t'\\\"%,\x1e\x03\x1f\x02æ記\U0001f600"

    def some(make_value: Callable[[], Any]) -> Any:
        return None if draw.random() < 0.1 else make_value()

    rows = [
        (
            i,
            some(lambda: draw.choice([0, 1, -1, draw.getrandbits(62)])),
            some(lambda: draw.choice([0.0, -0.0, 1.5, draw.uniform(-1e9, 1e9)])),
            some(lambda: "".join(draw.choices(letters, k=draw.choice([0, 1, 5, 300])))),
            some(lambda: draw.randbytes(draw.choice([0, 1, 40]))),
        )
        for i in range(1, 2001)
    ]
    models = sa.MetaData()
    kinds = [("i", sa.BigInteger), ("r", sa.Double), ("t", sa.Text), ("b", sa.LargeBinary)]
    sa.Table("t", models, sa.Column("id", sa.Integer, primary_key=True), *(sa.Column(n, k) for n, k in kinds))
    case = Case(
        dsn, tmp_path_factory.mktemp("corruptible"), models, "CREATE TABLE t (id INTEGER PRIMARY KEY, i, r, t, b)"
    )
    case.fill("INSERT INTO t VALUES (?, ?, ?, ?, ?)", rows)
    case.stage("t", rows)
    case.verify("t")
    yield case, rows
    case.close()


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_any_single_corruption_is_found_and_named(
    corruptible: tuple[Case, list[tuple[Any, ...]]], data: st.DataObject
) -> None:
    case, rows = corruptible
    row = data.draw(st.sampled_from(rows))
    place = data.draw(st.integers(1, 4))
    name, values = list(STORED.items())[place - 1]
    was = row[place]
    value = data.draw((st.none() | values).filter(lambda v: repr(v) != repr(was)))
    case.spoil("t", f"UPDATE {{}} SET {name} = %s WHERE id = %s", value, row[0])
    try:
        assert found(case) == [(f"[{row[0]}]", name, "changed")]
        assert case.verification("t")["differences"] == 1
    finally:
        case.spoil("t", f"UPDATE {{}} SET {name} = %s WHERE id = %s", was, row[0])
    case.verify("t")
