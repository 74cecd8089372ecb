"""Ranges of a table's key hold each of its rows once, for both of the SQLites that read them."""

from __future__ import annotations

import itertools
import math
import struct
from pathlib import Path
from typing import Any

import adbc_driver_sqlite.dbapi as adbc
import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from migration.load.bounds import Bounds, bounds, condition
from migration.load.reading import Reading
from migration.mapping import TableMap
from migration.sqlite.catalog import quoted, read_catalog
from migration.sqlite.opening import open_snapshot, uri
from tests.engine.support import Raw, database, insert

HUGE = 2**63


def reading_of(path: Path, table: str = "t") -> Reading:
    connection = open_snapshot(path)
    source = read_catalog(connection).table(table)
    encoding = str(connection.execute("PRAGMA encoding").fetchall()[0][0])
    return Reading(TableMap(source, sa.Table(table, sa.MetaData()), (), ()), (), (), encoding)


def divided(path: Path, parts: int) -> list[Bounds]:
    connection = open_snapshot(path)
    rows = connection.execute("SELECT count(*) FROM t").fetchall()[0][0]
    return list(bounds(connection, reading_of(path), int(str(rows)), parts))


def held(path: Path, found: list[Bounds]) -> list[list[Any]]:
    """The rows of each range, the same to both readers."""
    reading, connection = reading_of(path), open_snapshot(path)
    names = [quoted(k) for k in reading.keys]
    shown = ", ".join(f"hex({n}), typeof({n})" for n in names)
    conditions = [condition(reading, part.low, part.high) for part in found]
    queries = [f"SELECT {shown} FROM t{f' WHERE {c}' if c else ''}" for c in conditions]
    ours: list[list[Any]] = [connection.execute(query).fetchall() for query in queries]
    with adbc.connect(uri(path, mode="ro", immutable="1")) as other, other.cursor() as cursor:
        for query, rows in zip(queries, ours, strict=True):
            cursor.execute(query)
            assert sorted(tuple(row) for row in cursor.fetchall()) == sorted(rows)
    return ours


def every_row_once(path: Path, found: list[Bounds]) -> None:
    together = sorted(itertools.chain.from_iterable(held(path, found)))
    assert together == sorted(held(path, [Bounds(None, None, "all")])[0])
    assert (found[0].low, found[-1].high) == (None, None)


def neighbours(value: float, count: int) -> list[float]:
    (bits,) = struct.unpack("<q", struct.pack("<d", value))
    return [struct.unpack("<d", struct.pack("<q", bits + n))[0] for n in range(count)]


TABLES: dict[str, tuple[str, list[tuple[Any, ...]]]] = {
    "integers with gaps": ("a INTEGER PRIMARY KEY", [(n * n * n,) for n in range(-20, 21)]),
    "the integers at both ends": ("a INTEGER PRIMARY KEY", [(-HUGE,), (-HUGE + 1,), (0,), (HUGE - 2,), (HUGE - 1,)]),
    "a key that holds NULL": ("a TEXT PRIMARY KEY, b", [(None, 1), (None, 2), ("x", 3), ("y", 4)]),
    "no key": ("a", [(n % 3,) for n in range(10)]),
    "NOCASE": ("a TEXT COLLATE NOCASE PRIMARY KEY", [(c + d,) for c, d in zip("aBcDeF", "XyZxYz", strict=True)]),
    "RTRIM": ("a TEXT COLLATE RTRIM, b, PRIMARY KEY (a, b)", [("x" + " " * n, n) for n in range(9)]),
    "a key compared otherwise than its column": (
        "a TEXT COLLATE NOCASE, PRIMARY KEY (a COLLATE BINARY)",
        [("a",), ("A",), ("b",), ("B",), ("c",)],
    ),
    "descending": ("a INTEGER, b TEXT, PRIMARY KEY (a DESC, b)", [(n % 4, f"{n}") for n in range(20)]),
    "every storage class": (
        "a, b, PRIMARY KEY (a, b)",
        list(itertools.product([1, 1.5, -math.inf, "1", "", b"1", b"", "é\0x"], [2, "2", b"2", 0.1])),
    ),
    "texts that are not valid": ("a TEXT PRIMARY KEY", [(Raw(bytes([n, 0xC3])),) for n in range(0x80, 0xA0)]),
    "equal prefixes": ("a TEXT PRIMARY KEY", [("p" * 500 + f"{n:03}",) for n in range(50)]),
    "neighbouring doubles": ("a REAL PRIMARY KEY", [(v,) for v in neighbours(0.1, 9) + neighbours(1e300, 9)]),
    "the smallest doubles": ("a REAL PRIMARY KEY", [(v,) for v in (*neighbours(5e-324, 9), *neighbours(1e-308, 9))]),
    "doubles and integers": ("a, PRIMARY KEY (a)", [(2**53 + n,) for n in range(4)] + [(2.0**54,), (-0.5,)]),
}
ROWIDS = ("integers with gaps", "the integers at both ends", "a key that holds NULL", "no key")


@pytest.mark.parametrize("encoding", ["UTF-8", "UTF-16be"])
@pytest.mark.parametrize("name", TABLES)
def test_each_row_is_in_one_range(tmp_path: Path, name: str, encoding: str) -> None:
    columns, rows = TABLES[name]
    without = "" if name in ROWIDS else " WITHOUT ROWID"
    path = database(tmp_path / "app.db", f"CREATE TABLE t ({columns}){without}", encoding=encoding)
    insert(path, "t", rows)
    for parts in (1, 2, 3, len(rows), len(rows) + 5):
        found = divided(path, parts)
        every_row_once(path, found)
        assert len(found) <= parts


