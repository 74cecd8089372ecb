"""Write a sample WidgetTDC SQLite database: seeded, realistic, full of values that break careless loaders.

Every value fits the PostgreSQL schema of `widgettdc.models`, so a correct migration carries every row.
"""

import argparse
import json
import random
import sqlite3
import sys
import tempfile
from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from itertools import chain, tee
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

SCHEMA = Path(__file__).with_name("source_schema.sql")

# Rows per table at scale 1, parents before children.
ROWS = {
    "memory_entities": 4_000,
    "memory_relations": 6_000,
    "memory_tags": 9_000,
    "raw_documents": 1_200,
    "structured_facts": 5_000,
    "decisions": 300,
    "evolution_kpis": 900,
    "pal_focus_windows": 1_500,
    "pal_stress_levels": 3_000,
}
GAP_EVERY = 97  # every 97th id is missing, as after a DELETE
DELETED_TAIL = 7  # the newest rows of every table are deleted: their ids must never be given out again

TEXTS = (
    "", " ", "  leading and trailing  ", "\t", "tab\tin\tside\t", "line\nbreak\n", "CRLF\r\nline\r\n",
    "lone\rCR", r"\N", r"\.", "before\n\\.\nafter", "\\", r"C:\new\table\x41\u0041", "NULL", "null",
    "-0", "1e5", "'single' \"double\" `back`", "'); DROP TABLE memory_entities; --",
    "$$ $1 %s %(name)s {0} {{}}", "=1+1", "<script>alert('x')</script> &amp;",
    "blåbærgrød Ærø ß Ñandú", "記憶 기억 память μνήμη",
    "👩‍👩‍👧‍👦 🏳️‍🌈 🫠", "e\u0301 is not \u00e9", "שלום مرحبا \u202eRTL\u202c",
    "U+2028\u2028U+2029\u2029U+0085\u0085", "\ufeffmark", "no-break\u00a0zero\u200bwidth", "\x03",
    "\x01\x02\x07\x08\x0b\x0c\x1b[31m\x1f\x7f", "\uffff\U0010ffff", "0123", "0x10", "true", "2024-02-29",
)  # fmt: skip
INSTANTS = (
    "2024-02-29T23:59:59.999Z", "2024-02-29 00:00:00", "2024-02-29T23:59:59.999999+02:00",
    "2000-02-29 12:00:00", "2024-02-29T12:00:00Z", "2024-02-29T12:00:00.000001+00:00",
    "1970-01-01T00:00:00.000Z", "1969-12-31 23:59:59", "2038-01-19T03:14:08.000Z",
    "2024-12-31T23:30:00.000-05:30",
    # Local clocks in Europe and America skip or repeat these hours; read as UTC they are plain instants.
    "2024-03-31 02:30:00", "2024-10-27 02:30:00.123456", "2024-03-10 02:30:00", "2024-11-03 01:30:00.000001",
)  # fmt: skip
JSONS = (
    None, "{}", "[]", "null", "true", "0", '""', '"text"', '{"":""}', '["1",1,1.0,true,null]',
    '{"a":{"b":{"c":[[],[{}],[null]]}}}', '{"z":1,"a":2,"Z":3}', '{"raw":"æøå 😀 \u2028 記憶"}',
    r'{"escaped":"\u00e6\u00f8\u00e5 \ud83d\ude00 \u2028 \u0001 \\ \/ \" \n\t"}',
    '{"large":[9007199254740993,9223372036854775807,-9223372036854775808]}',
    '{"floats":[1.5e-7,6.02214076e23,-2.5E+10,0.1,1.10,1e0]}',
    '{\n  "pretty": [1, 2],\r\n\t"printed": true\n}',
    '{"looks":["2024-02-29T00:00:00.000Z","NULL","\\\\N","\\\\."]}',
    '{"long":"' + "0123456789abcdef" * 4096 + '"}',
)  # fmt: skip
STRENGTHS = (0, 1, 1.0, 9.99, -9.99, 0.01, -0.01, 0.07, 0.29, 0.57, 1.15, 2.3)
AMOUNTS = (0, 1, -1, 99999999.99, -99999999.99, 99999999, 0.01, -0.01, 0.29, 1.15, 8.41, 1234567.89, 4096.1)
LEVELS = (0, 10, -1, 32767, -32768)

