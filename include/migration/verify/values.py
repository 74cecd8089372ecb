"""What the target must hold for a raw value of SQLite: one reader per PostgreSQL type, in plain Python.

A reader takes the value as SQLite stores it (None, int, float, str, bytes; :class:`Broken` for text that is no
valid text) and gives the canonical form: the text in which PostgreSQL prints the value, or bytes for bytea and
double precision. Where the type has no exact form of the value it gives :data:`IMPOSSIBLE`, which equals nothing
that a target can hold, so that a row loaded all the same is found.
"""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import ROUND_HALF_UP, Context, Decimal, Inexact, InvalidOperation
from enum import Enum
from fractions import Fraction
from typing import Any, Final

from migration.verify.jsonb import NotJsonb, jsonb_text


class _Impossible(Enum):
    IMPOSSIBLE = "no exact form in the target's type"


IMPOSSIBLE: Final = _Impossible.IMPOSSIBLE


@dataclass(frozen=True)
class Broken:
    """Text whose bytes are not valid in the database's encoding."""

    raw: bytes


Value = None | int | float | str | bytes | Broken
Canonical = None | str | bytes | _Impossible
Reader = Callable[[Any], Canonical]

pack_double: Callable[[float], bytes] = struct.Struct(">d").pack


def integer(bits: int) -> Reader:
    """A whole number of so many bits, also one stored as REAL."""
    least, most = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1

    def read(value: Value) -> Canonical:
        whole = isinstance(value, int) or (isinstance(value, float) and value.is_integer())
        return str(int(value)) if whole and least <= value <= most else IMPOSSIBLE  # type: ignore[arg-type]

    return read


def text(length: int | None) -> Reader:
    """Text without NUL, of at most ``length`` code points."""

    def read(value: Value) -> Canonical:
        fits = isinstance(value, str) and "\0" not in value and (length is None or len(value) <= length)
        return value if isinstance(value, str) and fits else IMPOSSIBLE

    return read


def integer_or_text(length: int | None) -> Reader:
    """Text as it is, and an integer as its decimal digits."""
    of_text = text(length)
    return lambda value: of_text(str(value) if isinstance(value, int) else value)


def number_as_text(length: int | None) -> Reader:
    """A number by declaration as its shortest exact decimal text."""
    of_text = text(length)
    return lambda value: of_text(repr(value)) if isinstance(value, (int, float)) else IMPOSSIBLE


def blob(value: Value) -> Canonical:
    """A blob, as it is."""
    return value if isinstance(value, bytes) else IMPOSSIBLE


def as_bytes(value: Value) -> Canonical:
    """A text or number by declaration as the UTF-8 bytes of its text; text that is not valid as the bytes it has."""
    match value:
        case str():
            return value.encode()
        case int() | float():
            return repr(value).encode()
        case Broken():
            return value.raw
    return IMPOSSIBLE


NULL_DOUBLE = b"\x7f\xf0\0\0\0\0\0\1"
"""What stands for NULL among the bytes of doubles. Should the target hold this NaN, the count of its NULLs differs."""


def packed_doubles(values: list[Any], nothing: bytes) -> bytes:
    """The bytes of :func:`double` one after the other. ``nothing`` is shorter than a double, so that bytes with it are
    no doubles of as many values."""
    if set(map(type, values)) == {float}:
        return struct.pack(f">{len(values)}d", *values)
    forms = (NULL_DOUBLE if value is None else double(value) for value in values)
    return b"".join(form if isinstance(form, bytes) else nothing for form in forms)


def double(value: Value) -> Canonical:
    """The eight bytes of an IEEE double, as float8send gives them; an integer only when a double holds it exactly."""
    if isinstance(value, float):
        return pack_double(value)
    if isinstance(value, int) and int(float(value)) == value:
        return pack_double(float(value))
    return IMPOSSIBLE


def boolean(value: Value) -> Canonical:
    """The integers 0 and 1."""
    return {0: "false", 1: "true"}.get(value, IMPOSSIBLE) if isinstance(value, int) else IMPOSSIBLE


# Wide enough for every double written out (309 digits before the point, 324 behind it) and for numeric(1000,500).
_EXACT = Context(prec=2500, Emin=-5000, Emax=5000, traps=[Inexact, InvalidOperation])
_ROUNDING = Context(prec=2500, Emin=-5000, Emax=5000, rounding=ROUND_HALF_UP, traps=[InvalidOperation])


def _decimal(value: Value) -> Decimal | None:
    """The shortest decimal that denotes the number, which is what its writer meant and what SQLite prints."""
    if not isinstance(value, (int, float)):
        return None
    found = Decimal(repr(value))
    return found if found.is_finite() else None


def _plain(number: Decimal) -> str:
    """Without exponent, and without the minus sign of a zero: numeric has none."""
    return f"{number if number else abs(number):f}"


def numeric(precision: int, scale: int) -> Reader:
    """A number that numeric(precision, scale) holds without rounding, as it prints it."""
    unit = Decimal(1).scaleb(-scale)

    def read(value: Value) -> Canonical:
        number = _decimal(value)
        if number is None:
            return IMPOSSIBLE
        try:
            return _fitted(number.quantize(unit, context=_EXACT), precision, scale)
        except (Inexact, InvalidOperation):
            return IMPOSSIBLE

    return read


def numeric_rounded(precision: int, scale: int) -> Reader:
    """A number rounded half away from zero to ``scale``, as declared by the plan."""
    unit = Decimal(1).scaleb(-scale)

    def read(value: Value) -> Canonical:
        number = _decimal(value)
        if number is None:
            return IMPOSSIBLE
        try:
            return _fitted(number.quantize(unit, context=_ROUNDING), precision, scale)
        except InvalidOperation:
            return IMPOSSIBLE

    return read


