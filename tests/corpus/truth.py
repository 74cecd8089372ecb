"""An independent judge of a migration: every cell, every row's whereabouts, every schema object. No code of the engine.

judgement = judge(Path("app.db"), Path("plans/app.yaml"), connection, "public")
judgement.findings  # [] when all is right

It reads the SQLite file, the plan file as plain YAML, and the target with the state that the run left in ``migration``.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Any

import apsw
import psycopg
import yaml
from psycopg import sql

from tests.corpus import objects
from tests.corpus.cells import FORMLESS, NULL, Cell, Stored

MOST_SHOWN = 5
Row = tuple[bytes | None, ...]
Connection = psycopg.Connection[Any]


@dataclass(frozen=True)
class Finding:
    """One thing that is not right. ``kind`` is a word for the table: row, cell, count, quarantine, index, trigger …"""

    kind: str
    where: str
    message: str

    def __str__(self) -> str:
        return f"{self.kind} {self.where}: {self.message}"


@dataclass
class Judgement:
    """What was compared, and what was found."""

    tables: int = 0
    rows: int = 0
    cells: int = 0
    quarantined: int = 0
    altered: int = 0
    carried: Counter[str] = field(default_factory=Counter)
    """Schema objects that the target has, by kind."""
    refused: Counter[str] = field(default_factory=Counter)
    """Those that the plan names as refused or excluded, by kind."""
    findings: list[Finding] = field(default_factory=list)

    def found(self, kind: str, where: str, message: str) -> None:
        self.findings.append(Finding(kind, where, message))

    def settle(self, kind: str, where: str, carried: bool, refused: bool) -> None:
        """Count an object of the schema, or find it absent."""
        if carried:
            self.carried[kind] += 1
        elif refused:
            self.refused[kind] += 1
        else:
            self.found(kind, where, "silently absent: neither in PostgreSQL's catalogs nor refused in the plan")


@dataclass(frozen=True)
class Column:
    """A column of the source as its pragma tells it."""

    name: str
    declared: str
    not_null: bool
    default: str | None
    pk: int
    generated: bool


def ident(name: str) -> str:
    """``name`` as an identifier of either side."""
    return '"' + name.replace('"', '""') + '"'


class Source:
    """The SQLite file, only read."""

    def __init__(self, path: Path) -> None:
        self.connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
        # Collations of an application's own are asked for nowhere here; SQLite wants to know them all the same.
        self.connection.collation_needed(lambda connection, name: connection.create_collation(name, _order))
        (word,) = self.one("PRAGMA encoding")
        self.encoding = str(word).lower().replace("utf-16le", "utf-16-le").replace("utf-16be", "utf-16-be")
        # What SQLite's parser takes from sqlite_schema is text; names and statements come as it stores them.
        self.schema = list(self.connection.execute("SELECT type, name, tbl_name, coalesce(sql, '') FROM sqlite_schema"))

    def one(self, query: str, *values: Any) -> tuple[Any, ...]:
        return tuple(next(iter(self.connection.execute(query, values))))

    def all(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        return list(self.connection.execute(query, values))

    def tables(self) -> list[str]:
        """The ordinary tables, as SQLite itself tells them from virtual and shadow tables."""
        listed = self.all("SELECT name FROM pragma_table_list WHERE schema = 'main' AND type = 'table'")
        return [name for (name,) in listed if not name.lower().startswith("sqlite_")]

    def columns(self, table: str) -> list[Column]:
        """All but the hidden ones of virtual tables."""
        found = self.all('SELECT name, type, "notnull", dflt_value, pk, hidden FROM pragma_table_xinfo(?)', table)
        return [Column(n, t, bool(nn), d, pk, hidden in (2, 3)) for n, t, nn, d, pk, hidden in found if hidden != 1]

    def alias(self, table: str) -> str:
        """The column that is the rowid; '' without one. Any other primary key has an index of its own."""
        pk = [c for c in self.columns(table) if c.pk]
        indexed = self.all("SELECT 1 FROM pragma_index_list(?) WHERE origin = 'pk'", table)
        return pk[0].name if len(pk) == 1 and not indexed else ""

    def key(self, table: str) -> list[str]:
        """What names a row in the migration's state: the primary key, or the rowid under a name that is free."""
        columns = self.columns(table)
        pk = [c for c in sorted(columns, key=lambda c: c.pk) if c.pk]
        if (
            self.alias(table)
            or self.one("SELECT wr FROM pragma_table_list WHERE schema = 'main' AND name = ?", table)[0]
        ):
            return [c.name for c in pk]
        taken = {c.name.lower() for c in columns}
        return [next((n for n in ("rowid", "_rowid_", "oid") if n not in taken), "")]

    def rows(self, table: str, columns: list[str]) -> Iterator[list[Stored]]:
        """Each row's values with their storage classes; texts as the file's bytes.

        One expression a column, since there may be 2,000: of what comes back, bytes were a text, and a str is a
        blob's hexadecimal digits.
        """
        part = "CASE typeof({0}) WHEN 'text' THEN CAST({0} AS BLOB) WHEN 'blob' THEN hex({0}) ELSE {0} END"
        parts = ", ".join(part.format(ident(c)) for c in columns)
        for row in self.connection.execute(f"SELECT {parts} FROM {ident(table)}"):
            yield list(map(_stored, row))


