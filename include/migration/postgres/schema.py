"""The staged tables before the load (columns only) and after it (keys, checks, indexes, sequences)."""

from __future__ import annotations

import logging
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
from psycopg import sql

from migration.errors import MigrationError, TargetError, TransientError
from migration.job import Job, step
from migration.plan import Plan
from migration.postgres import state, views
from migration.postgres.making import KEYS, Made, announce
from migration.postgres.shape import Shape, ddl, described, digest, expected, targets
from migration.postgres.staging import drop_staging, hold, oids
from migration.postgres.target import connected, path
from migration.telling import detail, progress
from migration.words import counted, duration, visible

log = logging.getLogger("migration")

THREADS = 3
BIG = 64 * 1024 * 1024
"""Staged bytes from which keys and indexes are built on several connections at once."""


def create_schema(job: Job) -> dict[str, Any]:
    """Create the staging schema with the plan's empty tables: columns, defaults, NOT NULL and sequences.

    Keys, checks and indexes come after the rows (:func:`finish_schema`). Run again, it starts over: this
    run's tables go, and what is recorded of their rows. Never touches what this run did not create.
    """
    log.info(
        "create_schema: %s without keys and indexes into %s",
        *(counted(len(job.plan.tables), "empty table"), job.staging),
    )
    with (
        step(job, "create_schema"),
        connected(job.target, "Creating the staging schema", autocommit=True) as connection,
        connection.transaction(),
    ):
        drop_staging(connection, hold(connection, job, alone=True))
        connection.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(job.staging)))
        for statement in ddl(job.plan, job.staging, pre_data=True):
            connection.execute(statement)
        staged = oids(connection, job.staging, targets(job.plan))
        fresh = {"staged": staged, "status": "running", "approval": None}
        state.update(connection, state.runs, fresh, run_id=job.run_id)
        for table in (state.differences, state.verifications, state.quarantined_values, state.quarantine):
            state.clear(connection, table, run_id=job.run_id)
        for table in (state.altered_values, state.load_ranges, state.loads):
            state.clear(connection, table, run_id=job.run_id)
        for name in ("load", "finish_schema", "verify", "approve"):
            state.clear(connection, state.steps, run_id=job.run_id, step=name)
    detail(f"create_schema: the tables in {job.staging}", staged)
    log.info("create_schema: %s created in %s", counted(len(staged), "table"), job.staging)
    return {"schema": job.staging, "tables": len(staged)}


def drop_post_data(connection: psycopg.Connection[Any], schema: str, tables: list[str]) -> None:
    """Drop the keys, checks and indexes of ``tables``, and the foreign keys of ``schema`` that point at them:
    the state before :func:`finish_schema`, in which they can be emptied and filled. The caller commits."""
    if not _has_post_data(connection, schema, tables):  # the first load of each table: describing takes longer
        return
    drop_references(connection, schema, tables)
    for table, shape in described(connection, schema, tables).items():
        _drop(connection, schema, table, list(shape["constraints"]), list(shape["indexes"]))


def drop_views(connection: psycopg.Connection[Any], job: Job) -> None:
    """Drop the run's staged views, so that they hinder no work on the tables; commits."""
    with connection.transaction():
        views.drop(connection, hold(connection, job))


def _has_post_data(connection: psycopg.Connection[Any], schema: str, tables: list[str]) -> bool:
    found = connection.execute(
        "SELECT EXISTS (SELECT FROM pg_index WHERE indrelid::bigint = ANY(%(oids)s))"
        " OR EXISTS (SELECT FROM pg_constraint WHERE contype <> 'n'"
        "            AND (conrelid::bigint = ANY(%(oids)s) OR confrelid::bigint = ANY(%(oids)s)))",
        {"oids": list(oids(connection, schema, tables).values())},
    ).fetchone()
    return found == (True,)


def drop_references(connection: psycopg.Connection[Any], schema: str, tables: list[str]) -> None:
    """Drop the foreign keys of ``schema`` that lead to ``tables`` or from them. The caller commits."""
    found = connection.execute(
        "SELECT c.relname, o.conname FROM pg_constraint o JOIN pg_class c ON c.oid = o.conrelid"
        " JOIN pg_namespace n ON n.oid = c.relnamespace AND n.nspname = %(schema)s"
        " WHERE o.contype = 'f'"
        " AND (o.conrelid::bigint = ANY(%(oids)s) OR o.confrelid::bigint = ANY(%(oids)s))",
        {"schema": schema, "oids": list(oids(connection, schema, tables).values())},
    ).fetchall()
    for table, name in found:
        _drop(connection, schema, table, [name])


