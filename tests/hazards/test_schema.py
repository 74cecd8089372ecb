"""The schema: everything that SQLite's says is there in PostgreSQL's words, or refused by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import apsw
import psycopg
import pytest
from psycopg import sql

from migration.assess import assess
from tests.engine.support import ask, connection_to, database, insert
from tests.hazards.moving import move, rules


@pytest.mark.parametrize(
    ("key", "used", "following"),
    [
        ("INTEGER PRIMARY KEY", "INSERT INTO t VALUES (1, 'a'), (7, 'b')", 8),
        (
            "INTEGER PRIMARY KEY AUTOINCREMENT",
            "INSERT INTO t VALUES (1, 'a'), (9, 'b'); DELETE FROM t WHERE id = 9",
            10,
        ),
        ("INTEGER PRIMARY KEY AUTOINCREMENT", "INSERT INTO t VALUES (5, 'a'); DELETE FROM t", 6),
        ("INTEGER PRIMARY KEY", "SELECT 1", 1),
    ],
)
def test_ids_go_on_behind_the_largest_ever_used(
    key: str, used: str, following: int, tmp_path: Path, target_dsn: str
) -> None:
    source = database(tmp_path / "app.db", f"CREATE TABLE t (id {key}, v TEXT)", used)
    moved = move(source, target_dsn)
    assert moved.insert("INSERT INTO t (v) VALUES ('new') RETURNING id") == [(following,)]


@pytest.mark.parametrize(
    ("declared", "value", "kind"),
    [
        ("LONGVARCHAR", "x", "text"),
        ("STRING", "x", "text"),
        ("STRING", 5, "bigint"),
        ("INTEGER_OR_TEXT", 5, "bigint"),
        ("INTERGER", 5, "bigint"),
        ("LONGBLOB", b"x", "bytea"),
        ("TINYINT(1)", 1, "smallint"),
        ("UNSIGNED BIG INT", 1, "bigint"),
        ("", 1.5, "double precision"),
        ("GEOMETRY", b"\x00", "bytea"),
        ("double precision", 1.5, "double precision"),
        ("NVARCHAR(10)", "x", "character varying(10)"),
        ("weird type (3, 4)", "x", "text"),
    ],
)
def test_type_names_that_postgresql_does_not_know_are_decided_by_affinity_and_values(
    declared: str, value: Any, kind: str, tmp_path: Path, target_dsn: str
) -> None:
    source = database(tmp_path / "app.db", f"CREATE TABLE t (id INTEGER PRIMARY KEY, v {declared})")
    insert(source, "t", [(1, value)])
    moved = move(source, target_dsn)
    assert (moved.types("t")["v"], moved.values("t", "v")) == (kind, [value])


def test_defaults_give_the_same_values_in_the_new_types(tmp_path: Path, target_dsn: str) -> None:
    source = database(
        tmp_path / "app.db",
        """CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT DEFAULT CURRENT_TIMESTAMP, b TEXT DEFAULT (datetime('now')),
           c INTEGER DEFAULT (strftime('%s','now')), d TEXT DEFAULT "double", e INTEGER DEFAULT 0x10,
           f BOOLEAN DEFAULT 'false', g TEXT DEFAULT 'null', h TEXT DEFAULT NULL, i INTEGER DEFAULT (1 + 2 * 3),
           j REAL DEFAULT 1, k BOOLEAN DEFAULT 1, l DATETIME DEFAULT CURRENT_TIMESTAMP, m TEXT DEFAULT 5,
           n TEXT DEFAULT 'it''s', o BLOB DEFAULT x'00ff', p VARCHAR(3) DEFAULT 'abc')""",
        "INSERT INTO t (id, f, l) VALUES (1, 0, '2024-01-02 03:04:05')",
    )
    moved = move(source, target_dsn)
    (row,) = moved.insert("INSERT INTO t (id) VALUES (2) RETURNING *")
    names = list(moved.types("t"))
    got = dict(zip(names, row, strict=True))
    stamp = moved.insert("SELECT to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD')")[0][0]
    assert str(got["a"]).startswith(stamp)
    assert len(got["a"]) == 19
    assert str(got["b"]).startswith(stamp)
    assert got["c"] > 1_700_000_000
    assert got["l"].strftime("%Y-%m-%d") == stamp
    expected = {
        "d": "double",
        "e": 16,
        "g": "null",
        "h": None,
        "i": 7,
        "j": 1.0,
        "k": True,
        "m": "5",
        "n": "it's",
        "o": b"\x00\xff",
        "p": "abc",
    }
    assert {k: got[k] for k in expected} == expected


def test_the_time_of_an_insert_is_the_default_of_an_instant_also_where_the_values_were_epochs(
    tmp_path: Path, target_dsn: str
) -> None:
    source = database(
        tmp_path / "app.db",
        "CREATE TABLE t (id INTEGER PRIMARY KEY, made DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP)",
        "INSERT INTO t VALUES (1, 1700000000123)",
    )
    moved = move(source, target_dsn)
    assert moved.refused("default") == {}
    assert moved.insert("INSERT INTO t (id) VALUES (2) RETURNING made > now() - interval '1 minute'") == [(True,)]


def test_a_default_that_cannot_be_translated_is_refused_alone(tmp_path: Path, target_dsn: str) -> None:
    source = database(
        tmp_path / "app.db",
        "CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT DEFAULT (printf('%08.3e', 5)), b INT DEFAULT 3)",
        "INSERT INTO t (a) VALUES ('x')",
    )
    moved = move(source, target_dsn)
    assert moved.insert("INSERT INTO t (id) VALUES (9) RETURNING b") == [(3,)]
    assert set(moved.refused("default")) <= {"a"}


def test_not_null_unique_composite_keys_and_checks_are_enforced(tmp_path: Path, target_dsn: str) -> None:
    source = database(
        tmp_path / "app.db",
        """CREATE TABLE t (a INTEGER NOT NULL, b TEXT NOT NULL, c TEXT UNIQUE, d BOOLEAN NOT NULL CHECK (d IN (0, 1)),
           e INTEGER CHECK (e > 0 AND e < 10), PRIMARY KEY (a, b), UNIQUE (b, e), CONSTRAINT named CHECK (length(b) < 5))""",
        "INSERT INTO t VALUES (1, 'x', 'u', 1, 5), (1, 'y', NULL, 0, NULL), (2, 'x', NULL, 1, 6)",
    )
    moved = move(source, target_dsn)
    assert len(moved.rows("t")) == 3
    for bad in (
        "(NULL, 'z', 'v', true, 1)", "(1, 'x', 'v', true, 1)", "(3, 'z', 'u', true, 1)", "(3, 'z', 'v', NULL, 1)",
        "(3, 'z', 'v', true, 11)", "(3, 'x', 'v', true, 5)", "(3, 'zzzzz', 'v', true, 1)",
    ):  # fmt: skip
        with pytest.raises(psycopg.IntegrityError):
            moved.insert(f"INSERT INTO t VALUES {bad} RETURNING 1")
    assert moved.refused("check") == {}


def test_a_check_that_cannot_be_translated_or_does_not_hold_is_refused_by_name(tmp_path: Path, target_dsn: str) -> None:
    source = database(
        tmp_path / "app.db",
        "CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT, n INTEGER CHECK (n > 0), CONSTRAINT odd CHECK (printf('%g', n) <> v))",
        "PRAGMA ignore_check_constraints = ON",
        "INSERT INTO t VALUES (1, 'a', -1)",
    )
    moved = move(source, target_dsn)
    assert moved.rows("t") == [(1, "a", -1)]
    assert set(moved.refused("check")) == {"t_n_check", "odd"}
    assert "1 rows break it" in moved.refused("check")["t_n_check"]
    assert rules(moved.assessment) == {"refused-check"}


def test_null_in_a_primary_key_is_reported_and_a_unique_constraint_stands_in_its_place(
    tmp_path: Path, target_dsn: str
) -> None:
    source = database(
        tmp_path / "app.db",
        "CREATE TABLE t (a TEXT PRIMARY KEY, b INTEGER)",
        "INSERT INTO t VALUES (NULL, 1), (NULL, 2), ('x', 3)",
    )
    moved = move(source, target_dsn)
    assert moved.rows("t", order="b") == [(None, 1), (None, 2), ("x", 3)]
    assert list(moved.constraints("t").values()) == ["UNIQUE (a)"]
    assert rules(moved.assessment) == {"null-in-key"}


def test_partial_expression_descending_and_nocase_indexes_are_carried(tmp_path: Path, target_dsn: str) -> None:
    source = database(
        tmp_path / "app.db",
        "CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT, b BOOLEAN, c TEXT COLLATE NOCASE)",
        "CREATE UNIQUE INDEX one_active ON t (a) WHERE b = 1",
        "CREATE INDEX low ON t (lower(a))",
        "CREATE INDEX down ON t (a DESC, id)",
        "CREATE UNIQUE INDEX folded ON t (c)",
        "INSERT INTO t VALUES (1, 'x', 1, 'Ab'), (2, 'x', 0, 'ac'), (3, 'x', 0, NULL)",
    )
    moved = move(source, target_dsn)
    assert set(moved.indexes("t")) == {"t_pkey", "one_active", "low", "down", "folded"}
    assert "DESC" in moved.indexes("t")["down"]
    moved.insert("INSERT INTO t VALUES (4, 'x', false, 'new') RETURNING 1")
    for bad in ("(5, 'x', true, 'q')", "(6, 'y', false, 'aB')"):
        with pytest.raises(psycopg.errors.UniqueViolation):
            moved.insert(f"INSERT INTO t VALUES {bad} RETURNING 1")


def test_index_keys_beyond_a_btree_are_foreseen_and_never_silently_absent(tmp_path: Path, target_dsn: str) -> None:
    source = database(
        tmp_path / "app.db",
        "CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT, b TEXT, c TEXT UNIQUE)",
        "CREATE INDEX plain ON t (a)", "CREATE INDEX two ON t (a, b)",
    )  # fmt: skip
    long = "".join(chr(33 + n * 7919 % 90) for n in range(4000))
    insert(source, "t", [(1, long, "b", long), (2, "short", "b", "c")])
    moved = move(source, target_dsn)
    assert "USING hash" in moved.indexes("t")["plain"]
    assert (set(moved.refused("index")), len(moved.refused("unique constraint"))) == ({"two"}, 1)
    assert rules(moved.assessment) == {"index-width", "refused-index", "refused-unique-constraint"}


FAMILY = (
    "CREATE TABLE p (a INTEGER, b TEXT, u TEXT UNIQUE, PRIMARY KEY (a, b))",
    "CREATE TABLE q (id INTEGER PRIMARY KEY)",
    """CREATE TABLE c (id INTEGER PRIMARY KEY, a INTEGER, b TEXT, u TEXT REFERENCES p (u) ON UPDATE CASCADE,
       q INTEGER REFERENCES q ON DELETE SET NULL, up INTEGER REFERENCES c (id) DEFERRABLE INITIALLY DEFERRED,
       gone INTEGER REFERENCES nowhere (id), text_id TEXT REFERENCES q (id), CONSTRAINT pair FOREIGN KEY (a, b) REFERENCES p ON DELETE CASCADE)""",
    "INSERT INTO p VALUES (1, 'x', 'u')",
    "INSERT INTO q VALUES (1)",
    "INSERT INTO c VALUES (1, 1, 'x', 'u', 1, 2, NULL, NULL), (2, NULL, NULL, NULL, NULL, 1, NULL, 'z')",
)


def test_foreign_keys_of_every_kind_are_carried_or_refused_by_name(tmp_path: Path, target_dsn: str) -> None:
    moved = move(database(tmp_path / "app.db", *FAMILY), target_dsn)
    keys = {d for d in moved.constraints("c").values() if d.startswith("FOREIGN")}
    assert keys == {
        "FOREIGN KEY (a, b) REFERENCES p(a, b) ON DELETE CASCADE",
        "FOREIGN KEY (u) REFERENCES p(u) ON UPDATE CASCADE",
        "FOREIGN KEY (q) REFERENCES q(id) ON DELETE SET NULL",
        "FOREIGN KEY (up) REFERENCES c(id) DEFERRABLE INITIALLY DEFERRED",
    }
    reasons = moved.refused("foreign key")
    assert "the table nowhere is not there" in reasons.values()
    assert any("text_id is text, and id of q is bigint" in r for r in reasons.values())


def test_circles_of_foreign_keys_are_carried(tmp_path: Path, target_dsn: str) -> None:
    source = database(
        tmp_path / "app.db",
        "CREATE TABLE a (id INTEGER PRIMARY KEY, b INTEGER REFERENCES b (id))",
        "CREATE TABLE b (id INTEGER PRIMARY KEY, c INTEGER REFERENCES c (id))",
        "CREATE TABLE c (id INTEGER PRIMARY KEY, a INTEGER REFERENCES a (id))",
        "INSERT INTO a VALUES (1, 1)", "INSERT INTO b VALUES (1, 1)", "INSERT INTO c VALUES (1, 1)",
    )  # fmt: skip
    moved = move(source, target_dsn)
    assert moved.assessment.grade == "A"
    assert all(any(d.startswith("FOREIGN") for d in moved.constraints(t).values()) for t in "abc")


def test_orphans_are_counted_named_and_carried_under_a_constraint_that_holds_from_now_on(
    tmp_path: Path, target_dsn: str
) -> None:
    source = database(
        tmp_path / "app.db", "CREATE TABLE p (id INTEGER PRIMARY KEY)", "CREATE TABLE c (id INTEGER PRIMARY KEY, p INTEGER REFERENCES p)",
        "INSERT INTO p VALUES (1)", "INSERT INTO c VALUES (1, 1), (2, 99), (3, NULL)",
    )  # fmt: skip
    moved = move(source, target_dsn)
    assert moved.rows("c") == [(1, 1), (2, 99), (3, None)]
    assert any(d.endswith("NOT VALID") for d in moved.constraints("c").values())
    assert "rows: 1; keys [2]" in moved.assessment.decisions[0]
    with pytest.raises(psycopg.errors.ForeignKeyViolation):
        moved.insert("INSERT INTO c VALUES (4, 98) RETURNING 1")


def test_a_child_finds_its_parent_by_digits_where_integers_and_texts_are_both_text_now(
    tmp_path: Path, target_dsn: str
) -> None:
    source = database(
        tmp_path / "app.db",
        "CREATE TABLE p (k PRIMARY KEY) WITHOUT ROWID",
        "CREATE TABLE c (id INTEGER PRIMARY KEY, k REFERENCES p)",
    )
    insert(source, "p", [("5",), (6,), ("x",)])
    insert(source, "c", [(1, 5), (2, 6), (3, "x"), (4, "6"), (5, None)])
    moved = move(source, target_dsn)
    assert moved.values("c", "k", "id") == ["5", "6", "x", "6", None]
    assert [d for d in moved.constraints("c").values() if d.startswith("FOREIGN")] == [
        "FOREIGN KEY (k) REFERENCES p(k)"
    ]


@pytest.mark.parametrize(
    ("policy", "rows"), [("quarantine", [(1, 1), (3, None)]), ("null", [(1, 1), (2, None), (3, None)])]
)
def test_orphans_can_be_set_aside_or_nulled_by_declaration(
    policy: str, rows: list[Any], tmp_path: Path, target_dsn: str
) -> None:
    source = database(
        tmp_path / "app.db", "CREATE TABLE p (id INTEGER PRIMARY KEY)", "CREATE TABLE c (id INTEGER PRIMARY KEY, p INTEGER REFERENCES p)",
        "INSERT INTO p VALUES (1)", "INSERT INTO c VALUES (1, 1), (2, 99), (3, NULL)",
    )  # fmt: skip
    whole = assess(source, tmp_path / "home").plan.model_dump()
    whole["tables"]["c"]["columns"]["p"]["invalid"] = policy
    for key in whole["tables"]["c"]["foreign_keys"].values():
        key["not_valid"] = False
    from migration.plan import Plan

    moved = move(source, target_dsn, plan=Plan.model_validate(whole))
    assert moved.rows("c") == rows
    assert not any("NOT VALID" in d for d in moved.constraints("c").values())


def test_generated_columns_are_generated_and_compared(tmp_path: Path, target_dsn: str) -> None:
    source = database(
        tmp_path / "app.db",
        """CREATE TABLE t (id INTEGER PRIMARY KEY, a INTEGER, b TEXT, total INTEGER GENERATED ALWAYS AS (a * 2 + 1) STORED,
           up TEXT AS (upper(b)) VIRTUAL, odd TEXT AS (printf('%05d', a)), day TEXT AS (date(b)))""",
        "INSERT INTO t (id, a, b) VALUES (1, 20, 'xy'), (2, -3, NULL)",
    )
    moved = move(source, target_dsn)
    assert moved.rows("t", "id, total, up, odd, day") == [(1, 41, "XY", "00020", None), (2, -5, None, "-0003", None)]
    assert moved.insert("INSERT INTO t (id, a, b) VALUES (3, 1, 'q') RETURNING total, up") == [(3, "Q")]


def test_a_generated_column_that_sqlite_cannot_compute_is_left_out_by_name(tmp_path: Path, target_dsn: str) -> None:
    source = database(
        tmp_path / "app.db",
        "CREATE TABLE t (id INTEGER PRIMARY KEY, j TEXT UNIQUE)",
        "INSERT INTO t (j) VALUES ('no json')",
        "ALTER TABLE t ADD COLUMN x AS (json_extract(j, '$.x'))",
    )
    moved = move(source, target_dsn)
    assert moved.rows("t") == [(1, "no json")]
    assert "malformed JSON" in moved.refused("column")["x"]


def test_without_rowid_and_strict_tables_are_carried(tmp_path: Path, target_dsn: str) -> None:
    source = database(
        tmp_path / "app.db",
        "CREATE TABLE w (k TEXT, n INTEGER, v TEXT, PRIMARY KEY (k, n)) WITHOUT ROWID",
        "CREATE TABLE s (id INTEGER PRIMARY KEY, a ANY, b BLOB, c REAL) STRICT",
        "INSERT INTO w VALUES ('a', 1, 'x'), ('a', 2, 'y'), ('B', 1, NULL)",
        "INSERT INTO s VALUES (1, 5, x'01', 1), (2, 6, NULL, 2.5)",
    )
    moved = move(source, target_dsn)
    assert sorted(moved.rows("w")) == [("B", 1, None), ("a", 1, "x"), ("a", 2, "y")]
    assert moved.rows("s") == [(1, 5, b"\x01", 1.0), (2, 6, None, 2.5)]
    assert "PRIMARY KEY (k, n)" in moved.constraints("w").values()


def test_views_are_compiled_in_the_target_or_refused_by_name(tmp_path: Path, target_dsn: str) -> None:
    source = database(
        tmp_path / "app.db",
        "CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT, b BOOLEAN)",
        "CREATE VIEW above AS SELECT id, names FROM below WHERE id > 1",
        "CREATE VIEW below AS SELECT id, upper(a) AS names FROM t WHERE b = 1",
        "CREATE VIEW broken AS SELECT * FROM nowhere",
        "CREATE VIEW own AS SELECT my_function(a) FROM t",
        "INSERT INTO t VALUES (1, 'a', 1), (2, 'b', 1), (3, 'c', 0)",
    )
    moved = move(source, target_dsn)
    assert (moved.rows("below"), moved.rows("above")) == ([(1, "A"), (2, "B")], [(2, "B")])
    assert set(moved.refused("view")) == {"broken", "own"}


def test_triggers_full_text_and_rtree_tables_are_refused_by_name_and_their_shadows_left_out(
    tmp_path: Path, target_dsn: str
) -> None:
    source = database(
        tmp_path / "app.db",
        "CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT)",
        "CREATE VIRTUAL TABLE f USING fts5(a)",
        "CREATE VIRTUAL TABLE r USING rtree(id, x0, x1)",
        "CREATE TRIGGER g AFTER INSERT ON t BEGIN INSERT INTO f VALUES (new.a); END",
        "INSERT INTO t VALUES (1, 'x')",
        "CREATE INDEX i ON t (a)",
        "ANALYZE",
    )
    moved = move(source, target_dsn)
    assert set(moved.plan.tables) == {"t"}
    assert (set(moved.refused("virtual table")), set(moved.refused("trigger"))) == ({"f", "r"}, {"g"})
    assert {"f_data", "f_content", "r_node"} <= set(moved.refused("shadow table"))
    assert "CREATE TRIGGER g" in next(r.source for r in moved.plan.refused if r.kind == "trigger")
    assert "sqlite_stat1" in moved.refused("internal table")


def test_names_of_every_kind_are_kept_or_renamed_by_one_policy(tmp_path: Path, target_dsn: str) -> None:
    long = "n" * 70
    source = database(
        tmp_path / "app.db",
        'CREATE TABLE "order" ("select" INTEGER PRIMARY KEY, "a b" TEXT, "x.y" TEXT, "Größe" TEXT, "per%cent" TEXT, ctid TEXT, xmin TEXT, tableoid TEXT)',
        'CREATE TABLE "say ""hi""" (id INTEGER PRIMARY KEY)',
        f'CREATE TABLE "{long}1" (id INTEGER PRIMARY KEY, "{long}a" TEXT, "{long}b" TEXT)',
        f'CREATE TABLE "{long}2" (id INTEGER PRIMARY KEY)',
        'CREATE TABLE plain (id INTEGER PRIMARY KEY, v TEXT)',
        'CREATE INDEX "order_pkey" ON plain (v)',
        """INSERT INTO "order" VALUES (1, 'a', 'b', 'c', 'd', 'e', 'f', 'g')""",
        f"""INSERT INTO "{long}1" VALUES (1, 'a', 'b')""",
    )  # fmt: skip
    moved = move(source, target_dsn)
    assert list(moved.types("order")) == ["select", "a b", "x.y", "Größe", "per%cent", "ctid_", "xmin_", "tableoid_"]
    assert moved.rows("order") == [(1, "a", "b", "c", "d", "e", "f", "g")]
    assert moved.rows('say "hi"') == []
    tables = {t: moved.plan.target_table(t) for t in moved.plan.tables}
    assert len({*tables.values()}) == 5
    assert all(len(t.encode()) <= 63 for t in tables.values())
    assert moved.rows(tables[f"{long}1"]) == [(1, "a", "b")]


