"""What the catalog says of a SQLite database: columns, keys, what names a row, and what is no plain table."""

from __future__ import annotations

from pathlib import Path

import apsw
import pytest

from migration.catalog import Catalog, Column
from migration.errors import SourceError
from migration.sqlite.catalog import quoted, read_catalog


def catalog(*statements: str) -> Catalog:
    connection = apsw.Connection(":memory:")
    for statement in statements:
        connection.execute(statement).fetchall()
    return read_catalog(connection)


def test_columns_are_read_as_declared() -> None:
    found = catalog(
        "CREATE TABLE t (a INTEGER PRIMARY KEY, b VARCHAR(10) NOT NULL DEFAULT 'x''y', c,"
        ' "d e" DECIMAL(10, 2) DEFAULT (1 + 1))'
    )
    facts = [(c.name, c.declared_type, c.not_null, c.default, c.pk) for c in found.table("t").columns]
    assert facts == [
        ("a", "INTEGER", False, None, 1),
        ("b", "VARCHAR(10)", True, "'x''y'", 0),
        ("c", "", False, None, 0),
        ("d e", "DECIMAL(10, 2)", False, "1 + 1", 0),
    ]
    assert isinstance(found.table("t").column("c"), Column)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE sqlite_schema SET sql = CAST(x'435245415445205441424c452074202861ff20494e5429' AS TEXT) WHERE name = 't'",
        "INSERT INTO sqlite_sequence VALUES (CAST(x'74ff' AS TEXT), 5)",
    ],
    ids=["a declaration", "the table of a sequence"],
)
def test_a_schema_of_bytes_that_are_no_text_is_refused_by_a_sentence(tmp_path: Path, statement: str) -> None:
    path = str(tmp_path / "app.db")
    connection = apsw.Connection(path)
    connection.execute("CREATE TABLE t (id INTEGER PRIMARY KEY AUTOINCREMENT); PRAGMA writable_schema = ON")
    connection.execute(statement)
    connection.close()
    with pytest.raises(SourceError, match=r"schema has bytes that are no text, in '.*xff.*mend the file"):
        read_catalog(apsw.Connection(path))


def test_generated_columns_are_marked() -> None:
    found = catalog("CREATE TABLE t (a, b AS (a + 1), c AS (a * 2) STORED)").table("t")
    assert [(c.name, c.generated) for c in found.columns] == [("a", False), ("b", True), ("c", True)]


@pytest.mark.parametrize(
    ("table", "key", "alias"),
    [
        ("(id INTEGER PRIMARY KEY)", ("id",), "id"),
        ("(id integer primary key autoincrement)", ("id",), "id"),
        ("(a, id INTEGER, PRIMARY KEY (id))", ("id",), "id"),
        ("(a, id INTEGER, PRIMARY KEY (id DESC))", ("id",), "id"),
        ("(id INTEGER PRIMARY KEY DESC)", ("rowid",), None),
        ("(id INT PRIMARY KEY)", ("rowid",), None),
        ("(id BIGINT PRIMARY KEY)", ("rowid",), None),
        ("(id TEXT PRIMARY KEY)", ("rowid",), None),
        ("(a, b)", ("rowid",), None),
        ("(b TEXT, a INTEGER, PRIMARY KEY (a, b))", ("rowid",), None),
        ("(b TEXT, a INTEGER, PRIMARY KEY (a, b)) WITHOUT ROWID", ("a", "b"), None),
        ("(id INTEGER PRIMARY KEY) WITHOUT ROWID", ("id",), None),
        ("(rowid TEXT)", ("_rowid_",), None),
        ("(RowId TEXT, _ROWID_ TEXT)", ("oid",), None),
        ("(rowid TEXT, _rowid_ TEXT, OID TEXT)", (), None),
        ("(rowid, _rowid_, oid INTEGER PRIMARY KEY)", ("oid",), "oid"),
    ],
)  # fmt: skip
def test_rows_are_named_by_what_is_never_null_and_never_twice(
    table: str, key: tuple[str, ...], alias: str | None
) -> None:
    found = catalog(f"CREATE TABLE t {table}").table("t")
    assert (found.key, found.rowid_alias) == (key, alias)


def test_the_rowid_that_a_key_names_is_the_rowid() -> None:
    connection = apsw.Connection(":memory:")
    connection.execute("CREATE TABLE t (rowid TEXT, _rowid_ TEXT)")
    connection.execute("INSERT INTO t VALUES ('a', 'b')")
    (name,) = read_catalog(connection).table("t").key
    assert connection.execute(f"SELECT {quoted(name)} FROM t").fetchall() == [(1,)]


