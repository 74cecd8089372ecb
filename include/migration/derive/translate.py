"""Translates what a SQLite schema says in SQL: defaults, checks, generated columns and indexes, each or its refusal.

Every result means in PostgreSQL what the source meant in SQLite for every value that the columns can hold, the types
having changed in between. What cannot be shown to do so is refused by name, and nothing else fails with it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import apsw
from sqlglot import exp

from migration.catalog import Index, IndexKey
from migration.derive import operators, parse, times
from migration.derive.expressions import Expressions
from migration.derive.functions import VOLATILE
from migration.derive.parse import Refusal, Refused, refusable
from migration.derive.values import (
    MIXED,
    TIMES,
    Carried,
    Value,
    as_text,
    base_type,
    column,
    ident,
    integer,
    literal,
    moment,
    quote,
    refused,
    utc,
)
from migration.sqlite.catalog import quoted
from migration.sqlite.ddl import tokens


@dataclass(frozen=True)
class Translated:
    """A PostgreSQL expression, and what a person should know of it."""

    sql: str
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class IndexSql:
    """An index for PostgreSQL: its keys as they stand in the brackets of CREATE INDEX, quoted and with direction."""

    unique: bool
    keys: tuple[str, ...]
    where: str | None = None
    plain: tuple[str, ...] | None = None
    """The target's columns when the keys are columns and nothing else: only such can be a UNIQUE constraint."""
    notes: tuple[str, ...] = ()


Columns = Mapping[str, Carried | tuple[str, str]]
"""The columns of a table by their source names: a Carried, or only (target name, PostgreSQL type)."""

NO_CASE = "comparisons in the application's own queries tell upper from lower case in PostgreSQL, unlike COLLATE NOCASE"


def carried(columns: Columns) -> dict[str, Carried]:
    """The columns with everything that was left to be implied."""
    return {name: c if isinstance(c, Carried) else Carried(*c) for name, c in columns.items()}


def shape(columns: Mapping[str, Carried]) -> list[tuple[str, str, str]]:
    """The columns as the parser wants to know them."""
    return [(name, column(c).affinity, c.collation) for name, c in columns.items()]


def _compiled(
    text: str, columns: Columns, table: str, use: Callable[[Expressions, exp.Expr], str], *, stable: bool
) -> Translated | Refused:
    known = carried(columns)
    compiler = Expressions(known)

    def work() -> Translated:
        sql = use(compiler, parse.expression(text, shape(known), table))
        _check_stability(sql, stable=stable)
        return Translated(sql, tuple(compiler.notes))

    return refusable(work)


def _check_stability(sql: str, *, stable: bool) -> None:
    if "gen_random_uuid(" in sql:
        raise Refusal("its value is random")
    if not stable and ("to_char(" in sql or "statement_timestamp(" in sql):
        raise Refusal("PostgreSQL allows no function of times here that depends on settings or on the clock")


def translate_expression(
    text: str, *, columns: Columns, table: str = "t", immutable: bool = False
) -> Translated | Refused:
    """Any expression over the columns of ``table``: its value in the PostgreSQL type of its storage class."""

    def use(compiler: Expressions, tree: exp.Expr) -> str:
        value = compiler.value(tree)
        if not value.sql or value.kind == "json":
            raise refused(value, "has no form of its own")
        return value.sql

    return _compiled(text, columns, table, use, stable=not immutable)


def translate_check(text: str, *, columns: Columns, table: str = "t") -> Translated | Refused:
    """The condition of a CHECK constraint; as in SQLite it holds for NULL."""
    return _compiled(text, columns, table, lambda compiler, tree: compiler.condition(tree), stable=True)


def translate_generated(
    text: str, *, columns: Columns, target: Carried, generated: Collection[str] = (), table: str = "t"
) -> Translated | Refused:
    """The expression of a generated column of type ``target``; ``generated`` names the columns that are such."""

    def use(compiler: Expressions, tree: exp.Expr) -> str:
        others = {c.name.lower() for c in tree.find_all(exp.Column)} & {g.lower() for g in generated}
        if others:
            raise Refusal(f"PostgreSQL lets no generated column refer to another ({', '.join(sorted(others))})")
        return _assigned(compiler.value(tree), target, compiler.notes)

    return _compiled(text, columns, table, use, stable=False)


def translate_index(index: Index, *, columns: Columns, table: str = "t") -> IndexSql | Refused:
    """An index, or the uniqueness of a PRIMARY KEY or UNIQUE constraint."""
    return refusable(lambda: _index(index, carried(columns), table))


