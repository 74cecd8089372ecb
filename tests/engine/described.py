"""Plans that describe their target, for tests.

plan = described({"t": {"columns": {"id": "integer!", "v": "text"}, "primary_key": "id"}})
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from migration.job import Job, Params
from migration.load.table import load_table
from migration.plan import Plan
from migration.postgres.schema import finish_schema
from migration.verify import verify_table
from tests.engine.staged import CUT_OVER
from tests.engine.support import RUN, begin


def described(tables: Mapping[str, Mapping[str, Any]], views: Mapping[str, str] | None = None, **others: Any) -> Plan:
    """A plan without models. A column may be its type alone, with ``!`` for NOT NULL; a key may be its columns."""
    parts = {}
    for name, part in tables.items():
        columns = {c: _column(p) if isinstance(p, str) else p for c, p in part["columns"].items()}
        part = {**part, "columns": columns}
        if isinstance(key := part.get("primary_key"), str):
            part["primary_key"] = {"name": f"{name}_pkey", "columns": [c.strip() for c in key.split(",")]}
        parts[name] = part
    made = {name: {"create": create} for name, create in (views or {}).items()}
    return Plan.model_validate(
        {"name": "shop", "title": "The shop", "source": "s", "target": "t", "tables": parts, "views": made} | others
    )


def _column(text: str) -> dict[str, Any]:
    return {"type": text.removesuffix("!"), "not_null": text.endswith("!")}


def key(parent: str, *columns: str, to: tuple[str, ...] = ("id",), **others: Any) -> dict[str, Any]:
    """A foreign key."""
    return {"columns": list(columns), "table": parent, "parent_columns": list(to), **others}


def run(source: Path, dsn: str, plan: Plan, run_id: str = RUN, params: Params = CUT_OVER) -> Job:
    """A run that has its snapshot and its empty tables."""
    return begin(Job(plan, run_id, dsn, source, source.parent / "home", params))


def finish(job: Job) -> Job:
    """Load, finish and verify all of it."""
    for level in job.plan.levels:
        for table in level:
            load_table(job, table)
    finish_schema(job)
    for table in job.plan.tables:
        verify_table(job, table)
    return job
