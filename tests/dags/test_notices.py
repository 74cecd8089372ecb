"""Who is told what, and when: notices of whole runs, by a notifier that writes them down."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import BaseNotifier

from glue import notices
from tests.dags.answers import answered
from tests.dags.stage import REAL, Stage
from tests.dags.test_questions import ASK, stage

__all__ = ["stage"]
HERE = f"{__name__}.WrittenDown"
TOLD: list[str] = []


class WrittenDown(BaseNotifier):
    """A notifier as anybody could write one."""

    template_fields = ("text",)

    def __init__(self, text: str, fail: bool = False) -> None:
        super().__init__()
        self.text, self.fail = text, fail

    def notify(self, context: Any) -> None:
        if self.fail:
            raise OSError("no route to postgresql://ada:secret@mail")
        TOLD.append(self.text)


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the configured notifier has told."""
    TOLD.clear()
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", "http://airflow.example:8080")
    configure(monkeypatch, {"text": "{{ migration.event }}|{{ migration.plan }}|{{ migration.text }}"})
    return TOLD


def configure(monkeypatch: pytest.MonkeyPatch, kwargs: dict[str, Any], named: str = HERE) -> None:
    monkeypatch.setenv("AIRFLOW_VAR_MIGRATION_NOTIFIER", json.dumps({"class": named, "kwargs": kwargs}))


def test_a_rehearsal_that_passed_is_told_as_a_rehearsal_with_the_verdict_and_the_way_there(
    stage: Stage, told: list[str]
) -> None:
    stage.run("migrate_notes")
    (text,) = told
    assert text.startswith("succeeded|notes|Migrate Notes: rehearsal passed (run manual__")
    assert "4 values in 2 rows of 1 table were compared, and every one is right" in text
    assert "http://airflow.example:8080/dags/migrate_notes/runs/manual__" in text


def test_a_failure_is_told_once_with_the_reasons_of_the_tasks_that_failed(stage: Stage, told: list[str]) -> None:
    stage.change_source("UPDATE note SET body = CAST(x'610062' AS TEXT) WHERE id = 2")
    stage.run("migrate_notes", **REAL)
    (text,) = told
    assert text.startswith("failed|notes|Migrate Notes: failed (run ")
    assert "load.note: " in text
    assert "table note, column body, key [2]" in text


def test_a_failed_preflight_is_told_with_its_own_words(stage: Stage, told: list[str]) -> None:
    stage.change_source("ALTER TABLE note RENAME TO letter")
    stage.run("migrate_notes", **REAL)
    (text,) = told
    assert "preflight: " in text
    assert "letter" in text


def test_a_decision_that_is_needed_is_told_with_where_to_take_it_and_then_the_outcome(
    stage: Stage, told: list[str]
) -> None:
    with answered("approve", "Cut over"):
        stage.run("migrate_notes", **ASK)
    asked, ended = told
    assert asked.startswith("asked|notes|Migrate Notes: a decision is needed (run ")
    assert "Notes: cut over to PostgreSQL?" in asked
    assert asked.endswith("/tasks/approve/required_actions")
    assert ended.startswith("succeeded|notes|Migrate Notes: cut over (run ")
    with answered("confirm", "Roll back"):
        stage.run("rollback_notes")
    assert [text.split(" (run")[0] for text in told[2:]] == [
        "asked|notes|Roll back Notes: a decision is needed",
        "succeeded|notes|Roll back Notes: rolled back",
    ]


def test_a_rollback_that_is_refused_is_told(stage: Stage, told: list[str]) -> None:
    stage.run("rollback_notes")
    (text,) = told
    assert "Roll back Notes: failed" in text
    assert "No run of plan notes is cut over" in text


@pytest.mark.parametrize(
    ("kwargs", "named", "why"),
    [
        ({"text": "x"}, "no.such.Notifier", "ModuleNotFoundError"),
        ({"txt": "x"}, HERE, "unexpected keyword argument"),
        ({}, "pathlib.Path", "is no notifier"),
    ],
)
def test_a_notifier_that_cannot_be_made_is_told_at_preflight_and_the_migration_goes_on(
    stage: Stage,
    told: list[str],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    kwargs: dict[str, Any],
    named: str,
    why: str,
) -> None:
    configure(monkeypatch, kwargs, named)
    with caplog.at_level(logging.WARNING, logger="migration"):
        notices.check()
    (record,) = [r for r in caplog.records if r.name == "migration"]
    assert "The notifier that the Variable migration_notifier names cannot be made" in record.getMessage()
    assert why in record.getMessage()
    assert stage.run("migrate_notes")[""] == "success"
    assert told == []


def test_a_notifier_that_fails_stops_nothing_and_shows_no_password(
    stage: Stage, told: list[str], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    configure(monkeypatch, {"text": "x", "fail": True})
    with answered("approve", "Cut over"), caplog.at_level(logging.WARNING, logger="migration"):
        assert stage.run("migrate_notes", **ASK)[""] == "success"
    said = [r.getMessage() for r in caplog.records if "notice was not sent" in r.getMessage()]
    assert len(said) == 2
    assert "secret" not in "".join(said)


def test_without_a_notifier_a_notice_is_a_line_of_the_log(
    stage: Stage, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, logger="migration"):
        stage.run("migrate_notes")
    (line,) = [r.getMessage() for r in caplog.records if r.getMessage().startswith("notice: ")]
    assert "Migrate Notes: rehearsal passed" in line
    assert "\n" not in line
