"""Finds rows whose foreign keys would fail in the target: the parent is missing, or was quarantined."""

from __future__ import annotations

from typing import Any

import apsw
import psycopg

from migration.catalog import Table
from migration.errors import MigrationError
from migration.job import Job
from migration.load.casts import INTEGER_OR_TEXT
from migration.load.reading import Reading
from migration.mapping import ForeignKeyMap
from migration.postgres import state
from migration.sqlite.catalog import quoted, read_catalog


def orphan_predicates(
    snapshot: apsw.Connection, connection: psycopg.Connection[Any], job: Job, reading: Reading
) -> tuple[str, ...]:
    """One SQL predicate per foreign key, or none at all when no row that is to be read is an orphan.

    The loads of the parents must be done, but for those that come later because foreign keys go in a circle: what is
    in the quarantine so far counts of these, as of the table itself where it is its own parent. Should more of their
    rows go there, finish_schema says so. SQLite enforces no foreign key unless asked to at every connection
    (https://sqlite.org/foreignkeys.html#fk_enable), so orphans are ordinary.
    """
    name = reading.map.source.name
    if not reading.map.foreign_keys:
        return ()
    catalog = read_catalog(snapshot)
    predicates = tuple(
        _predicate(connection, job, name, key, catalog.table(key.parent)) for key in reading.map.foreign_keys
    )
    for predicate in predicates:
        query = f"SELECT EXISTS (SELECT 1 FROM {quoted(name)}{reading.where(predicate)})"  # noqa: S608 - quoted()
        if snapshot.execute(query).fetchall()[0][0]:
            return predicates
    return ()


def _predicate(connection: psycopg.Connection[Any], job: Job, table: str, key: ForeignKeyMap, parent: Table) -> str:
    needed = key.parent in job.plan.before(table)
    if needed and not state.rows(connection, state.loads, run_id=job.run_id, table_name=key.parent):
        raise MigrationError(
            f"Foreign key {key.name} needs {key.parent} to be loaded first. Clear its load task, downstream included."
        )
    present = " AND ".join(f"{quoted(c)} IS NOT NULL" for c in key.columns)
    digits = _as_digits(job, table, key)
    theirs = ", ".join(_form(quoted(c), d) for c, d in zip(key.parent_columns, digits, strict=True))
    parents = f"SELECT {theirs} FROM {quoted(key.parent)}{_known(parent, key.parent_columns)}"  # noqa: S608 - quoted()
    # PostgreSQL compares bytes, whatever collation SQLite's column has.
    own = [f"{_form(quoted(c), d)} COLLATE BINARY" for c, d in zip(key.columns, digits, strict=True)]
    child = f"({', '.join(own)})" if len(own) > 1 else own[0]
    gone = _quarantined_parents(connection, job, key, digits)
    also = f" OR {child} IN (VALUES {', '.join(gone)})" if gone else ""
    return f"({present} AND ({child} NOT IN ({parents}){also}))"


def _known(parent: Table, columns: tuple[str, ...]) -> str:
    """Leaves out parents with a NULL. A rowid is none, and without a condition SQLite looks into the table itself."""
    if columns == (parent.rowid_alias,):
        return ""
    return " WHERE " + " AND ".join(f"{quoted(c)} IS NOT NULL" for c in columns)


def _as_digits(job: Job, table: str, key: ForeignKeyMap) -> list[bool]:
    """Per column of the key, whether integers on either side become their digits, as which they are compared."""
    tables = (job.plan.tables[table], job.plan.tables[key.parent])
    pairs = zip(key.columns, key.parent_columns, strict=True)
    return [INTEGER_OR_TEXT in (tables[0].cast(c), tables[1].cast(p)) for c, p in pairs]


def _form(value: str, digits: bool) -> str:
    return f"CAST({value} AS TEXT)" if digits else value


def _quarantined_parents(
    connection: psycopg.Connection[Any], job: Job, key: ForeignKeyMap, digits: list[bool]
) -> list[str]:
    """The referenced values of the parent's quarantined rows, as SQLite literals in parentheses."""
    found: dict[str, dict[str, str]] = {}
    rows = connection.execute(
        "SELECT row_key, column_name, storage_class, value FROM migration.quarantined_values"
        " WHERE run_id = %s AND table_name = %s AND column_name = ANY(%s) AND value IS NOT NULL"
        " ORDER BY row_key",
        [job.run_id, key.parent, list(key.parent_columns)],
    )
    for row_key, column, storage, value in rows:
        found.setdefault(row_key, {})[column] = _literal(storage, value)
    # With a NULL in it a key is nobody's parent, and in a list it would make every comparison NULL.
    whole = [values for values in found.values() if len(values) == len(key.parent_columns)]
    columns = list(zip(key.parent_columns, digits, strict=True))
    return [f"({', '.join(_form(values[c], d) for c, d in columns)})" for values in whole]


def _literal(storage: str, value: bytes) -> str:
    if storage in ("integer", "real"):
        return value.decode().replace("inf", "9e999")
    blob = f"x'{value.hex()}'"
    return blob if storage == "blob" else f"CAST({blob} AS TEXT)"
