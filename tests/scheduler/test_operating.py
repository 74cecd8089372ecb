"""A whole deployment as its operators meet it: tasks that fail, are mended and cleared, caught, killed, undone.

Drives ``./run --ui`` in a copy of the checkout, with an Airflow and a PostgreSQL of its own, through Airflow's API.
"""

from __future__ import annotations

import re
import shutil
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, TypeVar

import psutil
import pytest

from local.api import Api
from widgettdc.sample import make_sample

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
REAL = {"mode": "cut_over", "approval": "given", "on_live_tables": "retire"}
T = TypeVar("T")


class Deployment:
    """``./run --ui`` in a copy of the checkout."""

    def __init__(self, folder: Path) -> None:
        self.root, self.source, self.log = folder / "checkout", folder / "app.db", folder / "run.log"
        listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        names = subprocess.run(listing, cwd=ROOT, capture_output=True, check=True, text=True).stdout
        for name in filter(None, names.split("\0")):
            (self.root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, self.root / name)
        self.new_source()
        command = ["./run", str(self.source), "--ui"]
        self.process = subprocess.Popen(
            command, cwd=self.root, stdout=self.log.open("w"), stderr=subprocess.STDOUT, start_new_session=True
        )
        self.api = Api(*self.until(self._announced, 900))

    def _announced(self) -> tuple[str, str, str] | None:
        assert self.process.poll() is None, self.log.read_text()
        found = re.search(r"Airflow is up: (\S+)\s+user\s+(\S+)\s+password\s+(\S+)", self.log.read_text())
        return (found[1], found[2], found[3]) if found else None

    def stop(self) -> None:
        self.process.send_signal(signal.SIGINT)
        self.process.wait(60)
        subprocess.run(["./run", "stop"], cwd=self.root, check=True)

    def until(self, found: Callable[[], T | None], seconds: float = 240) -> T:
        """What ``found`` gives, as soon as it gives something."""
        end = time.monotonic() + seconds
        while (value := found()) is None:
            assert time.monotonic() < end, f"waited {seconds} s in vain; {self.log.read_text()[-2000:]}"
            time.sleep(0.1)
        return value

    def new_source(self, *statements: str, scale: int = 1) -> None:
        """A fresh source in place of the former, changed by ``statements``."""
        for former in self.source.parent.glob("app.db*"):
            former.unlink()
        make_sample(self.source, scale=scale)
        with closing(sqlite3.connect(self.source)) as connection, connection:
            for statement in statements:
                connection.execute(statement)

    def query(self, statement: str) -> list[str]:
        """Lines of a query's answer on the target, columns parted by ``|``."""
        done = subprocess.run(
            ["./run", "psql", "-AtXq", "-v", "ON_ERROR_STOP=1", "-c", statement],
            cwd=self.root, capture_output=True, text=True, check=True,
        )  # fmt: skip
        return done.stdout.splitlines()

    def trigger(self, dag: str = "migrate_widgettdc", **conf: Any) -> str:
        self.api.patch(f"/dags/{dag}", {"is_paused": False})
        return str(self.api.post(f"/dags/{dag}/dagRuns", {"logical_date": None, "conf": conf})["dag_run_id"])

    def ended(self, run: str, dag: str = "migrate_widgettdc") -> str:
        """How the run ends."""
        path = f"/dags/{dag}/dagRuns/{run}"

        def end() -> str | None:
            state = str(self.api.get(path)["state"])
            return state if state in ("success", "failed") else None

        return self.until(end)

    def tasks(self, run: str) -> dict[str, dict[str, Any]]:
        path = f"/dags/migrate_widgettdc/dagRuns/{run}/taskInstances"
        return {t["task_id"]: t for t in self.api.pages(path, "task_instances")}

    def clear(self, run: str, task: str) -> None:
        """What the Clear button does, downstream included."""
        body = {
            "dry_run": False,
            "only_failed": False,
            "dag_run_id": run,
            "task_ids": [task],
            "include_downstream": True,
        }
        self.api.post("/dags/migrate_widgettdc/clearTaskInstances", body)

    def error_of(self, run: str, task: str, dag: str = "migrate_widgettdc") -> str:
        """The log of a task's last try, as text."""
        path = f"/dags/{dag}/dagRuns/{run}/taskInstances/{task}"
        path += f"/logs/{self.api.get(path)['try_number']}"
        content = self.api.get(path, full_content="true")["content"]
        errors = [error["exc_value"] for entry in content for error in entry.get("error_detail") or []]
        return "\n".join([*(str(entry["event"]) for entry in content), *errors])


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
    run = deployment.trigger("rollback_widgettdc")
    ended = deployment.ended(run, "rollback_widgettdc")
    assert ended == "success", deployment.error_of(run, "roll_back", "rollback_widgettdc")
    assert deployment.query(f"SELECT status FROM migration.runs WHERE run_id = '{before[0]}'") == ["rolled_back"]
    assert deployment.query("SELECT count(*) FROM public.raw_documents") == ["1200"]
