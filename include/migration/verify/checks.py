"""What is checked of a staged table beyond its values: balance, who wrote the rows, references, sequence, indexes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import psycopg
import sqlalchemy as sa
from psycopg import sql
from sqlalchemy.dialects import postgresql

from migration.job import Job
from migration.postgres.target import waived
from migration.verify.orphans import Reference, orphans
from migration.verify.target import Facts

OF_THE_ROWS = (
    "source rows",
    "target rows",
    "quarantine",
    "balance",
    "rows compared",
    "altered values",
    "untouched",
)
"""Checks that only a new load can mend; what the others find, finish_schema can."""


@dataclass(frozen=True)
class Check:
    """One check as it is recorded."""

    check: str
    ok: bool
    detail: str

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Staged:
    """The staged table that is being checked."""

    connection: psycopg.Connection[Any]
    job: Job
    source: str
    schema: str
    facts: Facts

    @property
    def target(self) -> str:
        """The table's name in the target."""
        return self.job.plan.target_table(self.source)


def balance(load: Mapping[str, Any], source_rows: int, held: int, quarantined: int) -> Iterator[Check]:
    """Source rows = loaded + quarantined + excluded, each counted anew."""
    excluded = load["excluded"]
    yield Check(
        "source rows",
        source_rows == load["source_rows"],
        f"{source_rows} in the snapshot, {load['source_rows']} when it was loaded",
    )
    yield Check("target rows", held == load["loaded"], f"{held} in the target, {load['loaded']} loaded")
    yield Check(
        "quarantine",
        quarantined == load["quarantined"],
        f"{quarantined} rows in the quarantine, {load['quarantined']} when it was loaded",
    )
    yield Check(
        "balance",
        source_rows == held + quarantined + excluded,
        f"{source_rows} source rows, {held} in the target + {quarantined} in the quarantine + {excluded} excluded",
    )


def altered(load: Mapping[str, Any], count: int) -> Check:
    """As many altered values as the load counted."""
    return Check(
        "altered values",
        count == load["altered"],
        f"{count} values altered by declaration, {load['altered']} when it was loaded",
    )


def untouched(staged: Staged, load: Mapping[str, Any]) -> tuple[int, Check]:
    """How many rows there are, read from the table itself, and whether all are as the load inserted them."""
    query = sql.SQL("SELECT count(*), count(*) FILTER (WHERE xmin = ANY ({}::xid[])) FROM {}").format(
        sql.Literal([str(x) for x in load["xids"]]), sql.Identifier(staged.schema, staged.target)
    )
    with psycopg.RawCursor(staged.connection) as cursor:
        held, same = cursor.execute(query).fetchall()[0]
    return held, Check(
        "untouched",
        held == same,
        f"{held - same} of {held} rows were written by another transaction than the load's",
    )


def references(staged: Staged, enforced: list[Reference], free: set[str]) -> Iterator[Check]:
    """Orphans: none may break a foreign key; those of a reference that nobody enforces, or of a foreign key that is
    ``free`` to be broken, are counted and named."""
    key = staged.facts.primary_key
    for reference in enforced:
        count, names = orphans(staged.connection, staged.schema, staged.target, key, reference)
        lenient = reference.name in free
        detail = _orphans(count, names, reference.parent) + (" (NOT VALID: it binds new rows)" if lenient else "")
        yield Check(f"foreign key {reference.name}", lenient or count == 0, detail)
    plan = staged.job.plan
    chosen = plan.tables[staged.source]
    for declared in chosen.references:
        of_parent = plan.tables[declared.table]
        columns = tuple(map(chosen.target_column, declared.columns))
        reference = Reference(
            ", ".join(columns),
            columns,
            staged.schema,
            plan.target_table(declared.table),
            tuple(map(of_parent.target_column, declared.parent_columns)),
        )
        count, names = orphans(staged.connection, staged.schema, staged.target, key, reference)
        yield Check(f"reference {reference.name}", True, _orphans(count, names, reference.parent))


def _orphans(count: int, names: list[str], parent: str) -> str:
    if not count:
        return f"every row has its row of {parent}"
    return f"{count} rows have no row of {parent}: {', '.join(names)}{', …' if count > len(names) else ''}"


