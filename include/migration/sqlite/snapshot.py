"""The snapshot: one frozen copy of the source, checked and named by its sha256; all later steps read it.

A snapshot is a plain SQLite file beside a ``manifest.json``; restoring is copying it back (:func:`restore`).
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import logging
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import apsw

from migration.errors import MigrationError, SourceError, TransientError, translated
from migration.job import Job
from migration.sqlite.catalog import quoted, read_catalog
from migration.sqlite.opening import check_integrity, open_source
from migration.sqlite.opening import open_snapshot as open_snapshot
from migration.telling import progress

log = logging.getLogger("migration")

PAGES_PER_STEP = 4096
"""Pages copied at a time: 16 MiB at SQLite's default page size."""


@dataclass(frozen=True)
class Manifest:
    """What a snapshot is: kept beside it as JSON and in the run's state."""

    path: str
    sha256: str
    bytes: int
    content_digest: str
    """:func:`content_digest` of the file, for the comparison with the live database."""
    source: str
    source_bytes: int
    taken_at: str
    sqlite_version: str
    rows: dict[str, int]
    sequences: dict[str, int]
    """The largest id ever used, for each AUTOINCREMENT table that ever had a row (sqlite_sequence)."""


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def content_digest(path: Path) -> str:
    """sha256 of a database file without the counters and the library version that change with every write.

    Bytes 24 to 27 and 92 to 99 of the header: https://sqlite.org/fileformat2.html#the_database_header. Bytes
    18 and 19 tell WAL from rollback journal, which says nothing about the content either.
    """
    digest = hashlib.sha256()
    with path.open("rb") as file:
        head = bytearray(file.read(100))
        for start, end in ((18, 20), (24, 28), (92, 100)):
            head[start:end] = bytes(end - start)
        digest.update(head)
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def copy_database(source: apsw.Connection, path: Path, label: str) -> None:
    """Copy the database as of one moment, by SQLite's online backup; ``label`` opens the lines about its progress.

    The read transaction pins the moment, so that a busy writer cannot make the backup begin again and again.
    """
    target = apsw.Connection(str(path))
    left, pages = 0, 0

    def how_far() -> str:
        return f"{pages - left:,} of {pages:,} pages copied ({100 * (pages - left) // max(pages, 1)} %)"

    try:
        source.execute("BEGIN")
        source.execute("SELECT count(*) FROM sqlite_schema").fetchall()
        with target.backup("main", source, "main") as backup, progress(label, how_far):
            while not backup.done:
                backup.step(PAGES_PER_STEP)
                left, pages = backup.remaining, backup.page_count
        source.execute("COMMIT")
        # A snapshot is read by many at once and written by none: no WAL beside it.
        target.execute("PRAGMA journal_mode = DELETE")
    finally:
        target.close()


