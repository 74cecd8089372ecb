"""Reads a run's facts from the target's ``migration`` schema: whole counts, and rows in bounded pages.

Nothing here grows with the data: a million quarantined rows are counted, and at most ``limit`` are read.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, LiteralString

import psycopg
from psycopg.pq import TransactionStatus
from psycopg.rows import dict_row

from migration.errors import MigrationError, masked
from migration.job import Job
from migration.plan import Plan
from migration.postgres import state
from migration.report.facts import (
    AlteredValue,
    Check,
    Difference,
    Kind,
    Load,
    QuarantinedRow,
    Report,
    Snapshot,
    StepFacts,
    TableFacts,
    Value,
    Verification,
)

LIMIT = 500
"""So many quarantined rows, altered values and differences are kept in a report, of each."""
HEAD_BYTES = 200
"""So much of a value is read; the rest stays in the target."""
HEAD_CHARACTERS = 2000
"""So much of a text that the state keeps as text is read (reasons, differing values)."""
ROW_COLUMNS = 16
"""So many values of a quarantined row are read, the faulty one first."""

Connection = psycopg.Connection[Any]


def gather(connection: Connection, job: Job | tuple[Plan, str], limit: int = LIMIT) -> Report:
    """The facts of a run, named by its job or by ``(plan, run_id)``, all as of one moment.

    Works in whatever state the run is; MigrationError when the target knows no such run. Reads only the
    ``migration`` schema. Holds no password: connection strings in messages and parameters are masked.
    """
    plan, run_id = job if isinstance(job, tuple) else (job.plan, job.run_id)
    with _one_moment(connection):
        if connection.execute("SELECT to_regclass('migration.runs')").fetchone() == (None,):
            raise MigrationError(f"The target knows no run {run_id!r}: no migration has begun there.")
        run = state.run(connection, run_id)
        tables = _tables(connection, plan, run_id)
        now = connection.execute("SELECT clock_timestamp()").fetchone()
        assert now is not None
        return Report(
            plan=plan.name,
            title=plan.title,
            plan_digest=hashlib.sha256(plan.model_dump_json().encode()).hexdigest(),
            run_id=run_id,
            mode=run["mode"],
            status=run["status"],
            params=_clean(run["params"]),
            approval=_clean(run["approval"] or {}),
            source=masked(run["source"]),
            staging=run["staging"],
            retired=run["retired"],
            live=run["live"],
            live_before={
                name: int(held.get("rows", 0))
                for name, held in (run["live_before"] or {}).items()
                if held.get("kind") != "view"
            },
            snapshot=_snapshot(run["snapshot"]),
            started_at=run["started_at"],
            cut_over_at=run["cut_over_at"],
            rolled_back_at=run["rolled_back_at"],
            gathered_at=now[0],
            excluded_tables=plan.exclude_tables,
            refused=plan.refused,
            tables=tables,
            steps=_steps(connection, plan, run_id),
            quarantine_kinds=_kinds(connection, _QUARANTINE_KINDS, run_id),
            altered_kinds=_kinds(connection, _ALTERED_KINDS, run_id),
            quarantined=_quarantined(connection, run_id, _with_rows(tables, "quarantine_held"), None, limit),
            altered=_altered(connection, run_id, _with_rows(tables, "altered_held"), None, limit),
            differences=_differences(connection, run_id, _with_rows(tables, "differences_held"), 0, limit),
        )


def quarantined(
    connection: Connection, run_id: str, table: str, after: str | None = None, limit: int = 100
) -> tuple[QuarantinedRow, ...]:
    """A page of ``table``'s quarantined rows; ``after`` is the last page's last ``key``."""
    return _quarantined(connection, run_id, [table], after, limit)


def altered(
    connection: Connection, run_id: str, table: str, after: tuple[str, str] | None = None, limit: int = 100
) -> tuple[AlteredValue, ...]:
    """A page of ``table``'s altered values; ``after`` is the last page's last ``(key, column)``."""
    return _altered(connection, run_id, [table], after, limit)


def differences(
    connection: Connection, run_id: str, table: str, after: int = 0, limit: int = 100
) -> tuple[Difference, ...]:
    """A page of ``table``'s differences; ``after`` is the last page's last ``number``."""
    return _differences(connection, run_id, [table], after, limit)


@contextmanager
def _one_moment(connection: Connection) -> Iterator[None]:
    """Let every query inside see the same moment, unless the caller's own transaction is open already."""
    idle = connection.info.transaction_status is TransactionStatus.IDLE
    with connection.transaction():
        if idle:
            connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        yield


def _fetch(connection: Connection, query: LiteralString, **values: Any) -> list[dict[str, Any]]:
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(query, values).fetchall()


def _clean(facts: Mapping[str, Any]) -> dict[str, Any]:
    return {name: masked(value) if isinstance(value, str) else value for name, value in facts.items()}


def _snapshot(kept: Mapping[str, Any] | None) -> Snapshot | None:
    if not kept:
        return None
    return Snapshot(path=str(kept.get("path", "")), sha256=str(kept.get("sha256", "")), size=kept.get("bytes"))


