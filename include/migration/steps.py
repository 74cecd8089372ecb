"""The steps of a migration, in order: what the DAG and the command line call."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from migration.errors import MigrationError, together
from migration.job import Job, Params, step
from migration.load.ranges import cut_table as cut
from migration.load.ranges import load_in_turn as load
from migration.load.ranges import load_range
from migration.load.ranges import total_table as total
from migration.load.replay import replay_table as replay
from migration.postgres import cutover, state
from migration.postgres.placed import outlook
from migration.postgres.schema import create_schema, finish_schema
from migration.postgres.staging import WORKING
from migration.postgres.target import connected, connections_kept
from migration.preflight import backup, preflight
from migration.report import Verdict, as_markdown, as_text, gather, produce
from migration.sqlite.snapshot import check_unchanged, difference, manifest_of, snapshot_path
from migration.telling import detail
from migration.verify import verify_table as verify
from migration.words import counted, visible

__all__ = [
    "approve",
    "backup",
    "create_schema",
    "cut",
    "cut_over",
    "finish_schema",
    "for_tables",
    "keep",
    "load",
    "load_range",
    "newest_cut_over",
    "newest_staged",
    "outlook",
    "preflight",
    "recorded",
    "replay",
    "replay_quarantine",
    "report",
    "require_success",
    "rollback",
    "summary",
    "total",
    "verify",
    "verify_outdated",
]

log = logging.getLogger("migration")

ANSWERS = ("cut_over", "keep", "roll_back")


def for_tables(function: Callable[[Job, str], dict[str, Any]], job: Job, tables: Sequence[str]) -> dict[str, Any]:
    """``load`` or ``verify`` for each of ``tables``: each by itself, with its own transaction and record.

    One that fails stops none of the others; the error at the end says what each had to say, and is a TransientError
    only when trying again may help them all. Returns the figures of one table, the sums for several.
    """
    if len(tables) == 1:
        return function(job, tables[0])
    name = function.__name__.partition("_")[0]
    log.info("%s: %d tables: %s", name, len(tables), visible(", ".join(tables)))
    done: list[dict[str, Any]] = []
    failed: dict[str, MigrationError] = {}
    with connections_kept():
        for table in tables:
            try:
                done.append(function(job, table))
            except MigrationError as error:
                log.warning("%s %s failed; the others go on", name, visible(table))
                failed[table] = error
            except Exception as error:
                log.exception("%s %s", name, visible(table))
                failed[table] = MigrationError(f"Table {table}: {type(error).__name__}: {error}")
    if failed:
        log.error("%s: %d of %d tables failed: %s", name, len(failed), len(tables), visible(", ".join(failed)))
        raise together(list(failed.values()))
    counts = sorted({count for figures in done for count, value in figures.items() if isinstance(value, int)})
    sums = {count: sum(figures[count] for figures in done) for count in counts}
    told = ", ".join(f"{count.replace('_', ' ')} {number:,}" for count, number in sums.items())
    log.info("%s: all %d tables done: %s", name, len(done), told)
    return {"tables": len(done)} | sums


def approve(job: Job, answer: str, by: str, *, timed_out: bool = False) -> dict[str, Any]:
    """Record the answer to the question whether to cut over; returns it. ``timed_out``: no person gave it."""
    if answer not in ANSWERS:
        raise MigrationError(f"The answer {answer!r} is none of {', '.join(ANSWERS)}.")
    with step(job, "approve"), connected(job.target, "Recording the approval") as connection:
        now = connection.execute("SELECT clock_timestamp()::text").fetchone()
        assert now is not None
        approval = {"answer": answer, "by": by, "at": now[0]} | ({"timed_out": True} if timed_out else {})
        state.update(connection, state.runs, {"approval": approval}, run_id=job.run_id)
    log.info("approve: %s answered %s", visible(by), answer)
    return approval


def cut_over(job: Job) -> dict[str, Any]:
    """Move the verified tables into place, provided that the live source still holds what the snapshot holds."""
    log.info(
        "cut_over: %s and %s from %s into %s, what is live there into %s, once the source is found as its snapshot is",
        *(counted(len(job.plan.tables), "table"), counted(len(job.plan.views), "view")),
        *(job.staging, visible(job.plan.live_schema), job.retired),
    )
    with connected(job.target, "Reading the run") as connection:
        run = state.run(connection, job.run_id)

    def source_changed() -> str | None:
        if run["snapshot"] is None:
            return "The run has no snapshot. Clear the backup task, downstream included."
        manifest = replace(manifest_of(run["snapshot"]), path=str(snapshot_path(job)))
        check_unchanged(manifest)
        return difference(job.source, manifest)

    done = cutover.cut_over(job, source_unchanged=source_changed)
    away = f"{counted(done['retired_tables'], 'table')} that were live into {job.retired}"
    log.info(
        "cut_over: %s with %s now live in %s, %s",
        *(counted(done["tables"], "table"), counted(done["rows"], "row"), visible(done["schema"]), away),
    )
    return done


def keep(job: Job) -> dict[str, Any]:
    """End without a cut-over; the verified staging stays until the next run of the plan."""
    with step(job, "keep"), connected(job.target, "Keeping the staging") as connection:
        state.update(connection, state.runs, {"status": "kept"}, run_id=job.run_id)
    log.info("keep: nothing was cut over; %s stays until the next run of plan %s", job.staging, job.plan.name)
    return {"staging": job.staging}


def rollback(
    job: Job, *, confirm_lost_writes: bool = False, confirmed: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Undo: the cut-over if there was one, otherwise the run's staging.

    Rows written since the cut-over are refused unless all of them are (``confirm_lost_writes``), or those of an
    :func:`outlook` (``confirmed``, its versions).
    """
    log.info("rollback: undoing run %s of plan %s", visible(job.run_id), job.plan.name)
    done = cutover.rollback(job, confirm_lost_writes=confirm_lost_writes, confirmed=confirmed)
    told = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in done.items() if value)
    log.info("rollback: %s", visible(told))
    return done


