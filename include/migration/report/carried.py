"""Which objects of the schema a run made that are in the target now: what PostgreSQL's catalog says, not the plan."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from migration.report.facts import CarriedObject
from migration.report.rows import Connection, fetch


def carried(connection: Connection, staged: Mapping[str, Any]) -> tuple[CarriedObject, ...]:
    """The tables and views that the run's row lists as ``staged`` and all that hangs on them, wherever they were moved.

    None once they are dropped, as the staging of a superseded run is.
    """
    ids = {name: made["oid"] if isinstance(made, dict) else made for name, made in staged.items()}
    found = fetch(connection, _CARRIED, names=list(ids), ids=list(ids.values()))
    return tuple(CarriedObject(row["kind"], row["table_name"], row["name"]) for row in found)


# A name beside its object id, since PostgreSQL gives ids again after four thousand million.
_CARRIED = """
    WITH made AS (
         SELECT c.oid, c.relname::text AS name, c.relkind
           FROM unnest(%(names)s::text[], %(ids)s::bigint[]) AS s (name, id)
           JOIN pg_class c ON c.oid::bigint = s.id AND c.relname = s.name),
    objects (place, kind, table_name, name) AS (
         SELECT 1, 'table', '', name FROM made WHERE relkind = 'r'
          UNION ALL
         SELECT array_position('{p,u,f,c}', k.contype) + 1,
                CASE k.contype WHEN 'p' THEN 'primary key' WHEN 'u' THEN 'unique constraint' WHEN 'f' THEN 'foreign key'
                               ELSE 'check' END, m.name, k.conname
           FROM made m JOIN pg_constraint k ON k.conrelid = m.oid AND k.contype IN ('p', 'u', 'f', 'c')
          UNION ALL
         SELECT 6, 'index', m.name, c.relname
           FROM made m JOIN pg_index i ON i.indrelid = m.oid JOIN pg_class c ON c.oid = i.indexrelid
          WHERE NOT EXISTS (SELECT FROM pg_constraint k
                             WHERE k.conrelid = m.oid AND k.conindid = i.indexrelid AND k.contype IN ('p', 'u'))
          UNION ALL
         SELECT CASE WHEN a.attidentity <> '' THEN 7 WHEN a.attgenerated <> '' THEN 8 ELSE 9 END,
                CASE WHEN a.attidentity <> '' THEN 'identity column' WHEN a.attgenerated <> '' THEN 'generated column'
                     ELSE 'default' END, m.name, a.attname
           FROM made m JOIN pg_attribute a ON a.attrelid = m.oid AND a.attnum > 0 AND NOT a.attisdropped
          WHERE m.relkind = 'r' AND (a.attidentity <> '' OR a.atthasdef)
          UNION ALL
         SELECT 10, 'view', '', name FROM made WHERE relkind = 'v')
    SELECT kind, table_name, name FROM objects ORDER BY place, table_name, name"""
