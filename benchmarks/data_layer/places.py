"""Where the databases of one size lie."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from benchmarks.data_layer.filling import fill
from benchmarks.data_layer.world import World
from widgettdc.schema.commands import upgrade
from widgettdc.schema.recognised import BASELINE


@dataclass(frozen=True)
class Places:
    """The SQLite file; PostgreSQL at the newest revision, and with the same rows as the migration leaves it."""

    sqlite: Path
    postgres: str
    baseline: str
    rows: dict[str, int]
    revision: str


@contextmanager
def filled(world: World, folder: Path, admin: str) -> Iterator[Places]:
    """The databases, full; gone afterwards. `admin` is a superuser's connection string."""
    path, names = folder / f"{world.memories}.db", ("at_baseline", "at_head")
    baseline, head = (make_conninfo(admin, dbname=name) for name in names)
    with psycopg.connect(admin, autocommit=True) as server:
        server.execute("CREATE DATABASE at_baseline")
        try:
            rows = fill(world, path, baseline)
            upgrade(baseline, BASELINE)
            _vacuum(baseline)
            server.execute("CREATE DATABASE at_head TEMPLATE at_baseline")
            revision = upgrade(head)
            _vacuum(head)
            yield Places(path, head, baseline, rows, revision)
        finally:
            for name in names:
                server.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))
            for file in folder.glob(f"{path.name}*"):
                file.unlink()


def _vacuum(dsn: str) -> None:
    """What autovacuum would do in the minutes to come, so that it does not do it while something is measured."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("VACUUM (FREEZE, ANALYZE)")
        connection.execute("CHECKPOINT")
