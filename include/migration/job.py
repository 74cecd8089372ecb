"""One run of one plan: what every step is given, and the record of each step's beginning and end."""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg

from migration.errors import MigrationError, TransientError
from migration.plan import Invalid, Plan
from migration.postgres import state
from migration.postgres.target import connected

log = logging.getLogger("migration")


@dataclass(frozen=True)
class Params:
    """What the person who starts a run decides; kept with the run."""

    mode: str = "rehearsal"
    """``rehearsal`` (everything but the cut-over) or ``cut_over``."""
    approval: str = "ask"
    """``ask`` a person before the cut-over, or ``given`` with the parameters."""
    quarantine: str = "stop"
    """The policy where the plan has none: ``stop``, or ``allow`` rows into the quarantine."""
    on_live_tables: str = "refuse"
    """When the live tables hold rows: ``refuse``, or ``retire`` them at the cut-over."""
    rows_per_block: int = 8192
    """At most so many rows are held in memory and sent at a time (64 to 65536)."""

    def __post_init__(self) -> None:
        words = {
            "mode": ("rehearsal", "cut_over"),
            "approval": ("ask", "given"),
            "quarantine": ("stop", "allow"),
            "on_live_tables": ("refuse", "retire"),
        }
        for name, allowed in words.items():
            if (value := getattr(self, name)) not in allowed:
                raise MigrationError(f"Parameter {name} is {value!r}; it can be {' or '.join(allowed)}.")
        rows = self.rows_per_block
        if not isinstance(rows, int) or isinstance(rows, bool) or not 64 <= rows <= 65536:
            raise MigrationError(f"Parameter rows_per_block is {rows!r}; it can be a whole number from 64 to 65536.")

    @property
    def invalid(self) -> Invalid:
        """The run's policy for values that cannot cross."""
        return Invalid.QUARANTINE if self.quarantine == "allow" else Invalid.STOP


@dataclass(frozen=True)
class Job:
    """A run's identity and where its ends lie."""

    plan: Plan
    run_id: str
    target: str = field(repr=False)
    """libpq connection string or URL of the target; holds a password, so it is never shown."""
    source: Path
    """The live SQLite file. Only preflight, backup and the comparison before cut-over read it."""
    home: Path
    """Where snapshots and reports are kept."""
    params: Params = Params()
    fetch: Callable[[Job], None] | None = field(default=None, repr=False)
    """Brings the run's snapshot into ``folder`` where workers share no disk; None where they do."""
    measured: Callable[[str, dict[str, Any]], None] | None = field(default=None, repr=False)
    """Is given ``load`` or ``verify`` and the figures of each table that went through it, a difference or none."""

    @property
    def suffix(self) -> str:
        """Eight hexadecimal digits that stand for the run in schema and folder names."""
        return hashlib.sha256(self.run_id.encode()).hexdigest()[:8]

    @property
    def staging(self) -> str:
        """The schema this run loads into."""
        return f"staging_{self.plan.name}_{self.suffix}"

    @property
    def retired(self) -> str:
        """The schema that holds what was live before this run's cut-over."""
        return f"retired_{self.plan.name}_{self.suffix}"

    @property
    def folder(self) -> Path:
        """This run's folder for its snapshot; readable, and the same on every attempt."""
        return self.home / "snapshots" / f"{re.sub(r'[^A-Za-z0-9_-]+', '-', self.run_id)[:60]}-{self.suffix}"


@contextmanager
def step(job: Job, name: str, table: str = "", *, begins: bool = True, ends: bool = True) -> Iterator[None]:
    """Record in the state that a step began and how it ended. What it did, the step logs after this has ended.

    Of a step in several parts the first ``begins`` it and the last ``ends`` it; any of them may fail it.

    The record is written by connections of its own, so a failed step leaves its message although its work is
    rolled back. A step whose process was killed stays ``running`` until it is run again. One whose work is done but
    whose record the target did not take raises TransientError: without the record the cut-over would be refused, and
    every step can be run again.
    """
    row = {"run_id": job.run_id, "step": name, "table_name": table}
    if begins:
        _begin(job, row)
    try:
        yield
    except MigrationError as error:
        _failed(job, row, str(error))
        raise
    except Exception as error:
        _failed(job, row, f"{type(error).__name__}: {error}")
        raise
    if ends:
        _end(job, row, "done", None)


def _begin(job: Job, row: dict[str, str]) -> None:
    with connected(job.target, f"recording the start of {row['step']} {row['table_name']}".strip()) as connection:
        try:
            state.clear(connection, state.steps, **row)
            state.put(connection, state.steps, row | {"status": "running", "message": None})
        except (psycopg.errors.UndefinedTable, psycopg.errors.ForeignKeyViolation) as error:
            raise MigrationError(
                f"The target knows no run {job.run_id!r}: its preflight has not passed. Start with the preflight."
            ) from error


def _end(job: Job, row: dict[str, str], status: str, message: str | None) -> None:
    with connected(job.target, f"recording the end of {row['step']}") as connection:
        state.update(connection, state.steps, {"status": status, "message": message}, **row)
        connection.execute(
            "UPDATE migration.steps SET finished_at = clock_timestamp()"
            " WHERE run_id = %s AND step = %s AND table_name = %s",
            [row["run_id"], row["step"], row["table_name"]],
        )


def _failed(job: Job, row: dict[str, str], message: str) -> None:
    try:
        _end(job, row, "failed", message)
    except TransientError as error:  # what went wrong before tells more
        log.warning("%s", error)
