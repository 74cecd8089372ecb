"""Reads the catalog of a SQLite database."""

from __future__ import annotations

from typing import Any

import apsw

from migration.catalog import (
    Catalog,
    Check,
    Column,
    ForeignKey,
    Index,
    IndexKey,
    Table,
    Trigger,
    View,
    VirtualTable,
)
from migration.errors import SourceError
from migration.sqlite import ddl
from migration.words import visible


def quoted(name: str) -> str:
    """``name`` as a SQL identifier for SQLite, whatever characters it has."""
    return '"' + name.replace('"', '""') + '"'


def _columns(connection: apsw.Connection, table: str, expressions: dict[str, str]) -> tuple[Column, ...]:
    # hidden: 1 a virtual table's hidden column, 2 and 3 a generated one.
    # https://sqlite.org/pragma.html#pragma_table_xinfo
    rows = connection.execute(
        'SELECT name, type, "notnull", dflt_value, pk, hidden FROM pragma_table_xinfo(?)', [table]
    )
    return tuple(
        Column(
            str(name),
            str(kind),
            bool(not_null),
            None if default is None else str(default),
            int(pk),
            hidden in (2, 3),
            expressions.get(str(name).lower()) if hidden in (2, 3) else None,
            hidden == 3,
            _collation(connection, table, str(name)),
        )
        for name, kind, not_null, default, pk, hidden in rows
        if hidden != 1
    )


def _collation(connection: apsw.Connection, table: str, column: str) -> str:
    try:
        return (connection.column_metadata("main", table, column)[1] or "BINARY").upper()
    except apsw.SQLError:  # a view has no such facts
        return "BINARY"


def _foreign_keys(
    connection: apsw.Connection,
    table: str,
    keys: dict[str, tuple[str, ...]],
    declared: list[tuple[str | None, bool]],
) -> tuple[ForeignKey, ...]:
    found: dict[int, list[Any]] = {}
    rows = connection.execute(
        'SELECT id, "table", "from", "to", on_update, on_delete FROM pragma_foreign_key_list(?) ORDER BY id, seq',
        [table],
    )
    for number, parent, column, to, on_update, on_delete in rows:
        key = found.setdefault(number, [parent, [], [], on_update, on_delete])
        key[1].append(column)
        key[2].append(to)
    # The pragma counts from the last one declared.
    extra = declared[::-1] if len(declared) == len(found) else [(None, False)] * len(found)
    return tuple(
        ForeignKey(
            tuple(columns),
            parent,
            # an implicit target is the parent's primary key
            tuple(to) if all(to) else keys.get(parent.lower(), ()),
            on_update,
            on_delete,
            *extra[number],
        )
        for number, (parent, columns, to, on_update, on_delete) in found.items()
    )


def _indexes(connection: apsw.Connection, table: str, constraints: dict[tuple[str, ...], str]) -> tuple[Index, ...]:
    found = []
    listed: list[Any] = connection.execute(
        'SELECT l.name, l."unique", l.origin, s.sql FROM pragma_index_list(?) l'
        " LEFT JOIN sqlite_schema s ON s.type = 'index' AND s.name = l.name ORDER BY s.rowid",
        [table],
    ).fetchall()
    for name, unique, origin, sql in listed:
        texts, where = ddl.index_parts(sql or "")
        rows: list[Any] = connection.execute(
            "SELECT cid, name, coll, desc FROM pragma_index_xinfo(?) WHERE key ORDER BY seqno", [name]
        ).fetchall()
        if texts and len(texts) != len(rows):
            texts = []
        keys = tuple(
            IndexKey(
                column if cid >= 0 else None,
                texts[place] if cid == -2 and texts else None,
                coll.upper(),
                bool(descending),
            )
            for place, (cid, column, coll, descending) in enumerate(rows)
        )
        named = constraints.get(tuple((k.column or "").lower() for k in keys)) if origin != "c" else None
        found.append(Index(name, bool(unique), origin, keys, where, named, sql))
    return tuple(found)


_OWN_TABLES = {
    **dict.fromkeys(("fts3", "fts4"), ("content", "segments", "segdir", "docsize", "stat")),
    "fts5": ("data", "idx", "content", "docsize", "config"),
    **dict.fromkeys(("rtree", "rtree_i32", "geopoly"), ("node", "rowid", "parent")),
    "fts1": ("content", "term"),
    "fts2": ("content", "segments", "segdir"),
    "spellfix1": ("vocab",),
    "vec0": ("chunks", "rowids", "info", "auxiliary", "vector_chunks", "metadatachunks", "metadatatext"),
}
"""What a module calls its own tables after the virtual table's name and '_'; SQLite knows while it has the module."""


def _virtual_tables(
    connection: apsw.Connection, listed: list[Any], sources: dict[str, str]
) -> tuple[VirtualTable, ...]:
    found = []
    for name in (name for name, kind, *_ in listed if kind == "virtual"):
        module = ddl.virtual_module(sources.get(name) or "")
        shadows, suspects = [], []
        for other, kind, *_ in listed:
            suffix = other[len(name) + 1 :] if other.lower().startswith(f"{name.lower()}_") else ""
            if module == "vec0":
                suffix = suffix.rstrip("0123456789")
            if not suffix or kind not in ("table", "shadow"):
                continue
            if kind == "shadow" or suffix.lower() in _OWN_TABLES.get(module, ()):
                shadows.append(other)
            elif module not in _OWN_TABLES:
                suspects.append(other)
        error = _error(connection, name)
        found.append(VirtualTable(name, module, sources.get(name) or "", tuple(shadows), tuple(suspects), error))
    return tuple(found)


