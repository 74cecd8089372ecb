"""The command `./bench load`: makes the databases, lets everyone move them, and prints or writes the page."""

import argparse
import os
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.facts import environment
from benchmarks.load import datasets
from benchmarks.load.contest import NotProved, compete
from benchmarks.load.meter import Failed, Server
from benchmarks.load.page import PAGE, PLOT, page
from benchmarks.load.peers import QUICK, available
from benchmarks.load.plot import bars
from benchmarks.load.results import Results, kept
from benchmarks.load.scale import grow, sample, tiny
from local.postgres import throwaway_cluster

SETTINGS = {"max_wal_size": "16GB", "checkpoint_timeout": "1h"}
"""So that no checkpoint falls into a measurement. Else the server is as ./run starts it: durable, TOAST by lz4."""


@dataclass(frozen=True)
class Form:
    """How much is measured. Rounds are odd, so that a median is one of them."""

    scale: int
    documents: int
    narrow: int
    blobs: int
    rounds: int
    slow_scale: int
    """The sample so many times for the peers that are too slow for more; once is enough for them."""
    rows: tuple[int, ...]
    tables: tuple[int, ...]
    tiny: int
    apart: int


SMALL = Form(2, 1_000, 200_000, 1_000, 1, 1, (10_000, 100_000), (5, 25), 5, 1)
FULL = Form(65, 32_000, 10_000_000, 10_000, 3, 4, (100_000, 1_000_000, 10_000_000), (25, 100, 400), 100, 10)
PARTS = ("widgettdc", "narrow", "blobs", "tiny", "growth", "slow")


def main(arguments: Sequence[str]) -> int:
    """0 when measured, 1 when a load was not proved."""
    parser = argparse.ArgumentParser(
        "./bench load",
        description="A migration against the limit, psql's COPY of ready files, and against other loaders.",
        epilog="The small form takes about two minutes. The full one takes about half an hour and 15 GB below TMPDIR "
        "and .local, where it keeps its databases and, in environments of their own, the other loaders.",
    )
    parser.add_argument("--full", action="store_true", help="1 GB of WidgetTDC, 10^7 narrow rows, BLOBs; three rounds")
    parser.add_argument("--rounds", type=int, help="so many in place of the form's own")
    parser.add_argument(
        "--only",
        choices=PARTS,
        nargs="+",
        default=PARTS,
        help="some of the parts; the page has the others as they were measured last",
    )
    parser.add_argument("--write", action="store_true", help=f"write docs/{PAGE.name} and its plot")
    parser.add_argument("--again", action="store_true", help="measure nothing: make the page of what was measured last")
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # the server and the files shall not stay
    try:
        results = (
            kept()
            if options.again
            else run(
                FULL if options.full else SMALL, options.rounds, options.only, f"./bench load {' '.join(arguments)}"
            )
        )
    except (NotProved, Failed) as error:
        print(f"No ratio, since the product failed.\n{error}", file=sys.stderr)
        return 1
    text = page(results)
    print(text)
    if options.write:
        PAGE.write_text(text, "utf-8")
        PAGE.with_name(PLOT).write_text(bars(results), "utf-8")
    return 0


def run(form: Form, rounds: int | None, parts: Sequence[str], command: str) -> Results:
    """Measure a form on a server of its own. Raises NotProved, and Failed where the product could not go on."""
    _tell("other loaders")
    peers, versions, missing = available()
    _tell("databases")
    large = {
        "widgettdc": datasets.widgettdc(form.scale, form.documents),
        "narrow": datasets.narrow(form.narrow),
        "blobs": datasets.blobs(form.blobs),
    }
    small = datasets.widgettdc(form.slow_scale, 0)
    grown = [(number, datasets.narrow(number)) for number in form.rows]
    many = [(number, datasets.tables(number)) for number in form.tables]
    little = [datasets.tiny(number) for number in range(form.tiny)]
    quick = [peer for peer in peers if peer.name in QUICK]
    with throwaway_cluster(SETTINGS) as cluster:
        process = cluster.process()
        assert process is not None
        server = Server(cluster.dsn(), process)
        results = Results(command, environment(server.dsn), versions, missing) if set(parts) == set(PARTS) else kept()
        for part in parts:
            match part:
                case "slow":
                    results.contests[part] = compete(small, server, peers, 1, _tell)
                case "tiny":
                    results.sample = sample(server, rounds or form.rounds, _tell)
                    results.tiny = tiny(little, server, form.apart, _tell)
                case "growth":
                    results.rows = grow(grown, server, rounds or form.rounds, _tell, assess=True)
                    results.tables = grow(many, server, 1, _tell, assess=False)
                case name:
                    results.contests[name] = compete(large[name], server, quick, rounds or form.rounds, _tell)
            results.keep()
    return results


def _tell(what: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {what} (load {os.getloadavg()[0]:.1f})", file=sys.stderr, flush=True)
