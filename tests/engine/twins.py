"""One table with difficult values in both databases, and the question whether an expression is the same in each."""

from __future__ import annotations

import datetime
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import apsw
import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from migration.derive.expressions import OVERFLOW
from migration.derive.parse import Refused
from migration.derive.translate import Translated, translate_expression
from migration.derive.values import TIMES, Carried, base_type
from tests.conftest import Server

SPACED, ISO = "YYYY-MM-DD HH24:MI:SS", 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'
INF = float("inf")

# Name: (declared in SQLite, in PostgreSQL, the values that SQLite has).
COLUMNS: dict[str, tuple[str, Carried, list[Any]]] = {
    "i8": ("INTEGER", Carried("i8", "bigint"), [None, 0, 1, -1, 2, 3, 7, 100, 2**31, 2**53, 2**53 + 1, 2**63 - 1, -(2**63)]),
    "i4": ("INT", Carried("i4", "integer"), [None, 0, 1, -1, 2, 3, 5, 10, 2**31 - 1, -(2**31)]),
    "i2": ("SMALLINT", Carried("i2", "smallint"), [None, 0, 1, -1, 2, 32767, -32768]),
    "b": ("BOOLEAN", Carried("b", "boolean", "NUMERIC"), [None, 0, 1]),
    "r": ("REAL", Carried("r", "double precision"), [None, 0.0, 1.0, -1.0, 0.5, -0.5, 1.5, 2.5, -2.5, 0.1, 0.3, 1e300, 1e-300, INF, -INF, 9007199254740992.0, 9.3e18, 0.49999999999999994, 4503599627370497.5, 2.675]),
    "num": ("NUMERIC", Carried("num", "numeric(10,2)", "NUMERIC"), [None, 0, 1, -1, 0.5, 1.25, 2.5, 12345678.99, -0.01, 3, 10]),
    "x": ("NUMERIC", Carried("x", "double precision", "NUMERIC"), [None, 0, 1, -1, 0.5, 2.5, 3, 1e300]),
    "t": ("TEXT", Carried("t", "text"), [None, "", "a", "A", "abc", "ABC", "aBc", "é", "É", "ß", "日本語", "1", "5", "05", "1.0", "%", "_", "a_c", "a%c", "a\\c", "  a ", "Z", "[", "null", "true", "x" * 3000, "a\nb", "🎉z", "it's"]),
    "nc": ("TEXT COLLATE NOCASE", Carried("nc", "text", "TEXT", "", "NOCASE"), [None, "", "a", "A", "abc", "ABC", "é", "É", "_", "Z", "z", "["]),
    "rt": ("TEXT COLLATE RTRIM", Carried("rt", "text", "TEXT", "", "RTRIM"), [None, "", "a", "a  ", "A", " a", "a b "]),
    "it": ("INTEGER_OR_TEXT", Carried("it", "text", "INTEGER", "integer_or_text"), [None, 0, 5, -7, "abc", "", "WKT"]),
    "d": ("DATE", Carried("d", "date", "NUMERIC"), [None, "2020-01-01", "1999-12-31", "2024-02-29", "9999-12-31", "0001-01-01"]),
    "ts": ("DATETIME", Carried("ts", TIMES[0], "NUMERIC", SPACED), [None, "2020-01-01 00:00:00", "2020-01-01 00:00:01", "1999-12-31 23:59:59", "9999-12-31 23:59:59"]),
    "tz": ("TEXT", Carried("tz", TIMES[0], "TEXT", ISO), [None, "2020-01-01T00:00:00.000Z", "2020-01-01T00:00:00.001Z", "1999-12-31T23:59:59.999Z"]),
    "tu": ("TEXT", Carried("tu", TIMES[1], "TEXT", "YYYY-MM-DD HH24:MI"), [None, "2020-01-01 00:00", "2020-01-01 10:01"]),
    "any": ("TEXT", Carried("any", TIMES[0], "TEXT"), [None, "2020-01-01T00:00:00Z", "2020-01-01 00:00:00"]),
    "ep": ("INTEGER", Carried("ep", TIMES[0], "INTEGER", "epoch_s"), [None, 0, 1, 1577836800, -1, 253402300799]),
    "em": ("INTEGER", Carried("em", TIMES[0], "INTEGER", "epoch_ms"), [None, 0, 1, 1577836800123, -1]),
    "bl": ("BLOB", Carried("bl", "bytea"), [None, b"", b"\0", b"a", b"A", b"\xff", b"abc"]),
    "j": ("TEXT", Carried("j", "jsonb"), [None, "{}", '{"a":"foo"}', '{"a":1}', '{"a":true}', '{"a":null}', "[1,2]", '{"a":{"b":"foo"}}', '{"a":"Foo"}', "5"]),
}  # fmt: skip
CARRIED = {name: carried for name, (_, carried, _) in COLUMNS.items()}
ROWS = 90


