"""Reads plans and their targets for the pages, as they are now: nothing is written, nothing waits long."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import psycopg

from glue import bridge
from migration.errors import MigrationError, PlanError, masked
from migration.plan import Plan, plan_path, read_plan

CONNECT_SECONDS = 5
SETTINGS = "-c default_transaction_read_only=on -c statement_timeout=20s -c timezone=GMT -c client_min_messages=warning"

log = logging.getLogger("migration")


class Unreadable(Exception):
    """A target cannot be read now; the message is for everybody, the log has the rest."""


def plan_named(name: str) -> Plan:
    """The plan, or one without tables in the place of a plan that cannot be read any more."""
    path = plan_path(name)
    try:
        return _read(path, path.stat().st_mtime_ns)
    except (OSError, PlanError):
        return Plan.model_construct(name=name, title=name, source="", target=f"{name}_target", tables={})


@lru_cache(maxsize=64)  # a plan of 400 tables takes half a second to read
def _read(path: Path, _changed: int) -> Plan:
    return read_plan(path)


def dsn_of(plan: Plan) -> str:
    """How to connect to the plan's target; Unreadable when no connection leads there."""
    try:
        return bridge.target_of(plan)
    except MigrationError as error:
        raise Unreadable(str(error)) from error


@contextmanager
def connected(dsn: str, what: str) -> Iterator[psycopg.Connection[Any]]:
    """A connection that only reads, for one request; Unreadable names ``what`` cannot be read."""
    try:
        with psycopg.connect(
            dsn, connect_timeout=CONNECT_SECONDS, options=SETTINGS, application_name="migration: report page",
            client_encoding="UTF8", autocommit=True,
        ) as connection:  # fmt: skip
            yield connection
    except psycopg.errors.QueryCanceled as error:
        raise Unreadable(f"{what} took too long to answer. Try again later.") from error
    except psycopg.Error as error:
        log.warning("%s cannot be read: %s", what, masked(str(error)))
        raise Unreadable(f"{what} cannot be read now. The log of Airflow's API server says why.") from error
