"""Airflow's assets of a migration, by which other DAGs follow it: ``schedule=[Asset("migration://<plan>/cut_over")]``.

A cut-over emits ``migration://<plan>/cut_over``, and the rollback of one ``migration://<plan>/rollback``; both also
``postgres://host:port/database/schema/table`` for every table of the plan. Each event's extra names the run. A
rehearsal, and whatever fails, emits nothing.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from airflow.sdk import Asset, AssetAlias

from migration.job import Job


def live_tables(plan_name: str) -> AssetAlias:
    """What a task declares as outlet: no file of a DAG knows where the target is, so the assets are named when it
    runs."""
    return AssetAlias(f"live_tables_of_{plan_name}")


def emit(outlet_events: Any, job: Job, what: str) -> None:
    """Events of the plan and its tables, once the running task has succeeded. ``what``: cut_over or rollback."""
    from psycopg.conninfo import conninfo_to_dict

    target = conninfo_to_dict(job.target)
    host = quote(str(target.get("host") or "localhost"), safe="")
    database = f"postgres://{host}:{target.get('port') or 5432}/{quote(str(target.get('dbname') or ''), safe='')}"
    names = [(job.plan.live_schema, job.plan.target_table(table)) for table in job.plan.tables]
    tables = ["/".join([database, *(quote(part, safe="") for part in name)]) for name in names]
    for uri in (f"migration://{job.plan.name}/{what}", *tables):
        outlet_events[live_tables(job.plan.name)].add(Asset(uri), extra={"plan": job.plan.name, "run_id": job.run_id})
