"""The snapshot store: how a run's snapshot reaches workers that share no disk, by Airflow's object storage.

MIGRATION_SNAPSHOT_STORE names it by a URL of ObjectStoragePath: ``file:///a/shared/volume``,
``s3://connection@bucket/prefix``. Unset, all workers share MIGRATION_HOME and nothing is copied. Below it each run has
a folder, named like the one in MIGRATION_HOME, with ``snapshot.db``, ``manifest.json`` (written last: without it there
is no snapshot), ``report.html`` and ``report.json``, and each assessment the folder ``assessment_<plan>`` with its own.
It holds what the source holds, so it must be as private.

Nothing is ever removed from the store. On a worker, the copies that were fetched from it are removed once their runs
have ended, when the next one is fetched; what was taken there stays.
"""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from airflow.sdk import ObjectStoragePath
from airflow.sdk.exceptions import AirflowNotFoundException
from fsspec import AbstractFileSystem
from fsspec.implementations.local import LocalFileSystem

from migration import report
from migration.errors import MigrationError, SourceError, TransientError, masked
from migration.job import Job
from migration.postgres import state
from migration.postgres.staging import WORKING
from migration.postgres.target import connected
from migration.sqlite.copies import drop, receive, received
from migration.sqlite.snapshot import Manifest, manifest_of, read_manifest

log = logging.getLogger("migration")

BLOCK = 1 << 22
"""So many bytes are held in memory at a time."""
_URL = re.compile(r"file:///|(?!file:)[a-z0-9+.-]+://")


def fetch(job: Job) -> None:
    """Have the run's snapshot, as the target's state describes it, in the job's folder.

    Does nothing without a store. SourceError: the store has another one, or has it no more. TransientError: it does
    not answer.
    """
    if (store := _store()) is not None:
        with connected(job.target, "Reading the run") as connection:
            recorded = state.run(connection, job.run_id)["snapshot"]
        if recorded is not None:
            store.fetch(job, manifest_of(recorded))


def fetch_earlier(job: Job) -> None:
    """Before a backup: have the snapshot that an earlier attempt stored, so that the run never gets a second one."""
    if (store := _store()) is not None and (stored := store.manifest(job.folder.name)) is not None:
        store.fetch(job, stored)


def keep_snapshot(job: Job) -> None:
    """After a backup: store the snapshot, unless the store has it already. TransientError when it has another one."""
    if (store := _store()) is not None:
        store.keep_snapshot(job.folder)


def keep_report(job: Job) -> None:
    """Store the report's files beside the snapshot, in place of those from an earlier attempt."""
    if (store := _store()) is not None:
        for file in report.folder(job).glob("report.*"):
            store.put(file, f"{job.folder.name}/{file.name}")


def keep_assessment(name: str, files: Iterable[Path]) -> None:
    """Store the report on the plan ``name``, in place of an earlier one."""
    if (store := _store()) is not None:
        for file in files:
            store.put(file, f"assessment_{name}/{file.name}")
        log.info("The report is in the store as %s/assessment_%s", store.url, name)


def _store() -> _Store | None:
    """The store that the environment names; None without one. MigrationError when nothing can be stored there."""
    url = os.environ.get("MIGRATION_SNAPSHOT_STORE")
    if not url:
        return None
    try:
        if not _URL.match(url):
            raise ValueError("it is no URL with an absolute path")
        root = ObjectStoragePath(url)
        root.fs.invalidate_cache()  # another worker may have stored something since this process looked last
        return _Store(masked(url).rstrip("/"), root.fs, root.path.rstrip("/"))
    except (AirflowNotFoundException, ImportError, ValueError) as error:
        raise MigrationError(
            f"The snapshot store {masked(url)} cannot be opened ({error}). Correct MIGRATION_SNAPSHOT_STORE, install "
            "the Airflow provider for such URLs, or define the connection."
        ) from error