def test_names_that_differ_only_by_case_in_postgresql_stay_apart(tmp_path: Path, target_dsn: str) -> None:
    source = database(
        tmp_path / "app.db",
        'CREATE TABLE "T" ("Id" INTEGER PRIMARY KEY, "V" TEXT)',
        'CREATE INDEX i ON "T" ("V")',
        "INSERT INTO T VALUES (1, 'x')",
    )
    moved = move(source, target_dsn)
    assert moved.rows("T") == [(1, "x")]
    assert "i" in moved.indexes("T")


EVIL = """x"; DROP TABLE victim; --"""


def test_no_name_or_value_of_the_source_is_executed(tmp_path: Path, target_dsn: str) -> None:
    quoted = EVIL.replace('"', '""')
    source = database(
        tmp_path / "app.db",
        f'CREATE TABLE "{quoted}" (id INTEGER PRIMARY KEY, "{quoted} 2" TEXT DEFAULT \'); DROP TABLE victim; --\')',
        f'CREATE INDEX "{quoted} 3" ON "{quoted}" ("{quoted} 2")',
        f'CREATE VIEW "{quoted} 4" AS SELECT "{quoted} 2" FROM "{quoted}"',
    )
    insert(source, EVIL, [(1, "'); DROP TABLE victim; --"), (2, "$$; DROP TABLE victim"), (3, "{{ 7 * 7 }} {0} %s")])
    with psycopg.connect(target_dsn, autocommit=True) as connection:
        connection.execute("CREATE TABLE victim (id int)")
    moved = move(source, target_dsn)
    assert [v for _, v in moved.rows(EVIL)] == [
        "'); DROP TABLE victim; --",
        "$$; DROP TABLE victim",
        "{{ 7 * 7 }} {0} %s",
    ]
    assert ask(moved.job, "SELECT to_regclass('public.victim')") == [("victim",)]
    with connection_to(moved.job) as connection:
        connection.execute(sql.SQL("INSERT INTO {} (id) VALUES (9)").format(sql.Identifier(EVIL)))
    assert moved.rows(EVIL)[-1] == (9, "); DROP TABLE victim; --")