def recorded(job: Job) -> Job:
    """The job with the source and the parameters that its own preflight recorded."""
    with connected(job.target, "Reading the run") as connection:
        run = state.run(connection, job.run_id)
    if run["plan"] != job.plan.name:
        raise MigrationError(f"Run {job.run_id} is one of plan {run['plan']}, not of {job.plan.name}.")
    return replace(job, params=Params(**run["params"]), source=Path(run["source"]))


def newest_cut_over(job: Job) -> str:
    """The run of this plan that was cut over last; MigrationError when none is."""
    if runs := _runs(job, ("cut_over",)):
        return str(max(runs, key=lambda r: r["cut_over_at"])["run_id"])
    raise MigrationError(f"No run of plan {job.plan.name} is cut over. Name the run to undo.")


def newest_staged(job: Job) -> str:
    """The run of this plan that began last and still has its staging; MigrationError when none has."""
    if runs := _runs(job, WORKING):
        return str(max(runs, key=lambda r: r["started_at"])["run_id"])
    raise MigrationError(f"No run of plan {job.plan.name} has a staging schema. Start a new run.")


def _runs(job: Job, statuses: Sequence[str]) -> list[dict[str, Any]]:
    with connected(job.target, "Looking for the newest run") as connection:
        if connection.execute("SELECT to_regclass('migration.runs')").fetchone() == (None,):
            return []
        return [r for s in statuses for r in state.rows(connection, state.runs, plan=job.plan.name, status=s)]


def replay_quarantine(job: Job) -> dict[str, Any]:
    """Replay every table with rows in the quarantine, in load order: those that cross by now are loaded."""
    held = _tables(job, lambda load, _: bool(load["quarantined"]))
    if not held:
        raise MigrationError(f"Run {job.run_id} has no row in the quarantine.")
    return for_tables(replay, job, held)


def verify_outdated(job: Job) -> dict[str, Any]:
    """Verify every table that was loaded or replayed since it was verified last."""
    held = _tables(job, lambda load, proof: proof is None or proof["load_id"] != load["load_id"])
    return for_tables(verify, job, held) if held else {"tables": 0}


def _tables(job: Job, chosen: Callable[[dict[str, Any], dict[str, Any] | None], bool]) -> list[str]:
    """The loaded tables for which ``chosen``, given their load and verification, is true, in load order."""
    with connected(job.target, "Reading the run") as connection:
        loads = {r["table_name"]: r for r in state.rows(connection, state.loads, run_id=job.run_id)}
        proofs = {r["table_name"]: r for r in state.rows(connection, state.verifications, run_id=job.run_id)}
    ordered = (table for level in job.plan.levels for table in level)
    return [table for table in ordered if table in loads and chosen(loads[table], proofs.get(table))]


def summary(job: Job) -> str:
    """Balance and verdict in Markdown, for the person who decides about the cut-over."""
    with connected(job.target, "Summing up") as connection:
        found = gather(connection, job)
    return as_markdown(found)


def report(job: Job) -> tuple[str, Verdict]:
    """Write the report's files; the report as text, and whether the migration is a success."""
    with connected(job.target, "Reading the report") as connection:
        found, verdict, html = produce(job, connection)
    return as_text(found, html=html), verdict


def require_success(job: Job) -> Verdict:
    """Report; the verdict, or MigrationError when the migration is no success."""
    text, verdict = report(job)
    if not verdict.success:
        log.info("\n%s", text)
        raise MigrationError("The migration is no success: " + "; ".join(verdict.reasons))
    *above, details = text.split("\n\n", 3)  # what was moved, the tables, the verdict
    log.info("\n%s", "\n\n".join(above))
    detail("report: the details", details.splitlines())
    log.info("report: %s: %s", verdict.label, visible(verdict.summary))
    return verdict
