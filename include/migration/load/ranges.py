"""Loads a large table in ranges of its key: each in one transaction, by any worker, in any order, any number of times.

``cut_table`` empties the staged table and records the ranges, ``load_range`` loads one of them, ``total_table`` sums
them up and makes of them a load like any other. Until it has, nothing that follows takes the table for loaded; a range
that is loaded again takes the sum away before it touches a row.
"""

from __future__ import annotations

import logging
import math
from contextlib import closing
from dataclasses import replace
from typing import Any

import apsw
import psycopg
import sqlalchemy as sa
from psycopg import sql

from migration.errors import MigrationError
from migration.job import Job, step
from migration.load import survey
from migration.load.bounds import Bounds, bounds, condition, whole
from migration.load.copy import copy_state
from migration.load.reading import Reading
from migration.load.survey import Size
from migration.load.table import digests, empty, fill, load_table, prepared, put_load, references_itself, tell
from migration.plan import MOST_RANGES, TablePlan
from migration.postgres import state
from migration.postgres.schema import drop_post_data, drop_views
from migration.postgres.staging import hold
from migration.postgres.target import connected, lock
from migration.sqlite.opening import open_snapshot
from migration.sqlite.snapshot import snapshot_path
from migration.telling import detail
from migration.words import counted, visible

log = logging.getLogger("migration")

RANGE_ROWS = 2_500_000
RANGE_BYTES = 1 << 30
"""What a range holds where the plan gives no number: several seconds of work, against the one that a task costs."""

SUMMED = ("source_rows", "loaded", "quarantined", "excluded", "altered", "bytes", "seconds")


def load_in_turn(job: Job, table: str) -> dict[str, Any]:
    """Load ``table`` in this process: in ranges, one after the other, if its plan asks for them; its figures.

    Rows alone, however many, are no reason: here ranges cost a scan, and there is nobody to share them with.
    """
    if job.plan.tables[table].ranges in (None, "off"):
        return load_table(job, table)
    for part in cut_table(job, table):
        load_range(job, table, part["number"])
    return total_table(job, table)


def cut_table(job: Job, table: str) -> list[dict[str, Any]]:
    """Empty the staged table and divide the snapshot's rows; number and label of each range, of which there is one at
    least. Commits once.

    After it every range has to be loaded, whatever was loaded before.
    """
    with (
        step(job, "load", table, ends=False),
        connected(job.target, f"Dividing table {table}") as connection,
        closing(open_snapshot(snapshot_path(job))) as snapshot,
    ):
        drop_views(connection, job)
        with connection.transaction():
            reading, staged = prepared(job, table, snapshot, connection)
            log.info(
                "cut %s: dividing the snapshot's rows into ranges of the key, to be loaded into %s, which is emptied",
                *(visible(table), visible(f"{staged.schema}.{staged.name}")),
            )
            size = survey.whole(snapshot, reading).size
            ranges = _cut(snapshot, reading, job.plan.tables[table], size)
            empty(connection, job, table, staged)
            state.clear(connection, state.loads, run_id=job.run_id, table_name=table)
            _record(connection, job, table, ranges, size)
    detail(f"cut {table}: the ranges", (f"{number}: {part.label}" for number, part in enumerate(ranges, 1)))
    log.info("cut %s: %s in %s", *(visible(table), counted(size.rows, "row"), counted(len(ranges), "range")))
    return [{"number": number, "label": part.label} for number, part in enumerate(ranges, 1)]


def _cut(snapshot: apsw.Connection, reading: Reading, plan: TablePlan, size: Size) -> list[Bounds]:
    if reason := _indivisible(reading):
        log.info("cut %s: one range for all rows: %s", visible(reading.map.source.name), reason)
        return [whole("all rows")]
    return list(bounds(snapshot, reading, size.rows, _parts(plan, size)))


