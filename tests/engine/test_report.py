"""The report's facts and verdict: gathered from crafted states of a real target, judged, written to files."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import psycopg
import pytest

from migration import report
from migration.errors import MigrationError
from migration.plan import TablePlan
from migration.postgres import state
from migration.report import rows
from tests.engine.crafted import (
    BEGAN,
    PLAN,
    RUN,
    Connection,
    break_load,
    break_verification,
    gathered,
    judged,
    prepared,
    put_load,
    put_many_quarantined,
    put_quarantined,
    put_run,
    put_step,
    put_whole_run,
)


@pytest.fixture
def target(target_dsn: str) -> Iterator[Connection]:
    with prepared(target_dsn) as connection:
        yield connection


# The verdict


def test_a_run_in_which_everything_holds_and_that_is_live_is_a_success(target: Connection) -> None:
    put_whole_run(target)
    decided = judged(target)
    assert (decided.success, decided.label, decided.status, decided.reasons) == (
        True,
        "SUCCESS",
        "cut over",
        (),
    )
    assert "1,500 values in 300 rows of 3 tables" in decided.summary


@pytest.mark.parametrize(
    ("changes", "success", "label", "status"),
    [
        (
            {"mode": "rehearsal", "status": "rehearsed", "cut_over_at": None},
            True,
            "SUCCESS",
            "rehearsal passed",
        ),
        ({"mode": "rehearsal", "status": "superseded", "cut_over_at": None}, True, "SUCCESS", "superseded"),
        (
            {"mode": "rehearsal", "status": "running", "cut_over_at": None},
            True,
            "SUCCESS",
            "rehearsal passed",
        ),
        ({"status": "kept", "cut_over_at": None}, True, "SUCCESS", "staging kept"),
        (
            {"status": "running", "approval": {"answer": "keep"}, "cut_over_at": None},
            True,
            "SUCCESS",
            "staging kept",
        ),
        (
            {"status": "kept", "approval": {"answer": "cut_over"}, "cut_over_at": None},
            False,
            "NOT FINISHED",
            "verified, not cut over",
        ),
        ({"status": "superseded", "cut_over_at": None}, False, "SUPERSEDED", "superseded"),
        ({"status": "running", "cut_over_at": None}, False, "NOT FINISHED", "verified, not cut over"),
        (
            {"status": "rolled_back", "rolled_back_at": BEGAN + timedelta(hours=2)},
            False,
            "ROLLED BACK",
            "rolled back",
        ),
    ],
)
def test_each_way_a_run_can_end_has_its_word(
    target: Connection, changes: dict[str, Any], success: bool, label: str, status: str
) -> None:
    put_whole_run(target, **changes)
    decided = judged(target)
    assert (decided.success, decided.label, decided.status, decided.proven) == (success, label, status, True)
    assert bool(decided.reasons) is not success


def test_each_fault_alone_denies_the_success_and_is_named(target: Connection) -> None:
    faults: list[tuple[Any, str]] = [
        (
            lambda: state.clear(target, state.loads, run_id=RUN, table_name="lines"),
            "Table not loaded: lines.",
        ),
        (
            lambda: break_load(target, "lines", indexed_at=None),
            "Table loaded, but without keys and indexes yet: lines.",
        ),
        (
            lambda: state.clear(target, state.verifications, run_id=RUN, table_name="lines"),
            "Table loaded, but not verified: lines.",
        ),
        (
            lambda: break_load(target, "lines", load_id=uuid.uuid4()),
            "Table loaded again after being verified: lines.",
        ),
        (
            lambda: break_verification(target, "lines", ok=False),
            "Table lines does not hold what the snapshot holds (failed checks: unnamed).",
        ),
        (
            lambda: break_verification(target, "lines", rows=98),
            "Table lines: 100 rows were loaded, 98 were verified.",
        ),
        (
            lambda: break_verification(target, "lines", differences=3),
            "Table lines does not hold what the snapshot holds (3 differences).",
        ),
        (
            lambda: break_load(target, "lines", quarantined=2, source_rows=102),
            "Table lines has 2 quarantined rows by its load's count, but the quarantine holds 0.",
        ),
        (
            lambda: break_load(target, "lines", altered=2),
            "Table lines has 2 altered values by its load's count, but the originals of 0 are kept.",
        ),
        (
            lambda: put_step(target, "verify", "lines", status="failed", message="no"),
            "The verification of lines failed.",
        ),
        (lambda: put_step(target, "rollback", status="failed", message="no"), "The rollback failed."),
    ]
    for fault, reason in faults:
        with target.transaction(force_rollback=True):
            put_whole_run(target)
            fault()
            decided = judged(target)
            assert decided.reasons == (reason,)
            assert not decided.success
            assert decided.label == "FAILED"


def test_a_load_out_of_balance_denies_the_success_though_the_state_forbids_it(target: Connection) -> None:
    put_whole_run(target)
    target.execute("ALTER TABLE migration.loads DROP CONSTRAINT loads_balance")
    break_load(target, "notes", source_rows=101)
    (reason,) = judged(target).reasons
    assert reason == (
        "Table notes is out of balance: of 101 source rows, 100 are accounted for "
        "(100 loaded, 0 quarantined, 0 excluded)."
    )


def test_a_failed_run_names_the_step_first_and_each_table_once(target: Connection) -> None:
    put_run(target)
    put_step(target, "load", "orders")
    put_step(target, "load", "lines", at=1, status="failed", message="lines.price of row [7] is 0.666.")
    put_load(target, "orders", indexed_at=None)
    decided = judged(target)
    assert decided.reasons == (
        "The load of lines failed.",
        "Table loaded, but without keys and indexes yet: orders.",
        "Table not loaded: notes.",
        "The run was not cut over.",
    )
    assert (decided.label, decided.status) == ("FAILED", "failed")


def test_what_many_tables_lack_is_one_sentence(target: Connection) -> None:
    plan = PLAN.model_copy(update={"tables": {f"t{n}": TablePlan() for n in range(22)}})
    put_run(target)
    decided = report.verdict(report.gather(target, (plan, RUN)))
    names = ", ".join(f"t{n}" for n in range(20))
    assert decided.reasons[0] == f"22 tables not loaded: {names} and 2 more."


def test_the_lines_of_a_message_stay_lines(target: Connection) -> None:
    put_run(target)
    put_step(target, "preflight", status="failed", message="It cannot take this:\n  it is full\n  it is old")
    facts = gathered(target)
    assert "\n    It cannot take this:\n      it is full\n      it is old\n" in report.as_text(facts)
    assert "It cannot take this:\n  it is full\n  it is old</p>" in report.as_html(facts)


def test_a_killed_step_is_told_from_a_failed_one(target: Connection) -> None:
    put_run(target)
    put_step(target, "load", "orders", status="running", finished_at=None)
    decided = judged(target)
    assert decided.reasons[0] == (
        "The load of orders has not ended: it is running since 2026-03-01 10:00:00 UTC, or its process was killed."
    )
    assert (decided.label, decided.status) == ("NOT FINISHED", "running")


def test_the_report_step_itself_is_not_judged(target: Connection) -> None:
    put_whole_run(target)
    put_step(target, "report", at=60, status="running", finished_at=None)
    assert judged(target).success


def test_wrong_data_make_a_run_failed_though_every_step_has_ended_well(target: Connection) -> None:
    put_whole_run(target, mode="rehearsal", status="running", cut_over_at=None)
    break_verification(target, "lines", ok=False, differences=1)
    decided = judged(target)
    assert (decided.success, decided.label, decided.status) == (False, "FAILED", "failed")


def test_a_table_that_left_the_plan_is_shown_and_not_judged(target: Connection) -> None:
    put_whole_run(target)
    put_load(target, "formerly", 5, indexed_at=None)
    facts = gathered(target)
    assert [(t.name, t.planned) for t in facts.tables][-1] == ("formerly", False)
    assert report.verdict(facts).success
    assert "Table formerly was loaded, but is not in the plan now" in report.as_text(facts)


def test_a_success_says_how_many_rows_lie_in_the_quarantine_and_which_checks_were_noted(
    target: Connection,
) -> None:
    put_whole_run(target)
    break_load(target, "lines", source_rows=101, quarantined=1)
    put_quarantined(target, "lines", 7, "text", b"a\0b")
    orphans = {"check": "references to orders", "ok": False, "detail": "3 rows point to no row"}
    target.execute("UPDATE migration.verifications SET checks = %s WHERE table_name = 'lines'", [json.dumps([orphans])])
    facts = gathered(target)
    assert report.verdict(facts).success
    text = report.as_text(facts)
    assert "1 row lies in the quarantine" in " ".join(text.split())
    assert "Table lines: references to orders: 3 rows point to no row" in text


def test_a_run_that_the_target_does_not_know_is_an_error_that_says_so(target_dsn: str) -> None:
    with psycopg.connect(target_dsn) as connection:
        with pytest.raises(MigrationError, match="knows no run 'x'"):
            report.gather(connection, (PLAN, "x"))
        state.create(connection)
        with pytest.raises(MigrationError, match="knows no run 'x'"):
            report.gather(connection, (PLAN, "x"))


# Gathering


def test_gathering_reads_one_moment_and_leaves_the_connection_as_it_was(target_dsn: str, target: Connection) -> None:
    put_whole_run(target)
    with psycopg.connect(target_dsn) as connection:
        gathered(connection)
        assert connection.info.transaction_status is psycopg.pq.TransactionStatus.IDLE
    with psycopg.connect(target_dsn) as connection:
        connection.execute("SELECT 1")
        gathered(connection)
        assert connection.info.transaction_status is psycopg.pq.TransactionStatus.INTRANS


def test_a_full_quarantine_is_counted_whole_read_in_part_and_hides_no_other_table(target: Connection) -> None:
    put_whole_run(target)
    put_many_quarantined(target, "orders", 50_000)
    put_many_quarantined(target, "notes", 3)
    break_load(target, "orders", loaded=0, quarantined=50_000, source_rows=50_000)
    break_load(target, "notes", loaded=97, quarantined=3)
    started = time.monotonic()
    facts = gathered(target)
    html, text = report.as_html(facts), report.as_text(facts)
    assert time.monotonic() - started < 10
    assert [sum(r.table == t for r in facts.quarantined) for t in PLAN.tables] == [250, 0, 3]
    assert facts.quarantine_kinds[0].count == 50_000
    assert "50,003" in html
    assert "the first 10 of 50,003" in text
    assert len(html) < 1_000_000


def test_pages_of_the_quarantine_follow_each_other_without_gap_or_overlap(target: Connection) -> None:
    put_run(target)
    put_many_quarantined(target, "orders", 250)
    keys: list[str] = []
    after = None
    while page := rows.quarantined(target, RUN, ["orders"], after, 100):
        keys += [row.key for row in page]
        after = page[-1].key
    assert sorted(keys) == sorted(f"[{n}]" for n in range(1, 251))


def test_pages_of_altered_values_and_differences_follow_each_other(target: Connection) -> None:
    put_run(target)
    where = {"run_id": RUN, "table_name": "lines"}
    for n in range(5):
        for column in ("a", "b"):
            altered = {"row_key": f"[{n}]", "column_name": column, "action": "round", "storage_class": "real"}
            state.put(
                target,
                state.altered_values,
                where | altered | {"value": b"0.666", "rule": "scale", "reason": "0.67"},
            )
        changed = {"number": n + 1, "row_key": f"[{n}]", "column_name": "a", "kind": "changed"}
        state.put(target, state.differences, where | changed | {"source_value": "1", "target_value": "2"})
    first = rows.altered(target, RUN, ["lines"], None, 3)
    rest = rows.altered(target, RUN, ["lines"], (first[-1].key, first[-1].column), 100)
    assert [(v.key, v.column) for v in (*first, *rest)] == [(f"[{n}]", c) for n in range(5) for c in "ab"]
    assert [d.number for d in rows.differences(target, RUN, ["lines"], 2, 2)] == [3, 4]


def test_a_huge_value_is_read_only_in_its_first_bytes(target: Connection) -> None:
    put_whole_run(target)
    break_load(target, "notes", source_rows=101, quarantined=1)
    put_quarantined(target, "notes", 1, "body", "æ".encode() * 3_000_000)
    facts = gathered(target)
    value = facts.quarantined[0].value
    assert value is not None
    assert (value.size, len(value.head or b""), value.cut) == (6_000_000, 200, True)
    assert "6.0 MB" in report.as_text(facts)
    assert len(report.as_html(facts)) < 100_000


def test_a_wide_quarantined_row_shows_its_faulty_value_and_says_how_many_columns_it_has(
    target: Connection,
) -> None:
    put_whole_run(target)
    break_load(target, "notes", source_rows=101, quarantined=1)
    put_quarantined(target, "notes", 1, "zz", b"a\0b")
    target.execute(
        "INSERT INTO migration.quarantined_values SELECT %s, 'notes', '[1]', 'c' || n, 'integer', '1'"
        " FROM generate_series(1, 1900) n",
        [RUN],
    )
    (row,) = gathered(target).quarantined
    assert (row.values[0][0], len(row.values), row.columns) == ("zz", 16, 1903)
