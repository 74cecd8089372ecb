"""A snapshot on a worker that did not take it: whole, checked, received once; and never a second one for a run."""

from __future__ import annotations

import os
import resource
import shutil
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import apsw
import pytest
import sqlalchemy as sa

from migration.errors import SourceError, TransientError
from migration.load.table import load_table
from migration.preflight import backup
from migration.sqlite.copies import drop, receive, received
from migration.sqlite.snapshot import Manifest, alone, read_manifest, take
from tests.engine.support import application, begin, in_a_process, job_for, kill_itself, models, plan_for


@pytest.fixture
def taken(tmp_path: Path) -> Manifest:
    """The snapshot on the worker that took it."""
    return take(application(tmp_path / "app.db"), tmp_path / "taken")


def bytes_of(manifest: Manifest) -> Iterator[bytes]:
    whole = Path(manifest.path).read_bytes()
    yield from (whole[at : at + 4096] for at in range(0, len(whole), 4096))


def nothing() -> Iterator[bytes]:
    raise AssertionError("received again")


def names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


COMPLETE = ["lock", "manifest.json", "received", "snapshot.db"]


def test_a_received_snapshot_is_the_one_that_was_taken_and_is_received_once(taken: Manifest, tmp_path: Path) -> None:
    folder = tmp_path / "home" / "s"
    receive(folder, taken, lambda: bytes_of(taken), "store/s")
    assert (folder / "snapshot.db").read_bytes() == Path(taken.path).read_bytes()
    assert (folder / "snapshot.db").stat().st_mode & 0o222 == 0
    assert read_manifest(folder / "manifest.json") == replace(taken, path=str(folder / "snapshot.db"))
    assert names(folder) == COMPLETE
    receive(folder, taken, nothing, "store/s")
    receive(Path(taken.path).parent, taken, nothing, "store/s")


def test_what_breaks_off_is_no_snapshot(taken: Manifest, tmp_path: Path) -> None:
    def broken() -> Iterator[bytes]:
        yield next(bytes_of(taken))
        raise TransientError("the line is dead")

    with pytest.raises(TransientError, match="the line is dead"):
        receive(tmp_path / "s", taken, broken, "store/s")
    assert names(tmp_path / "s") == ["lock"]


def test_what_a_killed_task_left_is_no_snapshot_and_is_replaced(taken: Manifest, tmp_path: Path) -> None:
    def killed() -> Iterator[bytes]:
        yield next(bytes_of(taken))
        kill_itself()

    code = in_a_process(lambda: receive(tmp_path / "s", taken, killed, "store/s"))
    assert code == -signal.SIGKILL
    assert names(tmp_path / "s") == ["lock", "snapshot.db.part"]
    receive(tmp_path / "s", taken, lambda: bytes_of(taken), "store/s")
    assert names(tmp_path / "s") == COMPLETE


@pytest.mark.parametrize("fault", ["one byte", "truncated", "longer", "empty"])
def test_what_is_not_the_snapshot_is_named_and_not_kept(fault: str, taken: Manifest, tmp_path: Path) -> None:
    whole = bytearray(Path(taken.path).read_bytes())
    match fault:
        case "one byte":
            whole[5000] ^= 1
        case "truncated":
            del whole[-4096:]
        case "longer":
            whole += b"\0"
        case "empty":
            whole.clear()
    with pytest.raises(SourceError, match="store/s is not the snapshot that was taken: .* start a new run") as raised:
        receive(tmp_path / "s", taken, lambda: [bytes(whole)], "store/s")
    assert f"{len(whole)} bytes" in str(raised.value)
    assert taken.path in str(raised.value)
    assert names(tmp_path / "s") == ["lock"]


