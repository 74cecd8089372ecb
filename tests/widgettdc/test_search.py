"""A search has the plan that suits its own organisation and text, whatever was searched before, and takes any text."""

from collections.abc import Iterator

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from benchmarks.indexes.plans import explain, explain_for_any, statements
from widgettdc.database import Database
from widgettdc.errors import Invalid, TooLong
from widgettdc.schema.commands import upgrade

ORG, SMALL = "org-001", "org-002"
FILL = """
    INSERT INTO memory_entities (org_id, text, created_at, updated_at)
    SELECT CASE WHEN n %% 200 = 0 THEN %s ELSE %s END, concat_ws(' ', 'common words of memory', n, md5(n::text)),
        timestamptz '2024-01-01Z' + n * interval '1 minute', now()
    FROM generate_series(1, 20000) n"""
TRIGRAMS, NEWEST = "memory_entities_text_idx", "memory_entities_org_id_created_at_id_idx"
MD5_OF_123 = "202cb962ac59"


@pytest.fixture
def dsn(target_dsn: str) -> str:
    upgrade(target_dsn)
    return target_dsn


@pytest.fixture
def connection(dsn: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(dsn, autocommit=True) as connection:
        yield connection


@pytest.fixture
def full(dsn: str, connection: psycopg.Connection) -> Iterator[Database]:
    connection.execute(FILL, (SMALL, ORG))
    connection.execute("VACUUM ANALYZE memory_entities")
    database = Database(dsn)
    yield database
    database.close()


@pytest.mark.parametrize(
    ("org", "text", "by_trigrams"),
    [
        (ORG, MD5_OF_123.upper(), True),  # rare
        (ORG, "nowhere", True),
        (ORG, "common words", False),
        (ORG, "mm", False),  # short, and frequent
        (SMALL, "common words", False),
        (SMALL, "qx", False),
    ],
)
def test_rare_texts_are_found_by_trigrams_and_frequent_ones_among_those_of_the_organisation(
    full: Database, connection: psycopg.Connection, org: str, text: str, by_trigrams: bool
) -> None:
    with full.reading() as unit:
        (statement,) = statements(unit, lambda unit: unit.memories.search(org, text))
    plan = explain(connection, statement)
    assert (TRIGRAMS in plan.indexes) is by_trigrams
    assert plan.pages is not None
    assert plan.pages < 350  # of 400 that the table has, most for the tags and relations of 50 results


def test_no_search_gets_a_plan_that_was_made_for_any_text(full: Database) -> None:
    """psycopg prepares what it sees for the sixth time, and PostgreSQL may plan that for any values after five more."""
    with full.reading() as unit:
        for n in range(1, 20):
            for text in (f"memory {n} ", "mm", MD5_OF_123):
                assert unit.memories.search(ORG, text).items
        ask = unit.connection.exec_driver_sql
        prepared = ask("SELECT name, statement FROM pg_prepared_statements WHERE statement LIKE '%%ILIKE%%'").all()
        plans = {statement: str(ask(f"EXPLAIN EXECUTE {name} (51)").scalars().all()) for name, statement in prepared}
    assert sorted((MD5_OF_123 in statement, TRIGRAMS in plan) for statement, plan in plans.items()) == [
        (False, False),
        (True, True),
    ]


def test_a_page_of_the_newest_has_the_same_plan_for_any_organisation(
    full: Database, connection: psycopg.Connection
) -> None:
    with full.reading() as unit:
        after = unit.memories.with_relations(ORG).next
        first = statements(unit, lambda unit: unit.memories.with_relations(ORG))
        second = statements(unit, lambda unit: unit.memories.with_relations(ORG, after=after))
    for each in (*first, *second):
        assert NEWEST in explain_for_any(connection, each).indexes


HOSTILE = [
    "'", "''", "\\", "\\'", "'; DROP TABLE memory_entities; --", "%", "%s", "%(text)s", "%%", "_", ":text", "$1",
    "$$", "E'\\x41'", '"', "\r\n\t", "blåbær 記憶 👩‍👩‍👧‍👦", "\u2028", "?", "{}", "/* */", "\x01",
]  # fmt: skip


@pytest.mark.parametrize("strings", ["on", "off"])
def test_any_text_and_organisation_are_taken_literally(dsn: str, strings: str) -> None:
    """Both stand in the statement; with standard_conforming_strings off, a backslash in it would be an escape."""
    database = Database(make_conninfo(dsn, options=f"-c standard_conforming_strings={strings}"))
    for text in HOSTILE:
        with database.transaction() as unit:
            made = unit.memories.ingest(text, f"before{text}after").id
            unit.memories.ingest(text, "before-after")
        with database.reading() as unit:
            assert [memory.id for memory in unit.memories.search(text, text).items] == [made], text
            assert [memory.id for memory in unit.memories.search(text, f"E{text}A").items] == [made], text
    database.close()


@pytest.mark.parametrize(
    ("org", "text", "error"),
    [(ORG, "a\0b", Invalid), ("a\0b", "x", Invalid), (ORG, "\ud800", Invalid), ("o" * 256, "x", TooLong)],
)
def test_what_no_memory_can_hold_is_refused(dsn: str, org: str, text: str, error: type[Exception]) -> None:
    database = Database(dsn)
    with database.reading() as unit, pytest.raises(error):
        unit.memories.search(org, text)
    database.close()


WORDS = [
    "blåbærgrød", "İstanbul", "ISPARTA ısı", "Straße STRASSE ẞ", "Σίσυφος ΣΊΣΥΦΟΣ", "Ǆ ǅ ǆ", "ﬁnal", "e\u0301 é É", "память",
    "記憶", "100%_\\ done", "a-b.c", "C++ C#", "x  y", "tab\ty", "👩‍👩‍👧‍👦 family", "snake_case_word", "don't", "  edge  ",
]  # fmt: skip


def test_trigrams_find_what_a_look_at_every_row_finds(dsn: str, connection: psycopg.Connection) -> None:
    by_index = Database(make_conninfo(dsn, options="-c enable_seqscan=off -c enable_indexscan=off"))
    with by_index.transaction() as unit:
        for word in WORDS:
            unit.memories.ingest(ORG, word)
    connection.execute("DROP INDEX memory_entities_org_id_idx, memory_entities_org_id_created_at_id_idx")
    parts = {part for word in WORDS for start in range(len(word)) for part in (word[start:], word[start : start + 4])}
    asked = sorted({form for part in parts for form in (part, part.upper(), part.lower())} | {"", "nowhere"})

    def found(database: Database) -> dict[str, list[str]]:
        with database.reading() as unit:
            return {text: [memory.text for memory in unit.memories.search(ORG, text).items] for text in asked}

    with by_index.reading() as unit:
        (statement,) = statements(unit, lambda unit: unit.memories.search(ORG, "blåbær"))
    assert explain(connection, statement).rows == 1
    with psycopg.connect(dsn, autocommit=True, options="-c enable_seqscan=off -c enable_indexscan=off") as forced:
        assert TRIGRAMS in explain(forced, statement).indexes
    with_index = found(by_index)
    by_index.close()
    connection.execute(f"DROP INDEX {TRIGRAMS}".encode())
    database = Database(dsn)
    assert found(database) == with_index
    database.close()
    assert with_index["BLÅB"] == ["blåbærgrød"]


def test_the_index_is_made_where_the_extension_lies_in_another_schema(target_dsn: str) -> None:
    with psycopg.connect(target_dsn, autocommit=True) as connection:
        connection.execute("CREATE SCHEMA extensions; CREATE EXTENSION pg_trgm SCHEMA extensions; CREATE SCHEMA app")
    upgrade(make_conninfo(target_dsn, options="-c search_path=app"))
    with psycopg.connect(target_dsn) as connection:
        (definition,) = connection.execute(
            "SELECT indexdef FROM pg_indexes WHERE indexname = %s", (TRIGRAMS,)
        ).fetchall()
    assert "extensions.gin_trgm_ops" in definition[0]
