"""An Airflow of the tests' own: its home is chosen before anything imports Airflow."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

HOME = tempfile.TemporaryDirectory(prefix="airflow-of-the-tests-")
ROOT = Path(__file__).parents[2]
os.environ |= {
    "AIRFLOW_HOME": HOME.name,
    "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "dags"),
    "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
    "AIRFLOW__CORE__UNIT_TEST_MODE": "False",
    "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{HOME.name}/airflow.db",
    "AIRFLOW__LOGGING__LOGGING_LEVEL": "WARNING",
    "PYTHONPATH": str(ROOT / "include"),
}


@pytest.fixture(scope="session")
def airflow_database() -> Iterator[None]:
    """Airflow's metadata database, empty and of the installed version."""
    from airflow.utils.db import initdb

    initdb()
    yield
    HOME.cleanup()
