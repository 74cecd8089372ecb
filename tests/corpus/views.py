"""Whether a view is carried or refused, and tells the same rows on both sides."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import apsw
import psycopg
import psycopg.sql

if TYPE_CHECKING:
    from tests.corpus.truth import Connection, Judgement, Source


def judge_view(
    result: Judgement, source: Source, plan: Mapping[str, Any], connection: Connection, schema: str, name: str
) -> None:
    views = plan.get("views") or {}
    target = (views.get(name) or {}).get("rename") or name
    query = "SELECT 1 FROM pg_views WHERE schemaname = %s AND viewname = %s"
    there = connection.execute(query, [schema, target]).fetchone() is not None
    refused = any(r["kind"] == "view" and r["name"] == name for r in plan.get("refused") or ())
    result.settle("view", name, there, refused)
    if there:
        _same_rows(result, source, connection, schema, name, target)


def _same_rows(result: Judgement, source: Source, connection: Connection, schema: str, name: str, target: str) -> None:
    """A view must tell the same rows; columns of times and documents, whose texts differ by nature, are left out."""
    try:
        ours = source.all('SELECT * FROM "{}"'.format(name.replace('"', '""')))
    except (apsw.Error, UnicodeError):
        return  # it does not work in SQLite either
    with connection.transaction():
        cursor = connection.execute(psycopg.sql.SQL("SELECT * FROM {}").format(psycopg.sql.Identifier(schema, target)))
        theirs = cursor.fetchall()
    left = {n for row in theirs for n, v in enumerate(row) if isinstance(v, (date, dict, list))}
    octets = {n for row in theirs for n, v in enumerate(row) if isinstance(v, bytes)}
    told = [
        Counter(tuple(_plainly(v, n in octets) for n, v in enumerate(row) if n not in left) for row in rows)
        for rows in (ours, theirs)
    ]
    if told[0] != told[1]:
        lacking, extra = (list((told[n] - told[1 - n]).elements()) for n in (0, 1))
        message = f"{len(lacking)} of its rows are not there, as {lacking[:1]!r:.200}; {len(extra)} others are, as {extra[:1]!r:.200}"
        result.found("view", name, message)


def _plainly(value: Any, octets: bool) -> str | None:
    """A value of a view on either side: numbers to ten digits, whatever their types, and in a bytea their text's bytes."""
    if octets and value is not None:
        return value.hex() if isinstance(value, bytes) else str(value).encode().hex()
    if isinstance(value, (int, float, Decimal)):
        return f"{float(value):.10g}"
    return value.hex() if isinstance(value, bytes) else value
