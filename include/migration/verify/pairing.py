"""Which rows of the target belong to a block of the source: by ranges of an integer key, by lists of keys, by place.

By ranges where the key is the source's rowid and an integer key of the target: an index scan on both sides, in the
same order whatever the collation. By lists of keys for every other primary key, since the order of text depends on
the target's collation. By place where the target has no key: rows lie as they were inserted, mostly in the source's
order; where they do not, they are compared as a multiset.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence

from migration.verify.found import Found
from migration.verify.hashing import Digest
from migration.verify.keys import Key
from migration.verify.multiset import compare_multisets
from migration.verify.rows import Expectation, compare_rows, packed, written_key
from migration.verify.source import Block, SourceRow
from migration.verify.target import FIRST, LAST, Choice, Target, TargetRow
from migration.verify.values import IMPOSSIBLE, Canonical


class Pairing(ABC):
    """One way to ask the target for the rows of a block."""

    def __init__(self, expectation: Expectation, target: Target) -> None:
        self.expectation, self.source, self.target = expectation, expectation.source, target

    @abstractmethod
    def ask(self, block: Block) -> Callable[[], Digest]:
        """What digests the block's rows in the target; it is called by another thread, in the order of the blocks."""

    @abstractmethod
    def settle(self, unequal: Sequence[Block], seen: int, held: int, found: Found) -> None:
        """Compare the rows of the unequal blocks one by one, and report the target's rows that belong to no block.

        ``seen`` rows were digested for all blocks together; the target holds ``held``.
        """


class ByRange(Pairing):
    """The key is one integer column, and the source's rowid."""

    behind = FIRST
    """The first key behind all blocks."""

    def _choice(self, block: Block, most: int | None) -> Choice:
        first = FIRST if block.after is None else _number(block.after) + 1
        return self.target.between(first, _number(block.last), most)

    def ask(self, block: Block) -> Callable[[], Digest]:
        choice = self._choice(block, block.rows + 1)  # one more than expected is enough to know
        self.behind = _number(block.last) + 1
        return lambda: self.target.digest(choice)

    def settle(self, unequal: Sequence[Block], seen: int, held: int, found: Found) -> None:
        for block in unequal:
            theirs = self.target.rows(self._choice(block, None))
            compare_rows(self.expectation, self.target, self.source.rows(block), theirs, found)
        if self.behind <= LAST:
            theirs = self.target.rows(self.target.between(self.behind, LAST))
            compare_rows(self.expectation, self.target, (), theirs, found)


def _number(key: Key) -> int:
    assert isinstance(key[0], int)
    return key[0]


class ByKey(Pairing):
    """The key has several columns, or is none that both sides put in the same order."""

    def _keys(self, block: Block | None) -> Iterator[tuple[Canonical, ...]]:
        """The target keys of a block's rows; a key without exact form is left out, so that its row is missing."""
        for row in self.source.rows(block, self.target.key):
            key = self.expectation.forms(row, self.target.key)
            if IMPOSSIBLE not in key and None not in key:
                yield key

    def ask(self, block: Block) -> Callable[[], Digest]:
        choice = self.target.listed(list(self._keys(block)))
        return lambda: self.target.digest(choice)

    def settle(self, unequal: Sequence[Block], seen: int, held: int, found: Found) -> None:
        for block in unequal:
            theirs = self.target.rows(self.target.listed(list(self._keys(block))))
            compare_rows(self.expectation, self.target, self.source.rows(block), theirs, found)
        if seen != held:
            self._report_extra(found)

    def _report_extra(self, found: Found) -> None:
        memory = self.source.snapshot
        memory.execute("DROP TABLE IF EXISTS temp.verify_keys")
        memory.execute("CREATE TABLE temp.verify_keys (key BLOB PRIMARY KEY) WITHOUT ROWID")
        with memory:
            keys = ((packed(key),) for key in self._keys(None))
            memory.executemany("INSERT OR IGNORE INTO temp.verify_keys VALUES (?)", keys)
        columns = [self.target.columns[i] for i in self.target.key]
        for row in self.target.rows(self.target.everything(), self.target.key):
            if not memory.execute("SELECT 1 FROM temp.verify_keys WHERE key = ?", [packed(row.forms)]).fetchall():
                found.extra(written_key(self.target, row.forms), columns, row.forms)


class ByPlace(Pairing):
    """The target has no key."""

    def __init__(self, expectation: Expectation, target: Target) -> None:
        super().__init__(expectation, target)
        self.end = "(0,0)"
        self.places: dict[Block, Choice] = {}

    def ask(self, block: Block) -> Callable[[], Digest]:
        def digest() -> Digest:
            choice = self.places[block] = self.target.following(self.end, block.rows)
            found, last = self.target.digest_placed(choice)
            self.end = last or self.end
            return found

        return digest

    def settle(self, unequal: Sequence[Block], seen: int, held: int, found: Found) -> None:
        if unequal or seen != held:
            compare_multisets(self.expectation, self.target, self._mine(unequal), self._theirs(unequal), found)

    def _mine(self, blocks: Sequence[Block]) -> Iterator[SourceRow]:
        for block in blocks:
            yield from self.source.rows(block)

    def _theirs(self, blocks: Sequence[Block]) -> Iterator[TargetRow]:
        for block in blocks:
            yield from self.target.rows(self.places[block])
        yield from self.target.rows(self.target.following(self.end, None))


def pairing_for(expectation: Expectation, target: Target) -> Pairing:
    """The best pairing that the table's keys allow."""
    alias = expectation.source.table.rowid_alias
    columns = [target.columns[i] for i in target.key]
    if len(columns) == 1 and columns[0].source == alias and columns[0].codec.type == "integer":
        return ByRange(expectation, target)
    if columns and all(c.codec.key is not None for c in columns):
        return ByKey(expectation, target)
    return ByPlace(expectation, target)
