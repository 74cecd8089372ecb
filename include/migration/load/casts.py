"""How the values of one column cross: what is read from SQLite, how blocks are converted, what is refused.

A cast converts a whole Arrow array exactly or raises; the caller bisects to the values at fault. So the
common case costs a few nanoseconds a value and no value is ever bent to fit. To add a cast: write its
``convert``, put it into ``_by_type`` or ``BY_NAME``, a line into the type matrix of the tests, and its
counterpart into ``verify``.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import sqlalchemy as sa
from pgpq import encoders, schema
from sqlalchemy.dialects import postgresql as pg

from migration.errors import PlanError
from migration.load.jsontext import fits_jsonb


class Inexact(ValueError):
    """Some value of the array has no exact form in the target type."""


Convert = Callable[[pa.Array], pa.Array]
Builder = Callable[[pa.Field], Any]
Number = Callable[[int | float], int | float | Decimal]

_TEXT, _INT, _NUMBER = ("text",), ("integer",), ("integer", "real")


@dataclass(frozen=True)
class Cast:
    """One way from SQLite storage classes into one PostgreSQL type."""

    target: str
    """The PostgreSQL type, for messages."""
    classes: tuple[str, ...]
    """Storage classes that the block reader lets through; rows with others are looked at one by one."""
    reads: pa.DataType
    """The Arrow type in which the block reader delivers the column."""
    sends: pa.DataType
    """The Arrow type of the converted array."""
    convert: Convert
    rule: str
    """What a value must be, as the end of a sentence: 'the column takes …'."""
    number: Number | None = None
    """Converts one number of any size, also of a class that blocks do not let through; Inexact."""
    encoder: Builder | None = None
    """COPY encoder where it is not the one that ``sends`` implies."""
    scale: int | None = None
    """Fractional digits, for casts that can round by declaration."""

    def convert_one(self, value: Any, storage: str) -> Any:
        """What ``convert`` would give, for rows looked at one by one; Inexact when the value cannot cross."""
        try:
            if self.number is not None and storage in ("integer", "real"):
                return pa.scalar(self.number(value), self.sends).as_py()
            if storage not in self.classes:
                raise Inexact
            array = pa.array([value], self.reads)
            converted = self.convert(array)
            return value if converted is array else converted[0].as_py()
        except (pa.ArrowException, OverflowError, UnicodeEncodeError) as error:
            raise Inexact from error

    def rounded(self, value: Any) -> Decimal:
        """A number, rounded half away from zero to ``scale``; Inexact when even that does not fit."""
        if self.scale is None or not isinstance(value, (int, float)) or not math.isfinite(value):
            raise Inexact
        try:
            result = Decimal(repr(value)).quantize(Decimal(1).scaleb(-self.scale), ROUND_HALF_UP)
        except InvalidOperation as error:  # more digits than any column takes
            raise Inexact from error
        if len(result.as_tuple().digits) > self.sends.precision:
            raise Inexact
        return result


def _same(array: pa.Array) -> pa.Array:
    return array


def _double(value: int | float) -> float:
    if float(value) != value:
        raise Inexact
    return float(value)


def _whole(value: int | float) -> int:
    if isinstance(value, float) and not value.is_integer():
        raise Inexact
    return int(value)


def _text(array: pa.Array) -> pa.Array:
    array.validate(full=True)  # UTF-8
    # PostgreSQL's text has no NUL. Bytes behind a NULL are no value's, so a hit is looked at again.
    if b"\0" in _bytes(array) and pc.any(pc.match_substring(array, "\0")).as_py():
        raise Inexact
    return array


def _bytes(array: pa.Array) -> bytes:
    """The bytes of all texts of the array, of a slice only its own."""
    _, offsets, data = array.buffers()
    if data is None or not len(array):
        return b""
    own = np.frombuffer(offsets, np.int32)[array.offset : array.offset + len(array) + 1]
    return memoryview(data)[own[0] : own[-1]].tobytes()


def _varchar(length: int) -> Convert:
    def convert(array: pa.Array) -> pa.Array:
        array = _text(array)
        longest = pc.max(pc.utf8_length(array)).as_py()  # code points, which is what varchar(n) counts
        if longest is not None and longest > length:
            raise Inexact
        return array

    return convert


def _fixed(value: int | float, scale: int, limit: int) -> int:
    """The shortest decimal of ``value`` in units of 10**-scale; Inexact unless whole, below ``limit``."""
    if not math.isfinite(value):
        raise Inexact
    number = Decimal(repr(value)).scaleb(scale)
    if number != number.to_integral_value() or abs(number) >= limit:
        raise Inexact
    return int(number)


def _all_fixed(array: pa.Array, scale: int, limit: int) -> pa.Array:
    """:func:`_fixed` of an array of doubles.

    n / 10**scale is the double nearest to that decimal (IEEE 754 division rounds correctly). Below 10**15 no
    two decimals of one scale share a double, so n is the shortest; above, each value is looked at.
    """
    values = array.fill_null(0.0).to_numpy(zero_copy_only=False)
    with np.errstate(all="ignore"):
        scaled = np.rint(values * 10.0**scale)
        certain = np.abs(scaled) < 1e15
        exact = certain & (scaled / 10.0**scale == values)
    whole = np.where(exact, scaled, 0).astype(np.int64)
    if not exact.all():
        if (certain & ~exact).any():
            raise Inexact
        for place in np.flatnonzero(~exact):
            whole[place] = _fixed(float(values[place]), scale, limit)
    if (np.abs(whole) >= limit).any():
        raise Inexact
    return pa.array(whole, mask=array.is_null().to_numpy(zero_copy_only=False))


def _numeric(precision: int, scale: int) -> Convert:
    def convert(array: pa.Array) -> pa.Array:
        whole = _all_fixed(array, scale, 10**precision)
        kind = pa.decimal64(precision, scale)
        return pa.Array.from_buffers(kind, len(whole), whole.buffers(), whole.null_count)

    return convert


_ZONED = r"\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d(:?\d\d)?)$"
_UTC = pa.timestamp("us", "UTC")
# Microseconds of the years 1 to 9999: what four digits of a year and every client of PostgreSQL can say.
_FIRST, _LAST = -62_135_596_800_000_000, 253_402_300_799_999_999


def _timestamptz(array: pa.Array) -> pa.Array:
    """ISO 8601 text, 'T' or a space in the middle, to the microsecond; bare means UTC, as in SQLite."""
    zoned = pc.match_substring_regex(array, _ZONED)
    if pc.all(zoned).as_py() is not False:
        return _within(pc.cast(array, _UTC))
    bare = _timestamp(pc.if_else(zoned, None, array)).cast(_UTC)
    if pc.any(zoned).as_py():
        return pc.coalesce(bare, _within(pc.cast(pc.if_else(zoned, array, None), _UTC)))
    return bare


def _timestamp(array: pa.Array) -> pa.Array:
    """Arrow's parser refuses 30 February, 24:00 and leap seconds by itself. Hours alone it would take."""
    if pc.any(pc.equal(pc.binary_length(array), len("YYYY-MM-DD HH"))).as_py():
        raise Inexact
    return _within(pc.cast(array, pa.timestamp("us")))


