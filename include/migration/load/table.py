"""Loads one table into staging: one transaction for the rows, the quarantine and the balance."""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
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
from migration.load.blocks import Block, ahead, blocks, key_values
from migration.load.casts import Cast, cast_for
from migration.load.copy import Copier, Sent
from migration.load.reading import Reading
from migration.load.references import orphan_predicates
from migration.load.singles import Leftover, Settled, settle
from migration.load.survey import count, survey
from migration.mapping import TableMap, table_map
from migration.plan import TablePlan
from migration.postgres import state
from migration.postgres.schema import drop_post_data, drop_views
from migration.postgres.staging import hold
from migration.postgres.target import connected, in_schema, lock, target_metadata
from migration.sqlite.catalog import read_catalog
from migration.sqlite.opening import open_snapshot
from migration.sqlite.snapshot import snapshot_path
from migration.telling import Pace, detail, progress, throughput
from migration.words import counted, visible

log = logging.getLogger("migration")

NEIGHBOURS = 8
"""Around a value that does not convert, so many rows are looked at one by one: cheaper than halving on to one."""
FIRST_ROWS = 4096
"""Fewer are surveyed, read, converted and sent one after the other: threads would cost more than they bring."""


def load_table(job: Job, table: str) -> dict[str, Any]:
    """Load ``table`` from the run's snapshot into staging, whatever an earlier attempt left; its figures.

    Commits once: rows, quarantine and balance together. Raises RejectedRows when rows cannot cross and the
    plan lets none into the quarantine (nothing is loaded then), TransientError when trying again may help.
    """
    with (
        step(job, "load", table),
        connected(job.target, f"Loading table {table}") as connection,
        closing(open_snapshot(snapshot_path(job))) as snapshot,
    ):
        drop_views(connection, job)
        with connection.transaction():
            figures = _load(job, table, snapshot, connection)
    tell(visible(table), figures)
    if job.measured:
        job.measured("load", figures)
    return figures


def tell(label: str, figures: dict[str, Any]) -> None:
    """Log the result in one line."""
    altered = f", {counted(figures['altered'], 'value')} altered" if figures["altered"] else ""
    log.info(
        "load %s: %s loaded, %s quarantined, %s excluded of %s%s; %s",
        *(label, counted(figures["loaded"], "row")),
        *(f"{figures[n]:,}" for n in ("quarantined", "excluded", "source_rows")),
        *(altered, throughput(figures["bytes"], figures["seconds"])),
    )


def _label(reading: Reading) -> str:
    return f"load {visible(reading.map.source.name)} {reading.part}".rstrip()


def _announce(job: Job, reading: Reading, staged: sa.Table, total: int) -> None:
    """What the load will do, and its casts apart from that."""
    table = reading.map.source.name
    plan = job.plan.tables[table]
    columns = list(zip(reading.map.columns, reading.casts, strict=True))
    policies = {name: plan.policy(name, job.params.invalid) for (name, _), _ in columns}
    usual = plan.invalid or job.params.invalid
    others = [f"{name}: {policy}" for name, policy in policies.items() if policy is not usual]
    log.info(
        "%s: %s from the snapshot into %s; policy for values that cannot cross: %s",
        *(_label(reading), counted(total, "row")),
        *(visible(f"{staged.schema}.{staged.name}"), visible(", ".join([usual, *others]))),
    )
    detail(
        f"load {table}: {counted(len(columns), 'column')} and their casts",
        (f"{name} → {target.name}: {cast.target} takes {cast.rule}" for (name, target), cast in columns),
    )


def prepared(
    job: Job, table: str, snapshot: apsw.Connection, connection: psycopg.Connection[Any], *, shared: bool = False
) -> tuple[Reading, sa.Table]:
    """How the table is read, and where it is staged; holds run and table to the end of the transaction.

    The table is held alone, or ``shared`` with those who do the same.
    """
    run = hold(connection, job)
    lock(connection, f"Table {table}", job.run_id, table, shared=shared)
    plan = job.plan.tables[table]
    metadata = target_metadata(job.plan)
    mapped = table_map(job.plan, table, read_catalog(snapshot), metadata)
    staged = in_schema(metadata, run["staging"], [mapped.target.name])[mapped.target.name]
    casts = tuple(cast_for(table, name, target.type, plan.cast(name)) for name, target in mapped.columns)
    encoding = str(snapshot.execute("PRAGMA encoding").fetchall()[0][0])
    return Reading(mapped, casts, (), encoding), staged


def _load(job: Job, table: str, snapshot: apsw.Connection, connection: psycopg.Connection[Any]) -> dict[str, Any]:
    reading, staged = prepared(job, table, snapshot, connection)
    figures = fill(job, snapshot, connection, reading, staged, lambda: empty(connection, job, table, staged))
    put_load(connection, job, table, figures, [state.transaction_id(connection)])
    return {"table": table} | figures


