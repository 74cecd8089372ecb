"""The application's operations, one repository for each group of tables.

Each takes a SQLAlchemy connection and works in whatever transaction that is in; nothing here commits. Results are
frozen records that hold all they show: nothing is loaded later. Each reading operation is one statement, so all of a
result is of one moment, and the number of results never changes the number of statements.
"""

from widgettdc.repository.decisions import Decision, DecisionRepository, Kpi
from widgettdc.repository.documents import Document, DocumentRepository, Fact, FactRepository, NewFact
from widgettdc.repository.memories import Memory, MemoryRepository, Relation, Source
from widgettdc.repository.paging import MAX_LIMIT, Page
from widgettdc.repository.pal import FocusWindow, FocusWindowRepository, StressLevel, StressLevelRepository
from widgettdc.repository.values import UNSET, Json

__all__ = [
    "MAX_LIMIT",
    "UNSET",
    "Decision",
    "DecisionRepository",
    "Document",
    "DocumentRepository",
    "Fact",
    "FactRepository",
    "FocusWindow",
    "FocusWindowRepository",
    "Json",
    "Kpi",
    "Memory",
    "MemoryRepository",
    "NewFact",
    "Page",
    "Relation",
    "Source",
    "StressLevel",
    "StressLevelRepository",
]
