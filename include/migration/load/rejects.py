"""Decides about rows that no block could carry: load, alter by declaration, quarantine, or refuse."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from migration.load.arrays import Inexact
from migration.load.casts import Cast
from migration.load.reading import Reading, SourceRow
from migration.plan import Invalid, TablePlan

Cell = tuple[str, Any]
"""Storage class and value."""


@dataclass(frozen=True)
class Problem:
    """Why one value cannot cross."""

    column: str
    storage: str
    value: bytes | None
    rule: str
    reason: str
    action: Invalid


@dataclass(frozen=True)
class Decision:
    """What becomes of a row: the values to load (None when it does not cross), and its problems."""

    key: str
    values: tuple[Any, ...] | None
    problems: tuple[Problem, ...]
    stored: tuple[tuple[str, Any], ...]
    """What the source has, for a row that does not cross; not kept of one that does."""

    def under(self, action: Invalid) -> list[Problem]:
        """The problems for which this is the action."""
        return [p for p in self.problems if p.action is action]


def row_key(key: tuple[tuple[str, Any], ...], encoding: str) -> str:
    """A row's key as JSON text, the form in which the state names rows."""

    def plain(storage: str, value: Any) -> Any:
        if storage == "real":
            return {"real": repr(value)}
        if storage == "text":
            try:
                return value.decode(encoding)
            except UnicodeDecodeError:
                return {"text": value.hex()}
        return {"blob": value.hex()} if storage == "blob" else value

    return _as_json([plain(s, v) for s, v in key])


_as_json = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode


def key_of(text: str, encoding: str) -> tuple[Any, ...]:
    """The key that :func:`row_key` wrote, for :attr:`migration.load.reading.Reading.by_key`; text as its bytes."""

    def value(part: Any) -> Any:
        match part:
            case {"real": written}:
                return float(written)
            case {"text": digits} | {"blob": digits}:
                return bytes.fromhex(digits)
        return part.encode(encoding) if isinstance(part, str) else part

    return tuple(map(value, json.loads(text)))


def raw_bytes(value: Any) -> bytes | None:
    """A stored value as bytes: text and blobs as they are, numbers as their shortest exact decimal text."""
    if value is None or isinstance(value, bytes):
        return value
    return repr(value).encode()


def shown(value: bytes | None, storage: str, encoding: str, most: int = 80) -> str:
    """A value for a message: printable, on one line, cut."""
    if value is None:
        return "NULL"
    cut = value[:most]
    match storage:
        case "blob":
            text = f"x'{cut.hex()}'"
        case "text":
            text = repr(cut.decode(encoding, "backslashreplace"))
        case _:
            text = cut.decode()
    return text + (f"… ({len(value)} bytes)" if len(value) > most else "")


def decide(reading: Reading, plan: TablePlan, run_policy: Invalid, rows: Sequence[SourceRow]) -> list[Decision]:
    """Look at some rows: each column's values at once, then row by row at what is wrong with them."""
    columns = [
        _crossing(cast, [row.values[i] for row in rows], reading.encoding) for i, cast in enumerate(reading.casts)
    ]
    return [
        _decided(reading, plan, run_policy, row, values)
        for row, values in zip(rows, zip(*columns, strict=True), strict=True)
    ]


def _crossing(cast: Cast, cells: Sequence[Cell], encoding: str) -> list[Any]:
    """What crosses of each value: None for NULL, Inexact in place of one that cannot."""

    def known(storage: str, value: Any) -> Cell:
        if storage != "text":
            return storage, value
        try:
            text = value.decode(encoding)
        except UnicodeDecodeError:
            return "broken", value
        return "broken" if "\0" in text else storage, text  # no type takes a NUL: said here, it costs no block's try

    stored = iter(cast.convert_each([known(*cell) for cell in cells if cell[0] != "null"]))
    return [None if storage == "null" else next(stored) for storage, _ in cells]


def _decided(
    reading: Reading, plan: TablePlan, run_policy: Invalid, row: SourceRow, crossing: tuple[Any, ...]
) -> Decision:
    values = list(crossing)
    problems: list[Problem] = []
    orphaned = {
        column: fk
        for fk, orphan in zip(reading.map.foreign_keys, row.orphan, strict=False)
        if orphan
        for column in fk.columns
    }
    columns = zip(reading.map.columns, reading.casts, row.values, strict=True)
    for place, ((name, target), cast, (storage, raw)) in enumerate(columns):
        if storage == "null":
            if target.nullable:
                continue
            rule, reason = "not-null", "the target's column is NOT NULL"
        elif name in orphaned:
            fk = orphaned[name]
            parents = ", ".join(fk.parent_columns)
            rule = "orphan"
            reason = f"foreign key {fk.name}: no row of {fk.parent} has {parents} of this value, or it is quarantined"
        elif values[place] is Inexact:
            rule, reason = "inexact", f"{cast.target} takes {cast.rule}; this is {storage}"
        else:
            continue
        policy = plan.policy(name, run_policy)
        nullable = bool(target.nullable)
        action, values[place] = _settle(policy, rule, cast, storage, raw, reading.encoding, nullable=nullable)
        if action is not policy:
            reason += f" (policy {policy} does not apply)"
        problems.append(Problem(name, storage, raw_bytes(raw), rule, reason, action))
    crosses = all(p.action not in (Invalid.STOP, Invalid.QUARANTINE) for p in problems)
    key = row_key(row.key, reading.encoding) if problems else ""
    return Decision(key, tuple(values) if crosses else None, tuple(problems), () if crosses else row.values)


def _settle(
    policy: Invalid, rule: str, cast: Cast, storage: str, raw: Any, encoding: str, *, nullable: bool
) -> tuple[Invalid, Any]:
    """The action for a value that cannot cross, and what crosses instead; stop where the policy cannot help."""
    if policy is Invalid.QUARANTINE or (policy is Invalid.NULL and nullable):
        return policy, None
    if rule == "inexact":
        try:
            return policy, _declared(policy, cast, storage, raw, encoding)
        except (Inexact, UnicodeDecodeError):
            pass
    return Invalid.STOP, None


def _declared(form: Invalid, cast: Cast, storage: str, raw: Any, encoding: str) -> Any:
    """The value in the form that the plan declares; Inexact where that is not for it, or does not help."""
    match form:
        case Invalid.ROUND:
            return cast.rounded(raw)
        case Invalid.STRIP if storage == "text":
            return cast.convert_one(raw.decode(encoding).replace("\0", ""), storage)
        case Invalid.TEXT if storage in ("integer", "real") and cast.is_text:
            return cast.convert_one(repr(raw), "text")
        case Invalid.BYTES if cast.target == "bytea":
            return _utf8(raw, encoding) if storage == "text" else raw_bytes(raw)
    raise Inexact


def _utf8(raw: bytes, encoding: str) -> bytes:
    """A text's bytes in UTF-8; the bytes of one that is not valid in the database's encoding as they are."""
    try:
        return raw.decode(encoding).encode()
    except UnicodeDecodeError:
        return raw
