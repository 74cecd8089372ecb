"""Comparisons, arithmetic and mixtures of SQLite values, written so that PostgreSQL comes to the same result."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal

from migration.derive.parse import Refusal, shell
from migration.derive.values import (
    EXACT,
    MIXED,
    NULL,
    TIMES,
    Native,
    Value,
    as_text,
    boolean,
    integer,
    literal,
    moment,
    number,
    quote,
    refused,
)


def _affine(text: str) -> int | float | str:
    """``text`` after NUMERIC affinity: a number when it is written as one. https://sqlite.org/datatype3.html"""
    database = shell()
    database.execute("CREATE TABLE t (x NUMERIC)")
    return database.execute("INSERT INTO t VALUES (?) RETURNING x", (text,)).get  # type: ignore[no-any-return]


_NUMERIC = ("INTEGER", "REAL", "NUMERIC")


def _with_affinity(value: Value, other: Value) -> Value:
    """``value`` after what the affinity of its partner does to it in a comparison (section 4.2 of the same page)."""
    if other.affinity in _NUMERIC and value.affinity not in _NUMERIC:
        if isinstance(value.literal, str):
            changed = _affine(value.literal)
            return value if isinstance(changed, str) else literal(changed)
        written = value.native and value.native.type in TIMES  # a date's text is no number
        if value.kind == "text" and not written:
            raise refused(value, "is compared with a number")
    if other.affinity == "TEXT" and value.affinity == "":
        return as_text(value) if value.kind in ("int", "real", "num", "bool") else value
    return value


def compare(op: str, left: Value, right: Value) -> Value:
    """A comparison; ``op`` is PostgreSQL's operator, IS [NOT] DISTINCT FROM included."""
    if "null" in (left.kind, right.kind):
        if not op.startswith("IS"):
            return boolean("NULL::boolean")
        other = left if right.kind == "null" else right
        return boolean(f"({other.stored.sql} IS {'NOT NULL' if op == 'IS DISTINCT FROM' else 'NULL'})")
    a, b = _with_affinity(left, right), _with_affinity(right, left)
    for bool_, constant in ((a, b), (b, a)):
        if bool_.kind == "bool" and constant.literal in (0, 1) and op in _TRUTHS:
            return boolean(_TRUTHS[op][constant.literal == 1].replace("{}", bool_.sql))
    if a.kind == "bool" == b.kind:
        return boolean(f"({a.sql} {op} {b.sql})")
    one, two = sides(op, left, right)
    return boolean(f"({one} {op} {two})")


def sides(op: str, left: Value, right: Value) -> tuple[str, str]:
    """Both sides of a comparison."""
    if right.kind == "null":
        return left.stored.sql, right.sql
    return _operands(op, _with_affinity(left, right), _with_affinity(right, left), _collation(left, right))


# What a condition equal to 0 and to 1 is.
_TRUTHS = {
    "=": ("(NOT {})", "{}"),
    "<>": ("{}", "(NOT {})"),
    "IS NOT DISTINCT FROM": ("({} IS FALSE)", "({} IS TRUE)"),
    "IS DISTINCT FROM": ("({} IS NOT FALSE)", "({} IS NOT TRUE)"),
}


def _collation(left: Value, right: Value) -> str:
    for value in (left, right):
        if value.explicit:
            return value.collation
    return left.collation or right.collation or "BINARY"


def _operands(op: str, a: Value, b: Value, collation: str) -> tuple[str, str]:
    a, b = integer(a), integer(b)
    if "json" in (a.kind, b.kind):
        return _json(op, a), _json(op, b)
    if MIXED in (a.stored.form, b.stored.form) and op not in ("<", "<=", ">", ">=") and collation == "BINARY":
        return _mixed(a), _mixed(b)
    for value, partner in ((a, b), (b, a)):
        if value.kind == "other" or (value.kind == "blob") != (partner.kind == "blob"):
            raise refused(value, "is compared")
    if a.kind == "blob":
        return a.sql, b.sql
    if a.kind == "text" == b.kind:
        if native := _native_operands(a, b):
            return native
        if collation == "BINARY" and op not in ("<", "<=", ">", ">="):
            return a.sql, b.sql  # equality is that of the bytes under every deterministic collation
        return collated(a, collation), collated(b, collation)
    if "text" in (a.kind, b.kind):
        raise refused(a if a.kind == "text" else b, "is compared with a number")
    return _numbers(a, b), _numbers(b, a)


