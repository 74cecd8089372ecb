"""Loads the quarantined rows of a table again, by the plan as it is now, and leaves all others as they are."""

from __future__ import annotations

import logging
import time
import uuid
from dataclasses import replace
from typing import Any

import apsw
import psycopg
import sqlalchemy as sa
from psycopg import sql

from migration.errors import MigrationError
from migration.job import Job, step
from migration.load.copy import Copier, Sent
from migration.load.reading import Reading
from migration.load.references import orphan_predicates
from migration.load.rejects import key_of
from migration.load.singles import Leftover, Settled, settle
from migration.load.table import prepared
from migration.postgres import state
from migration.postgres.schema import drop_references
from migration.postgres.target import connected
from migration.sqlite.opening import open_snapshot
from migration.sqlite.snapshot import snapshot_path
from migration.words import counted, visible

log = logging.getLogger("migration")


def replay_table(job: Job, table: str) -> dict[str, Any]:
    """Send the quarantined rows of ``table`` through the plan's present policies; the table's new figures.

    Commits once: the rows that cross now, the quarantine without them, the balance. After it come finish_schema, which
    makes the table's foreign keys again, and the verification; an approval given before is void. MigrationError when
    the table is not loaded, or its plan has changed in more than what becomes of values that cannot cross: then all of
    it has to be loaded anew. RejectedRows as of a load.
    """
    with step(job, "load", table), connected(job.target, f"Replaying the quarantine of {table}") as connection:
        snapshot = open_snapshot(snapshot_path(job))
        try:
            with connection.transaction():
                figures = _replay(job, table, snapshot, connection)
        finally:
            snapshot.close()
    log.info(
        "replay %s: %s crossed, %s stay in the quarantine",
        *(visible(table), counted(figures["replayed"], "row"), f"{figures['quarantined']:,}"),
    )
    if job.measured:
        job.measured("load", figures)
    return figures


def _replay(job: Job, table: str, snapshot: apsw.Connection, connection: psycopg.Connection[Any]) -> dict[str, Any]:
    started = time.monotonic()
    reading, staged = prepared(job, table, snapshot, connection)
    identity = {"run_id": job.run_id, "table_name": table}
    load = next(iter(state.rows(connection, state.loads, **identity)), None)
    plan = job.plan.tables[table]
    if load is None or load["form_digest"] != plan.form_digest:
        reason = "it is not loaded" if load is None else "its plan was changed in more than its `invalid` policies"
        raise MigrationError(f"Table {table}: {reason}. Clear its load task, downstream included.")
    keys = [row["row_key"] for row in state.rows(connection, state.quarantine, **identity)]
    log.info(
        "replay %s: %s of the quarantine through the plan as it is now, into %s",
        *(visible(table), counted(len(keys), "row"), visible(f"{staged.schema}.{staged.name}")),
    )
    clear_quarantine(connection, job, table)
    # The rows that cross now are of no range: one alone can be loaded again no more.
    state.clear(connection, state.load_ranges, **identity)
    # Rows may come before their parents, as in any load: finish_schema makes the foreign keys again.
    drop_references(connection, str(staged.schema), [staged.name])
    sent, settled = _settle(job, connection, snapshot, reading, staged, keys)
    if sent.rows + settled.quarantined != len(keys):
        raise MigrationError(
            f"Table {table}: {len(keys)} rows were in the quarantine, {sent.rows} crossed and {settled.quarantined} "
            "went back to it. Nothing was kept; this is a fault of the loader: please report it with this log."
        )
    figures = {
        "source_rows": load["source_rows"],
        "loaded": load["loaded"] + sent.rows,
        "quarantined": settled.quarantined,
        "excluded": load["excluded"],
        "altered": load["altered"] + settled.altered,
        "bytes": load["bytes"] + sent.bytes,
        "seconds": load["seconds"] + time.monotonic() - started,
    }
    known = {"load_id": uuid.uuid4(), "plan_digest": plan.digest, "indexed_at": None}
    xids = [*load["xids"], state.transaction_id(connection)]
    state.update(connection, state.loads, figures | known | {"xids": xids}, **identity)
    state.update(connection, state.runs, {"approval": None}, run_id=job.run_id)
    return {"table": table, "replayed": sent.rows} | figures


def _settle(
    job: Job,
    connection: psycopg.Connection[Any],
    snapshot: apsw.Connection,
    reading: Reading,
    staged: sa.Table,
    names: list[str],
) -> tuple[Sent, Settled]:
    """Settle the rows of these keys, again as long as rows were sent whose parents in the same table stay behind."""
    table = reading.map.source.name
    keys = [key_of(name, reading.encoding) for name in names]
    orphans = orphan_predicates(snapshot, connection, job, reading)
    while True:
        now = replace(reading, orphans=orphans)
        copier = Copier(connection, staged, now)
        settled = settle(job, connection, copier, snapshot, now, Leftover(keys=list(keys)))
        if not settled.quarantined or all(key.parent != table for key in reading.map.foreign_keys):
            break
        orphans, before = orphan_predicates(snapshot, connection, job, reading), orphans
        if orphans == before:
            break
        _undo(connection, job, table, staged, names)
    return copier.sent, settled


def _undo(connection: psycopg.Connection[Any], job: Job, table: str, staged: sa.Table, names: list[str]) -> None:
    """Take back what this transaction has sent. It has no savepoints, whose rows would carry ids of their own."""
    connection.execute(
        sql.SQL("DELETE FROM {} WHERE xmin = {}::xid").format(
            sql.Identifier(str(staged.schema), staged.name), sql.Literal(str(state.transaction_id(connection)))
        )
    )
    clear_quarantine(connection, job, table)
    connection.execute(
        "DELETE FROM migration.altered_values WHERE run_id = %s AND table_name = %s AND row_key = ANY(%s)",
        [job.run_id, table, names],
    )


def clear_quarantine(connection: psycopg.Connection[Any], job: Job, table: str) -> None:
    """Forget the quarantined rows of a table. The caller commits."""
    for kept in (state.quarantined_values, state.quarantine):
        state.clear(connection, kept, run_id=job.run_id, table_name=table)
