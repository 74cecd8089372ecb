"""Chooses the type of a column in PostgreSQL: from SQLite's affinity and all the values there are.

The declared name alone decides nothing. What it promises (a length, a scale, BOOLEAN, a time) is kept where every value
keeps the promise; otherwise the column gets the type that holds every value exactly, and a finding says so.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from migration.catalog import Column
from migration.derive.findings import Finding
from migration.derive.parse import affinity
from migration.derive.rules import finding
from migration.derive.values import MIXED
from migration.plan import Invalid
from migration.profile import ColumnProfile, Evidence


@dataclass(frozen=True)
class Choice:
    """How a column crosses, and why."""

    type: str
    why: str
    cast: str | None = None
    invalid: Invalid | None = None
    form: str = ""
    """How the source's values are written, as :class:`migration.derive.values.Carried` wants to know it."""
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True)
class Place:
    """Where a column stands: what its values and its use in keys allow."""

    table: str
    column: Column
    profile: ColumnProfile
    unique: bool = False
    """Part of a key or unique index: different values must stay different."""
    keyed: bool = False
    """Part of a key, foreign key or index, on either side."""
    apple: bool = False
    """In a database that Core Data made, which counts seconds from 2001."""

    @property
    def declared(self) -> str:
        """The declared type, in words where there is none."""
        return self.column.declared_type or "without a type"

    def found(self, rule: str, of: Evidence | None = None, **facts: object) -> Finding:
        """A finding about this column."""
        return finding(rule, self.table, self.column.name, of, weight=None, declared=self.declared, **facts)


def choose(place: Place) -> Choice:
    """The type, cast and policy of one column."""
    choice, p = _by_values(place), place.profile
    if choice.type not in ("text", "json") and not choice.type.startswith("varchar"):
        return choice
    unfit = p.nul.count + p.invalid.count
    if unfit and unfit * 2 >= p.texts.count:
        findings = (*choice.findings, *_unfit(place, "bytea keeps their bytes"))
        return Choice("bytea", "most texts have NULs or are not valid", None, Invalid.BYTES, "mixed", findings)
    if unfit:
        findings = tuple(_unfit(place, "Such rows go to the quarantine whole"))
        choice = replace(choice, invalid=Invalid.QUARANTINE, findings=(*choice.findings, *findings))
    return choice


def _unfit(place: Place, done: str) -> Iterator[Finding]:
    if nul := place.profile.nul:
        yield place.found("value-nul", nul, done=done)
    if invalid := place.profile.invalid:
        yield place.found("value-encoding", invalid, done=done)


def _by_values(place: Place) -> Choice:
    p = place.profile
    numbers = bool(p.integers) or bool(p.reals)
    if p.blobs:
        return _bytes(place) if not numbers and not p.texts else _mixed_with_blobs(place)
    if p.texts and numbers:
        return _numbers_and_texts(place)
    if p.texts:
        return _texts(place)
    if numbers:
        return _numbers(place)
    return _nothing(place)


_FRACTIONS = re.compile("DEC|NUM|MONEY|FIXED|REAL|FLOA|DOUB")
_SCALE = re.compile(r"(?:DEC(?:IMAL)?|NUMERIC|NUMBER|MONEY)\s*\(\s*(\d+)\s*(?:,\s*(\d+)\s*)?\)")
_LENGTH = re.compile(r"CHAR\w*\s*(?:VARYING\s*)?\(\s*(\d+)\s*\)|CHARACTER\s*(?:VARYING\s*)?\(\s*(\d+)\s*\)")
INTEGERS = ("smallint", "integer", "bigint")
_LARGEST = {"smallint": 2**15, "integer": 2**31}
MOST_DIGITS = 18
"""Numbers of more digits have no numeric type that the loader sends."""


def _words(place: Place) -> str:
    return place.column.declared_type.upper()


def _is_boolean(place: Place) -> bool:
    return "BOOL" in _words(place)


