"""The page of results: what was measured, how, and where PostgreSQL loses."""

from collections.abc import Callable, Sequence
from math import log
from typing import Protocol, TypeVar

from benchmarks.data_layer.concurrent import CLIENTS, Throughput
from benchmarks.data_layer.load import MIX, Load
from benchmarks.data_layer.operations import BY_ID, RARE, READS
from benchmarks.data_layer.results import Results
from benchmarks.data_layer.sides import (
    BASELINE,
    DRIVER,
    INDEXED,
    POSTGRES,
    POSTGRES_RELAXED,
    ROUND_TRIP,
    SQLITE,
    SQLITE_RELAXED,
)
from benchmarks.data_layer.single import Measured
from benchmarks.pages import duration, plot, rate, table, times
from local.files import ROOT

PAGE = ROOT / "docs" / "benchmarks-data-layer.md"

ABOUT = """\
# The data layer: SQLite against PostgreSQL

Made by `{command}`; do not edit. The same rows and the same calls on both sides, on one machine, in turns; all
numbers are medians of the rounds. A ratio is SQLite's time divided by PostgreSQL's (for calls per second the other way
round), the median of the ratios of the rounds: **× 3 is three times faster on PostgreSQL, ÷ 3 three times slower.** The
answers of both sides are compared, call by call, and no ratio is printed unless they are equal.

* **SQLite** is the application as it was: its own schema and indexes, inside the process, WAL, prepared statements,
  256 MiB of cache, ANALYZE done, `BEGIN IMMEDIATE` for what is of several statements. It gives the same records as the
  repositories, but does not check values before it writes them; upper and lower case it knows of A to Z alone, so
  searches are for such words.
* **PostgreSQL** is the repositories of `include/widgettdc` at revision {revision}, through SQLAlchemy and psycopg over
  loopback TCP, set as `./run` sets it. *Revision 0001* is the schema as the migration leaves it.
* Both have each commit on the disk before it returns (`synchronous = FULL`, `synchronous_commit = on`). *Relaxed* is
  better-sqlite3's own setting (`NORMAL`) and `synchronous_commit = off`: a power failure may take the last commits.
* Clients are processes: SQLite works in the caller's thread, so Python's lock would slow down threads unequally. The
  server and all clients share the machine's cores.
"""

LATER = """\
## What the indexes of later revisions bring and cost

In brackets SQLite: with its own indexes and, where there are two numbers, with the new ones too, which tells what of
the gain is the index and what is PostgreSQL. The trigram index alone has no counterpart there. (FTS5 knows trigrams, as
a second table that triggers keep; the application has none, and it was not measured.)
"""

UNDER_LOAD = """\
## Under load: readers, writers and deleters at once

Of a hundred calls: {mix}.
All counts are on eight rows. A client makes its next call when it has the answer to the last one. SQLite waits five
seconds for its lock before it gives up. *BEGIN* is better-sqlite3's default for a transaction: it asks for the lock
only when it writes, and fails at once if another has written since it read. *Lost* are counts that a client was told
were kept and that are not there; *astray* are memories that are there and should not be, or the other way round.
"""


def page(results: Results) -> str:
    """The whole page."""
    revision = results.sizes[-1].revision
    parts = [
        ABOUT.format(command=results.command, revision=revision),
        table(("environment", ""), list(results.environment.items())).replace("---:", "---"),
        "; ".join(f"{each.memories:,} memories are {each.rows:,} rows in nine tables" for each in results.sizes)
        + ".\n",
        _in_short(results),
        "## One client\n\nThe ratio, and what a call takes: SQLite → PostgreSQL.\n",
        _alone(results),
        _spread(results),
        LATER,
        _before_and_after(results, revision),
        "## Where the time of a point read goes\n",
        _point_read(results),
        f"## {CLIENTS} clients at once\n\nThe ratio, and all clients' calls per second: SQLite → PostgreSQL.\n",
        _together(results),
        _under_load(results),
        f"Deadlocks that PostgreSQL met in all that was measured: {results.deadlocks}.\n",
        "\n".join(f"![{name}]({name})" for name in plots(results)) + "\n",
    ]
    return "\n".join(parts)


def _sizes(results: Results) -> list[str]:
    return [f"{each.memories:,} memories" for each in results.sizes]


class OfOperation(Protocol):
    @property
    def operation(self) -> str: ...


M = TypeVar("M", bound=OfOperation)


def _by_operation(columns: Sequence[Sequence[M]], cell: Callable[[M], str], suffix: str = "") -> list[list[str]]:
    """A line for each operation, a cell for each size."""
    return [[f"{line[0].operation}{suffix}", *map(cell, line)] for line in zip(*columns, strict=True)]


def _faster(sqlite: str, postgres: str) -> Callable[[Measured], str]:
    return lambda one: (
        f"**{times(one.faster[postgres])}** {duration(one.seconds[sqlite])} → {duration(one.seconds[postgres])}"
    )


def _alone(results: Results) -> str:
    rows = [
        *_by_operation([size.alone for size in results.sizes], _faster(SQLITE, POSTGRES)),
        *_by_operation(
            [size.relaxed for size in results.sizes], _faster(SQLITE_RELAXED, POSTGRES_RELAXED), ", relaxed"
        ),
    ]
    return table(("operation", *_sizes(results)), rows)


def _spread(results: Results) -> str:
    wide = sorted(one.spread for size in results.sizes for one in (*size.alone, *size.relaxed))
    return (
        f"How far the rounds lie apart: the highest ratio of a round is {wide[len(wide) // 2]:.2f} times the lowest in"
        f" the middle one of these {len(wide)} cells, and {wide[-1]:.2f} times in the worst.\n"
    )


