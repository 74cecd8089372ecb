"""Whatever becomes of one database, the run has a line for it and goes on."""

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from local.postgres import Cluster, throwaway_cluster
from migration import plan
from tests.corpus import run
from tests.corpus.collect import Collected, Database
from tests.corpus.crafted import script
from tests.corpus.fetching import Way, Workshop
from tests.corpus.run import Outcome, attempt, page, totals


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with throwaway_cluster() as found:
        yield found


@pytest.fixture(autouse=True)
def _own_plans(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "PLANS", tmp_path / "plans")


def _no_database(_: Workshop, to: Path) -> None:
    to.write_text("no database" * 100)


def attempted(cluster: Cluster, folder: Path, way: Way) -> Outcome:
    way(Workshop(folder), folder / "app.db")
    return attempt(cluster, Collected(Database("app", "crafted", way), folder / "app.db"), folder)


def test_a_plain_database_is_right(cluster: Cluster, tmp_path: Path) -> None:
    outcome = attempted(
        cluster, tmp_path, script("CREATE TABLE t (id INTEGER PRIMARY KEY, v); INSERT INTO t VALUES (1, 'x')")
    )
    assert outcome.messages == []
    assert outcome.cells()[:8] == ("app", "crafted", "A", "1", "1", "2", "3", "0")
    assert outcome.verdict == "right"


def test_a_refusal_is_counted_and_said(cluster: Cluster, tmp_path: Path) -> None:
    trigger = "CREATE TRIGGER g BEFORE DELETE ON t BEGIN SELECT RAISE(ABORT, 'no'); END"
    outcome = attempted(cluster, tmp_path, script(f"CREATE TABLE t (id INTEGER PRIMARY KEY); {trigger}"))
    assert (outcome.cells()[7], outcome.verdict) == ("1", "right, with refusals")


def test_what_is_no_database_is_stopped_with_the_reason(cluster: Cluster, tmp_path: Path) -> None:
    outcome = attempted(cluster, tmp_path, _no_database)
    assert outcome.verdict == "stopped at assess"
    assert not outcome.good
    assert "SourceError" in outcome.messages[0]


def test_a_process_that_dies_or_does_not_end_has_its_line(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for act, verdict in (
        (lambda *_: os._exit(9), "its process died"),
        (lambda *_: time.sleep(60), "did not end within 1 s"),
    ):
        monkeypatch.setattr(run, "migrate", act)
        monkeypatch.setattr(run, "SECONDS", 1)
        assert attempted(cluster, tmp_path, lambda _, to: None).verdict == verdict


def test_the_page_has_every_database_and_the_totals() -> None:
    outcomes = [
        Outcome("a", "crafted", verdict="right"),
        Outcome("b", "shipped", verdict="not here: apt-get: no | word"),
    ]
    assert totals(outcomes).startswith("2 databases: 1 right, 1 not here. 0 rows and 0 cells compared")
    assert "| b | shipped |  |  |  |  |  |  |  | 0.0 | not here: apt-get: no \\| word |" in page(outcomes)