def _is_time(place: Place) -> bool:
    words = _words(place)
    return "DATE" in words or "TIMESTAMP" in words or "DATETIME" in words


def _may_have_fractions(place: Place) -> bool:
    """Whether the declaration leads to expect fractions where there are none yet."""
    scale = _SCALE.search(_words(place))
    return (
        bool(_FRACTIONS.search(_words(place)))
        and affinity(_words(place)) != "INTEGER"
        and (not scale or scale[2] not in (None, "0"))
    )


def _is_json(place: Place) -> bool:
    return "JSON" in _words(place)


def _scale(place: Place) -> tuple[int, int] | None:
    """Precision and scale of a declared decimal that a column of the target can have."""
    match = _SCALE.search(_words(place))
    if match is None:
        return None
    precision, scale = int(match[1]), int(match[2] or 0)
    return (precision, scale) if 0 <= scale <= precision <= MOST_DIGITS and precision else None


def _nothing(place: Place) -> Choice:
    """A column without any value: what is declared is all there is."""
    why, words = "no values", _words(place)
    if _is_boolean(place):
        return Choice("boolean", why)
    if _is_time(place):
        return Choice(
            "date" if words == "DATE" else "timestamptz", why, form="" if words == "DATE" else "YYYY-MM-DD HH24:MI:SS"
        )
    if _is_json(place):
        return Choice("jsonb", why)
    match affinity(words):
        case "INTEGER":
            return Choice(_narrow(place), why)
        case "REAL":
            return Choice("double precision", why)
        case "TEXT":
            return Choice(_length(place) or "text", why)
        case "BLOB":
            return Choice("bytea" if words else "text", why)
    scale = _scale(place)
    return Choice(f"numeric({scale[0]},{scale[1]})", why) if scale else Choice("double precision", why)


# -- numbers


_NARROW = {
    "SMALLINT": "smallint", "INT2": "smallint", "TINYINT": "smallint", "MEDIUMINT": "integer", "INT4": "integer",
}  # fmt: skip


def _narrow(place: Place) -> str:
    """The integer type that the declaration promises, where every value fits; otherwise bigint."""
    p = place.profile
    kind = next((k for word, k in _NARROW.items() if word in _words(place)), "bigint")
    limit = _LARGEST.get(kind, 2**63)
    return kind if -limit <= (p.least or 0) and (p.greatest or 0) < limit else "bigint"


def _numbers(place: Place) -> Choice:
    p = place.profile
    if _is_boolean(place):
        if not p.reals and p.least is not None and p.least >= 0 and p.greatest is not None and p.greatest <= 1:
            return Choice("boolean", "all are 0 or 1")
        return _plain_numbers(place, place.found("type-boolean", least=p.least, greatest=p.greatest))
    if _is_time(place):
        return _epoch(place)
    if (scale := _scale(place)) and affinity(_words(place)) == "NUMERIC" and _fits(p, *scale):
        return Choice(f"numeric({scale[0]},{scale[1]})", f"all fit {place.declared}")
    if not _SCALE.search(_words(place)):
        return _plain_numbers(place)
    digits = f"up to {p.digits[0]} digits before and {p.digits[1]} behind the point" if p.digits else "other numbers"
    return _plain_numbers(place, place.found("type-scale", digits=digits))


def _fits(p: ColumnProfile, precision: int, scale: int) -> bool:
    """Whether all numbers fit numeric(precision, scale) without rounding."""
    if p.digits:
        return not p.unwritable_reals and p.digits[0] <= precision - scale and p.digits[1] <= scale
    return not p.reals and max(abs(p.least or 0), abs(p.greatest or 0)) < 10 ** (precision - scale)


