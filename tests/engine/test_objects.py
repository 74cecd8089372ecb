"""What the catalog says of a SQLite schema beyond tables and columns, clause by clause and in the source's own text."""

from __future__ import annotations

from pathlib import Path

import apsw
import pytest

from migration.catalog import Catalog, Check, IndexKey, Table
from migration.sqlite.catalog import read_catalog
from migration.sqlite.ddl import index_parts, table_parts, tokens, view_select, virtual_module


def catalog(*statements: str) -> Catalog:
    connection = apsw.Connection(":memory:")
    for statement in statements:
        connection.execute(statement)
    return read_catalog(connection)


def table(columns: str, *more: str) -> Table:
    return catalog(f"CREATE TABLE t ({columns})", *more).table("t")


CHECKS = [
    ("a INT CHECK (a > 0)", [(None, "a", "a > 0")]),
    ("a INT CONSTRAINT pos CHECK(a>0) CHECK (a < 9)", [("pos", "a", "a>0"), (None, "a", "a < 9")]),
    ("a, b, CHECK (a < b)", [(None, None, "a < b")]),
    ("a, b, CONSTRAINT \"the check\" CHECK (a < (b + 1))", [("the check", None, "a < (b + 1)")]),
    ("a UNIQUE CHECK (a), CONSTRAINT c CHECK (a LIKE '%)') CHECK (a <> ')')", [(None, "a", "a"), ("c", None, "a LIKE '%)'"), (None, None, "a <> ')'")]),
    ("a TEXT DEFAULT ('CHECK (1)') /* CHECK (2) */ -- CHECK (3)\n NOT NULL check(4)", [(None, "a", "4")]),
    ("a INT CONSTRAINT x NOT NULL CHECK (a)", [(None, "a", "a")]),
    ("\"check (\" INT CHECK (\"check (\" > 0)", [(None, "check (", '"check (" > 0')]),
    ("[a b] INT CHECK ([a b] > 0), `c` CHECK (`c` <> ''''), 'd' CHECK (1)", [(None, "a b", "[a b] > 0"), (None, "c", "`c` <> ''''"), (None, "d", "1")]),
    ("a DECIMAL(10, 2) CHECK\n(\n a >= 0 -- not (negative\n)", [(None, "a", "a >= 0 -- not (negative")]),
    ("a REFERENCES p (x) CHECK (a), FOREIGN KEY (a) REFERENCES p (y) ON DELETE CASCADE, CHECK (2)", [(None, "a", "a"), (None, None, "2")]),
    ("a AS (1 + 2) CHECK (a = 3), PRIMARY KEY (b) CHECK (5), b", None),
    ("ünïcödé INT CHECK (ünïcödé > 0)", [(None, "ünïcödé", "ünïcödé > 0")]),
]  # fmt: skip


@pytest.mark.parametrize(("columns", "checks"), CHECKS, ids=[c[0][:40] for c in CHECKS])
def test_checks_have_their_names_columns_and_text(
    columns: str, checks: list[tuple[str | None, str | None, str]] | None
) -> None:
    if checks is None:  # not SQL, so it cannot be in any database
        with pytest.raises(apsw.SQLError):
            table(columns)
    else:
        assert table(columns).checks == tuple(Check(*c) for c in checks)


def test_unique_and_primary_key_constraints_have_their_names_columns_and_collations() -> None:
    found = table(
        "a TEXT CONSTRAINT pk PRIMARY KEY COLLATE NOCASE, b CONSTRAINT ub UNIQUE, c, d,"
        ' CONSTRAINT "u c" UNIQUE (c COLLATE RTRIM, d DESC) UNIQUE (d)'
    )
    assert [(i.origin, i.constraint, i.unique, i.keys) for i in found.indexes] == [
        ("pk", "pk", True, (IndexKey("a", None, "NOCASE"),)),
        ("u", "ub", True, (IndexKey("b"),)),
        ("u", "u c", True, (IndexKey("c", None, "RTRIM"), IndexKey("d", None, "BINARY", True))),
        ("u", None, True, (IndexKey("d"),)),
    ]
    assert found.column("a").collation == "NOCASE"


