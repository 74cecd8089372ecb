"""Looks at the rows before they are read: how many there are, and how long.

A table with an integer key is surveyed in portions of it, so that one portion can be read, converted and sent while the
next is surveyed, and is in memory still when it is read. Rows of numbers alone are all alike, and one portion.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

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
    """Rows that were counted. Each is either plain or apart, whatever is NULL."""

    reading: Reading
    size: Size

    @property
    def _singly(self) -> str:
        """The condition for those that no block takes."""
        long = f" OR ({self.reading.size}) > {self.size.long}" if self.size.longest > self.size.long else ""
        return f"({self.reading.flag}){long}"

    @property
    def plain(self) -> str:
        """The WHERE clause for the rows that blocks take."""
        return self.reading.where(f"({self._singly}) IS NOT TRUE")

    @property
    def apart(self) -> str:
        """The WHERE clause for the others, if there are any."""
        return self.reading.where(f"({self._singly}) IS TRUE")


def count(snapshot: apsw.Connection, reading: Reading) -> int:
    """How many rows are to be read, by a query of its own: what the load is held against at its end."""
    query = f"SELECT count(*) FROM {_rows(reading)}"  # noqa: S608 - quoted()
    return int(str(snapshot.execute(query).fetchall()[0][0]))


def survey(snapshot: apsw.Connection, reading: Reading, total: int) -> Iterator[Portion]:
    """All ``total`` rows that are to be read, each in one portion."""
    source = reading.map.source
    if reading.size == "0":
        yield Portion(reading, Size(total, 0, 0))
        return
    if source.without_rowid or not source.key or reading.orphans:
        # Orphans are found by the whole of another table, which is looked through once for each statement.
        yield whole(snapshot, reading)
        return
    key = quoted(reading.keys[0])
    ends = ", ".join(f"(SELECT {end}({key}) FROM {_rows(reading)})" for end in ("min", "max"))  # noqa: S608 - quoted()
    first, last = snapshot.execute(f"SELECT {ends}").fetchall()[0]
    most = PORTION_ROWS.start
    while isinstance(first, int) and isinstance(last, int) and first <= last:
        size, found = _sized(snapshot, reading.narrowed(first, last), f", {key} AS key", f" ORDER BY 2 LIMIT {most}")
        end = last if found is None else found
        yield Portion(reading.narrowed(first, end), size)
        first = end + 1
        most = min(max(PORTION_BYTES // max(size.average, 1), PORTION_ROWS.start), PORTION_ROWS.stop)


def whole(snapshot: apsw.Connection, reading: Reading) -> Portion:
    """All rows that are to be read, as one portion."""
    return Portion(reading, _sized(snapshot, reading, ", NULL AS key", " LIMIT -1")[0])


def _rows(reading: Reading) -> str:
    return f"{reading.table} NOT INDEXED{reading.where()}"


def _sized(snapshot: apsw.Connection, reading: Reading, key: str, which: str) -> tuple[Size, int | None]:
    """The size of some rows, and their last key. Without a LIMIT, SQLite would compute the bytes of each row twice."""
    rows = f"SELECT {reading.size} AS octets{key} FROM {_rows(reading)}{which}"  # noqa: S608 - quoted()
    looked = "count(*), coalesce(sum(octets), 0), coalesce(max(octets), 0), max(key)"
    found: list[Any] = snapshot.execute(f"SELECT {looked} FROM ({rows})").fetchall()  # noqa: S608 - quoted()
    ((number, octets, longest, last),) = found
    return Size(number, octets, longest), last
