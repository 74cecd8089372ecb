"""Databases of anything that SQLite can hold, and whether a migration left all of it as it was.

The comparison is this module's own: Python's sqlite3 on one side, PostgreSQL's texts on the other. It uses nothing of
the engine but the plan, which says what the columns are called and what was declared for them.
"""

from __future__ import annotations

import contextlib
import json
import math
import shutil
import sqlite3
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import apsw
import psycopg
from hypothesis import strategies as st
from psycopg import sql

from migration import steps
from migration.assess import assess
from migration.errors import MigrationError, VerificationFailed
from migration.job import Job, Params
from migration.plan import Plan
from migration.sqlite.catalog import quoted

DECLARED = (
    "", "INTEGER", "INT", "TINYINT", "SMALLINT", "INT8", "UNSIGNED BIG INT", "BOOLEAN", "REAL", "DOUBLE", "FLOAT",
    "NUMERIC", "DECIMAL(10,2)", "NUMERIC(5)", "MONEY", "TEXT", "VARCHAR(5)", "CHAR(1)", "NVARCHAR(10)", "CLOB", "BLOB",
    "LONGBLOB", "DATE", "DATETIME", "TIMESTAMP", "TIME", "JSON", "UUID", "STRING", "INTEGER_OR_TEXT",
)  # fmt: skip
KEYS = ("rowid", "none", "key", "without rowid", "two")
ENCODINGS = ("UTF-8", "UTF-16le", "UTF-16be")


@dataclass(frozen=True)
class Text:
    """A text as its code points (halves of surrogate pairs too), or as bytes that may be no text."""

    held: str | bytes

    def octets(self, encoding: str) -> bytes:
        """The bytes that the database holds."""
        return self.held if isinstance(self.held, bytes) else self.held.encode(encoding.lower(), "surrogatepass")


@dataclass(frozen=True)
class Table:
    """Columns by declared type, and the rows without their number."""

    key: str
    declared: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]


@dataclass(frozen=True)
class Database:
    """What is to be made."""

    encoding: str
    tables: tuple[Table, ...]


_text = st.text(st.characters(exclude_categories=()), max_size=12)
_words = st.sampled_from(("", " ", "a", "A", "é", "e\u0301", "\0", "a\0b", "\\N", "\\.", "t", "f", "true", "yes", "NaN",
                          "Infinity", "-0", "0x10", "1e5", " 1", "1 ", "0001", "1.50", "9223372036854775808", "\ufeffx",
                          "x" * 300, "a\r\nb\t", "\ud800", "{}", "null", '{"a":1,"a":2}', "[1.0,1e400]", '"\\u0000"',
                          "0000-00-00", "2024-02-30", "24:00:00", "2024-12-31 23:59:60", "12:30"))  # fmt: skip
_digits = st.integers(-(2**70), 2**70).map(str)
_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | _text.filter(
        lambda t: t.isprintable()
    ),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab\"é", max_size=3), inner, max_size=3),
    max_leaves=5,
).map(json.dumps)  # fmt: skip
_moments = st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30))  # noqa: DTZ001
_times = st.builds(
    lambda at, form, end: at.strftime(form).rjust(len("0001-01-01"), "0") + (end if len(form) > 8 else ""),
    _moments.filter(lambda at: at.year > 999),
    st.sampled_from(("%Y-%m-%d", "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M:%S.%f", "%Y-%m-%d %H:%M")),
    st.sampled_from(("", "", "Z", "+02:00")),
)
THEMES: dict[str, st.SearchStrategy[Any]] = {
    "integers": st.integers(-(2**63), 2**63 - 1)
    | st.sampled_from((0, 1, -1, 2**15, 2**31, 2**53 + 1, 2**63 - 1, -(2**63))),
    "small integers": st.integers(-3, 3),
    "booleans": st.integers(0, 1),
    "reals": st.floats(allow_nan=False) | st.sampled_from((0.0, -0.0, math.inf, -math.inf, 5e-324, 2.0**63, 1e22)),
    "whole reals": st.integers(-(10**6), 10**6).map(float),
    "cents": st.integers(-(10**9), 10**9).map(lambda n: n / 100),
    "epochs": st.integers(10**9, 2 * 10**9) | st.integers(10**12, 2 * 10**12),
    "texts": _text.map(Text),
    "words": _words.map(Text),
    "digits": _digits.map(Text),
    "bytes as text": st.binary(max_size=8).map(Text),
    "JSON": _json.map(Text),
    "times": _times.map(Text),
    "blobs": st.binary(max_size=12),
}
"""What the values of a column can be like."""


