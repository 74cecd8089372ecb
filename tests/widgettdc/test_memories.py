"""What the application does with memories, on the real PostgreSQL."""

import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from sqlalchemy import text
from sqlalchemy.dialects.postgresql import JSONB

from tests.widgettdc.conftest import statements
from widgettdc.database import Database, Unit
from widgettdc.errors import BadReference, Changed, Invalid, NotFound
from widgettdc.repository import MAX_LIMIT, Json, Memory, Page, Source

ORG = "org-001"


def ingest(database: Database, *texts: str, org: str = ORG) -> list[int]:
    """Memories of one transaction, so that all have the same created_at; their ids."""
    with database.transaction() as unit:
        return [unit.memories.ingest(org, each).id for each in texts]


def found(database: Database, query: str, org: str = ORG) -> list[str]:
    with database.reading() as unit:
        return [memory.text for memory in unit.memories.search(org, query).items]


def everything(ask: Callable[[str | None], Page[Memory]]) -> list[list[int]]:
    """The ids page by page."""
    pages, after = [], None
    while True:
        page = ask(after)
        pages.append([memory.id for memory in page.items])
        after = page.next
        if after is None:
            return pages


def test_a_memory_is_read_as_it_was_ingested(database: Database) -> None:
    metadata: Json = {"æ": [1, 2.5, None, "\u2028"], "nested": {"deep": True}}
    with database.transaction() as unit:
        made = unit.memories.ingest(ORG, "blåbærgrød", metadata=metadata, tags=["b", "a", "b"])
    with database.reading() as unit:
        assert unit.memories.get(made.id) == made
    assert (made.org_id, made.text, made.metadata) == (ORG, "blåbærgrød", metadata)
    assert (made.tags, made.relations) == (("b", "a", "b"), ())
    assert made.created_at == made.updated_at
    assert made.created_at.utcoffset() == timedelta(0)


def test_no_metadata_is_null_and_the_json_value_null_can_be_asked_for(database: Database) -> None:
    with database.transaction() as unit:
        values: list[Json] = [None, JSONB.NULL, []]
        ids = [unit.memories.ingest(ORG, "", metadata=value).id for value in values]
        stored = unit.connection.scalars(text("SELECT metadata::text FROM memory_entities ORDER BY id")).all()
        read = [memory.metadata for memory in map(unit.memories.locked, ids)]
    assert stored == [None, "null", "[]"]
    assert read == [None, None, []]


def test_what_is_not_there_is_none_when_read_and_an_error_when_changed(database: Database) -> None:
    with database.transaction() as unit:
        assert unit.memories.get(7) is None
        for act in (unit.memories.locked, unit.memories.update, unit.memories.delete):
            with pytest.raises(NotFound, match="memory_entities has no row with id 7") as caught:
                act(7)
            assert (caught.value.table, caught.value.row_id) == ("memory_entities", 7)


def test_relations_carry_their_source_and_an_exact_strength(database: Database) -> None:
    first, second = ingest(database, "first", "second")
    with database.transaction() as unit:
        related = unit.memories.relate(first, second, "causes", strength=Decimal("0.57"))
        unit.memories.relate(first, first, "self")
    with database.reading() as unit:
        memories = {memory.id: memory for memory in unit.memories.with_relations(ORG).items}
    causes, itself = memories[first].relations
    assert (causes.id, causes.source, causes.target_id) == (related, Source(first, "first"), second)
    assert (causes.relation_type, causes.strength, itself.strength) == ("causes", Decimal("0.57"), Decimal("1.00"))
    assert memories[second].relations == ()


@pytest.mark.parametrize(
    ("query", "texts"),
    [
        ("BLÅBÆR", ["blåbærgrød"]),
        ("ГРАД", ["град"]),
        ("100%", ["100% sure"]),
        ("%", ["100% sure"]),
        ("a_b", ["a_b"]),
        ("\\", ["back\\slash"]),
        ("\\%", []),
        ("x'); DROP TABLE memory_entities; --", []),
        ("istanbul", ["İSTANBUL"]),
        ("İstanbul", ["İSTANBUL"]),
        ("STRASSE", []),  # upper and lower case are matched character by character: ß has no single capital in use
        ("straße", ["STRAßE"]),
        ("\U0001fae0", ["melting 🫠"]),
        ("absent", []),
        (" ", ["100% sure", "melting 🫠"]),
    ],
)
def test_search_is_a_literal_substring_in_any_case(database: Database, query: str, texts: list[str]) -> None:
    ingest(database, "blåbærgrød", "град", "100% sure", "a_b", "aXb", "back\\slash", "İSTANBUL", "STRAßE", "melting 🫠")
    assert sorted(found(database, query)) == texts


def test_search_stays_within_the_organisation_and_an_empty_text_finds_all(database: Database) -> None:
    ingest(database, "one", "two")
    ingest(database, "three", org="org-002")
    assert found(database, "") == ["two", "one"]
    assert found(database, "three") == []
    assert found(database, "THREE", "org-002") == ["three"]


