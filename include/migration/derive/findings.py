"""What an assessment finds: each thing by rule, with how many and which rows, and what the plan makes of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum

from migration.profile import Evidence
from migration.words import visible


class Weight(IntEnum):
    """What a finding asks of people."""

    NOTE = 1
    """Nothing: it is carried exactly, and worth knowing."""
    DECIDE = 2
    """To confirm what the plan proposes, or to declare otherwise."""
    WORK = 3
    """To do something: no proposal carries it."""


@dataclass(frozen=True)
class Finding:
    """One thing found. ``rule`` is a stable id, ``place`` the column, constraint, index or view within ``table``."""

    rule: str
    weight: Weight
    table: str
    place: str
    what: str
    """What is there, as a sentence without its subject."""
    proposal: str
    """What the plan does with it."""
    instead: str = ""
    """What could be declared instead."""
    evidence: Evidence = Evidence()

    @property
    def subject(self) -> str:
        """Whose finding it is: ``table.place``."""
        return ".".join(filter(None, (self.table, self.place)))

    def sentence(self) -> str:
        """All of it on one line."""
        rows = ""
        if self.evidence:
            keys = ", ".join(self.evidence.keys)
            more = ", …" if self.evidence.count > len(self.evidence.keys) else ""
            rows = (
                f" (rows: {self.evidence.count:,}; keys {keys}{more})" if keys else f" (rows: {self.evidence.count:,})"
            )
        instead = f" Instead: {self.instead}." if self.instead else ""
        return visible(f"{self.subject}: {self.what}{rows}. {self.proposal}.{instead} [{self.rule}]")


def grade(findings: Iterable[Finding]) -> str:
    """A: nothing to confirm; B: proposals to confirm; C: something that no proposal settles."""
    return "ABC"[max((f.weight for f in findings), default=Weight.NOTE) - 1]
