"""How long each step of a migration takes: measured by `python -m tests.documents --measure`, kept beside the code."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import psycopg

from benchmarks.facts import environment
from migration.__main__ import main as migrate
from widgettdc.sample import make_sample

FILE = Path(__file__).with_name("durations.json")
SCALES = (1, 32)
"""Of the sample: about a million rows are enough to see what grows."""


@dataclass(frozen=True)
class Durations:
    """Seconds by number of rows and step; one on which they were measured."""

    environment: str
    seconds: dict[str, dict[str, float]]


def read() -> Durations:
    """What was last measured."""
    return Durations(**json.loads(FILE.read_text("utf-8")))


def measure(folder: Path, admin: str) -> None:
    """Migrate samples from the command line and keep how long each step took."""
    seconds: dict[str, dict[str, float]] = {}
    for scale in SCALES:
        name = f"durations_{scale}"
        with psycopg.connect(admin, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}".encode())
        dsn = psycopg.conninfo.make_conninfo(admin, dbname=name)
        source = folder / f"{name}.db"
        rows = sum(make_sample(source, scale=scale).values())
        with _at(dsn, folder / name):
            if migrate(["all", "--source", str(source), "--mode", "cut_over", "--run", "measured"]) != 0:
                raise RuntimeError("The migration of the sample failed.")
        with psycopg.connect(dsn) as connection:
            steps = connection.execute(
                "SELECT step, sum(extract(epoch FROM finished_at - started_at))::float8 FROM migration.steps GROUP BY 1"
            ).fetchall()
        seconds[str(rows)] = dict(sorted(steps))
    facts = environment(admin)
    told = f"{facts['machine']}; PostgreSQL {facts['PostgreSQL']}; {facts['date']}; load {os.getloadavg()[0]:.1f}"
    FILE.write_text(json.dumps(asdict(Durations(told, seconds)), indent=1) + "\n", "utf-8")


@contextmanager
def _at(dsn: str, home: Path) -> Iterator[None]:
    before = dict(os.environ)
    os.environ.update({"MIGRATION_TARGET_DSN": dsn, "MIGRATION_HOME": str(home)})
    yield
    os.environ.clear()
    os.environ.update(before)
