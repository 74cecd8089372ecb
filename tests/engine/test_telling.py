"""What an operator reads in the log of a step: what it will do, how far it is, what came of it."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import sqlalchemy as sa

from migration import steps, telling
from migration.errors import RejectedRows, VerificationFailed
from migration.job import Job
from migration.postgres import schema
from migration.sqlite import snapshot
from migration.telling import Pace, detail, progress, sentence, throughput
from migration.verify import compare, hashing, source
from tests.engine.support import ask, begin, database, insert, job_for, models, plan_for

ODD = "a\nb\x1b[31m ::group::c"
SHOWN = r"a\nb\x1b[31m ::group::c"


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Iterator[list[str]]:
    """What is logged, as it grows."""
    with caplog.at_level(logging.INFO, "migration"):
        yield caplog.messages


def messages(caplog: pytest.LogCaptureFixture, label: str) -> list[str]:
    """The lines of one step, without the details."""
    return [m for m in caplog.messages if m.startswith(f"{label}: ") and "\n" not in m]


@pytest.fixture
def told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Progress is told from the first moment on, and the slow parts last long enough for it."""
    monkeypatch.setattr(telling, "FIRST_SECONDS", 0.005)
    monkeypatch.setattr(telling, "MOST_SECONDS", 0.005)


def slowly(function: Any) -> Any:
    """The function, a little later."""

    def later(*args: Any, **kwargs: Any) -> Any:
        time.sleep(0.2)
        return function(*args, **kwargs)

    return later


def shop(folder: Path, dsn: str, table: str = "t", rows: int = 300, **settings: Any) -> Job:
    """A run of one table of ``rows`` rows whose snapshot is taken."""
    path = database(folder / "app.db", f'CREATE TABLE "{table}" (id INTEGER PRIMARY KEY, v, n)')
    insert(path, table, [(n, "x" * 100, n) for n in range(1, rows + 1)])
    parts = [
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("v", sa.Text),
        sa.Column("n", sa.Integer),
        sa.Index("by_n", "n"),
    ]
    return job_for(path, dsn, plan_for(models((table, parts)), **settings), rows_per_block=64)


def test_a_short_load_says_what_it_will_do_and_what_came_of_it_and_nothing_between(
    tmp_path: Path, target_dsn: str, caplog: pytest.LogCaptureFixture, lines: list[str]
) -> None:
    job = begin(shop(tmp_path, target_dsn))
    caplog.clear()
    steps.load(job, "t")
    first, last = messages(caplog, "load t")
    assert first == (
        f"load t: 300 rows from the snapshot into {job.staging}.t; policy for values that cannot cross: stop"
    )
    assert last.startswith("load t: 300 rows loaded, 0 quarantined, 0 excluded of 300; ")
    assert caplog.messages[-1] == last


def test_the_policies_of_columns_and_their_casts_are_told(
    tmp_path: Path, target_dsn: str, caplog: pytest.LogCaptureFixture, lines: list[str]
) -> None:
    table = {"t": {"invalid": "quarantine", "columns": {"n": {"invalid": "null"}}}}
    job = begin(shop(tmp_path, target_dsn, tables=table))
    caplog.clear()
    steps.load(job, "t")
    assert messages(caplog, "load t")[0].endswith("policy for values that cannot cross: quarantine, n: null")
    (casts,) = [m for m in caplog.messages if "\n" in m]
    assert casts.split("\n")[0] == "load t: 3 columns and their casts:"
    assert casts.split("\n")[3].startswith("  n → n: integer takes whole numbers ")


