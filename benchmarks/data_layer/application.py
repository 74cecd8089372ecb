"""The application as it was: the repositories' operations on SQLite, one prepared statement for each purpose.

A fair opponent. It runs inside the process, on the newest SQLite, with the settings of better-sqlite3 (WAL, foreign
keys, five seconds of patience with locks) and as much cache as PostgreSQL has. What belongs to a page of memories is
read by one more statement for all tags and one for all relations. The records are those of the repositories, so that
answers can be compared as they are; it checks no values before it writes them, as the repositories do.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeVar

import apsw

from benchmarks.data_layer.world import shown
from widgettdc.errors import NotFound
from widgettdc.repository import (
    Decision,
    Document,
    Fact,
    FocusWindow,
    Json,
    Kpi,
    Memory,
    NewFact,
    Page,
    Relation,
    Source,
    StressLevel,
)

T = TypeVar("T")

LIMIT = 50
CACHE_KIB = 256 * 1024
PATIENCE_MS = 5_000

_MEMORY = "SELECT id, org_id, text, metadata, created_at, updated_at FROM memory_entities"
_NEWEST = "ORDER BY created_at DESC, id DESC LIMIT ?"
_TAGS = "SELECT entity_id, tag FROM memory_tags WHERE entity_id IN (SELECT value FROM json_each(?)) ORDER BY id"
_RELATIONS = (
    "SELECT source_id, id, target_id, relation_type, strength FROM memory_relations"
    " WHERE source_id IN (SELECT value FROM json_each(?)) ORDER BY id"
)


class Application:
    """One connection, as each thread or process of the application has one.

    `begin` opens its transactions. `synchronous` is SQLite's: FULL has each commit on the disk when it returns; with
    NORMAL, better-sqlite3's own setting, the last commits may be lost when the power fails.
    """

    def __init__(self, path: Path, *, synchronous: str, begin: str = "BEGIN IMMEDIATE") -> None:
        self.connection = apsw.Connection(str(path))
        self.connection.set_busy_timeout(PATIENCE_MS)
        self.connection.execute(
            f"PRAGMA foreign_keys = ON; PRAGMA synchronous = {synchronous}; PRAGMA cache_size = -{CACHE_KIB}"
        )
        self._begin = begin
        self.memories = Memories(self.connection)
        self.documents = Documents(self.connection)
        self.facts = Facts(self.connection)
        self.decisions = Decisions(self.connection)
        self.focus_windows = FocusWindows(self.connection)
        self.stress_levels = StressLevels(self.connection)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        self.connection.execute(self._begin)
        try:
            yield
            self.connection.execute("COMMIT")
        except BaseException:
            if self.connection.in_transaction:
                self.connection.execute("ROLLBACK")
            raise


@dataclass(frozen=True)
class Part:
    """What the application does with some of the tables."""

    connection: apsw.Connection

    def rows(self, statement: str, *values: Any) -> list[Any]:
        return list(self.connection.execute(statement, values))

    def row_of(self, table: str, number: int, statement: str, *values: Any) -> Any:
        """The statement's row; NotFound where there is none, which means that the table has no row of this number."""
        rows = self.rows(statement, *values)
        if not rows:
            raise NotFound(table, number)
        return rows[0]


