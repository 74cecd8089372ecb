"""Bring a database to a revision, whoever made its tables, and compare it with what a revision makes."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import psycopg
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import Script, ScriptDirectory
from sqlalchemy import Connection, NullPool, create_engine

from widgettdc.database import connecting, translate_errors
from widgettdc.errors import Busy, WidgetTdcError
from widgettdc.schema.metadata import head
from widgettdc.schema.recognised import BASELINE, differences

log = logging.getLogger("widgettdc")

SCRIPTS = Path(__file__).with_name("alembic")
_LOCK = 0x7769646765747464  # "widgettd": one upgrade at a time


class SchemaDiffers(WidgetTdcError):
    """The tables are not those of any known revision; nothing was changed."""


def upgrade(dsn: str, revision: str = "head") -> str:
    """Bring the database to a revision, by default the newest, and return that.

    Tables that the migration made (or a cut-over put in the place of later ones) are recognised as revision 0001 by
    comparing the catalog. Raises SchemaDiffers where no revision is recorded and the tables are others.
    """
    with _alone(dsn) as (connection, config):
        _recognise(connection, config)
        command.upgrade(config, revision)
        return _current(connection) or "base"


def downgrade(dsn: str, revision: str) -> str:
    """Bring the database back to a revision, 0001 or later, and return that."""
    with _alone(dsn) as (connection, config):
        command.downgrade(config, revision)
        return _current(connection) or "base"


def check(dsn: str) -> list[str]:
    """What keeps the database from being that of the newest revision; nothing when all is well."""
    with _alone(dsn) as (connection, config):
        current, newest = _current(connection), ScriptDirectory.from_config(config).get_current_head()
        if current != newest:
            return [f"The database is at revision {current or 'none'}; the newest is {newest}. Run upgrade."]
        options = {"include_name": lambda name, kind, _: kind != "table" or name in head.tables}
        context = MigrationContext.configure(connection, opts=options)
        return [str(difference) for difference in compare_metadata(context, head)] + _unlike(connection)


def draft(dsn: str, message: str) -> Path:
    """Write the next revision: what `metadata.head` has and this database, at the newest revision, has not."""
    with _alone(dsn) as (_, config):
        made = command.revision(config, message, autogenerate=True)
        assert isinstance(made, Script)
        return Path(made.path)


def _unlike(connection: Connection) -> list[str]:
    """Indexes of another method than theirs, or unfinished: what Alembic's comparison does not look at."""
    wanted = {
        str(index.name): index.dialect_options["postgresql"]["using"] or "btree"
        for table in head.tables.values()
        for index in table.indexes
    }
    found = connection.exec_driver_sql(
        "SELECT c.relname, a.amname, i.indisvalid FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid"
        " JOIN pg_am a ON a.oid = c.relam WHERE c.relnamespace = current_schema()::regnamespace"
    ).all()
    return [
        f"The index {name} is {'of method ' + method if valid else 'not finished'}; {wanted[name]} was expected."
        for name, method, valid in found
        if name in wanted and (method, valid) != (wanted[name], True)
    ]


def _recognise(connection: Connection, config: Config) -> None:
    current = _current(connection)
    found = differences(connection, ScriptDirectory.from_config(config))
    connection.rollback()
    if found is None:
        if current is not None:
            command.stamp(config, "base", purge=True)  # its tables were taken away
    elif not found:
        if current != BASELINE:
            log.info("The tables are those of the migration: revision %s", BASELINE)
            command.stamp(config, BASELINE, purge=True)
    elif current is None:
        raise SchemaDiffers("The tables are not those that the migration makes:\n  " + "\n  ".join(found))


def _current(connection: Connection) -> str | None:
    revision = MigrationContext.configure(connection).get_current_revision()
    connection.rollback()  # Alembic commits only transactions of its own
    return revision


@contextmanager
def _alone(dsn: str) -> Iterator[tuple[Connection, Config]]:
    """A connection that no other upgrade has beside it, and Alembic's configuration for it."""
    settings = "-c timezone=GMT -c lock_timeout=10s"  # a DDL statement that waits keeps all others waiting behind it
    engine = create_engine(
        "postgresql+psycopg://",
        creator=partial(psycopg.connect, **connecting(dsn, "widgettdc schema", settings)),
        poolclass=NullPool,
    )
    translate_errors(engine)
    config = Config()
    config.set_main_option("script_location", str(SCRIPTS).replace("%", "%%"))
    with engine.connect() as connection:
        config.attributes["connection"] = connection
        # Tried, not waited for: CREATE INDEX CONCURRENTLY waits for every statement, one that waits for it included.
        locked = connection.exec_driver_sql("SELECT pg_try_advisory_lock(%s)", (_LOCK,)).scalar_one()
        connection.rollback()
        if not locked:
            raise Busy("Another process is changing the schema of this database. Wait until it is done.")
        yield connection, config