def _mixed(value: Value) -> str:
    """One side of an equality of integers and texts, where the column's affinity has made integers of all digits."""
    if isinstance(value.literal, int | str) and value.affinity == "":
        return quote(str(value.literal))
    if value.stored.form == MIXED and value.affinity in _NUMERIC:
        return value.stored.sql
    raise refused(value, "is compared with integers and texts")


def _json(op: str, value: Value) -> str:
    """A JSON value beside a text that no JSON value but a string is written as."""
    if value.kind == "json" and value.native and op not in ("<", "<=", ">", ">="):
        return value.native.sql
    if isinstance(value.literal, str) and value.literal.isidentifier() and value.literal not in ("true", "false"):
        return value.sql
    raise refused(value, "is compared with a JSON value, whose kind is not known")


def collated(value: Value, collation: str) -> str:
    """A text so that PostgreSQL orders and equates it as SQLite does under ``collation``.

    "C" compares bytes, as BINARY does, and lower() under it folds A to Z alone, as NOCASE does.
    """
    match collation:
        case "BINARY":
            return f'{value.sql} COLLATE "C"'
        case "NOCASE" if isinstance(value.literal, str):
            return quote("".join(c.lower() if c.isascii() else c for c in value.literal))
        case "NOCASE":
            return f'lower({value.sql} COLLATE "C")'
        case "RTRIM":
            return f'rtrim({value.sql}) COLLATE "C"'
    raise Refusal(f"the collation {collation} is the application's own")


def _native_operands(a: Value, b: Value) -> tuple[str, str] | None:
    """Two times of one form, whose texts sort as the times do: every form is of fixed width, the year first."""
    for value, partner in ((a, b), (b, a)):
        if value.native is None or value.native.type not in TIMES:
            continue
        if partner.native and partner.native[1:] == value.native[1:]:
            return a.stored.sql, b.stored.sql
        if isinstance(partner.literal, str) and moment(partner.literal, value.native.form):
            zone = "+00" if value.native.type == TIMES[0] else ""
            bare = partner.literal.replace("T", " ").removesuffix("Z")
            typed = f"{quote(bare + zone)}::{value.native.type}"
            return (value.native.sql, typed) if value is a else (typed, value.native.sql)
    return None


def _numbers(value: Value, partner: Value) -> str:
    """``value`` beside ``partner`` so that PostgreSQL compares what SQLite compares, to the last bit."""
    doubles = [v for v in (value, partner) if v.type == "double precision"]
    if doubles and not all(isinstance(v.literal, float) for v in doubles):
        if value.type != "double precision" and max(-value.low, value.high) > EXACT:
            raise Refusal(f"a 64-bit integer is compared with a real, which is inexact beyond 2**53: {value.sql}")
        return f"{value.sql}::double precision" if value.type == "numeric" else value.sql
    if isinstance(value.literal, float):  # beside integers and numerics, its exact decimal
        if not math.isfinite(value.literal):
            return f"'{value.literal}'::numeric"
        exact = Decimal(value.literal) if abs(value.literal) >= EXACT else Decimal(repr(value.literal))
        return f"({exact:f})"
    return value.sql