def _tables(connection: Connection, plan: Plan, run_id: str) -> tuple[TableFacts, ...]:
    loads = {row["table_name"]: row for row in state.rows(connection, state.loads, run_id=run_id)}
    verifications = {row["table_name"]: row for row in state.rows(connection, state.verifications, run_id=run_id)}
    held = {row["table_name"]: row for row in _fetch(connection, _HELD, run_id=run_id)}
    left = sorted((set(loads) | set(verifications)) - set(plan.tables))
    tables = []
    for name in (*plan.tables, *left):
        table, load, count = plan.tables.get(name), loads.get(name), held.get(name, {})
        tables.append(
            TableFacts(
                name=name,
                target=(table.rename if table else None) or name,
                planned=table is not None,
                plan_changed=bool(table and load and load["plan_digest"] != table.digest),
                excluded_columns=table.exclude_columns if table else (),
                load=_load(load) if load else None,
                verification=_verification(verifications[name]) if name in verifications else None,
                quarantine_held=count.get("quarantine", 0),
                altered_held=count.get("altered", 0),
                differences_held=count.get("differences", 0),
            )
        )
    return tuple(tables)


def _load(row: Mapping[str, Any]) -> Load:
    return Load(
        load_id=str(row["load_id"]),
        plan_digest=row["plan_digest"],
        source_rows=row["source_rows"],
        loaded=row["loaded"],
        quarantined=row["quarantined"],
        excluded=row["excluded"],
        altered=row["altered"],
        bytes=row["bytes"],
        seconds=row["seconds"],
        loaded_at=row["loaded_at"],
        indexed_at=row["indexed_at"],
    )


def _verification(row: Mapping[str, Any]) -> Verification:
    checks = tuple(
        Check(str(c.get("check", "")), c.get("ok") is True, masked(str(c.get("detail") or ""))[:HEAD_CHARACTERS])
        for c in row["checks"]
    )
    return Verification(
        load_id=str(row["load_id"]),
        ok=row["ok"],
        rows=row["rows"],
        values=row["values"],
        source_digest=row["source_digest"],
        target_digest=row["target_digest"],
        differences=row["differences"],
        checks=checks,
        seconds=row["seconds"],
        verified_at=row["verified_at"],
    )


def _steps(connection: Connection, plan: Plan, run_id: str) -> tuple[StepFacts, ...]:
    order = {name: place for place, name in enumerate(plan.tables)}
    steps = [
        StepFacts(
            name=row["step"],
            table=row["table_name"],
            status=row["status"],
            message=masked(row["message"] or ""),
            started_at=row["started_at"],
            finished_at=row["finished_at"],
        )
        for row in state.rows(connection, state.steps, run_id=run_id)
    ]
    return tuple(sorted(steps, key=lambda s: (s.started_at, order.get(s.table, 0))))


def _kinds(connection: Connection, query: LiteralString, run_id: str) -> tuple[Kind, ...]:
    rows = _fetch(connection, query, run_id=run_id)
    return tuple(Kind(row["table_name"], row["column_name"], row["rule"], row["count"]) for row in rows)


def _with_rows(tables: Sequence[TableFacts], count: str) -> list[str]:
    return [t.name for t in tables if getattr(t, count)]


def _value(row: Mapping[str, Any]) -> Value:
    return Value(row["storage_class"], row["size"] or 0, row["head"])


