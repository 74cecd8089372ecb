"""Proves one table: every value of every row, what was kept of the others, and what holds the rows together."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import astuple
from typing import Any

import apsw
import psycopg
from psycopg import sql

from migration.catalog import Table
from migration.errors import PlanError, SourceError, TargetError, VerificationFailed
from migration.job import Job, step
from migration.postgres import state
from migration.postgres.staging import hold
from migration.postgres.target import connected, lock, target_metadata, waived
from migration.sqlite.catalog import read_catalog
from migration.sqlite.snapshot import open_snapshot, snapshot_path
from migration.telling import detail, throughput
from migration.verify import checks
from migration.verify.checks import Check, Staged
from migration.verify.codecs import Column, codec_for
from migration.verify.compare import Compared, compare
from migration.verify.found import Found
from migration.verify.kept import Keeper
from migration.verify.orphans import foreign_keys
from migration.verify.pairing import pairing_for
from migration.verify.rows import Expectation
from migration.verify.source import Source
from migration.verify.target import Facts, Target, facts, print_alike
from migration.words import counted, visible

log = logging.getLogger("migration")

NAMED = 5
"""So many differences are named in the message of a failure; the state keeps more."""


def verify_table(job: Job, table: str) -> dict[str, Any]:
    """Compare ``table`` in staging with the run's snapshot, value by value; returns the figures.

    The result is recorded, a bad one too, before VerificationFailed tells of it. Nothing is verified while it is being
    loaded, and nobody can write to the table until the verification has ended.
    """
    with step(job, "verify", table):
        started = time.monotonic()
        snapshot = open_snapshot(snapshot_path(job))
        try:
            with connected(job.target, f"Verifying table {table}") as connection, connection.transaction():
                figures, failure = _verify(job, table, snapshot, connection, started)
        finally:
            snapshot.close()
        if job.measured:
            job.measured("verify", figures)
        if failure is not None:
            raise VerificationFailed(failure)
    log.info(
        "verify %s: %s, %s, no difference, %s passed; %s",
        *(visible(table), counted(figures["rows"], "row"), counted(figures["values"], "value")),
        *(counted(figures["checks"], "check"), throughput(figures["bytes"], figures["seconds"])),
    )
    return figures


def _announce(table: str, schema: str, source_rows: int, columns: Sequence[Column]) -> None:
    """What the verification will do, and as what each column is compared apart from that."""
    log.info(
        "verify %s: %s of %s, the snapshot's values against those in %s: blocks by digest, and where a block differs "
        "its rows one by one",
        *(visible(table), counted(source_rows, "row"), counted(len(columns), "column"), visible(schema)),
    )
    detail(
        f"verify {table}: as what its columns are compared",
        (f"{column.source} with {column.target}: as {column.codec.type}" for column in columns),
    )


def _verify(
    job: Job, table: str, snapshot: apsw.Connection, connection: psycopg.Connection[Any], started: float
) -> tuple[dict[str, Any], str | None]:
    run = hold(connection, job)
    lock(connection, f"Table {table}", job.run_id, table)
    load = _load(connection, job, table)
    staged = _staged(connection, job, table, run["staging"])
    described = _described(snapshot, table)
    columns = _columns(job, described, staged.facts)
    print_alike(connection)

    source = Source(snapshot, described, columns)
    found = Found(source.encoding)
    expectation = Expectation(source)
    metadata = target_metadata(job.plan)
    enforced = foreign_keys(connection, staged.facts.oid)
    free = waived(metadata.tables[staged.target])
    keeper = Keeper(connection, job, expectation, [r for r in enforced if r.name not in free], found)
    absent = source.skip(keeper.quarantine())
    altered = keeper.altered()
    source_rows = source.count()
    held, untouched = checks.untouched(staged, load)

    target = Target(connection, staged.schema, staged.target, columns, staged.facts.primary_key)
    _announce(table, staged.schema, source_rows, columns)
    compared = compare(pairing_for(expectation, target), f"verify {visible(table)}", source_rows, held, found)

    results = [
        *checks.balance(load, source_rows, held, absent),
        Check(
            "rows compared",
            compared.rows == source_rows - absent,
            f"{compared.rows} rows of the snapshot were compared",
        ),
        checks.altered(load, altered),
        untouched,
        *checks.references(staged, enforced, free),
        *checks.sequence(staged, metadata, _largest_id(source, staged.facts)),
        *checks.constraints(staged, metadata),
        *checks.unfilled(staged.facts, {c.target for c in columns}),
    ]
    seconds = time.monotonic() - started
    failure = _failure(job, table, found, results)
    values = held * len(columns)
    _record(connection, job, load, found, compared, results, rows=held, values=values, seconds=seconds)
    figures = {"rows": held, "values": values, "bytes": compared.bytes, "differences": found.total}
    return {"table": table} | figures | {"checks": len(results), "seconds": seconds}, failure


def _load(connection: psycopg.Connection[Any], job: Job, table: str) -> dict[str, Any]:
    """What the load recorded; VerificationFailed when there is nothing yet to verify."""
    loads = state.rows(connection, state.loads, run_id=job.run_id, table_name=table)
    shown = visible(table)
    if not loads:
        raise VerificationFailed(f"Table {shown} is not loaded in this run. Clear its load task, downstream included.")
    if loads[0]["plan_digest"] != job.plan.tables[table].digest:
        raise VerificationFailed(
            f"Table {shown}: its part of the plan was changed after it was loaded. "
            "Clear its load task, downstream included."
        )
    if loads[0]["indexed_at"] is None:
        raise VerificationFailed(
            f"Table {shown} has no keys and indexes since it was loaded. "
            "Clear the finish_schema task, downstream included."
        )
    return loads[0]


def _staged(connection: psycopg.Connection[Any], job: Job, table: str, schema: str) -> Staged:
    target = job.plan.target_table(table)
    found = facts(connection, schema, target)
    if found is None:
        raise VerificationFailed(
            f"Table {visible(target)} is not in the staging schema {schema}. "
            "Clear the create_schema task, downstream included."
        )
    # Readers may go on; whoever wants to write waits until this transaction has ended.
    connection.execute(sql.SQL("LOCK TABLE {} IN SHARE MODE").format(sql.Identifier(schema, target)))
    return Staged(connection, job, table, schema, found)


def _described(snapshot: apsw.Connection, table: str) -> Table:
    try:
        described = read_catalog(snapshot).table(table)
    except KeyError:
        raise SourceError(
            f"The snapshot has no table {table}. Start a new run, which takes a fresh snapshot."
        ) from None
    if not described.key:
        raise SourceError(
            f"Table {table} has neither a primary key nor a rowid that can be read (its columns take all of rowid's "
            "names), so its rows cannot be told apart. Give it a primary key in the source and start a new run."
        )
    return described


def _columns(job: Job, table: Table, staged: Facts) -> list[Column]:
    plan = job.plan.tables[table.name]
    columns = []
    for column in table.columns:
        if column.name in plan.exclude_columns:
            continue
        name = plan.target_column(column.name)
        if name not in staged.columns:
            raise TargetError(
                f"Table {table.name}: column {column.name} has no column {name} in the target. "
                "Clear the preflight task, which says what differs."
            )
        kind, modifier, written, not_null = staged.columns[name]
        codec = codec_for(f"{table.name}.{column.name}", kind, modifier, written, plan.cast(column.name))
        columns.append(Column(column.name, name, codec, not_null))
    if not columns:
        raise PlanError(f"Table {table.name}: all its columns are excluded. Name it under exclude_tables instead.")
    return columns


def _largest_id(source: Source, staged: Facts) -> int | None:
    """The largest id that the source ever used in what is the target's one key column."""
    used = [source.table.sequence]
    for column in source.columns:
        if staged.primary_key == (column.target,):
            used.append(source.largest(column.source))
    return max((u for u in used if u is not None), default=None)


