"""Cuts clauses out of SQLite's stored CREATE statements by SQLite's own lexical rules, each as its exact text.

PRAGMAs tell what a table has; they do not tell the text of a CHECK, a generated column, an index expression or a
partial index's predicate, nor the names of constraints. A SQL parser of another make rejects or rewrites a part of what
SQLite accepts; SQLite has accepted these statements already, so finding the brackets is all that is left to do.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple


class Token(NamedTuple):
    """``text`` is the source's, of a quoted name what is between the quotes."""

    kind: str
    """'word', 'name' (quoted), 'string', 'number' or 'sign'."""
    text: str
    start: int
    end: int


_CLOSING = {'"': '"', "`": "`", "[": "]", "'": "'"}


def tokens(sql: str) -> Iterator[Token]:
    """The tokens of ``sql`` without white space and comments. https://sqlite.org/src/file/src/tokenize.c"""
    at = 0
    while at < len(sql):
        char, start = sql[at], at
        if char in " \t\n\f\r":
            at += 1
        elif sql.startswith("--", at):
            at = sql.find("\n", at) + 1 or len(sql)
        elif sql.startswith("/*", at):
            at = sql.find("*/", at + 2) + 2
            at = len(sql) if at == 1 else at
        elif char in _CLOSING or (char in "xX" and sql[at + 1 : at + 2] == "'"):
            opening = at if char in _CLOSING else at + 1
            close = _CLOSING[sql[opening]]
            at = opening + 1
            while at < len(sql) and (sql[at] != close or (close != "]" and sql[at + 1 : at + 2] == close)):
                at += 1 if sql[at] != close else 2
            at += 1
            inner = sql[opening + 1 : at - 1]
            if close == "'":
                yield Token("string", sql[start:at], start, at)
            else:
                yield Token("name", inner if close == "]" else inner.replace(close * 2, close), start, at)
        elif _of_word(char):
            while at < len(sql) and _of_word(sql[at]):
                at += 1
            text = sql[start:at]
            yield Token("number" if char.isdigit() and char.isascii() else "word", text, start, at)
        else:
            at += 1
            yield Token("sign", char, start, at)


def _of_word(char: str) -> bool:
    return not char.isascii() or char.isalnum() or char in "_$"


def _closing(found: list[Token], opening: int) -> int:
    """The place of the bracket that closes the one at ``opening``."""
    depth = 0
    for place in range(opening, len(found)):
        if found[place].kind == "sign":
            depth += {"(": 1, ")": -1}.get(found[place].text, 0)
            if depth == 0:
                return place
    return len(found) - 1


def _is(token: Token | None, *words: str) -> bool:
    return token is not None and token.kind in ("word", "sign") and token.text.upper() in words


@dataclass
class TableParts:
    """What the text of a CREATE TABLE tells beyond the PRAGMAs; names of columns are lower-case."""

    checks: list[tuple[str | None, str | None, str]] = field(default_factory=list)
    """(constraint's name, column it is declared with, text)."""
    generated: dict[str, str] = field(default_factory=dict)
    keys: dict[tuple[str, ...], str] = field(default_factory=dict)
    """Names of PRIMARY KEY and UNIQUE constraints by their columns."""
    references: list[tuple[str | None, bool]] = field(default_factory=list)
    """(constraint's name, deferred) of each foreign key in the order of declaration."""


_TABLE_CONSTRAINTS = ("CONSTRAINT", "PRIMARY", "UNIQUE", "CHECK", "FOREIGN")


