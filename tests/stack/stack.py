"""The Docker stack in a copy of the checkout, under a project name and on ports of its own."""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import socket
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import psycopg
from psycopg.conninfo import make_conninfo

from local.api import Api, ApiError, quoted
from local.files import ROOT, LocalError

T = TypeVar("T")
LASTING = ("postgres", "pgadmin", "airflow-api-server", "airflow-scheduler", "airflow-dag-processor")
ONCE = ("secrets", "folders", "databases", "airflow-init")
REAL = {"mode": "cut_over", "approval": "given", "on_live_tables": "retire"}


class Stack:
    """Everything that a person at the terminal and a client of the API can do with it."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "checkout"
        self.project = f"stack-test-{secrets.token_hex(3)}"
        listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        names = subprocess.run(listing, cwd=ROOT, capture_output=True, check=True, text=True).stdout
        for name in filter(None, names.split("\0")):
            if (ROOT / name).exists():
                (self.root / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, self.root / name)
        self.ports = {
            f"{name}_PORT": str(port)
            for name, port in zip(("POSTGRES", "PGADMIN", "AIRFLOW"), free_ports(3), strict=True)
        }
        self.files = ["docker-compose.yaml"]
        for image in self.compose("config", "--images").split():
            give_its_pinned_name(image)

    def compose(self, *arguments: str, seconds: float = 900) -> str:
        """``docker compose ARGUMENTS``; what it prints, without its remarks on progress."""
        chosen = [part for file in self.files for part in ("-f", file)]
        command = ["docker", "compose", "-p", self.project, *chosen, *arguments]
        environment = os.environ | self.ports
        done = subprocess.run(command, cwd=self.root, env=environment, capture_output=True, text=True, timeout=seconds)
        assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout[-3000:]}\n{done.stderr[-5000:]}"
        return done.stdout

    def shell(self, lines: str) -> str:
        """The lines as a person at the terminal of the checkout runs them; the first that fails fails the test."""
        environment = os.environ | self.ports | {"COMPOSE_PROJECT_NAME": self.project}
        command = ["sh", "-euxc", lines]
        done = subprocess.run(command, cwd=self.root, env=environment, capture_output=True, text=True, timeout=900)
        assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-5000:]}"
        return done.stdout

    def up(self, *options: str) -> float:
        """``docker compose up --build --wait``; how many seconds it took."""
        began = time.monotonic()
        self.compose("up", "--build", "--wait", "--quiet-pull", *options)
        self.log_in()
        return time.monotonic() - began

    def log_in(self) -> None:
        self.api = Api(f"http://127.0.0.1:{self.ports['AIRFLOW_PORT']}", "admin", self.secret("airflow_admin"))

    def remove(self) -> None:
        """All that the stack made, its volumes and its image included."""
        self.compose("down", "--volumes", "--remove-orphans", "--timeout", "5")
        subprocess.run(["docker", "image", "rm", f"{self.project}-airflow"], check=True, capture_output=True)

    def secret(self, name: str) -> str:
        return self.compose("run", "--rm", "secrets", "show", name).strip()

    def containers(self) -> list[dict[str, Any]]:
        """What ``docker inspect`` says of every container, ended ones included."""
        ids = docker("ps", "-aq", "--filter", f"label=com.docker.compose.project={self.project}").split()
        return list(json.loads(docker("inspect", *ids)))

    def container(self, service: str, number: int = 1) -> dict[str, Any]:
        wanted = {"com.docker.compose.service": service, "com.docker.compose.container-number": str(number)}
        return next(c for c in self.containers() if wanted.items() <= c["Config"]["Labels"].items())

    def dsn(self, user: str, database: str, password: str) -> str:
        return make_conninfo(
            host="127.0.0.1", port=self.ports["POSTGRES_PORT"], user=user, dbname=database, password=password
        )

    def query(self, statement: str, database: str = "widgettdc") -> list[Any]:
        """The rows of a superuser's statement, over the server's socket: it needs no password and no port."""
        wrapped = f"SELECT coalesce(json_agg(q), '[]') FROM ({statement}) q"
        command = ("exec", "-T", "postgres", "psql", "-X", "-At", "-d", database, "-c", wrapped)
        return [tuple(row.values()) for row in json.loads(self.compose(*command))]

    def everything(self, database: str) -> list[str]:
        """What the database holds outside of the catalogs: each row as COPY writes it, after its table's name; each
        sequence and its value; and what pg_dump says of the schema, owners and rights included."""
        own = "schemaname NOT IN ('pg_catalog', 'information_schema')"
        tables = self.query(f"SELECT format('%I.%I', schemaname, tablename) AS t FROM pg_tables WHERE {own}", database)
        copies = [f"COPY (SELECT '{name}', t.* FROM {name} t) TO STDOUT" for (name,) in tables]
        copies.append("COPY (SELECT 'sequence', schemaname, sequencename, last_value FROM pg_sequences) TO STDOUT")
        options = [part for copy in copies for part in ("-c", copy)]
        rows = self.compose("exec", "-T", "postgres", "psql", "-Xqv", "ON_ERROR_STOP=1", "-d", database, *options)
        schema = self.compose("exec", "-T", "postgres", "pg_dump", "--schema-only", database)
        # pg_dump writes \restrict with a random word each time.
        return sorted(rows.split("\n")) + [line for line in schema.split("\n") if "restrict " not in line]

    def sample(self, path: str, *options: str) -> None:
        self.compose("run", "--rm", "sample", path, *options)

    def opens_pgadmin(self, password: str) -> bool:
        """Whether pgAdmin lets its administrator in with ``password``."""
        no_proxy, cookies = urllib.request.ProxyHandler({}), urllib.request.HTTPCookieProcessor()
        visit = urllib.request.build_opener(no_proxy, cookies).open
        address = f"http://127.0.0.1:{self.ports['PGADMIN_PORT']}"
        token = re.search(r'"csrfToken": "([^"]+)"', visit(f"{address}/login", timeout=60).read().decode())
        assert token
        form = {"csrf_token": token[1], "email": "admin@example.com", "password": password, "internal_button": "Login"}
        answer = visit(f"{address}/authenticate/login", urllib.parse.urlencode(form).encode(), timeout=60)
        return str(answer.geturl()).startswith(f"{address}/browser")

    # -- DAG runs

    def trigger(self, dag: str = "migrate_widgettdc", **conf: Any) -> str:
        """Start a run, as soon as the DAG is there."""

        def started() -> str | None:
            try:
                return str(self.api.post(f"/dags/{dag}/dagRuns", {"logical_date": None, "conf": conf})["dag_run_id"])
            except ApiError as error:
                if error.status in (404, 503):
                    return None
                raise

        return until(started, 180)

    def state(self, run: str, dag: str) -> str | None:
        """The run's state; None while the API server or its database is away."""
        try:
            return str(self.api.get(f"/dags/{dag}/dagRuns/{quoted(run)}")["state"])
        except (ApiError, LocalError):
            return None

    def ended(self, run: str, dag: str = "migrate_widgettdc", seconds: float = 600) -> str:
        """``success`` or ``failed``, once it is one of them."""
        return until(lambda: s if (s := self.state(run, dag)) in ("success", "failed") else None, seconds)

    def tasks(self, run: str, dag: str = "migrate_widgettdc") -> dict[str, dict[str, Any]]:
        pages = self.api.pages(f"/dags/{dag}/dagRuns/{quoted(run)}/taskInstances", "task_instances")
        return {task["task_id"]: task for task in pages}

    def clear_failed(self, run: str, dag: str = "migrate_widgettdc") -> None:
        """What a person does with a failed run: clear its failed tasks, and what waited for them."""
        self.api.post(f"/dags/{dag}/dagRuns/{quoted(run)}/clear", {"dry_run": False, "only_failed": True})

    def why(self, run: str, dag: str = "migrate_widgettdc") -> str:
        """The last lines of every failed task's log, for the message of a failed test."""
        told = []
        for task in self.tasks(run, dag).values():
            if task["state"] == "failed":
                path = f"/dags/{dag}/dagRuns/{quoted(run)}/taskInstances/{task['task_id']}/logs/{task['try_number']}"
                told += [task["task_id"], *map(str, self.api.get(path, full_content="true")["content"][-5:])]
        return "\n".join(told)