@dataclass(frozen=True)
class _Store:
    url: str
    files: AbstractFileSystem
    root: str
    """Where the store begins, in the file system's own words."""

    def fetch(self, job: Job, wanted: Manifest) -> None:
        def blocks() -> Iterator[bytes]:
            self._drop_ended(job)
            yield from self._read(name)

        name = f"{job.folder.name}/snapshot.db"
        receive(job.folder, wanted, blocks, f"{self.url}/{name}")

    def manifest(self, run: str) -> Manifest | None:
        """The manifest of a run's snapshot; None when the store has no complete one."""
        try:
            return manifest_of(json.loads(b"".join(self._read(f"{run}/manifest.json"))))
        except SourceError:
            return None
        except (ValueError, TypeError) as error:
            log.warning("%s/%s/manifest.json is none, and is written anew: %s", self.url, run, error)
            return None

    def keep_snapshot(self, folder: Path) -> None:
        run, taken = folder.name, read_manifest(folder / "manifest.json")
        stored = self.manifest(run)
        if stored is not None and stored.sha256 != taken.sha256:
            raise TransientError(
                f"The snapshot store {self.url} has got another snapshot of {run} (sha256 {stored.sha256}, not "
                f"{taken.sha256}) from another attempt at this backup. Clear this task, which then takes that one."
            )
        if stored is None or self._size(f"{run}/snapshot.db") != taken.bytes:
            self.put(folder / "snapshot.db", f"{run}/snapshot.db")
            self.put(folder / "manifest.json", f"{run}/manifest.json")
        with self._answering("clean up"):
            for left_over in self.files.ls(f"{self.root}/{run}", detail=False):
                if left_over.endswith(".part"):  # of an attempt that was killed
                    self.files.rm_file(left_over)
        log.info("backup: the snapshot is in the store as %s/%s/snapshot.db", self.url, run)

    def put(self, file: Path, name: str) -> None:
        """Store a file as a whole: under its name it is there when it is complete, and not before."""
        path = f"{self.root}/{name}"
        # Closing the file of an object store completes it even after an error, hence the other name until then.
        partial = f"{path}.{uuid.uuid4().hex}.part"
        with self._answering(f"take {name}"):
            with suppress(FileExistsError):  # the run's folder alone: a bucket or volume that is not there is a mistake
                self.files.mkdir(path.rpartition("/")[0], create_parents=False)
            try:
                with file.open("rb") as source, self.files.open(partial, "wb") as target:
                    shutil.copyfileobj(source, target, BLOCK)
                if (size := self.files.size(partial)) != file.stat().st_size:
                    raise OSError(f"it kept {size} of {file.stat().st_size} bytes")
                self.files.mv(partial, path)
            except BaseException:
                with suppress(Exception):  # what went wrong before tells more
                    self.files.rm_file(partial)
                raise

    def _read(self, name: str) -> Iterator[bytes]:
        with self._answering(f"give {name}"):
            try:
                with self.files.open(f"{self.root}/{name}", "rb") as file:
                    while block := file.read(BLOCK):
                        yield block
            except FileNotFoundError:
                raise SourceError(
                    f"The snapshot store has no {self.url}/{name}. If it was removed, start a new run, which takes a "
                    "fresh snapshot."
                ) from None

    def _size(self, name: str) -> int | None:
        with self._answering(f"give the size of {name}"), suppress(FileNotFoundError):
            return int(self.files.size(f"{self.root}/{name}"))
        return None

    @contextmanager
    def _answering(self, doing: str) -> Iterator[None]:
        """Turn whatever a file system raises into a TransientError."""
        # A volume that is not mounted must not become a folder of this worker's own.
        if isinstance(self.files, LocalFileSystem) and not self.files.isdir(self.root):
            raise TransientError(
                f"The snapshot store {self.url} does not exist on this worker. Create its folder or mount it, then "
                "clear this task."
            )
        try:
            yield
        except MigrationError:
            raise
        except Exception as error:
            raise TransientError(
                f"The snapshot store {self.url} did not {doing} ({type(error).__name__}: {masked(str(error))}). Make "
                "sure that this worker reaches it and may read and write there, then clear this task."
            ) from error

    def _drop_ended(self, job: Job) -> None:
        """Remove the copies fetched for runs that have ended, if the store still has them."""
        others = {folder.name: folder for folder in received(job.home) if folder != job.folder}
        if not others:
            return
        with connected(job.target, "Looking for runs that have ended") as connection:
            runs = [r["run_id"] for r in state.rows(connection, state.runs) if r["status"] not in WORKING]
        for name in {replace(job, run_id=run).folder.name for run in runs} & set(others):
            with suppress(MigrationError):  # in use, or unreadable: it stays
                stored = self.manifest(name)
                if stored is not None and stored.sha256 == read_manifest(others[name] / "manifest.json").sha256:
                    drop(others[name])
                    log.info("snapshot: removed %s, whose run has ended", others[name])
