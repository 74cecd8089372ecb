"""The process: what makes other migrations say success and be none, for a database that nobody wrote models for."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from migration import steps
from migration.assess import assess
from migration.errors import CutOverRefused, SourceError, TargetError, VerificationFailed
from migration.job import Job, Params
from tests.engine.support import ask, connection_to, database, dump
from tests.hazards.moving import Moved, move

APPLICATION = (
    "CREATE TABLE p (id INTEGER PRIMARY KEY, v TEXT)",
    "CREATE TABLE c (id INTEGER PRIMARY KEY, p INTEGER NOT NULL REFERENCES p ON DELETE CASCADE, n REAL)",
    "CREATE VIEW both AS SELECT c.id AS id, v, n FROM c JOIN p ON p.id = c.p",
    "INSERT INTO p VALUES (1, 'a'), (2, 'b')",
    "INSERT INTO c VALUES (1, 1, 0.5), (2, 2, 1.5), (3, 2, NULL)",
)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return database(tmp_path / "app.db", *APPLICATION)


def run(source: Path, dsn: str, run_id: str = "run-1") -> Job:
    """A run of the assessed plan that has not begun."""
    home = source.parent / "home"
    return Job(assess(source, home, target=dsn).plan, run_id, dsn, source, home, Params("cut_over", "given"))


def up_to_verify(job: Job) -> None:
    steps.preflight(job)
    steps.backup(job)
    steps.create_schema(job)
    for level in job.plan.levels:
        for table in level:
            steps.load(job, table)
    steps.finish_schema(job)


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE c SET n = 0.25 WHERE id = 1",
        "DELETE FROM c WHERE id = 3",
        "INSERT INTO c (p, n) VALUES (1, 9)",
        "UPDATE c SET n = 0 WHERE id = 3",
    ],
)
def test_a_change_between_load_and_verification_ends_failed_and_out_of_reach_of_the_cut_over(
    change: str, source: Path, target_dsn: str
) -> None:
    job = run(source, target_dsn)
    up_to_verify(job)
    with connection_to(job) as connection:
        connection.execute(sql.SQL("SET search_path TO {}").format(sql.Identifier(job.staging)))
        connection.execute(change.encode())
    with pytest.raises(VerificationFailed, match=r"Table c: .* does not hold what the snapshot holds"):
        steps.verify(job, "c")
    steps.verify(job, "p")
    with pytest.raises(CutOverRefused, match="table c"):
        steps.cut_over(job)
    assert not steps.report(job)[1].success
    assert ask(job, "SELECT to_regclass('public.c')") == [(None,)]


def test_running_again_after_the_cut_over_refuses_and_changes_nothing(source: Path, target_dsn: str) -> None:
    moved = move(source, target_dsn)
    moved.insert("UPDATE c SET n = 7 WHERE id = 1 RETURNING id")
    with pytest.raises(TargetError, match=r"live tables hold rows: .*c \(3 rows, put there by run run-1\)"):
        steps.preflight(run(source, target_dsn, "run-2"))
    assert moved.rows("c", "id, n") == [(1, 7.0), (2, 1.5), (3, None)]
    assert len(moved.rows("both")) == 3


def test_rows_that_are_there_already_are_found_before_the_load_and_named(source: Path, target_dsn: str) -> None:
    with psycopg.connect(target_dsn, autocommit=True) as connection:
        connection.execute("CREATE TABLE p (id bigint, v text); INSERT INTO p VALUES (99, 'seed')")
    job = run(source, target_dsn)
    with pytest.raises(TargetError, match=r"live tables hold rows: p \(1 rows\)"):
        steps.preflight(job)
    assert ask(job, "SELECT * FROM p") == [(99, "seed")]
    assert ask(job, "SELECT to_regclass('migration.runs')") == [(None,)]


def again(moved: Moved, target_dsn: str) -> Moved:
    """A second run that sets aside what the first one brought."""
    job = Job(
        moved.plan,
        "run-2",
        target_dsn,
        moved.job.source,
        moved.job.home,
        Params("cut_over", "given", on_live_tables="retire"),
    )
    up_to_verify(job)
    for table in job.plan.tables:
        steps.verify(job, table)
    steps.cut_over(job)
    return Moved(job, moved.assessment, "")


def test_the_former_state_comes_back_with_its_views_and_later_writes_are_not_lost_silently(
    source: Path, target_dsn: str
) -> None:
    first = move(source, target_dsn)
    first.insert("UPDATE c SET n = 7 WHERE id = 1 RETURNING id")
    second = again(first, target_dsn)
    assert second.rows("both", "id, n") == [(1, 0.5), (2, 1.5), (3, None)]
    second.insert("INSERT INTO c (p, n) VALUES (1, 4) RETURNING id")
    with pytest.raises(CutOverRefused, match="c: 1 rows inserted or changed"):
        steps.rollback(second.job)
    steps.rollback(second.job, confirm_lost_writes=True)
    assert first.rows("both", "id, n") == [(1, 7.0), (2, 1.5), (3, None)]
    assert len(ask(second.job, sql.SQL("SELECT * FROM {}").format(sql.Identifier(second.job.staging, "c")))) == 4


def test_neither_assessment_nor_migration_changes_the_source(source: Path, target_dsn: str) -> None:
    before, content = dump(source), source.read_bytes()
    move(source, target_dsn)
    assert (dump(source), source.read_bytes()) == (before, content)
    assert [p.name for p in source.parent.iterdir() if p.name.startswith("app.db")] == ["app.db"]


def test_a_source_that_is_not_as_the_plan_says_is_refused_with_every_difference(source: Path, target_dsn: str) -> None:
    job = run(source, target_dsn)
    database(
        source, "ALTER TABLE p RENAME COLUMN v TO w", "ALTER TABLE c ADD COLUMN extra TEXT", "CREATE TABLE more (id INTEGER PRIMARY KEY)",
    )  # fmt: skip
    with pytest.raises(SourceError) as raised:
        steps.preflight(job)
    said = str(raised.value)
    assert "table more is in the source and not in the plan" in said
    assert "table p: the plan speaks of column v, which the source does not have" in said
    assert "table c: column extra is in the source and not in the" in said
    assert ask(job, "SELECT to_regclass('migration.runs')") == [(None,)]


def test_the_report_of_a_success_names_what_the_plan_leaves_behind(tmp_path: Path, target_dsn: str) -> None:
    source = database(
        tmp_path / "app.db", *APPLICATION, "CREATE TRIGGER watch AFTER INSERT ON p BEGIN DELETE FROM c; END"
    )
    assert "Not carried, as the plan says: 1 trigger: p.watch." in " ".join(move(source, target_dsn).text.split())