def _plain_numbers(place: Place, *notes: Finding) -> Choice:
    p = place.profile
    if not p.reals:
        why = f"integers from {p.least} to {p.greatest}"
        if not _may_have_fractions(place) or place.keyed or p.beyond_double:
            return Choice(_narrow(place), why, findings=(*notes, *_epoch_like(place)))
        return Choice("double precision", f"declared {place.declared}; {why}", findings=notes)
    if affinity(_words(place)) == "INTEGER":
        notes = (*notes, place.found("type-reals", p.reals))
    if p.beyond_double:
        findings = (*notes, place.found("type-mixed-numbers", p.reals))
        return Choice("text", "reals and integers beyond 2^53", MIXED, Invalid.TEXT, "mixed", findings)
    why = "reals, and integers that a double holds exactly" if p.integers else "reals"
    return Choice("double precision", why, findings=notes)


def _seconds(year: int, since: int = 1970) -> int:
    return int((datetime(year, 1, 1, tzinfo=UTC) - datetime(since, 1, 1, tzinfo=UTC)).total_seconds())


_FROM, _TO = 1980, 2100
"""An instant of an application lies between these years: what tells the units of an epoch apart."""
_EPOCHS = (
    ("epoch_s", 1970, 1), ("epoch_ms", 1970, 10**3), ("epoch_us", 1970, 10**6), ("epoch_ns", 1970, 10**9),
    ("webkit_us", 1601, 10**6),
)  # fmt: skip
_JULIAN = 2440587.5
"""The Julian day number of 1970-01-01. https://sqlite.org/lang_datefunc.html"""


def _epoch_of(place: Place) -> str | None:
    """The one epoch by which all numbers of the column are instants of our time; None when none is certain."""
    p = place.profile
    bounds = [b for b in (p.least, p.greatest, p.least_real, p.greatest_real) if b is not None]
    low, high = min(bounds), max(bounds)
    if place.apple:
        return "apple_s" if low > 0 and high <= _seconds(_TO, 2001) and _micros(place) else None
    found = [
        n for n, since, per in _EPOCHS if _seconds(_FROM, since) * per <= low and high <= _seconds(_TO, since) * per
    ]
    if p.reals and _JULIAN + _seconds(_FROM) / 86400 <= low and high <= _JULIAN + _seconds(_TO) / 86400:
        return "julian"
    if p.reals and found != ["epoch_s"]:
        return None
    return found[0] if len(found) == 1 and (not p.reals or _micros(place)) else None


def _micros(place: Place) -> bool:
    """Whether the numbers, as seconds, say no more than microseconds."""
    p = place.profile
    return not p.reals or (p.digits is not None and p.digits[1] <= 6)


def _epoch(place: Place) -> Choice:
    cast, number = _epoch_of(place), "double precision" if place.profile.reals else "bigint"
    if cast is None:
        return _plain_numbers(place, place.found("time-unknown"))
    form = cast if cast in ("epoch_s", "epoch_ms", "epoch_us") and number == "bigint" else "mixed"
    note = place.found("time-epoch", cast=cast, number=number)
    return Choice("timestamptz", f"{cast}, all within {_FROM} to {_TO}", cast, form=form, findings=(note,))


_TIME_NAMES = re.compile(r"(?:_at|_on|time|date|stamp)$", re.IGNORECASE)


def _epoch_like(place: Place) -> Iterator[Finding]:
    if _TIME_NAMES.search(place.column.name) and not place.keyed and (cast := _epoch_of(place)):
        yield place.found("time-integer", cast=cast)


# -- texts


def _length(place: Place) -> str | None:
    match = _LENGTH.search(_words(place))
    length = int(match[1] or match[2]) if match else 0
    return f"varchar({length})" if 0 < length <= 10_485_760 else None


def _texts(place: Place) -> Choice:
    p, words = place.profile, _words(place)
    if _is_time(place) and (found := _times(place)):
        return found
    notes: list[Finding] = []
    if _is_json(place) and not place.keyed and not p.invalid_json:
        if p.lossy_json:
            return Choice("json", "all are JSON", findings=(place.found("value-json", p.lossy_json),))
        return Choice("jsonb", "all are JSON that jsonb keeps whole")
    if _is_json(place) and p.invalid_json:
        notes.append(place.found("value-json-invalid", p.invalid_json))
    if affinity(words) == "TEXT":
        length = _length(place)
        if length and p.longest <= int(length[8:-1]):
            return Choice(length, f"at most {p.longest} characters", findings=tuple(notes))
        if length:
            notes.append(place.found("type-length", longest=p.longest))
    elif not _is_time(place) and not _is_json(place) and words:
        notes.append(place.found("type-texts"))
    return Choice("text", "texts", findings=(*notes, *_no_times(place)))


