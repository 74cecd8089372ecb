"""Sends Arrow arrays to one staged table by binary COPY, and counts what the server took."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg
import pyarrow as pa
import sqlalchemy as sa
from pgpq import ArrowToPostgresBinaryEncoder
from psycopg import sql

from migration.errors import MigrationError
from migration.load.reading import Reading
from migration.postgres import state


@dataclass
class Sent:
    """What has been sent so far."""

    rows: int = 0
    bytes: int = 0
    kept_back: int = 0
    """Rows that were looked at and will not be sent."""


Send = Callable[[list[pa.Array]], None]


class Copier:
    """Opens COPY statements into one staged table; all within the caller's transaction."""

    def __init__(
        self,
        connection: psycopg.Connection[Any],
        staged: sa.Table,
        reading: Reading,
    ) -> None:
        self.connection = connection
        self.casts = reading.casts
        self.schema = pa.schema(
            [pa.field(t.name, c.sends) for (_, t), c in zip(reading.map.columns, reading.casts, strict=True)]
        )
        self.table = f"{staged.schema}.{staged.name}"
        self.statement = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT BINARY)").format(
            sql.Identifier(str(staged.schema), staged.name),
            sql.SQL(", ").join(sql.Identifier(f.name) for f in self.schema),
        )
        self.sent = Sent()

    def _encoder(self) -> ArrowToPostgresBinaryEncoder:
        own = zip(self.schema, self.casts, strict=True)
        builders = {
            f.name: c.encoder(f) if c.encoder else ArrowToPostgresBinaryEncoder.infer_encoder(f) for f, c in own
        }
        return ArrowToPostgresBinaryEncoder.new_with_encoders(self.schema, builders)

    @contextmanager
    def copying(self) -> Iterator[Send]:
        """One COPY; gives a function that sends columns. MigrationError when the server counts otherwise."""
        encoder, before = self._encoder(), self.sent.rows
        with self.connection.cursor() as cursor:
            with cursor.copy(self.statement) as copy:

                def write(data: bytes) -> None:
                    self.sent.bytes += len(data)
                    copy.write(data)

                def send(arrays: list[pa.Array]) -> None:
                    write(encoder.write_batch(pa.record_batch(arrays, schema=self.schema)))
                    self.sent.rows += len(arrays[0])

                write(encoder.write_header())
                yield send
                write(encoder.finish())
            if cursor.rowcount != self.sent.rows - before:
                raise MigrationError(
                    f"{self.table}: {self.sent.rows - before} rows were sent and PostgreSQL counted "
                    f"{cursor.rowcount}. Nothing was kept."
                )


def copy_state(
    connection: psycopg.Connection[Any],
    table: sa.Table,
    columns: Iterable[str],
    lines: Iterable[tuple[Any, ...]],
) -> None:
    """Append lines to a state table; the caller commits."""
    statement = sql.SQL("COPY {} ({}) FROM STDIN").format(
        sql.Identifier(state.SCHEMA, table.name), sql.SQL(", ").join(map(sql.Identifier, columns))
    )
    with connection.cursor() as cursor, cursor.copy(statement) as copy:
        for line in lines:
            copy.write_row(line)
