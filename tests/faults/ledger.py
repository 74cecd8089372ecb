"""What the suite has tried, and what came of it: the table at its end and in ``docs/faults.md``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from local.files import ROOT

PAGE = ROOT / "docs" / "faults.md"
MARK = "<!-- the table: ./test -m slow tests/faults --write-table -->"


@dataclass
class Line:
    """One fault and all its points."""

    outcomes: Counter[str] = field(default_factory=Counter)
    wrong: int = 0

    @property
    def points(self) -> int:
        """How often the fault was tried."""
        return self.outcomes.total()


class Ledger:
    """Each point tried is one outcome; a wrong one is a state that differs, or a corruption that was not found."""

    def __init__(self) -> None:
        self._lines: dict[tuple[str, str], Line] = {}

    def tried(self, area: str, fault: str, outcome: str, *, wrong: bool = False, points: int = 1) -> None:
        """Enter points. A test enters its point before it asserts, so that the table shows what it fails for."""
        line = self._lines.setdefault((area, fault), Line())
        line.outcomes[outcome] += points
        line.wrong += points if wrong else 0

    def __bool__(self) -> bool:
        return bool(self._lines)

    def markdown(self) -> Iterator[str]:
        """The lines of the table, areas in the order in which they were entered first."""
        areas = list(dict.fromkeys(area for area, _ in self._lines))
        yield "| what | fault | points | outcomes | wrong |"
        yield "| --- | --- | ---: | --- | ---: |"
        for area in areas:
            for (own, fault), line in self._lines.items():
                if own == area:
                    yield f"| {area} | {fault} | {line.points:,} | {_outcomes(line)} | {line.wrong:,} |"
        every = self._lines.values()
        yield f"| **all** | | **{sum(e.points for e in every):,}** | | **{sum(e.wrong for e in every):,}** |"

    def write(self, page: Path = PAGE) -> None:
        """Put the table into the page, in place of the one after the mark."""
        text, mark, _ = page.read_text().partition(MARK)
        assert mark, f"{page} has no line {MARK}"
        page.write_text(f"{text}{MARK}\n\n" + "\n".join(self.markdown()) + "\n")


def _outcomes(line: Line) -> str:
    if len(line.outcomes) == 1:
        return next(iter(line.outcomes))
    return "; ".join(f"{count:,} {outcome}" for outcome, count in line.outcomes.most_common())
