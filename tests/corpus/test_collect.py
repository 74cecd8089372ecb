"""The corpus is made once, obeys its schemas, and goes on without what cannot be had."""

import sqlite3
from pathlib import Path

import apsw
import pytest

from tests.corpus.collect import DATABASES, collect
from tests.corpus.fetching import build
from tests.corpus.rows import ROWS


def test_every_database_has_a_name_of_its_own_that_a_plan_can_have() -> None:
    names = [d.name for d in DATABASES]
    assert len(set(names)) == len(names) >= 40
    assert all(
        name.isascii() and name.islower() and name.replace("_", "").isalnum() and len(name) <= 40 for name in names
    )


@pytest.mark.parametrize("pattern", ["crafted_[!bw]*", "crafted_booleans", "like_*"])
def test_crafted_databases_are_sound_and_made_once(tmp_path: Path, pattern: str) -> None:
    first = collect(tmp_path, pattern)
    assert first
    for one in first:
        assert not one.missing
        if one.database.name != "like_plex":  # its collation is the application's own
            assert apsw.Connection(str(one.file)).pragma("integrity_check") == "ok"
    made = [one.file.stat().st_mtime_ns for one in first]
    assert [one.file.stat().st_mtime_ns for one in collect(tmp_path, pattern)] == made
    assert {p.name for p in tmp_path.iterdir()} == {one.file.name for one in first}


def test_a_source_that_cannot_be_had_is_named_and_does_not_end_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    found = {one.database.name: one.missing for one in collect(tmp_path, "*n[gp]*")}
    assert found["npm_tiles"] == "npm: FileNotFoundError"
    assert found["cangjie"] == "apt-get: FileNotFoundError"


def test_generated_rows_obey_the_schema(tmp_path: Path) -> None:
    build(
        """
        CREATE TABLE child (id INTEGER PRIMARY KEY, parent TEXT NOT NULL REFERENCES parent (code), kind TEXT CHECK (kind IN ('a', 'b')),
          amount DECIMAL(6,2), UNIQUE (parent, id));
        # a comment that SQLite does not know
        CREATE TABLE parent (code VARCHAR(12) PRIMARY KEY NOT NULL, born DATE, sure BOOLEAN NOT NULL, picture BLOB);
        """,
        tmp_path / "made.db",
    )
    with sqlite3.connect(tmp_path / "made.db") as connection:
        for table in ("parent", "child"):
            assert connection.execute(f"SELECT count(*) FROM {table}").fetchone() == (ROWS,)
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
        assert connection.execute("SELECT count(DISTINCT kind) FROM child").fetchone() == (2,)
        assert connection.execute("SELECT max(length(code)) FROM parent").fetchone() <= (12,)


def test_the_same_schema_gives_the_same_rows(tmp_path: Path) -> None:
    dumps = []
    for place in ("one", "two"):
        (tmp_path / place).mkdir()
        build("CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT, r REAL)", tmp_path / place / "t.db")
        with sqlite3.connect(tmp_path / place / "t.db") as connection:
            dumps.append(list(connection.iterdump()))
    assert dumps[0] == dumps[1]
