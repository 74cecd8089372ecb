"""Divides a table of the snapshot into ranges of its key, each a condition on rows in SQL.

A key is a table's rowid, or all columns of a key without one: neither can hold NULL, so that of two neighbours
``key <= bound`` holds or ``key > bound``, whatever the key's collations and storage classes are.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import apsw

from migration.load.reading import Reading
from migration.load.rejects import row_key
from migration.sqlite.catalog import quoted
from migration.words import visible

HEAD, TAIL = 24, 12
"""Of a longer key a label shows its beginning and its end."""


@dataclass(frozen=True)
class Bounds:
    """The rows whose keys lie above ``low`` and up to ``high``, both as :func:`row_key` writes them."""

    low: str | None
    """None: from the first row on."""
    high: str | None
    """None: to the last row."""
    label: str
    """The first and the last key, for people: printable and short."""


def whole(label: str) -> Bounds:
    """All of a table."""
    return Bounds(None, None, label)


def bounds(snapshot: apsw.Connection, reading: Reading, rows: int, parts: int) -> Iterator[Bounds]:
    """``parts`` ranges of equal numbers of rows, of a table of so many ``rows``; fewer where rows are few.

    Each bound is found by stepping over the keys from the one before, which together is one scan where the key is the
    order in which the rows lie. Where it is not (a key with another collation or direction than its columns), SQLite
    sorts for each of them.
    """
    first, last = _key(snapshot, reading), _key(snapshot, reading, descending=True)
    if first is None or last is None:
        yield whole("no rows")
        return
    parts, low = min(parts, rows), None
    for number in range(1, parts):
        size = rows * number // parts - rows * (number - 1) // parts
        high = _key(snapshot, reading, condition(reading, low, None), size - 1)
        following = _key(snapshot, reading, condition(reading, high, None)) if high else None
        if high is None or following is None:  # keys that are equal by the column's collation, but not the key's own
            break
        yield Bounds(low, high, _label(first, high))
        low, first = high, following
    yield Bounds(low, None, _label(first, last))


def condition(reading: Reading, low: str | None, high: str | None) -> str:
    """The condition for the rows between two keys; empty for all rows."""
    keys = ", ".join(map(quoted, reading.keys))
    ends = ((">", low), ("<=", high))
    return " AND ".join(f"({keys}) {operator} ({_literals(reading, end)})" for operator, end in ends if end is not None)


def _key(
    snapshot: apsw.Connection, reading: Reading, where: str = "", skipped: int = 0, *, descending: bool = False
) -> str | None:
    """The key of the row after so many that are skipped, in the key's order; None when there is none."""
    keys = list(map(quoted, reading.keys))
    cells = [f"typeof({k}), CASE typeof({k}) WHEN 'text' THEN CAST({k} AS BLOB) ELSE {k} END" for k in keys]
    order = ", ".join(f"{k} DESC" if descending else k for k in keys)
    query = f"SELECT {', '.join(cells)} FROM {reading.table} NOT INDEXED{f' WHERE {where}' if where else ''}"  # noqa: S608 - quoted()
    found: list[tuple[Any, ...]] = snapshot.execute(f"{query} ORDER BY {order} LIMIT 1 OFFSET {skipped}").fetchall()
    return row_key(tuple(zip(found[0][::2], found[0][1::2], strict=True)), reading.encoding) if found else None


def _literals(reading: Reading, key: str) -> str:
    return ", ".join(_literal(part, reading.encoding) for part in json.loads(key))


def _literal(part: Any, encoding: str) -> str:
    """A part of a key in SQL, the same value in every SQLite, and without an affinity: that is left to the column."""
    match part:
        case int():
            return str(part)
        case {"real": written}:
            return _exact(float(written))
        case {"blob": digits}:
            return f"x'{digits}'"
        case {"text": digits}:
            return f"+CAST(x'{digits}' AS TEXT)"
    return f"+CAST(x'{part.encode(encoding).hex()}' AS TEXT)"


STRIDE = 30


def _exact(value: float) -> str:
    """A double as an integer times powers of two: not every SQLite reads every decimal text to the last bit."""
    if math.isinf(value):
        return "9e999" if value > 0 else "-9e999"
    fraction, exponent = math.frexp(value)
    whole, exponent = int(fraction * 2**53), exponent - 53
    while whole and whole % 2 == 0:
        whole, exponent = whole // 2, exponent + 1
    steps = [STRIDE] * (abs(exponent) // STRIDE) + [abs(exponent) % STRIDE]
    operator = "*" if exponent > 0 else "/"
    return f"({whole} * 1.0{''.join(f' {operator} {2**step}.0' for step in steps)})"


def _label(first: str, last: str) -> str:
    return _shown(first) if first == last else f"{_shown(first)} – {_shown(last)}"


def _shown(key: str) -> str:
    text = visible(", ".join(map(_plain, json.loads(key))))
    return text if len(text) <= HEAD + TAIL else f"{text[:HEAD]}…{text[-TAIL:]}"


def _plain(part: Any) -> str:
    match part:
        case int():
            return f"{part:,}"
        case {"real": written}:
            return str(written)
        case {"blob": digits} | {"text": digits}:
            return f"x'{digits}'"
    return str(part)
