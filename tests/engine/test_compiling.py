"""What PostgreSQL does not take of a described target is found by name, each by itself, and nothing stays of it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from migration.plan import Plan
from migration.postgres.compiling import Uncompiled, uncompilable
from tests.engine.described import described, key
from tests.engine.staged import admin
from tests.engine.support import schemas


@pytest.fixture
def connection(target_dsn: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(target_dsn, autocommit=True) as found:
        yield found


def named(found: tuple[Uncompiled, ...]) -> dict[tuple[str, str, str], str]:
    return {(f.kind, f.table, f.name): f.reason for f in found}


def odd() -> Plan:
    """A plan with every kind of object, all of them right."""
    child = {
        "columns": {
            "id": {"type": "bigint", "identity": True},
            "100%s": {"type": "integer", "default": "7 % 4", "rename": 'the "%s"'},
            "b": {"type": "boolean", "default": "1 IN (1, 2)"},
            "double": {"type": "integer", "generated": '"the ""%s""" * 2', "not_null": True},
            "p": "integer",
        },
        "primary_key": "id",
        "unique": {'u "%s"': ["100%s", "p"]},
        "checks": {"c": '"the ""%s""" % 2 <> 5', "q": "b OR p > 0"},
        "indexes": {"i": {"keys": ["(double % 3) DESC", '"the ""%s""" NULLS FIRST'], "where": "b"}},
        "foreign_keys": {"f": key("p a", "p", deferred=True, not_valid=True), "self": key("child", "p")},
    }
    parent = {
        "columns": {"id": "integer!", "c": "bigint"}, "primary_key": "id", "foreign_keys": {"back": key("child", "c")},
        "indexes": {"h": {"keys": ["c"], "method": "hash"}},
    }  # fmt: skip
    views = {"first": "CREATE VIEW first AS SELECT double % 2 AS x FROM child", "v": "CREATE VIEW v AS TABLE first"}
    return described({"child": child, "p a": parent}, views)


def test_what_is_right_compiles(connection: psycopg.Connection[Any]) -> None:
    assert uncompilable(connection, odd()) == ()


@pytest.mark.parametrize(
    ("change", "names", "reason"),
    [
        ({"columns": {"a": {"type": "integer", "default": "'x'::text"}}}, ("default", "a"), "is of type integer but"),
        ({"columns": {"a": {"type": "integer", "default": "("}}}, ("default", "a"), "syntax error"),
        ({"columns": {"a": {"type": "text", "generated": "now()::text"}}}, ("generated column", "a"), "not immutable"),
        ({"columns": {"a": "integer", "ctid": "text"}}, ("table", "t"), 'column name "ctid" conflicts'),
        ({"columns": {"a": {"type": "text", "identity": True}}}, ("table", "t"), "identity column type must be"),
        ({"columns": {"é" * 32: "text"}}, ("table", "t"), "is longer than 63 bytes"),
        ({"columns": {"a": "json"}, "primary_key": "a"}, ("primary key", "t_pkey"), "json has no default operator"),
        ({"columns": {"a": "json"}, "unique": {"u": ["a"]}}, ("unique constraint", "u"), "json has no default operator"),
        ({"columns": {"a": "text"}, "unique": {"u": ["a"]}}, None, ""),
        ({"columns": {"a": "text"}, "unique": {"x" * 64: ["a"]}}, ("unique constraint", "x" * 64), "longer than 63"),
        ({"columns": {"a": "text"}, "unique": {"t": ["a"]}}, ("unique constraint", "t"), 'relation "t" already exists'),
        ({"columns": {"a": "text"}, "checks": {"c": "a"}}, ("check", "c"), "must be type boolean"),
        ({"columns": {"a": "text"}, "checks": {"c": "b = 1"}}, ("check", "c"), 'column "b" does not exist'),
        ({"columns": {"a": "text"}, "indexes": {"i": {"keys": ["(b)"]}}}, ("index", "i"), 'column "b" does not exist'),
        ({"columns": {"a": "text"}, "indexes": {"t": {"keys": ["a"]}}}, ("index", "t"), 'relation "t" already exists'),
        ({"columns": {"a": "text"}, "foreign_keys": {"f": key("t", "a", to=("a",))}}, ("foreign key", "f"), "no unique"),
    ],
)  # fmt: skip
def test_an_object_that_does_not_compile_is_named(
    connection: psycopg.Connection[Any], change: dict[str, Any], names: tuple[str, str] | None, reason: str
) -> None:
    found = uncompilable(connection, described({"t": change}))
    assert [(f.kind, f.name) for f in found] == ([names] if names else [])
    assert all(f.table == "t" and reason in f.reason and "\n" not in f.reason for f in found)


