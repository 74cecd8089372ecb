"""A load that is cut off, raced or refused leaves the target as it was, and says whether to try again."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pyarrow as pa
import pytest
import sqlalchemy as sa

from migration.errors import MigrationError, SourceError, TargetError, TransientError
from migration.job import Job
from migration.load import table as loading
from migration.load.blocks import Block, blocks
from migration.load.table import load_table
from migration.postgres import target
from migration.postgres.target import lock_key
from tests.engine.support import (
    ask,
    begin,
    connection_to,
    database,
    everything,
    in_a_process,
    insert,
    job_for,
    kill_itself,
    models,
    plan_for,
    staged,
)

ROWS = [(n, f"row {n}") for n in range(2000)]


@pytest.fixture
def job(tmp_path: Path, target_dsn: str) -> Job:
    """A run with one table of 2000 rows, in blocks of 64."""
    source = database(tmp_path / "app.db", "CREATE TABLE t (id INTEGER PRIMARY KEY, v)")
    insert(source, "t", ROWS)
    parts = [sa.Column("id", sa.Integer, primary_key=True), sa.Column("v", sa.Text)]
    return begin(job_for(source, target_dsn, plan_for(models(("t", parts))), rows_per_block=64))


def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(target, "SETTINGS", target.SETTINGS.replace("lock_timeout=10s", "lock_timeout=300ms"))


def after_some_blocks(monkeypatch: pytest.MonkeyPatch, act: Any) -> None:
    """Call ``act`` in the middle of the COPY."""

    def interrupted(*arguments: Any) -> Iterator[Block]:
        for number, block in enumerate(blocks(*arguments)):
            if number == 10:
                act()
            yield block

    monkeypatch.setattr(loading, "blocks", interrupted)


def test_a_server_connection_lost_within_the_copy_is_worth_another_try(
    job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    load_table(job, "t")
    before, figures = everything(job), ask(job, "SELECT load_id, xids FROM migration.loads")

    def kill() -> None:
        query = (
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'migration: Loading%'"
        )
        assert ask(job, query) == [(True,)]

    after_some_blocks(monkeypatch, kill)
    with pytest.raises(TransientError, match="^Loading table t: ") as lost:
        load_table(job, "t")
    assert "\n" not in str(lost.value)
    assert everything(job) == before
    assert ask(job, "SELECT load_id, xids FROM migration.loads") == figures
    assert ask(job, "SELECT status, message FROM migration.steps WHERE step = 'load'") == [("failed", str(lost.value))]

    monkeypatch.undo()
    load_table(job, "t")
    assert everything(job) == before


def test_an_exception_within_the_copy_leaves_nothing_and_frees_the_lock(
    job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise KeyboardInterrupt

    after_some_blocks(monkeypatch, fail)
    with pytest.raises(KeyboardInterrupt):
        load_table(job, "t")
    monkeypatch.undo()
    assert ask(job, "SELECT count(*) FROM migration.loads") == [(0,)]
    assert load_table(job, "t")["loaded"] == len(ROWS)


def test_a_table_that_another_attempt_works_on_is_left_to_it(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    impatient(monkeypatch)
    with connection_to(job) as other, other.transaction():
        other.execute("SELECT pg_advisory_xact_lock(%s)", [lock_key(job.run_id, "t")])
        with pytest.raises(TransientError, match="Table t is being worked on by another process. Wait until it ends"):
            load_table(job, "t")
    load_table(job, "t")


def test_a_load_does_not_begin_while_its_staging_is_being_dropped(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    impatient(monkeypatch)
    with connection_to(job) as other, other.transaction():
        other.execute("SELECT pg_advisory_xact_lock(%s)", [lock_key("run", job.run_id)])
        with pytest.raises(TransientError, match=f"Run {job.run_id} is being worked on".replace("+", r"\+")):
            load_table(job, "t")


def test_two_loads_of_one_table_at_once_end_as_one_did(job: Job) -> None:
    failures: list[BaseException] = []

    def load() -> None:
        try:
            load_table(job, "t")
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=load) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert staged(job, "t", "count(*), count(DISTINCT xmin::text)") == [(2000, 1)]
    assert ask(job, "SELECT loaded FROM migration.loads") == [(2000,)]


def test_a_server_that_is_down_is_worth_another_try(job: Job) -> None:
    away = replace(job, target="host=127.0.0.1 port=1 user=nobody password=secret dbname=x")
    with pytest.raises(TransientError) as down:
        load_table(away, "t")
    assert "secret" not in str(down.value)
    assert "\n" not in str(down.value)


def test_what_a_trigger_on_the_staged_table_refuses_is_a_fault_of_the_target(job: Job) -> None:
    with connection_to(job) as connection:
        connection.execute("CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RAISE 'no, never'; END$$")
        connection.execute(f'CREATE TRIGGER no BEFORE INSERT ON "{job.staging}".t FOR EACH ROW EXECUTE FUNCTION no()')
    with pytest.raises(TargetError, match="Loading table t: PostgreSQL refused .*no, never"):
        load_table(job, "t")


def test_rows_that_the_server_drops_silently_are_noticed(job: Job) -> None:
    with connection_to(job) as connection:
        connection.execute(
            "CREATE FUNCTION drop_some() RETURNS trigger LANGUAGE plpgsql AS"
            " $$BEGIN IF NEW.id = 1500 THEN RETURN NULL; END IF; RETURN NEW; END$$"
        )
        connection.execute(
            f'CREATE TRIGGER s BEFORE INSERT ON "{job.staging}".t FOR EACH ROW EXECUTE FUNCTION drop_some()'
        )
    with pytest.raises(MigrationError, match="2000 rows were sent and PostgreSQL counted 1999. Nothing was kept"):
        load_table(job, "t")
    assert staged(job, "t") == []


def test_a_reader_that_delivers_another_type_is_noticed(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("migration.load.blocks._TYPED", {pa.int64(): "0.0", pa.string(): "''"})
    with pytest.raises(SourceError, match="Table t: the reader delivered .*double.* in place of .*int64"):
        load_table(job, "t")
    assert ask(job, "SELECT count(*) FROM migration.loads") == [(0,)]


def test_rows_that_a_reader_loses_break_the_balance(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "blocks", lambda *arguments: list(blocks(*arguments))[:-1])
    with pytest.raises(MigrationError, match="Table t does not balance: 2000 source rows, 1983 loaded, 0 quarantined"):
        load_table(job, "t")
    assert staged(job, "t") == []


def damage(snapshot: Path, change: Any) -> None:
    snapshot.chmod(0o640)
    data = bytearray(snapshot.read_bytes())
    change(data)
    snapshot.write_bytes(data)


@pytest.mark.parametrize("place", [0, 20, 40, 100, 107])
def test_a_snapshot_damaged_after_it_was_taken_is_a_clear_error(place: int, job: Job) -> None:
    damage(job.folder / "snapshot.db", lambda data: data.__setitem__(slice(place, place + 8), b"\xff" * 8))
    with pytest.raises(SourceError, match="^Loading table t: |^Reading table t of the snapshot: "):
        load_table(job, "t")
    assert ask(job, "SELECT count(*) FROM migration.loads") == [(0,)]


def test_a_missing_or_shortened_snapshot_is_a_clear_error(job: Job) -> None:
    snapshot = job.folder / "snapshot.db"
    damage(snapshot, lambda data: data.__delitem__(slice(4096, None)))
    with pytest.raises(SourceError, match="was changed since it was taken .* Start a new run"):
        load_table(job, "t")
    snapshot.unlink()
    with pytest.raises(SourceError, match="is gone. Start a new run"):
        load_table(job, "t")
    (job.folder / "manifest.json").unlink()
    with pytest.raises(MigrationError, match="There is no snapshot in .* Start a new run"):
        load_table(job, "t")


def test_a_killed_load_leaves_nothing_and_the_next_one_is_whole(job: Job) -> None:
    def load() -> None:
        after_some_blocks(pytest.MonkeyPatch(), kill_itself)
        load_table(job, "t")

    assert in_a_process(load) == -signal.SIGKILL
    assert ask(job, "SELECT status FROM migration.steps WHERE step = 'load'") == [("running",)]
    assert load_table(job, "t")["loaded"] == len(ROWS)
    assert ask(job, "SELECT status FROM migration.steps WHERE step = 'load'") == [("done",)]


def test_a_statement_timeout_says_what_to_raise(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    with connection_to(job) as connection, psycopg.ClientCursor(connection) as cursor:
        cursor.execute(
            "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN PERFORM pg_sleep(5); RETURN NEW; END$$"
        )
        cursor.execute(f'CREATE TRIGGER s BEFORE INSERT ON "{job.staging}".t FOR EACH ROW EXECUTE FUNCTION slow()')
    monkeypatch.setattr(target, "SETTINGS", target.SETTINGS + " -c statement_timeout=300ms")
    with pytest.raises(TransientError, match="If its statement_timeout did, raise that"):
        load_table(job, "t")