def test_the_result_is_told_only_when_it_is_committed_and_recorded(
    tmp_path: Path, target_dsn: str, caplog: pytest.LogCaptureFixture, lines: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    job = begin(shop(tmp_path, target_dsn))
    loaded: list[Any] = []

    def listening(record: logging.LogRecord) -> bool:
        if " rows loaded" in record.getMessage():
            loaded.extend(
                ask(job, "SELECT status FROM migration.steps JOIN migration.loads USING (run_id, table_name)")
            )
        return True

    log = logging.getLogger("migration")
    log.addFilter(listening)
    try:
        steps.load(job, "t")
    finally:
        log.removeFilter(listening)
    assert loaded == [("done",)]


@pytest.mark.usefixtures("told_at_once")
def test_a_long_load_and_its_verification_tell_how_far_they_are(
    tmp_path: Path,
    target_dsn: str,
    caplog: pytest.LogCaptureFixture,
    lines: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pa, "record_batch", slowly(pa.record_batch))
    monkeypatch.setattr(compare, "digest", slowly(hashing.digest))
    monkeypatch.setattr(compare, "AHEAD", 0)
    monkeypatch.setattr(source, "FIRST_ROWS", 64)
    job = begin(shop(tmp_path, target_dsn))
    steps.load(job, "t")
    steps.finish_schema(job)
    steps.verify(job, "t")
    for label in ("load t", "verify t"):
        first, *between, last = messages(caplog, label)
        told = [m for m in between if " of 300 rows (" in m]
        assert told
        assert all(" rows/s, " in m and m.endswith(" left") for m in told), told
    assert "values, no difference, " in last
    assert last == caplog.messages[-1]


@pytest.mark.usefixtures("told_at_once")
def test_a_long_backup_tells_its_pages_and_a_long_index_its_name(
    tmp_path: Path,
    target_dsn: str,
    caplog: pytest.LogCaptureFixture,
    lines: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(snapshot, "PAGES_PER_STEP", 4)
    monkeypatch.setattr(schema, "_make", slowly(schema._make))
    monkeypatch.setattr(time, "strftime", slowly(time.strftime))
    job = shop(tmp_path, target_dsn, rows=20_000)
    steps.preflight(job)
    steps.backup(job)
    steps.create_schema(job)
    steps.load(job, "t")
    steps.finish_schema(job)
    first, *between, last = messages(caplog, "backup")
    assert str(job.source) in first
    assert any("copied" in m for m in between)
    assert " in 1 table" not in last
    assert "20,000 rows of 1 table, sha256 " in last
    first, *between, last = messages(caplog, "finish_schema")
    assert first.startswith("finish_schema: 1 key, 0 checks, 1 index, 0 foreign keys, 0 views for 1 table of ")
    assert any("0 of 1 table finished; making " in m for m in between)
    assert last.startswith("finish_schema: 2 objects made on 1 table in ")


def test_a_failing_load_ends_with_its_sentence_and_no_result(
    tmp_path: Path, target_dsn: str, caplog: pytest.LogCaptureFixture, lines: list[str]
) -> None:
    job = shop(tmp_path, target_dsn)
    insert(job.source, "t", [(999, "x", "many")])
    job = begin(job)
    with pytest.raises(RejectedRows, match=r"column n, key \[999\], value 'many'.*(\n.*)+then clear this task"):
        steps.load(job, "t")
    assert not [m for m in caplog.messages if "loaded" in m]


def test_names_and_values_cannot_act_in_a_log(
    tmp_path: Path, target_dsn: str, caplog: pytest.LogCaptureFixture, lines: list[str]
) -> None:
    job = shop(tmp_path, target_dsn, table=ODD)
    insert(job.source, ODD, [(999, "x", "\x1b[31mred\x9b\n\u202e")])
    job = begin(job)
    with pytest.raises(RejectedRows) as raised:
        steps.for_tables(steps.load, job, [ODD])
    database(job.source, f'DELETE FROM "{ODD}" WHERE id = 999')
    assert SHOWN in str(raised.value)
    told = [*caplog.messages, str(raised.value)]
    assert not [c for m in told for c in m if c != "\n" and not c.isprintable()]
    assert not [m for m in told if ODD in m]


def test_a_failed_verification_measures_its_differences_and_ends_with_its_sentence(
    tmp_path: Path, target_dsn: str, caplog: pytest.LogCaptureFixture, lines: list[str]
) -> None:
    measured: list[tuple[str, dict[str, Any]]] = []
    job = begin(shop(tmp_path, target_dsn))
    job = Job(**{**vars(job), "measured": lambda step, figures: measured.append((step, figures))})
    steps.load(job, "t")
    steps.finish_schema(job)
    ask(job, f"UPDATE {job.staging}.t SET v = E'a\\x1b[31m' WHERE id = 7 RETURNING 1")
    with pytest.raises(VerificationFailed, match=r"column v, key \[7\]") as raised:
        steps.verify(job, "t")
    assert "\x1b" not in str(raised.value)
    assert [(step, f["table"], f.get("differences"), f.get("loaded")) for step, f in measured] == [
        ("load", "t", None, 300),
        ("verify", "t", 1, None),
    ]
    assert not [m for m in caplog.messages if "no difference" in m]


def test_the_intervals_of_progress_grow_to_the_most(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, lines: list[str]
) -> None:
    waited: list[float] = []

    class Clock:
        """Lets time pass at once."""

        def wait(self, seconds: float) -> bool:
            waited.append(seconds)
            return len(waited) > 5

        def set(self) -> None: ...

    monkeypatch.setattr(telling, "Event", Clock)
    with progress("work", lambda: "so far"):
        while len(waited) <= 5:
            time.sleep(0.001)
    assert waited == [5, 10, 20, 30, 30, 30]
    assert caplog.messages == ["work: so far"] * 5


def test_progress_ends_with_the_work_also_when_that_fails(caplog: pytest.LogCaptureFixture, lines: list[str]) -> None:
    with pytest.raises(KeyError), progress("work", lambda: "so far"):
        raise KeyError
    assert caplog.messages == []


def test_a_rate_is_told_when_it_is_known_and_what_is_left_from_a_hundredth_on() -> None:
    pace = Pace(10_000, started=time.monotonic() - 10)
    assert pace.told(0, 0) == "0 of 10,000 rows"
    assert pace.told(99, 1_000_000).endswith("99 of 10,000 rows (0 %), 1.0 MB; 10 rows/s, 0.1 MB/s")
    told = pace.told(5_000, 50_000_000)
    assert told == "5,000 of 10,000 rows (50 %), 50.0 MB; 500 rows/s, 5.0 MB/s, about 10 s left"
    assert Pace(10_000, started=time.monotonic() - 100).told(1_000, 1).endswith("about 15 min 0 s left")
    assert pace.told(12_000, 1).endswith("about 0 s left")
    assert Pace(0).told(0, 0) == "0 of 0 rows"


def test_throughput_has_a_rate_where_it_means_something() -> None:
    assert throughput(120_300_000, 3.1) == "120.3 MB in 3.10 s (38.8 MB/s)"
    assert throughput(999, 0.0) == "999 B in 0.00 s"


def test_details_stand_below_their_title_and_an_empty_one_is_left_out(
    caplog: pytest.LogCaptureFixture, lines: list[str]
) -> None:
    detail("casts", [])
    detail("casts", ["a\nb", "c"])
    assert caplog.messages == ["casts:\n  a\\nb\n  c"]


def test_a_sentence_keeps_its_lines_and_nothing_that_acts() -> None:
    assert sentence("one\n  two \x1b[2J\x9b") == "one\n  two \\x1b[2J\\x9b"
