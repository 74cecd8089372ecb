"""What the newest revision makes: the tables of the models, and what came to them after the migration.

The models stay what the migration creates, which is what Prisma creates; revision 0001 is that.
"""

from sqlalchemy import Index, MetaData

from widgettdc.models import Base

head = MetaData(naming_convention=Base.metadata.naming_convention)
for _table in Base.metadata.sorted_tables:
    _table.to_metadata(head)

# Revision 0002; which query each serves, and what it costs: docs/index-strategy.md.
_memories, _levels = head.tables["memory_entities"].c, head.tables["pal_stress_levels"].c
_documents, _facts = head.tables["raw_documents"].c, head.tables["structured_facts"].c
Index(None, _memories.text, postgresql_using="gin", postgresql_ops={"text": "gin_trgm_ops"})
Index(None, _memories.org_id, _memories.created_at, _memories.id)
Index(None, _documents.org_id, _documents.ingested_at, _documents.id)
Index(None, _facts.doc_id)
Index(None, _levels.user_id, _levels.measured_at, _levels.id)