class Memories(Part):
    def ingest(self, org_id: str, text: str, *, metadata: Json = None, tags: Sequence[str] = ()) -> Memory:
        made, created, updated = self.rows(
            "INSERT INTO memory_entities (org_id, text, metadata) VALUES (?, ?, ?)"
            " RETURNING id, created_at, updated_at",
            org_id,
            text,
            _json(metadata),
        )[0]
        rows = [(made, tag) for tag in tags]
        self.connection.executemany("INSERT INTO memory_tags (entity_id, tag) VALUES (?, ?)", rows)
        return Memory(made, org_id, text, metadata, _time(created), _time(updated), tuple(tags), ())

    def relate(self, source_id: int, target_id: int, relation_type: str, *, strength: Decimal) -> int:
        for end in (source_id, target_id):
            self.row_of("memory_entities", end, "SELECT 1 FROM memory_entities WHERE id = ?", end)
        made: int = self.rows(
            "INSERT INTO memory_relations (source_id, target_id, relation_type, strength) VALUES (?, ?, ?, ?)"
            " RETURNING id",
            source_id,
            target_id,
            relation_type,
            float(strength),
        )[0][0]
        return made

    def get(self, memory_id: int) -> Memory | None:
        return _one(self._whole(f"{_MEMORY} WHERE id = ?", memory_id))

    def locked(self, memory_id: int) -> Memory:
        """To be changed in this transaction, which is the only one that writes."""
        memory = self.get(memory_id)
        if memory is None:
            raise NotFound("memory_entities", memory_id)
        return memory

    def search(self, org_id: str, text: str) -> Page[Memory]:
        literal = text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
        found = f"{_MEMORY} WHERE org_id = ? AND text LIKE ? ESCAPE '\\' {_NEWEST}"
        return Page(self._whole(found, org_id, f"%{literal}%", LIMIT), None)

    def with_relations(self, org_id: str) -> Page[Memory]:
        return Page(self._whole(f"{_MEMORY} WHERE org_id = ? {_NEWEST}", org_id, LIMIT), None)

    def update(self, memory_id: int, *, text: str | None = None, metadata: Json = None) -> Memory:
        """Change one of the two."""
        column, value = ("metadata", _json(metadata)) if text is None else ("text", text)
        change = f"UPDATE memory_entities SET {column} = ?, updated_at = CURRENT_TIMESTAMP WHERE id = ? RETURNING id"  # noqa: S608
        self.row_of("memory_entities", memory_id, change, value, memory_id)
        return self.locked(memory_id)

    def delete(self, memory_id: int) -> None:
        delete = "DELETE FROM memory_entities WHERE id = ? RETURNING id"
        self.row_of("memory_entities", memory_id, delete, memory_id)

    def _whole(self, statement: str, *values: Any) -> tuple[Memory, ...]:
        """The memories that a statement finds, with their tags and relations."""
        rows = self.rows(statement, *values)
        if not rows:
            return ()
        ids = json.dumps([row[0] for row in rows])
        tags: dict[int, list[str]] = {row[0]: [] for row in rows}
        relations: dict[int, list[Relation]] = {row[0]: [] for row in rows}
        sources = {row[0]: Source(row[0], row[2]) for row in rows}
        for memory, tag in self.rows(_TAGS, ids):
            tags[memory].append(tag)
        for memory, number, target, kind, strength in self.rows(_RELATIONS, ids):
            relations[memory].append(Relation(number, sources[memory], target, kind, _exact(strength)))
        return tuple(
            Memory(
                number,
                org,
                text,
                None if metadata is None else json.loads(metadata),
                _time(created),
                _time(updated),
                tuple(tags[number]),
                tuple(relations[number]),
            )
            for number, org, text, metadata, created, updated in rows
        )


class Documents(Part):
    def ingest(self, org_id: str, content: str, *, title: str, source: str) -> Document:
        insert = "INSERT INTO raw_documents (org_id, title, content, source) VALUES (?, ?, ?, ?) RETURNING *"
        return _document(*self.rows(insert, org_id, title, content, source)[0])

    def get(self, document_id: int) -> Document | None:
        return _one([_document(*row) for row in self.rows("SELECT * FROM raw_documents WHERE id = ?", document_id)])

    def of_organisation(self, org_id: str) -> Page[Document]:
        found = "SELECT * FROM raw_documents WHERE org_id = ? ORDER BY ingested_at DESC, id DESC LIMIT ?"
        return Page(tuple(_document(*row) for row in self.rows(found, org_id, LIMIT)), None)


def _document(number: int, org_id: str, title: str, content: str, source: str, ingested: str) -> Document:
    return Document(number, org_id, title, content, source, _time(ingested))


class Facts(Part):
    def add(self, facts: Sequence[NewFact]) -> tuple[Fact, ...]:
        for document in {fact.doc_id for fact in facts if fact.doc_id is not None}:
            self.row_of("raw_documents", document, "SELECT 1 FROM raw_documents WHERE id = ?", document)
        insert = (
            "INSERT INTO structured_facts (org_id, subject, predicate, object, doc_id) VALUES (?, ?, ?, ?, ?)"
            " RETURNING *"
        )
        values = [(fact.org_id, fact.subject, fact.predicate, fact.object, fact.doc_id) for fact in facts]
        return _facts(self.connection.executemany(insert, values))

    def about(self, org_id: str, subject: str) -> Page[Fact]:
        found = "SELECT * FROM structured_facts WHERE org_id = ? AND subject = ? ORDER BY id LIMIT ?"
        return Page(_facts(self.rows(found, org_id, subject, LIMIT)), None)

    def of_document(self, document_id: int) -> Page[Fact]:
        found = "SELECT * FROM structured_facts WHERE doc_id = ? ORDER BY id LIMIT ?"
        return Page(_facts(self.rows(found, document_id, LIMIT)), None)


def _facts(rows: Iterable[Any]) -> tuple[Fact, ...]:
    return tuple(Fact(*row[1:], id=row[0]) for row in rows)


