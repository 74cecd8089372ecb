"""Everything that one call of the command measured; kept beside the code, so that the page can be made anew."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.data_layer.concurrent import Throughput
from benchmarks.data_layer.load import Load
from benchmarks.data_layer.single import Measured

FILE = Path(__file__).with_name("measured.json")


@dataclass(frozen=True)
class OfSize:
    """What was measured with so many memories. Sizes are in bytes, by the name of the side."""

    memories: int
    rows: int
    revision: str
    sizes: dict[str, int]
    alone: list[Measured] = field(default_factory=list)
    relaxed: list[Measured] = field(default_factory=list)
    together: list[Throughput] = field(default_factory=list)


@dataclass
class Results:
    """All of it."""

    command: str
    environment: dict[str, str]
    sizes: list[OfSize] = field(default_factory=list)
    load: list[Load] = field(default_factory=list)
    deadlocks: int = 0

    def write(self, file: Path = FILE) -> None:
        file.write_text(json.dumps(asdict(self), indent=1, ensure_ascii=False) + "\n", "utf-8")


def read(file: Path = FILE) -> Results:
    """What was last written."""
    kept = json.loads(file.read_text("utf-8"))
    kept["load"] = [Load(**one) for one in kept["load"]]
    kept["sizes"] = [_size(**one) for one in kept["sizes"]]
    return Results(**kept)


def _size(
    *, alone: list[dict[str, Any]], relaxed: list[dict[str, Any]], together: list[dict[str, Any]], **facts: Any
) -> OfSize:
    return OfSize(
        **facts,
        alone=[Measured(**one) for one in alone],
        relaxed=[Measured(**one) for one in relaxed],
        together=[Throughput(**one) for one in together],
    )
