"""The one error tree: what went wrong, where, and what to do next.

Every message is a sentence for the operator. ``TransientError`` is worth another attempt by itself;
every other ``MigrationError`` stays true until somebody changes the source, the plan or the target.
Driver errors become these in one place, :func:`translated`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # the drivers are imported where they are used: every parse of a DAG file imports this module
    import apsw
    import psycopg


class MigrationError(Exception):
    """Permanent: trying again changes nothing."""


class TransientError(MigrationError):
    """The connection, a lock or a resource failed; the same step may succeed later."""


class PlanError(MigrationError):
    """The plan file is unreadable or contradicts itself."""


class SourceError(MigrationError):
    """The SQLite file cannot be migrated as it is, or is not what the plan describes."""


class TargetError(MigrationError):
    """The PostgreSQL target cannot take this migration as it is."""


class RejectedRows(MigrationError):
    """Rows cannot cross, and the plan allows no quarantine for them."""


class VerificationFailed(MigrationError):
    """The target does not hold exactly what the snapshot holds."""


class CutOverRefused(MigrationError):
    """A condition for the cut-over (or its rollback) does not hold; nothing was changed."""


def together(problems: Sequence[MigrationError]) -> MigrationError:
    """One error of all: worth another try only if each is."""
    lasting = next((p for p in problems if not isinstance(p, TransientError)), problems[0])
    return type(lasting)("\n".join(map(str, problems)))


_SECRET = re.compile(
    r"(//[^:/@\s]*):\S*@|(password\s*=\s*)('(?:[^'\\]|\\.)*'|[^\s&]+)",
    re.IGNORECASE,
)


def masked(text: str) -> str:
    """``text`` without the passwords of connection strings."""
    return _SECRET.sub(lambda m: f"{m[1]}:***@" if m[1] is not None else f"{m[2]}***", text)


# SQLSTATE classes after which the same work can succeed: connection (08), rollback by deadlock or
# serialization (40), resources such as disk or connections (53), operator intervention (57), system (58);
# 55P03 is lock_not_available. https://www.postgresql.org/docs/16/errcodes-appendix.html
_TRANSIENT = ("08", "40", "53", "57", "58", "55P03")
# A refused connection comes without SQLSTATE. These words (the server's, in English) do not pass by waiting.
_REFUSED = (
    "does not exist",
    "authentication failed",
    "no pg_hba.conf entry",
    "no password supplied",
)
_ADVICE = {
    "53100": "the target's disk is full ({}). Free space there, then clear this task.",
    "57014": "the target cancelled the statement ({}). If its statement_timeout did, raise that.",
    "25006": "the target is read-only ({}). Point the connection at the primary server.",
    "42501": "the target's role lacks a right ({}). Grant it, then clear this task.",
}


def _from_postgres(error: psycopg.Error, doing: str) -> MigrationError:
    import psycopg

    state = error.sqlstate or ""
    said = [error.diag.message_primary or str(error), error.diag.message_detail or ""]
    detail = masked("; ".join(" ".join(part.split()) for part in said if part))
    transient = state.startswith(_TRANSIENT)
    if not state and isinstance(error, psycopg.ProgrammingError):  # it may quote the connection string
        detail = re.sub(r'"[^"]*"', '"…"', detail)
    if not state and isinstance(error, psycopg.OperationalError):
        transient = not any(word in detail for word in _REFUSED)
        advice = "{}" if transient else "{}. Correct the target's connection, then clear this task."
    else:
        advice = _ADVICE.get(
            state, "{}" if transient else f"PostgreSQL refused ({state or type(error).__name__}): {{}}"
        )
    return (TransientError if transient else TargetError)(f"{doing}: {advice.format(detail)}")


def _from_sqlite(error: apsw.Error, doing: str) -> MigrationError:
    import apsw

    if isinstance(error, (apsw.BusyError, apsw.LockedError)):
        return SourceError(
            f"{doing}: another process holds a lock on the SQLite database ({error}). "
            "Stop the application's writer (or wait for its transaction to end) and try again."
        )
    if isinstance(error, apsw.NotADBError):
        return SourceError(f"{doing}: the file is not a SQLite database, or it is encrypted ({error}).")
    if isinstance(error, apsw.CorruptError):
        return SourceError(
            f"{doing}: the SQLite file is corrupt ({error}). Restore it from a backup, or repair it with "
            "sqlite3's .recover."
        )
    if isinstance(error, (apsw.FullError, apsw.IOError)):
        return TransientError(
            f"{doing}: reading or writing the SQLite file failed ({error}). Check the disk and its space."
        )
    return SourceError(f"{doing}: SQLite refused: {error}")


@contextmanager
def translated(doing: str) -> Iterator[None]:
    """Turn driver errors raised inside into this module's, opening the message with ``doing``."""
    import apsw
    import psycopg

    try:
        yield
    except psycopg.Error as error:
        raise _from_postgres(error, doing) from error
    except apsw.Error as error:
        raise _from_sqlite(error, doing) from error
