"""What the newest revision makes: the tables of the models, and what came to them after the migration.

The models stay what the migration creates, which is what Prisma creates; revision 0001 is that.
"""

from sqlalchemy import MetaData

from widgettdc.models import Base

head = MetaData(naming_convention=Base.metadata.naming_convention)
for _table in Base.metadata.sorted_tables:
    _table.to_metadata(head)
