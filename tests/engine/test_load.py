"""Loading a table: every row crosses, is altered by declaration, or lies in the quarantine, and the counts say so."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from migration.errors import MigrationError, RejectedRows
from migration.job import Job
from migration.load.table import load_table
from migration.plan import Invalid, TablePlan
from migration.postgres import state
from migration.postgres.schema import create_schema, finish_schema
from tests.engine.support import (
    Raw,
    altered,
    ask,
    begin,
    connection_to,
    database,
    everything,
    insert,
    job_for,
    models,
    plan_for,
    quarantined,
    quarantined_bytes,
    staged,
)

ROUND_OR_NULL = {"amount": {"invalid": "round"}, "note": {"invalid": "null"}}


def shop(folder: Path, dsn: str, rows: list[tuple[Any, ...]], columns: Any = None, **settings: Any) -> Job:
    """A run whose table t has an id, a NOT NULL name, an amount and a note; ``settings`` are the job's."""
    source = database(folder / "app.db", "CREATE TABLE t (id INTEGER PRIMARY KEY, name, amount, note)")
    insert(source, "t", rows)
    parts = [
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("amount", sa.Numeric(5, 2)),
        sa.Column("note", sa.String(5)),
    ]
    table = {"columns": columns or {}, **settings.pop("table", {})}
    plan = plan_for(models(("t", parts)), {"t": table})
    return begin(job_for(source, dsn, plan, **settings))


def figures(job: Job, table: str = "t") -> tuple[int, int, int, int]:
    """Source rows, loaded, quarantined, altered, as recorded; the number of staged rows is checked beside it."""
    with connection_to(job) as connection:
        (row,) = state.rows(connection, state.loads, run_id=job.run_id, table_name=table)
    assert row["loaded"] == len(staged(job, job.plan.target_table(table)))
    assert row["quarantined"] == len(quarantined(job, table))
    return row["source_rows"], row["loaded"], row["quarantined"], row["altered"]


@pytest.mark.parametrize("count", [0, 1, 62, 63, 64, 65, 127, 128, 129, 192])
def test_every_row_crosses_at_the_borders_of_small_blocks(count: int, tmp_path: Path, target_dsn: str) -> None:
    rows = [(n, f"n{n}", None if n % 3 else n, "é" * (n % 5)) for n in range(count)]
    job = shop(tmp_path, target_dsn, rows, rows_per_block=64)
    assert load_table(job, "t")["loaded"] == count
    assert staged(job, "t") == rows
    assert figures(job) == (count, count, 0, 0)


@pytest.mark.parametrize("count", [8191, 8192, 8193])
def test_every_row_crosses_at_the_borders_of_the_usual_block(count: int, tmp_path: Path, target_dsn: str) -> None:
    job = shop(tmp_path, target_dsn, [(n, "x", n % 100, None) for n in range(count)])
    load_table(job, "t")
    query = "count(DISTINCT id), min(id), max(id), sum(amount), count(note)"
    assert staged(job, "t", query) == [(count, 0, count - 1, sum(n % 100 for n in range(count)), 0)]


def test_bad_rows_anywhere_in_a_block_are_found_and_all_others_cross(tmp_path: Path, target_dsn: str) -> None:
    rows = [(n, "x", 0.005 if n % 7 == 0 or 60 < n < 70 else 1, "toolong" if n % 11 == 0 else "") for n in range(300)]
    job = shop(tmp_path, target_dsn, rows, rows_per_block=64, quarantine="allow")
    load_table(job, "t")
    bad = {n for n, _, amount, note in rows if amount != 1 or note}
    assert {row[0] for row in staged(job, "t")} == set(range(300)) - bad
    assert set(quarantined(job, "t")) == {f"[{n}]" for n in bad}
    assert figures(job) == (300, 300 - len(bad), len(bad), 0)


