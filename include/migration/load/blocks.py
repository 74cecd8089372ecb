"""Reads the plain rows of a table in blocks, as Arrow arrays.

Blocks come from the ADBC driver, which fixes a column's Arrow type by the first rows it sees. So each query
begins with a row of typed values that is dropped, no row is read in which a value has another storage class, and the
types delivered are asserted: without these, a REAL met in a bigint column would arrive as the integer of its
bits.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import adbc_driver_manager
import adbc_driver_sqlite
import pyarrow as pa

from migration.errors import SourceError
from migration.load.reading import Reading
from migration.load.survey import Portion, Size
from migration.sqlite.catalog import quoted
from migration.sqlite.opening import uri

BLOCK_BYTES = 1 << 20
"""What a block of average rows holds. Larger ones are no faster and cost memory."""
FEWEST_ROWS = 64

_TYPED = {pa.int64(): "0", pa.float64(): "0.0", pa.string(): "''", pa.binary(): "x'00'"}

T = TypeVar("T")


@dataclass(frozen=True)
class Block:
    """Columns as their casts read them, and the row keys.

    A key of integers and text is a struct: the text, and the integer where it was one.
    """

    columns: list[pa.Array]
    keys: list[pa.Array]


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


def blocks(
    path: Path, reading: Reading, portions: Iterable[Portion], most_rows: int, apart: list[str]
) -> Iterator[Block]:
    """The rows of the portions in blocks; to ``apart`` go the clauses for those that are to be read singly."""
    query = _Query(reading)
    table = reading.map.source.name
    try:
        with _opened(path) as connection:
            for portion in portions:
                rows, taken = _block_rows(portion.size, most_rows), 0
                with _batches(connection, query.of(portion), rows) as batches:
                    skip = 1
                    for batch in batches:
                        if batch.schema.types != query.types:
                            raise SourceError(
                                f"Table {table}: the reader delivered {batch.schema.types} in place of {query.types}. "
                                "Nothing was kept; this is a fault of the loader: please report it with this log."
                            )
                        arrays = [a.slice(skip) for a in batch.columns]
                        skip = 0
                        if len(arrays[0]):
                            taken += len(arrays[0])
                            yield query.block(arrays)
                if taken != portion.size.rows:
                    apart.append(portion.apart)
    except (adbc_driver_manager.Error, pa.ArrowException, OSError) as error:
        raise SourceError(f"Reading table {table} of the snapshot: {error}") from error


def _block_rows(size: Size, most: int) -> int:
    return max(min(BLOCK_BYTES // (size.average + 32), most), FEWEST_ROWS)


class _Query:
    """What is asked for a portion, and how a block is made of the answer."""

    def __init__(self, reading: Reading) -> None:
        self.reading = reading
        self.names = [n for n, _ in reading.map.columns]
        self.extra = [k for k in reading.keys if k not in self.names]  # the rowid; key columns are among the columns
        integers = [f"CASE typeof({k}) WHEN 'integer' THEN {k} END" for k in map(quoted, reading.integer_keys)]
        self.types = [c.reads for c in reading.casts] + [pa.int64()] * (len(self.extra) + len(integers))
        first = ", ".join(_TYPED[t] for t in self.types)
        chosen = ", ".join([*reading.plain, *map(quoted, self.extra), *integers])
        self._query = f"SELECT {first} UNION ALL SELECT {chosen} FROM {reading.table} NOT INDEXED"  # noqa: S608 - quoted()

    def of(self, portion: Portion) -> str:
        return self._query + portion.plain

    def block(self, arrays: list[pa.Array]) -> Block:
        own = dict(zip([*self.names, *self.extra], arrays, strict=False))
        for key, array in zip(self.reading.integer_keys, arrays[len(own) :], strict=True):
            own[key] = pa.StructArray.from_arrays([own[key], array], ["text", "integer"])
        return Block(arrays[: len(self.names)], [own[k] for k in self.reading.keys])


@contextmanager
def _opened(path: Path) -> Iterator[adbc_driver_manager.AdbcConnection]:
    """A connection of the driver. Its own DB-API would import pandas: 50 MB, half a second."""
    with (
        adbc_driver_sqlite.connect(uri(path, mode="ro", immutable="1")) as database,
        adbc_driver_manager.AdbcConnection(database) as connection,
    ):
        yield connection


@contextmanager
def _batches(
    connection: adbc_driver_manager.AdbcConnection, query: str, rows: int
) -> Iterator[Iterator[pa.RecordBatch]]:
    """The query's result, so many rows at a time."""
    with adbc_driver_manager.AdbcStatement(connection) as statement:
        statement.set_options(**{adbc_driver_sqlite.StatementOptions.BATCH_ROWS.value: str(rows)})
        statement.set_sql_query(query)
        stream, _ = statement.execute_query()
        with pa.RecordBatchReader.from_stream(stream) as reader:
            yield reader


def ahead(items: Iterator[T]) -> Iterator[T]:
    """The items of a generator, each made by a thread while what came before it is used. Close it when it is left."""
    with closing(items), ThreadPoolExecutor(1, "ahead") as pool:  # type: ignore[type-var]
        waiting = pool.submit(next, items, None)
        while (item := waiting.result()) is not None:
            waiting = pool.submit(next, items, None)
            yield item
