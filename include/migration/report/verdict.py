"""Whether a run is a success, decided from the facts alone, with every reason when it is not."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from migration.report.facts import Load, Report, StepFacts, TableFacts, Verification
from migration.report.words import counted, when


@dataclass(frozen=True)
class Verdict:
    """The decision on a run. ``reasons`` is empty exactly when ``success``."""

    success: bool
    proven: bool
    """Whether every planned table is loaded, indexed, verified and balanced, and no step failed or runs:
    all that can be known before the cut-over is decided."""
    status: str
    """What the run came to, in words: cut over, rehearsal passed, staging kept, failed, rolled back, …"""
    summary: str
    """One sentence for people."""
    reasons: tuple[str, ...]

    @property
    def label(self) -> str:
        """The verdict as one loud word or two."""
        if self.success:
            return "SUCCESS"
        if self.status in ("rolled back", "superseded", PLANLESS):
            return self.status.upper()
        return "NOT FINISHED" if self.status in UNFINISHED else "FAILED"


PLANLESS = "no verdict"
READY = "verified, not cut over"
UNFINISHED = ("running", "unfinished", READY)
NAMED = 20
"""So many tables are named in one sentence."""


def verdict(report: Report) -> Verdict:
    """Decide. A report is often made while its own step runs, so the step ``report`` is not looked at."""
    steps = [s for s in report.steps if s.name != "report"]
    wrong = [*_data_faults(report)]
    faults = [*_plan_faults(report), *_step_faults(steps), *wrong, *_progress_faults(report, steps)]
    proven = not faults
    reasons = (*faults, *_cut_over_faults(report))
    status = PLANLESS
    if has_plan(report):
        failed = bool(wrong) or any(s.status == "failed" for s in steps)
        running = any(s.status == "running" for s in steps)
        status = outcome(report.status, report.mode, failed, report.withheld, proven, running)
    return Verdict(
        success=not reasons,
        proven=proven,
        status=status,
        summary=_summary(report, status, not reasons),
        reasons=reasons,
    )


def table_state(report: Report, table: TableFacts) -> str:
    """How far one table came, in a word or two."""
    for step in report.steps:
        if step.table == table.name and step.status == "failed":
            return f"{step.name} failed"
    load, verification = table.load, table.verified
    if load is None:
        return "not loaded"
    if verification is not None:
        return "verified" if verification.ok and not verification.differences else "differs"
    return "loaded" if load.indexed_at is None else "indexed"


def urgency(report: Report, table: TableFacts) -> int:
    """The lower, the more a table calls for a person: 0 when something is wrong, 3 when all is well."""
    state = table_state(report, table)
    if state == "differs" or state.endswith("failed"):
        return 0
    held = table.quarantine_held or table.altered_held or table.differences_held
    return (2 if held else 3) if state == "verified" else 1


def eventless(report: Report, table: TableFacts) -> bool:
    """Whether there is nothing to say about a table but that it was empty and is verified."""
    held = table.quarantine_held or table.altered_held or table.differences_held
    empty = table.load is not None and not table.load.source_rows
    return empty and not held and table_state(report, table) == "verified"


def remarks(report: Report) -> tuple[str, ...]:
    """What no verdict turns on and a person should know all the same, a sentence each."""
    return tuple(_remarks(report))


def _remarks(report: Report) -> Iterator[str]:
    if report.live_before and report.mode == "cut_over":
        rows = sum(report.live_before.values())
        held = f"({counted(len(report.live_before), 'table')}, {counted(rows, 'row')})"
        if report.status == "cut_over":
            yield f"What was live before {held} is kept in schema {report.retired}."
        elif report.status in ("running", "kept"):
            yield f"The cut-over will move what is live now {held} into schema {report.retired}."
    for table in report.tables:
        for check in table.verified.checks if table.verified and table.verified.ok else ():
            if not check.ok:
                yield f"Table {table.name}: {check.name}: {check.detail}"
        if not table.planned and has_plan(report):
            yield f"Table {table.name} was loaded, but is not in the plan now; the verdict leaves it out."
        if table.excluded_columns:
            yield f"Table {table.name}: columns left behind by name: {', '.join(table.excluded_columns)}."
    if changed := [t.name for t in report.tables if t.plan_changed]:
        yield f"Loaded with another plan than the one that is there now: {_listed(changed)}."
    if report.excluded_tables:
        yield f"Tables left behind by name: {', '.join(report.excluded_tables)}."
    kinds: dict[str, list[str]] = {}
    for refused in report.refused:
        kinds.setdefault(refused.kind, []).append(".".join(filter(None, (refused.table, refused.name))))
    for kind, names in kinds.items():
        yield f"Not carried, as the plan says: {counted(len(names), kind)}: {_listed(names)}."


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - NAMED:,} more" if len(names) > NAMED else ""
    return f"{', '.join(names[:NAMED])}{more}"


def has_plan(report: Report) -> bool:
    """Whether there is a plan to judge by: a plan has a table at least, the stand-in for one that is gone has none."""
    return any(t.planned for t in report.tables)


def _plan_faults(report: Report) -> Iterator[str]:
    if not has_plan(report):
        yield "Without its plan nothing says which tables this run should have moved."


def _step_faults(steps: list[StepFacts]) -> Iterator[str]:
    for step in steps:
        if step.status == "failed":
            yield f"The {step.label} failed."
        elif step.status != "done":
            since = when(step.started_at)
            yield f"The {step.label} has not ended: it is running since {since}, or its process was killed."


def _data_faults(report: Report) -> Iterator[str]:
    for table in report.tables:
        if table.planned and table.load:
            yield from _balance_faults(table, table.load)
        if table.planned and table.verified:
            yield from _verification_faults(table, table.verified)


def _progress_faults(report: Report, steps: list[StepFacts]) -> Iterator[str]:
    said = {s.table for s in steps if s.name == "load" and s.status != "done"}
    behind: dict[str, list[str]] = {}
    for table in report.tables:
        if not table.planned:
            continue
        if (missing := _missing(table)) and (table.load or table.name not in said):
            behind.setdefault(missing, []).append(table.name)
    for missing, names in behind.items():
        tables = "Table" if len(names) == 1 else f"{len(names):,} tables"
        yield f"{tables} {missing}: {_listed(names)}."


def _missing(table: TableFacts) -> str | None:
    """The first thing on a table's way that has not happened; equal answers share a sentence."""
    if table.load is None:
        return "not loaded"
    if table.load.indexed_at is None:
        return "loaded, but without keys and indexes yet"
    if table.verified is None:
        return "loaded again after being verified" if table.verification else "loaded, but not verified"
    return None


