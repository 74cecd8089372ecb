"""The product's side, a process of its own: migrations step by step, with what each step costs, as JSON.

`python -m benchmarks.load.product FILE`, where FILE holds the JSON of a list of :class:`Task`.
"""

import json
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
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
        measured=lambda kind, found: figures[kind].append(found),
    )
    seconds: dict[str, dict[str, float]] = {"load": {}, "verify": {}}

    def timed(kind: str, function: StepOfTable, job: Job, table: str) -> dict[str, Any]:
        began = time.monotonic()
        found = function(job, table)
        seconds[kind][table] = time.monotonic() - began
        return found

    def each(kind: str, function: StepOfTable) -> Callable[[Job], Any]:
        one = partial(timed, kind, function)
        one.__name__ = kind  # type: ignore[attr-defined] # which for_tables tells
        return partial(steps.for_tables, one, tables=[table for level in plan.levels for table in level])

    functions: dict[str, Callable[[Job], Any]] = {
        "preflight": steps.preflight,
        "backup": steps.backup,
        "create_schema": steps.create_schema,
        "load": each("load", steps.load),
        "finish_schema": steps.finish_schema,
        "verify": each("verify", steps.verify),
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


if __name__ == "__main__":
    main(sys.argv[1])
