"""A table loaded in ranges is the table loaded at once, however often, in whatever order and beside whom each is."""

from __future__ import annotations

import itertools
import logging
import random
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from migration import steps
from migration.assess import assess
from migration.errors import CutOverRefused, MigrationError, RejectedRows, SourceError, TransientError
from migration.job import Job, Params
from migration.load import ranges
from migration.load import table as loading
from migration.load.blocks import Block, blocks
from migration.load.bounds import condition
from migration.plan import SPLIT_ROWS, Plan
from migration.postgres import target
from migration.postgres.target import lock_key
from tests.engine.support import (
    Raw,
    altered,
    ask,
    connection_to,
    database,
    in_a_process,
    insert,
    kill_itself,
    quarantined,
    quarantined_bytes,
    staged,
)

PARTS = 4
ROWS = 1000
BAD = (3, 250, 251, 777)
"""Ids of rows whose text cannot cross: of the first range, at the border of the first two, of the last."""
ROUNDED = (10, 900)


def rows() -> Iterator[tuple[Any, ...]]:
    for n in range(1, ROWS + 1):
        text = Raw(b"a\0b") if n in BAD else f"row {n} " + "é" * (5000 if n % 300 == 0 else 3)
        yield n, text, 0.125 if n in ROUNDED else n / 4, n % 10, b"\0" * (n % 7)


@pytest.fixture
def job(tmp_path: Path, target_dsn: str, monkeypatch: pytest.MonkeyPatch) -> Job:
    """A run whose table t is to be loaded in four ranges; some of its texts cannot cross, some numbers are rounded, some
    rows are long, and its parents are in table p."""
    source = database(
        tmp_path / "app.db",
        "CREATE TABLE p (id INTEGER PRIMARY KEY)",
        "CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT, n DECIMAL(6,2), p INTEGER REFERENCES p, b BLOB)",
        "CREATE INDEX t_v ON t (v)",
        "CREATE VIEW w AS SELECT count(*) AS n FROM t",
    )
    insert(source, "p", [(n,) for n in range(10)])
    insert(source, "t", rows())
    job = begun(source, target_dsn, monkeypatch, rows_per_block=64)
    steps.load(job, "p")
    return job


def begun(
    source: Path, dsn: str, monkeypatch: pytest.MonkeyPatch, parts: Any = PARTS, table: str = "t", **params: Any
) -> Job:
    """A run whose table is divided, by the plan of an assessment."""
    monkeypatch.setattr("migration.plan.PLANS", source.parent / "plans")
    whole = assess(source, source.parent / "home", target=dsn).plan.model_dump()
    whole["tables"][table] |= {"ranges": parts, "invalid": "quarantine"}
    for name, column in whole["tables"][table]["columns"].items():
        column |= {"type": "numeric(6,2)", "invalid": "round"} if name == "n" else {"invalid": None}
    for key in whole["tables"][table]["foreign_keys"].values():
        key["not_valid"] = False
    plan = Plan.model_validate(whole)
    job = Job(plan, "run-1", dsn, source, source.parent / "home", Params("cut_over", "given", **params))
    steps.preflight(job)
    steps.backup(job)
    steps.create_schema(job)
    return job


def with_plan(job: Job, change: Callable[[dict[str, Any]], Any], table: str = "t") -> Job:
    whole = job.plan.model_dump()
    change(whole["tables"][table])
    return Job(Plan.model_validate(whole), job.run_id, job.target, job.source, job.home, job.params)


def held(job: Job) -> dict[str, Any]:
    """All that a load leaves of t but times, ids, and how many bytes went over."""
    balance = "SELECT source_rows, loaded, quarantined, excluded, altered FROM migration.loads WHERE table_name = 't'"
    return {
        "rows": staged(job, "t", "(t.*)::text"),
        "balance": ask(job, balance),
        "quarantine": (quarantined(job, "t"), quarantined_bytes(job, "t")),
        "altered": altered(job, "t"),
    }


def at_once(job: Job) -> dict[str, Any]:
    """The same of a load that is not divided."""
    steps.load(with_plan(job, lambda t: t.update(ranges="off")), "t")
    return held(job)