def _date(array: pa.Array) -> pa.Array:
    if pc.any(pc.not_equal(pc.binary_length(array), len("YYYY-MM-DD"))).as_py():
        raise Inexact
    dates = pc.cast(array, pa.date32())
    _within(dates.cast(pa.timestamp("us")))
    return dates


def _within(times: pa.Array) -> pa.Array:
    bounds = pc.min_max(times.cast(pa.int64())).as_py()
    if bounds["min"] is not None and not _FIRST <= bounds["min"] <= bounds["max"] <= _LAST:
        raise Inexact
    return times


def _epoch(scale: int, words: str) -> Cast:
    """Numbers since 1970, ``scale`` digits short of microseconds; a real is taken as its shortest decimal."""

    def number(value: int | float) -> int:
        micros = _fixed(value, scale, 10**18)
        if not _FIRST <= micros <= _LAST:
            raise Inexact
        return micros

    def convert(array: pa.Array) -> pa.Array:
        return _within(_all_fixed(array, scale, 10**18).cast(_UTC))

    rule = f"{words} since 1970, to the microsecond, within the years 1 to 9999"
    return Cast("timestamp with time zone", _NUMBER, pa.float64(), _UTC, convert, rule, number)


def _jsonb(array: pa.Array) -> pa.Array:
    if not all(value is None or fits_jsonb(value) for value in pc.unique(_text(array)).to_pylist()):
        raise Inexact
    return array


def _boolean(array: pa.Array) -> pa.Array:
    bounds = pc.min_max(array).as_py()
    if bounds["min"] is not None and (bounds["min"] < 0 or bounds["max"] > 1):
        raise Inexact
    return array.cast(pa.bool_())


def _jsonb_encoder(field: pa.Field) -> Any:
    return encoders.StringEncoderBuilder.new_with_output(field, schema.Jsonb())


