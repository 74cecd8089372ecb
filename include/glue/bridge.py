"""Turns what Airflow knows (connections, params, the run) into the engine's Job, and answers back.

The only module that knows both sides. Imports of the engine's heavier parts stay inside the functions: the DAG
file that imports this is parsed every few seconds.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseHook, ExceptionRetryPolicy, RetryAction, RetryRule, get_current_context
from airflow.sdk.exceptions import AirflowNotFoundException

from glue.telling import Ended, EndedForNow, measured, told
from migration.plan import plan_path, read_plan

log = logging.getLogger("migration")

if TYPE_CHECKING:
    from migration.job import Job, Params
    from migration.plan import Plan

COPY_POOL = os.environ.get("MIGRATION_COPY_POOL", "postgres_copy")
"""The pool that bounds how many tasks load or verify at a time."""

ANY_TARGET = "migration_target"
"""The connection of every plan whose own target connection is not defined."""

RETRIES = 3
# Trouble with a connection, a lock or a resource is tried again; what the source, the plan or the target says is not.
FAULTS_OF_THE_PROGRAM: list[type[BaseException] | str] = [
    ImportError,
    SyntaxError,
    NameError,
    AttributeError,
    TypeError,
    LookupError,
]
RETRY_POLICY = ExceptionRetryPolicy(
    rules=[
        RetryRule(exception=[EndedForNow, "migration.errors.TransientError"], action=RetryAction.RETRY),
        RetryRule(exception=[Ended, "migration.errors.MigrationError"], action=RetryAction.FAIL),
        RetryRule(exception=FAULTS_OF_THE_PROGRAM, action=RetryAction.FAIL),
    ]
)
TASK_DEFAULTS: dict[str, Any] = {
    "retries": RETRIES,
    "retry_policy": RETRY_POLICY,
    "retry_delay": timedelta(seconds=5),
    "retry_exponential_backoff": 2,
    "max_retry_delay": timedelta(minutes=2),
    "show_return_value_in_logs": False,  # the last line is a step's own
}


def target_of(plan: Plan) -> str:
    """How to connect to the plan's target, in a task as in the API server; TargetError without a connection."""
    from migration.errors import TargetError

    for connection_id in (plan.target, ANY_TARGET):
        if (dsn := _dsn(connection_id)) is not None:
            return dsn
    raise TargetError(
        f"The connection {plan.target} to the database to fill is not defined, and neither is {ANY_TARGET}, which "
        f"serves every plan without one of its own. Define it under Admin → Connections (type postgres), or by "
        f"airflow connections add {plan.target} --conn-uri postgresql://user:password@host:5432/database"
    )


def _dsn(connection_id: str) -> str | None:
    """The connection as libpq's string; None when it is not defined."""
    from psycopg.conninfo import make_conninfo

    try:
        connection = BaseHook.get_connection(connection_id)
    except AirflowNotFoundException:
        return None
    parts = {
        "host": connection.host,
        "port": connection.port,
        "user": connection.login,
        "password": connection.password,
        "dbname": connection.schema,
    }
    options = {k: v for k, v in connection.extra_dejson.items() if k.startswith("ssl")}
    return make_conninfo(**{k: v for k, v in (parts | options).items() if v})


def job(plan_name: str, *, run_id: str | None = None) -> Job:
    """The job of the running task; ``run_id`` names another run, as a rollback does."""
    from glue import store
    from migration.job import Job, Params

    context = get_current_context()
    given = context["params"]
    plan = read_plan(plan_path(plan_name))
    params = Params(**{k: given[k] for k in Params.__dataclass_fields__ if k in given}) if "mode" in given else Params()
    return Job(
        plan=plan,
        run_id=run_id or context["run_id"],
        target=target_of(plan),
        source=_source(plan),
        home=_home(),
        params=params,
        fetch=store.fetch,
        measured=measured(plan.name),
    )


def _home() -> Path:
    home = os.environ.get("MIGRATION_HOME") or f"{os.environ.get('AIRFLOW_HOME', '~/airflow')}/migration"
    return Path(home).expanduser()


def _source(plan: Plan) -> Path:
    from migration.errors import SourceError

    if plan.source.startswith("/"):
        return Path(plan.source)
    try:
        host = BaseHook.get_connection(plan.source).host
    except AirflowNotFoundException:
        raise SourceError(
            f"The connection {plan.source} to the database to move is not defined. Define it under Admin → Connections "
            "(type sqlite, the file's path as host), or name the file's absolute path as the plan's source."
        ) from None
    if not host:
        raise SourceError(
            f"The connection {plan.source} names no file: put the SQLite database's path into its host field."
        )
    return Path(host)


@told()
def check_plan(plan_name: str) -> None:
    """Read the plan; PlanError says what is wrong with it."""
    read_plan(plan_path(plan_name))


@told()
def run_step(plan_name: str, function: str, *tables: str) -> dict[str, Any]:
    """Run a step of the engine by name for the current DAG run, for these tables if it is one of tables; its figures
    become the task's XCom."""
    from migration import steps

    if function in SPECIAL:
        return SPECIAL[function](job(plan_name))
    chosen: Callable[..., dict[str, Any]] = getattr(steps, function)
    return steps.for_tables(chosen, job(plan_name), tables) if tables else chosen(job(plan_name))


