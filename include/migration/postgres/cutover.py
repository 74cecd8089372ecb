"""The cut-over, its inverse, and the end of runs that nobody needs: every change of what is live."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg import sql

from migration.errors import CutOverRefused, TransientError
from migration.job import Job, step
from migration.postgres import grants, live, placed, state, views
from migration.postgres.gate import decisions, gate
from migration.postgres.moving import Move, lock_tables, move
from migration.postgres.shape import targets
from migration.postgres.staging import WORKING, drop_schema, drop_staging, exists, lock_run, oids
from migration.postgres.target import connected, lock, lock_key
from migration.words import visible

log = logging.getLogger("migration")


def cut_over(job: Job, *, source_unchanged: Callable[[], str | None]) -> dict[str, Any]:
    """Put the run's verified tables in the place of the live ones, which move to the retired schema.

    ``source_unchanged`` compares the live source with the snapshot: None, or a sentence saying how they
    differ. CutOverRefused names every condition that does not hold. TransientError: somebody holds a lock,
    nothing was changed, try again. Calling it again after success returns the same result.
    """
    with step(job, "cut_over"), _connected(job, "Cutting over") as connection:
        with connection.transaction():
            lock_run(connection, job.run_id, alone=False)  # another attempt may be in the middle of it
            run = state.run(connection, job.run_id)
            if run["status"] != "cut_over":
                _refuse_if(gate(connection, job))
        if run["status"] != "cut_over":
            if changed := source_unchanged():
                raise CutOverRefused(changed)
            with connection.transaction():
                run = _cut_over(connection, job)
        return _result(connection, job, run)


@contextmanager
def _connected(job: Job, doing: str) -> Iterator[psycopg.Connection[Any]]:
    with connected(job.target, doing, autocommit=True) as connection:
        # What is checked under a lock must be what is there then, whatever the database's default level is.
        connection.isolation_level = psycopg.IsolationLevel.READ_COMMITTED
        yield connection


def _refuse_if(reasons: list[str]) -> None:
    if reasons:
        raise CutOverRefused("\n  ".join(["The cut-over is not allowed; nothing was changed:", *map(visible, reasons)]))


def _result(connection: psycopg.Connection[Any], job: Job, run: dict[str, Any]) -> dict[str, Any]:
    after = placed.tables(run["live_after"])
    if moved := placed.missing(connection, run["live"], placed.ids(after)):
        raise CutOverRefused(
            f"Run {job.run_id} was cut over at {run['cut_over_at']}, but these of its tables are not "
            f"live any more: {visible(', '.join(moved))}. Nothing was changed."
        )
    retired = [name for name, table in after.items() if table["retired"]]
    return {
        "tables": len(after),
        "rows": sum(table["rows"] for table in after.values()),
        "schema": run["live"],
        "retired_tables": len(retired),
        "retired_schema": run["retired"] if retired else None,
        "cut_over_at": str(run["cut_over_at"]),
    }


def _cut_over(connection: psycopg.Connection[Any], job: Job) -> dict[str, Any]:
    schema = job.plan.live_schema
    _take_turn(connection, job)
    run = state.run(connection, job.run_id)
    if run["status"] == "cut_over":  # by another attempt, while this one waited for its turn
        return run
    _refuse_if(decisions(run))
    staged = oids(connection, job.staging, targets(job.plan))
    lock_tables(connection, job.staging, staged)
    _refuse_if(gate(connection, job))
    made = placed.ids(views.staged(run))
    former, versions = _observe(connection, job, run)
    for name, new in (staged | made).items():
        if name in former:
            grants.inherit(connection, former[name]["oid"], new)
        else:
            grants.default(connection, schema, new)
    if former:
        connection.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(job.retired)))
    former_views = placed.ids({name: fact for name, fact in former.items() if fact["kind"] == "view"})
    former_tables = placed.ids({name: fact for name, fact in former.items() if name not in former_views})
    away = Move(schema, job.retired, former_tables, former_views)
    move(connection, versions, away, Move(job.staging, schema, staged, made))
    # Once more, now that nobody can use them: a view may have been made on them while they were waited for.
    _refuse_if(live.obstacles(connection, schema, live.relations(connection, job.retired, list(former)), former_views))
    _refuse_if(views.faults(connection, job, run, schema))
    drop_schema(connection, job.staging)
    _record(connection, job, staged, made, placed.ids(former))
    return state.run(connection, job.run_id)


def _observe(connection: psycopg.Connection[Any], job: Job, run: dict[str, Any]) -> tuple[live.Facts, dict[str, str]]:
    """The live tables and views, and fingerprints of the rows; CutOverRefused unless that is what preflight found."""
    schema = job.plan.live_schema
    with connection.transaction(force_rollback=True):  # gives back the locks of having read
        seen = live.relations(connection, schema, [*targets(job.plan), *views.targets(job.plan)])
        lock_tables(connection, schema, {n: f["oid"] for n, f in seen.items() if f["kind"] == "table"}, shared=True)
        now, versions = live.observed(connection, job)
    if changes := live.changes(run["live_before"], now):
        raise CutOverRefused(
            f"The live tables in schema {schema} were changed after preflight; nothing was moved: "
            f"{visible('; '.join(changes))}. If that may be set aside, start a new run, whose preflight notes it."
        )
    _refuse_if(live.obstacles(connection, schema, now, views.targets(job.plan)))
    _refuse_if(live.clashes(connection, schema, job.staging, list(placed.ids(now).values())))
    return now, versions


def _take_turn(connection: psycopg.Connection[Any], job: Job) -> None:
    """One cut-over or rollback at a time into a live schema, and no other step of the run."""
    schema = job.plan.live_schema
    lock(connection, f"The cut-over into schema {schema}", "cut_over", schema)
    lock_run(connection, job.run_id, alone=True)


def _record(
    connection: psycopg.Connection[Any],
    job: Job,
    staged: dict[str, int],
    made: dict[str, int],
    former: dict[str, int],
) -> None:
    after: dict[str, Any] = {n: {"oid": oid, "view": True, "retired": former.get(n)} for n, oid in made.items()}
    for row in state.rows(connection, state.loads, run_id=job.run_id):
        name = job.plan.target_table(row["table_name"])
        after[name] = {
            "oid": staged[name],
            "rows": row["loaded"],
            "xids": row["xids"],
            "load_id": str(row["load_id"]),
            "retired": former.get(name),
        }
    state.update(connection, state.runs, {"status": "cut_over", "live_after": after}, run_id=job.run_id)
    connection.execute("UPDATE migration.runs SET cut_over_at = clock_timestamp() WHERE run_id = %s", [job.run_id])


def rollback(
    job: Job, *, confirm_lost_writes: bool = False, confirmed: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Undo what the run did. After its cut-over: the retired tables become live again, exactly as they were,
    and the run's tables go back to its staging schema (with all that was written to them since), where they
    stay until the next run of the plan begins. Otherwise: the run's staging schema is dropped.

    CutOverRefused, with exact numbers, when rows were written since the cut-over, unless ``confirm_lost_writes``
    is set or all of them are among those that somebody was shown and confirmed (``confirmed``, the versions of an
    :class:`placed.Outlook`); also when the run's tables are not live any more, e.g. because a later run was cut over
    on top of it. Calling it again is harmless.
    """
    with _connected(job, "Rolling back") as connection:
        if connection.execute("SELECT to_regclass('migration.runs') IS NULL").fetchone() == (True,):
            return {"status": "nothing to undo"}
        if not state.rows(connection, state.runs, run_id=job.run_id):
            return {"status": "nothing to undo"}
        with step(job, "rollback"), connection.transaction():
            _take_turn(connection, job)
            run = state.run(connection, job.run_id)
            if run["status"] == "cut_over":
                return _undo(connection, run, confirm_lost_writes, confirmed)
            dropped = 0
            if run["status"] in WORKING:
                dropped = drop_staging(connection, run)
                _end(connection, run, "rolled_back")
            return {"status": "rolled_back", "restored": 0, "dropped": dropped}


