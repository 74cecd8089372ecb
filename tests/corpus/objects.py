"""Whether each schema object of the source is in PostgreSQL's catalogs or named as refused: nothing is silently absent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import apsw
import psycopg
import psycopg.rows
import psycopg.sql

from tests.corpus import views
from tests.corpus.cells import FORMLESS, Cell, Stored
from tests.corpus.ddl import checks, joined

if TYPE_CHECKING:
    from tests.corpus.truth import Column, Connection, Judgement, Source

ACTIONS = {"a": "NO ACTION", "r": "RESTRICT", "c": "CASCADE", "n": "SET NULL", "d": "SET DEFAULT"}


@dataclass
class Target:
    """What PostgreSQL's catalogs say of one table."""

    columns: dict[str, Mapping[str, Any]]
    constraints: list[Mapping[str, Any]]
    indexes: list[Mapping[str, Any]]


@dataclass(frozen=True)
class Inquiry:
    """One table on both sides, and where what is found goes."""

    result: Judgement
    source: Source
    plan: Mapping[str, Any]
    table: str
    target: Target

    @property
    def part(self) -> Mapping[str, Any]:
        return self.plan["tables"][self.table] or {}

    def name(self, column: str, table: str = "") -> str:
        """The target's name of a column."""
        columns = (self.plan["tables"].get(table or self.table) or {}).get("columns") or {}
        own = next((c for c in columns if c.lower() == column.lower()), column)
        return str((columns.get(own) or {}).get("rename") or own)

    def refused(self, kind: str) -> list[Mapping[str, Any]]:
        """What the plan names as refused of this table."""
        return [r for r in self.plan.get("refused") or () if r["kind"] == kind and r.get("table") == self.table]

    def settle(self, kind: str, label: str, carried: bool, refused: bool) -> None:
        """Count an object, or find it absent."""
        where = f"{self.table}.{label}" if label else self.table
        self.result.settle(kind, where, carried, refused)


def judge_objects(
    result: Judgement, source: Source, plan: Mapping[str, Any], connection: Connection, schema: str
) -> None:
    """Find every object of the source again, table by table, then the rest of sqlite_schema."""
    refused = list(plan.get("refused") or ())
    excluded = set(plan.get("exclude_tables") or ())
    for table in source.tables():
        if table in plan["tables"]:
            target = (plan["tables"][table] or {}).get("rename") or table
            inquiry = Inquiry(result, source, plan, table, _target(connection, schema, target))
            _columns(inquiry, connection)
            _keys_and_indexes(inquiry)
            _checks(inquiry)
            _foreign_keys(inquiry)
            _identity(inquiry, connection, schema, target)
        elif table in excluded:
            result.refused["table"] += 1
    _virtual(result, source, plan, refused, excluded)
    for kind, name, _, text in source.schema:
        if kind == "trigger":
            named = any(r["kind"] == "trigger" and r["name"] == name and r.get("source") == text for r in refused)
            result.settle("trigger", name, False, named)
        elif kind == "view":
            views.judge_view(result, source, plan, connection, schema, name)


def _target(connection: Connection, schema: str, table: str) -> Target:
    def rows(query: str) -> list[Mapping[str, Any]]:
        with connection.cursor(row_factory=psycopg.rows.dict_row) as cursor:
            return list(cursor.execute(query.encode(), {"schema": schema, "table": table}))

    of = "JOIN pg_class c ON c.oid = {} JOIN pg_namespace s ON s.oid = c.relnamespace WHERE s.nspname = %(schema)s AND c.relname = %(table)s"
    columns = rows(
        "SELECT attname, attnum, attnotnull, attgenerated, attidentity, format_type(atttypid, atttypmod) AS type,"
        " pg_get_expr(adbin, adrelid) AS default FROM pg_attribute LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum "
        + of.format("attrelid")
        + " AND attnum > 0 AND NOT attisdropped"
    )
    constraints = rows(
        "SELECT conname, contype, confupdtype, confdeltype, condeferred, convalidated,"
        " (SELECT array_agg(attname ORDER BY o) FROM unnest(conkey) WITH ORDINALITY u(n, o) JOIN pg_attribute ON attrelid = conrelid AND attnum = n) AS columns,"
        " (SELECT relname FROM pg_class WHERE oid = confrelid) AS parent,"
        " (SELECT array_agg(attname ORDER BY o) FROM unnest(confkey) WITH ORDINALITY u(n, o) JOIN pg_attribute ON attrelid = confrelid AND attnum = n) AS parent_columns"
        " FROM pg_constraint " + of.format("conrelid")
    )
    indexes = rows(
        "SELECT i.relname, indisunique, indisprimary, indpred IS NOT NULL AS partial,"
        " (SELECT array_agg(pg_get_indexdef(indexrelid, k, true) ORDER BY k) FROM generate_series(1, indnkeyatts) k) AS keys,"
        " (SELECT array_agg((indoption[k - 1] & 1) = 1 ORDER BY k) FROM generate_series(1, indnkeyatts) k) AS descending"
        " FROM pg_index JOIN pg_class i ON i.oid = indexrelid " + of.format("indrelid")
    )
    return Target({c["attname"]: c for c in columns}, constraints, indexes)


