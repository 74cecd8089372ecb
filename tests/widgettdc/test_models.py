"""The models create exactly what Prisma creates, and keep Prisma's promises when they write."""

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import Connection, Engine, create_engine, event, select, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from widgettdc.models import Base, MemoryEntity, MemoryRelation, MemoryTag

PRISMA_SQL = Path(__file__).with_name("prisma.sql").read_text("utf-8")

# One line per object of a schema. NOT NULL is read from the columns; PostgreSQL 18 has constraints for it.
CATALOG = """
    SELECT concat_ws(' ', 'column', c.relname, a.attnum, a.attname, format_type(a.atttypid, a.atttypmod),
                     'null:', NOT a.attnotnull, 'default:', pg_get_expr(d.adbin, d.adrelid),
                     'identity:', a.attidentity, 'generated:', a.attgenerated,
                     'collation:', a.attcollation::regcollation)
    FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid AND c.relkind IN ('r', 'p')
    LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
    WHERE a.attnum > 0 AND NOT a.attisdropped AND c.relnamespace = %(schema)s::regnamespace
  UNION ALL
    SELECT concat_ws(' ', 'relation', relkind, relpersistence, relname, reloptions)
    FROM pg_class WHERE relnamespace = %(schema)s::regnamespace
  UNION ALL
    SELECT concat_ws(' ', 'index', pg_get_indexdef(indexrelid), 'valid:', indisvalid)
    FROM pg_index JOIN pg_class c ON c.oid = indexrelid WHERE c.relnamespace = %(schema)s::regnamespace
  UNION ALL
    SELECT concat_ws(' ', 'constraint', conrelid::regclass, contype, conname, pg_get_constraintdef(oid),
                     'valid:', convalidated, 'deferrable:', condeferrable)
    FROM pg_constraint WHERE connamespace = %(schema)s::regnamespace AND contype <> 'n'
  UNION ALL
    SELECT concat_ws(' ', 'sequence', s.seqrelid::regclass, format_type(s.seqtypid, NULL), s.seqstart,
                     s.seqmin, s.seqmax, s.seqincrement, s.seqcycle, s.seqcache,
                     'owned by', d.refobjid::regclass, d.refobjsubid, d.deptype)
    FROM pg_sequence s JOIN pg_class c ON c.oid = s.seqrelid AND c.relnamespace = %(schema)s::regnamespace
    LEFT JOIN pg_depend d
      ON d.objid = s.seqrelid AND d.refclassid = 'pg_class'::regclass AND d.refobjsubid > 0
  UNION ALL
    SELECT concat_ws(' ', 'trigger', tgrelid::regclass, tgname) FROM pg_trigger WHERE NOT tgisinternal
  ORDER BY 1
"""


@pytest.fixture
def engine(target_dsn: str) -> Iterator[Engine]:
    engine = create_engine("postgresql+psycopg://", creator=lambda: psycopg.connect(target_dsn))
    yield engine
    engine.dispose()


@pytest.fixture
def session(engine: Engine) -> Iterator[Session]:
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        yield session


def catalog(connection: Connection) -> list[str]:
    rows = connection.exec_driver_sql(CATALOG, {"schema": "public"})
    return [row[0] for row in rows]


def test_the_models_create_the_same_catalog_as_prisma(engine: Engine) -> None:
    with engine.connect() as connection:
        connection.exec_driver_sql(PRISMA_SQL)
        prisma = catalog(connection)
        connection.rollback()
        Base.metadata.create_all(connection)
        models = catalog(connection)
    assert models == prisma
    # What the comparison covers, so that an empty catalog cannot pass for equal.
    kinds = [line.split()[0] for line in prisma]
    assert {kind: kinds.count(kind) for kind in set(kinds)} == {
        "column": 46,
        "relation": 45,
        "index": 27,
        "constraint": 11,
        "sequence": 9,
    }


