"""Missing, extra, moved and changed rows are found, whatever names them and however many there are."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from migration.errors import SourceError, VerificationFailed
from migration.plan import ColumnPlan, Invalid, TablePlan
from migration.verify import source as source_module
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


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of a few rows, so that little data has many."""
    monkeypatch.setattr(source_module, "BLOCK_BYTES", 2000)
    monkeypatch.setattr(source_module, "FIRST_ROWS", 8)


MANY = [(i, f"value {i}") for i in range(-5, 300)]


@pytest.mark.usefixtures("small_blocks")
class TestAnIntegerKey:
    """The usual table: blocks are ranges of its key."""

    def test_equal_rows_pass_and_the_digests_are_the_same_every_time(self, make: Make) -> None:
        digests = set()
        for _ in range(2):
            case = numbered(make, MANY)
            case.stage("t", reversed(MANY))
            assert case.verify("t")["rows"] == len(MANY)
            recorded = case.verification("t")
            digests |= {recorded["source_digest"], recorded["target_digest"]}
        assert len(digests) == 1

    def test_an_empty_table_passes(self, make: Make) -> None:
        case = numbered(make, [])
        case.stage("t", [])
        assert case.verify("t")["values"] == 0

    def test_the_ends_of_the_key_pass(self, make: Make) -> None:
        rows = [(-(2**63), "a"), (-1, "b"), (0, "c"), (2**63 - 1, "d")]
        case = numbered(make, rows)
        case.stage("t", rows)
        checks_but_sequence(case)

    @pytest.mark.parametrize("only", [-(2**63), 0, 2**63 - 2])
    def test_a_single_row_passes(self, make: Make, only: int) -> None:
        case = numbered(make, [(only, "x")])
        case.stage("t", [(only, "x")])
        case.advance("t", 2**63 - 2)
        case.verify("t")

    @pytest.mark.parametrize("gone", [-5, 0, 77, 299])
    def test_a_missing_row_is_found(self, make: Make, gone: int) -> None:
        case = numbered(make, MANY)
        case.stage("t", [row for row in MANY if row[0] != gone])
        assert found(case) == [(f"[{gone}]", "", "missing")]

    @pytest.mark.parametrize("extra", [-(2**63), -6, 300, 2**63 - 1])
    def test_a_row_too_many_is_found(self, make: Make, extra: int) -> None:
        case = numbered(make, MANY)
        case.stage("t", [*MANY, (extra, "x")])
        assert found(case) == [(f"[{extra}]", "", "extra")]

    def test_a_row_too_many_in_an_empty_table_is_found(self, make: Make) -> None:
        case = numbered(make, [])
        case.stage("t", [(1, "x")])
        assert found(case) == [("[1]", "", "extra")]

    def test_rows_too_many_within_gaps_of_the_key_are_found(self, make: Make) -> None:
        rows = [(i * 1000, f"value {i}") for i in range(100)]
        case = numbered(make, rows)
        case.stage("t", [*rows, *((i, "x") for i in range(5001, 5900))])
        assert found(case) == [(f"[{i}]", "", "extra") for i in range(5001, 5900)]

    def test_a_changed_key_is_a_missing_row_and_an_extra_one(self, make: Make) -> None:
        case = numbered(make, MANY)
        case.stage("t", [(1000 if i == 7 else i, v) for i, v in MANY])
        assert sorted(found(case)) == [("[1000]", "", "extra"), ("[7]", "", "missing")]

    def test_all_differences_are_counted_and_a_thousand_kept(self, make: Make) -> None:
        rows = [(i, f"v{i}") for i in range(1500)]
        case = numbered(make, rows)
        case.stage("t", [(i, v + "x") for i, v in rows])
        assert len(found(case)) == 1000
        assert case.verification("t")["differences"] == 1500

    def test_the_message_names_the_first_and_says_what_to_do(self, make: Make) -> None:
        case = numbered(make, MANY)
        case.stage("t", [(i, None if i in (3, 4) else v) for i, v in MANY])
        with pytest.raises(VerificationFailed) as raised:
            case.verify("t")
        lines = str(raised.value).splitlines()
        assert lines[0] == "Table t: the target does not hold what the snapshot holds: 2 differences, 0 failed checks."
        assert lines[1] == "  table t, column v, key [3]: the snapshot holds 'value 3', the target NULL"
        assert lines[-1].startswith("Clear the load task of t, downstream included")

    def test_a_second_verification_replaces_the_first(self, make: Make) -> None:
        case = numbered(make, MANY)
        case.stage("t", MANY)
        case.spoil("t", "UPDATE {} SET v = 'x' WHERE id = 5")
        assert found(case) == [("[5]", "v", "changed")]
        case.spoil("t", "UPDATE {} SET v = 'value 5' WHERE id = 5")
        case.verify("t")
        assert case.differences("t") == []
        assert case.verification("t")["ok"]


def checks_but_sequence(case: Case) -> None:
    """The values are equal; the key's last value leaves no next one, which the sequence's check says."""
    with pytest.raises(VerificationFailed, match="0 differences, 1 failed checks"):
        case.verify("t")
    assert not case.checks("t")["sequence of id"][0]


