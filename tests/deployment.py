"""A whole deployment, started as ``./run --ui`` in a copy of the checkout, for the tests that operate it."""

from __future__ import annotations

import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any, TypeVar

from local.api import Api
from local.bootstrap import clean_environment
from local.files import ROOT
from widgettdc.sample import make_sample

T = TypeVar("T")


class Deployment:
    """``./run --ui`` in a copy of the checkout, with the packages of the environment that runs the tests."""

    def __init__(self, folder: Path) -> None:
        self.root, self.source, self.log = folder / "checkout", folder / "app.db", folder / "run.log"
        listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        names = subprocess.run(listing, cwd=ROOT, capture_output=True, check=True, text=True).stdout
        for name in names.rstrip("\0").split("\0"):
            (self.root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, self.root / name)
        self.new_source()
        self.start()

    def start(self) -> None:
        """Bring Airflow up, for the first time or after its end; unfinished runs go on."""
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                self._command(str(self.source), "--ui"),
                env=self._environment(), stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        self.address, self.user, self.password = self.until(self._announced)
        self.api = Api(self.address, self.user, self.password)

    def run(self, *arguments: str) -> str:
        """What ``./run`` prints with these arguments, which must be a success."""
        command, environment = self._command(*arguments), self._environment()
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout

    def _command(self, *arguments: str) -> list[str]:
        """What ``./run`` hands over to once its environment is there, so that no other one is made."""
        return [sys.executable, "-P", "-m", "local.command", "run", *arguments]

    def _environment(self) -> dict[str, str]:
        return clean_environment() | {"PYTHONPATH": f"{self.root / 'include'}{os.pathsep}{self.root}"}

    def _announced(self) -> tuple[str, str, str] | None:
        assert self.process.poll() is None, self.log.read_text()
        found = re.search(r"Airflow is up: (\S+)\s+user\s+(\S+)\s+password\s+(\S+)", self.log.read_text())
        return (found[1], found[2], found[3]) if found else None

    def stop(self) -> None:
        self.process.send_signal(signal.SIGINT)
        self.process.wait(60)
        self.run("stop")

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
        return self.run("psql", "-AtXq", "-v", "ON_ERROR_STOP=1", "-c", statement).splitlines()

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
