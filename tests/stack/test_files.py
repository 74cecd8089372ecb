"""What can be said of the stack's files without a Docker engine."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from local.files import ROOT

MAIN, CELERY = (
    yaml.safe_load((ROOT / name).read_text()) for name in ("docker-compose.yaml", "docker-compose.celery.yaml")
)
NEW = {
    "redis": CELERY["services"]["redis"]
}  # the other services of the Celery file change or extend those of the main one
SERVICES: dict[str, dict[str, Any]] = MAIN["services"] | NEW
SETTINGS = dict(re.findall(r"^([A-Z_]+)=(.*)$", (ROOT / ".env").read_text(), re.M))


@pytest.mark.parametrize("service", SERVICES)
def test_every_service_gives_up_its_privileges_and_listens_on_loopback(service: str) -> None:
    facts = SERVICES[service]
    assert facts["cap_drop"] == ["ALL"]
    assert facts["security_opt"] == ["no-new-privileges:true"]
    assert all(port.startswith("127.0.0.1:") for port in facts.get("ports", []))
    assert facts.get("user") != "root" or facts["network_mode"] == "none"


def test_no_variable_of_a_container_holds_a_secret() -> None:
    for service, facts in SERVICES.items():
        for name in facts.get("environment", {}):
            secret = re.search(r"PASSWORD|SECRET_KEY|JWT_SECRET|FERNET|CONN$|URL$|BACKEND$", name)
            assert (
                not secret
                or name.endswith(("_FILE", "_CMD", "_REQUIRED", "API__BASE_URL", "API_SERVER_URL"))
                or (name == "AIRFLOW__SECRETS__BACKEND")
            ), (service, name)


def test_the_service_that_makes_the_secrets_alone_sees_all_of_them() -> None:
    mounted = {s: [v for v in facts.get("volumes", []) if v.startswith("secrets")] for s, facts in SERVICES.items()}
    assert [service for service, volumes in mounted.items() if "secrets:/secrets/kept" in volumes] == ["secrets"]
    for service, volumes in mounted.items():
        assert service == "secrets" or all(volume.endswith(":ro") for volume in volumes), service


def test_the_settings_are_all_used_and_hold_the_defaults_of_the_files() -> None:
    used = dict(
        pair
        for name in ("docker-compose.yaml", "docker-compose.celery.yaml")
        for pair in re.findall(r"\$\{([A-Z_]+):-([^}]*)\}", (ROOT / name).read_text())
    )
    assert SETTINGS.items() <= used.items()


@pytest.mark.parametrize("name", ["docker-compose.yaml", "docker-compose.celery.yaml"])
def test_every_image_is_pinned_by_a_version(name: str) -> None:
    images = re.findall(r"^ +(?:image:|FROM|COPY --from=) *(\S+)", (ROOT / name).read_text(), re.M)
    assert images
    for image in images:
        if image != "${COMPOSE_PROJECT_NAME}-airflow":  # what is built here
            pinned = re.sub(r"\$\{([A-Z_]+):-[^}]*\}", lambda setting: SETTINGS[setting[1]], image)
            assert re.fullmatch(r"[a-z0-9/-]+:[a-z-]*\d[\w.-]*", pinned), pinned


def test_the_image_is_of_the_version_that_the_requirements_name() -> None:
    image = re.search(r"FROM apache/airflow:slim-([\d.]+)-python", (ROOT / "docker-compose.yaml").read_text())
    named = re.search(r"^apache-airflow==([\d.]+)", (ROOT / "requirements.txt").read_text(), re.M)
    assert image
    assert named
    assert image[1] == named[1]


def test_one_service_alone_builds_the_image_that_all_use() -> None:
    assert [s for s, facts in SERVICES.items() if "build" in facts and "profiles" not in facts] == ["airflow-init"]


@pytest.mark.parametrize("script", sorted(p.name for p in (ROOT / "docker").glob("*.sh")))
def test_the_scripts_are_plain_sh(script: str) -> None:
    path = ROOT / "docker" / script
    assert path.read_text().startswith("#!/bin/sh\n")
    assert subprocess.run(["sh", "-n", path], check=False).returncode == 0


@pytest.mark.parametrize("password", ["plain", "-begins-like-an-option", "--password"])
def test_airflow_is_set_up_with_any_password_that_can_be_generated(password: str, tmp_path: Path) -> None:
    code = (
        "import runpy, sys; from airflow.cli import cli_parser; parse = cli_parser.get_parser().parse_args\n"
        "found = [parse(c) for c in runpy.run_path(sys.argv[1])['commands']('admin', sys.argv[2], '4')]\n"
        "assert [getattr(f, 'password', sys.argv[2]) for f in found] == [sys.argv[2]] * 4, found"
    )
    environment = os.environ | {
        "AIRFLOW_HOME": str(tmp_path),
        "AIRFLOW__CORE__AUTH_MANAGER": SERVICES["airflow-init"]["environment"]["AIRFLOW__CORE__AUTH_MANAGER"],
    }
    script = ROOT / "docker" / "airflow-init.py"
    done = subprocess.run(
        [sys.executable, "-c", code, script, password], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
