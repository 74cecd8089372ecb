"""What a SQLite database contains, as plain data."""

from __future__ import annotations

from dataclasses import dataclass, field

COLLATIONS = ("BINARY", "NOCASE", "RTRIM")
"""SQLite's own; any other is defined by the application (https://sqlite.org/datatype3.html#collation)."""


@dataclass(frozen=True)
class Column:
    """A column as declared; ``declared_type`` is the text of the declaration, '' when there is none."""

    name: str
    declared_type: str
    not_null: bool
    default: str | None
    pk: int
    """Position within the primary key, from 1; 0 when not part of it."""
    generated: bool = False
    expression: str | None = None
    """The text of a generated column's expression."""
    stored: bool = False
    """Whether a generated column is STORED; otherwise it is VIRTUAL."""
    collation: str = "BINARY"


@dataclass(frozen=True)
class Check:
    """A CHECK constraint as written; ``column`` is the one it is declared with, None for the table's own."""

    name: str | None
    column: str | None
    text: str


@dataclass(frozen=True)
class IndexKey:
    """One key of an index: a column, or an expression as written."""

    column: str | None
    expression: str | None = None
    collation: str = "BINARY"
    descending: bool = False


@dataclass(frozen=True)
class Index:
    """An index, or the uniqueness that a PRIMARY KEY or UNIQUE constraint declares."""

    name: str
    unique: bool
    origin: str
    """'c' CREATE INDEX, 'u' UNIQUE constraint, 'pk' PRIMARY KEY (of what is no rowid alias)."""
    keys: tuple[IndexKey, ...]
    where: str | None = None
    """The predicate of a partial index as written."""
    constraint: str | None = None
    """The name that the constraint was given."""
    sql: str | None = None


@dataclass(frozen=True)
class ForeignKey:
    """A foreign key with its target columns resolved (an implicit target is the parent's primary key)."""

    columns: tuple[str, ...]
    parent: str
    parent_columns: tuple[str, ...]
    on_update: str
    on_delete: str
    name: str | None = None
    deferred: bool = False
    """DEFERRABLE INITIALLY DEFERRED; SQLite treats every other foreign key as immediate."""


@dataclass(frozen=True)
class Table:
    """A table with what is needed to read every row once and to name each row."""

    name: str
    columns: tuple[Column, ...]
    foreign_keys: tuple[ForeignKey, ...] = ()
    without_rowid: bool = False
    rowid_name: str | None = "rowid"
    """The name under which the rowid can be read; None without one (WITHOUT ROWID, all names taken)."""
    sequence: int | None = None
    """sqlite_sequence's value: the largest id ever used, for an AUTOINCREMENT table that ever had a row."""
    sql: str = ""
    checks: tuple[Check, ...] = ()
    indexes: tuple[Index, ...] = ()
    strict: bool = False
    autoincrement: bool = False

    def column(self, name: str) -> Column:
        """The column of that name; KeyError when there is none."""
        return next(c for c in self.columns if c.name == name)

    @property
    def is_foreign_to_drivers(self) -> bool:
        """Whether a SQLite without the application's collations refuses to read it: without a rowid, the key's index is
        the table and holds every column."""
        return self.without_rowid and any(c.collation not in COLLATIONS for c in self.columns)

    @property
    def order_is_unknown(self) -> bool:
        """Whether its rows lie in an order that only the application knows, so that none can be found by its key."""
        return self.without_rowid and any(c.collation not in COLLATIONS for c in self.columns if c.pk)

    @property
    def primary_key(self) -> tuple[str, ...]:
        """The primary key's column names in key order; empty without one."""
        return tuple(c.name for c in sorted((c for c in self.columns if c.pk), key=lambda c: c.pk))

    @property
    def key(self) -> tuple[str, ...]:
        """What names a row: the primary key, otherwise the rowid.

        SQLite allows NULL in a primary key that is not INTEGER PRIMARY KEY (a documented bug kept for
        compatibility), so only WITHOUT ROWID tables and rowid aliases are named by their key. Empty when
        columns take all three names of the rowid.
        """
        if self.without_rowid or self.rowid_alias:
            return self.primary_key
        return (self.rowid_name,) if self.rowid_name else ()

    @property
    def rowid_alias(self) -> str | None:
        """The INTEGER PRIMARY KEY column, which is the rowid itself; None when there is none.

        `INTEGER PRIMARY KEY DESC` is none (https://sqlite.org/lang_createtable.html#rowid): it has an index of its own.
        """
        keys = [c for c in self.columns if c.pk]
        alias = len(keys) == 1 and keys[0].declared_type.upper() == "INTEGER"
        if alias and not self.without_rowid and not any(i.origin == "pk" for i in self.indexes):
            return keys[0].name
        return None


@dataclass(frozen=True)
class View:
    """A view; ``error`` is SQLite's word when the view does not work there, and it has no columns then."""

    name: str
    sql: str
    select: str
    columns: tuple[Column, ...] = ()
    error: str | None = None


@dataclass(frozen=True)
class Trigger:
    """A trigger, which no migration carries; ``table`` may be a view."""

    name: str
    table: str
    sql: str


@dataclass(frozen=True)
class VirtualTable:
    """A virtual table; its rows live elsewhere, mostly in ordinary tables that its module keeps for itself."""

    name: str
    module: str
    sql: str
    shadows: tuple[str, ...] = ()
    """The tables known to be the module's own; they are not among the catalog's tables."""
    suspects: tuple[str, ...] = ()
    """Tables with the virtual table's name before theirs, of a module not known: these are carried."""
    error: str | None = None
    """SQLite's word when the table cannot be opened, as when its module is missing."""


@dataclass(frozen=True)
class Catalog:
    """The tables of a database in the order of sqlite_schema, and what is not a plain table, by name and kind."""

    tables: tuple[Table, ...]
    others: tuple[tuple[str, str], ...] = field(default=())
    """(kind, name) of views, triggers, virtual tables, their shadow tables and SQLite's own tables (internal)."""
    views: tuple[View, ...] = ()
    triggers: tuple[Trigger, ...] = ()
    virtual_tables: tuple[VirtualTable, ...] = ()

    def table(self, name: str) -> Table:
        """The table of that name; KeyError when there is none."""
        for table in self.tables:
            if table.name == name:
                return table
        raise KeyError(name)
