"""The canonical forms of one column: a pair of SQL expressions, one a side, that give equal text for equal values only.

Most values are brought to their form by SQL alone, inside either database. The source's expression hands whatever is
out of the ordinary to the type's reader in :mod:`migration.verify.values`, which stays the one definition of what
the target must hold: an expression may be faster than its reader, and never says something else (the tests hold the
two against each other). What has no exact form becomes the byte FF, which no valid text contains.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from psycopg import sql

from migration.errors import PlanError, TargetError
from migration.verify import values
from migration.verify.values import IMPOSSIBLE, UNITS, Canonical, Reader, Value

NULL, SEPARATOR, NOTHING = b"\x1e\x03", b"\x1f\x02", b"\xff"
"""In joined text: what stands for NULL, what stands between values, what stands for a value without exact form.

Pairs that no sane text contains: a block in which one does is compared row by row. Their bytes are chosen so that
none can arise where a value ends and the next mark begins.
"""


@dataclass(frozen=True)
class Codec:
    """How the values of one column are read on both sides."""

    type: str
    """The target's type, for messages."""
    read: Reader
    """The definition: raw source value to canonical form."""
    source: str
    """SQLite: the canonical text of column ``{x}`` where it is not NULL; ``{read}`` names the reader. Where there is a
    ``null``, the bytes of all of a block's values."""
    target: sql.SQL = field(default_factory=lambda: sql.SQL("{}::text"))
    """PostgreSQL: the canonical text of a column."""
    digits: bool = False
    """For forms that are decimal digits: a comma joins them, and ``null`` stands for NULL, as in a JSON array of
    integers. SQLite makes one of a block at once, and writes nothing but an integer as one."""
    null: bytes | None = None
    """For forms of so many bytes each, which ``source`` aggregates and nothing parts: what stands for NULL."""
    lengths: tuple[str, sql.SQL] | None = None
    """For forms that are bytes, joined without separators: the length of each, on either side; '-' for NULL."""
    sized: bool = False
    """Whether values may be long, so that their size counts in a block's."""
    recast: sql.SQL | None = None
    """PostgreSQL: canonical text from the text that ``source`` gives, for forms that SQLite cannot make."""
    verbatim: str | None = None
    """The storage class whose bytes are the canonical form as they stand; None where there is none."""
    key: sql.SQL | None = None
    """PostgreSQL: the column's value from its canonical form, to find a row by its key; None for no key."""
    forms: Mapping[str, Reader] = field(default_factory=dict)
    """The readers for values to which the plan gives another form, by the name of the form."""

    def altered(self, form: str, value: Value) -> Canonical:
        """The canonical form of a value that the plan alters; IMPOSSIBLE where that form is not for it."""
        match form:
            case "null":
                return None
            case "strip":
                return self.read(value.replace("\0", "")) if isinstance(value, str) else IMPOSSIBLE
        return self.forms[form](value) if form in self.forms else IMPOSSIBLE


@dataclass(frozen=True)
class Column:
    """One column on both sides."""

    source: str
    target: str
    codec: Codec
    not_null: bool


def _cases(known: str) -> str:
    """``known`` decides about the storage classes that it names, the reader about all others."""
    return f"CASE typeof({{x}}) {known} ELSE {{read}}({{x}}) END"


def _integer(bits: int) -> Codec:
    return Codec(
        "integer",
        values.integer(bits),
        _cases("WHEN 'integer' THEN {x}"),
        digits=True,
        key=sql.SQL("CAST({} AS bigint)"),
        forms={"round": values.numeric_rounded(19, 0)},
    )


