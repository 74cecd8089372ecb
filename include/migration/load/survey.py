"""Looks at the rows before they are read: how many there are, how long, and which have to be looked at singly.

A table with an integer key is surveyed in portions of it, so that one portion can be read, converted and sent while the
next is surveyed, and is in memory still when it is read.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import apsw

from migration.load.reading import Reading
from migration.sqlite.catalog import quoted

PORTION_BYTES = 8 << 20
PORTION_ROWS = range(1024, 1 << 16)
"""What a portion holds: so many bytes of text and blobs, within these bounds of rows. The first has the fewest."""
LONG_FACTOR = 16
LONG_BYTES = range(4096, 1 << 18)
"""Rows longer than LONG_FACTOR averages, within these bounds, are read singly: blocks stay below 32 MiB."""


@dataclass(frozen=True)
class Size:
    """How many rows there are, and the bytes of text and blobs in them and in the longest."""

    rows: int
    bytes: int
    longest: int

    @property
    def average(self) -> int:
        """Bytes of a row."""
        return self.bytes // max(self.rows, 1)

    @property
    def long(self) -> int:
        """Rows of more bytes than this are read one at a time."""
        return max(min(LONG_FACTOR * self.average, LONG_BYTES.stop), LONG_BYTES.start)


@dataclass(frozen=True)
class Portion:
    """Rows that were looked at."""

    reading: Reading
    size: Size
    flagged: bool
    """Whether any of them is."""

    @property
    def _singly(self) -> str:
        """The condition for those that no block takes; empty when there are none."""
        conditions = [self.reading.flag] if self.flagged else []
        if self.size.longest > self.size.long:
            conditions.append(f"{self.reading.size} > {self.size.long}")
        return " OR ".join(f"({c})" for c in conditions)

    @property
    def plain(self) -> str:
        """The WHERE clause for the rows that blocks take. Each row is either here or in ``apart``, whatever is NULL."""
        return self.reading.where(f"({self._singly}) IS NOT TRUE" if self._singly else "")

    @property
    def apart(self) -> str:
        """The WHERE clause for the others; empty when there are none."""
        return self.reading.where(f"({self._singly}) IS TRUE") if self._singly else ""


def count(snapshot: apsw.Connection, reading: Reading) -> int:
    """How many rows are to be read, by a query of its own: what the load is held against at its end."""
    query = f"SELECT count(*) FROM {reading.table} NOT INDEXED{reading.where()}"  # noqa: S608 - quoted()
    return int(str(snapshot.execute(query).fetchall()[0][0]))


def survey(snapshot: apsw.Connection, reading: Reading) -> Iterator[Portion]:
    """All rows that are to be read, each in one portion; none without rows."""
    source = reading.map.source
    if source.without_rowid or not source.key or reading.orphans:
        # Orphans are found by the whole of another table, which is looked through once for each statement.
        yield whole(snapshot, reading)
        return
    key = quoted(reading.keys[0])
    ends = f"SELECT min({key}), max({key}) FROM {reading.table} NOT INDEXED{reading.where()}"  # noqa: S608 - quoted()
    first, last = snapshot.execute(ends).fetchall()[0]
    most = PORTION_ROWS.start
    while isinstance(first, int) and isinstance(last, int) and first <= last:
        following = f"{reading.table} NOT INDEXED{reading.narrowed(first, last).where()} ORDER BY {key}"
        step = f"SELECT {key} FROM {following} LIMIT 1 OFFSET {most - 1}"  # noqa: S608 - quoted()
        end = next((int(str(found)) for (found,) in snapshot.execute(step)), last)
        portion = whole(snapshot, reading.narrowed(first, end))
        yield portion
        first = end + 1
        most = min(max(PORTION_BYTES // max(portion.size.average, 1), PORTION_ROWS.start), PORTION_ROWS.stop)


def whole(snapshot: apsw.Connection, reading: Reading) -> Portion:
    """All rows that are to be read, as one portion."""
    rows, octets, flag = f"{reading.table} NOT INDEXED{reading.where()}", reading.size, reading.flag
    if octets != "0":  # LIMIT keeps SQLite from computing each twice; for numbers alone it costs more than it saves
        rows = f"(SELECT {octets} AS octets, {flag} AS flag FROM {rows} LIMIT -1)"  # noqa: S608 - quoted()
        octets, flag = "octets", "flag"
    looked = f"count(*), coalesce(sum({octets}), 0), coalesce(max({octets}), 0), count(*) FILTER (WHERE {flag})"
    query = f"SELECT {looked} FROM {rows}"  # noqa: S608 - quoted()
    *size, flagged = (int(str(value)) for value in snapshot.execute(query).fetchall()[0])
    return Portion(reading, Size(*size), flagged > 0)
