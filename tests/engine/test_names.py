"""Every name of a source has one in PostgreSQL, which takes them all; what could not stay is told with its reason."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import apsw
import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from psycopg import sql

from migration.catalog import Catalog, Check, Column, ForeignKey, Index, IndexKey, Table, View
from migration.derive.names import LONGEST, Names, names, shortened
from migration.sqlite.catalog import read_catalog
from tests.conftest import Server


def of(*statements: str) -> Names:
    connection = apsw.Connection(":memory:")
    for statement in statements:
        connection.execute(statement)
    return names(read_catalog(connection))


def test_names_that_postgresql_can_have_stay_as_they_are() -> None:
    found = of(
        'CREATE TABLE "Order by" ("Select" INT, "select it" INT, "quo""te" INT, "a.b" INT, "表" INT, oid INT, "%s" INT)',
        'CREATE INDEX "An Index" ON "Order by" ("Select")',
        'CREATE VIEW "View" AS SELECT 1 AS "One"',
    )
    assert found.renames == ()
    assert all(source == target for source, target in found.tables.items())
    assert all(source == target for (_, source), target in found.columns.items())
    assert found.indexes == {("Order by", "An Index"): "An Index"}


@pytest.mark.parametrize("name", ["ctid", "xmin", "cmin", "xmax", "cmax", "tableoid"])
def test_system_columns_names_get_a_suffix(name: str) -> None:
    found = of(f"CREATE TABLE t ({name} INT, {name}_ INT)")
    assert found.columns == {("t", name): f"{name}__2", ("t", f"{name}_"): f"{name}_"}
    (rename,) = found.renames
    assert (rename.kind, rename.table, rename.source) == ("column", "t", name)
    assert "system column" in rename.reason
    assert of(f"CREATE TABLE t ({name.upper()} INT)").renames == ()


def test_names_beyond_63_bytes_are_cut_and_stay_distinct() -> None:
    long = "ä" * 40
    found = of(
        f"CREATE TABLE {long} ({long}a INT, {long}b INT)",
        f"CREATE TABLE {long}2 (a INT)",
        f"CREATE TABLE {'x' * 63} (a)",
    )
    targets = [*found.tables.values(), *found.columns.values()]
    assert all(len(t.encode()) <= LONGEST for t in targets)
    assert len(set(found.tables.values())) == 3
    assert found.tables["x" * 63] == "x" * 63
    assert found.tables[long].startswith("ä" * 20)
    assert {r.reason for r in found.renames} == {"it has more than 63 bytes"}
    assert found == of(
        f"CREATE TABLE {long} ({long}a INT, {long}b INT)",
        f"CREATE TABLE {long}2 (a INT)",
        f"CREATE TABLE {'x' * 63} (a)",
    )


def test_indexes_and_keys_give_way_to_tables_and_views() -> None:
    found = of(
        "CREATE TABLE a (x INT, CONSTRAINT b UNIQUE (x))",
        'CREATE TABLE b (x INT PRIMARY KEY, y INT CONSTRAINT "same" UNIQUE)',
        'CREATE TABLE b_pkey (x INT CONSTRAINT "same" UNIQUE)',
    )
    assert found.tables == {"a": "a", "b": "b", "b_pkey": "b_pkey"}
    assert found.indexes == {
        ("a", "sqlite_autoindex_a_1"): "b_2",
        ("b", "sqlite_autoindex_b_1"): "b_pkey_2",
        ("b", "sqlite_autoindex_b_2"): "same",
        ("b_pkey", "sqlite_autoindex_b_pkey_1"): "same_2",
    }
    assert found.keys == {"b": "b_pkey_2"}
    assert [(r.kind, r.source, r.target, r.reason) for r in found.renames] == [
        ("unique constraint", "b", "b_2", "the table b has that name"),
        ("primary key", "b_pkey", "b_pkey_2", "the table b_pkey has that name"),
        ("unique constraint", "same", "same_2", "the unique constraint same has that name"),
    ]


def test_constraints_without_names_get_postgresqls_own() -> None:
    found = of(
        'CREATE TABLE t (id INTEGER PRIMARY KEY, "A b" INT UNIQUE CHECK (1), c REFERENCES t, UNIQUE ("A b", c), CHECK (2))'
    )
    assert sorted(found.indexes.values()) == ["t_A b_c_key", "t_A b_key"]
    assert found.keys == {"t": "t_pkey"}
    assert list(found.checks.values()) == ["t_A b_check", "t_check"]
    assert list(found.foreign_keys.values()) == ["t_c_fkey"]


def test_the_name_of_an_identitys_sequence_is_kept_free() -> None:
    found = of("CREATE TABLE t (id INTEGER PRIMARY KEY, x INT)", "CREATE INDEX t_id_seq ON t (x)")
    assert found.indexes == {("t", "t_id_seq"): "t_id_seq_2"}
    assert found.renames[0].reason == "the sequence of t has that name"


def test_empty_names_and_nul_get_a_name() -> None:
    found = of('CREATE TABLE "" ("" INT, b INT)')
    assert (found.tables, found.columns) == ({"": "table"}, {("", ""): "column_1", ("", "b"): "b"})
    nul = Catalog(
        (
            Table(
                "a\0b",
                (Column("c\0", "INT", False, None, 0), Column("c_", "INT", False, None, 0)),
            ),
        )
    )
    found = names(nul)
    assert found.tables == {"a\0b": "a_b"}
    assert found.columns == {("a\0b", "c\0"): "c__2", ("a\0b", "c_"): "c_"}


@pytest.fixture(scope="module")
def names_connection(postgres_server: Server) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(postgres_server.admin) as connection:
        yield connection


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=70)
NAME = st.one_of(
    st.sampled_from(["a", "A", "t", "t_pkey", "t_a_key", "ctid", "ctid_", "x" * 64, "x" * 70, "é" * 33, ""]), TEXT
)


@st.composite
def catalogs(draw: st.DrawFn) -> Catalog:
    """Catalogs whose tables differ in name, as SQLite's do; everything else may clash."""
    tables = []
    for name in draw(st.lists(NAME, min_size=1, max_size=3, unique=True)):
        columns = draw(st.lists(NAME, min_size=1, max_size=4, unique_by=str.lower))
        indexes = tuple(
            Index(f"{name}{n}", True, origin, (IndexKey(columns[0]),), None, label)
            for n, (origin, label) in enumerate(
                draw(st.lists(st.tuples(st.sampled_from("cu"), NAME | st.none()), max_size=3))
            )
        )
        checks = tuple(Check(label, columns[0], "1") for label in draw(st.lists(NAME | st.none(), max_size=3)))
        keys = tuple(
            ForeignKey((columns[0],), "p", (), "", "", label) for label in draw(st.lists(NAME | st.none(), max_size=2))
        )
        listed = tuple(Column(c, "INTEGER", False, None, int(place == 0)) for place, c in enumerate(columns))
        tables.append(Table(name, listed, keys, checks=checks, indexes=indexes))
    taken = {t.name for t in tables}
    views = tuple(
        View(n, "", "", (Column("a", "", False, None, 0),))
        for n in draw(st.lists(NAME, max_size=2, unique=True))
        if n not in taken
    )
    return Catalog(tuple(tables), views=views)