_BOOLEAN = Codec(
    "boolean",
    values.boolean,
    _cases("WHEN 'integer' THEN CASE {x} WHEN 1 THEN 'true' WHEN 0 THEN 'false' ELSE x'ff' END"),
    key=sql.SQL("CAST({} AS boolean)"),
)
_DATE = Codec(
    "date",
    values.day,
    # Ten bytes that equal what PostgreSQL prints are a valid day.
    _cases("WHEN 'text' THEN CASE octet_length({x}) WHEN 10 THEN {x} ELSE x'ff' END"),
    key=sql.SQL("CAST({} AS date)"),
)
_BYTEA = Codec(
    "bytea",
    values.blob,
    "CASE typeof({x}) WHEN 'blob' THEN {x} ELSE x'' END",
    sql.SQL("{}"),
    lengths=(
        "CASE typeof({x}) WHEN 'blob' THEN octet_length({x}) WHEN 'null' THEN '-' ELSE '!' END",
        sql.SQL("coalesce(octet_length({})::text, '-')"),
    ),
    sized=True,
    verbatim="blob",
    key=sql.SQL("{}"),
    forms={"bytes": values.as_bytes},
)
_DOUBLE = Codec(
    "double precision",
    values.double,
    "doubles({x})",
    sql.SQL("float8send({})"),
    null=values.NULL_DOUBLE,
)
_NUMERIC = Codec(
    "numeric",
    values.numeric_free,
    _cases("WHEN 'integer' THEN {x}"),
    sql.SQL("trim_scale({})::text"),
    key=sql.SQL("CAST({} AS numeric)"),
)
# Text that equals the target's is valid, short enough and without NUL, since the target's is.
_AS_IT_IS = "CASE typeof({x}) WHEN 'text' THEN {x} ELSE x'ff' END"


# What a text means as jsonb is PostgreSQL's to say: it reads the source's own text anew, and prints it. In Python the
# same costs three times as much; the reader is for single rows, and holds PostgreSQL to account in the tests.
_JSONB = Codec("jsonb", values.jsonb, _AS_IT_IS, sized=True, recast=sql.SQL("{}::jsonb::text"))
_JSON = Codec("json", values.json_verbatim, _AS_IT_IS, sized=True, verbatim="text")


_WITH_DIGITS = "CASE typeof({x}) WHEN 'text' THEN {x} WHEN 'integer' THEN CAST({x} AS TEXT) ELSE x'ff' END"


def _text(type_: str, length: int | None, *, integers: bool = False) -> Codec:
    return Codec(
        type_,
        values.integer_or_text(length) if integers else values.text(length),
        _WITH_DIGITS if integers else _AS_IT_IS,
        sized=True,
        verbatim="text",
        key=sql.SQL("CAST({} AS text)"),
        forms={"text": values.number_as_text(length)},
    )


def _numeric(precision: int, scale: int) -> Codec:
    # No two decimals of up to 15 digits denote the same double (DBL_DIG of IEEE 754), so one that SQLite reads back
    # as the same double is its shortest. Longer ones, and zeros with their sign, go to the reader.
    source = "{read}({x})"
    if 0 <= scale < 15:
        written = f"printf('%.{scale}f', {{x}})"
        exact = f"{{x}} <> 0 AND abs({{x}}) < 1e{15 - scale} AND CAST({written} AS REAL) = {{x}}"
        zeros = f" || '.{'0' * scale}'" if scale else ""
        real = f"CASE WHEN {exact} THEN {written} ELSE {{read}}({{x}}) END"
        source = _cases(f"WHEN 'integer' THEN {{x}}{zeros} WHEN 'real' THEN {real}")
    return Codec(
        f"numeric({precision},{scale})",
        values.numeric(precision, scale),
        source,
        key=sql.SQL("CAST({} AS numeric)"),
        forms={"round": values.numeric_rounded(precision, scale)},
    )


_INSTANT_KEY = {"+00": sql.SQL("CAST({} AS timestamptz)"), "": sql.SQL("CAST({} AS timestamp)")}


def _instant(type_: str, zone: str) -> Codec:
    """The usual forms become PostgreSQL's own by moving text about. Whether they are valid need not be asked, since
    what PostgreSQL prints is; so a ``T`` is replaced wherever it stands, and only where it may stand is the result
    equal to a printed instant. A fraction ends in no zero there; one of zeros only is left to the reader.

    SQLite itself moves an instant at another offset, once it has shown by writing it back that it is one: of 30
    February it makes a day in March."""
    written = "substr(replace({x}, 'T', ' '), 1, 19)"
    forms = {10: [f"WHEN true THEN {{x}} || ' 00:00:00{zone}'"]}
    for digits in range(7):
        length = 20 + digits if digits else 19
        dot = f".{'[0-9]' * digits}" if digits else ""
        sure = f" AND substr({{x}}, 21, {digits}) <> '{'0' * digits}'" if digits else " AND substr({x}, 17, 1) = ':'"
        fraction = f" || rtrim(substr({{x}}, 20, {digits + 1}), '0')" if digits else ""
        for tail in ("", "Z", "+00:00") if zone else ("",):
            form = f"substr({{x}}, 20) GLOB '{dot}{tail}'{sure}"
            instant = f"{written}{fraction} || '{zone}'"
            forms.setdefault(length + len(tail), []).append(f"WHEN {form} THEN {instant}")
        if zone:
            form = f"substr({{x}}, 20) GLOB '{dot}[+-][0-9][0-9]:[0-9][0-9]'{sure}"
            same = f"substr({{x}}, 1, 4) BETWEEN '0002' AND '9998' AND datetime(substr({{x}}, 1, 19)) = {written}"
            moved = f"datetime(substr({{x}}, 1, 19) || substr({{x}}, -6)){fraction} || '{zone}'"
            forms.setdefault(length + 6, []).append(f"WHEN {form} AND {same} THEN coalesce({moved}, {{read}}({{x}}))")
    by_length = " ".join(f"WHEN {n} THEN CASE {' '.join(cases)} ELSE {{read}}({{x}}) END" for n, cases in forms.items())
    text = f"WHEN 'text' THEN CASE octet_length({{x}}) {by_length} ELSE {{read}}({{x}}) END"
    return Codec(type_, values.instant(zone), _cases(text), key=_INSTANT_KEY[zone])


