"""Loads one table into staging: one transaction for the rows, the quarantine and the balance."""

from __future__ import annotations

import logging
import time
import uuid
from dataclasses import replace
from typing import Any

import apsw
import psycopg
import pyarrow as pa
import pyarrow.compute as pc
import sqlalchemy as sa
from psycopg import sql

from migration.errors import MigrationError
from migration.job import Job, step
from migration.load.arrays import Inexact
from migration.load.blocks import Block, Reading, Size, blocks, key_values, measure
from migration.load.casts import Cast, cast_for
from migration.load.copy import Copier, Send, Sent
from migration.load.references import orphan_predicates
from migration.load.singles import Leftover, Settled, settle
from migration.mapping import table_map
from migration.postgres import state
from migration.postgres.schema import drop_post_data, drop_views
from migration.postgres.staging import hold
from migration.postgres.target import connected, in_schema, lock, target_metadata
from migration.sqlite.catalog import read_catalog
from migration.sqlite.opening import open_snapshot
from migration.sqlite.snapshot import snapshot_path
from migration.telling import Pace, detail, progress, throughput
from migration.words import counted, visible
from migration.words import size as in_words

log = logging.getLogger("migration")

NEIGHBOURS = 8
"""Around a value that does not convert, so many rows are looked at one by one: cheaper than halving on to one."""


def load_table(job: Job, table: str) -> dict[str, Any]:
    """Load ``table`` from the run's snapshot into staging, whatever an earlier attempt left; its figures.

    Commits once: rows, quarantine and balance together. Raises RejectedRows when rows cannot cross and the
    plan lets none into the quarantine (nothing is loaded then), TransientError when trying again may help.
    """
    with step(job, "load", table), connected(job.target, f"Loading table {table}") as connection:
        snapshot = open_snapshot(snapshot_path(job))
        try:
            drop_views(connection, job)
            with connection.transaction():
                figures = _load(job, table, snapshot, connection)
        finally:
            snapshot.close()
    _tell(table, figures)
    if job.measured:
        job.measured("load", figures)
    return figures


def _tell(table: str, figures: dict[str, Any]) -> None:
    """The result in one line."""
    altered = f", {counted(figures['altered'], 'value')} altered" if figures["altered"] else ""
    log.info(
        "load %s: %s loaded, %s quarantined, %s excluded of %s%s; %s",
        *(visible(table), counted(figures["loaded"], "row")),
        *(f"{figures[n]:,}" for n in ("quarantined", "excluded", "source_rows")),
        *(altered, throughput(figures["bytes"], figures["seconds"])),
    )


def _announce(job: Job, reading: Reading, staged: sa.Table, size: Size) -> None:
    """What the load will do, and its casts apart from that."""
    table = reading.map.source.name
    plan = job.plan.tables[table]
    columns = list(zip(reading.map.columns, reading.casts, strict=True))
    policies = {name: plan.policy(name, job.params.invalid) for (name, _), _ in columns}
    usual = plan.invalid or job.params.invalid
    others = [f"{name}: {policy}" for name, policy in policies.items() if policy is not usual]
    log.info(
        "load %s: %s, about %s, from the snapshot into %s; policy for values that cannot cross: %s",
        *(visible(table), counted(size.rows, "row"), in_words(_about(reading, size))),
        *(visible(f"{staged.schema}.{staged.name}"), visible(", ".join([usual, *others]))),
    )
    detail(
        f"load {table}: {counted(len(columns), 'column')} and their casts",
        (f"{name} → {target.name}: {cast.target} takes {cast.rule}" for (name, target), cast in columns),
    )


def _about(reading: Reading, size: Size) -> int:
    """About how many bytes the rows are in COPY's binary form: each field has a length, most numbers eight bytes."""
    fixed = sum(cast.reads not in (pa.string(), pa.binary()) for cast in reading.casts)
    return size.bytes + size.rows * (2 + 4 * len(reading.casts) + 8 * fixed)


def prepared(
    job: Job, table: str, snapshot: apsw.Connection, connection: psycopg.Connection[Any]
) -> tuple[Reading, sa.Table]:
    """How the table is read, and where it is staged; holds run and table to the end of the transaction."""
    run = hold(connection, job)
    lock(connection, f"Table {table}", job.run_id, table)
    plan = job.plan.tables[table]
    metadata = target_metadata(job.plan)
    mapped = table_map(job.plan, table, read_catalog(snapshot), metadata)
    staged = in_schema(metadata, run["staging"], [mapped.target.name])[mapped.target.name]
    casts = tuple(cast_for(table, name, target.type, plan.cast(name)) for name, target in mapped.columns)
    encoding = str(snapshot.execute("PRAGMA encoding").fetchall()[0][0])
    return Reading(mapped, casts, (), encoding), staged


