"""Reads a table of the snapshot: blocks of plain rows as Arrow arrays, and the rest one row at a time.

Blocks come from the ADBC driver, which fixes a column's Arrow type by the first rows it sees. So each query
begins with a row of typed values that is dropped, every column is guarded by typeof() in SQL, and the types
delivered are asserted: without these, a REAL met in a bigint column would arrive as the integer of its bits.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import adbc_driver_manager
import adbc_driver_sqlite
import apsw
import pyarrow as pa

from migration.errors import SourceError
from migration.load.casts import Cast
from migration.mapping import TableMap
from migration.sqlite.catalog import quoted
from migration.sqlite.opening import uri

BLOCK_BYTES = 1 << 20
"""What a block of average rows holds. Larger ones are no faster and cost memory."""
FEWEST_ROWS = 64
LONG_FACTOR = 16
LONG_BYTES = range(4096, 1 << 18)
"""Rows longer than LONG_FACTOR averages, within these bounds, are read singly: blocks stay below 32 MiB."""

_TYPED = {pa.int64(): "0", pa.float64(): "0.0", pa.string(): "''", pa.binary(): "x'00'"}
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
    clean: bool = False
    """Whether :func:`is_clean` has looked at every row: none is flagged, so that blocks need not ask again."""

    def where(self, *conditions: str) -> str:
        """A WHERE clause for those of its rows of which all these conditions that are not empty hold."""
        given = [f"({c})" for c in (self.within, *conditions) if c]
        return f" WHERE {' AND '.join(given)}" if given else ""

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
        """Each column's value where its storage class passes, NULL otherwise."""
        found = []
        for name, _, cast in self._columns:
            value = f"CAST({name} AS {_MIXED[cast.reads]})" if cast.mixes else name
            found.append(value if self.clean else f"CASE WHEN typeof({name}) IN ({_classes(cast)}) THEN {value} END")
        return found

    @property
    def flag(self) -> str:
        """True for a row that has to be looked at by itself."""
        guards = []
        for name, nullable, cast in self._columns:
            passing = dict.fromkeys(sorted(cast.classes, reverse=True), "0")  # the usual ones come first
            if nullable:
                passing["null"] = "0"
            if cast.mixes and cast.reads == pa.float64():
                passing["integer"] = f"{name} NOT BETWEEN -{EXACT_INTEGERS} AND {EXACT_INTEGERS}"
            if cast.reads == pa.string() and self.encoding != "UTF-8":
                # Reading UTF-16 as UTF-8, SQLite makes a character beyond U+FFFF of half a surrogate pair and
                # whatever follows it.
                passing["text"] = f"{name} GLOB '*[' || char(65536) || '-' || char(1114111) || ']*'"
            cases = " ".join(f"WHEN '{kind}' THEN {flagged}" for kind, flagged in passing.items())
            guards.append(f"CASE typeof({name}) {cases} ELSE 1 END")
        return _joined(" OR ", [*guards, *self.orphans])

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


def _classes(cast: Cast) -> str:
    return ", ".join(f"'{c}'" for c in cast.classes)