WORDS = sorted(
    {"", " ", "a", "A", "ä", "a\u0308", "Z", "z", "é", "\U0001f600", "\uffff", "10", "9", "x\ty", "'", "%s"}
    | {f"w{i}" for i in range(200)}
)


@pytest.mark.usefixtures("small_blocks")
class TestOtherKeys:
    """Text, several columns, WITHOUT ROWID, names of every kind: blocks are lists of keys."""

    def by_text(self, make: Make, *, without_rowid: bool) -> Case:
        columns = [sa.Column("k", sa.Text, primary_key=True), sa.Column("v", sa.Integer)]
        end = " WITHOUT ROWID" if without_rowid else ""
        case = make(columns, f"CREATE TABLE t (k TEXT PRIMARY KEY, v INTEGER){end}")
        case.fill("INSERT INTO t VALUES (?, ?)", [(w, i) for i, w in enumerate(WORDS)])
        return case

    @pytest.mark.parametrize("without_rowid", [False, True])
    def test_a_text_key_in_any_order_passes(self, make: Make, without_rowid: bool) -> None:
        case = self.by_text(make, without_rowid=without_rowid)
        rows = [(w, i) for i, w in enumerate(WORDS)]
        random.Random(1).shuffle(rows)
        case.stage("t", rows)
        case.verify("t")

    @pytest.mark.parametrize("without_rowid", [False, True])
    def test_differences_under_a_text_key_are_found(self, make: Make, without_rowid: bool) -> None:
        case = self.by_text(make, without_rowid=without_rowid)
        rows = {w: i for i, w in enumerate(WORDS)}
        del rows["é"]
        rows |= {"new": 1, "w7": -1}
        case.stage("t", rows.items())
        gone, changed = (f'["{w}"]' if without_rowid else f"[{WORDS.index(w) + 1}]" for w in ("é", "w7"))
        expected = {(gone, "", "missing"), (changed, "v", "changed"), ('["new"]', "", "extra")}
        assert set(found(case)) == expected

    def test_a_key_of_several_columns_in_several_types(self, make: Make) -> None:
        columns = [
            sa.Column("n", sa.SmallInteger, primary_key=True, autoincrement=False),
            sa.Column("at", sa.DateTime(timezone=True), primary_key=True),
            sa.Column("b", sa.LargeBinary, primary_key=True),
            sa.Column("d", sa.Numeric(5, 2), primary_key=True),
            sa.Column("v", sa.Text),
        ]
        case = make(
            columns,
            "CREATE TABLE t (v TEXT, d REAL, b BLOB, at TEXT, n INTEGER, PRIMARY KEY (n, at, b, d)) WITHOUT ROWID",
        )
        rows = [(f"v{i}", i % 3 + 0.5, bytes([i % 256]), f"2024-01-{i % 28 + 1:02d} 10:00", i % 5) for i in range(200)]
        case.fill("INSERT INTO t VALUES (?, ?, ?, ?, ?)", rows)
        mapped = [(n, at + "Z", b, d, v) for v, d, b, at, n in rows]
        case.stage("t", mapped)
        case.verify("t")
        case.spoil("t", "UPDATE {} SET v = 'x' WHERE v = 'v9'")
        assert found(case) == [('[4,"2024-01-10 10:00",{"blob":"09"},{"real":"0.5"}]', "v", "changed")]

    def test_a_key_that_sqlite_compares_without_regard_to_case(self, make: Make) -> None:
        columns = [sa.Column("k", sa.Text, primary_key=True), sa.Column("v", sa.Integer)]
        case = make(columns, "CREATE TABLE t (k TEXT COLLATE NOCASE PRIMARY KEY, v INTEGER) WITHOUT ROWID")
        rows = [(c * n, i) for i, (c, n) in enumerate((c, n) for c in "abCDéÉ" for n in range(1, 20))]
        case.fill("INSERT INTO t VALUES (?, ?)", rows)
        case.stage("t", rows)
        case.verify("t")
        case.spoil("t", "UPDATE {} SET k = 'Aaa' WHERE k = 'aaa'")
        assert sorted(found(case)) == [('["Aaa"]', "", "extra"), ('["aaa"]', "", "missing")]

    def test_a_key_that_sqlite_compares_otherwise_than_its_column(self, make: Make) -> None:
        columns = [sa.Column("k", sa.Text, primary_key=True), sa.Column("v", sa.Numeric(3, 2))]
        plan = {"t": TablePlan(columns={"v": ColumnPlan(invalid=Invalid.NULL)})}
        ddl = "CREATE TABLE t (k TEXT COLLATE NOCASE, v, PRIMARY KEY (k COLLATE BINARY)) WITHOUT ROWID"
        case = make(columns, ddl, tables=plan)
        rows = [(c * n, i) for i, (c, n) in enumerate((c, n) for c in "aAbBcC" for n in range(1, 60))]
        case.fill("INSERT INTO t VALUES (?, ?)", [(k, 0.666) for k, _ in rows])
        case.stage("t", [(k, None) for k, _ in rows], altered=len(rows))
        for k, _ in rows:
            case.alter("t", f'["{k}"]', "v", "null", "real", b"0.666")
        case.verify("t")
        case.spoil("t", "UPDATE {} SET v = 0.67 WHERE k = 'Bb' OR k = 'BBB'")
        assert found(case) == [('["BBB"]', "v", "changed")]

    def test_names_of_every_kind(self, make: Make) -> None:
        names = ['odd "%s" {} $1', "select", "Ünïcode 記", "ctid", "rowid", "x;--", "a.b", "c0", "k0"]
        columns = [sa.Column(n if n != "ctid" else "c t i d", sa.Text, primary_key=i == 0) for i, n in enumerate(names)]
        quoted = ", ".join(f'"{n.replace(chr(34), chr(34) * 2)}" TEXT' for n in names)
        plan = {"t": TablePlan(columns={"ctid": ColumnPlan(rename="c t i d")})}
        case = make(columns, f"CREATE TABLE t ({quoted})", tables=plan)
        rows = [tuple(f"{i}{n}" for n in names) for i in range(50)]
        case.fill(f"INSERT INTO t VALUES ({', '.join('?' * len(names))})", rows)
        case.stage("t", rows)
        case.verify("t")
        case.spoil("t", "UPDATE {} SET \"x;--\" = 'y' WHERE \"select\" = '7select'")
        assert found(case) == [("[8]", "x;--", "changed")]

    def test_a_table_whose_rows_cannot_be_named_is_refused(self, make: Make) -> None:
        columns = [sa.Column(n, sa.Text) for n in ("rowid", "oid", "_rowid_")]
        case = make(columns, "CREATE TABLE t (rowid TEXT, oid TEXT, _rowid_ TEXT)")
        case.stage("t", [])
        with pytest.raises(SourceError, match="Table t has neither a primary key nor a rowid that can be read"):
            case.verify("t")


