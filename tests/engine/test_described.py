"""Targets that the plan describes: generated columns, foreign keys that go in a circle or bind new rows only."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from migration.catalog import Catalog, Column, Table
from migration.errors import MigrationError, SourceError, TargetError, VerificationFailed
from migration.job import Job, Params, step
from migration.load.table import load_table
from migration.mapping import differences
from migration.plan import Plan
from migration.postgres.cutover import cut_over
from migration.postgres.schema import finish_schema
from migration.postgres.target import target_metadata
from migration.preflight import preflight
from migration.verify import verify_table
from tests.engine.described import described, finish, key, run
from tests.engine.staged import query, unchanged
from tests.engine.support import ask, database, insert, job_for, quarantined, schemas, staged

GENERATED = "CREATE TABLE t (id INTEGER PRIMARY KEY, a INTEGER, double INTEGER AS (a * 2) STORED, up TEXT AS (upper(b)), b TEXT)"


def generated(double: str = "a * 2", **others: Any) -> Plan:
    columns = {
        "id": {"type": "bigint", "identity": True},
        "a": "bigint",
        "double": {"type": "bigint", "generated": double},
        "up": {"type": "text", "generated": "upper(b)", "rename": "UP"},
        "b": "text",
    }
    return described({"t": {"columns": columns, "primary_key": "id", **others}})


class TestGenerated:
    def test_is_not_loaded_and_yet_compared(self, tmp_path: Path, target_dsn: str) -> None:
        source = database(
            tmp_path / "app.db", GENERATED, "INSERT INTO t (a, b) VALUES (1, 'x'), (NULL, NULL), (3, 'y')"
        )
        job = run(source, target_dsn, generated(indexes={"i": {"keys": ["double"]}}))
        figures = {t: load_table(job, t) for t in job.plan.tables}
        finish_schema(job)
        assert figures["t"]["loaded"] == 3
        assert verify_table(job, "t")["values"] == 15
        assert staged(job, "t") == [(1, 1, 2, "X", "x"), (2, None, None, None, None), (3, 3, 6, "Y", "y")]

    def test_another_value_than_the_source_has_is_found(self, tmp_path: Path, target_dsn: str) -> None:
        source = database(tmp_path / "app.db", GENERATED, "INSERT INTO t (a, b) VALUES (2, 'x'), (3, 'y')")
        job = run(source, target_dsn, generated("a * a"))
        load_table(job, "t")
        finish_schema(job)
        with pytest.raises(VerificationFailed, match=r"1 differences.*\n.*column double"):
            verify_table(job, "t")

    def test_is_no_part_of_the_quarantine(self, tmp_path: Path, target_dsn: str) -> None:
        source = database(tmp_path / "app.db", GENERATED, "INSERT INTO t (a, b) VALUES (2, x'00'), (3, 'y')")
        job = run(source, target_dsn, generated(invalid="quarantine"))
        finish(job)
        assert quarantined(job, "t") == {"[1]": ("b", "inexact")}
        assert ask(job, "SELECT column_name FROM migration.quarantined_values ORDER BY 1") == [("a",), ("b",), ("id",)]

    def test_is_computed_for_new_rows_after_the_cut_over(self, tmp_path: Path, target_dsn: str) -> None:
        source = database(tmp_path / "app.db", GENERATED, "INSERT INTO t (a, b) VALUES (2, 'x')")
        job = run(source, target_dsn, generated())
        for name in ("preflight", "backup"):
            with step(job, name):
                pass
        finish(job)
        cut_over(job, source_unchanged=unchanged)
        assert ask(job, "INSERT INTO t (a, b) VALUES (8, 'n') RETURNING id, double, \"UP\"") == [(2, 16, "N")]


PARENTS, CHILDREN = "CREATE TABLE p (id INTEGER PRIMARY KEY)", "CREATE TABLE c (id INTEGER PRIMARY KEY, p INTEGER)"


class TestNotValid:
    def job(self, folder: Path, dsn: str, **others: Any) -> Job:
        source = database(folder / "app.db", PARENTS, CHILDREN, "INSERT INTO p VALUES (1)")
        insert(source, "c", [(1, 1), (2, 77), (3, None)])
        columns = {"id": "integer!", "p": "integer"}
        child = {
            "columns": columns,
            "primary_key": "id",
            "foreign_keys": {"f": key("p", "p", not_valid=True)},
            **others,
        }
        parent = {"columns": {"id": "integer!"}, "primary_key": "id"}
        return run(source, dsn, described({"p": parent, "c": child}))

    def test_rows_without_a_parent_cross_and_new_ones_do_not(self, tmp_path: Path, target_dsn: str) -> None:
        job = finish(self.job(tmp_path, target_dsn))
        assert staged(job, "c") == [(1, 1), (2, 77), (3, None)]
        assert ask(job, "SELECT conname, convalidated FROM pg_constraint WHERE contype = 'f'"
                        " AND conrelid <> 'migration.runs'::regclass AND connamespace = %s::regnamespace", job.staging,
        ) == [("f", False)]  # fmt: skip
        with pytest.raises(Exception, match='violates foreign key constraint "f"'):
            ask(job, f"INSERT INTO {job.staging}.c VALUES (4, 78)")

    def test_are_counted_and_named_as_information(self, tmp_path: Path, target_dsn: str) -> None:
        job = finish(self.job(tmp_path, target_dsn))
        ((checks,),) = ask(job, "SELECT checks FROM migration.verifications WHERE table_name = 'c'")
        found = {c["check"]: (c["ok"], c["detail"]) for c in checks}
        assert found["foreign key f"] == (True, "1 rows have no row of p: [2] (NOT VALID: it binds new rows)")
        assert found["constraints validated"] == (True, "all but f, declared NOT VALID, hold for every row")

    def test_are_no_cause_for_the_quarantine(self, tmp_path: Path, target_dsn: str) -> None:
        job = finish(self.job(tmp_path, target_dsn, invalid="quarantine"))
        assert quarantined(job, "c") == {}

    def test_another_constraint_that_is_not_validated_is_a_fault(self, tmp_path: Path, target_dsn: str) -> None:
        job = finish(self.job(tmp_path, target_dsn))
        query(job.target, f"ALTER TABLE {job.staging}.c ADD CONSTRAINT mine CHECK (id < 3) NOT VALID")
        with pytest.raises(VerificationFailed, match="not validated: mine"):
            verify_table(job, "c")


def circle(first: dict[str, Any], second: dict[str, Any]) -> Plan:
    """a → b → a, and a's own parent among a."""
    one = {"columns": {"id": "integer!", "b": "integer", "own": "integer"}, "primary_key": "id",
           "foreign_keys": {"a_b": key("b", "b"), "a_own": key("a", "own")}, **first}  # fmt: skip
    two = {"columns": {"id": "integer!", "a": "integer", "v": "text"}, "primary_key": "id",
           "foreign_keys": {"b_a": key("a", "a")}, **second}  # fmt: skip
    return described({"a": one, "b": two})


