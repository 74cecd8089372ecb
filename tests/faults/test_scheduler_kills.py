"""The scheduler killed in the middle of a run: started again, it ends the run, and the same rows are live."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import suppress

import psutil
import pytest

from tests.deployment import Deployment
from tests.faults.ledger import Ledger

REAL = {"mode": "cut_over", "approval": "given", "on_live_tables": "retire"}
WORKING = ("running", "success")
TASKS = [
    "preflight",
    "backup",
    "create_schema",
    "load.memory_entities",
    "finish_schema",
    "verify.raw_documents",
    "cut_over",
    "report",
]


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    deployment = Deployment(tmp_path_factory.mktemp("deployment"))
    deployment.new_source(scale=4)
    yield deployment
    deployment.stop()


@pytest.fixture(scope="module")
def undisturbed(deployment: Deployment) -> list[str]:
    """What is live after a run that nothing disturbed."""
    run = deployment.trigger(**REAL)
    assert deployment.ended(run) == "success"
    return live(deployment)


def live(deployment: Deployment) -> list[str]:
    """Each live table with its rows, as one hash."""
    names = deployment.query(
        "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
    )
    hashes = " UNION ALL ".join(
        f"SELECT '{name}', count(*), md5(string_agg(t::text, '' ORDER BY t::text)) FROM public.{name} t"
        for name in names
    )
    return sorted(deployment.query(hashes))


def kill_scheduler(deployment: Deployment) -> None:
    """SIGKILL the scheduler and the tasks that it runs."""
    children = psutil.Process(deployment.process.pid).children(recursive=True)
    ours = [process for process in children if "scheduler" in _command(process)]
    assert ours
    for each in {*ours, *(child for process in ours for child in process.children(recursive=True))}:
        with suppress(psutil.NoSuchProcess):
            each.send_signal(signal.SIGKILL)


def _command(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:  # it has ended
        return ""


@pytest.mark.parametrize("task", TASKS)
def test_a_run_whose_scheduler_was_killed_ends_green_once_it_is_started_again(
    deployment: Deployment, undisturbed: list[str], ledger: Ledger, task: str
) -> None:
    run = deployment.trigger(**REAL)
    deployment.until(lambda: deployment.tasks(run)[task]["state"] in WORKING or None)
    kill_scheduler(deployment)
    assert deployment.process.wait(90) != 0  # it says that its scheduler ended
    deployment.start()
    ended = deployment.ended(run)
    wrong = ended != "success" or live(deployment) != undisturbed
    outcome = "another state" if wrong else "started again, run green, same rows"
    ledger.tried("Kill", f"SIGKILL of scheduler and tasks in {task.split('.')[0]}", outcome, wrong=wrong)
    assert ended == "success"
    assert live(deployment) == undisturbed
    staging = "SELECT nspname FROM pg_namespace WHERE nspname LIKE 'staging%'"
    assert deployment.query(staging) == []
