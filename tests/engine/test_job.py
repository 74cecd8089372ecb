"""The record of a step's beginning and end."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa
from psycopg.conninfo import make_conninfo

from migration.errors import SourceError, TransientError
from migration.job import Job, step
from tests.engine.support import begin, database, job_for, models, plan_for

HOLD = "LOCK TABLE migration.steps IN EXCLUSIVE MODE"


@pytest.fixture
def job(tmp_path: Path, target_dsn: str) -> Job:
    source = database(tmp_path / "app.db", "CREATE TABLE t (id INTEGER PRIMARY KEY)")
    begun = begin(job_for(source, target_dsn, plan_for(models(("t", [sa.Column("id", sa.Integer, primary_key=True)])))))
    return replace(begun, target=make_conninfo(target_dsn, options="-c lock_timeout=200ms"))


def status(job: Job) -> list[tuple[str]]:
    with psycopg.connect(job.target) as connection:
        return connection.execute("SELECT status FROM migration.steps WHERE step = 'load'").fetchall()


def test_a_step_whose_end_cannot_be_recorded_is_to_be_tried_again_and_then_counts(job: Job) -> None:
    with psycopg.connect(job.target) as other:
        with pytest.raises(TransientError, match="recording the end of load"), step(job, "load", "t"):
            other.execute(HOLD)
        assert status(job) == [("running",)]
    with step(job, "load", "t"):
        pass
    assert status(job) == [("done",)]


def test_a_failure_that_cannot_be_recorded_is_still_the_one_that_is_told(job: Job) -> None:
    def fail() -> None:
        with step(job, "load", "t"):
            other.execute(HOLD)
            raise SourceError("no such thing")

    with psycopg.connect(job.target) as other, pytest.raises(SourceError, match="no such thing"):
        fail()
