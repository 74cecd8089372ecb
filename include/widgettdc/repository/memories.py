"""Memories with their tags and relations.

No update is lost. Within one transaction, `locked` reads a memory and keeps others from changing it until the end:
what is computed from it and written is safe, without tries in vain. For a value read in an earlier transaction, such as
a form that a person had open, `update(…, if_unchanged_since=…)` writes only if the memory is still the one that was
read, since a lock cannot be held for that long. `updated_at` grows with each update by at least a microsecond, so that
equal times mean that nothing happened in between.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial

from sqlalchemy import JSON, Connection, Text, bindparam, cast, delete, func, insert, select, update
from sqlalchemy.dialects.postgresql import aggregate_order_by

from widgettdc.errors import Changed, Invalid, NotFound
from widgettdc.models import MemoryEntity, MemoryRelation, MemoryTag
from widgettdc.repository.paging import LIMIT, AnyRow, Page, page
from widgettdc.repository.values import UNSET, Json, Unset, among, check_references, checked


@dataclass(frozen=True, slots=True)
class Source:
    """The memory that a relation comes from."""

    id: int
    text: str


@dataclass(frozen=True, slots=True)
class Relation:
    """A directed link to another memory; what `target_id` names may be deleted since."""

    id: int
    source: Source
    target_id: int
    relation_type: str
    strength: Decimal


@dataclass(frozen=True, slots=True)
class Memory:
    """A remembered text, its tags in the order they were given, and the relations from it.

    `metadata` is None for NULL and for the JSON value null.
    """

    id: int
    org_id: str
    text: str
    metadata: Json
    created_at: datetime
    updated_at: datetime
    tags: tuple[str, ...]
    relations: tuple[Relation, ...]


_TAGS = (
    select(func.array_agg(aggregate_order_by(MemoryTag.tag, MemoryTag.id)))
    .where(MemoryTag.entity_id == MemoryEntity.id)
    .correlate(MemoryEntity)
    .scalar_subquery()
)
_RELATION = func.json_build_array(
    MemoryRelation.id, MemoryRelation.target_id, MemoryRelation.relation_type, cast(MemoryRelation.strength, Text)
)
_RELATIONS = (
    select(func.json_agg(aggregate_order_by(_RELATION, MemoryRelation.id), type_=JSON))
    .where(MemoryRelation.source_id == MemoryEntity.id)
    .correlate(MemoryEntity)
    .scalar_subquery()
)
_COLUMNS = (
    MemoryEntity.id,
    MemoryEntity.org_id,
    MemoryEntity.text,
    MemoryEntity.metadata_,
    MemoryEntity.created_at,
    MemoryEntity.updated_at,
    _TAGS,
    _RELATIONS,
)
_MEMORIES = select(*_COLUMNS)
_BY_ID = _MEMORIES.where(MemoryEntity.id == bindparam("id"))  # made once: making it doubles the work of a get
_NEWEST_FIRST = (MemoryEntity.created_at, MemoryEntity.id)

# A value that stands in the statement itself, quoted, since the best plan depends on it. PostgreSQL plans a prepared
# statement for any value in the end; for a text that is short or common, that plan reads a whole index.
_planned_for = partial(bindparam, None, literal_execute=True)


def _memory(row: AnyRow) -> Memory:
    memory_id, org_id, text, metadata, created_at, updated_at, tags, relations = row
    source = Source(memory_id, text)
    return Memory(
        memory_id,
        org_id,
        text,
        metadata,
        created_at,
        updated_at,
        tuple(tags or ()),
        tuple(Relation(n, source, target, kind, Decimal(strength)) for n, target, kind, strength in relations or ()),
    )


@dataclass(frozen=True, slots=True)
class MemoryRepository:
    """The memories, in the transaction of the connection."""

    connection: Connection

    def ingest(self, org_id: str, text: str, *, metadata: Json = None, tags: Collection[str] = ()) -> Memory:
        """Store a memory with its tags. To store the JSON value null, give `JSONB.NULL` as metadata."""
        values = checked(MemoryEntity, {"org_id": org_id, "text": text, "metadata": metadata})
        words = [checked(MemoryTag, {"tag": tag}) for tag in tags]
        made = self.connection.execute(
            insert(MemoryEntity)
            .values(**values)
            .returning(MemoryEntity.id, MemoryEntity.created_at, MemoryEntity.updated_at, MemoryEntity.metadata_)
        ).one()
        if words:
            self.connection.execute(insert(MemoryTag), [{"entity_id": made.id, **word} for word in words])
        return Memory(made.id, org_id, text, made[3], made.created_at, made.updated_at, tuple(tags), ())

    def relate(self, source_id: int, target_id: int, relation_type: str, *, strength: Decimal = Decimal("1.00")) -> int:
        """Link two memories and return the relation's id; BadReference where one of them is missing."""
        values = {"source_id": source_id, "target_id": target_id, "relation_type": relation_type, "strength": strength}
        row = checked(MemoryRelation, values)
        check_references(self.connection, "source_id, target_id", MemoryEntity, {source_id, target_id})
        return self.connection.execute(insert(MemoryRelation).values(**row).returning(MemoryRelation.id)).scalar_one()

    def search(self, org_id: str, text: str, *, limit: int = LIMIT, after: str | None = None) -> Page[Memory]:
        """An organisation's memories that contain a text, newest first.

        Upper and lower case are alike as far as the database's locale knows them (in the locale C, only A to Z);
        %, _ and \\ stand for themselves, and an empty text is in every memory. Invalid for what no memory can hold.
        """
        checked(MemoryEntity, {"org_id": org_id, "text": text})
        literal = text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
        found = _MEMORIES.where(
            MemoryEntity.org_id == _planned_for(org_id), MemoryEntity.text.ilike(_planned_for(f"%{literal}%"))
        )
        return page(self.connection, found, _memory, *_NEWEST_FIRST, limit=limit, after=after, newest_first=True)

    def with_relations(self, org_id: str, *, limit: int = LIMIT, after: str | None = None) -> Page[Memory]:
        """All of an organisation's memories with their tags, relations and each relation's source, newest first."""
        found = _MEMORIES.where(MemoryEntity.org_id == org_id)
        return page(self.connection, found, _memory, *_NEWEST_FIRST, limit=limit, after=after, newest_first=True)

    def get(self, memory_id: int) -> Memory | None:
        """The memory with this id, or None."""
        row = self.connection.execute(_BY_ID, {"id": memory_id}).one_or_none()
        return _memory(row) if row else None

    def locked(self, memory_id: int) -> Memory:
        """The memory, which nobody else changes or deletes until this transaction ends. Raises NotFound.

        Tags and relations can still be added to it. Whoever locks several does so in the order of their ids.
        """
        # The lock first: a statement sees tags and relations as they were when it began to wait.
        lock = select(MemoryEntity.id).where(MemoryEntity.id == memory_id).with_for_update(key_share=True)
        self.connection.execute(lock)
        memory = self.get(memory_id)
        if memory is None:
            raise NotFound(MemoryEntity.__tablename__, memory_id)
        return memory

    def update(
        self,
        memory_id: int,
        *,
        text: str | Unset = UNSET,
        metadata: Json | Unset = UNSET,
        if_unchanged_since: datetime | None = None,
    ) -> Memory:
        """Change what is given and leave the rest; None clears the metadata. Raises NotFound.

        `if_unchanged_since` is the `updated_at` that was read: Changed when the memory has another one by now.
        """
        values = checked(MemoryEntity, {"text": text, "metadata": metadata})
        values["updated_at"] = func.greatest(
            func.clock_timestamp(), MemoryEntity.updated_at + timedelta(microseconds=1)
        )
        change = update(MemoryEntity).where(MemoryEntity.id == memory_id).values(**values).returning(*_COLUMNS)
        if if_unchanged_since is not None:
            if if_unchanged_since.utcoffset() is None:
                raise Invalid("if_unchanged_since", f"{if_unchanged_since} has no time zone.")
            change = change.where(MemoryEntity.updated_at == if_unchanged_since)
        row = self.connection.execute(change).one_or_none()
        if row is None:
            there = if_unchanged_since is not None and self.get(memory_id)
            raise (Changed if there else NotFound)(MemoryEntity.__tablename__, memory_id)
        return _memory(row)

    def delete(self, memory_id: int) -> None:
        """Delete a memory, its tags and the relations from it; relations to it stay. Raises NotFound."""
        if not self.delete_many([memory_id]):
            raise NotFound(MemoryEntity.__tablename__, memory_id)

    def delete_many(self, memory_ids: Collection[int]) -> int:
        """Delete those that are there, likewise, and return how many were."""
        # Locked in order: two that delete the same rows would otherwise wait for each other.
        key = MemoryEntity.id
        rows = select(key).where(among(key, memory_ids)).order_by(key).with_for_update().cte("locked")
        return self.connection.execute(delete(MemoryEntity).where(key.in_(select(rows.c.id)))).rowcount
