"""Reads the profile of a table: what the values of its columns really are.

SQLite counts, in few scans of all columns together: first the storage classes, then what matters of the classes that a
column has. Python judges what SQL cannot (``judging``), and only where cheaper facts say that it matters.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import apsw

from migration.catalog import Catalog, Column, Table
from migration.profile import ColumnProfile, Evidence, TableProfile
from migration.sqlite import judging
from migration.sqlite.catalog import quoted
from migration.sqlite.promises import index_bytes, orphans, violations
from migration.sqlite.scanning import Scan

SAMPLE = 1000
"""So many values say whether a question is worth asking of all."""
_CLASSES = ("integer", "real", "text", "blob")
_JOINED_BYTES, _JOINED_COLUMNS = 1 << 20, 100
_MOST_DIGITS = 30
_DECIMAL_DIGITS = 15
"""No two decimals of so many digits share a double, so that the shortest decimal of a double comes back from it."""
_HIGH = 1 << 32
"""What a row of the second kind counts in a sum that counts two kinds."""
_SCALE = re.compile(r"\(\s*\d+\s*,\s*\d+\s*\)")

# Comparisons of texts say COLLATE BINARY, and + keeps the column's affinity out of them.
_KIND = "profile_text_kind(CAST({x} AS BLOB))"
_JSON = "profile_json_kind(CAST({x} AS BLOB))"
_OF_TEXTS = {
    "empty": "octet_length({x}) = 0",
    "nul": f"{_KIND} = {judging.NUL}",
    "invalid": f"{_KIND} = {judging.INVALID}",
    "digit_texts": "octet_length({x}) <= 40 AND CAST(CAST({x} AS INTEGER) AS TEXT) = +{x} COLLATE BINARY",
    "invalid_json": f"{_JSON} = {judging.NO_JSON}",
    "lossy_json": f"{_JSON} = {judging.LOSSY}",
}
"""Conditions for texts."""
_OF_NUMBERS = {
    "beyond_double": "{x} <> CAST({x} AS REAL)",  # SQLite compares integers with reals exactly
    "negative_zero": "{x} = 0.0 AND atan2({x}, -1.0) < 0",  # as text it looks like 0.0
    "infinite": "abs({x}) = 9e999",
}
# What is asked of each storage class that a column has. {size}: bytes (UTF-8) of a text.
_ASKED = {
    "integer": {"least": "min({x})", "greatest": "max({x})"},
    "real": {
        "least_real": "min({x})",
        "greatest_real": "max({x})",
        "whole": "sum({x} = CAST({x} AS INTEGER))",
    },
    "text": {
        "text_bytes": "sum({size})",
        "widest_text": "max({size})",
        "empty": f"sum({_OF_TEXTS['empty']})",
        "digit_texts": f"sum({_OF_TEXTS['digit_texts']})",
    },
    "blob": {"blob_bytes": "sum(octet_length({x}))", "widest_blob": "max(octet_length({x}))"},
}


@dataclass
class _Found:
    """What is known so far of one column's values."""

    column: Column
    x: str
    """The column's name, quoted."""
    rows: int
    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(_CLASSES, 0))
    facts: dict[str, Any] = field(default_factory=dict)
    conditions: dict[str, str] = field(default_factory=dict)
    """Facts' conditions in SQL that are this column's own."""
    unreadable: str | None = None

    @property
    def values(self) -> int:
        return sum(self.counts.values())

    def of(self, kind: str) -> str:
        """SQL: the condition that a value is of a storage class."""
        return f"typeof({self.x}) = '{kind}'"

    def among(self, kind: str, condition: str) -> str:
        """SQL: a condition about the values of a storage class alone, which sees no others: AND has no order."""
        return f"CASE WHEN {self.of(kind)} THEN {condition.format(x=self.x)} END"

    def only(self, kind: str) -> str:
        """SQL behind an aggregate that shall see one storage class; nothing where there is no other and no NULL."""
        return "" if self.counts[kind] == self.rows else f" FILTER (WHERE {self.of(kind)})"


