"""Decisions and the KPIs by which they are judged."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from sqlalchemy import JSON, Connection, Text, cast, func, insert, select, update
from sqlalchemy.dialects.postgresql import aggregate_order_by

from widgettdc.errors import NotFound
from widgettdc.models import Decision as DecisionModel
from widgettdc.models import EvolutionKpi
from widgettdc.repository.paging import LIMIT, AnyRow, Page, page
from widgettdc.repository.values import check_references, checked


@dataclass(frozen=True, slots=True)
class Kpi:
    """What a decision was expected to bring, and what was measured: None until it is."""

    id: int
    decision_id: int
    kpi_name: str
    expected_value: Decimal
    actual_value: Decimal | None
    measured_at: datetime


@dataclass(frozen=True, slots=True)
class Decision:
    """A decision of an organisation, with its KPIs in the order they were added."""

    id: int
    org_id: str
    title: str
    description: str | None
    made_at: datetime
    kpis: tuple[Kpi, ...]


_KPI = func.json_build_array(
    EvolutionKpi.id,
    EvolutionKpi.decision_id,
    EvolutionKpi.kpi_name,
    cast(EvolutionKpi.expected_value, Text),
    cast(EvolutionKpi.actual_value, Text),
    EvolutionKpi.measured_at,
)
_KPIS = (
    select(func.json_agg(aggregate_order_by(_KPI, EvolutionKpi.id), type_=JSON))
    .where(EvolutionKpi.decision_id == DecisionModel.id)
    .correlate(DecisionModel)
    .scalar_subquery()
)
_DECISIONS = select(*DecisionModel.__table__.columns, _KPIS)


def _decision(row: AnyRow) -> Decision:
    decision_id, org_id, title, description, made_at, kpis = row
    nested = tuple(_nested_kpi(*kpi) for kpi in kpis or ())
    return Decision(decision_id, org_id, title, description, made_at, nested)


def _nested_kpi(kpi_id: int, decision_id: int, name: str, expected: str, actual: str | None, measured_at: str) -> Kpi:
    value = None if actual is None else Decimal(actual)
    return Kpi(kpi_id, decision_id, name, Decimal(expected), value, datetime.fromisoformat(measured_at))


@dataclass(frozen=True, slots=True)
class DecisionRepository:
    """The decisions, in the transaction of the connection."""

    connection: Connection

    def record(self, org_id: str, title: str, made_at: datetime, *, description: str | None = None) -> Decision:
        """Store a decision."""
        given = {"org_id": org_id, "title": title, "description": description, "made_at": made_at}
        made = insert(DecisionModel).values(**checked(DecisionModel, given)).returning(*DecisionModel.__table__.columns)
        return Decision(**self.connection.execute(made).one()._mapping, kpis=())

    def add_kpi(
        self,
        decision_id: int,
        kpi_name: str,
        expected_value: Decimal,
        measured_at: datetime,
        *,
        actual_value: Decimal | None = None,
    ) -> Kpi:
        """Say by what a decision will be judged; BadReference where it is missing.

        `measured_at` is when the value was measured, or is to be.
        """
        row = checked(
            EvolutionKpi,
            {
                "decision_id": decision_id,
                "kpi_name": kpi_name,
                "expected_value": expected_value,
                "actual_value": actual_value,
                "measured_at": measured_at,
            },
        )
        check_references(self.connection, "decision_id", DecisionModel, [decision_id])
        made = insert(EvolutionKpi).values(**row).returning(*EvolutionKpi.__table__.columns)
        return Kpi(**self.connection.execute(made).one()._mapping)

    def measure(self, kpi_id: int, actual_value: Decimal, measured_at: datetime) -> Kpi:
        """Enter what was measured, in place of what was there. Raises NotFound."""
        row = checked(EvolutionKpi, {"actual_value": actual_value, "measured_at": measured_at})
        change = update(EvolutionKpi).where(EvolutionKpi.id == kpi_id).values(**row)
        made = self.connection.execute(change.returning(*EvolutionKpi.__table__.columns)).one_or_none()
        if made is None:
            raise NotFound(EvolutionKpi.__tablename__, kpi_id)
        return Kpi(**made._mapping)

    def get(self, decision_id: int) -> Decision | None:
        """The decision with this id, or None."""
        row = self.connection.execute(_DECISIONS.where(DecisionModel.id == decision_id)).one_or_none()
        return _decision(row) if row else None

    def of_organisation(self, org_id: str, *, limit: int = LIMIT, after: str | None = None) -> Page[Decision]:
        """An organisation's decisions, the newest first."""
        found = _DECISIONS.where(DecisionModel.org_id == org_id)
        keys = (DecisionModel.made_at, DecisionModel.id)
        return page(self.connection, found, _decision, *keys, limit=limit, after=after, newest_first=True)
