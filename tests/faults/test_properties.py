"""Many databases of anything, each through assessment, load and verification, and compared by other means."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings

from tests.conftest import Server
from tests.engine.anything import Database, databases, make, moved
from tests.engine.verify_case import one_database
from tests.faults.ledger import Ledger

AREA = "databases of anything"
EXAMPLES = 200


@pytest.fixture(scope="module")
def place(postgres_server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    """A folder, also of the plans, and a database for all examples."""
    folder = tmp_path_factory.mktemp("anything")
    with pytest.MonkeyPatch.context() as patch, one_database(postgres_server) as dsn:
        patch.setattr("migration.plan.PLANS", folder / "plans")
        yield folder, dsn


@seed(20260301)
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    print_blob=True,
    phases=[Phase.generate, Phase.shrink],
    suppress_health_check=list(HealthCheck),
)
@given(wanted=databases(most_rows=40))
def test_anything_arrives_as_it_was_or_is_refused(place: tuple[Path, str], ledger: Ledger, wanted: Database) -> None:
    folder, dsn = place
    source = folder / "app.db"
    rows = make(source, wanted)
    outcome, wrong = "WRONG", True
    try:
        outcome, wrong = moved(source, folder / "home", dsn, wanted.encoding), False
    finally:
        ledger.tried(AREA, "rows of every storage class in every declared type", outcome, wrong=wrong, points=rows)
        ledger.tried(AREA, "databases of one to three tables", outcome, wrong=wrong)
