"""Writes JSON text the way PostgreSQL prints it once it is jsonb, without asking PostgreSQL.

Keys in order of byte length, then bytes; a space behind ``:`` and ``,``; numbers as numeric prints them (1.10 keeps
its scale, 1e5 is 100000, -0 is 0); only the escapes that JSON demands. Whatever jsonb would refuse, change or forget
(NaN, a repeated key, ``\\u0000``, half a surrogate pair, a number beyond numeric) raises NotJsonb.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from json.encoder import encode_basestring
from operator import itemgetter
from typing import Any

# https://www.postgresql.org/docs/16/datatype-numeric.html: digits before and behind the decimal point.
MOST_WHOLE, MOST_FRACTION = 131_072, 16_383

_NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")  # \u0000 that is no escaped backslash before "u0000"
_EXTREME_NUMBER = re.compile(r"[0-9]{1000}|[eE][+-]?[0-9]{4}")
_SHAPES = 10_000
DEEPEST = 5000
"""Levels of nesting for which room is made; PostgreSQL refuses a little more."""


Scan = Callable[[str, int], tuple[Any, int]]


class NotJsonb(ValueError):
    """jsonb cannot hold what the text says."""


def jsonb_text(text: str) -> str:
    """``text`` as PostgreSQL's jsonb prints it; NotJsonb when jsonb cannot hold all that it says."""
    try:
        value, end = _scan(text, 0)
        if end == len(text):
            result = value[0] if type(value) is tuple else _RENDER[type(value)](value)
            if "\\u" not in text or _storable(text, result):
                return result
    except (ValueError, StopIteration, RecursionError):  # looked at again: it may only be out of the ordinary
        pass
    return _carefully(text.strip(" \t\n\r"))


def _storable(text: str, result: str) -> bool:
    """Whether no escape made a NUL, or half a surrogate pair (UnicodeEncodeError); nothing else could."""
    if "\\u0000" in text and _NUL.search(text):
        return False
    result.encode()
    return True


def _carefully(text: str) -> str:
    limit = sys.getrecursionlimit()
    try:
        value, end = _scan_long(text, 0)
        if end != len(text):
            raise NotJsonb("something follows the value")
        result = _RENDER[type(value)](value)
        if not _storable(text, result):
            raise NotJsonb("\\u0000")
        return result
    except RecursionError:
        # PostgreSQL's own limit (max_stack_depth) lies at some thousand levels.
        if limit > DEEPEST:
            raise NotJsonb("nested too deeply") from None
        sys.setrecursionlimit(limit + 2 * DEEPEST)
        try:
            return _carefully(text)
        finally:
            sys.setrecursionlimit(limit)
    except NotJsonb:
        raise
    except (ValueError, StopIteration) as error:
        raise NotJsonb(str(error)) from error


def is_extreme(text: str) -> bool:
    """Whether ``text`` comes near a limit (depth, digits, size) where a careful loader refuses what jsonb holds."""
    return len(text) > 64 << 20 or text.count("[") + text.count("{") > 200 or bool(_EXTREME_NUMBER.search(text))


def number_text(text: str) -> str:
    """A JSON number as PostgreSQL's numeric prints it; NotJsonb beyond numeric's range."""
    if "e" not in text and "E" not in text and text[0] != "-" and len(text) < MOST_FRACTION:
        return text
    mantissa, _, exponent = text.lower().partition("e")
    whole, _, fraction = mantissa.removeprefix("-").partition(".")
    if len(exponent) > 9:
        raise NotJsonb(f"a number with exponent {exponent[:20]}")
    shift = int(exponent or 0)
    digits, scale = whole + fraction, max(len(fraction) - shift, 0)
    point = len(whole) + shift
    zero = not digits.strip("0")
    if scale > MOST_FRACTION or (not zero and point - (len(digits) - len(digits.lstrip("0"))) > MOST_WHOLE):
        raise NotJsonb("a number with too many digits")
    if zero:
        return "0" + ("." + "0" * scale if scale else "")
    digits = "0" * (1 - point) + digits + "0" * (point - len(digits))
    point = max(point, 1)
    sign = "-" if text[0] == "-" else ""
    return sign + (digits[:point].lstrip("0") or "0") + ("." + digits[point : point + scale] if scale else "")


# The C scanner of the standard library reads the text, and the hooks below make each part into its final text. What
# is done travels in a type that the scanner never makes itself: numbers as bytes, objects as tuples of one.


def _number(text: str) -> bytes:
    return number_text(text).encode()


def _constant(word: str) -> bytes:
    raise NotJsonb(word)


def _array(items: list[Any]) -> str:
    return "[" + ", ".join([_RENDER[type(item)](item) for item in items]) + "]"


Shape = tuple[str, Callable[[list[str]], Any]]
_shapes: dict[tuple[str, ...], Shape] = {}


def _object(pairs: list[tuple[str, Any]]) -> tuple[str]:
    # Objects of one table have few sets of keys, so the sorted template of each is kept: sorting anew takes twice
    # as long.
    keys = tuple([key for key, _ in pairs])
    template, pick = _shapes.get(keys) or _shape(keys)
    return (template % pick([_RENDER[type(value)](value) for _, value in pairs]),)


def _shape(keys: tuple[str, ...]) -> Shape:
    if len(set(keys)) != len(keys):
        raise NotJsonb("a repeated key")
    if len(_shapes) >= _SHAPES:
        _shapes.clear()
    order = sorted(range(len(keys)), key=lambda i: (len(e := keys[i].encode()), e))
    template = "{" + ", ".join([encode_basestring(keys[i]).replace("%", "%%") + ": %s" for i in order]) + "}"
    shape = _shapes[keys] = (template, itemgetter(*order) if order else lambda _: ())
    return shape


_RENDER: dict[type, Callable[[Any], str]] = {
    str: encode_basestring,
    int: int.__repr__,
    bytes: bytes.decode,
    tuple: itemgetter(0),
    list: _array,
    bool: {True: "true", False: "false"}.__getitem__,
    type(None): {None: "null"}.__getitem__,
}


def _scanner(**hooks: Any) -> Scan:
    decoder = json.JSONDecoder(object_pairs_hook=_object, parse_float=_number, parse_constant=_constant, **hooks)
    scan: Scan = vars(decoder)["scan_once"]
    return scan


_scan, _scan_long = _scanner(), _scanner(parse_int=_number)
