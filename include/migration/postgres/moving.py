"""Moves tables and views between schemas while people use them: everything or nothing, and nobody waits for long.

Whoever uses the live tables waits for one statement only: it locks all of them, makes sure that no row has
changed since they were compared, and moves them. It is one statement, so that one timeout bounds its waiting
and its work. Views go first and those that read others before these, for whoever reads a view locks it before what it
reads. No weaker lock is held before it: to raise one would be a deadlock with any transaction that has
read a table and goes on to write to it, and PostgreSQL would end that transaction.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql

from migration.errors import CutOverRefused, TransientError
from migration.postgres import live

log = logging.getLogger("migration")

SECONDS = 3.0
"""The longest that users of the live tables queue behind a cut-over: more than PostgreSQL's deadlock_timeout
(1 s), after which an autovacuum gives way. Half a second is added for each million rows that are retired."""
TRIES = 3
PAUSE = 1.0
"""Seconds between tries, in which those who had to queue go on."""


@dataclass(frozen=True)
class Move:
    """From a schema, to a schema, tables and views by name and oid."""

    source: str
    to: str
    tables: dict[str, int]
    views: dict[str, int]


_CHANGED = "MIG01"
"""The SQLSTATE that says that a table was changed after it was compared."""


def move(connection: psycopg.Connection[Any], versions: dict[str, str], away: Move, into: Move) -> None:
    """Move what goes ``away`` from the live schema and others ``into`` it, if no table of the former has changed
    since ``versions`` (:data:`live.VERSIONS`) were read; otherwise CutOverRefused."""
    statements = [_moved(m, name) for m in (away, into) for name in sorted(m.views, key=m.views.__getitem__)[::-1]]
    statements += [_lock(m.source, m.tables) for m in (away, into) if m.tables]
    for name, oid in away.tables.items():
        table = sql.Identifier(away.source, name)
        condition = sql.SQL("{} OR (SELECT {} FROM {}) <> {}")
        changed = condition.format(_other(table, oid, connection), live.VERSIONS, table, versions[name])
        statements.append(_refuse(changed, name))
    statements += [_moved(m, name) for m in (away, into) for name in m.tables]
    for m in (away, into):
        for name, oid in m.views.items():
            statements.append(_refuse(_other(sql.Identifier(m.to, name), oid, connection), name))
    body = sql.SQL("BEGIN {}; END").format(sql.SQL("; ").join(statements)).as_string(connection)
    rows = sum(int(v.split()[0]) for v in versions.values())
    moved = [oid for m in (away, into) for oid in (*m.tables.values(), *m.views.values())]
    try:
        _patiently(connection, sql.SQL("DO {}").format(body), moved, SECONDS + rows / 2_000_000)
    except psycopg.DatabaseError as error:
        if error.sqlstate != _CHANGED:
            raise
        raise CutOverRefused(
            f"{away.source}.{error.diag.message_primary} was changed in the last moment. Nothing was "
            "moved; clear this task to have the changes counted."
        ) from error


def _moved(move: Move, name: str) -> sql.Composed:
    return sql.SQL("ALTER TABLE {} SET SCHEMA {}").format(sql.Identifier(move.source, name), sql.Identifier(move.to))


def _other(relation: sql.Identifier, oid: int, connection: psycopg.Connection[Any]) -> sql.Composed:
    """The condition that a name means another relation, or none."""
    return sql.SQL("to_regclass({}) IS DISTINCT FROM {}::oid").format(relation.as_string(connection), oid)


def _refuse(condition: sql.Composed, name: str) -> sql.Composed:
    raising = sql.SQL("IF {} THEN RAISE EXCEPTION USING ERRCODE = {}, MESSAGE = {}; END IF")
    return raising.format(condition, _CHANGED, name)


def lock_tables(
    connection: psycopg.Connection[Any], schema: str, tables: dict[str, int], *, shared: bool = False
) -> None:
    """Lock tables (oids by name) against everybody, or ``shared`` only against being locked so or changed in
    shape; TransientError says who is in the way."""
    if tables:
        _patiently(connection, _lock(schema, tables, shared=shared), tables.values(), SECONDS)


def _lock(schema: str, tables: Iterable[str], *, shared: bool = False) -> sql.Composed:
    names = sql.SQL(", ").join(sql.Identifier(schema, name) for name in tables)
    mode = sql.SQL("ACCESS SHARE" if shared else "ACCESS EXCLUSIVE")
    return sql.SQL("LOCK TABLE {} IN {} MODE").format(names, mode)


def _patiently(
    connection: psycopg.Connection[Any], statement: sql.Composed, tables: Iterable[int], seconds: float
) -> None:
    """Execute a statement that waits for locks on ``tables``: ``seconds`` at most, ``TRIES`` times, each in a
    savepoint. TransientError says who holds the locks."""
    limits = [f"{int(SECONDS * 1000)}ms", f"{int(seconds * 1000)}ms"]
    for attempt in range(1, TRIES + 1):
        try:
            with connection.transaction():
                connection.execute(
                    "SELECT set_config('lock_timeout', %s, true), set_config('statement_timeout', %s, true)",
                    limits,
                )
                connection.execute(statement)
                connection.execute("SET LOCAL statement_timeout TO DEFAULT")
            return
        except (psycopg.errors.LockNotAvailable, psycopg.errors.QueryCanceled):
            holders = _holders(connection, list(tables))
            log.warning("Waited for locks held by %s (try %d of %d)", holders, attempt, TRIES)
        if attempt < TRIES:
            time.sleep(PAUSE)
    raise TransientError(
        f"Nothing was changed: the tables stayed locked by {holders}. "
        "End that transaction or wait for its end, then clear this task."
    )


# What others do is visible only to a superuser and to members of their role or of pg_read_all_stats.
_HOLDERS = """
    SELECT DISTINCT ON (l.pid)
      coalesce(nullif(a.application_name, ''), a.backend_type, 'a prepared transaction'),
      concat_ws(', ', 'pid ' || l.pid, 'user ' || a.usename, a.state,
        'in a transaction since ' || to_char(a.xact_start AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS "UTC"'),
        l.mode || ' on ' || c.relname)
    FROM pg_locks l JOIN pg_class c ON c.oid = l.relation AND c.relkind <> 'i'
    LEFT JOIN pg_stat_activity a ON a.pid = l.pid
    WHERE l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
      AND l.relation::bigint = ANY(%s) AND l.granted AND l.pid IS DISTINCT FROM pg_backend_pid()
    ORDER BY l.pid, c.relkind, c.relname
"""


def _holders(connection: psycopg.Connection[Any], tables: list[int]) -> str:
    rows = connection.execute(_HOLDERS, [live.moves(connection, tables)["relations"]])
    return "; ".join(f"{who} ({what})" for who, what in rows) or "somebody who is gone by now"