@pytest.mark.parametrize(
    "bad",
    [
        (0.005, None),
        ("text", None),
        (None, "toolong"),
        (None, 7),
        (None, Raw(b"\xff")),
        (b"1", b"2"),
        (1e300, "a\0"),
    ],
)
def test_a_table_of_bad_rows_only_lies_whole_in_the_quarantine(bad: Any, tmp_path: Path, target_dsn: str) -> None:
    job = shop(tmp_path, target_dsn, [(n, "x", *bad) for n in range(200)], rows_per_block=64, quarantine="allow")
    load_table(job, "t")
    assert staged(job, "t") == []
    assert figures(job) == (200, 0, 200, 0)


def test_quarantined_rows_keep_every_value_byte_for_byte(tmp_path: Path, target_dsn: str) -> None:
    values: list[Any] = [
        Raw(b"ok\xff\xfe"), Raw(b"\xed\xa0\x80"), b"\0\xff", b"text", "a\0b", "\\x41\\N\t\n'\"", "",
        -(2**63), 2**53 + 1,
        0.1 + 0.2, -0.0, float("inf"), 5e-324, 1e22, None, "x" * 3_000_000,
    ]  # fmt: skip
    rows = [(n, "x", b"never a number", value) for n, value in enumerate(values)]
    job = shop(tmp_path, target_dsn, rows, quarantine="allow")
    load_table(job, "t")
    kept = quarantined_bytes(job, "t")
    kinds = {Raw: "text", str: "text", bytes: "blob", int: "integer", float: "real", type(None): "null"}
    for n, value in enumerate(values):
        raw = value.encode() if isinstance(value, str) else value
        written = repr(raw).encode() if isinstance(raw, (int, float)) else raw
        assert kept[f"[{n}]", "note"] == (kinds[type(value)], written)
        assert kept[f"[{n}]", "id"] == ("integer", str(n).encode())
        assert kept[f"[{n}]", "name"] == ("text", b"x")
        assert kept[f"[{n}]", "amount"] == ("blob", b"never a number")
    assert quarantined(job, "t")["[0]"] == ("amount", "inexact")


@pytest.mark.parametrize(
    ("run", "table", "column", "outcome"),
    [
        ("stop", None, None, "stop"),
        ("allow", None, None, "quarantine"),
        ("stop", "quarantine", None, "quarantine"),
        ("allow", "stop", None, "stop"),
        ("stop", "stop", "quarantine", "quarantine"),
        ("allow", "quarantine", "stop", "stop"),
        ("allow", "stop", "null", "null"),
        ("stop", None, "round", "round"),
        ("stop", "null", None, "null"),
        ("stop", "quarantine", "round", "round"),
    ],
)
def test_the_columns_policy_goes_before_the_tables_and_that_before_the_runs(
    run: str, table: str | None, column: str | None, outcome: str, tmp_path: Path, target_dsn: str
) -> None:
    columns = {"amount": {"invalid": column}} if column else {}
    rows = [(1, "good", 1.25, None), (2, "bad", 0.666, None)]
    job = shop(tmp_path, target_dsn, rows, columns, table={"invalid": table} if table else {}, quarantine=run)
    if outcome == "stop":
        with pytest.raises(RejectedRows):
            load_table(job, "t")
        assert staged(job, "t") == []
        return
    load_table(job, "t")
    loaded = dict(staged(job, "t", "id, amount"))
    assert loaded.pop(1) == Decimal("1.25")
    assert loaded == {"quarantine": {}, "null": {2: None}, "round": {2: Decimal("0.67")}}[outcome]
    assert set(quarantined(job, "t")) == ({"[2]"} if outcome == "quarantine" else set())
    changed = {} if outcome == "quarantine" else {("[2]", "amount"): (outcome, "real", b"0.666")}
    assert altered(job, "t") == changed
    assert figures(job)[3] == len(changed)


