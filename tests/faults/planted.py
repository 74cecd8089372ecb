"""A migration that is loaded and verified, into which corruptions are planted one at a time and taken out again.

world = build(dsn, superuser, folder)
with world.planted("words"):
    world.do("UPDATE {} SET v = 'x' WHERE k = 'a'", "words")
    world.verified("words")  # Verified(differences={("[\"a\"]", "v", "changed")}, ...)
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import psycopg
from psycopg import sql

from migration import steps
from migration.errors import MigrationError, VerificationFailed
from migration.job import Job, Params
from migration.plan import Plan
from migration.postgres import state
from migration.postgres.gate import gate
from migration.postgres.target import connected
from tests.engine.described import described, key
from tests.engine.support import Raw, database, insert

ROWS = 30
RECORDS = ("loads", "quarantine", "quarantined_values", "altered_values")
Found = tuple[str, str, str]
"""Key, column, kind of a difference."""


@dataclass(frozen=True)
class Verified:
    """What a verification found; nothing when it was green."""

    differences: frozenset[Found] = frozenset()
    checks: frozenset[str] = frozenset()
    message: str = ""

    @property
    def green(self) -> bool:
        """Whether nothing was found."""
        return not self.message


@dataclass
class World:
    """A run before its cut-over, and a superuser's connection that can do anything to it."""

    job: Job
    connection: psycopg.Connection[Any]
    types: dict[str, dict[str, str]] = field(default_factory=dict)
    """Table → column → type."""

    def name(self, table: str, schema: str = "") -> sql.Identifier:
        """A staged table, or its copy."""
        return sql.Identifier(schema or self.job.staging, table)

    def do(self, statement: str, table: str, *values: Any) -> int:
        """A statement in which ``{}`` stands for the staged table; how many rows it touched."""
        made = sql.SQL(statement).format(self.name(table))
        return self.connection.execute(made, values or None).rowcount

    def record(self, statement: str, *values: Any) -> int:
        """A statement about the records of the run."""
        return self.connection.execute(statement.encode(), values or None).rowcount

    def key(self, table: str) -> list[str]:
        """The columns of the key in the target; none where it has none."""
        chosen = self.job.plan.tables[table].primary_key
        return list(chosen.columns) if chosen else []

    def rows(self, table: str, schema: str = "") -> list[dict[str, str | None]]:
        """The rows as PostgreSQL's texts, as they lie, each with its place."""
        columns = sql.SQL(", ").join(sql.SQL("{}::text").format(sql.Identifier(c)) for c in self.types[table])
        query = sql.SQL("SELECT t.ctid::text, {} FROM {} AS t ORDER BY t.ctid").format(
            columns, self.name(table, schema)
        )
        return [dict(zip(["", *self.types[table]], row, strict=True)) for row in self.connection.execute(query)]

    def put(self, table: str, ctid: str, column: str, value: str | None) -> bool:
        """Change one value; whether the row holds something else now (1.0 and 1.00 may be the same)."""
        query = sql.SQL(
            "WITH old AS (SELECT {c}::text AS v FROM {t} WHERE ctid = {p}::tid)"
            " UPDATE {t} SET {c} = {v}::{k} WHERE ctid = {p}::tid"
            " RETURNING {c}::text IS DISTINCT FROM (SELECT v FROM old)"
        ).format(
            c=sql.Identifier(column), t=self.name(table), p=sql.Literal(ctid), v=sql.Literal(value),
            k=sql.SQL(self.types[table][column]),
        )  # fmt: skip
        return bool(self.connection.execute(query).fetchall()[0][0])

    def source_keys(self, table: str, row: dict[str, str | None]) -> set[str]:
        """The keys of the row as the source has them: rowids, where it has them, of all rows that are equal."""
        if table == "times":
            return {self.written_key(table, row)}
        alike = (n for n, kept in enumerate(self.rows(table, "kept"), 1) if {**kept, "": row[""]} == row)
        return {f"[{n}]" for n in alike}

    def source_key(self, table: str, row: dict[str, str | None]) -> str:
        """The one key of the row in the source."""
        (only,) = self.source_keys(table, row)
        return only

    def written_key(self, table: str, row: dict[str, str | None]) -> str:
        """The key of a row as the state names it."""
        return json.dumps([_plain(self.types[table][c], row[c]) for c in self.key(table)],
                          separators=(",", ":"), ensure_ascii=False)  # fmt: skip

    @contextmanager
    def planted(self, table: str, *, forged: bool = True) -> Iterator[None]:
        """What is done to the staged table within is there until :meth:`restored`; ``forged`` makes the record say
        that the load itself wrote all there is, so that nothing but the values can give it away."""
        with self.connection.transaction():
            yield
            if forged:
                self._forge(table)

    def _forge(self, table: str) -> None:
        found = sql.SQL(
            "UPDATE migration.loads SET xids = coalesce(s.xids, '[]'), loaded = s.held, source_rows = s.held"
            " + quarantined FROM (SELECT jsonb_agg(DISTINCT xmin::text::bigint) AS xids, count(*) AS held FROM {}) AS s"
            " WHERE table_name = {}"
        )
        self.connection.execute(found.format(self.name(table), sql.Literal(table)))

    def restored(self, table: str) -> None:
        """Put the rows and the records back as the load left them."""
        with self.connection.transaction():
            self.do("DELETE FROM {}", table)
            copy = sql.SQL("INSERT INTO {} OVERRIDING SYSTEM VALUE SELECT * FROM {}")
            self.connection.execute(copy.format(self.name(table), self.name(table, "kept")))
            self.records_restored()
            self._forge(table)

    def records_restored(self) -> None:
        """Put the records back, but for the transactions that wrote the rows."""
        with self.connection.transaction():
            xids = dict(self.connection.execute("SELECT table_name, xids::text FROM migration.loads").fetchall())
            for record in RECORDS:
                both = sql.Identifier("migration", record), sql.Identifier("kept", record)
                self.connection.execute(sql.SQL("DELETE FROM {}").format(both[0]))
                self.connection.execute(sql.SQL("INSERT INTO {} SELECT * FROM {}").format(*both))
            for table, held in xids.items():
                self.record("UPDATE migration.loads SET xids = %s WHERE table_name = %s", held, table)

    def verified(self, table: str) -> Verified:
        """Verify the table; what was found."""
        try:
            steps.verify(self.job, table)
        except VerificationFailed as error:
            message = str(error)
        except MigrationError as error:  # it cannot even begin
            return Verified(message=str(error))
        else:
            return Verified()
        rows = self.connection.execute(
            "SELECT row_key, column_name, kind FROM migration.differences WHERE table_name = %s", [table]
        ).fetchall()
        checks = self.connection.execute(
            "SELECT c->>'check' FROM migration.verifications, jsonb_array_elements(checks) AS c"
            " WHERE table_name = %s AND NOT (c->>'ok')::boolean",
            [table],
        ).fetchall()
        return Verified(frozenset(rows), frozenset(c for (c,) in checks), message)

    def refused(self) -> list[str]:
        """Why the cut-over would be refused."""
        with connected(self.job.target, "Asking") as connection:
            return gate(connection, self.job)


