"""Reads one staged table: digests of the rows that a block of the source should have become, and rows."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import psycopg
from psycopg import sql

from migration.verify.codecs import NULL, SEPARATOR, Column
from migration.verify.hashing import Digest, occurrences
from migration.verify.source import GROUP
from migration.verify.values import Canonical

FETCH_ROWS = 100
"""Rows that the server hands over at a time; long ones among them are in memory together."""
FIRST, LAST = -(2**63), 2**63 - 1

_NULL, _SEPARATOR = sql.Literal(NULL.decode()), sql.Literal(SEPARATOR.decode())
_OF_NOTHING = hashlib.sha256().digest()


@dataclass(frozen=True)
class Facts:
    """What PostgreSQL says of a staged table."""

    oid: int
    columns: dict[str, tuple[str, int, str, bool]]
    """By name: pg_type.typname, atttypmod, the type as PostgreSQL writes it, NOT NULL."""
    primary_key: tuple[str, ...]


def facts(connection: psycopg.Connection[Any], schema: str, table: str) -> Facts | None:
    """The facts of a table; None when there is no such table."""
    found = connection.execute(
        "SELECT c.oid FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
        " WHERE n.nspname = %s AND c.relname = %s AND c.relkind = 'r'",
        [schema, table],
    ).fetchone()
    if found is None:
        return None
    columns = connection.execute(
        "SELECT a.attname, t.typname, a.atttypmod, format_type(a.atttypid, a.atttypmod), a.attnotnull"
        " FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid"
        " WHERE a.attrelid = %s AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum",
        found,
    )
    by_name = {name: (kind, modifier, written, not_null) for name, kind, modifier, written, not_null in columns}
    key = connection.execute(
        "SELECT a.attname FROM pg_index i CROSS JOIN unnest(i.indkey) WITH ORDINALITY AS k(number, place)"
        " JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.number"
        " WHERE i.indrelid = %s AND i.indisprimary AND i.indisvalid ORDER BY k.place",
        found,
    )
    return Facts(found[0], by_name, tuple(name for (name,) in key))


def print_alike(connection: psycopg.Connection[Any]) -> None:
    """For the rest of the transaction, one way to print every value; a fixed offset needs no time zone file."""
    connection.execute("SET LOCAL search_path = pg_catalog; SET LOCAL datestyle = 'ISO, YMD'; SET LOCAL jit = off")
    connection.execute("SET LOCAL TIME ZONE INTERVAL '+00:00' HOUR TO MINUTE")


@contextmanager
def by_index(connection: psycopg.Connection[Any]) -> Iterator[None]:
    """Within this block a few rows are read through an index, whatever the planner believes of the table's size."""
    settings = {f"enable_{scan}": "off" for scan in ("seqscan", "bitmapscan", "hashjoin", "mergejoin")}
    settings |= {"plan_cache_mode": "force_generic_plan", "max_parallel_workers_per_gather": "0"}
    for name, value in settings.items():
        connection.execute(sql.SQL("SET LOCAL {} = {}").format(sql.Identifier(name), sql.Literal(value)))
    yield
    for name in settings:
        connection.execute(sql.SQL("SET LOCAL {} TO DEFAULT").format(sql.Identifier(name)))


@dataclass(frozen=True)
class Choice:
    """Which rows of the table ``t``, in which order."""

    chosen: sql.Composable
    """What follows FROM."""
    ordered: sql.Composable
    """What follows the condition: the order, and how many at most."""
    bindings: list[Any]


@dataclass(frozen=True)
class TargetRow:
    """One row: where it lies, and the canonical form of each column."""

    ctid: str
    forms: tuple[Canonical, ...]


