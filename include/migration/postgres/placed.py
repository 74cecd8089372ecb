"""What a cut-over put in place, looked at later: is it there, what was written to it, what would a rollback do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg

from migration.errors import CutOverRefused
from migration.job import Job
from migration.postgres import live, state
from migration.postgres.gate import counted
from migration.postgres.staging import WORKING, oids
from migration.postgres.target import connected
from migration.words import visible

After = Mapping[str, Mapping[str, Any]]
"""``live_after`` of a run's row: the tables and views that its cut-over put in place, by name."""


def tables(after: After) -> dict[str, Mapping[str, Any]]:
    """Of what a cut-over put in place, the tables."""
    return {name: thing for name, thing in after.items() if not thing.get("view")}


def views(after: After) -> dict[str, Mapping[str, Any]]:
    """Of what a cut-over put in place, the views."""
    return {name: thing for name, thing in after.items() if thing.get("view")}


def ids(things: After, what: str = "oid") -> dict[str, int]:
    """The object ids by name; with ``what`` "retired" those of what was live before."""
    return {name: thing[what] for name, thing in things.items() if thing[what]}


def missing(connection: psycopg.Connection[Any], schema: str, wanted: Mapping[str, int]) -> list[str]:
    """The names under which ``schema`` does not hold the table of that oid."""
    present = oids(connection, schema, list(wanted))
    return [name for name, oid in wanted.items() if present.get(name) != oid]


def check(connection: psycopg.Connection[Any], run: Mapping[str, Any]) -> None:
    """CutOverRefused unless the run's tables are live and what was live before lies in the retired schema."""
    placed = ids(tables(run["live_after"]))
    if moved := missing(connection, run["live"], placed):
        later = [
            other["run_id"]
            for other in state.rows(connection, state.runs, status="cut_over")
            if {t["retired"] for t in other["live_after"].values()} & set(placed.values())
        ]
        advice = "Their place is not known: put them back by hand."
        if later:
            advice = f"They were retired by the cut-over of run {later[0]}: roll that one back first."
        raise CutOverRefused(
            f"The tables of run {run['run_id']} are not live any more: {visible(', '.join(moved))}. "
            f"Nothing was changed. {advice}"
        )
    if gone := missing(connection, run["retired"], ids(run["live_after"], "retired")):
        raise CutOverRefused(
            f"The tables that were live before run {run['run_id']} are not in {run['retired']} any more: "
            f"{visible(', '.join(gone))}. Nothing was changed; there is nothing to go back to."
        )


def refuse_dependents(connection: psycopg.Connection[Any], run: Mapping[str, Any]) -> None:
    """CutOverRefused when something that the run did not make hangs on what it put in place."""
    if held := live.dependents(connection, list(ids(run["live_after"]).values())):
        raise CutOverRefused(
            f"These were made on the run's tables since its cut-over and would follow them out of "
            f"{run['live']}: {visible(', '.join(held))}. Nothing was changed. Drop them, then try again."
        )


@dataclass(frozen=True)
class Writes:
    """What was written to one table since it was put in place."""

    table: str
    migrated: int
    """Rows that the cut-over put in place."""
    added: int
    """Rows there now that are not as it put them in place: inserted since, or changed."""
    gone: int
    """Rows that it put in place and that are not there any more as they were: changed, or deleted."""

    def __str__(self) -> str:
        return (
            f"{self.table}: {self.added} rows inserted or changed, "
            f"{self.gone} of the {self.migrated} migrated rows changed or deleted"
        )


def written(connection: psycopg.Connection[Any], schema: str, after: After) -> tuple[list[Writes], dict[str, str]]:
    """The tables in ``schema`` that were written to since they were placed, and the fingerprint of the rows of every
    table (:data:`live.VERSIONS`)."""
    found, versions = [], {}
    for name, table in after.items():
        rows, untouched, versions[name] = counted(connection, schema, name, table["xids"])
        writes = Writes(name, table["rows"], rows - untouched, table["rows"] - untouched)
        if writes.added or writes.gone:
            found.append(writes)
    return found, versions


@dataclass(frozen=True)
class Outlook:
    """What a rollback of a run would do, as things stood at one moment."""

    run_id: str
    mode: str
    approval: Mapping[str, Any]
    started_at: datetime
    cut_over_at: datetime | None
    """None: the run was not cut over, and a rollback drops its staging."""
    live: str
    staging: str
    retired: str
    placed: Mapping[str, int | None]
    """The tables that go out of the live schema, with the rows that the cut-over put there; without a cut-over those
    of the staging, uncounted."""
    restored: Mapping[str, int]
    """The tables that come back into the live schema, with the rows that preflight counted in them."""
    writes: tuple[Writes, ...]
    """What was written since the cut-over and would be set aside."""
    versions: Mapping[str, str]
    """The fingerprint of every table's rows, by which ``rollback`` knows whether this is still what is there."""


def outlook(job: Job) -> Outlook:
    """What :func:`cutover.rollback` would do. Reads only, of one moment, and keeps nobody waiting.

    CutOverRefused when it would refuse whatever is confirmed, or when there is nothing to undo.
    """
    with connected(job.target, "Looking at what a rollback would do", autocommit=True) as connection:
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        connection.read_only = True
        with connection.transaction():
            return _outlook(connection, state.run(connection, job.run_id))


def _outlook(connection: psycopg.Connection[Any], run: dict[str, Any]) -> Outlook:
    placed: dict[str, int | None] = {}
    restored: dict[str, int] = {}
    writes: list[Writes] = []
    versions: dict[str, str] = {}
    if run["status"] == "cut_over":
        check(connection, run)
        refuse_dependents(connection, run)
        after = tables(run["live_after"])
        writes, versions = written(connection, run["live"], after)
        placed = {name: table["rows"] for name, table in after.items()}
        restored = {name: run["live_before"][name]["rows"] for name in ids(after, "retired")}
    elif run["status"] in WORKING:
        placed = dict.fromkeys(oids(connection, run["staging"], list(run["staged"] or {})))
    else:
        raise CutOverRefused(f"Run {run['run_id']} is {run['status'].replace('_', ' ')}: there is nothing to undo.")
    names = ("run_id", "mode", "started_at", "cut_over_at", "live", "staging", "retired")
    return Outlook(
        **{name: run[name] for name in names},
        approval=run["approval"] or {},
        placed=placed,
        restored=restored,
        writes=tuple(writes),
        versions=versions,
    )