def finished(job: Job) -> None:
    steps.finish_schema(job)
    for table in job.plan.tables:
        steps.verify(job, table)


def after_some_blocks(monkeypatch: pytest.MonkeyPatch, act: Callable[[], Any]) -> None:
    """Call ``act`` in the middle of a range's COPY."""

    def interrupted(*arguments: Any) -> Iterator[Block]:
        for count, block in enumerate(blocks(*arguments)):
            if count == 2:
                act()
            yield block

    monkeypatch.setattr(loading, "blocks", interrupted)


def test_all_ranges_are_the_whole_table_value_by_value(job: Job) -> None:
    expected = at_once(job)
    figures = steps.load(job, "t")
    assert held(job) == expected
    assert figures["ranges"] == PARTS
    assert expected["balance"] == [(ROWS, ROWS - len(BAD), len(BAD), 0, len(ROUNDED))]
    assert ask(job, "SELECT jsonb_array_length(xids) FROM migration.loads WHERE table_name = 't'") == [(PARTS,)]
    finished(job)
    steps.cut_over(job)
    assert steps.report(job)[1].success


def test_ranges_loaded_in_any_order_and_again_leave_the_same_table(job: Job) -> None:
    expected = at_once(job)
    numbers = [part["number"] for part in steps.cut(job, "t")] * 3
    random.Random(7).shuffle(numbers)
    for number in numbers:
        steps.load_range(job, "t", number)
    steps.total(job, "t")
    assert held(job) == expected
    for number in numbers[:5]:
        steps.load_range(job, "t", number)
        steps.total(job, "t")
        assert held(job) == expected


def test_a_range_loaded_again_takes_the_table_out_of_reach_until_it_is_summed_up(job: Job) -> None:
    steps.load(job, "t")
    finished(job)
    expected = held(job)

    steps.load_range(job, "t", 2)
    assert held(job) == expected | {"balance": []}
    with pytest.raises(CutOverRefused, match=r"(?s)step load t has not ended.*table t: not loaded"):
        steps.cut_over(job)
    with pytest.raises(MigrationError, match="Not loaded yet: t"):
        steps.finish_schema(job)
    assert not steps.report(job)[1].proven

    steps.total(job, "t")
    assert held(job) == expected
    with pytest.raises(CutOverRefused, match="table t: its keys and indexes were not made after it was loaded"):
        steps.cut_over(job)
    finished(job)
    steps.cut_over(job)


def test_a_table_divided_again_is_loaded_again_as_a_whole(job: Job) -> None:
    steps.load(job, "t")
    finished(job)
    parts = steps.cut(with_plan(job, lambda t: t.update(ranges=3)), "t")
    assert [part["label"] for part in parts] == ["1 – 333", "334 – 666", "667 – 1,000"]
    assert staged(job, "t") == []
    assert held(job)["quarantine"] == ({}, {})
    with pytest.raises(MigrationError, match="Table t has no range 4: it was divided otherwise since"):
        steps.load_range(job, "t", 4)
    steps.load_range(job, "t", 1)
    with pytest.raises(MigrationError, match=r"not loaded: range 2 \(334 – 666\), range 3 \(667 – 1,000\)"):
        steps.total(job, "t")
    assert ask(job, "SELECT status FROM migration.steps WHERE step = 'load' AND table_name = 't'") == [("failed",)]


def test_a_value_that_cannot_cross_stops_its_range_alone_and_a_mended_plan_needs_no_other(job: Job) -> None:
    stopping = with_plan(job, lambda t: t.update(invalid=None) or t["columns"]["n"].update(invalid="quarantine"))
    for part in steps.cut(stopping, "t"):
        if part["number"] in (1, 2, 4):
            with pytest.raises(RejectedRows, match=r"nothing of the range .* was loaded\.\n.*column v, key"):
                steps.load_range(stopping, "t", part["number"])
        else:
            steps.load_range(stopping, "t", part["number"])
    assert len(staged(job, "t")) == ROWS // PARTS
    for number in (1, 2, 4):
        steps.load_range(job, "t", number)
    steps.total(job, "t")
    divided = held(job)
    assert divided == at_once(job)