def _order(one: str, other: str) -> int:
    return (one > other) - (one < other)


def _stored(value: Any) -> Stored:
    match value:
        case None:
            return NULL
        case bytes():
            return Stored("text", value)
        case str():
            return Stored("blob", bytes.fromhex(value))
    return Stored("integer" if isinstance(value, int) else "real", value)


@dataclass(frozen=True)
class Kept:
    """What the run's state says of one table: whole rows set aside, and values that were altered."""

    quarantined: Mapping[str, Mapping[str, tuple[str, bytes | None]]]
    altered: Mapping[str, Mapping[str, tuple[str, str, bytes | None]]]


def read_plan(path: Path) -> dict[str, Any]:
    """The plan file as it stands; ``invalid: null`` is a word there."""
    return dict(
        yaml.load(path.read_text(encoding="utf-8").replace("invalid: null", "invalid: 'null'"), yaml.CSafeLoader)
    )


def judge(source_file: Path, plan_file: Path, connection: Connection, schema: str) -> Judgement:
    """Compare everything. ``connection`` may be in any state; nothing is written."""
    result, source, plan = Judgement(), Source(source_file), read_plan(plan_file)
    excluded = set(plan.get("exclude_tables") or ())
    for table in source.tables():
        if table in plan["tables"]:
            result.tables += 1
            _judge_table(result, source, plan, table, connection, schema)
        elif table not in excluded:
            result.found("table", table, "neither carried nor named in exclude_tables")
    objects.judge_objects(result, source, plan, connection, schema)
    return result


def _judge_table(
    result: Judgement, source: Source, plan: Mapping[str, Any], table: str, connection: Connection, schema: str
) -> None:
    part = plan["tables"][table] or {}
    target = part.get("rename") or table
    types = column_types(connection, schema, target)
    if not types:
        result.found("table", table, f"{schema} has no table {target}")
        return
    chosen = part.get("columns") or {}
    left = set(part.get("exclude_columns") or ())
    names = {c.name: (chosen.get(c.name) or {}).get("rename") or c.name for c in source.columns(table)}
    for name in names:
        if name not in left and names[name] not in types:
            result.found("column", f"{table}.{name}", f"the target has no column {names[name]}")
            return
    names = {name: to for name, to in names.items() if name not in left}
    cells = {n: Cell(types[to], (chosen.get(n) or {}).get("cast"), source.encoding) for n, to in names.items()}
    kept = _kept(connection, table)
    expected = _expected(result, source, table, cells, kept, _policies(part))
    found = _found(connection, schema, target, names, cells)
    for row in found:
        result.rows += 1
        result.cells += len(row)
        expected.subtract([_digest(row)])
    wrong = {digest: n for digest, n in expected.items() if n}
    if wrong:
        _explain(result, source, table, cells, kept, wrong, _found(connection, schema, target, names, cells))


