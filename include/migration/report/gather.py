"""Reads a run's facts from the target's ``migration`` schema: whole counts, and rows in bounded pages.

Nothing here grows with the data: a million quarantined rows are counted, and at most ``limit`` are read.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from psycopg.pq import TransactionStatus

from migration.errors import MigrationError, masked
from migration.job import Job
from migration.plan import Plan
from migration.postgres import state
from migration.report import rows
from migration.report.carried import carried
from migration.report.facts import Check, Load, Report, Snapshot, StepFacts, TableFacts, Verification
from migration.report.rows import Connection

LIMIT = 500
"""So many quarantined rows, altered values and differences are kept in a report, of each."""


def gather(connection: Connection, job: Job | tuple[Plan, str], limit: int = LIMIT) -> Report:
    """The facts of a run, named by its job or by ``(plan, run_id)``, all as of one moment.

    Works in whatever state the run is; MigrationError when the target knows no such run. Reads only the
    ``migration`` schema and PostgreSQL's catalog. Holds no password: connection strings in messages and parameters
    are masked.
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
            carried=carried(connection, run["staged"] or {}),
            quarantine_kinds=rows.quarantine_kinds(connection, run_id),
            altered_kinds=rows.altered_kinds(connection, run_id),
            quarantined=rows.quarantined(connection, run_id, _with_rows(tables, "quarantine_held"), limit=limit),
            altered=rows.altered(connection, run_id, _with_rows(tables, "altered_held"), limit=limit),
            differences=rows.differences(connection, run_id, _with_rows(tables, "differences_held"), limit=limit),
        )


@contextmanager
def _one_moment(connection: Connection) -> Iterator[None]:
    """Let every query inside see the same moment, unless the caller's own transaction is open already."""
    idle = connection.info.transaction_status is TransactionStatus.IDLE
    with connection.transaction():
        if idle:
            connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        yield


def _clean(facts: Mapping[str, Any]) -> dict[str, Any]:
    return {name: masked(value) if isinstance(value, str) else value for name, value in facts.items()}


def _snapshot(kept: Mapping[str, Any] | None) -> Snapshot | None:
    if not kept:
        return None
    return Snapshot(path=str(kept.get("path", "")), sha256=str(kept.get("sha256", "")), size=kept.get("bytes"))


def _tables(connection: Connection, plan: Plan, run_id: str) -> tuple[TableFacts, ...]:
    loads = {row["table_name"]: row for row in state.rows(connection, state.loads, run_id=run_id)}
    verifications = {row["table_name"]: row for row in state.rows(connection, state.verifications, run_id=run_id)}
    held = {row["table_name"]: row for row in rows.fetch(connection, _HELD, run_id=run_id)}
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
        Check(str(c.get("check", "")), c.get("ok") is True, masked(str(c.get("detail") or ""))[: rows.HEAD_CHARACTERS])
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


def _with_rows(tables: Sequence[TableFacts], count: str) -> list[str]:
    return [t.name for t in tables if getattr(t, count)]


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