def test_pages_go_newest_first_and_lose_and_repeat_nothing_among_equal_times(database: Database) -> None:
    ids = ingest(database, *["tie"] * 7)
    ids += [ingest(database, "tie")[0] for _ in range(3)]
    with database.reading() as unit:
        pages = everything(lambda after: unit.memories.search(ORG, "TIE", limit=3, after=after))
        whole = everything(lambda after: unit.memories.with_relations(ORG, limit=10, after=after))
    assert [len(page) for page in pages] == [3, 3, 3, 1]
    assert sum(pages, []) == ids[::-1]
    assert whole == [ids[::-1]]  # a page that is just full has no next


def test_what_is_made_meanwhile_shifts_no_page(database: Database) -> None:
    ids = ingest(database, *["x"] * 4)
    with database.reading() as unit:
        first = unit.memories.search(ORG, "x", limit=2)
        ingest(database, "x newer")
        rest = unit.memories.search(ORG, "x", limit=2, after=first.next)
    assert [memory.id for memory in (*first.items, *rest.items)] == ids[::-1]


def test_pages_reach_times_before_1970_and_keep_microseconds(database: Database) -> None:
    ingest(database, "a", "b", "c")
    with database.transaction() as unit:
        unit.connection.execute(
            text(
                "UPDATE memory_entities SET created_at = '1969-12-31 23:59:59.999999+00'::timestamptz - id * '1us'::interval"
            )
        )
    with database.reading() as unit:
        assert everything(lambda after: unit.memories.search(ORG, "", limit=1, after=after)) == [[1], [2], [3]]


@pytest.mark.parametrize("limit", [0, -1, MAX_LIMIT + 1])
def test_a_limit_out_of_bounds_is_refused(database: Database, limit: int) -> None:
    with database.reading() as unit, pytest.raises(Invalid, match=f"limit: {limit} is not from 1 to {MAX_LIMIT}"):
        unit.memories.search(ORG, "x", limit=limit)


@pytest.mark.parametrize("after", ["", "x", "1", "1.2.3", "1.x", "9" * 30 + ".1", "'; DROP TABLE x"])
def test_an_after_that_no_page_gave_is_refused(database: Database, after: str) -> None:
    with database.reading() as unit, pytest.raises(Invalid, match="after"):
        unit.memories.search(ORG, "x", after=after)


def test_an_update_changes_what_is_given_and_leaves_the_rest(database: Database) -> None:
    with database.transaction() as unit:
        made = unit.memories.ingest(ORG, "first", metadata={"a": 1}, tags=["t"])
        unit.memories.relate(made.id, made.id, "self")
    with database.transaction() as unit:
        retold = unit.memories.update(made.id, text="second")
        assert (retold.text, retold.metadata, retold.tags) == ("second", {"a": 1}, ("t",))
        assert retold.relations[0].source == Source(made.id, "second")
        cleared = unit.memories.update(made.id, metadata=None)
        assert (cleared.text, cleared.metadata) == ("second", None)
        touched = unit.memories.update(made.id)
    assert made.updated_at < retold.updated_at < cleared.updated_at < touched.updated_at
    assert touched.created_at == made.created_at
    with database.reading() as unit:
        assert unit.memories.get(made.id) == touched


def test_updated_at_moves_on_even_from_a_time_that_has_not_come_yet(database: Database) -> None:
    (memory,) = ingest(database, "x")
    with database.transaction() as unit:
        unit.connection.execute(text("UPDATE memory_entities SET updated_at = '2999-01-01 00:00:00+00'"))
        assert unit.memories.update(memory).updated_at == datetime(2999, 1, 1, 0, 0, 0, 1, UTC)


def test_a_value_read_earlier_is_written_only_over_what_was_read(database: Database) -> None:
    (memory_id,) = ingest(database, "x")
    with database.reading() as unit:
        seen = unit.memories.get(memory_id)
    assert seen is not None
    with database.transaction() as unit:
        unit.memories.update(memory_id, text="mine", if_unchanged_since=seen.updated_at)
    with database.transaction() as unit:
        with pytest.raises(Changed, match=f"memory_entities {memory_id} was changed"):
            unit.memories.update(memory_id, text="theirs", if_unchanged_since=seen.updated_at)
        with pytest.raises(NotFound):
            unit.memories.update(memory_id + 1, text="theirs", if_unchanged_since=seen.updated_at)
        with pytest.raises(Invalid, match="if_unchanged_since"):
            unit.memories.update(memory_id, text="theirs", if_unchanged_since=seen.updated_at.replace(tzinfo=None))
    assert found(database, "") == ["mine"]


def test_counting_under_a_lock_loses_no_update(database: Database) -> None:
    with database.transaction() as unit:
        memory_id = unit.memories.ingest(ORG, "counter", metadata={"n": 0}).id

    def count(unit: Unit) -> None:
        metadata = unit.memories.locked(memory_id).metadata
        assert isinstance(metadata, dict)
        assert isinstance(metadata["n"], int)
        unit.memories.update(memory_id, metadata={"n": metadata["n"] + 1})

    def client() -> None:
        for _ in range(20):
            database.run(count)

    clients = [threading.Thread(target=client) for _ in range(6)]
    for each in clients:
        each.start()
    for each in clients:
        each.join()
    with database.reading() as unit:
        memory = unit.memories.get(memory_id)
    assert memory is not None
    assert memory.metadata == {"n": 120}