def sequence(staged: Staged, metadata: sa.MetaData, used: int | None) -> Iterator[Check]:
    """The next id, learned without taking it, lies behind every id that the source ever used."""
    if len(staged.facts.primary_key) != 1:
        return
    column = staged.facts.primary_key[0]
    name = f"sequence of {column}"
    found = staged.connection.execute(
        "SELECT n.nspname, c.relname, s.seqincrement, s.seqmax FROM pg_sequence s JOIN pg_class c ON c.oid = s.seqrelid"
        " JOIN pg_namespace n ON n.oid = c.relnamespace"
        " WHERE s.seqrelid = pg_get_serial_sequence(format('%%I.%%I', %s::text, %s::text), %s)::regclass",
        [staged.schema, staged.target, column],
    ).fetchone()
    if found is None:
        wanted = metadata.tables[staged.target].autoincrement_column
        if wanted is not None and wanted.name == column:
            yield Check(name, False, "the models number this column, and it has no sequence")
        return
    schema, sequence_name, increment, most = found
    query = sql.SQL("SELECT last_value, is_called FROM {}").format(sql.Identifier(schema, sequence_name))
    with psycopg.RawCursor(staged.connection) as cursor:
        last, called = cursor.execute(query).fetchall()[0]
    following = last + increment if called else last
    spent = used == last == most and called  # SQLite has no id left either
    detail = f"the next id is {following}; the largest that the source ever used is {'none' if used is None else used}"
    yield Check(name, spent or ((used is None or following > used) and following <= most), detail)


_KINDS: tuple[tuple[type[sa.Constraint], str], ...] = (
    (sa.PrimaryKeyConstraint, "p"),
    (sa.ForeignKeyConstraint, "f"),
    (sa.UniqueConstraint, "u"),
    (sa.CheckConstraint, "c"),
)
# "named": in the driver's own style, a % in a name would be doubled.
_preparer = postgresql.dialect(paramstyle="named").identifier_preparer  # type: ignore[no-untyped-call]


def constraints(staged: Staged, metadata: sa.MetaData) -> Iterator[Check]:
    """Every constraint and index of the models is there, and whatever is there holds."""
    table = metadata.tables[staged.target]
    found = staged.connection.execute(
        "SELECT conname, contype::text, convalidated FROM pg_constraint WHERE conrelid = %s ORDER BY conname",
        [staged.facts.oid],
    ).fetchall()
    declared = [*table.constraints, *(constraint for c in table.columns for constraint in c.constraints)]
    missing = []
    for kind, letter in _KINDS:
        wanted = [
            _name(c) for c in declared if isinstance(c, kind) and not (letter == "p" and not table.primary_key.columns)
        ]
        present = {name for name, of, _ in found if of == letter}
        missing += sorted({name for name in wanted if name is not None} - present)
        if len(present) < len(wanted) and not missing:  # one without a name of its own
            missing.append(f"one of {len(wanted)} {kind.__visit_name__.replace('_', ' ')}s")
    yield Check(
        "constraints",
        not missing,
        f"missing: {', '.join(missing)}" if missing else f"all {len(found)} are there",
    )
    free = waived(table)
    invalid = [name for name, _, valid in found if not valid and name not in free]
    binding = f"all but {', '.join(sorted(free))}, declared NOT VALID, hold" if free else "all hold"
    yield Check(
        "constraints validated",
        not invalid,
        f"not validated: {', '.join(invalid)}" if invalid else f"{binding} for every row",
    )
    indexes = staged.connection.execute(
        "SELECT c.relname, i.indisvalid AND i.indisready FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid"
        " WHERE i.indrelid = %s ORDER BY c.relname",
        [staged.facts.oid],
    ).fetchall()
    lacking = sorted({_written(_preparer.format_index(i)) for i in table.indexes} - {name for name, _ in indexes})
    yield Check(
        "indexes",
        not lacking,
        f"missing: {', '.join(lacking)}" if lacking else f"all {len(indexes)} are there",
    )
    unusable = [name for name, valid in indexes if not valid]
    yield Check("indexes valid", not unusable, f"not valid: {', '.join(unusable)}" if unusable else "all can be used")


def _name(constraint: sa.Constraint) -> str | None:
    """The constraint's name as PostgreSQL has it; None when the models leave it to PostgreSQL."""
    written = _preparer.format_constraint(constraint) if constraint.name is not None else None
    return None if written is None else _written(written)


def _written(name: str) -> str:
    return _preparer.unformat_identifiers(name)[0]


def unfilled(facts: Facts, filled: set[str]) -> Iterator[Check]:
    """The target's columns that the source has no values for."""
    if names := [name for name in facts.columns if name not in filled]:
        yield Check(
            "columns without a source",
            True,
            f"{', '.join(names)}: nothing to compare, they hold their defaults",
        )
