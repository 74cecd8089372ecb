"""Converts whole Arrow arrays exactly, or raises: what the casts are made of.

pyarrow imports pandas, 0.2 s and 40 MB, for the first value of Python or numpy that it makes its own. A load does
without: arrays are made of buffers, constants too.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from migration.load.jsontext import UNUSUAL, USUAL_BYTES, are_plain, fits_json, fits_jsonb


class Inexact(ValueError):
    """Some value of the array has no exact form in the target type."""


Convert = Callable[[pa.Array], pa.Array]


def array_of(values: Iterable[Any], kind: pa.DataType) -> pa.Array:
    """What ``pa.array(values, kind)`` makes, by way of their text.

    Raises Inexact, ArrowException or UnicodeEncodeError for what ``kind`` does not hold.
    """
    builder = pa.lib.StringBuilder()
    for value in values:
        if kind == pa.float64() and isinstance(value, int) and float(value) != value:
            raise Inexact
        builder.append(value if value is None or isinstance(value, (str, bytes)) else str(value))
    return pc.cast(builder.finish(), kind)


def _buffered(values: np.ndarray) -> pa.Array:
    kinds = {"i": pa.int64(), "f": pa.float64()}
    return pa.Array.from_buffers(kinds[values.dtype.kind], len(values), [None, pa.py_buffer(values)])


def _constant(value: int | float) -> pa.Scalar:
    return _buffered(np.array([value]))[0]


def _values(array: pa.Array, of_null: float) -> np.ndarray:
    """The doubles of an array, with a value for NULL."""
    filled = pc.fill_null(array, _constant(of_null)) if array.null_count else array
    (_, data), start = filled.buffers(), filled.offset
    return np.frombuffer(data or b"", np.float64)[start : start + len(filled)]


def _with_nulls(values: np.ndarray, array: pa.Array) -> pa.Array:
    """The integers as an array, NULL where ``array`` is."""
    made = _buffered(values)
    return pc.if_else(array.is_valid(), made, pa.nulls(1, made.type)[0]) if array.null_count else made


def same(array: pa.Array) -> pa.Array:
    """As it is."""
    return array


def text(array: pa.Array) -> pa.Array:
    """Valid UTF-8 without NUL."""
    array.validate(full=True)  # UTF-8
    # PostgreSQL's text has no NUL. Bytes behind a NULL are no value's, so a hit is looked at again.
    if _has_nul(array) and pc.any(pc.match_substring(array, "\0")).as_py():
        raise Inexact
    return array


def _has_nul(array: pa.Array) -> bool:
    """Whether a NUL is among the bytes of the array's texts, of a slice only its own."""
    _, offsets, data = array.buffers()
    if data is None or not len(array):
        return False
    own = np.frombuffer(offsets, np.int32)[array.offset : array.offset + len(array) + 1]
    octets = np.frombuffer(data, np.uint8)[own[0] : own[-1]]
    return bool(len(octets)) and octets.min() == 0  # numpy's minimum reads many bytes at once, and copies none


def varchar(length: int) -> Convert:
    """Text of at most ``length`` code points, which is what varchar(n) counts."""

    def convert(array: pa.Array) -> pa.Array:
        array = text(array)
        for size in (pc.binary_length, pc.utf8_length):  # no text has more characters than bytes
            longest = pc.max(size(array)).as_py()
            if longest is None or longest <= length:
                return array
        raise Inexact

    return convert


def documents(fits: Callable[[str], bool]) -> Convert:
    """JSON text that ``fits``."""
    most = _constant(USUAL_BYTES)

    def convert(array: pa.Array) -> pa.Array:
        found = pc.drop_null(pc.unique(text(array)))
        unusual = pc.or_(pc.match_substring_regex(found, UNUSUAL), pc.greater(pc.binary_length(found), most))
        usual = pc.filter(found, pc.invert(unusual)).cast(pa.binary()).to_pylist()
        singly = pc.filter(found, unusual).to_pylist()
        if not are_plain(usual):
            singly += map(bytes.decode, usual)
        if not all(map(fits, singly)):
            raise Inexact
        return array

    return convert


json, jsonb = documents(fits_json), documents(fits_jsonb)


def boolean(array: pa.Array) -> pa.Array:
    """The integers 0 and 1."""
    bounds = pc.min_max(array).as_py()
    if bounds["min"] is not None and (bounds["min"] < 0 or bounds["max"] > 1):
        raise Inexact
    return array.cast(pa.bool_())


def fixed(value: int | float, scale: int, limit: int) -> int:
    """The shortest decimal of ``value`` in units of 10**-scale; Inexact unless whole, below ``limit``."""
    if not math.isfinite(value):
        raise Inexact
    number = Decimal(repr(value)).scaleb(scale)
    if number != number.to_integral_value() or abs(number) >= limit:
        raise Inexact
    return int(number)


