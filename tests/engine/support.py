"""What the engine's tests share: a SQLite file from SQL, models and a plan for it, a run ready to load.

source = database(tmp_path / "app.db", "CREATE TABLE t (id INTEGER PRIMARY KEY, v)")
insert(source, "t", [(1, "x")])
plan = plan_for(models(("t", [sa.Column("id", sa.Integer, primary_key=True), sa.Column("v", sa.Text)])))
job = begin(job_for(source, target_dsn, plan))  # snapshot, run in the state, staging
load_table(job, "t")
staged(job, "t")  # [(1, "x")]
"""

from __future__ import annotations

import os
import signal
import sqlite3
import stat
import tempfile
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import apsw
import psycopg
import sqlalchemy as sa
from psycopg import sql
from psycopg.rows import TupleRow

from migration.job import Job, Params
from migration.load.table import load_table
from migration.plan import Plan, TablePlan
from migration.postgres import state
from migration.postgres.schema import create_schema
from migration.sqlite.catalog import quoted
from migration.sqlite.snapshot import take

RUN = "manual__2026-03-01T10:00:00+00:00"
_models: dict[str, sa.MetaData] = {}


def __getattr__(name: str) -> sa.MetaData:
    """The models of the tests' plans, which name them as ``tests.engine.support:m0`` and so on."""
    try:
        return _models[name]
    except KeyError:
        raise AttributeError(name) from None


class Raw(bytes):
    """The bytes of a text that may not be valid: inserted as CAST(? AS TEXT)."""


def database(path: Path, *statements: str, encoding: str = "UTF-8") -> Path:
    """A SQLite file made by ``statements``."""
    connection = apsw.Connection(str(path))
    connection.execute(f'PRAGMA encoding = "{encoding}"')
    with connection:
        for statement in statements:
            connection.execute(statement)
    connection.close()
    return path


def insert(path: Path, table: str, rows: Iterable[Sequence[Any]]) -> None:
    """Insert rows; each value keeps its storage class, and Raw becomes text of these bytes."""
    connection = apsw.Connection(str(path))
    with connection:
        for row in rows:
            marks = ", ".join("CAST(? AS TEXT)" if isinstance(v, Raw) else "?" for v in row)
            values = [bytes(v) if isinstance(v, Raw) else v for v in row]
            connection.execute(f"INSERT INTO {quoted(table)} VALUES ({marks})", values)
    connection.close()


TABLES = ("CREATE TABLE t (id INTEGER PRIMARY KEY AUTOINCREMENT, v)", "CREATE TABLE u (v TEXT)")


def application(path: Path) -> Path:
    """A database of an application: 499 rows of t, whose largest id ever was 500, and none of u."""
    database(path, *TABLES)
    insert(path, "t", [(n, f"row {n}" + "." * 80) for n in range(1, 501)])
    return database(path, "DELETE FROM t WHERE id = 500")


@contextmanager
def writer(path: Path) -> Iterator[apsw.Connection]:
    """A connection of an application, in WAL mode without checkpoints."""
    connection = apsw.Connection(str(path))
    connection.pragma("journal_mode", "wal")
    connection.pragma("wal_autocheckpoint", 0)
    yield connection
    connection.close()


def dump(path: Path) -> list[str]:
    """The database as SQL statements."""
    connection = sqlite3.connect(path)
    try:
        return list(connection.iterdump())
    finally:
        connection.close()


def models(*tables: tuple[str, Sequence[Any]]) -> sa.MetaData:
    """A MetaData of these tables: names with their columns and constraints."""
    metadata = sa.MetaData()
    for name, parts in tables:
        sa.Table(name, metadata, *parts)
    return metadata


def plan_for(metadata: sa.MetaData, tables: Mapping[str, Any] | None = None, **others: Any) -> Plan:
    """A plan that leads to ``metadata``: all its tables, or those given with their part of the plan."""
    name = f"m{len(_models)}"
    _models[name] = metadata
    parts = {t: {} for t in metadata.tables} if tables is None else tables
    return Plan(
        name="shop",
        title="The shop",
        models=f"{__name__}:{name}",
        source="shop_source",
        target="shop_target",
        tables={t: TablePlan.model_validate(p) for t, p in parts.items()},
        **others,
    )


def job_for(source: Path, dsn: str, plan: Plan, run_id: str = RUN, **params: Any) -> Job:
    """A job whose home lies beside its source."""
    return Job(plan, run_id, dsn, source, source.parent / "home", Params(**params))


def register(job: Job) -> None:
    """Enter the job's run into the target's state, as preflight does."""
    run = {"run_id": job.run_id, "plan": job.plan.name, "mode": job.params.mode, "status": "running"}
    places = {"staging": job.staging, "retired": job.retired, "live": job.plan.live_schema}
    facts = {"source": str(job.source), "params": asdict(job.params), "live_before": {}}
    with connection_to(job) as connection:
        state.create(connection)
        state.put(connection, state.runs, run | places | facts)