def test_a_key_over_integers_and_texts_written_alike_is_refused_by_name_and_the_rows_are_carried(
    tmp_path: Path, target_dsn: str
) -> None:
    source = database(
        tmp_path / "app.db",
        "CREATE TABLE t (id INTEGER PRIMARY KEY, v UNIQUE)",
        "INSERT INTO t VALUES (1, 5), (2, '5'), (3, 'x')",
    )
    moved = move(source, target_dsn)
    assert moved.values("t", "v", "id") == ["5", "5", "x"]
    assert "written alike" in moved.refused("unique constraint")["t_v_key"]


def test_an_index_by_a_collation_of_the_application_is_refused_by_name(tmp_path: Path, target_dsn: str) -> None:
    source = tmp_path / "app.db"
    connection = apsw.Connection(str(source))
    connection.create_collation("ICU", lambda a, b: (a > b) - (a < b))
    connection.execute(
        "CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT COLLATE ICU, w TEXT CHECK (w <> '')); CREATE INDEX i ON t (v)"
    )
    connection.execute("INSERT INTO t VALUES (1, 'b', 'x'), (2, 'a', 'y')")
    connection.close()
    moved = move(source, target_dsn)
    assert moved.rows("t") == [(1, "b", "x"), (2, "a", "y")]
    assert "the collation ICU of v is the application's own" in moved.refused("index")["i"]
    assert "t_w_check" in moved.constraints("t")