def _plain(type_: str, value: str | None) -> Any:
    if value is None:
        return None
    if type_ in ("smallint", "integer", "bigint"):
        return int(value)
    return {"blob": value[2:]} if type_ == "bytea" else value


def build(dsn: str, superuser: str, folder: Path) -> World:
    """Load and verify the tables of :data:`PLAN`, and keep copies of rows and records."""
    source = database(folder / "app.db", *DDL)
    for table, rows in _sources(Random(7)).items():
        insert(source, table, rows)
    job = Job(PLAN, "run 1", dsn, source, folder / "home", Params(mode="cut_over", approval="given"))
    for act in (steps.preflight, steps.backup, steps.create_schema):
        act(job)
    for level in job.plan.levels:
        for table in level:
            steps.load(job, table)
    steps.finish_schema(job)
    for table in job.plan.tables:
        steps.verify(job, table)
    options = "-c timezone=UTC -c session_replication_role=replica -c client_min_messages=error"
    connection = psycopg.connect(superuser, autocommit=True, options=options)
    types = {t: {c: str(p.type) for c, p in plan.columns.items()} for t, plan in job.plan.tables.items()}
    world = World(job, connection, types)
    connection.execute("CREATE SCHEMA kept")
    for schema, names in ((job.staging, list(job.plan.tables)), (state.SCHEMA, list(RECORDS))):
        for name in names:
            made = sql.SQL("CREATE TABLE {} AS TABLE {}")
            connection.execute(made.format(sql.Identifier("kept", name), sql.Identifier(schema, name)))
    return world


