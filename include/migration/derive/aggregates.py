"""Aggregates, window functions and the order of rows: SQLite's in PostgreSQL's words."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from sqlglot import exp

from migration.derive import operators
from migration.derive.parse import Refusal
from migration.derive.values import NULL, Native, Value, as_text, integer, literal, number, of_native, refused

if TYPE_CHECKING:
    from migration.derive.expressions import Expressions

AGGREGATES = ("count", "sum", "total", "avg", "min", "max", "group_concat", "string_agg")
RANKS = ("row_number", "rank", "dense_rank", "lag", "lead", "first_value", "last_value")

SUMS = "sums of reals may differ in their last digits, which depend on the order of the rows"
ORDERLESS = "group_concat() joins its values in an order that neither database promises"


def cell(value: Value) -> str:
    """``value`` as a column of a result: as stored, conditions being 0 and 1."""
    if value.kind == "json":
        raise Refusal("a JSON value, whose kind differs from row to row, is a column of the result")
    if value.computed:
        return value.sql
    return integer(value).sql if value.kind == "bool" and not value.affinity else value.stored.sql


def grouped(value: Value) -> str:
    """``value`` where rows are grouped by it: both databases must take the same values as equal."""
    if value.kind in ("other", "json"):
        raise Refusal(value.why or "rows are grouped by a JSON value")
    if value.kind == "text" and value.collation not in ("", "BINARY"):
        raise Refusal(f"rows are grouped under COLLATE {value.collation}")
    return cell(value)


def ordering(value: Value, part: exp.Expr) -> str:
    """One term of ORDER BY."""
    if value.kind == "text" and not (value.native and not value.computed):
        sql = operators.collated(value, value.collation or "BINARY")
    else:
        sql = value.stored.sql
    return (
        f"{sql}{' DESC' if part.args.get('desc') else ''} NULLS {'FIRST' if part.args.get('nulls_first') else 'LAST'}"
    )


def aggregate(compiler: Expressions, node: exp.Expr, tail: str) -> Value:
    """A call of one of AGGREGATES or RANKS, followed by ``tail`` (FILTER, OVER)."""
    name, arguments, distinct = node.name.lower(), list(node.expressions), ""
    if arguments and isinstance(arguments[0], exp.Distinct):
        arguments, distinct = arguments[0].expressions, "DISTINCT "
    if any(isinstance(a, exp.Order) for a in arguments):
        raise Refusal(f"an aggregate with ORDER BY: {node.sql('sqlite')}")
    if name == "count" and (not arguments or isinstance(arguments[0], exp.Star)):
        return Value("int", f"count(*){tail}", "bigint", low=0)
    values = [compiler.operand(a) for a in arguments]
    if name in RANKS:
        return _rank(name, values, tail)
    value = values[0]
    if distinct:
        grouped(value)
    match name:
        case "count":
            return Value("int", f"count({distinct}{value.stored.sql}){tail}", "bigint", low=0)
        case "group_concat" | "string_agg":
            compiler.notes[ORDERLESS] = None
            separator = as_text(values[1]).sql if len(values) > 1 else "','"
            return Value("text", f"string_agg({distinct}{as_text(value).sql}, {separator}){tail}", "text")
        case "min" | "max":
            return _extreme(name, value, tail)
    value = number(value)
    if value.kind == "null":
        return literal(0.0) if name == "total" else NULL
    exact = value.kind == "int" or value.type == "numeric"
    if value.kind != "int":
        compiler.notes[SUMS] = None
    total = f"(sum({distinct}{value.sql if exact else operators.double(value).sql}){tail})"
    if name == "sum" and value.kind == "int":
        return Value("int", f"{total}::bigint", "bigint")
    if name == "sum":
        return Value(value.kind, total, "numeric" if exact else "double precision")
    real = f"{total}::double precision"
    if name == "total":
        return Value("real", f"COALESCE({real}, 0)", "double precision")
    return Value("real", f"({real} / NULLIF((count({distinct}{value.sql}){tail}), 0))", "double precision")


def _extreme(name: str, value: Value, tail: str) -> Value:
    if value.kind == "bool":
        value = integer(value)
    if value.native and not value.computed and value.kind not in ("other", "json"):
        return of_native(Native(f"{name}({value.native.sql}){tail}", *value.native[1:]), "")
    if value.kind == "text" and value.collation in ("", "BINARY"):
        return Value("text", f"{name}({operators.collated(value, 'BINARY')}){tail}", "text")
    if value.kind not in ("int", "real", "num", "null"):
        raise refused(value, f"is given to {name}()")
    return replace(value, sql=f"{name}({value.sql}){tail}", literal=None, affinity="") if value.kind != "null" else NULL


def _rank(name: str, values: list[Value], tail: str) -> Value:
    if name in ("row_number", "rank", "dense_rank"):
        return Value("int", f"{name}(){tail}", "bigint", low=0)
    if len(values) != 1 or values[0].kind == "json" or values[0].computed:
        raise Refusal(f"{name}() with what is no single column")
    value, sql = values[0], f"{name}({values[0].stored.sql}){tail}"
    if value.native:
        return of_native(value.native._replace(sql=sql), "")
    return replace(value, sql=sql, literal=None, affinity="", collation="")
