"""Connections to the target, the locks that keep runs apart, and the shape its tables shall have."""

from __future__ import annotations

import hashlib
import importlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from functools import lru_cache
from typing import Any

import psycopg
import sqlalchemy as sa
from psycopg import sql

from migration.derive.target import described_tables
from migration.errors import PlanError, TransientError, translated
from migration.plan import Plan

CONNECT_SECONDS = 10
SETTINGS = (
    # GMT is UTC by the one name that PostgreSQL knows without the system's time zone files.
    # A backend whose client vanished ends within a minute; a step never waits behind a lock for longer than this.
    "-c client_min_messages=warning -c timezone=GMT -c lock_timeout=10s -c idle_in_transaction_session_timeout=0 "
    # What an administrator has set for the application's sessions, a long COPY cannot live with; nor can our SQL with
    # other strings, or under an isolation in which a transaction does not see what others have committed meanwhile.
    "-c statement_timeout=0 -c idle_session_timeout=0 -c standard_conforming_strings=on "
    "-c datestyle=ISO,MDY -c intervalstyle=postgres "  # nothing else the driver reads
    r"-c default_transaction_isolation=read\ committed "
    "-c tcp_keepalives_idle=30 -c tcp_keepalives_interval=10 -c tcp_keepalives_count=3"
)


_kept: ContextVar[dict[str, psycopg.Connection[Any]] | None] = ContextVar("kept connections", default=None)


@contextmanager
def connections_kept() -> Iterator[None]:
    """Within this block a connection that is done with is wiped and serves again, for many small pieces of work.

    Connecting, three times a table, takes longer than loading an empty one.
    """
    kept: dict[str, psycopg.Connection[Any]] = {}
    token = _kept.set(kept)
    try:
        yield
    finally:
        _kept.reset(token)
        for connection in kept.values():
            connection.close()


@contextmanager
def connected(dsn: str, doing: str, *, autocommit: bool = False) -> Iterator[psycopg.Connection[Any]]:
    """A connection for one step, closed at the end; an open transaction is committed, or rolled back on error.

    ``doing`` opens the message of any error, e.g. ``"loading table decisions"``. Raises this package's errors only.
    """
    kept, name = _kept.get(), f"migration: {doing}"[:63]
    with translated(doing):
        connection = (_wiped(kept.pop(dsn, None), name) if kept else None) or _connect(dsn, name)
        connection.autocommit = autocommit
        try:
            yield connection
            connection.commit()
        except BaseException:
            with suppress(psycopg.Error):  # what went wrong before tells more
                connection.rollback()
            raise
        finally:
            if kept is None or dsn in kept or connection.closed:
                connection.close()
            else:
                kept[dsn] = connection


def _connect(dsn: str, name: str) -> psycopg.Connection[Any]:
    return psycopg.connect(
        dsn,
        connect_timeout=CONNECT_SECONDS,
        options=SETTINGS,
        application_name=name,
        client_encoding="UTF8",
        keepalives_idle=30,
        keepalives_interval=10,
        keepalives_count=3,
        tcp_user_timeout=60_000,
    )


def _wiped(connection: psycopg.Connection[Any] | None, name: str) -> psycopg.Connection[Any] | None:
    """The connection as if it were new; None when it is lost."""
    if connection is None:
        return None
    try:
        connection.autocommit = True
        # Not DISCARD ALL: psycopg goes on believing in the statements that it has prepared.
        wipe = sql.SQL("RESET ALL; DISCARD TEMP; CLOSE ALL; SELECT pg_advisory_unlock_all(); SET application_name = {}")
        connection.execute(wipe.format(name))
    except psycopg.Error:
        connection.close()
        return None
    return connection


@contextmanager
def path(connection: psycopg.Connection[Any], schema: str) -> Iterator[None]:
    """Within this block, which must lie in a transaction, names without a schema mean those in ``schema``."""
    row = connection.execute(
        "SELECT current_setting('search_path'), set_config('search_path', quote_ident(%s), true)", [schema]
    ).fetchone()
    assert row is not None
    yield
    connection.execute("SELECT set_config('search_path', %s, true)", [row[0]])


def lock_key(*parts: str) -> int:
    """A 63-bit advisory lock key for ``parts``."""
    return int.from_bytes(hashlib.sha256("\0".join(parts).encode()).digest()[:8]) >> 1


def lock(connection: psycopg.Connection[Any], what: str, *parts: str, shared: bool = False) -> None:
    """Take an advisory lock for the rest of the transaction; TransientError after lock_timeout."""
    function = "pg_advisory_xact_lock_shared" if shared else "pg_advisory_xact_lock"
    try:
        connection.execute(sql.SQL("SELECT {}(%s)").format(sql.Identifier(function)), [lock_key(*parts)])
    except psycopg.errors.LockNotAvailable as error:
        raise TransientError(
            f"{what} is being worked on by another process. Wait until it ends, then clear this task."
        ) from error


_described = lru_cache(maxsize=2)(described_tables)  # each step of each table asks; 0.3 s for 400 tables


def target_metadata(plan: Plan) -> sa.MetaData:
    """The tables that the plan's target shall have, not to be changed; PlanError when ``plan.models`` names none."""
    if plan.models is None:
        return _described(plan)
    module, _, attribute = plan.models.partition(":")
    try:
        found = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise PlanError(f"Plan {plan.name}: models {plan.models!r} cannot be imported: {error}") from error
    metadata = getattr(found, "metadata", found)
    if not isinstance(metadata, sa.MetaData):
        raise PlanError(f"Plan {plan.name}: models {plan.models!r} is no SQLAlchemy MetaData.")
    if missing := [plan.target_table(t) for t in plan.tables if plan.target_table(t) not in metadata.tables]:
        raise PlanError(f"Plan {plan.name}: models {plan.models!r} lack table {', '.join(missing)}.")
    return metadata


def waived(table: sa.Table) -> set[str]:
    """The names of the foreign keys that rows without a parent may break: those that are NOT VALID."""
    keys = [key for key in table.foreign_key_constraints if key.dialect_options["postgresql"]["not_valid"]]
    return {str(key.name) for key in keys if key.name is not None}


def in_schema(metadata: sa.MetaData, schema: str, tables: list[str]) -> dict[str, sa.Table]:
    """Copies of ``tables`` that live in ``schema``, foreign keys among them included; by name."""
    copy = sa.MetaData(naming_convention=metadata.naming_convention)
    copies: dict[str, sa.Table] = {
        name: metadata.tables[name].to_metadata(
            copy, schema=schema, referred_schema_fn=lambda _table, _to, _constraint, _referred: schema
        )
        for name in tables
    }
    for name, table in copies.items():
        _keep_index_names(metadata.tables[name], table)
    return copies


def _keep_index_names(original: sa.Table, copy: sa.Table) -> None:
    """An index that a column asks for is named anew when it is copied, by a convention that may name the schema."""
    names = {tuple(index.columns.keys()): index.name for index in original.indexes}
    known = set(names.values())
    for index in copy.indexes:
        if index.name not in known:
            index.name = names[tuple(index.columns.keys())]