def take(source: Path, folder: Path) -> Manifest:
    """Take the snapshot of ``source`` into ``folder``; returns its manifest.

    A snapshot is never overwritten: where ``folder`` has a complete one, that one is checked and returned.
    An attempt that was cut off leaves no more than a temporary file, which the next one removes. Raises
    SourceError (locked, corrupt, changed since it was taken) or TransientError (disk full, already at work).
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with alone(folder):
            if (folder / "manifest.json").exists():
                manifest = _own(folder)
                check_unchanged(manifest)
                log.info("backup: the snapshot %s is there and unchanged", manifest.path)
                return manifest
            _discard(folder)
            try:
                return _take(source, folder)
            except BaseException:
                _discard(folder)
                raise
    except OSError as error:
        raise TransientError(
            f"The snapshot cannot be written to {folder}: {error.strerror}. Free or grant space there, then "
            "clear this task."
        ) from error


@contextmanager
def alone(folder: Path, *, wait: bool = False) -> Iterator[None]:
    """Keep other processes out of the folder; TransientError when there is one already, unless told to ``wait``."""
    with (folder / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            raise TransientError(
                f"Another process is taking the snapshot in {folder}. Wait until it ends, then clear this task."
            ) from None
        yield


def discard(folder: Path) -> None:
    """Remove a snapshot that nothing was read from, so that the next attempt takes another."""
    with alone(folder):
        (folder / "manifest.json").unlink(missing_ok=True)
        _discard(folder)


def _discard(folder: Path) -> None:
    """Remove what an attempt left; a snapshot without its manifest was never complete."""
    for left_over in (*folder.glob("*.part*"), folder / "snapshot.db"):
        left_over.unlink(missing_ok=True)


def _take(source: Path, folder: Path) -> Manifest:
    path, partial = folder / "snapshot.db", folder / "snapshot.db.part"
    with translated(f"Taking the snapshot of {source}"):
        connection = open_source(source)
        try:
            copy_database(connection, partial, "backup")
        finally:
            connection.close()
    with progress("backup", lambda: "copied; now its integrity is checked, its rows counted, its sha256 taken"):
        manifest = _describe(partial, path, source)
        _sync(partial)
    partial.chmod(0o440)
    partial.rename(path)
    write_manifest(manifest, folder / "manifest.json")
    return manifest


def _describe(partial: Path, path: Path, source: Path) -> Manifest:
    with translated(f"Checking the snapshot of {source}"):
        connection = open_snapshot(partial)
        try:
            check_integrity(connection, source, quick=False)
            tables = read_catalog(connection).tables
            rows = _rows(connection)
        finally:
            connection.close()
    return Manifest(
        path=str(path.absolute()),
        sha256=_sha256(partial),
        bytes=partial.stat().st_size,
        content_digest=content_digest(partial),
        source=str(source.absolute()),
        source_bytes=source.stat().st_size,
        taken_at=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        sqlite_version=apsw.sqlite_lib_version(),
        rows=rows,
        sequences={t.name: t.sequence for t in tables if t.sequence is not None},
    )


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_manifest(manifest: Manifest, path: Path) -> None:
    """Write the manifest so that it is either whole or absent."""
    partial = path.with_suffix(".part")
    partial.write_text(json.dumps(asdict(manifest), indent=2) + "\n", encoding="utf-8")
    _sync(partial)
    partial.rename(path)
    _sync(path.parent)


def read_manifest(path: Path) -> Manifest:
    """Read a snapshot's manifest; MigrationError when it is none."""
    try:
        return Manifest(**json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise MigrationError(f"There is no manifest {path}: name a snapshot's folder.") from None
    except (OSError, ValueError, TypeError) as error:
        raise MigrationError(f"The manifest {path} cannot be read: {error}") from error


def check_unchanged(manifest: Manifest) -> None:
    """SourceError when the snapshot is missing or no longer has the sha256 of its manifest."""
    path = Path(manifest.path)
    if not path.exists():
        raise SourceError(f"The snapshot {path} is gone. Start a new run, which takes a fresh one.")
    if (found := _sha256(path)) != manifest.sha256:
        raise SourceError(
            f"The snapshot {path} was changed since it was taken (sha256 {found}, not {manifest.sha256}). "
            "Start a new run, which takes a fresh one."
        )


def difference(source: Path, manifest: Manifest) -> str | None:
    """A sentence when the live database no longer holds what the snapshot holds; None when it does.

    Every page counts, so a VACUUM that moved rows counts as a change although no value differs.
    """
    folder_of = Path(manifest.path).parent
    for left_over in folder_of.glob("compare-*"):  # of an attempt that was killed
        shutil.rmtree(left_over, ignore_errors=True)
    try:
        with tempfile.TemporaryDirectory(dir=folder_of, prefix="compare-") as folder:
            found = _changes(source, manifest, Path(folder) / "now.db")
    except OSError as error:
        raise TransientError(
            f"The source {source} cannot be compared with its snapshot in {folder_of}: {error.strerror}."
        ) from error
    if found is None:
        return None
    return (
        f"The source {source} was written to after its snapshot of {manifest.taken_at} "
        f"({'; '.join(found) or 'the same numbers of rows, other content'}). "
        "Stop the application's writers and start a new run."
    )


def _changes(source: Path, manifest: Manifest, copy: Path) -> list[str] | None:
    with translated(f"Comparing the source {source} with its snapshot"):
        connection = open_source(source)
        try:
            copy_database(connection, copy, "comparing the source with its snapshot")
        finally:
            connection.close()
        if content_digest(copy) == manifest.content_digest:
            return None
        now = open_snapshot(copy)
        try:
            rows = _rows(now)
        finally:
            now.close()
    gone = [f"{table} is gone" for table in manifest.rows if table not in rows]
    known = {table: manifest.rows.get(table, 0) for table in rows}
    return gone + [f"{t} had {known[t]} rows and has {rows[t]}" for t in rows if rows[t] != known[t]]


def _rows(connection: apsw.Connection) -> dict[str, int]:
    """The number of rows of each table."""
    found = {}
    for table in read_catalog(connection).tables:
        # By the table itself: an index can be in an order that only the application knows.
        query = f"SELECT count(*) FROM {quoted(table.name)} NOT INDEXED"  # noqa: S608 - quoted()
        found[table.name] = int(str(connection.execute(query).fetchall()[0][0]))
    return found


def restore(manifest_file: Path, to: Path) -> None:
    """Copy a snapshot back to ``to``, checked against its manifest; refuses to overwrite anything."""
    manifest = _own(manifest_file.parent, manifest_file.name)
    check_unchanged(manifest)
    for taken in (to, *(to.with_name(to.name + end) for end in ("-wal", "-shm", "-journal"))):
        if os.path.lexists(taken):
            raise MigrationError(
                f"{taken} exists already; a restore overwrites nothing. Move it away, or name another path."
            )
    try:
        with tempfile.TemporaryDirectory(dir=to.parent, prefix=f".{to.name}-") as folder:
            partial = Path(folder) / to.name
            shutil.copyfile(manifest.path, partial)
            _sync(partial)
            check_unchanged(replace(manifest, path=str(partial)))
            partial.rename(to)
            _sync(to.parent)
    except OSError as error:
        raise MigrationError(f"The snapshot cannot be restored to {to}: {error.strerror}.") from error


def snapshot_path(job: Job) -> Path:
    """The run's snapshot for a step to read; SourceError when it is gone, or not of the size in its manifest.

    Where workers share no disk, it is fetched first. The sha256 is checked when the snapshot is taken or fetched and
    again before the cut-over, not by each of many tasks.
    """
    if job.fetch is not None:
        job.fetch(job)
    if not (job.folder / "manifest.json").exists():
        raise SourceError(
            f"There is no snapshot in {job.folder}: it was removed, or taken by a worker that shares neither this disk "
            "nor a snapshot store with this one. Start a new run, which takes a fresh one."
        )
    manifest = _own(job.folder)
    path = Path(manifest.path)
    if not path.exists() or path.stat().st_size != manifest.bytes:
        check_unchanged(manifest)
    return path


def _own(folder: Path, name: str = "manifest.json") -> Manifest:
    """The manifest in ``folder``, for the snapshot beside it, wherever both were when it was taken."""
    manifest = read_manifest(folder / name)
    return replace(manifest, path=str(folder.absolute() / Path(manifest.path).name))


def manifest_of(snapshot: dict[str, Any]) -> Manifest:
    """The manifest kept in a run's state."""
    return Manifest(**snapshot)
