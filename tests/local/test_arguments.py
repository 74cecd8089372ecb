"""The command line of ./run: what it accepts, and that each mistake is answered at once with status 2."""

import os
from pathlib import Path

import pytest

from local.arguments import Options, parse
from local.files import LocalError


@pytest.fixture
def database(tmp_path: Path) -> Path:
    path = tmp_path / "app's data.db"
    path.write_bytes(b"")
    return path


def test_without_arguments_the_sample_is_migrated_and_may_be_migrated_again() -> None:
    assert parse([]) == Options("migrate", on_live_tables="retire")


def test_a_database_of_the_users_own_never_replaces_live_tables_unasked(database: Path) -> None:
    assert parse([str(database)]).on_live_tables == "refuse"
    assert parse([str(database), "--on-live-tables", "retire"]).on_live_tables == "retire"


def test_every_option_reaches_the_run(database: Path) -> None:
    given = ["--rehearsal", "--quarantine", "allow", "--target", "postgresql://h/d", str(database)]
    assert parse(given) == Options(
        "migrate", source=database, target="postgresql://h/d", rehearsal=True, quarantine="allow"
    )


def test_a_plan_is_chosen_or_named_and_its_proposals_taken(database: Path) -> None:
    path = str(database)
    assert parse([path, "--plan", "shop", "--accept"]) == Options("migrate", source=database, plan="shop", accept=True)
    assert parse([path, "--name", "shop"]) == Options("migrate", source=database, name="shop")
    assert parse(["--plan", "shop"]) == Options("migrate", plan="shop")


def test_an_assessment_takes_a_file_and_the_name_of_its_plan(database: Path) -> None:
    assert parse(["assess", str(database)]) == Options("assess", source=database)
    named = parse(["assess", str(database), "--name", "shop", "--replace"])
    assert named == Options("assess", source=database, name="shop", replace=True)


def test_a_relative_path_is_understood_from_where_the_user_stands(
    database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(database.parent)
    assert parse([database.name]).source == database


def test_psql_gets_its_arguments_as_they_stand() -> None:
    assert parse(["psql", "--help", "-c", "SELECT 1"]).rest == ("--help", "-c", "SELECT 1")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["missing.db"], "missing.db does not exist."),
        (["."], ". is not a file."),
        (["--target", "mysql://h/d"], "--target must read postgresql://user:password@host:port/database."),
    ],
)
def test_what_cannot_be_used_is_one_sentence_and_status_2(arguments: list[str], message: str) -> None:
    with pytest.raises(LocalError) as refused:
        parse(arguments)
    assert (str(refused.value), refused.value.status) == (message, 2)


def test_an_unreadable_database_is_refused(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may read anything, so modes show nothing
    with pytest.raises(LocalError, match="not readable for this user"):
        parse([str(database)])


@pytest.mark.parametrize(
    "arguments",
    [
        ["--nonsense"],
        ["a.db", "b.db"],
        ["--ui", "--rehearsal"],
        ["--quarantine", "perhaps"],
        ["stop", "it"],
        ["assess"],
        ["a.db", "--name", "Not A Name"],
        ["a.db", "--name", "a", "--plan", "b"],
        ["--name", "a"],
    ],
)
def test_wrong_usage_ends_with_status_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        parse(arguments)
    assert ended.value.code == 2
    assert "usage: ./run" in capsys.readouterr().err