def _index(index: Index, columns: dict[str, Carried], table: str) -> IndexSql:
    compiler, keys, plain = Expressions(columns), list[str](), list[str]()
    folded = {n.lower(): c.name for n, c in columns.items()}
    if len(index.keys) > 32:
        raise Refusal(f"PostgreSQL's indexes have at most 32 keys; this has {len(index.keys)}")
    for key in index.keys:
        text = quoted(key.column) if key.column else key.expression
        if text is None:
            raise Refusal("the text of its expression was not found")
        sql = _key(compiler, compiler.value(parse.expression(text, shape(columns), table)), key, index.unique)
        name = folded.get((key.column or "").lower())
        bare = name is not None and sql == ident(name)
        plain += [name] if name is not None and bare else []
        keys.append((sql if bare else f"({sql})") + (" DESC" if key.descending else ""))
    where = compiler.condition(parse.expression(index.where, shape(columns), table)) if index.where else None
    _check_stability(" ".join((*keys, where or "")), stable=False)
    only = tuple(plain) if len(plain) == len(keys) and where is None else None
    return IndexSql(index.unique, tuple(keys), where, only, tuple(compiler.notes))


def _key(compiler: Expressions, value: Value, key: IndexKey, unique: bool) -> str:
    """The expression of one key."""
    name, kind = key.column or key.expression, value.stored.type
    if kind in ("json", "xml", "point"):
        raise Refusal(f"PostgreSQL has no order for the type {kind} of its key {name}")
    if unique and value.kind == "json":
        raise Refusal(f"it is unique over JSON values, of which 1 and '1' would be the same: {name}")
    if key.collation == "BINARY" or value.kind in ("int", "real", "num", "bool", "blob") or kind in TIMES:
        return value.stored.sql
    note = NO_CASE if key.collation == "NOCASE" else f"its key {name} compares as COLLATE {key.collation} does"
    compiler.notes[note] = None
    return operators.collated(as_text(value), key.collation)


_MOVING = {*times.NAMES, *VOLATILE, "current_timestamp", "current_date", "current_time", "timediff", "changes",
           "total_changes", "last_insert_rowid"}  # fmt: skip


def translate_default(text: str, affinity: str, target: str, form: str = "") -> Translated | Refused:
    """A column's default: what an insert without the column gives it in SQLite, as a value of the type ``target``.

    ``affinity`` is the source column's, ``form`` the target's as in Carried.
    """
    notes: dict[str, None] = {}

    def work() -> Translated:
        if any(t.kind == "word" and t.text.lower() in _MOVING for t in tokens(text)):
            value = Expressions({}).value(parse.expression(text, []))
        else:
            value = literal(_constant(text, affinity))
        return Translated(_assigned(value, Carried("", target, affinity, form), notes), tuple(notes))

    return refusable(work)


def _constant(text: str, affinity: str) -> int | float | str | bytes | None:
    """What SQLite stores for a default that is the same at all times."""
    depth, lowest = 0, 0
    for token in tokens(text):
        depth += {"(": 1, ")": -1}.get(token.text, 0) if token.kind == "sign" else 0
        lowest = min(lowest, depth)
    if depth or lowest:
        raise Refusal("its brackets do not match")
    for form in (f"({text}\n)", text):  # a bare word is a string, but only without the brackets
        database = parse.shell()
        try:
            database.execute(f"CREATE TABLE t (x {affinity} DEFAULT {form}\n); INSERT INTO t DEFAULT VALUES")
            return database.execute("SELECT x FROM t").get  # type: ignore[no-any-return]
        except (apsw.Error, UnicodeDecodeError) as error:
            reason = str(error)
    raise Refusal(f"SQLite does not take it by itself: {reason}")


_ISO = [
    f"YYYY-MM-DD{time}"
    for time in (
        "",
        *(f"{t}HH24:MI{s}{z}" for t in (" ", '"T"') for s in ("", ":SS", ":SS.MS", ":SS.US") for z in ("", '"Z"')),
    )
]
_WORDS = {
    **dict.fromkeys(("true", "t", "yes", "y", "on", "1"), "true"),
    **dict.fromkeys(("false", "f", "no", "n", "off", "0"), "false"),
}