def table_parts(sql: str) -> TableParts:
    """The clauses of a CREATE TABLE statement."""
    parts = TableParts()
    found = list(tokens(sql))
    opening = next((i for i, t in enumerate(found) if _is(t, "(")), len(found))
    end = _closing(found, opening) if opening < len(found) else 0
    column: str | None = None
    name: str | None = None
    place, first = opening + 1, True
    while place < end:
        token, after = found[place], found[place + 1]
        close = _closing(found, place + 1) if _is(after, "(") else place
        inside = sql[after.end : found[close].start] if close > place else ""
        if first and not _is(token, *_TABLE_CONSTRAINTS):
            column, name, first = token.text.lower(), None, False
            if token.kind == "string":  # 'name' in the place of an identifier
                column = token.text[1:-1].replace("''", "'").lower()
            place += 1
            continue
        if first:
            column, first = None, False
        if _is(token, ","):
            first = True
        elif _is(token, "CONSTRAINT"):
            name = after.text
            place += 1
        elif _is(token, "CHECK") and close > place:
            parts.checks.append((name, column, inside.strip()))
            name = None
        elif _is(token, "AS") and close > place and column is not None:
            parts.generated[column] = inside.strip()
        elif _is(token, "PRIMARY", "UNIQUE"):
            bracket = place + (2 if _is(token, "PRIMARY") else 1)
            if name and column is not None:
                parts.keys[(column,)] = name
            elif name and bracket < end:
                parts.keys[tuple(k.lower() for k in _key_names(found, bracket))] = name
            name, close = None, place if column is not None else _closing(found, bracket)
        elif _is(token, "REFERENCES"):
            tail = place + 2 if not _is(found[place + 2], "(") else _closing(found, place + 2)
            parts.references.append((name, _deferred(found[tail:end])))
            name = None
        elif _is(token, "NOT", "NULL", "DEFAULT", "COLLATE") and column is not None:
            name = None
        place = max(close, place) + 1
    return parts


def _deferred(clause: list[Token]) -> bool:
    """Whether a REFERENCES clause says DEFERRABLE INITIALLY DEFERRED; every other one is immediate."""
    for before, token, following in zip(clause, clause[1:], [*clause[2:], None], strict=False):
        if _is(token, ",", "REFERENCES", "CHECK", "UNIQUE", "PRIMARY", "CONSTRAINT") or _is(before, "NOT"):
            return False
        if _is(token, "INITIALLY"):
            return _is(following, "DEFERRED")
    return False


def _key_names(found: list[Token], opening: int) -> list[str]:
    inside = range(opening, _closing(found, opening))
    return [found[i + 1].text for i in inside if _is(found[i], "(", ",")]


def index_parts(sql: str) -> tuple[list[str], str | None]:
    """The text of each key of a CREATE INDEX, without COLLATE and direction, and the predicate of a partial one."""
    found = list(tokens(sql))
    opening = next((i for i, t in enumerate(found) if _is(t, "(")), len(found))
    if opening == len(found):
        return [], None
    end = _closing(found, opening)
    keys, start, place = [], opening + 1, opening + 1
    while place <= end:
        if _is(found[place], "("):
            place = _closing(found, place)
        elif place == end or _is(found[place], ","):
            last = place
            if _is(found[last - 1], "ASC", "DESC"):
                last -= 1
            if _is(found[last - 2], "COLLATE") and last - 2 > start:
                last -= 2
            keys.append(sql[found[start].start : found[last - 1].end])
            start = place + 1
        place += 1
    where = found[end + 2 :] if len(found) > end + 2 and _is(found[end + 1], "WHERE") else []
    return keys, sql[where[0].start : where[-1].end] if where else None


def view_select(sql: str) -> str:
    """The SELECT of a CREATE VIEW statement."""
    depth = 0
    for token in tokens(sql):
        depth += {"(": 1, ")": -1}.get(token.text, 0) if token.kind == "sign" else 0
        if depth == 0 and _is(token, "AS"):
            return sql[token.end :].strip().removesuffix(";")
    return ""


def virtual_module(sql: str) -> str:
    """The module's name in a CREATE VIRTUAL TABLE statement, in lower case."""
    found = list(tokens(sql))
    return next((found[i + 1].text.lower() for i, t in enumerate(found[:-1]) if _is(t, "USING")), "")