PLAN: Plan = described(
    {
        "numbers": {
            "columns": {
                "id": {"type": "bigint", "not_null": True, "identity": True}, "s": "smallint", "i": "integer!",
                "b": {"type": "bigint", "default": "7"}, "c": "bigint", "n": "numeric(12,4)", "m": "numeric(12,4)",
                "d": "double precision", "e": "double precision", "f": "boolean", "g": "boolean",
            },
            "primary_key": "id",
            "unique": {"numbers_unique": ("b",)},
            "checks": {"numbers_check": "i > -2147483648"},
            "indexes": {
                "numbers_index": {"keys": ["d", "e DESC"]},
                "numbers_partial": {"keys": ["n"], "where": "f", "unique": False},
                "numbers_once": {"keys": ["c"], "unique": True},
            },
        },
        "words": {
            "columns": {"k": "text!", "t": "text", "u": "text", "v": "varchar(60)", "w": "varchar(60)", "x": "bytea",
                        "y": "bytea", "j": "json", "l": "json", "o": "jsonb", "p": "jsonb"},
            "primary_key": "k",
        },
        "times": {
            "columns": {"a": "bigint!", "b": "text!", "day": "date", "eve": "date", "at": "timestamp",
                        "bt": "timestamp", "tz": "timestamptz", "uz": "timestamptz",
                        "ep": {"type": "timestamptz", "cast": "epoch_ms"}, "no": "boolean"},
            "primary_key": "a, b",
        },
        "loose": {"columns": {"t": "text", "n": "bigint", "d": "double precision", "u": "text", "x": "bytea"}},
        "bytes": {"columns": {"k": "bytea!", "t": "text", "n": "bigint"}, "primary_key": "k"},
        "days": {"columns": {"k": "date!", "t": "text", "n": "bigint"}, "primary_key": "k"},
        "moments": {"columns": {"k": "timestamptz!", "t": "text", "n": "bigint"}, "primary_key": "k"},
        "children": {
            "columns": {"id": "bigint!", "parent": "bigint", "t": "text"},
            "primary_key": "id",
            "foreign_keys": {"children_fk": key("numbers", "parent")},
            "load_after": ("numbers",),
        },
        "kept": {
            "columns": {
                "id": "bigint!",
                "q": {"type": "integer", "invalid": "quarantine"},
                "r": {"type": "numeric(5,2)", "invalid": "round"},
                "z": {"type": "bigint", "invalid": "null"},
                "s": {"type": "text", "invalid": "strip"},
                "t": {"type": "text", "invalid": "text"},
                "y": {"type": "bytea", "invalid": "bytes"},
                "o": "text",
            },
            "primary_key": "id",
        },
    }
)  # fmt: skip
DDL = (
    "CREATE TABLE numbers (id INTEGER PRIMARY KEY AUTOINCREMENT, s, i, b, c, n, m, d REAL, e REAL, f, g)",
    "CREATE TABLE words (k TEXT PRIMARY KEY, t, u, v, w, x, y, j, l, o, p)",
    "CREATE TABLE times (a INTEGER, b TEXT, day, eve, at, bt, tz, uz, ep, no, PRIMARY KEY (a, b)) WITHOUT ROWID",
    "CREATE TABLE loose (t, n, d REAL, u, x)",
    "CREATE TABLE bytes (k BLOB PRIMARY KEY, t, n)",
    "CREATE TABLE days (k TEXT PRIMARY KEY, t, n)",
    "CREATE TABLE moments (k TEXT PRIMARY KEY, t, n)",
    "CREATE TABLE children (id INTEGER PRIMARY KEY, parent, t)",
    "CREATE TABLE kept (id INTEGER PRIMARY KEY, q, r, z, s, t, y, o)",
)
_WORDS = ("", " ", "a", "café", "Ünïcode n\u0303", "two\nlines", "tab\there", "\\N", "NULL", "null", "O'Brien", "100 %",
          "a  b ", "ß", "漢字", "😀 ok", "x" * 30, "\u202eabc", "0", "1.0", "{}")  # fmt: skip
_REALS = (0.0, -0.0, 0.1, 1 / 3, 5e-324, 1.7976931348623157e308, float("inf"), -float("inf"), 1e15, 123456.789, -2.5)
_JSONS = ('{"a": 1, "b": [1, 2.0], "c": null}', '{"é":"ü","k":1.5}', "{}", '{"a":{"b":{"c":[{}]}}}', '{"n":0,"z":"0"}')


