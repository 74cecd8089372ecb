"""A SQLite file that bears one string wherever there can be one, and its way from the assessment to the way back."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from psycopg import sql

from migration import steps
from migration.assess import Assessment, assess
from migration.errors import MigrationError
from migration.job import Job, Params
from migration.postgres.placed import outlook
from migration.postgres.target import connected
from migration.report import as_html, as_json, as_markdown, as_text, gather, question, undoing
from migration.sqlite.catalog import quoted
from tests.engine.support import Raw, ask, database, insert
from tests.hazards.moving import changed


@dataclass
class Told:
    """What the product said on the way, by where it said it."""

    lines: list[tuple[str, str]] = field(default_factory=list)
    """For a terminal or a log: where, and the text."""
    pages: list[tuple[str, str]] = field(default_factory=list)
    markdown: list[tuple[str, str]] = field(default_factory=list)
    json: list[tuple[str, str]] = field(default_factory=list)
    restore: str = ""


@dataclass
class Bearing:
    """The way of one string."""

    text: str
    source: Path
    home: Path
    dsn: str
    told: Told = field(default_factory=Told)

    @property
    def parent(self) -> str:
        """The table of that name; its key and one of its columns have it too."""
        return self.text

    @property
    def child(self) -> str:
        """A table whose name differs from its at the end only."""
        return self.text + "2"


def source_name(text: str) -> str:
    """A file's name with the text in it, as far as file systems go."""
    return text.replace("/", "_").replace("\0", "_").encode()[:120].decode(errors="ignore") + ".db"


def make(text: str, folder: Path, dsn: str) -> Bearing:
    """The file: names, keys, values, a default, a view, a trigger that is refused."""
    name, q = quoted, quoted(text)
    literal = "'" + text.replace("'", "''") + "'"
    columns = f"{q} TEXT PRIMARY KEY, amount INTEGER, note TEXT DEFAULT {literal}, mixed BLOB"
    source = database(
        folder / source_name(text),
        f"CREATE TABLE {q} ({columns}, CONSTRAINT {q} CHECK (note <> 'zzz'), UNIQUE (note, {q})) WITHOUT ROWID",
        f"CREATE TABLE {name(text + '2')} (id INTEGER PRIMARY KEY, {q} TEXT REFERENCES {q} ({q}), {name(text + '2')} TEXT)",
        f"CREATE INDEX {name(text + '3')} ON {q} (note, amount)",
        f"CREATE INDEX {name(text + '4')} ON {q} (amount) WHERE note = {literal}",
        f"CREATE VIEW {name(text + '5')} AS SELECT {q}, note AS {name(text + '6')} FROM {q} WHERE note <> {literal}",
        f"CREATE TRIGGER {name(text + '7')} AFTER INSERT ON {q} BEGIN SELECT {literal}; END",
    )
    insert(
        source,
        text,
        [(text, 1, text, b"\0"), ("other", 2, "x", text), (text + "2", text + "x", text, None),
         ("broken", 4, Raw(b"a\0b" + text.encode()), None), (text + "3", 3, None, b"")],
    )  # fmt: skip
    insert(source, text + "2", [(1, text, text), (2, "other", None), (3, None, text + text)])
    return Bearing(text, source, folder / "home", dsn)


def failing(bearing: Bearing, where: str, act: Callable[[], Any]) -> MigrationError:
    """Do what must fail by a sentence; the sentence is told."""
    try:
        act()
    except MigrationError as error:
        bearing.told.lines.append((where, str(error)))
        return error
    raise AssertionError(f"{where}: nothing failed")


def reported(bearing: Bearing, job: Job, where: str) -> None:
    """The report of the run, in all its forms."""
    with connected(job.target, "Reporting") as connection:
        found = gather(connection, job)
    told = bearing.told
    told.lines.append((f"report as text, {where}", as_text(found, html=bearing.home / "report.html")))
    told.markdown.append((f"report as Markdown, {where}", as_markdown(found)))
    told.pages.append((f"report as HTML, {where}", as_html(found)))
    told.json.append((f"report as JSON, {where}", as_json(found)))