@pytest.mark.parametrize("parts", [1, 4])
def test_no_rows_and_one_row_are_one_range(tmp_path: Path, parts: int) -> None:
    path = database(tmp_path / "app.db", "CREATE TABLE t (a INTEGER PRIMARY KEY)")
    assert divided(path, parts) == [Bounds(None, None, "no rows")]
    insert(path, "t", [(-7,)])
    assert divided(path, parts) == [Bounds(None, None, "-7")]


def test_ranges_hold_equal_numbers_of_rows_and_are_named_by_their_first_and_last(tmp_path: Path) -> None:
    path = database(tmp_path / "app.db", "CREATE TABLE t (a INTEGER PRIMARY KEY)")
    insert(path, "t", [(n * 10,) for n in range(1, 1001)])
    found = divided(path, 3)
    assert [len(rows) for rows in held(path, found)] == [333, 333, 334]
    assert [part.label for part in found] == ["10 – 3,330", "3,340 – 6,660", "6,670 – 10,000"]


@pytest.mark.parametrize(
    ("key", "label"),
    [
        ("{{ 1 / 0 }}", "{{ 1 / 0 }}"),
        ("a\u202eb\x1b[31m\n", r"a\u202eb\x1b[31m\n"),
        ("x" * 100 + "end", "x" * 24 + "…" + "x" * 9 + "end"),
        (Raw(b"\xff"), "x'ff'"),
    ],
)
def test_a_label_is_printable_and_short_and_shows_where_long_keys_differ(tmp_path: Path, key: Any, label: str) -> None:
    path = database(tmp_path / "app.db", "CREATE TABLE t (a TEXT PRIMARY KEY) WITHOUT ROWID")
    insert(path, "t", [(key,)])
    assert [part.label for part in divided(path, 1)] == [label]


@pytest.mark.parametrize(
    "table",
    [
        "a INTEGER PRIMARY KEY, b",
        "a TEXT COLLATE NOCASE, b INTEGER, PRIMARY KEY (a, b)) WITHOUT ROWID, STRICT --",
        "a, b REAL, PRIMARY KEY (a, b)) WITHOUT ROWID --",
    ],
)
def test_a_range_is_read_by_the_key_and_not_by_a_scan(tmp_path: Path, table: str) -> None:
    path = database(
        tmp_path / "app.db", f"CREATE TABLE t ({table}\n)" if "--" not in table else f"CREATE TABLE t ({table[:-3]}"
    )
    insert(path, "t", [(n, n) if "INTEGER PRIMARY" in table else (f"{n}", n) for n in range(100)])
    part = divided(path, 3)[1]
    query = f"EXPLAIN QUERY PLAN SELECT * FROM t NOT INDEXED WHERE {condition(reading_of(path), part.low, part.high)}"
    (step,) = [str(row[3]) for row in open_snapshot(path).execute(query)]
    assert step.startswith("SEARCH t USING ")


VALUES = st.one_of(
    st.integers(-(2**63), 2**63 - 1),
    st.integers(-3, 3),
    st.floats(allow_nan=False),
    st.floats(allow_nan=False).map(lambda v: v / 1e6),
    st.text(st.sampled_from("aAbB 0\0é"), max_size=4),
    st.text(max_size=6).filter(lambda s: s.isprintable()),
    st.binary(max_size=3),
    st.binary(max_size=3).map(Raw),
)
COLUMN = st.tuples(
    st.sampled_from(["", "TEXT", "INTEGER", "REAL", "BLOB"]), st.sampled_from(["BINARY", "NOCASE", "RTRIM"])
)
number = itertools.count()


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(COLUMN, min_size=1, max_size=3), st.data(), st.integers(1, 9), st.sampled_from(["UTF-8", "UTF-16le"]))
def test_ranges_of_any_keys_hold_each_row_once(
    tmp_path: Path, columns: list[tuple[str, str]], data: st.DataObject, parts: int, encoding: str
) -> None:
    rows = data.draw(st.lists(st.tuples(*[VALUES] * len(columns)), max_size=25))
    names = "abc"[: len(columns)]
    typed = ", ".join(f"{n} {kind} COLLATE {order}" for n, (kind, order) in zip(names, columns, strict=True))
    create = f"CREATE TABLE t ({typed}, PRIMARY KEY ({', '.join(names)}) ON CONFLICT IGNORE) WITHOUT ROWID"
    path = database(tmp_path / f"{next(number)}.db", create, encoding=encoding)
    insert(path, "t", rows)
    every_row_once(path, divided(path, parts))


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sets(st.integers(-(2**63), 2**63 - 1), max_size=30), st.integers(1, 9))
@example({-(2**63), 2**63 - 1}, 2)
def test_ranges_of_any_rowids_hold_each_row_once(tmp_path: Path, ids: set[int], parts: int) -> None:
    path = database(tmp_path / f"{next(number)}.db", "CREATE TABLE t (a INTEGER PRIMARY KEY)")
    insert(path, "t", [(n,) for n in ids])
    every_row_once(path, divided(path, parts))