def _per_table(tables: Sequence[str], limit: int) -> int:
    """How many rows of each table to read, so that one full of them does not hide the others."""
    return max(1, limit // len(tables)) if tables else 0


def _quarantined(
    connection: Connection, run_id: str, tables: Sequence[str], after: str | None, limit: int
) -> tuple[QuarantinedRow, ...]:
    found = _fetch(
        connection, _QUARANTINED, run_id=run_id, tables=list(tables), after=after,
        each=_per_table(tables, limit), limit=limit, head=HEAD_BYTES, text=HEAD_CHARACTERS,
        columns=ROW_COLUMNS,
    )  # fmt: skip
    return tuple(
        QuarantinedRow(
            table=row["table_name"],
            key=row["row_key"],
            column=row["column_name"],
            storage_class=row["storage_class"],
            rule=row["rule"],
            reason=row["reason"],
            values=tuple(
                (name, Value(kind, size or 0, head))
                for name, kind, size, head in zip(row["names"], row["classes"], row["sizes"], row["heads"], strict=True)
            ),
            columns=row["width"],
        )
        for row in found
    )


def _altered(
    connection: Connection, run_id: str, tables: Sequence[str], after: tuple[str, str] | None, limit: int
) -> tuple[AlteredValue, ...]:
    key, column = after or (None, None)
    found = _fetch(
        connection, _ALTERED, run_id=run_id, tables=list(tables), key=key, column=column,
        each=_per_table(tables, limit), limit=limit, head=HEAD_BYTES, text=HEAD_CHARACTERS,
    )  # fmt: skip
    return tuple(
        AlteredValue(
            row["table_name"],
            row["row_key"],
            row["column_name"],
            row["action"],
            row["rule"],
            row["reason"],
            _value(row),
        )
        for row in found
    )


def _differences(
    connection: Connection, run_id: str, tables: Sequence[str], after: int, limit: int
) -> tuple[Difference, ...]:
    found = _fetch(
        connection, _DIFFERENCES, run_id=run_id, tables=list(tables), after=after,
        each=_per_table(tables, limit), limit=limit, text=HEAD_CHARACTERS,
    )  # fmt: skip
    return tuple(
        Difference(
            row["table_name"], row["number"], row["row_key"], row["column_name"], row["kind"],
            row["source_value"], row["target_value"],
        )
        for row in found
    )  # fmt: skip


_HELD = """
    SELECT table_name,
           coalesce(sum(n) FILTER (WHERE what = 'quarantine'), 0)::bigint AS quarantine,
           coalesce(sum(n) FILTER (WHERE what = 'altered'), 0)::bigint AS altered,
           coalesce(sum(n) FILTER (WHERE what = 'differences'), 0)::bigint AS differences
      FROM (SELECT 'quarantine' AS what, table_name, count(*) AS n
              FROM migration.quarantine WHERE run_id = %(run_id)s GROUP BY table_name
             UNION ALL
            SELECT 'altered', table_name, count(*)
              FROM migration.altered_values WHERE run_id = %(run_id)s GROUP BY table_name
             UNION ALL
            SELECT 'differences', table_name, count(*)
              FROM migration.differences WHERE run_id = %(run_id)s GROUP BY table_name) AS counts
     GROUP BY table_name"""
_QUARANTINE_KINDS = """
    SELECT table_name, column_name, rule, count(*) FROM migration.quarantine WHERE run_id = %(run_id)s
     GROUP BY table_name, column_name, rule ORDER BY count(*) DESC, table_name, column_name, rule LIMIT 100"""
_ALTERED_KINDS = """
    SELECT table_name, column_name, action || ' by ' || rule AS rule, count(*)
      FROM migration.altered_values WHERE run_id = %(run_id)s
     GROUP BY table_name, column_name, action, rule
     ORDER BY count(*) DESC, table_name, column_name, 3 LIMIT 100"""
# Each page follows the primary key's index, one table at a time; of a value, its length and head are read.
_QUARANTINED = """
    SELECT q.*, v.*
      FROM unnest(%(tables)s::text[]) WITH ORDINALITY AS t (name, place)
     CROSS JOIN LATERAL (
           SELECT table_name, row_key, column_name, storage_class, rule, left(reason, %(text)s) AS reason
             FROM migration.quarantine
            WHERE run_id = %(run_id)s AND table_name = t.name
              AND (%(after)s::text IS NULL OR row_key > %(after)s)
            ORDER BY row_key LIMIT %(each)s) AS q
     CROSS JOIN LATERAL (
           SELECT coalesce(array_agg(r.column_name), '{}') AS names,
                  coalesce(array_agg(r.storage_class), '{}') AS classes,
                  coalesce(array_agg(r.size), '{}') AS sizes,
                  coalesce(array_agg(r.head), '{}') AS heads,
                  coalesce(max(r.width), 0) AS width
             FROM (SELECT column_name, storage_class, octet_length(value) AS size,
                          substring(value FROM 1 FOR %(head)s) AS head, count(*) OVER () AS width
                     FROM migration.quarantined_values
                    WHERE run_id = %(run_id)s AND table_name = q.table_name AND row_key = q.row_key
                    ORDER BY column_name <> q.column_name, column_name LIMIT %(columns)s) AS r) AS v
     ORDER BY t.place, q.row_key LIMIT %(limit)s"""
_ALTERED = """
    SELECT a.*
      FROM unnest(%(tables)s::text[]) WITH ORDINALITY AS t (name, place)
     CROSS JOIN LATERAL (
           SELECT table_name, row_key, column_name, action, storage_class, rule,
                  left(reason, %(text)s) AS reason, octet_length(value) AS size,
                  substring(value FROM 1 FOR %(head)s) AS head
             FROM migration.altered_values
            WHERE run_id = %(run_id)s AND table_name = t.name
              AND (%(key)s::text IS NULL OR (row_key, column_name) > (%(key)s, %(column)s))
            ORDER BY row_key, column_name LIMIT %(each)s) AS a
     ORDER BY t.place, a.row_key, a.column_name LIMIT %(limit)s"""
_DIFFERENCES = """
    SELECT d.*
      FROM unnest(%(tables)s::text[]) WITH ORDINALITY AS t (name, place)
     CROSS JOIN LATERAL (
           SELECT table_name, number, row_key, column_name, kind,
                  left(source_value, %(text)s) AS source_value, left(target_value, %(text)s) AS target_value
             FROM migration.differences
            WHERE run_id = %(run_id)s AND table_name = t.name AND number > %(after)s
            ORDER BY number LIMIT %(each)s) AS d
     ORDER BY t.place, d.number LIMIT %(limit)s"""
