"""A view in PostgreSQL shows the rows that it shows in SQLite, or is refused with its reason."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from typing import Any

import apsw
import psycopg
import pytest

from migration.derive.parse import Refused
from migration.derive.queries import FIRST_ROW, UNORDERED
from migration.derive.relations import Relation
from migration.derive.values import Carried
from migration.derive.views import ViewSql, translate_view
from migration.sqlite.catalog import read_catalog
from tests.conftest import Server
from tests.engine.twins import CARRIED, Twins, plain, twins

PEOPLE = {
    "id": Carried("id", "bigint"),
    "Name": Carried("full name", "text"),
    "boss": Carried("boss", "integer"),
    "active": Carried("active", "boolean", "NUMERIC"),
}
RELATIONS = {
    "t": Relation("t", {"n": Carried("n", "integer"), **CARRIED}),
    "people": Relation("the people", PEOPLE, "id"),
}


@pytest.fixture(scope="module")
def both(postgres_server: Server) -> Iterator[Twins]:
    with twins(postgres_server) as found:
        rows = [(i, None if i % 5 == 0 else "abc" if i % 5 == 1 else chr(65 + i), i % 7, i % 2) for i in range(1, 31)]
        found.sqlite.execute("CREATE TABLE people (id INTEGER PRIMARY KEY, Name TEXT, boss INT, active BOOLEAN)")
        found.sqlite.executemany("INSERT INTO people VALUES (?, ?, ?, ?)", rows)
        found.postgres.execute(
            'CREATE TABLE "the people" (id bigint PRIMARY KEY, "full name" text, boss integer, active boolean)'
        )
        for *row, active in rows:
            found.postgres.execute('INSERT INTO "the people" VALUES (%s, %s, %s, %s)', [*row, bool(active)])
        found.postgres.execute("SET datestyle = 'ISO'")  # the driver reads times in no other
        yield found


def shown(value: Any) -> Any:
    """A value without its type: times as SQLite's text, numbers as numbers."""
    if isinstance(value, datetime.datetime):
        return value.astimezone(datetime.UTC).strftime("%Y-%m-%d %H:%M:%S")
    return str(value) if isinstance(value, datetime.date) else plain(value)


def translate(lite: apsw.Connection, select: str) -> ViewSql | Refused:
    lite.execute("DROP VIEW IF EXISTS v")
    lite.execute(f"CREATE VIEW v AS {select}")
    (view,) = read_catalog(lite).views
    assert view.error is None
    return translate_view(view.select, {c.name: f"the {c.name}" for c in view.columns}, RELATIONS, "the view")