def _assigned(value: Value, target: Carried, notes: dict[str, None]) -> str:
    """``value`` as a column of the type of ``target`` stores it, after SQLite's affinity of the column."""
    kind, numbers = base_type(target.type)
    constant = value.literal
    if value.kind == "null":
        return "NULL"
    if target.affinity == "TEXT" and value.kind in ("int", "bool", "real"):
        value = as_text(value)
    digits = value.native.sql if value.native and value.native.form == "digits" and target.affinity != "TEXT" else None
    match kind:
        case "smallint" | "integer" | "bigint" if digits:
            return digits
        case "smallint" | "integer" | "bigint" if value.kind in ("int", "bool"):
            bits = {"smallint": 15, "integer": 31, "bigint": 63}[kind]
            if isinstance(constant, int) and not -(1 << bits) <= constant < 1 << bits:
                raise Refusal(f"{constant} does not fit into {kind}")
            return integer(value).sql
        case "boolean" if value.kind == "bool":
            return value.sql
        case "boolean" if str(constant).lower() in _WORDS:
            return _WORDS[str(constant).lower()]
        case "double precision" if value.kind in ("int", "bool", "real", "num"):
            return operators.double(integer(value)).sql
        case "numeric" if isinstance(constant, int | float):
            exact = Decimal(repr(constant))
            if not exact.is_finite() or (
                numbers
                and (
                    exact.quantize(Decimal(1).scaleb(-(*numbers, 0)[1])) != exact
                    or exact.adjusted() >= numbers[0] - (*numbers, 0)[1]
                )
            ):
                raise Refusal(f"{constant} does not fit into {target.type}")
            return f"{exact:f}"
        case "numeric" if value.kind in ("int", "bool") or value.type == "numeric":
            return integer(value).sql
        case "text" if (value.kind == "text" and not digits) or (
            target.form == MIXED and value.kind in ("int", "bool")
        ):
            if numbers and isinstance(constant, str) and len(constant) > numbers[0]:
                raise Refusal(f"{constant!r} does not fit into {target.type}")
            return as_text(value).sql
        case "bytea" if value.kind == "blob":
            return value.sql
        case "bytea" if isinstance(constant, str):
            notes["the value is text in SQLite; its bytes are what PostgreSQL has"] = None
            return literal(constant.encode()).sql
        case "jsonb" | "json" if isinstance(constant, str):
            return f"{quote(_json(constant))}::{kind}"
        case _ if kind in TIMES:
            return _time(value, kind, target.form)
    shown = repr(constant) if constant is not None else value.sql or value.stored.sql
    raise Refusal(value.why or f"{value.kind} {shown} has no form in {target.type}")


def _json(text: str) -> str:
    def once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(dict(pairs)) != len(pairs):
            raise ValueError(text)
        return dict(pairs)

    def strict(word: str) -> None:
        raise ValueError(word)

    try:
        json.loads(text, object_pairs_hook=once_each, parse_constant=strict)
    except ValueError as error:
        raise Refusal(f"{text!r} is no JSON, or has NaN or a key twice") from error
    return text


def _time(value: Value, kind: str, form: str) -> str:
    constant, native = value.literal, value.native
    if form.startswith("epoch_"):
        per_second = {"epoch_s": 1, "epoch_ms": 1_000, "epoch_us": 1_000_000}[form]
        if isinstance(constant, int) and kind == TIMES[0]:
            return f"'{datetime.fromtimestamp(constant / per_second, UTC).isoformat()}'::{kind}"
        seconds = native.sql if native and native.form == "digits" else value.sql if value.kind == "int" else ""
        if kind == TIMES[0] and seconds:
            return f"to_timestamp({seconds}{f' / {per_second}.0' if per_second > 1 else ''})"
    if isinstance(constant, str):
        offset = constant[-6:] if constant[-6:-5] in ("+", "-") and constant[-3:-2] == ":" and kind == TIMES[0] else ""
        constant = constant.removesuffix(offset)
        found = next((m for f in (_ISO if kind != "date" else _ISO[:1]) if (m := moment(constant, f))), None)
        if found:
            zone = (offset or "+00") if kind == TIMES[0] else ""
            return f"'{found.date() if kind == 'date' else found}{zone}'::{kind}"
    elif native and native.type in TIMES and native.form != "digits":
        bare = utc(native)
        if kind == native.type:
            return native.sql
        if kind != "date":
            return bare if kind == TIMES[1] else f"({bare} AT TIME ZONE 'UTC')"
    raise Refusal(
        value.why or f"{value.kind} {constant if constant is not None else value.sql!r} is no time for {kind}"
    )