@settings(max_examples=60, deadline=None)
@given(catalog=catalogs())
def test_postgresql_takes_every_name_unchanged(names_connection: psycopg.Connection[Any], catalog: Catalog) -> None:
    found = names(catalog)
    with names_connection.transaction(force_rollback=True):
        names_connection.execute("CREATE SCHEMA named; SET LOCAL search_path = named")
        for table in catalog.tables:
            parts = [
                sql.SQL("{} bigint {}").format(
                    sql.Identifier(found.columns[table.name, c.name]),
                    sql.SQL("GENERATED BY DEFAULT AS IDENTITY" if c.name == table.rowid_alias else ""),
                )
                for c in table.columns
            ]
            first = sql.Identifier(found.columns[table.name, table.columns[0].name])
            parts.append(
                sql.SQL("CONSTRAINT {} PRIMARY KEY ({})").format(sql.Identifier(found.keys[table.name]), first)
            )
            parts += [
                sql.SQL("CONSTRAINT {} CHECK (true)").format(sql.Identifier(found.checks[table.name, place]))
                for place in range(len(table.checks))
            ]
            own = sql.Identifier(found.tables[table.name])
            names_connection.execute(sql.SQL("CREATE TABLE {} ({})").format(own, sql.SQL(", ").join(parts)))
            for index in table.indexes:
                # Not within CREATE TABLE, where PostgreSQL drops a uniqueness that the key has already.
                unique = sql.SQL("ALTER TABLE {1} ADD CONSTRAINT {0} UNIQUE ({2})")
                make = sql.SQL("CREATE INDEX {0} ON {1} ({2})") if index.origin == "c" else unique
                name = sql.Identifier(found.indexes[table.name, index.name])
                names_connection.execute(make.format(name, own, first))
            for place in range(len(table.foreign_keys)):
                name = sql.Identifier(found.foreign_keys[table.name, place])
                add = sql.SQL("ALTER TABLE {} ADD CONSTRAINT {} FOREIGN KEY ({}) REFERENCES {} ({})")
                names_connection.execute(add.format(own, name, first, own, first))
        for view in catalog.views:
            name = sql.Identifier(found.tables[view.name])
            names_connection.execute(sql.SQL("CREATE VIEW {} AS SELECT 1 AS a").format(name))
        made = {
            row[0]
            for row in names_connection.execute(
                "SELECT relname FROM pg_class WHERE relnamespace = 'named'::regnamespace"
            )
        }
    wanted = {*found.tables.values(), *found.indexes.values(), *found.keys.values()}
    assert wanted <= made  # PostgreSQL cuts a name that is too long without an error


def test_every_rename_names_what_it_is_about() -> None:
    found = of("CREATE TABLE t (ctid INT CONSTRAINT c CHECK (1) CONSTRAINT c CHECK (2))")
    assert [(r.kind, r.table, r.source, r.target) for r in found.renames] == [
        ("column", "t", "ctid", "ctid_"),
        ("check", "t", "c", "c_2"),
    ]
    assert shortened("a" * 63) == "a" * 63