def _error(connection: apsw.Connection, relation: str) -> str | None:
    """Why SQLite cannot read a view or virtual table; None when it can."""
    try:
        connection.execute(f"SELECT * FROM {quoted(relation)} LIMIT 0")  # noqa: S608 - quoted
    except apsw.Error as error:
        return str(error)
    return None


def _views(connection: apsw.Connection) -> tuple[View, ...]:
    found = []
    listed: list[Any] = connection.execute(
        "SELECT name, sql FROM sqlite_schema WHERE type = 'view' ORDER BY rowid"
    ).fetchall()
    for name, sql in listed:
        error = _error(connection, name)
        columns = () if error else _columns(connection, name, {})
        found.append(View(name, sql or "", ddl.view_select(sql or ""), columns, error))
    return tuple(found)


def _table(
    connection: apsw.Connection,
    name: str,
    without_rowid: bool,
    strict: bool,
    sql: str,
    sequence: int | None,
    keys: dict[str, tuple[str, ...]],
) -> Table:
    parts = ddl.table_parts(sql)
    columns = _columns(connection, name, parts.generated)
    declared = {c.name.lower(): c.name for c in columns}
    taken = declared.keys()
    rowid = None if without_rowid else next((n for n in ("rowid", "_rowid_", "oid") if n not in taken), None)
    return Table(
        name,
        columns,
        _foreign_keys(connection, name, keys, parts.references),
        without_rowid,
        rowid,
        sequence,
        sql,
        tuple(Check(label, declared.get(column or ""), text) for label, column, text in parts.checks),
        _indexes(connection, name, parts.keys),
        strict,
        any(connection.column_metadata("main", name, c.name)[4] for c in columns if c.pk),
    )


_known: dict[tuple[Any, ...], Catalog] = {}
MOST_KNOWN = 4
SHOWN = 120
"""So many characters of a declaration are shown in a message."""


def read_catalog(connection: apsw.Connection) -> Catalog:
    """The catalog of the open database; apsw errors pass through. SourceError where names or declarations are no text.

    It follows from SQLite's schema table and the sequences alone. Each step of each table asks for it, and parsing
    hundreds of declarations takes the better part of a second, so the newest catalogs are kept.
    """
    try:
        return _read_catalog(connection)
    except UnicodeDecodeError as error:
        shown = visible(error.object.decode(errors="backslashreplace"))
        raise SourceError(
            f"The database's schema has bytes that are no text, in {shown[:SHOWN]!r}. Names and declarations must be "
            "valid: mend the file, or restore it from a backup."
        ) from error


def _read_catalog(connection: apsw.Connection) -> Catalog:
    schema = connection.execute("SELECT rowid, type, name, tbl_name, sql FROM sqlite_schema").fetchall()
    sequences = _sequences(connection)
    key = (*schema, *sequences.items())
    if key not in _known:
        catalog = _read(connection, sequences)
        while len(_known) >= MOST_KNOWN:
            _known.pop(next(iter(_known)))
        _known[key] = catalog
    return _known[key]


def _sequences(connection: apsw.Connection) -> dict[str, int]:
    """The largest id ever used, by table."""
    if not connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'sqlite_sequence'").fetchone():
        return {}
    # The application may write anything there; only whole numbers are ids.
    return dict(
        connection.execute("SELECT name, max(seq) FROM sqlite_sequence WHERE typeof(seq) = 'integer' GROUP BY name")
    )


def _read(connection: apsw.Connection, sequences: dict[str, int]) -> Catalog:
    listed: list[Any] = connection.execute(
        "SELECT name, type, wr, strict FROM pragma_table_list WHERE schema = 'main'"
        " AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'"
    ).fetchall()
    internal: list[Any] = connection.execute(
        "SELECT 'internal', name FROM sqlite_schema WHERE type = 'table' AND name LIKE 'sqlite\\_%' ESCAPE '\\'"
    ).fetchall()
    sources: dict[str, str] = dict(
        connection.execute("SELECT name, sql FROM sqlite_schema WHERE type = 'table' ORDER BY rowid")
    )
    virtual = _virtual_tables(connection, listed, sources)
    shadows = {shadow for table in virtual for shadow in table.shadows}
    plain = [row for row in listed if row[1] == "table" and row[0] not in shadows]
    keys: dict[str, tuple[str, ...]] = {}
    for name, *_ in plain:
        rows = connection.execute("SELECT name FROM pragma_table_info(?) WHERE pk ORDER BY pk", [name])
        keys[str(name).lower()] = tuple(str(column) for (column,) in rows)
    order = {name: place for place, name in enumerate(sources)}
    tables = tuple(
        _table(connection, name, bool(wr), bool(strict), sources.get(name) or "", sequences.get(name), keys)
        for name, _, wr, strict in sorted(plain, key=lambda row: order.get(row[0], -1))
    )
    triggers = tuple(
        Trigger(name, table, sql or "")
        for name, table, sql in connection.execute(
            "SELECT name, tbl_name, sql FROM sqlite_schema WHERE type = 'trigger' ORDER BY rowid"
        )
    )
    others = [("shadow" if name in shadows else kind, name) for name, kind, *_ in listed]
    others = [(kind, name) for kind, name in others if kind != "table"]
    others += [*internal, *(("trigger", trigger.name) for trigger in triggers)]
    return Catalog(tables, tuple(others), _views(connection), triggers, virtual)
