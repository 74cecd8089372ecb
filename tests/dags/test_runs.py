"""Whole runs of the DAG on real databases, by Airflow's own ``dag.test()``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from airflow.dag_processing.dagbag import DagBag

from tests.dags.stage import REAL, Stage, target_connection
from widgettdc.sample import make_sample

ROOT = Path(__file__).parents[2]


@pytest.fixture
def stage(airflow_database: None, tmp_path: Path, target_dsn: str, monkeypatch: pytest.MonkeyPatch) -> Stage:
    stage = Stage(tmp_path / "widgettdc.db", target_dsn, dict(DagBag(ROOT / "dags").dags))
    make_sample(stage.source)
    monkeypatch.setenv("AIRFLOW_CONN_WIDGETTDC_SOURCE", json.dumps({"conn_type": "sqlite", "host": str(stage.source)}))
    monkeypatch.setenv("AIRFLOW_CONN_WIDGETTDC_TARGET", target_connection(target_dsn))
    monkeypatch.setenv("MIGRATION_HOME", str(tmp_path / "home"))
    return stage


def test_a_real_run_ends_green_and_the_application_finds_its_rows(stage: Stage) -> None:
    states = stage.run(**REAL)
    assert states[""] == "success"
    assert states["cut_over"] == "success"
    assert states["approve"] == "skipped"
    assert stage.query("SELECT count(*) FROM public.memory_entities") == [(4000,)]
    assert stage.query("SELECT status FROM migration.runs") == [("cut_over",)]


def test_a_rehearsal_is_the_default_and_leaves_the_live_schema_alone(stage: Stage) -> None:
    states = stage.run()
    assert states[""] == "success"
    assert states["cut_over"] == "skipped"
    assert stage.query("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == [(0,)]


def test_one_bad_row_fails_the_run_and_keeps_the_cut_over_out_of_reach(stage: Stage) -> None:
    stage.change_source(
        "UPDATE memory_relations SET strength = 0.666 WHERE id = (SELECT min(id) FROM memory_relations)"
    )
    states = stage.run(**REAL)
    assert states[""] == "failed"
    assert states["load.memory_relations"] == "failed"
    assert states["load.memory_tags"] == "success"
    assert states["cut_over"] == "upstream_failed"
    assert states["report"] == "failed"
    assert stage.query("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == [(0,)]


def test_a_source_that_does_not_match_fails_before_anything_is_touched(stage: Stage) -> None:
    stage.change_source("ALTER TABLE decisions RENAME COLUMN title TO headline")
    states = stage.run(**REAL)
    assert states[""] == "failed"
    assert states["preflight"] == "failed"
    assert stage.query("SELECT count(*) FROM pg_namespace WHERE nspname = 'migration' OR nspname LIKE 'staging%'") == [
        (0,)
    ]


def test_the_rollback_dag_puts_back_an_empty_live_schema(stage: Stage) -> None:
    assert stage.run(**REAL)[""] == "success"
    assert stage.run("rollback_widgettdc", approval="given")[""] == "success"
    assert stage.query("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == [(0,)]
