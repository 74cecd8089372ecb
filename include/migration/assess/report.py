"""The assessment for people: as text for a terminal, as one HTML page, and the same facts as JSON."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from migration.catalog import Catalog
from migration.derive.findings import Finding, Weight, grade
from migration.derive.types import Choice
from migration.errors import TransientError
from migration.plan import Plan
from migration.profile import ColumnProfile, TableProfile
from migration.report.files import replace_file
from migration.report.page import rendered
from migration.report.words import cells, counted, duration, size, visible, wrapped

WIDTH = 110
LISTED, NAMED = 25, 8
"""So many tables, and so many findings of a weight, are listed on a terminal, and so many subjects of findings that are
alike; the page has all."""

# Load, keys and proof on two cores with PostgreSQL beside them: a million rows of nine columns (223 MB) took 12.9 s,
# 300 tables of 200 rows 28 s. They say what to expect of the engine, not what will be; Airflow adds a second a task.
ROWS_PER_SECOND, MB_PER_SECOND, SECONDS_PER_TABLE = 120_000, 35, 0.1
# A row's header, line pointer and padding; an index's entry.
BYTES_PER_ROW, BYTES_PER_INDEX_ROW = 32, 24

GRADES = {
    "A": "automatic: everything is carried as it is, nothing to decide",
    "B": "decisions to confirm: the plan proposes one for each",
    "C": "needs work: something that no proposal settles",
}


@dataclass(frozen=True)
class Facts:
    """All that an assessment knows."""

    plan: Plan
    plan_path: Path
    kept: bool
    source: Path
    bytes: int
    encoding: str
    catalog: Catalog
    profiles: Mapping[str, TableProfile]
    choices: Mapping[tuple[str, str], Choice]
    findings: tuple[Finding, ...]
    """The weightiest first."""
    compiled: bool
    """Whether PostgreSQL has tried everything that the plan gives it."""
    seconds: float

    @property
    def grade(self) -> str:
        """A, B or C."""
        return grade(self.findings)

    @property
    def rows(self) -> int:
        """Rows of the tables that are carried."""
        return sum(self.profiles[t].rows for t in self.plan.tables)

    @property
    def target_bytes(self) -> int:
        """About how large the tables and indexes will be in PostgreSQL."""
        total = 0
        for name, table in self.plan.tables.items():
            profile = self.profiles[name]
            keys = len(table.indexes) + len(table.unique) + (table.primary_key is not None)
            total += profile.bytes + profile.rows * (BYTES_PER_ROW + BYTES_PER_INDEX_ROW * keys)
        return total

    @property
    def load_seconds(self) -> float:
        """About how long load, keys and proof take."""
        content = sum(self.profiles[t].bytes for t in self.plan.tables)
        return self.rows / ROWS_PER_SECOND + content / 1e6 / MB_PER_SECOND + len(self.plan.tables) * SECONDS_PER_TABLE

    def weighing(self, *weights: Weight) -> list[Finding]:
        """The findings of these weights."""
        return [f for f in self.findings if f.weight in weights]


def as_text(facts: Facts, html: Path) -> str:
    """The report for a terminal; it ends with what to decide."""
    return "\n".join(_lines(facts, html))


def _lines(facts: Facts, html: Path) -> Iterator[str]:
    yield f"Assessment of {visible(str(facts.source))}"
    yield (
        f"{counted(len(facts.catalog.tables), 'table')}, {counted(facts.rows, 'row')}, {size(facts.bytes)}, "
        f"{facts.encoding}; in PostgreSQL about {size(facts.target_bytes)}, loaded and proved in about "
        f"{duration(max(facts.load_seconds, 1))}"
    )
    yield ""
    listed = sorted(facts.plan.tables, key=lambda t: -facts.profiles[t].rows)
    names = {t: visible(t)[:40] for t in listed}
    width = max(cells(n) for n in names.values())
    for name in listed[:LISTED]:
        kinds = Counter(str(c.type).split("(")[0] for c in facts.plan.tables[name].columns.values())
        types = ", ".join(f"{n} {k}" for k, n in kinds.most_common())
        pad = " " * (width - cells(names[name]))
        yield f"  {names[name]}{pad}  {facts.profiles[name].rows:>12,} rows   {types}"
    if len(listed) > LISTED:
        yield f"  … and {counted(len(listed) - LISTED, 'smaller table')}"
    if refused := Counter(r.kind for r in facts.plan.refused):
        yield ""
        kinds_left = ", ".join(counted(n, kind) for kind, n in refused.items())
        yield f"Not carried, each named in plan and report: {kinds_left}"
    yield f"Worth knowing: {counted(len(facts.weighing(Weight.NOTE)), 'note')} in the report"
    yield ""
    yield f"Plan    {visible(str(facts.plan_path))}{' (kept as it was)' if facts.kept else ''}"
    yield f"Report  {visible(str(html))}"
    yield f"Grade   {facts.grade}, {GRADES[facts.grade]}"
    for heading, weight in (
        ("To be done:", Weight.WORK),
        ("To confirm, or to declare otherwise in the plan:", Weight.DECIDE),
    ):
        lines = list(_together(facts.weighing(weight)))
        if lines:
            yield f"\n{heading}"
        for line in lines[:LISTED]:
            first, *rest = wrapped(line, WIDTH - 4)
            yield f"  - {first}"
            yield from (f"    {more}" for more in rest)
        if len(lines) > LISTED:
            yield f"  … and {len(lines) - LISTED:,} more in the report"


def _together(findings: list[Finding]) -> Iterator[str]:
    """The findings' sentences; those that differ in nothing but their subject in one."""
    for same in alike(findings):
        if len(same) == 1:
            yield same[0].sentence()
        else:
            subjects = ", ".join(f.subject for f in same[:NAMED]) + (", …" if len(same) > NAMED else "")
            yield f"{len(same):,} times: {same[0].what}. {same[0].proposal}: {subjects} [{same[0].rule}]"


