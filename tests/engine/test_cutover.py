"""The cut-over puts exactly the verified tables in place, or changes nothing; a rollback leaves no trace."""

import pytest
from psycopg import sql

from migration.errors import CutOverRefused, MigrationError, TargetError, TransientError
from migration.job import Job, Params
from migration.plan import Plan
from migration.postgres import state
from migration.postgres.cutover import cut_over, discard_stale, rollback
from migration.postgres.gate import gate
from migration.postgres.schema import create_schema, finish_schema
from migration.postgres.staging import hold
from migration.postgres.target import connected
from tests.conftest import ROLE
from tests.engine.staged import (
    LINES,
    QUOTED_LINES,
    ROWS,
    SHOP,
    WIDGETS,
    admin,
    ask,
    begin,
    create_live,
    dump,
    in_schemas_of,
    job_for,
    load,
    populate,
    query,
    run_of,
    schemas,
    stage,
    unchanged,
    verify,
)


class TestCutOver:
    @pytest.mark.parametrize("plan", [SHOP, WIDGETS], ids=lambda p: p.name)
    def test_leaves_what_the_models_themselves_would_have_created(self, target_dsn: str, plan: Plan) -> None:
        create_live(target_dsn, plan)
        models = dump(target_dsn, "--schema-only")
        job = job_for(target_dsn, plan=plan)
        stage(job)
        cut_over(job, source_unchanged=unchanged)
        assert dump(target_dsn, "--schema-only") == models

    def test_puts_rows_and_sequences_in_place_and_the_former_tables_aside(self, job: Job) -> None:
        populate(job.target)
        stage(job, sequences={"clients": 40})
        result = cut_over(job, source_unchanged=unchanged)
        assert query(job.target, "SELECT id, email FROM customers ORDER BY 1") == [r[:2] for r in ROWS["clients"]]
        assert query(job.target, "SELECT nextval('customers_id_seq'), nextval('orders_id_seq')") == [(41, 4)]
        assert ask(job, "SELECT email FROM retired.customers ORDER BY 1") == [
            ("old@example.org",),
            ("older@example.org",),
        ]
        assert schemas(job.target) == {job.retired}
        run = run_of(job)
        assert run["status"] == "cut_over"
        assert result == {
            "tables": 3,
            "rows": 8,
            "schema": "public",
            "retired_tables": 3,
            "retired_schema": job.retired,
            "cut_over_at": str(run["cut_over_at"]),
        }
        assert run["live_after"]["customers"]["rows"] == 3

    def test_into_an_empty_schema_makes_no_retired_one(self, staged: Job) -> None:
        assert cut_over(staged, source_unchanged=unchanged)["retired_schema"] is None
        assert schemas(staged.target) == set()

    def test_again_recognises_its_own_work(self, staged: Job) -> None:
        first = cut_over(staged, source_unchanged=unchanged)
        query(staged.target, "INSERT INTO customers (email) VALUES ('new@example.org')")
        assert cut_over(staged, source_unchanged=lambda: "the source differs") == first

    def test_again_after_its_tables_were_replaced_is_refused(self, staged: Job) -> None:
        cut_over(staged, source_unchanged=unchanged)
        query(staged.target, "ALTER TABLE customers RENAME TO gone; CREATE TABLE customers ()")
        with pytest.raises(CutOverRefused, match="not live any more: customers"):
            cut_over(staged, source_unchanged=unchanged)

    def test_a_source_that_changed_stops_it(self, staged: Job) -> None:
        before = dump(staged.target)
        with pytest.raises(CutOverRefused, match="decisions has 4 rows, the snapshot 3"):
            cut_over(staged, source_unchanged=lambda: "decisions has 4 rows, the snapshot 3")
        assert dump(staged.target) == before
        assert run_of(staged)["status"] == "running"

    @pytest.mark.parametrize(
        ("change", "words"),
        [
            ("INSERT INTO customers (email) VALUES ('x')", "customers held 2 rows and holds 3 now"),
            ("UPDATE orders SET total = 7 WHERE id = 10", "orders still holds 2 rows, but not the same ones"),
            ("DROP TABLE orders CASCADE", "orders is gone"),
            (
                "ALTER TABLE orders RENAME TO o; CREATE TABLE orders AS TABLE o; DROP TABLE o CASCADE",
                "orders was replaced by another table: 2 rows then, 2 now",
            ),
            ("DROP TABLE orders CASCADE; CREATE VIEW orders AS SELECT 1", "orders was a table and is a view"),
        ],
    )
    def test_live_tables_that_changed_since_preflight_stop_it(self, job: Job, change: str, words: str) -> None:
        populate(job.target)
        stage(job)
        query(job.target, change)
        before = dump(job.target)
        with pytest.raises(CutOverRefused, match=words):
            cut_over(job, source_unchanged=unchanged)
        assert dump(job.target) == before
        assert schemas(job.target) == {job.staging}

    def test_a_live_table_that_appeared_since_preflight_stops_it(self, staged: Job) -> None:
        create_live(staged.target)
        with pytest.raises(CutOverRefused, match="customers did not exist, and is a table with 0 rows now"):
            cut_over(staged, source_unchanged=unchanged)

    def test_rows_written_back_as_they_were_do_not_stop_it(self, job: Job) -> None:
        populate(job.target)
        stage(job)
        for statement in ("UPDATE orders SET total = total", "VACUUM FULL orders", "ANALYZE"):
            query(job.target, statement)
        cut_over(job, source_unchanged=unchanged)

    def test_what_was_hung_on_the_live_tables_since_preflight_stops_it(self, job: Job) -> None:
        populate(job.target)
        stage(job)
        query(job.target, "CREATE VIEW seen AS SELECT id FROM orders")
        with pytest.raises(CutOverRefused, match="depend on the live tables.*view seen"):
            cut_over(job, source_unchanged=unchanged)
        assert schemas(job.target) == {job.staging}

    def test_a_name_taken_since_preflight_stops_it(self, staged: Job) -> None:
        query(staged.target, "CREATE TABLE other (id int CONSTRAINT customers_pkey PRIMARY KEY)")
        with pytest.raises(CutOverRefused, match="index customers_pkey of table other"):
            cut_over(staged, source_unchanged=unchanged)
        assert schemas(staged.target) == {staged.staging}


