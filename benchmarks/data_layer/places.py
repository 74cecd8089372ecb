"""Where the databases of one size lie."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import apsw
import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo
from sqlalchemy.dialects import sqlite
from sqlalchemy.schema import CreateIndex

from benchmarks.data_layer.filling import fill
from benchmarks.data_layer.world import World
from widgettdc.models import Base
from widgettdc.schema.commands import upgrade
from widgettdc.schema.metadata import head
from widgettdc.schema.recognised import BASELINE


@dataclass(frozen=True)
class Places:
    """The SQLite file; PostgreSQL at the newest revision, and with the same rows as the migration leaves it.

    `indexed` is a copy of the SQLite file that has the later revisions' indexes too, but those that SQLite has not.
    """

    sqlite: Path
    indexed: Path
    postgres: str
    baseline: str
    rows: dict[str, int]
    revision: str


@contextmanager
def filled(world: World, folder: Path, admin: str) -> Iterator[Places]:
    """The databases, full; gone afterwards. `admin` is a superuser's connection string."""
    path, indexed, names = folder / "as_it_was.db", folder / "indexed.db", ("at_baseline", "at_head")
    baseline, newest = (make_conninfo(admin, dbname=name) for name in names)
    with psycopg.connect(admin, autocommit=True) as server:
        server.execute("CREATE DATABASE at_baseline")
        try:
            rows = fill(world, path, baseline)
            _index(path, indexed)
            upgrade(baseline, BASELINE)
            _vacuum(baseline)
            server.execute("CREATE DATABASE at_head TEMPLATE at_baseline")
            revision = upgrade(newest)
            _vacuum(newest)
            yield Places(path, indexed, newest, baseline, rows, revision)
        finally:
            for name in names:
                server.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))
            for file in (*folder.glob(f"{path.name}*"), *folder.glob(f"{indexed.name}*")):
                file.unlink()


def _index(path: Path, indexed: Path) -> None:
    """Copy the SQLite file, and make the later revisions' ordinary indexes in the copy."""
    shutil.copy(path, indexed)
    of_migration = {index.name for table in Base.metadata.sorted_tables for index in table.indexes}
    source = apsw.Connection(str(indexed))
    for index in (index for table in head.sorted_tables for index in table.indexes):
        if index.name not in of_migration and not index.dialect_options["postgresql"]["using"]:
            source.execute(str(CreateIndex(index).compile(dialect=sqlite.dialect())))
    source.execute("ANALYZE")
    source.close()


def _vacuum(dsn: str) -> None:
    """What autovacuum would do in the minutes to come, so that it does not do it while something is measured."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("VACUUM (FREEZE, ANALYZE)")
        connection.execute("CHECKPOINT")
