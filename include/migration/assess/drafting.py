"""Drafts the plan of any SQLite database from its catalog and its profile: what goes as what, and what cannot go."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from migration.assess.draft import Draft
from migration.assess.keys import Uses, foreign_keys, keys, uses
from migration.catalog import Catalog, Column, Table, View
from migration.derive.findings import Weight
from migration.derive.names import names
from migration.derive.parse import Refused, affinity
from migration.derive.relations import Relation
from migration.derive.translate import translate_check, translate_default, translate_generated
from migration.derive.types import INTEGERS, Choice, Place, choose
from migration.derive.values import MIXED
from migration.derive.views import translate_view
from migration.plan import ColumnPlan, Plan, RefusedObject, TablePlan, ViewPlan
from migration.profile import ColumnProfile, TableProfile

MOST_COLUMNS = 1600
"""Of a PostgreSQL table: https://www.postgresql.org/docs/16/limits.html"""
WIDEST_ROW = 8000
"""Bytes of a row whose long values lie elsewhere: a page less its headers."""


def draft(
    catalog: Catalog, profiles: Mapping[str, TableProfile], *, name: str, title: str, source: str
) -> tuple[Plan | None, Draft]:
    """The plan that is proposed; None when no table can be carried at all."""
    found = Draft(catalog, profiles, names(catalog))
    found.tables = tuple(_readable(found, t) for t in catalog.tables if _can_go(found, t))
    _leave_out(found)
    used = uses(catalog)
    for table in found.tables:
        for column in table.columns:
            found.choices[table.name, column.name] = _choice(found, table, column, used)
    _follow_parents(found)
    found.findings += [f for choice in found.choices.values() for f in choice.findings]
    for rename in found.names.renames:
        place = f"{rename.kind} {rename.source}".strip()
        found.note("name", rename.table, place, reason=rename.reason, target=rename.target)
    if not found.tables:
        return None, found
    tables = {t.name: _table(found, t) for t in found.tables}
    for table in found.tables:
        tables[table.name] = tables[table.name].model_copy(update={"foreign_keys": foreign_keys(found, table, tables)})
    plan = Plan(
        name=name,
        title=title,
        source=source,
        target=f"{name}_target",
        tables=tables,
        exclude_tables=tuple(t.name for t in catalog.tables if t.name not in tables),
        views=_views(found),
        refused=tuple(found.refused),
    )
    return plan, found


def _can_go(found: Draft, table: Table) -> bool:
    reason = ""
    if len(table.columns) > MOST_COLUMNS:
        reason = f"it has {len(table.columns)} columns, and PostgreSQL's tables have at most {MOST_COLUMNS}"
    elif not table.key:
        reason = "nothing names its rows, since its columns take the names rowid, _rowid_ and oid"
    elif table.order_is_unknown:
        reason = "its primary key is in an order that only the application knows, so no row can be found by it"
    if reason:
        rows = found.profiles[table.name].rows
        weight = Weight.WORK if rows else Weight.DECIDE
        found.refuse("table", table.name, "", f"{reason}; it has {rows:,} rows", table.sql, weight=weight)
    return not reason


def _readable(found: Draft, table: Table) -> Table:
    """The table without generated columns that SQLite itself cannot compute."""
    profile = found.profiles[table.name]
    for column in table.columns:
        if fault := profile.column(column.name).unreadable:
            reason = f"SQLite cannot compute it: {fault}"
            found.refuse("column", table.name, column.name, reason, column.expression or "")
    return replace(table, columns=tuple(c for c in table.columns if not profile.column(c.name).unreadable))


def _leave_out(found: Draft) -> None:
    """Everything of the source that is neither a table nor a view."""
    for virtual in found.catalog.virtual_tables:
        reason = f"it is a virtual table of the module {virtual.module}"
        reason += f" ({virtual.error})" if virtual.error else ""
        reason += (
            f"; its module's own tables stay behind with it: {', '.join(virtual.shadows)}" if virtual.shadows else ""
        )
        found.refuse("virtual table", "", virtual.name, reason, virtual.sql)
        for shadow in virtual.shadows:
            of = f"it belongs to the virtual table {virtual.name}"
            found.refused.append(RefusedObject(kind="shadow table", name=shadow, reason=of))
        for suspect in virtual.suspects:
            found.note("virtual-suspect", suspect, "", virtual=virtual.name)
    for trigger in found.catalog.triggers:
        found.refuse("trigger", trigger.table, trigger.name, "its work has to be written anew", trigger.sql)
    for kind, name in found.catalog.others:
        if kind == "internal":
            found.refused.append(RefusedObject(kind="internal table", name=name, reason="SQLite keeps it for itself"))


