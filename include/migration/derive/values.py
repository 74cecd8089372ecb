"""SQLite's values and comparisons in PostgreSQL's words: what a column's value was there, and what two of them say."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, NamedTuple

import apsw

from migration.derive.parse import Refusal, shell

INT8 = 2**63
MIXED = "integer_or_text"
EXACT = 2**53
"""Whole numbers up to here have a double of their own."""
TIMES = ("timestamp with time zone", "timestamp without time zone", "date")


class Carried(NamedTuple):
    """A column on both sides: its name and type in PostgreSQL, and how SQLite has it."""

    name: str
    type: str
    """As PostgreSQL writes it: `bigint`, `numeric(10,2)`, `timestamp with time zone` …"""
    affinity: str | None = None
    """SQLite's affinity; None means the one that the type suggests."""
    form: str = ""
    """How the source's values are written, where the type leaves it open: of a time, to_char's pattern of the text that
    every value has (`YYYY-MM-DD HH24:MI:SS`), or epoch_s, epoch_ms, epoch_us for numbers; of a text column,
    integer_or_text when integers became their digits; 'mixed' for anything else whose storage classes differ within the
    column. Without it, times are texts of unknown form (dates YYYY-MM-DD), booleans are 0 and 1, and what is in a text
    column was text."""
    collation: str = "BINARY"


class Native(NamedTuple):
    """What PostgreSQL holds in the place of SQLite's value, and the form in which that wrote it."""

    sql: str
    type: str
    form: str


@dataclass(frozen=True)
class Value:
    """An expression. ``sql`` yields SQLite's value in a PostgreSQL type of its storage class; '' when none does."""

    kind: str
    """int, real, num (either of both), text, blob, bool (0 or 1, ``sql`` being boolean), null, json or other."""
    sql: str
    type: str
    affinity: str = ""
    collation: str = ""
    explicit: bool = False
    """The collation comes from a COLLATE operator."""
    low: int = -INT8
    high: int = INT8 - 1
    literal: int | float | str | bytes | None = None
    native: Native | None = None
    computed: bool = False
    """``native`` is a shorter way to the same, the application knowing no other value than ``sql``."""
    why: str = ""
    """Why there is no ``sql``."""

    @property
    def stored(self) -> Native:
        """The native form, which a computed value has in ``sql`` itself."""
        return self.native or Native(self.sql, self.type, "")


def ident(name: str) -> str:
    """``name`` as a PostgreSQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def quote(text: str) -> str:
    """``text`` as a PostgreSQL string literal."""
    if "\0" in text:
        raise Refusal("the text has a NUL, which PostgreSQL cannot hold")
    if "\\" in text:  # means itself under every standard_conforming_strings
        return "E'" + text.replace("\\", "\\\\").replace("'", "''") + "'"
    return "'" + text.replace("'", "''") + "'"


NULL = Value("null", "NULL", "")


def literal(value: int | float | str | bytes | None) -> Value:
    """A constant."""
    match value:
        case None:
            return NULL
        case bool() | int():
            number = int(value)
            sql = str(number) if number >= 0 else f"({number})"
            kind = "integer" if -(2**31) < number < 2**31 else "bigint"
            return Value("int", sql, kind, low=number, high=number, literal=number)
        case float():
            text = f"'{value}'" if not math.isfinite(value) else repr(value) if value >= 0 else f"({value!r})"
            return Value("real", f"{text}::double precision", "double precision", literal=value)
        case str():
            return Value("text", quote(value), "text", literal=value)
        case bytes():
            written = quote(f"\\x{value.hex()}")
            return Value("blob", f"{written}::bytea", "bytea", literal=value)


def boolean(sql: str) -> Value:
    """0 or 1, of which ``sql`` is the PostgreSQL condition."""
    return Value("bool", sql, "boolean", low=0, high=1)


def base_type(kind: str) -> tuple[str, tuple[int, ...]]:
    """The name of a type and its numbers: numeric(10,2) is ('numeric', (10, 2))."""
    name, _, rest = kind.lower().partition("(")
    inside, _, tail = rest.partition(")")
    name = f"{name.strip()}{tail}"
    numbers = tuple(int(n) for n in inside.split(",") if n.strip().isdigit())
    short = {
        "timestamptz": TIMES[0], "timestamp": TIMES[1], "int": "integer", "int4": "integer", "int8": "bigint",
        "int2": "smallint", "bool": "boolean", "varchar": "text", "character varying": "text", "decimal": "numeric",
        "float8": "double precision",
    }  # fmt: skip
    return short.get(name, name), numbers


_BITS = {"smallint": 15, "integer": 31, "bigint": 63}
_IMPLIED = {
    **dict.fromkeys(_BITS, "INTEGER"),
    "boolean": "NUMERIC",
    "double precision": "REAL",
    "numeric": "NUMERIC",
    "bytea": "BLOB",
}


def column(carried: Carried, qualifier: str = "") -> Value:
    """The value that SQLite had in this column; ``qualifier`` is the table's name where one is needed."""
    prefix = f"{ident(qualifier)}." if qualifier else ""
    kind, numbers = base_type(carried.type)
    affinity = _IMPLIED.get(kind, "TEXT") if carried.affinity is None else carried.affinity
    form = carried.form or ("YYYY-MM-DD" if kind == "date" else "")
    return of_native(Native(prefix + ident(carried.name), kind, form), affinity, carried.collation, numbers)


