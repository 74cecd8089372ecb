"""Which JSON text PostgreSQL's json takes, and which jsonb holds without losing any of what it says."""

from __future__ import annotations

import gc
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from typing import Any

import numpy as np
import orjson

DEPTH = 500
"""JSON nested deeper is refused: PostgreSQL's stack and the parser's own end somewhere above."""
_UNSTORABLE = re.compile("[\0\ud800-\udfff]")
UNUSUAL = r"[0-9][eE][+-]?[0-9]{4}|\\u00(00|22)"
"""A document with this is no matter for :func:`are_plain`: a number out of numeric's range, a NUL, an escaped quote."""
USUAL_BYTES = 16_000
"""Nor is a longer one: fewer bytes are no number that numeric has no room for, unless by an exponent."""


def fits_json(text: str) -> bool:
    """Whether ``text`` is strict JSON, which json keeps as it is: repeated keys and every escape included."""
    try:
        found = json.loads(text, object_pairs_hook=_members, parse_constant=_refuse, parse_float=str, parse_int=str)
    except (ValueError, RecursionError):
        return False
    return text.count("[") + text.count("{") <= DEPTH or not _deep(found)


def fits_jsonb(text: str) -> bool:
    """Whether ``text`` is strict JSON without repeated keys, all of which jsonb can keep."""
    try:
        found = json.loads(
            text,
            object_pairs_hook=_once_each,
            parse_constant=_refuse,
            parse_float=_number,
            parse_int=_number,
        )
        # Strict JSON comes to these only by an escape, and deep only by many brackets.
        if "\\u" in text or text.count("[") + text.count("{") > DEPTH:
            _check(found)
    except (ValueError, RecursionError, ArithmeticError):
        return False
    return True


def are_plain(texts: list[bytes]) -> bool:
    """Whether a parser in C already tells that all of them fit, which takes a fifth of the time; False tells nothing.

    They are neither UNUSUAL nor longer than USUAL_BYTES. The parser forgets all but one of repeated keys, and each
    takes its two quotes along: nothing but \\u0022 brings others. It writes nothing that is nested deeper than 254.
    """
    try:
        with _uncollected():
            written = orjson.dumps([orjson.loads(text) for text in texts])
    except (ValueError, TypeError):
        return False
    return _quotes(b"".join(texts)) == _quotes(written)


def _quotes(text: bytes) -> int:
    return int(np.count_nonzero(np.frombuffer(text, np.uint8) == ord('"')))  # many bytes at once


@contextmanager
def _uncollected() -> Iterator[None]:
    """Without the collector of cycles, which would go through all that is parsed, again and again; JSON has none."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _refuse(word: str) -> None:
    raise ValueError(word)


def _members(pairs: list[tuple[str, Any]]) -> list[Any]:
    return [value for _, value in pairs]


def _deep(found: Any) -> bool:
    """Whether there are lists more than DEPTH levels within each other."""
    level = [found]
    for _ in range(DEPTH):
        level = [item for value in level if isinstance(value, list) for item in value]
    return any(isinstance(value, list) for value in level)


def _once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("repeated key")
    return found


def _number(text: str) -> str:
    # jsonb keeps numbers as numeric: at most 131072 digits before and 16383 after the point.
    if len(text) > 100 or "e" in text or "E" in text:
        number = Decimal(text)
        if number.adjusted() >= 131_072 or int(number.as_tuple().exponent) < -16_383:
            raise ValueError("number out of range")
    return text


def _check(value: Any, depth: int = 0) -> None:
    """jsonb holds no NUL and no lone surrogate: https://www.postgresql.org/docs/16/datatype-json.html."""
    if isinstance(value, str):
        if _UNSTORABLE.search(value):
            raise ValueError("unstorable character")
    elif isinstance(value, (list, dict)):
        if depth == DEPTH:
            raise ValueError("too deep")
        for item in [*value, *value.values()] if isinstance(value, dict) else value:
            _check(item, depth + 1)