def _indivisible(reading: Reading) -> str | None:
    """Why the table cannot be loaded in parts; None when it can."""
    source = reading.map.source
    if not source.key:
        return "its columns take all of the rowid's names, so that nothing tells its rows apart"
    if source.order_is_unknown:
        return "only the application knows the order of its keys"
    if references_itself(reading.map):
        return "it references itself, so that a row in the quarantine decides about others"
    return None


def _parts(plan: TablePlan, size: Size) -> int:
    match plan.ranges:
        case int():
            return plan.ranges
        case "off":
            return 1
    wanted = max(size.rows / RANGE_ROWS, size.bytes / RANGE_BYTES)
    return max(1, min(math.ceil(wanted), MOST_RANGES))


def _record(connection: psycopg.Connection[Any], job: Job, table: str, ranges: list[Bounds], size: Size) -> None:
    copy_state(
        connection,
        state.load_ranges,
        ("run_id", "table_name", "number", "label", "low", "high", "table_rows"),
        ((job.run_id, table, n, part.label, part.low, part.high, size.rows) for n, part in enumerate(ranges, 1)),
    )


def load_range(job: Job, table: str, number: int) -> dict[str, Any]:
    """Load one range, whatever an earlier attempt left of it; its figures.

    Commits once: rows, quarantine and figures together. What was built upon the whole table is taken away before that,
    in a transaction of its own. Raises as :func:`load_table` does; MigrationError also when there is no such range.
    """
    with (
        step(job, "load", table, begins=False, ends=False),
        connected(job.target, f"Loading range {number} of table {table}") as connection,
        closing(open_snapshot(snapshot_path(job))) as snapshot,
    ):
        _take_away_total(connection, job, table)
        with connection.transaction():
            label, figures = _load(job, table, number, snapshot, connection)
    tell(f"{visible(table)} {label}", figures)
    return {"table": table, "number": number} | figures


def _take_away_total(connection: psycopg.Connection[Any], job: Job, table: str) -> None:
    """Undo :func:`total_table` and what followed it, if it has run; commits.

    The range's own transaction would hold the lock that dropping an index takes, and its neighbours could load nothing
    beside it.
    """
    with connection.transaction():
        found = _is_total(connection, job, table)
    if not found:
        return
    drop_views(connection, job)
    with connection.transaction():
        hold(connection, job)
        lock(connection, f"Table {table}", job.run_id, table, shared=True)
        lock(connection, f"Table {table}", job.run_id, table, "total")
        if _is_total(connection, job, table):
            _void(connection, job, table)
            drop_post_data(connection, job.staging, [job.plan.target_table(table)])


def _is_total(connection: psycopg.Connection[Any], job: Job, table: str) -> bool:
    return bool(state.rows(connection, state.loads, run_id=job.run_id, table_name=table))


def _void(connection: psycopg.Connection[Any], job: Job, table: str) -> None:
    """Let the table be one whose load goes on. The caller commits."""
    identity = {"run_id": job.run_id, "table_name": table}
    for kept in (state.differences, state.verifications, state.loads):
        state.clear(connection, kept, **identity)
    state.clear(connection, state.steps, step="load", **identity)
    state.put(connection, state.steps, identity | {"step": "load", "status": "running"})


def _load(
    job: Job, table: str, number: int, snapshot: apsw.Connection, connection: psycopg.Connection[Any]
) -> tuple[str, dict[str, Any]]:
    reading, staged = prepared(job, table, snapshot, connection, shared=True)
    lock(connection, f"Range {number} of table {table}", job.run_id, table, str(number))
    found = state.rows(connection, state.load_ranges, run_id=job.run_id, table_name=table, number=number)
    if not found:
        raise MigrationError(
            f"Table {table} has no range {number}: it was divided otherwise since, loaded at once, or its quarantine "
            "was replayed. Clear its cut task, downstream included."
        )
    known = found[0]
    if _is_total(connection, job, table):  # summed up again in this moment
        _void(connection, job, table)
    own = state.transaction_id(connection)
    earlier = [] if known["xid"] is None else [known["xid"]]

    def clear() -> None:
        for xid in earlier:
            _remove(connection, job, table, staged, xid)
        earlier[:] = [own]

    part = replace(reading, within=condition(reading, known["low"], known["high"]), part=known["label"])
    figures = fill(job, snapshot, connection, part, staged, clear)
    identity = {"run_id": job.run_id, "table_name": table, "number": number}
    state.update(connection, state.load_ranges, figures | digests(job.plan.tables[table]) | {"xid": own}, **identity)
    return known["label"], figures


