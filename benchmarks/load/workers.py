"""What more workers would give: the throughput of one table's load from measured costs, and what bounds it.

A range is one COPY: its process and its server backend work at the same time, so that a worker is as fast as the slower
of them. The workers together are bounded by the server's cores, then by the network to it. Its disk is left out.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

WORKERS = (1, 2, 8, 32)
CORES = (8, 32)
"""Of a server that does nothing else."""
NETWORKS = {"1 Gbit/s": 118e6, "10 Gbit/s": 1180e6}
"""Payload bytes per second over TCP."""


@dataclass(frozen=True)
class Table:
    """CPU seconds per million rows, of the process that loads and of the server; bytes of COPY per row."""

    name: str
    client: float
    server: float
    octets: float

    @classmethod
    def measured(cls, name: str, rows: int, octets: int, client: float, server: float) -> "Table":
        """From one load of so many rows and bytes, and the CPU seconds that it took."""
        return cls(name, client / rows * 1e6, server / rows * 1e6, octets / rows)


@dataclass(frozen=True)
class Forecast:
    """Rows per second, and the first thing that would have to be larger for more."""

    rows: float
    bound: str


def forecast(table: Table, workers: int, cores: int, network: float) -> Forecast:
    """What ``workers``, each with a core of its own, load into a server with so many cores over such a network."""
    slower = "clients" if table.client >= table.server else "backends"
    bounds = {
        slower: workers * 1e6 / max(table.client, table.server),
        "server's cores": cores * 1e6 / table.server,
        "network": network / table.octets,
    }
    bound = min(bounds, key=lambda name: bounds[name])
    return Forecast(bounds[bound], bound)


def saturation(table: Table, cores: int, network: float) -> int:
    """The number of workers from which on one more gives nothing."""
    most = min(cores * 1e6 / table.server, network / table.octets)
    return max(1, -int(-most * max(table.client, table.server) // 1e6))


def lines(tables: Sequence[Table]) -> Iterator[str]:
    """The forecasts as a table in Markdown."""
    heads = ["table", "CPU s per million rows, client + server", "network", "server's cores"]
    heads += [_counted(n) for n in WORKERS] + ["full from"]
    yield _row(heads)
    yield "|---" * len(heads) + "|"
    for table in tables:
        for label, network in NETWORKS.items():
            for cores in CORES:
                found = [forecast(table, n, cores, network) for n in WORKERS]
                speeds = [f"{f.rows:,.0f} rows/s, {f.rows * table.octets / 1e6:,.0f} MB/s ({f.bound})" for f in found]
                costs = f"{table.client:.2f} + {table.server:.2f}"
                yield _row([table.name, costs, label, str(cores), *speeds, _counted(saturation(table, cores, network))])


def _counted(workers: int) -> str:
    return f"{workers} worker{'s' if workers > 1 else ''}"


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
