"""The judge finds whatever is wrong with a migrated database: each fault is planted in one that is right."""

import ast
import secrets
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import psycopg
import pytest
import yaml
from psycopg import sql
from psycopg.conninfo import make_conninfo

from migration import plan as plans
from migration import steps
from migration.assess import assess
from migration.job import Job, Params
from tests.conftest import ROLE, Server
from tests.corpus import cells, ddl, objects, truth, views
from tests.corpus.crafted import script
from tests.corpus.fetching import Workshop
from tests.corpus.truth import Judgement, judge

SHOP = """
CREATE TABLE makers (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE, founded DATE);
INSERT INTO makers VALUES (1, 'one', '1999-01-01'), (2, 'two', NULL), (9, 'gone', NULL); DELETE FROM makers WHERE id = 9;
CREATE TABLE things (id INTEGER PRIMARY KEY, maker INTEGER NOT NULL REFERENCES makers(id) ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED, title TEXT DEFAULT 'untitled', weight REAL,
  price DECIMAL(8,2), sold BOOLEAN NOT NULL DEFAULT 0, made DATETIME, facts JSON, picture BLOB, count INTEGER DEFAULT 7 CHECK (count >= 0), twice INTEGER AS (count * 2) STORED);
INSERT INTO things (id, maker, title, weight, price, sold, made, facts, picture, count) SELECT value, 1 + value % 2, 'thing ' || value, value / 7.0, value * 0.25, value % 2,
  datetime(1700000000 + value, 'unixepoch'), json_object('n', value), randomblob(9), value FROM counted WHERE value <= 50;
CREATE INDEX cheap ON things (price) WHERE sold = 1;
CREATE UNIQUE INDEX one_title ON things (title, maker);
CREATE INDEX newest ON things (made DESC);
CREATE VIEW sold_things AS SELECT id, title FROM things WHERE sold = 1;
CREATE TRIGGER no_change BEFORE UPDATE ON makers BEGIN SELECT RAISE(ABORT, 'no'); END;
CREATE TABLE spoilt (id INTEGER PRIMARY KEY, v TEXT, w BLOB);
INSERT INTO spoilt SELECT value, 'fine', x'00' FROM counted WHERE value <= 9;
INSERT INTO spoilt VALUES (10, CAST(x'6100' AS TEXT), x'01'), (11, 'x', 'a text');
CREATE TABLE keyless (a INTEGER, b TEXT); INSERT INTO keyless VALUES (1, 'x'), (1, 'x'), (2, NULL)"""


class Moved:
    """A database that was moved, and the judge's question."""

    def __init__(self, source: Path, plan: Path, connection: psycopg.Connection[tuple[object, ...]]) -> None:
        self.source, self.plan, self.connection = source, plan, connection

    def judged(self, fault: str = "", plan: Path | None = None) -> Judgement:
        """The judgement after ``fault``, which is undone."""
        with self.connection.transaction(force_rollback=True):
            if fault:
                self.connection.execute(fault.encode())
            return judge(self.source, plan or self.plan, self.connection, "public")


@pytest.fixture(scope="module")
def moved(postgres_server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Moved]:
    folder, database = tmp_path_factory.mktemp("judged"), f"test_{secrets.token_hex(6)}"
    source = folder / "shop.db"
    script(SHOP)(Workshop(folder), source)
    with psycopg.connect(postgres_server.admin, autocommit=True) as admin, pytest.MonkeyPatch.context() as patch:
        patch.setattr(plans, "PLANS", folder / "plans")
        name = sql.Identifier(database)
        admin.execute(sql.SQL("CREATE DATABASE {} OWNER {} TEMPLATE template0").format(name, sql.Identifier(ROLE)))
        dsn = make_conninfo(postgres_server.admin, dbname=database, user=ROLE, password=postgres_server.password)
        found = assess(source, folder, target=dsn)
        _move(Job(found.plan, "judged", dsn, source, folder, Params(mode="cut_over", approval="given")))
        with psycopg.connect(dsn, options="-c timezone=GMT -c client_min_messages=warning") as connection:
            yield Moved(source, found.plan_path, connection)
        admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(name))