def profile_table(connection: apsw.Connection, catalog: Catalog, table: Table) -> TableProfile:
    """The profile of one table, all of it read in one transaction.

    In a database with a rollback journal the application's writers wait meanwhile: profile a snapshot where that
    matters. Bounded memory, of long values a few at a time. The connection keeps functions of names with ``profile_``.
    """
    with connection:
        scan = Scan(connection, table)
        rows = int(scan.ask({"rows": "count(*)"})["rows"])
        columns = [_Found(c, quoted(c.name), rows) for c in table.columns]
        readable = [found for found in columns if _is_readable(scan, found)]
        _count_classes(scan, readable)
        _ask_classes(scan, readable)
        _judge_numbers(scan, readable)
        _judge_texts(scan, [found for found in readable if found.counts["text"]])
        profiles = {found.column.name: _profile(scan, found) for found in columns}
        kept = orphans(scan, catalog, profiles), violations(scan), index_bytes(scan, profiles)
    return TableProfile(table.name, rows, sum(map(_bytes, columns)), tuple(profiles.values()), *kept)


def _is_readable(scan: Scan, found: _Found) -> bool:
    """Whether SQLite can tell the column's values: an expression may fail on what it finds, or lack its function."""
    if found.column.generated:
        try:
            scan.ask({"values": f"count({found.x})"})
        except (apsw.SQLError, apsw.TooBigError) as error:
            found.unreadable = str(error)
    return found.unreadable is None


def _count_classes(scan: Scan, columns: list[_Found]) -> None:
    """Count the storage classes; of a column that has only the one expected, this costs half."""
    expected = _expected_classes(scan, columns)
    alias = scan.table.rowid_alias
    questions: dict[tuple[int, str], str] = {}
    for i, found in enumerate(columns):
        if found.column.name == alias:
            found.counts["integer"] = found.rows
        else:
            questions[i, "values"] = f"count({found.x})"
            questions[i, expected[i]] = f"count(*) FILTER (WHERE {found.of(expected[i])})"
    answers = scan.ask(questions)
    mixed: dict[tuple[int, str], str] = {}
    for i, found in enumerate(columns):
        if (i, "values") in answers:
            found.counts[expected[i]] = answers[i, expected[i]]
            if answers[i, "values"] > answers[i, expected[i]]:
                others = (kind for kind in _CLASSES if kind != expected[i])
                mixed |= {(i, kind): f"count(*) FILTER (WHERE {found.of(kind)})" for kind in others}
    for (i, kind), count in scan.ask(mixed).items():
        columns[i].counts[kind] = count


def _expected_classes(scan: Scan, columns: list[_Found]) -> list[str]:
    """The storage class that most values in the first rows have."""
    expected = []
    for found in columns:
        classes = Counter(scan.sample(f"typeof({found.x})", "TRUE", 20))
        classes.pop("null", None)
        expected.append(classes.most_common(1)[0][0] if classes else "text")
    return expected


def _ask_classes(scan: Scan, columns: list[_Found]) -> None:
    questions = dict[tuple[int, str], str]()
    for i, found in enumerate(columns):
        for kind, asked in _ASKED.items():
            if found.counts[kind]:
                size = scan.size(found.x)
                questions |= {(i, f): e.format(x=found.x, size=size) + found.only(kind) for f, e in asked.items()}
    for (i, fact), answer in scan.ask(questions).items():
        columns[i].facts[fact] = answer


def _judge_numbers(scan: Scan, columns: list[_Found]) -> None:
    for found in columns:
        facts, integers, reals = found.facts, found.counts["integer"], found.counts["real"]
        if integers and not -(2**53) <= facts["least"] <= facts["greatest"] <= 2**53:
            facts["beyond_double"] = _count(scan, found, "integer", "beyond_double")
        if reals:
            least, greatest = facts["least_real"], facts["greatest_real"]
            zeros = _count(scan, found, "real", "negative_zero") if least <= 0 <= greatest else 0
            infinite = _count(scan, found, "real", "infinite") if math.inf in (-least, greatest) else 0
            facts["whole_reals"] = facts["whole"] - zeros
            facts["unwritable_reals"] = zeros + infinite
        if reals or (integers and _SCALE.search(found.column.declared_type)):
            facts["digits"] = _digits(scan, found)


def _count(scan: Scan, found: _Found, kind: str, fact: str) -> int:
    condition = found.among(kind, (_OF_TEXTS | _OF_NUMBERS)[fact])
    return int(scan.ask({fact: f"count(*) FILTER (WHERE {condition})"})[fact])