def _before_and_after(results: Results, revision: str) -> str:
    def cell(one: Measured) -> str:
        gain = one.seconds[BASELINE] / one.seconds[POSTGRES]
        return (
            f"**{times(gain)}** {duration(one.seconds[BASELINE])} → {duration(one.seconds[POSTGRES])}"
            f" (SQLite {' / '.join(duration(one.seconds[side]) for side in (SQLITE, INDEXED) if side in one.seconds)})"
        )

    both = [[one for one in size.alone if BASELINE in one.seconds] for size in results.sizes]
    sizes = [[size.sizes[side] / 1e6 for side in (BASELINE, POSTGRES, SQLITE)] for size in results.sizes]
    told = [f"{before:,.0f} → {after:,.0f} MB (SQLite {sqlite:,.0f})" for before, after, sqlite in sizes]
    headings = (f"revision 0001 → {revision}", *_sizes(results))
    return table(headings, [*_by_operation(both, cell), ["size of the database", *told]])


def _point_read(results: Results) -> str:
    rows = []
    reads = [next(one for one in size.alone if one.operation == BY_ID.name) for size in results.sizes]
    for side, what in (
        (SQLITE, "SQLite, in the process"),
        (ROUND_TRIP, "psycopg: `SELECT 1`, the round trip alone"),
        (DRIVER, "psycopg: the memory as a row"),
        (POSTGRES, "the repository: the memory as a record"),
    ):
        rows.append([what, *(duration(one.seconds[side]) for one in reads)])
    added = [one.seconds[POSTGRES] - one.seconds[DRIVER] for one in reads]
    rows.append(["of which SQLAlchemy, the pool and the record", *map(duration, added)])
    return table(("memory by id", *_sizes(results)), rows)


def _together(results: Results) -> str:
    def cell(one: Throughput) -> str:
        return f"**{times(one.more[POSTGRES])}** {rate(one.throughput[SQLITE])} → {rate(one.throughput[POSTGRES])}"

    return table(("operation", *_sizes(results)), _by_operation([size.together for size in results.sizes], cell))


def _under_load(results: Results) -> str:
    mix = ", ".join(f"{each.name} {share}" for each, share in MIX.items())
    sizes = list(dict.fromkeys(one.memories for one in results.load))
    tables = [f"{size:,} memories:\n\n{_load([one for one in results.load if one.memories == size])}" for size in sizes]
    return "\n".join([UNDER_LOAD.format(mix=mix), *tables])


def _load(load: list[Load]) -> str:
    rows = [
        [
            one.side,
            str(one.clients),
            rate(one.throughput),
            *map(duration, (one.of_two, one.of_twenty, one.of_hundred, one.longest)),
            ", ".join(f"{number} of {one.calls:,}: {name}" for name, number in one.errors.items()) or "0",
            str(one.lost),
            str(one.astray),
        ]
        for one in load
    ]
    return table(("", "clients", "calls/s", "p50", "p95", "p99", "longest", "errors", "lost", "astray"), rows)


def _in_short(results: Results) -> str:
    """Where PostgreSQL wins and where it loses, for each size."""
    lines = ["## Where PostgreSQL wins, and where it loses\n"]
    for size in results.sizes:
        alone = {one.operation: one.faster[POSTGRES] for one in size.alone}
        together = {one.operation: one.more[POSTGRES] for one in size.together}
        for who, factors in (("one client", alone), (f"{CLIENTS} clients", together)):
            wins, losses = _listed(factors, lambda factor: factor >= 1), _listed(factors, lambda factor: factor < 1)
            lines.append(f"* **{size.memories:,} memories, {who}.** Faster: {wins}. Slower: {losses}.")
    return "\n".join(lines) + "\n"


def _listed(factors: dict[str, float], wanted: Callable[[float], bool]) -> str:
    """These operations, those that differ most before the others."""
    found = sorted((-abs(log(factor)), name, factor) for name, factor in factors.items() if wanted(factor))
    return "; ".join(f"{name} {times(factor)}" for _, name, factor in found) or "none"


LOAD_PLOTS: tuple[tuple[str, str, str, Callable[[Load], float]], ...] = (
    ("throughput", "Calls per second under load", "/s", lambda one: one.throughput),
    ("p99", "The slowest of a hundred calls under load", "ms", lambda one: one.of_hundred * 1e3),
)


def plots(results: Results) -> dict[str, str]:
    """The SVG files beside the page, by name."""
    found = {"benchmarks-data-layer-search.svg": _rare_search(results)}
    for memories in dict.fromkeys(one.memories for one in results.load):
        load = [one for one in results.load if one.memories == memories]
        labels = [str(number) for number in dict.fromkeys(one.clients for one in load)]
        sides = list(dict.fromkeys(one.side for one in load))
        about = f"{memories:,} memories, by number of clients"
        for name, title, unit, value in LOAD_PLOTS:
            lines = {side: [value(one) for one in load if one.side == side] for side in sides}
            found[f"benchmarks-data-layer-{name}-{memories}.svg"] = plot(f"{title}, {about}", unit, labels, lines)
    return found


def _rare_search(results: Results) -> str:
    found = [size.alone[READS.index(RARE)].seconds for size in results.sizes]
    lines = {side: [seconds[side] * 1e3 for seconds in found] for side in (SQLITE, INDEXED, BASELINE, POSTGRES)}
    labels = [f"{size.memories:,}" for size in results.sizes]
    return plot("A search for a rare word, by number of memories", "ms", labels, lines)