def docker(*arguments: str) -> str:
    return subprocess.run(["docker", *arguments], capture_output=True, text=True, check=True, timeout=120).stdout


def give_its_pinned_name(image: str) -> None:
    """A machine that reaches no registry may hold the image by its bare name alone."""
    held = docker("image", "ls", "--format", "{{.Repository}}:{{.Tag}}").split()
    bare = image.partition(":")[0]
    if image not in held and f"{bare}:latest" in held:
        docker("tag", bare, image)


def crash(container: dict[str, Any]) -> None:
    """End a container's first process as a crash would, which the restart policy answers; `docker kill` counts as a
    stop that was wished for, and nothing comes back after it."""
    kill = ["--rm", "--pid=host", "--network=none", "--entrypoint", "sh", "postgres:16-alpine"]
    docker("run", *kill, "-c", f"kill -9 {container['State']['Pid']}")


def free_ports(count: int) -> list[int]:
    taken = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [server.getsockname()[1] for server in taken]
    for server in taken:
        server.close()
    return ports


def until(found: Callable[[], T | None], seconds: float) -> T:
    """What ``found`` gives, as soon as it gives something."""
    end = time.monotonic() + seconds
    while (value := found()) is None:
        assert time.monotonic() < end, f"waited {seconds} s in vain"
        time.sleep(0.3)
    return value


def refused(dsn: str) -> str:
    """Why the server lets nobody in with ``dsn``."""
    try:
        psycopg.connect(dsn, connect_timeout=10).close()
    except psycopg.OperationalError as error:
        return str(error)
    raise AssertionError("it let them in")