def column_types(connection: Connection, schema: str, table: str) -> dict[str, str]:
    """The columns of a target's table with their types as PostgreSQL writes them; empty when there is no such table."""
    query = (
        "SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute JOIN pg_class c ON c.oid = attrelid"
        " JOIN pg_namespace n ON n.oid = relnamespace"
        " WHERE nspname = %s AND relname = %s AND attnum > 0 AND NOT attisdropped ORDER BY attnum"
    )
    return dict(connection.execute(query, [schema, table]).fetchall())


def _policies(part: Mapping[str, Any]) -> dict[str, str]:
    """What the plan declares for values that cannot cross, by column; '' is the table's own."""
    found = {c: str(p["invalid"]) for c, p in (part.get("columns") or {}).items() if p and p.get("invalid")}
    return {"": str(part.get("invalid") or ""), **found}


def _kept(connection: Connection, table: str) -> Kept:
    quarantined: dict[str, dict[str, tuple[str, bytes | None]]] = {}
    altered: dict[str, dict[str, tuple[str, str, bytes | None]]] = {}
    for (key,) in connection.execute("SELECT row_key FROM migration.quarantine WHERE table_name = %s", [table]):
        quarantined[key] = {}
    query = "SELECT row_key, column_name, storage_class, value FROM migration.quarantined_values WHERE table_name = %s"
    for key, column, storage, value in connection.execute(query, [table]):
        quarantined.setdefault(key, {})[column] = (storage, value)
    query = (
        "SELECT row_key, column_name, action, storage_class, value FROM migration.altered_values WHERE table_name = %s"
    )
    for key, column, action, storage, value in connection.execute(query, [table]):
        altered.setdefault(key, {})[column] = (action, storage, value)
    return Kept(quarantined, altered)


def _digest(row: Row) -> bytes:
    state = blake2b(digest_size=16)
    for octets in row:
        state.update(b"N" if octets is None else b"%d:" % len(octets))
        state.update(octets or b"")
    return state.digest()


def row_key(values: list[Stored], encoding: str) -> str:
    """A row's name in the migration's state: the key's values as a JSON array."""

    def plain(stored: Stored) -> Any:
        match stored.kind:
            case "real":
                return {"real": repr(stored.value)}
            case "blob":
                return {"blob": stored.value.hex()}
            case "text":
                try:
                    return stored.value.decode(encoding)
                except UnicodeDecodeError:
                    return {"text": stored.value.hex()}
        return stored.value

    return json.dumps([plain(v) for v in values], separators=(",", ":"), ensure_ascii=False)


def _source_rows(
    source: Source, table: str, cells: Mapping[str, Cell], kept: Kept
) -> Iterator[tuple[str, list[Stored], Row | None]]:
    """Each row's name, its values, and what the target must hold; None for a row in the quarantine."""
    key = source.key(table)
    every = [c.name for c in source.columns(table)]
    places = [every.index(c) for c in cells]
    for values in source.rows(table, [*key, *every]):
        name, own = row_key(values[: len(key)], source.encoding), values[len(key) :]
        if name in kept.quarantined:
            yield name, own, None
            continue
        changed = kept.altered.get(name, {})
        row = [
            cell.altered(own[place], changed[column][0]) if column in changed else cell.expected(own[place])
            for (column, cell), place in zip(cells.items(), places, strict=True)
        ]
        yield name, own, tuple(row)