def _choice(found: Draft, table: Table, column: Column, used: Uses) -> Choice:
    profile = found.profiles[table.name].column(column.name)
    if column.name == table.rowid_alias:
        return Choice("bigint", "the rowid")
    place = (table.name.lower(), column.name.lower())
    apple = any(t.name.upper() == "Z_PRIMARYKEY" for t in found.catalog.tables)
    return choose(Place(table.name, column, profile, place in used.unique, place in used.keyed, apple))


def _follow_parents(found: Draft) -> None:
    """A column that refers to another takes the type of that, where it has no values or integers among texts there."""
    by_name = {t.name.lower(): t for t in found.tables}
    pairs = []
    for table in found.tables:
        own = {c.name.lower(): c.name for c in table.columns}
        for key in table.foreign_keys:
            parent = by_name.get(key.parent.lower())
            theirs = {c.name.lower(): c.name for c in parent.columns} if parent else {}
            for child, to in zip(key.columns, key.parent_columns, strict=False):
                known = parent is not None and child.lower() in own and to.lower() in theirs
                if parent is not None and known and own[child.lower()] != table.rowid_alias:
                    pairs.append(((table.name, own[child.lower()]), (parent.name, theirs[to.lower()])))
    waiting = True
    while waiting:  # a parent that took another type may itself be somebody's child
        waiting = False
        for place, parent_place in pairs:
            wanted, chosen = found.choices[parent_place], found.choices[place]
            empty = not found.profiles[place[0]].column(place[1]).values
            mixed = wanted.form == MIXED and chosen.type in INTEGERS
            if wanted.type != chosen.type and (empty or mixed):
                why = "no values" if empty else "integers"
                found.choices[place] = Choice(
                    wanted.type, f"{why}; {parent_place[0]}.{parent_place[1]} is so", wanted.cast, form=wanted.form
                )
                waiting = True


def _table(found: Draft, table: Table) -> TablePlan:
    profile = found.profiles[table.name]
    columns = {c.name: _column(found, table, c, profile.column(c.name)) for c in table.columns}
    width = sum(
        18 if c.type in ("text", "bytea", "json", "jsonb") or "(" in str(c.type) else 8 for c in columns.values()
    )
    if width > WIDEST_ROW:
        found.note("row-width", table.name, "", width=width, page=WIDEST_ROW)
    target = found.names.tables[table.name]
    primary, unique, indexes = keys(found, table)
    return TablePlan(
        rename=target if target != table.name else None,
        rows=profile.rows,
        columns=columns,
        exclude_columns=tuple(c.name for c in profile.columns if c.unreadable),
        primary_key=primary,
        unique=unique,
        checks=_checks(found, table),
        indexes=indexes,
    )


def _column(found: Draft, table: Table, column: Column, profile: ColumnProfile) -> ColumnPlan:
    chosen, target = found.choices[table.name, column.name], found.names.columns[table.name, column.name]
    alias = column.name == table.rowid_alias
    facts: dict[str, Any] = {
        "rename": target if target != column.name else None,
        "declared": column.declared_type,
        "type": chosen.type,
        "cast": chosen.cast,
        "invalid": chosen.invalid,
        "identity": alias,
        "not_null": alias or (column.not_null and not profile.nulls),
    }
    if column.collation in ("NOCASE", "RTRIM") and chosen.type.startswith(("text", "varchar")):
        found.note("collation", table.name, column.name, collation=column.collation)
    if column.not_null and profile.nulls:
        reason = f"{profile.nulls.count:,} rows have NULL"
        found.refuse("not null", table.name, column.name, reason, "NOT NULL", of=profile.nulls)
    if column.generated:
        facts |= _generated(found, table, column)
    elif column.default is not None:
        facts["default"] = _default(found, table, column, chosen)
    return ColumnPlan(**facts)


def _generated(found: Draft, table: Table, column: Column) -> dict[str, Any]:
    columns = found.columns(table)
    others = [c.name for c in table.columns if c.generated]
    text = column.expression or ""
    sql = (
        translate_generated(text, columns=columns, target=columns[column.name], generated=others, table=table.name)
        if text
        else Refused("its text was not found")
    )
    if isinstance(sql, Refused):
        found.note("generated", table.name, column.name, text=text, reason=sql.reason)
        found.refused.append(
            RefusedObject(kind="generated column", name=column.name, table=table.name, reason=sql.reason, source=text)
        )
        return {}
    found.notes("generated", table.name, column.name, sql.notes)
    if not column.stored:
        found.note("generated-virtual", table.name, column.name)
    return {"generated": sql.sql}


