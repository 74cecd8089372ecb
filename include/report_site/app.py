"""The routes. Each needs a user whom Airflow knows; each but the list of all runs, one who may see that run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Annotated

from airflow.api_fastapi.core_api.security import get_user
from fastapi import APIRouter, Depends, FastAPI, HTTPException, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from pydantic import AwareDatetime
from starlette.exceptions import HTTPException as StarletteHTTPException

from migration import report
from migration.errors import MigrationError
from migration.postgres import state
from migration.report import rows
from migration.report.page import shown_facts
from migration.report.rows import Connection
from report_site import pages, runs
from report_site.access import Asked, AskedDep, PlansDep, Text, dag_runs
from report_site.reading import Unreadable, connected, dsn_of, plan_named

PAGE = 100
"""So many rows are on a page."""
WHOLE_ROW, WHOLE_HEAD = 1_600, 4_000
"""So many columns (PostgreSQL has no more), and bytes of each, of a row that is shown by itself."""

router = APIRouter()


@router.get("/")
def all_runs(
    plans: PlansDep, plan: Text | None = None, before: AwareDatetime | None = None, before_run: Text = ""
) -> Response:
    """The runs of all plans, or of one, newest first."""
    wanted = [name for name in plans if plan in (None, name)]
    found = runs.newest(wanted, (before, before_run) if before else None)
    last = found.runs[-1] if found.more else None
    return pages.page(
        "runs.html",
        pages.Site(),
        503 if found.problems and not found.read else 200,
        found=found,
        plan=plan,
        later=before is not None,
        known=dag_runs([(run.dag_id, run.run_id) for run in found.runs]),
        run_page=lambda run: pages.address("run", dag_id=run.dag_id, run_id=run.run_id),
        plan_page=lambda run: pages.address("./", plan=run.plan),
        dag_run=lambda run: pages.dag_run_address(run.dag_id, run.run_id),
        following=last and pages.address("./", plan=plan, before=last.started_at.isoformat(), before_run=last.run_id),
        newest=pages.address("./", plan=plan),
    )


@router.get("/run")
def run(asked: AskedDep) -> Response:
    """The report of a run."""
    return pages.page("page.html", _site(asked), **shown_facts(_report(asked)))


@router.get("/report.html")
def html_file(asked: AskedDep) -> Response:
    """The report as one file."""
    found = _report(asked)
    return pages.download(report.as_html(found), found, "html", "text/html; charset=utf-8")


@router.get("/report.json")
def json_file(asked: AskedDep) -> Response:
    """The facts of the report."""
    found = _report(asked)
    return pages.download(report.as_json(found), found, "json", "application/json")


@router.get("/quarantine")
def quarantine(
    asked: AskedDep,
    table: Text,
    column: Text | None = None,
    rule: Text | None = None,
    after: Text | None = None,
    key: Text | None = None,
) -> Response:
    """The quarantined rows of a table, or of them the one with the key ``key``, with all its values."""
    whole = {"columns": WHOLE_ROW, "head": WHOLE_HEAD} if key is not None else {}
    with _reading(asked) as connection:
        found = rows.quarantined(
            connection, asked.run_id, [table], after, PAGE + 1, column=column, rule=rule, key=key, **whole
        )
        kinds = rows.quarantine_kinds(connection, asked.run_id, table)
    last = {"after": found[PAGE - 1].key} if len(found) > PAGE else None
    return _rows_page("quarantine", asked, table, found[:PAGE], kinds, column, rule, last, whole=key is not None)


@router.get("/altered")
def altered(
    asked: AskedDep,
    table: Text,
    column: Text | None = None,
    rule: Text | None = None,
    after: Text | None = None,
    after_column: Text = "",
) -> Response:
    """The values of a table that crossed in another form."""
    with _reading(asked) as connection:
        begin = None if after is None else (after, after_column)
        found = rows.altered(connection, asked.run_id, [table], begin, PAGE + 1, column=column, rule=rule)
        kinds = rows.altered_kinds(connection, asked.run_id, table)
    last = {"after": found[PAGE - 1].key, "after_column": found[PAGE - 1].column} if len(found) > PAGE else None
    return _rows_page("altered", asked, table, found[:PAGE], kinds, column, rule, last)


@router.get("/differences")
def differences(
    asked: AskedDep,
    table: Text,
    column: Text | None = None,
    rule: Text | None = None,
    after: Annotated[int, Query(ge=0, lt=2**31)] = 0,
) -> Response:
    """What verification found to differ in a table."""
    with _reading(asked) as connection:
        found = rows.differences(connection, asked.run_id, [table], after, PAGE + 1, column=column, rule=rule)
        kinds = rows.difference_kinds(connection, asked.run_id, table)
    last = {"after": found[PAGE - 1].number} if len(found) > PAGE else None
    return _rows_page("differences", asked, table, found[:PAGE], kinds, column, rule, last)


def create_app() -> FastAPI:
    """The site, to be mounted in Airflow's API server."""
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None, dependencies=[Depends(get_user)])
    app.include_router(router)
    app.add_exception_handler(StarletteHTTPException, _said)
    app.add_exception_handler(RequestValidationError, _said)
    app.add_exception_handler(Unreadable, _said)
    return app


def _said(request: Request, error: Exception) -> Response:
    """An error as a page with one sentence, or as JSON for those who do not ask for a page."""
    match error:
        case StarletteHTTPException(status_code=401):
            status, sentence = (
                401,
                "You are not logged in to Airflow, or not any more. Log in, then open this page again.",
            )
        case StarletteHTTPException():
            status, sentence = error.status_code, str(error.detail)
        case Unreadable():
            status, sentence = 503, str(error)
        case _:
            status, sentence = 422, "This address is not complete, or holds something that it cannot."
    if "text/html" in request.headers.get("accept", ""):
        return pages.page("notice.html", pages.Site(), status, sentence=sentence, log_in=status == 401)
    return JSONResponse({"detail": sentence}, status, pages.HEADERS)


def _site(asked: Asked) -> pages.RunSite:
    return pages.RunSite(dag_id=asked.dag_id, run_id=asked.run_id)


@contextmanager
def _reading(asked: Asked) -> Iterator[Connection]:
    """A connection to the target that has the run, which is one of the plan that the user may see."""
    plan = plan_named(asked.plan)
    with connected(dsn_of(plan), f"The target of {plan.title}") as connection:
        try:
            if connection.execute("SELECT to_regclass('migration.runs')").fetchone() == (None,):
                raise MigrationError("No migration has begun in the target.")
            if state.run(connection, asked.run_id)["plan"] != asked.plan:
                raise MigrationError("The run is one of another plan.")
        except MigrationError as error:
            raise HTTPException(
                404, "Nothing is recorded of this run in the target: its preflight has not passed yet."
            ) from error
        yield connection


def _report(asked: Asked) -> report.Report:
    with _reading(asked) as connection:
        return report.gather(connection, (plan_named(asked.plan), asked.run_id), limit=PAGE)


def _rows_page(
    what: str,
    asked: Asked,
    table: str,
    found: tuple[object, ...],
    kinds: tuple[object, ...],
    column: str | None,
    rule: str | None,
    last: Mapping[str, str | int] | None,
    *,
    whole: bool = False,
) -> Response:
    site = _site(asked)
    return pages.page(
        "rows.html",
        site,
        what=what,
        asked=asked,
        title=plan_named(asked.plan).title,
        table=table,
        rows=found,
        kinds_found=kinds,
        column=column,
        rule=rule,
        whole=whole,
        following=last and site.page(what, table=table, column=column, rule=rule, **last),
    )
