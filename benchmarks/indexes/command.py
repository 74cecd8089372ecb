"""The command `./bench indexes`: measures what the indexes bring and cost, and writes the index strategy."""

import argparse
import os
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from benchmarks.data_layer.places import filled
from benchmarks.data_layer.single import AnswersDiffer
from benchmarks.data_layer.world import World
from benchmarks.facts import busy, environment
from benchmarks.indexes.measured import Measured
from benchmarks.indexes.measuring import (
    measure_candidates,
    measure_costs,
    measure_pending,
    measure_reads,
    measure_searches,
)
from benchmarks.indexes.page import PAGE, page
from local.postgres import throwaway_cluster

SETTINGS = {"fsync": "off", "full_page_writes": "off", "autovacuum": "off", "max_parallel_workers_per_gather": "0"}
"""So that the bytes of WAL and the pages read follow from the statements alone."""
SMALL, FULL = (10_000,), (100_000, 1_000_000)


def main(arguments: Sequence[str]) -> int:
    """0 when measured, 1 when two ways gave different answers."""
    parser = argparse.ArgumentParser(
        "./bench indexes",
        description="What each index of the application's schema serves and costs, and what else could serve searches.",
        epilog="The small form takes about a minute, the full one about twenty and 5 GB below TMPDIR.",
    )
    parser.add_argument("--full", action="store_true", help="10^5 and 10^6 memories instead of 10^4")
    parser.add_argument("--write", action="store_true", help=f"write docs/{PAGE.name}, and the numbers beside the code")
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # the server and the files shall not stay
    try:
        measured = run(FULL if options.full else SMALL, " ".join(["./bench indexes", *arguments]))
    except AnswersDiffer as error:
        print(f"Nothing is written, since the answers differ.\n{error}", file=sys.stderr)
        return 1
    text = page(measured)
    print(text)
    if options.write:
        measured.write()
        PAGE.write_text(text, "utf-8")
    return 0


def run(sizes: Sequence[int], command: str) -> Measured:
    """Measure searches at each size, the rest at the last. Raises AnswersDiffer."""
    with ExitStack() as stack:
        cluster = stack.enter_context(throwaway_cluster(SETTINGS))
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        measured = Measured(command, {**environment(cluster.dsn()), "load before": f"{busy():.1f}"}, sizes[-1])
        for memories in sizes:
            _tell(f"{memories:,} memories: filling")
            world = World(memories)
            with filled(world, folder, cluster.dsn()) as places:
                _tell("searches")
                measured.searches += measure_searches(world, places)
                if memories == sizes[-1]:
                    _tell("plans, costs of each index")
                    measured.reads = measure_reads(world, places)
                    measured.costs = measure_costs(places)
                    measured.pending = measure_pending(places)
                    _tell("other indexes")
                    measured.candidates = measure_candidates(world, places)
        measured.environment["load after"] = f"{busy():.1f}"
        return measured


def _tell(what: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {what} (load {os.getloadavg()[0]:.1f})", file=sys.stderr, flush=True)