A = "CREATE TABLE a (id INTEGER PRIMARY KEY, b INTEGER REFERENCES b, own INTEGER REFERENCES a)"
B = "CREATE TABLE b (id INTEGER PRIMARY KEY, a INTEGER REFERENCES a, v TEXT)"
QUARANTINE = {"invalid": "quarantine"}


class TestCircle:
    def job(self, folder: Path, dsn: str, a: list[tuple[Any, ...]], b: list[tuple[Any, ...]]) -> Job:
        source = database(folder / "app.db", A, B)
        insert(source, "a", a)
        insert(source, "b", b)
        return run(source, dsn, circle(QUARANTINE, QUARANTINE))

    def test_is_loaded_whole(self, tmp_path: Path, target_dsn: str) -> None:
        job = finish(self.job(tmp_path, target_dsn, [(1, 2, 2), (2, 1, 1)], [(1, 1, "x"), (2, 1, "y")]))
        assert job.plan.levels == (("b",), ("a",))
        assert staged(job, "a") == [(1, 2, 2), (2, 1, 1)]

    def test_rows_without_a_parent_in_it_are_quarantined(self, tmp_path: Path, target_dsn: str) -> None:
        job = finish(self.job(tmp_path, target_dsn, [(1, 1, None), (2, None, 1)], [(1, 9, "x"), (2, None, "y")]))
        assert quarantined(job, "b") == {"[1]": ("a", "orphan")}
        assert quarantined(job, "a") == {"[1]": ("b", "orphan"), "[2]": ("own", "orphan")}

    def test_a_parent_quarantined_later_is_named_and_one_load_again_settles_it(
        self, tmp_path: Path, target_dsn: str
    ) -> None:
        a = [(1, 1, None), (2, None, "no number"), (3, 2, 1)]
        job = self.job(tmp_path, target_dsn, a, [(1, 2, "x"), (2, None, "y")])
        with pytest.raises(TargetError) as found:
            finish(job)
        assert "Table b: b_a FOREIGN KEY" in str(found.value)
        assert 'Key (a)=(2) is not present in table "a"' in str(found.value)
        advice = "a comes after b, and its quarantine may hold that row: clear the load task of b, downstream included."
        assert advice in str(found.value)
        finish(job)
        assert quarantined(job, "b") == {"[1]": ("a", "orphan")}
        assert quarantined(job, "a") == {"[1]": ("b", "orphan"), "[2]": ("own", "orphan"), "[3]": ("own", "orphan")}

    def test_before_a_parent_that_can_come_first_nothing_is_loaded(self, tmp_path: Path, target_dsn: str) -> None:
        job = self.job(tmp_path, target_dsn, [], [])
        with pytest.raises(MigrationError, match="needs b to be loaded first"):
            load_table(job, "a")


def table(name: str, *columns: tuple[str, str]) -> Table:
    made = tuple(Column(c, declared, False, None, n) for n, (c, declared) in enumerate(columns))
    return Table(name, made)


