"""The nine WidgetTDC tables on PostgreSQL, exactly as the application's Prisma schema creates them.

Names, order, types, nullability, defaults, indexes, foreign keys and sequences equal what Prisma makes, so
that the application's Prisma client works on these tables and its migrations find nothing to change.

Three columns hold ids of another table without a foreign key, because the Prisma schema declares none:
`memory_relations.target_id`, `structured_facts.doc_id` and `evolution_kpis.decision_id`. The database
enforces nothing there: deleting what they name leaves them dangling.

`memory_entities.updated_at` is NOT NULL without a default: Prisma's client, not the database, keeps its
`@updatedAt`. These models keep the same promise in every INSERT and UPDATE they emit, but not in the SET of
an `ON CONFLICT DO UPDATE`. Every other writer (psql, another program) must do so itself:

- an INSERT names the column (`…, updated_at) VALUES (…, now())`), otherwise PostgreSQL refuses the row;
- an UPDATE adds `updated_at = now()`; nothing reminds it, since a trigger would be more than Prisma creates.
"""

from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import (
    DateTime,
    ForeignKey,
    Integer,
    MetaData,
    Numeric,
    SmallInteger,
    String,
    Text,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

TIMESTAMPTZ = DateTime(timezone=True)


class Base(DeclarativeBase):
    """Root of the models; `Base.metadata` is the target schema, named as Prisma names keys and indexes."""

    metadata = MetaData(
        naming_convention={
            "pk": "%(table_name)s_pkey",
            "fk": "%(table_name)s_%(column_0_N_name)s_fkey",
            "ix": "%(table_name)s_%(column_0_N_name)s_idx",
            "uq": "%(table_name)s_%(column_0_N_name)s_key",
        }
    )


class MemoryEntity(Base):
    """A remembered text of an organisation. Deleting it deletes its tags and the relations from it."""

    __tablename__ = "memory_entities"

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    org_id: Mapped[str] = mapped_column(String(255), index=True)
    text: Mapped[str] = mapped_column(Text)
    # Declarative reserves the attribute name `metadata`. None is SQL NULL; the JSON value null is JSONB.NULL.
    metadata_: Mapped[Any | None] = mapped_column("metadata", JSONB(none_as_null=True))
    created_at: Mapped[datetime] = mapped_column(TIMESTAMPTZ, server_default=func.current_timestamp(), index=True)
    updated_at: Mapped[datetime] = mapped_column(TIMESTAMPTZ, default=func.now(), onupdate=func.now())

    relations: Mapped[list["MemoryRelation"]] = relationship(
        back_populates="source_entity", cascade="all, delete-orphan", passive_deletes=True
    )
    tags: Mapped[list["MemoryTag"]] = relationship(
        back_populates="entity", cascade="all, delete-orphan", passive_deletes=True
    )


class MemoryRelation(Base):
    """A directed, weighted link between two memories; only its source is a foreign key."""

    __tablename__ = "memory_relations"

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    source_id: Mapped[int] = mapped_column(
        ForeignKey(MemoryEntity.id, ondelete="CASCADE", onupdate="CASCADE"), index=True
    )
    target_id: Mapped[int] = mapped_column(Integer, index=True)
    relation_type: Mapped[str] = mapped_column(String(100))
    strength: Mapped[Decimal] = mapped_column(Numeric(3, 2), server_default=text("1.0"))

    source_entity: Mapped[MemoryEntity] = relationship(back_populates="relations")


class MemoryTag(Base):
    """A word attached to a memory."""

    __tablename__ = "memory_tags"

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    entity_id: Mapped[int] = mapped_column(
        ForeignKey(MemoryEntity.id, ondelete="CASCADE", onupdate="CASCADE"), index=True
    )
    tag: Mapped[str] = mapped_column(String(100), index=True)

    entity: Mapped[MemoryEntity] = relationship(back_populates="tags")


class RawDocument(Base):
    """A document as it was ingested."""

    __tablename__ = "raw_documents"

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    org_id: Mapped[str] = mapped_column(String(255), index=True)
    title: Mapped[str | None] = mapped_column(String(500))
    content: Mapped[str] = mapped_column(Text)
    source: Mapped[str | None] = mapped_column(String(200))
    ingested_at: Mapped[datetime] = mapped_column(TIMESTAMPTZ, server_default=func.current_timestamp(), index=True)


class StructuredFact(Base):
    """A statement (subject, predicate, object), drawn from a document where `doc_id` is given."""

    __tablename__ = "structured_facts"

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    org_id: Mapped[str] = mapped_column(String(255), index=True)
    subject: Mapped[str] = mapped_column(String(500), index=True)
    predicate: Mapped[str] = mapped_column(String(200))
    object: Mapped[str] = mapped_column(Text)
    doc_id: Mapped[int | None] = mapped_column(Integer)


class EvolutionKpi(Base):
    """What a decision was expected to bring, and what was measured (NULL until it is)."""

    __tablename__ = "evolution_kpis"

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    decision_id: Mapped[int] = mapped_column(Integer, index=True)
    kpi_name: Mapped[str] = mapped_column(String(200))
    expected_value: Mapped[Decimal] = mapped_column(Numeric(10, 2))
    actual_value: Mapped[Decimal | None] = mapped_column(Numeric(10, 2))
    measured_at: Mapped[datetime] = mapped_column(TIMESTAMPTZ, index=True)


class Decision(Base):
    """A decision of an organisation."""

    __tablename__ = "decisions"

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    org_id: Mapped[str] = mapped_column(String(255), index=True)
    title: Mapped[str] = mapped_column(String(500))
    description: Mapped[str | None] = mapped_column(Text)
    made_at: Mapped[datetime] = mapped_column(TIMESTAMPTZ, index=True)


class PalFocusWindow(Base):
    """A span of time that a user keeps free for one priority."""

    __tablename__ = "pal_focus_windows"

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    user_id: Mapped[str] = mapped_column(String(255), index=True)
    start_time: Mapped[datetime] = mapped_column(TIMESTAMPTZ, index=True)
    end_time: Mapped[datetime] = mapped_column(TIMESTAMPTZ)
    priority: Mapped[str] = mapped_column(String(50))


class PalStressLevel(Base):
    """A user's stress level at one moment."""

    __tablename__ = "pal_stress_levels"

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    user_id: Mapped[str] = mapped_column(String(255), index=True)
    level: Mapped[int] = mapped_column(SmallInteger)
    measured_at: Mapped[datetime] = mapped_column(TIMESTAMPTZ, index=True)
