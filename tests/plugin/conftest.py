"""Airflow's API server with the plugin in it, three people with different rights, and a target with a plan."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from fastapi import FastAPI
from psycopg.conninfo import make_conninfo
from starlette.testclient import TestClient

from migration.plan import Plan
from tests.dags.conftest import airflow_database as airflow_database
from tests.dags.stage import target_connection
from tests.engine.crafted import PLAN, RUN, Connection, prepared

ROOT = Path(__file__).parents[2]
HTML = {"Accept": "text/html"}
PEOPLE = {"root": "admin", "ada": "viewer:alpha", "bob": "viewer:beta"}
"""Ada may see the DAGs of the shop's plan and one that is no migration, Bob those of another plan."""
DAGS = {
    "alpha": ["migrate_shop", "replay_shop", "rollback_shop", "nightly", "migrate_shop2"],
    "beta": ["migrate_other", "rollback_shop2"],
}


@pytest.fixture(scope="package")
def server(airflow_database: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FastAPI]:
    """The API server as Airflow makes it, with its own authentication."""
    from airflow import plugins_manager, settings
    from airflow.api_fastapi import app as api

    passwords = tmp_path_factory.mktemp("passwords") / "passwords.json"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AIRFLOW__CORE__MULTI_TEAM", "True")
        patch.setenv("AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS", ",".join(f"{n}:{r}" for n, r in PEOPLE.items()))
        patch.setenv("AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE", str(passwords))
        patch.setenv("AIRFLOW__API_AUTH__JWT_SECRET", "of the tests " * 8)
        patch.setattr(settings, "PLUGINS_FOLDER", str(ROOT / "plugins"))
        for found in (plugins_manager._get_plugins, plugins_manager.get_fastapi_plugins):
            found.cache_clear()
        _make_dags()
        yield api.create_app(apps="core")
        api.purge_cached_app()
        for found in (plugins_manager._get_plugins, plugins_manager.get_fastapi_plugins):
            found.cache_clear()


def _make_dags() -> None:
    from airflow.models.dag import DagModel
    from airflow.models.dagbundle import DagBundleModel
    from airflow.models.team import Team
    from airflow.utils.session import create_session

    with create_session() as session:
        for team, ids in DAGS.items():
            bundle = DagBundleModel(name=f"{team} bundle")
            bundle.teams = [Team(name=team)]
            session.add(bundle)
            session.flush()
            made: Any = DagModel  # it has no types
            session.add_all(made(dag_id=dag, bundle_name=bundle.name) for dag in ids)


def put_dag_run(dag_id: str, name: str, **conf: Any) -> None:
    """A run of a DAG as Airflow records it."""
    from airflow.models.dagrun import DagRun
    from airflow.utils.session import create_session
    from airflow.utils.state import DagRunState
    from airflow.utils.types import DagRunTriggeredByType, DagRunType

    with create_session() as session:
        session.add(
            DagRun(
                dag_id=dag_id, run_id=name, conf=conf, state=DagRunState.SUCCESS, run_type=DagRunType.MANUAL,
                triggered_by=DagRunTriggeredByType.TEST, triggering_user_name="grace",
            )
        )  # fmt: skip


@pytest.fixture
def plans(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the plans, with that of the shop."""
    monkeypatch.setattr("migration.plan.PLANS", tmp_path)
    put_plan(tmp_path, PLAN)
    return tmp_path


def put_plan(folder: Path, plan: Plan) -> None:
    """Write a plan's file."""
    text = yaml.safe_dump(plan.model_dump(mode="json", exclude_defaults=True), allow_unicode=True, sort_keys=False)
    (folder / f"{plan.name}.yaml").write_text(text, encoding="utf-8")


@pytest.fixture
def target(target_dsn: str, plans: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Connection]:
    """The shop's target, known to Airflow as the connection of the plan and of every plan without one."""
    for name in ("SHOP_TARGET", "MIGRATION_TARGET"):
        monkeypatch.setenv(f"AIRFLOW_CONN_{name}", target_connection(target_dsn))
    with prepared(target_dsn) as connection:
        yield connection


@pytest.fixture
def nowhere(monkeypatch: pytest.MonkeyPatch, target_dsn: str) -> str:
    """The shop's connection leads to a server that is not there; its password."""
    dsn = make_conninfo(target_dsn, port=1, password="s3cr-et")
    monkeypatch.setenv("AIRFLOW_CONN_SHOP_TARGET", target_connection(dsn))
    return "s3cr-et"


def token(name: str) -> str:
    """What Airflow gives somebody who logs in."""
    from airflow.api_fastapi.app import get_auth_manager
    from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser

    role, *teams = PEOPLE[name].split(":")
    user = SimpleAuthManagerUser(username=name, role=role, teams=teams)
    return str(get_auth_manager().generate_jwt(user))


def client(server: FastAPI, name: str = "", **headers: str) -> TestClient:
    """A browser in which ``name`` is logged in, or nobody."""
    browser = TestClient(server, headers=HTML | headers, follow_redirects=False, raise_server_exceptions=False)
    if name:
        browser.cookies.set("_token", token(name))
    return browser


@pytest.fixture
def ada(server: FastAPI, target: Connection) -> TestClient:
    """Somebody who may see the shop's runs."""
    return client(server, "ada")


def of_run(run_id: str = RUN, dag_id: str = "migrate_shop", **more: object) -> dict[str, str]:
    """The parameters of an address."""
    return {"dag_id": dag_id, "run_id": run_id} | {name: str(value) for name, value in more.items()}
