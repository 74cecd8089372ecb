"""The product's side, a process of its own: migrations step by step, with what each step costs, as JSON.

`python -m benchmarks.load.product FILE`, where FILE holds the JSON of a list of :class:`Task`.
"""

import json
import multiprocessing
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import asdict, dataclass
from functools import partial
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

from benchmarks.load.meter import Cost, Server, measured
from migration import steps
from migration.job import Job, Params
from migration.plan import read_plan


@dataclass(frozen=True)
class Task:
    """What the process shall do. `began` is the time of the machine's monotonic clock when it was started."""

    source: str
    plan: str
    dsn: str
    home: str
    run: str
    server: dict[str, Any]
    began: float
    at_once: int = 1
    """So many tables, each by a process of its own, as tasks are."""


@dataclass(frozen=True)
class Done:
    """The cost of each step, each table's seconds in load and proof, and what they said: rows, bytes, values."""

    costs: dict[str, dict[str, float]]
    load: dict[str, float]
    proof: dict[str, float]
    rows: int
    bytes: int
    values: int
    staging: str

    def cost(self, step: str) -> Cost:
        """What a step cost; `start` is everything before the first one."""
        return Cost(**self.costs[step])  # type: ignore[arg-type] # JSON knows one kind of number


StepOfTable = Callable[[Job, str], dict[str, Any]]
Timed = tuple[str, float, dict[str, Any]]
"""A table, its seconds, and what its step said."""


def main(file: str) -> None:
    """Do the tasks one after the other, and print what was done. Imports are a part of what is measured."""
    tasks = [Task(**facts) for facts in json.loads(Path(file).read_text())]
    print(json.dumps([asdict(_done(task, first=task is tasks[0])) for task in tasks]))


def _done(task: Task, *, first: bool) -> Done:
    costs = {"start": asdict(Cost(time.monotonic() - task.began, time.process_time(), 0))} if first else {}
    server = Server(**task.server)
    plan = read_plan(Path(task.plan)).model_copy(update={"confirmed": True})
    figures: dict[str, list[dict[str, Any]]] = {"load": [], "verify": []}
    job = Job(
        plan,
        task.run,
        task.dsn,
        Path(task.source),
        Path(task.home),
        Params(),
        measured=(lambda kind, found: figures[kind].append(found)) if task.at_once == 1 else None,
    )
    seconds: dict[str, dict[str, float]] = {"load": {}, "verify": {}}

    tables = [table for level in plan.levels for table in level]

    def timed(kind: str, function: StepOfTable, job: Job, table: str) -> dict[str, Any]:
        _, seconds[kind][table], found = _timed(function, job, table)
        return found

    def each(kind: str, function: StepOfTable) -> Callable[[Job], Any]:
        one = partial(timed, kind, function)
        one.__name__ = kind  # type: ignore[attr-defined] # which for_tables tells
        return partial(steps.for_tables, one, tables=tables)

    def side_by_side(kind: str, function: StepOfTable) -> Callable[[Job], Any]:
        def run(job: Job) -> None:
            before = {table: plan.before(table) if kind == "load" else () for table in tables}
            for table, took, found in _at_once(partial(_timed, function, job), before, task.at_once):
                seconds[kind][table] = took
                figures[kind].append(found)

        return run

    by_table = each if task.at_once == 1 else side_by_side

    functions: dict[str, Callable[[Job], Any]] = {
        "preflight": steps.preflight,
        "backup": steps.backup,
        "create_schema": steps.create_schema,
        "load": by_table("load", steps.load),
        "finish_schema": steps.finish_schema,
        "verify": by_table("verify", steps.verify),
    }
    for name, function in functions.items():
        with measured(server, lambda cost, name=name: costs.update({name: asdict(cost)})):  # type: ignore[misc]
            function(job)
    loaded, verified = figures["load"], figures["verify"]
    return Done(
        costs,
        seconds["load"],
        seconds["verify"],
        sum(one["loaded"] for one in loaded),
        sum(one["bytes"] for one in loaded),
        sum(one["values"] for one in verified),
        job.staging,
    )


def _timed(function: StepOfTable, job: Job, table: str) -> Timed:
    began = time.monotonic()
    found = function(job, table)
    return table, time.monotonic() - began, found


def _at_once(function: Callable[[str], Timed], before: Mapping[str, Sequence[str]], processes: int) -> list[Timed]:
    """What the function gives for each table, no table before those that it waits for; as the DAG's tasks do it."""
    found: list[Timed] = []
    sorter, running = TopologicalSorter(before), set[Future[Timed]]()
    sorter.prepare()
    with ProcessPoolExecutor(processes, multiprocessing.get_context("fork")) as pool:
        while sorter.is_active():
            running |= {pool.submit(function, table) for table in sorter.get_ready()}
            done, running = wait(running, return_when=FIRST_COMPLETED)
            found += (one.result() for one in done)
            sorter.done(*(one.result()[0] for one in done))
    return found


if __name__ == "__main__":
    main(sys.argv[1])
