"""Tries every object of the target that a plan describes, and takes all back: what PostgreSQL refuses, and why."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import psycopg
import sqlalchemy as sa
from psycopg import sql
from sqlalchemy.schema import AddConstraint, CreateColumn, CreateIndex, CreateTable
from sqlalchemy.sql.ddl import BaseDDLElement

from migration.plan import Plan, TablePlan
from migration.postgres.shape import targets, written
from migration.postgres.target import in_schema, target_metadata

NAME_BYTES = 63
"""PostgreSQL cuts longer names."""


@dataclass(frozen=True)
class Uncompiled:
    """An object that PostgreSQL does not take. ``table`` is the source's name, '' for a view; ``name`` the plan's."""

    kind: str
    """table, default, generated column, primary key, unique constraint, check, index, foreign key or view."""
    table: str
    name: str
    reason: str

    def __str__(self) -> str:
        place = f"table {self.table}: " if self.table and self.kind != "table" else ""
        return f"{place}{self.kind} {self.name} does not compile: {self.reason}"


@dataclass(frozen=True)
class _Object:
    kind: str
    table: str
    name: str
    names: tuple[str, ...]
    """What it is called in the target, its columns included."""
    element: BaseDDLElement | bytes


def uncompilable(connection: psycopg.Connection[Any], plan: Plan) -> tuple[Uncompiled, ...]:
    """What of the tables and views that the plan describes PostgreSQL refuses to create, in the order of creation.

    Each object is tried by itself, in a schema of its own within a transaction (or savepoint) that is rolled back: one
    that fails hides no other, except those that need it, such as a foreign key its parent's key. What an error of the
    connection or of the server's resources interrupts is no refusal: that error is raised.
    """
    schema = f"compiling_{plan.name}_{secrets.token_hex(4)}"
    with connection.transaction(force_rollback=True):
        connection.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(schema)))
        connection.execute(_ATTEMPT.format(sql.Identifier(schema)))
        connection.execute("SELECT set_config('search_path', quote_ident(%s), true)", [schema])
        tables = list(zip(plan.tables, in_schema(target_metadata(plan), schema, targets(plan)).values(), strict=True))
        # Bare columns first; those to be generated are plain.
        bare = [_Object("table", s, s, (t.name, *t.columns.keys()), CreateTable(t)) for s, t in tables]
        failed = _attempt(connection, schema, bare)
        lacking = {f.table for f in failed}
        failed += _attempt(connection, schema, [o for o in _parts(plan, tables) if o.table not in lacking])
        return (*failed, *_unnamed(connection, plan, schema, failed))


# One call for all: a savepoint for each, and no way from this server to the client between them. EXECUTE takes no
# COMMIT, whatever a plan's text contains. What time or space may mend (errors.py) says nothing about an object.
_ATTEMPT = sql.SQL(
    """
    CREATE FUNCTION {}.attempt(statements text[]) RETURNS TABLE (place int, reason text) LANGUAGE plpgsql AS $$
    BEGIN
      FOR i IN 1 .. cardinality(statements) LOOP
        BEGIN
          EXECUTE statements[i];
        EXCEPTION WHEN OTHERS THEN
          IF SQLSTATE ~ '^(08|40|53|57|58|55P03)' THEN RAISE; END IF;
          place := i; reason := SQLERRM;
          RETURN NEXT;
        END;
      END LOOP;
    END $$
    """
)


def _attempt(connection: psycopg.Connection[Any], schema: str, objects: list[_Object]) -> list[Uncompiled]:
    failed = {}
    for i, thing in enumerate(objects):
        if long := [n for n in thing.names if len(n.encode()) > NAME_BYTES]:
            failed[i] = f"the name {long[0]} is longer than {NAME_BYTES} bytes"
    tried = [i for i in range(len(objects)) if i not in failed]
    statements = [written(objects[i].element).decode() for i in tried]
    call = sql.SQL("SELECT place, reason FROM {}.attempt(%s)").format(sql.Identifier(schema))
    for place, reason in connection.execute(call, [statements]).fetchall():
        failed[tried[place - 1]] = " ".join(reason.split())
    return [Uncompiled(o.kind, o.table, o.name, failed[i]) for i, o in enumerate(objects) if i in failed]


Tables = list[tuple[str, sa.Table]]
"""Each source table's name, and its target in the schema where it is tried."""


_CONSTRAINTS: dict[str, type[sa.Constraint]] = {
    "primary key": sa.PrimaryKeyConstraint,
    "unique constraint": sa.UniqueConstraint,
    "check": sa.CheckConstraint,
}


def _parts(plan: Plan, tables: Tables) -> Iterator[_Object]:
    """All else, in an order in which each kind finds what it may need."""
    for source, table in tables:
        yield from _columns(plan.tables[source], source, table)
    for kind, of in _CONSTRAINTS.items():
        yield from (o for source, table in tables for o in _constraints(kind, of, source, table))
    for source, table in tables:
        for index in sorted(table.indexes, key=lambda i: str(i.name)):
            yield _Object("index", source, str(index.name), (str(index.name),), CreateIndex(index))
    for source, table in tables:
        yield from _constraints("foreign key", sa.ForeignKeyConstraint, source, table)
    for source, view in plan.views.items():
        yield _Object("view", "", source, (plan.target_view(source),), view.create.encode())


def _columns(plan: TablePlan, source: str, table: sa.Table) -> Iterator[_Object]:
    for name, column in plan.columns.items():
        if name in plan.exclude_columns:
            continue
        place = plan.target_column(name)
        if column.default is not None:
            alter = sql.SQL("ALTER TABLE {} ALTER COLUMN {} SET DEFAULT (").format(_name(table), sql.Identifier(place))
            yield _Object("default", source, name, (), alter.as_bytes() + f"{column.default})".encode())
        if column.generated is not None:
            drop = sql.SQL("ALTER TABLE {} DROP COLUMN {}, ADD COLUMN ").format(_name(table), sql.Identifier(place))
            made = drop.as_bytes() + written(CreateColumn(table.columns[place]))
            yield _Object("generated column", source, name, (), made)


def _name(table: sa.Table) -> sql.Identifier:
    return sql.Identifier(str(table.schema), table.name)


def _constraints(kind: str, of: type[sa.Constraint], source: str, table: sa.Table) -> Iterator[_Object]:
    found = [c for c in table.constraints if isinstance(c, of) and c.name is not None]
    for constraint in sorted(found, key=lambda c: str(c.name)):
        name = str(constraint.name)
        yield _Object(kind, source, name, (name,), AddConstraint(constraint))


def _unnamed(
    connection: psycopg.Connection[Any], plan: Plan, schema: str, failed: list[Uncompiled]
) -> Iterator[Uncompiled]:
    """The views whose statements succeed and create something else."""
    made = connection.execute(
        "SELECT relname FROM pg_class WHERE relkind = 'v' AND relnamespace = quote_ident(%s)::regnamespace", [schema]
    )
    known = {name for (name,) in made.fetchall()}
    lacking = {f.name for f in failed if f.kind == "view"}
    for view in plan.views:
        if view not in lacking and plan.target_view(view) not in known:
            yield Uncompiled("view", "", view, f"its statement creates no view {plan.target_view(view)}")
