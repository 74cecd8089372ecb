"""The databases that are moved: seeded, alike on every machine, and made once."""

import os
import random
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import apsw

from benchmarks.data_layer.world import Draw
from local.files import LOCAL, ROOT
from widgettdc.sample import make_sample

FOLDER = LOCAL / "bench"
"""Where they are kept from one call to the next; the folder may be removed."""
SEED = 20_240_229


@dataclass(frozen=True)
class Dataset:
    """A SQLite file and the plan of its migration."""

    name: str
    title: str
    path: Path
    plan: Path

    @property
    def megabytes(self) -> float:
        return self.path.stat().st_size / 1e6


def widgettdc(scale: int, documents: int) -> Dataset:
    """The sample of the application, so many times, and so many more documents of 2 to 20 KB."""

    def fill(path: Path) -> None:
        make_sample(path, seed=SEED, scale=scale)
        connection = _writable(path)
        into = "INSERT INTO raw_documents (org_id, title, content, ingested_at) VALUES (?, ?, ?, ?)"
        with connection:
            connection.executemany(into, _documents(documents))
        connection.close()

    path = _made(f"widgettdc-{scale}-{documents}", fill)
    return Dataset("widgettdc", "WidgetTDC's nine tables", path, ROOT / "include" / "plans" / "widgettdc.yaml")


def application() -> Dataset:
    """The sample of ./run, as it is."""
    path = _made("sample", make_sample)
    return Dataset("sample", "the sample of ./run", path, ROOT / "include" / "plans" / "widgettdc.yaml")


def _documents(count: int) -> Iterator[tuple[str, str, str, str]]:
    draw = Draw(SEED)
    for number in range(count):
        content = draw.prose(26, 260)
        yield f"org-{number % 40:03}", draw.prose(1, 1)[:500], content, f"2024-02-29T12:{number % 60:02}:00.125Z"


def narrow(rows: int) -> Dataset:
    """One table of four numbers."""
    path = _of_statements(
        f"narrow-{rows}",
        "CREATE TABLE readings (id INTEGER PRIMARY KEY, sensor INTEGER NOT NULL, taken_ms INTEGER NOT NULL,"
        " value REAL NOT NULL)",
        _rows("readings", "i, i * 2654435761 % 1000, 1700000000000 + i * 37, (i * 48271 % 1000003) / 1000.0"),
        rows=rows,
    )
    return _assessed("narrow", f"{rows:,} rows of four numbers", path)


def blobs(count: int) -> Dataset:
    """Files of 1 to 60 KB that nothing compresses."""

    def fill(path: Path) -> None:
        connection = _writable(path)
        connection.execute("CREATE TABLE files (id INTEGER PRIMARY KEY, name TEXT NOT NULL, content BLOB NOT NULL)")
        drawn = random.Random(SEED)
        rows = ((n, f"file {n:06}.bin", drawn.randbytes(1_000 + n * 48_271 % 59_000)) for n in range(1, count + 1))
        with connection:
            connection.executemany("INSERT INTO files VALUES (?, ?, ?)", rows)
        connection.close()

    return _assessed("blobs", f"{count:,} files of 1 to 60 KB", _made(f"blobs-{count}", fill))


def tables(count: int) -> Dataset:
    """So many tables of fifty rows, each with a key, an index and, but for the first, a foreign key."""
    statements = []
    for number in range(count):
        parent = f" REFERENCES t{number - 1}(id)" if number % 10 else ""
        statements += [
            f"CREATE TABLE t{number} (id INTEGER PRIMARY KEY, parent INTEGER{parent}, name TEXT NOT NULL, at TEXT)",
            f"CREATE INDEX t{number}_name ON t{number} (name)",
            _rows(f"t{number}", "i, i, 'row ' || i, datetime(1700000000 + i, 'unixepoch')"),
        ]
    path = _of_statements(f"tables-{count}", *statements, rows=50)
    return _assessed("tables", f"{count} tables of 50 rows", path)


def tiny(number: int) -> Dataset:
    """A database of three tables and a few hundred rows at most; each number another one."""
    rows = 5 + number * 48_271 % 200
    path = _of_statements(
        f"tiny-{number}",
        "CREATE TABLE customers (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL, joined TEXT NOT NULL)",
        "CREATE TABLE orders (id INTEGER PRIMARY KEY, customer_id INTEGER NOT NULL REFERENCES customers(id),"
        " total REAL, note TEXT)",
        "CREATE TABLE notes (id INTEGER PRIMARY KEY, body TEXT, stamp BLOB)",
        "CREATE INDEX orders_customer ON orders (customer_id)",
        _rows("customers", "i, 'Søren ' || i, datetime(1700000000 + i, 'unixepoch')"),
        _rows("orders", "i, i, i / 4.0, CASE i % 3 WHEN 0 THEN NULL ELSE 'ærø ' || i END"),
        _rows("notes", "i, 'note ' || i, CAST(i AS BLOB)"),
        rows=rows,
    )
    return _assessed(f"tiny{number}", "3 small tables", path)


def _rows(table: str, values: str) -> str:
    """A statement that inserts rows of these expressions over ``i``, which counts from 1."""
    counted = "WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < :rows)"
    return " ".join([counted, "INSERT INTO", table, "SELECT", values, "FROM n"])


def _of_statements(name: str, *statements: str, rows: int) -> Path:
    def fill(path: Path) -> None:
        connection = _writable(path)
        with connection:
            for statement in statements:
                connection.execute(statement, {"rows": rows} if ":rows" in statement else None)
        connection.close()

    return _made(name, fill)


def _writable(path: Path) -> apsw.Connection:
    connection = apsw.Connection(str(path))
    connection.execute("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF")
    return connection


def _made(name: str, fill: Callable[[Path], object]) -> Path:
    """The file of that name, filled when first asked for; it gets its name when it is whole."""
    path, draft = FOLDER / f"{name}.db", FOLDER / f"{name}.draft"
    if not path.exists():
        FOLDER.mkdir(parents=True, exist_ok=True)
        _remove([draft, *FOLDER.glob(f"{draft.name}-*")])
        fill(draft)
        draft.rename(path)
    return path


def _remove(paths: Iterable[Path]) -> None:
    for path in paths:
        path.unlink(missing_ok=True)


def _assessed(name: str, title: str, path: Path) -> Dataset:
    """The database with the plan that its assessment proposes."""
    plans = FOLDER / path.stem
    plan = plans / f"{name}.yaml"
    if not plan.exists():
        command = [sys.executable, "-m", "migration", "assess", "--source", str(path), "--name", name]
        places = {"MIGRATION_PLANS": str(plans), "MIGRATION_HOME": str(FOLDER / "home")}
        environment = {name: value for name, value in os.environ.items() if name != "MIGRATION_TARGET_DSN"}
        subprocess.run(command, check=True, capture_output=True, env=environment | places)
    return Dataset(name, title, path, plan)
