"""The plugin as Airflow loads it: it costs nothing where it is not used, and stands where the UI looks for it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from fastapi import FastAPI

from migration_report import MigrationReport
from tests.plugin.conftest import ROOT, client


def test_importing_the_plugin_imports_neither_the_engine_nor_a_driver_nor_a_web_framework(tmp_path: Path) -> None:
    code = (
        "import sys, airflow.sdk.plugins_manager; before = set(sys.modules); import migration_report;"
        "print(*sorted(set(sys.modules) - before))"
    )
    path = {"PYTHONPATH": f"{ROOT / 'plugins'}:{ROOT / 'include'}", "AIRFLOW_HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], env=path, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["migration_report"]


def test_airflow_offers_a_tab_on_the_run_and_a_page_in_the_navigation(server: FastAPI) -> None:
    plugins = client(server, "root").get("/api/v2/plugins").json()["plugins"]
    [found] = [plugin for plugin in plugins if plugin["name"] == "migration_report"]
    views = {view["destination"]: view for view in found["external_views"]}
    assert views.keys() == {"nav", "dag_run"}
    assert [app["url_prefix"] for app in found["fastapi_apps"]] == ["/migrations"]
    tab = urlsplit(views["dag_run"]["href"])
    assert (tab.path, parse_qs(tab.query)) == ("migrations/run", {"dag_id": ["{DAG_ID}"], "run_id": ["{RUN_ID}"]})
    assert urlsplit(views["nav"]["href"]).path == "migrations/"


def test_the_plugin_has_no_other_part() -> None:
    parts = ("flask_blueprints", "fastapi_root_middlewares", "react_apps", "listeners", "macros", "timetables")
    assert [part for part in parts if getattr(MigrationReport, part)] == []
