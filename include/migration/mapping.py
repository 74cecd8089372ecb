"""Puts source, plan and target side by side: which column goes where, and everything in which they differ."""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa

from migration.catalog import Catalog, Table
from migration.plan import Plan
from migration.postgres.target import waived


@dataclass(frozen=True)
class ForeignKeyMap:
    """A foreign key that the target will enforce, in the source's names."""

    name: str
    columns: tuple[str, ...]
    parent: str
    parent_columns: tuple[str, ...]


@dataclass(frozen=True)
class TableMap:
    """One table on both sides; ``columns`` are (source name, target column), of what is loaded, in source order."""

    source: Table
    target: sa.Table
    columns: tuple[tuple[str, sa.Column[object]], ...]
    foreign_keys: tuple[ForeignKeyMap, ...]
    """Those that every row must obey: not those that the target takes as NOT VALID."""


def table_map(plan: Plan, table: str, catalog: Catalog, metadata: sa.MetaData) -> TableMap:
    """The map of one planned table. Call :func:`differences` first: this expects that there are none."""
    source, target = catalog.table(table), metadata.tables[plan.target_table(table)]
    chosen = plan.tables[table]
    columns = tuple(
        (c.name, target.columns[chosen.target_column(c.name)]) for c in source.columns if chosen.loads(c.name)
    )
    from_target = {column.name: name for name, column in columns}
    foreign_keys, free = [], waived(target)
    for constraint in sorted(target.foreign_key_constraints, key=lambda c: str(c.name)):
        if constraint.name in free or any(e.parent.name not in from_target for e in constraint.elements):
            continue  # a column that the source does not fill stays NULL, and so unchecked
        parent = plan.sources[constraint.referred_table.name]
        of_parent = {plan.tables[parent].target_column(c.name): c.name for c in catalog.table(parent).columns}
        foreign_keys.append(
            ForeignKeyMap(
                _name(constraint),
                tuple(from_target[e.parent.name] for e in constraint.elements),
                parent,
                tuple(of_parent[e.column.name] for e in constraint.elements),
            )
        )
    return TableMap(source, target, columns, tuple(foreign_keys))


def _name(key: sa.ForeignKeyConstraint) -> str:
    return str(key.name) if key.name else f"({', '.join(e.parent.name for e in key.elements)})"


def differences(plan: Plan, catalog: Catalog, metadata: sa.MetaData) -> list[str]:
    """How the source, the plan and the target differ, a sentence each; empty when the migration can begin."""
    found = []
    present = {t.name for t in catalog.tables}
    planned = set(plan.tables)
    for table in sorted(planned - present):
        near = next((t for t in sorted(present) if t.lower() == table.lower()), None)
        kind = next((k for k, n in catalog.others if n == table), None)
        hint = (
            f"; it has {near}, which the plan can name instead"
            if near
            else f"; it has a {kind} of that name"
            if kind
            else ""
        )
        found.append(f"table {table} is in the plan and not in the source{hint}")
    for table in sorted(present - planned - set(plan.exclude_tables)):
        found.append(f"table {table} is in the source and not in the plan: plan it, or name it under exclude_tables")
    for table in plan.tables:
        if table in present:
            found += _column_differences(plan, table, catalog.table(table), metadata.tables[plan.target_table(table)])
    for table in plan.tables:
        found += _reference_differences(plan, table, catalog, metadata)
    return found


