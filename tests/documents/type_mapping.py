"""The page about types: what each column of WidgetTDC becomes, and the rules for any database."""

import re
import sqlite3
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import make_url
from sqlalchemy.types import TypeEngine, to_instance

from migration import plan
from migration.assess.drafting import draft
from migration.derive.findings import Weight
from migration.derive.rules import RULES, Rule
from migration.derive.target import type_of
from migration.load.casts import BY_NAME, INTEGER_OR_TEXT, Cast, cast_for
from migration.plan import Invalid
from migration.sqlite.catalog import read_catalog
from migration.sqlite.opening import open_snapshot
from migration.sqlite.profiling import profile_table
from tests.documents.facts import Facts
from tests.documents.markdown import table

ABOUT = """\
# Types: SQLite → PostgreSQL

No value is ever bent to fit. A column's *cast* takes exactly the values below; every other one stops the load by
table, column, key and value, and the plan decides what becomes of it ([below](#a-value-that-cannot-cross)).

## WidgetTDC

The target's types are given: they are those of its Prisma schema. Names stay the same.
"""
ANY = """\
## Any other database

`./run assess APP.db` chooses from SQLite's affinity and **all** the values there are, never from the declared name
alone. What a declaration promises (a length, a scale, BOOLEAN, a time) is kept where every value keeps it.
These lines are made by the assessment itself:
"""
CASTS = """\
### What each type takes

Any type may be declared in the plan, whatever was chosen. *Classes* are SQLite's storage classes; another one is a value
that cannot cross.
"""
NAMED = """\
Numbers become instants, and integers text, by casts that the plan names (`cast:`):
"""
CANNOT = """\
### A value that cannot cross

What the plan can say of it, by column, table, or for the run:
"""
FINDINGS = """\
### What the assessment remarks

By its id; **decide** asks for a person's word, the others are for your information.
"""

DIALECT = make_url("postgresql://").get_dialect()()
TYPES = (
    "smallint", "integer", "bigint", "boolean", "double precision", "numeric(10,2)", "text", "varchar(255)", "bytea",
    "date", "timestamp", "timestamptz", "json", "jsonb",
)  # fmt: skip
CASES: tuple[tuple[str, Sequence[object]], ...] = (
    ("INTEGER PRIMARY KEY", [1, 2]),
    ("INTEGER", [1, 2**40]),
    ("SMALLINT", [1, 300]),
    ("SMALLINT", [1, 70_000]),
    ("INTEGER", [1, 2.5]),
    ("BOOLEAN", [0, 1]),
    ("BOOLEAN", [0, 1, 2]),
    ("REAL", [1.5, float("inf")]),
    ("DECIMAL(10,2)", [1, 2.25]),
    ("DECIMAL(10,2)", [2.255]),
    ("VARCHAR(5)", ["a", "12345"]),
    ("VARCHAR(5)", ["123456"]),
    ("TEXT", ["a", 5]),
    ("TEXT", ["a\0b", "c", "d"]),
    ("BLOB", [b"\1", b"\2"]),
    ("BLOB", [b"\1", "text"]),
    ("DATETIME", ["2024-02-29 12:00:00", "2024-02-29T12:00:00.5Z"]),
    ("DATETIME", ["2024-02-29 12:00:00", "yesterday"]),
    ("DATETIME", [1_700_000_000, 1_700_000_001]),
    ("DATE", ["2024-02-29", "2024-03-01"]),
    ("JSON", ['{"a": 1}', "[]"]),
    ("JSON", ['{"a": 1, "a": 2}']),
    ("", ["a", 5, 2.5]),
)


def page(facts: Facts) -> str:
    """The whole page."""
    headings = ("PostgreSQL", "classes", "the cast takes")
    return "\n".join(
        [
            ABOUT,
            table(("SQLite", "PostgreSQL", "the cast takes", "columns"), _of_widgettdc(facts)),
            ANY,
            table(("declared", "values", "becomes", "why"), _chosen()),
            CASTS,
            table(headings, [_cast(cast_for("", "", to_instance(type_of(name)), None), name) for name in TYPES]),
            NAMED,
            table(("`cast:`", "classes", "the cast takes"), _named()),
            CANNOT,
            table(("`invalid:`", "what becomes of it"), [(f"`{word}`", told) for word, told in _policies()]),
            FINDINGS,
            table(("id", "", "what is there", "what the plan makes of it", "instead"), _remarks()),
        ]
    )


def _of_widgettdc(facts: Facts) -> Iterable[Sequence[str]]:
    """Each way that a column goes, with all columns that go it."""
    ways: dict[tuple[str, str, str], list[str]] = {}
    for target in facts.target:
        chosen = facts.plan.tables[target.name].columns
        for column in facts.source(target.name).columns:
            kind: TypeEngine[Any] = target.model.columns[column.name].type
            named = chosen[column.name].cast if column.name in chosen else None
            rule = cast_for(target.name, column.name, kind, named).rule
            way = column.declared_type, kind.compile(DIALECT).lower(), rule
            ways.setdefault(way, []).append(f"`{target.name}.{column.name}`")
    for way, columns in ways.items():
        yield *way, ", ".join(columns)


def _chosen() -> Iterable[Sequence[str]]:
    """What the assessment makes of each case, each in a table of its own."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "cases.db"
        with sqlite3.connect(path) as connection:
            for number, (declared, values) in enumerate(CASES):
                connection.execute(f"CREATE TABLE t{number:02} (v {declared})")
                connection.executemany(f"INSERT INTO t{number:02} VALUES (?)", [(value,) for value in values])
        connection.close()
        source = open_snapshot(path)
        catalog = read_catalog(source)
        profiles = {each.name: profile_table(source, catalog, each) for each in catalog.tables}
        source.close()
    _, found = draft(catalog, profiles, name="cases", title="", source="")
    for number, (declared, values) in enumerate(CASES):
        choice = found.choices[f"t{number:02}", "v"]
        more = "".join(
            f", {word}: {value}" for word, value in (("cast", choice.cast), ("invalid", choice.invalid)) if value
        )
        yield (
            declared or "(nothing)",
            ", ".join(f"`{_shown(value)}`" for value in values),
            choice.type + more,
            choice.why,
        )


def _shown(value: object) -> str:
    return f"x'{value.hex()}'" if isinstance(value, bytes) else repr(value)


def _cast(cast: Cast, name: str) -> Sequence[str]:
    return f"`{name}`", ", ".join(cast.classes), cast.rule


def _named() -> Iterable[Sequence[str]]:
    for name, cast in BY_NAME.items():
        yield _cast(cast, name)
    yield _cast(cast_for("", "", to_instance(type_of("text")), INTEGER_OR_TEXT), INTEGER_OR_TEXT)


def _policies() -> Iterable[tuple[str, str]]:
    """The policies with what their definition says of them, which stands below each."""
    text = Path(plan.__file__).read_text("utf-8")
    told = dict(re.findall(r'^    [A-Z]+ = "(\w+)"\n    """(.*?)"""', text, re.MULTILINE | re.DOTALL))
    return ((word.value, " ".join(told[word.value].split())) for word in Invalid)


def _remarks() -> Iterable[Sequence[str]]:
    for name, rule in RULES.items():
        yield name, "**decide**" if rule.weight is Weight.DECIDE else "", *_open(rule)


def _open(rule: Rule) -> Sequence[str]:
    """The words of a rule, an ellipsis for what it fills in."""
    depends = "Such rows go to the quarantine; where they are most of the column, it becomes bytea"
    words = (rule.what, rule.proposal.replace("{done}", depends), rule.instead)
    return [re.sub(r"\{.*?\}", "…", each) for each in words]
