"""The naming policy: the source's names exactly as they are, except where PostgreSQL cannot have them.

PostgreSQL's names have at most 63 bytes, and tables, views, sequences and indexes (those of constraints too) share one
namespace. Every name is always quoted, so upper and lower case, spaces and reserved words stay as they are.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from migration.catalog import Catalog, Index, Table

LONGEST = 63
"""Bytes of a name: https://www.postgresql.org/docs/16/sql-syntax-lexical.html#SQL-SYNTAX-IDENTIFIERS"""
SYSTEM_COLUMNS = frozenset(("ctid", "xmin", "cmin", "xmax", "cmax", "tableoid"))


class Rename(NamedTuple):
    """A name that could not stay; ``table`` is '' for what belongs to none."""

    kind: str
    table: str
    source: str
    target: str
    reason: str


@dataclass(frozen=True)
class Names:
    """The target's names by the source's, complete; ``renames`` has those that differ from what one would expect."""

    tables: Mapping[str, str]
    """Of tables and views."""
    columns: Mapping[tuple[str, str], str]
    """By (table or view, column)."""
    indexes: Mapping[tuple[str, str], str]
    """By (table, index): of indexes, and of PRIMARY KEY and UNIQUE constraints by SQLite's own index for them."""
    keys: Mapping[str, str]
    """Of the primary keys, by table."""
    checks: Mapping[tuple[str, int], str]
    """By (table, place among its checks)."""
    foreign_keys: Mapping[tuple[str, int], str]
    """By (table, place among its foreign keys)."""
    renames: tuple[Rename, ...]


@dataclass
class _Space:
    """Names that must differ from each other."""

    taken: dict[str, str] = field(default_factory=dict)
    """What has each name."""

    def give(self, wanted: str, owner: str, fallback: str) -> tuple[str, str]:
        """A free name as near to ``wanted`` as can be, and why it is another."""
        name, reasons = wanted.replace("\0", "_") or fallback, []
        if not wanted:
            reasons.append("PostgreSQL has no empty name")
        if "\0" in wanted:
            reasons.append("PostgreSQL has no NUL in a name")
        if len(name.encode()) > LONGEST:
            reasons.append(f"it has more than {LONGEST} bytes")
            name = shortened(name)
        if name in self.taken:
            reasons.append(f"{self.taken[name]} has that name")
            stem, count = name, 2
            while name in self.taken:
                name, count = shortened(f"{stem}_{count}"), count + 1
        self.taken[name] = owner
        return name, "; ".join(reasons)


def shortened(name: str) -> str:
    """``name`` within 63 bytes: cut, with a hash of the whole where it is longer."""
    data = name.encode()
    if len(data) <= LONGEST:
        return name
    mark = f"_{hashlib.sha256(data).hexdigest()[:8]}"
    return data[: LONGEST - len(mark)].decode(errors="ignore") + mark


def conventional(table: str, columns: tuple[str, ...], suffix: str) -> str:
    """`<table>_<columns>_<suffix>`, as PostgreSQL itself would name it."""
    return "_".join((table, *columns, suffix))


def names(catalog: Catalog) -> Names:
    """The names of everything that a catalog has and PostgreSQL may get. The same catalog gives the same names."""
    space, renames = _Space(), list[Rename]()

    def give(space: _Space, kind: str, table: str, source: str, wanted: str, fallback: str) -> str:
        target, reason = space.give(wanted, f"the {kind} {source or wanted}", fallback)
        if reason:
            renames.append(Rename(kind, table, source or wanted, target, reason))
        return target

    # Tables first and constraints last: what people type keeps its name, what nobody types gives way.
    relations = [("table", t.name) for t in catalog.tables] + [("view", v.name) for v in catalog.views]
    tables = {name: give(space, kind, "", name, name, kind) for kind, name in relations}
    sources = {t.name: t.columns for t in catalog.tables} | {v.name: v.columns for v in catalog.views}
    columns = {
        (relation, column): target
        for relation, listed in sources.items()
        for column, target in _columns(relation, [c.name for c in listed], renames)
    }
    for table in catalog.tables:
        if table.rowid_alias:  # its sequence, which PostgreSQL names by itself
            sequence = conventional(tables[table.name], (columns[table.name, table.rowid_alias],), "seq")
            space.taken.setdefault(shortened(sequence), f"the sequence of {table.name}")
    indexes = {
        (t.name, i.name): give(space, "index", t.name, i.name, i.name, "index")
        for t in catalog.tables
        for i in t.indexes
        if i.origin == "c"
    }
    keys, checks, foreign_keys = {}, {}, {}
    for table in catalog.tables:
        target = tables[table.name]
        for index in table.indexes:
            if index.origin != "c":
                wanted = _constraint(index, target, table, columns)
                kind = "primary key" if index.origin == "pk" else "unique constraint"
                indexes[table.name, index.name] = give(space, kind, table.name, index.constraint or "", wanted, "key")
        own = next((indexes[table.name, i.name] for i in table.indexes if i.origin == "pk"), None)
        if table.primary_key:
            keys[table.name] = own or give(space, "primary key", table.name, "", f"{target}_pkey", "pkey")
        # Checks and foreign keys have a namespace for each table, which its keys share.
        local = _Space({indexes[table.name, i.name]: "a key" for i in table.indexes if i.origin != "c"})
        for place, check in enumerate(table.checks):
            about: tuple[str, ...] = (columns[table.name, check.column],) if check.column else ()
            wanted = check.name or conventional(target, about, "check")
            checks[table.name, place] = give(local, "check", table.name, check.name or "", wanted, "check")
        for place, key in enumerate(table.foreign_keys):
            declared = {c.name.lower(): c.name for c in table.columns}
            about = tuple(columns[table.name, declared[c.lower()]] for c in key.columns if c.lower() in declared)
            wanted = key.name or conventional(target, about, "fkey")
            foreign_keys[table.name, place] = give(local, "foreign key", table.name, key.name or "", wanted, "fkey")
    return Names(tables, columns, indexes, keys, checks, foreign_keys, tuple(renames))


def _constraint(index: Index, target: str, table: Table, columns: Mapping[tuple[str, str], str]) -> str:
    if index.constraint:
        return index.constraint
    if index.origin == "pk":
        return f"{target}_pkey"
    return conventional(target, tuple(columns[table.name, k.column] for k in index.keys if k.column), "key")


def _columns(table: str, sources: list[str], renames: list[Rename]) -> list[tuple[str, str]]:
    """The target's name of each column; those that can keep their name have the first choice."""
    space = _Space(dict.fromkeys(SYSTEM_COLUMNS, "a column of PostgreSQL's own"))
    found = {}
    for kept in (True, False):
        for place, source in enumerate(sources):
            stays = bool(source) and "\0" not in source and len(source.encode()) <= LONGEST
            stays = stays and source not in SYSTEM_COLUMNS
            if stays == kept:
                wanted = f"{source}_" if source in SYSTEM_COLUMNS else source
                found[source], reason = space.give(wanted, f"the column {source}", f"column_{place + 1}")
                if source in SYSTEM_COLUMNS:
                    reason = "; ".join(filter(None, ("PostgreSQL has a system column of that name", reason)))
                if reason:
                    renames.append(Rename("column", table, source, found[source], reason))
    return [(source, found[source]) for source in sources]
