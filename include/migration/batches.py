"""Which tables share a task: of a few tables each has its own, among hundreds the small ones go together."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

from migration.plan import Plan, TablePlan

FEW = 24
"""Up to so many tables each have a task of their own."""
SMALL = 10_000
"""A table of at least so many rows has a task of its own; so has one whose rows nobody counted."""
TOGETHER = 40
"""At most so many small tables share a task."""
LONGEST = 200
"""Airflow takes ids of 250 characters, the name of the task's group among them."""

SHOWN = 80
"""Of a longer name a title shows the beginning."""


@dataclass(frozen=True)
class Batch:
    """The tables of one task, which do not depend on each other."""

    task_id: str
    """Made of ASCII letters, digits, '_' and '-'; no other batch of the plan has it."""
    tables: tuple[str, ...]
    after: tuple[str, ...]
    """The ids of the batches that hold the tables which these need."""
    split: bool = False
    """Whether it is one table that is loaded in ranges, by a group of tasks."""

    @property
    def title(self) -> str:
        """For people: the table's real name, or which ones and how many."""
        if len(self.tables) == 1:
            return _short(self.tables[0])
        return f"{self.task_id}: {_short(self.tables[0])} … {_short(self.tables[-1])} ({len(self.tables)} tables)"

    @property
    def doc(self) -> str:
        """What the task carries, table by table, in Markdown."""
        lines = ("    " + " ".join(table.split()) for table in self.tables)
        return "\n".join(["In this order, each in a transaction of its own:", "", *lines])


def _short(name: str) -> str:
    return name if len(name) <= SHOWN else f"{name[: SHOWN - 1]}…"


def batches(plan: Plan) -> tuple[Batch, ...]:
    """Every table of the plan once, in load order. Depends on nothing but the plan."""
    groups = _groups(plan)
    names = _names([tables[0] for _, tables in groups if len(tables) == 1])
    taken = {*names.values(), *plan.tables}
    ids = []
    for level, tables in groups:
        ids.append(names[tables[0]] if len(tables) == 1 else _free(f"level_{level}_small", taken))
    holder = {table: task_id for task_id, (_, tables) in zip(ids, groups, strict=True) for table in tables}
    found = []
    for task_id, (_, tables) in zip(ids, groups, strict=True):
        after = dict.fromkeys(holder[parent] for table in tables for parent in plan.before(table))
        found.append(Batch(task_id, tables, tuple(after), plan.tables[tables[0]].split))
    return tuple(found)


def _groups(plan: Plan) -> list[tuple[int, tuple[str, ...]]]:
    """(level, tables that share a task)."""
    found: list[tuple[int, tuple[str, ...]]] = []
    for number, level in enumerate(plan.levels, 1):
        small = [t for t in level if len(plan.tables) > FEW and _is_small(plan.tables[t])]
        found += [(number, (table,)) for table in level if table not in small]
        found += [(number, tuple(small[i : i + TOGETHER])) for i in range(0, len(small), TOGETHER)]
    return found


def _is_small(table: TablePlan) -> bool:
    return not table.split and table.rows is not None and table.rows < SMALL


def _names(tables: list[str]) -> dict[str, str]:
    """An id for each table: its own name wherever that can be one."""
    plain = {table: _plain(table) for table in tables}
    found = {table: table for table in tables if plain[table] == table}
    taken = set(found)
    return found | {table: _free(plain[table], taken) for table in tables if table not in found}


def _plain(name: str) -> str:
    """The name without accents, and '_' for what else no id may have."""
    letters = "".join(c for c in unicodedata.normalize("NFKD", name) if not unicodedata.combining(c))
    plain = re.sub(r"[^A-Za-z0-9_-]+", "_", letters)[:LONGEST]
    return plain if re.search("[A-Za-z0-9]", plain) else "table"


def _free(wanted: str, taken: set[str]) -> str:
    """The wanted id, with a number behind it when it is taken; it is taken from then on."""
    task_id, number = wanted, 1
    while task_id in taken:
        number += 1
        task_id = f"{wanted}_{number}"
    taken.add(task_id)
    return task_id
