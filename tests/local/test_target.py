"""A target of the user's own: checked before anything starts, and never quoted with its password."""

import re

import psycopg
import pytest
from psycopg import sql

from local.files import LocalError
from local.target import Target, own_target
from tests.conftest import Server

HARD = "p@ss/w:rd?#% &'ø"


@pytest.fixture
def parts(postgres_server: Server) -> dict[str, str]:
    with psycopg.connect(postgres_server.admin) as connection:
        info = connection.info
        return {"host": info.host, "port": str(info.port), "user": info.user, "password": info.password}


def test_a_password_with_every_special_character_survives_url_and_connection(
    postgres_server: Server, parts: dict[str, str]
) -> None:
    with psycopg.connect(postgres_server.admin, autocommit=True) as admin:
        admin.execute(sql.SQL("CREATE ROLE hard LOGIN PASSWORD {}").format(sql.Literal(HARD)))
        try:
            made = Target(parts["host"], int(parts["port"]), "hard", HARD, "postgres")
            read = own_target(made.url)
        finally:
            admin.execute("DROP ROLE hard")
    assert read == made
    assert read.airflow_connection["password"] == HARD
    assert HARD not in read.shown


def test_the_password_may_come_from_the_environment(parts: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGPASSWORD", parts["password"])
    target = own_target(f"postgresql://{parts['user']}@{parts['host']}:{parts['port']}/postgres")
    assert target.password == parts["password"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"database": "nowhere"}, 'database "nowhere" does not exist'),
        ({"password": "wrongsecret"}, "password authentication failed"),
        ({"port": "1"}, "Connection refused"),
        ({"password": "half@wrongsecret"}, "is no PostgreSQL address.*%-escapes"),
        ({"database": "d?nonsense=wrongsecret"}, "is no PostgreSQL address"),
    ],
)
def test_a_target_that_cannot_be_used_is_one_sentence_without_secrets(
    change: dict[str, str], message: str, parts: dict[str, str]
) -> None:
    given = {"database": "postgres", **parts, **change}
    with pytest.raises(LocalError) as refused:
        own_target("postgresql://{user}:{password}@{host}:{port}/{database}".format(**given))
    text = str(refused.value)
    assert refused.value.status == 2
    assert re.search(message, text)
    assert given["password"] not in text
    assert "wrongsecret" not in text
    assert "\n" not in text


def test_the_lines_for_the_application_can_be_read_by_a_shell_and_a_dotenv_file() -> None:
    plain = Target("127.0.0.1", 15432, "widgettdc_user", "aB-_9", "widgettdc")
    assert plain.application_lines == [
        "DATABASE_TYPE=postgres",
        "POSTGRES_HOST=127.0.0.1",
        "POSTGRES_PORT=15432",
        "POSTGRES_USER=widgettdc_user",
        "POSTGRES_PASSWORD=aB-_9",
        "POSTGRES_DB=widgettdc",
        "DATABASE_URL=postgresql://widgettdc_user:aB-_9@127.0.0.1:15432/widgettdc",
    ]
    special = Target("::1", 5432, "u", "a b#c", "d", {"sslmode": "require"})
    assert special.application_lines[4] == "POSTGRES_PASSWORD='a b#c'"
    assert special.application_lines[6] == "DATABASE_URL='postgresql://u:a%20b%23c@[::1]:5432/d?sslmode=require'"
