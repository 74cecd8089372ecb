"""What the pages show: every state of a run, every row, nothing that acts; and that they stay readable."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from fastapi import FastAPI
from psycopg.types.json import Jsonb
from starlette.testclient import TestClient

from migration.plan import RefusedObject, TablePlan
from migration.postgres import state
from tests.engine.crafted import (
    BEGAN,
    HOSTILE,
    PLAN,
    RUN,
    Connection,
    break_load,
    break_verification,
    put_load,
    put_many_quarantined,
    put_quarantined,
    put_run,
    put_step,
    put_verification,
    put_whole_run,
)
from tests.plugin.conftest import client, of_run, put_dag_run, put_plan


class Page(HTMLParser):
    """A page's elements and links, and its text without style and script."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text, self._silent = "", False
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._silent = tag in ("style", "script")

    def handle_endtag(self, tag: str) -> None:
        self._silent = False

    def handle_data(self, data: str) -> None:
        if not self._silent:
            self.text += data

    def links(self, path: str) -> list[str]:
        found = [attrs["href"] or "" for tag, attrs in self.elements if tag == "a"]
        return [href for href in found if urlsplit(href).path == path]


def shown(browser: TestClient, path: str = "run", **params: str) -> Page:
    answer = browser.get(f"/migrations/{path}", params=params or of_run())
    assert answer.status_code == 200, answer.text
    return Page(answer.text)


def verdict(page: Page) -> str:
    return " ".join(page.text.split("</h2>")[0].split())


# The states of a run


def test_a_run_whose_preflight_has_not_passed_has_a_sentence(ada: TestClient) -> None:
    answer = ada.get("/migrations/run", params=of_run("queued"))
    assert (answer.status_code, "Nothing is recorded of this run" in answer.text) == (404, True)
    assert "No migration has begun" in shown(ada, "", plan="shop").text


def test_a_target_without_any_migration_has_the_same_sentence(ada: TestClient, target: Connection) -> None:
    target.execute("DROP SCHEMA migration CASCADE")
    assert ada.get("/migrations/run", params=of_run()).status_code == 404
    assert "No migration has begun" in shown(ada, "", plan="shop").text


@pytest.mark.parametrize(
    ("status", "report_says", "list_says"),
    [
        ("running", "verified, not cut over", "verified, not cut over"),
        ("kept", "staging kept", "staging kept"),
        ("cut_over", "SUCCESS", "cut over"),
        ("rolled_back", "ROLLED BACK", "rolled back"),
        ("superseded", "SUPERSEDED", "superseded"),
    ],
)
def test_report_and_list_say_what_a_run_came_to(
    ada: TestClient, target: Connection, status: str, report_says: str, list_says: str
) -> None:
    put_whole_run(target, status=status)
    assert report_says in shown(ada).text
    assert list_says in shown(ada, "", plan="shop").text


def test_a_run_that_has_only_begun_is_shown(ada: TestClient, target: Connection) -> None:
    put_run(target)
    put_step(target, "backup", status="running", finished_at=None)
    page = shown(ada)
    assert "NOT FINISHED" in page.text
    assert "3 tables not loaded: orders, lines, notes." in page.text
    assert "running" in shown(ada, "", plan="shop").text


def test_a_failed_load_is_named_with_its_message_and_stands_first_among_the_tables(
    ada: TestClient, target: Connection
) -> None:
    put_whole_run(target, status="running")
    put_step(target, "load", "notes", status="failed", message="Table notes: column body: key [7]: it holds a NUL.")
    page = shown(ada)
    assert "FAILED" in page.text
    assert "column body: key [7]: it holds a NUL." in page.text
    listed = page.text[page.text.index("What became of the rows") :]
    assert listed.index("notes") < listed.index("orders") < listed.index("lines")
    assert "failed" in shown(ada, "", plan="shop").text


