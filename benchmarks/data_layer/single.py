"""One client: the sides take turns with the same calls, and their answers are compared."""

import gc
import time
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from benchmarks.data_layer.choosing import Chooser
from benchmarks.data_layer.operations import Arguments, Operation
from benchmarks.data_layer.sides import UNLIKE, Side

WARM = 6
"""Calls before the first round: psycopg prepares a statement when it sees it for the sixth time."""
WRITES_A_ROUND = 30


class AnswersDiffer(Exception):
    """Two sides gave different answers, so that their times say nothing. Correct that first."""


@dataclass(frozen=True)
class Measured:
    """Seconds per call on each side, median of the rounds; and how many times faster than the first each is."""

    operation: str
    seconds: dict[str, float]
    faster: dict[str, float]
    """The median of the rounds' ratios."""
    spread: float
    """The greatest ratio of a round divided by the least, for the first two sides."""


def measure(operation: Operation, sides: dict[str, Side], chooser: Chooser, *, rounds: int, seconds: float) -> Measured:
    """Let the sides take turns. Raises AnswersDiffer.

    A round of reads takes the slowest side about so many seconds.
    """
    first, second = list(sides)[:2]
    warm = [operation.draw(chooser) for _ in range(WARM)]
    slowest = max(_round(operation, sides, list(sides), warm).values())
    calls = WRITES_A_ROUND if operation.writes else max(3, min(500, int(seconds / slowest)))
    taken: list[dict[str, float]] = []
    for number in range(rounds):
        order = list(sides)
        turn = number % len(order)
        batch = [operation.draw(chooser) for _ in range(calls)]
        taken.append(_round(operation, sides, order[turn:] + order[:turn], batch))
    ratios = {side: [each[first] / each[side] for each in taken] for side in sides}
    return Measured(
        operation.name,
        {side: median(each[side] for each in taken) for side in sides},
        {side: median(ratios[side]) for side in sides},
        max(ratios[second]) / min(ratios[second]),
    )


def _round(
    operation: Operation, sides: dict[str, Side], order: Sequence[str], batch: Sequence[Arguments]
) -> dict[str, float]:
    """Seconds per call of each side."""
    taken, answers = {}, {}
    for name in order:
        side = sides[name]
        gc.collect()
        gc.disable()
        began = time.perf_counter()
        results = [side.do(operation, arguments) for arguments in batch]
        taken[name] = (time.perf_counter() - began) / len(batch)
        gc.enable()
        answers[name] = [operation.answer(result) for result in results]
    compare(operation, batch, {name: found for name, found in answers.items() if name not in UNLIKE})
    return taken


def compare(operation: Operation, batch: Sequence[Arguments], answers: dict[str, list[object]]) -> None:
    """Raises AnswersDiffer with the first call that the sides answered differently."""
    one, *others = answers
    for other in others:
        for arguments, left, right in zip(batch, answers[one], answers[other], strict=True):
            if left != right:
                raise AnswersDiffer(f"{operation.name} {arguments}:\n  {one}: {left}\n  {other}: {right}")
