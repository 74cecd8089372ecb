"""The revisions: the first is what the migration makes, the newest what the metadata say, and neither loses a row."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from alembic.script import ScriptDirectory
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from sqlalchemy import Connection, Engine, create_engine

from migration.__main__ import main as migrate
from tests.conftest import ROLE, Server
from tests.widgettdc.test_models import CATALOG, PRISMA_SQL
from widgettdc.errors import Busy, Unavailable, WidgetTdcError
from widgettdc.models import Base
from widgettdc.sample import make_sample
from widgettdc.schema import commands
from widgettdc.schema.__main__ import main
from widgettdc.schema.commands import SchemaDiffers, check, downgrade, upgrade

SCRIPTS = commands.SCRIPTS
NEWEST = ScriptDirectory(SCRIPTS).get_current_head()


@pytest.fixture
def connection(target_dsn: str) -> Iterator[Connection]:
    engine: Engine = create_engine("postgresql+psycopg://", creator=lambda: psycopg.connect(target_dsn))
    with engine.connect() as connection:
        yield connection
    engine.dispose()


def catalog(connection: Connection) -> list[str]:
    """Every object of the schema but Alembic's own table, one line each."""
    rows = connection.exec_driver_sql(CATALOG, {"schema": "public"})
    lines = [row[0] for row in rows if "alembic_version" not in row[0]]
    connection.rollback()
    return lines


def recorded(connection: Connection) -> list[str]:
    rows = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalars().all()
    connection.rollback()
    return list(rows)


def run(connection: Connection, *sql: str) -> None:
    for statement in sql:
        connection.exec_driver_sql(statement)
    connection.commit()


