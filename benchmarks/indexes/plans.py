"""The statements that an operation sends, and how PostgreSQL answers them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql
from sqlalchemy import event

from widgettdc.database import Unit


@dataclass(frozen=True)
class Statement:
    """A statement as the driver takes it."""

    text: str
    values: Any


@dataclass(frozen=True)
class Plan:
    """How a statement is answered. `milliseconds`, `pages` and `rows` are None when it was not executed."""

    words: str
    """The indexes by which rows are found, in short, without those of the subselects."""
    indexes: frozenset[str]
    """All indexes of the plan."""
    milliseconds: float | None
    pages: int | None
    """Of 8 KiB, read from memory or disk."""
    rows: int | None


def statements(unit: Unit, act: Callable[[Unit], object]) -> list[Statement]:
    """What the repositories send for it."""
    found: list[Statement] = []

    def note(connection: object, cursor: object, text: str, values: Any, *others: object) -> None:
        found.append(Statement(text, values))

    event.listen(unit.connection, "before_cursor_execute", note)
    act(unit)
    event.remove(unit.connection, "before_cursor_execute", note)
    return found


def explain(connection: psycopg.Connection[Any], statement: Statement, *, execute: bool = True) -> Plan:
    """The plan for these very values."""
    how = "EXPLAIN (FORMAT JSON, ANALYZE, BUFFERS) " if execute else "EXPLAIN (FORMAT JSON) "
    return _plan(connection.execute((how + statement.text).encode(), statement.values, prepare=False))


def explain_for_any(connection: psycopg.Connection[Any], statement: Statement) -> Plan:
    """The plan that a prepared statement has once PostgreSQL plans it for any values, executed with these."""
    names = list(statement.values)
    body = statement.text % {name: f"${number}" for number, name in enumerate(names, 1)}
    types = sql.SQL(", ").join([sql.SQL("unknown")] * len(names))
    given = sql.SQL(", ").join([sql.Literal(statement.values[name]) for name in names])
    with connection.transaction(force_rollback=True):
        connection.execute("SET LOCAL plan_cache_mode = force_generic_plan")
        connection.execute(sql.SQL("PREPARE any_values ({}) AS {}").format(types, sql.SQL(body)))
        found = _plan(
            connection.execute(sql.SQL("EXPLAIN (FORMAT JSON, ANALYZE, BUFFERS) EXECUTE any_values ({})").format(given))
        )
    connection.execute("DEALLOCATE any_values")
    return found


def _plan(cursor: psycopg.Cursor[Any]) -> Plan:
    ((((whole, *_),),)) = cursor.fetchall()
    root = whole["Plan"]
    main = list(_nodes(root, subplans=False))
    words = [_word(node) for node in main if "Index Name" in node or node["Node Type"] in ("Seq Scan", "Sort")]
    return Plan(
        ", ".join(dict.fromkeys(words)),
        frozenset(node["Index Name"] for node in _nodes(root, subplans=True) if "Index Name" in node),
        whole.get("Execution Time"),
        root["Shared Hit Blocks"] + root["Shared Read Blocks"] if "Shared Hit Blocks" in root else None,
        root.get("Actual Rows"),
    )


def _nodes(node: dict[str, Any], *, subplans: bool) -> Iterator[dict[str, Any]]:
    yield node
    for child in node.get("Plans", []):
        if subplans or child.get("Parent Relationship") != "SubPlan":
            yield from _nodes(child, subplans=subplans)


def _word(node: dict[str, Any]) -> str:
    match node["Node Type"]:
        case "Seq Scan":
            return f"all of {node['Relation Name']}"
        case "Sort":
            return "sort"
    backwards = ", backwards" if node.get("Scan Direction") == "Backward" else ""
    return f"{node['Index Name']}{backwards}"