@pytest.mark.parametrize(
    ("change", "stale"),
    [
        (lambda t: t.update(invalid="strip"), r"range 1 \(1 – 250\), range 2 \(251 – 500\)"),
        (lambda t: t["columns"]["v"].update(cast="integer_or_text"), r"range 1 \(1 – 250\), range 2 .*, range 3"),
    ],
    ids=["policy", "form"],
)
def test_ranges_of_another_plan_are_named(job: Job, change: Callable[[dict[str, Any]], Any], stale: str) -> None:
    steps.load(job, "t")
    changed = with_plan(job, change)
    steps.load_range(changed, "t", 4)
    with pytest.raises(MigrationError, match=f"changed after these were loaded: {stale}.*Clear these tasks") as raised:
        steps.total(changed, "t")
    assert ("range 3" in str(raised.value)) == ("range 3" in stale)
    for number in (1, 2, 3):
        steps.load_range(changed, "t", number)
    steps.total(changed, "t")


def test_how_a_table_is_divided_says_nothing_about_its_rows(job: Job) -> None:
    steps.load(job, "t")
    finished(job)
    steps.cut_over(with_plan(job, lambda t: t.update(ranges=9)))


def test_a_range_killed_in_its_copy_leaves_what_was_there_and_the_next_attempt_is_whole(job: Job) -> None:
    steps.load(job, "t")
    expected = held(job)

    def load() -> None:
        after_some_blocks(pytest.MonkeyPatch(), kill_itself)
        steps.load_range(job, "t", 3)

    assert in_a_process(load) == -signal.SIGKILL
    assert held(job) == expected | {"balance": []}
    assert ask(job, "SELECT status FROM migration.steps WHERE step = 'load' AND table_name = 't'") == [("running",)]
    steps.load_range(job, "t", 3)
    steps.total(job, "t")
    assert held(job) == expected