ORGS = [f"org-{n:03}" for n in range(1, 41)]
USERS = [f"user{n:03}@example.org" for n in range(1, 201)]
NAMES = ["Anna Ærø", "Søren", "Πέτρος", "李雷", "नेहा", "O'Brien", "Zoë"]
WORDS = [
    "agent", "answer", "archive", "backlog", "board", "budget", "capacity", "cluster", "context", "customer",
    "data", "decision", "delivery", "draft", "evidence", "feature", "feedback", "focus", "forecast", "graph",
    "incident", "insight", "latency", "ledger", "margin", "meeting", "memory", "metric", "model", "outage",
    "pattern", "pipeline", "plan", "policy", "priority", "prompt", "query", "quarter", "release", "report",
    "review", "risk", "roadmap", "sensor", "signal", "sprint", "stress", "summary", "supplier", "team",
    "threshold", "trend", "user", "vector", "widget", "window", "aftale", "beslutning", "kunde", "læring",
    "måling", "møde", "rådgiver", "særlig", "tværgående", "årsag", "København",
]  # fmt: skip
TAGS = [*WORDS[:40], "high-priority", "q3/2024", "C++", "R&D", "follow up", "læring", "重要", "🔥"]
RELATIONS = ["relates_to", "causes", "supports", "contradicts", "follows", "part_of", "duplicate-of"]
PREDICATES = ["is", "has", "depends on", "owned_by", "reported", "costs", "located in", "overgår til", "位置"]
CHANNELS = ["upload", "mail", "crawler", "sharepoint://reports", "https://example.org/feed?page=1&lang=da"]
KPIS = ["latency_p95_ms", "conversion rate %", "NPS", "cost_per_request", "churn", "omsætning (kr.)"]
PRIORITIES = ["low", "medium", "high", "critical"]

DAYS = [(date(2023, 1, 1) + timedelta(n)).isoformat() for n in range(3 * 366)]  # 2024 is a leap year


def _id(place: int) -> int:
    """The id of the row at a place (from 0) of its table."""
    return place + place // (GAP_EVERY - 1) + 1


def _fitting(length: int) -> list[str]:
    """Values for VARCHAR(length): the hostile texts cut to it, then some of exactly that many characters."""
    units = ("x", "\u00e5", "記", "😀", "e\u0301")
    return [*(text[:length] for text in TEXTS), *((unit * length)[:length] for unit in units)]


