"""What the tests of verification share: a snapshot, a staged table filled by plain inserts, and the load's record.

The rows reach the target by statements of the test, never by the loader, so that what is proved here is verification
alone.

    case = Case(dsn, folder, models, "CREATE TABLE t (id INTEGER PRIMARY KEY, v)")
    case.fill("INSERT INTO t VALUES (1, 'x')")                  # the source
    case.stage("t", [(1, "x")])                                 # the target, and the load's record
    case.verify("t")
"""

from __future__ import annotations

import sys
import types
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import apsw
import psycopg
import pytest
import sqlalchemy as sa
from psycopg import sql
from psycopg.conninfo import make_conninfo
from psycopg.types.json import Jsonb
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import AddConstraint, CreateIndex, CreateTable

from migration.errors import VerificationFailed
from migration.job import Job, Params
from migration.plan import Plan, TablePlan
from migration.postgres import state
from migration.postgres.target import in_schema
from migration.sqlite.snapshot import take
from migration.verify import verify_table
from tests.conftest import ROLE, Server

_MODULE = "verify_case_models"


@contextmanager
def one_database(server: Server) -> Iterator[str]:
    """The connection string of a database for all cases of a module: each case has a run and a schema of its own."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(server.admin, autocommit=True) as admin:
        query = sql.SQL("CREATE DATABASE {} OWNER {} TEMPLATE template0")
        admin.execute(query.format(sql.Identifier(name), sql.Identifier(ROLE)))
        yield make_conninfo(server.admin, dbname=name, user=ROLE, password=server.password)
        admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


class Case:
    """One run, from its snapshot to its verification."""

    def __init__(
        self,
        dsn: str,
        home: Path,
        models: sa.MetaData,
        *ddl: str,
        tables: Mapping[str, TablePlan] | None = None,
        encoding: str = "UTF-8",
        params: Params | None = None,
    ) -> None:
        self.models, self.home = models, home
        name = f"m{uuid.uuid4().hex}"
        module = sys.modules.setdefault(_MODULE, types.ModuleType(_MODULE))
        setattr(module, name, models)
        plan = Plan(
            name="cases",
            title="Cases",
            models=f"{_MODULE}:{name}",
            source="s",
            target="t",
            tables=dict(tables) if tables else {t: TablePlan() for t in models.tables},
        )
        self.job = Job(plan, uuid.uuid4().hex, dsn, home / "app.db", home, params or Params())
        self.sqlite = apsw.Connection(str(self.job.source))
        self.sqlite.execute(f"PRAGMA encoding = '{encoding}'")
        self.sqlite.execute("PRAGMA journal_mode = MEMORY; PRAGMA synchronous = OFF")
        for statement in ddl:
            self.sqlite.execute(statement)
        self.pg = psycopg.connect(dsn, autocommit=True)
        self._ready = False

    def close(self) -> None:
        """Close both connections."""
        self.sqlite.close()
        self.pg.close()

    def fill(self, statement: str, rows: Iterable[Sequence[Any]] | None = None) -> None:
        """Write to the source; only before the first table is staged."""
        if rows is None:
            self.sqlite.execute(statement)
        else:
            with self.sqlite:
                self.sqlite.executemany(statement, rows)

    def begin(self) -> None:
        """Take the snapshot, record the run, create the staged tables with all their keys and indexes."""
        if self._ready:
            return
        self._ready = True
        manifest = take(self.job.source, self.job.folder)
        state.create(self.pg)
        state.put(
            self.pg,
            state.runs,
            {
                "run_id": self.job.run_id,
                "plan": self.job.plan.name,
                "mode": "rehearsal",
                "status": "running",
                "params": {},
                "source": str(self.job.source),
                "staging": self.job.staging,
                "retired": self.job.retired,
                "live": "public",
                "live_before": {},
                "snapshot": asdict(manifest),
            },
        )
        dialect = postgresql.dialect()  # type: ignore[no-untyped-call]
        self.pg.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(self.job.staging)))
        staged = in_schema(self.models, self.job.staging, list(self.models.tables))
        made: list[Any] = []
        made += [CreateTable(t, include_foreign_key_constraints=[]) for t in staged.values()]
        made += [CreateIndex(i) for t in staged.values() for i in t.indexes]
        made += [AddConstraint(c) for t in staged.values() for c in t.foreign_key_constraints]
        for element in made:
            self.pg.execute(str(element.compile(dialect=dialect)).replace("%%", "%").encode())

    def name(self, table: str) -> sql.Composed:
        """The staged table's name in SQL."""
        return sql.SQL("{}").format(sql.Identifier(self.job.staging, self.job.plan.target_table(table)))

    def stage(
        self,
        table: str,
        rows: Iterable[Sequence[Any]],
        *,
        quarantined: int = 0,
        altered: int = 0,
        source_rows: int | None = None,
    ) -> None:
        """Insert the target's rows (values, or SQL as sql.Composable) and record the load as the loader would."""
        self.begin()
        count = 0
        with self.pg.transaction():
            for row in rows:
                parts = [v if isinstance(v, sql.Composable) else sql.Placeholder() for v in row]
                values = [_adapted(v) for v in row if not isinstance(v, sql.Composable)]
                query = sql.SQL("INSERT INTO {} OVERRIDING SYSTEM VALUE VALUES ({})")
                self.pg.execute(query.format(self.name(table), sql.SQL(", ").join(parts)), values)
                count += 1
            self.record(table, count, quarantined=quarantined, altered=altered, source_rows=source_rows)

    def record(
        self,
        table: str,
        count: int,
        *,
        quarantined: int = 0,
        altered: int = 0,
        source_rows: int | None = None,
    ) -> None:
        """Record a load of ``count`` rows by the current transaction, and that keys and indexes were made."""
        state.put(
            self.pg,
            state.loads,
            {
                "run_id": self.job.run_id,
                "table_name": table,
                "load_id": uuid.uuid4(),
                "plan_digest": self.job.plan.tables[table].digest,
                "form_digest": "",
                "xids": [state.transaction_id(self.pg)],
                "source_rows": count + quarantined if source_rows is None else source_rows,
                "loaded": count,
                "quarantined": quarantined,
                "excluded": 0,
                "altered": altered,
                "bytes": 0,
                "seconds": 0.1,
            },
        )
        self.pg.execute(
            "UPDATE migration.loads SET indexed_at = clock_timestamp() WHERE run_id = %s AND table_name = %s",
            [self.job.run_id, table],
        )
        self.advance(table, 1_900_000_000)

    def advance(self, table: str, last: int) -> None:
        """Set the sequence of the table's key, where it has one."""
        target = self.models.tables[self.job.plan.target_table(table)]
        if target.autoincrement_column is not None:
            name = self.name(table).as_string(self.pg)
            self.pg.execute(
                "SELECT setval(pg_get_serial_sequence(%s, %s), %s)",
                [name, target.autoincrement_column.name, last],
            )

    def spoil(self, table: str, change: str, *values: Any) -> None:
        """Change the target behind the load's back, and forge the record so that only the values give it away.

        ``change`` is a statement in which ``{}`` stands for the table.
        """
        name, identity = self.name(table), [self.job.run_id, table]
        with self.pg.transaction():
            self.pg.execute(sql.SQL(change).format(name), values)
            self.pg.execute(sql.SQL("CREATE TEMP TABLE kept ON COMMIT DROP AS SELECT * FROM {}").format(name))
            self.pg.execute(sql.SQL("DELETE FROM {}").format(name))
            self.pg.execute(sql.SQL("INSERT INTO {} OVERRIDING SYSTEM VALUE SELECT * FROM kept").format(name))
            held = self.pg.execute("SELECT count(*) FROM kept").fetchall()[0][0]
            self.pg.execute(
                "UPDATE migration.loads SET xids = jsonb_build_array(%s::bigint), loaded = %s,"
                " source_rows = %s + quarantined WHERE run_id = %s AND table_name = %s",
                [state.transaction_id(self.pg), held, held, *identity],
            )

    def quarantine(self, table: str, key: str, column: str, values: Mapping[str, tuple[str, bytes | None]]) -> None:
        """Put a row into the quarantine."""
        identity = {"run_id": self.job.run_id, "table_name": table, "row_key": key}
        storage = values.get(column, ("null", None))[0]
        state.put(
            self.pg,
            state.quarantine,
            identity | {"column_name": column, "storage_class": storage, "rule": "inexact", "reason": "test"},
        )
        for name, (storage, value) in values.items():
            state.put(
                self.pg,
                state.quarantined_values,
                identity | {"column_name": name, "storage_class": storage, "value": value},
            )

    def alter(self, table: str, key: str, column: str, action: str, storage: str, value: bytes | None) -> None:
        """Record a value that crossed in another form."""
        state.put(
            self.pg,
            state.altered_values,
            {
                "run_id": self.job.run_id,
                "table_name": table,
                "row_key": key,
                "column_name": column,
                "action": action,
                "storage_class": storage,
                "value": value,
                "rule": "inexact",
                "reason": "test",
            },
        )

    def verify(self, table: str) -> dict[str, Any]:
        """Verify the table."""
        return verify_table(self.job, table)

    def differences(self, table: str) -> list[tuple[str, str, str, str | None, str | None]]:
        """What was recorded: key, column, kind, source value, target value."""
        columns = ("row_key", "column_name", "kind", "source_value", "target_value")
        rows = state.rows(self.pg, state.differences, run_id=self.job.run_id, table_name=table)
        return [tuple(row[c] for c in columns) for row in rows]

    def verification(self, table: str) -> dict[str, Any]:
        """The recorded verification."""
        return state.rows(self.pg, state.verifications, run_id=self.job.run_id, table_name=table)[0]

    def checks(self, table: str) -> dict[str, tuple[bool, str]]:
        """The recorded checks: name to (ok, detail)."""
        return {c["check"]: (c["ok"], c["detail"]) for c in self.verification(table)["checks"]}