def begin(job: Job) -> Job:
    """Snapshot, state and staging: all that a load needs."""
    take(job.source, job.folder)
    register(job)
    create_schema(job)
    return job


def load_all(job: Job) -> dict[str, dict[str, Any]]:
    """Load every table of the plan in order; the figures by table."""
    return {table: load_table(job, table) for level in job.plan.levels for table in level}


@contextmanager
def connection_to(job: Job) -> Iterator[psycopg.Connection[TupleRow]]:
    """A connection to the job's target, in autocommit and at UTC."""
    with psycopg.connect(job.target, autocommit=True, options="-c timezone=UTC") as connection:
        yield connection


def ask(job: Job, query: sql.SQL | sql.Composed | str, *values: Any) -> list[Any]:
    """The rows of a query on the job's target."""
    with connection_to(job) as connection:
        return connection.execute(query, list(values) or None).fetchall()


def staged(job: Job, table: str, columns: str = "*", order: str = "1") -> list[Any]:
    """What lies in a staged table, which has the alias t."""
    query = sql.SQL("SELECT {} FROM {} t ORDER BY {}")
    return ask(job, query.format(sql.SQL(columns), sql.Identifier(job.staging, table), sql.SQL(order)))


def quarantined(job: Job, table: str) -> dict[str, tuple[str, str]]:
    """Row key → (column, rule) of a table's quarantined rows."""
    rows = _recorded(job, state.quarantine, table)
    return {row["row_key"]: (row["column_name"], row["rule"]) for row in rows}


def quarantined_bytes(job: Job, table: str) -> dict[tuple[str, str], tuple[str, bytes | None]]:
    """(row key, column) → (storage class, bytes) of a table's quarantined rows."""
    rows = _recorded(job, state.quarantined_values, table)
    return {(row["row_key"], row["column_name"]): (row["storage_class"], row["value"]) for row in rows}


def altered(job: Job, table: str) -> dict[tuple[str, str], tuple[str, str, bytes | None]]:
    """(row key, column) → (action, storage class, bytes before) of a table's altered values."""
    rows = _recorded(job, state.altered_values, table)
    return {(row["row_key"], row["column_name"]): (row["action"], row["storage_class"], row["value"]) for row in rows}


def _recorded(job: Job, table: sa.Table, source_table: str) -> list[dict[str, Any]]:
    with connection_to(job) as connection:
        return state.rows(connection, table, run_id=job.run_id, table_name=source_table)


def everything(job: Job) -> dict[str, list[Any]]:
    """All that is loaded and recorded for the job's run but times and ids, for comparing two states."""
    found = {}
    for table in map(job.plan.target_table, job.plan.tables):
        found[table] = staged(job, table, "(t.*)::text")
    for name in ("loads", "quarantine", "quarantined_values", "altered_values"):
        moving = ["load_id", "xids", "seconds", "loaded_at", "indexed_at", "shape"]
        query = sql.SQL("SELECT (to_jsonb(t) - %s::text[])::text FROM {} t ORDER BY 1")
        found[f"migration.{name}"] = ask(job, query.format(sql.Identifier("migration", name)), moving)
    return found


def schemas(dsn: str) -> set[str]:
    """The schemas of a database, PostgreSQL's own aside."""
    with psycopg.connect(dsn, client_encoding="UTF8") as connection:
        rows = connection.execute("SELECT nspname FROM pg_namespace WHERE nspname !~ '^(pg_|information_schema)'")
        return {name for (name,) in rows}


@contextmanager
def folder_for_all() -> Iterator[Path]:
    """A new folder that any user can enter and write to, unlike pytest's."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(stat.S_IRWXU | stat.S_IRWXG | stat.S_IRWXO)
        yield folder


@contextmanager
def without_privileges() -> Iterator[None]:
    """Be bound by file permissions inside, also when the tests run as root."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def in_a_process(
    act: Callable[[], int | None], seconds: float = 60, meanwhile: Callable[[], None] = lambda: None
) -> int:
    """Do ``act`` in a process of its own; its exit code, or the negative number of the signal that ended it.

    ``meanwhile`` is done by this process again and again until the other has ended.
    """
    process = os.fork()
    if not process:
        code = 1
        try:
            code = act() or 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    end = time.monotonic() + seconds
    while (found := os.waitpid(process, os.WNOHANG)) == (0, 0):
        if time.monotonic() > end:
            os.kill(process, signal.SIGKILL)
        meanwhile()
        time.sleep(0.02)
    return os.waitstatus_to_exitcode(found[1])


def kill_itself() -> None:
    """End this process at once, as the kernel or an operator would."""
    os.kill(os.getpid(), signal.SIGKILL)