@st.composite
def databases(draw: st.DrawFn, most_rows: int = 25) -> Database:
    """A few tables, each column of one theme or a mixture."""
    return Database(draw(st.sampled_from(ENCODINGS)), tuple(draw(st.lists(_tables(most_rows), min_size=1, max_size=3))))


@st.composite
def _tables(draw: st.DrawFn, most_rows: int) -> Table:
    columns = draw(st.lists(_columns(), min_size=1, max_size=5))
    values = [values for _, values in columns]
    least = draw(st.sampled_from((0, most_rows // 2, most_rows)))  # small lists are what a draw prefers by itself
    rows = draw(st.lists(st.tuples(*values), min_size=least, max_size=most_rows))
    return Table(draw(st.sampled_from(KEYS)), tuple(declared for declared, _ in columns), tuple(rows))


@st.composite
def _columns(draw: st.DrawFn) -> tuple[str, st.SearchStrategy[Any]]:
    themes = draw(st.lists(st.sampled_from(sorted(THEMES)), min_size=1, max_size=2))
    return draw(st.sampled_from(DECLARED)), st.none() | st.one_of(*(THEMES[theme] for theme in themes))


def make(path: Path, wanted: Database) -> int:
    """Write the file; how many rows there are. Rows that a key refuses are left out."""
    path.unlink(missing_ok=True)
    connection, count = apsw.Connection(str(path)), 0
    connection.execute(f"PRAGMA encoding = '{wanted.encoding}'; PRAGMA synchronous = OFF")
    with connection:
        for number, table in enumerate(wanted.tables):
            columns = [f"c{i} {declared}" for i, declared in enumerate(table.declared)]
            n = "n INTEGER PRIMARY KEY" if table.key == "rowid" else "n INTEGER"
            keyed = {"key": ["PRIMARY KEY (c0)"], "two": ["PRIMARY KEY (c0, n)"]}
            rest = keyed.get(table.key, ["PRIMARY KEY (n)"] if table.key == "without rowid" else [])
            end = " WITHOUT ROWID" if table.key == "without rowid" else ""
            connection.execute(f"CREATE TABLE t{number} ({', '.join([n, *columns, *rest])}){end}")
            for place, row in enumerate(table.rows):
                marks = ", ".join("CAST(? AS TEXT)" if isinstance(v, Text) else "?" for v in row)
                values = [v.octets(wanted.encoding) if isinstance(v, Text) else v for v in row]
                with contextlib.suppress(apsw.MismatchError):  # a rowid takes integers only
                    connection.execute(f"INSERT OR IGNORE INTO t{number} VALUES (?, {marks})", [place, *values])
                    count += connection.changes()
    connection.close()
    return count


def moved(source: Path, home: Path, dsn: str, encoding: str) -> str:
    """Assess, load and verify; what came of it. Anything but a sentence, or any difference, is raised."""
    _clear(dsn)
    shutil.rmtree(home, ignore_errors=True)  # the snapshot of the example before
    try:
        plan = assess(source, home, target=dsn, replace=True).plan
        job = Job(plan, "run", dsn, source, home, Params())
        steps.preflight(job)
        steps.backup(job)
        steps.create_schema(job)
        for level in plan.levels:
            for table in level:
                steps.load(job, table)
        steps.finish_schema(job)
        for table in plan.tables:
            steps.verify(job, table)
    except VerificationFailed as error:
        raise AssertionError(f"what was loaded is not what there was: {error}") from error
    except MigrationError as error:
        return f"refused by a sentence ({type(error).__name__})"
    aside = Comparison(source, dsn, job, encoding).compare()
    return "equal, some rows or values kept aside with their bytes" if aside else "equal, every value"


def _clear(dsn: str) -> None:
    with psycopg.connect(dsn, autocommit=True, options="-c client_min_messages=warning") as connection:
        query = "SELECT nspname FROM pg_namespace WHERE nspname ~ '^staging_' OR nspname = 'migration'"
        for (schema,) in connection.execute(query).fetchall():
            connection.execute(sql.SQL("DROP SCHEMA {} CASCADE").format(sql.Identifier(schema)))


class Comparison:
    """One file against what became of it."""

    def __init__(self, source: Path, dsn: str, job: Job, encoding: str) -> None:
        self.source, self.dsn, self.job, self.encoding = source, dsn, job, encoding
        self.plan: Plan = job.plan

    def compare(self) -> int:
        """How many rows and values were kept aside; AssertionError names the first that is not as it was."""
        aside = 0
        options = "-c timezone=UTC -c extra_float_digits=3 -c bytea_output=hex"
        with psycopg.connect(self.dsn, options=options) as target, sqlite3.connect(self.source) as sqlite:
            for table in self.plan.tables:
                aside += self._table(table, sqlite, target)
        sqlite.close()
        return aside

    def _table(self, table: str, sqlite: sqlite3.Connection, target: psycopg.Connection[Any]) -> int:
        names = [str(r[1]) for r in sqlite.execute(f"PRAGMA table_info({quoted(table)})")]
        read = ", ".join(
            f"typeof({n}), CASE typeof({n}) WHEN 'text' THEN CAST({n} AS BLOB) ELSE {n} END" for n in names
        )
        rows = {}
        for row in sqlite.execute(f"SELECT {read} FROM {quoted(table)}"):
            rows[row[1]] = dict(zip(names, zip(row[::2], row[1::2], strict=True), strict=True))
        there = self._loaded(table, names, target)
        held = self._quarantined(table, target)
        altered = self._altered(table, target)
        assert not there.keys() & held.keys(), f"{table}: {there.keys() & held.keys()} are in both"
        assert there.keys() | held.keys() == rows.keys(), f"{table}: {rows.keys() ^ (there.keys() | held.keys())}"
        for number, values in held.items():
            expected = {n: (kind, self._octets(kind, stored)) for n, (kind, stored) in rows[number].items()}
            assert values == expected, f"{table} row {number}: quarantined as {values}, was {expected}"
        used = 0
        for number, values in there.items():
            for name, (type_, value) in values.items():
                kind, stored = rows[number][name]
                where = f"{table}.{name} of row {number}, {kind} {stored!r}: {value!r} in {type_}"
                if (kept := altered.get((name, kind, self._octets(kind, stored)))) and not self._equal(
                    table, name, type_, value, kind, stored
                ):
                    assert self._declared(kept, type_, value, kind, stored), f"{where}, altered by {kept}"
                    used += 1
                else:
                    assert self._equal(table, name, type_, value, kind, stored), where
        return len(held) + used

    def _loaded(self, table: str, names: Sequence[str], target: psycopg.Connection[Any]) -> dict[int, dict[str, Any]]:
        plan, name = self.plan.tables[table], self.plan.target_table(table)
        types = {n: str(plan.columns[n].type) for n in names}
        columns = [
            sql.SQL("float8send({})" if types[n] == "double precision" else "{}" if types[n] == "bytea" else "{}::text")
            .format(sql.Identifier(plan.target_column(n))) for n in names
        ]  # fmt: skip
        query = sql.SQL("SELECT {} FROM {}").format(sql.SQL(", ").join(columns), sql.Identifier(self.job.staging, name))
        found = {}
        for row in target.execute(query):
            found[int(row[0])] = {n: (types[n], v) for n, v in zip(names, row, strict=True)}
        count = sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(self.job.staging, name))
        assert target.execute(count).fetchall() == [(len(found),)]
        return found

    def _quarantined(self, table: str, target: psycopg.Connection[Any]) -> dict[int, dict[str, Any]]:
        query = (
            "SELECT row_key, column_name, storage_class, value FROM migration.quarantined_values WHERE table_name = %s"
        )
        by_key: dict[str, dict[str, Any]] = {}
        for key, column, kind, value in target.execute(query, [table]):
            by_key.setdefault(key, {})[column] = (kind, value)
        listed = target.execute("SELECT row_key FROM migration.quarantine WHERE table_name = %s", [table]).fetchall()
        assert {k for (k,) in listed} == by_key.keys()
        return {int(values["n"][1]): values for values in by_key.values()}

    def _altered(self, table: str, target: psycopg.Connection[Any]) -> dict[tuple[str, str, bytes | None], str]:
        query = "SELECT column_name, storage_class, value, action FROM migration.altered_values WHERE table_name = %s"
        return {(c, kind, value): action for c, kind, value, action in target.execute(query, [table])}

    def _octets(self, kind: str, stored: Any) -> bytes | None:
        if kind == "null":
            return None
        return stored if isinstance(stored, bytes) else repr(stored).encode()

    def _declared(self, action: str, type_: str, value: Any, kind: str, stored: Any) -> bool:
        """Whether the value is what its declared alteration makes of the stored one."""
        match action:
            case "text":
                return kind in ("integer", "real") and value == repr(stored)
            case "bytes" if kind == "text":
                try:
                    return bool(value == stored.decode(self.encoding.lower()).encode())
                except UnicodeDecodeError:
                    return bool(value == stored)
            case "bytes":
                return bool(value == self._octets(kind, stored))
        return False

    def _equal(self, table: str, name: str, type_: str, value: Any, kind: str, stored: Any) -> bool:
        """Whether the target's value says just what the stored one does."""
        if kind == "null" or value is None:
            return kind == "null" and value is None
        cast = self.plan.tables[table].cast(name)
        match type_.partition("(")[0]:
            case "bytea":
                return kind == "blob" and value == stored
            case "double precision":
                number = kind in ("integer", "real")
                return number and _exactly(float(stored)) == _exactly(stored) and value == struct.pack(">d", stored)
            case "smallint" | "integer" | "bigint":
                return kind in ("integer", "real") and int(value) == stored
            case "numeric":
                return kind in ("integer", "real") and Decimal(value) == Decimal(repr(stored))
            case "boolean":
                return kind == "integer" and {"true": 1, "false": 0}[value] == stored
            case "text" | "varchar":
                return (
                    bool(value == str(stored)) if kind == "integer" else kind == "text" and self._text(stored) == value
                )
            case "json":
                return kind == "text" and self._text(stored) == value
            case "jsonb":
                return kind == "text" and _parsed(self._text(stored)) == _parsed(value)
            case "date" | "timestamp" | "timestamptz":
                return _instant(value) == (_instant(self._text(stored)) if kind == "text" else _epoch(cast, stored))
        raise AssertionError(type_)

    def _text(self, stored: bytes) -> str:
        return stored.decode(self.encoding.lower())


def _exactly(number: float) -> Fraction | float:
    return Fraction(number) if math.isfinite(number) else number


def _parsed(text: str) -> Any:
    return json.loads(text, parse_float=Decimal, parse_int=Decimal, parse_constant=str)


def _instant(text: str) -> datetime:
    at = datetime.fromisoformat(text.replace("+00", "+00:00") if text.endswith("+00") else text)
    return at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC)


def _epoch(cast: str | None, stored: float) -> datetime:
    per = {"epoch_s": 1, "epoch_ms": 10**3, "epoch_us": 10**6, "epoch_ns": 10**9}
    if cast == "webkit_us":
        return datetime(1601, 1, 1, tzinfo=UTC) + timedelta(microseconds=int(stored))
    assert cast in per, cast
    micros = Fraction(repr(stored)) * 10**6 / per[cast]
    assert micros.denominator == 1
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=int(micros))
