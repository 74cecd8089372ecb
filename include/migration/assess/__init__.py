"""Assesses any SQLite database: what is in it, what it becomes in PostgreSQL and why, and what people have to decide.

:func:`assess` writes the plan of the migration and a report for people, and touches neither source nor target.
"""

from __future__ import annotations

import logging
import re
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import apsw

from migration.assess.draft import Draft
from migration.assess.drafting import draft, without
from migration.assess.report import Facts, as_text, write_report
from migration.assess.writing import write_plan
from migration.catalog import Catalog
from migration.derive.findings import Finding, Weight, grade
from migration.errors import PlanError, SourceError, TransientError, translated
from migration.plan import Plan, plan_path, read_plan
from migration.postgres.compiling import uncompilable
from migration.postgres.target import connected
from migration.profile import TableProfile
from migration.sqlite.catalog import read_catalog
from migration.sqlite.opening import check_integrity, open_snapshot, open_source
from migration.sqlite.profiling import profile_table
from migration.sqlite.snapshot import copy_database

log = logging.getLogger("migration")


@dataclass(frozen=True)
class Assessment:
    """What an assessment came to."""

    plan: Plan
    plan_path: Path
    kept: bool
    """Whether a plan of that name was there already, and was left as it was."""
    grade: str
    """A: automatic; B: decisions to confirm; C: something that no proposal settles."""
    text: str
    """The report for a terminal; it ends with what to decide."""
    decisions: tuple[str, ...]
    """A sentence each: what a person has to confirm or to do."""
    files: dict[str, Path]
    """The report's files by kind: html, json."""


def plan_name(source: Path) -> str:
    """The name of the plan for a file: its own, in lower-case letters, digits and underscores."""
    name = re.sub(r"[^a-z0-9]+", "_", source.stem.lower()).strip("_")[:40].strip("_")
    return name if re.match("[a-z]", name) else f"db_{name}"[:40].strip("_")


def assess(
    source: Path, home: Path, *, name: str | None = None, target: str | None = None, replace: bool = False
) -> Assessment:
    """Read all of ``source``, propose its plan, and write plan and report.

    ``target`` is the connection string of a PostgreSQL on which everything is compiled, and rolled back; without it
    that is left to the preflight. A plan of that name is kept as it is unless ``replace``. The report goes to
    ``home/assessments/<name>``. Raises SourceError, PlanError, TargetError or TransientError, each one sentence.
    """
    path = plan_path(name or plan_name(source))
    kept = not replace and _exists(path)
    started = time.monotonic()
    catalog, profiles, encoding = _read(source, home)
    title = source.name
    plan, found = draft(catalog, profiles, name=path.stem, title=title, source=str(source.absolute()))
    if plan is not None and target is not None:
        with connected(target, "Compiling the plan", autocommit=True) as connection:
            lacking = uncompilable(connection, plan)
        plan = without(plan, [(u.kind, u.table, u.name, u.reason) for u in lacking], found)
    if plan is None or not plan.tables:
        reasons = "; ".join(f.sentence() for f in found.findings if f.weight is Weight.WORK)
        raise SourceError(f"Nothing of {source} can be carried: {reasons or 'it has no tables with rows of its own'}.")
    plan = plan.model_copy(update={"confirmed": grade(found.findings) == "A"})
    facts = Facts(
        plan=plan,
        plan_path=path,
        kept=kept,
        source=source.absolute(),
        bytes=source.stat().st_size,
        encoding=encoding,
        catalog=catalog,
        profiles=profiles,
        choices=found.choices,
        findings=_by_weight(found),
        compiled=target is not None,
        seconds=time.monotonic() - started,
    )
    if not kept:
        write_plan(
            plan, path, found.choices, found.findings, grade=facts.grade, day=time.strftime("%Y-%m-%d", time.gmtime())
        )
    files = write_report(facts, home / "assessments" / path.stem)
    return Assessment(
        plan=read_plan(path),
        plan_path=path,
        kept=kept,
        grade=facts.grade,
        text=as_text(facts, files["html"]),
        decisions=tuple(f.sentence() for f in facts.findings if f.weight > Weight.NOTE),
        files=files,
    )


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError as error:
        raise PlanError(f"The folder of the plans, {path.parent}, cannot be read: {error.strerror}.") from error


def _by_weight(found: Draft) -> tuple[Finding, ...]:
    return tuple(sorted(found.findings, key=lambda f: -f.weight))


def _read(source: Path, home: Path) -> tuple[Catalog, dict[str, TableProfile], str]:
    """Catalog, profiles and encoding, all of one moment: of a copy, so that nobody has to wait for the reading."""
    folder = home / "assessments"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix=".copy-") as place:
            copy = Path(place) / "copy.db"
            with translated(f"Copying {source} for the assessment"):
                connection = open_source(source)
                try:
                    copy_database(connection, copy, "assess")
                finally:
                    connection.close()
            return _profiled(source, copy)
    except OSError as error:
        raise TransientError(
            f"The assessment cannot write to {folder}: {error.strerror}. Free or grant space there, then try again."
        ) from error


def _instead(catalog: Catalog) -> str:
    virtual = ", ".join(f"{v.name} ({v.module})" for v in catalog.virtual_tables)
    if virtual:
        return f" but virtual ones, whose rows SQLite's modules keep: {virtual}. Copy them into plain tables first."
    return ". Is it the application's database, or a new one?"


def _profiled(source: Path, copy: Path) -> tuple[Catalog, dict[str, TableProfile], str]:
    with translated(f"Assessing {source}"):
        connection: apsw.Connection = open_snapshot(copy)
        try:
            check_integrity(connection, source, quick=True)
            catalog = read_catalog(connection)
            if not catalog.tables:
                raise SourceError(f"The source {source} holds no tables{_instead(catalog)}")
            encoding = str(connection.execute("PRAGMA encoding").fetchall()[0][0])
            return catalog, {t.name: profile_table(connection, catalog, t) for t in catalog.tables}, encoding
        finally:
            connection.close()