def test_tables_that_only_the_application_can_order_are_carried_by_scanning_or_refused_by_name(
    tmp_path: Path, target_dsn: str
) -> None:
    source = tmp_path / "app.db"
    connection = apsw.Connection(str(source))
    connection.create_collation("unicase", lambda a, b: (a.lower() > b.lower()) - (a.lower() < b.lower()))
    connection.execute(
        "CREATE TABLE fields (n INTEGER, o INTEGER, name TEXT COLLATE unicase, PRIMARY KEY (n, o)) WITHOUT ROWID"
    )
    connection.execute("CREATE TABLE tags (tag TEXT PRIMARY KEY COLLATE unicase) WITHOUT ROWID")
    connection.execute("CREATE UNIQUE INDEX by_name ON fields (name, n)")
    connection.execute(
        "INSERT INTO fields VALUES (1, 1, 'b'), (1, 0, 'A'), (0, 7, 'c'), (2, 2, 'D'); INSERT INTO tags VALUES ('b'), ('A')"
    )
    connection.close()
    moved = move(source, target_dsn)
    assert sorted(moved.rows("fields")) == [(0, 7, "c"), (1, 0, "A"), (1, 1, "b"), (2, 2, "D")]
    assert "an order that only the application knows" in str(moved.refused("table"))
    assert (moved.assessment.grade, moved.plan.exclude_tables) == ("C", ("tags",))


def test_the_same_key_said_twice_is_one(tmp_path: Path, target_dsn: str) -> None:
    source = database(
        tmp_path / "app.db",
        "CREATE TABLE t (id INTEGER CONSTRAINT named PRIMARY KEY NOT NULL UNIQUE, v TEXT)",
        "INSERT INTO t (v) VALUES ('x')",
    )
    assert list(move(source, target_dsn).constraints("t").values()) == ["PRIMARY KEY (id)"]


def test_null_in_a_not_null_column_is_carried_and_the_promise_refused_by_name(tmp_path: Path, target_dsn: str) -> None:
    source = database(
        tmp_path / "app.db",
        "CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)",
        "INSERT INTO t VALUES (1, NULL)",
        "PRAGMA writable_schema = ON",
        "UPDATE sqlite_schema SET sql = 'CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT NOT NULL)' WHERE name = 't'",
    )
    moved = move(source, target_dsn)
    assert moved.rows("t") == [(1, None)]
    assert moved.refused("not null") == {"v": "1 rows have NULL"}
