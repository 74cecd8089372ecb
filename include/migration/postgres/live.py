"""The live tables: what they hold, what depends on them, and what stands in the way of replacing them."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import psycopg
from psycopg import sql

from migration.job import Job
from migration.postgres import state, views
from migration.postgres.shape import targets, twin
from migration.postgres.staging import exists

KINDS = {
    "r": "table",
    "p": "partitioned table",
    "v": "view",
    "m": "materialized view",
    "f": "foreign table",
    "S": "sequence",
    "i": "index",
    "I": "index",
    "c": "composite type",
}

Facts = dict[str, dict[str, Any]]


def facts(connection: psycopg.Connection[Any], job: Job) -> Facts:
    """What stands in the live schema under the plan's names: kind, oid, owner; of tables rows and digest, of views the
    digest.

    ``run`` is the run whose cut-over put it there, None when it was somebody else. A table's digest is a sum over the
    rows' text and so the same in any order; it costs one reading of the table. The same call at any later time gives
    the same answer as long as nobody has changed a row, replaced the table or changed the view.
    """
    return observed(connection, job)[0]


def observed(connection: psycopg.Connection[Any], job: Job) -> tuple[Facts, dict[str, str]]:
    """The :func:`facts`, and of each table the fingerprint (:data:`VERSIONS`) at that moment."""
    live = job.plan.live_schema
    found = relations(connection, live, [*targets(job.plan), *views.targets(job.plan)])
    placed, versions = _placed(connection), {}
    for name, view in views.described_views(connection, live, list(found)).items():
        found[name]["digest"] = view.shape
    for name, fact in found.items():
        fact["run"] = placed.get(fact["oid"])
        if fact["kind"] == "table":
            rows, digest, versions[name] = _content(connection, live, name)
            fact |= {"rows": rows, "digest": digest}
    return found, versions


def relations(connection: psycopg.Connection[Any], schema: str, names: list[str]) -> Facts:
    """Kind, oid and owner of what ``schema`` holds under ``names``."""
    rows = connection.execute(
        "SELECT c.relname, c.relkind::text, c.oid::bigint, pg_get_userbyid(c.relowner)::text"
        " FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
        " WHERE n.nspname = %s AND c.relname = ANY(%s) ORDER BY 1",
        [schema, names],
    )
    return {name: {"kind": KINDS.get(kind, kind), "oid": oid, "owner": owner} for name, kind, oid, owner in rows}


# A row's text depends on settings that a database or role may change: they are fixed for the reading.
_FIXED = (
    "SELECT set_config(name, value, true) FROM (VALUES ('TimeZone', 'UTC'), ('DateStyle', 'ISO, YMD'),"
    " ('IntervalStyle', 'postgres'), ('extra_float_digits', '1'), ('bytea_output', 'hex')) AS v (name, value)"
)


VERSIONS = sql.SQL(
    "concat(count(*), ' ', coalesce(sum(hashtextextended(concat(ctid, ' ', xmin) COLLATE \"C\", 0)), 0))"
)
"""An aggregate that stays the same exactly as long as no row is inserted, changed or deleted (nor the table
rewritten). It reads no values, so it costs a fifth of the digest: 0.2 s for a million rows."""


def _content(connection: psycopg.Connection[Any], schema: str, table: str) -> tuple[int, str, str]:
    """Rows, digest and versions, all of the same moment."""
    with connection.transaction():
        connection.execute(_FIXED)
        # (t.*), because t alone would be the column t of a table that has one.
        query = sql.SQL(
            'SELECT count(*), coalesce(sum(hashtextextended((t.*)::text COLLATE "C", 0)), 0)::text, {} FROM {} t'
        ).format(VERSIONS, sql.Identifier(schema, table))
        rows, digest, versions = connection.execute(query).fetchall()[0]
    return rows, digest, versions


def _placed(connection: psycopg.Connection[Any]) -> dict[int, str]:
    """The tables and views that cut-overs put in place: the run by their oids."""
    if connection.execute("SELECT to_regclass('migration.runs') IS NULL").fetchone() == (True,):
        return {}
    runs = state.rows(connection, state.runs, status="cut_over")
    return {thing["oid"]: run["run_id"] for run in runs for thing in (run["live_after"] or {}).values()}


def changes(before: Facts, now: Facts) -> list[str]:
    """How the live tables differ from what an earlier :func:`facts` found, one sentence part each."""
    found = []
    for name in sorted(before.keys() | now.keys()):
        old, new = before.get(name), now.get(name)
        if new is None:
            found.append(f"{name} is gone")
        elif old is None:
            rows = f" with {new['rows']} rows" if "rows" in new else ""
            found.append(f"{name} did not exist, and is a {new['kind']}{rows} now")
        elif old["kind"] != new["kind"]:
            found.append(f"{name} was a {old['kind']} and is a {new['kind']} now")
        elif "rows" not in new and any(old.get(fact) != new.get(fact) for fact in ("oid", "digest")):
            found.append(f"{name} is another {new['kind']} now")
        elif old["oid"] != new["oid"]:
            found.append(f"{name} was replaced by another table: {old['rows']} rows then, {new['rows']} now")
        elif old.get("rows") != new.get("rows"):
            found.append(f"{name} held {old['rows']} rows and holds {new['rows']} now")
        elif old.get("digest") != new.get("digest"):
            found.append(f"{name} still holds {new['rows']} rows, but not the same ones")
    return found


def blockers(connection: psycopg.Connection[Any], job: Job) -> list[str]:
    """Why the live schema cannot take this run's tables, all reasons together; for the preflight.

    Needs the right to create schemas (the names that the tables will bring are found by making them, and
    rolled back). Works before the migration's state exists.
    """
    live = job.plan.live_schema
    present = relations(connection, live, [*targets(job.plan), *views.targets(job.plan)])
    found = obstacles(connection, live, present, views.targets(job.plan))
    with twin(connection, job) as schema:
        found += clashes(connection, live, schema, [fact["oid"] for fact in present.values()])
    if job.params.on_live_tables == "refuse":
        found += _rows(connection, live, present)
    return found + _taken(connection, job)


def obstacles(connection: psycopg.Connection[Any], live: str, present: Facts, planned: Collection[str]) -> list[str]:
    """Why what is ``present`` in the live schema cannot be moved away without harm.

    The names that are ``planned`` for views may be those of views that an earlier run has put there, all others of
    tables.
    """
    found, tables = [], []
    placed = _placed(connection) if planned else {}
    for name, fact in present.items():
        wanted = "view" if name in planned else "table"
        if fact["kind"] != wanted:
            found.append(f"{live}.{name} is a {fact['kind']}, not a {wanted}. Rename or drop it")
        elif wanted == "view" and fact["oid"] not in placed:
            found.append(f"{live}.{name} is a view that no run has put there. Rename or drop it")
        else:
            tables.append(fact["oid"])
    # Since PostgreSQL 16 a membership may lack SET, without which the new table cannot be given to the owner.
    membership = "SET" if connection.info.server_version >= 160000 else "MEMBER"
    for table, kind, owner, us in connection.execute(
        "SELECT c.relname, c.relkind::text, pg_get_userbyid(c.relowner), current_user FROM pg_class c"
        " WHERE c.oid::bigint = ANY(%s) AND NOT"
        " (pg_has_role(c.relowner, 'USAGE') AND pg_has_role(c.relowner, %s)) ORDER BY 1",
        [tables, membership],
    ):
        found.append(
            f"{KINDS[kind]} {live}.{table} belongs to role {owner}, and {us} may not move it. "
            f'GRANT "{owner}" TO "{us}", or migrate as the owner'
        )
    if held := dependents(connection, tables):
        found.append(
            f"these depend on the live tables and would go with them, out of {live}: {', '.join(held)}. "
            "Drop them before, and create them again after the cut-over"
        )
    if held := attachments(connection, tables):
        found.append(
            f"the live tables have what the new ones would lack: {', '.join(held)}. "
            "Drop them before, and create them again after the cut-over"
        )
    return found


# What moves along with a table when it changes its schema: its indexes, its own sequences, its TOAST table,
# its row type and the array of it.
_MOVES = """
    WITH tables AS (SELECT oid, reltype, reltoastrelid FROM pg_class WHERE oid::bigint = ANY(%s))
    SELECT array(
        SELECT oid::bigint FROM tables
        UNION SELECT indexrelid::bigint FROM pg_index
          WHERE indrelid IN (SELECT oid FROM tables UNION SELECT reltoastrelid FROM tables)
        UNION SELECT reltoastrelid::bigint FROM tables
        UNION SELECT s.oid::bigint FROM pg_depend d JOIN pg_class s ON s.oid = d.objid AND s.relkind = 'S'
          WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass
          AND d.deptype IN ('a', 'i') AND d.refobjid IN (SELECT oid FROM tables)
      ), array(
        SELECT reltype::bigint FROM tables
        UNION SELECT typarray::bigint FROM pg_type WHERE oid IN (SELECT reltype FROM tables)
      )
