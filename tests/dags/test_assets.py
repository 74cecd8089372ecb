"""What other DAGs can follow: events of assets at a cut-over and at a rollback, and at nothing else."""

from __future__ import annotations

from typing import Any

import pytest
from airflow.models.asset import AssetEvent
from airflow.utils.session import create_session
from psycopg.conninfo import conninfo_to_dict
from sqlalchemy import select

from tests.dags.stage import REAL, Stage
from tests.dags.test_questions import stage

__all__ = ["stage"]


def events(run: str) -> dict[str, Any]:
    """The extras of the events about this migration's run, by the asset's URI."""
    with create_session() as session:
        found = session.scalars(select(AssetEvent))
        return {event.asset.uri: event.extra for event in found if event.extra.get("run_id") == run}


def newest(stage: Stage) -> str:
    return str(stage.query("SELECT run_id FROM migration.runs ORDER BY started_at DESC")[0][0])


@pytest.fixture
def table(stage: Stage) -> str:
    """The URI of the live table."""
    target = conninfo_to_dict(stage.dsn)
    host = str(target["host"]).replace("/", "%2F")
    return f"postgres://{host}:{target.get('port', 5432)}/{target['dbname']}/public/note"


def test_a_cut_over_and_its_rollback_are_told_of_the_plan_and_of_each_table(stage: Stage, table: str) -> None:
    stage.run("migrate_notes", **REAL)
    run = newest(stage)
    assert events(run) == dict.fromkeys(["migration://notes/cut_over", table], {"plan": "notes", "run_id": run})
    stage.run("rollback_notes", approval="given")
    assert set(events(run)) == {"migration://notes/cut_over", "migration://notes/rollback", table}


def test_a_rehearsal_and_the_end_of_its_staging_tell_nothing(stage: Stage) -> None:
    stage.run("migrate_notes")
    assert stage.run("rollback_notes", approval="given", run_id=newest(stage))[""] == "success"
    assert events(newest(stage)) == {}


def test_a_cut_over_that_is_refused_tells_nothing(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("migration.steps.difference", lambda *_: "The source was changed since the snapshot.")
    states = stage.run("migrate_notes", **REAL)
    assert states["cut_over"] == "failed"
    assert events(newest(stage)) == {}
