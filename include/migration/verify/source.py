"""Reads one table of the snapshot: which blocks it has, and its rows as SQLite stores them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import apsw

from migration.catalog import Table
from migration.sqlite.catalog import quoted
from migration.verify.codecs import NOTHING, Column
from migration.verify.keys import Key, bound, stored_key
from migration.verify.values import IMPOSSIBLE, Broken, Reader, Value, packed_doubles

BLOCK_BYTES = 1 << 20
"""Canonical text in a block. Half of it is as fast; 4 MB take a tenth longer, since both sides then wait for more."""
FIRST_ROWS, MOST_ROWS = 256, 1 << 15
GROUP = 400
"""So many columns are asked for at a time: a result has at most 2000 in SQLite, 1664 in PostgreSQL."""


@dataclass(frozen=True)
class Block:
    """Rows that follow each other in the source's key order: those behind ``after`` up to ``last``."""

    after: Key | None
    last: Key
    rows: int
    bytes: int


@dataclass(frozen=True)
class SourceRow:
    """One row as SQLite stores it: per column the storage class and the value (text as its bytes)."""

    key: Key
    stored: tuple[tuple[str, Any], ...]


def statement(*parts: str) -> str:
    """SQL from its parts. Names among them are quoted, and values are bound."""
    return " ".join(filter(None, parts))


