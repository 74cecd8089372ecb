"""Transactions, tries again, the two ways to the database, and the errors that come out of them."""

import asyncio
import multiprocessing
import pickle
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import Decimal

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from sqlalchemy import text

from tests.conftest import Server
from widgettdc import errors
from widgettdc.database import AsyncDatabase, Database, Unit
from widgettdc.errors import (
    BadReference,
    Busy,
    Conflict,
    Invalid,
    NotFound,
    OutcomeUnknown,
    RolledBack,
    TimedOut,
    TooLong,
    Unavailable,
    WidgetTdcError,
)
from widgettdc.repository import NewFact

ORG, NOW = "org-001", datetime(2024, 2, 29, 12, tzinfo=UTC)


def texts(database: Database) -> list[str]:
    with database.reading() as unit:
        return [memory.text for memory in unit.memories.search(ORG, "").items]


def test_a_transaction_that_fails_leaves_nothing(database: Database) -> None:
    def work(unit: Unit) -> float:
        unit.memories.ingest(ORG, "x", tags=["a"])
        return unit.documents.ingest(ORG, "y").id / 0

    with pytest.raises(ZeroDivisionError):
        database.run(work)
    with database.reading() as unit:
        for table in ("memory_entities", "memory_tags", "raw_documents"):
            assert unit.connection.scalar(text(f"SELECT count(*) FROM {table}")) == 0


def test_others_see_a_transaction_only_when_it_is_committed(database: Database) -> None:
    with database.transaction() as unit:
        unit.memories.ingest(ORG, "x")
        assert texts(database) == []
    assert texts(database) == ["x"]


def passes_over(unit: Unit) -> None:
    unit.memories.ingest(ORG, "lost")
    with pytest.raises(WidgetTdcError):
        unit.connection.execute(text("SELECT 1/0"))


def test_a_failed_statement_that_was_passed_over_is_no_success(database: Database) -> None:
    """PostgreSQL answers the COMMIT of such a transaction with ROLLBACK, which is no error to the driver."""
    with pytest.raises(RolledBack, match="nothing was kept"):
        database.run(passes_over)
    assert texts(database) == []


def test_an_error_found_before_anything_is_sent_leaves_the_transaction_usable(database: Database) -> None:
    with database.transaction() as unit:
        with pytest.raises(TooLong):
            unit.memories.ingest("o" * 256, "x")
        unit.memories.ingest(ORG, "x")
    assert texts(database) == ["x"]


def test_reading_refuses_to_write(database: Database) -> None:
    with database.reading() as unit, pytest.raises(WidgetTdcError, match="read-only"):
        unit.memories.ingest(ORG, "x")
    assert texts(database) == []


def test_sessions_have_a_name_limits_and_what_the_connection_string_says(target_dsn: str) -> None:
    names = ("application_name", "timezone", "lock_timeout", "statement_timeout", "idle_in_transaction_session_timeout")
    shown = text("SELECT " + ", ".join(f"current_setting('{name}')" for name in names))
    for dsn, expected in [
        (target_dsn, ("widgettdc", "GMT", "5s", "30s", "1min")),
        (
            make_conninfo(target_dsn, application_name="mine", options="-c lock_timeout=7s"),
            ("mine", "GMT", "7s", "30s", "1min"),
        ),
    ]:
        database = Database(dsn)
        for each in (database.transaction(), database.reading()):
            with each as unit:
                assert tuple(unit.connection.execute(shown).one()) == expected
        database.close()


# Errors


