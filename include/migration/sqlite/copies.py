"""Copies of a run's snapshot on workers that did not take it: received whole and checked, or not at all.

A received copy has a file ``received`` beside it, with what the file system says about it: whoever writes to the copy
changes that, and it is received anew.
"""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

from migration.errors import MigrationError, SourceError, TransientError
from migration.sqlite.snapshot import Manifest, alone, read_manifest, write_manifest

log = logging.getLogger("migration")


def receive(folder: Path, wanted: Manifest, blocks: Callable[[], Iterable[bytes]], origin: str) -> None:
    """Have the snapshot that ``wanted`` describes in ``folder``, from its bytes in order; ``origin`` names their place.

    ``blocks`` is called only if it is not there yet; whoever asks meanwhile waits, and finds it. Raises SourceError
    when these are not its bytes, TransientError when the disk is full; what ``blocks`` raises passes through.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with alone(folder, wait=True):
            if not _has(folder, wanted):
                log.info("snapshot: fetching %s, %.1f MB", origin, wanted.bytes / 1e6)
                _receive(folder, wanted, blocks(), origin)
    except OSError as error:
        raise TransientError(
            f"The snapshot {origin} cannot be written to {folder}: {error.strerror}. Free or grant space there, then "
            "clear this task."
        ) from error


def _has(folder: Path, wanted: Manifest) -> bool:
    """Whether ``folder`` has the snapshot, as it was taken or received there; nothing of it is read."""
    path, received = folder / "snapshot.db", folder / "received"
    try:
        if read_manifest(folder / "manifest.json").sha256 != wanted.sha256 or path.stat().st_size != wanted.bytes:
            return False
        return not received.exists() or received.read_text() == _mark(path)
    except (MigrationError, FileNotFoundError):
        return False


def _mark(path: Path) -> str:
    """Size and times of the file: no writer leaves all three as they were."""
    status = path.stat()
    return f"{status.st_size} {status.st_mtime_ns} {status.st_ctime_ns}"


def _receive(folder: Path, wanted: Manifest, blocks: Iterable[bytes], origin: str) -> None:
    path, partial = folder / "snapshot.db", folder / "snapshot.db.part"
    partial.unlink(missing_ok=True)
    digest, size = hashlib.sha256(), 0
    try:
        with partial.open("wb") as file:
            for block in blocks:
                digest.update(block)
                size += file.write(block)
            file.flush()
            os.fsync(file.fileno())
        if (found := digest.hexdigest()) != wanted.sha256:
            raise SourceError(
                f"{origin} is not the snapshot that was taken: {size} bytes with sha256 {found}, not {wanted.bytes} "
                f"with {wanted.sha256}. Put that one back, which the worker that took it has as {wanted.path}, or "
                "start a new run."
            )
        partial.chmod(0o440)
        partial.rename(path)
    finally:
        partial.unlink(missing_ok=True)
    (folder / "received").write_text(_mark(path))
    write_manifest(replace(wanted, path=str(path.absolute())), folder / "manifest.json")


def received(home: Path) -> list[Path]:
    """The folders of the copies that were received."""
    return [mark.parent for mark in home.glob("snapshots/*/received")]


def drop(folder: Path) -> None:
    """Remove a received copy; TransientError when somebody is at work on it."""
    with alone(folder):
        shutil.rmtree(folder)
