"""A database of hundreds of tables, and the plan that describes where they go."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import apsw

EMPTY_OF_TEN = 7
"""So many tables of ten hold no row, as in the databases of most large applications."""


def make_many(path: Path, tables: int = 300, large: int = 3, rows: int = 20_000) -> Path:
    """A database of ``tables`` tables in four levels of foreign keys; the first ``large`` have ``rows`` rows."""
    connection = apsw.Connection(str(path))
    with connection:
        for number in range(tables):
            parent = _parent(number)
            reference = f" REFERENCES {_name(parent)}(id)" if parent is not None else ""
            connection.execute(
                f"CREATE TABLE {_name(number)} (id INTEGER PRIMARY KEY, parent_id INTEGER{reference}, name TEXT NOT NULL"
                " DEFAULT 'new', amount REAL, made TEXT, flags INTEGER NOT NULL DEFAULT 0, note TEXT, data BLOB)"
            )
            connection.execute(f"CREATE INDEX {_name(number)}_name ON {_name(number)} (name)")
            connection.executemany(
                f"INSERT INTO {_name(number)} VALUES (?, NULL, ?, ?, '2024-01-01 10:00:00', 0, 'a note', x'00ff')",
                ((n, f"name {n}", n / 8) for n in range(1, _rows(number, large, rows) + 1)),
            )
    connection.close()
    return path


def many_plan(
    source: Path, name: str = "many", tables: int = 300, large: int = 3, rows: int = 20_000
) -> dict[str, Any]:
    """What a plan file for :func:`make_many` holds."""
    return {
        "name": name,
        "title": "Many tables",
        "source": str(source),
        "target": f"{name}_target",
        "tables": {_name(n): _table(n, _rows(n, large, rows)) for n in range(tables)},
    }


def _name(number: int) -> str:
    return f"t{number:03d}_of_many"


def _parent(number: int) -> int | None:
    return number // 4 if number >= 8 else None


def _rows(number: int, large: int, rows: int) -> int:
    return rows if number < large else 0 if number % 10 < EMPTY_OF_TEN else 25


def _table(number: int, rows: int) -> dict[str, Any]:
    parent = _parent(number)
    table = _name(number)
    key = {"columns": ["parent_id"], "table": _name(parent), "parent_columns": ["id"]} if parent is not None else None
    return {
        "rows": rows,
        "columns": {
            "id": {"declared": "INTEGER", "type": "bigint", "not_null": True, "identity": True},
            "parent_id": {"declared": "INTEGER", "type": "bigint"},
            "name": {"declared": "TEXT", "type": "text", "not_null": True, "default": "'new'"},
            "amount": {"declared": "REAL", "type": "double precision"},
            "made": {"declared": "TEXT", "type": "timestamp"},
            "flags": {"declared": "INTEGER", "type": "bigint", "not_null": True, "default": "0"},
            "note": {"declared": "TEXT", "type": "text"},
            "data": {"declared": "BLOB", "type": "bytea"},
        },
        "primary_key": {"name": f"{table}_pkey", "columns": ["id"]},
        "indexes": {f"{table}_name": {"keys": ["name"]}},
        "foreign_keys": {f"{table}_parent_id_fkey": key} if key else {},
    }