@pytest.mark.parametrize(
    ("act", "told"),
    [
        (lambda u: u.memories.ingest("o" * 256, ""), "org_id: 256 characters, where 255 fit."),
        (lambda u: u.memories.ingest(ORG, "", tags=["ok", "😀" * 101]), "tag: 101 characters, where 100 fit."),
        (lambda u: u.documents.ingest(ORG, "", title="t" * 501), "title: 501 characters, where 500 fit."),
        (
            lambda u: u.focus_windows.add("u", NOW, NOW.replace(hour=13), "p" * 51),
            "priority: 51 characters, where 50 fit.",
        ),
        (lambda u: u.facts.add([NewFact(ORG, "s", "p" * 201, "o")]), "predicate: 201 characters, where 200 fit."),
        (lambda u: u.memories.ingest(ORG, "a\0b"), "text: a NUL, which"),
        (lambda u: u.memories.ingest(ORG, "a\ud800"), "text: '\\\\ud800' is a half of a surrogate pair"),
        (lambda u: u.memories.ingest(ORG, None), "text: a value is needed"),
        (lambda u: u.memories.ingest(ORG, b"x"), "text: a bytes is of no use here"),
        (lambda u: u.memories.update(1, text=None), "text: a value is needed"),
        (lambda u: u.memories.ingest(ORG, "", metadata={"a": "\0"}), "metadata: a NUL"),
        (lambda u: u.memories.ingest(ORG, "", metadata=["\ud800"]), "metadata: .* surrogate"),
        (lambda u: u.memories.ingest(ORG, "", metadata=float("nan")), "metadata: no JSON"),
        (lambda u: u.memories.ingest(ORG, "", metadata={"a": NOW}), "metadata: no JSON"),
        (lambda u: u.memories.ingest(ORG, "", metadata={1: "a"}), "metadata: read again, this JSON would be another"),
        (
            lambda u: u.memories.relate(1, 1, "x", strength=Decimal("0.666")),
            "strength: 0.666 is not a number of at most 3",
        ),
        (lambda u: u.memories.relate(1, 1, "x", strength=Decimal("10")), "strength: 10 is not"),
        (lambda u: u.memories.relate(1, 1, "x", strength=Decimal("NaN")), "strength: NaN is not"),
        (lambda u: u.memories.relate(1, 1, "x", strength=0.5), "strength: a float is of no use here"),
        (lambda u: u.memories.relate(2**31, 1, "x"), "source_id: 2147483648 is not a whole number"),
        (lambda u: u.stress_levels.record("u", 32768, NOW), "level: 32768 is not a whole number from -32768 to 32767"),
        (lambda u: u.stress_levels.record("u", True, NOW), "level: True is not a whole number"),
        (lambda u: u.stress_levels.record("u", 1, datetime(2024, 1, 1)), "measured_at: 2024-01-01 .* has no time zone"),  # noqa: DTZ001
        (lambda u: u.focus_windows.add("u", NOW, NOW, "p"), "end: .* does not come after"),
        # Those are the server's or the driver's words: a search has no column whose limits it could pass.
        (lambda u: u.memories.search(ORG, "a\0b"), "NUL"),
        (lambda u: u.memories.search(ORG, "\ud800"), "surrogate"),
        (lambda u: u.memories.get(2**40), "integer out of range"),
    ],
)
def test_a_value_that_fits_no_column_is_refused_by_name_and_nothing_is_kept(
    database: Database, act: Callable[[Unit], object], told: str
) -> None:
    with pytest.raises(Invalid, match=told), database.transaction() as unit:
        act(unit)
    with database.reading() as unit:
        for table in ("memory_entities", "memory_tags", "memory_relations", "raw_documents", "structured_facts"):
            assert unit.connection.scalar(text(f"SELECT count(*) FROM {table}")) == 0


def test_values_at_the_limits_are_kept_exactly(database: Database) -> None:
    with database.transaction() as unit:
        made = unit.memories.ingest("😀" * 255, "\\u0000 is no NUL", metadata={"a": "\\u0000"}, tags=["é" * 100])
        for strength in ("9.99", "-9.99", "0", "1.10", "1E-2"):
            unit.memories.relate(made.id, made.id, "x", strength=Decimal(strength))
        levels = [unit.stress_levels.record("u", level, NOW).level for level in (-32768, 32767)]
        read = unit.memories.locked(made.id)
    assert (read.org_id, read.text, read.metadata, read.tags) == (made.org_id, made.text, made.metadata, made.tags)
    assert [str(relation.strength) for relation in read.relations] == ["9.99", "-9.99", "0.00", "1.10", "0.01"]
    assert levels == [-32768, 32767]


def test_a_reference_to_what_is_not_there_is_refused_by_name_where_the_schema_declares_it_and_where_not(
    database: Database,
) -> None:
    with database.transaction() as unit:
        memory = unit.memories.ingest(ORG, "x").id
        refused: list[tuple[Callable[[], object], tuple[str, str, tuple[int, ...]]]] = [
            (lambda: unit.memories.relate(memory, 8, "x"), ("source_id, target_id", "memory_entities", (8,))),
            (lambda: unit.memories.relate(9, 8, "x"), ("source_id, target_id", "memory_entities", (8, 9))),
            (lambda: unit.facts.add([NewFact(ORG, "s", "p", "o", 7)]), ("doc_id", "raw_documents", (7,))),
            (lambda: unit.decisions.add_kpi(6, "k", Decimal(1), NOW), ("decision_id", "decisions", (6,))),
        ]
        for act, told in refused:
            with pytest.raises(BadReference) as caught:
                act()
            assert caught.value.args == told
    assert str(caught.value) == "decision_id: decisions has no row with id 6."


def test_a_foreign_key_that_the_server_refuses_is_named_by_its_column(database: Database) -> None:
    with pytest.raises(BadReference, match="entity_id: memory_entities has no row"), database.transaction() as unit:
        unit.connection.execute(text("INSERT INTO memory_tags (entity_id, tag) VALUES (7, 'x')"))


