"""Decides whether a run may be cut over, from what its steps recorded and what the staged tables hold now."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import psycopg
from psycopg import sql

from migration.job import Job
from migration.postgres import state, views
from migration.postgres.live import VERSIONS, attachments
from migration.postgres.shape import Shape, described, digest, targets
from migration.postgres.staging import oids

STEPS = ("preflight", "backup", "create_schema", "finish_schema")
TABLE_STEPS = ("load", "verify")


def gate(connection: psycopg.Connection[Any], job: Job) -> list[str]:
    """Why the run may not be cut over, all reasons together; empty when it may.

    Reads every staged table once (without its TOASTed values), so that nothing is cut over that was changed
    after it was verified.
    """
    run = state.run(connection, job.run_id)
    found = [*decisions(run), *_steps(connection, job), *_tables(connection, job, run)]
    return [*found, *views.faults(connection, job, run, job.staging)]


def decisions(run: dict[str, Any]) -> list[str]:
    """What people decided that forbids the cut-over: the run's mode, its end, the answer to its question."""
    found = []
    if run["status"] not in ("running", "kept"):
        found.append(f"the run is {run['status'].replace('_', ' ')}: start a new one")
    if run["mode"] != "cut_over":
        found.append("the run is a rehearsal: start one with mode cut_over")
    if run["params"].get("approval", "ask") == "ask":
        answer = (run["approval"] or {}).get("answer")
        if answer is None:
            found.append("nobody has approved it: answer the approve task")
        elif answer != "cut_over":
            found.append(f"{run['approval'].get('by', 'somebody')} answered {answer} when asked to cut over")
    return found


def _steps(connection: psycopg.Connection[Any], job: Job) -> list[str]:
    rows = state.rows(connection, state.steps, run_id=job.run_id)
    ended = {(row["step"], row["table_name"]): row["status"] for row in rows}
    wanted = [(s, "") for s in STEPS] + [(s, t) for s in TABLE_STEPS for t in job.plan.tables]
    words = {None: "has not run", "running": "has not ended", "failed": "failed"}
    return [
        f"step {' '.join(key).strip()} {words.get(ended.get(key), 'is unfinished')}: clear its task"
        for key in wanted
        if ended.get(key) != "done"
    ]


def _tables(connection: psycopg.Connection[Any], job: Job, run: dict[str, Any]) -> list[str]:
    def by_table(table: Any) -> dict[str, dict[str, Any]]:
        return {row["table_name"]: row for row in state.rows(connection, table, run_id=job.run_id)}

    loads, proofs = by_table(state.loads), by_table(state.verifications)
    present = oids(connection, job.staging, targets(job.plan))
    shapes = described(connection, job.staging, targets(job.plan))
    staged = {name: oid for name, oid in (run["staged"] or {}).items() if name not in views.staged(run)}
    left = sorted(staged.keys() - set(targets(job.plan)))
    found = [f"table {t} is staged, but not in the plan any more: clear the create_schema task" for t in left]
    for source in job.plan.tables:
        target = job.plan.target_table(source)
        load = loads.get(source)
        if load is None:
            faults = ["not loaded: clear its load task, downstream included"]
        elif target not in staged or present.get(target) != staged[target]:
            faults = [f"not in {job.staging} as create_schema made it: clear the create_schema task"]
        else:
            faults = _records(connection, job, source, load, proofs.get(source))
            faults += _staged(connection, job, target, load, shapes[target])
            faults += _attached(connection, staged[target])
        found += [f"table {source}: {fault}" for fault in faults]
    return found


def _records(
    connection: psycopg.Connection[Any],
    job: Job,
    source: str,
    load: dict[str, Any],
    proof: dict[str, Any] | None,
) -> list[str]:
    found = []
    if load["plan_digest"] != job.plan.tables[source].digest:
        found.append("its part of the plan was changed after it was loaded: clear its load task, downstream included")
    if load["indexed_at"] is None:
        found.append("its keys and indexes were not made after it was loaded: clear the finish_schema task")
    if proof is None or proof["load_id"] != load["load_id"]:
        found.append("not verified since it was loaded: clear its verify task")
    elif not proof["ok"]:
        found.append(f"its verification found {proof['differences']} differences: see the report, then load it again")
    elif proof["rows"] != load["loaded"]:
        found.append(f"{load['loaded']} rows were loaded, {proof['rows']} verified: clear its verify task")
    crossed = load["loaded"] + load["quarantined"] + load["excluded"]
    if load["source_rows"] != crossed:
        found.append(f"it does not balance: {load['source_rows']} source rows, {crossed} accounted for")
    kept = connection.execute(
        "SELECT count(*) FROM migration.quarantine WHERE run_id = %s AND table_name = %s",
        [job.run_id, source],
    ).fetchall()[0][0]
    if kept != load["quarantined"]:
        found.append(f"the quarantine holds {kept} of its {load['quarantined']} rows: clear its load task")
    return found


def _staged(
    connection: psycopg.Connection[Any], job: Job, target: str, load: dict[str, Any], shape: Shape
) -> list[str]:
    """What was changed in the staged table since it was loaded and finished."""
    rows, untouched, _ = counted(connection, job.staging, target, load["xids"])
    found = []
    if rows != load["loaded"] or untouched != rows:
        found.append(
            f"changed in staging after it was loaded: {load['loaded']} rows loaded, {rows} there, "
            f"{untouched} of them untouched. Clear its load task, downstream included"
        )
    if load["indexed_at"] is not None and digest(shape) != load["shape"]:
        found.append(
            "its columns, keys or indexes were changed after finish_schema: clear that task, downstream included"
        )
    return found


def _attached(connection: psycopg.Connection[Any], oid: int) -> list[str]:
    """What somebody hung on the staged table, and what would change how it behaves once it is live."""
    held = ", ".join(attachments(connection, [oid]))
    return [f"it has what no step made: {held}. Drop that, then clear the cut_over task"] if held else []


def counted(connection: psycopg.Connection[Any], schema: str, table: str, xids: Sequence[int]) -> tuple[int, int, str]:
    """How many rows the table holds, how many of them are as the transactions ``xids`` (modulo 2^32) inserted them,
    and the fingerprint of these rows (:data:`live.VERSIONS`)."""
    # The id as a literal: the driver would look for placeholders in a table's name, where % may stand.
    query = sql.SQL("SELECT count(*), count(*) FILTER (WHERE xmin = ANY ({}::xid[])), {} FROM {}").format(
        sql.Literal([str(x) for x in xids]), VERSIONS, sql.Identifier(schema, table)
    )
    rows, untouched, versions = connection.execute(query).fetchall()[0]
    return rows, untouched, versions