@pytest.mark.parametrize(
    ("columns", "row", "named"),
    [
        ({"name": {"invalid": "null"}}, (1, b"blob", 1, None), "policy null does not apply"),
        ({"name": {"invalid": "null"}}, (1, None, 1, None), "the target's column is NOT NULL"),
        ({"amount": {"invalid": "round"}}, (1, "x", 999.999, None), "policy round does not apply"),
        ({"amount": {"invalid": "round"}}, (1, "x", float("inf"), None), "policy round does not apply"),
        ({"amount": {"invalid": "round"}}, (1, "x", 1e300, None), "policy round does not apply"),
        ({"amount": {"invalid": "round"}}, (1, "x", "0.666", None), "policy round does not apply"),
        ({"note": {"invalid": "round"}}, (1, "x", 1, "toolong"), "policy round does not apply"),
        ({"name": {"invalid": "round"}}, (1, None, 1, None), "policy round does not apply"),
    ],
)
def test_a_policy_that_cannot_help_a_value_stops_the_load(
    columns: Any, row: Any, named: str, tmp_path: Path, target_dsn: str
) -> None:
    job = shop(tmp_path, target_dsn, [row], columns)
    with pytest.raises(RejectedRows, match=named):
        load_table(job, "t")
    assert staged(job, "t") == []


def test_null_in_a_required_column_is_refused_or_quarantined(tmp_path: Path, target_dsn: str) -> None:
    job = shop(tmp_path, target_dsn, [(1, None, None, None), (2, "x", None, None)], quarantine="allow")
    load_table(job, "t")
    assert staged(job, "t", "id") == [(2,)]
    assert quarantined(job, "t") == {"[1]": ("name", "not-null")}


def test_a_row_with_an_alterable_and_a_quarantined_value_is_quarantined_for_the_latter(
    tmp_path: Path, target_dsn: str
) -> None:
    columns = {**ROUND_OR_NULL, "name": {"invalid": "quarantine"}, "note": {"invalid": "quarantine"}}
    job = shop(tmp_path, target_dsn, [(1, "x", 0.666, "toolong")], columns)
    load_table(job, "t")
    assert quarantined(job, "t") == {"[1]": ("note", "inexact")}
    assert quarantined_bytes(job, "t")["[1]", "amount"] == ("real", b"0.666")
    assert altered(job, "t") == {}


def test_a_row_with_a_stopping_value_is_refused_and_only_that_value_is_named(tmp_path: Path, target_dsn: str) -> None:
    columns = {"amount": {"invalid": "round"}, "note": {"invalid": "quarantine"}}
    job = shop(tmp_path, target_dsn, [(1, b"\1", 0.666, "toolong")], columns)
    with pytest.raises(RejectedRows) as refused:
        load_table(job, "t")
    assert "1 value cannot cross (name: 1 by rule inexact)" in str(refused.value)
    assert "column amount" not in str(refused.value)
    assert "column note" not in str(refused.value)


def test_two_values_of_one_row_are_altered_each_by_its_own_policy(tmp_path: Path, target_dsn: str) -> None:
    job = shop(tmp_path, target_dsn, [(1, "x", 0.666, "toolong"), (2, "y", 1, "ok")], ROUND_OR_NULL)
    load_table(job, "t")
    assert staged(job, "t") == [(1, "x", Decimal("0.67"), None), (2, "y", Decimal("1.00"), "ok")]
    assert altered(job, "t") == {
        ("[1]", "amount"): ("round", "real", b"0.666"),
        ("[1]", "note"): ("null", "text", b"toolong"),
    }
    assert figures(job) == (2, 2, 0, 2)


def test_a_refusal_names_table_column_key_value_and_what_to_do(tmp_path: Path, target_dsn: str) -> None:
    rows: list[Any] = [
        (7, "x", 0.005, None),
        (8, "x", 1, "evil\n\x1b[31m'"),
        (9, "x", 1, Raw(b"\xff")),
        (10, "x", b"\x01", None),
    ]
    job = shop(tmp_path, target_dsn, rows)
    with pytest.raises(RejectedRows) as refused:
        load_table(job, "t")
    message = str(refused.value)
    assert message.startswith("Table t: 4 values cannot cross (")
    assert "amount: 2 by rule inexact" in message
    assert "table t, column amount, key [7], value 0.005: numeric(5,2) takes numbers of at most 5 digits" in message
    assert 'column note, key [8], value "evil\\n\\x1b[31m\'": varchar(5) takes valid UTF-8 text' in message
    assert "column note, key [9], value '\\\\xff': " in message
    assert "column amount, key [10], value x'01': " in message
    assert (
        "Declare in include/plans/shop.yaml what becomes of them, then clear this task:\n  tables: t: columns: "
        in message
    )
    assert "then clear this task" in message
    assert "start a new run, which takes a fresh backup" in message
    assert ask(job, "SELECT status, message FROM migration.steps WHERE step = 'load'") == [("failed", message)]
    assert ask(job, "SELECT count(*) FROM migration.loads") == [(0,)]


