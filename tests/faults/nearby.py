"""Values that lie as near to a given one as its type allows: what a faulty loader would leave in its place.

Values are PostgreSQL's own texts, None for NULL. ``near("text", "café", chance)`` gives labelled others.
"""

from __future__ import annotations

import json
import math
import struct
import unicodedata
from collections.abc import Callable, Iterator
from datetime import date, datetime, timedelta
from decimal import Decimal
from random import Random

Near = Iterator[tuple[str, str | None]]


def near(type_: str, value: str | None, chance: Random) -> list[tuple[str, str | None]]:
    """What a value of the type can be mistaken for, each with a label; never the value itself."""
    kind = type_.partition("(")[0]
    if value is None:
        return [("a value for NULL", filled) for filled in _FILLED[kind]]
    found = [("NULL for the value", None), *_MAKERS[kind](value, chance)]
    return list(dict.fromkeys((label, other) for label, other in found if other != value))


def _integer(bits: int) -> Callable[[str, Random], Near]:
    def others(value: str, chance: Random) -> Near:
        number, limit = int(value), 2 ** (bits - 1)
        yield "the next number", str(number + 1 if number + 1 < limit else number - 1)
        yield "one bit", str(_signed(number ^ 1 << chance.randrange(bits), bits))
        if number not in (0, -limit):
            yield "the sign", str(-number)
        yield "0 for the value", "0"

    return others


def _signed(number: int, bits: int) -> int:
    number &= 2**bits - 1
    return number - 2**bits if number >> (bits - 1) else number


def _numeric(value: str, chance: Random) -> Near:
    number = Decimal(value)
    digit = Decimal(1).scaleb(int(number.as_tuple().exponent))
    yield "the last digit", str(number + digit if number <= 0 else number - digit)
    yield "NaN", "NaN"
    if number:
        yield "the sign", str(-number)
        yield "rounded", str(number.quantize(Decimal(1)))
        yield "a tenth", str((number / 10).quantize(digit))


def _double(value: str, chance: Random) -> Near:
    number = float(value)
    bits = struct.unpack(">Q", struct.pack(">d", number))[0]
    flipped = struct.unpack(">d", struct.pack(">Q", bits ^ 1 << chance.randrange(64)))[0]
    yield "the last bit", repr(math.nextafter(number, math.inf if number <= 0 else -math.inf))
    yield "one bit", "NaN" if math.isnan(flipped) else repr(flipped)
    yield "NaN", "NaN"
    yield "the sign", repr(-number)  # of a zero too
    yield "the single precision", _single(number)


def _single(number: float) -> str:
    try:
        return repr(struct.unpack(">f", struct.pack(">f", number))[0])
    except OverflowError:
        return repr(math.copysign(math.inf, number))


def _boolean(value: str, chance: Random) -> Near:
    yield "the other one", "false" if value == "true" else "true"


def _text(value: str, chance: Random) -> Near:
    place = chance.randrange(len(value)) if value else 0
    yield "a space at the end", value + " "
    yield "a space before", " " + value
    yield "a character that does not show", value[:place] + "\u200b" + value[place:]
    yield "letter case", value.swapcase()
    yield "unicode form", unicodedata.normalize("NFD", value)
    yield "unicode form", unicodedata.normalize("NFC", value)
    yield "line ends", value.replace("\n", "\r\n")
    yield "a space that does not break", value.replace(" ", "\u00a0", 1)
    yield "a letter of another script", value.replace("a", "а", 1).replace("o", "о", 1)
    if value:
        yield "one character", value[:place] + chr(_other(ord(value[place]))) + value[place + 1 :]
        yield "without its end", value[:-1]
        yield "without its spaces", value.strip()
        yield "'' for the value", ""
        yield "a question mark", value[:place] + "?" + value[place + 1 :]


def _other(point: int) -> int:
    return point ^ 1 if point ^ 1 and not 0xD800 <= point ^ 1 < 0xE000 else point + 2


def _bytea(value: str, chance: Random) -> Near:
    octets = bytes.fromhex(value[2:])
    yield "a zero byte at the end", "\\x" + (octets + b"\0").hex()
    if octets:
        place = chance.randrange(len(octets))
        changed = bytearray(octets)
        changed[place] ^= 1 << chance.randrange(8)
        yield "one bit", "\\x" + changed.hex()
        yield "without its end", "\\x" + octets[:-1].hex()
        yield "an empty one for the value", "\\x"
        yield "two bytes exchanged", "\\x" + (octets[1:2] + octets[:1] + octets[2:]).hex()


