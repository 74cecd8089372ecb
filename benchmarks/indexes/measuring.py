"""Measures searches in several ways, sets of indexes that could serve them, and what each index costs."""

import time
from collections.abc import Callable, Sequence
from functools import partial
from statistics import median
from typing import Any

import apsw
import psycopg
from psycopg import sql

from benchmarks.data_layer.application import LIMIT, Application, Memories
from benchmarks.data_layer.choosing import Chooser
from benchmarks.data_layer.operations import READS, Arguments, Operation
from benchmarks.data_layer.places import Places
from benchmarks.data_layer.single import AnswersDiffer
from benchmarks.data_layer.world import World
from benchmarks.indexes.measured import Answer, Candidate, Cost, Read, Search
from benchmarks.indexes.plans import Plan, Statement, explain, explain_for_any, statements
from widgettdc.database import Database, Unit
from widgettdc.repository import Memory, Page
from widgettdc.sample import ORGS

LARGEST, SMALLEST = ORGS[0], ORGS[-1]
LIKE, FTS5, BEFORE, AFTER, ANY = "SQLite", "SQLite, FTS5", "0001", "0002", "0002, planned for any text"
TIMES = 5
NEW_ROWS = 2_000
CALLS = 20
TRIGRAMS = "memory_entities_text_idx"

CANDIDATES = {
    "as migrated (0001)": (),
    "btree (org_id, created_at, id)": ("order",),
    "GIN (text)": ("text",),
    "GIN (org_id, text)": ("org_and_text",),
    "GiST (text)": ("gist",),
    "btree and GIN (text): **chosen, 0002**": ("order", "text"),
    "btree and GIN (org_id, text)": ("order", "org_and_text"),
}
_INDEXES = {
    "order": "CREATE INDEX candidate_order ON memory_entities (org_id, created_at, id)",
    "text": "CREATE INDEX candidate_text ON memory_entities USING gin (text gin_trgm_ops)",
    "org_and_text": "CREATE INDEX candidate_org_and_text ON memory_entities USING gin (org_id, text gin_trgm_ops)",
    "gist": "CREATE INDEX candidate_gist ON memory_entities USING gist (text gist_trgm_ops)",
}


