"""Opens SQLite files for reading, the live one and snapshots, and says why when that cannot be."""

from __future__ import annotations

import os
import re
import stat
from itertools import islice
from pathlib import Path
from urllib.parse import quote

import apsw

from migration.catalog import COLLATIONS
from migration.errors import SourceError, translated

BUSY_SECONDS = 15
"""How long a reader waits for a writer before it names the lock."""
_MAGIC = b"SQLite format 3\0"


def uri(path: Path, **options: str) -> str:
    """``path`` as a SQLite URI, whatever characters it has."""
    query = "&".join(f"{k}={v}" for k, v in options.items())
    return f"file:{quote(os.fsencode(path.absolute()))}?{query}"


def check_file(path: Path) -> None:
    """SourceError says why ``path`` cannot be a SQLite database. Opens nothing for writing."""
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise SourceError(f"The source {path} is not a file. Give the path of the application's SQLite database.")
        with path.open("rb") as file:
            head = file.read(16)
    except FileNotFoundError:
        raise SourceError(f"There is no file {path}. Give the path of the application's SQLite database.") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise SourceError(f"The source {path} cannot be read: {reason}. Grant read access to it.") from error
    if not head:
        raise SourceError(f"The source {path} is empty (zero bytes). Is it the application's database, or a new one?")
    if head != _MAGIC:
        raise SourceError(
            f"The source {path} is not a SQLite database, or it is encrypted (it does not begin with "
            "'SQLite format 3')."
        )


def open_source(path: Path) -> apsw.Connection:
    """Open the live database for reading, its WAL included; SourceError when that cannot be.

    On read-only media a database in WAL mode without a WAL file is opened as immutable, since SQLite could
    not create the shared memory it wants there (https://sqlite.org/wal.html#read_only_databases).
    """
    check_file(path)
    with translated(f"Opening the source {path}"):
        flags = apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI
        connection = apsw.Connection(uri(path, mode="ro"), flags=flags)
        connection.collation_needed(_stand_in)
        connection.set_busy_timeout(round(BUSY_SECONDS * 1000))
        try:
            connection.execute("SELECT count(*) FROM sqlite_schema").fetchall()
        except (apsw.CantOpenError, apsw.ReadOnlyError):
            connection.close()
            _check_beside(path)
            connection = open_snapshot(path)
            connection.execute("SELECT count(*) FROM sqlite_schema").fetchall()
        return connection


def _stand_in(connection: apsw.Connection, name: str) -> None:
    """Define a collation of the application's, which SQLite wants to know before it reads some tables at all.

    Nothing may be ordered or looked up by it: what the application keeps in its own order is scanned. In a UTF-16
    database SQLite asks for its own NOCASE and RTRIM too, before it makes them of those for UTF-8.
    """
    if name.upper() not in COLLATIONS:
        connection.create_collation(name, lambda a, b: (a > b) - (a < b))


def _check_beside(path: Path) -> None:
    """SourceError when a file beside the database holds what a reader must not leave out."""
    journal, wal = (path.with_name(path.name + end) for end in ("-journal", "-wal"))
    if journal.exists() and journal.stat().st_size:
        raise SourceError(
            f"The source {path} was left in the middle of a transaction, which only a writer can undo by "
            f"{journal.name}. Open the database once with the application or with sqlite3, then start again."
        )
    if wal.exists() and wal.stat().st_size:
        raise SourceError(
            f"The source {path} has commits in {wal.name}, which cannot be read where the folder is not "
            "writable. Copy both files to a writable folder and give the copy."
        )


def open_snapshot(path: Path) -> apsw.Connection:
    """Open a file that nothing writes to, for reading."""
    flags = apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI
    connection = apsw.Connection(uri(path, mode="ro", immutable="1"), flags=flags)
    connection.collation_needed(_stand_in)
    connection.pragma("cache_size", -16384)  # no mmap_size: what is mapped counts as the process's memory
    return connection


# Findings about single values, which break a promise of the schema and no structure: the casts judge values.
_OF_VALUES = re.compile(r"(NULL|TEXT|NUMERIC|non-\w+) value in |CHECK constraint failed in ")


def _findings(connection: apsw.Connection, check: str) -> list[str]:
    lines = (str(line) for (line,) in connection.execute(f"PRAGMA {check}(1000000)"))
    return list(islice((line for line in lines if line != "ok" and not _OF_VALUES.match(line)), 5))


def check_integrity(connection: apsw.Connection, path: Path, *, quick: bool) -> None:
    """Run SQLite's own check; SourceError with its first findings."""
    with translated(f"Checking the integrity of {path}"):
        # The whole check follows indexes, also those in an order that only the application knows.
        collations = {str(name).upper() for (name,) in connection.execute("SELECT coll FROM sqlite_schema s,"
                      " pragma_index_xinfo(s.name) WHERE s.type = 'index' AND coll IS NOT NULL")}  # fmt: skip
        quick = quick or not collations <= set(COLLATIONS)
        found = _findings(connection, "quick_check" if quick else "integrity_check")
    if found:
        first = "; ".join(" ".join(line.split()) for line in found)
        raise SourceError(
            f"The SQLite file {path} is damaged: {first}. Restore it from a backup, or repair it with "
            "sqlite3's .recover into a new file and migrate that."
        )