class Source:
    """One table of an open snapshot, seen through the codecs of its target columns."""

    def __init__(self, snapshot: apsw.Connection, table: Table, columns: Sequence[Column]) -> None:
        self.snapshot, self.table, self.columns = snapshot, table, tuple(columns)
        self.name = quoted(table.name)
        self.computed = frozenset(c.name for c in table.columns if c.generated)
        self.keys = tuple(map(quoted, table.key))
        collations = {k.column: k.collation for i in table.indexes if i.origin == "pk" for k in i.keys}
        self._ordered = [
            f"{quoted(k)} COLLATE {quoted(collations[k])}" if k in collations else quoted(k) for k in table.key
        ]
        """The key's columns as the key itself compares them, which may be otherwise than the columns do."""
        names = {"UTF-16le": "utf-16-le", "UTF-16be": "utf-16-be"}
        self.encoding = names.get(self.one("PRAGMA encoding")[0], "utf-8")
        self.skips = False
        functions = [_as_function(column.codec.read) for column in columns]
        for i, function in enumerate(functions):
            snapshot.create_scalar_function(f"read_{i}", function, 1, deterministic=True)  # type: ignore[arg-type]
        snapshot.create_aggregate_function("doubles", _doubles, 1)

    def one(self, query: str, bindings: Sequence[Any] = ()) -> tuple[Any, ...]:
        """The first row of a query's result."""
        return tuple(self.snapshot.execute(query, bindings).fetchall()[0])

    def count(self) -> int:
        """All rows of the table."""
        return int(self.one(statement("SELECT count(*) FROM", self.name, "NOT INDEXED"))[0])

    def largest(self, column: str) -> int | None:
        """The largest whole number in a column."""
        name = quoted(column)
        query = statement("SELECT max(", name, ") FROM", self.name, "WHERE typeof(", name, ") = 'integer'")
        found: int | None = self.one(query)[0]
        return found

    def skip(self, keys: Iterable[Key]) -> int:
        """Leave the rows of these keys, those of the quarantine, out of all that follows; how many they are."""
        names = ", ".join(f"k{i}" for i in range(len(self.keys)))
        table = "temp.verify_skipped"
        self.snapshot.execute(statement("DROP TABLE IF EXISTS", table))
        columns = statement("(", names, ", PRIMARY KEY (", names, ")) WITHOUT ROWID")
        self.snapshot.execute(statement("CREATE TABLE", table, columns))
        count = 0
        with self.snapshot:
            for key in keys:
                marks, values = bound(key)
                insert = statement("INSERT OR IGNORE INTO", table, "VALUES (", ", ".join(marks), ")")
                self.snapshot.execute(insert, values)
                count += 1
        self.skips = count > 0
        return count

    def chosen(self, after: Key | None, last: Key | None, *, ordered: bool = True) -> tuple[str, list[Any]]:
        """The FROM clause for the rows behind ``after`` up to ``last``, and its bindings.

        Aggregates do without ORDER BY, for which SQLite would first copy all rows: the scan by key, which is all
        that NOT INDEXED leaves, has them in order. If it had not, digests would differ, and never agree by mistake.
        """
        conditions, bindings = list[str](), list[Any]()
        for operator, key in ((">", after), ("<=", last)):
            if key is not None:
                marks, values = bound(key)
                conditions.append(f"({', '.join(self._ordered)}) {operator} ({', '.join(marks)})")
                bindings += values
        if self.skips:
            # The unary + keeps the column's affinity out of the comparison, else the index would not serve.
            same = " AND ".join(f"s.k{i} = +t.{k}" for i, k in enumerate(self.keys))
            conditions.append(statement("NOT EXISTS (SELECT 1 FROM temp.verify_skipped AS s WHERE", same, ")"))
        where = "WHERE " + " AND ".join(conditions) if conditions else ""
        order = "ORDER BY " + ", ".join(self._ordered) if ordered else ""
        return statement("FROM", self.name, "AS t NOT INDEXED", where, order), bindings

    def blocks(self) -> Iterator[Block]:
        """The table in blocks of about BLOCK_BYTES; a longer row has one for itself. Reads sizes, not values."""
        sized = [f"coalesce(octet_length({quoted(c.source)}), 0)" for c in self.columns if c.codec.sized]
        # In groups: SQLite limits the depth of an expression to 1000.
        groups = [f"({' + '.join(sized[i : i + 100])})" for i in range(0, len(sized), 100)]
        fixed = 24 * len(self.columns)
        size = " + ".join([str(fixed), *groups])
        largest = "NULL" if self.table.without_rowid else "max(key)"
        after: Key | None = None
        limit = FIRST_ROWS
        while True:
            chosen, bindings = self.chosen(after, None)
            if not sized:
                limit = min(max(BLOCK_BYTES // fixed, 1), MOST_ROWS)
                if (end := self._skipping(chosen, bindings, limit - 1)) is not None:
                    yield Block(after, end, limit, limit * fixed)
                    after = end
                    continue
            inner = statement("SELECT", size, "AS bytes,", self.keys[0], "AS key", chosen, "LIMIT ?")
            outer = statement("SELECT count(*), coalesce(sum(bytes), 0),", largest, "FROM (", inner, ")")
            rows, octets, rowid = self.one(outer, [*bindings, limit])
            if not rows:
                return
            if octets > 2 * BLOCK_BYTES and rows > 1:
                limit = max(rows * BLOCK_BYTES // octets, 1)
                continue
            last = self._skipping(chosen, bindings, rows - 1) if rowid is None else (rowid,)
            assert last is not None
            yield Block(after, last, rows, octets)
            after = last
            limit = min(max(rows * BLOCK_BYTES // octets, 1), MOST_ROWS)

    def _skipping(self, chosen: str, bindings: Sequence[Any], rows: int) -> Key | None:
        """The key of the row after so many; None when there is none."""
        query = statement("SELECT", _raw(self.keys, ()), chosen, "LIMIT 1 OFFSET ?")
        found = self.snapshot.execute(query, [*bindings, rows]).fetchall()
        return stored_key(found[0]) if found else None

    def rows(self, block: Block | None = None, places: Sequence[int] | None = None) -> Iterator[SourceRow]:
        """The rows of a block, or of the table, with the stored values of the compared columns, or of some."""
        chosen, bindings = self.chosen(block.after, block.last) if block else self.chosen(None, None)
        columns = self.columns if places is None else [self.columns[i] for i in places]
        yield from self._rows([c.source for c in columns], chosen, bindings)

    def row(self, key: Key, columns: Sequence[str]) -> SourceRow | None:
        """The row of that key, skipped or not, with the stored values of ``columns``."""
        if len(key) != len(self.keys):
            return None
        marks, bindings = bound(key)
        same = " AND ".join(f"{k} = {m}" for k, m in zip(self._ordered, marks, strict=True))
        return next(self._rows(columns, statement("FROM", self.name, "WHERE", same), bindings), None)

    def _rows(self, columns: Sequence[str], chosen: str, bindings: Sequence[Any]) -> Iterator[SourceRow]:
        """Rows read by several cursors side by side where there are more columns than a result can have."""
        split = 2 * len(self.keys)
        cursors = []
        for start in range(0, len(columns), GROUP):
            query = statement("SELECT", _raw(self.keys, tuple(columns[start : start + GROUP])), chosen)
            cursors.append(self.snapshot.execute(query, bindings))
        for parts in zip(*cursors, strict=True):
            pairs = (zip(part[split::2], part[split + 1 :: 2], strict=True) for part in parts)
            yield SourceRow(stored_key(parts[0][:split]), tuple(pair for part in pairs for pair in part))

    def value(self, storage: str, stored: Any) -> Value:
        """A stored value as the readers take it."""
        if storage != "text":
            return stored  # type: ignore[no-any-return]
        try:
            return str(stored, self.encoding)
        except UnicodeDecodeError:
            return Broken(stored)


@lru_cache(64)  # rows found by key ask for the same columns time and again
def _raw(keys: tuple[str, ...], columns: tuple[str, ...]) -> str:
    """The storage class and the value of each key (quoted) and column, text as its bytes."""
    names = [*keys, *map(quoted, columns)]
    return ", ".join(f"typeof({n}), CASE typeof({n}) WHEN 'text' THEN CAST({n} AS BLOB) ELSE {n} END" for n in names)


def _doubles() -> tuple[list[Any], Callable[..., None], Callable[[list[Any]], bytes]]:
    """An aggregate for SQLite: its context, what adds a value to it, and what is made of it."""
    return [], list.append, lambda values: packed_doubles(values, NOTHING)


def _as_function(read: Reader) -> Callable[[Any], Any]:
    def function(value: Any) -> Any:
        form = read(value)
        return NOTHING if form is IMPOSSIBLE else form

    return function
