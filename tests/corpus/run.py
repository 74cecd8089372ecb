"""Moves every database of the corpus and has it judged: ``python -m tests.corpus.run [FOLDER] [--only PATTERN] [--write]``.

Each goes the whole way by itself: assessed, migrated with the decisions as proposed, cut over, then judged by code that
shares nothing with the engine. The exit code is 1 unless every database that is there came out right.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import re
import secrets
import shutil
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection as Pipe
from pathlib import Path

import psycopg
from psycopg import sql

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "include")]

from local.postgres import Cluster, die_with_parent, throwaway_cluster  # noqa: E402
from migration.errors import MigrationError  # noqa: E402
from tests.corpus.collect import Collected, collect  # noqa: E402
from tests.corpus.truth import Judgement, judge  # noqa: E402

SECONDS = 600
"""For one database, from its assessment to the judgement."""
RIGHT, REFUSED = "right", "right, with refusals"
PAGE = ROOT / "docs" / "corpus.md"
HEADINGS = (
    "database",
    "what it is",
    "grade",
    "tables",
    "rows",
    "cells",
    "carried",
    "refused",
    "set aside",
    "s",
    "verdict",
)


@dataclass
class Outcome:
    """What became of one database."""

    name: str
    kind: str
    grade: str = ""
    judgement: Judgement | None = None
    seconds: float = 0
    verdict: str = ""
    messages: list[str] = field(default_factory=list)
    """Everything that is wrong, one thing each."""

    @property
    def good(self) -> bool:
        return self.verdict in (RIGHT, REFUSED) or self.verdict.startswith("not here")

    def cells(self) -> tuple[str, ...]:
        """The row of the table."""
        j = self.judgement or Judgement()
        aside = ", ".join(f"{n} {w}" for n, w in ((j.quarantined, "rows"), (j.altered, "values")) if n)
        figures = (f"{j.tables:,}", f"{j.rows:,}", f"{j.cells:,}", f"{j.carried.total():,}", f"{j.refused.total():,}")
        shown = figures if self.judgement else ("",) * 5
        return (self.name, self.kind, self.grade, *shown, aside, f"{self.seconds:.1f}", self.verdict)


def migrate(file: Path, dsn: str, home: Path, outcome: Outcome) -> None:
    """The whole way of one database; errors of the engine become the verdict. Run in a process of its own."""
    at = "import"
    try:
        from migration import steps
        from migration.assess import assess
        from migration.job import Job, Params

        at = "assess"
        found = assess(file, home, name=file.stem, target=dsn, replace=True)
        outcome.grade = found.grade
        job = Job(found.plan, f"corpus {file.stem}", dsn, file, home, Params(mode="cut_over", approval="given"))
        ordered = [(table,) for level in job.plan.levels for table in level]
        way: Sequence[tuple[Callable[..., object], Sequence[tuple[str, ...]]]] = [
            (steps.preflight, [()]),
            (steps.backup, [()]),
            (steps.create_schema, [()]),
            (steps.load, ordered),
            (steps.finish_schema, [()]),
            (steps.verify, ordered),
            (steps.cut_over, [()]),
        ]
        for step, calls in way:
            for call in calls:
                at = " ".join((step.__name__, *call))
                step(job, *call)
        at = "report"
        _, verdict = steps.report(job)
        outcome.messages += verdict.reasons
        at = "judge"
        with psycopg.connect(dsn, options="-c timezone=GMT -c client_min_messages=warning") as connection:
            outcome.judgement = judge(file, found.plan_path, connection, job.plan.live_schema)
    except MigrationError as error:
        outcome.verdict = f"stopped at {at}"
        outcome.messages.append(f"{at}: {type(error).__name__}: {error}")
        return
    except Exception as error:
        frame = traceback.extract_tb(error.__traceback__)[-1]
        outcome.verdict = f"error at {at}"
        outcome.messages.append(f"{at}: {type(error).__name__}: {error} ({Path(frame.filename).name}:{frame.lineno})")
        return
    outcome.messages += map(str, outcome.judgement.findings)
    kept_back = outcome.judgement.refused.total() + outcome.judgement.quarantined + outcome.judgement.altered
    outcome.verdict = "wrong" if outcome.messages else REFUSED if kept_back else RIGHT


def attempt(cluster: Cluster, collected: Collected, home: Path) -> Outcome:
    """Migrate into a fresh database, within the time; whatever happens, there is an outcome."""
    name, kind = collected.database.name, collected.database.kind
    if collected.missing:
        return Outcome(name, kind, verdict=f"not here: {collected.missing}")
    password, database = secrets.token_urlsafe(16), f"corpus_{name}"
    cluster.ensure_database(database, "corpus", password)
    began = time.monotonic()
    try:
        outcome = _in_time(collected.file, cluster.dsn(database, "corpus", password), home, Outcome(name, kind))
    finally:
        with cluster.connect() as connection:
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(database)))
        shutil.rmtree(home / "snapshots", ignore_errors=True)
    outcome.seconds = time.monotonic() - began
    return outcome


def _in_time(file: Path, dsn: str, home: Path, outcome: Outcome) -> Outcome:
    ours, theirs = multiprocessing.Pipe(duplex=False)
    process = multiprocessing.get_context("fork").Process(target=_tell, args=(theirs, file, dsn, home, outcome))
    process.start()
    theirs.close()
    try:
        if not ours.poll(SECONDS):
            outcome.verdict = f"did not end within {SECONDS} s"
            return outcome
        return ours.recv()  # type: ignore[no-any-return]
    except EOFError:
        outcome.verdict = "its process died"
        return outcome
    finally:
        process.kill()
        process.join()


def _tell(pipe: Pipe, file: Path, dsn: str, home: Path, outcome: Outcome) -> None:
    die_with_parent()
    migrate(file, dsn, home, outcome)
    pipe.send(outcome)


def totals(outcomes: list[Outcome]) -> str:
    """The last line: how many of each, and how much was compared."""
    judged = [o.judgement for o in outcomes if o.judgement]
    counts = Counter(re.sub(r" at .*|:.*", "", o.verdict) for o in outcomes)
    said = ", ".join(f"{n} {verdict}" for verdict, n in counts.most_common())
    rows, cells = sum(j.rows for j in judged), sum(j.cells for j in judged)
    objects = sum(j.carried.total() for j in judged), sum(j.refused.total() for j in judged)
    return (
        f"{len(outcomes)} databases: {said}. {rows:,} rows and {cells:,} cells compared; {objects[0]:,} schema objects "
        f"carried, {objects[1]:,} refused by name."
    )


def page(outcomes: list[Outcome]) -> str:
    """The table as Markdown."""
    lines = ["# The corpus", "", "Written by `python -m tests.corpus.run --write`.", "", totals(outcomes), ""]
    lines += [_piped(HEADINGS), _piped(["---"] * len(HEADINGS)), *(_piped(o.cells()) for o in outcomes)]
    for kind, figure in (("carried", "carried"), ("refused by name", "refused")):
        counts = sum((getattr(o.judgement, figure) for o in outcomes if o.judgement), Counter[str]())
        lines += ["", f"Schema objects {kind}: " + ", ".join(f"{n:,} × {w}" for w, n in sorted(counts.items())) + "."]
    return "\n".join(lines) + "\n"


def _piped(cells: Iterable[str]) -> str:
    return "| " + " | ".join(c.replace("|", "\\|") for c in cells) + " |"


def main() -> int:
    """Collect, migrate, judge, tell."""
    parser = argparse.ArgumentParser(prog="python -m tests.corpus.run", description=__doc__.split("\n", 1)[0])
    parser.add_argument("folder", nargs="?", type=Path, default=ROOT / ".local" / "corpus")
    parser.add_argument("--only", default="*", metavar="PATTERN", help="databases whose name is like this")
    parser.add_argument("--write", action="store_true", help=f"write the table to {PAGE.relative_to(ROOT)}")
    args = parser.parse_args()
    outcomes = []
    with tempfile.TemporaryDirectory() as place, throwaway_cluster() as cluster:
        os.environ["MIGRATION_PLANS"] = str(args.folder.absolute() / "plans")  # before the engine is imported
        for one in collect(args.folder.absolute(), args.only):
            outcome = attempt(cluster, one, Path(place))
            outcomes.append(outcome)
            print(" | ".join(outcome.cells()), flush=True)
            for message in outcome.messages:
                print(f"    {message}", flush=True)
    print(totals(outcomes))
    if args.write:
        PAGE.parent.mkdir(exist_ok=True)
        PAGE.write_text(page(outcomes), encoding="utf-8")
    return 0 if outcomes and all(o.good for o in outcomes) else 1


if __name__ == "__main__":
    sys.exit(main())
