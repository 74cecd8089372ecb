"""The DAG that replays a quarantine: a rehearsal's rows cross by a mended plan, without a new load."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from airflow.dag_processing.dagbag import DagBag

from migration import plan as plans
from tests.dags.stage import Stage, target_connection
from tests.engine.support import Raw, database, insert

ROOT = Path(__file__).parents[2]


@pytest.fixture
def stage(airflow_database: None, tmp_path: Path, target_dsn: str, monkeypatch: pytest.MonkeyPatch) -> Stage:
    """A rehearsed migration with one row in the quarantine."""
    source = database(tmp_path / "notes.db", "CREATE TABLE note (id INTEGER PRIMARY KEY, body TEXT)")
    insert(source, "note", [(1, "fine"), (2, Raw(b"a\0b"))])
    monkeypatch.setattr(plans, "PLANS", tmp_path / "plans")
    monkeypatch.setenv("AIRFLOW_CONN_MIGRATION_TARGET", target_connection(target_dsn))
    monkeypatch.setenv("MIGRATION_HOME", str(tmp_path / "home"))
    write_plan(source, "quarantine")
    stage = Stage(source, target_dsn, dict(DagBag(ROOT / "dags").dags))
    assert stage.run("migrate_notes")[""] == "success"
    assert stage.query("SELECT loaded, quarantined FROM migration.loads") == [(1, 1)]
    return stage


def write_plan(source: Path, invalid: str) -> None:
    """The plan, with what becomes of a body that cannot cross."""
    columns: dict[str, Any] = {"id": {"type": "bigint", "identity": True}, "body": {"type": "text", "invalid": invalid}}
    table = {"columns": columns, "primary_key": {"name": "note_pkey", "columns": ["id"]}}
    plan = {
        "name": "notes",
        "title": "Notes",
        "source": str(source),
        "target": "notes_target",
        "tables": {"note": table},
    }
    plans.PLANS.mkdir(exist_ok=True)
    (plans.PLANS / "notes.yaml").write_text(yaml.safe_dump(plan, sort_keys=False))


def test_a_mended_plan_lets_the_quarantined_row_cross_and_only_that(stage: Stage) -> None:
    write_plan(stage.source, "strip")
    states = stage.run("replay_notes")
    assert states == {"replay": "success", "finish_schema": "success", "verify": "success", "": "success"}
    assert stage.query("SELECT loaded, quarantined, altered FROM migration.loads") == [(2, 0, 1)]
    schema = stage.query("SELECT staging FROM migration.runs")[0][0]
    assert stage.query(f'SELECT * FROM "{schema}".note ORDER BY 1') == [(1, "fine"), (2, "ab")]
    assert stage.query("SELECT ok, rows FROM migration.verifications") == [(True, 2)]


def test_a_plan_that_still_does_not_take_the_row_fails_by_name_and_keeps_the_balance(stage: Stage) -> None:
    write_plan(stage.source, "stop")
    states = stage.run("replay_notes")
    assert (states["replay"], states["verify"], states[""]) == ("failed", "upstream_failed", "failed")
    assert stage.query("SELECT loaded, quarantined FROM migration.loads") == [(1, 1)]
    assert (
        "key [2]"
        in stage.query("SELECT message FROM migration.steps WHERE table_name = 'note' AND step = 'load'")[0][0]
    )
