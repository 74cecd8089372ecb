"""What is measured: each operation of the repositories, and how its arguments are drawn."""

from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass
from datetime import timedelta
from decimal import Decimal
from operator import attrgetter
from typing import Any, TypeAlias

from benchmarks.data_layer.choosing import PLAIN_WORDS, Chooser
from widgettdc.sample import KPIS, PRIORITIES, RELATIONS, TAGS

Arguments: TypeAlias = tuple[tuple[Any, ...], dict[str, Any]]
MADE = frozenset({"id", "created_at", "updated_at", "ingested_at", "next"})
"""What the database itself gives a new row, at its own time. (`next` is the place of the next page.)"""


@dataclass(frozen=True)
class Operation:
    """One operation. `act` does it with a unit of the data layer, or with the application on SQLite."""

    name: str
    act: Callable[..., Any]
    draw: Callable[[Chooser], Arguments]
    writes: bool = False
    together: bool = False
    """Whether it is of several statements, so that SQLite needs a transaction too."""

    def answer(self, result: object) -> object:
        """The result in a form in which the two sides are compared."""
        return _plain(result, MADE if self.writes else frozenset({"next"}))


def _plain(value: Any, without: frozenset[str]) -> Any:
    if is_dataclass(value):
        return {
            each.name: _plain(getattr(value, each.name), without) for each in fields(value) if each.name not in without
        }
    if isinstance(value, tuple):
        return [_plain(each, without) for each in value]
    return value


def _call(path: str) -> Callable[..., Any]:
    """The method of a repository, by its name in the unit."""
    method = attrgetter(path)
    return lambda unit, *given, **named: method(unit)(*given, **named)


def _relate(unit: Any, *given: Any, **named: Any) -> bool:
    return bool(unit.memories.relate(*given, **named))  # an id, which the order of the clients decides


def _count(unit: Any, counter: int) -> None:
    """Read a number, add one, write it: what loses updates where nothing keeps others away."""
    seen = unit.memories.locked(counter)
    unit.memories.update(counter, metadata={"count": seen.metadata["count"] + 1})


def _window(of: Chooser) -> Arguments:
    start = of.time()
    return (of.user(), start, start + timedelta(hours=2), of.draw.one(PRIORITIES)), {}


def _average(unit: Any, *given: Any) -> float | None:
    """Both have it from whole numbers, PostgreSQL with 16 digits, SQLite as a binary fraction."""
    average = unit.stress_levels.average(*given)
    return None if average is None else round(float(average), 9)


_search = _call("memories.search")

BY_ID = Operation("memory by id", _call("memories.get"), lambda of: ((of.memory(),), {}))
RARE = Operation("search: rare word", _search, lambda of: (of.rare(), {}))
COMMON = Operation("search: common word", _search, lambda of: ((of.org(), of.draw.one(PLAIN_WORDS)), {}))
ABSENT = Operation("search: absent word", _search, lambda of: ((of.org(), f"INC-9{of.draw.below(1_000_000):06}"), {}))
NEWEST = Operation("newest memories with relations", _call("memories.with_relations"), lambda of: ((of.org(),), {}))
NEWEST_DOCUMENTS = Operation("newest documents", _call("documents.of_organisation"), lambda of: ((of.org(),), {}))
FACTS_OF_DOCUMENT = Operation(
    "facts of a document", _call("facts.of_document"), lambda of: ((of.row("raw_documents"),), {})
)
LEVELS = Operation(
    "stress levels of a month", _call("stress_levels.series"), lambda of: ((of.user(), *of.span(30)), {})
)
MEAN = Operation("mean stress of a year", _average, lambda of: ((of.user(), *of.span(365)), {}))
INGEST = Operation(
    "ingest a memory with 2 tags",
    _call("memories.ingest"),
    lambda of: ((of.org(), of.text()), {"metadata": of.metadata(), "tags": [of.draw.one(TAGS), of.draw.one(TAGS)]}),
    writes=True,
    together=True,
)
RELATE = Operation(
    "relate two memories",
    _relate,
    lambda of: (
        (of.lasting(1), of.lasting(3), of.draw.one(RELATIONS)),
        {"strength": Decimal(of.draw.below(101)) / 100},
    ),
    writes=True,
    together=True,
)
UPDATE = Operation(
    "change a memory's text",
    _call("memories.update"),
    lambda of: ((of.lasting(2),), {"text": of.text()}),
    writes=True,
)
COUNT = Operation("count: read, add, write", _count, lambda of: ((of.counter(),), {}), writes=True, together=True)
DELETE = Operation("delete a memory", _call("memories.delete"), lambda of: ((of.doomed(),), {}), writes=True)

SEARCHES = (RARE, COMMON, ABSENT)
READS = (
    BY_ID,
    *SEARCHES,
    NEWEST,
    Operation("document by id", _call("documents.get"), lambda of: ((of.row("raw_documents"),), {})),
    NEWEST_DOCUMENTS,
    Operation("facts about a subject", _call("facts.about"), lambda of: (of.subject(), {})),
    FACTS_OF_DOCUMENT,
    Operation("decision with KPIs by id", _call("decisions.get"), lambda of: ((of.row("decisions"),), {})),
    Operation("newest decisions with KPIs", _call("decisions.of_organisation"), lambda of: ((of.org(),), {})),
    Operation("focus windows of a week", _call("focus_windows.overlapping"), lambda of: ((of.user(), *of.span(7)), {})),
    LEVELS,
    MEAN,
)
WRITES = (
    INGEST,
    RELATE,
    UPDATE,
    COUNT,
    DELETE,
    Operation(
        "ingest a document",
        _call("documents.ingest"),
        lambda of: ((of.org(), of.draw.prose(5, 30)), {"title": of.draw.prose(1, 1), "source": "mail"}),
        writes=True,
    ),
    Operation(
        "add 3 facts",
        _call("facts.add"),
        lambda of: (([of.fact() for _ in range(3)],), {}),
        writes=True,
        together=True,
    ),
    Operation(
        "record a decision",
        _call("decisions.record"),
        lambda of: ((of.org(), of.draw.prose(1, 1), of.time()), {"description": of.draw.prose(1, 6)}),
        writes=True,
    ),
    Operation(
        "add a KPI",
        _call("decisions.add_kpi"),
        lambda of: ((of.row("decisions"), of.draw.one(KPIS), of.amount(), of.time()), {}),
        writes=True,
        together=True,
    ),
    Operation(
        "measure a KPI",
        _call("decisions.measure"),
        lambda of: ((of.row("evolution_kpis"), of.amount(), of.time()), {}),
        writes=True,
    ),
    Operation("add a focus window", _call("focus_windows.add"), _window, writes=True),
    Operation(
        "record a stress level",
        _call("stress_levels.record"),
        lambda of: ((of.user(), of.draw.below(11), of.time()), {}),
        writes=True,
    ),
)
OPERATIONS = {each.name: each for each in (*READS, *WRITES)}
INDEXED_READS = frozenset({*SEARCHES, NEWEST, NEWEST_DOCUMENTS, FACTS_OF_DOCUMENT, LEVELS, MEAN})
"""What the indexes of later revisions are for."""
INDEXED_WRITES = frozenset({INGEST, UPDATE, DELETE})
"""What those on the memories make slower."""
