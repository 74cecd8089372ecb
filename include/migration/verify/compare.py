"""Compares a table of the snapshot with its staged table: blocks by digest, then rows where digests differ."""

from __future__ import annotations

import hashlib
import logging
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

from migration.telling import Pace, progress
from migration.verify.found import Found
from migration.verify.hashing import Digest, digest
from migration.verify.pairing import Pairing
from migration.verify.source import Block
from migration.verify.target import by_index, recast
from migration.words import counted

log = logging.getLogger("migration")

AHEAD = 3
"""Blocks that the source may be ahead of the target, so that neither waits for the other at every block."""


@dataclass(frozen=True)
class Compared:
    """What the comparison of a table went through."""

    rows: int
    bytes: int
    source_digest: str
    target_digest: str


@dataclass
class _Pass:
    """What the digests say."""

    unequal: list[Block] = field(default_factory=list)
    mine: list[bytes] = field(default_factory=list)
    theirs: list[bytes] = field(default_factory=list)
    rows: int = 0
    bytes: int = 0
    seen: int = 0


def compare(pairing: Pairing, label: str, expected: int, held: int, found: Found) -> Compared:
    """Compare all rows; differences go to ``found``.

    ``expected`` rows of the source are to be compared, ``held`` rows are in the target. The digests of the two sides
    are equal exactly when no row differs.
    """
    before, done, pace = found.total, _Pass(), Pace(expected)

    def how_far() -> str:
        found_so_far = f", {counted(found.total, 'difference')}" if found.total else ""
        return pace.told(done.rows, done.bytes) + found_so_far

    with by_index(pairing.target.connection), progress(label, how_far):
        _by_digest(pairing, done)
        if done.unequal:
            log.info(
                "%s: %d of %d blocks are not proved by their digests, comparing their rows one by one",
                *(label, len(done.unequal), len(done.mine)),
            )
        pairing.settle(done.unequal, done.seen, held, found)
    source_digest = target_digest = _chained(done.mine)
    if found.total != before:
        target_digest = _chained([*done.theirs, b"%d" % held])
    return Compared(done.rows, done.bytes, source_digest, target_digest)


def _by_digest(pairing: Pairing, done: _Pass) -> None:
    for block, one, other in _digests(pairing):
        done.rows, done.bytes, done.seen = (
            done.rows + block.rows,
            done.bytes + block.bytes,
            done.seen + other.rows,
        )
        done.mine.append(one.hash)
        done.theirs.append(other.hash)
        if not (one.clear and one == other):
            done.unequal.append(block)


def _digests(pairing: Pairing) -> Iterator[tuple[Block, Digest, Digest]]:
    """Each block with both sides' digests; the target works in a thread of its own, so that both work at once."""

    def of_both(mine: Digest, theirs: Callable[[], Digest]) -> tuple[Digest, Digest]:
        return recast(pairing.target.connection, mine), theirs()

    waiting: deque[tuple[Block, Future[tuple[Digest, Digest]]]] = deque()
    with ThreadPoolExecutor(1, "verify") as pool:
        try:
            for block in pairing.source.blocks():
                mine, theirs = digest(pairing.source, block), pairing.ask(block)
                waiting.append((block, pool.submit(of_both, mine, theirs)))
                if len(waiting) > AHEAD:
                    first, answer = waiting.popleft()
                    yield first, *answer.result()
            while waiting:
                first, answer = waiting.popleft()
                yield first, *answer.result()
        finally:
            for _, answer in waiting:
                answer.cancel()


def _chained(hashes: list[bytes]) -> str:
    return hashlib.sha256(b"".join(hashes)).hexdigest()
