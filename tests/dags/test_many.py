"""DAGs of plans that describe their target: hundreds of tables, odd names, and from the assessment to the cut-over."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from airflow.dag_processing.dagbag import DagBag
from airflow.sdk import DAG

from glue import bridge, questions
from migration import plan as plans
from migration.errors import SourceError, TargetError
from migration.plan import Plan
from tests.dags.stage import REAL, Stage, target_connection
from tests.engine.many import make_many, many_plan
from tests.engine.support import database

ROOT = Path(__file__).parents[2]
Staged = Callable[..., Stage]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder of plans."""
    made = tmp_path / "plans"
    made.mkdir()
    monkeypatch.setattr(plans, "PLANS", made)
    return made


def dags() -> dict[str, DAG]:
    bag = DagBag(ROOT / "dags")
    assert not bag.import_errors
    return dict(bag.dags)


@pytest.fixture
def staged(
    airflow_database: None, folder: Path, tmp_path: Path, target_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> Staged:
    """Call with a source, and the content of its plan if it has one. The only target is the one for every plan."""
    monkeypatch.setenv("AIRFLOW_CONN_MIGRATION_TARGET", target_connection(target_dsn))
    monkeypatch.setenv("MIGRATION_HOME", str(tmp_path / "home"))

    def stage(source: Path, plan: dict[str, Any] | None = None) -> Stage:
        if plan is not None:
            (folder / f"{plan['name']}.yaml").write_text(yaml.safe_dump(plan, sort_keys=False))
        return Stage(source, target_dsn, dags())

    return stage


def test_three_hundred_tables_make_a_dag_that_people_can_read(airflow_database: None, folder: Path) -> None:
    plan = many_plan(Path("/nowhere/many.db"))
    (folder / "many.yaml").write_text(yaml.safe_dump(plan, sort_keys=False))
    dag = dags()["migrate_many"]
    assert len(dag.tasks) < 50
    loads = {t.task_id: t for t in dag.tasks if t.task_id.startswith("load.")}
    assert {"load.t000_of_many", "load.t001_of_many", "load.t002_of_many"} < set(loads)
    carried = [line.strip() for t in loads.values() for line in str(t.doc_md).splitlines() if line.startswith("    ")]
    assert sorted(carried) == sorted(plan["tables"])
    small = loads["load.level_2_small"]
    assert small.task_display_name == "level_2_small: t008_of_many … t031_of_many (24 tables)"
    assert small.upstream_task_ids == {"load.t002_of_many", "load.level_1_small"}
    assert loads["load.level_1_small"].upstream_task_ids == {"create_schema"}
    before = {t.task_id for t in dag.get_task("cut_over").get_flat_relatives(upstream=True)}
    assert set(loads) | {t.replace("load.", "verify.") for t in loads} <= before


def test_every_task_of_a_large_dag_carries_the_tables_that_its_parents_make_ready(
    airflow_database: None, folder: Path
) -> None:
    content = many_plan(Path("/nowhere/many.db"))
    (folder / "many.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    dag, plan = dags()["migrate_many"], Plan.model_validate(content)
    carried = {
        t.task_id: [line.strip() for line in str(t.doc_md).splitlines()[2:]]
        for t in dag.tasks
        if t.task_id.startswith("load.")
    }
    for task, tables in carried.items():
        ready = {t for p in dag.get_task(task).get_flat_relative_ids(upstream=True) for t in carried.get(p, [])}
        assert {parent for table in tables for parent in plan.before(table)} <= ready


def test_a_failing_table_leaves_the_others_of_its_task_loaded_and_the_cut_over_out_of_reach(
    staged: Staged, tmp_path: Path
) -> None:
    source = make_many(tmp_path / "many.db", tables=30, large=0)
    stage = staged(source, many_plan(source, tables=30, large=0))
    stage.change_source("UPDATE t007_of_many SET amount = 'much' WHERE id = 3")
    states = stage.run("migrate_many", **REAL)
    assert states[""] == "failed"
    assert states["load.level_1_small"] == "failed"
    assert states["load.level_2_small"] == states["cut_over"] == "upstream_failed"
    steps = "SELECT count(*) FROM migration.steps WHERE step = 'load' AND status = "
    assert stage.query(f"{steps} 'done'") == [(7,)]
    failed = stage.query("SELECT table_name, message FROM migration.steps WHERE step = 'load' AND status = 'failed'")
    assert [table for table, _ in failed] == ["t007_of_many"]
    assert "table t007_of_many, column amount, key [3], value 'much'" in failed[0][1]


def test_tables_of_any_name_go_from_a_file_named_by_its_path_into_the_target_for_every_plan(
    staged: Staged, tmp_path: Path
) -> None:
    names = ["{{ 1 + 1 }}", "größe", "a b", "a_b", "select", "x.y", "日本", 'quo"te']
    quoted = ['"' + name.replace('"', '""') + '"' for name in names]
    source = database(tmp_path / "odd names.db", *(f"CREATE TABLE {q} (id INTEGER PRIMARY KEY)" for q in quoted))
    table = {"columns": {"id": {"type": "bigint"}}, "primary_key": None}
    plan = {
        "name": "odd",
        "title": "{{ 1 / 0 }}",
        "source": str(source),
        "target": "odd_target",
        "tables": {
            name: table | {"primary_key": {"name": f"pk{n}", "columns": ["id"]}} for n, name in enumerate(names)
        },
    }
    stage = staged(source, plan)
    stage.change_source(*(f"INSERT INTO {q} VALUES (7)" for q in quoted))
    approve = stage.dags["migrate_odd"].get_task("approve")
    assert isinstance(approve, questions.Approval)
    assert approve.render_template(approve.subject, {}) == "{{ 1 / 0 }}: cut over to PostgreSQL?"
    assert stage.run("migrate_odd", **REAL)[""] == "success"
    for name in quoted:
        assert stage.query(f"SELECT id FROM public.{name}") == [(7,)]
    assert stage.run("rollback_odd", approval="given")[""] == "success"
    assert stage.query("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == [(0,)]


def test_an_assessment_writes_the_plan_whose_dags_then_migrate_and_roll_back(staged: Staged, tmp_path: Path) -> None:
    source = database(
        tmp_path / "Shop 1.db",
        "CREATE TABLE customers (id INTEGER PRIMARY KEY, name TEXT NOT NULL)",
        "CREATE TABLE orders (id INTEGER PRIMARY KEY, customer_id INTEGER NOT NULL REFERENCES customers(id), total REAL)",
        "INSERT INTO customers VALUES (1, 'Ada'), (2, 'Bo')",
        "INSERT INTO orders VALUES (1, 2, 0.125)",
    )
    stage = staged(source)
    assert set(stage.dags) == {"assess_sqlite"}
    assert stage.run("assess_sqlite", source=str(source))[""] == "success"
    stage = staged(source)
    assert {"assess_sqlite", "migrate_shop_1", "rollback_shop_1"} <= set(stage.dags)
    assert stage.run("migrate_shop_1", **REAL)[""] == "success"
    assert stage.query("SELECT name, total FROM customers c JOIN orders o ON o.customer_id = c.id") == [("Bo", 0.125)]


def test_an_assessment_of_what_is_no_database_fails_and_writes_nothing(
    staged: Staged, tmp_path: Path, folder: Path
) -> None:
    (tmp_path / "letter.db").write_text("Dear reader, this is not a database.")
    assert staged(tmp_path / "letter.db").run("assess_sqlite", source=str(tmp_path / "letter.db"))[""] == "failed"
    assert not list(folder.iterdir())


@pytest.fixture
def plan(airflow_database: None) -> Plan:
    return Plan.model_validate(many_plan(Path("/a/many.db"), tables=1))


def test_a_target_that_is_not_defined_is_one_sentence_that_says_how_to_define_it(plan: Plan) -> None:
    with pytest.raises(TargetError) as raised:
        bridge.target_of(plan)
    assert "The connection many_target" in str(raised.value)
    assert "airflow connections add many_target --conn-uri postgresql://" in str(raised.value)
    assert "migration_target" in str(raised.value)


def test_the_plans_own_target_goes_before_the_one_for_every_plan(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_MIGRATION_TARGET", target_connection("host=every dbname=d"))
    assert "host=every" in bridge.target_of(plan)
    monkeypatch.setenv("AIRFLOW_CONN_MANY_TARGET", target_connection("host=own dbname=d"))
    assert "host=own" in bridge.target_of(plan)


def test_a_source_is_a_path_or_a_connection(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    assert bridge._source(plan) == Path("/a/many.db")
    named = plan.model_copy(update={"source": "many_source"})
    with pytest.raises(SourceError, match="connection many_source to the database to move is not defined"):
        bridge._source(named)
    monkeypatch.setenv("AIRFLOW_CONN_MANY_SOURCE", '{"conn_type": "sqlite", "host": "/b/many.db"}')
    assert bridge._source(named) == Path("/b/many.db")
