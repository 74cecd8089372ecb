"""Decides about rows that no block could carry: load, alter by declaration, quarantine, or refuse."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from migration.load.blocks import Reading, SourceRow
from migration.load.casts import Cast, Inexact
from migration.plan import Invalid, TablePlan


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

    return json.dumps([plain(s, v) for s, v in key], separators=(",", ":"), ensure_ascii=False)


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


def decide(reading: Reading, plan: TablePlan, run_policy: Invalid, row: SourceRow) -> Decision:
    """Look at one row, value by value."""
    values: list[Any] = []
    problems: list[Problem] = []
    orphaned = {
        column: fk
        for fk, orphan in zip(reading.map.foreign_keys, row.orphan, strict=False)
        if orphan
        for column in fk.columns
    }
    columns = zip(reading.map.columns, reading.casts, row.values, strict=True)
    for (name, target), cast, (storage, raw) in columns:
        rule = reason = None
        value: Any = None
        if storage == "null":
            if not target.nullable:
                rule, reason = "not-null", "the target's column is NOT NULL"
        elif name in orphaned:
            fk = orphaned[name]
            parents = ", ".join(fk.parent_columns)
            rule = "orphan"
            reason = f"foreign key {fk.name}: no row of {fk.parent} has {parents} of this value, or it is quarantined"
        else:
            try:
                known = raw.decode(reading.encoding) if storage == "text" else raw
                value = cast.convert_one(known, storage)
            except (Inexact, UnicodeDecodeError):
                rule, reason = "inexact", f"{cast.target} takes {cast.rule}; this is {storage}"
        if rule and reason:
            policy = plan.policy(name, run_policy)
            action, value = _settle(policy, cast, raw, nullable=bool(target.nullable), rule=rule)
            if action is not policy:
                reason += f" (policy {policy} does not apply)"
            problems.append(Problem(name, storage, raw_bytes(raw), rule, reason, action))
        values.append(value)
    crosses = all(p.action in (Invalid.NULL, Invalid.ROUND) for p in problems)
    key = row_key(row.key, reading.encoding)
    return Decision(key, tuple(values) if crosses else None, tuple(problems), () if crosses else row.values)


def _settle(policy: Invalid, cast: Cast, raw: Any, *, nullable: bool, rule: str) -> tuple[Invalid, Any]:
    """The action for a value that cannot cross, and what crosses instead; stop where policy cannot help."""
    if policy is Invalid.QUARANTINE or (policy is Invalid.NULL and nullable):
        return policy, None
    if policy is Invalid.ROUND and rule == "inexact":
        try:
            return policy, cast.rounded(raw)
        except Inexact:
            return Invalid.STOP, None
    return Invalid.STOP, None
