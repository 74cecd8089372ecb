"""A table in ranges as a group of tasks: one for each range, which Airflow maps when the table has been divided."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from airflow.dag_processing.dagbag import DagBag
from airflow.sdk import DAG

from migration import plan as plans
from tests.dags.stage import REAL, Stage, target_connection
from tests.engine.support import Raw, database, insert

ROOT = Path(__file__).parents[2]
WORDS = ["{{ 1 / 0 }}", "a\u202eb", "plain", "zz", "Ω"]
TABLES = {
    "{{ big }}": 'CREATE TABLE "{{ big }}" (word TEXT PRIMARY KEY, n INTEGER) WITHOUT ROWID',
    "small": 'CREATE TABLE small (n INTEGER PRIMARY KEY, word TEXT REFERENCES "{{ big }}")',
}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    source = database(tmp_path / "words.db", *TABLES.values())
    insert(source, "{{ big }}", [(word, n) for n, word in enumerate(WORDS)])
    insert(source, "small", [(1, "plain")])
    return source


def dags() -> dict[str, DAG]:
    bag = DagBag(ROOT / "dags")
    assert not bag.import_errors
    return dict(bag.dags)


@pytest.fixture
def stage(
    airflow_database: None, source: Path, tmp_path: Path, target_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> Stage:
    """A migration of which one table, with a name that would be a template, is loaded in three ranges."""
    monkeypatch.setattr(plans, "PLANS", tmp_path / "plans")
    monkeypatch.setenv("AIRFLOW_CONN_MIGRATION_TARGET", target_connection(target_dsn))
    monkeypatch.setenv("MIGRATION_HOME", str(tmp_path / "home"))
    word: dict[str, Any] = {"type": "text", "not_null": True}
    reference = {"columns": ["word"], "table": "{{ big }}", "parent_columns": ["word"]}
    plan = {
        "name": "words",
        "title": "Words",
        "source": str(source),
        "target": "words_target",
        "tables": {
            "{{ big }}": {
                "ranges": 3,
                "columns": {"word": word, "n": {"type": "bigint"}},
                "primary_key": {"name": "big_pkey", "columns": ["word"]},
            },
            "small": {
                "columns": {"n": {"type": "bigint"}, "word": {"type": "text"}},
                "foreign_keys": {"small_word_fkey": reference},
            },
        },
    }
    plans.PLANS.mkdir()
    (plans.PLANS / "words.yaml").write_text(yaml.safe_dump(plan, sort_keys=False))
    return Stage(source, target_dsn, dags())


def test_a_table_in_ranges_is_a_group_and_the_others_are_as_they_were(stage: Stage) -> None:
    dag = stage.dags["migrate_words"]
    loads = {t.task_id: t.upstream_task_ids for t in dag.tasks if t.task_id.startswith("load.")}
    assert loads == {
        "load._big_.cut": {"create_schema"},
        "load._big_.rows": {"load._big_.cut"},
        "load._big_.total": {"load._big_.rows"},
        "load.small": {"load._big_.total"},
    }
    assert dag.get_task("finish_schema").upstream_task_ids == {"load._big_.total", "load.small"}
    assert {t.task_id for t in dag.tasks if t.task_id.startswith("verify.")} == {"verify._big_", "verify.small"}
    assert {"load._big_.total", "load.small"} <= dag.get_task("report").upstream_task_ids
    assert {dag.get_task(task).pool for task in loads} == {"postgres_copy"}


def test_a_run_loads_each_range_in_a_task_that_is_named_by_its_keys(stage: Stage) -> None:
    result = stage.dags["migrate_words"].test(run_conf=REAL)
    assert result.state == "success"
    mapped = {t.map_index: t for t in result.get_task_instances() if t.task_id == "load._big_.rows"}
    assert {n: (t.state, t.rendered_map_index) for n, t in mapped.items()} == {
        0: ("success", "a\\u202eb"),
        1: ("success", "plain – zz"),
        2: ("success", "{{ 1 / 0 }} – Ω"),
    }
    assert stage.query('SELECT word, n FROM public."{{ big }}" ORDER BY n') == [(w, n) for n, w in enumerate(WORDS)]
    assert stage.query("SELECT table_name, jsonb_array_length(xids) FROM migration.loads ORDER BY 1") == [
        ("small", 1),
        ("{{ big }}", 3),
    ]
    assert stage.query("SELECT step, status FROM migration.steps WHERE table_name = '{{ big }}' ORDER BY 1") == [
        ("load", "done"),
        ("verify", "done"),
    ]


def test_a_table_without_rows_is_one_range_and_skips_nothing(stage: Stage) -> None:
    stage.change_source("DELETE FROM small", 'DELETE FROM "{{ big }}"')
    states = stage.run("migrate_words", **REAL)
    assert states[""] == states["load._big_.rows"] == states["cut_over"] == "success"


def test_a_range_with_a_bad_value_fails_alone_and_nothing_is_summed_up(stage: Stage, source: Path) -> None:
    stage.change_source('DELETE FROM "{{ big }}" WHERE n = 2', "DELETE FROM small")
    insert(source, "{{ big }}", [(Raw(b"q\0r"), 2)])
    result = stage.dags["migrate_words"].test(run_conf=REAL)
    assert result.state == "failed"
    instances = {(t.task_id, t.map_index): str(t.state) for t in result.get_task_instances()}
    assert [instances["load._big_.rows", n] for n in range(3)] == ["success", "failed", "success"]
    assert instances["load._big_.total", -1] == instances["cut_over", -1] == "upstream_failed"
    assert stage.query("SELECT number, loaded FROM migration.load_ranges ORDER BY 1") == [(1, 1), (2, None), (3, 2)]
    ((status, message),) = stage.query("SELECT status, message FROM migration.steps WHERE table_name = '{{ big }}'")
    assert status == "failed"
    assert "column word, key" in message