"""


def moves(connection: psycopg.Connection[Any], oids: list[int]) -> dict[str, list[int]]:
    """The ids of the relations (the tables included) and types that go where these tables go."""
    relations, types = connection.execute(_MOVES, [oids]).fetchall()[0]
    return {"tables": oids, "relations": relations, "types": types}


# A dependent is outside when its table is, or when it belongs to none (a function, a publication).
_DEPENDENTS = """
    WITH referenced (classid, objid) AS (
      SELECT 'pg_class'::regclass, unnest(%(relations)s::bigint[])
      UNION SELECT 'pg_type'::regclass, unnest(%(types)s::bigint[])
      UNION SELECT 'pg_constraint'::regclass, oid::bigint FROM pg_constraint
        WHERE conrelid::bigint = ANY(%(tables)s)
    ),
    found AS (
      SELECT d.classid, d.objid, CASE d.classid
          WHEN 'pg_class'::regclass THEN d.objid
          WHEN 'pg_attrdef'::regclass THEN (SELECT adrelid FROM pg_attrdef WHERE oid = d.objid)
          WHEN 'pg_constraint'::regclass
            THEN (SELECT nullif(conrelid, 0) FROM pg_constraint WHERE oid = d.objid)
          WHEN 'pg_rewrite'::regclass THEN (SELECT ev_class FROM pg_rewrite WHERE oid = d.objid)
          WHEN 'pg_trigger'::regclass THEN (SELECT tgrelid FROM pg_trigger WHERE oid = d.objid)
          WHEN 'pg_policy'::regclass THEN (SELECT polrelid FROM pg_policy WHERE oid = d.objid)
          WHEN 'pg_statistic_ext'::regclass THEN (SELECT stxrelid FROM pg_statistic_ext WHERE oid = d.objid)
        END AS owner
      FROM pg_depend d JOIN referenced r ON r.classid = d.refclassid AND r.objid = d.refobjid::bigint
      WHERE d.deptype IN ('n', 'a', 'P', 'S')
    )
    SELECT CASE classid WHEN 'pg_rewrite'::regclass THEN pg_describe_object('pg_class'::regclass, owner, 0)
                        ELSE pg_describe_object(classid, objid, 0) END
    FROM found WHERE owner IS NULL OR owner::bigint <> ALL (%(relations)s)
  UNION
    SELECT 'inheritance from ' || pg_describe_object('pg_class'::regclass, inhparent, 0) FROM pg_inherits
    WHERE inhrelid::bigint = ANY(%(tables)s) AND inhparent::bigint <> ALL (%(tables)s)
  ORDER BY 1
