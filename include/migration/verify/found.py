"""Collects differences: all are counted, the first thousand are kept with what either side holds."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from migration.verify.codecs import Column
from migration.verify.source import SourceRow
from migration.verify.values import IMPOSSIBLE, Canonical

KEPT = 1000
SHOWN = 300
"""Characters of a long value that are shown, around the first difference."""


@dataclass(frozen=True)
class Difference:
    """One value, or one whole row (``column`` is empty), in which the sides differ; None stands for NULL."""

    row_key: str
    column: str
    kind: str
    source: str | None
    target: str | None

    def __str__(self) -> str:
        source, target = ("NULL" if v is None else v for v in (self.source, self.target))
        match self.kind:
            case "missing":
                return f"key {self.row_key}: the target lacks the row ({source}){f': {target}' if self.target else ''}"
            case "extra":
                return f"key {self.row_key}: {target}, which the snapshot does not have"
        return f"column {self.column}, key {self.row_key}: the snapshot holds {source}, the target {target}"


@dataclass
class Found:
    """What the verification of one table found so far; ``encoding`` is that of the source's text."""

    encoding: str = "utf-8"
    total: int = 0
    kept: list[Difference] = field(default_factory=list)

    def add(self, key: str, column: str, kind: str, source: str | None, target: str | None) -> None:
        """One more difference."""
        self.total += 1
        if len(self.kept) < KEPT:
            self.kept.append(Difference(_storable(key), column, kind, source, target))

    def changed(
        self, key: str, column: Column, stored: tuple[str, Any], expected: Canonical, actual: Canonical
    ) -> None:
        """A value that the target holds otherwise."""
        start = _first_difference(expected, actual)
        shown = self.shown(*stored)
        if start > SHOWN // 2 and isinstance(expected, (str, bytes)):
            shown = _shown(column, expected, start)
        if expected is IMPOSSIBLE:
            shown = f"{shown} (no exact form in {column.codec.type})"
        self.add(key, column.source, "changed", shown, _shown(column, actual, start))

    def missing(self, key: str, columns: Sequence[Column], row: SourceRow, remark: str | None = None) -> None:
        """A row that the target should hold and does not."""
        values = {c.source: self.shown(*stored) for c, stored in zip(columns, row.stored, strict=True)}
        self.add(key, "", "missing", _summary(values), remark)

    def extra(self, key: str, columns: Sequence[Column], forms: Sequence[Canonical]) -> None:
        """A row of the target that the source does not have."""
        values = {c.target: _shown(c, form) for c, form in zip(columns, forms, strict=True)}
        self.add(key, "", "extra", None, f"the target holds a row ({_summary(values)})")

    def shown(self, storage: str, value: Any) -> str | None:
        """A stored value for people: text in quotes, blobs in hexadecimal, numbers as they are; None for NULL."""
        if isinstance(value, bytes):
            return _cut(value.decode(self.encoding, "backslashreplace") if storage == "text" else value, 0)
        return None if value is None else repr(value)


def _storable(text: str) -> str:
    """``text`` as PostgreSQL can keep it: without NUL and halves of surrogate pairs."""
    return text.replace("\0", "\\x00").encode("utf-8", "backslashreplace").decode()


def _summary(values: dict[str, str | None]) -> str:
    shown = {name: "NULL" if value is None else value for name, value in values.items()}
    parts = [f"{name}={value if len(value) <= 60 else value[:60] + '…'}" for name, value in shown.items()]
    written = ", ".join(parts)
    return written if len(written) <= SHOWN else written[:SHOWN] + "…"


def _shown(column: Column, form: Canonical, start: int = 0) -> str | None:
    """A canonical form for people, long ones from a little before ``start`` on."""
    if form is None or form is IMPOSSIBLE:
        return None
    codec = column.codec
    if isinstance(form, bytes) and codec.type == "double precision":
        return repr(struct.unpack(">d", form)[0])
    if isinstance(form, bytes) or codec.sized:
        return _cut(form, start)
    return form


def _cut(value: str | bytes, start: int) -> str:
    begin = max(start - SHOWN // 3, 0) if len(value) > SHOWN else 0
    part = value[begin : begin + SHOWN]
    text = f"x'{part.hex()}'" if isinstance(part, bytes) else _storable(repr(part))
    if len(part) == len(value):
        return text
    unit = "bytes" if isinstance(value, bytes) else "characters"
    return f"{'…' if begin else ''}{text}… ({len(value)} {unit}, here from {begin})"


def _first_difference(one: Canonical, other: Canonical) -> int:
    """Where two texts, or two strings of bytes, begin to differ."""
    if not isinstance(one, (str, bytes)) or not isinstance(other, (str, bytes)) or type(one) is not type(other):
        return 0
    low, high = 0, min(len(one), len(other))
    while low < high:  # halving, so that the comparing is done by slices
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low
