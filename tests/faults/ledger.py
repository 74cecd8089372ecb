"""What the suite has tried, and what came of it: the table at its end and in ``docs/faults.md``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from local.files import ROOT

PAGE = ROOT / "docs" / "faults.md"
MARK = "<!-- the table: ./test -m slow tests/faults --write-table -->"
HEAD = ("| what | fault | points | outcomes | wrong |", "| --- | --- | ---: | --- | ---: |")


@dataclass(frozen=True)
class Line:
    """One fault and all its points."""

    points: int
    outcomes: str
    wrong: int


class Ledger:
    """Each point tried is one outcome; a wrong one is a state that differs, or a corruption that was not found."""

    def __init__(self) -> None:
        self._outcomes: dict[tuple[str, str], Counter[str]] = {}
        self._wrong: Counter[tuple[str, str]] = Counter()

    def tried(self, area: str, fault: str, outcome: str, *, wrong: bool = False, points: int = 1) -> None:
        """Enter points. A test enters its point before it asserts, so that the table shows what it fails for."""
        self._outcomes.setdefault((area, fault), Counter())[outcome] += points
        self._wrong[area, fault] += points if wrong else 0

    def __bool__(self) -> bool:
        return bool(self._outcomes)

    def lines(self) -> dict[tuple[str, str], Line]:
        """By area and fault, what was tried."""
        return {key: Line(found.total(), _in_words(found), self._wrong[key]) for key, found in self._outcomes.items()}

    def write(self, page: Path = PAGE) -> None:
        """Put the lines into the page's table, in place of those of the same faults; the others stay."""
        text, mark, former = page.read_text().partition(MARK)
        assert mark, f"{page} has no line {MARK}"
        page.write_text("\n".join([text + mark, "", *markdown(_parsed(former) | self.lines()), ""]))


def markdown(lines: dict[tuple[str, str], Line]) -> Iterator[str]:
    """A table with a sum, areas in the order in which they were entered first."""
    yield from HEAD
    areas = list(dict.fromkeys(area for area, _ in lines))
    for (area, fault), line in sorted(lines.items(), key=lambda item: areas.index(item[0][0])):
        yield f"| {area} | {fault} | {line.points:,} | {line.outcomes} | {line.wrong:,} |"
    points, wrong = sum(line.points for line in lines.values()), sum(line.wrong for line in lines.values())
    yield f"| **all** | | **{points:,}** | | **{wrong:,}** |"


def _in_words(outcomes: Counter[str]) -> str:
    if len(outcomes) == 1:
        return next(iter(outcomes))
    return "; ".join(f"{count:,} {outcome}" for outcome, count in outcomes.most_common())


def _parsed(table: str) -> dict[tuple[str, str], Line]:
    found = {}
    for row in table.splitlines():
        cells = [cell.strip() for cell in row.strip("|").split("|")]
        if len(cells) == 5 and row not in HEAD and not cells[0].startswith("*"):
            points, wrong = (int(cell.replace(",", "")) for cell in (cells[2], cells[4]))
            found[cells[0], cells[1]] = Line(points, cells[3], wrong)
    return found
