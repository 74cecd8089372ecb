"""Pages of 400 tables and 200,000 quarantined rows: as many statements and as large as with a handful."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import psycopg
import pytest
from starlette.testclient import TestClient

from migration.plan import Plan, TablePlan
from tests.engine.crafted import PLAN, RUN, Connection, put_run
from tests.plugin.conftest import of_run, put_plan

TABLES, ROWS = 400, 200_000
BIG = PLAN.model_copy(update={"tables": {f"table {n}": TablePlan() for n in range(TABLES)}})


def fill(target: Connection, plan: Plan, rows: int) -> None:
    """A run in which all is loaded and verified but ``rows`` in the quarantine."""
    put_run(target)
    names = list(plan.tables)
    facts = {"run": RUN, "tables": names, "each": rows // len(names)}
    for statement in (
        "INSERT INTO migration.loads (run_id, table_name, load_id, plan_digest, form_digest, xids, source_rows, loaded,"
        " quarantined, excluded, altered, bytes, seconds, indexed_at) SELECT %(run)s, t, gen_random_uuid(), '', '',"
        " '[1]', %(each)s + 10, 10, %(each)s, 0, 0, 100, 1, now() FROM unnest(%(tables)s::text[]) t",
        "INSERT INTO migration.verifications SELECT run_id, table_name, load_id, true, loaded, 50, repeat('a', 64),"
        ' repeat(\'a\', 64), 0, \'[{"check": "row counts", "ok": true, "detail": "10"}]\', 1, now()'
        " FROM migration.loads",
        "INSERT INTO migration.steps SELECT %(run)s, s, t, 'done', NULL, now(), now()"
        " FROM unnest(%(tables)s::text[]) t, unnest('{load,verify}'::text[]) s",
        "INSERT INTO migration.quarantine SELECT %(run)s, t, '[' || n || ']', 'body', 'text', 'nul', 'It holds a NUL.'"
        " FROM unnest(%(tables)s::text[]) t, generate_series(1, %(each)s) n",
        "INSERT INTO migration.quarantined_values SELECT %(run)s, table_name, row_key, c, 'text', 'a\\000b'"
        " FROM migration.quarantine, unnest('{id,body}'::text[]) c",
        "ANALYZE",
    ):
        target.execute(statement.encode(), facts if "%(" in statement else None)


@pytest.fixture
def statements(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Every statement that goes to a target."""
    seen: list[Any] = []
    execute = psycopg.Cursor.execute

    def counting(self: Any, query: Any, *args: Any, **options: Any) -> Any:
        seen.append(query)
        return execute(self, query, *args, **options)

    monkeypatch.setattr(psycopg.Cursor, "execute", counting)
    return seen


def test_pages_stay_small_and_ask_little_however_much_there_is(
    ada: TestClient, target: Connection, plans: Path, statements: list[Any]
) -> None:
    def visit(table: str) -> dict[str, tuple[int, int]]:
        found = {}
        for path, params in (
            ("", {"plan": "shop"}), ("run", of_run()), ("report.json", of_run()),
            ("quarantine", of_run(table=table)), ("quarantine", of_run(table=table, column="body", rule="nul")),
        ):  # fmt: skip
            statements.clear()
            answer = ada.get(f"/migrations/{path}", params=params)
            assert answer.status_code == 200
            found[f"{path} {len(params)}"] = len(statements), len(answer.content)
        return found

    fill(target, PLAN, 300)
    small = visit("orders")
    for table in ("steps", "quarantined_values", "quarantine", "verifications", "loads", "runs"):
        target.execute(f"DELETE FROM migration.{table}".encode())
    put_plan(plans, BIG)
    fill(target, BIG, ROWS)
    big = visit("table 7")
    assert {path: count for path, (count, _) in big.items()} == {path: count for path, (count, _) in small.items()}
    assert max(count for count, _ in big.values()) < 25
    sizes = {path: size for path, (_, size) in big.items()}
    assert sizes["run 2"] < TABLES * 3_000
    assert sizes["report.json 2"] < TABLES * 4_000
    assert max(size for path, size in sizes.items() if path not in ("run 2", "report.json 2")) < 150_000
