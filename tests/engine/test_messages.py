"""What is said about names: a line break or an escape in one makes no line of its own, and nothing a terminal obeys."""

from __future__ import annotations

from pathlib import Path

import pytest

from migration import steps
from migration.__main__ import main
from migration.errors import MigrationError
from migration.job import Job
from tests.engine.described import described
from tests.engine.staged import CUT_OVER
from tests.engine.support import database

NAME = "new\nFORGED \x1b[31mline"
SHOWN = r"new\nFORGED \x1b[31mline"


def job_of(tmp_path: Path, dsn: str, *tables: str) -> Job:
    """A database of one table with such a name, and a plan of these tables."""
    source = database(tmp_path / "app.db", f'CREATE TABLE "{NAME}" (id INTEGER PRIMARY KEY)')
    part = {"columns": {"id": "bigint!"}, "primary_key": "id"}
    plan = described(
        {name: {**part, "primary_key": {"name": f"k{n}", "columns": ["id"]}} for n, name in enumerate(tables)}
    )
    return Job(plan, "run", dsn, source, tmp_path / "home", CUT_OVER)


def said(act: object, job: Job) -> str:
    with pytest.raises(MigrationError) as refused:
        act(job)  # type: ignore[operator]
    return str(refused.value)


def test_what_preflight_refuses_names_each_thing_on_one_line(tmp_path: Path, target_dsn: str) -> None:
    message = said(steps.preflight, job_of(tmp_path, target_dsn, "other"))
    assert SHOWN in message
    assert "\nFORGED" not in message
    assert "\x1b" not in message


def test_what_is_not_loaded_yet_is_named_on_one_line(tmp_path: Path, target_dsn: str) -> None:
    job = job_of(tmp_path, target_dsn, NAME)
    steps.preflight(job)
    steps.backup(job)
    steps.create_schema(job)
    assert f"Not loaded yet: {SHOWN}." in said(steps.finish_schema, job)


def test_what_verification_refuses_names_the_table_on_one_line(tmp_path: Path, target_dsn: str) -> None:
    job = job_of(tmp_path, target_dsn, NAME)
    steps.preflight(job)
    steps.backup(job)
    steps.create_schema(job)
    message = said(lambda job: steps.verify(job, NAME), job)
    assert message.startswith(f"Table {SHOWN} is not loaded in this run. ")


def test_each_reason_against_a_cut_over_is_one_line(tmp_path: Path, target_dsn: str) -> None:
    job = job_of(tmp_path, target_dsn, NAME)
    steps.preflight(job)
    steps.backup(job)
    steps.create_schema(job)
    message = said(steps.cut_over, job)
    assert f"  step load {SHOWN} has not run: clear its task" in message.split("\n")
    assert "\nFORGED" not in message


def test_the_command_line_says_nothing_that_a_terminal_obeys(
    tmp_path: Path, target_dsn: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MIGRATION_TARGET_DSN", target_dsn)
    monkeypatch.setenv("MIGRATION_HOME", str(tmp_path))
    steps.preflight(job_of(tmp_path, target_dsn, NAME))
    assert main(["load", "--plan", "widgettdc", "--run", "\x1b[31mred", "--table", "memory_entities"]) == 1
    told = capsys.readouterr().err
    assert r"\x1b[31mred" in told
    assert "\x1b" not in told
