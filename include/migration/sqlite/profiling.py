"""Reads the profile of a table: what the values of its columns really are.

SQLite counts, in few scans of all columns together: first the storage classes, then what matters of the classes that a
column has. Python judges what SQL cannot (``judging``), and only where cheaper facts say that it matters.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
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

_KIND = "profile_text_kind(CAST({x} AS BLOB))"
_JSON = "profile_json_kind(CAST({x} AS BLOB))"
# COLLATE BINARY wherever values are compared: SQLite may lack the collation that a column has.
_CONDITIONS = {
    "beyond_double": "{x} COLLATE BINARY <> CAST({x} AS REAL)",  # SQLite compares integers with reals exactly
    "whole": "{x} COLLATE BINARY = CAST({x} AS INTEGER)",
    "negative_zeros": "{x} COLLATE BINARY = 0.0 AND atan2({x}, -1.0) < 0",  # as text it looks like 0.0
    "infinite": "abs({x}) = 9e999",
    "empty": "octet_length({x}) = 0",
    "nul": f"{_KIND} = {judging.NUL}",
    "invalid": f"{_KIND} = {judging.INVALID}",
    # + keeps a column's affinity out of the comparison, which would make a number of the other side.
    "digit_texts": "octet_length({x}) <= 40 AND CAST(CAST({x} AS INTEGER) AS TEXT) = +{x} COLLATE BINARY",
    "invalid_json": f"{_JSON} = {judging.NO_JSON}",
    "lossy_json": f"{_JSON} = {judging.LOSSY}",
}
"""Of which values of its storage class a fact is true."""
# What is asked first of each storage class that a column has. {size}: bytes (UTF-8) of a text.
_MEASURES = {
    "integer": {"least": "min({x} COLLATE BINARY)", "greatest": "max({x} COLLATE BINARY)"},
    "real": {"least_real": "min({x} COLLATE BINARY)", "greatest_real": "max({x} COLLATE BINARY)"},
    "text": {"text_bytes": "sum({size})", "widest_text": "max({size})"},
    "blob": {"blob_bytes": "sum(octet_length({x}))", "widest_blob": "max(octet_length({x}))"},
}
_COUNTED = {"integer": (), "real": ("whole",), "text": ("empty", "digit_texts"), "blob": ()}


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

    def only(self, kind: str, sql: str) -> bool:
        """Whether ``sql`` can meet no value but of this storage class; SQLite's own functions pass over NULL."""
        return self.counts[kind] == (self.rows if "profile_" in sql else self.values)

    def over(self, kind: str, aggregate: str) -> str:
        """SQL: the aggregate over the values of a storage class."""
        return aggregate if self.only(kind, aggregate) else f"{aggregate} FILTER (WHERE {self.of(kind)})"

    def among(self, kind: str, condition: str) -> str:
        """SQL: a condition about the values of a storage class alone, which sees no others: AND has no order."""
        sql = condition.format(x=self.x)
        return sql if self.only(kind, sql) else f"CASE WHEN {self.of(kind)} THEN {sql} END"

    def count(self, kind: str, fact: str) -> dict[str, str]:
        """The question of how many values of a storage class a fact is true."""
        return {fact: f"count(*) FILTER (WHERE {self.among(kind, _CONDITIONS[fact])})"}


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
        _ask(scan, readable, partial(_measures, scan))
        _ask(scan, readable, partial(_number_questions, scan))
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


def _ask(scan: Scan, columns: Sequence[_Found], questions: Callable[[_Found], dict[str, str]]) -> None:
    """Find facts of all these columns together, by the aggregates that ``questions`` has for each."""
    asked = {(i, fact): sql for i, found in enumerate(columns) for fact, sql in questions(found).items()}
    for (i, fact), answer in scan.ask(asked).items():
        columns[i].facts[fact] = answer


def _measures(scan: Scan, found: _Found) -> dict[str, str]:
    asked = dict[str, str]()
    for kind in filter(found.counts.get, _CLASSES):
        for fact, measure in _MEASURES[kind].items():
            asked[fact] = found.over(kind, measure.format(x=found.x, size=scan.size(found.x)))
        for fact in _COUNTED[kind]:
            asked |= found.count(kind, fact)
    return asked


