"""The snapshot: whole, checked, never overwritten, restorable; and what the source must be for there to be one."""

from __future__ import annotations

import hashlib
import random
import resource
import signal
import threading
from pathlib import Path

import apsw
import pytest

from migration.errors import SourceError, TransientError
from migration.sqlite import opening, snapshot
from migration.sqlite.opening import open_snapshot, open_source
from migration.sqlite.snapshot import (
    difference,
    read_manifest,
    take,
)
from tests.engine.support import (
    TABLES,
    application,
    database,
    dump,
    folder_for_all,
    in_a_process,
    kill_itself,
    without_privileges,
    writer,
)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """The application's database."""
    return application(tmp_path / "app.db")


def rows_of_t(path: Path) -> int:
    return len(open_snapshot(path).execute("SELECT 1 FROM t").fetchall())


def test_a_snapshot_is_described_by_its_manifest(source: Path, tmp_path: Path) -> None:
    manifest = take(source, tmp_path / "s")
    path = tmp_path / "s" / "snapshot.db"
    assert manifest == read_manifest(tmp_path / "s" / "manifest.json")
    assert manifest.path == str(path)
    assert manifest.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert manifest.bytes == path.stat().st_size
    assert (manifest.rows, manifest.sequences) == ({"t": 499, "u": 0}, {"t": 500})
    assert dump(path) == dump(source)
    assert path.stat().st_mode & 0o222 == 0


def test_commits_that_are_only_in_the_wal_are_in_the_snapshot(tmp_path: Path) -> None:
    path = tmp_path / "app.db"
    with writer(path) as connection:
        for statement in (*TABLES, "INSERT INTO t (v) VALUES (1), (2)"):
            connection.execute(statement)
        assert path.stat().st_size == 4096
        assert take(path, tmp_path / "s").rows == {"t": 2, "u": 0}
        assert rows_of_t(tmp_path / "s" / "snapshot.db") == 2
    assert [p.name for p in (tmp_path / "s").iterdir() if "wal" in p.name or "shm" in p.name] == []


def test_a_snapshot_under_a_busy_writer_is_one_moment_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshot, "PAGES_PER_STEP", 4)
    path = tmp_path / "app.db"
    stop = threading.Event()
    database(
        path,
        "CREATE TABLE a (v)",
        "CREATE TABLE pad (v)",
        "INSERT INTO pad VALUES (zeroblob(2000000))",
        "CREATE TABLE b (v)",
    )
    with writer(path) as connection:

        def write() -> None:
            while not stop.is_set():
                connection.execute("BEGIN; INSERT INTO a VALUES (1); INSERT INTO b VALUES (1); COMMIT")

        thread = threading.Thread(target=write)
        thread.start()
        rows = [take(path, tmp_path / f"s{n}").rows for n in range(5)]
        stop.set()
        thread.join()
    assert all(found["a"] == found["b"] for found in rows)
    assert rows[-1]["a"] > rows[0]["a"]


@pytest.mark.parametrize("mode", ["delete", "wal"])
def test_a_source_under_an_exclusive_lock_is_named_and_left_alone(
    mode: str, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opening, "BUSY_SECONDS", 0.2)
    holder = apsw.Connection(str(source))
    holder.pragma("journal_mode", mode)
    holder.pragma("locking_mode", "exclusive")
    holder.execute("BEGIN EXCLUSIVE; INSERT INTO u VALUES (1)")
    with pytest.raises(SourceError, match="another process holds a lock .* Stop the application's writer"):
        take(source, tmp_path / "s")
    assert [p.name for p in (tmp_path / "s").iterdir()] == ["lock"]
    holder.execute("COMMIT")
    holder.close()
    assert take(source, tmp_path / "s").rows == {"t": 499, "u": 1}


def test_a_complete_snapshot_is_kept_whatever_the_source_does(source: Path, tmp_path: Path) -> None:
    first = take(source, tmp_path / "s")
    apsw.Connection(str(source)).execute("DELETE FROM t")
    assert take(source, tmp_path / "s") == first
    assert rows_of_t(tmp_path / "s" / "snapshot.db") == 499


def test_a_snapshot_that_was_changed_is_refused_and_not_replaced(source: Path, tmp_path: Path) -> None:
    take(source, tmp_path / "s")
    path = tmp_path / "s" / "snapshot.db"
    path.chmod(0o640)
    apsw.Connection(str(path)).execute("DELETE FROM t WHERE id = 1")
    with pytest.raises(SourceError, match="was changed since it was taken .* Start a new run"):
        take(source, tmp_path / "s")
    assert rows_of_t(path) == 498