def _drop(
    connection: psycopg.Connection[Any],
    schema: str,
    table: str,
    constraints: list[str],
    indexes: list[str] | None = None,
) -> None:
    if constraints:
        drops = sql.SQL(", ").join(sql.SQL("DROP CONSTRAINT {}").format(sql.Identifier(c)) for c in constraints)
        connection.execute(sql.SQL("ALTER TABLE {} {}").format(sql.Identifier(schema, table), drops))
    if indexes:
        names = sql.SQL(", ").join(sql.Identifier(schema, i) for i in indexes)
        connection.execute(sql.SQL("DROP INDEX {}").format(names))


def finish_schema(job: Job) -> dict[str, Any]:
    """Give the loaded tables what the models have beyond columns, set their sequences, ANALYZE them, make the views.

    Keys, checks and indexes first, each table in a transaction of its own and the largest first; then foreign keys,
    then views. Run again, it keeps what is there and right, replaces what differs, and makes what is missing; views are
    made anew. A sequence goes on after the largest id that the source ever used. Voids an approval given before.
    """
    started = time.monotonic()
    with (
        step(job, "finish_schema"),
        connected(job.target, "Finishing the schema", autocommit=True) as connection,
    ):
        drop_views(connection, job)
        with connection.transaction():
            run = hold(connection, job)
            _check_loads(connection, job)
            wanted = expected(connection, job)
            _check_pre_data(wanted, described(connection, job.staging, targets(job.plan)))
            tables = _by_size(connection, job)
            announce(job, wanted, sum(octets for *_, octets in tables))
            made = Made(len(tables))
            with progress("finish_schema", made.told):
                load_ids = _finish_tables(job, run, wanted, tables, made)
                _foreign_keys(connection, job, wanted, made)
                made.created += views.make(connection, job)
            _record(connection, job, load_ids)
    detail("finish_schema: what was made", made.lines)
    log.info(
        "finish_schema: %s made on %s in %s",
        *(counted(len(made.created), "object"), counted(len(wanted), "table")),
        duration(time.monotonic() - started),
    )
    return {"tables": len(wanted), "created": made.created}


def _check_loads(connection: psycopg.Connection[Any], job: Job) -> None:
    loaded = {row["table_name"] for row in state.rows(connection, state.loads, run_id=job.run_id)}
    if missing := [t for t in job.plan.tables if t not in loaded]:
        raise MigrationError(
            f"Not loaded yet: {visible(', '.join(missing))}. Clear the load task of each, downstream included."
        )


def _check_pre_data(wanted: dict[str, Shape], present: dict[str, Shape]) -> None:
    found = [
        f"table {table} is missing"
        if table not in present
        else f"table {table} has {kind} {present[table][kind]} where the plan has {shape[kind]}"
        for table, shape in wanted.items()
        for kind in ("columns", "sequences")
        if table not in present or present[table][kind] != shape[kind]
    ]
    if found:
        raise TargetError(
            f"The staged tables are not those of the plan any more: {visible('; '.join(dict.fromkeys(found)))}. "
            "Clear the create_schema task, downstream included."
        )


def _by_size(connection: psycopg.Connection[Any], job: Job) -> list[tuple[str, str, int]]:
    """(source table, target table, bytes), the largest first."""
    sources = job.plan.sources
    found = connection.execute(
        "SELECT c.relname, pg_table_size(c.oid) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
        " WHERE n.nspname = %s AND c.relname = ANY(%s) ORDER BY 2 DESC, 1",
        [job.staging, list(sources)],
    )
    return [(sources[name], name, size) for name, size in found]


def _finish_tables(
    job: Job, run: dict[str, Any], wanted: dict[str, Shape], tables: list[tuple[str, str, int]], made: Made
) -> dict[str, Any]:
    """Everything but foreign keys; the load that each table held."""
    waiting = deque(tables)
    load_ids: dict[str, Any] = {}

    def work() -> None:
        with connected(job.target, "Finishing the schema", autocommit=True) as connection:
            while waiting:
                try:
                    source, target, _ = waiting.popleft()
                except IndexError:  # another thread took the last one
                    return
                try:
                    load_ids[source] = _finish_table(connection, job, run, source, target, wanted[target], made)
                except BaseException:
                    waiting.clear()
                    raise
                made.finished.append(target)

    threads = THREADS if sum(size for _, _, size in tables) > BIG else 1
    with ThreadPoolExecutor(threads) as pool:
        for done in [pool.submit(work) for _ in range(threads)]:
            done.result()
    return load_ids


