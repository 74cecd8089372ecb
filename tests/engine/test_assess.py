"""The assessment as a whole: plan file, report, and what it leaves alone."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from migration.assess import assess, plan_name
from migration.assess.writing import write_plan
from migration.errors import PlanError, SourceError
from migration.plan import ColumnPlan, Plan, RefusedObject, TablePlan, ViewPlan, read_plan
from tests.engine.support import Raw, database, insert


@pytest.fixture(autouse=True)
def plans(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("migration.plan.PLANS", tmp_path / "plans")
    return tmp_path / "plans"


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("App.db", "app"),
        ("my app-2.sqlite3", "my_app_2"),
        ("2024.db", "db_2024"),
        ("ä.db", "db"),
        ("x" * 99 + ".db", "x" * 40),
    ],
)
def test_a_plan_is_named_after_the_file(file: str, name: str) -> None:
    assert plan_name(Path("/data") / file) == name


def test_a_plan_that_is_there_is_kept_unless_it_is_to_be_replaced(tmp_path: Path, plans: Path) -> None:
    source = database(tmp_path / "app.db", "CREATE TABLE t (id INTEGER PRIMARY KEY)")
    first = assess(source, tmp_path / "home")
    edited = (plans / "app.yaml").read_text().replace("title: app.db", "title: Mine")
    (plans / "app.yaml").write_text(edited)
    database(source, "CREATE TABLE u (id INTEGER PRIMARY KEY)")
    second = assess(source, tmp_path / "home")
    assert (first.kept, second.kept, second.plan.title) == (False, True, "Mine")
    assert "(kept as it was)" in second.text
    third = assess(source, tmp_path / "home", replace=True)
    assert set(third.plan.tables) == {"t", "u"}


def test_a_child_of_a_key_of_integers_among_texts_follows_it_through_all_generations(tmp_path: Path) -> None:
    source = database(
        tmp_path / "app.db",
        "CREATE TABLE c (k INT PRIMARY KEY REFERENCES b) WITHOUT ROWID",
        "CREATE TABLE b (k INT PRIMARY KEY REFERENCES a) WITHOUT ROWID",
        "CREATE TABLE a (k INT PRIMARY KEY) WITHOUT ROWID",
        "INSERT INTO a VALUES (1), ('x')", "INSERT INTO b VALUES (1)",
    )  # fmt: skip
    plan = assess(source, tmp_path / "home").plan
    assert {t: plan.tables[t].columns["k"].type for t in "abc"} == dict.fromkeys("abc", "text")
    assert [len(plan.tables[t].foreign_keys) for t in "abc"] == [0, 1, 1]


def test_every_decision_stands_in_the_plan_with_its_reason_and_what_else_could_be_declared(
    tmp_path: Path, plans: Path
) -> None:
    source = database(tmp_path / "app.db", "CREATE TABLE t (id INTEGER PRIMARY KEY, v VARCHAR(3), n INTEGER)")
    insert(source, "t", [(1, "long enough", 1), (2, Raw(b"a\0"), "x"), (3, "fine", 2)])
    assess(source, tmp_path / "home")
    text = (plans / "app.yaml").read_text()
    assert "# TO CONFIRM: t.v: texts with NUL" in text
    assert "rows: 1; keys [2]" in text
    assert "Instead: `type: bigint` with `invalid: quarantine` or `null`" in text
    assert "v: {type: text, declared: VARCHAR(3), invalid: quarantine}  # texts" in text


def test_nothing_in_names_or_values_acts_in_the_report(tmp_path: Path) -> None:
    evil = "<script>alert(1)</script>\x1b[31m{{ 7 * 7 }}"
    name = evil.replace('"', '""')
    source = database(
        tmp_path / "app.db",
        f'CREATE TABLE "{name}" (id INTEGER PRIMARY KEY, "{name}" VARCHAR(1))',
        f'CREATE TRIGGER "{name} t" AFTER INSERT ON "{name}" BEGIN SELECT \'<img src=x>\'; END',
    )
    insert(source, evil, [(1, evil)])
    found = assess(source, tmp_path / "home")
    page = found.files["html"].read_text()
    assert "<script" not in page
    assert "<img" not in page
    assert "49" not in page.split("alert(1)")[1][:40]
    assert "\x1b" not in page + found.text
    assert json.loads(found.files["json"].read_text())["tables"][0]["name"] == evil


def test_a_database_of_which_nothing_can_be_carried_is_refused_with_the_reason(tmp_path: Path) -> None:
    wide = ", ".join(f"c{n}" for n in range(1700))
    source = database(tmp_path / "app.db", f"CREATE TABLE wide ({wide})", "INSERT INTO wide (c1) VALUES (1)")
    with pytest.raises(SourceError, match=r"Nothing of .*app.db can be carried: .*it has 1700 columns"):
        assess(source, tmp_path / "home")


def test_a_bad_name_and_a_folder_that_cannot_be_written_are_one_sentence_each(tmp_path: Path, plans: Path) -> None:
    source = database(tmp_path / "app.db", "CREATE TABLE t (id INTEGER PRIMARY KEY)")
    with pytest.raises(PlanError, match="'Bad Name' is no plan's name"):
        assess(source, tmp_path / "home", name="Bad Name")
    plans.write_text("in the way")
    with pytest.raises(PlanError, match="plan"):
        assess(source, tmp_path / "home")


NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30)


@given(table=NAMES, column=NAMES, sql=NAMES, title=NAMES)
def test_any_name_and_text_comes_back_from_the_plan_file_as_it_was(
    table: str, column: str, sql: str, title: str
) -> None:
    plan = Plan(
        name="any", title=title, source="/x", target="any_target",
        tables={table: TablePlan(rows=3, rename=column, columns={column: ColumnPlan(type="text", declared=sql, default=sql)}, checks={column: sql})},
        views={sql + "v": ViewPlan(create=sql)},
        refused=(RefusedObject(kind="trigger", name=table, reason=title, source=sql),),
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "any.yaml"
        write_plan(plan, path, {}, (), grade="A", day="2026-01-01")
        assert read_plan(path) == plan
        assert yaml.safe_load(path.read_text())["title"] == title


def test_what_a_collation_meant_is_said_where_the_values_stay_as_they_are(tmp_path: Path) -> None:
    source = database(tmp_path / "app.db", "CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT COLLATE NOCASE)")
    report = json.loads(assess(source, tmp_path / "home").files["json"].read_text())
    assert [f["rule"] for f in report["findings"]] == ["collation"]


def test_a_database_of_virtual_tables_alone_is_refused_by_their_names(tmp_path: Path) -> None:
    source = database(tmp_path / "app.db", "CREATE VIRTUAL TABLE f USING fts5(a)")
    with pytest.raises(SourceError, match=r"holds no tables but virtual ones, .*: f \(fts5\)"):
        assess(source, tmp_path / "home")
