"""Airflow on this machine: api-server, scheduler and dag-processor, started and stopped together.

Each runs in a session of its own below .local/airflow and ends with ./run, however that ends, children
included (sessions.py). `airflow standalone` leaves them running.
"""

import base64
import json
import os
import secrets
import subprocess
import sys
import time
from datetime import UTC, datetime
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import Any

from psycopg import sql

from local import sessions
from local.api import Api, quoted
from local.files import LOCAL, ROOT, LocalError, Secrets, require_folder, write_private
from local.postgres import HOST, Cluster, is_free
from local.sessions import HOME
from migration.plan import PLANS

MIGRATION_HOME = LOCAL / "migration"
DATABASE = "airflow"
USER = "admin"
PORTS = range(8080, 8180)
INPUTS = HOME / "inputs"
PASSWORDS = HOME / "passwords.json"
COPY_POOL = "postgres_copy"


def ports() -> list[int]:
    """The ports to try, beginning at another one in each checkout: two that start at once shall not meet."""
    first = int.from_bytes(sha256(bytes(ROOT)).digest()[:4]) % len(PORTS)
    return [*PORTS[first:], *PORTS[:first]]


def slots() -> int:
    """How many COPYs at once: one per core, within what one server serves well."""
    return min(max(len(os.sched_getaffinity(0)), 2), 8)


