"""Digests a block of the source: each column's canonical values joined inside SQLite, and hashed."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import apsw
from psycopg import sql

from migration.errors import SourceError
from migration.sqlite.catalog import quoted
from migration.verify.codecs import NOTHING, NULL, SEPARATOR, Column
from migration.verify.source import GROUP, Block, Source, statement
from migration.verify.values import IMPOSSIBLE, Canonical

LARGE_BYTES, PIECE_BYTES = 8 << 20, 1 << 20
"""A row longer than the first is read in pieces of the second, so that it is never in memory whole."""


@dataclass(frozen=True)
class Digest:
    """What one side says about a block. Where ``clear`` holds, sides with equal digests hold equal rows."""

    rows: int
    given: tuple[int, ...]
    """For each column whose parts do not say where a NULL is, how many values are none."""
    parts: tuple[bytes, ...]
    """sha256 of each column's joined text, or of its bytes and of their lengths."""
    clear: bool = True
    """Whether the joined text can be taken apart in one way only: no value contains what joins them."""
    pending: tuple[tuple[int, sql.SQL, bytes], ...] = ()
    """For parts by number, what the target is to make canonical before it is hashed."""

    @property
    def hash(self) -> bytes:
        """One hash for all of it."""
        counts = ",".join(map(str, (self.rows, *self.given)))
        return hashlib.sha256(counts.encode() + b"".join(self.parts)).digest()


@dataclass(frozen=True)
class Part:
    """One column's share of a digest."""

    given: int | None
    hashes: tuple[bytes, ...]
    clear: bool = True
    pending: bytes | None = None


def digest(source: Source, block: Block) -> Digest:
    """The digest of a block's rows."""
    if source.encoding != "utf-8":  # SQLite would take the blobs among joined text for UTF-16
        return _combined(source, block, by_readers(source, block))
    try:
        parts = _streamed(source, block) if block.rows == 1 and block.bytes > LARGE_BYTES else {}
        rest = [i for i in range(len(source.columns)) if i not in parts]
        for start in range(0, len(rest), GROUP):
            parts |= _joined(source, block, rest[start : start + GROUP])
    except UnicodeDecodeError:  # a reader cannot be given text that is none
        parts = by_readers(source, block)
    return _combined(source, block, parts)


def _combined(source: Source, block: Block, parts: dict[int, Part]) -> Digest:
    given, hashes, pending = list[int](), list[bytes](), []
    for i, column in enumerate(source.columns):
        part = parts[i]
        if part.pending is not None and column.codec.recast is not None:
            pending.append((len(hashes), column.codec.recast, part.pending))
        if part.given is not None:
            given.append(part.given)
        hashes += part.hashes
    clear = all(part.clear for part in parts.values())
    return Digest(block.rows, tuple(given), tuple(hashes), clear, tuple(pending))


def _sha256(data: bytes | None) -> bytes:
    return hashlib.sha256(data or b"").digest()


def _text_part(rows: int, given: int, joined: bytes) -> Part:
    # As many separators as rows less one, and as many marks as NULLs: no value contains either. Nor does one of the
    # target then, whose equal text belongs to as many rows and as many NULLs.
    clear = occurrences(joined, SEPARATOR) == rows - 1 and occurrences(joined, NULL) == rows - given
    return Part(given, (_sha256(joined),), clear or rows == 1)


LONG_TEXT = 128 << 10
"""From here on numpy counts, which a task of small tables does without: it takes 0.1 s to import."""


def occurrences(text: bytes, mark: bytes) -> int:
    """How often ``mark`` occurs, which is one byte or two different ones."""
    if len(text) < LONG_TEXT:
        return text.count(mark)
    import numpy as np

    octets = np.frombuffer(text, np.uint8)
    if len(mark) == 1:
        return int(np.count_nonzero(octets == mark[0]))
    return int(np.count_nonzero(octets[np.flatnonzero(octets[:-1] == mark[0]) + 1] == mark[1]))


def _joined(source: Source, block: Block, places: Sequence[int]) -> dict[int, Part]:
    """The parts of some columns, joined by SQLite."""
    arrays = {i for i in places if source.columns[i].codec.digits and source.columns[i].source not in source.computed}
    try:
        found = _asked(source, block, places, arrays)
    except apsw.SQLError:  # JSON holds no blob
        arrays = set()
        found = _asked(source, block, places, arrays)
    others = [i for i in arrays if b"." in found[i][0] or b'"' in found[i][0]]  # a REAL has a point, text has quotes
    if others:
        found |= _asked(source, block, others, set())
    parts = {}
    for i in places:
        codec, values = source.columns[i].codec, found[i]
        if codec.digits:
            joined = values[0][1:-1] if i in arrays and i not in others else values[0]
            parts[i] = Part(None, (_sha256(joined),))
        elif codec.lengths is not None:
            parts[i] = Part(None, (_sha256(values[0]), _sha256(values[1])))
        else:
            given, joined = values
            parts[i] = Part(given, (_sha256(joined),)) if codec.null else _text_part(block.rows, given, joined)
            if codec.recast is not None:
                parts[i] = replace(parts[i], pending=joined)
    return parts


