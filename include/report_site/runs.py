"""All runs of some plans, newest first, in pages: what each came to, in a line."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg

from migration.plan import Plan
from migration.report.rows import fetch
from migration.report.verdict import READY, outcome
from report_site.reading import Unreadable, connected, dsn_of, plan_named

PAGE = 25


@dataclass(frozen=True)
class Run:
    """One run; the counts are of the loads that there are."""

    plan: str
    title: str
    run_id: str
    mode: str
    outcome: str
    """In the words of the verdict, by what the steps recorded. The report itself looks at more."""
    failed: bool
    """Whether a step failed or a table differs."""
    hue: str
    tables: int
    """How many tables the plan has now; 0 without a plan."""
    verified: int
    source_rows: int
    loaded: int
    quarantined: int
    started_at: datetime
    seconds: float | None
    """From the first step's beginning to the last one's end."""
    answer: str
    answered_by: str
    approval: str
    """``ask`` or ``given``, as the form said."""

    @property
    def dag_id(self) -> str:
        """The DAG of the migration."""
        return f"migrate_{self.plan}"


@dataclass(frozen=True)
class Runs:
    """A page of runs, and why runs of some targets are not among them."""

    runs: tuple[Run, ...]
    more: bool
    problems: tuple[str, ...]
    read: int
    """How many targets could be read."""


def newest(names: Sequence[str], before: tuple[datetime, str] | None = None, limit: int = PAGE) -> Runs:
    """The newest runs of these plans, those that began ``before`` the given one (its beginning and run id)."""
    targets: dict[str, list[Plan]] = {}
    problems = []
    for plan in map(plan_named, names):
        try:
            targets.setdefault(dsn_of(plan), []).append(plan)
        except Unreadable as error:
            if plan.tables:  # without a plan the name alone says too little
                problems.append(f"{plan.title}: {error}")

    def read(target: tuple[str, list[Plan]]) -> list[Run] | str:
        dsn, plans = target
        try:
            with connected(dsn, f"The target of {', '.join(p.title for p in plans)}") as connection:
                return _of_target(connection, {p.name: p for p in plans}, before, limit + 1)
        except Unreadable as error:
            return str(error)

    with ThreadPoolExecutor(max_workers=8) as pool:  # one that does not answer shall not keep the others waiting
        answers = list(pool.map(read, targets.items()))
    found = [run for answer in answers if not isinstance(answer, str) for run in answer]
    problems += [answer for answer in answers if isinstance(answer, str)]
    found.sort(key=lambda run: (run.started_at, run.run_id), reverse=True)
    known = sum(not isinstance(answer, str) for answer in answers)
    return Runs(tuple(found[:limit]), len(found) > limit, tuple(problems), known)


def _of_target(
    connection: psycopg.Connection[Any], plans: dict[str, Plan], before: tuple[datetime, str] | None, limit: int
) -> list[Run]:
    moment, run_id = before or (None, None)
    try:
        found = fetch(connection, _RUNS, plans=list(plans), moment=moment, run_id=run_id, limit=limit)
    except (psycopg.errors.UndefinedTable, psycopg.errors.InvalidSchemaName):
        return []
    return [_run(row, plans[row["plan"]]) for row in found]


def _run(row: dict[str, Any], plan: Plan) -> Run:
    approval = row["approval"] or {}
    failed = bool(row["failed"] or row["differing"])
    proven = bool(plan.tables) and not failed and not row["running"] and set(plan.tables) <= set(row["verified"])
    answer = str(approval.get("answer", ""))
    withheld = answer == "keep" or (row["status"] == "kept" and answer != "cut_over")
    came_to = outcome(row["status"], row["mode"], failed, withheld, proven, bool(row["running"]))
    good = proven and came_to in ("cut over", "rehearsal passed")
    fine = good or came_to in ("running", "staging kept", "rolled back", "superseded", READY)
    return Run(
        plan=plan.name,
        title=plan.title,
        run_id=row["run_id"],
        mode=row["mode"],
        outcome=came_to,
        failed=failed,
        hue="good" if good else "plain" if fine and not failed else "bad" if failed else "warn",
        tables=len(plan.tables),
        verified=len(row["verified"]),
        source_rows=row["source_rows"],
        loaded=row["loaded"],
        quarantined=row["quarantined"],
        started_at=row["started_at"],
        seconds=row["seconds"],
        answer=answer,
        answered_by=str(approval.get("by", "")),
        approval=str(row["params"].get("approval", "")),
    )


_RUNS = """
    SELECT r.*, l.*, s.*
      FROM (SELECT run_id, plan, mode, status, params, approval, started_at FROM migration.runs
             WHERE plan = ANY(%(plans)s)
               AND (%(moment)s::timestamptz IS NULL OR (started_at, run_id) < (%(moment)s, %(run_id)s::text))
             ORDER BY started_at DESC, run_id DESC LIMIT %(limit)s) AS r
     CROSS JOIN LATERAL (
           SELECT coalesce(sum(l.source_rows), 0)::bigint AS source_rows, coalesce(sum(l.loaded), 0)::bigint AS loaded,
                  coalesce(sum(l.quarantined), 0)::bigint AS quarantined,
                  count(*) FILTER (WHERE v.load_id = l.load_id AND NOT (v.ok AND v.differences = 0)) AS differing,
                  coalesce(array_agg(l.table_name) FILTER (
                    WHERE v.load_id = l.load_id AND v.ok AND v.differences = 0 AND v.rows = l.loaded
                      AND l.indexed_at IS NOT NULL), '{}') AS verified
             FROM migration.loads l LEFT JOIN migration.verifications v USING (run_id, table_name)
            WHERE l.run_id = r.run_id) AS l
     CROSS JOIN LATERAL (
           SELECT count(*) FILTER (WHERE s.status = 'failed') AS failed,
                  count(*) FILTER (WHERE s.status = 'running') AS running,
                  extract(epoch FROM max(s.finished_at) - min(s.started_at))::float8 AS seconds
             FROM migration.steps s WHERE s.run_id = r.run_id) AS s
     ORDER BY r.started_at DESC, r.run_id DESC"""
