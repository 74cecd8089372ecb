"""How the values of one column cross: what is read from SQLite, how blocks are converted, what is refused.

A cast converts a whole Arrow array exactly or raises; the caller bisects to the values at fault. So the
common case costs a few nanoseconds a value and no value is ever bent to fit. To add a cast: write its
``convert`` into ``arrays``, put it into ``_by_type`` or ``BY_NAME``, a line into the type matrix of the tests,
and its counterpart into ``verify``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import sqlalchemy as sa
from pgpq import encoders, schema
from sqlalchemy.dialects import postgresql as pg

from migration.errors import PlanError
from migration.load import arrays
from migration.load.arrays import FIRST, LAST, Convert, Inexact, fixed

Builder = Callable[[pa.Field], Any]
Number = Callable[[int | float], int | float | Decimal]

_AT_FAULT = (Inexact, pa.ArrowException, OverflowError, UnicodeEncodeError)
_TEXT, _INT, _NUMBER = ("text",), ("integer",), ("integer", "real")
_1970, _MICROSECOND = datetime(1970, 1, 1, tzinfo=UTC), timedelta(microseconds=1)


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

    @property
    def is_text(self) -> bool:
        """Whether the target takes any text."""
        return self.target == "text" or self.target.startswith("varchar")

    @property
    def mixes(self) -> bool:
        """Whether the block reader delivers integers as another class: as doubles, or as their digits."""
        return "integer" in self.classes and self.reads != pa.int64()

    def convert_one(self, value: Any, storage: str) -> Any:
        """What ``convert`` would give, for a value looked at by itself; Inexact when it cannot cross."""
        try:
            if self.number is not None and storage in ("integer", "real"):
                return pa.scalar(self.number(value), self.sends).as_py()
            if storage not in self.classes:
                raise Inexact
            return self._converted([value])[0]
        except _AT_FAULT as error:
            raise Inexact from error

    def convert_each(self, cells: Sequence[tuple[str, Any]]) -> list[Any]:
        """:meth:`convert_one` of storage classes and values; ``Inexact`` stands for what cannot cross."""
        try:
            plain = iter(self._converted([value for storage, value in cells if storage in self.classes]))
        except _AT_FAULT:
            return [self._or_inexact(value, storage) for storage, value in cells]
        return [
            next(plain) if storage in self.classes else self._or_inexact(value, storage) for storage, value in cells
        ]

    def _converted(self, values: list[Any]) -> list[Any]:
        """Values of ``classes``, converted; like ``convert``, it raises when one of them cannot cross."""
        if self.mixes and self.reads == pa.string():
            values = [str(value) for value in values]
        array = arrays.array_of(values, self.reads)
        converted = self.convert(array)
        if converted.type == arrays.UTC:  # whose to_pylist() would import pandas
            micros = converted.cast(pa.int64()).to_pylist()
            return [None if value is None else _1970 + value * _MICROSECOND for value in micros]
        return values if converted is array else converted.to_pylist()

    def _or_inexact(self, value: Any, storage: str) -> Any:
        try:
            return self.convert_one(value, storage)
        except Inexact:
            return Inexact

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


def _double(value: int | float) -> float:
    if float(value) != value:
        raise Inexact
    return float(value)


def _whole(value: int | float) -> int:
    if isinstance(value, float) and not value.is_integer():
        raise Inexact
    return int(value)


def _seconds(scale: int, words: str, origin: datetime = _1970) -> Cast:
    """Numbers since ``origin``, ``scale`` digits short of microseconds; a real is taken as its shortest decimal."""
    start = (origin - _1970) // _MICROSECOND

    def number(value: int | float) -> int:
        micros = fixed(value, scale, 10**18) + start
        if not FIRST <= micros <= LAST:
            raise Inexact
        return micros

    return _instant(_NUMBER, arrays.seconds(scale, start), f"{words} since {origin.year}, to the microsecond", number)


def _ticks(per_microsecond: int, words: str, origin: datetime = _1970) -> Cast:
    """Integers since ``origin``, so many to a microsecond."""
    convert = arrays.ticks(per_microsecond, (origin - _1970) // _MICROSECOND)
    return _instant(_INT, convert, f"integers, {words} since {origin.year}, to the microsecond")


def _instant(classes: tuple[str, ...], convert: Convert, words: str, number: Number | None = None) -> Cast:
    reads = pa.float64() if "real" in classes else pa.int64()
    rule = f"{words}, within the years 1 to 9999"
    return Cast("timestamp with time zone", classes, reads, arrays.UTC, convert, rule, number)


BY_NAME: dict[str, Cast] = {
    "epoch_s": _seconds(6, "seconds"),
    "epoch_ms": _seconds(3, "milliseconds"),
    "epoch_us": _seconds(0, "microseconds"),
    "epoch_ns": _ticks(1000, "nanoseconds"),
    "apple_s": _seconds(6, "seconds", datetime(2001, 1, 1, tzinfo=UTC)),
    "apple_ns": _ticks(1000, "nanoseconds", datetime(2001, 1, 1, tzinfo=UTC)),
    "webkit_us": _ticks(1, "microseconds", datetime(1601, 1, 1, tzinfo=UTC)),
    "julian": _instant(_NUMBER, arrays.julian, "Julian day numbers"),
}
"""Casts into ``timestamp with time zone`` that a plan can ask for by name."""
INTEGER_OR_TEXT = "integer_or_text"
"""The name of the cast of text and integers into text, where an integer becomes its decimal digits."""


def _jsonb_encoder(field: pa.Field) -> Any:
    return encoders.StringEncoderBuilder.new_with_output(field, schema.Jsonb())


def _integer(name: str, bits: int, sends: pa.DataType) -> Cast:
    rule = f"whole numbers from {-(2 ** (bits - 1))} to {2 ** (bits - 1) - 1}"
    return Cast(name, _INT, pa.int64(), sends, lambda array: pc.cast(array, sends), rule, _whole)


def _fixed_point(precision: int, scale: int) -> Cast:
    def number(value: int | float) -> Decimal:
        return Decimal(fixed(value, scale, 10**precision)).scaleb(-scale)

    name, sends = f"numeric({precision},{scale})", pa.decimal64(precision, scale)
    rule = f"numbers of at most {precision} digits, {scale} of them behind the point"
    convert = arrays.numeric(precision, scale)
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
            return Cast("boolean", _INT, pa.int64(), pa.bool_(), arrays.boolean, "the integers 0 and 1")
        case sa.Float(precision=int(p)) if p <= 24:
            return None  # single precision
        case sa.Float():
            rule = "numbers of a double"
            return Cast("double precision", _NUMBER, pa.float64(), pa.float64(), arrays.same, rule, _double)
        case sa.Numeric(precision=int(p), scale=int(s)) if 0 <= s <= p <= 18:
            return _fixed_point(p, s)
        case pg.JSONB():
            rule = "valid JSON text without repeated keys, NaN or \\u0000"
            return _string("jsonb", arrays.jsonb, rule, _jsonb_encoder)
        case sa.JSON():
            # COPY's binary form of json is its text: https://github.com/postgres/postgres/blob/REL_16_0/src/backend/utils/adt/json.c
            return _string("json", arrays.json, "valid JSON text without NaN or NUL")
        case sa.String(length=int(n)):
            rule = f"valid UTF-8 text of at most {n} characters, without NUL"
            return _string(f"varchar({n})", arrays.varchar(n), rule)
        case sa.String():
            return _string("text", arrays.text, "valid UTF-8 text without NUL")
        case sa.LargeBinary():
            return Cast("bytea", ("blob",), pa.binary(), pa.binary(), arrays.same, "blobs")
        case pg.TIMESTAMP(precision=int(p)) if p < 6:
            return None  # PostgreSQL would round
        case sa.DateTime(timezone=True):
            return _time(
                "timestamp with time zone", arrays.UTC, arrays.timestamptz, f"{_TIMES}, bare (UTC) or with a zone"
            )
        case sa.DateTime():
            return _time("timestamp", pa.timestamp("us"), arrays.timestamp, f"{_TIMES}, without a zone")
        case sa.Date():
            return _time("date", pa.date32(), arrays.date, "dates as YYYY-MM-DD")
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
    if name == INTEGER_OR_TEXT:
        if implied is not None and implied.is_text:
            return replace(implied, classes=("text", "integer"), rule=f"integers and {implied.rule}")
        leads = "text and varchar"
    elif cast is None:
        known = ", ".join([*BY_NAME, INTEGER_OR_TEXT])
        raise PlanError(f"Table {table}, column {column}: there is no cast {name!r}; there are {known}.")
    elif implied is not None and implied.target == cast.target:
        return cast
    else:
        leads = cast.target
    raise PlanError(
        f"Table {table}, column {column}: the cast {name} leads to {leads}, and the target's column is {kind!r}."
    )
