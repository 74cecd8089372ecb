"""What is known of the live tables before the cut-over: what they hold, and all that stands in its way."""

import pytest

from migration.job import Job, Params
from migration.postgres import live
from migration.postgres.cutover import cut_over
from migration.postgres.target import connected
from tests.engine.staged import (
    LINES,
    QUOTED_LINES,
    admin,
    dump,
    job_for,
    populate,
    query,
    schemas,
    unchanged,
)

TORN = [
    ("CREATE VIEW seen AS SELECT id FROM orders", "view seen"),
    ("CREATE MATERIALIZED VIEW seen AS SELECT id FROM orders", "materialized view seen"),
    ("CREATE VIEW seen AS SELECT NULL::orders AS o", "view seen"),
    ("CREATE TABLE other (o bigint REFERENCES orders)", "constraint other_o_fkey on table other"),
    ("CREATE TABLE other (o orders)", "table other"),
    (
        "CREATE TABLE other (o int DEFAULT nextval('orders_id_seq'))",
        "default value for column o of table other",
    ),
    ("CREATE TABLE child () INHERITS (orders)", "table child"),
    ("CREATE TABLE parent (); ALTER TABLE orders INHERIT parent", "inheritance from table parent"),
    ("CREATE FUNCTION f(orders) RETURNS int LANGUAGE sql AS 'SELECT 1'", "function f(orders)"),
    ("CREATE FUNCTION f() RETURNS bigint BEGIN ATOMIC SELECT id FROM orders; END", "function f()"),
    ("CREATE PUBLICATION p FOR TABLE orders", "publication of table orders in publication p"),
    (
        "CREATE TABLE other (); CREATE RULE r AS ON INSERT TO other DO ALSO DELETE FROM orders",
        "table other",
    ),
    (
        "CREATE FUNCTION g() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';"
        " CREATE TRIGGER tr BEFORE INSERT ON orders FOR EACH ROW EXECUTE FUNCTION g()",
        "trigger tr on table orders",
    ),
    ("CREATE POLICY pol ON orders", "policy pol on table orders"),
    ("ALTER TABLE orders ENABLE ROW LEVEL SECURITY", "row level security of table orders"),
    ("CREATE RULE r AS ON DELETE TO orders DO INSTEAD NOTHING", "rule r on table orders"),
]
"""What may hang on live tables, and what preflight calls it."""

IN_THE_WAY = [
    ("CREATE VIEW orders AS SELECT 1", "public.orders is a view, not a table"),
    ("CREATE MATERIALIZED VIEW orders AS SELECT 1", "public.orders is a materialized view"),
    ("CREATE SEQUENCE orders", "public.orders is a sequence"),
    ("CREATE TABLE orders (id int) PARTITION BY RANGE (id)", "public.orders is a partitioned table"),
    ("CREATE TYPE orders AS (a int)", "public.orders is a composite type"),
    ("CREATE TYPE orders AS ENUM ('a')", "type orders"),
    ("CREATE TABLE x (id int CONSTRAINT orders_pkey PRIMARY KEY)", "index orders_pkey of table x"),
    ("CREATE SEQUENCE customers_id_seq", "sequence customers_id_seq"),
    ("CREATE TABLE _orders ()", "type _orders"),
]
"""What may stand in the live schema where no table is yet."""


