"""The staged tables become exactly what the models say, whatever an earlier attempt left behind."""

import sys
from types import ModuleType
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa

from migration.errors import MigrationError, PlanError, TargetError, TransientError
from migration.job import Job
from migration.plan import Plan, TablePlan
from migration.postgres import schema as engine
from migration.postgres import state, target
from migration.postgres.schema import create_schema, finish_schema
from migration.postgres.shape import Shape, described, targets
from migration.postgres.staging import hold
from migration.postgres.target import connected
from tests.engine.staged import (
    LINES,
    ROWS,
    SHOP,
    WIDGETS,
    admin,
    ask,
    begin,
    create_live,
    job_for,
    load,
    query,
    run_of,
    stage,
)


@pytest.fixture
def created(job: Job) -> Job:
    begin(job)
    create_schema(job)
    return job


@pytest.fixture
def loaded(created: Job) -> Job:
    for table, rows in ROWS.items():
        load(created, table, rows)
    return created


def shapes(job: Job, schema: str | None = None) -> dict[str, Shape]:
    with admin(job.target) as connection:
        return described(connection, schema or job.staging, targets(job.plan))


def execute(job: Job, statement: str) -> None:
    """Execute a statement in the staging schema."""
    with admin(job.target) as connection:
        connection.execute(f"SET search_path = {job.staging}".encode())
        connection.execute(statement.encode())


def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(target, "SETTINGS", target.SETTINGS.replace("lock_timeout=10s", "lock_timeout=200ms"))


class TestCreate:
    @pytest.mark.parametrize("plan", [SHOP, WIDGETS], ids=lambda p: p.name)
    def test_makes_columns_and_sequences_as_the_models_do_and_nothing_else(self, target_dsn: str, plan: Plan) -> None:
        job = job_for(target_dsn, plan=plan)
        create_live(target_dsn, plan)
        begin(job)
        assert create_schema(job) == {"schema": job.staging, "tables": len(plan.tables)}
        for table, shape in shapes(job, "public").items():
            bare = shape | {"constraints": {}, "foreign_keys": {}, "indexes": {}}
            assert shapes(job)[table] == bare

    def test_a_default_keeps_percent_sign_quote_and_backslash(self, created: Job) -> None:
        execute(created, "INSERT INTO orders (customer_id) VALUES (1)")
        assert ask(created, "SELECT note FROM staging.orders") == [("it's 50% \\ off",)]

    def test_again_starts_over_and_forgets_what_was_recorded_of_the_rows(self, loaded: Job) -> None:
        finish_schema(loaded)
        with admin(loaded.target) as connection:
            approval = {"answer": "cut_over", "by": "ann", "at": "now"}
            state.update(connection, state.runs, {"approval": approval}, run_id=loaded.run_id)
        before = run_of(loaded)["staged"]
        create_schema(loaded)
        with admin(loaded.target) as connection:
            assert state.rows(connection, state.loads) == []
            assert {r["step"] for r in state.rows(connection, state.steps)} == {
                "preflight",
                "backup",
                "create_schema",
            }
        run = run_of(loaded)
        assert (run["approval"], run["status"]) == (None, "running")
        assert run["staged"].keys() == before.keys()
        assert run["staged"] != before
        assert not any(shape["constraints"] for shape in shapes(loaded).values())

    def test_refuses_a_schema_of_that_name_that_it_did_not_make(self, job: Job) -> None:
        begin(job)
        query(job.target, f"CREATE SCHEMA {job.staging} CREATE TABLE mine ()")
        with pytest.raises(TargetError, match=f"Schema {job.staging} exists, but run run 1 did not create it"):
            create_schema(job)
        assert ask(job, "SELECT count(*) FROM staging.mine") == [(0,)]

    @pytest.mark.parametrize(
        ("foreign", "name"),
        [
            ("CREATE TABLE mine ()", "table {}.mine"),
            ("CREATE SEQUENCE mine", "sequence {}.mine"),
            ("CREATE FUNCTION mine() RETURNS int LANGUAGE sql RETURN 1", "function {}.mine()"),
            ("CREATE VIEW public.mine AS SELECT id FROM orders", "view mine"),
            ("ALTER TABLE orders RENAME TO kept", None),
        ],
    )
    def test_again_never_drops_what_it_did_not_make(self, loaded: Job, foreign: str, name: str | None) -> None:
        execute(loaded, foreign)
        if name is None:  # its own table under another name
            create_schema(loaded)
            return
        with pytest.raises(TargetError) as raised:
            create_schema(loaded)
        assert name.format(loaded.staging) in str(raised.value)
        assert ask(loaded, "SELECT count(*) FROM staging.customers") == [(3,)]
        with admin(loaded.target) as connection:
            assert len(state.rows(connection, state.loads)) == 3

    def test_waits_for_a_step_at_work_in_the_same_run(self, created: Job, monkeypatch: pytest.MonkeyPatch) -> None:
        impatient(monkeypatch)
        with connected(created.target, "working") as connection:
            hold(connection, created)
            with pytest.raises(TransientError, match="Run run 1 is being worked on"):
                create_schema(created)
        create_schema(created)

    @pytest.mark.parametrize("status", ["cut_over", "rolled_back", "superseded"])
    def test_refuses_a_run_that_has_ended(self, created: Job, status: str) -> None:
        with admin(created.target) as connection:
            state.update(connection, state.runs, {"status": status}, run_id=created.run_id)
        with pytest.raises(MigrationError, match=f"is {status.replace('_', ' ')}"):
            create_schema(created)