class _Draw:
    """Endless seeded values, all from `Random.random`, whose sequence Python promises to keep for a seed."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed).random
        self.sentences = [text for text in TEXTS if text]
        for _ in range(1_500):
            words = [self.one(WORDS) for _ in range(6 + self.below(11))]
            self.sentences.append(" ".join(words).capitalize() + self.one("...!?"))

    def below(self, limit: int) -> int:
        return int(self.random() * limit)

    def one(self, pool: Sequence[T]) -> T:
        return pool[int(self.random() * len(pool))]

    def of(self, pool: Sequence[T]) -> Iterator[T]:
        while True:
            yield self.one(pool)

    def sometimes(self, share: float, values: Iterator[T]) -> Iterator[T | None]:
        """The values, but None for a share of them."""
        for value in values:
            yield None if self.random() < share else value

    def ids(self, rows: int) -> Iterator[int]:
        """Ids of rows of a table that has so many."""
        while True:
            yield _id(self.below(rows))

    def amounts(self, least: int, most: int) -> Iterator[float]:
        """Numbers with two decimals between two whole ones; never -0.0."""
        while True:
            yield (100 * least + self.below(100 * (most - least) + 1)) / 100

    def prose(self, fewest: int, most: int, end: str = " ") -> Iterator[str]:
        """Texts of so many sentences."""
        while True:
            yield end.join([self.one(self.sentences) for _ in range(fewest + self.below(most - fewest + 1))])

    def metadata(self) -> Iterator[str]:
        while True:
            facts = {
                "channel": self.one(CHANNELS),
                "score": self.below(10_000) / 10_000,
                "views": self.below(100_000),
                "labels": [self.one(TAGS) for _ in range(self.below(4))],
                "author": {"name": self.one(NAMES), "email": self.one(USERS)},
                "archived": self.random() < 0.1,
            }
            escaped, compact = self.random() < 0.5, self.random() < 0.8
            yield json.dumps(facts, ensure_ascii=escaped, separators=(",", ":") if compact else None)

    def time(self, second: int) -> str:
        """That second since the first of DAYS, in one of the forms that applications write."""
        form = self.random()
        if form >= 0.95:
            second += 7_200  # shown at +02:00
        day, rest = divmod(second, 86_400)
        clock = f"{rest // 3_600:02}:{rest // 60 % 60:02}:{rest % 60:02}"
        if form < 0.6:
            return f"{DAYS[day]}T{clock}.{self.below(1_000):03}Z"
        if form < 0.85:
            return f"{DAYS[day]} {clock}"
        if form < 0.9:
            return f"{DAYS[day]} {clock}.{self.below(1_000_000):06}"
        return f"{DAYS[day]}T{clock}.{self.below(1_000_000):06}{'Z' if form < 0.95 else '+02:00'}"

    def spans(self, longest: int) -> Iterator[tuple[str, str]]:
        """Two times each, the second later by up to so many seconds."""
        while True:
            start = self.below(3 * 365 * 86_400 - longest)
            yield self.time(start), self.time(start + 1 + self.below(longest))

    def times(self) -> Iterator[str]:
        return chain(INSTANTS, (start for start, _ in self.spans(1)))

    def start_and_end(self, longest: int) -> tuple[Iterator[str], Iterator[str]]:
        """Two columns, to be read in step: the spans' starts and ends."""
        starts, ends = tee(self.spans(longest))
        return chain(INSTANTS, (start for start, _ in starts)), chain(INSTANTS, (end for _, end in ends))


def _columns(draw: _Draw, rows: dict[str, int]) -> dict[str, list[Iterator[object]]]:
    """Each table's columns after the id: first the values that break loaders, then ordinary ones."""
    entities, documents, decisions = rows["memory_entities"], rows["raw_documents"], rows["decisions"]
    return {
        "memory_entities": [
            chain(_fitting(255), draw.of(ORGS)),
            chain(TEXTS, ["Long text 長い 😀\n" * 20_000], draw.prose(1, 3)),
            chain(JSONS, draw.sometimes(0.3, draw.metadata())),
            *draw.start_and_end(90 * 86_400),
        ],
        "memory_relations": [
            draw.ids(entities),
            draw.ids(entities),
            chain(_fitting(100), draw.of(RELATIONS)),
            chain(STRENGTHS, draw.amounts(0, 1)),
        ],
        "memory_tags": [draw.ids(entities), chain(_fitting(100), draw.of(TAGS))],
        "raw_documents": [
            chain(_fitting(255), draw.of(ORGS)),
            chain([None], _fitting(500), draw.sometimes(0.1, draw.prose(1, 1))),
            chain(TEXTS, ["Very long 長文 ✓ \\ \t'\"\r\n" * 60_000], draw.prose(7, 80, end="\n")),
            chain([None], _fitting(200), draw.sometimes(0.2, draw.of(CHANNELS))),
            draw.times(),
        ],
        "structured_facts": [
            chain(_fitting(255), draw.of(ORGS)),
            chain(_fitting(500), draw.prose(1, 1)),
            chain(_fitting(200), draw.of(PREDICATES)),
            chain(TEXTS, draw.prose(1, 2)),
            draw.sometimes(0.3, draw.ids(documents)),
        ],
        "decisions": [
            chain(_fitting(255), draw.of(ORGS)),
            chain(_fitting(500), draw.prose(1, 1)),
            chain([None], TEXTS, draw.sometimes(0.2, draw.prose(1, 6))),
            draw.times(),
        ],
        "evolution_kpis": [
            draw.ids(decisions),
            chain(_fitting(200), draw.of(KPIS)),
            chain(AMOUNTS, draw.amounts(-100_000, 100_000)),
            chain([None], AMOUNTS, draw.sometimes(0.2, draw.amounts(-100_000, 100_000))),
            draw.times(),
        ],
        "pal_focus_windows": [
            chain(_fitting(255), draw.of(USERS)),
            *draw.start_and_end(4 * 3_600),
            chain(_fitting(50), draw.of(PRIORITIES)),
        ],
        "pal_stress_levels": [
            chain(_fitting(255), draw.of(USERS)),
            chain(LEVELS, draw.of(range(11))),
            draw.times(),
        ],
    }