def stored(name: str, value: Any) -> Any:
    """What the migration puts into PostgreSQL for a value."""
    kind, form = base_type(CARRIED[name].type)[0], CARRIED[name].form
    if value is None or form == "integer_or_text":
        return None if value is None else str(value)
    if form.startswith("epoch_"):
        unit = {"epoch_s": 1_000_000, "epoch_ms": 1_000}[form]
        return datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC) + datetime.timedelta(microseconds=value * unit)
    if kind == TIMES[0]:
        return value if value.endswith("Z") else f"{value}+00"
    if kind == "boolean":
        return bool(value)
    return Decimal(repr(value)) if kind == "numeric" else value


def plain(value: Any) -> Any:
    """A value of PostgreSQL as Python has those of SQLite."""
    if isinstance(value, Decimal):
        return int(value) if value == int(value) else float(value)
    return int(value) if isinstance(value, bool) else bytes(value) if isinstance(value, memoryview) else value


def same(one: Any, two: Any) -> bool:
    """Whether SQLite's value is PostgreSQL's: numbers by value, everything else by type and value."""
    two = plain(two)
    numbers = isinstance(one, int | float) and isinstance(two, int | float)
    return bool(one == two and (numbers or type(one) is type(two)))


@dataclass(frozen=True)
class Twins:
    """Both databases, each with the table t of COLUMNS and a number n for each row."""

    sqlite: apsw.Connection
    postgres: psycopg.Connection[Any]

    def differences(self, expression: str, translated: Translated) -> list[str]:
        """Rows in which both do not agree; an overflow that the notes announce is none."""
        want: dict[Any, Any] | None = None
        with suppress(apsw.SQLError):  # abs(-2**63) is an error in both
            rows: list[Any] = self.sqlite.execute(f"SELECT n, ({expression}\n) FROM t").fetchall()
            want = dict(rows)
        try:
            query = f"SELECT n, {translated.sql} FROM t".encode()
            got = dict(self.postgres.execute(query, prepare=False).fetchall())
        except psycopg.errors.NumericValueOutOfRange:
            announced = want is None or OVERFLOW in translated.notes
            return [] if announced else ["an overflow that no note announces"]
        if want is None:
            return ["an error in SQLite alone"]
        return [f"row {n}: {want[n]!r} and {got[n]!r}" for n in want if not same(want[n], got[n])]

    def check(self, expression: str) -> str | None:
        """Translate, compare; the PostgreSQL text, or None when it is refused."""
        translated = translate_expression(expression, columns=CARRIED)
        if isinstance(translated, Refused):
            return None
        found = self.differences(expression, translated)
        assert not found, f"{expression}\n{translated.sql}\n{found[:5]}"
        return translated.sql


@contextmanager
def twins(server: Server) -> Iterator[Twins]:
    """Both databases for as long as the block lasts."""
    name = sql.Identifier(database := f"twins_{secrets.token_hex(6)}")
    lite = apsw.Connection(":memory:")
    declared = ", ".join(f'"{k}" {c[0]}' for k, c in COLUMNS.items())
    lite.execute(f"CREATE TABLE t (n INTEGER PRIMARY KEY, {declared})")
    with psycopg.connect(server.admin, autocommit=True) as admin:
        # The locale folds É as well, so that a fold which is not A to Z alone shows.
        options = sql.SQL(" LOCALE 'C.UTF-8' ENCODING 'UTF8' TEMPLATE template0")
        admin.execute(sql.SQL("CREATE DATABASE {}").format(name) + options)
        try:
            dsn = make_conninfo(
                server.admin, dbname=database, options="-c timezone=America/New_York -c datestyle=German"
            )
            with psycopg.connect(dsn, autocommit=True) as connection:
                listed = ", ".join(f'"{k}" {c.type}' for k, c in CARRIED.items())
                connection.execute(f"CREATE TABLE t (n integer PRIMARY KEY, {listed})".encode())
                marks = ", ".join(["%s"] * (len(COLUMNS) + 1)).encode()
                for n in range(ROWS):
                    # Steps without a common factor, so that the values of two columns meet in many ways.
                    row = [c[2][(n * (place % 5 + 1) + place) % len(c[2])] for place, c in enumerate(COLUMNS.values())]
                    lite.execute(f"INSERT INTO t VALUES ({', '.join('?' * (len(row) + 1))})", (n, *row))
                    values = [n, *(stored(k, v) for k, v in zip(COLUMNS, row, strict=True))]
                    connection.execute(b"INSERT INTO t VALUES (" + marks + b")", values)
                yield Twins(lite, connection)
        finally:
            admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(name))