def _epoch(type_: str, zone: str, name: str) -> Codec:
    unit = UNITS[name]
    per = unit.per_second
    second = f"coalesce(strftime('%Y-%m-%d %H:%M:%S', {{x}} / {per} + {unit.origin}, 'unixepoch'), x'ff')"
    fraction = f"rtrim(printf('%0{len(str(per)) - 1}d', {{x}} % {per}), '0')"
    source = (
        f"WHEN 'integer' THEN CASE WHEN {{x}} % {per} = 0 THEN {second} || '{zone}'"
        f" WHEN {{x}} > 0 THEN {second} || '.' || {fraction} || '{zone}' ELSE {{read}}({{x}}) END"
    )
    return Codec(type_, values.epoch(unit, zone), _cases(source), key=_INSTANT_KEY[zone])


def _julian(type_: str, zone: str) -> Codec:
    return Codec(type_, values.julian(zone), "{read}({x})", key=_INSTANT_KEY[zone])


_PLAIN = {
    "int2": _integer(16),
    "int4": _integer(32),
    "int8": _integer(64),
    "bool": _BOOLEAN,
    "date": _DATE,
    "bytea": _BYTEA,
    "float8": _DOUBLE,
    "jsonb": _JSONB,
    "json": _JSON,
    "text": _text("text", None),
}
_ZONES = {"timestamptz": "+00", "timestamp": ""}


def codec_for(column: str, type_name: str, modifier: int, written: str, cast: str | None) -> Codec:
    """The codec of target column ``column``.

    ``type_name`` and ``modifier`` are pg_type.typname and atttypmod, ``written`` the type as PostgreSQL writes it, and
    ``cast`` the cast that the plan names. TargetError for a type whose values cannot be compared exactly.
    """
    if cast is not None:
        return _codec_of_cast(column, type_name, modifier, written, cast)
    match type_name:
        case name if name in _PLAIN:
            return _PLAIN[name]
        case name if name in _ZONES:
            return _instant(written, _ZONES[name])
        case "varchar":
            return _text(written, _length(modifier))
        case "numeric" if modifier < 4:
            return _NUMERIC
        case "numeric":
            # Precision in the upper 16 bits; scale in eleven bits, as a signed number (numeric.c, make_numeric_typmod).
            return _numeric((modifier - 4) >> 16 & 0xFFFF, (((modifier - 4) & 0x7FF) ^ 1024) - 1024)
    raise TargetError(
        f"Column {column} has type {written}, whose values verification cannot compare exactly. Declare another type "
        "for it in the plan's models (text, double precision or numeric hold the same values), or exclude the column."
    )


def _codec_of_cast(column: str, type_name: str, modifier: int, written: str, cast: str) -> Codec:
    match cast:
        case "integer_or_text" if type_name in ("text", "varchar"):
            return _text(written, _length(modifier), integers=True)
        case "julian" if type_name in _ZONES:
            return _julian(written, _ZONES[type_name])
        case _ if cast in UNITS and type_name in _ZONES:
            return _epoch(written, _ZONES[type_name], cast)
    raise PlanError(
        f"Column {column}: verification knows no cast {cast!r} into {written}. It knows "
        f"{', '.join(UNITS)} and julian into timestamps, integer_or_text into text and varchar."
    )


def _length(modifier: int) -> int | None:
    """The n of varchar(n), from atttypmod."""
    return modifier - 4 if modifier >= 4 else None
