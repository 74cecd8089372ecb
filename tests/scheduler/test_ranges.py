"""A table in ranges under the scheduler: one that is cleared or killed runs again by itself, and what follows it."""

from __future__ import annotations

import signal
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import psutil
import pytest

from tests.deployment import Deployment

pytestmark = pytest.mark.slow

ROWS = "load.raw_documents.rows"


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """WidgetTDC, whose documents are loaded in four ranges."""
    deployment = Deployment(tmp_path_factory.mktemp("deployment"))
    plan = deployment.root / "include/plans/widgettdc.yaml"
    plan.write_text(plan.read_text().replace("  raw_documents: {}", "  raw_documents: {ranges: 4}"))
    deployment.until(lambda: known(deployment) or None)
    yield deployment
    deployment.stop()


def known(deployment: Deployment) -> bool:
    tasks = deployment.api.get("/dags/migrate_widgettdc/tasks")["tasks"]
    return any(task["task_id"] == ROWS for task in tasks)


def instances(deployment: Deployment, run: str) -> dict[tuple[str, int], dict[str, Any]]:
    path = f"/dags/migrate_widgettdc/dagRuns/{run}/taskInstances"
    return {(t["task_id"], t["map_index"]): t for t in deployment.api.pages(path, "task_instances")}


def test_a_cleared_range_runs_again_alone_with_its_downstream(deployment: Deployment) -> None:
    run = deployment.trigger()
    assert deployment.ended(run) == "success"
    before = instances(deployment, run)
    with closing(sqlite3.connect(deployment.source)) as connection:
        ids = [n for (n,) in connection.execute("SELECT id FROM raw_documents ORDER BY id")]
    parts = [ids[n : n + 300] for n in range(0, 1200, 300)]
    labels = [before[ROWS, n]["rendered_map_index"] for n in range(4)]
    assert labels == [f"{part[0]:,} – {part[-1]:,}" for part in parts]
    staging = deployment.query(f"SELECT staging FROM migration.runs WHERE run_id = '{run}'")[0]
    versions = f'SELECT id, xmin::text, md5(t::text) FROM "{staging}".raw_documents t ORDER BY id'
    rows = deployment.query(versions)

    body = {"dry_run": False, "only_failed": False, "dag_run_id": run, "include_downstream": True}
    deployment.api.post("/dags/migrate_widgettdc/clearTaskInstances", body | {"task_ids": [[ROWS, 2]]})
    assert deployment.ended(run) == "success"
    after = instances(deployment, run)
    again = {key for key in after if after[key]["try_number"] > before[key]["try_number"]}
    assert {key for key in again if key[0].startswith("load.")} == {
        (ROWS, 2),
        ("load.raw_documents.total", -1),
        ("load.structured_facts", -1),  # its references lead to the documents
    }
    assert ("finish_schema", -1) in again
    assert ("verify.raw_documents", -1) in again
    assert not {task for task, _ in again} & {"preflight", "backup", "create_schema"}

    now = deployment.query(versions)
    changed = {int(row.split("|")[0]) for row in set(rows) ^ set(now)}
    assert changed == set(parts[2])
    assert [row.split("|")[2] for row in rows] == [row.split("|")[2] for row in now]


def test_a_range_killed_in_its_copy_is_tried_again_and_the_run_ends_complete(deployment: Deployment) -> None:
    deployment.new_source(scale=20)
    run = deployment.trigger(mode="cut_over", approval="given", on_live_tables="retire")

    def copying() -> int | None:
        """A process that copies one of the ranges, once it has sent some."""
        ports = deployment.query(
            "SELECT client_port FROM pg_stat_activity a JOIN pg_stat_progress_copy p USING (pid)"
            " WHERE application_name LIKE 'migration: Loading range _ of table raw_documents' AND tuples_processed > 100"
        )
        return next((c.pid for c in psutil.net_connections("tcp") if ports and c.laddr.port == int(ports[0])), None)

    process = deployment.until(copying)
    psutil.Process(process).send_signal(signal.SIGKILL)
    assert deployment.ended(run) == "success"
    tries = [t["try_number"] for (task, _), t in instances(deployment, run).items() if task == ROWS]
    assert sorted(tries) == [1, 1, 1, 2]
    assert deployment.query("SELECT count(*), count(DISTINCT id) FROM public.raw_documents") == ["24000|24000"]
