"""The sides that are measured, each by a name under which any process can open it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import psycopg
from psycopg.conninfo import make_conninfo

from benchmarks.data_layer.application import Application
from benchmarks.data_layer.operations import Arguments, Operation
from benchmarks.data_layer.places import Places
from widgettdc.database import Database

SQLITE, POSTGRES = "SQLite", "PostgreSQL"
SQLITE_RELAXED, POSTGRES_RELAXED = "SQLite, relaxed", "PostgreSQL, relaxed"
SQLITE_DEFERRED = "SQLite, relaxed, BEGIN"
BASELINE = "PostgreSQL, revision 0001"
INDEXED = "SQLite, indexed"
ON_SQLITE = frozenset({SQLITE, SQLITE_RELAXED, SQLITE_DEFERRED})
DRIVER, ROUND_TRIP = "psycopg alone", "an empty round trip"


class Side(Protocol):
    """A connection to one of the databases, and a way to do an operation there."""

    def do(self, operation: Operation, arguments: Arguments) -> Any: ...

    def close(self) -> None: ...


class OnSqlite:
    """The application as it was."""

    def __init__(self, path: Path, synchronous: str, begin: str = "BEGIN IMMEDIATE") -> None:
        self.application = Application(path, synchronous=synchronous, begin=begin)

    def do(self, operation: Operation, arguments: Arguments) -> Any:
        given, named = arguments
        if not operation.together:
            return operation.act(self.application, *given, **named)
        with self.application.transaction():
            return operation.act(self.application, *given, **named)

    def close(self) -> None:
        self.application.connection.close()


class OnPostgres:
    """The repositories."""

    def __init__(self, dsn: str, synchronous_commit: str = "on") -> None:
        self.database = Database(make_conninfo(dsn, options=f"-c synchronous_commit={synchronous_commit}"), pool_size=1)

    def do(self, operation: Operation, arguments: Arguments) -> Any:
        given, named = arguments
        return self.database.run(lambda unit: operation.act(unit, *given, **named), reading=not operation.writes)

    def close(self) -> None:
        self.database.close()


class OnDriver:
    """One statement without the repositories and SQLAlchemy: rows, not records."""

    def __init__(self, dsn: str, statement: str) -> None:
        self.connection = psycopg.connect(dsn, autocommit=True, prepare_threshold=0)
        self.statement = statement.encode()

    def do(self, operation: Operation, arguments: Arguments) -> Any:
        return self.connection.execute(self.statement, arguments[0]).fetchone()

    def close(self) -> None:
        self.connection.close()


_BY_ID = """
    SELECT id, org_id, text, metadata, created_at, updated_at,
        (SELECT array_agg(tag ORDER BY id) FROM memory_tags WHERE entity_id = m.id),
        (SELECT json_agg(json_build_array(id, target_id, relation_type, strength::text) ORDER BY id)
         FROM memory_relations WHERE source_id = m.id)
    FROM memory_entities m WHERE id = %s"""

_OPENING: dict[str, Callable[[Places], Side]] = {
    SQLITE: lambda places: OnSqlite(places.sqlite, "FULL"),
    SQLITE_RELAXED: lambda places: OnSqlite(places.sqlite, "NORMAL"),
    SQLITE_DEFERRED: lambda places: OnSqlite(places.sqlite, "NORMAL", "BEGIN"),
    INDEXED: lambda places: OnSqlite(places.indexed, "FULL"),
    POSTGRES: lambda places: OnPostgres(places.postgres),
    POSTGRES_RELAXED: lambda places: OnPostgres(places.postgres, "off"),
    BASELINE: lambda places: OnPostgres(places.baseline),
    DRIVER: lambda places: OnDriver(places.postgres, _BY_ID),
    ROUND_TRIP: lambda places: OnDriver(places.postgres, "SELECT %s::integer"),
}
UNLIKE = frozenset({DRIVER, ROUND_TRIP})
"""Sides that answer with rows, which are not compared."""


def open_side(name: str, places: Places) -> Side:
    return _OPENING[name](places)
