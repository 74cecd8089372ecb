"""Documents, facts, decisions, focus windows and stress levels, on the real PostgreSQL."""

from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from tests.widgettdc.conftest import statements
from widgettdc.database import Database
from widgettdc.errors import Invalid, NotFound
from widgettdc.repository import NewFact

ORG, USER = "org-001", "user@example.org"
NOON = datetime(2024, 2, 29, 12, 0, 0, 123456, UTC)
HOUR = timedelta(hours=1)


def test_a_document_is_read_as_it_was_ingested(database: Database) -> None:
    with database.transaction() as unit:
        whole = unit.documents.ingest(ORG, "long\n" * 10_000, title="title", source="mail")
        bare = unit.documents.ingest(ORG, "")
    with database.reading() as unit:
        assert unit.documents.get(whole.id) == whole
        assert unit.documents.get(bare.id) == bare
        assert unit.documents.get(99) is None
    assert (whole.title, whole.source, bare.title, bare.source) == ("title", "mail", None, None)


def test_documents_are_listed_by_organisation_newest_first_in_pages(database: Database) -> None:
    with database.transaction() as unit:
        made = [unit.documents.ingest(ORG, str(n)) for n in range(3)]
        unit.documents.ingest("org-002", "other")
    with database.reading() as unit:
        first = unit.documents.of_organisation(ORG, limit=2)
        rest = unit.documents.of_organisation(ORG, limit=2, after=first.next)
    assert (*first.items, *rest.items) == tuple(reversed(made))
    assert rest.next is None


def test_facts_are_stored_in_their_order_and_found_by_subject_and_by_document(database: Database) -> None:
    with database.transaction() as unit:
        document = unit.documents.ingest(ORG, "x").id
        facts = [NewFact(ORG, "margin", "is", str(n), document if n % 2 else None) for n in range(2500)]
        stored = unit.facts.add([*facts, NewFact(ORG, "other", "is", "x", document)])
        assert unit.facts.add([]) == ()
    assert [(f.id, f.object) for f in stored] == [(n + 1, str(n)) for n in range(2500)] + [(2501, "x")]
    with database.reading() as unit:
        first = unit.facts.about(ORG, "margin", limit=500)
        second = unit.facts.about(ORG, "margin", limit=500, after=first.next)
        drawn = unit.facts.of_document(document, limit=3)
        assert unit.facts.about("org-002", "margin").items == ()
    assert (*first.items, *second.items) == stored[:1000]
    assert [fact.object for fact in drawn.items] == ["1", "3", "5"]
    assert {k: v for k, v in asdict(drawn.items[0]).items() if k != "id"} == asdict(facts[1])


def test_many_facts_are_checked_before_one_is_stored(database: Database) -> None:
    with database.transaction() as unit:
        with pytest.raises(Invalid, match="subject"):
            unit.facts.add([NewFact(ORG, "s", "p", "o"), NewFact(ORG, "s" * 501, "p", "o")])
        assert unit.facts.about(ORG, "s").items == ()


def test_a_decision_carries_its_kpis_which_are_measured_later(database: Database) -> None:
    with database.transaction() as unit:
        made = unit.decisions.record(ORG, "move to PostgreSQL", NOON, description="why")
        latency = unit.decisions.add_kpi(made.id, "latency", Decimal("-99999999.99"), NOON)
        margin = unit.decisions.add_kpi(made.id, "margin", Decimal("0.29"), NOON, actual_value=Decimal("8.41"))
    assert (latency.actual_value, margin.actual_value) == (None, Decimal("8.41"))
    with database.transaction() as unit:
        measured = unit.decisions.measure(latency.id, Decimal("1234567.89"), NOON + HOUR)
        with pytest.raises(NotFound, match="evolution_kpis has no row with id 99"):
            unit.decisions.measure(99, Decimal(1), NOON)
    with database.reading() as unit:
        read = unit.decisions.get(made.id)
        assert unit.decisions.get(99) is None
    assert read is not None
    assert read.kpis == (measured, margin)
    assert (measured.expected_value, measured.actual_value) == (Decimal("-99999999.99"), Decimal("1234567.89"))
    assert measured.measured_at == NOON + HOUR
    assert (read.title, read.description, read.made_at, made.kpis) == ("move to PostgreSQL", "why", NOON, ())


@pytest.mark.parametrize("count", [1, 10, 100])
def test_decisions_are_listed_with_their_kpis_in_one_statement(database: Database, count: int) -> None:
    with database.transaction() as unit:
        for n in range(count):
            made = unit.decisions.record(ORG, str(n), NOON + n * HOUR)
            for name in ("a", "b"):
                unit.decisions.add_kpi(made.id, name, Decimal(n), NOON)
    with database.reading() as unit, statements(database) as sent:
        page = unit.decisions.of_organisation(ORG, limit=100)
    assert [(d.title, [k.kpi_name for k in d.kpis]) for d in page.items] == [
        (str(n), ["a", "b"]) for n in reversed(range(count))
    ]
    assert len(sent) == 1


def test_a_focus_window_overlaps_what_it_shares_time_with(database: Database) -> None:
    spans = [(-3, -2), (-2, 0), (-1, 1), (0, 1), (1, 2), (-9, 9), (2, 3)]
    with database.transaction() as unit:
        for start, end in spans:
            unit.focus_windows.add(USER, NOON + start * HOUR, NOON + end * HOUR, f"{start} {end}")
        unit.focus_windows.add("someone else", NOON, NOON + HOUR, "theirs")
    with database.reading() as unit:
        found = unit.focus_windows.overlapping(USER, NOON, NOON + 2 * HOUR)
        first = unit.focus_windows.overlapping(USER, NOON, NOON + 2 * HOUR, limit=3)
        rest = unit.focus_windows.overlapping(USER, NOON, NOON + 2 * HOUR, limit=3, after=first.next)
        with pytest.raises(Invalid, match="does not come after"):
            unit.focus_windows.overlapping(USER, NOON, NOON)
    assert [window.priority for window in found.items] == ["-9 9", "-1 1", "0 1", "1 2"]
    assert (*first.items, *rest.items) == found.items


def test_stress_levels_come_in_the_order_of_time_from_start_to_before_end(database: Database) -> None:
    with database.transaction() as unit:
        for n, level in [(2, 7), (0, 3), (1, 4), (1, 5), (3, 9)]:
            unit.stress_levels.record(USER, level, NOON + n * HOUR)
        unit.stress_levels.record("someone else", 10, NOON)
    with database.reading() as unit:
        series = unit.stress_levels.series(USER, NOON, NOON + 3 * HOUR)
        first = unit.stress_levels.series(USER, NOON, NOON + 3 * HOUR, limit=2)
        rest = unit.stress_levels.series(USER, NOON, NOON + 3 * HOUR, limit=2, after=first.next)
        average = unit.stress_levels.average(USER, NOON, NOON + 3 * HOUR)
        assert unit.stress_levels.average(USER, NOON - HOUR, NOON) is None
    assert [(point.level, point.measured_at) for point in series.items] == [
        (3, NOON), (4, NOON + HOUR), (5, NOON + HOUR), (7, NOON + 2 * HOUR),
    ]  # fmt: skip
    assert (*first.items, *rest.items) == series.items
    assert average == Decimal("4.75")


def test_instants_of_any_zone_are_stored_as_the_same_instant(database: Database) -> None:
    local = NOON.astimezone(datetime.strptime("+0530", "%z").tzinfo)
    with database.transaction() as unit:
        made = unit.stress_levels.record(USER, 1, local)
    assert made.measured_at == NOON
    assert made.measured_at.utcoffset() == timedelta(0)
