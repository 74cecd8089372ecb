"""The application's way to its database: pooled connections, transactions, and tries again after conflicts.

    database = Database("postgresql://…")
    with database.transaction() as unit:          # commits at the end of the block, rolls back on any error
        memory = unit.memories.ingest("org-001", "blåbærgrød", tags=["food"])
    with database.reading() as unit:              # no transaction: one round trip per operation, writes are refused
        page = unit.memories.search("org-001", "BLÅBÆR")
    database.run(lambda unit: unit.memories.delete(memory.id))    # a transaction, again after a transient conflict

asyncio has the same operations, since SQLAlchemy runs synchronous code over its asynchronous driver:

    await AsyncDatabase("postgresql://…").run(lambda unit: unit.memories.search("org-001", "blåbær"), reading=True)
"""

import asyncio
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import psycopg
from psycopg.pq import TransactionStatus
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import create_async_engine

from widgettdc.errors import Busy, OutcomeUnknown, RolledBack, Unavailable, WidgetTdcError, translated
from widgettdc.repository import (
    DecisionRepository,
    DocumentRepository,
    FactRepository,
    FocusWindowRepository,
    MemoryRepository,
    StressLevelRepository,
)

T = TypeVar("T")

TRIES = 5
POOL_SIZE = 10
POOL_SECONDS = 10
"""How long a caller waits for a pooled connection."""

# GMT is UTC by the one name that PostgreSQL knows without the system's time zone files.
_WRITING = "-c timezone=GMT -c lock_timeout=5s -c statement_timeout=30s -c idle_in_transaction_session_timeout=60s"
_READING = f"{_WRITING} -c default_transaction_read_only=on"


@dataclass(frozen=True, slots=True)
class Unit:
    """What one transaction works with: the repositories, and the connection that they share."""

    connection: Connection

    @property
    def memories(self) -> MemoryRepository:
        return MemoryRepository(self.connection)

    @property
    def documents(self) -> DocumentRepository:
        return DocumentRepository(self.connection)

    @property
    def facts(self) -> FactRepository:
        return FactRepository(self.connection)

    @property
    def decisions(self) -> DecisionRepository:
        return DecisionRepository(self.connection)

    @property
    def focus_windows(self) -> FocusWindowRepository:
        return FocusWindowRepository(self.connection)

    @property
    def stress_levels(self) -> StressLevelRepository:
        return StressLevelRepository(self.connection)


class Database:
    """A pool of connections to the database that a connection string (libpq's) names; safe to share by threads.

    At most `pool_size` connections for transactions, and as many for reading, are opened, each when it is needed.
    Raises errors of `widgettdc.errors` only.
    """

    def __init__(self, dsn: str, *, pool_size: int = POOL_SIZE, application_name: str = "widgettdc") -> None:
        settings = partial(connecting, dsn, application_name)
        self._writing = create_engine(
            "postgresql+psycopg://", creator=partial(psycopg.connect, **settings(_WRITING)), **_pool(pool_size)
        )
        self._reading = create_engine(
            "postgresql+psycopg://",
            creator=partial(psycopg.connect, **settings(_READING)),
            isolation_level="AUTOCOMMIT",
            **_pool(pool_size),
        )
        for engine in (self._writing, self._reading):
            translate_errors(engine)

    @contextmanager
    def transaction(self) -> Iterator[Unit]:
        """A transaction: what the block did is kept when it ends, and all of it undone when it raises."""
        with _waiting(), self._writing.connect() as connection, _committed(connection):
            yield Unit(connection)

    @contextmanager
    def reading(self) -> Iterator[Unit]:
        """For reads outside any transaction: each operation sees what was committed when it began."""
        with _waiting(), self._reading.connect() as connection:
            yield Unit(connection)

    def run(self, work: Callable[[Unit], T], *, reading: bool = False, tries: int = TRIES) -> T:
        """Do `work` in a transaction (or in `reading()`) and return its result once that is committed.

        After a retryable error all of it is done again, from the beginning and in a new transaction, up to `tries`
        times in all. So it must do nothing outside the database that may not happen twice.
        """
        attempt = 0
        while True:
            attempt += 1
            try:
                with self.reading() if reading else self.transaction() as unit:
                    return work(unit)
            except WidgetTdcError as error:
                if not error.retryable or attempt >= tries:
                    raise
            time.sleep(_pause(attempt))

    def close(self) -> None:
        """Close the connections that are not in use."""
        self._writing.dispose()
        self._reading.dispose()


