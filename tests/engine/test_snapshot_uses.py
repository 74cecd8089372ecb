"""Comparing the live database with its snapshot, and getting the snapshot back."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import apsw
import pytest

from migration.__main__ import main
from migration.errors import MigrationError, SourceError
from migration.sqlite.snapshot import check_unchanged, difference, restore, take
from tests.engine.support import application, dump, writer


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """The application's database."""
    return application(tmp_path / "app.db")


def test_an_unchanged_source_shows_no_difference_whatever_mode_it_is_in(source: Path, tmp_path: Path) -> None:
    manifest = take(source, tmp_path / "s")
    assert difference(source, manifest) is None
    with writer(source) as connection:
        assert difference(source, manifest) is None
        connection.execute("BEGIN; INSERT INTO u VALUES (1); ROLLBACK")
        assert difference(source, manifest) is None
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        assert difference(source, manifest) is None
    apsw.Connection(str(source)).pragma("journal_mode", "delete")
    assert difference(source, manifest) is None
    assert sorted(p.name for p in (tmp_path / "s").iterdir()) == ["lock", "manifest.json", "snapshot.db"]


def test_a_write_after_the_snapshot_is_a_difference_though_only_in_the_wal(source: Path, tmp_path: Path) -> None:
    manifest = take(source, tmp_path / "s")
    with writer(source) as connection:
        connection.execute("INSERT INTO u VALUES ('new')")
        connection.execute("CREATE TABLE fresh (v)")
        connection.execute("INSERT INTO fresh VALUES (1)")
        found = difference(source, manifest)
    assert found is not None
    assert "u had 0 rows and has 1; fresh had 0 rows and has 1" in found
    assert "Stop the application's writers and start a new run" in found


def test_a_dropped_table_is_a_difference(source: Path, tmp_path: Path) -> None:
    manifest = take(source, tmp_path / "s")
    apsw.Connection(str(source)).execute("DROP TABLE u")
    assert "(u is gone)" in str(difference(source, manifest))


def test_one_changed_byte_with_equal_counts_is_a_difference(source: Path, tmp_path: Path) -> None:
    manifest = take(source, tmp_path / "s")
    apsw.Connection(str(source)).execute("UPDATE t SET v = 'X' || substr(v, 2) WHERE id = 250")
    assert "the same numbers of rows, other content" in str(difference(source, manifest))


def test_a_vacuum_counts_as_a_difference_since_pages_are_compared(source: Path, tmp_path: Path) -> None:
    apsw.Connection(str(source)).execute("DELETE FROM t WHERE id % 2")
    manifest = take(source, tmp_path / "s")
    apsw.Connection(str(source)).execute("VACUUM")
    assert "other content" in str(difference(source, manifest))


def test_what_a_killed_comparison_left_is_removed(source: Path, tmp_path: Path) -> None:
    manifest = take(source, tmp_path / "s")
    (tmp_path / "s" / "compare-abc").mkdir()
    (tmp_path / "s" / "compare-abc" / "now.db").write_bytes(b"x")
    assert difference(source, manifest) is None
    assert sorted(p.name for p in (tmp_path / "s").iterdir()) == ["lock", "manifest.json", "snapshot.db"]


def restoring(manifest: Path, to: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "migration", "restore", str(manifest), str(to)]
    paths = os.pathsep.join(["include", *filter(None, [os.environ.get("PYTHONPATH")])])
    root = Path(__file__).parents[2]
    return subprocess.run(command, cwd=root, env=os.environ | {"PYTHONPATH": paths}, capture_output=True, text=True)


def test_the_restore_command_gives_the_database_back_and_never_twice(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    take(source, tmp_path / "s")
    before = dump(source)
    source.unlink()
    (tmp_path / "s").rename(tmp_path / "moved elsewhere")
    done = restoring(tmp_path / "moved elsewhere" / "manifest.json", source)
    assert (done.returncode, done.stderr) == (0, "")
    assert dump(source) == before
    apsw.Connection(str(source)).execute("INSERT INTO t (v) VALUES ('writable again')")
    assert main(["restore", str(tmp_path / "moved elsewhere" / "manifest.json"), str(source)]) == 1
    refusal = f"MigrationError: {source} exists already; a restore overwrites nothing."
    assert capsys.readouterr().err.startswith(refusal)
    assert len(dump(source)) == len(before) + 1


@pytest.mark.parametrize("beside", ["", "-wal", "-shm", "-journal"])
def test_a_restore_overwrites_nothing(beside: str, source: Path, tmp_path: Path) -> None:
    take(source, tmp_path / "s")
    taken = tmp_path / f"new.db{beside}"
    taken.write_text("somebody's")
    with pytest.raises(MigrationError, match="exists already; a restore overwrites nothing"):
        restore(tmp_path / "s" / "manifest.json", tmp_path / "new.db")
    assert taken.read_text() == "somebody's"
    taken.unlink()
    taken.symlink_to(tmp_path / "nowhere")
    with pytest.raises(MigrationError, match="exists already"):
        restore(tmp_path / "s" / "manifest.json", tmp_path / "new.db")


def test_a_restore_that_cannot_be_done_says_why_and_leaves_nothing(source: Path, tmp_path: Path) -> None:
    manifest = take(source, tmp_path / "s")
    with pytest.raises(MigrationError, match="cannot be restored to .*No such file"):
        restore(tmp_path / "s" / "manifest.json", tmp_path / "no folder" / "new.db")
    with pytest.raises(MigrationError, match="There is no manifest"):
        restore(tmp_path / "manifest.json", tmp_path / "new.db")
    (tmp_path / "odd.json").write_text(json.dumps({"path": "x"}))
    with pytest.raises(MigrationError, match="The manifest .* cannot be read"):
        restore(tmp_path / "odd.json", tmp_path / "new.db")
    Path(manifest.path).chmod(0o640)
    with Path(manifest.path).open("r+b") as file:
        file.seek(5000)
        file.write(b"\xff")
    with pytest.raises(SourceError, match="was changed since it was taken"):
        restore(tmp_path / "s" / "manifest.json", tmp_path / "new.db")
    assert not (tmp_path / "new.db").exists()


def test_a_manifest_of_a_missing_snapshot_says_so(source: Path, tmp_path: Path) -> None:
    manifest = take(source, tmp_path / "s")
    with pytest.raises(SourceError, match="is gone. Start a new run"):
        check_unchanged(replace(manifest, path=str(tmp_path / "elsewhere.db")))
