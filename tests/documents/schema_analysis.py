"""The page about the source: its tables, columns and keys, and what its values really are."""

from migration.catalog import Column, Table
from migration.derive.parse import affinity
from migration.profile import ColumnProfile
from tests.documents.facts import Facts
from tests.documents.markdown import listed, table

ABOUT = """\
# The source: WidgetTDC's SQLite database

{tables} tables with {rows:,} rows in the sample (`python -m widgettdc.sample`), whose values are as hostile as real
ones. Of your own database `./run assess APP.db` tells the same, with the keys of the rows that stand out.

SQLite promises little: a declared type is advice (an *affinity*), lengths and scales are ignored, foreign keys hold
only where each connection asked for it. So what matters is what the values are; each column below says it.
"""

FOLLOWS = """\
## What follows for the migration

* **Times are texts in many forms**: with and without a zone, with none to six digits of a second. All are
  instants; a bare one is UTC, as SQLite's own CURRENT_TIMESTAMP is.
* **`metadata` is JSON in a column of text.** It goes into `jsonb` only if jsonb keeps it whole.
* **Numbers are doubles.** `strength`, `expected_value` and `actual_value` go into fixed decimals only if nothing of
  them is rounded; `actual_value` holds whole numbers as integers, since its affinity is NUMERIC.
* **References that nothing enforces**: {references}. They order the loads, orphans are counted and reported.
* **Every table is AUTOINCREMENT**: ids of deleted rows must never be given out again, so sequences go on
  behind the largest id ever used, not behind the largest there is.
"""


def page(facts: Facts) -> str:
    """The whole page."""
    tables = facts.catalog.tables
    rows = sum(facts.profiles[each.name].rows for each in tables)
    return "\n".join(
        [
            ABOUT.format(tables=len(tables), rows=rows),
            table(("table", "rows", "bytes", "largest id ever used", "refers to"), [_line(facts, t) for t in tables]),
            *(_section(facts, each) for each in tables),
            FOLLOWS.format(references=listed(_undeclared(facts))),
        ]
    )


def _line(facts: Facts, of: Table) -> tuple[str, ...]:
    profile = facts.profiles[of.name]
    enforced = [f"{', '.join(key.columns)} → {key.parent} ({key.on_delete})" for key in of.foreign_keys]
    only_meant = [f"{', '.join(r.columns)} → {r.table}, not declared" for r in facts.plan.tables[of.name].references]
    return (
        f"`{of.name}`",
        f"{profile.rows:,}",
        f"{profile.bytes:,}",
        f"{of.sequence:,}",
        "; ".join(enforced + only_meant),
    )


def _undeclared(facts: Facts) -> list[str]:
    return [
        f"`{name}.{column}`"
        for name, chosen in facts.plan.tables.items()
        for r in chosen.references
        for column in r.columns
    ]


def _section(facts: Facts, of: Table) -> str:
    profile = facts.profiles[of.name]
    columns = table(
        ("column", "declared", "affinity", "default", "values in the sample"),
        [_column(column, profile.column(column.name)) for column in of.columns],
    )
    indexes = [f"`{index.name}` ({', '.join(str(key.column) for key in index.keys)})" for index in of.indexes]
    return f"## {of.name}\n\n{columns}\nPrimary key: {', '.join(of.primary_key)}. Indexes: {', '.join(indexes)}.\n"


def _column(column: Column, profile: ColumnProfile) -> tuple[str, ...]:
    declared = " ".join([column.declared_type, "NOT NULL" if column.not_null else "", "KEY" if column.pk else ""])
    return (
        f"`{column.name}`",
        " ".join(declared.split()),
        affinity(column.declared_type),
        column.default or "",
        values(profile),
    )


def values(profile: ColumnProfile) -> str:
    """What a column holds, in words."""
    parts = []
    if profile.integers:
        parts.append(f"{profile.integers.count:,} integers from {profile.least:,} to {profile.greatest:,}")
    if profile.reals:
        parts.append(f"{profile.reals.count:,} reals from {profile.least_real:,} to {profile.greatest_real:,}")
    if profile.texts and profile.times:
        forms = f"instants in {len(profile.times)} forms"
        parts.append(f"{sum(profile.times.values()):,} {forms}")
        if profile.no_times:
            parts.append(f"{profile.no_times.count:,} texts that are no instant")
    elif profile.texts:
        parts.append(f"{profile.texts.count:,} texts of up to {profile.longest:,} characters")
    if profile.blobs:
        parts.append(f"{profile.blobs.count:,} blobs")
    if profile.nulls:
        parts.append(f"{profile.nulls.count:,} NULL")
    return ", ".join(parts)
