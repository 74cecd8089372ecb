"""What was measured, as plain data: kept beside the code, so that the page can be made anew without measuring."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

FILE = Path(__file__).with_name("measured.json")


@dataclass(frozen=True)
class Answer:
    """One search in one way. `pages` are PostgreSQL's, of 8 KiB; None for SQLite."""

    milliseconds: float
    pages: int | None = None
    words: str = ""


@dataclass(frozen=True)
class Search:
    """One search, and how each way answers it."""

    memories: int
    what: str
    organisation: int
    """How many memories the organisation has."""
    found: int
    """Results of the first page."""
    answers: dict[str, Answer]


@dataclass(frozen=True)
class Candidate:
    """A set of indexes that could serve the search. `pages` by search, of the largest organisation."""

    name: str
    bytes: int
    seconds: float
    pages: dict[str, int]


@dataclass(frozen=True)
class Cost:
    """What an index takes. `microseconds` and `wal` (bytes) are for one more row; None where it is the primary key."""

    index: str
    definition: str
    bytes: int
    rows: int
    microseconds: float | None
    wal: float | None


@dataclass(frozen=True)
class Read:
    """How an operation finds its rows, and the most pages that one of some calls reads, by the way it is done."""

    operation: str
    words: str
    pages: dict[str, int]


@dataclass
class Measured:
    """All of it."""

    command: str
    environment: dict[str, str]
    memories: int = 0
    """The size at which all but the searches were measured."""
    searches: list[Search] = field(default_factory=list)
    candidates: list[Candidate] = field(default_factory=list)
    costs: list[Cost] = field(default_factory=list)
    reads: list[Read] = field(default_factory=list)
    pending: dict[str, tuple[float, float]] = field(default_factory=dict)
    """What trigrams add to a row (microseconds, bytes of WAL), with and without a pending list: on, off."""

    def write(self) -> None:
        FILE.write_text(json.dumps(asdict(self), indent=1, ensure_ascii=False) + "\n", "utf-8")


def read() -> Measured:
    """What was last written."""
    kept = json.loads(FILE.read_text("utf-8"))
    kept["searches"] = [
        Search(**(each | {"answers": {way: Answer(**answer) for way, answer in each["answers"].items()}}))
        for each in kept["searches"]
    ]
    kept["candidates"] = [Candidate(**each) for each in kept["candidates"]]
    kept["reads"] = [Read(**each) for each in kept["reads"]]
    kept["costs"] = [Cost(**each) for each in kept["costs"]]
    return Measured(**kept)