def _record(
    connection: psycopg.Connection[Any],
    job: Job,
    load: dict[str, Any],
    found: Found,
    compared: Compared,
    results: Sequence[Check],
    **figures: Any,
) -> None:
    identity = {"run_id": job.run_id, "table_name": load["table_name"]}
    state.clear(connection, state.differences, **identity)
    into = (
        "COPY migration.differences (run_id, table_name, number, row_key, column_name, kind,"
        " source_value, target_value) FROM STDIN"
    )
    with connection.cursor() as cursor, cursor.copy(into) as copy:
        for number, difference in enumerate(found.kept, 1):
            copy.write_row((*identity.values(), number, *astuple(difference)))
    state.put(
        connection,
        state.verifications,
        identity
        | figures
        | {
            "load_id": load["load_id"],
            "ok": found.total == 0 and all(r.ok for r in results),
            "source_digest": compared.source_digest,
            "target_digest": compared.target_digest,
            "differences": found.total,
            "checks": [r.as_dict() for r in results],
        },
    )
    connection.execute(
        "UPDATE migration.verifications SET verified_at = clock_timestamp() WHERE run_id = %s AND table_name = %s",
        list(identity.values()),
    )


def _failure(job: Job, table: str, found: Found, results: Sequence[Check]) -> str | None:
    """What a failed verification has to say; None when it did not fail."""
    failed = [r for r in results if not r.ok]
    if not found.total and not failed:
        return None
    table = visible(table)
    lines = [
        f"Table {table}: the target does not hold what the snapshot holds: {found.total} differences, "
        f"{len(failed)} failed checks."
    ]
    lines += [f"  table {table}, {visible(str(difference))}" for difference in found.kept[:NAMED]]
    if found.total > NAMED:
        lines.append(
            f"  … {min(found.total, len(found.kept))} of {found.total} are in migration.differences (run {job.run_id})"
        )
    lines += [f"  check {r.check}: {visible(r.detail)}" for r in failed]
    if found.total or any(r.check in checks.OF_THE_ROWS for r in failed):
        lines.append(
            f"Clear the load task of {table}, downstream included: it loads the table from the snapshot anew. "
            "Should the same come back, the migration is at fault: keep this log and do not cut over."
        )
    else:
        lines.append("Clear the finish_schema task, downstream included: it makes what is missing.")
    return "\n".join(lines)