def _number_questions(scan: Scan, found: _Found) -> dict[str, str]:
    facts, asked = found.facts, dict[str, str]()
    if found.counts["integer"] and not -(2**53) <= facts["least"] <= facts["greatest"] <= 2**53:
        asked |= found.count("integer", "beyond_double")
    if found.counts["real"]:
        if facts["least_real"] <= 0 <= facts["greatest_real"]:
            asked |= found.count("real", "negative_zeros")
        if math.inf in (-facts["least_real"], facts["greatest_real"]):
            asked |= found.count("real", "infinite")
        else:
            asked |= _fraction_question(scan, found)
    return asked


def _fraction_question(scan: Scan, found: _Found) -> dict[str, str]:
    """The most digits behind the point; Python looks only at values that may have more than those of a sample."""
    most = max(map(judging.fraction_digits, scan.sample(found.x, found.of("real"), SAMPLE)))
    found.facts["usual_fraction"] = most
    # A shortest decimal has at most 17 digits: from here on, too few are left behind the point.
    more = f"abs({{x}}) < 1e{16 - most}"
    if most < _DECIMAL_DIGITS:
        # n / 10**most is the double nearest to that decimal: IEEE 754 divides exactly rounded.
        n = f"round({{x}} * 1e{most})"
        more += f" AND NOT ({n} / 1e{most} = {{x}} COLLATE BINARY AND abs({n}) < 1e{_DECIMAL_DIGITS})"
    return {"fraction": f"max(profile_fraction_digits({found.x})) FILTER (WHERE {found.among('real', more)})"}


def _digits(found: _Found) -> tuple[int, int] | None:
    facts = found.facts
    if not found.counts["real"] and not _SCALE.search(found.column.declared_type):
        return None
    numbers = [facts[f] for f in ("least", "greatest", "least_real", "greatest_real") if f in facts]
    if not numbers or not all(map(math.isfinite, numbers)):
        return None
    before = max(map(judging.whole_digits, numbers))
    behind = max(facts.get("usual_fraction", 0), facts.get("fraction") or 0)
    return (before, behind) if max(before, behind) <= _MOST_DIGITS else None


def _judge_texts(scan: Scan, columns: list[_Found]) -> None:
    kinds = list(_text_kinds(scan, columns))
    for found, _ in kinds:
        found.facts["longest"] = found.facts["widest_text"]
    doubtful = [found for found, kind in kinds if kind in (judging.NUL, judging.INVALID)]
    _ask(scan, doubtful, lambda found: found.count("text", "nul") | found.count("text", "invalid"))
    _ask(scan, [found for found, kind in kinds if kind != judging.PLAIN], _length_question)
    for found in columns:
        if any(word in found.column.declared_type.upper() for word in ("DATE", "TIME")):
            _judge_times(scan, found)
    documents = [found for found in columns if "JSON" in found.column.declared_type.upper()]
    _ask(scan, documents, _json_question)
    for found in documents:
        found.facts["lossy_json"], found.facts["invalid_json"] = divmod(found.facts["bad_json"], _HIGH)


def _length_question(found: _Found) -> dict[str, str]:
    # length() ends at a NUL.
    length = f"profile_characters(CAST({found.x} AS BLOB))" if found.facts.get("nul") else f"length({found.x})"
    return {"longest": found.over("text", f"max({length})")}


def _json_question(found: _Found) -> dict[str, str]:
    weights = f"CASE {_JSON} WHEN {judging.NO_JSON} THEN 1 WHEN {judging.LOSSY} THEN {_HIGH} ELSE 0 END"
    return {"bad_json": found.over("text", f"sum({weights.format(x=found.x)})")}


