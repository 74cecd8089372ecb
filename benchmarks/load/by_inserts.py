"""Moves one table as most scripts do, by INSERT statements: by_inserts.py FILE DSN TABLE."""

import sqlite3
import sys
from itertools import islice

import psycopg
from psycopg import sql

path, dsn, table = sys.argv[1:]
rows = sqlite3.connect(path).execute(f'SELECT * FROM "{table}"')  # noqa: S608 - a name of the benchmark's
into = sql.SQL("INSERT INTO {} VALUES ({})").format(
    sql.Identifier(table), sql.SQL(", ").join(sql.Placeholder() * len(rows.description))
)
with psycopg.connect(dsn) as connection, connection.cursor() as cursor:
    while block := list(islice(rows, 1_000)):
        cursor.executemany(into, block)