def texts(world: World) -> dict[str, Callable[[str], str]]:
    """The texts that are searched for, given the organisation."""

    def rare(org: str) -> str:
        return next(world.ticket(n) for n in range(world.memories // 2, world.memories) if world.org(n) == org)

    return {
        "a word of three memories": rare,
        "part of a word, in 300": lambda _: "inc-00001",
        "a common word": lambda _: "agent",
        "a word of none": lambda _: "INC-9000001",
        "two letters of nearly all": lambda _: "en",
        "two letters of none": lambda _: "qx",
    }


class _WithTrigrams(Memories):
    """What SQLite has at its best: FTS5 with trigrams, which serve LIKE from three characters."""

    def __init__(self, connection: apsw.Connection) -> None:
        super().__init__(connection)
        connection.execute(
            "CREATE VIRTUAL TABLE memory_texts USING fts5(text, content='memory_entities', content_rowid='id',"
            " tokenize='trigram'); INSERT INTO memory_texts(memory_texts) VALUES ('rebuild')"
        )

    def search(self, org_id: str, text: str) -> Page[Memory]:
        found = (
            "SELECT id, org_id, text, metadata, created_at, updated_at FROM memory_entities WHERE org_id = ?"
            " AND id IN (SELECT rowid FROM memory_texts WHERE text LIKE ?) ORDER BY created_at DESC, id DESC LIMIT ?"
        )
        return Page(self._whole(found, org_id, f"%{text}%", LIMIT), None)


def measure_searches(world: World, places: Places) -> list[Search]:
    """Each search on SQLite and on PostgreSQL. Raises AnswersDiffer."""
    sqlite = Application(places.sqlite, synchronous="FULL")
    trigrams = _WithTrigrams(sqlite.connection)
    before, after = Database(places.baseline), Database(places.postgres)
    ways: dict[str, Callable[[str, str], tuple[Memory, ...]]] = {
        LIKE: lambda org, text: sqlite.memories.search(org, text).items,
        FTS5: lambda org, text: trigrams.search(org, text).items,
        BEFORE: partial(_search, before),
        AFTER: partial(_search, after),
    }
    found = []
    try:
        for org in (LARGEST, SMALLEST):
            ((rows,),) = trigrams.rows("SELECT count(*) FROM memory_entities WHERE org_id = ?", org)
            for what, text in texts(world).items():
                timed = {way: _timed(partial(act, org, text(org))) for way, act in ways.items()}
                ids = {way: tuple(memory.id for memory in result) for way, (_, result) in timed.items()}
                if len(set(ids.values())) != 1:
                    raise AnswersDiffer(f"{text(org)!r} of {org}: {ids}")
                plans = _plans(places, statement_of(after, org, text(org)), org, text(org))
                answers = {way: Answer(seconds * 1000, *_of(plans.get(way))) for way, (seconds, _) in timed.items()}
                answers[ANY] = Answer(plans[ANY].milliseconds or 0, *_of(plans[ANY]))
                found.append(Search(world.memories, what, rows, len(ids[AFTER]), answers))
    finally:
        sqlite.connection.close()
        before.close()
        after.close()
    return found


def _of(plan: Plan | None) -> tuple[int | None, str]:
    return (plan.pages, plan.words) if plan else (None, "")


def _search(database: Database, org: str, text: str) -> tuple[Memory, ...]:
    with database.reading() as unit:
        return unit.memories.search(org, text).items


def _timed(act: Callable[[], Any]) -> tuple[float, Any]:
    """The median of some calls, in seconds, and the result."""
    result, taken = act(), []
    for _ in range(TIMES):
        began = time.perf_counter()
        act()
        taken.append(time.perf_counter() - began)
    return median(taken), result


def statement_of(database: Database, org: str, text: str) -> Statement:
    """What the repository sends for a search."""
    with database.reading() as unit:
        return statements(unit, lambda unit: unit.memories.search(org, text))[0]


def for_any(statement: Statement, org: str, text: str) -> Statement:
    """The same search with its organisation and text as values, as other repositories would send it."""
    written = statement.text
    for name, value in (("org", org), ("text", f"%{text}%")):
        literal = "'" + value.replace("%", "%%") + "'"
        if written.count(literal) != 1:
            raise ValueError(f"{literal} does not stand once in {written}")
        written = written.replace(literal, f"%({name})s")
    return Statement(written, {**statement.values, "org": org, "text": f"%{text}%"})


def _plans(places: Places, statement: Statement, org: str, text: str) -> dict[str, Plan]:
    with psycopg.connect(places.baseline, autocommit=True) as connection:
        before = explain(connection, statement)
    with psycopg.connect(places.postgres, autocommit=True) as connection:
        after, by_any = explain(connection, statement), explain_for_any(connection, for_any(statement, org, text))
    return {BEFORE: before, AFTER: after, ANY: by_any}


def measure_candidates(world: World, places: Places) -> list[Candidate]:
    """Each set of indexes on the database as it was migrated, which gets them all and keeps none."""
    database = Database(places.baseline)
    wanted = {what: statement_of(database, LARGEST, text(LARGEST)) for what, text in texts(world).items()}
    database.close()
    with psycopg.connect(places.baseline, autocommit=True) as connection:
        connection.execute("CREATE EXTENSION pg_trgm; CREATE EXTENSION btree_gin")
        built = {name: _built(connection, name, definition) for name, definition in _INDEXES.items()}
        connection.execute("VACUUM ANALYZE memory_entities")
        found = []
        for title, names in CANDIDATES.items():
            with connection.transaction(force_rollback=True):
                for other in built.keys() - set(names):
                    connection.execute(sql.SQL("DROP INDEX {}").format(sql.Identifier(f"candidate_{other}")))
                pages = {what: explain(connection, each).pages or 0 for what, each in wanted.items()}
            sizes, seconds = (sum(built[name][place] for name in names) for place in (0, 1))
            found.append(Candidate(title, int(sizes), seconds, pages))
        for name in built:
            connection.execute(sql.SQL("DROP INDEX {}").format(sql.Identifier(f"candidate_{name}")))
    return found


def _built(connection: psycopg.Connection[Any], name: str, definition: str) -> tuple[int, float]:
    """Its bytes, and the seconds it took."""
    began = time.perf_counter()
    connection.execute(definition.encode())
    seconds = time.perf_counter() - began
    return _one(connection, "SELECT pg_relation_size(%s::regclass)", f"candidate_{name}"), seconds


def measure_costs(places: Places) -> list[Cost]:
    """Size of each index, and what it adds to a row: with it and without it, in turns, and rolled back."""
    listed = """
        SELECT c.relname, t.relname, pg_get_indexdef(c.oid, 0, true), pg_relation_size(c.oid), i.indisprimary
        FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_class t ON t.oid = i.indrelid
        WHERE t.relnamespace = 'public'::regnamespace AND t.relname <> 'alembic_version' ORDER BY 2, 5 DESC, 1"""
    found = []
    with psycopg.connect(places.postgres, autocommit=True) as connection:
        for index, table, definition, size, primary in connection.execute(listed.encode()).fetchall():
            rows = _one(connection, sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(table)))
            time_and_wal = (None, None) if primary else _added(connection, index, table)
            found.append(Cost(index, definition, size, rows, *time_and_wal))
    return found


def _added(connection: psycopg.Connection[Any], index: str, table: str) -> tuple[float, float]:
    """Microseconds and bytes of WAL that the index adds to one more row.

    The trigrams are away while another index is measured, since they cost many times as much.
    """
    away = [TRIGRAMS] if table == "memory_entities" and index != TRIGRAMS else []
    differences = []
    for _ in range(TIMES):
        (with_it, wal), (without, less) = (_inserted(connection, table, drop) for drop in (away, [*away, index]))
        differences.append(((with_it - without) * 1e6 / NEW_ROWS, (wal - less) / NEW_ROWS))
    return median(each for each, _ in differences), median(each for _, each in differences)


def _inserted(connection: psycopg.Connection[Any], table: str, drop: Sequence[str]) -> tuple[float, int]:
    """Seconds and bytes of WAL for copies of a table's newest rows, without some indexes; rolled back."""
    columns = connection.execute(
        "SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0 AND attname <> 'id'", (table,)
    ).fetchall()
    names = sql.SQL(", ").join(sql.Identifier(name) for (name,) in columns)
    copies = sql.SQL("INSERT INTO {table} ({names}) SELECT {names} FROM {table} ORDER BY id DESC LIMIT {rows}").format(
        table=sql.Identifier(table), names=names, rows=NEW_ROWS
    )
    with connection.transaction(force_rollback=True):
        for index in drop:
            connection.execute(sql.SQL("DROP INDEX {}").format(sql.Identifier(index)))
        wal = _one(connection, "SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn")
        began = time.perf_counter()
        connection.execute(copies)
        if table == "memory_entities" and TRIGRAMS not in drop:
            # A GIN index puts new entries aside at first; that it takes them in later belongs to its price.
            _one(connection, "SELECT gin_clean_pending_list(%s::regclass)", TRIGRAMS)
        seconds = time.perf_counter() - began
        return seconds, int(_one(connection, "SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn") - wal)


def measure_pending(places: Places) -> dict[str, tuple[float, float]]:
    """What trigrams add to a row with GIN's list of pending entries, and without."""
    found = {}
    with psycopg.connect(places.postgres, autocommit=True) as connection:
        for how in ("off", "on"):  # it stays on
            connection.execute(f"ALTER INDEX {TRIGRAMS} SET (fastupdate = {how})".encode())
            found[how] = _added(connection, TRIGRAMS, "memory_entities")
    return found


def measure_reads(world: World, places: Places) -> list[Read]:
    """Each reading operation before and after, planned for its own values and as a prepared statement for any."""
    database = Database(places.postgres)
    with (
        psycopg.connect(places.baseline, autocommit=True) as before,
        psycopg.connect(places.postgres, autocommit=True) as after,
        database.reading() as unit,
    ):
        found = []
        for operation in READS:
            chooser = Chooser(world, 1)
            pages: dict[str, int] = {}
            for _ in range(CALLS):
                act = partial(_do, operation, operation.draw(chooser))
                (statement,) = statements(unit, act)
                for side, connection in ((BEFORE, before), (AFTER, after)):
                    for way, plan in ((side, explain), (f"{side}, for any", explain_for_any)):
                        pages[way] = max(pages.get(way, 0), plan(connection, statement).pages or 0)
            found.append(Read(operation.name, explain(after, statement).words, pages))
    database.close()
    return found


def _do(operation: Operation, arguments: Arguments, unit: Unit) -> object:
    given, named = arguments
    return operation.act(unit, *given, **named)


def _one(connection: psycopg.Connection[Any], query: Any, *values: object) -> Any:
    return connection.execute(query, values or None).fetchall()[0][0]