def _finish_table(
    connection: psycopg.Connection[Any],
    job: Job,
    run: dict[str, Any],
    source: str,
    target: str,
    wanted: Shape,
    made: Made,
) -> Any:
    table = sql.Identifier(job.staging, target)
    with connection.transaction():
        connection.execute(sql.SQL("LOCK TABLE {} IN ACCESS EXCLUSIVE MODE").format(table))
        load = state.rows(connection, state.loads, run_id=job.run_id, table_name=source)[0]
        present = described(connection, job.staging, [target])[target]
        wrong = {
            kind: {n: d for n, d in present[kind].items() if wanted[kind].get(n) != d}
            for kind in ("constraints", "indexes")
        }
        if any(d.startswith(KEYS) for named in wrong.values() for d in named.values()):
            drop_references(connection, job.staging, [target])
        _drop(connection, job.staging, target, list(wrong["constraints"]), list(wrong["indexes"]))
        with path(connection, job.staging):
            # The primary key first: when several do not hold, its violation explains the others.
            keys = sorted(wanted["constraints"].items(), key=lambda c: not c[1].startswith("PRIMARY"))
            for name, definition in keys:
                if present["constraints"].get(name) != definition:
                    with made.making(target, name):
                        _add_constraint(connection, table, target, name, definition)
            for name, definition in wanted["indexes"].items():
                if present["indexes"].get(name) != definition:
                    with made.making(target, name):
                        _make(connection, target, name, definition, definition.encode())
        _set_sequences(connection, job, run, source, target)
        connection.execute(sql.SQL("ANALYZE {}").format(table))
    return load["load_id"]


def _foreign_keys(connection: psycopg.Connection[Any], job: Job, wanted: dict[str, Shape], made: Made) -> None:
    present = described(connection, job.staging, list(wanted))
    with path(connection, job.staging):
        for source in job.plan.tables:
            target = job.plan.target_table(source)
            shape, known = wanted[target], present[target]["foreign_keys"]
            wrong = [n for n, d in known.items() if shape["foreign_keys"].get(n) != d]
            _drop(connection, job.staging, target, wrong)
            for name, definition in shape["foreign_keys"].items():
                if known.get(name) != definition:
                    table, advice = sql.Identifier(job.staging, target), _settling(job.plan, source, name)
                    with made.making(target, name):
                        _add_constraint(connection, table, target, name, definition, advice)


def _settling(plan: Plan, source: str, name: str) -> str:
    """Which loads make a broken foreign key hold."""
    key = plan.tables[source].foreign_keys.get(name)
    if key and key.table != source and plan.precedes(source, key.table):
        # Foreign keys go in a circle.
        return (
            f"{key.table} comes after {source}, and its quarantine may hold that row: clear the load task of {source}, "
            "downstream included."
        )
    return "Load both tables again (clear their load tasks, downstream included)."


def _add_constraint(
    connection: psycopg.Connection[Any],
    table: sql.Identifier,
    target: str,
    name: str,
    definition: str,
    advice: str = "",
) -> None:
    statement = sql.SQL("ALTER TABLE {} ADD CONSTRAINT {} ").format(table, sql.Identifier(name))
    _make(connection, target, name, definition, statement.as_bytes(connection) + definition.encode(), advice)


def _make(
    connection: psycopg.Connection[Any], target: str, name: str, definition: str, statement: bytes, advice: str = ""
) -> None:
    """Execute what PostgreSQL itself wrote as the definition; TargetError names the row that breaks it."""
    try:
        with connection.transaction():
            connection.execute(statement)
    except psycopg.errors.ProgramLimitExceeded as error:
        hash_index = "" if definition.startswith(KEYS) else "declare `method: hash` for it in the plan, or "
        raise TargetError(
            f"Table {visible(f'{target}: {name}')} cannot be made, because a key is too long "
            f"({error.diag.message_primary}): {hash_index}"
            "take it out of the plan, then clear the table's load task, downstream included."
        ) from error
    except psycopg.errors.IntegrityError as error:
        detail = error.diag.message_detail or error.diag.message_primary or str(error)
        if isinstance(error, psycopg.errors.CheckViolation):
            detail = f"the row {_breaking(connection, target, definition)} breaks it"
        advice = f" {advice} If it stays:" if advice else ""
        raise TargetError(
            f"Table {visible(f'{target}: {name} {definition}')} does not hold: {visible(detail[:500].rstrip('.'))}."
            f"{advice} "
            "Correct the source and start a new run, or change the plan (or its models)."
        ) from error


