"""The rows that both databases hold, and what is known of them without looking: seeded, and alike on every machine."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from itertools import count
from typing import TypeAlias

from widgettdc.sample import CHANNELS, KPIS, ORGS, PREDICATES, PRIORITIES, RELATIONS, TAGS, WORDS

Value: TypeAlias = str | int | float | None
Row: TypeAlias = tuple[Value, ...]

START = datetime(2023, 1, 1, tzinfo=UTC)
SECONDS = 3 * 365 * 86_400
"""How long the application has been in use: its rows are spread over this time evenly."""
COUNTERS = 8
COUNTERS_ORG = "counters"


@dataclass(frozen=True)
class World:
    """Rows with ids from 1, as many as follow from the number of memories; the counters are memories of their own."""

    memories: int

    @cached_property
    def rows(self) -> dict[str, int]:
        """Rows per table. Tags and relations are drawn, so theirs are what comes of it on average."""
        return {
            "memory_entities": self.memories + COUNTERS,
            "memory_tags": self.memories * 2,
            "memory_relations": self.memories * 3 // 2,
            "raw_documents": self.memories // 20,
            "structured_facts": self.memories // 2,
            "decisions": self.memories // 20,
            "evolution_kpis": self.memories // 20 * 3,
            "pal_focus_windows": self.memories // 10,
            "pal_stress_levels": self.memories // 2,
        }

    @property
    def counters(self) -> range:
        return range(self.memories + 1, self.memories + 1 + COUNTERS)

    @property
    def users(self) -> int:
        return max(20, self.memories // 1_000)

    @property
    def subjects(self) -> int:
        return self.rows["structured_facts"] // 5

    def org(self, number: int) -> str:
        """Organisations are of many sizes: the largest has every sixth row, the smallest every eightieth."""
        return ORGS[int(len(ORGS) * _scattered(number) ** 2)]

    def ticket(self, memory: int) -> str:
        """A word of the memory's text, which about three memories share."""
        return f"INC-{memory * 48_271 % max(1, self.memories // 3):07}"

    def user(self, number: int) -> str:
        return f"user{number % self.users:05}@example.org"

    def subject(self, number: int) -> str:
        return f"{WORDS[number % len(WORDS)]} {number}"

    def subject_of(self, fact: int) -> int:
        return fact * 48_271 % self.subjects

    def time(self, table: str, number: int) -> datetime:
        """When the row was made."""
        return START + timedelta(seconds=SECONDS * number // (self.rows[table] + 1))

    def table(self, name: str, seed: int = 1) -> Iterator[Row]:
        """The rows of a table, its id first, as SQLite holds them."""
        made: Iterator[Row] = getattr(self, f"_{name}")(Draw(seed), self.rows[name])
        return made

    def _memory_entities(self, draw: "Draw", rows: int) -> Iterator[Row]:
        for n in range(1, self.memories + 1):
            made = shown(self.time("memory_entities", n))
            yield n, self.org(n), f"{draw.prose(1, 3)} {self.ticket(n)}", draw.metadata(), made, made
        for n in self.counters:
            made = shown(self.time("memory_entities", n))
            yield n, COUNTERS_ORG, "", '{"count":0}', made, made

    def _memory_tags(self, draw: "Draw", rows: int) -> Iterator[Row]:
        ids = count(1)
        for n in range(1, self.memories + 1):
            for _ in range(draw.below(5)):
                yield next(ids), n, draw.one(TAGS)

    def _memory_relations(self, draw: "Draw", rows: int) -> Iterator[Row]:
        ids = count(1)
        for n in range(1, self.memories + 1):
            for _ in range(draw.below(4)):
                strength = draw.below(101) / 100
                yield next(ids), n, 1 + draw.below(self.memories), draw.one(RELATIONS), strength

    def _raw_documents(self, draw: "Draw", rows: int) -> Iterator[Row]:
        for n in range(1, rows + 1):
            made = shown(self.time("raw_documents", n))
            yield n, self.org(n), draw.prose(1, 1), draw.prose(5, 30), draw.one(CHANNELS), made

    def _structured_facts(self, draw: "Draw", rows: int) -> Iterator[Row]:
        for n in range(1, rows + 1):
            subject, document = self.subject_of(n), n % self.rows["raw_documents"] + 1
            yield n, self.org(subject), self.subject(subject), draw.one(PREDICATES), draw.prose(1, 2), document

    def _decisions(self, draw: "Draw", rows: int) -> Iterator[Row]:
        for n in range(1, rows + 1):
            yield n, self.org(n), draw.prose(1, 1), draw.prose(1, 6), shown(self.time("decisions", n))

    def _evolution_kpis(self, draw: "Draw", rows: int) -> Iterator[Row]:
        for n in range(1, rows + 1):
            expected, actual = (draw.below(10_000_000) / 100 for _ in range(2))
            yield n, (n - 1) // 3 + 1, draw.one(KPIS), expected, actual, shown(self.time("evolution_kpis", n))

    def _pal_focus_windows(self, draw: "Draw", rows: int) -> Iterator[Row]:
        for n in range(1, rows + 1):
            start = self.time("pal_focus_windows", n)
            end = start + timedelta(minutes=30 + draw.below(180))
            yield n, self.user(n), shown(start), shown(end), draw.one(PRIORITIES)

    def _pal_stress_levels(self, draw: "Draw", rows: int) -> Iterator[Row]:
        for n in range(1, rows + 1):
            yield n, self.user(n), draw.below(11), shown(self.time("pal_stress_levels", n))


class Draw:
    """Seeded choices, all from `Random.random`, whose sequence Python promises to keep for a seed."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed).random
        self._sentences = [
            " ".join(self.one(WORDS) for _ in range(6 + self.below(11))).capitalize() + "." for _ in range(5_000)
        ]

    def below(self, limit: int) -> int:
        return int(self.random() * limit)

    def one(self, pool: list[str]) -> str:
        return pool[int(self.random() * len(pool))]

    def prose(self, fewest: int, most: int) -> str:
        """A text of so many sentences."""
        return " ".join([self.one(self._sentences) for _ in range(fewest + self.below(most - fewest + 1))])

    def metadata(self) -> str | None:
        """JSON, or None for three in ten."""
        if self.random() < 0.3:
            return None
        score, views, label = self.below(10_000), self.below(100_000), self.one(WORDS)
        return (
            f'{{"channel":"upload","score":0.{score:04}1,"views":{views},"labels":["{label}","q3"],'
            f'"author":{{"name":"Anna","email":"user{views % 200:03}@example.org"}},"archived":false}}'
        )


def shown(time: datetime) -> str:
    """As SQLite's CURRENT_TIMESTAMP writes it."""
    return str(time)[:19]


def _scattered(number: int) -> float:
    """From 0 to 1, and far from that of the next number."""
    return (number * 2_654_435_761 & 0xFFFF_FFFF) / 2**32