def _load(job: Job, table: str, snapshot: apsw.Connection, connection: psycopg.Connection[Any]) -> dict[str, Any]:
    started = time.monotonic()
    reading, staged = prepared(job, table, snapshot, connection)
    mapped = reading.map
    size = measure(snapshot, reading)
    _announce(job, reading, staged, size)
    _empty(connection, job, table, staged)
    orphans = orphan_predicates(snapshot, connection, job, mapped)
    while True:
        reading = replace(reading, orphans=orphans)
        sent, settled = _move(job, snapshot, connection, staged, reading, size)
        if not settled.quarantined or all(key.parent != table for key in mapped.foreign_keys):
            break
        # The quarantine may have taken the parents of rows of this same table.
        orphans, before = orphan_predicates(snapshot, connection, job, mapped), orphans
        if orphans == before:
            break
        _empty(connection, job, table, staged)
    seconds = time.monotonic() - started
    if size.rows != sent.rows + settled.quarantined:
        raise MigrationError(
            f"Table {table} does not balance: {size.rows} source rows, {sent.rows} loaded, "
            f"{settled.quarantined} quarantined. Nothing was kept; this is a fault of the loader: please "
            "report it with this log."
        )
    figures = {
        "source_rows": size.rows,
        "loaded": sent.rows,
        "quarantined": settled.quarantined,
        "excluded": 0,
        "altered": settled.altered,
        "bytes": sent.bytes,
        "seconds": seconds,
    }
    identity = {"run_id": job.run_id, "table_name": table}
    state.clear(connection, state.loads, **identity)
    plan = job.plan.tables[table]
    digests = {"plan_digest": plan.digest, "form_digest": plan.form_digest}
    known = digests | {"load_id": uuid.uuid4(), "xids": [state.transaction_id(connection)]}
    state.put(connection, state.loads, identity | figures | known)
    return {"table": table} | figures


def _move(
    job: Job,
    snapshot: apsw.Connection,
    connection: psycopg.Connection[Any],
    staged: sa.Table,
    reading: Reading,
    size: Size,
) -> tuple[Sent, Settled]:
    """Fill the empty table; what was sent, and what became of the rows that no block could carry."""
    copier = Copier(connection, staged, reading)
    pace, sent = Pace(size.rows), copier.sent
    label = f"load {visible(reading.map.source.name)}"
    with progress(label, lambda: pace.told(sent.rows + sent.kept_back, sent.bytes)):
        leftover = _copy_blocks(job, copier, reading, size)
        return sent, settle(job, connection, copier, snapshot, reading, size, leftover)


def _empty(connection: psycopg.Connection[Any], job: Job, table: str, staged: sa.Table) -> None:
    """Remove what an earlier attempt committed, and what was built upon it."""
    name = sql.Identifier(str(staged.schema), staged.name)
    found = connection.execute("SELECT to_regclass(%s) IS NOT NULL", [name.as_string(connection)]).fetchone()
    if found != (True,):
        raise MigrationError(
            f"Table {staged.name} is not in the staging schema {staged.schema}. "
            "Clear the create_schema task, downstream included."
        )
    drop_post_data(connection, str(staged.schema), [staged.name])
    connection.execute(sql.SQL("TRUNCATE {}").format(name))
    for kept in (
        state.differences,
        state.verifications,
        state.quarantined_values,
        state.quarantine,
        state.altered_values,
    ):
        state.clear(connection, kept, run_id=job.run_id, table_name=table)


def _copy_blocks(job: Job, copier: Copier, reading: Reading, size: Size) -> Leftover:
    """COPY every row that blocks can carry; returns which ones they could not."""
    if reading.map.source.is_foreign_to_drivers:
        return Leftover(all=True)
    leftover = Leftover()
    with copier.copying() as send:
        for block in blocks(snapshot_path(job), reading, size, job.params.rows_per_block):
            _send_block(reading, block, leftover, send)
    return leftover


def _send_block(reading: Reading, block: Block, leftover: Leftover, send: Send) -> None:
    columns, keys = block.columns, block.keys
    flagged = block.flagged.cast(pa.bool_())
    if pc.any(flagged).as_py():
        plain = pc.invert(flagged)
        leftover.flagged = True
        columns, keys = [pc.filter(a, plain) for a in columns], [pc.filter(a, plain) for a in keys]
    converted: list[pa.Array] = []
    bad: set[int] = set()
    for cast, array in zip(reading.casts, columns, strict=True):
        good, failed = _convert(cast, array)
        converted.append(good)
        bad.update(failed)
    if bad:
        leftover.keys += key_values(keys, sorted(bad), reading.encoding)
        mask = pa.array([i not in bad for i in range(len(converted[0]))])
        converted = [pc.filter(a, mask) for a in converted]
    if len(converted[0]):
        send(converted)


def _convert(cast: Cast, array: pa.Array) -> tuple[pa.Array, list[int]]:
    """The converted array with NULL in place of what does not convert (or stands beside it), and where that is."""
    try:
        return cast.convert(array), []
    except (Inexact, pa.ArrowException):
        failed = _failing(cast, array, 0)
    gone = set(failed)
    mask = pa.array([i in gone for i in range(len(array))])
    return cast.convert(pc.if_else(mask, pa.scalar(None, array.type), array)), failed


def _failing(cast: Cast, array: pa.Array, offset: int) -> list[int]:
    """The positions of values that do not convert, and of their close neighbours, found by halving."""
    try:
        cast.convert(array)
    except (Inexact, pa.ArrowException):
        if len(array) <= NEIGHBOURS:
            return list(range(offset, offset + len(array)))
        middle = len(array) // 2
        return _failing(cast, array.slice(0, middle), offset) + _failing(cast, array.slice(middle), offset + middle)
    return []
