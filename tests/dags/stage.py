"""Runs of the DAGs on real databases, for tests: by Airflow's own ``dag.test()``."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
from airflow.sdk import DAG
from psycopg.conninfo import conninfo_to_dict

REAL: dict[str, Any] = {"mode": "cut_over", "approval": "given"}


def target_connection(dsn: str) -> str:
    """An Airflow connection to the target, as an environment variable holds it."""
    parts = conninfo_to_dict(dsn)
    return json.dumps(
        {
            "conn_type": "postgres",
            "host": parts.get("host"),
            "port": int(parts.get("port") or 5432),
            "login": parts.get("user"),
            "password": parts.get("password"),
            "schema": parts.get("dbname"),
        }
    )


class Stage:
    """A source, a target and the DAGs between them."""

    def __init__(self, source: Path, dsn: str, dags: dict[str, DAG]) -> None:
        self.source, self.dsn, self.dags = source, dsn, dags

    def run(self, dag: str = "migrate_widgettdc", **conf: Any) -> dict[str, str]:
        """Run a DAG to its end; the states of its tasks, and of the run under ''."""
        result = self.dags[dag].test(run_conf=conf)
        return {t.task_id: str(t.state) for t in result.get_task_instances()} | {"": str(result.state)}

    def query(self, statement: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.dsn) as connection:
            return connection.execute(statement.encode()).fetchall()

    def change_source(self, *statements: str) -> None:
        with closing(sqlite3.connect(self.source)) as connection, connection:
            for statement in statements:
                connection.execute(statement)
