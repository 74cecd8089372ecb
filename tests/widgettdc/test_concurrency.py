"""Many clients at once on the same rows: nobody deadlocks, no update is lost, and every row is accounted for."""

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import psycopg
import pytest

from widgettdc.database import Database, Unit
from widgettdc.errors import BadReference, Changed, Conflict, NotFound, WidgetTdcError
from widgettdc.repository import Json

ORG = "org-001"
CLIENTS = 24
TURNS = 40
COUNTERS = 4
SHARED = 120


@dataclass
class Ledger:
    """What a client was told that it did, and the errors that it did not expect."""

    counted: Counter[int] = field(default_factory=Counter)
    ingested: set[int] = field(default_factory=set)
    deleted: list[int] = field(default_factory=list)
    deleted_together: int = 0
    related: dict[int, int] = field(default_factory=dict)
    """The source of each relation that was made."""
    done: Counter[str] = field(default_factory=Counter)
    errors: list[WidgetTdcError] = field(default_factory=list)


@dataclass(frozen=True)
class Rows:
    """Rows that all clients work on: counters, which stay; memories to change, relate and delete; others to delete."""

    counters: Sequence[int]
    memories: Sequence[int]
    doomed: Sequence[int]


@dataclass
class Client:
    """One client with its choices, its rows and its ledger. Each turn is one transaction, and tried once."""

    database: Database
    rows: Rows
    chance: random.Random
    ledger: Ledger = field(default_factory=Ledger)

    def do(self, work: Callable[[Unit], object]) -> bool:
        """Whether it was done; False where another client had deleted what it needs."""
        try:
            self.database.run(work, tries=1)
        except (NotFound, BadReference):
            return False
        return True

    def count(self) -> None:
        """Locked, changed, written: the way within one transaction."""
        counter = self.chance.choice(self.rows.counters)
        self.database.run(lambda unit: add(unit, counter, 1), tries=1)
        self.ledger.counted[counter] += 1

    def count_on_a_form(self) -> None:
        """Read in one transaction and written in another, only over what was read: again until it is."""
        counter = self.chance.choice(self.rows.counters)
        while True:
            with self.database.reading() as unit:
                seen = unit.memories.get(counter)
            assert seen is not None
            try:
                with self.database.transaction() as unit:
                    more: Json = {"count": number(seen.metadata) + 1}
                    unit.memories.update(counter, metadata=more, if_unchanged_since=seen.updated_at)
            except Changed:
                continue
            self.ledger.counted[counter] += 1
            return

    def move(self) -> None:
        """From one counter to another, both locked in the order of their ids."""
        giver, taker = self.chance.sample(self.rows.counters, 2)

        def work(unit: Unit) -> None:
            for counter in sorted((giver, taker)):
                unit.memories.locked(counter)
            add(unit, giver, -1)
            add(unit, taker, 1)

        self.database.run(work, tries=1)
        self.ledger.counted.update({giver: -1, taker: 1})

    def ingest(self) -> None:
        made = self.database.run(lambda unit: unit.memories.ingest(ORG, "new", tags=["a", "b"]), tries=1)
        self.ledger.ingested.add(made.id)

    def update(self) -> None:
        memory = self.chance.choice(self.rows.memories)
        self.do(lambda unit: unit.memories.update(memory, text=f"changed {self.chance.random()}"))

    def relate(self) -> None:
        source, target = self.chance.choices(self.rows.memories, k=2)
        made: list[int] = []
        if self.do(lambda unit: made.append(unit.memories.relate(source, target, "causes"))):
            self.ledger.related[made[0]] = source

    def delete(self) -> None:
        memory = self.chance.choice(self.rows.memories)
        if self.do(lambda unit: unit.memories.delete(memory)):
            self.ledger.deleted.append(memory)

    def delete_together(self) -> None:
        memories = self.chance.sample(self.rows.doomed, 8)  # in no order
        self.ledger.deleted_together += self.database.run(lambda unit: unit.memories.delete_many(memories), tries=1)

    def read(self) -> None:
        with self.database.reading() as unit:
            unit.memories.search(ORG, "CHANGED", limit=20)
            unit.memories.get(self.chance.choice(self.rows.memories))
            for memory in unit.memories.with_relations(ORG, limit=50).items:
                assert all(relation.source.id == memory.id for relation in memory.relations)

    def act(self, turns: Sequence[str], start: threading.Barrier) -> None:
        start.wait(30)
        for turn in turns:
            try:
                getattr(self, turn)()
            except WidgetTdcError as error:
                self.ledger.errors.append(error)
            else:
                self.ledger.done[turn] += 1


class Forgetful(Client):
    """Counts as one does without thinking of others: read, then written over whatever is there by now."""

    def count(self) -> None:
        counter = self.chance.choice(self.rows.counters)
        with self.database.transaction() as unit:
            seen = unit.memories.get(counter)
            assert seen is not None
            time.sleep(0.002)
            unit.memories.update(counter, metadata={"count": number(seen.metadata) + 1})
        self.ledger.counted[counter] += 1