def _move(job: Job) -> None:
    ordered = [table for level in job.plan.levels for table in level]
    steps.preflight(job)
    steps.backup(job)
    steps.create_schema(job)
    for table in ordered:
        steps.load(job, table)
    steps.finish_schema(job)
    for table in ordered:
        steps.verify(job, table)
    steps.cut_over(job)


@pytest.mark.parametrize("module", [cells, ddl, objects, truth, views])
def test_the_judge_shares_no_code_with_the_engine(module: ModuleType) -> None:
    tree = ast.parse(Path(str(module.__file__)).read_text())
    imported = {n.module or "" for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)}
    imported |= {a.name for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names}
    ours = {
        name for name in imported if name.split(".")[0] not in sys.stdlib_module_names | {"apsw", "psycopg", "yaml"}
    }
    assert {name.rpartition(".")[2] for name in ours} <= {"corpus", "cells", "ddl", "objects", "truth", "views"}


def test_a_right_migration_is_found_right(moved: Moved) -> None:
    judgement = moved.judged()
    assert judgement.findings == []
    assert (judgement.tables, judgement.rows, judgement.quarantined, judgement.altered) == (4, 65, 1, 1)
    assert judgement.cells == 2 * 3 + 50 * 11 + 10 * 3 + 3 * 2
    assert judgement.refused == {"trigger": 1}
    assert judgement.carried["index"] == 3


CELLS = {
    "a character": "UPDATE things SET title = 'thing I' WHERE id = 1",
    "an empty text for a NULL": "UPDATE keyless SET b = '' WHERE b IS NULL",
    "a NULL for a value": "UPDATE things SET weight = NULL WHERE id = 5",
    "the last bit of a double": "UPDATE things SET weight = weight + 1e-15 WHERE id = 3",
    "a cent": "UPDATE things SET price = price + 0.01 WHERE id = 4",
    "a microsecond": "UPDATE things SET made = made + interval '1 microsecond' WHERE id = 6",
    "a day": "UPDATE makers SET founded = founded + 1 WHERE id = 1",
    "a boolean": "UPDATE things SET sold = NOT sold WHERE id = 7",
    "a number within JSON": "UPDATE things SET facts = '{\"n\": 9}' WHERE id = 8",
    "a byte": "UPDATE things SET picture = set_byte(picture, 0, 255 - get_byte(picture, 0)) WHERE id = 9",
    "values of two rows exchanged": "UPDATE things SET count = 21 - count WHERE id IN (10, 11)",
    "a sign": "UPDATE things SET weight = -weight WHERE id = 12",
    "a value that was altered, altered again": "UPDATE spoilt SET w = 'b text' WHERE id = 11",
}


@pytest.mark.parametrize("fault", CELLS.values(), ids=CELLS)
def test_one_changed_cell_is_found(moved: Moved, fault: str) -> None:
    kinds = {f.kind for f in moved.judged(fault).findings}
    assert kinds >= {"row", "cell"}


ROWS = {
    "lost": "DELETE FROM things WHERE id = 20",
    "lost, one of two equal ones": "DELETE FROM keyless WHERE ctid = (SELECT min(ctid) FROM keyless WHERE a = 1)",
    "there twice": "INSERT INTO keyless SELECT * FROM keyless WHERE a = 2",
    "added": "INSERT INTO makers VALUES (3, 'three', NULL)",
    "quarantined, and there as well": "INSERT INTO spoilt VALUES (10, 'a', '\\x01')",
    "all lost": "TRUNCATE keyless",
}


@pytest.mark.parametrize("fault", ROWS.values(), ids=ROWS)
def test_a_row_that_is_not_where_it_belongs_is_found(moved: Moved, fault: str) -> None:
    assert "row" in {f.kind for f in moved.judged(fault).findings}


KEPT = {
    "a quarantined value changed": ("UPDATE migration.quarantined_values SET value = 'b' WHERE column_name = 'v'", "kept"),
    "a quarantined value gone": ("DELETE FROM migration.quarantined_values WHERE column_name = 'w'", "kept"),
    "the quarantine emptied": ("TRUNCATE migration.quarantine, migration.quarantined_values", "row"),
    "a stranger in the quarantine": ("UPDATE migration.quarantine SET row_key = '[99]'; UPDATE migration.quarantined_values SET row_key = '[99]'", "quarantine"),
    "the original of an altered value changed": ("UPDATE migration.altered_values SET value = 'b'", "kept"),
    "an alteration without a record": ("TRUNCATE migration.altered_values", "row"),
    "an alteration that the plan does not declare": ("UPDATE migration.altered_values SET action = 'null'", "altered"),
}  # fmt: skip


