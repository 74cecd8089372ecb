"""Asks questions of all rows of a table, many in one scan, and names the rows to which an answer is due."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

import apsw

from migration.catalog import Table
from migration.profile import Evidence
from migration.sqlite import judging
from migration.sqlite.catalog import quoted

Question = TypeVar("Question")

NAMED = 3
"""So many rows are named of each kind."""
_EXPRESSIONS = 400
_ENCODINGS = {"UTF-16le": "utf-16-le", "UTF-16be": "utf-16-be"}


def statement(*parts: str) -> str:
    """SQL from its parts. Names among them are quoted, and values are bound."""
    return " ".join(parts)


class Scan:
    """One table of an open database. Connections are only read from; SQL there can call Python's judges afterwards."""

    def __init__(self, connection: apsw.Connection, table: Table) -> None:
        self.connection, self.table = connection, table
        # Scans by the table itself: its rows come in the order of their keys, and an index would hold no other column.
        self.source = f"FROM {quoted(table.name)} NOT INDEXED"
        self.encoding = _ENCODINGS.get(self.rows("PRAGMA encoding")[0][0], "utf-8")
        for name in ("text_kind", "utf8_size", "characters", "json_kind"):
            self.define(name, partial(getattr(judging, name), encoding=self.encoding))
        self.define("fraction_digits", judging.fraction_digits)

    def define(self, name: str, function: Any) -> None:
        """Let SQL call ``function`` of one value as ``profile_<name>``."""
        self.connection.create_scalar_function(f"profile_{name}", function, 1, deterministic=True)

    def rows(self, query: str) -> list[Any]:
        """The result of a query; apsw errors pass through."""
        return self.connection.execute(query).fetchall()

    def ask(self, questions: Mapping[Question, str]) -> dict[Question, Any]:
        """The answers to aggregate expressions."""
        found = dict[Question, Any]()
        names = list(questions)
        for at in range(0, len(names), _EXPRESSIONS):
            part = names[at : at + _EXPRESSIONS]
            query = statement("SELECT", ", ".join(questions[name] for name in part), self.source)
            found.update(zip(part, self.rows(query)[0], strict=True))
        return found

    def sample(self, expression: str, condition: str, most: int) -> list[Any]:
        """The expression's value in the first rows of which the condition is true."""
        query = statement("SELECT", expression, self.source, "WHERE", condition, f"LIMIT {most}")
        return [value for (value,) in self.connection.execute(query)]

    def evidence(self, count: int, condition: str) -> Evidence:
        """``count`` with the keys of the first rows of which the condition is true."""
        if not count or not self.table.key:
            return Evidence(count)
        keys = map(quoted, self.table.key)
        # A text's bytes: it may not be valid.
        parts = [f"typeof({k}), CASE typeof({k}) WHEN 'text' THEN CAST({k} AS BLOB) ELSE {k} END" for k in keys]
        query = statement("SELECT", ", ".join(parts), self.source, "WHERE", condition, f"LIMIT {min(count, NAMED)}")
        return Evidence(count, tuple(self._key(row) for row in self.rows(query)))

    def _key(self, row: Sequence[Any]) -> str:
        """A row's key as JSON text, the form in which the state names rows, from storage classes and values."""
        cells = [self._plain(storage, value) for storage, value in zip(row[::2], row[1::2], strict=True)]
        return json.dumps(cells, separators=(",", ":"), ensure_ascii=False)

    def _plain(self, storage: str, value: Any) -> Any:
        match storage:
            case "real":
                return {"real": repr(value)}
            case "blob":
                return {"blob": value.hex()}
            case "text":
                try:
                    return value.decode(self.encoding)
                except UnicodeDecodeError:
                    return {"text": value.hex()}
        return value

    def size(self, column: str) -> str:
        """SQL: the bytes (UTF-8) of a quoted column's text."""
        return f"octet_length({column})" if self.encoding == "utf-8" else f"profile_utf8_size(CAST({column} AS BLOB))"