@pytest.mark.parametrize("left", ["snapshot.db.part", "snapshot.db.part-journal", "snapshot.db", "manifest.part"])
def test_what_a_killed_attempt_left_is_removed(left: str, source: Path, tmp_path: Path) -> None:
    folder = tmp_path / "s"
    folder.mkdir()
    (folder / left).write_bytes(b"half of something")
    assert take(source, folder).rows["t"] == 499
    assert sorted(p.name for p in folder.iterdir()) == ["lock", "manifest.json", "snapshot.db"]


def test_a_second_attempt_at_the_same_time_waits_for_another_try(source: Path, tmp_path: Path) -> None:
    with (
        snapshot.alone(tmp_path),
        pytest.raises(TransientError, match="Another process is taking the snapshot"),
    ):
        take(source, tmp_path)
    assert take(source, tmp_path).rows["t"] == 499


def test_a_full_disk_leaves_nothing_and_is_worth_another_try(source: Path, tmp_path: Path) -> None:
    """A limit on the size of files stands in for the full disk."""

    def attempt() -> int:
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        with pytest.raises(TransientError, match="Check the disk and its space"):
            take(source, tmp_path / "s")
        return 7

    assert in_a_process(attempt) == 7
    assert [p.name for p in (tmp_path / "s").iterdir()] == ["lock"]
    assert take(source, tmp_path / "s").rows["t"] == 499


def test_a_folder_that_cannot_be_written_to_is_named(source: Path, tmp_path: Path) -> None:
    (tmp_path / "s").write_text("a file in its place")
    with pytest.raises(TransientError, match="cannot be written to .*Free or grant space there, then clear this task"):
        take(source, tmp_path / "s")


@pytest.mark.parametrize(
    "name",
    ["with space.db", "what?.db", "a#b.db", "100%.db", "50%20.db", "-dash.db", "Ærø 記憶.db", "q'\"uote.db"],
)
def test_a_source_of_any_name_is_read(name: str, tmp_path: Path) -> None:
    folder = tmp_path / "fol der?&=#%41"
    folder.mkdir()
    database(folder / name, *TABLES)
    manifest = take(folder / name, folder / "snap shot")
    assert manifest.rows == {"t": 0, "u": 0}
    assert difference(folder / name, manifest) is None


def broken(path: Path, kind: str) -> None:
    whole = path.read_bytes()
    random.seed(1)
    match kind:
        case "missing":
            path.unlink()
        case "folder":
            path.unlink()
            path.mkdir()
        case "empty":
            path.write_bytes(b"")
        case "text":
            path.write_text("id,name\n1,x\n")
        case "encrypted":
            path.write_bytes(random.randbytes(len(whole)))
        case "header only":
            path.write_bytes(whole[:16] + random.randbytes(len(whole) - 16))
        case "truncated":
            path.write_bytes(whole[: len(whole) // 2])
        case "a few bytes":
            path.write_bytes(whole[:60])
        case "flipped page":
            path.write_bytes(whole[:12288] + bytes(b ^ 255 for b in whole[12288:16384]) + whole[16384:])


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("missing", "There is no file .* Give the path"),
        ("folder", "is not a file. Give the path"),
        ("empty", r"is empty \(zero bytes\). Is it the application's database, or a new one"),
        ("text", "is not a SQLite database, or it is encrypted"),
        ("encrypted", "is not a SQLite database, or it is encrypted"),
        ("header only", "not a SQLite database, or it is encrypted|is corrupt|damaged"),
        ("truncated", "is corrupt|is damaged"),
        ("a few bytes", "not a SQLite database, or it is encrypted|is corrupt|damaged"),
        ("flipped page", "is corrupt|is damaged"),
    ],
)
def test_a_file_that_is_no_sound_database_is_refused_in_a_sentence(
    kind: str, words: str, source: Path, tmp_path: Path
) -> None:
    broken(source, kind)
    with pytest.raises(SourceError, match=words) as refused:
        take(source, tmp_path / "s")
    assert "\n" not in str(refused.value)
    assert [p.name for p in (tmp_path / "s").iterdir()] == ["lock"]