def of_native(native: Native, affinity: str, collation: str = "", numbers: tuple[int, ...] = ()) -> Value:
    """The value that SQLite had where PostgreSQL has ``native``; ``numbers`` are the precision and scale."""
    sql, kind, form = native
    plain = Value("other", "", "", affinity, collation, native=native)
    same = replace(plain, sql=sql, type=kind, native=None)
    if form in ("mixed", MIXED):
        return replace(plain, why=f"values of several storage classes are in {sql}")
    if kind == "text":
        return replace(same, kind="text")
    if kind == "bytea":
        return replace(same, kind="blob")
    if kind in TIMES and form and (affinity != "TEXT" or not form.startswith("epoch_")):
        return _time(plain, native)
    if affinity == "TEXT" or kind not in _IMPLIED or (kind == "boolean" and affinity == "REAL"):
        return replace(plain, type="text", why=f"text became {kind}, and how it was written is not known, in {sql}")
    if kind in _BITS and affinity == "REAL":  # stored as REAL, so divided and written as one
        return replace(same, kind="real", sql=f"{sql}::double precision", type="double precision")
    if kind in _BITS:
        return replace(same, kind="int", low=-(1 << _BITS[kind]), high=(1 << _BITS[kind]) - 1)
    if kind == "boolean":
        return replace(same, kind="bool", low=0, high=1)
    whole = 10 ** (numbers[0] - (*numbers, 0)[1]) if numbers else INT8
    return replace(same, kind="real" if affinity == "REAL" else "num", low=-whole, high=whole)


def _time(plain: Value, native: Native) -> Value:
    form = native.form
    if form.startswith("epoch_"):
        factor = {"epoch_s": 1, "epoch_ms": 1_000, "epoch_us": 1_000_000}[form]
        sql = f"(extract(epoch from {utc(native)}) * {factor})::bigint"
        return replace(plain, kind="int", sql=sql, type="bigint", low=-(10**18), high=10**18)
    return replace(plain, kind="text", sql=f"to_char({utc(native)}, {quote(form)})", type="text")


def utc(native: Native) -> str:
    """A time as PostgreSQL's timestamp without time zone at UTC."""
    if native.type == TIMES[0]:
        return f"({native.sql} AT TIME ZONE 'UTC')"
    return native.sql if native.type == TIMES[1] else f"{native.sql}::timestamp"


def moment(text: str, form: str) -> datetime | None:
    """The time that ``text`` denotes when it is written exactly as ``form`` says."""
    pattern = form.replace('"', "")
    for mark, code in (
        ("YYYY", "%Y"),
        ("HH24", "%H"),
        ("MI", "%M"),
        ("SS", "%S"),
        ("MS", "%f"),
        ("US", "%f"),
        ("MM", "%m"),
        ("DD", "%d"),
    ):
        pattern = pattern.replace(mark, code)
    try:
        found = datetime.strptime(text, pattern)  # noqa: DTZ007 - bare, as in SQLite: UTC
    except ValueError:
        return None
    written = found.strftime(pattern.replace("%f", "%f" if "US" in form else f"{found.microsecond // 1000:03d}"))
    return found if written.rjust(len(text), "0") == text else None


def sqlite(expression: str, *arguments: object) -> Any:
    """What SQLite makes of constants."""
    try:
        return shell().execute(f"SELECT {expression}", arguments).get
    except (apsw.Error, UnicodeDecodeError) as error:
        raise Refusal(f"SQLite itself fails: {error}") from error


def as_text(value: Value) -> Value:
    """The value as SQLite turns it into text, where PostgreSQL writes the same."""
    if value.kind == "text" or value.kind == "null":
        return value
    if value.literal is not None and value.kind != "blob":
        return replace(literal(str(sqlite("CAST(? AS TEXT)", value.literal))), affinity=value.affinity)
    if value.native and value.native.form == MIXED:
        return replace(value, kind="text", sql=value.native.sql, type="text", native=None)
    if value.kind in ("int", "bool"):
        return replace(integer(value), kind="text", sql=f"{integer(value).sql}::text", type="text", native=None)
    raise refused(value, "is turned into text, which both write differently")


def integer(value: Value) -> Value:
    """0 or 1 as a number; every other value as it is."""
    if value.kind != "bool":
        return value
    if value.literal is not None:
        return literal(value.literal)
    return replace(value, kind="int", sql=f"{value.sql}::integer", type="integer", native=None)


def number(value: Value) -> Value:
    """The value as an operand of arithmetic."""
    value = integer(value)
    if isinstance(value.literal, str):
        return literal(sqlite("? + 0", value.literal))
    if value.native and value.native.form == "digits":
        return Value("int", value.native.sql, "bigint", low=-EXACT, high=EXACT)
    if value.kind in ("int", "real", "num", "null"):
        return value
    raise refused(value, "is used as a number")


def refused(value: Value, use: str) -> Refusal:
    """The refusal of a use that ``value`` does not allow."""
    words = {
        "text": "a text",
        "blob": "a blob",
        "json": "a JSON value",
        "num": "an integer or real",
        "real": "a real",
    }
    return Refusal(value.why or f"{words.get(value.kind, 'a value')} {use}: {value.sql or value.stored.sql}")


def truth(value: Value) -> Value:
    """The value as a condition: SQLite takes every number but 0 as true."""
    if value.kind == "bool":
        return value
    if value.kind == "null":
        return boolean("NULL::boolean")
    if isinstance(value.literal, int | float):
        return boolean("true" if value.literal else "false")
    if value.kind in ("int", "real", "num"):
        return boolean(f"({value.sql} <> 0)")
    raise refused(value, "is used as a condition")
