"""How the product's cost grows: with rows, with tables, with the number of databases."""

import statistics
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.load.contest import database, migrate
from benchmarks.load.datasets import Dataset, application
from benchmarks.load.meter import Cost, Failed, Server, run
from benchmarks.load.product import Done

LARGE = 5_000_000
"""So many rows take long enough for once to be enough."""


@dataclass(frozen=True)
class Grown:
    """One size: what each step of the product cost, the median of several rounds by seconds, and an assessment."""

    title: str
    number: int
    """Of rows or of tables, whichever grows."""
    costs: dict[str, Cost]
    assess: Cost | None = None


@dataclass(frozen=True)
class Tiny:
    """Many small databases, seconds for each: all by one process, and a process for each; and pgloader's."""

    databases: int
    together: float
    """Of the product, in one process, the middle database."""
    apart: float
    """Of the product's command line, a process for each."""
    pgloader: float | None
    """Of pgloader, a process for each: load alone, with keys and indexes, without any proof."""


def grow(
    datasets: Sequence[tuple[int, Dataset]], server: Server, rounds: int, tell: Callable[[str], None], *, assess: bool
) -> list[Grown]:
    """Move each of them several times. Raises Failed."""
    found = []
    for number, dataset in datasets:
        tell(f"growth: {dataset.title}")
        done = [_once(dataset, server) for _ in range(rounds if number < LARGE else 1)]
        costs = {name: _middle([one.cost(name) for one in done]) for name in done[0].costs}
        found.append(Grown(dataset.title, number, costs, _assess(dataset, server) if assess else None))
    return found


def _middle(costs: Sequence[Cost]) -> Cost:
    return sorted(costs, key=lambda cost: cost.seconds)[len(costs) // 2]


def _once(dataset: Dataset, server: Server) -> Done:
    with database(server) as own, tempfile.TemporaryDirectory(prefix="bench-") as home:
        (done,), _ = migrate([dataset], own, Path(home))
    return done


def _assess(dataset: Dataset, server: Server) -> Cost:
    with tempfile.TemporaryDirectory(prefix="bench-") as home:
        places = {"MIGRATION_PLANS": home, "MIGRATION_HOME": home}
        command = [sys.executable, "-m", "migration", "assess", "--source", str(dataset.path), "--name", "growth"]
        return run(command, server, places)[0]


PGLOADER = """\
LOAD DATABASE FROM sqlite://{path} INTO {dsn} WITH include drop, create tables, create indexes, reset sequences;
"""


def tiny(datasets: Sequence[Dataset], server: Server, apart: int, tell: Callable[[str], None]) -> Tiny:
    """Move them all by one process, and the first ``apart`` by a process each. Raises Failed."""
    tell(f"{len(datasets)} tiny databases")
    with database(server) as own, tempfile.TemporaryDirectory(prefix="bench-") as home:
        done, _ = migrate(datasets, own, Path(home))
    together = statistics.median(
        sum(cost["seconds"] for name, cost in one.costs.items() if name != "start") for one in done
    )
    of_product, of_pgloader = [], []
    for dataset in datasets[:apart]:
        with database(server) as own, tempfile.TemporaryDirectory(prefix="bench-") as home:
            of_product.append(_alone(dataset, own, Path(home)).seconds)
        with database(server) as own, tempfile.TemporaryDirectory(prefix="bench-") as home:
            script = Path(home) / "pgloader.load"
            script.write_text(PGLOADER.format(path=dataset.path, dsn=own.dsn))
            try:
                of_pgloader.append(run(["pgloader", "--root-dir", home, script], own)[0].seconds)
            except (Failed, OSError):
                continue
    return Tiny(
        len(datasets),
        together,
        statistics.median(of_product),
        statistics.median(of_pgloader) if of_pgloader else None,
    )


def _alone(dataset: Dataset, server: Server, home: Path) -> Cost:
    """All steps from the command line."""
    command = [
        *(sys.executable, "-m", "migration", "all", "--plan", str(dataset.plan), "--run", "bench"),
        *("--source", str(dataset.path)),
    ]
    return run(command, server, {"MIGRATION_TARGET_DSN": server.dsn, "MIGRATION_HOME": str(home)})[0]


def sample(server: Server, rounds: int, tell: Callable[[str], None]) -> Cost:
    """The sample database of ./run, all steps from the command line: the median. Raises Failed."""
    dataset, found = application(), []
    for _ in range(rounds):
        tell("the sample database, from the command line")
        with database(server) as own, tempfile.TemporaryDirectory(prefix="bench-") as home:
            found.append(_alone(dataset, own, Path(home)))
    return _middle(found)
