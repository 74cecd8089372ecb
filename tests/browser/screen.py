"""What an operator does in Airflow's pages, found as a person finds it: by role, label and text."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote, unquote

from playwright.sync_api import Locator, Page, expect

MINUTES = 60_000
"""Of milliseconds, which Playwright counts in."""

# Two cores shared with an Airflow at work: a page may take 20 s to paint, a run three minutes.
PAINT, RUN = MINUTES, 4 * MINUTES


class Screen:
    """One window of a browser; its pictures go into the folder ``pictures``."""

    def __init__(self, page: Page, pictures: Path) -> None:
        self.page, self.pictures = page, pictures
        page.set_default_timeout(PAINT)
        expect.set_options(timeout=PAINT)

    def picture(self, name: str) -> None:
        self.pictures.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=self.pictures / f"{name}.png", animations="disabled")

    def log_in(self, user: str, password: str) -> None:
        """Fill in the login page and send it; whether that was right is for the caller to see."""
        self.page.goto("/")
        self.page.get_by_role("textbox", name="Username").fill(user)
        self.page.get_by_role("textbox", name="Password").fill(password)
        self.page.get_by_role("button", name="Sign in").click()
        expect(
            self.page.get_by_role("link", name="Dags").or_(self.page.get_by_text("Invalid credentials"))
        ).to_be_visible()

    def appear_in(self, mode: str) -> None:
        """Choose Airflow's appearance: Light Mode or Dark Mode."""
        self.page.goto("/dags")
        self.page.get_by_role("button", name="User").click()
        self.page.get_by_role("menuitem", name="Appearance").hover()
        self.page.get_by_role("menuitemradio", name=mode).click()

    # -- a run

    def open_form(self, dag: str) -> Locator:
        """The dialog that triggers a DAG."""
        self.page.goto(f"/dags/{dag}")
        self.page.get_by_role("button", name="Trigger Dag").click()
        form = self.page.get_by_role("dialog")
        expect(form.get_by_role("button", name="Advanced Options")).to_be_visible()
        return form

    def section(self, form: Locator, name: str) -> Locator:
        """A section of the form, opened; one is open at a time."""
        header = form.get_by_role("button", name=name, exact=True)
        if header.get_attribute("aria-expanded") != "true":
            header.click()
        expect(header).to_have_attribute("aria-expanded", "true")
        return form.get_by_role("region").filter(visible=True)

    def choose(self, section: Locator, label: str, option: str) -> None:
        section.get_by_role("combobox", name=label).click()
        self.page.get_by_role("option", name=option).click()

    def submit(self, form: Locator) -> str:
        """Trigger with the form as it is; the id of the run, whose page is shown then."""
        form.get_by_role("button", name="Trigger", exact=True).click()
        self.page.wait_for_url("**/runs/*")
        return unquote(self.page.url.rpartition("/")[2])

    def trigger(self, dag: str, choices: Mapping[str, Mapping[str, str]]) -> str:
        """Fill in the form, choices by section and label, and submit it."""
        form = self.open_form(dag)
        for name, fields in choices.items():
            section = self.section(form, name)
            for label, option in fields.items():
                self.choose(section, label, option)
        return self.submit(form)

    def open_run(self, dag: str, run: str) -> None:
        self.page.goto(f"/dags/{dag}/runs/{quote(run)}")

    def open_task(self, dag: str, run: str, task: str, tab: str = "") -> None:
        self.page.goto(f"/dags/{dag}/runs/{quote(run)}/tasks/{task}{tab}")

    def expect_state(self, state: str) -> None:
        """Until the run or task that is shown has this state."""
        badge = self.page.get_by_test_id("header-card").get_by_test_id("state-badge")
        expect(badge).to_have_text(state, timeout=RUN)

    def row_of(self, task: str) -> Locator:
        """A task's row in the list of the run that is shown: its id, state, times."""
        return self.page.get_by_role("row").filter(has=self.page.locator(f"a[href$='/tasks/{task}']"))

    def in_grid(self, run: str, task: str) -> Locator:
        """What the grid tells of a task when the pointer is over it."""
        self.page.mouse.move(0, 0)  # the tooltip of one task covers the next
        expect(self.page.get_by_role("tooltip")).to_have_count(0)
        self.page.get_by_test_id(f"grid-{run}-{task}").hover()
        return self.page.get_by_role("tooltip")

    # -- a task

    @property
    def log(self) -> Locator:
        """The log of the task that is shown, with its groups as they are folded."""
        return self.page.get_by_test_id("virtualized-list")

    def clear(self) -> list[str]:
        """Clear the task that is shown with what follows it; the tasks that the dialog said would run again."""
        self.page.get_by_role("button", name="Press shift+c to clear").click()
        dialog = self.page.get_by_role("dialog")
        expect(dialog.get_by_role("button", name="Affected Tasks")).not_to_contain_text(": 0")
        affected = [row.get_by_role("cell").nth(1).inner_text() for row in dialog.get_by_role("row").all()[1:]]
        self.picture(f"clear {affected[0]}")
        dialog.get_by_role("button", name="Confirm").click()
        expect(dialog).to_be_hidden()
        return affected

    def answer(self, option: str) -> None:
        """Answer the required action that is shown."""
        self.page.wait_for_timeout(3000)  # an answer in the moment in which the task parks is lost in Airflow 3.3
        self.page.get_by_role("button", name=option, exact=True).click()
        expect(self.page.get_by_role("status").filter(has_text="response successful")).to_be_visible()
