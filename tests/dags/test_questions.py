"""What people are asked, and what becomes of each answer and of none: whole runs by ``dag.test()``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import psycopg
import pytest
import yaml
from airflow.dag_processing.dagbag import DagBag

from migration import plan as plans
from migration import steps
from tests.dags.answers import answered
from tests.dags.stage import REAL, Stage, target_connection
from tests.engine.support import database

ROOT = Path(__file__).parents[2]
ASK = {"mode": "cut_over", "approval": "ask"}


@pytest.fixture
def stage(airflow_database: None, tmp_path: Path, target_dsn: str, monkeypatch: pytest.MonkeyPatch) -> Stage:
    """A plan of one table with two rows, and its DAGs."""
    source = database(
        tmp_path / "notes.db",
        "CREATE TABLE note (id INTEGER PRIMARY KEY, body TEXT)",
        "INSERT INTO note VALUES (1, 'fine'), (2, 'good')",
    )
    columns: dict[str, Any] = {"id": {"type": "bigint", "identity": True}, "body": {"type": "text"}}
    table = {"columns": columns, "primary_key": {"name": "note_pkey", "columns": ["id"]}}
    plan = {"name": "notes", "title": "Notes", "source": str(source), "target": "t", "tables": {"note": table}}
    monkeypatch.setattr(plans, "PLANS", tmp_path / "plans")
    plans.PLANS.mkdir()
    (plans.PLANS / "notes.yaml").write_text(yaml.safe_dump(plan, sort_keys=False))
    monkeypatch.setenv("AIRFLOW_CONN_MIGRATION_TARGET", target_connection(target_dsn))
    monkeypatch.setenv("MIGRATION_HOME", str(tmp_path / "home"))
    return Stage(source, target_dsn, dict(DagBag(ROOT / "dags").dags))


def live(stage: Stage) -> list[tuple[Any, ...]]:
    """The live tables."""
    return stage.query("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")


class TestTheApproval:
    def test_shows_balance_and_verdict_and_cuts_over_for_the_person_it_records(self, stage: Stage) -> None:
        with answered("approve", "Cut over") as asked:
            states = stage.run("migrate_notes", **ASK)
        assert (states["approve"], states["cut_over"], states[""]) == ("success", "success", "success")
        assert live(stage) == [("note",)]
        assert stage.query("SELECT approval->>'answer', approval->>'by' FROM migration.runs") == [("cut_over", "Ada")]
        (question,) = asked
        assert question["subject"] == "Notes: cut over to PostgreSQL?"
        assert "**Balance:** 2 source rows = 2 loaded + 0 quarantined + 0 excluded" in question["body"]
        assert "verified, not cut over" in question["body"]
        assert question["options"] == ["Cut over", "Keep staging", "Roll back"]
        assert question["assignees"] == []

    def test_kept_back_by_a_person_the_run_is_green_and_says_staging_kept(self, stage: Stage) -> None:
        with answered("approve", "Keep staging"):
            states = stage.run("migrate_notes", **ASK)
        assert (states["keep_staging"], states["cut_over"], states[""]) == ("success", "skipped", "success")
        assert stage.query("SELECT status, approval->>'by' FROM migration.runs") == [("kept", "Ada")]
        assert live(stage) == []

    def test_rolled_back_the_staging_is_gone_and_the_run_is_no_success(self, stage: Stage) -> None:
        with answered("approve", "Roll back"):
            states = stage.run("migrate_notes", **ASK)
        assert (states["roll_back"], states["cut_over"], states[""]) == ("success", "skipped", "failed")
        assert stage.query("SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'staging%'") == [(0,)]

    def test_that_nobody_answers_keeps_the_staging_and_ends_the_run_failed(self, stage: Stage) -> None:
        with answered("approve", None):
            states = stage.run("migrate_notes", **ASK)
        assert (states["keep_staging"], states["cut_over"]) == ("success", "skipped")
        assert (states["report"], states[""]) == ("failed", "failed")
        assert stage.query("SELECT status, approval->>'answer', approval->>'timed_out' FROM migration.runs") == [
            ("kept", "keep", "true")
        ]
        assert live(stage) == []
        assert stage.query("SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'staging%'") == [(1,)]

    def test_is_not_asked_for_when_a_value_is_wrong(self, stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
        finish = steps.finish_schema

        def finish_and_alter(job: Any) -> Any:
            done = finish(job)
            with psycopg.connect(job.target) as connection:
                connection.execute(f"UPDATE \"{job.staging}\".note SET body = 'goof' WHERE id = 2")
            return done

        monkeypatch.setattr(steps, "finish_schema", finish_and_alter)
        with answered("approve", "Cut over") as asked:
            states = stage.run("migrate_notes", **ASK)
        assert asked == []
        assert states["verify.note"] == "failed"
        assert (states["decide"], states["approve"], states["cut_over"]) == ("upstream_failed",) * 3
        assert live(stage) == []

    def test_may_be_given_by_named_users_alone(self, stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AIRFLOW_VAR_MIGRATION_APPROVERS", "ada, bo ,")
        with answered("approve", "Keep staging") as asked:
            stage.run("migrate_notes", **ASK)
        assert asked[0]["assignees"] == [{"id": "ada", "name": "ada"}, {"id": "bo", "name": "bo"}]


class TestTheRollback:
    @pytest.fixture(autouse=True)
    def live_tables_of_a_run(self, stage: Stage) -> None:
        """A cut-over, and a row written since."""
        assert stage.run("migrate_notes", **REAL)[""] == "success"
        self.write(stage, "INSERT INTO note (body) VALUES ('new')")

    def write(self, stage: Stage, statement: str) -> None:
        with psycopg.connect(stage.dsn) as connection:
            connection.execute(statement.encode())

    def test_shows_what_would_be_lost_and_undoes_it_once_that_is_confirmed(self, stage: Stage) -> None:
        with answered("confirm", "Roll back") as asked:
            states = stage.run("rollback_notes")
        assert (states["look"], states["confirm"], states["roll_back"], states["leave"], states[""]) == (
            ("success", "success", "success", "skipped", "success")
        )
        assert live(stage) == []
        (question,) = asked
        assert question["subject"].startswith(
            "Notes: roll back, and set aside what was written since the cut-over? 1 row inserted or changed"
        )
        assert "| note | 2 | 1 | 0 | – |" in question["body"]
        kept = stage.query("SELECT staging FROM migration.runs")[0][0]
        assert stage.query(f'SELECT body FROM "{kept}".note WHERE id > 2') == [("new",)]

    def test_leaves_everything_as_it_is_when_the_answer_is_so(self, stage: Stage) -> None:
        with answered("confirm", "Leave everything as it is"):
            states = stage.run("rollback_notes")
        assert (states["roll_back"], states["leave"], states[""]) == ("skipped", "success", "success")
        assert live(stage) == [("note",)]

    def test_that_nobody_confirms_fails_and_changes_nothing(self, stage: Stage) -> None:
        with answered("confirm", None):
            states = stage.run("rollback_notes")
        assert (states["confirm"], states["roll_back"], states[""]) == ("failed", "upstream_failed", "failed")
        assert live(stage) == [("note",)]

    def test_refuses_rows_that_were_written_after_the_question(
        self, stage: Stage, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        outlook = steps.outlook

        def look_and_write(job: Any) -> Any:
            seen = outlook(job)
            self.write(stage, "UPDATE note SET body = 'newer' WHERE body = 'new'")
            return seen

        monkeypatch.setattr(steps, "outlook", look_and_write)
        with answered("confirm", "Roll back"):
            states = stage.run("rollback_notes")
        assert (states["roll_back"], states[""]) == ("failed", "failed")
        assert live(stage) == [("note",)]

    def test_given_with_the_form_asks_nobody_and_still_wants_the_lost_writes_confirmed(self, stage: Stage) -> None:
        assert stage.run("rollback_notes", approval="given")[""] == "failed"
        assert live(stage) == [("note",)]
        states = stage.run("rollback_notes", approval="given", confirm_lost_writes=True)
        assert (states["confirm"], states["roll_back"], states[""]) == ("skipped", "success", "success")
        assert live(stage) == []