VIEWS = [
    "SELECT * FROM people",
    "SELECT p.*, t.n FROM t, people AS p WHERE t.i4 = p.id",
    "SELECT NAME, rowid AS r, People.BOSS FROM people",
    "SELECT people.id AS x, t.t, count(*) c, sum(t.i4) s, min(t.t) m, avg(i4) FROM people JOIN t ON t.i2 = boss GROUP BY people.id, t.t",
    "SELECT active, count(*) FROM people GROUP BY active HAVING count(*) > 2",
    "SELECT boss b, count(*) FROM people GROUP BY b",
    "SELECT boss, count(*) FROM people GROUP BY 1",
    "SELECT id a, boss FROM people WHERE a > 25",
    "SELECT id FROM people WHERE Name IN (SELECT t FROM t) OR EXISTS (SELECT 1 FROM t WHERE t.i4 = people.id)",
    "SELECT id, (SELECT max(i4) FROM t WHERE t.i2 = boss) m FROM people",
    "SELECT id, (SELECT t.n FROM t WHERE t.n = people.id) m FROM people",
    "SELECT id x, Name FROM people UNION SELECT n, t FROM t UNION ALL SELECT 1, 'zz'",
    "SELECT id FROM people INTERSECT SELECT n FROM t",
    "SELECT id FROM people EXCEPT SELECT n FROM t WHERE n > 5",
    "SELECT boss FROM people UNION SELECT active FROM people",
    "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < 5) SELECT n, n * 2 AS d FROM c",
    "WITH RECURSIVE up(id, top) AS (SELECT id, Name FROM people WHERE id < 3 UNION SELECT p.id, top FROM people p JOIN up ON p.boss = up.id) SELECT * FROM up",
    "WITH a AS (SELECT boss, count(*) AS c FROM people GROUP BY boss) SELECT a.boss, c, p.id FROM a LEFT JOIN people p ON p.id = a.c",
    "SELECT id, row_number() OVER (PARTITION BY boss ORDER BY id DESC) rn, sum(boss) OVER (PARTITION BY active) s FROM people",
    "SELECT id, lag(id) OVER (ORDER BY id) FROM people",
    "SELECT id, CASE WHEN active THEN 'yes' ELSE 'no' END, active = 1 AS eq, NOT active AS nb, active FROM people",
    "SELECT x.id, y.id FROM people x LEFT JOIN people y USING (Name) WHERE x.id < y.id",
    "SELECT * FROM people AS a NATURAL JOIN people AS b",
    "SELECT * FROM (SELECT boss, max(id) AS m FROM people GROUP BY boss) s JOIN people ON people.id = s.m",
    "SELECT people.id FROM people CROSS JOIN t ON people.id = t.n",
    "SELECT t.n FROM t LEFT JOIN people p ON t.i4 = p.id WHERE p.id IS NULL",
    "SELECT p.id, t.n FROM people p RIGHT JOIN t ON t.n = p.id",
    "SELECT count(DISTINCT Name), count(Name), total(boss), sum(boss) FILTER (WHERE active), sum(active), max(active) FROM people",
    "SELECT boss, group_concat(Name, ';') FROM (SELECT boss, Name FROM people WHERE Name = 'abc') GROUP BY boss",
    "SELECT sum(num), count(num) FROM t",
    "SELECT date(ts) d, count(*) FROM t GROUP BY date(ts)",
    "SELECT max(ts), min(d), max(t), min(nullif(t, '')) FROM t GROUP BY b",
    "SELECT coalesce(ts, '1970-01-01 00:00:00') c, strftime('%Y', ts) y, ts FROM t WHERE ts >= '2000-01-01 00:00:00'",
    "SELECT n FROM t WHERE r > 1 AND num BETWEEN 0 AND 10",
    "SELECT 1 AS one, NULL AS none, 'x' AS x, 1.5 AS f, x'61' AS bytes",
    "SELECT NULL AS y, id FROM people UNION ALL SELECT Name, 5 FROM people",
    """SELECT "id" || '-' || "no column" AS z FROM people""",
    "SELECT min(id, boss) FROM people",
    "SELECT n FROM t WHERE ts > datetime('now', '-3650 days')",
    "SELECT a.id FROM (people a JOIN people b ON a.boss = b.id), t WHERE t.n = a.id",
    "SELECT NULL",
    "VALUES (1, 'a'), (NULL, 'b')",
    "WITH c(a, b) AS (VALUES (1, 2.5), (2, 3)) SELECT b, a + 1 FROM c",
    "SELECT r * ifnull((SELECT x.r FROM t x WHERE x.n = t.n + 1), 1) FROM t WHERE abs(r) < 100",
    "SELECT sum(coalesce(r, 0)) > 0 FROM t WHERE r IS NULL",
]
ORDERED = [
    "SELECT DISTINCT Name FROM people ORDER BY Name DESC",
    "SELECT id, Name FROM people ORDER BY Name, id DESC LIMIT 7",
    "SELECT id, Name FROM people ORDER BY Name COLLATE NOCASE, 1 LIMIT 5 OFFSET 5",
    "SELECT id x, Name FROM people UNION SELECT n, t FROM t ORDER BY 1, 2 LIMIT 50",
    "SELECT id AS boss, boss AS b FROM people ORDER BY boss DESC LIMIT -1",
    "SELECT ts, n FROM t WHERE ts IS NOT NULL ORDER BY ts DESC, n LIMIT 5",
]