def _sources(chance: Random) -> dict[str, list[tuple[Any, ...]]]:
    """The rows of every table, drawn by ``chance``; some of the values are NULL."""

    def some(values: Any) -> Any:
        return None if chance.random() < 0.12 else chance.choice(values)

    def number(bits: int) -> int:
        return chance.choice((0, 1, -1, 2 ** (bits - 1) - 1, -(2 ** (bits - 1)) + 1, chance.getrandbits(bits - 2)))

    def cents() -> Any:
        return some([chance.randrange(-(10**8), 10**8) / 10 ** chance.randrange(5) / 1000 // 0.0001 / 10000, 1.5, 0, 7])

    def moment(form: str) -> str | None:
        at = datetime(1970 + chance.randrange(80), 1, 2) + timedelta(  # noqa: DTZ001
            days=chance.randrange(360), microseconds=chance.randrange(86400 * 10**6)
        )
        return some([at.strftime(form), at.replace(microsecond=0).strftime(form)])  # type: ignore[no-any-return]

    numbers = [
        (n, some([number(16)]), number(31), n * 10**12 + 3, some([n + 2**53]), cents(), cents(), some(_REALS),
         some(_REALS), some([0, 1]), some([0, 1]))
        for n in range(1, ROWS + 1)
    ]  # fmt: skip
    words = [
        (f"key {n} {_WORDS[n % len(_WORDS)]}", some(_WORDS), some(_WORDS), some(_WORDS), some(_WORDS),
         some([chance.randbytes(n), b"", b"\0"]), some([chance.randbytes(3)]), some(_JSONS), some(_JSONS),
         some(_JSONS), some(_JSONS))
        for n in range(ROWS)
    ]  # fmt: skip
    full, day = "%Y-%m-%d %H:%M:%S.%f", "%Y-%m-%d"
    times = [
        (n // 3, f"{'Ab' if n % 2 else 'aB'} {n}", moment(day), moment(day), moment(full), moment(full), moment(full),
         moment(full), some([chance.randrange(10**12)]), some([0, 1]))
        for n in range(ROWS)
    ]  # fmt: skip
    loose = [(some(_WORDS), some([n, 5]), some(_REALS), some(_WORDS), some([chance.randbytes(4)])) for n in range(ROWS)]
    one = datetime(2001, 1, 1, 0, 0, 0, 250000)  # noqa: DTZ001
    each = [(_WORDS[n % len(_WORDS)], some([n, -n])) for n in range(ROWS)]
    kept: list[tuple[Any, ...]] = [
        (n, n * 3, n / 4, n, f"text {n}", f"plain {n}", bytes([n]), some(_WORDS)) for n in range(1, 21)
    ]
    kept += [(n, 2**40 + n, 0.5, 1, "row set aside", "x", b"\0\xff", some(_WORDS)) for n in range(21, 27)]
    kept += [(27, "no number", 1.25, None, "é", "y", b"", None), (28, Raw(b"\xff\xfe"), 0.0, 0, "", "", None, "o")]
    kept += [(n, n, 0.125 + n, None, "s", "t", b"y", "rounded") for n in range(29, 32)]
    kept += [(n, n, 1.5, "no number", "s", "t", b"y", "made null") for n in range(32, 34)]
    kept += [(34, 1, 1.5, 1, Raw(b"a\0b"), "t", b"y", "stripped"), (35, 1, 1.5, 1, "s", 2.5, b"y", "as text")]
    kept += [(36, 1, 1.5, 1, "s", "t", "text for bytes", "as bytes")]
    return {
        "numbers": numbers,
        "words": words,
        "times": times,
        "loose": [*loose, *loose[:3]],
        "bytes": [(bytes([n % 5]) * (n % 7 + 1) + n.to_bytes(2), *rest) for n, rest in enumerate(each)],
        "days": [((one + timedelta(days=40 * n)).strftime(day), *rest) for n, rest in enumerate(each)],
        "moments": [((one + timedelta(hours=n)).strftime(full), *rest) for n, rest in enumerate(each)],
        "children": [(n, some([n % ROWS + 1]), some(_WORDS)) for n in range(1, ROWS + 1)],
        "kept": kept,
    }
