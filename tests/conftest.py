"""A PostgreSQL server for the tests, and an empty database on it for each test that asks."""

import os
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from local.postgres import throwaway_cluster

collect_ignore = [] if find_spec("playwright") else ["browser"]

ROLE = "migrator"  # owns its databases and is no superuser, as a migration's role should be


@dataclass(frozen=True)
class Server:
    """A running server: `admin` is a superuser's connection string, `password` that of the tests' role."""

    admin: str
    password: str


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Server]:
    """A throwaway embedded server, or the one that TEST_POSTGRES_DSN (a superuser's) names."""
    password = secrets.token_urlsafe(16)
    given = os.environ.get("TEST_POSTGRES_DSN")
    if given:
        yield with_role(given, password)
        return
    with throwaway_cluster() as cluster:
        yield with_role(cluster.dsn(), password)


def with_role(admin: str, password: str) -> Server:
    """The server with the tests' role on it."""
    with psycopg.connect(admin, autocommit=True) as connection:
        exists = connection.execute("SELECT FROM pg_roles WHERE rolname = %s", (ROLE,)).rowcount
        command = sql.SQL("{} ROLE {} LOGIN PASSWORD {}")
        verb = sql.SQL("ALTER" if exists else "CREATE")
        connection.execute(command.format(verb, sql.Identifier(ROLE), sql.Literal(password)))
    return Server(admin, password)


@pytest.fixture
def target_dsn(postgres_server: Server) -> Iterator[str]:
    """The connection string of an empty database that belongs to an ordinary role; dropped afterwards."""
    name = sql.Identifier(database := f"test_{secrets.token_hex(6)}")
    with psycopg.connect(postgres_server.admin, autocommit=True) as admin:
        admin.execute(sql.SQL("CREATE DATABASE {} OWNER {} TEMPLATE template0").format(name, sql.Identifier(ROLE)))
        yield make_conninfo(postgres_server.admin, dbname=database, user=ROLE, password=postgres_server.password)
        admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(name))
