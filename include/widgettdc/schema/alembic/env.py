"""How Alembic runs the revisions: on the connection it is given, each in a transaction, looking at our tables only."""

from alembic import context

from widgettdc.schema.metadata import head

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=head,
    transaction_per_migration=True,
    include_name=lambda name, kind, _: kind != "table" or name in head.tables,
)
with context.begin_transaction():
    context.run_migrations()