def _asked(source: Source, block: Block, places: Sequence[int], arrays: set[int]) -> dict[int, list[Any]]:
    """What SQLite joins of these columns, of some of them as JSON arrays."""
    wanted = {i: _wanted(source.columns[i], i, array=i in arrays) for i in places}
    chosen, bindings = source.chosen(block.after, block.last, ordered=False)
    asked = ", ".join(["count(*)", *(expression for of_one in wanted.values() for expression in of_one)])
    rows, *found = source.one(statement("SELECT", asked, chosen), bindings)
    if rows != block.rows:
        raise SourceError(f"Table {source.table.name}: the snapshot changes while it is being read.")
    values = iter(found)
    return {i: list(islice(values, len(of_one))) for i, of_one in wanted.items()}


def _wanted(column: Column, place: int, *, array: bool) -> list[str]:
    x, codec = quoted(column.source), column.codec
    form = codec.source.format(x=x, read=f"read_{place}")
    if array:  # four times as fast as to ask for the class of each value
        return [f"CAST(json_group_array({x}) AS BLOB)"]
    if codec.digits:
        return [f"CAST(group_concat(CASE WHEN {x} IS NULL THEN 'null' ELSE {form} END, ',') AS BLOB)"]
    if codec.null is not None:
        return [f"count({x})", form]
    if codec.lengths is None:
        joined = f"CASE WHEN {x} IS NULL THEN x'{NULL.hex()}' ELSE {form} END"
        return [f"count({x})", f"CAST(group_concat({joined}, x'{SEPARATOR.hex()}') AS BLOB)"]
    return [
        f"CAST(group_concat(CASE WHEN {x} IS NOT NULL THEN {form} END, '') AS BLOB)",
        f"CAST(group_concat({codec.lengths[0].format(x=x)}, ',') AS BLOB)",
    ]


def by_readers(source: Source, block: Block) -> dict[int, Part]:
    """The same parts by the readers alone: slower, for what SQLite cannot join."""
    stored = zip(*(row.stored for row in source.rows(block)), strict=True)
    parts = {}
    for i, (column, values) in enumerate(zip(source.columns, stored, strict=True)):
        read = column.codec.read
        forms = [None if kind == "null" else read(source.value(kind, value)) for kind, value in values]
        if column.codec.digits:
            joined = b",".join(b"null" if form is None else _octets(form) for form in forms)
            parts[i] = Part(None, (_sha256(joined),))
        elif (null := column.codec.null) is not None:
            data = b"".join(null if form is None else _octets(form) for form in forms)
            parts[i] = Part(sum(f is not None for f in forms), (_sha256(data),))
        elif column.codec.lengths is not None:
            data = b"".join(form for form in forms if isinstance(form, bytes))
            parts[i] = Part(None, (_sha256(data), _sha256(",".join(map(_length, forms)).encode())))
        else:
            joined = SEPARATOR.join(map(_octets, forms))
            parts[i] = _text_part(block.rows, sum(f is not None for f in forms), joined)
    return parts


def _length(form: Canonical) -> str:
    return "-" if form is None else "!" if form is IMPOSSIBLE else str(len(form))


def _octets(form: Canonical) -> bytes:
    match form:
        case None:
            return NULL
        case str():
            return form.encode()
        case bytes():
            return form
    return NOTHING


def _streamed(source: Source, block: Block) -> dict[int, Part]:
    """The parts of a long row's columns whose bytes are their canonical form, read piece by piece."""
    parts = dict[int, Part]()
    (rowid, *_) = block.last
    if source.table.without_rowid or not isinstance(rowid, int):
        return parts
    chosen, bindings = source.chosen(block.after, block.last)
    for i, column in enumerate(source.columns):
        kind = source.one(statement("SELECT typeof(", quoted(column.source), ")", chosen), bindings)[0]
        if kind != column.codec.verbatim or column.source in source.computed:
            continue
        sha256 = hashlib.sha256()
        with source.snapshot.blob_open("main", source.table.name, column.source, rowid, False) as value:
            length = value.length()
            while piece := value.read(PIECE_BYTES):
                sha256.update(piece)
        hashes = (sha256.digest(),)
        parts[i] = Part(1, hashes) if column.codec.lengths is None else Part(None, (*hashes, _sha256(b"%d" % length)))
    return parts
