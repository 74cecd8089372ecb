"""Arbitrary rows of every storage class into columns of every type: each value crosses exactly, or its row is kept.

What must become of a value is computed here anew, from Python's own reading of it.
"""

from __future__ import annotations

import itertools
import json
import math
import re
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from psycopg import sql
from psycopg.types.json import set_json_loads
from sqlalchemy.dialects import postgresql as pg

from migration.load.table import load_table
from tests.engine.support import (
    Raw,
    begin,
    connection_to,
    database,
    insert,
    job_for,
    models,
    plan_for,
    quarantined_bytes,
)

TYPES: dict[str, sa.types.TypeEngine[Any]] = {
    "smallint": sa.SmallInteger(),
    "integer": sa.Integer(),
    "bigint": sa.BigInteger(),
    "boolean": sa.Boolean(),
    "text": sa.Text(),
    "varchar": sa.String(3),
    "numeric": sa.Numeric(6, 2),
    "double": sa.Double(),
    "bytea": sa.LargeBinary(),
    "timestamptz": sa.DateTime(timezone=True),
    "date": sa.Date(),
    "jsonb": pg.JSONB(),
}
NO = object()
"""The value must not cross."""


def whole(bits: int, value: Any) -> Any:
    fits = isinstance(value, int) or (isinstance(value, float) and value.is_integer())
    return int(value) if fits and -(2 ** (bits - 1)) <= value < 2 ** (bits - 1) else NO


def text(most: float, value: Any) -> Any:
    return value if isinstance(value, str) and "\0" not in value and len(value) <= most else NO


def numeric(value: Any) -> Any:
    if not isinstance(value, (int, float)) or not math.isfinite(value) or abs(value) >= 10_000:
        return NO
    shortest = Decimal(str(value))
    return shortest if round(shortest, 2) == shortest else NO


def double(value: Any) -> Any:
    return float(value) if isinstance(value, float) or (isinstance(value, int) and int(float(value)) == value) else NO


INSTANT = re.compile(r"\d{4}-\d\d-\d\d([ T]\d\d:\d\d(:\d\d(\.\d{1,6})?)?(Z|[+-]\d\d(:?\d\d)?)?)?", re.ASCII)


def instant(value: Any) -> Any:
    if not isinstance(value, str) or not INSTANT.fullmatch(value):
        return NO
    try:
        found = datetime.fromisoformat(value)
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        return NO


def day(value: Any) -> Any:
    try:
        return date.fromisoformat(value) if isinstance(value, str) and re.fullmatch(r"\d{4}-\d\d-\d\d", value) else NO
    except ValueError:
        return NO


def strict_json(value: Any) -> Any:
    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        assert len({key for key, _ in pairs}) == len(pairs)
        return dict(pairs)

    try:
        found = json.loads(value, object_pairs_hook=once, parse_float=Decimal, parse_constant=int)
        json.dumps(found, ensure_ascii=False, default=str).encode()
        assert "\\u0000" not in json.dumps(found, default=str)
    except (TypeError, ValueError, AssertionError):
        return NO
    return found if isinstance(value, str) else NO


EXPECTED: dict[str, Any] = {
    "smallint": lambda v: whole(16, v),
    "integer": lambda v: whole(32, v),
    "bigint": lambda v: whole(64, v),
    "boolean": lambda v: bool(v) if isinstance(v, int) and v in (0, 1) else NO,
    "text": lambda v: text(math.inf, v),
    "varchar": lambda v: text(3, v),
    "numeric": numeric,
    "double": double,
    "bytea": lambda v: v if type(v) is bytes else NO,
    "timestamptz": instant,
    "date": day,
    "jsonb": strict_json,
}

TEXTS = st.text(st.characters(codec="utf-8"), max_size=12)
ZONES = st.sampled_from(["", "Z", "+02:00", "-0530", "+14"])
LIKELY: dict[str, st.SearchStrategy[Any]] = {
    "smallint": st.integers(-32769, 32768),
    "integer": st.integers(-(2**31) - 1, 2**31),
    "bigint": st.integers(-(2**63), 2**63 - 1),
    "boolean": st.integers(0, 2),
    "text": TEXTS,
    "varchar": st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=4),
    "numeric": st.one_of(st.integers(-10_000, 10_000), st.decimals(-10_000, 10_000, places=2).map(float)),
    "double": st.one_of(st.floats(allow_nan=False), st.integers(-(2**53), 2**53)),
    "bytea": st.binary(max_size=12),
    "timestamptz": st.builds(lambda d, z: d.isoformat(" ") + z, st.datetimes(), ZONES),
    "date": st.dates().map(date.isoformat),
    "jsonb": st.recursive(
        st.one_of(st.none(), st.booleans(), st.integers(), TEXTS),
        lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(TEXTS, inner, max_size=3)),
        max_leaves=4,
    ).map(lambda value: json.dumps(value, ensure_ascii=False)),
}
ANYTHING = st.one_of(
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False),
    TEXTS,
    st.binary(max_size=12),
    st.binary(max_size=12).map(Raw),
)