def test_a_connection_lost_within_a_range_is_worth_another_try(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    steps.cut(job, "t")

    def kill() -> None:
        loads = "application_name LIKE 'migration: Loading range%'"
        assert ask(job, f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {loads}") == [(True,)]

    after_some_blocks(monkeypatch, kill)
    with pytest.raises(TransientError, match="^Loading range 2 of table t: "):
        steps.load_range(job, "t", 2)
    monkeypatch.undo()
    for number in range(1, PARTS + 1):
        steps.load_range(job, "t", number)
    steps.total(job, "t")
    assert ask(job, "SELECT status, message FROM migration.steps WHERE step = 'load' AND table_name = 't'") == [
        ("done", None)
    ]


def together(*works: Callable[[], Any]) -> list[BaseException]:
    failures: list[BaseException] = []

    def done(work: Callable[[], Any]) -> None:
        try:
            work()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=done, args=[work]) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return failures


def test_ranges_and_attempts_at_once_end_as_one_after_the_other_did(job: Job) -> None:
    expected = at_once(job)
    steps.cut(job, "t")
    for _ in range(2):
        works = [lambda number=number: steps.load_range(job, "t", number) for number in (*range(1, PARTS + 1), 2, 2)]
        assert together(*works) == []
        steps.total(job, "t")
        assert held(job) == expected
        finished(job)


def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(target, "SETTINGS", target.SETTINGS.replace("lock_timeout=10s", "lock_timeout=300ms"))


def test_an_attempt_beside_a_living_one_is_told_so_and_the_other_ranges_are_not(
    job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps.cut(job, "t")
    impatient(monkeypatch)
    with connection_to(job) as other, other.transaction():
        other.execute("SELECT pg_advisory_xact_lock_shared(%s)", [lock_key(job.run_id, "t")])
        other.execute("SELECT pg_advisory_xact_lock(%s)", [lock_key(job.run_id, "t", "2")])
        with pytest.raises(TransientError, match="Range 2 of table t is being worked on by another process"):
            steps.load_range(job, "t", 2)
        steps.load_range(job, "t", 3)
        for whole in (steps.total, steps.cut):
            with pytest.raises(TransientError, match="Table t is being worked on"):
                whole(job, "t")


def test_an_attempt_that_comes_to_itself_after_the_sum_takes_it_away(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process was suspended after it had looked for the sum, and before it held the range."""
    steps.cut(job, "t")
    looked = ranges._take_away_total

    def suspended(*arguments: Any) -> None:
        looked(*arguments)
        monkeypatch.undo()
        for number in range(1, PARTS + 1):
            steps.load_range(job, "t", number)
        steps.total(job, "t")
        finished(job)

    monkeypatch.setattr(ranges, "_take_away_total", suspended)
    steps.load_range(job, "t", 2)
    with pytest.raises(CutOverRefused, match="table t: not loaded"):
        steps.cut_over(job)
    steps.total(job, "t")
    finished(job)
    steps.cut_over(job)


def test_a_replay_ends_the_ranges_since_its_rows_are_of_none(job: Job) -> None:
    steps.load(job, "t")
    mended = with_plan(job, lambda t: t.update(invalid="strip"))
    assert steps.replay(mended, "t")["replayed"] == len(BAD)
    with pytest.raises(MigrationError, match="quarantine was replayed. Clear its cut task, downstream included"):
        steps.load_range(mended, "t", 1)
    with pytest.raises(MigrationError, match="is not divided into ranges. Clear its cut task, downstream included"):
        steps.total(mended, "t")
    steps.load(mended, "t")
    divided = held(mended)
    assert divided == at_once(mended)


def test_a_load_at_once_and_a_new_schema_end_the_ranges(job: Job) -> None:
    steps.load(job, "t")
    at_once(job)
    with pytest.raises(MigrationError, match="loaded at once"):
        steps.load_range(job, "t", 1)
    steps.load(job, "t")
    steps.create_schema(job)
    assert ask(job, "SELECT count(*) FROM migration.load_ranges") == [(0,)]


def test_the_log_names_the_ranges_and_what_each_did(job: Job, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        steps.load(job, "t")
    told = [m for m in caplog.messages if m.startswith(("cut t", "load t"))]
    assert told[1:3] == [
        "cut t: the ranges:\n  1: 1 – 250\n  2: 251 – 500\n  3: 501 – 750\n  4: 751 – 1,000",
        "cut t: 1,000 rows in 4 ranges",
    ]
    assert "\nload t 251 – 500: 249 rows loaded, 1 quarantined, 0 excluded of 250; " in "\n".join(told)
    assert told[-1].startswith("load t: 996 rows loaded, 4 quarantined, 0 excluded of 1,000, 2 values altered; ")


def test_a_snapshot_that_ranges_are_loaded_from_is_replaced_by_no_other(job: Job) -> None:
    steps.cut(job, "t")
    (job.folder / "manifest.json").unlink()
    (job.folder / "snapshot.db").unlink()
    database(job.source, "INSERT INTO p VALUES (99)")
    with pytest.raises(SourceError, match="snapshot that tables of this run are loaded from .* is gone"):
        steps.backup(job)


def test_rows_alone_divide_a_table_among_tasks_and_not_in_one_process(job: Job) -> None:
    large = with_plan(job, lambda t: t.update(ranges=None, rows=SPLIT_ROWS))
    assert large.plan.tables["t"].split
    assert "ranges" not in steps.load(large, "t")


@pytest.mark.parametrize(
    "kept", [lambda c: f"({c}) AND id <> 400", lambda c: f"({c}) OR id = 400"], ids=["less", "more"]
)
def test_ranges_that_would_leave_out_a_row_or_hold_it_twice_break_the_balance(
    job: Job, monkeypatch: pytest.MonkeyPatch, kept: Callable[[str], str]
) -> None:
    monkeypatch.setattr(ranges, "condition", lambda *arguments: kept(condition(*arguments)))
    with pytest.raises(MigrationError, match="Table t does not balance: "):
        steps.load(job, "t")
    assert held(job)["balance"] == []


def test_rows_that_a_reader_loses_break_the_balance_of_their_range(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    steps.cut(job, "t")
    monkeypatch.setattr(loading, "blocks", lambda *arguments: list(blocks(*arguments))[:-1])
    with pytest.raises(MigrationError, match="Table t does not balance: 250 source rows"):
        steps.load_range(job, "t", 3)
    assert staged(job, "t") == []


def test_children_without_parents_are_found_in_each_range(
    tmp_path: Path, target_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = database(
        tmp_path / "app.db",
        "CREATE TABLE p (id INTEGER PRIMARY KEY)",
        "CREATE TABLE t (id INTEGER PRIMARY KEY, p INTEGER REFERENCES p)",
    )
    insert(source, "p", [(1,), (2,)])
    insert(source, "t", [(n, 1 + n % 3) for n in range(-50, 50)])
    job = begun(source, target_dsn, monkeypatch, parts=3)
    steps.load(job, "p")
    steps.load(job, "t")
    divided = held(job)
    assert divided == at_once(job)
    assert len(divided["quarantine"][0]) == 33
    finished(job)


COMPOSITE = list(itertools.product([1, 1.5, "1", "A", b"1"], [2, "2", "b ", b"2"]))


@pytest.mark.parametrize(
    ("create", "rows", "parts"),
    [
        ("t (a BLOB, b BLOB, v, PRIMARY KEY (a, b)) WITHOUT ROWID", [(*key, "v") for key in COMPOSITE], 7),
        ("t (a TEXT COLLATE NOCASE, v, PRIMARY KEY (a)) WITHOUT ROWID", [(c, 1) for c in "aBcDeFg"], 3),
        (
            "t (a TEXT COLLATE RTRIM, b TEXT, PRIMARY KEY (a, b)) WITHOUT ROWID",
            [("x" + " " * n, n) for n in range(9)],
            4,
        ),
        ("t (a TEXT PRIMARY KEY, v)", [(None, n) for n in range(6)] + [("a", 1)], 3),
        ("t (a INTEGER PRIMARY KEY, v)", [], 1),
        ("t (a INTEGER PRIMARY KEY, v)", [(9, "x")], 1),
    ],
    ids=["composite of all classes", "NOCASE", "RTRIM", "NULL in the key", "empty", "one row"],
)
def test_tables_of_every_kind_of_key(
    tmp_path: Path, target_dsn: str, monkeypatch: pytest.MonkeyPatch, create: str, rows: list[Any], parts: int
) -> None:
    source = database(tmp_path / "app.db", f"CREATE TABLE {create}")
    insert(source, "t", rows)
    job = begun(source, target_dsn, monkeypatch, parts=parts, quarantine="allow")
    expected = at_once(job)
    assert steps.load(job, "t")["ranges"] == parts
    assert held(job) == expected
    for number in range(1, parts + 1):
        steps.load_range(job, "t", number)
    steps.total(job, "t")
    assert held(job) == expected


def test_a_table_that_references_itself_is_one_range_and_says_so(
    tmp_path: Path, target_dsn: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    source = database(tmp_path / "app.db", "CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT, up INTEGER REFERENCES t)")
    insert(source, "t", [(1, "x", None), (2, Raw(b"a\0b"), 1), (3, "x", 2), (4, "x", 3), (5, "x", 1)])
    job = begun(source, target_dsn, monkeypatch, parts=3)
    expected = at_once(job)
    with caplog.at_level(logging.INFO):
        steps.load(job, "t")
    assert held(job) == expected
    assert expected["balance"] == [(5, 2, 3, 0, 0)]
    assert "cut t: one range for all rows: it references itself" in caplog.text
    steps.load_range(job, "t", 1)
    steps.total(job, "t")
    assert held(job) == expected


def test_so_many_rows_or_bytes_make_a_range_where_the_plan_leaves_it_open(
    job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = with_plan(job, lambda t: t.update(ranges="auto"))
    assert len(steps.cut(whole, "t")) == 1
    monkeypatch.setattr(ranges, "RANGE_ROWS", 400)
    assert len(steps.cut(whole, "t")) == 3
    monkeypatch.setattr(ranges, "RANGE_BYTES", 10_000)
    assert len(steps.cut(whole, "t")) == 5
