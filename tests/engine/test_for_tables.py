"""Several tables in one step: each by itself, told together, on one connection."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import psycopg
import pytest

from migration import steps
from migration.errors import MigrationError, RejectedRows, TargetError, TransientError
from migration.job import Job
from migration.plan import Plan
from migration.postgres.target import connected, connections_kept, target_metadata
from migration.sqlite.catalog import read_catalog
from migration.sqlite.opening import open_snapshot
from tests.conftest import Server
from tests.engine.many import make_many, many_plan
from tests.engine.support import ask, begin, database, job_for, staged

TABLES = ("t000_of_many", "t001_of_many", "t007_of_many")


@pytest.fixture
def job(tmp_path: Path, target_dsn: str) -> Job:
    """A run of thirty tables whose second has a value that cannot cross."""
    source = make_many(tmp_path / "many.db", tables=30, large=2, rows=20)
    database(source, "UPDATE t001_of_many SET amount = 'much' WHERE id = 3")
    return begin(job_for(source, target_dsn, Plan.model_validate(many_plan(source, tables=30, large=2, rows=20))))


def steps_of(job: Job) -> dict[str, tuple[str, Any]]:
    rows = ask(job, "SELECT table_name, status, message FROM migration.steps WHERE step = 'load'")
    return {table: (status, message) for table, status, message in rows}


def test_a_failing_table_stops_none_of_the_others_and_its_message_is_the_last_word(
    job: Job, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO), pytest.raises(RejectedRows) as raised:
        steps.for_tables(steps.load, job, TABLES)
    assert "table t001_of_many, column amount, key [3], value 'much'" in str(raised.value)
    assert caplog.messages[0] == "load: 3 tables: t000_of_many, t001_of_many, t007_of_many"
    assert caplog.messages[-1] == "load: 1 of 3 tables failed: t001_of_many"
    assert len(staged(job, "t000_of_many")) == 20
    assert len(staged(job, "t007_of_many")) == 25
    assert staged(job, "t001_of_many") == []
    recorded = steps_of(job)
    assert recorded["t000_of_many"] == recorded["t007_of_many"] == ("done", None)
    assert recorded["t001_of_many"][0] == "failed"
    assert "value 'much'" in recorded["t001_of_many"][1]


def test_run_again_every_table_is_loaded_again(job: Job) -> None:
    for _ in range(2):
        assert steps.for_tables(steps.load, job, (TABLES[0], TABLES[2]))["loaded"] == 45
    assert len(staged(job, "t000_of_many")) == 20


def fails(errors: dict[str, Exception]) -> Any:
    def function(job: Job, table: str) -> dict[str, Any]:
        if table in errors:
            raise errors[table]
        return {"table": table, "rows": 1, "seconds": 0.1}

    return function


def test_trying_again_is_worth_it_only_when_it_may_help_every_failed_table(job: Job) -> None:
    passing: dict[str, Exception] = {"a": TransientError("a waits"), "b": TransientError("b waits")}
    with pytest.raises(TransientError, match="^a waits\nb waits$"):
        steps.for_tables(fails(passing), job, ("a", "b", "c"))
    with pytest.raises(RejectedRows, match="^a waits\nb is wrong$"):
        steps.for_tables(fails(passing | {"b": RejectedRows("b is wrong")}), job, ("a", "b", "c"))


def test_a_fault_of_the_program_names_its_table_and_stops_no_other(job: Job) -> None:
    with pytest.raises(MigrationError, match="^Table a: KeyError: 'lost'\nb is wrong$"):
        steps.for_tables(fails({"a": KeyError("lost"), "b": RejectedRows("b is wrong")}), job, ("a", "b"))


def test_the_figures_of_several_tables_are_their_sums(job: Job) -> None:
    assert steps.for_tables(fails({}), job, ("a", "b", "c")) == {"tables": 3, "rows": 3}
    assert steps.for_tables(fails({}), job, ("a",)) == {"table": "a", "rows": 1, "seconds": 0.1}


def process_of(dsn: str) -> int:
    with connected(dsn, "asking") as connection:
        return connection.info.backend_pid


def test_a_kept_connection_comes_back_as_if_it_were_new(target_dsn: str) -> None:
    with connections_kept():
        with connected(target_dsn, "first") as connection:
            first = connection.info.backend_pid
            connection.execute("CREATE TABLE kept (n int)")
            connection.execute("SET search_path TO nowhere")
            connection.execute("CREATE TEMP TABLE gone (n int)")
        with pytest.raises(TargetError), connected(target_dsn, "second") as connection:
            connection.execute("INSERT INTO public.kept VALUES (1); SELECT 1/0")
        with connected(target_dsn, "third", autocommit=True) as connection:
            assert connection.info.backend_pid == first
            shown = connection.execute(
                "SELECT current_setting('search_path'), current_setting('timezone'), current_setting('application_name'),"
                " to_regclass('pg_temp.gone'), (SELECT count(*) FROM kept)"
            ).fetchone()
            assert shown == ('"$user", public', "GMT", "migration: third", None, 0)
    assert process_of(target_dsn) != first


def test_a_kept_connection_that_was_lost_meanwhile_is_replaced(target_dsn: str, postgres_server: Server) -> None:
    with connections_kept():
        first = process_of(target_dsn)
        with psycopg.connect(postgres_server.admin, autocommit=True) as admin:
            admin.execute("SELECT pg_terminate_backend(%s, 5000)", [first])
        assert process_of(target_dsn) != first


def test_a_catalog_is_read_anew_when_schema_or_sequence_changed(tmp_path: Path) -> None:
    path = database(
        tmp_path / "a.db", "CREATE TABLE t (id INTEGER PRIMARY KEY AUTOINCREMENT, v)", "INSERT INTO t VALUES (5, 1)"
    )

    def read() -> Any:
        connection = open_snapshot(path)
        try:
            return read_catalog(connection)
        finally:
            connection.close()

    first = read()
    assert read() is first
    database(path, "INSERT INTO t VALUES (9, 1)")
    assert read().table("t").sequence == 9
    database(path, "ALTER TABLE t RENAME COLUMN v TO w")
    assert [c.name for c in read().table("t").columns] == ["id", "w"]


def test_the_target_of_equal_plans_is_made_once_and_that_of_a_changed_plan_anew(tmp_path: Path) -> None:
    content = many_plan(tmp_path / "a.db", tables=3)
    first = target_metadata(Plan.model_validate(content))
    assert target_metadata(Plan.model_validate(content)) is first
    content["tables"]["t000_of_many"]["columns"]["amount"]["type"] = "numeric(10,2)"
    assert target_metadata(Plan.model_validate(content)) is not first
