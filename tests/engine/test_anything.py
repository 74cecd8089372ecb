"""Whatever SQLite holds is in the target exactly, or kept aside with its bytes, or refused by a sentence."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings

from migration import steps
from migration.job import Job
from tests.conftest import Server
from tests.engine.anything import Database, Table, Text, databases, make, moved
from tests.engine.verify_case import one_database


@pytest.fixture(scope="module")
def place(postgres_server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    """A folder, also of the plans, and a database for all examples."""
    folder = tmp_path_factory.mktemp("anything")
    with pytest.MonkeyPatch.context() as patch, one_database(postgres_server) as dsn:
        patch.setattr("migration.plan.PLANS", folder / "plans")
        yield folder, dsn


@settings(max_examples=12, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(wanted=databases(most_rows=12))
def test_anything_arrives_as_it_was_or_is_refused(place: tuple[Path, str], wanted: Database) -> None:
    folder, dsn = place
    source = folder / "app.db"
    make(source, wanted)
    moved(source, folder / "home", dsn, wanted.encoding)


def test_the_comparison_itself_finds_a_value_that_differs(
    place: tuple[Path, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, dsn = place
    source = folder / "app.db"
    make(source, Database("UTF-16le", (Table("rowid", ("REAL", "TEXT"), ((0.0, Text("é")), (None, None))),)))
    verify = steps.verify

    def then_spoiled(job: Job, table: str) -> dict[str, Any]:
        done = verify(job, table)
        with psycopg.connect(job.target, autocommit=True) as connection:
            connection.execute(f"UPDATE {job.staging}.t0 SET c0 = '-0' WHERE n = 0".encode())
        return done

    monkeypatch.setattr(steps, "verify", then_spoiled)
    with pytest.raises(AssertionError, match="t0.c0 of row 0, real 0.0"):
        moved(source, folder / "home", dsn, "UTF-16le")
