"""The nine tables as the migration makes them."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

from widgettdc.errors import WidgetTdcError

revision = "0001"
down_revision = None

INSTANT = sa.DateTime(timezone=True)
NOW = sa.text("CURRENT_TIMESTAMP")


def upgrade() -> None:
    _table(
        "memory_entities",
        sa.Column("org_id", sa.String(255), nullable=False),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("metadata", JSONB),
        sa.Column("created_at", INSTANT, nullable=False, server_default=NOW),
        sa.Column("updated_at", INSTANT, nullable=False),
        indexes=("org_id", "created_at"),
    )
    _table(
        "memory_relations",
        sa.Column("source_id", sa.Integer, nullable=False),
        sa.Column("target_id", sa.Integer, nullable=False),
        sa.Column("relation_type", sa.String(100), nullable=False),
        sa.Column("strength", sa.Numeric(3, 2), nullable=False, server_default=sa.text("1.0")),
        _of_memory("memory_relations", "source_id"),
        indexes=("source_id", "target_id"),
    )
    _table(
        "memory_tags",
        sa.Column("entity_id", sa.Integer, nullable=False),
        sa.Column("tag", sa.String(100), nullable=False),
        _of_memory("memory_tags", "entity_id"),
        indexes=("entity_id", "tag"),
    )
    _table(
        "raw_documents",
        sa.Column("org_id", sa.String(255), nullable=False),
        sa.Column("title", sa.String(500)),
        sa.Column("content", sa.Text, nullable=False),
        sa.Column("source", sa.String(200)),
        sa.Column("ingested_at", INSTANT, nullable=False, server_default=NOW),
        indexes=("org_id", "ingested_at"),
    )
    _table(
        "structured_facts",
        sa.Column("org_id", sa.String(255), nullable=False),
        sa.Column("subject", sa.String(500), nullable=False),
        sa.Column("predicate", sa.String(200), nullable=False),
        sa.Column("object", sa.Text, nullable=False),
        sa.Column("doc_id", sa.Integer),
        indexes=("org_id", "subject"),
    )
    _table(
        "evolution_kpis",
        sa.Column("decision_id", sa.Integer, nullable=False),
        sa.Column("kpi_name", sa.String(200), nullable=False),
        sa.Column("expected_value", sa.Numeric(10, 2), nullable=False),
        sa.Column("actual_value", sa.Numeric(10, 2)),
        sa.Column("measured_at", INSTANT, nullable=False),
        indexes=("decision_id", "measured_at"),
    )
    _table(
        "decisions",
        sa.Column("org_id", sa.String(255), nullable=False),
        sa.Column("title", sa.String(500), nullable=False),
        sa.Column("description", sa.Text),
        sa.Column("made_at", INSTANT, nullable=False),
        indexes=("org_id", "made_at"),
    )
    _table(
        "pal_focus_windows",
        sa.Column("user_id", sa.String(255), nullable=False),
        sa.Column("start_time", INSTANT, nullable=False),
        sa.Column("end_time", INSTANT, nullable=False),
        sa.Column("priority", sa.String(50), nullable=False),
        indexes=("user_id", "start_time"),
    )
    _table(
        "pal_stress_levels",
        sa.Column("user_id", sa.String(255), nullable=False),
        sa.Column("level", sa.SmallInteger, nullable=False),
        sa.Column("measured_at", INSTANT, nullable=False),
        indexes=("user_id", "measured_at"),
    )


def downgrade() -> None:
    raise WidgetTdcError("Below 0001 there are no tables, and no rows: roll the migration back instead.")


def _table(name: str, *parts: sa.schema.SchemaItem, indexes: tuple[str, ...]) -> None:
    key = sa.PrimaryKeyConstraint("id", name=f"{name}_pkey")
    op.create_table(name, sa.Column("id", sa.Integer, nullable=False), *parts, key)
    for column in indexes:
        op.create_index(f"{name}_{column}_idx", name, [column])


def _of_memory(table: str, column: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        [column], ["memory_entities.id"], f"{table}_{column}_fkey", ondelete="CASCADE", onupdate="CASCADE"
    )