def _remove(connection: psycopg.Connection[Any], job: Job, table: str, staged: sa.Table, xid: int) -> None:
    """Take back all that a transaction wrote of the table; it has no savepoints, whose rows carry ids of their own."""
    written = sql.SQL("xmin = {}::xid").format(sql.Literal(str(xid)))
    name = sql.Identifier(str(staged.schema), staged.name)
    connection.execute(sql.SQL("DELETE FROM {} WHERE {}").format(name, written))
    for kept in (state.quarantined_values, state.quarantine, state.altered_values):
        statement = sql.SQL("DELETE FROM {} WHERE run_id = {} AND table_name = {} AND {}").format(
            sql.Identifier(state.SCHEMA, kept.name), job.run_id, table, written
        )
        connection.execute(statement)


def total_table(job: Job, table: str) -> dict[str, Any]:
    """Make one load of the table's ranges; its figures. Commits once.

    MigrationError when a range is not loaded, was loaded by another plan, or rows are missing.
    """
    with (
        step(job, "load", table, begins=False),
        connected(job.target, f"Summing up table {table}") as connection,
        connection.transaction(),
    ):
        hold(connection, job)
        lock(connection, f"Table {table}", job.run_id, table)
        ranges = state.rows(connection, state.load_ranges, run_id=job.run_id, table_name=table)
        _check(job, table, ranges)
        figures = {name: sum(part[name] for part in ranges) for name in SUMMED}
        if figures["source_rows"] != ranges[0]["table_rows"]:
            raise MigrationError(
                f"Table {table} does not balance: the snapshot holds {ranges[0]['table_rows']} rows, its "
                f"{len(ranges)} ranges {figures['source_rows']}. This is a fault of the loader: please report it with "
                "this log."
            )
        put_load(connection, job, table, figures, [part["xid"] for part in ranges])
    tell(visible(table), figures)
    if job.measured:
        job.measured("load", figures | {"table": table})
    return {"table": table, "ranges": len(ranges)} | figures


def _check(job: Job, table: str, ranges: list[dict[str, Any]]) -> None:
    if not ranges:
        raise MigrationError(f"Table {table} is not divided into ranges. Clear its cut task, downstream included.")
    if missing := [part for part in ranges if part["xid"] is None]:
        raise MigrationError(f"Table {table}: not loaded: {_named(missing)}. Clear these tasks, downstream included.")
    if stale := [part for part in ranges if _is_stale(job.plan.tables[table], part)]:
        raise MigrationError(
            f"Table {table}: its part of the plan was changed after these were loaded: {_named(stale)}. "
            "Clear these tasks, downstream included, or the table's cut task."
        )


def _is_stale(plan: TablePlan, part: dict[str, Any]) -> bool:
    """Whether the range holds what the plan does not say any more. Policies for values that cannot cross say nothing
    of a range that had none."""
    if part["plan_digest"] == plan.digest:
        return False
    return bool(part["form_digest"] != plan.form_digest or part["quarantined"] or part["altered"])


NAMED = 20


def _named(ranges: list[dict[str, Any]]) -> str:
    named = ", ".join(f"range {part['number']} ({part['label']})" for part in ranges[:NAMED])
    return named + (f" and {len(ranges) - NAMED} more" if len(ranges) > NAMED else "")
