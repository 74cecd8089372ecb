"""What goes on for long grows nothing: hundreds of migrations in one process, and ten million rows in one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from migration import steps
from migration.assess import assess
from migration.job import Job, Params
from tests.engine.support import database, in_a_process, insert, schemas
from tests.faults import soaking
from tests.faults.ledger import Ledger

AREA = "load held for long"
WARM, LONG = 60, 260
"""Migrations until all is loaded that ever will be; migrations in all."""
MORE_KIB = 16 * 1024
"""So much more memory may be in use after all of them: less than 100 bytes for each value that was moved."""
ROWS = 10_000_000
FLAT_KIB = 64 * 1024
"""So much more memory the rows may need than the first fifth of the time did: a few blocks."""


@pytest.fixture(autouse=True)
def plans(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("migration.plan.PLANS", tmp_path / "plans")


def shop(path: Path, number: int) -> Path:
    """Three tables with keys, an index and a view; a row that is quarantined, a value that is altered."""
    path.unlink(missing_ok=True)
    database(
        path,
        "CREATE TABLE people (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL, born DATE, face BLOB)",
        "CREATE TABLE orders (id INTEGER PRIMARY KEY, person INTEGER REFERENCES people (id), total REAL, facts JSON)",
        "CREATE TABLE words (word TEXT PRIMARY KEY, odd) WITHOUT ROWID",
        "CREATE INDEX orders_person ON orders (person)",
        "CREATE VIEW totals AS SELECT person, total FROM orders",
    )
    people = [(n, f"person {number} {n}", "2001-02-03", bytes([n % 256])) for n in range(1, 100)]
    insert(path, "people", [*people, (100, "name\0with NUL", None, "text")])
    insert(path, "orders", [(n, n % 99 + 1, n / 8, '{"a": 1}') for n in range(1, 100)])
    insert(path, "words", [(f"word {n}", n if n % 2 else f"{n}") for n in range(50)])
    return path


def migrated(source: Path, home: Path, dsn: str, number: int) -> None:
    """All of a migration, from the assessment to the cut-over and back."""
    plan = assess(source, home, target=dsn, replace=True).plan
    job = Job(plan, f"run {number}", dsn, source, home, Params(mode="cut_over", approval="given"))
    for act in (steps.preflight, steps.backup, steps.create_schema):
        act(job)
    for level in plan.levels:
        steps.for_tables(steps.load, job, level)
    steps.finish_schema(job)
    steps.for_tables(steps.verify, job, list(plan.tables))
    steps.cut_over(job)
    _, verdict = steps.report(job)
    assert verdict.success
    steps.rollback(job)


def test_hundreds_of_migrations_in_one_process_leave_nothing_behind(
    tmp_path: Path, target_dsn: str, ledger: Ledger
) -> None:
    def act() -> None:
        temporary = soaking.temporary_files_in(tmp_path / "temporary")
        samples = []
        for number in range(LONG):
            migrated(shop(tmp_path / "app.db", number), tmp_path / "home", target_dsn, number)
            if number >= WARM and number % 10 == 9:
                samples.append(soaking.held(target_dsn, temporary))
        soaking.write(tmp_path / "samples.json", samples)

    ended = in_a_process(act, seconds=480)
    ledger.tried(
        AREA, "migrations, one after the other", "done" if ended == 0 else "FAILED", wrong=ended != 0, points=LONG
    )
    assert ended == 0
    samples = soaking.read(tmp_path / "samples.json")
    first, last = samples[0], samples[-1]
    growth = {
        "memory": min(s.kib for s in samples[-3:]) - max(s.kib for s in samples[:3]) > MORE_KIB,
        "open files": last.files > first.files,
        "threads": last.threads > first.threads,
        "connections": any(s.connections for s in samples),
        "schemas": last.schemas > first.schemas,
        "temporary files": last.leftovers > first.leftovers,
    }
    for what, grew in growth.items():
        ledger.tried(AREA, f"{what} after {LONG} migrations", "GREW" if grew else "as after the first", wrong=grew)
    assert not any(growth.values()), (growth, first, last, [s.kib for s in samples])
    assert len([s for s in schemas(target_dsn) if s.startswith(("staging_", "retired_"))]) <= 2


def narrow(path: Path) -> Path:
    """Ten million rows of four numbers."""
    return database(
        path,
        "PRAGMA journal_mode = OFF",
        "CREATE TABLE narrow (id INTEGER PRIMARY KEY, a INTEGER NOT NULL, b INTEGER NOT NULL, c REAL NOT NULL)",
        f"WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < {ROWS})"
        " INSERT INTO narrow SELECT i, (i * 7919) % 1000003, i % 100, i / 8.0 FROM n",
    )


def test_ten_million_rows_need_no_more_memory_than_the_first_of_them(
    tmp_path: Path, target_dsn: str, ledger: Ledger
) -> None:
    source = narrow(tmp_path / "narrow.db")

    def act() -> None:
        temporary = soaking.temporary_files_in(tmp_path / "temporary")
        plan = assess(source, tmp_path / "home", target=target_dsn).plan
        job = Job(plan, "run", target_dsn, source, tmp_path / "home", Params(mode="cut_over", approval="given"))
        for early in (steps.preflight, steps.backup, steps.create_schema):
            early(job)
        seen = {"load": soaking.watched(lambda: steps.load(job, "narrow"))}
        steps.finish_schema(job)
        seen["verify"] = soaking.watched(lambda: steps.verify(job, "narrow"))
        steps.cut_over(job)
        after = soaking.held(target_dsn, temporary)
        (tmp_path / "seen.json").write_text(json.dumps(seen | {"left": [after.connections, after.leftovers]}))

    ended = in_a_process(act, seconds=240)
    ledger.tried(AREA, "ten million rows", "migrated" if ended == 0 else "FAILED", wrong=ended != 0)
    assert ended == 0
    seen = json.loads((tmp_path / "seen.json").read_text())
    for step in ("load", "verify"):
        samples = seen[step]
        warm, most = max(samples[: max(len(samples) // 5, 1)]), max(samples)
        flat = most - warm <= FLAT_KIB
        ledger.tried(AREA, f"memory of the {step} of ten million rows", "flat" if flat else "GREW", wrong=not flat)
        assert flat, (step, warm, most, samples[:: max(len(samples) // 40, 1)])
    ledger.tried(AREA, "connections and temporary files after ten million rows", f"{sum(seen['left'])} left")
    assert seen["left"] == [0, 0]
