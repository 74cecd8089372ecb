"""``python -m migration STEP``: every step without the orchestrator, for tests, benchmarks and emergencies.

The target's connection string comes from the environment variable MIGRATION_TARGET_DSN, never from the command line,
where other users could read it. Exit code 0: the step did its work; 1: it said why not; 2: wrong usage.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from migration import steps
from migration.errors import MigrationError
from migration.job import Job, Params
from migration.plan import plan_path, read_plan
from migration.sqlite.snapshot import restore
from migration.telling import sentence

STEPS = (
    "preflight",
    "backup",
    "create-schema",
    "load",
    "finish-schema",
    "verify",
    "replay",
    "approve",
    "cut-over",
    "rollback",
    "report",
    "all",
)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m migration", description=__doc__.split("\n", 1)[0])
    commands = parser.add_subparsers(dest="step", required=True, metavar="STEP")
    for name in STEPS:
        command = commands.add_parser(name)
        command.add_argument("--plan", default="widgettdc", help="name of a plan in include/plans, or the path of one")
        command.add_argument("--run", required=True, help="the run's id; the same for all its steps")
        if name in ("preflight", "backup", "cut-over", "all"):
            command.add_argument("--source", type=Path, help="the live SQLite file, where the plan does not name it")
        if name in ("preflight", "all"):
            command.add_argument("--mode", choices=("rehearsal", "cut_over"), default="rehearsal")
            command.add_argument("--quarantine", choices=("stop", "allow"), default="stop")
            command.add_argument("--on-live-tables", choices=("refuse", "retire"), default="refuse")
            command.add_argument("--rows-per-block", type=int, default=8192)
        if name in ("load", "verify"):
            command.add_argument("--table", help="one table; without it all, in load order")
        if name == "rollback":
            command.add_argument("--confirm-lost-writes", action="store_true")
    assess = commands.add_parser("assess", help="read a SQLite file, write its plan and a report about it")
    assess.add_argument("--source", required=True, type=Path, help="the SQLite file; it is only read")
    assess.add_argument("--name", help="the plan's name; without it the file's")
    assess.add_argument("--replace", action="store_true", help="write the plan anew where there is one of that name")
    restore = commands.add_parser("restore", help="copy a snapshot back to where an application can use it")
    restore.add_argument("manifest", type=Path, help="the snapshot's manifest.json")
    restore.add_argument("to", type=Path, help="the file to create")
    return parser


def home() -> Path:
    """Where snapshots and reports are kept: MIGRATION_HOME, otherwise ``.local/migration`` below the working folder."""
    return Path(os.environ.get("MIGRATION_HOME") or ".local/migration").absolute()


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns its exit code."""
    args = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S", stream=sys.stderr)
    try:
        return _run(args)
    except MigrationError as error:
        print(f"{type(error).__name__}: {sentence(str(error))}", file=sys.stderr)
        return 1


def _run(args: argparse.Namespace) -> int:
    if args.step == "restore":
        restore(args.manifest, args.to)
        return 0
    dsn = os.environ.get("MIGRATION_TARGET_DSN")
    if args.step == "assess":
        from migration.assess import assess

        print(assess(args.source, home(), name=args.name, target=dsn, replace=args.replace).text)
        return 0
    if not dsn:
        print(
            "Set MIGRATION_TARGET_DSN to the target's connection string, e.g. postgresql://user:password@host/database",
            file=sys.stderr,
        )
        return 2
    path = Path(args.plan) if args.plan.endswith((".yaml", ".yml")) else plan_path(args.plan)
    given = vars(args)
    params = Params(
        approval="given",
        **{k: given[k] for k in ("mode", "quarantine", "on_live_tables", "rows_per_block") if k in given},
    )
    plan = read_plan(path)
    source = given.get("source") or (Path(plan.source) if plan.source.startswith("/") else None)
    if source is None and "source" in given:
        print(f"Plan {plan.name} names no file: give it with --source.", file=sys.stderr)
        return 2
    job = Job(plan, args.run, dsn, source or Path(), home(), params)
    if args.step not in ("preflight", "all"):
        job = steps.recorded(job)
    return _steps(args)[args.step](job)


def _steps(args: argparse.Namespace) -> dict[str, Callable[[Job], int]]:
    def each(function: Callable[[Job, str], dict[str, Any]]) -> Callable[[Job], int]:
        def run(job: Job) -> int:
            for tables in [[args.table]] if getattr(args, "table", None) else job.plan.levels:
                steps.for_tables(function, job, tables)
            return 0

        return run

    def in_turn(*functions: Callable[[Job], Any]) -> Callable[[Job], int]:
        def run(job: Job) -> int:
            for function in functions:
                function(job)
            return 0

        return run

    def report(job: Job) -> int:
        text, verdict = steps.report(job)
        print(text)
        return 0 if verdict.success else 1

    def everything(job: Job) -> int:
        sequence = [
            in_turn(steps.preflight),
            in_turn(steps.backup),
            in_turn(steps.create_schema),
            each(steps.load),
            in_turn(steps.finish_schema),
            each(steps.verify),
        ]
        if job.params.mode == "cut_over":
            sequence.append(in_turn(steps.cut_over))
        for run in sequence:
            run(job)
        return report(job)

    return {
        "preflight": in_turn(steps.preflight),
        "backup": in_turn(steps.backup),
        "create-schema": in_turn(steps.create_schema),
        "load": each(steps.load),
        "finish-schema": in_turn(steps.finish_schema),
        "verify": each(steps.verify),
        "replay": in_turn(steps.replay_quarantine, steps.finish_schema, steps.verify_outdated),
        "approve": in_turn(lambda job: steps.approve(job, "cut_over", "the command line")),
        "cut-over": in_turn(steps.cut_over),
        "rollback": in_turn(lambda job: steps.rollback(job, confirm_lost_writes=args.confirm_lost_writes)),
        "report": report,
        "all": everything,
    }


if __name__ == "__main__":
    sys.exit(main())
