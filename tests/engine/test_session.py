"""What is set for an application's sessions does not reach those of a migration."""

import psycopg
import pytest
from psycopg import sql

from migration.postgres.target import connected

SETTINGS = {
    "statement_timeout": ("1ms", "0"),
    "idle_session_timeout": ("1ms", "0"),
    "idle_in_transaction_session_timeout": ("1ms", "0"),
    "lock_timeout": ("1ms", "10s"),
    "standard_conforming_strings": ("off", "on"),
    "default_transaction_isolation": ("serializable", "read committed"),
    "datestyle": ("German, DMY", "ISO, MDY"),
    "intervalstyle": ("sql_standard", "postgres"),
    "timezone": ("Pacific/Kiritimati", "GMT"),
}


@pytest.mark.parametrize("name", SETTINGS)
def test_a_setting_of_the_database_that_would_break_a_step_is_overruled(
    target_dsn: str, superuser: str, name: str
) -> None:
    given, expected = SETTINGS[name]
    with psycopg.connect(superuser, autocommit=True) as admin:
        database = sql.Identifier(admin.info.dbname)
        admin.execute(
            sql.SQL("ALTER DATABASE {} SET {} = {}").format(database, sql.Identifier(name), sql.Literal(given))
        )
    with connected(target_dsn, "Looking") as connection:
        assert connection.execute("SELECT current_setting(%s)", [name]).fetchone() == (expected,)