def test_tasks_that_want_it_at_once_receive_it_once(taken: Manifest, tmp_path: Path) -> None:
    log = tmp_path / "received.log"

    def slowly() -> Iterator[bytes]:
        with log.open("a") as file:
            file.write("begun\n")
        for block in bytes_of(taken):
            signal.sigtimedwait([], 0.02)
            yield block

    def both() -> int:
        other = os.fork()
        receive(tmp_path / "s", taken, slowly, "store/s")
        if not other:
            os._exit(0)
        return os.waitstatus_to_exitcode(os.waitpid(other, 0)[1])

    assert in_a_process(both) == 0
    assert log.read_text() == "begun\n"
    assert names(tmp_path / "s") == COMPLETE


def test_a_full_disk_leaves_nothing_and_is_worth_another_try(taken: Manifest, tmp_path: Path) -> None:
    """A limit on the size of files stands in for the full disk."""

    def attempt() -> int:
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        with pytest.raises(TransientError, match="store/s cannot be written to .* Free or grant space there"):
            receive(tmp_path / "s", taken, lambda: bytes_of(taken), "store/s")
        return 7

    assert in_a_process(attempt) == 7
    assert names(tmp_path / "s") == ["lock"]
    receive(tmp_path / "s", taken, lambda: bytes_of(taken), "store/s")


@pytest.mark.parametrize("fault", ["one byte, times put back", "truncated", "gone", "no manifest"])
def test_a_copy_that_was_touched_is_received_anew(fault: str, taken: Manifest, tmp_path: Path) -> None:
    receive(tmp_path / "s", taken, lambda: bytes_of(taken), "store/s")
    path = tmp_path / "s" / "snapshot.db"
    path.chmod(0o640)
    before = path.stat()
    match fault:
        case "one byte, times put back":
            with path.open("r+b") as file:
                file.seek(5000)
                file.write(b"\xff")
            os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        case "truncated":
            os.truncate(path, 4096)
        case "gone":
            path.unlink()
        case "no manifest":
            (tmp_path / "s" / "manifest.json").unlink()
    receive(tmp_path / "s", taken, lambda: bytes_of(taken), "store/s")
    assert path.read_bytes() == Path(taken.path).read_bytes()


def test_another_snapshot_in_its_place_is_replaced(taken: Manifest, tmp_path: Path) -> None:
    source = application(tmp_path / "other.db")
    apsw.Connection(str(source)).execute("DELETE FROM t WHERE id = 1")
    take(source, tmp_path / "s")
    receive(tmp_path / "s", taken, lambda: bytes_of(taken), "store/s")
    assert (tmp_path / "s" / "snapshot.db").read_bytes() == Path(taken.path).read_bytes()
    assert read_manifest(tmp_path / "s" / "manifest.json").sha256 == taken.sha256


def test_only_what_was_received_is_dropped_and_only_when_nobody_works_on_it(taken: Manifest, tmp_path: Path) -> None:
    shutil.copytree(tmp_path / "taken", tmp_path / "home" / "snapshots" / "own")
    folder = tmp_path / "home" / "snapshots" / "other"
    receive(folder, taken, lambda: bytes_of(taken), "store/other")
    assert received(tmp_path / "home") == [folder]
    with alone(folder), pytest.raises(TransientError, match="Another process"):
        drop(folder)
    assert names(folder) == COMPLETE
    drop(folder)
    assert not folder.exists()


def test_a_run_with_loaded_tables_never_gets_a_second_snapshot(tmp_path: Path, target_dsn: str) -> None:
    columns = [sa.Column("id", sa.BigInteger, primary_key=True), sa.Column("v", sa.Text)]
    job = begin(
        job_for(application(tmp_path / "app.db"), target_dsn, plan_for(models(("t", columns)), exclude_tables=("u",)))
    )
    first = backup(job)
    apsw.Connection(str(job.source)).execute("DELETE FROM t WHERE id = 1")
    shutil.rmtree(job.folder)
    assert backup(job)["sha256"] != first["sha256"]
    load_table(job, "t")
    apsw.Connection(str(job.source)).execute("DELETE FROM t WHERE id = 2")
    shutil.rmtree(job.folder)
    with pytest.raises(SourceError, match="tables of this run are loaded from .* is gone. Start a new run"):
        backup(job)
