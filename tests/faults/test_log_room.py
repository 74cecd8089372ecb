"""No room for the logs: the run ends as it may, nothing half done is live, and once there is room it ends green."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from local.files import ROOT
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
            first = deployment.ended(run)
            failed = [name for name, task in deployment.tasks(run).items() if task["state"] == "failed"]
        if first == "failed":
            for name in failed[:1]:
                deployment.clear(run, name)
            assert deployment.ended(run) == "success"
    rows = deployment.query(ROWS)
    ledger.tried("Room", "disk of the logs full", f"run {first}, green in the end, all rows", wrong=rows != ["1200"])
    assert rows == ["1200"]