def test_one_bad_object_hides_no_other(connection: psycopg.Connection[Any]) -> None:
    plan = odd()
    child = plan.tables["child"]
    columns = child.columns | {
        "b": child.columns["b"].model_copy(update={"default": "5"}),
        "double": child.columns["double"].model_copy(update={"generated": "p + random()"}),
    }
    worse = {
        "columns": columns,
        "checks": {"bad": "nothing", **child.checks},
        "indexes": {"a": child.indexes["i"].model_copy(update={"keys": ("zzz",)}), **child.indexes},
    }
    views = plan.views | {
        "w": plan.views["v"].model_copy(update={"create": "CREATE VIEW w AS SELECT gone FROM child"}),
        "x": plan.views["v"].model_copy(update={"create": "CREATE VIEW y AS SELECT 1 AS one"}),
        "z": plan.views["v"].model_copy(update={"create": "CREATE VIEW z AS SELECT * FROM w"}),
    }
    tables = {"child": child.model_copy(update=worse), "p a": plan.tables["p a"]}
    found = uncompilable(connection, plan.model_copy(update={"tables": tables, "views": views}))
    assert [(f.kind, f.table, f.name) for f in found] == [
        ("default", "child", "b"),
        ("generated column", "child", "double"),
        ("check", "child", "bad"),
        ("index", "child", "a"),
        ("view", "", "w"),
        ("view", "", "z"),
        ("view", "", "x"),
    ]
    assert named(found)["view", "", "x"] == "its statement creates no view x"
    assert str(found[3]) == 'table child: index a does not compile: column "zzz" does not exist'
    assert str(found[4]) == 'view w does not compile: column "gone" does not exist'


def test_a_table_that_does_not_compile_takes_only_what_needs_it(connection: psycopg.Connection[Any]) -> None:
    bad = {"columns": {"id": "integer!", "xmin": "text"}, "primary_key": "id", "indexes": {"i": {"keys": ["id"]}}}
    good = {"columns": {"p": "integer"}, "foreign_keys": {"f": key("bad", "p")}, "indexes": {"j": {"keys": ["zz"]}}}
    found = named(uncompilable(connection, described({"bad": bad, "good": good})))
    assert list(found) == [("table", "bad", "bad"), ("index", "good", "j"), ("foreign key", "good", "f")]


def test_generated_columns_of_each_other_do_not_compile(connection: psycopg.Connection[Any]) -> None:
    one, two = {"type": "integer", "generated": "a + 1"}, {"type": "integer", "generated": "one + 1"}
    for columns in ({"a": "integer", "one": one, "two": two}, {"a": "integer", "two": two, "one": one}):
        found = uncompilable(connection, described({"t": {"columns": columns}}))
        assert [f.kind for f in found] == ["generated column"]


def test_nothing_stays_whatever_the_statements_say(target_dsn: str, connection: psycopg.Connection[Any]) -> None:
    plan = described(
        {"t": {"columns": {"a": {"type": "integer", "default": "0); COMMIT; CREATE TABLE public.stays (a int); --"}}}},
        {"v": "CREATE VIEW v AS SELECT 1 AS one; COMMIT", "w": "CREATE VIEW public.w AS SELECT 1 AS one"},
    )
    before = schemas(target_dsn)
    assert [f.kind for f in uncompilable(connection, plan)] == ["default", "view", "view"]
    assert schemas(target_dsn) == before
    with admin(target_dsn) as other:
        assert other.execute("SELECT count(*) FROM pg_class WHERE relname IN ('stays', 'w', 't')").fetchone() == (0,)
    assert connection.execute("SHOW search_path").fetchone() == ('"$user", public',)


def test_what_waits_for_a_lock_is_no_refusal(target_dsn: str, connection: psycopg.Connection[Any]) -> None:
    """A view may read a table of the target's own, which somebody holds for the moment."""
    connection.execute("CREATE TABLE public.held (a int)")
    connection.execute("SET lock_timeout = '100ms'")
    plan = described({"t": {"columns": {"a": "integer"}}}, {"v": "CREATE VIEW v AS SELECT a FROM public.held"})
    with psycopg.connect(target_dsn) as holder:
        holder.execute("LOCK TABLE public.held")
        with pytest.raises(psycopg.errors.LockNotAvailable):
            uncompilable(connection, plan)
        holder.rollback()
    assert uncompilable(connection, plan) == ()


def test_two_at_once_do_not_meet(target_dsn: str) -> None:
    found: list[tuple[Uncompiled, ...]] = []

    def work() -> None:
        with psycopg.connect(target_dsn, autocommit=True) as mine:
            found.append(uncompilable(mine, odd()))

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [(), (), ()]


def test_hundreds_of_tables_take_seconds(connection: psycopg.Connection[Any]) -> None:
    columns = {"id": {"type": "bigint", "identity": True}, **{f"c{n}": "text" for n in range(9)}, "p": "bigint"}
    tables = {
        f"t{n}": {
            "columns": columns | {"c1": {"type": "text", "default": "''"}},
            "primary_key": "id",
            "unique": {f"u{n}": ["c1"]},
            "checks": {f"c{n}": "c1 <> 'x'" if n % 10 else "c1"},
            "indexes": {f"i{n}": {"keys": ["c2"]}},
            "foreign_keys": {f"f{n}": key(f"t{n // 2}", "p")},
        }
        for n in range(400)
    }
    plan = described(tables)
    found = uncompilable(connection, plan)
    assert [f.kind for f in found] == ["check"] * 40
