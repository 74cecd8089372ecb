"""The file: what a SQLite database can be as a file, and what becomes of it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import apsw
import psycopg
import pytest

from migration import steps
from migration.__main__ import main
from migration.assess import assess
from migration.errors import CutOverRefused, SourceError
from migration.job import Job, Params
from tests.engine.support import database, folder_for_all, insert, without_privileges, writer
from tests.hazards.moving import move, nothing_in, rules


def test_commits_that_lie_only_in_the_wal_are_migrated(tmp_path: Path, target_dsn: str) -> None:
    source = tmp_path / "app.db"
    with writer(source) as connection:
        for n in range(10):
            connection.execute(f"CREATE TABLE t{n} (id INTEGER PRIMARY KEY, v TEXT); INSERT INTO t{n} (v) VALUES ('x')")
        assert source.stat().st_size <= 4096
        copy = tmp_path / "copied" / "app.db"
        copy.parent.mkdir()
        for end in ("", "-wal"):
            shutil.copyfile(f"{source}{end}", f"{copy}{end}")
    moved = move(copy, target_dsn)
    assert [moved.rows(f"t{n}") for n in range(10)] == [[(1, "x")]] * 10


def test_a_locked_source_is_refused_with_what_to_stop(
    tmp_path: Path, target_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("migration.sqlite.opening.BUSY_SECONDS", 0.2)
    source = database(tmp_path / "app.db", "CREATE TABLE t (id INTEGER PRIMARY KEY)")
    other = apsw.Connection(str(source))
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(SourceError, match="another process holds a lock .* Stop the application's writer"):
        move(source, target_dsn)
    assert nothing_in(target_dsn)


def _truncated(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def _corrupt(path: Path) -> None:
    with path.open("r+b") as file:
        for page in range(2, path.stat().st_size // 4096):
            file.seek(page * 4096)
            file.write(b"\xde\xad\xbe\xef" * 64)


def _folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _without_tables(path: Path) -> None:
    path.unlink()
    database(path, "PRAGMA user_version = 7")


BAD: dict[str, tuple[Callable[[Path], object], str]] = {
    "zero bytes": (lambda p: p.write_bytes(b""), "is empty (zero bytes)"),
    "text": (lambda p: p.write_text("id,name\n1,x\n" * 100), "is not a SQLite database, or it is encrypted"),
    "encrypted": (lambda p: p.write_bytes(os.urandom(8192)), "is not a SQLite database, or it is encrypted"),
    "header only": (
        lambda p: p.write_bytes(b"SQLite format 3\0" + os.urandom(4080)),
        "not a SQLite database, or it is",
    ),
    "truncated": (_truncated, "Restore it from a backup"),
    "corrupt pages": (_corrupt, "Restore it from a backup"),
    "missing": (Path.unlink, "There is no file"),
    "folder": (_folder, "is not a file"),
    "without tables": (_without_tables, "holds no tables"),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_file_ends_with_one_sentence_and_nothing_touched(
    kind: str, tmp_path: Path, target_dsn: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    source = database(tmp_path / "app.db", "CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)")
    insert(source, "t", [(n, "x" * 200) for n in range(1000)])
    make, words = BAD[kind]
    make(source)
    monkeypatch.setenv("MIGRATION_TARGET_DSN", target_dsn)
    monkeypatch.setenv("MIGRATION_HOME", str(tmp_path / "home"))
    assert main(["assess", "--source", str(source)]) == 1
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert words in said
    assert nothing_in(target_dsn)
    assert not list((tmp_path / "plans").glob("*"))


def test_a_source_written_to_after_the_backup_is_not_cut_over(
    tmp_path: Path, target_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = database(
        tmp_path / "app.db", "CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)", "INSERT INTO t VALUES (1, 'a')"
    )
    moved_by = steps.verify

    def late(job: Job, table: str) -> object:
        insert(source, "t", [(2, "late")])
        return moved_by(job, table)

    monkeypatch.setattr(steps, "verify", late)
    with pytest.raises(CutOverRefused, match="t had 1 rows and has 2"):
        move(source, target_dsn)
    with psycopg.connect(target_dsn) as connection:
        assert connection.execute("SELECT to_regclass('public.t')").fetchone() == (None,)


@pytest.mark.parametrize(
    ("name", "encoding", "pragmas"),
    [
        ("app.db", "UTF-16le", ()),
        ("app.db", "UTF-16be", ("PRAGMA page_size = 512",)),
        (
            "app.db",
            "UTF-8",
            ("PRAGMA page_size = 65536", "PRAGMA user_version = 4711", "PRAGMA application_id = 252006673"),
        ),
        ("my app ? #1 100%.sqlite", "UTF-8", ("PRAGMA auto_vacuum = FULL",)),
        ("größe 'x\" $HOME.db3", "UTF-8", ("PRAGMA journal_mode = WAL",)),
    ],
)
def test_encodings_page_sizes_and_paths_of_any_kind_work(
    name: str, encoding: str, pragmas: tuple[str, ...], tmp_path: Path, target_dsn: str
) -> None:
    source = tmp_path / name
    connection = apsw.Connection(str(source))
    for pragma in (f"PRAGMA encoding = '{encoding}'", *pragmas):
        connection.execute(pragma)
    connection.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)")
    connection.execute("INSERT INTO t (v) VALUES (?), ('')", ["ä€😀"])
    connection.close()
    before = source.read_bytes()
    moved = move(source, target_dsn)
    assert moved.rows("t") == [(1, "ä€😀"), (2, "")]
    assert source.read_bytes() == before


def test_a_source_on_read_only_media_works(target_dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with folder_for_all() as folder:
        monkeypatch.setattr("migration.plan.PLANS", folder / "plans")
        media = folder / "media"
        media.mkdir()
        source = media / "app.db"
        with writer(source) as connection:
            connection.execute("CREATE TABLE t (id INTEGER PRIMARY KEY)")
        source.chmod(0o444)
        media.chmod(0o555)
        home = folder / "home"
        home.mkdir(mode=0o777)
        home.chmod(0o777)
        with without_privileges():
            assessment = assess(source, home, target=target_dsn)
        job = Job(assessment.plan, "run-1", target_dsn, source, home, Params())
        assert steps.preflight(job)["tables"] == 1
        media.chmod(0o755)


def test_a_virtual_table_whose_module_is_missing_is_refused_by_name_and_the_rest_is_carried(
    tmp_path: Path, target_dsn: str
) -> None:
    source = database(
        tmp_path / "app.db",
        "CREATE TABLE t (id INTEGER PRIMARY KEY)",
        "INSERT INTO t VALUES (5)",
        "PRAGMA writable_schema = ON",
        "INSERT INTO sqlite_schema VALUES ('table', 'v', 'v', 0, 'CREATE VIRTUAL TABLE v USING nowhere(a, b)')",
    )
    moved = move(source, target_dsn)
    assert moved.rows("t") == [(5,)]
    assert "nowhere" in moved.refused("virtual table")["v"]
    assert rules(moved.assessment) == {"refused-virtual-table"}