INDEXES = [
    ("(a)", (IndexKey("a"),), None),
    ("(a DESC, b COLLATE NOCASE ASC)", (IndexKey("a", None, "BINARY", True), IndexKey("b", None, "NOCASE")), None),
    ("(a) WHERE b = 1 AND a <> ')'", (IndexKey("a"),), "b = 1 AND a <> ')'"),
    ("(a + 1, lower(b) COLLATE NOCASE DESC)", (IndexKey(None, "a + 1"), IndexKey(None, "lower(b)", "NOCASE", True)), None),
    ("(coalesce(a, b), (a))where a not null", (IndexKey(None, "coalesce(a, b)"), IndexKey("a")), "a not null"),
    ("(a /* , b */, b -- ,\n) WHERE b -- tail", (IndexKey("a"), IndexKey("b")), "b"),
    ("(id)", (IndexKey("id"),), None),
    ("(CASE WHEN a THEN 'x, y' ELSE b END ASC)", (IndexKey(None, "CASE WHEN a THEN 'x, y' ELSE b END"),), None),
]  # fmt: skip


@pytest.mark.parametrize(("rest", "keys", "where"), INDEXES, ids=[i[0] for i in INDEXES])
def test_indexes_have_their_keys_and_predicate(rest: str, keys: tuple[IndexKey, ...], where: str | None) -> None:
    found = table("id INTEGER PRIMARY KEY, a, b", f'CREATE UNIQUE INDEX "on t (a)" ON t {rest}').indexes
    assert [(i.name, i.origin, i.unique, i.keys, i.where) for i in found] == [("on t (a)", "c", True, keys, where)]


def test_generated_columns_have_their_expression_and_kind() -> None:
    found = table("a INT, b INT AS (a * (2)) STORED, c GENERATED ALWAYS AS (a || ')') VIRTUAL, d TEXT AS (upper(c))")
    facts = [(c.name, c.generated, c.expression, c.stored) for c in found.columns]
    assert facts == [
        ("a", False, None, False),
        ("b", True, "a * (2)", True),
        ("c", True, "a || ')'", False),
        ("d", True, "upper(c)", False),
    ]


def test_foreign_keys_have_their_names_and_whether_they_are_deferred() -> None:
    found = table(
        "a REFERENCES p DEFERRABLE INITIALLY DEFERRED, b CONSTRAINT fb REFERENCES p (x) ON DELETE SET NULL"
        " NOT DEFERRABLE INITIALLY DEFERRED, c REFERENCES p DEFERRABLE INITIALLY IMMEDIATE UNIQUE, d,"
        " CONSTRAINT fd FOREIGN KEY (d, c) REFERENCES q (y, z) MATCH FULL ON UPDATE CASCADE DEFERRABLE INITIALLY DEFERRED"
    )
    keys = {k.columns: (k.parent, k.name, k.deferred, k.on_update, k.on_delete) for k in found.foreign_keys}
    assert keys == {
        ("a",): ("p", None, True, "NO ACTION", "NO ACTION"),
        ("b",): ("p", "fb", False, "NO ACTION", "SET NULL"),
        ("c",): ("p", None, False, "NO ACTION", "NO ACTION"),
        ("d", "c"): ("q", "fd", True, "CASCADE", "NO ACTION"),
    }


def test_kinds_of_tables_are_told() -> None:
    found = catalog(
        "CREATE TABLE s (a INT) STRICT",
        "CREATE TABLE w (a PRIMARY KEY) WITHOUT ROWID, STRICT".replace(" PRIMARY", " TEXT PRIMARY"),
        "CREATE TABLE n (id INTEGER PRIMARY KEY AUTOINCREMENT)",
        "CREATE TABLE p (id INTEGER PRIMARY KEY)",
    )
    assert {t.name: (t.strict, t.without_rowid, t.autoincrement) for t in found.tables} == {
        "s": (True, False, False),
        "w": (True, True, False),
        "n": (False, False, True),
        "p": (False, False, False),
    }


def test_views_have_their_select_and_columns_and_broken_ones_their_error() -> None:
    found = catalog(
        "CREATE TABLE t (a INT, b TEXT)",
        "CREATE VIEW good (x, y) AS -- as\n SELECT a, b || 'as' FROM t",
        "CREATE VIEW plain AS WITH c AS (SELECT 1 AS one) SELECT * FROM c",
        "CREATE VIEW broken AS SELECT * FROM gone",
    )
    views = {v.name: (v.select, [c.name for c in v.columns], v.error) for v in found.views}
    assert views == {
        "good": ("-- as\n SELECT a, b || 'as' FROM t", ["x", "y"], None),
        "plain": ("WITH c AS (SELECT 1 AS one) SELECT * FROM c", ["one"], None),
        "broken": ("SELECT * FROM gone", [], "no such table: main.gone"),
    }