def test_a_difference_is_a_failure_in_report_and_list_and_can_be_browsed(ada: TestClient, target: Connection) -> None:
    put_whole_run(target)
    break_verification(target, "lines", ok=False, differences=3)
    for number, kind in enumerate(("changed", "missing", "changed"), 1):
        where = {"run_id": RUN, "table_name": "lines", "number": number, "row_key": f"[{number}]"}
        values = {"column_name": "price" if kind == "changed" else "", "source_value": "0.3", "target_value": "0.30001"}
        state.put(target, state.differences, where | values | {"kind": kind})
    assert "FAILED" in shown(ada).text
    row = next(
        line for line in ada.get("/migrations/", params={"plan": "shop"}).text.splitlines() if "cut over" in line
    )
    assert "bad" in row
    [link] = [href for href in shown(ada).links("differences") if "table=lines" in href][:1]
    browsed = Page(ada.get(f"/migrations/{link}").text)
    assert "the row is missing in the target" in browsed.text
    assert re.search(r"0\.3\s+0\.30001", browsed.text)
    narrowed = Page(ada.get("/migrations/differences", params=of_run(table="lines", column="", rule="missing")).text)
    assert ("the row is missing" in narrowed.text, "0.30001" in narrowed.text.split("Target")[1]) == (True, True)
    assert "[1]" not in narrowed.text


def test_a_run_of_a_plan_that_is_gone_shows_what_was_recorded_and_no_verdict(
    server: FastAPI, target: Connection, plans: Path
) -> None:
    put_whole_run(target)
    (plans / "shop.yaml").unlink()
    ada = client(server, "ada")
    page = shown(ada)
    assert "NO VERDICT" in page.text
    assert "recorded as cut over" in page.text
    assert "SUCCESS" not in page.text
    assert "orders" in page.text
    listed = ada.get("/migrations/").text
    assert RUN in listed
    assert "state good" not in listed
    (plans / "shop.yaml").write_text("title: [", encoding="utf-8")
    assert "NO VERDICT" in shown(ada).text


def test_a_rehearsal_that_lacks_a_table_of_the_plan_has_not_passed(
    ada: TestClient, target: Connection, plans: Path
) -> None:
    put_whole_run(target, mode="rehearsal", status="running")
    assert "rehearsal passed" in shown(ada, "", plan="shop").text
    more = PLAN.tables | {"one more": TablePlan()}
    put_plan(plans, PLAN.model_copy(update={"tables": more}))
    assert "rehearsal passed" not in shown(ada, "", plan="shop").text
    assert "3 of 4" in shown(ada, "", plan="shop").text


# The list


