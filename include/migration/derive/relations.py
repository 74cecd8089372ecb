"""Tables, views and the results of queries as queries see them: named columns, each with the value it has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple

from migration.derive.values import Carried, Value, integer, of_native


class Output(NamedTuple):
    """A column of a query: its name in PostgreSQL, and the value it has."""

    name: str
    value: Value


class Relation(NamedTuple):
    """A table or view by its target name, with its columns by their source names in order."""

    name: str
    columns: Mapping[str, Carried | Output]
    rowid: str | None = None
    """The source's name of the column that is the rowid."""


def exposed(value: Value, sql: str) -> Value:
    """A column of a subquery or view whose own expression was ``value``."""
    if value.native is not None and not value.computed:
        return of_native(value.native._replace(sql=sql), value.affinity, value.collation)
    value = integer(value) if value.kind == "bool" and not value.affinity else value
    return replace(value, sql=sql, literal=None, explicit=False, native=None, computed=False)
