"""The report as files: one self-contained HTML page, and the same facts as JSON.

Both lie in ``home/reports/<run>/``, readable by their owner only, since they show values of the data. A file
is replaced as a whole or not at all. Rows are bounded (500 of a kind); totals are complete.

``report.json`` is ASCII. Of its keys none goes away or changes its meaning while ``format`` stays 1:

- ``format``, ``gathered_at`` (all times ISO 8601 in UTC)
- ``verdict``: ``success``, ``proven`` (all holds but the cut-over), ``label``, ``status``, ``summary``,
  ``reasons``
- ``run``: ``run_id``, ``plan``, ``title``, ``plan_digest``, ``mode``, ``recorded_status``, ``params``,
  ``approval``, ``source``, ``live``, ``staging``, ``retired`` (schemas), ``live_before`` (rows by table),
  ``started_at``, ``cut_over_at``, ``rolled_back_at``, ``worked_seconds``, ``elapsed_seconds``
- ``snapshot`` (null without one): ``path``, ``sha256``, ``bytes``, ``restore`` (shell lines)
- ``balance``: ``source_rows``, ``loaded``, ``quarantined``, ``excluded``, ``holds``, ``altered``,
  ``verified_values``
- ``tables``: ``name``, ``target``, ``planned``, ``plan_changed``, ``state``, ``excluded_columns``, and how
  many lie in the state schema: ``quarantine_held``, ``altered_held``, ``differences_held``
- in each table ``load`` (null without one): ``load_id``, ``plan_digest``, ``source_rows``, ``loaded``,
  ``quarantined``, ``excluded``, ``altered``, ``bytes``, ``seconds``, ``mb_per_second``, ``balanced``,
  ``loaded_at``, ``indexed_at``
- in each table ``verification`` (null without one): ``load_id``, ``current`` (of the rows that are there
  now), ``ok``, ``rows``, ``values``, ``source_digest``, ``target_digest``, ``differences``, ``seconds``,
  ``verified_at``, ``checks``: ``check``, ``ok``, ``detail``
- ``excluded_tables``: names
- ``carried`` (what the run made of the schema and the target has now): ``kind``, ``table`` ('' for tables and
  views), ``name``
- ``refused`` (what of the source's schema is not carried): ``kind``, ``name``, ``table``, ``reason``, ``source``
- ``steps``: ``step``, ``table`` ('' for a step of the whole run), ``status``, ``message``, ``started_at``,
  ``finished_at``
- ``quarantine``: ``total``, ``kinds`` (``table``, ``column``, ``rule``, ``count``), ``rows``: ``table``,
  ``key`` (JSON text), ``column``, ``storage_class``, ``rule``, ``reason``, ``columns`` (how many the row
  has), ``values``: ``column`` and a value
- ``altered``: ``total``, ``kinds``, ``values``: ``table``, ``key``, ``column``, ``action``, ``rule``,
  ``reason``, ``value``
- ``differences``: ``total``, ``rows``: ``table``, ``number``, ``key``, ``column`` ('' for a whole row),
  ``kind``, ``source_value``, ``target_value``

A value is ``storage_class``, ``bytes`` (its whole size), ``cut`` (whether it has more bytes than are shown),
and ``text`` where the bytes shown are UTF-8 text, otherwise ``hex``; neither for NULL.
"""

from __future__ import annotations

import codecs
import contextlib
import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from migration.errors import TransientError
from migration.job import Job
from migration.report.facts import Report, TableFacts, Value
from migration.report.gather import gather
from migration.report.page import as_html
from migration.report.rows import Connection
from migration.report.timeline import timeline
from migration.report.verdict import Verdict, table_state, verdict
from migration.report.words import restore_command


def produce(job: Job, connection: Connection) -> tuple[Report, Verdict, Path]:
    """Gather a run's facts, write its report files and decide on it; returns the HTML file's path too.

    For the exit code and a task's outcome: the migration is a success only if ``Verdict.success``.
    """
    report = gather(connection, job)
    html, _ = write_files(report, folder(job))
    return report, verdict(report), html


def folder(job: Job) -> Path:
    """Where the report of a run lies: named like the folder of its snapshot."""
    return job.home / "reports" / job.folder.name


def write_files(report: Report, folder: Path) -> tuple[Path, Path]:
    """Write ``report.html`` and ``report.json`` into ``folder``; TransientError when the disk is full."""
    html, facts = folder / "report.html", folder / "report.json"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for left_over in folder.glob(".report.*-*"):  # of an attempt that was killed
            left_over.unlink(missing_ok=True)
        replace_file(facts, as_json(report))
        replace_file(html, as_html(report))
    except OSError as error:
        raise TransientError(
            f"The report cannot be written to {folder}: {error.strerror}. "
            "Free or grant space there, then clear this task."
        ) from error
    return html, facts


