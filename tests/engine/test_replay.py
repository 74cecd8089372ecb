"""The replay: quarantined rows corrected by declaration, and only they, with an exact balance throughout."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from migration import steps
from migration.assess import assess
from migration.errors import CutOverRefused, MigrationError, RejectedRows
from migration.job import Job, Params
from migration.plan import Plan
from migration.postgres import state
from tests.engine.support import Raw, ask, connection_to, database, insert, quarantined, staged


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("migration.plan.PLANS", tmp_path / "plans")
    source = database(
        tmp_path / "app.db",
        "CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT, up INTEGER REFERENCES t, n DECIMAL(4,1))",
        "CREATE TABLE c (k TEXT, t INTEGER REFERENCES t, PRIMARY KEY (k)) WITHOUT ROWID",
    )
    insert(
        source,
        "t",
        [
            (1, "fine", None, 1.5),
            (2, Raw(b"a\0b"), None, 2),
            (3, "fine", 2, 3),
            (4, Raw(b"\xff"), None, 4),
            (5, "x", 3, 5),
        ],
    )
    insert(source, "c", [("a", 1), ("b", 2), ("ä", 4)])
    return source


def begun(source: Path, dsn: str, **changes: Any) -> Job:
    """A run whose tables are loaded, finished and verified, rows with bad texts in the quarantine."""
    whole = assess(source, source.parent / "home", target=dsn).plan.model_dump()
    whole["tables"]["t"]["columns"]["v"]["invalid"] = "quarantine"
    whole["tables"]["t"]["columns"]["up"]["invalid"] = "quarantine"
    whole["tables"]["c"]["columns"]["t"]["invalid"] = "quarantine"
    job = Job(Plan.model_validate(whole), "run-1", dsn, source, source.parent / "home", Params("cut_over", "given"))
    steps.preflight(job)
    steps.backup(job)
    steps.create_schema(job)
    for table in ("t", "c"):
        steps.load(job, table)
    steps.finish_schema(job)
    for table in ("t", "c"):
        steps.verify(job, table)
    return job


def with_policy(job: Job, table: str, column: str, **facts: Any) -> Job:
    whole = job.plan.model_dump()
    whole["tables"][table]["columns"][column] |= facts
    return Job(Plan.model_validate(whole), job.run_id, job.target, job.source, job.home, job.params)


def balance(job: Job, table: str) -> tuple[int, int, int]:
    with connection_to(job) as connection:
        load = state.rows(connection, state.loads, run_id=job.run_id, table_name=table)[0]
    return load["source_rows"], load["loaded"], load["quarantined"]


def test_rows_that_cross_by_a_new_policy_leave_the_quarantine_and_nothing_else_is_touched(
    source: Path, target_dsn: str
) -> None:
    job = begun(source, target_dsn)
    assert quarantined(job, "t").keys() == {"[2]", "[3]", "[4]", "[5]"}
    assert (balance(job, "t"), balance(job, "c")) == ((5, 1, 4), (3, 1, 2))
    before = ask(job, f'SELECT xmin::text, ctid::text FROM "{job.staging}".t WHERE id = 1')

    job = with_policy(job, "t", "v", invalid="strip")
    with pytest.raises(RejectedRows, match=r"column v, key \[4\]"):
        steps.replay(job, "t")
    assert (balance(job, "t"), len(quarantined(job, "t"))) == ((5, 1, 4), 4)

    job = with_policy(job, "t", "v", invalid="null")
    assert steps.replay(job, "t")["replayed"] == 4
    assert steps.replay(job, "c")["replayed"] == 2
    assert staged(job, "t", "id, v, up") == [
        (1, "fine", None),
        (2, None, None),
        (3, "fine", 2),
        (4, None, None),
        (5, "x", 3),
    ]
    assert staged(job, "c") == [("a", 1), ("b", 2), ("ä", 4)]
    assert (balance(job, "t"), balance(job, "c")) == ((5, 5, 0), (3, 3, 0))
    assert ask(job, f'SELECT xmin::text, ctid::text FROM "{job.staging}".t WHERE id = 1') == before


def test_after_a_replay_the_table_has_to_be_verified_again_before_the_cut_over(source: Path, target_dsn: str) -> None:
    job = with_policy(begun(source, target_dsn), "t", "v", invalid="null")
    steps.replay(job, "t")
    with pytest.raises(CutOverRefused, match="table t: its keys and indexes were not made after it was loaded"):
        steps.cut_over(job)
    steps.finish_schema(job)
    with pytest.raises(CutOverRefused, match="table t: not verified since it was loaded"):
        steps.cut_over(job)
    steps.verify(job, "t")
    steps.cut_over(job)
    text, verdict = steps.report(job)
    assert verdict.success, text
    assert ask(job, "SELECT count(*) FROM t") == [(5,)]
    assert steps.rollback(job)["writes"] == ""


def test_rows_whose_parent_stays_in_the_quarantine_stay_there_too(source: Path, target_dsn: str) -> None:
    job = begun(source, target_dsn)
    with connection_to(job) as connection:  # the operator has judged row 4 already
        connection.execute("UPDATE migration.quarantine SET reason = reason || ' (known)' WHERE row_key = '[4]'")
    assert steps.replay(job, "t")["replayed"] == 0
    assert (balance(job, "t"), {*quarantined(job, "t")}) == ((5, 1, 4), {"[2]", "[3]", "[4]", "[5]"})
    steps.finish_schema(job)
    steps.verify(job, "t")


def test_a_plan_changed_in_more_than_its_policies_asks_for_a_whole_load(source: Path, target_dsn: str) -> None:
    job = with_policy(begun(source, target_dsn), "t", "v", type="bytea", invalid="bytes")
    with pytest.raises(
        MigrationError, match="Table t: its plan was changed in more than its `invalid` policies. Clear"
    ):
        steps.replay(job, "t")


def test_a_row_altered_in_the_target_after_a_replay_is_still_noticed(source: Path, target_dsn: str) -> None:
    job = with_policy(begun(source, target_dsn), "t", "v", invalid="null")
    steps.replay(job, "t")
    steps.finish_schema(job)
    steps.verify(job, "t")
    ask(job, f'UPDATE "{job.staging}".t SET v = v WHERE id = 2 RETURNING id')
    with pytest.raises(CutOverRefused, match="table t: changed in staging after it was loaded"):
        steps.cut_over(job)
