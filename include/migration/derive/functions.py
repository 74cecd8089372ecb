"""SQLite's scalar functions in PostgreSQL's words, each only as far as it means the same for every value."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from inspect import signature

from migration.derive import operators, times
from migration.derive.parse import Refusal, affinity
from migration.derive.values import (
    NULL,
    Native,
    Value,
    as_text,
    boolean,
    integer,
    literal,
    number,
    quote,
    refused,
    sqlite,
    truth,
)

Function = Callable[..., Value]
_LONGEST = 10**9
"""SQLite's longest text or blob."""


def _text(sql: str) -> Value:
    return Value("text", sql, "text")


def _int(sql: str, low: int = 0, high: int = _LONGEST, kind: str = "integer") -> Value:
    return Value("int", sql, kind, low=low, high=high)


def case(results: Sequence[Value], conditions: Sequence[str]) -> Value:
    """CASE with a result for each condition and one for ELSE."""
    unified, cells, stored = operators.unify(results)

    def written(parts: Sequence[str]) -> str:
        branches = "".join(f" WHEN {c} THEN {r}" for c, r in zip(conditions, parts, strict=False))
        return f"(CASE{branches} ELSE {parts[-1]} END)" if parts else ""

    return _unified(unified, written(cells), written(stored))


def _unified(unified: Value, sql: str, stored: str) -> Value:
    native = unified.native._replace(sql=stored) if unified.native else None
    return replace(unified, sql=sql, native=native) if unified.kind != "null" else NULL


def coalesce(*values: Value) -> Value:
    unified, cells, stored = operators.unify(values)
    sql = f"COALESCE({', '.join(cells)})" if cells else ""
    return _unified(unified, sql, f"COALESCE({', '.join(stored)})")


def nullif(a: Value, b: Value) -> Value:
    same = operators.compare("=", replace(a, affinity=""), replace(b, affinity=""))
    return case([NULL, a], [same.sql])


def iif(condition: Value, yes: Value, no: Value = NULL) -> Value:
    return case([yes, no], [truth(condition).sql])


def _extreme(name: str) -> Function:
    def function(*values: Value) -> Value:
        if len(values) == 1:
            raise Refusal(f"an aggregate: {name}")
        if any(v.collation not in ("", "BINARY") for v in values):
            raise Refusal(f"{name}() of texts that are not compared by their bytes")
        if any(v.kind == "null" for v in values):
            return NULL
        unified, cells, _ = operators.unify(values)
        if unified.kind == "other":
            raise Refusal(unified.why)
        if unified.kind == "text":
            cells = [f'{c} COLLATE "C"' for c in cells]
        nulls = [f"{v.stored.sql} IS NULL" for v in values if v.literal is None]
        sql = f"{name}({', '.join(cells)})"  # unlike SQLite's, it passes over NULL
        sql = f"(CASE WHEN {' OR '.join(nulls)} THEN NULL ELSE {sql} END)" if nulls else sql
        return replace(integer(unified), sql=sql, native=None) if unified.kind != "bool" else replace(unified, sql=sql)

    return function


def typeof(value: Value) -> Value:
    name = storage(value)
    return (
        literal("null")
        if name == "null"
        else _text(f"(CASE WHEN {value.stored.sql} IS NULL THEN 'null' ELSE '{name}' END)")
    )


def storage(value: Value) -> str:
    """typeof() of the values that are not NULL."""
    names = {"int": "integer", "bool": "integer", "other": value.type}
    name = names.get(value.kind, value.kind)
    if name not in ("integer", "real", "text", "blob", "null"):
        raise refused(value, "is asked for its typeof()")
    return name


def length(value: Value) -> Value:
    if value.kind == "blob":
        return _int(f"octet_length({value.sql})")
    return _int(f"length({as_text(value).sql})")


def _folded(name: str) -> Function:
    def function(value: Value) -> Value:
        sql = as_text(value).sql
        if name == "lower" and sql.startswith("upper(encode("):
            return _text(sql[6:-1])
        return _text(f'{name}({sql} COLLATE "C")')  # A to Z alone, as SQLite does

    return function


