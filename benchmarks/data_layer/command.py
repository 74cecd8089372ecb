"""The command `./bench data-layer`: fills the databases, measures, and prints or writes the page."""

import argparse
import os
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

import psycopg

from benchmarks.data_layer.choosing import Chooser
from benchmarks.data_layer.clients import Clients, clients
from benchmarks.data_layer.concurrent import CLIENTS, measure_together
from benchmarks.data_layer.load import measure_load
from benchmarks.data_layer.operations import BY_ID, INDEXED_READS, INDEXED_WRITES, READS, WRITES, Operation
from benchmarks.data_layer.page import PAGE, page, plots
from benchmarks.data_layer.places import Places, filled
from benchmarks.data_layer.results import OfSize, Results
from benchmarks.data_layer.sides import (
    BASELINE,
    DRIVER,
    INDEXED,
    POSTGRES,
    POSTGRES_RELAXED,
    ROUND_TRIP,
    SQLITE,
    SQLITE_RELAXED,
    open_side,
)
from benchmarks.data_layer.single import AnswersDiffer, Measured, measure
from benchmarks.data_layer.world import World
from benchmarks.facts import environment, how_busy
from local.postgres import throwaway_cluster

SETTINGS = {"max_connections": "200"}
"""Else the server is as ./run starts it: durable, with autovacuum, 256 MB of shared buffers."""
SEED = 20_240_229


@dataclass(frozen=True)
class Form:
    """How much is measured. Rounds are odd, so that a median is one of them."""

    memories: tuple[int, ...]
    rounds: int
    seconds: float
    """What a round of one operation takes the slower side, about."""
    load_memories: tuple[int, ...]
    load_clients: tuple[int, ...]
    load_calls: int
    """By all clients of a round, but at least a fortieth by each."""
    load_rounds: int
    load_seconds: float
    """After which a client makes no further call."""


SMALL = Form((10_000,), 3, 0.1, (10_000,), (1, 4, 16), 400, 1, 5)
FULL = Form((10_000, 100_000, 1_000_000), 7, 0.3, (100_000, 1_000_000), (1, 4, 16, 64), 1_600, 3, 8)


def main(arguments: Sequence[str]) -> int:
    """0 when measured, 1 when the two sides answered differently."""
    parser = argparse.ArgumentParser(
        "./bench data-layer",
        description="The application's operations on SQLite and on PostgreSQL: same data, same machine, in turns.",
        epilog="The small form takes about two minutes, the full one about half an hour and 10 GB below TMPDIR.",
    )
    parser.add_argument("--full", action="store_true", help="10^4 to 10^6 memories, more rounds, up to 64 clients")
    parser.add_argument(
        "--write", action="store_true", help=f"write docs/{PAGE.name} with its plots, and the numbers beside the code"
    )
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # the server and the files shall not stay
    form = FULL if options.full else SMALL
    try:
        results = run(form, " ".join(["./bench data-layer", *arguments]))
    except AnswersDiffer as error:
        print(f"No ratio, since the answers differ.\n{error}", file=sys.stderr)
        return 1
    text = page(results)
    print(text)
    if options.write:
        results.write()
        PAGE.write_text(text, "utf-8")
        for old in PAGE.parent.glob(f"{PAGE.stem}-*.svg"):
            old.unlink()
        for name, drawing in plots(results).items():
            PAGE.with_name(name).write_text(drawing, "utf-8")
    return 0


def run(form: Form, command: str) -> Results:
    """Measure all of a form, on a server and in a folder of its own. Raises AnswersDiffer."""
    with ExitStack() as stack:
        cluster = stack.enter_context(throwaway_cluster(SETTINGS))
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        processes = stack.enter_context(clients(max(CLIENTS, *form.load_clients)))
        facts = {**environment(cluster.dsn()), "in the minute before": how_busy()}
        results = Results(command, facts)
        for memories in form.memories:
            _tell(f"{memories:,} memories: filling")
            world = World(memories)
            with filled(world, folder, cluster.dsn()) as places:
                chooser = Chooser(world, SEED)
                results.sizes.append(_of_size(form, world, places, chooser, processes))
                if memories in form.load_memories:
                    for number in form.load_clients:
                        _tell(f"load, clients: {number}")
                        calls = max(form.load_calls // number, form.load_calls // 40)
                        results.load += measure_load(
                            places,
                            chooser,
                            processes,
                            number,
                            calls=calls,
                            rounds=form.load_rounds,
                            patience=form.load_seconds,
                        )
                results.deadlocks += _deadlocks(places)
        return results


def _of_size(form: Form, world: World, places: Places, chooser: Chooser, processes: Clients) -> OfSize:
    result = OfSize(world.memories, sum(places.rows.values()), places.revision, _sizes(places))
    for operations in (READS, WRITES):  # reads first, since each side gives new rows times of its own
        alone = [_alone(form, each, places, chooser, _sides(each)) for each in operations]
        for operation, measured in zip(operations, alone, strict=True):
            _tell(f"{world.memories:,} memories, {CLIENTS} clients: {operation.name}")
            result.together.append(
                measure_together(
                    operation,
                    (SQLITE, POSTGRES),
                    places,
                    chooser,
                    processes,
                    measured,
                    rounds=max(1, form.rounds // 2),
                    seconds=form.seconds * 3,
                )
            )
        result.alone.extend(alone)
    result.relaxed.extend(_alone(form, each, places, chooser, (SQLITE_RELAXED, POSTGRES_RELAXED)) for each in WRITES)
    return result


def _sides(operation: Operation) -> tuple[str, ...]:
    if operation is BY_ID:
        return (SQLITE, POSTGRES, DRIVER, ROUND_TRIP)
    if operation in INDEXED_READS:
        return (SQLITE, POSTGRES, BASELINE, INDEXED)
    return (SQLITE, POSTGRES, BASELINE) if operation in INDEXED_WRITES else (SQLITE, POSTGRES)


def _alone(form: Form, operation: Operation, places: Places, chooser: Chooser, names: Sequence[str]) -> Measured:
    _tell(f"{chooser.world.memories:,} memories, one client: {operation.name}")
    with ExitStack() as stack:
        sides = {name: stack.enter_context(closing(open_side(name, places))) for name in names}
        return measure(operation, sides, chooser, rounds=form.rounds, seconds=form.seconds)


def _sizes(places: Places) -> dict[str, int]:
    sizes = {SQLITE: places.sqlite.stat().st_size}
    for side, dsn in ((BASELINE, places.baseline), (POSTGRES, places.postgres)):
        with psycopg.connect(dsn) as connection:
            sizes[side] = connection.execute("SELECT pg_database_size(current_database())").fetchall()[0][0]
    return sizes


def _deadlocks(places: Places) -> int:
    with psycopg.connect(places.postgres) as connection:
        counted = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
        return int(connection.execute(counted).fetchall()[0][0])


def _tell(what: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {what} (load {os.getloadavg()[0]:.1f})", file=sys.stderr, flush=True)