class TestBlockers:
    def blockers(self, job: Job) -> str:
        with connected(job.target, "looking", autocommit=True) as connection:
            return "\n".join(live.blockers(connection, job))

    def test_are_none_in_an_empty_schema_and_looking_leaves_no_trace(self, job: Job) -> None:
        before = dump(job.target)
        assert self.blockers(job) == ""
        assert dump(job.target) == before
        assert schemas(job.target) == set()

    def test_rows_in_live_tables_need_leave_to_be_retired(self, target_dsn: str) -> None:
        populate(target_dsn)
        refuse = job_for(target_dsn, params=Params(mode="cut_over"))
        text = self.blockers(refuse)
        assert "customers (2 rows), orders (2 rows). Start again with on_live_tables=retire" in text
        assert LINES not in text
        assert self.blockers(job_for(target_dsn)) == ""

    def test_rows_of_an_earlier_run_are_named_as_such(self, staged: Job) -> None:
        cut_over(staged, source_unchanged=unchanged)
        refuse = job_for(staged.target, "run 2", params=Params(mode="cut_over"))
        assert "customers (3 rows, put there by run run 1)" in self.blockers(refuse)
        with connected(staged.target, "looking", autocommit=True) as connection:
            assert live.facts(connection, refuse)["orders"]["run"] == "run 1"

    def test_name_what_would_be_torn_off_its_table(self, job: Job, subtests: pytest.Subtests) -> None:
        populate(job.target)
        self.each(job, TORN, "Drop them before", subtests)

    def test_name_what_stands_where_the_tables_shall(self, job: Job, subtests: pytest.Subtests) -> None:
        self.each(job, IN_THE_WAY, "Rename or drop", subtests)

    def each(self, job: Job, cases: list[tuple[str, str]], advice: str, subtests: pytest.Subtests) -> None:
        with connected(job.target, "looking", autocommit=True) as connection:
            for statement, words in cases:
                with subtests.test(words), connection.transaction(force_rollback=True):
                    connection.execute(statement.encode())
                    text = "\n".join(live.blockers(connection, job))
                    assert words in text
                    assert advice in text

    def test_name_tables_of_a_role_that_the_migration_does_not_belong_to(self, target_dsn: str, superuser: str) -> None:
        populate(superuser)
        text = self.blockers(job_for(target_dsn, params=Params()))
        assert "table public.customers belongs to role postgres, and migrator may not move it" in text
        assert "customers (role migrator may not read it)" in text

    def test_name_schemas_of_the_runs_names_that_no_run_made(self, staged: Job) -> None:
        assert self.blockers(staged) == ""  # its own staging
        new = job_for(staged.target, "run 2")
        query(staged.target, f"CREATE SCHEMA {new.staging}")
        query(staged.target, f"CREATE SCHEMA {new.retired}")
        text = self.blockers(new)
        assert f"schema {new.staging} exists" in text
        assert f"schema {new.retired} exists" in text

    def test_are_reported_together(self, target_dsn: str) -> None:
        populate(target_dsn)
        query(target_dsn, "CREATE VIEW seen AS SELECT id FROM orders")
        query(target_dsn, f"DROP TABLE {QUOTED_LINES}")
        query(target_dsn, f"CREATE VIEW {QUOTED_LINES} AS SELECT 1")
        text = self.blockers(job_for(target_dsn, params=Params()))
        assert "is a view, not a table" in text
        assert "view seen" in text
        assert "customers (2 rows)" in text


class TestFacts:
    def facts(self, job: Job) -> live.Facts:
        with connected(job.target, "looking", autocommit=True) as connection:
            return live.facts(connection, job)

    def test_are_the_same_whatever_the_order_of_rows_and_the_settings(self, job: Job) -> None:
        populate(job.target)
        before = self.facts(job)
        with admin(job.target) as connection:
            connection.execute(
                "BEGIN; CREATE TEMP TABLE o AS TABLE orders; TRUNCATE orders CASCADE;"
                " INSERT INTO orders OVERRIDING SYSTEM VALUE SELECT * FROM o ORDER BY id DESC; COMMIT"
            )
            for setting in ("DateStyle = 'German'", "extra_float_digits = -5", "bytea_output = 'escape'"):
                connection.execute(f"ALTER DATABASE {connection.info.dbname} SET {setting}".encode())
        assert self.facts(job) == before

    @pytest.mark.parametrize(
        "statement",
        [
            "UPDATE orders SET note = NULL WHERE id = 10",
            "UPDATE orders SET note = '' WHERE id = 10",
            "UPDATE orders SET id = id + 100",
            "UPDATE orders SET total = 5.01 WHERE id = 10",
        ],
    )
    def test_differ_when_any_value_does(self, job: Job, statement: str) -> None:
        populate(job.target)
        before = self.facts(job)
        query(job.target, statement)
        after = self.facts(job)
        assert live.changes(before, after) == ["orders still holds 2 rows, but not the same ones"]
