"""Compares rows that have no key on the target's side: as a multiset, through a temporary table on disk."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any

import apsw

from migration.verify.found import Found
from migration.verify.rows import Expectation, Forms, packed, report_changed, target_key
from migration.verify.source import SourceRow
from migration.verify.target import Target, TargetRow

PAIRED = 200
"""So many unmatched rows of each side are put together by what they have in common."""


def compare_multisets(
    expectation: Expectation,
    target: Target,
    source_rows: Iterable[SourceRow],
    target_rows: Iterable[TargetRow],
    found: Found,
) -> None:
    """Match equal rows, each with one, in whatever order; report the others.

    Two unmatched rows that agree in at least half of their columns are reported as one row with changed values.
    """
    memory = expectation.source.snapshot
    memory.execute("DROP TABLE IF EXISTS temp.verify_left")
    memory.execute("CREATE TABLE temp.verify_left (digest BLOB, ctid TEXT)")
    with memory:
        rows = ((packed(row.forms), row.ctid) for row in target_rows)
        memory.executemany("INSERT INTO temp.verify_left VALUES (?, ?)", rows)
    memory.execute("CREATE INDEX temp.verify_left_digest ON verify_left (digest)")
    unmatched: list[tuple[SourceRow, Forms]] = []
    for row in source_rows:
        forms = expectation.forms(row)
        if _take(memory, packed(forms)):
            continue
        if len(unmatched) < PAIRED:
            unmatched.append((row, forms))
        else:
            found.missing(expectation.name(row), target.columns, row)
    pages = _left(memory)
    there = list(target.rows(target.at(next(pages, []))))
    for row, forms in unmatched:
        nearest = max(there, key=lambda other: _common(forms, other.forms), default=None)
        if nearest is None or 2 * _common(forms, nearest.forms) < len(forms):
            found.missing(expectation.name(row), target.columns, row)
        else:
            there.remove(nearest)
            report_changed(expectation, row, forms, nearest.forms, found)
    for other in chain(there, chain.from_iterable(target.rows(target.at(page)) for page in pages)):
        found.extra(target_key(target, other), target.columns, other.forms)


def _take(memory: apsw.Connection, digest: bytes) -> bool:
    """Remove one row of that digest; whether there was one."""
    found = memory.execute("SELECT rowid FROM temp.verify_left WHERE digest = ? LIMIT 1", [digest]).fetchall()
    if found:
        memory.execute("DELETE FROM temp.verify_left WHERE rowid = ?", found[0])
    return bool(found)


def _left(memory: apsw.Connection) -> Iterator[list[str]]:
    """Where the rows lie that nothing took, in pages."""
    last: Any = 0
    while page := memory.execute(
        "SELECT rowid, ctid FROM temp.verify_left WHERE rowid > ? ORDER BY rowid LIMIT ?", [last, PAIRED]
    ).fetchall():
        last = page[-1][0]
        yield [str(ctid) for _, ctid in page]


def _common(one: Forms, other: Forms) -> int:
    return sum(a == b for a, b in zip(one, other, strict=True))
