"""What the values of a database really are, as plain data: the evidence on which types are chosen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Evidence:
    """How many values something is true of, and the keys of the first few rows, as the state writes keys."""

    count: int = 0
    keys: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return self.count > 0


@dataclass(frozen=True)
class ColumnProfile:
    """The values of one column. Counts are of rows; a fact about no value is None or zero."""

    name: str
    nulls: Evidence = Evidence()
    integers: Evidence = Evidence()
    """Evidence of storage classes, so that the few of one kind can be named."""
    reals: Evidence = Evidence()
    texts: Evidence = Evidence()
    blobs: Evidence = Evidence()
    least: int | None = None
    """The least and the greatest of the integers."""
    greatest: int | None = None
    beyond_double: int = 0
    """Integers that no double holds exactly."""
    whole_reals: int = 0
    """Reals that are whole numbers within 64 bits and not -0.0."""
    unwritable_reals: int = 0
    """Infinities and -0.0, which numeric cannot hold."""
    least_real: float | None = None
    greatest_real: float | None = None
    digits: tuple[int, int] | None = None
    """The most digits before and behind the point that the numbers have, as shortest decimals (0.05 has none before);
    None when a number is infinite or has more than 30 digits on a side, or where the column has no reals and the
    declared type has no scale."""
    longest: int = 0
    """Characters of the longest text."""
    widest: int = 0
    """Bytes (UTF-8) of the longest text or blob."""
    empty: Evidence = Evidence()
    """Texts of length 0."""
    nul: Evidence = Evidence()
    """Texts with a NUL, and valid otherwise."""
    invalid: Evidence = Evidence()
    """Texts that are not valid in the database's encoding."""
    digit_texts: Evidence = Evidence()
    """Texts that are written exactly as an integer of 64 bits would be: '5', not '05'."""
    twins: Evidence = Evidence()
    """Those among them that are written like an integer which the column holds too."""
    times: Mapping[str, int] = field(default_factory=dict)
    """How many texts have each form of a valid instant: to_char patterns such as 'YYYY-MM-DD', 'YYYY-MM-DD HH24:MI:SS',
    'YYYY-MM-DD"T"HH24:MI:SS.US"Z"' (fraction: MS three digits, US six, 'F1'… 'F9' after the point for another number
    of digits), with 'TZH:TZM' for an offset such as +02:00, 'TZHTZM' for +0200, 'TZH' for +02. Asked of columns whose
    declared type contains DATE or TIME, whatever else they hold; an empty mapping where no text is a time."""
    no_times: Evidence = Evidence()
    """Texts that are no valid instant ('' too), where ``times`` was asked."""
    invalid_json: Evidence = Evidence()
    """Only where the declared type contains JSON: texts that are not valid JSON as PostgreSQL's json takes it …"""
    lossy_json: Evidence = Evidence()
    """… and valid ones that jsonb would not keep whole: repeated keys, \\u0000, lone surrogates, numbers out of its
    range, nesting beyond 500."""
    unreadable: str | None = None
    """SQLite's word where it cannot compute a generated column's values; there are no other facts then."""

    @property
    def values(self) -> int:
        """How many are not NULL."""
        return self.integers.count + self.reals.count + self.texts.count + self.blobs.count


@dataclass(frozen=True)
class TableProfile:
    """The values of one table."""

    name: str
    rows: int
    bytes: int
    """Bytes of its texts and blobs, and eight for every other value that is not NULL."""
    columns: tuple[ColumnProfile, ...]
    orphans: tuple[Evidence | None, ...] = ()
    """Per foreign key of the catalog's table: rows whose parent is not there; None when that cannot be asked (no such
    parent table or column)."""
    violations: tuple[Evidence | None, ...] = ()
    """Per CHECK of the catalog's table: rows for which it is false; None when SQLite cannot evaluate it."""
    index_bytes: Mapping[str, int] = field(default_factory=dict)
    """Per index (the catalog's name): the greatest sum of the bytes of one row's text and blob keys, columns only."""

    def column(self, name: str) -> ColumnProfile:
        """The profile of that column; KeyError when there is none."""
        for column in self.columns:
            if column.name == name:
                return column
        raise KeyError(name)
