"""Judges values where SQL cannot: whether a text is valid, which time it writes, what its JSON loses; digits."""

from __future__ import annotations

import codecs
import json
import re
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, NamedTuple

PLAIN, WIDE, NUL, INVALID = range(4)
"""What :func:`text_kind` says: ASCII, beyond ASCII, valid with a NUL in it, not valid."""
_PIECE = 1 << 20
"""Longer texts are judged in pieces of so many bytes: whole they would be in memory once more, fourfold at worst."""


def _pieces(data: bytes, encoding: str, errors: str) -> Iterator[str]:
    decoder = codecs.getincrementaldecoder(encoding)(errors)
    for at in range(0, len(data), _PIECE):
        yield decoder.decode(data[at : at + _PIECE], at + _PIECE >= len(data))


def text_kind(data: bytes, encoding: str) -> int:
    """Whether a text's bytes are valid in the database's encoding, and what of."""
    try:
        if len(data) > _PIECE:
            return max(map(_valid_kind, _pieces(data, encoding, "strict")))
        return _valid_kind(data.decode(encoding))
    except UnicodeDecodeError:
        return INVALID


def _valid_kind(text: str) -> int:
    if "\0" in text:
        return NUL
    return PLAIN if text.isascii() else WIDE


def utf8_size(data: bytes, encoding: str) -> int:
    """A text's bytes once it is UTF-8."""
    return sum(len(piece.encode()) for piece in _pieces(data, encoding, "replace"))


def characters(data: bytes, encoding: str) -> int:
    """A text's characters, NUL among them, where SQLite's length() ends."""
    return sum(map(len, _pieces(data, encoding, "replace")))


def fraction_digits(value: float) -> int:
    """Digits behind the point of the shortest decimal that is ``value``, which is finite."""
    return max(-int(Decimal(repr(value)).normalize().as_tuple().exponent), 0)


def whole_digits(value: float) -> int:
    """Digits before the point of the shortest decimal that is ``value``, which is finite: 0 below 1."""
    return max(Decimal(repr(value)).adjusted() + 1, 0) if value else 0


class TimeForm(NamedTuple):
    """How a text writes an instant; its str() is the to_char() pattern."""

    middle: str = ""
    """What stands between day and time: a space or T; empty for a day alone."""
    seconds: bool = False
    fraction: int = 0
    """Digits behind the seconds' point."""
    zone: str = ""
    """Z, +00:00, +0000 or +00."""

    def __str__(self) -> str:
        if not self.middle:
            return "YYYY-MM-DD"
        clock = "HH24:MI:SS" if self.seconds else "HH24:MI"
        fraction = {0: "", 3: ".MS", 6: ".US"}.get(self.fraction, f".F{self.fraction}")
        return "YYYY-MM-DD" + self.middle.replace("T", '"T"') + clock + fraction + _ZONES[self.zone][0]

    @property
    def characters(self) -> int:
        """How long a text of this form is."""
        clock = 9 if self.seconds else 6
        return 10 + (clock if self.middle else 0) + (self.fraction + 1 if self.fraction else 0) + len(self.zone)

    @property
    def tail(self) -> str:
        """A GLOB pattern for what follows the minutes or seconds, of offsets below ten hours."""
        return "." * (self.fraction > 0) + "[0-9]" * self.fraction + _ZONES[self.zone][1]


_ZONES = {
    "": ("", ""),
    "Z": ('"Z"', "Z"),
    "+00:00": ("TZH:TZM", "[-+]0[0-9]:[0-5][0-9]"),
    "+0000": ("TZHTZM", "[-+]0[0-9][0-5][0-9]"),
    "+00": ("TZH", "[-+]0[0-9]"),
}
_TIME = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)"
    r"(?:([ T])(\d\d):(\d\d)(?::(\d\d)(?:\.(\d{1,9}))?)?(?:(Z)|([+-])(\d\d)(?:(:?)(\d\d))?)?)?",
    re.ASCII,
)
LONGEST_TIME = 2 * len("YYYY-MM-DD HH:MM:SS.123456789+00:00")
"""Bytes of a time in any encoding; what is longer is none."""