def _date(value: str, chance: Random) -> Near:
    day = date.fromisoformat(value)
    yield "the next day", (day + timedelta(1)).isoformat()
    yield "the day before", (day - timedelta(1)).isoformat()
    yield "day and month exchanged", f"{day.year:04}-{min(day.day, 12):02}-{min(day.month, 28):02}"
    yield "a century", f"{day.year + 100:04}-{value[5:]}" if (day.month, day.day) != (2, 29) else "infinity"
    yield "infinity", "infinity"


def _timestamp(value: str, chance: Random) -> Near:
    zone = value.endswith("+00")
    at, end = datetime.fromisoformat(value.removesuffix("+00")), "+00" if zone else ""
    yield "a microsecond", (at + timedelta(microseconds=1)).isoformat(" ") + end
    yield "a microsecond less", (at - timedelta(microseconds=1)).isoformat(" ") + end
    yield "an hour", (at + timedelta(hours=1)).isoformat(" ") + end
    yield "the fraction", at.replace(microsecond=0).isoformat(" ") + end
    yield "milliseconds only", at.replace(microsecond=at.microsecond // 1000 * 1000).isoformat(" ") + end
    yield "a day", (at - timedelta(days=1)).isoformat(" ") + end
    yield "infinity", "infinity"
    if zone:
        yield "the zone", at.isoformat(" ") + "+02"
        yield "the zone", at.isoformat(" ") + "-05:30"


def _json(value: str, chance: Random) -> Near:
    parsed = json.loads(value)
    yield "space within", value.replace(":", ": ", 1) if ": " not in value else value.replace(": ", ":", 1)
    yield "space at the end", value + " "
    yield "a number's spelling", _respelled(value)
    yield from _jsonb(value, chance)
    if isinstance(parsed, dict) and len(parsed) > 1:
        yield "the order of keys", json.dumps(dict(reversed(parsed.items())), ensure_ascii=False)


def _respelled(value: str) -> str:
    for one, other in (("1.5", "15e-1"), ("2", "2.0"), ("1", "1.0"), ("é", "\\u00e9")):
        if one in value:
            return value.replace(one, other, 1)
    return value


def _jsonb(value: str, chance: Random) -> Near:
    parsed = json.loads(value)
    yield "JSON null for the value", "null"
    if not isinstance(parsed, dict):
        yield "within an array", f"[{value}]"
        return
    keys = list(parsed)
    yield "one key more", json.dumps({**parsed, "": None}, ensure_ascii=False)
    if keys:
        chosen = chance.choice(keys)
        without = {k: v for k, v in parsed.items() if k != chosen}
        yield "one key less", json.dumps(without, ensure_ascii=False)
        yield "a key's name", json.dumps({**without, chosen + "_": parsed[chosen]}, ensure_ascii=False)
        yield "a key's letter case", json.dumps({**without, chosen.swapcase(): parsed[chosen]}, ensure_ascii=False)
        yield "null within", json.dumps({**parsed, chosen: None}, ensure_ascii=False)
        yield "a number as text", json.dumps({**parsed, chosen: str(parsed[chosen])}, ensure_ascii=False)
        yield "a list within", json.dumps({**parsed, chosen: [parsed[chosen]]}, ensure_ascii=False)


_FILLED: dict[str, tuple[str, ...]] = {
    "smallint": ("0", "-1"), "integer": ("0", "-1"), "bigint": ("0", "-1"), "numeric": ("0", "NaN"),
    "double precision": ("0", "-0", "NaN"), "boolean": ("false", "true"), "text": ("", " ", "NULL", "\\N"),
    "varchar": ("", " ", "NULL"), "bytea": ("\\x", "\\x00"), "date": ("1970-01-01", "infinity"),
    "timestamp": ("1970-01-01 00:00:00", "-infinity"), "timestamptz": ("1970-01-01 00:00:00+00", "infinity"),
    "json": ("null", "{}", '""'), "jsonb": ("null", "{}", '""'),
}  # fmt: skip
_MAKERS: dict[str, Callable[[str, Random], Near]] = {
    "smallint": _integer(16), "integer": _integer(32), "bigint": _integer(64), "numeric": _numeric,
    "double precision": _double, "boolean": _boolean, "text": _text, "varchar": _text, "bytea": _bytea,
    "date": _date, "timestamp": _timestamp, "timestamptz": _timestamp, "json": _json, "jsonb": _jsonb,
}  # fmt: skip
