"""Writes a plan as a file for people: one line a column, with why it is as it is, and what else could be declared."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml

from migration.derive.findings import Finding, Weight
from migration.derive.types import Choice
from migration.errors import PlanError
from migration.plan import ColumnPlan, Plan, TablePlan, read_plan

_HEAD = """\
# {title}: how its SQLite database goes into PostgreSQL. Assessed on {day}; grade {grade}.
# Everything here may be changed. What may stand here, and what each word means: include/migration/plan.py.
# Names are the source's; SQL (defaults, checks, index keys, views) is PostgreSQL's, over the target's names.
# A value that cannot cross stops its load by name, unless its column says `invalid: quarantine` (the whole row is set
# aside, byte for byte), `null`, `round`, `strip`, `text` or `bytes` (the value changes, and its original is kept).
"""


def write_plan(
    plan: Plan,
    path: Path,
    choices: Mapping[tuple[str, str], Choice],
    findings: Iterable[Finding],
    *,
    grade: str,
    day: str,
) -> None:
    """Write the plan file, whole or not at all; PlanError when it cannot be written."""
    by_subject: dict[tuple[str, str], list[Finding]] = {}
    for finding in findings:
        by_subject.setdefault((finding.table, finding.place), []).append(finding)
    text = "\n".join(_lines(plan, choices, by_subject, grade, day)) + "\n"
    partial = path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(text, encoding="utf-8")
        if read_plan(partial) != plan:  # a name or text that YAML does not bring back as it was
            raise PlanError(
                f"The plan {path.name} does not read as it was written; please report this with the database."
            )
        partial.replace(path)
    except OSError as error:
        raise PlanError(f"The plan cannot be written to {path}: {error.strerror}. Make the folder writable.") from error
    finally:
        with suppress(OSError):  # the folder may not be one
            partial.unlink()


def _lines(
    plan: Plan,
    choices: Mapping[tuple[str, str], Choice],
    findings: Mapping[tuple[str, str], list[Finding]],
    grade: str,
    day: str,
) -> Iterator[str]:
    yield _HEAD.format(title=_plain(plan.title), day=day, grade=grade)
    for name in ("name", "title", "source", "target", "live_schema"):
        yield f"{name}: {_flow(getattr(plan, name))}"
    if not plan.confirmed:
        yield "confirmed: false  # true, once every line with TO CONFIRM is as it shall be"
    yield "\ntables:"
    for name, table in plan.tables.items():
        yield ""
        yield from _comments(findings.get((name, ""), ()), "  ")
        yield f"  {_flow(name)}:"
        yield from _table(name, table, choices, findings)
    if plan.exclude_tables:
        yield "\nexclude_tables:"
        yield from (f"  - {_flow(name)}" for name in plan.exclude_tables)
    if plan.views:
        yield "\nviews:"
        yield from (f"  {_flow(n)}: {_flow(v.model_dump(exclude_defaults=True))}" for n, v in plan.views.items())
    if plan.refused:
        yield "\n# Not carried, to be read only: nothing follows from what stands here."
        yield "refused:"
        yield from (f"  - {_flow(r.model_dump(exclude_defaults=True))}" for r in plan.refused)


def _table(
    name: str,
    table: TablePlan,
    choices: Mapping[tuple[str, str], Choice],
    findings: Mapping[tuple[str, str], list[Finding]],
) -> Iterator[str]:
    facts = table.model_dump(mode="json", exclude_defaults=True)
    for field in ("rename", "rows", "exclude_columns"):
        if field in facts:
            yield f"    {field}: {_flow(facts[field])}"
    yield "    columns:"
    for column, plan in table.columns.items():
        yield from _comments(findings.get((name, column), ()), "      ")
        choice = choices.get((name, column))
        why = f"  # {_plain(choice.why)}" if choice else ""
        yield f"      {_flow(column)}: {_flow(_column(plan))}{why}"
    if "primary_key" in facts:
        yield f"    primary_key: {_flow(facts['primary_key'])}"
    for field in ("unique", "checks", "indexes", "foreign_keys"):
        if field in facts:
            yield f"    {field}:"
            for label, content in facts[field].items():
                yield from _comments(findings.get((name, label), ()), "      ")
                yield f"      {_flow(label)}: {_flow(content)}"


def _column(plan: ColumnPlan) -> dict[str, Any]:
    """What is declared, the type first."""
    facts = plan.model_dump(mode="json", exclude_defaults=True)
    return {"type": facts.pop("type"), **facts}


def _comments(findings: Iterable[Finding], indent: str) -> Iterator[str]:
    for finding in findings:
        mark = "TO CONFIRM: " if finding.weight >= Weight.DECIDE else ""
        yield f"{indent}# {mark}{_plain(finding.sentence())}"


def _plain(text: str) -> str:
    """Text for a comment: on one line, and nothing that YAML refuses even there."""
    return "".join(c if c.isprintable() else " " for c in text)


class _Dumper(yaml.SafeDumper):
    """Text that is not plainly printable goes within double quotes, where YAML escapes it and breaks no line."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=None if text.isprintable() else '"')


_Dumper.add_representer(str, _text)


def _flow(value: Any) -> str:
    """A value as YAML on one line."""
    text: str = yaml.dump(
        value, Dumper=_Dumper, default_flow_style=True, sort_keys=False, allow_unicode=True, width=float("inf")
    )
    return text.removesuffix("\n").removesuffix("\n...")
