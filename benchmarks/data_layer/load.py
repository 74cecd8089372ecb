"""Readers, writers and deleters at once: how much gets done, how long one waits, and whether all of it is kept."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

import apsw
import psycopg

from benchmarks.data_layer.application import PATIENCE_MS
from benchmarks.data_layer.choosing import Chooser
from benchmarks.data_layer.clients import Call, Clients, Together
from benchmarks.data_layer.operations import BY_ID, COMMON, COUNT, DELETE, INGEST, NEWEST, OPERATIONS, RARE, UPDATE
from benchmarks.data_layer.places import Places
from benchmarks.data_layer.sides import ON_SQLITE, POSTGRES, POSTGRES_RELAXED, SQLITE, SQLITE_DEFERRED, SQLITE_RELAXED
from benchmarks.data_layer.world import COUNTERS_ORG

MIX = {BY_ID: 40, COMMON: 5, RARE: 5, NEWEST: 5, INGEST: 15, UPDATE: 10, COUNT: 15, DELETE: 5}
"""Of a hundred calls. All counts are on eight rows."""
_DECK = [each.name for each, share in MIX.items() for _ in range(share)]
GROUPS = ((SQLITE, POSTGRES), (SQLITE_RELAXED, POSTGRES_RELAXED), (SQLITE_DEFERRED,))
"""The sides of a group do the same calls; another group does others, since a memory can be deleted only once."""
WARM = 2
_HELD = "SELECT count(*), sum({}) FILTER (WHERE org_id = ?) FROM memory_entities"


@dataclass(frozen=True)
class Held:
    """What the tables say: the number of memories, and the sum of the counters."""

    memories: int
    counted: int


@dataclass(frozen=True)
class Load:
    """What so many clients got done: medians of the rounds, in seconds and calls per second."""

    memories: int
    clients: int
    side: str
    throughput: float
    of_two: float
    of_twenty: float
    of_hundred: float
    longest: float
    """Of all rounds."""
    calls: int
    errors: dict[str, int]
    lost: int
    """Counts that a client was told were kept, and that are not there."""
    astray: int
    """Memories that are there and should not be, or the other way round."""


def measure_load(
    places: Places, chooser: Chooser, clients: Clients, number: int, *, calls: int, rounds: int, patience: float
) -> list[Load]:
    """So many calls by each of a number of clients, on each side in turns."""
    done: dict[str, list[Together]] = {side: [] for group in GROUPS for side in group}
    wrong: dict[str, list[tuple[int, int]]] = {side: [] for side in done}
    for turn in range(rounds):
        for group in GROUPS:
            work = [_work(chooser, calls) for _ in range(number)]
            for side in group[:: -1 if turn % 2 else 1]:
                before = held(side, places)
                together = clients.run(side, places, work, warm=WARM, patience=patience)
                done[side].append(together)
                wrong[side].append(balance(work, together, before, held(side, places)))
    return [_load(chooser.world.memories, number, side, done[side], wrong[side]) for side in done]


def _work(chooser: Chooser, calls: int) -> list[Call]:
    names = [BY_ID.name] * WARM + [chooser.draw.one(_DECK) for _ in range(calls)]
    return [(name, OPERATIONS[name].draw(chooser)) for name in names]


def held(side: str, places: Places) -> Held:
    """What the side's tables say now."""
    if side in ON_SQLITE:
        source = apsw.Connection(str(places.sqlite))
        source.set_busy_timeout(PATIENCE_MS)  # the last client to go cleans up the WAL, and locks out everybody
        rows = list(source.execute(_HELD.format("metadata ->> '$.count'"), (COUNTERS_ORG,)))
        source.close()
    else:
        with psycopg.connect(places.postgres) as target:
            number = "(metadata ->> 'count')::integer"
            rows = target.execute(_HELD.format(number).replace("?", "%s").encode(), (COUNTERS_ORG,)).fetchall()
    return Held(*rows[0])


def balance(work: Sequence[Sequence[Call]], together: Together, before: Held, after: Held) -> tuple[int, int]:
    """Counts that were lost and memories that went astray, by what each client was told and what the tables say."""
    kept: Counter[str] = Counter()
    for calls, outcome in zip(work, together.outcomes, strict=True):
        kept.update(name for (name, _), error in zip(calls[WARM:], outcome.errors, strict=False) if not error)
    lost = kept[COUNT.name] - (after.counted - before.counted)
    return lost, abs(after.memories - before.memories - kept[INGEST.name] + kept[DELETE.name])


def _load(memories: int, number: int, side: str, rounds: Sequence[Together], wrong: Sequence[tuple[int, int]]) -> Load:
    errors = sum((each.errors for each in rounds), Counter[str]())
    latencies = [each.latencies for each in rounds]
    of_two, of_twenty, of_hundred = (
        median(each[int(len(each) * share)] for each in latencies) for share in (0.5, 0.95, 0.99)
    )
    return Load(
        memories,
        number,
        side,
        median(each.throughput for each in rounds),
        of_two,
        of_twenty,
        of_hundred,
        max(each[-1] for each in latencies),
        sum(map(len, latencies)),
        dict(errors),
        sum(lost for lost, _ in wrong),
        sum(astray for _, astray in wrong),
    )