_PRINTED = re.compile(r'YYYY-MM-DD(?:(?: |"T")HH24:MI(?::SS(?:\.MS|\.US)?)?(?:"Z")?)?')
"""The forms that to_char writes as SQLite has them."""
_FRACTION = re.compile(r"\.F([789])")


def _times(place: Place) -> Choice | None:
    """An instant's or day's type, where every text is one; None otherwise."""
    p = place.profile
    if not p.times or p.no_times or p.nul or p.invalid or sum(p.times.values()) != p.texts.count:
        return None
    forms = sorted(p.times)
    if any(_FRACTION.search(form) for form in forms) or (place.unique and len(forms) > 1):
        return None
    if forms == ["YYYY-MM-DD"]:
        return Choice("date", "all are days, YYYY-MM-DD")
    notes = []
    zoned = [f for f in forms if f.endswith(('"Z"', "TZH", "TZM"))]
    if zoned and len(zoned) < len(forms):
        notes.append(place.found("time-zones"))
    if len(forms) > 1:
        notes.append(place.found("time-forms", number=len(forms), forms=", ".join(forms)))
    if _words(place) == "DATE":
        notes.append(place.found("time-date"))
    why = f"all are instants, {forms[0] if len(forms) == 1 else 'in several forms'}"
    form = forms[0] if len(forms) == 1 and _PRINTED.fullmatch(forms[0]) else ""
    return Choice("timestamptz", why, form=form, findings=tuple(notes))


def _no_times(place: Place) -> Iterator[Finding]:
    p = place.profile
    if _is_time(place):
        if not p.times:
            yield place.found("time-none")
        elif p.no_times:
            yield place.found("time-invalid", p.no_times)
        else:
            yield place.found("time-text", forms=", ".join(sorted(p.times)))


# -- mixtures


def _bytes(place: Place) -> Choice:
    notes = () if affinity(_words(place)) == "BLOB" else (place.found("type-blobs"),)
    return Choice("bytea", "blobs", findings=notes)


def _mixture(place: Place) -> str:
    p = place.profile
    counts = (("texts", p.texts), ("integers", p.integers), ("reals", p.reals), ("blobs", p.blobs))
    return ", ".join(f"{e.count:,} {n}" for n, e in counts if e)


def _few(place: Place) -> Evidence:
    """The rows of the storage class that is rarest."""
    p = place.profile
    return min((e for e in (p.texts, p.integers, p.reals, p.blobs) if e), key=lambda e: e.count)


def _mixed_with_blobs(place: Place) -> Choice:
    mixture = _mixture(place)
    found = place.found("type-mixed-blobs", _few(place), mixture=mixture)
    return Choice("bytea", mixture, None, Invalid.BYTES, "mixed", (found,))


def _numbers_and_texts(place: Place) -> Choice:
    p, mixture, affine = place.profile, _mixture(place), affinity(_words(place))
    number = (
        "timestamptz"
        if _is_time(place)
        else "bigint"
        if affine in ("INTEGER", "BLOB") and not p.reals
        else "double precision"
    )
    free = affine == "BLOB" and not p.digit_texts
    rule = "type-mixed-reals" if p.reals else "type-mixed-free" if free else "type-mixed"
    found = place.found(rule, _few(place), mixture=mixture, number=number)
    if p.reals:
        return Choice("text", mixture, MIXED, Invalid.TEXT, "mixed", (found,))
    return Choice("text", mixture, MIXED, form=MIXED, findings=(found,))
