"""Drafts the keys, indexes and foreign keys of a table, and knows which columns are parts of some."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from migration.assess.draft import Draft
from migration.catalog import Catalog, ForeignKey, Index, Table
from migration.derive.parse import Refused
from migration.derive.translate import IndexSql, translate_index
from migration.derive.values import MIXED
from migration.plan import Action, ForeignKeyPlan, IndexPlan, Key, TablePlan

BTREE_BYTES = 2600
"""A btree takes keys of up to 2,704 bytes (https://www.postgresql.org/docs/16/btree-implementation.html), their headers
included. PostgreSQL may compress a longer one into that; what it does with rows to come is anybody's guess."""


@dataclass(frozen=True)
class Uses:
    """Columns by (table, column) in lower case."""

    unique: frozenset[tuple[str, str]]
    """Parts of primary keys and unique indexes."""
    keyed: frozenset[tuple[str, str]]
    """Those, and parts of any index or foreign key, on either side."""


def uses(catalog: Catalog) -> Uses:
    """Which columns have to be compared in the target as they were in the source."""
    unique, keyed = set(), set()
    for table in catalog.tables:
        name = table.name.lower()
        unique |= {(name, c.lower()) for c in table.primary_key}
        for index in table.indexes:
            columns = {(name, k.column.lower()) for k in index.keys if k.column}
            keyed |= columns
            unique |= columns if index.unique else set()
        for key in table.foreign_keys:
            keyed |= {(name, c.lower()) for c in key.columns}
            keyed |= {(key.parent.lower(), c.lower()) for c in key.parent_columns}
    return Uses(frozenset(unique), frozenset(unique | keyed))


def keys(found: Draft, table: Table) -> tuple[Key | None, dict[str, tuple[str, ...]], dict[str, IndexPlan]]:
    """The primary key, the unique constraints and the indexes of a table."""
    primary: Key | None = None
    unique: dict[str, tuple[str, ...]] = {}
    indexes: dict[str, IndexPlan] = {}
    if table.primary_key:
        primary = Key(name=found.names.keys[table.name], columns=table.primary_key)
    for index in table.indexes:
        name = found.names.indexes[table.name, index.name]
        sql = _translated(found, table, index)
        if index.origin == "pk":
            primary = primary if _stays_primary(found, table, sql) else None
            if primary or isinstance(sql, Refused):
                if isinstance(sql, Refused):
                    found.refuse("primary key", table.name, name, sql.reason, f"({', '.join(table.primary_key)})")
                continue
        if isinstance(sql, Refused):
            kind = "unique constraint" if index.origin == "u" else "index"
            found.refuse(kind, table.name, name, sql.reason, index.sql or _listed(index))
        elif index.origin != "c" and sql.plain:
            unique[name] = tuple(k.column for k in index.keys if k.column)
        else:
            method = _method(found, table, index, name, sql)
            if method:
                indexes[name] = IndexPlan(keys=sql.keys, unique=sql.unique, where=sql.where, method=method)
    return primary, _once(found, table, primary, _own_case(table, unique)), indexes


def _once(
    found: Draft, table: Table, primary: Key | None, unique: dict[str, tuple[str, ...]]
) -> dict[str, tuple[str, ...]]:
    """The unique constraints without those that say again what another key says: PostgreSQL keeps one of two."""
    said = {primary.columns: primary.name} if primary else {}
    kept = {}
    for name, columns in unique.items():
        if columns in said:
            found.note("unique-twice", table.name, name, other=said[columns])
        else:
            said[columns] = name
            kept[name] = columns
    return kept


def _own_case(table: Table, unique: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    """The columns' names as the table declares them."""
    declared = {c.name.lower(): c.name for c in table.columns}
    return {name: tuple(declared[c.lower()] for c in columns) for name, columns in unique.items()}


def _listed(index: Index) -> str:
    return f"({', '.join(k.column or k.expression or '' for k in index.keys)})"


def _translated(found: Draft, table: Table, index: Index) -> IndexSql | Refused:
    sql = translate_index(index, columns=found.columns(table), table=table.name)
    width = found.profiles[table.name].index_bytes.get(index.name, 0)
    if isinstance(sql, IndexSql):
        found.notes("index", table.name, found.names.indexes[table.name, index.name], sql.notes)
        if index.unique and (merged := _merged(found, table, index)):
            return Refused(f"integers and texts written alike, which {merged} holds, are the same text in the target")
        if width > BTREE_BYTES and index.origin != "c":
            return Refused(f"a key has {width:,} bytes, and PostgreSQL's btree takes 2,704")
    return sql


def _merged(found: Draft, table: Table, index: Index) -> str:
    """The columns of the index in which different values may become the same."""
    own = {c.name.lower(): c.name for c in table.columns}
    columns = [own[k.column.lower()] for k in index.keys if k.column]
    profile = found.profiles[table.name]
    return ", ".join(c for c in columns if found.choices[table.name, c].cast == MIXED and profile.column(c).twins)


def _stays_primary(found: Draft, table: Table, sql: IndexSql | Refused) -> bool:
    profile = found.profiles[table.name]
    nulls = [c for c in table.primary_key if profile.column(c).nulls]
    if nulls and not table.without_rowid:
        found.note("null-in-key", table.name, ", ".join(nulls), profile.column(nulls[0]).nulls)
        return False
    if isinstance(sql, IndexSql) and not sql.plain:
        found.note("key-collation", table.name, "primary key")
        return False
    return isinstance(sql, IndexSql)


def _method(found: Draft, table: Table, index: Index, name: str, sql: IndexSql) -> Literal["btree", "hash"] | None:
    """btree; hash for a key too long for that; None when neither can be."""
    width = found.profiles[table.name].index_bytes.get(index.name, 0)
    if width <= BTREE_BYTES:
        return "btree"
    what = f"a key has {width:,} bytes, and PostgreSQL's btree takes 2,704"
    if sql.unique or len(sql.keys) > 1 or sql.keys[0].endswith(" DESC"):
        found.refuse("index", table.name, name, what, index.sql or _listed(index))
        return None
    found.note("index-width", table.name, f"index {name}", width=width)
    return "hash"


def foreign_keys(found: Draft, table: Table, tables: Mapping[str, TablePlan]) -> dict[str, ForeignKeyPlan]:
    """The foreign keys that PostgreSQL can enforce."""
    kept = {}
    by_name = {t.name.lower(): t for t in found.tables}
    for place, key in enumerate(table.foreign_keys):
        name = found.names.foreign_keys[table.name, place]
        parent = by_name.get(key.parent.lower())
        reason = _obstacle(found, table, key, parent, tables)
        if reason or parent is None:
            text = f"({', '.join(key.columns)}) REFERENCES {key.parent} ({', '.join(key.parent_columns)})"
            found.refuse("foreign key", table.name, name, reason, text)
            continue
        orphans = found.profiles[table.name].orphans[place]
        if orphans:
            found.note("orphans", table.name, name, orphans, parent=parent.name)
        own, theirs = ({c.name.lower(): c.name for c in t.columns} for t in (table, parent))
        actions = get_args(Action)
        kept[name] = ForeignKeyPlan.model_validate(
            {
                "columns": [own[c.lower()] for c in key.columns],
                "table": parent.name,
                "parent_columns": [theirs[c.lower()] for c in key.parent_columns],
                "on_update": key.on_update if key.on_update in actions else "NO ACTION",
                "on_delete": key.on_delete if key.on_delete in actions else "NO ACTION",
                "deferred": key.deferred,
                "not_valid": bool(orphans),
            }
        )
    return kept


def _obstacle(
    found: Draft, table: Table, key: ForeignKey, parent: Table | None, tables: Mapping[str, TablePlan]
) -> str:
    """Why PostgreSQL cannot enforce a foreign key; '' when it can."""
    if parent is None:
        known = any(t.name.lower() == key.parent.lower() for t in found.catalog.tables)
        return f"the table {key.parent} is {'not carried' if known else 'not there'}"
    if len(key.columns) != len(key.parent_columns):
        return f"{parent.name} has no primary key of {len(key.columns)} columns"
    theirs = {c.name.lower(): c.name for c in parent.columns}
    own = {c.name.lower(): c.name for c in table.columns}
    if lacking := [c for c in key.parent_columns if c.lower() not in theirs]:
        return f"{parent.name} has no column {', '.join(lacking)}"
    if lacking := [c for c in key.columns if c.lower() not in own]:
        return f"{', '.join(lacking)} is not carried"
    wanted = frozenset(theirs[c.lower()] for c in key.parent_columns)
    if wanted not in _unique_sets(tables[parent.name]):
        return f"nothing makes {', '.join(sorted(wanted))} of {parent.name} unique in the target"
    for child, to in zip(key.columns, key.parent_columns, strict=True):
        types = [
            found.choices[table.name, own[child.lower()]].type,
            found.choices[parent.name, theirs[to.lower()]].type,
        ]
        if _kind(types[0]) != _kind(types[1]):
            return f"{child} is {types[0]}, and {to} of {parent.name} is {types[1]}"
    return ""


def _unique_sets(table: TablePlan) -> set[frozenset[str]]:
    """The sets of source columns that are unique, by constraint or by a plain index."""
    sets = {frozenset(columns) for columns in table.unique.values()}
    if table.primary_key:
        sets.add(frozenset(table.primary_key.columns))
    sources = {f'"{table.target_column(c).replace(chr(34), chr(34) * 2)}"': c for c in table.columns}
    for index in table.indexes.values():
        names = [sources.get(k.removesuffix(" DESC")) for k in index.keys]
        if index.unique and index.where is None and all(names):
            sets.add(frozenset(n for n in names if n))
    return sets


def _kind(type_: str) -> str:
    name = type_.split("(")[0]
    return {"smallint": "integer", "bigint": "integer", "varchar": "text"}.get(name, name)