class Careless(Client):
    """Locks in the order in which the rows come to mind."""

    def move(self) -> None:
        giver, taker = self.chance.sample(self.rows.counters, 2)

        def work(unit: Unit) -> None:
            add(unit, giver, -1)
            time.sleep(0.02)
            add(unit, taker, 1)

        self.database.run(work, tries=1)
        self.ledger.counted.update({giver: -1, taker: 1})


def number(metadata: object) -> int:
    assert isinstance(metadata, dict)
    return int(metadata["count"])


def add(unit: Unit, counter: int, more: int) -> None:
    seen = unit.memories.locked(counter)
    unit.memories.update(counter, metadata={"count": number(seen.metadata) + more})


Make: TypeAlias = Callable[[Database, Rows, random.Random], Client]
MIX = ("count", "count", "count_on_a_form", "move", "ingest", "update", "relate", "delete", "delete_together", "read")


@pytest.fixture
def rows(database: Database) -> Rows:
    with database.transaction() as unit:
        counters = [unit.memories.ingest("counters", "", metadata={"count": 0}).id for _ in range(COUNTERS)]
        memories, doomed = (
            [unit.memories.ingest(ORG, "old", tags=["a", "b"]).id for _ in range(SHARED)] for _ in range(2)
        )
    return Rows(counters, memories, doomed)


@pytest.fixture
def many(target_dsn: str, database: Database) -> Iterator[Database]:
    """A pool with a connection for each client."""
    many = Database(target_dsn, pool_size=CLIENTS)
    yield many
    many.close()


def together(
    database: Database, rows: Rows, *, make: Make = Client, clients: int = CLIENTS, mix: Sequence[str] = MIX, turns: int
) -> Ledger:
    """Let clients take so many turns each, all at once; the sum of their ledgers."""
    all_of_them = [make(database, rows, random.Random(seed)) for seed in range(clients)]
    start = threading.Barrier(clients)
    threads = [
        threading.Thread(target=client.act, args=(client.chance.choices(mix, k=turns), start)) for client in all_of_them
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    total = Ledger()
    for ledger in (client.ledger for client in all_of_them):
        total.counted.update(ledger.counted)
        total.ingested |= ledger.ingested
        total.deleted += ledger.deleted
        total.deleted_together += ledger.deleted_together
        total.related |= ledger.related
        total.done.update(ledger.done)
        total.errors += ledger.errors
    return total


def counts(database: Database, rows: Rows) -> dict[int, int]:
    with database.reading() as unit:
        return {memory.id: number(memory.metadata) for memory in unit.memories.with_relations("counters").items}


def test_readers_writers_and_deleters_on_the_same_rows_never_deadlock_and_lose_nothing(
    many: Database, rows: Rows, target_dsn: str
) -> None:
    told = together(many, rows, turns=TURNS)
    many.close()  # a session reports its deadlocks at the latest when it ends
    with psycopg.connect(target_dsn, autocommit=True) as connection:

        def column(query: str) -> list[int]:
            return [row[0] for row in connection.execute(query.encode())]

        assert column("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()") == [0]
        there = set(column("SELECT id FROM memory_entities"))
        tagged = column("SELECT entity_id FROM memory_tags")
        related = {row[0]: row[1] for row in connection.execute("SELECT id, source_id FROM memory_relations")}

    assert told.errors == []
    assert sum(told.done.values()) == CLIENTS * TURNS
    assert set(told.done) == set(MIX)
    assert counts(many, rows) == {counter: told.counted[counter] for counter in rows.counters}
    assert len(told.deleted) == len(set(told.deleted)) > 0  # none was deleted twice
    left = set(rows.doomed) & there
    assert told.deleted_together == len(rows.doomed) - len(left) > 0
    assert there == set(rows.counters) | set(rows.memories) - set(told.deleted) | left | told.ingested
    assert Counter(tagged) == dict.fromkeys(there - set(rows.counters), 2)
    assert related == {relation: source for relation, source in told.related.items() if source in there}


def test_a_naive_read_then_write_loses_updates_and_is_caught(many: Database, rows: Rows) -> None:
    told = together(many, rows, make=Forgetful, mix=["count"], turns=10)
    assert told.errors == []
    assert sum(counts(many, rows).values()) < sum(told.counted.values()) == CLIENTS * 10


def test_locks_taken_in_another_order_deadlock_and_are_caught(many: Database, rows: Rows) -> None:
    told = together(many, Rows(rows.counters[:2], [], []), make=Careless, clients=4, mix=["move"], turns=2)
    assert {type(error) for error in told.errors} == {Conflict}
    assert all("deadlock" in str(error) for error in told.errors)
    assert sum(counts(many, rows).values()) == 0  # what was not done was undone
