"""Each index serves the queries that the document says it serves, and the document knows every index."""

import secrets
from collections.abc import Iterator

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from benchmarks.data_layer.choosing import Chooser
from benchmarks.data_layer.filling import fill
from benchmarks.data_layer.operations import OPERATIONS
from benchmarks.data_layer.world import World
from benchmarks.indexes.command import main
from benchmarks.indexes.measured import read
from benchmarks.indexes.plans import Statement, explain, explain_for_any, statements
from benchmarks.indexes.serving import PRISMA, SERVING
from tests.conftest import Server
from widgettdc.database import Database
from widgettdc.schema.commands import upgrade

WORLD = World(10_000)
USED = [(index, operation) for index, serving in SERVING.items() for operation in serving.operations]


@pytest.fixture(scope="module")
def filled(postgres_server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The connection string of a database at the newest revision that holds a small world."""
    name = f"test_{secrets.token_hex(6)}"
    with psycopg.connect(postgres_server.admin, autocommit=True) as admin:
        admin.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(name)))
        dsn = make_conninfo(postgres_server.admin, dbname=name)
        fill(WORLD, tmp_path_factory.mktemp("world") / "app.db", dsn)
        upgrade(dsn)
        with psycopg.connect(dsn, autocommit=True) as connection:
            connection.execute("VACUUM (ANALYZE)")
        yield dsn
        admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture
def connection(filled: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(filled, autocommit=True) as connection:
        yield connection


@pytest.fixture(scope="module")
def sent(filled: str) -> dict[str, list[Statement]]:
    """What each operation sends."""
    database, found = Database(filled), {}
    for name, operation in OPERATIONS.items():
        given, named = operation.draw(Chooser(WORLD, 1))
        with database.transaction() as unit:
            found[name] = statements(unit, lambda unit: operation.act(unit, *given, **named))  # noqa: B023 - at once
            unit.connection.rollback()
    database.close()
    return found


def test_the_document_knows_every_index_and_no_other(connection: psycopg.Connection) -> None:
    there = connection.execute("SELECT indexname FROM pg_indexes WHERE schemaname = 'public'").fetchall()
    assert sorted(SERVING) == sorted(name for (name,) in there if name != "alembic_version_pkc")


def test_the_numbers_that_were_kept_are_of_these_indexes() -> None:
    assert {cost.index for cost in read().costs} == set(SERVING)


@pytest.mark.slow
def test_the_command_measures_and_shows_every_index(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    shown = capsys.readouterr().out
    assert [name for name in SERVING if f"| `{name}` |" not in shown] == []


@pytest.mark.parametrize(("index", "operation"), USED)
def test_an_index_is_used_by_the_operations_it_is_there_for_which_need_none_of_the_redundant_ones(
    sent: dict[str, list[Statement]], connection: psycopg.Connection, index: str, operation: str
) -> None:
    """The redundant ones are away, since in a table as small as these one index is as good as another."""
    with connection.transaction(force_rollback=True):
        for name in (name for name, serving in SERVING.items() if serving.note.endswith(PRISMA)):
            connection.execute(sql.SQL("DROP INDEX {}").format(sql.Identifier(name)))
        found = [explain(connection, statement, execute=False) for statement in sent[operation]]
        for_any = [explain_for_any(connection, statement) for statement in sent[operation]]
    for plans in (found, for_any):
        assert index in frozenset[str]().union(*(plan.indexes for plan in plans)), plans