def test_what_is_locked_shows_what_was_committed_while_it_waited(database: Database) -> None:
    """A row that was waited for is read anew by PostgreSQL, other tables of the same statement are not."""
    (memory_id,) = ingest(database, "x")
    begun, seen = threading.Event(), list[Memory]()

    def waiting() -> None:
        with database.transaction() as unit:
            begun.set()
            seen.append(unit.memories.locked(memory_id))

    with database.transaction() as unit:
        unit.memories.locked(memory_id)
        thread = threading.Thread(target=waiting)
        thread.start()
        begun.wait(5)
        wait_for_lock(unit)
        unit.memories.update(memory_id, text="y")
        unit.memories.relate(memory_id, memory_id, "self")
    thread.join()
    assert (seen[0].text, len(seen[0].relations)) == ("y", 1)


@pytest.mark.parametrize(
    "act",
    [
        lambda unit: unit.memories.delete_many([2, 1]),
        lambda unit: unit.memories.relate(2, 1, "causes"),
    ],
)
def test_rows_are_locked_in_the_order_of_their_ids_whatever_their_order_on_disk(
    database: Database, act: Callable[[Unit], object]
) -> None:
    ingest(database, "one", "two")
    database.run(lambda unit: unit.memories.update(1, text="moved behind two"))
    with database.transaction() as unit:
        unit.memories.delete(1)
        thread = threading.Thread(target=_tolerating_a_missing_row, args=[database, act])
        thread.start()
        wait_for_lock(unit)
        with database.transaction() as other:
            other.connection.execute(text("SELECT 1 FROM memory_entities WHERE id = 2 FOR UPDATE NOWAIT"))
    thread.join()


def _tolerating_a_missing_row(database: Database, act: Callable[[Unit], object]) -> None:
    with suppress(BadReference):
        database.run(act)


def wait_for_lock(unit: Unit) -> None:
    """Until another connection waits for a lock."""
    waiting = text(
        "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    )
    for _ in range(500):
        if unit.connection.execute(waiting).scalar_one():
            return
        unit.connection.execute(text("SELECT pg_stat_clear_snapshot(), pg_sleep(0.01)"))
    raise AssertionError("nobody waits")


def test_deleting_takes_tags_and_relations_along_and_leaves_relations_to_it(database: Database) -> None:
    kept, gone = ingest(database, "kept", "gone")
    with database.transaction() as unit:
        tagged = unit.memories.ingest(ORG, "tagged", tags=["a", "b"]).id
        unit.memories.relate(gone, kept, "causes")
        pointing = unit.memories.relate(kept, gone, "causes")
    with database.transaction() as unit:
        unit.memories.delete(gone)
        assert unit.memories.delete_many([tagged, tagged, 999]) == 1
        assert unit.memories.delete_many([]) == 0
    with database.reading() as unit:
        assert [memory.id for memory in unit.memories.search(ORG, "").items] == [kept]
        assert unit.connection.scalars(text("SELECT id FROM memory_relations")).all() == [pointing]
        assert unit.connection.scalars(text("SELECT count(*) FROM memory_tags")).all() == [0]


def test_deletes_of_the_same_rows_in_any_order_wait_for_each_other_and_never_deadlock(database: Database) -> None:
    deleted: list[int] = []

    def client(ids: list[int]) -> None:
        with database.transaction() as unit:  # not `run`, which would get over a deadlock
            deleted.append(unit.memories.delete_many(ids))

    for _ in range(10):
        ids = ingest(database, *["x"] * 30)
        deleted.clear()
        clients = [threading.Thread(target=client, args=[order]) for order in (ids, ids[::-1], ids[::3], ids[::-2])]
        for each in clients:
            each.start()
        for each in clients:
            each.join()
        assert (len(deleted), sum(deleted)) == (4, 30)


@pytest.mark.parametrize("results", [1, 10, 100])
def test_the_number_of_statements_does_not_grow_with_the_results(database: Database, results: int) -> None:
    with database.transaction() as unit:
        for _ in range(results):
            made = unit.memories.ingest(ORG, "x", tags=["a", "b", "c"])
            unit.memories.relate(made.id, made.id, "self")
    with database.reading() as unit, statements(database) as sent:
        pages = [unit.memories.search(ORG, "X", limit=100), unit.memories.with_relations(ORG, limit=100)]
        assert [len(memory.tags) + len(memory.relations) for memory in pages[0].items] == [4] * results
        assert pages[0] == pages[1]
    assert len(sent) == 2


@pytest.mark.parametrize("tags", [1, 10, 100])
def test_the_number_of_statements_does_not_grow_with_what_is_written(database: Database, tags: int) -> None:
    with database.transaction() as unit, statements(database) as sent:
        ids = [unit.memories.ingest(ORG, "x", tags=["t"] * tags).id for _ in range(2)]
        unit.memories.delete_many(ids * tags)
    assert len(sent) == 5
