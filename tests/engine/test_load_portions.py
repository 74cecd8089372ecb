"""A large table is surveyed in portions of its key: each row is in one of them, and either in a block or looked at."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import sqlalchemy as sa
from hypothesis import example, given
from hypothesis import strategies as st

from migration.load import survey as surveying
from migration.load import table as loading
from migration.load.blocks import blocks
from migration.load.casts import cast_for
from migration.load.jsontext import are_plain
from migration.load.reading import Reading
from migration.load.survey import Portion, count, survey
from migration.load.table import load_table
from migration.mapping import TableMap
from migration.sqlite.catalog import read_catalog
from migration.sqlite.opening import open_snapshot
from tests.engine.support import begin, database, insert, job_for, models, plan_for, quarantined, staged

LOW, HIGH = -(2**63), 2**63 - 1


def reading_of(path: Path, within: str = "", orphans: tuple[str, ...] = ()) -> Reading:
    source = read_catalog(open_snapshot(path)).table("t")
    kinds = {"": sa.Text, "INTEGER": sa.Integer}
    target = sa.Table("t", sa.MetaData(), *(sa.Column(c.name, kinds[c.declared_type]) for c in source.columns))
    columns = tuple((c.name, target.columns[c.name]) for c in source.columns)
    casts = tuple(cast_for("t", name, column.type, None) for name, column in columns)
    return Reading(TableMap(source, target, columns, ()), casts, orphans, within=within)


def surveyed(path: Path, within: str = "", orphans: tuple[str, ...] = ()) -> list[Portion]:
    snapshot, reading = open_snapshot(path), reading_of(path, within, orphans)
    return list(survey(snapshot, reading, count(snapshot, reading)))


def found(path: Path, clause: str, key: str = "rowid") -> list[int]:
    rows: list[Any] = open_snapshot(path).execute(f"SELECT {key} FROM t{clause}").fetchall()
    return [key for (key,) in rows]


def apart(path: Path, portions: list[Portion], within: str = "") -> list[str]:
    """The clauses for rows that no block took."""
    clauses: list[str] = []
    for _ in blocks(path, reading_of(path, within), portions, 1000, clauses):
        pass
    return clauses


@pytest.fixture
def small_portions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(surveying, "PORTION_ROWS", range(3, 50))
    monkeypatch.setattr(surveying, "PORTION_BYTES", 20)


@pytest.mark.usefixtures("small_portions")
class TestEachRowIsInOnePortion:
    @pytest.mark.parametrize(
        "keys",
        [[], [7], [LOW], [HIGH], [LOW, HIGH], [LOW, LOW + 1, -1, 0, 1, HIGH - 1, HIGH], [*range(100)],
         [n * n * 1000 for n in range(200)], [*range(-3, 3)]],
    )  # fmt: skip
    @pytest.mark.parametrize("kind", ["", "INTEGER"])
    def test_whatever_its_keys_are(self, tmp_path: Path, keys: list[int], kind: str) -> None:
        path = database(tmp_path / "app.db", f"CREATE TABLE t (id INTEGER PRIMARY KEY, v {kind})")
        insert(path, "t", [(key, key % 9 if kind else f"v{key % 9}") for key in keys])
        portions = surveyed(path)
        assert len(portions) == 1 if kind else len(portions) >= len(keys) / 10
        assert [key for p in portions for key in found(path, p.plain)] == sorted(keys)
        assert sum(p.size.rows for p in portions) == len(keys)
        assert not apart(path, portions)

    def test_by_the_rowid_where_the_key_is_another(self, tmp_path: Path) -> None:
        path = database(tmp_path / "app.db", "CREATE TABLE t (octets, name TEXT PRIMARY KEY)")
        insert(path, "t", [(f"v{n}" if n % 7 else n, f"k{n}") for n in range(60)])
        source = read_catalog(open_snapshot(path)).table("t")
        target = sa.Table("t", sa.MetaData(), *(sa.Column(c.name, sa.Text) for c in source.columns))
        columns = tuple((c.name, target.columns[c.name]) for c in source.columns)
        casts = tuple(cast_for("t", name, column.type, None) for name, column in columns)
        portions = list(survey(open_snapshot(path), Reading(TableMap(source, target, columns, ()), casts), 60))
        assert len(portions) > 2
        assert sorted(k for p in portions for k in found(path, p.plain)) == [n + 1 for n in range(60) if n % 7]
        assert sorted(k for p in portions for k in found(path, p.apart)) == [n + 1 for n in range(0, 60, 7)]

    @pytest.mark.parametrize("name", ["octets", "key", "rowid"])
    def test_whatever_its_key_is_called(self, tmp_path: Path, name: str) -> None:
        path = database(tmp_path / "app.db", f'CREATE TABLE t ("{name}" INTEGER PRIMARY KEY, v)')
        insert(path, "t", [(40 - n, n if n == 5 else f"v{n}") for n in range(40)])
        portions = surveyed(path)
        assert len(portions) > 2
        assert [key for p in portions for key in found(path, p.plain)] == [n for n in range(1, 41) if n != 35]
        assert [found(path, clause) for clause in apart(path, portions)] == [[35]]

    def test_within_its_range_alone(self, tmp_path: Path) -> None:
        path = database(tmp_path / "app.db", "CREATE TABLE t (id INTEGER PRIMARY KEY, v)")
        insert(path, "t", [(n, f"v{n}") for n in range(100)])
        within = '("id") > (10) AND ("id") <= (77)'
        portions = surveyed(path, within)
        assert len(portions) > 2
        assert [key for p in portions for key in found(path, p.plain)] == [*range(11, 78)]
        assert not apart(path, portions, within)

    @pytest.mark.parametrize("kind", ["WITHOUT ROWID", ""])
    def test_which_is_the_table_where_keys_are_no_integers_or_orphans_are_to_be_found(
        self, tmp_path: Path, kind: str
    ) -> None:
        path = database(tmp_path / "app.db", f"CREATE TABLE t (id INTEGER PRIMARY KEY, v) {kind}")
        insert(path, "t", [(n, f"v{n}") for n in range(100)])
        portions = surveyed(path, orphans=() if kind else ("id = 31",))
        assert [p.size.rows for p in portions] == [100]
        assert found(path, portions[0].apart, "id") == ([] if kind else [31])


@pytest.mark.usefixtures("small_portions")
def test_flagged_and_long_rows_are_looked_at_and_all_others_are_in_blocks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(surveying, "LONG_FACTOR", 2)
    path = database(tmp_path / "app.db", "CREATE TABLE t (id INTEGER PRIMARY KEY, v)")
    insert(path, "t", [(n, {10: 7, 11: None, 60: 1.5, 61: "y" * 5000}.get(n, f"v{n}")) for n in range(90)])
    portions = surveyed(path)
    assert sorted(key for clause in apart(path, portions) for key in found(path, clause)) == [10, 60, 61]
    plain = [key for p in portions for key in found(path, p.plain)]
    assert plain == [n for n in range(90) if n not in (10, 60, 61)]
    assert count(open_snapshot(path), reading_of(path)) == 90


@pytest.mark.parametrize("first_rows", [0, 10_000], ids=["side by side", "one after the other"])
def test_a_table_with_rows_of_every_kind_in_many_portions_arrives_whole(
    tmp_path: Path, target_dsn: str, monkeypatch: pytest.MonkeyPatch, first_rows: int
) -> None:
    monkeypatch.setattr(loading, "FIRST_ROWS", first_rows)
    monkeypatch.setattr(surveying, "PORTION_ROWS", range(50, 400))
    bad = {17: "a\0b", 1000: b"blob", 2999: "z\0"}
    rows = [(n, bad.get(n, f"v{n}" if n % 50 else "l" * 6000)) for n in range(3000)]
    path = database(tmp_path / "app.db", "CREATE TABLE t (id INTEGER PRIMARY KEY, v)")
    insert(path, "t", rows)
    parts = [sa.Column("id", sa.Integer, primary_key=True), sa.Column("v", sa.Text)]
    job = begin(job_for(path, target_dsn, plan_for(models(("t", parts))), quarantine="allow"))
    figures = load_table(job, "t")
    assert (figures["loaded"], figures["quarantined"]) == (2997, 3)
    assert staged(job, "t") == [row for row in rows if row[0] not in bad]
    assert set(quarantined(job, "t")) == {f"[{n}]" for n in bad}


def test_an_error_in_the_survey_ends_the_load_and_its_threads(
    tmp_path: Path, target_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import threading

    path = database(tmp_path / "app.db", "CREATE TABLE t (id INTEGER PRIMARY KEY, v)")
    insert(path, "t", [(n, f"v{n}") for n in range(6000)])
    parts = [sa.Column("id", sa.Integer, primary_key=True), sa.Column("v", sa.Text)]
    job = begin(job_for(path, target_dsn, plan_for(models(("t", parts)))))
    before = threading.active_count()

    def broken(*arguments: Any) -> Any:
        yield from list(survey(*arguments))[:1]
        raise ZeroDivisionError

    monkeypatch.setattr(loading, "survey", broken)
    with pytest.raises(ZeroDivisionError):
        load_table(job, "t")
    assert threading.active_count() == before
    assert staged(job, "t") == []


PLAIN = ['{"a": 1}', "[]", '"x"', "null", '{"a": {"a": "\\""}}', "1.5e3"]


@given(
    st.lists(
        st.sampled_from(
            [*PLAIN, '{"a": 1, "a": 2}', '{"a": 1, "a": "\\\\\\""}', "{a: 1}", "NaN", "[" * 300 + "]" * 300]
        )
    )
)
@example(PLAIN)
@example([*PLAIN, '{"k": 1, "k": 2}'])
def test_documents_are_plain_together_only_if_each_is(texts: list[str]) -> None:
    encoded = [text.encode() for text in texts]
    assert are_plain(encoded) == all(are_plain([text]) for text in encoded)


@pytest.mark.parametrize(
    ("text", "fits"),
    [('{"a": "\\u0022"}', True), ('{"a": 1, "a": "\\u0022\\u0022"}', False), ('"\\u0000"', False), ("1e200000", False)]
    + [("1e200", True), ('{"a": 1, "a": 2}', False), ("[" * 300 + "]" * 300, True), ("[" * 600 + "]" * 600, False)],
)
def test_unusual_documents_among_usual_ones_are_judged_each(text: str, fits: bool) -> None:
    cast = cast_for("t", "c", sa.dialects.postgresql.JSONB(), None)
    array = pa.array([*PLAIN, text, None])
    if fits:
        assert cast.convert(array) == array
    else:
        with pytest.raises(ValueError, match="^$"):
            cast.convert(array)