@dataclass(frozen=True)
class Size:
    """How much a table holds, and what follows for its blocks."""

    rows: int
    bytes: int
    longest: int

    @property
    def long(self) -> int:
        """Rows of more bytes than this are read one at a time."""
        average = self.bytes // max(self.rows, 1)
        return max(min(LONG_FACTOR * average, LONG_BYTES.stop), LONG_BYTES.start)

    def block_rows(self, most: int) -> int:
        """Rows per block, at most ``most``."""
        average = self.bytes // max(self.rows, 1) + 32
        return max(min(BLOCK_BYTES // average, most), FEWEST_ROWS)


def measure(snapshot: apsw.Connection, reading: Reading) -> Size:
    """Count the rows and bytes that are to be read."""
    size = reading.size
    totals = f"coalesce(sum({size}), 0), coalesce(max({size}), 0)" if size != "0" else "0, 0"
    row = snapshot.execute(
        f"SELECT count(*), {totals} FROM {reading.table} NOT INDEXED{reading.where()}"  # noqa: S608 - quoted()
    ).fetchall()[0]
    return Size(*(int(str(value)) for value in row))


def is_clean(snapshot: apsw.Connection, reading: Reading) -> bool:
    """Whether no row is flagged. One more scan, and far cheaper than to ask the same of each value that is read."""
    query = f"SELECT EXISTS (SELECT 1 FROM {reading.table} NOT INDEXED{reading.where(reading.flag)})"  # noqa: S608 - quoted()
    return not snapshot.execute(query).fetchall()[0][0]


@dataclass(frozen=True)
class Block:
    """Columns as their casts read them, the row keys, and which rows are flagged.

    A key of integers and text is a struct: the text, and the integer where it was one.
    """

    columns: list[pa.Array]
    keys: list[pa.Array]
    flagged: pa.Array | None
    """None where no row of the table is."""


def key_values(keys: list[pa.Array], places: list[int], encoding: str) -> list[tuple[Any, ...]]:
    """The keys of the rows at these places of a block, for :attr:`Reading.by_key`; text as its bytes."""
    columns = []
    for array in keys:
        chosen = array.take(pa.array(places))
        if pa.types.is_struct(chosen.type):
            pairs = zip(*(_key_values(part, encoding) for part in chosen.flatten()), strict=True)
            columns.append([text if number is None else number for text, number in pairs])
        else:
            columns.append(_key_values(chosen, encoding))
    return list(zip(*columns, strict=True))


def _key_values(array: pa.Array, encoding: str) -> list[Any]:
    values: list[Any] = (array.cast(pa.binary()) if array.type == pa.string() else array).to_pylist()
    if array.type == pa.string() and encoding != "UTF-8":
        return [v.decode("utf-8", "surrogatepass").encode(encoding, "surrogatepass") for v in values]
    return values


def blocks(path: Path, reading: Reading, size: Size, most_rows: int) -> Iterator[Block]:
    """The rows in blocks, without the long ones."""
    names = [n for n, _ in reading.map.columns]
    extra = [k for k in reading.keys if k not in names]  # the rowid; key columns are among the columns
    integers = [f"CASE typeof({k}) WHEN 'integer' THEN {k} END" for k in map(quoted, reading.integer_keys)]
    flag = [] if reading.clean else [f"({reading.flag})"]
    types = [c.reads for c in reading.casts] + [pa.int64()] * (len(extra) + len(integers) + len(flag))
    first = ", ".join(_TYPED[t] for t in types)
    chosen = ", ".join([*reading.plain, *map(quoted, extra), *integers, *flag])
    where = reading.where(f"{reading.size} <= {size.long}" if size.longest > size.long else "")
    query = f"SELECT {first} UNION ALL SELECT {chosen} FROM {reading.table} NOT INDEXED{where}"  # noqa: S608 - quoted()
    table = reading.map.source.name
    try:
        with _batches(path, query, size.block_rows(most_rows)) as batches:
            skip = 1
            for batch in batches:
                if batch.schema.types != types:
                    raise SourceError(
                        f"Table {table}: the reader delivered {batch.schema.types} in place of {types}. "
                        "Nothing was kept; this is a fault of the loader: please report it with this log."
                    )
                arrays = [a.slice(skip) for a in batch.columns]
                skip = 0
                if not len(arrays[0]):
                    continue
                flagged = arrays.pop() if flag else None
                own = dict(zip([*names, *extra], arrays, strict=False))
                for key, array in zip(reading.integer_keys, arrays[len(own) :], strict=True):
                    own[key] = pa.StructArray.from_arrays([own[key], array], ["text", "integer"])
                yield Block(arrays[: len(names)], [own[k] for k in reading.keys], flagged)
    except (adbc_driver_manager.Error, pa.ArrowException, OSError) as error:
        raise SourceError(f"Reading table {table} of the snapshot: {error}") from error


@contextmanager
def _batches(path: Path, query: str, rows: int) -> Iterator[Iterator[pa.RecordBatch]]:
    """The query's result, so many rows at a time. The driver's own DB-API would import pandas: 50 MB, half a second."""
    with (
        adbc_driver_sqlite.connect(uri(path, mode="ro", immutable="1")) as database,
        adbc_driver_manager.AdbcConnection(database) as connection,
        adbc_driver_manager.AdbcStatement(connection) as statement,
    ):
        statement.set_options(**{adbc_driver_sqlite.StatementOptions.BATCH_ROWS.value: str(rows)})
        statement.set_sql_query(query)
        stream, _ = statement.execute_query()
        with pa.RecordBatchReader.from_stream(stream) as reader, ThreadPoolExecutor(1, "reader") as pool:
            yield _ahead(pool, reader)


def _ahead(pool: ThreadPoolExecutor, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Each batch, while the thread reads the next one: what comes after it runs at the same time."""
    waiting = pool.submit(next, batches, None)
    while (batch := waiting.result()) is not None:
        waiting = pool.submit(next, batches, None)
        yield batch


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