def fill(
    job: Job,
    snapshot: apsw.Connection,
    connection: psycopg.Connection[Any],
    reading: Reading,
    staged: sa.Table,
    clear: Callable[[], None],
) -> dict[str, Any]:
    """Move the rows that are to be read, after ``clear`` has taken away what is there of them; the figures.

    The caller commits. ``clear`` is called again where rows have to be sent anew. Raises as :func:`load_table` does.
    """
    started = time.monotonic()
    table = reading.map.source.name
    total = count(snapshot, reading)
    _announce(job, reading, staged, total)
    clear()
    orphans = orphan_predicates(snapshot, connection, job, reading)
    while True:
        reading = replace(reading, orphans=orphans)
        sent, settled = _move(job, snapshot, connection, staged, reading, total)
        if not settled.quarantined or not references_itself(reading.map):
            break
        # The quarantine may have taken the parents of rows of this same table.
        orphans, before = orphan_predicates(snapshot, connection, job, reading), orphans
        if orphans == before:
            break
        clear()
    if total != sent.rows + settled.quarantined:
        raise MigrationError(
            f"Table {table} does not balance: {total} source rows, {sent.rows} loaded, "
            f"{settled.quarantined} quarantined. Nothing was kept; this is a fault of the loader: please "
            "report it with this log."
        )
    return {
        "source_rows": total,
        "loaded": sent.rows,
        "quarantined": settled.quarantined,
        "excluded": 0,
        "altered": settled.altered,
        "bytes": sent.bytes,
        "seconds": time.monotonic() - started,
    }


def references_itself(table: TableMap) -> bool:
    """Whether the quarantine decides about the table's other rows."""
    return any(key.parent == table.source.name for key in table.foreign_keys)


def digests(plan: TablePlan) -> dict[str, str]:
    """What a load records of its table's part of the plan."""
    return {"plan_digest": plan.digest, "form_digest": plan.form_digest}


def put_load(
    connection: psycopg.Connection[Any], job: Job, table: str, figures: dict[str, Any], xids: list[int]
) -> None:
    """Record a whole load by these transactions, which nothing was built upon yet. The caller commits."""
    identity = {"run_id": job.run_id, "table_name": table}
    state.clear(connection, state.loads, **identity)
    known = digests(job.plan.tables[table]) | {"load_id": uuid.uuid4(), "xids": xids}
    state.put(connection, state.loads, identity | figures | known)


def _move(
    job: Job,
    snapshot: apsw.Connection,
    connection: psycopg.Connection[Any],
    staged: sa.Table,
    reading: Reading,
    total: int,
) -> tuple[Sent, Settled]:
    """Fill the empty table; what was sent, and what became of the rows that no block could carry."""
    copier = Copier(connection, staged, reading)
    pace, sent = Pace(total), copier.sent
    with progress(_label(reading), lambda: pace.told(sent.rows + sent.kept_back, sent.bytes)):
        leftover = _copy_blocks(job, snapshot, copier, reading, total)
        return sent, settle(job, connection, copier, snapshot, reading, leftover)


def empty(connection: psycopg.Connection[Any], job: Job, table: str, staged: sa.Table) -> None:
    """Remove what an earlier attempt committed, and what was built upon it. The caller commits."""
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
        state.load_ranges,
    ):
        state.clear(connection, kept, run_id=job.run_id, table_name=table)


def _copy_blocks(job: Job, snapshot: apsw.Connection, copier: Copier, reading: Reading, total: int) -> Leftover:
    """COPY every row that blocks can carry; returns which ones they could not.

    Of many rows, the next portion is surveyed, the next block read and the one after it converted while one is sent.
    """
    leftover = Leftover()
    if reading.map.source.is_foreign_to_drivers:
        leftover.clauses.append(reading.where())
        return leftover
    stage: Callable[[Any], Any] = ahead if total > FIRST_ROWS else iter
    portions = stage(survey(snapshot, reading, total))
    read = stage(blocks(snapshot_path(job), reading, portions, job.params.rows_per_block, leftover.clauses))
    with copier.copying() as send, closing(stage(_converted(reading, read, leftover))) as converted:
        for columns in converted:
            send(columns)
    return leftover


def _converted(reading: Reading, read: Iterable[Block], leftover: Leftover) -> Iterator[list[pa.Array]]:
    for block in read:
        converted: list[pa.Array] = []
        bad: set[int] = set()
        for cast, array in zip(reading.casts, block.columns, strict=True):
            good, failed = _convert(cast, array)
            converted.append(good)
            bad.update(failed)
        if bad:
            leftover.keys += key_values(block.keys, sorted(bad), reading.encoding)
            mask = pa.array([i not in bad for i in range(len(converted[0]))])
            converted = [pc.filter(a, mask) for a in converted]
        if len(converted[0]):
            yield converted


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
