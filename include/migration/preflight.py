"""Before anything is touched: can this source, by this plan, go into this target? And then the backup."""

from __future__ import annotations

import logging
import time
from contextlib import closing
from dataclasses import asdict
from typing import Any

import psycopg
import sqlalchemy as sa

from migration.catalog import Catalog
from migration.errors import MigrationError, PlanError, SourceError, TargetError, together, translated
from migration.job import Job, step
from migration.load.casts import cast_for
from migration.mapping import differences
from migration.postgres import live, state
from migration.postgres.compiling import uncompilable
from migration.postgres.cutover import discard_stale
from migration.postgres.target import connected, target_metadata
from migration.sqlite.catalog import read_catalog
from migration.sqlite.opening import check_integrity, open_snapshot, open_source
from migration.sqlite.snapshot import Manifest, discard, take
from migration.telling import detail, throughput
from migration.words import counted, size, visible

log = logging.getLogger("migration")

OLDEST = 14
"""The oldest PostgreSQL that is tested: extract() is exact from there on."""


def preflight(job: Job) -> dict[str, Any]:
    """Check plan, source and target, and register the run; returns what was found.

    Reports all problems together. Nothing is written before every check has passed, and then only the
    ``migration`` schema; runs of the same plan that never reached a cut-over are superseded.
    """
    log.info(
        "preflight: %s into schema %s by plan %s, as a %s; rows that cannot cross: %s; live tables that hold rows: %s",
        *(visible(str(job.source)), visible(job.plan.live_schema), job.plan.name),
        *("rehearsal" if job.params.mode == "rehearsal" else "real migration", job.params.quarantine),
        job.params.on_live_tables,
    )
    metadata = target_metadata(job.plan)
    problems: list[MigrationError] = []
    source: dict[str, Any] = {}
    version = ""
    try:
        source = _check_source(job, metadata)
    except MigrationError as error:
        problems.append(error)
    try:
        with connected(job.target, "Preflight on the target", autocommit=True) as connection:
            version = _check_target(connection, job)
            if not problems:
                _register(connection, job)
    except MigrationError as error:
        problems.append(error)
    if problems:
        raise together(problems)
    with step(job, "preflight"):  # only now is there a place for its record
        detail("preflight: what was checked", _checked(job, source, version))
    log.info(
        "preflight: nothing is in the way: %s of %s can go into PostgreSQL %s by way of %s",
        *(counted(source["tables"], "table"), size(source["bytes"]), version, job.staging),
    )
    return source | {"target_version": version, "staging": job.staging}


def _checked(job: Job, source: dict[str, Any], version: str) -> list[str]:
    plan = job.plan
    columns = sum(len(table.columns) for table in target_metadata(plan).tables.values())
    return [
        f"source {source['path']}: {size(source['bytes'])}, sound by SQLite's quick_check",
        f"plan {plan.name}: {counted(len(plan.tables), 'table')} with {counted(columns, 'column')} and "
        f"{counted(len(plan.views), 'view')}; the source is as it says, and each column has a cast",
        f"target: PostgreSQL {version}, UTF-8, writable, with the rights that are needed",
        f"schema {plan.live_schema}: nothing in it hinders the cut-over",
    ]


def _check_source(job: Job, metadata: sa.MetaData) -> dict[str, Any]:
    connection = open_source(job.source)
    try:
        check_integrity(connection, job.source, quick=True)
        with translated(f"Reading the catalog of {job.source}"):
            catalog = read_catalog(connection)
        _check_plan(job, catalog, metadata)
    finally:
        connection.close()
    return {
        "path": str(job.source.absolute()),
        "bytes": job.source.stat().st_size,
        "tables": len(job.plan.tables),
    }


def _check_plan(job: Job, catalog: Catalog, metadata: sa.MetaData) -> None:
    if not catalog.tables:
        raise SourceError(f"The source {job.source} holds no tables. Is it the application's database, or a new one?")
    found, faults = differences(job.plan, catalog, metadata), _cast_faults(job, catalog, metadata)
    if found:
        heading = f"The source {job.source} and the plan {job.plan.name} do not match; nothing was touched:"
        raise SourceError("\n  ".join(map(visible, [heading, *found, *faults])))
    if faults:
        heading = f"The plan {job.plan.name} cannot be carried out; nothing was touched:"
        raise PlanError("\n  ".join(map(visible, [heading, *faults])))


def _cast_faults(job: Job, catalog: Catalog, metadata: sa.MetaData) -> list[str]:
    faults = []
    for table in (t for t in catalog.tables if t.name in job.plan.tables):
        plan, target = job.plan.tables[table.name], metadata.tables[job.plan.target_table(table.name)]
        for column in (c.name for c in table.columns if plan.loads(c.name)):
            place = target.columns.get(plan.target_column(column))
            try:
                if place is not None:
                    cast_for(table.name, column, place.type, plan.cast(column))
            except PlanError as error:
                faults.append(str(error))
    return faults


