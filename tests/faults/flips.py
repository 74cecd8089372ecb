"""A small database of every storage class, copies of it with bytes flipped, and what an independent reader finds there."""

from __future__ import annotations

import random
import sqlite3
import struct
from contextlib import closing
from pathlib import Path
from typing import Any

from tests.engine.support import database, insert

TABLES = {"t": ("id", "n", "r", "s", "b"), "u": ("id", "t_id", "doc")}
PAGE = 1024

Rows = dict[str, list[tuple[Any, ...]]]


def original(path: Path) -> Path:
    """Two tables, an index, rows with overflow pages, and pages on the freelist."""
    database(
        path,
        f"PRAGMA page_size = {PAGE}",
        "CREATE TABLE t (id INTEGER PRIMARY KEY, n INTEGER, r REAL, s TEXT, b BLOB)",
        "CREATE TABLE u (id INTEGER PRIMARY KEY, t_id INTEGER REFERENCES t(id), doc TEXT)",
        "CREATE INDEX t_n ON t (n)",
        "CREATE TABLE gone (x)",
    )
    drawn = random.Random(1)
    insert(
        path,
        "t",
        [(i, drawn.randrange(-(2**40), 2**40), i / 7, f"Ærø {i} " * (300 if i % 50 == 0 else 2), drawn.randbytes(i % 60))
         for i in range(1, 301)],
    )  # fmt: skip
    insert(path, "u", [(i, i, f'{{"n": {i}, "s": "x"}}' if i % 9 else None) for i in range(1, 201)])
    insert(path, "gone", [("y" * 900,) for _ in range(12)])
    return database(path, "DROP TABLE gone")


def flipped(data: bytes, seed: str) -> bytes:
    """The file with one to sixteen bytes changed: anywhere, in its header, or in the head of a page."""
    drawn, changed = random.Random(seed), bytearray(data)
    count = drawn.choice((1, 1, 1, 2, 4, 16))
    page = drawn.randrange(len(data) // PAGE) * PAGE
    start, end = drawn.choices([(0, len(data)), (0, 100), (page, page + 24)], [7, 1, 2])[0]
    place = drawn.randrange(start, end)
    for at in range(place, min(place + count, len(data))):
        changed[at] ^= drawn.randrange(1, 256)
    return bytes(changed)


def read(path: Path) -> Rows | None:
    """All rows with the class of each value, text as its bytes, by Python's own driver; None where it cannot read them."""
    found = {}
    try:
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro&immutable=1", uri=True)) as connection:
            connection.text_factory = bytes
            for table, columns in TABLES.items():
                classes = ", ".join(f"typeof({c}), {c}" for c in columns)
                found[table] = connection.execute(f"SELECT {classes} FROM {table} NOT INDEXED ORDER BY id").fetchall()
    except (sqlite3.Error, UnicodeDecodeError, OverflowError):
        return None
    return found


def holds(kind: bytes, value: Any, target: Any) -> bool:
    """Whether a value of the target is that value of the source, to the last bit."""
    match kind:
        case b"null":
            return target is None
        case b"text":
            return isinstance(target, str) and target.encode() == value
        case b"real":
            return isinstance(target, float) and struct.pack(">d", target) == struct.pack(">d", value)
        case b"integer" if isinstance(target, float):
            return int(target) == int(value)
    same: bool = type(target) is type(value) and target == value
    return same
