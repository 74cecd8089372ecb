"""Whether the tables of a database are those of revision 0001, which the migration makes and Alembic did not."""

from alembic.migration import MigrationContext
from alembic.operations import Operations
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from widgettdc.models import Base

BASELINE = "0001"

# Not-null constraints count as columns' properties: PostgreSQL 18 lists them as constraints too (contype n).
_SHAPE = """
    WITH t AS (
      SELECT oid, relname FROM pg_class WHERE relnamespace = %(schema)s AND relkind IN ('r', 'p')
      AND relname = ANY(%(tables)s)
    )
    SELECT concat_ws(' ', 'column', t.relname || '.' || a.attname),
        concat_ws(' ', format_type(a.atttypid, a.atttypmod), CASE WHEN a.attnotnull THEN 'NOT NULL' END,
        'DEFAULT ' || pg_get_expr(d.adbin, d.adrelid), 'identity ' || nullif(a.attidentity::text, ''),
        'generated ' || nullif(a.attgenerated::text, ''), 'collation ' || nullif(a.attcollation, 0)::regcollation,
        'at place', row_number() OVER (PARTITION BY t.oid ORDER BY a.attnum))
    FROM t JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum > 0 AND NOT a.attisdropped
    LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
  UNION ALL
    SELECT concat_ws(' ', 'constraint', t.relname || '.' || o.conname), concat_ws(' ', pg_get_constraintdef(o.oid))
    FROM t JOIN pg_constraint o ON o.conrelid = t.oid AND o.contype <> 'n'
  UNION ALL
    SELECT concat_ws(' ', 'index', c.relname), concat_ws(' ', pg_get_indexdef(c.oid, 0, true),
        CASE WHEN NOT i.indisvalid THEN 'INVALID' END)
    FROM t JOIN pg_index i ON i.indrelid = t.oid JOIN pg_class c ON c.oid = i.indexrelid
  UNION ALL
    SELECT concat_ws(' ', 'sequence', c.relname), concat_ws(' ', format_type(s.seqtypid, NULL),
        'start', s.seqstart, 'by', s.seqincrement, 'from', s.seqmin, 'to', s.seqmax, 'cache', s.seqcache,
        CASE WHEN s.seqcycle THEN 'CYCLE' END, 'of', t.relname || '.' || a.attname)
    FROM t JOIN pg_depend d ON d.refclassid = 'pg_class'::regclass AND d.refobjid = t.oid AND d.deptype IN ('a', 'i')
        AND d.classid = 'pg_class'::regclass
    JOIN pg_sequence s ON s.seqrelid = d.objid JOIN pg_class c ON c.oid = s.seqrelid
    JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum = d.refobjsubid
"""


def differences(connection: Connection, script: ScriptDirectory) -> list[str] | None:
    """What is different in the first schema of the search path from revision 0001; None when no table is there.

    The caller's transaction, which must be a new one, is rolled back.
    """
    live = _shape(connection, "current_schema()::regnamespace")
    if not live:
        return None
    wanted = _baseline(connection, script)
    return [
        f"{name}: is {live.get(name, 'missing')}; {wanted.get(name, 'nothing of the kind')} was expected"
        for name in sorted(live.keys() | wanted.keys())
        if live.get(name) != wanted.get(name)
    ]


def _baseline(connection: Connection, script: ScriptDirectory) -> dict[str, str]:
    """The shape that revision 0001 makes: made as temporary tables, described, and rolled back."""
    connection.exec_driver_sql("SET LOCAL search_path TO pg_temp")
    with Operations.context(MigrationContext.configure(connection)):
        script.get_revision(BASELINE).module.upgrade()
    shape = _shape(connection, "pg_my_temp_schema()::regnamespace")
    connection.rollback()
    return shape


def _shape(connection: Connection, schema: str) -> dict[str, str]:
    """Definitions by kind and name, free of the schema's name, which must be the first of the search path."""
    found = connection.exec_driver_sql(f"SELECT {schema}::oid").scalar_one()
    rows = connection.exec_driver_sql(_SHAPE, {"schema": found, "tables": list(Base.metadata.tables)})
    return dict(tuple(row) for row in rows)