@pytest.mark.parametrize(
    "change",
    [
        "ALTER TABLE raw_documents ALTER title TYPE varchar(501)",
        "ALTER TABLE raw_documents ALTER title SET NOT NULL",
        "ALTER TABLE memory_relations ALTER strength SET DEFAULT 1.00",
        "ALTER TABLE memory_entities ALTER updated_at SET DEFAULT now()",
        "ALTER TABLE decisions RENAME made_at TO decided_at",
        "ALTER TABLE decisions RENAME CONSTRAINT decisions_pkey TO pk_decisions",
        "ALTER INDEX decisions_org_id_idx RENAME TO ix_decisions_org_id",
        "DROP INDEX structured_facts_subject_idx",
        "ALTER SEQUENCE memory_tags_id_seq OWNED BY NONE",
        "ALTER SEQUENCE memory_tags_id_seq AS bigint",
        "ALTER TABLE memory_tags DROP CONSTRAINT memory_tags_entity_id_fkey, ADD CONSTRAINT "
        "memory_tags_entity_id_fkey FOREIGN KEY (entity_id) REFERENCES memory_entities(id) ON DELETE CASCADE",
        "ALTER TABLE structured_facts ADD FOREIGN KEY (doc_id) REFERENCES raw_documents(id)",
    ],
)
def test_the_comparison_sees_every_kind_of_change(engine: Engine, change: str) -> None:
    with engine.connect() as connection:
        Base.metadata.create_all(connection)
        before = catalog(connection)
        connection.exec_driver_sql(change)
        assert catalog(connection) != before


def test_updated_at_is_set_on_insert_and_advances_on_update(session: Session) -> None:
    entity = MemoryEntity(org_id="org-001", text="first")
    session.add(entity)
    session.commit()
    created, inserted = entity.created_at, entity.updated_at
    assert inserted == created
    entity.text = "second"
    session.commit()
    assert entity.updated_at > inserted
    assert entity.created_at == created


def test_a_writer_that_forgets_updated_at_is_refused(session: Session) -> None:
    insert = text("INSERT INTO memory_entities (org_id, text) VALUES ('org-001', 'from psql')")
    with pytest.raises(IntegrityError, match="updated_at"):
        session.execute(insert)


def test_deleting_an_entity_deletes_its_tags_and_outgoing_relations_in_the_database(session: Session) -> None:
    kept = MemoryEntity(org_id="org-001", text="kept", tags=[MemoryTag(tag="kept")])
    gone = MemoryEntity(org_id="org-001", text="gone", tags=[MemoryTag(tag="a"), MemoryTag(tag="b")])
    session.add_all([kept, gone])
    session.flush()
    outgoing = MemoryRelation(source_entity=gone, target_id=kept.id, relation_type="causes")
    incoming = MemoryRelation(source_entity=kept, target_id=gone.id, relation_type="causes")
    session.add_all([outgoing, incoming])
    session.commit()
    incoming_id = incoming.id

    statements: list[str] = []
    event.listen(session.get_bind(), "before_cursor_execute", lambda *event: statements.append(event[2]))
    session.delete(gone)
    session.commit()

    assert [sql for sql in statements if sql.startswith("DELETE")] == [
        "DELETE FROM memory_entities WHERE memory_entities.id = %(id)s::INTEGER"
    ]
    assert session.scalars(select(MemoryTag.tag)).all() == ["kept"]
    # target_id is no foreign key: the relation that pointed at the deleted entity stays, as with Prisma.
    assert session.scalars(select(MemoryRelation.id)).all() == [incoming_id]


def test_missing_metadata_and_the_json_value_null_stay_different(session: Session) -> None:
    values = [None, JSONB.NULL, {}, {"æ": [1, 2.5, None, "\u2028"]}]
    session.add_all([MemoryEntity(org_id="org-001", text="", metadata_=value) for value in values])
    session.commit()
    stored = session.scalars(text("SELECT metadata::text FROM memory_entities ORDER BY id")).all()
    assert stored == [None, "null", "{}", '{"æ": [1, 2.5, null, "\u2028"]}']


def test_the_database_fills_ids_creation_times_and_strength(session: Session) -> None:
    entity = MemoryEntity(org_id="org-001", text="")
    relation = MemoryRelation(source_entity=entity, target_id=1, relation_type="self")
    session.add(relation)
    session.commit()
    assert (entity.id, relation.id, str(relation.strength)) == (1, 1, "1.00")
    assert entity.created_at.tzinfo is not None
    assert entity.relations == [relation]
