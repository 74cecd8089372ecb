"""The page of the index strategy: what was chosen and why, with what was measured."""

import re
from collections.abc import Iterator, Sequence

from benchmarks.indexes.measured import Answer, Cost, Measured, Read, Search
from benchmarks.indexes.measuring import AFTER, ANY, BEFORE, FTS5, LIKE
from benchmarks.indexes.serving import PRISMA, SERVING
from benchmarks.pages import duration, table
from local.files import ROOT

PAGE = ROOT / "docs" / "index-strategy.md"

ABOUT = """\
# Index strategy

Made by `{command}`, and from the numbers that were kept by `python -m tests.documents --write`; do not edit.
Which index serves which operation of `include/widgettdc/repository` is held by a test to the catalog, and to the plans
that PostgreSQL makes of the very statements the repositories send.

* **As migrated (revision 0001)** the tables have the indexes that the Prisma schema declares, one column each.
* **Revision 0002** (`python -m widgettdc.schema upgrade`, while the application runs) adds seven: trigrams of
  the memories' texts, and an owner's rows in the order in which pages are asked for, with the id that makes it certain.
* **{redundant} indexes are not needed by any operation, and kept** because the Prisma schema creates them and its
  migrations would miss them; [the table](#every-index) names them, with what they cost.
"""
SEARCH = """\
## Search by any part of a text

An organisation's memories that contain a text, in upper or lower case, the newest 50 first, each with its tags and
relations. Times are the caller's, the median of five calls; *pages* are those of 8 KiB that PostgreSQL read, mostly
from memory. SQLite is the application as it was, LIKE over the organisation's rows; *FTS5* is the best it has, a table
of trigrams beside it. The ways' answers are compared, and equal. (SQLite's LIKE knows upper and lower case of A to Z
alone; PostgreSQL finds `blåbær` by `BLÅBÆR`.)
"""
SHORT = """\
A text of fewer than three characters has no trigrams: it is looked for among the organisation's rows from the newest
on, which is over at once where it is frequent. Where it is nowhere, all of them are looked at, and SQLite, inside the
process and with a simpler idea of upper and lower case, is as fast or faster.
"""
PLANNED = """\
## Why each search is planned for its own text

The best plan for a rare word (by trigrams) is the worst for a frequent or short one, for which it reads the whole
index; and the best for those (from the newest on) is the worst for a rare one. psycopg prepares a statement that it
sees for the sixth time, and after five more PostgreSQL may take one plan for any values. So the repository writes
organisation and text into the statement, quoted; planning takes about 0.3 ms. The same searches by that other plan:
"""
OTHERS = """\
## What else could serve

At {memories:,} memories, in the organisation with the most. Pages read, by what is searched for:
"""
CHOICE = """\
* **GIN (text)** is chosen. *GIN (org_id, text)* reads fewer pages for a text that hundreds of memories of other
  organisations have too; it needs one more extension (btree_gin), takes longer to build, and PostgreSQL combines GIN
  (text) with an index on the organisation where that pays.
* **GiST** is several times as large, and reads more than a look at every row of the organisation.
* **btree (org_id, created_at, id)** serves frequent words and the newest memories of every organisation alike, also by
  a plan for any values; see [the operations](#how-each-operation-finds-its-rows).
* GIN's *pending list* (fastupdate, PostgreSQL's default) stays on: it takes what one more row costs from {off}
  to {on}.

"""
EVERY = """\
## Every index

Sizes at {memories:,} memories. *A row* is what the index adds to one more row, among 2,000 in one statement: time, and
bytes of the write-ahead log (without full pages). A difference of less than a microsecond is noise.
"""
PLANS = """\
## How each operation finds its rows

At {memories:,} memories: by which indexes at revision 0002, and the most pages that one of 20 calls reads. After ten
calls on one connection PostgreSQL may plan a statement for any values. An index in the order of the results alone
then looks cheap, and is walked past everybody else's rows; one of owner, order and id is read alike either way.
"""


