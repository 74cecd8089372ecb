"""What a SQLite value must be in PostgreSQL: the judge's own words for each type, none of them the engine's.

A cell is compared as bytes. ``expected`` says which bytes a source value must come to; ``shown`` is the SQL expression
by which PostgreSQL tells its own. A value that has no form in the type comes to bytes that PostgreSQL never tells.
"""

from __future__ import annotations

import json
import re
import struct
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from fractions import Fraction
from typing import Any

from psycopg import sql


@dataclass(frozen=True)
class Stored:
    """A value as SQLite has it: its storage class, and the value (texts and blobs as raw bytes)."""

    kind: str
    value: Any


NULL = Stored("null", None)
FORMLESS = b"\xff no form: "


def formless(stored: Stored) -> bytes:
    """What no PostgreSQL value is told as."""
    return FORMLESS + repr(stored).encode()


@dataclass(frozen=True)
class Cell:
    """How the values of one target column are judged."""

    type: str
    """As PostgreSQL's format_type writes it."""
    cast: str | None
    encoding: str
    """Of the SQLite file's texts."""

    def expected(self, stored: Stored) -> bytes | None:
        """The bytes that PostgreSQL must tell; None for NULL."""
        if stored.kind == "null":
            return None
        try:
            return self._judge(stored)
        except (ValueError, OverflowError, InvalidOperation, ArithmeticError, RecursionError):
            return formless(stored)

    def altered(self, stored: Stored, action: str) -> bytes | None:
        """What a value must be after a declared alteration."""
        if action == "null":
            return None
        octets = self._octets(stored)
        match action:
            case "round":
                scale = int(re.split(r"[(,)]", self.type)[2]) if "," in self.type else 0
                return _decimal(Decimal(str(stored.value)).quantize(Decimal(1).scaleb(-scale), ROUND_HALF_UP))
            case "strip":
                return octets.replace(b"\0", b"")
            case "text" | "bytes":
                return octets
        return formless(stored)

    def shown(self, column: sql.Composable) -> sql.Composed:
        """PostgreSQL's side, of type bytea."""
        base = self.type.split("(")[0]
        pattern = {
            "bytea": "{}",
            "double precision": "float8send({})",
            "timestamp with time zone": _MICROS,
            "timestamp without time zone": _MICROS,
        }.get(base, "convert_to({}::text, 'UTF8')")
        return sql.SQL(pattern).format(column)

    def told(self, octets: bytes | None) -> bytes | None:
        """PostgreSQL's bytes in the one form of equal values."""
        if octets is None:
            return None
        base = self.type.split("(")[0]
        if base == "numeric":
            return _decimal(Decimal(octets.decode()))
        return _document(octets.decode()) if base == "jsonb" else octets

    def _octets(self, stored: Stored) -> bytes:
        """A text as UTF-8, a blob as it is, a number as its shortest decimal."""
        if stored.kind in ("text", "blob"):
            utf8 = stored.kind == "blob" or self.encoding == "utf-8"
            return bytes(stored.value) if utf8 else str(stored.value.decode(self.encoding)).encode()
        return repr(stored.value).encode()

    def _text(self, stored: Stored) -> str:
        if stored.kind != "text":
            raise ValueError
        return str(stored.value.decode(self.encoding))

    def _judge(self, stored: Stored) -> bytes:
        match self.type.split("(")[0]:
            case "bytea":
                return _only("blob", stored)
            case "text" | "character varying" | "json":
                if stored.kind == "integer" and self.cast == "integer_or_text":
                    return str(stored.value).encode()
                return self._text(stored).encode()
            case "smallint" | "integer" | "bigint":
                return str(_whole(stored)).encode()
            case "double precision":
                return _double(stored)
            case "numeric":
                return _decimal(Decimal(repr(_number(stored))))
            case "boolean":
                return self._boolean(stored)
            case "date":
                return date.fromisoformat(_ten(self._text(stored))).isoformat().encode()
            case "timestamp with time zone":
                micros = _epoch(self.cast, _number(stored)) if self.cast else _instant(self._text(stored), zoned=True)
                return str(micros).encode()
            case "timestamp without time zone":
                return str(_instant(self._text(stored), zoned=False)).encode()
            case "jsonb":
                return _document(self._text(stored))
        raise ValueError(self.type)

    def _boolean(self, stored: Stored) -> bytes:
        words = {"1": b"true", "t": b"true", "true": b"true", "y": b"true", "yes": b"true", "on": b"true"}
        words |= {"0": b"false", "f": b"false", "false": b"false", "n": b"false", "no": b"false", "off": b"false"}
        if stored.kind == "integer":
            return words[str(stored.value)] if stored.value in (0, 1) else formless(stored)
        return words.get(self._text(stored).lower(), formless(stored)) if self.cast else formless(stored)


