"""A user's focus windows and stress levels."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection, func, insert, select

from widgettdc.models import PalFocusWindow, PalStressLevel
from widgettdc.repository.paging import LIMIT, AnyRow, Page, page
from widgettdc.repository.values import check_span, checked


@dataclass(frozen=True, slots=True)
class FocusWindow:
    """A span of time that a user keeps free for one priority."""

    id: int
    user_id: str
    start_time: datetime
    end_time: datetime
    priority: str


@dataclass(frozen=True, slots=True)
class StressLevel:
    """A user's stress level at one moment."""

    id: int
    user_id: str
    level: int
    measured_at: datetime


def _window(row: AnyRow) -> FocusWindow:
    return FocusWindow(**row._mapping)


def _level(row: AnyRow) -> StressLevel:
    return StressLevel(**row._mapping)


@dataclass(frozen=True, slots=True)
class FocusWindowRepository:
    """The focus windows, in the transaction of the connection."""

    connection: Connection

    def add(self, user_id: str, start_time: datetime, end_time: datetime, priority: str) -> FocusWindow:
        """Keep a span free; it may overlap others."""
        given = {"user_id": user_id, "start_time": start_time, "end_time": end_time, "priority": priority}
        row = checked(PalFocusWindow, given)
        check_span(start_time, end_time)
        made = insert(PalFocusWindow).values(**row).returning(*PalFocusWindow.__table__.columns)
        return _window(self.connection.execute(made).one())

    def overlapping(
        self, user_id: str, start: datetime, end: datetime, *, limit: int = LIMIT, after: str | None = None
    ) -> Page[FocusWindow]:
        """A user's windows that share time with a span, in the order of their start; touching is not sharing."""
        check_span(start, end)
        found = select(*PalFocusWindow.__table__.columns).where(
            PalFocusWindow.user_id == user_id, PalFocusWindow.start_time < end, PalFocusWindow.end_time > start
        )
        keys = (PalFocusWindow.start_time, PalFocusWindow.id)
        return page(self.connection, found, _window, *keys, limit=limit, after=after)


@dataclass(frozen=True, slots=True)
class StressLevelRepository:
    """The stress levels, in the transaction of the connection."""

    connection: Connection

    def record(self, user_id: str, level: int, measured_at: datetime) -> StressLevel:
        """Store a measurement."""
        row = checked(PalStressLevel, {"user_id": user_id, "level": level, "measured_at": measured_at})
        made = insert(PalStressLevel).values(**row).returning(*PalStressLevel.__table__.columns)
        return _level(self.connection.execute(made).one())

    def series(
        self, user_id: str, start: datetime, end: datetime, *, limit: int = LIMIT, after: str | None = None
    ) -> Page[StressLevel]:
        """A user's measurements from `start` to before `end`, in the order of time."""
        check_span(start, end)
        found = select(*PalStressLevel.__table__.columns).where(*_in_span(user_id, start, end))
        keys = (PalStressLevel.measured_at, PalStressLevel.id)
        return page(self.connection, found, _level, *keys, limit=limit, after=after)

    def average(self, user_id: str, start: datetime, end: datetime) -> Decimal | None:
        """The mean level from `start` to before `end`; None where nothing was measured."""
        check_span(start, end)
        mean = select(func.avg(PalStressLevel.level)).where(*_in_span(user_id, start, end))
        average: Decimal | None = self.connection.execute(mean).scalar_one()
        return average


def _in_span(user_id: str, start: datetime, end: datetime) -> tuple[Any, ...]:
    return (
        PalStressLevel.user_id == user_id,
        PalStressLevel.measured_at >= start,
        PalStressLevel.measured_at < end,
    )
