"""Everything that an assessment can find, as a table: what it asks of people, what is there, what the plan makes of it,
and what could be declared instead. A line's id stays what it is: people look for it."""

from __future__ import annotations

from typing import NamedTuple

from migration.derive.findings import Finding, Weight
from migration.profile import Evidence

NOTE, DECIDE, WORK = Weight.NOTE, Weight.DECIDE, Weight.WORK


class Rule(NamedTuple):
    """The words of one kind of finding; ``{…}`` stand for its facts."""

    weight: Weight
    what: str
    proposal: str
    instead: str = ""


_OR_ASIDE = "with `invalid: quarantine` or `null`"
_KEPT_IN = "listed in migration.altered_values"

RULES = {
    # values
    "value-nul": Rule(DECIDE, "texts with NUL, which PostgreSQL's text cannot hold", "{done}",
                      "`invalid: strip` takes the NULs out, `type: bytea` with `invalid: bytes` keeps them"),
    "value-encoding": Rule(DECIDE, "texts that are not valid in the database's encoding", "{done}",
                           "`type: bytea` with `invalid: bytes` carries them"),
    "value-json": Rule(NOTE, "JSON that jsonb would not keep whole (repeated keys, \\u0000, numbers out of range)",
                       "json keeps the text"),
    "value-json-invalid": Rule(NOTE, "texts that are not JSON", "The column stays text", f"`type: jsonb` {_OR_ASIDE}"),
    # types that are not as declared
    "type-boolean": Rule(NOTE, "declared {declared}, with values from {least} to {greatest}", "It stays a number"),
    "type-scale": Rule(NOTE, "declared {declared}, and holds {digits}",
                       "The declared scale is not kept, so that nothing is rounded"),
    "type-length": Rule(NOTE, "declared {declared}, with up to {longest} characters", "The length is not kept"),
    "type-reals": Rule(NOTE, "declared {declared}, with reals", "double precision holds them"),
    "type-texts": Rule(NOTE, "declared {declared}, with texts only", "The column becomes text"),
    "type-blobs": Rule(NOTE, "declared {declared}, with blobs only", "The column becomes bytea"),
    "type-mixed-numbers": Rule(DECIDE, "reals beside integers that no double holds exactly",
                               f"Both become their decimal text; reals are {_KEPT_IN}"),
    "type-mixed": Rule(DECIDE, "declared {declared}, with {mixture}", "The column becomes text, integers their digits",
                       f"`type: {{number}}` {_OR_ASIDE} for the rest"),
    "type-mixed-reals": Rule(DECIDE, "declared {declared}, with {mixture}",
                             f"The column becomes text, numbers their decimal text; reals are {_KEPT_IN}",
                             f"`type: {{number}}` {_OR_ASIDE} for the rest"),
    "type-mixed-free": Rule(NOTE, "declared {declared}, with {mixture}",
                            "The column becomes text, integers their digits"),
    "type-mixed-blobs": Rule(DECIDE, "declared {declared}, with {mixture}",
                             f"bytea keeps their bytes; what was no blob is {_KEPT_IN}",
                             "`type: text` with `invalid: quarantine` for the blobs"),
    # times
    "time-epoch": Rule(NOTE, "declared {declared}, with numbers that are instants by {cast}", "They become timestamptz",
                       "`type: {number}` without `cast` keeps the numbers"),
    "time-unknown": Rule(NOTE, "declared {declared}, with numbers of no epoch that is certain", "They stay numbers",
                         "`type: timestamptz` with a `cast:` such as epoch_s, epoch_ms, apple_s, webkit_us or julian"),
    "time-integer": Rule(NOTE, "by name and range instants by {cast}, declared {declared}", "The numbers stay numbers",
                         "`type: timestamptz` with `cast: {cast}`"),
    "time-zones": Rule(NOTE, "some times name a zone and some are bare", "Bare ones are UTC"),
    "time-forms": Rule(NOTE, "times in {number} forms: {forms}", "The instants are kept, their forms are not",
                       "`type: text`"),
    "time-date": Rule(NOTE, "declared DATE, with times of day", "It becomes timestamptz"),
    "time-none": Rule(NOTE, "declared {declared}, with texts that are no times", "The column stays text"),
    "time-invalid": Rule(DECIDE, "declared {declared}, with texts that are no times",
                         "The column stays text, which keeps all", f"`type: timestamptz` {_OR_ASIDE}"),
    "time-text": Rule(NOTE, "declared {declared}, with times in {forms}",
                      "The column stays text, which keeps them to the last digit and apart from each other"),
    # the schema
    "name": Rule(NOTE, "{reason}", "It is called {target}"),
    "collation": Rule(NOTE, "declared COLLATE {collation}",
                      "The values are kept; PostgreSQL's comparisons tell upper from lower case, and trailing spaces",
                      "lower() or ILIKE in the application's queries"),
    "null-in-key": Rule(DECIDE, "NULLs in the primary key, which SQLite allows",
                        "A unique constraint stands in its place", "`invalid: quarantine` and a primary_key"),
    "unique-twice": Rule(NOTE, "the same as {other}", "That one stands for both"),
    "key-collation": Rule(NOTE, "it compares by a collation", "A unique index stands in its place"),
    "index-width": Rule(DECIDE, "a key has {width:,} bytes, and PostgreSQL's btree takes 2,704",
                        "A hash index finds equal values", "take it out of the plan"),
    "orphans": Rule(DECIDE, "rows whose parent in {parent} is not there",
                    "They are carried, and the constraint holds for new rows only (NOT VALID)",
                    "`not_valid: false` with `invalid: quarantine` or `null` for the columns"),
    "generated": Rule(DECIDE, "generated as {text}, which PostgreSQL cannot compute: {reason}",
                      "It becomes a plain column with the values"),
    "generated-virtual": Rule(NOTE, "generated VIRTUAL", "It becomes STORED, which every PostgreSQL has"),
    "row-width": Rule(DECIDE, "its rows could take {width:,} bytes within a page, which holds {page:,}",
                      "A row that does not fit stops the load by name", "exclude columns"),
    "virtual-suspect": Rule(NOTE, "it may belong to the virtual table {virtual}", "It is carried like any table",
                            "name it under exclude_tables"),
    "translation": Rule(NOTE, "{note}", "It is carried"),
    "refused": Rule(DECIDE, "it cannot be carried: {reason}", "It is left out"),
}  # fmt: skip


def finding(
    rule: str, table: str, place: str, of: Evidence | None = None, *, weight: Weight | None = None, **facts: object
) -> Finding:
    """A finding by its rule; ``refused-<kind>`` and ``translation-<kind>`` go by the rule before the dash."""
    words = RULES.get(rule) or RULES[rule.partition("-")[0]]
    what, proposal, instead = (text.format(**facts) for text in words[1:])
    return Finding(rule, weight or words.weight, table, place, what, proposal, instead, of or Evidence())
