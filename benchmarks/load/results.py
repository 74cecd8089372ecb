"""Everything that one call of the command measured, kept beside the databases until the next one."""

import pickle
from dataclasses import dataclass, field

from benchmarks.load.contest import Contest
from benchmarks.load.datasets import FOLDER
from benchmarks.load.meter import Cost
from benchmarks.load.scale import Grown, Tiny

FILE = FOLDER / "measured.pickle"


@dataclass
class Results:
    """All of it. Contests by the part of the command that they are."""

    command: str
    environment: dict[str, str]
    versions: dict[str, str] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    contests: dict[str, Contest] = field(default_factory=dict)
    rows: list[Grown] = field(default_factory=list)
    tables: list[Grown] = field(default_factory=list)
    tiny: Tiny | None = None
    sample: Cost | None = None

    def keep(self) -> None:
        """So that the page can be made anew without measuring."""
        FILE.write_bytes(pickle.dumps(self))


def kept() -> Results:
    """What was measured last."""
    found: Results = pickle.loads(FILE.read_bytes())
    return found
