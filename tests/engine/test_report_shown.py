"""The report as people see it: terminal, page, Markdown; aligned, legible, and never acted upon by data."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest

from migration import report
from migration.plan import TablePlan
from migration.postgres import state
from migration.report.words import cells, duration, seconds, size, visible, wrapped
from tests.engine.crafted import (
    HOSTILE,
    PLAN,
    RUN,
    Connection,
    break_load,
    break_verification,
    gathered,
    hostile_report,
    prepared,
    put_load,
    put_quarantined,
    put_run,
    put_step,
    put_verification,
    put_whole_run,
)


@pytest.fixture
def target(target_dsn: str) -> Iterator[Connection]:
    with prepared(target_dsn) as connection:
        yield connection


# The terminal


def test_the_terminal_report_of_a_success_fits_its_width_and_tells_all(target: Connection) -> None:
    put_whole_run(target, approval={"by": "admin", "answer": "cut over"})
    text = report.as_text(gathered(target), html=Path("/reports/1/report.html"))
    assert re.search(r"^orders +100 +100 +0 +500 +0\.25 +0\.1  verified$", text, re.MULTILINE)
    assert re.search(r"^3 tables +300 +300 +0 +1,500 +0\.75 +0\.1  3 of 3$", text, re.MULTILINE)
    assert "Balance     300 source rows = 300 loaded + 0 quarantined + 0 excluded" in text
    assert "Verdict     SUCCESS: 1,500 values in 300 rows of 3 tables were compared" in text
    assert "Approval    by admin, answer cut over" in text
    for shown in (
        "/backups/1/snapshot.db (1.2 MB)",
        "ab" * 32,
        "/reports/1/report.html",
        "/reports/1/report.json",
    ):
        assert shown in text
    assert [line for line in text.splitlines() if cells(line) > 100] == []
    assert not any(line != line.rstrip() for line in text.splitlines())


@pytest.mark.parametrize("width", [100, 140])
def test_names_and_messages_of_any_length_stay_within_the_width(target: Connection, width: int) -> None:
    put_whole_run(target)
    long = "日本" * 40
    put_load(target, long, 123_456_789, loaded=123_456_000, excluded=789)
    put_step(target, "load", long, status="failed", message="a message of many words " * 40 + "x" * 300)
    put_quarantined(target, "notes", 1, "body", b"word " * 400, reason="it is so " * 100)
    where = {"run_id": RUN, "table_name": long, "row_key": long, "column_name": long}
    altered = {"action": "null", "storage_class": "text", "value": b"?", "rule": long, "reason": long}
    state.put(target, state.altered_values, where | altered)
    state.put(
        target,
        state.differences,
        where | {"number": 1, "kind": "changed", "source_value": long, "target_value": "x"},
    )
    state.update(target, state.runs, {"params": {"why": long}, "staging": long, "source": long}, run_id=RUN)
    text = report.as_text(gathered(target), width=width)
    text = text[: text.index("Restore")]
    assert [line for line in text.splitlines() if cells(line) > width and line != long] == []


def test_colour_is_added_only_when_asked_for_and_changes_nothing_else(target: Connection) -> None:
    put_whole_run(target)
    facts = gathered(target)
    plain, colored = report.as_text(facts), report.as_text(facts, color=True)
    assert "\x1b" not in plain
    assert re.sub(r"\x1b\[[0-9;]*m", "", colored) == plain


def test_of_many_tables_the_empty_ones_share_a_line(target: Connection) -> None:
    tables = {f"t{n:03}": TablePlan() for n in range(400)}
    plan = PLAN.model_copy(update={"tables": tables})
    put_run(target, status="rehearsed", mode="rehearsal")
    for name in tables:
        rows = 10 if name in ("t007", "t300") else 0
        put_verification(target, name, put_load(target, name, rows, plan_digest=tables[name].digest), rows)
        for step in ("load", "verify"):
            put_step(target, step, name, at=int(name[1:]))
    facts = report.gather(target, (plan, RUN))
    text = report.as_text(facts)
    assert report.verdict(facts).success
    assert "and 398 empty tables, verified" in text
    assert len(text.splitlines()) < 40
    html = report.as_html(facts)
    assert html.count('<td class="line">') == 60
    assert "740 shorter steps are left out" in html


def test_the_approval_is_told_the_balance_and_what_the_cut_over_will_retire(target: Connection) -> None:
    put_whole_run(target, status="running", cut_over_at=None, live_before={"notes": {"rows": 1234}})
    text = report.as_markdown(gathered(target))
    assert text.startswith("**READY TO CUT OVER** (verified, not cut over): 1,500 values in 300 rows of 3 tables")
    assert "**Balance:** 300 source rows = 300 loaded + 0 quarantined + 0 excluded" in text
    assert r"what is live now (1 table, 1,234 rows) into schema retired\_shop\_1" in text
    assert "| orders | 100 | 100 | 0 | 0 | 500 | verified |" in text
    assert "was not cut over" not in text


def test_a_failed_run_shows_the_message_the_rows_and_the_differences(target: Connection) -> None:
    put_whole_run(target, status="running", cut_over_at=None)
    put_step(target, "verify", "orders", status="failed", message="Table orders differs in 1 value.")
    break_verification(target, "orders", ok=False, differences=1)
    body = "the same beginning " * 30
    state.put(target, state.differences, {
        "run_id": RUN, "table_name": "orders", "number": 1, "row_key": "[42]", "column_name": "body",
        "kind": "changed", "source_value": body + "here", "target_value": body + "there",
    })  # fmt: skip
    break_load(target, "notes", source_rows=101, quarantined=1)
    put_quarantined(target, "notes", 7, "body", b"a\0b")
    text = report.as_text(gathered(target))
    assert "Verdict     FAILED: " in text
    assert "verification of orders, 2026-03-01 10:00:01 UTC\n    Table orders differs in 1 value." in text
    assert "notes [7], column body: PostgreSQL text holds no NUL.\n    a\\x00b (text, 3 B)" in text
    assert re.search(r"snapshot  ….*here\n    target    ….*there$", text, re.MULTILINE)


# Hostile data


class _Page(HTMLParser):
    """Which elements and attributes a page has, and its text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def test_hostile_data_changes_nothing_of_the_pages_elements(target: Connection) -> None:
    html = report.as_html(hostile_report(target))
    page = _Page(html)
    names = {name for name, _ in page.elements}
    assert not names & {
        "script",
        "img",
        "iframe",
        "object",
        "embed",
        "form",
        "link",
        "base",
        "audio",
        "video",
    }
    attributes = {name for _, attrs in page.elements for name in attrs}
    assert not {name for name in attributes if name.startswith("on") or name == "style"}
    for _, attrs in page.elements:
        for name, value in attrs.items():
            assert "alert" not in (value or "")
            assert name not in ("src", "href") or re.fullmatch(r"#[a-z]+|report\.json", value or "")
    assert "<script>alert(1)</script>" in page.text
    assert "49" not in page.text.split("{{ 7*7 }}")[1][:4]


