"""Names of every kind go through all of it: a described target, its keys, checks, indexes, foreign keys and views."""

from __future__ import annotations

from pathlib import Path

import pytest

from migration.job import Job
from migration.plan import Plan
from migration.postgres.cutover import cut_over, rollback
from migration.postgres.schema import create_schema, finish_schema
from migration.preflight import backup, preflight
from migration.sqlite.catalog import quoted
from tests.engine.described import described, finish, key
from tests.engine.staged import CUT_OVER, query, unchanged
from tests.engine.support import database, insert, schemas, staged

ODD = [
    "plain",
    'quoted "twice"',
    "100%",
    "%s",
    "%(x)s",
    "a b",
    "schema.table",
    "semi;colon",
    "it's",
    "back\\slash",
    "$1",
    ":name",
    "{}",
    "select",
    "user",
    "Größe",
    "表",
    "x" * 63,
    "é" * 31,
    "__[SCHEMA_none]",
    "?",
]


def family(name: str) -> Plan:
    """A parent and a child that have the name wherever there can be one."""
    quote = quoted(name)
    cut = name[:-2] if len(name.encode()) > 60 else name
    parent = {
        "columns": {
            name: {"type": "bigint", "identity": True},
            "other": {"type": "text", "default": "'100% of %s'"},
            "double": {"type": "bigint", "generated": f"{quote} * 2"},
        },
        "primary_key": {"name": f"{cut}1", "columns": [name]},
        "unique": {f"{cut}2": [name, "other"]},
        "checks": {name: f"{quote} % 7 <> 6"},
        "indexes": {f"{cut}3": {"keys": [f"{quote} DESC", f"({quote} % 5)"], "where": f"{quote} > 0"}},
    }
    child = {
        "columns": {"id": "bigint!", name: "bigint", "late": "bigint"},
        "primary_key": "id",
        "foreign_keys": {name: key(name, name, to=(name,)), "late": key(name, "late", to=(name,), not_valid=True)},
        "indexes": {f"{cut}4": {"keys": [quote]}},
    }
    view = f"CREATE VIEW {quoted(f'{cut}5')} AS SELECT {quote}, double AS {quoted(f'{cut}6')} FROM {quote}"
    return described({name: parent, "child": child}, {f"{cut}5": view})


@pytest.mark.parametrize("name", ODD)
def test_a_name_goes_through_all_of_it(tmp_path: Path, target_dsn: str, name: str) -> None:
    source = database(
        tmp_path / "app.db",
        f"CREATE TABLE {quoted(name)} ({quoted(name)} INTEGER PRIMARY KEY, other TEXT,"
        f" double INTEGER AS ({quoted(name)} * 2))",
        f"CREATE TABLE child (id INTEGER PRIMARY KEY, {quoted(name)} INTEGER, late INTEGER)",
    )
    database(source, f"INSERT INTO {quoted(name)} VALUES (1, 'a'), (2, 'b')")
    insert(source, "child", [(1, 1, 9), (2, None, 2)])
    job = Job(family(name), "run 1", target_dsn, source, tmp_path / "home", CUT_OVER)
    preflight(job)
    backup(job)
    create_schema(job)
    finish(job)
    assert finish_schema(job)["created"] == list(job.plan.views)
    assert staged(job, name) == [(1, "a", 2), (2, "b", 4)]
    finish(job)
    cut_over(job, source_unchanged=unchanged)
    view = quoted(next(iter(job.plan.views))).replace("%", "%%")
    assert query(target_dsn, f"SELECT * FROM {view} WHERE %s ORDER BY 1", True) == [(1, 2), (2, 4)]
    again = Job(family(name), "run 2", target_dsn, source, tmp_path / "home", CUT_OVER)
    preflight(again)
    backup(again)
    create_schema(again)
    finish(again)
    cut_over(again, source_unchanged=unchanged)
    rollback(again)
    rollback(job)
    assert schemas(target_dsn) == {"public", "migration", job.staging, again.staging}


def test_objects_of_one_table_may_be_called_like_others(tmp_path: Path, target_dsn: str) -> None:
    """What PostgreSQL keeps apart: a constraint and a table, a check and a column, tables that look like sequences."""
    one = {
        "columns": {"id": {"type": "bigint", "identity": True}, "two": "bigint"},
        "primary_key": "id",
        "checks": {"two": "two > 0", "one": "id > 0"},
        "foreign_keys": {"one_pkey_": key("two", "two")},
    }
    two = {
        "columns": {"id": "bigint!", "one": "bigint"},
        "primary_key": "id",
        "checks": {"one": "one > 0", "two": "id > 0"},
    }
    sequence = {"columns": {"id": "bigint!"}, "primary_key": "id"}
    plan = described({"one_id_seq": sequence, "one": one, "two": two})
    source = database(
        tmp_path / "app.db",
        "CREATE TABLE one (id INTEGER PRIMARY KEY, two INTEGER)",
        "CREATE TABLE two (id INTEGER PRIMARY KEY, one INTEGER)",
        "CREATE TABLE one_id_seq (id INTEGER PRIMARY KEY)",
        "INSERT INTO two VALUES (1, 1)",
        "INSERT INTO one VALUES (1, 1)",
    )
    job = Job(plan, "run 1", target_dsn, source, tmp_path / "home", CUT_OVER)
    preflight(job)
    backup(job)
    create_schema(job)
    finish(job)
    cut_over(job, source_unchanged=unchanged)
    assert query(target_dsn, "INSERT INTO one (two) VALUES (1) RETURNING id") == [(2,)]
