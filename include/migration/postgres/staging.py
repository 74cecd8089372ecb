"""The staging schema as a thing owned by one run: who may work in it, and how it ends."""

from __future__ import annotations

from typing import Any

import psycopg
from psycopg import sql

from migration.errors import MigrationError, TargetError
from migration.job import Job
from migration.postgres import state, views
from migration.postgres.target import lock

WORKING = ("running", "kept", "rehearsed")
"""The states of a run whose staging may still be worked on."""


def hold(connection: psycopg.Connection[Any], job: Job, *, alone: bool = False) -> dict[str, Any]:
    """The run's row, and a lock to the end of the transaction under which nobody drops the run's staging.

    Whoever works in the staging schema calls this first. ``alone`` waits until no other step of the run works
    there. MigrationError when the run has ended in the meantime.
    """
    lock_run(connection, job.run_id, alone=alone)
    run = state.run(connection, job.run_id)
    if run["status"] not in WORKING:
        raise MigrationError(
            f"Run {job.run_id} is {run['status'].replace('_', ' ')}; its staging schema takes no more work. "
            "Start a new run."
        )
    return run


def lock_run(connection: psycopg.Connection[Any], run_id: str, *, alone: bool) -> None:
    """Share the run with its other steps to the end of the transaction, or have it ``alone``."""
    lock(connection, f"Run {run_id}", "run", run_id, shared=not alone)


def oids(connection: psycopg.Connection[Any], schema: str, tables: list[str]) -> dict[str, int]:
    """The object ids of those of ``tables``, or views, that ``schema`` holds."""
    found = connection.execute(
        "SELECT c.relname, c.oid::bigint FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
        " WHERE n.nspname = %s AND c.relname = ANY(%s) AND c.relkind IN ('r', 'p', 'v') ORDER BY 1",
        [schema, tables],
    )
    return dict(found.fetchall())


def exists(connection: psycopg.Connection[Any], schema: str) -> bool:
    """Whether there is a schema of that name."""
    return connection.execute("SELECT FROM pg_namespace WHERE nspname = %s", [schema]).fetchone() is not None


def drop_staging(connection: psycopg.Connection[Any], run: dict[str, Any]) -> int:
    """Drop the staging schema of ``run`` (its row) and the tables and views that it created there; how many tables.

    TargetError when the schema is not this run's, or when anything else lies in it or depends on it.
    """
    schema = run["staging"]
    if not exists(connection, schema):
        return 0
    if run["staged"] is None:
        raise TargetError(
            f"Schema {schema} exists, but run {run['run_id']} did not create it. "
            "Rename or drop it, then clear this task."
        )
    views.drop(connection, run)
    tables_made = [oid for name, oid in run["staged"].items() if name not in views.staged(run)]
    owned = connection.execute(
        "SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
        " WHERE n.nspname = %s AND c.oid::bigint = ANY(%s) ORDER BY 1",
        [schema, tables_made],
    ).fetchall()
    if owned:
        # One statement for all: foreign keys among them need no CASCADE then.
        tables = sql.SQL(", ").join(sql.Identifier(schema, name) for (name,) in owned)
        _drop(connection, schema, sql.SQL("DROP TABLE {}").format(tables))
    drop_schema(connection, schema)
    return len(owned)


def drop_schema(connection: psycopg.Connection[Any], schema: str) -> None:
    """Drop a schema of this project that is empty by now; TargetError names what else lies in it."""
    _drop(connection, schema, sql.SQL("DROP SCHEMA {}").format(sql.Identifier(schema)))


def _drop(connection: psycopg.Connection[Any], schema: str, statement: sql.Composed) -> None:
    try:
        connection.execute(statement)
    except psycopg.errors.DependentObjectsStillExist as error:
        raise TargetError(
            f"Schema {schema} cannot be dropped, because objects that no run created lie in it or use its "
            f"tables: {'; '.join((error.diag.message_detail or '').splitlines())}. "
            "Move or drop these, then clear this task."
        ) from error