def _default(found: Draft, table: Table, column: Column, chosen: Choice) -> str | None:
    assert column.default is not None
    sql = translate_default(column.default, affinity(column.declared_type), chosen.type, chosen.form)
    if isinstance(sql, Refused):
        found.refuse("default", table.name, column.name, sql.reason, column.default)
        return None
    found.notes("default", table.name, column.name, sql.notes)
    return None if sql.sql == "NULL" else sql.sql


def _checks(found: Draft, table: Table) -> dict[str, str]:
    kept = {}
    violations = found.profiles[table.name].violations
    for place, check in enumerate(table.checks):
        name = found.names.checks[table.name, place]
        broken = violations[place] if place < len(violations) else None
        if broken:
            found.refuse("check", table.name, name, f"{broken.count:,} rows break it", check.text, of=broken)
            continue
        sql = translate_check(check.text, columns=found.columns(table), table=table.name)
        if isinstance(sql, Refused):
            found.refuse("check", table.name, name, sql.reason, check.text)
        else:
            kept[name] = sql.sql
            found.notes("check", table.name, name, sql.notes)
    return kept


def _views(found: Draft) -> dict[str, ViewPlan]:
    """The views in an order in which each needs only those before it."""
    relations = {t.name: Relation(found.names.tables[t.name], found.columns(t), t.rowid_alias) for t in found.tables}
    kept: dict[str, ViewPlan] = {}
    waiting = {v.name: Refused(v.error or "") for v in found.catalog.views}
    views = {v.name: v for v in found.catalog.views}
    progress = True
    while progress:
        progress = False
        for view in [views[name] for name in waiting if not views[name].error]:
            sql = translate_view(view.select, _view_columns(found, view), relations, found.names.tables[view.name])
            if isinstance(sql, Refused):
                waiting[view.name] = sql
                continue
            del waiting[view.name]
            relations[view.name] = sql.relation
            target = found.names.tables[view.name]
            kept[view.name] = ViewPlan(rename=target if target != view.name else None, create=sql.create)
            found.notes("view", "", f"view {view.name}", sql.notes)
            progress = True
    for name, refused in waiting.items():
        broken = "it does not work in SQLite either: " if views[name].error else ""
        found.refuse("view", "", name, f"{broken}{refused.reason}", views[name].sql)
    return kept


def _view_columns(found: Draft, view: View) -> dict[str, str]:
    return {c.name: found.names.columns[view.name, c.name] for c in view.columns}


def without(plan: Plan, lacking: Iterable[tuple[str, str, str, str]], found: Draft) -> Plan:
    """The plan without what PostgreSQL does not compile, each as (kind, table, name, reason)."""
    tables, views = dict(plan.tables), dict(plan.views)
    for kind, table, name, reason in lacking:
        if kind == "view":
            del views[name]
            source = next(v.sql for v in found.catalog.views if v.name == name)
            found.refuse(kind, "", name, f"PostgreSQL does not take it: {reason}", source)
        elif kind == "table":
            found.refuse(kind, table, "", reason, found.catalog.table(table).sql, weight=Weight.WORK)
            del tables[table]
        else:
            tables[table], text = _less(tables[table], kind, name)
            found.refuse(kind, table, name, f"PostgreSQL does not take it: {reason}", text)
    excluded = (*plan.exclude_tables, *(t for t in plan.tables if t not in tables))
    return plan.model_copy(
        update={"tables": tables, "views": views, "exclude_tables": excluded, "refused": tuple(found.refused)}
    )


_PARTS = {"unique constraint": "unique", "check": "checks", "index": "indexes", "foreign key": "foreign_keys"}


def _less(table: TablePlan, kind: str, name: str) -> tuple[TablePlan, str]:
    """The table without one of its objects, and the text of that."""
    if kind == "primary key":
        return table.model_copy(
            update={"primary_key": None}
        ), f"({', '.join(table.primary_key.columns)})" if table.primary_key else ""
    if kind in ("default", "generated column"):
        part = "default" if kind == "default" else "generated"
        column = table.columns[name]
        changed = table.columns | {name: column.model_copy(update={part: None})}
        return table.model_copy(update={"columns": changed}), str(getattr(column, part))
    part = _PARTS[kind]
    objects = dict(getattr(table, part))
    gone = objects.pop(name)
    return table.model_copy(update={part: objects}), str(gone)