# -- columns


def _columns(inquiry: Inquiry, connection: Connection) -> None:
    left = set(inquiry.part.get("exclude_columns") or ())
    alias = inquiry.source.alias(inquiry.table)
    for column in inquiry.source.columns(inquiry.table):
        if column.name in left:
            inquiry.result.refused["column"] += 1
            continue
        there = inquiry.target.columns.get(inquiry.name(column.name))
        if there is None:
            continue  # already found, with its values
        if column.not_null or (column.pk and column.name == alias):
            named = any(r["name"] == column.name for r in inquiry.refused("not null"))
            inquiry.settle("not null", column.name, there["attnotnull"], named)
        if column.generated:
            named = any(r["name"] == column.name for r in inquiry.refused("generated column"))
            inquiry.settle("generated column", column.name, bool(there["attgenerated"]), named)
        elif column.default is not None and column.name != alias and joined(column.default).upper() != "NULL":
            named = any(r["name"] == column.name for r in inquiry.refused("default"))
            inquiry.settle("default", column.name, there["default"] is not None, named)
            if there["default"] is not None:
                _same_default(inquiry, column, there, connection)


def _same_default(inquiry: Inquiry, column: Column, there: Mapping[str, Any], connection: Connection) -> None:
    """A default without a function gives the same value on both sides."""
    text = column.default or ""
    if "(" in text or "current_" in text.lower():
        return
    if (stored := _given(column.declared, text)) is None:
        return
    chosen = (inquiry.part.get("columns") or {}).get(column.name) or {}
    cell = Cell(there["type"], chosen.get("cast"), "utf-8")
    query = psycopg.sql.SQL("SELECT {}").format(
        cell.shown(psycopg.sql.SQL(f"CAST({there['default']} AS {there['type']})"))
    )
    row = connection.execute(query, binary=True).fetchone()
    ours, theirs = cell.expected(stored), cell.told(row[0] if row else None)
    if ours and ours.startswith(FORMLESS):  # what the column's values of that class become
        ours = cell.altered(stored, "bytes" if there["type"] == "bytea" else "text")
    if ours != theirs:
        message = f"{text} gives {ours!r} in SQLite, {there['default']} gives {theirs!r}"
        inquiry.result.found("default", f"{inquiry.table}.{column.name}", message)


def _given(declared: str, default: str) -> Stored | None:
    """The value that a default gives a column; None when it is no constant."""
    memory = apsw.Connection(":memory:")
    for text in (default, f"({default})"):
        try:
            memory.execute(f"CREATE TABLE d (c {declared} DEFAULT {text})")
        except apsw.SQLError:
            continue
        memory.execute("INSERT INTO d DEFAULT VALUES")
        part = "SELECT typeof(c), CASE typeof(c) WHEN 'text' THEN CAST(c AS BLOB) ELSE c END FROM d"
        return Stored(*next(iter(memory.execute(part))))
    return None


# -- keys, indexes, checks, foreign keys


def _keys_and_indexes(inquiry: Inquiry) -> None:
    free = list(inquiry.target.indexes)
    if alias := inquiry.source.alias(inquiry.table):
        wanted = [inquiry.name(alias)]
        primary = [i for i in free if i["indisprimary"] and _plain(i) == wanted]
        free = [i for i in free if i not in primary[:1]]
        inquiry.settle("primary key", "", bool(primary), bool(inquiry.refused("primary key")))
    query = 'SELECT name, "unique", origin, partial FROM pragma_index_list(?) ORDER BY origin DESC, name'
    listed = inquiry.source.all(query, inquiry.table)
    names = {i["relname"] for i in free}
    # Those that kept their names choose first, so that no other takes theirs.
    for name, unique, origin, partial in sorted(listed, key=lambda row: (row[2] == "c", row[0] not in names)):
        query = "SELECT cid, name, desc, coll FROM pragma_index_xinfo(?) WHERE key = 1 ORDER BY seqno"
        keys = inquiry.source.all(query, name)
        # PostgreSQL keeps a second UNIQUE of the same columns, or of the primary key's, only once.
        among = free if origin == "c" else inquiry.target.indexes
        found = [i for i in among if _fits(inquiry, i, name, keys, bool(unique), bool(partial))]
        found.sort(key=lambda i: (i not in free, i["indisprimary"] != (origin == "pk"), i["relname"] != name))
        kind = {"pk": "primary key", "u": "unique constraint", "c": "index"}[origin]
        if origin == "pk" and found and not found[0]["indisprimary"] and not _excused(inquiry, keys):
            inquiry.result.found(kind, inquiry.table, "it became a unique index, and nothing in the data asks for that")
        free = [i for i in free if i not in found[:1]]
        inquiry.settle(kind, name, bool(found), not found and _index_refused(inquiry, kind, name, keys))