class TestModels:
    """What the models may not hold, because it could not be staged."""

    def job(self, dsn: str, monkeypatch: pytest.MonkeyPatch, *columns: sa.Column[Any]) -> Job:
        module = ModuleType("other_models")
        module.metadata = sa.MetaData()  # type: ignore[attr-defined]
        sa.Table("parents", module.metadata, sa.Column("id", sa.Integer, primary_key=True))
        sa.Table("notes", module.metadata, sa.Column("id", sa.Integer, primary_key=True), *columns)
        monkeypatch.setitem(sys.modules, "other_models", module)
        plan = SHOP.model_copy(update={"models": "other_models:metadata", "tables": {"notes": TablePlan()}})
        return job_for(dsn, plan=plan)

    def test_an_enum_type(self, target_dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
        job = self.job(target_dsn, monkeypatch, sa.Column("kind", sa.Enum("a", "b", name="kind")))
        begin(job)
        with pytest.raises(PlanError, match="need more than tables: CREATE TYPE.*kind"):
            create_schema(job)
        assert query(target_dsn, "SELECT 1 FROM pg_type WHERE typname = 'kind'") == []

    def test_a_foreign_key_to_a_table_that_is_not_planned(
        self, target_dsn: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        job = self.job(target_dsn, monkeypatch, sa.Column("parent", sa.ForeignKey("parents.id")))
        begin(job)
        with pytest.raises(PlanError, match="leads out of the planned tables.*parents"):
            create_schema(job)


class TestFinish:
    @pytest.mark.parametrize("plan", [SHOP, WIDGETS], ids=lambda p: p.name)
    @pytest.mark.parametrize("big", [0, engine.BIG], ids=["several connections", "one connection"])
    def test_makes_exactly_what_the_models_have(
        self, target_dsn: str, plan: Plan, big: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(engine, "BIG", big)
        job = job_for(target_dsn, plan=plan)
        create_live(target_dsn, plan)
        stage(job)
        assert shapes(job) == shapes(job, "public")

    def test_says_which_tables_are_not_loaded(self, created: Job) -> None:
        load(created, "orders", [])
        with pytest.raises(MigrationError, match=f"Not loaded yet: clients, {LINES}"):
            finish_schema(created)

    def test_again_makes_nothing(self, loaded: Job) -> None:
        assert len(finish_schema(loaded)["created"]) == 11
        assert finish_schema(loaded) == {"tables": 3, "created": []}

    @pytest.mark.parametrize(
        ("damage", "made"),
        [
            ("DROP INDEX orders_open_idx", ["orders_open_idx"]),
            (
                "DROP INDEX orders_customer_id_idx; CREATE INDEX orders_customer_id_idx ON orders (customer_id DESC)",
                ["orders_customer_id_idx"],
            ),
            ("ALTER TABLE customers DROP CONSTRAINT customers_email_key", ["customers_email_key"]),
            (
                "ALTER TABLE customers DROP CONSTRAINT customers_pkey CASCADE, ADD CONSTRAINT customers_pkey"
                " PRIMARY KEY (id, email)",
                ["customers_pkey", "customers_manager_id_fkey", "orders_customer_id_fkey"],
            ),
            (
                "ALTER TABLE customers DROP CONSTRAINT customers_pkey CASCADE, ADD CONSTRAINT customers_pkey"
                " PRIMARY KEY (id) INCLUDE (email), ADD FOREIGN KEY (manager_id) REFERENCES customers",
                ["customers_pkey", "customers_manager_id_fkey", "orders_customer_id_fkey"],
            ),
            (
                "ALTER TABLE orders DROP CONSTRAINT orders_customer_id_fkey, ADD CONSTRAINT"
                " orders_customer_id_fkey FOREIGN KEY (customer_id) REFERENCES customers NOT VALID",
                ["orders_customer_id_fkey"],
            ),
            (
                "ALTER TABLE orders DROP CONSTRAINT orders_total_check,"
                " ADD CONSTRAINT orders_total_check CHECK (total > -9)",
                ["orders_total_check"],
            ),
        ],
    )
    def test_again_replaces_what_differs(self, loaded: Job, damage: str, made: list[str]) -> None:
        finish_schema(loaded)
        right = shapes(loaded)
        execute(loaded, damage)
        assert sorted(finish_schema(loaded)["created"]) == sorted(made)
        assert shapes(loaded) == right

    def test_again_replaces_an_invalid_index(self, loaded: Job) -> None:
        load(loaded, "orders", [(1, 1), (2, 1)])
        finish_schema(loaded)
        right = shapes(loaded)
        execute(loaded, "DROP INDEX orders_customer_id_idx")
        with pytest.raises(psycopg.errors.UniqueViolation):
            execute(loaded, "CREATE UNIQUE INDEX CONCURRENTLY orders_customer_id_idx ON orders (customer_id)")
        assert shapes(loaded) != right
        finish_schema(loaded)
        assert shapes(loaded) == right

    def test_again_removes_what_the_models_do_not_have(self, loaded: Job) -> None:
        finish_schema(loaded)
        right = shapes(loaded)
        execute(
            loaded,
            "CREATE INDEX more ON orders (note); ALTER TABLE orders ADD CHECK (note <> 'z'),"
            " ADD FOREIGN KEY (id) REFERENCES customers NOT VALID",
        )
        finish_schema(loaded)
        assert shapes(loaded) == right

    def test_a_table_loaded_again_gets_its_own_back_and_the_foreign_keys_that_point_at_it(self, loaded: Job) -> None:
        finish_schema(loaded)
        right = shapes(loaded)
        load(loaded, "clients", ROWS["clients"])
        assert sorted(finish_schema(loaded)["created"]) == [
            "customers_email_key",
            "customers_manager_id_fkey",
            "customers_pkey",
            "orders_customer_id_fkey",
        ]
        assert shapes(loaded) == right

    def test_notes_for_each_load_that_it_is_finished(self, loaded: Job) -> None:
        finish_schema(loaded)
        with admin(loaded.target) as connection:
            assert all(r["indexed_at"] and r["shape"] for r in state.rows(connection, state.loads))
        load(loaded, "orders", [])
        with admin(loaded.target) as connection:
            (row,) = state.rows(connection, state.loads, table_name="orders")
        assert row["indexed_at"] is None

    def test_a_table_loaded_meanwhile_is_not_taken_for_finished(
        self, loaded: Job, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        real = engine._foreign_keys

        def late(*args: Any) -> None:
            load(loaded, LINES, [])
            real(*args)

        monkeypatch.setattr(engine, "_foreign_keys", late)
        with pytest.raises(TransientError, match="was loaded again"):
            finish_schema(loaded)

    def test_tables_of_older_models_are_told_apart(self, loaded: Job) -> None:
        execute(loaded, "ALTER TABLE orders ADD COLUMN more text; DROP TABLE customers")
        with pytest.raises(TargetError, match="table customers is missing; table orders has columns.*more"):
            finish_schema(loaded)

    def test_leaves_statistics(self, loaded: Job) -> None:
        finish_schema(loaded)
        found = query(
            loaded.target,
            "SELECT count(*) FROM pg_class WHERE relkind = 'r' AND reltuples >= 0 AND relnamespace = %s::regnamespace",
            loaded.staging,
        )
        assert found == [(3,)]


class TestViolations:
    @pytest.mark.parametrize(
        ("table", "rows", "words"),
        [
            ("clients", [(5, "a"), (5, "b")], ["Table customers: customers_pkey", "(id)=(5)", "source"]),
            ("clients", [(1, "a"), (2, "a")], ["customers_email_key UNIQUE (email)", "(email)=(a)"]),
            (
                "orders",
                [(1, 1), (2, 99)],
                ["orders_customer_id_fkey", "(customer_id)=(99)", "customers", "Load both"],
            ),
            (
                "orders",
                [(1, 1, -5, "bad")],
                ["orders_total_check CHECK", "the row (1,1,-5.00,bad,) breaks it"],
            ),
            ("clients", [(1, "a", 8)], ["customers_manager_id_fkey", "(manager_id)=(8)"]),
        ],
    )
    def test_names_table_columns_key_and_what_to_do(
        self, created: Job, table: str, rows: list[tuple[Any, ...]], words: list[str]
    ) -> None:
        for name in created.plan.tables:
            load(created, name, rows if name == table else ROWS[name])
        with pytest.raises(TargetError) as raised:
            finish_schema(created)
        for word in words:
            assert word in str(raised.value)


class TestSequences:
    @pytest.mark.parametrize(
        ("rows", "recorded", "following"),
        [
            ([], None, 1),
            ([], 20, 21),
            ([(7, "a")], None, 8),
            ([(7, "a")], 3, 8),
            ([(7, "a")], 20, 21),
            ([(-4, "a")], None, 1),
            ([(2147483646, "a")], None, 2147483647),
        ],
    )
    def test_go_on_after_the_largest_id_ever_used(
        self, created: Job, rows: list[tuple[Any, ...]], recorded: int | None, following: int
    ) -> None:
        self.finish(created, rows, recorded)
        # A second time: what it set before, and numbers drawn since, do not matter.
        for _ in range(2):
            assert ask(created, "SELECT nextval('staging.customers_id_seq')") == [(following,)]
            finish_schema(created)

    def finish(self, job: Job, rows: list[tuple[Any, ...]], recorded: int | None) -> None:
        load(job, "clients", rows)
        load(job, "orders", [])
        load(job, LINES, [])
        if recorded is not None:
            with admin(job.target) as connection:
                snapshot = {"sequences": {"clients": recorded}}
                state.update(connection, state.runs, {"snapshot": snapshot}, run_id=job.run_id)
        finish_schema(job)

    def test_an_identity_column_that_was_never_used_keeps_its_start(self, created: Job) -> None:
        self.finish(created, [], None)
        assert ask(created, "SELECT nextval('staging.orders_id_seq')") == [(10,)]

    @pytest.mark.parametrize(
        ("row_key", "following"),
        [("[50]", 51), ('["a\\u0000"]', 8), ("[5]", 8), ("[3000000000]", 8), ('["x"]', 8), ("[9,9]", 8)],
    )
    def test_leave_the_id_of_a_quarantined_row_free(self, created: Job, row_key: str, following: int) -> None:
        with admin(created.target) as connection:
            row = {
                "run_id": created.run_id,
                "table_name": "clients",
                "row_key": row_key,
                "column_name": "email",
                "storage_class": "text",
                "rule": "x",
                "reason": "x",
            }
            state.put(connection, state.quarantine, row)
        self.finish(created, [(7, "a")], None)
        assert ask(created, "SELECT nextval('staging.customers_id_seq')") == [(following,)]

    def test_an_id_that_the_column_cannot_number_is_refused(self, created: Job) -> None:
        with pytest.raises(TargetError, match="column id numbers up to 2147483647.*ids up to 3000000000"):
            self.finish(created, [], 3_000_000_000)
