"""./run as its user meets it: a fresh copy of the project, one command, a migrated database."""

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psycopg
import pytest

from tests.fresh import fresh_checkout, run

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def checkout() -> Iterator[Path]:
    with fresh_checkout() as copy:
        yield copy


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


@pytest.mark.parametrize("command", [[], ["assess"]])
def test_a_file_that_is_no_database_ends_with_its_message_before_anything_starts(
    checkout: Path, tmp_path: Path, command: list[str]
) -> None:
    (tmp_path / "letter.db").write_text("Dear reader, this is not a database. " * 100)
    ended = run(checkout, *command, str(tmp_path / "letter.db"))
    assert ended.returncode == 1
    assert re.fullmatch("./run: The source .*letter.db is not a SQLite database, .*\n", ended.stderr)
    assert "Target" not in ended.stdout
    assert "Assessing" not in ended.stdout


def database(path: Path, *statements: str) -> Path:
    with closing(sqlite3.connect(path)) as connection, connection:
        for statement in statements:
            connection.execute(statement)
    return path


def test_any_database_is_assessed_and_migrated_in_one_go_when_there_is_nothing_to_decide(
    checkout: Path, tmp_path: Path
) -> None:
    shop = database(
        tmp_path / "My shop.db",
        "CREATE TABLE customers (id INTEGER PRIMARY KEY, name TEXT NOT NULL)",
        "CREATE TABLE orders (id INTEGER PRIMARY KEY, customer_id INTEGER REFERENCES customers(id), total REAL)",
        "INSERT INTO customers VALUES (1, 'Ada'), (2, 'Bo')",
        "INSERT INTO orders VALUES (1, 2, 0.125), (2, NULL, NULL)",
    )
    ended = run(checkout, str(shop))
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "Grade   A" in ended.stdout
    assert "./run psql -d my_shop opens the database" in ended.stdout
    asked = run(
        checkout,
        "psql",
        "-d",
        "my_shop",
        "-qAtc",
        "SELECT name, total FROM customers JOIN orders ON customer_id = customers.id",
    )
    assert asked.stdout == "Bo|0.125\n"
    again = run(checkout, str(shop), "--on-live-tables", "retire")
    assert again.returncode == 0, again.stdout + again.stderr
    assert "Grade" not in again.stdout  # its plan is there now


def test_what_a_person_has_to_decide_stops_before_airflow_until_the_proposals_are_taken(
    checkout: Path, tmp_path: Path
) -> None:
    mixed = database(
        tmp_path / "mixed.db",
        "CREATE TABLE t (id INTEGER PRIMARY KEY, v INTEGER)",
        "INSERT INTO t VALUES (1, 'x'), (2, 3)",
    )
    stopped = run(checkout, str(mixed))
    assert stopped.returncode == 3
    assert "Grade   B" in stopped.stdout
    assert "Nothing was migrated yet" in stopped.stdout
    assert "Starting Airflow" not in stopped.stdout
    taken = run(checkout, str(mixed), "--name", "mixed_too", "--accept")
    assert taken.returncode == 0, taken.stdout + taken.stderr
    asked = run(checkout, "psql", "-d", "mixed_too", "-qAtc", "SELECT v FROM t ORDER BY id")
    assert asked.stdout == "x\n3\n"


def test_an_assessment_alone_writes_plan_and_report_and_starts_no_airflow(checkout: Path, tmp_path: Path) -> None:
    one = database(tmp_path / "one.db", "CREATE TABLE t (id INTEGER PRIMARY KEY)", "INSERT INTO t VALUES (1)")
    ended = run(checkout, "assess", str(one), "--name", "only_one")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert (checkout / "include/plans/only_one.yaml").exists()
    assert (checkout / ".local/migration/assessments/only_one/report.html").exists()
    assert processes_of(checkout) == []


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