def _plain(index: Mapping[str, Any]) -> list[str]:
    return [k[1:-1].replace('""', '"') if k.startswith('"') else k for k in index["keys"]]


def _fits(
    inquiry: Inquiry, index: Mapping[str, Any], name: str, keys: Sequence[Any], unique: bool, partial: bool
) -> bool:
    """Whether a target's index has the keys of the source's, in order; an expression may stand for an expression."""
    if (index["indisunique"], index["partial"]) != (unique, partial) or len(index["keys"]) != len(keys):
        return False
    directed = not name.lower().startswith("sqlite_autoindex")  # no constraint of PostgreSQL has a direction
    for (cid, column, descending, collation), key, theirs in zip(keys, _plain(index), index["descending"], strict=True):
        if directed and bool(descending) != theirs:
            return False
        plain = key in inquiry.target.columns
        if cid < 0 and plain and index["relname"] != name:  # an expression such as +a is the column itself
            return False
        if cid >= 0:
            wanted = inquiry.name(column)
            if plain and key != wanted or not plain and wanted.lower() not in key.lower():
                return False
            if plain and collation != "BINARY" and not _caseless(inquiry, wanted):
                return False
    return True


def _caseless(inquiry: Inquiry, column: str) -> bool:
    """Whether a collation means nothing to the column's type."""
    return not inquiry.target.columns[column]["type"].startswith(("text", "character varying"))


def _excused(inquiry: Inquiry, keys: Sequence[Any]) -> bool:
    """Whether a primary key has NULLs, or compares without case: PostgreSQL's cannot be one."""
    names = [name for _, name, _, _ in keys]
    absent = " OR ".join(f'"{n}" IS NULL' for n in names)
    nulls = inquiry.source.all(f'SELECT 1 FROM "{inquiry.table}" WHERE {absent} LIMIT 1')
    return bool(nulls) or any(collation != "BINARY" for *_, collation in keys)


def _index_refused(inquiry: Inquiry, kind: str, name: str, keys: Sequence[Any]) -> bool:
    columns = [n.lower() for cid, n, _, _ in keys if cid >= 0]
    for refused in [*inquiry.refused(kind), *inquiry.refused("index")]:
        text = f"{refused['name']} {refused.get('source', '')}".lower()
        if refused["name"] == name or all(c in text for c in columns):
            return True
    return False


def _statement(inquiry: Inquiry) -> str:
    """The CREATE TABLE as SQLite keeps it."""
    return next(str(t) for k, n, _, t in inquiry.source.schema if k == "table" and n == inquiry.table)


def _checks(inquiry: Inquiry) -> None:
    refused = [joined(r.get("source") or "") for r in inquiry.refused("check")]
    there = sum(1 for c in inquiry.target.constraints if c["contype"] == "c")
    for check in checks(_statement(inquiry)):
        named = check in refused
        if named:
            refused.remove(check)
        inquiry.settle("check", check[:80], not named and there > 0, named)
        there -= not named


