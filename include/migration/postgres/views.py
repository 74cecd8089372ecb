"""The plan's views: made in the staging schema when its tables are complete, and gone before one of these changes."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from typing import Any

import psycopg
from psycopg import sql

from migration.errors import TargetError
from migration.job import Job
from migration.plan import Plan
from migration.postgres import state
from migration.postgres.target import path


@dataclass(frozen=True)
class View:
    """A view as it is: its object id, and the sha256 of its columns, definition and options without schema names."""

    oid: int
    shape: str


def targets(plan: Plan) -> list[str]:
    """The views' names in the target, in the order in which they are created."""
    return [plan.target_view(v) for v in plan.views]


def create(connection: psycopg.Connection[Any], plan: Plan, schema: str) -> None:
    """Create the plan's views in ``schema``; the caller commits. TargetError names the view that fails."""
    for name, view in plan.views.items():
        try:
            with connection.transaction(), path(connection, schema):
                connection.execute(view.create.encode())
        except psycopg.errors.ProgrammingError as error:
            raise TargetError(
                f"View {name} cannot be created: {error.diag.message_primary}. Mend it in the plan, or take it out, "
                "then clear this task."
            ) from error
    if lacking := set(targets(plan)) - described_views(connection, schema, targets(plan)).keys():
        raise TargetError(
            f"The statements of the plan's views create no {', '.join(sorted(lacking))} in {schema}. Mend them in the "
            "plan, then clear this task."
        )


_DESCRIBED = """
    SELECT c.relname, c.oid::bigint, concat_ws(' ', pg_get_viewdef(c.oid), c.reloptions::text,
      (SELECT string_agg(format('%%I %%s', attname, format_type(atttypid, atttypmod)), ', ' ORDER BY attnum)
       FROM pg_attribute WHERE attrelid = c.oid AND attnum > 0))
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = %s AND c.relname = ANY(%s) AND c.relkind = 'v'
"""


def described_views(connection: psycopg.Connection[Any], schema: str, names: list[str]) -> dict[str, View]:
    """Those of the views ``names`` that ``schema`` holds."""
    with connection.transaction(), path(connection, schema):
        rows = connection.execute(_DESCRIBED, [schema, names]).fetchall()
    return {name: View(oid, hashlib.sha256(text.encode()).hexdigest()) for name, oid, text in rows}


def staged(run: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """What the run's row says of the views that it made: oid, shape, and the digest of their part of the plan."""
    return {name: made for name, made in (run["staged"] or {}).items() if isinstance(made, dict)}


def make(connection: psycopg.Connection[Any], job: Job) -> list[str]:
    """Create the staged views, which must not be there (:func:`drop`), and record them; the caller commits."""
    create(connection, job.plan, job.staging)
    run, made = state.run(connection, job.run_id), described_views(connection, job.staging, targets(job.plan))
    tables = {name: oid for name, oid in run["staged"].items() if name not in staged(run)}
    views = {
        job.plan.target_view(v): asdict(made[job.plan.target_view(v)]) | {"plan_digest": digest(job.plan, v)}
        for v in job.plan.views
    }
    state.update(connection, state.runs, {"staged": tables | views}, run_id=job.run_id)
    return list(views)


def digest(plan: Plan, view: str) -> str:
    """sha256 of a view's part of the plan."""
    return hashlib.sha256(plan.views[view].model_dump_json().encode()).hexdigest()


def drop(connection: psycopg.Connection[Any], run: dict[str, Any]) -> None:
    """Drop those views of the run that its staging schema holds; the caller commits.

    In a transaction of its own, before tables are touched: others who drop tables would wait for its end.
    TargetError when something that no run made uses them.
    """
    found = connection.execute(
        "SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
        " WHERE n.nspname = %s AND c.oid::bigint = ANY(%s) AND c.relkind = 'v'",
        [run["staging"], [view["oid"] for view in staged(run).values()]],
    ).fetchall()
    if not found:
        return
    # One statement for all, since some read others. IF EXISTS: another load may have dropped them by now.
    names = sql.SQL(", ").join(sql.Identifier(run["staging"], name) for (name,) in found)
    try:
        connection.execute(sql.SQL("DROP VIEW IF EXISTS {}").format(names))
    except psycopg.errors.DependentObjectsStillExist as error:
        raise TargetError(
            f"The views in schema {run['staging']} cannot be replaced, because objects that no run created use them: "
            f"{'; '.join((error.diag.message_detail or '').splitlines())}. Drop these, then clear this task."
        ) from error


def changed(connection: psycopg.Connection[Any], run: dict[str, Any]) -> list[str]:
    """Which of the run's views in its staging schema somebody has given another definition."""
    present, made = described_views(connection, run["staging"], list(staged(run))), staged(run)
    return [name for name, there in present.items() if there.shape != made[name]["shape"]]


def faults(connection: psycopg.Connection[Any], job: Job, run: dict[str, Any], schema: str) -> list[str]:
    """How the views in ``schema`` differ from those that the run made by this plan."""
    made, advice = staged(run), "clear the finish_schema task"
    present = described_views(connection, schema, list(made))
    left = sorted(made.keys() - set(targets(job.plan)))
    found = [f"view {v} is staged, but not in the plan any more: {advice}" for v in left]
    for view in job.plan.views:
        known = made.get(job.plan.target_view(view))
        there = present.get(job.plan.target_view(view))
        if known is None or there is None or there.oid != known["oid"]:
            found.append(f"view {view}: not in {schema} as finish_schema made it: {advice}")
        elif there.shape != known["shape"]:
            found.append(f"view {view}: changed after finish_schema: {advice}")
        elif known["plan_digest"] != digest(job.plan, view):
            found.append(f"view {view}: its part of the plan was changed after finish_schema: {advice}")
    return found
