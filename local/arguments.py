"""The command line of ./run, read with the standard library alone so that a mistake is answered at once."""

import argparse
import os
import re
from dataclasses import dataclass
from pathlib import Path

from local.files import LocalError

EXAMPLES = """\
other commands:
  ./run assess APP.db      only say what is in app.db and what becomes of it; writes its plan and a report
  ./run psql [ARGUMENTS]   open the migrated database in the embedded PostgreSQL (-d NAME: that of the plan NAME)
  ./run stop               stop everything that ./run left running here

examples:
  ./run                    migrate a generated sample database
  ./run app.db             migrate app.db into an embedded PostgreSQL; assess it first when it has no plan yet
  ./run app.db --accept    the same, taking every decision that the assessment proposes
  ./run app.db --target postgresql://user:password@host:5432/database
  ./run app.db --ui        let Airflow's pages trigger, watch, mend and roll back

exit codes: 0 success, 1 the migration failed, 2 wrong usage, 3 decisions to confirm before it can begin

./test runs the project's tests.
"""


@dataclass(frozen=True)
class Options:
    """What ./run was asked to do. `rest` goes to psql as it stands."""

    command: str
    source: Path | None = None
    target: str | None = None
    ui: bool = False
    rehearsal: bool = False
    quarantine: str = "stop"
    on_live_tables: str = "refuse"
    plan: str | None = None
    name: str | None = None
    accept: bool = False
    replace: bool = False
    rest: tuple[str, ...] = ()


def parse(argv: list[str]) -> Options:
    """The options; ends the process with a usage message and status 2 on a mistake."""
    match argv:
        case ["psql", *rest]:
            return Options("psql", rest=tuple(rest))
        case ["assess", *rest]:
            return parse_assess(rest)
        case ["stop", *rest]:
            argparse.ArgumentParser(
                "./run stop", description="Stop everything that ./run left running here."
            ).parse_args(rest)
            return Options("stop")
    return parse_migrate(argv)


def parse_assess(argv: list[str]) -> Options:
    parser = argparse.ArgumentParser(
        "./run assess",
        description="Say what is in a SQLite database and what becomes of it in PostgreSQL; writes its plan.",
        allow_abbrev=False,
    )
    parser.add_argument("source", type=Path, metavar="APP.db", help="SQLite file, only read")
    parser.add_argument("--name", type=plan_name, help="the plan's name; without it the file's")
    parser.add_argument("--replace", action="store_true", help="write the plan anew where there is one of that name")
    found = parser.parse_args(argv)
    return Options("assess", source=require_readable(found.source), name=found.name, replace=found.replace)


def plan_name(text: str) -> str:
    """The name, if a plan can have it."""
    if not re.fullmatch("[a-z][a-z0-9_]{0,39}", text):
        raise argparse.ArgumentTypeError(f"{text!r} is no plan's name: use lower-case letters, digits and underscores")
    return text


def parse_migrate(argv: list[str]) -> Options:
    parser = argparse.ArgumentParser(
        "./run",
        description="Migrate a SQLite database into PostgreSQL through Airflow and verify every value.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "source", nargs="?", type=Path, metavar="APP.db", help="SQLite file, only read; without it a sample"
    )
    parser.add_argument(
        "--target",
        metavar="URL",
        help="postgresql://user:password@host:port/database of a server of your own (password also from "
        "PGPASSWORD or ~/.pgpass); without it an embedded PostgreSQL",
    )
    parser.add_argument(
        "--ui", action="store_true", help="start nothing; leave Airflow up, with the DAGs ready, until Ctrl-C"
    )
    parser.add_argument("--rehearsal", action="store_true", help="everything but the cut-over")
    parser.add_argument(
        "--quarantine",
        choices=("stop", "allow"),
        default="stop",
        help="rows that PostgreSQL cannot hold stop the run (default), or are kept aside and counted",
    )
    parser.add_argument(
        "--on-live-tables",
        choices=("refuse", "retire"),
        help="where the target already holds the tables: refuse (default), or cut over and keep them in "
        "the retired schema (default for the sample)",
    )
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--plan", type=plan_name, metavar="NAME", help="go by this plan of include/plans")
    which.add_argument(
        "--name", type=plan_name, metavar="NAME", help="name of the plan to write; without it the file's"
    )
    parser.add_argument(
        "--accept", action="store_true", help="take what the assessment proposes where a person should confirm it"
    )
    found = parser.parse_args(argv)
    if found.name and not found.source:
        parser.error("--name names the plan of a database: give the database too")
    if found.ui and (found.rehearsal or found.quarantine != "stop" or found.on_live_tables):
        parser.error("with --ui these choices are made in the DAG's trigger form")
    if found.target is not None and not found.target.startswith(("postgresql://", "postgres://")):
        raise LocalError("--target must read postgresql://user:password@host:port/database.", status=2)
    return Options(
        command="migrate",
        source=None if found.source is None else require_readable(found.source),
        target=found.target,
        ui=found.ui,
        rehearsal=found.rehearsal,
        quarantine=found.quarantine,
        on_live_tables=found.on_live_tables or ("refuse" if found.source or found.plan else "retire"),
        plan=found.plan,
        name=found.name,
        accept=found.accept,
    )


def require_readable(source: Path) -> Path:
    """The source's absolute path; whether the file holds a database is for the preflight to say."""
    if not source.exists():
        raise LocalError(f"{source} does not exist.", status=2)
    if not source.is_file():
        raise LocalError(f"{source} is not a file.", status=2)
    if not os.access(source, os.R_OK):
        raise LocalError(f"{source} is not readable for this user.", status=2)
    return source.resolve()