class Airflow:
    """One Airflow for as long as ./run lives. `connections` are its connections by id, as Airflow's JSON."""

    def __init__(self, cluster: Cluster, keys: Secrets, connections: dict[str, dict[str, Any]]) -> None:
        self.cluster = cluster
        self.keys = keys
        self.connections = connections
        self.password = keys.get("airflow_admin")
        self.port = next(port for port in ports() if is_free(port))
        self.address = f"http://{HOST}:{self.port}"
        self.api = Api(self.address, USER, self.password)
        self._services: dict[str, subprocess.Popen[bytes]] = {}
        self._guard: subprocess.Popen[bytes] | None = None

    def start(self, resume: bool) -> None:
        """Everything up and logged in. Unfinished runs of an earlier session go on only if `resume`.

        A run reads the connections of the session that it is in, so with other connections it must not go on.
        """
        self._began = datetime.now(UTC)
        require_folder(HOME).chmod(0o700)
        require_folder(MIGRATION_HOME).chmod(0o700)  # snapshots hold what the source holds
        sessions.end_recorded(patience=3)
        self._guard = subprocess.Popen(
            [sys.executable, "-P", "-m", "local.sessions"], stdin=subprocess.PIPE, start_new_session=True
        )
        write_private(PASSWORDS, json.dumps({USER: self.password}))
        self._migrate_metadata()
        self._spawn("api-server", "--host", HOST, "--port", str(self.port), "--workers", "1")
        inputs = sha256(json.dumps(self.connections, sort_keys=True).encode()).hexdigest()
        same_inputs = INPUTS.exists() and INPUTS.read_text() == inputs
        if self._has_unfinished_runs() and not (resume and same_inputs):
            self._wait_for_api()
            self.fail_unfinished_runs()
        write_private(INPUTS, inputs)
        self._spawn("scheduler", "--skip-serve-logs")
        self._spawn("dag-processor")
        self._wait_for_api()
        # A task whose pool is missing waits for ever without a word.
        pool = {"name": COPY_POOL, "slots": slots(), "description": "COPYs into the target at one time"}
        create = {"action": "create", "entities": [pool], "action_on_existence": "overwrite"}
        self.api.patch("/pools", {"actions": [create]})

    def stop(self) -> None:
        """End every service and its children. Tasks that still run have a moment to notice."""
        sessions.end_recorded(patience=5)
        for service in self._services.values():
            service.wait()
        if self._guard:
            self._guard.communicate()

    def check(self) -> None:
        """A LocalError when a service has ended by itself."""
        for name, service in self._services.items():
            if service.poll() is not None:
                raise LocalError(f"Airflow's {name} ended (status {service.returncode}):\n{tail(log_of(name))}")

    def environment(self) -> dict[str, str]:
        """What every process of this Airflow runs with; nothing of another one set up around it."""
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(("AIRFLOW", "PG", "MIGRATION"))}
        password = self.keys.get("airflow_database")
        return inherited | {
            "PYTHONPATH": str(ROOT / "include"),
            "MIGRATION_HOME": str(MIGRATION_HOME),
            "MIGRATION_PLANS": str(PLANS),
            # Task processes speak to the API server through an HTTP client that obeys proxies.
            "NO_PROXY": f"{HOST},localhost",
            "no_proxy": f"{HOST},localhost",
            "AIRFLOW_HOME": str(HOME),
            "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "dags"),
            "AIRFLOW__CORE__PLUGINS_FOLDER": str(ROOT / "plugins"),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
            "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
            "AIRFLOW__CORE__PARALLELISM": str(2 * slots()),  # the default forks 32 workers at start
            "AIRFLOW__CORE__HOSTNAME_CALLABLE": "socket.gethostname",  # the default asks a name server
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{self.address}/execution/",
            "AIRFLOW__CORE__FERNET_KEY": self.keys.get(
                "fernet", lambda: base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()
            ),
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": f"{USER}:admin",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(PASSWORDS),
            "AIRFLOW__API__BASE_URL": self.address,
            "AIRFLOW__API__SECRET_KEY": self.keys.get("airflow_api"),
            "AIRFLOW__API_AUTH__JWT_SECRET": self.keys.get("airflow_jwt"),
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": self.cluster.dsn(DATABASE, DATABASE, password).replace(
                "postgresql:", "postgresql+psycopg2:", 1
            ),
            # 40 trivial tasks on 4 slots took 22 to 28 s with the defaults of these two, 12 to 14 s so.
            "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "1",
            "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.1",
            # Tasks of a killed scheduler are noticed after so many seconds, not after five minutes.
            "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "30",
            "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "30",
            "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "10",
            **{f"AIRFLOW_CONN_{name.upper()}": json.dumps(fields) for name, fields in self.connections.items()},
        }

    # -- DAG runs

    def wait_for_dag(self, dag: str) -> None:
        """Until this session has read the DAG's file; a file that fails to import is an error."""
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            self.check()
            for problem in self.api.pages("/importErrors", "import_errors"):
                if self._is_new(problem["timestamp"]):
                    raise LocalError(f"{problem['filename']} does not import:\n{problem['stack_trace'].strip()}")
            for found in self.api.pages("/dags", "dags", dag_id_pattern=dag):
                if found["dag_id"] == dag and self._is_new(found["last_parsed_time"]):
                    return
            time.sleep(0.3)
        raise LocalError(f"Airflow has not found the DAG {dag}; see {log_of('dag-processor')}.")

    def _is_new(self, moment: str | None) -> bool:
        return moment is not None and datetime.fromisoformat(moment) > self._began

    def fail_unfinished_runs(self) -> None:
        for state in ("running", "queued"):
            for run in list(self.api.pages("/dags/~/dagRuns", "dag_runs", state=state)):
                where = f"/dags/{quoted(run['dag_id'])}/dagRuns/{quoted(run['dag_run_id'])}"
                self.api.patch(where, {"state": "failed", "note": "Stopped with its Airflow before it ended."})

    # -- how

    def _migrate_metadata(self) -> None:
        """Create or upgrade the metadata tables unless the database says that this version made them."""
        self.cluster.ensure_database(DATABASE, DATABASE, self.keys.get("airflow_database"))
        made_by = f"airflow {version('apache-airflow-core')}"
        with self.cluster.connect(DATABASE) as connection:
            comment = "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = %s"
            if connection.execute(comment, (DATABASE,)).fetchone() == (made_by,):
                return
            with log_of("db-migrate").open("w") as log:
                migrated = subprocess.run(
                    [sys.executable, "-m", "airflow", "db", "migrate"],
                    env=self.environment(), cwd=HOME, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                )  # fmt: skip
            if migrated.returncode != 0:
                raise LocalError(f"Airflow's metadata tables cannot be made:\n{tail(log_of('db-migrate'))}")
            remark = sql.SQL("COMMENT ON DATABASE {} IS {}").format(sql.Identifier(DATABASE), sql.Literal(made_by))
            connection.execute(remark)

    def _has_unfinished_runs(self) -> bool:
        with self.cluster.connect(DATABASE) as connection:
            found = connection.execute("SELECT FROM dag_run WHERE state IN ('running', 'queued') LIMIT 1")
            return found.rowcount > 0

    def _spawn(self, name: str, *options: str) -> None:
        with log_of(name).open("wb") as log:
            self._services[name] = subprocess.Popen(
                [sys.executable, "-m", "airflow", name, *options],
                env=self.environment(),
                cwd=HOME,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        sessions.record([service.pid for service in self._services.values()])

    def _wait_for_api(self) -> None:
        deadline = time.monotonic() + 180
        while not self.api.healthy():
            self.check()
            if time.monotonic() > deadline:
                raise LocalError(f"Airflow's API server does not answer; see {log_of('api-server')}.")
            time.sleep(0.2)


def log_of(name: str) -> Path:
    return require_folder(HOME / "services") / f"{name}.log"


def tail(path: Path, lines: int = 15) -> str:
    return "\n".join(path.read_text(errors="replace").splitlines()[-lines:])
