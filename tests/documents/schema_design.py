"""The page about the target: the tables of PostgreSQL, and why they are as they are."""

import re

from tests.documents.facts import Facts, TargetTable
from tests.documents.markdown import table

ABOUT = """\
# The target: WidgetTDC on PostgreSQL

Nine tables, exactly as `prisma migrate` makes them from the application's Prisma schema, so that its Prisma client works
on them unchanged; a test compares the catalogs, both ways. They are SQLAlchemy models in
`include/widgettdc/models.py`; [type-mapping.md](type-mapping.md) says how each value gets there.

| decision | why |
|---|---|
| ids are `integer` with a sequence (SERIAL) | Prisma's `autoincrement()`; sequences go on behind the largest id ever used |
| times are `timestamp with time zone` | an instant, whatever zone a client is in; the sources' forms are many |
| `metadata` is `jsonb` | can be asked and indexed by its keys; only what jsonb keeps whole gets in |
| `strength` is `numeric(3,2)`, KPIs `numeric(10,2)` | sums are exact; nothing is rounded into them |
| texts that are names have a length, contents are `text` | as in the Prisma schema; lengths are of characters |
| `updated_at` has no default | Prisma's client sets it, and so do the models; plain SQL must give it a value |
| tags and relations go with their memory (ON DELETE CASCADE) | one statement, and no orphans |
| `target_id`, `doc_id`, `decision_id` are no foreign keys | the Prisma schema declares none; the repositories check them when they write |

Later changes are revisions (`python -m widgettdc.schema upgrade`). Revision 0001 is what the migration makes; what is
marked **0002** came after it: [index-strategy.md](../index-strategy.md) says why.
"""


def page(facts: Facts) -> str:
    """The whole page."""
    return "\n".join([ABOUT, *(_section(each) for each in facts.target)])


def _section(of: TargetTable) -> str:
    columns = table(
        ("column", "type", "NULL", "default"),
        [(f"`{name}`", kind, "" if needed else "yes", default or "") for name, kind, needed, default in of.columns],
    )
    first = {index.name for index in of.model.indexes} | {name for name, _ in of.constraints}
    indexes = [
        f"* `{name}`: {re.sub(r'^CREATE .*? USING ', '', definition)}" + ("" if name in first else " **0002**")
        for name, definition in of.indexes
    ]
    foreign = [f"* `{name}`: {text}" for name, text in of.constraints if text.startswith("FOREIGN")]
    return f"## {of.name}\n\n{columns}\n" + "\n".join([*foreign, *indexes]) + "\n"