_MICROS = "convert_to((extract(epoch FROM {}) * 1000000)::bigint::text, 'UTF8')"
_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001  # the arithmetic is on UTC throughout
_TIME = re.compile(r"(\d{4}-\d\d-\d\d)(?:[T ](\d\d):(\d\d)(?::(\d\d)(?:\.(\d+))?)?)?(Z|[+-]\d\d(?::?\d\d)?)?", re.ASCII)


def _only(kind: str, stored: Stored) -> bytes:
    if stored.kind != kind:
        raise ValueError
    return bytes(stored.value)


def _number(stored: Stored) -> int | float:
    if stored.kind not in ("integer", "real"):
        raise ValueError
    return stored.value  # type: ignore[no-any-return]


def _whole(stored: Stored) -> int:
    number = _number(stored)
    if isinstance(number, float) and (number != int(number) or str(number) == "-0.0"):
        raise ValueError
    return int(number)


def _double(stored: Stored) -> bytes:
    number = _number(stored)
    if float(number) != number:
        raise ValueError
    return struct.pack(">d", number)


def _decimal(number: Decimal) -> bytes:
    if not number.is_finite():
        raise ValueError
    plain = format(number, "f")
    if "." in plain:
        plain = plain.rstrip("0").rstrip(".")
    return b"0" if plain in ("-0", "0", "") else plain.encode()


def _ten(text: str) -> str:
    if not re.fullmatch(r"\d{4}-\d\d-\d\d", text, re.ASCII):
        raise ValueError
    return text


def _instant(text: str, *, zoned: bool) -> int:
    """Microseconds since 1970 of an ISO 8601 text, bare meaning UTC."""
    match = _TIME.fullmatch(text)
    if match is None or (match[6] and not zoned):
        raise ValueError
    day = date.fromisoformat(match[1])
    fraction = (match[5] or "").ljust(6, "0")
    if fraction[6:].strip("0"):
        raise ValueError
    hour, minute, second = (int(match[n] or 0) for n in (2, 3, 4))
    moment = datetime(day.year, day.month, day.day, hour, minute, second, int(fraction[:6]))  # noqa: DTZ001
    offset = timedelta()
    if match[6] and match[6] != "Z":
        digits = match[6][1:].replace(":", "").ljust(4, "0")
        offset = timedelta(hours=int(digits[:2]), minutes=int(digits[2:])) * (-1 if match[6][0] == "-" else 1)
    return (moment - offset - _EPOCH) // timedelta(microseconds=1)


_SINCE: dict[str, tuple[int, Fraction]] = {
    "epoch_s": (1970, Fraction(10**6)),
    "epoch_ms": (1970, Fraction(10**3)),
    "epoch_us": (1970, Fraction(1)),
    "epoch_ns": (1970, Fraction(1, 1000)),
    "apple_s": (2001, Fraction(10**6)),
    "apple_ns": (2001, Fraction(1, 1000)),
    "webkit_us": (1601, Fraction(1)),
}
"""Where a cast's numbers count from, and how many microseconds each is."""


def _epoch(cast: str, number: int | float) -> int:
    if cast == "julian":
        return _julian(number)
    year, each = _SINCE[cast]
    micros = Fraction(Decimal(repr(number))) * each
    if micros.denominator != 1:
        raise ValueError
    return int(micros) + (datetime(year, 1, 1) - _EPOCH) // timedelta(microseconds=1)  # noqa: DTZ001


def _julian(days: int | float) -> int:
    """SQLite counts milliseconds and divides them; what is no such quotient is a microsecond, the nearest."""
    whole = round(Fraction(days) * 86_400_000)
    exact = Fraction(whole * 1000) if whole / 86_400_000 == days else Fraction(days) * 86_400_000_000
    return round(exact) - 210_866_760_000_000_000


def _document(text: str) -> bytes:
    """JSON as a value: no order of keys, no spelling of numbers or strings."""
    value = json.loads(text, parse_float=Decimal, parse_int=Decimal, parse_constant=_refuse, object_pairs_hook=_object)
    return repr(_plain(value)).encode("utf-8", "surrogatepass")


def _refuse(constant: str) -> Any:
    raise ValueError(constant)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len({k for k, _ in pairs}) < len(pairs):
        raise ValueError("a key stands twice")
    return dict(pairs)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return ("{", sorted((k, _plain(v)) for k, v in value.items()))
    if isinstance(value, list):
        return ("[", [_plain(v) for v in value])
    return ("n", _decimal(value)) if isinstance(value, Decimal) else (type(value).__name__, value)
