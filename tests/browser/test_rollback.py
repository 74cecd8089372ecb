"""A rollback as its operator makes it in the browser: looked at, left, confirmed."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.browser.screen import Screen
from tests.deployment import Deployment

pytestmark = pytest.mark.slow

ROLL_BACK = "rollback_widgettdc"


@pytest.fixture(scope="module")
def written_to(deployment: Deployment, cut_over: str) -> str:
    """The run that was cut over, after the application has written two rows."""
    deployment.query(
        "INSERT INTO public.memory_tags (entity_id, tag)"
        " SELECT id, 'since' FROM public.memory_entities ORDER BY id LIMIT 2"
    )
    return cut_over


def ask(screen: Screen) -> str:
    """Trigger the rollback as its form proposes, and open its question; the id of the rollback's run."""
    run = screen.submit(screen.open_form(ROLL_BACK))
    screen.open_task(ROLL_BACK, run, "confirm")
    screen.expect_state("Awaiting Input")
    screen.open_task(ROLL_BACK, run, "confirm", "/required_actions")
    return run


def test_a_rollback_given_without_a_word_on_the_rows_written_since_is_refused(
    screen: Screen, deployment: Deployment, written_to: str
) -> None:
    run = screen.trigger(ROLL_BACK, {"Confirmation": {"Confirmation": "Given with this form"}})
    screen.expect_state("Failed")
    screen.open_task(ROLL_BACK, run, "roll_back")
    expect(screen.log).to_contain_text("In all since the cut-over: memory_tags")
    assert deployment.query("SELECT count(*) FROM public.memory_tags") == ["9002"]


def test_the_question_shows_what_was_written_since_and_who_leaves_it_leaves_everything(
    screen: Screen, deployment: Deployment, written_to: str
) -> None:
    run = ask(screen)
    for told in (
        "2 rows inserted or changed",
        f"Run {written_to} was cut over",
        f"approved by {deployment.user}",
        "9 tables would go out of public",
        "1 table would come back",
    ):
        expect(screen.page.get_by_test_id("main-content")).to_contain_text(told)
    expect(screen.page.get_by_role("row", name="memory_tags 9,000 2 0 3")).to_be_visible()
    screen.picture("rollback")
    screen.answer("Leave everything as it is")
    screen.open_run(ROLL_BACK, run)
    screen.expect_state("Success")
    assert deployment.query("SELECT count(*) FROM public.memory_tags") == ["9002"]
    assert deployment.query(f"SELECT status FROM migration.runs WHERE run_id = '{written_to}'") == ["cut_over"]


def test_a_confirmed_rollback_puts_the_live_tables_back_as_they_were(
    screen: Screen, deployment: Deployment, written_to: str
) -> None:
    run = ask(screen)
    screen.answer("Roll back")
    screen.open_run(ROLL_BACK, run)
    screen.expect_state("Success")
    assert deployment.query("SELECT tablename FROM pg_tables WHERE schemaname = 'public'") == ["memory_tags"]
    assert deployment.query("SELECT id, tag FROM public.memory_tags ORDER BY id") == [
        f"{n}|of before" for n in (1, 2, 3)
    ]
    assert deployment.query(f"SELECT status FROM migration.runs WHERE run_id = '{written_to}'") == ["rolled_back"]