class Decisions(Part):
    def record(self, org_id: str, title: str, made_at: datetime, *, description: str) -> Decision:
        insert = "INSERT INTO decisions (org_id, title, description, made_at) VALUES (?, ?, ?, ?) RETURNING id"
        made = self.rows(insert, org_id, title, description, shown(made_at))[0][0]
        return Decision(made, org_id, title, description, made_at, ())

    def add_kpi(self, decision_id: int, kpi_name: str, expected_value: Decimal, measured_at: datetime) -> Kpi:
        self.row_of("decisions", decision_id, "SELECT 1 FROM decisions WHERE id = ?", decision_id)
        insert = (
            "INSERT INTO evolution_kpis (decision_id, kpi_name, expected_value, measured_at) VALUES (?, ?, ?, ?)"
            " RETURNING *"
        )
        return _kpi(*self.rows(insert, decision_id, kpi_name, float(expected_value), shown(measured_at))[0])

    def measure(self, kpi_id: int, actual_value: Decimal, measured_at: datetime) -> Kpi:
        change = "UPDATE evolution_kpis SET actual_value = ?, measured_at = ? WHERE id = ? RETURNING *"
        return _kpi(*self.row_of("evolution_kpis", kpi_id, change, float(actual_value), shown(measured_at), kpi_id))

    def get(self, decision_id: int) -> Decision | None:
        return _one(self._whole("SELECT * FROM decisions WHERE id = ?", decision_id))

    def of_organisation(self, org_id: str) -> Page[Decision]:
        found = "SELECT * FROM decisions WHERE org_id = ? ORDER BY made_at DESC, id DESC LIMIT ?"
        return Page(self._whole(found, org_id, LIMIT), None)

    def _whole(self, statement: str, *values: Any) -> tuple[Decision, ...]:
        """The decisions that a statement finds, with their KPIs."""
        rows = self.rows(statement, *values)
        kpis: dict[int, list[Kpi]] = {row[0]: [] for row in rows}
        of_them = "SELECT * FROM evolution_kpis WHERE decision_id IN (SELECT value FROM json_each(?)) ORDER BY id"
        for row in self.rows(of_them, json.dumps(list(kpis))):
            kpis[row[1]].append(_kpi(*row))
        return tuple(
            Decision(number, org, title, description, _time(made), tuple(kpis[number]))
            for number, org, title, description, made in rows
        )


def _kpi(number: int, decision: int, name: str, expected: float, actual: float | None, measured: str) -> Kpi:
    return Kpi(number, decision, name, _exact(expected), None if actual is None else _exact(actual), _time(measured))


class FocusWindows(Part):
    def add(self, user_id: str, start_time: datetime, end_time: datetime, priority: str) -> FocusWindow:
        insert = (
            "INSERT INTO pal_focus_windows (user_id, start_time, end_time, priority) VALUES (?, ?, ?, ?) RETURNING *"
        )
        return _window(*self.rows(insert, user_id, shown(start_time), shown(end_time), priority)[0])

    def overlapping(self, user_id: str, start: datetime, end: datetime) -> Page[FocusWindow]:
        found = (
            "SELECT * FROM pal_focus_windows WHERE user_id = ? AND start_time < ? AND end_time > ?"
            " ORDER BY start_time, id LIMIT ?"
        )
        return Page(tuple(_window(*row) for row in self.rows(found, user_id, shown(end), shown(start), LIMIT)), None)


def _window(number: int, user_id: str, start: str, end: str, priority: str) -> FocusWindow:
    return FocusWindow(number, user_id, _time(start), _time(end), priority)


class StressLevels(Part):
    def record(self, user_id: str, level: int, measured_at: datetime) -> StressLevel:
        insert = "INSERT INTO pal_stress_levels (user_id, level, measured_at) VALUES (?, ?, ?) RETURNING *"
        return _level(*self.rows(insert, user_id, level, shown(measured_at))[0])

    def series(self, user_id: str, start: datetime, end: datetime) -> Page[StressLevel]:
        found = f"SELECT * {_MEASURED} ORDER BY measured_at, id LIMIT ?"
        return Page(tuple(_level(*row) for row in self.rows(found, user_id, shown(start), shown(end), LIMIT)), None)

    def average(self, user_id: str, start: datetime, end: datetime) -> float | None:
        average: float | None = self.rows(f"SELECT avg(level) {_MEASURED}", user_id, shown(start), shown(end))[0][0]
        return average


_MEASURED = "FROM pal_stress_levels WHERE user_id = ? AND measured_at >= ? AND measured_at < ?"


def _level(number: int, user_id: str, level: int, measured: str) -> StressLevel:
    return StressLevel(number, user_id, level, _time(measured))


def _one(found: Sequence[T]) -> T | None:
    return found[0] if found else None


def _json(value: Json) -> str | None:
    return None if value is None else json.dumps(value, ensure_ascii=False)


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def _exact(number: float) -> Decimal:
    """A REAL with two digits after the point, as PostgreSQL's NUMERIC has it."""
    return Decimal(f"{number:.2f}")