def _foreign_keys(inquiry: Inquiry) -> None:
    grouped: dict[int, list[Any]] = {}
    query = 'SELECT id, "table", "from", "to", on_update, on_delete FROM pragma_foreign_key_list(?) ORDER BY id, seq'
    for number, *rest in inquiry.source.all(query, inquiry.table):
        grouped.setdefault(number, []).append(rest)
    free = [c for c in inquiry.target.constraints if c["contype"] == "f"]
    for parts in grouped.values():
        parent, on_update, on_delete = parts[0][0], parts[0][3], parts[0][4]
        known = next((t for t in inquiry.source.tables() if t.lower() == parent.lower()), parent)
        implicit = [c.name for c in sorted(inquiry.source.columns(known), key=lambda c: c.pk) if c.pk]
        theirs = [p[2] or (implicit[n] if n < len(implicit) else "?") for n, p in enumerate(parts)]
        target = (inquiry.plan["tables"].get(known) or {}).get("rename") or known
        pairs = sorted(zip([inquiry.name(p[1]) for p in parts], [inquiry.name(t, known) for t in theirs], strict=True))
        found = [
            c
            for c in free
            if c["parent"] == target
            and sorted(zip(c["columns"], c["parent_columns"], strict=True)) == pairs
            and (ACTIONS[c["confupdtype"]], ACTIONS[c["confdeltype"]]) == (on_update, on_delete)
        ]
        free = [c for c in free if c not in found[:1]]
        columns = [p[1].lower() for p in parts]
        named = [r for r in inquiry.refused("foreign key") if all(c in r.get("source", "").lower() for c in columns)]
        label = f"({', '.join(p[1] for p in parts)}) → {parent}"
        inquiry.settle("foreign key", label, bool(found), bool(named))
        if found and not found[0]["convalidated"] and not _orphans(inquiry, known):
            inquiry.result.found("foreign key", f"{inquiry.table}.{label}", "NOT VALID, though each row has its parent")
    text = joined(_statement(inquiry)).upper()
    late = text.count("DEFERRABLE INITIALLY DEFERRED") - text.count("NOT DEFERRABLE INITIALLY DEFERRED")
    late = min(late, len(grouped))  # the words may stand after other constraints, and mean nothing there
    there = sum(c["condeferred"] for c in inquiry.target.constraints) + len(inquiry.refused("foreign key"))
    if there < late:
        inquiry.result.found("foreign key", inquiry.table, f"{late} are deferred in SQLite, {there} here")


def _orphans(inquiry: Inquiry, parent: str) -> bool:
    """Whether rows of the table lack their parent."""
    query = 'SELECT 1 FROM pragma_foreign_key_check(?) WHERE lower("parent") = lower(?) LIMIT 1'
    return bool(inquiry.source.all(query, inquiry.table, parent))


def _identity(inquiry: Inquiry, connection: Connection, schema: str, target: str) -> None:
    """A numbered column goes on after the largest id that ever was."""
    alias = inquiry.source.alias(inquiry.table)
    if not alias:
        return
    column = inquiry.name(alias)
    if not inquiry.target.columns.get(column, {}).get("attidentity"):
        inquiry.settle("identity", alias, False, any(r["name"] == alias for r in inquiry.refused("identity")))
        return
    inquiry.settle("identity", alias, True, False)
    (largest,) = inquiry.source.one(f'SELECT max("{alias}") FROM "{inquiry.table}"'.replace('"', '"'))
    ever = inquiry.source.all("SELECT 1 FROM sqlite_schema WHERE name = 'sqlite_sequence'")
    if ever:
        used = inquiry.source.all("SELECT seq FROM sqlite_sequence WHERE name = ?", inquiry.table)
        largest = max([largest or 0, *(int(s) for (s,) in used if s is not None)])
    name = psycopg.sql.Identifier(schema, target).as_string()
    sequence = connection.execute("SELECT pg_get_serial_sequence(%s, %s)", [name, column]).fetchone()
    assert sequence is not None
    state = connection.execute(f"SELECT last_value, is_called FROM {sequence[0]}".encode()).fetchone()
    assert state is not None
    following = state[0] + state[1]
    if following != max(largest or 0, 0) + 1 and (largest or 0) < 2**63 - 1:
        message = f"its next number is {following}, the largest ever used is {largest}"
        inquiry.result.found("identity", f"{inquiry.table}.{alias}", message)


# -- what is no table


def _virtual(
    result: Judgement, source: Source, plan: Mapping[str, Any], refused: Sequence[Mapping[str, Any]], excluded: set[str]
) -> None:
    names = {r["name"] for r in refused if r["kind"] in ("virtual table", "shadow table")} | excluded
    kinds = source.all(
        "SELECT name, type FROM pragma_table_list WHERE schema = 'main' AND type IN ('virtual', 'shadow')"
    )
    known = {name for name, _ in kinds}
    for kind, name, _, text in source.schema:
        if kind == "table" and name not in known and joined(text).upper().startswith("CREATE VIRTUAL"):
            kinds.append((name, "virtual"))  # its module is missing, so the pragma leaves it out
    for name, kind in kinds:
        carried = name in plan["tables"]
        result.settle(f"{kind} table", name, carried, name in names)
