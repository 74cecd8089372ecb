"""What can go wrong in the data layer: one tree of errors, in the application's words instead of the driver's.

`retryable` says whether the same transaction may succeed when it is tried again (`Database.run` does so).
Driver errors become these in one place, :func:`translated`.
"""

from typing import ClassVar

import psycopg
from sqlalchemy import ForeignKeyConstraint

from widgettdc.models import Base


class WidgetTdcError(Exception):
    """Root of the tree; by itself, a refusal of PostgreSQL that has no class of its own here."""

    retryable: ClassVar[bool] = False


class NotFound(WidgetTdcError):
    """No row has this id."""

    def __init__(self, table: str, row_id: int) -> None:
        super().__init__(table, row_id)
        self.table, self.row_id = table, row_id

    def __str__(self) -> str:
        return f"{self.table} has no row with id {self.row_id}."


class Invalid(WidgetTdcError):
    """A value that its column cannot hold exactly, or an argument that means nothing."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(name, reason)
        self.name, self.reason = name, reason

    def __str__(self) -> str:
        return f"{self.name}: {self.reason}"


class TooLong(Invalid):
    """A text of more characters than its column takes."""

    def __init__(self, name: str, limit: int, length: int) -> None:
        super().__init__(name, f"{length} characters, where {limit} fit.")
        self.args = (name, limit, length)
        self.limit, self.length = limit, length


class BadReference(WidgetTdcError):
    """A column names a row of another table that is not there."""

    def __init__(self, name: str, table: str, values: tuple[int, ...]) -> None:
        super().__init__(name, table, values)
        self.name, self.table, self.values = name, table, values

    def __str__(self) -> str:
        ids = ", ".join(map(str, self.values)) or "the one given"
        return f"{self.name}: {self.table} has no row with id {ids}."


class Changed(WidgetTdcError):
    """The row changed since it was read: read it again and decide anew. Trying the same again cannot help."""

    def __init__(self, table: str, row_id: int) -> None:
        super().__init__(table, row_id)
        self.table, self.row_id = table, row_id

    def __str__(self) -> str:
        return f"{self.table} {self.row_id} was changed by someone else since it was read. Read it again."


class Conflict(WidgetTdcError):
    """Another transaction stood in the way (deadlock, serialization); nothing was kept."""

    retryable = True


class Busy(WidgetTdcError):
    """A lock or a pooled connection was not free in time; nothing was kept."""

    retryable = True


class Unavailable(WidgetTdcError):
    """PostgreSQL is not reachable, or went away before the commit was asked for; nothing was kept."""

    retryable = True


class OutcomeUnknown(WidgetTdcError):
    """The connection broke during the commit: look whether the change is there before doing it again."""


class RolledBack(WidgetTdcError):
    """A statement had failed and its error was passed over: PostgreSQL keeps nothing of such a transaction."""


class TimedOut(WidgetTdcError):
    """A statement took longer than `statement_timeout`; nothing was kept."""


# https://www.postgresql.org/docs/16/errcodes-appendix.html; the first that the SQLSTATE begins with counts.
_BY_STATE: tuple[tuple[tuple[str, ...], type[WidgetTdcError]], ...] = (
    (("40",), Conflict),
    (("55P03",), Busy),
    (("57014",), TimedOut),
    (("08", "25P03", "53", "57P", "58"), Unavailable),
)


def translated(error: BaseException) -> WidgetTdcError | None:
    """This module's error for a driver's; None for what is no matter of the database."""
    if isinstance(error, UnicodeEncodeError):  # psycopg encodes a text before it sends it
        return Invalid("text", f"{error.object[error.start : error.end]!r} is a half of a surrogate pair.")
    if not isinstance(error, psycopg.Error):
        return None
    state, said = error.sqlstate or "", " ".join((error.diag.message_primary or str(error)).split())
    if state == "23503":
        return _bad_reference(error.diag)
    if isinstance(error, psycopg.DataError) or state == "23502":
        return Invalid(error.diag.column_name or "value", f"{said}.")
    if not state and isinstance(error, psycopg.OperationalError):  # refused or broken, which carries no SQLSTATE
        return Unavailable(said)
    kind = next((kind for states, kind in _BY_STATE if state.startswith(states)), WidgetTdcError)
    return kind(f"{said} ({state or type(error).__name__})")


def _bad_reference(said: psycopg.errors.Diagnostic) -> BadReference:
    """Column and table from the models, since the server's detail is a sentence in the server's language."""
    for constraint in Base.metadata.tables[said.table_name or ""].constraints:
        if isinstance(constraint, ForeignKeyConstraint) and constraint.name == said.constraint_name:
            return BadReference(constraint.column_keys[0], constraint.referred_table.name, ())
    return BadReference(said.constraint_name or "reference", "the other table", ())
