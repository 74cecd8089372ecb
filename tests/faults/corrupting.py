"""What the tests of corruptions share: the world they spoil, and the tally of what was found."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
from psycopg.conninfo import make_conninfo

from migration.words import visible
from tests.conftest import Server
from tests.engine.verify_case import one_database
from tests.faults.ledger import Ledger
from tests.faults.planted import Found, Verified, World, build

SEED = 20260301
EACH = 32
"""So many corruptions of each column."""
AREA = "corruption of the target"
NAMED = "found, with table, column and key"


@contextmanager
def world_of(server: Server, folder: Path) -> Iterator[World]:
    """All tables, loaded and verified, in a database of their own."""
    with one_database(server) as dsn:
        database = str(psycopg.conninfo.conninfo_to_dict(dsn)["dbname"])
        made = build(dsn, make_conninfo(server.admin, dbname=database), folder)
        assert not made.refused()
        yield made
        made.connection.close()


@dataclass
class Tally:
    """Enters what was planted, and keeps what was not found as it should be."""

    ledger: Ledger
    missed: list[str] = field(default_factory=list)

    def planted(self, fault: str, table: str, found: Verified, expected: set[Found], what: str) -> None:
        """One corruption, of which just the ``expected`` differences must be found and the message tell."""
        named = any(
            f"key {visible(key)}" in found.message and (not column or f"column {column}" in found.message)
            for key, column, _ in expected
        )
        if found.differences == expected and f"table {table}," in found.message and named:
            outcome = NAMED
        else:
            outcome = "NOT FOUND" if found.green else "found, named otherwise"
            self.missed.append(f"{table}: {what}: expected {expected}, found {found}")
        self.ledger.tried(AREA, fault, outcome, wrong=found.green)

    def checked(self, fault: str, found: Verified, check: str, what: str) -> None:
        """One corruption that leaves every value as it is, and fails a check by its name."""
        if check in found.checks and f"check {check}" in found.message:
            outcome = "found by the check of that name"
        else:
            outcome = "NOT FOUND" if found.green else "found, named otherwise"
            self.missed.append(f"{what}: expected check {check}, found {found}")
        self.ledger.tried(AREA, fault, outcome, wrong=found.green)

    def reported(self, fault: str, table: str, found: Verified, what: str) -> None:
        """One corruption of a record, which differences or checks must tell of under the name of its table."""
        outcome = "found"
        if found.green or f"Table {table}:" not in found.message:
            outcome = "NOT FOUND" if found.green else "found, named otherwise"
            self.missed.append(f"{what}: found {found}")
        self.ledger.tried(AREA, fault, outcome, wrong=found.green)

    def end(self) -> None:
        """Nothing may have been missed."""
        assert not self.missed, f"seed {SEED}: {len(self.missed)} missed:\n" + "\n".join(
            m[:600] for m in self.missed[:8]
        )