def replace_file(path: Path, text: str) -> None:
    """Write ``text`` to ``path``, readable by its owner only: as a whole or not at all. OSError passes through."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name)
        raise


def as_json(report: Report) -> str:
    """The facts as JSON; the module's docstring has the keys."""
    return json.dumps(as_dict(report), indent=1, default=_plain) + "\n"


def as_dict(report: Report) -> dict[str, Any]:
    """The facts under the keys of the JSON file."""
    decided = verdict(report)
    return {
        "format": 1,
        "gathered_at": report.gathered_at,
        "verdict": asdict(decided) | {"label": decided.label},
        "run": _run(report),
        "snapshot": _snapshot(report),
        "balance": _balance(report),
        "tables": [_table(report, table) for table in report.tables],
        "excluded_tables": report.excluded_tables,
        "carried": [asdict(made) for made in report.carried],
        "refused": [refused.model_dump() for refused in report.refused],
        "steps": [
            {"step": step.name} | _picked(step, "table status message started_at finished_at") for step in report.steps
        ],
        "quarantine": {
            "total": sum(t.quarantine_held for t in report.tables),
            "kinds": [asdict(kind) for kind in report.quarantine_kinds],
            "rows": [
                _picked(row, "table key column storage_class rule reason columns")
                | {"values": [{"column": name} | _value(value) for name, value in row.values]}
                for row in report.quarantined
            ],
        },
        "altered": {
            "total": sum(t.altered_held for t in report.tables),
            "kinds": [asdict(kind) for kind in report.altered_kinds],
            "values": [
                _picked(value, "table key column action rule reason") | {"value": _value(value.value)}
                for value in report.altered
            ],
        },
        "differences": {
            "total": report.differences_found,
            "rows": [asdict(difference) for difference in report.differences],
        },
    }


def _run(report: Report) -> dict[str, Any]:
    line = timeline(report)
    names = (
        "run_id plan title plan_digest mode params approval source live staging retired live_before "
        "started_at cut_over_at rolled_back_at"
    )
    measured = {"worked_seconds": line.worked, "elapsed_seconds": line.elapsed}
    return _picked(report, names) | {"recorded_status": report.status} | measured


def _snapshot(report: Report) -> dict[str, Any] | None:
    if report.snapshot is None:
        return None
    kept = _picked(report.snapshot, "path sha256")
    return kept | {"bytes": report.snapshot.size, "restore": restore_command(report)}


def _balance(report: Report) -> dict[str, Any]:
    totals = {name: report.total(name) for name in ("source_rows", "loaded", "quarantined", "excluded")}
    holds = totals["source_rows"] == totals["loaded"] + totals["quarantined"] + totals["excluded"]
    return totals | {"holds": holds, "altered": report.total("altered"), "verified_values": report.values}


def _table(report: Report, table: TableFacts) -> dict[str, Any]:
    held = "quarantine_held altered_held differences_held"
    facts = _picked(table, f"name target planned plan_changed excluded_columns {held}")
    facts |= {"state": table_state(report, table), "load": None, "verification": None}
    if load := table.load:
        facts["load"] = asdict(load) | {"balanced": load.balanced, "mb_per_second": load.rate}
    if found := table.verification:
        checks = [{"check": c.name, "ok": c.ok, "detail": c.detail} for c in found.checks]
        facts["verification"] = asdict(found) | {"current": table.verified is not None, "checks": checks}
    return facts


def _picked(facts: object, names: str) -> dict[str, Any]:
    return {name: getattr(facts, name) for name in names.split()}


def _value(value: Value) -> dict[str, Any]:
    kept: dict[str, Any] = {"storage_class": value.storage_class, "bytes": value.size, "cut": value.cut}
    if value.head is None:
        return kept
    if value.storage_class != "blob":
        try:
            # Where the value was cut, its last character may be cut too, and is left out.
            decoder = codecs.getincrementaldecoder("utf-8")()
            return kept | {"text": decoder.decode(value.head, final=not value.cut)}
        except UnicodeDecodeError:
            pass
    return kept | {"hex": value.head.hex()}


def _plain(fact: object) -> object:
    if isinstance(fact, datetime):
        return fact.astimezone(UTC).isoformat()
    if isinstance(fact, Mapping):
        return dict(fact)
    raise TypeError(f"{type(fact).__name__} has no JSON form")