def _breaking(connection: psycopg.Connection[Any], target: str, definition: str) -> str:
    condition = definition.removeprefix("CHECK ").removesuffix(" NO INHERIT").encode()
    query = sql.SQL("SELECT (t.*)::text FROM {} t WHERE NOT ").format(sql.Identifier(target)).as_bytes(connection)
    row = connection.execute(query + condition + b" LIMIT 1").fetchone()
    return str(row[0])[:300] if row else "(gone)"


def _set_sequences(
    connection: psycopg.Connection[Any], job: Job, run: dict[str, Any], source: str, target: str
) -> None:
    """Let each sequence go on after the largest id ever used: loaded, quarantined, or deleted before."""
    found = connection.execute(
        "SELECT format('%%I.%%I', n.nspname, s.relname), a.attname, q.seqstart, q.seqmin, q.seqmax,"
        " coalesce(a.attnum = ANY(i.indkey), false)"
        " FROM pg_depend d JOIN pg_class s ON s.oid = d.objid JOIN pg_namespace n ON n.oid = s.relnamespace"
        " JOIN pg_sequence q ON q.seqrelid = s.oid"
        " JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid"
        " LEFT JOIN pg_index i ON i.indrelid = d.refobjid AND i.indisprimary"
        " WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass AND d.refobjid = %s"
        " AND d.deptype IN ('a', 'i')",
        [oids(connection, job.staging, [target])[target]],
    ).fetchall()
    for sequence, column, start, least, most, is_key in found:
        query = sql.SQL("SELECT max({})::bigint FROM {}").format(
            sql.Identifier(column), sql.Identifier(job.staging, target)
        )
        used = [connection.execute(query).fetchall()[0][0]]
        if is_key:
            recorded = ((run["snapshot"] or {}).get("sequences") or {}).get(source)
            if recorded is not None and recorded > most:
                raise TargetError(
                    f"Table {target}: column {column} numbers up to {most}, but the source has used ids up "
                    f"to {recorded} (sqlite_sequence). Give "
                    "the column a larger type in the models and start a new run."
                )
            used += [recorded, _quarantined_id(connection, job, source, most)]
        largest = max((u for u in used if u is not None), default=None)
        if largest is None or largest < least:
            connection.execute("SELECT setval(%s::regclass, %s, false)", [sequence, start])
        else:
            connection.execute("SELECT setval(%s::regclass, %s)", [sequence, largest])


def _quarantined_id(connection: psycopg.Connection[Any], job: Job, source: str, most: int) -> int | None:
    """The largest id among the quarantined rows: a row that is put right later must find its id free."""
    row = connection.execute(
        "SELECT max(id)::bigint FROM (SELECT substring(row_key FROM '^\\[(-?[0-9]+)\\]$')::numeric AS id"
        " FROM migration.quarantine WHERE run_id = %s AND table_name = %s) AS keys WHERE id <= %s",
        [job.run_id, source, most],
    ).fetchone()
    return row[0] if row else None


def _record(connection: psycopg.Connection[Any], job: Job, load_ids: dict[str, Any]) -> None:
    """Note for each load that its table is finished, and how the table looks."""
    present = described(connection, job.staging, targets(job.plan))
    for source, load_id in load_ids.items():
        seen = connection.execute(
            "UPDATE migration.loads SET indexed_at = clock_timestamp(), shape = %s"
            " WHERE run_id = %s AND table_name = %s AND load_id = %s",
            [digest(present[job.plan.target_table(source)]), job.run_id, source, load_id],
        )
        if seen.rowcount != 1:
            raise TransientError(
                f"Table {source} was loaded again while the schema was being finished. Clear this task."
            )
    state.update(connection, state.runs, {"approval": None}, run_id=job.run_id)
