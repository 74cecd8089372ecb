"""A browser before a deployment of its own, and the steps of one story that the tests look at.

Pictures of it lie in .local/browser; those in docs/screenshots are four of them.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, ViewportSize, expect, sync_playwright

from local.files import ROOT
from tests.browser.screen import RUN, Screen
from tests.deployment import Deployment

MIGRATE = "migrate_widgettdc"
BAD_ROW = "UPDATE memory_relations SET strength = 0.666 WHERE id = (SELECT min(id) FROM memory_relations)"
PICTURES = ROOT / ".local" / "browser"
SCREEN = pytest.StashKey[Screen]()
WINDOW = ViewportSize(width=1400, height=1000)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """The system's Chromium, without a window."""
    program = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    if program is None:
        pytest.fail("tests/browser needs Chromium: install it (Debian: apt install chromium), or name it in CHROMIUM.")
    with sync_playwright() as playwright:
        # Chromium's own sandbox refuses to run as root, as which containers and CI run.
        browser = playwright.chromium.launch(executable_path=program, chromium_sandbox=os.getuid() != 0)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """A deployment whose source has a row that cannot cross, and whose target a live table with three rows."""
    deployment = Deployment(tmp_path_factory.mktemp("deployment"))
    deployment.new_source(BAD_ROW)
    deployment.query(
        "CREATE TABLE public.memory_tags AS SELECT n AS id, 'of before' AS tag FROM generate_series(1, 3) n"
    )
    yield deployment
    deployment.stop()


@pytest.fixture(scope="session")
def stranger(browser: Browser, deployment: Deployment) -> Iterator[Screen]:
    """A browser in which nobody is logged in."""
    with browser.new_context(base_url=deployment.address, viewport=WINDOW) as context:
        yield Screen(context.new_page(), PICTURES)


@pytest.fixture(scope="session")
def screen(browser: Browser, deployment: Deployment, pytestconfig: pytest.Config) -> Iterator[Screen]:
    """The browser of the deployment's operator."""
    with browser.new_context(base_url=deployment.address, viewport=WINDOW) as context:
        pytestconfig.stash[SCREEN] = screen = Screen(context.new_page(), PICTURES)
        screen.log_in(deployment.user, deployment.password)
        yield screen
        del pytestconfig.stash[SCREEN]


def pytest_runtest_teardown(item: pytest.Item) -> None:
    """However a test ends, what was on the operator's screen then can be looked at."""
    if SCREEN in item.config.stash:
        item.config.stash[SCREEN].picture(f"last seen of {item.name}")


# -- the story


@pytest.fixture(scope="session")
def refused(screen: Screen, deployment: Deployment) -> str:
    """A rehearsal, as the form proposes it but for the quarantine, that the live rows have stopped."""
    run = screen.trigger(MIGRATE, {"What is allowed": {"Rows that cannot cross": "Go on, set them aside"}})
    screen.expect_state("Failed")
    return run


@pytest.fixture(scope="session")
def rehearsed(screen: Screen, deployment: Deployment, refused: str) -> str:
    """The same run after the live rows were out of the way and its first task was cleared."""
    deployment.query("ALTER TABLE public.memory_tags RENAME TO set_aside")
    screen.open_task(MIGRATE, refused, "preflight")
    screen.clear()
    screen.open_run(MIGRATE, refused)
    screen.expect_state("Success")
    deployment.query("ALTER TABLE public.set_aside RENAME TO memory_tags")
    return refused


@pytest.fixture(scope="session")
def failed(screen: Screen, deployment: Deployment, rehearsed: str) -> str:
    """A real run that lets live rows be set aside, stopped by the row that cannot cross."""
    run = screen.trigger(
        MIGRATE,
        {
            "Run Parameters": {"Rehearsal or real": "Real: cut over at the end"},
            "What is allowed": {"Live tables that hold rows already": "Set them aside at the cut-over"},
        },
    )
    expect(screen.row_of("load.memory_relations")).to_contain_text("Failed", timeout=RUN)
    screen.picture("watched")
    screen.expect_state("Failed")
    return run


@pytest.fixture(scope="session")
def mended(screen: Screen, deployment: Deployment, failed: str) -> list[str]:
    """The tasks that are tried again once the plan decides about that row, up to the question for approval."""
    before = deployment.tasks(failed)
    plan = deployment.root / "include/plans/widgettdc.yaml"
    decided = "\n  memory_relations:\n    columns: {strength: {invalid: round}}"
    plan.write_text(plan.read_text().replace("\n  memory_relations:", decided))
    screen.open_task(MIGRATE, failed, "load.memory_relations")
    affected = screen.clear()
    assert [task for task in affected if task.startswith("load.")] == ["load.memory_relations"]
    screen.open_task(MIGRATE, failed, "approve")
    screen.expect_state("Awaiting Input")
    after = deployment.tasks(failed)
    return [task for task in after if after[task]["try_number"] > before[task]["try_number"]]


@pytest.fixture(scope="session")
def cut_over(screen: Screen, failed: str, mended: list[str]) -> str:
    """The same run, approved on the page of its required action."""
    screen.open_task(MIGRATE, failed, "approve", "/required_actions")
    screen.answer("Cut over")
    screen.open_run(MIGRATE, failed)
    screen.expect_state("Success")
    return failed