def cell(name: str) -> st.SearchStrategy[Any]:
    """Mostly what the type takes, so that most rows have at most one value that cannot cross."""
    likely = LIKELY[name]
    return st.one_of(*[likely] * 9, st.none(), ANYTHING)


ROWS = st.lists(st.tuples(*(cell(name) for name in TYPES)), max_size=40)
number = itertools.count()


def decoded(value: Any) -> Any:
    """Text as SQLite gives it, bytes where it is not valid."""
    if isinstance(value, Raw):
        try:
            return value.decode()
        except UnicodeDecodeError:
            return Raw(value)
    return value


def stored(value: Any) -> tuple[str, bytes | None]:
    """The storage class and bytes that the quarantine must hold."""
    if value is None:
        return "null", None
    if isinstance(value, (int, float)):
        return ("integer" if isinstance(value, int) else "real"), repr(value).encode()
    return (
        ("text", value.encode())
        if isinstance(value, str)
        else ("text" if isinstance(value, Raw) else "blob", bytes(value))
    )


def comparable(row: list[Any]) -> list[Any]:
    """The row in a form whose equality tells 0.0 from -0.0 and True from 1, at any depth of JSON."""
    *plain, document = row
    cells: list[Any] = [(type(v), repr(v) if isinstance(v, float) else v) for v in plain]
    return [*cells, json.dumps(document, sort_keys=True, default=lambda number: str(number.normalize()))]


@settings(
    max_examples=30,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(ROWS, st.booleans())
@example([(None,) * 12, (0.0,) * 12, (-0.0,) * 12, ("",) * 12, (b"",) * 12, (Raw(b""),) * 12, (1,) * 12], False)
def test_every_row_is_loaded_exactly_or_quarantined_byte_for_byte(
    tmp_path: Path, target_dsn: str, rows: list[tuple[Any, ...]], required: bool
) -> None:
    place = next(number)
    names = ", ".join(TYPES)
    source = database(tmp_path / f"{place}.db", f"CREATE TABLE t (id INTEGER PRIMARY KEY, {names})")
    insert(source, "t", [(n, *row) for n, row in enumerate(rows)])
    columns = [sa.Column(name, kind, nullable=not (required and name == "varchar")) for name, kind in TYPES.items()]
    plan = plan_for(models(("t", [sa.Column("id", sa.Integer, primary_key=True), *columns])))
    job = begin(job_for(source, target_dsn, plan, f"run {place}", rows_per_block=64, quarantine="allow"))

    figures = load_table(job, "t")

    crossing: dict[int, list[Any]] = {}
    kept: dict[tuple[str, str], tuple[str, bytes | None]] = {}
    for n, row in enumerate(rows):
        expected = [
            (NO if required and name == "varchar" else None) if value is None else EXPECTED[name](decoded(value))
            for name, value in zip(TYPES, row, strict=True)
        ]
        if NO in expected:
            kept |= {(f"[{n}]", name): stored(value) for name, value in zip(TYPES, row, strict=True)}
            kept[f"[{n}]", "id"] = ("integer", str(n).encode())
        else:
            crossing[n] = expected
    with connection_to(job) as connection:
        set_json_loads(lambda data: json.loads(data, parse_float=Decimal), connection)
        query = sql.SQL("SELECT id, {}, jsonb IS NULL FROM {}").format(sql.SQL(names), sql.Identifier(job.staging, "t"))
        found = {row[0]: list(row[1:]) for row in connection.execute(query).fetchall()}
    assert {n: comparable(row[:-1]) for n, row in found.items()} == {n: comparable(row) for n, row in crossing.items()}
    # JSON null and SQL NULL both read back as None: the last column tells them apart.
    assert {n: row[-1] for n, row in found.items()} == {n: rows[n][-1] is None for n in crossing}
    assert quarantined_bytes(job, "t") == kept
    assert figures["source_rows"] == len(rows) == figures["loaded"] + figures["quarantined"]
    assert figures["loaded"] == len(crossing)


def test_the_expectations_here_tell_what_crosses_from_what_does_not() -> None:
    assert EXPECTED["numeric"](0.1 + 0.2) is NO
    assert EXPECTED["numeric"](0.29) == Decimal("0.29")
    assert EXPECTED["timestamptz"]("2024-02-30") is NO
    assert EXPECTED["jsonb"]('{"a":1,"a":1}') is NO
    assert EXPECTED["bytea"](Raw(b"x")) is NO
    assert EXPECTED["boolean"](1.0) is NO
    assert comparable([0.0, None]) != comparable([-0.0, None])
