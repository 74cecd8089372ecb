"""What a process and its server hold, sampled over a long time of work, and how much more it became."""

from __future__ import annotations

import gc
import json
import os
import re
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import psycopg


@dataclass(frozen=True)
class Held:
    """One moment."""

    kib: int
    """Memory that the process has for itself."""
    files: int
    threads: int
    connections: int
    """Of this database, the asking one aside."""
    schemas: int
    leftovers: int
    """Entries of the folders for temporary files."""


def memory() -> int:
    """KiB that this process has for itself, without mapped files."""
    found = re.search(r"RssAnon:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1])


def held(dsn: str, temporary: Path) -> Held:
    """What is held now, after the garbage is collected."""
    gc.collect()
    with psycopg.connect(dsn, autocommit=True) as connection:
        query = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        connections = _settled(connection, query)
        schemas = connection.execute("SELECT count(*) FROM pg_namespace").fetchall()[0][0]
    return Held(
        memory(), len(os.listdir("/proc/self/fd")), threading.active_count(), connections, schemas,
        len(list(temporary.rglob("*"))),
    )  # fmt: skip


def _settled(connection: psycopg.Connection[tuple[int]], query: str) -> int:
    """The number once the server has ended what was closed, which it does a moment later."""
    number, end = -1, time.monotonic() + 10
    while number and time.monotonic() < end:
        number = connection.execute(query.encode()).fetchall()[0][0]
        time.sleep(0.01)
    return number


def temporary_files_in(folder: Path) -> Path:
    """Have Python and SQLite make their temporary files there."""
    folder.mkdir()
    os.environ["TMPDIR"] = os.environ["SQLITE_TMPDIR"] = tempfile.tempdir = str(folder)
    return folder


def write(path: Path, samples: Sequence[Held]) -> None:
    path.write_text(json.dumps([asdict(s) for s in samples]))


def read(path: Path) -> list[Held]:
    return [Held(**facts) for facts in json.loads(path.read_text())]


def watched(act: Callable[[], object], interval: float = 0.1) -> list[int]:
    """The memory (KiB) of this process at each moment of ``act``."""
    seen, done = [memory()], threading.Event()

    def watch() -> None:
        while not done.wait(interval):
            seen.append(memory())

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        act()
    finally:
        done.set()
        thread.join()
    return seen