def test_the_list_is_paged_without_gap_or_overlap_newest_first(ada: TestClient, target: Connection) -> None:
    for n in range(60):
        put_run(target, f"run {n}", started_at=BEGAN + timedelta(minutes=n // 2))
    seen: list[str] = []
    following = "./?plan=shop"
    while following:
        page = Page(ada.get(f"/migrations/{following.removeprefix('./')}").text)
        seen += [parse_qs(urlsplit(href).query)["run_id"][0] for href in page.links("run")]
        following = next((href for href in page.links("./") if "before=" in href), "")
    assert sorted(seen) == sorted(f"run {n}" for n in range(60))
    assert [int(name[4:]) // 2 for name in seen] == sorted((n // 2 for n in range(60)), reverse=True)


def test_the_list_says_who_approved_what_and_what_airflow_says(ada: TestClient, target: Connection) -> None:
    put_whole_run(target, approval={"answer": "cut_over", "by": "Ada", "at": "then"})
    put_run(target, "by_form", status="cut_over")
    put_dag_run("migrate_shop", "by_form")
    text = " ".join(shown(ada, "", plan="shop").text.split())
    assert "cut over, by Ada" in text
    assert "approved with the form by grace" in text
    assert shown(ada, "", plan="shop").links("../dags/migrate_shop/runs/by_form")


def test_a_target_that_does_not_answer_is_one_sentence(
    server: FastAPI, plans: Path, nowhere: str, caplog: pytest.LogCaptureFixture
) -> None:
    ada = client(server, "ada")
    for path, params in (("run", of_run()), ("quarantine", of_run(table="orders")), ("", {"plan": "shop"})):
        answer = ada.get(f"/migrations/{path}", params=params)
        assert answer.status_code == 503
        assert "The target of The shop cannot be read now." in unescape(answer.text)
        assert "Traceback" not in answer.text
        assert nowhere not in answer.text
    assert nowhere not in caplog.text


def test_one_target_that_does_not_answer_does_not_hide_the_runs_of_the_others(
    server: FastAPI, target: Connection, plans: Path, nowhere: str
) -> None:
    put_plan(plans, PLAN.model_copy(update={"name": "other", "title": "Another", "target": "other_target"}))
    put_run(target, "of the other", plan="other")
    answer = client(server, "root").get("/migrations/")
    assert answer.status_code == 200
    assert "of the other" in answer.text
    assert "The target of The shop cannot be read now." in answer.text


def test_a_plan_without_a_connection_says_which_to_define(
    server: FastAPI, plans: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("SHOP_TARGET", "MIGRATION_TARGET"):
        monkeypatch.delenv(f"AIRFLOW_CONN_{name}", raising=False)
    answer = client(server, "ada").get("/migrations/run", params=of_run())
    assert (answer.status_code, "shop_target" in answer.text) == (503, True)


# Rows


def test_quarantined_rows_are_browsed_without_gap_or_overlap(ada: TestClient, target: Connection) -> None:
    put_whole_run(target)
    break_load(target, "orders", source_rows=350, quarantined=250)
    put_many_quarantined(target, "orders", 250)
    link: str | None = shown(ada).links("quarantine")[0]
    keys: list[str] = []
    while link:
        page = Page(ada.get(f"/migrations/{link}").text)
        keys += re.findall(r"\[\d+\]", page.text)
        link = next((href for href in page.links("quarantine") if "after=" in href), None)
    assert sorted(keys) == sorted(f"[{n}]" for n in range(1, 251))


def test_a_quarantined_row_is_shown_with_its_reason_and_all_its_values(ada: TestClient, target: Connection) -> None:
    put_whole_run(target)
    put_quarantined(target, "notes", 7, "body", b"a\0b")
    put_quarantined(target, "notes", 8, "title", b"c", rule="other")
    for n in range(30):
        row = {"run_id": RUN, "table_name": "notes", "row_key": "[7]", "column_name": f"more {n}"}
        state.put(target, state.quarantined_values, row | {"storage_class": "real", "value": b"1.5"})
    page = shown(ada, "quarantine", **of_run(table="notes"))
    assert "PostgreSQL text holds no NUL." in page.text
    assert "text, 3 B" in page.text
    whole = next(href for href in page.links("quarantine") if "key=" in href)
    assert "more 29" in Page(ada.get(f"/migrations/{whole}").text).text
    narrowed = shown(ada, "quarantine", **of_run(table="notes", column="title", rule="other"))
    assert ("[8]" in narrowed.text, "[7]" in narrowed.text) == (True, False)


def test_altered_values_are_browsed_by_column_and_rule_without_gap(ada: TestClient, target: Connection) -> None:
    put_whole_run(target)
    break_load(target, "lines", altered=240)
    for n in range(120):
        for column in ("a", "b"):
            where = {"run_id": RUN, "table_name": "lines", "row_key": f"[{n}]", "column_name": column}
            facts = {"action": "round", "storage_class": "real", "value": b"0.666", "rule": "scale", "reason": "0.67"}
            state.put(target, state.altered_values, where | facts)
    kinds: list[tuple[dict[str, str], int]] = [({}, 240), ({"column": "b", "rule": "round by scale"}, 120)]
    for params, count in kinds:
        page, seen = shown(ada, "altered", **of_run(table="lines", **params)), 0
        while True:
            seen += len(re.findall(r"\[\d+\]", page.text))
            following = next((href for href in page.links("altered") if "after=" in href), "")
            if not following:
                break
            page = Page(ada.get(f"/migrations/{following}").text)
        assert seen == count


def test_the_report_names_what_is_carried_and_what_is_not(ada: TestClient, target: Connection, plans: Path) -> None:
    refused = RefusedObject(kind="trigger", name="audit", table="orders", reason="It is a program.", source="CREATE …")
    put_plan(plans, PLAN.model_copy(update={"refused": (refused,)}))
    target.execute(
        "CREATE SCHEMA staging_shop_1; CREATE TABLE staging_shop_1.purchase_orders (id bigint GENERATED BY DEFAULT AS"
        " IDENTITY PRIMARY KEY, total numeric DEFAULT 0 CHECK (total >= 0), note text UNIQUE, parent bigint REFERENCES"
        " staging_shop_1.purchase_orders); CREATE INDEX by_total ON staging_shop_1.purchase_orders (total);"
        " CREATE VIEW staging_shop_1.big AS SELECT id FROM staging_shop_1.purchase_orders"
    )
    ids = dict(
        target.execute(
            "SELECT relname, oid::bigint FROM pg_class WHERE relname IN ('purchase_orders','big')"
        ).fetchall()
    )
    staged = {"purchase_orders": ids["purchase_orders"], "big": {"oid": ids["big"], "shape": "", "plan_digest": ""}}
    put_whole_run(target, staged=Jsonb(staged))
    text = " ".join(shown(ada).text.split())
    for expected in (
        "1 table carried purchase_orders", "1 primary key carried purchase_orders.purchase_orders_pkey",
        "1 unique constraint carried purchase_orders.purchase_orders_note_key",
        "1 foreign key carried purchase_orders.purchase_orders_parent_fkey",
        "1 check carried purchase_orders.purchase_orders_total_check", "1 index carried purchase_orders.by_total",
        "1 identity column carried purchase_orders.id", "1 default carried purchase_orders.total",
        "1 view carried big", "It is a program.", "CREATE …",
    ):  # fmt: skip
        assert expected in text
    facts = ada.get("/migrations/report.json", params=of_run()).json()
    assert {"kind": "index", "table": "purchase_orders", "name": "by_total"} in facts["carried"]
    target.execute("DROP SCHEMA staging_shop_1 CASCADE")
    assert "Nothing that this run made is in the target now." in shown(ada).text


# Files


def test_the_files_are_downloads_with_names_of_their_own(ada: TestClient, target: Connection) -> None:
    put_whole_run(target)
    html, facts = (ada.get(f"/migrations/report.{kind}", params=of_run()) for kind in ("html", "json"))
    named = r'attachment; filename="shop-manual__2026-03-01T10-00-00-00-00-[0-9a-f]{8}\.'
    assert re.fullmatch(named + 'html"', html.headers["content-disposition"])
    assert re.fullmatch(named + 'json"', facts.headers["content-disposition"])
    assert json.loads(facts.text)["verdict"]["label"] == "SUCCESS"
    page = Page(html.text)
    assert not [tag for tag, _ in page.elements if tag == "script"]
    assert "SUCCESS" in page.text


# What must never happen


def hostile(target: Connection, plans: Path) -> None:
    """A run in which every name and value that can come from outside is hostile."""
    plan = PLAN.model_copy(
        update={
            "title": HOSTILE.replace("\x00", ""),
            "exclude_tables": (HOSTILE,),
            "tables": {HOSTILE: TablePlan(rename="x" + HOSTILE), "lines": TablePlan()},
            "refused": (RefusedObject(kind=HOSTILE, name=HOSTILE, table=HOSTILE, reason=HOSTILE, source=HOSTILE),),
        }
    )
    put_plan(plans, plan)
    words: dict[str, Any] = {"staging": HOSTILE, "retired": HOSTILE, "live": HOSTILE, "source": HOSTILE}
    put_run(target, HOSTILE, **words, params={HOSTILE: HOSTILE}, approval={"answer": HOSTILE, "by": HOSTILE})
    put_step(target, "load", HOSTILE, run_id=HOSTILE, status="failed", message=HOSTILE)
    load = put_load(target, HOSTILE, 10, run_id=HOSTILE, loaded=7, quarantined=1, excluded=2, altered=1)
    put_verification(
        target, HOSTILE, load, run_id=HOSTILE, ok=False, differences=1, source_digest=HOSTILE,
        checks=[{"check": HOSTILE, "ok": False, "detail": HOSTILE}],
    )  # fmt: skip
    where = {"run_id": HOSTILE, "table_name": HOSTILE, "row_key": HOSTILE}
    kind = {"rule": HOSTILE, "reason": HOSTILE, "storage_class": "text"}
    value = {"column_name": HOSTILE, "value": b"\0\xff" + HOSTILE.encode()}
    state.put(target, state.quarantine, where | kind | {"column_name": HOSTILE})
    state.put(target, state.quarantined_values, where | value | {"storage_class": "text"})
    state.put(target, state.altered_values, where | kind | value | {"action": HOSTILE})
    changed = {"number": 1, "column_name": HOSTILE, "kind": HOSTILE, "source_value": HOSTILE, "target_value": "x"}
    state.put(target, state.differences, where | changed)


def test_no_name_or_value_acts_on_any_page(ada: TestClient, target: Connection, plans: Path) -> None:
    hostile(target, plans)
    more = {"table": HOSTILE, "column": HOSTILE, "rule": HOSTILE}
    visited = []
    for path, params in (
        ("", {"plan": "shop"}), ("", {"plan": HOSTILE}), ("run", of_run(HOSTILE)),
        ("quarantine", of_run(HOSTILE, **more)), ("quarantine", of_run(HOSTILE, table=HOSTILE, key=HOSTILE)),
        ("altered", of_run(HOSTILE, table=HOSTILE)), ("differences", of_run(HOSTILE, table=HOSTILE)),
        ("run", of_run(dag_id=HOSTILE)), ("run", of_run(HOSTILE + "?")), ("report.html", of_run(HOSTILE)),
    ):  # fmt: skip
        answer = ada.get(f"/migrations/{path}", params=params)
        visited.append(answer.status_code)
        page = Page(answer.text)
        tags = [tag for tag, _ in page.elements]
        assert "img" not in tags
        assert tags.count("script") == (0 if path == "report.html" else 1)
        assert not [name for _, attrs in page.elements for name in attrs if name.startswith("on")]
        assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b\u2028\u202a-\u202e]", answer.text)
        assert "&amp;49" not in page.text
        links = [attrs["href"] or "" for tag, attrs in page.elements if tag == "a"]
        assert all(re.fullmatch(r"[\x21-\x7e]+", href) and not href.startswith("javascript") for href in links)
    assert visited == [200] * 7 + [404, 404, 200]
    assert "<script>alert(1)</script>" in shown(ada, "quarantine", **of_run(HOSTILE, table=HOSTILE)).text
    file = ada.get("/migrations/report.json", params=of_run(HOSTILE))
    assert re.fullmatch(r'attachment; filename="shop-[A-Za-z0-9_-]+\.json"', file.headers["content-disposition"])


def test_every_answer_keeps_itself_to_the_one_who_asked(ada: TestClient, server: FastAPI, target: Connection) -> None:
    put_whole_run(target)
    answers = [
        ada.get("/migrations/run", params=of_run()), ada.get("/migrations/"), ada.get("/migrations/run"),
        ada.get("/migrations/report.json", params=of_run()), client(server).get("/migrations/"),
        ada.get("/migrations/nothing"),
    ]  # fmt: skip
    assert [answer.status_code for answer in answers] == [200, 200, 422, 200, 401, 404]
    nonces = set()
    for answer in answers:
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-content-type-options"] == "nosniff"
        policy = answer.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'")
        assert "unsafe" not in policy
        assert "frame-ancestors 'self'" in policy
        for tag, attrs in Page(answer.text).elements:
            if tag in ("script", "style"):
                assert f"'nonce-{attrs['nonce']}'" in policy
                nonces.add(attrs["nonce"])
            assert not {"style", "src"} & attrs.keys()
    assert len(nonces) == 5


def test_a_password_in_what_was_recorded_is_shown_nowhere(ada: TestClient, target: Connection) -> None:
    put_whole_run(target, source="postgresql://app:s3cr-et@db/shop")
    put_step(target, "cut_over", status="failed", message="host=db password=s3cr-et refused")
    for path in ("run", "report.html", "report.json"):
        answer = ada.get(f"/migrations/{path}", params=of_run())
        assert (answer.status_code, "s3cr-et" in answer.text) == (200, False)


@pytest.mark.parametrize("path", ["run", "", "quarantine", "altered", "differences", "nothing"])
def test_pages_are_accessible_in_their_basics(ada: TestClient, target: Connection, path: str) -> None:
    put_whole_run(target)
    put_quarantined(target, "notes", 7, "body", b"a\0b")
    html = ada.get(f"/migrations/{path}", params=of_run(table="notes") if path else {}).text
    page = Page(html)
    names = [name for name, _ in page.elements]
    assert ("html", {"lang": "en"}) in page.elements
    assert [names.count(n) for n in ("main", "h1", "title")] == [1, 1, 1]
    assert names.count("table") == names.count("caption")
    assert all(attrs.get("scope") in ("row", "col") for name, attrs in page.elements if name == "th")
    ids = [attrs["id"] for _, attrs in page.elements if "id" in attrs]
    assert len(ids) == len(set(ids))
    labelled = {attrs["aria-labelledby"] for _, attrs in page.elements if "aria-labelledby" in attrs}
    assert labelled <= set(ids)
    assert all(attrs.get("tabindex") == "0" for _, attrs in page.elements if attrs.get("class") == "scroll")