class TestGrants:
    GRANTED = """
        SELECT c.relname, '', x.grantee::regrole::text, x.privilege_type, x.is_grantable
        FROM pg_class c, aclexplode(coalesce(
            c.relacl, acldefault(CASE c.relkind WHEN 'S' THEN 's' ELSE 'r' END::"char", c.relowner))) x
        WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'S')
        UNION ALL
        SELECT c.relname, a.attname, x.grantee::regrole::text, x.privilege_type, x.is_grantable
        FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid, aclexplode(a.attacl) x
        WHERE c.relnamespace = 'public'::regnamespace
        ORDER BY 1, 2, 3, 4
    """
    OWNERS = """
        SELECT relname, relowner::regrole::text FROM pg_class
        WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'S')
    """

    def test_the_new_tables_grant_what_the_former_ones_did(self, job: Job, role: str) -> None:
        populate(job.target, role)
        before = query(job.target, self.GRANTED)
        assert len(before) > 20
        stage(job)
        cut_over(job, source_unchanged=unchanged)
        assert query(job.target, self.GRANTED) == before

    def test_the_new_tables_belong_to_the_former_owner_who_can_work_with_them(
        self, job: Job, role: str, superuser: str
    ) -> None:
        populate(job.target)
        owner = sql.Identifier(role)
        with admin(superuser) as connection:  # the migration's role is a member of the owner and no superuser
            connection.execute(sql.SQL("GRANT {} TO {}").format(owner, sql.Identifier(ROLE)))
            connection.execute(sql.SQL("ALTER TABLE customers OWNER TO {}").format(owner))
            connection.execute(sql.SQL("ALTER TABLE orders OWNER TO {}").format(owner))
        owners, before = sorted(query(job.target, self.OWNERS)), dump(job.target)
        stage(job)
        cut_over(job, source_unchanged=unchanged)
        assert sorted(query(job.target, self.OWNERS)) == owners
        with admin(superuser) as connection:
            connection.execute(sql.SQL("SET ROLE {}").format(owner))
            connection.execute("INSERT INTO customers (email) VALUES ('by the application')")
        rollback(job, confirm_lost_writes=True)
        assert dump(job.target) == before

    def test_comments_that_the_models_lack_are_carried_over(self, job: Job) -> None:
        populate(job.target)
        stage(job)
        cut_over(job, source_unchanged=unchanged)
        comments = query(
            job.target,
            "SELECT obj_description('orders'::regclass), col_description('orders'::regclass, 4),"
            " obj_description('customers'::regclass), col_description('customers'::regclass, 2)",
        )
        assert comments == [("the old orders", "a note", "Who 'buys'", "as entered; 100% of it")]

    def test_tables_that_replace_none_get_the_live_schemas_default_privileges(self, job: Job, role: str) -> None:
        with admin(job.target) as connection:
            for kind in ("SELECT, INSERT ON TABLES", "USAGE ON SEQUENCES"):
                statement = f"ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT {kind} TO {{}}"
                connection.execute(sql.SQL(statement).format(sql.Identifier(role)))
        create_live(job.target)
        expected = query(job.target, self.GRANTED)
        query(job.target, f"DROP TABLE customers, orders, {QUOTED_LINES}")
        stage(job)
        cut_over(job, source_unchanged=unchanged)
        assert query(job.target, self.GRANTED) == expected


