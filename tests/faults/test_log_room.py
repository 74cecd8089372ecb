"""No room for the logs: the run ends as it may, nothing half done is live, and once there is room it ends green."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from local.api import ApiError
from local.files import ROOT, LocalError
from local.sessions import HOME
from tests.deployment import Deployment
from tests.faults.ledger import Ledger
from tests.faults.test_room import filled, small

REAL = {"mode": "cut_over", "approval": "given", "on_live_tables": "retire"}
ROWS = "SELECT count(*) FROM public.raw_documents"


@pytest.fixture
def deployment(tmp_path: Path) -> Iterator[Deployment]:
    deployment = Deployment(tmp_path)
    yield deployment
    deployment.stop()


@pytest.mark.parametrize("left", [0, 24])
def test_a_full_disk_of_the_logs_leaves_no_half_of_a_migration(
    deployment: Deployment, ledger: Ledger, left: int
) -> None:
    logs = deployment.root / HOME.relative_to(ROOT) / "logs"
    with small(logs, 512, os.getuid()):
        with filled(logs, left):
            run = deployment.trigger(**REAL)
            first = deployment.until(lambda: ended(deployment, run))
        if first == "stopped":  # ./run has said which service could not go on
            assert deployment.process.wait(60) != 0
            deployment.start()
        if deployment.ended(run) == "failed":
            failed = [name for name, task in deployment.tasks(run).items() if task["state"] == "failed"]
            deployment.clear(run, failed[0])
        assert deployment.ended(run) == "success"
    rows = deployment.query(ROWS)
    ledger.tried("Room", "disk of the logs full", f"{first}, green once there is room", wrong=rows != ["1200"])
    assert rows == ["1200"]


def ended(deployment: Deployment, run: str) -> str | None:
    """How the run ends, or that Airflow does."""
    if deployment.process.poll() is not None:
        return "stopped"
    try:
        state = str(deployment.api.get(f"/dags/migrate_widgettdc/dagRuns/{run}")["state"])
    except (ApiError, LocalError):
        return None
    return state if state in ("success", "failed") else None