def time_form(data: bytes, encoding: str) -> TimeForm | None:
    """The form of a text that is an instant within the years 1 to 9999 of UTC.

    Offsets reach to 15:59, as PostgreSQL's do. No form has leap seconds or the hour 24.
    """
    found = _TIME.fullmatch(data.decode(encoding, "replace")) if len(data) <= LONGEST_TIME else None
    if found is None:
        return None
    year, month, day, middle, hour, minute, second, fraction, utc, sign, ahead, colon, minutes = found.groups("")
    try:
        instant = datetime(int(year), int(month), int(day), int(hour or 0), int(minute or 0), int(second or 0), 0, UTC)
        if sign:
            if int(ahead) > 15 or int(minutes or 0) > 59:
                return None
            offset = timedelta(hours=int(ahead), minutes=int(minutes or 0))
            instant += offset if sign == "-" else -offset
    except (ValueError, OverflowError):
        return None
    zone = utc or ("+00" + colon + "00" * bool(minutes) if sign else "")
    return TimeForm(middle, bool(second), len(fraction), zone)


FITS, LOSSY, NO_JSON = range(3)
"""What :func:`json_kind` says: jsonb keeps it whole, jsonb does not, not valid as PostgreSQL's json takes it."""
DEPTH = 500
"""Levels of nesting that the load takes to jsonb."""
_ROOM = 10_000
"""PostgreSQL's own limit (max_stack_depth) lies at some thousand levels."""
_UNSTORABLE = re.compile("[\0\ud800-\udfff]")
_ESCAPED = re.compile(r"\\u(?:0000|[dD][89a-fA-F])")


class _Lossy(Exception):
    """jsonb does not keep everything."""


def json_kind(data: bytes, encoding: str) -> int:
    """How a text crosses into json and jsonb."""
    try:
        text = data.decode(encoding).strip(" \t\n\r")
        found, end = (_scan_quickly if len(text) < _LONG_INTEGER else _scan_carefully)(text, 0)
        if end != len(text):
            raise ValueError("something follows the value")
        if ("\\u" in text and _ESCAPED.search(text)) or (end > DEPTH and text.count("[") + text.count("{") > DEPTH):
            _walk(found)
    except (_Lossy, RecursionError):
        return LOSSY if _is_json(text) else NO_JSON
    except (ValueError, StopIteration):
        return NO_JSON
    return FITS


def _scanner(**hooks: Any) -> Callable[[str, int], tuple[Any, int]]:
    # JSONDecoder.decode() spends more on white space around a short value than on the value.
    scanner: Callable[[str, int], tuple[Any, int]]
    scanner = vars(json.JSONDecoder(parse_constant=_refuse, **hooks))["scan_once"]
    return scanner


def _is_json(text: str) -> bool:
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(max(limit, _ROOM))
    try:
        return _scan_laxly(text, 0)[1] == len(text)
    except (ValueError, StopIteration, RecursionError):
        return False
    finally:
        sys.setrecursionlimit(limit)


def _refuse(word: str) -> None:
    raise ValueError(word)


def _once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise _Lossy
    return found


def _in_range(text: str) -> str:
    # https://www.postgresql.org/docs/16/datatype-numeric.html: 131072 digits before and 16383 behind the point.
    if len(text) > 100 or "e" in text or "E" in text:
        try:
            number = Decimal(text)
        except ArithmeticError as error:
            raise _Lossy from error
        if number.adjusted() >= 131_072 or int(number.as_tuple().exponent) < -16_383:
            raise _Lossy
    return text


def _walk(value: Any) -> None:
    """_Lossy for what only an escape or many brackets can bring about."""
    waiting = [(value, 0)]
    while waiting:
        value, depth = waiting.pop()
        if isinstance(value, str) and _UNSTORABLE.search(value):
            raise _Lossy
        if isinstance(value, (list, dict)):
            if depth == DEPTH:
                raise _Lossy
            items = [*value, *value.values()] if isinstance(value, dict) else value
            waiting += [(item, depth + 1) for item in items]


_LONG_INTEGER = 4300
"""Digits from which Python makes no int."""
_scan_quickly = _scanner(object_pairs_hook=_once_each, parse_float=_in_range)
_scan_carefully = _scanner(object_pairs_hook=_once_each, parse_float=_in_range, parse_int=_in_range)
_scan_laxly = _scanner(parse_float=str, parse_int=str)
