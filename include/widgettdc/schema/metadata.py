"""What the newest revision makes: the tables of the models, and what came to them after the migration.

The models stay what the migration creates, which is what Prisma creates; revision 0001 is that.
"""

from sqlalchemy import Index, MetaData

from widgettdc.models import Base

head = MetaData(naming_convention=Base.metadata.naming_convention)
for _table in Base.metadata.sorted_tables:
    _table.to_metadata(head)

# Revision 0002; which query each serves, and what it costs: docs/index-strategy.md.
Index(None, head.tables["memory_entities"].c.text, postgresql_using="gin", postgresql_ops={"text": "gin_trgm_ops"})
for _name, *_keys in (
    ("memory_entities", "org_id", "created_at"),
    ("raw_documents", "org_id", "ingested_at"),
    ("structured_facts", "doc_id"),
    ("decisions", "org_id", "made_at"),
    ("pal_focus_windows", "user_id", "start_time"),
    ("pal_stress_levels", "user_id", "measured_at"),
):
    _columns = head.tables[_name].c
    Index(None, *(_columns[_key] for _key in _keys), _columns.id)  # in the order in which pages are asked for
