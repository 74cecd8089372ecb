"""What a rollback would do is told beforehand, reads only, and binds the rollback to what was shown."""

import pytest

from migration.errors import CutOverRefused
from migration.job import Job
from migration.postgres.cutover import cut_over, rollback
from migration.postgres.placed import Writes, outlook
from migration.report import question, undoing
from tests.engine.staged import LINES, QUOTED_LINES, dump, populate, query, stage, unchanged

INSERT = "INSERT INTO customers (email) VALUES ('n1'), ('n2'); UPDATE customers SET email = 'u' WHERE id = 1"


@pytest.fixture
def live(job: Job) -> Job:
    """A run that was cut over in the place of tables with rows."""
    populate(job.target)
    stage(job)
    cut_over(job, source_unchanged=unchanged)
    return job


def test_an_outlook_counts_what_goes_what_comes_back_and_what_was_written_and_changes_nothing(live: Job) -> None:
    query(live.target, INSERT)
    before = dump(live.target)
    seen = outlook(live)
    assert dump(live.target) == before
    assert seen.writes == (Writes("customers", migrated=3, added=3, gone=1),)
    assert seen.placed["customers"] == 3
    assert seen.restored["customers"] == 2
    assert seen.cut_over_at is not None


def test_the_question_names_the_writes_and_the_table_shows_them(live: Job) -> None:
    assert question("Shop", outlook(live)) == "Shop: roll back? Nothing was written since the cut-over."
    query(live.target, INSERT)
    query(live.target, f'DELETE FROM {QUOTED_LINES} WHERE "100%"')
    seen = outlook(live)
    asked = "Shop: roll back, and set aside what was written since the cut-over? 3 rows inserted or changed, 2 of the"
    assert question("Shop", seen).startswith(asked)
    text = undoing(seen)
    assert "| customers | 3 | 3 | 1 | 2 |" in text
    assert "3 rows were inserted or changed" in text
    assert text.index("| customers") < text.index("| orders")
    assert LINES in text.replace("\\", "")


def test_a_rollback_takes_the_writes_that_were_confirmed_and_refuses_later_ones(live: Job) -> None:
    query(live.target, INSERT)
    early = outlook(live)
    query(live.target, "UPDATE customers SET email = 'w' WHERE email = 'n2'")  # as many rows, and another one of them
    with pytest.raises(CutOverRefused, match="written to the tables of run .* after somebody was asked about it"):
        rollback(live, confirmed=early.versions)
    assert rollback(live, confirmed=outlook(live).versions)["status"] == "rolled_back"


def test_what_a_rollback_would_refuse_whatever_is_confirmed_is_refused_at_the_look(live: Job) -> None:
    query(live.target, "CREATE VIEW mine AS SELECT * FROM customers")
    with pytest.raises(CutOverRefused, match="view mine"):
        outlook(live)
    query(live.target, "DROP VIEW mine")
    rollback(live)
    with pytest.raises(CutOverRefused, match="rolled back: there is nothing to undo"):
        outlook(live)


def test_of_a_run_that_was_not_cut_over_its_staging_would_be_dropped(job: Job) -> None:
    stage(job)
    seen = outlook(job)
    assert seen.cut_over_at is None
    assert "drop the staging" in question("Shop", seen)
    assert "was not cut over" in undoing(seen)
    assert {"customers", "orders"} <= seen.placed.keys()
