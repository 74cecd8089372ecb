"""Draws the arguments of operations: seeded, so that both sides are asked the same."""

import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import count
from math import gcd
from typing import Any

from benchmarks.data_layer.world import COUNTERS, START, Draw, World
from widgettdc.repository import NewFact
from widgettdc.sample import WORDS

PLAIN_WORDS = [word for word in WORDS if word.isascii()]
"""SQLite knows upper and lower case of these alone; for others its answers would be fewer."""


class Chooser:
    """An endless source of arguments for one world and one seed."""

    def __init__(self, world: World, seed: int) -> None:
        self.world = world
        self.draw = Draw(seed)
        self._doomed = _scattered(world.memories // 4)

    def memory(self) -> int:
        return 1 + self.draw.below(self.world.memories)

    def lasting(self, place: int) -> int:
        """A memory that `doomed` never gives; `place` is from 1 to 3, and other places are other memories."""
        return self.draw.below(self.world.memories // 4) * 4 + place

    def doomed(self) -> int:
        """One to delete: each fourth memory, every one of them once, from all over the table."""
        return 4 * (1 + next(self._doomed))

    def counter(self) -> int:
        return self.world.counters[self.draw.below(COUNTERS)]

    def row(self, table: str) -> int:
        return 1 + self.draw.below(self.world.rows[table])

    def org(self) -> str:
        """That of a memory, so that the large ones are asked for more often."""
        return self.world.org(self.memory())

    def user(self) -> str:
        return self.world.user(self.memory())

    def text(self) -> str:
        return f"{self.draw.prose(1, 3)} {self.world.ticket(self.memory())}"

    def metadata(self) -> Any:
        made = self.draw.metadata()
        return None if made is None else json.loads(made)

    def amount(self) -> Decimal:
        return Decimal(self.draw.below(10_000_000)) / 100

    def rare(self) -> tuple[str, str]:
        """An organisation, and a word that one or a few of its memories have."""
        memory = self.memory()
        return self.world.org(memory), self.world.ticket(memory)

    def subject(self) -> tuple[str, str]:
        """An organisation, and a subject of which it knows about five facts."""
        subject = self.draw.below(self.world.subjects)
        return self.world.org(subject), self.world.subject(subject)

    def fact(self) -> NewFact:
        return NewFact(*self.subject(), "is", self.draw.prose(1, 1), self.row("raw_documents"))

    def time(self) -> datetime:
        return self.span(1)[0]

    def span(self, days: int) -> tuple[datetime, datetime]:
        start = START + timedelta(days=self.draw.below(3 * 365 - days))
        return start, start + timedelta(days=days)


def _scattered(size: int) -> Iterator[int]:
    """Each number below `size` once, neighbours far apart."""
    step = next(step for step in count(max(1, int(size * 0.618))) if gcd(step, size) == 1)
    return (number * step % size for number in range(size))