@pytest.mark.parametrize("select", VIEWS + ORDERED)
def test_a_view_shows_the_same_rows(both: Twins, select: str) -> None:
    found = translate(both.sqlite, select)
    assert isinstance(found, ViewSql), found
    with both.postgres.transaction(force_rollback=True):
        both.postgres.execute(found.create.encode())
        got = [tuple(map(shown, row)) for row in both.postgres.execute(b'SELECT * FROM "the view"', prepare=False)]
        # A comment of its own, so that no statement of an earlier view is used again.
        want = both.sqlite.execute(
            f"SELECT * FROM v -- {VIEWS.index(select) if select in VIEWS else select}"
        ).fetchall()
    if select not in ORDERED:
        got, want = sorted(got, key=repr), sorted(want, key=repr)
    assert got == want


@pytest.mark.parametrize(
    ("select", "reason"),
    [
        ("SELECT nc, count(*) FROM t GROUP BY nc", "grouped under COLLATE NOCASE"),
        ("SELECT DISTINCT any FROM t", "not known"),
        ("SELECT any FROM t ORDER BY any LIMIT 1", "not known"),
        ("""SELECT id FROM (SELECT id, count(*) FROM people) WHERE "count(*)" > 1""", "without a name"),
        ("SELECT j.value FROM people, json_each('[1]') j", "not carried"),
        ("SELECT id FROM people WHERE (id, boss) IN (SELECT n, i4 FROM t)", "TUPLE"),
        ("SELECT json_extract(j, '$.a') FROM t", "JSON"),
        ("SELECT id FROM people WHERE Name > boss", "compared with a number"),
        ("SELECT sum(id) OVER (ORDER BY id ROWS 1 PRECEDING) FROM people", "frame"),
    ],
)
def test_a_view_that_may_show_other_rows_is_refused(both: Twins, select: str, reason: str) -> None:
    found = translate(both.sqlite, select)
    assert isinstance(found, Refused), found
    assert reason in found.reason


def test_what_lies_too_deep_is_refused(both: Twins) -> None:
    found = translate(both.sqlite, f"SELECT {'abs(' * 150}id{')' * 150} FROM people")
    assert isinstance(found, Refused), found
    assert "deep" in found.reason
    found = translate(both.sqlite, f"SELECT id FROM people WHERE {' OR '.join(f'id = {n}' for n in range(150))}")
    assert isinstance(found, ViewSql), found


def test_what_postgresql_does_not_allow_shows_when_the_view_is_made(both: Twins) -> None:
    found = translate(both.sqlite, "SELECT boss, Name FROM people GROUP BY boss")
    assert isinstance(found, ViewSql)
    with pytest.raises(psycopg.errors.GroupingError), both.postgres.transaction():
        both.postgres.execute(found.create.encode())


def test_notes_say_what_depends_on_more_than_the_rows(both: Twins) -> None:
    for select, note in (
        ("SELECT id, (SELECT n FROM t WHERE i2 = boss) FROM people", FIRST_ROW),
        ("SELECT any FROM t ORDER BY any", UNORDERED),
    ):
        found = translate(both.sqlite, select)
        assert isinstance(found, ViewSql)
        assert note in found.notes


def test_a_view_reads_a_view_by_its_target_names(both: Twins) -> None:
    first = translate(both.sqlite, "SELECT id AS i, Name, active, active = 1 AS eq FROM people")
    assert isinstance(first, ViewSql)
    select = "SELECT i, eq + 1 AS e FROM v WHERE active AND name = 'abc'"
    second = translate_view(select, {"i": "i", "e": "e"}, {"v": first.relation}, "second")
    assert isinstance(second, ViewSql), second
    with both.postgres.transaction(force_rollback=True):
        both.postgres.execute(first.create.encode())
        both.postgres.execute(second.create.encode())
        got = both.postgres.execute("SELECT * FROM second ORDER BY i", prepare=False).fetchall()
    both.sqlite.execute("DROP VIEW IF EXISTS v")
    both.sqlite.execute("CREATE VIEW v AS SELECT id AS i, Name, active, active = 1 AS eq FROM people")
    assert got == both.sqlite.execute(f"{select} ORDER BY i").fetchall()
