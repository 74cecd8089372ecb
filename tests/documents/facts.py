"""What the pages are made of: the sample's catalog and profile, the plan, and a PostgreSQL at the newest revision."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import sqlalchemy as sa

from migration.assess.draft import Draft
from migration.assess.drafting import draft
from migration.catalog import Catalog, Table
from migration.plan import Plan, plan_path, read_plan
from migration.profile import TableProfile
from migration.sqlite.catalog import read_catalog
from migration.sqlite.opening import open_snapshot
from migration.sqlite.profiling import profile_table
from widgettdc.models import Base
from widgettdc.sample import make_sample
from widgettdc.schema.commands import upgrade


@dataclass(frozen=True)
class Facts:
    """All that a page may tell of."""

    catalog: Catalog
    profiles: dict[str, TableProfile]
    found: Draft
    """What an assessment of the sample finds, as if nobody had written models for it."""
    plan: Plan
    target: list["TargetTable"]

    def source(self, name: str) -> Table:
        return self.catalog.table(name)


@dataclass(frozen=True)
class TargetTable:
    """A table of PostgreSQL, as its catalog describes it."""

    name: str
    columns: list[tuple[str, str, bool, str | None]]
    """Name, type, NOT NULL, default."""
    constraints: list[tuple[str, str]]
    indexes: list[tuple[str, str]]
    model: sa.Table


def gather(folder: Path, dsn: str) -> Facts:
    """Make a sample in the folder and the newest revision in an empty database, and look at both."""
    path = folder / "sample.db"
    make_sample(path)
    connection = open_snapshot(path)
    catalog = read_catalog(connection)
    profiles = {table.name: profile_table(connection, catalog, table) for table in catalog.tables}
    connection.close()
    _, found = draft(catalog, profiles, name="widgettdc", title="WidgetTDC", source="")
    upgrade(dsn)
    return Facts(catalog, profiles, found, read_plan(plan_path("widgettdc")), _target(dsn))


_COLUMNS = """
    SELECT attname, format_type(atttypid, atttypmod), attnotnull, pg_get_expr(adbin, adrelid)
    FROM pg_attribute LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
    WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum"""
_CONSTRAINTS = """
    SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint
    WHERE conrelid = %s::regclass AND contype <> 'n' ORDER BY contype DESC, conname"""
_INDEXES = """
    SELECT indexrelid::regclass::text, pg_get_indexdef(indexrelid, 0, true) FROM pg_index
    WHERE indrelid = %s::regclass ORDER BY NOT indisprimary, 1"""


def _target(dsn: str) -> list[TargetTable]:
    with psycopg.connect(dsn) as connection:

        def ask(query: str, table: str) -> list[Any]:
            return connection.execute(query.encode(), (table,)).fetchall()

        return [
            TargetTable(name, ask(_COLUMNS, name), ask(_CONSTRAINTS, name), ask(_INDEXES, name), model)
            for name, model in Base.metadata.tables.items()
        ]
