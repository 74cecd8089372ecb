"""Several clients at once with one operation: as much of it as the two sides do in a second, answers compared."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from benchmarks.data_layer.choosing import Chooser
from benchmarks.data_layer.clients import Clients
from benchmarks.data_layer.operations import Operation
from benchmarks.data_layer.places import Places
from benchmarks.data_layer.single import AnswersDiffer, Measured

CLIENTS = 8
WARM = 2
WRITES_A_ROUND = 10


@dataclass(frozen=True)
class Throughput:
    """Calls per second on each side, median of the rounds; and how many times more than the first each does."""

    operation: str
    throughput: dict[str, float]
    more: dict[str, float]


def measure_together(
    operation: Operation,
    sides: Sequence[str],
    places: Places,
    chooser: Chooser,
    clients: Clients,
    alone: Measured,
    *,
    rounds: int,
    seconds: float,
) -> Throughput:
    """Let the sides take turns, each with all clients. `alone` is what one client was measured to take.

    Raises AnswersDiffer, also where a call failed.
    """
    slowest = max(alone.seconds[side] for side in sides)
    calls = (
        WRITES_A_ROUND
        if operation.writes
        else max(3, min(200, int(seconds * (os.cpu_count() or 1) / CLIENTS / slowest)))
    )
    rates: list[dict[str, float]] = []
    for number in range(rounds):
        work = [[(operation.name, operation.draw(chooser)) for _ in range(WARM + calls)] for _ in range(CLIENTS)]
        turn = number % len(sides)
        done = {
            side: clients.run(side, places, work, warm=WARM, patience=60) for side in (*sides[turn:], *sides[:turn])
        }
        for side, together in done.items():
            if together.errors:
                raise AnswersDiffer(f"{operation.name}, {CLIENTS} clients, {side}: {dict(together.errors)}")
        answers = [[each.answers for each in together.outcomes] for together in done.values()]
        if answers[1:] != answers[:-1]:
            raise AnswersDiffer(f"{operation.name}, {CLIENTS} clients: {', '.join(done)} gave different answers.")
        rates.append({side: together.throughput for side, together in done.items()})
    first = sides[0]
    return Throughput(
        operation.name,
        {side: median(rate[side] for rate in rates) for side in sides},
        {side: median(rate[side] / rate[first] for rate in rates) for side in sides},
    )
