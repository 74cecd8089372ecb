"""Moves a SQLite file through assessment, migration and cut-over, as ``./run`` does, and asks what became of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from migration import steps
from migration.assess import Assessment, assess
from migration.job import Job, Params
from migration.plan import Plan
from tests.engine.support import ask, connection_to


@dataclass(frozen=True)
class Moved:
    """A database after its cut-over."""

    job: Job
    assessment: Assessment
    text: str
    """The report of the run."""

    def rows(self, table: str, columns: str = "*", order: str = "1") -> list[Any]:
        """What a live table or view holds."""
        query = sql.SQL("SELECT {} FROM {} t ORDER BY {}")
        return ask(self.job, query.format(sql.SQL(columns), sql.Identifier("public", table), sql.SQL(order)))

    def values(self, table: str, column: str, order: str = "1") -> list[Any]:
        """One column of a live table."""
        name = sql.Identifier(column)
        query = sql.SQL("SELECT {} FROM {} t ORDER BY {}")
        found = ask(self.job, query.format(name, sql.Identifier("public", table), sql.SQL(order)))
        return [value for (value,) in found]

    def types(self, table: str) -> dict[str, str]:
        """The columns of a live table with their types as PostgreSQL writes them."""
        return dict(ask(self.job, "SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute"
                        " WHERE attrelid = %s::regclass AND attnum > 0 ORDER BY attnum", _quoted(table)))  # fmt: skip

    def constraints(self, table: str) -> dict[str, str]:
        """The constraints of a live table by name."""
        return dict(ask(self.job, "SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint"
                        " WHERE conrelid = %s::regclass AND contype <> 'n'", _quoted(table)))  # fmt: skip

    def indexes(self, table: str) -> dict[str, str]:
        """The definitions of a live table's indexes by name."""
        return dict(ask(self.job, "SELECT indexname, indexdef FROM pg_indexes"
                        " WHERE schemaname = 'public' AND tablename = %s", table))  # fmt: skip

    def insert(self, statement: str) -> Any:
        """The rows that a statement returns."""
        with connection_to(self.job) as connection:
            return connection.execute(statement.encode()).fetchall()

    def refused(self, kind: str) -> dict[str, str]:
        """What is not carried, of one kind: name and reason."""
        return {r.name: r.reason for r in self.plan.refused if r.kind == kind}

    @property
    def plan(self) -> Plan:
        """The plan that it went by."""
        return self.job.plan

    def quarantine(self) -> list[Any]:
        """(table, key, column, rule) of the rows set aside."""
        query = "SELECT table_name, row_key, column_name, rule FROM migration.quarantine ORDER BY 1, 2"
        return ask(self.job, query)

    def kept(self) -> list[Any]:
        """(table, key, column, action, storage class, bytes) of the values that crossed in another form."""
        query = "SELECT table_name, row_key, column_name, action, storage_class, value FROM migration.altered_values"
        return ask(self.job, f"{query} ORDER BY 1, 2, 3")


def _quoted(table: str) -> str:
    return '"' + table.replace('"', '""') + '"'


def changed(plan: Plan, table: str, column: str, **facts: Any) -> Plan:
    """The plan with other decisions for a column."""
    whole = plan.model_dump()
    whole["tables"][table]["columns"][column] |= facts
    return Plan.model_validate(whole)


def move(source: Path, dsn: str, *, plan: Plan | None = None, **params: Any) -> Moved:
    """Assess, then every step up to the cut-over and the report, which must call it a success."""
    home = source.parent / "home"
    assessment = assess(source, home, target=dsn)
    params = {"mode": "cut_over", "approval": "given"} | params
    job = Job(plan or assessment.plan, "run-1", dsn, source, home, Params(**params))
    steps.preflight(job)
    steps.backup(job)
    steps.create_schema(job)
    for level in job.plan.levels:
        for table in level:
            steps.load(job, table)
    steps.finish_schema(job)
    for table in job.plan.tables:
        steps.verify(job, table)
    steps.cut_over(job)
    text, verdict = steps.report(job)
    assert verdict.success, text
    return Moved(job, assessment, text)


def rules(assessment: Assessment) -> set[str]:
    """The rules under which an assessment found something to confirm."""
    return {sentence.rpartition("[")[2].rstrip("]") for sentence in assessment.decisions}


def nothing_in(dsn: str) -> bool:
    """Whether a target holds no table of anybody."""
    with psycopg.connect(dsn) as connection:
        row = connection.execute("SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace").fetchone()
        schemas = connection.execute(
            "SELECT count(*) FROM pg_namespace WHERE nspname ~ '^(staging|retired)_'"
        ).fetchone()
    return row == (0,) and schemas == (0,)