class AsyncDatabase:
    """The same for asyncio. `work` is an ordinary function: it runs in the event loop and waits without blocking it."""

    def __init__(self, dsn: str, *, pool_size: int = POOL_SIZE, application_name: str = "widgettdc") -> None:
        settings = partial(connecting, dsn, application_name)
        self._writing = create_async_engine(
            "postgresql+psycopg://",
            async_creator=partial(psycopg.AsyncConnection.connect, **settings(_WRITING)),
            **_pool(pool_size),
        )
        self._reading = create_async_engine(
            "postgresql+psycopg://",
            async_creator=partial(psycopg.AsyncConnection.connect, **settings(_READING)),
            isolation_level="AUTOCOMMIT",
            **_pool(pool_size),
        )
        for engine in (self._writing, self._reading):
            translate_errors(engine.sync_engine)

    async def run(self, work: Callable[[Unit], T], *, reading: bool = False, tries: int = TRIES) -> T:
        """As `Database.run`."""
        engine = self._reading if reading else self._writing
        attempt = 0
        while True:
            attempt += 1
            try:
                with _waiting():
                    async with engine.connect() as connection:
                        return await connection.run_sync(_done, work)
            except WidgetTdcError as error:
                if not error.retryable or attempt >= tries:
                    raise
            await asyncio.sleep(_pause(attempt))

    async def close(self) -> None:
        """Close the connections that are not in use."""
        await self._writing.dispose()
        await self._reading.dispose()


def connecting(dsn: str, application_name: str, settings: str) -> dict[str, Any]:
    """The arguments of psycopg's connect; what the connection string says itself stands above the rest."""
    try:
        given = psycopg.conninfo.conninfo_to_dict(dsn)
    except psycopg.ProgrammingError:  # which may quote a password
        raise Unavailable(
            "The connection string cannot be read: it takes libpq's parameters, not those of other clients."
        ) from None
    ours = {
        "application_name": application_name,
        "connect_timeout": 10,
        "keepalives_idle": 30,
        "tcp_user_timeout": 60_000,
    }
    options = f"{settings} {given.get('options') or ''}"
    return {**ours, **given, "options": options, "client_encoding": "UTF8"}


def _pool(size: int) -> dict[str, Any]:
    """Connections are not tested before each use, which costs a round trip: `run` gets over a lost one."""
    return {"pool_size": size, "max_overflow": 0, "pool_timeout": POOL_SECONDS, "pool_recycle": 1800}


def translate_errors(engine: Engine) -> None:
    """Let the engine raise the errors of `widgettdc.errors`."""

    @event.listens_for(engine, "handle_error")
    def _(context: ExceptionContext) -> WidgetTdcError | None:
        return translated(context.original_exception)


@contextmanager
def _waiting() -> Iterator[None]:
    try:
        yield
    except PoolTimeout as error:
        raise Busy(f"No connection of the pool was free within {POOL_SECONDS} seconds.") from error


@contextmanager
def _committed(connection: Connection) -> Iterator[None]:
    yield
    driver = connection.connection.driver_connection
    assert driver is not None
    if driver.info.transaction_status == TransactionStatus.INERROR:
        # PostgreSQL would answer COMMIT with ROLLBACK, and the driver take that for success.
        raise RolledBack("A statement failed in this transaction and the error was passed over; nothing was kept.")
    try:
        connection.commit()
    except Unavailable as error:
        raise OutcomeUnknown(f"The connection broke during the commit ({error}): it may have happened.") from error


def _done(connection: Connection, work: Callable[[Unit], T]) -> T:
    with _committed(connection):
        return work(Unit(connection))


def _pause(attempt: int) -> float:
    """Seconds before the next try: growing, and drawn at random, so that those who collided come back apart."""
    return random.uniform(0, min(1, 0.02 * 2**attempt))
