"""The shape of tables in PostgreSQL's own words, and the DDL that makes the plan's tables.

What the tables shall look like is learned from PostgreSQL itself: the models are created, empty, in a twin
schema inside a transaction that is rolled back, and described there. So names and definitions can be compared
as text.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import sqlalchemy as sa
from psycopg import sql
from sqlalchemy.dialects.postgresql.base import PGDDLCompiler, PGDialect
from sqlalchemy.exc import NoReferencedTableError
from sqlalchemy.schema import (
    AddConstraint,
    CreateIndex,
    CreateTable,
    ExecutableDDLElement,
    SetColumnComment,
    SetConstraintComment,
    SetTableComment,
)
from sqlalchemy.sql.ddl import BaseDDLElement

from migration.errors import PlanError
from migration.job import Job
from migration.plan import Plan
from migration.postgres import views
from migration.postgres.target import in_schema, path, target_metadata

Shape = dict[str, dict[str, str]]
"""One table: for columns, constraints, foreign_keys, indexes, sequences and comments, definitions by name."""

KINDS = ("columns", "constraints", "foreign_keys", "indexes", "sequences", "comments")
_PRE_DATA = (CreateTable, SetTableComment, SetColumnComment)
_POST_DATA = (AddConstraint, CreateIndex, SetConstraintComment)

# "named" instead of the driver's style: DDL has no parameters here, and a % in a name or default stays one.
_dialect = PGDialect(paramstyle="named")  # type: ignore[no-untyped-call]


class _PreDataCompiler(PGDDLCompiler):
    """CREATE TABLE with no constraint but NOT NULL. The table keeps its key: serial columns stay serial."""

    def create_table_constraints(self, *_: Any, **__: Any) -> str:
        return ""

    def visit_create_column(self, create: Any, first_pk: bool = False, **_: Any) -> str | None:
        if create.element.system:
            return None
        text: str = super().get_column_specification(create.element, first_pk=first_pk)  # type: ignore[no-untyped-call]
        return text


class _BareCompiler(_PreDataCompiler):
    """CREATE TABLE without defaults too, and with plain columns in the place of generated ones."""

    def get_column_default_string(self, *_: Any) -> None:
        return None

    def visit_computed_column(self, *_: Any, **__: Any) -> str:
        return ""


_pre_data_dialect, _bare_dialect = PGDialect(paramstyle="named"), PGDialect(paramstyle="named")  # type: ignore[no-untyped-call]
_pre_data_dialect.ddl_compiler, _bare_dialect.ddl_compiler = _PreDataCompiler, _BareCompiler


def written(element: BaseDDLElement | bytes) -> bytes:
    """The statement of an element of SQLAlchemy's, a table's with its bare columns only; bytes stay as they are."""
    if isinstance(element, bytes):
        return element
    dialect = _bare_dialect if isinstance(element, CreateTable) else _dialect
    return str(element.compile(dialect=dialect)).encode()


def ddl(plan: Plan, schema: str, *, pre_data: bool = False) -> list[bytes]:
    """The statements by which SQLAlchemy creates the plan's tables in ``schema``; ``pre_data`` leaves out
    what is better made after the rows: primary keys, every other constraint, indexes."""
    found: list[ExecutableDDLElement] = []
    tables = in_schema(target_metadata(plan), schema, targets(plan))
    engine = sa.create_mock_engine("postgresql+psycopg://", lambda element, *_, **__: found.append(element))
    try:
        next(iter(tables.values())).metadata.create_all(engine, checkfirst=False)
        others = [str(e.compile(dialect=_dialect)) for e in found if not isinstance(e, _PRE_DATA + _POST_DATA)]
        if others:
            # They would be created in the live schema, or stay in the staging one.
            raise PlanError(
                f"Plan {plan.name}: the models need more than tables: {'; '.join(others)}. "
                "Use a VARCHAR with a CHECK for an ENUM, an identity column for a sequence."
            )
        if pre_data:
            found = [element for element in found if isinstance(element, _PRE_DATA)]
        dialect = _pre_data_dialect if pre_data else _dialect
        return [str(element.compile(dialect=dialect)).encode() for element in found]
    except NoReferencedTableError as error:
        raise PlanError(
            f"Plan {plan.name}: a foreign key of the models leads out of the planned tables ({error}). "
            "Add the table to the plan, or take the foreign key out of the models."
        ) from error


def targets(plan: Plan) -> list[str]:
    """The target's table names."""
    return [plan.target_table(t) for t in plan.tables]


