"""The logs of tasks as Airflow's scheduler and its task processes write them and its UI shows them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.deployment import Deployment

pytestmark = pytest.mark.slow

MARKERS = ("::group::", "::endgroup::")
REAL = {"mode": "cut_over", "approval": "given", "on_live_tables": "retire"}


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    deployment = Deployment(tmp_path_factory.mktemp("deployment"))
    yield deployment
    deployment.stop()


def entries(deployment: Deployment, run: str, task: str) -> list[dict[str, Any]]:
    """The log of a task's only try, entry by entry, without the sources that Airflow names first."""
    path = f"/dags/migrate_widgettdc/dagRuns/{run}/taskInstances/{task}/logs/1"
    content = deployment.api.get(path, full_content="true")["content"]
    return [e for e in content if "timestamp" in e]


def unfolded(log: list[dict[str, Any]]) -> list[str]:
    """What is seen with all folds closed; the markers must open and close one after the other."""
    seen, inside = [], False
    for entry in log:
        event = str(entry["event"])
        if any(m in event for m in MARKERS):
            assert event.startswith(MARKERS[inside]), [e["event"] for e in log]
            inside = not inside
        elif not inside:
            seen.append(event)
    assert not inside
    return seen


def test_logs_open_with_what_a_task_does_and_end_with_its_result_or_with_what_to_do(deployment: Deployment) -> None:
    deployment.new_source("UPDATE memory_relations SET strength = 0.666 WHERE id = 1")
    run = deployment.trigger(**REAL)
    assert deployment.ended(run) == "failed"

    first, last, returned = unfolded(entries(deployment, run, "load.memory_tags"))
    assert first.startswith("load memory_tags: 9,000 rows from the snapshot into ")
    assert last.startswith("load memory_tags: 9,000 rows loaded, 0 quarantined, 0 excluded of 9,000; ")
    assert returned == "Done. Returned value not shown"

    log = entries(deployment, run, "load.memory_relations")
    first, last, ended = unfolded(log)
    assert first.startswith("load memory_relations: 6,000 rows from the snapshot into ")
    assert "\n  table memory_relations, column strength, key [1], value 0.666: " in last
    assert "\nDeclare in include/plans/widgettdc.yaml what becomes of them, then clear this task:\n" in last
    assert ended == "Task exited"
    assert not [e for e in log if e.get("error_detail")]

    assert unfolded(entries(deployment, run, "report"))[-2].startswith("The migration is no success: ")
    assert unfolded(entries(deployment, run, "preflight"))[-2].startswith("preflight: nothing is in the way: 9 tables ")


def test_the_log_of_a_successful_run_ends_with_its_verdict(deployment: Deployment) -> None:
    deployment.new_source()
    run = deployment.trigger(**REAL)
    assert deployment.ended(run) == "success"
    told = unfolded(entries(deployment, run, "report"))
    assert told[-2].startswith("report: ")
    assert any("Verdict" in line and "Balance" in line for line in told)
    for task in ("backup", "create_schema", "finish_schema", "verify.memory_tags", "cut_over"):
        first, *_, last, _ = unfolded(entries(deployment, run, task))
        label = task.replace(".", " ")
        assert first.startswith(f"{label}: ")
        assert last.startswith(f"{label}: ")
        assert first != last