def _check_target(connection: psycopg.Connection[Any], job: Job) -> str:
    row = connection.execute(
        "SELECT current_setting('server_version'), current_setting('server_version_num')::int / 10000,"
        " pg_encoding_to_char(encoding),"
        " pg_is_in_recovery() OR current_setting('default_transaction_read_only')::bool,"
        " has_database_privilege(datname, 'CREATE'), current_user::text, datname::text"
        " FROM pg_database WHERE datname = current_database()"
    ).fetchone()
    assert row is not None
    version, major, encoding, read_only, may_create, role, database = row
    found = []
    if major < OLDEST:
        found.append(f"it is PostgreSQL {version}; this needs {OLDEST} or newer")
    if encoding != "UTF8":
        found.append(f"its encoding is {encoding}; create the database with ENCODING 'UTF8'")
    if read_only:
        found.append("it is read-only; point the connection at the primary server")
    if not may_create:
        found.append(f'role {role} may not create schemas in it: GRANT CREATE ON DATABASE "{database}" TO "{role}"')
    schema = job.plan.live_schema
    allowed = connection.execute(
        "SELECT has_schema_privilege(oid, 'CREATE') FROM pg_namespace WHERE nspname = %s", [schema]
    ).fetchone()
    if allowed is None:
        found.append(f'it has no schema {schema}: CREATE SCHEMA "{schema}"')
    elif not allowed[0]:
        found.append(
            f'role {role} may not create tables in schema {schema}: GRANT CREATE ON SCHEMA "{schema}" TO "{role}"'
        )
    if not found and job.plan.models is None:
        advice = "take it out of the plan, or mend it"
        found += [f"{fault}; {advice}" for fault in uncompilable(connection, job.plan)]
    if not found:
        found += live.blockers(connection, job)
    if found:
        raise TargetError(
            f"The target database {database} cannot take this migration; nothing was touched:\n  "
            + "\n  ".join(map(visible, found))
        )
    return str(version)


def _register(connection: psycopg.Connection[Any], job: Job) -> None:
    state.create(connection)
    with connection.transaction():
        known = state.rows(connection, state.runs, run_id=job.run_id)
        status = known[0]["status"] if known else "running"
        if status not in ("running", "kept"):
            raise MigrationError(
                f"Run {job.run_id} is {status.replace('_', ' ')}; it cannot begin again. Start a new run."
            )
        run = {
            "run_id": job.run_id,
            "plan": job.plan.name,
            "mode": job.params.mode,
            "status": "running",
            "params": asdict(job.params),
            "source": str(job.source.absolute()),
            "staging": job.staging,
            "retired": job.retired,
            "live": job.plan.live_schema,
            "live_before": live.facts(connection, job),
        }
        state.put(connection, state.runs, run)
        discard_stale(connection, job)


def backup(job: Job) -> dict[str, Any]:
    """Take the snapshot that every later step reads, and compare it with the plan; returns where it lies.

    Safe to run again: a complete snapshot of this run is checked and kept, unless it is not what the plan describes
    and nothing has been recorded of it.
    """
    began = time.monotonic()
    with step(job, "backup"):
        log.info("backup: %s", visible(_intended(job)))
        manifest = take(job.source, job.folder)
        try:
            with (
                translated("Reading the catalog of the snapshot"),
                closing(open_snapshot(job.folder / "snapshot.db")) as snapshot,
            ):
                _check_plan(job, read_catalog(snapshot), target_metadata(job.plan))
        except MigrationError:
            with connected(job.target, "Reading the run") as connection:
                if state.run(connection, job.run_id)["snapshot"] is None:
                    discard(job.folder)
            raise
        with connected(job.target, "Recording the snapshot") as connection:
            _refuse_another(connection, job, manifest)
            state.update(connection, state.runs, {"snapshot": asdict(manifest)}, run_id=job.run_id)
    log.info(
        "backup: %s, %s of %s, sha256 %s: %s",
        *(throughput(manifest.bytes, time.monotonic() - began), counted(sum(manifest.rows.values()), "row")),
        *(counted(len(manifest.rows), "table"), manifest.sha256, visible(manifest.path)),
    )
    return {
        "path": manifest.path,
        "sha256": manifest.sha256,
        "bytes": manifest.bytes,
        "rows": sum(manifest.rows.values()),
    }


def _intended(job: Job) -> str:
    held = f", {size(job.source.stat().st_size)}" if job.source.exists() else ""
    return f"{job.source}{held}, as of one moment and with its WAL, into {job.folder}, which every later step reads"


def _refuse_another(connection: psycopg.Connection[Any], job: Job, manifest: Manifest) -> None:
    """SourceError when tables are loaded from a snapshot of this run that is gone: the two must never mix."""
    recorded = state.run(connection, job.run_id)["snapshot"]
    loaded = (state.rows(connection, t, run_id=job.run_id) for t in (state.loads, state.load_ranges))
    if recorded and recorded["sha256"] != manifest.sha256 and any(loaded):
        raise SourceError(
            f"The snapshot that tables of this run are loaded from (sha256 {recorded['sha256']}) is gone. "
            "Start a new run, which takes a fresh one."
        )
