"""Places a run's steps on a line of time from which waits are cut out, so that the work stays legible."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from migration.report.facts import Report, StepFacts

WAIT = 10.0
"""Nothing at work for longer than so many seconds is told as a wait (for a person, or overnight)."""
ROWS = 60
"""So many steps are drawn; the shortest of a larger run are left out and counted."""


@dataclass(frozen=True)
class Bar:
    """A step's place in percent of the line; ``waited`` seconds passed before it with nothing at work."""

    step: StepFacts
    seconds: float
    left: float
    width: float
    waited: float


@dataclass(frozen=True)
class Timeline:
    """The bars in the order in which the steps began."""

    bars: tuple[Bar, ...]
    hidden: int
    """Steps too short to be drawn."""
    worked: float
    """Seconds in which at least one step was at work, of the steps that have ended."""
    elapsed: float
    """Seconds from the first step's start to the last end, waits included."""


def timeline(report: Report) -> Timeline:
    """The line of a report; a step that has not ended reaches to the moment of the report."""
    # The report is made while its own step runs.
    steps = sorted((s for s in report.steps if s.name != "report" or s.finished_at), key=lambda s: s.started_at)
    if not steps:
        return Timeline((), 0, 0.0, 0.0)
    begin = steps[0].started_at
    spans = [((s.started_at - begin).total_seconds(), (_end(s, report) - begin).total_seconds()) for s in steps]
    waits = _waits(spans)
    total = max(_place(end, waits) for _, end in spans) or 1.0
    bars = []
    for step, (start, end) in zip(steps, spans, strict=True):
        left, right = _place(start, waits), _place(end, waits)
        waited = next((length for until, length in waits if until == start and length > WAIT), 0.0)
        bars.append(Bar(step, end - start, 100 * left / total, 100 * (right - left) / total, waited))
    drawn = _drawn(bars)
    ended = [span for step, span in zip(steps, spans, strict=True) if step.finished_at]
    elapsed = max((end for _, end in ended), default=0.0)
    worked = elapsed - sum(length for _, length in _waits(ended))
    return Timeline(drawn, len(bars) - len(drawn), worked, elapsed)


def _end(step: StepFacts, report: Report) -> datetime:
    return max(step.started_at, step.finished_at or report.gathered_at)


def _waits(spans: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """The stretches with nothing at work, as (until, seconds); ``spans`` are ordered by their start."""
    waits, reached = [], 0.0
    for start, end in spans:
        if start > reached:
            waits.append((start, start - reached))
        reached = max(reached, end)
    return waits


def _place(moment: float, waits: Sequence[tuple[float, float]]) -> float:
    """``moment`` on a line on which a wait takes no more than a second."""
    return moment - sum(max(0.0, length - 1.0) for until, length in waits if until <= moment)


def _drawn(bars: Sequence[Bar]) -> tuple[Bar, ...]:
    """All bars, or of too many those of whole steps and failures, then the longest."""
    if len(bars) <= ROWS:
        return tuple(bars)
    ranked = sorted(
        range(len(bars)),
        key=lambda i: (bars[i].step.status == "done" and bool(bars[i].step.table), -bars[i].seconds),
    )
    return tuple(bars[i] for i in sorted(ranked[:ROWS]))
