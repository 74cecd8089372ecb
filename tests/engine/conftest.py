"""Fixtures of the engine's tests: a superuser's connection, an application's role, a staged run."""

import secrets
from collections.abc import Iterator

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from migration.job import Job
from tests.conftest import Server
from tests.engine.staged import admin, job_for, stage


@pytest.fixture
def superuser(target_dsn: str, postgres_server: Server) -> str:
    """The target's connection string for what only a superuser may do."""
    return make_conninfo(postgres_server.admin, dbname=str(psycopg.conninfo.conninfo_to_dict(target_dsn)["dbname"]))


@pytest.fixture
def role(superuser: str) -> Iterator[str]:
    """A role of the application, which lives outside any database and so must be removed."""
    name = f"app {secrets.token_hex(4)}"
    identifier = sql.Identifier(name)
    with admin(superuser) as connection:
        connection.execute(sql.SQL("CREATE ROLE {}").format(identifier))
    yield name
    with admin(superuser) as connection:
        connection.execute(sql.SQL("DROP OWNED BY {} CASCADE; DROP ROLE {}").format(identifier, identifier))


@pytest.fixture
def job(target_dsn: str) -> Job:
    """A run of the shop's plan that has not begun."""
    return job_for(target_dsn)


@pytest.fixture
def staged(job: Job) -> Job:
    """The same run, ready to be cut over."""
    stage(job)
    return job
