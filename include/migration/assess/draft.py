"""The draft of a plan while it grows: what is carried, as what, and what was found on the way."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from migration.catalog import Catalog, Table
from migration.derive.findings import Finding, Weight
from migration.derive.names import Names
from migration.derive.parse import affinity
from migration.derive.rules import finding
from migration.derive.types import Choice
from migration.derive.values import Carried
from migration.plan import RefusedObject
from migration.profile import Evidence, TableProfile


@dataclass
class Draft:
    """The plan as it grows, and what was found on the way."""

    catalog: Catalog
    profiles: Mapping[str, TableProfile]
    names: Names
    tables: tuple[Table, ...] = ()
    """Those that are carried."""
    choices: dict[tuple[str, str], Choice] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    refused: list[RefusedObject] = field(default_factory=list)

    def columns(self, table: Table) -> dict[str, Carried]:
        """The columns of a table as translations of its SQL want to know them."""
        return {
            c.name: Carried(
                self.names.columns[table.name, c.name], chosen.type, affinity(c.declared_type), chosen.form, c.collation
            )
            for c in table.columns
            if (chosen := self.choices.get((table.name, c.name)))
        }

    def refuse(
        self, kind: str, table: str, name: str, reason: str, source: str, *, weight: Weight | None = None,
        of: Evidence | None = None,
    ) -> None:  # fmt: skip
        """Note that something is not carried."""
        self.refused.append(RefusedObject(kind=kind, name=name, table=table, reason=reason, source=source))
        self.note(
            f"refused-{kind.replace(' ', '-')}", table, f"{kind} {name}".strip(), of, weight=weight, reason=reason
        )

    def note(
        self, rule: str, table: str, place: str, of: Evidence | None = None, *, weight: Weight | None = None,
        **facts: object,
    ) -> None:  # fmt: skip
        """Note anything else, by its rule."""
        self.findings.append(finding(rule, table, place, of, weight=weight, **facts))

    def notes(self, kind: str, table: str, place: str, said: Iterable[str]) -> None:
        """Note what a translation has to say."""
        for note in said:
            self.note(f"translation-{kind}", table, place, note=note)
