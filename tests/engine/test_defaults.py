"""A default gives PostgreSQL the value that SQLite's applications see after an insert without the column."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from typing import Any

import apsw
import psycopg
import pytest

from migration.derive.parse import Refused
from migration.derive.translate import Translated, translate_default
from migration.derive.values import TIMES
from tests.conftest import Server
from tests.engine.twins import plain

TZ, TS = TIMES[0], TIMES[1]


@pytest.fixture(scope="module")
def connection(postgres_server: Server) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(postgres_server.admin, autocommit=True) as connection:
        connection.execute("SET timezone = 'America/New_York'; SET datestyle = 'German'")
        yield connection


def in_sqlite(default: str, affinity: str) -> Any:
    """What an insert leaves in the column; brackets are taken off as the catalog does."""
    shell = apsw.Connection(":memory:")
    shell.execute(f"CREATE TABLE d (x {affinity} DEFAULT {default}); INSERT INTO d DEFAULT VALUES")
    return shell.execute("SELECT x FROM d").get


def catalogued(default: str) -> str:
    """The text of the default as the catalog has it."""
    shell = apsw.Connection(":memory:")
    shell.execute(f"CREATE TABLE d (x DEFAULT {default})")
    return str(shell.execute("SELECT dflt_value FROM pragma_table_info('d')").get)


def in_postgres(connection: psycopg.Connection[Any], sql: str, kind: str, shown: str = "x") -> Any:
    with connection.transaction(force_rollback=True):
        connection.execute(f"CREATE TEMP TABLE d (x {kind} DEFAULT {sql})".encode())
        connection.execute("INSERT INTO d DEFAULT VALUES")
        row = connection.execute(f"SELECT {shown} FROM d".encode()).fetchone()
    assert row is not None
    return plain(row[0])


CONSTANTS = [
    ("1", "INTEGER", "bigint"),
    ("-1", "INTEGER", "smallint"),
    ("+5", "INTEGER", "integer"),
    ("0x10", "INTEGER", "bigint"),
    ("'7'", "INTEGER", "bigint"),
    ("5.0", "INTEGER", "bigint"),
    ("1_000", "INTEGER", "bigint"),
    ("(1 + 2 * 3)", "INTEGER", "bigint"),
    ("9223372036854775807", "INTEGER", "bigint"),
    ("1", "REAL", "double precision"),
    ("0.1", "REAL", "double precision"),
    ("1e300", "REAL", "double precision"),
    ("-0.5", "NUMERIC", "numeric(4,2)"),
    ("'1.50'", "NUMERIC", "numeric"),
    ("1", "NUMERIC", "boolean"),
    ("FALSE", "NUMERIC", "boolean"),
    ("true", "INTEGER", "bigint"),
    ("1", "TEXT", "text"),
    ("1.0", "TEXT", "text"),
    ("0x10", "TEXT", "text"),
    ("1e300", "TEXT", "text"),
    ("'it''s'", "TEXT", "text"),
    ("'back\\slash %s'", "TEXT", "text"),
    ('"double quoted"', "TEXT", "text"),
    ('"true"', "TEXT", "text"),
    ("bare", "TEXT", "text"),
    ("''", "TEXT", "character varying(5)"),
    ("'null'", "TEXT", "text"),
    ("'false'", "TEXT", "text"),
    ("NULL", "TEXT", "text"),
    ("null", "INTEGER", "bigint"),
    ("('a' || 'b' || 1)", "TEXT", "text"),
    ("(upper('x') || char(65))", "TEXT", "text"),
    ("x'00ff'", "BLOB", "bytea"),
    ("(printf('%05d', 42))", "TEXT", "text"),
    ("'2020-01-01'", "NUMERIC", "text"),
    ("(date('2020-02-28', '+2 days'))", "TEXT", "text"),
]  # fmt: skip


@pytest.mark.parametrize(("default", "affinity", "kind"), CONSTANTS)
def test_a_constant_is_the_value_after_sqlites_affinity(
    connection: psycopg.Connection[Any], default: str, affinity: str, kind: str
) -> None:
    found = translate_default(catalogued(default), affinity, kind)
    assert isinstance(found, Translated), found
    want, got = in_sqlite(default, affinity), in_postgres(connection, found.sql, kind)
    assert (got, type(got)) == (want, type(want)) or (kind != "text" and got == want)


at = datetime.datetime.fromisoformat
CHANGED = [
    ("'false'", "NUMERIC", "boolean", "", "x", False),
    ("'T'", "NUMERIC", "boolean", "", "x", True),
    ("'2020-01-01 10:00:00'", "NUMERIC", TZ, "", "x AT TIME ZONE 'UTC'", at("2020-01-01 10:00:00")),
    ("'2020-01-01T10:00:00.5Z'", "TEXT", TZ, "", None, None),
    ("'2020-01-01T10:00:00.500Z'", "TEXT", TZ, "", "x AT TIME ZONE 'UTC'", at("2020-01-01 10:00:00.500000")),
    ("'2020-01-01 10:00:00+02:00'", "TEXT", TZ, "", "x AT TIME ZONE 'UTC'", at("2020-01-01 08:00:00")),
    ("'2020-01-01'", "NUMERIC", "date", "", "x", datetime.date(2020, 1, 1)),
    ("'2020-01-01'", "NUMERIC", TS, "", "x", at("2020-01-01 00:00:00")),
    ("0", "INTEGER", TZ, "epoch_s", "x AT TIME ZONE 'UTC'", at("1970-01-01 00:00:00")),
    ("1500", "INTEGER", TZ, "epoch_ms", "x AT TIME ZONE 'UTC'", at("1970-01-01 00:00:01.500000")),
    ("'{}'", "TEXT", "jsonb", "", "x", {}),
    ("'[]'", "NUMERIC", "json", "", "x", []),
    ("'text'", "BLOB", "bytea", "", "x", b"text"),
    ("0", "INTEGER", "text", "integer_or_text", "x", "0"),
]  # fmt: skip


@pytest.mark.parametrize(("default", "affinity", "kind", "form", "shown", "want"), CHANGED)
def test_a_constant_has_its_form_in_the_changed_type(
    connection: psycopg.Connection[Any], default: str, affinity: str, kind: str, form: str, shown: str | None, want: Any
) -> None:
    found = translate_default(catalogued(default), affinity, kind, form)
    if shown is None:
        assert isinstance(found, Refused)
    else:
        assert isinstance(found, Translated), found
        assert in_postgres(connection, found.sql, kind, shown) == want


SPACED, ISO = "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S.%fZ"
MOVING = [
    ("CURRENT_TIMESTAMP", "TEXT", "text", "", "x", SPACED),
    ("CURRENT_DATE", "TEXT", "text", "", "x", "%Y-%m-%d"),
    ("CURRENT_TIME", "TEXT", "text", "", "x", "%H:%M:%S"),
    ("(datetime('now'))", "TEXT", "text", "", "x", SPACED),
    ("(datetime())", "TEXT", "text", "", "x", SPACED),
    ("(date('now', '+7 days'))", "TEXT", "text", "", "x", "%Y-%m-%d"),
    ("(datetime('now', 'start of month', '-1 second'))", "TEXT", "text", "", "x", SPACED),
    ("(strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))", "TEXT", "text", "", "x", ISO),
    ("(strftime('%Y-%m-%d %H:%M:%f000', 'now'))", "NUMERIC", "text", "", "x", "%Y-%m-%d %H:%M:%S.%f"),
    ("(strftime('%s', 'now'))", "TEXT", "text", "", "x", "s"),
    ("(strftime('%s', 'now'))", "INTEGER", "bigint", "", "x", "s"),
    ("(unixepoch())", "INTEGER", "bigint", "", "x", "s"),
    ("(CAST(strftime('%s', 'now') AS INTEGER))", "INTEGER", "bigint", "", "x", "s"),
    ("(strftime('%s', 'now') * 1000)", "INTEGER", "bigint", "", "x", "ms"),
    ("(unixepoch() * 1000)", "INTEGER", "bigint", "", "x", "ms"),
    ("(julianday('now'))", "REAL", "double precision", "", "x", "julian"),
    ("(strftime('%Y', 'now'))", "INTEGER", "integer", "", "x", "%Y"),
    ("CURRENT_TIMESTAMP", "NUMERIC", TZ, "", "to_char(x AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS')", SPACED),
    ("CURRENT_TIMESTAMP", "NUMERIC", TS, "", "to_char(x, 'YYYY-MM-DD HH24:MI:SS')", SPACED),
    ("CURRENT_DATE", "NUMERIC", "date", "", "to_char(x, 'YYYY-MM-DD')", "%Y-%m-%d"),
    ("(date('now'))", "NUMERIC", TZ, "", "to_char(x AT TIME ZONE 'UTC', 'YYYY-MM-DD')", "%Y-%m-%d"),
    ("(strftime('%s', 'now'))", "INTEGER", TZ, "epoch_s", "floor(extract(epoch from x))::bigint", "s"),
    ("(strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))", "TEXT", TZ, "", "to_char(x AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"')", ISO),
    ("CURRENT_TIME", "TEXT", TZ, "", None, ""),
    ("CURRENT_TIMESTAMP", "NUMERIC", "date", "", None, ""),
    ("(datetime('now', 'localtime'))", "TEXT", "text", "", None, ""),
]  # fmt: skip


def seconds(value: Any, form: str) -> float:
    """What a moving default says, as a point in time."""
    match form:
        case "s" | "ms":
            return float(value) / (1000 if form == "ms" else 1)
        case "julian":
            return (float(value) - 2440587.5) * 86400
        case _:
            found = datetime.datetime.strptime(str(value), form).replace(tzinfo=datetime.UTC)
            return found.timestamp()


@pytest.mark.parametrize(("default", "affinity", "kind", "form", "shown", "written"), MOVING)
def test_a_time_is_written_as_sqlite_writes_it_whatever_the_sessions_settings(
    connection: psycopg.Connection[Any],
    default: str,
    affinity: str,
    kind: str,
    form: str,
    shown: str | None,
    written: str,
) -> None:
    found = translate_default(catalogued(default), affinity, kind, form)
    if shown is None:
        assert isinstance(found, Refused), found
        return
    assert isinstance(found, Translated), found
    for _ in range(3):  # a second may end between the two
        want, got = in_sqlite(default, affinity), in_postgres(connection, found.sql, kind, shown)
        if form == "":
            assert type(got) is type(want) or kind in (TZ, TS, "date")
        if abs(seconds(want, written) - seconds(got, written)) < 1:
            return
    pytest.fail(f"{want!r} and {got!r}")


UUID4 = (
    "(lower(hex(randomblob(4))) || '-' || lower(hex(randomblob(2))) || '-4' || substr(lower(hex(randomblob(2))), 2)"
    " || '-' || substr('89ab', abs(random()) % 4 + 1, 1) || substr(lower(hex(randomblob(2))), 2) || '-'"
    " || lower(hex(randomblob(6))))"
)
RANDOM = [
    ("(lower(hex(randomblob(4))))", "TEXT", "text", 8, "0123456789abcdef"),
    ("(hex(randomblob(16)))", "TEXT", "text", 32, "0123456789ABCDEF"),
    ("(randomblob(20))", "BLOB", "bytea", 20, range(256)),
    (UUID4, "TEXT", "text", 36, "0123456789abcdef-"),
]  # fmt: skip


@pytest.mark.parametrize(("default", "affinity", "kind", "length", "alphabet"), RANDOM)
def test_a_random_default_is_as_random_in_every_place(
    connection: psycopg.Connection[Any], default: str, affinity: str, kind: str, length: int, alphabet: Any
) -> None:
    found = translate_default(catalogued(default), affinity, kind)
    assert isinstance(found, Translated), found
    query = f"SELECT {found.sql} FROM generate_series(1, 2000)".encode()
    values = [plain(row[0]) for row in connection.execute(query)]
    assert {len(v) for v in values} == {length}
    assert len(set(values)) == 2000
    expected = [in_sqlite(default, affinity) for _ in range(300)]
    for place in range(length):
        mine = {v[place] for v in values}
        assert mine <= set(alphabet)
        assert len(mine) > 240 or {e[place] for e in expected} <= mine, place


def test_a_random_number_is_any_of_64_bits(connection: psycopg.Connection[Any]) -> None:
    found = translate_default("random()", "INTEGER", "bigint")
    assert isinstance(found, Translated)
    rows = connection.execute(f"SELECT {found.sql} FROM generate_series(1, 500)".encode()).fetchall()
    values = [row[0] for row in rows]
    assert min(values) < -(2**62)
    assert max(values) > 2**62
    for bit in range(64):
        assert 150 < sum(v >> bit & 1 for v in values) < 350, bit


@pytest.mark.parametrize(
    ("default", "affinity", "kind", "reason"),
    [
        ("''", "INTEGER", "bigint", "text '' has no form in bigint"),
        ("'abc'", "NUMERIC", "boolean", "no form in boolean"),
        ("2", "INTEGER", "boolean", "no form in boolean"),
        ("70000", "INTEGER", "smallint", "does not fit"),
        ("1.005", "NUMERIC", "numeric(4,2)", "does not fit"),
        ("12345", "NUMERIC", "numeric(4,2)", "does not fit"),
        ("'toolong'", "TEXT", "character varying(5)", "does not fit"),
        ("'0000-00-00 00:00:00'", "NUMERIC", TZ, "no time"),
        ("'2020-02-30'", "NUMERIC", "date", "no time"),
        ("0", "NUMERIC", "text", "no form in text"),
        ("'{'", "TEXT", "jsonb", "JSON"),
        ("'[NaN]'", "TEXT", "jsonb", "NaN"),
        ("'{\"a\":1,\"a\":2}'", "TEXT", "jsonb", "a key twice"),
        ("GEN_RANDOM_UUID()", "TEXT", "text", "SQLite"),
        ("(1); DROP TABLE d; --", "TEXT", "text", "brackets|SQLite"),
        ("1), y DEFAULT (2", "TEXT", "text", "brackets"),
        ("abs(random()) % nope", "INTEGER", "bigint", "nope"),
    ],
)  # fmt: skip
def test_what_the_column_cannot_hold_is_refused(default: str, affinity: str, kind: str, reason: str) -> None:
    found = translate_default(default, affinity, kind)
    assert isinstance(found, Refused), found
    assert any(part in found.reason for part in reason.split("|")), found.reason