def absolute(value: Value) -> Value:
    value = number(value)
    if value.kind == "int":
        sql = value.sql if value.type == "bigint" else f"{value.sql}::bigint"
        low = 0 if value.low <= 0 <= value.high else min(abs(value.low), abs(value.high))
        return _int(f"abs({sql})", low, min(max(abs(value.low), abs(value.high)), 2**63 - 1), "bigint")
    return replace(value, sql=f"abs({value.sql})", native=None) if value.kind != "null" else NULL


def instr(text: Value, part: Value) -> Value:
    return _int(f"strpos({as_text(text).sql}, {as_text(part).sql})")


def substr(text: Value, start: Value, count: Value | None = None) -> Value:
    if text.kind == "blob":
        raise Refusal("substr() of a blob")
    text, start = as_text(text), number(start)
    if count is not None and (count.kind != "int" or count.low < 0 or count.high >= 2**31):
        raise Refusal(f"substr() with a length that may be negative: {count.sql}")
    if start.kind != "int" or (start.low < 0 and not isinstance(start.literal, int)) or start.high >= 2**31:
        raise Refusal(f"substr() with a start that may be negative: {start.sql}")
    first = _small(start)
    if start.low < 0:
        if count is None:
            return _text(f"right({text.sql}, {-start.low})")
        first = f"(length({text.sql}) + {start.low + 1})"
    return _text(f"substr({text.sql}, {first}{f', {_small(count)}' if count else ''})")


def _small(value: Value) -> str:
    return value.sql if value.type == "integer" else f"{value.sql}::integer"


def _trimmed(name: str) -> Function:
    def function(text: Value, characters: Value | None = None) -> Value:
        more = f", {as_text(characters).sql}" if characters else ""
        return _text(f"{name}({as_text(text).sql}{more})")

    return function


def substitute(text: Value, part: Value, by: Value) -> Value:
    text, part = as_text(text), as_text(part)
    sql = f"replace({text.sql}, {part.sql}, {as_text(by).sql})"
    if not part.literal:  # nothing replaced by NULL is the text itself
        sql = f"(CASE WHEN {part.sql} = '' THEN {text.sql} ELSE {sql} END)"
    return _text(sql)


def rounded(value: Value, digits: Value | None = None) -> Value:
    value = number(value)
    if digits is not None and digits.literal != 0:
        raise Refusal(
            "round() to digits, for which SQLite looks at the binary value and PostgreSQL at its shortest decimal"
        )
    x = value.sql if value.type == "double precision" else f"{value.sql}::double precision"
    if value.kind == "int":
        return Value("real", x, "double precision")
    half = f"trunc({x} + CASE WHEN {x} < 0 THEN -0.5 ELSE 0.5 END) + 0"  # SQLite's own formula
    return Value("real", f"(CASE WHEN abs({x}) < 4503599627370496 THEN {half} ELSE {x} END)", "double precision")


def _whole(name: str) -> Function:
    def function(value: Value) -> Value:
        value = number(value)
        return value if value.kind in ("int", "null") else replace(value, sql=f"{name}({value.sql})", native=None)

    return function


def sign(value: Value) -> Value:
    return _int(f"sign({number(value).sql})::integer", -1, 1)


def unicode(value: Value) -> Value:
    return _int(f"NULLIF(ascii({as_text(value).sql}), 0)", 1, 0x10FFFF)


def hexadecimal(value: Value) -> Value:
    if value.kind != "blob":
        raise refused(value, "is given to hex()")
    written = f"upper(encode({value.sql}, 'hex'))"
    return _text(written if "gen_random_uuid(" in value.sql else f"COALESCE({written}, '')")  # hex(NULL) is ''


# A random UUID has 122 random bits: its bytes 9 to 15 are random through and through.
_SEVEN = "substring(uuid_send(gen_random_uuid()) from 10 for {})"


def randomblob(count: Value) -> Value:
    if not isinstance(count.literal, int) or not 1 <= count.literal <= 70:
        raise Refusal("randomblob() of a length that is no small constant")
    parts = [_SEVEN.format(min(7, count.literal - at)) for at in range(0, count.literal, 7)]
    return Value("blob", f"({' || '.join(parts)})", "bytea")


def random() -> Value:
    return Value("int", f"('x' || encode({randomblob(literal(8)).sql}, 'hex'))::bit(64)::bigint", "bigint")