def _expected(
    result: Judgement,
    source: Source,
    table: str,
    cells: Mapping[str, Cell],
    kept: Kept,
    policies: Mapping[str, str],
) -> Counter[bytes]:
    rows, missing, lost = Counter[bytes](), set(kept.quarantined), set(kept.altered)
    every = [c.name for c in source.columns(table)]
    for name, own, row in _source_rows(source, table, cells, kept):
        if row is None:
            result.quarantined += 1
            missing.discard(name)
            _same(result, table, name, dict(zip(every, own, strict=True)), kept.quarantined[name], source.encoding)
            continue
        rows[_digest(row)] += 1
        if name in kept.altered:
            lost.discard(name)
            for column, (action, storage, value) in kept.altered[name].items():
                result.altered += 1
                if policies.get(column, policies[""]) != action:
                    result.found("altered", f"{table}.{column}", f"{name}: {action} is not what the plan declares")
                own_value = {column: dict(zip(every, own, strict=True)).get(column, NULL)}
                _same(result, table, name, own_value, {column: (storage, value)}, source.encoding)
    for name in sorted(missing)[:MOST_SHOWN]:
        result.found("quarantine", table, f"it holds {name}, which the source does not have")
    for name in sorted(lost)[:MOST_SHOWN]:
        result.found("altered", table, f"a value of {name} was altered, which the source does not have")
    return rows


def _same(
    result: Judgement,
    table: str,
    name: str,
    values: Mapping[str, Stored],
    kept: Mapping[str, tuple[str, bytes | None]],
    encoding: str,
) -> None:
    """Whether what was set aside is the source's, byte for byte."""
    for column, stored in values.items():
        octets = repr(stored.value).encode() if stored.kind in ("integer", "real") else stored.value
        if kept.get(column) != (stored.kind, octets):
            result.found("kept", f"{table}.{column}", f"{name}: kept as {kept.get(column)!r}, the source has {stored}")


def _found(
    connection: Connection, schema: str, target: str, names: Mapping[str, str], cells: Mapping[str, Cell]
) -> Iterator[Row]:
    shown = [cell.shown(sql.Identifier(names[column])) for column, cell in cells.items()]
    query = sql.SQL("SELECT {} FROM {}").format(sql.SQL(", ").join(shown), sql.Identifier(schema, target))
    with connection.transaction(), connection.cursor("judged", binary=True) as cursor:
        cursor.itersize = 2000
        for row in cursor.execute(query):
            yield tuple(cell.told(v) for cell, v in zip(cells.values(), row, strict=True))


def _explain(
    result: Judgement,
    source: Source,
    table: str,
    cells: Mapping[str, Cell],
    kept: Kept,
    wrong: Mapping[bytes, int],
    found: Iterator[Row],
) -> None:
    """Name the rows that differ, each beside the nearest one of the other side."""
    lacking = [(n, r) for n, _, r in _source_rows(source, table, cells, kept) if r and wrong.get(_digest(r), 0) > 0]
    extra = [r for r in found if wrong.get(_digest(r), 0) < 0]
    result.found("row", table, f"{len(lacking)} of the source are not there, {len(extra)} are there that it has not")
    for name, row in lacking[:MOST_SHOWN]:
        for column, value in zip(cells, row, strict=True):
            if value and value.startswith(FORMLESS):
                result.found("cell", f"{table}.{column}", f"{name}: {value!r:.160} has no form in {cells[column].type}")
        near = max(extra, key=lambda e: sum(map(_equal, e, row)), default=None)
        if near is None or not any(map(_equal, near, row)):
            result.found("row", table, f"{name} is lost")
            continue
        for column, ours, theirs in zip(cells, row, near, strict=True):
            if ours != theirs:
                where = f"{table}.{column} ({cells[column].type})"
                result.found("cell", where, f"{name}: must be {ours!r:.120}, is {theirs!r:.120}")


def _equal(one: bytes | None, other: bytes | None) -> bool:
    return one is not None and one == other
