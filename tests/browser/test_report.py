"""The migration report where its readers find it: in the run's tab, in the navigation, as a file, by keyboard."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Frame, expect

from tests.browser.conftest import MIGRATE
from tests.browser.screen import Screen
from tests.deployment import Deployment

pytestmark = pytest.mark.slow

PER_TABLE = "SELECT table_name, source_rows, loaded, quarantined FROM migration.loads WHERE run_id = '{}' ORDER BY 1"


def open_report(screen: Screen, run: str) -> Frame:
    """The tab of the run, reached as a person reaches it."""
    screen.open_run(MIGRATE, run)
    screen.page.get_by_role("link", name="Migration report").click()
    return within(screen)


def within(screen: Screen) -> Frame:
    """The page of the report that Airflow's page frames, once it is there."""
    expect(screen.page.frame_locator("iframe").get_by_role("heading", level=1)).to_be_visible()
    frame = screen.page.locator("iframe").element_handle().content_frame()
    assert frame is not None
    return frame


def report_of(run: str) -> str:
    """The address of a run's report below /migrations/."""
    return f"run?dag_id={MIGRATE}&run_id={quote(run)}"


def numbers(frame: Frame) -> list[list[str]]:
    """Per table: source rows, loaded, quarantined, as the page shows them."""
    found = []
    for row in frame.get_by_role("region", name="Tables", exact=True).get_by_role("row").all()[1:-1]:
        cells = row.get_by_role("cell").all_inner_texts()
        found.append([row.get_by_role("rowheader").inner_text(), *cells[1:4]])
    return sorted(found)


def counted(deployment: Deployment, run: str) -> list[list[str]]:
    """The same, from the target."""
    split = [line.split("|") for line in deployment.query(PER_TABLE.format(run))]
    return [[table, *(f"{int(number):,}" for number in rest)] for table, *rest in split]


def test_the_runs_tab_shows_verdict_balance_and_the_numbers_that_the_target_has(
    screen: Screen, deployment: Deployment, rehearsed: str, cut_over: str
) -> None:
    assert numbers(open_report(screen, rehearsed)) == counted(deployment, rehearsed)
    frame = open_report(screen, cut_over)
    expect(frame.get_by_role("heading", level=2, name="SUCCESS")).to_contain_text("cut over")
    counts = [f"SELECT count(*) FROM public.{table}" for table, *_ in counted(deployment, cut_over)]
    live = [int(rows) for rows in deployment.query(" UNION ALL ".join(counts))]
    expect(frame.get_by_role("region", name="Balance")).to_contain_text(
        f"{sum(live):,} source rows = {sum(live):,} loaded + 0 quarantined + 0 excluded"
    )
    assert numbers(frame) == counted(deployment, cut_over)
    assert [row[2] for row in numbers(frame)] == [f"{rows:,}" for rows in live]
    screen.picture("report")


def test_the_navigation_leads_to_all_runs_and_from_each_to_its_report(
    screen: Screen, rehearsed: str, cut_over: str
) -> None:
    screen.page.goto("/dags")
    screen.page.get_by_role("link", name="Migrations").click()
    frame = within(screen)
    runs = frame.get_by_role("row").filter(has=frame.get_by_role("rowheader"))
    expect(runs.first).to_contain_text("cut over, by admin")
    expect(runs.filter(has_text=rehearsed)).to_contain_text("rehearsal")
    screen.picture("runs")
    runs.filter(has_text=cut_over).get_by_role("link", name=cut_over).click()
    expect(frame.get_by_role("heading", level=2, name="SUCCESS")).to_be_visible()


def test_the_quarantined_rows_can_be_browsed_to_every_value_and_the_reason(screen: Screen, rehearsed: str) -> None:
    frame = open_report(screen, rehearsed)
    frame.get_by_role("row", name="memory_relations").get_by_role("link", name="1", exact=True).first.click()
    expect(frame.get_by_role("heading", level=1)).to_have_text("Quarantined rows of memory_relations")
    row = frame.get_by_role("row").filter(has_text="0.666")
    expect(row).to_contain_text("strength")
    expect(row).to_contain_text("numeric(3,2) takes numbers of at most 3 digits")
    screen.picture("quarantine")


def test_the_downloads_hold_the_same_numbers(
    screen: Screen, deployment: Deployment, cut_over: str, tmp_path: Path
) -> None:
    frame = open_report(screen, cut_over)
    kept: dict[str, Path] = {}
    for kind in ("HTML", "JSON"):
        with screen.page.expect_download() as download:
            frame.get_by_role("link", name=f"Download as {kind}").click()
        assert re.fullmatch(rf"widgettdc-[\w-]+\.{kind.lower()}", download.value.suggested_filename)
        download.value.save_as(kept.setdefault(kind, tmp_path / kind))
    tables: list[dict[str, Any]] = json.loads(kept["JSON"].read_text())["tables"]
    shown = [[t["name"], *(f"{t['load'][n]:,}" for n in ("source_rows", "loaded", "quarantined"))] for t in tables]
    assert sorted(shown) == counted(deployment, cut_over)
    assert "every one is right" in kept["HTML"].read_text()


def test_who_is_not_logged_in_is_shown_nothing(stranger: Screen, cut_over: str) -> None:
    for path in ("", report_of(cut_over), report_of(cut_over).replace("run?", "report.json?")):
        answer = stranger.page.goto(f"/migrations/{path}")
        assert answer is not None
        assert answer.status == 401
        assert "widgettdc" not in answer.text().lower()


@pytest.mark.parametrize("mode", ["Dark Mode", "Light Mode"])
def test_no_page_of_the_report_breaks_a_rule_of_accessibility_in_the_mode_that_airflow_is_in(
    screen: Screen, rehearsed: str, cut_over: str, mode: str
) -> None:
    screen.appear_in(mode)
    for path in (
        "",
        report_of(cut_over),
        report_of(rehearsed).replace("run?", "quarantine?table=memory_relations&"),
        report_of(cut_over).replace("run?", "altered?table=memory_relations&"),
    ):
        screen.page.goto(f"/migrations/{path}")
        screen.picture(f"{mode} {path.partition('?')[0] or 'runs'}")
        for fold in screen.page.locator("summary").all():
            fold.click()
        dark = screen.page.evaluate("getComputedStyle(document.body).backgroundColor.match(/\\d+/)[0] < 128")
        assert dark == (mode == "Dark Mode")
        found = Axe().run(screen.page)
        assert not found.violations_count, f"{path}, {mode}: {found.generate_report()}"


def test_every_control_of_the_report_is_reached_by_keyboard_and_shows_that_it_is(screen: Screen, cut_over: str) -> None:
    page = screen.page
    page.goto(f"/migrations/{report_of(cut_over)}")
    wanted = page.evaluate("[...document.querySelectorAll('a[href], button, summary, input, select')].length")
    reached = set()
    for _ in range(wanted * 2):
        page.keyboard.press("Tab")
        where = page.evaluate(FOCUSED)
        if where is None:
            break
        assert where["outlined"], f"{where['html']} has the focus and does not show it"
        reached.add(where["number"])
    assert len(reached) >= wanted


FOCUSED = """() => {
    const all = [...document.querySelectorAll('*')], now = document.activeElement, style = getComputedStyle(now);
    if (now === document.body) return null;
    return {number: all.indexOf(now), html: now.outerHTML.slice(0, 120),
            outlined: style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 1};
}"""
