"""What is read of one table, in SQLite's words: the pieces of its queries, and its rows one at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import apsw
import pyarrow as pa

from migration.load.casts import Cast
from migration.mapping import TableMap
from migration.sqlite.catalog import quoted

_MIXED = {pa.float64(): "REAL", pa.string(): "TEXT"}
"""As what a column is read whose integers are to arrive as another class."""
_CLASSES = {"i": "integer", "r": "real", "t": "text", "b": "blob", "n": "null"}
EXACT_INTEGERS = 2**53
"""Beyond it a double skips integers."""


def _joined(operator: str, terms: list[str]) -> str:
    """One expression of many terms, in groups: SQLite limits an expression's depth to 1000."""
    groups = [operator.join(terms[at : at + 100]) for at in range(0, len(terms), 100)]
    return operator.join(f"({group})" for group in groups)


@dataclass(frozen=True)
class Reading:
    """The SQL pieces with which one table is read."""

    map: TableMap
    casts: tuple[Cast, ...]
    orphans: tuple[str, ...] = ()
    """One predicate per foreign key: true for a row whose parent is missing. Empty when no row is one."""
    encoding: str = "UTF-8"
    """The database's own: UTF-8, UTF-16le or UTF-16be."""
    within: str = ""
    """The condition for the rows of which a range consists; empty for all of the table."""
    part: str = ""
    """The range's name for people, after the table's."""

    def where(self, *conditions: str) -> str:
        """A WHERE clause for those of its rows of which all these conditions that are not empty hold."""
        given = [f"({c})" for c in (self.within, *conditions) if c]
        return f" WHERE {' AND '.join(given)}" if given else ""

    def narrowed(self, first: int, last: int) -> Reading:
        """The rows between two integer keys, both included, in place of those of ``within``."""
        return replace(self, within=f"{quoted(self.keys[0])} BETWEEN {first} AND {last}")

    @property
    def table(self) -> str:
        return quoted(self.map.source.name)

    @property
    def keys(self) -> tuple[str, ...]:
        return self.map.source.key

    @property
    def _columns(self) -> list[tuple[str, bool, Cast]]:
        """Each column's quoted name, whether its target takes NULL, and its cast."""
        both = zip(self.map.columns, self.casts, strict=True)
        return [(quoted(name), bool(target.nullable), cast) for (name, target), cast in both]

    @property
    def plain(self) -> list[str]:
        """Each column's value, for rows that are not flagged."""
        return [f"CAST({name} AS {_MIXED[cast.reads]})" if cast.mixes else name for name, _, cast in self._columns]

    @property
    def _rowid(self) -> str | None:
        """The quoted name of the column that is the rowid: SQLite keeps nothing but integers there."""
        alias = self.map.source.rowid_alias
        return None if alias is None else quoted(alias)

    @property
    def flag(self) -> str:
        """True for a row that has to be looked at by itself."""
        guards = []
        for name, nullable, cast in self._columns:
            if name == self._rowid and "integer" in cast.classes and not cast.mixes:
                continue
            passing = dict.fromkeys(sorted(cast.classes, reverse=True), "0")  # the usual ones come first
            if nullable:
                passing["null"] = "0"
            if cast.mixes and cast.reads == pa.float64():
                passing["integer"] = f"{name} NOT BETWEEN -{EXACT_INTEGERS} AND {EXACT_INTEGERS}"
            if cast.reads == pa.string() and self.encoding != "UTF-8":
                # Reading UTF-16 as UTF-8, SQLite makes a character beyond U+FFFF of half a surrogate pair and
                # whatever follows it.
                passing["text"] = f"{name} GLOB '*[' || char(65536) || '-' || char(1114111) || ']*'"
            if any(flagged != "0" for flagged in passing.values()):
                cases = " ".join(f"WHEN '{kind}' THEN {flagged}" for kind, flagged in passing.items())
                guards.append(f"CASE typeof({name}) {cases} ELSE 1 END")
            else:
                guards.append(" AND ".join(f"typeof({name}) <> '{kind}'" for kind in passing))
        return _joined(" OR ", [*guards, *self.orphans]) or "0"

    @property
    def size(self) -> str:
        """A row's bytes of text and blobs; octet_length() reads no overflow page."""
        varying = [name for name, _, cast in self._columns if cast.reads in (pa.string(), pa.binary())]
        return _joined(" + ", [f"coalesce(octet_length({name}), 0)" for name in varying]) or "0"

    @property
    def by_key(self) -> str:
        """The condition that finds one row by its :func:`key_values`."""
        texts = [name for name, _, cast in self._columns if cast.reads == pa.string()]
        found = []
        for place, name in enumerate(map(quoted, self.keys), 1):
            if name in texts:
                # '+' and CASE have no affinity, which keeps 1 and '1' apart. A key can have another collation than
                # its column: the first condition finds by index where it may, the second tells 'a' from 'A'.
                value = f"CASE typeof(?{place}) WHEN 'blob' THEN CAST(?{place} AS TEXT) ELSE ?{place} END"
                found.append(f"{name} IS {value} AND +{name} COLLATE BINARY IS {value}")
            else:
                found.append(f"{name} IS ?{place}")
        return " AND ".join(found)

    @property
    def integer_keys(self) -> list[str]:
        """The key's columns whose integers are read as text, which alone does not tell 5 from '5'."""
        columns = zip(self.map.columns, self.casts, strict=True)
        mixed = {name for (name, _), cast in columns if cast.mixes and cast.reads == pa.string()}
        return [k for k in self.keys if k in mixed]


@dataclass(frozen=True)
class SourceRow:
    """One row as SQLite stores it: storage classes and values, text as its bytes."""

    key: tuple[tuple[str, Any], ...]
    values: tuple[tuple[str, Any], ...]
    orphan: tuple[bool, ...]
    """Per foreign key of the map, whether the parent is missing."""


def rows(
    snapshot: apsw.Connection, reading: Reading, where: str, bindings: Iterable[tuple[Any, ...]] = ((),)
) -> Iterator[SourceRow]:
    """The rows of the clause ``where`` with each of the bindings in turn, whole and byte for byte."""
    names = [quoted(n) for n in (*reading.keys, *(n for n, _ in reading.map.columns))]
    # One letter for each storage class, in one column: SQLite limits their number to 2000.
    classes = _joined(" || ", [f"substr(typeof({n}), 1, 1)" for n in names])
    values = [f"CASE typeof({n}) WHEN 'text' THEN CAST({n} AS BLOB) ELSE {n} END" for n in names]
    keys, end = len(reading.keys), len(names) + 1
    query = f"SELECT {', '.join([classes, *values, *reading.orphans])} FROM {reading.table}{where}"  # noqa: S608 - quoted()

    def made(row: tuple[Any, ...]) -> SourceRow:
        cells = [(_CLASSES[c], value) for c, value in zip(str(row[0]), row[1:end], strict=True)]
        return SourceRow(tuple(cells[:keys]), tuple(cells[keys:]), tuple(map(bool, row[end:])))

    for bound in bindings:
        yield from map(made, snapshot.execute(query, bound))  # map() keeps no row while the next one is made
