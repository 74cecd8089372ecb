"""Nothing of the report is served to somebody whom Airflow does not know, or who may not see the DAG."""

from __future__ import annotations

import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute
from starlette.testclient import TestClient

from report_site.app import create_app
from tests.engine.crafted import RUN, Connection, put_run, put_whole_run
from tests.plugin.conftest import client, of_run, put_dag_run, token

ROUTES = [route for route in create_app().routes if isinstance(route, APIRoute)]
OF_A_RUN = [route for route in ROUTES if route.path != "/"]


def test_the_site_has_no_route_but_those_that_are_walked_here() -> None:
    app = create_app()
    assert app.routes == ROUTES
    assert {method for route in ROUTES for method in route.methods} == {"GET"}
    assert {route.path for route in ROUTES} == {
        "/", "/run", "/report.html", "/report.json", "/quarantine", "/altered", "/differences",
    }  # fmt: skip


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.path)
def test_every_page_is_refused_to_somebody_who_is_not_logged_in(
    server: FastAPI, target: Connection, route: APIRoute
) -> None:
    put_whole_run(target)
    answers = [
        client(server).get(f"/migrations{route.path}", params=of_run(table="orders")),
        client(server, Authorization="Bearer ").get(f"/migrations{route.path}", params=of_run(table="orders")),
        client(server).get(f"/migrations{route.path}"),
    ]
    for answer in answers:
        assert answer.status_code == 401
        assert "You are not logged in" in answer.text
        assert "orders" not in answer.text
    forged = client(server, Authorization=f"Bearer {token('ada')[:-6]}AAAAAA")
    assert forged.get(f"/migrations{route.path}", params=of_run(table="orders")).status_code in (401, 403)


@pytest.mark.parametrize("route", OF_A_RUN, ids=lambda route: route.path)
def test_every_page_of_a_run_is_refused_to_somebody_who_may_not_see_its_dag(
    server: FastAPI, target: Connection, route: APIRoute
) -> None:
    put_whole_run(target)
    refused = client(server, "bob").get(f"/migrations{route.path}", params=of_run(table="orders"))
    assert refused.status_code == 403
    assert "orders" not in refused.text
    for dag_id in ("migrate_shop&dag_id=migrate_other", "", "~"):
        address = f"/migrations{route.path}?run_id={RUN.replace('+', '%2B')}&table=orders&dag_id={dag_id}"
        assert client(server, "bob").get(address).status_code in (403, 404)
    assert client(server, "ada").get(f"/migrations{route.path}", params=of_run(table="orders")).status_code == 200


@pytest.mark.parametrize("route", OF_A_RUN, ids=lambda route: route.path)
def test_a_run_of_another_plan_is_not_shown_by_way_of_a_dag_that_one_may_see(
    server: FastAPI, target: Connection, route: APIRoute
) -> None:
    put_whole_run(target)
    answer = client(server, "bob").get(
        f"/migrations{route.path}", params=of_run(dag_id="migrate_other", table="orders")
    )
    assert answer.status_code == 404
    assert "orders" not in answer.text


def test_the_cookie_of_the_ui_and_a_bearer_token_are_both_let_in(server: FastAPI, target: Connection) -> None:
    put_whole_run(target)
    with_cookie = client(server, "ada").get("/migrations/run", params=of_run())
    with_token = client(server, Authorization=f"Bearer {token('ada')}").get("/migrations/run", params=of_run())
    assert (with_cookie.status_code, with_token.status_code) == (200, 200)


def test_the_list_shows_only_runs_of_plans_that_one_may_see(server: FastAPI, target: Connection) -> None:
    put_whole_run(target)
    put_run(target, "of the other", plan="other")
    seen = {name: client(server, name).get("/migrations/").text for name in ("ada", "bob", "root")}
    assert [RUN in seen[n] for n in ("ada", "bob", "root")] == [True, False, True]
    assert ["of the other" in seen[n] for n in ("ada", "bob", "root")] == [False, True, True]
    narrowed = client(server, "ada").get("/migrations/", params={"plan": "other"}).text
    assert "of the other" not in narrowed


def test_a_rollback_shows_the_run_that_its_form_names_to_those_who_may_see_that(
    server: FastAPI, target: Connection
) -> None:
    put_whole_run(target)
    put_dag_run("rollback_shop", "undo", run_id=RUN)
    put_dag_run("replay_shop", "newest", run_id="")
    shown = client(server, "ada").get("/migrations/run", params=of_run("undo", "rollback_shop"))
    assert (shown.status_code, RUN in shown.text, "SUCCESS" in shown.text) == (200, True, True)
    unnamed = client(server, "ada").get("/migrations/run", params=of_run("newest", "replay_shop"))
    assert (unnamed.status_code, "took the newest run" in unnamed.text) == (404, True)
    assert client(server, "bob").get("/migrations/run", params=of_run("undo", "rollback_shop")).status_code == 403


def test_a_rollback_that_one_may_see_does_not_open_a_migration_that_one_may_not(
    server: FastAPI, target: Connection
) -> None:
    put_run(target, "r", plan="shop2")
    put_dag_run("rollback_shop2", "undo_another", run_id="r")
    assert (
        client(server, "bob").get("/migrations/run", params=of_run("undo_another", "rollback_shop2")).status_code == 403
    )


def test_a_dag_that_airflow_does_not_know_opens_nothing(server: FastAPI, target: Connection) -> None:
    put_run(target, "r", plan="deleted")
    answer = client(server, "ada").get("/migrations/run", params=of_run("r", "migrate_deleted"))
    assert (answer.status_code, "Airflow knows no DAG" in answer.text) == (404, True)


def test_a_run_of_any_other_dag_has_a_sentence(ada: TestClient) -> None:
    answer = ada.get("/migrations/run", params=of_run(dag_id="nightly"))
    assert (answer.status_code, "This DAG is no migration" in answer.text) == (404, True)
    as_json = ada.get("/migrations/run", params=of_run(dag_id="nightly"), headers={"Accept": "application/json"})
    assert as_json.json() == {"detail": "This DAG is no migration, so its runs have no migration report."}
