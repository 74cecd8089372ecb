"""A whole deployment as its operators meet it: tasks that fail, are mended and cleared, caught, killed, undone.

Drives ``./run --ui`` in a copy of the checkout, with an Airflow and a PostgreSQL of its own, through Airflow's API.
"""

from __future__ import annotations

import signal
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import psutil
import pytest

from local.api import ApiError
from tests.deployment import Deployment

pytestmark = pytest.mark.slow

REAL = {"mode": "cut_over", "approval": "given", "on_live_tables": "retire"}


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    deployment = Deployment(tmp_path_factory.mktemp("deployment"))
    yield deployment
    deployment.stop()


def test_a_bad_row_fails_the_run_by_name_and_mending_the_plan_and_clearing_that_task_makes_it_green(
    deployment: Deployment,
) -> None:
    deployment.new_source(
        "UPDATE memory_relations SET strength = 0.666 WHERE id = (SELECT min(id) FROM memory_relations)"
    )
    with closing(sqlite3.connect(deployment.source)) as connection:
        key = connection.execute("SELECT min(id) FROM memory_relations").fetchone()[0]
    run = deployment.trigger(**REAL)
    assert deployment.ended(run) == "failed"
    failed = deployment.tasks(run)
    assert failed["load.memory_relations"]["state"] == "failed"
    assert failed["load.memory_relations"]["try_number"] == 1
    assert failed["cut_over"]["state"] == "upstream_failed"
    log = deployment.error_of(run, "load.memory_relations")
    assert f"table memory_relations, column strength, key [{key}], value 0.666" in log
    assert "clear this task" in log

    plan = deployment.root / "include/plans/widgettdc.yaml"
    text = plan.read_text()
    plan.write_text(
        text.replace("\n  memory_relations:", "\n  memory_relations:\n    columns: {strength: {invalid: round}}")
    )
    try:
        deployment.clear(run, "load.memory_relations")
        assert deployment.ended(run) == "success"
    finally:
        plan.write_text(text)
    mended = deployment.tasks(run)
    again = {task for task in mended if mended[task]["try_number"] > failed[task]["try_number"]}
    assert {t for t in again if t.startswith("load.")} == {"load.memory_relations"}
    assert not again & {"preflight", "backup", "create_schema"}
    assert deployment.query(f"SELECT strength FROM public.memory_relations WHERE id = {key}") == ["0.67"]
    assert deployment.query(
        f"SELECT convert_from(value, 'UTF8') FROM migration.altered_values WHERE run_id = '{run}'"
    ) == ["0.666"]


def test_a_target_row_altered_between_load_and_verify_is_caught_and_named(deployment: Deployment) -> None:
    deployment.new_source()
    run = deployment.trigger(mode="cut_over", approval="ask", on_live_tables="retire")
    deployment.until(lambda: deployment.tasks(run)["approve"]["state"] == "awaiting_input" or None)
    staging = deployment.query(f"SELECT staging FROM migration.runs WHERE run_id = '{run}'")[0]
    key = deployment.query(f'SELECT min(id) FROM "{staging}".memory_tags')[0]
    deployment.query(f"UPDATE \"{staging}\".memory_tags SET tag = tag || '!' WHERE id = {key}")
    deployment.clear(run, "verify.memory_tags")
    assert deployment.ended(run) == "failed"
    assert deployment.tasks(run)["cut_over"]["state"] == "upstream_failed"
    log = deployment.error_of(run, "verify.memory_tags")
    assert "memory_tags" in log
    assert "tag" in log
    assert f"[{key}]" in log
    deployment.clear(run, "load.memory_tags")
    deployment.until(lambda: deployment.tasks(run)["approve"]["state"] == "awaiting_input" or None)
    time.sleep(3)  # an answer in the moment in which the task parks is lost in Airflow 3.3
    answer = {"chosen_options": ["Keep staging"], "params_input": {}}
    deployment.api.patch(f"/dags/migrate_widgettdc/dagRuns/{run}/taskInstances/approve/-1/hitlDetails", answer)
    assert deployment.ended(run) == "success"
    assert deployment.query(f"SELECT status, approval->>'answer' FROM migration.runs WHERE run_id = '{run}'") == [
        "kept|keep"
    ]


