"""Whatever SQLite holds is in the target exactly, or kept aside with its bytes, or refused by a sentence."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

from tests.conftest import Server
from tests.engine.anything import Database, databases, make, moved
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