def _digits(scan: Scan, found: _Found) -> tuple[int, int] | None:
    facts = found.facts
    if "least_real" not in facts:
        return len(str(max(-facts["least"], facts["greatest"]))), 0
    reals = facts["least_real"], facts["greatest_real"]
    if not all(map(math.isfinite, reals)):
        return None
    before = max(map(judging.whole_digits, reals))
    if found.counts["integer"]:
        before = max(before, *(len(str(abs(facts[f]))) for f in ("least", "greatest")))
    behind = _fraction_digits(scan, found)
    return (before, behind) if max(before, behind) <= _MOST_DIGITS else None


def _fraction_digits(scan: Scan, found: _Found) -> int:
    """The most digits behind the point; Python looks only at values that may have more than those of a sample."""
    most = max(map(judging.fraction_digits, scan.sample(found.x, found.of("real"), SAMPLE)))
    # A shortest decimal has at most 17 digits: from here on, too few are left behind the point.
    more = f"abs({{x}}) < 1e{16 - most}"
    if most < _DECIMAL_DIGITS:
        # n / 10**most is the double nearest to that decimal: IEEE 754 divides exactly rounded.
        n = f"round({{x}} * 1e{most})"
        more += f" AND NOT ({n} / 1e{most} = {{x}} AND abs({n}) < 1e{_DECIMAL_DIGITS})"
    question = f"max(profile_fraction_digits({found.x})) FILTER (WHERE {found.among('real', more)})"
    return max(most, int(scan.ask({"most": question})["most"] or 0))


def _judge_texts(scan: Scan, columns: list[_Found]) -> None:
    for group, kind in _text_kinds(scan, columns):
        for found in group:
            found.facts["longest"] = found.facts["widest_text"]
            if kind in (judging.NUL, judging.INVALID):
                found.facts |= {fact: _count(scan, found, "text", fact) for fact in ("nul", "invalid")}
            if kind > judging.PLAIN:
                # length() ends at a NUL.
                ends = found.facts.get("nul", 0) > 0
                length = "profile_characters(CAST({x} AS BLOB))" if ends else "length({x})"
                question = f"max({length.format(x=found.x)}){found.only('text')}"
                found.facts["longest"] = scan.ask({"longest": question})["longest"]
    for found in columns:
        if found.facts["widest_text"] <= judging.LONGEST_TIME:
            _judge_times(scan, found)
        if "JSON" in found.column.declared_type.upper():
            bad = f"sum(CASE {_JSON} WHEN {judging.NO_JSON} THEN 1 WHEN {judging.LOSSY} THEN {_HIGH} ELSE 0 END)"
            answer = scan.ask({"bad": bad.format(x=found.x) + f" FILTER (WHERE {found.of('text')})"})["bad"]
            found.facts["lossy_json"], found.facts["invalid_json"] = divmod(answer, _HIGH)


def _text_kinds(scan: Scan, columns: list[_Found]) -> Iterator[tuple[list[_Found], int]]:
    """Columns by groups, each with the worst of what its texts are.

    A row's texts of UTF-8 are judged together, which takes a third of the time: between line feeds none can make up
    for what another lacks.
    """
    groups = list(_groups(scan, columns))
    questions = {}
    for i, group in enumerate(groups):
        texts = [f.x if not f.only("text") else f"CASE WHEN {f.of('text')} THEN {f.x} END" for f in group]
        joined = f"concat_ws(char(10), {', '.join(texts)})" if len(texts) > 1 else f"coalesce({texts[0]}, '')"
        questions[i] = f"max({_KIND.format(x=joined)})"
    yield from ((groups[i], kind) for i, kind in scan.ask(questions).items())


def _groups(scan: Scan, columns: Iterable[_Found]) -> Iterator[list[_Found]]:
    """Columns whose texts of one row can be joined."""
    group, size = list[_Found](), 0
    most = _JOINED_BYTES if scan.encoding == "utf-8" else 0
    for found in sorted(columns, key=lambda f: f.facts["widest_text"]):
        size += found.facts["widest_text"]
        if group and (size > most or len(group) == _JOINED_COLUMNS):
            yield group
            group, size = [], found.facts["widest_text"]
        group.append(found)
    if group:
        yield group