def _undo(
    connection: psycopg.Connection[Any], run: dict[str, Any], confirm_all: bool, confirmed: Mapping[str, str] | None
) -> dict[str, Any]:
    placed.check(connection, run)
    after, made = placed.tables(run["live_after"]), placed.ids(placed.views(run["live_after"]))
    former = placed.ids(after, "retired")
    former_views = placed.ids(placed.views(run["live_after"]), "retired")
    # A view that somebody has dropped since has nothing to lose.
    made = {name: oid for name, oid in made.items() if name not in placed.missing(connection, run["live"], made)}
    writes, versions = _writes(connection, run["live"], after)
    written = "; ".join(map(str, writes))
    if writes and not confirm_all and versions != confirmed:
        since = "after somebody was asked about it" if confirmed else "since it was cut over"
        raise CutOverRefused(
            f"Rows were written to the tables of run {visible(run['run_id'])} {since}.\n"
            f"  In all since the cut-over: {visible(written)}.\n"
            "A rollback would take them out of use: nothing was changed. Confirm their loss to roll back all the same."
        )
    connection.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(run["staging"])))
    away = Move(run["live"], run["staging"], placed.ids(after), made)
    move(connection, versions, away, Move(run["retired"], run["live"], former, former_views))
    placed.refuse_dependents(connection, run)
    if former or former_views:
        drop_schema(connection, run["retired"])
    _end(connection, run, "rolled_back")
    return {
        "status": "rolled_back",
        "restored": len(former),
        "dropped": 0,
        "set_aside": run["staging"],
        "writes": written,
    }