def test_values_that_break_only_the_schemas_promises_are_no_damage(tmp_path: Path) -> None:
    path = database(tmp_path / "app.db", "CREATE TABLE t (a, b TEXT, c INTEGER, d CHECK (d > 0))", "CREATE TABLE u (v)")
    connection = apsw.Connection(str(path))
    connection.pragma("ignore_check_constraints", True)
    with connection:
        connection.executemany("INSERT INTO t VALUES (NULL, ?, '1', -1)", [(n,) for n in range(200)])
    connection.config(apsw.SQLITE_DBCONFIG_DEFENSIVE, 0)
    connection.pragma("writable_schema", True)
    sql = "CREATE TABLE t (a NOT NULL, b INTEGER, c TEXT, d CHECK (d > 0))"
    connection.execute("UPDATE sqlite_schema SET sql = ? WHERE name = 't'", [sql])
    connection.close()
    findings = apsw.Connection(str(path)).execute("PRAGMA integrity_check").fetchall()
    assert findings != [("ok",)]
    assert take(path, tmp_path / "s").rows == {"t": 200, "u": 0}


def test_a_transaction_that_a_crash_cut_off_is_never_read_half(source: Path, tmp_path: Path) -> None:
    def crash() -> None:
        connection = apsw.Connection(str(source))
        connection.pragma("cache_size", 5)
        connection.execute("BEGIN; UPDATE t SET v = 'half' || v")
        kill_itself()

    assert in_a_process(crash) == -signal.SIGKILL
    assert source.with_name("app.db-journal").stat().st_size > 0
    with pytest.raises(SourceError, match="left in the middle of a transaction.* Open the database once"):
        take(source, tmp_path / "s")
    apsw.Connection(str(source)).execute("SELECT count(*) FROM t").fetchall()
    take(source, tmp_path / "s")
    query = "SELECT count(*), sum(v LIKE 'half%') FROM t"
    assert open_snapshot(tmp_path / "s" / "snapshot.db").execute(query).fetchall() == [(499, 0)]


@pytest.mark.parametrize("mode", ["delete", "truncate", "persist", "wal"])
def test_a_source_on_read_only_media_is_read(mode: str) -> None:
    with folder_for_all() as folder:
        path = folder / "media" / "app.db"
        path.parent.mkdir()
        connection = apsw.Connection(str(path))
        connection.pragma("journal_mode", mode)
        connection.execute("CREATE TABLE t (v); INSERT INTO t VALUES (1)")
        connection.close()
        path.chmod(0o444)
        path.parent.chmod(0o555)
        with without_privileges():
            assert take(path, folder / "s").rows == {"t": 1}
            assert difference(path, read_manifest(folder / "s" / "manifest.json")) is None
        path.parent.chmod(0o755)


def test_a_wal_on_read_only_media_is_not_left_out_silently() -> None:
    with folder_for_all() as folder:
        path = folder / "media" / "app.db"
        path.parent.mkdir()
        with writer(path) as connection:
            connection.execute("CREATE TABLE t (v); INSERT INTO t VALUES (1)")
            kept = {end: path.with_name(path.name + end).read_bytes() for end in ("", "-wal")}
        for end, data in kept.items():
            path.with_name(path.name + end).write_bytes(data)
        path.parent.chmod(0o555)
        with (
            without_privileges(),
            pytest.raises(SourceError, match="has commits in app.db-wal, .* Copy both files"),
        ):
            take(path, folder / "s")
        path.parent.chmod(0o755)


def test_a_source_that_may_not_be_read_says_so() -> None:
    with folder_for_all() as folder:
        path = database(folder / "app.db", *TABLES)
        path.chmod(0)
        with (
            without_privileges(),
            pytest.raises(SourceError, match="cannot be read: Permission denied. Grant read access"),
        ):
            open_source(path)


@pytest.mark.parametrize("encoding", ["UTF-16le", "UTF-16be"])
def test_a_utf16_source_keeps_its_encoding(encoding: str, tmp_path: Path) -> None:
    path = database(tmp_path / "app.db", *TABLES, "INSERT INTO u VALUES ('Ærø 👩')", encoding=encoding)
    manifest = take(path, tmp_path / "s")
    assert difference(path, manifest) is None
    assert open_snapshot(Path(manifest.path)).pragma("encoding") == encoding
    assert open_snapshot(Path(manifest.path)).execute("SELECT v FROM u").fetchall() == [("Ærø 👩",)]
