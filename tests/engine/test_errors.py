"""Driver errors become sentences for the operator: what failed, whether to try again, and no password."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import apsw
import psycopg
import pytest

from migration.errors import MigrationError, SourceError, TargetError, TransientError, masked, translated
from migration.postgres.target import connected
from tests.conftest import Server
from tests.engine.support import database


@pytest.mark.parametrize(
    "text",
    [
        "postgresql://user:s3cret@host/db",
        "postgresql://user:s3cret@host:5432,other:5432/db?sslmode=require",
        "postgresql://user:s3c@s3cret@host/db",
        "postgresql://:s3cret@host/db",
        "postgresql+psycopg://user:s3c:ret@host/db",
        "postgres//user:s3cret@host",
        "postgresql://host/db?user=u&password=s3cret&sslmode=require",
        "host=h password=s3cret dbname=d",
        "host=h PASSWORD = 's3c ret' dbname=d",
        r"password='s3c\' ret' dbname=d",
        "sslpassword=s3cret",
    ],
)
def test_no_password_of_a_connection_string_is_shown(text: str) -> None:
    shown = masked(f"cannot use {text}")
    assert "s3c" not in shown
    assert "ret" not in shown
    assert "***" in shown


@pytest.mark.parametrize(
    "text",
    ["no password here", "at 10:30 mail a@b.c", "http://host/path", "a: b@c", "key=value", "ratio 3:4@5"],
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert masked(text) == text


def test_only_the_password_is_masked() -> None:
    assert masked("postgresql://user:x@host/db?sslmode=require") == "postgresql://user:***@host/db?sslmode=require"
    assert masked("host=h password='a b' dbname=d") == "host=h password=*** dbname=d"
    assert masked("postgresql://h/d?password=x&user=u") == "postgresql://h/d?password=***&user=u"


@pytest.mark.parametrize(
    ("state", "kind", "words"),
    [
        ("08006", TransientError, ""),
        ("40001", TransientError, ""),
        ("40P01", TransientError, ""),
        ("53100", TransientError, "the target's disk is full .*Free space there"),
        ("53200", TransientError, ""),
        ("53300", TransientError, ""),
        ("55P03", TransientError, ""),
        ("57014", TransientError, "statement_timeout"),
        ("57P01", TransientError, ""),
        ("58030", TransientError, ""),
        ("25006", TargetError, "read-only .*primary server"),
        ("42501", TargetError, "lacks a right .*Grant it"),
        ("22P02", TargetError, r"PostgreSQL refused \(22P02\)"),
        ("23505", TargetError, r"PostgreSQL refused \(23505\)"),
        ("42P01", TargetError, r"PostgreSQL refused \(42P01\)"),
        ("XX001", TargetError, r"PostgreSQL refused \(XX001\)"),
    ],
)
def test_the_servers_word_decides_whether_another_try_is_worth_it(
    state: str, kind: type[MigrationError], words: str, server: psycopg.Connection[Any]
) -> None:
    statement = f"DO $$BEGIN RAISE 'first{{ }}\nline' USING ERRCODE = '{state}', DETAIL = 'and detail'; END$$"
    with pytest.raises(MigrationError, match=f"^Doing it: .*{words}") as raised, translated("Doing it"):
        server.execute(statement.encode())
    assert type(raised.value) is kind
    assert "first{ } line; and detail" in str(raised.value)
    assert isinstance(raised.value.__cause__, psycopg.Error)


@pytest.fixture
def server(target_dsn: str) -> Any:
    """A connection to an empty database."""
    with psycopg.connect(target_dsn, autocommit=True) as connection:
        yield connection


@pytest.mark.parametrize(
    ("change", "kind", "words"),
    [
        ("dbname=nowhere", TargetError, 'database "nowhere" does not exist. Correct the target'),
        ("user=nobody_there", TargetError, "nobody_there"),
        ("port=1", TransientError, "Connection refused"),
        ("host=no-such-host.invalid", TransientError, "no-such-host.invalid"),
        ("hostt=s3cret", TargetError, "invalid connection option"),
        ("postgres//u:s3cret@h", TargetError, "in connection info string"),
        ("password='s3cret", TargetError, "unterminated quoted string"),
    ],
)
def test_a_target_that_cannot_be_reached_is_one_sentence_without_secrets(
    change: str, kind: type[MigrationError], words: str, target_dsn: str
) -> None:
    with pytest.raises(MigrationError, match=words) as raised, connected(f"{target_dsn} {change}", "Trying"):
        pass
    assert type(raised.value) is kind
    message = str(raised.value)
    assert message.startswith("Trying: ")
    assert "\n" not in message
    assert "s3cret" not in message


def test_a_connection_that_the_server_ends_is_worth_another_try(postgres_server: Server, target_dsn: str) -> None:
    def work() -> None:
        with connected(target_dsn, "Working") as connection:
            pid = connection.info.backend_pid
            with psycopg.connect(postgres_server.admin) as admin:
                admin.execute("SELECT pg_terminate_backend(%s)", [pid])
            connection.execute("SELECT pg_sleep(1)")

    with pytest.raises(TransientError, match="^Working: "):
        work()


def test_work_is_committed_at_the_end_and_rolled_back_on_any_error(target_dsn: str) -> None:
    def make(table: str, divisor: int) -> None:
        with connected(target_dsn, "Making") as connection:
            connection.execute(f"CREATE TABLE {table} ()")
            _ = 1 / divisor

    make("kept", 1)
    with pytest.raises(ZeroDivisionError):
        make("lost", 0)
    with connected(target_dsn, "Looking") as connection:
        found = connection.execute("SELECT to_regclass('kept') IS NULL, to_regclass('lost') IS NULL").fetchone()
    assert found == (False, True)


def test_an_error_of_ours_passes_unchanged() -> None:
    with pytest.raises(SourceError, match="^as it is$"), translated("Doing it"):
        raise SourceError("as it is")


def test_an_error_of_ours_survives_the_way_between_processes() -> None:
    error = pickle.loads(pickle.dumps(TransientError("with its message")))
    assert type(error) is TransientError
    assert str(error) == "with its message"


def locked(path: Path) -> None:
    holder = apsw.Connection(str(path))
    holder.execute("BEGIN EXCLUSIVE")
    apsw.Connection(str(path)).execute("SELECT * FROM t").fetchall()


def no_database(path: Path) -> None:
    path.write_bytes(b"SQLite format 4\0" + b"x" * 5000)
    apsw.Connection(str(path)).execute("SELECT * FROM sqlite_schema").fetchall()


def corrupt(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[4096:8192] = b"\xff" * 4096
    path.write_bytes(data)
    apsw.Connection(str(path)).execute("SELECT * FROM t").fetchall()


def full(path: Path) -> None:
    connection = apsw.Connection(str(path))
    connection.execute("PRAGMA max_page_count = 3")
    connection.execute("INSERT INTO t VALUES (zeroblob(1000000))")


def wrong(path: Path) -> None:
    apsw.Connection(str(path)).execute("SELECT no_such_column FROM t")


@pytest.mark.parametrize(
    ("act", "kind", "words"),
    [
        (locked, SourceError, "another process holds a lock .* Stop the application's writer"),
        (no_database, SourceError, "not a SQLite database, or it is encrypted"),
        (corrupt, SourceError, "the SQLite file is corrupt .* Restore it from a backup"),
        (full, TransientError, "Check the disk and its space"),
        (wrong, SourceError, "SQLite refused: no such column"),
    ],
)
def test_sqlites_word_becomes_advice(act: Any, kind: type[MigrationError], words: str, tmp_path: Path) -> None:
    path = database(tmp_path / "app.db", "CREATE TABLE t (v)", "INSERT INTO t VALUES (1)")
    with (
        pytest.raises(MigrationError, match=f"^Reading app.db: .*{words}") as raised,
        translated("Reading app.db"),
    ):
        act(path)
    assert type(raised.value) is kind