@pytest.fixture
def migrated(target_dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Runs a command of the migration, by default a whole one of a sample up to its cut-over."""
    monkeypatch.setenv("MIGRATION_TARGET_DSN", target_dsn)
    monkeypatch.setenv("MIGRATION_HOME", str(tmp_path / "home"))
    make_sample(tmp_path / "app.db")
    whole = ("all", "--source", str(tmp_path / "app.db"), "--mode", "cut_over", "--on-live-tables", "retire")

    def command(run: str, *arguments: str) -> None:
        assert migrate([*(arguments or whole), "--run", run]) == 0

    return command


def test_the_first_revision_and_the_migration_and_prisma_make_the_same_catalog(
    connection: Connection, target_dsn: str, migrated: Callable[..., None]
) -> None:
    connection.exec_driver_sql(PRISMA_SQL)
    prisma = catalog(connection)  # rolls back
    upgrade(target_dsn, "0001")
    revision = catalog(connection)
    tables = ", ".join(Base.metadata.tables)
    run(connection, f"DROP TABLE {tables}, alembic_version")
    migrated("run-1")
    migration = catalog(connection)
    assert revision == migration == prisma
    assert len(revision) == 138


def test_a_migrated_database_is_recognised_and_keeps_every_row(
    connection: Connection, target_dsn: str, migrated: Callable[..., None]
) -> None:
    migrated("run-1")
    rows = contents(connection)
    assert upgrade(target_dsn, "0001") == "0001"
    assert upgrade(target_dsn) == NEWEST
    assert check(target_dsn) == []
    assert contents(connection) == rows


def test_a_rollback_and_another_migration_after_upgrades_find_their_way(
    connection: Connection, target_dsn: str, migrated: Callable[..., None]
) -> None:
    """A cut-over puts tables of revision 0001 in the place of newer ones, whatever is recorded."""
    migrated("run-1")
    upgrade(target_dsn)
    migrated("run-1", "rollback")
    assert upgrade(target_dsn) == NEWEST  # the tables are gone: made anew
    assert check(target_dsn) == []
    migrated("run-2")
    assert upgrade(target_dsn) == NEWEST
    assert check(target_dsn) == []


def test_upgrading_twice_changes_nothing(connection: Connection, target_dsn: str) -> None:
    upgrade(target_dsn)
    before = catalog(connection)
    assert upgrade(target_dsn) == NEWEST
    assert (catalog(connection), recorded(connection)) == (before, [NEWEST])


def test_back_to_the_first_revision_is_exactly_the_first_revision(connection: Connection, target_dsn: str) -> None:
    upgrade(target_dsn, "0001")
    before = catalog(connection)
    upgrade(target_dsn)
    assert downgrade(target_dsn, "0001") == "0001"
    assert catalog(connection) == before


def test_below_the_first_revision_nothing_is_dropped(connection: Connection, target_dsn: str) -> None:
    upgrade(target_dsn, "0001")
    before = catalog(connection)
    with pytest.raises(WidgetTdcError, match="roll the migration back instead"):
        downgrade(target_dsn, "base")
    assert (catalog(connection), recorded(connection)) == (before, ["0001"])


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (
            "ALTER TABLE raw_documents ALTER title TYPE varchar(501)",
            "column raw_documents.title: is character varying\\(501\\)",
        ),
        ("ALTER TABLE raw_documents ALTER title SET NOT NULL", "column raw_documents.title: is .* NOT NULL"),
        (
            "ALTER TABLE memory_entities ALTER updated_at SET DEFAULT now()",
            "column memory_entities.updated_at: .*DEFAULT",
        ),
        (
            "ALTER TABLE decisions ADD extra integer",
            "column decisions.extra: is integer at place 6; nothing of the kind",
        ),
        ("ALTER TABLE decisions DROP description", "column decisions.description: is missing"),
        ("DROP INDEX structured_facts_subject_idx", "index structured_facts_subject_idx: is missing"),
        ("CREATE INDEX more ON decisions (title)", "index more: is CREATE INDEX more ON decisions"),
        (
            "ALTER TABLE memory_tags DROP CONSTRAINT memory_tags_entity_id_fkey",
            "memory_tags_entity_id_fkey: is missing",
        ),
        ("ALTER TABLE memory_tags ADD CHECK (tag <> '')", "constraint memory_tags.memory_tags_tag_check"),
        ("ALTER SEQUENCE memory_tags_id_seq AS bigint", "sequence memory_tags_id_seq: is bigint"),
        ("ALTER SEQUENCE memory_tags_id_seq OWNED BY NONE", "sequence memory_tags_id_seq: is missing"),
        ("DROP TABLE pal_stress_levels", "column pal_stress_levels.level: is missing"),
    ],
)
def test_tables_that_are_others_are_refused_with_every_difference(
    connection: Connection, target_dsn: str, change: str, told: str
) -> None:
    Base.metadata.create_all(connection)
    run(connection, change, "ALTER TABLE pal_focus_windows ALTER priority TYPE text")
    before = catalog(connection)
    with pytest.raises(SchemaDiffers, match=f"(?s){told}.*") as caught:
        upgrade(target_dsn)
    assert "column pal_focus_windows.priority: is text" in str(caught.value)
    assert catalog(connection) == before
    assert not connection.exec_driver_sql("SELECT to_regclass('alembic_version')").scalar_one()


def test_tables_of_others_in_the_same_schema_are_left_alone(connection: Connection, target_dsn: str) -> None:
    run(connection, "CREATE TABLE _prisma_migrations (id text PRIMARY KEY)", "CREATE VIEW v AS SELECT 1 AS one")
    upgrade(target_dsn)
    assert check(target_dsn) == []
    assert {"relation r p _prisma_migrations", "relation v p v"} <= set(catalog(connection))


def test_tables_of_another_schema_count_where_the_search_path_leads(connection: Connection, target_dsn: str) -> None:
    run(connection, "CREATE SCHEMA app", "SET search_path TO app")
    Base.metadata.create_all(connection)
    connection.commit()
    dsn = make_conninfo(target_dsn, options="-c search_path=app")
    assert upgrade(dsn, "0001") == "0001"
    assert connection.exec_driver_sql("SELECT version_num FROM app.alembic_version").scalars().all() == ["0001"]


def test_check_tells_of_an_old_revision_and_of_what_is_missing(connection: Connection, target_dsn: str) -> None:
    assert check(target_dsn) == [f"The database is at revision none; the newest is {NEWEST}. Run upgrade."]
    upgrade(target_dsn)
    run(connection, "DROP INDEX decisions_org_id_idx", "ALTER TABLE decisions ALTER title TYPE varchar(10)")
    (missing, other) = check(target_dsn)
    assert "decisions_org_id_idx" in missing + other
    assert "VARCHAR(length=10)" in missing + other


def test_two_upgrades_at_one_time_are_refused(connection: Connection, target_dsn: str) -> None:
    connection.exec_driver_sql("SELECT pg_advisory_lock(%s)", (commands._LOCK,))
    with pytest.raises(Busy, match="Another process is changing the schema"):
        upgrade(target_dsn)
    connection.exec_driver_sql("SELECT pg_advisory_unlock(%s)", (commands._LOCK,))
    connection.rollback()  # an open transaction would keep indexes from being made
    upgrade(target_dsn)


def test_a_drafted_revision_holds_what_the_metadata_have_and_the_database_lacks(
    connection: Connection, target_dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = shutil.copytree(commands.SCRIPTS, tmp_path / "alembic", ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(commands, "SCRIPTS", home)
    upgrade(target_dsn)
    run(connection, "ALTER TABLE decisions DROP description")
    made = commands.draft(target_dsn, "a description").read_text("utf-8")
    assert "op.add_column('decisions', sa.Column('description', sa.Text(), nullable=True))" in made
    assert f"down_revision = {NEWEST!r}" in made
    assert len(list(Path(home, "versions").glob("*.py"))) == len(list(SCRIPTS.glob("versions/*.py"))) + 1


def test_the_command_does_and_says_the_same(
    connection: Connection, target_dsn: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DATABASE_URL", target_dsn)
    assert main(["check"]) == 1
    assert main(["upgrade"]) == 0
    assert main(["check"]) == 0
    assert main(["downgrade", "0001"]) == 0
    run(connection, "DROP TABLE alembic_version", "DROP TABLE decisions")
    assert main(["upgrade"]) == 1
    told = capsys.readouterr()
    assert told.out.splitlines()[1:] == [f"at revision {NEWEST}", "at revision 0001"]
    assert "The tables are not those that the migration makes" in told.err
    monkeypatch.delenv("DATABASE_URL")
    with pytest.raises(SystemExit, match="2"):
        main(["check"])


def test_a_server_that_is_not_there_is_an_error_of_ours(target_dsn: str) -> None:
    with pytest.raises(Unavailable):
        upgrade(make_conninfo(target_dsn, port=1))


def contents(connection: Connection) -> dict[str, int]:
    """A digest of every table's rows."""
    digest = "SELECT coalesce(sum(hashtextextended(t::text, 0)), 0) FROM {} t"
    found = {name: connection.exec_driver_sql(digest.format(name)).scalar_one() for name in Base.metadata.tables}
    connection.rollback()
    return found


SEARCH = "memory_entities_text_idx"


def indexes(connection: Connection) -> list[str]:
    found = (
        connection.exec_driver_sql("SELECT indexrelid::regclass::text FROM pg_index WHERE indisvalid").scalars().all()
    )
    connection.rollback()
    return list(found)


def test_an_index_that_an_interrupted_upgrade_left_behind_is_made_anew(connection: Connection, target_dsn: str) -> None:
    upgrade(target_dsn, "0001")
    run(
        connection, "INSERT INTO memory_entities (org_id, text, updated_at) VALUES ('o', 't', now()), ('o', 't', now())"
    )
    with psycopg.connect(target_dsn, autocommit=True) as other, pytest.raises(psycopg.errors.UniqueViolation):
        other.execute("CREATE UNIQUE INDEX CONCURRENTLY memory_entities_text_idx ON memory_entities (text)")
    assert SEARCH not in indexes(connection)
    assert upgrade(target_dsn) == NEWEST
    assert SEARCH in indexes(connection)
    assert check(target_dsn) == []


def test_check_tells_of_an_index_of_another_method_and_of_one_that_is_not_finished(
    connection: Connection, target_dsn: str
) -> None:
    upgrade(target_dsn)
    run(connection, f"DROP INDEX {SEARCH}", f"CREATE INDEX {SEARCH} ON memory_entities (text)")
    assert check(target_dsn) == [f"The index {SEARCH} is of method btree; gin was expected."]
    run(
        connection, "INSERT INTO memory_entities (org_id, text, updated_at) VALUES ('o', 't', now()), ('o', 't', now())"
    )
    with psycopg.connect(target_dsn, autocommit=True) as other, pytest.raises(psycopg.errors.UniqueViolation):
        other.execute("CREATE UNIQUE INDEX CONCURRENTLY half ON memory_entities (text)")
    run(connection, f"DROP INDEX {SEARCH}", f"ALTER INDEX half RENAME TO {SEARCH}")
    assert f"The index {SEARCH} is not finished; gin was expected." in check(target_dsn)


def test_a_role_that_may_not_create_the_extension_is_told_who_may_and_nothing_is_changed(
    connection: Connection, target_dsn: str, postgres_server: Server
) -> None:
    upgrade(target_dsn, "0001")
    before = catalog(connection)
    database = conninfo_to_dict(target_dsn)["dbname"]
    with psycopg.connect(postgres_server.admin, autocommit=True) as admin:
        admin.execute(f"ALTER DATABASE {database} OWNER TO CURRENT_USER")
    with psycopg.connect(make_conninfo(postgres_server.admin, dbname=database), autocommit=True) as admin:
        admin.execute(f"GRANT ALL ON SCHEMA public TO {ROLE}")
    with pytest.raises(
        WidgetTdcError, match="permission denied.*needs the extension pg_trgm.*superuser.*then run upgrade"
    ):
        upgrade(target_dsn)
    assert (catalog(connection), recorded(connection)) == (before, ["0001"])
    with psycopg.connect(make_conninfo(postgres_server.admin, dbname=database), autocommit=True) as admin:
        admin.execute("CREATE EXTENSION pg_trgm")
    assert upgrade(target_dsn) == NEWEST


def test_an_upgrade_lets_the_application_write_and_says_what_it_waits_for(
    connection: Connection, target_dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    upgrade(target_dsn, "0001")
    home = shutil.copytree(SCRIPTS, tmp_path / "alembic", ignore=shutil.ignore_patterns("__pycache__"))
    script = home / "versions" / "r0002_search.py"
    script.write_text(script.read_text("utf-8").replace("'5min'", "'1s'"), "utf-8")
    monkeypatch.setattr(commands, "SCRIPTS", home)
    insert = "INSERT INTO memory_entities (org_id, text, updated_at) VALUES ('o', 't', now())"
    connection.exec_driver_sql(insert)  # a transaction that stays open
    with pytest.raises(Busy, match=r"lock timeout.*A transaction has been open.*do this again"):
        upgrade(target_dsn)
    connection.exec_driver_sql(insert)
    connection.commit()
    assert recorded(connection) == ["0001"]
    assert upgrade(target_dsn) == NEWEST
    assert check(target_dsn) == []
