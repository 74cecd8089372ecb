"""Preflight and backup: every obstacle is told at once, in sentences, before anything is written to the target."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from threading import Barrier
from typing import Any

import apsw
import psycopg
import pytest
import sqlalchemy as sa
from psycopg import sql
from psycopg.conninfo import make_conninfo

from migration.errors import MigrationError, PlanError, SourceError, TargetError, TransientError
from migration.job import Job
from migration.postgres import state
from migration.postgres.schema import create_schema
from migration.preflight import backup, preflight
from tests.conftest import Server
from tests.engine.support import ask, connection_to, database, job_for, models, plan_for, schemas

N = sa.Column


def shop(
    folder: Path,
    dsn: str,
    *statements: str,
    plan: dict[str, Any] | None = None,
    exclude: tuple[str, ...] = (),
    **params: Any,
) -> Job:
    """A job for customers (id, name, since) and orders (id, customer, total)."""
    source = database(folder / "app.db", *(statements or TABLES))
    metadata = models(
        (
            "customers",
            [N("id", sa.Integer, primary_key=True), N("name", sa.Text, nullable=False), N("since", sa.DateTime(True))],
        ),
        (
            "orders",
            [
                N("id", sa.Integer, primary_key=True),
                N("customer", sa.ForeignKey("customers.id")),
                N("total", sa.Numeric(8, 2)),
            ],
        ),
    )
    parts = {"customers": {}, "orders": {"load_after": ["customers"]}} | (plan or {})
    return job_for(source, dsn, plan_for(metadata, parts, exclude_tables=exclude), **params)


CUSTOMERS = "CREATE TABLE customers (id INTEGER PRIMARY KEY, name TEXT, since TEXT)"
ORDERS = "CREATE TABLE orders (id INTEGER PRIMARY KEY, customer INTEGER, total)"
TABLES = (CUSTOMERS, ORDERS)


def refused(job: Job, kind: type[MigrationError] = SourceError) -> str:
    """The message of the refusal; the target is checked to be untouched."""
    with pytest.raises(MigrationError) as raised:
        preflight(job)
    assert type(raised.value) is kind, raised.value
    assert schemas(job.target) == {"public"}
    return str(raised.value)


def test_a_run_that_can_begin_is_registered_and_nothing_else_is_written(tmp_path: Path, target_dsn: str) -> None:
    job = shop(tmp_path, target_dsn)
    found = preflight(job)
    assert found["path"] == str(job.source)
    assert found["tables"] == 2
    assert found["staging"] == job.staging
    assert schemas(target_dsn) == {"public", "migration"}
    assert ask(job, "SELECT run_id, plan, status, mode, source, snapshot FROM migration.runs") == [
        (job.run_id, "shop", "running", "rehearsal", str(job.source), None)
    ]
    assert ask(job, "SELECT step, status FROM migration.steps") == [("preflight", "done")]
    assert preflight(job) == found
    assert ask(job, "SELECT count(*) FROM migration.runs") == [(1,)]


@pytest.mark.parametrize(
    ("statements", "words"),
    [
        ((CUSTOMERS,), "table orders is in the plan and not in the source"),
        (
            (CUSTOMERS, ORDERS.replace("orders", "Orders")),
            "table orders is in the plan and not in the source; it has Orders",
        ),
        ((CUSTOMERS, "CREATE VIEW orders AS SELECT 1"), "not in the source; it has a view of that name"),
        (
            (*TABLES, "CREATE TABLE log (x)"),
            "table log is in the source and not in the plan: plan it, or name it under exclude_tables",
        ),
        (
            (CUSTOMERS.replace("name", "nom"), ORDERS),
            "table customers: column nom is in the source and not in the target: rename it",
        ),
        (
            (CUSTOMERS.replace("name TEXT, ", ""), ORDERS),
            r"column name is required by the target and not in the source \(it has id, since\)",
        ),
        (
            (CUSTOMERS.replace("since", "since TEXT, extra"), ORDERS),
            "column extra is in the source and not in the target",
        ),
        (
            (CUSTOMERS, ORDERS.replace("total", "total, rowid, oid, _rowid_").replace("INTEGER PRIMARY KEY", "INT")),
            "nothing names its rows",
        ),
        (("PRAGMA user_version = 1",), "holds no tables. Is it the application's database"),
    ],
)
def test_a_source_that_is_not_what_the_plan_describes_is_refused(
    statements: tuple[str, ...], words: str, tmp_path: Path, target_dsn: str
) -> None:
    with pytest.raises(SourceError, match=words):
        preflight(job := shop(tmp_path, target_dsn, *statements))
    assert schemas(job.target) == {"public"}


def test_excluded_renamed_and_missing_optional_columns_are_no_difference(tmp_path: Path, target_dsn: str) -> None:
    customers = CUSTOMERS.replace("name", "nom").replace("since TEXT", "secret")
    plan = {"customers": {"columns": {"nom": {"rename": "name"}}, "exclude_columns": ["secret"]}}
    job = shop(tmp_path, target_dsn, customers, ORDERS, "CREATE TABLE log (x)", plan=plan, exclude=("log", "not there"))
    assert preflight(job)["tables"] == 2


@pytest.mark.parametrize(
    ("plan", "kind", "words"),
    [
        (
            {"orders": {}},
            SourceError,
            "table orders: its foreign key \\(customer\\) needs `load_after: \\[customers\\]` in the plan",
        ),
        (
            {"customers": {"columns": {"nom": {"invalid": "null"}}}},
            SourceError,
            "the plan speaks of column nom, which the source does not",
        ),
        (
            {"customers": {"exclude_columns": ["name"]}},
            SourceError,
            "column name is required by the target and excluded by the plan",
        ),
        (
            {"customers": {"columns": {"since": {"rename": "name"}}}},
            SourceError,
            "columns name and since are both to become name",
        ),
        (
            {"customers": {"columns": {"since": {"cast": "epoch"}}}},
            PlanError,
            "column since: there is no cast 'epoch'; there are epoch_s",
        ),
        (
            {"customers": {"columns": {"name": {"cast": "epoch_s"}}}},
            PlanError,
            "column name: the cast epoch_s leads to timestamp with time",
        ),
    ],
)
def test_a_plan_that_cannot_be_carried_out_is_refused(
    plan: dict[str, Any], kind: type[MigrationError], words: str, tmp_path: Path, target_dsn: str
) -> None:
    job = shop(tmp_path, target_dsn, plan=plan)
    with pytest.raises(kind, match=words):
        preflight(job)
    assert schemas(target_dsn) == {"public"}


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("no_such_module:Base", "models 'no_such_module:Base' cannot be imported"),
        ("tests.engine.support:nothing", "cannot be imported"),
        ("tests.engine.support:RUN", "is no SQLAlchemy MetaData"),
        ("widgettdc.models:Base", "lack table customers, orders"),
    ],
)
def test_models_that_are_none_are_refused(name: str, words: str, tmp_path: Path, target_dsn: str) -> None:
    job = shop(tmp_path, target_dsn)
    assert words in refused(replace(job, plan=job.plan.model_copy(update={"models": name})), PlanError)


def test_a_type_that_no_cast_leads_to_is_refused(tmp_path: Path, target_dsn: str) -> None:
    source = database(tmp_path / "app.db", "CREATE TABLE t (id INTEGER PRIMARY KEY, v)")
    metadata = models(("t", [N("id", sa.Integer, primary_key=True), N("v", sa.CHAR(3))]))
    job = job_for(source, target_dsn, plan_for(metadata))
    assert "Table t, column v: no cast leads to CHAR(length=3)" in refused(job, PlanError)


def test_all_problems_of_source_plan_and_target_are_told_together(tmp_path: Path, target_dsn: str) -> None:
    plan = {"customers": {"columns": {"since": {"cast": "epoch"}, "nom": {}}}}
    job = shop(tmp_path, target_dsn, CUSTOMERS, "CREATE TABLE a (x)", "CREATE TABLE b (x)", plan=plan)
    with connection_to(job) as connection:
        connection.execute("CREATE TABLE customers (x int); INSERT INTO customers VALUES (1)")
    message = refused(job)
    for words in (
        "do not match; nothing was touched:\n  table orders is in the plan",
        "\n  table a is in the source",
        "\n  table b is in the source",
        "\n  table customers: the plan speaks of column nom",
        "\n  Table customers, column since: there is no cast 'epoch'",
        "cannot take this migration; nothing was touched:\n  live tables hold rows: customers (1 rows)",
    ):
        assert words in message
    assert "None" not in message


@pytest.mark.parametrize("kind", ["missing", "text", "empty", "locked"])
def test_a_source_that_cannot_be_read_is_refused(
    kind: str, tmp_path: Path, target_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = shop(tmp_path, target_dsn)
    holder = apsw.Connection(str(job.source))
    match kind:
        case "missing":
            job.source.unlink()
        case "text":
            job.source.write_text("not a database")
        case "empty":
            job.source.write_bytes(b"")
        case "locked":
            monkeypatch.setattr("migration.sqlite.opening.BUSY_SECONDS", 0.2)
            holder.execute("BEGIN EXCLUSIVE")
    expected = {
        "missing": "There is no file",
        "text": "is not a SQLite",
        "empty": "zero bytes",
        "locked": "holds a lock",
    }
    message = refused(job)
    assert expected[kind] in message
    assert "\n" not in message


def test_a_damaged_source_is_refused(tmp_path: Path, target_dsn: str) -> None:
    job = shop(tmp_path, target_dsn)
    data = bytearray(job.source.read_bytes())
    data[4096:4200] = b"\xff" * 104
    job.source.write_bytes(data)
    assert "damaged" in refused(job) or "corrupt" in refused(job)


@pytest.mark.parametrize(
    ("change", "kind", "words"),
    [
        ("port=1", TransientError, "Connection refused"),
        ("dbname=nowhere", TargetError, 'database "nowhere" does not exist'),
    ],
)
def test_a_target_that_cannot_be_reached_is_one_sentence(
    change: str, kind: type[MigrationError], words: str, tmp_path: Path, target_dsn: str
) -> None:
    job = shop(tmp_path, f"{target_dsn} {change}")
    with pytest.raises(MigrationError, match=words) as raised:
        preflight(job)
    assert type(raised.value) is kind
    assert str(raised.value).startswith("Preflight on the target: ")
    assert "\n" not in str(raised.value)


def test_an_unreachable_target_does_not_hide_what_is_wrong_with_the_source(tmp_path: Path, target_dsn: str) -> None:
    job = shop(tmp_path, f"{target_dsn} port=1", CUSTOMERS)
    with pytest.raises(
        SourceError, match="table orders is in the plan and not in the source\nPreflight on the target: "
    ):
        preflight(job)


def test_a_read_only_target_is_refused(tmp_path: Path, target_dsn: str) -> None:
    job = shop(tmp_path, target_dsn)
    with psycopg.connect(target_dsn, autocommit=True) as connection:
        name = sql.Identifier(connection.info.dbname)
        connection.execute(sql.SQL("ALTER DATABASE {} SET default_transaction_read_only = on").format(name))
    assert "it is read-only; point the connection at the primary server" in refused(job, TargetError)


@contextmanager
def another_database(server: Server, options: str) -> Iterator[str]:
    """The connection string of a database of the tests' role made with ``options``."""
    name = f"test_{secrets.token_hex(6)}"
    dsn = make_conninfo(server.admin, dbname=name, user="migrator", password=server.password)
    with psycopg.connect(server.admin, autocommit=True) as admin:
        create = sql.SQL("CREATE DATABASE {} OWNER migrator TEMPLATE template0 {}")
        admin.execute(create.format(sql.Identifier(name), sql.SQL(options)))
        try:
            yield dsn
        finally:
            admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.mark.parametrize("encoding", ["SQL_ASCII", "LATIN1"])
