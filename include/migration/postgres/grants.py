"""Gives a new table or view what people were granted on the one that it replaces.

Carried over: the owner; privileges on the table, on its columns and on the sequences that it owns, with grant
options; comments on the table and its columns where the models have none. A grant that somebody other than
the owner had made becomes the owner's. A table that replaces none gets the default privileges of the live
schema, as if it had been created there. Not carried over: storage parameters, statistics targets, replica
identity, security labels, and anything the models lack (further columns, indexes and constraints stay with
the retired table).
"""

from __future__ import annotations

from typing import Any

import psycopg
from psycopg import sql

_OWNER = """
    SELECT old.relowner <> new.relowner, pg_get_userbyid(old.relowner), n.nspname, new.relname,
      CASE new.relkind WHEN 'v' THEN 'VIEW' ELSE 'TABLE' END
    FROM pg_class old, pg_class new JOIN pg_namespace n ON n.oid = new.relnamespace
    WHERE old.oid = %(old)s AND new.oid = %(new)s
"""

# Pairs of (former, new) relation: the table itself, and the sequences owned by columns of the same name.
_RELATIONS = """
    WITH owned AS (
      SELECT d.refobjid AS t, a.attname, d.objid AS s
      FROM pg_depend d JOIN pg_sequence q ON q.seqrelid = d.objid
      JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
      WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass
        AND d.deptype IN ('a', 'i') AND d.refobjid IN (%(old)s, %(new)s)
    )
    SELECT 'r', %(old)s::oid::bigint, %(new)s::oid::bigint
    UNION ALL
    SELECT 's', o.s::bigint, n.s::bigint FROM owned o JOIN owned n USING (attname)
    WHERE o.t = %(old)s AND n.t = %(new)s
"""

# The grantee is NULL for PUBLIC.
_GRANTS = """
    SELECT pg_get_userbyid(nullif(x.grantee, 0)), x.privilege_type, x.is_grantable
    FROM pg_class c, aclexplode(coalesce(c.relacl, acldefault(%(kind)s::"char", c.relowner))) x
    WHERE c.oid = %(oid)s
"""

_COLUMN_GRANTS = """
    SELECT pg_get_userbyid(nullif(x.grantee, 0)), x.privilege_type, x.is_grantable, o.attname
    FROM pg_attribute o JOIN pg_attribute n ON n.attname = o.attname AND n.attrelid = %(new)s,
      aclexplode(o.attacl) x
    WHERE n.attnum > 0 AND o.attrelid = %(old)s AND o.attnum > 0 AND NOT o.attisdropped
"""

_COMMENTS = """
    SELECT NULL, obj_description(%(old)s, 'pg_class')
    WHERE obj_description(%(old)s, 'pg_class') IS NOT NULL AND obj_description(%(new)s, 'pg_class') IS NULL
    UNION ALL
    SELECT n.attname, col_description(%(old)s, o.attnum)
    FROM pg_attribute o JOIN pg_attribute n ON n.attrelid = %(new)s AND n.attname = o.attname AND n.attnum > 0
    WHERE o.attrelid = %(old)s AND o.attnum > 0 AND NOT o.attisdropped
      AND col_description(%(old)s, o.attnum) IS NOT NULL AND col_description(%(new)s, n.attnum) IS NULL
"""

_DEFAULTS = """
    SELECT pg_get_userbyid(nullif(x.grantee, 0)), x.privilege_type, x.is_grantable
    FROM pg_default_acl a JOIN pg_namespace n ON n.oid = a.defaclnamespace AND n.nspname = %(schema)s,
      aclexplode(a.defaclacl) x
    WHERE pg_get_userbyid(a.defaclrole) = current_user AND a.defaclobjtype = %(kind)s
"""


def inherit(connection: psycopg.Connection[Any], old: int, new: int) -> None:
    """Give table or view ``new`` what people were granted on ``old``, both by oid. The caller commits."""
    both = {"old": old, "new": new}
    differs, owner, schema, table, noun = connection.execute(_OWNER, both).fetchall()[0]
    if differs:
        # The new owner needs the right to create there for this moment; the schema is dropped after it.
        connection.execute(
            sql.SQL("GRANT CREATE ON SCHEMA {} TO {}").format(sql.Identifier(schema), sql.Identifier(owner))
        )
        connection.execute(
            sql.SQL("ALTER TABLE {} OWNER TO {}").format(sql.Identifier(schema, table), sql.Identifier(owner))
        )
    for kind, source, goal in connection.execute(_RELATIONS, both).fetchall():
        what = _on(connection, kind, goal)
        for grantee in {g for g, *_ in connection.execute(_GRANTS, {"kind": kind, "oid": goal}).fetchall()}:
            connection.execute(sql.SQL("REVOKE ALL ON {} FROM {}").format(what, _role(grantee)))
        for grant in connection.execute(_GRANTS, {"kind": kind, "oid": source}).fetchall():
            _grant(connection, what, *grant)
    for grantee, privilege, grantable, column in connection.execute(_COLUMN_GRANTS, both).fetchall():
        _grant(connection, _on(connection, "r", new), grantee, privilege, grantable, column)
    for column, text in connection.execute(_COMMENTS, both).fetchall():
        name = sql.Identifier(schema, table, column) if column else sql.Identifier(schema, table)
        kind = sql.SQL("COLUMN" if column else noun)
        connection.execute(sql.SQL("COMMENT ON {} {} IS {}").format(kind, name, sql.Literal(text)))


def default(connection: psycopg.Connection[Any], schema: str, new: int) -> None:
    """Give table or view ``new``, which replaces none, and its sequences the live ``schema``'s default privileges."""
    owned = connection.execute(_RELATIONS, {"old": new, "new": new}).fetchall()
    for kind, oid in [("r" if kind == "r" else "S", goal) for kind, _, goal in owned]:
        for grant in connection.execute(_DEFAULTS, {"schema": schema, "kind": kind}).fetchall():
            _grant(connection, _on(connection, kind, oid), *grant)


def _on(connection: psycopg.Connection[Any], kind: str, oid: int) -> sql.Composed:
    schema, name = connection.execute(
        "SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = %s",
        [oid],
    ).fetchall()[0]
    return sql.SQL("{} {}").format(sql.SQL("TABLE" if kind == "r" else "SEQUENCE"), sql.Identifier(schema, name))


def _role(name: str | None) -> sql.Composable:
    return sql.Identifier(name) if name else sql.SQL("PUBLIC")


def _grant(
    connection: psycopg.Connection[Any],
    what: sql.Composed,
    grantee: str | None,
    privilege: str,
    grantable: bool,
    column: str | None = None,
) -> None:
    connection.execute(
        sql.SQL("GRANT {}{} ON {} TO {}{}").format(
            sql.SQL(privilege),  # a key word, from PostgreSQL
            sql.SQL(" ({})").format(sql.Identifier(column)) if column else sql.SQL(""),
            what,
            _role(grantee),
            sql.SQL(" WITH GRANT OPTION" if grantable else ""),
        )
    )
