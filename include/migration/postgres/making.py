"""What finish_schema will make, is making and has made, for its log."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from migration.job import Job
from migration.postgres.shape import Shape
from migration.words import counted, duration, size, visible

log = logging.getLogger("migration")

KEYS = ("PRIMARY KEY", "UNIQUE", "CREATE UNIQUE")
"""How definitions of what a foreign key may need begin."""


def announce(job: Job, wanted: dict[str, Shape], octets: int) -> None:
    """What will be made, and for how much."""
    constraints = [d for shape in wanted.values() for d in shape["constraints"].values()]
    keys = sum(d.startswith(KEYS) for d in constraints)
    parts = [
        counted(keys, "key"),
        counted(len(constraints) - keys, "check"),
        counted(sum(len(shape["indexes"]) for shape in wanted.values()), "index"),
        counted(sum(len(shape["foreign_keys"]) for shape in wanted.values()), "foreign key"),
        counted(len(job.plan.views), "view"),
    ]
    log.info(
        "finish_schema: %s for %s of %s in %s; sequences past the largest id ever used; ANALYZE",
        *(", ".join(parts), counted(len(wanted), "table"), size(octets), job.staging),
    )


@dataclass
class Made:
    """What is finished so far, and what is being made. Several threads write to it, each for tables of its own."""

    tables: int
    finished: list[str] = field(default_factory=list)
    created: list[str] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    """What was made of each, and how long it took."""
    doing: dict[str, tuple[str, float]] = field(default_factory=dict)
    """By table, what is being made on it, and since when."""

    @contextmanager
    def making(self, table: str, name: str) -> Iterator[None]:
        """Note that ``name`` is being made on ``table``, and then that it was."""
        began = time.monotonic()
        self.doing[table] = name, began
        yield
        del self.doing[table]
        self.created.append(name)
        self.lines.append(f"{name} on {table} in {duration(time.monotonic() - began)}")

    def told(self) -> str:
        """How far it is; may be called while others write."""
        now = time.monotonic()
        doing = [f"{name} on {table} for {duration(now - since)}" for table, (name, since) in self.doing.copy().items()]
        making = f"; making {', '.join(doing)}" if doing else ""
        return visible(f"{len(self.finished):,} of {counted(self.tables, 'table')} finished{making}")
