"""Fills SQLite and PostgreSQL with the same rows, quickly: keys and indexes come after the rows."""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import apsw
import psycopg
from psycopg import sql
from sqlalchemy import Connection, create_engine
from sqlalchemy.schema import AddConstraint, CreateTable

from benchmarks.data_layer.world import Row, World
from widgettdc.models import Base
from widgettdc.sample import SCHEMA

BLOCK = 10_000


def fill(world: World, path: Path, dsn: str) -> dict[str, int]:
    """Write a new SQLite file and, in an empty PostgreSQL database, what a migration of it makes; rows per table."""
    tables, indexes = SCHEMA.read_text("utf-8").split("CREATE INDEX", 1)
    source = apsw.Connection(str(path))
    source.execute("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF")
    source.execute(tables)
    engine = create_engine("postgresql+psycopg://", creator=lambda: psycopg.connect(dsn))
    with engine.begin() as target:
        made = {}
        for table in Base.metadata.sorted_tables:
            target.execute(CreateTable(table, include_foreign_key_constraints=[]))
            made[table.name] = _copy(world.table(table.name), table.name, source, _driver(target))
        _finish(target)
    engine.dispose()
    source.execute(f"CREATE INDEX {indexes}; ANALYZE; PRAGMA journal_mode = WAL")
    source.close()
    return made


def _copy(rows: Iterator[Row], table: str, source: apsw.Connection, target: psycopg.Connection) -> int:
    copied = 0
    into = sql.SQL("COPY {} FROM STDIN").format(sql.Identifier(table))
    with source, target.cursor() as cursor, cursor.copy(into) as copy:
        while block := list(islice(rows, BLOCK)):
            marks = ", ".join("?" * len(block[0]))
            source.executemany(f"INSERT INTO {table} VALUES ({marks})", block)  # noqa: S608 - a name of the models
            for row in block:
                copy.write_row(row)
            copied += len(block)
    return copied


def _finish(target: Connection) -> None:
    """Indexes, foreign keys, and sequences past the largest id."""
    for table in Base.metadata.sorted_tables:
        for index in table.indexes:
            index.create(target)
        for reference in table.foreign_key_constraints:
            target.execute(AddConstraint(reference, isolate_from_table=False))  # the models stay as they are
        name = sql.Identifier(table.name)
        past = sql.SQL("SELECT setval(pg_get_serial_sequence({}, 'id'), max(id)) FROM {}")
        _driver(target).execute(past.format(sql.Literal(table.name), name))


def _driver(connection: Connection) -> psycopg.Connection:
    driver = connection.connection.driver_connection
    assert isinstance(driver, psycopg.Connection)
    return driver
