"""Compares rows one by one, by key: what is done where the digests of a block differ."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any

from migration.verify.found import Found
from migration.verify.keys import row_key
from migration.verify.source import Source, SourceRow
from migration.verify.target import Target, TargetRow
from migration.verify.values import IMPOSSIBLE, Canonical

Forms = tuple[Canonical, ...]


class Expectation:
    """What the target must hold for each row of the source."""

    def __init__(self, source: Source) -> None:
        self.source, self.columns = source, source.columns
        self.altered = False

    def alter(self, key: str, column: str, action: str) -> None:
        """Expect the value of that row and source column in the form that the plan declares: null, round and so on."""
        memory = self.source.snapshot
        if not self.altered:
            memory.execute("DROP TABLE IF EXISTS temp.verify_altered")
            columns = "(key, name, action, PRIMARY KEY (key, name)) WITHOUT ROWID"
            memory.execute("CREATE TABLE temp.verify_altered " + columns)
            self.altered = True
        memory.execute("INSERT INTO temp.verify_altered VALUES (?, ?, ?)", [key, column, action])

    def forms(self, row: SourceRow, places: Sequence[int] | None = None) -> Forms:
        """The canonical form of each value of ``row``, which holds the columns at ``places`` (by default all)."""
        columns = self.columns if places is None else [self.columns[i] for i in places]
        found = [
            None if storage == "null" else column.codec.read(self.source.value(storage, stored))
            for column, (storage, stored) in zip(columns, row.stored, strict=True)
        ]
        if self.altered:
            query = "SELECT name, action FROM temp.verify_altered WHERE key = ?"
            listed: list[Any] = self.source.snapshot.execute(query, [self.name(row)]).fetchall()
            changes = dict(listed)
            for i, column in enumerate(columns):
                if (action := changes.get(column.source)) is not None:
                    found[i] = column.codec.altered(action, self.source.value(*row.stored[i]))
        return tuple(found)

    def name(self, row: SourceRow) -> str:
        """The row's key as the state writes it."""
        return row_key(row.key, self.source.encoding)


def compare_rows(
    expectation: Expectation,
    target: Target,
    source_rows: Iterable[SourceRow],
    target_rows: Iterable[TargetRow],
    found: Found,
) -> None:
    """Compare the rows of one block; the source's are held in memory, the target's stream past."""
    waiting: dict[Forms, tuple[SourceRow, Forms]] = {}
    for row in source_rows:
        forms = expectation.forms(row)
        key = tuple(forms[i] for i in target.key)
        if key in waiting or IMPOSSIBLE in key or None in key:
            found.missing(expectation.name(row), target.columns, row)
        else:
            waiting[key] = (row, forms)
    for there in target_rows:
        pair = waiting.pop(tuple(there.forms[i] for i in target.key), None)
        if pair is None:
            found.extra(target_key(target, there), target.columns, there.forms)
        elif pair[1] != there.forms:
            report_changed(expectation, pair[0], pair[1], there.forms, found)
    for row, _ in waiting.values():
        found.missing(expectation.name(row), target.columns, row)


def report_changed(expectation: Expectation, row: SourceRow, expected: Forms, actual: Forms, found: Found) -> None:
    """Report each value of a row in which the sides differ."""
    for column, stored, mine, theirs in zip(expectation.columns, row.stored, expected, actual, strict=True):
        if mine != theirs:
            found.changed(expectation.name(row), column, stored, mine, theirs)


def target_key(target: Target, row: TargetRow) -> str:
    """A target row's key as the state writes keys; where the row lies, when it has none."""
    if not target.key:
        return row_key(["ctid", row.ctid])
    return written_key(target, [row.forms[i] for i in target.key])


def written_key(target: Target, forms: Sequence[Canonical]) -> str:
    """A key of the target from its canonical forms, as the state writes keys."""
    kinds = [target.columns[i].codec.type for i in target.key]
    pairs = zip(kinds, forms, strict=True)
    return row_key([int(f) if kind == "integer" and isinstance(f, str) else f for kind, f in pairs])


def packed(forms: Forms) -> bytes:
    """One hash of canonical forms: equal for equal forms only."""
    digest = hashlib.sha256()
    for form in forms:
        octets = form.encode() if isinstance(form, str) else form if isinstance(form, bytes) else b""
        digest.update(f"{type(form).__name__}{len(octets)}:".encode() + octets)
    return digest.digest()
