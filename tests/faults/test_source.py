"""The source locked, replaced, truncated, gone or written to: a sentence, nothing touched, and the same state afterwards."""

from __future__ import annotations

import shutil
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest

from migration.errors import MigrationError
from migration.sqlite.snapshot import take
from tests.engine.support import database
from tests.faults.ledger import Ledger
from tests.faults.world import STEPS, World

_FORK = get_context("fork")


def _locked(path: Path) -> Callable[[], None]:
    """By another process: within one, locks of different SQLite libraries do not meet."""
    held, enough = _FORK.Event(), _FORK.Event()

    def hold() -> None:
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.execute("BEGIN EXCLUSIVE")
            held.set()
            enough.wait(60)

    holder = _FORK.Process(target=hold)
    holder.start()
    assert held.wait(60)

    def release() -> None:
        enough.set()
        holder.join()

    return release


def _moved(path: Path) -> None:
    path.rename(path.with_suffix(".away"))


def _truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:5000])


def _another(path: Path) -> None:
    path.unlink()
    database(path, "CREATE TABLE parents (id INTEGER PRIMARY KEY, name TEXT NOT NULL)")


def _text(path: Path) -> None:
    path.write_text("a page of text, and no database\n" * 200)


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _zeroed(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[:4096] + bytes(4096) + data[8192:])


def _written(path: Path) -> None:
    database(path, "UPDATE notes SET body = 'later' WHERE id = 5")


def _column(path: Path) -> None:
    database(path, "ALTER TABLE notes ADD COLUMN later TEXT")


BREAKS: dict[str, Callable[[Path], Any]] = {
    "locked by a writer": _locked,
    "moved away": _moved,
    "truncated": _truncated,
    "replaced by another database": _another,
    "replaced by a text": _text,
    "emptied": _empty,
    "with a page of zeros": _zeroed,
}
CHANGES = {"written to": _written, "given another column": _column}


@pytest.fixture
def source(world: World) -> Any:
    """The world's source, put back afterwards."""
    kept = world.folder / "kept.db"
    shutil.copyfile(world.job.source, kept)

    def put_back() -> None:
        for path in world.folder.glob("app*"):
            path.unlink()
        shutil.copyfile(kept, world.job.source)

    yield put_back
    put_back()


@pytest.mark.parametrize("fault", BREAKS)
@pytest.mark.parametrize("step", ["preflight", "backup", "cut_over"])
def test_a_source_that_cannot_be_read_stops_the_step_by_a_sentence_and_the_step_can_be_done_again(
    world: World, ledger: Ledger, source: Callable[[], None], step: str, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("migration.sqlite.opening.BUSY_SECONDS", 0.1)
    world.back_to(step)
    before = world.state() if step != "preflight" else {}
    release = BREAKS[fault](world.job.source)
    told = ""
    try:
        STEPS[step](world.job)
    except MigrationError as error:
        told = str(error)
    if release:
        release()
    source()
    wrong = "" if told.strip() else "no sentence"
    wrong += world.left_behind()
    if world.seen() != world.visible[step]:
        wrong += "live tables changed"
    if before and {**world.state(), "steps": 0, "files": 0} != {**before, "steps": 0, "files": 0}:
        wrong += "something was touched"
    wrong += world.go_on(step)
    ledger.tried("Source", f"source {fault}", "a sentence, done again, same state", wrong=bool(wrong))
    assert not wrong, told


@pytest.mark.parametrize("fault", CHANGES)
@pytest.mark.parametrize("step", ["create_schema", "load children", "verify parents", "cut_over"])
def test_a_source_written_to_after_its_backup_is_never_cut_over(
    world: World, ledger: Ledger, source: Callable[[], None], step: str, fault: str
) -> None:
    world.back_to(step)
    CHANGES[fault](world.job.source)
    names = list(STEPS)
    for name in names[names.index(step) : names.index("cut_over")]:
        STEPS[name](world.job)
    with pytest.raises(MigrationError, match="was written to after its snapshot") as told:
        STEPS["cut_over"](world.job)
    wrong = world.seen() != world.visible[step] or bool(world.left_behind())
    ledger.tried("Source", f"source {fault} after the backup", "no cut-over, nothing live touched", wrong=wrong)
    assert not wrong, told


BACKUPS = 15


@pytest.mark.parametrize("mode", ["wal", "delete"])
def test_a_backup_among_writers_is_of_one_moment(tmp_path: Path, ledger: Ledger, mode: str) -> None:
    path = database(tmp_path / "app.db", "CREATE TABLE a (id INTEGER PRIMARY KEY, n)",
                    "INSERT INTO a WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 3000)"
                    " SELECT i, 100 FROM n")  # fmt: skip

    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute(f"PRAGMA journal_mode = {mode}").fetchone() == (mode,)

    def write() -> None:
        end = time.monotonic() + 60
        with closing(sqlite3.connect(path, timeout=30, isolation_level=None)) as connection:
            turn = 0
            while not (tmp_path / "enough").exists() and time.monotonic() < end:
                turn += 1
                connection.execute("BEGIN IMMEDIATE")
                connection.execute("UPDATE a SET n = n - 1 WHERE id = ?", [turn * 7919 % 3000 + 1])
                connection.execute("UPDATE a SET n = n + 1 WHERE id = ?", [turn * 104_729 % 3000 + 1])
                connection.execute("COMMIT")
                if turn % 50 == 0 and mode == "wal":
                    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    writers = [_FORK.Process(target=write) for _ in range(2)]
    for writer in writers:
        writer.start()
    try:
        for number in range(BACKUPS):
            take(path, tmp_path / f"home {number}")
    finally:
        (tmp_path / "enough").touch()
        for writer in writers:
            writer.join()
    torn = []
    for number in range(BACKUPS):
        with closing(sqlite3.connect(tmp_path / f"home {number}" / "snapshot.db")) as snapshot:
            total = snapshot.execute("SELECT sum(n), count(*) FROM a").fetchone()
        ledger.tried("Source", f"writers and checkpoints during the backup ({mode})", "of one moment",
                     wrong=total != (300_000, 3000))  # fmt: skip
        if total != (300_000, 3000):
            torn.append(total)
    assert not torn