def test_no_character_that_a_terminal_or_browser_obeys_or_hides_reaches_html_text_or_json(
    target: Connection,
) -> None:
    facts = hostile_report(target)
    for shown in (report.as_html(facts), report.as_text(facts), report.as_json(facts)):
        assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u200b\u202a-\u202e\u2028\u2029\ufeff]", shown)
    assert r"\x1b[31m" in report.as_text(facts)
    assert '<span class="esc">\\x1b</span>[31m' in report.as_html(facts)
    assert r"\x00\xff" in report.as_text(facts)


def test_hostile_data_stays_text_in_markdown(target: Connection) -> None:
    text = report.as_markdown(hostile_report(target))
    assert not re.search(r"(?<!\\)[<>&\[\]`]", text)
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u200b\u202a-\u202e]", text)
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    assert [len(re.findall(r"(?<!\\)\|", row)) for row in rows] == [8, 8, 8]


def test_json_keeps_hostile_values_exactly(target: Connection) -> None:
    facts = json.loads(report.as_json(hostile_report(target)))
    assert facts["run"]["title"] == HOSTILE
    assert facts["altered"]["values"][0]["value"]["text"] == HOSTILE
    faulty = facts["quarantine"]["rows"][0]["values"][0]
    assert bytes.fromhex(faulty["hex"]) == b"\0\xff" + HOSTILE.encode()