SHUT = [
    ("DELETE FROM migration.loads WHERE table_name = 'orders'", "table orders: not loaded"),
    (
        "UPDATE migration.loads SET plan_digest = 'other' WHERE table_name = 'orders'",
        "plan was changed",
    ),
    (
        "UPDATE migration.loads SET indexed_at = NULL WHERE table_name = 'orders'",
        "keys and indexes were not",
    ),
    ("DELETE FROM migration.verifications WHERE table_name = 'orders'", "table orders: not verified"),
    ("UPDATE migration.verifications SET load_id = gen_random_uuid()", "table orders: not verified"),
    ("UPDATE migration.verifications SET ok = false, differences = 3", "found 3 differences"),
    ("UPDATE migration.verifications SET rows = 1", "3 rows were loaded, 1 verified"),
    (
        "UPDATE migration.loads SET quarantined = 1, source_rows = source_rows + 1",
        "holds 0 of its 1 rows",
    ),
    ("UPDATE migration.runs SET status = 'rehearsed'", "the run is rehearsed"),
    ("UPDATE migration.runs SET status = 'superseded'", "the run is superseded"),
    ("UPDATE migration.runs SET mode = 'rehearsal'", "the run is a rehearsal"),
    ("UPDATE migration.runs SET params = '{}'", "nobody has approved"),
    (
        'UPDATE migration.runs SET params = \'{}\', approval = \'{"answer": "keep", "by": "ann"}\'',
        "ann answered keep",
    ),
    ("DELETE FROM migration.steps WHERE step = 'preflight'", "step preflight has not run"),
    (
        "UPDATE migration.steps SET status = 'running' WHERE step = 'backup'",
        "step backup has not ended",
    ),
    (
        "UPDATE migration.steps SET status = 'failed' WHERE (step, table_name) = ('verify', 'orders')",
        "step verify orders failed",
    ),
    (
        "UPDATE staging.orders SET total = 1 WHERE id = 1",
        "3 rows loaded, 3 there, 2 of them untouched",
    ),
    ("DELETE FROM staging.orders WHERE id = 3", "3 rows loaded, 2 there, 2 of them untouched"),
    (
        "INSERT INTO staging.orders (customer_id) VALUES (1)",
        "3 rows loaded, 4 there, 3 of them untouched",
    ),
    ("DROP INDEX staging.orders_customer_id_idx", "indexes were changed after finish_schema"),
    ("ALTER TABLE staging.orders ALTER total DROP DEFAULT", "columns, keys or indexes were changed"),
    (
        "ALTER TABLE staging.orders RENAME TO o; CREATE TABLE staging.orders AS TABLE staging.o",
        "as create_schema made it",
    ),
    ("CREATE RULE none AS ON INSERT TO staging.orders DO INSTEAD NOTHING", "what no step made: rule none on"),
    (
        "CREATE TRIGGER undo BEFORE UPDATE ON staging.orders"
        " FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()",
        "what no step made: trigger undo on",
    ),
    ("CREATE POLICY few ON staging.orders", "what no step made: policy few on"),
    ("ALTER TABLE staging.orders ENABLE ROW LEVEL SECURITY", "what no step made: row level security of"),
]
"""What is done after all steps, and what the gate says then."""