def _writes(
    connection: psycopg.Connection[Any], schema: str, after: placed.After
) -> tuple[list[placed.Writes], dict[str, str]]:
    """What was written to the tables since they were placed, and the fingerprints of what was counted."""
    with connection.transaction(force_rollback=True):  # gives back the locks of having read
        lock_tables(connection, schema, {name: table["oid"] for name, table in after.items()}, shared=True)
        return placed.written(connection, schema, after)


def discard_stale(connection: psycopg.Connection[Any], job: Job) -> list[str]:
    """Supersede the plan's other runs that never reached a cut-over, and drop their staging; their ids.

    Also drops what a rollback has set aside, unless rows were written to it after the cut-over, or views changed: these
    are nowhere else. The caller commits. TransientError when a step of such a run is at work: the two would
    compete for the same tables.
    """
    ended = []
    for run in state.rows(connection, state.runs, plan=job.plan.name):
        leftover = run["status"] == "rolled_back" and exists(connection, run["staging"])
        if run["run_id"] == job.run_id or not (leftover or run["status"] in WORKING):
            continue
        if leftover and run["live_after"] and _used(connection, run):
            log.warning(
                "Schema %s keeps rows or views that were changed after the cut-over of run %s and set aside by its "
                "rollback. Drop it when nobody needs them.", run["staging"], run["run_id"],
            )  # fmt: skip
            continue
        free = connection.execute("SELECT pg_try_advisory_xact_lock(%s)", [lock_key("run", run["run_id"])])
        if free.fetchone() != (True,):
            raise TransientError(
                f"Run {run['run_id']} of the plan {job.plan.name} is at work. "
                "Wait until it ends, or stop it and roll it back, then clear this task."
            )
        drop_staging(connection, run)
        if not leftover:
            _end(connection, run, "superseded")
        ended.append(str(run["run_id"]))
    return ended


def _used(connection: psycopg.Connection[Any], run: dict[str, Any]) -> bool:
    """Whether what a rollback has set aside holds something that is nowhere else."""
    written, _ = placed.written(connection, run["staging"], placed.tables(run["live_after"]))
    return bool(written or views.changed(connection, run))


def _end(connection: psycopg.Connection[Any], run: dict[str, Any], status: str) -> None:
    connection.execute(
        "UPDATE migration.runs SET status = %(status)s, rolled_back_at ="
        " CASE WHEN %(status)s = 'rolled_back' THEN clock_timestamp() END WHERE run_id = %(run_id)s",
        {"status": status, "run_id": run["run_id"]},
    )