def _fitted(number: Decimal, precision: int, scale: int) -> Canonical:
    if abs(number) >= Decimal(1).scaleb(precision - scale):
        return IMPOSSIBLE
    return _plain(number)


def numeric_free(value: Value) -> Canonical:
    """A finite number for numeric without a scale, as trim_scale() of it prints: no zeros at the end."""
    number = _decimal(value)
    if number is None:
        return IMPOSSIBLE
    written = _plain(number)
    return written.rstrip("0").removesuffix(".") if "." in written else written


def day(value: Value) -> Canonical:
    """A calendar day, YYYY-MM-DD."""
    if isinstance(value, str) and re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", value):
        try:
            return date.fromisoformat(value).isoformat()
        except ValueError:
            pass
    return IMPOSSIBLE


_CLOCK = r"(?:[01][0-9]|2[0-3]):[0-5][0-9]"
_INSTANT = re.compile(
    rf"([0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}})(?:[ T]({_CLOCK})(?::([0-5][0-9])(?:\.([0-9]{{1,6}}))?)?"
    r"(Z|([+-])([01][0-9]|2[0-3])(?::?([0-5][0-9]))?)?)?"
)


def instant(zone: str) -> Reader:
    """An instant from ISO 8601 text, a bare one at UTC.

    ``zone`` is '+00' for timestamptz; with '' for timestamp, which has no zone, the text may name none.
    """

    def read(value: Value) -> Canonical:
        match = _INSTANT.fullmatch(value) if isinstance(value, str) else None
        if match is None:
            return IMPOSSIBLE
        day_text, clock, seconds, fraction, named_zone, sign, hours, minutes = match.groups()
        if named_zone and not zone:
            return IMPOSSIBLE
        try:
            written = f"{day_text}T{clock or '00:00'}:{seconds or '00'}.{fraction or '':0<6}"
            local = datetime.fromisoformat(written)
        except ValueError:
            return IMPOSSIBLE
        offset = timedelta(hours=int(hours or 0), minutes=int(minutes or 0))
        try:
            return _printed(local + offset if sign == "-" else local - offset, zone)
        except OverflowError:  # the offset leads out of the years 1 to 9999
            return IMPOSSIBLE

    return read


def _printed(moment: datetime, zone: str) -> str:
    """As PostgreSQL prints it with DateStyle ISO at UTC: no zeros at the end of the fraction."""
    written = moment.isoformat(" ")
    return (written.rstrip("0") if moment.microsecond else written) + zone


_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - all arithmetic here is UTC, without zones
_FIRST, _LAST = -62_135_596_800_000_000, 253_402_300_799_999_999  # microseconds: the years 1 to 9999


@dataclass(frozen=True)
class Unit:
    """How a column of numbers counts time."""

    per_second: int
    origin: int = 0
    """Where it begins, in seconds since 1970."""
    reals: bool = True
    """Whether a REAL is such a number as well."""


UNITS = {
    "epoch_s": Unit(1),
    "epoch_ms": Unit(1_000),
    "epoch_us": Unit(1_000_000),
    "epoch_ns": Unit(1_000_000_000, reals=False),
    "apple_s": Unit(1, 978_307_200),
    "apple_ns": Unit(1_000_000_000, 978_307_200, reals=False),
    "webkit_us": Unit(1_000_000, -11_644_473_600, reals=False),
}
"""The units by the names of their casts."""


def epoch(unit: Unit, zone: str) -> Reader:
    """An instant counted in a unit, when it is exact to the microsecond and within the years 1 to 9999."""

    def read(value: Value) -> Canonical:
        number = _decimal(value)
        if number is None or (isinstance(value, float) and not unit.reals):
            return IMPOSSIBLE
        micros = number * 1_000_000 / unit.per_second + unit.origin * 1_000_000
        if not _FIRST <= micros <= _LAST or micros % 1:
            return IMPOSSIBLE
        return _printed(_EPOCH + timedelta(microseconds=int(micros)), zone)

    return read


def julian(zone: str) -> Reader:
    """A Julian day number within the years 1 to 9999: the millisecond of which SQLite's division makes it, otherwise
    the microsecond nearest to it (half to even)."""

    def read(value: Value) -> Canonical:
        if not isinstance(value, (int, float)) or not 1_721_425.5 <= value < 5_373_484.5:
            return IMPOSSIBLE
        millis = round(Fraction(value) * 86_400_000)
        if millis / 86_400_000 == value:
            micros = (millis - 210_866_760_000_000) * 1000
        else:
            micros = round((Fraction(value) - Fraction(4_881_175, 2)) * 86_400_000_000)
        return _printed(_EPOCH + timedelta(microseconds=micros), zone)

    return read


def jsonb(value: Value) -> Canonical:
    """JSON text as jsonb prints it."""
    if not isinstance(value, str):
        return IMPOSSIBLE
    try:
        return jsonb_text(value)
    except NotJsonb:
        return IMPOSSIBLE


def _refuse(word: str) -> None:
    raise ValueError(word)


def json_verbatim(value: Value) -> Canonical:
    """JSON text for the type json, which keeps it as it is."""
    if not isinstance(value, str) or "\0" in value:
        return IMPOSSIBLE
    try:
        json.loads(value, parse_constant=_refuse, parse_int=str)
    except RecursionError:
        return value
    except ValueError:
        return IMPOSSIBLE
    return value
