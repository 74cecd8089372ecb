"""Settles the rows that blocks could not carry, one at a time and in bounded memory."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import apsw
import psycopg

from migration.errors import RejectedRows
from migration.job import Job
from migration.load.arrays import array_of
from migration.load.copy import Copier, copy_state
from migration.load.reading import Reading, SourceRow, rows
from migration.load.rejects import Decision, Problem, decide, raw_bytes, shown
from migration.plan import Invalid
from migration.postgres import state
from migration.words import counted, visible

log = logging.getLogger("migration")

NAMED = 20
"""How many refused or quarantined rows are named in a message."""
GROUP_ROWS = 500
GROUP_BYTES = 8 << 20
"""Rows are settled in groups of so many rows or bytes, whichever comes first."""


@dataclass
class Leftover:
    """The rows that blocks did not carry."""

    clauses: list[str] = field(default_factory=list)
    """WHERE clauses for rows that no block took. No two find the same row."""
    keys: list[tuple[Any, ...]] = field(default_factory=list)
    """The keys of rows with a value that did not convert, and of rows beside them."""


@dataclass
class Settled:
    """What became of them."""

    quarantined: int = 0
    altered: int = 0
    named: list[str] = field(default_factory=list)
    refusals: Counter[tuple[str, str]] = field(default_factory=Counter)


def settle(
    job: Job,
    connection: psycopg.Connection[Any],
    copier: Copier,
    snapshot: apsw.Connection,
    reading: Reading,
    leftover: Leftover,
) -> Settled:
    """Load, alter by declaration, or quarantine each of these rows, within the caller's transaction.

    RejectedRows, after all of them were looked at, when a policy says stop.
    """
    settled = Settled()
    table = reading.map.source.name
    plan = job.plan.tables[table]
    for group in _groups(_rows(snapshot, reading, leftover)):
        decided = decide(reading, plan, job.params.invalid, group)
        group.clear()  # its rows may be as large as all the rest
        copier.sent.kept_back += sum(d.values is None for d in decided)
        refused = [(d.key, p) for d in decided for p in d.under(Invalid.STOP)]
        settled.refusals.update((p.column, p.rule) for _, p in refused)
        _name(settled, reading, refused)
        if not settled.refusals:
            _keep(job, connection, copier, reading, decided, settled)
    if settled.refusals:
        raise RejectedRows(_refusal(job, reading, settled))
    for line in settled.named:
        log.warning("quarantined: %s", line.strip())
    if settled.quarantined > NAMED:
        log.warning(
            "quarantined: %d rows of %s in all, each with its bytes in migration.quarantine",
            settled.quarantined,
            visible(table),
        )
    return settled


def _rows(snapshot: apsw.Connection, reading: Reading, leftover: Leftover) -> Iterator[SourceRow]:
    for clause in leftover.clauses:
        yield from rows(snapshot, reading, clause)
    yield from rows(snapshot, reading, f" WHERE {reading.by_key}", leftover.keys)


def _groups(source: Iterator[SourceRow]) -> Iterator[list[SourceRow]]:
    group: list[SourceRow] = []
    weight = 0
    for row in source:
        weight += sum(len(v) for _, v in row.values if isinstance(v, bytes))
        group.append(row)
        del row
        if len(group) >= GROUP_ROWS or weight >= GROUP_BYTES:
            yield group
            group, weight = [], 0
    if group:
        yield group


def _name(settled: Settled, reading: Reading, problems: list[tuple[str, Problem]]) -> None:
    for key, p in problems[: NAMED - len(settled.named)]:
        value = shown(p.value, p.storage, reading.encoding)
        named = f"table {reading.map.source.name}, column {p.column}, key {key}, value {value}: {p.reason}"
        settled.named.append(f"  {visible(named)}")


def _keep(
    job: Job,
    connection: psycopg.Connection[Any],
    copier: Copier,
    reading: Reading,
    decided: list[Decision],
    settled: Settled,
) -> None:
    crossing = [d.values for d in decided if d.values is not None]
    if crossing:
        columns = zip(zip(*crossing, strict=True), copier.schema, strict=True)
        with copier.copying() as send:
            send([array_of(column, field.type) for column, field in columns])
    altered = [(d.key, p) for d in decided if d.values is not None for p in d.problems]
    quarantined = [d for d in decided if d.values is None]
    reasons = [(d.key, d.under(Invalid.QUARANTINE)[0]) for d in quarantined]
    settled.altered += len(altered)
    settled.quarantined += len(quarantined)
    _name(settled, reading, reasons)
    own = (job.run_id, reading.map.source.name)
    identity = ("run_id", "table_name", "row_key", "column_name")
    if altered:
        copy_state(
            connection,
            state.altered_values,
            (*identity, "action", "storage_class", "value", "rule", "reason"),
            ((*own, key, p.column, str(p.action), p.storage, p.value, p.rule, p.reason) for key, p in altered),
        )
    if quarantined:
        copy_state(
            connection,
            state.quarantine,
            (*identity, "storage_class", "rule", "reason"),
            ((*own, key, p.column, p.storage, p.rule, p.reason) for key, p in reasons),
        )
        copy_state(
            connection,
            state.quarantined_values,
            (*identity, "storage_class", "value"),
            (
                (*own, d.key, name, storage, raw_bytes(value))
                for d in quarantined
                for (name, _), (storage, value) in zip(reading.map.columns, d.stored, strict=True)
            ),
        )


def _refusal(job: Job, reading: Reading, settled: Settled) -> str:
    refusals = settled.refusals.most_common()
    counts = "; ".join(f"{visible(name)}: {n} by rule {rule}" for (name, rule), n in refusals)
    table, column = visible(reading.map.source.name), visible(next(iter(settled.refusals))[0])
    nothing = f"the range {reading.part}" if reading.part else "the table"
    lines = "\n".join(settled.named)
    return (
        f"Table {table}: {counted(sum(settled.refusals.values()), 'value')} cannot cross ({counts}); nothing of "
        f"{nothing} was loaded.\n{lines}\n"
        f"Declare in include/plans/{job.plan.name}.yaml what becomes of them, then clear this task:\n"
        f"  tables: {table}: columns: {column}: `invalid:` quarantine, null, round, strip, text or bytes, or another "
        "`cast:`\n"
        "Loads read the snapshot: to mend the source itself, correct it and start a new run, which takes a fresh "
        "backup."
    )