def test_foreign_keys_have_their_parents_columns() -> None:
    found = catalog(
        "CREATE TABLE p (a INTEGER, b TEXT, u TEXT UNIQUE, PRIMARY KEY (b, a))",
        "CREATE TABLE c (x, y, z REFERENCES p (u) ON DELETE CASCADE ON UPDATE SET NULL, w REFERENCES nowhere,"
        " FOREIGN KEY (x, y) REFERENCES P)",
    )
    keys = {(k.columns, k.parent, k.parent_columns, k.on_update, k.on_delete) for k in found.table("c").foreign_keys}
    assert keys == {
        (("x", "y"), "P", ("b", "a"), "NO ACTION", "NO ACTION"),
        (("w",), "nowhere", (), "NO ACTION", "NO ACTION"),
        (("z",), "p", ("u",), "SET NULL", "CASCADE"),
    }


def test_sequences_are_the_largest_id_ever_used() -> None:
    found = catalog(
        "CREATE TABLE used (id INTEGER PRIMARY KEY AUTOINCREMENT)",
        "CREATE TABLE unused (id INTEGER PRIMARY KEY AUTOINCREMENT)",
        "CREATE TABLE plain (id INTEGER PRIMARY KEY)",
        "INSERT INTO used VALUES (7), (9)",
        "INSERT INTO plain VALUES (5)",
        "DELETE FROM used",
    )
    assert {t.name: t.sequence for t in found.tables} == {"used": 9, "unused": None, "plain": None}


def test_what_an_application_wrote_into_the_sequences_does_not_matter_unless_it_is_an_id() -> None:
    found = catalog(
        "CREATE TABLE t (id INTEGER PRIMARY KEY AUTOINCREMENT)",
        "INSERT INTO t VALUES (3)",
        "INSERT INTO sqlite_sequence VALUES ('t', 'many'), ('t', 12), ('t', NULL), ('gone', 1), (NULL, 5), ('t', 2.5)",
    )
    assert found.table("t").sequence == 12


def test_views_triggers_and_virtual_tables_are_listed_apart() -> None:
    found = catalog(
        "CREATE TABLE t (a)",
        "CREATE VIEW v AS SELECT a FROM t",
        "CREATE TRIGGER tr AFTER INSERT ON t BEGIN SELECT 1; END",
        "CREATE VIRTUAL TABLE f USING fts5 (a)",
        "CREATE TABLE fx (a)",
        "CREATE TABLE sqlitex (a)",
        "ANALYZE",
    )
    assert [t.name for t in found.tables] == ["t", "fx", "sqlitex"]
    kinds = {name: kind for kind, name in found.others}
    assert (kinds["v"], kinds["tr"], kinds["f"], kinds["f_data"]) == ("view", "trigger", "virtual", "shadow")


def test_tables_come_in_the_order_in_which_they_were_made() -> None:
    names = ["z", "a", "M", "b"]
    assert [t.name for t in catalog(*(f"CREATE TABLE {n} (x)" for n in names)).tables] == names


def test_a_view_that_no_longer_works_does_not_sink_the_rest(tmp_path: Path) -> None:
    found = catalog("CREATE TABLE t (a)", "CREATE VIEW v AS SELECT gone FROM nowhere", "CREATE TABLE u (b)")
    assert [t.name for t in found.tables] == ["t", "u"]
    assert ("view", "v") in found.others


@pytest.mark.parametrize(
    "name", ['quo"te', "per%cent", "new\nline", "semi;colon", "[brackets]", "記憶", "select", " ", "'", "a.b"]
)
def test_names_of_any_characters_are_read(name: str) -> None:
    found = catalog(
        f"CREATE TABLE {quoted(name)} ({quoted(name)} INTEGER PRIMARY KEY AUTOINCREMENT, c REFERENCES {quoted(name)})",
        f"INSERT INTO {quoted(name)} VALUES (4, NULL)",
    )
    table = found.table(name)
    assert table.key == (name,)
    assert table.sequence == 4
    assert table.foreign_keys[0].parent_columns == (name,)


def test_a_table_that_is_not_there_is_a_key_error() -> None:
    with pytest.raises(KeyError):
        catalog("CREATE TABLE t (a)").table("u")