"""


def dependents(connection: psycopg.Connection[Any], oids: list[int]) -> list[str]:
    """What outside these tables hangs on them and would follow when they move: views, foreign keys of other
    tables, functions and columns that use their row types or sequences, publications, inheritance."""
    return [name for (name,) in connection.execute(_DEPENDENTS, moves(connection, oids))]


_ATTACHMENTS = """
    SELECT pg_describe_object('pg_trigger'::regclass, oid, 0) FROM pg_trigger
    WHERE NOT tgisinternal AND tgrelid::bigint = ANY(%(tables)s)
  UNION
    SELECT pg_describe_object('pg_policy'::regclass, oid, 0) FROM pg_policy
    WHERE polrelid::bigint = ANY(%(tables)s)
  UNION
    SELECT pg_describe_object('pg_rewrite'::regclass, oid, 0) FROM pg_rewrite
    WHERE ev_class::bigint = ANY(%(tables)s) AND ev_type <> '1'  -- a view is a rule on SELECT
  UNION
    SELECT 'row level security of ' || pg_describe_object('pg_class'::regclass, oid, 0) FROM pg_class
    WHERE relrowsecurity AND oid::bigint = ANY(%(tables)s)
  ORDER BY 1
"""


def attachments(connection: psycopg.Connection[Any], oids: list[int]) -> list[str]:
    """What belongs to these tables and changes how they behave, and which the models cannot carry over:
    triggers, rules, row level security and its policies."""
    return [name for (name,) in connection.execute(_ATTACHMENTS, {"tables": oids})]


_CLASHES = """
    SELECT pg_describe_object('pg_class'::regclass, c.oid, 0)
        || coalesce((SELECT ' of ' || pg_describe_object('pg_class'::regclass, indrelid, 0) FROM pg_index
                     WHERE indexrelid = c.oid), '')
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace AND n.nspname = %(live)s
    JOIN pg_class i ON i.relname = c.relname
    JOIN pg_namespace f ON f.oid = i.relnamespace AND f.nspname = %(incoming)s
    WHERE c.oid::bigint <> ALL (%(relations)s)
  UNION
    SELECT pg_describe_object('pg_type'::regclass, t.oid, 0)
    FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace AND n.nspname = %(live)s
    JOIN pg_type i ON i.typname = t.typname
    JOIN pg_namespace f ON f.oid = i.typnamespace AND f.nspname = %(incoming)s
    WHERE t.oid::bigint <> ALL (%(types)s)
      AND (t.typrelid = 0 OR t.typname NOT IN (SELECT relname FROM pg_class WHERE relnamespace = f.oid))
  ORDER BY 1