def _balance_faults(table: TableFacts, load: Load) -> Iterator[str]:
    name = table.name
    if not load.balanced:
        accounted = load.loaded + load.quarantined + load.excluded
        yield (
            f"Table {name} is out of balance: of {load.source_rows:,} source rows, "
            f"{accounted:,} are accounted for ({load.loaded:,} loaded, {load.quarantined:,} quarantined, "
            f"{load.excluded:,} excluded)."
        )
    if load.quarantined != table.quarantine_held:
        yield (
            f"Table {name} has {load.quarantined:,} quarantined rows by its load's count, "
            f"but the quarantine holds {table.quarantine_held:,}."
        )
    if load.altered != table.altered_held:
        yield (
            f"Table {name} has {load.altered:,} altered values by its load's count, "
            f"but the originals of {table.altered_held:,} are kept."
        )


def _verification_faults(table: TableFacts, verification: Verification) -> Iterator[str]:
    if table.load and verification.rows != table.load.loaded:
        loaded, verified = table.load.loaded, verification.rows
        yield f"Table {table.name}: {loaded:,} rows were loaded, {verified:,} were verified."
    if verification.ok and not verification.differences:
        return
    found = f"failed checks: {', '.join(c.name for c in verification.checks if not c.ok) or 'unnamed'}"
    if verification.differences:
        found = counted(verification.differences, "difference")
    yield f"Table {table.name} does not hold what the snapshot holds ({found})."


def _cut_over_faults(report: Report) -> Iterator[str]:
    if report.status == "rolled_back":
        moment = f" at {when(report.rolled_back_at)}" if report.rolled_back_at else ""
        yield f"The run was rolled back{moment}."
    elif report.unanswered and report.status != "cut_over":
        yield (
            "Nobody decided in time whether to cut over, so the staging is kept. Clear the approve task, downstream "
            "included, to be asked again."
        )
    elif report.mode == "cut_over" and report.status != "cut_over" and not report.withheld:
        later = "; a later run of the plan has taken its place" if report.status == "superseded" else ""
        yield f"The run was not cut over{later}."


def outcome(recorded: str, mode: str, failed: bool, withheld: bool, proven: bool, running: bool) -> str:
    """What a run came to, in words, of which ``recorded`` is the state's."""
    ended = {"cut_over": "cut over", "rolled_back": "rolled back", "superseded": "superseded"}
    if recorded in ended:
        return ended[recorded]
    if failed:
        return "failed"
    if withheld:
        return "staging kept"
    if proven:
        return "rehearsal passed" if mode == "rehearsal" else READY
    return "running" if running else "unfinished"


def _summary(report: Report, status: str, success: bool) -> str:
    if status == "rolled back":
        return "The former state is back in place; what this run loaded is not live."
    untouched = "Nothing live was changed"
    if status == PLANLESS:
        return f"The run is recorded as {report.status.replace('_', ' ')}; what was recorded of it follows."
    planned = [t for t in report.tables if t.planned]
    if not success and status != READY:
        verified = sum(table_state(report, t) == "verified" for t in planned)
        far = f"{verified:,} of {counted(len(planned), 'table')} verified."
        if status == "cut over":
            return f"{far} Schema {report.live} holds this run's tables, but not everything about them holds."
        return f"{far} {untouched} by this run." if report.cut_over_at is None else far
    compared = (
        f"{counted(report.values, 'value')} in {counted(report.total('loaded'), 'row')} "
        f"of {counted(len(report.loads), 'table')} were compared, and every one is right"
    )
    if quarantined := report.total("quarantined"):
        compared += f"; {counted(quarantined, 'row lies', 'rows lie')} in the quarantine"
    return {
        READY: f"{compared}. The cut-over is still to come.",
        "cut over": f"{compared}. They are live in schema {report.live}.",
        "superseded": f"{compared}. A later run has taken this one's place.",
        "staging kept": f"{compared}. They stay in schema {report.staging}. {untouched}.",
    }.get(status, f"{compared}. {untouched}.")