class TestGate:
    def test_is_open_after_all_steps(self, staged: Job) -> None:
        with admin(staged.target) as connection:
            assert gate(connection, staged) == []

    def test_is_shut_and_says_why(self, staged: Job, subtests: pytest.Subtests) -> None:
        with admin(staged.target) as connection:
            for statement, words in SHUT:
                with subtests.test(words), connection.transaction(force_rollback=True):
                    connection.execute(in_schemas_of(staged, statement).encode())
                    reasons = gate(connection, staged)
                    assert any(words in reason for reason in reasons), reasons

    def test_shut_means_that_the_cut_over_changes_nothing_and_gives_all_reasons(self, staged: Job) -> None:
        before = dump(staged.target)
        query(staged.target, "UPDATE migration.verifications SET ok = false")
        ask(staged, "DELETE FROM staging.orders WHERE id = 3")
        with pytest.raises(CutOverRefused) as raised:
            cut_over(staged, source_unchanged=unchanged)
        assert "nothing was changed" in str(raised.value)
        assert str(raised.value).count("its verification found") == 3
        assert "3 rows loaded, 2 there" in str(raised.value)
        assert dump(staged.target) == before
        assert run_of(staged)["status"] == "running"

    def test_is_open_once_somebody_has_approved(self, target_dsn: str) -> None:
        job = job_for(target_dsn, params=Params(mode="cut_over"))
        stage(job)
        with admin(target_dsn) as connection:
            assert gate(connection, job) == ["nobody has approved it: answer the approve task"]
            approval = {"answer": "cut_over", "by": "ann", "at": "2024-01-01"}
            state.update(connection, state.runs, {"approval": approval}, run_id=job.run_id)
            assert gate(connection, job) == []
        load(job, "orders", ROWS["orders"])
        finish_schema(job)
        verify(job, "orders")
        with admin(target_dsn) as connection:  # the approval was of other rows
            assert gate(connection, job) == ["nobody has approved it: answer the approve task"]

    def test_a_table_that_left_the_plan_shuts_it(self, staged: Job) -> None:
        tables = {name: plan for name, plan in SHOP.tables.items() if name != LINES}
        smaller = job_for(staged.target, plan=SHOP.model_copy(update={"tables": tables}))
        with admin(staged.target) as connection:
            assert gate(connection, smaller) == [
                f"table {LINES} is staged, but not in the plan any more: clear the create_schema task"
            ]

    def test_a_table_loaded_again_shuts_it_until_finished_and_verified(self, staged: Job) -> None:
        load(staged, "clients", ROWS["clients"])
        with admin(staged.target) as connection:
            text = "\n".join(gate(connection, staged))
        assert "clients: its keys and indexes were not made" in text
        assert "clients: not verified since it was loaded" in text
        assert "orders: its columns, keys or indexes were changed" in text  # its foreign key had to go
        finish_schema(staged)
        verify(staged, "clients")
        with admin(staged.target) as connection:
            assert gate(connection, staged) == []


class TestRollback:
    def test_leaves_the_live_schema_as_a_dump_saw_it_before_the_migration(self, job: Job, role: str) -> None:
        populate(job.target, role)
        before = dump(job.target)
        assert "GRANT" in before
        assert "the old orders" in before
        stage(job)
        cut_over(job, source_unchanged=unchanged)
        assert dump(job.target) != before
        assert rollback(job)["restored"] == 3
        assert dump(job.target) == before
        assert schemas(job.target) == {job.staging}
        run = run_of(job)
        assert run["status"] == "rolled_back"
        assert run["rolled_back_at"] is not None

    def test_of_a_cut_over_into_an_empty_schema_leaves_it_empty(self, staged: Job) -> None:
        before = dump(staged.target)
        cut_over(staged, source_unchanged=unchanged)
        assert rollback(staged)["restored"] == 0
        assert dump(staged.target) == before

    def test_says_how_many_writes_would_be_lost_and_needs_them_confirmed(self, job: Job) -> None:
        populate(job.target)
        before = dump(job.target)
        stage(job)
        cut_over(job, source_unchanged=unchanged)
        query(
            job.target,
            "INSERT INTO customers (email) VALUES ('n1'), ('n2'); UPDATE customers SET email = 'u' WHERE id = 1",
        )
        query(job.target, 'DELETE FROM "odd ""%s"" Lines" WHERE "100%"')
        after = dump(job.target)
        with pytest.raises(CutOverRefused) as raised:
            rollback(job)
        assert "customers: 3 rows inserted or changed, 1 of the 3 migrated rows changed or deleted" in str(raised.value)
        assert f"{LINES}: 0 rows inserted or changed, 1 of the 2 migrated rows" in str(raised.value)
        assert "orders:" not in str(raised.value)
        assert dump(job.target) == after
        rollback(job, confirm_lost_writes=True)
        assert dump(job.target) == before
        assert ask(job, "SELECT count(*) FROM staging.customers") == [(5,)]

    def test_twice_is_harmless(self, staged: Job) -> None:
        cut_over(staged, source_unchanged=unchanged)
        rollback(staged)
        before = dump(staged.target)
        assert rollback(staged)["status"] == "rolled_back"
        assert dump(staged.target) == before
        assert schemas(staged.target) == {staged.staging}

    @pytest.mark.parametrize("status", ["running", "kept", "rehearsed"])
    def test_of_a_run_that_was_not_cut_over_drops_its_staging(self, job: Job, status: str) -> None:
        populate(job.target)
        before = dump(job.target)
        stage(job)
        query(job.target, "UPDATE migration.runs SET status = %s", status)
        assert rollback(job) == {"status": "rolled_back", "restored": 0, "dropped": 3}
        assert rollback(job)["dropped"] == 0
        assert dump(job.target) == before
        assert schemas(job.target) == set()
        with pytest.raises(MigrationError, match="rolled back"):
            create_schema(job)

    def test_of_a_run_that_never_began_has_nothing_to_undo(self, job: Job) -> None:
        assert rollback(job) == {"status": "nothing to undo"}
        begin(job_for(job.target, "another"))
        assert rollback(job) == {"status": "nothing to undo"}

    def test_of_a_run_under_a_later_one_is_refused_until_that_is_rolled_back(self, staged: Job) -> None:
        cut_over(staged, source_unchanged=unchanged)
        first = dump(staged.target)
        later = job_for(staged.target, "run 2")
        stage(later, {"clients": [(100, "z")]})
        cut_over(later, source_unchanged=unchanged)
        with pytest.raises(CutOverRefused, match="retired by the cut-over of run run 2: roll that one back first"):
            rollback(staged)
        rollback(later)
        assert dump(staged.target) == first
        rollback(staged)
        assert query(staged.target, "SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace") == [
            (0,)
        ]

    @pytest.mark.parametrize(
        ("statement", "error", "words"),
        [
            ("CREATE VIEW seen AS SELECT id FROM orders", CutOverRefused, "would follow them.*view seen"),
            ("ALTER TABLE orders RENAME TO o", CutOverRefused, "not live any more: orders.*by hand"),
            ("DROP TABLE retired.orders CASCADE", CutOverRefused, "nothing to go back to"),
            ("CREATE TABLE retired.mine ()", TargetError, "table retired.*mine.*Move or drop"),
        ],
    )
    def test_is_refused_whole_where_it_would_not_restore_everything(
        self, job: Job, statement: str, error: type[MigrationError], words: str
    ) -> None:
        populate(job.target)
        stage(job)
        cut_over(job, source_unchanged=unchanged)
        ask(job, statement)
        before = dump(job.target)
        with pytest.raises(error, match=words):
            rollback(job)
        assert dump(job.target) == before
        assert run_of(job)["status"] == "cut_over"


