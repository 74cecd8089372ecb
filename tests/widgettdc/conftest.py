"""The application's database for a test, its tables empty, and a count of the statements it is sent."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from sqlalchemy import event

from widgettdc.database import Database
from widgettdc.models import Base


@pytest.fixture
def database(target_dsn: str) -> Iterator[Database]:
    database = Database(target_dsn)
    with database.transaction() as unit:
        Base.metadata.create_all(unit.connection)
    yield database
    database.close()


@contextmanager
def statements(database: Database) -> Iterator[list[str]]:
    """The statements that are sent within the block."""
    sent: list[str] = []

    def note(*arguments: object) -> None:
        sent.append(str(arguments[2]))

    engines = (database._writing, database._reading)
    for engine in engines:
        event.listen(engine, "before_cursor_execute", note)
    yield sent
    for engine in engines:
        event.remove(engine, "before_cursor_execute", note)