Make = Callable[..., Case]


@contextmanager
def cases_of_t(dsn: str, home: Path) -> Iterator[Make]:
    """Makes cases of a table t from its target's columns and its source's DDL, and closes them."""
    made: list[Case] = []

    def make(columns: Sequence[sa.Column[Any]], ddl: str, **options: Any) -> Case:
        models = sa.MetaData()
        sa.Table("t", models, *columns)
        folder = home / str(len(made))
        folder.mkdir()
        made.append(Case(dsn, folder, models, ddl, **options))
        return made[-1]

    yield make
    for case in made:
        case.close()


def numbered(make: Make, rows: Iterable[Sequence[Any]]) -> Case:
    """A table with an integer key and a text."""
    columns = [sa.Column("id", sa.BigInteger, primary_key=True), sa.Column("v", sa.Text)]
    case = make(columns, "CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)")
    case.fill("INSERT INTO t VALUES (?, ?)", rows)
    return case


def found(case: Case) -> list[tuple[str, str, str]]:
    """Verify, and what differs: key, column, kind."""
    with pytest.raises(VerificationFailed):
        case.verify("t")
    return [(key, column, kind) for key, column, kind, _, _ in case.differences("t")]


def _adapted(value: Any) -> Any:
    return Jsonb(value) if isinstance(value, dict) else value
