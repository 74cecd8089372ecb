"""Indexes and uniqueness in PostgreSQL accept and refuse the rows that they accept and refuse in SQLite."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any

import apsw
import psycopg
import pytest

from migration.catalog import Table
from migration.derive.parse import Refused
from migration.derive.translate import NO_CASE, IndexSql, translate_index
from migration.derive.values import TIMES, Carried
from migration.sqlite.catalog import read_catalog
from tests.conftest import Server

COLUMNS = {
    "id": Carried("id", "bigint"),
    "t": Carried("the t", "text"),
    "nc": Carried("nc", "text", "TEXT", "", "NOCASE"),
    "n": Carried("n", "integer"),
    "active": Carried("active", "boolean", "NUMERIC"),
    "at": Carried("at", TIMES[0], "NUMERIC", "YYYY-MM-DD HH24:MI:SS"),
    "doc": Carried("doc", "jsonb"),
    "raw": Carried("raw", "json"),
}
DECLARED = (
    "id INTEGER PRIMARY KEY, t TEXT, nc TEXT COLLATE NOCASE, n INT, active BOOLEAN, at DATETIME, doc TEXT, raw TEXT"
)
TEXTS = [None, "", "a", "A", "é", "É", "a ", "_", "Z", "z"]


@pytest.fixture(scope="module")
def connection(postgres_server: Server) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(postgres_server.admin, autocommit=True) as connection:
        yield connection


def table(statement: str) -> tuple[apsw.Connection, Table]:
    connection = apsw.Connection(":memory:")
    connection.execute(
        f"CREATE TABLE t ({DECLARED})"
        if statement.startswith("CREATE")
        else f"CREATE TABLE t ({DECLARED}, {statement})"
    )
    if statement.startswith("CREATE"):
        connection.execute(statement)
    return connection, read_catalog(connection).table("t")


def translated(statement: str) -> IndexSql | Refused:
    found = table(statement)[1]
    return translate_index(found.indexes[-1], columns=COLUMNS, table="t")


CARRIED = [
    ("CREATE INDEX i ON t (t, n DESC)", ('"the t"', '"n" DESC'), None),
    ("CREATE UNIQUE INDEX i ON t (id)", ('"id"',), None),
    ("CREATE INDEX i ON t (nc)", ('(lower("nc" COLLATE "C"))',), None),
    ("CREATE INDEX i ON t (nc COLLATE BINARY)", ('"nc"',), None),
    ("CREATE INDEX i ON t (t COLLATE NOCASE DESC)", ('(lower("the t" COLLATE "C")) DESC',), None),
    ("CREATE INDEX i ON t (t COLLATE RTRIM)", ('(rtrim("the t") COLLATE "C")',), None),
    ("CREATE INDEX i ON t (n COLLATE NOCASE)", ('"n"',), None),
    ("CREATE INDEX i ON t (lower(t), length(t) DESC)", ('(lower("the t" COLLATE "C"))', '(length("the t")) DESC'), None),
    ("CREATE INDEX i ON t (at) WHERE active = 1", ('"at"',), '"active"'),
    ("CREATE INDEX i ON t (t) WHERE active = 0 AND n IS NOT NULL", ('"the t"',), '((NOT "active") AND ("n" IS NOT NULL))'),
    ("CREATE INDEX i ON t (t) WHERE at > '2020-01-01 00:00:00'", ('"the t"',), "(\"at\" > '2020-01-01 00:00:00+00'::timestamp with time zone)"),
    ("CREATE INDEX i ON t (date(at))", ("((\"at\" AT TIME ZONE 'UTC')::date)",), None),
    ("CREATE INDEX i ON t (doc)", ('"doc"',), None),
    ("CREATE INDEX i ON t (n) WHERE json_extract(doc, '$.kind') = 'x'", ('"n"',), "((\"doc\" #>> '{kind}') = 'x')"),
    ("UNIQUE (t, n)", ('"the t"', '"n"'), None),
]  # fmt: skip


@pytest.mark.parametrize(("statement", "keys", "where"), CARRIED, ids=[c[0] for c in CARRIED])
def test_an_index_is_carried_with_its_keys_and_predicate(
    connection: psycopg.Connection[Any], statement: str, keys: tuple[str, ...], where: str | None
) -> None:
    found = translated(statement)
    assert isinstance(found, IndexSql), found
    assert (found.keys, found.where) == (keys, where)
    create(connection, found)


def create(connection: psycopg.Connection[Any], index: IndexSql) -> None:
    listed = ", ".join(f'"{c.name}" {c.type}' for c in COLUMNS.values())
    connection.execute(f"DROP TABLE IF EXISTS pg_temp.t; CREATE TEMP TABLE t ({listed})".encode())
    where = f" WHERE {index.where}" if index.where else ""
    unique = "UNIQUE " if index.unique else ""
    connection.execute(f"CREATE {unique}INDEX i ON t ({', '.join(index.keys)}){where}".encode())


@pytest.mark.parametrize(
    ("statement", "reason"),
    [
        ("CREATE INDEX i ON t (strftime('%Y', at))", "depends on settings"),
        ("CREATE INDEX i ON t (raw)", "no order for the type json"),
        ("CREATE INDEX i ON t (t) WHERE n > t", "compared with a number"),
        ("CREATE UNIQUE INDEX i ON t (json_extract(doc, '$.a'))", "JSON"),
        ("CREATE INDEX i ON t (" + ", ".join(["n"] * 33) + ")", "at most 32 keys"),
    ],
)
def test_what_postgresql_has_no_index_for_is_refused(statement: str, reason: str) -> None:
    found = translated(statement)
    assert isinstance(found, Refused), found
    assert reason in found.reason


UNIQUE = [
    "CREATE UNIQUE INDEX i ON t (nc)",
    "UNIQUE (nc)",
    "UNIQUE (t COLLATE NOCASE)",
    "CREATE UNIQUE INDEX i ON t (t)",
    "CREATE UNIQUE INDEX i ON t (t COLLATE RTRIM)",
    "CREATE UNIQUE INDEX i ON t (upper(t))",
    "CREATE UNIQUE INDEX i ON t (t || 'x', n)",
    "CREATE UNIQUE INDEX i ON t (t) WHERE n = 1",
]


@pytest.mark.parametrize("statement", UNIQUE)
def test_uniqueness_refuses_the_same_rows(connection: psycopg.Connection[Any], statement: str) -> None:
    lite, found = table(statement)
    index = translate_index(found.indexes[-1], columns=COLUMNS, table="t")
    assert isinstance(index, IndexSql), index
    assert index.unique
    create(connection, index)
    for (one, two), n in product(product(TEXTS, TEXTS), (1, 2)):
        lite.execute("DELETE FROM t")
        connection.execute("DELETE FROM t")
        outcome = []
        for execute, mark, error in (
            (lite.execute, "?", apsw.ConstraintError),
            (connection.execute, "%s", psycopg.errors.UniqueViolation),
        ):
            name = '"the t"' if mark == "%s" else "t"
            insert: Any = f"INSERT INTO t ({name}, nc, n) VALUES ({mark}, {mark}, {n})"
            try:
                execute(insert, (one, one))
                execute(insert, (two, two))
                outcome.append(True)
            except error:
                outcome.append(False)
        assert outcome[0] == outcome[1], (one, two, n)


def test_the_columns_of_a_plain_uniqueness_are_told_so_that_it_can_be_a_constraint() -> None:
    for statement, plain in (
        ("UNIQUE (n, t)", ("n", "the t")),
        ("UNIQUE (nc)", None),
        ("CREATE UNIQUE INDEX i ON t (n) WHERE n > 0", None),
        ("CREATE UNIQUE INDEX i ON t (n + 1)", None),
    ):
        found = translated(statement)
        assert isinstance(found, IndexSql)
        assert found.plain == plain


def test_what_collate_nocase_means_to_queries_is_said_not_to_be_carried() -> None:
    found = translated("UNIQUE (nc)")
    assert isinstance(found, IndexSql)
    assert NO_CASE in found.notes


def test_lower_under_the_c_collation_folds_a_to_z_alone(connection: psycopg.Connection[Any]) -> None:
    every = "SELECT chr(c) FROM generate_series(1, 200000) AS c WHERE c NOT BETWEEN 55296 AND 57343"
    query = f"SELECT count(*), bool_and(x ~ '^[A-Z]$') FROM ({every}) AS t(x) WHERE lower(x COLLATE \"C\") <> x"
    assert connection.execute(query.encode()).fetchone() == (26, True)
    folded = 'x COLLATE "C" ILIKE upper(x) ESCAPE \'!\' AND x <> upper(x COLLATE "C")'
    query = f"SELECT count(*) FROM ({every}) AS t(x) WHERE {folded}"
    assert connection.execute(query.encode()).fetchone() == (26,)