@pytest.mark.usefixtures("small_blocks")
class TestNoKey:
    """A target without a primary key: rows are a multiset."""

    def without_key(self, make: Make, rows: list[tuple[Any, ...]]) -> Case:
        columns = [sa.Column("a", sa.Text), sa.Column("b", sa.Integer), sa.Column("c", sa.Double)]
        case = make(columns, "CREATE TABLE t (a TEXT, b INTEGER, c REAL)")
        case.fill("INSERT INTO t VALUES (?, ?, ?)", rows)
        return case

    ROWS = [(f"a{i}", i % 7, i / 3) for i in range(300)] + [("twin", 1, 1.0)] * 3 + [(None, None, None)] * 2

    @pytest.mark.parametrize("seed", [None, 1])
    def test_equal_rows_pass_in_any_order(self, make: Make, seed: int | None) -> None:
        case = self.without_key(make, self.ROWS)
        rows = list(self.ROWS)
        if seed is not None:
            random.Random(seed).shuffle(rows)
        case.stage("t", rows)
        case.verify("t")
        recorded = case.verification("t")
        assert recorded["source_digest"] == recorded["target_digest"]

    @pytest.mark.parametrize("seed", [None, 1])
    def test_a_changed_value_is_named_by_its_row_and_column(self, make: Make, seed: int | None) -> None:
        case = self.without_key(make, self.ROWS)
        rows = [(a, b, 0.5 if a == "a77" else c) for a, b, c in self.ROWS]
        if seed is not None:
            random.Random(seed).shuffle(rows)
        case.stage("t", rows)
        assert found(case) == [("[78]", "c", "changed")]

    def test_a_twin_too_few_and_one_too_many_are_found(self, make: Make) -> None:
        case = self.without_key(make, self.ROWS)
        case.stage("t", [*self.ROWS[:300], *[("twin", 1, 1.0)] * 2, *[(None, None, None)] * 3])
        assert [kind for _, _, kind in found(case)] == ["missing", "extra"]

    def test_rows_missing_and_too_many_are_found(self, make: Make) -> None:
        case = self.without_key(make, self.ROWS)
        case.stage("t", [*self.ROWS[10:], *[("new", 100 + i, 0.1) for i in range(700)]])
        kinds = [kind for _, _, kind in found(case)]
        assert (kinds.count("missing"), kinds.count("extra")) == (10, 700)

    def test_a_key_that_only_the_target_has_is_none(self, make: Make) -> None:
        columns = [sa.Column("pk", sa.Integer, primary_key=True), sa.Column("a", sa.Text)]
        case = make(columns, "CREATE TABLE t (a TEXT)")
        case.fill("INSERT INTO t VALUES (?)", [(f"a{i}",) for i in range(300)])
        case.stage("t", [(1000 - i, f"a{i}") for i in range(300)])
        case.verify("t")
        case.spoil("t", "UPDATE {} SET a = 'b' WHERE a = 'a9'")
        assert [(key, kind) for key, _, kind in found(case) if kind != "extra"] == [("[10]", "missing")]

    def test_everything_different_is_counted(self, make: Make) -> None:
        case = self.without_key(make, [(f"a{i}", i, 0.5) for i in range(600)])
        case.stage("t", [(f"b{i}", -i - 1, 1.5) for i in range(600)])
        found(case)
        assert case.verification("t")["differences"] == 1200