def arithmetic(op: str, a: Value, b: Value) -> Value:
    """``a op b`` for + - * / %; bounds beyond 64 bits mean that it can overflow."""
    a, b = number(a), number(b)
    if "null" in (a.kind, b.kind):
        return NULL
    divisor = f"NULLIF({b.sql}, 0)" if b.literal in (None, 0) else b.sql  # SQLite divides by zero to NULL
    if a.kind == "int" == b.kind:
        low, high = _bounds(op, a, b)
        wide = "bigint" in (a.type, b.type) or low < -(2**31) or high >= 2**31
        kind = "bigint" if wide else "integer"
        first = a.sql if a.type == kind else f"{a.sql}::{kind}"
        second = divisor if op in "/%" else b.sql
        return Value("int", f"({first} {op} {second})", kind, low=low, high=high)
    if op == "%" or (op == "/" and "num" in (a.kind, b.kind)):
        raise refused(a if a.kind == "num" or b.kind == "int" else b, f"is an operand of {op}")
    kind, (low, high) = "real" if "real" in (a.kind, b.kind) else "num", _bounds(op, a, b)
    if kind == "num" and max(-low, high) > EXACT:
        raise refused(a if a.kind == "num" else b, f"is an operand of {op} and may exceed 2**53")
    x, y = (v.sql if v.type == "double precision" else f"{v.sql}::double precision" for v in (a, b))
    if op == "/" and b.literal in (None, 0):
        y = f"NULLIF({y}, 0)"
    sql = f"({x} {op} {y})"
    if not (_finite(a) or _finite(b)) or (op == "*" and 0 in (a.literal, b.literal)):
        sql = f"NULLIF({sql}, 'NaN'::double precision)"  # Infinity - Infinity is NULL in SQLite, which has no NaN
    return Value(kind, sql, "double precision", low=low, high=high)


def _finite(value: Value) -> bool:
    return value.literal is not None and math.isfinite(float(value.literal))


def _bounds(op: str, a: Value, b: Value) -> tuple[int, int]:
    if op == "+":
        return a.low + b.low, a.high + b.high
    if op == "-":
        return a.low - b.high, a.high - b.low
    if op == "%":
        most = max(abs(b.low), abs(b.high)) - 1
        return (-most if a.low < 0 else 0), most
    if op == "/":
        most = max(abs(a.low), abs(a.high)) // max(1, abs(b.low) if b.literal else 1)
        return (0 if min(a.low, b.low) >= 0 else -most), most
    ends = [x * y for x in (a.low, a.high) for y in (b.low, b.high)]
    return min(ends), max(ends)


def unify(values: Sequence[Value]) -> tuple[Value, list[str], list[str]]:
    """What CASE, COALESCE and the like make of their results: the kind, each value for it, each value as stored."""
    known = [v for v in values if v.kind != "null"]
    if any(v.kind == "json" for v in known):
        raise Refusal("a JSON value, whose kind is not known, is passed on")
    stored = [v.stored.sql for v in values]
    if not known:
        return NULL, stored, stored
    same = {v.stored[1:] for v in known}
    passed = len(same) == 1 and any(v.native for v in known) and not any(v.computed for v in known)
    native = Native("", *same.pop()) if passed else None
    mixed = [v for v in known if v.stored.form == MIXED]
    beside = [v for v in known if v not in mixed]
    if mixed and native is None and all(v.kind in ("text", "int") and (v.computed or not v.native) for v in beside):
        native = Native("", "text", MIXED)  # the others become digits too
        stored = [as_text(v).sql for v in values]
    if all(v.kind == "bool" for v in known):
        return boolean(""), stored, stored
    cells = [integer(v) for v in values]
    kinds = {v.kind for v in cells if v.kind != "null"}
    types = {v.type for v in cells if v.type}
    whole = [v for v in known if v.kind != "real"] or known  # the bounds are those of integers
    low, high = min(v.low for v in whole), max(v.high for v in whole)
    if kinds <= {"int", "real", "num"} and (len(kinds) > 1 or (kinds != {"int"} and len(types) > 1)):
        kind = "num" if len(kinds) > 1 else kinds.pop()
        return Value(kind, "", "double precision", low=low, high=high), [double(v).sql for v in cells], stored
    if len(kinds) == 1 and "other" not in kinds:
        kind = types.pop() if len(types) == 1 else "bigint" if "bigint" in types else "integer"
        unified = Value(kinds.pop(), "", kind, low=low, high=high, native=native)
        return unified, [v.sql for v in cells], stored
    why = next((v.why for v in known if v.why), f"values of different kinds are mixed: {', '.join(stored)}")
    if native is None:
        raise Refusal(why)
    return Value("other", "", "", native=native, why=why), [], stored


def double(value: Value) -> Value:
    """A number as double precision, when nothing is lost by it."""
    if value.kind in ("int", "num") and value.type != "double precision" and max(-value.low, value.high) > EXACT:
        raise refused(value, "of 64 bits is mixed with reals")
    if value.type in ("double precision", ""):
        return value
    return replace(value, sql=f"{value.sql}::double precision", type="double precision")
