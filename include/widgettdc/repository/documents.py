"""Documents as they were ingested, and the facts drawn from them."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime

from sqlalchemy import Connection, insert, select

from widgettdc.models import RawDocument, StructuredFact
from widgettdc.repository.paging import LIMIT, AnyRow, Page, page
from widgettdc.repository.values import check_references, checked


@dataclass(frozen=True, slots=True)
class Document:
    """A document of an organisation."""

    id: int
    org_id: str
    title: str | None
    content: str
    source: str | None
    ingested_at: datetime


@dataclass(frozen=True, slots=True)
class NewFact:
    """A statement to be stored, with the document it was drawn from where there is one."""

    org_id: str
    subject: str
    predicate: str
    object: str
    doc_id: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact(NewFact):
    """A stored statement."""

    id: int


_DOCUMENTS = select(*RawDocument.__table__.columns)
_FACTS = select(*StructuredFact.__table__.columns)


def _document(row: AnyRow) -> Document:
    return Document(**row._mapping)


def _fact(row: AnyRow) -> Fact:
    return Fact(**row._mapping)


@dataclass(frozen=True, slots=True)
class DocumentRepository:
    """The documents, in the transaction of the connection."""

    connection: Connection

    def ingest(self, org_id: str, content: str, *, title: str | None = None, source: str | None = None) -> Document:
        """Store a document."""
        values = checked(RawDocument, {"org_id": org_id, "title": title, "content": content, "source": source})
        made = insert(RawDocument).values(**values).returning(*RawDocument.__table__.columns)
        return _document(self.connection.execute(made).one())

    def get(self, document_id: int) -> Document | None:
        """The document with this id, or None."""
        row = self.connection.execute(_DOCUMENTS.where(RawDocument.id == document_id)).one_or_none()
        return _document(row) if row else None

    def of_organisation(self, org_id: str, *, limit: int = LIMIT, after: str | None = None) -> Page[Document]:
        """An organisation's documents, the newest first."""
        found = _DOCUMENTS.where(RawDocument.org_id == org_id)
        keys = (RawDocument.ingested_at, RawDocument.id)
        return page(self.connection, found, _document, *keys, limit=limit, after=after, newest_first=True)


@dataclass(frozen=True, slots=True)
class FactRepository:
    """The facts, in the transaction of the connection."""

    connection: Connection

    def add(self, facts: Sequence[NewFact]) -> tuple[Fact, ...]:
        """Store facts and return them in the same order; BadReference where a document is missing."""
        rows = [checked(StructuredFact, asdict(fact)) for fact in facts]
        if not rows:
            return ()
        if documents := {fact.doc_id for fact in facts if fact.doc_id is not None}:
            check_references(self.connection, "doc_id", RawDocument, documents)
        made = insert(StructuredFact).returning(*StructuredFact.__table__.columns, sort_by_parameter_order=True)
        return tuple(map(_fact, self.connection.execute(made, rows)))

    def about(self, org_id: str, subject: str, *, limit: int = LIMIT, after: str | None = None) -> Page[Fact]:
        """What an organisation knows about a subject, in the order it was stored."""
        found = _FACTS.where(StructuredFact.org_id == org_id, StructuredFact.subject == subject)
        return page(self.connection, found, _fact, StructuredFact.id, limit=limit, after=after)

    def of_document(self, document_id: int, *, limit: int = LIMIT, after: str | None = None) -> Page[Fact]:
        """What was drawn from a document, in the order it was stored."""
        found = _FACTS.where(StructuredFact.doc_id == document_id)
        return page(self.connection, found, _fact, StructuredFact.id, limit=limit, after=after)
