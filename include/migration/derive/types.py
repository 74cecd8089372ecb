"""Chooses the type of a column in PostgreSQL: from SQLite's affinity and all the values there are.

The declared name alone decides nothing. What it promises (a length, a scale, BOOLEAN, a time) is kept where every value
keeps the promise; otherwise the column gets the type that holds every value exactly, and a finding says so.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from migration.catalog import Column
from migration.derive.findings import Finding, Weight
from migration.derive.parse import affinity
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

    def finding(
        self, rule: str, weight: Weight, what: str, proposal: str, instead: str = "", of: Evidence | None = None
    ) -> Finding:
        return Finding(rule, weight, self.table, self.column.name, what, proposal, instead, of or Evidence())


def choose(place: Place) -> Choice:
    """The type, cast and policy of one column."""
    found = _by_values(place)
    texts = place.profile
    if found.type in ("text", "json") or found.type.startswith("varchar"):
        if place.unique and found.cast == MIXED and texts.digit_texts:
            found = _with(
                found,
                place.finding(
                    "value-same-digits",
                    Weight.DECIDE,
                    "in a key, texts are written like integers that are there too",
                    "Both become the same text, and the key fails if they meet",
                    "exclude the table, or correct the rows",
                    texts.digit_texts,
                ),
            )
        unfit = texts.nul.count + texts.invalid.count
        if unfit and unfit * 2 >= texts.texts.count:
            return Choice(
                "bytea",
                "most texts have NULs or are not valid",
                invalid=Invalid.BYTES,
                form="mixed",
                findings=(*found.findings, *_unfit(place, "bytea keeps their bytes")),
            )
        if unfit:
            found = _with(found, *_unfit(place, "Such rows go to the quarantine whole"), invalid=Invalid.QUARANTINE)
    return found


def _with(choice: Choice, *findings: Finding, invalid: Invalid | None = None) -> Choice:
    return Choice(
        choice.type, choice.why, choice.cast, invalid or choice.invalid, choice.form, (*choice.findings, *findings)
    )


def _unfit(place: Place, proposal: str) -> Iterator[Finding]:
    if nul := place.profile.nul:
        instead = "`invalid: strip` takes the NULs out, `type: bytea` with `invalid: bytes` keeps them"
        yield place.finding(
            "value-nul", Weight.DECIDE, "texts with NUL, which PostgreSQL's text cannot hold", proposal, instead, nul
        )
    if invalid := place.profile.invalid:
        instead = "`type: bytea` with `invalid: bytes` carries them"
        yield place.finding(
            "value-encoding",
            Weight.DECIDE,
            "texts that are not valid in the database's encoding",
            proposal,
            instead,
            invalid,
        )


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


def _narrow(place: Place) -> str:
    """The integer type that the declaration promises, where every value fits; otherwise bigint."""
    words, p = _words(place), place.profile
    kind = next(
        (
            k
            for w, k in (
                ("SMALLINT", "smallint"),
                ("INT2", "smallint"),
                ("TINYINT", "smallint"),
                ("MEDIUMINT", "integer"),
                ("INT4", "integer"),
            )
            if w in words
        ),
        "bigint",
    )
    limit = _LARGEST.get(kind, 2**63)
    return kind if -limit <= (p.least or 0) and (p.greatest or 0) < limit else "bigint"


def _numbers(place: Place) -> Choice:
    p, words = place.profile, _words(place)
    if _is_boolean(place):
        if not p.reals and p.least is not None and p.least >= 0 and p.greatest is not None and p.greatest <= 1:
            return Choice("boolean", "all are 0 or 1")
        note = place.finding(
            "type-boolean",
            Weight.NOTE,
            f"declared {place.column.declared_type}, with values from {p.least} to {p.greatest}",
            "It stays a number",
        )
        return _plain_numbers(place, note)
    if _is_time(place):
        return _epoch(place)
    scale = _scale(place)
    if scale and affinity(words) == "NUMERIC":
        if p.digits and not p.unwritable_reals and p.digits[0] <= scale[0] - scale[1] and p.digits[1] <= scale[1]:
            return Choice(f"numeric({scale[0]},{scale[1]})", f"all fit {place.column.declared_type}")
        if not p.digits and not p.reals and max(abs(p.least or 0), abs(p.greatest or 0)) < 10 ** (scale[0] - scale[1]):
            return Choice(f"numeric({scale[0]},{scale[1]})", f"all fit {place.column.declared_type}")
    notes = []
    if _SCALE.search(words):
        digits = (
            f"up to {p.digits[0]} digits before and {p.digits[1]} behind the point" if p.digits else "other numbers"
        )
        notes.append(
            place.finding(
                "type-scale",
                Weight.NOTE,
                f"declared {place.column.declared_type}, and holds {digits}",
                "The declared scale is not kept, so that nothing is rounded",
            )
        )
    return _plain_numbers(place, *notes)


def _plain_numbers(place: Place, *notes: Finding) -> Choice:
    p, kind = place.profile, affinity(_words(place))
    if not p.reals:
        range_ = f"integers from {p.least} to {p.greatest}"
        if not _may_have_fractions(place) or place.keyed or p.beyond_double:
            return Choice(_narrow(place), range_, findings=(*notes, *_epoch_like(place)))
        return Choice("double precision", f"declared {place.column.declared_type}; {range_}", findings=notes)
    if kind == "INTEGER":
        notes += (
            place.finding(
                "type-reals",
                Weight.NOTE,
                f"declared {place.column.declared_type}, with reals",
                "double precision holds them",
                of=p.reals,
            ),
        )
    if not p.beyond_double:
        return Choice(
            "double precision",
            "reals" if not p.integers else "reals, and integers that a double holds exactly",
            findings=notes,
        )
    found = place.finding(
        "type-mixed-numbers",
        Weight.DECIDE,
        "reals beside integers that no double holds exactly",
        "Both become their decimal text",
        of=p.reals,
    )
    return Choice("text", "reals and integers beyond 2^53", MIXED, Invalid.TEXT, "mixed", (*notes, found))


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
    p, declared = place.profile, place.column.declared_type
    cast = _epoch_of(place)
    if cast is None:
        note = place.finding(
            "time-unknown",
            Weight.NOTE,
            f"declared {declared}, with numbers of no epoch that is certain",
            "They stay numbers",
            "`type: timestamptz` with a `cast:` such as epoch_s, epoch_ms, apple_s, webkit_us or julian",
        )
        return _plain_numbers(place, note)
    note = place.finding(
        "time-epoch",
        Weight.NOTE,
        f"declared {declared}, with numbers that are instants by {cast}",
        "They become timestamptz",
        f"`type: {'bigint' if not p.reals else 'double precision'}` without `cast` keeps the numbers",
    )
    form = cast if cast in ("epoch_s", "epoch_ms", "epoch_us") and not p.reals else "mixed"
    return Choice("timestamptz", f"{cast}, all within {_FROM} to {_TO}", cast, form=form, findings=(note,))


_TIME_NAMES = re.compile(r"(?:_at|_on|time|date|stamp)$", re.IGNORECASE)


def _epoch_like(place: Place) -> Iterator[Finding]:
    if _TIME_NAMES.search(place.column.name) and not place.keyed and (cast := _epoch_of(place)):
        yield place.finding(
            "time-integer",
            Weight.NOTE,
            f"by name and range instants by {cast}, declared {place.column.declared_type or 'without a type'}",
            "The numbers stay numbers",
            f"`type: timestamptz` with `cast: {cast}`",
        )


# -- texts


def _length(place: Place) -> str | None:
    match = _LENGTH.search(_words(place))
    length = int(match[1] or match[2]) if match else 0
    return f"varchar({length})" if 0 < length <= 10_485_760 else None


def _texts(place: Place) -> Choice:
    p, words = place.profile, _words(place)
    if _is_time(place) and (found := _times(place)):
        return found
    if _is_json(place) and not place.keyed and not p.invalid_json:
        if not p.lossy_json:
            return Choice("jsonb", "all are JSON that jsonb keeps whole")
        note = place.finding(
            "value-json",
            Weight.NOTE,
            "JSON that jsonb would not keep whole (repeated keys, \\u0000, numbers out of range)",
            "json keeps the text",
            of=p.lossy_json,
        )
        return Choice("json", "all are JSON", findings=(note,))
    notes = []
    if _is_json(place) and p.invalid_json:
        instead = "`type: jsonb` with `invalid: quarantine` or `null`"
        notes.append(
            place.finding(
                "value-json-invalid",
                Weight.NOTE,
                "texts that are not JSON",
                "The column stays text",
                instead,
                p.invalid_json,
            )
        )
    if affinity(words) == "TEXT":
        length = _length(place)
        if length and p.longest <= int(length[8:-1]):
            return Choice(length, f"at most {p.longest} characters", findings=tuple(notes))
        if length:
            notes.append(
                place.finding(
                    "type-length",
                    Weight.NOTE,
                    f"declared {place.column.declared_type}, with up to {p.longest} characters",
                    "The length is not kept",
                )
            )
    elif not _is_time(place) and not _is_json(place) and words:
        notes.append(
            place.finding(
                "type-texts",
                Weight.NOTE,
                f"declared {place.column.declared_type}, with texts only",
                "The column becomes text",
            )
        )
    return Choice("text", "texts", findings=tuple(notes) + tuple(_no_times(place)))


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
        notes.append(
            place.finding("time-zones", Weight.NOTE, "some times name a zone and some are bare", "Bare ones are UTC")
        )
    if len(forms) > 1:
        notes.append(
            place.finding(
                "time-forms",
                Weight.NOTE,
                f"times in {len(forms)} forms: {', '.join(forms)}",
                "The instants are kept, their forms are not",
                "`type: text`",
            )
        )
    if _words(place) == "DATE":
        notes.append(
            place.finding("time-date", Weight.NOTE, "declared DATE, with times of day", "It becomes timestamptz")
        )
    form = forms[0] if len(forms) == 1 and _PRINTED.fullmatch(forms[0]) else ""
    return Choice(
        "timestamptz",
        f"all are instants, {forms[0] if len(forms) == 1 else 'in several forms'}",
        form=form,
        findings=tuple(notes),
    )


def _no_times(place: Place) -> Iterator[Finding]:
    p = place.profile
    if not _is_time(place) or not p.texts:
        return
    if not p.times:
        yield place.finding(
            "time-none",
            Weight.NOTE,
            f"declared {place.column.declared_type}, with texts that are no times",
            "The column stays text",
        )
    elif p.no_times:
        yield place.finding(
            "time-invalid",
            Weight.DECIDE,
            f"declared {place.column.declared_type}, with texts that are no times",
            "The column stays text, which keeps all",
            "`type: timestamptz` with `invalid: quarantine` or `null`",
            p.no_times,
        )
    else:
        yield place.finding(
            "time-text",
            Weight.NOTE,
            f"declared {place.column.declared_type}, with times in {', '.join(sorted(p.times))}",
            "The column stays text, which keeps them to the last digit and apart from each other",
        )


# -- mixtures


def _bytes(place: Place) -> Choice:
    words, notes = _words(place), []
    if affinity(words) != "BLOB":
        notes.append(
            place.finding(
                "type-blobs",
                Weight.NOTE,
                f"declared {place.column.declared_type}, with blobs only",
                "The column becomes bytea",
            )
        )
    return Choice("bytea", "blobs", findings=tuple(notes))


def _mixture(place: Place) -> str:
    p = place.profile
    counts = (("texts", p.texts), ("integers", p.integers), ("reals", p.reals), ("blobs", p.blobs))
    return ", ".join(f"{e.count:,} {n}" for n, e in counts if e)


def _few(place: Place) -> Evidence:
    """The rows of the storage class that is rarest."""
    p = place.profile
    return min((e for e in (p.texts, p.integers, p.reals, p.blobs) if e), key=lambda e: e.count)


def _mixed_with_blobs(place: Place) -> Choice:
    found = place.finding(
        "type-mixed",
        Weight.DECIDE,
        f"declared {place.column.declared_type or 'without a type'}, with {_mixture(place)}",
        "bytea keeps their bytes; what was no blob is listed in migration.altered_values",
        "`type: text` with `invalid: quarantine` for the blobs",
        _few(place),
    )
    return Choice("bytea", _mixture(place), invalid=Invalid.BYTES, form="mixed", findings=(found,))


def _numbers_and_texts(place: Place) -> Choice:
    p, words = place.profile, _words(place)
    affine = affinity(words)
    instead = {
        "INTEGER": "`type: bigint`",
        "REAL": "`type: double precision`",
        "NUMERIC": "`type: double precision`",
    }.get(affine, "")
    if _is_time(place):
        instead = "`type: timestamptz`"
    instead = f"{instead} with `invalid: quarantine` or `null` for the rest" if instead else ""
    weight = Weight.NOTE if affine == "BLOB" and not p.digit_texts and not p.reals else Weight.DECIDE
    kept = (
        "Integers become their digits"
        if not p.reals
        else "Numbers become their decimal text; reals are listed in migration.altered_values"
    )
    found = place.finding(
        "type-mixed",
        weight,
        f"declared {place.column.declared_type or 'without a type'}, with {_mixture(place)}",
        f"The column becomes text. {kept}",
        instead,
        _few(place),
    )
    if p.reals:
        return Choice("text", _mixture(place), MIXED, Invalid.TEXT, "mixed", (found,))
    return Choice("text", _mixture(place), MIXED, form=MIXED, findings=(found,))