def test_a_row_that_is_referred_to_stays_until_the_end_of_the_transaction(database: Database) -> None:
    with database.transaction() as unit:
        first, second = (unit.memories.ingest(ORG, "x").id for _ in range(2))
    with database.transaction() as unit:
        unit.memories.relate(first, second, "causes")
        with pytest.raises(Busy), impatient(database) as other:
            other.memories.delete(second)  # target_id is no foreign key: nothing else would keep the row


@contextmanager
def impatient(database: Database) -> Iterator[Unit]:
    """A transaction that waits for no lock."""
    with database.transaction() as unit:
        unit.connection.execute(text("SET LOCAL lock_timeout = '50ms'"))
        yield unit


@pytest.mark.parametrize(
    ("sql", "error", "retryable"),
    [
        ("SET LOCAL statement_timeout = '20ms'\nSELECT pg_sleep(5)", TimedOut, False),
        ("DO $$ BEGIN RAISE SQLSTATE '40001'; END $$", Conflict, True),
        ("DO $$ BEGIN RAISE SQLSTATE '40P01'; END $$", Conflict, True),
        ("DO $$ BEGIN RAISE SQLSTATE '53300'; END $$", Unavailable, True),
        ("SELECT pg_terminate_backend(pg_backend_pid())", Unavailable, True),
        ("SELECT * FROM nowhere", WidgetTdcError, False),
        ("INSERT INTO memory_entities (org_id, text) VALUES ('o', 'x')", Invalid, False),
        ("INSERT INTO memory_tags (entity_id, tag) VALUES (1, repeat('x', 101))", Invalid, False),
    ],
)
def test_what_the_server_says_becomes_one_of_our_errors(
    database: Database, sql: str, error: type[WidgetTdcError], retryable: bool
) -> None:
    def work(unit: Unit) -> None:
        for statement in sql.split("\n"):
            unit.connection.execute(text(statement))

    with pytest.raises(WidgetTdcError) as caught:
        database.run(work, tries=1)
    assert type(caught.value) is error
    assert caught.value.retryable is retryable
    assert isinstance(caught.value.__cause__, psycopg.Error)
    assert texts(database) == []


def test_a_server_that_is_not_there_and_a_string_that_is_none_are_told_without_the_password(target_dsn: str) -> None:
    database = Database(make_conninfo(target_dsn, port=1, password="se%cret"))
    with pytest.raises(Unavailable) as caught, database.transaction() as unit:
        unit.memories.get(1)
    assert "cret" not in str(caught.value)
    with pytest.raises(Unavailable) as caught:
        Database("postgresql://user:se%25cret@host/db?schema=public")
    assert "cret" not in str(caught.value)


def test_a_full_pool_is_told_in_time(target_dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("widgettdc.database.POOL_SECONDS", 0.1)
    database = Database(target_dsn, pool_size=1)
    with database.transaction(), pytest.raises(Busy, match="No connection of the pool"), database.transaction():
        pass
    with database.transaction() as unit:
        assert unit.connection.scalar(text("SELECT 1")) == 1
    database.close()


@pytest.mark.parametrize(
    "error",
    [
        NotFound("decisions", 7),
        TooLong("org_id", 255, 256),
        BadReference("doc_id", "raw_documents", (1,)),
        Invalid("level", "no"),
        errors.Changed("memory_entities", 1),
        Conflict("x"),
    ],
)
def test_errors_travel_between_processes(error: WidgetTdcError) -> None:
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again), vars(again)) == (type(error), str(error), vars(error))


# Tries again


def test_a_transient_conflict_is_tried_again_from_the_beginning(database: Database) -> None:
    seen: list[str] = []

    def work(unit: Unit) -> str:
        seen.append(unit.memories.ingest(ORG, f"try {len(seen) + 1}").text)
        if len(seen) < 3:
            unit.connection.execute(text("DO $$ BEGIN RAISE SQLSTATE '40001'; END $$"))
        return seen[-1]

    assert database.run(work) == "try 3"
    assert texts(database) == ["try 3"]


def test_tries_are_bounded_and_what_cannot_pass_is_not_tried_again(database: Database) -> None:
    tries: list[str] = []

    def conflicting(unit: Unit) -> None:
        tries.append("conflict")
        unit.connection.execute(text("DO $$ BEGIN RAISE SQLSTATE '40P01'; END $$"))

    def missing(unit: Unit) -> None:
        tries.append("missing")
        unit.memories.delete(7)

    with pytest.raises(Conflict):
        database.run(conflicting, tries=3)
    with pytest.raises(NotFound):
        database.run(missing)
    assert tries == ["conflict"] * 3 + ["missing"]