def test_a_refusal_of_many_rows_names_twenty_and_counts_all(tmp_path: Path, target_dsn: str) -> None:
    job = shop(tmp_path, target_dsn, [(n, "x", 0.005, None) for n in range(1500)])
    with pytest.raises(RejectedRows, match="1,500 values cannot cross") as refused:
        load_table(job, "t")
    assert str(refused.value).count("column amount, key") == 20
    assert len(str(refused.value)) < 5000


@pytest.mark.parametrize("finished", [False, True], ids=["before its keys", "after its keys"])
def test_a_second_load_leaves_exactly_what_the_first_left(finished: bool, tmp_path: Path, target_dsn: str) -> None:
    rows = [
        (n, "x", 0.666 if n % 5 == 0 else 1, "toolong" if n % 7 == 0 else b"" if n % 11 == 0 else "")
        for n in range(200)
    ]
    job = shop(tmp_path, target_dsn, rows, {"amount": {"invalid": "round"}, "note": {"invalid": "quarantine"}})
    load_table(job, "t")
    before = everything(job)
    if finished:
        finish_schema(job)
    first = ask(job, "SELECT load_id, xids FROM migration.loads")
    load_table(job, "t")
    assert everything(job) == before
    assert ask(job, "SELECT load_id, xids FROM migration.loads") != first
    assert ask(job, "SELECT indexed_at FROM migration.loads") == [(None,)]
    finish_schema(job)


def test_a_load_after_a_refused_one_and_a_mended_plan_equals_one_that_began_with_it(
    tmp_path: Path, target_dsn: str
) -> None:
    rows = [(n, "x", 0.666 if n % 5 == 0 else 1, "") for n in range(100)]
    job = shop(tmp_path, target_dsn, rows)
    with pytest.raises(RejectedRows):
        load_table(job, "t")
    tables = {"t": TablePlan(invalid=Invalid.ROUND)}
    mended = replace(job, plan=job.plan.model_copy(update={"tables": tables}))
    load_table(mended, "t")
    after = everything(mended)
    create_schema(mended)
    load_table(mended, "t")
    assert everything(mended) == after
    assert figures(mended) == (100, 100, 0, 20)


def test_every_row_of_a_load_carries_the_recorded_transaction(tmp_path: Path, target_dsn: str) -> None:
    rows: list[Any] = [(n, "x", 0.666 if n % 9 == 0 else 1, "x" * (9000 if n == 5 else 1)) for n in range(100)]
    job = shop(tmp_path, target_dsn, rows, ROUND_OR_NULL)
    load_table(job, "t")
    (([xid],),) = ask(job, "SELECT xids FROM migration.loads")
    assert staged(job, "t", "DISTINCT xmin::text::bigint") == [(xid,)]


def test_a_load_without_staging_or_run_says_which_step_to_clear(tmp_path: Path, target_dsn: str) -> None:
    job = shop(tmp_path, target_dsn, [(1, "x", 1, None)])
    with connection_to(job) as connection:
        connection.execute(f"DROP SCHEMA {job.staging} CASCADE")
    with pytest.raises(MigrationError, match="not in the staging schema .* Clear the create_schema task"):
        load_table(job, "t")
    with connection_to(job) as connection:
        connection.execute("UPDATE migration.runs SET status = 'superseded'")
    with pytest.raises(MigrationError, match="is superseded; its staging schema takes no more work"):
        load_table(job, "t")
