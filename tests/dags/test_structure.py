"""The DAGs as Airflow reads them: what may run before what, and what each task is protected by."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from airflow.dag_processing.dagbag import DagBag
from airflow.sdk import DAG

from migration.plan import Plan, plan_files, read_plan

ROOT = Path(__file__).parents[2]
PLANS = [read_plan(path) for path in plan_files()]


@pytest.fixture(scope="module")
def dags(airflow_database: None) -> dict[str, DAG]:
    bag = DagBag(ROOT / "dags")
    assert not bag.import_errors
    return dict(bag.dags)


@pytest.mark.parametrize("plan", PLANS, ids=lambda p: p.name)
def test_each_plan_has_a_migration_and_a_rollback(dags: dict[str, DAG], plan: Plan) -> None:
    assert {f"migrate_{plan.name}", f"rollback_{plan.name}"} <= set(dags)


@pytest.mark.parametrize("plan", PLANS, ids=lambda p: p.name)
def test_a_table_loads_after_its_parents_and_beside_all_others(dags: dict[str, DAG], plan: Plan) -> None:
    dag = dags[f"migrate_{plan.name}"]
    for table in plan.tables:
        expected = {f"load.{parent}" for parent in plan.before(table)} or {"create_schema"}
        assert dag.get_task(f"load.{table}").upstream_task_ids == expected


@pytest.mark.parametrize("plan", PLANS, ids=lambda p: p.name)
def test_the_cut_over_lies_behind_every_load_and_every_verification(dags: dict[str, DAG], plan: Plan) -> None:
    dag = dags[f"migrate_{plan.name}"]
    before = {t.task_id for t in dag.get_task("cut_over").get_flat_relatives(upstream=True)}
    assert {f"{step}.{table}" for step in ("load", "verify") for table in plan.tables} <= before


@pytest.mark.parametrize("plan", PLANS, ids=lambda p: p.name)
def test_clearing_one_load_reaches_only_what_follows_from_it(dags: dict[str, DAG], plan: Plan) -> None:
    dag = dags[f"migrate_{plan.name}"]
    for table in plan.tables:
        after = {t.task_id for t in dag.get_task(f"load.{table}").get_flat_relatives(upstream=False)}
        children = {t for t in plan.tables if table in plan.before(t)}
        assert {t for t in after if t.startswith("load.")} == {f"load.{t}" for t in children}
        assert {"finish_schema", "cut_over", "report"} <= after
        assert "backup" not in after


def test_every_task_retries_trouble_with_connections_and_nothing_else(dags: dict[str, DAG]) -> None:
    from airflow.sdk import RetryAction

    from migration.errors import RejectedRows, TransientError

    for dag in dags.values():
        for task in dag.tasks:
            assert task.retries == 3
            policy = task.retry_policy
            assert policy is not None
            assert policy.evaluate(TransientError(), 1, 3).action is RetryAction.RETRY
            assert policy.evaluate(RejectedRows(), 1, 3).action is RetryAction.FAIL


def test_the_engine_knows_no_airflow_and_the_application_no_engine() -> None:
    walls = {
        "migration": ("airflow", "glue", "report_site"),
        "widgettdc": ("airflow", "glue", "migration"),
    }
    for package, forbidden in walls.items():
        for path in (ROOT / "include" / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
                if isinstance(node, ast.ImportFrom):
                    names = [node.module or ""]
                assert not [n for n in names if n.startswith(forbidden)], f"{path} imports {names}"