"""


def clashes(connection: psycopg.Connection[Any], live: str, incoming: str, leaving: list[int]) -> list[str]:
    """Names that the tables of schema ``incoming`` would bring into ``live`` and that are taken there by
    something other than the tables ``leaving`` it."""
    names = {"live": live, "incoming": incoming} | moves(connection, leaving)
    found = ", ".join(name for (name,) in connection.execute(_CLASHES, names))
    if not found:
        return []
    return [f"names that the new tables need are taken in schema {live}: {found}. Rename or drop these"]


def _rows(connection: psycopg.Connection[Any], live: str, present: Facts) -> list[str]:
    """Says which live tables hold rows, and who put them there."""
    placed = _placed(connection)
    held = []
    for name, fact in present.items():
        if fact["kind"] != "table":
            continue
        allowed, role = connection.execute(
            "SELECT has_table_privilege(%s::bigint::oid, 'SELECT'), current_user", [fact["oid"]]
        ).fetchall()[0]
        if not allowed:
            held.append(f"{name} (role {role} may not read it)")
            continue
        query = sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(live, name))
        if count := connection.execute(query).fetchall()[0][0]:
            owner = placed.get(fact["oid"])
            held.append(f"{name} ({count} rows{f', put there by run {owner}' if owner else ''})")
    if not held:
        return []
    return [
        f"live tables hold rows: {', '.join(held)}. Start again with on_live_tables=retire if they may be "
        "set aside at the cut-over (they are kept in a schema of their own), or empty them"
    ]


def _taken(connection: psycopg.Connection[Any], job: Job) -> list[str]:
    """Schemas under this run's names that this run did not make."""
    run: dict[str, Any] = {}
    if connection.execute("SELECT to_regclass('migration.runs') IS NULL").fetchone() == (False,):
        run = next(iter(state.rows(connection, state.runs, run_id=job.run_id)), {})
    taken = []
    if exists(connection, job.staging) and not run.get("staged"):
        taken.append(job.staging)
    if exists(connection, job.retired) and run.get("status") != "cut_over":
        taken.append(job.retired)
    return [f"schema {name} exists, and no run made it. Rename or drop it" for name in taken]
