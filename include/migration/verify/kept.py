"""Checks what the migration kept of values that did not cross as they were: the quarantine and the altered values.

Each must be the snapshot's, byte for byte; have a cause that verification finds by its own reading; and be allowed
by the plan. Only then is a row expected to be absent, or a value expected in its declared form.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from itertools import groupby
from operator import itemgetter
from typing import Any, NamedTuple

import psycopg

from migration.job import Job
from migration.plan import Invalid
from migration.verify.found import Found
from migration.verify.jsonb import is_extreme
from migration.verify.keys import Key, key_values, row_key
from migration.verify.orphans import Reference, without_parent
from migration.verify.rows import Expectation
from migration.verify.source import Source, SourceRow
from migration.verify.values import IMPOSSIBLE, Value

FETCH_ROWS = 1000
BATCH_ROWS, BATCH_BYTES = 500, 4 << 20
Stored = tuple[str, Any]


class Kept(NamedTuple):
    """A value as the state keeps it: its bytes stay there, their hash and their beginning tell enough."""

    storage: str
    sha256: bytes | None
    head: bytes | None

    def holds(self, storage: str, stored: Any) -> bool:
        """Whether this is the stored value: text and blobs as their bytes, numbers as their text."""
        octets = repr(stored).encode() if isinstance(stored, (int, float)) else stored
        return self.storage == storage and self.sha256 == (None if octets is None else sha256(octets).digest())

    def shown(self, where: str, found: Found) -> str:
        """For people."""
        value = found.shown(self.storage, self.head) or "NULL"
        if self.storage in ("integer", "real") and self.head is not None:
            value = self.head.decode("ascii", "backslashreplace")
        return f"{value} ({self.storage}, {where})"


@dataclass(frozen=True)
class Entry:
    """One row of which something was kept: what the state says, and the snapshot's row."""

    name: str
    kept: list[tuple[Any, ...]]
    key: Key
    row: SourceRow
    """The compared columns of the snapshot's row."""
    whole: dict[str, Stored]
    """All columns of it."""