def assessed(bearing: Bearing) -> Assessment:
    """The assessment, its text and its files told."""
    found = assess(bearing.source, bearing.home, target=bearing.dsn)
    bearing.told.lines += [("assessment as text", found.text), *(("decision", d) for d in found.decisions)]
    bearing.told.pages.append(("assessment as HTML", found.files["html"].read_text()))
    bearing.told.json.append(("assessment as JSON", found.files["json"].read_text()))
    return found


def travel(bearing: Bearing) -> Job:
    """From the assessment to the cut-over, by way of the failures; the job as it was at last."""
    parent = bearing.parent
    first = assessed(bearing).plan
    stop = changed(first, parent, "amount", type="bigint", cast=None, invalid="stop", default=None)
    stop = changed(stop, parent, "note", invalid="quarantine")
    params = Params(mode="cut_over", approval="given")
    job = Job(stop, f"run {bearing.text}", bearing.dsn, bearing.source, bearing.home, params)

    other = changed(stop, parent, "note", declared="SOMETHING")
    failing(bearing, "preflight refuses", lambda: steps.preflight(replace(job, plan=other)))
    steps.preflight(job)
    steps.backup(job)
    steps.create_schema(job)
    failing(bearing, "verify before the load", lambda: steps.verify(job, parent))
    failing(bearing, "load stops", lambda: steps.load(job, parent))
    reported(bearing, job, "a load failed")
    aside = changed(stop, parent, "amount", invalid="quarantine")
    job = replace(job, plan=aside)
    failing(bearing, "finish before the load", lambda: steps.finish_schema(job))
    for level in job.plan.levels:
        for table in level:
            steps.load(job, table)
    steps.finish_schema(job)
    spoiled(bearing, job)
    failing(bearing, "cut-over refused", lambda: steps.cut_over(job))
    reported(bearing, job, "differences")
    replayed = replace(job, plan=changed(aside, parent, "note", invalid="strip"))
    for level in job.plan.levels:
        for table in level:
            steps.load(job, table)
    steps.replay(replayed, parent)
    steps.finish_schema(replayed)
    for table in job.plan.tables:
        steps.verify(replayed, table)
    bearing.told.markdown.append(("summary", steps.summary(replayed)))
    steps.approve(replayed, "cut_over", bearing.text)
    steps.cut_over(replayed)
    reported(bearing, replayed, "cut over")
    return replayed


def spoiled(bearing: Bearing, job: Job) -> None:
    """Plant differences, a missing index and a missing key; verify; leave them for the next load."""
    with connected(job.target, "Spoiling", autocommit=True) as connection:
        for name in job.plan.tables[bearing.child].foreign_keys:
            child = sql.Identifier(job.staging, job.plan.target_table(bearing.child))
            connection.execute(sql.SQL("ALTER TABLE {} DROP CONSTRAINT {}").format(child, sql.Identifier(name)))
        for table in (bearing.parent, bearing.child):
            target = sql.Identifier(job.staging, job.plan.target_table(table))
            column = sql.Identifier(job.plan.tables[table].target_column(bearing.text))
            connection.execute(
                sql.SQL("UPDATE {} SET {} = concat({}, {})").format(target, column, column, sql.Literal(bearing.text))
                if table == bearing.child
                else sql.SQL("DELETE FROM {} WHERE note IS NULL").format(target)
            )
        for index in job.plan.tables[bearing.parent].indexes:
            connection.execute(sql.SQL("DROP INDEX {}").format(sql.Identifier(job.staging, index)))
    for table in (bearing.parent, bearing.child):
        failing(bearing, "verify finds", lambda table=table: steps.verify(job, table))  # type: ignore[misc]


def returned(bearing: Bearing, job: Job) -> None:
    """Write to what is live, be refused the way back, take it."""
    live = sql.Identifier("public", job.plan.target_table(bearing.parent))
    ask(job, sql.SQL("UPDATE {} SET amount = 77 WHERE amount = 2 RETURNING 1").format(live))
    found = outlook(job)
    bearing.told.lines.append(("question before the way back", question(job.plan.title, found)))
    bearing.told.markdown.append(("what the way back would do", undoing(found)))
    failing(bearing, "the way back refused", lambda: steps.rollback(job))
    steps.rollback(job, confirm_lost_writes=True)
    reported(bearing, job, "rolled back")


class Lines(logging.Handler):
    """Keeps what was logged: message by message, tracebacks with it."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.kept: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.kept.append(self.format(record))