@told()
def cut(plan_name: str, table: str) -> list[dict[str, Any]]:
    """Divide a table into ranges; each becomes a task, with its number and its name for people."""
    from migration import steps

    return steps.cut(job(plan_name), table)


@told()
def load_range(plan_name: str, table: str, part: dict[str, Any]) -> dict[str, Any]:
    """Load one of the ranges that :func:`cut` gave."""
    from migration import steps

    return steps.load_range(job(plan_name), table, part["number"])


def _preflight(current: Job) -> dict[str, Any]:
    from glue import notices
    from migration import steps

    notices.check()
    return steps.preflight(current)


def _back_up(current: Job) -> dict[str, Any]:
    """The step backup, with the snapshot then in the store if there is one."""
    from glue import store
    from migration import steps

    store.fetch_earlier(current)
    figures = steps.backup(current)
    store.keep_snapshot(current)
    return figures


def _cut_over(current: Job) -> dict[str, Any]:
    from glue import assets
    from migration import steps

    figures = steps.cut_over(current)
    assets.emit(get_current_context()["outlet_events"], current, "cut_over")
    return figures


SPECIAL: dict[str, Callable[[Job], dict[str, Any]]] = {
    "preflight": _preflight,
    "backup": _back_up,
    "cut_over": _cut_over,
}
"""The steps to which Airflow adds something of its own."""


@told()
def assess_source() -> dict[str, Any]:
    """Assess the file that the form names: writes its plan, whose DAGs appear when this folder is next read."""
    from glue import store
    from migration.assess import assess

    given = get_current_context()["params"]
    found = assess(
        Path(given["source"]), _home(), name=given["name"] or None, target=_dsn(ANY_TARGET), replace=given["replace"]
    )
    log.info("\n%s", found.text)
    log.info("Grade %s. Plan: %s. Report: %s", found.grade, found.plan_path, found.files["html"])
    store.keep_assessment(found.plan.name, found.files.values())
    return {
        "grade": found.grade,
        "dag": f"migrate_{found.plan.name}",
        "plan": str(found.plan_path),
        "report": str(found.files["html"]),
    }


@told()
def next_step(plan_name: str) -> str:
    """After verification: the id of the task that follows. Leaves a summary for the approval's dialog."""
    from migration import steps

    current = job(plan_name)
    get_current_context()["ti"].xcom_push(key="summary", value=steps.summary(current))
    return following(current.params)


def following(params: Params) -> str:
    """Which task follows the verification: a pure decision."""
    if params.mode == "rehearsal":
        return "report"
    return "cut_over" if params.approval == "given" else "approve"


@told()
def write_report(plan_name: str) -> dict[str, Any]:
    """Print and write the report; fails when the migration is no success, so that the run ends failed. Returns the
    verdict in words."""
    from glue import store
    from migration import steps

    current = job(plan_name)
    try:
        verdict = steps.require_success(current)
        return {"status": verdict.status, "summary": verdict.summary}
    finally:
        store.keep_report(current)


@told()
def look(plan_name: str) -> str:
    """What a rollback of the run that the form names would do, left for the question; the id of the task that
    follows."""
    from migration import report, steps
    from migration.words import visible

    context = get_current_context()
    given = context["params"]
    run_id = given["run_id"] or steps.newest_cut_over(job(plan_name))
    current = steps.recorded(job(plan_name, run_id=run_id))
    outlook = steps.outlook(current)
    question, body = report.question(current.plan.title, outlook), report.undoing(outlook)
    left = {"run_id": run_id, "versions": dict(outlook.versions), "question": question, "body": body}
    for key, value in left.items():
        context["ti"].xcom_push(key=key, value=value)
    for line in (question, *map(str, outlook.writes)):
        log.info("look: %s", visible(line))
    return "roll_back" if given["approval"] == "given" else "confirm"


@told()
def roll_back(plan_name: str) -> dict[str, Any]:
    """Undo the run that was looked at, with the writes that somebody confirmed."""
    from glue import assets
    from migration import steps

    context = get_current_context()
    given = context["params"]
    run_id, versions = (context["ti"].xcom_pull(task_ids="look", key=key) for key in ("run_id", "versions"))
    current = steps.recorded(job(plan_name, run_id=run_id))
    figures = steps.rollback(
        current,
        confirm_lost_writes=given["confirm_lost_writes"],
        confirmed=versions if given["approval"] == "ask" else None,
    )
    if "set_aside" in figures:
        assets.emit(context["outlet_events"], current, "rollback")
    return figures


@told()
def run_replay(plan_name: str, function: str) -> dict[str, Any]:
    """Run a step of a replay for the run that the form names, or the newest one."""
    from migration import steps

    named = get_current_context()["params"]["run_id"]
    run_id = named or steps.newest_staged(job(plan_name))
    chosen: Callable[[Job], dict[str, Any]] = getattr(steps, function)
    return chosen(steps.recorded(job(plan_name, run_id=run_id)))
