"""Names rows of the source: their keys as SQLite takes them, and as the state writes them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class TextKey:
    """A key's text as its bytes in the database's encoding: SQLite may hold keys that are no valid text."""

    raw: bytes


Key = tuple[int | float | bytes | TextKey, ...]


def row_key(key: Iterable[Any], encoding: str = "utf-8") -> str:
    """A key as JSON text, the form in which the state names rows."""

    def plain(value: Any) -> Any:
        if isinstance(value, TextKey):
            try:
                return value.raw.decode(encoding)
            except UnicodeDecodeError:
                return {"text": value.raw.hex()}
        if isinstance(value, bytes):
            return {"blob": value.hex()}
        return {"real": repr(value)} if isinstance(value, float) else value

    return _as_json([plain(v) for v in key])


_as_json = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode


def key_values(text: str, encoding: str) -> Key:
    """The key that :func:`row_key` wrote; ValueError when it wrote no such text."""

    def value(part: Any) -> int | float | bytes | TextKey:
        match part:
            case bool() | None:
                raise ValueError(text)
            case int():
                return part
            case str():
                return TextKey(part.encode(encoding))
            case {"blob": str(digits)}:
                return bytes.fromhex(digits)
            case {"text": str(digits)}:
                return TextKey(bytes.fromhex(digits))
            case {"real": str(written)}:
                return float(written)
        raise ValueError(text)

    parts = json.loads(text)
    if not isinstance(parts, list):
        raise ValueError(text)
    return tuple(map(value, parts))


def stored_key(stored: Sequence[Any]) -> Key:
    """The key from storage classes and values, alternating, text as its bytes."""
    return tuple(TextKey(v) if kind == "text" else v for kind, v in zip(stored[::2], stored[1::2], strict=True))


def bound(key: Key) -> tuple[list[str], list[Any]]:
    """The marks and bindings by which SQLite takes exactly this key."""
    marks = ["CAST(? AS TEXT)" if isinstance(v, TextKey) else "?" for v in key]
    return marks, [v.raw if isinstance(v, TextKey) else v for v in key]