BY_NAME: dict[str, Cast] = {
    "epoch_s": _epoch(6, "seconds"),
    "epoch_ms": _epoch(3, "milliseconds"),
    "epoch_us": _epoch(0, "microseconds"),
}
"""Casts that a plan can ask for by name; all lead to ``timestamp with time zone``."""


def _integer(name: str, bits: int, sends: pa.DataType) -> Cast:
    rule = f"whole numbers from {-(2 ** (bits - 1))} to {2 ** (bits - 1) - 1}"
    return Cast(name, _INT, pa.int64(), sends, lambda array: pc.cast(array, sends), rule, _whole)


def _fixed_point(precision: int, scale: int) -> Cast:
    def number(value: int | float) -> Decimal:
        return Decimal(_fixed(value, scale, 10**precision)).scaleb(-scale)

    name, sends = f"numeric({precision},{scale})", pa.decimal64(precision, scale)
    rule = f"numbers of at most {precision} digits, {scale} of them behind the point"
    convert = _numeric(precision, scale)
    return Cast(name, _NUMBER, pa.float64(), sends, convert, rule, number, scale=scale)


def _string(name: str, convert: Convert, rule: str, encoder: Builder | None = None) -> Cast:
    return Cast(name, _TEXT, pa.string(), pa.string(), convert, rule, encoder=encoder)


def _time(name: str, sends: pa.DataType, convert: Convert, rule: str) -> Cast:
    return Cast(name, _TEXT, pa.string(), sends, convert, rule)


_TIMES = "times as YYYY-MM-DD HH:MM:SS, to the microsecond"


def _by_type(kind: sa.types.TypeEngine[Any]) -> Cast | None:
    """The cast that a target type implies; first match wins, so narrower classes stand before wider ones."""
    match kind:
        case sa.REAL() | sa.CHAR() | sa.NCHAR() | sa.Enum():
            return None  # PostgreSQL would round, pad or refuse the value
        case sa.SmallInteger():
            return _integer("smallint", 16, pa.int16())
        case sa.BigInteger():
            return _integer("bigint", 64, pa.int64())
        case sa.Integer():
            return _integer("integer", 32, pa.int32())
        case sa.Boolean():
            return Cast("boolean", _INT, pa.int64(), pa.bool_(), _boolean, "the integers 0 and 1")
        case sa.Float(precision=int(p)) if p <= 24:
            return None  # single precision
        case sa.Float():
            return Cast("double precision", _NUMBER, pa.float64(), pa.float64(), _same, "numbers of a double", _double)
        case sa.Numeric(precision=int(p), scale=int(s)) if 0 <= s <= p <= 18:
            return _fixed_point(p, s)
        case pg.JSONB():
            rule = "valid JSON text without repeated keys, NaN or \\u0000"
            return _string("jsonb", _jsonb, rule, _jsonb_encoder)
        case sa.String(length=int(n)):
            rule = f"valid UTF-8 text of at most {n} characters, without NUL"
            return _string(f"varchar({n})", _varchar(n), rule)
        case sa.String():
            return _string("text", _text, "valid UTF-8 text without NUL")
        case sa.LargeBinary():
            return Cast("bytea", ("blob",), pa.binary(), pa.binary(), _same, "blobs")
        case pg.TIMESTAMP(precision=int(p)) if p < 6:
            return None  # PostgreSQL would round
        case sa.DateTime(timezone=True):
            return _time("timestamp with time zone", _UTC, _timestamptz, f"{_TIMES}, bare (UTC) or with a zone")
        case sa.DateTime():
            return _time("timestamp", pa.timestamp("us"), _timestamp, f"{_TIMES}, without a zone")
        case sa.Date():
            return _time("date", pa.date32(), _date, "dates as YYYY-MM-DD")
    return None


def cast_for(table: str, column: str, kind: sa.types.TypeEngine[Any], name: str | None) -> Cast:
    """The cast that the plan names, or what the target's type implies; PlanError when there is none."""
    if name is not None:
        return _named(table, column, kind, name)
    cast = _by_type(kind)
    if cast is None:
        raise PlanError(
            f"Table {table}, column {column}: no cast leads to {kind!r}. Declare another type in the models, "
            "or name the column under exclude_columns."
        )
    return cast


def _named(table: str, column: str, kind: sa.types.TypeEngine[Any], name: str) -> Cast:
    cast, implied = BY_NAME.get(name), _by_type(kind)
    if cast is None:
        raise PlanError(f"Table {table}, column {column}: there is no cast {name!r}; there are {', '.join(BY_NAME)}.")
    if implied is None or implied.target != cast.target:
        raise PlanError(
            f"Table {table}, column {column}: the cast {name} leads to {cast.target}, "
            f"and the target's column is {kind!r}."
        )
    return cast
