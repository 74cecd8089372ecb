"""The words of SQLite's statements, for the judge: enough of a tokenizer to find CHECKs and index keys."""

from __future__ import annotations

import re
from collections.abc import Iterator

_TOKEN = re.compile(
    r"--[^\n]*|/\*.*?(?:\*/|\Z)|'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|`(?:[^`]|``)*`|\[[^\]]*\]|[\w$]+|\s+|.", re.DOTALL
)


def tokens(statement: str) -> list[str]:
    """The tokens of a statement, comments and white space left out."""
    found = (match[0] for match in _TOKEN.finditer(statement))
    return [t for t in found if not t.isspace() and not t.startswith(("--", "/*"))]


def checks(statement: str) -> list[str]:
    """The condition of each CHECK of a CREATE TABLE, its tokens joined by spaces."""
    words = tokens(statement)
    return [" ".join(words[at + 2 : _closing(words, at + 1)]) for at in _places(words, "CHECK")]


def joined(text: str) -> str:
    """Any text in the form of :func:`checks`, for comparing two."""
    return " ".join(tokens(text))


def _places(words: list[str], word: str) -> Iterator[int]:
    for at, token in enumerate(words[:-1]):
        if token.upper() == word and words[at + 1] == "(":
            yield at


def _closing(words: list[str], opening: int) -> int:
    depth = 0
    for at in range(opening, len(words)):
        depth += {"(": 1, ")": -1}.get(words[at], 0)
        if depth == 0:
            return at
    return len(words)