class Target:
    """One staged table, seen through the codecs of its columns.

    Statements go through raw cursors (``$1``): the usual ones look for ``%`` in the names of columns.
    """

    def __init__(
        self,
        connection: psycopg.Connection[Any],
        schema: str,
        table: str,
        columns: Sequence[Column],
        key: Sequence[str],
    ) -> None:
        self.connection, self.columns = connection, tuple(columns)
        self.table = sql.SQL("{} AS t").format(sql.Identifier(schema, table))
        places = {c.target: i for i, c in enumerate(columns)}
        self.key = tuple(places[name] for name in key) if key and set(key) <= set(places) else ()
        """The places of the primary key's columns; empty when the source fills no whole key."""

    def _name(self, place: int) -> sql.Identifier:
        return sql.Identifier("t", self.columns[place].target)

    def between(self, first: int, last: int, most: int | None = None) -> Choice:
        """The rows with keys from ``first`` to ``last``, at most ``most``; for a key of one integer column."""
        name = self._name(self.key[0])
        chosen = sql.SQL("{} WHERE {} BETWEEN $1::bigint AND $2::bigint").format(self.table, name)
        ordered = sql.SQL("ORDER BY {} LIMIT $3::bigint").format(name)
        return Choice(chosen, ordered, [first, last, most])

    def listed(self, keys: Sequence[Sequence[Canonical]]) -> Choice:
        """The rows of these keys, in the order of the list."""
        arrays, names, same = [], [], []
        for i, place in enumerate(self.key):
            codec, name = self.columns[place].codec, sql.Identifier(f"k{i}")
            assert codec.key is not None
            kind = "bytea" if codec.lengths else "text"
            arrays.append(sql.SQL("${}::{}[]").format(sql.SQL(str(i + 1)), sql.SQL(kind)))
            names.append(name)
            same.append(sql.SQL("{} = {}").format(self._name(place), codec.key.format(sql.SQL("k.{}").format(name))))
        chosen = sql.SQL("unnest({}) WITH ORDINALITY AS k({}, place) JOIN {} ON {}").format(
            sql.SQL(", ").join(arrays), sql.SQL(", ").join(names), self.table, sql.SQL(" AND ").join(same)
        )
        return Choice(chosen, sql.SQL("ORDER BY k.place"), [list(part) for part in zip(*keys, strict=True)])

    def following(self, ctid: str, most: int | None) -> Choice:
        """At most ``most`` rows behind ``ctid``, as they lie in the table."""
        # A TID range scan reads forward from there; it knows of no order, so asking for one would sort the table.
        chosen = sql.SQL("{} WHERE t.ctid > $1::tid").format(self.table)
        return Choice(chosen, sql.SQL("LIMIT $2::bigint"), [ctid, most])

    def at(self, ctids: Sequence[str]) -> Choice:
        """The rows that lie there."""
        return Choice(sql.SQL("{} WHERE t.ctid = ANY($1::tid[])").format(self.table), sql.SQL(""), [list(ctids)])

    def everything(self) -> Choice:
        """All rows."""
        return Choice(self.table, sql.SQL(""), [])

    def digest(self, choice: Choice) -> Digest:
        """The digest of these rows, comparable with the source's."""
        return self._digest(choice, sql.SQL("NULL"))[0]

    def digest_placed(self, choice: Choice) -> tuple[Digest, str | None]:
        """The same, and the last place where one of the rows lies, which costs a fifth more."""
        return self._digest(choice, sql.SQL("max(ctid)::text"))

    def _digest(self, choice: Choice, place: sql.SQL) -> tuple[Digest, str | None]:
        rows, last, given, parts = 0, None, [], []
        for start in range(0, len(self.columns), GROUP):
            group = range(start, min(start + GROUP, len(self.columns)))
            wanted: list[sql.Composable] = []
            for i in group:
                wanted += self._joined(i)
            inner = sql.SQL(", ").join(
                sql.SQL("{} AS {}").format(self._name(i), sql.Identifier(f"c{i}")) for i in group
            )
            query = sql.SQL("SELECT count(*), {}, {} FROM (SELECT t.ctid, {} FROM {} {}) AS r").format(
                place, sql.SQL(", ").join(wanted), inner, choice.chosen, choice.ordered
            )
            with psycopg.RawCursor(self.connection) as cursor:
                found = cursor.execute(query, choice.bindings, prepare=True).fetchall()[0]
            rows, last, values = found[0], found[1], iter(found[2:])
            for i in group:
                codec = self.columns[i].codec
                if codec.lengths is None and not codec.digits:
                    given.append(next(values))
                parts += [next(values) or _OF_NOTHING for _ in range(1 if codec.lengths is None else 2)]
        return Digest(rows, tuple(given), tuple(parts)), last

    def _joined(self, place: int) -> list[sql.Composable]:
        codec, name = self.columns[place].codec, sql.Identifier(f"c{place}")
        form = codec.target.format(name)
        if codec.digits:
            return [sql.SQL("sha256(textsend(string_agg(coalesce({}, 'null'), ',')))").format(form)]
        if codec.null is not None:
            joined = sql.SQL("sha256(string_agg(coalesce({}, {}::bytea), ''))")
            return [sql.SQL("count({})").format(name), joined.format(form, sql.Literal(rf"\x{codec.null.hex()}"))]
        if codec.lengths is None:
            joined = sql.SQL("sha256(textsend(string_agg(coalesce({}, {}), {})))")
            return [sql.SQL("count({})").format(name), joined.format(form, _NULL, _SEPARATOR)]
        lengths = sql.SQL("sha256(textsend(string_agg({}, ',')))").format(codec.lengths[1].format(name))
        return [sql.SQL("sha256(string_agg({}, ''))").format(form), lengths]

    def rows(self, choice: Choice, only: Iterable[int] | None = None) -> Iterator[TargetRow]:
        """These rows, a portion at a time; ``only`` some of their columns."""
        places = range(len(self.columns)) if only is None else only
        forms = sql.SQL(", ").join(self.columns[i].codec.target.format(self._name(i)) for i in places)
        query = sql.SQL("SELECT t.ctid::text, {} FROM {} {}").format(forms, choice.chosen, choice.ordered)
        with psycopg.RawServerCursor(self.connection, "verified_rows") as cursor:
            cursor.itersize = FETCH_ROWS
            for ctid, *found in cursor.execute(query, choice.bindings):
                yield TargetRow(ctid, tuple(found))


def recast(connection: psycopg.Connection[Any], digest: Digest) -> Digest:
    """The source's digest with its pending parts made canonical by PostgreSQL, and hashed.

    jsonb forgets all but one of repeated keys. Each takes its two quotes along, and nothing else changes the number
    of quotes except the escape \\u0022: a block with other numbers, or with that, is not clear.
    """
    hashes, clear = list(digest.parts), digest.clear
    for number, form, joined in digest.pending:
        query = sql.SQL(
            "SELECT textsend(string_agg(coalesce({}, {}), {}))"
            " FROM string_to_table(convert_from($1::bytea, 'UTF8'), {}, {}) AS x"
        ).format(form.format(sql.Identifier("x")), _NULL, _SEPARATOR, _SEPARATOR, _NULL)
        try:
            with connection.transaction(), psycopg.RawCursor(connection) as cursor:
                found = cursor.execute(query, [joined], prepare=True, binary=True).fetchall()[0][0] or b""
        except (psycopg.DataError, psycopg.errors.StatementTooComplex):
            clear = False  # some value is no such thing; row by row it will be told which
            continue
        hashes[number] = hashlib.sha256(found).digest()
        clear = clear and occurrences(found, b'"') == occurrences(joined, b'"') and b"\\u0022" not in joined
    return replace(digest, parts=tuple(hashes), clear=clear, pending=())