class TestDifferences:
    PLAN = described(
        {
            "t": {"columns": {"id": {"type": "integer", "declared": "INT"}, "v": {"type": "text", "declared": "VARCHAR(50)"}}},
            "u": {"columns": {"a": {"type": "text", "declared": ""}}},
        },
    )  # fmt: skip

    def found(self, *tables: Table) -> list[str]:
        return differences(self.PLAN, Catalog(tables), target_metadata(self.PLAN))

    def test_none_where_all_is_as_it_was(self) -> None:
        assert self.found(table("t", ("id", "INT"), ("v", "VARCHAR(50)")), table("u", ("a", ""))) == []

    def test_all_are_named_together(self) -> None:
        assert self.found(table("t", ("id", ""), ("v", "TEXT"), ("w", "TEXT")), table("x", ("a", ""))) == [
            "table u is in the plan and not in the source",
            "table x is in the source and not in the plan: plan it, or name it under exclude_tables",
            "table t: column w is in the source and not in the plan: assess it again, plan the column, or name it "
            "under exclude_columns",
            "table t: column id is declared without a type in the source and INT in the plan: assess it again, or "
            "change the plan",
            "table t: column v is declared TEXT in the source and VARCHAR(50) in the plan: assess it again, or change "
            "the plan",
        ]

    def test_a_column_that_is_gone_is_named_once(self) -> None:
        assert self.found(table("t", ("id", "INT")), table("u", ("a", ""))) == [
            "table t: the plan speaks of column v, which the source does not have (it has id)"
        ]

    def test_circles_and_generated_columns_are_none(self, tmp_path: Path) -> None:
        plan = circle({}, {})
        tables = table("a", ("id", ""), ("b", ""), ("own", "")), table("b", ("id", ""), ("a", ""), ("v", ""))
        assert differences(plan, Catalog(tables), target_metadata(plan)) == []
        plan = generated()
        columns = [(c, "") for c in plan.tables["t"].columns]
        assert differences(plan, Catalog((table("t", *columns),)), target_metadata(plan)) == []


class TestPreflight:
    def test_names_what_does_not_compile_before_anything_is_touched(self, tmp_path: Path, target_dsn: str) -> None:
        plan = described(
            {"t": {"columns": {"a": "text"}, "indexes": {"i": {"keys": ["zz"]}}, "checks": {"c": "a"}}},
            {"v": "CREATE VIEW v AS SELECT b FROM t"},
        )
        job = job_for(database(tmp_path / "app.db", "CREATE TABLE t (a)"), target_dsn, plan)
        with pytest.raises(TargetError) as found:
            preflight(job)
        advice = "; take it out of the plan, or mend it"
        assert str(found.value).splitlines()[1:] == [
            f"  table t: check c does not compile: argument of CHECK must be type boolean, not type text{advice}",
            f'  table t: index i does not compile: column "zz" does not exist{advice}',
            f'  view v does not compile: column "b" does not exist{advice}',
        ]
        assert schemas(target_dsn) == {"public"}

    def test_names_what_the_source_has_otherwise(self, tmp_path: Path, target_dsn: str) -> None:
        plan = described({"t": {"columns": {"a": {"type": "text", "declared": "TEXT"}}}})
        job = job_for(database(tmp_path / "app.db", "CREATE TABLE t (a INT, b)"), target_dsn, plan)
        with pytest.raises(
            SourceError, match=r"column b is in the source(.|\n)*column a is declared INT in the source"
        ):
            preflight(job)

    def test_lets_a_described_plan_begin(self, tmp_path: Path, target_dsn: str) -> None:
        job = job_for(database(tmp_path / "app.db", GENERATED), target_dsn, generated(), mode="cut_over")
        assert preflight(job)["tables"] == 1


def test_an_index_key_too_long_for_a_btree_is_named_with_what_to_do(tmp_path: Path, target_dsn: str) -> None:
    long = "".join(random.Random(1).choices("abcdefghijklmnopqrstuvwxyz0123456789", k=9000))
    source = database(tmp_path / "app.db", "CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)")
    insert(source, "t", [(1, long)])
    columns = {"id": "integer!", "v": "text"}
    for part, said in (
        ({"indexes": {"long": {"keys": ["v"]}}}, "declare `method: hash` for it in the plan, or take it out of the plan"),
        ({"unique": {"long": ["v"]}}, "8191): take it out of the plan, then clear the table's load task"),
    ):  # fmt: skip
        job = run(source, target_dsn, described({"t": {"columns": columns, "primary_key": "id", **part}}), str(part))
        load_table(job, "t")
        with pytest.raises(TargetError, match="Table t: long cannot be made, because a key is too long") as found:
            finish_schema(job)
        assert said in str(found.value)
    hashed = {"long": {"keys": ["v"], "method": "hash"}}
    plan = described({"t": {"columns": columns, "primary_key": "id", "indexes": hashed}})
    finish(run(source, target_dsn, plan, "hashed", Params()))