@contextmanager
def twin(connection: psycopg.Connection[Any], job: Job) -> Iterator[str]:
    """The plan's tables and views, empty and complete, in a schema that exists only within this block; its name."""
    schema = f"{job.staging}_twin"
    with connection.transaction(force_rollback=True):
        connection.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(schema)))
        for statement in ddl(job.plan, schema):
            connection.execute(statement)
        views.create(connection, job.plan, schema)
        yield schema


def expected(connection: psycopg.Connection[Any], job: Job) -> dict[str, Shape]:
    """What the plan's tables look like when finished, by table."""
    with twin(connection, job) as schema:
        return described(connection, schema, targets(job.plan))


# Not-null constraints count as columns' properties: PostgreSQL 18 lists them as constraints too (contype n).
_DESCRIBED = """
    WITH t AS (
      SELECT c.oid, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
      WHERE n.nspname = %(schema)s AND c.relname = ANY(%(tables)s) AND c.relkind = 'r'
    )
    SELECT t.relname, 'columns', a.attname, concat_ws(' ',
        row_number() OVER (PARTITION BY t.oid ORDER BY a.attnum), format_type(a.atttypid, a.atttypmod),
        CASE WHEN a.attnotnull THEN 'not null' END, 'default ' || pg_get_expr(d.adbin, d.adrelid),
        'identity ' || nullif(a.attidentity::text, ''), 'generated ' || nullif(a.attgenerated::text, ''),
        'collation ' || nullif(a.attcollation, 0)::regcollation::text,
        'comment ' || col_description(t.oid, a.attnum))
    FROM t JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum > 0 AND NOT a.attisdropped
    LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
  UNION ALL
    SELECT t.relname, CASE o.contype WHEN 'f' THEN 'foreign_keys' ELSE 'constraints' END,
        o.conname, pg_get_constraintdef(o.oid)
    FROM t JOIN pg_constraint o ON o.conrelid = t.oid AND o.contype IN ('p', 'u', 'c', 'x', 'f')
  UNION ALL
    SELECT t.relname, 'indexes', c.relname,
        concat_ws(' ', pg_get_indexdef(i.indexrelid, 0, true), CASE WHEN NOT i.indisvalid THEN 'INVALID' END)
    FROM t JOIN pg_index i ON i.indrelid = t.oid JOIN pg_class c ON c.oid = i.indexrelid
    WHERE NOT EXISTS (SELECT FROM pg_constraint o
                      WHERE o.conindid = i.indexrelid AND o.conrelid = t.oid AND o.contype IN ('p', 'u', 'x'))
  UNION ALL
    SELECT t.relname, 'sequences', s.seqrelid::regclass::text, concat_ws(' ',
        format_type(s.seqtypid, NULL), s.seqstart, s.seqmin, s.seqmax, s.seqincrement,
        s.seqcache, s.seqcycle, a.attname, d.deptype)
    FROM t JOIN pg_depend d ON d.refclassid = 'pg_class'::regclass AND d.refobjid = t.oid
        AND d.classid = 'pg_class'::regclass AND d.deptype IN ('a', 'i')
    JOIN pg_sequence s ON s.seqrelid = d.objid
    JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum = d.refobjsubid
  UNION ALL
    SELECT t.relname, 'comments', '', obj_description(t.oid, 'pg_class') FROM t
    WHERE obj_description(t.oid, 'pg_class') IS NOT NULL
  ORDER BY 1, 2, 3
"""


def described(connection: psycopg.Connection[Any], schema: str, tables: list[str]) -> dict[str, Shape]:
    """The shape of those of ``tables`` that ``schema`` holds, free of the schema's name."""
    found: dict[str, Shape] = {}
    with connection.transaction(), path(connection, schema):
        for table, kind, name, definition in connection.execute(_DESCRIBED, {"schema": schema, "tables": tables}):
            if table not in found:
                found[table] = {k: {} for k in KINDS}
            found[table][kind][name] = definition
    return found


def digest(shape: Shape) -> str:
    """sha256 of a table's shape."""
    return hashlib.sha256(json.dumps(shape, sort_keys=True).encode()).hexdigest()
