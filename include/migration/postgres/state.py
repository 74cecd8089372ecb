"""What a migration knows, kept in the target's ``migration`` schema beside the work it describes.

Each row is written in the transaction of the work itself: a killed process leaves either both or neither,
and workers need no disk in common. A load is named by its ``load_id``; what was verified or indexed names
the load it saw, so that a table loaded again counts as neither until those steps have run again.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import psycopg
import sqlalchemy as sa
from psycopg import sql
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb
from sqlalchemy.dialects import postgresql as pg
from sqlalchemy.schema import CreateIndex, CreateTable

from migration.errors import MigrationError

SCHEMA = "migration"
metadata = sa.MetaData(schema=SCHEMA)
_now = sa.text("clock_timestamp()")
_timestamp = pg.TIMESTAMP(timezone=True)


def _table(name: str, *columns: sa.Column[Any] | sa.Index | sa.Constraint) -> sa.Table:
    return sa.Table(name, metadata, *columns)


def _run_id() -> sa.Column[Any]:
    return sa.Column("run_id", sa.Text, sa.ForeignKey("migration.runs.run_id"), primary_key=True)


runs = _table(
    "runs",
    sa.Column("run_id", sa.Text, primary_key=True),
    sa.Column("plan", sa.Text, nullable=False),
    sa.Column("mode", sa.Text, nullable=False),
    # running → verified is derived; the words written are: running, rehearsed, kept, cut_over, rolled_back, superseded
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("params", pg.JSONB, nullable=False),
    sa.Column("source", sa.Text, nullable=False),
    sa.Column("staging", sa.Text, nullable=False),
    sa.Column("retired", sa.Text, nullable=False),
    sa.Column("live", sa.Text, nullable=False),
    # what the live schema held at preflight: {table: {rows, digest}} of each planned table that existed
    sa.Column("live_before", pg.JSONB, nullable=False),
    sa.Column("snapshot", pg.JSONB),
    # {target table: oid} as create_schema made them: what this run owns, wherever it has been moved since; and
    # {target view: {oid, shape, plan_digest}} as finish_schema made them
    sa.Column("staged", pg.JSONB),
    # {target table: {oid, rows, xids, load_id, retired}} at the cut-over; retired is the former live one's oid or null.
    # Of a view {oid, view: true, retired}
    sa.Column("live_after", pg.JSONB),
    sa.Column("approval", pg.JSONB),
    sa.Column("started_at", _timestamp, nullable=False, server_default=_now),
    sa.Column("cut_over_at", _timestamp),
    sa.Column("rolled_back_at", _timestamp),
)
steps = _table(
    "steps",
    _run_id(),
    sa.Column("step", sa.Text, primary_key=True),
    sa.Column("table_name", sa.Text, primary_key=True, server_default=""),
    sa.Column("status", sa.Text, nullable=False),  # running, done, failed
    sa.Column("message", sa.Text),
    sa.Column("started_at", _timestamp, nullable=False, server_default=_now),
    sa.Column("finished_at", _timestamp),
)
loads = _table(
    "loads",
    _run_id(),
    sa.Column("table_name", sa.Text, primary_key=True),
    sa.Column("load_id", sa.Uuid, nullable=False, unique=True),
    sa.Column("plan_digest", sa.Text, nullable=False),
    sa.Column("form_digest", sa.Text, nullable=False),  # of the plan without what becomes of values that cannot cross
    # the transactions that loaded it, and replayed its quarantine: their rows' xmin, modulo 2^32
    sa.Column("xids", pg.JSONB, nullable=False),
    sa.Column("source_rows", sa.BigInteger, nullable=False),
    sa.Column("loaded", sa.BigInteger, nullable=False),
    sa.Column("quarantined", sa.BigInteger, nullable=False),
    sa.Column("excluded", sa.BigInteger, nullable=False),
    sa.Column("altered", sa.BigInteger, nullable=False),  # values changed by declaration
    sa.Column("bytes", sa.BigInteger, nullable=False),  # bytes sent by COPY
    sa.Column("seconds", sa.Double, nullable=False),
    sa.Column("loaded_at", _timestamp, nullable=False, server_default=_now),
    sa.Column("indexed_at", _timestamp),
    sa.Column("shape", sa.Text),  # sha256 of the table's columns, keys and indexes as finish_schema left them
    sa.CheckConstraint("source_rows = loaded + quarantined + excluded", name="loads_balance"),
)
# A range of a table that is loaded in several: rows whose key lies above low and up to high. What stands behind xid is
# known once it is loaded, and the table's row in loads once all of them are.
load_ranges = _table(
    "load_ranges",
    _run_id(),
    sa.Column("table_name", sa.Text, primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True),  # from 1
    sa.Column("label", sa.Text, nullable=False),
    sa.Column("low", sa.Text),  # as a row_key; NULL: from the first row on, to the last
    sa.Column("high", sa.Text),
    sa.Column("table_rows", sa.BigInteger, nullable=False),  # of the whole table in the snapshot
    sa.Column("xid", sa.BigInteger),  # the transaction that loaded it: its rows' xmin
    sa.Column("plan_digest", sa.Text),
    sa.Column("form_digest", sa.Text),
    sa.Column("source_rows", sa.BigInteger),
    sa.Column("loaded", sa.BigInteger),
    sa.Column("quarantined", sa.BigInteger),
    sa.Column("excluded", sa.BigInteger),
    sa.Column("altered", sa.BigInteger),
    sa.Column("bytes", sa.BigInteger),
    sa.Column("seconds", sa.Double),
    sa.CheckConstraint("source_rows = loaded + quarantined + excluded", name="load_ranges_balance"),
)
# A source row that did not cross: its key, the first reason, and (quarantined_values) every value byte for byte.
quarantine = _table(
    "quarantine",
    _run_id(),
    sa.Column("table_name", sa.Text, primary_key=True),
    sa.Column("row_key", sa.Text, primary_key=True),  # JSON array of the key's values
    sa.Column("column_name", sa.Text, nullable=False),
    sa.Column("storage_class", sa.Text, nullable=False),
    sa.Column("rule", sa.Text, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
)
quarantined_values = _table(
    "quarantined_values",
    _run_id(),
    sa.Column("table_name", sa.Text, primary_key=True),
    sa.Column("row_key", sa.Text, primary_key=True),
    sa.Column("column_name", sa.Text, primary_key=True),
    sa.Column("storage_class", sa.Text, nullable=False),
    sa.Column("value", sa.LargeBinary),  # text: its bytes; numbers: their text; NULL only for NULL
)
# A value that crossed in another form because the plan declares it (its `invalid` policies).
altered_values = _table(
    "altered_values",
    _run_id(),
    sa.Column("table_name", sa.Text, primary_key=True),
    sa.Column("row_key", sa.Text, primary_key=True),
    sa.Column("column_name", sa.Text, primary_key=True),
    sa.Column("action", sa.Text, nullable=False),  # null, round
    sa.Column("storage_class", sa.Text, nullable=False),
    sa.Column("value", sa.LargeBinary),
    sa.Column("rule", sa.Text, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
)
verifications = _table(
    "verifications",
    _run_id(),
    sa.Column("table_name", sa.Text, primary_key=True),
    sa.Column("load_id", sa.Uuid, nullable=False),
    sa.Column("ok", sa.Boolean, nullable=False),
    sa.Column("rows", sa.BigInteger, nullable=False),
    sa.Column("values", sa.BigInteger, nullable=False),
    sa.Column("source_digest", sa.Text, nullable=False),
    sa.Column("target_digest", sa.Text, nullable=False),
    sa.Column("differences", sa.BigInteger, nullable=False),
    # [{"check": …, "ok": true, "detail": …}]: counts, references, sequence, constraints
    sa.Column("checks", pg.JSONB, nullable=False),
    sa.Column("seconds", sa.Double, nullable=False),
    sa.Column("verified_at", _timestamp, nullable=False, server_default=_now),
)
differences = _table(
    "differences",
    _run_id(),
    sa.Column("table_name", sa.Text, primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("row_key", sa.Text, nullable=False),
    sa.Column("column_name", sa.Text, nullable=False),  # '' for a whole row missing or extra
    sa.Column("kind", sa.Text, nullable=False),  # missing, extra, changed
    sa.Column("source_value", sa.Text),
    sa.Column("target_value", sa.Text),
)

CREATE_LOCK = 7_203_918_274
"""Advisory lock under which the state schema is created; any constant that nothing else uses."""


def create(connection: psycopg.Connection[Any]) -> None:
    """Create the state schema and what it lacks. Safe when several runs start at once.

    Commits by itself; the connection must be in autocommit.
    """
    dialect = sa.make_url("postgresql://").get_dialect()()
    # The session's lock, not the transaction's: only a transaction that begins behind it sees for certain what those
    # before it have made. A schema that was looked for earlier is remembered as missing until then.
    connection.execute("SELECT pg_advisory_lock(%s)", [CREATE_LOCK])
    try:
        with connection.transaction():
            connection.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(sql.Identifier(SCHEMA)))
            for table in metadata.sorted_tables:
                connection.execute(str(CreateTable(table, if_not_exists=True).compile(dialect=dialect)).encode())
                for index in table.indexes:
                    connection.execute(str(CreateIndex(index, if_not_exists=True).compile(dialect=dialect)).encode())
    finally:
        connection.execute("SELECT pg_advisory_unlock(%s)", [CREATE_LOCK])


def _values(row: Mapping[str, Any]) -> dict[str, Any]:
    return {k: Jsonb(v) if isinstance(v, (dict, list)) else v for k, v in row.items()}


def put(connection: psycopg.Connection[Any], table: sa.Table, row: Mapping[str, Any]) -> None:
    """Insert ``row`` or replace what stands under its primary key. The caller commits."""
    keys = [c.name for c in table.primary_key]
    names = list(row)
    rest = [n for n in names if n not in keys]
    connection.execute(
        sql.SQL("INSERT INTO {} ({}) VALUES ({}) ON CONFLICT ({}) DO UPDATE SET {}").format(
            sql.Identifier(SCHEMA, table.name),
            sql.SQL(", ").join(map(sql.Identifier, names)),
            sql.SQL(", ").join([sql.Placeholder(n) for n in names]),
            sql.SQL(", ").join(map(sql.Identifier, keys)),
            sql.SQL(", ").join(sql.SQL("{0} = EXCLUDED.{0}").format(sql.Identifier(n)) for n in rest),
        ),
        _values(row),
    )


def rows(connection: psycopg.Connection[Any], table: sa.Table, **where: Any) -> list[dict[str, Any]]:
    """The rows of a state table that match ``where``, ordered by primary key."""
    condition = (
        sql.SQL(" AND ").join(sql.SQL("{} = {}").format(sql.Identifier(n), sql.Placeholder(n)) for n in where)
        if where
        else sql.SQL("true")
    )
    query = sql.SQL("SELECT * FROM {} WHERE {} ORDER BY {}").format(
        sql.Identifier(SCHEMA, table.name),
        condition,
        sql.SQL(", ").join(sql.Identifier(c.name) for c in table.primary_key),
    )
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(query, where).fetchall()


def update(connection: psycopg.Connection[Any], table: sa.Table, changes: Mapping[str, Any], **where: Any) -> int:
    """Set ``changes`` on the rows that match ``where``; how many there were. The caller commits."""
    query = sql.SQL("UPDATE {} SET {} WHERE {}").format(
        sql.Identifier(SCHEMA, table.name),
        sql.SQL(", ").join(sql.SQL("{} = {}").format(sql.Identifier(n), sql.Placeholder(f"set_{n}")) for n in changes),
        sql.SQL(" AND ").join(sql.SQL("{} = {}").format(sql.Identifier(n), sql.Placeholder(n)) for n in where),
    )
    return connection.execute(query, {f"set_{k}": v for k, v in _values(changes).items()} | where).rowcount


def clear(connection: psycopg.Connection[Any], table: sa.Table, **where: Any) -> None:
    """Delete the rows that match ``where``. The caller commits."""
    condition = sql.SQL(" AND ").join(sql.SQL("{} = {}").format(sql.Identifier(n), sql.Placeholder(n)) for n in where)
    connection.execute(sql.SQL("DELETE FROM {} WHERE {}").format(sql.Identifier(SCHEMA, table.name), condition), where)


def run(connection: psycopg.Connection[Any], run_id: str) -> dict[str, Any]:
    """The run's row; MigrationError when the target knows no such run."""
    found = rows(connection, runs, run_id=run_id)
    if not found:
        raise MigrationError(
            f"The target knows no run {run_id!r}: its preflight has not passed. Start with the preflight."
        )
    return found[0]


def transaction_id(connection: psycopg.Connection[Any]) -> int:
    """The current transaction's id as rows carry it in xmin: 32 bits."""
    found = connection.execute("SELECT pg_current_xact_id()::text::bigint").fetchone()
    assert found is not None
    return int(found[0]) % 2**32
