"""Generated rows for schemas that come without: a few hundred that obey types, keys and simple CHECKs."""

from __future__ import annotations

import json
import random
import re
import sqlite3
from collections.abc import Mapping
from typing import Any

ROWS = 200
TRIES = 3
WORDS = [
    "alpha",
    "Beta",
    "gamma",
    "ünder",
    "straße",
    "日本",
    "it's",
    '"so"',
    "back\\slash",
    "tab\there",
    "line\nbreak",
    "100%",
    "{x}",
    "'",
    ",",
    ";",
    "🙂",
]


def fill(connection: sqlite3.Connection, seed: str) -> int:
    """Insert up to ROWS rows into each table that has none; how many went in. A row that the schema refuses is left out."""
    dice, total = random.Random(seed), 0
    connection.isolation_level = None  # each row commits by itself, and so does what a deferred constraint thinks of it
    connection.execute("PRAGMA synchronous = OFF")
    connection.execute("PRAGMA foreign_keys = ON")
    query = "SELECT name FROM pragma_table_list WHERE schema = 'main' AND type = 'table' AND name NOT LIKE 'sqlite%'"
    tables = [name for (name,) in connection.execute(query)]
    for table in _parents_first(connection, tables):
        if connection.execute(f"SELECT 1 FROM {_quoted(table)} LIMIT 1").fetchone():
            continue
        columns = _Columns(connection, table)
        for number in range(1, ROWS + 1):
            total += any(_insert(connection, table, columns.row(dice, number + TRIES * t)) for t in range(TRIES))
    connection.execute("PRAGMA foreign_keys = OFF")
    return total


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _insert(connection: sqlite3.Connection, table: str, row: Mapping[str, Any]) -> bool:
    columns, marks = ", ".join(map(_quoted, row)), ", ".join("?" * len(row))
    try:
        connection.execute(f"INSERT INTO {_quoted(table)} ({columns}) VALUES ({marks})", list(row.values()))
    except sqlite3.Error:
        return False
    return True


def _parents_first(connection: sqlite3.Connection, tables: list[str]) -> list[str]:
    parents = {
        t: {p.lower() for (p,) in connection.execute('SELECT "table" FROM pragma_foreign_key_list(?)', [t])}
        - {t.lower()}
        for t in tables
    }
    found: list[str] = []
    while len(found) < len(tables):
        waiting = [t for t in tables if t not in found]
        open_ = {t.lower() for t in waiting}
        ready = [t for t in waiting if not parents[t] & open_]
        found += ready or waiting[:1]
    return found


class _Columns:
    """What a row of one table needs."""

    def __init__(self, connection: sqlite3.Connection, table: str) -> None:
        query = 'SELECT name, type, "notnull", dflt_value, pk FROM pragma_table_xinfo(?) WHERE hidden = 0'
        self.columns = connection.execute(query, [table]).fetchall()
        (self.sql,) = connection.execute(
            "SELECT sql FROM sqlite_schema WHERE type = 'table' AND name = ?", [table]
        ).fetchone()
        self.parents: dict[str, list[Any]] = {}
        for _, _, parent, own, to, *_ in connection.execute(f"PRAGMA foreign_key_list({_quoted(table)})"):
            try:
                names = (
                    to
                    or connection.execute("SELECT name FROM pragma_table_info(?) WHERE pk = 1", [parent]).fetchone()[0]
                )
                values = connection.execute(f"SELECT {_quoted(names)} FROM {_quoted(parent)} LIMIT 500").fetchall()
            except (sqlite3.Error, TypeError):
                continue
            self.parents[own.lower()] = [v for (v,) in values if v is not None]

    def row(self, dice: random.Random, number: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name, declared, not_null, default, pk in self.columns:
            known = self.parents.get(name.lower())
            if not pk and not not_null and dice.random() < 0.15:
                found[name] = None
            elif known:
                found[name] = dice.choice(known)
            elif known == [] and not not_null and not pk:
                found[name] = None
            elif default is not None and dice.random() < 0.3:
                continue
            else:
                found[name] = self._value(dice, name, declared.upper(), number)
        return found

    def _value(self, dice: random.Random, name: str, declared: str, number: int) -> Any:
        if choices := self._choices(name):
            return dice.choice(choices)
        if re.search(r"BOOL|TINYINT\(1\)", declared):
            return dice.randrange(2)
        if "JSON" in declared:
            return json.dumps({"n": number, "words": [dice.choice(WORDS)], "r": dice.random()})
        if re.search(r"DATETIME|TIMESTAMP", declared) and "INT" not in declared:
            return f"20{dice.randrange(10, 26)}-{dice.randrange(1, 13):02}-{dice.randrange(1, 29):02} {dice.randrange(24):02}:{dice.randrange(60):02}:{dice.randrange(60):02}"
        if "DATE" in declared:
            return f"20{dice.randrange(10, 26)}-{dice.randrange(1, 13):02}-{dice.randrange(1, 29):02}"
        if "INT" in declared:
            return number if dice.random() < 0.9 else dice.choice([number + 2**33, -number])
        if re.search(r"CHAR|CLOB|TEXT|STRING", declared):
            length = re.search(r"\((\d+)\)", declared)
            return f"{dice.choice(WORDS)} {number}"[-int(length[1]) if length and int(length[1]) else -60 :]
        if re.search(r"BLOB", declared):
            return dice.randbytes(dice.randrange(40))
        if re.search(r"REAL|FLOA|DOUB", declared):
            return dice.uniform(-1e6, 1e6)
        if scale := re.search(r"\(\s*(\d+)\s*,\s*(\d+)\s*\)", declared):
            return round(dice.uniform(0, 10 ** min(6, int(scale[1]) - int(scale[2]))), int(scale[2]))
        return number

    def _choices(self, name: str) -> list[Any]:
        """The literals that a CHECK (name IN (…)) allows."""
        match = re.search(rf"\b{re.escape(name)}\b[\"`\]]?\s+IN\s*\(([^)]*)\)", self.sql, re.IGNORECASE)
        words = [w.strip() for w in match[1].split(",")] if match else []
        return [w[1:-1] if w.startswith("'") else int(w) for w in words if re.fullmatch(r"'[^']*'|-?\d+", w)]
