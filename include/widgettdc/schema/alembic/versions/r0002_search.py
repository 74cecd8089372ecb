"""Indexes for what the application asks most: search by any part of a text, pages by time, facts of a document.

They are made while the application goes on (CONCURRENTLY), each by itself. What an interrupted upgrade leaves behind is
found by the next one.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from alembic import op
from sqlalchemy import text

from widgettdc.errors import Busy, WidgetTdcError

revision = "0002"
down_revision = "0001"

TRIGRAMS = "memory_entities_text_idx"
INDEXES = {
    "memory_entities_org_id_created_at_id_idx": ("memory_entities", ["org_id", "created_at", "id"]),
    "raw_documents_org_id_ingested_at_id_idx": ("raw_documents", ["org_id", "ingested_at", "id"]),
    "structured_facts_doc_id_id_idx": ("structured_facts", ["doc_id", "id"]),
    "decisions_org_id_made_at_id_idx": ("decisions", ["org_id", "made_at", "id"]),
    "pal_focus_windows_user_id_start_time_id_idx": ("pal_focus_windows", ["user_id", "start_time", "id"]),
    "pal_stress_levels_user_id_measured_at_id_idx": ("pal_stress_levels", ["user_id", "measured_at", "id"]),
}


def upgrade() -> None:
    schema = _trigrams()
    with _beside_the_application():
        for name in _left_behind([TRIGRAMS, *INDEXES]):
            op.drop_index(name, postgresql_concurrently=True)
        for name, (table, columns) in INDEXES.items():
            op.create_index(name, table, columns, postgresql_concurrently=True, if_not_exists=True)
        op.create_index(
            TRIGRAMS,
            "memory_entities",
            ["text"],
            postgresql_using="gin",
            postgresql_ops={"text": f"{schema}.gin_trgm_ops"},
            postgresql_concurrently=True,
            if_not_exists=True,
        )


def downgrade() -> None:
    """The extension stays: others may use it."""
    with _beside_the_application():
        for name in (TRIGRAMS, *INDEXES):
            op.drop_index(name, postgresql_concurrently=True, if_exists=True)


def _trigrams() -> str:
    """See to it that pg_trgm is there, and return its schema, which need not be in the search path."""
    try:
        op.execute("CREATE EXTENSION IF NOT EXISTS pg_trgm")
    except WidgetTdcError as error:
        raise WidgetTdcError(
            f"{error}. The search index needs the extension pg_trgm, which this database does not have. Let its owner "
            "or a superuser run CREATE EXTENSION pg_trgm in it once (it comes with PostgreSQL's contrib package), then "
            "run upgrade again; nothing was changed."
        ) from error
    where = "SELECT extnamespace::regnamespace::text FROM pg_extension WHERE extname = 'pg_trgm'"
    return str(op.get_bind().scalar(text(where)))


@contextmanager
def _beside_the_application() -> Iterator[None]:
    """Outside a transaction, and patient: this waits for every transaction that is open, and nobody waits for it."""
    with op.get_context().autocommit_block():
        op.execute("SET lock_timeout = '5min'")
        try:
            yield
        except Busy as error:
            raise Busy(
                f"{error}. A transaction has been open all the time: pg_stat_activity shows it, ordered by xact_start. "
                "End it, and do this again."
            ) from error
        op.execute("RESET lock_timeout")


def _left_behind(names: list[str]) -> list[str]:
    """Those of these indexes that were not finished."""
    unfinished = text(
        "SELECT c.relname FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid"
        " WHERE c.relnamespace = current_schema()::regnamespace AND c.relname = ANY(:names) AND NOT i.indisvalid"
    )
    return list(op.get_bind().scalars(unfinished, {"names": names}))
