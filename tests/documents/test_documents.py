"""The generated pages are what would be made now, and the commands of the migration plan do what it says."""

import re
import shlex
import sqlite3
from pathlib import Path

import psycopg
import pytest

from local import arguments
from migration.__main__ import _parser
from migration.__main__ import main as migrate
from migration.plan import plan_files
from tests.documents import durations
from tests.documents.facts import gather
from tests.documents.migration_plan import MOMENTS, page
from tests.documents.pages import MADE, outdated, pages
from widgettdc.sample import SCHEMA
from widgettdc.schema.__main__ import main as schema


@pytest.fixture(scope="module")
def plan_page() -> str:
    return page(durations.read())


def test_every_page_is_what_would_be_made_now(target_dsn: str, tmp_path: Path) -> None:
    made = pages(gather(tmp_path, target_dsn))
    assert outdated(made) == [], "python -m tests.documents --write"
    assert {path.name for path in made} == {
        "schema-analysis.md",
        "schema-design.md",
        "type-mapping.md",
        "migration-plan.md",
        "index-strategy.md",
    }  # fmt: skip


def test_a_page_that_was_changed_by_hand_is_named(tmp_path: Path) -> None:
    path = tmp_path / "page.md"
    path.write_text(f"{MADE}\nchanged", "utf-8")
    assert outdated({path: f"{MADE}\nas made", tmp_path / "missing.md": ""}) == [path, tmp_path / "missing.md"]


@pytest.mark.parametrize("name", ["schema-analysis", "schema-design", "type-mapping", "migration-plan"])
def test_links_lead_somewhere(name: str) -> None:
    here = Path(__file__).parent.parent.parent / "docs" / "widgettdc"
    for link in re.findall(r"\]\(([^)#]+)\)", (here / f"{name}.md").read_text("utf-8")):
        assert (here / link).exists(), link


def test_every_command_of_the_plan_exists(
    plan_page: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("DATABASE_URL", raising=False)
    monkeypatch.setattr(arguments, "require_readable", lambda path: path)
    commands = [shlex.split(each) for each in re.findall(r"`((?:python -m|\./run|airflow) [^`]+)`", plan_page)]
    for command in commands:
        match command:
            case ["python", "-m", "migration", *given]:
                _parser().parse_args(given)
            case ["python", "-m", "widgettdc.schema", *given]:
                with pytest.raises(SystemExit):
                    schema(given)
                assert "set DATABASE_URL" in capsys.readouterr().err  # what it asks for once it knows the command
            case ["./run", *given]:
                arguments.parse([word.replace("URL", "postgresql://user@host/database") for word in given])
            case ["airflow", "dags", "trigger", dag]:
                assert dag in {f"rollback_{path.stem}" for path in plan_files()}
            case _:
                raise AssertionError(command)
    assert len(commands) > len(MOMENTS)


class Deployment:
    """An application's file, a target, and runs of the migration from the command line."""

    def __init__(self, folder: Path, dsn: str) -> None:
        self.folder, self.dsn, self.runs = folder, dsn, 0
        with sqlite3.connect(folder / "app.db") as connection:
            connection.executescript(SCHEMA.read_text("utf-8"))
            connection.execute("INSERT INTO memory_entities (org_id, text) VALUES ('org-001', 'first')")
        connection.close()

    @property
    def run(self) -> str:
        return f"run-{self.runs}"

    def migrate(self, *steps: str, mode: str = "cut_over") -> None:
        self.runs += 1
        for step in steps:
            more = ["--source", str(self.folder / "app.db")] if step in ("preflight", "backup", "all") else []
            more += ["--mode", mode] if step in ("preflight", "all") else []
            assert migrate([step, "--run", self.run, *more]) == 0

    def go_back(self, command: str) -> int:
        """Do what the plan says."""
        (manifest,) = self.folder.glob(f"home/snapshots/{self.run}*/manifest.json")
        _, _, module, *given = shlex.split(command)
        words = [word.replace("SNAPSHOT", str(manifest.parent)).replace("RUN", self.run) for word in given]
        words = [str(self.folder / word) if word == "restored.db" else word for word in words]
        return {"migration": migrate, "widgettdc.schema": schema}[module](words)

    def ask(self, query: str) -> list[str]:
        with psycopg.connect(self.dsn) as connection:
            return [row[0] for row in connection.execute(query.encode())]

    def memories(self) -> dict[str, list[str]]:
        """Texts by schema, without those that have no such table."""
        schemas = self.ask("SELECT schemaname FROM pg_tables WHERE tablename = 'memory_entities' ORDER BY 1")
        return {name: self.ask(f'SELECT text FROM "{name}".memory_entities ORDER BY id') for name in schemas}


@pytest.fixture
def deployment(target_dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Deployment:
    monkeypatch.setenv("MIGRATION_TARGET_DSN", target_dsn)
    monkeypatch.setenv("DATABASE_URL", target_dsn)
    monkeypatch.setenv("MIGRATION_HOME", str(tmp_path / "home"))
    return Deployment(tmp_path, target_dsn)


WRITE = (
    "INSERT INTO memory_entities (org_id, text, updated_at) VALUES ('org-001', 'written since', now()) RETURNING text"
)


def test_the_way_back_is_there_at_each_moment(deployment: Deployment) -> None:
    rehearsed, verified, cut_over, written, upgraded, given_up = (moment.command for moment in MOMENTS)

    deployment.migrate("all", mode="rehearsal")
    assert list(deployment.memories().values()) == [["first"]]
    assert deployment.go_back(rehearsed) == 0
    assert deployment.memories() == {}

    deployment.migrate("preflight", "backup", "create-schema", "load", "finish-schema", "verify")
    assert deployment.go_back(verified) == 0
    assert deployment.memories() == {}

    deployment.migrate("all")
    assert deployment.memories() == {"public": ["first"]}
    assert deployment.go_back(cut_over) == 0
    assert "public" not in deployment.memories()

    deployment.migrate("all")
    assert deployment.ask(WRITE) == ["written since"]
    assert deployment.go_back(cut_over) == 1
    assert deployment.memories()["public"] == ["first", "written since"]
    assert deployment.go_back(written) == 0
    assert "public" not in deployment.memories()
    assert ["first", "written since"] in deployment.memories().values()

    deployment.migrate("all")
    for _ in range(2):
        assert schema(["upgrade"]) == 0
        assert "memory_entities_text_idx" in deployment.ask("SELECT indexname FROM pg_indexes")
        assert deployment.go_back(upgraded) == 0
        assert "memory_entities_text_idx" not in deployment.ask("SELECT indexname FROM pg_indexes")
    assert schema(["upgrade"]) == 0
    assert deployment.go_back(cut_over) == 0
    assert "public" not in deployment.memories()

    assert deployment.go_back(given_up) == 0
    with sqlite3.connect(deployment.folder / "restored.db") as restored:
        assert restored.execute("SELECT text FROM memory_entities").fetchall() == [("first",)]
    restored.close()