def _text_kinds(scan: Scan, columns: list[_Found]) -> Iterator[tuple[_Found, int]]:
    """Columns with the worst of what the texts of their group are.

    A row's texts of UTF-8 are judged together, which takes a third of the time: between line feeds none can make up
    for what another lacks.
    """
    groups = list(_groups(scan, columns))
    questions = {}
    for i, group in enumerate(groups):
        texts = [f.among("text", "{x}") for f in group]
        joined = f"concat_ws(char(10), {', '.join(texts)})" if len(texts) > 1 else f"coalesce({texts[0]}, '')"
        questions[i] = f"max({_KIND.format(x=joined)})"
    for i, kind in scan.ask(questions).items():
        yield from ((found, kind) for found in groups[i])


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
    """Count the forms of time: SQLite those that are frequent in the first texts, Python all others."""
    value = f"CAST({found.x} AS BLOB)"
    sample = scan.sample(
        value, found.among("text", f"octet_length({{x}}) BETWEEN 1 AND {judging.LONGEST_TIME}"), SAMPLE
    )
    forms = Counter(filter(None, (judging.time_form(data, scan.encoding) for data in sample)))
    counts = Counter[judging.TimeForm | None]()

    def tally(data: bytes) -> int:
        counts[judging.time_form(data, scan.encoding)] += 1
        return 0

    scan.define("tally", tally)
    scan.define("no_time", lambda data: judging.time_form(data, scan.encoding) is None)
    usual = [form for form, _ in forms.most_common(2)]
    known = [_is_of_form(scan, found.x, form) for form in usual]
    is_text = found.of("text")
    weighed = "".join(f" WHEN {is_form} THEN {weight}" for is_form, weight in zip(known, (1, _HIGH), strict=False))
    question = f"sum(CASE WHEN NOT {is_text} THEN 0{weighed} ELSE profile_tally({value}) END)"
    both = divmod(scan.ask({"usual": question})["usual"], _HIGH)
    counts.update(dict(zip(usual, reversed(both), strict=False)))
    found.facts["no_times"] = counts.pop(None, 0)
    found.facts["times"] = {str(form): count for form, count in counts.most_common() if form and count}
    others = "".join(f" WHEN {is_form} THEN FALSE" for is_form in known)
    found.conditions["no_times"] = f"CASE WHEN NOT {is_text} THEN FALSE{others} ELSE profile_no_time({value}) END"


def _is_of_form(scan: Scan, x: str, form: judging.TimeForm) -> str:
    """SQL: true of no texts but instants of this form, and of nearly all of them.

    SQLite's date() and datetime() write back what they read where that is a valid time, else something other.
    """
    end = 10 + (9 if form.seconds else 6 if form.middle else 0)
    head = f"substr({x}, 1, {end})"
    written = f"replace({head}, 'T', ' ')" if form.middle == "T" else head
    terms = [
        f"octet_length({x}) = {form.characters * len('0'.encode(scan.encoding))}",
        f"{'datetime' if form.middle else 'date'}({head}) = {written}" + " || ':00'" * (end == 16),
        # The year 0 is none. Those from which an offset may lead out are for Python, as are offsets of ten hours.
        *(f"{x} NOT GLOB '{year}*'" for year in ("0000", "0001", "9999")[: None if len(form.zone) > 1 else 1]),
    ]
    if form.middle == "T":
        terms.append(f"substr({x}, 11, 1) = 'T'")
    if form.tail:
        terms.append(f"substr({x}, {end + 1}) GLOB '{form.tail}'")
    return " AND ".join(terms)


def _profile(scan: Scan, found: _Found) -> ColumnProfile:
    facts, counts = found.facts, found.counts
    if found.unreadable is not None:
        return ColumnProfile(found.column.name, unreadable=found.unreadable)

    zeros = facts.get("negative_zeros", 0)

    def kind(name: str) -> Evidence:
        return scan.evidence(counts[name], found.of(name))

    def texts(fact: str) -> Evidence:
        condition = found.conditions.get(fact) or found.among("text", _CONDITIONS.get(fact, "FALSE"))
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
        whole_reals=facts.get("whole", 0) - zeros,
        unwritable_reals=facts.get("infinite", 0) + zeros,
        least_real=facts.get("least_real"),
        greatest_real=facts.get("greatest_real"),
        digits=_digits(found),
        longest=facts.get("longest", 0),
        widest=max(facts.get("widest_text", 0), facts.get("widest_blob", 0)),
        empty=texts("empty"),
        nul=texts("nul"),
        invalid=texts("invalid"),
        digit_texts=texts("digit_texts"),
        twins=_twins(scan, found),
        times=facts.get("times", {}),
        no_times=texts("no_times"),
        invalid_json=texts("invalid_json"),
        lossy_json=texts("lossy_json"),
    )


def _twins(scan: Scan, found: _Found) -> Evidence:
    if not (found.facts.get("digit_texts") and found.counts["integer"]):
        return Evidence()
    alike = found.among("text", _CONDITIONS["digit_texts"])
    integers = f"SELECT {found.x} {scan.source} WHERE {found.of('integer')}"
    condition = f"CASE WHEN {alike} THEN CAST({found.x} AS INTEGER) IN ({integers}) END"
    return scan.evidence(scan.ask({"twins": f"count(*) FILTER (WHERE {condition})"})["twins"], condition)


def _bytes(found: _Found) -> int:
    numbers = found.counts["integer"] + found.counts["real"]
    return 8 * numbers + int(found.facts.get("text_bytes", 0)) + int(found.facts.get("blob_bytes", 0))