def test_a_target_of_another_encoding_is_refused(encoding: str, tmp_path: Path, postgres_server: Server) -> None:
    options = f"ENCODING '{encoding}' LOCALE_PROVIDER libc LC_COLLATE 'C' LC_CTYPE 'C'"
    with another_database(postgres_server, options) as dsn:
        message = refused(shop(tmp_path, dsn), TargetError)
    assert f"its encoding is {encoding}; create the database with ENCODING 'UTF8'" in message


def test_a_role_without_rights_is_told_which_ones_to_grant(
    tmp_path: Path, target_dsn: str, postgres_server: Server
) -> None:
    role = f"weak_{secrets.token_hex(4)}"
    with psycopg.connect(postgres_server.admin, autocommit=True) as admin:
        admin.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD 'weak'").format(sql.Identifier(role)))
        try:
            job = shop(tmp_path, make_conninfo(target_dsn, user=role, password="weak"))
            message = refused(job, TargetError)
        finally:
            admin.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(role)))
    assert f'role {role} may not create schemas in it: GRANT CREATE ON DATABASE "test_' in message
    assert f'may not create tables in schema public: GRANT CREATE ON SCHEMA "public" TO "{role}"' in message


def test_a_missing_live_schema_is_told(tmp_path: Path, target_dsn: str) -> None:
    job = shop(tmp_path, target_dsn)
    job = replace(job, plan=job.plan.model_copy(update={"live_schema": "shop"}))
    assert 'it has no schema shop: CREATE SCHEMA "shop"' in refused(job, TargetError)