def test_a_real_deadlock_of_two_callers_ends_with_both_done(database: Database) -> None:
    with database.transaction() as unit:
        ids = [unit.memories.ingest(ORG, "x", metadata=[]).id for _ in range(2)]
    both = threading.Barrier(2)

    def client(order: list[int]) -> None:
        first = True

        def work(unit: Unit) -> None:
            nonlocal first
            unit.memories.update(order[0], text="y")
            if first:
                first = False
                both.wait(5)
            unit.memories.update(order[1], text="y")

        database.run(work)

    clients = [threading.Thread(target=client, args=[order]) for order in (ids, ids[::-1])]
    for each in clients:
        each.start()
    for each in clients:
        each.join()
    assert texts(database) == ["y", "y"]


def test_run_gets_over_connections_that_were_lost_while_idle(database: Database, superuser: str) -> None:
    assert database.run(lambda unit: unit.memories.ingest(ORG, "x").text) == "x"
    assert texts(database) == ["x"]
    with psycopg.connect(superuser, autocommit=True) as admin:
        ended = admin.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        assert ended.fetchall() == [(True,), (True,)]
    assert database.run(lambda unit: unit.memories.ingest(ORG, "y").text) == "y"
    assert [m.text for m in database.run(lambda unit: unit.memories.search(ORG, ""), reading=True).items] == ["y", "x"]


def test_a_connection_that_breaks_in_the_commit_is_not_tried_again(database: Database, superuser: str) -> None:
    """It may have been committed: done again, it could happen twice."""
    tries: list[int] = []

    def work(unit: Unit) -> None:
        unit.memories.ingest(ORG, "x")
        tries.append(unit.connection.scalar(text("SELECT pg_backend_pid()")) or 0)
        with psycopg.connect(superuser, autocommit=True) as admin:
            admin.execute("SELECT pg_terminate_backend(%s, 5000)", tries[-1:])

    with pytest.raises(OutcomeUnknown, match="may have happened"):
        database.run(work)
    assert len(tries) == 1


@pytest.fixture
def superuser(target_dsn: str, postgres_server: Server) -> str:
    return make_conninfo(postgres_server.admin, dbname=str(conninfo_to_dict(target_dsn)["dbname"]))


# asyncio


def test_asyncio_has_the_same_operations_results_errors_and_tries(database: Database, target_dsn: str) -> None:
    async def work() -> None:
        other = AsyncDatabase(target_dsn)
        made = await other.run(lambda unit: unit.memories.ingest(ORG, "x", tags=["a"]))
        page = await other.run(lambda unit: unit.memories.search(ORG, "X"), reading=True)
        assert page.items == (made,)
        with pytest.raises(NotFound):
            await other.run(lambda unit: unit.memories.delete(made.id + 1))
        with pytest.raises(WidgetTdcError, match="read-only"):
            await other.run(lambda unit: unit.memories.delete(made.id), reading=True)
        with pytest.raises(RolledBack):
            await other.run(passes_over)
        tries: list[int] = []

        def conflicting(unit: Unit) -> int:
            tries.append(unit.memories.ingest(ORG, "y").id)
            if len(tries) < 3:
                unit.connection.execute(text("DO $$ BEGIN RAISE SQLSTATE '40001'; END $$"))
            return tries[-1]

        assert await other.run(conflicting) == tries[2]
        await other.close()

    asyncio.run(work())
    assert texts(database) == ["y", "x"]


def test_asyncio_waits_without_blocking_and_a_cancelled_transaction_leaves_nothing(
    database: Database, target_dsn: str
) -> None:
    def slow(unit: Unit) -> None:
        unit.memories.ingest(ORG, "lost")
        unit.connection.execute(text("SELECT pg_sleep(60)"))

    async def work() -> int:
        other = AsyncDatabase(target_dsn, pool_size=12)
        waiting = asyncio.create_task(other.run(slow))
        await asyncio.sleep(0.2)
        ids = await asyncio.gather(*(other.run(lambda unit: unit.memories.ingest(ORG, "x").id) for _ in range(10)))
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await other.close()
        return len(set(ids))

    assert asyncio.run(asyncio.wait_for(work(), 30)) == 10
    assert texts(database) == ["x"] * 10


def _ingest(dsn: str, name: str) -> str:
    database = Database(dsn)
    made = database.run(lambda unit: unit.memories.ingest(ORG, name).text)
    database.close()
    return made


def test_processes_each_have_their_database(database: Database, target_dsn: str) -> None:
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        assert pool.starmap(_ingest, [(target_dsn, "a"), (target_dsn, "b")]) == ["a", "b"]
    assert sorted(texts(database)) == ["a", "b"]
