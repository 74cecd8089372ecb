"""A small migration, cut into its steps: what stands before each of them, and what must be left at the end."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
import sqlalchemy as sa
from psycopg import sql
from psycopg.conninfo import make_conninfo

from migration import steps
from migration.errors import MigrationError, TransientError
from migration.job import Job
from migration.plan import Plan
from tests.conftest import ROLE, Server
from tests.engine.staged import dump
from tests.engine.support import Raw, database, insert, job_for, models, plan_for

TABLES = ("parents", "children", "notes")
DDL = (
    "CREATE TABLE parents (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL)",
    "CREATE TABLE children (id INTEGER PRIMARY KEY, parent INTEGER REFERENCES parents(id), amount REAL, note TEXT)",
    "CREATE TABLE notes (id INTEGER PRIMARY KEY, body TEXT, data BLOB)",
)
Act = Callable[[Job], object]
STEPS: dict[str, Act] = {
    "preflight": steps.preflight,
    "backup": steps.backup,
    "create_schema": steps.create_schema,
    **{f"load {table}": partial(steps.load, table=table) for table in TABLES},
    "finish_schema": steps.finish_schema,
    **{f"verify {table}": partial(steps.verify, table=table) for table in TABLES},
    "cut_over": steps.cut_over,
    "report": steps.require_success,
    "rollback": steps.rollback,
}
"""Every step in the order of the DAG, and the rollback after them."""

OUTCOMES = {
    0: "done all the same, same state",
    3: "worth another try, done again, same state",
    4: "a sentence, done again, same state",
}


def code(act: Callable[[], object]) -> int:
    """Do it: 0 when it is done, 3 when it may be tried again, 4 when a sentence says why not."""
    try:
        act()
    except TransientError:
        return 3
    except MigrationError:
        return 4
    return 0


STATE = {
    "runs": [
        "started_at",
        "cut_over_at",
        "rolled_back_at",
        "snapshot",
        "live_before",
        "live_after",
        "staged",
        "source",
    ],
    "steps": ["started_at", "finished_at"],
    "loads": ["load_id", "xids", "seconds", "loaded_at", "indexed_at", "shape"],
    "quarantine": [],
    "quarantined_values": [],
    "altered_values": [],
    "verifications": ["load_id", "seconds", "verified_at", "checks"],
    "differences": [],
}
"""What is recorded, and which columns of it are never the same twice: times, ids, and names of files."""


def _source(path: Path) -> Path:
    """Tables of some blocks each, with rows that are quarantined, altered, orphaned, flagged."""
    database(path, *DDL)
    insert(path, "parents", [(n, f"parent {n}") for n in range(1, 201)])
    children: list[tuple[Any, ...]] = [(n, n % 200 + 1, n / 4, f"note {n}") for n in range(1, 601)]
    children[7] = (8, 1, 0.666, "rounded")
    children[99] = (100, 1, 1.0, "a\0b")
    children[300] = (301, 4711, 1.0, "an orphan")
    children[599] = (600, 1, 5, Raw(b"\xff\xfe"))
    insert(path, "children", children)
    insert(path, "notes", [(n, f"body {n} " * 9, bytes([n % 256]) * 40) for n in range(1, 301)])
    return path


def plan(name: str = "shop", prefix: str = "") -> Plan:
    """A plan of that name for these tables, which are called otherwise in the target."""
    column = sa.Column
    metadata = models(
        (
            f"{prefix}parents",
            [column("id", sa.Integer, sa.Identity(), primary_key=True), column("name", sa.Text, nullable=False)],
        ),
        (
            f"{prefix}children",
            [
                column("id", sa.Integer, primary_key=True),
                column("parent", sa.ForeignKey(f"{prefix}parents.id", name="children_parent_fkey"), index=True),
                column("amount", sa.Numeric(8, 2)),
                column("note", sa.Text, sa.CheckConstraint("note <> ''", name="children_note_check")),
            ],
        ),
        (
            f"{prefix}notes",
            [column("id", sa.Integer, primary_key=True), column("body", sa.Text), column("data", sa.LargeBinary)],
        ),
    )
    children = {"load_after": ["parents"], "invalid": "quarantine", "columns": {"amount": {"invalid": "round"}}}
    parts = {table: children if table == "children" else {} for table in TABLES}
    return plan_for(metadata, {t: part | {"rename": f"{prefix}{t}"} for t, part in parts.items()}).model_copy(
        update={"name": name}
    )


LIVE = (
    "CREATE TABLE parents (id integer PRIMARY KEY, name text);"
    " INSERT INTO parents VALUES (1, 'of the application'), (2, 'another');"
    " CREATE TABLE children (id serial PRIMARY KEY, parent integer REFERENCES parents, note text);"
    " INSERT INTO children (parent, note) VALUES (1, 'live'), (2, 'rows')"
)


class World:
    """One job in a database of its own, which is put back to what stood before a step as often as one likes."""

    def __init__(self, server: Server, folder: Path, name: str = "faults") -> None:
        self.admin, self.name, self.folder = server.admin, name, folder
        self.dsn = make_conninfo(server.admin, dbname=name, user=ROLE, password=server.password)
        self.job = job_for(
            _source(folder / "app.db"), self.dsn, plan(), rows_per_block=64, quarantine="allow", mode="cut_over",
            approval="given", on_live_tables="retire",
        )  # fmt: skip
        self.states: dict[str, dict[str, Any]] = {}
        """What an undisturbed run leaves, by its last step."""
        self.visible: dict[str, Any] = {}
        """What the application sees before each step of it."""
        self._undisturbed()

    def _undisturbed(self) -> None:
        self._administer("CREATE DATABASE {} OWNER {} TEMPLATE template0", self.name, ROLE)
        with psycopg.connect(self.dsn) as connection:
            connection.execute(LIVE.encode())
        self.job.home.mkdir()
        for step, act in STEPS.items():
            self.visible[step] = self.seen()
            self._copy(self.name, self._saved(step))
            shutil.copytree(self.job.home, self.folder / f"before {step}")
            act(self.job)
            if step in ("report", "rollback"):
                self.states[step] = self.state()
        self.visible["end"] = self.seen()

    def _saved(self, step: str) -> str:
        return f"{self.name} before {step}"

    def _copy(self, origin: str, copy: str) -> None:
        self._administer("CREATE DATABASE {} OWNER {} TEMPLATE {}", copy, ROLE, origin)

    def _administer(self, statement: str, *names: str) -> None:
        with psycopg.connect(self.admin, autocommit=True) as connection:
            connection.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))

    def back_to(self, step: str) -> None:
        """Let database and files be as they were before that step."""
        self._administer("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name)
        self._copy(self._saved(step), self.name)
        shutil.rmtree(self.job.home)
        shutil.copytree(self.folder / f"before {step}", self.job.home)

    def close(self) -> None:
        """Drop all of it."""
        for name in (self.name, *map(self._saved, self.visible)):
            self._administer("DROP DATABASE IF EXISTS {} WITH (FORCE)", name)

    def seen(self) -> dict[str, list[str]]:
        """The rows of all live tables."""
        with psycopg.connect(self.dsn) as connection:
            names = connection.execute("SELECT relname::text FROM pg_class WHERE relkind = 'r'"
                                       " AND relnamespace = 'public'::regnamespace ORDER BY 1").fetchall()  # fmt: skip
            rows = sql.SQL("SELECT (t.*)::text FROM public.{} t ORDER BY 1")
            return {n: [r for (r,) in connection.execute(rows.format(sql.Identifier(n)))] for (n,) in names}

    def state(self) -> dict[str, Any]:
        """All that a run leaves in the target: schemas and what is in them, and what is recorded."""
        with psycopg.connect(self.dsn) as connection:
            schemas = connection.execute(
                "SELECT nspname::text FROM pg_namespace WHERE nspname !~ '^(pg_|information_schema)' ORDER BY 1"
            ).fetchall()
            found: dict[str, Any] = {"schemas": schemas}
            for name, moving in STATE.items():
                query = sql.SQL("SELECT (to_jsonb(t) - %s::text[])::text FROM migration.{} t ORDER BY 1")
                found[name] = connection.execute(query.format(sql.Identifier(name)), [moving]).fetchall()
        found["objects"] = dump(self.dsn, "--schema=retired_*", "--schema=staging_*")
        found["files"] = sorted(str(p.relative_to(self.job.home)) for p in self.job.home.rglob("*") if p.is_file())
        return found

    def left_behind(self, seconds: float = 15) -> str:
        """The connections and locks that are still there after a while; empty when there are none."""
        end = time.monotonic() + seconds
        while True:
            with psycopg.connect(self.admin) as connection:
                found = connection.execute(
                    "SELECT (SELECT count(*) FROM pg_stat_activity WHERE datname = %(name)s),"
                    " (SELECT count(*) FROM pg_locks l JOIN pg_database d ON d.oid = l.database WHERE d.datname = %(name)s),"
                    " (SELECT count(*) FROM pg_prepared_xacts WHERE database = %(name)s)",
                    {"name": self.name},
                ).fetchone()
            if found == (0, 0, 0):
                return ""
            if time.monotonic() > end:
                return "{} connections, {} locks, {} prepared transactions are left".format(*found or ())
            time.sleep(0.02)

    def aftermath(self, step: str) -> str:
        """What is wrong after the step was broken off, at once and after it was done again; nothing if all is well."""
        wrong = self.left_behind()
        following = list(self.visible)[list(STEPS).index(step) + 1]
        if self.seen() not in (self.visible[step], self.visible[following]):
            wrong += " live tables are neither as before the step nor as after it"
        return wrong + self.go_on(step)

    def go_on(self, step: str, settled: Callable[[], object] = lambda: None) -> str:
        """Do the step again and all that follow it; how what is left differs from an undisturbed run, or nothing.

        ``settled`` is called when all is done and before it is looked at.
        """
        names = list(STEPS)
        last = "rollback" if step == "rollback" else "report"
        for name in names[names.index(step) : names.index(last) + 1]:
            STEPS[name](self.job)
        settled()
        return differences(self.states[last], self.state())


def differences(expected: dict[str, Any], found: dict[str, Any]) -> str:
    """The parts of two states that are not equal, with the beginning of what each has."""
    unequal = [n for n in expected.keys() | found.keys() if expected.get(n) != found.get(n)]
    return "\n".join(
        f"{n}: {_only(expected.get(n), found.get(n))} / {_only(found.get(n), expected.get(n))}" for n in unequal
    )


def _only(one: Any, other: Any) -> str:
    if isinstance(one, str) and isinstance(other, str):
        one, other = one.splitlines(), other.splitlines()
    if isinstance(one, Sequence) and isinstance(other, Sequence):
        return str([item for item in one if item not in other])[:300]
    return str(one)[:300]
