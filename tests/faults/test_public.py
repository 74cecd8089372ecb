"""The corrupted databases that SQLite's own tests keep: each is refused by a sentence, or copied as it reads and assessed."""

from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from migration.assess import assess
from migration.errors import MigrationError
from migration.sqlite.catalog import quoted
from migration.sqlite.snapshot import take
from tests.corpus.fetching import Workshop, sqlite_sources
from tests.engine.support import in_a_process
from tests.faults.ledger import Ledger

COLLECTIONS = ("fuzzdata3.db", "fuzzdata7.db")
TOGETHER = 100


@pytest.fixture(scope="module")
def databases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[tuple[int, bytes]]]:
    """All of each collection, from SQLite's sources as Debian has them."""
    sources = sqlite_sources(Workshop(tmp_path_factory.mktemp("workshop")))
    found = {}
    for name in COLLECTIONS:
        with closing(sqlite3.connect(next(sources.glob(f"sqlite3-*/test/{name}")))) as collection:
            query = "SELECT dbid, dbcontent FROM db WHERE length(dbcontent) > 0 ORDER BY 1"
            found[name] = collection.execute(query).fetchall()
    return found


def read(path: Path) -> dict[bytes, Any]:
    """The rows of each table as Python's own driver reads them, or that it cannot."""
    found: dict[bytes, Any] = {}
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro&immutable=1", uri=True)) as connection:
        connection.text_factory = bytes
        listed = connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table' AND rootpage > 0").fetchall()
        for (name,) in listed:
            try:
                query = f"SELECT * FROM {quoted(name.decode())} NOT INDEXED"
                found[name] = sorted(map(repr, connection.execute(query)))
            except (sqlite3.Error, UnicodeDecodeError) as error:
                found[name] = type(error).__name__
    return found


def outcome(path: Path) -> str:
    """What becomes of a file."""
    home = path.parent / "home"
    try:
        take(path, home / "snapshot")
        if read(path) != read(home / "snapshot" / "snapshot.db"):
            return "copied with other rows"
        try:
            assess(path, home, target=None)
        except MigrationError:
            return "copied as it reads, assessment refused"
        return "copied as it reads, assessed"
    except MigrationError as error:
        return "refused by a sentence" if str(error).strip() else "refused without a word"
    except BaseException as error:
        return f"{type(error).__name__}: {error}"
    finally:
        shutil.rmtree(home, ignore_errors=True)


KNOWN = ("refused by a sentence", "copied as it reads, assessed", "copied as it reads, assessment refused")


@pytest.mark.parametrize("name", COLLECTIONS)
def test_a_corrupted_database_of_sqlites_own_tests_is_refused_or_copied_as_it_reads(
    databases: dict[str, list[tuple[int, bytes]]],
    name: str,
    tmp_path: Path,
    ledger: Ledger,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("migration.plan.PLANS", tmp_path / "plans")
    path, told = tmp_path / "app.db", tmp_path / "told.json"
    assert len(databases[name]) > 2000
    unknown: dict[int, str] = {}
    for first in range(0, len(databases[name]), TOGETHER):
        some = databases[name][first : first + TOGETHER]

        def each(some: list[tuple[int, bytes]] = some) -> None:
            found = {}
            for number, content in some:
                path.write_bytes(content)
                found[number] = outcome(path)
                shutil.rmtree(tmp_path / "plans", ignore_errors=True)
                told.write_text(json.dumps(found))

        ended = in_a_process(each, seconds=300)
        found = {int(n): said for n, said in json.loads(told.read_text()).items()}
        if ended:
            found[some[len(found)][0]] = f"ended with {ended}"
        for said in found.values():
            ledger.tried("Source", f"corrupted databases of SQLite's {name}", said, wrong=said not in KNOWN)
        unknown |= {n: said for n, said in found.items() if said not in KNOWN}
    assert not unknown