def test_live_tables_with_rows_are_refused_unless_they_may_be_retired(tmp_path: Path, target_dsn: str) -> None:
    job = shop(tmp_path, target_dsn)
    with connection_to(job) as connection:
        connection.execute("CREATE TABLE orders (id int)")
        preflight(job)
        connection.execute("DROP SCHEMA migration CASCADE; INSERT INTO orders VALUES (1), (2)")
    assert "live tables hold rows: orders (2 rows)" in refused(job, TargetError)
    preflight(replace(job, params=replace(job.params, on_live_tables="retire")))


@pytest.mark.parametrize("status", ["cut_over", "rolled_back", "superseded"])
def test_a_run_that_has_ended_does_not_begin_again(status: str, tmp_path: Path, target_dsn: str) -> None:
    job = shop(tmp_path, target_dsn)
    preflight(job)
    with connection_to(job) as connection:
        connection.execute("UPDATE migration.runs SET status = %s", [status])
    with pytest.raises(MigrationError, match=f"is {status.replace('_', ' ')}; it cannot begin again. Start a new run"):
        preflight(job)
    assert ask(job, "SELECT status FROM migration.runs") == [(status,)]


def test_a_new_run_supersedes_the_last_one_and_drops_its_staging(tmp_path: Path, target_dsn: str) -> None:
    first = shop(tmp_path, target_dsn)
    preflight(first)
    create_schema(first)
    preflight(second := replace(first, run_id="second"))
    assert dict(ask(first, "SELECT run_id, status FROM migration.runs")) == {
        first.run_id: "superseded",
        "second": "running",
    }
    assert schemas(target_dsn) == {"public", "migration"}
    create_schema(second)
    assert schemas(target_dsn) == {"public", "migration", second.staging}