class TestStaleRuns:
    def discard(self, job: Job) -> list[str]:
        with connected(job.target, "discarding") as connection:
            return discard_stale(connection, job)

    def test_of_the_same_plan_lose_their_staging_and_can_do_no_more(self, staged: Job) -> None:
        other_plan = job_for(staged.target, "w", WIDGETS)
        begin(other_plan)
        create_schema(other_plan)
        new = job_for(staged.target, "run 2")
        begin(new)
        assert self.discard(new) == ["run 1"]
        assert schemas(staged.target) == {other_plan.staging}
        assert run_of(staged)["status"] == "superseded"
        with pytest.raises(MigrationError, match="Run run 1 is superseded"):
            create_schema(staged)
        assert self.discard(new) == []
        assert rollback(staged)["dropped"] == 0

    def test_that_were_cut_over_are_left_alone(self, job: Job) -> None:
        populate(job.target)
        stage(job)
        cut_over(job, source_unchanged=unchanged)
        assert self.discard(job_for(job.target, "run 2")) == []
        assert schemas(job.target) == {job.retired}

    def test_that_were_rolled_back_lose_what_was_set_aside(self, staged: Job) -> None:
        cut_over(staged, source_unchanged=unchanged)
        rollback(staged)
        assert self.discard(job_for(staged.target, "run 2")) == ["run 1"]
        assert schemas(staged.target) == set()
        assert run_of(staged)["status"] == "rolled_back"

    def test_that_were_rolled_back_keep_rows_that_were_written_after_the_cut_over(self, staged: Job) -> None:
        cut_over(staged, source_unchanged=unchanged)
        ask(staged, "DELETE FROM public.orders WHERE id = 3")
        rollback(staged, confirm_lost_writes=True)
        assert self.discard(job_for(staged.target, "run 2")) == []
        assert schemas(staged.target) == {staged.staging}

    def test_at_work_are_not_disturbed(self, staged: Job) -> None:
        with connected(staged.target, "working") as connection:
            hold(connection, staged)
            with pytest.raises(TransientError, match="Run run 1 of the plan shop is at work"):
                self.discard(job_for(staged.target, "run 2"))
        assert schemas(staged.target) == {staged.staging}
