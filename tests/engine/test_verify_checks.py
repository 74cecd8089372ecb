"""What verification checks beyond values: its turn, the balance, references, sequences, constraints, indexes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa
from psycopg import sql

import migration
from migration.errors import SourceError, TransientError, VerificationFailed
from migration.plan import ColumnPlan, Invalid, Reference, TablePlan
from migration.postgres import state, target
from migration.postgres.target import connected, lock
from tests.conftest import Server
from tests.engine.verify_case import Case, one_database

Make = Callable[..., Case]


@pytest.fixture(scope="module")
def dsn(postgres_server: Server) -> Iterator[str]:
    with one_database(postgres_server) as dsn:
        yield dsn


@pytest.fixture
def make(dsn: str, tmp_path: Path) -> Iterator[Make]:
    """Makes the case: parents 1 and 2, children of theirs; `refers` is a reference that nobody enforces."""
    made: list[Case] = []

    def case(*, ddl: str = "id INTEGER PRIMARY KEY AUTOINCREMENT", **child: Any) -> Case:
        models = sa.MetaData(naming_convention={"ck": "ck_%(table_name)s_%(constraint_name)s"})
        sa.Table(
            "parent", models, sa.Column("id", sa.Integer, primary_key=True), sa.Column("n", sa.Integer, unique=True)
        )
        sa.Table(
            "child",
            models,
            sa.Column("id", sa.Integer, sa.Identity(), primary_key=True),
            sa.Column("parent_id", sa.ForeignKey("parent.id", name="child_parent_fkey")),
            sa.Column("refers", sa.Integer, sa.CheckConstraint("refers > 0", name="positive")),
            sa.Index("child_refers_idx", "refers"),
        )
        references = (Reference(columns=("refers",), table="parent", parent_columns=("n",)),)
        made.append(
            Case(
                dsn,
                tmp_path,
                models,
                "CREATE TABLE parent (id INTEGER PRIMARY KEY, n INTEGER)",
                f"CREATE TABLE child ({ddl}, parent_id INTEGER, refers INTEGER)",
                tables={
                    "parent": TablePlan(),
                    "child": TablePlan(load_after=("parent",), references=references, **child),
                },
            )
        )
        made[-1].fill("INSERT INTO parent VALUES (?, ?)", PARENTS)
        made[-1].fill("INSERT INTO child VALUES (?, ?, ?)", CHILDREN)
        return made[-1]

    yield case
    for one in made:
        one.close()


PARENTS = [(1, 10), (2, 20)]
CHILDREN = [(1, 1, 10), (2, 2, None), (3, None, 20)]


def staged(case: Case) -> Case:
    """Both tables as they should be."""
    case.stage("parent", PARENTS)
    case.stage("child", CHILDREN)
    return case


def failed(case: Case, table: str = "child") -> dict[str, str]:
    """Verify; the failed checks with what they say. No value differs."""
    with pytest.raises(VerificationFailed, match="0 differences"):
        case.verify(table)
    assert not case.verification(table)["ok"]
    return {name: detail for name, (ok, detail) in case.checks(table).items() if not ok}


def test_all_checks_are_recorded_when_they_pass(make: Make) -> None:
    case = staged(make())
    case.verify("parent")
    figures = case.verify("child")
    assert figures.keys() == {"table", "rows", "values", "bytes", "differences", "checks", "seconds"}
    assert (figures["table"], figures["rows"], figures["values"]) == ("child", 3, 9)
    assert case.checks("child") == {
        "source rows": (True, "3 in the snapshot, 3 when it was loaded"),
        "target rows": (True, "3 in the target, 3 loaded"),
        "quarantine": (True, "0 rows in the quarantine, 0 when it was loaded"),
        "balance": (True, "3 source rows, 3 in the target + 0 in the quarantine + 0 excluded"),
        "rows compared": (True, "3 rows of the snapshot were compared"),
        "altered values": (True, "0 values altered by declaration, 0 when it was loaded"),
        "untouched": (True, "0 of 3 rows were written by another transaction than the load's"),
        "foreign key child_parent_fkey": (True, "every row has its row of parent"),
        "reference refers": (True, "every row has its row of parent"),
        "sequence of id": (True, "the next id is 1900000001; the largest that the source ever used is 3"),
        "constraints": (True, "all 3 are there"),
        "constraints validated": (True, "all hold for every row"),
        "indexes": (True, "all 2 are there"),
        "indexes valid": (True, "all can be used"),
    }
    recorded = case.verification("child")
    assert (recorded["ok"], recorded["rows"], recorded["values"]) == (True, 3, 9)
    steps = state.rows(case.pg, state.steps, run_id=case.job.run_id, step="verify")
    assert [(s["table_name"], s["status"]) for s in steps] == [("child", "done"), ("parent", "done")]


class TestWhatMustBeDoneFirst:
    """Nothing is verified out of turn; the message names the task to clear."""

    def test_a_table_that_is_not_loaded(self, make: Make) -> None:
        case = make()
        case.stage("parent", PARENTS)
        with pytest.raises(VerificationFailed, match=r"Table child is not loaded in this run\. Clear its load task"):
            case.verify("child")
        (step,) = state.rows(case.pg, state.steps, run_id=case.job.run_id, step="verify")
        assert step["status"] == "failed"

    def test_a_table_without_its_keys_and_indexes(self, make: Make) -> None:
        case = staged(make())
        case.pg.execute("UPDATE migration.loads SET indexed_at = NULL WHERE run_id = %s", [case.job.run_id])
        with pytest.raises(VerificationFailed, match="Clear the finish_schema task"):
            case.verify("child")

    def test_a_plan_that_was_changed_after_the_load(self, make: Make) -> None:
        case = staged(make())
        case.pg.execute("UPDATE migration.loads SET plan_digest = 'x' WHERE run_id = %s", [case.job.run_id])
        with pytest.raises(VerificationFailed, match=r"part of the plan was changed .* Clear its load task"):
            case.verify("child")

    def test_a_table_that_is_not_staged(self, make: Make) -> None:
        case = staged(make())
        case.pg.execute(sql.SQL("DROP TABLE {}").format(case.name("child")))
        with pytest.raises(VerificationFailed, match=r"not in the staging schema .* Clear the create_schema task"):
            case.verify("child")

    def test_a_table_that_the_snapshot_lacks(self, make: Make) -> None:
        case = make()
        case.fill("DROP TABLE child")
        case.stage("child", [])
        with pytest.raises(SourceError, match="The snapshot has no table child"):
            case.verify("child")

    def test_a_run_that_has_ended(self, make: Make) -> None:
        case = staged(make())
        state.update(case.pg, state.runs, {"status": "rolled_back"}, run_id=case.job.run_id)
        with pytest.raises(migration.errors.MigrationError, match="is rolled back"):
            case.verify("child")


class TestTheRows:
    """Balance and who wrote the rows."""

    @pytest.mark.parametrize("change", ["UPDATE {} SET refers = refers", "UPDATE {} SET refers = 10 WHERE id = 1"])
    def test_rows_written_after_the_load_are_found_although_their_values_are_right(
        self, make: Make, change: str
    ) -> None:
        case = staged(make())
        case.pg.execute(sql.SQL(change).format(case.name("child")))
        detail = failed(case)["untouched"]
        assert detail.endswith("of 3 rows were written by another transaction than the load's")

    @pytest.mark.parametrize(
        ("change", "names"),
        [
            ("source_rows = 4, excluded = 1", {"source rows", "balance"}),
            ("source_rows = 4, loaded = 4", {"source rows", "target rows"}),
            ("source_rows = 4, quarantined = 1", {"source rows", "quarantine"}),
            ("altered = 1", {"altered values"}),
        ],
    )
    def test_a_record_that_does_not_balance_is_found(self, make: Make, change: str, names: set[str]) -> None:
        case = staged(make())
        case.pg.execute(
            f"UPDATE migration.loads SET {change} WHERE run_id = %s AND table_name = 'child'".encode(),
            [case.job.run_id],
        )
        assert failed(case).keys() == names

    def test_the_message_leads_to_the_load(self, make: Make) -> None:
        case = staged(make())
        case.pg.execute(sql.SQL("UPDATE {} SET refers = refers").format(case.name("child")))
        with pytest.raises(VerificationFailed, match=r"check untouched: 3 of 3 rows.*\nClear the load task of child"):
            case.verify("child")


class TestReferences:
    """Orphans are counted; only those of a real foreign key fail."""

    def test_orphans_of_a_reference_that_nobody_enforces_are_named(self, make: Make) -> None:
        case = make()
        more = [(i, None, i) for i in range(4, 12)]
        case.fill("INSERT INTO child VALUES (?, ?, ?)", more)
        case.stage("parent", PARENTS)
        case.stage("child", [*CHILDREN, *more])
        case.verify("child")
        detail = "7 rows have no row of parent: [4], [5], [6], [7], [8], …"
        assert case.checks("child")["reference refers"] == (True, detail)

    def test_orphans_of_a_foreign_key_are_found_although_the_server_calls_it_valid(self, make: Make) -> None:
        case = make()
        case.fill("INSERT INTO child VALUES (4, 3, 10)")
        case.begin()
        case.pg.execute(sql.SQL("ALTER TABLE {} DROP CONSTRAINT child_parent_fkey").format(case.name("child")))
        case.stage("parent", PARENTS)
        case.stage("child", [*CHILDREN, (4, 3, 10)])
        case.pg.execute(
            sql.SQL(
                "ALTER TABLE {} ADD CONSTRAINT child_parent_fkey FOREIGN KEY (parent_id) REFERENCES {} NOT VALID"
            ).format(case.name("child"), case.name("parent"))
        )
        assert failed(case) == {
            "foreign key child_parent_fkey": "1 rows have no row of parent: [4]",
            "constraints validated": "not validated: child_parent_fkey",
        }

    @pytest.mark.parametrize("policy", ["quarantine", "null"])
    def test_an_orphan_is_a_cause_for_what_the_plan_declares(self, make: Make, policy: str) -> None:
        case = make(columns={"parent_id": ColumnPlan(invalid=Invalid(policy))})
        case.fill("INSERT INTO child VALUES (4, 3, 10)")
        case.stage("parent", PARENTS)
        if policy == "quarantine":
            case.stage("child", CHILDREN, quarantined=1)
            kept = {"id": ("integer", b"4"), "parent_id": ("integer", b"3"), "refers": ("integer", b"10")}
            case.quarantine("child", "[4]", "parent_id", kept)
        else:
            case.stage("child", [*CHILDREN, (4, None, 10)], altered=1)
            case.alter("child", "[4]", "parent_id", "null", "integer", b"3")
        case.verify("child")

    @pytest.mark.parametrize("policy", ["quarantine", "null"])
    def test_a_row_with_a_parent_is_no_orphan(self, make: Make, policy: str) -> None:
        case = make(columns={"parent_id": ColumnPlan(invalid=Invalid(policy))})
        case.stage("parent", PARENTS)
        if policy == "quarantine":
            case.stage("child", CHILDREN[1:], quarantined=1)
            kept = {"id": ("integer", b"1"), "parent_id": ("integer", b"1"), "refers": ("integer", b"10")}
            case.quarantine("child", "[1]", "parent_id", kept)
        else:
            case.stage("child", [(1, None, 10), *CHILDREN[1:]], altered=1)
            case.alter("child", "[1]", "parent_id", "null", "integer", b"1")
        with pytest.raises(VerificationFailed):
            case.verify("child")
        assert {d[0] for d in case.differences("child")} == {"[1]"}


class TestTheSequence:
    """The next id lies behind every one ever used, deleted ones included, and is not used up by looking."""

    @pytest.mark.parametrize(("last", "right"), [(2, False), (3, True), (4, True)])
    def test_the_largest_id_decides(self, make: Make, last: int, right: bool) -> None:
        case = staged(make(ddl="id INTEGER PRIMARY KEY"))
        case.advance("child", last)
        if right:
            case.verify("child")
        else:
            assert failed(case) == {"sequence of id": "the next id is 3; the largest that the source ever used is 3"}

    @pytest.mark.parametrize(("last", "right"), [(99, False), (100, True)])
    def test_ids_of_deleted_rows_are_not_used_again(self, make: Make, last: int, right: bool) -> None:
        case = make()
        case.fill("INSERT INTO child VALUES (100, NULL, NULL); DELETE FROM child WHERE id = 100")
        staged(case).advance("child", last)
        if right:
            case.verify("child")
        else:
            assert failed(case)["sequence of id"].endswith("the largest that the source ever used is 100")

    def test_it_is_where_it_was_afterwards(self, make: Make) -> None:
        case = staged(make())
        case.advance("child", 3)
        case.verify("child")
        case.verify("child")
        name = case.name("child").as_string(case.pg)
        assert case.pg.execute("SELECT nextval(pg_get_serial_sequence(%s, 'id'))", [name]).fetchone() == (4,)

    def test_one_that_was_never_used_begins_behind_the_last_id(self, make: Make) -> None:
        case = staged(make())
        name = case.name("child").as_string(case.pg)
        case.pg.execute("SELECT setval(pg_get_serial_sequence(%s, 'id'), 4, false)", [name])
        case.verify("child")
        case.pg.execute("SELECT setval(pg_get_serial_sequence(%s, 'id'), 3, false)", [name])
        assert failed(case)["sequence of id"].startswith("the next id is 3;")

    def test_a_lost_one_is_found(self, make: Make) -> None:
        case = staged(make())
        case.pg.execute(sql.SQL("ALTER TABLE {} ALTER COLUMN id DROP IDENTITY").format(case.name("child")))
        assert failed(case) == {"sequence of id": "the models number this column, and it has no sequence"}


class TestWhatHoldsTheRows:
    """Constraints and indexes: there, valid, usable."""

    @pytest.mark.parametrize(
        ("change", "check", "detail"),
        [
            ("ALTER TABLE {} DROP CONSTRAINT child_parent_fkey", "constraints", "missing: child_parent_fkey"),
            ("ALTER TABLE {} DROP CONSTRAINT ck_child_positive", "constraints", "missing: ck_child_positive"),
            (
                "ALTER TABLE {} RENAME CONSTRAINT ck_child_positive TO other",
                "constraints",
                "missing: ck_child_positive",
            ),
        ],
    )
    def test_a_missing_constraint_is_found(self, make: Make, change: str, check: str, detail: str) -> None:
        case = staged(make())
        case.pg.execute(sql.SQL(change).format(case.name("child")))
        assert failed(case) == {check: detail}

    def test_a_missing_constraint_without_a_name_of_its_own_is_found(self, make: Make) -> None:
        case = staged(make())
        case.pg.execute(sql.SQL("ALTER TABLE {} DROP CONSTRAINT parent_n_key").format(case.name("parent")))
        assert failed(case, "parent") == {"constraints": "missing: one of 1 unique constraints"}

    def test_a_missing_primary_key_is_found(self, make: Make) -> None:
        case = staged(make())
        case.pg.execute(sql.SQL("ALTER TABLE {} DROP CONSTRAINT child_pkey").format(case.name("child")))
        assert "missing: one of 1 primary key constraints" in failed(case)["constraints"]

    def test_a_missing_index_is_found(self, make: Make) -> None:
        case = staged(make())
        case.pg.execute(sql.SQL("DROP INDEX {}").format(sql.Identifier(case.job.staging, "child_refers_idx")))
        assert failed(case) == {"indexes": "missing: child_refers_idx"}

    def test_an_index_that_cannot_be_used_is_found(self, make: Make, postgres_server: Server) -> None:
        case = staged(make())
        name = f'{case.job.staging}."child_refers_idx"'
        with psycopg.connect(postgres_server.admin, dbname=case.pg.info.dbname, autocommit=True) as admin:
            admin.execute("UPDATE pg_index SET indisvalid = false WHERE indexrelid = %s::regclass", [name])
        assert failed(case) == {"indexes valid": "not valid: child_refers_idx"}

    def test_the_message_leads_to_finish_schema(self, make: Make) -> None:
        case = staged(make())
        case.pg.execute(sql.SQL("DROP INDEX {}").format(sql.Identifier(case.job.staging, "child_refers_idx")))
        with pytest.raises(VerificationFailed, match=r"check indexes: .*\nClear the finish_schema task"):
            case.verify("child")


class TestAtTheSameTime:
    """Verification and other work on the table."""

    def test_it_waits_for_a_load_and_gives_up_after_a_while(self, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
        case = staged(make())
        monkeypatch.setattr(target, "SETTINGS", target.SETTINGS.replace("lock_timeout=10s", "lock_timeout=500ms"))
        with connected(case.job.target, "loading") as other:
            lock(other, "Table child", case.job.run_id, "child")
            started = time.monotonic()
            with pytest.raises(TransientError, match="Table child is being worked on by another process"):
                case.verify("child")
            assert 0.5 <= time.monotonic() - started < 10

    def test_nobody_writes_to_the_table_meanwhile(self, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
        case = staged(make())
        written: list[float] = []

        def write() -> None:
            with psycopg.connect(case.job.target, autocommit=True) as other:
                other.execute(sql.SQL("UPDATE {} SET refers = 11 WHERE id = 1").format(case.name("child")))
                written.append(time.monotonic())

        from migration.verify import table as verification

        original = getattr(verification, "compare")  # noqa: B009 - imported there, not exported

        def slow(*arguments: Any) -> Any:
            writer.start()
            time.sleep(0.5)
            assert not written
            return original(*arguments)

        writer = threading.Thread(target=write)
        monkeypatch.setattr(verification, "compare", slow)
        case.verify("child")
        writer.join()
        assert written


def test_a_lost_connection_is_worth_another_attempt(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    from migration.verify import hashing

    case = staged(make())
    original = hashing._joined

    def cut(*arguments: Any) -> Any:
        case.pg.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE application_name LIKE 'migration: Verifying%' AND datname = current_database()"
        )
        return original(*arguments)

    monkeypatch.setattr(hashing, "_joined", cut)
    with pytest.raises(TransientError, match="Verifying table child"):
        case.verify("child")
    monkeypatch.setattr(hashing, "_joined", original)
    case.verify("child")