def _column_differences(plan: Plan, table: str, source: Table, target: sa.Table) -> list[str]:
    chosen, found = plan.tables[table], []
    names = [c.name for c in source.columns]
    has = f"(it has {', '.join(names)})"
    for name in sorted({*chosen.columns, *chosen.exclude_columns} - set(names)):
        found.append(f"the plan speaks of column {name}, which the source does not have {has}")
    carried = _carried(plan, table, source)
    for name in names:
        if name in chosen.exclude_columns:
            continue
        place = chosen.target_column(name)
        if carried[place] != name:
            found.append(f"columns {name} and {carried[place]} are both to become {place}: rename or exclude one")
        elif place not in target.columns:
            found.append(_unplaced(plan, name))
        elif target.columns[place].computed is not None and chosen.loads(name):
            found.append(f"column {place} is computed by the target: name {name} under exclude_columns")
    found += _redeclared(plan, table, source)
    if source.without_rowid and (lost := set(source.primary_key) & set(chosen.exclude_columns)):
        found.append(f"{', '.join(sorted(lost))} is part of what names its rows and cannot be excluded")
    if not any(map(chosen.loads, names)):
        found.append("none of its columns is carried")
    if not source.key:
        found.append("nothing names its rows, since columns are called rowid, _rowid_ and oid: rename one of them")
    if plan.models is not None:
        found += _required(plan, table, target, carried, has)
    return [f"table {table}: {sentence}" for sentence in found]


def _unplaced(plan: Plan, column: str) -> str:
    if plan.models is None:
        advice = "plan: assess it again, plan the column, or name it under exclude_columns"
    else:
        advice = "target: rename it, or name it under exclude_columns"
    return f"column {column} is in the source and not in the {advice}"


def _redeclared(plan: Plan, table: str, source: Table) -> list[str]:
    """The columns whose types the source declares otherwise than when the plan was made."""
    found = []
    for column in source.columns:
        planned = plan.tables[table].columns.get(column.name)
        declared = planned.declared if planned else None
        if declared is not None and column.declared_type != declared:
            found.append(
                f"column {column.name} is declared {column.declared_type or 'without a type'} in the source and "
                f"{declared or 'without a type'} in the plan: assess it again, or change the plan"
            )
    return found


def _required(plan: Plan, table: str, target: sa.Table, carried: dict[str, str], has: str) -> list[str]:
    """The columns of the models that need a value and get none."""
    chosen, found = plan.tables[table], []
    for column in target.columns:
        given = column.nullable or column.server_default is not None or column is target.autoincrement_column
        if column.name not in carried and not given:
            excluded = [n for n in chosen.exclude_columns if chosen.target_column(n) == column.name]
            where = "excluded by the plan" if excluded else f"not in the source {has}"
            found.append(f"column {column.name} is required by the target and {where}")
    return found


def _carried(plan: Plan, table: str, source: Table) -> dict[str, str]:
    """Target column → source column of what the plan carries."""
    chosen = plan.tables[table]
    return {chosen.target_column(c.name): c.name for c in source.columns if c.name not in chosen.exclude_columns}


def _reference_differences(plan: Plan, table: str, catalog: Catalog, metadata: sa.MetaData) -> list[str]:
    found = []
    present = {t.name: t for t in catalog.tables if t.name in plan.tables}
    for key in metadata.tables[plan.target_table(table)].foreign_key_constraints:
        parent = plan.sources.get(key.referred_table.name)
        if parent is None:
            found.append(f"its foreign key {_name(key)} points to {key.referred_table.name}, which the plan lacks")
        elif parent not in {*plan.before(table), table} and not plan.precedes(table, parent):
            found.append(f"its foreign key {_name(key)} needs `load_after: [{parent}]` in the plan")
        elif parent in present:
            known = _carried(plan, parent, present[parent])
            if lacking := [e.column.name for e in key.elements if e.column.name not in known]:
                found.append(
                    f"its foreign key {_name(key)} needs {', '.join(lacking)} of {parent}, which the source does "
                    "not fill"
                )
    for reference in plan.tables[table].references:
        for name, columns in ((table, reference.columns), (reference.table, reference.parent_columns)):
            known_names = {c.name for c in present[name].columns} if name in present else set(columns)
            if lacking := [c for c in columns if c not in known_names]:
                found.append(
                    f"its reference to {reference.table} names {', '.join(lacking)}, which {name} does not have"
                )
    return [f"table {table}: {sentence}" for sentence in found]
