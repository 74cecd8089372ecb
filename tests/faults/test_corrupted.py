"""Thousands of copies of a database with flipped bytes: each is refused by a sentence or arrives exactly as it reads."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa
from psycopg import sql

from migration import steps
from migration.errors import MigrationError
from migration.job import Job
from migration.sqlite.snapshot import take
from tests.engine.support import connection_to, in_a_process, job_for, models, plan_for, quarantined, schemas
from tests.faults.flips import TABLES, Rows, flipped, holds, original, read
from tests.faults.ledger import Ledger

SEED = "2026-11-26"
FLIPS = 4_000
TOGETHER = 200
"""So many in a process of their own, whose end by a signal would be seen."""
MIGRATED = 150
"""Of those that the backup takes, so many go on to the end of the verification."""
AREA = "Source"

column = sa.Column
MODELS = models(
    (
        "t",
        [column("id", sa.BigInteger, primary_key=True), column("n", sa.BigInteger), column("r", sa.Double)]
        + [column("s", sa.Text), column("b", sa.LargeBinary)],
    ),
    (
        "u",
        [column("id", sa.BigInteger, primary_key=True), column("t_id", sa.ForeignKey("t.id", name="u_t"))]
        + [column("doc", sa.Text)],
    ),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("flips")
    original(folder / "original.db")
    return folder


def copies(folder: Path, numbers: Iterable[int]) -> Iterator[tuple[int, Path]]:
    """The flipped copies of these numbers, one after the other in the same place."""
    data = (folder / "original.db").read_bytes()
    for number in numbers:
        path = folder / f"flipped-{number}.db"
        path.write_bytes(flipped(data, f"{SEED} {number}"))
        yield number, path
        path.unlink()


def backed_up(path: Path) -> str:
    """What the backup does with a file."""
    place = path.with_suffix(".home")
    try:
        take(path, place)
        expected = read(path)
        if expected is None:
            return "taken, and unreadable for others"
        return "taken" if read(place / "snapshot.db") == expected else "taken with other rows"
    except MigrationError as error:
        return "refused" if str(error).strip() else "refused without a word"
    except BaseException as error:
        return f"{type(error).__name__}: {error}"
    finally:
        shutil.rmtree(place, ignore_errors=True)


@pytest.fixture(scope="module")
def outcomes(folder: Path) -> dict[int, str]:
    """What the backup does with each copy."""
    found: dict[int, str] = {}
    for first in range(0, FLIPS, TOGETHER):
        numbers = range(first, first + TOGETHER)
        told = folder / "told.json"

        def each(numbers: range = numbers, told: Path = told) -> None:
            told.write_text(json.dumps({n: backed_up(path) for n, path in copies(folder, numbers)}))

        ended = in_a_process(each, seconds=300)
        assert ended == 0, f"seed {SEED}, copies {numbers[0]} to {numbers[-1]} ended with {ended}"
        found |= {int(n): outcome for n, outcome in json.loads(told.read_text()).items()}
    return found


def test_the_backup_refuses_a_corrupted_file_by_a_sentence_or_takes_it_as_it_reads(
    outcomes: dict[int, str], ledger: Ledger
) -> None:
    known = {"refused": "refused by a sentence", "taken": "taken, and read alike by another driver"}
    for outcome in outcomes.values():
        ledger.tried(AREA, "bytes flipped, backup", known.get(outcome, outcome), wrong=outcome not in known)
    unknown = {n: o for n, o in outcomes.items() if o not in known}
    assert not unknown, f"seed {SEED}: {unknown}"
    assert len(set(outcomes.values())) == 2


def migrated(job: Job) -> str:
    """Migrate to the end of the verification; how what is staged differs from what the file reads as, or nothing."""
    steps.preflight(job)
    steps.backup(job)
    steps.create_schema(job)
    for table in TABLES:
        steps.load(job, table)
    steps.finish_schema(job)
    for table in TABLES:
        steps.verify(job, table)
    expected = read(job.source)
    return "unreadable for others" if expected is None else difference(job, expected)


def difference(job: Job, expected: Rows) -> str:
    """By rows of the file: each is staged, value by value, or lies in the quarantine."""
    with connection_to(job) as connection:
        for table, columns in TABLES.items():
            names = sql.SQL(", ").join(map(sql.Identifier, columns))
            query = sql.SQL("SELECT {} FROM {}").format(names, sql.Identifier(job.staging, table))
            there = {row[0]: row for row in connection.execute(query)}
            aside = {json.loads(key)[0] for key in quarantined(job, table)}
            if len(there) + len(aside) != len(expected[table]):
                return f"{table}: {len(there)} + {len(aside)} of {len(expected[table])} rows"
            for row in expected[table]:
                values = list(zip(row[::2], row[1::2], strict=True))
                key = values[0][1]
                if key in aside:
                    continue
                if key not in there or not all(holds(*v, w) for v, w in zip(values, there[key], strict=True)):
                    return f"{table} {key}: {there.get(key)} for {values}"
    return ""


def cleared(dsn: str) -> None:
    """An empty target."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        for name in schemas(dsn) - {"public"}:
            connection.execute(sql.SQL("DROP SCHEMA {} CASCADE").format(sql.Identifier(name)))


def test_what_the_backup_takes_arrives_as_it_reads_or_is_refused_by_a_sentence(
    folder: Path, outcomes: dict[int, str], target_dsn: str, ledger: Ledger
) -> None:
    untouched = read(folder / "original.db")
    chosen, same = list[int](), 0
    for number, path in copies(folder, (n for n, o in outcomes.items() if o == "taken")):
        same += (unchanged := read(path) == untouched)
        if len(chosen) < MIGRATED and (not unchanged or same < MIGRATED // 10):
            chosen.append(number)
    policy = {"invalid": "quarantine"}
    plan = plan_for(MODELS, {"t": policy, "u": policy | {"load_after": ["t"]}})
    wrong: dict[int, Any] = {}
    for number, path in copies(folder, tuple(chosen)):
        cleared(target_dsn)
        try:
            found = migrated(job_for(path, target_dsn, plan, f"run {number}", quarantine="allow"))
            outcome = "arrived as another driver reads it, or quarantined"
        except MigrationError:
            found, outcome = "", "refused by a sentence"
        ledger.tried(AREA, "bytes flipped, whole migration", found or outcome, wrong=bool(found))
        if found:
            wrong[number] = found
        shutil.rmtree(path.parent / "home", ignore_errors=True)
    assert len(chosen) > MIGRATED // 2
    assert not wrong, f"seed {SEED}: {wrong}"
