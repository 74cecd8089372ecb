"""A migration as its operator makes it in the browser: rehearsed, failed, mended, approved."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import MIGRATE
from tests.browser.screen import Screen
from tests.deployment import Deployment

pytestmark = pytest.mark.slow


def test_a_wrong_password_is_refused(stranger: Screen, deployment: Deployment) -> None:
    stranger.log_in(deployment.user, "not the password")
    expect(stranger.page.get_by_text("Invalid credentials")).to_be_visible()
    stranger.page.goto(f"/dags/{MIGRATE}")
    expect(stranger.page.get_by_role("textbox", name="Password")).to_be_visible()


def test_each_plans_dags_are_listed_by_their_titles(screen: Screen) -> None:
    screen.page.goto("/dags")
    for title in (
        "Migrate WidgetTDC",
        "Replay the quarantine of WidgetTDC",
        "Roll back WidgetTDC",
        "Assess a SQLite database",
    ):
        expect(screen.page.get_by_role("link", name=title, exact=True)).to_be_visible()


def test_the_form_offers_a_rehearsal_and_says_what_each_choice_means(screen: Screen) -> None:
    form = screen.open_form(MIGRATE)
    expect(form.get_by_role("combobox", name="Rehearsal or real")).to_be_visible()
    screen.picture("form")
    for section, fields in {
        "Run Parameters": {
            "Rehearsal or real": ("Rehearsal", "leaves what is live alone"),
            "Approval of a real run": ("Ask before the cut-over", "wait for a person to decide"),
        },
        "What is allowed": {
            "Rows that cannot cross": ("Fail and name them", "keep them in the quarantine"),
            "Live tables that hold rows already": ("Refuse to begin", "from where a rollback brings them back"),
        },
    }.items():
        opened = screen.section(form, section)
        for label, (chosen, meaning) in fields.items():
            field = opened.get_by_role("group").filter(has=screen.page.get_by_role("combobox", name=label))
            expect(field).to_contain_text(chosen)
            expect(field).to_contain_text(meaning)


def test_the_form_keeps_a_number_within_its_bounds(screen: Screen) -> None:
    form = screen.open_form(MIGRATE)
    rows = screen.section(form, "Tuning").get_by_role("spinbutton", name="Rows per block")
    for typed, kept in (("3", "64"), ("100000", "65536")):
        rows.fill(typed)
        rows.blur()
        expect(rows).to_have_value(kept)


def test_the_form_of_an_assessment_begins_nothing_without_an_absolute_path(
    screen: Screen, deployment: Deployment
) -> None:
    form = screen.open_form("assess_sqlite")
    trigger = form.get_by_role("button", name="Trigger", exact=True)
    path = form.locator("[name=element_source]")  # Airflow gives it no label
    path.fill("app.db")
    path.fill("")
    expect(form).to_contain_text("This field is required")
    expect(trigger).to_be_disabled()
    path.fill("app.db")
    trigger.click()
    expect(screen.page.get_by_text("Invalid input for param source: 'app.db'")).to_be_visible()
    assert deployment.api.get("/dags/assess_sqlite/dagRuns")["total_entries"] == 0


def test_live_rows_stop_a_run_at_its_first_task_whose_log_says_which_and_what_to_do(
    screen: Screen, refused: str
) -> None:
    screen.open_task(MIGRATE, refused, "preflight")
    screen.expect_state("Failed")
    expect(screen.log).to_contain_text("live tables hold rows: memory_tags (3 rows)")
    expect(screen.log).to_contain_text("or empty them")


def test_once_the_target_is_mended_the_cleared_task_lets_the_rehearsal_end_green_and_nothing_goes_live(
    deployment: Deployment, rehearsed: str
) -> None:
    recorded = f"SELECT mode, status FROM migration.runs WHERE run_id = '{rehearsed}'"
    assert deployment.query(recorded)[0].startswith("rehearsal|")
    assert deployment.query("SELECT tablename FROM pg_tables WHERE schemaname = 'public'") == ["memory_tags"]


def test_the_grid_shows_the_load_that_failed_and_that_the_cut_over_is_out_of_reach(screen: Screen, failed: str) -> None:
    screen.open_run(MIGRATE, failed)
    screen.page.get_by_test_id("expand-all-button").click()  # under load it may stay without its label
    states = {"load.memory_tags": "Success", "cut_over": "Upstream Failed", "load.memory_relations": "Failed"}
    for task, state in states.items():
        expect(screen.in_grid(failed, task)).to_contain_text(f"State: {state}")
    screen.picture("grid")


def test_the_failed_loads_log_ends_with_table_column_key_value_and_what_to_do(
    screen: Screen, deployment: Deployment, failed: str
) -> None:
    with closing(sqlite3.connect(deployment.source)) as connection:
        key = connection.execute("SELECT min(id) FROM memory_relations").fetchone()[0]
    screen.open_task(MIGRATE, failed, "load.memory_relations")
    screen.expect_state("Failed")
    expect(screen.log).to_contain_text(f"table memory_relations, column strength, key [{key}], value 0.666")
    expect(screen.log).to_contain_text("clear this task")
    screen.picture("log")


def test_a_decision_in_the_plan_and_a_cleared_task_let_only_it_and_what_follows_run_again(mended: list[str]) -> None:
    assert [task for task in mended if task.startswith("load.")] == ["load.memory_relations"]
    assert not {"preflight", "backup", "create_schema"} & set(mended)
    assert {"finish_schema", "verify.memory_relations", "approve"} <= set(mended)


def test_the_required_action_of_the_run_shows_balance_and_verdict(
    screen: Screen, deployment: Deployment, failed: str, mended: list[str]
) -> None:
    screen.open_run(MIGRATE, failed)
    screen.page.get_by_role("button", name="Required Actions").click()
    actions = screen.page.get_by_role("dialog")
    rows = int(deployment.query(f"SELECT sum(source_rows) FROM migration.loads WHERE run_id = '{failed}'")[0])
    expect(actions).to_contain_text(f"Balance: {rows:,} source rows = {rows:,} loaded + 0 quarantined + 0 excluded")
    expect(actions).to_contain_text("every one is right")
    actions.get_by_role("link", name="approve").click()
    expect(screen.page.get_by_role("row", name="memory_relations 6,000 6,000 0 1 30,000 verified")).to_be_visible()
    for answer in ("Cut over", "Keep staging", "Roll back"):
        expect(screen.page.get_by_role("button", name=answer, exact=True)).to_be_enabled()
    screen.picture("approval")


def test_the_answer_cuts_over_and_is_recorded_with_who_gave_it(deployment: Deployment, cut_over: str) -> None:
    recorded = f"SELECT status, approval->>'answer', approval->>'by' FROM migration.runs WHERE run_id = '{cut_over}'"
    assert deployment.query(recorded) == [f"cut_over|cut_over|{deployment.user}"]
    assert deployment.query("SELECT strength FROM public.memory_relations ORDER BY id LIMIT 1") == ["0.67"]
    assert deployment.query("SELECT count(*) FROM public.memory_tags") == ["9000"]