class Keeper:
    """Reads one table's quarantine and altered values against the snapshot."""

    def __init__(
        self,
        connection: psycopg.Connection[Any],
        job: Job,
        expectation: Expectation,
        references: list[Reference],
        found: Found,
    ) -> None:
        self.connection, self.job, self.expectation, self.found = connection, job, expectation, found
        self.source: Source = expectation.source
        self.plan = job.plan.tables[self.source.table.name]
        by_target = {c.target: i for i, c in enumerate(expectation.columns)}
        self.references = [
            (r, [by_target[c] for c in r.columns]) for r in references if set(r.columns) <= set(by_target)
        ]
        self.names = [c.name for c in self.source.table.columns]

    def quarantine(self) -> Iterator[Key]:
        """Check the quarantine; the keys of the rows that the target shall not hold."""
        query = (
            "SELECT coalesce(q.row_key, v.row_key), q.row_key IS NOT NULL, v.column_name, v.storage_class, sha, head"
            " FROM (SELECT row_key FROM migration.quarantine WHERE run_id = %(run)s AND table_name = %(table)s) AS q"
            " FULL JOIN (SELECT row_key, column_name, storage_class, sha256(value) AS sha,"
            "                   substring(value FROM 1 FOR 200) AS head FROM migration.quarantined_values"
            "            WHERE run_id = %(run)s AND table_name = %(table)s) AS v ON v.row_key = q.row_key ORDER BY 1"
        )
        for entries in self._entries(query, "the quarantine holds a row"):
            causes = self._causes(entries)
            for entry, cause in zip(entries, causes, strict=True):
                listed = entry.kept[0][0]
                if not listed:
                    self.found.add(
                        entry.name,
                        "",
                        "extra",
                        None,
                        "the quarantine holds values of a row that it does not list",
                    )
                    continue
                yield entry.key
                self._same_bytes(entry)
                self._allowed(entry, cause)

    def altered(self) -> int:
        """Check the altered values and expect the rightful ones in their declared form; how many there are."""
        count = 0
        query = (
            "SELECT row_key, column_name, action, storage_class, sha256(value), substring(value FROM 1 FOR 200)"
            " FROM migration.altered_values WHERE run_id = %(run)s AND table_name = %(table)s ORDER BY 1"
        )
        for entries in self._entries(query, "a value of a row was altered"):
            for entry, cause in zip(entries, self._causes(entries), strict=True):
                for column, action, *kept in entry.kept:
                    count += 1
                    self._alter(entry, column, action, Kept(*kept), cause)
        return count

    def _entries(self, query: str, what: str) -> Iterator[list[Entry]]:
        """The kept rows in batches, each with the snapshot's row; a row that the snapshot lacks is a difference."""
        with self.connection.cursor("kept_rows") as cursor:
            cursor.itersize = FETCH_ROWS
            rows = cursor.execute(query, {"run": self.job.run_id, "table": self.source.table.name})
            batch, weight = list[Entry](), 0
            for name, group in groupby(rows, itemgetter(0)):
                if (entry := self._entry(name, [row[1:] for row in group], what)) is None:
                    continue
                batch.append(entry)
                weight += sum(len(v) for _, v in entry.row.stored if isinstance(v, bytes))
                if len(batch) >= BATCH_ROWS or weight >= BATCH_BYTES:
                    yield batch
                    batch, weight = [], 0
            yield batch

    def _entry(self, name: str, kept: list[tuple[Any, ...]], what: str) -> Entry | None:
        try:
            key = key_values(name, self.source.encoding)
            found = self.source.row(key, self.names)
        except ValueError:
            found = None
        if found is None or row_key(found.key, self.source.encoding) != name:
            self.found.add(name, "", "extra", None, what)
            return None
        whole = dict(zip(self.names, found.stored, strict=True))
        return Entry(name, kept, key, SourceRow(key, tuple(whole[c.source] for c in self.expectation.columns)), whole)

    def _causes(self, entries: list[Entry]) -> list[set[str]]:
        """For each row, the columns whose values cannot cross: no exact form, NULL where none may be, no parent."""
        values = [[self._value(*stored) for stored in entry.row.stored] for entry in entries]
        forms = [
            tuple(None if v is None else c.codec.read(v) for c, v in zip(self.expectation.columns, row, strict=True))
            for row in values
        ]
        causes = [
            {
                column.source
                for column, value, form in zip(self.expectation.columns, row, of_row, strict=True)
                if form is IMPOSSIBLE or (form is None and column.not_null) or _extreme(column.codec.type, value)
            }
            for row, of_row in zip(values, forms, strict=True)
        ]
        for reference, places in self.references:
            columns = [self.expectation.columns[i] for i in places]
            for number in without_parent(self.connection, reference, columns, [[f[i] for i in places] for f in forms]):
                causes[number] |= {c.source for c in columns}
        return causes

    def _value(self, storage: str, stored: Any) -> Value:
        return None if storage == "null" else self.source.value(storage, stored)

    def _same_bytes(self, entry: Entry) -> None:
        kept = {column: Kept(*value) for _, column, *value in entry.kept if column is not None}
        for column, stored in entry.whole.items():
            if column not in kept:
                if self.plan.loads(column):
                    self.found.add(
                        entry.name,
                        column,
                        "changed",
                        self.found.shown(*stored),
                        "nothing: the quarantine lacks this value",
                    )
            elif not kept[column].holds(*stored):
                self.found.add(
                    entry.name,
                    column,
                    "changed",
                    self.found.shown(*stored),
                    kept[column].shown("in the quarantine", self.found),
                )
        for column in kept.keys() - entry.whole.keys():
            self.found.add(entry.name, column, "extra", None, f"the quarantine holds a value of a column {column}")

    def _allowed(self, entry: Entry, causes: set[str]) -> None:
        policies = {c: self.plan.policy(c, self.job.params.invalid) for c in sorted(causes)}
        if Invalid.QUARANTINE in policies.values():
            return
        remark = "it is in the quarantine, though each of its values has an exact form in the target"
        if policies:
            said = ", ".join(f"{c}: {p}" for c, p in policies.items())
            remark = f"it is in the quarantine, which the plan does not allow for what is wrong with it ({said})"
        self.found.missing(entry.name, self.expectation.columns, entry.row, remark)

    def _alter(self, entry: Entry, column: str, action: str, kept: Kept, causes: set[str]) -> None:
        stored = entry.whole.get(column)
        if stored is None:
            self.found.add(entry.name, column, "extra", None, f"an altered value of a column {column}")
            return
        shown = self.found.shown(*stored)
        if not kept.holds(*stored):
            self.found.add(entry.name, column, "changed", shown, kept.shown("kept as the original", self.found))
        policy = self.plan.policy(column, self.job.params.invalid)
        if policy != action or policy in (Invalid.STOP, Invalid.QUARANTINE):
            self.found.add(entry.name, column, "changed", shown, f"altered ({action}), where the plan says {policy}")
        elif column not in causes:
            self.found.add(
                entry.name,
                column,
                "changed",
                shown,
                f"altered ({action}), though the value has an exact form in the target",
            )
        else:
            self.expectation.alter(entry.name, column, action)


def _extreme(type_: str, value: Value) -> bool:
    return type_ in ("json", "jsonb") and isinstance(value, str) and is_extreme(value)