def _judge_times(scan: Scan, found: _Found) -> None:
    """Count the forms of time, if the first texts have any: SQLite counts the most frequent, Python all others."""
    value = f"CAST({found.x} AS BLOB)"
    sample = scan.sample(value, found.among("text", "octet_length({x}) > 0"), SAMPLE)
    forms = Counter(filter(None, (judging.time_form(data, scan.encoding) for data in sample)))
    if not forms:
        return
    counts = Counter[judging.TimeForm | None]()

    def tally(data: bytes) -> int:
        counts[judging.time_form(data, scan.encoding)] += 1
        return 0

    scan.define("tally", tally)
    scan.define("no_time", lambda data: judging.time_form(data, scan.encoding) is None)
    usual = [form for form, _ in forms.most_common(2)]
    known = [_is_of_form(scan, found.x, form) for form in usual]
    cases = " ".join(f"WHEN {is_form} THEN {weight}" for is_form, weight in zip(known, (1, _HIGH), strict=False))
    question = f"sum(CASE {cases} ELSE profile_tally({value}) END) FILTER (WHERE {found.of('text')})"
    both = divmod(scan.ask({"usual": question})["usual"], _HIGH)
    counts.update(dict(zip(usual, reversed(both), strict=False)))
    found.facts["no_times"] = counts.pop(None, 0)
    found.facts["times"] = {str(form): count for form, count in counts.most_common() if form and count}
    cases = " ".join(f"WHEN {is_form} THEN FALSE" for is_form in known)
    found.conditions["no_times"] = (
        f"CASE WHEN {found.of('text')} THEN CASE {cases} ELSE profile_no_time({value}) END END"
    )


def _is_of_form(scan: Scan, x: str, form: judging.TimeForm) -> str:
    """SQL: true of no texts but instants of this form, and of nearly all of them.

    SQLite's functions write back what they read where that is a valid time, and something else where it is none.
    """
    pattern = "%F" + (form.middle + ("%T" if form.seconds else "%R") if form.middle else "")
    head = f"substr({x}, 1, {10 + (9 if form.seconds else 6 if form.middle else 0)})"
    terms = [
        f"octet_length({x}) = {form.characters * len('0'.encode(scan.encoding))}",
        f"strftime('{pattern}', {head}) = {head}",
        # The year 0 is none. Those from which an offset may lead out are for Python, as are offsets of ten hours.
        f"substr({x}, 1, 4) NOT IN ('0000', '0001', '9999')",
    ]
    if form.tail:
        terms.append(f"substr({x}, {len('YYYY-MM-DD HH:MM') + 1 + 3 * form.seconds}) GLOB '{form.tail}'")
    return " AND ".join(terms)


def _profile(scan: Scan, found: _Found) -> ColumnProfile:
    facts, counts = found.facts, found.counts
    if found.unreadable is not None:
        return ColumnProfile(found.column.name, unreadable=found.unreadable)

    def kind(name: str) -> Evidence:
        return scan.evidence(counts[name], found.of(name))

    def texts(fact: str) -> Evidence:
        condition = found.conditions.get(fact) or found.among("text", _OF_TEXTS.get(fact, "FALSE"))
        return scan.evidence(facts.get(fact) or 0, condition)

    return ColumnProfile(
        found.column.name,
        nulls=scan.evidence(found.rows - found.values, f"{found.x} IS NULL"),
        integers=kind("integer"),
        reals=kind("real"),
        texts=kind("text"),
        blobs=kind("blob"),
        least=facts.get("least"),
        greatest=facts.get("greatest"),
        beyond_double=facts.get("beyond_double", 0),
        whole_reals=facts.get("whole_reals", 0),
        unwritable_reals=facts.get("unwritable_reals", 0),
        least_real=facts.get("least_real"),
        greatest_real=facts.get("greatest_real"),
        digits=facts.get("digits"),
        longest=facts.get("longest", 0),
        widest=max(facts.get("widest_text", 0), facts.get("widest_blob", 0)),
        empty=texts("empty"),
        nul=texts("nul"),
        invalid=texts("invalid"),
        digit_texts=texts("digit_texts"),
        times=facts.get("times", {}),
        no_times=texts("no_times"),
        invalid_json=texts("invalid_json"),
        lossy_json=texts("lossy_json"),
    )


def _bytes(found: _Found) -> int:
    numbers = found.counts["integer"] + found.counts["real"]
    return 8 * numbers + int(found.facts.get("text_bytes", 0)) + int(found.facts.get("blob_bytes", 0))
