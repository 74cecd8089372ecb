"""The schema after the migration: its revisions (Alembic), and the command `python -m widgettdc.schema`."""