def all_fixed(array: pa.Array, scale: int, limit: int) -> pa.Array:
    """:func:`fixed` of an array of doubles.

    n / 10**scale is the double nearest to that decimal (IEEE 754 division rounds correctly). Below 10**15 no
    two decimals of one scale share a double, so n is the shortest; above, each value is looked at.
    """
    values = _values(array, 0.0)
    with np.errstate(all="ignore"):
        scaled = np.rint(values * 10.0**scale)
        certain = np.abs(scaled) < 1e15
        exact = certain & (scaled / 10.0**scale == values)
    whole = np.where(exact, scaled, 0).astype(np.int64)
    if not exact.all():
        if (certain & ~exact).any():
            raise Inexact
        for place in np.flatnonzero(~exact):
            whole[place] = fixed(float(values[place]), scale, limit)
    if (np.abs(whole) >= limit).any():
        raise Inexact
    return _with_nulls(whole, array)


def numeric(precision: int, scale: int) -> Convert:
    """Doubles whose shortest decimals numeric(precision, scale) holds."""

    def convert(array: pa.Array) -> pa.Array:
        whole = all_fixed(array, scale, 10**precision)
        kind = pa.decimal64(precision, scale)
        return pa.Array.from_buffers(kind, len(whole), whole.buffers(), whole.null_count)

    return convert


UTC = pa.timestamp("us", "UTC")
_DAY, _HOURS = (_constant(len(form)) for form in ("YYYY-MM-DD", "YYYY-MM-DD HH"))
FIRST, LAST = -62_135_596_800_000_000, 253_402_300_799_999_999
"""Microseconds of the years 1 to 9999: what four digits of a year and every client of PostgreSQL can say."""
_ZONED = r"\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d(:?\d\d)?)$"


def timestamptz(array: pa.Array) -> pa.Array:
    """ISO 8601 text, 'T' or a space in the middle, to the microsecond; bare means UTC, as in SQLite."""
    zoned = pc.match_substring_regex(array, _ZONED)
    if pc.all(zoned).as_py() is not False:
        return _within(pc.cast(array, UTC))
    none = pa.nulls(1, array.type)[0]
    bare = timestamp(pc.if_else(zoned, none, array)).cast(UTC)
    if pc.any(zoned).as_py():
        return pc.coalesce(bare, _within(pc.cast(pc.if_else(zoned, array, none), UTC)))
    return bare


def timestamp(array: pa.Array) -> pa.Array:
    """Arrow's parser refuses 30 February, 24:00 and leap seconds by itself. Hours alone it would take."""
    if pc.any(pc.equal(pc.binary_length(array), _HOURS)).as_py():
        raise Inexact
    return _within(pc.cast(array, pa.timestamp("us")))


def date(array: pa.Array) -> pa.Array:
    """YYYY-MM-DD."""
    if pc.any(pc.not_equal(pc.binary_length(array), _DAY)).as_py():
        raise Inexact
    dates = pc.cast(array, pa.date32())
    _within(dates.cast(pa.timestamp("us")))
    return dates


def _within(times: pa.Array) -> pa.Array:
    bounds = pc.min_max(times.cast(pa.int64())).as_py()
    if bounds["min"] is not None and not FIRST <= bounds["min"] <= bounds["max"] <= LAST:
        raise Inexact
    return times


def seconds(scale: int, origin: int) -> Convert:
    """Doubles that count from ``origin`` (microseconds since 1970), ``scale`` digits short of microseconds."""

    start = _constant(origin)

    def convert(array: pa.Array) -> pa.Array:
        return _within(pc.add(all_fixed(array, scale, 10**18), start).cast(UTC))

    return convert


def ticks(per_microsecond: int, origin: int) -> Convert:
    """Integers that count so many to a microsecond, from ``origin`` (microseconds since 1970)."""

    each, start = _constant(per_microsecond), _constant(origin)

    def convert(array: pa.Array) -> pa.Array:
        micros = pc.divide(array, each)
        if pc.any(pc.not_equal(pc.multiply(micros, each), array)).as_py():
            raise Inexact
        return _within(pc.add_checked(micros, start).cast(UTC))

    return convert


def julian(array: pa.Array) -> pa.Array:
    """Julian day numbers: each the millisecond of which SQLite makes it, otherwise the nearest microsecond.

    SQLite counts milliseconds and divides them (https://sqlite.org/src/file/src/date.c). All is exact: within the years
    1 to 9999 a double counts in 2**-32 days, of which 2**19 are 10,546,875 microseconds. They are 20 to 80 microseconds
    long, so no two doubles meet, and each is found back.
    """
    days = _values(array, 2_440_587.5)
    if not ((days >= 1_721_425.5) & (days < 5_373_484.5)).all():
        raise Inexact
    whole = np.floor(days)
    parts = ((days - whole) * 2.0**32).astype(np.int64) * 10_546_875
    micros, rest = parts >> 19, parts & (2**19 - 1)
    micros += (rest > 2**18) | ((rest == 2**18) & (micros & 1 == 1))
    millis = np.rint(micros / 1000).astype(np.int64)
    of_sqlite = (whole.astype(np.int64) * 86_400_000 + millis) / 86_400_000.0 == days
    micros = np.where(of_sqlite, millis * 1000, micros)
    since_1970 = whole.astype(np.int64) * 86_400_000_000 - 210_866_760_000_000_000 + micros
    return _with_nulls(since_1970, array).cast(UTC)