def test_a_load_killed_in_the_middle_of_copy_is_tried_again_and_ends_complete(deployment: Deployment) -> None:
    deployment.new_source(scale=20)
    run = deployment.trigger(**REAL)

    def copying() -> int | None:
        """The process that copies the documents, once it has sent some."""
        ports = deployment.query(
            "SELECT client_port FROM pg_stat_activity a JOIN pg_stat_progress_copy p USING (pid)"
            " WHERE application_name = 'migration: Loading table raw_documents' AND tuples_processed > 500"
        )
        return next((c.pid for c in psutil.net_connections("tcp") if ports and c.laddr.port == int(ports[0])), None)

    process = deployment.until(copying)
    psutil.Process(process).send_signal(signal.SIGKILL)
    assert deployment.ended(run) == "success"
    assert deployment.tasks(run)["load.raw_documents"]["try_number"] == 2
    assert deployment.query("SELECT count(*), count(DISTINCT id) FROM public.raw_documents") == ["24000|24000"]


def test_the_rollback_dag_undoes_the_newest_cut_over(deployment: Deployment) -> None:
    before = deployment.query("SELECT run_id FROM migration.runs WHERE status = 'cut_over' ORDER BY cut_over_at DESC")
    run = deployment.trigger("rollback_widgettdc", approval="given")
    ended = deployment.ended(run, "rollback_widgettdc")
    assert ended == "success", deployment.error_of(run, "roll_back", "rollback_widgettdc")
    assert deployment.query(f"SELECT status FROM migration.runs WHERE run_id = '{before[0]}'") == ["rolled_back"]
    assert deployment.query("SELECT count(*) FROM public.raw_documents") == ["1200"]


def test_a_dag_that_follows_the_cut_over_runs_after_it_and_after_no_rehearsal(deployment: Deployment) -> None:
    (deployment.root / "dags/follows.py").write_text(
        "from airflow.sdk import DAG, Asset, task\n"
        'with DAG("follows", schedule=[Asset("migration://widgettdc/cut_over")]):\n'
        '    task(task_id="hear")(lambda: None)()\n'
    )

    def followed() -> list[dict[str, Any]]:
        return list(deployment.api.pages("/dags/follows/dagRuns", "dag_runs"))

    deployment.until(lambda: list(deployment.api.pages("/dags", "dags", dag_id_pattern="follows")) or None)
    deployment.new_source()
    rehearsal = deployment.trigger(on_live_tables="retire")  # other tests may have left live rows
    assert deployment.ended(rehearsal) == "success"
    assert followed() == []
    run = deployment.trigger(**REAL)
    assert deployment.ended(run) == "success"
    deployment.until(lambda: followed() or None)
    (event,) = deployment.api.get("/assets/events", source_run_id=run, name_pattern="migration://")["asset_events"]
    assert event["extra"] == {"plan": "widgettdc", "run_id": run}
    assert "notice: Migrate WidgetTDC: cut over" in deployment.error_of(run, "report")


def test_a_rollback_asks_and_undoes_what_was_shown_once_it_is_confirmed(deployment: Deployment) -> None:
    deployment.query(
        "INSERT INTO public.memory_tags (entity_id, tag) SELECT min(id), 'new' FROM public.memory_entities"
    )
    run = deployment.trigger("rollback_widgettdc")
    path = f"/dags/rollback_widgettdc/dagRuns/{run}/taskInstances/confirm"
    deployment.until(lambda: deployment.api.get(path)["state"] == "awaiting_input" or None)
    asked = deployment.api.get(f"{path}/-1/hitlDetails")
    assert "1 row inserted or changed" in asked["subject"]
    time.sleep(3)  # an answer in the moment in which the task parks is lost in Airflow 3.3
    deployment.api.patch(f"{path}/-1/hitlDetails", {"chosen_options": ["Roll back"], "params_input": {}})
    assert deployment.ended(run, "rollback_widgettdc") == "success"
    assert "notice: Roll back WidgetTDC: rolled back" in deployment.error_of(run, "roll_back", "rollback_widgettdc")


def test_who_is_not_named_as_an_approver_cannot_answer(deployment: Deployment) -> None:
    deployment.api.post("/variables", {"key": "migration_approvers", "value": "bo"})
    run = deployment.trigger(mode="cut_over", approval="ask", on_live_tables="retire")
    path = f"/dags/migrate_widgettdc/dagRuns/{run}/taskInstances/approve"
    deployment.until(lambda: deployment.api.get(path)["state"] == "awaiting_input" or None)
    with pytest.raises(ApiError) as refused:
        deployment.api.patch(f"{path}/-1/hitlDetails", {"chosen_options": ["Cut over"], "params_input": {}})
    assert refused.value.status == 403
    assert deployment.tasks(run)["approve"]["state"] == "awaiting_input"
    deployment.api.patch(f"/dags/migrate_widgettdc/dagRuns/{run}", {"state": "failed"})
