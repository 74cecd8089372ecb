"""./run as its user meets it: a fresh copy of the project, one command, a migrated database."""

import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from local.files import ROOT

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def checkout() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="a fresh checkout ") as folder:
        copy = Path(folder)
        copy.chmod(0o755)  # started by root, the server's user must be able to enter
        made_here = shutil.ignore_patterns(".local", ".git", "__pycache__", ".*_cache", ".hypothesis")
        shutil.copytree(ROOT, copy, ignore=made_here, dirs_exist_ok=True)
        yield copy
        run(copy, "stop")


def run(checkout: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(checkout / "run"), *arguments]
    return subprocess.run(command, cwd="/", stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=900)


def processes_of(checkout: Path) -> list[str]:
    """Everything that runs from this copy or inside it, the PostgreSQL server aside."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            inside = (entry / "cwd").readlink().is_relative_to(checkout)
        except OSError:
            continue  # it has ended
        if (inside or str(checkout) in command) and "postgres" not in command:
            found.append(command)
    return found


def test_the_sample_migrates_with_one_command_and_again_with_the_next(checkout: Path) -> None:
    first = run(checkout)
    assert first.returncode == 0, first.stdout + first.stderr
    assert processes_of(checkout) == []
    url = re.search("^ *DATABASE_URL=(.*)$", first.stdout, re.MULTILINE)
    assert url
    with psycopg.connect(url[1]) as connection:
        row = connection.execute("SELECT count(*), max(id) FROM memory_entities").fetchone()
    assert row
    assert row[0] > 1000
    assert row[1] > row[0]
    second = run(checkout)
    assert second.returncode == 0, second.stdout + second.stderr
    asked = run(checkout, "psql", "-qAtc", "SELECT count(*) FROM memory_entities")
    assert asked.stdout == f"{row[0]}\n"


def test_a_file_that_is_no_database_ends_with_its_message(checkout: Path, tmp_path: Path) -> None:
    (tmp_path / "letter.db").write_text("Dear reader, this is not a database. " * 100)
    ended = run(checkout, str(tmp_path / "letter.db"), "--rehearsal")
    assert ended.returncode == 1
    assert re.search(
        "^preflight failed:\n  SourceError: .*letter.db is not a SQLite database", ended.stdout, re.MULTILINE
    )
    assert "The migration failed." in ended.stdout
    assert "report failed" not in ended.stdout
    assert "DATABASE_URL" not in ended.stdout
    assert ended.stderr == ""


def test_live_tables_are_not_replaced_unasked(checkout: Path) -> None:
    """The sample was cut over above; the same file given by name is a database of the user's own."""
    ended = run(checkout, str(checkout / ".local" / "sample" / "widgettdc.db"))
    assert ended.returncode == 1
    assert "live tables hold rows: decisions (300 rows" in ended.stdout
    assert ended.stdout.rstrip().endswith("widgettdc.db' --on-live-tables retire")


def test_stop_leaves_nothing_behind(checkout: Path) -> None:
    assert run(checkout, "stop").stdout.strip().endswith("Stopped.")
    assert run(checkout, "stop").stdout.strip() == "Nothing was running."
    assert processes_of(checkout) == []