def _fill(connection: sqlite3.Connection, seed: int, rows: dict[str, int]) -> None:
    connection.executescript(SCHEMA.read_text("utf-8"))
    columns = _columns(_Draw(seed), rows)
    connection.execute("BEGIN")
    for table, count in rows.items():
        ids = map(_id, range(count + DELETED_TAIL))
        values = zip(ids, *columns[table], strict=False)  # the columns are endless: the ids, first, end it
        marks = ", ".join("?" * (1 + len(columns[table])))
        # The names are the keys of ROWS.
        connection.executemany(f"INSERT INTO {table} VALUES ({marks})", values)  # noqa: S608
        connection.execute(f"DELETE FROM {table} WHERE id > ?", [_id(count - 1)])  # noqa: S608
    connection.execute("COMMIT")


def make_sample(path: Path | str, *, seed: int = 1, scale: int = 1) -> dict[str, int]:
    """Write the sample database to a new file and return its rows per table.

    The same seed and scale give the same content. `scale` multiplies every table: 65 makes two million rows.
    The file appears whole or not at all. Raises FileExistsError if it exists already, or a journal beside it,
    which SQLite would replay into the new database.
    """
    path = Path(path)
    if scale < 1:
        raise ValueError(f"scale must be 1 or more, not {scale}")
    for taken in (path, *(path.with_name(path.name + end) for end in ("-wal", "-shm", "-journal"))):
        if taken.exists() or taken.is_symlink():
            raise FileExistsError(f"{taken} exists already: choose another path, or move that file away.")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"{path.parent} is not a folder: create it first, or choose another path.")
    rows = {table: count * scale for table, count in ROWS.items()}
    with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as folder:
        draft = Path(folder) / path.name
        connection = sqlite3.connect(draft, isolation_level=None)
        try:
            connection.execute("PRAGMA foreign_keys = ON")
            connection.execute("PRAGMA journal_mode = OFF")  # the draft is thrown away if anything fails
            _fill(connection, seed, rows)
            connection.execute("PRAGMA journal_mode = WAL")  # kept in the file, as the application leaves it
        finally:
            connection.close()
        draft.rename(path)
    return rows


def main(arguments: Sequence[str] | None = None) -> None:
    """The command `python -m widgettdc.sample`; ends with one sentence and status 2 where it cannot."""
    parser = argparse.ArgumentParser(prog="python -m widgettdc.sample", description=__doc__)
    parser.add_argument("path", type=Path, help="file to create; must not exist")
    parser.add_argument("--seed", type=int, default=1, help="same seed, same content (default 1)")
    parser.add_argument("--scale", type=int, default=1, help="times the usual 30,900 rows (default 1)")
    options = parser.parse_args(arguments)
    try:
        rows = make_sample(options.path, seed=options.seed, scale=options.scale)
    except (OSError, ValueError, sqlite3.Error) as error:
        print(error, file=sys.stderr)
        raise SystemExit(2) from error
    print(f"{options.path}: {sum(rows.values()):,} rows in {len(rows)} tables, seed {options.seed}")
    for table, count in rows.items():
        print(f"  {table:<18} {count:>10,}")


if __name__ == "__main__":
    main()
