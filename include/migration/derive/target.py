"""The target that a plan describes by itself, as SQLAlchemy tables: the form in which models describe theirs."""

from __future__ import annotations

import re
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg

from migration.plan import ForeignKeyPlan, IndexPlan, Plan, TablePlan

_TYPES: dict[str, type[sa.types.TypeEngine[Any]] | sa.types.TypeEngine[Any]] = {
    "smallint": sa.SmallInteger,
    "integer": sa.Integer,
    "bigint": sa.BigInteger,
    "boolean": sa.Boolean,
    "double precision": sa.Double,
    "text": sa.Text,
    "bytea": sa.LargeBinary,
    "date": sa.Date,
    "timestamp": pg.TIMESTAMP(),
    "timestamptz": pg.TIMESTAMP(timezone=True),
    "json": pg.JSON,
    "jsonb": pg.JSONB,
}


def type_of(text: str) -> type[sa.types.TypeEngine[Any]] | sa.types.TypeEngine[Any]:
    """The SQLAlchemy type that a plan's ``type`` names."""
    name, *numbers = re.split(r"[(),]+", text.removesuffix(")"))
    match name, list(map(int, numbers)):
        case "numeric", [precision]:
            return sa.Numeric(precision, 0)
        case "numeric", [precision, scale]:
            return sa.Numeric(precision, scale)
        case "varchar", [length]:
            return sa.String(length)
    return _TYPES[name]


def described_tables(plan: Plan) -> sa.MetaData:
    """The tables of a plan that has no models."""
    metadata = sa.MetaData()
    tables = {name: sa.Table(plan.target_table(name), metadata, *_columns(t)) for name, t in plan.tables.items()}
    for name, table in tables.items():
        _constrain(plan, name, tables)
        for label, index in plan.tables[name].indexes.items():
            _index(table, label, index)
    return metadata


def _constrain(plan: Plan, name: str, tables: dict[str, sa.Table]) -> None:
    chosen, table = plan.tables[name], tables[name]
    if key := chosen.primary_key:
        places = [table.columns[chosen.target_column(c)] for c in key.columns]
        table.append_constraint(sa.PrimaryKeyConstraint(*places, name=key.name))
    for label, columns in chosen.unique.items():
        table.append_constraint(sa.UniqueConstraint(*map(chosen.target_column, columns), name=label))
    for label, condition in chosen.checks.items():
        table.append_constraint(sa.CheckConstraint(sa.literal_column(condition), name=label))
    for label, foreign in chosen.foreign_keys.items():
        parent = plan.tables[foreign.table]
        to = [tables[foreign.table].columns[parent.target_column(c)] for c in foreign.parent_columns]
        table.append_constraint(_foreign_key(chosen, label, foreign, to))


def _columns(chosen: TablePlan) -> list[sa.Column[Any]]:
    key = chosen.primary_key.columns if chosen.primary_key else ()
    found = []
    for name, column in chosen.columns.items():
        if name in chosen.exclude_columns or column.type is None:
            continue
        extra: list[Any] = []
        if column.identity:
            extra.append(sa.Identity(always=False))
        if column.generated is not None:
            extra.append(sa.Computed(sa.literal_column(column.generated), persisted=True))
        found.append(
            sa.Column(
                chosen.target_column(name),
                type_of(column.type),
                *extra,
                nullable=not (column.not_null or column.identity) and name not in key,
                server_default=sa.literal_column(f"({column.default})") if column.default is not None else None,
                autoincrement="auto" if column.identity else False,
            )
        )
    return found


def _foreign_key(
    chosen: TablePlan, label: str, key: ForeignKeyPlan, parent_columns: list[sa.Column[Any]]
) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        [chosen.target_column(c) for c in key.columns],
        parent_columns,
        name=label,
        onupdate=None if key.on_update == "NO ACTION" else key.on_update,
        ondelete=None if key.on_delete == "NO ACTION" else key.on_delete,
        deferrable=True if key.deferred else None,
        initially="DEFERRED" if key.deferred else None,
        use_alter=True,  # within CREATE TABLE, PostgreSQL takes NOT VALID for valid
        postgresql_not_valid=key.not_valid,
    )


def _index(table: sa.Table, label: str, index: IndexPlan) -> None:
    sa.Index(
        label,
        *map(sa.literal_column, index.keys),
        unique=index.unique,
        postgresql_where=sa.literal_column(index.where) if index.where is not None else None,
        postgresql_using=index.method,
        _table=table,
    )