def test_no_form_of_the_report_holds_a_password(target: Connection) -> None:
    put_whole_run(target)
    secret = "s3cr-et"
    dsn = f"postgresql://app:{secret}@db.example:5432/shop"
    put_step(
        target,
        "cut_over",
        status="failed",
        message=f"OperationalError: {dsn} host=db password={secret} refused",
    )
    put_run(target, params={"target": dsn}, approval={"by": dsn}, source=dsn)
    checks = json.dumps([{"check": "connection", "ok": False, "detail": dsn}])
    target.execute("UPDATE migration.verifications SET checks = %s", [checks])
    facts = gathered(target)
    for shown in (report.as_html(facts), report.as_text(facts), report.as_json(facts), repr(facts)):
        assert secret not in shown
        assert "postgresql://app:***@db.example:5432/shop" in shown


# The page


def test_the_page_is_accessible_in_its_basics(target: Connection) -> None:
    put_whole_run(target)
    page = _Page(report.as_html(gathered(target)))
    names = [name for name, _ in page.elements]
    assert ("html", {"lang": "en"}) in page.elements
    assert [names.count(n) for n in ("main", "nav", "h1", "title")] == [1, 1, 1, 1]
    assert names.count("table") == names.count("caption") > 2
    assert all(attrs.get("scope") in ("row", "col") for name, attrs in page.elements if name == "th")
    assert all(attrs.get("aria-hidden") == "true" for name, attrs in page.elements if name == "svg")
    ids = [attrs["id"] for _, attrs in page.elements if "id" in attrs]
    assert len(ids) == len(set(ids))
    linked = {(attrs["href"] or "")[1:] for _, attrs in page.elements if (attrs.get("href") or "").startswith("#")}
    labelled = {attrs["aria-labelledby"] for _, attrs in page.elements if "aria-labelledby" in attrs}
    assert linked | labelled <= set(ids)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_colour_has_the_contrast_that_wcag_asks_for(scheme: str) -> None:
    css = Path(report.__file__).with_name("page.css").read_text(encoding="utf-8")
    pairs = re.findall(r"--([\w-]+): light-dark\((#[0-9a-f]{6}), (#[0-9a-f]{6})\);", css)
    colors = {name: dark if scheme == "dark" else light for name, light, dark in pairs}

    def luminance(color: str) -> float:
        parts = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    texts = {
        "page": "ink soft blue",
        "card": "ink soft blue good bad warn esc",
        "code": "ink esc",
        "track": "soft",
    }
    texts |= {f"{hue}-card": f"ink {hue}" for hue in ("good", "bad", "warn")}
    for ground, names in texts.items():
        for name in names.split():
            light, dark = sorted((luminance(colors[ground]), luminance(colors[name])), reverse=True)
            assert (light + 0.05) / (dark + 0.05) >= 4.5, (scheme, name, ground)


# Words


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("plain æøå 日本 🙂", "plain æøå 日本 🙂"),
        ("a\nb\tc\r", r"a\nb\tc\r"),
        ("\0\x1b\x7f\x9b", r"\x00\x1b\x7f\x9b"),
        ("1\xa0000\u200b\u202e\U000e0001", r"1\xa0000\u200b\u202e\U000e0001"),
    ],
)
def test_hidden_characters_are_shown_as_escapes_and_others_as_they_are(text: str, seen: str) -> None:
    assert visible(text) == seen


def test_lines_are_wrapped_by_the_columns_they_take() -> None:
    assert wrapped("one two three", 7) == ["one two", "three"]
    assert wrapped("日本語日本語", 5) == ["日本", "語日", "本語"]
    assert wrapped("", 5) == [""]


def test_numbers_have_the_units_and_digits_that_people_read() -> None:
    assert [seconds(n) for n in (0.0123, 9.5, 12.34, 4567.8)] == ["0.01", "9.50", "12.3", "4,568"]
    assert [duration(n) for n in (0.5, 61, 7265)] == ["0.50 s", "1 min 1 s", "2 h 1 min"]
    assert [size(n) for n in (999, 1500, 2_000_000, 3 * 10**15)] == ["999 B", "1.5 kB", "2.0 MB", "3000.0 TB"]


def test_waits_are_cut_out_of_the_timeline_and_named(target: Connection) -> None:
    put_whole_run(target)
    put_step(target, "cut_over", at=7200)
    line = report.timeline.timeline(gathered(target))
    assert line.worked < 60
    assert line.elapsed == pytest.approx(7201)
    last = line.bars[-1]
    assert last.waited > 7000
    assert last.left + last.width == pytest.approx(100)
    assert "of work within 2 h 0 min" in report.as_text(gathered(target))