def alike(findings: list[Finding]) -> list[list[Finding]]:
    """The findings in groups: of those that differ in nothing but their subject, where there are three or more."""
    groups: dict[object, list[Finding]] = {}
    for finding in findings:
        own = finding if finding.evidence else (finding.rule, finding.what, finding.proposal)
        groups.setdefault(own, []).append(finding)
    return [part for same in groups.values() for part in ([same] if len(same) > 2 else [[f] for f in same])]


def write_report(facts: Facts, folder: Path) -> dict[str, Path]:
    """Write ``report.html`` and ``report.json`` into ``folder``; where they are, by kind. TransientError: no space."""
    files = {"html": folder / "report.html", "json": folder / "report.json"}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        replace_file(files["json"], json.dumps(as_dict(facts), indent=1) + "\n")
        replace_file(files["html"], _page(facts))
    except OSError as error:
        raise TransientError(
            f"The report cannot be written to {folder}: {error.strerror}. Free or grant space there, then try again."
        ) from error
    return files


def as_dict(facts: Facts) -> dict[str, Any]:
    """The facts under the keys of the JSON file."""
    return {
        "format": 1,
        "source": str(facts.source),
        "bytes": facts.bytes,
        "encoding": facts.encoding,
        "grade": facts.grade,
        "plan": str(facts.plan_path),
        "compiled": facts.compiled,
        "rows": facts.rows,
        "target_bytes": facts.target_bytes,
        "load_seconds": round(facts.load_seconds, 1),
        "tables": [_table(facts, name) for name in facts.plan.tables],
        "excluded_tables": list(facts.plan.exclude_tables),
        "views": list(facts.plan.views),
        "refused": [r.model_dump() for r in facts.plan.refused],
        "findings": [asdict(f) | {"weight": f.weight.name.lower(), "sentence": f.sentence()} for f in facts.findings],
    }


def _table(facts: Facts, name: str) -> dict[str, Any]:
    profile = facts.profiles[name]
    return {
        "name": name,
        "target": facts.plan.target_table(name),
        "rows": profile.rows,
        "bytes": profile.bytes,
        "columns": [
            asdict(profile.column(c))
            | {
                "declared": p.declared,
                "type": p.type,
                "cast": p.cast,
                "invalid": p.invalid,
                "why": facts.choices[name, c].why,
            }
            for c, p in facts.plan.tables[name].columns.items()
        ],
    }


def _page(facts: Facts) -> str:
    return rendered(
        "assessment.html",
        facts=facts,
        meaning=GRADES[facts.grade],
        work=alike(facts.weighing(Weight.WORK)),
        decide=alike(facts.weighing(Weight.DECIDE)),
        notes=alike(facts.weighing(Weight.NOTE)),
        evidence=_evidence,
        hue={"A": "good", "B": "warn", "C": "bad"}[facts.grade],
    )


def _evidence(profile: ColumnProfile) -> str:
    """What the values of a column are, in a few words."""
    words = []
    for count, one in (
        (profile.nulls, "NULL"),
        (profile.integers, "integer"),
        (profile.reals, "real"),
        (profile.texts, "text"),
        (profile.blobs, "blob"),
    ):
        if count:
            words.append(counted(count.count, one))
    if profile.integers:
        words.append(f"from {profile.least} to {profile.greatest}")
    if profile.reals:
        words.append(f"reals from {profile.least_real} to {profile.greatest_real}")
    if profile.texts:
        words.append(f"up to {counted(profile.longest, 'character')}")
    if profile.blobs:
        words.append(f"up to {size(profile.widest)}")
    if profile.times:
        words.append(", ".join(f"{n:,} × {form}" for form, n in profile.times.items()))
    return "; ".join(words)
