"""Everything that one call of the command measured."""

from dataclasses import dataclass, field

from benchmarks.data_layer.concurrent import Throughput
from benchmarks.data_layer.load import Load
from benchmarks.data_layer.single import Measured


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