@pytest.mark.parametrize(("fault", "kind"), KEPT.values(), ids=KEPT)
def test_what_was_set_aside_is_held_against_the_source(moved: Moved, fault: str, kind: str) -> None:
    assert kind in {f.kind for f in moved.judged(fault).findings}


OBJECTS = {
    "an index dropped": ("DROP INDEX cheap", "index"),
    "a partial index made full": ("DROP INDEX cheap; CREATE INDEX cheap ON things (price)", "index"),
    "a unique index made plain": ("DROP INDEX one_title; CREATE INDEX one_title ON things (title, maker)", "index"),
    "an index turned round": ("DROP INDEX newest; CREATE INDEX newest ON things (made)", "index"),
    "an index with its keys exchanged": ("DROP INDEX one_title; CREATE UNIQUE INDEX one_title ON things (maker, title)", "index"),
    "a unique constraint dropped": ("ALTER TABLE makers DROP CONSTRAINT makers_name_key", "unique constraint"),
    "a primary key dropped": ("ALTER TABLE spoilt DROP CONSTRAINT spoilt_pkey", "primary key"),
    "a check dropped": ("ALTER TABLE things DROP CONSTRAINT things_count_check", "check"),
    "a foreign key dropped": ("ALTER TABLE things DROP CONSTRAINT things_maker_fkey", "foreign key"),
    "a foreign key's action lost": ("ALTER TABLE things DROP CONSTRAINT things_maker_fkey, ADD FOREIGN KEY (maker) REFERENCES makers", "foreign key"),
    "a foreign key no longer deferred": ("ALTER TABLE things ALTER CONSTRAINT things_maker_fkey NOT DEFERRABLE", "foreign key"),
    "a foreign key not valid without a reason": (
        "ALTER TABLE things DROP CONSTRAINT things_maker_fkey, ADD FOREIGN KEY (maker) REFERENCES makers ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED NOT VALID",
        "foreign key",
    ),
    "NOT NULL dropped": ("ALTER TABLE makers ALTER name DROP NOT NULL", "not null"),
    "a default dropped": ("ALTER TABLE things ALTER title DROP DEFAULT", "default"),
    "a default changed": ("ALTER TABLE things ALTER count SET DEFAULT 8", "default"),
    "a generated column made plain": ("ALTER TABLE things ALTER twice DROP EXPRESSION", "generated column"),
    "a numbering dropped": ("ALTER TABLE makers ALTER id DROP IDENTITY", "identity"),
    "a numbering that gives an id again": ("ALTER TABLE makers ALTER id RESTART WITH 9", "identity"),
    "a view dropped": ("DROP VIEW sold_things", "view"),
    "a view that tells less": ("CREATE OR REPLACE VIEW sold_things AS SELECT id, title FROM things WHERE sold AND id > 9", "view"),
    "a column dropped": ("ALTER TABLE makers DROP COLUMN founded", "column"),
    "a table dropped": ("DROP TABLE keyless", "table"),
}  # fmt: skip


@pytest.mark.parametrize(("fault", "kind"), OBJECTS.values(), ids=OBJECTS)
def test_a_schema_object_that_is_silently_absent_is_found(moved: Moved, fault: str, kind: str) -> None:
    assert kind in {f.kind for f in moved.judged(fault).findings}


FORGOTTEN = {
    "a trigger": lambda plan: plan.update(refused=[]),
    "a table": lambda plan: plan["tables"].pop("keyless"),
}


@pytest.mark.parametrize("what", FORGOTTEN)
def test_what_the_plan_forgets_is_found(moved: Moved, what: str, tmp_path: Path) -> None:
    plan = yaml.safe_load(moved.plan.read_text())
    FORGOTTEN[what](plan)
    (tmp_path / "plan.yaml").write_text(yaml.safe_dump(plan, sort_keys=False))
    findings = moved.judged(plan=tmp_path / "plan.yaml").findings
    assert [f.kind for f in findings] == [what.removeprefix("a ")]
