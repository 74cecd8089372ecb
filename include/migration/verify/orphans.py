"""Finds rows whose references lead nowhere, in the staged tables as they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql

from migration.verify.codecs import Column
from migration.verify.values import IMPOSSIBLE, Canonical

NAMED = 5


@dataclass(frozen=True)
class Reference:
    """Columns of the table that name a row of a parent; all names are the target's."""

    name: str
    columns: tuple[str, ...]
    parent_schema: str
    parent: str
    parent_columns: tuple[str, ...]

    def _parent(self) -> sql.Composed:
        return sql.SQL("{} AS p").format(sql.Identifier(self.parent_schema, self.parent))

    def _same(self, values: Sequence[sql.Composable]) -> sql.Composed:
        pairs = zip(self.parent_columns, values, strict=True)
        return sql.SQL(" AND ").join(sql.SQL("{} = {}").format(sql.Identifier("p", c), v) for c, v in pairs)


def foreign_keys(connection: psycopg.Connection[Any], oid: int) -> list[Reference]:
    """The foreign keys that the target enforces for a table."""
    found = connection.execute(
        "SELECT o.conname, n.nspname, p.relname,"
        " array(SELECT a.attname::text FROM unnest(o.conkey) WITH ORDINALITY AS k(number, place)"
        "       JOIN pg_attribute a ON a.attrelid = o.conrelid AND a.attnum = k.number ORDER BY k.place),"
        " array(SELECT a.attname::text FROM unnest(o.confkey) WITH ORDINALITY AS k(number, place)"
        "       JOIN pg_attribute a ON a.attrelid = o.confrelid AND a.attnum = k.number ORDER BY k.place)"
        " FROM pg_constraint o JOIN pg_class p ON p.oid = o.confrelid JOIN pg_namespace n ON n.oid = p.relnamespace"
        " WHERE o.contype = 'f' AND o.conrelid = %s ORDER BY o.conname",
        [oid],
    )
    return [Reference(name, tuple(columns), schema, parent, tuple(to)) for name, schema, parent, columns, to in found]


def orphans(
    connection: psycopg.Connection[Any], schema: str, table: str, key: Sequence[str], reference: Reference
) -> tuple[int, list[str]]:
    """How many rows of ``table`` name a parent that is not there, and the keys of the first few. NULL names none."""
    columns = [sql.Identifier("t", c) for c in reference.columns]
    shown: list[sql.Composable] = [sql.Identifier("t", c) for c in key]
    shown = shown or [sql.SQL("t.ctid")]
    query = sql.SQL(
        "SELECT jsonb_build_array({}), count(*) OVER () FROM {} AS t"
        " WHERE {} AND NOT EXISTS (SELECT 1 FROM {} WHERE {})"
        " ORDER BY {} LIMIT {}"
    ).format(
        sql.SQL(", ").join(shown),
        sql.Identifier(schema, table),
        sql.SQL(" AND ").join(sql.SQL("{} IS NOT NULL").format(c) for c in columns),
        reference._parent(),
        reference._same(columns),
        sql.SQL(", ").join(shown),
        sql.Literal(NAMED),
    )
    with psycopg.RawCursor(connection) as cursor:
        found = cursor.execute(query).fetchall()
    return (found[0][1] if found else 0), [str(row[0]) for row in found]


def without_parent(
    connection: psycopg.Connection[Any],
    reference: Reference,
    columns: Sequence[Column],
    values: Sequence[Sequence[Canonical]],
) -> set[int]:
    """The places in ``values``, canonical forms of the reference's ``columns``, of those that name no parent."""
    known = [i for i, row in enumerate(values) if None not in row and IMPOSSIBLE not in row]
    if not known or any(c.codec.key is None for c in columns):
        return set()
    arrays, names, wanted = [], [], []
    for i, column in enumerate(columns):
        assert column.codec.key is not None
        arrays.append(sql.SQL("$" + str(i + 1) + ("::bytea[]" if column.codec.lengths else "::text[]")))
        names.append(sql.Identifier(f"k{i}"))
        wanted.append(column.codec.key.format(sql.SQL("k.{}").format(names[-1])))
    query = sql.SQL(
        "SELECT k.place - 1 FROM unnest({}) WITH ORDINALITY AS k({}, place)"
        " WHERE NOT EXISTS (SELECT 1 FROM {} WHERE {})"
    ).format(sql.SQL(", ").join(arrays), sql.SQL(", ").join(names), reference._parent(), reference._same(wanted))
    with psycopg.RawCursor(connection) as cursor:
        found = cursor.execute(query, [list(part) for part in zip(*(values[i] for i in known), strict=True)]).fetchall()
    return {known[place] for (place,) in found}
