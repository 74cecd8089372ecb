"""Reads quarantined rows, altered values and differences from the state, in bounded pages.

Each page follows the primary key's index, one table at a time; of a value, its length and head are read. A page of one
table begins ``after`` the last row of the page before. ``column`` and ``rule`` leave only the rows of one kind.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, LiteralString

import psycopg
from psycopg.rows import dict_row

from migration.report.facts import AlteredValue, Difference, Kind, QuarantinedRow, Value

HEAD_BYTES = 200
"""So much of a value is read; the rest stays in the target."""
HEAD_CHARACTERS = 2000
"""So much of a text that the state keeps as text is read (reasons, differing values)."""
ROW_COLUMNS = 16
"""So many values of a quarantined row are read, the faulty one first."""
KINDS = 100

Connection = psycopg.Connection[Any]


def quarantined(
    connection: Connection,
    run_id: str,
    tables: Sequence[str],
    after: str | None = None,
    limit: int = 100,
    *,
    column: str | None = None,
    rule: str | None = None,
    key: str | None = None,
    columns: int = ROW_COLUMNS,
    head: int = HEAD_BYTES,
) -> tuple[QuarantinedRow, ...]:
    """Quarantined rows after the one with the key ``after``; or the one row ``key``."""
    found = fetch(
        connection, _QUARANTINED, run_id=run_id, tables=list(tables), after=after, column=column, rule=rule, key=key,
        each=_each(tables, limit), limit=limit, head=head, text=HEAD_CHARACTERS, columns=columns,
    )  # fmt: skip
    return tuple(
        QuarantinedRow(
            table=row["table_name"],
            key=row["row_key"],
            column=row["column_name"],
            storage_class=row["storage_class"],
            rule=row["rule"],
            reason=row["reason"],
            values=tuple(
                (name, Value(kind, size or 0, head))
                for name, kind, size, head in zip(row["names"], row["classes"], row["sizes"], row["heads"], strict=True)
            ),
            columns=row["width"],
        )
        for row in found
    )


def altered(
    connection: Connection,
    run_id: str,
    tables: Sequence[str],
    after: tuple[str, str] | None = None,
    limit: int = 100,
    *,
    column: str | None = None,
    rule: str | None = None,
) -> tuple[AlteredValue, ...]:
    """Altered values after the one of the ``(key, column)`` ``after``; ``rule`` with its action: ``round by scale``."""
    last_key, last_column = after or (None, None)
    found = fetch(
        connection, _ALTERED, run_id=run_id, tables=list(tables), key=last_key, after_column=last_column,
        column=column, rule=rule, each=_each(tables, limit), limit=limit, head=HEAD_BYTES, text=HEAD_CHARACTERS,
    )  # fmt: skip
    return tuple(
        AlteredValue(
            row["table_name"],
            row["row_key"],
            row["column_name"],
            row["action"],
            row["rule"],
            row["reason"],
            Value(row["storage_class"], row["size"] or 0, row["head"]),
        )
        for row in found
    )


def differences(
    connection: Connection,
    run_id: str,
    tables: Sequence[str],
    after: int = 0,
    limit: int = 100,
    *,
    column: str | None = None,
    rule: str | None = None,
) -> tuple[Difference, ...]:
    """Differences after the one of the number ``after``; ``rule`` is their kind: missing, extra, changed."""
    found = fetch(
        connection, _DIFFERENCES, run_id=run_id, tables=list(tables), after=after, column=column, rule=rule,
        each=_each(tables, limit), limit=limit, text=HEAD_CHARACTERS,
    )  # fmt: skip
    return tuple(
        Difference(
            row["table_name"], row["number"], row["row_key"], row["column_name"], row["kind"],
            row["source_value"], row["target_value"],
        )
        for row in found
    )  # fmt: skip


def quarantine_kinds(connection: Connection, run_id: str, table: str | None = None) -> tuple[Kind, ...]:
    """How many quarantined rows of each column and rule there are, the most first; of one table or of all."""
    return _kinds(connection, _QUARANTINE_KINDS, run_id, table)


def altered_kinds(connection: Connection, run_id: str, table: str | None = None) -> tuple[Kind, ...]:
    """How many altered values of each column, action and rule there are."""
    return _kinds(connection, _ALTERED_KINDS, run_id, table)


def difference_kinds(connection: Connection, run_id: str, table: str | None = None) -> tuple[Kind, ...]:
    """How many of the recorded differences there are of each column and kind."""
    return _kinds(connection, _DIFFERENCE_KINDS, run_id, table)


def fetch(connection: Connection, query: LiteralString, **values: Any) -> list[dict[str, Any]]:
    """The rows of a query, as dicts."""
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(query, values).fetchall()


def _kinds(connection: Connection, query: LiteralString, run_id: str, table: str | None) -> tuple[Kind, ...]:
    found = fetch(connection, query, run_id=run_id, table=table, limit=KINDS)
    return tuple(Kind(row["table_name"], row["column_name"], row["rule"], row["count"]) for row in found)


def _each(tables: Sequence[str], limit: int) -> int:
    """How many rows of each table to read, so that one full of them does not hide the others."""
    return max(1, limit // len(tables)) if tables else 0


_QUARANTINE_KINDS = """
    SELECT table_name, column_name, rule, count(*) FROM migration.quarantine
     WHERE run_id = %(run_id)s AND (%(table)s::text IS NULL OR table_name = %(table)s)
     GROUP BY 1, 2, 3 ORDER BY count(*) DESC, 1, 2, 3 LIMIT %(limit)s"""
_ALTERED_KINDS = """
    SELECT table_name, column_name, action || ' by ' || rule AS rule, count(*) FROM migration.altered_values
     WHERE run_id = %(run_id)s AND (%(table)s::text IS NULL OR table_name = %(table)s)
     GROUP BY 1, 2, 3 ORDER BY count(*) DESC, 1, 2, 3 LIMIT %(limit)s"""
_DIFFERENCE_KINDS = """
    SELECT table_name, column_name, kind AS rule, count(*) FROM migration.differences
     WHERE run_id = %(run_id)s AND (%(table)s::text IS NULL OR table_name = %(table)s)
     GROUP BY 1, 2, 3 ORDER BY count(*) DESC, 1, 2, 3 LIMIT %(limit)s"""
_QUARANTINED = """
    SELECT q.*, v.*
      FROM unnest(%(tables)s::text[]) WITH ORDINALITY AS t (name, place)
     CROSS JOIN LATERAL (
           SELECT table_name, row_key, column_name, storage_class, rule, left(reason, %(text)s) AS reason
             FROM migration.quarantine
            WHERE run_id = %(run_id)s AND table_name = t.name
              AND (%(after)s::text IS NULL OR row_key > %(after)s)
              AND (%(key)s::text IS NULL OR row_key = %(key)s)
              AND (%(column)s::text IS NULL OR column_name = %(column)s)
              AND (%(rule)s::text IS NULL OR rule = %(rule)s)
            ORDER BY row_key LIMIT %(each)s) AS q
     CROSS JOIN LATERAL (
           SELECT coalesce(array_agg(r.column_name), '{}') AS names,
                  coalesce(array_agg(r.storage_class), '{}') AS classes,
                  coalesce(array_agg(r.size), '{}') AS sizes,
                  coalesce(array_agg(r.head), '{}') AS heads,
                  coalesce(max(r.width), 0) AS width
             FROM (SELECT column_name, storage_class, octet_length(value) AS size,
                          substring(value FROM 1 FOR %(head)s) AS head, count(*) OVER () AS width
                     FROM migration.quarantined_values
                    WHERE run_id = %(run_id)s AND table_name = q.table_name AND row_key = q.row_key
                    ORDER BY column_name <> q.column_name, column_name LIMIT %(columns)s) AS r) AS v
     ORDER BY t.place, q.row_key LIMIT %(limit)s"""
_ALTERED = """
    SELECT a.*
      FROM unnest(%(tables)s::text[]) WITH ORDINALITY AS t (name, place)
     CROSS JOIN LATERAL (
           SELECT table_name, row_key, column_name, action, storage_class, rule,
                  left(reason, %(text)s) AS reason, octet_length(value) AS size,
                  substring(value FROM 1 FOR %(head)s) AS head
             FROM migration.altered_values
            WHERE run_id = %(run_id)s AND table_name = t.name
              AND (%(key)s::text IS NULL OR (row_key, column_name) > (%(key)s, %(after_column)s))
              AND (%(column)s::text IS NULL OR column_name = %(column)s)
              AND (%(rule)s::text IS NULL OR action || ' by ' || rule = %(rule)s)
            ORDER BY row_key, column_name LIMIT %(each)s) AS a
     ORDER BY t.place, a.row_key, a.column_name LIMIT %(limit)s"""
_DIFFERENCES = """
    SELECT d.*
      FROM unnest(%(tables)s::text[]) WITH ORDINALITY AS t (name, place)
     CROSS JOIN LATERAL (
           SELECT table_name, number, row_key, column_name, kind,
                  left(source_value, %(text)s) AS source_value, left(target_value, %(text)s) AS target_value
             FROM migration.differences
            WHERE run_id = %(run_id)s AND table_name = t.name AND number > %(after)s
              AND (%(column)s::text IS NULL OR column_name = %(column)s)
              AND (%(rule)s::text IS NULL OR kind = %(rule)s)
            ORDER BY number LIMIT %(each)s) AS d
     ORDER BY t.place, d.number LIMIT %(limit)s"""
