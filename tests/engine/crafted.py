"""Crafted runs for the report's tests: state rows as the steps would have left them."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg

from migration import report
from migration.plan import ColumnPlan, Invalid, Plan, TablePlan
from migration.postgres import state

RUN = "manual__2026-03-01T10:00:00+00:00"
BEGAN = datetime(2026, 3, 1, 10, 0, 0, tzinfo=UTC)
PLAN = Plan(
    name="shop",
    title="The shop",
    models="shop.models:Base",
    source="shop_source",
    target="shop_target",
    tables={
        "orders": TablePlan(rename="purchase_orders"),
        "lines": TablePlan(load_after=("orders",), columns={"price": ColumnPlan(invalid=Invalid.ROUND)}),
        "notes": TablePlan(),
    },
)
Connection = psycopg.Connection[Any]
HOSTILE = (
    "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>&amp;{{ 7*7 }}{% raw %}"
    "\x1b[31m\x1b]0;t\x07\r\n\t\x7f\x9b2J\u202e\u2028\u200b"
)


@contextmanager
def prepared(dsn: str) -> Iterator[Connection]:
    """A connection to a target that has an empty state schema."""
    with psycopg.connect(dsn, autocommit=True, options="-c timezone=UTC") as connection:
        state.create(connection)
        yield connection


def put_run(connection: Connection, run_id: str = RUN, **changes: Any) -> None:
    facts = {
        "run_id": run_id,
        "plan": "shop",
        "mode": "cut_over",
        "status": "running",
        "params": {"mode": "cut_over", "approval": "given", "quarantine": "allow", "rows_per_block": 8192},
        "source": "/data/shop.db",
        "staging": "staging_shop_1",
        "retired": "retired_shop_1",
        "live": "public",
        "live_before": {},
        "snapshot": {"path": "/backups/1/snapshot.db", "sha256": "ab" * 32, "bytes": 1_234_567},
        "approval": None,
        "started_at": BEGAN,
    }
    state.put(connection, state.runs, facts | changes)


def put_step(
    connection: Connection, step: str, table: str = "", *, at: float = 0, took: float = 1, **changes: Any
) -> None:
    facts = {
        "run_id": RUN,
        "step": step,
        "table_name": table,
        "status": "done",
        "message": None,
        "started_at": BEGAN + timedelta(seconds=at),
        "finished_at": BEGAN + timedelta(seconds=at + took),
    }
    state.put(connection, state.steps, facts | changes)


def put_load(connection: Connection, table: str, rows: int = 100, **changes: Any) -> uuid.UUID:
    load_id = uuid.uuid4()
    facts = {
        "run_id": RUN,
        "table_name": table,
        "load_id": load_id,
        "plan_digest": PLAN.tables[table].digest if table in PLAN.tables else "0" * 64,
        "form_digest": "0" * 64,
        "xids": [4711],
        "source_rows": rows,
        "loaded": rows,
        "quarantined": 0,
        "excluded": 0,
        "altered": 0,
        "bytes": rows * 200,
        "seconds": 0.25,
        "indexed_at": BEGAN + timedelta(seconds=20),
    } | changes
    state.put(connection, state.loads, facts)
    return load_id


def put_verification(connection: Connection, table: str, load_id: uuid.UUID, rows: int = 100, **changes: Any) -> None:
    facts = {
        "run_id": RUN,
        "table_name": table,
        "load_id": load_id,
        "ok": True,
        "rows": rows,
        "values": rows * 5,
        "source_digest": "12" * 32,
        "target_digest": "12" * 32,
        "differences": 0,
        "checks": [{"check": "row counts", "ok": True, "detail": f"{rows} and {rows}"}],
        "seconds": 0.1,
    }
    state.put(connection, state.verifications, facts | changes)


def put_quarantined(connection: Connection, table: str, key: int, column: str, value: bytes, **changes: Any) -> None:
    row = {"run_id": RUN, "table_name": table, "row_key": f"[{key}]"}
    kind = changes.pop("storage_class", "text")
    facts = {
        "column_name": column,
        "storage_class": kind,
        "rule": "nul",
        "reason": "PostgreSQL text holds no NUL.",
    }
    state.put(connection, state.quarantine, row | facts | changes)
    for name, storage, held in (
        (column, kind, value),
        ("id", "integer", str(key).encode()),
        ("gone", "null", None),
    ):
        state.put(
            connection,
            state.quarantined_values,
            row | {"column_name": name, "storage_class": storage, "value": held},
        )


def put_whole_run(connection: Connection, **changes: Any) -> dict[str, uuid.UUID]:
    """A run in which everything holds; 300 rows in three tables."""
    ended: dict[str, Any] = {"status": "cut_over", "cut_over_at": BEGAN + timedelta(minutes=1)}
    put_run(connection, **ended | changes)
    for place, name in enumerate(("preflight", "backup", "create_schema", "finish_schema", "cut_over")):
        put_step(connection, name, at=10 * place)
    loads = {}
    for place, table in enumerate(PLAN.tables):
        put_step(connection, "load", table, at=21 + place)
        put_step(connection, "verify", table, at=31 + place)
        loads[table] = put_load(connection, table)
        put_verification(connection, table, loads[table])
    return loads


def gathered(connection: Connection) -> report.Report:
    return report.gather(connection, (PLAN, RUN))


def judged(connection: Connection) -> report.Verdict:
    return report.verdict(gathered(connection))


def break_load(connection: Connection, table: str, **changes: Any) -> None:
    state.update(connection, state.loads, changes, run_id=RUN, table_name=table)


def break_verification(connection: Connection, table: str, **changes: Any) -> None:
    state.update(connection, state.verifications, changes, run_id=RUN, table_name=table)


def put_many_quarantined(connection: Connection, table: str, count: int) -> None:
    facts = {"run": RUN, "table": table, "count": count}
    connection.execute(
        "INSERT INTO migration.quarantine"
        " SELECT %(run)s, %(table)s, '[' || n || ']', 'text', 'text', 'nul', 'no NUL'"
        " FROM generate_series(1, %(count)s) n",
        facts,
    )
    connection.execute(
        "INSERT INTO migration.quarantined_values"
        " SELECT %(run)s, %(table)s, '[' || n || ']', 'text', 'text', 'a\\000b'"
        " FROM generate_series(1, %(count)s) n",
        facts,
    )


def hostile_report(connection: Connection) -> report.Report:
    """A run in which every text that can come from outside is hostile."""
    plan = PLAN.model_copy(update={
        "title": HOSTILE, "exclude_tables": (HOSTILE,),
        "tables": {
            HOSTILE: TablePlan(rename="x" + HOSTILE, exclude_columns=(HOSTILE,)), "lines": TablePlan(),
        },
    })  # fmt: skip
    words: dict[str, Any] = {"staging": HOSTILE, "retired": HOSTILE, "live": HOSTILE, "source": HOSTILE}
    put_run(
        connection, **words, live_before={HOSTILE: {"rows": 3}},
        params={HOSTILE: HOSTILE}, approval={"by": HOSTILE},
        snapshot={"path": HOSTILE, "sha256": HOSTILE, "bytes": 5}, cut_over_at=BEGAN, status="cut_over",
    )  # fmt: skip
    put_step(connection, "load", HOSTILE, status="failed", message=HOSTILE)
    put_step(connection, HOSTILE, "lines", at=100, status=HOSTILE)
    load = put_load(connection, HOSTILE, 10, loaded=7, quarantined=1, excluded=2, altered=1, plan_digest=HOSTILE)
    put_verification(connection, HOSTILE, load, source_digest=HOSTILE, target_digest=HOSTILE)
    checks = json.dumps([{"check": HOSTILE, "ok": False, "detail": HOSTILE}])
    connection.execute("UPDATE migration.verifications SET checks = %s", [checks])
    put_quarantined(connection, HOSTILE, 1, HOSTILE, b"\0\xff" + HOSTILE.encode(), rule=HOSTILE, reason=HOSTILE)
    where = {"run_id": RUN, "table_name": HOSTILE, "row_key": HOSTILE, "column_name": HOSTILE}
    altered = {
        "action": HOSTILE,
        "storage_class": "text",
        "value": HOSTILE.encode(),
        "rule": HOSTILE,
        "reason": HOSTILE,
    }
    state.put(connection, state.altered_values, where | altered)
    changed = {"number": 1, "kind": HOSTILE, "source_value": HOSTILE, "target_value": "x" + HOSTILE}
    state.put(connection, state.differences, where | changed)
    return report.gather(connection, (plan, RUN))
