"""What a report knows about a run: plain facts, on which the verdict and every rendering rest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from migration.plan import RefusedObject


@dataclass(frozen=True)
class Value:
    """A value as its bytes, of which only the first are kept."""

    storage_class: str
    """SQLite's: null, integer, real, text, blob."""
    size: int
    """How many bytes there are in all."""
    head: bytes | None
    """The first of them; None for NULL only."""

    @property
    def cut(self) -> bool:
        """Whether there are more bytes than ``head`` shows."""
        return self.head is not None and self.size > len(self.head)


@dataclass(frozen=True)
class Load:
    """What one table's load counted."""

    load_id: str
    plan_digest: str
    source_rows: int
    loaded: int
    quarantined: int
    excluded: int
    altered: int
    bytes: int
    seconds: float
    loaded_at: datetime
    indexed_at: datetime | None

    @property
    def balanced(self) -> bool:
        """Whether every source row is accounted for, once."""
        return self.source_rows == self.loaded + self.quarantined + self.excluded

    @property
    def rate(self) -> float | None:
        """MB (10^6 bytes) sent per second; None where no time was measured."""
        return self.bytes / self.seconds / 1e6 if self.seconds > 0 and self.bytes else None


@dataclass(frozen=True)
class Check:
    """One thing that the verification of a table looked at."""

    name: str
    ok: bool
    detail: str


@dataclass(frozen=True)
class Verification:
    """What the comparison of one table with the snapshot found."""

    load_id: str
    ok: bool
    rows: int
    values: int
    source_digest: str
    target_digest: str
    differences: int
    checks: tuple[Check, ...]
    seconds: float
    verified_at: datetime


@dataclass(frozen=True)
class TableFacts:
    """One source table; the counts that end in ``_held`` are of rows that lie in the state schema."""

    name: str
    target: str
    planned: bool
    """False for a table that was loaded and has left the plan since."""
    plan_changed: bool
    """Whether this table's part of the plan differs from the one it was loaded with."""
    excluded_columns: tuple[str, ...]
    load: Load | None
    verification: Verification | None
    quarantine_held: int
    altered_held: int
    differences_held: int

    @property
    def verified(self) -> Verification | None:
        """The verification of the rows that are there now; None also when it saw an earlier load."""
        if self.load and self.verification and self.verification.load_id == self.load.load_id:
            return self.verification
        return None


STEPS = {
    "create_schema": "schema creation",
    "finish_schema": "schema completion",
    "verify": "verification",
    "approve": "approval",
    "keep": "keeping of the staging",
    "cut_over": "cut-over",
}


@dataclass(frozen=True)
class StepFacts:
    """The last attempt at one step (of one table, where the step has tables)."""

    name: str
    table: str
    status: str
    """running, done or failed; a killed step stays running."""
    message: str
    started_at: datetime
    finished_at: datetime | None

    @property
    def label(self) -> str:
        """The step as a noun, its table named: ``load of decisions``."""
        words = STEPS.get(self.name, self.name.replace("_", " "))
        return f"{words} of {self.table}" if self.table else words


@dataclass(frozen=True)
class QuarantinedRow:
    """A source row that did not cross, and why; ``values`` are its first columns, the faulty one leading."""

    table: str
    key: str
    column: str
    storage_class: str
    rule: str
    reason: str
    values: tuple[tuple[str, Value], ...]
    columns: int
    """How many columns the row has in all."""

    @property
    def value(self) -> Value | None:
        """The value that could not cross; None when it was not kept."""
        return next((value for name, value in self.values if name == self.column), None)


@dataclass(frozen=True)
class AlteredValue:
    """A value that crossed in another form because the plan declares it, with what it was."""

    table: str
    key: str
    column: str
    action: str
    rule: str
    reason: str
    value: Value


@dataclass(frozen=True)
class Difference:
    """What verification found to differ; a whole row when ``column`` is empty."""

    table: str
    number: int
    key: str
    column: str
    kind: str
    source_value: str | None
    target_value: str | None


@dataclass(frozen=True)
class Kind:
    """How many rows or values of one column met one rule."""

    table: str
    column: str
    rule: str
    count: int


@dataclass(frozen=True)
class CarriedObject:
    """Something of the schema that the run made and the target has; ``table`` is '' for tables and views."""

    kind: str
    """table, primary key, unique constraint, foreign key, check, index, identity column, generated column, default,
    view."""
    table: str
    name: str


@dataclass(frozen=True)
class Snapshot:
    """Where the backup lies that every step after it reads."""

    path: str
    sha256: str
    size: int | None


@dataclass(frozen=True)
class Report:
    """One run. The lists of rows are bounded; the counts beside them are complete."""

    plan: str
    title: str
    plan_digest: str
    run_id: str
    mode: str
    status: str
    """The state's own word; :func:`migration.report.verdict` has the one for people."""
    params: Mapping[str, Any]
    approval: Mapping[str, Any]
    source: str
    staging: str
    retired: str
    live: str
    live_before: Mapping[str, int]
    """Rows of each table that stood in the live schema under a planned table's name before the run."""
    snapshot: Snapshot | None
    started_at: datetime
    cut_over_at: datetime | None
    rolled_back_at: datetime | None
    gathered_at: datetime
    excluded_tables: tuple[str, ...]
    refused: tuple[RefusedObject, ...]
    """What the plan says is not carried."""
    carried: tuple[CarriedObject, ...]
    tables: tuple[TableFacts, ...]
    steps: tuple[StepFacts, ...]
    quarantine_kinds: tuple[Kind, ...]
    altered_kinds: tuple[Kind, ...]
    quarantined: tuple[QuarantinedRow, ...]
    altered: tuple[AlteredValue, ...]
    differences: tuple[Difference, ...]

    @property
    def loads(self) -> tuple[Load, ...]:
        """The loads there are."""
        return tuple(t.load for t in self.tables if t.load)

    def total(self, name: str) -> int:
        """The sum over all loads of one of their counts."""
        return sum(getattr(load, name) for load in self.loads)

    @property
    def values(self) -> int:
        """How many values were compared in the rows that are there now."""
        return sum(t.verified.values for t in self.tables if t.verified)

    @property
    def withheld(self) -> bool:
        """Whether somebody (or the time limit) decided against the cut-over."""
        answer = self.approval.get("answer")
        return answer == "keep" or (self.status == "kept" and answer != "cut_over")

    @property
    def unanswered(self) -> bool:
        """Whether nobody answered the question whether to cut over before its time limit."""
        return bool(self.approval.get("timed_out"))

    @property
    def differences_found(self) -> int:
        """How many differences verification found; only the first of each table are kept."""
        return sum(max(t.differences_held, t.verified.differences if t.verified else 0) for t in self.tables)