def json_valid(value: Value) -> Value:
    if value.native and value.native.type in ("jsonb", "json"):
        return boolean(f"({value.native.sql} IS NOT NULL OR NULL)")  # the type holds nothing else
    return boolean(f"({as_text(value).sql} IS JSON)")


def json_extract(value: Value, path: Value) -> Value:
    if value.native is None or value.native.type != "jsonb" or not isinstance(path.literal, str):
        raise Refusal("json_extract() of a text, or by a path that is no constant")
    root, *keys = path.literal.split(".")
    if root != "$" or not keys or not all(k.isascii() and k.isidentifier() for k in keys):
        raise Refusal(f"json_extract() by the path {path.literal!r}")
    braces = quote("{" + ",".join(keys) + "}")
    return Value(
        "json",
        f"({value.native.sql} #> {braces})",
        "jsonb",
        native=Native(f"({value.native.sql} #>> {braces})", "text", "json"),
    )


def cast(value: Value, kind: str) -> Value:
    """CAST, where no text has to be read as a number; the words of a type count by their affinity."""
    return replace(_cast(value, kind, affinity(kind)), collation=value.collation)  # a cast column keeps its collation


def _cast(value: Value, kind: str, wanted: str) -> Value:
    if value.kind == "null":
        return NULL
    if value.literal is not None:
        return replace(literal(sqlite(f"CAST(? AS {wanted})", value.literal)), affinity=wanted)
    if wanted == "TEXT":
        return replace(as_text(value), affinity=wanted)
    if wanted == "INTEGER" and value.native and value.native.form == "digits":
        return Value("int", value.native.sql, "bigint", wanted)
    value = integer(value)
    if wanted in ("INTEGER", "NUMERIC") and value.kind == "int" or (wanted == "REAL" and value.kind == "real"):
        return replace(value, affinity=wanted)
    if wanted == "REAL" and value.kind in ("int", "num"):
        return Value("real", f"{value.sql}::double precision", "double precision", wanted)
    if wanted == "INTEGER" and value.kind in ("real", "num"):
        return Value("int", f"trunc({value.sql})::bigint", "bigint", wanted, low=-(2**63), high=2**63)
    raise refused(value, f"is cast to {kind}")


FUNCTIONS: dict[str, Function] = {
    "abs": absolute, "ceil": _whole("ceil"), "ceiling": _whole("ceil"), "coalesce": coalesce, "floor": _whole("floor"),
    "hex": hexadecimal, "if": iif, "ifnull": coalesce, "iif": iif, "instr": instr, "json_extract": json_extract,
    "json_valid": json_valid, "length": length, "lower": _folded("lower"), "ltrim": _trimmed("ltrim"),
    "max": _extreme("GREATEST"), "min": _extreme("LEAST"), "nullif": nullif, "random": random, "randomblob": randomblob,
    "replace": substitute, "round": rounded, "rtrim": _trimmed("rtrim"), "sign": sign, "substr": substr,
    "substring": substr, "trim": _trimmed("btrim"), "typeof": typeof, "unicode": unicode, "upper": _folded("upper"),
}  # fmt: skip
_CONSTANT = ("char", "hex", "printf", "format", "quote", "unhex", "concat", "concat_ws")
"""Further functions that are worked out where all their arguments are constants."""
VOLATILE = ("random", "randomblob")


def call(name: str, arguments: Sequence[Value]) -> Value:
    """A function applied to translated arguments."""
    if name in times.NAMES:
        return times.call(name, arguments)
    if name not in FUNCTIONS and name not in _CONSTANT:
        raise Refusal(f"the function {name}() has no equal in PostgreSQL")
    if name not in VOLATILE and all(a.literal is not None for a in arguments):
        return literal(sqlite(f"{name}({', '.join('?' * len(arguments))})", *(a.literal for a in arguments)))
    if name not in FUNCTIONS:
        raise Refusal(f"the function {name}() of what is no constant")
    try:
        signature(FUNCTIONS[name]).bind(*arguments)
    except TypeError as error:
        raise Refusal(f"the function {name}() with {len(arguments)} arguments is not translated") from error
    return replace(FUNCTIONS[name](*arguments), affinity="", collation="")