def test_a_backup_is_recorded_with_its_run_and_kept_when_it_is_asked_for_again(tmp_path: Path, target_dsn: str) -> None:
    job = shop(tmp_path, target_dsn, *TABLES, "INSERT INTO customers VALUES (1, 'a', NULL), (2, 'b', NULL)")
    preflight(job)
    found = backup(job)
    assert (found["rows"], found["path"]) == (2, str(job.folder / "snapshot.db"))
    ((recorded,),) = ask(job, "SELECT snapshot FROM migration.runs")
    assert recorded["sha256"] == found["sha256"]
    apsw.Connection(str(job.source)).execute("DELETE FROM customers")
    assert backup(job) == found


def test_a_source_that_changed_its_tables_after_preflight_is_found_by_the_backup(
    tmp_path: Path, target_dsn: str
) -> None:
    job = shop(tmp_path, target_dsn)
    preflight(job)
    apsw.Connection(str(job.source)).execute("CREATE TABLE surprise (x)")
    with pytest.raises(SourceError, match="table surprise is in the source and not in the plan"):
        backup(job)
    assert ask(job, "SELECT snapshot FROM migration.runs") == [(None,)]
    assert ask(job, "SELECT status FROM migration.steps WHERE step = 'backup'") == [("failed",)]
    apsw.Connection(str(job.source)).execute("DROP TABLE surprise")
    assert backup(job)["rows"] == 0  # of the source as it is now


def test_a_backup_without_preflight_is_refused(tmp_path: Path, target_dsn: str) -> None:
    job = shop(tmp_path, target_dsn)
    with pytest.raises(MigrationError, match="knows no run .* its preflight has not passed. Start with the preflight"):
        backup(job)
    assert schemas(target_dsn) == {"public"}


def test_two_runs_that_begin_in_one_moment_on_a_fresh_target_are_both_registered(
    tmp_path: Path, target_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = shop(tmp_path, target_dsn)
    jobs = [first, replace(first, run_id="another", plan=first.plan.model_copy(update={"name": "another"}))]
    create, both = state.create, Barrier(2)

    def at_once(connection: psycopg.Connection[Any]) -> None:
        both.wait(20)
        create(connection)

    monkeypatch.setattr(state, "create", at_once)
    for _ in range(5):
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(preflight, jobs))
        with connection_to(first) as connection:
            assert connection.execute("SELECT count(*) FROM migration.runs").fetchone() == (2,)
            connection.execute("DROP SCHEMA migration CASCADE")
