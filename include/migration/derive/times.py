"""SQLite's date and time functions in PostgreSQL's words, where both know the same instants and write the same text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from migration.derive.parse import Refusal
from migration.derive.values import TIMES, Native, Value, literal, quote, sqlite, utc

NAMES = ("date", "time", "datetime", "strftime", "julianday", "unixepoch")

# SQLite's 'now' stands still within a statement. https://sqlite.org/lang_datefunc.html
_NOW = "(statement_timestamp() AT TIME ZONE 'UTC')"
_MARKS = {
    "Y": "YYYY",
    "m": "MM",
    "d": "DD",
    "H": "HH24",
    "M": "MI",
    "S": "SS",
    "f": "SS.MS",
    "j": "DDD",
    "F": "YYYY-MM-DD",
    "T": "HH24:MI:SS",
    "R": "HH24:MI",
}
_FORMS = {"date": "%Y-%m-%d", "time": "%H:%M:%S", "datetime": "%Y-%m-%d %H:%M:%S"}


def call(name: str, arguments: Sequence[Value]) -> Value:
    """One of NAMES applied to translated arguments."""
    pattern = _FORMS.get(name)
    if name == "strftime":
        if not arguments or not isinstance(arguments[0].literal, str):
            raise Refusal("strftime() has no constant format")
        pattern, arguments = arguments[0].literal, arguments[1:]
    words = [a.literal for a in arguments]
    if (
        words
        and isinstance(words[0], str)
        and words[0].lower() != "now"
        and not {"localtime", "utc"} & {str(w).lower() for w in words}
    ):
        if any(w is None for w in words):
            raise Refusal(f"{name}() has a modifier that is no constant")
        given = [pattern, *words] if name == "strftime" else words
        return literal(sqlite(f"{name}({', '.join('?' * len(given))})", *given))
    instant = _instant(name, arguments)
    if name == "unixepoch":
        return replace(_epoch(instant), kind="int", sql=_epoch(instant).stored.sql, type="bigint", native=None)
    if name == "julianday":
        # SQLite counts milliseconds in an integer; this is its own division.
        sql = f"((floor(extract(epoch from {instant}) * 1000) + 210866760000000)::double precision / 86400000)"
        return Value("real", sql, "double precision")
    assert pattern is not None
    return _epoch(instant) if pattern == "%s" else _written(instant, pattern)


def current(word: str) -> Value:
    """CURRENT_DATE, CURRENT_TIME or CURRENT_TIMESTAMP."""
    return _written(_NOW, _FORMS[{"timestamp": "datetime"}.get(word, word)])


def _epoch(instant: str) -> Value:
    seconds = f"floor(extract(epoch from {instant}))::bigint"
    return Value("text", f"{seconds}::text", "text", native=Native(seconds, "bigint", "digits"), computed=True)


def _written(instant: str, pattern: str) -> Value:
    marks, form, at = [], "", 0
    while at < len(pattern):
        char = pattern[at]
        if char == "%" and pattern[at + 1 : at + 2] in _MARKS:
            marks.append(pattern[at + 1])
            mark = _MARKS[marks[-1]]
            form += f'""{mark}' if form[-1:] == mark[0] else mark  # DD and D would be read as one
            at += 1
        elif char == "%" or char in '"\\' or not char.isascii():
            raise Refusal(f"strftime() writes {pattern[at : at + 2]!r}, for which to_char() has nothing")
        else:
            form += f'"{char}"' if char.isalpha() else char
        at += 1
    value = Value("text", f"to_char({instant}, {quote(form)})", "text", computed=True)
    if form == "YYYY-MM-DD":
        return replace(value, native=Native(f"{instant}::date", "date", form))
    if form.startswith("YYYY-MM-DD") and "HH24:MI" in form:
        unit = "millisecond" if "MS" in form else "second" if "SS" in form else "minute"
        return replace(value, native=Native(f"(date_trunc('{unit}', {instant}) AT TIME ZONE 'UTC')", TIMES[0], form))
    if len(marks) == 1 and form in ("YYYY", "MM", "DD", "HH24", "MI", "SS", "DDD"):
        return replace(value, native=Native(f"{value.sql}::bigint", "bigint", "digits"))
    return value


def _instant(name: str, arguments: Sequence[Value]) -> str:
    """The time that the arguments name, as a timestamp at UTC."""
    base, modifiers = (arguments[0], list(arguments[1:])) if arguments else (None, [])
    now = base is None or str(base.literal).lower() == "now"
    if base is None or now:
        sql = _NOW
    elif base.kind == "text" and base.native and base.native.type in TIMES and "US" not in base.native.form:
        sql = utc(base.native)
    elif base.kind == "int" and len(modifiers) == 1 and modifiers[0].literal == "unixepoch":
        modifiers.clear()
        # The years that both write with four digits; SQLite knows none after them.
        inside = f"{base.sql} BETWEEN -62135596800 AND 253402300799"
        sql = f"(CASE WHEN {inside} THEN to_timestamp({base.sql}) AT TIME ZONE 'UTC' END)"
    else:
        raise Refusal(base.why or f"{name}() reads a text of unknown form: {base.sql}")
    for modifier in modifiers:
        sql = _modified(sql, str(modifier.literal or modifier.sql).lower(), now)
    return sql


def _modified(sql: str, modifier: str, now: bool) -> str:
    words = modifier.split()
    if words[:2] == ["start", "of"] and words[2:] in (["day"], ["month"], ["year"]):
        return f"date_trunc('{words[2]}', {sql})"
    unit = words[-1].removesuffix("s") if len(words) == 2 else ""
    if (
        unit in ("day", "hour", "minute", "second")
        and words[0].lstrip("+-").isdecimal()
        and words[0].count("-") + words[0].count("+") <= 1
    ):
        if not now:  # a time of the year 9999 would go where SQLite has NULL
            raise Refusal(f"the modifier {modifier!r} on a column may leave the years that SQLite knows")
        count = int(words[0])
        return f"({sql} {'-' if count < 0 else '+'} interval '{abs(count)} {unit}s')"
    ends = ", the ends of months being different in PostgreSQL"
    reason = {"localtime": ", the server's zone being another", "month": ends, "year": ends}
    raise Refusal(f"the modifier {modifier!r} is not translated{reason.get(unit or modifier, '')}")