def test_triggers_have_their_table_and_text() -> None:
    text = "CREATE TRIGGER tr AFTER INSERT ON t BEGIN UPDATE t SET a = 1; END"
    (trigger,) = catalog("CREATE TABLE t (a)", text).triggers
    assert (trigger.name, trigger.table, trigger.sql) == ("tr", "t", text)


def test_shadow_tables_are_no_tables() -> None:
    found = catalog(
        "CREATE VIRTUAL TABLE docs USING fts5 (body)",
        "CREATE VIRTUAL TABLE old USING FTS4 (body)",
        "CREATE VIRTUAL TABLE box USING rtree (id, x, y)",
        "CREATE TABLE docs_archive (a)",
        "ANALYZE",
    )
    assert [t.name for t in found.tables] == ["docs_archive"]
    shadows = {v.name: (v.module, sorted(v.shadows), v.error) for v in found.virtual_tables}
    assert shadows == {
        "docs": ("fts5", ["docs_config", "docs_content", "docs_data", "docs_docsize", "docs_idx"], None),
        "old": ("fts4", ["old_content", "old_docsize", "old_segdir", "old_segments", "old_stat"], None),
        "box": ("rtree", ["box_node", "box_parent", "box_rowid"], None),
    }
    assert ("internal", "sqlite_stat1") in found.others


@pytest.fixture
def orphaned(tmp_path: Path) -> apsw.Connection:
    """A database whose virtual tables' modules are not there."""
    connection = apsw.Connection(str(tmp_path / "orphaned.db"))
    for name in ("vectors_chunks", "vectors_rowids", "vectors_vector_chunks00", "vectors_backup", "geo_idx", "plain"):
        connection.execute(f"CREATE TABLE {name} (a INTEGER PRIMARY KEY)")
    connection.execute("PRAGMA writable_schema = on")
    for name, module in (("vectors", "vec0 (v float[3])"), ("geo", "VirtualSpatialIndex()")):
        connection.execute(
            "INSERT INTO sqlite_schema VALUES ('table', ?, ?, 0, ?)",
            (name, name, f"CREATE VIRTUAL TABLE {name} USING {module}"),
        )
    connection.execute("CREATE VIEW near AS SELECT * FROM vectors")
    connection.close()
    return apsw.Connection(str(tmp_path / "orphaned.db"))


def test_a_missing_module_sinks_nothing_else(orphaned: apsw.Connection) -> None:
    found = read_catalog(orphaned)
    assert sorted(t.name for t in found.tables) == ["geo_idx", "plain", "vectors_backup"]
    virtual = {v.name: v for v in found.virtual_tables}
    assert virtual["vectors"].error == "no such module: vec0"
    assert sorted(virtual["vectors"].shadows) == ["vectors_chunks", "vectors_rowids", "vectors_vector_chunks00"]
    assert (virtual["geo"].shadows, virtual["geo"].suspects) == ((), ("geo_idx",))
    assert found.views[0].error is not None


def test_tokens_follow_sqlites_lexical_rules() -> None:
    text = "a.\"b\"\"c\" [d]]`e``f`'g''h' x'00' X'FF' 1e5 _é$1 -- x\n/* y */+/*open"
    assert [(t.kind, t.text) for t in tokens(text)] == [
        ("word", "a"), ("sign", "."), ("name", 'b"c'), ("name", "d"), ("sign", "]"), ("name", "e`f"),
        ("string", "'g''h'"), ("string", "x'00'"), ("string", "X'FF'"), ("number", "1e5"), ("word", "_é$1"),
        ("sign", "+"),
    ]  # fmt: skip
    assert all(text[t.start : t.end].endswith(t.text[-1:]) or t.kind == "name" for t in tokens(text))


@pytest.mark.parametrize(
    "text", ["", "(", ")", "CREATE TABLE t", "CREATE TABLE t (", "CREATE TABLE t (a CHECK", "'", '"', "/*"]
)
def test_text_that_is_no_statement_yields_nothing(text: str) -> None:
    """writable_schema lets anything into the schema."""
    assert table_parts(text).checks == []
    assert index_parts(text)[1] is None
    assert view_select(text) == ""
    assert virtual_module(text) == ""