def page(measured: Measured) -> str:
    """The whole page."""
    redundant = sum(serving.note.endswith(PRISMA) for serving in SERVING.values())
    sizes = list(dict.fromkeys(each.memories for each in measured.searches))
    return "\n".join(
        [
            ABOUT.format(command=measured.command, redundant=redundant),
            _environment(measured),
            SEARCH,
            *(
                f"### {size:,} memories\n\n{_searches([s for s in measured.searches if s.memories == size])}"
                for size in sizes
            ),
            SHORT,
            PLANNED,
            _planned([search for search in measured.searches if search.memories == measured.memories]),
            OTHERS.format(memories=measured.memories),
            _candidates(measured),
            CHOICE.format(**{name: _added(*measured.pending[name]) for name in ("on", "off")}),
            EVERY.format(memories=measured.memories),
            _costs(measured.costs),
            PLANS.format(memories=measured.memories),
            _reads(measured.reads),
        ]
    )


def _environment(measured: Measured) -> str:
    return _left(("environment", ""), list(measured.environment.items()))


def _left(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return table(headings, rows).replace("---:", "---")


def _searches(searches: list[Search]) -> str:
    return table(
        (
            "search for",
            "rows of the organisation",
            "found",
            LIKE,
            FTS5,
            "as migrated",
            "0002",
            "pages, as migrated → 0002",
        ),
        [
            (
                search.what,
                f"{search.organisation:,}",
                f"{search.found}",
                *(_time(search.answers[way]) for way in (LIKE, FTS5, BEFORE)),
                f"**{_time(search.answers[AFTER])}**",
                f"{search.answers[BEFORE].pages:,} → **{search.answers[AFTER].pages:,}**",
            )
            for search in searches
        ],
    )


def _time(answer: Answer) -> str:
    return duration(answer.milliseconds / 1000)


def _planned(searches: list[Search]) -> str:
    return table(
        ("search for", "rows of the organisation", "pages, planned for the text", "pages, planned for any", "and by"),
        [
            (
                search.what,
                f"{search.organisation:,}",
                f"**{search.answers[AFTER].pages:,}**",
                f"{search.answers[ANY].pages:,}",
                f"{_short(search.answers[AFTER].words)} / {_short(search.answers[ANY].words)}",
            )
            for search in searches
        ],
    )


def _short(words: str) -> str:
    """The plan's words without what every name of these indexes has."""
    return re.sub(r"memory_entities_|_idx", "", words)


def _candidates(measured: Measured) -> str:
    whats = list(measured.candidates[0].pages)
    return table(
        ("indexes", *whats, "size", "built in"),
        [
            (
                each.name,
                *(f"{each.pages[what]:,}" for what in whats),
                _megabytes(each.bytes) if each.bytes else "",
                duration(each.seconds) if each.bytes else "",
            )
            for each in measured.candidates
        ],
    )


def _reads(reads: list[Read]) -> str:
    ways = (BEFORE, f"{BEFORE}, for any", AFTER, f"{AFTER}, for any")
    return table(
        ("operation", "by", "as migrated", "… for any values", "0002", "… for any values"),
        [(each.operation, each.words, *(f"{each.pages[way]:,}" for way in ways)) for each in reads],
    )


def _megabytes(size: int) -> str:
    return f"{size / 2**20:,.0f} MB" if size >= 2**20 else f"{size / 2**10:,.0f} kB"


def _costs(costs: list[Cost]) -> str:
    return _left(("index", "on", "serves", "size", "a row"), list(_lines(costs)))


def _lines(costs: list[Cost]) -> Iterator[Sequence[str]]:
    for cost in costs:
        serving = SERVING[cost.index]
        serves = "; ".join(filter(None, (", ".join(serving.operations), serving.note)))
        on = re.sub(r"^CREATE .* USING ", "", cost.definition)
        added = "" if cost.microseconds is None or cost.wal is None else _added(cost.microseconds, cost.wal)
        yield f"`{cost.index}`", on, serves, _megabytes(cost.bytes), added


def _added(microseconds: float, wal: float) -> str:
    return f"{max(0, microseconds):,.0f} µs, {wal:,.0f} bytes"
